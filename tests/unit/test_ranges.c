#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ranges.h"

static void lists(void **state)
{
	int out[8];
	struct err e = { 0 };

	(void)state;
	assert_int_equal(ranges_parse("all", 3, out, &e), 3);
	assert_int_equal(out[2], 2);
	assert_int_equal(ranges_parse("5,0-2,1", 8, out, &e), 4);
	assert_int_equal(out[0], 0);
	assert_int_equal(out[2], 2);
	assert_int_equal(out[3], 5);
	assert_int_equal(ranges_parse("7", 8, out, &e), 1);
	assert_int_equal(out[0], 7);
}

static void nonsense(void **state)
{
	static const char *const bad[] = {
		"", ",", "1,", ",1", "-1", "3-1", "1-", "x", "1 2", "8", "0-8",
		"99999999999999999999", "1--2", "allx", "1;2"
	};
	int out[8];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct err e = { 0 };

		assert_int_equal(ranges_parse(bad[i], 8, out, &e), -1);
		assert_int_equal(e.code, ERR_USAGE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists),
		cmocka_unit_test(nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
