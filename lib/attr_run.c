/*
 * The rows of an attribution. Targets of one layer go backwards together, in
 * tiles whose gradients fit in some memory; of each tile only the positions up
 * to its last target's are worked on, and only the layers below.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attr_impl.h"
#include "mem.h"

const struct attr_opt attr_opt_default = {
	.max_features = 0, .batch = 512, .update = 4,
	.tile_bytes = (size_t)256 << 20, .rows_bytes = (size_t)2 << 30,
	.scratch = NULL
};

enum {
	TILE_ROWS = 256,	/* targets of a tile, at most */
	TILE_COST = 300		/* what a tile costs besides, in rows of one
				 * position */
};

/* A target to be worked on. */
struct want {
	uint32_t layer, pos;
	size_t node;		/* as attr_owner.node */
};

struct run {
	struct attr *a;
	const struct attr_opt *o;
	const struct attr_watch *watch;
	size_t n_done, total;
	float *g;			/* device: a tile's gradients */
	float *contrib;			/* device: a layer's contributions */
	float *host;			/* the same */
	size_t g_bytes, contrib_bytes, cap_host;
	float *row[TILE_ROWS], *fill[TILE_ROWS];
	size_t len[TILE_ROWS];
};

static struct dev *dev(const struct run *r)
{
	return model_dev(r->a->model);
}

static const struct dev_ops *ops(const struct run *r)
{
	return dev_ops(dev(r));
}

/* ---- a tile ---- */

static int need(struct run *r, float **buf, size_t *have, size_t n,
                struct err *e)
{
	size_t bytes;

	if (mem_mul(n, sizeof(float), &bytes, e) < 0)
		return -1;
	if (bytes <= *have)
		return 0;
	ops(r)->release(dev(r), *buf);
	*have = 0;
	if (!(*buf = ops(r)->alloc(dev(r), bytes, e)))
		return -1;
	*have = bytes;
	return 0;
}

/* Puts each target's vector at its position, as a gradient of the stream. */
static int inject(struct run *r, const struct want *w, size_t rows, size_t n,
                  struct err *e)
{
	struct attr *a = r->a;
	size_t dim = model_cfg(a->model)->d_model, i, bytes = dim * sizeof(float);
	float *v = mem_scratch(dim, sizeof(*v), e);
	float *zero = mem_array(rows * dim, sizeof(*zero), e);
	int rc = -1;

	if (!v || !zero)
		goto done;
	for (i = 0; i < n; i++)
		if (ops(r)->put(dev(r), r->g + i * rows * dim, zero,
		                rows * bytes, e) < 0)
			goto done;
	for (i = 0; i < rows; i++) {
		if (w[i].node < a->n_features) {
			if (attr_encoder(a, w[i].node, v, e) < 0)
				goto done;
		} else {
			memcpy(v, a->target_vec +
			       (w[i].node - a->n_features) * dim, bytes);
		}
		if (model_frozen_enter(a->frozen, (int)w[i].layer, w[i].pos, v,
		                       e) < 0 ||
		    ops(r)->put(dev(r), r->g + (w[i].pos * rows + i) * dim, v,
		                bytes, e) < 0)
			goto done;
	}
	rc = 0;
done:
	mem_free(v);
	mem_free(zero);
	return rc;
}

/* Adds to each row what n sources a position (more in `end`, the layer's steps,
 * or none) have given: blocks [rows, m + 1] in r->host; the last column is the
 * position's error or token and comes behind the rest. */
static void spread(struct run *r, const struct want *w, size_t rows, size_t n,
                   size_t first, const size_t *end)
{
	const float *from = r->host;
	size_t j, i, m, before = first, all;

	for (j = 0; j < n; j++, before = end ? end[j - 1] : 0) {
		m = end ? end[j] - before : 0;
		for (i = 0; i < rows; i++, from += m + 1) {
			if (w[i].pos < j)
				continue;
			all = end ? end[w[i].pos] - first : 0;
			memcpy(r->fill[i] + (before - first), from,
			       m * sizeof(*from));
			r->fill[i][all + j] = from[m];
		}
	}
	for (i = 0; i < rows; i++)
		r->fill[i] += (end ? end[w[i].pos] - first : 0) + w[i].pos + 1;
}

/* The contributions of a layer's features and errors, or (layer -1) tokens. */
static int gather(struct run *r, const struct want *w, size_t rows, size_t n,
                  int layer, struct err *e)
{
	struct attr *a = r->a;
	const struct attr_steps s = attr_steps_of(a);
	const size_t *end = layer < 0 ? NULL : a->end + (size_t)layer * a->n;
	size_t first = layer < 0 ? 0 : attr_steps_first(&s, (size_t)layer);
	size_t *starts = NULL, j, size;
	struct dev_attr_src src;
	int some = end && end[n - 1] > first, rc = -1;

	if (mem_mul(rows, (some ? end[n - 1] - first : 0) + n, &size, e) < 0 ||
	    need(r, &r->contrib, &r->contrib_bytes, size, e) < 0 ||
	    mem_grow(&r->host, &r->cap_host, size, sizeof(*r->host), e) < 0)
		return -1;
	if (some) {
		const struct attr_layer *y = &a->layer[layer];

		if (!(starts = mem_scratch(n + 1, sizeof(*starts), e)))
			return -1;
		starts[0] = 0;
		for (j = 0; j < n; j++)
			starts[j + 1] = end[j] - first;
		src = (struct dev_attr_src){ starts, y->row, y->value };
	}
	if (ops(r)->attr->contract(dev(r), r->g, n, rows,
	                           model_cfg(a->model)->d_model,
	                           some ? &src : NULL,
	                           !some ? NULL : a->layer[layer].dec
	                           ? a->layer[layer].dec
	                           : a->layer[layer].dec_all,
	                           layer < 0 ? a->embed : a->layer[layer].error,
	                           r->contrib, e) < 0 ||
	    ops(r)->get(dev(r), r->host, r->contrib, size * sizeof(*r->host),
	                e) < 0)
		goto done;
	spread(r, w, rows, n, first, some ? end : NULL);
	rc = 0;
done:
	mem_free(starts);
	return rc;
}

/* Everything from the targets' layer down. Rows are filled from their end: a
 * lower layer's part lies in front. */
static int backwards(struct run *r, const struct want *w, size_t rows,
                     size_t n, struct err *e)
{
	struct attr *a = r->a;
	const struct attr_steps s = attr_steps_of(a);
	int n_layers = (int)model_cfg(a->model)->n_layers;
	int l = (int)w->layer;
	const struct tensor *skip;
	size_t i;

	if (l < n_layers && model_frozen_attention(a->frozen, l, n, rows, r->g,
	                                           e) < 0)
		return -1;
	while (l-- > 0) {
		for (i = 0; i < rows; i++)
			r->fill[i] = r->row[i] +
			             attr_steps_length(&s, (size_t)l, w[i].pos) -
			             (w[i].pos + 1);
		if (gather(r, w, rows, n, l, e) < 0)
			return -1;
		skip = attr_set_skip(a->set, l);
		if (skip && model_frozen_linear_mlp(a->frozen, l, skip, n, rows,
		                                    r->g, e) < 0)
			return -1;
		if (model_frozen_attention(a->frozen, l, n, rows, r->g, e) < 0)
			return -1;
	}
	for (i = 0; i < rows; i++)
		r->fill[i] = r->row[i] + r->len[i] - (w[i].pos + 1);
	return gather(r, w, rows, n, -1, e);
}

static int keep_row(struct attr *a, const struct want *w, const float *row,
                    size_t n, struct err *e)
{
	struct attr_owner *o;
	double sum = 0;
	size_t i;

	for (i = 0; i < n; i++)
		sum += fabs((double)row[i]);
	if (!isfinite(sum))
		return err_set(e, ERR_FORMAT, "layer %u, position %u: an "
		               "effect on it is no number", w->layer, w->pos);
	if (mem_grow(&a->owner, &a->cap_rows, a->n_rows + 1, sizeof(*a->owner),
	             e) < 0 ||
	    attr_rows_add(a->rows, row, n, e) < 0)
		return -1;
	o = &a->owner[a->n_rows++];
	*o = (struct attr_owner){ w->layer, w->pos, w->node, sum };
	if (w->node < a->n_features)
		a->done[w->node] = 1;
	return 0;
}

static int tile(struct run *r, const struct want *w, size_t rows,
                struct err *e)
{
	struct attr *a = r->a;
	const struct attr_steps s = attr_steps_of(a);
	size_t n = w->pos + 1, i, size;
	int rc = -1;

	for (i = 0; i < rows; i++) {
		r->len[i] = attr_steps_length(&s, w->layer, w[i].pos);
		r->row[i] = mem_scratch(r->len[i], sizeof(float), e);
		if (!r->row[i]) {
			rows = i;
			goto done;
		}
	}
	if (mem_mul(n * rows, model_cfg(a->model)->d_model, &size, e) < 0 ||
	    need(r, &r->g, &r->g_bytes, size, e) < 0 ||
	    inject(r, w, rows, n, e) < 0 || backwards(r, w, rows, n, e) < 0)
		goto done;
	for (i = 0; i < rows; i++)
		if (keep_row(a, &w[i], r->row[i], r->len[i], e) < 0)
			goto done;
	rc = 0;
done:
	while (rows-- > 0)
		mem_free(r->row[rows]);
	return rc;
}

/* ---- tiles of a queue ---- */

/* High layers first; of a layer, late positions first. */
static int by_place(const void *x, const void *y)
{
	const struct want *a = x, *b = y;

	if (a->layer != b->layer)
		return a->layer < b->layer ? 1 : -1;
	if (a->pos != b->pos)
		return a->pos < b->pos ? 1 : -1;
	return (a->node > b->node) - (a->node < b->node);
}

/* How many of the n wanted make the next tile: of one layer, within memory, and
 * no more when the positions that the earlier ones spare outweigh a tile. */
static size_t next_tile(const struct run *r, const struct want *w, size_t n)
{
	size_t row = model_frozen_bytes(r->a->model, w->pos + 1, 1) -
	             model_frozen_bytes(r->a->model, w->pos + 1, 0) +
	             (w->pos + 1) * model_cfg(r->a->model)->d_model *
	             sizeof(float);
	size_t most = r->o->tile_bytes / row, i, waste = 0;

	most = most < 1 ? 1 : most > TILE_ROWS ? TILE_ROWS : most;
	for (i = 1; i < n && i < most && w[i].layer == w->layer; i++) {
		waste += w->pos - w[i].pos;
		if (waste > TILE_COST)
			break;
	}
	return i;
}

/* 1 when asked to stop, which targets are not. */
static int work_off(struct run *r, struct want *w, size_t n, struct err *e)
{
	size_t m;

	qsort(w, n, sizeof(*w), by_place);
	for (; n; w += m, n -= m) {
		if (r->watch && r->watch->step &&
		    r->watch->step(r->watch->ctx, r->n_done, r->total) &&
		    w->node < r->a->n_features)
			return 1;
		m = next_tile(r, w, n);
		if (tile(r, w, m, e) < 0)
			return -1;
		r->n_done += m;
	}
	return 0;
}

/* ---- which features come next ---- */

static int by_layer_down(const void *x, const void *y)
{
	const struct attr_owner *const *a = x, *const *b = y;

	if ((*a)->layer != (*b)->layer)
		return (*a)->layer < (*b)->layer ? 1 : -1;
	return (*a > *b) - (*a < *b);
}

/* influence[n_features + n_targets]: of features on targets, along the rows
 * there are. A row's owner lies above all its sources, so going down the
 * layers each row is met once its owner's influence is known. */
static int partial_influence(const struct attr *a, double *influence,
                             struct err *e)
{
	const struct attr_steps s = attr_steps_of(a);
	struct attr_run_of *runs = mem_scratch(2 * s.n_layers + 1,
	                                       sizeof(*runs), e);
	const struct attr_owner **order = mem_scratch(a->n_rows,
	                                              sizeof(*order), e);
	size_t i, j, k, n;
	int rc = -1;

	if (!runs || !order)
		goto done;
	memset(influence, 0, (a->n_features + a->n_targets) *
	       sizeof(*influence));
	for (i = 0; i < a->n_targets; i++)
		influence[a->n_features + i] = a->target[i].weight;
	for (i = 0; i < a->n_rows; i++)
		order[i] = &a->owner[i];
	qsort(order, a->n_rows, sizeof(*order), by_layer_down);
	for (i = 0; i < a->n_rows; i++) {
		const struct attr_owner *o = order[i];
		double share = influence[o->node];
		const float *row;

		if (share == 0)
			continue;
		share /= o->sum > 1e-8 ? o->sum : 1e-8;
		row = attr_rows_get(a->rows, (size_t)(o - a->owner), e);
		if (!row)
			goto done;
		n = attr_steps_runs(&s, a->n_features, o->layer, o->pos, row,
		                    runs);
		for (j = 0; j < n; j++) {
			double *to = influence + runs[j].node;

			if (runs[j].node >= a->n_features)
				continue;	/* errors and tokens */
			for (k = 0; k < runs[j].n; k++)
				to[k] += share * fabs((double)runs[j].w[k]);
		}
	}
	rc = 0;
done:
	mem_free(runs);
	mem_free(order);
	return rc;
}

struct ranked {
	double influence;
	size_t feature;
};

static int by_influence(const void *x, const void *y)
{
	const struct ranked *a = x, *b = y;

	if (a->influence != b->influence)
		return a->influence < b->influence ? 1 : -1;
	return (a->feature > b->feature) - (a->feature < b->feature);
}

/* The next n features into w. */
static int choose(const struct attr *a, size_t n, struct want *w,
                  struct err *e)
{
	double *influence = mem_scratch(a->n_features + a->n_targets,
	                                sizeof(*influence), e);
	struct ranked *r = mem_scratch(a->n_features, sizeof(*r), e);
	size_t i, m = 0;
	int rc = -1;

	if (!influence || !r || partial_influence(a, influence, e) < 0)
		goto done;
	for (i = 0; i < a->n_features; i++)
		if (!a->done[i])
			r[m++] = (struct ranked){ influence[i], i };
	qsort(r, m, sizeof(*r), by_influence);
	for (i = 0; i < n; i++)
		w[i] = (struct want){ a->feature[r[i].feature].layer,
		                      a->feature[r[i].feature].pos,
		                      r[i].feature };
	rc = 0;
done:
	mem_free(influence);
	mem_free(r);
	return rc;
}

static int features(struct run *r, size_t max, struct err *e)
{
	struct attr *a = r->a;
	size_t turn = r->o->batch * r->o->update, left = max, n, i;
	struct want *w;
	int rc = 0;

	if (max == a->n_features)	/* all: no order to find */
		turn = max;
	if (!(w = mem_scratch(turn < max ? turn : max, sizeof(*w), e)))
		return -1;
	for (; rc == 0 && left; left -= n) {
		n = left < turn ? left : turn;
		if (n == a->n_features)
			for (i = 0; i < n; i++)
				w[i] = (struct want){ a->feature[i].layer,
				                      a->feature[i].pos, i };
		else if (choose(a, n, w, e) < 0)
			rc = -1;
		if (rc == 0)
			rc = work_off(r, w, n, e);
	}
	mem_free(w);
	return rc;
}

int attr_run(struct attr *a, const struct attr_opt *o,
             const struct attr_watch *watch, struct err *e)
{
	struct run r = { .a = a, .o = o, .watch = watch };
	size_t max = a->n_features, i;
	struct want *w = mem_scratch(a->n_targets, sizeof(*w), e);
	int rc = -1;

	if (o->max_features && o->max_features < max)
		max = o->max_features;
	r.total = max + a->n_targets;
	attr_rows_free(a->rows);
	mem_free(a->done);
	a->n_rows = 0;
	a->done = NULL;
	if (!w || !(a->rows = attr_rows_new(o->rows_bytes, o->scratch, e)) ||
	    !(a->done = mem_array(a->n_features, 1, e)))
		goto done;
	for (i = 0; i < a->n_targets; i++)
		w[i] = (struct want){ a->target[i].layer, a->target[i].pos,
		                      a->n_features + i };
	rc = work_off(&r, w, a->n_targets, e);
	if (rc == 0)
		rc = features(&r, max, e);
done:
	mem_free(w);
	ops(&r)->release(dev(&r), r.g);
	ops(&r)->release(dev(&r), r.contrib);
	mem_free(r.host);
	return rc;
}
