/*
 * gguf: GGUF files (versions 2 and 3, little-endian): metadata and tensors.
 *
 * Format: magic, version, counts; key-value pairs; tensor descriptions; then
 * the data at a multiple of general.alignment. Source: the GGUF specification
 * in github.com/ggml-org/ggml, docs/gguf.md.
 */
#ifndef R1_GGUF_H
#define R1_GGUF_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "tensor.h"

struct gguf;

/*
 * Maps path and checks everything in front of the data: counts and lengths
 * against the bytes left, unique keys and names, known types, shapes,
 * alignment, tensors inside the file and apart from each other. A tensor type
 * that enum dtype lacks is an error. NULL with ERR_IO, ERR_FORMAT, ERR_MEM.
 */
struct gguf *gguf_open(const char *path, struct err *e);
/* The same from n bytes in memory, borrowed; name is for messages. */
struct gguf *gguf_parse(const void *data, size_t n, const char *name,
                        struct err *e);
void gguf_free(struct gguf *g);

/* ---- metadata: 1 found, 0 no such key (*out untouched), -1 another type or
 * a number that does not fit: ERR_FORMAT ---- */

/* Any integer type within lo..hi. */
int gguf_int(const struct gguf *g, const char *key, int64_t lo, int64_t hi,
             int64_t *out, struct err *e);
/* f32, f64 or an integer. */
int gguf_real(const struct gguf *g, const char *key, double *out,
              struct err *e);
int gguf_bool(const struct gguf *g, const char *key, int *out, struct err *e);
/* Borrowed until gguf_free, without NUL bytes inside. */
int gguf_str(const struct gguf *g, const char *key, const char **out,
             struct err *e);

/* A string in the file: not NUL-terminated, any bytes. */
struct gguf_text {
	const char *s;
	size_t n;
};

/* Arrays: *out is new, for mem_free; its elements borrow the file. */
int gguf_texts(const struct gguf *g, const char *key, struct gguf_text **out,
               size_t *n, struct err *e);
/* of any integer type or bool; u64 values beyond INT64_MAX are refused */
int gguf_ints(const struct gguf *g, const char *key, int64_t **out, size_t *n,
              struct err *e);

/* ---- tensors: views into the mapping, row-major (ggml's dimensions
 * reversed), in order of name; i < gguf_count ---- */

size_t gguf_count(const struct gguf *g);
const struct tensor *gguf_at(const struct gguf *g, size_t i);
/* NULL when there is none of that name. */
const struct tensor *gguf_find(const struct gguf *g, const char *name);

#endif
