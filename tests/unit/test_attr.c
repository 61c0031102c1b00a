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

#include "attr.h"
#include "json.h"
#include "mem.h"
#include "model_neurons.h"
#include "safet.h"

struct bench {
	struct dev *dev;
	struct model *model;
	struct attr_set *set;
	struct attr *attr;
	struct safet *want;
	json_t *json;
	uint32_t ids[64];
	size_t n;
};

static struct err e;

static const void *data(const struct bench *b, const char *name, size_t *n)
{
	const struct tensor *t = safet_find(b->want, name);

	assert_non_null(t);
	if (n)
		*n = t->n;
	return t->data;
}

static void set_up(struct bench *b, const char *name, int threads,
                   const char *layers, size_t cache)
{
	char path[256];
	const int32_t *ids;
	size_t i;

	memset(b, 0, sizeof(*b));
	assert_non_null(b->dev = dev_open("cpu", threads, &e));
	snprintf(path, sizeof(path), "tests/golden/%s", name);
	if (!(b->model = model_open(path, b->dev, NULL, &e)))
		fail_msg("%s", e.msg);
	snprintf(path, sizeof(path), "tests/golden/%s/transcoders", name);
	if (!(b->set = attr_set_open(layers ? path : NULL, layers, b->model,
	                             cache, &e)))
		fail_msg("%s", e.msg);
	assert_non_null(b->attr = attr_new(b->model, b->set, &e));
	snprintf(path, sizeof(path), "tests/golden/%s/golden.safetensors",
	         name);
	assert_non_null(b->want = safet_open(path, &e));
	snprintf(path, sizeof(path), "tests/golden/%s/golden.json", name);
	assert_non_null(b->json = json_read(path, 1 << 20, &e));
	ids = data(b, "input_ids", &b->n);
	assert_in_range(b->n, 2, 64);
	for (i = 0; i < b->n; i++)
		b->ids[i] = (uint32_t)ids[i];
	if (attr_prompt(b->attr, b->ids, b->n, &e) < 0)
		fail_msg("%s", e.msg);
}

static void tear_down(struct bench *b)
{
	attr_free(b->attr);
	attr_set_free(b->set);
	model_free(b->model);
	dev_free(b->dev);
	safet_free(b->want);
	json_decref(b->json);
}

static struct attr_graph *graph(struct bench *b, const struct attr_opt *o)
{
	struct attr_graph *g;

	if (attr_target_top(b->attr, b->n - 1, 5, 0.95, &e) < 0 ||
	    attr_run(b->attr, o, NULL, &e) < 0 ||
	    !(g = attr_graph_new(b->attr, &e)))
		fail_msg("%s", e.msg);
	return g;
}

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

static const float *sources(const struct attr_graph *g, size_t row, float *out)
{
	attr_row_dense(g, row, out);
	return out;
}

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

/* ---- neurons ---- */

/* A pass with everything held in which MLP `layer` writes `less` less at pos;
 * what MLP `at` reads at position `there` is kept. */
struct held {
	struct bench *b;
	float *y;		/* [n_layers][n, d_model]: as it was */
	int layer, at;
	size_t pos, there;
	const float *less;	/* NULL: nothing less; y is filled */
	float *x;
};

static int held_tap(void *ctx, int layer, const float *x, float *y, size_t n,
                    struct err *err)
{
	const struct held *h = ctx;
	size_t dim = model_cfg(h->b->model)->d_model, i;
	float *was = h->y + (size_t)layer * n * dim;

	(void)err;
	if (layer == h->at)
		memcpy(h->x, x + h->there * dim, dim * sizeof(*x));
	if (!h->less) {
		memcpy(was, y, n * dim * sizeof(*y));
		return 0;
	}
	memcpy(y, was, n * dim * sizeof(*y));
	for (i = 0; layer == h->layer && i < dim; i++)
		y[h->pos * dim + i] -= h->less[i];
	return 0;
}

/* Every neuron a node: no error is left, and an edge is what the target loses,
 * by another way than the backward one, when a neuron writes nothing. */
static void neurons_are_nodes(void **state)
{
	struct attr_opt o = attr_opt_default;
	struct held h = { .layer = 0 };
	size_t dim, mlp, i, j, k, source, n_seen = 0;
	const struct model_cfg *c;
	float *out, *in, *less, *x0, *row, most;
	struct model_frozen *f;
	struct attr_graph *g;
	float *logits;
	struct bench b;

	(void)state;
	set_up(&b, "tiny-llama", 2, NULL, 0);
	c = model_cfg(b.model);
	dim = c->d_model;
	mlp = c->d_mlp;
	attr_neurons(b.attr, SIZE_MAX);
	b.n = 5;
	if (attr_prompt(b.attr, b.ids, b.n, &e) < 0)
		fail_msg("%s", e.msg);
	o.max_features = 300;
	g = graph(&b, &o);
	assert_int_equal(g->n_active, 4 * mlp * (b.n - 1));
	row = mem_array(g->n_nodes, sizeof(*row), &e);
	out = mem_array(mlp * dim, sizeof(*out), &e);
	in = mem_array(dim, sizeof(*in), &e);
	less = mem_array(dim, sizeof(*less), &e);
	x0 = mem_array(dim, sizeof(*x0), &e);
	h.x = mem_array(dim, sizeof(*h.x), &e);
	h.y = mem_array(c->n_layers * b.n * dim, sizeof(*h.y), &e);
	logits = mem_array(c->n_vocab, sizeof(*logits), &e);
	h.b = &b;
	assert_non_null(f = model_frozen_new(b.model, b.ids, b.n, NULL, NULL,
	                                     &e));
	for (i = 0; i < g->n_features; i += 7) {
		const struct attr_feature *t = &g->feature[i];
		double up = 0, gate;

		sources(g, i, row);
		most = 0;
		for (j = 0; j < g->n_nodes; j++)
			most = fabsf(row[j]) > most ? fabsf(row[j]) : most;
		for (j = 0; j < 4 * b.n; j++)
			assert_true(fabsf(row[g->n_features + j]) <= 1e-5f *
			            most);
		/* its strongest neuron is left out */
		for (source = j = 0; j < g->n_features; j++)
			if (fabsf(row[j]) > fabsf(row[source]))
				source = j;
		if (row[source] == 0)
			continue;
		h.layer = (int)g->feature[source].layer;
		h.pos = g->feature[source].pos;
		h.at = (int)t->layer;
		h.there = t->pos;
		h.less = NULL;
		assert_int_equal(model_neurons_out(b.model, h.layer, out, &e), 0);
		assert_int_equal(model_neurons_in(b.model, h.at, &t->latent, 1,
		                                  in, &e), 0);
		for (k = 0; k < dim; k++)
			less[k] = g->feature[source].value *
				out[g->feature[source].latent * dim + k];
		assert_int_equal(model_frozen_rerun(f, MODEL_HELD_NOTHING,
			held_tap, &h, 0, logits, &e), 0);
		memcpy(x0, h.x, dim * sizeof(*x0));
		h.less = less;
		assert_int_equal(model_frozen_rerun(f, MODEL_HELD_ALL, held_tap,
		                                    &h, 0, logits, &e), 0);
		for (k = 0; k < dim; k++)
			up += (double)in[k] * (double)x0[k];
		gate = (double)t->value / up;
		for (up = 0, k = 0; k < dim; k++)
			up += (double)in[k] * ((double)x0[k] - (double)h.x[k]);
		if (!(fabs(gate * up - (double)row[source]) <=
		      1e-3 * fabs((double)row[source])))
			fail_msg("neuron %zu on %zu: %g, measured %g", source,
			         i, (double)row[source], gate * up);
		n_seen++;
	}
	assert_true(n_seen > 20);
	model_frozen_free(f);
	mem_free(row);
	mem_free(out);
	mem_free(in);
	mem_free(less);
	mem_free(x0);
	mem_free(h.x);
	mem_free(h.y);
	mem_free(logits);
	attr_graph_free(g);
	tear_down(&b);
}

/* The strongest few of layers without transcoder, beside features; the rest is
 * error; a graph foretells direct effects on a logit just so. */
static void neurons_stand_in(void **state)
{
	struct attr_graph *g;
	struct attr_check check;
	size_t i, n[4] = { 0 };
	struct bench b;

	(void)state;
	set_up(&b, "tiny-llama", 2, "1,3", 0);
	attr_neurons(b.attr, 3);
	if (attr_prompt(b.attr, b.ids, b.n, &e) < 0)
		fail_msg("%s", e.msg);
	g = graph(&b, &attr_opt_default);
	for (i = 0; i < g->n_features; i++) {
		n[g->feature[i].layer]++;
		assert_true(!i || g->feature[i].layer > g->feature[i - 1].layer ||
		            g->feature[i].pos > g->feature[i - 1].pos ||
		            g->feature[i].latent > g->feature[i - 1].latent);
	}
	assert_int_equal(n[0], 3 * (b.n - 1));
	assert_int_equal(n[1], 8 * (b.n - 1));
	assert_int_equal(n[2], 3 * (b.n - 1));
	assert_memory_equal(g->neurons, ((uint8_t[]){ 1, 0, 1, 0 }), 4);
	if (attr_validate(b.attr, g, 40, &check, &e) < 0)
		fail_msg("%s", e.msg);
	assert_true(check.direct_error < 1e-3 && check.direct > 0.999);
	attr_graph_free(g);
	/* a neuron that is no feature cannot be a target */
	for (i = 0; i < 9; i++)
		if (attr_target_feature(b.attr, 0, (uint32_t)i, 5, &e) < 0)
			break;
	assert_true(i < 9 && e.code == ERR_RANGE);
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

/* Logits at the end under edits: circuit-tracer's feature_intervention. */
static void edits_are_circuit_tracers(void **state)
{
	static const struct { const char *name; enum model_held held; } kind[] = {
		{ "patterns", MODEL_HELD_PATTERNS },
		{ "free", MODEL_HELD_NOTHING }, { "all", MODEL_HELD_ALL }
	};
	struct safet *want = safet_open("tests/golden/attr-edits.safetensors",
	                                &e);
	float logits[512];
	struct bench b;
	size_t i, j, k, n;

	(void)state;
	assert_non_null(want);
	set_up(&b, "tiny-llama", 2, "all", 0);
	for (i = 0; i < 3; i++) {
		struct attr_intervention v = { 0 };
		struct attr_edit edit[4];
		const struct tensor *t;
		const float *x;
		char name[32];

		snprintf(name, sizeof(name), "edits.%zu", i);
		assert_non_null(t = safet_find(want, name));
		n = t->shape[0];
		for (x = t->data, j = 0; j < n; j++, x += 4)
			edit[j] = (struct attr_edit){
				(uint32_t)x[0], (uint32_t)x[2], (size_t)x[1],
				(size_t)x[1], ATTR_SET, x[3] };
		v.edit = edit;
		v.n_edits = n;
		for (k = 0; k < 3; k++) {
			snprintf(name, sizeof(name), "%s.%zu", kind[k].name, i);
			assert_non_null(t = safet_find(want, name));
			v.held = kind[k].held;
			if (attr_intervene(b.attr, &v, b.n - 1, logits, &e) < 0)
				fail_msg("%s", e.msg);
			for (x = t->data, j = 0; j < 512; j++)
				if (!(fabsf(logits[j] - x[j]) <= 2e-4f))
					fail_msg("%s: logit %zu is %g, wanted "
					         "%g", name, j, logits[j], x[j]);
		}
	}
	tear_down(&b);
	safet_free(want);
}

/* A range is its positions one by one; scaling by 1 and adding 0 are nothing;
 * an edit of the past shows in what comes. */
static void edits_may_be_ranges(void **state)
{
	float before[512], one[512], two[512];
	struct attr_edit edit[3] = {
		{ 1, 7, 3, 5, ATTR_SET, 2 }, { 1, 7, 3, 4, ATTR_SET, 2 },
		{ 1, 7, 5, 5, ATTR_SET, 2 }
	};
	struct attr_intervention v = { edit, 1, MODEL_HELD_NOTHING };
	uint32_t out[3], plain[3];
	size_t n;
	struct bench b;

	(void)state;
	set_up(&b, "tiny-llama", 1, "all", 0);
	assert_int_equal(attr_intervene(b.attr, &v, 9, one, &e), 0);
	v.edit = edit + 1;
	v.n_edits = 2;
	assert_int_equal(attr_intervene(b.attr, &v, 9, two, &e), 0);
	assert_memory_equal(one, two, sizeof(one));
	v.n_edits = 0;
	assert_int_equal(attr_intervene(b.attr, &v, 9, before, &e), 0);
	assert_memory_not_equal(one, before, sizeof(one));
	edit[0].kind = ATTR_SCALE;
	edit[0].value = 1;
	edit[0].to = SIZE_MAX;
	v.edit = edit;
	v.n_edits = 1;
	assert_int_equal(attr_intervene(b.attr, &v, 9, one, &e), 0);
	assert_memory_equal(one, before, sizeof(one));
	edit[0].kind = ATTR_ADD;
	edit[0].value = 0;
	assert_int_equal(attr_intervene(b.attr, &v, 9, one, &e), 0);
	assert_memory_equal(one, before, sizeof(one));
	assert_int_equal(attr_steer(b.attr, &v, b.ids, b.n, 3, plain, &n, &e),
	                 0);
	assert_int_equal(n, 3);
	edit[0].value = 50;
	edit[0].from = b.n;	/* only what is new */
	assert_int_equal(attr_steer(b.attr, &v, b.ids, b.n, 3, out, &n, &e),
	                 0);
	assert_int_equal(out[0], plain[0]);
	assert_true(n < 3 || out[1] != plain[1] || out[2] != plain[2]);
	edit[0].latent = 128;
	assert_int_equal(attr_intervene(b.attr, &v, 9, one, &e), -1);
	assert_int_equal(e.code, ERR_RANGE);
	edit[0].latent = 1;
	edit[0].layer = 4;
	assert_int_equal(attr_intervene(b.attr, &v, 9, one, &e), -1);
	tear_down(&b);
}

/* With everything held, what the graph foretells is what happens. */
static void graphs_foretell(void **state)
{
	struct attr_check c;
	struct attr_graph *g;
	struct bench b;

	(void)state;
	set_up(&b, "tiny-qwen2", 2, "all", (size_t)1 << 30);
	g = graph(&b, &attr_opt_default);
	if (attr_validate(b.attr, g, 40, &c, &e) < 0)
		fail_msg("%s", e.msg);
	assert_int_equal(c.n, 40);
	assert_in_range((int)(c.direct * 1000), 999, 1000);
	assert_true(c.direct_error < 1e-4);
	assert_true(c.total > 0.3 && c.total <= 1);
	assert_true(c.sign > 0.5 && c.sign <= 1 + 1e-9);
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
		cmocka_unit_test(neurons_are_nodes),
		cmocka_unit_test(neurons_stand_in),
		cmocka_unit_test(a_feature_may_be_the_target),
		cmocka_unit_test(edits_are_circuit_tracers),
		cmocka_unit_test(edits_may_be_ranges),
		cmocka_unit_test(graphs_foretell),
		cmocka_unit_test(a_stop_leaves_a_graph),
		cmocka_unit_test(a_state_goes_on),
		cmocka_unit_test(plans_come_near),
		cmocka_unit_test(misuse_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
