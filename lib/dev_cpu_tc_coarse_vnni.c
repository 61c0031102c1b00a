/* dev_cpu_tc_coarse_body.h for AVX-512 with VNNI: 14 x 32 sums in 28 of 32
 * registers. */
#include "dev_cpu_tc_coarse.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define VEC_W 16
#define CO_MR 14
#define CO_NARROW 0.4	/* most tokens/s, of 0.25, 0.4, 0.55 and 0.7 */
#define CO_TOP 127
#define CO_OFFSET 128
#define CO_TABLE dev_cpu_tc_coarse_vnni
#include "dev_cpu_flip.h"

#define co_one(p) ((vi)_mm512_set1_epi32(*(const int32_t *)(const void *)(p)))
#define co_dot(acc, a, w) \
	((vi)_mm512_dpwssd_epi32((__m512i)(acc), (__m512i)(a), (__m512i)(w)))
#define co_not_below(v, bar) ((unsigned)_mm512_cmp_ps_mask((__m512)(v), \
	_mm512_set1_ps(bar), _CMP_NLT_UQ))

/* Those lanes that m has, at p and on; up to VEC_W places are overwritten. */
#define co_keep_lanes(p, v, m) _mm512_storeu_si512(p, \
	_mm512_maskz_compress_epi32((__mmask16)(m), (__m512i)(v)))

/* Sums of four bytes' products are of 32 bits here, a lane's factors one. */
#define co_start(sum, q, offset) ((vi)_mm512_sub_epi32((__m512i)(sum), \
	_mm512_dpbusd_epi32(_mm512_setzero_si512(), \
	                    _mm512_set1_epi8((char)(offset)), (__m512i)(q))))
#define co_times(p, q) \
	((vi)_mm512_mullo_epi16((__m512i)(p), (__m512i)(q)) & 0xffff)
#define co_widen(sum, p) \
	((vi)_mm512_mullo_epi32((__m512i)(sum), (__m512i)(p)))

/* A block's sums are exact in f32. */
typedef vf co_acc;
typedef float co_kept;
#define co_keep(f) (f)
#define co_join(acc, sum, factor) ((vf)_mm512_fmadd_ps( \
	_mm512_cvtepi32_ps((__m512i)(sum)), (__m512)(factor), (__m512)(acc)))

INLINE __m128i co_16(const float *x, float f, vf *off)
{
	__m512 t = _mm512_mul_ps(_mm512_loadu_ps(x), _mm512_set1_ps(f));
	__m512i q = _mm512_cvtps_epi32(t);
	vf o = (vf)_mm512_sub_ps(t, _mm512_cvtepi32_ps(q));

	if (off)
		*off += o * o;
	return _mm512_cvtepi32_epi8(q);
}

INLINE vf co_bytes(const float *x, const float *y, float f, int offset, vf *off)
{
	__m512i b = _mm512_castsi128_si512(co_16(x, f, off));

	b = _mm512_inserti32x4(b, co_16(x + 16, f, off), 1);
	b = _mm512_inserti32x4(b, co_16(y, f, off), 2);
	b = _mm512_inserti32x4(b, co_16(y + 16, f, off), 3);
	return (vf)_mm512_add_epi8(b, _mm512_set1_epi8((char)offset));
}

INLINE void co_narrow(vi sum[2], const int8_t *x, const vi w[2])
{
	vi a = co_one(x);

	sum[0] = (vi)_mm512_dpbusd_epi32((__m512i)sum[0], (__m512i)a,
	                                 (__m512i)w[0]);
	sum[1] = (vi)_mm512_dpbusd_epi32((__m512i)sum[1], (__m512i)a,
	                                 (__m512i)w[1]);
}

#include "dev_cpu_tc_coarse_body.h"
#endif
