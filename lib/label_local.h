/*
 * label_local: requests answered by a model that runs here.
 *
 * The prompt goes through the model's chat template and the form is decoded
 * under constraint, as servers do with a JSON schema: what the form fixes is
 * put there, strings are the most likely tokens up to a quote, choices the most
 * likely of those allowed. So an answer has its form, and nothing else speaks
 * for it. What a prompt shares with the one before it is not computed again.
 */
#ifndef R1_LABEL_LOCAL_H
#define R1_LABEL_LOCAL_H

#include <stddef.h>

#include "err.h"
#include "label.h"
#include "model.h"
#include "tok.h"

struct label_local;

/* m and t are borrowed. n_ctx: the longest prompt with its answer. NULL with e
 * set; ERR_FORMAT when the tokenizer has the tokens of no template. */
struct label_local *label_local_new(struct model *m, const struct tok *t,
                                    size_t n_ctx, struct err *e);
void label_local_free(struct label_local *l);

/* The answer in the shape of an Anthropic message with its usage: *body, n
 * bytes, for mem_free. 1 instead of 0 when the prompt is too long. */
int label_local_answer(struct label_local *l, const struct label_ask *a,
                       char **body, size_t *n, struct err *e);

#endif
