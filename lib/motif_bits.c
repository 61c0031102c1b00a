#define MOTIF_BITS_NAME motif_bits_plain
#include "motif_bits_body.h"

motif_bits_fn *motif_bits(void)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx2"))
		return motif_bits_avx2;
#endif
	return motif_bits_plain;
}
