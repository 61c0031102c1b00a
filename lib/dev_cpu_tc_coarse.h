/*
 * dev_cpu_tc_coarse: bounds of a row's values from a product of 16-bit
 * integers, and the encoding of many rows by it.
 *
 * A row x [d] is held as integers p and a scale s, x = s (p + a), and a latent's
 * w as q and t, w = t (q + c), where rounding leaves |a_i|, |c_i| <= 0.51 (a half,
 * and 2^15 2^-24 for the product that scales). Scales are chosen so that
 *
 *   |p|, |q| <= P = 46000 (2-norms),	|p_i|, |q_i| <= 32100
 *
 * With h = 0.51 sqrt(d) >= |a|, |c|, exactly
 *
 *   x . w = s t (p . q + p . c + a . q + a . c)
 *   |x . w / (s t) - p . q| <= h (2 P + h)	(Cauchy-Schwarz)
 *
 * and p . q needs no rounding: it is summed in 32 bits, where each partial sum
 * is at most P^2 < 2^31. Three more errors, in units of s t: the dot product
 * that a value is defined by is off by at most d u |x| |w| <= d u (P + h)^2 <=
 * 130 d; five roundings lie between the integer and the f32 bound
 * (conversion, s, t, s t, their product), 5 u 2^31 = 640; products that
 * underflow, less than one, since s t >= 2^-120. The slack
 *
 *   C = h (2 P + h) + 130 d + 1024 (dev_cpu_tc_coarse_slack)
 *
 * covers them all, and D+- = fl(fl(p . q +- C) fl(s t)). P^2 + C stays below
 * 2^31 for d <= 2^16. For rows of equal norms C s t is about 2 h / P |x| |w|:
 * 5e-4 |x| |w| at d = 576, a hundredth of the products' spread, so that hardly
 * more than k candidates are left.
 *
 * Packing is done anew for each call, as weights change in each step: it
 * reads and writes a weight once against as many products as there are rows.
 *
 * Layout: as dev_cpu_mm.h's, but columns in pairs, of which there are d2, a
 * multiple of nr / 2: a group of mr rows of x is int16 [d2][mr][2], a panel of
 * nr latents [d2][nr][2]. Missing rows and columns are zeros.
 */
#ifndef R1_DEV_CPU_TC_COARSE_H
#define R1_DEV_CPU_TC_COARSE_H

#include "dev_cpu_tc_pick.h"
#include "err.h"

/* Rows and panels of one item. */
struct tc_scan {
	const struct tc_encode *q;
	size_t d2;
	int32_t slack;			/* C */
	const int16_t *x;		/* groups, the first row's group first */
	const float *x_scale;		/* [rows]; NaN: everything passes */
	size_t first_row, rows;
	struct tc_pick *pick;		/* [rows] */
	const int16_t *w;		/* panels */
	const float *w_scale, *bias;	/* [panels nr] */
	size_t first_latent, panels;
};

struct dev_cpu_tc_coarse {
	size_t mr, nr;
	/* n <= width rows of d values as integers of one group or panel of
	 * `width` rows, and their scales. */
	void (*pack)(const float *x, size_t n, size_t d, size_t width,
	             int16_t *out, float *scale);
	/* Offers every latent of the panels to every row. */
	void (*scan)(const struct tc_scan *s);
};

/* The table for a vec_level, NULL where none is faster than BLAS: AVX2's below
 * AVX-512, and that where it has VNNI. */
const struct dev_cpu_tc_coarse *dev_cpu_tc_coarse_level(int level);
#if defined(__x86_64__)
extern const struct dev_cpu_tc_coarse dev_cpu_tc_coarse_avx2,
	dev_cpu_tc_coarse_vnni;
#endif

int32_t dev_cpu_tc_coarse_slack(size_t d);

/* Whether q's device has a table and q is of a shape that gains by it. */
int dev_cpu_tc_coarse_fits(const struct tc_encode *q);
int dev_cpu_tc_coarse_encode(const struct tc_encode *q, struct err *e);

#endif
