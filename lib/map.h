/* map: a file as read-only memory. */
#ifndef R1_MAP_H
#define R1_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct map {
	const uint8_t *data;	/* NULL for an empty file */
	size_t n;
};

/* Maps the whole of path. 0, or -1 with ERR_IO (ERR_FORMAT: not a file). */
int map_open(struct map *m, const char *path, struct err *e);
void map_close(struct map *m);	/* {0} is legal */

#endif
