/*
 * Attribution on the CPU. Everything that is large is a small matrix product
 * per item: a block of a pattern, a few targets' share of a value head, the
 * sources of one position.
 */
#include "dev_attr.h"

#include <cblas.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "dev_cpu.h"

enum {
	QUERIES = 64,		/* of a pattern, per item */
	BACK_KEYS = 128,	/* positions of a product on the way back */
	BACK_VALUES = 256 << 10	/* gathered for it, about */
};

/* ---- patterns ---- */

struct patterns {
	struct dev_cpu *dev;
	const float *q, *k;
	size_t n, n_heads, n_kv, d_head, blocks;
	float scale, *p;
};

static void patterns_item(void *ctx, size_t item, int thread)
{
	const struct patterns *a = ctx;
	const struct vec_ops *vec = a->dev->vec;
	size_t h = item / a->blocks, i0 = item % a->blocks * QUERIES, i;
	size_t m = a->n - i0 < QUERIES ? a->n - i0 : QUERIES;
	size_t kv = h / (a->n_heads / a->n_kv);
	float *p = a->p + (h * a->n + i0) * a->n;

	(void)thread;
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m,
	            (int)(i0 + m), (int)a->d_head, a->scale,
	            a->q + (i0 * a->n_heads + h) * a->d_head,
	            (int)(a->n_heads * a->d_head), a->k + kv * a->d_head,
	            (int)(a->n_kv * a->d_head), 0, p, (int)a->n);
	for (i = i0; i < i0 + m; i++, p += a->n) {
		float sum = vec->exp_sum(p, i + 1, vec->max(p, i + 1), p);

		vec->scale(p, 1 / sum, i + 1);
		memset(p + i + 1, 0, (a->n - i - 1) * sizeof(*p));
	}
}

static int check_heads(size_t n, size_t n_heads, size_t n_kv, size_t d_head,
                       struct err *e)
{
	if (n_kv == 0 || n_heads % n_kv != 0 || d_head == 0)
		return err_set(e, ERR_RANGE, "attention: %zu heads over %zu "
		               "key heads of %zu", n_heads, n_kv, d_head);
	if (n > INT_MAX || n_heads * d_head > INT_MAX)
		return err_set(e, ERR_RANGE, "attention: %zu positions of %zu "
		               "values", n, n_heads * d_head);
	return 0;
}

static int cpu_patterns(struct dev *d, const float *q, const float *k,
                        size_t n, size_t n_heads, size_t n_kv, size_t d_head,
                        float scale, float *p, struct err *e)
{
	struct patterns a = {
		(struct dev_cpu *)d, q, k, n, n_heads, n_kv, d_head,
		(n + QUERIES - 1) / QUERIES, scale, p
	};

	if (check_heads(n, n_heads, n_kv, d_head, e) < 0)
		return -1;
	par_for(a.dev->base.pool, n_heads * a.blocks, patterns_item, &a);
	return 0;
}

/* ---- back through the patterns ---- */

struct back {
	struct dev_cpu *dev;
	const float *p, *dz;
	size_t n, rows, n_heads, n_kv, d_head;
	size_t few;		/* targets of an item */
	float *dv;
};

/* A few targets and one value head: their gradients behind each head that
 * shares it are laid side by side, [n, few d_head], and meet the head's pattern
 * transposed, block by block on and below the diagonal. */
static void back_item(void *ctx, size_t item, int thread)
{
	const struct back *a = ctx;
	size_t group = a->n_heads / a->n_kv, dh = a->d_head, n = a->n;
	size_t kv = item % a->n_kv, r0 = item / a->n_kv * a->few;
	size_t few = a->rows - r0 < a->few ? a->rows - r0 : a->few;
	size_t width = few * dh, h, i, j, r;
	float *in = dev_cpu_scratch(a->dev, thread);
	float *out = in + n * a->few * dh;

	for (h = kv * group; h < (kv + 1) * group; h++) {
		for (i = 0; i < n; i++)
			for (r = 0; r < few; r++)
				memcpy(in + i * width + r * dh,
				       a->dz + ((i * a->rows + r0 + r) *
				                a->n_heads + h) * dh,
				       dh * sizeof(*in));
		for (j = 0; j < n; j += BACK_KEYS) {
			size_t m = n - j < BACK_KEYS ? n - j : BACK_KEYS;

			cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans,
			            (int)m, (int)width, (int)(n - j), 1,
			            a->p + (h * n + j) * n + j, (int)n,
			            in + j * width, (int)width,
			            h == kv * group ? 0 : 1, out + j * width,
			            (int)width);
		}
	}
	for (i = 0; i < n; i++)
		for (r = 0; r < few; r++)
			memcpy(a->dv + ((i * a->rows + r0 + r) * a->n_kv + kv) *
			       dh, out + i * width + r * dh,
			       dh * sizeof(*out));
}

static int cpu_values_back(struct dev *d, const float *p, const float *dz,
                           size_t n, size_t rows, size_t n_heads, size_t n_kv,
                           size_t d_head, float *dv, struct err *e)
{
	struct back a = {
		(struct dev_cpu *)d, p, dz, n, rows, n_heads, n_kv, d_head, 0, dv
	};

	if (n == 0 || rows == 0)
		return 0;
	if (check_heads(n, n_heads, n_kv, d_head, e) < 0)
		return -1;
	a.few = BACK_VALUES / (n * d_head);
	a.few = a.few < 1 ? 1 : a.few > 16 ? 16 : a.few;
	if (dev_cpu_scratch_need(a.dev, 2 * n * a.few * d_head * sizeof(float),
	                         e) < 0)
		return -1;
	par_for(a.dev->base.pool, (rows + a.few - 1) / a.few * n_kv, back_item,
	        &a);
	return 0;
}

/* ---- forward through the patterns ---- */

struct forward {
	const float *p, *v;
	size_t n, n_heads, n_kv, d_head, blocks;
	float *out;
};

static void forward_item(void *ctx, size_t item, int thread)
{
	const struct forward *a = ctx;
	size_t h = item / a->blocks, i = item % a->blocks * QUERIES;
	size_t m = a->n - i < QUERIES ? a->n - i : QUERIES;
	size_t kv = h / (a->n_heads / a->n_kv);

	(void)thread;
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)m,
	            (int)a->d_head, (int)(i + m), 1, a->p + (h * a->n + i) *
	            a->n, (int)a->n, a->v + kv * a->d_head,
	            (int)(a->n_kv * a->d_head), 0,
	            a->out + (i * a->n_heads + h) * a->d_head,
	            (int)(a->n_heads * a->d_head));
}

static int cpu_values(struct dev *d, const float *p, const float *v, size_t n,
                      size_t n_heads, size_t n_kv, size_t d_head, float *out,
                      struct err *e)
{
	struct forward a = {
		p, v, n, n_heads, n_kv, d_head, (n + QUERIES - 1) / QUERIES, out
	};

	if (check_heads(n, n_heads, n_kv, d_head, e) < 0)
		return -1;
	par_for(dev_par(d), n_heads * a.blocks, forward_item, &a);
	return 0;
}

/* ---- scaled rows and sums ---- */

struct scaled {
	const struct vec_ops *vec;
	const float *x, *s, *w;
	size_t rows, dim;
	float *y;
};

static void scaled_range(void *ctx, size_t first, size_t count)
{
	const struct scaled *a = ctx;
	size_t i;

	for (i = first; i < first + count; i++)
		a->vec->axpy(a->s[i / a->rows], a->x + i * a->dim,
		             a->y + i * a->dim, a->dim);
}

static int cpu_add_scaled(struct dev *d, const float *x, const float *s,
                          size_t n, size_t rows, size_t dim, float *y,
                          struct err *e)
{
	struct dev_cpu *c = (struct dev_cpu *)d;
	struct scaled a = { c->vec, x, s, NULL, rows, dim, y };

	(void)e;
	dev_cpu_ranges(c, n * rows, dev_cpu_grain(dim), scaled_range, &a);
	return 0;
}

static void scale_range(void *ctx, size_t first, size_t count)
{
	const struct scaled *a = ctx;
	size_t i;

	for (i = first; i < first + count; i++)
		a->vec->mul_scale(a->x + i * a->dim, a->s[i], a->w, a->dim,
		                  a->y + i * a->dim);
}

static int cpu_scale_rows(struct dev *d, const float *x, const float *s,
                          const float *w, size_t n, size_t dim, float *out,
                          struct err *e)
{
	struct dev_cpu *c = (struct dev_cpu *)d;
	struct scaled a = { c->vec, x, s, w, 1, dim, out };

	(void)e;
	dev_cpu_ranges(c, n, dev_cpu_grain(dim), scale_range, &a);
	return 0;
}

/* ---- sources ---- */

struct contract {
	struct dev_cpu *dev;
	const float *g, *w, *extra;
	size_t rows, dim;
	const struct dev_attr_src *s;
	float *out;
};

static void contract_item(void *ctx, size_t j, int thread)
{
	const struct contract *a = ctx;
	size_t first = a->s ? a->s->first[j] : 0;
	size_t m = a->s ? a->s->first[j + 1] - first : 0, i;
	size_t before = a->s ? first - a->s->first[0] + j : j;
	float *in = dev_cpu_scratch(a->dev, thread);

	for (i = 0; i < m; i++) {
		memcpy(in + i * a->dim, a->w + a->s->row[first + i] * a->dim,
		       a->dim * sizeof(*in));
		a->dev->vec->scale(in + i * a->dim, a->s->value[first + i],
		                   a->dim);
	}
	memcpy(in + m * a->dim, a->extra + j * a->dim, a->dim * sizeof(*in));
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)a->rows,
	            (int)(m + 1), (int)a->dim, 1, a->g + j * a->rows * a->dim,
	            (int)a->dim, in, (int)a->dim, 0,
	            a->out + before * a->rows, (int)(m + 1));
}

static int cpu_contract(struct dev *d, const float *g, size_t n, size_t rows,
                        size_t dim, const struct dev_attr_src *s,
                        const float *w, const float *extra, float *out,
                        struct err *e)
{
	struct contract a = {
		(struct dev_cpu *)d, g, w, extra, rows, dim, s, out
	};
	size_t most = 0, j;

	if (n == 0 || rows == 0)
		return 0;
	for (j = 0; s && j < n; j++)
		if (s->first[j + 1] - s->first[j] > most)
			most = s->first[j + 1] - s->first[j];
	if (rows > INT_MAX || dim > INT_MAX || most >= INT_MAX)
		return err_set(e, ERR_RANGE, "contraction of %zu targets, %zu "
		               "sources of %zu", rows, most, dim);
	if (dev_cpu_scratch_need(a.dev, (most + 1) * dim * sizeof(float), e) < 0)
		return -1;
	par_for(a.dev->base.pool, n, contract_item, &a);
	return 0;
}

const struct dev_attr_ops dev_cpu_attr = {
	.patterns = cpu_patterns,
	.values_back = cpu_values_back,
	.values = cpu_values,
	.scale_rows = cpu_scale_rows,
	.add_scaled = cpu_add_scaled,
	.contract = cpu_contract,
};
