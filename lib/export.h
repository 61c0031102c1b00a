/*
 * export: transcoders in the files of other programs.
 *
 * circuit-tracer: OUT/config.yaml and OUT/layer_N.safetensors for every layer,
 *   with W_enc and W_dec [n_latents, d], b_enc, b_dec, W_skip [d, d] and no
 *   other tensor (it refuses any), but for activation_function.threshold
 *   [n_latents] in the JumpReLU form. In config.yaml, `activation: topk` and k
 *   are read from a set on the Hub alone, by versions that know them; whatever
 *   has no threshold is run as ReLU else. The JumpReLU form means the same to
 *   every version.
 * SAELens: OUT/layer_N/{cfg.json,sae_weights.safetensors} with W_enc [d_in,
 *   n_latents], W_dec [n_latents, d_out], b_enc, b_dec, threshold and W_skip
 *   [d_out, d_in], of architecture jumprelu_skip_transcoder, jumprelu_transcoder
 *   or, of an autoencoder, jumprelu. It has no transcoder with TopK.
 *
 * Checked with circuit-tracer 0.5.0 and SAELens 6.54 (tests/oracle).
 */
#ifndef R1_EXPORT_H
#define R1_EXPORT_H

#include "err.h"
#include "tc.h"

enum export_format { EXPORT_CIRCUIT_TRACER, EXPORT_SAELENS };

struct export_opt {
	enum export_format format;
	const char *out;	/* folder, made if missing */
	const char *model;	/* name of the model, as those programs want it */
	const char *scan;	/* circuit-tracer's; NULL: none */
};

/* Whether the n transcoders, of the layers given, can be written so, all of them
 * TopK's or none; jump: with thresholds, which they need not have yet.
 * ERR_RANGE naming what stands in the way. */
int export_check(const struct export_opt *o, const int *layers,
                 struct tc *const *tc, int n, int jump, struct err *e);

/* Before the first layer: an older set's config.yaml goes, lest it stand beside
 * layers of two sets if the rest is never written. */
int export_begin(const struct export_opt *o, struct err *e);

/* One layer's files, each beside its name and renamed; with thresholds if t has
 * them. */
int export_layer(const struct export_opt *o, int layer, const struct tc *t,
                 struct err *e);

/* What stands beside the layers, to be written when they all are: config.yaml.
 * k 0: thresholds. */
int export_finish(const struct export_opt *o, uint32_t k, struct err *e);

#endif
