/*
 * corpus: documents to ids: JSON lines parsed, chats rendered, held-out
 * documents told apart, everything encoded on many threads, in order.
 */
#ifndef R1_CORPUS_H
#define R1_CORPUS_H

#include <stddef.h>
#include <stdint.h>

#include "chat.h"
#include "docs.h"
#include "err.h"
#include "par.h"
#include "tok.h"

enum corpus_when { CORPUS_AUTO, CORPUS_ALWAYS, CORPUS_NEVER };
enum corpus_part { CORPUS_TRAIN, CORPUS_HELD, CORPUS_ALL };

/* What part of a document a token belongs to; the values of rec.h. */
enum { CORPUS_PROMPT, CORPUS_THINK, CORPUS_ANSWER, CORPUS_TEXT };

struct corpus_opt {
	const char *field;	/* of a JSON line, that holds a plain text */
	enum chat_template template;
	struct chat_opt chat;
	enum corpus_when bos, eos;	/* around a plain text. AUTO: as the
					 * tokenizer asks */
	int joined;		/* documents will follow each other in one
				 * sequence: AUTO then ends those that neither
				 * bos nor eos tells apart with
				 * <|endoftext|>, or eos where there is none */
	int literal;		/* special tokens written in a plain text stay
				 * text */
	double held;		/* share of documents held out, by their text */
	enum corpus_part part;
};

struct corpus_doc {
	uint64_t id;		/* number in the input */
	const char *source;	/* member "source" of a JSON line, or "" */
	const uint32_t *ids;
	const uint8_t *mask;	/* NULL with CHAT_NONE */
	size_t n;
	size_t offset;		/* ids of it that came before: long texts are
				 * given in parts */
};

/* 0 go on, 1 enough, -1 error. What d points to lives until it returns. */
typedef int corpus_fn(void *ctx, const struct corpus_doc *d, struct err *e);

/*
 * Gives each wanted document of d to fn, in order; those without ids are left
 * out. -1 with ERR_FORMAT naming file and line (a JSON line that is none, no
 * text in it, a tokenizer that lacks the template's tokens), or fn's error.
 *
 * A document is held out when a hash of its text (of its messages' contents)
 * says so: the same text always is, wherever it stands.
 */
int corpus_run(const struct tok *t, struct par *p, struct docs *d,
               const struct corpus_opt *o, corpus_fn *fn, void *ctx,
               struct err *e);

#endif
