/*
 * rows: the rows that transcoders learn from, out of a stream: activations as
 * stored (acts/1), or tokens (tokens/1) run through a model on the way. Both
 * give a train_feed the same rows in the same order, to the bit where the stored
 * ones are f32.
 */
#ifndef R1_ROWS_H
#define R1_ROWS_H

#include <signal.h>
#include <stddef.h>

#include "dev.h"
#include "err.h"
#include "log.h"
#include "train_feed.h"

struct rows_opt {
	const char *model;	/* folder or file for tokens; NULL: none given */
	const char *layers;	/* "all" or a list of ranges */
	size_t skip;		/* first positions of a sequence left out */
	size_t forward;		/* tokens that run through the model together,
				 * at least; whole sequences */
	const char *precision;	/* dev_set_precision, for the model and what
				 * learns; auto: model_precision, f32 for stored
				 * rows; NULL: the device stays as it is */
	struct log log;		/* says what the model is; fn NULL: nothing */
	const volatile sig_atomic_t *stop;	/* NULL: nothing stops it */
};

struct rows;

/* Opens the stream ("-": standard input), whose kind decides, and the model for
 * tokens. o and d are borrowed. ERR_USAGE when tokens come without a model or
 * layers do not exist. */
struct rows *rows_open(const char *path, const struct rows_opt *o,
                       struct dev *d, struct err *e);
void rows_free(struct rows *r);

/* What the stream gives: layers ascending, widths, and a line that says what
 * rows these are, for the state of a run. Valid while r is. */
struct rows_shape {
	const int *layers;
	int n_layers;
	uint32_t d_in, d_out;
	const char *input;
};
void rows_shape(const struct rows *r, struct rows_shape *s);

/* Every row to f, to the end of the stream or until no run wants more, whatever
 * is first; the rest is read all the same, so that a cut stream is noticed and
 * its writer lives. 1: every run is at its end; 0: the stream ended before.
 * When *stop is not 0 between two blocks or while the stream is waited for, the
 * runs that are not at their end are saved and ERR_STOP is set. */
int rows_run(struct rows *r, struct train_feed *f, struct err *e);

#endif
