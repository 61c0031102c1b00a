/* What an attribution will take: memory from its sizes, time from a few of its
 * tiles. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "attr_impl.h"
#include "mem.h"

enum { PLAN_SECONDS = 20 };	/* of processors, for a plan's tiles */

/* Multiply-adds of a tile, about. */
static double tile_work(const struct attr_run *r, const struct attr_want *w,
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
static double tile_bytes(const struct attr_run *r, const struct attr_want *w,
                         size_t n)
{
	const struct attr *a = r->a;
	const struct attr_steps s = attr_steps_of(a);
	size_t per_layer = a->n_features / s.n_layers + a->n, i, m, len;
	double most = 0, bytes;

	for (i = 0; i < n; i += m) {
		m = attr_next_tile(r, w + i, n - i);
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
static void foresee(const struct attr_run *r, const struct attr_want *w, size_t n,
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
static int pace(struct attr_run *r, const struct attr_want *w, size_t n,
                struct clocks *take, struct err *e)
{
	double all = 0, at = 0, next = 0, done = 0;
	struct clocks began, spent = { 0, 0 };
	size_t i, m;

	for (i = 0; i < n; i += m) {
		m = attr_next_tile(r, w + i, n - i);
		all += tile_work(r, w + i, m);
	}
	for (i = 0; i < n; i += m) {
		m = attr_next_tile(r, w + i, n - i);
		at += tile_work(r, w + i, m);
		if (at < next)
			continue;
		began = clocks_now();
		if (attr_tile(r, w + i, m, e) < 0)
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
	struct attr_run r = { .a = a, .o = o };
	size_t max = attr_max_features(a, o), turn = attr_turn(&r, max);
	struct attr_want *w = mem_scratch(max, sizeof(*w), e);
	struct clocks began = clocks_now(), first = { 0, 0 }, rest = { 0, 0 };
	double choosing;
	int rc = -1;

	memset(out, 0, sizeof(*out));
	if (!w || attr_run_begin(a, o, e) < 0 || attr_run_targets(&r, e) < 0 ||
	    (max && attr_next_turn(a, max, w, e) < 0))
		goto done;
	clocks_add(&first, &began);
	qsort(w, max, sizeof(*w), attr_by_place);
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
	attr_tiles_end(&r);
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

int attr_check_memory(const struct attr_run *r, struct attr_want *w, size_t n,
                        size_t max, struct err *e)
{
	size_t have = mem_available(), now = mem_resident();
	struct attr_plan p;

	qsort(w, n, sizeof(*w), attr_by_place);
	foresee(r, w, n, max, &p);
	if (p.peak_bytes <= now || p.peak_bytes - now <= have)
		return 0;
	return err_set(e, ERR_MEM, "%zu features will take about %zu MiB more, "
	               "%zu MiB are left: allow less memory for rows, or fewer "
	               "features", max, (p.peak_bytes - now) >> 20, have >> 20);
}
