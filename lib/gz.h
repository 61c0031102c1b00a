/*
 * gz: zlib's two containers, for files of other programs: the one door to
 * zlib.h. No time and no name goes into a header: equal input, equal bytes.
 */
#ifndef R1_GZ_H
#define R1_GZ_H

#include <stddef.h>

#include "err.h"

enum gz_form { GZ_ZLIB, GZ_GZIP };	/* RFC 1950, RFC 1952 */

/* n bytes packed; *out for mem_free. */
int gz_pack(enum gz_form f, const void *data, size_t n, char **out,
            size_t *n_out, struct err *e);

/* A gzip file, whole or absent as with file_out. */
struct gz_out;
struct gz_out *gz_out_new(const char *path, struct err *e);
int gz_out_write(struct gz_out *g, const void *data, size_t n, struct err *e);
/* Once; then only free g. */
int gz_out_commit(struct gz_out *g, struct err *e);
/* Removes what was not committed. NULL is legal. */
void gz_out_free(struct gz_out *g);

#endif
