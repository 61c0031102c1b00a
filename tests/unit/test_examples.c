#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "examples.h"
#include "mem.h"

enum { LATENTS = 5, CONTEXTS = 3, N = 4 };

static char path[] = "/tmp/r1-examples-XXXXXX";

/* ---- arithmetic ---- */

static void bins_and_edges_agree(void **state)
{
	uint32_t i;

	(void)state;
	for (i = 0; i < EXAMPLES_BINS; i++) {
		float lo = (float)examples_edge(i);

		assert_int_equal(examples_bin(lo), i);
		assert_int_equal(examples_bin(nextafterf(lo, 0)),
		                 i ? i - 1 : 0);
		assert_true(examples_edge(i + 1) > examples_edge(i));
	}
	assert_int_equal(examples_bin(0), 0);
	assert_int_equal(examples_bin(1e30f), EXAMPLES_BINS - 1);
	assert_int_equal(examples_bin(INFINITY), EXAMPLES_BINS - 1);
}

static void positions_fall_into_octaves(void **state)
{
	static const uint32_t pos[] = { 0, 1, 2, 3, 4, 7, 8, 1 << 24,
	                                UINT32_MAX };
	static const uint32_t bin[] = { 0, 1, 2, 2, 3, 3, 4, 24, 24 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(pos) / sizeof(*pos); i++)
		assert_int_equal(examples_pos_bin(pos[i]), bin[i]);
}

static void sums_do_not_depend_on_order(void **state)
{
	struct examples_sum a = { 0 }, b = { 0 }, c = { 0 };
	int i;

	(void)state;
	for (i = 0; i < 100000; i++) {
		float v = (float)((i * 7919 % 100003) * 0.37);

		examples_sum_add(&a, v);
		examples_sum_add(i & 1 ? &b : &c, v);
	}
	examples_sum_join(&c, &b);
	assert_memory_equal(&a, &c, sizeof(a));
	assert_true(fabs(examples_sum_value(&a) / 1850055500.0 - 1) < 1e-3);
	/* beyond 64 bits */
	memset(&a, 0, sizeof(a));
	for (i = 0; i < 10; i++)
		examples_sum_add(&a, 0x1p30f);
	assert_true(examples_sum_value(&a) == 10 * 0x1p30);
	assert_int_equal(a.hi, 2);
}

static void quantiles_come_from_the_histogram(void **state)
{
	static struct examples_stats s;
	struct examples_derived d;
	struct examples_head h = { .n_positions = 4000 };
	int i;

	(void)state;
	memset(&s, 0, sizeof(s));
	h.count.by_doc[0] = h.count.by_doc[9] = 2000;
	for (i = 1; i <= 1000; i++) {
		float v = (float)i * 0.01f;

		s.n_fired++;
		s.hist[examples_bin(v)]++;
		examples_sum_add(&s.sum, v);
		s.max = v;
		s.count.by_doc[0]++;
		s.count.by_mask[i % 4]++;
	}
	examples_derive(&h, &s, &d);
	assert_true(d.frequency == 0.25);
	assert_true(fabs(d.mean - 5.005) < 1e-6);
	for (i = 0; i < EXAMPLES_QUANTILES; i++)
		assert_true(fabs(d.quantile[i] -
		                 10 * examples_quantile_at[i]) < 0.15);
	assert_true(d.entropy == 0 && d.entropy_share == 0);
	assert_true(d.share[2] == 0.25);
	assert_true(fabs(examples_rank(&s, 5) - 0.5) < 0.01);
	assert_true(examples_rank(&s, 100) == 1);
	s.count.by_doc[1] = 1000;
	examples_derive(&h, &s, &d);
	assert_true(fabs(d.entropy - 1) < 1e-12);
	assert_true(fabs(d.entropy_share - 1) < 1e-12);
}

/* ---- what is written is read ---- */

static const uint32_t ids[N] = { 1, 2, 3, 4 };
static const float acts[N] = { 0, 0.5f, 2, 0 };
static const uint32_t parts[] = { 1 };
static const uint32_t l0[] = { 3, 2, 1 };

static struct examples_head a_head(void)
{
	struct examples_head h = {
		.model = "ab", .model_name = "M", .transcoders = "cd",
		.n_layers = 2, .layers = { 3, 7 }, .n_latents = LATENTS,
		.k = 2, .seed = 5, .skip = 1, .before = 3, .after = 2,
		.n_top = 2, .n_spare = 2, .n_sample = 4, .n_random = 2,
		.per_doc = 2, .n_strata = 2, .n_logits = 2, .n_near = 1,
		.n_shards = 3, .n_parts = 1,
		.parts = (uint32_t *)(uintptr_t)parts,
		.n_seqs = 1, .n_docs = 1, .n_positions = 6,
		.tokens = { .n_vocab = 9, .n_ctx = 8, .bos = UINT32_MAX,
		            .eos = UINT32_MAX }
	};

	h.count.by_pos[1] = h.count.by_mask[1] = h.count.by_doc[1] = 6;
	return h;
}

static struct examples_one a_context(float scale, float *room)
{
	struct examples_one x = { .origin = UINT64_MAX, .seq = 7, .doc = 8,
	                          .pos = 5, .at = 2, .n = N, .ids = ids,
	                          .acts = room, .mask = 1 };
	int i;

	for (i = 0; i < N; i++)
		room[i] = acts[i] * scale;
	x.value = room[2];
	return x;
}

/* Writes both layers, leaving out latent `without` of the second. */
static void write_all(const struct examples_head *h, uint32_t without)
{
	static const uint8_t bits[] = { 5 };
	static const uint32_t random[] = { 2, 0 }, top[] = { 8, 0 };
	static const uint32_t near[] = { 4 };
	static const float logit[] = { 3, -1 }, cosine[] = { 0.25f };
	struct stream_out_opt o = { .kind = "examples/1" };
	struct err e = { 0 };
	float room[4][N];
	struct examples_one one[4];
	struct examples_context c = { .fired = { bits, bits } };
	struct stream_out *s;
	uint32_t i, k;

	for (i = 0; i < 4; i++)
		one[i] = a_context(1.0f / (float)(1 + i), room[i]);
	o.header = examples_header(h, &e);
	assert_non_null(o.header);
	s = stream_open_out(path, &o, &e);
	assert_non_null(s);
	c.one = one[0];
	c.one.acts = NULL;
	for (i = 0; i < CONTEXTS; i++)
		assert_int_equal(examples_write_context(s, h, i, &c, &e), 0);
	for (k = 0; k < h->n_layers; k++) {
		struct examples_layer y = { .layer = h->layers[k], .l0 = l0,
		                            .n_dead = 4 };

		for (i = 0; i < LATENTS; i++) {
			struct examples_latent l = {
				.layer = h->layers[k], .latent = i,
				.top_id = top, .bottom_id = top,
				.top_logit = logit, .bottom_logit = logit,
				.n_logits = 2, .near_id = near,
				.near_cos = cosine, .n_near = 1,
				.list = { one, one + 1, one },
				.n = { 1, 2, 4 }
			};

			if (k && i == without)
				continue;
			l.s.n_fired = 3;
			l.s.max = 2;
			l.s.sum.hi = i;
			l.s.sum.lo = UINT64_MAX;
			l.s.hist[100] = 1;
			l.s.hist[102] = 2;
			l.s.count.by_pos[2] = l.s.count.by_mask[0] = 3;
			l.s.count.by_doc[63] = 3;
			assert_int_equal(examples_write_latent(s, h, &l,
			                 random, 2, &e), 0);
		}
		y.freq_hist[11] = 1;
		y.fired_by_pos[1] = 4;
		y.sum_by_pos[24].hi = 9;
		assert_int_equal(examples_write_layer(s, h, &y, &e), 0);
	}
	assert_int_equal(stream_finish(s, &e), 0);
	json_decref(o.header);
}

static void written_is_read(void **state)
{
	struct examples_head h = a_head(), g;
	static struct examples_rec x;
	struct err e = { 0 };
	struct examples_in *r;
	int n[3] = { 0 };

	(void)state;
	write_all(&h, UINT32_MAX);
	r = examples_open(path, &g, &e);
	assert_non_null(r);
	assert_int_equal(g.n_shards, 3);
	assert_int_equal(g.parts[0], 1);
	examples_head_free(&g);
	g.parts = h.parts;
	assert_memory_equal(&g, &h, sizeof(g));
	while (examples_read(r, &x, &e) == 1) {
		const struct examples_latent *l = &x.latent;
		const struct examples_one *o = x.what == EXAMPLES_LATENT ?
			&l->list[EXAMPLES_SAMPLE][1] : &x.context.one;

		n[x.what]++;
		if (x.what == EXAMPLES_LAYER) {
			assert_int_equal(x.layer.n_dead, 4);
			assert_memory_equal(x.layer.l0, l0, sizeof(l0));
			assert_int_equal(x.layer.freq_hist[11], 1);
			assert_int_equal(x.layer.sum_by_pos[24].hi, 9);
			continue;
		}
		assert_true(o->origin == UINT64_MAX && o->seq == 7);
		assert_true(o->doc == 8 && o->pos == 5 && o->at == 2);
		assert_true(o->mask == 1 && o->n == N);
		assert_memory_equal(o->ids, ids, sizeof(ids));
		if (x.what == EXAMPLES_CONTEXT) {
			assert_null(o->acts);
			assert_int_equal(x.context.fired[1][0], 5);
			continue;
		}
		assert_true(o->value == 1 && o->acts[1] == 0.25f);
		assert_int_equal(o->stratum, 1);
		assert_int_equal(o[2].stratum, 0);
		assert_int_equal(l->n[EXAMPLES_TOP], 1);
		assert_int_equal(l->n[EXAMPLES_SPARE], 2);
		assert_int_equal(l->n[EXAMPLES_RANDOM], 2);
		assert_null(l->list[EXAMPLES_RANDOM][0].acts);
		assert_int_equal(l->s.hist[102], 2);
		assert_true(l->s.sum.hi == l->latent);
		assert_true(l->s.sum.lo == UINT64_MAX);
		assert_true(l->d.frequency == 0.5);
		assert_true(l->top_id[0] == 8 && l->bottom_logit[1] == -1);
		assert_true(l->near_id[0] == 4 && l->near_cos[0] == 0.25f);
	}
	assert_string_equal(e.msg, "");
	assert_int_equal(n[EXAMPLES_CONTEXT], CONTEXTS);
	assert_int_equal(n[EXAMPLES_LATENT], 2 * LATENTS);
	assert_int_equal(n[EXAMPLES_LAYER], 2);
	examples_close(r);
}

static void refused(const struct examples_head *h, uint32_t without,
                    const char *why)
{
	static struct examples_rec x;
	struct examples_head g;
	struct err e = { 0 };
	struct examples_in *r;

	write_all(h, without);
	r = examples_open(path, &g, &e);
	while (r && examples_read(r, &x, &e) == 1)
		;
	if (!strstr(e.msg, why))
		fail_msg("wanted '%s', found '%s'", why, e.msg);
	examples_close(r);
	examples_head_free(&g);
}

static void contradictions_are_refused(void **state)
{
	struct examples_head h = a_head();

	(void)state;
	refused(&h, 2, "layer 7, latent 3: wanted 2");
	refused(&h, LATENTS - 1, "layer 7: ends before latent 4 of 5");
	h.count.by_doc[1] = 5;
	refused(&h, UINT32_MAX, "'by_doc': sums to 5, 'positions' is 6");
	h = a_head();
	h.n_positions = 2;
	h.count.by_pos[1] = h.count.by_mask[1] = h.count.by_doc[1] = 2;
	refused(&h, UINT32_MAX, "'fired'");
	h = a_head();
	h.n_sample = 3;
	refused(&h, UINT32_MAX, "'sample': wanted at most 3, found 4");
	h = a_head();
	h.tokens.n_vocab = 3;
	refused(&h, UINT32_MAX, "outside the vocabulary of 3");
	h = a_head();
	h.after = 0;
	refused(&h, UINT32_MAX, "3 before and 0 after");
	h = a_head();
	h.k = 1;
	refused(&h, UINT32_MAX, "'l0': sums to 5 positions, wanted 6");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bins_and_edges_agree),
		cmocka_unit_test(positions_fall_into_octaves),
		cmocka_unit_test(sums_do_not_depend_on_order),
		cmocka_unit_test(quantiles_come_from_the_histogram),
		cmocka_unit_test(written_is_read),
		cmocka_unit_test(contradictions_are_refused),
	};
	int fd = mkstemp(path), failed;

	if (fd < 0)
		return 1;
	close(fd);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return failed;
}
