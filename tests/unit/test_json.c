#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "json.h"

static struct err e;

static json_t *parse(const char *s)
{
	return json_parse(s, strlen(s), "in", &e);
}

static void errors_name_source_and_byte(void **state)
{
	(void)state;
	assert_null(parse("{\"a\": 1,}"));
	assert_int_equal(e.code, ERR_FORMAT);
	assert_non_null(strstr(e.msg, "in: byte "));
	assert_null(parse(""));
	assert_null(parse("1 2"));
	assert_null(json_parse("[1]", 2, "in", &e));
}

static void depth_is_bounded(void **state)
{
	char s[2048], brackets[] = "\"[[[[\"";
	json_t *j;
	int i;

	(void)state;
	for (i = 0; i < 512; i++) {
		s[i] = '[';
		s[i + 512] = ']';
	}
	j = json_parse(s, 1024, "in", &e);
	assert_non_null(j);
	json_decref(j);
	memset(s, '[', 513);
	memset(s + 513, ']', 513);
	assert_null(json_parse(s, 1026, "in", &e));
	assert_non_null(strstr(e.msg, "deeper than 512"));
	j = parse(brackets);	/* none of these count */
	assert_non_null(j);
	json_decref(j);
}

static void getters_check_type_and_range(void **state)
{
	json_t *o = parse("{\"n\": 5, \"r\": 2.5, \"t\": true, \"s\": \"x\", "
	                  "\"z\": null, \"n\": 6}");
	const char *s;
	int64_t n;
	double r;
	int t;

	(void)state;
	assert_non_null(o);
	assert_int_equal(json_int(o, "n", 0, 9, -1, &n, &e), 0);
	assert_int_equal(n, 6);		/* the last wins */
	assert_int_equal(json_int(o, "n", 0, 5, -1, &n, &e), -1);
	assert_string_equal(e.msg, "n is 6, wanted 0 to 5");
	assert_int_equal(json_int(o, "r", 0, 9, -1, &n, &e), -1);
	assert_int_equal(json_int(o, "q", 0, 9, -1, &n, &e), -1);
	assert_string_equal(e.msg, "no q");
	assert_int_equal(json_int(o, "z", 0, 9, 3, &n, &e), 0);
	assert_int_equal(n, 3);
	assert_int_equal(json_number(o, "r", 0, 9, -1, &r, &e), 0);
	assert_true(r == 2.5);
	assert_int_equal(json_number(o, "n", 0, 9, -1, &r, &e), 0);
	assert_true(r == 6);
	assert_int_equal(json_number(o, "r", 3, 9, 4, &r, &e), -1);
	assert_int_equal(json_number(o, "s", 0, 9, 4, &r, &e), -1);
	assert_int_equal(json_number(o, "q", 0, 9, -1, &r, &e), -1);
	assert_int_equal(json_bool(o, "t", 0, &t, &e), 0);
	assert_int_equal(t, 1);
	assert_int_equal(json_bool(o, "q", 1, &t, &e), 0);
	assert_int_equal(t, 1);
	assert_int_equal(json_bool(o, "n", 1, &t, &e), -1);
	assert_int_equal(json_str(o, "s", NULL, &s, &e), 0);
	assert_string_equal(s, "x");
	assert_int_equal(json_str(o, "q", NULL, &s, &e), 0);
	assert_null(s);
	assert_int_equal(json_str(o, "t", NULL, &s, &e), -1);
	json_decref(o);
}

static void integers_beyond_64_bits_become_reals(void **state)
{
	json_t *o = parse("{\"big\": 1000000000000000019884624838656, "
	                  "\"n\": 7, \"r\": 2.5}");
	int64_t n;

	(void)state;
	assert_non_null(o);
	assert_int_equal(json_int(o, "n", 0, 9, -1, &n, &e), 0);
	assert_int_equal(n, 7);
	assert_int_equal(json_int(o, "r", 0, 9, -1, &n, &e), -1);
	assert_int_equal(json_int(o, "big", 0, 9, -1, &n, &e), -1);
	json_decref(o);
}

static void files_are_bounded(void **state)
{
	char path[] = "/tmp/r1-test-json.XXXXXX";
	int fd = mkstemp(path);
	json_t *j;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "[1, 2]", 6), 6);
	close(fd);
	j = json_read(path, 6, &e);
	assert_int_equal(json_array_size(j), 2);
	json_decref(j);
	assert_null(json_read(path, 5, &e));
	assert_int_equal(e.code, ERR_FORMAT);
	unlink(path);
	assert_null(json_read(path, 6, &e));
	assert_int_equal(e.code, ERR_IO);
	assert_null(json_read("/tmp", 6, &e));
}

static void bytes_become_strings(void **state)
{
	static const struct { const char *in, *want; } cases[] = {
		{ "plain", "plain" },
		{ "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\u00e9\u20ac\U0001f600" },
		{ "a\xff" "b", "a\ufffd" "b" },
		{ "\xe2\x82", "\ufffd" },		/* cut */
		{ "\xed\xa0\x80", "\ufffd\ufffd\ufffd" },	/* surrogate */
		{ "\xf0\x9f\x98", "\ufffd" },
		{ "\xc0\xaf", "\ufffd\ufffd" },		/* overlong */
		{ "\xf4\x90\x80\x80", "\ufffd\ufffd\ufffd\ufffd" },
		{ "", "" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		json_t *j = json_bytes(cases[i].in, strlen(cases[i].in), &e);

		assert_string_equal(json_string_value(j), cases[i].want);
		json_decref(j);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors_name_source_and_byte),
		cmocka_unit_test(depth_is_bounded),
		cmocka_unit_test(getters_check_type_and_range),
		cmocka_unit_test(integers_beyond_64_bits_become_reals),
		cmocka_unit_test(files_are_bounded),
		cmocka_unit_test(bytes_become_strings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
