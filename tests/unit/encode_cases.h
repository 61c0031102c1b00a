/* What the tests of encoding share: numbers to encode. */
#ifndef R1_TESTS_ENCODE_CASES_H
#define R1_TESTS_ENCODE_CASES_H

#include <stdint.h>
#include <stdlib.h>

struct data {
	size_t n, d, n_latents;
	float *x, *w, *b;
};

static uint64_t rng = 88172645463325252u;

static uint64_t rnd(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng;
}

static float uniform(void)	/* -1 .. 1 */
{
	return (float)((double)(rnd() >> 11) * 0x1p-52 - 1);
}

static struct data data_new(size_t n, size_t d, size_t n_latents)
{
	struct data a = { n, d, n_latents, malloc(n * d * sizeof(float)),
		malloc(n_latents * d * sizeof(float)),
		malloc(n_latents * sizeof(float)) };
	size_t i;

	for (i = 0; i < n * d; i++)
		a.x[i] = uniform();
	for (i = 0; i < n_latents * d; i++)
		a.w[i] = uniform() * 0.1f;
	for (i = 0; i < n_latents; i++)
		a.b[i] = uniform() * 0.1f;
	return a;
}

static void data_free(struct data *a)
{
	free(a->x);
	free(a->w);
	free(a->b);
}

#endif
