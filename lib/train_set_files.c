/* The folder a run lives in: state in two generations, weights, manifest. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "json.h"
#include "train_set_impl.h"
#include "version.h"

enum { PATH = 4096, MANIFEST_MAX = 1 << 20 };

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

static const char *loss_name(const struct train_set *s)
{
	return s->cfg.loss ? s->cfg.loss : "fvu";
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
		"s:f,s:I,s:f,s:I,s:I,s:f,s:I,s:I,s:f,s:f,s:I,"
		"s:s,s:f,s:f,s:I,s:s,s:f,s:f,s:f,s:f,s:I,s:f,s:I,s:I}",
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
		"seed", (json_int_t)c->seed,
		"variant", tc_variant_name(t->variant),
		"l0_weight", c->l0_weight, "bandwidth", c->bandwidth,
		"k_anneal", (json_int_t)c->k_anneal, "loss", loss_name(s),
		"raise", c->raise, "row_norm", c->row_norm, "near", c->near,
		"dec_rate", c->dec_rate,
		"end_tokens", (json_int_t)c->end_tokens,
		"end_ridge", c->end_ridge,
		"resample", (json_int_t)c->resample,
		/* of all rows, as before there was a choice: 0 */
		"skip_every", (json_int_t)(c->skip_every > 1 ? c->skip_every
		                                             : 0));
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
		"s:I,s:I,s:f,s:I,s:[],s:o,s:[I],s:[],s:i,s:b,s:I,s:b,s:n,s:b,"
		"s:n,s:i,s:s}",
		"sae", "activation", "topk",
		"expansion_factor", (json_int_t)t->expansion,
		"normalize_decoder", t->normalize_decoder,
		"num_latents", (json_int_t)t->n_latents, "k", (json_int_t)t->k,
		"multi_topk", t->multi_topk, "skip_connection", t->skip,
		"transcode", t->transcode,
		"grad_acc_steps", 1, "micro_acc_steps", 1, "loss_fn", loss_name(s), "optimizer",
		c->rule == TRAIN_ADAM ? "adam" : "signum", "lr", c->lr,
		"lr_warmup_steps", (json_int_t)c->warmup, "k_decay_steps",
		(json_int_t)c->k_anneal,
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
	struct train_stats v;
	char path[PATH], ids[17];
	json_t *j;
	int rc;

	train_layer_stats(s->layer[0].t, &v);
	snprintf(ids, sizeof(ids), "%016llx", (unsigned long long)s->ids_mark);
	j = json_pack("{s:i,s:s,s:i,s:b,s:I,s:I,s:I,s:s,s:o,s:s}",
	              "tctrain", 1, "version", R1_VERSION,
	              "generation", generation, "done", done,
	              "bytes", (json_int_t)train_set_bytes(&s->cfg),
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

int train_set_mark_done(struct train_set *s, struct err *e)
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

/* ---- resuming ----------------------------------------------------------- */

/* A manifest that names no such choice is of a version that had none, and did
 * what 0 asks for. */
static int same_choice(const json_t *mine, const json_t *theirs)
{
	return theirs ? json_equal(mine, theirs)
	              : json_is_number(mine) && json_number_value(mine) == 0;
}

/* The run in the manifest must be this one. */
static int same_run(const struct train_set *s, const json_t *manifest,
                    struct err *e)
{
	json_t *mine = config_json(s), *theirs, *v;
	const char *key, *input, *differs = NULL;
	char *a, *b;

	theirs = json_object_get(manifest, "config");
	json_object_foreach(mine, key, v)
		if (!differs && !same_choice(v, json_object_get(theirs, key)))
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
		train_layer_stats(s->layer[i].t, &v);
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
