/*
 * safet: safetensors files, read by mapping and written in a stream.
 *
 * Format: u64 length of the header, the header (JSON: name -> dtype, shape,
 * data_offsets; "__metadata__" -> strings), then the tensors end to end.
 * Source: github.com/huggingface/safetensors, README and safetensors/src.
 */
#ifndef R1_SAFET_H
#define R1_SAFET_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "tensor.h"

struct safet;

/*
 * path: a .safetensors file, or a folder that holds model.safetensors or the
 * shards of model.safetensors.index.json. Every offset, shape and size is
 * checked: tensors fill the file exactly, names are unique, a type we don't
 * know is an error. NULL with ERR_IO, ERR_FORMAT or ERR_MEM.
 */
struct safet *safet_open(const char *path, struct err *e);
/* The same from n bytes in memory, borrowed; name is for messages. */
struct safet *safet_parse(const void *data, size_t n, const char *name,
                          struct err *e);
void safet_free(struct safet *s);

/* Views borrow the mapping: they live until safet_free, and may be unaligned.
 * Tensors are in order of name; i < safet_count. */
size_t safet_count(const struct safet *s);
const struct tensor *safet_at(const struct safet *s, size_t i);
/* NULL when there is none of that name. */
const struct tensor *safet_find(const struct safet *s, const char *name);
/* The same, but its absence or a shape other than the n_dims given is an
 * ERR_FORMAT that says so. A dimension of 0 wanted matches any. */
const struct tensor *safet_get(const struct safet *s, const char *name,
                               int n_dims, const size_t *shape,
                               struct err *e);
/* A string of __metadata__ (of the first shard), or NULL. */
const char *safet_meta(const struct safet *s, const char *key);

/* ---- writing ---- */

struct safet_decl {
	const char *name;
	enum dtype type;	/* not a quantised one */
	int n_dims;
	size_t shape[TENSOR_DIMS];
};

struct safet_out;

/*
 * Begins PATH.tmp with the n tensors declared, laid out as the safetensors
 * library does: wider types first, then by name. meta is NULL or pairs of
 * strings, key and value, closed by a NULL key. Names must be unique.
 * NULL with ERR_IO, ERR_RANGE or ERR_MEM.
 */
struct safet_out *safet_create(const char *path, const struct safet_decl *decl,
                               size_t n, const char *const *meta,
                               struct err *e);
/* The next n_bytes of tensor `name`; tensors in any order, each in parts if
 * need be. More than declared is ERR_RANGE. */
int safet_put(struct safet_out *o, const char *name, const void *data,
              size_t n_bytes, struct err *e);
/* Flushes to disk and renames to PATH. A tensor not filled is ERR_RANGE. */
int safet_commit(struct safet_out *o, struct err *e);
/* Drops what was not committed. NULL is legal. */
void safet_out_free(struct safet_out *o);

#endif
