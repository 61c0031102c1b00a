/*
 * Tiles: targets of one layer that go backwards together, in as much memory as
 * their gradients may take. Of a tile only the positions up to its last target's
 * are worked on, and only the layers below.
 */
#include <math.h>
#include <string.h>

#include "attr_impl.h"
#include "mem.h"

/* What a tile costs besides, in rows of one position. */
enum { TILE_COST = 300 };

static struct dev *dev(const struct attr_run *r)
{
	return model_dev(r->a->model);
}

static const struct dev_ops *ops(const struct attr_run *r)
{
	return dev_ops(dev(r));
}

/* ---- a tile ---- */

static int need(struct attr_run *r, float **buf, size_t *have, size_t n,
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
static int inject(struct attr_run *r, const struct attr_want *w, size_t rows, size_t n,
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
static void spread(struct attr_run *r, const struct attr_want *w, size_t rows, size_t n,
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
static int gather(struct attr_run *r, const struct attr_want *w, size_t rows, size_t n,
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
static int backwards(struct attr_run *r, const struct attr_want *w, size_t rows,
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

int attr_keep_row(struct attr *a, const struct attr_want *w, const float *row,
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

int attr_tile(struct attr_run *r, const struct attr_want *w, size_t rows,
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
		if (attr_keep_row(a, &w[i], r->row[i], r->len[i], e) < 0)
			goto done;
	rc = 0;
done:
	while (rows-- > 0)
		mem_free(r->row[rows]);
	return rc;
}

/* ---- tiles of a queue ---- */

int attr_by_place(const void *x, const void *y)
{
	const struct attr_want *a = x, *b = y;

	if (a->layer != b->layer)
		return a->layer < b->layer ? 1 : -1;
	if (a->pos != b->pos)
		return a->pos < b->pos ? 1 : -1;
	return (a->node > b->node) - (a->node < b->node);
}

size_t attr_next_tile(const struct attr_run *r, const struct attr_want *w,
                      size_t n)
{
	size_t row = model_frozen_bytes(r->a->model, w->pos + 1, 1) -
	             model_frozen_bytes(r->a->model, w->pos + 1, 0) +
	             (w->pos + 1) * model_cfg(r->a->model)->d_model *
	             sizeof(float);
	size_t most = r->o->tile_bytes / row, i, waste = 0;

	most = most < 1 ? 1 : most > ATTR_TILE_ROWS ? ATTR_TILE_ROWS : most;
	for (i = 1; i < n && i < most && w[i].layer == w->layer; i++) {
		waste += w->pos - w[i].pos;
		if (waste > TILE_COST)
			break;
	}
	return i;
}

void attr_tiles_end(struct attr_run *r)
{
	ops(r)->release(dev(r), r->g);
	ops(r)->release(dev(r), r->contrib);
	mem_free(r->host);
}
