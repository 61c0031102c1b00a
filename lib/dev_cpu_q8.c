/*
 * Linear maps of rows rounded to 8 or 16 bits (dev_cpu_q8.h): packs x whole, weights
 * a round at a time, and multiplies tile by tile, as the f32 tiles of
 * dev_cpu_linear.c do.
 */
#include <string.h>

#include "dev_cpu_linear.h"
#include "mem.h"
#include "vec.h"

enum {
	ROWS = 198,		/* rows of x per item, about: second cache */
	COLS = 384,		/* rows of a weight per item, at most: a */
				/* multiple of nr */
	DEPTH = 48,		/* blocks multiplied at a time: those of an */
				/* item's rows stay there */
	ROUND = 16 << 20,	/* values of packed weights, about */
	MAX_MR = 16, MAX_NR = 32	/* of any table */
};

/* Elsewhere there are none. */
#if defined(__x86_64__)
#define Q8_TABLE(t) (&(t))
#else
#define Q8_TABLE(t) NULL
#endif

struct q8 {
	struct linear g;
	const struct dev_cpu_q8 *t;
	size_t blocks;			/* of a row */
	size_t cols;			/* rows of a weight per item */
	size_t n_groups, group_rows;	/* groups of x's rows; of an item */
	size_t items;			/* of x's rows */
	size_t pieces, round;		/* of weights; in a round at most */
	size_t first, count;		/* in this round */
	struct dev_cpu_q8_scale *left_scale;
	float *left_unit, *right_scale;
	int8_t *left;
	uint8_t *right;
};

/* The table of two for this processor, or NULL. */
static const struct dev_cpu_q8 *pick(int level, const struct dev_cpu_q8 *vnni,
                                     const struct dev_cpu_q8 *avx2)
{
#if defined(__x86_64__)
	if (level >= 2 && vec_level(2) &&
	    __builtin_cpu_supports("avx512vnni"))
		return vnni;
	if (level >= 1 && vec_level(1) && __builtin_cpu_supports("fma"))
		return avx2;
#endif
	(void)level;
	return NULL;
}

const struct dev_cpu_q8 *dev_cpu_q8_level(int level)
{
	return pick(level, Q8_TABLE(dev_cpu_q8_vnni), Q8_TABLE(dev_cpu_q8_avx2));
}

const struct dev_cpu_q8 *dev_cpu_q16_level(int level)
{
	return pick(level, Q8_TABLE(dev_cpu_q16_vnni),
	            Q8_TABLE(dev_cpu_q16_avx2));
}

int dev_cpu_q8_fits(const struct linear *g)
{
	size_t i;

	if (!dev_cpu_stored(g->dev) || !g->d_in)
		return 0;
	for (i = 0; i < g->count; i++)
		if (!dev_cpu_q8_type(g->l[i].w->type))
			return 0;
	return 1;
}

static void left_range(void *ctx, size_t first, size_t count)
{
	const struct q8 *a = ctx;
	size_t mr = a->t->mr, d_in = a->g.d_in, i, n;

	for (i = first; i < first + count; i++) {
		n = a->g.n - i * mr;
		a->t->pack_left(a->g.x + i * mr * d_in, d_in, n < mr ? n : mr,
		                a->blocks, a->left + i * mr * d_in * a->t->planes,
		                a->left_scale + i * mr * a->blocks,
		                a->left_unit + i * mr);
	}
}

/* One panel of a piece of a weight. */
static void right_item(void *ctx, size_t item, int thread)
{
	const struct q8 *a = ctx;
	size_t nr = a->t->nr, per = a->cols / nr, j, part, n, row_bytes;
	const struct dev_linear *l = dev_cpu_linear_piece(&a->g, a->first * per
	                                                  + item, a->cols, per,
	                                                  &j, &part);

	(void)thread;
	j += part * nr;
	if (j >= l->w->shape[0])
		return;
	n = l->w->shape[0] - j < nr ? l->w->shape[0] - j : nr;
	row_bytes = a->blocks * dtype_block_bytes(l->w->type);
	a->t->pack_right(l->w->type, (const uint8_t *)l->w->data + j *
	                 row_bytes, row_bytes, n, a->blocks,
	                 a->right + item * nr * a->g.d_in,
	                 a->right_scale + item * nr * a->blocks * 2);
}

/* c[m, n] of a group and a panel, from a block on; tiles over the edge go
 * through a copy. */
static void put_tile(const struct q8 *a, size_t group, size_t panel,
                     size_t from, size_t m, size_t n, float *c, size_t ldc)
{
	size_t mr = a->t->mr, nr = a->t->nr, i;
	size_t k = a->blocks - from < DEPTH ? a->blocks - from : DEPTH;
	size_t l = group * a->blocks + from, r = panel * a->blocks + from;
	const float *unit = a->left_unit + group * mr;
	float edge[MAX_MR * MAX_NR], *to = c;
	size_t ld = ldc;

	if (m < mr || n < nr) {
		to = edge;
		ld = nr;
		for (i = 0; from && i < m; i++)
			memcpy(edge + i * nr, c + i * ldc, n * sizeof(*c));
	}
	a->t->tile(a->left + l * mr * Q8_BLOCK * a->t->planes,
	           a->left_scale + l * mr,
	           a->right + r * nr * Q8_BLOCK, a->right_scale + r * nr * 2, k,
	           from + k < a->blocks ? NULL : unit, to, ld, from > 0);
	for (i = 0; to == edge && i < m; i++)
		memcpy(c + i * ldc, edge + i * nr, n * sizeof(*c));
}

/* Part i of n is asked for. */
static void fetch(const void *p, size_t bytes, size_t i, size_t n)
{
	size_t at = bytes * i / n;

	dev_cpu_fetch((const char *)p + at, bytes * (i + 1) / n - at);
}

/* What a group's tile does for the next panel's, of which it is i-th of n: a
 * panel comes from far away. */
static void fetch_panel(const struct q8 *a, size_t panel, size_t from, size_t i,
                        size_t n)
{
	size_t nr = a->t->nr, r = (panel * a->blocks + from) * nr;
	size_t k = a->blocks - from < DEPTH ? a->blocks - from : DEPTH;

	fetch(a->right + r * Q8_BLOCK, k * nr * Q8_BLOCK, i, n);
	fetch(a->right_scale + r * 2, k * nr * 2 * sizeof(float), i, n);
}

static void product_item(void *ctx, size_t item, int thread)
{
	const struct q8 *a = ctx;
	size_t mr = a->t->mr, nr = a->t->nr, j, part, from, p, i, m;
	size_t g0 = item / a->count * a->group_rows, g;
	size_t g1 = g0 + a->group_rows;
	const struct dev_linear *l = dev_cpu_linear_piece(&a->g, a->first +
		item % a->count, a->cols, 1, &j, &part);
	size_t d_out = l->w->shape[0];
	size_t n = d_out - j < a->cols ? d_out - j : a->cols;
	size_t panel = item % a->count * (a->cols / nr);

	(void)thread;
	if (g1 > a->n_groups)
		g1 = a->n_groups;
	for (from = 0; from < a->blocks; from += DEPTH)
		for (p = 0; p < n; p += nr)
			for (g = g0; g < g1; g++) {
				m = a->g.n - g * mr;
				if (p + nr < n)
					fetch_panel(a, panel + p / nr + 1, from,
					            g - g0, g1 - g0);
				put_tile(a, g, panel + p / nr, from,
				         m < mr ? m : mr,
				         n - p < nr ? n - p : nr,
				         l->out + g * mr * d_out + j + p,
				         d_out);
			}
	for (i = g0 * mr; l->bias && i < g1 * mr && i < a->g.n; i++)
		a->g.dev->vec->axpy(1, l->bias + j, l->out + i * d_out + j, n);
}

/* A part of the packed operands' memory; bytes in multiples of 64. */
static void *cut(uint8_t **at, size_t bytes)
{
	void *p = *at;

	*at += (bytes + 63) / 64 * 64;
	return p;
}

static struct q8 cut_call(const struct linear *g)
{
	struct q8 a = { .g = *g, .t = dev_cpu_stored(g->dev),
		.blocks = g->d_in / Q8_BLOCK };
	size_t mr = a.t->mr;

	a.n_groups = dev_cpu_div_up(g->n, mr);
	a.items = dev_cpu_div_up(a.n_groups, ROWS / mr);
	a.group_rows = dev_cpu_div_up(a.n_groups, a.items);
	a.cols = dev_cpu_linear_cut(g, COLS, a.t->nr);
	a.pieces = dev_cpu_linear_pieces(g, a.cols);
	a.round = dev_cpu_linear_round(ROUND, a.pieces, a.cols, g->d_in);
	return a;
}

/* Of packed operands: a byte a plane and value, two floats a block, a unit a row of
 * x; each part rounded to 64. */
static size_t packed_bytes(const struct q8 *a)
{
	size_t left = a->n_groups * a->t->mr, right = a->round * a->cols;

	return (left * a->t->planes + right) * a->g.d_in +
	       (left + right) * a->blocks * 2 * sizeof(float) +
	       left * sizeof(float) + 5 * 64;
}

size_t dev_cpu_q8_keeps(const struct linear *g)
{
	struct q8 a = cut_call(g);

	return packed_bytes(&a);
}

int dev_cpu_q8_linear(const struct linear *g, struct err *e)
{
	struct dev_cpu *c = g->dev;
	struct q8 a = cut_call(g);
	size_t mr = a.t->mr, nr = a.t->nr, d_in = g->d_in;
	size_t left = a.n_groups * mr, right = a.round * a.cols;
	uint8_t *at;

	if (mem_grow(&c->packed, &c->packed_cap, packed_bytes(&a) /
	             sizeof(*c->packed) + 1, sizeof(*c->packed), e) < 0)
		return -1;
	at = (uint8_t *)c->packed;
	a.left = cut(&at, left * d_in * a.t->planes);
	a.left_scale = cut(&at, left * a.blocks * sizeof(*a.left_scale));
	a.left_unit = cut(&at, left * sizeof(float));
	a.right = cut(&at, right * d_in);
	a.right_scale = cut(&at, right * a.blocks * 2 * sizeof(float));
	dev_cpu_ranges(c, a.n_groups, 1 + dev_cpu_grain(mr * d_in), left_range,
	               &a);
	for (; a.first < a.pieces; a.first += a.count) {
		a.count = a.pieces - a.first;
		a.count = a.count < a.round ? a.count : a.round;
		par_for(c->base.pool, a.count * (a.cols / nr), right_item, &a);
		par_for(c->base.pool, a.items * a.count, product_item, &a);
	}
	return 0;
}
