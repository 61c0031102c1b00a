#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "map.h"
#include "safet.h"
#include "sha256.h"

static char dir[] = "/tmp/r1-test-safet-XXXXXX";

static const char *in_dir(const char *name)
{
	static char path[4][256];
	static int turn;

	turn = (turn + 1) & 3;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", dir, name);
	return path[turn];
}

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	char cmd[300];

	(void)state;
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	return system(cmd);
}

/* A file with this header and n_data bytes counting up from 0; its size. */
static size_t build(uint8_t *buf, const char *head, size_t n_data)
{
	size_t n = strlen(head), i;

	for (i = 0; i < 8; i++)
		buf[i] = (uint8_t)(n >> 8 * i);
	memcpy(buf + 8, head, n);
	for (i = 0; i < n_data; i++)
		buf[8 + n + i] = (uint8_t)i;
	return 8 + n + n_data;
}

static void reads_a_file_by_hand(void **state)
{
	const char *head =
		"{\"__metadata__\":{\"format\":\"pt\"},"
		"\"b\":{\"dtype\":\"F32\",\"shape\":[2,1],"
		"\"data_offsets\":[3,11]},"
		"\"a\":{\"dtype\":\"U8\",\"shape\":[3],"
		"\"data_offsets\":[0,3]},"
		"\"none\":{\"dtype\":\"I64\",\"shape\":[0,7],"
		"\"data_offsets\":[3,3]},"
		"\"one\":{\"dtype\":\"BF16\",\"shape\":[],"
		"\"data_offsets\":[11,13]}}  ";
	static uint8_t buf[600];
	const size_t want[2] = { 2, 0 }, wrong[2] = { 3, 0 };
	size_t n = build(buf, head, 13);
	struct err e = { 0 };
	struct safet *s = safet_parse(buf, n, "hand", &e);
	const struct tensor *t;

	(void)state;
	assert_non_null(s);
	assert_int_equal(safet_count(s), 4);
	assert_string_equal(safet_at(s, 0)->name, "a");
	assert_string_equal(safet_meta(s, "format"), "pt");
	assert_null(safet_meta(s, "x"));
	assert_null(safet_find(s, "c"));
	t = safet_find(s, "b");
	assert_int_equal(t->type, DT_F32);
	assert_int_equal(t->n_dims, 2);
	assert_int_equal(t->n, 2);
	assert_int_equal(*(const uint8_t *)t->data, 3);
	assert_int_equal(safet_find(s, "one")->n, 1);
	assert_int_equal(safet_find(s, "none")->n, 0);
	assert_ptr_equal(safet_get(s, "b", 2, want, &e), t);
	assert_null(safet_get(s, "b", 2, wrong, &e));
	assert_string_equal(e.msg, "hand: tensor 'b': dimension 0 is 2, "
	                    "wanted 3");
	assert_null(safet_get(s, "b", 1, want, &e));
	assert_null(safet_get(s, "c", 1, want, &e));
	assert_string_equal(e.msg, "hand: no tensor 'c'");
	safet_free(s);
	safet_free(NULL);
}

#define T(name, type, shape, offs) "\"" name "\":{\"dtype\":\"" type "\"," \
	"\"shape\":" shape ",\"data_offsets\":" offs "}"

/* One broken rule each; every file has 8 bytes of data. */
static void refuses_every_broken_rule(void **state)
{
	static const struct { const char *head, *says; } bad[] = {
		{ "[]", "begin with '{'" },
		{ "{", "header" },
		{ "{} x", "header" },
		{ "{}", "8 data bytes after the last tensor" },
		{ "{\"a\":3}", "'a': no dtype" },
		{ "{\"a\":{\"dtype\":\"F32\"}}", "shape" },
		{ "{" T("a", "F8_E4M3", "[8]", "[0,8]") "}", "not supported" },
		{ "{" T("a", "F32", "[3]", "[0,8]") "}", "take 12 bytes" },
		{ "{" T("a", "F32", "[-2]", "[0,8]") "}", "dimension 0" },
		{ "{" T("a", "F32", "[2.0]", "[0,8]") "}", "dimension 0" },
		{ "{" T("a", "F32", "[4294967296,4294967296]", "[0,8]") "}",
		  "dimension 1" },
		{ "{" T("a", "F32", "[4611686018427387904]", "[0,8]") "}",
		  "does not fit" },
		{ "{" T("a", "F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]") "}",
		  "at most 8" },
		{ "{" T("a", "F32", "[2]", "[0]") "}", "data_offsets" },
		{ "{" T("a", "F32", "[2]", "[8,0]") "}", "data_offsets" },
		{ "{" T("a", "F32", "[2]", "[-8,0]") "}", "data_offsets" },
		{ "{" T("a", "F32", "[2]", "[8,16]") "}", "there are 8" },
		{ "{" T("a", "F32", "[1]", "[0,4]") "}", "4 data bytes after" },
		{ "{" T("a", "F32", "[1]", "[4,8]") "}", "(gap)" },
		{ "{" T("a", "F32", "[2]", "[0,8]") ","
		  T("b", "F32", "[1]", "[4,8]") "}", "(overlap)" },
		{ "{" T("a", "F32", "[2]", "[0,8]") ","
		  T("a", "F32", "[2]", "[0,8]") "}", "duplicate" },
		{ "{\"__metadata__\":7," T("a", "F32", "[2]", "[0,8]") "}",
		  "__metadata__" },
		{ "{\"__metadata__\":{\"k\":1},"
		  T("a", "F32", "[2]", "[0,8]") "}", "'k' is not a string" },
	};
	static uint8_t buf[600];
	struct err e;
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		n = build(buf, bad[i].head, 8);
		e = (struct err){ 0 };
		if (safet_parse(buf, n, "f", &e))
			fail_msg("accepted: %s", bad[i].head);
		assert_int_not_equal(e.code, ERR_NONE);
		if (!strstr(e.msg, bad[i].says) || strncmp(e.msg, "f: ", 3))
			fail_msg("%s: said '%s', wanted '%s'", bad[i].head,
			         e.msg, bad[i].says);
	}
}

static void refuses_lengths_that_lie(void **state)
{
	static uint8_t buf[600];
	size_t n = build(buf, "{" T("a", "F32", "[2]", "[0,8]") "}", 8), i;
	struct err e = { 0 };
	struct safet *s;

	(void)state;
	for (i = 0; i < n; i++) {	/* cut at every byte */
		assert_null(safet_parse(buf, i, "f", &e));
		assert_int_equal(e.code, ERR_FORMAT);
	}
	assert_null(safet_parse(buf, n + 1, "f", &e));
	s = safet_parse(buf, n, "f", &e);
	assert_non_null(s);
	safet_free(s);
	buf[7] = 0x80;
	assert_null(safet_parse(buf, n, "f", &e));
	assert_non_null(strstr(e.msg, "a header of 922337"));
	memset(buf, 0, 8);
	assert_null(safet_parse(buf, n, "f", &e));
}

static void writes_what_the_library_writes(void **state)
{
	const struct safet_decl decl[3] = {
		{ "w.b", DT_F32, 2, { 1, 2 } },
		{ "ids", DT_I64, 1, { 1 } },
		{ "w.a", DT_F32, 0, { 0 } },
	};
	static const char *const meta[] = { "format", "pt", NULL };
	const char *want =
		"{\"__metadata__\":{\"format\":\"pt\"},"
		"\"ids\":{\"dtype\":\"I64\",\"shape\":[1],"
		"\"data_offsets\":[0,8]},"
		"\"w.a\":{\"dtype\":\"F32\",\"shape\":[],"
		"\"data_offsets\":[8,12]},"
		"\"w.b\":{\"dtype\":\"F32\",\"shape\":[1,2],"
		"\"data_offsets\":[12,20]}}";
	const float b[2] = { 1, 2 }, a = 3;
	const int64_t ids = -5;
	struct err e = { 0 };
	struct safet_out *o = safet_create(in_dir("w.safetensors"), decl, 3,
	                                   meta, &e);
	struct safet *s;
	struct map m;
	size_t n = strlen(want);

	(void)state;
	assert_non_null(o);
	assert_int_equal(safet_put(o, "w.b", b, 4, &e), 0);
	assert_int_equal(safet_put(o, "w.a", &a, 4, &e), 0);
	assert_int_equal(safet_put(o, "ids", &ids, 8, &e), 0);
	assert_int_equal(safet_commit(o, &e), -1);
	assert_non_null(strstr(e.msg, "'w.b': 4 of 8 bytes written"));
	assert_int_equal(safet_put(o, "w.b", b, 8, &e), -1);
	assert_int_equal(safet_put(o, "w.c", b, 8, &e), -1);
	assert_int_equal(safet_put(o, "w.b", b + 1, 4, &e), 0);
	assert_int_equal(access(in_dir("w.safetensors"), F_OK), -1);
	assert_int_equal(safet_commit(o, &e), 0);
	safet_out_free(o);
	assert_int_equal(access(in_dir("w.safetensors.tmp"), F_OK), -1);

	assert_int_equal(map_open(&m, in_dir("w.safetensors"), &e), 0);
	assert_int_equal(m.data[0] | m.data[1] << 8, (n + 7) / 8 * 8);
	assert_memory_equal(m.data + 8, want, n);
	assert_int_equal(m.n, 8 + (n + 7) / 8 * 8 + 20);
	map_close(&m);

	s = safet_open(in_dir("w.safetensors"), &e);
	assert_non_null(s);
	assert_memory_equal(safet_find(s, "w.b")->data, b, 8);
	assert_memory_equal(safet_find(s, "w.a")->data, &a, 4);
	assert_memory_equal(safet_find(s, "ids")->data, &ids, 8);
	safet_free(s);
}

static void drops_what_was_not_committed(void **state)
{
	const struct safet_decl two[2] = {
		{ "a", DT_U8, 1, { 1 } }, { "a", DT_U8, 1, { 1 } }
	};
	const struct safet_decl q = { "a", DT_Q4_0, 1, { 32 } };
	const struct safet_decl big = { "a", DT_F32, 2, { SIZE_MAX, 2 } };
	struct err e = { 0 };
	struct safet_out *o = safet_create(in_dir("x"), two, 1, NULL, &e);

	(void)state;
	assert_non_null(o);
	assert_int_equal(access(in_dir("x.tmp"), F_OK), 0);
	safet_out_free(o);
	assert_int_equal(access(in_dir("x.tmp"), F_OK), -1);
	assert_null(safet_create(in_dir("x"), two, 2, NULL, &e));
	assert_non_null(strstr(e.msg, "declared twice"));
	assert_null(safet_create(in_dir("x"), &q, 1, NULL, &e));
	assert_null(safet_create(in_dir("x"), &big, 1, NULL, &e));
	assert_null(safet_create(in_dir("no/x"), two, 1, NULL, &e));
	assert_int_equal(e.code, ERR_IO);
	assert_int_equal(access(in_dir("x"), F_OK), -1);
	assert_int_equal(access(in_dir("x.tmp"), F_OK), -1);
	safet_out_free(NULL);
}

static void write_one(const char *path, const char *name, float v)
{
	const struct safet_decl d = { name, DT_F32, 1, { 1 } };
	struct safet_out *o = safet_create(path, &d, 1, NULL, NULL);

	assert_non_null(o);
	assert_int_equal(safet_put(o, name, &v, 4, NULL), 0);
	assert_int_equal(safet_commit(o, NULL), 0);
	safet_out_free(o);
}

static void index_says(const char *json)
{
	assert_int_equal(file_write(
		in_dir("m/model.safetensors.index.json"), json, strlen(json),
		NULL), 0);
}

static void opens_folders_whole_or_in_shards(void **state)
{
	static const struct { const char *json, *says; } bad[] = {
		{ "{}", "no weight_map" },
		{ "{\"weight_map\":{}}", "no weight_map" },
		{ "{\"weight_map\":{\"a\":\"../m/s1\"}}", "beside it" },
		{ "{\"weight_map\":{\"a\":3}}", "beside it" },
		{ "{\"weight_map\":{\"a\":\"s1\",\"c\":\"s1\"}}",
		  "'c' is not in s1" },
		{ "{\"weight_map\":{\"a\":\"s1\",\"b\":\"s3\"}}", "No such" },
		{ "{\"weight_map\":{\"a\":\"s1\",\"b\":\"s2\",\"c\":\"s4\"}}",
		  "'a' lies in two shards" },
		{ "not json", "header" },
	};
	struct err e = { 0 };
	struct safet *s;
	size_t i;

	(void)state;
	assert_int_equal(file_mkdirs(in_dir("m"), &e), 0);
	assert_null(safet_open(in_dir("m"), &e));
	assert_non_null(strstr(e.msg, "neither"));
	write_one(in_dir("m/s1"), "a", 1);
	write_one(in_dir("m/s2"), "b", 2);
	write_one(in_dir("m/s4"), "a", 2);
	index_says("{\"metadata\":{},\"weight_map\":"
	           "{\"b\":\"s2\",\"a\":\"s1\"}}");
	s = safet_open(in_dir("m"), &e);
	assert_non_null(s);
	assert_int_equal(safet_count(s), 2);
	assert_true(*(const float *)safet_find(s, "b")->data == 2);
	safet_free(s);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		index_says(bad[i].json);
		if (safet_open(in_dir("m"), &e))
			fail_msg("accepted: %s", bad[i].json);
		if (!strstr(e.msg, bad[i].says))
			fail_msg("%s: said '%s'", bad[i].json, e.msg);
	}
	write_one(in_dir("m/model.safetensors"), "whole", 7);
	s = safet_open(in_dir("m"), &e);
	assert_non_null(s);
	assert_non_null(safet_find(s, "whole"));
	safet_free(s);
	assert_null(safet_open(in_dir("absent"), &e));
	assert_int_equal(e.code, ERR_IO);
}

static void reads_the_golden_model(void **state)
{
	struct err e = { 0 };
	struct safet *s = safet_open("tests/golden/tiny-llama", &e);
	const size_t shape[2] = { 0, 64 };

	(void)state;
	assert_non_null(s);
	assert_non_null(safet_get(s, "model.embed_tokens.weight", 2, shape,
	                          &e));
	safet_free(s);
}

static void files_are_whole_or_absent(void **state)
{
	struct err e = { 0 };
	struct file_out *f;
	struct map m;

	(void)state;
	assert_int_equal(file_mkdirs(in_dir("p/q/r"), &e), 0);
	assert_int_equal(file_mkdirs(in_dir("p/q/r"), &e), 0);
	assert_int_equal(file_write(in_dir("p/q/r/f"), "old", 3, &e), 0);
	assert_int_equal(file_mkdirs(in_dir("p/q/r/f"), &e), -1);
	f = file_out_new(in_dir("p/q/r/f"), &e);
	assert_non_null(f);
	assert_int_equal(file_out_write(f, 2, "new", 3, &e), 0);
	file_out_free(f);
	assert_int_equal(map_open(&m, in_dir("p/q/r/f"), &e), 0);
	assert_memory_equal(m.data, "old", 3);
	map_close(&m);
	assert_int_equal(access(in_dir("p/q/r/f.tmp"), F_OK), -1);
	assert_null(file_out_new(in_dir("p/none/f"), &e));
	assert_int_equal(e.code, ERR_IO);
}

static void digests_agree_however_they_are_made(void **state)
{
	const char *abc = "ba7816bf8f01cfea414140de5dae2223"
	                  "b00361a396177a9cb410ff61f20015ad";
	const char *empty = "e3b0c44298fc1c149afbf4c8996fb924"
	                    "27ae41e4649b934ca495991b7852b855";
	char hex[SHA256_HEX];
	struct err e = { 0 };
	struct sha256 *s = sha256_new(&e);

	(void)state;
	assert_int_equal(sha256_bytes("abc", 3, hex, &e), 0);
	assert_string_equal(hex, abc);
	assert_int_equal(sha256_add(s, "ab", 2, &e), 0);
	assert_int_equal(sha256_add(s, "c", 1, &e), 0);
	assert_int_equal(sha256_end(s, hex, &e), 0);
	assert_string_equal(hex, abc);
	assert_int_equal(sha256_end(s, hex, &e), 0);
	assert_string_equal(hex, empty);
	sha256_free(s);
	assert_int_equal(file_write(in_dir("abc"), "abc", 3, &e), 0);
	assert_int_equal(sha256_file(in_dir("abc"), hex, &e), 0);
	assert_string_equal(hex, abc);
	assert_int_equal(sha256_file(in_dir("absent"), hex, &e), -1);
	assert_int_equal(sha256_file(dir, hex, &e), -1);
	assert_int_equal(e.code, ERR_IO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_file_by_hand),
		cmocka_unit_test(refuses_every_broken_rule),
		cmocka_unit_test(refuses_lengths_that_lie),
		cmocka_unit_test(writes_what_the_library_writes),
		cmocka_unit_test(drops_what_was_not_committed),
		cmocka_unit_test(opens_folders_whole_or_in_shards),
		cmocka_unit_test(reads_the_golden_model),
		cmocka_unit_test(files_are_whole_or_absent),
		cmocka_unit_test(digests_agree_however_they_are_made),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
