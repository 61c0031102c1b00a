/* dev_cpu_mm_body.h for AVX-512: 14 x 32 results in 28 of 32 registers. */
#include "dev_cpu_mm.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define VEC_W 16
#define MM_MR 14
#define MM_TABLE dev_cpu_mm_avx512
#define mm_fma _mm512_fmadd_ps
#define mm_one(p) _mm512_set1_ps(*(p))
#include "dev_cpu_flip.h"

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

#include "dev_cpu_mm_body.h"
#endif
