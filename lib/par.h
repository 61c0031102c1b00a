/*
 * par: a pool of threads that runs numbered items.
 *
 * Determinism is the caller's side of the bargain: cut the work into items
 * whose number and bounds depend on the problem only, never on the number of
 * threads, and let each item write its own output. Then the bytes are the
 * same with one thread or sixty.
 */
#ifndef R1_PAR_H
#define R1_PAR_H

#include <stddef.h>

#include "err.h"

struct par;

/* item: 0..n-1, each called exactly once; thread: 0..par_threads-1, for
 * per-thread scratch. Must not call par_for on the same pool. */
typedef void par_fn(void *ctx, size_t item, int thread);

/* A pool of n_threads (>= 1), the calling thread included. NULL with
 * ERR_MEM or ERR_IO. */
struct par *par_new(int n_threads, struct err *e);
void par_free(struct par *p);
int par_threads(const struct par *p);	/* 1 for NULL */

/* Runs fn on items 0..n-1 and returns when all are done. Each thread begins with a
 * share of neighbours, in order, and helps with others' shares when its own is done.
 * p may be NULL: then they run here, in order. */
void par_for(struct par *p, size_t n, par_fn *fn, void *ctx);

/* The item, of n, that a thread comes to as far from its share's end as `item` is
 * from its beginning: shares gone through backwards. */
size_t par_mirror(const struct par *p, size_t n, size_t item);

/* Processors this process may run on (affinity mask), at least 1. */
int par_cores(void);

#endif
