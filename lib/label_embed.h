/*
 * label_embed: how near texts are to a label, by embeddings, and what is kept of
 * them.
 *
 * One request embeds the query that stands for a label and the texts it is tested
 * on; a text is as near as the cosine of their vectors. (delphi's embedding scorer
 * compares the same two.) Of an answer the cosines are kept, as
 *
 *   {"model", "usage": {"prompt_tokens"}, "similarity": [...]}
 *
 * since vectors would be some 100 kB a latent; of one that cannot be used, why, and
 * how it begins.
 */
#ifndef R1_LABEL_EMBED_H
#define R1_LABEL_EMBED_H

#include <jansson.h>
#include <stddef.h>

#include "err.h"
#include "label.h"
#include "label_wire.h"
#include "model.h"
#include "tok.h"

enum {
	LABEL_EMBED_REPLY_MAX = 64 << 20,	/* bytes of a server's answer */
	LABEL_EMBED_DIM_MAX = 1 << 16
};

/* The body of POST BASE/embeddings, as OpenAI, vLLM, llama.cpp's server and Ollama
 * understand it: model, input (the query, then the items), encoding_format float.
 * New reference, or NULL. */
json_t *label_embed_body(const struct label_wire *w, const struct label_ask *a,
                         struct err *e);
/* A server's answer with status 200 as what is kept of it: *kept, *n_kept bytes,
 * for mem_free. Each input must have one vector, named by its index; all must be of
 * one length, finite and not zero. 0 in either case; -1 out of memory. */
int label_embed_keep(const struct label_ask *a, const char *body, size_t n,
                     char **kept, size_t *n_kept, struct err *e);
/* Reads what was kept into near[a->n_items]: as label_wire_read, 0, 1 (cannot be
 * used) or -1 (another model answered). */
int label_embed_read(const struct label_wire *w, const struct label_ask *a,
                     const char *kept, size_t n, double *near, struct err *e);

/* What is kept of an answer of one's own: the cosines, taken over, and the tokens
 * it took. */
int label_embed_put(json_t *similarity, int64_t tokens, char **kept, size_t *n,
                    struct err *e);
/* The cosine of a[dim] and b[dim]; 0 when one has no length. */
double label_embed_cosine(const float *a, const float *b, size_t dim);

/* ---- by a model that runs here ---- */

/* The mean over a text's tokens of what leaves the model's final norm. Decoders are
 * not trained for it: labeler(1) says what it is worth. */
struct label_near;
/* m and t, its tokenizer, are borrowed. Texts are cut to n_ctx tokens. */
struct label_near *label_near_new(struct model *m, const struct tok *t,
                                  size_t n_ctx, struct err *e);
void label_near_free(struct label_near *l);
/* What is to be kept for a: *kept, *n bytes, for mem_free. */
int label_near_answer(struct label_near *l, const struct label_ask *a,
                      char **kept, size_t *n, struct err *e);

#endif
