/* publish_impl: JSON as text, shared by the writers of lib/publish*.c. */
#ifndef R1_PUBLISH_IMPL_H
#define R1_PUBLISH_IMPL_H

#include "publish.h"
#include "text.h"

/* How bytes that are no UTF-8 (a token may end inside a character) are shown:
 * by U+FFFD, or as \xNN, which circuit-tracer's viewer joins again. */
enum publish_bytes { PUBLISH_REPLACE, PUBLISH_HEX };

/* A JSON string. NUL, which databases refuse, becomes U+FFFD. */
int publish_put_str(struct text *t, const char *s, size_t n,
                    enum publish_bytes b, struct err *e);
/* A token's text; one without any is U+FFFD. */
int publish_put_token(struct text *t, const struct tok *k, uint32_t id,
                      enum publish_bytes b, struct err *e);
/* Six digits. */
int publish_put_real(struct text *t, double v, struct err *e);
int publish_put_int(struct text *t, int64_t v, struct err *e);
/* Arrays. */
int publish_put_tokens(struct text *t, const struct tok *k,
                       const uint32_t *ids, size_t n, enum publish_bytes b,
                       struct err *e);
int publish_put_reals(struct text *t, const float *v, size_t n,
                      struct err *e);

/* Firings by value in n equal bins from 0 to the largest: log bins spread
 * evenly. */
void publish_hist(const struct examples_stats *s, double *bin, size_t n);

/* Removes what an earlier export left in a folder, by a pattern (fnmatch): files
 * of other numbers would be taken for this one's. No such folder is fine. */
int publish_clear(const char *dir, const char *pattern, struct err *e);

/* The makers of sinks, and what they fill them with. */
struct feat_sink publish_np_sink(void *ctx);
void *publish_np_new(const struct publish_opt *o, struct err *e);
void publish_np_free(void *ctx);
struct feat_sink publish_ct_sink(void *ctx);
void *publish_ct_new(const struct publish_opt *o, struct err *e);
void publish_ct_free(void *ctx);

#endif
