#include "train_set.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "json.h"
#include "mem.h"
#include "version.h"

enum { PATH = 4096, MANIFEST_MAX = 1 << 20 };

struct layer {
	struct train_set *set;
	int i;			/* of cfg.layers */
	struct train_layer *t;
};

struct train_set {
	struct train_set_cfg cfg;
	struct train_work *work;
	struct layer *layer;	/* [n_layers] */
	struct train_stats *log;	/* [steps][n_layers] from step `logged` */
	size_t log_cap;
	uint64_t logged;	/* steps whose lines were handed out */
	uint64_t saved;		/* step of the last save */
	int generation;		/* that the manifest names; -1: none */
	/* token ids of the rows so far, as one number */
	uint64_t ids_n, ids_hash;
	uint64_t ids_mark;	/* at the latest whole batch */
	uint64_t want_n, want_hash;	/* a resumed run's */
};

size_t train_set_bytes(const struct train_set_cfg *c)
{
	return train_layer_bytes(&c->train) * (size_t)c->n_layers +
	       train_work_bytes(&c->train);
}

/* Files the measurements of one layer's step where its line will look. */
static int note_step(void *ctx, const struct train_stats *stats, struct err *e)
{
	struct layer *l = ctx;
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
		struct layer *l = &s->layer[i];

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
	size_t i;

	for (i = 0; i < n; i++) {
		uint64_t h = (s->ids_hash ^ ids[i]) * 0x9e3779b97f4a7c15u;

		s->ids_hash = h ^ h >> 29;
		if (++s->ids_n % s->cfg.train.batch == 0)
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
	json_t *o = json_pack("{s:I,s:I,s:i,s:f,s:f,s:f,s:f,s:f,s:f,s:I}",
	                      "step", (json_int_t)v->step, "tokens",
	                      (json_int_t)v->rows, "layer", layer, "lr", v->lr,
	                      "loss", v->loss, "fvu", v->fvu, "l0", v->l0,
	                      "dead", v->dead, "silent", v->silent, "outliers",
	                      (json_int_t)v->outliers);

	if (o && c->auxk_alpha > 0)
		json_object_set_new(o, "auxk", json_real(v->auxk));
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

/* ---- the folder --------------------------------------------------------- */

static int path_of(const struct train_set *s, char *out, struct err *e,
                   const char *fmt, int a, int b)
{
	char tail[64];
	int n;

	snprintf(tail, sizeof(tail), fmt, a, b);
	n = snprintf(out, PATH, "%s/%s", s->cfg.out, tail);
	if (n < 0 || n >= PATH)
		return err_set(e, ERR_RANGE, "%.100s...: path too long",
		               s->cfg.out);
	return 0;
}

static const char *const STATE = "state/%d/layers.%d.safetensors";
static const char *const STATE_DIR = "state/%d";
static const char *const MANIFEST = "state/manifest.json";
static const char *const CONFIG = "config.json";

static int write_json(const char *path, const json_t *j, struct err *e)
{
	char *text = j ? json_dumps(j, JSON_INDENT(2) | JSON_REAL_PRECISION(17))
	               : NULL;
	int rc;

	if (!text)
		return err_set(e, ERR_MEM, "%s: no memory", path);
	rc = file_write(path, text, strlen(text), e);
	free(text);
	return rc;
}

/* All that decides what the weights become, but for the rows. */
static json_t *config_json(const struct train_set *s)
{
	const struct train_cfg *c = &s->cfg.train;
	const struct tc_cfg *t = &c->tc;
	json_t *layers = json_array();
	int i;

	for (i = 0; i < s->cfg.n_layers; i++)
		json_array_append_new(layers, json_integer(s->cfg.layers[i]));
	return json_pack(
		"{s:o,s:s,s:s,s:I,s:I,s:I,s:I,s:b,s:b,s:b,s:b,"
		"s:f,s:I,s:f,s:I,s:I,s:f,s:I,s:I,s:f,s:f,s:I}",
		"layers", layers,
		"recipe", c->recipe == TRAIN_R1 ? "r1" : "sparsify",
		"optimizer", c->rule == TRAIN_ADAM ? "adam" : "signum",
		"d_in", (json_int_t)t->d_in, "d_out", (json_int_t)t->d_out,
		"latents", (json_int_t)t->n_latents, "k", (json_int_t)t->k,
		"skip_connection", t->skip, "transcode", t->transcode,
		"normalize_decoder", t->normalize_decoder,
		"multi_topk", t->multi_topk, "lr", c->lr,
		"warmup", (json_int_t)c->warmup, "decay", c->decay,
		"batch", (json_int_t)c->batch, "steps", (json_int_t)c->n_steps,
		"auxk_alpha", c->auxk_alpha,
		"dead_tokens", (json_int_t)c->dead_tokens,
		"start_tokens", (json_int_t)c->start_tokens,
		"ridge", c->ridge, "outlier", c->outlier,
		"seed", (json_int_t)c->seed);
}

/* sparsify's TrainConfig, for those who look for it there. */
static json_t *sparsify_json(const struct train_set *s)
{
	const struct train_cfg *c = &s->cfg.train;
	const struct tc_cfg *t = &c->tc;
	json_t *hooks = json_array();
	char name[32];
	int i;

	for (i = 0; i < s->cfg.n_layers; i++) {
		snprintf(name, sizeof(name), "layers.%d.mlp", s->cfg.layers[i]);
		json_array_append_new(hooks, json_string(name));
	}
	return json_pack(
		"{s:{s:s,s:I,s:b,s:I,s:I,s:b,s:b,s:b},s:i,s:i,s:s,s:s,s:f,"
		"s:I,s:i,s:f,s:I,s:[],s:o,s:[I],s:[],s:i,s:b,s:I,s:b,s:n,s:b,"
		"s:n,s:i,s:s}",
		"sae", "activation", "topk",
		"expansion_factor", (json_int_t)t->expansion,
		"normalize_decoder", t->normalize_decoder,
		"num_latents", (json_int_t)t->n_latents, "k", (json_int_t)t->k,
		"multi_topk", t->multi_topk, "skip_connection", t->skip,
		"transcode", t->transcode,
		"grad_acc_steps", 1, "micro_acc_steps", 1, "loss_fn", "fvu", "optimizer",
		c->rule == TRAIN_ADAM ? "adam" : "signum", "lr", c->lr,
		"lr_warmup_steps", (json_int_t)c->warmup, "k_decay_steps", 0,
		"auxk_alpha", c->auxk_alpha, "dead_feature_threshold",
		(json_int_t)c->dead_tokens, "exclude_tokens", "hookpoints",
		hooks, "init_seeds", (json_int_t)c->seed, "layers",
		"layer_stride", 1, "distribute_modules", 0, "save_every",
		(json_int_t)s->cfg.save_every, "save_best", 0, "finetune",
		"log_to_wandb", 0, "run_name", "wandb_log_frequency", 1,
		"save_dir", "checkpoints");
}

static int write_manifest(struct train_set *s, int generation, int done,
                          struct err *e)
{
	struct train_stats v = stats_of(s, 0);
	char path[PATH], ids[17];
	json_t *j;
	int rc;

	snprintf(ids, sizeof(ids), "%016llx", (unsigned long long)s->ids_mark);
	j = json_pack("{s:i,s:s,s:i,s:b,s:I,s:I,s:s,s:o,s:s}",
	              "tctrain", 1, "version", R1_VERSION,
	              "generation", generation, "done", done,
	              "step", (json_int_t)v.step,
	              "rows", (json_int_t)v.rows, "ids", ids,
	              "config", config_json(s), "input", s->cfg.input);
	rc = path_of(s, path, e, MANIFEST, 0, 0);
	if (rc == 0)
		rc = write_json(path, j, e);
	json_decref(j);
	return rc;
}

static int write_state(struct train_set *s, int generation, struct err *e)
{
	char path[PATH];
	int i;

	if (path_of(s, path, e, STATE_DIR, generation, 0) < 0 ||
	    file_mkdirs(path, e) < 0)
		return -1;
	for (i = 0; i < s->cfg.n_layers; i++)
		if (path_of(s, path, e, STATE, generation,
		            s->cfg.layers[i]) < 0 ||
		    train_layer_save(s->layer[i].t, path, e) < 0)
			return -1;
	return 0;
}

static int write_weights(struct train_set *s, struct err *e)
{
	char path[PATH];
	json_t *j;
	int i, rc = 0;

	for (i = 0; rc == 0 && i < s->cfg.n_layers; i++) {
		struct tc *t = train_layer_export(s->layer[i].t, e);

		rc = t ? tc_write(t, s->cfg.out, s->cfg.layers[i], e) : -1;
		tc_free(t);
	}
	if (rc < 0 || path_of(s, path, e, CONFIG, 0, 0) < 0)
		return -1;
	j = sparsify_json(s);
	rc = write_json(path, j, e);
	json_decref(j);
	return rc;
}

int train_set_save(struct train_set *s, struct err *e)
{
	int next = s->generation == 0;

	if (train_set_step(s) == 0)
		return err_set(e, ERR_RANGE, "nothing to save before the first "
		               "step");
	if (write_state(s, next, e) < 0 || write_weights(s, e) < 0 ||
	    write_manifest(s, next, 0, e) < 0)
		return -1;
	s->generation = next;
	s->saved = train_set_step(s);
	return 0;
}

static void drop_state(struct train_set *s)
{
	char path[PATH];
	int g, i;

	for (g = 0; g < 2; g++) {
		for (i = 0; i < s->cfg.n_layers; i++)
			if (path_of(s, path, NULL, STATE, g,
			            s->cfg.layers[i]) == 0)
				unlink(path);
		if (path_of(s, path, NULL, STATE_DIR, g, 0) == 0)
			rmdir(path);
	}
}

static int mark_done(struct train_set *s, struct err *e)
{
	int next = -1;

	if (s->cfg.keep_state) {
		next = s->generation == 0;
		if (write_state(s, next, e) < 0)
			return -1;
	} else {
		char path[PATH];

		if (path_of(s, path, e, "state", 0, 0) < 0 ||
		    file_mkdirs(path, e) < 0)
			return -1;
	}
	if (write_weights(s, e) < 0 || write_manifest(s, next, 1, e) < 0)
		return -1;
	if (next < 0)
		drop_state(s);
	return 0;
}

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
		return mark_done(s, e);
	if (train_set_save(s, e) < 0)
		return -1;
	return err_set(e, ERR_FORMAT, "the stream ended after %llu of %llu "
	               "tokens; step %llu of %llu is saved, --resume with a "
	               "longer stream goes on", (unsigned long long)rows,
	               (unsigned long long)(c->n_steps * c->batch),
	               (unsigned long long)train_set_step(s),
	               (unsigned long long)c->n_steps);
}

/* ---- resuming ----------------------------------------------------------- */

/* The run in the manifest must be this one. */
static int same_run(const struct train_set *s, const json_t *manifest,
                    struct err *e)
{
	json_t *mine = config_json(s), *theirs, *v;
	const char *key, *input, *differs = NULL;
	char *a, *b;

	theirs = json_object_get(manifest, "config");
	json_object_foreach(mine, key, v)
		if (!differs && !json_equal(v, json_object_get(theirs, key)))
			differs = key;
	if (differs) {
		a = json_dumps(json_object_get(theirs, differs),
		               JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
		b = json_dumps(json_object_get(mine, differs),
		               JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
		err_set(e, ERR_FORMAT, "%s: that run has %s %s, this one %s",
		        s->cfg.out, differs, a ? a : "none", b ? b : "none");
		free(a);
		free(b);
		json_decref(mine);
		return -1;
	}
	json_decref(mine);
	if (json_str(manifest, "input", "", &input, e) < 0)
		return -1;
	if (strcmp(input, s->cfg.input) != 0)
		return err_set(e, ERR_FORMAT, "%s: that run was fed %s, this "
		               "one is fed %s", s->cfg.out, input,
		               s->cfg.input);
	return 0;
}

static int load_state(struct train_set *s, int generation, int64_t step,
                      int64_t rows, struct err *e)
{
	char path[PATH];
	int i;

	for (i = 0; i < s->cfg.n_layers; i++) {
		struct train_stats v;

		if (path_of(s, path, e, STATE, generation,
		            s->cfg.layers[i]) < 0 ||
		    train_layer_load(s->layer[i].t, path, e) < 0)
			return -1;
		v = stats_of(s, i);
		if (v.step != (uint64_t)step || v.rows != (uint64_t)rows)
			return err_set(e, ERR_FORMAT, "%s: step %llu, row %llu;"
			               " the manifest says %lld and %lld", path,
			               (unsigned long long)v.step,
			               (unsigned long long)v.rows,
			               (long long)step, (long long)rows);
	}
	s->generation = generation;
	s->logged = s->saved = (uint64_t)step;
	return 1;
}

int train_set_resume(struct train_set *s, uint64_t *rows, int *done,
                     struct err *e)
{
	int64_t generation, step, n;
	const char *ids;
	char path[PATH];
	json_t *j;
	int rc = -1;

	*rows = 0;
	*done = 0;
	if (path_of(s, path, e, MANIFEST, 0, 0) < 0)
		return -1;
	if (access(path, F_OK) < 0)
		return 0;
	j = json_read(path, MANIFEST_MAX, e);
	if (!j)
		return -1;
	if (json_int(j, "generation", -1, 1, 2, &generation, e) < 0 ||
	    json_int(j, "step", 1, INT64_MAX, 0, &step, e) < 0 ||
	    json_int(j, "rows", 1, INT64_MAX, 0, &n, e) < 0 ||
	    json_str(j, "ids", "0", &ids, e) < 0 ||
	    json_bool(j, "done", 0, done, e) < 0)
		err_wrap(e, "%s", path);
	else if (same_run(s, j, e) == 0) {
		if (generation >= 0)
			rc = load_state(s, (int)generation, step, n, e);
		else if (*done)
			rc = 1;
		else
			err_set(e, ERR_FORMAT, "%s: names no state", path);
		*rows = s->want_n = (uint64_t)n;
		s->want_hash = strtoull(ids, NULL, 16);
		if (rc == 1 && *done && generation < 0)
			drop_state(s);
	}
	json_decref(j);
	return rc;
}
