#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"
#include "tensor.h"
#include "train.h"
#include "train_cases.h"
#include "train_impl.h"

/* The end's least squares, beside a dense solution of the same equations. */

enum { ROWS = 9664, BATCH = 16, STEPS = 600, WINDOW = 9200, MAX_P = MAX_L + MAX_D + 1 };
static const double INPUTS = 6;	/* as in train_end_solve.c */

static struct train_cfg end_config(void)
{
	struct train_cfg c = config(TRAIN_R1);

	c.dec_rate = 0.3;
	c.n_steps = STEPS;
	c.end_tokens = WINDOW + 12;	/* 575 batches, three chunks, the second on both sides */
	c.end_ridge = 100;
	return c;
}

static void finish(struct run *r)
{
	struct err e = { 0 };

	if (train_layer_finish(r->t, &e) < 0)
		fail_msg("%s", e.msg);
}

static struct tc *export(struct run *r)
{
	struct err e = { 0 };
	struct tc *t = train_layer_export(r->t, &e);

	if (!t)
		fail_msg("%s", e.msg);
	return t;
}

/* Squared error of a transcoder, as it runs, on rows [from, to). */
static double error_of(const struct run *r, const struct tc *t, size_t from,
                       size_t to)
{
	const struct tc_cfg *c = &t->cfg;
	size_t n = to - from, i;
	const float *y = r->y + from * c->d_out;
	const float *x = c->transcode ? r->x + from * c->d_in : y;
	struct tc_codes codes = { 0 };
	float *out = mem_scratch(n, c->d_out * sizeof(float), NULL);
	struct err e = { 0 };
	double sum = 0;

	if (tc_encode(t, x, n, 0, &codes, &e) < 0 ||
	    tc_decode(t, x, &codes, out, &e) < 0)
		fail_msg("%s", e.msg);
	for (i = 0; i < n * c->d_out; i++)
		sum += pow((double)out[i] - y[i], 2);
	tc_codes_free(&codes);
	mem_free(out);
	return sum;
}

static void same(const struct tc *p, const struct tc *q)
{
	const struct tc_cfg *c = &p->cfg;

	assert_memory_equal(p->w_enc, q->w_enc, c->n_latents * c->d_in * 4);
	assert_memory_equal(p->b_enc, q->b_enc, c->n_latents * 4);
	assert_memory_equal(p->w_dec, q->w_dec, c->n_latents * c->d_out * 4);
	assert_memory_equal(p->b_dec, q->b_dec, c->d_out * 4);
	if (c->skip)
		assert_memory_equal(p->w_skip, q->w_skip,
		                    c->d_out * c->d_in * 4);
}

/* ---- dense -------------------------------------------------------------- */

static double phi[ROWS][MAX_P], err_[ROWS][MAX_D], gram[MAX_P][MAX_P];
static double rhs[MAX_P][MAX_D];

/* Features of a kept row (codes, input, 1) and its error, normalised space. */
static size_t kept_features(struct train_layer *t, size_t p)
{
	const struct tc_cfg *c = &t->cfg.tc;
	size_t n = 0, slot, i, j, s, m;
	static float xs[BATCH * MAX_D], ys[BATCH * MAX_D];

	memset(phi, 0, sizeof(phi));
	for (s = 0; s < t->kept_slots; s++) {
		slot = (t->stats.step + s) % t->kept_slots;
		f32_from_q8_0(t->kept_x + slot * train_end_slot(&t->cfg, c->d_in),
		              t->kept_n[slot] * c->d_in, xs);
		f32_from_q8_0(t->kept_y + slot * train_end_slot(&t->cfg, c->d_out),
		              t->kept_n[slot] * c->d_out, ys);
		for (i = 0; i < t->kept_n[slot]; i++, n++) {
			const float *x = xs + i * c->d_in, *y = ys + i * c->d_out;
			uint32_t latent[8];
			float value[8];
			struct dev_tc_codes codes = { latent, value, 1, c->k };
			struct err e;

			assert_int_equal(train_ops(t)->tc->encode(
				t->dev, x, 1, c->d_in, t->enc.w, t->bias.w,
				c->n_latents, NULL, &codes, &e), 0);
			for (j = 0; j < c->d_out; j++) {
				err_[n][j] = (double)y[j] - t->b_dec.w[j];
				for (m = 0; m < c->d_in; m++)
					err_[n][j] -= (double)t->skip.w[
						j * c->d_in + m] * x[m];
			}
			for (m = 0; m < c->k; m++) {
				if (latent[m] == DEV_TC_NONE)
					continue;
				phi[n][latent[m]] = value[m];
				for (j = 0; j < c->d_out; j++)
					err_[n][j] -= (double)value[m] *
						t->dec.w[latent[m] *
						         c->d_out + j];
			}
			for (j = 0; j < c->d_in; j++)
				phi[n][c->n_latents + j] = x[j];
			phi[n][p - 1] = 1;
		}
	}
	return n;
}

/* Gauss, no pivoting: the matrix is positive definite. */
static void solve(size_t p, size_t m)
{
	size_t i, j, k;

	for (k = 0; k < p; k++)
		for (i = 0; i < p; i++) {
			double f = gram[i][k] / gram[k][k];

			if (i == k)
				continue;
			for (j = k; j < p; j++)
				gram[i][j] -= f * gram[k][j];
			for (j = 0; j < m; j++)
				rhs[i][j] -= f * rhs[k][j];
		}
	for (i = 0; i < p; i++)
		for (j = 0; j < m; j++)
			rhs[i][j] /= gram[i][i];
}

static void dense(double ridge)
{
	const double FIT = 0.875;	/* the rest judges */
	struct train_cfg c = end_config();
	struct run r;
	size_t lat = c.tc.n_latents, p = lat + c.tc.d_in + 1, n, fit, i, j, k;
	double mean[MAX_D] = { 0 }, along = 0, length = 0, share, off = 0, all = 0;
	float dec[MAX_L * MAX_D], skip[MAX_D * MAX_D], b_dec[MAX_D];

	c.end_ridge = ridge;
	run_open(&r, &c, 2, ROWS);
	feed(&r, 0, ROWS, 64);
	n = kept_features(r.t, p);
	assert_int_equal(n, WINDOW);
	fit = (size_t)(FIT * (double)n);
	assert_true(fit == n - n / 8);
	/* the ridge on the inputs is for inputs about their mean */
	for (j = 0; j < c.tc.d_in; j++) {
		for (i = 0; i < fit; i++)
			mean[j] += phi[i][lat + j] / (double)fit;
		for (i = 0; i < n; i++)
			phi[i][lat + j] -= mean[j];
	}
	memset(gram, 0, sizeof(gram));
	memset(rhs, 0, sizeof(rhs));
	for (i = 0; i < fit; i++)
		for (j = 0; j < p; j++) {
			for (k = 0; k < p; k++)
				gram[j][k] += phi[i][j] * phi[i][k];
			for (k = 0; k < c.tc.d_out; k++)
				rhs[j][k] += phi[i][j] * err_[i][k];
		}
	for (j = 0; j < p - 1; j++)
		gram[j][j] += ridge * (j < lat ? 1 : INPUTS);
	solve(p, c.tc.d_out);
	for (i = fit; i < n; i++)
		for (k = 0; k < c.tc.d_out; k++) {
			double v = 0;

			for (j = 0; j < p; j++)
				v += phi[i][j] * rhs[j][k];
			along += v * err_[i][k];
			length += v * v;
		}
	share = 1.5 * along / length;
	share = share > 1 ? 1 : share;
	assert_true(share > 0.1);

	memcpy(dec, r.t->dec.w, lat * c.tc.d_out * sizeof(float));
	memcpy(skip, r.t->skip.w, c.tc.d_in * c.tc.d_out * sizeof(float));
	memcpy(b_dec, r.t->b_dec.w, c.tc.d_out * sizeof(float));
	finish(&r);
	for (i = 0; i < lat; i++)
		for (k = 0; k < c.tc.d_out; k++) {
			size_t at = i * c.tc.d_out + k;
			double got = (double)r.t->dec.w[at] - dec[at];

			off += pow(got - share * rhs[i][k], 2);
			all += pow(share * rhs[i][k], 2);
		}
	assert_true(all > 0 && off < 1e-4 * all);
	for (off = all = 0, k = 0; k < c.tc.d_out; k++) {
		double bias = rhs[p - 1][k];

		for (j = 0; j < c.tc.d_in; j++) {
			size_t at = k * c.tc.d_in + j;
			double got = (double)r.t->skip.w[at] - skip[at];

			off += pow(got - share * rhs[lat + j][k], 2);
			all += pow(share * rhs[lat + j][k], 2);
			bias -= rhs[lat + j][k] * mean[j];
		}
		off += pow((double)r.t->b_dec.w[k] - b_dec[k] - share * bias, 2);
		all += pow(share * bias, 2);
	}
	assert_true(all > 0 && off < 1e-4 * all);
	assert_null(r.t->kept_n);
	run_close(&r);
}

static void is_the_dense_solution(void **state)
{
	(void)state;
	dense(80);	/* a ridge as strong for so many rows as 10 for 1,200 */
	dense(800);
	dense(40000);
}

/* ---- properties ---------------------------------------------------------- */

static struct train_cfg variation(int i)
{
	struct train_cfg c = end_config();

	c.tc.variant = i == 1 ? TC_BATCHTOPK : i == 2 ? TC_JUMPRELU : TC_TOPK;
	c.outlier = i == 3 ? 1.2 : 0;
	c.tc.skip = i < 4;
	if (i == 5) {		/* an autoencoder */
		c.tc.transcode = 0;
		c.tc.d_in = c.tc.d_out;
	}
	c.n_steps = i == 6 ? 0 : STEPS;	/* all the stream has */
	c.tc.multi_topk = i == 7;
	return c;
}
enum { VARIATIONS = 8 };

/* The finished transcoder, run as others will run it, errs less on the rows of
 * the window than the one that was trained; its encoder is the same one. */
static void lowers_the_error_of_every_variant(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < VARIATIONS; i++) {
		struct train_cfg c = variation(i);
		size_t to = c.n_steps ? STEPS * BATCH : ROWS;
		struct tc *before, *after;
		struct run r;
		double a, b;

		run_open(&r, &c, 1, ROWS);
		feed(&r, 0, ROWS, 100);
		before = export(&r);
		finish(&r);
		after = export(&r);
		a = error_of(&r, before, to - WINDOW, to);
		b = error_of(&r, after, to - WINDOW, to);
		if (!(b < a))
			fail_msg("variation %d: %g, before %g", i, b, a);
		assert_memory_equal(before->w_enc, after->w_enc,
		                    c.tc.n_latents * c.tc.d_in * 4);
		tc_free(before);
		tc_free(after);
		run_close(&r);
	}
}

/* Both end, in the same transcoder, and are closed. */
static void end_alike(struct run *a, struct run *b)
{
	struct tc *p, *q;

	finish(a);
	finish(b);
	p = export(a);
	q = export(b);
	same(p, q);
	tc_free(p);
	tc_free(q);
	run_close(a);
	run_close(b);
}

static void blocks_and_threads_change_nothing(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < VARIATIONS; i++) {
		struct train_cfg c = variation(i);
		struct run a, b;

		run_open(&a, &c, 1, ROWS);
		run_open(&b, &c, 3, ROWS);
		feed(&a, 0, ROWS, 64);
		feed(&b, 0, ROWS, 7);
		end_alike(&a, &b);
	}
}

/* A run stopped before or within the window goes on to the same bytes. */
static void saved_and_loaded_ends_the_same(void **state)
{
	const size_t stops[] = { 64, 400, 1008, 1600 };
	char path[] = "/tmp/test_train_end_XXXXXX";
	size_t s;
	int i;

	(void)state;
	close(mkstemp(path));
	for (i = 0; i < VARIATIONS; i++)
		for (s = 0; s < 4; s++) {
			struct train_cfg c = variation(i);
			struct err e = { 0 };
			struct run a, b;

			run_open(&a, &c, 2, ROWS);
			run_open(&b, &c, 1, ROWS);
			feed(&a, 0, stops[s], 64);
			if (train_layer_save(a.t, path, &e) < 0 ||
			    train_layer_load(b.t, path, &e) < 0)
				fail_msg("%s", e.msg);
			assert_int_equal(b.t->kept_n != NULL,
			                 a.t->kept_n != NULL);
			feed(&a, stops[s], ROWS, 64);
			feed(&b, stops[s], ROWS, 40);
			end_alike(&a, &b);
		}
	unlink(path);
}

/* Latents that select nothing in the window keep their decoder rows. */
static void dead_latents_stay(void **state)
{
	struct train_cfg c = end_config();
	size_t row = c.tc.d_out, j;
	float kept[2 * MAX_D];
	struct run r;

	(void)state;
	run_open(&r, &c, 1, ROWS);
	feed(&r, 0, ROWS, 64);
	for (j = 0; j < 2; j++)
		r.t->bias.w[j] = -1e6f;
	for (j = 0; j < 2 * row; j++)
		kept[j] = r.t->dec.w[j] = (float)j - 3;
	finish(&r);
	assert_memory_equal(r.t->dec.w, kept, 2 * row * sizeof(float));
	run_close(&r);
}

static void nothing_is_kept_when_not_asked_for(void **state)
{
	struct train_cfg c = end_config();
	struct tc *p, *q;
	struct run r;

	(void)state;
	c.end_tokens = 0;
	run_open(&r, &c, 1, ROWS);
	feed(&r, 0, ROWS, 64);
	assert_null(r.t->kept_n);
	p = export(&r);
	finish(&r);
	q = export(&r);
	same(p, q);
	tc_free(p);
	tc_free(q);
	run_close(&r);
}

static void refuses_what_it_cannot_solve(void **state)
{
	struct train_cfg c = end_config();
	struct err e = { 0 };

	(void)state;
	assert_int_equal(train_check(&c, &e), 0);
	c.recipe = TRAIN_SPARSIFY;
	c.dec_rate = 0;
	assert_int_equal(train_check(&c, &e), -1);
	c = end_config();
	c.rule = TRAIN_SIGNUM;
	c.dec_rate = 0;
	assert_int_equal(train_check(&c, &e), -1);
	assert_non_null(strstr(e.msg, "Adam"));
	c = end_config();
	c.tc.transcode = c.tc.skip = 0;
	c.tc.d_in = c.tc.d_out;
	c.tc.normalize_decoder = 1;
	assert_int_equal(train_check(&c, &e), -1);
	c = end_config();
	c.end_ridge = 0;
	assert_int_equal(train_check(&c, &e), -1);
	c = end_config();
	c.end_tokens = SIZE_MAX / 2;
	assert_int_equal(train_check(&c, &e), -1);
	assert_non_null(strstr(e.msg, "too many"));
}

/* All of a short run, the end of a longer one; what the trained weights count for
 * grows as a window that is not all of the run gets shorter. */
static void defaults_go_by_the_run(void **state)
{
	static const struct {
		uint64_t steps;
		uint32_t d;
		size_t tokens;
		double ridge;
	} of[] = {
		{ 64, 576, 131072, 600 }, { 256, 576, 131072, 600 },
		{ 257, 576, 131072, 600 }, { 100000, 576, 131072, 600 },
		{ 0, 576, 131072, 600 }, { 100000, 1536, 131072, 600 },
		/* rows of which a gibibyte holds fewer */
		{ 256, 4096, 131072, 600 }, { 257, 4096, 98304, 800 },
		{ 100000, 8192, 32768, 2400 }, { 0, 16384, 32768, 2400 }
	};
	struct train_cfg c = { .batch = 512, .tc = { .transcode = 1 } };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(of) / sizeof(*of); i++) {
		c.n_steps = of[i].steps;
		c.tc.d_in = c.tc.d_out = of[i].d;
		c.end_tokens = train_default_end_tokens(&c);
		assert_int_equal(c.end_tokens, of[i].tokens);
		assert_true(train_default_end_ridge(&c) == of[i].ridge);
	}
	c.n_steps = 64;
	c.end_tokens = 32768;	/* all */
	assert_true(train_default_end_ridge(&c) == 600);
	c.n_steps = 65;
	assert_true(train_default_end_ridge(&c) == 2400);
	c.end_tokens = 1024;
	assert_true(train_default_end_ridge(&c) == 5000);
	c.n_steps = 4096;
	c.end_tokens = 1 << 20;
	assert_true(train_default_end_ridge(&c) == 600);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_the_dense_solution),
		cmocka_unit_test(lowers_the_error_of_every_variant),
		cmocka_unit_test(blocks_and_threads_change_nothing),
		cmocka_unit_test(saved_and_loaded_ends_the_same),
		cmocka_unit_test(dead_latents_stay),
		cmocka_unit_test(nothing_is_kept_when_not_asked_for),
		cmocka_unit_test(refuses_what_it_cannot_solve),
		cmocka_unit_test(defaults_go_by_the_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
