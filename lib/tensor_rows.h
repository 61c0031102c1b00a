/*
 * tensor_rows: the loops that turn stored blocks into f32, and f32 into f16 and
 * Q8_0, compiled twice: in tensor.c for any processor, in tensor_avx2.c for AVX2
 * and F16C. No contraction, the same order of operations: the same bits.
 *
 * Of those to f32 each takes n blocks of the type's size at any address and writes
 * n times the type's block of floats. q is a block's quantised value, d and m its
 * scale and minimum. Layouts: ggml-quants.h and its dequantize_row_* functions.
 */
#ifndef R1_TENSOR_ROWS_H
#define R1_TENSOR_ROWS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef void tensor_rows_fn(const uint8_t *restrict in, size_t n,
                            float *restrict out);

/* One function per type that is not f32 already; indexed by enum dtype, NULL
 * where tensor_f32 has no meaning. */
extern tensor_rows_fn *const tensor_rows_any[];
extern tensor_rows_fn *const tensor_rows_avx2[];

/* And back: n values to f16, n blocks to Q8_0. */
struct tensor_back {
	void (*f16)(const float *restrict in, size_t n, uint16_t *restrict out);
	void (*q8_0)(const float *restrict in, size_t n, uint8_t *restrict out);
};

extern const struct tensor_back tensor_back_any, tensor_back_avx2;

#ifdef TENSOR_ROWS_BODY

#include <math.h>

#include "vec_bytes.h"

#ifdef __F16C__
#include <immintrin.h>
#endif

static inline float bits_f32(uint32_t u)
{
	float f;

	memcpy(&f, &u, sizeof(f));
	return f;
}

static inline uint32_t f32_bits(float f)
{
	uint32_t u;

	memcpy(&u, &f, sizeof(u));
	return u;
}

static inline uint16_t load16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* Branch-free, so that it vectorises. Subnormals come from an exact
 * subtraction; a signalling NaN becomes quiet, as F16C does it. */
static inline float half_f32(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16;
	uint32_t mant = (uint32_t)(h & 0x3ff) << 13;
	uint32_t body = (uint32_t)(h & 0x7fff) << 13;
	float small = bits_f32(0x38800000 | mant) - bits_f32(0x38800000);
	uint32_t u, low;

	memcpy(&low, &small, sizeof(low));
	u = body + (112u << 23);
	u = body < 0x00800000 ? low : u;
	u = body >= 0x0f800000 ? body | 0x7f800000 : u;
	u = body > 0x0f800000 ? u | 0x00400000 : u;
	return bits_f32(u | sign);
}

static void rows_f16(const uint8_t *restrict in, size_t n, float *restrict out)
{
	size_t i = 0, j;

#ifdef __F16C__
	for (; i + 8 <= n; i += 8) {
		__m128i h = _mm_loadu_si128((const void *)(in + 2 * i));

		_mm256_storeu_ps(out + i, _mm256_cvtph_ps(h));
	}
#endif
	for (; i + 16 <= n; i += 16)
		for (j = 0; j < 16; j++)
			out[i + j] = half_f32(load16(in + 2 * (i + j)));
	for (; i < n; i++)
		out[i] = half_f32(load16(in + 2 * i));
}

/* Below the normal range, adding 0.5 lets the adder round to the spacing of
 * f16's subnormals, 2^-24. */
static inline uint16_t f16_of(float f)
{
	uint32_t u = f32_bits(f), a = u & 0x7fffffff;
	uint32_t normal = ((a + 0xfff + (a >> 13 & 1)) >> 13) - (112u << 10);
	uint32_t small = f32_bits(bits_f32(a) + 0.5f) - 0x3f000000;
	uint32_t h = a < 0x38800000 ? small : normal;

	h = a >= 0x477ff000 ? 0x7c00 : h;
	h = a > 0x7f800000 ? 0x7e00 | (a >> 13 & 0x3ff) : h;
	return (uint16_t)(u >> 16 & 0x8000) | (uint16_t)h;
}

/* Runs of 16 with a constant bound are what gcc -O2 vectorises. */
static void back_f16(const float *restrict in, size_t n, uint16_t *restrict out)
{
	size_t i = 0, j;

#ifdef __F16C__
	for (; i + 8 <= n; i += 8)
		_mm_storeu_si128((void *)(out + i), _mm256_cvtps_ph(
			_mm256_loadu_ps(in + i), _MM_FROUND_TO_NEAREST_INT));
#endif
	for (; i + 16 <= n; i += 16)
		for (j = 0; j < 16; j++)
			out[i + j] = f16_of(in[i + j]);
	for (; i < n; i++)
		out[i] = f16_of(in[i]);
}

static void rows_bf16(const uint8_t *restrict in, size_t n, float *restrict out)
{
	size_t i = 0, j;

	for (; i + 16 <= n; i += 16)
		for (j = 0; j < 16; j++)
			out[i + j] = bits_f32((uint32_t)
				load16(in + 2 * (i + j)) << 16);
	for (; i < n; i++)
		out[i] = bits_f32((uint32_t)load16(in + 2 * i) << 16);
}

static void rows_f64(const uint8_t *restrict in, size_t n, float *restrict out)
{
	double v;
	size_t i;

	for (i = 0; i < n; i++) {
		memcpy(&v, in + 8 * i, sizeof(v));
		out[i] = (float)v;
	}
}

static void rows_q8_0(const uint8_t *restrict in, size_t n, float *restrict out)
{
	int j;

	for (; n; n--, in += 34, out += 32) {
		const int8_t *q = (const int8_t *)in + 2;
		float d = half_f32(load16(in));

		for (j = 0; j < 32; j++)
			out[j] = (float)q[j] * d;
	}
}

#ifdef __AVX2__
/* x by f, within +-127, rounded to even */
static inline void bytes_32(const float *x, float f, uint8_t *q)
{
	const __m256 by = _mm256_set1_ps(f), top = _mm256_set1_ps(127);
	const __m256 low = _mm256_set1_ps(-127);
	__m256i r[4];
	int j;

	for (j = 0; j < 4; j++)
		r[j] = _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(
			_mm256_mul_ps(_mm256_loadu_ps(x + 8 * j), by), low),
			top));
	_mm256_storeu_si256((void *)q, to_bytes(r));
}
#else
static inline int32_t largest_32(const float *x)	/* vec_bytes.h */
{
	int32_t top = 0, bits;
	int j;

	for (j = 0; j < 32; j++) {
		bits = (int32_t)(f32_bits(x[j]) & 0x7fffffff);
		top = bits > top ? bits : top;
	}
	return top;
}

static inline void bytes_32(const float *x, float f, uint8_t *q)
{
	int j;

	for (j = 0; j < 32; j++) {
		float v = x[j] * f;

		v = v > -127 ? v : -127;
		v = v < 127 ? v : 127;
		/* 1.5 2^23 rounds to even; the low byte is the integer */
		q[j] = (uint8_t)(f32_bits(v + 12582912.0f) & 0xff);
	}
}
#endif

/* d is the largest size over 127, as f16 holds it; of a block that holds no number,
 * or an infinite one, no number. */
static void back_q8_0(const float *restrict in, size_t n, uint8_t *restrict out)
{
	for (; n; n--, in += 32, out += 34) {
		float top = bits_f32((uint32_t)largest_32(in)), d = top / 127;
		uint16_t h = f16_of(d < 65504 ? d : 65504);

		if (!(top < INFINITY))
			h = 0x7e00;
		memcpy(out, &h, sizeof(h));
		d = half_f32(h);
		if (d > 0)
			bytes_32(in, 1 / d, out + 2);
		else
			memset(out + 2, 0, 32);
	}
}

static void rows_q4_0(const uint8_t *restrict in, size_t n, float *restrict out)
{
	int j;

	for (; n; n--, in += 18, out += 32) {
		const uint8_t *q = in + 2;
		float d = half_f32(load16(in));

		for (j = 0; j < 16; j++)
			out[j] = (float)((q[j] & 15) - 8) * d;
		for (j = 0; j < 16; j++)
			out[16 + j] = (float)((q[j] >> 4) - 8) * d;
	}
}

static void rows_q4_1(const uint8_t *restrict in, size_t n, float *restrict out)
{
	int j;

	for (; n; n--, in += 20, out += 32) {
		const uint8_t *q = in + 4;
		float d = half_f32(load16(in)), m = half_f32(load16(in + 2));

		for (j = 0; j < 16; j++)
			out[j] = (float)(q[j] & 15) * d + m;
		for (j = 0; j < 16; j++)
			out[16 + j] = (float)(q[j] >> 4) * d + m;
	}
}

/* The 32 fifth bits of a q5 block lie in one little-endian word. */
static inline uint32_t load32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static void rows_q5_0(const uint8_t *restrict in, size_t n, float *restrict out)
{
	int j;

	for (; n; n--, in += 22, out += 32) {
		const uint8_t *q = in + 6;
		float d = half_f32(load16(in));
		uint32_t top = load32(in + 2);

		for (j = 0; j < 16; j++) {
			int lo = (q[j] & 15) | (int)(top >> j & 1) << 4;
			int hi = q[j] >> 4 | (int)(top >> (j + 16) & 1) << 4;

			out[j] = (float)(lo - 16) * d;
			out[16 + j] = (float)(hi - 16) * d;
		}
	}
}

static void rows_q5_1(const uint8_t *restrict in, size_t n, float *restrict out)
{
	int j;

	for (; n; n--, in += 24, out += 32) {
		const uint8_t *q = in + 8;
		float d = half_f32(load16(in)), m = half_f32(load16(in + 2));
		uint32_t top = load32(in + 4);

		for (j = 0; j < 16; j++) {
			int lo = (q[j] & 15) | (int)(top >> j & 1) << 4;
			int hi = q[j] >> 4 | (int)(top >> (j + 16) & 1) << 4;

			out[j] = (float)lo * d + m;
			out[16 + j] = (float)hi * d + m;
		}
	}
}

/* Eight 6-bit scales and eight 6-bit minima packed into 12 bytes: the low six
 * bits of bytes 0-3 and 4-7, the rest split over bytes 8-11 and the spare top
 * bits. Gives d * scale and dmin * minimum of sub-block j. */
static inline void k_scale(const uint8_t *s, int j, float d, float dmin,
                           float *scale, float *min)
{
	int sc, mn;

	if (j < 4) {
		sc = s[j] & 63;
		mn = s[j + 4] & 63;
	} else {
		sc = (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
		mn = s[j + 4] >> 4 | s[j] >> 6 << 4;
	}
	*scale = d * (float)sc;
	*min = dmin * (float)mn;
}

static void rows_q4_k(const uint8_t *restrict in, size_t n, float *restrict out)
{
	float s0, s1, m0, m1;
	int j, l;

	for (; n; n--, in += 144) {
		const uint8_t *q = in + 16;
		float d = half_f32(load16(in));
		float dmin = half_f32(load16(in + 2));

		for (j = 0; j < 8; j += 2, q += 32, out += 64) {
			k_scale(in + 4, j, d, dmin, &s0, &m0);
			k_scale(in + 4, j + 1, d, dmin, &s1, &m1);
			for (l = 0; l < 32; l++)
				out[l] = s0 * (float)(q[l] & 15) - m0;
			for (l = 0; l < 32; l++)
				out[32 + l] = s1 * (float)(q[l] >> 4) - m1;
		}
	}
}

static void rows_q5_k(const uint8_t *restrict in, size_t n, float *restrict out)
{
	float s0, s1, m0, m1;
	int j, l;

	for (; n; n--, in += 176) {
		const uint8_t *top = in + 16, *q = in + 48;
		float d = half_f32(load16(in));
		float dmin = half_f32(load16(in + 2));

		for (j = 0; j < 8; j += 2, q += 32, out += 64) {
			k_scale(in + 4, j, d, dmin, &s0, &m0);
			k_scale(in + 4, j + 1, d, dmin, &s1, &m1);
			for (l = 0; l < 32; l++)
				out[l] = s0 * (float)((q[l] & 15) |
					(top[l] >> j & 1) << 4) - m0;
			for (l = 0; l < 32; l++)
				out[32 + l] = s1 * (float)(q[l] >> 4 |
					(top[l] >> (j + 1) & 1) << 4) - m1;
		}
	}
}

/* Four runs of 32 values share 64 low and 32 high bytes; a scale serves 16. */
static void rows_q6_k(const uint8_t *restrict in, size_t n, float *restrict out)
{
	int half, run, l;

	for (; n; n--, in += 210) {
		float d = half_f32(load16(in + 208));

		for (half = 0; half < 2; half++) {
			const uint8_t *low = in + 64 * half;
			const uint8_t *top = in + 128 + 32 * half;
			const int8_t *sc = (const int8_t *)in + 192 + 8 * half;

			for (run = 0; run < 4; run++, out += 32) {
				const uint8_t *ql = low + 32 * (run & 1);
				int sl = run < 2 ? 0 : 4, sh = 2 * run;
				float a = d * (float)sc[2 * run];
				float b = d * (float)sc[2 * run + 1];

				for (l = 0; l < 16; l++)
					out[l] = a * (float)(((ql[l] >> sl & 15)
						| (top[l] >> sh & 3) << 4) - 32);
				for (l = 16; l < 32; l++)
					out[l] = b * (float)(((ql[l] >> sl & 15)
						| (top[l] >> sh & 3) << 4) - 32);
			}
		}
	}
}

#define TENSOR_ROWS_TABLE { \
	[DT_F16] = rows_f16, [DT_BF16] = rows_bf16, [DT_F64] = rows_f64, \
	[DT_Q8_0] = rows_q8_0, [DT_Q4_0] = rows_q4_0, [DT_Q4_1] = rows_q4_1, \
	[DT_Q5_0] = rows_q5_0, [DT_Q5_1] = rows_q5_1, [DT_Q4_K] = rows_q4_k, \
	[DT_Q5_K] = rows_q5_k, [DT_Q6_K] = rows_q6_k, [DT_N] = NULL \
}
#define TENSOR_BACK { back_f16, back_q8_0 }

#endif
#endif
