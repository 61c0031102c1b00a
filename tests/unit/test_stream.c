#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>
#include <zstd.h>

#include "mem.h"
#include "rec.h"

static char dir[] = "/tmp/r1-stream-XXXXXX";
static char path[64], cut_path[64];

static const struct rec_tokens_head tokens_head = {
	.tokenizer = "abc", .n_vocab = 100, .n_ctx = 8, .packed = 1, .bos = 1,
	.eos = UINT32_MAX
};

static void write_tokens(const char *to, int raw, int n_records)
{
	struct err e = { 0 };
	json_t *h = rec_tokens_header(&tokens_head, &e);
	struct stream_out_opt o = {
		.kind = "tokens/1", .header = h, .command = "qtok -x",
		.seed = 7, .raw = raw
	};
	struct stream_out *s = stream_open_out(to, &o, &e);
	int i;

	assert_non_null(s);
	for (i = 0; i < n_records; i++) {
		uint32_t ids[3] = { 1, (uint32_t)i % 100, 99 };
		uint8_t mask[3] = { 0, 1, 2 };
		struct rec_doc docs[2] = {
			{ 1ull << 40, 0, 5 }, { (uint64_t)i, 2, 0 }
		};
		struct rec_tokens t = {
			.seq = (uint64_t)i, .ids = ids, .n = 3, .docs = docs,
			.n_docs = 2, .source = i ? "web" : "",
			.mask = i % 2 ? mask : NULL
		};

		assert_int_equal(rec_tokens_write(s, &t, &e), 0);
	}
	assert_int_equal(stream_finish(s, &e), 0);
	json_decref(h);
}

static uint64_t digest;		/* of the ids that read_tokens saw */

/* Reads all; how many records, or -1 with e. */
static int read_tokens(const char *from, struct err *e)
{
	size_t i;

	struct rec_tokens_head h;
	struct rec_tokens_in *r = rec_tokens_open(from, &h, e);
	struct rec_tokens t;
	int n = 0, got;

	if (!r)
		return -1;
	digest = 0;
	while ((got = rec_tokens_read(r, &t, e)) == 1) {
		n++;
		for (i = 0; i < t.n; i++)
			digest = digest * 1000003 + t.ids[i];
	}
	rec_tokens_close(r);
	return got < 0 ? -1 : n;
}

static uint8_t *slurp(const char *from, size_t *n)
{
	FILE *f = fopen(from, "rb");
	uint8_t *p;

	assert_non_null(f);
	fseek(f, 0, SEEK_END);
	*n = (size_t)ftell(f);
	rewind(f);
	p = malloc(*n + 1);
	assert_int_equal(fread(p, 1, *n, f), *n);
	fclose(f);
	return p;
}

static void spill(const char *to, const uint8_t *p, size_t n)
{
	FILE *f = fopen(to, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(p, 1, n, f), n);
	fclose(f);
}

static void tokens_come_back(void **state)
{
	int raw;

	(void)state;
	for (raw = 0; raw < 2; raw++) {
		struct err e = { 0 };
		struct rec_tokens_head h;
		struct rec_tokens_in *r;
		struct rec_tokens t;
		json_t *prov;

		write_tokens(path, raw, 3);
		r = rec_tokens_open(path, &h, &e);
		assert_non_null(r);
		assert_int_equal(memcmp(&h, &tokens_head, sizeof(h)), 0);
		prov = json_object_get(stream_header(rec_tokens_stream(r)),
		                       "prov");
		assert_string_equal(json_string_value(json_object_get(
			json_array_get(prov, 0), "cmd")), "qtok -x");
		assert_int_equal(rec_tokens_read(r, &t, &e), 1);
		assert_null(t.mask);
		assert_string_equal(t.source, "");
		assert_int_equal(rec_tokens_read(r, &t, &e), 1);
		assert_int_equal(t.seq, 1);
		assert_int_equal(t.n, 3);
		assert_int_equal(t.ids[2], 99);
		assert_int_equal(t.mask[2], REC_ANSWER);
		assert_int_equal(t.n_docs, 2);
		assert_true(t.docs[0].id == 1ull << 40);
		assert_int_equal(t.docs[1].at, 2);
		assert_string_equal(t.source, "web");
		assert_int_equal(rec_tokens_read(r, &t, &e), 1);
		assert_int_equal(rec_tokens_read(r, &t, &e), 0);
		assert_int_equal(rec_tokens_read(r, &t, &e), 0);
		rec_tokens_close(r);
	}
}

/* A prefix is never taken for the whole, and says where it ends. */
static void every_cut_is_noticed(void **state)
{
	int raw;

	(void)state;
	for (raw = 0; raw < 2; raw++) {
		size_t n, i;
		uint8_t *p;

		write_tokens(path, raw, 2);
		p = slurp(path, &n);
		for (i = 0; i < n; i++) {
			struct err e = { 0 };

			spill(cut_path, p, i);
			assert_int_equal(read_tokens(cut_path, &e), -1);
			assert_true(strlen(e.msg) > 10);
		}
		free(p);
	}
}

/* With checksums on, no flipped bit changes the data unnoticed (a few, of the
 * window's size say, change nothing); plain msgpack may, but must not crash. */
static void every_flipped_bit_is_noticed(void **state)
{
	struct err first = { 0 };
	uint64_t whole;
	size_t n, i;
	uint8_t *p;

	(void)state;
	write_tokens(path, 0, 2);
	assert_int_equal(read_tokens(path, &first), 2);
	whole = digest;
	p = slurp(path, &n);
	for (i = 0; i < n * 8; i++) {
		struct err e = { 0 };

		p[i / 8] ^= (uint8_t)(1 << i % 8);
		spill(cut_path, p, n);
		if (read_tokens(cut_path, &e) >= 0)
			assert_true(digest == whole);
		p[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	free(p);
	write_tokens(path, 1, 2);
	p = slurp(path, &n);
	for (i = 0; i < n * 8; i++) {
		struct err e = { 0 };

		p[i / 8] ^= (uint8_t)(1 << i % 8);
		spill(cut_path, p, n);
		if (read_tokens(cut_path, &e) < 0)
			assert_true(strlen(e.msg) > 10);
		p[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	free(p);
}

static void concatenation_goes_on_and_checks(void **state)
{
	struct err e = { 0 };
	size_t n, m;
	uint8_t *p, *q;

	(void)state;
	write_tokens(path, 0, 2);
	p = slurp(path, &n);
	p = realloc(p, 2 * n + 10);
	memcpy(p + n, p, n);
	spill(cut_path, p, 2 * n);
	assert_int_equal(read_tokens(cut_path, &e), 4);
	memcpy(p + 2 * n, "garbage", 7);
	spill(cut_path, p, 2 * n + 7);
	assert_int_equal(read_tokens(cut_path, &e), -1);
	free(p);
	write_tokens(path, 1, 5);
	q = slurp(path, &m);
	q = realloc(q, 2 * m);
	memcpy(q + m, q, m);
	spill(cut_path, q, 2 * m);
	assert_int_equal(read_tokens(cut_path, &e), 10);
	/* Another vocabulary in the second part. */
	{
		uint8_t *at = memmem(q + m, m, "\xa5vocab\x64", 7);

		assert_non_null(at);
		at[6] = 0x63;
		spill(cut_path, q, 2 * m);
		assert_int_equal(read_tokens(cut_path, &e), -1);
		assert_non_null(strstr(e.msg, "another header"));
	}
	free(q);
}

static int read_joined(const uint8_t *p, size_t n, struct err *e)
{
	spill(cut_path, p, n);
	return read_tokens(cut_path, e);
}

/* Both forms and skippable frames in one input. A frame without a checksum
 * ends with its input used up while zstd still holds output back. */
static void forms_may_be_mixed(void **state)
{
	static const uint8_t skip[] = "\x50\x2a\x4d\x18\x03\0\0\0abc";
	enum { RECORDS = 4000 };
	struct err e = { 0 };
	uint8_t *plain, *zstd, *all, *w;
	size_t n_plain, n_zstd, n;

	(void)state;
	write_tokens(path, 1, RECORDS);
	plain = slurp(path, &n_plain);
	n_zstd = ZSTD_compressBound(n_plain);
	zstd = malloc(n_zstd);
	n_zstd = ZSTD_compress(zstd, n_zstd, plain, n_plain, 3);
	assert_false(ZSTD_isError(n_zstd));
	assert_int_equal(read_joined(zstd, n_zstd, &e), RECORDS);
	all = w = malloc(2 * (n_plain + n_zstd + sizeof(skip)));
	memcpy(w, skip, sizeof(skip) - 1);
	w += sizeof(skip) - 1;
	memcpy(w, zstd, n_zstd);
	w += n_zstd;
	memcpy(w, plain, n_plain);
	w += n_plain;
	memcpy(w, plain, n_plain);
	w += n_plain;
	memcpy(w, skip, sizeof(skip) - 1);
	w += sizeof(skip) - 1;
	memcpy(w, zstd, n_zstd);
	w += n_zstd;
	n = (size_t)(w - all);
	assert_int_equal(read_joined(all, n, &e), 4 * RECORDS);
	assert_int_equal(read_joined(all, n - 1, &e), -1);
	free(all);
	free(zstd);
	free(plain);
}

static void a_command_in_any_encoding_is_recorded(void **state)
{
	struct stream_out_opt o = {
		.kind = "x/1", .command = "qtok caf\xe9.txt"
	};
	struct err e = { 0 };
	struct stream_out *s = stream_open_out(path, &o, &e);
	struct stream_in *in;

	(void)state;
	assert_non_null(s);
	assert_int_equal(stream_finish(s, &e), 0);
	in = stream_open_in(path, "x/1", &e);
	assert_non_null(in);
	assert_string_equal(json_string_value(json_object_get(json_array_get(
		json_object_get(stream_header(in), "prov"), 0), "cmd")),
		"qtok caf?.txt");
	stream_close_in(in);
}

struct bad {
	const char *bytes;
	size_t n;
	const char *says;
};

#define HEAD "\x84\xa2r1\x01\xa4kind\xa8tokens/1\xa5vocab\x64\xa5n_ctx\x08"
#define BAD(b, s) { b, sizeof(b) - 1, s }

static void lies_are_refused(void **state)
{
	static const struct bad bad[] = {
		BAD("", "empty"),
		BAD("hello", "wanted a header map"),
		BAD("\x81\xa1x\x01", "lacks 'r1'"),
		BAD("\x82\xa2r1\x02\xa4kind\xa8tokens/1", "wanted format version 1, found 2"),
		BAD("\x82\xa2r1\x01\xa4kind\xa6" "acts/1", "wanted a stream of kind"),
		BAD(HEAD, "record 1 at byte 33: cut: no end record"),
		BAD(HEAD "\x82\xa3seq", "record 1 at byte 33: cut"),
		BAD(HEAD "\xc1", "no msgpack"),
		BAD(HEAD "\x07", "record 1 at byte 33: wanted a map"),
		BAD(HEAD "\x84\xa3seq\x00\xa3ids\xc4\x04\x05\0\0\0\xa4" "docs\x91"
		    "\x93\x00\x00\x00\xa1x\x01\xc1", "record 2 at byte 62"),
		BAD(HEAD "\x82\xa3" "end\xc3\xa7records\x03", "counts 3 records"),
		BAD(HEAD "\x82\xa3" "end\xc2\xa7records\x00", "malformed"),
		BAD(HEAD "\x81\xa3ids\xc6\xff\xff\xff\xff", "beyond"),
		BAD(HEAD "\x81\xa3ids\xdd\xff\xff\xff\xff", "over"),
		BAD(HEAD "\xdf\xff\xff\xff\xff", "over"),
		BAD(HEAD "\x81\xa3ids\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91"
		    "\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91"
		    "\x91\x91", "deeper"),
		BAD(HEAD "\x83\xa3seq\x00\xa3ids\xc4\x03" "abc\xa4" "docs\x90",
		    "no whole number of u32"),
		BAD(HEAD "\x83\xa3seq\x00\xa3ids\xc4\x00\xa4" "docs\x90",
		    "wanted 1 to 8"),
		BAD(HEAD "\x83\xa3seq\x00\xa3ids\xc4\x04\x65\0\0\0\xa4" "docs\x90",
		    "outside the vocabulary"),
		BAD(HEAD "\x83\xa3seq\x00\xa3ids\xc4\x04\x05\0\0\0\xa4" "docs\x90",
		    "do not fit"),
		BAD(HEAD "\x83\xa3seq\x00\xa3ids\xc4\x04\x05\0\0\0\xa4" "docs\x91"
		    "\x93\x00\x01\x00", "wanted 0 first"),
		BAD(HEAD "\x84\xa3seq\x00\xa3ids\xc4\x04\x05\0\0\0\xa4" "docs\x91"
		    "\x93\x00\x00\x00\xa4mask\xc4\x01\x09", "no part of a chat"),
		BAD(HEAD "\x82\xa3seq\x00\xa3ids\xa1x", "wanted a bin, found str"),
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct err e = { 0 };

		spill(cut_path, (const uint8_t *)bad[i].bytes, bad[i].n);
		assert_int_equal(read_tokens(cut_path, &e), -1);
		if (!strstr(e.msg, bad[i].says))
			fail_msg("case %zu: '%s' lacks '%s'", i, e.msg,
			         bad[i].says);
	}
}

static struct rec_acts_head acts_head = {
	.model = "feed", .site = "mlp", .dtype = DT_BF16, .d_in = 3,
	.d_out = 2, .n_layers = 2, .layers = { 0, 5 }
};

static int acts_round(enum dtype type, const void *x, const void *y,
                      struct err *e)
{
	static const uint32_t positions[2] = { 3, 4 }, ids[2] = { 8, 9 };
	struct rec_acts a = {
		.seq = 1, .n = 2, .positions = positions, .ids = ids,
		.x = { x, x }, .y = { y, y }
	}, b;
	struct stream_out_opt o = { .kind = "acts/1", .level = 1 };
	struct rec_acts_head h;
	struct rec_acts_in *r;
	struct stream_out *s;
	size_t value = dtype_block_bytes(type);
	int got;

	acts_head.dtype = type;
	acts_head.tokens = tokens_head;
	o.header = rec_acts_header(&acts_head, e);
	s = stream_open_out(path, &o, e);
	assert_non_null(s);
	assert_int_equal(rec_acts_write(s, &acts_head, &a, e), 0);
	assert_int_equal(stream_finish(s, e), 0);
	json_decref(o.header);
	r = rec_acts_open(path, &h, e);
	assert_non_null(r);
	assert_int_equal(memcmp(&h, &acts_head, sizeof(h)), 0);
	got = rec_acts_read(r, &b, e);
	if (got == 1) {
		assert_int_equal(b.n, 2);
		assert_int_equal(b.positions[1], 4);
		assert_int_equal(b.ids[0], 8);
		assert_memory_equal(b.x[1], x, 6 * value);
		assert_memory_equal(b.y[0], y, 4 * value);
		assert_int_equal(rec_acts_read(r, &b, e), 0);
	}
	rec_acts_close(r);
	return got;
}

static void acts_come_back_in_each_dtype(void **state)
{
	float f[6] = { 1, -2, 3, 4, 5, 1e30f };
	uint16_t h[6] = { 0x3f80, 0x4000, 0, 0x8000, 1, 0x7bff };
	struct err e = { 0 };

	(void)state;
	assert_int_equal(acts_round(DT_F32, f, f, &e), 1);
	assert_int_equal(acts_round(DT_BF16, h, h, &e), 1);
	assert_int_equal(acts_round(DT_F16, h, h, &e), 1);
}

static void not_a_number_is_named(void **state)
{
	float f[6] = { 1, 2, 3, 4, 5, 6 }, bad[6] = { 1, 2, 3, 4, 0, 6 };
	uint16_t h[6] = { 0 }, nan16[6] = { 0, 0, 0x7c01 };
	struct err e = { 0 };

	(void)state;
	bad[4] = (float)strtod("nan", NULL);
	assert_int_equal(acts_round(DT_F32, bad, f, &e), -1);
	assert_non_null(strstr(e.msg, "'x', layer 0, position 4, dimension 1: "
	                       "NaN"));
	assert_non_null(strstr(e.msg, "record 1 at byte"));
	assert_int_equal(acts_round(DT_F16, h, nan16, &e), -1);
	assert_non_null(strstr(e.msg, "'y', layer 0, position 4"));
	assert_int_equal(acts_round(DT_BF16, nan16, h, &e), 1);
	nan16[2] = 0xff80;
	assert_int_equal(acts_round(DT_BF16, nan16, h, &e), -1);
}

static volatile sig_atomic_t stop;

static void on_alarm(int sig)
{
	stop = sig;
}

static void a_wait_can_be_stopped(void **state)
{
	struct sigaction act = { .sa_handler = on_alarm };
	struct itimerval soon = { .it_value = { .tv_usec = 50000 } };
	const uint8_t *data;
	uint8_t whole[4096];
	struct err e = { 0 };
	struct stream_in *s;
	size_t n, size;
	int fd[2], i;
	FILE *f;

	(void)state;
	write_tokens(path, 1, 2);
	f = fopen(path, "rb");
	assert_non_null(f);
	size = fread(whole, 1, sizeof(whole), f);
	fclose(f);
	assert_true(size > 20 && size < sizeof(whole));
	assert_int_equal(pipe(fd), 0);
	assert_int_equal(write(fd[1], whole, size - 1), size - 1);
	s = stream_open_fd(fd[0], "pipe", whole, 0, NULL, &e);
	assert_non_null(s);
	stream_stop_on(s, &stop);
	for (i = 0; i < 2; i++)		/* of bytes that are there */
		assert_int_equal(stream_read(s, &data, &n, &e), 1);
	assert_int_equal(sigaction(SIGALRM, &act, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
	assert_int_equal(stream_read(s, &data, &n, &e), -1);
	assert_int_equal(e.code, ERR_STOP);
	stream_close_in(s);
	close(fd[1]);
	stop = 0;
}

static void an_aborted_stream_leaves_nothing(void **state)
{
	struct err e = { 0 };
	struct stream_out_opt o = { .kind = "tokens/1" };
	struct stream_out *s;
	char tmp[80];

	(void)state;
	unlink(path);
	snprintf(tmp, sizeof(tmp), "%s.tmp", path);
	s = stream_open_out(path, &o, &e);
	assert_non_null(s);
	assert_int_equal(access(tmp, F_OK), 0);
	stream_abort(s);
	assert_int_equal(access(tmp, F_OK), -1);
	assert_int_equal(access(path, F_OK), -1);
}

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/a", dir);
	snprintf(cut_path, sizeof(cut_path), "%s/b", dir);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(path);
	unlink(cut_path);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tokens_come_back),
		cmocka_unit_test(every_cut_is_noticed),
		cmocka_unit_test(every_flipped_bit_is_noticed),
		cmocka_unit_test(concatenation_goes_on_and_checks),
		cmocka_unit_test(forms_may_be_mixed),
		cmocka_unit_test(a_command_in_any_encoding_is_recorded),
		cmocka_unit_test(lies_are_refused),
		cmocka_unit_test(acts_come_back_in_each_dtype),
		cmocka_unit_test(not_a_number_is_named),
		cmocka_unit_test(a_wait_can_be_stopped),
		cmocka_unit_test(an_aborted_stream_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
