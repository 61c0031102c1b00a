/* dev_cpu_q8 for AVX2: tiles of 6 x 16, or of 3 x 16 with two planes, twelve sums in
 * sixteen registers. */
#include "dev_cpu_q8.h"

#if defined(__x86_64__)
#define VEC_W 8
#ifndef TABLE
#define TABLE dev_cpu_q8_avx2
#define PLANES 1
#endif
enum { ROWS = 6, MR = ROWS / PLANES, NR = 16 };
#if PLANES == 2
#define put_p(scale, value) ((scale)->p.one = (float)(value))
#else
#define put_p(scale, value) \
	((scale)->p.pair[0] = (scale)->p.pair[1] = (int16_t)(value))
#endif
#include "dev_cpu_q8_body.h"

INLINE __m256i load(const void *p)
{
	return _mm256_loadu_si256(p);
}

/* Four bytes of a row for every row of a panel. */
INLINE __m256i quad(const void *p)
{
	int32_t v;

	memcpy(&v, p, sizeof(v));
	return _mm256_set1_epi32(v);
}

/* The products of a row's quad with both halves of a panel's, in pairs. */
INLINE void pairs(__m256i sum[2], const __m256i w[2], const int8_t *left)
{
	__m256i x = quad(left);

	sum[0] = _mm256_maddubs_epi16(w[0], x);
	sum[1] = _mm256_maddubs_epi16(w[1], x);
	/* or gcc adds a block's up as a tree, for which there are not
	 * registers enough */
	__asm__("" : "+x"(sum[0]), "+x"(sum[1]));
}

/* And added to those before. Both products come before both sums, which takes 2
 * to 4 % less time than as gcc orders them; the rest is set by how many products
 * and sums the processor starts in a cycle, whatever their order. */
INLINE void add_pairs(__m256i sum[2], const __m256i w[2], const int8_t *left)
{
	__m256i x, p;

	__asm__("vpbroadcastd %6, %2\n\t"
	        "vpmaddubsw %2, %4, %3\n\t"
	        "vpmaddubsw %2, %5, %2\n\t"
	        "vpaddw %3, %0, %0\n\t"
	        "vpaddw %2, %1, %1"
	        : "+x"(sum[0]), "+x"(sum[1]), "=&x"(x), "=&x"(p)
	        : "x"(w[0]), "x"(w[1]), "m"(*(const int8_t (*)[4])left));
}

/* A row's sums of a block, j-th of a panel's halves, times p. With two planes the
 * sums of both are below 2^24: what is rounded is the product alone. */
INLINE __m256 times_p(__m256i sum[ROWS][2], int i, int j,
                      const struct dev_cpu_q8_scale *scale)
{
#if PLANES == 2
	const __m256i one = _mm256_set1_epi16(1);
	__m256i upper = _mm256_madd_epi16(sum[i][j], one);
	__m256i lower = _mm256_madd_epi16(sum[i + MR][j], one);

	upper = _mm256_add_epi32(_mm256_slli_epi32(upper, 8), lower);
	return _mm256_mul_ps(_mm256_cvtepi32_ps(upper),
	                     _mm256_broadcast_ss(&scale->p.one));
#else
	return _mm256_cvtepi32_ps(_mm256_madd_epi16(sum[i][j],
	                                            quad(scale->p.pair)));
#endif
}

/* Adds a block's sums, scaled, to `out`. */
INLINE void add_sums(__m256i sum[ROWS][2], const struct dev_cpu_q8_scale *left,
                     const float *right, float out[MR][NR])
{
	int i, j;

#pragma GCC unroll 6
	for (i = 0; i < MR; i++) {
		__m256 q = _mm256_broadcast_ss(&left[i].sum);

#pragma GCC unroll 2
		for (j = 0; j < 2; j++) {
			const float *s = right + 8 * j;
			__m256 o = _mm256_load_ps(&out[i][8 * j]);
			__m256 f = times_p(sum, i, j, &left[i]);

			o = _mm256_fmadd_ps(f, _mm256_loadu_ps(s), o);
			o = _mm256_fmadd_ps(_mm256_loadu_ps(s + NR), q, o);
			_mm256_store_ps(&out[i][8 * j], o);
		}
	}
	/* or gcc holds a second copy of out */
	__asm__("" : : : "memory");
}

INLINE void add_block(const int8_t *left, const struct dev_cpu_q8_scale *scale,
                      const uint8_t *right, const float *right_scale,
                      float out[MR][NR])
{
	__m256i sum[ROWS][2];
	int i, j;

#pragma GCC unroll 8
	for (j = 0; j < QUADS; j++) {
		const __m256i w[2] = {
			load(right + j * 4 * NR),
			load(right + j * 4 * NR + 32)
		};

#pragma GCC unroll 6
		for (i = 0; i < ROWS; i++) {
			const int8_t *l = left + (j * ROWS + i) * 4;

			if (j == 0)
				pairs(sum[i], w, l);
			else
				add_pairs(sum[i], w, l);
		}
	}
	add_sums(sum, scale, right_scale, out);
}
#endif
