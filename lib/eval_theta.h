/*
 * eval_theta: thresholds that stand in for TopK.
 *
 * Programs without TopK can run a transcoder as JumpReLU, z = pre where pre >
 * theta: a latent is then active by its own value alone, whatever the others
 * do, so that rows have more or fewer than k. One theta a layer is chosen so
 * that as many latents are active as under TopK, k a row in the mean. What the
 * change costs is measured on other rows than theta was chosen on.
 * Source: arXiv:2407.14435 (JumpReLU), arXiv:2412.06410 (the same step, from
 * BatchTopK).
 */
#ifndef R1_EVAL_THETA_H
#define R1_EVAL_THETA_H

#include "eval.h"

struct eval_theta {
	float theta;
	size_t rows_fit, rows;	/* theta was chosen on, measured on */
	/* on the measured rows, as TopK and as JumpReLU */
	double l0_topk, fvu_topk, l0, fvu;
};

/*
 * The first half of t's tokens (cut at a sequence) is for choosing, the rest
 * for measuring; o->skip and o->batch are used, o->fvu_tokens says how much of
 * t (0: all). out[s->n] as in the set. k is each transcoder's own. ERR_FORMAT
 * when either half has no rows. Results do not depend on the number of threads.
 */
int eval_theta_run(const struct eval_opt *o, struct model *m,
                   const struct eval_set *s, const struct eval_text *t,
                   struct eval_theta *out, struct err *e);

#endif
