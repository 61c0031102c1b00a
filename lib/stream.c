#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "await.h"
#include "file.h"
#include "mem.h"
#include "mpk.h"
#include "version.h"

/*
 * Reading
 *
 *   descriptor -> raw[] -> zstd (or as it is) -> buf[start..end) -> objects
 *
 * Where a zstd frame or a plain stream ends, the next byte says which of the
 * two follows: streams of both forms may be concatenated.
 *
 * buf holds the object being assembled and whatever follows it. It grows with
 * bytes that have arrived, never with what a length field announces.
 */
struct stream_in {
	char *name;
	int fd;
	const volatile sig_atomic_t *stop;	/* NULL: nothing stops it */
	json_t *header;
	/* source */
	ZSTD_DCtx *zstd;
	enum { BOUNDARY, FRAME, PLAIN } within;
	int pending;			/* zstd may hold output back */
	uint8_t *raw;
	size_t n_raw, raw_at, raw_cap;
	uint64_t raw_total;		/* compressed bytes consumed before raw */
	int eof;
	/* objects */
	uint8_t *buf;
	size_t buf_cap, start, end;
	uint64_t base;			/* stream offset of buf[0] */
	uint64_t at;			/* stream offset of the last object */
	uint64_t record;		/* in question, from 1; 0: a header */
	uint64_t n_records, n_in_part;
	int done;
};

int stream_bad(const struct stream_in *s, struct err *e, const char *fmt, ...)
{
	char what[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (s->record == 0)
		return err_set(e, ERR_FORMAT, "%s: header at byte %llu: %s",
		               s->name, (unsigned long long)s->at, what);
	return err_set(e, ERR_FORMAT, "%s: record %llu at byte %llu: %s",
	               s->name, (unsigned long long)s->record,
	               (unsigned long long)s->at, what);
}

/* As stream_bad, with a cause found below. */
static int bad_inner(const struct stream_in *s, const struct err *in,
                     struct err *e)
{
	if (in->code != ERR_FORMAT && in->code != ERR_RANGE) {
		if (e)
			*e = *in;
		return err_wrap(e, "%s", s->name);
	}
	return stream_bad(s, e, "%s", in->msg);
}

void stream_stop_on(struct stream_in *s, const volatile sig_atomic_t *stop)
{
	s->stop = stop;
}

/* More source bytes into raw[]. Sets eof. */
static int fill_raw(struct stream_in *s, struct err *e)
{
	ssize_t got;

	if (!await_bytes(s->fd, s->stop))
		return err_set(e, ERR_STOP, "%s: stopped", s->name);
	s->raw_total += s->n_raw;
	s->raw_at = s->n_raw = 0;
	do
		got = read(s->fd, s->raw, s->raw_cap);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return err_sys(e, "%s: read", s->name);
	s->n_raw = (size_t)got;
	s->eof = got == 0;
	return 0;
}

/* Room for at least one more decompression block behind buf[end]. */
static int make_room(struct stream_in *s, struct err *e)
{
	size_t want = ZSTD_DStreamOutSize();

	if (s->start == s->end) {
		s->base += s->start;
		s->start = s->end = 0;
	}
	if (s->buf_cap - s->end >= want)
		return 0;
	if (s->start > s->buf_cap / 2) {
		memmove(s->buf, s->buf + s->start, s->end - s->start);
		s->base += s->start;
		s->end -= s->start;
		s->start = 0;
	}
	return mem_grow(&s->buf, &s->buf_cap, s->end + want, 1, e);
}

/* What raw[] holds, decompressed. */
static int inflate_some(struct stream_in *s, struct err *e)
{
	ZSTD_inBuffer in = { s->raw, s->n_raw, s->raw_at };
	ZSTD_outBuffer out = { s->buf, s->buf_cap, s->end };
	size_t rc = ZSTD_decompressStream(s->zstd, &out, &in);

	if (ZSTD_isError(rc))
		return stream_bad(s, e, "zstd, near compressed byte %llu: %s",
		                  (unsigned long long)(s->raw_total + in.pos),
		                  ZSTD_getErrorName(rc));
	s->raw_at = in.pos;
	s->end = out.pos;
	s->pending = rc != 0 && out.pos == out.size;
	if (rc == 0)
		s->within = BOUNDARY;
	return 0;
}

/* Some more bytes into buf: 1, or 0 when the source has ended, -1 on error. */
static int fill(struct stream_in *s, struct err *e)
{
	size_t before, n, room;

	if (make_room(s, e) < 0)
		return -1;
	before = s->end;
	while (s->end == before) {
		if (s->raw_at == s->n_raw && !s->pending) {
			if (!s->eof && fill_raw(s, e) < 0)
				return -1;
			if (s->eof && s->within == FRAME)
				return stream_bad(s, e, "cut inside a zstd "
				                  "frame, after %llu compressed "
				                  "bytes", (unsigned long long)
				                  s->raw_total);
			if (s->eof)
				return 0;
		}
		if (s->within == BOUNDARY) {
			/* A frame begins with 28 or, to be skipped, 50 to 5f:
			 * no map does. */
			uint8_t b = s->raw[s->raw_at];

			s->within = b == 0x28 || (b & 0xf0) == 0x50 ? FRAME
			                                            : PLAIN;
		}
		if (s->within == FRAME) {
			if (inflate_some(s, e) < 0)
				return -1;
			continue;
		}
		n = s->n_raw - s->raw_at;
		room = s->buf_cap - s->end;
		n = n < room ? n : room;
		memcpy(s->buf + s->end, s->raw + s->raw_at, n);
		s->end += n;
		s->raw_at += n;
	}
	return 1;
}

/* A plain stream has ended: what was read behind it goes back to raw[]. */
static int unread_plain(struct stream_in *s, struct err *e)
{
	size_t back = s->end - s->start, rest = s->n_raw - s->raw_at;

	if (s->within != PLAIN)
		return 0;
	if (mem_grow(&s->raw, &s->raw_cap, back + rest, 1, e) < 0)
		return -1;
	memmove(s->raw + back, s->raw + s->raw_at, rest);
	memcpy(s->raw, s->buf + s->start, back);
	s->raw_total += s->raw_at - back;
	s->raw_at = 0;
	s->n_raw = back + rest;
	s->end = s->start;
	s->within = BOUNDARY;
	return 0;
}

/* The next object of at most max bytes: 1, 0 at the end of the source. */
static int next_object(struct stream_in *s, size_t max, const uint8_t **data,
                       size_t *n, struct err *e)
{
	struct mpk_scan scan = { 0 };
	struct err in = { 0 };

	s->at = s->base + s->start;
	for (;;) {
		size_t have = s->end - s->start, len = 1;
		int got = have ? mpk_scan(&scan, s->buf + s->start, have, max,
		                          &len, &in) : 0;

		if (got < 0)
			return bad_inner(s, &in, e);
		if (got) {
			*data = s->buf + s->start;
			*n = len;
			s->start += len;
			return 1;
		}
		do {
			got = fill(s, e);
			if (got < 0)
				return -1;
			if (!got && s->end > s->start)
				return stream_bad(s, e, "cut: %zu bytes of it "
				                  "are there, more should "
				                  "follow",
				                  s->end - s->start);
			if (!got)
				return 0;
		} while (s->end - s->start < len);
	}
}

static int is_map(uint8_t b)
{
	return (b & 0xf0) == 0x80 || b == 0xde || b == 0xdf;
}

/* The header at the front of a part, as JSON. */
static json_t *read_header(struct stream_in *s, struct err *e)
{
	const uint8_t *data;
	size_t n;
	struct mpk m = { 0 };
	struct err in = { 0 };
	json_t *h = NULL;
	int got;

	s->record = 0;
	got = next_object(s, STREAM_HEADER_MAX, &data, &n, e);
	if (got < 0)
		return NULL;
	if (got == 0) {
		err_set(e, ERR_FORMAT, "%s: empty, wanted a stream's header",
		        s->name);
		return NULL;
	}
	if (!is_map(data[0])) {
		stream_bad(s, e, "wanted a header map, found byte 0x%02x: "
		           "not a stream of this family", data[0]);
		return NULL;
	}
	if (mpk_parse(&m, data, n, &in) < 0 ||
	    !(h = mpk_to_json(m.root, &in))) {
		bad_inner(s, &in, e);
	} else if (json_integer_value(json_object_get(h, "r1")) != 1) {
		json_t *v = json_object_get(h, "r1");

		if (json_is_integer(v))
			stream_bad(s, e, "wanted format version 1, found %lld",
			           (long long)json_integer_value(v));
		else
			stream_bad(s, e, "lacks 'r1', an int: not a stream of "
			           "this family");
		json_decref(h);
		h = NULL;
	} else if (!json_is_string(json_object_get(h, "kind"))) {
		stream_bad(s, e, "lacks a str 'kind'");
		json_decref(h);
		h = NULL;
	}
	mpk_free(&m);
	return h;
}

/* What has been read of the source already comes first. */
static int open_source(struct stream_in *s, const char *name, const void *first,
                       size_t n, struct err *e)
{
	size_t room = ZSTD_DStreamInSize();

	s->name = mem_strdup(name, e);
	if (!s->name ||
	    mem_grow(&s->raw, &s->raw_cap, n > room ? n : room, 1, e) < 0)
		return -1;
	if (n)
		memcpy(s->raw, first, n);
	s->n_raw = n;
	s->zstd = ZSTD_createDCtx();
	if (!s->zstd)
		return err_set(e, ERR_MEM, "out of memory");
	/* What zstd itself allows by default, 128 MiB, said aloud. */
	ZSTD_DCtx_setParameter(s->zstd, ZSTD_d_windowLogMax, 27);
	return 0;
}

struct stream_in *stream_open_in(const char *path, const char *kind,
                                 struct err *e)
{
	int is_stdin = strcmp(path, "-") == 0;
	int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		err_sys(e, "open %s", path);
		return NULL;
	}
	return stream_open_fd(fd, is_stdin ? "standard input" : path, NULL, 0,
	                      kind, e);
}

/* A zstd frame (28, or 5x 2a to be skipped) or a msgpack map. */
int stream_begins(const void *first, size_t n)
{
	const uint8_t *b = first;

	return n && (b[0] == 0x28 || (b[0] & 0xf0) == 0x80 || b[0] == 0xde ||
	             b[0] == 0xdf ||
	             (n > 1 && (b[0] & 0xf0) == 0x50 && b[1] == 0x2a));
}

struct stream_in *stream_open_fd(int fd, const char *name, const void *first,
                                 size_t n, const char *kind, struct err *e)
{
	struct stream_in *s = mem_array(1, sizeof(*s), e);

	if (!s) {
		if (fd > STDIN_FILENO)
			close(fd);
		return NULL;
	}
	s->fd = fd;
	if (open_source(s, name, first, n, e) < 0 ||
	    !(s->header = read_header(s, e)))
		goto fail;
	if (kind && strcmp(kind, stream_kind(s)) != 0) {
		err_set(e, ERR_FORMAT, "%s: wanted a stream of kind %s, found "
		        "%.64s", s->name, kind, stream_kind(s));
		goto fail;
	}
	return s;
fail:
	stream_close_in(s);
	return NULL;
}

void stream_close_in(struct stream_in *s)
{
	if (!s)
		return;
	if (s->fd > STDIN_FILENO)
		close(s->fd);
	ZSTD_freeDCtx(s->zstd);
	json_decref(s->header);
	mem_free(s->name);
	mem_free(s->raw);
	mem_free(s->buf);
	mem_free(s);
}

const json_t *stream_header(const struct stream_in *s)
{
	return s->header;
}

const char *stream_kind(const struct stream_in *s)
{
	return json_string_value(json_object_get(s->header, "kind"));
}

const char *stream_name(const struct stream_in *s)
{
	return s->name;
}

uint64_t stream_n_records(const struct stream_in *s)
{
	return s->n_records;
}

uint64_t stream_offset(const struct stream_in *s)
{
	return s->at;
}

int stream_same(const json_t *a, const json_t *b)
{
	json_t *x = json_copy((json_t *)(uintptr_t)a);
	json_t *y = json_copy((json_t *)(uintptr_t)b);
	int same;

	json_object_del(x, "prov");
	json_object_del(y, "prov");
	same = x && y && json_equal(x, y);
	json_decref(x);
	json_decref(y);
	return same;
}

/* After an end record: 1 when another part follows, 0 at the end. */
static int next_part(struct stream_in *s, struct err *e)
{
	json_t *h;
	int got = 1, same;

	if (unread_plain(s, e) < 0)
		return -1;
	while (got > 0 && s->start == s->end)
		got = fill(s, e);
	if (got <= 0)
		return got;
	h = read_header(s, e);
	if (!h)
		return -1;
	same = stream_same(s->header, h);
	json_decref(h);
	if (!same)
		return stream_bad(s, e, "a stream with another header is "
		                  "concatenated here");
	s->n_in_part = 0;
	return 1;
}

/* Maps that begin with the key "end" are end records, and nothing else may. */
static int is_end(const uint8_t *data, size_t n)
{
	return n >= 5 && data[0] == 0x82 && memcmp(data + 1, "\xa3" "end", 4)
	       == 0;
}

static int check_end(struct stream_in *s, const uint8_t *data, size_t n,
                     struct err *e)
{
	struct mpk m = { 0 };
	struct err in = { 0 };
	const msgpack_object *end;
	uint64_t count = 0;
	int rc = 0;

	if (mpk_parse(&m, data, n, &in) < 0)
		return bad_inner(s, &in, e);
	end = mpk_get(m.root, "end");
	if (!end || end->type != MSGPACK_OBJECT_BOOLEAN || !end->via.boolean ||
	    mpk_u64(m.root, "records", UINT64_MAX, &count, &in) < 0)
		rc = stream_bad(s, e, "an end record that is malformed");
	else if (count != s->n_in_part)
		rc = stream_bad(s, e, "the end record counts %llu records, "
		                "%llu came", (unsigned long long)count,
		                (unsigned long long)s->n_in_part);
	mpk_free(&m);
	return rc;
}

int stream_read(struct stream_in *s, const uint8_t **data, size_t *n,
                struct err *e)
{
	while (!s->done) {
		int got;

		s->record = s->n_records + 1;
		got = next_object(s, STREAM_RECORD_MAX, data, n, e);
		if (got < 0)
			return -1;
		if (got == 0)
			return stream_bad(s, e, "cut: no end record");
		if (!is_map((*data)[0]))
			return stream_bad(s, e, "wanted a map, found byte "
			                  "0x%02x", (*data)[0]);
		if (!is_end(*data, *n)) {
			s->n_records++;
			s->n_in_part++;
			return 1;
		}
		if (check_end(s, *data, *n, e) < 0)
			return -1;
		got = next_part(s, e);
		if (got < 0)
			return -1;
		if (got == 0) {
			s->at = s->base + s->start;
			s->done = 1;
		}
	}
	return 0;
}

/* ---- writing ---- */

struct stream_out {
	int fd;				/* descriptor 1, or -1 */
	struct file_out *file;		/* or this */
	char *name;
	uint64_t at;			/* bytes that have gone out */
	ZSTD_CCtx *zstd;		/* NULL: plain */
	uint8_t *buf;
	size_t n_buf, cap;
	uint64_t n_records;
};

/* Sends what buf holds. */
static int drain(struct stream_out *s, struct err *e)
{
	size_t done = 0;

	if (s->file && s->n_buf &&
	    file_out_write(s->file, s->at, s->buf, s->n_buf, e) < 0)
		return -1;
	while (!s->file && done < s->n_buf) {
		ssize_t n = write(s->fd, s->buf + done, s->n_buf - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "%s: write", s->name);
		done += (size_t)n;
	}
	s->at += s->n_buf;
	s->n_buf = 0;
	return 0;
}

static int emit(struct stream_out *s, const void *data, size_t n,
                ZSTD_EndDirective how, struct err *e)
{
	ZSTD_inBuffer in = { data, n, 0 };
	size_t left;

	if (!s->zstd) {
		const uint8_t *p = data;

		while (n) {
			size_t room = s->cap - s->n_buf;
			size_t now = n < room ? n : room;

			memcpy(s->buf + s->n_buf, p, now);
			s->n_buf += now;
			p += now;
			n -= now;
			if (s->n_buf == s->cap && drain(s, e) < 0)
				return -1;
		}
		return how == ZSTD_e_end ? drain(s, e) : 0;
	}
	do {
		ZSTD_outBuffer out = { s->buf, s->cap, s->n_buf };

		left = ZSTD_compressStream2(s->zstd, &out, &in, how);
		if (ZSTD_isError(left))
			return err_set(e, ERR_IO, "%s: zstd: %s", s->name,
			               ZSTD_getErrorName(left));
		s->n_buf = out.pos;
		if ((s->n_buf == s->cap || how == ZSTD_e_end) &&
		    drain(s, e) < 0)
			return -1;
	} while (in.pos < in.size || (how == ZSTD_e_end && left));
	return 0;
}

/* A command may name files in any encoding; a header is UTF-8. */
static json_t *command_json(const char *command)
{
	json_t *j = json_string(command);
	char *copy, *p;

	if (j || !(copy = mem_strdup(command, NULL)))
		return j;
	for (p = copy; *p; p++)
		if (*p & 0x80)
			*p = '?';
	j = json_string(copy);
	mem_free(copy);
	return j;
}

json_t *stream_provenance(const struct stream_out_opt *o)
{
	json_t *prov = NULL, *old = (json_t *)(uintptr_t)o->prov, *mine;

	if (!old && o->from)
		old = json_object_get(stream_header(o->from), "prov");
	prov = json_is_array(old) ? json_copy(old) : json_array();
	if (!o->command || !prov)
		return prov;
	mine = json_pack("{s:o, s:s, s:I, s:O?}", "cmd",
	                 command_json(o->command), "version", R1_VERSION,
	                 "seed", (json_int_t)o->seed, "inputs", o->inputs);
	if (mine && !o->inputs)
		json_object_set_new(mine, "inputs", json_array());
	if (!mine || json_array_append_new(prov, mine) < 0) {
		json_decref(prov);
		return NULL;
	}
	return prov;
}

static int write_header(struct stream_out *s, const struct stream_out_opt *o,
                        struct err *e)
{
	json_t *h = json_pack("{s:i, s:s}", "r1", 1, "kind", o->kind);
	json_t *prov = stream_provenance(o);
	struct mpk_out out;
	int rc = -1;

	mpk_out_init(&out);
	if (!h || !prov || (o->header && json_object_update(h, o->header) < 0) ||
	    json_object_set(h, "prov", prov) < 0)
		err_set(e, ERR_MEM, "%s: out of memory", s->name);
	else if (mpk_put_json(&out, h, e) < 0)
		;	/* e says why */
	else if (out.buf.size > STREAM_HEADER_MAX)
		err_set(e, ERR_RANGE, "%s: a header of %zu bytes is over %d",
		        s->name, out.buf.size, STREAM_HEADER_MAX);
	else
		rc = emit(s, out.buf.data, out.buf.size, ZSTD_e_continue, e);
	mpk_out_free(&out);
	json_decref(prov);
	json_decref(h);
	return rc;
}

static int open_sink(struct stream_out *s, const char *path,
                     const struct stream_out_opt *o, struct err *e)
{
	int to_stdout = strcmp(path, "-") == 0;

	s->fd = to_stdout ? STDOUT_FILENO : -1;
	s->name = mem_strdup(to_stdout ? "standard output" : path, e);
	s->cap = ZSTD_CStreamOutSize();
	s->buf = mem_scratch(s->cap, 1, e);
	if (!s->name || !s->buf)
		return -1;
	if (!to_stdout && !(s->file = file_out_new(path, e)))
		return -1;
	if (o->raw)
		return 0;
	s->zstd = ZSTD_createCCtx();
	if (!s->zstd)
		return err_set(e, ERR_MEM, "out of memory");
	ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_checksumFlag, 1);
	ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_compressionLevel,
	                       o->level ? o->level : STREAM_LEVEL);
	return 0;
}

struct stream_out *stream_open_out(const char *path,
                                   const struct stream_out_opt *o,
                                   struct err *e)
{
	struct stream_out *s = mem_array(1, sizeof(*s), e);

	if (!s)
		return NULL;
	if (open_sink(s, path, o, e) < 0 || write_header(s, o, e) < 0) {
		stream_abort(s);
		return NULL;
	}
	return s;
}

int stream_write(struct stream_out *s, const void *data, size_t n,
                 struct err *e)
{
	if (n > STREAM_RECORD_MAX)
		return err_set(e, ERR_RANGE, "%s: record %llu of %zu bytes is "
		               "over %d", s->name,
		               (unsigned long long)s->n_records, n,
		               STREAM_RECORD_MAX);
	s->n_records++;
	return emit(s, data, n, ZSTD_e_continue, e);
}

int stream_finish(struct stream_out *s, struct err *e)
{
	struct mpk_out out;
	int rc;

	mpk_out_init(&out);
	rc = mpk_put_map(&out, 2, e);
	if (rc == 0)
		rc = mpk_put_str(&out, "end", e);
	if (rc == 0)
		rc = msgpack_pack_true(&out.pk);
	if (rc == 0)
		rc = mpk_put_str(&out, "records", e);
	if (rc == 0)
		rc = mpk_put_u64(&out, s->n_records, e);
	if (rc == 0)
		rc = emit(s, out.buf.data, out.buf.size, ZSTD_e_end, e);
	mpk_out_free(&out);
	if (rc == 0 && s->file)
		rc = file_out_commit(s->file, e);
	else if (rc == 0 && close(s->fd) < 0)
		rc = err_sys(e, "%s: close", s->name);
	stream_abort(s);
	return rc;
}

void stream_abort(struct stream_out *s)
{
	if (!s)
		return;
	file_out_free(s->file);
	ZSTD_freeCCtx(s->zstd);
	mem_free(s->name);
	mem_free(s->buf);
	mem_free(s);
}
