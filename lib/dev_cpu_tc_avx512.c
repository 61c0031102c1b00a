/* The loops of dev_cpu_tc_body.h for AVX-512; an empty unit elsewhere. */
#include "dev_cpu_tc.h"

#if defined(__x86_64__)
#define VEC_W 16
#define TC_TABLE dev_cpu_tc_loops_avx512
#include "dev_cpu_tc_body.h"
#endif
