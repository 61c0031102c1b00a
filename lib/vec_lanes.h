/*
 * vec_lanes: sixteen floats as VEC_W-wide registers, for loop bodies that are
 * compiled once per instruction set by a file that defines VEC_W (4, 8 or 16)
 * first, and give equal bytes from each: sums run over 16 lanes and fold in
 * one order. A tail shorter than 16 goes through a padded copy.
 */
#ifndef R1_VEC_LANES_H
#define R1_VEC_LANES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef VEC_W

#if defined(__AVX__)
#include <immintrin.h>
#endif

#define VEC_U (16 / VEC_W)

typedef float vf __attribute__((vector_size(VEC_W * 4)));
typedef int32_t vi __attribute__((vector_size(VEC_W * 4)));
typedef float vf_mem __attribute__((vector_size(VEC_W * 4), aligned(4),
                                    may_alias));

struct v16 {
	vf r[VEC_U];
};

#define INLINE static inline __attribute__((always_inline))
#define EACH_U _Pragma("GCC unroll 4") for (int u = 0; u < VEC_U; u++)

INLINE vf splat(float x)
{
	return x - (vf){ 0 };
}

INLINE vf pick(vi mask, vf yes, vf no)
{
	return (vf)(((vi)yes & mask) | ((vi)no & ~mask));
}

/* a > b ? a : b and a < b ? a : b: b where either is no number. */
#if VEC_W == 8 && defined(__AVX__)
#define larger(a, b) ((vf)_mm256_max_ps((__m256)(a), (__m256)(b)))
#define smaller(a, b) ((vf)_mm256_min_ps((__m256)(a), (__m256)(b)))
#elif VEC_W == 16 && defined(__AVX512F__)
#define larger(a, b) ((vf)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define smaller(a, b) ((vf)_mm512_min_ps((__m512)(a), (__m512)(b)))
#else
INLINE vf larger(vf a, vf b)
{
	return pick(a > b, a, b);
}

INLINE vf smaller(vf a, vf b)
{
	return pick(a < b, a, b);
}
#endif

/*
 * exp: x = n ln 2 + r with |r| <= ln 2 / 2, exp(r) by a polynomial of degree
 * 6 (Cephes' expf coefficients), 2^n put in the exponent. Arguments are held
 * to [-87.3, 88.3], where 2^n is a normal float.
 */
INLINE vf vexp(vf x)
{
	const vf lo = splat(-87.3f), hi = splat(88.3f);
	const vf magic = splat(12582912.0f);	/* 1.5 * 2^23: rounds */
	vf t, n, r, p;

	x = larger(lo, x);
	x = smaller(hi, x);
	t = x * 1.44269504088896341f + magic;
	n = t - magic;
	r = x - n * 0.693359375f;
	r = r - n * -2.12194440e-4f;
	p = splat(1.9875691500e-4f);
	p = p * r + 1.3981999507e-3f;
	p = p * r + 8.3334519073e-3f;
	p = p * r + 4.1665795894e-2f;
	p = p * r + 1.6666665459e-1f;
	p = p * r + 5.0000001201e-1f;
	p = p * (r * r) + r + 1.0f;
	return p * (vf)(((vi)t - 0x4b400000 + 127) << 23);
}

INLINE struct v16 load16(const float *p)
{
	struct v16 v;

	EACH_U
		v.r[u] = *(const vf_mem *)(p + u * VEC_W);
	return v;
}

INLINE void store16(float *p, struct v16 v)
{
	EACH_U
		*(vf_mem *)(p + u * VEC_W) = v.r[u];
}

INLINE struct v16 splat16(float x)
{
	struct v16 v;

	EACH_U
		v.r[u] = splat(x);
	return v;
}

/* The n < 16 values at p, padded with `fill`. */
INLINE struct v16 load_tail(const float *p, size_t n, float fill)
{
	float t[16];
	size_t i;

	for (i = 0; i < 16; i++)
		t[i] = i < n ? p[i] : fill;
	return load16(t);
}

INLINE void store_tail(float *p, size_t n, struct v16 v)
{
	float t[16];

	store16(t, v);
	memcpy(p, t, n * sizeof(*p));
}

/* Lanes 8 apart, then 4, 2, 1. */
INLINE float fold_add(struct v16 v)
{
	typedef float v8 __attribute__((vector_size(32)));
	typedef float v4 __attribute__((vector_size(16)));
	union { struct v16 all; v8 half[2]; } a = { v };
	union { v8 all; v4 half[2]; } b = { a.half[0] + a.half[1] };
	v4 c = b.half[0] + b.half[1];

	return (c[0] + c[2]) + (c[1] + c[3]);
}

INLINE struct v16 add16(struct v16 a, struct v16 b)
{
	EACH_U
		a.r[u] += b.r[u];
	return a;
}

INLINE struct v16 sub16(struct v16 a, struct v16 b)
{
	EACH_U
		a.r[u] -= b.r[u];
	return a;
}

INLINE struct v16 mul16(struct v16 a, struct v16 b)
{
	EACH_U
		a.r[u] *= b.r[u];
	return a;
}

#endif
#endif
