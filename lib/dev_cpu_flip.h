/* dev_cpu_flip: a square of VEC_W x VEC_W transposed in registers, for files that
 * define VEC_W first. */
#ifndef R1_DEV_CPU_FLIP_H
#define R1_DEV_CPU_FLIP_H

#include "vec_lanes.h"

#ifdef VEC_W
#if VEC_W == 8 && defined(__AVX2__)

#include <immintrin.h>

INLINE void flip(vf r[8])
{
	__m256 t[8], u[8];

	_Pragma("GCC unroll 4")
	for (int i = 0; i < 4; i++) {
		t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
		t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
	}
	_Pragma("GCC unroll 2")
	for (int i = 0; i < 8; i += 4) {
		u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
		u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
		u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
		u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
	}
	_Pragma("GCC unroll 4")
	for (int i = 0; i < 4; i++) {
		r[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
		r[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
	}
}

#elif VEC_W == 16 && defined(__AVX512F__)

#include <immintrin.h>

INLINE void flip(vf r[16])
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

#else

INLINE void flip(vf r[VEC_W])
{
	vf t[VEC_W];

	memcpy(t, r, sizeof(t));
	for (int i = 0; i < VEC_W; i++)
		for (int j = 0; j < VEC_W; j++)
			r[i][j] = t[j][i];
}

#endif
#endif
#endif
