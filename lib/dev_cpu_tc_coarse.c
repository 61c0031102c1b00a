#include "dev_cpu_tc_coarse.h"

#include <math.h>

#include "dev_cpu_tc.h"
#include "dev_cpu_tc_know.h"
#include "mem.h"

enum {
	MIN_GROUPS = 2,		/* of rows an item holds: with fewer, latents */
	MAX_GROUPS = 16,	/* are read too often; with more, the rows */
				/* leave the second cache */
	ITEMS_PER_THREAD = 4,
	ROUND_BYTES = 8 << 20,	/* of packed latents, about */
	DISTRUST = 1000,	/* encodings, after one that trusted too much: */
	MISSED = 32,		/* one row of so many */
	MIN_ROWS = 48,		/* with fewer, packing costs what it saves */
	MIN_IN = 64,
	MIN_LATENTS = 512,
	LATENTS_PER_K = 8	/* with fewer, most are candidates */
};

struct coarse {
	const struct tc_encode *q;
	const struct dev_cpu_tc_coarse *table;
	struct tc_cols cols;
	size_t groups, item_groups;
	size_t panels_round;	/* panels of a round, at most */
	size_t first, panels;	/* latents of this round */
	size_t pick_bytes;
	struct tc_pick *pick;	/* [n] */
	struct tc_side x, w;
	float *bias;
};

const struct dev_cpu_tc_coarse *dev_cpu_tc_coarse_level(int level)
{
#if defined(__x86_64__)
	if (level >= 2 && vec_level(2))
		return __builtin_cpu_supports("avx512vnni")
		       ? &dev_cpu_tc_coarse_vnni : NULL;
	if (level >= 1 && vec_level(1))
		return &dev_cpu_tc_coarse_avx2;
#endif
	(void)level;
	return NULL;
}

int dev_cpu_tc_coarse_fits(const struct tc_encode *q)
{
	return q->dev->coarse && q->n >= MIN_ROWS && q->d_in >= MIN_IN &&
	       q->d_in <= TC_MAX_IN && q->n_latents >= MIN_LATENTS &&
	       q->n_latents / LATENTS_PER_K >= q->k;
}

static void pack_rows(void *ctx, size_t item, int thread)
{
	const struct coarse *c = ctx;
	size_t mr = c->table->mr, r = item * mr, left = c->q->n - r, i;
	struct tc_side x = tc_side_at(c->x, &c->cols, r, 0);

	(void)thread;
	c->table->pack_x(&c->cols, c->q->x + r * c->q->d_in, left < mr ? left
	                 : mr, x);
	for (i = 0; c->q->near && i < mr; i++)	/* bounds meet */
		x.off[i] = x.size[i] = x.rest[i] = 0;
}

static void pack_panel(void *ctx, size_t item, int thread)
{
	const struct coarse *c = ctx;
	const struct tc_encode *q = c->q;
	size_t nr = c->table->nr, j = item * nr, at = c->first + j, i;
	size_t n = q->n_latents - at < nr ? q->n_latents - at : nr;

	(void)thread;
	c->table->pack_w(&c->cols, q->w + at * q->d_in, n,
	                 tc_side_at(c->w, &c->cols, j, 1));
	for (i = 0; i < nr; i++)	/* what is not there never passes */
		c->bias[j + i] = i < n ? q->b[at + i] : -INFINITY;
}

static void scan_rows(void *ctx, size_t item, int thread)
{
	const struct coarse *c = ctx;
	size_t rows = c->item_groups * c->table->mr, r = item * rows;
	const struct tc_scan s = {
		c->q, &c->cols, tc_side_at(c->x, &c->cols, r, 0), r,
		c->q->n - r < rows ? c->q->n - r : rows, c->pick + r, c->w,
		c->bias, c->first, c->panels
	};

	(void)thread;
	c->table->scan(&s);
}

static void write_rows(void *ctx, size_t first, size_t n)
{
	const struct coarse *c = ctx;
	size_t r;

	for (r = first; r < first + n; r++)
		dev_cpu_tc_pick_write(c->q, r, &c->pick[r]);
}

/* How rows are cut is the one thing here that looks at the number of threads:
 * a row's codes are TopK of its values whoever finds them. */
static size_t item_groups(size_t groups, int threads)
{
	size_t most = (size_t)threads * MAX_GROUPS;
	size_t each = dev_cpu_div_up(groups, most), n;	/* items of a thread */

	each = each < ITEMS_PER_THREAD ? ITEMS_PER_THREAD : each;
	n = dev_cpu_div_up(groups, each * (size_t)threads);
	return n < MIN_GROUPS ? MIN_GROUPS : n;
}

static struct tc_side cut_side(struct tc_room *r, const struct tc_cols *c,
                               size_t rows, int panel)
{
	struct tc_side s;

	s.wide = tc_cut(r, tc_wide_values(c, rows) * sizeof(*s.wide));
	s.narrow = tc_cut(r, tc_narrow_bytes(c, rows, panel));
	s.factor = panel ? NULL : tc_cut(r, tc_factors(c, rows) *
	                                 sizeof(*s.factor));
	s.scale = tc_cut(r, rows * sizeof(*s.scale));
	s.narrow_scale = tc_cut(r, rows * sizeof(*s.narrow_scale));
	s.off = tc_cut(r, rows * sizeof(*s.off));
	s.size = tc_cut(r, rows * sizeof(*s.size));
	s.rest = tc_cut(r, rows * sizeof(*s.rest));
	return s;
}

static void cut_all(struct coarse *c, struct tc_room *r)
{
	size_t rows = c->groups * c->table->mr;
	size_t latents = c->panels_round * c->table->nr;

	c->x = cut_side(r, &c->cols, rows, 0);
	c->w = cut_side(r, &c->cols, latents, 1);
	c->bias = tc_cut(r, latents * sizeof(*c->bias));
}

/* Latents in an order that makes the first ones the largest are read again for
 * every row: then without trust for a while. */
static void judge(const struct coarse *c)
{
	struct dev_cpu *d = c->q->dev;
	size_t missed = 0, r;

	for (r = 0; r < c->q->n; r++)
		missed += (size_t)c->pick[r].again;
	if (missed > c->q->n / MISSED)
		d->distrust = DISTRUST;
	else if (d->distrust)
		d->distrust--;
}

/* How rows and latents are cut, their columns chosen; bytes for all of it. */
static size_t cut_rounds(struct coarse *c)
{
	const struct tc_encode *q = c->q;
	size_t nr = c->table->nr, panels = dev_cpu_div_up(q->n_latents, nr);
	struct tc_room room = { NULL, 0 };
	size_t know = dev_cpu_tc_know_bytes(q), round;

	c->groups = dev_cpu_div_up(q->n, c->table->mr);
	round = ROUND_BYTES / (tc_wide_values(&c->cols, nr) *
	                       sizeof(*c->w.wide) +
	                       tc_narrow_bytes(&c->cols, nr, 1));
	c->panels_round = round < 1 ? 1 : round < panels ? round : panels;
	c->pick_bytes = dev_cpu_tc_pick_bytes(q->n, q->cap);
	cut_all(c, &room);
	/* what is known comes when the operands have gone */
	return c->pick_bytes + (room.used > know ? room.used : know);
}

size_t dev_cpu_tc_coarse_keeps(const struct tc_encode *q)
{
	struct coarse c = { .q = q, .table = q->dev->coarse };

	dev_cpu_tc_cols_wide(&c.cols, q->d_in);
	return cut_rounds(&c);
}

int dev_cpu_tc_coarse_encode(const struct tc_encode *q, struct err *e)
{
	struct coarse c = { .q = q, .table = q->dev->coarse };
	struct par *pool = q->dev->base.pool;
	size_t nr = c.table->nr, bytes;
	struct tc_room room;

	dev_cpu_tc_cols_choose(&c.cols, q, &c.table->narrow);
	bytes = cut_rounds(&c);
	c.item_groups = item_groups(c.groups, par_threads(pool));
	if (mem_grow(&q->dev->packed, &q->dev->packed_cap, bytes /
	             sizeof(*q->dev->packed) + 1, sizeof(*q->dev->packed), e) < 0)
		return -1;
	c.pick = dev_cpu_tc_pick_rows(q->dev->packed, q->n, q->cap);
	room = (struct tc_room){ (char *)c.pick + c.pick_bytes, 0 };
	cut_all(&c, &room);
	par_for(pool, c.groups, pack_rows, &c);
	for (c.first = 0; c.first < q->n_latents; c.first += c.panels_round *
	     nr) {
		size_t left = (q->n_latents - c.first + nr - 1) / nr;

		c.panels = left < c.panels_round ? left : c.panels_round;
		par_for(pool, c.panels, pack_panel, &c);
		par_for(pool, (c.groups + c.item_groups - 1) / c.item_groups,
		        scan_rows, &c);
	}
	dev_cpu_tc_know(q, c.pick, room.base);
	judge(&c);
	dev_cpu_ranges(q->dev, q->n, 8, write_rows, &c);
	return 0;
}
