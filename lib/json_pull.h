/*
 * json_pull: JSON read token by token, in memory that depends neither on the
 * size of the input nor on what is skipped. For files too large to hold
 * (json.h parses what fits).
 *
 * RFC 8259, UTF-8, any number of values after each other. Refused, with the
 * byte's offset: what the grammar does not have (NaN, trailing commas,
 * comments), nesting beyond JSON_PULL_DEPTH, numbers beyond a double; in
 * strings that are kept, control characters and bytes that are no UTF-8 (what
 * is skipped is not looked into). A lone surrogate (\ud800) is read as U+FFFD.
 * Of equal keys each comes.
 */
#ifndef R1_JSON_PULL_H
#define R1_JSON_PULL_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum { JSON_PULL_DEPTH = 512, JSON_PULL_TEXT = 1 << 16 };

enum json_pull_kind {
	JSON_PULL_OBJECT,	/* { */
	JSON_PULL_END_OBJECT,
	JSON_PULL_ARRAY,	/* [ */
	JSON_PULL_END_ARRAY,
	JSON_PULL_KEY,		/* text */
	JSON_PULL_STRING,	/* text */
	JSON_PULL_NUMBER,	/* number; text as written */
	JSON_PULL_TRUE, JSON_PULL_FALSE, JSON_PULL_NULL
};

struct json_pull_token {
	enum json_pull_kind kind;
	/* UTF-8, NUL added (a string may hold others); until the next call. At
	 * most JSON_PULL_TEXT bytes: `cut` says that there were more, which are
	 * gone (whole characters). */
	const char *text;
	size_t n;
	int cut;
	double number;		/* finite */
};

struct json_pull;

/* Where bytes come from: up to n of them into buf; how many, 0 at the end, -1
 * with e set. */
typedef int64_t json_pull_fn(void *ctx, void *buf, size_t n, struct err *e);

/* name is for messages; copied. NULL with ERR_MEM. */
struct json_pull *json_pull_new(json_pull_fn *fn, void *ctx, const char *name,
                                struct err *e);
void json_pull_free(struct json_pull *p);	/* NULL is legal */

/* 1 a token, 0 the end of the input (between values), -1 ERR_FORMAT, or what
 * fn set. */
int json_pull_next(struct json_pull *p, struct json_pull_token *t,
                   struct err *e);
/* Passes over the rest of the value that t began: t itself for a string or
 * number, up to its end for an object or array, the member's value for a key.
 * Strings on the way are not kept. 0 or -1. */
int json_pull_skip(struct json_pull *p, const struct json_pull_token *t,
                   struct err *e);
/* Bytes read so far; sets e to "NAME: byte N: ..." with ERR_FORMAT, -1. */
uint64_t json_pull_offset(const struct json_pull *p);
int json_pull_bad(const struct json_pull *p, struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
