/*
 * Matrix products on the CPU: the result is cut into tiles whose size depends
 * on its shape alone. Both operands are packed whole for the tiles of
 * dev_cpu_mm.h; where these are missing, or operands are too small or too large
 * for it, each tile is one single-threaded BLAS call, which packs for itself.
 */
#include <assert.h>
#include <cblas.h>
#include <limits.h>
#include <string.h>

#include "dev_cpu.h"
#include "mem.h"
#include "vec.h"

enum {
	EXPAND_VALUES = 4 << 20,	/* of a weight panel held as f32 */
	MM_LEAST = 16,		/* of each of a product's sizes, to be packed */
	MM_BYTES = 64 << 20,	/* of both operands packed, at most */
	MM_K = 384,		/* inputs multiplied at a time, at most: a */
				/* panel of them stays in the first cache */
	MM_PACK = 96		/* rows packed by an item, about */
};

/* With BLAS near its peak, whose kernels like multiples of 16. */
static const struct dev_cpu_cut blas_cut = { 512, 768, 128, 16, 16, 16 };

size_t dev_cpu_even_piece(size_t n, size_t max, size_t round)
{
	size_t piece = dev_cpu_div_up(n, dev_cpu_div_up(n, max));

	piece = dev_cpu_div_up(piece, round) * round;
	return piece < n ? piece : n;
}

void dev_cpu_tile_sizes(const struct dev_cpu_cut *c, size_t m, size_t n,
                        size_t *mt, size_t *nt)
{
	size_t wm = c->max_m, wn = c->max_n;

	for (;;) {
		*mt = dev_cpu_even_piece(m, wm, c->round_m);
		*nt = dev_cpu_even_piece(n, wn, c->round_n);
		if (dev_cpu_div_up(m, *mt) * dev_cpu_div_up(n, *nt) >=
		    c->wanted)
			return;
		if (*mt >= *nt && *mt > c->least)
			wm = *mt / 2;
		else if (*nt > c->least)
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
	g->n_cols = dev_cpu_div_up(g->n, g->nt);
	par_for(g->dev->base.pool, dev_cpu_div_up(g->m, g->mt) * g->n_cols,
	        gemm_tile, g);
	return 0;
}

/* ---- packed ---- */

struct packed {
	struct gemm g;
	const struct dev_cpu_mm *mm;
	size_t k_block, n_groups;
	float *left;	/* [k block][group][column][mr] */
	float *right;	/* [panel][column][nr] */
};

static size_t depth(const struct packed *p, size_t k0)
{
	size_t left = p->g.k - k0;

	return left < p->k_block ? left : p->k_block;
}

/* Groups [first, first + count) of a's rows. */
static void left_range(void *ctx, size_t first, size_t count)
{
	const struct packed *p = ctx;
	const struct gemm *g = &p->g;
	size_t mr = p->mm->mr, r0 = first * mr, end = r0 + count * mr, k0, k, r;

	if (end > g->m)
		end = g->m;
	for (k0 = 0; k0 < g->k; k0 += k) {
		float *out = p->left + k0 * p->n_groups * mr;

		k = depth(p, k0);
		if (g->ta)
			p->mm->pack_left_columns(g->a + k0 * g->lda + r0,
			                         g->lda, end - r0, k,
			                         out + r0 * k);
		for (r = r0; !g->ta && r < end; r += mr)
			p->mm->pack_left(g->a + r * g->lda + k0, g->lda,
			                 end - r < mr ? end - r : mr, k,
			                 out + r * k);
		if (g->alpha != 1)
			g->dev->vec->scale(out + r0 * k, g->alpha,
			                   count * mr * k);
	}
}

/* Panels [first, first + count) of b's columns. */
static void right_range(void *ctx, size_t first, size_t count)
{
	const struct packed *p = ctx;
	const struct gemm *g = &p->g;
	size_t nr = p->mm->nr, r0 = first * nr, end = r0 + count * nr, r;

	if (end > g->n)
		end = g->n;
	if (!g->tb)
		p->mm->pack_right_columns(g->b + r0, g->ldb, end - r0, g->k,
		                          p->right + r0 * g->k);
	for (r = r0; g->tb && r < end; r += nr)
		p->mm->pack_right(g->b + r * g->ldb, g->ldb,
		                  end - r < nr ? end - r : nr, g->k,
		                  p->right + r * g->k);
}

static void packed_tile(void *ctx, size_t item, int thread)
{
	const struct packed *p = ctx;
	const struct gemm *g = &p->g;
	size_t i0 = item / g->n_cols * g->mt, j0 = item % g->n_cols * g->nt;
	size_t m = g->m - i0 < g->mt ? g->m - i0 : g->mt;
	size_t n = g->n - j0 < g->nt ? g->n - j0 : g->nt;
	size_t mr = p->mm->mr, nr = p->mm->nr, k0, k;

	(void)thread;
	for (k0 = 0; k0 < g->k; k0 += k) {
		k = depth(p, k0);
		p->mm->product(p->left + k0 * p->n_groups * mr + i0 * k,
		               p->right + j0 * g->k + k0 * nr, g->k * nr, m, n,
		               k, g->c + i0 * g->ldc + j0, g->ldc,
		               k0 > 0 || g->beta != 0);
	}
}

/* Both operands packed; 0: these sizes are BLAS's. */
size_t dev_cpu_gemm_keeps(struct dev *d, size_t m, size_t n, size_t k)
{
	const struct dev_cpu_mm *mm = ((struct dev_cpu *)d)->mm;
	size_t rows;

	if (!mm || m < MM_LEAST || n < MM_LEAST || k < MM_LEAST)
		return 0;
	rows = dev_cpu_div_up(m, mm->mr) * mm->mr +
	       dev_cpu_div_up(n, mm->nr) * mm->nr;
	return rows > MM_BYTES / sizeof(float) / k ? 0
	       : rows * k * sizeof(float);
}

/* Whether g goes through packed operands, which it then gets room for: 1, 0,
 * or -1 with e set. */
static int packed_room(struct packed *p, struct err *e)
{
	const struct gemm *g = &p->g;
	struct dev_cpu *c = g->dev;
	size_t bytes = dev_cpu_gemm_keeps(&c->base, g->m, g->n, g->k);

	if (!bytes || (g->beta != 0 && g->beta != 1))
		return 0;
	if (mem_grow(&c->packed, &c->packed_cap, bytes / sizeof(*c->packed),
	             sizeof(*c->packed), e) < 0)
		return -1;
	p->n_groups = dev_cpu_div_up(g->m, p->mm->mr);
	p->left = (float *)c->packed;
	p->right = p->left + p->n_groups * p->mm->mr * g->k;
	p->k_block = dev_cpu_div_up(g->k, dev_cpu_div_up(g->k, MM_K));
	return 1;
}

static void packed_run(struct packed *p)
{
	struct gemm *g = &p->g;
	size_t mr = p->mm->mr, nr = p->mm->nr;
	/* a tile's rows stay in the second cache */
	const struct dev_cpu_cut cut = { 192, 384, 96, 32, mr, nr };

	dev_cpu_tile_sizes(&cut, g->m, g->n, &g->mt, &g->nt);
	g->n_cols = dev_cpu_div_up(g->n, g->nt);
	dev_cpu_ranges(g->dev, p->n_groups, MM_PACK / mr, left_range, p);
	dev_cpu_ranges(g->dev, dev_cpu_div_up(g->n, nr), MM_PACK / nr,
	               right_range, p);
	par_for(g->dev->base.pool, dev_cpu_div_up(g->m, g->mt) * g->n_cols,
	        packed_tile, p);
}

/* ---- the ops ---- */

int dev_cpu_gemm(struct dev *d, int ta, int tb, size_t m, size_t n, size_t k,
                 float alpha, const float *a, size_t lda, const float *b,
                 size_t ldb, float beta, float *c, size_t ldc, struct err *e)
{
	struct packed p = {
		.g = { .dev = (struct dev_cpu *)d, .ta = ta, .tb = tb, .m = m,
		       .n = n, .k = k, .lda = lda, .ldb = ldb, .ldc = ldc,
		       .alpha = alpha, .beta = beta, .a = a, .b = b, .c = c },
		.mm = ((struct dev_cpu *)d)->mm
	};
	int rc;

	if (m == 0 || n == 0)
		return 0;
	if ((rc = packed_room(&p, e)) < 0)
		return -1;
	if (rc > 0) {
		packed_run(&p);
		return 0;
	}
	dev_cpu_tile_sizes(&blas_cut, m, n, &p.g.mt, &p.g.nt);
	return gemm_run(&p.g, e);
}

int dev_cpu_gemm_weight(struct dev_cpu *c, const float *x, size_t n,
                        const struct dev_linear *l, struct err *e)
{
	size_t d_out = l->w->shape[0], d_in = l->w->shape[1], panel;
	struct dev_cpu_cut cut = blas_cut;
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
		if (panel < cut.round_n)
			panel = cut.round_n;
		if (panel < cut.max_n)
			cut.max_n = panel;
	}
	dev_cpu_tile_sizes(&cut, n, d_out, &g.mt, &g.nt);
	if (g.w &&
	    dev_cpu_scratch_need(c, g.nt * d_in * sizeof(float), e) < 0)
		return -1;
	return gemm_run(&g, e);
}
