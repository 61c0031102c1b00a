/*
 * model_back: gradients through a model whose MLPs are left to somebody else.
 *
 * A forward pass keeps what the way back needs; the way back carries dL/d(residual
 * stream) from the last layer to the first, through attention (scores, not
 * frozen patterns), norms and residual adds in full. At each MLP it calls, with
 * x, what the MLP read, and g = dL/dy, y what the tap of the forward pass
 * left there; the callee says what goes on to x. Nothing reaches the model's own
 * weights.
 *
 * Memory: two rows of d_model floats a layer and position, and some that do not
 * grow with the layers. Everything else is computed again on the way.
 */
#ifndef R1_MODEL_BACK_H
#define R1_MODEL_BACK_H

#include "model.h"

struct model_back;

/* Room for batches of n_rows. ERR_RANGE when the model's weights are not held
 * as f32 (models too large for that stay as stored). m is borrowed. */
struct model_back *model_back_new(struct model *m, size_t n_rows,
                                  struct err *e);
void model_back_free(struct model_back *b);

/* As model_forward through all layers with a run of m that has room for the
 * batch; the residual stream behind the last is in model_resid(r). */
int model_back_forward(struct model_back *b, struct model_run *r,
                       const struct model_batch *batch, model_tap_fn *tap,
                       void *ctx, struct err *e);

/* x [n, d_model] mlp_in, g [n, d_model] dL/dy, both device memory and read
 * only; dx [n, d_model] is zero: to receive dL/dx through y, zero where y did
 * not depend on x or is held fixed. Non-zero stops and is returned. */
typedef int model_back_fn(void *ctx, int layer, const float *x, const float *g,
                          float *dx, size_t n, struct err *e);

/* From g [n, d_model] (device), dL/d(residual stream behind the last layer), of
 * the batch last run forward, which must still be there; g becomes dL/d(the
 * embeddings' rows). fn is called from the last layer to the first. */
int model_back_run(struct model_back *b, const struct model_batch *batch,
                   float *g, model_back_fn *fn, void *ctx, struct err *e);

/*
 * As model_ce, and the gradient of the divergence's mean over the rows that
 * have a target: g [n, d_model] (device) receives d(mean KL)/d(resid).
 */
int model_back_ce(const struct model_ref *f, struct model_run *r,
                  const float *resid, size_t n, const uint32_t *targets,
                  double *ce, double *kl, uint8_t *top1, float *g,
                  struct err *e);

#endif
