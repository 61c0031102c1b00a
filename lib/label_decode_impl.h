/* label_decode_impl: what saying and gaining share. Only lib/label_decode*.c
 * include it. */
#ifndef R1_LABEL_DECODE_IMPL_H
#define R1_LABEL_DECODE_IMPL_H

#include <stddef.h>
#include <stdint.h>

#include "label_decode.h"

struct label_decode {
	struct model *m;
	const struct tok *t;
	struct tok_work *w;
	struct model_many *g;
	size_t n_texts, room;		/* of g */
	uint32_t *first;		/* text 0 of g: n_first tokens */
	size_t n_first, cap_first;
	size_t n_ctx, n_vocab;
	uint8_t *kind;			/* of each token */
};

/* Whether a text of n tokens has room for `more` behind it: 0, or -1 with
 * ERR_RANGE naming it. */
int label_decode_fits(const struct label_decode *d, const char *name, size_t n,
                      size_t more, struct err *e);
/* A cache for texts of up to `longest` tokens. */
int label_decode_room(struct label_decode *d, size_t longest, struct err *e);
/* Texts 0..n of g become what all begin with alike, `same` tokens. */
int label_decode_share(struct label_decode *d, const uint32_t *ids, size_t same,
                       size_t n, struct err *e);
/* One more token. */
int label_line_add(struct label_line *x, uint32_t id, struct err *e);

#endif
