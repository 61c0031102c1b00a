/* sha256: digests as 64 lower-case hexadecimal digits and a NUL. */
#ifndef R1_SHA256_H
#define R1_SHA256_H

#include <stddef.h>

#include "err.h"

enum { SHA256_HEX = 65 };

/* Of n bytes. 0, or -1 ERR_MEM. */
int sha256_bytes(const void *data, size_t n, char hex[SHA256_HEX],
                 struct err *e);
/* Of the file at path. 0, or -1 ERR_IO. */
int sha256_file(const char *path, char hex[SHA256_HEX], struct err *e);

/* Bytes as they come. */
struct sha256;
struct sha256 *sha256_new(struct err *e);
void sha256_free(struct sha256 *s);
int sha256_add(struct sha256 *s, const void *data, size_t n, struct err *e);
/* The digest; s then starts anew. */
int sha256_end(struct sha256 *s, char hex[SHA256_HEX], struct err *e);

#endif
