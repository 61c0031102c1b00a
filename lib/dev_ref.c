#include "dev_ref.h"

#include <math.h>

void dev_ref_gemm(int ta, int tb, size_t m, size_t n, size_t k, float alpha,
                  const float *a, size_t lda, const float *b, size_t ldb,
                  float beta, float *c, size_t ldc)
{
	size_t i, j, p;

	for (i = 0; i < m; i++)
		for (j = 0; j < n; j++) {
			double s = 0;

			for (p = 0; p < k; p++)
				s += (double)a[ta ? p * lda + i : i * lda + p] *
				     b[tb ? j * ldb + p : p * ldb + j];
			s *= alpha;
			if (beta != 0)
				s += (double)beta * c[i * ldc + j];
			c[i * ldc + j] = (float)s;
		}
}

void dev_ref_linear(const float *x, size_t n, const float *w, size_t d_out,
                    size_t d_in, const float *bias, float *out)
{
	size_t i, j, p;

	for (i = 0; i < n; i++)
		for (j = 0; j < d_out; j++) {
			double s = bias ? bias[j] : 0;

			for (p = 0; p < d_in; p++)
				s += (double)x[i * d_in + p] * w[j * d_in + p];
			out[i * d_out + j] = (float)s;
		}
}

void dev_ref_rmsnorm(const float *x, size_t n, size_t dim, const float *w,
                     float eps, float *out, float *inv_rms)
{
	size_t i, j;

	for (i = 0; i < n; i++, x += dim, out += dim) {
		double s = 0, inv;

		for (j = 0; j < dim; j++)
			s += (double)x[j] * x[j];
		inv = 1 / sqrt(s / (double)dim + eps);
		for (j = 0; j < dim; j++)
			out[j] = (float)(x[j] * inv * w[j]);
		if (inv_rms)
			inv_rms[i] = (float)inv;
	}
}

void dev_ref_rope_table(const uint32_t *pos, size_t n, const float *inv_freq,
                        size_t d_head, float *cs)
{
	size_t half = d_head / 2, i, j;

	for (i = 0; i < n; i++)
		for (j = 0; j < half; j++) {
			float angle = (float)pos[i] * inv_freq[j];

			cs[i * d_head + j] = (float)cos(angle);
			cs[i * d_head + half + j] = (float)sin(angle);
		}
}

void dev_ref_rope(float *x, size_t n, size_t n_heads, size_t d_head,
                  const float *cs)
{
	size_t half = d_head / 2, i, h, j;

	for (i = 0; i < n; i++, cs += d_head)
		for (h = 0; h < n_heads; h++, x += d_head)
			for (j = 0; j < half; j++) {
				double a = x[j], b = x[half + j];
				double c = cs[j], s = cs[half + j];

				x[j] = (float)(a * c - b * s);
				x[half + j] = (float)(b * c + a * s);
			}
}

/* One query against keys k[0..n), rows `stride` apart; three passes over the
 * scores, recomputed rather than kept. */
static void attend(const float *q, const float *k, const float *v, size_t n,
                   size_t stride, size_t d_head, float scale, float *out)
{
	double max = -INFINITY, sum = 0;
	size_t j, p, pass;

	for (p = 0; p < d_head; p++)
		out[p] = 0;
	for (pass = 0; pass < 3; pass++)
		for (j = 0; j < n; j++) {
			double s = 0;

			for (p = 0; p < d_head; p++)
				s += (double)q[p] * k[j * stride + p];
			s *= scale;
			if (pass == 0)
				max = s > max ? s : max;
			else if (pass == 1)
				sum += exp(s - max);
			else
				for (p = 0; p < d_head; p++)
					out[p] += (float)(exp(s - max) / sum *
					                  v[j * stride + p]);
		}
}

void dev_ref_attention(const float *q, const float *k, const float *v,
                       const struct dev_seqs *s, const size_t *kv_start,
                       size_t n_heads, size_t n_kv, size_t d_head, float scale,
                       float *out)
{
	size_t stride = n_kv * d_head, i, r, h;

	if (!kv_start)
		kv_start = s->start;
	for (i = 0; i < s->n; i++)
		for (r = s->start[i]; r < s->start[i + 1]; r++)
			for (h = 0; h < n_heads; h++) {
				size_t at = (r * n_heads + h) * d_head;
				size_t kv = kv_start[i] * stride +
					h / (n_heads / n_kv) * d_head;

				attend(q + at, k + kv, v + kv,
				       (s->past ? s->past[i] : 0) + r -
				       s->start[i] + 1, stride, d_head, scale,
				       out + at);
			}
}

void dev_ref_silu_mul(float *gate, const float *up, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		gate[i] = (float)(gate[i] / (1 + exp(-(double)gate[i])) *
		                  up[i]);
}

static double log_sum_exp(const float *x, size_t n, size_t *best)
{
	double sum = 0;
	size_t i;

	*best = 0;
	for (i = 1; i < n; i++)
		if (x[i] > x[*best])
			*best = i;
	for (i = 0; i < n; i++)
		sum += exp((double)x[i] - x[*best]);
	return x[*best] + log(sum);
}

void dev_ref_xent(const float *logits, const float *ref, size_t n,
                  size_t n_vocab, const uint32_t *targets, double *ce,
                  double *kl, uint8_t *top1)
{
	size_t i, j, best, best_ref;

	for (i = 0; i < n; i++, logits += n_vocab) {
		double lse = log_sum_exp(logits, n_vocab, &best), lr;

		ce[i] = targets[i] == UINT32_MAX ? 0 : lse - logits[targets[i]];
		if (!ref)
			continue;
		lr = log_sum_exp(ref + i * n_vocab, n_vocab, &best_ref);
		kl[i] = 0;
		for (j = 0; j < n_vocab; j++) {
			double a = ref[i * n_vocab + j] - lr;

			kl[i] += exp(a) * (a - (logits[j] - lse));
		}
		top1[i] = best == best_ref;
	}
}
