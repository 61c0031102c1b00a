/* attr_cases: a model, its transcoders and what circuit-tracer made of a prompt,
 * for the tests of attribution. Include after cmocka.h. */
#ifndef R1_ATTR_CASES_H
#define R1_ATTR_CASES_H

#include <stdio.h>
#include <string.h>

#include "attr.h"
#include "json.h"
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

static inline const void *data(const struct bench *b, const char *name, size_t *n)
{
	const struct tensor *t = safet_find(b->want, name);

	assert_non_null(t);
	if (n)
		*n = t->n;
	return t->data;
}

static inline void set_up(struct bench *b, const char *name, int threads,
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

static inline void tear_down(struct bench *b)
{
	attr_free(b->attr);
	attr_set_free(b->set);
	model_free(b->model);
	dev_free(b->dev);
	safet_free(b->want);
	json_decref(b->json);
}

static inline struct attr_graph *graph(struct bench *b, const struct attr_opt *o)
{
	struct attr_graph *g;

	if (attr_target_top(b->attr, b->n - 1, 5, 0.95, &e) < 0 ||
	    attr_run(b->attr, o, NULL, &e) < 0 ||
	    !(g = attr_graph_new(b->attr, &e)))
		fail_msg("%s", e.msg);
	return g;
}

/* Row `row` of g over all its sources, in out. */
static inline const float *sources(const struct attr_graph *g, size_t row, float *out)
{
	attr_row_dense(g, row, out);
	return out;
}

#endif
