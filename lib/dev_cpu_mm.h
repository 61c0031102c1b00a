/*
 * dev_cpu_mm: products of f32 matrices from packed operands, for processors
 * with AVX2 or AVX-512 and no faster tiles (dev_cpu_amx.h), and attention.
 *
 * A left operand is packed in groups of mr rows, a right one in panels of nr
 * rows, column by column within: out[k][mr]. Rows that are missing are zeros.
 * Each element of a result is one chain of fused multiply-adds in the order of
 * k, so that both tables compute the same bytes.
 */
#ifndef R1_DEV_CPU_MM_H
#define R1_DEV_CPU_MM_H

#include <stddef.h>
#include <stdint.h>

enum {
	MM_MAX_NR = 32,		/* of any table */
	MM_KEYS = 252		/* keys of a block: a multiple of every mr */
};

/* Queries of one key/value head, n <= nr of them. */
struct dev_cpu_mm_queries {
	size_t n, d_head;
	const float *q[MM_MAX_NR];	/* rows of d_head */
	float *out[MM_MAX_NR];
	uint32_t seen[MM_MAX_NR];	/* keys each sees, >= 1, ascending */
	float scale;			/* of the scores */
};

struct dev_cpu_mm {
	size_t mr, nr;

	/* Packs n <= mr (nr) rows of k values, ld apart. */
	void (*pack_left)(const float *x, size_t ld, size_t n, size_t k,
	                  float *out);
	void (*pack_right)(const float *w, size_t ld, size_t n, size_t k,
	                   float *out);
	/* The same of columns: x [k][n], rows ld apart, n of any size; groups
	 * (panels) one after the other. */
	void (*pack_left_columns)(const float *x, size_t ld, size_t n, size_t k,
	                          float *out);
	void (*pack_right_columns)(const float *x, size_t ld, size_t n,
	                           size_t k, float *out);
	/* c[m, n] = left right^T, or with `add` that added to what is there.
	 * left: groups one after the other; right: panels right_step floats
	 * apart. */
	void (*product)(const float *left, const float *right,
	                size_t right_step, size_t m, size_t n, size_t k,
	                float *c, size_t ldc, int add);
	/* Packs values: row j of `n` rows of dim values, ld apart, becomes
	 * column j of a left operand whose rows are the dim values; the last
	 * group is as narrow as it may be, so that out takes n * dim. */
	void (*pack_values)(const float *v, size_t ld, size_t n, size_t dim,
	                    float *out);
	/* Causal attention of some queries over keys (groups of a left operand,
	 * from the sequence's first) and values (pack_values over n_keys).
	 * scratch: mm_scratch floats. */
	void (*attend)(const struct dev_cpu_mm_queries *a, const float *keys,
	               const float *values, size_t n_keys, float *scratch);
};

/* Floats that attend wants. */
static inline size_t dev_cpu_mm_scratch(size_t d_head)
{
	return (2 * d_head + MM_KEYS) * MM_MAX_NR;
}

/* The table for a vec_level, NULL where there is none. */
const struct dev_cpu_mm *dev_cpu_mm_level(int level);
#if defined(__x86_64__)
extern const struct dev_cpu_mm dev_cpu_mm_avx2, dev_cpu_mm_avx512;
#endif

#endif
