/*
 * Evaluation against PyTorch: the files of tests/golden/eval hold what
 * tests/oracle/tceval_oracle.py measured on the tiny models.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "eval.h"
#include "json.h"
#include "mem.h"

struct bench {
	struct dev *dev;
	struct model *model;
	struct eval_set set;
	struct eval_text text;
	struct eval_opt opt;
	json_t *want;
	char dir[256];		/* the transcoders' */
};

static size_t option(const json_t *want, const char *name)
{
	return (size_t)json_integer_value(
		json_object_get(json_object_get(want, "options"), name));
}

static size_t ids_of(const json_t *list, uint32_t *ids, size_t max)
{
	size_t i, n = json_array_size(list);

	assert_in_range(n, 1, max);
	for (i = 0; i < n; i++)
		ids[i] = (uint32_t)json_integer_value(json_array_get(list, i));
	return n;
}

static void set_up(struct bench *b, const char *name, int threads)
{
	char path[256];
	const json_t *seq;
	uint32_t ids[64];
	struct err e = { 0 };
	size_t i;

	memset(b, 0, sizeof(*b));
	snprintf(path, sizeof(path), "tests/golden/eval/%s.json", name);
	assert_non_null(b->want = json_read(path, 1 << 20, &e));
	assert_non_null(b->dev = dev_open("cpu", threads, &e));
	snprintf(path, sizeof(path), "tests/golden/%s", name);
	if (!(b->model = model_open(path, b->dev, NULL, &e)))
		fail_msg("%s", e.msg);
	snprintf(b->dir, sizeof(b->dir), "tests/golden/%s/transcoders", name);
	if (eval_set_open(&b->set, b->dir, "all", b->model, &e) < 0)
		fail_msg("%s", e.msg);
	json_array_foreach(json_object_get(b->want, "text"), i, seq)
		assert_int_equal(eval_text_add(&b->text, ids,
		                               ids_of(seq, ids, 64), &e), 0);
	b->opt = (struct eval_opt) {
		.k = option(b->want, "k"), .skip = option(b->want, "skip"),
		.fvu_tokens = option(b->want, "fvu_tokens"),
		.ce_tokens = option(b->want, "ce_tokens"),
		.ablation_tokens = option(b->want, "ablation_tokens"),
		.batch = 50, .zero = 1, .mean = 1
	};
}

static void tear_down(struct bench *b)
{
	json_decref(b->want);
	eval_text_free(&b->text);
	eval_set_free(&b->set);
	model_free(b->model);
	dev_free(b->dev);
}

/* Every number of `want` stands in `got` within tolerance; recovered shares
 * divide by small numbers and get more. */
static void same_numbers(const char *what, const json_t *got,
                         const json_t *want)
{
	const char *key;
	json_t *w;

	json_object_foreach((json_t *)want, key, w) {
		const json_t *g = json_object_get(got, key);
		double tol = strncmp(key, "ce_recovered", 12) ? 2e-5 : 1e-3;

		if (!json_is_number(w)) {
			if (!json_equal((json_t *)g, w))
				fail_msg("%s: %s differs", what, key);
			continue;
		}
		if (!json_is_number(g) ||
		    !(fabs(json_number_value(g) - json_number_value(w)) <=
		      tol * (1 + fabs(json_number_value(w)))))
			fail_msg("%s: %s is %.9g, PyTorch has %.9g", what, key,
			         json_number_value(g), json_number_value(w));
	}
}

static json_t *evaluate(struct bench *b, struct eval_result *r)
{
	struct err e = { 0 };
	json_t *obj = json_object();

	if (eval_run(&b->opt, b->model, &b->set, &b->text, NULL, r, &e) < 0 ||
	    eval_result_json(r, obj, &e) < 0)
		fail_msg("%s", e.msg);
	return obj;
}

static void oracle(const char *name)
{
	struct eval_result r;
	struct bench b;
	const json_t *want;
	json_t *got;
	char what[64];
	size_t i;

	set_up(&b, name, 2);
	got = evaluate(&b, &r);
	json_array_foreach(json_object_get(b.want, "layers"), i, want) {
		snprintf(what, sizeof(what), "%s layer %zu", name, i);
		same_numbers(what, json_array_get(json_object_get(got,
		             "layers"), i), want);
	}
	same_numbers("all", json_object_get(got, "all"),
	             json_object_get(b.want, "all"));
	assert_int_equal(r.fvu_positions, json_integer_value(
		json_object_get(b.want, "fvu_positions")));
	assert_int_equal(r.ce_predictions, json_integer_value(
		json_object_get(b.want, "ce_predictions")));
	assert_int_equal(r.ablation_predictions, json_integer_value(
		json_object_get(b.want, "ablation_predictions")));
	assert_true(fabs(r.ce - json_number_value(
		json_object_get(b.want, "ce"))) < 1e-5);
	assert_true(fabs(r.ablation_ce - json_number_value(
		json_object_get(b.want, "ablation_ce"))) < 1e-5);
	json_decref(got);
	eval_result_free(&r);
	tear_down(&b);
}

static void llama(void **state)
{
	(void)state;
	oracle("tiny-llama");
}

static void qwen2(void **state)
{
	(void)state;
	oracle("tiny-qwen2");
}

/* Threads change no byte; batches no more than the last digits. */
static void threads_and_batches(void **state)
{
	static const size_t batches[] = { 50, 1, 1000 };
	char *text[3];
	struct err e = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++) {
		struct eval_result r;
		struct bench b;
		json_t *obj;

		set_up(&b, "tiny-llama", i ? 3 : 1);
		obj = evaluate(&b, &r);
		text[i] = eval_json_text(obj, &e);
		assert_non_null(text[i]);
		json_decref(obj);
		eval_result_free(&r);
		b.opt.batch = batches[i];
		obj = evaluate(&b, &r);
		same_numbers("batch", json_object_get(obj, "all"),
		             json_object_get(b.want, "all"));
		json_decref(obj);
		eval_result_free(&r);
		tear_down(&b);
	}
	assert_string_equal(text[0], text[1]);
	for (i = 0; i < 3; i++)
		mem_free(text[i]);
}

static void some_layers(void **state)
{
	struct eval_result all, some;
	struct eval_set two;
	struct err e = { 0 };
	struct bench b;
	char *csv;

	(void)state;
	set_up(&b, "tiny-qwen2", 2);
	json_decref(evaluate(&b, &all));
	assert_int_equal(eval_set_open(&two, b.dir, "1,3", b.model, &e), 0);
	b.opt.zero = b.opt.mean = 0;
	assert_int_equal(eval_run(&b.opt, b.model, &two, &b.text, NULL, &some,
	                          &e), 0);
	assert_int_equal(some.n, 2);
	assert_int_equal(some.layer[1].layer, 3);
	assert_true(fabs(some.layer[1].fvu - all.layer[3].fvu) < 1e-6);
	assert_true(fabs(some.layer[1].replaced.ce_increase -
	                 all.layer[3].replaced.ce_increase) < 1e-5);
	assert_true(isnan(some.layer[1].recovered));
	assert_int_equal(some.ablation_predictions, 0);
	/* not measured: an empty cell, a null */
	assert_non_null(csv = eval_csv_text(&some, &e));
	assert_non_null(strstr(csv, ",,,,,"));
	mem_free(csv);
	eval_set_free(&two);
	eval_result_free(&all);
	eval_result_free(&some);
	tear_down(&b);
}

static void generations(void **state)
{
	static const char *const models[] = { "tiny-llama", "tiny-qwen2" };
	size_t i, j, n, n_want, n_out;
	uint32_t ids[64], want[64], out[64];
	const json_t *g;
	struct err e = { 0 };
	struct bench b;
	int with, ended;

	(void)state;
	for (i = 0; i < 2; i++) {
		set_up(&b, models[i], 2);
		json_array_foreach(json_object_get(b.want, "generations"), j,
		                   g) {
			n = ids_of(json_object_get(g, "prompt"), ids, 64);
			for (with = 0; with < 2; with++) {
				n_want = ids_of(json_object_get(g, with ?
				                "replaced" : "original"), want,
				                64);
				if (eval_generate(b.model,
				                  with ? &b.set : NULL, 0,
				                  b.opt.skip, ids, n,
				                  option(b.want, "gen_tokens"),
				                  out, &n_out, &ended, &e) < 0)
					fail_msg("%s", e.msg);
				assert_int_equal(n_out, n_want);
				assert_memory_equal(out, want,
				                    n_out * sizeof(*out));
			}
		}
		tear_down(&b);
	}
}

/* Stand-ins whose effect is known: an autoencoder that gives back what it is
 * given (latents for both signs) costs nothing, a transcoder of zeros costs
 * what zero-ablation costs. */
static void known_effects(void **state)
{
	enum { D = 64 };
	struct tc_cfg c = { .d_in = D, .d_out = D, .n_latents = 2 * D,
	                    .k = 2 * D };
	const struct dev_ops *ops;
	float *w = calloc(2 * D * D, sizeof(*w));
	struct eval_result r;
	struct err e = { 0 };
	struct bench b;
	size_t i;

	(void)state;
	assert_non_null(w);
	for (i = 0; i < D; i++) {
		w[i * D + i] = 1;
		w[(D + i) * D + i] = -1;
	}
	set_up(&b, "tiny-llama", 2);
	ops = dev_ops(b.dev);
	for (i = 0; i < (size_t)b.set.n; i++) {
		struct tc *t = tc_new(&c, b.dev, &e);

		assert_non_null(t);
		assert_int_equal(ops->put(b.dev, t->w_enc, w, 2 * D * D *
		                          sizeof(*w), &e), 0);
		assert_int_equal(ops->put(b.dev, t->w_dec, w, 2 * D * D *
		                          sizeof(*w), &e), 0);
		tc_free(b.set.tc[i]);
		b.set.tc[i] = t;
	}
	json_decref(evaluate(&b, &r));
	for (i = 0; i < (size_t)r.n; i++) {
		assert_true(r.layer[i].fvu < 1e-10);
		assert_true(fabs(r.layer[i].l0 - D) < 0.5);
		assert_true(fabs(r.layer[i].replaced.ce_increase) < 1e-5);
		assert_true(fabs(r.layer[i].replaced.kl) < 1e-5);
		assert_true(r.layer[i].replaced.top1 == 1);
		assert_true(fabs(r.layer[i].recovered - 1) < 1e-3);
	}
	assert_true(fabs(r.all.replaced.ce_increase) < 1e-5);
	eval_result_free(&r);

	c.transcode = 1;
	b.opt.ablation_tokens = 0;
	for (i = 0; i < (size_t)b.set.n; i++) {
		tc_free(b.set.tc[i]);
		assert_non_null(b.set.tc[i] = tc_new(&c, b.dev, &e));
	}
	json_decref(evaluate(&b, &r));
	for (i = 0; i < (size_t)r.n; i++) {
		assert_true(r.layer[i].replaced.ce_increase ==
		            r.layer[i].zero.ce_increase);
		assert_true(r.layer[i].recovered == 0);
		assert_int_equal(r.layer[i].dead, 2 * D);
		assert_true(isnan(r.layer[i].act_mean));
	}
	assert_true(r.all.replaced.kl == r.all.zero.kl);
	eval_result_free(&r);
	free(w);
	tear_down(&b);
}

static void refuses(struct bench *b, enum err_code code, const char *part)
{
	struct eval_result r;
	struct err e = { 0 };

	assert_int_equal(eval_run(&b->opt, b->model, &b->set, &b->text, NULL,
	                          &r, &e), -1);
	assert_int_equal(e.code, code);
	if (!strstr(e.msg, part))
		fail_msg("wanted '%s' in: %s", part, e.msg);
}

static void bad_text(void **state)
{
	struct eval_text none = { 0 }, keep;
	struct bench b;

	(void)state;
	set_up(&b, "tiny-llama", 1);
	b.opt.skip = 40;
	refuses(&b, ERR_FORMAT, "too few tokens");
	b.opt.skip = 39;	/* one position, nothing to predict from it */
	b.opt.fvu_tokens = b.opt.ce_tokens = 0;
	refuses(&b, ERR_FORMAT, "too few tokens");
	b.opt.skip = 1;
	b.opt.k = 129;
	refuses(&b, ERR_USAGE, "128 latents");
	b.opt.k = 0;
	keep = b.text;
	b.text = none;
	refuses(&b, ERR_FORMAT, "no tokens");
	b.text = keep;
	tear_down(&b);
}

/* A transcoder of the given shape in a folder of its own. */
static void write_one(const struct bench *b, const char *dir, int layer,
                      uint32_t width, int transcode)
{
	struct tc_cfg c = { .d_in = width, .d_out = width, .n_latents = 16,
	                    .k = 4, .transcode = transcode };
	struct err e = { 0 };
	struct tc *t = tc_new(&c, b->dev, &e);

	assert_non_null(t);
	if (tc_write(t, dir, layer, &e) < 0)
		fail_msg("%s", e.msg);
	tc_free(t);
}

static void remove_one(const char *dir, int layer)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/layers.%d.mlp/cfg.json", dir, layer);
	unlink(path);
	snprintf(path, sizeof(path), "%s/layers.%d.mlp/sae.safetensors", dir,
	         layer);
	unlink(path);
	snprintf(path, sizeof(path), "%s/layers.%d.mlp", dir, layer);
	rmdir(path);
}

static void refuses_set(const struct bench *b, const char *dir,
                        const char *layers, const char *part)
{
	struct eval_set s;
	struct err e = { 0 };

	assert_int_equal(eval_set_open(&s, dir, layers, b->model, &e), -1);
	if (!strstr(e.msg, part))
		fail_msg("wanted '%s' in: %s", part, e.msg);
}

static void bad_checkpoints(void **state)
{
	char dir[] = "/tmp/test_eval.XXXXXX";
	struct bench b;
	struct eval_set s;
	struct err e = { 0 };

	(void)state;
	set_up(&b, "tiny-llama", 1);
	assert_non_null(mkdtemp(dir));
	refuses_set(&b, dir, "all", "holds no layers");
	refuses_set(&b, "/nonexistent/folder", "all", "/nonexistent/folder");
	refuses_set(&b, b.dir, "2,x", "2,x");
	write_one(&b, dir, 2, 64, 1);
	refuses_set(&b, dir, "1-2", "has no layers.1.mlp");
	assert_int_equal(eval_set_open(&s, dir, "all", b.model, &e), 0);
	assert_int_equal(s.n, 1);
	eval_set_free(&s);
	write_one(&b, dir, 2, 48, 1);
	refuses_set(&b, dir, "all", "48");
	remove_one(dir, 2);
	write_one(&b, dir, 4, 64, 1);
	refuses_set(&b, dir, "all", "last layer is 3");
	remove_one(dir, 4);
	rmdir(dir);
	tear_down(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(llama),
		cmocka_unit_test(qwen2),
		cmocka_unit_test(threads_and_batches),
		cmocka_unit_test(some_layers),
		cmocka_unit_test(generations),
		cmocka_unit_test(known_effects),
		cmocka_unit_test(bad_text),
		cmocka_unit_test(bad_checkpoints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
