#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "mpk.h"

/* splitmix64: the same cases on every machine */
static uint64_t seed;

static uint64_t draw(void)
{
	uint64_t z = seed += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* Lengths on both sides of each of msgpack's encodings. */
static size_t draw_length(void)
{
	static const size_t n[] = { 0, 1, 15, 16, 31, 32, 255, 256 };

	return n[draw() % 8];
}

static json_t *draw_json(int depth)
{
	static char text[300];
	json_t *j;
	size_t n, i;

	switch (draw() % (depth ? 8 : 6)) {
	case 0:
		return json_null();
	case 1:
		return json_boolean(draw() & 1);
	case 2:
		return json_integer((json_int_t)(draw() >> draw() % 64));
	case 3:
		return json_integer(-(json_int_t)(draw() >> (1 + draw() % 63)));
	case 4:
		return json_real((double)(int64_t)draw() / 65536);
	case 5:
		n = draw_length();
		for (i = 0; i < n; i++)
			text[i] = (char)('a' + draw() % 26);
		return json_stringn(text, n);
	case 6:
		j = json_array();
		for (n = draw() % 20; n; n--)
			json_array_append_new(j, draw_json(depth - 1));
		return j;
	default:
		j = json_object();
		for (n = draw() % 20; n; n--) {
			json_t *key = json_sprintf("k%d", (int)(draw() % 99));

			json_object_set_new(j, json_string_value(key),
			                    draw_json(depth - 1));
			json_decref(key);
		}
		return j;
	}
}

static void trees_come_back(void **state)
{
	struct err e = { 0 };
	struct mpk_out o;
	int i;

	(void)state;
	seed = 1;
	mpk_out_init(&o);
	for (i = 0; i < 500; i++) {
		json_t *j = draw_json(4), *k;
		struct mpk_scan whole = { 0 }, bits = { 0 };
		struct mpk m = { 0 };
		size_t len = 0, n, at;
		const uint8_t *p;

		mpk_out_reset(&o);
		assert_int_equal(mpk_put_json(&o, j, &e), 0);
		p = (const uint8_t *)o.buf.data;
		n = o.buf.size;
		assert_int_equal(mpk_scan(&whole, p, n, n, &len, &e), 1);
		assert_int_equal(len, n);
		/* In pieces: never complete early, never asks too much. */
		for (at = 0; at < n; at += 1 + draw() % 40) {
			assert_int_equal(mpk_scan(&bits, p, at, n, &len, &e),
			                 0);
			assert_in_range(len, at + 1, n);
		}
		assert_int_equal(mpk_scan(&bits, p, n, n, &len, &e), 1);
		assert_int_equal(mpk_parse(&m, p, n, &e), 0);
		k = mpk_to_json(m.root, &e);
		assert_non_null(k);
		assert_true(json_equal(j, k));
		mpk_free(&m);
		/* Cut anywhere: no object. */
		assert_int_equal(mpk_parse(&m, p, draw() % n, &e), -1);
		json_decref(j);
		json_decref(k);
	}
	mpk_out_free(&o);
}

/* RFC 4648's own vectors, and all bytes. */
static void base64_is_base64(void **state)
{
	static const char *const want[] = {
		"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"
	};
	struct err e = { 0 };
	struct mpk_out o;
	uint8_t all[256];
	size_t i;

	(void)state;
	for (i = 0; i < 256; i++)
		all[i] = (uint8_t)(255 - i);
	mpk_out_init(&o);
	for (i = 0; i <= 256; i++) {
		const void *bytes = i < 7 ? (const void *)"foobar" : all;
		struct mpk m = { 0 };
		const char *text;
		json_t *j;

		mpk_out_reset(&o);
		assert_int_equal(mpk_put_bin(&o, bytes, i, &e), 0);
		assert_int_equal(mpk_parse(&m, (uint8_t *)o.buf.data,
		                           o.buf.size, &e), 0);
		j = mpk_to_json(m.root, &e);
		mpk_free(&m);
		text = json_string_value(json_object_get(j, "bin"));
		if (i < 7)
			assert_string_equal(text, want[i]);
		mpk_out_reset(&o);
		assert_int_equal(mpk_put_json(&o, j, &e), 0);
		json_decref(j);
		assert_int_equal(mpk_parse(&m, (uint8_t *)o.buf.data,
		                           o.buf.size, &e), 0);
		assert_int_equal(m.root->type, MSGPACK_OBJECT_BIN);
		assert_int_equal(m.root->via.bin.size, i);
		assert_true(!i || !memcmp(m.root->via.bin.ptr, bytes, i));
		mpk_free(&m);
	}
	for (i = 0; i < 5; i++) {
		static const char *const bad[] = {
			"Zg=", "Z", "Z===", "Zg==Zg==", "Zm9*"
		};
		json_t *j = json_pack("{s:s}", "bin", bad[i]);

		assert_int_equal(mpk_put_json(&o, j, &e), -1);
		json_decref(j);
	}
	mpk_out_free(&o);
}

static int scan(const void *bytes, size_t n, size_t max, size_t *len,
                struct err *e)
{
	struct mpk_scan s = { 0 };

	*len = 0;
	return mpk_scan(&s, bytes, n, max, len, e);
}

static void counts_are_not_believed(void **state)
{
	uint8_t deep[64];
	struct err e = { 0 };
	size_t len;

	(void)state;
	/* 4 Gi elements or bytes announced, none there */
	assert_int_equal(scan("\xdd\xff\xff\xff\xff", 5, 1 << 20, &len, &e), -1);
	assert_int_equal(scan("\xdf\xff\xff\xff\xff", 5, 1 << 20, &len, &e), -1);
	assert_int_equal(scan("\xc6\xff\xff\xff\xff", 5, 1 << 20, &len, &e), -1);
	assert_int_equal(scan("\xdb\xff\xff\xff\xff", 5, 1 << 20, &len, &e), -1);
	assert_int_equal(e.code, ERR_RANGE);
	/* allowed, but not there yet */
	assert_int_equal(scan("\xc6\x00\x01\x00\x00", 5, 1 << 20, &len, &e), 0);
	/* a length that is there in part */
	assert_int_equal(scan("\xc6\x00", 2, 1 << 20, &len, &e), 0);
	assert_int_equal(len, 5);
	memset(deep, 0x91, sizeof(deep));
	deep[MPK_DEPTH] = 0xc0;
	assert_int_equal(scan(deep, MPK_DEPTH + 1, 99, &len, &e), 1);
	deep[MPK_DEPTH] = 0x91;
	assert_int_equal(scan(deep, sizeof(deep), 99, &len, &e), -1);
	assert_non_null(strstr(e.msg, "byte 24: nested deeper"));
	assert_int_equal(scan("\xc1", 1, 99, &len, &e), -1);
	assert_int_equal(scan("\x92\x01\xc1", 3, 99, &len, &e), -1);
	assert_non_null(strstr(e.msg, "byte 2"));
	assert_int_equal(scan("", 0, 99, &len, &e), 0);
}

/* {"a": 1, "b": "x", "c": bin, "d": [1], "a": 2, "n": nil} */
static void members_are_what_is_asked_for(void **state)
{
	static const char map[] = "\x86\xa1" "a\x01\xa1" "b\xa1x\xa1" "c\xc4\x01z"
		"\xa1" "d\x91\x01\xa1" "a\x02\xa1n\xc0";
	struct err e = { 0 };
	struct mpk m = { 0 };
	const msgpack_object *items;
	const uint8_t *p;
	const char *s;
	uint64_t v;
	size_t n;

	(void)state;
	assert_int_equal(mpk_parse(&m, (const uint8_t *)map, sizeof(map) - 1,
	                           &e), 0);
	assert_int_equal(mpk_u64(m.root, "a", 1, &v, &e), 0);
	assert_int_equal(v, 1);
	assert_int_equal(mpk_u64(m.root, "a", 0, &v, &e), -1);
	assert_string_equal(e.msg, "'a': wanted at most 0, found 1");
	assert_int_equal(mpk_u64(m.root, "b", 9, &v, &e), -1);
	assert_string_equal(e.msg, "'b': wanted a whole number, found str");
	assert_int_equal(mpk_str(m.root, "b", &s, &n, &e), 0);
	assert_int_equal(n, 1);
	assert_int_equal(mpk_bin(m.root, "c", &p, &n, &e), 0);
	assert_int_equal(*p, 'z');
	assert_int_equal(mpk_bin(m.root, "q", &p, &n, &e), -1);
	assert_string_equal(e.msg, "'q': wanted a bin, found nothing");
	assert_int_equal(mpk_array(m.root, "d", &items, &n, &e), 0);
	assert_int_equal(mpk_array(m.root, "n", &items, &n, &e), -1);
	assert_string_equal(mpk_type(mpk_get(m.root, "n")), "nil");
	assert_null(mpk_get(items, "a"));
	assert_null(mpk_to_json(m.root, &e));
	assert_non_null(strstr(e.msg, "'a' is no UTF-8 or stands twice"));
	mpk_free(&m);
	assert_int_equal(mpk_parse(&m, (const uint8_t *)"\x01\x02", 2, &e), -1);
}

static void json_gets_no_nonsense(void **state)
{
	static const struct { const char *bytes; size_t n; } bad[] = {
		{ "\xcb\x7f\xf8\0\0\0\0\0\0", 9 },	/* NaN */
		{ "\xca\x7f\x80\0\0", 5 },		/* infinity */
		{ "\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 9 },
		{ "\xa1\xff", 2 },			/* no UTF-8 */
		{ "\x81\x01\x01", 3 },			/* key 1 */
		{ "\x81\xa2k\0\x01", 5 },		/* key with NUL */
		{ "\x81\xa1\xff\x01", 4 },
		{ "\xd4\x01\x01", 3 },			/* ext */
		{ "\x91\x91\xd4\x01\x01", 5 },
	};
	struct err e = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct mpk m = { 0 };

		assert_int_equal(mpk_parse(&m, (const uint8_t *)bad[i].bytes,
		                           bad[i].n, &e), 0);
		e.msg[0] = 0;
		assert_null(mpk_to_json(m.root, &e));
		assert_true(e.msg[0] != 0);
		mpk_free(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trees_come_back),
		cmocka_unit_test(base64_is_base64),
		cmocka_unit_test(counts_are_not_believed),
		cmocka_unit_test(members_are_what_is_asked_for),
		cmocka_unit_test(json_gets_no_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
