/*
 * secret: a key that must not be seen: not in a core, not on a swap device,
 * not in a command line, a log or the environment of children.
 *
 * It comes from an environment variable or from a file, never from an option's
 * value, and lies in pages of its own that are locked and left out of cores.
 * Libraries copy what they send, so holding one also makes the process
 * undumpable: no core at all, and no other process of the user may read it.
 */
#ifndef R1_SECRET_H
#define R1_SECRET_H

#include <stddef.h>

#include "err.h"

struct secret {			/* {0}: none */
	char *text;		/* prefix and key, NUL-ended; NULL: none */
	size_t n_prefix;	/* bytes in front of the key */
	size_t mapped;
};

/* Reads the key from the first line of file, or, when file is NULL, from the
 * environment variable env (either may be NULL), whose value is overwritten.
 * prefix is put in front ("x-api-key: "). No such variable, or an empty one:
 * 0 with k->text NULL. -1: ERR_IO, or ERR_FORMAT when the key has bytes that
 * are no printable ASCII or none; the message never holds the key. */
int secret_load(struct secret *k, const char *prefix, const char *file,
                const char *env, struct err *e);
/* Wipes and frees; {0} is legal. */
void secret_free(struct secret *k);

#endif
