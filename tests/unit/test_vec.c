#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "vec.h"

enum { N = 211 };

static float noise(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return (float)(*state >> 8) / (1 << 23) - 1;
}

static void fill(float *x, size_t n, uint32_t seed, float scale)
{
	size_t i;

	for (i = 0; i < n; i++)
		x[i] = noise(&seed) * scale;
}

static void exp_is_accurate_and_keeps_nan(void **state)
{
	const struct vec_ops *v = vec_ops();
	float x[N], y[N];
	double worst = 0, sum;
	int round, i;

	(void)state;
	for (round = 0; round < 400; round++) {
		fill(x, N, (uint32_t)round, 0.2f * (float)(round + 1));
		sum = 0;
		assert_true(isfinite(v->exp_sum(x, N, 1.5f, y)));
		for (i = 0; i < N; i++) {
			double want = exp((double)(x[i] - 1.5f));

			if (x[i] - 1.5f > -87)
				worst = fmax(worst, fabs(y[i] - want) / want);
			else
				assert_true(y[i] >= 0 && y[i] < 1.3e-38f);
			sum += y[i];
		}
	}
	assert_true(worst < 2e-7);
	x[0] = 1e30f;
	x[1] = -INFINITY;
	x[2] = NAN;
	v->exp_sum(x, 3, 0, y);
	assert_true(y[0] > 1e38f && y[1] < 1.3e-38f && isnan(y[2]));
}

static void sums_match_double(void **state)
{
	const struct vec_ops *v = vec_ops();
	float a[N], b[N], t[N];
	double dot, sum;
	size_t n, i;

	(void)state;
	fill(a, N, 1, 2);
	fill(b, N, 2, 2);
	for (n = 0; n <= N; n++) {
		float best = -INFINITY;

		dot = sum = 0;
		for (i = 0; i < n; i++) {
			dot += (double)a[i] * b[i];
			sum += exp(a[i]);
			best = a[i] > best ? a[i] : best;
		}
		assert_true(fabs(v->dot(a, b, n) - dot) < 1e-5 * (1 + sum));
		assert_true(fabs(v->exp_sum(a, n, 0, t) - sum) < 1e-6 * sum ||
		            n == 0);
		assert_true(v->max(a, n) == best);
	}
}

static void every_table_gives_the_same_bytes(void **state)
{
	const struct vec_ops *p = vec_level(0), *v;
	float a[N], b[N], x[N], y[N];
	int level;
	size_t n;

	(void)state;
	assert_non_null(p);
	assert_null(vec_level(99));
	fill(a, N, 3, 9);
	fill(b, N, 4, 9);
	for (level = 1; level <= 2; level++) {
		if (!(v = vec_level(level)))
			continue;
		for (n = 0; n <= N; n++) {
			float s, t;

#define SAME(call) do { \
		memcpy(x, a, sizeof(a)); memcpy(y, a, sizeof(a)); \
		p->call(x); v->call(y); \
		assert_memory_equal(x, y, sizeof(x)); \
	} while (0)
#define scale(x) scale(x, 1.7f, n)
#define axpy(x) axpy(-0.3f, b, x, n)
#define silu_mul(x) silu_mul(x, b, n)
#define rope(x) rope(x, b, n / 2)
#define mul_scale(x) mul_scale(x, 0.1f, b, n, x)
			SAME(scale);
			SAME(axpy);
			SAME(silu_mul);
			SAME(rope);
			SAME(mul_scale);
			s = p->dot(a, b, n);
			t = v->dot(a, b, n);
			assert_memory_equal(&s, &t, sizeof(s));
			memcpy(x, a, sizeof(a));
			memcpy(y, a, sizeof(a));
			s = p->exp_sum(x, n, 2, x);
			t = v->exp_sum(y, n, 2, y);
			assert_memory_equal(&s, &t, sizeof(s));
			assert_memory_equal(x, y, sizeof(x));
			assert_true(p->max(a, n) == v->max(a, n));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exp_is_accurate_and_keeps_nan),
		cmocka_unit_test(sums_match_double),
		cmocka_unit_test(every_table_gives_the_same_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
