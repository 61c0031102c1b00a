/* Attribution's ops on the CPU against their loops, at odd sizes, for several
 * numbers of threads. */
#include <math.h>
#include <string.h>

#include "dev_attr_ref.h"

#define DEV_THREADS 1, 3
#include "dev_cases.h"

static void close_to(const float *got, const float *want, size_t n, double tol)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (!(fabs((double)got[i] - want[i]) <= tol))
			fail_msg("value %zu of %zu: %g, wanted %g", i, n,
			         got[i], want[i]);
}

static float *blank(size_t n)
{
	float *x = mem_scratch(n, sizeof(*x), &e);

	assert_non_null(x);
	memset(x, 255, n * sizeof(*x));		/* NaN, where not written */
	return x;
}

/* positions, targets, heads, value heads, their width */
static const size_t shapes[][5] = {
	{ 1, 1, 1, 1, 1 }, { 2, 3, 2, 1, 4 }, { 9, 17, 4, 2, 16 },
	{ 65, 5, 3, 3, 7 }, { 130, 33, 6, 2, 8 }, { 300, 2, 2, 2, 64 }
};
enum { N_SHAPES = sizeof(shapes) / sizeof(shapes[0]) };

static void patterns_are_the_loop(void **state)
{
	size_t s, i;

	(void)state;
	for (s = 0; s < N_SHAPES; s++) {
		size_t n = shapes[s][0], h = shapes[s][2], kv = shapes[s][3];
		size_t dh = shapes[s][4], size = h * n * n;
		float *q = noise(n * h * dh, 1), *k = noise(n * kv * dh, 2);
		float *want = blank(size), *first = NULL;

		dev_attr_ref_patterns(q, k, n, h, kv, dh, 0.7f, want);
		for (i = 0; i < N_DEVS; i++) {
			float *got = blank(size);

			assert_int_equal(dev_ops(devs[i])->attr->patterns(
				devs[i], q, k, n, h, kv, dh, 0.7f, got, &e), 0);
			close_to(got, want, size, 2e-6);
			if (first)
				assert_memory_equal(got, first, size *
				                    sizeof(*got));
			mem_free(first);
			first = got;
		}
		mem_free(first);
		mem_free(want);
		mem_free(q);
		mem_free(k);
	}
}

static void values_back_is_the_loop(void **state)
{
	size_t s, i;

	(void)state;
	for (s = 0; s < N_SHAPES; s++) {
		size_t n = shapes[s][0], rows = shapes[s][1], h = shapes[s][2];
		size_t kv = shapes[s][3], dh = shapes[s][4];
		size_t size = n * rows * kv * dh;
		float *q = noise(n * h * dh, 1), *k = noise(n * kv * dh, 2);
		float *p = blank(h * n * n), *dz = noise(n * rows * h * dh, 3);
		float *want = blank(size), *first = NULL;

		dev_attr_ref_patterns(q, k, n, h, kv, dh, 1, p);
		dev_attr_ref_values_back(p, dz, n, rows, h, kv, dh, want);
		for (i = 0; i < N_DEVS; i++) {
			float *got = blank(size);

			assert_int_equal(dev_ops(devs[i])->attr->values_back(
				devs[i], p, dz, n, rows, h, kv, dh, got, &e),
				0);
			close_to(got, want, size, 2e-5);
			if (first)
				assert_memory_equal(got, first, size *
				                    sizeof(*got));
			mem_free(first);
			first = got;
		}
		mem_free(first);
		mem_free(want);
		mem_free(p);
		mem_free(dz);
		mem_free(q);
		mem_free(k);
	}
}

static void values_are_the_loop(void **state)
{
	size_t s, i;

	(void)state;
	for (s = 0; s < N_SHAPES; s++) {
		size_t n = shapes[s][0], h = shapes[s][2], kv = shapes[s][3];
		size_t dh = shapes[s][4], size = n * h * dh;
		float *q = noise(n * h * dh, 1), *k = noise(n * kv * dh, 2);
		float *p = blank(h * n * n), *v = noise(n * kv * dh, 3);
		float *want = blank(size);

		dev_attr_ref_patterns(q, k, n, h, kv, dh, 1, p);
		dev_attr_ref_values(p, v, n, h, kv, dh, want);
		for (i = 0; i < N_DEVS; i++) {
			float *got = blank(size);

			assert_int_equal(dev_ops(devs[i])->attr->values(
				devs[i], p, v, n, h, kv, dh, got, &e), 0);
			close_to(got, want, size, 1e-5);
			mem_free(got);
		}
		mem_free(want);
		mem_free(p);
		mem_free(v);
		mem_free(q);
		mem_free(k);
	}
}

static void contract_is_the_loop(void **state)
{
	enum { N = 7, ROWS = 5, DIM = 19, TABLE = 11 };
	/* first[0] above 0, an empty position, a full one */
	static const size_t first[N + 1] = { 3, 3, 5, 6, 6, 17, 18, 20 };
	size_t size = ROWS * (20 - 3 + N), s, i;
	uint32_t row[20];
	float *g = noise(N * ROWS * DIM, 1), *w = noise(TABLE * DIM, 2);
	float *extra = noise(N * DIM, 3), *value = noise(20, 4);
	const struct dev_attr_src src = { first, row, value };

	(void)state;
	for (i = 0; i < 20; i++)
		row[i] = (uint32_t)(i * 5 % TABLE);
	for (s = 0; s < 2; s++) {	/* with sources, and without */
		const struct dev_attr_src *p = s ? NULL : &src;
		float *want = blank(size), *got = blank(size);

		size = s ? N * ROWS : size;
		dev_attr_ref_contract(g, N, ROWS, DIM, p, w, extra, want);
		for (i = 0; i < N_DEVS; i++) {
			assert_int_equal(dev_ops(devs[i])->attr->contract(
				devs[i], g, N, ROWS, DIM, p, s ? NULL : w,
				extra, got, &e), 0);
			close_to(got, want, size, 1e-5);
		}
		mem_free(want);
		mem_free(got);
	}
	mem_free(g);
	mem_free(w);
	mem_free(extra);
	mem_free(value);
}

static void sums_are_scaled_by_position(void **state)
{
	enum { N = 5, ROWS = 3, DIM = 9 };
	float *x = noise(N * ROWS * DIM, 1), *s = noise(N, 2);
	size_t i, j;

	(void)state;
	for (i = 0; i < N_DEVS; i++) {
		float *y = noise(N * ROWS * DIM, 3);
		float *was = noise(N * ROWS * DIM, 3);

		assert_int_equal(dev_ops(devs[i])->attr->add_scaled(devs[i], x,
			s, N, ROWS, DIM, y, &e), 0);
		for (j = 0; j < N * ROWS * DIM; j++)
			assert_float_equal(y[j], was[j] + s[j / (ROWS * DIM)] *
			                   x[j], 1e-6);
		assert_int_equal(dev_ops(devs[i])->attr->scale_rows(devs[i], x,
			s, was, N, DIM, y, &e), 0);
		for (j = 0; j < N * DIM; j++)
			assert_float_equal(y[j], x[j] * s[j / DIM] *
			                   was[j % DIM], 1e-6);
		mem_free(y);
		mem_free(was);
	}
	mem_free(x);
	mem_free(s);
}

static void heads_must_divide(void **state)
{
	float x[8] = { 0 };

	(void)state;
	assert_int_equal(dev_ops(devs[0])->attr->patterns(devs[0], x, x, 1, 3,
		2, 1, 1, x, &e), -1);
	assert_int_equal(e.code, ERR_RANGE);
	assert_int_equal(dev_ops(devs[0])->attr->values_back(devs[0], x, x, 1,
		1, 3, 2, 1, x, &e), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(patterns_are_the_loop),
		cmocka_unit_test(values_back_is_the_loop),
		cmocka_unit_test(values_are_the_loop),
		cmocka_unit_test(contract_is_the_loop),
		cmocka_unit_test(sums_are_scaled_by_position),
		cmocka_unit_test(heads_must_divide),
	};

	return cmocka_run_group_tests(tests, open_devs, close_devs);
}
