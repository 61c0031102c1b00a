/*
 * mpk: msgpack over byte ranges, from senders one need not trust.
 *
 * msgpack-c's unpacker allocates what an array's or map's count declares. So
 * bytes are first walked by mpk_scan, which believes no count (every element
 * needs at least a byte that is there), bounds depth and size, and finds where
 * an object ends without allocating. Only then does mpk_parse unpack it.
 * Format: https://github.com/msgpack/msgpack/blob/master/spec.md
 */
#ifndef R1_MPK_H
#define R1_MPK_H

#include <jansson.h>
#include <msgpack.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum {
	MPK_DEPTH = 24,			/* arrays and maps within each other */
	MPK_ITEMS = 4 << 20		/* values in one object, all levels */
};

/* ---- finding the end of an object ---- */

/* State of a walk that can be continued when more bytes have come. Start with
 * {0}. Offsets are relative to the object's first byte. */
struct mpk_scan {
	size_t at;			/* next byte to look at */
	size_t items;			/* values seen */
	int depth;
	uint64_t left[MPK_DEPTH];	/* values still due at each level */
	int begun;
};

/* Walks data[0..n), the object's bytes so far. 1: complete, *len its length;
 * 0: more bytes are needed, at least until *len; -1: ERR_FORMAT or ERR_RANGE
 * (longer than max), message names the offset within the object. */
int mpk_scan(struct mpk_scan *s, const uint8_t *data, size_t n, size_t max,
             size_t *len, struct err *e);

/* ---- reading ---- */

/* An unpacked object: strings and bins point into the bytes it came from,
 * which must outlive it. */
struct mpk {
	msgpack_unpacked u;
	const msgpack_object *root;
};

/* Unpacks exactly one object of n bytes. The bytes are scanned first. */
int mpk_parse(struct mpk *m, const uint8_t *data, size_t n, struct err *e);
void mpk_free(struct mpk *m);		/* {0} is legal */

/* map[key], or NULL when map is no map or lacks it. */
const msgpack_object *mpk_get(const msgpack_object *map, const char *key);

/* map[key] of the wanted type, or -1 with ERR_FORMAT naming the key, what was
 * wanted and what is there. */
int mpk_u64(const msgpack_object *map, const char *key, uint64_t max,
            uint64_t *out, struct err *e);
int mpk_str(const msgpack_object *map, const char *key, const char **s,
            size_t *n, struct err *e);
int mpk_bin(const msgpack_object *map, const char *key, const uint8_t **p,
            size_t *n, struct err *e);
int mpk_array(const msgpack_object *map, const char *key,
              const msgpack_object **items, size_t *n, struct err *e);

/* "map", "str", "bin" ... for messages; "nothing" for NULL. */
const char *mpk_type(const msgpack_object *o);

/* ---- JSON ---- */

/* The object as JSON. bin becomes {"bin": "base64"}; str must be UTF-8 and map
 * keys str; integers above INT64_MAX, NaN, infinities and ext are refused. New
 * reference, or NULL. */
json_t *mpk_to_json(const msgpack_object *o, struct err *e);
/* out[key] = v; takes v, which may be NULL (e is set: -1). Keys that are no
 * UTF-8 str, hold NUL or are there already are ERR_FORMAT. */
int mpk_set_json(json_t *out, const msgpack_object *key, json_t *v,
                 struct err *e);

/* ---- writing ---- */

/* Packs with msgpack-c into a growing buffer: use msgpack_pack_* on pk. */
struct mpk_out {
	msgpack_sbuffer buf;
	msgpack_packer pk;
};

void mpk_out_init(struct mpk_out *o);
void mpk_out_reset(struct mpk_out *o);		/* empty, memory kept */
void mpk_out_free(struct mpk_out *o);
/* A NUL-ended string as msgpack str. */
int mpk_put_str(struct mpk_out *o, const char *s, struct err *e);
int mpk_put_u64(struct mpk_out *o, uint64_t v, struct err *e);
int mpk_put_i64(struct mpk_out *o, int64_t v, struct err *e);
int mpk_put_real(struct mpk_out *o, double v, struct err *e);
int mpk_put_bool(struct mpk_out *o, int v, struct err *e);
int mpk_put_bin(struct mpk_out *o, const void *p, size_t n, struct err *e);
int mpk_put_array(struct mpk_out *o, size_t n, struct err *e);
int mpk_put_map(struct mpk_out *o, size_t n, struct err *e);
/* The inverse of mpk_to_json. */
int mpk_put_json(struct mpk_out *o, const json_t *j, struct err *e);

#endif
