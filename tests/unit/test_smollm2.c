/* A real model, quantised: SmolLM2-135M-Instruct Q4_1 against transformers on
 * the de-quantised weights (tests/golden/smollm2.json). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dev_cpu.h"
#include "dev_cpu_q8.h"
#include "mem.h"
#include "model.h"
#include "norm.h"
#include "par.h"
#include "smollm2_cases.h"

enum { MAX_IDS = 256 };

static struct err e;
static struct dev *cpu;
static struct model *model;
static json_t *golden;

static int open_model(void **state)
{
	char path[SMOLLM2_PATH];

	(void)state;
	if (smollm2_path(path) < 0)
		return -1;
	golden = json_load_file("tests/golden/smollm2.json", 0, NULL);
	cpu = dev_open("cpu", par_cores(), &e);
	if (golden && cpu)
		model = model_open(path, cpu, NULL, &e);
	if (!model)
		print_error("%s\n", e.msg);
	return model ? 0 : -1;
}

static int close_model(void **state)
{
	(void)state;
	model_free(model);
	dev_free(cpu);
	json_decref(golden);
	return 0;
}

static size_t get_ids(const json_t *list, uint32_t *ids)
{
	size_t i, n = json_array_size(list);

	assert_in_range(n, 1, MAX_IDS);
	for (i = 0; i < n; i++)
		ids[i] = (uint32_t)json_integer_value(json_array_get(list, i));
	return n;
}

static double number(const json_t *list, size_t i)
{
	return json_number_value(json_array_get(list, i));
}

/* The golden norms have six digits. */
static int check_norms(void *ctx, int layer, const float *x, float *y, size_t n,
                       struct err *err)
{
	const json_t *prompt = ctx;
	const json_t *in = json_array_get(json_object_get(prompt,
		"mlp_in_norm"), (size_t)layer);
	const json_t *out = json_array_get(json_object_get(prompt,
		"mlp_out_norm"), (size_t)layer);
	size_t d = model_cfg(model)->d_model, i;

	(void)err;
	assert_int_equal(json_array_size(in), n);
	for (i = 0; i < n; i++) {
		assert_true(fabs(norm_of(x + i * d, d) / number(in, i) - 1) <
		            1e-4);
		assert_true(fabs(norm_of(y + i * d, d) / number(out, i) - 1) <
		            1e-4);
	}
	return 0;
}

/* A pass' mean cross-entropy over its n ids, less the golden one. */
static double ce_off(struct model_run *r, struct model_ref *ref,
                     const json_t *prompt, const uint32_t *ids, size_t n)
{
	uint32_t targets[MAX_IDS];
	double ce[MAX_IDS], sum = 0;
	size_t i;

	for (i = 0; i < n; i++)
		targets[i] = i + 1 < n ? ids[i + 1] : UINT32_MAX;
	assert_int_equal(model_ref_set(ref, r, model_resid(r), n, targets, ce,
	                               &e), 0);
	for (i = 0; i + 1 < n; i++)
		sum += ce[i];
	return sum / (double)(n - 1) - json_number_value(
		json_object_get(prompt, "ce_nats"));
}

static void prompts_equal_transformers(void **state)
{
	const struct model_cfg *c = model_cfg(model);
	struct model_run *r = model_run_new(model, MAX_IDS, &e);
	struct model_ref *ref = model_ref_new(model, MAX_IDS, &e);
	const json_t *prompts = json_object_get(golden, "prompts"), *top;
	json_t *p;
	float *logits = mem_array(c->n_vocab, sizeof(*logits), &e);
	uint32_t ids[MAX_IDS];
	size_t i, j, n;

	(void)state;
	assert_non_null(r);
	assert_non_null(ref);
	assert_non_null(logits);
	json_array_foreach(prompts, i, p) {
		size_t start[2] = { 0, 0 };
		struct model_batch b = { ids, 0, start, 1 };

		n = b.n = start[1] = get_ids(json_object_get(p, "ids"), ids);
		assert_int_equal(model_forward(r, &b, (int)c->n_layers - 1,
			check_norms, p, &e), 0);
		assert_int_equal(model_logits(r, model_resid(r) + (n - 1) *
			c->d_model, 1, logits, &e), 0);
		json_array_foreach(json_object_get(p, "last_top10"), j, top)
			assert_true(fabs(logits[(size_t)number(top, 0)] -
			                 number(top, 1)) < 2e-3);
		assert_true(fabs(ce_off(r, ref, p, ids, n)) < 1e-4);
	}
	mem_free(logits);
	model_ref_free(ref);
	model_run_free(r);
}

static void greedy_continuations_equal_transformers(void **state)
{
	const json_t *prompts = json_object_get(golden, "prompts"), *p;
	size_t n_vocab = model_cfg(model)->n_vocab, i, j, v, n, n_want;
	float *logits = mem_array(n_vocab, sizeof(*logits), &e);
	struct model_gen *g = model_gen_new(model, MAX_IDS, &e);
	uint32_t ids[MAX_IDS], want[MAX_IDS];

	(void)state;
	assert_non_null(g);
	assert_non_null(logits);
	json_array_foreach(prompts, i, p) {
		n = get_ids(json_object_get(p, "ids"), ids);
		n_want = get_ids(json_object_get(p, "greedy64"), want);
		model_gen_cut(g, 0);
		for (j = 0; j < n_want; j++) {
			uint32_t best = 0;

			assert_int_equal(model_gen_feed(g, j ? &want[j - 1]
				: ids, j ? 1 : n, logits, NULL, NULL, &e), 0);
			for (v = 1; v < n_vocab; v++)
				if (logits[v] > logits[best])
					best = (uint32_t)v;
			assert_int_equal(best, want[j]);
		}
	}
	model_gen_free(g);
	mem_free(logits);
}

/* What a pass rounded to 8 bits is off by: the golden cross-entropy, and the
 * lengths of what enters and leaves the MLPs. */
struct off {
	const json_t *prompt;
	double sum;
	size_t n;
};

static int add_off(void *ctx, int layer, const float *x, float *y, size_t n,
                   struct err *err)
{
	static const char *const key[2] = { "mlp_in_norm", "mlp_out_norm" };
	struct off *o = ctx;
	size_t d = model_cfg(model)->d_model, i, k;

	(void)err;
	for (k = 0; k < 2; k++)
		for (i = 0; i < n; i++, o->n++)
			o->sum += fabs(norm_of((k ? y : x) + i * d, d) / number(
				json_array_get(json_object_get(o->prompt,
				key[k]), (size_t)layer), i) - 1);
	return 0;
}

static void q8_is_near(void **state)
{
	const json_t *prompts = json_object_get(golden, "prompts"), *p;
	struct dev *d = dev_open("cpu", par_cores(), &e);
	char path[SMOLLM2_PATH];
	struct model *m;
	struct model_run *r;
	struct model_ref *ref;
	uint32_t ids[MAX_IDS];
	double off;
	size_t i, n;

	(void)state;
	assert_non_null(d);
	assert_int_equal(smollm2_path(path), 0);
	dev_set_precision(d, "q8");
	m = model_open(path, d, NULL, &e);
	assert_non_null(m);
	r = model_run_new(m, MAX_IDS, &e);
	ref = model_ref_new(m, MAX_IDS, &e);
	assert_non_null(r);
	assert_non_null(ref);
	json_array_foreach(prompts, i, p) {
		size_t start[2] = { 0, 0 };
		struct model_batch b = { ids, 0, start, 1 };
		struct off o = { .prompt = p };

		n = b.n = start[1] = get_ids(json_object_get(p, "ids"), ids);
		assert_int_equal(model_forward(r, &b, (int)model_cfg(m)->
			n_layers - 1, add_off, &o, &e), 0);
		off = ce_off(r, ref, p, ids, n);
		assert_true(o.sum / (double)o.n < 0.02);
		assert_true(fabs(off) < 0.05);
		print_message("lengths %.4f, cross-entropy %+.4f\n",
		              o.sum / (double)o.n, off);
	}
	model_ref_free(ref);
	model_run_free(r);
	model_free(m);
	dev_free(d);
}

/* Its weights are of 4 bits; without AVX2 nothing is gained by that. */
static void trains_in_q8(void **state)
{
	struct dev *d = dev_open("cpu", 1, &e);
	char path[SMOLLM2_PATH];
	int level;

	(void)state;
	assert_non_null(d);
	assert_int_equal(smollm2_path(path), 0);
	for (level = 0; level < 3; level++) {
		dev_cpu_limit(d, level);
		assert_string_equal(model_precision("auto", path, d, &e),
		                    dev_cpu_q8_level(level) ? "q8" : "f32");
	}
	dev_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prompts_equal_transformers),
		cmocka_unit_test(greedy_continuations_equal_transformers),
		cmocka_unit_test(q8_is_near),
		cmocka_unit_test(trains_in_q8),
	};

	return cmocka_run_group_tests(tests, open_model, close_model);
}
