/* dev_cpu_q8's products of rows of 16 bits, for AVX2. */
#define TABLE dev_cpu_q16_avx2
#define PLANES 2
#include "dev_cpu_q8_avx2.c"
