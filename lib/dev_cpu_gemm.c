/*
 * Matrix products on the CPU: the result is cut into tiles whose size depends
 * on its shape alone, each computed by one single-threaded BLAS call.
 */
#include <assert.h>
#include <cblas.h>
#include <limits.h>
#include <string.h>

#include "dev_cpu.h"

enum {
	TILE_M = 512, TILE_N = 768,	/* a tile at most: near BLAS' peak */
	TILE_MIN = 128,		/* not cut below this to make more tiles */
	TILES_WANTED = 16,	/* so that many threads have work */
	TILE_ROUND = 16,	/* BLAS kernels like multiples of it */
	EXPAND_VALUES = 4 << 20	/* of a weight panel held as f32 */
};

static size_t div_up(size_t a, size_t b)
{
	return a / b + (a % b != 0);
}

/* n cut into pieces of at most `max` (16 or more), equal up to rounding. */
static size_t even_piece(size_t n, size_t max)
{
	size_t piece = div_up(n, div_up(n, max));

	piece = div_up(piece, TILE_ROUND) * TILE_ROUND;
	return piece < n ? piece : n;
}

static void tile_sizes(size_t m, size_t n, size_t max_n, size_t *mt, size_t *nt)
{
	size_t wm = TILE_M, wn = max_n < TILE_N ? max_n : TILE_N;

	for (;;) {
		*mt = even_piece(m, wm);
		*nt = even_piece(n, wn);
		if (div_up(m, *mt) * div_up(n, *nt) >= TILES_WANTED)
			return;
		if (*mt >= *nt && *mt > TILE_MIN)
			wm = *mt / 2;
		else if (*nt > TILE_MIN)
			wn = *nt / 2;
		else
			return;
	}
}

struct gemm {
	struct dev_cpu *dev;
	int ta, tb;
	size_t m, n, k, lda, ldb, ldc;
	float alpha, beta;
	const float *a, *b;
	const struct tensor *w;	/* b in a stored type, or NULL */
	const float *bias;	/* n values put into c first, or NULL */
	float *c;
	size_t mt, nt, n_cols;	/* tile and tiles in a row of them */
};

/* Rows [first, first + n) of b, k values each, as f32. */
static const float *b_rows(const struct gemm *g, size_t first, size_t n,
                           int thread)
{
	float *f;
	int rc;

	if (!g->w)
		return g->b + first * g->ldb;
	f = dev_cpu_scratch(g->dev, thread);
	rc = tensor_f32(g->w, first * g->k, n * g->k, f, NULL);
	assert(rc == 0);	/* type and block were checked before */
	(void)rc;
	return f;
}

static void gemm_tile(void *ctx, size_t item, int thread)
{
	const struct gemm *g = ctx;
	size_t i0 = item / g->n_cols * g->mt, j0 = item % g->n_cols * g->nt;
	size_t m = g->m - i0 < g->mt ? g->m - i0 : g->mt;
	size_t n = g->n - j0 < g->nt ? g->n - j0 : g->nt;
	const float *a = g->a + (g->ta ? i0 : i0 * g->lda);
	const float *b = g->tb ? b_rows(g, j0, n, thread) : g->b + j0;
	float *c = g->c + i0 * g->ldc + j0;
	size_t i;

	if (g->bias)
		for (i = 0; i < m; i++)
			memcpy(c + i * g->ldc, g->bias + j0, n * sizeof(*c));
	cblas_sgemm(CblasRowMajor, g->ta ? CblasTrans : CblasNoTrans,
	            g->tb ? CblasTrans : CblasNoTrans, (int)m, (int)n,
	            (int)g->k, g->alpha, a, (int)g->lda, b, (int)g->ldb,
	            g->beta, c, (int)g->ldc);
}

static int gemm_run(struct gemm *g, struct err *e)
{
	if (g->m == 0 || g->n == 0)
		return 0;
	if (g->k > INT_MAX || g->lda > INT_MAX || g->ldb > INT_MAX ||
	    g->ldc > INT_MAX)
		return err_set(e, ERR_RANGE, "matrix product: k %zu or strides "
		               "%zu %zu %zu above %d", g->k, g->lda, g->ldb,
		               g->ldc, INT_MAX);
	g->n_cols = div_up(g->n, g->nt);
	par_for(g->dev->base.pool, div_up(g->m, g->mt) * g->n_cols, gemm_tile,
	        g);
	return 0;
}

int dev_cpu_gemm(struct dev *d, int ta, int tb, size_t m, size_t n, size_t k,
                 float alpha, const float *a, size_t lda, const float *b,
                 size_t ldb, float beta, float *c, size_t ldc, struct err *e)
{
	struct gemm g = {
		.dev = (struct dev_cpu *)d, .ta = ta, .tb = tb, .m = m, .n = n,
		.k = k, .lda = lda, .ldb = ldb, .ldc = ldc, .alpha = alpha,
		.beta = beta, .a = a, .b = b, .c = c
	};

	if (m == 0 || n == 0)
		return 0;
	tile_sizes(m, n, TILE_N, &g.mt, &g.nt);
	return gemm_run(&g, e);
}

int dev_cpu_gemm_weight(struct dev_cpu *c, const float *x, size_t n,
                        const struct dev_linear *l, struct err *e)
{
	size_t d_out = l->w->shape[0], d_in = l->w->shape[1], panel = TILE_N;
	struct gemm g = {
		.dev = c, .tb = 1, .m = n, .n = d_out, .k = d_in, .lda = d_in,
		.ldb = d_in, .ldc = d_out, .alpha = 1,
		.beta = l->bias ? 1 : 0, .a = x, .bias = l->bias, .c = l->out
	};

	if (l->w->type == DT_F32) {
		g.b = l->w->data;
	} else {
		g.w = l->w;
		panel = EXPAND_VALUES / (d_in ? d_in : 1);
		if (panel < TILE_ROUND)
			panel = TILE_ROUND;
	}
	tile_sizes(n, d_out, panel, &g.mt, &g.nt);
	if (g.w &&
	    dev_cpu_scratch_need(c, g.nt * d_in * sizeof(float), e) < 0)
		return -1;
	return gemm_run(&g, e);
}
