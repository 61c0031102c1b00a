/* What the tests of dev_cpu_tc_coarse share: a table that every processor has. */
#ifndef R1_TESTS_COARSE_CASES_H
#define R1_TESTS_COARSE_CASES_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* The table of AVX-512 with VNNI, its instructions written out. */
#define VEC_W 16
#define CO_MR 14
#define CO_NARROW 0.4
#define CO_TOP 127
#define CO_OFFSET 128
#define CO_TABLE plain_table
#include "dev_cpu_tc_cols.h"
#include "vec_lanes.h"

INLINE vi co_one(const void *p)
{
	int32_t pair;

	memcpy(&pair, p, sizeof(pair));
	return pair - (vi){ 0 };
}

INLINE void add_pairs(vi *acc, const vi *a, const vi *w)
{
	for (int i = 0; i < VEC_W; i++)
		(*acc)[i] += (int16_t)(*a)[i] * (int16_t)(*w)[i] +
		             ((*a)[i] >> 16) * ((*w)[i] >> 16);
}

#define co_dot(acc, a, w) ({ \
	vi sum_ = (acc), a_ = (a), w_ = (w); \
	add_pairs(&sum_, &a_, &w_); \
	sum_; \
})

INLINE unsigned lanes_not_below(const vf *v, float bar)
{
	unsigned m = 0;

	for (int i = 0; i < VEC_W; i++)
		m |= (unsigned)!((*v)[i] < bar) << i;
	return m;
}

#define co_not_below(v, bar) lanes_not_below(&(v), bar)

typedef vf co_acc;
typedef float co_kept;
#define co_keep(f) (f)
#define co_join(acc, sum, factor) \
	((acc) + __builtin_convertvector(sum, vf) * (vf)(factor))

INLINE vf co_bytes(const float *x, const float *y, float f, int offset, vf *off)
{
	int8_t b[4 * VEC_W];
	vf q;

	for (int i = 0; i < 4 * VEC_W; i++) {
		float v = (i < 2 * VEC_W ? x[i] : y[i - 2 * VEC_W]) * f;
		float p = nearbyintf(v);

		b[i] = (int8_t)((int)p + offset);
		if (off)
			(*off)[i % VEC_W] += (v - p) * (v - p);
	}
	memcpy(&q, b, sizeof(q));
	return q;
}

/* A lane's four bytes of a, from 0 on, by those of w. (Inlined, gcc takes minutes
 * where sanitizers watch.) */
static __attribute__((noinline)) void add_quads(vi *acc, const vi *a, const vi *w)
{
	for (int i = 0; i < VEC_W; i++)
		for (int j = 0; j < 32; j += 8)
			(*acc)[i] += (uint8_t)((*a)[i] >> j) *
			             (int8_t)((*w)[i] >> j);
}

INLINE void co_narrow(vi sum[2], const int8_t *x, const vi w[2])
{
	vi a = co_one(x);

	add_quads(&sum[0], &a, &w[0]);
	add_quads(&sum[1], &a, &w[1]);
}

#define co_start(sum, q, offset) ({ \
	vi a_ = (int32_t)((offset) * 0x01010101u) - (vi){ 0 }; \
	vi w_ = (vi)(q), all_ = { 0 }; \
	add_quads(&all_, &a_, &w_); \
	(sum) - all_; \
})
#define co_times(p, q) (((p) & 0xffff) * ((q) & 0xffff))
#define co_widen(sum, p) ((sum) * (p))

extern const struct dev_cpu_tc_coarse plain_table;
#include "dev_cpu_tc_coarse_body.h"

#endif
