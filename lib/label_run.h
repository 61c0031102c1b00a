/*
 * label_run: asks about a set of latents until every answer is there.
 */
#ifndef R1_LABEL_RUN_H
#define R1_LABEL_RUN_H

#include <jansson.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "http_api.h"
#include "label.h"
#include "label_db.h"
#include "label_embed.h"
#include "label_local.h"
#include "label_wire.h"
#include "log.h"

/* ---- which latents ---- */

struct label_pick {
	const char *layers;	/* as ranges_parse reads it */
	const char *list;	/* file of "layer latent" lines, or NULL: all */
	double min_frequency;
	size_t per_layer;	/* a sample of each layer, 0: all */
	size_t n_show, n_test;	/* contexts kept */
	size_t window;		/* tokens of a context, 0: as they are */
	uint64_t seed;
};

struct label_set {
	struct label_feature *f;	/* ascending by layer and latent */
	size_t n, cap;
	uint32_t (*dead)[2];		/* layer, latent: never fired */
	size_t n_dead, cap_dead;
	size_t n_seen;			/* latents read */
};

/* Reads all of r, keeping those picked; every latent goes into d (NULL: none
 * does). 0 or -1. */
int label_set_read(struct label_set *s, struct examples_in *r,
                   const struct examples_head *h, const struct label_pick *p,
                   const struct tok *t, struct label_db *d, struct err *e);
/* One made-up latent, its contexts of `window` tokens, for estimates before
 * there is a corpus. */
int label_set_assume(struct label_set *s, const struct label_pick *p,
                     size_t window, struct err *e);
void label_set_free(struct label_set *s);

/* ---- asking ---- */

struct label_run_opt {
	const struct label_plan *plan;
	const struct label_wire *wire;
	struct label_price price;
	int priced;		/* the price is known */
	double max_usd;		/* for all answers in the database; 0: no limit */
	int attempts;		/* at a usable answer */
	int concurrency;
	struct http_api_opts api;
	const char *const *headers;	/* with the key */
	const char *secret;	/* kept out of what is logged, or NULL */
	struct label_local *local;	/* for LABEL_LOCAL */
	struct label_near *near;	/* embeds here; or NULL */
	/* Where labels are scored by embeddings, how those are asked for: its
	 * wire (embeds), price, api, headers, secret and near count. */
	const struct label_run_opt *embed;
	int batch;		/* through the provider's batch API */
	size_t batch_size;	/* requests of one */
	double poll_s;
	const volatile sig_atomic_t *stop;	/* set: end as soon as the
				 * answers under way are kept */
	void (*progress)(void *ctx, size_t done, size_t labelled, double usd);
	void *ctx;
	struct log log;
};

struct label_totals {
	size_t labelled, failed, scored;	/* latents */
	size_t asked;		/* answers that came in this run */
	size_t unusable;	/* of these */
	struct label_usage use;
	double usd;		/* of this run; all of it in spent */
	double spent;
};

/* 0 when nothing is left to ask. -1: ERR_STOP at the limit of dollars or when
 * stopped; anything else when going on makes no sense. What came is kept in
 * every case. */
int label_run(const struct label_run_opt *o, const struct label_set *s,
              struct label_db *d, struct label_totals *t, struct err *e);

/* What asking about s would take, for what d (or NULL) has no answers yet, `times`
 * over: "model", "prompt_version", "features", "requests", "input_tokens",
 * "output_tokens" and, where prices are known, "usd", "usd_batch",
 * "usd_per_label"; "embedded_tokens" with embeddings. New reference, or NULL. */
json_t *label_estimate(const struct label_run_opt *o, const struct label_set *s,
                       struct label_db *d, double times, struct err *e);

#endif
