/* Encoding by values that are off a bit: TopK of these, whatever the threads, and
 * of exact ones where nothing is rounded. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dev.h"
#include "dev_cpu.h"
#include "dev_cpu_tc_coarse.h"
#include "coarse_cases.h"
#include "encode_cases.h"

enum { N = 301, D = 320, L = 1500, K = 32 };

static struct data data;
static struct err e;

struct codes {
	uint32_t latent[N * K];
	float value[N * K];
};

static struct codes got, other;

/* A table that is written out, AVX2's and VNNI's; NULL: there is none. */
static struct dev *device(int which, int threads)
{
	const struct dev_cpu_tc_coarse *table = which == 0 ? &plain_table
		: dev_cpu_tc_coarse_level(which);
	struct dev *d;

	if (!table)
		return NULL;
	d = dev_open("cpu", threads, &e);
	assert_non_null(d);
	((struct dev_cpu *)d)->coarse = table;
	return d;
}

static void near(struct dev *d, enum dev_precision p, struct codes *c)
{
	struct dev_tc_codes out = { c->latent, c->value, 0, K };

	memset(c, 7, sizeof(*c));
	dev_ops(d)->precision(d, p);
	assert_int_equal(dev_ops(d)->tc->encode_near(d, data.x, N, D, data.w,
	                                             data.b, L, &out, &e), 0);
	assert_int_equal(out.n, N);
}

static void exact(struct dev *d, struct codes *c)
{
	struct dev_tc_codes out = { c->latent, c->value, 0, K };

	memset(c, 7, sizeof(*c));
	assert_int_equal(dev_ops(d)->tc->encode(d, data.x, N, D, data.w, data.b, L,
	                                        NULL, &out, &e), 0);
}

static double dot(const float *p, const float *q)
{
	double sum = 0;
	size_t i;

	for (i = 0; i < D; i++)
		sum += (double)p[i] * q[i];
	return sum;
}

/* Of row i: codes in order, off by no more than `most` times the norms, and no latent
 * left out that is larger than the last by more than that. Returns the sum of
 * squares of what they are off by, in units of the values' spread. */
static double look_at(size_t i, const struct codes *c, double most)
{
	const uint32_t *latent = c->latent + i * K;
	const float *value = c->value + i * K, *x = data.x + i * D, *w;
	double xx = sqrt(dot(x, x)), off, sum = 0, norms;
	int there[L] = { 0 };
	size_t j;

	for (j = 0; j < K; j++) {
		assert_true(latent[j] < L && !there[latent[j]]);
		assert_true(value[j] > 0 && (!j || value[j] <= value[j - 1]));
		there[latent[j]] = 1;
		w = data.w + latent[j] * D;
		norms = xx * sqrt(dot(w, w));
		off = value[j] - dot(x, w) - data.b[latent[j]];
		assert_true(fabs(off) <= most * norms);
		sum += off * off * D / (norms * norms);
	}
	for (j = 0; j < L; j++) {
		w = data.w + j * D;
		norms = xx * sqrt(dot(w, w));
		assert_true(there[j] || dot(x, w) + data.b[j] <= value[K - 1] +
		            most * norms);
	}
	return sum;
}

static void values_are_off_by_little(void **state)
{
	int which;
	size_t i;

	(void)state;
	data = data_new(N, D, L);
	for (which = 0; which < 3; which++) {
		struct dev *d = device(which, 1);
		double sum = 0;

		if (!d)
			continue;
		near(d, DEV_Q8, &got);
		for (i = 0; i < N; i++)
			sum += look_at(i, &got, 0.004);
		sum = sqrt(sum / (N * K));
		/* rounded they are, and by a hundredth of the spread or two */
		assert_true(sum > 0.001 && sum < 0.02);
		dev_free(d);
	}
	data_free(&data);
}

static void threads_change_nothing(void **state)
{
	int which;

	(void)state;
	data = data_new(N, D, L);
	for (which = 0; which < 3; which++) {
		struct dev *one = device(which, 1), *three = device(which, 3);

		if (!one)
			continue;
		near(one, DEV_Q8, &got);
		near(three, DEV_Q8, &other);
		assert_memory_equal(&got, &other, sizeof(got));
		dev_free(one);
		dev_free(three);
	}
	data_free(&data);
}

static void nothing_is_rounded_in_f32(void **state)
{
	struct dev *d = device(0, 1);

	(void)state;
	data = data_new(N, D, L);
	near(d, DEV_NEAR, &got);
	exact(d, &other);
	assert_memory_equal(&got, &other, sizeof(got));
	dev_free(d);
	data_free(&data);
}

/* Rows that cannot be rounded, or need not be, have exact codes. */
static void what_has_no_scale_is_exact(void **state)
{
	int which;
	size_t i, j;

	(void)state;
	data = data_new(N, D, L);
	for (i = 0; i < D; i++) {
		data.x[3 * D + i] = i % 7 ? 1e30f : NAN;
		data.x[4 * D + i] = i % 7 ? data.x[4 * D + i] : INFINITY;
		data.x[5 * D + i] = 0;
	}
	for (which = 0; which < 3; which++) {
		struct dev *d = device(which, 1);

		if (!d)
			continue;
		near(d, DEV_Q8, &got);
		exact(d, &other);
		for (i = 3; i < 6; i++)
			for (j = i * K; j < (i + 1) * K; j++) {
				assert_int_equal(got.latent[j],
				                 other.latent[j]);
				assert_memory_equal(&got.value[j],
				                    &other.value[j], 4);
			}
		look_at(6, &got, 0.004);
		dev_free(d);
	}
	data_free(&data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_off_by_little),
		cmocka_unit_test(threads_change_nothing),
		cmocka_unit_test(nothing_is_rounded_in_f32),
		cmocka_unit_test(what_has_no_scale_is_exact),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
