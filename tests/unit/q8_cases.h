/* A table of dev_cpu_q8 for AVX-512 with VNNI, its instructions written out, for
 * processors that have AVX2 alone (what packs is AVX2's own). */
#ifndef R1_TESTS_Q8_CASES_H
#define R1_TESTS_Q8_CASES_H

#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#include <math.h>
#include <string.h>

typedef int32_t wi __attribute__((vector_size(64)));
typedef float wf __attribute__((vector_size(64)));

/* (Inlined, or unrolled, gcc takes minutes where sanitizers watch.) */
static __attribute__((noinline)) wi wide_dot(wi sum, wi w, wi x)
{
	uint8_t u[64];
	int8_t s[64];
	int i;

	memcpy(u, &w, sizeof(u));
	memcpy(s, &x, sizeof(s));
	for (i = 0; i < 64; i++)
		sum[i / 4] += u[i] * s[i];
	return sum;
}

static __attribute__((noinline)) wf wide_fma(wf a, wf b, wf c)
{
	int i;

	for (i = 0; i < 16; i++)
		c[i] = fmaf(a[i], b[i], c[i]);
	return c;
}

static inline wi wide_one(const void *p)
{
	int32_t quad;

	memcpy(&quad, p, sizeof(quad));
	return quad - (wi){ 0 };
}

#define wide_float(v) __builtin_convertvector(v, wf)
#define wide_all
#define TABLE wide_table	/* of PLANES */
extern const struct dev_cpu_q8 wide_table;
#include "dev_cpu_q8_wide_body.h"
#pragma GCC pop_options
#endif

#endif
