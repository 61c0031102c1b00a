/*
 * vec: short vector loops under the CPU device: exponentials, reductions and
 * the element-wise steps of a transformer, for the widest instructions the
 * processor has.
 *
 * Every table computes the same bytes: reductions run over 16 lanes that are
 * folded in one fixed order whatever the register width, and nothing is
 * contracted to a fused multiply-add. NaN in gives NaN out. Arrays need no
 * alignment; n = 0 is legal.
 */
#ifndef R1_VEC_H
#define R1_VEC_H

#include <stddef.h>

struct vec_ops {
	const char *name;	/* "portable", "avx2", "avx512" */

	/* sum a[i] b[i] */
	float (*dot)(const float *a, const float *b, size_t n);
	/* The largest of x[n], NaN ignored; -inf for n = 0. */
	float (*max)(const float *x, size_t n);
	/* out[i] = exp(x[i] - shift); the sum. out may be x. Relative error
	 * below 2e-7; arguments under -87 give a value below 1.3e-38. */
	float (*exp_sum)(const float *x, size_t n, float shift, float *out);
	/* sum exp(a[i] - sa) ((a[i] - sa) - (b[i] - sb)): what KL needs */
	float (*kl_sum)(const float *a, float sa, const float *b, float sb,
	                size_t n);
	/* out[i] = x[i] scale w[i]. out may be x. */
	void (*mul_scale)(const float *x, float scale, const float *w,
	                  size_t n, float *out);
	/* x[i] *= scale */
	void (*scale)(float *x, float scale, size_t n);
	/* y[i] += alpha x[i] */
	void (*axpy)(float alpha, const float *x, float *y, size_t n);
	/* g[i] = g[i] / (1 + exp(-g[i])) u[i] */
	void (*silu_mul)(float *g, const float *u, size_t n);
	/* One head: (x[i], x[i + half]) turned by the angle whose cosine and
	 * sine are cs[i] and cs[half + i]. */
	void (*rope)(float *x, const float *cs, size_t half);
};

/* The best table for this processor. Never NULL. */
const struct vec_ops *vec_ops(void);

/* Table `level`: 0 portable, 1 AVX2, 2 AVX-512; NULL when this processor or
 * build has it not. For tests and benchmarks. */
const struct vec_ops *vec_level(int level);

#endif
