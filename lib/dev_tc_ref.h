/*
 * dev_tc_ref: the meaning of the ops of dev_tc.h that carry the mathematics, as
 * plain loops over host arrays, sums in double. Slow; backends are tested
 * against these.
 */
#ifndef R1_DEV_TC_REF_H
#define R1_DEV_TC_REF_H

#include "dev_tc.h"

/* As dev_tc_ops.encode; ERR_MEM. */
int dev_tc_ref_encode(const float *x, size_t n, size_t d_in, const float *w,
                      const float *b, size_t n_latents, const uint32_t *ids,
                      struct dev_tc_codes *out, struct err *e);

/* out[n, dim] += sum of value * w[latent] */
void dev_tc_ref_decode(const struct dev_tc_codes *c, const float *w,
                       size_t dim, double *out);

/* out[n, d_out] += x W^T */
void dev_tc_ref_skip_add(const float *x, size_t n, size_t d_in, const float *w,
                         size_t d_out, double *out);

/* out[d_out, d_in] += g^T x */
void dev_tc_ref_skip_grad(const float *g, size_t n, size_t d_out,
                          const float *x, size_t d_in, double *out);

/* What dev_tc_ops.step_latents gives its optimiser: enc [n_latents, d_in],
 * bias [n_latents], dec [n_latents, d_out], zeroed by the caller. w_dec
 * [n_latents, d_out]. */
void dev_tc_ref_gradients(const struct dev_tc_part *parts, size_t n_parts,
                          const float *x, const float *g, const float *w_dec,
                          size_t d_in, size_t d_out, double *enc,
                          double *bias, double *dec);

/* One value's step by o with gradient g; s1 and s2 as dev_tc_param's. */
void dev_tc_ref_step(const struct dev_tc_opt *o, double g, double *w,
                     double *s1, double *s2);

#endif
