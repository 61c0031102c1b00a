/*
 * dev_cpu_amx: products of f32 matrices on AMX' bf16 tiles.
 *
 * A value is split as x = hi + lo + rest, hi = bf16(x), lo = bf16(x - hi), and
 * a product is hi hi + hi lo + lo hi, summed in f32: relative errors of about
 * 2^-17 a term, at three bf16 products a term, which is still far faster than
 * f32 arithmetic. A weight stored as bf16 has no lo and takes two.
 *
 * Operands are packed in blocks of 16 rows by 32 columns, 1 KiB each, in the
 * order the tiles want them: for each group of 16 rows, for each 32 columns,
 * hi and then lo (where there is one). Rows and columns are padded with zeros.
 */
#ifndef R1_DEV_CPU_AMX_H
#define R1_DEV_CPU_AMX_H

#include <stddef.h>
#include <stdint.h>

enum {
	AMX_ROWS = 16, AMX_COLS = 32,
	AMX_BLOCK = AMX_ROWS * AMX_COLS,	/* values of a block */
	AMX_OUT = 2 * AMX_ROWS			/* side of the result */
};

/* Whether this processor and kernel let us; asks the kernel once. Threads
 * started before the first call may not use what follows. */
int dev_cpu_amx_ready(void);

/* Blocks of columns that k takes. */
static inline size_t dev_cpu_amx_blocks(size_t k)
{
	return (k + AMX_COLS - 1) / AMX_COLS;
}

/* Packs n <= 16 rows of k values, ld apart, as left operand: hi and lo. */
void dev_cpu_amx_pack_left(const float *x, size_t ld, size_t n, size_t k,
                           uint16_t *out);
/* The same as right operand, whose rows become the result's columns. */
void dev_cpu_amx_pack_right(const float *w, size_t ld, size_t n, size_t k,
                            uint16_t *out);
/* From bf16 values: hi alone. */
void dev_cpu_amx_pack_right_bf16(const uint16_t *w, size_t ld, size_t n,
                                 size_t k, uint16_t *out);

/* Once in a thread before products, and once after. */
void dev_cpu_amx_begin(void);
void dev_cpu_amx_end(void);

/* out[32][32] = left right^T over k_blocks blocks of columns. left, right: two
 * groups of rows each, every group left_step (right_step) values after the
 * other. parts: of the right operand, 2 or 1. */
void dev_cpu_amx_product(const uint16_t *left, size_t left_step,
                         const uint16_t *right, size_t right_step, int parts,
                         size_t k_blocks, float *out);

#endif
