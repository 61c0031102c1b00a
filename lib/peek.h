/*
 * peek: a file whose first bytes were looked at to see what it holds, read from
 * its beginning all the same.
 */
#ifndef R1_PEEK_H
#define R1_PEEK_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct peek {
	const char *name;	/* for messages; borrowed from path */
	int fd;			/* -1: there is no more than first */
	const char *first;	/* n bytes, of which `at` were given out */
	size_t n, at;
	char held[4096];	/* what first points to, unless the caller's */
};

/* Opens path ("-": standard input) and reads its first bytes: two at least,
 * unless it ends before. -1 with ERR_IO; nothing to close then. p must stay
 * where it is. */
int peek_open(struct peek *p, const char *path, struct err *e);
/* n bytes in memory in place of a file; borrowed. Nothing to close. */
void peek_bytes(struct peek *p, const char *bytes, size_t n, const char *name);
/* Up to n bytes into buf: how many, 0 at the end, -1 with e set. ctx is the
 * struct peek (a json_pull_fn). */
int64_t peek_read(void *ctx, void *buf, size_t n, struct err *e);
/* Closes the file, but for standard input. */
void peek_close(struct peek *p);

#endif
