/*
 * The products of the skip connection. Under DEV_Q8 they are of bytes, in blocks
 * with factors of their own (struct tc_product), of rows of x and w or of columns
 * of g and x. Those are cut into pieces of TC_PIECE values; the later pieces'
 * products are added. Else it is gemm.
 */
#include "dev_cpu.h"
#include "dev_cpu_tc.h"
#include "dev_cpu_tc_coarse.h"
#include "mem.h"

enum {
	LEAST = 48,		/* of each size: below, packing costs more */
	MOST_BYTES = 64 << 20,	/* of both operands packed, at most */
	TILES_PER_THREAD = 8,
	STRIP = 192		/* columns of x against x at a time, by gemm */
};

/* One of the two, packed as groups or as panels. */
struct operand {
	const float *v;		/* [n, k], or as columns [k, n] */
	size_t ld;		/* from row to row */
	size_t n, width, groups;
	int8_t *packed;
	float *scale;
	float *unit, *sq;	/* [block][groups width] of columns */
};

struct skip {
	struct dev_cpu *dev;
	const struct dev_cpu_tc_coarse *table;
	struct operand a, b;
	int columns;
	size_t k;
	size_t piece;			/* of k, a multiple of TC_BLOCK */
	size_t first, length, blocks;	/* of a piece */
	size_t mt, nt, tiles;	/* a tile; tiles in a row of them */
	float *out;		/* [a.n, b.n] */
	int add;
	int lower;		/* what is above the diagonal is not wanted */
};

/* Groups or panels that an item packs. */
static size_t each(const struct skip *s, const struct operand *o)
{
	return s->columns ? TC_COLUMNS / o->width : 1;
}

/* A block of rows of one of the two. */
static void measure(void *ctx, size_t item, int thread)
{
	const struct skip *s = ctx;
	int b = item >= s->blocks;
	const struct operand *o = b ? &s->b : &s->a;
	size_t i = b ? item - s->blocks : item, at = i * o->groups * o->width;
	size_t r = i * TC_BLOCK, left = s->length - r;

	(void)thread;
	s->table->measure_columns(o->v + (s->first + r) * o->ld, o->ld,
	                          left < TC_BLOCK ? left : TC_BLOCK, o->n,
	                          o->unit + at, o->sq + at);
}

static void pack(void *ctx, size_t item, int thread)
{
	const struct skip *s = ctx;
	size_t a_items = dev_cpu_div_up(s->a.groups, each(s, &s->a));
	int b = item >= a_items;
	const struct operand *o = b ? &s->b : &s->a;
	size_t rows = each(s, o) * o->width;
	size_t i = (b ? item - a_items : item) * rows;
	size_t n = o->n - i < rows ? o->n - i : rows;
	int8_t *out = o->packed + tc_product_bytes(s->blocks, i, b);

	(void)thread;
	if (s->columns)
		s->table->pack_columns(o->v + s->first * o->ld + i, o->ld,
		                       s->length, n, o->unit + i, o->sq + i,
		                       o->groups * o->width, b, out,
		                       o->scale + i);
	else
		s->table->pack_rows(o->v + i * o->ld + s->first, o->ld,
		                    s->length, n, b, out, o->scale + i);
}

static void tile(void *ctx, size_t item, int thread)
{
	const struct skip *s = ctx;
	size_t i = item / s->tiles * s->mt, j = item % s->tiles * s->nt;
	const struct tc_product p = {
		s->blocks, s->a.packed + tc_product_bytes(s->blocks, i, 0),
		s->b.packed + tc_product_bytes(s->blocks, j, 1),
		s->a.scale + i, s->b.scale + j,
		s->a.n - i < s->mt ? s->a.n - i : s->mt,
		s->b.n - j < s->nt ? s->b.n - j : s->nt,
		s->out + i * s->b.n + j, s->b.n, s->add || s->first > 0
	};

	(void)thread;
	if (!s->lower || j < i + p.rows)
		s->table->product(&p);
}

static void run_piece(struct skip *s)
{
	struct par *pool = s->dev->base.pool;

	s->blocks = dev_cpu_div_up(s->length, TC_BLOCK);
	if (s->columns)
		par_for(pool, 2 * s->blocks, measure, s);
	par_for(pool, dev_cpu_div_up(s->a.groups, each(s, &s->a)) +
	        dev_cpu_div_up(s->b.groups, each(s, &s->b)), pack, s);
	par_for(pool, dev_cpu_div_up(s->a.n, s->mt) * s->tiles, tile, s);
}

static void cut_operand(struct tc_room *r, struct operand *o, size_t piece)
{
	size_t n = o->groups * o->width;

	o->packed = tc_cut(r, tc_product_bytes(piece / TC_BLOCK, n, 1));
	o->scale = tc_cut(r, n * sizeof(*o->scale));
	o->unit = tc_cut(r, n * (piece / TC_BLOCK) * sizeof(*o->unit));
	o->sq = tc_cut(r, n * (piece / TC_BLOCK) * sizeof(*o->sq));
}

/* The bytes that s takes packed in integers; 0: it goes through gemm. */
static size_t integer_bytes(struct skip *s)
{
	struct tc_room room = { NULL, 0 };

	if (s->dev->precision != DEV_Q8 || !s->table || s->a.n < LEAST ||
	    s->b.n < LEAST || s->k < LEAST)
		return 0;
	s->piece = dev_cpu_div_up(s->k, dev_cpu_div_up(s->k, TC_PIECE));
	s->piece = dev_cpu_div_up(s->piece, TC_BLOCK) * TC_BLOCK;
	s->a.width = s->table->mr;
	s->b.width = s->table->nr;
	s->a.groups = dev_cpu_div_up(s->a.n, s->a.width);
	s->b.groups = dev_cpu_div_up(s->b.n, s->b.width);
	cut_operand(&room, &s->a, s->piece);
	cut_operand(&room, &s->b, s->piece);
	return room.used > MOST_BYTES ? 0 : room.used;
}

/* 1: done, 0: to be done by gemm, -1 with e set. */
static int in_integers(struct skip *s, struct err *e)
{
	struct dev_cpu *c = s->dev;
	size_t m = s->a.n, n = s->b.n, bytes = integer_bytes(s);
	struct dev_cpu_cut cut = { 192, 384, 96, TILES_PER_THREAD *
		(size_t)par_threads(c->base.pool), 0, 0 };
	struct tc_room room;

	if (!bytes)
		return 0;
	if (mem_grow(&c->packed, &c->packed_cap, bytes / sizeof(*c->packed),
	             sizeof(*c->packed), e) < 0)
		return -1;
	room = (struct tc_room){ (char *)c->packed, 0 };
	cut_operand(&room, &s->a, s->piece);
	cut_operand(&room, &s->b, s->piece);
	cut.round_m = s->a.width;
	cut.round_n = s->b.width;
	dev_cpu_tile_sizes(&cut, m, n, &s->mt, &s->nt);
	s->tiles = dev_cpu_div_up(n, s->nt);
	for (s->first = 0; s->first < s->k; s->first += s->piece) {
		s->length = s->k - s->first;
		s->length = s->length < s->piece ? s->length : s->piece;
		run_piece(s);
	}
	return 1;
}

int dev_cpu_tc_skip_add(struct dev *d, const float *x, size_t n, size_t d_in,
                        const float *w, size_t d_out, float *out,
                        struct err *e)
{
	struct dev_cpu *c = (struct dev_cpu *)d;
	struct skip s = { .dev = c, .table = c->coarse,
	                  .a = { .v = x, .ld = d_in, .n = n },
	                  .b = { .v = w, .ld = d_in, .n = d_out },
	                  .k = d_in, .out = out, .add = 1 };
	int rc = in_integers(&s, e);

	return rc != 0 ? (rc > 0 ? 0 : -1)
	       : dev_cpu_gemm(d, 0, 1, n, d_out, d_in, 1, x, d_in, w, d_in, 1,
	                      out, d_out, e);
}

int dev_cpu_tc_skip_grad(struct dev *d, const float *g, size_t n, size_t every,
                         size_t d_out, const float *x, size_t d_in, int add,
                         float *out, struct err *e)
{
	struct dev_cpu *c = (struct dev_cpu *)d;
	size_t ld_g = every * d_out, ld_x = every * d_in;
	struct skip s = { .dev = c, .table = c->coarse,
	                  .a = { .v = g, .ld = ld_g, .n = d_out },
	                  .b = { .v = x, .ld = ld_x, .n = d_in },
	                  .columns = 1, .k = n, .out = out, .add = add };
	int rc = in_integers(&s, e);

	return rc != 0 ? (rc > 0 ? 0 : -1)
	       : dev_cpu_gemm(d, 1, 0, d_out, d_in, n, 1, g, ld_g, x, ld_x,
	                      add, out, d_in, e);
}

/* xx by gemm, strip by strip */
static int square_by_gemm(struct dev *d, const float *x, size_t n, size_t d_in,
                          float *xx, struct err *e)
{
	size_t i, w;

	for (i = 0; i < d_in; i += w) {
		w = d_in - i < STRIP ? d_in - i : STRIP;
		if (dev_cpu_gemm(d, 1, 0, w, i + w, n, 1, x + i, d_in, x, d_in,
		                 1, xx + i * d_in, d_in, e) < 0)
			return -1;
	}
	return 0;
}

int dev_cpu_tc_skip_sums(struct dev *d, const float *x, size_t n, size_t d_in,
                         const float *y, size_t d_out, float *xx, float *xy,
                         struct err *e)
{
	struct dev_cpu *c = (struct dev_cpu *)d;
	struct skip s = { .dev = c, .table = c->coarse,
	                  .a = { .v = x, .ld = d_in, .n = d_in },
	                  .b = { .v = x, .ld = d_in, .n = d_in },
	                  .columns = 1, .k = n, .out = xx, .add = 1,
	                  .lower = 1 };
	int rc = in_integers(&s, e);

	if (rc < 0 || (rc == 0 && square_by_gemm(d, x, n, d_in, xx, e) < 0))
		return -1;
	return dev_cpu_tc_skip_grad(d, x, n, 1, d_in, y, d_out, 1, xy, e);
}

size_t dev_cpu_tc_skip_keeps(struct dev *d, size_t n, size_t d_in, size_t d_out)
{
	struct dev_cpu *c = (struct dev_cpu *)d;
	struct skip add = { .dev = c, .table = c->coarse, .a = { .n = n },
	                    .b = { .n = d_out }, .k = d_in };
	struct skip grad = { .dev = c, .table = c->coarse, .a = { .n = d_out },
	                     .b = { .n = d_in }, .k = n };
	size_t i = integer_bytes(&add), j = integer_bytes(&grad);

	i = i ? i : dev_cpu_gemm_keeps(d, n, d_out, d_in);
	j = j ? j : dev_cpu_gemm_keeps(d, d_out, d_in, n);
	return i > j ? i : j;
}
