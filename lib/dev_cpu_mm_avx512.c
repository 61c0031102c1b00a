/* dev_cpu_mm_body.h for AVX-512: 14 x 32 results in 28 of 32 registers. */
#include "dev_cpu_mm.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define VEC_W 16
#define MM_MR 14
#define MM_TABLE dev_cpu_mm_avx512
#define mm_fma _mm512_fmadd_ps
#define mm_max _mm512_max_ps
#define mm_one(p) _mm512_set1_ps(*(p))
#include "vec_lanes.h"

INLINE __mmask16 first_lanes(size_t n)
{
	return n >= 16 ? 0xffff : (__mmask16)((1u << n) - 1);
}

INLINE vf mm_load_n(const float *p, size_t n)
{
	return _mm512_maskz_loadu_ps(first_lanes(n), p);
}

INLINE void mm_store_n(float *p, size_t n, vf v)
{
	_mm512_mask_storeu_ps(p, first_lanes(n), v);
}

/* Transposes 16 x 16 values. */
INLINE void mm_flip(vf r[16])
{
	__m512 t[16], u[16];

	_Pragma("GCC unroll 8")
	for (int i = 0; i < 8; i++) {
		t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
		t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
	}
	_Pragma("GCC unroll 4")
	for (int i = 0; i < 16; i += 4) {	/* column 4 l + j in lane l */
		u[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
		u[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
		u[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
		u[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
	}
	_Pragma("GCC unroll 4")
	for (int i = 0; i < 4; i++) {
		__m512 a = _mm512_shuffle_f32x4(u[i], u[i + 4], 0x88);
		__m512 b = _mm512_shuffle_f32x4(u[i], u[i + 4], 0xdd);
		__m512 c = _mm512_shuffle_f32x4(u[i + 8], u[i + 12], 0x88);
		__m512 d = _mm512_shuffle_f32x4(u[i + 8], u[i + 12], 0xdd);

		r[i] = _mm512_shuffle_f32x4(a, c, 0x88);
		r[i + 8] = _mm512_shuffle_f32x4(a, c, 0xdd);
		r[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
		r[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
	}
}

#include "dev_cpu_mm_body.h"
#endif
