/* pack: documents' tokens into sequences of a tokens/1 stream. */
#ifndef R1_PACK_H
#define R1_PACK_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "rec.h"
#include "stream.h"

struct pack_opt {
	uint32_t n_ctx;		/* tokens of a full sequence, >= 1 */
	int packed;		/* documents follow each other and are cut where
				 * a sequence is full; else each has a sequence
				 * of its own and what is too long is left out */
	uint64_t max_tokens;	/* stop after so many; 0: no limit */
};

struct pack;
/* s is borrowed: whoever opened it finishes it. */
struct pack *pack_new(struct stream_out *s, const struct pack_opt *o,
                      struct err *e);
/* n ids of document id, of which `offset` ids came before. mask may be NULL,
 * always or never. 0, 1 when max_tokens are reached, -1. */
int pack_add(struct pack *p, uint64_t id, const char *source,
             const uint32_t *ids, const uint8_t *mask, size_t n,
             size_t offset, struct err *e);
/* Writes the last sequence, which may be short. */
int pack_end(struct pack *p, struct err *e);
uint64_t pack_n_tokens(const struct pack *p);
void pack_free(struct pack *p);

#endif
