/*
 * Linear maps on the CPU: x W^T for weights in any stored type.
 *
 * By the number of rows: a few rows are bound by reading the weight, so each of
 * its rows is read once, in its stored type, and meets every row of x; more go
 * through AMX where there is one, else through the tiles of dev_cpu_mm.h (or,
 * where rows may be rounded, dev_cpu_q8.h), and on other processors through BLAS.
 *
 * Nothing packed outlives a call: x is packed whole (as many floats as it has),
 * weights a round at a time (MM_ROUND), which for hundreds of rows costs
 * little beside the products and leaves weights in their files.
 */
#include <string.h>

#include "dev_cpu_amx.h"
#include "dev_cpu_linear.h"
#include "mem.h"

enum {
	FEW_ROWS = 4,		/* up to this many rows: dot products */
	DOT_ROWS = 32,		/* rows of the weight per item then */
	AMX_MIN_ROWS = 16,	/* with fewer of them or fewer inputs, packing */
	AMX_MIN_IN = 256,	/* costs what it saves: stay exact */
	AMX_PANEL_BYTES = 768 << 10,	/* a packed panel of a weight, about */
	AMX_PANEL = 128,	/* rows of the weight in it, at most */
	AMX_PART = 4096,	/* rows of x per item */
	MM_K = 384,		/* inputs of a block, at most: its panel of a */
				/* weight stays in the first cache */
	MM_ROWS = 200,		/* rows of x per item, about: second cache */
	MM_COLS = 384,		/* rows of a weight per item, at most: a */
				/* multiple of nr */
	MM_ROUND = 8 << 20	/* values of packed weights, about */
};

const struct dev_linear *dev_cpu_linear_piece(const struct linear *g,
                                              size_t item, size_t piece,
                                              size_t n_parts, size_t *row,
                                              size_t *part)
{
	const struct dev_linear *l = g->l;
	size_t n;

	for (;; l++, item -= n) {
		n = (l->w->shape[0] + piece - 1) / piece * n_parts;
		if (item < n)
			break;
	}
	*row = item / n_parts * piece;
	*part = item % n_parts;
	return l;
}

size_t dev_cpu_linear_pieces(const struct linear *g, size_t piece)
{
	size_t i, n = 0;

	for (i = 0; i < g->count; i++)
		n += (g->l[i].w->shape[0] + piece - 1) / piece;
	return n;
}

size_t dev_cpu_linear_cut(const struct linear *g, size_t most, size_t nr)
{
	size_t d_out = g->l->w->shape[0];

	if (g->count > 1 || d_out == 0)
		return most;
	return dev_cpu_div_up(dev_cpu_even_piece(d_out, most, nr), nr) * nr;
}

size_t dev_cpu_linear_round(size_t values, size_t pieces, size_t piece,
                            size_t d_in)
{
	size_t round = values / piece / d_in;

	if (round < 1)
		round = 1;
	return round < pieces ? round : pieces;
}

/* ---- a few rows ---- */

static void few_item(void *ctx, size_t item, int thread)
{
	const struct linear *g = ctx;
	const struct vec_ops *vec = g->dev->vec;
	float *f32 = dev_cpu_scratch(g->dev, thread);
	size_t j, part, i, end, d_in = g->d_in;
	const struct dev_linear *l = dev_cpu_linear_piece(g, item, DOT_ROWS, 1,
	                                                  &j, &part);
	size_t d_out = l->w->shape[0];

	for (end = d_out - j < DOT_ROWS ? d_out : j + DOT_ROWS; j < end; j++) {
		const float *w = f32;

		if (l->w->type == DT_F32)
			w = (const float *)l->w->data + j * d_in;
		else
			tensor_f32(l->w, j * d_in, d_in, f32, NULL);
		for (i = 0; i < g->n; i++)
			l->out[i * d_out + j] =
				vec->dot(w, g->x + i * d_in, d_in) +
				(l->bias ? l->bias[j] : 0.0f);
	}
}

static int few_rows(struct linear *g, struct err *e)
{
	if (dev_cpu_scratch_need(g->dev, g->d_in * sizeof(float), e) < 0)
		return -1;
	par_for(g->dev->base.pool, dev_cpu_linear_pieces(g, DOT_ROWS), few_item, g);
	return 0;
}

/* ---- AMX ---- */

struct amx {
	struct linear g;
	size_t k_blocks, left_step;	/* values between groups of 16 rows */
	size_t groups;			/* of x's rows, packed */
	size_t panel;			/* rows of a weight per item */
	size_t n_parts;			/* of x's rows */
};

static void pack_left_item(void *ctx, size_t item, int thread)
{
	const struct amx *a = ctx;
	size_t r = item * AMX_ROWS, left = r < a->g.n ? a->g.n - r : 0;

	(void)thread;
	dev_cpu_amx_pack_left(a->g.x + r * a->g.d_in, a->g.d_in,
	                      left < AMX_ROWS ? left : AMX_ROWS, a->g.d_in,
	                      a->g.dev->packed + item * a->left_step);
}

/* n <= 16 rows of w from row j on. */
static void pack_right(const struct amx *a, const struct tensor *w, size_t j,
                       size_t n, float *f32, uint16_t *out)
{
	size_t d_in = a->g.d_in;
	const float *rows = f32;

	if (w->type == DT_BF16) {
		dev_cpu_amx_pack_right_bf16((const uint16_t *)w->data +
		                            j * d_in, d_in, n, d_in, out);
		return;
	}
	if (w->type == DT_F32)
		rows = (const float *)w->data + j * d_in;
	else
		tensor_f32(w, j * d_in, n * d_in, f32, NULL);
	dev_cpu_amx_pack_right(rows, d_in, n, d_in, out);
}

/* 32 x 32 results into out, rows from r on, columns from j on. */
static void put_out(const struct amx *a, const struct dev_linear *l, size_t r,
                    size_t j, const float *from)
{
	size_t d_out = l->w->shape[0], i;
	size_t n = a->g.n - r < AMX_OUT ? a->g.n - r : AMX_OUT;
	size_t cols = d_out - j < AMX_OUT ? d_out - j : AMX_OUT;

	for (i = 0; i < n; i++) {
		float *out = l->out + (r + i) * d_out + j;

		memcpy(out, from + i * AMX_OUT, cols * sizeof(*out));
		if (l->bias)
			a->g.dev->vec->axpy(1, l->bias + j, out, cols);
	}
}

static void amx_item(void *ctx, size_t item, int thread)
{
	const struct amx *a = ctx;
	size_t j0, part, j, r, end;
	const struct dev_linear *l = dev_cpu_linear_piece(&a->g, item,
		a->panel, a->n_parts, &j0, &part);
	size_t d_out = l->w->shape[0];
	size_t width = d_out - j0 < a->panel ? d_out - j0 : a->panel;
	int parts = l->w->type == DT_BF16 ? 1 : 2;
	size_t step = a->k_blocks * (size_t)parts * AMX_BLOCK;
	float *out = dev_cpu_scratch(a->g.dev, thread);
	float *f32 = out + AMX_OUT * AMX_OUT;
	uint16_t *right = (uint16_t *)(f32 + AMX_ROWS * a->g.d_in);

	for (j = 0; j < width || j % AMX_OUT; j += AMX_ROWS)
		pack_right(a, l->w, j0 + j, j >= width ? 0 :
		           width - j < AMX_ROWS ? width - j : AMX_ROWS, f32,
		           right + j / AMX_ROWS * step);
	r = part * AMX_PART;
	end = a->g.n - r < AMX_PART ? a->g.n : r + AMX_PART;
	dev_cpu_amx_begin();
	for (; r < end; r += AMX_OUT)
		for (j = 0; j < width; j += AMX_OUT) {
			dev_cpu_amx_product(a->g.dev->packed + r / AMX_ROWS *
			                    a->left_step, a->left_step,
			                    right + j / AMX_ROWS * step, step,
			                    parts, a->k_blocks, out);
			put_out(a, l, r, j0 + j, out);
		}
	dev_cpu_amx_end();
}

static struct amx amx_cut(const struct linear *g)
{
	struct amx a = { .g = *g, .k_blocks = dev_cpu_amx_blocks(g->d_in) };

	a.left_step = a.k_blocks * 2 * AMX_BLOCK;
	a.groups = (g->n + AMX_OUT - 1) / AMX_OUT * 2;
	return a;
}

static int amx(const struct linear *g, struct err *e)
{
	struct amx a = amx_cut(g);
	size_t group_bytes = a.left_step * sizeof(uint16_t), bytes;

	a.panel = AMX_PANEL_BYTES / group_bytes * AMX_ROWS;
	a.panel = a.panel / AMX_OUT * AMX_OUT;
	if (a.panel > AMX_PANEL)
		a.panel = AMX_PANEL;
	if (a.panel < AMX_OUT)
		a.panel = AMX_OUT;
	a.n_parts = (g->n + AMX_PART - 1) / AMX_PART;
	bytes = (AMX_OUT * AMX_OUT + AMX_ROWS * g->d_in) * sizeof(float) +
		a.panel / AMX_ROWS * group_bytes;
	if (dev_cpu_scratch_need(g->dev, bytes, e) < 0 ||
	    mem_grow(&a.g.dev->packed, &a.g.dev->packed_cap,
	             a.groups * a.left_step, sizeof(*a.g.dev->packed), e) < 0)
		return -1;
	par_for(g->dev->base.pool, a.groups, pack_left_item, &a);
	par_for(g->dev->base.pool, dev_cpu_linear_pieces(g, a.panel) * a.n_parts,
	        amx_item, &a);
	return 0;
}

/* ---- packed f32 tiles ---- */

struct mm {
	struct linear g;
	const struct dev_cpu_mm *mm;
	size_t k_block;
	size_t cols;			/* rows of a weight per item */
	size_t n_groups, group_rows;	/* groups of x's rows; of an item */
	size_t items;			/* of x's rows */
	size_t pieces, round;		/* of weights; in a round at most */
	size_t first, count;		/* in this round */
	float *left;	/* [k block][group][column][mr] */
	float *right;	/* [piece][panel][column][nr] */
};

static size_t mm_depth(const struct mm *a, size_t k0)
{
	size_t left = a->g.d_in - k0;

	return left < a->k_block ? left : a->k_block;
}

static void mm_left_range(void *ctx, size_t first, size_t count)
{
	const struct mm *a = ctx;
	size_t mr = a->mm->mr, d_in = a->g.d_in, i, k0, k;

	for (i = first; i < first + count; i++)
		for (k0 = 0; k0 < d_in; k0 += k) {
			size_t left = a->g.n - i * mr;

			k = mm_depth(a, k0);
			a->mm->pack_left(a->g.x + i * mr * d_in + k0, d_in,
			                 left < mr ? left : mr, k, a->left +
			                 (k0 * a->n_groups + i * k) * mr);
		}
}

/* One panel of a piece of a weight. */
static void mm_right_item(void *ctx, size_t item, int thread)
{
	const struct mm *a = ctx;
	size_t nr = a->mm->nr, d_in = a->g.d_in, j, part, n;
	const struct dev_linear *l = dev_cpu_linear_piece(&a->g, a->first *
		(a->cols / nr) + item, a->cols, a->cols / nr, &j, &part);
	float *out = a->right + item * d_in * nr;
	const float *rows;

	j += part * nr;
	if (j >= l->w->shape[0])
		return;
	n = l->w->shape[0] - j < nr ? l->w->shape[0] - j : nr;
	if (l->w->type == DT_F32) {
		rows = (const float *)l->w->data + j * d_in;
	} else {
		rows = dev_cpu_scratch(a->g.dev, thread);
		tensor_f32(l->w, j * d_in, n * d_in, (float *)rows, NULL);
	}
	a->mm->pack_right(rows, d_in, n, d_in, out);
}

static void mm_item(void *ctx, size_t item, int thread)
{
	const struct mm *a = ctx;
	size_t mr = a->mm->mr, nr = a->mm->nr, d_in = a->g.d_in;
	size_t g0 = item / a->count * a->group_rows, j, part, k0, k, i;
	size_t r = g0 * mr, m = a->group_rows * mr;
	const struct dev_linear *l = dev_cpu_linear_piece(&a->g, a->first +
		item % a->count, a->cols, 1, &j, &part);
	size_t d_out = l->w->shape[0];
	size_t n = d_out - j < a->cols ? d_out - j : a->cols;
	const float *right = a->right + item % a->count * a->cols * d_in;
	float *out = l->out + r * d_out + j;

	(void)thread;
	if (a->g.n - r < m)
		m = a->g.n - r;
	for (k0 = 0; k0 < d_in; k0 += k) {
		k = mm_depth(a, k0);
		a->mm->product(a->left + (k0 * a->n_groups + g0 * k) * mr,
		               right + k0 * nr, d_in * nr, m, n, k, out, d_out,
		               k0 > 0);
	}
	for (i = 0; l->bias && i < m; i++)
		a->g.dev->vec->axpy(1, l->bias + j, out + i * d_out, n);
}

static struct mm mm_cut(const struct linear *g)
{
	struct mm a = { .g = *g, .mm = g->dev->mm };
	size_t mr = a.mm->mr, blocks = dev_cpu_div_up(g->d_in, MM_K);

	a.cols = dev_cpu_linear_cut(g, MM_COLS, a.mm->nr);
	a.pieces = dev_cpu_linear_pieces(g, a.cols);
	a.k_block = dev_cpu_div_up(g->d_in, blocks);
	a.n_groups = dev_cpu_div_up(g->n, mr);
	a.items = dev_cpu_div_up(a.n_groups, MM_ROWS / mr);
	a.group_rows = dev_cpu_div_up(a.n_groups, a.items);
	a.round = dev_cpu_linear_round(MM_ROUND, a.pieces, a.cols, g->d_in);
	return a;
}

static size_t mm_bytes(const struct mm *a)
{
	return (a->n_groups * a->mm->mr + a->round * a->cols) * a->g.d_in *
	       sizeof(float);
}

static int mm(const struct linear *g, struct err *e)
{
	struct dev_cpu *c = g->dev;
	struct mm a = mm_cut(g);
	size_t mr = a.mm->mr, nr = a.mm->nr, d_in = g->d_in;

	if (dev_cpu_scratch_need(c, nr * d_in * sizeof(float), e) < 0 ||
	    mem_grow(&c->packed, &c->packed_cap, mm_bytes(&a) /
	             sizeof(*c->packed), sizeof(*c->packed), e) < 0)
		return -1;
	a.left = (float *)c->packed;
	a.right = a.left + a.n_groups * mr * d_in;
	dev_cpu_ranges(c, a.n_groups, 1 + dev_cpu_grain(mr * d_in),
	               mm_left_range, &a);
	for (; a.first < a.pieces; a.first += a.count) {
		a.count = a.pieces - a.first;
		a.count = a.count < a.round ? a.count : a.round;
		par_for(c->base.pool, a.count * (a.cols / nr), mm_right_item,
		        &a);
		par_for(c->base.pool, a.items * a.count, mm_item, &a);
	}
	return 0;
}

/* ---- the op ---- */

static int check(const struct tensor *w, size_t d_in, struct err *e)
{
	if (w->n_dims != 2)
		return err_set(e, ERR_RANGE, "linear: weight %s has %d "
		               "dimensions, wanted 2", w->name, w->n_dims);
	if (w->shape[1] != d_in)
		return err_set(e, ERR_RANGE, "linear: %s takes %zu inputs, its "
		               "neighbour %zu", w->name, w->shape[1], d_in);
	if (d_in % dtype_block(w->type) != 0)
		return err_set(e, ERR_RANGE, "linear: rows of %s hold %zu "
		               "values, no multiple of %s's block", w->name,
		               d_in, dtype_name(w->type));
	return tensor_f32(w, 0, 0, NULL, e);	/* a type it can expand? */
}

enum way { BY_DOTS, BY_AMX, BY_Q8, BY_TILES, BY_BLAS };

static enum way way_of(const struct linear *g)
{
	if (g->n <= FEW_ROWS)
		return BY_DOTS;
	if (g->dev->amx && g->dev->precision != DEV_EXACT &&
	    g->n >= AMX_MIN_ROWS && g->d_in >= AMX_MIN_IN)
		return BY_AMX;
	if (dev_cpu_q8_fits(g))
		return BY_Q8;
	return g->dev->mm && g->d_in ? BY_TILES : BY_BLAS;
}

int dev_cpu_linear(struct dev *d, const float *x, size_t n,
                   const struct dev_linear *l, size_t count, struct err *e)
{
	struct linear g = { (struct dev_cpu *)d, x, n, 0, l, count };
	size_t i;

	if (n == 0 || count == 0)
		return 0;
	g.d_in = l->w->shape[1];
	for (i = 0; i < count; i++)
		if (check(l[i].w, g.d_in, e) < 0)
			return -1;
	switch (way_of(&g)) {
	case BY_DOTS:
		return few_rows(&g, e);
	case BY_AMX:
		return amx(&g, e);
	case BY_Q8:
		return dev_cpu_q8_linear(&g, e);
	case BY_TILES:
		return mm(&g, e);
	default:
		break;
	}
	for (i = 0; i < count; i++)
		if (dev_cpu_gemm_weight(g.dev, x, n, &l[i], e) < 0)
			return -1;
	return 0;
}

size_t dev_cpu_linear_keeps(struct dev *d, size_t n, const struct dev_linear *l,
                            size_t count)
{
	struct linear g = { (struct dev_cpu *)d, NULL, n, 0, l, count };
	struct amx a;
	struct mm m;

	if (n == 0 || count == 0)
		return 0;
	g.d_in = l->w->shape[1];
	switch (way_of(&g)) {
	case BY_AMX:
		a = amx_cut(&g);
		return a.groups * a.left_step * sizeof(*g.dev->packed);
	case BY_Q8:
		return dev_cpu_q8_keeps(&g);
	case BY_TILES:
		m = mm_cut(&g);
		return mm_bytes(&m);
	default:
		return 0;
	}
}
