#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

static void is_zero(const char *p, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (p[i])
			fail_msg("byte %zu of %zu is %d", i, n, p[i]);
}

/* Arrays are zeros, whatever lay there before and however they end. */
static void arrays_are_zeros(void **state)
{
	static const size_t sizes[] = { 0, 1, 63, 4097, 2 << 20, (4 << 20) - 1,
	                                4 << 20, (4 << 20) + 4097, 9000001 };
	struct err e = { 0 };
	size_t i, round;

	(void)state;
	/* so that what is freed is given out again, and no new page */
	for (round = 0; round < 3; round++)
		for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
			char *p = mem_array(sizes[i], 1, &e);

			assert_non_null(p);
			assert_true((uintptr_t)p % 64 == 0);
			is_zero(p, sizes[i]);
			memset(p, 0x5a, sizes[i]);
			mem_free(p);
			p = mem_scratch(sizes[i], 1, &e);
			assert_non_null(p);
			memset(p, 0xa5, sizes[i]);
			mem_free(p);
		}
}

/* What lies beside an array stays when it is made. */
static void neighbours_stay(void **state)
{
	enum { N = 6, BYTES = (4 << 20) + 100 };
	struct err e = { 0 };
	char *p[N];
	size_t i;

	(void)state;
	for (i = 0; i < N; i++) {
		p[i] = i % 2 ? mem_array(BYTES, 1, &e) : mem_scratch(BYTES, 1, &e);
		assert_non_null(p[i]);
		memset(p[i], (int)i + 1, BYTES);
	}
	for (i = 0; i < N; i += 2) {
		mem_free(p[i]);
		p[i] = mem_array(BYTES - 4096 * i, 1, &e);
		assert_non_null(p[i]);
		is_zero(p[i], BYTES - 4096 * i);
	}
	for (i = 1; i < N; i += 2)
		assert_true(p[i][0] == (char)(i + 1) &&
		            memcmp(p[i], p[i] + 1, BYTES - 1) == 0);
	for (i = 0; i < N; i++)
		mem_free(p[i]);
}

static void sizes_that_do_not_fit_are_refused(void **state)
{
	struct err e = { 0 };
	char *p = NULL;
	size_t cap = 0, out;

	(void)state;
	assert_int_equal(mem_mul(SIZE_MAX, 2, &out, &e), -1);
	assert_null(mem_array(SIZE_MAX / 2, 3, &e));
	assert_int_equal(e.code, ERR_RANGE);
	assert_null(mem_array(SIZE_MAX - 5, 1, &e));
	assert_int_equal(mem_grow(&p, &cap, SIZE_MAX, 1, &e), -1);
	assert_true(!p && !cap);
}

static void growing_keeps_what_is_there(void **state)
{
	struct err e = { 0 };
	size_t cap = 0, n, i;
	uint32_t *v = NULL;

	(void)state;
	for (n = 1; n < 3000000; n = n * 3 + 1) {
		assert_int_equal(mem_grow(&v, &cap, n, sizeof(*v), &e), 0);
		assert_true(cap >= n);
		for (i = 0; i < n / 3; i++)
			assert_int_equal(v[i], i);
		for (; i < n; i++)
			v[i] = (uint32_t)i;
	}
	n = cap;
	assert_int_equal(mem_grow(&v, &cap, SIZE_MAX, sizeof(*v), &e), -1);
	assert_true(cap == n && v[1] == 1);
	mem_free(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arrays_are_zeros),
		cmocka_unit_test(neighbours_stay),
		cmocka_unit_test(sizes_that_do_not_fit_are_refused),
		cmocka_unit_test(growing_keeps_what_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
