/*
 * dev_cpu_tc_pick: the k largest of a row's values, exactly, from bounds of
 * them.
 *
 * A value, of one row x and one latent, is a definite f32:
 *
 *   v = dot(x, w) + b	    vec.h's dot, one rounded sum; the same bytes on
 *                          every processor
 *
 * It is not computed for every latent. A coarse product gives two f32 with
 * low <= v <= up. The bar is a number that k values of the row reach for sure
 * (or the smallest positive one: only v > 0 is active), so that a latent whose
 * `up` is below it cannot be among the k largest, nor tie with the last of
 * them. All others are candidates. In the end their v are computed and sorted:
 * the result is TopK of v, ties to the lower latent, whatever the bounds were.
 *
 * While latents are still to come the bar may rise on trust, to where fewer than k
 * reach it but as many as are expected to among so few latents, and a margin: a
 * low bar lets twice as many candidates in as will be left. Candidates that reach
 * a bar never go, so that in the end their number says whether the trust was
 * good; where it was not, all values of the row are computed.
 *
 * Bounds come as D- <= dot(x, w) <= D+ and then low = fl(D- + b), up =
 * fl(D+ + b): the rounded addition is monotone, so b costs nothing. With u =
 * 2^-24, any order of summation, with fused multiply-adds or without, gives
 *
 *   |fl(x . w) - x . w| <= d u / (1 - d u) |x| |w|
 *
 * (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., 3.1, and
 * Cauchy-Schwarz), up to d 2^-149 for products that underflow. So for a product
 * p out of BLAS, whose own error is as large as that of the dot,
 *
 *   D+- = fl(p +- s n_x n_w),	s = 1.01 (2 d + 4) u
 *
 * where n_x >= |x| + 2^-50 and n_w likewise: two errors of d u, one u for the
 * sum's rounding, one for what s n_x n_w loses, and the 2^-50 take in
 * what underflows (s 2^-100 > d 2^-148). s <= 0.27 for d <= 2^20, hence no
 * term of higher order counts beyond the 1.01. dev_cpu_tc_coarse.h derives
 * the bound of its integers.
 *
 * Numbers whose squares' sum is 2^120 or more, or not finite, have a norm of
 * NaN; `up` is NaN then and passes every bar, `low` NaN and raises none.
 */
#ifndef R1_DEV_CPU_TC_PICK_H
#define R1_DEV_CPU_TC_PICK_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

struct dev_cpu;
struct tc_loops;

enum {
	TC_PICK_STEP = 32	/* candidates that join at once, at most */
};

/* A row's candidates. */
struct tc_pick {
	float *up, *low;	/* [cap], a multiple of 16 */
	uint32_t *at;		/* [cap]: rows of w, in no order */
	size_t n;
	size_t full;		/* of n: time to raise the bar, <= cap */
	float bar;		/* FLT_TRUE_MIN: never raised */
	int again;		/* all values were computed */
};

/* Whether candidate i's value is there, and not bounds alone. */
static inline int dev_cpu_tc_pick_known(const struct tc_pick *p, size_t i)
{
	return p->low[i] == p->up[i];
}

/* What encode was asked. */
struct tc_encode {
	struct dev_cpu *dev;
	const struct tc_loops *loops;
	const float *x, *w, *b;
	const uint32_t *ids;
	size_t n, d_in, n_latents, k;
	int near;		/* the middle of bounds will do for a value */
	size_t cap;		/* of the candidates of a row */
	uint32_t *latent;	/* [n, k] */
	float *value;
};

/* Candidates that a row has room for. */
size_t dev_cpu_tc_pick_cap(size_t k);
/* Bytes that n rows of them take, and the rows in a block of so many, empty. */
size_t dev_cpu_tc_pick_bytes(size_t n, size_t cap);
struct tc_pick *dev_cpu_tc_pick_rows(void *block, size_t n, size_t cap);
void dev_cpu_tc_pick_start(struct tc_pick *p, size_t cap);

/* An upper bound of |v|, or NaN (see above), from its squares' sum in f32: 2^-10
 * covers the sum's rounding; what underflows in it is less than sqrt(n) 2^-63. */
static inline float dev_cpu_tc_norm_of(float sq)
{
	return sq < 0x1p120f ? sqrtf(sq) * (1 + 0x1p-10f) + 0x1p-50f : NAN;
}

/* The same of v itself. */
float dev_cpu_tc_norm(const struct tc_loops *loops, const float *v, size_t n);

/* How many lower bounds a bar is to let through after `seen` of the latents: k, or
 * fewer on trust. */
size_t dev_cpu_tc_pick_want(const struct tc_encode *q, size_t seen);
/* Raises the bar as far as bounds allow, and drops the candidates below it. 0: too
 * many may have gone, the bar had been raised on trust and not k reach it. */
int dev_cpu_tc_pick_trim(const struct tc_encode *q, struct tc_pick *p);
/* Raises the bar of row `row` to what `want` lower bounds reach and drops the
 * candidates below it. Where more than `most` are left, most >= k, values are
 * computed and k stay. Sets when to do it next: early, as long as there are few,
 * since what a low bar lets through costs more than raising it. */
void dev_cpu_tc_pick_cut(const struct tc_encode *q, size_t row,
                         struct tc_pick *p, size_t want, size_t most);
/* Begins row `row` again: candidates are the k largest of all its values. */
void dev_cpu_tc_pick_again(const struct tc_encode *q, size_t row,
                           struct tc_pick *p);
/* Writes the row's codes. p is spoilt. */
void dev_cpu_tc_pick_write(const struct tc_encode *q, size_t row,
                           struct tc_pick *p);

#endif
