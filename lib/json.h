/*
 * json: reading JSON through jansson with our limits and our messages.
 *
 * json_t and the jansson accessors are used directly; what is here adds what
 * jansson lacks: byte ranges as input, size and depth bounds, errors that name
 * the source and the offset, and getters that complain properly.
 */
#ifndef R1_JSON_H
#define R1_JSON_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* Parses one JSON text of n bytes. name is for messages. New reference, or
 * NULL with ERR_FORMAT. Duplicate keys: the last wins. Depth <= 512. When some
 * integer is beyond 64 bits, all integers become reals. */
json_t *json_parse(const char *text, size_t n, const char *name,
                   struct err *e);

/* Parses a whole file of at most max_bytes. */
json_t *json_read(const char *path, size_t max_bytes, struct err *e);

/* obj[key] as a number in lo..hi. `def` when the key is absent or null and
 * def is inside lo..hi; else its absence is an error. 0 or -1. */
int json_int(const json_t *obj, const char *key, int64_t lo, int64_t hi,
             int64_t def, int64_t *out, struct err *e);
int json_number(const json_t *obj, const char *key, double lo, double hi,
                double def, double *out, struct err *e);

/* obj[key] as true/false, def when absent or null. -1 when something else. */
int json_bool(const json_t *obj, const char *key, int def, int *out,
              struct err *e);

/* obj[key] as a string (borrowed from obj), def (may be NULL) when absent. */
int json_str(const json_t *obj, const char *key, const char *def,
             const char **out, struct err *e);

/* v as a JSON number, null when it is NaN or infinite. New reference. */
json_t *json_finite(double v);

/* n bytes as a JSON string, what is no UTF-8 replaced by U+FFFD. */
json_t *json_bytes(const char *bytes, size_t n, struct err *e);

#endif
