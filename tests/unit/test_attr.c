/*
 * Attribution against circuit-tracer: what tests/golden/tiny-*'s
 * golden.safetensors holds of its graphs.
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

#include "attr_cases.h"
#include "mem.h"


static void features_agree(const struct bench *b)
{
	const struct attr_feature *f;
	size_t n = attr_features(b->attr, &f), i;
	const int32_t *want = data(b, "active_features", NULL);
	const float *value = data(b, "activation_values", &i);

	assert_int_equal(n, i);
	for (i = 0; i < n; i++, want += 3) {
		assert_int_equal(f[i].layer, want[0]);
		assert_int_equal(f[i].pos, want[1]);
		assert_int_equal(f[i].latent, want[2]);
		if (!(fabsf(f[i].value - value[i]) <= 1e-5f * value[i]))
			fail_msg("value %zu is %g, wanted %g", i, f[i].value,
			         value[i]);
	}
}

static void rows_agree(const struct bench *b, const struct attr_graph *g)
{
	const float *want = data(b, "adjacency", NULL);
	float *row = mem_array(g->n_nodes, sizeof(*row), &e), max;
	size_t i, j;

	for (i = 0; i < g->n_features + g->n_targets; i++) {
		const float *w = want + attr_row_node(g, i) * g->n_nodes;

		attr_row_dense(g, i, row);
		for (max = 0, j = 0; j < g->n_nodes; j++)
			max = fabsf(w[j]) > max ? fabsf(w[j]) : max;
		for (j = 0; j < g->n_nodes; j++)
			if (!(fabsf(row[j] - w[j]) <= 2e-5f * max))
				fail_msg("row %zu, source %zu: %g, wanted %g",
				         i, j, row[j], w[j]);
	}
	mem_free(row);
}

static void scores_agree(const struct bench *b, const struct attr_graph *g)
{
	const uint8_t *nodes = data(b, "node_mask", NULL);
	const uint8_t *edges = data(b, "edge_mask", NULL);
	const float *cumulative = data(b, "cumulative", NULL);
	struct attr_scores s;
	struct attr_pruned p;
	size_t i, j, n, row;

	assert_int_equal(attr_score(g, &s, &e), 0);
	assert_float_equal(s.replacement, json_number_value(
		json_object_get(b->json, "replacement_score")), 1e-5);
	assert_float_equal(s.completeness, json_number_value(
		json_object_get(b->json, "completeness_score")), 1e-5);
	assert_float_equal(s.from_features + s.from_errors + s.from_tokens, 1,
	                   1e-9);
	assert_int_equal(attr_prune(g, 0.8, 0.98, &p, &e), 0);
	for (i = n = 0; i < g->n_nodes; i++) {
		assert_int_equal(p.keep[i], nodes[i]);
		if (!(fabs(p.cumulative[i] - (double)cumulative[i]) <= 1e-5))
			fail_msg("node %zu: cumulative %g, wanted %g", i,
			         p.cumulative[i], (double)cumulative[i]);
	}
	for (i = 0; i < g->n_features + g->n_targets; i++) {
		row = attr_row_node(g, i);
		for (j = 0; j < g->n_nodes; j++)
			n += edges[row * g->n_nodes + j];
		for (j = p.first[i]; j < p.first[i + 1]; j++)
			assert_int_equal(edges[row * g->n_nodes +
			                       p.edge[j].source], 1);
	}
	assert_int_equal(p.first[g->n_features + g->n_targets], n);
	attr_pruned_free(&p);
}

static void targets_agree(const struct bench *b, const struct attr_graph *g)
{
	const float *p = data(b, "logit_probabilities", NULL);
	const json_t *ids = json_object_get(b->json, "logit_tokens");
	size_t i;

	assert_int_equal(g->n_targets, json_array_size(ids));
	for (i = 0; i < g->n_targets; i++) {
		assert_int_equal(g->target[i].id, json_integer_value(
			json_array_get(ids, i)));
		assert_float_equal(g->target[i].weight, p[i], 1e-5);
	}
}

static void golden(const char *name)
{
	struct attr_graph *g;
	struct bench b;

	set_up(&b, name, 2, "all", 0);
	features_agree(&b);
	g = graph(&b, &attr_opt_default);
	targets_agree(&b, g);
	rows_agree(&b, g);
	scores_agree(&b, g);
	attr_graph_free(g);
	tear_down(&b);
}

static void llama_is_circuit_tracers(void **state)
{
	(void)state;
	golden("tiny-llama");
}

static void qwen2_is_circuit_tracers(void **state)
{
	(void)state;
	golden("tiny-qwen2");
}

/* ---- without an original to compare with ---- */

/* Two graphs of the same features; b's rows may be in another memory. */
static void same_graph(const struct attr_graph *a, const struct attr_graph *b)
{
	float *x = mem_array(a->n_nodes, sizeof(*x), &e);
	float *y = mem_array(a->n_nodes, sizeof(*y), &e);
	size_t i;

	assert_int_equal(a->n_nodes, b->n_nodes);
	assert_int_equal(a->n_features, b->n_features);
	assert_memory_equal(a->feature, b->feature,
	                    a->n_features * sizeof(*a->feature));
	for (i = 0; i < a->n_features + a->n_targets; i++)
		assert_memory_equal(sources(a, i, x), sources(b, i, y),
		                    a->n_nodes * sizeof(*x));
	mem_free(x);
	mem_free(y);
}

/* The same bytes whatever the threads, the memory for rows and transcoders,
 * or a prompt before. */
static void nothing_else_matters(void **state)
{
	struct attr_opt o = attr_opt_default;
	struct attr_graph *one, *two;
	struct bench b;

	(void)state;
	o.max_features = 150;
	o.batch = 16;
	o.update = 2;
	set_up(&b, "tiny-qwen2", 1, "all", 0);
	one = graph(&b, &o);
	assert_int_equal(one->n_features, 150);
	assert_int_equal(one->n_active, 736);
	tear_down(&b);

	set_up(&b, "tiny-qwen2", 3, "all", (size_t)1 << 30);
	if (attr_prompt(b.attr, b.ids, 7, &e) < 0 ||
	    attr_prompt(b.attr, b.ids, b.n, &e) < 0)
		fail_msg("%s", e.msg);
	o.rows_bytes = 1000;
	two = graph(&b, &o);
	same_graph(one, two);
	attr_graph_free(one);
	attr_graph_free(two);
	tear_down(&b);
}

/* Small tiles give the same effects but for rounding. */
static void tiles_do_not_matter(void **state)
{
	struct attr_opt o = attr_opt_default;
	struct attr_graph *g;
	struct bench b;

	(void)state;
	o.tile_bytes = 1;
	set_up(&b, "tiny-llama", 2, "all", 0);
	g = graph(&b, &o);
	rows_agree(&b, g);
	attr_graph_free(g);
	tear_down(&b);
}

/* The features that are chosen are the same, in any number. */
static void fewer_features_are_a_part(void **state)
{
	const float *want;
	struct attr_opt o = attr_opt_default;
	const struct attr_feature *f;
	struct attr_graph *g;
	struct bench b;
	size_t i, j, n, k, *from;
	float *row, max;

	(void)state;
	o.max_features = 90;
	o.batch = 30;
	o.update = 1;
	set_up(&b, "tiny-llama", 2, "all", 0);
	g = graph(&b, &o);
	want = data(&b, "adjacency", NULL);
	n = attr_features(b.attr, &f);
	row = mem_array(g->n_nodes, sizeof(*row), &e);
	from = mem_array(g->n_nodes, sizeof(*from), &e);
	for (i = j = 0; i < g->n_nodes; i++) {
		if (i >= g->n_features) {
			from[i] = i - g->n_features + n;
			continue;
		}
		while (memcmp(&f[j], &g->feature[i], sizeof(*f)))
			assert_true(++j < n);
		from[i] = j;
	}
	for (i = 0; i < g->n_features + g->n_targets; i++) {
		const float *w = want + from[attr_row_node(g, i)] *
		                 (n + g->n_nodes - g->n_features);

		sources(g, i, row);
		for (max = 0, k = 0; k < g->n_nodes; k++)
			max = fabsf(w[from[k]]) > max ? fabsf(w[from[k]]) : max;
		for (k = 0; k < g->n_nodes; k++)
			if (!(fabsf(row[k] - w[from[k]]) <= 2e-5f * max))
				fail_msg("row %zu, source %zu: %g, wanted %g",
				         i, k, row[k], w[from[k]]);
	}
	mem_free(row);
	mem_free(from);
	attr_graph_free(g);
	tear_down(&b);
}

/* Each MLP output but position 0's is an error. */
static void no_transcoders_leave_errors(void **state)
{
	struct attr_graph *g;
	struct attr_scores s;
	struct bench b;
	size_t i;
	float *row;
	int some = 0;

	(void)state;
	set_up(&b, "tiny-llama", 2, NULL, 0);
	g = graph(&b, &attr_opt_default);
	assert_int_equal(g->n_features, 0);
	assert_int_equal(g->n_nodes, 5 * b.n + g->n_targets);
	row = mem_array(g->n_nodes, sizeof(*row), &e);
	sources(g, 0, row);
	for (i = 0; i < 4 * b.n; i++)
		some += row[i] != 0;
	/* those of the last layer reach it at its own position only */
	assert_int_equal(some, 3 * (b.n - 1) + 1);
	assert_int_equal(attr_score(g, &s, &e), 0);
	assert_float_equal(s.from_features, 0, 0);
	mem_free(row);
	attr_graph_free(g);
	tear_down(&b);
}

static void missing_layers_are_errors(void **state)
{
	const int *layers;
	struct attr_graph *g;
	struct bench b;
	size_t i;

	(void)state;
	set_up(&b, "tiny-llama", 2, "1,3", 0);
	assert_int_equal(attr_set_layers(b.set, &layers), 2);
	assert_int_equal(layers[0], 1);
	assert_int_equal(layers[1], 3);
	g = graph(&b, &attr_opt_default);
	assert_int_equal(g->n_features, 2 * 8 * (b.n - 1));
	for (i = 0; i < g->n_features; i++)
		assert_true(g->feature[i].layer == 1 ||
		            g->feature[i].layer == 3);
	attr_graph_free(g);
	tear_down(&b);
}

/* A feature as target has the row it has as a node. */
static void a_feature_may_be_the_target(void **state)
{
	const float *want;
	const struct attr_feature *f;
	struct attr_graph *g;
	struct bench b;
	size_t n, i, j;
	float *row, max = 0;

	(void)state;
	set_up(&b, "tiny-llama", 2, "all", 0);
	want = data(&b, "adjacency", NULL);
	n = attr_features(b.attr, &f);
	for (i = 0; f[i].layer < 2 || f[i].pos < 9; i++)
		assert_true(i < n);
	if (attr_target_feature(b.attr, f[i].layer, f[i].latent, f[i].pos,
	                        &e) < 0 ||
	    attr_target_diff(b.attr, 11, 3, 4, &e) < 0 ||
	    attr_run(b.attr, &attr_opt_default, NULL, &e) < 0 ||
	    !(g = attr_graph_new(b.attr, &e)))
		fail_msg("%s", e.msg);
	row = mem_array(g->n_nodes, sizeof(*row), &e);
	sources(g, g->n_features, row);
	want += i * (g->n_nodes - 2 + 5);	/* the golden has 5 targets */
	for (j = 0; j < g->n_nodes - 2; j++)
		max = fabsf(want[j]) > max ? fabsf(want[j]) : max;
	for (j = 0; j < g->n_nodes - 2; j++)
		assert_float_equal(row[j], want[j], 2e-5 * max);
	/* nothing behind position 11 reaches the other */
	sources(g, g->n_features + 1, row);
	for (j = 0; j < g->n_features; j++)
		if (g->feature[j].pos > 11)
			assert_true(row[j] == 0);
	mem_free(row);
	attr_graph_free(g);
	tear_down(&b);
}

static int after_three(void *ctx, size_t done, size_t total)
{
	(void)done;
	(void)total;
	return ++*(int *)ctx > 3;
}

static void a_stop_leaves_a_graph(void **state)
{
	struct attr_opt o = attr_opt_default;
	struct attr_graph *g;
	struct bench b;
	int calls = 0;
	const struct attr_watch w = { after_three, &calls };

	(void)state;
	set_up(&b, "tiny-llama", 2, "all", 0);
	o.batch = 10;
	o.update = 1;
	o.max_features = 100;
	assert_int_equal(attr_target_top(b.attr, b.n - 1, 5, 0.95, &e), 0);
	assert_int_equal(attr_run(b.attr, &o, &w, &e), 1);
	assert_non_null(g = attr_graph_new(b.attr, &e));
	assert_in_range(g->n_features, 1, 99);
	attr_graph_free(g);
	tear_down(&b);
}

static char kept[64];

static int after_some(void *ctx, size_t done, size_t total)
{
	(void)total;
	return done >= *(size_t *)ctx;
}

/* Stopped anywhere and gone on, the rows are those of one run. */
static void a_state_goes_on(void **state)
{
	struct attr_opt o = attr_opt_default;
	size_t limit[] = { 6, 40, 77 }, i;
	struct attr_graph *whole, *parts;
	struct bench b;
	FILE *f;

	(void)state;
	snprintf(kept, sizeof(kept), "/tmp/attr-state.%d", (int)getpid());
	o.max_features = 120;
	o.batch = 10;
	o.update = 3;
	o.tile_bytes = 200000;
	set_up(&b, "tiny-llama", 2, "all", 0);
	whole = graph(&b, &o);
	o.state = kept;
	o.rows_bytes = 3000;
	for (i = 0; i < 3; i++) {
		const struct attr_watch w = { after_some, &limit[i] };

		assert_int_equal(attr_prompt(b.attr, b.ids, b.n, &e), 0);
		assert_int_equal(attr_target_top(b.attr, b.n - 1, 5, 0.95, &e),
		                 0);
		if (attr_run(b.attr, &o, &w, &e) != 1)
			fail_msg("%s", e.msg);
		assert_int_equal(access(kept, F_OK), 0);
	}
	/* other limits, another prompt: not this state */
	o.batch = 11;
	assert_int_equal(attr_run(b.attr, &o, NULL, &e), -1);
	assert_int_equal(e.code, ERR_FORMAT);
	assert_non_null(strstr(e.msg, "is of another prompt"));
	o.batch = 10;
	assert_int_equal(attr_prompt(b.attr, b.ids, b.n, &e), 0);
	parts = graph(&b, &o);
	same_graph(whole, parts);
	assert_int_equal(access(kept, F_OK), -1);
	assert_non_null(f = fopen(kept, "w"));
	fputs("no state", f);
	fclose(f);
	assert_int_equal(attr_target_top(b.attr, b.n - 1, 5, 0.95, &e), 0);
	assert_int_equal(attr_run(b.attr, &o, NULL, &e), -1);
	unlink(kept);
	attr_graph_free(whole);
	attr_graph_free(parts);
	tear_down(&b);
}

static void plans_come_near(void **state)
{
	struct attr_opt o = attr_opt_default;
	struct attr_plan p, q;
	struct bench b;

	(void)state;
	o.max_features = 200;
	set_up(&b, "tiny-llama", 1, "all", 0);
	assert_true(attr_prompt_bytes(b.attr, 400) >
	            attr_prompt_bytes(b.attr, 40));
	assert_int_equal(attr_target_top(b.attr, b.n - 1, 5, 0.95, &e), 0);
	assert_int_equal(attr_plan(b.attr, &o, 1, &p, &e), 0);
	assert_int_equal(p.features, 200);
	assert_true(p.seconds > 0 && p.seconds < 60);
	assert_true(p.cpu_seconds > 0 && p.cpu_seconds < 60);
	assert_true(p.rows_bytes > 200 * 100 && p.rows_bytes < 200 * 4000);
	assert_int_equal(p.disk_bytes, 0);
	assert_true(p.peak_bytes > p.rows_bytes);
	o.rows_bytes = 1000;
	assert_int_equal(attr_plan(b.attr, &o, 0, &q, &e), 0);
	assert_true(q.seconds == 0);
	assert_int_equal(q.disk_bytes, p.rows_bytes - 1000);
	assert_true(mem_resident() > 1 << 20);
	assert_true(mem_resident() <= mem_resident_most() + (64 << 10));
	assert_true(mem_available() > 0);
	tear_down(&b);
}

static void misuse_is_named(void **state)
{
	struct attr_opt o = attr_opt_default;
	struct bench b;
	uint32_t *ids;

	(void)state;
	set_up(&b, "tiny-llama", 1, "all", 0);
	ids = mem_array(513, sizeof(*ids), &e);
	assert_int_equal(attr_prompt(b.attr, ids, 513, &e), -1);
	assert_string_equal(e.msg, "the prompt has 513 tokens, the model takes "
	                    "512");
	assert_int_equal(attr_prompt(b.attr, ids, 0, &e), -1);
	assert_string_equal(e.msg, "the prompt is empty");
	assert_int_equal(attr_prompt(b.attr, ids, 1, &e), -1);
	assert_non_null(strstr(e.msg, "one token"));
	ids[1] = 512;
	assert_int_equal(attr_prompt(b.attr, ids, 2, &e), -1);
	mem_free(ids);
	assert_int_equal(attr_prompt(b.attr, b.ids, b.n, &e), 0);
	assert_int_equal(attr_target_top(b.attr, b.n, 5, 0.95, &e), -1);
	assert_string_equal(e.msg, "position 24 wanted, the prompt has 0 to "
	                    "23");
	assert_int_equal(attr_target_token(b.attr, 3, 512, &e), -1);
	assert_int_equal(attr_target_token(b.attr, 0, 1, &e), -1);
	assert_int_equal(attr_target_feature(b.attr, 4, 0, 3, &e), -1);
	assert_int_equal(attr_target_feature(b.attr, 1, 128, 3, &e), -1);
	assert_string_equal(e.msg, "latent 128 wanted, layer 1 has 0 to 127");
	o.rows_bytes = 1000;
	o.scratch = "/nonexistent";
	assert_int_equal(attr_target_token(b.attr, 3, 5, &e), 0);
	assert_int_equal(attr_run(b.attr, &o, NULL, &e), -1);
	assert_int_equal(e.code, ERR_IO);
	assert_non_null(strstr(e.msg, "/nonexistent/attr."));
	assert_null(attr_set_open("tests/golden/tiny-llama/transcoders", "4",
	                          b.model, 0, &e));
	assert_null(attr_set_open("tests/golden", "all", b.model, 0, &e));
	tear_down(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(llama_is_circuit_tracers),
		cmocka_unit_test(qwen2_is_circuit_tracers),
		cmocka_unit_test(nothing_else_matters),
		cmocka_unit_test(tiles_do_not_matter),
		cmocka_unit_test(fewer_features_are_a_part),
		cmocka_unit_test(no_transcoders_leave_errors),
		cmocka_unit_test(missing_layers_are_errors),
		cmocka_unit_test(a_feature_may_be_the_target),
		cmocka_unit_test(a_stop_leaves_a_graph),
		cmocka_unit_test(a_state_goes_on),
		cmocka_unit_test(plans_come_near),
		cmocka_unit_test(misuse_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
