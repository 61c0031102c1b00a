/* train_cases: activations and a configuration to train on, for the tests of
 * training. Include after cmocka.h. */
#ifndef R1_TRAIN_CASES_H
#define R1_TRAIN_CASES_H

#include <math.h>
#include <stdint.h>

#include "mem.h"
#include "train.h"
#include "train_impl.h"

enum { MAX_D = 12, MAX_L = 40, MAX_N = 32 };

static uint64_t rng_state;

static double uniform(void)	/* -1 .. 1 */
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return (double)(rng_state >> 11) * 0x1p-52 - 1;
}

static inline void fill(float *v, size_t n, double scale)
{
	size_t i;

	for (i = 0; i < n; i++)
		v[i] = (float)(uniform() * scale);
}

/* Correlated activations off centre: y is a bent function of x. */
static void activations(float *x, size_t d_in, float *y, size_t d_out,
                        size_t n)
{
	size_t i, j;

	for (i = 0; i < n; i++) {
		for (j = 0; j < d_in; j++)
			x[i * d_in + j] = (float)(uniform() * 2 + 3);
		for (j = 0; j < d_out; j++) {
			double a = x[i * d_in + j % d_in];
			double b = x[i * d_in + (j + 1) % d_in];

			y[i * d_out + j] = (float)(sin(3 * a) + b * b / 4 +
			                           uniform() / 4 - 1);
		}
	}
}

static struct train_cfg config(enum train_recipe recipe)
{
	struct train_cfg c = {
		.tc = { .d_in = 7, .d_out = 6, .n_latents = 40, .k = 3,
		        .skip = 1, .transcode = 1 },
		.recipe = recipe, .rule = TRAIN_ADAM, .lr = 0.01, .batch = 16,
		.dead_tokens = 1000000, .start_tokens = 32, .ridge = 1e-3,
		.row_norm = 0.6, .near = 0.5, .l0_weight = 1, .bandwidth = 0.2,
		.seed = 5
	};

	return c;
}

struct run {
	struct dev *d;
	struct train_work *w;
	struct train_layer *t;
	float *x, *y;
};

/* A layer in training, and n rows for it. */
static inline void run_open(struct run *r, const struct train_cfg *c,
                            int n_threads, size_t n)
{
	struct err e = { 0 };

	r->d = dev_open("cpu", n_threads, &e);
	r->w = train_work_new(c, r->d, &e);
	r->t = train_layer_new(c, 0, r->w, &e);
	if (!r->t)
		fail_msg("%s", e.msg);
	r->x = mem_scratch(n, c->tc.d_in * sizeof(float), &e);
	r->y = mem_scratch(n, c->tc.d_out * sizeof(float), &e);
	rng_state = 4101842887655102017u;
	activations(r->x, c->tc.d_in, r->y, c->tc.d_out, n);
}

static inline void run_close(struct run *r)
{
	train_layer_free(r->t);
	train_work_free(r->w);
	dev_free(r->d);
	mem_free(r->x);
	mem_free(r->y);
}

/* Rows [from, to) in blocks of `block`. */
static inline void feed(struct run *r, size_t from, size_t to, size_t block)
{
	const struct tc_cfg *c = &r->t->cfg.tc;
	struct err e = { 0 };

	while (from < to) {
		size_t n = to - from < block ? to - from : block;

		if (train_layer_push(r->t, r->x + from * c->d_in,
		                     r->y + from * c->d_out, n, &e) < 0)
			fail_msg("%s", e.msg);
		from += n;
	}
}

#endif
