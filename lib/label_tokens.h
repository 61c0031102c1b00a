/*
 * label_tokens: labels by a rule instead of a model, to compare others with.
 *
 * A latent is named after the tokens on which it is active in most of the contexts
 * shown; a text has it when one of these tokens is in it, and marks are right when
 * at least half of the marked tokens are among them. Tokens are compared without
 * spaces around them and case.
 */
#ifndef R1_LABEL_TOKENS_H
#define R1_LABEL_TOKENS_H

#include <stddef.h>

#include "err.h"
#include "label.h"
#include "text.h"

/* The words that name f, quoted: 'so', 'thus'; nothing when there is none. */
int label_tokens_put(struct text *out, const struct tok *t,
                     const struct label_feature *f, struct err *e);

/* The label of f (kind LABEL_LABEL), or the judgement of n items under it, in the
 * shape of an Anthropic message: *body, *len bytes, for mem_free. t: of the
 * contexts. */
int label_tokens_answer(const struct tok *t, const struct label_feature *f,
                        enum label_kind kind, const struct label_item *items,
                        size_t n, char **body, size_t *len, struct err *e);

#endif
