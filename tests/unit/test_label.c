/* label: the forms of answers, scores, prices. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "label.h"
#include "label_wire.h"

#define GOOD "{\"explanation\":\"w\",\"label\":\" a\\nb \",\"tags\":[\"none\",\"doubt\"]," \
	"\"quality\":9,\"interestingness\":0,\"confidence\":10}"

static int parse(enum label_form f, size_t n, const char *text,
                 struct label_answer *a)
{
	struct err e = { 0 };
	int rc = label_form_parse(f, n, text, strlen(text), a, &e);

	assert_true(rc == 0 || (rc == -1 && e.code == ERR_FORMAT && *e.msg));
	return rc;
}

static void test_labels(void **state)
{
	static const char *const bad[] = {
		"", "null", "[]", "label", GOOD "x", "x" GOOD,
		"{\"explanation\":\"w\",\"label\":\"\",\"tags\":[\"none\"],"
		"\"quality\":9,\"interestingness\":0,\"confidence\":1}",
		"{\"explanation\":\"w\",\"label\":\"l\",\"tags\":[],"
		"\"quality\":9,\"interestingness\":0,\"confidence\":1}",
		"{\"explanation\":\"w\",\"label\":\"l\",\"tags\":[\"joy\"],"
		"\"quality\":9,\"interestingness\":0,\"confidence\":1}",
		"{\"explanation\":\"w\",\"label\":\"l\",\"tags\":[\"none\"],"
		"\"quality\":11,\"interestingness\":0,\"confidence\":1}",
		"{\"explanation\":\"w\",\"label\":\"l\",\"tags\":[\"none\"],"
		"\"quality\":9,\"interestingness\":0}",
	};
	struct label_answer a;
	size_t i;

	(void)state;
	assert_int_equal(parse(LABEL_FORM_LABEL, 0, GOOD, &a), 0);
	assert_string_equal(a.label, "a b");
	assert_int_equal(a.quality, 9);
	assert_int_equal(a.interest, 0);
	assert_int_equal(a.confidence, 10);
	assert_int_equal(a.tags, 1 << 2);	/* doubt beats none */
	label_answer_free(&a);
	assert_int_equal(parse(LABEL_FORM_LABEL, 0, "<think>{</think>\n```json\n"
	                       GOOD "\n```\n", &a), 0);
	label_answer_free(&a);
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(parse(LABEL_FORM_LABEL, 0, bad[i], &a), -1);
}

static void test_bits(void **state)
{
	struct label_answer a;

	(void)state;
	assert_int_equal(parse(LABEL_FORM_BITS, 3, "{\"results\":[1,0,1]}", &a),
	                 0);
	assert_int_equal(a.n_bits, 3);
	assert_true(a.bits[0] && !a.bits[1] && a.bits[2]);
	assert_int_equal(parse(LABEL_FORM_BITS, 3, "{\"results\":[1,0]}", &a),
	                 -1);
	assert_int_equal(parse(LABEL_FORM_BITS, 2, "{\"results\":[1,2]}", &a),
	                 -1);
	assert_int_equal(parse(LABEL_FORM_BITS, 2, "{\"results\":[1,\"0\"]}",
	                       &a), -1);
	assert_int_equal(parse(LABEL_FORM_BITS, 0, "{}", &a), -1);
}

/* The lengths of a list of judgements go to servers of one's own alone. */
static void test_lengths(void **state)
{
	static const char *const base[] = {
		"http://127.0.0.1:8080/v1", "https://api.openai.com/v1"
	};
	struct label_ask a = { .form = LABEL_FORM_BITS, .n_items = 3,
	                       .system = (char *)"s", .user = (char *)"u" };
	struct label_wire w = { .who = LABEL_OPENAI, .model = "m",
	                        .max_tokens = 9, .format = "schema" };
	json_t *b, *list;
	struct err e = { 0 };
	int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		w.base_url = base[i];
		assert_non_null(b = label_wire_body(&w, &a, &e));
		assert_int_equal(json_unpack(b, "{s:{s:{s:{s:{s:o}}}}}",
		                 "response_format", "json_schema", "schema",
		                 "properties", "results", &list), 0);
		assert_int_equal(json_integer_value(json_object_get(list,
		                 "minItems")), i ? 0 : 3);
		assert_int_equal(json_integer_value(json_object_get(list,
		                 "maxItems")), i ? 0 : 3);
		json_decref(b);
	}
}

/* Wilson's interval of 8/10 is 0.4902 to 0.9433 and of 6/10 0.3127 to 0.8318. */
static void test_score(void **state)
{
	struct label_score s = { .on = 10, .off = 10, .hit_on = 8,
	                         .hit_off = 6 };
	struct label_score one = { .on = 3, .hit_on = 3 };

	(void)state;
	assert_int_equal(label_score_close(&s), 0);
	assert_true(fabs(s.balanced - 0.7) < 1e-12);
	assert_true(fabs(s.low - (0.7 - hypot(0.30984, 0.28733) / 2)) < 1e-3);
	assert_true(fabs(s.high - (0.7 + hypot(0.14332, 0.23183) / 2)) < 1e-3);
	assert_int_equal(label_score_close(&one), -1);
}

static void test_price(void **state)
{
	struct label_usage u = { .input = 1000000, .output = 1000000 };
	struct label_price p;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(label_price(NULL, "gpt-4o-mini-2024", &p, &e), 1);
	assert_true(fabs(label_price_of(&p, &u, 0) - 0.75) < 1e-9);
	assert_true(fabs(label_price_of(&p, &u, 1) - 0.375) < 1e-9);
	assert_int_equal(label_price(NULL, "nobody", &p, &e), 0);
	assert_int_equal(label_price("/nowhere", "x", &p, &e), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_labels), cmocka_unit_test(test_bits),
		cmocka_unit_test(test_lengths), cmocka_unit_test(test_score), cmocka_unit_test(test_price)
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
