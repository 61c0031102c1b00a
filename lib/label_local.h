/*
 * label_local: requests answered by a model that runs here.
 *
 * A prompt goes through the model's chat template and its form is decoded under
 * constraint (label_decode), so an answer has its form, and nothing else speaks
 * for it.
 *
 * Small models can hardly say whether a label fits a text, so where a prompt has
 * parts @given and @plain it is measured: how much likelier does @given, which
 * names the label, make the tokens of a text than @plain? (Pointwise mutual
 * information; delphi's surprisal scorer compares the same two.) Of the items of a
 * request the half is said to have the latent that gains most, in two neighbouring
 * tokens, or in the marked tokens over the others; all who answer prompts are told
 * that it is about half. And of the model's own label and those in @candidate that
 * one is the answer under which the marked tokens of the contexts shown gain most
 * over the others; tags and marks are what the model says behind its own. A body's
 * member "fit" holds what was measured.
 */
#ifndef R1_LABEL_LOCAL_H
#define R1_LABEL_LOCAL_H

#include <stddef.h>

#include "err.h"
#include "label.h"
#include "model.h"
#include "tok.h"

struct label_local;

/* m and t, its tokenizer, are borrowed. n_ctx: the longest prompt with its
 * answer. NULL with e set; ERR_FORMAT when the tokenizer has the tokens of no
 * template. */
struct label_local *label_local_new(struct model *m, const struct tok *t,
                                    size_t n_ctx, struct err *e);
void label_local_free(struct label_local *l);

/* How many requests label_local_answer takes at once. */
size_t label_local_at_once(const struct label_local *l);

/* The answers to n >= 1 requests of one kind, in the shape of Anthropic's messages
 * with their usage: body[i], len[i] bytes, for mem_free. ERR_RANGE when one is
 * too long. */
int label_local_answer(struct label_local *l, const struct label_ask *a,
                       size_t n, char **body, size_t *len, struct err *e);

#endif
