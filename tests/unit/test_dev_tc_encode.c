/* TopK encoding is exact: each way to it gives the bytes of computing every
 * value and sorting. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dev.h"
#include "dev_cpu_tc.h"
#include "dev_cpu_tc_coarse.h"
#include "mem.h"
#include "coarse_cases.h"
#include "encode_cases.h"

enum { N = 61, L = 1203, D = 83 };

static float value(const struct data *a, size_t row, size_t latent)
{
	return vec_level(0)->dot(a->x + row * a->d, a->w + latent * a->d,
	                         a->d) + a->b[latent];
}

static int descending(const void *p, const void *q)
{
	uint64_t a = *(const uint64_t *)p, b = *(const uint64_t *)q;

	return a < b ? 1 : -1;
}

static void by_sorting(const struct data *a, size_t k, const uint32_t *ids,
                       uint32_t *latent, float *values)
{
	uint64_t *key = malloc(a->n_latents * sizeof(*key));
	size_t i, j, m;

	for (i = 0; i < a->n; i++) {
		for (j = 0, m = 0; j < a->n_latents; j++) {
			float v = value(a, i, j);

			if (v > 0)
				key[m++] = tc_key(v, (uint32_t)j);
		}
		qsort(key, m, sizeof(*key), descending);
		for (j = 0; j < k; j++, latent++, values++) {
			uint32_t at = j < m ? tc_key_latent(key[j]) : 0;

			*latent = j >= m ? DEV_TC_NONE : ids ? ids[at] : at;
			*values = j < m ? tc_key_value(key[j]) : 0;
		}
	}
	free(key);
}

/* The devices: BLAS with each table of loops, then each table of integers, and
 * AVX2's with all the bytes there are. */
static struct dev *device(int which)
{
	static struct dev_cpu_tc_coarse bytes;
	const struct dev_cpu_tc_coarse *table;
	struct err e = { 0 };
	struct dev *d;

	table = which < 2 ? NULL : which == 2 ? &plain_table
	        : dev_cpu_tc_coarse_level(which == 5 ? 1 : which - 2);
	if (which > 2 && !table)
		return NULL;
	if (which == 5) {
		bytes = *table;
		bytes.narrow.share = 1e30;
		table = &bytes;
	}
	d = dev_open("cpu", which == 1 || which == 3 ? 3 : 1, &e);
	assert_non_null(d);
	dev_cpu_limit(d, which == 0 ? 0 : 3);
	((struct dev_cpu *)d)->coarse = table;
	return d;
}

enum { DEVICES = 6 };

static void check(const struct data *a, size_t k, const uint32_t *ids)
{
	size_t codes = a->n * k;
	uint32_t *want = malloc(codes * sizeof(*want));
	float *values = malloc(codes * sizeof(*values));
	struct dev_tc_codes c = { malloc(codes * sizeof(*want)),
		malloc(codes * sizeof(*values)), a->n, k };
	struct err e = { 0 };
	int i;

	by_sorting(a, k, ids, want, values);
	for (i = 0; i < DEVICES; i++) {
		struct dev *d = device(i);

		if (!d)
			continue;
		memset(c.latent, 7, codes * sizeof(*want));
		assert_int_equal(dev_ops(d)->tc->encode(d, a->x, a->n, a->d,
		                 a->w, a->b, a->n_latents, ids, &c, &e), 0);
		assert_memory_equal(c.latent, want, codes * sizeof(*want));
		assert_memory_equal(c.value, values, codes * sizeof(*values));
		dev_free(d);
	}
	free(want);
	free(values);
	free(c.latent);
	free(c.value);
}

static void every_way_gives_the_same_bytes(void **state)
{
	static const size_t shape[][4] = {	/* rows, inputs, latents, k */
		{ 1, 5, 700, 3 }, { 4, 64, 2100, 32 }, { 5, 64, 2100, 32 },
		{ 48, 64, 512, 64 }, { 49, 65, 513, 1 }, { 83, 95, 1700, 31 },
		{ 300, 128, 3000, 5 }, { 60, 96, 4001, 320 }, { 97, 64, 600, 75 },
		{ 57, 576, 2304, 32 }
	};
	struct dev *d = device(2);
	size_t i, fit = 0;

	(void)state;
	for (i = 0; i < sizeof(shape) / sizeof(*shape); i++) {
		const size_t *s = shape[i];
		struct data a = data_new(s[0], s[1], s[2]);
		const struct tc_encode q = { .dev = (struct dev_cpu *)d,
			.n = s[0], .d_in = s[1], .n_latents = s[2], .k = s[3] };

		fit += dev_cpu_tc_coarse_fits(&q) != 0;
		check(&a, s[3], NULL);
		data_free(&a);
	}
	assert_int_equal(fit, 7);
	dev_free(d);
}

/* ---- data that bounds find hard --------------------------------------------- */

static void largest_first(struct data *a)
{
	size_t j;

	for (j = 0; j < a->n_latents; j++)
		a->b[j] = 5 - 5 * (float)j / (float)a->n_latents;
}

static void scale(float *v, size_t n, float by)
{
	size_t i;

	for (i = 0; i < n; i++)
		v[i] *= by;
}

static void whole_numbers(struct data *a)
{
	size_t i;

	for (i = 0; i < a->n * a->d; i++)
		a->x[i] = (float)((int)(rnd() % 7) - 3);
	for (i = 0; i < a->n_latents * a->d; i++)
		a->w[i] = (float)((int)(rnd() % 5) - 2);
	for (i = 0; i < a->n_latents; i++)
		a->b[i] = (float)(rnd() % 9);
}

static void rows_alike(struct data *a)
{
	size_t j;

	for (j = 1; j < a->n_latents; j++) {
		memcpy(a->w + j * a->d, a->w, a->d * sizeof(float));
		a->b[j] = a->b[0] = 3;
	}
}

static void each_row_fifty_times(struct data *a)
{
	size_t j;

	for (j = 0; j < a->n_latents; j++) {
		memcpy(a->w + j * a->d, a->w + j % 24 * a->d,
		       a->d * sizeof(float));
		a->b[j] = a->b[j % 24];
	}
}

/* Apart by less than any bound. */
static void rows_nearly_alike(struct data *a)
{
	size_t i, j;

	for (j = 1; j < a->n_latents; j++)
		for (i = 0; i < a->d; i++)
			a->w[j * a->d + i] = a->w[i] *
				(1 + (float)(rnd() % 64) * 0x1p-23f);
	for (j = 0; j < a->n_latents; j++)
		a->b[j] = 2;
}

static void zeros(struct data *a)
{
	memset(a->x, 0, a->n / 2 * a->d * sizeof(float));
	memset(a->w, 0, a->n_latents / 2 * a->d * sizeof(float));
	memset(a->b, 0, a->n_latents / 3 * sizeof(float));
}

static void all_negative(struct data *a)
{
	size_t j;

	for (j = 0; j < a->n_latents; j++)
		a->b[j] = -100;
}

static void few_positive(struct data *a)
{
	size_t j;

	for (j = 0; j < a->n_latents; j++)
		a->b[j] = j % 400 == 7 ? 3 : -100;
}

static void sizes_of_all_kinds(struct data *a)
{
	static const float by[] = { 1e-44f, 1e-38f, 1e-30f, 1e-19f, 1e-9f, 1,
		1e9f, 1e17f, 1e19f, 1e30f, 1e37f };
	size_t i;

	for (i = 0; i < a->n; i++)
		scale(a->x + i * a->d, a->d, by[rnd() % 11]);
	for (i = 0; i < a->n_latents; i++) {
		scale(a->w + i * a->d, a->d, by[rnd() % 11]);
		a->b[i] *= by[rnd() % 11];
	}
}

static void subnormal(struct data *a)
{
	scale(a->x, a->n * a->d, 1e-20f);
	scale(a->w, a->n_latents * a->d, 1e-21f);
	scale(a->b, a->n_latents, 1e-40f);
}

static void nothing_but_subnormal(struct data *a)
{
	scale(a->x, a->n * a->d, 1e-38f);
	scale(a->w, a->n_latents * a->d, 1e-37f);
	memset(a->b, 0, a->n_latents * sizeof(float));
}

static void huge(struct data *a)
{
	scale(a->x, a->n * a->d, 1e19f);
	scale(a->w, a->n_latents * a->d, 1e19f);
}

static void biases_that_hide_products(struct data *a)
{
	size_t j;

	for (j = 0; j < a->n_latents; j++)
		a->b[j] = 1e7f + (float)(rnd() % 3);
}

static void one_large_input(struct data *a)
{
	size_t i;

	for (i = 0; i < a->n; i++)
		a->x[i * a->d + 7] = 1000 * uniform();
	for (i = 0; i < a->n_latents; i += 3)
		a->w[i * a->d + 9] = 1e4f;
}

/* One latent whose bound is wide must not hide the others. */
static void one_large_latent(struct data *a)
{
	scale(a->w + 11 * a->d, a->d, 1e12f);
	scale(a->x + 5 * a->d, a->d, 1e12f);
}

static void not_finite(struct data *a)
{
	static const float bad[] = { NAN, INFINITY, -INFINITY };
	size_t i;

	for (i = 0; i < 12; i++) {
		a->x[(i % 4) * a->d + rnd() % a->d] = bad[rnd() % 3];
		a->w[rnd() % (a->n_latents * a->d)] = bad[rnd() % 3];
	}
	for (i = 0; i < a->n_latents; i += 10)
		a->b[i] = bad[i / 10 % 3];
}

static void no_number_at_all(struct data *a)
{
	size_t i;

	for (i = 0; i < a->n_latents * a->d; i++)
		a->w[i] = NAN;
}

static void no_row_is_a_number(struct data *a)
{
	size_t i;

	for (i = 0; i < a->n; i++)
		a->x[i * a->d + i % a->d] = i % 2 ? NAN : INFINITY;
}

static void hard_data_is_no_exception(void **state)
{
	void (*const make[])(struct data *) = {
		largest_first, whole_numbers, rows_alike, each_row_fifty_times,
		rows_nearly_alike, zeros, all_negative, few_positive,
		sizes_of_all_kinds, subnormal, nothing_but_subnormal, huge,
		biases_that_hide_products, one_large_input, one_large_latent,
		not_finite, no_number_at_all, no_row_is_a_number
	};
	uint32_t *ids = malloc(L * sizeof(*ids));
	size_t i;

	(void)state;
	for (i = 0; i < L; i++)
		ids[i] = (uint32_t)(3 * i + 5);
	for (i = 0; i < sizeof(make) / sizeof(*make); i++) {
		struct data a = data_new(N, D, L);

		make[i](&a);
		check(&a, 1, NULL);
		check(&a, 32, i % 2 ? ids : NULL);
		check(&a, 150, NULL);
		data_free(&a);
	}
	free(ids);
}

static size_t encode_once(struct dev *d, const struct data *a, size_t k)
{
	struct dev_tc_codes c = { malloc(a->n * k * sizeof(*c.latent)),
		malloc(a->n * k * sizeof(*c.value)), a->n, k };
	struct err e = { 0 };

	assert_int_equal(dev_ops(d)->tc->encode(d, a->x, a->n, a->d, a->w, a->b,
	                 a->n_latents, NULL, &c, &e), 0);
	free(c.latent);
	free(c.value);
	return ((struct dev_cpu *)d)->distrust;
}

static void trust_that_was_misplaced_is_withdrawn(void **state)
{
	struct data a = data_new(N, D, L), b = data_new(N, D, L);
	struct dev *d = device(2);
	size_t after;

	(void)state;
	largest_first(&b);
	assert_int_equal(encode_once(d, &a, 32), 0);
	after = encode_once(d, &b, 32);
	assert_true(after > 100);
	assert_int_equal(encode_once(d, &b, 32), after - 1);
	assert_int_equal(encode_once(d, &a, 32), after - 2);
	dev_free(d);
	data_free(&a);
	data_free(&b);
}

/* ---- the bounds themselves ---------------------------------------------------- */

/* Every value within its bounds, these no wider than derived. */
static void bounds_hold(const struct data *a, const struct tc_pick *p,
                        size_t n, double width)
{
	size_t i, j, c;

	for (i = 0; i < n; i++) {
		assert_int_equal(p[i].n, a->n_latents);
		for (c = 0; c < p[i].n; c++) {
			double xx = 0, ww = 0;
			float v;

			j = p[i].at[c];
			v = value(a, i, j);
			assert_true(p[i].low[c] <= v && v <= p[i].up[c]);
			for (size_t u = 0; u < a->d; u++) {
				xx += (double)a->x[i * a->d + u] *
				      a->x[i * a->d + u];
				ww += (double)a->w[j * a->d + u] *
				      a->w[j * a->d + u];
			}
			assert_true((double)p[i].up[c] - p[i].low[c] <=
			            width * sqrt(xx * ww) + 1e-6 * fabsf(v));
		}
	}
}

/* Numbers that take sums as far as they may go: all of one sign and size, and
 * a few much larger than the others. */
static void one_size(struct data *a)
{
	size_t i;

	for (i = 0; i < a->n * a->d; i++)
		a->x[i] = 1;
	for (i = 0; i < a->n_latents * a->d; i++)
		a->w[i] = i / a->d % 2 ? 3 : -3;
}

static void peaks(struct data *a)
{
	size_t i;

	for (i = 0; i < a->n * a->d; i++)
		a->x[i] = i % a->d % 64 < 2 ? 1 - (float)(i / a->d % 2) * 2
		                            : a->x[i] / 1000;
	for (i = 0; i < a->n_latents * a->d; i++)
		a->w[i] = i % a->d % 64 < 2 ? 1 - 0.001f * (float)(i % 7) : 0;
}

/* Blocks of very different sizes. */
static void graded(struct data *a)
{
	size_t i;

	for (i = 0; i < a->n * a->d; i++)
		a->x[i] *= powf(10, -(float)(i % a->d / TC_BLOCK % 6));
}

/* One group of rows and some panels, with so many narrow chunks. */
static void bound(const struct dev_cpu_tc_coarse *f, const struct data *a,
                  size_t narrow, double width)
{
	size_t panels = (a->n_latents + f->nr - 1) / f->nr, i, j, n;
	size_t latents = panels * f->nr, room = latents + 2 * f->nr, d = a->d;
	struct tc_cols *c = malloc(sizeof(*c));
	float *v = malloc((5 * f->mr + 6 * latents) * sizeof(*v));
	float *b = v + 5 * f->mr + 5 * latents;
	struct tc_side x, w;
	struct tc_encode q = { .d_in = d, .n_latents = a->n_latents,
	                       .cap = room };
	struct tc_pick *p = dev_cpu_tc_pick_rows(malloc(dev_cpu_tc_pick_bytes(
		a->n, room)), a->n, room);
	struct tc_scan s = { .q = &q, .cols = c, .rows = a->n, .pick = p,
	                     .bias = b, .panels = panels };

	dev_cpu_tc_cols_wide(c, d);
	c->wide -= narrow;
	c->narrow = narrow;
	x = (struct tc_side){ malloc(tc_wide_values(c, f->mr) * 2 + 1),
		malloc(tc_narrow_bytes(c, f->mr, 0) + 1),
		malloc(tc_factors(c, f->mr) * 2 + 1), v, v + f->mr,
		v + 2 * f->mr, v + 3 * f->mr, v + 4 * f->mr };
	v += 5 * f->mr;
	w = (struct tc_side){ malloc(tc_wide_values(c, latents) * 2 + 1),
		malloc(tc_narrow_bytes(c, latents, 1) + 1), NULL, v, v + latents,
		v + 2 * latents, v + 3 * latents, v + 4 * latents };
	f->pack_x(c, a->x, a->n, x);
	for (i = 0; i < latents; i += f->nr) {
		n = a->n_latents - i < f->nr ? a->n_latents - i : f->nr;
		f->pack_w(c, a->w + i * d, n, tc_side_at(w, c, i, 1));
		for (j = i; j < i + f->nr; j++)
			b[j] = j < i + n ? a->b[j] : -INFINITY;
	}
	for (i = 0; i < a->n; i++) {
		p[i].bar = -1e30f;
		p[i].full = room;
	}
	s.x = x;
	s.w = w;
	f->scan(&s);
	bounds_hold(a, p, a->n, width);
	free(x.scale);
	free(x.wide);
	free(x.narrow);
	free(x.factor);
	free(w.wide);
	free(w.narrow);
	free(p);
	free(c);
}

static void integers_bound_what_they_stand_for(void **state)
{
	static const size_t width[] = { 64, 83, 256, 1000 };
	static void (*const make[])(struct data *) = { graded, one_size, peaks };
	size_t t, narrow;
	int which, kind;

	(void)state;
	for (which = 2; which < DEVICES; which++) {
		struct dev *dev = device(which);
		const struct dev_cpu_tc_coarse *f = dev
		    ? ((struct dev_cpu *)dev)->coarse : NULL;

		for (t = 0; f && t < 4; t++)
		for (kind = 0; kind < 4; kind++) {
			struct data a = data_new(f->mr, width[t], 200);
			size_t chunks = (a.d + TC_CHUNK - 1) / TC_CHUNK;

			if (kind)
				make[kind - 1](&a);
			for (narrow = 0; narrow <= chunks; narrow += 2) {
				/* above and below, both sides */
				double d = (double)chunks * TC_CHUNK;
				double most = 4.6 * (0.52 * sqrt(d) / 45000 +
				                     6e-8 * (d + 40));

				bound(f, &a, narrow, kind > 1 ? INFINITY : most +
				      (narrow ? 4 * 0.5 / 27 : 0));
			}
			data_free(&a);
		}
		dev_free(dev);
	}
}

static void integers_stay_in_their_bits(void **state)
{
	(void)state;
	/* each partial sum by Cauchy and Schwarz */
	assert_true(46000.0 * 46000.0 < 0x1p31);
	assert_true(2 * TC_BYTE * TC_BYTE * 2 < 0x1p15);
	assert_true(pow(TC_HALF + 0.51 * sqrt(TC_BLOCK / 2) + 0.01, 2) < 0x1p15);
	assert_true(TC_FACTORS * 0x1p16 < 0x1p31);
	assert_true(TC_FACTORS / (TC_MAX_IN / TC_BLOCK) > 1);
	/* of VNNI a block's: on the way, and exact in f32 in the end */
	assert_true(TC_BLOCK * 255.0 * 127 < 0x1p31);
	assert_true(TC_BLOCK * 127.0 * 127 < 0x1p24);
}

static void large_columns_are_wide(void **state)
{
	struct data a = data_new(300, 320, 900);
	struct dev *d = device(2);
	const struct tc_encode q = { .dev = (struct dev_cpu *)d, .x = a.x,
		.w = a.w, .b = a.b, .n = a.n, .d_in = a.d,
		.n_latents = a.n_latents, .k = 32 };
	const struct tc_narrow all = { 1e30, TC_BYTE, TC_HALF };
	const struct tc_narrow some = { 0.3, TC_BYTE, TC_HALF };
	struct tc_cols *c = malloc(sizeof(*c));
	size_t i, was;

	(void)state;
	dev_cpu_tc_cols_choose(c, &q, &all);
	assert_int_equal(c->wide, 0);
	assert_int_equal(c->narrow, 10);
	dev_cpu_tc_cols_choose(c, &q, &some);
	was = c->narrow;
	assert_true(c->wide + was == 10 && was > 0 && was < 10 && was % 2 == 0);
	for (i = 0; i < a.n; i++)	/* of two chunks */
		a.x[i * a.d + 70] = a.x[i * a.d + 300] = 20;
	dev_cpu_tc_cols_choose(c, &q, &some);
	assert_true(c->wide >= 2);
	assert_int_equal(c->chunk[0] + c->chunk[1], 70 / 32 + 300 / 32);
	free(c);
	dev_free(d);
	data_free(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_way_gives_the_same_bytes),
		cmocka_unit_test(hard_data_is_no_exception),
		cmocka_unit_test(trust_that_was_misplaced_is_withdrawn),
		cmocka_unit_test(integers_bound_what_they_stand_for),
		cmocka_unit_test(integers_stay_in_their_bits),
		cmocka_unit_test(large_columns_are_wide),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
