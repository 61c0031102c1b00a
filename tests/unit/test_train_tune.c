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
#include "tc.h"
#include "train_impl.h"
#include "train_set_impl.h"
#include "train_tune.h"

/*
 * The gradient a step gives each weight, read from Adam's first moment, against
 * the divergence's difference quotient along it, all through the tiny model. Biases
 * keep all latents active but one that never is: a step of the quotient must not
 * change which are, as the divergence has kinks and jumps there.
 */

enum { LAYERS = 4, DIM = 64, LATENTS = 24, ROWS = 30 };

static char dir[64];
static struct err e;
static const size_t start[] = { 0, 16, 30 };
static uint32_t ids[ROWS];

struct bench {
	struct dev *d;
	struct model *m;
	struct train_set *set;
	struct train_tune *tune;
	struct model_batch batch;
};

static struct train_set_cfg config(void)
{
	struct train_set_cfg c = {
		.train = {
			.tc = { .d_in = DIM, .d_out = DIM, .n_latents = LATENTS,
			        .k = LATENTS - 1, .skip = 1, .transcode = 1 },
			.recipe = TRAIN_R1, .rule = TRAIN_ADAM, .lr = 1e-3,
			.batch = ROWS, .start_tokens = ROWS, .seed = 1
		},
		.layers = { 0, 1, 2, 3 }, .n_layers = LAYERS, .out = dir,
		.log_every = 1, .input = "test"
	};

	return c;
}

static void write_transcoders(struct dev *d)
{
	struct tc_cfg c = config().train.tc;
	uint32_t seed = 7;
	int l;

	for (l = 0; l < LAYERS; l++) {
		struct tc *t = tc_new(&c, d, &e);
		float *part[] = { t->w_enc, t->b_enc, t->w_dec, t->b_dec,
		                  t->w_skip };
		size_t n[] = { LATENTS * DIM, LATENTS, LATENTS * DIM, DIM,
		               DIM * DIM }, i, j;

		for (i = 0; i < 5; i++)
			for (j = 0; j < n[i]; j++) {
				seed = seed * 1664525u + 1013904223u;
				part[i][j] = ((float)(seed >> 8) / (1 << 23) -
				              1) / 8;
			}
		for (i = 0; i < LATENTS; i++)
			t->b_enc[i] += i ? 3 : -100;
		assert_int_equal(tc_write(t, dir, l, &e), 0);
		tc_free(t);
	}
}

static void open_bench(struct bench *b, struct train_set_cfg *c)
{
	const char *root = getenv("ROOT");
	char path[256];
	size_t i;

	snprintf(path, sizeof(path), "%s/tests/golden/tiny-llama",
	         root ? root : ".");
	b->d = dev_open("cpu", 2, &e);
	b->m = model_open(path, b->d, NULL, &e);
	if (!b->m)
		fail_msg("%s", e.msg);
	write_transcoders(b->d);
	b->set = train_set_new(c, b->d, &e);
	assert_int_equal(train_set_init(b->set, dir, &e), 0);
	b->tune = train_tune_new(b->set, b->m, 1, &e);
	if (!b->tune)
		fail_msg("%s", e.msg);
	for (i = 0; i < ROWS; i++)
		ids[i] = (uint32_t)(i * 41 % 500);
	b->batch = (struct model_batch){ ids, ROWS, start, 2 };
}

static void close_bench(struct bench *b)
{
	train_tune_free(b->tune);
	train_set_free(b->set);
	model_free(b->m);
	dev_free(b->d);
}

static double loss_now(struct bench *b)
{
	if (train_tune_step(b->tune, &b->batch, &e) < 0)
		fail_msg("%s", e.msg);
	return b->set->layer[0].t->stats.loss;
}

/* All weights of all layers, in order, and back. */
static size_t weights(struct bench *b, float *to, const float *from)
{
	struct train_param p[TRAIN_PARAMS];
	size_t at = 0;
	int l, i, n;

	for (l = 0; l < LAYERS; l++) {
		n = train_params(b->set->layer[l].t, p);
		for (i = 0; i < n; i++) {
			size_t m = p[i].rows * p[i].cols;

			if (to)
				memcpy(to + at, p[i].p->w, m * sizeof(float));
			if (from)
				memcpy(p[i].p->w, from + at, m * sizeof(float));
			at += m;
		}
	}
	return at;
}

static void gradients_reach_every_weight(void **state)
{
	struct train_set_cfg c = config();
	struct train_param p[TRAIN_PARAMS];
	float *was, *grad;
	struct bench b;
	size_t n, at = 0, i;
	int l, k, n_params;

	(void)state;
	open_bench(&b, &c);
	n = weights(&b, NULL, NULL);
	was = mem_array(n, sizeof(float), &e);
	grad = mem_array(n, sizeof(float), &e);
	/* the first step gives the weights their normalised form */
	c.train.lr = 0;
	for (l = 0; l < LAYERS; l++)
		b.set->layer[l].t->cfg.lr = 0;
	loss_now(&b);
	weights(&b, was, NULL);
	for (l = 0; l < LAYERS; l++) {
		n_params = train_params(b.set->layer[l].t, p);
		for (k = 0; k < n_params; k++) {
			size_t m = p[k].rows * p[k].cols;

			for (i = 0; i < m; i++)
				grad[at + i] = p[k].p->s1[i] / (1 - 0.9f);
			at += m;
		}
	}
	for (at = 0, l = 0; l < LAYERS; l++) {
		n_params = train_params(b.set->layer[l].t, p);
		for (k = 0; k < n_params; k++) {
			size_t m = p[k].rows * p[k].cols;
			double length = 0, h = 0.005, up, down, slope;
			float *w = p[k].p->w;

			for (i = 0; i < m; i++)
				length += pow(grad[at + i], 2);
			length = sqrt(length);
			assert_true(length > 1e-4);
			for (i = 0; i < m; i++)
				w[i] = (float)(was[at + i] +
				               h * grad[at + i] / length);
			up = loss_now(&b);
			for (i = 0; i < m; i++)
				w[i] = (float)(was[at + i] -
				               h * grad[at + i] / length);
			down = loss_now(&b);
			weights(&b, NULL, was);
			slope = (up - down) / (2 * h);
			if (!(fabs(slope - length) < 0.01 * length + 2e-5))
				fail_msg("layer %d %s: gradient of length %g, "
				         "slope along it %g", l, p[k].name,
				         length, slope);
			at += m;
		}
	}
	mem_free(was);
	mem_free(grad);
	close_bench(&b);
}

static void what_cannot_be_tuned_is_refused(void **state)
{
	struct train_set_cfg c = config(), few = config();
	struct train_set *s;
	struct bench b;

	(void)state;
	open_bench(&b, &c);
	few.n_layers = 3;
	s = train_set_new(&few, b.d, &e);
	assert_null(train_tune_new(s, b.m, 1, &e));
	assert_non_null(strstr(e.msg, "3 layers to tune together"));
	train_set_free(s);
	c.train.tc.variant = TC_BATCHTOPK;
	s = train_set_new(&c, b.d, &e);
	assert_null(train_tune_new(s, b.m, 1, &e));
	assert_non_null(strstr(e.msg, "only TopK"));
	train_set_free(s);
	close_bench(&b);
}

static int make_dir(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test_tune_XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	char cmd[128];

	(void)state;
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gradients_reach_every_weight),
		cmocka_unit_test(what_cannot_be_tuned_is_refused),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
