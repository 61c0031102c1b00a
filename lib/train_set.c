#include "train_set_impl.h"

#include <math.h>

#include "mem.h"

size_t train_set_bytes(const struct train_set_cfg *c)
{
	return train_layer_bytes(&c->train) * (size_t)c->n_layers +
	       train_work_bytes(&c->train) + train_turn_bytes(&c->train);
}

/* Files the measurements of one layer's step where its line will look. */
static int note_step(void *ctx, const struct train_stats *stats, struct err *e)
{
	struct train_set_layer *l = ctx;
	struct train_set *s = l->set;
	size_t at = (size_t)(stats->step - 1 - s->logged) *
	            (size_t)s->cfg.n_layers + (size_t)l->i;

	if (mem_grow(&s->log, &s->log_cap, at + (size_t)s->cfg.n_layers,
	             sizeof(*s->log), e) < 0)
		return -1;
	s->log[at] = *stats;
	return 0;
}

struct train_set *train_set_new(const struct train_set_cfg *c, struct dev *d,
                                struct err *e)
{
	struct train_set *s;
	int i;

	if (c->n_layers < 1 || c->n_layers > TRAIN_SET_LAYERS) {
		err_set(e, ERR_RANGE, "%d layers to train, wanted 1 to %d",
		        c->n_layers, TRAIN_SET_LAYERS);
		return NULL;
	}
	if (train_check(&c->train, e) < 0)
		return NULL;
	s = mem_array(1, sizeof(*s), e);
	if (!s)
		return NULL;
	s->cfg = *c;
	s->generation = -1;
	s->layer = mem_array((size_t)c->n_layers, sizeof(*s->layer), e);
	s->work = train_work_new(&c->train, d, e);
	if (!s->layer || !s->work)
		goto fail;
	for (i = 0; i < c->n_layers; i++) {
		struct train_set_layer *l = &s->layer[i];

		l->set = s;
		l->i = i;
		l->t = train_layer_new(&c->train, c->layers[i], s->work, e);
		if (!l->t)
			goto fail;
		train_layer_on_step(l->t, note_step, l);
	}
	return s;
fail:
	train_set_free(s);
	return NULL;
}

void train_set_free(struct train_set *s)
{
	int i;

	if (!s)
		return;
	for (i = 0; s->layer && i < s->cfg.n_layers; i++)
		train_layer_free(s->layer[i].t);
	train_work_free(s->work);
	mem_free(s->layer);
	mem_free(s->log);
	mem_free(s);
}

/* ---- rows in, lines out ------------------------------------------------- */

int train_set_push(struct train_set *s, int i, const float *x, const float *y,
                   size_t n, struct err *e)
{
	return train_layer_push(s->layer[i].t, x, y, n, e);
}

int train_set_ids(struct train_set *s, const uint32_t *ids, size_t n,
                  struct err *e)
{
	const struct train_cfg *c = &s->cfg.train;
	size_t i;

	for (i = 0; i < n; i++) {
		uint64_t h = (s->ids_hash ^ ids[i]) * 0x9e3779b97f4a7c15u;

		s->ids_hash = h ^ h >> 29;
		s->ids_n++;
		/* Rows beyond the last step are not taken. */
		if (s->ids_n % c->batch == 0 &&
		    (!c->n_steps || s->ids_n <= c->n_steps * c->batch))
			s->ids_mark = s->ids_hash;
		if (s->ids_n == s->want_n && s->ids_hash != s->want_hash)
			return err_set(e, ERR_FORMAT, "the stream's first %llu "
			               "tokens are not those that %s was "
			               "trained on",
			               (unsigned long long)s->want_n,
			               s->cfg.out);
	}
	return 0;
}

static struct train_stats stats_of(const struct train_set *s, int i)
{
	struct train_stats v;

	train_layer_stats(s->layer[i].t, &v);
	return v;
}

uint64_t train_set_step(const struct train_set *s)
{
	return train_layer_steps(s->layer[0].t);
}

int train_set_finished(const struct train_set *s)
{
	return s->cfg.train.n_steps &&
	       train_set_step(s) >= s->cfg.train.n_steps;
}

double train_set_fvu(const struct train_set *s)
{
	double sum = 0;
	int i;

	if (train_set_step(s) == 0)
		return NAN;
	for (i = 0; i < s->cfg.n_layers; i++)
		sum += stats_of(s, i).fvu;
	return sum / s->cfg.n_layers;
}

int train_set_init(struct train_set *s, const char *dir, struct err *e)
{
	const struct tc_cfg *c = &s->cfg.train.tc;
	int i, rc = 0;

	for (i = 0; rc == 0 && i < s->cfg.n_layers; i++) {
		struct tc *t = tc_read(dir, s->cfg.layers[i], c->d_in,
		                       c->d_out, train_work_dev(s->work), e);

		rc = t ? train_layer_init(s->layer[i].t, t, e) : -1;
		tc_free(t);
	}
	return rc;
}

static json_t *line_of(const struct train_set *s, int layer,
                       const struct train_stats *v)
{
	const struct train_cfg *c = &s->cfg.train;
	json_t *o = json_pack("{s:I,s:I,s:i,s:f,s:f,s:f,s:f,s:f,s:f,s:I,s:f}",
	                      "step", (json_int_t)v->step, "tokens",
	                      (json_int_t)v->rows, "layer", layer, "lr", v->lr,
	                      "loss", v->loss, "fvu", v->fvu, "l0", v->l0,
	                      "dead", v->dead, "silent", v->silent, "outliers",
	                      (json_int_t)v->outliers, "outlier_share",
	                      (double)v->outliers / (double)v->rows);

	if (o && c->auxk_alpha > 0)
		json_object_set_new(o, "auxk", json_real(v->auxk));
	if (o && c->tc.variant != TC_TOPK)
		json_object_set_new(o, "threshold", json_real(v->threshold));
	if (o && c->tc.multi_topk)
		json_object_set_new(o, "multi_topk", json_real(v->multi));
	return o;
}

/* Steps in order, layers within a step. */
static int emit_lines(struct train_set *s, train_emit_fn *emit, void *ctx,
                      struct err *e)
{
	uint64_t now = train_set_step(s), every = s->cfg.log_every, i;
	int n = s->cfg.n_layers, k, rc = 0;

	for (i = 0; emit && i < now - s->logged; i++) {
		const struct train_stats *v = s->log + i * (size_t)n;

		if (v->step % (every ? every : 1) != 0 &&
		    v->step != s->cfg.train.n_steps)
			continue;
		for (k = 0; rc == 0 && k < n; k++) {
			json_t *line = line_of(s, s->cfg.layers[k], &v[k]);

			rc = line ? emit(ctx, line, e)
			          : err_set(e, ERR_MEM, "no memory for a line "
			                    "of measurements");
		}
	}
	s->logged = now;
	return rc;
}

int train_set_settle(struct train_set *s, train_emit_fn *emit, void *ctx,
                     struct err *e)
{
	uint64_t every = s->cfg.save_every;

	if (emit_lines(s, emit, ctx, e) < 0)
		return -1;
	if (every && train_set_step(s) / every > s->saved / every)
		return train_set_save(s, e);
	return 0;
}

/* ---- the end ------------------------------------------------------------- */

int train_set_finish(struct train_set *s, train_emit_fn *emit, void *ctx,
                     struct err *e)
{
	uint64_t rows = train_layer_rows(s->layer[0].t);
	const struct train_cfg *c = &s->cfg.train;
	int i;

	for (i = 0; i < s->cfg.n_layers; i++)
		if (train_layer_finish(s->layer[i].t, e) < 0)
			return -1;
	if (emit_lines(s, emit, ctx, e) < 0)
		return -1;
	if (train_set_step(s) == 0)
		return err_set(e, ERR_FORMAT, "the stream ended after %llu "
		               "tokens, less than a batch of %zu",
		               (unsigned long long)rows, c->batch);
	if (c->n_steps == 0 || train_set_finished(s))
		return train_set_mark_done(s, e);
	if (train_set_save(s, e) < 0)
		return -1;
	return err_set(e, ERR_FORMAT, "the stream ended after %llu of %llu "
	               "tokens; step %llu of %llu is saved, --resume with a "
	               "longer stream goes on", (unsigned long long)rows,
	               (unsigned long long)(c->n_steps * c->batch),
	               (unsigned long long)train_set_step(s),
	               (unsigned long long)c->n_steps);
}
