/* Ops of the CPU that go row by row or value by value. */
#include <math.h>

#include "dev_cpu.h"

struct embed {
	const struct tensor *w;
	const uint32_t *ids;
	float *out;
};

static void embed_range(void *ctx, size_t first, size_t count)
{
	const struct embed *j = ctx;
	size_t dim = j->w->shape[1], i;

	for (i = first; i < first + count; i++)
		tensor_f32(j->w, j->ids[i] * dim, dim, j->out + i * dim, NULL);
}

int dev_cpu_embed(struct dev *d, const struct tensor *w, const uint32_t *ids,
                  size_t n, float *out, struct err *e)
{
	struct embed j = { w, ids, out };
	size_t i;

	if (w->n_dims != 2 || w->shape[1] % dtype_block(w->type) != 0)
		return err_set(e, ERR_RANGE, "embedding %s is no table of rows",
		               w->name);
	for (i = 0; i < n; i++)
		if (ids[i] >= w->shape[0])
			return err_set(e, ERR_RANGE, "token %zu: id %u, the "
			               "vocabulary has %zu", i, ids[i],
			               w->shape[0]);
	if (tensor_f32(w, 0, 0, NULL, e) < 0)
		return -1;
	dev_cpu_ranges((struct dev_cpu *)d, n, dev_cpu_grain(w->shape[1]), embed_range,
	           &j);
	return 0;
}

struct rmsnorm {
	const struct vec_ops *vec;
	const float *x, *w;
	size_t dim;
	float eps, *out, *inv_rms;
};

static void rmsnorm_range(void *ctx, size_t first, size_t count)
{
	const struct rmsnorm *j = ctx;
	size_t i;

	for (i = first; i < first + count; i++) {
		const float *x = j->x + i * j->dim;
		float inv = 1.0f / sqrtf(j->vec->dot(x, x, j->dim) /
		                         (float)j->dim + j->eps);

		j->vec->mul_scale(x, inv, j->w, j->dim, j->out + i * j->dim);
		if (j->inv_rms)
			j->inv_rms[i] = inv;
	}
}

int dev_cpu_rmsnorm(struct dev *d, const float *x, size_t n, size_t dim,
                    const float *w, float eps, float *out, float *inv_rms,
                    struct err *e)
{
	struct dev_cpu *c = (struct dev_cpu *)d;
	struct rmsnorm j = { c->vec, x, w, dim, eps, out, inv_rms };

	(void)e;
	dev_cpu_ranges(c, n, dev_cpu_grain(dim), rmsnorm_range, &j);
	return 0;
}

struct rope_table {
	const uint32_t *pos;
	const float *inv_freq;
	size_t half;
	float *cs;
};

static void rope_table_range(void *ctx, size_t first, size_t count)
{
	const struct rope_table *j = ctx;
	size_t i, k;

	for (i = first; i < first + count; i++) {
		float *cs = j->cs + i * 2 * j->half;

		for (k = 0; k < j->half; k++) {
			float angle = (float)j->pos[i] * j->inv_freq[k];

			cs[k] = cosf(angle);
			cs[j->half + k] = sinf(angle);
		}
	}
}

int dev_cpu_rope_table(struct dev *d, const uint32_t *pos, size_t n,
                       const float *inv_freq, size_t d_head, float *cs,
                       struct err *e)
{
	struct rope_table j = { pos, inv_freq, d_head / 2, cs };

	(void)e;
	dev_cpu_ranges((struct dev_cpu *)d, n, dev_cpu_grain(d_head * 16),
	           rope_table_range, &j);
	return 0;
}

struct rope {
	const struct vec_ops *vec;
	float *x;
	size_t n_heads, d_head;
	const float *cs;
};

static void rope_range(void *ctx, size_t first, size_t count)
{
	const struct rope *j = ctx;
	size_t i, h;

	for (i = first; i < first + count; i++)
		for (h = 0; h < j->n_heads; h++)
			j->vec->rope(j->x + (i * j->n_heads + h) * j->d_head,
			             j->cs + i * j->d_head, j->d_head / 2);
}

int dev_cpu_rope(struct dev *d, float *x, size_t n, size_t n_heads,
                 size_t d_head, const float *cs, struct err *e)
{
	struct dev_cpu *c = (struct dev_cpu *)d;
	struct rope j = { c->vec, x, n_heads, d_head, cs };

	(void)e;
	dev_cpu_ranges(c, n, dev_cpu_grain(n_heads * d_head), rope_range, &j);
	return 0;
}

struct elem {
	const struct vec_ops *vec;
	float alpha;
	const float *x;
	float *y;
};

static void silu_mul_range(void *ctx, size_t first, size_t count)
{
	const struct elem *j = ctx;

	j->vec->silu_mul(j->y + first, j->x + first, count);
}

int dev_cpu_silu_mul(struct dev *d, float *gate, const float *up, size_t n,
                     struct err *e)
{
	struct dev_cpu *c = (struct dev_cpu *)d;
	struct elem j = { c->vec, 0, up, gate };

	(void)e;
	dev_cpu_ranges(c, n, dev_cpu_grain(1), silu_mul_range, &j);
	return 0;
}

static void axpy_range(void *ctx, size_t first, size_t count)
{
	const struct elem *j = ctx;

	j->vec->axpy(j->alpha, j->x + first, j->y + first, count);
}

int dev_cpu_axpy(struct dev *d, float alpha, const float *x, float *y, size_t n,
                 struct err *e)
{
	struct dev_cpu *c = (struct dev_cpu *)d;
	struct elem j = { c->vec, alpha, x, y };

	(void)e;
	dev_cpu_ranges(c, n, dev_cpu_grain(1), axpy_range, &j);
	return 0;
}
