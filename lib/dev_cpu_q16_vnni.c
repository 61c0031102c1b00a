/* dev_cpu_q8's products of rows of 16 bits, for AVX-512 with VNNI. */
#define TABLE dev_cpu_q16_vnni
#define PLANES 2
#include "dev_cpu_q8_vnni.c"
