/*
 * mem: checked allocation. Every size that comes from a file or an option
 * goes through here, so that a product cannot wrap.
 */
#ifndef R1_MEM_H
#define R1_MEM_H

#include <stddef.h>

#include "err.h"

/* *out = a * b, or -1 with ERR_RANGE when it does not fit. */
int mem_mul(size_t a, size_t b, size_t *out, struct err *e);

/* n * size zeroed bytes, 64-byte aligned, never NULL for n = 0. NULL with
 * ERR_RANGE (overflow) or ERR_MEM. Free with mem_free. */
void *mem_array(size_t n, size_t size, struct err *e);

/* As mem_array but not zeroed: for buffers written before they are read. */
void *mem_scratch(size_t n, size_t size, struct err *e);

/* Grows *buf (of *cap elements; NULL and 0 at first) to hold at least `want`
 * elements, doubling, contents kept. 0, or -1 with *buf untouched. Buffers
 * grown so are freed with mem_free. */
int mem_grow(void *buf, size_t *cap, size_t want, size_t size, struct err *e);

/* A copy of s (of n bytes of s, NUL added). Free with mem_free. */
char *mem_strdup(const char *s, struct err *e);
char *mem_strndup(const char *s, size_t n, struct err *e);

/* printf into a new string, for mem_free. */
char *mem_printf(struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* NULL is legal. */
void mem_free(void *p);

/* Bytes that this process may still take without being in trouble: what the
 * machine, its control group and its limits leave, the least of them. SIZE_MAX
 * when nobody says. */
size_t mem_available(void);
/* Bytes in memory now, and at most so far; 0 when nobody says. */
size_t mem_resident(void);
size_t mem_resident_most(void);

#endif
