/* linear under DEV_Q8: equal to the formula of dev_cpu_q8.h to the bit by each
 * table, near the product of f32, whatever shapes and values. test_dev_q16.c does
 * the same with PLANES 2 under DEV_Q16. */
#ifndef PLANES
#define PLANES 1
#endif
#define DEV_THREADS 1, 2, 3
#include "dev_cases.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dev_cpu.h"
#include "q8_cases.h"

enum {
	B = Q8_BLOCK,
	TOP = PLANES == 2 ? Q16_MAX : Q8_MAX
};

static const enum dev_precision rounded = PLANES == 2 ? DEV_Q16 : DEV_Q8;

static void set(enum dev_precision p)
{
	int i;

	for (i = 0; i < N_DEVS; i++)
		dev_ops(devs[i])->precision(devs[i], p);
}

enum { T_OWN, T_AVX2, T_WIDE, N_TABLES };

static const struct dev_cpu_q8 *table_of_level(int level)
{
	return PLANES == 2 ? dev_cpu_q16_level(level) : dev_cpu_q8_level(level);
}

/* The processor's own table, AVX2's, or that of more than it may have. */
static const struct dev_cpu_q8 *table(int which)
{
#if defined(__x86_64__)
	if (which == T_WIDE && table_of_level(3))
		return &wide_table;
#endif
	return table_of_level(which == T_OWN ? 3 : 1);
}

/* Has the devices take it; 0 where they can't. */
static int take_table(int which)
{
	const struct dev_cpu_q8 *t = table(which);
	int i;

	for (i = 0; i < N_DEVS; i++) {
		struct dev_cpu *c = (struct dev_cpu *)devs[i];

		if (!t || c->amx)
			return 0;
		*(PLANES == 2 ? &c->q16 : &c->q8) = t;
	}
	return 1;
}

static int have_table(void)
{
	return take_table(T_OWN);
}

/* [d_out, d_in] of a 4-bit type from noise; its values in *f32. */
static struct tensor weight(enum dtype type, size_t d_out, size_t d_in,
                            uint32_t seed, float **f32)
{
	struct tensor w = { .name = "w", .type = type, .n_dims = 2,
		.shape = { d_out, d_in }, .n = d_out * d_in };
	size_t step = dtype_block_bytes(type), i;
	uint16_t h[2] = { 0, 0 };
	uint8_t *raw;

	assert_int_equal(dtype_bytes(type, w.n, &w.n_bytes, &e), 0);
	raw = mem_array(w.n_bytes, 1, &e);
	assert_non_null(raw);
	for (i = 0; i < w.n_bytes; i++) {
		seed = seed * 1664525u + 1013904223u;
		raw[i] = (uint8_t)(seed >> 24);
	}
	for (i = 0; i < w.n_bytes; i += step) {
		float s[2] = { (float)(1 + raw[i] % 50) / 256,
		               -(float)(1 + raw[i + 1] % 99) / 64 };

		f16_from_f32(s, 2, h);
		memcpy(raw + i, h, type == DT_Q4_1 ? 4 : 2);
	}
	w.data = raw;
	*f32 = mem_array(w.n, sizeof(**f32), &e);
	assert_non_null(*f32);
	assert_int_equal(tensor_f32(&w, 0, w.n, *f32, &e), 0);
	return w;
}

/* The scale and least value of a block, and its integers. */
static void block_of(const struct tensor *w, size_t row, size_t block,
                     float *s, float *m, int *u)
{
	size_t step = dtype_block_bytes(w->type), j;
	const uint8_t *p = (const uint8_t *)w->data +
		(row * w->shape[1] / B + block) * step;
	const uint8_t *q = p + step - B / 2;
	uint16_t h[2];

	memcpy(h, p, sizeof(h));
	f32_from_f16(&h[0], 1, s);
	f32_from_f16(&h[1], 1, m);
	if (w->type == DT_Q4_0)
		*m = -8 * *s;
	for (j = 0; j < B / 2; j++) {
		u[j] = q[j] & 15;
		u[B / 2 + j] = q[j] >> 4;
	}
}

/* dev_cpu_q8.h's formula, and how far it may be from the f32 product: half a
 * step of x's times the weights' sizes, and with 16 bits what f32 rounds, too. */
static float formula(const float *x, const struct tensor *w, size_t row,
                     float bias, const float *f32, double *off)
{
	size_t blocks = w->shape[1] / B, b, j;
	float out = 0, most = 0;

	*off = 0;
	for (j = 0; j < blocks * B; j++)
		most = fmaxf(most, fabsf(x[j]));
	for (b = 0; b < blocks; b++, x += B) {
		float s, m, top = 0, p;
		int u[B], dot = 0, sum = 0;

		block_of(w, row, b, &s, &m, u);
		for (j = 0; j < B; j++)
			top = fmaxf(top, fabsf(x[j]));
		p = fminf(fmaxf(ceilf(top * (32767 / most)), 1), 32767);
		for (j = 0; j < B; j++) {
			int q = (int)rintf(x[j] * (TOP * 32767 / most / p));

			assert_in_range(abs(q), 0, TOP);
			dot += q * u[j];
			sum += q;
			*off += 0.51 * (top / TOP + most / (TOP * 32767)) *
				fabs(f32[row * w->shape[1] + b * B + j]);
			if (PLANES == 2)
				*off += 0x1p-22 * fabs(x[j]) *
					((double)s * u[j] + fabs(m));
		}
		out = fmaf(m, p * (float)sum, fmaf(p * (float)dot, s, out));
	}
	return out * (most / (TOP * 32767)) + bias;
}

static void check_case(enum dtype type, size_t n, size_t d_out, size_t d_in,
                       float factor)
{
	float *f32, *x = noise(n * d_in, 3), *bias = noise(d_out, 4);
	struct tensor w = weight(type, d_out, d_in, 5, &f32);
	float *out = noise(n * d_out, 6);
	struct dev_linear l = { &w, n % 2 ? bias : NULL, out };
	size_t i, j, k;
	int t;

	for (i = 0; i < n * d_in; i++)	/* rows and blocks of all sizes */
		x[i] *= factor * (float)(1 + i / d_in % 5) *
			powf(0.01f, (float)(i / B % 5));
	for (t = 0; t < N_DEVS; t++) {
		memset(out, 255, n * d_out * sizeof(*out));
		assert_int_equal(dev_ops(devs[t])->linear(devs[t], x, n, &l, 1,
		                                          &e), 0);
		for (i = 0; i < n; i++)
			for (j = 0; j < d_out; j++) {
				double off, near = l.bias ? bias[j] : 0;
				double x_sq = 0, w_sq = 0;
				float want = formula(x + i * d_in, &w, j,
					l.bias ? bias[j] : 0, f32, &off);

				assert_memory_equal(&out[i * d_out + j],
				                    &want, sizeof(want));
				if (t > 0)
					continue;
				for (k = 0; k < d_in; k++) {
					double a = x[i * d_in + k];
					double b = f32[j * d_in + k];

					near += a * b;
					x_sq += a * a;
					w_sq += b * b;
				}
				assert_true(fabs(near - want) <=
				            off * (1 + 1e-4) + 1e-6);
				/* what DEV_NEAR promises */
				assert_true(PLANES == 1 || fabs(near - want) <=
				            1e-5 * sqrt(x_sq * w_sq) + 1e-6);
			}
	}
	mem_free(out);
	mem_free((void *)w.data);
	mem_free(f32);
	mem_free(bias);
	mem_free(x);
}

static void products_are_the_formula(void **state)
{
	/* edges of tiles, of items, of rounds; blocks beyond one depth */
	static const size_t sizes[][3] = {
		{ 5, 1, 32 }, { 6, 16, 32 }, { 7, 17, 64 }, { 12, 385, 96 },
		{ 13, 40, 1568 }, { 24, 64, 96 }, { 200, 33, 768 },
		{ 401, 20, 64 }
	};
	size_t i;
	int which;

	(void)state;
	for (which = 0; which < N_TABLES; which++) {
		if (!take_table(which))
			skip();
		set(rounded);
		for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
			check_case(DT_Q4_1, sizes[i][0], sizes[i][1],
			           sizes[i][2], 1);
			check_case(DT_Q4_0, sizes[i][0], sizes[i][1],
			           sizes[i][2], 1000);
		}
		set(DEV_NEAR);
	}
}

/* All at their largest, a 16-bit lane must not run over, nor a float's bits. */
static void the_largest_sums_fit(void **state)
{
	enum { N = 6, IN = 64 };
	float *f32, *x = noise(N * IN, 1), out[N];
	struct tensor w = weight(DT_Q4_1, 1, IN, 2, &f32);
	struct dev_linear l = { &w, NULL, out };
	uint8_t *raw = (uint8_t *)w.data;
	double off;
	size_t i;
	int which;

	(void)state;
	for (i = 0; i < w.n_bytes; i++)
		if (i % 20 >= 4)
			raw[i] = 255;
	for (i = 0; i < N * IN; i++)
		x[i] = i / IN % 2 ? -2.5f : 2.5f;
	for (which = 0; which < N_TABLES; which++) {
		if (!take_table(which))
			skip();
		set(rounded);
		assert_int_equal(dev_ops(devs[0])->linear(devs[0], x, N, &l, 1,
		                                          &e), 0);
		set(DEV_NEAR);
		for (i = 0; i < N; i++) {
			float want = formula(x + i * IN, &w, 0, 0, f32, &off);

			assert_memory_equal(&out[i], &want, sizeof(want));
		}
	}
	mem_free((void *)w.data);
	mem_free(f32);
	mem_free(x);
}

static void rows_without_numbers_stay_alone(void **state)
{
	enum { N = 9, IN = 96, OUT = 20 };
	float *f32, *x = noise(N * IN, 1), *out = noise(N * OUT, 2);
	struct tensor w = weight(DT_Q4_1, OUT, IN, 2, &f32);
	struct dev_linear l = { &w, NULL, out };
	size_t i, j;

	(void)state;
	if (!have_table())
		skip();
	x[2 * IN + 40] = NAN;
	x[4 * IN + 95] = -INFINITY;
	for (j = 0; j < IN; j++) {
		x[5 * IN + j] = 0;
		x[6 * IN + j] *= 0x1p-130f;
		x[7 * IN + j] *= 0x1p100f;
	}
	set(rounded);
	assert_int_equal(dev_ops(devs[0])->linear(devs[0], x, N, &l, 1, &e), 0);
	set(DEV_NEAR);
	for (i = 0; i < N; i++)
		for (j = 0; j < OUT; j++) {
			if (i == 2 || i == 4)
				assert_true(isnan(out[i * OUT + j]));
			else if (i == 5 || i == 6)
				assert_true(out[i * OUT + j] == 0);
			else
				assert_true(isfinite(out[i * OUT + j]) &&
				            out[i * OUT + j] != 0);
		}
	mem_free((void *)w.data);
	mem_free(f32);
	mem_free(out);
	mem_free(x);
}

/* Two weights in one call, rounded, equal each by itself under p. */
static void pair_is_each(const struct tensor *a, const struct tensor *b,
                         const float *x, size_t n, enum dev_precision p)
{
	const struct tensor *w[2] = { a, b };
	struct dev_linear l[2];
	float *both[2], *alone;
	int i;

	for (i = 0; i < 2; i++) {
		both[i] = noise(n * w[i]->shape[0], 5);
		l[i] = (struct dev_linear) { w[i], NULL, both[i] };
	}
	set(rounded);
	assert_int_equal(dev_ops(devs[1])->linear(devs[1], x, n, l, 2, &e), 0);
	set(p);
	for (i = 0; i < 2; i++) {
		alone = l[i].out = noise(n * w[i]->shape[0], 6);
		assert_int_equal(dev_ops(devs[2])->linear(devs[2], x, n, &l[i],
		                                          1, &e), 0);
		assert_memory_equal(alone, both[i], n * w[i]->shape[0] *
		                    sizeof(*alone));
		mem_free(alone);
		mem_free(both[i]);
	}
	set(DEV_NEAR);
}

/* Several weights at once; with one of another type none is rounded; few rows
 * never are. */
static void what_is_rounded(void **state)
{
	enum { N = 30, IN = 64, A = 50, C = 7 };
	float *f[3], *x = noise(N * IN, 1), *out[2];
	struct tensor w[3] = { weight(DT_Q4_1, A, IN, 2, &f[0]),
		weight(DT_Q4_0, C, IN, 3, &f[1]),
		{ .name = "f", .type = DT_F32, .n_dims = 2, .shape = { C, IN },
		  .n = C * IN, .n_bytes = C * IN * sizeof(float) } };
	struct dev_linear l = { &w[0], NULL, NULL };
	size_t i, few;

	(void)state;
	if (!have_table())
		skip();
	w[2].data = f[2] = noise(C * IN, 4);
	pair_is_each(&w[0], &w[1], x, N, rounded);
	pair_is_each(&w[1], &w[2], x, N, DEV_NEAR);
	for (i = 0; i < 2; i++)
		out[i] = noise(N * A, 5);
	for (few = 1; few <= 5; few++) {
		for (i = 0; i < 2; i++) {
			set(i ? DEV_NEAR : rounded);
			l.out = out[i];
			assert_int_equal(dev_ops(devs[0])->linear(devs[0], x,
				few, &l, 1, &e), 0);
		}
		assert_int_equal(memcmp(out[0], out[1], few * A *
		                        sizeof(float)) == 0, few < 5);
	}
	dev_set_precision(devs[0], PLANES == 2 ? "f32" : "q8");
	assert_int_equal(dev_ops(devs[0])->precision(devs[0], rounded), rounded);
	assert_true(dev_ops(devs[0])->as_stored(devs[0], DT_Q4_1));
	assert_false(dev_ops(devs[0])->as_stored(devs[0], DT_Q8_0));
	dev_set_precision(devs[0], "exact");
	assert_int_equal(dev_ops(devs[0])->precision(devs[0], DEV_NEAR), DEV_EXACT);
	set(DEV_NEAR);
	assert_false(dev_ops(devs[0])->as_stored(devs[0], DT_Q4_1));
	for (i = 0; i < 2; i++) {
		mem_free(out[i]);
		mem_free((void *)w[i].data);
	}
	for (i = 0; i < 3; i++)
		mem_free(f[i]);
	mem_free(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(products_are_the_formula),
		cmocka_unit_test(the_largest_sums_fit),
		cmocka_unit_test(rows_without_numbers_stay_alone),
		cmocka_unit_test(what_is_rounded),
	};

	return cmocka_run_group_tests(tests, open_devs, close_devs);
}
