/* The way back through norms, attention and softmax on the CPU. */
#include <cblas.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "dev_cpu.h"

enum { Q_ROWS = 64 };	/* queries of a block of scores */

struct norm {
	const struct vec_ops *vec;
	const float *x, *w, *g;
	size_t dim;
	float eps, *dx;
	int add;
};

/* y = inv x w, inv = (mean x^2 + eps)^-1/2:
 * dx = inv (w g - x inv^2 mean(w g x)) */
static void norm_range(void *ctx, size_t first, size_t count)
{
	const struct norm *j = ctx;
	size_t i, c;

	for (i = first; i < first + count; i++) {
		const float *x = j->x + i * j->dim, *g = j->g + i * j->dim;
		float *dx = j->dx + i * j->dim;
		float inv = 1.0f / sqrtf(j->vec->dot(x, x, j->dim) /
		                         (float)j->dim + j->eps);
		float along = 0;

		for (c = 0; c < j->dim; c++)
			along += j->w[c] * g[c] * x[c];
		along *= inv * inv / (float)j->dim;
		for (c = 0; c < j->dim; c++)
			dx[c] = inv * (j->w[c] * g[c] - along * x[c]) +
			        (j->add ? dx[c] : 0);
	}
}

static int back_rmsnorm(struct dev *d, const float *x, size_t n, size_t dim,
                        const float *w, float eps, const float *g, int add,
                        float *dx, struct err *e)
{
	struct dev_cpu *c = (struct dev_cpu *)d;
	struct norm j = { c->vec, x, w, g, dim, eps, dx, add };

	(void)e;
	dev_cpu_ranges(c, n, dev_cpu_grain(dim), norm_range, &j);
	return 0;
}

struct attn {
	struct dev_cpu *dev;
	const float *q, *k, *v, *g;
	const struct dev_seqs *s;
	size_t n_heads, n_kv, group, d_head, longest;
	float scale, *dq, *dk, *dv;
};

/* C (+)= alpha A B, strides given */
static void product(int ta, int tb, size_t m, size_t n, size_t k, float alpha,
                    const float *a, size_t lda, const float *b, size_t ldb,
                    float beta, float *c, size_t ldc)
{
	cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans,
	            tb ? CblasTrans : CblasNoTrans, (int)m, (int)n, (int)k,
	            alpha, a, (int)lda, b, (int)ldb, beta, c, (int)ldc);
}

/* Scores of m queries from position q0 on to probabilities, in place. */
static void soften(const struct attn *a, float *p, size_t m, size_t q0,
                   size_t keys)
{
	const struct vec_ops *vec = a->dev->vec;
	size_t i;

	for (i = 0; i < m; i++) {
		size_t seen = q0 + i + 1;
		float *row = p + i * keys;
		float sum = vec->exp_sum(row, seen, vec->max(row, seen), row);

		vec->scale(row, 1 / sum, seen);
		memset(row + seen, 0, (keys - seen) * sizeof(*row));
	}
}

/* dp = dL/dp to dL/dscores: p (dp - sum p dp), times the scale */
static void softmax_back(const struct attn *a, const float *p, float *dp,
                         size_t m, size_t keys)
{
	size_t i, j;

	for (i = 0; i < m; i++) {
		const float *r = p + i * keys;
		float *dr = dp + i * keys;
		float sum = a->dev->vec->dot(r, dr, keys);

		for (j = 0; j < keys; j++)
			dr[j] = r[j] * (dr[j] - sum) * a->scale;
	}
}

/* One key head of one sequence, the query heads that share it in order. */
static void attn_item(void *ctx, size_t item, int thread)
{
	const struct attn *a = ctx;
	size_t seq = item / a->n_kv, kv = item % a->n_kv, dh = a->d_head;
	size_t first = a->s->start[seq], n = a->s->start[seq + 1] - first;
	size_t qs = a->n_heads * dh, ks = a->n_kv * dh, h, q0;
	size_t at = first * ks + kv * dh;
	float *p = dev_cpu_scratch(a->dev, thread);
	float *dp = p + Q_ROWS * a->longest;

	for (q0 = 0; q0 < n; q0++) {
		memset(a->dk + at + q0 * ks, 0, dh * sizeof(float));
		memset(a->dv + at + q0 * ks, 0, dh * sizeof(float));
	}
	for (h = kv * a->group; h < (kv + 1) * a->group; h++)
		for (q0 = 0; q0 < n; q0 += Q_ROWS) {
			size_t m = n - q0 < Q_ROWS ? n - q0 : Q_ROWS;
			size_t keys = q0 + m, r = (first + q0) * qs + h * dh;

			product(0, 1, m, keys, dh, a->scale, a->q + r, qs,
			        a->k + at, ks, 0, p, keys);
			soften(a, p, m, q0, keys);
			product(0, 1, m, keys, dh, 1, a->g + r, qs, a->v + at,
			        ks, 0, dp, keys);
			product(1, 0, keys, dh, m, 1, p, keys, a->g + r, qs, 1,
			        a->dv + at, ks);
			softmax_back(a, p, dp, m, keys);
			product(0, 0, m, dh, keys, 1, dp, keys, a->k + at, ks,
			        0, a->dq + r, qs);
			product(1, 0, keys, dh, m, 1, dp, keys, a->q + r, qs, 1,
			        a->dk + at, ks);
		}
}

static int back_attention(struct dev *d, const float *q, const float *k,
                          const float *v, const float *g,
                          const struct dev_seqs *s, size_t n_heads,
                          size_t n_kv, size_t d_head, float scale, float *dq,
                          float *dk, float *dv, struct err *e)
{
	struct attn a = {
		.dev = (struct dev_cpu *)d, .q = q, .k = k, .v = v, .g = g,
		.s = s, .n_heads = n_heads, .n_kv = n_kv, .d_head = d_head,
		.scale = scale, .dq = dq, .dk = dk, .dv = dv
	};
	size_t i;

	if (n_kv == 0 || n_heads % n_kv != 0 || d_head == 0 ||
	    n_heads * d_head > INT_MAX)
		return err_set(e, ERR_RANGE, "attention: %zu heads over %zu "
		               "key heads of %zu", n_heads, n_kv, d_head);
	a.group = n_heads / n_kv;
	for (i = 0; i < s->n; i++)
		if (s->start[i + 1] - s->start[i] > a.longest)
			a.longest = s->start[i + 1] - s->start[i];
	if (dev_cpu_scratch_need(a.dev, 2 * Q_ROWS * a.longest * sizeof(float),
	                         e) < 0)
		return -1;
	par_for(a.dev->base.pool, s->n * n_kv, attn_item, &a);
	return 0;
}

struct divergence {
	const struct vec_ops *vec;
	float *logits;
	const float *ref, *weight;
	size_t n_vocab;
};

enum { PIECE = 1024 };

/* sum exp(x[n] - max), pieces added up in double */
static double exp_total(const struct vec_ops *vec, const float *x, size_t n,
                        float max)
{
	float tmp[PIECE];
	double sum = 0;
	size_t i;

	for (i = 0; i < n; i += PIECE)
		sum += vec->exp_sum(x + i, n - i < PIECE ? n - i : PIECE, max,
		                    tmp);
	return sum;
}

static void divergence_range(void *ctx, size_t first, size_t count)
{
	const struct divergence *j = ctx;
	size_t n = j->n_vocab, i, k, c, m;
	float p[PIECE], q[PIECE];

	for (i = first; i < first + count; i++) {
		float *x = j->logits + i * n, w = j->weight[i];
		const float *r = j->ref + i * n;
		float mx, mr, sx, sr;

		if (w == 0) {
			memset(x, 0, n * sizeof(*x));
			continue;
		}
		mx = j->vec->max(x, n);
		mr = j->vec->max(r, n);
		sx = (float)(w / exp_total(j->vec, x, n, mx));
		sr = (float)(w / exp_total(j->vec, r, n, mr));
		for (k = 0; k < n; k += PIECE) {
			m = n - k < PIECE ? n - k : PIECE;
			j->vec->exp_sum(x + k, m, mx, q);
			j->vec->exp_sum(r + k, m, mr, p);
			for (c = 0; c < m; c++)
				x[k + c] = q[c] * sx - p[c] * sr;
		}
	}
}

static int back_divergence(struct dev *d, float *logits, const float *ref,
                           size_t n, size_t n_vocab, const float *weight,
                           struct err *e)
{
	struct dev_cpu *c = (struct dev_cpu *)d;
	struct divergence j = { c->vec, logits, ref, weight, n_vocab };

	(void)e;
	dev_cpu_ranges(c, n, dev_cpu_grain(n_vocab), divergence_range, &j);
	return 0;
}

const struct dev_back_ops dev_cpu_back = {
	.rmsnorm = back_rmsnorm,
	.attention = back_attention,
	.divergence = back_divergence,
};
