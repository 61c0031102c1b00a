/*
 * label_decode: texts that a model goes on with, side by side.
 *
 * A token alone costs the reading of all weights; here one reading serves the
 * next tokens of all texts, and what they begin with alike is computed once, as
 * is what the texts of one call begin with like those of the call before.
 *
 * Texts go on under constraint, as servers do it with a JSON schema: what a form
 * fixes is put there, strings are the most likely tokens up to a quote, choices
 * the most likely of those allowed. Or it is told how much likelier what stands in
 * front of a text makes its tokens.
 */
#ifndef R1_LABEL_DECODE_H
#define R1_LABEL_DECODE_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "model.h"
#include "text.h"
#include "tok.h"

struct label_decode;

/* m and t are borrowed. n_ctx: the longest text with what comes behind it, at
 * most what the model takes. */
struct label_decode *label_decode_new(struct model *m, const struct tok *t,
                                      size_t n_ctx, struct err *e);
void label_decode_free(struct label_decode *d);

enum { LABEL_DECODE_MAX = 32 };

/* Texts that go side by side: LABEL_DECODE_MAX, fewer where their keys and values
 * would take more than 2 GiB. Depends on the model alone. */
size_t label_decode_at_once(const struct label_decode *d);

/* ---- texts that go on ---- */

enum {
	LABEL_LINE_STEPS = 144, LABEL_LINE_SAID = 2, LABEL_LINE_PICKS = 64
};

struct label_step {
	enum { LABEL_PUT, LABEL_SAY, LABEL_PICK } op;
	const char *text;		/* put */
	const char *const *word;	/* of n picked */
	int n;				/* tokens said, at most; words */
};

/* {0} at first. Its steps are taken in their order. */
struct label_line {
	const char *name;		/* for errors */
	uint32_t *ids;			/* the text, then what came behind it */
	size_t n, cap, n_text;
	size_t n_shared;		/* of them were not computed for it */
	struct label_step step[LABEL_LINE_STEPS];
	int n_steps;
	/* what came out, in the order of steps */
	char *said[LABEL_LINE_SAID];
	int n_said, picked[LABEL_LINE_PICKS], n_picked;
	struct label_line_now *now;	/* of the decoder */
};

void label_line_free(struct label_line *x);
/* Adds text; tok_encode's flags. */
int label_line_text(struct label_decode *d, struct label_line *x,
                    const char *s, size_t n, int flags, struct err *e);
void label_line_put(struct label_line *x, const char *text);
/* A string up to its closing quote, which is not put, n tokens at most. */
void label_line_say(struct label_line *x, int n);
/* The likeliest of n <= 32 words, token by token. */
void label_line_pick(struct label_line *x, const char *const *word, int n);

/* Takes 1 <= n <= label_decode_at_once lines, none empty, through all their steps. -1, ERR_RANGE
 * when one leaves the context. */
int label_decode_run(struct label_decode *d, struct label_line *x, size_t n,
                     struct err *e);

/* ---- what makes texts likelier ---- */

struct label_gain {
	const char *name;		/* for errors */
	const char *given, *plain;	/* what may stand in front of the text */
	const char *text;
	size_t n;			/* bytes, > 0 */
	/* out, of each token: nats by which it is likelier behind given than
	 * behind plain, and its first byte; for mem_free */
	double *gain;
	uint32_t *at;
	size_t n_tokens, n_computed;	/* the latter: for this alone */
};

/* Any number of them; what two have in common is computed once. -1, ERR_RANGE
 * when one is longer than the context. */
int label_decode_gain(struct label_decode *d, struct label_gain *g, size_t n,
                      struct err *e);

#endif
