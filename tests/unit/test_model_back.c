#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "model_back.h"
#include "model_impl.h"

/*
 * The MLPs of a tiny model give way to y = A x + c, layer by layer; the slope of
 * the mean divergence along each layer's gradient of c, measured by running
 * the model twice, is that gradient's length.
 */

enum { LAYERS = 4, DIM = 64, ROWS = 24 };	/* at most */

static const size_t start[] = { 0, 9, 24 };
static struct err e;

struct stand_in {
	float a[LAYERS][DIM * DIM], c[LAYERS][DIM];
	double grad[LAYERS][DIM];
	size_t dim;
	int n_layers;
	int called;		/* layers the way back came by */
};

static float noise(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (float)(*seed >> 8) / (1 << 23) - 1;
}

static int replace(void *ctx, int layer, const float *x, float *y, size_t n,
                   struct err *err)
{
	const struct stand_in *s = ctx;
	size_t i, j, k, dim = s->dim;

	(void)err;
	for (i = 0; i < n; i++)
		for (j = 0; j < dim; j++) {
			double v = s->c[layer][j];

			for (k = 0; k < dim; k++)
				v += (double)s->a[layer][j * dim + k] *
				     x[i * dim + k];
			y[i * dim + j] = (float)v;
		}
	return 0;
}

static int back(void *ctx, int layer, const float *x, const float *g, float *dx,
                size_t n, struct err *err)
{
	struct stand_in *s = ctx;
	size_t i, j, k, dim = s->dim;

	(void)x;
	(void)err;
	assert_int_equal(layer, s->n_layers - 1 - s->called++);
	for (i = 0; i < n; i++)
		for (j = 0; j < dim; j++) {
			assert_true(dx[i * dim + j] == 0);
			s->grad[layer][j] += g[i * dim + j];
		}
	for (i = 0; i < n; i++)
		for (j = 0; j < dim; j++)
			for (k = 0; k < dim; k++)
				dx[i * dim + k] += g[i * dim + j] *
				    s->a[layer][j * dim + k];
	return 0;
}

struct bench {
	struct dev *d;
	struct model *m;
	struct model_run *run;
	struct model_ref *ref;
	struct model_back *back;
	uint32_t ids[ROWS], target[ROWS];
	struct model_batch batch;
	struct stand_in *s;
};

static void open_bench(struct bench *b, const char *name)
{
	const char *root = getenv("ROOT");
	double ce[ROWS];
	char path[256];
	uint32_t seed = 5;
	size_t i;
	int l;

	snprintf(path, sizeof(path), "%s/tests/golden/%s", root ? root : ".",
	         name);
	b->d = dev_open("cpu", 2, &e);
	b->m = model_open(path, b->d, NULL, &e);
	if (!b->m)
		fail_msg("%s", e.msg);
	assert_true(model_cfg(b->m)->d_model <= DIM);
	assert_true(model_cfg(b->m)->n_layers <= LAYERS);
	b->run = model_run_new(b->m, ROWS, &e);
	b->ref = model_ref_new(b->m, ROWS, &e);
	b->back = model_back_new(b->m, ROWS, &e);
	if (!b->back)
		fail_msg("%s", e.msg);
	b->s = mem_array(1, sizeof(*b->s), &e);
	b->s->dim = model_cfg(b->m)->d_model;
	b->s->n_layers = (int)model_cfg(b->m)->n_layers;
	for (l = 0; l < LAYERS; l++) {
		for (i = 0; i < DIM * DIM; i++)
			b->s->a[l][i] = noise(&seed) / 8;
		for (i = 0; i < DIM; i++)
			b->s->c[l][i] = noise(&seed) / 4;
	}
	for (i = 0; i < ROWS; i++) {
		b->ids[i] = (uint32_t)(i * 37 % 150);
		b->target[i] = i % 5 ? (uint32_t)(i * 11 % 150) : UINT32_MAX;
	}
	b->batch = (struct model_batch){ b->ids, ROWS, start, 2 };
	assert_int_equal(model_forward(b->run, &b->batch, b->s->n_layers - 1,
	                               NULL, NULL, &e), 0);
	assert_int_equal(model_ref_set(b->ref, b->run, model_resid(b->run),
	                               ROWS, b->target, ce, &e), 0);
}

static void close_bench(struct bench *b)
{
	model_back_free(b->back);
	model_ref_free(b->ref);
	model_run_free(b->run);
	model_free(b->m);
	dev_free(b->d);
	mem_free(b->s);
}

/* Mean divergence of the model with the stand-ins; g as model_back_ce's. */
static double divergence(struct bench *b, float *g)
{
	double ce[ROWS], kl[ROWS], sum = 0;
	uint8_t top1[ROWS];
	size_t i, n = 0;

	assert_int_equal(model_back_forward(b->back, b->run, &b->batch, replace,
	                                    b->s, &e), 0);
	if (model_back_ce(b->ref, b->run, model_resid(b->run), ROWS, b->target,
	                  ce, kl, top1, g, &e) < 0)
		fail_msg("%s", e.msg);
	for (i = 0; i < ROWS; i++)
		if (b->target[i] != UINT32_MAX) {
			sum += kl[i];
			n++;
		}
	return sum / (double)n;
}

static void check_model(const char *name)
{
	struct bench b;
	float g[ROWS * DIM];
	int l;

	memset(&b, 0, sizeof(b));
	open_bench(&b, name);
	assert_true(divergence(&b, g) > 0.01);
	if (model_back_run(b.back, &b.batch, g, back, b.s, &e) != 0)
		fail_msg("%s", e.msg);
	assert_int_equal(b.s->called, b.s->n_layers);
	for (l = 0; l < b.s->n_layers; l++) {
		double length = 0, h = 0.02, up, down, slope;
		float c[DIM], rest[ROWS * DIM];
		size_t i;

		for (i = 0; i < b.s->dim; i++)
			length += b.s->grad[l][i] * b.s->grad[l][i];
		length = sqrt(length);
		memcpy(c, b.s->c[l], sizeof(c));
		for (i = 0; i < b.s->dim; i++)
			b.s->c[l][i] = (float)(c[i] + h * b.s->grad[l][i] /
			                       length);
		up = divergence(&b, rest);
		for (i = 0; i < b.s->dim; i++)
			b.s->c[l][i] = (float)(c[i] - h * b.s->grad[l][i] /
			                       length);
		down = divergence(&b, rest);
		memcpy(b.s->c[l], c, sizeof(c));
		slope = (up - down) / (2 * h);
		if (!(fabs(slope - length) < 0.005 * length + 1e-5))
			fail_msg("%s layer %d: gradient of length %g, slope "
			         "along it %g", name, l, length, slope);
	}
	close_bench(&b);
}

static void gradients_reach_every_layer(void **state)
{
	(void)state;
	check_model("tiny-llama");
	check_model("tiny-llama3");
	check_model("tiny-qwen2");	/* biases */
	check_model("tiny-qwen3");	/* norms of queries and keys */
}

/* What cannot be differentiated says so. */
static void weights_left_as_stored_are_refused(void **state)
{
	struct dev *d = dev_open("cpu", 1, &e);
	struct model *m = model_open("tests/golden/tiny-llama", d, NULL, &e);

	(void)state;
	assert_non_null(m);
	m->layers[2].w[MODEL_V].type = DT_BF16;
	assert_null(model_back_new(m, 4, &e));
	assert_int_equal(e.code, ERR_RANGE);
	assert_non_null(strstr(e.msg, "f32"));
	model_free(m);
	dev_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gradients_reach_every_layer),
		cmocka_unit_test(weights_left_as_stored_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
