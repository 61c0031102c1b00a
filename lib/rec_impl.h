/*
 * rec_impl: what the readers of all kinds of record share. For rec*.c and
 * examples*.c only.
 */
#ifndef R1_REC_IMPL_H
#define R1_REC_IMPL_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "mpk.h"
#include "rec.h"
#include "stream.h"

enum { REC_BASE_SLOTS = 8 };

/* The stream, the record being looked at and aligned copies of its small
 * arrays. */
struct rec_base {
	struct stream_in *s;
	struct mpk m;
	size_t n;	/* bytes of the record */
	uint32_t *u32[REC_BASE_SLOTS];
	size_t cap[REC_BASE_SLOTS];
};

void rec_base_close(struct rec_base *b);
/* The next record unpacked, b->m.root: 1, 0 or -1. */
int rec_base_next(struct rec_base *b, struct err *e);
/* A bin of u32 (or of anything of 4 bytes), copied to aligned memory: slot 0 up
 * to REC_BASE_SLOTS - 1. 0, or -1. */
int rec_base_u32(struct rec_base *b, const char *key, int slot,
                 const uint32_t **out, size_t *n, struct err *e);
/* map[key] as a finite number (a whole one too); optional and absent: NaN. */
int rec_base_real(const msgpack_object *map, const char *key, int optional,
                  double *out, struct err *e);
/* n bytes of a str, copied to *at with a NUL added; *at moves on behind it. A
 * NUL inside would cut it without a word, so it is refused. */
int rec_base_text(const char *s, size_t n, const char *key, char **at,
                  const char **out, struct err *e);
/* Turns a complaint about a record's inside into one that says which; -1. */
int rec_base_bad(const struct rec_base *b, const struct err *in,
                 struct err *e);

/* Members of headers. */
int rec_head_hex(const json_t *h, const char *key, char out[65],
                 struct err *e);
int rec_head_tokens(const json_t *h, struct rec_tokens_head *t,
                    struct err *e);
int rec_head_layers(const json_t *h, uint32_t layers[REC_MAX_LAYERS],
                    uint32_t *n, struct err *e);
json_t *rec_layers_json(const uint32_t *layers, uint32_t n);

/* docs, mask and source of a record with n tokens, as tokens/1 has them. */
struct rec_text {
	struct rec_doc *docs;
	size_t docs_cap;
	char *source;
	size_t source_cap;
};
void rec_text_free(struct rec_text *x);
int rec_text_read(struct rec_base *b, struct rec_text *x,
                  struct rec_tokens *t, struct err *e);
/* The three members, of which source and mask may be missing, and how many
 * there will be. */
size_t rec_text_members(const struct rec_tokens *t);
int rec_text_put(struct mpk_out *o, const struct rec_tokens *t,
                 struct err *e);

#endif
