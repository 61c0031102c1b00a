/* dev_cpu_tc_coarse_body.h for AVX2: 6 x 16 sums in twelve of sixteen
 * registers. */
#include "dev_cpu_tc_coarse.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define VEC_W 8
#define CO_MR 6
#define CO_TABLE dev_cpu_tc_coarse_avx2
#define co_one(p) ((vi)_mm256_set1_epi32(*(const int32_t *)(const void *)(p)))
#define co_dot(acc, a, w) \
	((acc) + (vi)_mm256_madd_epi16((__m256i)(a), (__m256i)(w)))
#define co_not_below(v, bar) ((unsigned)_mm256_movemask_ps(_mm256_cmp_ps( \
	(__m256)(v), _mm256_set1_ps(bar), _CMP_NLT_UQ)))
#include "dev_cpu_tc_coarse_body.h"
#endif
