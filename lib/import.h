/*
 * import: transcoders out of other programs' files (export.h).
 *
 * circuit-tracer: DIR/config.yaml and DIR/layer_N.safetensors. With activation
 *   topk and k there it is TopK's; otherwise the thresholds are what the files
 *   hold, or, where they hold none (ReLU), as good as 0.
 * SAELens: DIR/layer_N/{cfg.json,sae_weights.safetensors} of architecture
 *   jumprelu_skip_transcoder, jumprelu_transcoder or jumprelu.
 *
 * A set with thresholds does not say how many latents are active; the caller
 * must, and the transcoder keeps tc_slots of that many at most.
 */
#ifndef R1_IMPORT_H
#define R1_IMPORT_H

#include "err.h"
#include "tc.h"

struct import;

/* Looks at dir (borrowed): which program's it is, which layers there are. k: mean
 * active latents where the files don't say, 0: unknown. NULL with ERR_FORMAT,
 * ERR_IO or ERR_MEM. */
struct import *import_open(const char *dir, uint32_t k, struct err *e);
void import_free(struct import *m);

/* The layers, ascending; n of them. */
const int *import_layers(const struct import *m, int *n);

/* One layer in d's memory. Shapes are checked against each other; values that
 * are not finite, thresholds below 0, a k that is not known are ERR_FORMAT. */
struct tc *import_read(const struct import *m, int layer, struct dev *d,
                       struct err *e);

#endif
