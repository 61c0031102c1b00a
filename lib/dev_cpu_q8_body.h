/*
 * dev_cpu_q8_body: packing and tiles of struct dev_cpu_q8, compiled once per table
 * by a file for AVX2 or more that defines VEC_W 8 and
 *
 *   TABLE	its name
 *   MR, NR	rows of a tile, and of a weight
 *   PLANES	bytes of an integer of a row: 1 or 2
 *   put_p	puts a block's p where add_block wants it in a scale
 *
 * before, and add_block behind.
 */
#ifndef R1_DEV_CPU_Q8_BODY_H
#define R1_DEV_CPU_Q8_BODY_H

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "dev_cpu_q8.h"
#include "dev_cpu_flip.h"
#include "vec_bytes.h"

#ifdef VEC_W

enum {
	QUADS = Q8_BLOCK / 4,
	LEFT_BYTES = PLANES * MR * Q8_BLOCK,	/* of a block */
	MAX_Q = PLANES == 2 ? Q16_MAX : Q8_MAX,
	MAX_P = 32767, STEPS = MAX_Q * MAX_P	/* of a row's largest */
};

/* A row's factors: of x to d, of a block's largest to p. */
struct row {
	float to_d, to_p;
};

/* The largest of each block to sum; d. */
INLINE struct row measure(const float *x, size_t blocks,
                          struct dev_cpu_q8_scale *scale, float *unit)
{
	int32_t bits, top = 0;
	float most;
	size_t b;

	for (b = 0; b < blocks; b++, scale += MR) {
		bits = largest_32(x + b * Q8_BLOCK);
		memcpy(&scale->sum, &bits, sizeof(bits));
		top = bits > top ? bits : top;
	}
	memcpy(&most, &top, sizeof(most));
	if (!(most < INFINITY)) {
		*unit = NAN;
		return (struct row){ 0, 0 };
	}
	*unit = most / STEPS;
	if (!(most > 0x1p-100f))
		return (struct row){ 0, 0 };
	return (struct row){ STEPS / most, MAX_P / most };
}

/* The sum of 32 integers (of a row that is no number, anything). */
INLINE int sum_of(const __m256i q[4])
{
	__m256i v = _mm256_add_epi32(_mm256_add_epi32(q[0], q[1]),
	                             _mm256_add_epi32(q[2], q[3]));
	__m128i s = _mm_add_epi32(_mm256_castsi256_si128(v),
	                          _mm256_extracti128_si256(v, 1));

	s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
	return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

/* A block of x as planes of bytes, the upper first, and its scale, where its largest
 * is. */
INLINE void round_block(const float *x, struct row row,
                        struct dev_cpu_q8_scale *scale, __m256i plane[PLANES])
{
	__m256i q[4], upper[4];
	__m256 factor;
	int p, i;

	p = row.to_d > 0 ? (int)ceilf(scale->sum * row.to_p) : 1;
	p = p < 1 ? 1 : p > MAX_P ? MAX_P : p;
	factor = _mm256_set1_ps(row.to_d / (float)p);
#pragma GCC unroll 4
	for (i = 0; i < 4; i++)
		q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(
			x + 8 * i), factor));
	put_p(scale, p);
	scale->sum = (float)p * (float)sum_of(q);
	if (PLANES == 2) {
#pragma GCC unroll 4
		for (i = 0; i < 4; i++) {
			upper[i] = _mm256_srai_epi32(_mm256_add_epi32(q[i],
				_mm256_set1_epi32(128)), 8);
			q[i] = _mm256_sub_epi32(q[i],
				_mm256_slli_epi32(upper[i], 8));
		}
		plane[0] = to_bytes(upper);
	}
	plane[PLANES - 1] = to_bytes(q);
}

static void pack_left(const float *x, size_t ld, size_t n, size_t blocks,
                      int8_t *out, struct dev_cpu_q8_scale *scale, float *unit)
{
	struct row row[MR];
	__m256i plane[PLANES];
	vf r[PLANES][8] = { 0 };
	size_t b, i0, i, lanes;
	int h;

	for (i = 0; i < n; i++)
		row[i] = measure(x + i * ld, blocks, scale + i, unit + i);
	for (; i < MR; i++)
		unit[i] = 0;
	for (b = 0; b < blocks; b++, out += LEFT_BYTES, scale += MR)
		for (i0 = 0; i0 < MR; i0 += 8) {
			lanes = MR - i0 < 8 ? MR - i0 : 8;
			for (i = i0; i < i0 + lanes; i++) {
				if (i < n)
					round_block(x + i * ld + b * Q8_BLOCK,
					            row[i], scale + i, plane);
				else
					scale[i] = (struct dev_cpu_q8_scale){
						0 };
				for (h = 0; h < PLANES; h++)
					r[h][i - i0] = i < n ? (vf)plane[h]
					                     : splat(0);
			}
			for (h = 0; h < PLANES; h++) {
				flip(r[h]);
				for (i = 0; i < QUADS; i++)
					memcpy(out + (i * PLANES * MR + h * MR
					       + i0) * 4, &r[h][i], 4 * lanes);
			}
		}
}

/* A block of 4-bit values, one to a byte; its scale and least value. */
INLINE vf unpack_block(enum dtype t, const uint8_t *p, float *s, float *m)
{
	__m128i v = _mm_loadu_si128((const void *)(p + (t == DT_Q4_1 ? 4 : 2)));
	const __m128i low = _mm_set1_epi8(15);
	uint16_t h[2];

	memcpy(h, p, sizeof(h));
	*s = _cvtsh_ss(h[0]);
	*m = t == DT_Q4_1 ? _cvtsh_ss(h[1]) : -8 * *s;
	return (vf)_mm256_set_m128i(_mm_and_si128(_mm_srli_epi16(v, 4), low),
	                            _mm_and_si128(v, low));
}

static void pack_right(enum dtype t, const uint8_t *w, size_t row_bytes,
                       size_t n, size_t blocks, uint8_t *out, float *scale)
{
	size_t bytes = dtype_block_bytes(t), b, i0, i;
	vf r[8];

	for (b = 0; b < blocks; b++, out += NR * Q8_BLOCK, scale += 2 * NR)
		for (i0 = 0; i0 < NR; i0 += 8) {
			for (i = 0; i < 8; i++) {
				float *s = scale + i0 + i;

				r[i] = splat(0);
				s[0] = s[NR] = 0;
				if (i0 + i < n)
					r[i] = unpack_block(t, w + (i0 + i) *
						row_bytes + b * bytes, s,
						s + NR);
			}
			flip(r);
			for (i = 0; i < QUADS; i++)
				memcpy(out + (i * NR + i0) * 4, &r[i],
				       sizeof(r[i]));
		}
}

/* Adds the products of a block of a group and of a panel, scaled, to `out`. */
INLINE void add_block(const int8_t *left, const struct dev_cpu_q8_scale *scale,
                      const uint8_t *right, const float *right_scale,
                      float out[MR][NR]);

static void tile(const int8_t *left, const struct dev_cpu_q8_scale *left_scale,
                 const uint8_t *right, const float *right_scale, size_t blocks,
                 const float *unit, float *c, size_t ldc, int add)
{
	float out[MR][NR] __attribute__((aligned(64)));
	int i, j;

	for (i = 0; i < MR; i++) {
		const float *from = c + (size_t)i * ldc;

		for (j = 0; j < NR; j += 16)
			__builtin_prefetch(from + j, 1);
		__builtin_prefetch(from + NR - 1, 1);
#pragma GCC unroll 4
		for (j = 0; j < NR; j += VEC_W)
			_mm256_store_ps(&out[i][j], add
				? _mm256_loadu_ps(from + j)
				: _mm256_setzero_ps());
	}
	for (; blocks; blocks--) {
		add_block(left, left_scale, right, right_scale, out);
		left += LEFT_BYTES;
		left_scale += MR;
		right += NR * Q8_BLOCK;
		right_scale += 2 * NR;
	}
	for (i = 0; i < MR; i++) {
		const __m256 u = _mm256_set1_ps(unit ? unit[i] : 1);

#pragma GCC unroll 4
		for (j = 0; j < NR; j += VEC_W)
			_mm256_storeu_ps(c + (size_t)i * ldc + j,
				_mm256_mul_ps(_mm256_load_ps(&out[i][j]), u));
	}
}

const struct dev_cpu_q8 TABLE = {
	MR, NR, PLANES, pack_left, pack_right, tile
};

#endif
#endif
