/* One step of one transcoder: forward, loss, gradients, optimiser. */
#include <math.h>
#include <string.h>

#include "train_impl.h"

static const float MULTI_WEIGHT = 1.0f / 8;

/* The decoder's normalised steps: rows after which a value's weight has fallen
 * to 1/e, and what is added to the sum of squares. */
static const double POWER_ROWS = 16384;
static const float POWER_RIDGE = 300;
static const double DEC_REACH = 32 * (1.0 / 12);	/* k and warm-up */

/* The share of a latent's sum of squares that a step leaves. */
static double dec_keep(const struct train_cfg *c)
{
	return exp(-(double)c->batch / POWER_ROWS);
}

long train_keep(struct train_layer *t, const float *x, const float *y,
                uint64_t first, size_t n, struct err *e)
{
	struct train_work *w = t->work;
	const struct dev_tc_ops *k = train_ops(t)->tc;
	size_t i, seen;
	double limit_x, limit_y;
	long kept = 0;

	if (k->row_sq(t->dev, x, n, t->cfg.tc.d_in, NULL, w->sq_x, e) < 0 ||
	    k->row_sq(t->dev, y, n, t->cfg.tc.d_out, NULL, w->sq_y, e) < 0)
		return -1;
	if (first + n > t->n_norms) {
		seen = t->n_norms > first ? (size_t)(t->n_norms - first) : 0;
		outlier_add(&t->norms_x, w->sq_x + seen, n - seen);
		outlier_add(&t->norms_y, w->sq_y + seen, n - seen);
		t->n_norms = first + n;
	}
	limit_x = outlier_limit(&t->norms_x, t->cfg.outlier);
	limit_y = outlier_limit(&t->norms_y, t->cfg.outlier);
	for (i = 0; i < n; i++) {
		if (!isfinite(w->sq_x[i]) || !isfinite(w->sq_y[i]))
			return err_set(e, ERR_FORMAT, "layer %d: the norm of "
			               "row %llu's %s is not finite", t->layer,
			               (unsigned long long)(first + i),
			               isfinite(w->sq_x[i]) ? "output"
			               : "input");
		if (w->sq_x[i] > limit_x || w->sq_y[i] > limit_y)
			continue;
		w->rows[kept++] = (uint32_t)i;
	}
	return kept;
}

static double total(const double *v, size_t n)
{
	double s = 0;
	size_t i;

	for (i = 0; i < n; i++)
		s += v[i];
	return s;
}

int train_variance(struct train_layer *t, size_t n, double *out,
                   struct err *e)
{
	struct train_work *w = t->work;
	const struct dev_ops *d = train_ops(t);
	size_t dim = t->cfg.tc.d_out, i;

	if (d->tc->col_sum(t->dev, w->y, n, dim, w->sum, e) < 0)
		return -1;
	for (i = 0; i < dim; i++)
		w->row_host[i] = (float)(w->sum[i] / (double)n);
	if (d->put(t->dev, w->row, w->row_host, dim * sizeof(float), e) < 0 ||
	    d->tc->row_sq(t->dev, w->y, n, dim, w->row, w->sq_y, e) < 0)
		return -1;
	*out = total(w->sq_y, n);
	if (!(*out > 0))
		return err_set(e, ERR_FORMAT, "layer %d: outputs of rows %llu "
		               "to %llu are all alike", t->layer,
		               (unsigned long long)t->stats.rows,
		               (unsigned long long)t->stats.rows +
		               t->cfg.batch - 1);
	return 0;
}

static float *part_g(struct train_layer *t, int part, size_t n)
{
	return t->work->g + (size_t)part * n * t->cfg.tc.d_out;
}

int train_residual(struct train_layer *t, int part, int with_skip, size_t n,
                   double *sq, struct err *e)
{
	struct train_work *w = t->work;
	const struct dev_ops *d = train_ops(t);
	size_t d_in = t->cfg.tc.d_in, d_out = t->cfg.tc.d_out;
	float *g = part_g(t, part, n);

	/* y^ - y begins as b_dec - y */
	if (d->tc->centre(t->dev, w->y, NULL, n, d_out, t->b_dec.w, -1, g,
	                  e) < 0)
		return -1;
	if (with_skip && t->skip.w &&
	    d->tc->skip_add(t->dev, w->x, n, d_in, t->skip.w, d_out, g, e) < 0)
		return -1;
	if (d->tc->decode(t->dev, &w->codes[part], t->dec.w, d_out, g, e) < 0 ||
	    d->tc->row_sq(t->dev, g, n, d_out, NULL, w->sq_x, e) < 0)
		return -1;
	*sq = total(w->sq_x, n);
	return 0;
}

/* Latents that have not fired for dead_tokens, into work->dead. */
static long find_dead(struct train_layer *t, struct err *e)
{
	struct train_work *w = t->work;
	const struct dev_ops *d = train_ops(t);
	uint64_t *last = (uint64_t *)(void *)w->sum;
	size_t n_latents = t->cfg.tc.n_latents, i;
	long n = 0;

	if (d->get(t->dev, last, t->last, n_latents * sizeof(*last), e) < 0)
		return -1;
	for (i = 0; i < n_latents; i++)
		if (t->stats.rows - last[i] > t->cfg.dead_tokens)
			w->dead_host[n++] = (uint32_t)i;
	if (d->put(t->dev, w->dead, w->dead_host,
	           (size_t)n * sizeof(*w->dead), e) < 0)
		return -1;
	return n;
}

/*
 * AuxK: the strongest dead latents of each row decode the error the living
 * ones left. Leaves d(auxk)/de^ (before alpha) in the part's g. *on: whether
 * any latent is dead.
 */
static int auxk(struct train_layer *t, size_t n, double variance_y, int *on,
                double *loss, struct err *e)
{
	struct train_work *w = t->work;
	const struct dev_ops *d = train_ops(t);
	const struct tc_cfg *c = &t->cfg.tc;
	struct dev_tc_codes *codes = &w->codes[TRAIN_PART_AUX];
	float *g = part_g(t, TRAIN_PART_AUX, n);
	long n_dead = find_dead(t, e);
	size_t k = train_aux_k(c);
	double scale, sq;

	*on = n_dead > 0;
	if (n_dead <= 0)
		return n_dead < 0 ? -1 : 0;
	scale = (double)n_dead < (double)k ? (double)n_dead / (double)k : 1;
	codes->k = (size_t)n_dead < k ? (size_t)n_dead : k;
	if (d->tc->gather(t->dev, t->enc.w, w->dead, (size_t)n_dead, c->d_in,
	                  w->dead_w, e) < 0 ||
	    d->tc->gather(t->dev, t->bias.w, w->dead, (size_t)n_dead, 1,
	                  w->dead_b, e) < 0 ||
	    d->tc->encode(t->dev, w->x, n, c->d_in, w->dead_w, w->dead_b,
	                  (size_t)n_dead, w->dead, codes, e) < 0 ||
	    /* e^ - e = e^ + (y^ - y) */
	    d->tc->scale(t->dev, part_g(t, TRAIN_PART_MAIN, n), 1,
	                 n * c->d_out, g, e) < 0 ||
	    d->tc->decode(t->dev, codes, t->dec.w, c->d_out, g, e) < 0 ||
	    d->tc->row_sq(t->dev, g, n, c->d_out, NULL, w->sq_x, e) < 0)
		return -1;
	sq = total(w->sq_x, n);
	*loss = scale * sq / variance_y;
	return d->tc->scale(t->dev, g, (float)(2 * t->cfg.auxk_alpha * scale /
	                                       variance_y), n * c->d_out, g, e);
}

/* sum += sign * the column sums of g, on the host */
static int add_col_sum(struct train_layer *t, const float *g, size_t n,
                       size_t dim, double *sum, double sign, struct err *e)
{
	struct train_work *w = t->work;
	size_t i;

	if (train_ops(t)->tc->col_sum(t->dev, g, n, dim, w->sum, e) < 0)
		return -1;
	for (i = 0; i < dim; i++)
		sum[i] += sign * w->sum[i];
	return 0;
}

/*
 * Gradient of b_dec into work->g_b_dec. An autoencoder's b_dec also moves what
 * the encoder sees: minus the encoder's input gradient.
 */
static int b_dec_gradient(struct train_layer *t, const struct dev_tc_part *part,
                          size_t n_parts, size_t n, struct err *e)
{
	struct train_work *w = t->work;
	const struct dev_ops *d = train_ops(t);
	const struct tc_cfg *c = &t->cfg.tc;
	double *sum = w->sum + c->d_out;
	size_t i, rows = n * (1 + (size_t)c->multi_topk);	/* AuxK has no bias */

	memset(sum, 0, c->d_out * sizeof(*sum));
	if (add_col_sum(t, w->g, rows, c->d_out, sum, 1, e) < 0)
		return -1;
	for (i = 0; i < n_parts && !c->transcode; i++) {
		struct dev_tc_codes slopes = part[i].codes;

		if (part[i].decoder_only)
			continue;
		slopes.value = w->slope;
		if (d->tc->slope(t->dev, &part[i].codes, w->g + part[i].g_row *
		                 c->d_out, t->dec.w, c->d_out, w->slope, e) < 0 ||
		    d->tc->scale(t->dev, w->x_grad, 0, n * c->d_in, w->x_grad,
		                 e) < 0 ||
		    d->tc->decode(t->dev, &slopes, t->enc.w, c->d_in,
		                  w->x_grad, e) < 0 ||
		    add_col_sum(t, w->x_grad, n, c->d_in, sum, -1, e) < 0)
			return -1;
	}
	for (i = 0; i < c->d_out; i++)
		w->row_host[i] = (float)sum[i];
	return d->put(t->dev, w->g_b_dec, w->row_host,
	              c->d_out * sizeof(float), e);
}

struct dev_tc_opt train_optimiser(const struct train_layer *t)
{
	double step = (double)t->stats.step + 1;
	double lr = train_lr(&t->cfg, t->stats.step);
	struct dev_tc_opt o = { .lr = (float)lr };

	if (t->cfg.rule == TRAIN_SIGNUM) {
		o.rule = DEV_TC_SIGNUM;
		o.b1 = 0.95f;
		o.blend = (float)(1 / step);
		return o;
	}
	o.rule = DEV_TC_ADAM;
	o.b1 = 0.9f;
	o.b2 = 0.999f;
	o.lr = (float)(lr / (1 - pow(0.9, step)));
	o.root = (float)(1 / sqrt(1 - pow(0.999, step)));
	o.eps = 1e-8f;
	return o;
}

/*
 * Rises as the learning rate does, falls as its root: the first steps, when
 * every latent's sum of squares is small, are the ones that go too far. What the
 * rows of a batch have in common is corrected by each of a row's k latents, of
 * each by the share that the batch has of its sum of squares: 1 / s in step s,
 * later what POWER_ROWS says. So in all by rate k times this share, which has to
 * stay below 2, whatever k the step has, and is kept where it is known to do well.
 */
static double dec_rate(const struct train_layer *t)
{
	const struct train_cfg *c = &t->cfg;
	double share = train_lr(c, t->stats.step) / c->lr;
	double first = 1 / (double)(c->warmup > 1 ? c->warmup : 1);
	double later = 1 - dec_keep(c);
	double reach = train_k(c, t->stats.step) *
		(first > later ? first : later);

	return c->dec_rate * (reach > DEC_REACH ? DEC_REACH / reach : 1) *
	       (t->stats.step < c->warmup ? share : sqrt(share));
}

/* Gradient of W_skip, from every skip_every-th row, and its step. */
static int step_skip(struct train_layer *t, size_t n, const struct dev_tc_opt *o,
                     struct err *e)
{
	struct train_work *w = t->work;
	const struct dev_ops *d = train_ops(t);
	const struct tc_cfg *c = &t->cfg.tc;
	/* of the parts behind each other in g, those that decode with a skip */
	size_t parts = c->multi_topk && t->cfg.recipe == TRAIN_R1 ? 2 : 1, p;
	size_t every = train_larger(t->cfg.skip_every, 1);
	size_t first = (size_t)(t->stats.step % every), rows;

	first = first < n ? first : 0;
	rows = (n - first - 1) / every + 1;
	for (p = 0; p < parts; p++)
		if (d->tc->skip_grad(t->dev, part_g(t, (int)p, n) + first *
		                     c->d_out, rows, every, c->d_out, w->x +
		                     first * c->d_in, c->d_in, p > 0, w->g_skip,
		                     e) < 0)
			return -1;
	return d->tc->step(t->dev, &t->skip, w->g_skip,
	                   (size_t)c->d_out * c->d_in, o, e);
}

int train_apply(struct train_layer *t, const struct dev_tc_part *part,
                size_t n_parts, size_t n, const struct dev_tc_opt *o,
                struct err *e)
{
	struct train_work *w = t->work;
	const struct dev_ops *d = train_ops(t);
	const struct tc_cfg *c = &t->cfg.tc;
	const struct dev_tc_latents l = {
		c->n_latents, c->d_in, c->d_out, t->enc, t->bias, t->dec,
		t->live, c->normalize_decoder && !c->transcode, t->power,
		(float)dec_keep(&t->cfg),
		/* g is 2 / variance times the error */
		(float)(dec_rate(t) * w->variance / 2),
		POWER_RIDGE
	};

	if ((t->skip.w && step_skip(t, n, o, e) < 0) ||
	    b_dec_gradient(t, part, n_parts, n, e) < 0 ||
	    train_threshold_apply(t, n, o, e) < 0 ||
	    d->tc->step_latents(t->dev, part, n_parts, w->x, w->g, &l, o,
	                        e) < 0)
		return -1;
	return d->tc->step(t->dev, &t->b_dec, w->g_b_dec, c->d_out, o, e);
}

/* Centres and scales the rows kept; an autoencoder's encoder sees its target
 * less b_dec. */
int train_prepare(struct train_layer *t, const float *x, const float *y,
                  size_t n, struct err *e)
{
	struct train_work *w = t->work;
	const struct dev_tc_ops *k = train_ops(t)->tc;
	const struct tc_cfg *c = &t->cfg.tc;

	if (k->centre(t->dev, y, w->rows, n, c->d_out, t->mean_y,
	              (float)t->scale_y, w->y, e) < 0)
		return -1;
	if (!c->transcode)
		return k->centre(t->dev, w->y, NULL, n, c->d_in, t->b_dec.w, 1,
		                 w->x, e);
	return k->centre(t->dev, x, w->rows, n, c->d_in, t->mean_x,
	                 (float)t->scale_x, w->x, e);
}

/* Loss and gradients of a prepared batch; parts (at most DEV_TC_PARTS) for
 * train_apply. */
int train_loss(struct train_layer *t, size_t n, struct dev_tc_part *part,
               size_t *n_parts, struct err *e)
{
	struct train_work *w = t->work;
	const struct dev_ops *d = train_ops(t);
	const struct train_cfg *c = &t->cfg;
	int sparsify = c->recipe == TRAIN_SPARSIFY, aux_on = 0;
	double var, sq, multi = 0;
	size_t values = n * c->tc.d_out;

	*n_parts = 0;
	t->stats.auxk = t->stats.multi = 0;
	if (train_variance(t, n, &var, e) < 0 || train_select(t, n, e) < 0 ||
	    train_residual(t, TRAIN_PART_MAIN, 1, n, &sq, e) < 0)
		return -1;
	t->stats.fvu = sq / var;
	w->variance = var;
	part[(*n_parts)++] = (struct dev_tc_part){
		w->codes[TRAIN_PART_MAIN], 0, 0
	};
	if (c->tc.multi_topk) {
		if (d->tc->encode(t->dev, w->x, n, c->tc.d_in, t->enc.w,
		                  t->bias.w, c->tc.n_latents, NULL,
		                  &w->codes[TRAIN_PART_MULTI], e) < 0 ||
		    train_residual(t, TRAIN_PART_MULTI, !sparsify, n, &multi,
		                   e) < 0 ||
		    d->tc->scale(t->dev, part_g(t, TRAIN_PART_MULTI, n),
		                 (float)(2 * MULTI_WEIGHT / var), values,
		                 part_g(t, TRAIN_PART_MULTI, n), e) < 0)
			return -1;
		t->stats.multi = multi / var;
		part[(*n_parts)++] = (struct dev_tc_part){
			w->codes[TRAIN_PART_MULTI], n * TRAIN_PART_MULTI,
			sparsify
		};
	}
	if (c->auxk_alpha > 0) {
		if (auxk(t, n, var, &aux_on, &t->stats.auxk, e) < 0)
			return -1;
		if (aux_on)
			part[(*n_parts)++] = (struct dev_tc_part){
				w->codes[TRAIN_PART_AUX], n * TRAIN_PART_AUX,
				sparsify
			};
	}
	t->stats.loss = t->stats.fvu + c->auxk_alpha * t->stats.auxk +
	                MULTI_WEIGHT * t->stats.multi + train_l0_loss(t);
	if (!isfinite(t->stats.loss))
		return err_set(e, ERR_RANGE, "layer %d: loss is not finite at "
		               "step %llu; a lower --lr may help", t->layer,
		               (unsigned long long)t->stats.step + 1);
	return d->tc->scale(t->dev, w->g, (float)(2 / var), values, w->g, e);
}

/* Latents that have long been quiet as of row `now` come nearer to firing. */
static int raise_quiet(struct train_layer *t, uint64_t now, struct err *e)
{
	const struct dev_ops *d = train_ops(t);
	uint64_t *last = (uint64_t *)(void *)t->work->sum;
	size_t n = t->cfg.tc.n_latents, i;
	/* 0 or what is added; signum's pair moves together */
	float by = (float)(t->cfg.raise * (double)t->cfg.batch);
	float *add = t->work->raised;

	if (!(by > 0) || now <= TRAIN_QUIET_ROWS)
		return 0;
	if (d->get(t->dev, last, t->last, n * sizeof(*last), e) < 0)
		return -1;
	for (i = 0; i < n; i++)
		add[i] = now - last[i] > TRAIN_QUIET_ROWS ? by : 0;
	if (d->put(t->dev, t->work->raise, add, n * sizeof(*add), e) < 0 ||
	    d->axpy(t->dev, 1, t->work->raise, t->bias.w, n, e) < 0)
		return -1;
	return t->cfg.rule == TRAIN_SIGNUM
	       ? d->axpy(t->dev, 1, t->work->raise, t->bias.s1, n, e) : 0;
}

int train_step(struct train_layer *t, const float *x, const float *y,
               struct err *e)
{
	struct dev_tc_part part[DEV_TC_PARTS];
	const struct dev_tc_opt o = train_optimiser(t);
	size_t n_parts;
	uint64_t active = 0, now = t->stats.rows + t->cfg.batch;
	long n = train_keep(t, x, y, t->stats.rows, t->cfg.batch, e);

	if (n < 0)
		return -1;
	if (n > 1) {
		if (train_prepare(t, x, y, (size_t)n, e) < 0 ||
		    train_end_keep(t, (size_t)n, e) < 0 ||
		    train_loss(t, (size_t)n, part, &n_parts, e) < 0 ||
		    train_ops(t)->tc->mark(t->dev, &part[0].codes, now,
		                           t->last, &active, e) < 0 ||
		    train_apply(t, part, n_parts, (size_t)n, &o, e) < 0)
			return -1;
		if (raise_quiet(t, now, e) < 0 ||
		    train_resample(t, (size_t)n, now, e) < 0)
			return -1;
		t->stats.l0 = (double)active / (double)n;
		train_threshold_follow(t);
		/* sparsify's 4 k latents count as fired */
		if (t->cfg.tc.multi_topk && t->cfg.recipe == TRAIN_SPARSIFY &&
		    train_ops(t)->tc->mark(t->dev, &part[1].codes, now,
		                           t->last, &active, e) < 0)
			return -1;
	} else if (train_end_keep(t, 0, e) < 0) {
		return -1;
	}
	t->stats.lr = train_lr(&t->cfg, t->stats.step);
	t->stats.step++;
	t->stats.rows = now;
	t->stats.outliers += t->cfg.batch - (size_t)n;
	return 0;
}
