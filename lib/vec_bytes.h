/* vec_bytes: 32 floats on their way to bytes, for files compiled for AVX2. */
#ifndef R1_VEC_BYTES_H
#define R1_VEC_BYTES_H

#ifdef __AVX2__

#include <immintrin.h>
#include <stdint.h>

/* The largest of 32 sizes, as bits: sizes of floats order as their bits do, those
 * of no numbers last. */
static inline __attribute__((always_inline)) int32_t largest_32(const float *x)
{
	const __m256i size = _mm256_set1_epi32(0x7fffffff);
	__m256i top = _mm256_setzero_si256();
	__m128i m;
	int i;

	_Pragma("GCC unroll 4")
	for (i = 0; i < 4; i++)
		top = _mm256_max_epi32(top, _mm256_and_si256(size,
			_mm256_loadu_si256((const void *)(x + 8 * i))));
	m = _mm_max_epi32(_mm256_castsi256_si128(top),
	                  _mm256_extracti128_si256(top, 1));
	m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
	return _mm_cvtsi128_si32(_mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1)));
}

/* 32 integers that fit a byte, as bytes in their order. */
static inline __attribute__((always_inline)) __m256i to_bytes(const __m256i q[4])
{
	__m256i b = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]),
	                               _mm256_packs_epi32(q[2], q[3]));

	/* packs works on halves: fours of values come out as 0 2 4 6 1 3 5 7 */
	return _mm256_permutevar8x32_epi32(b, _mm256_setr_epi32(0, 4, 1, 5, 2,
	                                                        6, 3, 7));
}

#endif
#endif
