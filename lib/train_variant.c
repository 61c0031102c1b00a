/* How a batch's active latents are chosen: TopK, BatchTopK, JumpReLU. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "train_impl.h"

enum { ANNEAL_FROM = 10 };	/* times k; sparsify's */
static const double FOLLOW = 0.1;	/* a batch's weight in the threshold */
/* Learnt thresholds follow encoder rows that grow; their rate is so many times
 * the others'. */
static const float FASTER = 10;

static uint32_t at_most(uint64_t k, uint32_t n_latents)
{
	return k < n_latents ? (uint32_t)k : n_latents;
}

uint32_t train_k(const struct train_cfg *c, uint64_t s)
{
	double from = ANNEAL_FROM * (double)c->tc.k, share;

	if (s >= c->k_anneal)
		return c->tc.k;
	share = (double)s / (double)c->k_anneal;
	return at_most((uint64_t)nearbyint(from * (1 - share) +
	                                   c->tc.k * share), c->tc.n_latents);
}

size_t train_slots(const struct train_cfg *c)
{
	size_t most = tc_slots(&c->tc);

	return c->k_anneal ? at_most((uint64_t)most * ANNEAL_FROM,
	                             c->tc.n_latents) : most;
}

/* ---- codes on the host --------------------------------------------------- */

static int codes_get(struct train_layer *t, const struct dev_tc_codes *c,
                     struct err *e)
{
	struct train_work *w = t->work;
	size_t bytes = c->n * c->k * sizeof(float);

	if (train_ops(t)->get(t->dev, w->code_latent, c->latent, bytes, e) < 0)
		return -1;
	return train_ops(t)->get(t->dev, w->code_value, c->value, bytes, e);
}

static int codes_put(struct train_layer *t, struct dev_tc_codes *c,
                     const uint32_t *latent, const float *value, struct err *e)
{
	size_t bytes = c->n * c->k * sizeof(float);

	if (train_ops(t)->put(t->dev, c->latent, latent, bytes, e) < 0)
		return -1;
	return train_ops(t)->put(t->dev, c->value, value, bytes, e);
}

static int encode(struct train_layer *t, size_t n, size_t k, const float *bias,
                  struct err *e)
{
	const struct tc_cfg *c = &t->cfg.tc;
	struct dev_tc_codes *codes = &t->work->codes[TRAIN_PART_MAIN];

	codes->k = k;
	return train_ops(t)->tc->encode(t->dev, t->work->x, n, c->d_in,
	                                t->enc.w, bias, c->n_latents, NULL,
	                                codes, e);
}

/* ---- BatchTopK ----------------------------------------------------------- */

static int descending(const void *a, const void *b)
{
	float p = *(const float *)a, q = *(const float *)b;

	return (p < q) - (p > q);
}

/* Leaves the `keep` largest of the host's codes, among equals the first;
 * the smallest kept, or 0 when nothing is active. */
static int keep_largest(struct train_work *w, size_t n, size_t k, size_t keep,
                        double *least, struct err *e)
{
	float *value = w->code_value, *sorted = mem_scratch(n * k,
	                                                    sizeof(float), e);
	size_t active = 0, above = 0, i;

	if (!sorted)
		return -1;
	for (i = 0; i < n * k; i++)
		if (w->code_latent[i] != DEV_TC_NONE)
			sorted[active++] = value[i];
	qsort(sorted, active, sizeof(*sorted), descending);
	keep = keep < active ? keep : active;
	*least = keep ? (double)sorted[keep - 1] : 0;
	while (above < keep && (double)sorted[above] > *least)
		above++;
	keep -= above;		/* of those equal to the least */
	for (i = 0; i < n * k; i++) {
		if (w->code_latent[i] == DEV_TC_NONE ||
		    (double)value[i] > *least)
			continue;
		if ((double)value[i] == *least && keep) {
			keep--;
			continue;
		}
		w->code_latent[i] = DEV_TC_NONE;
		value[i] = 0;
	}
	mem_free(sorted);
	return 0;
}

static int select_batch(struct train_layer *t, size_t n, uint32_t k,
                        struct err *e)
{
	struct train_work *w = t->work;
	struct dev_tc_codes *c = &w->codes[TRAIN_PART_MAIN];
	struct tc_cfg now = t->cfg.tc;
	size_t slots;

	now.k = k;
	slots = tc_slots(&now);
	if (encode(t, n, slots, t->bias.w, e) < 0 || codes_get(t, c, e) < 0 ||
	    keep_largest(w, n, slots, n * k, &w->weakest, e) < 0)
		return -1;
	return codes_put(t, c, w->code_latent, w->code_value, e);
}

void train_threshold_follow(struct train_layer *t)
{
	double now = t->work->weakest;

	if (t->cfg.tc.variant != TC_BATCHTOPK || !(now > 0))
		return;
	t->theta = t->theta > 0 ? t->theta + FOLLOW * (now - t->theta) : now;
}

/* ---- JumpReLU ------------------------------------------------------------ */

/* work->theta, and edge_bias = bias - (1 - bandwidth / 2) theta */
static int thresholds(struct train_layer *t, struct err *e)
{
	struct train_work *w = t->work;
	const struct dev_ops *d = train_ops(t);
	size_t n = t->cfg.tc.n_latents, bytes = n * sizeof(float), i;

	if (d->get(t->dev, w->theta, t->threshold.w, bytes, e) < 0)
		return -1;
	for (i = 0; i < n; i++)
		w->theta[i] = expf(w->theta[i]);
	if (d->put(t->dev, w->edge_bias, w->theta, bytes, e) < 0 ||
	    d->tc->scale(t->dev, w->edge_bias,
	                 (float)(t->cfg.bandwidth / 2 - 1), n, w->edge_bias,
	                 e) < 0)
		return -1;
	return d->axpy(t->dev, 1, t->bias.w, w->edge_bias, n, e);
}

/* Parts a row's codes, values over their rectangles' lower ends, into those
 * above their thresholds and those within the rectangles. */
static size_t part_row(struct train_work *w, size_t row, size_t k,
                       double bandwidth)
{
	uint32_t *latent = w->code_latent + row * k;
	uint32_t *edge = w->edge_latent + row * k;
	float *value = w->code_value + row * k;
	float *one = w->edge_value + row * k;
	size_t i, active = 0, edges = 0;

	for (i = 0; i < k && latent[i] != DEV_TC_NONE; i++) {
		float half = (float)(bandwidth / 2) * w->theta[latent[i]];
		float over = value[i] - half;

		if (over < half) {
			edge[edges] = latent[i];
			one[edges++] = 1;
		}
		if (over > 0) {
			latent[active] = latent[i];
			value[active++] = over;
		}
	}
	for (i = active; i < k; i++) {
		latent[i] = DEV_TC_NONE;
		value[i] = 0;
	}
	for (i = edges; i < k; i++) {
		edge[i] = DEV_TC_NONE;
		one[i] = 0;
	}
	tc_add_thresholds(w->theta, latent, value, k);
	return active;
}

static int select_jump(struct train_layer *t, size_t n, struct err *e)
{
	struct train_work *w = t->work;
	struct dev_tc_codes *c = &w->codes[TRAIN_PART_MAIN];
	size_t slots = train_slots(&t->cfg), active = 0, i;

	if (thresholds(t, e) < 0 || encode(t, n, slots, w->edge_bias, e) < 0 ||
	    codes_get(t, c, e) < 0)
		return -1;
	for (i = 0; i < n; i++)
		active += part_row(w, i, slots, t->cfg.bandwidth);
	w->l0 = (double)active / (double)n;
	w->edge.n = n;
	if (codes_put(t, &w->edge, w->edge_latent, w->edge_value, e) < 0)
		return -1;
	return codes_put(t, c, w->code_latent, w->code_value, e);
}

static double l0_off(const struct train_layer *t)
{
	return t->work->l0 / t->cfg.tc.k - 1;
}

double train_l0_loss(const struct train_layer *t)
{
	if (t->cfg.tc.variant != TC_JUMPRELU)
		return 0;
	return t->cfg.l0_weight * l0_off(t) * l0_off(t);
}

/*
 * With h = bandwidth theta the rectangle's width, a latent within it has
 * dz/dtheta = - theta / h and dL0/dtheta = - 1 / (n h); times theta for the
 * logarithm's. Row by row, so that sums have one order.
 */
int train_threshold_apply(struct train_layer *t, size_t n,
                          const struct dev_tc_opt *o, struct err *e)
{
	struct train_work *w = t->work;
	const struct dev_ops *d = train_ops(t);
	const struct train_cfg *c = &t->cfg;
	struct dev_tc_opt faster = *o;
	size_t slots = w->edge.k, i;
	double l0_slope = c->l0_weight * 2 * l0_off(t) /
	                  ((double)c->tc.k * (double)n);

	if (c->tc.variant != TC_JUMPRELU)
		return 0;
	if (d->tc->slope(t->dev, &w->edge, w->g, t->dec.w, c->tc.d_out,
	                 w->edge.value, e) < 0 ||
	    d->get(t->dev, w->edge_value, w->edge.value,
	           n * slots * sizeof(float), e) < 0)
		return -1;
	memset(w->sum, 0, c->tc.n_latents * sizeof(*w->sum));
	for (i = 0; i < n * slots; i++) {
		uint32_t l = w->edge_latent[i];

		if (l != DEV_TC_NONE)
			w->sum[l] -= (w->edge_value[i] * (double)w->theta[l] +
			              l0_slope) / c->bandwidth;
	}
	for (i = 0; i < c->tc.n_latents; i++)
		w->theta[i] = (float)w->sum[i];
	if (d->put(t->dev, w->edge_bias, w->theta,
	           c->tc.n_latents * sizeof(float), e) < 0)
		return -1;
	faster.lr *= FASTER;
	return d->tc->step(t->dev, &t->threshold, w->edge_bias,
	                   c->tc.n_latents, &faster, e);
}

/* One threshold for all, with k active latents a row in the first batch. */
static int calibrate(struct train_layer *t, size_t n, double *theta,
                     struct err *e)
{
	struct train_work *w = t->work;
	const float *y = t->held_y, *x = t->held_x ? t->held_x : y;
	long kept = train_keep(t, x, y, 0, n < t->cfg.batch ? n : t->cfg.batch,
	                       e);

	if (kept < 0 || train_prepare(t, x, y, (size_t)kept, e) < 0 ||
	    select_batch(t, (size_t)kept, t->cfg.tc.k, e) < 0)
		return -1;
	*theta = w->weakest;
	if (!(*theta > 0))
		return err_set(e, ERR_FORMAT, "layer %d: no latent is active "
		               "in the first batch", t->layer);
	return 0;
}

int train_threshold_start(struct train_layer *t, size_t n, struct err *e)
{
	const struct dev_ops *d = train_ops(t);
	size_t n_latents = t->cfg.tc.n_latents, i;
	float *v = t->work->theta;
	double theta = 0;

	if (t->cfg.tc.variant != TC_JUMPRELU)
		return 0;
	if (t->given_threshold ? d->get(t->dev, v, t->threshold.w, n_latents *
	                                sizeof(float), e) < 0
	                       : calibrate(t, n, &theta, e) < 0)
		return -1;
	for (i = 0; i < n_latents; i++)
		v[i] = (float)log(t->given_threshold ? v[i] * t->scale_y
		                                     : theta);
	return d->put(t->dev, t->threshold.w, v, n_latents * sizeof(float), e);
}

double train_threshold_mean(const struct train_layer *t)
{
	float *v = t->work->theta;
	size_t n = t->cfg.tc.n_latents, i;
	double sum = 0;

	if (t->cfg.tc.variant != TC_JUMPRELU)
		return t->theta;
	if (train_ops(t)->get(t->dev, v, t->threshold.w, n * sizeof(*v),
	                      NULL) < 0)
		return 0;
	for (i = 0; i < n; i++)
		sum += exp(v[i]);
	return sum / (double)n;
}

int train_thresholds_get(struct train_layer *t, float *theta, struct err *e)
{
	size_t n = t->cfg.tc.n_latents, i;
	int learnt = t->cfg.tc.variant == TC_JUMPRELU;

	if (learnt && train_ops(t)->get(t->dev, theta, t->threshold.w,
	                                n * sizeof(*theta), e) < 0)
		return -1;
	for (i = 0; i < n; i++)
		theta[i] = learnt ? expf(theta[i]) : (float)t->theta;
	return 0;
}

/* ---- all ------------------------------------------------------------------ */

int train_select(struct train_layer *t, size_t n, struct err *e)
{
	uint32_t k = train_k(&t->cfg, t->stats.step);

	switch (t->cfg.tc.variant) {
	case TC_BATCHTOPK:
		return select_batch(t, n, k, e);
	case TC_JUMPRELU:
		return select_jump(t, n, e);
	case TC_TOPK:
		break;
	}
	return encode(t, n, k, t->bias.w, e);
}
