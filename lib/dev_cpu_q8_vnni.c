/* dev_cpu_q8 for AVX-512 with VNNI. */
#include "dev_cpu_q8.h"

#if defined(__x86_64__)
#include <immintrin.h>

typedef int32_t wi __attribute__((vector_size(64)));
typedef float wf __attribute__((vector_size(64)));

#ifndef TABLE
#define TABLE dev_cpu_q8_vnni
#define PLANES 1
#endif
#define wide_one(p) \
	((wi)_mm512_set1_epi32(*(const int32_t *)(const void *)(p)))
#define wide_dot(sum, w, x) ((wi)_mm512_dpbusd_epi32((__m512i)(sum), \
	(__m512i)(w), (__m512i)(x)))
#define wide_fma(a, b, c) \
	((wf)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define wide_float(v) ((wf)_mm512_cvtepi32_ps((__m512i)(v)))
#define wide_all _Pragma("GCC unroll 16")
#include "dev_cpu_q8_wide_body.h"
#endif
