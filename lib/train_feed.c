#include "train_feed.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "mem.h"
#include "metrics.h"

struct run {
	struct train_feed *feed;
	struct train_set_cfg cfg;
	struct train_set *set;
	struct metrics *metrics;
	uint64_t behind;	/* rows of the stream that it had before */
	uint64_t n_pushed;	/* rows it was given here */
	double spent_s;		/* on them */
	int done;		/* nothing left to learn; all is written */
};

struct train_feed {
	struct run *run;
	int n;
	uint64_t rows;		/* settled */
	struct progress progress;
};

/* ---- lines ------------------------------------------------------------------ */

static int emit(void *ctx, json_t *line, struct err *e)
{
	struct run *r = ctx;
	const struct train_feed *f = r->feed;
	double rate = progress_rate(&f->progress, f->rows);
	double all = (double)(r->cfg.train.n_steps * r->cfg.train.batch);
	double left = all - (double)f->rows;
	json_t *time = json_pack("{s:f}", "tokens_per_s", rate);

	if (time && all > 0 && rate > 0)
		json_object_set_new(time, "eta_s",
		                    json_real(left > 0 ? left / rate : 0));
	if (time && r->spent_s > 0)
		json_object_set_new(time, "own_tokens_per_s",
		                    json_real((double)r->n_pushed /
		                              r->spent_s));
	json_object_set_new(line, "time", time);
	return metrics_write(r->metrics, line, e);
}

static train_emit_fn *emit_of(const struct run *r)
{
	return metrics_wanted(r->metrics) ? emit : NULL;
}

/* A run's error, with its name where there are several. */
static int name(const struct run *r, struct err *e)
{
	return r->feed->n > 1 ? err_wrap(e, "%s", r->cfg.out) : -1;
}

/* ---- beginning -------------------------------------------------------------- */

static int same_place(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

static int check(const struct train_feed_run *runs, int n, struct err *e)
{
	int i, j;

	for (i = 0; i < n; i++) {
		const struct train_set_cfg *a = &runs[0].cfg, *b = &runs[i].cfg;

		if (b->n_layers != a->n_layers ||
		    memcmp(b->layers, a->layers,
		           (size_t)a->n_layers * sizeof(*a->layers)) != 0)
			return err_set(e, ERR_RANGE, "%s: its layers are not "
			               "those of %s", b->out, a->out);
		for (j = 0; j < i; j++)
			if (same_place(b->out, runs[j].cfg.out) ||
			    same_place(runs[i].metrics, runs[j].metrics))
				return err_set(e, ERR_RANGE, "%s: two runs "
				               "write there",
				               same_place(b->out,
				                          runs[j].cfg.out)
				               ? b->out : runs[i].metrics);
	}
	return 0;
}

static int begin(struct run *r, const struct train_feed_run *w, struct dev *d,
                 struct err *e)
{
	int found = 0;

	r->cfg = w->cfg;
	if (!(r->set = train_set_new(&r->cfg, d, e)))
		return -1;
	if (w->resume &&
	    (found = train_set_resume(r->set, &r->behind, &r->done, e)) < 0)
		return -1;
	if (!found && w->init && train_set_init(r->set, w->init, e) < 0)
		return -1;
	if (found && !r->done)
		r->metrics = metrics_resume(w->metrics, "step",
		                            (int64_t)train_set_step(r->set), e);
	else	/* a run that reached its end keeps its lines */
		r->metrics = metrics_open(w->metrics, r->done, e);
	return r->metrics ? 0 : -1;
}

struct train_feed *train_feed_new(const struct train_feed_run *runs, int n,
                                  struct dev *d, progress_fn *progress,
                                  void *ctx, struct err *e)
{
	struct train_feed *f;
	uint64_t all, most = 0;
	int i;

	if (check(runs, n, e) < 0 || !(f = mem_array(1, sizeof(*f), e)))
		return NULL;
	if (!(f->run = mem_array((size_t)n, sizeof(*f->run), e)))
		goto fail;
	f->n = n;
	for (i = 0; i < n; i++) {
		f->run[i].feed = f;
		if (begin(&f->run[i], &runs[i], d, e) < 0) {
			f->run[i].cfg = runs[i].cfg;
			name(&f->run[i], e);
			goto fail;
		}
		all = runs[i].cfg.train.n_steps * runs[i].cfg.train.batch;
		if (all > most)
			most = all;
		if (!all)	/* until the stream ends */
			most = UINT64_MAX;
	}
	f->rows = train_feed_behind(f);
	if (f->rows == UINT64_MAX)
		f->rows = 0;
	progress_start(&f->progress, progress, ctx, "tokens", f->rows,
	               most == UINT64_MAX ? 0 : most);
	return f;
fail:
	train_feed_free(f);
	return NULL;
}

void train_feed_free(struct train_feed *f)
{
	int i;

	if (!f)
		return;
	for (i = 0; i < f->n; i++) {
		train_set_free(f->run[i].set);
		metrics_close(f->run[i].metrics, NULL);
	}
	mem_free(f->run);
	mem_free(f);
}

int train_feed_close(struct train_feed *f, struct err *e)
{
	int i, rc = 0;

	for (i = 0; i < f->n; i++) {
		if (metrics_close(f->run[i].metrics, rc < 0 ? NULL : e) < 0)
			rc = -1;
		f->run[i].metrics = NULL;
	}
	return rc;
}

/* ---- rows -------------------------------------------------------------------- */

struct train_set *train_feed_set(struct train_feed *f, int i)
{
	return f->run[i].set;
}

uint64_t train_feed_behind(const struct train_feed *f)
{
	uint64_t least = UINT64_MAX;
	int i;

	for (i = 0; i < f->n; i++)
		if (!f->run[i].done && f->run[i].behind < least)
			least = f->run[i].behind;
	return least;
}

int train_feed_wants_x(const struct train_feed *f)
{
	int i;

	for (i = 0; i < f->n; i++)
		if (f->run[i].cfg.train.tc.transcode)
			return 1;
	return 0;
}

int train_feed_ids(struct train_feed *f, const uint32_t *ids, size_t n,
                   struct err *e)
{
	int i;

	for (i = 0; i < f->n; i++)
		if (!f->run[i].done &&
		    train_set_ids(f->run[i].set, ids, n, e) < 0)
			return name(&f->run[i], e);
	return 0;
}

static double clock_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int train_feed_push(struct train_feed *f, int i, uint64_t first,
                    const float *x, const float *y, size_t n, struct err *e)
{
	int k;

	for (k = 0; k < f->n; k++) {
		struct run *r = &f->run[k];
		const struct tc_cfg *c = &r->cfg.train.tc;
		uint64_t had = r->behind > first ? r->behind - first : 0;
		double begun = clock_s();

		if (r->done || had >= n)
			continue;
		if (train_set_push(r->set, i,
		                   c->transcode ? x + had * c->d_in
		                                : y + had * c->d_in,
		                   y + had * c->d_out, n - (size_t)had, e) < 0)
			return name(r, e);
		r->spent_s += clock_s() - begun;
		if (i == 0)
			r->n_pushed += n - had;
	}
	return 0;
}

static int end(struct run *r, struct err *e)
{
	if (train_set_finish(r->set, emit_of(r), r, e) < 0)
		return name(r, e);
	r->done = 1;
	return 0;
}

/* Mean over the runs that have taken a step; NAN while none has. */
static double mean_fvu(const struct train_feed *f)
{
	double sum = 0;
	int i, n = 0;

	for (i = 0; i < f->n; i++)
		if (train_set_step(f->run[i].set)) {
			sum += train_set_fvu(f->run[i].set);
			n++;
		}
	return n ? sum / n : NAN;
}

int train_feed_settle(struct train_feed *f, uint64_t rows, struct err *e)
{
	char note[32] = "starting";
	int i, left = 0;

	f->rows = rows;
	for (i = 0; i < f->n; i++) {
		struct run *r = &f->run[i];

		if (r->done)
			continue;
		if (train_set_settle(r->set, emit_of(r), r, e) < 0)
			return name(r, e);
		if (!train_set_finished(r->set))
			left++;
		else if (end(r, e) < 0)
			return -1;
	}
	if (!isnan(mean_fvu(f)))
		snprintf(note, sizeof(note), "fvu %.4f", mean_fvu(f));
	if (left)
		progress_at(&f->progress, rows, note);
	else
		progress_end(&f->progress, rows, NULL);
	return !left;
}

/* ---- the end ------------------------------------------------------------------ */

int train_feed_finish(struct train_feed *f, struct err *e)
{
	int i, rc = 0;

	for (i = 0; i < f->n; i++)
		if (!f->run[i].done && end(&f->run[i], rc < 0 ? NULL : e) < 0)
			rc = -1;
	if (rc == 0)
		progress_end(&f->progress, f->rows, NULL);
	return rc;
}

int train_feed_stop(struct train_feed *f, struct err *e)
{
	uint64_t step = 0;
	int i, n = 0;

	for (i = 0; i < f->n; i++) {
		struct run *r = &f->run[i];

		if (r->done || train_set_step(r->set) == 0)
			continue;
		if (train_set_save(r->set, e) < 0)
			return name(r, e);
		step = train_set_step(r->set);
		n++;
	}
	if (n == 0)
		return err_set(e, ERR_STOP, "stopped before the first step; "
		               "nothing to save");
	if (f->n > 1)
		return err_set(e, ERR_STOP, "stopped; %d of %d runs are saved, "
		               "--resume goes on", n, f->n);
	return err_set(e, ERR_STOP, "stopped; step %llu is saved, --resume "
	               "goes on", (unsigned long long)step);
}
