/*
 * Exact TopK encoding on the CPU: values are bounded by a coarse product, and
 * what the bounds leave open is computed (dev_cpu_tc_pick.h says what a value
 * is, and why the result is TopK to the bit). Three ways to the bounds:
 *
 *   integers	many rows, on processors that have a table for them
 *   		(dev_cpu_tc_coarse.h)
 *   BLAS	else: a tile of rows meets the latents block by block, the
 *   		products of a block stay in cache
 *   dot	a few rows: the values themselves
 *
 * All give the same bytes.
 */
#include <cblas.h>
#include <limits.h>
#include <string.h>

#include "dev_cpu_tc.h"
#include "dev_cpu_tc_coarse.h"
#include "mem.h"

enum {
	FEW_ROWS = 4,		/* up to this many rows: dot products */
	ROWS = 256,		/* of a tile */
	BLOCK = 512,		/* latents whose products are held */
	PASS_ROWS = 4096,	/* rows whose candidates are held at once */
	ITEMS_WANTED = 32,	/* pieces of work, if latents allow */
	SPLIT_MIN = 1024,	/* latents below which a tile is not split */
	KEEP = 32,		/* candidates beyond k that a split hands on */
	BLAS_IN = 1 << 20	/* inputs for which its bound holds */
};

struct tiles {
	const struct tc_encode *q;
	int dots;
	float slack;			/* of BLAS, for norms of 1 */
	size_t n_splits, split;		/* latents per split */
	char *kept;			/* of each split: rows of candidates */
	size_t kept_cap, kept_bytes;	/* of a row; of a split */
};

struct tile {			/* what a thread's scratch holds */
	struct tc_pick *pick;	/* [ROWS] */
	float *pre;		/* [ROWS, BLOCK] */
	float *norm;		/* [BLOCK] */
	float *slack;		/* [ROWS] */
};

static size_t tile_bytes(size_t cap)
{
	return dev_cpu_tc_pick_bytes(ROWS, cap) +
	       (ROWS * BLOCK + BLOCK + ROWS) * sizeof(float);
}

static struct tile tile_at(void *scratch, size_t cap)
{
	struct tile t;

	t.pick = dev_cpu_tc_pick_rows(scratch, ROWS, cap);
	t.pre = (float *)((char *)scratch + dev_cpu_tc_pick_bytes(ROWS, cap));
	t.norm = t.pre + ROWS * BLOCK;
	t.slack = t.norm + BLOCK;
	return t;
}

/* Products of rows [r0, r0 + rows) with latents [at, at + m). */
static void products(const struct tiles *g, const struct tile *t, size_t r0,
                     size_t rows, size_t at, size_t m)
{
	const struct tc_encode *q = g->q;
	size_t d = q->d_in, i, j;

	if (!g->dots) {
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows,
		            (int)m, (int)d, 1, q->x + r0 * d, (int)d,
		            q->w + at * d, (int)d, 0, t->pre, BLOCK);
		for (j = 0; j < m; j++)
			t->norm[j] = dev_cpu_tc_norm(q->loops, q->w + (at + j) *
			                             d, d);
		return;
	}
	for (j = 0; j < m; j++) {
		for (i = 0; i < rows; i++)
			t->pre[i * BLOCK + j] = q->dev->vec->dot(
				q->x + (r0 + i) * d, q->w + (at + j) * d, d);
		t->norm[j] = 0;
	}
}

/* Offers the products with latents [at, at + m) to a row's candidates. */
static void offer(const struct tc_encode *q, const struct tile *t, size_t r0,
                  size_t r, size_t at, size_t m)
{
	size_t i = 0;

	while ((i = q->loops->collect(t->pre + r * BLOCK, q->b + at, t->norm,
	                              t->slack[r], i, m, (uint32_t)at,
	                              &t->pick[r], q->cap)) < m)
		dev_cpu_tc_pick_cut(q, r0 + r, &t->pick[r], q->k,
		                    q->cap - 2 * TC_PICK_STEP);
}

static void encode_tile(void *ctx, size_t item, int thread)
{
	const struct tiles *g = ctx;
	const struct tc_encode *q = g->q;
	struct tile t = tile_at(dev_cpu_scratch(q->dev, thread), q->cap);
	size_t r0 = item / g->n_splits * ROWS, s = item % g->n_splits;
	size_t rows = q->n - r0 < ROWS ? q->n - r0 : ROWS;
	size_t at = s * g->split, end = at + g->split, r;
	struct tc_pick *kept = NULL;

	if (end > q->n_latents)
		end = q->n_latents;
	for (r = 0; r < rows; r++)
		t.slack[r] = g->dots ? 0 : g->slack *
			dev_cpu_tc_norm(q->loops, q->x + (r0 + r) * q->d_in,
			                q->d_in);
	for (; at < end; at += BLOCK) {
		size_t m = end - at < BLOCK ? end - at : BLOCK;

		products(g, &t, r0, rows, at, m);
		for (r = 0; r < rows; r++)
			offer(q, &t, r0, r, at, m);
	}
	if (g->n_splits > 1)
		kept = dev_cpu_tc_pick_rows(g->kept + item * g->kept_bytes,
		                            ROWS, g->kept_cap);
	for (r = 0; r < rows; r++) {
		struct tc_pick *p = &t.pick[r];

		if (!kept) {
			dev_cpu_tc_pick_write(q, r0 + r, p);
			continue;
		}
		dev_cpu_tc_pick_cut(q, r0 + r, p, q->k, g->kept_cap);
		memcpy(kept[r].up, p->up, p->n * sizeof(*p->up));
		memcpy(kept[r].low, p->low, p->n * sizeof(*p->low));
		memcpy(kept[r].at, p->at, p->n * sizeof(*p->at));
		kept[r].n = p->n;
		kept[r].bar = p->bar;
	}
}

/* Joins what the splits kept of one tile's rows. */
static void merge_tile(void *ctx, size_t item, int thread)
{
	const struct tiles *g = ctx;
	const struct tc_encode *q = g->q;
	char *kept = g->kept + item * g->n_splits * g->kept_bytes;
	size_t r0 = item * ROWS, r, s;
	struct tc_pick *p = dev_cpu_tc_pick_rows(
		dev_cpu_scratch(q->dev, thread), 1, g->n_splits * g->kept_cap);

	for (r = 0; r < ROWS && r0 + r < q->n; r++) {
		dev_cpu_tc_pick_start(p, g->n_splits * g->kept_cap);
		for (s = 0; s < g->n_splits; s++) {
			const struct tc_pick *part = (const struct tc_pick *)
				(const void *)(kept + s * g->kept_bytes) + r;

			memcpy(p->up + p->n, part->up, part->n * sizeof(*p->up));
			memcpy(p->low + p->n, part->low,
			       part->n * sizeof(*p->low));
			memcpy(p->at + p->n, part->at, part->n * sizeof(*p->at));
			p->n += part->n;
			if (part->bar > p->bar)
				p->bar = part->bar;
		}
		dev_cpu_tc_pick_write(q, r0 + r, p);
	}
}

/* By tiles of rows and, for more pieces of work, splits of the latents. */
static int encode_tiles(const struct tc_encode *q, int dots, struct err *e)
{
	struct tiles g = { .q = q, .dots = dots };
	size_t tiles = (q->n + ROWS - 1) / ROWS, bytes, merge;

	g.slack = 1.01f * (2 * (float)q->d_in + 4) * 0x1p-24f;
	g.n_splits = (ITEMS_WANTED + tiles - 1) / tiles;
	if (g.n_splits > q->n_latents / SPLIT_MIN)
		g.n_splits = q->n_latents / SPLIT_MIN;
	if (g.n_splits < 1)
		g.n_splits = 1;
	g.split = (q->n_latents + g.n_splits - 1) / g.n_splits;
	g.split = (g.split + BLOCK - 1) / BLOCK * BLOCK;
	g.n_splits = (q->n_latents + g.split - 1) / g.split;
	g.kept_cap = ((q->k < q->n_latents ? q->k : q->n_latents) + KEEP + 15)
	             / 16 * 16;
	g.kept_bytes = dev_cpu_tc_pick_bytes(ROWS, g.kept_cap);
	bytes = tile_bytes(q->cap);
	merge = dev_cpu_tc_pick_bytes(1, g.n_splits * g.kept_cap);
	if (dev_cpu_scratch_need(q->dev, bytes > merge ? bytes : merge, e) < 0)
		return -1;
	if (g.n_splits > 1 &&
	    !(g.kept = mem_scratch(tiles * g.n_splits, g.kept_bytes, e)))
		return -1;
	par_for(q->dev->base.pool, tiles * g.n_splits, encode_tile, &g);
	if (g.n_splits > 1)
		par_for(q->dev->base.pool, tiles, merge_tile, &g);
	mem_free(g.kept);
	return 0;
}

static size_t cap_of(size_t k, size_t n_latents)
{
	return dev_cpu_tc_pick_cap(k < n_latents ? k : n_latents);
}

size_t dev_cpu_tc_encode_keeps(struct dev *d, size_t n, size_t d_in,
                               size_t n_latents, size_t k)
{
	const struct tc_encode q = {
		.dev = (struct dev_cpu *)d, .n = n < PASS_ROWS ? n : PASS_ROWS,
		.d_in = d_in, .n_latents = n_latents, .k = k,
		.cap = cap_of(k, n_latents)
	};

	return k && dev_cpu_tc_coarse_fits(&q) ? dev_cpu_tc_coarse_keeps(&q) : 0;
}

static int encode(struct dev *d, const float *x, size_t n, size_t d_in,
                  const float *w, const float *b, size_t n_latents,
                  const uint32_t *ids, int near, struct dev_tc_codes *out,
                  struct err *e)
{
	struct tc_encode q = {
		.dev = (struct dev_cpu *)d, .loops = dev_cpu_tc_loops(), .w = w,
		.b = b, .ids = ids, .d_in = d_in, .n_latents = n_latents,
		.k = out->k, .near = near
	};
	size_t i;
	int rc;

	out->n = n;
	if (out->k == 0 || d_in == 0 || d_in > INT_MAX ||
	    n_latents > UINT32_MAX - 1)
		return err_set(e, ERR_RANGE, "encode: k %zu, width %zu, %zu "
		               "latents", out->k, d_in, n_latents);
	if (n_latents == 0) {
		for (i = 0; i < n * q.k; i++) {
			out->latent[i] = DEV_TC_NONE;
			out->value[i] = 0;
		}
		return 0;
	}
	q.cap = cap_of(q.k, n_latents);
	for (i = 0; i < n; i += PASS_ROWS) {
		q.n = n - i < PASS_ROWS ? n - i : PASS_ROWS;
		q.x = x + i * d_in;
		q.latent = out->latent + i * q.k;
		q.value = out->value + i * q.k;
		if (dev_cpu_tc_coarse_fits(&q))
			rc = dev_cpu_tc_coarse_encode(&q, e);
		else
			rc = encode_tiles(&q, q.n <= FEW_ROWS ||
			                  d_in > BLAS_IN, e);
		if (rc < 0)
			return -1;
	}
	return 0;
}

int dev_cpu_tc_encode(struct dev *d, const float *x, size_t n, size_t d_in,
                      const float *w, const float *b, size_t n_latents,
                      const uint32_t *ids, struct dev_tc_codes *out,
                      struct err *e)
{
	return encode(d, x, n, d_in, w, b, n_latents, ids, 0, out, e);
}

int dev_cpu_tc_encode_near(struct dev *d, const float *x, size_t n, size_t d_in,
                           const float *w, const float *b, size_t n_latents,
                           struct dev_tc_codes *out, struct err *e)
{
	int near = ((struct dev_cpu *)d)->precision == DEV_Q8;

	return encode(d, x, n, d_in, w, b, n_latents, NULL, near, out, e);
}
