/*
 * rec_labels: labels of latents, whoever made them: a stream labels/1, a database
 * of labeler's, or one with Goodfire's table autointerp and a column layer.
 */
#ifndef R1_REC_LABELS_H
#define R1_REC_LABELS_H

#include <jansson.h>
#include <stdint.h>

#include "err.h"

/* Takes a row, an object with the members of labels/1, which it may change. 0,
 * or -1 with e set. */
typedef int rec_labels_fn(void *ctx, json_t *row, struct err *e);

/* Gives fn each row of the stream or of the database's view `catalogue` or, where
 * that is not, of its table autointerp. Text that is no UTF-8 has U+FFFD. 0, or
 * -1 with ERR_IO, ERR_FORMAT naming the file and the record, or fn's. */
int rec_labels_read(const char *path, rec_labels_fn *fn, void *ctx,
                    struct err *e);

/* A label of a row. */
struct rec_label {
	uint32_t layer, latent;
	const char *text;	/* borrowed from the row */
	double score, quality;	/* -1: none */
	int rule;		/* whether a rule made it, no model */
};

/* 1, 0 when the row holds no label (it failed, or the latent is dead), or -1 with
 * ERR_FORMAT. The score is the mean of the balanced accuracies there are. */
int rec_label_of(const json_t *row, struct rec_label *l, struct err *e);

#endif
