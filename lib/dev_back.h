/*
 * dev_back: the part of the device table (dev_ops->back) that goes back through
 * a decoder: gradients of what dev.h has forward and no matrix product gives.
 *
 * Conventions are dev.h's: row-major f32 in device memory, no pointer kept,
 * n = 0 legal, 0 or -1 with ERR_DEV, ERR_MEM or ERR_RANGE; equal bytes for any
 * number of threads. g is dL/d(output) throughout. Rotary positions go back by
 * dev_ops.rope with the angles negated. An op's meaning is the derivative of
 * the one it goes back through; tests hold it against difference quotients.
 */
#ifndef R1_DEV_BACK_H
#define R1_DEV_BACK_H

#include <stddef.h>

#include "err.h"

struct dev;
struct dev_seqs;

struct dev_back_ops {
	/* dx[n, dim] += the gradient of rmsnorm(x, w, eps), g [n, dim]; with
	 * add 0 dx is set. dx may be g then, not x. */
	int (*rmsnorm)(struct dev *d, const float *x, size_t n, size_t dim,
	               const float *w, float eps, const float *g, int add,
	               float *dx, struct err *e);

	/* Of dev_ops.attention over whole sequences (no cache): q, dq, g
	 * [n, n_heads, d_head]; k, v, dk, dv [n, n_kv, d_head], the three
	 * outputs set. */
	int (*attention)(struct dev *d, const float *q, const float *k,
	                 const float *v, const float *g,
	                 const struct dev_seqs *s, size_t n_heads, size_t n_kv,
	                 size_t d_head, float scale, float *dq, float *dk,
	                 float *dv, struct err *e);

	/* logits [n, n_vocab] become weight[i] (softmax(logits) -
	 * softmax(ref)), the gradient of sum weight[i] KL(softmax(ref) ||
	 * softmax(logits)). weight on the host. */
	int (*divergence)(struct dev *d, float *logits, const float *ref,
	                  size_t n, size_t n_vocab, const float *weight,
	                  struct err *e);
};

#endif
