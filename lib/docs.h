/*
 * docs: the documents of text files, in order or shuffled.
 *
 * text: a file is a document. lines: every line is. json: every line is a JSON
 * object (parsed by whoever asked). Blank lines are passed over.
 */
#ifndef R1_DOCS_H
#define R1_DOCS_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum docs_format { DOCS_AUTO, DOCS_TEXT, DOCS_LINES, DOCS_JSON };

struct docs_opt {
	enum docs_format format;	/* DOCS_AUTO: json when the first input
					 * begins with '{', else text */
	int shuffle;
	uint64_t seed;
	const volatile sig_atomic_t *stop;	/* NULL, or once not 0 waiting
			 * for bytes ends with ERR_STOP, within a second */
};

struct doc {
	uint64_t id;		/* running number in the input, from 0 */
	const char *text;	/* without the line's end */
	size_t n;
	const char *name;	/* of the file, for messages */
	uint64_t line;		/* from 1; 0: a whole file */
};

/*
 * Opens the inputs ("-": stdin). Files are mapped; a pipe is read as it comes,
 * or, as text or shuffled, whole into memory. Shuffling keeps 40 bytes a
 * document and gives the order that seed and the number of documents determine.
 */
struct docs *docs_open(const char *const *paths, size_t n,
                       const struct docs_opt *o, struct err *e);
enum docs_format docs_format(const struct docs *d);	/* never DOCS_AUTO */

/* The next documents: up to max_docs, and until their texts exceed max_bytes.
 * 1 with *out and *n > 0 (valid until the next call), 0 at the end, -1. */
int docs_batch(struct docs *d, size_t max_docs, size_t max_bytes,
               const struct doc **out, size_t *n, struct err *e);
void docs_free(struct docs *d);

#endif
