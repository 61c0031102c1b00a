/*
 * encode: seconds of exact TopK encoding and of a layer's step beside the
 * matrix product they contain.
 *
 *   encode THREADS ROWS WIDTH LATENTS K
 *
 * Prints three medians of interleaved runs, in milliseconds: the product
 * alone (the device's gemm, all pre-activations written out), encode, and
 * step_latents with Adam.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "dev.h"
#include "dev_tc.h"
#include "mem.h"

enum { RUNS = 9 };

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *random_floats(size_t n, float scale)
{
	static uint64_t s = 88172645463325252u;
	float *v = mem_scratch(n, sizeof(*v), NULL);
	size_t i;

	for (i = 0; v && i < n; i++) {
		s ^= s << 13;
		s ^= s >> 7;
		s ^= s << 17;
		v[i] = ((float)(s >> 40) * 0x1p-23f - 1) * scale;
	}
	return v;
}

static int ascending(const void *a, const void *b)
{
	double p = *(const double *)a, q = *(const double *)b;

	return (p > q) - (p < q);
}

static double median(double *v)
{
	qsort(v, RUNS, sizeof(*v), ascending);
	return 1e3 * v[RUNS / 2];
}

int main(int argc, char **argv)
{
	struct err e = { 0 };
	struct dev *d = argc == 6 ? dev_open("cpu", atoi(argv[1]), &e) : NULL;
	size_t n, dim, lat, k, i;
	double product[RUNS], encode[RUNS], step[RUNS], t0, t1, t2;

	if (!d) {
		fprintf(stderr, "encode THREADS ROWS WIDTH LATENTS K\n");
		return 2;
	}
	n = (size_t)atol(argv[2]);
	dim = (size_t)atol(argv[3]);
	lat = (size_t)atol(argv[4]);
	k = (size_t)atol(argv[5]);
	{
		const struct dev_ops *ops = dev_ops(d);
		float *x = random_floats(n * dim, 1);
		float *w = random_floats(lat * dim, 0.1f);
		float *dec = random_floats(lat * dim, 0.1f);
		float *b = random_floats(lat, 0.1f);
		float *g = random_floats(n * dim, 0.1f);
		float *pre = mem_array(n, lat * sizeof(float), &e);
		float *s = mem_array(lat * (dim + dim + 1), 8, &e);
		struct dev_tc_codes c = {
			mem_scratch(n, k * 4, &e), mem_scratch(n, k * 4, &e), n,
			k
		};
		struct dev_tc_part part = { c, 0, 0 };
		struct dev_tc_latents l = {
			lat, dim, dim, { w, s, s + lat * dim },
			{ b, s + 4 * lat * dim, s + 4 * lat * dim + lat },
			{ dec, s + 2 * lat * dim, s + 3 * lat * dim },
			mem_array(lat, 1, &e), 0, .power = NULL	/* Adam's decoder */
		};
		struct dev_tc_opt o = { DEV_TC_ADAM, 1e-6f, 0.9f, 0.999f, 1,
		                        1e-8f, 0 };

		if (!x || !w || !dec || !b || !g || !pre || !s || !c.latent ||
		    !c.value || !l.live)
			return 1;
		for (i = 0; i < RUNS; i++) {
			t0 = now();
			if (ops->gemm(d, 0, 1, n, lat, dim, 1, x, dim, w, dim,
			              0, pre, lat, &e) < 0)
				return 1;
			t1 = now();
			product[i] = t1 - t0;
			if (ops->tc->encode(d, x, n, dim, w, b, lat, NULL, &c,
			                    &e) < 0)
				return 1;
			t2 = now();
			encode[i] = t2 - t1;
			if (ops->tc->step_latents(d, &part, 1, x, g, &l, &o,
			                          &e) < 0)
				return 1;
			step[i] = now() - t2;
		}
	}
	printf("%.3f %.3f %.3f\n", median(product), median(encode),
	       median(step));
	return 0;
}
