/*
 * Attribution on a real model: SmolLM2-135M-Instruct with transcoders of noise
 * (TopK of 16 of 256 latents) against circuit-tracer
 * (tests/golden/attr-smollm2.safetensors, by tests/oracle/attr_oracle.py):
 * features chosen in turns, some rows, masks and scores.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attr.h"
#include "mem.h"
#include "par.h"
#include "safet.h"
#include "smollm2_cases.h"

enum { LATENTS = 256, K = 16 };

static struct err e;
static struct dev *cpu;
static struct model *model;
static struct safet *want;
static char dir[] = "/tmp/attr-test.XXXXXX";

/* The oracle's generator. */
static void noise(float *x, size_t n, uint32_t seed, float scale)
{
	size_t i;

	for (i = 0; i < n; i++) {
		seed = seed * 1664525u + 1013904223u;
		x[i] = ((float)(seed >> 8) / (1 << 23) - 1) * scale;
	}
}

static int write_set(void)
{
	uint32_t d = model_cfg(model)->d_model, l;
	const struct tc_cfg c = { .d_in = d, .d_out = d, .n_latents = LATENTS,
		.k = K, .skip = 1, .transcode = 1 };
	struct tc *t = tc_new(&c, cpu, &e);
	int rc = t ? 0 : -1;

	for (l = 0; rc == 0 && l < model_cfg(model)->n_layers; l++) {
		noise(t->w_enc, (size_t)LATENTS * d, 4 * l + 1, 1);
		noise(t->b_enc, LATENTS, 4 * l + 2, 1);
		noise(t->w_dec, (size_t)LATENTS * d, 4 * l + 3,
		      1 / sqrtf((float)d));
		noise(t->w_skip, (size_t)d * d, 4 * l + 4, 1 / (float)d);
		rc = tc_write(t, dir, (int)l, &e);
	}
	tc_free(t);
	return rc;
}

static int open_all(void **state)
{
	char path[SMOLLM2_PATH];

	(void)state;
	if (smollm2_path(path) < 0)
		return -1;
	cpu = dev_open("cpu", par_cores(), &e);
	want = safet_open("tests/golden/attr-smollm2.safetensors", &e);
	if (cpu && want)
		model = model_open(path, cpu, NULL, &e);
	if (model && mkdtemp(dir) && write_set() == 0)
		return 0;
	print_error("%s\n", e.msg);
	return -1;
}

static int close_all(void **state)
{
	char cmd[64];

	(void)state;
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	model_free(model);
	dev_free(cpu);
	safet_free(want);
	return system(cmd);
}

static const void *data(const char *name, size_t *n)
{
	const struct tensor *t = safet_find(want, name);

	assert_non_null(t);
	if (n)
		*n = t->n;
	return t->data;
}

static void same_features(struct attr *a, const struct attr_graph *g)
{
	const struct attr_feature *f;
	const int32_t *active, *chosen;
	size_t n, m, i;

	active = data("active_features", &n);
	chosen = data("selected_features", &m);
	assert_int_equal(attr_features(a, &f) * 3, n);
	for (i = 0; i < n / 3; i++) {
		assert_int_equal(f[i].layer, active[3 * i]);
		assert_int_equal(f[i].pos, active[3 * i + 1]);
		assert_int_equal(f[i].latent, active[3 * i + 2]);
	}
	assert_int_equal(g->n_features, m);
	for (i = 0; i < m; i++)
		assert_memory_equal(&g->feature[i], &f[chosen[i]], sizeof(*f));
}

static void same_rows(const struct attr_graph *g)
{
	size_t n, i, j, first = g->n_nodes - g->n_targets;
	const int32_t *number = data("row_numbers", &n);
	const float *rows = data("rows", NULL);
	float *row = mem_array(g->n_nodes, sizeof(*row), &e), most;

	for (i = 0; i < n; i++, rows += g->n_nodes) {
		size_t r = (size_t)number[i];

		attr_row_dense(g, r < first ? r : r - first + g->n_features,
		               row);
		for (most = 0, j = 0; j < g->n_nodes; j++)
			most = fmaxf(most, fabsf(rows[j]));
		for (j = 0; j < g->n_nodes; j++)
			if (!(fabsf(row[j] - rows[j]) <= 1e-4f * most))
				fail_msg("row %zu, source %zu: %g, wanted %g of "
				         "%g", r, j, (double)row[j],
				         (double)rows[j], (double)most);
	}
	mem_free(row);
}

static void same_measures(const struct attr_graph *g)
{
	const uint8_t *keep = data("node_mask", NULL);
	const float *cumulative = data("cumulative", NULL);
	const float *score = data("scores", NULL);
	const int32_t *n_edges = data("n_edges", NULL);
	size_t n_rows = g->n_features + g->n_targets, i;
	struct attr_scores s;
	struct attr_pruned p;

	assert_int_equal(attr_score(g, &s, &e), 0);
	assert_float_equal(s.replacement, score[0], 1e-4);
	assert_float_equal(s.completeness, score[1], 1e-4);
	assert_int_equal(attr_prune(g, 0.8, 0.98, &p, &e), 0);
	for (i = 0; i < g->n_nodes; i++) {
		assert_int_equal(p.keep[i], keep[i]);
		assert_float_equal(p.cumulative[i], cumulative[i], 1e-4);
	}
	/* theirs are summed in single precision: an edge more or less */
	assert_in_range(p.first[n_rows], *n_edges - 2, *n_edges + 2);
	attr_pruned_free(&p);
}

static void graph_is_circuit_tracers(void **state)
{
	struct attr_set *set = attr_set_open(dir, "all", model, 0, &e);
	struct attr *a = set ? attr_new(model, set, &e) : NULL;
	struct attr_opt o = attr_opt_default;
	uint32_t ids[64];
	struct attr_graph *g;
	const int32_t *x;
	size_t n, i;

	(void)state;
	assert_non_null(a);
	x = data("input_ids", &n);
	assert_in_range(n, 2, 64);
	for (i = 0; i < n; i++)
		ids[i] = (uint32_t)x[i];
	o.max_features = 300;
	o.batch = 64;
	o.update = 2;
	if (attr_prompt(a, ids, n, &e) < 0 ||
	    attr_target_top(a, n - 1, 10, 0.95, &e) < 0 ||
	    attr_run(a, &o, NULL, &e) < 0 || !(g = attr_graph_new(a, &e)))
		fail_msg("%s", e.msg);
	x = data("logit_tokens", &n);
	assert_int_equal(g->n_targets, n);
	for (i = 0; i < n; i++) {
		assert_int_equal(g->target[i].id, x[i]);
		assert_float_equal(g->target[i].weight, ((const float *)data(
			"logit_probabilities", NULL))[i], 1e-4);
	}
	same_features(a, g);
	same_rows(g);
	same_measures(g);
	attr_graph_free(g);
	attr_free(a);
	attr_set_free(set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(graph_is_circuit_tracers),
	};

	return cmocka_run_group_tests(tests, open_all, close_all);
}
