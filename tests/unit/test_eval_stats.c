/* Running sums of reconstructions against the definition, a second pass over
 * stored values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "eval_stats.h"
#include "par.h"

enum { N = 90, DIM = 150, LATENTS = 9, K = 3 };

struct data {
	float y[N * DIM], y_hat[N * DIM];
	uint8_t keep[N];
	uint32_t latent[N * K];
	float value[N * K];
};

static double random_unit(uint32_t *s)
{
	*s = *s * 1664525u + 1013904223u;
	return (double)(*s >> 8) / (1 << 24) - 0.5;
}

static void make(struct data *d, double mean)
{
	uint32_t s = 5;
	size_t i, j;

	for (i = 0; i < N; i++) {
		d->keep[i] = i % 7 != 2 && i != 0;
		for (j = 0; j < DIM; j++) {
			double e = 0.2 * random_unit(&s);

			d->y[i * DIM + j] = (float)(mean + random_unit(&s));
			d->y_hat[i * DIM + j] = d->y[i * DIM + j] + (float)e;
		}
		/* row i: i % (K + 1) active latents, never latent 8 */
		for (j = 0; j < K; j++) {
			int on = j < i % (K + 1);

			d->latent[i * K + j] = on ? (uint32_t)((i + j) % 8)
			                          : UINT32_MAX;
			d->value[i * K + j] = on ? (float)(K - j) : 0;
		}
	}
	/* what is not kept must not matter */
	d->y[2 * DIM] = 1e30f;
	d->y[0] = 1e30f;
}

static void add(struct eval_stats *s, struct data *d, struct par *p,
                size_t block)
{
	struct err e;
	size_t i, n;

	assert_int_equal(eval_stats_init(s, DIM, LATENTS, &e), 0);
	for (i = 0; i < N; i += n) {
		struct tc_codes c = { .latent = d->latent + i * K,
		                      .value = d->value + i * K, .k = K };

		n = c.n = N - i < block ? N - i : block;
		eval_stats_add(s, p, d->y + i * DIM, d->y_hat + i * DIM,
		               d->keep + i, n, &c);
	}
}

static double fvu(const struct data *d, double *mean)
{
	double miss = 0, total = 0;
	size_t i, j, n = 0;

	memset(mean, 0, DIM * sizeof(*mean));
	for (i = 0; i < N; i++) {
		n += d->keep[i];
		for (j = 0; j < DIM; j++)
			mean[j] += d->keep[i] ? d->y[i * DIM + j] : 0;
	}
	for (j = 0; j < DIM; j++)
		mean[j] /= (double)n;
	for (i = 0; i < N; i++)
		for (j = 0; j < DIM && d->keep[i]; j++) {
			double m = (double)d->y[i * DIM + j] -
			           (double)d->y_hat[i * DIM + j];
			double t = (double)d->y[i * DIM + j] - mean[j];

			miss += m * m;
			total += t * t;
		}
	return miss / total;
}

static void definition(void **state)
{
	static struct data d;
	struct eval_stats s;
	double mean[DIM], want;
	float got[DIM];
	size_t i, active = 0, n = 0;

	(void)state;
	/* a mean a thousand times the spread costs no digits */
	make(&d, 1000);
	want = fvu(&d, mean);
	add(&s, &d, NULL, 32);
	assert_true(fabs(eval_stats_fvu(&s) / want - 1) < 1e-9);
	eval_stats_mean(&s, got);
	for (i = 0; i < DIM; i++)
		assert_true(fabs(got[i] - mean[i]) < 1e-4);
	for (i = 0; i < N; i++) {
		n += d.keep[i];
		active += d.keep[i] ? i % (K + 1) : 0;
	}
	assert_int_equal(s.n, n);
	assert_int_equal(s.n_active, active);
	assert_int_equal(s.fired[8], 0);
	assert_true(s.act_max == K);
	eval_stats_free(&s);
}

static void threads_and_blocks(void **state)
{
	static struct data d;
	struct eval_stats a, b;
	struct err e;
	struct par *p = par_new(3, &e);

	(void)state;
	assert_non_null(p);
	make(&d, 3);
	add(&a, &d, NULL, N);
	add(&b, &d, p, 11);
	assert_memory_equal(a.sum, b.sum, DIM * sizeof(double));
	assert_memory_equal(a.sq, b.sq, DIM * sizeof(double));
	assert_memory_equal(a.miss, b.miss, DIM * sizeof(double));
	assert_memory_equal(a.fired, b.fired, LATENTS * sizeof(uint64_t));
	eval_stats_free(&a);
	eval_stats_free(&b);
	par_free(p);
}

static void constant(void **state)
{
	static struct data d;
	struct eval_stats s;
	size_t i;

	(void)state;
	make(&d, 0);
	for (i = 0; i < N * DIM; i++)
		d.y[i] = 2;
	add(&s, &d, NULL, N);
	assert_true(isnan(eval_stats_fvu(&s)));
	eval_stats_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(definition),
		cmocka_unit_test(threads_and_blocks),
		cmocka_unit_test(constant),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
