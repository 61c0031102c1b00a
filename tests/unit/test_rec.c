#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"
#include "rec.h"

enum { RECORDS = 40, N_MAX = 300, DOCS = 7, LAYERS = 3, D_IN = 5, D_OUT = 4 };

static char path[] = "/tmp/r1-rec-XXXXXX";

/* splitmix64: the same cases on every machine */
static uint64_t seed;

static uint64_t draw(void)
{
	uint64_t z = seed += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static void draw_head(struct rec_tokens_head *h)
{
	memset(h, 0, sizeof(*h));
	snprintf(h->tokenizer, sizeof(h->tokenizer), "%016llx",
	         (unsigned long long)draw());
	h->n_vocab = 1 + (uint32_t)(draw() >> (32 + draw() % 31)) % UINT32_MAX;
	h->n_ctx = N_MAX;
	h->packed = (int)(draw() & 1);
	h->bos = draw() & 1 ? 0 : UINT32_MAX;
	h->eos = draw() & 1 ? h->n_vocab - 1 : UINT32_MAX;
}

/* ---- tokens/1 ---- */

struct case_tokens {
	struct rec_tokens t;
	uint32_t ids[N_MAX];
	uint8_t mask[N_MAX];
	struct rec_doc docs[DOCS];
};

static void draw_tokens(struct case_tokens *c, uint32_t n_vocab)
{
	static const char *const sources[4] = {
		"", "a", "stra\xc3\x9f" "e.jsonl",
		"a name that needs more than thirty-one bytes"
	};
	size_t i, at = 0;

	memset(c, 0, sizeof(*c));
	c->t.seq = draw() >> draw() % 64;
	c->t.n = 1 + draw() % N_MAX;
	for (i = 0; i < c->t.n; i++) {
		c->ids[i] = (uint32_t)(draw() % n_vocab);
		c->mask[i] = (uint8_t)(draw() % 4);
	}
	for (i = 0; i < DOCS && at < c->t.n; i++) {
		c->docs[i].id = draw() >> draw() % 64;
		c->docs[i].at = (uint32_t)at;
		c->docs[i].offset = (uint32_t)(draw() >> (32 + draw() % 32));
		at += 1 + draw() % N_MAX;
	}
	c->t.n_docs = i;
	c->t.ids = c->ids;
	c->t.docs = c->docs;
	c->t.source = sources[draw() % 4];
	c->t.mask = draw() & 1 ? c->mask : NULL;
}

static void same_tokens(const struct rec_tokens *a, const struct rec_tokens *b)
{
	assert_true(a->seq == b->seq);
	assert_int_equal(a->n, b->n);
	assert_memory_equal(a->ids, b->ids, a->n * sizeof(*a->ids));
	assert_int_equal(a->n_docs, b->n_docs);
	assert_memory_equal(a->docs, b->docs, a->n_docs * sizeof(*a->docs));
	assert_string_equal(a->source, b->source);
	assert_int_equal(a->mask != NULL, b->mask != NULL);
	if (a->mask)
		assert_memory_equal(a->mask, b->mask, a->n);
}

static void tokens_written_are_read(void **state)
{
	static struct case_tokens c[RECORDS];
	int round, i;

	(void)state;
	for (round = 0; round < 20; round++) {
		struct rec_tokens_head h, g;
		struct stream_out_opt o = { .kind = "tokens/1",
		                            .raw = round & 1 };
		struct err e = { 0 };
		struct rec_tokens_in *r;
		struct stream_out *s;
		struct rec_tokens t;

		seed = (uint64_t)round;
		draw_head(&h);
		o.header = rec_tokens_header(&h, &e);
		s = stream_open_out(path, &o, &e);
		assert_non_null(s);
		for (i = 0; i < RECORDS; i++) {
			draw_tokens(&c[i], h.n_vocab);
			assert_int_equal(rec_tokens_write(s, &c[i].t, &e), 0);
		}
		assert_int_equal(stream_finish(s, &e), 0);
		json_decref(o.header);
		r = rec_tokens_open(path, &g, &e);
		assert_non_null(r);
		assert_memory_equal(&h, &g, sizeof(h));
		for (i = 0; i < RECORDS; i++) {
			assert_int_equal(rec_tokens_read(r, &t, &e), 1);
			same_tokens(&c[i].t, &t);
		}
		assert_int_equal(rec_tokens_read(r, &t, &e), 0);
		rec_tokens_close(r);
	}
}

/* ---- acts/1 ---- */

struct case_acts {
	struct rec_acts a;
	uint32_t positions[N_MAX], ids[N_MAX];
	uint8_t x[LAYERS][N_MAX * D_IN * 4], y[LAYERS][N_MAX * D_OUT * 4];
};

/* Any bits but those of NaN and infinity. */
static void draw_values(uint8_t *p, size_t n, enum dtype type)
{
	size_t size = dtype_block_bytes(type), i;

	for (i = 0; i < n; i++) {
		uint32_t v = (uint32_t)draw();

		if (type == DT_F32 && (v & 0x7f800000) == 0x7f800000)
			v ^= 0x800000;
		if (type == DT_BF16 && (v & 0x7f80) == 0x7f80)
			v ^= 0x80;
		if (type == DT_F16 && (v & 0x7c00) == 0x7c00)
			v ^= 0x400;
		memcpy(p + i * size, &v, size);
	}
}

static void draw_acts(struct case_acts *c, const struct rec_acts_head *h)
{
	uint32_t i, at = 0;

	c->a.seq = draw() >> draw() % 64;
	for (i = 0; i < N_MAX; i++) {
		at += (uint32_t)(draw() % 3);
		if (at >= N_MAX)
			break;
		c->positions[i] = at++;
		c->ids[i] = (uint32_t)(draw() % h->tokens.n_vocab);
	}
	c->a.n = i;
	c->a.positions = c->positions;
	c->a.ids = c->ids;
	for (i = 0; i < LAYERS; i++) {
		draw_values(c->x[i], c->a.n * D_IN, h->dtype);
		draw_values(c->y[i], c->a.n * D_OUT, h->dtype);
		c->a.x[i] = c->x[i];
		c->a.y[i] = c->y[i];
	}
}

static void same_acts(const struct rec_acts *a, const struct rec_acts *b,
                      enum dtype type)
{
	size_t size = dtype_block_bytes(type), i;

	assert_true(a->seq == b->seq);
	assert_int_equal(a->n, b->n);
	assert_memory_equal(a->positions, b->positions, a->n * 4);
	assert_memory_equal(a->ids, b->ids, a->n * 4);
	for (i = 0; i < LAYERS; i++) {
		assert_memory_equal(a->x[i], b->x[i], a->n * D_IN * size);
		assert_memory_equal(a->y[i], b->y[i], a->n * D_OUT * size);
	}
}

static void acts_written_are_read(void **state)
{
	static const enum dtype types[3] = { DT_F32, DT_F16, DT_BF16 };
	static struct case_acts c[RECORDS];
	int round, i;

	(void)state;
	for (round = 0; round < 12; round++) {
		struct rec_acts_head h = {
			.model = "f00d", .site = REC_SITE_MLP,
			.dtype = types[round % 3], .d_in = D_IN,
			.d_out = D_OUT, .n_layers = LAYERS
		}, g;
		struct stream_out_opt o = { .kind = "acts/1", .level = 1,
		                            .raw = round & 1 };
		struct err e = { 0 };
		struct rec_acts_in *r;
		struct stream_out *s;
		struct rec_acts a;

		seed = (uint64_t)round;
		draw_head(&h.tokens);
		for (i = 0; i < LAYERS; i++)
			h.layers[i] = (uint32_t)(i * 7 + (int)(draw() % 7));
		o.header = rec_acts_header(&h, &e);
		s = stream_open_out(path, &o, &e);
		assert_non_null(s);
		for (i = 0; i < RECORDS; i++) {
			draw_acts(&c[i], &h);
			assert_int_equal(rec_acts_write(s, &h, &c[i].a, &e),
			                 0);
		}
		assert_int_equal(stream_finish(s, &e), 0);
		json_decref(o.header);
		r = rec_acts_open(path, &g, &e);
		assert_non_null(r);
		assert_memory_equal(&h, &g, sizeof(h));
		for (i = 0; i < RECORDS; i++) {
			assert_int_equal(rec_acts_read(r, &a, &e), 1);
			same_acts(&c[i].a, &a, h.dtype);
		}
		assert_int_equal(rec_acts_read(r, &a, &e), 0);
		rec_acts_close(r);
	}
}

static void another_kind_is_refused(void **state)
{
	struct stream_out_opt o = { .kind = "acts/1" };
	struct rec_tokens_head h;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(stream_finish(stream_open_out(path, &o, &e), &e), 0);
	assert_null(rec_tokens_open(path, &h, &e));
	assert_non_null(strstr(e.msg, "wanted a stream of kind tokens/1, "
	                       "found acts/1"));
	/* and a header that lacks what its kind wants */
	assert_null(rec_acts_open(path, &(struct rec_acts_head){ 0 }, &e));
	assert_non_null(strstr(e.msg, "header: no d_in"));
}

static int set_up(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state)
{
	(void)state;
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tokens_written_are_read),
		cmocka_unit_test(acts_written_are_read),
		cmocka_unit_test(another_kind_is_refused),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
