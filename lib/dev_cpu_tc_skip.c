/*
 * The products of the skip connection. Under DEV_Q8 operands become 16-bit
 * integers, each of their rows (of a gradient's columns) with a scale of its
 * own, as dev_cpu_tc_coarse.h holds wide columns: |p| <= 46000, so that sums
 * are exact in 32 bits. What is multiplied is cut into pieces of PIECE values,
 * each with its own scales; the later ones are added. Else it is gemm.
 */
#include "dev_cpu.h"
#include "dev_cpu_tc.h"
#include "dev_cpu_tc_coarse.h"
#include "mem.h"

enum {
	LEAST = 48,		/* of each size: below, packing costs more */
	PIECE = 1024,		/* values: a panel stays in the first cache */
	MOST_BYTES = 64 << 20,	/* of both operands packed, at most */
	COLUMNS = 32,		/* measured by an item */
	TILES_PER_THREAD = 8
};

/* One of the two, packed as groups or as panels. */
struct operand {
	const float *v;		/* [n, k], or as columns [k, n] */
	size_t n, width, groups;
	int16_t *packed;
	float *factor, *scale;	/* factor: of columns */
};

struct skip {
	struct dev_cpu *dev;
	const struct dev_cpu_tc_coarse *table;
	struct operand a, b;
	int columns;
	size_t k;
	struct tc_cols cols;	/* the piece as chunks */
	size_t first, length;	/* and as values */
	size_t mt, nt, tiles;	/* a tile; tiles in a row of them */
	float *out;		/* [a.n, b.n] */
	int add;
};

static size_t group_values(const struct skip *s, const struct operand *o)
{
	return tc_wide_values(&s->cols, o->width);
}

/* ---- packing ---- */

static void pack_group(void *ctx, size_t item, int thread)
{
	const struct skip *s = ctx;
	int b = item >= s->a.groups;
	const struct operand *o = b ? &s->b : &s->a;
	size_t i = b ? item - s->a.groups : item, r = i * o->width;
	size_t n = o->n - r < o->width ? o->n - r : o->width;
	const struct tc_side side = {
		.wide = o->packed + i * group_values(s, o),
		.scale = o->scale + r
	};

	(void)thread;
	(b ? s->table->pack_w : s->table->pack_x)(&s->cols, o->v + r * s->k, n,
	                                          side);
}

static void measure(void *ctx, size_t item, int thread)
{
	const struct skip *s = ctx;
	size_t a_items = dev_cpu_div_up(s->a.n, COLUMNS);
	int b = item >= a_items;
	const struct operand *o = b ? &s->b : &s->a;
	size_t j = (b ? item - a_items : item) * COLUMNS;

	(void)thread;
	s->table->measure_columns(o->v + s->first * o->n + j, o->n, s->length,
	                          o->n - j < COLUMNS ? o->n - j : COLUMNS,
	                          o->factor + j, o->scale + j);
}

static void pack_chunk(void *ctx, size_t item, int thread)
{
	const struct skip *s = ctx;
	int b = item >= s->cols.wide;
	const struct operand *o = b ? &s->b : &s->a;
	size_t i = b ? item - s->cols.wide : item, r = i * TC_CHUNK;
	size_t rows = s->length - r < TC_CHUNK ? s->length - r : TC_CHUNK;

	(void)thread;
	(b ? s->table->pack_w_columns : s->table->pack_x_columns)(
		o->v + (s->first + r) * o->n, o->n, rows, o->n, o->factor,
		group_values(s, o), o->packed + r * o->width);
}

/* ---- the products ---- */

static void tile(void *ctx, size_t item, int thread)
{
	const struct skip *s = ctx;
	size_t i = item / s->tiles * s->mt, j = item % s->tiles * s->nt;
	const struct tc_product p = {
		s->cols.wide, s->a.packed + tc_wide_values(&s->cols, i),
		s->b.packed + tc_wide_values(&s->cols, j), s->a.scale + i,
		s->b.scale + j, s->a.n - i < s->mt ? s->a.n - i : s->mt,
		s->b.n - j < s->nt ? s->b.n - j : s->nt,
		s->out + i * s->b.n + j, s->b.n, s->add || s->first > 0
	};

	(void)thread;
	s->table->product(&p);
}

static void run_piece(struct skip *s)
{
	struct par *pool = s->dev->base.pool;
	size_t i;

	s->cols.d = s->k;
	s->cols.wide = dev_cpu_div_up(s->length, TC_CHUNK);
	s->cols.narrow = 0;
	for (i = 0; i < s->cols.wide; i++)
		s->cols.chunk[i] = (uint16_t)(s->first / TC_CHUNK + i);
	if (s->columns) {
		par_for(pool, dev_cpu_div_up(s->a.n, COLUMNS) +
		        dev_cpu_div_up(s->b.n, COLUMNS), measure, s);
		par_for(pool, 2 * s->cols.wide, pack_chunk, s);
	} else {
		par_for(pool, s->a.groups + s->b.groups, pack_group, s);
	}
	par_for(pool, dev_cpu_div_up(s->a.n, s->mt) * s->tiles, tile, s);
}

static void cut_operand(struct tc_room *r, struct operand *o, size_t piece)
{
	size_t n = o->groups * o->width;

	o->packed = tc_cut(r, n * piece * sizeof(*o->packed));
	o->scale = tc_cut(r, n * sizeof(*o->scale));
	o->factor = tc_cut(r, n * sizeof(*o->factor));
}

/* Whether s goes through integers, which it then gets room for: 1, 0, or -1
 * with e set. */
static int skip_room(struct skip *s, size_t piece, struct err *e)
{
	struct dev_cpu *c = s->dev;
	struct tc_room room = { NULL, 0 };

	s->a.width = s->table->mr;
	s->b.width = s->table->nr;
	s->a.groups = dev_cpu_div_up(s->a.n, s->a.width);
	s->b.groups = dev_cpu_div_up(s->b.n, s->b.width);
	if (s->a.n + s->b.n > MOST_BYTES / sizeof(int16_t) / piece)
		return 0;
	cut_operand(&room, &s->a, piece);
	cut_operand(&room, &s->b, piece);
	if (mem_grow(&c->packed, &c->packed_cap, room.used / sizeof(*c->packed),
	             sizeof(*c->packed), e) < 0)
		return -1;
	room = (struct tc_room){ (char *)c->packed, 0 };
	cut_operand(&room, &s->a, piece);
	cut_operand(&room, &s->b, piece);
	return 1;
}

/* 1: done, 0: to be done by gemm, -1 with e set. */
static int in_integers(struct skip *s, struct err *e)
{
	size_t m = s->a.n, n = s->b.n, piece;
	struct dev_cpu_cut cut = { 192, 384, 96, TILES_PER_THREAD *
		(size_t)par_threads(s->dev->base.pool), 0, 0 };
	int rc;

	if (s->dev->precision != DEV_Q8 || !s->table || m < LEAST ||
	    n < LEAST || s->k < LEAST || s->k > TC_MAX_IN)
		return 0;
	piece = dev_cpu_div_up(s->k, dev_cpu_div_up(s->k, PIECE));
	piece = dev_cpu_div_up(piece, TC_CHUNK) * TC_CHUNK;
	if ((rc = skip_room(s, piece, e)) <= 0)
		return rc;
	cut.round_m = s->a.width;
	cut.round_n = s->b.width;
	dev_cpu_tile_sizes(&cut, m, n, &s->mt, &s->nt);
	s->tiles = dev_cpu_div_up(n, s->nt);
	for (s->first = 0; s->first < s->k; s->first += piece) {
		s->length = s->k - s->first < piece ? s->k - s->first : piece;
		run_piece(s);
	}
	return 1;
}

int dev_cpu_tc_skip_add(struct dev *d, const float *x, size_t n, size_t d_in,
                        const float *w, size_t d_out, float *out,
                        struct err *e)
{
	struct dev_cpu *c = (struct dev_cpu *)d;
	struct skip s = { .dev = c, .table = c->coarse, .a = { .v = x, .n = n },
	                  .b = { .v = w, .n = d_out }, .k = d_in, .out = out,
	                  .add = 1 };
	int rc = in_integers(&s, e);

	return rc != 0 ? (rc > 0 ? 0 : -1)
	       : dev_cpu_gemm(d, 0, 1, n, d_out, d_in, 1, x, d_in, w, d_in, 1,
	                      out, d_out, e);
}

int dev_cpu_tc_skip_grad(struct dev *d, const float *g, size_t n, size_t d_out,
                         const float *x, size_t d_in, int add, float *out,
                         struct err *e)
{
	struct dev_cpu *c = (struct dev_cpu *)d;
	struct skip s = { .dev = c, .table = c->coarse, .a = { .v = g,
	                  .n = d_out }, .b = { .v = x, .n = d_in }, .columns = 1,
	                  .k = n, .out = out, .add = add };
	int rc = in_integers(&s, e);

	return rc != 0 ? (rc > 0 ? 0 : -1)
	       : dev_cpu_gemm(d, 1, 0, d_out, d_in, n, 1, g, d_out, x, d_in,
	                      add, out, d_in, e);
}
