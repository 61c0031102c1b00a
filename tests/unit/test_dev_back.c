#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "dev.h"
#include "dev_back.h"
#include "mem.h"

/* Every op against difference quotients of its forward loop in double. */

static struct err e;
static struct dev *devs[2];

static int open_devs(void **state)
{
	(void)state;
	devs[0] = dev_open("cpu", 1, &e);
	devs[1] = dev_open("cpu", 3, &e);
	return devs[0] && devs[1] ? 0 : -1;
}

static int close_devs(void **state)
{
	(void)state;
	dev_free(devs[0]);
	dev_free(devs[1]);
	return 0;
}

static void noise(float *x, size_t n, uint32_t seed)
{
	size_t i;

	for (i = 0; i < n; i++) {
		seed = seed * 1664525u + 1013904223u;
		x[i] = (float)(seed >> 8) / (1 << 23) - 1;
	}
}

/* A scalar of the inputs, all in one array. */
typedef double scalar_fn(const double *in, const void *ctx);

/* got[n] against the slopes of fn at in[first ..]. */
static void check_slopes(scalar_fn *fn, const void *ctx, double *in,
                         size_t first, const float *got, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		double at = in[first + i], h = 1e-5, up, down, want;

		in[first + i] = at + h;
		up = fn(in, ctx);
		in[first + i] = at - h;
		down = fn(in, ctx);
		in[first + i] = at;
		want = (up - down) / (2 * h);
		if (!(fabs(got[i] - want) <= 2e-5 + 2e-4 * fabs(want)))
			fail_msg("value %zu: %g, difference quotient %g",
			         first + i, (double)got[i], want);
	}
}

static void widen(const float *x, size_t n, double *out)
{
	size_t i;

	for (i = 0; i < n; i++)
		out[i] = x[i];
}

enum { N = 5, DIM = 37 };
static const float EPS = 1e-3f;

struct norm_case {
	const float *w, *g;
};

static double norm_sum(const double *x, const void *ctx)
{
	const struct norm_case *c = ctx;
	double sum = 0;
	size_t i, j;

	for (i = 0; i < N; i++) {
		double sq = 0;

		for (j = 0; j < DIM; j++)
			sq += x[i * DIM + j] * x[i * DIM + j];
		for (j = 0; j < DIM; j++)
			sum += x[i * DIM + j] / sqrt(sq / DIM + EPS) *
			       c->w[j] * c->g[i * DIM + j];
	}
	return sum;
}

static void rmsnorm_goes_back(void **state)
{
	float x[N * DIM], w[DIM], g[N * DIM], dx[2][N * DIM], more[N * DIM];
	double in[N * DIM];
	struct norm_case c = { w, g };
	size_t i;
	int k;

	(void)state;
	noise(x, N * DIM, 1);
	noise(w, DIM, 2);
	noise(g, N * DIM, 3);
	widen(x, N * DIM, in);
	for (k = 0; k < 2; k++)
		assert_int_equal(dev_ops(devs[k])->back->rmsnorm(devs[k], x, N,
			DIM, w, EPS, g, 0, dx[k], &e), 0);
	assert_memory_equal(dx[0], dx[1], sizeof(dx[0]));
	check_slopes(norm_sum, &c, in, 0, dx[0], N * DIM);
	memcpy(more, dx[0], sizeof(more));
	assert_int_equal(dev_ops(devs[0])->back->rmsnorm(devs[0], x, N, DIM, w,
		EPS, g, 1, more, &e), 0);
	for (i = 0; i < N * DIM; i++)
		assert_true(fabsf(more[i] - 2 * dx[0][i]) < 1e-5f);
	/* in place */
	assert_int_equal(dev_ops(devs[0])->back->rmsnorm(devs[0], x, N, DIM, w,
		EPS, g, 0, g, &e), 0);
	assert_memory_equal(g, dx[0], sizeof(g));
}

/* Sequences of 1, 70 (more than a block of queries) and 9 positions. */
enum { ROWS = 80, HEADS = 4, KV = 2, DH = 6 };
static const size_t start[] = { 0, 1, 71, 80 };
static const float SCALE = 0.6f;

static double attention_sum(const double *in, const void *ctx)
{
	const double *q = in, *k = q + ROWS * HEADS * DH, *v = k + ROWS * KV * DH;
	const float *g = ctx;
	double sum = 0, p[ROWS];
	size_t s, h, i, j, c;

	for (s = 0; s < 3; s++)
		for (h = 0; h < HEADS; h++)
			for (i = start[s]; i < start[s + 1]; i++) {
				double total = 0;

				for (j = start[s]; j <= i; j++) {
					p[j] = 0;
					for (c = 0; c < DH; c++)
						p[j] += q[(i * HEADS + h) * DH + c] *
						    k[(j * KV + h / 2) * DH + c];
					p[j] = exp(p[j] * SCALE);
					total += p[j];
				}
				for (j = start[s]; j <= i; j++)
					for (c = 0; c < DH; c++)
						sum += p[j] / total *
						    v[(j * KV + h / 2) * DH + c] *
						    g[(i * HEADS + h) * DH + c];
			}
	return sum;
}

static void attention_goes_back(void **state)
{
	enum { Q = ROWS * HEADS * DH, K = ROWS * KV * DH };
	static float in[Q + 2 * K], g[Q], out[2][Q + 2 * K];
	static double wide[Q + 2 * K];
	const struct dev_seqs s = { 3, start, NULL };
	int k;

	(void)state;
	noise(in, Q + 2 * K, 5);
	noise(g, Q, 6);
	widen(in, Q + 2 * K, wide);
	for (k = 0; k < 2; k++)
		assert_int_equal(dev_ops(devs[k])->back->attention(devs[k], in,
			in + Q, in + Q + K, g, &s, HEADS, KV, DH, SCALE, out[k],
			out[k] + Q, out[k] + Q + K, &e), 0);
	assert_memory_equal(out[0], out[1], sizeof(out[0]));
	/* the second sequence's first, middle and last rows, and the third's */
	check_slopes(attention_sum, g, wide, 1 * HEADS * DH,
	             out[0] + 1 * HEADS * DH, HEADS * DH);
	check_slopes(attention_sum, g, wide, 65 * HEADS * DH,
	             out[0] + 65 * HEADS * DH, HEADS * DH);
	check_slopes(attention_sum, g, wide, Q + 3 * KV * DH,
	             out[0] + Q + 3 * KV * DH, KV * DH);
	check_slopes(attention_sum, g, wide, Q + K + 3 * KV * DH,
	             out[0] + Q + K + 3 * KV * DH, KV * DH);
	check_slopes(attention_sum, g, wide, Q + 71 * KV * DH,
	             out[0] + Q + 71 * KV * DH, 4 * KV * DH);
	check_slopes(attention_sum, g, wide, Q + K + 71 * KV * DH,
	             out[0] + Q + K + 71 * KV * DH, 9 * KV * DH);
}

enum { VOCAB = 2050, LOGIT_ROWS = 3 };

struct kl_case {
	const float *ref, *weight;
};

static double kl_sum(const double *x, const void *ctx)
{
	const struct kl_case *c = ctx;
	double sum = 0;
	size_t i, j;

	for (i = 0; i < LOGIT_ROWS; i++) {
		const double *a = x + i * VOCAB;
		const float *b = c->ref + i * VOCAB;
		double za = 0, zb = 0;

		for (j = 0; j < VOCAB; j++) {
			za += exp(a[j]);
			zb += exp(b[j]);
		}
		for (j = 0; j < VOCAB; j++)
			sum += c->weight[i] * exp(b[j]) / zb *
			       (b[j] - log(zb) - a[j] + log(za));
	}
	return sum;
}

static void divergence_goes_back(void **state)
{
	static float ref[LOGIT_ROWS * VOCAB], x[2][LOGIT_ROWS * VOCAB];
	static double in[LOGIT_ROWS * VOCAB];
	float weight[] = { 300, 0, 100 };
	struct kl_case c = { ref, weight };
	int k;

	(void)state;
	noise(ref, LOGIT_ROWS * VOCAB, 8);
	for (k = 0; k < 2; k++)
		noise(x[k], LOGIT_ROWS * VOCAB, 9);
	widen(x[0], LOGIT_ROWS * VOCAB, in);
	for (k = 0; k < 2; k++)
		assert_int_equal(dev_ops(devs[k])->back->divergence(devs[k],
			x[k], ref, LOGIT_ROWS, VOCAB, weight, &e), 0);
	assert_memory_equal(x[0], x[1], sizeof(x[0]));
	check_slopes(kl_sum, &c, in, 0, x[0], 40);
	check_slopes(kl_sum, &c, in, VOCAB, x[0] + VOCAB, 10);
	check_slopes(kl_sum, &c, in, 3 * VOCAB - 40, x[0] + 3 * VOCAB - 40, 40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rmsnorm_goes_back),
		cmocka_unit_test(attention_goes_back),
		cmocka_unit_test(divergence_goes_back),
	};

	return cmocka_run_group_tests(tests, open_devs, close_devs);
}
