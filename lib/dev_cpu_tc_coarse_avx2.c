/* dev_cpu_tc_coarse_body.h for AVX2: 6 x 16 sums in twelve of sixteen
 * registers. */
#include "dev_cpu_tc_coarse.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define VEC_W 8
#define CO_MR 6
#define CO_NARROW 0.4	/* least time, of 0.25, 0.3, 0.4 and 0.5 */
#define CO_TOP TC_BYTE
#define CO_HALF TC_HALF
#define CO_OFFSET TC_BYTE
#define CO_TABLE dev_cpu_tc_coarse_avx2
#include "dev_cpu_flip.h"
#include "vec_bytes.h"

#define co_one(p) ((vi)_mm256_set1_epi32(*(const int32_t *)(const void *)(p)))
#define co_dot(acc, a, w) \
	((acc) + (vi)_mm256_madd_epi16((__m256i)(a), (__m256i)(w)))
#define co_not_below(v, bar) ((unsigned)_mm256_movemask_ps(_mm256_cmp_ps( \
	(__m256)(v), _mm256_set1_ps(bar), _CMP_NLT_UQ)))

INLINE vf co_bytes(const float *x, const float *y, float f, int offset, vf *off)
{
	__m256i q[4];

	_Pragma("GCC unroll 4")
	for (int i = 0; i < 4; i++) {
		__m256 t = _mm256_mul_ps(_mm256_loadu_ps(
			i < 2 ? x + 8 * i : y + 8 * i - 16),
			_mm256_set1_ps(f)), o;

		q[i] = _mm256_cvtps_epi32(t);
		o = _mm256_sub_ps(t, _mm256_cvtepi32_ps(q[i]));
		if (off)
			*off += (vf)o * (vf)o;
	}
	return (vf)_mm256_add_epi8(to_bytes(q), _mm256_set1_epi8((char)offset));
}

#define co_start(sum, q, offset) ((vi)_mm256_sub_epi16((__m256i)(sum), \
	_mm256_maddubs_epi16(_mm256_set1_epi8(offset), (__m256i)(q))))
#define co_widen(sum, p) \
	((vi)_mm256_madd_epi16((__m256i)(sum), (__m256i)(p)))
#define co_times(p, q) \
	((vi)_mm256_mullo_epi16((__m256i)(p), (__m256i)(q)))

/* Both halves of a lane have the factor. */
typedef vi co_acc;
typedef int32_t co_kept;
#define co_keep(f) ((int32_t)(f) * 0x10001)
#define co_join(acc, sum, factor) ((acc) + co_widen(sum, factor))

/* Left to gcc, the sums of a half block become a tree, and the products of a
 * step come before its sums: there are not registers enough for either. A row's
 * two products before its two sums take 2 % less time than one by one. */
INLINE void co_narrow(vi sum[2], const int8_t *x, const vi w[2])
{
	vi a, p;

	__asm__("vpbroadcastd %6, %2\n\t"
	        "vpmaddubsw %4, %2, %3\n\t"
	        "vpmaddubsw %5, %2, %2\n\t"
	        "vpaddw %3, %0, %0\n\t"
	        "vpaddw %2, %1, %1"
	        : "+x"(sum[0]), "+x"(sum[1]), "=&x"(a), "=&x"(p)
	        : "x"(w[0]), "x"(w[1]), "m"(*(const int8_t (*)[4])x));
}

#include "dev_cpu_tc_coarse_body.h"
#endif
