/*
 * Interventions, against circuit-tracer's in golden.safetensors; neurons as
 * nodes, against the model with a neuron taken away.
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
#include "model_neurons.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(neurons_are_nodes),
		cmocka_unit_test(neurons_stand_in),
		cmocka_unit_test(edits_are_circuit_tracers),
		cmocka_unit_test(edits_may_be_ranges),
		cmocka_unit_test(graphs_foretell),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
