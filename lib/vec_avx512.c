/* The loops of vec_body.h for AVX-512; an empty unit elsewhere. */
#include "vec_impl.h"

#if defined(__x86_64__)
#define VEC_W 16
#define VEC_NAME "avx512"
#define VEC_TABLE vec_avx512
#include "vec_body.h"
#endif
