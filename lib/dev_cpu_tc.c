#include "dev_cpu_tc.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "mem.h"

#define VEC_W 4
#define TC_TABLE dev_cpu_tc_loops_portable
#include "dev_cpu_tc_body.h"

const struct tc_loops *dev_cpu_tc_loops_level(int level)
{
	if (!vec_level(level))
		return NULL;
#if defined(__x86_64__)
	if (level == 1)
		return &dev_cpu_tc_loops_avx2;
	if (level == 2)
		return &dev_cpu_tc_loops_avx512;
#endif
	return level == 0 ? &dev_cpu_tc_loops_portable : NULL;
}

const struct tc_loops *dev_cpu_tc_loops(void)
{
	int level = 2;

	while (!dev_cpu_tc_loops_level(level))
		level--;
	return dev_cpu_tc_loops_level(level);
}

/* Row-wise ops share one context; each uses what it needs. */
struct rows {
	struct dev_cpu *dev;
	const struct tc_loops *loops;
	const struct dev_tc_codes *c;
	const float *x, *w, *mean;
	const uint32_t *ids;
	size_t n, dim;
	float scale, *out;
	double *out64;
};

static struct dev_cpu *cpu(struct dev *d)
{
	return (struct dev_cpu *)d;
}

static void decode_range(void *ctx, size_t first, size_t n)
{
	const struct rows *q = ctx;
	const float *ahead[TC_AHEAD];
	size_t i, j, m, k = q->c->k;

	for (i = first; i < first + n; i++) {
		const uint32_t *latent = q->c->latent + i * k;

		m = i + 1 < q->c->n ? tc_active(latent + k, k) : 0;
		for (j = 0; j < m && j < TC_AHEAD; j++)
			ahead[j] = q->w + (size_t)latent[k + j] * q->dim;
		q->loops->combine(q->w, latent, q->c->value + i * k,
		                  tc_active(latent, k), ahead, j, q->dim, 1,
		                  q->out + i * q->dim);
	}
}

static int tc_decode_op(struct dev *d, const struct dev_tc_codes *c,
                        const float *w, size_t dim, float *out, struct err *e)
{
	struct rows q = { .loops = dev_cpu_tc_loops(), .c = c, .w = w, .dim = dim,
	                  .out = out };

	(void)e;
	dev_cpu_ranges(cpu(d), c->n, 8, decode_range, &q);
	return 0;
}

static void slope_range(void *ctx, size_t first, size_t n)
{
	const struct rows *q = ctx;
	size_t i, j, k = q->c->k;

	for (i = first; i < first + n; i++) {
		const uint32_t *latent = q->c->latent + i * k;
		size_t m = tc_active(latent, k);

		for (j = 0; j < k; j++)
			q->out[i * k + j] = j < m
			    ? q->dev->vec->dot(q->x + i * q->dim,
			                       q->w + (size_t)latent[j] * q->dim,
			                       q->dim) : 0;
	}
}

static int tc_slope_op(struct dev *d, const struct dev_tc_codes *c,
                       const float *g, const float *w, size_t dim,
                       float *slope, struct err *e)
{
	struct rows q = { .dev = cpu(d), .c = c, .x = g, .w = w, .dim = dim,
	                  .out = slope };

	(void)e;
	dev_cpu_ranges(cpu(d), c->n, 8, slope_range, &q);
	return 0;
}

static void col_sum_range(void *ctx, size_t first, size_t n)
{
	const struct rows *q = ctx;

	q->loops->col_sum(q->x + first, q->n, q->dim, n, q->out64 + first);
}

static int tc_col_sum(struct dev *d, const float *x, size_t n, size_t dim,
                      double *sum, struct err *e)
{
	struct rows q = { .loops = dev_cpu_tc_loops(), .x = x, .n = n,
	                  .dim = dim, .out64 = sum };

	(void)e;
	dev_cpu_ranges(cpu(d), dim, 64, col_sum_range, &q);
	return 0;
}

static void row_sq_range(void *ctx, size_t first, size_t n)
{
	const struct rows *q = ctx;
	size_t i;

	for (i = first; i < first + n; i++)
		q->out64[i] = q->loops->sq(q->x + i * q->dim, q->mean, q->dim);
}

static int tc_row_sq(struct dev *d, const float *x, size_t n, size_t dim,
                     const float *mean, double *sq, struct err *e)
{
	struct rows q = { .loops = dev_cpu_tc_loops(), .x = x, .mean = mean,
	                  .dim = dim, .out64 = sq };

	(void)e;
	dev_cpu_ranges(cpu(d), n, dev_cpu_grain(dim), row_sq_range, &q);
	return 0;
}

static void dots_range(void *ctx, size_t first, size_t n)
{
	const struct rows *q = ctx;
	size_t i;

	for (i = first; i < first + n; i++)
		q->out64[i] = (double)q->dev->vec->dot(q->x + i * q->dim,
		                                       q->w + i * q->dim,
		                                       q->dim);
}

static int tc_dots(struct dev *d, const float *a, const float *b, size_t n,
                   size_t dim, double *dot, struct err *e)
{
	struct rows q = { .dev = cpu(d), .x = a, .w = b, .dim = dim,
	                  .out64 = dot };

	(void)e;
	dev_cpu_ranges(cpu(d), n, dev_cpu_grain(dim), dots_range, &q);
	return 0;
}

static void centre_range(void *ctx, size_t first, size_t n)
{
	const struct rows *q = ctx;
	size_t i;

	for (i = first; i < first + n; i++)
		q->loops->centre(q->x + (q->ids ? q->ids[i] : i) * q->dim,
		                 q->mean, q->scale, q->dim, q->out + i * q->dim);
}

static int tc_centre(struct dev *d, const float *x, const uint32_t *rows,
                     size_t n, size_t dim, const float *mean, float scale,
                     float *out, struct err *e)
{
	struct rows q = { .loops = dev_cpu_tc_loops(), .x = x, .ids = rows,
	                  .dim = dim, .mean = mean, .scale = scale,
	                  .out = out };

	(void)e;
	dev_cpu_ranges(cpu(d), n, dev_cpu_grain(dim), centre_range, &q);
	return 0;
}

static void fill_rows_range(void *ctx, size_t first, size_t n)
{
	const struct rows *q = ctx;
	size_t i;

	for (i = first; i < first + n; i++)
		memcpy(q->out + i * q->dim, q->x, q->dim * sizeof(float));
}

static int tc_fill_rows(struct dev *d, const float *row, size_t n, size_t dim,
                        float *out, struct err *e)
{
	struct rows q = { .x = row, .dim = dim, .out = out };

	(void)e;
	dev_cpu_ranges(cpu(d), n, dev_cpu_grain(dim), fill_rows_range, &q);
	return 0;
}

static void scale_range(void *ctx, size_t first, size_t n)
{
	const struct rows *q = ctx;
	size_t i;

	for (i = first; i < first + n; i++)
		q->out[i] = q->x[i] * q->scale;
}

static int tc_scale(struct dev *d, const float *a, float scale, size_t n,
                    float *out, struct err *e)
{
	struct rows q = { .x = a, .scale = scale, .out = out };

	(void)e;
	dev_cpu_ranges(cpu(d), n, 16384, scale_range, &q);
	return 0;
}

static void gather_range(void *ctx, size_t first, size_t n)
{
	const struct rows *q = ctx;
	size_t i;

	for (i = first; i < first + n; i++)
		memcpy(q->out + i * q->dim, q->w + (size_t)q->ids[i] * q->dim,
		       q->dim * sizeof(float));
}

static int tc_gather(struct dev *d, const float *w, const uint32_t *ids,
                     size_t n, size_t dim, float *out, struct err *e)
{
	struct rows q = { .w = w, .ids = ids, .dim = dim, .out = out };

	(void)e;
	dev_cpu_ranges(cpu(d), n, dev_cpu_grain(dim), gather_range, &q);
	return 0;
}

/* LAPACK, as OpenBLAS carries it; Fortran's column-major order. */
void dpotrf_(const char *uplo, const int *n, double *a, const int *lda,
             int *info);
void dpotrs_(const char *uplo, const int *n, const int *nrhs, const double *a,
             const int *lda, double *b, const int *ldb, int *info);

static int tc_ridge(struct dev *d, const float *a, const float *b, size_t d_in,
                    size_t d_out, double ridge, float *w, struct err *e)
{
	double *aa = NULL, *bb = NULL;
	int n = (int)d_in, m = (int)d_out, info, rc = -1;
	size_t i, j;

	(void)d;
	if (d_in > 46340 || d_out > INT_MAX)
		return err_set(e, ERR_RANGE, "least squares of %zu columns",
		               d_in);
	aa = mem_scratch(d_in * d_in, sizeof(*aa), e);
	bb = mem_scratch(d_in, d_out * sizeof(*bb), e);
	if (!aa || !bb)
		goto done;
	for (i = 0; i < d_in * d_in; i++)
		aa[i] = a[i];
	for (i = 0; i < d_in; i++) {
		aa[i * d_in + i] += ridge;
		for (j = 0; j < d_out; j++)
			bb[j * d_in + i] = b[i * d_out + j];
	}
	dpotrf_("L", &n, aa, &n, &info);
	if (info == 0)
		dpotrs_("L", &n, &m, aa, &n, bb, &n, &info);
	if (info != 0) {
		err_set(e, ERR_RANGE, "least squares: matrix not positive "
		        "definite at column %d", info);
		goto done;
	}
	for (i = 0; i < d_in * d_out; i++)
		w[i] = (float)bb[i];
	rc = 0;
done:
	mem_free(aa);
	mem_free(bb);
	return rc;
}

static int tc_mark(struct dev *d, const struct dev_tc_codes *c, uint64_t now,
                   uint64_t *last, uint64_t *active, struct err *e)
{
	size_t i;

	(void)d;
	(void)e;
	*active = 0;
	for (i = 0; i < c->n * c->k; i++)
		if (c->latent[i] != DEV_TC_NONE) {
			last[c->latent[i]] = now;
			++*active;
		}
	return 0;
}

const struct dev_tc_ops dev_cpu_tc = {
	.encode = dev_cpu_tc_encode,
	.encode_near = dev_cpu_tc_encode_near,
	.encode_keeps = dev_cpu_tc_encode_keeps,
	.decode = tc_decode_op,
	.slope = tc_slope_op,
	.skip_add = dev_cpu_tc_skip_add,
	.skip_grad = dev_cpu_tc_skip_grad,
	.skip_sums = dev_cpu_tc_skip_sums,
	.skip_keeps = dev_cpu_tc_skip_keeps,
	.step_latents = dev_cpu_tc_step_latents,
	.step = dev_cpu_tc_step,
	.col_sum = tc_col_sum,
	.row_sq = tc_row_sq,
	.dots = tc_dots,
	.scatter = dev_cpu_tc_scatter,
	.gram = dev_cpu_tc_gram,
	.square = dev_cpu_tc_square,
	.centre = tc_centre,
	.fill_rows = tc_fill_rows,
	.scale = tc_scale,
	.gather = tc_gather,
	.ridge = tc_ridge,
	.mark = tc_mark,
};
