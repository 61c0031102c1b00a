/*
 * eval_theta: thresholds that stand in for TopK.
 *
 * Programs without TopK can run a transcoder as JumpReLU, z = pre where pre >
 * theta: a latent is then active by its own value alone, whatever the others
 * do, so that rows have more or fewer than k. Thresholds are chosen on a text so
 * that as many latents are active there as under TopK: one for the layer, or
 * each latent's so that it fires as often as it did.
 * Source: arXiv:2407.14435 (JumpReLU), arXiv:2412.06410 (the same step, from
 * BatchTopK).
 */
#ifndef R1_EVAL_THETA_H
#define R1_EVAL_THETA_H

#include "eval.h"

/*
 * theta[i] [n_latents] (host) for the i-th of s, which are TopK's, from all of
 * t; o->skip and o->batch are used. each: a threshold for each latent. One that
 * TopK never let through gets the greatest value it had, if that is above the
 * layer's. ERR_FORMAT when t has no rows behind o->skip. Results do not depend on
 * the number of threads.
 */
int eval_theta_fit(const struct eval_opt *o, int each, struct model *m,
                   const struct eval_set *s, const struct eval_text *t,
                   float *const *theta, struct err *e);

/* Makes t JumpReLU's, with thresholds theta [n_latents]. */
int eval_theta_apply(struct tc *t, const float *theta, struct err *e);

#endif
