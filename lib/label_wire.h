/*
 * label_wire: a request in a provider's JSON, and its answer read.
 *
 *   anthropic  POST BASE/v1/messages, anthropic-version 2023-06-01
 *   openai     POST BASE/chat/completions, as OpenAI, vLLM, llama.cpp's server
 *              and Ollama understand it; for embeddings POST BASE/embeddings
 *   local      label_local.h; its answers are kept in the same way
 *   tokens     label_tokens.h; so are these
 */
#ifndef R1_LABEL_WIRE_H
#define R1_LABEL_WIRE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "label.h"

enum label_provider {
	LABEL_ANTHROPIC, LABEL_OPENAI, LABEL_LOCAL, LABEL_RULE
};

struct label_wire {
	enum label_provider who;
	const char *base_url;		/* without a slash at the end */
	const char *model;
	int max_tokens;			/* of an answer */
	const char *format;		/* schema, object or text: how the form
					 * is asked for */
	int any_model;			/* whoever answers is right */
	const json_t *extra;		/* members added to a request: sampling
					 * and the like; or NULL */
	int embeds;			/* requests are for embeddings alone
					 * (label_embed.h), LABEL_OPENAI */
};

struct label_usage {		/* tokens; input does not count cached ones */
	int64_t input, cache_write, cache_read, output;
};

/* BASE/v1/messages, BASE/chat/completions or BASE/embeddings; for mem_free. */
char *label_wire_url(const struct label_wire *w, struct err *e);
/* The request's body. New reference, or NULL. */
json_t *label_wire_body(const struct label_wire *w, const struct label_ask *a,
                        struct err *e);

/*
 * Reads the body of an answer with status 200. 0: *text (n_text bytes, for
 * mem_free) is what the model wrote. 1: it cannot be used, e says why (not
 * JSON, cut off, refused), and asking again may help. -1: asking again does
 * not help (another model answered). *use is filled whenever it can be.
 */
int label_wire_read(const struct label_wire *w, const char *body, size_t n,
                    char **text, size_t *n_text, struct label_usage *use,
                    struct err *e);

/* Whether obj's member "model", if there, is the model asked: 0, or -1 and e. */
int label_wire_same_model(const struct label_wire *w, const json_t *obj,
                          struct err *e);
/* An answer of one's own as Anthropic would send it: obj as its text, use, and
 * fit (or NULL) as a member "fit": what judgements rest on. obj and fit are taken
 * over, NULL obj is out of memory. *body, *n bytes, for mem_free. */
int label_wire_message(json_t *obj, const struct label_usage *use, json_t *fit,
                       char **body, size_t *n, struct err *e);

/* What an error's body says, one line without `secret` (may be NULL), into
 * out[size]; "" when nothing. */
void label_wire_complaint(const char *body, size_t n, const char *secret,
                          char *out, size_t size);

/* ---- prices ---- */

struct label_price {		/* dollars per million tokens */
	double input, cache_write, cache_read, output;
	double batch;		/* factor for batches */
};

/* The price of a model from a table (data/prices.tsv explains its form): path,
 * or NULL for the built-in one. 1; 0: the table does not know it; -1. */
int label_price(const char *path, const char *model, struct label_price *p,
                struct err *e);
double label_price_of(const struct label_price *p,
                      const struct label_usage *u, int batch);
/* n texts NAME=JSON as an object; what is no JSON is a string. New reference, or
 * NULL with ERR_USAGE. */
json_t *label_wire_params(const char *const *text, size_t n, struct err *e);

/* What a request will take, before it is asked: from the length of its text. */
struct label_usage label_price_guess(const struct label_ask *a);

#endif
