#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "dev.h"
#include "dev_cpu_tc.h"
#include "mem.h"

/* scatter and gram beside plain loops in double. */

enum { N = 90, K = 5, LATENTS = 23, MOST = 100 };

static uint32_t latent[N * K];
static float value[N * K], rows[N * MOST], weights[LATENTS * MOST];
static const struct dev_tc_codes codes = { latent, value, N, K };
static uint32_t seed = 1;

static uint32_t draw(void)
{
	return seed = seed * 1664525u + 1013904223u;
}

static float uniform(void)	/* -1 .. 1 */
{
	return (float)(draw() >> 8) * 0x1p-23f - 1;
}

/* Rows of none to K latents, one latent that none has. */
static int set_up(void **state)
{
	size_t i, j;

	(void)state;
	for (i = 0; i < N; i++)
		for (j = 0; j < K; j++) {
			int on = j < i % (K + 1);

			latent[i * K + j] = on ? (draw() >> 8) % (LATENTS - 1)
			                       : DEV_TC_NONE;
			value[i * K + j] = on ? uniform() : 0;
		}
	for (i = 0; i < N * MOST; i++)
		rows[i] = uniform();
	for (i = 0; i < LATENTS * MOST; i++)
		weights[i] = uniform();
	return 0;
}

static void run(const struct dev_tc_ops *t, struct dev *d, int gram, size_t dim,
                float *out)
{
	struct err e = { 0 };
	size_t i;

	for (i = 0; i < LATENTS * dim; i++)
		out[i] = (float)(i % 7) - 3;
	assert_int_equal(gram ? t->gram(d, &codes, weights, LATENTS, dim, out, &e)
	                 : t->scatter(d, &codes, rows, LATENTS, dim, out, &e), 0);
}

static void are_sums_over_slots(void **state)
{
	static const size_t dims[] = { 1, 15, 16, 17, 31, 32, 48, 100 };
	static float out[LATENTS * MOST], again[LATENTS * MOST];
	struct err e = { 0 };
	size_t t, i, j, m, n;
	int gram;

	(void)state;
	for (t = 0; t < sizeof(dims) / sizeof(*dims); t++)
		for (gram = 0; gram < 2; gram++) {
			size_t dim = dims[t];
			double want[LATENTS * MOST];
			struct dev *d = dev_open("cpu", 3, &e);
			struct dev *one = dev_open("cpu", 1, &e);

			assert_true(d && one);
			for (i = 0; i < LATENTS * dim; i++)
				want[i] = (double)(i % 7) - 3;
			for (i = 0; i < N; i++)
				for (j = 0; j < dim; j++) {
					double q = gram ? 0 : rows[i * dim + j];

					for (m = 0; m < i % (K + 1) && gram; m++)
						q += (double)value[i * K + m] *
							weights[latent[i * K + m]
							        * dim + j];
					for (m = 0; m < i % (K + 1); m++)
						want[latent[i * K + m] * dim + j]
							+= value[i * K + m] * q;
				}
			run(dev_ops(d)->tc, d, gram, dim, out);
			for (i = 0; i < LATENTS * dim; i++)
				assert_true(fabs(out[i] - want[i]) < 1e-5);
			n = LATENTS * dim * sizeof(*out);
			run(dev_ops(one)->tc, one, gram, dim, again);
			assert_memory_equal(out, again, n);
			for (i = (LATENTS - 1) * dim; i < LATENTS * dim; i++)
				assert_true(out[i] == (float)(i % 7) - 3);
			dev_free(d);
			dev_free(one);
		}
}

/* No rows: nothing is added. */
static void no_rows(void **state)
{
	const struct dev_tc_codes none = { latent, value, 0, K };
	float out[LATENTS * 3] = { 1, 2, 3 };
	struct err e = { 0 };
	struct dev *d = dev_open("cpu", 2, &e);

	(void)state;
	assert_non_null(d);
	assert_int_equal(dev_ops(d)->tc->scatter(d, &none, rows, LATENTS, 3, out,
	                                         &e), 0);
	assert_int_equal(dev_ops(d)->tc->gram(d, &none, weights, LATENTS, 3, out,
	                                      &e), 0);
	assert_true(out[0] == 1 && out[1] == 2 && out[2] == 3 && out[3] == 0);
	dev_free(d);
}

/* Every instruction set's loop, the same bytes. */
static void loops_agree_to_the_bit(void **state)
{
	static float sum[2][LATENTS * TC_SLAB];
	size_t cols;
	int level, gram;

	(void)state;
	for (level = 1; level < 3; level++)
		for (cols = 1; cols <= TC_SLAB; cols++)
			for (gram = 0; gram < 2; gram++) {
				const struct tc_loops *f =
					dev_cpu_tc_loops_level(level);

				if (!f)
					continue;
				memset(sum, 0, sizeof(sum));
				f->slab(&codes, gram ? NULL : rows, MOST, cols,
				        weights, sum[0]);
				dev_cpu_tc_loops_portable.slab(&codes, gram ? NULL
					: rows, MOST, cols, weights, sum[1]);
				assert_memory_equal(sum[0], sum[1],
				                    sizeof(sum[0]));
			}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(are_sums_over_slots),
		cmocka_unit_test(no_rows),
		cmocka_unit_test(loops_agree_to_the_bit),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
