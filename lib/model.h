/*
 * model: Qwen2, Qwen3 and Llama decoders: weights and the forward pass.
 *
 * Vectors are rows. Names follow the field: resid is the residual stream,
 * mlp_in the RMSNorm output entering an MLP (TransformerLens mlp.hook_in),
 * mlp_out what the MLP adds to the stream (mlp.hook_out).
 */
#ifndef R1_MODEL_H
#define R1_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "dev.h"
#include "err.h"
#include "log.h"
#include "tensor.h"

struct model;

enum model_arch { MODEL_LLAMA, MODEL_QWEN2, MODEL_QWEN3 };

struct model_cfg {
	enum model_arch arch;
	uint32_t n_layers, d_model, d_mlp, n_vocab;
	uint32_t n_heads, n_kv_heads, d_head;
	uint32_t n_ctx;			/* trained context */
	float norm_eps;
	int qk_norm, tied;		/* tied: unembedding is the embedding */
	uint32_t bos, eos;		/* UINT32_MAX: none */
	char fingerprint[65];		/* sha256 hex, see model.c */
	char name[128];
};

/* path: a Hugging Face folder or a .gguf file. Weights are mapped where the
 * dtype allows; d is borrowed and must outlive the model. Every shape is
 * checked against the configuration before use. */
struct model *model_open(const char *path, struct dev *d,
                         const struct log *log, struct err *e);
void model_free(struct model *m);
/* The configuration alone, without weights: of what model_open takes, or of a
 * config.json. fingerprint is empty. */
int model_cfg_read(const char *path, struct model_cfg *c, struct err *e);
const struct model_cfg *model_cfg(const struct model *m);
struct dev *model_dev(const struct model *m);

/* The numbers in a layer's matrices, and in all of the model's. */
double model_layer_values(const struct model_cfg *c);
double model_values(const struct model_cfg *c);

/*
 * What a model will take on d, the CPU, at d's precision, before it is opened:
 * path as for model_open, or a configuration without weights, which then are
 * taken for f32 where all of them take 2 GiB at most, else for bf16.
 */
struct model_need {
	double weights;		/* bytes: files mapped, what comes of them */
	double packed;		/* operands of a pass over n_rows tokens (dev.h,
				 * linear_keeps) */
	enum dtype type;	/* of a layer's matrices, as products get them */
};
int model_need(const char *path, struct dev *d, size_t n_rows,
               struct model_need *need, struct err *e);

/* Of DEV_PRECISIONS the one by this name; by "auto" the one to train with, before
 * the model is opened: q8 where d then multiplies the weights of its layers as they
 * are stored, in 4 bits, else f32, as with path NULL. NULL with e set. */
const char *model_precision(const char *name, const char *path, struct dev *d,
                            struct err *e);

/* Whether the model can run the n ids as one sequence; ERR_FORMAT saying why it
 * cannot. */
int model_takes(const struct model_cfg *c, const uint32_t *ids, size_t n,
                struct err *e);

/* A batch of whole sequences laid end to end. */
struct model_batch {
	const uint32_t *ids;	/* host, n tokens, each < n_vocab (checked) */
	size_t n;
	const size_t *start;	/* n_seqs + 1 row numbers, start[0] = 0 */
	size_t n_seqs;
};

/*
 * Called between an MLP and the residual add. x [n, d_model] is mlp_in, y
 * [n, d_model] mlp_out, both in device memory; y may be overwritten to replace
 * the MLP. Non-zero stops the pass and is returned (e set by the callee).
 */
typedef int model_tap_fn(void *ctx, int layer, const float *x, float *y,
                         size_t n, struct err *e);

/* Scratch for batches up to n_rows tokens; reused between calls. */
struct model_run;
struct model_run *model_run_new(struct model *m, size_t n_rows,
                                struct err *e);
void model_run_free(struct model_run *r);
/* Bytes of device memory that it takes. */
double model_run_bytes(const struct model_cfg *c, size_t n_rows);

/* Runs embedding and layers 0..last over the batch. tap may be NULL. Leaves
 * the residual stream after layer `last` in model_resid. */
int model_forward(struct model_run *r, const struct model_batch *b, int last,
                  model_tap_fn *tap, void *ctx, struct err *e);

/* As model_forward, for what MLPs read: of layer `last` the MLP is left out, its
 * tap gets y NULL and nothing is added to the residual stream. */
int model_forward_reads(struct model_run *r, const struct model_batch *b,
                        int last, model_tap_fn *tap, void *ctx,
                        struct err *e);

/* Goes on from a residual stream that entered layer `first` (device, [n,
 * d_model], e.g. a copy of model_resid): runs layers first..last. */
int model_forward_from(struct model_run *r, const struct model_batch *b,
                       const float *resid, int first, int last,
                       model_tap_fn *tap, void *ctx, struct err *e);

/* [n, d_model] device, valid until the next run. */
float *model_resid(struct model_run *r);

/* Runs all layers over the batch; out [n_seqs, d_model] (host) receives the mean
 * over each sequence's tokens of what leaves the final norm (transformers'
 * last_hidden_state). Leaves the residual stream in model_resid. */
int model_pool(struct model_run *r, const struct model_batch *b, float *out,
               struct err *e);

/* Final norm and unembedding of n rows of resid -> logits [n, n_vocab], both
 * device memory. */
int model_logits(struct model_run *r, const float *resid, size_t n,
                 float *logits, struct err *e);

/*
 * The unchanged model's predictions for a batch, which every variant of it is
 * compared with (model_ce.c). Holds the logits of up to n_rows rows, n_rows *
 * n_vocab floats of device memory, and a block of a variant's.
 */
struct model_ref;
struct model_ref *model_ref_new(struct model *m, size_t n_rows,
                                struct err *e);
void model_ref_free(struct model_ref *f);

/* Fills f from n rows of resid [n, d_model] (device). ce[n] (host) receives
 * the next-token cross-entropy in nats of each row against targets[i] (host;
 * UINT32_MAX: skip, ce 0). */
int model_ref_set(struct model_ref *f, struct model_run *r,
                  const float *resid, size_t n, const uint32_t *targets,
                  double *ce, struct err *e);

/* The same of a variant's rows, the n that f holds; besides, kl[n] (host)
 * receives KL(f || this) in nats and top1[n] whether the arg-maxes agree. */
int model_ce(const struct model_ref *f, struct model_run *r,
             const float *resid, size_t n, const uint32_t *targets,
             double *ce, double *kl, uint8_t *top1, struct err *e);

/* ---- generation with a KV cache ---- */

struct model_gen;
struct model_gen *model_gen_new(struct model *m, size_t max_ctx,
                                struct err *e);
void model_gen_free(struct model_gen *g);
/* Feeds n ids (the prompt, then one by one); logits [n_vocab] on the host
 * receive those of the last. tap as in model_forward, or NULL. */
int model_gen_feed(struct model_gen *g, const uint32_t *ids, size_t n,
                   float *logits, model_tap_fn *tap, void *ctx,
                   struct err *e);
/* Forgets all but the first n tokens fed: another text with the same beginning
 * goes on from there, any other from 0. */
void model_gen_cut(struct model_gen *g, size_t n);

/*
 * Several texts side by side. One alone is bound by the reading of the weights
 * for each token; here one reading serves the next tokens of all.
 */
struct model_many;
/* Each text has room for max_ctx tokens. */
struct model_many *model_many_new(struct model *m, size_t n_texts,
                                  size_t max_ctx, struct err *e);
void model_many_free(struct model_many *g);
size_t model_many_n(const struct model_many *g, size_t text);	/* its tokens */
/* Text `text` forgets all but its first n tokens. */
void model_many_cut(struct model_many *g, size_t text, size_t n);
/* It becomes the first n tokens of text `from`. */
int model_many_share(struct model_many *g, size_t text, size_t from, size_t n,
                     struct err *e);

/* What comes behind a text, and what is wanted of it. */
struct model_more {
	size_t text;			/* each at most once in a call */
	const uint32_t *ids;		/* n > 0 */
	size_t n;
	float *logits;			/* host, [n_vocab]: of the last; or NULL */
	const uint32_t *targets;	/* [n], UINT32_MAX: none; or NULL */
	double *ce;			/* [n], nats, of targets; 0 for none */
};
int model_many_feed(struct model_many *g, const struct model_more *more,
                    size_t n, struct err *e);

#endif
