/*
 * dev_attr_ref: the meaning of the ops of dev_attr.h as plain loops over host
 * arrays, sums in double. Slow; backends are tested against these.
 */
#ifndef R1_DEV_ATTR_REF_H
#define R1_DEV_ATTR_REF_H

#include "dev_attr.h"

void dev_attr_ref_patterns(const float *q, const float *k, size_t n,
                           size_t n_heads, size_t n_kv, size_t d_head,
                           float scale, float *p);
void dev_attr_ref_values_back(const float *p, const float *dz, size_t n,
                              size_t rows, size_t n_heads, size_t n_kv,
                              size_t d_head, float *dv);
void dev_attr_ref_values(const float *p, const float *v, size_t n,
                         size_t n_heads, size_t n_kv, size_t d_head,
                         float *out);
void dev_attr_ref_contract(const float *g, size_t n, size_t rows, size_t dim,
                           const struct dev_attr_src *s, const float *w,
                           const float *extra, float *out);

#endif
