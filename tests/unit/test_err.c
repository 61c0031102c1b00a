#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "err.h"

static void set_formats_and_returns_minus_one(void **state)
{
	struct err e = { 0 };

	(void)state;
	assert_int_equal(err_set(&e, ERR_FORMAT, "record %d", 7), -1);
	assert_int_equal(e.code, ERR_FORMAT);
	assert_string_equal(e.msg, "record 7");
	assert_int_equal(err_set(NULL, ERR_IO, "x"), -1);
}

static void messages_stay_on_one_line(void **state)
{
	struct err e = { 0 };

	(void)state;
	err_set(&e, ERR_FORMAT, "name '%s'", "a\nb\x1b[2J");
	assert_string_equal(e.msg, "name 'a?b?[2J'");
}

static void wrap_prefixes_and_keeps_the_code(void **state)
{
	struct err e = { 0 };

	(void)state;
	err_set(&e, ERR_RANGE, "too big");
	assert_int_equal(err_wrap(&e, "%s", "file"), -1);
	assert_string_equal(e.msg, "file: too big");
	assert_int_equal(e.code, ERR_RANGE);
}

static void sys_appends_the_reason(void **state)
{
	struct err e = { 0 };

	(void)state;
	errno = ENOENT;
	err_sys(&e, "open %s", "f");
	assert_string_equal(e.msg, "open f: No such file or directory");
	assert_int_equal(e.code, ERR_IO);
}

static void long_messages_are_cut_not_overrun(void **state)
{
	struct err e = { 0 };
	char big[2000];

	(void)state;
	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = 0;
	err_set(&e, ERR_IO, "%s", big);
	err_wrap(&e, "%s", big);
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_formats_and_returns_minus_one),
		cmocka_unit_test(messages_stay_on_one_line),
		cmocka_unit_test(wrap_prefixes_and_keeps_the_code),
		cmocka_unit_test(sys_appends_the_reason),
		cmocka_unit_test(long_messages_are_cut_not_overrun),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
