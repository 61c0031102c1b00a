/*
 * label_db: features.sqlite: latents, answers, labels and scores.
 * r1-features(5) describes its tables.
 *
 * A run may be killed at any moment: what has been committed stands, and what
 * follows from it is made again.
 */
#ifndef R1_LABEL_DB_H
#define R1_LABEL_DB_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "examples.h"
#include "label.h"
#include "label_wire.h"
#include "sql.h"
#include "tok.h"

struct label_db;

/* Opens or makes a database. NULL with e set; ERR_FORMAT when it is of another
 * version of the tables. */
struct label_db *label_db_open(const char *path, struct err *e);
void label_db_close(struct label_db *d);
struct sql *label_db_sql(struct label_db *d);

int label_db_begin(struct label_db *d, struct err *e);
int label_db_commit(struct label_db *d, struct err *e);
void label_db_rollback(struct label_db *d);

/* ---- latents ---- */

/* Notes what the latents are of and where they come from (prov of the stream,
 * or NULL), and makes the views of the layers. ERR_FORMAT when the database
 * holds those of other transcoders. */
int label_db_head(struct label_db *d, const struct examples_head *h,
                  const json_t *prov, struct err *e);
int label_db_latent(struct label_db *d, const struct examples_latent *l,
                    const struct tok *t, struct err *e);
/* The tokens and activations of the feature's contexts. */
int label_db_contexts(struct label_db *d, const struct label_feature *f,
                      const struct tok *t, struct err *e);

/* ---- answers ---- */

/* What identifies labels besides the latent. */
struct label_db_key {
	const char *model, *prompt;	/* prompt: its version */
};

/* Answer `attempt` to the request id: 1 with its body (for mem_free), 0, -1. */
int label_db_reply(struct label_db *d, const char *id, int attempt,
                   char **body, size_t *n, struct err *e);
/* Notes whom a request is about; label_db_put_reply does. */
int label_db_put_ask(struct label_db *d, const struct label_db_key *k,
                     const struct label_ask *a, struct err *e);
/* Keeps an answer; one that is there already stays (0 then, else 1). usd < 0:
 * unknown. batch: the key of its batch, or NULL. */
int label_db_put_reply(struct label_db *d, const struct label_db_key *k,
                       const struct label_ask *a, const char *body, size_t n,
                       const struct label_usage *u, double usd,
                       const char *batch, struct err *e);
/* Dollars that all answers have cost. */
int label_db_spent(struct label_db *d, double *usd, struct err *e);

/* ---- what follows from them ---- */

/* a NULL: asking failed, and why. */
int label_db_put_label(struct label_db *d, const struct label_db_key *k,
                       const struct label_feature *f, const char *request,
                       const struct label_answer *a, const char *why,
                       struct err *e);
/* The latent's label, for mem_free: 1, 0 when it has none, -1. */
int label_db_label(struct label_db *d, const struct label_db_key *k,
                   uint32_t layer, uint32_t latent, char **label,
                   struct err *e);
/* A latent that never fired. */
int label_db_put_dead(struct label_db *d, const struct label_db_key *k,
                      uint32_t layer, uint32_t latent, struct err *e);
/* said[i]: 0, 1, or 255 where no answer could be had. */
int label_db_put_score(struct label_db *d, const struct label_db_key *k,
                       const struct label_feature *f, enum label_kind kind,
                       const struct label_item *items, const uint8_t *said,
                       size_t n, const struct label_score *s, struct err *e);
/* The score by embeddings of the model `embedder`; near[n] of items. */
int label_db_put_embedding(struct label_db *d, const struct label_db_key *k,
                           const struct label_feature *f, const char *embedder,
                           const struct label_item *items, const double *near,
                           size_t n, const struct label_auc *s, struct err *e);

/* ---- batches ---- */

/* Requests that went out together. A batch is noted before it is sent, under a
 * key made from its requests, and gets the provider's id after. */
struct label_db_batch {
	char key[80], remote[160];	/* remote "": not known to have arrived */
	int64_t n;
};

int label_db_batch_note(struct label_db *d, const char *key,
                        const struct label_ask *asks, size_t n,
                        const struct label_db_key *k, struct err *e);
int label_db_batch_sent(struct label_db *d, const char *key,
                        const char *remote, struct err *e);
int label_db_batch_done(struct label_db *d, const char *key, struct err *e);
/* Forgets a batch that never arrived. */
int label_db_batch_drop(struct label_db *d, const char *key, struct err *e);
/* The first batch that is not done: 1, 0, -1. */
int label_db_batch_open(struct label_db *d, struct label_db_batch *b,
                        struct err *e);
/* Whether a batch of that remote id was noted. */
int label_db_batch_known(struct label_db *d, const char *remote,
                         struct err *e);
/* Request id (with its attempt) of a batch as an ask: 1, or 0 when the batch
 * holds no such. Only id, layer, latent, kind, part and attempt are filled. */
int label_db_batch_ask(struct label_db *d, const char *key, const char *id,
                       int attempt, struct label_ask *a, struct err *e);

#endif
