/*
 * file: files that are either whole or absent.
 *
 * Bytes go to PATH.tmp; committing flushes them to the disk and renames, so
 * that PATH holds the old contents or all of the new ones whatever happens in
 * between. A PATH.tmp left by a killed process is overwritten by the next.
 */
#ifndef R1_FILE_H
#define R1_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct file_out;

/* NULL with ERR_IO or ERR_MEM. */
struct file_out *file_out_new(const char *path, struct err *e);
/* n bytes at offset `at`; any order, holes read as zeros. */
int file_out_write(struct file_out *f, uint64_t at, const void *data, size_t n,
                   struct err *e);
/* n bytes behind those before. `end` is a struct file_out_end (as void *, for
 * writers that hand their output to a function); starts with at 0. */
struct file_out_end {
	struct file_out *f;	/* borrowed */
	uint64_t at;		/* bytes so far */
};
int file_out_append(void *end, const char *data, size_t n, struct err *e);
/* fsync, close, rename, fsync of the folder. Once; then only free f. */
int file_out_commit(struct file_out *f, struct err *e);
/* Removes what was not committed. NULL is legal. */
void file_out_free(struct file_out *f);

/* The whole of a small file in one go. */
int file_write(const char *path, const void *data, size_t n, struct err *e);

/* Waits for the lock of path (flock on that file, made if need be). Returns a
 * descriptor whose closing lets go, or -1. The file stays. */
int file_lock(const char *path, struct err *e);

/* Makes path a symbolic link to target, replacing what was there, at once. */
int file_link(const char *target, const char *path, struct err *e);

/* Makes folder path and its parents, as mkdir -p. */
int file_mkdirs(const char *path, struct err *e);
/* The same for the folder that path lies in. */
int file_mkparents(const char *path, struct err *e);
/* Removes path and all that is in it, as rm -rf: links are not followed, and one
 * that is not there is no error. */
int file_remove_tree(const char *path, struct err *e);

#endif
