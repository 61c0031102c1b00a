/*
 * stream: the family's container. zstd (checksums on) around msgpack: one
 * header map, records, one end record. r1-stream(5) is the format.
 *
 * This module knows zstd and the frame of header, records and end; it does not
 * know what a record means (rec.h does). A record is handed out as a byte
 * range holding exactly one msgpack object that has been checked for
 * well-formedness, depth and counts.
 */
#ifndef R1_STREAM_H
#define R1_STREAM_H

#include <jansson.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct stream_in;
struct stream_out;

enum {
	STREAM_RECORD_MAX = 64 << 20,	/* bytes of one record */
	STREAM_HEADER_MAX = 16 << 20,	/* bytes of a header */
	STREAM_LEVEL = 3		/* of zstd */
};

/* ---- reading ---- */

/* Opens path ("-": stdin) and reads the header. kind ("tokens/1") is checked
 * unless NULL. zstd or plain msgpack is told by the first byte, again for each
 * concatenated part. An empty input is an error (ERR_FORMAT, "empty"). */
struct stream_in *stream_open_in(const char *path, const char *kind,
                                 struct err *e);
/* The same on descriptor fd, of which n bytes (first) have been read to see
 * what it holds. fd is taken over, also on error; name is for messages. */
struct stream_in *stream_open_fd(int fd, const char *name, const void *first,
                                 size_t n, const char *kind, struct err *e);
/* Whether the first n bytes of a file begin a stream (rather than JSON, which
 * begins with white space or an ASCII bracket). */
int stream_begins(const void *first, size_t n);
/* The header as JSON (mpk_to_json); borrowed, lives until stream_close_in.
 * "kind" is a member, "prov" only when the writer gave it. */
const json_t *stream_header(const struct stream_in *s);
const char *stream_kind(const struct stream_in *s);
const char *stream_name(const struct stream_in *s);	/* for messages */

/* From now on stream_read ends with ERR_STOP when *stop is not 0, within a second
 * if it waits for bytes at that time. The stream cannot be read on then. stop
 * outlives s. */
void stream_stop_on(struct stream_in *s, const volatile sig_atomic_t *stop);
/* The next record, one msgpack map: 1 with *data and *n (valid until the next
 * call), 0 at the end record of the last concatenated stream, -1 on error; a
 * stream cut short is an error. Concatenated streams of equal header (prov
 * aside) continue silently. Bytes have passed mpk_scan. */
int stream_read(struct stream_in *s, const uint8_t **data, size_t *n,
                struct err *e);
/* Records handed out so far, and the decompressed byte offset of the last; after
 * the end, how many decompressed bytes there were. */
uint64_t stream_n_records(const struct stream_in *s);
uint64_t stream_offset(const struct stream_in *s);
/* Whether two headers agree in all but their provenance, so that their streams
 * may be concatenated. */
int stream_same(const json_t *a, const json_t *b);
/* Sets e to "NAME: record R at byte B: ..." with ERR_FORMAT, about the record
 * handed out last, counted from 1; -1. */
int stream_bad(const struct stream_in *s, struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void stream_close_in(struct stream_in *s);

/* ---- writing ---- */

struct stream_out_opt {
	const char *kind;
	json_t *header;		/* extra members; borrowed */
	const struct stream_in *from;	/* whose prov to extend, or NULL */
	const json_t *prov;	/* extended instead of from's, or NULL */
	const char *command;	/* cli_common.command, or NULL: no prov entry */
	uint64_t seed;
	json_t *inputs;		/* array of sha256 hex strings, or NULL */
	int raw;		/* plain msgpack, no zstd */
	int level;		/* zstd level; 0: STREAM_LEVEL */
};

/* Where output made under o comes from, as its header will say: the prov of
 * o->from, then this command. For tools that write no stream. New reference,
 * NULL without memory (or a command that is not UTF-8). */
json_t *stream_provenance(const struct stream_out_opt *o);

/* Opens path ("-": stdout; else path.tmp, renamed by stream_finish) and
 * writes the header. */
struct stream_out *stream_open_out(const char *path,
                                   const struct stream_out_opt *o,
                                   struct err *e);
/* Appends one record: n bytes holding one msgpack map, which the caller
 * packed. ERR_RANGE beyond STREAM_RECORD_MAX. */
int stream_write(struct stream_out *s, const void *data, size_t n,
                 struct err *e);
/* End record, flush, fsync and rename of a file, close checked. Frees s
 * whatever happens. */
int stream_finish(struct stream_out *s, struct err *e);
/* Gives up: no end record, temporary file removed. NULL is legal. */
void stream_abort(struct stream_out *s);

#endif
