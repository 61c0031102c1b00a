/*
 * rec_impl: what the readers of all kinds of record share. For rec*.c only.
 */
#ifndef R1_REC_IMPL_H
#define R1_REC_IMPL_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "mpk.h"
#include "stream.h"

enum { REC_BASE_SLOTS = 2 };

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
/* A bin of u32, copied to aligned memory: slot 0 or 1. 0, or -1. */
int rec_base_u32(struct rec_base *b, const char *key, int slot,
                 const uint32_t **out, size_t *n, struct err *e);
/* Turns a complaint about a record's inside into one that says which; -1. */
int rec_base_bad(const struct rec_base *b, const struct err *in,
                 struct err *e);

#endif
