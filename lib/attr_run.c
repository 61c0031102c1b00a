/* The rows of an attribution, in turns: the targets', then those of the features
 * that the rows there are make most influential. */
#include <stdlib.h>
#include <unistd.h>

#include "attr_impl.h"
#include "mem.h"

const struct attr_opt attr_opt_default = {
	.max_features = 0, .batch = 512, .update = 4,
	.tile_bytes = (size_t)256 << 20, .rows_bytes = (size_t)2 << 30,
	.scratch = NULL, .state = NULL
};

/* Works off r->w; 1 when asked to stop, which targets are not. */
static int work_off(struct attr_run *r, struct err *e)
{
	size_t m;

	qsort(r->w, r->n_left, sizeof(*r->w), attr_by_place);
	for (; r->n_left; r->w += m, r->n_left -= m) {
		if (r->watch && r->watch->step &&
		    r->watch->step(r->watch->ctx, r->n_done, r->total) &&
		    r->w->node < r->a->n_features)
			return 1;
		m = attr_next_tile(r, r->w, r->n_left);
		if (attr_tile(r, r->w, m, e) < 0)
			return -1;
		r->n_done += m;
	}
	return 0;
}

/* ---- turns ---- */

size_t attr_turn(const struct attr_run *r, size_t max)
{
	size_t turn = r->o->batch * r->o->update;

	return max == r->a->n_features || turn > max ? max : turn;
}

int attr_next_turn(const struct attr *a, size_t n, struct attr_want *w,
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

size_t attr_max_features(const struct attr *a, const struct attr_opt *o)
{
	return o->max_features && o->max_features < a->n_features
		? o->max_features : a->n_features;
}

int attr_run_targets(struct attr_run *r, struct err *e)
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

int attr_run_begin(struct attr *a, const struct attr_opt *o, struct err *e)
{
	attr_rows_free(a->rows);
	mem_free(a->done);
	a->n_rows = 0;
	a->done = NULL;
	a->rows = attr_rows_new(o->rows_bytes, o->scratch, e);
	a->done = mem_array(a->n_features, 1, e);
	return a->rows && a->done ? 0 : -1;
}

/* ---- all of it ---- */

static int features(struct attr_run *r, struct attr_want *w, size_t turn,
                    size_t left, struct err *e)
{
	size_t n, max = left;
	int rc = 0;

	for (; rc == 0 && left; left -= n) {
		n = left < turn ? left : turn;
		if (attr_next_turn(r->a, n, w, e) < 0 ||
		    (left == max && attr_check_memory(r, w, n, max, e) < 0))
			return -1;
		r->w = w;
		r->n_left = n;
		rc = work_off(r, e);
	}
	return rc;
}

/* What a state left to be done: 1 stopped, 2 there was none. */
static int go_on(struct attr_run *r, struct attr_want **w, size_t max,
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
	struct attr_run r = { .a = a, .o = o, .watch = watch };
	size_t max = attr_max_features(a, o), turn = attr_turn(&r, max), left;
	struct attr_want *w = mem_scratch(turn, sizeof(*w), e), *old = NULL;
	int rc = -1;

	r.total = max + a->n_targets;
	if (!w || attr_run_begin(a, o, e) < 0)
		goto done;
	rc = go_on(&r, &old, max, &left, e);
	if (rc == 2)
		rc = attr_run_targets(&r, e);
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
	attr_tiles_end(&r);
	return rc;
}
