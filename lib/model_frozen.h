/*
 * model_frozen: a model held still on one prompt, so that it can be gone
 * through backwards: attention patterns and the scales of the norms keep the
 * values they had, and what is left of attention and norms is linear in the
 * residual stream. MLPs are not here: what stands for one is the caller's.
 *
 * Gradients are those of `rows` targets, position by position: [n, rows,
 * d_model] in device memory, n <= tokens of the prompt. Position 0 is the
 * prompt's first: nothing after position n - 1 reaches a target that lies
 * before it.
 */
#ifndef R1_MODEL_FROZEN_H
#define R1_MODEL_FROZEN_H

#include "model.h"

struct model_frozen;

/* Runs ids[n] (checked: 1 .. n_ctx tokens below n_vocab) through all layers and
 * keeps what freezes. tap as in model_forward: it sees each MLP's input and
 * output. Copies the weights of values and outputs as f32, and keeps queries
 * and keys. NULL with e set; a tap's refusal too. */
struct model_frozen *model_frozen_new(struct model *m, const uint32_t *ids,
                                      size_t n, model_tap_fn *tap, void *ctx,
                                      struct err *e);
void model_frozen_free(struct model_frozen *f);	/* NULL is legal */

/* Runs the same model on another prompt, keeping the weights' copies. */
int model_frozen_set(struct model_frozen *f, const uint32_t *ids, size_t n,
                     model_tap_fn *tap, void *ctx, struct err *e);

/* logits[n_vocab] (host) at a position. */
int model_frozen_logits(struct model_frozen *f, size_t pos, float *logits,
                        struct err *e);

enum model_held { MODEL_HELD_NOTHING, MODEL_HELD_PATTERNS, MODEL_HELD_ALL };

/* Runs the prompt once more, keeping attention patterns, or these and the
 * scales of all norms, as they were; tap may replace MLPs. logits[n_vocab]
 * (host) are those at pos. What f keeps stays as it is. */
int model_frozen_rerun(struct model_frozen *f, enum model_held held,
                       model_tap_fn *tap, void *ctx, size_t pos, float *logits,
                       struct err *e);

/* Bytes of device memory that the two below need for n positions of rows, the
 * patterns and temporaries included. */
size_t model_frozen_bytes(const struct model *m, size_t n, size_t rows);

/* g [n, rows, d_model]: from the stream behind the attention of `layer` to the
 * stream that enters it. */
int model_frozen_attention(struct model_frozen *f, int layer, size_t n,
                           size_t rows, float *g, struct err *e);

/* g += what comes through a linear map of an MLP's input to its output, mlp_in
 * W^T; w_back is that W as model_frozen_turn_mlp gives it. */
int model_frozen_linear_mlp(struct model_frozen *f, int layer,
                            const struct tensor *w_back, size_t n, size_t rows,
                            float *g, struct err *e);

/* v (host, [d_model]): a gradient at mlp_in of `layer` (n_layers: at the input
 * of the unembedding), position pos, becomes one at the stream. */
int model_frozen_enter(const struct model_frozen *f, int layer, size_t pos,
                       float *v, struct err *e);

/* W [d_model, d_model] (device) turned round and scaled by the weights of the
 * norm in front of the layer's MLP; *own is its memory, for release. */
int model_frozen_turn_mlp(const struct model *m, int layer, const float *w,
                          struct tensor *out, void **own, struct err *e);

/* out[i] = unembedding row of ids[i] less the mean of all rows, [n, d_model],
 * host. */
int model_unembed_centred(struct model_frozen *f, const uint32_t *ids,
                          size_t n, float *out, struct err *e);
/* Rows of the embedding, device. */
int model_embed_rows(const struct model *m, const uint32_t *ids, size_t n,
                     float *out, struct err *e);

#endif
