/*
 * dev_ref: the meaning of each op of dev.h as a plain loop over host arrays,
 * sums in double. Slow; backends are tested against these.
 */
#ifndef R1_DEV_REF_H
#define R1_DEV_REF_H

#include "dev.h"

void dev_ref_gemm(int ta, int tb, size_t m, size_t n, size_t k, float alpha,
                  const float *a, size_t lda, const float *b, size_t ldb,
                  float beta, float *c, size_t ldc);
/* w [d_out, d_in] already f32 */
void dev_ref_linear(const float *x, size_t n, const float *w, size_t d_out,
                    size_t d_in, const float *bias, float *out);
void dev_ref_rmsnorm(const float *x, size_t n, size_t dim, const float *w,
                     float eps, float *out, float *inv_rms);
void dev_ref_rope_table(const uint32_t *pos, size_t n, const float *inv_freq,
                        size_t d_head, float *cs);
void dev_ref_rope(float *x, size_t n, size_t n_heads, size_t d_head,
                  const float *cs);
void dev_ref_attention(const float *q, const float *k, const float *v,
                       const struct dev_seqs *s, const size_t *kv_start,
                       size_t n_heads, size_t n_kv, size_t d_head, float scale,
                       float *out);
void dev_ref_silu_mul(float *gate, const float *up, size_t n);
void dev_ref_xent(const float *logits, const float *ref, size_t n,
                  size_t n_vocab, const uint32_t *targets, double *ce,
                  double *kl, uint8_t *top1);

#endif
