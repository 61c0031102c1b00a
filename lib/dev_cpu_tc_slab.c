/*
 * Products with the transpose of the codes' matrix. A row's k latents lie anywhere,
 * so what is gathered from and added to has to be in a cache: TC_SLAB columns of
 * all latents are, side by side, whatever the width. An item has such a slab, and
 * goes through all rows in order.
 */
#include <string.h>

#include "dev_cpu.h"
#include "dev_cpu_tc.h"

struct slabs {
	struct dev_cpu *dev;
	const struct tc_loops *loops;
	const struct dev_tc_codes *c;
	const float *rows, *v;	/* [n, dim], or NULL and [n_latents, dim] */
	size_t n_latents, dim;
	float *out;		/* [n_latents, dim] */
};

static void slab_item(void *ctx, size_t item, int thread)
{
	const struct slabs *s = ctx;
	size_t at = item * TC_SLAB, all = s->n_latents * TC_SLAB, i, j;
	size_t cols = s->dim - at < TC_SLAB ? s->dim - at : TC_SLAB;
	float *sum = dev_cpu_scratch(s->dev, thread), *in = sum + all;

	memset(sum, 0, all * sizeof(*sum));
	for (i = 0; s->v && i < s->n_latents; i++) {
		memcpy(in + i * TC_SLAB, s->v + i * s->dim + at,
		       cols * sizeof(*in));
		memset(in + i * TC_SLAB + cols, 0,
		       (TC_SLAB - cols) * sizeof(*in));
	}
	s->loops->slab(s->c, s->rows ? s->rows + at : NULL, s->dim, cols, in, sum);
	for (i = 0; i < s->n_latents; i++)
		for (j = 0; j < cols; j++)
			s->out[i * s->dim + at + j] += sum[i * TC_SLAB + j];
}

static int run(struct slabs *s, struct err *e)
{
	size_t bytes = s->n_latents * TC_SLAB * sizeof(float);

	if (dev_cpu_scratch_need(s->dev, (s->v ? 2 : 1) * bytes, e) < 0)
		return -1;
	par_for(s->dev->base.pool, dev_cpu_div_up(s->dim, TC_SLAB), slab_item, s);
	return 0;
}

int dev_cpu_tc_scatter(struct dev *d, const struct dev_tc_codes *c,
                       const float *v, size_t n_latents, size_t dim,
                       float *out, struct err *e)
{
	struct slabs s = { (struct dev_cpu *)d, dev_cpu_tc_loops(), c, v, NULL,
	                   n_latents, dim, out };

	return run(&s, e);
}

int dev_cpu_tc_gram(struct dev *d, const struct dev_tc_codes *c, const float *v,
                    size_t n_latents, size_t dim, float *out, struct err *e)
{
	struct slabs s = { (struct dev_cpu *)d, dev_cpu_tc_loops(), c, NULL, v,
	                   n_latents, dim, out };

	return run(&s, e);
}
