/* dev_cpu_tc_coarse_body.h for AVX-512 with VNNI: 14 x 32 sums in 28 of 32
 * registers. */
#include "dev_cpu_tc_coarse.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define VEC_W 16
#define CO_MR 14
#define CO_TABLE dev_cpu_tc_coarse_vnni
#define co_one(p) ((vi)_mm512_set1_epi32(*(const int32_t *)(const void *)(p)))
#define co_dot(acc, a, w) \
	((vi)_mm512_dpwssd_epi32((__m512i)(acc), (__m512i)(a), (__m512i)(w)))
#define co_not_below(v, bar) ((unsigned)_mm512_cmp_ps_mask((__m512)(v), \
	_mm512_set1_ps(bar), _CMP_NLT_UQ))
#include "dev_cpu_tc_coarse_body.h"
#endif
