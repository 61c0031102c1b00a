#include "dev_tc_ref.h"

#include <math.h>
#include <stdlib.h>

#include "mem.h"

struct ranked {
	double value;
	uint32_t latent;
};

static int by_rank(const void *a, const void *b)
{
	const struct ranked *p = a, *q = b;

	if (p->value != q->value)
		return p->value < q->value ? 1 : -1;
	return p->latent < q->latent ? -1 : p->latent > q->latent;
}

int dev_tc_ref_encode(const float *x, size_t n, size_t d_in, const float *w,
                      const float *b, size_t n_latents, const uint32_t *ids,
                      struct dev_tc_codes *out, struct err *e)
{
	struct ranked *p = mem_array(n_latents, sizeof(*p), e);
	size_t i, j, c;

	if (!p)
		return -1;
	out->n = n;
	for (i = 0; i < n; i++) {
		for (j = 0; j < n_latents; j++) {
			p[j].value = b[j];
			p[j].latent = ids ? ids[j] : (uint32_t)j;
			for (c = 0; c < d_in; c++)
				p[j].value += (double)x[i * d_in + c] *
				              w[j * d_in + c];
		}
		qsort(p, n_latents, sizeof(*p), by_rank);
		for (j = 0; j < out->k; j++) {
			int on = j < n_latents && p[j].value > 0;

			out->latent[i * out->k + j] = on ? p[j].latent
			                                 : DEV_TC_NONE;
			out->value[i * out->k + j] = on ? (float)p[j].value : 0;
		}
	}
	mem_free(p);
	return 0;
}

void dev_tc_ref_decode(const struct dev_tc_codes *c, const float *w,
                       size_t dim, double *out)
{
	size_t i, j;

	for (i = 0; i < c->n * c->k; i++)
		if (c->latent[i] != DEV_TC_NONE)
			for (j = 0; j < dim; j++)
				out[i / c->k * dim + j] += (double)c->value[i] *
				    w[c->latent[i] * dim + j];
}

void dev_tc_ref_skip_add(const float *x, size_t n, size_t d_in, const float *w,
                         size_t d_out, double *out)
{
	size_t i, j;

	for (i = 0; i < n * d_out; i++)
		for (j = 0; j < d_in; j++)
			out[i] += (double)x[i / d_out * d_in + j] *
			          w[i % d_out * d_in + j];
}

void dev_tc_ref_skip_grad(const float *g, size_t n, size_t d_out,
                          const float *x, size_t d_in, double *out)
{
	size_t i, j;

	for (i = 0; i < n; i++)
		for (j = 0; j < d_out * d_in; j++)
			out[j] += (double)g[i * d_out + j / d_in] *
			          x[i * d_in + j % d_in];
}

static void part_gradients(const struct dev_tc_part *p, const float *x,
                           const float *g, const float *w_dec, size_t d_in,
                           size_t d_out, double *enc, double *bias,
                           double *dec)
{
	const struct dev_tc_codes *c = &p->codes;
	size_t i, j;

	for (i = 0; i < c->n * c->k; i++) {
		size_t m = c->latent[i], row = i / c->k;
		const float *gr = g + (p->g_row + row) * d_out;
		double slope = 0;

		if (m == DEV_TC_NONE)
			continue;
		for (j = 0; j < d_out; j++) {
			slope += (double)gr[j] * w_dec[m * d_out + j];
			dec[m * d_out + j] += (double)c->value[i] * gr[j];
		}
		if (p->decoder_only)
			continue;
		bias[m] += slope;
		for (j = 0; j < d_in; j++)
			enc[m * d_in + j] += slope * x[row * d_in + j];
	}
}

void dev_tc_ref_gradients(const struct dev_tc_part *parts, size_t n_parts,
                          const float *x, const float *g, const float *w_dec,
                          size_t d_in, size_t d_out, double *enc,
                          double *bias, double *dec)
{
	size_t i;

	for (i = 0; i < n_parts; i++)
		part_gradients(&parts[i], x, g, w_dec, d_in, d_out, enc, bias,
		               dec);
}

void dev_tc_ref_step(const struct dev_tc_opt *o, double g, double *w,
                     double *s1, double *s2)
{
	double x;

	switch (o->rule) {
	case DEV_TC_GRAD:
		*s1 = g;
		break;
	case DEV_TC_ADAM:
		*s1 = o->b1 * *s1 + (1 - (double)o->b1) * g;
		*s2 = o->b2 * *s2 + (1 - (double)o->b2) * g * g;
		*s1 = fabs(*s1) > DEV_TC_TINY ? *s1 : 0;
		*s2 = *s2 > DEV_TC_TINY ? *s2 : 0;
		*w -= o->lr * *s1 / (sqrt(*s2) * o->root + o->eps);
		break;
	case DEV_TC_SIGNUM:
		x = (*w - (1 - (double)o->b1) * *s1) / o->b1;
		*s1 -= o->lr * (double)((g > 0) - (g < 0));
		x += o->blend * (*s1 - x);
		*w = o->b1 * x + (1 - (double)o->b1) * *s1;
		break;
	}
}
