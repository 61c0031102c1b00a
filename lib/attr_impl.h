/* attr_impl: what the files of attribution share and nobody else sees. */
#ifndef R1_ATTR_IMPL_H
#define R1_ATTR_IMPL_H

#include "attr.h"
#include "dev_attr.h"

/* ---- attr_rows.c: rows and where in them things stand ---- */

/* Sources by layer: a row of a target at (layer, pos) holds, for each lower
 * layer, its features at positions up to pos (a prefix of the layer's), then
 * pos + 1 errors; behind all layers pos + 1 tokens. */
struct attr_steps {
	size_t n_layers, n_pos;
	const size_t *end;	/* as attr_graph.end */
};
size_t attr_steps_first(const struct attr_steps *s, size_t layer);
size_t attr_steps_length(const struct attr_steps *s, size_t layer, size_t pos);

/* One run of a row: n sources from node `node` on. */
struct attr_run_of {
	size_t node, n;
	const float *w;
};
/* Runs of a row, 2 n_layers + 1 at most, into out; their number. Nodes are
 * numbered features, errors by layer, tokens; n_features of the first. */
size_t attr_steps_runs(const struct attr_steps *s, size_t n_features,
                       size_t layer, size_t pos, const float *row,
                       struct attr_run_of *out);

/* Rows that go to a file when they are more than some memory. */
struct attr_rows;
struct attr_rows *attr_rows_new(size_t mem_bytes, const char *scratch,
                                struct err *e);
void attr_rows_free(struct attr_rows *r);	/* NULL is legal */
/* A copy of n values becomes the next row. */
int attr_rows_add(struct attr_rows *r, const float *row, size_t n,
                  struct err *e);
/* Row i, until the next call. NULL with e set. */
const float *attr_rows_get(struct attr_rows *r, size_t i, struct err *e);

/* Row i is not wanted any more. */
void attr_rows_drop(struct attr_rows *r, size_t i);

/* ---- attr_set.c ---- */

/* The transcoder of a layer, NULL without e set when there is none; *own: to be
 * freed by the caller, not by the set. */
const struct tc *attr_set_get(struct attr_set *s, int layer, int *own,
                              struct err *e);
int attr_set_has(const struct attr_set *s, int layer);
/* Its skip connection, ready for model_frozen_linear_mlp; NULL: none. */
const struct tensor *attr_set_skip(const struct attr_set *s, int layer);

/* ---- attr.c ---- */

/* What a layer writes on this prompt. */
struct attr_layer {
	float *enc;		/* host [n_rows, d_model], or NULL: enc_all */
	float *dec;		/* device, the same; or NULL: dec_all */
	const float *enc_all, *dec_all;	/* the set's, device */
	uint32_t *row;		/* device, by feature from the layer's first */
	float *value;		/* the same */
	uint32_t *host_row;
	float *gain;		/* host, by feature: its encoder row is enc's
				 * times that; NULL: once */
	float *error;		/* device [n_pos, d_model] */
};

/* A target to be worked on. */
struct attr_want {
	uint32_t layer, pos;
	size_t node;		/* as attr_owner.node */
};

/* A row's owner. */
struct attr_owner {
	uint32_t layer, pos;
	size_t node;		/* feature's number, or n_features + target's */
	double sum;		/* of the row's magnitudes */
};

struct attr {
	struct model *model;
	struct attr_set *set;
	size_t neurons;			/* a position, where no transcoder is */
	struct model_frozen *frozen;
	size_t n;			/* positions */
	uint32_t *ids;
	struct attr_layer *layer;	/* [n_layers] */
	struct attr_feature *feature;
	size_t n_features, cap_features;
	size_t *end;
	float *embed;			/* device [n, d_model] */

	struct attr_target *target;
	float *target_vec;		/* host, [n_targets][d_model] */
	size_t n_targets, cap_targets, cap_vec;
	float *logits;			/* host, of one position */
	size_t logits_pos;		/* SIZE_MAX: none yet */

	struct attr_rows *rows;
	struct attr_owner *owner;	/* by row */
	size_t n_rows, cap_rows;
	uint8_t *done;			/* [n_features] */

	/* while a prompt is read */
	struct tc_codes codes;
	float *hat;			/* device [n, d_model] */
};

static inline struct attr_steps attr_steps_of(const struct attr *a)
{
	return (struct attr_steps){ model_cfg(a->model)->n_layers, a->n,
	                            a->end };
}

/* ---- attr_tile.c ---- */

enum { ATTR_TILE_ROWS = 256 };		/* targets of a tile, at most */

/* An attribution under way; zeros but for a, o and watch at first. */
struct attr_run {
	struct attr *a;
	const struct attr_opt *o;
	const struct attr_watch *watch;
	size_t n_done, total;
	struct attr_want *w;		/* chosen, and not done: n_left */
	size_t n_left;
	float *g;			/* device: a tile's gradients */
	float *contrib;			/* device: a layer's contributions */
	float *host;			/* the same */
	size_t g_bytes, contrib_bytes, cap_host;
	float *row[ATTR_TILE_ROWS], *fill[ATTR_TILE_ROWS];
	size_t len[ATTR_TILE_ROWS];
};

/* For qsort: high layers first; of a layer, late positions first. */
int attr_by_place(const void *x, const void *y);
/* How many of the n wanted, which are sorted so, make the next tile: of one
 * layer, within memory, and no more when the positions that the earlier ones
 * spare outweigh a tile. */
size_t attr_next_tile(const struct attr_run *r, const struct attr_want *w,
                      size_t n);
/* The rows of a tile's targets. */
int attr_tile(struct attr_run *r, const struct attr_want *w, size_t rows,
              struct err *e);
/* Frees what tiles worked in. */
void attr_tiles_end(struct attr_run *r);

/* Makes a row there is the next of a's: rows, owner, done. */
int attr_keep_row(struct attr *a, const struct attr_want *w, const float *row,
                  size_t n, struct err *e);

/* ---- attr_run.c ---- */

/* Drops all rows there are. */
int attr_run_begin(struct attr *a, const struct attr_opt *o, struct err *e);
/* The targets' rows. */
int attr_run_targets(struct attr_run *r, struct err *e);
/* How many features will be explained. */
size_t attr_max_features(const struct attr *a, const struct attr_opt *o);
/* Features of a turn: chosen among all, or all. */
size_t attr_turn(const struct attr_run *r, size_t max);
/* n more features into w. */
int attr_next_turn(const struct attr *a, size_t n, struct attr_want *w,
                   struct err *e);

/* ---- attr_plan.c ---- */

/* ERR_MEM when max features, of which w[n] are the first turn's, will take more
 * than there is. Sorts w. */
int attr_check_memory(const struct attr_run *r, struct attr_want *w, size_t n,
                      size_t max, struct err *e);

/* ---- attr_choose.c ---- */

/* The n features of greatest influence on the targets, along the rows there
 * are, of those without a row. */
int attr_choose(const struct attr *a, size_t n, struct attr_want *w,
                struct err *e);

/* ---- attr_neurons.c ---- */

/* The strongest neurons of a layer become its features; x [n, d_model] device,
 * what its MLP reads; written (host) what it writes, less theirs afterwards. */
int attr_take_neurons(struct attr *a, int layer, const float *x, float *written,
                      size_t n, struct err *e);
/* The input of a neuron that is a feature, as a target's vector. */
int attr_neuron_target(struct attr *a, uint32_t layer, uint32_t neuron,
                       size_t pos, float *v, struct err *e);
/* y [n, d_model] (device), what the layer's MLP writes from position base on,
 * under v's edits of its neurons; x (device): where their values are read. */
int attr_edit_neurons(struct attr *a, const struct attr_intervention *v,
                      int layer, const float *x, float *y, size_t base,
                      size_t n, struct err *e);

/* ---- attr_edit.c ---- */

/* What an edit makes of a value. */
static inline float attr_edit_value(const struct attr_edit *d, float old)
{
	return d->kind == ATTR_SET ? d->value
		: d->kind == ATTR_SCALE ? old * d->value : old + d->value;
}

/* ---- attr_state.c ---- */

/* What is done, and w[n] that was chosen and is not, into o->state; and back: 1
 * with *w (for mem_free) and *n, 0 when there is no such file, -1 (another
 * prompt's, other limits). */
int attr_state_save(struct attr *a, const struct attr_opt *o,
                    const struct attr_want *w, size_t n, struct err *e);
int attr_state_load(struct attr *a, const struct attr_opt *o,
                    struct attr_want **w, size_t *n, struct err *e);

/* The encoder row of feature i, host [d_model], into out. */
int attr_encoder(const struct attr *a, size_t i, float *out, struct err *e);

#endif
