#include "vec_impl.h"

#define VEC_W 4
#define VEC_NAME "portable"
#define VEC_TABLE vec_portable
#include "vec_body.h"

const struct vec_ops *vec_level(int level)
{
	switch (level) {
	case 0:
		return &vec_portable;
#if defined(__x86_64__)
	case 1:
		return __builtin_cpu_supports("avx2") ? &vec_avx2 : NULL;
	case 2:
		return __builtin_cpu_supports("avx512f") &&
		       __builtin_cpu_supports("avx512bw") &&
		       __builtin_cpu_supports("avx512dq") &&
		       __builtin_cpu_supports("avx512vl") ? &vec_avx512 : NULL;
#endif
	default:
		return NULL;
	}
}

const struct vec_ops *vec_ops(void)
{
	const struct vec_ops *best = &vec_portable, *v;
	int level;

	for (level = 1; level <= 2; level++)
		if ((v = vec_level(level)))
			best = v;
	return best;
}
