/* train_set_impl: what train_set*.c share. */
#ifndef R1_TRAIN_SET_IMPL_H
#define R1_TRAIN_SET_IMPL_H

#include "train_set.h"

struct train_set_layer {
	struct train_set *set;
	int i;			/* of cfg.layers */
	struct train_layer *t;
};

struct train_set {
	struct train_set_cfg cfg;
	struct train_work *work;
	struct train_set_layer *layer;	/* [n_layers] */
	struct train_stats *log;	/* [steps][n_layers] from step `logged` */
	size_t log_cap;
	uint64_t logged;	/* steps whose lines were handed out */
	uint64_t saved;		/* step of the last save */
	int generation;		/* that the manifest names; -1: none */
	/* token ids of the rows so far, as one number */
	uint64_t ids_n, ids_hash;
	uint64_t ids_mark;	/* at the latest whole batch */
	uint64_t want_n, want_hash;	/* a resumed run's */
};

/* train_set_files.c: writes the weights, and the state when it is to be kept,
 * and a manifest that says the run is done; drops other state. */
int train_set_mark_done(struct train_set *s, struct err *e);

#endif
