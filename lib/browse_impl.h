/* What the files of browse share. */
#ifndef R1_BROWSE_IMPL_H
#define R1_BROWSE_IMPL_H

#include <stddef.h>
#include <stdint.h>

#include "browse.h"
#include "err.h"
#include "text.h"
#include "tok.h"

/* ---- JSON, added to a text ---- */

int browse_fmt(struct text *t, struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* n bytes as a string: ASCII, what is no UTF-8 as U+DC80 + byte - 0x80. */
int browse_string(struct text *t, const char *s, size_t n, struct err *e);
/* Numbers so wide: base 64, most significant digit first, A-Z a-z 0-9 - _. */
int browse_packed(struct text *t, const uint32_t *v, size_t n, int width,
                  struct err *e);
/* Digits that numbers below n need. */
int browse_width(uint32_t n);

/* ---- labels of one latent ---- */

struct browse_label {
	uint32_t layer, latent;
	double score, quality;	/* as struct rec_label has them */
	int rule;
	size_t order;		/* in the file */
	char *record;		/* JSON: all about it */
	char *row;		/* JSON without brackets: label, tags, score,
				 * quality */
};

/* The labels of a latent, the best first, models' before a rule's; *n of them. */
const struct browse_label *browse_labels_of(const struct browse_labels *l,
                                            uint32_t layer, uint32_t latent,
                                            size_t *n);

/* ---- the page ---- */

/* index.html. For mem_free. */
char *browse_page(const char *title, size_t *n, struct err *e);

#endif
