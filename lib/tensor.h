/*
 * tensor: dtypes, shapes and views of arrays that lie in somebody's memory,
 * and the conversion of every stored type to f32.
 *
 * Quantised types are GGML's blocks (ggml-quants.h is the reference for the
 * layouts; the code here is ours): 32 or 256 values with their scales.
 */
#ifndef R1_TENSOR_H
#define R1_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum dtype {
	DT_F32, DT_F16, DT_BF16, DT_F64,
	DT_U8, DT_I8, DT_U16, DT_I16, DT_U32, DT_I32, DT_U64, DT_I64, DT_BOOL,
	DT_Q8_0, DT_Q4_0, DT_Q4_1, DT_Q5_0, DT_Q5_1, DT_Q4_K, DT_Q5_K, DT_Q6_K,
	DT_N
};

/* "f32", "bf16", "q4_1" ...; NULL for a number that is none. */
const char *dtype_name(enum dtype t);
/* 0 and *t, or -1 when the name is unknown (names as dtype_name gives). */
int dtype_parse(const char *name, enum dtype *t);
/* Values a block holds (1 for plain types) and bytes a block takes. */
size_t dtype_block(enum dtype t);
size_t dtype_block_bytes(enum dtype t);
/* Bytes of n values; n must be a multiple of the block: -1 ERR_RANGE. */
int dtype_bytes(enum dtype t, size_t n, size_t *bytes, struct err *e);

enum { TENSOR_DIMS = 8 };

/* A view: data is borrowed, row-major, shape[0] slowest. It may lie at any
 * address: check the alignment before casting data to a wider pointer. */
struct tensor {
	const char *name;
	enum dtype type;
	int n_dims;
	size_t shape[TENSOR_DIMS];
	size_t n;		/* values: the product of shape */
	const void *data;
	size_t n_bytes;
};

/* n values starting at value `first` (both multiples of the block) to f32.
 * t must be a float or quantised type, else -1 ERR_FORMAT; a range outside t
 * or off the blocks is ERR_RANGE. Bits do not depend on the processor. */
int tensor_f32(const struct tensor *t, size_t first, size_t n, float *out,
               struct err *e);

/* f32 <-> 16-bit, n values; round to nearest even; NaN stays NaN. in and out
 * may not overlap. */
void f32_from_bf16(const uint16_t *in, size_t n, float *out);
void f32_from_f16(const uint16_t *in, size_t n, float *out);
void bf16_from_f32(const float *in, size_t n, uint16_t *out);
void f16_from_f32(const float *in, size_t n, uint16_t *out);

/* f32 <-> blocks of DT_Q8_0, n values, the last block filled up with zeros: 32
 * integers, rounded to even, and what they are apart, 1/127 of the largest, as f16
 * (GGML's quantize_row_q8_0_ref has integers from what is apart before it is f16). A
 * block with a value that is no number or infinite becomes one of no numbers; what
 * is beyond 127 times f16's largest, 65504, becomes that. */
size_t q8_0_bytes(size_t n);
void q8_0_from_f32(const float *in, size_t n, uint8_t *out);
void f32_from_q8_0(const uint8_t *in, size_t n, float *out);

#endif
