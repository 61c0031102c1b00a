/* The token reader against jansson, which reads the whole: what both take must
 * be the same, and what one refuses the other must refuse. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "json_pull.h"
#include "mem.h"

struct bytes {
	const char *text;
	size_t n, at, step;	/* handed out step by step */
};

static int64_t feed(void *ctx, void *buf, size_t n, struct err *e)
{
	struct bytes *b = ctx;
	size_t left = b->n - b->at;

	(void)e;
	n = n < left ? n : left;
	n = n < b->step ? n : b->step;
	memcpy(buf, b->text + b->at, n);
	b->at += n;
	return (int64_t)n;
}

/* The value that t begins, as jansson would have it. NULL: an error. */
static json_t *build(struct json_pull *p, struct json_pull_token t,
                     struct err *e)
{
	json_t *out, *v;

	switch (t.kind) {
	case JSON_PULL_STRING:
		return json_stringn(t.text, t.n);
	case JSON_PULL_NUMBER:
		return json_real(t.number);
	case JSON_PULL_TRUE:
	case JSON_PULL_FALSE:
		return json_boolean(t.kind == JSON_PULL_TRUE);
	case JSON_PULL_NULL:
		return json_null();
	case JSON_PULL_ARRAY:
		out = json_array();
		while (json_pull_next(p, &t, e) == 1 &&
		       t.kind != JSON_PULL_END_ARRAY) {
			if (!(v = build(p, t, e)))
				break;
			json_array_append_new(out, v);
		}
		if (t.kind == JSON_PULL_END_ARRAY && !e->code)
			return out;
		break;
	default:
		assert_int_equal(t.kind, JSON_PULL_OBJECT);
		out = json_object();
		while (json_pull_next(p, &t, e) == 1 &&
		       t.kind == JSON_PULL_KEY) {
			char *key = mem_strndup(t.text, t.n, NULL);
			size_t n = t.n;

			v = json_pull_next(p, &t, e) == 1 ? build(p, t, e)
			                                  : NULL;
			if (v)
				json_object_setn_new(out, key, n, v);
			mem_free(key);
			if (!v)
				break;
		}
		if (t.kind == JSON_PULL_END_OBJECT && !e->code)
			return out;
	}
	json_decref(out);
	return NULL;
}

/* The one value of a text, read in pieces of `step` bytes. */
static json_t *pull(const char *text, size_t n, size_t step, struct err *e)
{
	struct bytes b = { text, n, 0, step };
	struct json_pull *p = json_pull_new(feed, &b, "text", NULL);
	struct json_pull_token t;
	json_t *j = NULL;
	int got;

	memset(e, 0, sizeof(*e));
	got = json_pull_next(p, &t, e);
	if (got == 1)
		j = build(p, t, e);
	if (j && json_pull_next(p, &t, e) != 0) {
		json_decref(j);
		j = NULL;
	}
	json_pull_free(p);
	return j;
}

static const char *const good[] = {
	"{}", "[]", " [ ] ", "null", "true", "false", "\"\"", "0", "-0",
	"1.5e3", "-12.25E-2", "1e+2", "[1,[2,[3,{\"a\":[]}]]]",
	"{\"a\":1,\"b\":{\"c\":null,\"d\":[true,false]},\"a\":2}",
	"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\u0041\\u00e9\\u20ac\"",
	"\"\\ud83d\\ude00x\"", "\"stra\xc3\x9f" "e \xe2\x82\xac \xf0\x9f\x98\x80\"",
	"[\n\t1 ,\r 2 ]\n", "{\"\\u0061b\":\"c\"}", "[\"\\u0000\"]",
	"123456789012345678", "0.1", "2.2250738585072014e-308",
};

static const char *const bad[] = {
	"", " ", "{", "[", "}", "]", "[1,]", "[,1]", "{,}", "{\"a\"}",
	"{\"a\":}", "{\"a\":1,}", "{1:2}", "[1 2]", "{\"a\" 1}", "[}", "{]",
	"\"", "\"\\\"", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"a\nb\"",
	"\"\xff\"", "\"\xc3\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"",
	"\"\xf4\x90\x80\x80\"", "\"\xe2\x82\"", "nul", "nulll", "True", "NaN",
	"Infinity", "-Infinity", "-", "+1", "01", "-01", "1.", ".5", "1e", "1e+",
	"1.e3", "0x10", "1_0", "'a'", "[1]]", "{}}", "// 1", "1e999", "--1",
	"\xef\xbb\xbf{}",
};

static void as_jansson(void **state)
{
	static const size_t steps[] = { 1, 2, 3, 1000 };
	struct err e;
	size_t i, s;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(*good); i++)
		for (s = 0; s < 4; s++) {
			size_t n = strlen(good[i]);
			json_t *want = json_loadb(good[i], n, JSON_DECODE_ANY |
				JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
			json_t *got = pull(good[i], n, steps[s], &e);

			if (!want || !got || !json_equal(want, got))
				fail_msg("%s: %s", good[i], e.msg);
			json_decref(want);
			json_decref(got);
		}
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		for (s = 0; s < 4; s++) {
			json_t *got = pull(bad[i], strlen(bad[i]), steps[s],
			                   &e);

			if (got || (e.code != ERR_FORMAT &&
			            strspn(bad[i], " ") < strlen(bad[i])))
				fail_msg("'%s' was taken", bad[i]);
		}
}

/* Every prefix of a text is an error, but for white space. */
static void cut_anywhere(void **state)
{
	static const char text[] =
		"{\"a\":[1.5,\"x\\u20ac\\n\",true],\"b\":{}}";
	struct err e;
	size_t n;

	(void)state;
	for (n = 1; n < sizeof(text) - 1; n++) {
		json_t *j = pull(text, n, 5, &e);

		if (j)
			fail_msg("%.*s was taken", (int)n, text);
		assert_non_null(strstr(e.msg, "text: byte "));
	}
}

static void lone_surrogates(void **state)
{
	static const struct { const char *text, *want; } cases[] = {
		{ "\"\\ud800\"", "\xef\xbf\xbd" },
		{ "\"\\udc00a\"", "\xef\xbf\xbd" "a" },
		{ "\"\\ud800\\n\"", "\xef\xbf\xbd\n" },
		{ "\"\\ud800\\\"\"", "\xef\xbf\xbd\"" },
		{ "\"\\ud800\\ud83d\\ude00\"",
		  "\xef\xbf\xbd\xf0\x9f\x98\x80" },
		{ "\"\\ud800\\u0041\"", "\xef\xbf\xbd" "A" },
		{ "\"\\ud800x\"", "\xef\xbf\xbdx" },
	};
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		json_t *j = pull(cases[i].text, strlen(cases[i].text), 1, &e);

		assert_non_null(j);
		assert_string_equal(json_string_value(j), cases[i].want);
		json_decref(j);
	}
}

/* Depth: 512 are read, 513 refused, a million too and without a stack for it. */
static void nested(void **state)
{
	enum { MILLION = 1000000 };
	char *text = mem_scratch(2 * MILLION, 1, NULL);
	struct err e;
	json_t *j;

	(void)state;
	memset(text, '[', MILLION);
	memset(text + MILLION, ']', MILLION);
	j = pull(text + MILLION - 512, 1024, 100, &e);
	assert_non_null(j);
	json_decref(j);
	assert_null(pull(text + MILLION - 513, 1026, 100, &e));
	assert_non_null(strstr(e.msg, "nested deeper than 512"));
	assert_null(pull(text, 2 * MILLION, MILLION, &e));
	assert_non_null(strstr(e.msg, "text: byte 513: nested"));
	mem_free(text);
}

/* What is skipped is not kept, however long, and what follows is found. */
static void skipping(void **state)
{
	enum { LONG = 5 << 20 };
	char *text = mem_scratch(LONG + 100, 1, NULL);
	int n = sprintf(text, "{\"skip\":[{\"x\":[1,\"");
	struct bytes b = { text, 0, 0, 4096 };
	struct json_pull *p;
	struct json_pull_token t;
	struct err e = { 0 };

	(void)state;
	memset(text + n, 'a', LONG);
	n += LONG;
	memcpy(text + n, "\\\"\"]},{}],\"keep\":7}", 20);
	b.n = strlen(text);
	p = json_pull_new(feed, &b, "text", NULL);
	assert_int_equal(json_pull_next(p, &t, &e), 1);		/* { */
	assert_int_equal(json_pull_next(p, &t, &e), 1);
	assert_int_equal(t.kind, JSON_PULL_KEY);
	assert_int_equal(json_pull_skip(p, &t, &e), 0);
	assert_int_equal(json_pull_next(p, &t, &e), 1);
	assert_string_equal(t.text, "keep");
	assert_int_equal(json_pull_next(p, &t, &e), 1);
	assert_true(t.kind == JSON_PULL_NUMBER && t.number == 7);
	assert_int_equal(json_pull_skip(p, &t, &e), 0);
	assert_int_equal(json_pull_next(p, &t, &e), 1);
	assert_int_equal(t.kind, JSON_PULL_END_OBJECT);
	assert_int_equal(json_pull_next(p, &t, &e), 0);
	assert_int_equal(json_pull_offset(p), b.n);
	json_pull_free(p);

	/* kept, it is cut after whole characters */
	text[0] = '"';
	for (n = 1; n < LONG - 3; n += 3)
		memcpy(text + n, "\xe2\x82\xac", 3);
	strcpy(text + n, "\" 1");
	b = (struct bytes) { text, strlen(text), 0, 4096 };
	p = json_pull_new(feed, &b, "text", NULL);
	assert_int_equal(json_pull_next(p, &t, &e), 1);
	assert_true(t.cut && t.n == JSON_PULL_TEXT / 3 * 3);
	assert_int_equal(json_pull_next(p, &t, &e), 1);
	assert_true(t.number == 1);
	json_pull_free(p);
	mem_free(text);
}

/* Values may follow each other, as in JSON lines. */
static void many(void **state)
{
	struct bytes b = { "{}\n[1] 2\"x\" ", 12, 0, 3 };
	struct json_pull *p = json_pull_new(feed, &b, "text", NULL);
	struct json_pull_token t;
	struct err e = { 0 };
	int n = 0;

	(void)state;
	while (json_pull_next(p, &t, &e) == 1)
		n++;
	assert_int_equal(e.code, ERR_NONE);
	assert_int_equal(n, 7);
	json_pull_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_jansson),
		cmocka_unit_test(cut_anywhere),
		cmocka_unit_test(lone_surrogates),
		cmocka_unit_test(nested),
		cmocka_unit_test(skipping),
		cmocka_unit_test(many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
