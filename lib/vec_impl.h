/* vec_impl: the tables that vec.c chooses from. */
#ifndef R1_VEC_IMPL_H
#define R1_VEC_IMPL_H

#include "vec.h"

extern const struct vec_ops vec_portable;
#if defined(__x86_64__)
extern const struct vec_ops vec_avx2, vec_avx512;
#endif

#endif
