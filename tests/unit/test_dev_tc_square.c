#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "dev.h"
#include "dev_tc.h"
#include "mem.h"

/* square beside a plain loop in double. */

enum { MOST = 70000, K = 4, LATENTS = 21 };

static uint32_t latent[MOST * K];
static float value[MOST * K];
static double want[LATENTS * LATENTS];
static uint32_t seed = 1;

static uint32_t draw(void)
{
	return seed = seed * 1664525u + 1013904223u;
}

/* n rows of none to K latents, the last latent in none. */
static struct dev_tc_codes rows(size_t n)
{
	size_t i, j, m;

	for (i = 0; i < LATENTS * LATENTS; i++)
		want[i] = (double)(i % 5) - 2;
	for (i = 0; i < n; i++) {
		uint32_t *l = latent + i * K;
		float *v = value + i * K;

		for (j = 0; j < K; j++) {
			int on = j < i % (K + 1);

			l[j] = on ? (draw() >> 8) % (LATENTS - 1) : DEV_TC_NONE;
			v[j] = on ? (float)(draw() >> 8) * 0x1p-24f : 7;
		}
		for (j = 0; j < i % (K + 1); j++)
			for (m = 0; m < i % (K + 1); m++)
				want[l[j] * LATENTS + l[m]] += (double)v[j] * v[m];
	}
	return (struct dev_tc_codes){ latent, value, n, K };
}

static void take(int threads, const struct dev_tc_codes *c, float *out)
{
	struct err e = { 0 };
	struct dev *d = dev_open("cpu", threads, &e);
	size_t i;

	assert_non_null(d);
	for (i = 0; i < LATENTS * LATENTS; i++)
		out[i] = (float)(i % 5) - 2;
	if (dev_ops(d)->tc->square(d, c, LATENTS, out, &e) < 0)
		fail_msg("%s", e.msg);
	dev_free(d);
}

/* Of no rows, few, and more than are taken at a time. */
static void is_the_codes_matrix(void **state)
{
	static const size_t n[] = { 0, 1, 50, 32768, MOST };
	float out[LATENTS * LATENTS], again[LATENTS * LATENTS];
	size_t i, j;

	(void)state;
	for (i = 0; i < sizeof(n) / sizeof(*n); i++) {
		struct dev_tc_codes c = rows(n[i]);

		take(1, &c, out);
		for (j = 0; j < LATENTS * LATENTS; j++)
			assert_true(fabs(out[j] - want[j]) <
			            1e-5 * (1 + fabs(want[j])));
		take(3, &c, again);
		assert_memory_equal(out, again, sizeof(out));
		for (j = 0; j < LATENTS; j++)	/* the one that never fires */
			assert_true(out[j * LATENTS + LATENTS - 1] ==
			            (float)((j * LATENTS + LATENTS - 1) % 5) - 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_the_codes_matrix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
