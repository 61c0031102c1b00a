#include "train_tune.h"

#include <math.h>
#include <string.h>

#include "mem.h"
#include "model_back.h"
#include "train_impl.h"
#include "train_set_impl.h"

/* What a layer's forward pass leaves for the way back. */
struct kept {
	size_t n;		/* rows replaced */
	uint32_t *row;		/* host, [batch]: which of the batch's */
	struct dev_tc_codes codes;
	double fvu;
};

struct train_tune {
	struct train_set *set;
	struct model *m;
	struct dev *dev;
	size_t skip, dim, room;
	struct model_run *run;
	struct model_ref *ref;
	struct model_back *back;
	struct kept *kept;	/* [n_layers] */
	float *x, *y;		/* device [room, dim]: rows that count */
	float *g;		/* device [room, dim] */
	float *slope;		/* device [room, slots] */
	uint32_t *row, *target;	/* host [room] */
	double *ce, *kl;
	uint8_t *top1;
	size_t n;		/* rows that count */
	double loss;
};

static const struct dev_ops *ops(const struct train_tune *t)
{
	return dev_ops(t->dev);
}

static struct train_layer *layer_of(const struct train_tune *t, int layer)
{
	return t->set->layer[layer].t;
}

static int check(const struct train_set *s, const struct model *m,
                 struct err *e)
{
	const struct tc_cfg *c = &s->cfg.train.tc;

	if ((uint32_t)s->cfg.n_layers != model_cfg(m)->n_layers)
		return err_set(e, ERR_RANGE, "%d layers to tune together, the "
		               "model has %u: wanted all", s->cfg.n_layers,
		               model_cfg(m)->n_layers);
	if (c->variant != TC_TOPK || !c->transcode || c->multi_topk ||
	    s->cfg.train.auxk_alpha > 0)
		return err_set(e, ERR_RANGE, "only TopK transcoders are tuned "
		               "together, without AuxK and multi-TopK");
	return 0;
}

struct train_tune *train_tune_new(struct train_set *s, struct model *m,
                                  size_t skip, struct err *e)
{
	struct train_tune *t;
	size_t room = s->cfg.train.batch, slots = train_slots(&s->cfg.train);
	size_t bytes, i;

	if (check(s, m, e) < 0 || !(t = mem_array(1, sizeof(*t), e)))
		return NULL;
	t->set = s;
	t->m = m;
	t->dev = model_dev(m);
	t->skip = skip;
	t->dim = model_cfg(m)->d_model;
	t->room = room;
	if (!(t->run = model_run_new(m, room, e)) ||
	    !(t->ref = model_ref_new(m, room, e)) ||
	    !(t->back = model_back_new(m, room, e)) ||
	    !(t->kept = mem_array((size_t)s->cfg.n_layers, sizeof(*t->kept),
	                          e)) ||
	    mem_mul(room, t->dim * sizeof(float), &bytes, e) < 0 ||
	    !(t->x = ops(t)->alloc(t->dev, bytes, e)) ||
	    !(t->y = ops(t)->alloc(t->dev, bytes, e)) ||
	    !(t->g = ops(t)->alloc(t->dev, bytes, e)) ||
	    mem_mul(room, slots * sizeof(float), &bytes, e) < 0 ||
	    !(t->slope = ops(t)->alloc(t->dev, bytes, e)) ||
	    !(t->row = mem_array(room, sizeof(*t->row), e)) ||
	    !(t->target = mem_array(room, sizeof(*t->target), e)) ||
	    !(t->ce = mem_array(room, sizeof(*t->ce), e)) ||
	    !(t->kl = mem_array(room, sizeof(*t->kl), e)) ||
	    !(t->top1 = mem_array(room, 1, e)))
		goto fail;
	for (i = 0; i < (size_t)s->cfg.n_layers; i++) {
		struct kept *k = &t->kept[i];

		if (!(k->row = mem_array(room, sizeof(*k->row), e)) ||
		    !(k->codes.latent = ops(t)->alloc(t->dev, bytes, e)) ||
		    !(k->codes.value = ops(t)->alloc(t->dev, bytes, e)))
			goto fail;
	}
	return t;
fail:
	train_tune_free(t);
	return NULL;
}

void train_tune_free(struct train_tune *t)
{
	int i;

	if (!t)
		return;
	for (i = 0; t->kept && i < t->set->cfg.n_layers; i++) {
		mem_free(t->kept[i].row);
		ops(t)->release(t->dev, t->kept[i].codes.latent);
		ops(t)->release(t->dev, t->kept[i].codes.value);
	}
	mem_free(t->kept);
	ops(t)->release(t->dev, t->x);
	ops(t)->release(t->dev, t->y);
	ops(t)->release(t->dev, t->g);
	ops(t)->release(t->dev, t->slope);
	mem_free(t->row);
	mem_free(t->target);
	mem_free(t->ce);
	mem_free(t->kl);
	mem_free(t->top1);
	model_back_free(t->back);
	model_ref_free(t->ref);
	model_run_free(t->run);
	mem_free(t);
}

/* ---- rows ----------------------------------------------------------------- */

/* Which rows count, and what they predict. */
static size_t look(struct train_tune *t, const struct model_batch *b)
{
	size_t i, j, targets = 0;

	t->n = 0;
	for (i = 0; i < b->n_seqs; i++)
		for (j = b->start[i]; j < b->start[i + 1]; j++) {
			t->target[j] = UINT32_MAX;
			if (j - b->start[i] < t->skip)
				continue;
			t->row[t->n++] = (uint32_t)j;
			if (j + 1 < b->start[i + 1]) {
				t->target[j] = b->ids[j + 1];
				targets++;
			}
		}
	return targets;
}

/* to[i] = (from[row[i]] - mean) * scale, n rows */
static int pick(struct train_tune *t, const float *from, const uint32_t *row,
                size_t n, const float *mean, double scale, float *to,
                struct err *e)
{
	return ops(t)->tc->centre(t->dev, from, row, n, t->dim, mean,
	                          (float)scale, to, e);
}

/* to[row[i]] = from[i], n rows */
static int scatter(struct train_tune *t, const float *from,
                   const uint32_t *row, size_t n, float *to, struct err *e)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (ops(t)->copy(t->dev, to + row[i] * t->dim, from + i * t->dim,
		                 t->dim * sizeof(float), e) < 0)
			return -1;
	return 0;
}

/* ---- forward ---------------------------------------------------------------- */

/* The model as it is, first batch: what layers start from. */
static int start_tap(void *ctx, int layer, const float *x, float *y, size_t n,
                     struct err *e)
{
	struct train_tune *t = ctx;

	(void)n;
	if (pick(t, x, t->row, t->n, NULL, 1, t->x, e) < 0 ||
	    pick(t, y, t->row, t->n, NULL, 1, t->y, e) < 0)
		return -1;
	return train_layer_start(layer_of(t, layer), t->x, t->y, t->n, e);
}

/* y^ of n prepared rows into work->g, as it stands in the model. */
static int stand_in(struct train_tune *t, struct train_layer *l, size_t n,
                    struct err *e)
{
	struct train_work *w = l->work;
	const struct dev_ops *o = ops(t);

	/* y^ = (y^' + mean scale) / scale */
	if (o->axpy(t->dev, 1, w->y, w->g, n * t->dim, e) < 0 ||
	    o->tc->scale(t->dev, l->mean_y, (float)-l->scale_y, t->dim, w->row,
	                 e) < 0)
		return -1;
	return o->tc->centre(t->dev, w->g, NULL, n, t->dim, w->row,
	                     (float)(1 / l->scale_y), w->g, e);
}

static int replace_tap(void *ctx, int layer, const float *x, float *y,
                       size_t n, struct err *e)
{
	struct train_tune *t = ctx;
	struct train_layer *l = layer_of(t, layer);
	struct train_work *w = l->work;
	struct kept *k = &t->kept[layer];
	size_t bytes, i;
	double sq, var;
	long kept;

	(void)n;
	k->n = 0;
	k->fvu = NAN;
	if (pick(t, x, t->row, t->n, NULL, 1, t->x, e) < 0 ||
	    pick(t, y, t->row, t->n, NULL, 1, t->y, e) < 0 ||
	    (kept = train_keep(l, t->x, t->y, l->stats.rows, t->n, e)) < 0)
		return -1;
	if (kept < 2)
		return 0;
	k->n = (size_t)kept;
	for (i = 0; i < k->n; i++)
		k->row[i] = t->row[w->rows[i]];
	if (train_prepare(l, t->x, t->y, k->n, e) < 0 ||
	    train_variance(l, k->n, &var, e) < 0 ||
	    train_select(l, k->n, e) < 0 ||
	    train_residual(l, TRAIN_PART_MAIN, 1, k->n, &sq, e) < 0 ||
	    stand_in(t, l, k->n, e) < 0)
		return -1;
	k->fvu = sq / var;
	k->codes.n = k->n;
	k->codes.k = w->codes[TRAIN_PART_MAIN].k;
	bytes = k->n * k->codes.k * sizeof(float);
	if (ops(t)->copy(t->dev, k->codes.latent,
	                 w->codes[TRAIN_PART_MAIN].latent, bytes, e) < 0 ||
	    ops(t)->copy(t->dev, k->codes.value,
	                 w->codes[TRAIN_PART_MAIN].value, bytes, e) < 0)
		return -1;
	return scatter(t, w->g, k->row, k->n, y, e);
}

/* ---- the way back ------------------------------------------------------------ */

/* dL/dx of a layer's rows, from work->x and work->g as they are prepared, into
 * t->x. */
static int to_input(struct train_tune *t, struct train_layer *l,
                    const struct kept *k, struct err *e)
{
	struct train_work *w = l->work;
	const struct dev_ops *o = ops(t);
	struct dev_tc_codes slopes = k->codes;

	slopes.value = t->slope;
	if (o->tc->slope(t->dev, &k->codes, w->g, l->dec.w, t->dim, t->slope,
	                 e) < 0 ||
	    o->tc->scale(t->dev, t->x, 0, k->n * t->dim, t->x, e) < 0 ||
	    o->tc->decode(t->dev, &slopes, l->enc.w, t->dim, t->x, e) < 0)
		return -1;
	if (l->skip.w &&
	    o->gemm(t->dev, 0, 0, k->n, t->dim, t->dim, 1, w->g, t->dim,
	            l->skip.w, t->dim, 1, t->x, t->dim, e) < 0)
		return -1;
	return o->tc->scale(t->dev, t->x, (float)l->scale_x, k->n * t->dim,
	                    t->x, e);
}

static int back_to(void *ctx, int layer, const float *x, const float *g,
                   float *dx, size_t n, struct err *e)
{
	struct train_tune *t = ctx;
	struct train_layer *l = layer_of(t, layer);
	struct train_work *w = l->work;
	const struct kept *k = &t->kept[layer];
	const struct dev_tc_part part = { k->codes, 0, 0 };
	const struct dev_tc_opt o = train_optimiser(l);
	uint64_t active;

	(void)n;
	if (k->n == 0)
		return 0;
	if (pick(t, x, k->row, k->n, l->mean_x, l->scale_x, w->x, e) < 0 ||
	    pick(t, g, k->row, k->n, NULL, 1 / l->scale_y, w->g, e) < 0 ||
	    to_input(t, l, k, e) < 0 ||
	    scatter(t, t->x, k->row, k->n, dx, e) < 0 ||
	    ops(t)->tc->mark(t->dev, &k->codes, l->stats.rows + t->n, l->last,
	                     &active, e) < 0)
		return -1;
	l->stats.l0 = (double)active / (double)k->n;
	return train_apply(l, &part, 1, k->n, &o, e);
}

/* ---- a step ------------------------------------------------------------------ */

static int finish_step(struct train_tune *t, struct err *e)
{
	int i;

	for (i = 0; i < t->set->cfg.n_layers; i++) {
		struct train_layer *l = layer_of(t, i);
		struct train_stats *s = &l->stats, now;

		s->lr = train_lr(&l->cfg, s->step);
		s->loss = t->loss;
		s->fvu = t->kept[i].fvu;
		s->step++;
		s->rows += t->n;
		s->outliers += t->n - t->kept[i].n;
		train_layer_stats(l, &now);
		if (l->on_step && l->on_step(l->on_step_ctx, &now, e) < 0)
			return -1;
	}
	/* batches have their own lengths here */
	t->set->ids_mark = t->set->ids_hash;
	return 0;
}

int train_tune_step(struct train_tune *t, const struct model_batch *b,
                    struct err *e)
{
	size_t targets = look(t, b), i;
	int last = t->set->cfg.n_layers - 1;
	int begun = layer_of(t, 0)->started;

	if (b->n > t->room)
		return err_set(e, ERR_RANGE, "a batch of %zu tokens, room for "
		               "%zu", b->n, t->room);
	if (!targets)
		return 0;
	if (model_forward(t->run, b, last, begun ? NULL : start_tap, t, e) < 0 ||
	    model_ref_set(t->ref, t->run, model_resid(t->run), b->n, t->target,
	                  t->ce, e) < 0 ||
	    model_back_forward(t->back, t->run, b, replace_tap, t, e) < 0 ||
	    model_back_ce(t->ref, t->run, model_resid(t->run), b->n, t->target,
	                  t->ce, t->kl, t->top1, t->g, e) < 0)
		return -1;
	t->loss = 0;
	for (i = 0; i < b->n; i++)
		if (t->target[i] != UINT32_MAX)
			t->loss += t->kl[i] / (double)targets;
	if (!isfinite(t->loss))
		return err_set(e, ERR_RANGE, "divergence is not finite at step "
		               "%llu; a lower --lr may help",
		               (unsigned long long)train_set_step(t->set) + 1);
	if (model_back_run(t->back, b, t->g, back_to, t, e) < 0)
		return -1;
	return finish_step(t, e);
}
