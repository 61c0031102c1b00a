/* The loops of vec_body.h for AVX2; an empty unit elsewhere. */
#include "vec_impl.h"

#if defined(__x86_64__)
#define VEC_W 8
#define VEC_NAME "avx2"
#define VEC_TABLE vec_avx2
#include "vec_body.h"
#endif
