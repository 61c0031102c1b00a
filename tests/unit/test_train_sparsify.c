/* The recipe sparsify takes the steps that sparsify takes: fixture and variants
 * from tests/oracle/sparsify_steps.py. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "safet.h"
#include "train.h"
#include "train_impl.h"

enum { D = 16, LATENTS = 96, K = 4, BATCH = 32, STEPS = 24 };

static struct safet *fixture(void)
{
	const char *root = getenv("ROOT");
	struct err e = { 0 };
	char path[512];
	struct safet *s;

	snprintf(path, sizeof(path),
	         "%s/tests/golden/sparsify_steps.safetensors",
	         root ? root : ".");
	s = safet_open(path, &e);
	if (!s)
		fail_msg("%s", e.msg);
	return s;
}

static void values(const struct safet *s, const char *variant, const char *key,
                   float *out, size_t n)
{
	struct err e = { 0 };
	const struct tensor *t;
	char name[64];

	snprintf(name, sizeof(name), "%s%s%s", variant, *variant ? "." : "",
	         key);
	t = safet_find(s, name);
	if (!t || t->n != n || tensor_f32(t, 0, n, out, &e) < 0)
		fail_msg("%s: not there, or not %zu values", name, n);
}

struct curve {
	float loss[STEPS], fvu[STEPS];
};

static int note(void *ctx, const struct train_stats *s, struct err *e)
{
	struct curve *c = ctx;

	(void)e;
	c->loss[s->step - 1] = (float)s->loss;
	c->fvu[s->step - 1] = (float)s->fvu;
	return 0;
}

/* Share of values further apart than a tenth of the largest move an optimiser
 * can have made: sign(g) of a g near 0 may fall either way. */
static double apart(const float *a, const float *b, size_t n, double far)
{
	size_t i, bad = 0;

	for (i = 0; i < n; i++)
		bad += !(fabsf(a[i] - b[i]) <= far);
	return (double)bad / (double)n;
}

static void steps(const char *variant, struct train_cfg c)
{
	static float x[STEPS * BATCH * D], y[STEPS * BATCH * D];
	static float want[LATENTS * D];
	struct safet *s = fixture();
	struct err e = { 0 };
	struct dev *d = dev_open("cpu", 2, &e);
	struct train_work *w;
	struct train_layer *t;
	struct tc *from, *to;
	struct curve got, ref;
	size_t i;

	c.lr = train_default_lr(&c);
	w = train_work_new(&c, d, &e);
	t = train_layer_new(&c, 0, w, &e);
	from = tc_new(&c.tc, d, &e);
	assert_true(t && from);
	values(s, variant, "encoder.weight", from->w_enc, LATENTS * D);
	values(s, variant, "encoder.bias", from->b_enc, LATENTS);
	values(s, variant, "W_dec", from->w_dec, LATENTS * D);
	values(s, variant, "b_dec", from->b_dec, D);
	if (c.tc.skip)
		values(s, variant, "W_skip", from->w_skip, D * D);
	values(s, "", "x", x, STEPS * BATCH * D);
	values(s, "", "y", y, STEPS * BATCH * D);
	values(s, variant, "loss", ref.loss, STEPS);
	values(s, variant, "fvu", ref.fvu, STEPS);
	assert_int_equal(train_layer_init(t, from, &e), 0);
	train_layer_on_step(t, note, &got);
	if (train_layer_push(t, c.tc.transcode ? x : y, y, STEPS * BATCH,
	                     &e) < 0)
		fail_msg("%s", e.msg);
	for (i = 0; i < STEPS; i++) {
		if (!(fabsf(got.loss[i] - ref.loss[i]) <= 2e-5f * ref.loss[i]))
			fail_msg("%s: loss of step %zu is %.7g, sparsify's "
			         "%.7g", variant, i + 1, got.loss[i],
			         ref.loss[i]);
		if (!(fabsf(got.fvu[i] - ref.fvu[i]) <= 2e-5f * ref.fvu[i]))
			fail_msg("%s: FVU of step %zu is %.7g, sparsify's %.7g",
			         variant, i + 1, got.fvu[i], ref.fvu[i]);
	}
	to = train_layer_export(t, &e);
	assert_non_null(to);
	values(s, variant, "end.encoder.weight", want, LATENTS * D);
	assert_true(apart(to->w_enc, want, LATENTS * D, c.lr) < 0.01);
	values(s, variant, "end.encoder.bias", want, LATENTS);
	assert_true(apart(to->b_enc, want, LATENTS, c.lr) < 0.02);
	values(s, variant, "end.b_dec", want, D);
	assert_true(apart(to->b_dec, want, D, c.lr) < 0.07);
	values(s, variant, "end.W_dec", want, LATENTS * D);
	/* sparsify leaves the last step's rows as that step made them */
	assert_true(apart(to->w_dec, want, LATENTS * D,
	                  c.tc.normalize_decoder ? 0.02 : c.lr) < 0.01);
	if (c.tc.skip) {
		values(s, variant, "end.W_skip", want, D * D);
		assert_true(apart(to->w_skip, want, D * D, c.lr) < 0.02);
	}
	tc_free(from);
	tc_free(to);
	train_layer_free(t);
	train_work_free(w);
	dev_free(d);
	safet_free(s);
}

static struct train_cfg config(int transcode, int skip)
{
	struct train_cfg c = {
		.tc = { .d_in = D, .d_out = D, .n_latents = LATENTS, .k = K,
		        .skip = skip, .transcode = transcode },
		.recipe = TRAIN_SPARSIFY, .rule = TRAIN_ADAM, .batch = BATCH,
		.n_steps = STEPS, .warmup = 4, .decay = 1, .dead_tokens = 150,
		.start_tokens = BATCH
	};

	return c;
}

static void signum(void **state)
{
	struct train_cfg c = config(1, 1);

	(void)state;
	c.rule = TRAIN_SIGNUM;
	c.warmup = 0;
	c.decay = 0;
	steps("signum", c);
}

static void adam(void **state)
{
	(void)state;
	steps("adam", config(1, 1));
	steps("noskip", config(1, 0));
}

static void auxk_and_multi_topk(void **state)
{
	struct train_cfg c = config(1, 1);

	(void)state;
	c.auxk_alpha = 1.0 / 8;
	steps("auxk", c);
	c = config(1, 1);
	c.tc.multi_topk = 1;
	steps("multi", c);
}

static void autoencoders(void **state)
{
	struct train_cfg c = config(0, 0);

	(void)state;
	c.tc.normalize_decoder = 1;
	steps("sae", c);
	c.tc.normalize_decoder = 0;
	c.tc.multi_topk = 1;
	c.auxk_alpha = 1.0 / 8;
	steps("saemulti", c);
}

/* What the hook does before the first batch: b_enc = -W_enc mean x, b_dec =
 * mean y. */
static void first_biases_are_those_of_the_first_batch(void **state)
{
	static float x[STEPS * BATCH * D], y[STEPS * BATCH * D];
	struct train_cfg c = config(1, 1);
	struct safet *s = fixture();
	struct err e = { 0 };
	struct dev *d = dev_open("cpu", 1, &e);
	struct train_work *w;
	struct train_layer *t;
	double mean[2][D] = { { 0 } }, b;
	size_t i, j;

	(void)state;
	c.lr = 1e-3;
	w = train_work_new(&c, d, &e);
	t = train_layer_new(&c, 0, w, &e);
	assert_non_null(t);
	values(s, "", "x", x, STEPS * BATCH * D);
	values(s, "", "y", y, STEPS * BATCH * D);
	memcpy(t->held_x, x, BATCH * D * sizeof(*x));
	memcpy(t->held_y, y, BATCH * D * sizeof(*y));
	assert_int_equal(train_start(t, BATCH, &e), 0);
	for (i = 0; i < BATCH; i++)
		for (j = 0; j < D; j++) {
			mean[0][j] += x[i * D + j] / (double)BATCH;
			mean[1][j] += y[i * D + j] / (double)BATCH;
		}
	for (i = 0; i < LATENTS; i++) {
		b = 0;
		for (j = 0; j < D; j++) {
			b -= t->enc.w[i * D + j] * mean[0][j];
			assert_true(fabsf(t->enc.w[i * D + j]) <= 0.25f);
		}
		assert_true(fabs(t->bias.w[i] - b) < 1e-5);
	}
	for (j = 0; j < D; j++)
		assert_true(fabs(t->b_dec.w[j] - mean[1][j]) < 1e-5);
	train_layer_free(t);
	train_work_free(w);
	dev_free(d);
	safet_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signum),
		cmocka_unit_test(adam),
		cmocka_unit_test(auxk_and_multi_topk),
		cmocka_unit_test(autoencoders),
		cmocka_unit_test(first_biases_are_those_of_the_first_batch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
