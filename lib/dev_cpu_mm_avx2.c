/* dev_cpu_mm_body.h for AVX2: 6 x 16 results in twelve of sixteen registers. */
#include "dev_cpu_mm.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define VEC_W 8
#define MM_MR 6
#define MM_TABLE dev_cpu_mm_avx2
#define mm_fma _mm256_fmadd_ps
#define mm_one(p) _mm256_broadcast_ss(p)
#include "dev_cpu_flip.h"

static inline __m256i first_lanes(size_t n)
{
	static const int32_t ones[16] = { -1, -1, -1, -1, -1, -1, -1, -1 };

	return _mm256_loadu_si256((const __m256i_u *)(ones + 8 - n));
}

INLINE vf mm_load_n(const float *p, size_t n)
{
	return n >= 8 ? _mm256_loadu_ps(p)
	              : _mm256_maskload_ps(p, first_lanes(n));
}

INLINE void mm_store_n(float *p, size_t n, vf v)
{
	if (n >= 8)
		_mm256_storeu_ps(p, v);
	else
		_mm256_maskstore_ps(p, first_lanes(n), v);
}

#include "dev_cpu_mm_body.h"
#endif
