#include "dev_cpu_mm.h"

#include "vec.h"

const struct dev_cpu_mm *dev_cpu_mm_level(int level)
{
#if defined(__x86_64__)
	if (level >= 2 && vec_level(2))
		return &dev_cpu_mm_avx512;
	if (level >= 1 && vec_level(1) && __builtin_cpu_supports("fma"))
		return &dev_cpu_mm_avx2;
#endif
	(void)level;
	return NULL;
}
