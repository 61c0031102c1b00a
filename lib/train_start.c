/* Where a transcoder starts: statistics of the first rows, their least squares. */
#include <math.h>
#include <string.h>

#include "mem.h"
#include "train_first.h"
#include "train_impl.h"

/* ---- statistics --------------------------------------------------------- */

/* The norms of all n held rows are known before the first is judged. */
static int add_norms(struct train_layer *t, size_t n, struct err *e)
{
	const struct dev_tc_ops *k = train_ops(t)->tc;
	const float *x = t->held_x ? t->held_x : t->held_y;
	double *sq = mem_scratch(n, sizeof(*sq), e);
	int rc = -1;

	if (!sq)
		return -1;
	if (k->row_sq(t->dev, x, n, t->cfg.tc.d_in, NULL, sq, e) < 0)
		goto done;
	outlier_add(&t->norms_x, sq, n);
	if (k->row_sq(t->dev, t->held_y, n, t->cfg.tc.d_out, NULL, sq, e) < 0)
		goto done;
	outlier_add(&t->norms_y, sq, n);
	t->n_norms = n;
	rc = 0;
done:
	mem_free(sq);
	return rc;
}

/* What a pass over the held rows does with each batch-sized piece of them:
 * work->rows names the n rows of x and y to look at. */
typedef int piece_fn(struct train_layer *t, const float *x, const float *y,
                     size_t n, void *ctx, struct err *e);

/* Rows kept of the n held, or -1. */
static long each_piece(struct train_layer *t, size_t n, piece_fn *fn, void *ctx,
                       struct err *e)
{
	size_t i, m;
	long kept, all = 0;

	for (i = 0; i < n; i += m) {
		const float *y = t->held_y + i * t->cfg.tc.d_out;
		const float *x = t->held_x ? t->held_x + i * t->cfg.tc.d_in : y;

		m = n - i < t->cfg.batch ? n - i : t->cfg.batch;
		kept = train_keep(t, x, y, i, m, e);
		if (kept < 0 || fn(t, x, y, (size_t)kept, ctx, e) < 0)
			return -1;
		all += kept;
	}
	return all;
}

struct moments {
	double *x, *y;		/* column sums */
	double sq_x, sq_y;	/* squared norms about the means */
};

static int sum_piece(struct train_layer *t, const float *x, const float *y,
                     size_t n, void *ctx, struct err *e)
{
	struct train_work *w = t->work;
	const struct dev_tc_ops *k = train_ops(t)->tc;
	const struct tc_cfg *c = &t->cfg.tc;
	struct moments *m = ctx;
	size_t i;

	if (k->centre(t->dev, x, w->rows, n, c->d_in, NULL, 1, w->x, e) < 0 ||
	    k->col_sum(t->dev, w->x, n, c->d_in, w->sum, e) < 0)
		return -1;
	for (i = 0; i < c->d_in; i++)
		m->x[i] += w->sum[i];
	if (k->centre(t->dev, y, w->rows, n, c->d_out, NULL, 1, w->y, e) < 0 ||
	    k->col_sum(t->dev, w->y, n, c->d_out, w->sum, e) < 0)
		return -1;
	for (i = 0; i < c->d_out; i++)
		m->y[i] += w->sum[i];
	return 0;
}

static int spread_piece(struct train_layer *t, const float *x, const float *y,
                        size_t n, void *ctx, struct err *e)
{
	struct train_work *w = t->work;
	const struct dev_tc_ops *k = train_ops(t)->tc;
	const struct tc_cfg *c = &t->cfg.tc;
	struct moments *m = ctx;
	size_t i;

	if (k->centre(t->dev, x, w->rows, n, c->d_in, t->mean_x, 1, w->x, e) < 0 ||
	    k->row_sq(t->dev, w->x, n, c->d_in, NULL, w->sq_x, e) < 0 ||
	    k->centre(t->dev, y, w->rows, n, c->d_out, t->mean_y, 1, w->y, e) < 0 ||
	    k->row_sq(t->dev, w->y, n, c->d_out, NULL, w->sq_y, e) < 0)
		return -1;
	for (i = 0; i < n; i++) {
		m->sq_x += w->sq_x[i];
		m->sq_y += w->sq_y[i];
	}
	return 0;
}

static int put_mean(struct train_layer *t, const double *sum, size_t dim,
                    long n, float *to, struct err *e)
{
	size_t i;

	for (i = 0; i < dim; i++)
		t->work->row_host[i] = (float)(sum[i] / (double)n);
	return train_ops(t)->put(t->dev, to, t->work->row_host,
	                         dim * sizeof(float), e);
}

/* Means of n held rows into mean_x and mean_y. */
static long means(struct train_layer *t, size_t n, struct err *e)
{
	const struct tc_cfg *c = &t->cfg.tc;
	struct moments m = { 0 };
	long kept = -1;

	m.x = mem_array(c->d_in, sizeof(double), e);
	m.y = mem_array(c->d_out, sizeof(double), e);
	if (!m.x || !m.y)
		goto done;
	kept = each_piece(t, n, sum_piece, &m, e);
	if (kept == 0)
		kept = err_set(e, ERR_FORMAT, "layer %d: every row is an "
		               "outlier", t->layer);
	if (kept > 0 && (put_mean(t, m.x, c->d_in, kept, t->mean_x, e) < 0 ||
	                 put_mean(t, m.y, c->d_out, kept, t->mean_y, e) < 0))
		kept = -1;
done:
	mem_free(m.x);
	mem_free(m.y);
	return kept;
}

/* Scales that give coordinates unit variance in the mean. */
static int scales(struct train_layer *t, size_t n, long kept, struct err *e)
{
	const struct tc_cfg *c = &t->cfg.tc;
	struct moments m = { 0 };

	if (each_piece(t, n, spread_piece, &m, e) < 0)
		return -1;
	if (!(m.sq_x > 0) || !(m.sq_y > 0))
		return err_set(e, ERR_FORMAT, "layer %d: the first %ld %s are "
		               "all alike", t->layer, kept,
		               m.sq_x > 0 ? "outputs" : "inputs");
	t->scale_x = sqrt((double)c->d_in * (double)kept / m.sq_x);
	t->scale_y = sqrt((double)c->d_out * (double)kept / m.sq_y);
	return 0;
}

/* ---- least squares: the best linear map of the start rows --------------- */

struct gram {
	float *xx, *xy;		/* device [d_in, d_in], [d_in, d_out] */
};

static int gram_piece(struct train_layer *t, const float *x, const float *y,
                      size_t n, void *ctx, struct err *e)
{
	struct train_work *w = t->work;
	const struct dev_ops *d = train_ops(t);
	const struct tc_cfg *c = &t->cfg.tc;
	struct gram *g = ctx;

	if (d->tc->centre(t->dev, x, w->rows, n, c->d_in, t->mean_x,
	                  (float)t->scale_x, w->x, e) < 0 ||
	    d->tc->centre(t->dev, y, w->rows, n, c->d_out, t->mean_y,
	                  (float)t->scale_y, w->y, e) < 0 ||
	    d->gemm(t->dev, 1, 0, c->d_in, c->d_in, n, 1, w->x, c->d_in, w->x,
	            c->d_in, 1, g->xx, c->d_in, e) < 0)
		return -1;
	return d->gemm(t->dev, 1, 0, c->d_in, c->d_out, n, 1, w->x, c->d_in,
	               w->y, c->d_out, 1, g->xy, c->d_out, e);
}

static int least_squares(struct train_layer *t, size_t n, long kept,
                         struct err *e)
{
	const struct dev_ops *d = train_ops(t);
	const size_t d_in = t->cfg.tc.d_in, d_out = t->cfg.tc.d_out;
	struct gram g = { NULL, NULL };
	int rc = -1;

	g.xx = d->alloc(t->dev, d_in * d_in * sizeof(float), e);
	g.xy = d->alloc(t->dev, d_in * d_out * sizeof(float), e);
	if (!g.xx || !g.xy || each_piece(t, n, gram_piece, &g, e) < 0)
		goto done;
	rc = d->tc->ridge(t->dev, g.xx, g.xy, d_in, d_out,
	                  t->cfg.ridge * (double)kept, t->skip.w, e);
	if (rc < 0)
		err_wrap(e, "layer %d", t->layer);
done:
	d->release(t->dev, g.xx);
	d->release(t->dev, g.xy);
	return rc;
}

/* ---- rows near the data ------------------------------------------------- */

static int near_piece(struct train_layer *t, const float *x, const float *y,
                      size_t n, void *ctx, struct err *e)
{
	struct train_work *w = t->work;
	const struct dev_ops *d = train_ops(t);
	const struct tc_cfg *c = &t->cfg.tc;
	size_t first = (size_t)(y - t->held_y) / c->d_out, i;
	struct train_first_rows *q = ctx;

	if (d->tc->centre(t->dev, x, w->rows, n, c->d_in, t->mean_x,
	                  (float)t->scale_x, w->x, e) < 0 ||
	    d->tc->centre(t->dev, y, w->rows, n, c->d_out, t->mean_y,
	                  -(float)t->scale_y, w->y, e) < 0 ||
	    (t->skip.w &&	/* the error, its sign the other way */
	     d->tc->skip_add(t->dev, w->x, n, c->d_in, t->skip.w, c->d_out,
	                     w->y, e) < 0) ||
	    d->tc->row_sq(t->dev, w->y, n, c->d_out, NULL, w->sq_y, e) < 0)
		return -1;
	for (i = 0; i < n; i++, q->n++) {
		q->row[q->n] = (uint32_t)(first + w->rows[i]);
		q->sum[q->n] = (q->n ? q->sum[q->n - 1] : 0) +
		               sqrt(w->sq_y[i]);
	}
	return 0;
}

static int first_weights(struct train_layer *t, size_t n, struct err *e)
{
	struct train_first_rows q = { .n = 0 };
	int rc = -1;

	if ((q.row = mem_scratch(n, sizeof(*q.row), e)) &&
	    (q.sum = mem_scratch(n, sizeof(*q.sum), e)) &&
	    each_piece(t, n, near_piece, &q, e) >= 0)
		rc = train_first(t, &q, e);
	mem_free(q.row);
	mem_free(q.sum);
	return rc;
}

/* ---- the recipes' starts ---------------------------------------------------- */

/* b_enc = -W_enc mean_x, b_dec = mean_y */
static int sparsify_biases(struct train_layer *t, struct err *e)
{
	const struct dev_ops *d = train_ops(t);
	const struct tc_cfg *c = &t->cfg.tc;

	if (c->transcode &&
	    d->gemm(t->dev, 0, 1, 1, c->n_latents, c->d_in, -1, t->mean_x,
	            c->d_in, t->enc.w, c->d_in, 0, t->bias.w, c->n_latents,
	            e) < 0)
		return -1;
	return d->copy(t->dev, t->b_dec.w, t->mean_y, c->d_out * sizeof(float),
	               e);
}

static int start_sparsify(struct train_layer *t, size_t n, struct err *e)
{
	const struct dev_ops *d = train_ops(t);
	const struct tc_cfg *c = &t->cfg.tc;

	if (t->given)
		return 0;
	if (train_first(t, NULL, e) < 0 ||
	    means(t, n < t->cfg.batch ? n : t->cfg.batch, e) < 0 ||
	    sparsify_biases(t, e) < 0)
		return -1;
	/* the rows are worked on as they come */
	if (d->tc->scale(t->dev, t->mean_x, 0, c->d_in, t->mean_x, e) < 0)
		return -1;
	return d->tc->scale(t->dev, t->mean_y, 0, c->d_out, t->mean_y, e);
}

static int start_r1(struct train_layer *t, size_t n, struct err *e)
{
	long kept = means(t, n, e);

	if (kept < 0 || scales(t, n, kept, e) < 0)
		return -1;
	if (t->given)
		return train_normalise(t, e);
	if (t->skip.w && least_squares(t, n, kept, e) < 0)
		return -1;
	return first_weights(t, n, e);
}

int train_start(struct train_layer *t, size_t n, struct err *e)
{
	struct train_param p[TRAIN_PARAMS];
	int n_params = train_params(t, p), i;

	if (add_norms(t, n, e) < 0)
		return -1;
	if (t->cfg.recipe == TRAIN_R1 ? start_r1(t, n, e) < 0
	                              : start_sparsify(t, n, e) < 0)
		return -1;
	if (train_threshold_start(t, n, e) < 0)
		return -1;
	for (i = 0; i < n_params && t->cfg.rule == TRAIN_SIGNUM; i++)
		if (train_ops(t)->copy(t->dev, p[i].p->s1, p[i].p->w,
		                       p[i].rows * p[i].cols * sizeof(float),
		                       e) < 0)
			return -1;
	t->started = 1;
	return 0;
}
