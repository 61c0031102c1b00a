/*
 * browse: what latents do, as a folder that a web browser shows.
 *
 * The folder needs no server and nothing from outside it:
 *
 *   index.html        style and program; #/12/345 is the address of a latent
 *   data/corpus.js    the model, the corpus' totals, a summary of each layer
 *   data/vocab.js     the text of each token
 *   data/12/index.js  layer 12: a row for each latent, and what holds of all
 *   data/12/3.js      its latents 192 to 255: statistics and contexts
 *
 * Data are calls R1.name(JSON) in ASCII, so that a page opened from a disk may
 * load them, which it may not do with JSON. Bytes that are no UTF-8 stand in
 * strings as U+DC80 to U+DCFF (Python's surrogateescape).
 *
 * Memory is that of the labels, of one layer's rows and of one file of latents.
 */
#ifndef R1_BROWSE_H
#define R1_BROWSE_H

#include <stddef.h>

#include "err.h"
#include "examples.h"
#include "tok.h"

/* ---- labels ---- */

struct browse_labels;

/* Labels of what rec_labels_read takes. Only those that are there: no failed
 * ones. NULL with e set. */
struct browse_labels *browse_labels_open(const char *path, struct err *e);
void browse_labels_free(struct browse_labels *l);

/* ---- the folder ---- */

enum { BROWSE_PER_FILE = 64 };	/* latents of a file */

struct browse_opt {
	const char *title;
	const struct tok *tok;		/* the examples' tokenizer */
	const struct browse_labels *labels;	/* or NULL */
	size_t n_top, n_sample;		/* contexts shown of each list, at most */
};

/* Reads all of in, whose head is h, into the folder dir. It appears whole, under
 * its name, at the end; one that this function made is replaced, anything else
 * there is an error (ERR_IO). 0 or -1. */
int browse_write(const char *dir, struct examples_in *in,
                 const struct examples_head *h, const struct browse_opt *o,
                 struct err *e);

#endif
