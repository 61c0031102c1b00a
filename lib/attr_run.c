/*
 * The rows of an attribution. Targets of one layer go backwards together, in
 * tiles whose gradients fit in some memory; of each tile only the positions up
 * to its last target's are worked on, and only the layers below.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "attr_impl.h"
#include "mem.h"

const struct attr_opt attr_opt_default = {
	.max_features = 0, .batch = 512, .update = 4,
	.tile_bytes = (size_t)256 << 20, .rows_bytes = (size_t)2 << 30,
	.scratch = NULL, .state = NULL
};

enum {
	TILE_ROWS = 256,	/* targets of a tile, at most */
	TILE_COST = 300,	/* what a tile costs besides, in rows of one
				 * position */
	PLAN_SECONDS = 20	/* of processors, for a plan's tiles */
};

struct run {
	struct attr *a;
	const struct attr_opt *o;
	const struct attr_watch *watch;
	size_t n_done, total;
	struct attr_want *w;		/* chosen, and not done: n_left */
	size_t n_left;
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
static int inject(struct run *r, const struct attr_want *w, size_t rows, size_t n,
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
static void spread(struct run *r, const struct attr_want *w, size_t rows, size_t n,
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
static int gather(struct run *r, const struct attr_want *w, size_t rows, size_t n,
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
static int backwards(struct run *r, const struct attr_want *w, size_t rows,
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

static int tile(struct run *r, const struct attr_want *w, size_t rows,
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

/* High layers first; of a layer, late positions first. */
static int by_place(const void *x, const void *y)
{
	const struct attr_want *a = x, *b = y;

	if (a->layer != b->layer)
		return a->layer < b->layer ? 1 : -1;
	if (a->pos != b->pos)
		return a->pos < b->pos ? 1 : -1;
	return (a->node > b->node) - (a->node < b->node);
}

/* How many of the n wanted make the next tile: of one layer, within memory, and
 * no more when the positions that the earlier ones spare outweigh a tile. */
static size_t next_tile(const struct run *r, const struct attr_want *w, size_t n)
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

/* Works off r->w; 1 when asked to stop, which targets are not. */
static int work_off(struct run *r, struct err *e)
{
	size_t m;

	qsort(r->w, r->n_left, sizeof(*r->w), by_place);
	for (; r->n_left; r->w += m, r->n_left -= m) {
		if (r->watch && r->watch->step &&
		    r->watch->step(r->watch->ctx, r->n_done, r->total) &&
		    r->w->node < r->a->n_features)
			return 1;
		m = next_tile(r, r->w, r->n_left);
		if (tile(r, r->w, m, e) < 0)
			return -1;
		r->n_done += m;
	}
	return 0;
}

/* ---- turns ---- */

/* Features of a turn: chosen among all, or all. */
static size_t turn_of(const struct run *r, size_t max)
{
	size_t turn = r->o->batch * r->o->update;

	return max == r->a->n_features || turn > max ? max : turn;
}

/* n more features into w. */
static int next_turn(const struct attr *a, size_t n, struct attr_want *w,
                     struct err *e)
{
	size_t i;

	if (n < a->n_features)
		return attr_choose(a, n, w, e);
	for (i = 0; i < n; i++)		/* all: no order to find */
		w[i] = (struct attr_want){ a->feature[i].layer,
		                           a->feature[i].pos, i };
	return 0;
}

static size_t max_features(const struct attr *a, const struct attr_opt *o)
{
	return o->max_features && o->max_features < a->n_features
		? o->max_features : a->n_features;
}

static int targets(struct run *r, struct err *e)
{
	struct attr *a = r->a;
	struct attr_want *w = mem_scratch(a->n_targets, sizeof(*w), e);
	size_t i;
	int rc;

	if (!w)
		return -1;
	for (i = 0; i < a->n_targets; i++)
		w[i] = (struct attr_want){ a->target[i].layer,
		                           a->target[i].pos,
		                           a->n_features + i };
	r->w = w;
	r->n_left = a->n_targets;
	rc = work_off(r, e);
	mem_free(w);
	return rc;
}

static int begin(struct attr *a, const struct attr_opt *o, struct err *e)
{
	attr_rows_free(a->rows);
	mem_free(a->done);
	a->n_rows = 0;
	a->done = NULL;
	a->rows = attr_rows_new(o->rows_bytes, o->scratch, e);
	a->done = mem_array(a->n_features, 1, e);
	return a->rows && a->done ? 0 : -1;
}

static void end(struct run *r)
{
	ops(r)->release(dev(r), r->g);
	ops(r)->release(dev(r), r->contrib);
	mem_free(r->host);
}

/* ---- what it will take ---- */

/* Multiply-adds of a tile, about. */
static double tile_work(const struct run *r, const struct attr_want *w,
                        size_t rows)
{
	const struct model_cfg *c = model_cfg(r->a->model);
	double n = (double)w->pos + 1, d = c->d_model, m = n * (double)rows;
	double dq = (double)c->n_heads * c->d_head;
	double dkv = (double)c->n_kv_heads * c->d_head;
	double sources = (double)r->a->n_features /
	                 ((double)r->a->n * c->n_layers);

	return w->layer * (m * d * (dq + dkv + d + sources + 1) +
	                   m * n * dq * 0.55 + n * n * dq + 2e5);
}

/* Bytes of the rows of w[n], and of the graph they leave: `share` of features
 * stay sources. */
static void row_sizes(const struct attr *a, const struct attr_want *w, size_t n,
                      double share, double *rows, double *graph)
{
	const struct attr_steps s = attr_steps_of(a);
	size_t i, len, rest;

	*rows = *graph = 0;
	for (i = 0; i < n; i++) {
		len = attr_steps_length(&s, w[i].layer, w[i].pos);
		rest = (w[i].layer + 1) * ((size_t)w[i].pos + 1);
		*rows += (double)len * sizeof(float);
		*graph += ((double)rest + share * (double)(len - rest)) *
		          sizeof(float);
	}
}

/* Bytes of the largest tile of w[n], which is sorted by place. */
static double tile_bytes(const struct run *r, const struct attr_want *w,
                         size_t n)
{
	const struct attr *a = r->a;
	const struct attr_steps s = attr_steps_of(a);
	size_t per_layer = a->n_features / s.n_layers + a->n, i, m, len;
	double most = 0, bytes;

	for (i = 0; i < n; i += m) {
		m = next_tile(r, w + i, n - i);
		len = attr_steps_length(&s, w[i].layer, w[i].pos);
		bytes = (double)model_frozen_bytes(a->model, w[i].pos + 1, m) +
			(double)m * sizeof(float) *
			((double)(w[i].pos + 1) * model_cfg(a->model)->d_model +
			 2.0 * (double)per_layer + (double)len);
		most = fmax(most, bytes);
	}
	return most;
}

/* The plan from a turn's choice w[n] of max features, but for seconds. */
static void foresee(const struct run *r, const struct attr_want *w, size_t n,
                    size_t max, struct attr_plan *out)
{
	const struct attr *a = r->a;
	double times = n ? (double)max / (double)n : 0, rows, graph, in_memory;
	double now = (double)mem_resident(), most = (double)mem_resident_most();
	double peak;

	row_sizes(a, w, n, (double)max / (double)(a->n_features + 1), &rows,
	          &graph);
	rows *= times;
	graph *= times;
	in_memory = fmin(rows, (double)r->o->rows_bytes);
	peak = now + in_memory + fmax(tile_bytes(r, w, n), graph);
	out->features = max;
	out->rows_bytes = (size_t)rows;
	out->disk_bytes = (size_t)(rows - in_memory);
	out->peak_bytes = (size_t)fmax(peak, most);
}

/* Seconds of the wall's clock and of the process's. */
struct clocks {
	double wall, cpu;
};

static struct clocks clocks_now(void)
{
	struct timespec t, c;

	clock_gettime(CLOCK_MONOTONIC, &t);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &c);
	return (struct clocks){ (double)t.tv_sec + (double)t.tv_nsec * 1e-9,
	                        (double)c.tv_sec + (double)c.tv_nsec * 1e-9 };
}

static void clocks_add(struct clocks *sum, const struct clocks *began)
{
	struct clocks now = clocks_now();

	sum->wall += now.wall - began->wall;
	sum->cpu += now.cpu - began->cpu;
}

/* What the tiles of w[n] will take, from a few that are worked on, spread over
 * their costs. */
static int pace(struct run *r, const struct attr_want *w, size_t n,
                struct clocks *take, struct err *e)
{
	double all = 0, at = 0, next = 0, done = 0;
	struct clocks began, spent = { 0, 0 };
	size_t i, m;

	for (i = 0; i < n; i += m) {
		m = next_tile(r, w + i, n - i);
		all += tile_work(r, w + i, m);
	}
	for (i = 0; i < n; i += m) {
		m = next_tile(r, w + i, n - i);
		at += tile_work(r, w + i, m);
		if (at < next)
			continue;
		began = clocks_now();
		if (tile(r, w + i, m, e) < 0)
			return -1;
		clocks_add(&spent, &began);
		done += tile_work(r, w + i, m);
		next = at + all / (spent.cpu > PLAN_SECONDS / 2 ? 2 : 8);
		if (spent.cpu > PLAN_SECONDS)
			break;
	}
	take->wall = done > 0 ? spent.wall / done * all : 0;
	take->cpu = done > 0 ? spent.cpu / done * all : 0;
	return 0;
}

int attr_plan(struct attr *a, const struct attr_opt *o, int timed,
              struct attr_plan *out, struct err *e)
{
	struct run r = { .a = a, .o = o };
	size_t max = max_features(a, o), turn = turn_of(&r, max);
	struct attr_want *w = mem_scratch(max, sizeof(*w), e);
	struct clocks began = clocks_now(), first = { 0, 0 }, rest = { 0, 0 };
	double choosing;
	int rc = -1;

	memset(out, 0, sizeof(*out));
	if (!w || begin(a, o, e) < 0 || targets(&r, e) < 0 ||
	    (max && next_turn(a, max, w, e) < 0))
		goto done;
	clocks_add(&first, &began);
	qsort(w, max, sizeof(*w), by_place);
	foresee(&r, w, max, max, out);
	rc = 0;
	if (timed && max) {
		rc = pace(&r, w, max, &rest, e);
		/* each turn's choice goes through all rows there are */
		choosing = max < a->n_features
			? (double)out->rows_bytes / 4e9 *
			  (double)(max / turn) : 0;
		out->seconds = first.wall + rest.wall + choosing;
		out->cpu_seconds = first.cpu + rest.cpu + choosing;
	}
done:
	mem_free(w);
	end(&r);
	return rc;
}

size_t attr_prompt_bytes(const struct attr *a, size_t n)
{
	const struct model_cfg *c = model_cfg(a->model);
	size_t dq = (size_t)c->n_heads * c->d_head;
	size_t dkv = (size_t)c->n_kv_heads * c->d_head, d = c->d_model;
	size_t kept = c->n_layers * (dq + dkv + d + 2) + 3 * d;
	size_t pass = 8 * d + 2 * dq + 2 * dkv + 2 * (size_t)c->d_mlp;
	size_t weights = a->frozen ? 0 : c->n_layers * d * (dq + dkv + d);

	return sizeof(float) * (n * (kept + pass) + weights);
}

/* ---- all of it ---- */

/* ERR_MEM when what is planned is more than there is. Sorts w. */
static int check_memory(const struct run *r, struct attr_want *w, size_t n,
                        size_t max, struct err *e)
{
	size_t have = mem_available(), now = mem_resident();
	struct attr_plan p;

	qsort(w, n, sizeof(*w), by_place);
	foresee(r, w, n, max, &p);
	if (p.peak_bytes <= now || p.peak_bytes - now <= have)
		return 0;
	return err_set(e, ERR_MEM, "%zu features will take about %zu MiB more, "
	               "%zu MiB are left: allow less memory for rows, or fewer "
	               "features", max, (p.peak_bytes - now) >> 20, have >> 20);
}

static int features(struct run *r, struct attr_want *w, size_t turn,
                    size_t left, struct err *e)
{
	size_t n, max = left;
	int rc = 0;

	for (; rc == 0 && left; left -= n) {
		n = left < turn ? left : turn;
		if (next_turn(r->a, n, w, e) < 0 ||
		    (left == max && check_memory(r, w, n, max, e) < 0))
			return -1;
		r->w = w;
		r->n_left = n;
		rc = work_off(r, e);
	}
	return rc;
}

/* What a state left to be done: 1 stopped, 2 there was none. */
static int go_on(struct run *r, struct attr_want **w, size_t max,
                 size_t *left, struct err *e)
{
	struct attr *a = r->a;
	size_t n = 0;
	int got = r->o->state ? attr_state_load(a, r->o, w, &n, e) : 0;

	*left = max;
	if (got <= 0)
		return got < 0 ? -1 : 2;
	r->n_done = a->n_rows;
	*left = max - (a->n_rows - a->n_targets) - n;
	r->w = *w;
	r->n_left = n;
	return work_off(r, e);
}

int attr_run(struct attr *a, const struct attr_opt *o,
             const struct attr_watch *watch, struct err *e)
{
	struct run r = { .a = a, .o = o, .watch = watch };
	size_t max = max_features(a, o), turn = turn_of(&r, max), left;
	struct attr_want *w = mem_scratch(turn, sizeof(*w), e), *old = NULL;
	int rc = -1;

	r.total = max + a->n_targets;
	if (!w || begin(a, o, e) < 0)
		goto done;
	rc = go_on(&r, &old, max, &left, e);
	if (rc == 2)
		rc = targets(&r, e);
	if (rc == 0)
		rc = features(&r, w, turn, left, e);
	if (rc == 1 && o->state &&
	    attr_state_save(a, o, r.w, r.n_left, e) < 0)
		rc = -1;
	if (rc == 0 && o->state)
		unlink(o->state);
done:
	mem_free(w);
	mem_free(old);
	end(&r);
	return rc;
}
