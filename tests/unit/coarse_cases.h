/* What the tests of dev_cpu_tc_coarse share: a table that every processor has. */
#ifndef R1_TESTS_COARSE_CASES_H
#define R1_TESTS_COARSE_CASES_H

#include <stdint.h>
#include <string.h>

/* The table of AVX-512 with VNNI, its instructions written out. */
#define VEC_W 16
#define CO_MR 14
#define CO_TABLE plain_table
#include "vec_lanes.h"

INLINE vi co_one(const int16_t *p)
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

extern const struct dev_cpu_tc_coarse plain_table;
#include "dev_cpu_tc_coarse_body.h"

#endif
