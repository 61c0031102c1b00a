/*
 * metrics: measurements as JSON lines, one object a line, to a file or to a
 * descriptor somebody opened for it. Never to stdout unless that is named.
 */
#ifndef R1_METRICS_H
#define R1_METRICS_H

#include <jansson.h>
#include <stdint.h>

#include "err.h"

struct metrics;

/* where: a path, "-" (stdout) or a descriptor's number ("3"). append: go on after
 * the whole lines that are there (a last one that was cut short goes), else start
 * anew.
 * where NULL: a sink that swallows everything, so that callers need not ask.
 * NULL with ERR_IO. */
struct metrics *metrics_open(const char *where, int append, struct err *e);
/* For a run that resumes from saved state: also drops the lines from the first
 * whose integer member key is above last. They were written after the state
 * was saved and will come again. */
struct metrics *metrics_resume(const char *where, const char *key,
                               int64_t last, struct err *e);
/* Writes obj (the reference is taken, also on error) as one line, at once. */
int metrics_write(struct metrics *m, json_t *obj, struct err *e);
/* Whether somebody reads: to skip the making of costly lines. */
int metrics_wanted(const struct metrics *m);
/* Closes, checked. Frees m whatever happens; NULL is legal. */
int metrics_close(struct metrics *m, struct err *e);

#endif
