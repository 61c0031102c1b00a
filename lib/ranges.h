/* ranges: sets of small numbers as people write them: "all", "3", "0,4-7". */
#ifndef R1_RANGES_H
#define R1_RANGES_H

#include "err.h"

/* Writes the numbers that text names, each below n, ascending and once each,
 * to out (room for n). How many (at least one), or -1 with ERR_USAGE. */
int ranges_parse(const char *text, int n, int *out, struct err *e);

#endif
