/*
 * dev_cpu_q8: products of rows rounded to 8 bits with weights stored in 4, for
 * linear under DEV_Q8 (dev.h), and of rows rounded to 16, for DEV_Q16.
 *
 * Both come in blocks of 32 values along a row. A weight's is s u + m with u in
 * [0, 15] (GGML's Q4_1; in Q4_0 m = -8 s), a row's becomes d p q with d of the
 * row, p of the block and integers p in [1, 32767] and q,
 *
 *   d = max |x| of the row / (127 32767)
 *   p = max |x| of the block (32767 / max |x| of the row), rounded up, within
 *       1 and 32767
 *   q = x / (d p) rounded to even, |q| <= 127
 *
 * (GGML's quantize_row_q8_1_ref has an f16 for d p; this way a product takes one
 * multiplication less, and where p is small what is rounded away is below an
 * f32's last bit in the row's largest), and a product is
 *
 *   sum of x w = d  sum over blocks of  s p (sum of q u) + m p (sum of q).
 *
 * p and the sums in brackets are integers, and so exact up to their product.
 * With AVX2, two products of a byte each fit a 16-bit lane, |q u + q' u'| <= 3810,
 * and so do eight such pairs, half a block's, 8 3810 < 2^15; p times the sum of two
 * lanes fits 32 bits, 32767 60960 < 2^31. With VNNI sums are of 32 bits. From
 * there on in f32, block by block in order, and with d at the end, the same bytes
 * from each table:
 *
 *   out = fma(m, p (sum of q), fma(p (sum of q u), s, out))
 *
 * With 16 bits it is all the same, but for 32639 in place of 127. Such a q is
 * 256 upper + lower, bytes both, lower from -128 on (8 3840 < 2^15, too), and a
 * block's sum of q u is 256 times the one's and the other's: below
 * 32 32639 15 < 2^24, so that p times it is rounded once, as floats. A value is
 * off by 1 / 65200 of its block's largest at most, and a product, where errors
 * are as if at random, by a millionth or two of the norms: within DEV_NEAR's.
 *
 * A row that holds a value that is no number, or infinite, makes d NaN; one
 * below 2^-100 everywhere counts as zeros.
 *
 * Layout, four values of a row side by side as the instruction wants them: a
 * group of mr rows of x is int8 [block][8][planes][mr][4], upper bytes before
 * lower, with scales [block][mr] = p, p sum of q, and units [mr] = d, a panel of
 * nr rows of a weight uint8 [block][8][nr][4] with [block][2][nr] = s, m. Missing
 * rows are zeros.
 */
#ifndef R1_DEV_CPU_Q8_H
#define R1_DEV_CPU_Q8_H

#include <stddef.h>
#include <stdint.h>

#include "tensor.h"

enum { Q8_BLOCK = 32, Q8_MAX = 127, Q16_MAX = 127 * 256 + 127 };

struct dev_cpu_q8_scale {
	union {
		int16_t pair[2];	/* p twice, or */
		float one;
	} p;			/* as the table's tile wants it */
	float sum;		/* p (sum of q) */
};

struct dev_cpu_q8 {
	size_t mr, nr;
	size_t planes;		/* bytes of an integer of a row: 1 or 2 */

	/* n <= mr rows of `blocks` blocks, ld values apart. */
	void (*pack_left)(const float *x, size_t ld, size_t n, size_t blocks,
	                  int8_t *out, struct dev_cpu_q8_scale *scale,
	                  float *unit);
	/* n <= nr rows of a weight of type t (dev_cpu_q8_type), row_bytes
	 * apart. */
	void (*pack_right)(enum dtype t, const uint8_t *w, size_t row_bytes,
	                   size_t n, size_t blocks, uint8_t *out, float *scale);
	/* c[mr, nr] = a group times a panel, over `blocks` blocks, or with
	 * `add` that added to what is there, as the chain above; units where
	 * it ends here, else NULL. */
	void (*tile)(const int8_t *left,
	             const struct dev_cpu_q8_scale *left_scale,
	             const uint8_t *right, const float *right_scale,
	             size_t blocks, const float *unit, float *c, size_t ldc,
	             int add);
};

/* Whether weights of this type can be multiplied so. */
static inline int dev_cpu_q8_type(enum dtype t)
{
	return t == DT_Q4_0 || t == DT_Q4_1;
}

/* The table for a vec_level, of 8 or 16 bits; NULL: there is none. */
const struct dev_cpu_q8 *dev_cpu_q8_level(int level);
const struct dev_cpu_q8 *dev_cpu_q16_level(int level);
#if defined(__x86_64__)
extern const struct dev_cpu_q8 dev_cpu_q8_avx2, dev_cpu_q8_vnni,
	dev_cpu_q16_avx2, dev_cpu_q16_vnni;
#endif

#endif
