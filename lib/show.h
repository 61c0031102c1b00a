/*
 * show: any stream's records as JSON, and back. The arrays that a kind stores
 * as bin are decoded by the dtypes r1-stream(5) gives them; a kind or member
 * that is not known here stays {"bin": base64}, so nothing is ever lost.
 */
#ifndef R1_SHOW_H
#define R1_SHOW_H

#include <jansson.h>
#include <msgpack.h>
#include <stddef.h>

#include "err.h"
#include "mpk.h"

/* Shows all values of every array. */
#define SHOW_ALL ((size_t)-1)

/* One record. header: stream_header of its stream. Arrays (and strings) longer
 * than max_items become {"n": length, "first": [...]}. New reference, or NULL
 * with ERR_FORMAT. */
json_t *show_record(const json_t *header, const msgpack_object *record,
                    size_t max_items, struct err *e);

/* The inverse, of a record shown with SHOW_ALL: appends one object to o. */
int show_pack(const json_t *header, const json_t *record, struct mpk_out *o,
              struct err *e);

#endif
