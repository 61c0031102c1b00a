/* The forward pass against transformers (tests/golden/tiny-*, written by
 * tests/oracle/tiny_models.py and its likes), and against itself. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "map.h"
#include "mem.h"
#include "model.h"
#include "model_impl.h"
#include "safet.h"

static struct err e;
static struct dev *cpu;

static int open_cpu(void **state)
{
	(void)state;
	return (cpu = dev_open("cpu", 2, &e)) ? 0 : -1;
}

static int close_cpu(void **state)
{
	(void)state;
	dev_free(cpu);
	return 0;
}

static struct model *open_model(const char *path)
{
	struct model *m = model_open(path, cpu, NULL, &e);

	if (!m)
		fail_msg("%s", e.msg);
	return m;
}

static uint32_t *golden_ids(const struct safet *g, size_t *n)
{
	const struct tensor *t = safet_find(g, "input_ids");
	uint32_t *ids;

	assert_non_null(t);
	assert_int_equal(t->type, DT_I32);
	*n = t->n;
	ids = mem_array(t->n, sizeof(*ids), &e);
	memcpy(ids, t->data, t->n_bytes);
	return ids;
}

/* Within 1e-4 of the largest value wanted, everywhere. */
static void same_as_golden(const struct safet *g, const char *name,
                           const float *got, size_t n)
{
	const struct tensor *t = safet_find(g, name);
	float *want, top = 0;
	size_t i;

	assert_non_null(t);
	assert_int_equal(t->n, n);
	want = mem_array(n, sizeof(*want), &e);
	assert_int_equal(tensor_f32(t, 0, n, want, &e), 0);
	for (i = 0; i < n; i++)
		top = fmaxf(top, fabsf(want[i]));
	for (i = 0; i < n; i++)
		if (!(fabsf(got[i] - want[i]) <= 1e-4f * top))
			fail_msg("%s[%zu]: %g, wanted %g (largest %g)", name, i,
			         got[i], want[i], top);
	mem_free(want);
}

struct watch {
	const struct safet *golden;
	size_t d;
	int calls;
};

static int watch_mlp(void *ctx, int layer, const float *x, float *y, size_t n,
                     struct err *err)
{
	struct watch *w = ctx;
	char name[32];

	(void)err;
	assert_int_equal(layer, w->calls++);
	snprintf(name, sizeof(name), "mlp_in.%d", layer);
	same_as_golden(w->golden, name, x, n * w->d);
	snprintf(name, sizeof(name), "mlp_out.%d", layer);
	same_as_golden(w->golden, name, y, n * w->d);
	return 0;
}

static void check_golden(const char *model, const char *golden,
                         size_t expand_bytes)
{
	struct model *m = model_open_within(model, cpu, NULL, expand_bytes, &e);
	const struct model_cfg *c;
	struct safet *g = safet_open(golden, &e);
	struct watch w = { g, 0, 0 };
	struct model_run *r;
	size_t start[2] = { 0, 0 };
	struct model_batch b = { .start = start, .n_seqs = 1 };
	float *logits;
	uint32_t *ids;

	if (!m)
		fail_msg("%s", e.msg);
	assert_non_null(g);
	c = model_cfg(m);
	w.d = c->d_model;
	ids = golden_ids(g, &b.n);
	b.ids = ids;
	start[1] = b.n;
	r = model_run_new(m, b.n, &e);
	logits = mem_array(b.n * c->n_vocab, sizeof(*logits), &e);
	assert_non_null(r);
	assert_int_equal(model_forward(r, &b, (int)c->n_layers - 1, watch_mlp,
	                               &w, &e), 0);
	assert_int_equal(w.calls, c->n_layers);
	assert_int_equal(model_logits(r, model_resid(r), b.n, logits, &e), 0);
	same_as_golden(g, "logits", logits, b.n * c->n_vocab);
	assert_int_equal(c->bos, 1);
	assert_int_equal(c->eos, 2);
	assert_int_equal(strlen(c->fingerprint), 64);
	mem_free(logits);
	mem_free(ids);
	model_run_free(r);
	safet_free(g);
	model_free(m);
}

#define GOLDEN "tests/golden/"

static void folders_equal_transformers(void **state)
{
	static const char *const names[] = {
		"tiny-llama", "tiny-qwen2", "tiny-qwen3", "tiny-llama-linear",
		"tiny-llama3"
	};
	char dir[128], golden[160];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(dir, sizeof(dir), GOLDEN "%s", names[i]);
		snprintf(golden, sizeof(golden), "%s/golden.safetensors", dir);
		check_golden(dir, golden, SIZE_MAX);
		check_golden(dir, golden, 0);	/* as a large model would */
	}
}

static void ggufs_equal_transformers(void **state)
{
	static const char *const names[] = {
		"tiny-qwen3", "tiny-llama-linear", "tiny-llama3"
	};
	char path[128], golden[160];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), GOLDEN "%s/model.gguf", names[i]);
		snprintf(golden, sizeof(golden), GOLDEN
		         "%s/golden.safetensors", names[i]);
		check_golden(path, golden, SIZE_MAX);
		check_golden(path, golden, 0);
	}
}

/* A batch of several sequences over the golden's ids, whose first is golden's
 * beginning: positions restart and nothing leaks between sequences. */
struct fixture {
	struct model *m;
	const struct model_cfg *c;
	struct model_run *r;
	uint32_t ids[24];
	size_t start[4];
	struct model_batch b;
	size_t n_resid;
	float *resid;
};

static void setup(struct fixture *f, struct dev *d)
{
	struct safet *g = safet_open(GOLDEN "tiny-qwen2/golden.safetensors",
	                             &e);
	uint32_t *ids;
	size_t n;

	assert_non_null(g);
	ids = golden_ids(g, &n);
	assert_int_equal(n, 24);
	memcpy(f->ids, ids, sizeof(f->ids));
	mem_free(ids);
	safet_free(g);
	f->m = model_open(GOLDEN "tiny-qwen2", d, NULL, &e);
	assert_non_null(f->m);
	f->c = model_cfg(f->m);
	f->r = model_run_new(f->m, 24, &e);
	assert_non_null(f->r);
	memcpy(f->start, (size_t[]){ 0, 11, 12, 24 }, sizeof(f->start));
	f->b = (struct model_batch){ f->ids, 24, f->start, 3 };
	f->n_resid = 24 * f->c->d_model;
	assert_int_equal(model_forward(f->r, &f->b, 3, NULL, NULL, &e), 0);
	f->resid = mem_array(f->n_resid, sizeof(float), &e);
	memcpy(f->resid, model_resid(f->r), f->n_resid * sizeof(float));
}

static void teardown(struct fixture *f)
{
	mem_free(f->resid);
	model_run_free(f->r);
	model_free(f->m);
}

static void threads_do_not_change_bytes(void **state)
{
	struct fixture one, many;
	int n;

	(void)state;
	setup(&one, cpu);
	for (n = 1; n <= 5; n += 2) {
		struct dev *d = dev_open("cpu", n, &e);

		setup(&many, d);
		assert_memory_equal(one.resid, many.resid,
		                    one.n_resid * sizeof(float));
		teardown(&many);
		dev_free(d);
	}
	teardown(&one);
}

static void sequences_do_not_see_each_other(void **state)
{
	struct fixture f;
	size_t start[2] = { 0, 12 }, i, d;
	struct model_batch b = { .n = 12, .start = start, .n_seqs = 1 };

	(void)state;
	setup(&f, cpu);
	d = f.c->d_model;
	b.ids = f.ids + 12;
	assert_int_equal(model_forward(f.r, &b, 3, NULL, NULL, &e), 0);
	for (i = 0; i < 12 * d; i++)
		assert_true(fabsf(model_resid(f.r)[i] - f.resid[12 * d + i]) <
		            1e-4f);
	teardown(&f);
}

static void going_on_from_a_layer_is_the_same(void **state)
{
	struct fixture f;
	float *mid;
	int cut;

	(void)state;
	setup(&f, cpu);
	mid = mem_array(f.n_resid, sizeof(*mid), &e);
	for (cut = 0; cut < 3; cut++) {
		assert_int_equal(model_forward(f.r, &f.b, cut, NULL, NULL, &e),
		                 0);
		memcpy(mid, model_resid(f.r), f.n_resid * sizeof(*mid));
		/* in place, and from a copy after other work */
		assert_int_equal(model_forward_from(f.r, &f.b,
			model_resid(f.r), cut + 1, 3, NULL, NULL, &e), 0);
		assert_memory_equal(model_resid(f.r), f.resid,
		                    f.n_resid * sizeof(*mid));
		assert_int_equal(model_forward_from(f.r, &f.b, mid, cut + 1, 3,
		                                    NULL, NULL, &e), 0);
		assert_memory_equal(model_resid(f.r), f.resid,
		                    f.n_resid * sizeof(*mid));
	}
	mem_free(mid);
	teardown(&f);
}

struct replace {
	int layer, stop;
	float *y;	/* saved by the first pass, put back by the second */
	int put;
};

static int replace_mlp(void *ctx, int layer, const float *x, float *y,
                       size_t n, struct err *err)
{
	struct replace *p = ctx;
	size_t i, len = n * 64;

	(void)x;
	if (layer == p->stop)
		return err_set(err, ERR_STOP, "enough");
	if (layer != p->layer)
		return 0;
	for (i = 0; i < len; i++) {
		if (p->put)
			y[i] = p->y[i];
		else
			p->y[i] = y[i];
	}
	if (!p->put)
		memset(y, 0, len * sizeof(*y));
	return 0;
}

static void a_tap_replaces_the_mlp(void **state)
{
	struct fixture f;
	struct replace p = { 2, -1, NULL, 0 };

	(void)state;
	setup(&f, cpu);
	p.y = mem_array(f.n_resid, sizeof(float), &e);
	assert_int_equal(model_forward(f.r, &f.b, 3, replace_mlp, &p, &e), 0);
	assert_memory_not_equal(model_resid(f.r), f.resid,
	                        f.n_resid * sizeof(float));
	p.put = 1;	/* its own output: nothing changes */
	assert_int_equal(model_forward(f.r, &f.b, 3, replace_mlp, &p, &e), 0);
	assert_memory_equal(model_resid(f.r), f.resid,
	                    f.n_resid * sizeof(float));
	p.stop = 1;
	assert_int_equal(model_forward(f.r, &f.b, 3, replace_mlp, &p, &e), -1);
	assert_int_equal(e.code, ERR_STOP);
	mem_free(p.y);
	teardown(&f);
}

struct reads {
	float *x;	/* [3][n_resid]: what each MLP reads */
	int no_mlp;	/* the layer that has none, or -1 */
};

static int keep_reads(void *ctx, int layer, const float *x, float *y, size_t n,
                      struct err *err)
{
	struct reads *p = ctx;
	size_t len = n * 64;

	(void)err;
	assert_int_equal(!y, layer == p->no_mlp);
	memcpy(p->x + (size_t)layer * len, x, len * sizeof(*x));
	return 0;
}

static void the_last_mlp_can_be_left_out(void **state)
{
	struct fixture f;
	struct reads got = { NULL, 2 }, want = { NULL, -1 };
	size_t n;

	(void)state;
	setup(&f, cpu);
	n = 3 * f.n_resid;
	got.x = mem_array(n, sizeof(float), &e);
	want.x = mem_array(n, sizeof(float), &e);
	assert_int_equal(model_forward(f.r, &f.b, 2, keep_reads, &want, &e), 0);
	assert_int_equal(model_forward_reads(f.r, &f.b, 2, keep_reads, &got,
	                                     &e), 0);
	assert_memory_equal(got.x, want.x, n * sizeof(float));
	/* and the pass that follows is whole again */
	assert_int_equal(model_forward(f.r, &f.b, 3, NULL, NULL, &e), 0);
	assert_memory_equal(model_resid(f.r), f.resid,
	                    f.n_resid * sizeof(float));
	mem_free(got.x);
	mem_free(want.x);
	teardown(&f);
}

static void refuses_bad_batches(void **state)
{
	struct fixture f;
	size_t gap[3] = { 0, 5, 23 }, back[4] = { 0, 12, 11, 24 };
	struct model_batch b;

	(void)state;
	setup(&f, cpu);
	assert_int_equal(model_forward(f.r, &f.b, 4, NULL, NULL, &e), -1);
	assert_int_equal(e.code, ERR_RANGE);
	assert_int_equal(model_forward(f.r, &f.b, -1, NULL, NULL, &e), -1);
	assert_int_equal(model_forward_from(f.r, &f.b, f.resid, 3, 2, NULL,
	                                    NULL, &e), -1);
	b = f.b;
	b.n = 25;
	assert_int_equal(model_forward(f.r, &b, 3, NULL, NULL, &e), -1);
	b = (struct model_batch){ f.ids, 24, gap, 2 };
	assert_int_equal(model_forward(f.r, &b, 3, NULL, NULL, &e), -1);
	b = (struct model_batch){ f.ids, 24, back, 3 };
	assert_int_equal(model_forward(f.r, &b, 3, NULL, NULL, &e), -1);
	f.ids[7] = f.c->n_vocab;
	assert_int_equal(model_forward(f.r, &f.b, 3, NULL, NULL, &e), -1);
	assert_string_equal(e.msg, "token 7: id 512, the vocabulary has 512");
	teardown(&f);
}

static void cached_generation_equals_the_batch(void **state)
{
	struct fixture f;
	struct model_gen *g;
	float *logits, *want;
	size_t v, i, n, cut;

	(void)state;
	setup(&f, cpu);
	v = f.c->n_vocab;
	f.b.n_seqs = 1;
	f.start[1] = 24;
	logits = mem_array(v, sizeof(*logits), &e);
	want = mem_array(24 * v, sizeof(*want), &e);
	assert_int_equal(model_forward(f.r, &f.b, 3, NULL, NULL, &e), 0);
	assert_int_equal(model_logits(f.r, model_resid(f.r), 24, want, &e), 0);
	g = model_gen_new(f.m, 24, &e);
	assert_non_null(g);
	for (cut = 1; cut <= 24; cut += 7) {
		model_gen_cut(g, 0);
		for (n = 0; n < 24; n += i) {	/* a prompt, then one by one */
			i = n == 0 ? cut : 1;
			assert_int_equal(model_gen_feed(g, f.ids + n, i,
				logits, NULL, NULL, &e), 0);
			for (size_t j = 0; j < v; j++)
				assert_true(fabsf(logits[j] -
				            want[(n + i - 1) * v + j]) < 2e-4f);
		}
	}
	assert_int_equal(model_gen_feed(g, f.ids, 1, logits, NULL, NULL, &e),
	                 -1);
	assert_int_equal(e.code, ERR_RANGE);
	model_gen_free(g);
	assert_null(model_gen_new(f.m, f.c->n_ctx + 1, &e));
	mem_free(logits);
	mem_free(want);
	teardown(&f);
}

/* Three texts side by side, one of them a copy of another's beginning, against
 * each alone. */
static void texts_side_by_side_equal_each_alone(void **state)
{
	enum { TEXTS = 3, LEN = 20 };
	struct fixture f;
	struct model_gen *g;
	struct model_many *y;
	struct model_more more[TEXTS];
	uint32_t ids[TEXTS][LEN];
	double ce[TEXTS][LEN], want_ce;
	float *logits, *want;
	size_t v, i, j, n;

	(void)state;
	setup(&f, cpu);
	v = f.c->n_vocab;
	logits = mem_array(TEXTS * v, sizeof(*logits), &e);
	want = mem_array(v, sizeof(*want), &e);
	for (i = 0; i < TEXTS; i++)
		for (j = 0; j < LEN; j++)
			ids[i][j] = f.ids[i == 2 && j < 5 ? j : (3 * i + j) % 24];
	y = model_many_new(f.m, TEXTS, LEN, &e);
	assert_non_null(y);
	/* 5 tokens of text 0, which text 2 takes over; 7 of text 1 */
	for (i = 0; i < 2; i++)
		more[i] = (struct model_more){ .text = i, .ids = ids[i],
			.n = 5 + 2 * i, .logits = logits + i * v };
	assert_int_equal(model_many_feed(y, more, 2, &e), 0);
	assert_int_equal(model_many_share(y, 2, 0, 6, &e), -1);
	assert_int_equal(model_many_share(y, 2, 0, 5, &e), 0);
	/* the rest in an order of its own, with targets */
	for (n = 0; n < TEXTS; n++) {
		i = 2 - n;
		assert_int_equal(model_many_n(y, i), i == 1 ? 7 : 5);
		more[n] = (struct model_more){ .text = i,
			.ids = ids[i] + model_many_n(y, i),
			.n = LEN - 1 - model_many_n(y, i),
			.logits = logits + i * v, .ce = ce[i],
			.targets = i == 1 ? NULL
			           : ids[i] + model_many_n(y, i) + 1 };
	}
	assert_int_equal(model_many_feed(y, more, TEXTS, &e), 0);
	g = model_gen_new(f.m, LEN, &e);
	for (i = 0; i < TEXTS; i++) {
		model_gen_cut(g, 0);
		for (j = 0; j + 1 < LEN; j++) {
			double sum = 0;
			float top = -INFINITY;

			assert_int_equal(model_gen_feed(g, &ids[i][j], 1, want,
			                                NULL, NULL, &e), 0);
			for (n = 0; n < v; n++)
				top = want[n] > top ? want[n] : top;
			for (n = 0; n < v; n++)
				sum += exp((double)(want[n] - top));
			want_ce = log(sum) - (double)(want[ids[i][j + 1]] - top);
			if (i != 1 && j >= 5)
				assert_true(fabs(ce[i][j - 5] - want_ce) < 1e-4);
		}
		for (n = 0; n < v; n++)
			assert_true(fabsf(logits[i * v + n] - want[n]) < 2e-4f);
	}
	/* cut, and no room for more */
	model_many_cut(y, 1, 3);
	more[0] = (struct model_more){ .text = 1, .ids = ids[1] + 3, .n = LEN - 4,
	                               .logits = logits };
	assert_int_equal(model_many_feed(y, more, 1, &e), 0);
	for (n = 0; n < v; n++)
		assert_true(fabsf(logits[n] - logits[v + n]) < 2e-4f);
	more[0].n = 5;
	assert_int_equal(model_many_feed(y, more, 1, &e), -1);
	assert_int_equal(e.code, ERR_RANGE);
	model_gen_free(g);
	model_many_free(y);
	assert_null(model_many_new(f.m, 0, LEN, &e));
	assert_null(model_many_new(f.m, 1, f.c->n_ctx + 1, &e));
	mem_free(logits);
	mem_free(want);
	teardown(&f);
}

static void fingerprints_tell_models_apart(void **state)
{
	static const char *const paths[] = {
		GOLDEN "tiny-llama", GOLDEN "tiny-qwen2", GOLDEN "tiny-qwen3/",
		GOLDEN "tiny-qwen3/model.gguf"
	};
	char seen[4][65];
	int i, j;

	(void)state;
	for (i = 0; i < 4; i++) {
		struct model *m = open_model(paths[i]);

		strcpy(seen[i], model_cfg(m)->fingerprint);
		assert_string_equal(model_cfg(m)->name,
			((const char *[]){ "tiny-llama", "tiny-qwen2",
			                   "tiny-qwen3", "model" })[i]);
		for (j = 0; j < i; j++)
			assert_string_not_equal(seen[i], seen[j]);
		model_free(m);
		m = open_model(paths[i]);
		assert_string_equal(seen[i], model_cfg(m)->fingerprint);
		model_free(m);
	}
}

/* ---- configurations that are refused: one rule a row ---- */

struct bad {
	const char *from, *to, *says;
};

static const struct bad bad_configs[] = {
	{ "\"model_type\": \"qwen2\"", "\"model_type\": \"gemma2\"",
	  "architecture 'gemma2', wanted llama, qwen2 or qwen3" },
	{ "\"model_type\": \"qwen2\"", "\"model_type\": 7", "model_type" },
	{ "\"model_type\": \"qwen2\"", "\"x\": 0", "no model_type" },
	{ "\"hidden_act\": \"silu\"", "\"hidden_act\": \"gelu\"",
	  "hidden_act 'gelu', wanted silu" },
	{ "\"hidden_size\": 64", "\"hidden_size\": 0", "hidden_size" },
	{ "\"hidden_size\": 64", "\"hidden_size\": 64.5", "hidden_size" },
	{ "\"hidden_size\": 64", "\"hidden_size\": 128", "512 x 128" },
	{ "\"num_hidden_layers\": 4", "\"num_hidden_layers\": 513",
	  "num_hidden_layers is 513, wanted 1 to 512" },
	{ "\"num_hidden_layers\": 4", "\"num_hidden_layers\": 5",
	  "no tensor model.layers.4" },
	{ "\"intermediate_size\": 160", "\"intermediate_size\": -1",
	  "intermediate_size" },
	{ "\"vocab_size\": 512", "\"vocab_size\": 9999999999", "vocab_size" },
	{ "\"num_attention_heads\": 4", "\"num_attention_heads\": null",
	  "num_attention_heads" },
	{ "\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3",
	  "4 attention heads over 3 key heads" },
	{ "\"head_dim\": 16", "\"head_dim\": 15", "15 is odd" },
	{ "\"max_position_embeddings\": 512", "\"max_position_embeddings\": 0",
	  "max_position_embeddings" },
	{ "\"rms_norm_eps\": 1e-06", "\"rms_norm_eps\": 2", "rms_norm_eps" },
	{ "\"bos_token_id\": 1", "\"bos_token_id\": 512", "bos_token_id" },
	{ "\"eos_token_id\": 2", "\"eos_token_id\": [\"a\"]", "eos_token_id" },
	{ "\"rope_theta\": 10000.0", "\"rope_theta\": 0", "rope_theta" },
	{ "\"rope_scaling\": null", "\"rope_scaling\": {\"type\": \"yarn\"}",
	  "rope type 'yarn'" },
	{ "\"rope_scaling\": null", "\"rope_scaling\": 3", "rope_scaling" },
	{ "\"rope_scaling\": null", "\"rope_scaling\": {\"rope_type\": "
	  "\"linear\"}", "no factor" },
	{ "\"rope_scaling\": null", "\"rope_scaling\": {\"rope_type\": "
	  "\"llama3\", \"factor\": 8, \"low_freq_factor\": 4, "
	  "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 9}",
	  "must be above" },
	{ "\"rope_scaling\": null",
	  "\"rope_parameters\": {\"partial_rotary_factor\": 0.5}",
	  "partial_rotary_factor" },
	{ "\"sliding_window\": null", "\"sliding_window\": 64", NULL },
	{ "\"use_sliding_window\": false", "\"sliding_window\": 64, "
	  "\"use_sliding_window\": true", "sliding_window is not supported" },
	{ "\"layer_types\": [", "\"layer_types\": [\"sliding_attention\",",
	  "layer 0 is 'sliding_attention'" },
	{ "\"use_cache\": true", "\"mlp_bias\": true", "mlp_bias" },
	{ "\"use_cache\": true", "\"attention_bias\": 1", "attention_bias" },
	{ "\"use_cache\": true", "\"quantization_config\": {}",
	  "quantization_config" },
	{ "\"tie_word_embeddings\": false", "\"tie_word_embeddings\": 0",
	  "tie_word_embeddings" },
	{ "{", "[", "config.json" },
};

static char *read_text(const char *path)
{
	FILE *f = fopen(path, "r");
	char *s = mem_array(1 << 14, 1, &e);

	assert_non_null(f);
	assert_true(fread(s, 1, (1 << 14) - 1, f) > 0);
	fclose(f);
	return s;
}

static void bad_configurations_are_refused_by_name(void **state)
{
	char *text = read_text(GOLDEN "tiny-qwen2/config.json");
	char dir[] = "/tmp/r1-test-model.XXXXXX", path[64], target[4096];
	size_t i;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_non_null(realpath(GOLDEN "tiny-qwen2/model.safetensors",
	                         target));
	snprintf(path, sizeof(path), "%s/model.safetensors", dir);
	assert_int_equal(symlink(target, path), 0);
	snprintf(path, sizeof(path), "%s/config.json", dir);
	for (i = 0; i < sizeof(bad_configs) / sizeof(bad_configs[0]); i++) {
		const struct bad *b = &bad_configs[i];
		const char *at = strstr(text, b->from);
		FILE *f = fopen(path, "w");
		struct model *m;

		assert_non_null(at);
		fprintf(f, "%.*s%s%s", (int)(at - text), text, b->to,
		        at + strlen(b->from));
		fclose(f);
		e.msg[0] = 0;
		m = model_open(dir, cpu, NULL, &e);
		if (!b->says) {
			if (!m)
				fail_msg("%s: %s", b->to, e.msg);
		} else if (m || !strstr(e.msg, b->says)) {
			fail_msg("%s: '%s', wanted '%s'", b->to, e.msg,
			         b->says);
		}
		model_free(m);
	}
	unlink(path);
	assert_null(model_open(dir, cpu, NULL, &e));	/* no config.json */
	assert_int_equal(e.code, ERR_IO);
	snprintf(path, sizeof(path), "%s/model.safetensors", dir);
	unlink(path);
	rmdir(dir);
	assert_null(model_open(dir, cpu, NULL, &e));
	assert_int_equal(e.code, ERR_IO);
	assert_null(model_open(GOLDEN "tiny-qwen2/config.json", cpu, NULL,
	                       &e));	/* no GGUF */
	assert_int_equal(e.code, ERR_FORMAT);
	model_free(NULL);
	mem_free(text);
}

/* ---- metadata of a GGUF that is refused: bytes behind a key changed ---- */

struct bad_meta {
	const char *key;
	uint32_t value;		/* put where the key's value begins, or */
	const char *rename;	/* the key becomes this, of equal length */
	const char *says;
};

static const struct bad_meta bad_metas[] = {
	{ "qwen3.block_count", 0, NULL, "qwen3.block_count" },
	{ "qwen3.block_count", 513, NULL, "qwen3.block_count" },
	{ "qwen3.block_count", 4, NULL, "no tensor blk.3" },
	{ "qwen3.block_count", 0, "qwen3.block_cound", "no qwen3.block_count" },
	{ "qwen3.context_length", 0, NULL, "qwen3.context_length" },
	{ "qwen3.embedding_length", 64, NULL, "token_embd.weight" },
	{ "qwen3.feed_forward_length", 49, NULL, "ffn_gate" },
	{ "qwen3.attention.head_count_kv", 3, NULL, "4 attention heads over 3" },
	{ "qwen3.attention.key_length", 13, NULL, "beside keys of 13" },
	{ "qwen3.attention.layer_norm_rms_epsilon", 0x40000000, NULL, "is 2" },
	{ "qwen3.rope.freq_base", 0, NULL, "rope.freq_base is 0" },
	{ "general.architecture", 0, "general.architecturf",
	  "no general.architecture" },
};

static void bad_metadata_is_refused_by_name(void **state)
{
	char path[] = "/tmp/r1-test-gguf.XXXXXX";
	struct map file;
	size_t i, j;

	(void)state;
	assert_int_equal(map_open(&file, GOLDEN "tiny-qwen3/model.gguf", &e),
	                 0);
	close(mkstemp(path));
	for (i = 0; i < sizeof(bad_metas) / sizeof(bad_metas[0]); i++) {
		const struct bad_meta *b = &bad_metas[i];
		size_t n = strlen(b->key);
		uint8_t *copy = mem_array(file.n, 1, &e);
		struct model *m;
		FILE *f = fopen(path, "w");

		memcpy(copy, file.data, file.n);
		for (j = 0; memcmp(copy + j, b->key, n) != 0; j++)
			assert_true(j + n < file.n);
		if (b->rename)
			memcpy(copy + j, b->rename, n);
		else	/* behind the u32 that names the type */
			memcpy(copy + j + n + 4, &b->value, sizeof(b->value));
		assert_int_equal(fwrite(copy, 1, file.n, f), file.n);
		fclose(f);
		mem_free(copy);
		m = model_open(path, cpu, NULL, &e);
		if (m || !strstr(e.msg, b->says))
			fail_msg("%s %u: '%s', wanted '%s'", b->key, b->value,
			         e.msg, b->says);
		model_free(m);
	}
	unlink(path);
	map_close(&file);
}

static void trains_in_f32_what_is_stored_so(void **state)
{
	static const char *const path[] = { "tests/golden/tiny-llama3",
		"tests/golden/tiny-llama3/model.gguf" };
	enum dev_precision was = dev_ops(cpu)->precision(cpu, DEV_EXACT), then;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(path) / sizeof(*path); i++)
		assert_string_equal(model_precision("auto", path[i], cpu, &e),
		                    "f32");
	assert_null(model_precision("auto", "tests/golden/none", cpu, &e));
	assert_non_null(strstr(e.msg, "tests/golden/none"));
	assert_string_equal(model_precision("auto", NULL, cpu, &e), "f32");
	assert_string_equal(model_precision("q8", path[0], cpu, &e), "q8");
	then = dev_ops(cpu)->precision(cpu, was);
	assert_int_equal(then, DEV_EXACT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(folders_equal_transformers),
		cmocka_unit_test(ggufs_equal_transformers),
		cmocka_unit_test(threads_do_not_change_bytes),
		cmocka_unit_test(sequences_do_not_see_each_other),
		cmocka_unit_test(going_on_from_a_layer_is_the_same),
		cmocka_unit_test(a_tap_replaces_the_mlp),
		cmocka_unit_test(the_last_mlp_can_be_left_out),
		cmocka_unit_test(refuses_bad_batches),
		cmocka_unit_test(cached_generation_equals_the_batch),
		cmocka_unit_test(texts_side_by_side_equal_each_alone),
		cmocka_unit_test(fingerprints_tell_models_apart),
		cmocka_unit_test(bad_configurations_are_refused_by_name),
		cmocka_unit_test(bad_metadata_is_refused_by_name),
		cmocka_unit_test(trains_in_f32_what_is_stored_so),
	};

	return cmocka_run_group_tests(tests, open_cpu, close_cpu);
}
