#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dev_tc.h"
#include "mem.h"
#include "norm.h"
#include "train.h"
#include "train_cases.h"
#include "train_impl.h"
#include "train_rng.h"

/* ---- runs --------------------------------------------------------------- */

enum { ROWS = 512 };

static void same_weights(struct run *a, struct run *b)
{
	struct err e = { 0 };
	struct tc *p = train_layer_export(a->t, &e);
	struct tc *q = train_layer_export(b->t, &e);
	const struct tc_cfg *c = &a->t->cfg.tc;

	assert_true(p && q);
	assert_memory_equal(p->w_enc, q->w_enc, c->n_latents * c->d_in * 4);
	assert_memory_equal(p->b_enc, q->b_enc, c->n_latents * 4);
	assert_memory_equal(p->w_dec, q->w_dec, c->n_latents * c->d_out * 4);
	assert_memory_equal(p->b_dec, q->b_dec, c->d_out * 4);
	if (c->skip)
		assert_memory_equal(p->w_skip, q->w_skip,
		                    c->d_out * c->d_in * 4);
	tc_free(p);
	tc_free(q);
}

static void blocks_and_threads_change_nothing(void **state)
{
	size_t blocks[] = { 1, 5, 16, 33, 512, 7, 100, 3 };
	size_t i;

	(void)state;
	for (i = 0; i < 8; i++) {
		struct train_cfg c = config(i % 2 ? TRAIN_SPARSIFY : TRAIN_R1);
		struct run a, b;

		c.tc.variant = i < 5 ? TC_TOPK : i < 7 ? TC_JUMPRELU
		                               : TC_BATCHTOPK;
		c.k_anneal = i == 4 || i == 7 ? 10 : 0;

		c.n_steps = 25;
		c.resample = i == 0 || i == 2 ? 48 : 0;
		c.rule = i == 3 ? TRAIN_SIGNUM : TRAIN_ADAM;
		c.dec_rate = i % 4 ? 0 : 0.3;
		run_open(&a, &c, 1, ROWS);
		run_open(&b, &c, 3, ROWS);
		feed(&a, 0, ROWS, 64);
		feed(&b, 0, ROWS, blocks[i]);
		assert_int_equal(a.t->stats.step, 25);
		assert_true(a.t->stats.loss == b.t->stats.loss);
		same_weights(&a, &b);
		run_close(&a);
		run_close(&b);
	}
}

static void learns(void **state)
{
	int recipe, rule, i;

	(void)state;
	for (recipe = 0; recipe < 2; recipe++)
		for (rule = 0; rule < 2; rule++)
			for (i = 0; i < 12; i++) {
				int transcode = i % 2;
				struct train_cfg c = config(recipe ?
				    TRAIN_SPARSIFY : TRAIN_R1);
				struct run r;
				double first = 0;
				int pass;

				c.rule = rule ? TRAIN_SIGNUM : TRAIN_ADAM;
				c.tc.transcode = c.tc.skip = transcode;
				c.tc.normalize_decoder = 1;
				c.tc.variant = (enum tc_variant)(i / 2 % 3);
				/* batches are too few for the power's ridge */
				c.dec_rate = i < 6 || rule || recipe ? 0 : 0.3;
				if (!transcode)
					c.tc.d_out = c.tc.d_in;
				run_open(&r, &c, 2, ROWS);
				for (pass = 0; pass < 6; pass++) {
					feed(&r, 0, ROWS, 100);
					if (pass == 0)
						first = r.t->stats.fvu;
				}
				assert_true(r.t->stats.fvu < first);
				assert_true(r.t->stats.fvu < 0.7);
				run_close(&r);
			}
}

/* The plain weights give, on plain inputs, what training computed on
 * normalised ones: the same FVU. */
static double plain_fvu(struct run *r, const float *x, const float *y, size_t n)
{
	struct err e = { 0 };
	struct tc *p = train_layer_export(r->t, &e);
	const struct tc_cfg *c = &r->t->cfg.tc;
	float out[MAX_N * MAX_D];
	struct tc_codes codes = { 0 };
	double sq = 0, var = 0;
	size_t i, j;

	assert_int_equal(tc_encode(p, x, n, 0, &codes, &e), 0);
	assert_int_equal(tc_decode(p, x, &codes, out, &e), 0);
	for (j = 0; j < c->d_out; j++) {
		double mean = 0;

		for (i = 0; i < n; i++)
			mean += y[i * c->d_out + j] / (double)n;
		for (i = 0; i < n; i++) {
			sq += pow(y[i * c->d_out + j] - out[i * c->d_out + j],
			          2);
			var += pow(y[i * c->d_out + j] - mean, 2);
		}
	}
	tc_codes_free(&codes);
	tc_free(p);
	return sq / var;
}

static void export_folds_the_normalisation_in(void **state)
{
	int transcode, jump;

	(void)state;
	for (transcode = 0; transcode < 2; transcode++)
		for (jump = 0; jump < 2; jump++) {
			struct train_cfg c = config(TRAIN_R1);
			struct run r;
			struct dev_tc_part part[DEV_TC_PARTS];
			struct err e = { 0 };
			size_t n_parts, n = c.batch;
			const float *x, *y;
			double want;

			c.tc.transcode = c.tc.skip = transcode;
			c.tc.variant = jump ? TC_JUMPRELU : TC_TOPK;
			if (!transcode)
				c.tc.d_out = c.tc.d_in;
			run_open(&r, &c, 2, ROWS);
			feed(&r, 0, ROWS, 64);
			x = r.x + 64 * c.tc.d_in;
			y = transcode ? r.y + 64 * c.tc.d_out : x;
			assert_int_equal(train_keep(r.t, x, y, 0, n, &e), n);
			assert_int_equal(train_prepare(r.t, x, y, n, &e), 0);
			assert_int_equal(train_loss(r.t, n, part, &n_parts, &e),
			                 0);
			want = r.t->stats.fvu;
			assert_true(fabs(plain_fvu(&r, x, y, n) - want) <
			            1e-4 * want);
			run_close(&r);
		}
}

/* Plain weights given to a fresh layer and taken back are the same. */
static void given_weights_survive_the_round_trip(void **state)
{
	struct train_cfg c = config(TRAIN_R1);
	struct run a, b;
	struct err e = { 0 };
	struct tc *p, *q;
	size_t i;

	(void)state;
	run_open(&a, &c, 1, ROWS);
	run_open(&b, &c, 1, ROWS);
	feed(&a, 0, ROWS, 64);
	p = train_layer_export(a.t, &e);
	assert_int_equal(train_layer_init(b.t, p, &e), 0);
	memcpy(b.t->held_x, b.x, 32 * c.tc.d_in * 4);
	memcpy(b.t->held_y, b.y, 32 * c.tc.d_out * 4);
	assert_int_equal(train_start(b.t, 32, &e), 0);
	q = train_layer_export(b.t, &e);
	for (i = 0; i < c.tc.n_latents * c.tc.d_in; i++)
		assert_true(fabsf(p->w_enc[i] - q->w_enc[i]) < 1e-5f);
	for (i = 0; i < c.tc.n_latents; i++)
		assert_true(fabsf(p->b_enc[i] - q->b_enc[i]) < 1e-4f);
	for (i = 0; i < c.tc.d_out; i++)
		assert_true(fabsf(p->b_dec[i] - q->b_dec[i]) < 1e-4f);
	for (i = 0; i < c.tc.d_out * c.tc.d_in; i++)
		assert_true(fabsf(p->w_skip[i] - q->w_skip[i]) < 1e-5f);
	p->cfg.n_latents++;	/* another shape is refused */
	assert_int_equal(train_layer_init(a.t, p, &e), -1);
	p->cfg.n_latents--;
	tc_free(p);
	tc_free(q);
	run_close(&a);
	run_close(&b);
}

static void saved_and_loaded_goes_on_to_the_bit(void **state)
{
	char path[] = "/tmp/test_train_XXXXXX";
	int i;

	(void)state;
	close(mkstemp(path));
	for (i = 0; i < 5; i++) {
		struct train_cfg c = config(TRAIN_R1);
		struct run a, b;
		struct err e = { 0 };
		struct train_stats s;

		c.rule = i % 2 ? TRAIN_SIGNUM : TRAIN_ADAM;
		c.dec_rate = i == 0 || i == 4 ? 0.3 : 0;
		c.tc.variant = i < 2 ? TC_TOPK : i < 4 ? TC_JUMPRELU
		                               : TC_BATCHTOPK;
		c.n_steps = 30;
		c.resample = i == 0 || i == 4 ? 64 : 0;
		c.warmup = 4;
		c.decay = 0.3;
		c.outlier = 1.4;	/* some rows are out */
		run_open(&a, &c, 2, ROWS);
		run_open(&b, &c, 2, ROWS);
		feed(&a, 0, 200, 64);
		if (train_layer_save(a.t, path, &e) < 0 ||
		    train_layer_load(b.t, path, &e) < 0)
			fail_msg("%s", e.msg);
		train_layer_stats(b.t, &s);
		assert_int_equal(s.rows, 192);
		feed(&a, 200, ROWS, 64);
		feed(&b, s.rows, ROWS, 7);
		assert_int_equal(a.t->stats.step, 30);
		assert_true(a.t->stats.outliers > 0);
		assert_int_equal(a.t->stats.outliers, b.t->stats.outliers);
		same_weights(&a, &b);
		run_close(&a);
		run_close(&b);
	}
	unlink(path);
}

/* With a threshold in place of the batch's choice as many latents are active
 * in the mean; JumpReLU keeps near what it is told to. */
static void variants_keep_their_mean(void **state)
{
	int variant;

	(void)state;
	for (variant = TC_BATCHTOPK; variant <= TC_JUMPRELU; variant++) {
		struct train_cfg c = config(TRAIN_R1);
		struct tc_codes codes = { 0 };
		struct err e = { 0 };
		struct train_stats s;
		size_t active = 0, i;
		struct run r;
		struct tc *p;
		int pass;

		c.tc.variant = (enum tc_variant)variant;
		c.lr = 0.003;
		run_open(&r, &c, 2, ROWS);
		for (pass = 0; pass < 4; pass++)
			feed(&r, 0, ROWS, 100);
		train_layer_stats(r.t, &s);
		assert_true(s.threshold > 0);
		if (variant == TC_BATCHTOPK)
			assert_true(s.l0 == c.tc.k);
		p = train_layer_export(r.t, &e);
		assert_int_equal(tc_encode(p, r.x, ROWS, 0, &codes, &e), 0);
		assert_true(codes.k >= 4 * c.tc.k);
		for (i = 0; i < ROWS * codes.k; i++)
			active += codes.latent[i] != UINT32_MAX;
		if (fabs((double)active / ROWS / c.tc.k - 1) > 0.15)
			fail_msg("%s: %.3f active latents a row",
			         tc_variant_name(c.tc.variant),
			         (double)active / ROWS);
		tc_codes_free(&codes);
		tc_free(p);
		run_close(&r);
	}
}

/* A latent put out of reach comes back by `raise` a row once 4,096 have passed;
 * the others stay where learning puts them. */
static void quiet_latents_are_raised(void **state)
{
	int rule, on;

	(void)state;
	for (rule = 0; rule < 2; rule++)
		for (on = 0; on < 2; on++) {
			struct train_cfg c = config(TRAIN_R1);
			double want;
			struct run r;
			int pass;

			c.rule = rule ? TRAIN_SIGNUM : TRAIN_ADAM;
			c.lr = 1e-4;
			c.raise = on ? 0.01 : 0;
			run_open(&r, &c, 2, ROWS);
			feed(&r, 0, 64, 64);
			r.t->bias.w[3] -= 50;
			if (rule)
				r.t->bias.s1[3] -= 50;
			for (pass = 0; pass < 10; pass++)
				feed(&r, 0, ROWS, 100);
			want = -50 + (double)(64 + 10 * ROWS -
			              (r.t->last[3] + 4096)) * c.raise;
			assert_true(r.t->last[3] <= 64);
			assert_true(fabs(r.t->bias.w[3] - want) < 0.5);
			run_close(&r);
		}
}

/* Whether the encoder row points to one of the batch's inputs. */
static int along_an_input(const struct run *r, size_t latent)
{
	size_t dim = r->t->cfg.tc.d_in, i, j;
	const float *w = r->t->enc.w + latent * dim, *x = r->w->x;

	for (i = 0; i < r->t->cfg.batch; i++, x += dim) {
		double dot = 0;

		for (j = 0; j < dim; j++)
			dot += (double)w[j] * x[j];
		if (dot / norm_of(w, dim) / norm_of(x, dim) > 0.999999)
			return 1;
	}
	return 0;
}

/* A latent put out of reach is drawn anew with the first period in which it did
 * not fire, when as many rows are left; nothing else is touched. */
static void dead_latents_are_drawn_anew(void **state)
{
	const size_t period = 100, dead = 3;
	int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		struct train_cfg c = config(TRAIN_R1);
		struct run r;
		double living = 0;
		size_t j, n_living = 0;

		c.lr = 1e-4;
		c.dec_rate = i == 1 ? 0.3 : 0;
		c.resample = period;
		c.n_steps = i == 2 ? 18 : 32;
		run_open(&r, &c, 2, ROWS);
		feed(&r, 0, 64, 64);
		r.t->bias.w[dead] = -50;
		feed(&r, 64, 192, 64);	/* past 100, when it had fired */
		assert_true(r.t->last[dead] > 0 && r.t->last[dead] <= 64);
		assert_true(r.t->bias.w[dead] < -49);
		feed(&r, 192, 208, 16);
		if (i == 2) {		/* 80 are left */
			assert_true(r.t->bias.w[dead] < -49);
			run_close(&r);
			continue;
		}
		assert_true(r.t->bias.w[dead] == 0);
		assert_true(r.t->enc.s1[dead * c.tc.d_in] == 0);
		assert_true(r.t->enc.s2[dead * c.tc.d_in] == 0);
		assert_true(norm_of(r.t->dec.w + dead * c.tc.d_out,
		                    c.tc.d_out) == 0);
		assert_true(!r.t->power || r.t->power[dead] == 0);
		assert_true(along_an_input(&r, dead));
		for (j = 0; j < c.tc.n_latents; j++) {
			const float *w = r.t->enc.w + j * c.tc.d_in;

			if (208 - r.t->last[j] > period) {
				assert_true(r.t->bias.w[j] == 0);
				continue;
			}
			assert_true(r.t->enc.s2[j * c.tc.d_in] > 0);
			living += norm_of(w, c.tc.d_in);
			n_living++;
			assert_false(along_an_input(&r, j));
		}
		living *= 0.2 / (double)n_living;
		assert_true(fabs(norm_of(r.t->enc.w + dead * c.tc.d_in,
		                         c.tc.d_in) / living - 1) < 1e-5);
		run_close(&r);
	}
}

static void draws_follow_their_weights(void **state)
{
	const double sum[] = { 0, 1, 1, 4 };
	struct train_rng r = { 7 };
	size_t got[4] = { 0 }, i;

	(void)state;
	for (i = 0; i < 4000; i++)
		got[train_rng_pick(&r, sum, 4)]++;
	assert_true(got[0] == 0 && got[2] == 0);
	assert_true(got[1] > 900 && got[1] < 1100);
}

/* Normalised steps: of many latents at once each corrects what all rows of the
 * first batches have in common, which must not add up to more than there is. */
static void many_active_latents_do_not_overshoot(void **state)
{
	struct train_cfg c = config(TRAIN_R1);
	struct run r;
	size_t i;

	(void)state;
	c.tc.n_latents = 400;
	c.tc.k = 200;
	c.batch = 512;
	c.start_tokens = 512;
	c.dec_rate = 0.3;
	c.lr = 2e-3;
	c.warmup = 12;
	run_open(&r, &c, 1, 20 * c.batch);
	for (i = 0; i < 20 * c.batch; i += c.batch) {
		feed(&r, i, i + c.batch, c.batch);
		assert_true(r.t->stats.fvu < 0.3);
	}
	assert_int_equal(r.t->stats.step, 20);
	run_close(&r);
}

static void k_falls_from_ten_times_as_many(void **state)
{
	struct train_cfg c = config(TRAIN_R1);

	(void)state;
	assert_int_equal(train_k(&c, 0), 3);
	c.k_anneal = 9;
	assert_int_equal(train_k(&c, 0), 30);
	assert_int_equal(train_k(&c, 3), 21);
	assert_int_equal(train_k(&c, 9), 3);
	c.tc.n_latents = 10;
	assert_int_equal(train_k(&c, 0), 10);
}

/* ---- faults ------------------------------------------------------------- */

static void bad_values_name_layer_and_row(void **state)
{
	struct train_cfg c = config(TRAIN_R1);
	size_t at[] = { 3, 40, 100 };
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++) {
		struct err e = { 0 };
		char want[80];
		struct run r;

		run_open(&r, &c, 1, ROWS);
		r.y[at[i] * c.tc.d_out + 1] = i ? INFINITY : NAN;
		assert_int_equal(train_layer_push(r.t, r.x, r.y, ROWS, &e),
		                 -1);
		snprintf(want, sizeof(want),
		         "layer 0: the norm of row %zu's output is not finite",
		         at[i]);
		assert_string_equal(e.msg, want);
		run_close(&r);
	}
}

static void outputs_all_alike_are_refused(void **state)
{
	struct train_cfg c = config(TRAIN_R1);
	struct err e = { 0 };
	struct run r;
	size_t i;

	(void)state;
	run_open(&r, &c, 1, ROWS);
	for (i = 0; i < ROWS * c.tc.d_out; i++)
		r.y[i] = 2;
	assert_int_equal(train_layer_push(r.t, r.x, r.y, ROWS, &e), -1);
	assert_non_null(strstr(e.msg, "all alike"));
	run_close(&r);
}

static void a_constant_input_dimension_is_nothing_special(void **state)
{
	struct train_cfg c = config(TRAIN_R1);
	struct run r;
	size_t i;

	(void)state;
	run_open(&r, &c, 1, ROWS);
	for (i = 0; i < ROWS; i++)
		r.x[i * c.tc.d_in + 2] = 7;
	feed(&r, 0, ROWS, 64);
	assert_true(isfinite(r.t->stats.loss));
	run_close(&r);
}

static void giants_are_left_out_and_counted(void **state)
{
	struct train_cfg c = config(TRAIN_R1);
	struct run r;
	size_t i, j;

	(void)state;
	c.outlier = 10;
	run_open(&r, &c, 1, ROWS);
	for (i = 0; i < ROWS; i += 64)
		for (j = 0; j < c.tc.d_out; j++)
			r.y[i * c.tc.d_out + j] *= 500;
	feed(&r, 0, ROWS, 64);
	assert_int_equal(r.t->stats.outliers, ROWS / 64);
	assert_true(r.t->stats.fvu < 0.9);
	run_close(&r);
}

static void impossible_configurations_are_refused(void **state)
{
	struct train_cfg c[12];
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < 12; i++)
		c[i] = config(i == 11 ? TRAIN_SPARSIFY : TRAIN_R1);
	c[0].tc.k = 40;
	c[1].tc.k = 11, c[1].tc.multi_topk = 1;
	c[2].tc.transcode = 0;
	c[3].tc.transcode = c[3].tc.skip = 0;
	c[4].batch = 1;
	c[5].lr = 0;
	c[6].tc.variant = TC_BATCHTOPK, c[6].tc.multi_topk = 1;
	c[7].tc.variant = TC_JUMPRELU, c[7].k_anneal = 5;
	c[8].tc.variant = TC_JUMPRELU, c[8].bandwidth = 2;
	c[9].rule = TRAIN_SIGNUM, c[9].dec_rate = 0.3;
	c[10].tc.variant = TC_JUMPRELU, c[10].resample = 64;
	c[11].resample = 64;
	for (i = 0; i < 12; i++) {
		memset(&e, 0, sizeof(e));
		assert_int_equal(train_check(&c[i], &e), -1);
		assert_int_equal(e.code, ERR_RANGE);
	}
}

static void learning_rate_rises_and_falls(void **state)
{
	struct train_cfg c = config(TRAIN_R1);

	(void)state;
	c.lr = 1, c.warmup = 4, c.decay = 0.2, c.n_steps = 100;
	assert_true(train_lr(&c, 0) == 0.25 && train_lr(&c, 3) == 1);
	assert_true(train_lr(&c, 80) == 1 && train_lr(&c, 99) == 0.05);
	assert_true(train_lr(&c, 100) == 0 && train_lr(&c, 200) == 0);
	c.n_steps = 0;
	assert_true(train_lr(&c, 1000000) == 1);
	/* get_linear_schedule_with_warmup */
	c.recipe = TRAIN_SPARSIFY, c.decay = 1, c.n_steps = 100;
	assert_true(train_lr(&c, 0) == 0 && train_lr(&c, 2) == 0.5);
	assert_true(train_lr(&c, 4) == 1 && train_lr(&c, 52) == 0.5);
	c.rule = TRAIN_SIGNUM;
	c.tc.n_latents = 16384 * 4;
	assert_true(train_default_lr(&c) == 2.5e-3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_and_threads_change_nothing),
		cmocka_unit_test(learns),
		cmocka_unit_test(export_folds_the_normalisation_in),
		cmocka_unit_test(given_weights_survive_the_round_trip),
		cmocka_unit_test(saved_and_loaded_goes_on_to_the_bit),
		cmocka_unit_test(variants_keep_their_mean),
		cmocka_unit_test(quiet_latents_are_raised),
		cmocka_unit_test(dead_latents_are_drawn_anew),
		cmocka_unit_test(draws_follow_their_weights),
		cmocka_unit_test(many_active_latents_do_not_overshoot),
		cmocka_unit_test(k_falls_from_ten_times_as_many),
		cmocka_unit_test(bad_values_name_layer_and_row),
		cmocka_unit_test(outputs_all_alike_are_refused),
		cmocka_unit_test(a_constant_input_dimension_is_nothing_special),
		cmocka_unit_test(giants_are_left_out_and_counted),
		cmocka_unit_test(impossible_configurations_are_refused),
		cmocka_unit_test(learning_rate_rises_and_falls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
