/*
 * dev_cpu_q8_wide_body: a table of dev_cpu_q8 for processors that add products
 * of four bytes to 32 bits: tiles of 12 x 32, 24 sums in 32 registers, or of 6 x 32
 * with two planes. Sums need no more care than that, and are floats before p
 * multiplies them: both are below 2^24, so that what is rounded is the same product.
 * A file defines first
 *
 *   TABLE, PLANES	dev_cpu_q8_body.h
 *   wi, wf	vectors of 16 integers and floats
 *   wide_one	four bytes in every lane
 *   wide_dot	sums plus products of bytes: those of w from 0 on
 *   wide_fma	a b + c, rounded once
 *   wide_float	integers as floats
 *   wide_all	before a loop that is to be unrolled
 */
#ifndef R1_DEV_CPU_Q8_WIDE_BODY_H
#define R1_DEV_CPU_Q8_WIDE_BODY_H

#ifdef TABLE

#define VEC_W 8			/* of the packing, and of a tile's ends */
enum { ROWS = 12, MR = ROWS / PLANES, NR = 32 };
#define put_p(scale, value) ((scale)->p.one = (float)(value))
#include "dev_cpu_q8_body.h"

enum { WIDE = 16 };

typedef int32_t wi_mem __attribute__((vector_size(4 * WIDE), aligned(4),
                                      may_alias));
typedef float wf_mem __attribute__((vector_size(4 * WIDE), aligned(4),
                                    may_alias));

/* A row's sums of a block: of 16 bits below 32 32639 15 < 2^24, too. */
INLINE wi row_sum(wi sum[ROWS][2], int i, int j)
{
	return PLANES == 2 ? sum[i][j] * 256 + sum[i + ROWS - MR][j] : sum[i][j];
}

/* Adds a block's sums, scaled, to `out`. */
INLINE void add_sums(wi sum[ROWS][2], const struct dev_cpu_q8_scale *left,
                     const float *right, float out[MR][NR])
{
	wide_all
	for (int i = 0; i < MR; i++) {
		wf p = left[i].p.one - (wf){ 0 }, q = left[i].sum - (wf){ 0 };

		wide_all
		for (int j = 0; j < NR; j += WIDE) {
			wf *o = (wf *)(void *)&out[i][j];
			wf s = *(const wf_mem *)(right + j);
			wf m = *(const wf_mem *)(right + NR + j);
			wf f = wide_float(row_sum(sum, i, j / WIDE)) * p;

			f = wide_fma(f, s, *o);
			*o = wide_fma(m, q, f);
		}
	}
	/* or gcc holds a second copy of out */
	__asm__("" : : : "memory");
}

INLINE void add_block(const int8_t *left, const struct dev_cpu_q8_scale *scale,
                      const uint8_t *right, const float *right_scale,
                      float out[MR][NR])
{
	wi sum[ROWS][2];
	int i, j;

	wide_all
	for (i = 0; i < ROWS; i++)
		sum[i][0] = sum[i][1] = (wi){ 0 };
	wide_all
	for (j = 0; j < QUADS; j++) {
		const uint8_t *at = right + j * 4 * NR;
		const wi w[2] = {
			*(const wi_mem *)(const void *)at,
			*(const wi_mem *)(const void *)(at + 4 * WIDE)
		};

		wide_all
		for (i = 0; i < ROWS; i++) {
			wi x = wide_one(left + (j * ROWS + i) * 4);

			sum[i][0] = wide_dot(sum[i][0], w[0], x);
			sum[i][1] = wide_dot(sum[i][1], w[1], x);
		}
	}
	add_sums(sum, scale, right_scale, out);
}

#endif
#endif
