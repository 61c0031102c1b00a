#include "train.h"

#include <math.h>
#include <string.h>

#include "mem.h"
#include "train_impl.h"

double train_default_lr(const struct train_cfg *c)
{
	double width = sqrt(c->tc.n_latents / 16384.0);

	if (c->rule == TRAIN_SIGNUM)
		return 5e-3 / width;
	if (c->recipe == TRAIN_SPARSIFY)
		return 2e-4 / width;
	return c->dec_rate > 0 ? 2e-3 : 1e-3;
}

size_t train_default_skip_every(const struct train_cfg *c)
{
	enum { MOST = 4, ROWS = 128 };
	size_t every = c->batch / ROWS;

	if (!c->end_tokens || every < 1)
		return 1;
	return every < MOST ? every : MOST;
}

enum { END_MOST = 131072, END_LEAST = 32768 };	/* tokens */

size_t train_default_end_tokens(const struct train_cfg *c)
{
	const size_t room = (size_t)1 << 30;
	size_t row = train_end_row_bytes(&c->tc), n = row ? room / row : END_MOST;

	if (c->n_steps && c->n_steps <= END_MOST / c->batch)
		return END_MOST;
	n = n / END_LEAST * END_LEAST;
	return n > END_MOST ? END_MOST : n < END_LEAST ? END_LEAST : n;
}

double train_default_end_ridge(const struct train_cfg *c)
{
	const double least = 600, most = 5000;
	double run = (double)c->n_steps * (double)c->batch;
	double window = (double)c->end_tokens;

	if (run > 0 && run <= window)
		return least;
	return fmin(least * fmax(END_MOST / fmax(window, 1), 1), most);
}

double train_lr(const struct train_cfg *c, uint64_t s)
{
	double span = floor(c->decay * (double)c->n_steps), left;

	if (s < c->warmup)	/* sparsify's first step has a rate of 0 */
		return c->lr * ((double)s + (c->recipe == TRAIN_R1)) /
		       (double)c->warmup;
	if (c->n_steps == 0 || span < 1)
		return c->lr;
	if (c->warmup < c->n_steps && span > (double)(c->n_steps - c->warmup))
		span = (double)(c->n_steps - c->warmup);
	left = (double)c->n_steps - (double)s;
	return left < span ? c->lr * (left > 0 ? left : 0) / span : c->lr;
}

int train_check(const struct train_cfg *c, struct err *e)
{
	const struct tc_cfg *t = &c->tc;

	if (t->k >= t->n_latents)
		return err_set(e, ERR_RANGE, "k is %u of %u latents: wanted "
		               "fewer", t->k, t->n_latents);
	if (t->multi_topk && (uint64_t)t->k * 4 > t->n_latents)
		return err_set(e, ERR_RANGE, "multi-TopK decodes 4 k = %llu of "
		               "%u latents", (unsigned long long)t->k * 4,
		               t->n_latents);
	if (t->multi_topk && t->variant != TC_TOPK)
		return err_set(e, ERR_RANGE, "multi-TopK does not go with %s",
		               tc_variant_name(t->variant));
	if (t->variant == TC_JUMPRELU && c->k_anneal)
		return err_set(e, ERR_RANGE, "thresholds that are learnt leave "
		               "no k to anneal");
	if (t->variant == TC_JUMPRELU &&
	    !(c->bandwidth > 0 && c->bandwidth < 2))
		return err_set(e, ERR_RANGE, "a bandwidth of %g thresholds: "
		               "wanted above 0, below 2", c->bandwidth);
	if (t->skip && !t->transcode)
		return err_set(e, ERR_RANGE, "an autoencoder with a skip "
		               "connection has nothing to learn");
	if (!t->transcode && t->d_in != t->d_out)
		return err_set(e, ERR_RANGE, "an autoencoder of widths %u and "
		               "%u", t->d_in, t->d_out);
	if (c->dec_rate > 0 && c->rule != TRAIN_ADAM)
		return err_set(e, ERR_RANGE, "the decoder's normalised steps go "
		               "with Adam only");
	if (c->resample && (c->recipe != TRAIN_R1 || c->rule != TRAIN_ADAM ||
	                    t->variant == TC_JUMPRELU))
		return err_set(e, ERR_RANGE, "latents are drawn anew with recipe "
		               "r1 and Adam only, and not beside thresholds "
		               "that are learnt");
	if (c->batch < 2)
		return err_set(e, ERR_RANGE, "batch of %zu: wanted 2 or more",
		               c->batch);
	if (c->end_tokens && (c->recipe != TRAIN_R1 || c->rule != TRAIN_ADAM))
		return err_set(e, ERR_RANGE, "least squares at the end go with "
		               "recipe r1 and Adam only");
	if (c->end_tokens && t->normalize_decoder && !t->transcode)
		return err_set(e, ERR_RANGE, "least squares at the end leave no "
		               "decoder row at unit norm");
	if (c->end_tokens && !(c->end_ridge > 0))
		return err_set(e, ERR_RANGE, "a ridge of %g at the end: wanted "
		               "above 0", c->end_ridge);
	if (c->end_tokens > UINT32_MAX / tc_slots(t))
		return err_set(e, ERR_RANGE, "%zu tokens are too many for least "
		               "squares", c->end_tokens);
	if (!(c->lr > 0))
		return err_set(e, ERR_RANGE, "learning rate %g: wanted above 0",
		               c->lr);
	return 0;
}

/* ---- memory ------------------------------------------------------------- */

/* Allocations in a row, stopping at the first that fails; dev NULL: none are
 * made, those of device memory counted. */
struct give {
	struct dev *dev;
	struct err *e;
	int failed;
	size_t bytes;
};

static void *give_bytes(struct give *g, size_t n, size_t each)
{
	size_t bytes;
	void *p = NULL;

	if (g->failed)
		return NULL;
	if (mem_mul(n, each, &bytes, g->e) == 0) {
		g->bytes += bytes;
		if (!g->dev)
			return NULL;
		p = dev_ops(g->dev)->alloc(g->dev, bytes, g->e);
	}
	if (!p)
		g->failed = 1;
	return p;
}

static float *give_floats(struct give *g, size_t rows, size_t cols)
{
	size_t n;

	if (g->failed || mem_mul(rows, cols, &n, g->e) < 0) {
		g->failed = 1;
		return NULL;
	}
	return give_bytes(g, n, sizeof(float));
}

static void *give_host(struct give *g, size_t n, size_t each)
{
	void *p;

	if (g->failed || !g->dev)
		return NULL;
	if (!(p = mem_scratch(n, each, g->e)))
		g->failed = 1;
	return p;
}

size_t train_aux_k(const struct tc_cfg *c)
{
	return c->d_out / 2 ? c->d_out / 2 : 1;
}

static void give_work(struct train_work *w, struct give *g)
{
	const struct train_cfg *c = &w->cfg;
	const struct tc_cfg *t = &c->tc;
	size_t k[DEV_TC_PARTS] = { train_slots(c), t->multi_topk ? 4 * (size_t)t->k : 0,
	                           c->auxk_alpha > 0 ? train_aux_k(t) : 0 };
	size_t parts = k[TRAIN_PART_AUX] ? 3 : k[TRAIN_PART_MULTI] ? 2 : 1, i;

	w->x = give_floats(g, c->batch, t->d_in);
	w->y = give_floats(g, c->batch, t->d_out);
	w->g = give_floats(g, parts * c->batch, t->d_out);
	for (i = 0; i < DEV_TC_PARTS; i++) {
		if (!k[i])
			continue;
		w->codes[i].k = k[i];
		w->codes[i].latent = give_bytes(g, c->batch,
		                                k[i] * sizeof(uint32_t));
		w->codes[i].value = give_floats(g, c->batch, k[i]);
	}
	if (!t->transcode) {
		w->slope = give_floats(g, c->batch, train_larger(k[0],
			train_larger(k[1], k[2])));
		w->x_grad = give_floats(g, c->batch, t->d_in);
	}
	if (t->skip)
		w->g_skip = give_floats(g, t->d_out, t->d_in);
	w->g_b_dec = give_floats(g, t->d_out, 1);
	w->row = give_floats(g, train_larger(t->d_in, t->d_out), 1);
	if (c->auxk_alpha > 0) {
		w->dead = give_bytes(g, t->n_latents, sizeof(uint32_t));
		w->dead_w = give_floats(g, t->n_latents, t->d_in);
		w->dead_b = give_floats(g, t->n_latents, 1);
	}
	if (t->variant != TC_TOPK) {
		w->code_latent = give_host(g, c->batch,
		                           k[0] * sizeof(uint32_t));
		w->code_value = give_host(g, c->batch, k[0] * sizeof(float));
	}
	if (t->variant == TC_JUMPRELU) {
		w->edge_bias = give_floats(g, t->n_latents, 1);
		w->edge.k = k[0];
		w->edge.latent = give_bytes(g, c->batch,
		                            k[0] * sizeof(uint32_t));
		w->edge.value = give_floats(g, c->batch, k[0]);
		w->edge_latent = give_host(g, c->batch,
		                           k[0] * sizeof(uint32_t));
		w->edge_value = give_host(g, c->batch, k[0] * sizeof(float));
		w->theta = give_host(g, t->n_latents, sizeof(float));
	}
	if (c->raise > 0) {
		w->raise = give_floats(g, t->n_latents, 1);
		w->raised = give_host(g, t->n_latents, sizeof(float));
	}
	w->dead_host = give_host(g, t->n_latents, sizeof(uint32_t));
	w->rows = give_host(g, c->batch, sizeof(uint32_t));
	w->sq_x = give_host(g, c->batch, sizeof(double));
	w->sq_y = give_host(g, c->batch, sizeof(double));
	w->sum = give_host(g, train_larger(train_larger(2 * (size_t)t->d_out, t->d_in),
	                              t->n_latents), sizeof(double));
	w->row_host = give_host(g, train_larger(t->d_in, t->d_out), sizeof(float));
}

struct train_work *train_work_new(const struct train_cfg *c, struct dev *d,
                                  struct err *e)
{
	struct train_work *w = mem_array(1, sizeof(*w), e);
	struct give g = { .dev = d, .e = e };

	if (!w)
		return NULL;
	w->cfg = *c;
	w->dev = d;
	give_work(w, &g);
	if (g.failed) {
		train_work_free(w);
		return NULL;
	}
	return w;
}

struct dev *train_work_dev(const struct train_work *w)
{
	return w->dev;
}

void train_work_free(struct train_work *w)
{
	const struct dev_ops *d;
	size_t i;

	if (!w)
		return;
	d = dev_ops(w->dev);
	d->release(w->dev, w->x);
	d->release(w->dev, w->y);
	d->release(w->dev, w->g);
	for (i = 0; i < DEV_TC_PARTS; i++) {
		d->release(w->dev, w->codes[i].latent);
		d->release(w->dev, w->codes[i].value);
	}
	d->release(w->dev, w->slope);
	d->release(w->dev, w->x_grad);
	d->release(w->dev, w->g_skip);
	d->release(w->dev, w->g_b_dec);
	d->release(w->dev, w->row);
	d->release(w->dev, w->dead);
	d->release(w->dev, w->dead_w);
	d->release(w->dev, w->dead_b);
	d->release(w->dev, w->raise);
	mem_free(w->raised);
	d->release(w->dev, w->edge_bias);
	d->release(w->dev, w->edge.latent);
	d->release(w->dev, w->edge.value);
	mem_free(w->code_latent);
	mem_free(w->code_value);
	mem_free(w->edge_latent);
	mem_free(w->edge_value);
	mem_free(w->theta);
	mem_free(w->dead_host);
	mem_free(w->rows);
	mem_free(w->sq_x);
	mem_free(w->sq_y);
	mem_free(w->sum);
	mem_free(w->row_host);
	mem_free(w);
}

int train_params(struct train_layer *t, struct train_param *p)
{
	const struct tc_cfg *c = &t->cfg.tc;
	int n = 0;

	p[n++] = (struct train_param){ "W_enc", &t->enc, c->n_latents,
	                               c->d_in };
	p[n++] = (struct train_param){ "b_enc", &t->bias, c->n_latents, 1 };
	p[n++] = (struct train_param){ "W_dec", &t->dec, c->n_latents,
	                               c->d_out };
	p[n++] = (struct train_param){ "b_dec", &t->b_dec, c->d_out, 1 };
	if (c->skip)
		p[n++] = (struct train_param){ "W_skip", &t->skip, c->d_out,
		                               c->d_in };
	if (c->variant == TC_JUMPRELU)
		p[n++] = (struct train_param){ "log_threshold", &t->threshold,
		                               c->n_latents, 1 };
	return n;
}

/* The optimiser's numbers beside each of a parameter. */
static size_t moments_of(const struct train_layer *t,
                         const struct train_param *p)
{
	if (p->p == &t->dec && t->cfg.dec_rate > 0)
		return 0;	/* normalised steps */
	return t->cfg.rule == TRAIN_ADAM ? 2 : 1;
}

void train_numbers(const struct train_cfg *c, size_t *values, size_t *moments)
{
	struct train_layer t = { .cfg = *c };
	struct train_param p[TRAIN_PARAMS];
	int n = train_params(&t, p), i;

	for (*values = *moments = 0, i = 0; i < n; i++) {
		*values += p[i].rows * p[i].cols;
		*moments += p[i].rows * p[i].cols * moments_of(&t, &p[i]);
	}
}

/* The rows of the start go before those of the end come, or with them, one layer
 * at a time, which then is less than what the end takes in its turn. */
size_t train_layer_bytes(const struct train_cfg *c)
{
	const struct tc_cfg *t = &c->tc;
	size_t lat = t->n_latents, start = 0, values, moments;
	size_t row = sizeof(float) * (t->d_out + (t->transcode ? t->d_in : 0));

	train_numbers(c, &values, &moments);
	if (c->recipe == TRAIN_R1)
		start = train_larger(c->batch, c->start_tokens) * row;
	return (values + moments) * sizeof(float) +
	       lat * (sizeof(uint64_t) + 1 + (c->dec_rate > 0) * sizeof(float)) +
	       train_larger(start, c->batch * row + train_end_kept_bytes(c));
}

size_t train_turn_bytes(const struct train_cfg *c)
{
	size_t values, moments;

	train_numbers(c, &values, &moments);
	return train_larger(train_end_work_bytes(c), values * sizeof(float));
}

size_t train_work_bytes(const struct train_cfg *c)
{
	struct train_work none = { .cfg = *c };
	struct give g = { .dev = NULL };

	give_work(&none, &g);
	return g.bytes;
}

int train_hold(struct train_layer *t, size_t rows, struct err *e)
{
	struct give g = { .dev = t->dev, .e = e };

	train_ops(t)->release(t->dev, t->held_x);
	train_ops(t)->release(t->dev, t->held_y);
	t->held_x = NULL;
	t->n_held = 0;
	t->held_y = give_floats(&g, rows, t->cfg.tc.d_out);
	if (t->cfg.tc.transcode)
		t->held_x = give_floats(&g, rows, t->cfg.tc.d_in);
	t->held_max = rows;
	return g.failed ? -1 : 0;
}

struct train_layer *train_layer_new(const struct train_cfg *c, int layer,
                                    struct train_work *w, struct err *e)
{
	struct train_layer *t;
	struct train_param p[TRAIN_PARAMS];
	struct give g = { .dev = w->dev, .e = e };
	size_t moments;
	int i, n;

	if (train_check(c, e) < 0)
		return NULL;
	t = mem_array(1, sizeof(*t), e);
	if (!t)
		return NULL;
	t->cfg = *c;
	t->dev = w->dev;
	t->work = w;
	t->layer = layer;
	t->scale_x = t->scale_y = 1;
	n = train_params(t, p);
	for (i = 0; i < n; i++) {
		p[i].p->w = give_floats(&g, p[i].rows, p[i].cols);
		moments = moments_of(t, &p[i]);
		if (moments)
			p[i].p->s1 = give_floats(&g, p[i].rows, p[i].cols);
		if (moments == 2)
			p[i].p->s2 = give_floats(&g, p[i].rows, p[i].cols);
	}
	t->live = give_bytes(&g, c->tc.n_latents, 1);
	t->last = give_bytes(&g, c->tc.n_latents, sizeof(*t->last));
	if (c->dec_rate > 0)
		t->power = give_floats(&g, c->tc.n_latents, 1);
	t->mean_x = give_floats(&g, c->tc.d_in, 1);
	t->mean_y = give_floats(&g, c->tc.d_out, 1);
	if (g.failed ||
	    train_hold(t, c->recipe == TRAIN_R1
	               ? train_larger(c->batch, c->start_tokens) : c->batch,
	               e) < 0) {
		train_layer_free(t);
		return NULL;
	}
	return t;
}

void train_layer_free(struct train_layer *t)
{
	struct train_param p[TRAIN_PARAMS];
	int i, n;

	if (!t)
		return;
	n = train_params(t, p);
	for (i = 0; i < n; i++) {
		train_ops(t)->release(t->dev, p[i].p->w);
		train_ops(t)->release(t->dev, p[i].p->s1);
		train_ops(t)->release(t->dev, p[i].p->s2);
	}
	train_ops(t)->release(t->dev, t->live);
	train_ops(t)->release(t->dev, t->power);
	train_ops(t)->release(t->dev, t->last);
	train_ops(t)->release(t->dev, t->mean_x);
	train_ops(t)->release(t->dev, t->mean_y);
	train_ops(t)->release(t->dev, t->held_x);
	train_ops(t)->release(t->dev, t->held_y);
	train_end_free(t);
	mem_free(t);
}

/* ---- rows in, steps out ------------------------------------------------- */

static int finished(const struct train_layer *t)
{
	return t->cfg.n_steps && t->stats.step >= t->cfg.n_steps;
}

/* Steps on whole batches of n rows at x, y; how many rows that took. */
static long take_batches(struct train_layer *t, const float *x, const float *y,
                         size_t n, struct err *e)
{
	size_t at = 0;

	for (; at + t->cfg.batch <= n && !finished(t); at += t->cfg.batch) {
		struct train_stats s;

		if (train_step(t, x + at * t->cfg.tc.d_in,
		               y + at * t->cfg.tc.d_out, e) < 0)
			return -1;
		if (!t->on_step)
			continue;
		train_layer_stats(t, &s);
		if (t->on_step(t->on_step_ctx, &s, e) < 0)
			return -1;
	}
	return (long)at;
}

/* Copies rows from n held on; x and y may be the held ones themselves. */
static int keep_rows(struct train_layer *t, const float *x, const float *y,
                     size_t n, struct err *e)
{
	const struct dev_ops *d = train_ops(t);
	size_t d_in = t->cfg.tc.d_in, d_out = t->cfg.tc.d_out;

	if (d->copy(t->dev, t->held_y + t->n_held * d_out, y,
	            n * d_out * sizeof(float), e) < 0 ||
	    (t->held_x && d->copy(t->dev, t->held_x + t->n_held * d_in, x,
	                          n * d_in * sizeof(float), e) < 0))
		return -1;
	t->n_held += n;
	return 0;
}

/* The held rows become weights, then batches; what is left of them moves to a
 * buffer of one batch. */
static int start_held(struct train_layer *t, struct err *e)
{
	float *x = t->held_x, *y = t->held_y;
	size_t n = t->n_held;
	long took = -1;

	if (train_start(t, n, e) == 0)
		took = take_batches(t, x ? x : y, y, n, e);
	if (took < 0)
		return -1;
	t->held_x = t->held_y = NULL;
	if (train_hold(t, t->cfg.batch, e) == 0 &&
	    (finished(t) ||
	     keep_rows(t, x ? x + (size_t)took * t->cfg.tc.d_in : NULL,
	               y + (size_t)took * t->cfg.tc.d_out, n - (size_t)took,
	               e) == 0))
		took = 0;
	else
		took = -1;
	train_ops(t)->release(t->dev, x);
	train_ops(t)->release(t->dev, y);
	return (int)took;
}

int train_layer_push(struct train_layer *t, const float *x, const float *y,
                     size_t n, struct err *e)
{
	size_t d_in = t->cfg.tc.d_in, d_out = t->cfg.tc.d_out, m;
	long took;

	if (!t->cfg.tc.transcode)
		y = x;
	while (n && !finished(t)) {
		if (t->started && t->n_held == 0 && n >= t->cfg.batch) {
			took = take_batches(t, x, y, n, e);
			if (took < 0)
				return -1;
			m = (size_t)took;
		} else {
			m = t->held_max - t->n_held;
			m = m < n ? m : n;
			if (keep_rows(t, x, y, m, e) < 0)
				return -1;
		}
		x += m * d_in;
		y += m * d_out;
		n -= m;
		if (t->n_held < t->held_max)
			continue;
		if (!t->started) {
			if (start_held(t, e) < 0)
				return -1;
			continue;
		}
		t->n_held = 0;
		if (take_batches(t, t->held_x ? t->held_x : t->held_y,
		                 t->held_y, t->held_max, e) < 0)
			return -1;
	}
	return 0;
}

int train_layer_start(struct train_layer *t, const float *x, const float *y,
                      size_t n, struct err *e)
{
	t->n_held = 0;
	if (keep_rows(t, x, y, n, e) < 0 || train_start(t, n, e) < 0)
		return -1;
	return train_hold(t, t->cfg.batch, e);
}

int train_layer_finish(struct train_layer *t, struct err *e)
{
	if (!t->started && t->n_held >= t->cfg.batch && start_held(t, e) < 0)
		return -1;
	return t->cfg.n_steps == 0 || finished(t) ? train_end_solve(t, e) : 0;
}

uint64_t train_layer_steps(const struct train_layer *t)
{
	return t->stats.step;
}

uint64_t train_layer_rows(const struct train_layer *t)
{
	return t->stats.rows + t->n_held;
}

void train_layer_on_step(struct train_layer *t, train_step_fn *fn, void *ctx)
{
	t->on_step = fn;
	t->on_step_ctx = ctx;
}

void train_layer_stats(const struct train_layer *t, struct train_stats *s)
{
	uint64_t *last = (uint64_t *)(void *)t->work->sum;
	size_t n = t->cfg.tc.n_latents, i, dead = 0, silent = 0;

	*s = t->stats;
	s->dead = s->silent = 0;
	s->threshold = train_threshold_mean(t);
	if (train_ops(t)->get(t->dev, last, t->last, n * sizeof(*last),
	                      NULL) < 0)
		return;
	for (i = 0; i < n; i++) {
		uint64_t ago = s->rows - last[i];

		dead += last[i] == 0 || ago > t->cfg.dead_tokens;
		silent += last[i] == 0 || ago > TRAIN_SILENT_ROWS;
	}
	s->dead = (double)dead / (double)n;
	s->silent = (double)silent / (double)n;
}
