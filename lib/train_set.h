/*
 * train_set: the transcoders of a model's layers in training together, and the
 * folder they live in.
 *
 *   OUT/layers.N.mlp/{cfg.json,sae.safetensors}   weights, as sparsify's
 *   OUT/config.json                               the run, as sparsify's
 *   OUT/state/manifest.json                       what holds, written last
 *   OUT/state/{0,1}/layers.N.safetensors          two generations of state
 *
 * A save writes the generation that the manifest does not name, then the
 * weights, then the manifest: whatever moment the process dies at, the manifest
 * names a whole generation. Layers are pushed rows separately but must stand at
 * the same row whenever the set is saved or asked for its lines.
 */
#ifndef R1_TRAIN_SET_H
#define R1_TRAIN_SET_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "dev.h"
#include "err.h"
#include "train.h"

enum { TRAIN_SET_LAYERS = 512 };

struct train_set_cfg {
	struct train_cfg train;		/* of each layer */
	int layers[TRAIN_SET_LAYERS];	/* ascending */
	int n_layers;
	const char *out;	/* folder, made if missing; borrowed */
	uint64_t save_every;	/* steps; 0: at the end only */
	uint64_t log_every;	/* steps a line of measurements stands for */
	int keep_state;		/* after the end, too */
	const char *loss;	/* as recorded, NULL: "fvu"; borrowed */
	/* What the rows are (header of the stream and what was left out of
	 * it): a resumed run must be given the same. Borrowed. */
	const char *input;
};

struct train_set;

/* Checks the configuration and makes the layers, none begun. An earlier run's
 * state under out stays until the first save. d is borrowed. */
struct train_set *train_set_new(const struct train_set_cfg *c, struct dev *d,
                                struct err *e);
void train_set_free(struct train_set *s);

/* Loads the state under out. 1: loaded, rows of the stream that are behind it
 * in *rows; 0: there is none. A run with another configuration or input is
 * ERR_FORMAT naming what differs. *done: that run reached its end. */
int train_set_resume(struct train_set *s, uint64_t *rows, int *done,
                     struct err *e);

/* Starts every layer from the weights in folder dir (tc_read's). */
int train_set_init(struct train_set *s, const char *dir, struct err *e);

/* The token ids of rows, in stream order, each row once (also those behind a
 * resumed run, which are not pushed again). ERR_FORMAT when a resumed run's
 * are not those that it was trained on. */
int train_set_ids(struct train_set *s, const uint32_t *ids, size_t n,
                  struct err *e);

/* Rows for the i-th of cfg.layers; see train_layer_push. */
int train_set_push(struct train_set *s, int i, const float *x, const float *y,
                   size_t n, struct err *e);

/* To be called when all layers have been given the same rows: hands out the
 * lines of the steps taken since, one for each step and layer (emit takes the
 * reference), and saves when save_every says so. emit may be NULL. */
typedef int train_emit_fn(void *ctx, json_t *line, struct err *e);
int train_set_settle(struct train_set *s, train_emit_fn *emit, void *ctx,
                     struct err *e);

/* Steps taken, and whether there are none left to take. */
uint64_t train_set_step(const struct train_set *s);
int train_set_finished(const struct train_set *s);
/* Mean over layers of the latest FVU; NAN before the first step. */
double train_set_fvu(const struct train_set *s);

/* Saves everything now. ERR_RANGE before the first step. */
int train_set_save(struct train_set *s, struct err *e);

/* The stream has ended or enough was taken: last steps, last lines, weights;
 * marks the run done and drops its state (unless keep_state). A stream that
 * ended before the steps asked for is saved and ERR_FORMAT. */
int train_set_finish(struct train_set *s, train_emit_fn *emit, void *ctx,
                     struct err *e);

/* Bytes of device memory the set needs. */
size_t train_set_bytes(const struct train_set_cfg *c);

#endif
