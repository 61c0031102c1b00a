/*
 * tc: one transcoder (or SAE): weights, checkpoint files, encode and decode.
 *
 *   pre = W_enc x + b_enc;  z = TopK_k(relu(pre));
 *   y^  = W_dec^T z + W_skip x + b_dec
 *
 * An autoencoder (transcode 0) encodes x - b_dec in place of x, as sparsify's do.
 *
 * Two variants have thresholds in place of TopK: a latent is active where its
 * pre is above its threshold (> 0), and z = pre there. Of BatchTopK's latents
 * all have the same one, JumpReLU's have one each.
 *
 * Checkpoints are sparsify's: DIR/layers.N.mlp/{cfg.json,sae.safetensors} with
 * encoder.weight [n_latents, d_in], encoder.bias, W_dec [n_latents, d_out],
 * b_dec, W_skip [d_out, d_in] (absent: none). A variant adds its name to
 * cfg.json as "variant" ("activation" stays topk, and sparsify, which knows no
 * other member, runs it as TopK of k) and thresholds.safetensors with
 * threshold [n_latents]. Source: arXiv:2406.11944 (transcoders),
 * arXiv:2406.04093 (TopK), arXiv:2501.18823 (skip), arXiv:2412.06410
 * (BatchTopK), arXiv:2407.14435 (JumpReLU).
 */
#ifndef R1_TC_H
#define R1_TC_H

#include <stddef.h>
#include <stdint.h>

#include "dev.h"
#include "err.h"

enum tc_variant { TC_TOPK, TC_BATCHTOPK, TC_JUMPRELU };

struct tc_cfg {
	uint32_t d_in, d_out, n_latents, k;
	int skip;		/* has W_skip */
	int transcode;		/* 0: an autoencoder of its input */
	int normalize_decoder;
	int multi_topk;
	enum tc_variant variant;	/* k is then the mean trained for */
	uint32_t expansion;	/* as cfg.json says; 0 when it says nothing */
};

/* Weights in device memory. */
struct tc {
	struct tc_cfg cfg;
	float *w_enc, *b_enc;	/* [n_latents, d_in], [n_latents] */
	float *w_dec, *b_dec;	/* [n_latents, d_out], [d_out] */
	float *w_skip;		/* [d_out, d_in] or NULL */
	float *threshold;	/* [n_latents], NULL: TopK */
	struct dev *dev;	/* borrowed */
};

/* Weights zeroed. NULL with e set. */
struct tc *tc_new(const struct tc_cfg *c, struct dev *d, struct err *e);
void tc_free(struct tc *t);

/* Reads DIR/layers.LAYER.mlp. Shapes and cfg are checked against each other
 * and against d_in, d_out (0: any); NaN or infinity is ERR_FORMAT. */
struct tc *tc_read(const char *dir, int layer, uint32_t d_in, uint32_t d_out,
                   struct dev *d, struct err *e);
/* Writes DIR/layers.LAYER.mlp: both files beside their names, fsynced, then
 * renamed. */
int tc_write(const struct tc *t, const char *dir, int layer, struct err *e);
/* Layers that DIR holds, ascending, into layers[max]; how many, or -1. */
int tc_layers(const char *dir, int *layers, int max, struct err *e);

/* "topk", "batchtopk", "jumprelu" */
const char *tc_variant_name(enum tc_variant v);

/* Slots a row's codes take when no k is given: TopK's k; of the variants
 * 4 k, at most n_latents, while no row has more active latents. */
uint32_t tc_slots(const struct tc_cfg *c);

/* Sparse activations of n rows, host memory, row-major [n, k]: latents
 * descending by value (ties: lower latent first); entries past a row's active
 * count have value 0 and latent UINT32_MAX. */
struct tc_codes {
	uint32_t *latent;
	float *value;
	size_t n, k;
	size_t cap[2];		/* entries there is room for in each */
};
void tc_codes_free(struct tc_codes *c);

/* Encodes x [n, d_in] (device). codes is zeros or an earlier call's; its arrays
 * grow as needed, for tc_codes_free. With a k exactly TopK of relu(pre), whatever
 * the variant; without (0), as the transcoder was trained, and of a variant every
 * latent above its threshold: codes->k is doubled until no row is cut. */
int tc_encode(const struct tc *t, const float *x, size_t n, size_t k,
              struct tc_codes *codes, struct err *e);
/* Adds threshold[n_latents] to the values of one row's k slots, which a bias
 * less the thresholds gave, and puts the slots in order again. */
void tc_add_thresholds(const float *threshold, uint32_t *latent, float *value,
                       size_t k);
/* out [n, d_out] (device) = W_dec^T z + W_skip x + b_dec */
int tc_decode(const struct tc *t, const float *x,
              const struct tc_codes *codes, float *out, struct err *e);

#endif
