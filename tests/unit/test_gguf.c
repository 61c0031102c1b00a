#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gguf.h"
#include "mem.h"

enum {
	U8, I8, U16, I16, U32, I32, F32, BOOL, STR, ARR, U64, I64, F64
};

/* A GGUF under construction. */
struct make {
	uint8_t b[2048];
	size_t n;
};

static void put(struct make *m, const void *p, size_t n)
{
	assert_true(m->n + n <= sizeof(m->b));
	memcpy(m->b + m->n, p, n);
	m->n += n;
}

static void u32(struct make *m, uint32_t v)
{
	put(m, &v, 4);
}

static void u64(struct make *m, uint64_t v)
{
	put(m, &v, 8);
}

static void str(struct make *m, const char *s)
{
	u64(m, strlen(s));
	put(m, s, strlen(s));
}

static void head(struct make *m, uint32_t version, uint64_t tensors,
                 uint64_t keys)
{
	m->n = 0;
	put(m, "GGUF", 4);
	u32(m, version);
	u64(m, tensors);
	u64(m, keys);
}

static void key(struct make *m, const char *name, uint32_t type)
{
	str(m, name);
	u32(m, type);
}

static void key_u32(struct make *m, const char *name, uint32_t v)
{
	key(m, name, U32);
	u32(m, v);
}

static void tensor(struct make *m, const char *name, uint32_t n_dims,
                   uint64_t ne0, uint64_t ne1, uint32_t type, uint64_t offset)
{
	str(m, name);
	u32(m, n_dims);
	if (n_dims > 0)
		u64(m, ne0);
	if (n_dims > 1)
		u64(m, ne1);
	u32(m, type);
	u64(m, offset);
}

/* Padding and n bytes of data. */
static void data(struct make *m, size_t align, size_t n)
{
	static const uint8_t zeros[512];
	size_t i;

	put(m, zeros, (align - m->n % align) % align);
	for (i = 0; i < n; i++)
		put(m, &(uint8_t){ (uint8_t)i }, 1);
}

static struct gguf *parse(const struct make *m, struct err *e)
{
	/* at its exact size, so that a sanitizer sees a byte too many */
	uint8_t *copy = malloc(m->n ? m->n : 1);
	struct gguf *g;

	memcpy(copy, m->b, m->n);
	g = gguf_parse(copy, m->n, "f", e);
	if (!g)
		free(copy);
	return g;
}

static void refused(const struct make *m, const char *says)
{
	struct err e = { 0 };

	if (parse(m, &e))
		fail_msg("accepted; wanted '%s'", says);
	assert_true(e.code == ERR_FORMAT || e.code == ERR_RANGE);
	if (!strstr(e.msg, says) || strncmp(e.msg, "f: ", 3))
		fail_msg("said '%s', wanted '%s'", e.msg, says);
}

/* Every value type and two tensors. */
static void build_all(struct make *m, uint32_t version)
{
	const double pi = 3.25;
	const float half = 0.5f;
	const int64_t low = INT64_MIN;
	const int16_t i16[3] = { 1, -2, 3 };
	const int8_t i8 = -8;

	head(m, version, 2, 15);
	key_u32(m, "general.alignment", 64);
	key(m, "u8", U8);
	put(m, "\xff", 1);
	key(m, "i8", I8);
	put(m, &i8, 1);
	key(m, "u16", U16);
	put(m, "\xff\xff", 2);
	key(m, "i16", I16);
	put(m, &i16[1], 2);
	key(m, "i32", I32);
	u32(m, (uint32_t)-3);
	key(m, "f32", F32);
	put(m, &half, 4);
	key(m, "yes", BOOL);
	put(m, "\1", 1);
	key(m, "name", STR);
	str(m, "tiny");
	key(m, "u64", U64);
	u64(m, UINT64_MAX);
	key(m, "i64", I64);
	put(m, &low, 8);
	key(m, "f64", F64);
	put(m, &pi, 8);
	key(m, "words", ARR);
	u32(m, STR);
	u64(m, 3);
	str(m, "a");
	str(m, "");
	str(m, "bcd");
	key(m, "shorts", ARR);
	u32(m, I16);
	u64(m, 3);
	put(m, i16, 6);
	key(m, "scores", ARR);
	u32(m, F32);
	u64(m, 1);
	put(m, &half, 4);
	tensor(m, "w", 2, 32, 2, 8, 64);	/* q8_0 */
	tensor(m, "b", 1, 4, 0, 1, 0);		/* f16 */
	data(m, 64, 64 + 68);
}

static void reads_every_type(void **state)
{
	static struct make m;
	struct err e = { 0 };
	struct gguf_text *words;
	const struct tensor *t;
	const char *s;
	int64_t v = 77, *ints;
	double r, *reals;
	struct gguf *g;
	uint32_t version;
	size_t n;
	int b;

	(void)state;
	for (version = 2; version <= 3; version++) {
		build_all(&m, version);
		g = gguf_parse(m.b, m.n, "f", &e);
		assert_non_null(g);
		assert_int_equal(gguf_int(g, "u8", 0, 999, &v, &e), 1);
		assert_int_equal(v, 255);
		assert_int_equal(gguf_int(g, "i8", -9, 0, &v, &e), 1);
		assert_int_equal(v, -8);
		assert_int_equal(gguf_int(g, "u16", 0, 65535, &v, &e), 1);
		assert_int_equal(v, 65535);
		assert_int_equal(gguf_int(g, "i16", -9, 0, &v, &e), 1);
		assert_int_equal(v, -2);
		assert_int_equal(gguf_int(g, "i32", -9, 0, &v, &e), 1);
		assert_int_equal(v, -3);
		assert_int_equal(gguf_int(g, "i64", INT64_MIN, 0, &v, &e), 1);
		assert_true(v == INT64_MIN);
		assert_int_equal(gguf_int(g, "no", 0, 9, &v, &e), 0);
		assert_true(v == INT64_MIN);
		assert_int_equal(gguf_int(g, "u64", 0, INT64_MAX, &v, &e), -1);
		assert_int_equal(gguf_int(g, "u8", 0, 9, &v, &e), -1);
		assert_string_equal(e.msg, "f: key 'u8' is 255, wanted 0 to 9");
		assert_int_equal(gguf_int(g, "f32", 0, 9, &v, &e), -1);
		assert_int_equal(gguf_int(g, "yes", 0, 9, &v, &e), -1);
		assert_int_equal(gguf_int(g, "words", 0, 9, &v, &e), -1);
		assert_int_equal(gguf_real(g, "f32", &r, &e), 1);
		assert_true(r == 0.5);
		assert_int_equal(gguf_real(g, "f64", &r, &e), 1);
		assert_true(r == 3.25);
		assert_int_equal(gguf_real(g, "i32", &r, &e), 1);
		assert_true(r == -3);
		assert_int_equal(gguf_real(g, "name", &r, &e), -1);
		assert_int_equal(gguf_bool(g, "yes", &b, &e), 1);
		assert_int_equal(b, 1);
		assert_int_equal(gguf_bool(g, "u8", &b, &e), -1);
		assert_int_equal(gguf_str(g, "name", &s, &e), 1);
		assert_string_equal(s, "tiny");
		assert_int_equal(gguf_str(g, "u8", &s, &e), -1);
		assert_int_equal(gguf_texts(g, "words", &words, &n, &e), 1);
		assert_int_equal(n, 3);
		assert_int_equal(words[1].n, 0);
		assert_memory_equal(words[2].s, "bcd", 3);
		mem_free(words);
		assert_int_equal(gguf_texts(g, "shorts", &words, &n, &e), -1);
		assert_int_equal(gguf_texts(g, "name", &words, &n, &e), -1);
		assert_int_equal(gguf_texts(g, "no", &words, &n, &e), 0);
		assert_int_equal(gguf_ints(g, "shorts", &ints, &n, &e), 1);
		assert_true(n == 3 && ints[1] == -2);
		mem_free(ints);
		assert_int_equal(gguf_ints(g, "scores", &ints, &n, &e), -1);
		assert_string_equal(e.msg, "f: key 'scores' is an array of "
		                    "f32, wanted an array of integers");
		assert_int_equal(gguf_reals(g, "scores", &reals, &n, &e), 1);
		assert_true(n == 1 && reals[0] == 0.5);
		mem_free(reals);
		assert_int_equal(gguf_reals(g, "words", &reals, &n, &e), -1);

		assert_int_equal(gguf_count(g), 2);
		assert_string_equal(gguf_at(g, 0)->name, "b");
		t = gguf_find(g, "w");
		assert_int_equal(t->type, DT_Q8_0);
		assert_int_equal(t->n_dims, 2);
		assert_int_equal(t->shape[0], 2);	/* rows first */
		assert_int_equal(t->shape[1], 32);
		assert_int_equal(t->n, 64);
		assert_int_equal(t->n_bytes, 68);
		assert_int_equal(*(const uint8_t *)t->data, 64);
		assert_null(gguf_find(g, "c"));
		gguf_free(g);
	}
	gguf_free(NULL);
}

static void refuses_cuts_at_every_byte(void **state)
{
	static struct make m;
	struct err e;
	size_t n;

	(void)state;
	build_all(&m, 3);
	n = m.n;
	for (m.n = 0; m.n < n; m.n++) {
		e = (struct err){ 0 };
		assert_null(parse(&m, &e));
		assert_int_equal(e.code, ERR_FORMAT);
	}
}

static void refuses_bad_heads(void **state)
{
	static struct make m;

	(void)state;
	head(&m, 3, 0, 0);
	m.b[0] = 'g';
	refused(&m, "does not begin with 'GGUF'");
	head(&m, 1, 0, 0);
	refused(&m, "version 1, wanted 2 or 3");
	head(&m, 0x03000000, 0, 0);
	refused(&m, "(big-endian)");
	head(&m, 3, 1, 0);
	refused(&m, "the number of tensors says 1, but");
	head(&m, 3, UINT64_MAX, 0);
	refused(&m, "the number of tensors says");
	head(&m, 3, 0, UINT64_MAX / 2);
	refused(&m, "the number of keys says");
}

static void refuses_bad_metadata(void **state)
{
	static struct make m;

	(void)state;
	head(&m, 3, 0, 1);
	u64(&m, UINT64_MAX);
	u64(&m, 0);
	refused(&m, "a key of 18446744073709551615 bytes");
	head(&m, 3, 0, 1);
	key(&m, "", U32);
	u64(&m, 0);
	refused(&m, "wanted 1 to 65535");
	head(&m, 3, 0, 1);
	u64(&m, 3);
	put(&m, "a\0b", 3);
	u64(&m, U32);
	refused(&m, "no NUL");
	head(&m, 3, 0, 1);
	key(&m, "k", 13);
	u64(&m, 0);
	refused(&m, "value type 13 is not supported");
	head(&m, 3, 0, 1);
	key(&m, "k", ARR);
	u32(&m, ARR);
	u64(&m, 0);
	refused(&m, "value type 9 in an array");
	head(&m, 3, 0, 1);
	key(&m, "k", ARR);
	u32(&m, U32);
	u64(&m, UINT64_MAX / 4 + 2);
	refused(&m, "k says 4611686018427387905");
	head(&m, 3, 0, 1);
	key(&m, "k", ARR);
	u32(&m, STR);
	u64(&m, 1);
	u64(&m, UINT64_MAX - 7);
	refused(&m, "k of 18446744073709551608 bytes");
	head(&m, 3, 0, 1);
	key(&m, "k", BOOL);
	put(&m, "\2", 1);
	refused(&m, "a bool is 2");
	head(&m, 3, 0, 2);
	key_u32(&m, "k", 1);
	key_u32(&m, "k", 1);
	refused(&m, "key 'k' twice");
	head(&m, 3, 0, 1);
	key_u32(&m, "general.alignment", 48);
	refused(&m, "48, wanted a power of two");
	head(&m, 3, 0, 1);
	key_u32(&m, "general.alignment", 0);
	refused(&m, "is 0, wanted 1 to");
	head(&m, 3, 0, 1);
	key(&m, "general.alignment", STR);
	str(&m, "64");
	refused(&m, "wanted an integer");
}

static void refuses_nul_in_text_when_asked_for_it(void **state)
{
	static struct make m;
	struct err e = { 0 };
	struct gguf *g;
	const char *s;

	(void)state;
	head(&m, 3, 0, 1);
	key(&m, "k", STR);
	u64(&m, 3);
	put(&m, "a\0b", 3);
	g = gguf_parse(m.b, m.n, "f", &e);
	assert_non_null(g);
	assert_int_equal(gguf_str(g, "k", &s, &e), -1);
	assert_non_null(strstr(e.msg, "NUL at byte 1"));
	gguf_free(g);
}

/* One tensor (or two) in a file with n bytes of data. */
static void refuses_bad_tensors(void **state)
{
	static const struct {
		uint32_t n_dims;
		uint64_t ne0, ne1;
		uint32_t type;
		uint64_t offset;
		const char *says;
	} bad[] = {
		{ 5, 1, 1, 0, 0, "5 dimensions" },
		{ 2, 4, 0, 0, 0, "dimension 1 is 0" },
		{ 2, UINT64_MAX, 2, 0, 0, "dimension 1 is 2" },
		{ 1, UINT64_MAX / 2, 0, 0, 0, "does not fit" },
		{ 1, 4, 0, 4, 0, "ggml type 4 is not supported" },
		{ 1, 4, 0, UINT32_MAX, 0, "is not supported" },
		{ 2, 16, 2, 2, 0, "multiple of 32" },
		{ 1, 4, 0, 0, 4, "wanted a multiple of 32" },
		{ 1, 17, 0, 0, 0, "68 bytes at data byte 0, but there are 64" },
		{ 1, 4, 0, 0, 64, "there are 64" },
		{ 1, 4, 0, 0, UINT64_MAX - 31, "there are 64" },
	};
	static struct make m;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		head(&m, 3, 1, 0);
		tensor(&m, "t", bad[i].n_dims, bad[i].ne0, bad[i].ne1,
		       bad[i].type, bad[i].offset);
		data(&m, 32, 64);
		refused(&m, bad[i].says);
	}
	head(&m, 3, 2, 0);
	tensor(&m, "t", 1, 4, 0, 0, 0);
	tensor(&m, "t", 1, 4, 0, 0, 32);
	data(&m, 32, 64);
	refused(&m, "tensor 't' twice");
	head(&m, 3, 2, 0);
	tensor(&m, "t", 1, 9, 0, 0, 0);
	tensor(&m, "u", 1, 4, 0, 0, 32);
	data(&m, 32, 64);
	refused(&m, "'t' and 'u' overlap");
	head(&m, 3, 1, 0);
	str(&m, "");
	data(&m, 32, 64);
	refused(&m, "a tensor's name of 0 bytes");
}

static void opens_files(void **state)
{
	char path[] = "/tmp/r1-test-gguf-XXXXXX";
	static struct make m;
	struct err e = { 0 };
	int fd = mkstemp(path);
	struct gguf *g;

	(void)state;
	assert_null(gguf_open(path, &e));
	assert_int_equal(e.code, ERR_FORMAT);
	build_all(&m, 3);
	assert_int_equal(write(fd, m.b, m.n), (ssize_t)m.n);
	g = gguf_open(path, &e);
	assert_non_null(g);
	assert_int_equal(gguf_count(g), 2);
	gguf_free(g);
	close(fd);
	unlink(path);
	assert_null(gguf_open(path, &e));
	assert_int_equal(e.code, ERR_IO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_every_type),
		cmocka_unit_test(refuses_cuts_at_every_byte),
		cmocka_unit_test(refuses_bad_heads),
		cmocka_unit_test(refuses_bad_metadata),
		cmocka_unit_test(refuses_nul_in_text_when_asked_for_it),
		cmocka_unit_test(refuses_bad_tensors),
		cmocka_unit_test(opens_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
