/* model_impl: what the files of the model share and nobody else sees. */
#ifndef R1_MODEL_IMPL_H
#define R1_MODEL_IMPL_H

#include "gguf.h"
#include "model.h"
#include "safet.h"

/* What a configuration says about rotary positions. */
struct model_rope {
	enum { ROPE_DEFAULT, ROPE_LINEAR, ROPE_LLAMA3 } type;
	double theta, factor;
	double low_freq_factor, high_freq_factor;	/* llama3 */
	double original_ctx;				/* llama3 */
};

enum {
	MODEL_Q, MODEL_K, MODEL_V, MODEL_O, MODEL_GATE, MODEL_UP, MODEL_DOWN,
	MODEL_N_WEIGHTS
};

struct model_layer {
	struct tensor w[MODEL_N_WEIGHTS];	/* device memory */
	float *bias[MODEL_N_WEIGHTS];		/* f32, or NULL */
	float *attn_norm, *mlp_norm;		/* [d_model] */
	float *q_norm, *k_norm;			/* [d_head], or NULL */
};

struct model {
	struct model_cfg cfg;
	struct model_rope rope;
	size_t expand_bytes;	/* weights become f32 if they fit, see load */
	int biased;		/* configuration asks for biases of q k v */
	int biased_o;		/* and of o */
	struct dev *dev;
	struct safet *safet;	/* one of the two */
	struct gguf *gguf;
	struct tensor embed, unembed;
	float *final_norm;
	float *inv_freq;	/* host, [d_head / 2] */
	struct model_layer *layers;
	void **owned;		/* device memory to release */
	size_t n_owned, cap_owned;
};

/* model_open with the limit given: what large models take, for tests. */
struct model *model_open_within(const char *path, struct dev *d,
                                const struct log *log, size_t expand_bytes,
                                struct err *e);

/* model_cfg.c: fill m->cfg, rope and biased from a folder's config.json or a
 * GGUF's metadata (m->gguf); refuse what the forward pass doesn't do. */
int model_cfg_read_hf(struct model *m, const char *folder, struct err *e);
int model_cfg_read_gguf(struct model *m, struct err *e);
/* A model's name: the last part of path, without a trailing slash, .gguf or
 * .json; of a config.json its folder's. */
void model_cfg_name(struct model_cfg *c, const char *path);

/* model_load.c: find, check and place every weight; inv_freq; fingerprint. */
int model_load(struct model *m, const struct log *log, struct err *e);
/* As far as types and shapes of matrices go, which have no data then: bytes that
 * they take, of files and of memory. Without m's files, too. */
int model_load_sizes(struct model *m, double *bytes, struct err *e);

/* model.c: one layer over rows 0..n of r's residual stream. New keys and
 * values go to k and v, and, where `to` is given, those of sequence i on to row
 * to[i] and following of keep_k and keep_v; attention sees sequence i's from row
 * start[i] of k_all and v_all on. */
struct model_kv {
	float *k, *v;
	const float *k_all, *v_all;
	const size_t *start;	/* NULL: as the sequences lie */
	float *keep_k, *keep_v;
	const size_t *to;
};
int model_run_layer(struct model_run *r, int layer, size_t n,
                    const struct dev_seqs *s, const struct model_kv *kv,
                    model_tap_fn *tap, void *ctx, struct err *e);
/* What a pass over one sequence of n tokens leaves behind besides, all in
 * device memory: q [n_layers, n, n_heads d_head] and k [.., n_kv_heads d_head]
 * as attention saw them, 1 / rms of what entered each norm [n_layers, n]. */
struct model_keep {
	size_t n;
	float *q, *k, *attn_scale, *mlp_scale;
};
void model_run_keep(struct model_run *r, const struct model_keep *keep);

/* What a pass over the same n tokens takes from an earlier one. */
struct model_hold {
	const struct model_keep *keep;
	int scales;		/* of the norms too, not patterns alone */
	float *p;		/* device scratch [n_heads, n, n] */
};
void model_run_hold(struct model_run *r, const struct model_hold *hold);
/* Embeds ids into the residual stream and makes the table of angles. */
int model_run_begin(struct model_run *r, const uint32_t *ids, size_t n,
                    const struct dev_seqs *s, struct err *e);

#endif
