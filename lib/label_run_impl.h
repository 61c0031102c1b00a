/* What label_run.c, label_here.c and label_batch.c share. */
#ifndef R1_LABEL_RUN_IMPL_H
#define R1_LABEL_RUN_IMPL_H

#include "label_run.h"

/* How far a latent is. */
struct label_state {
	char *label;		/* NULL: not answered yet */
	int done;
	struct label_item *items[LABEL_KINDS];
	uint8_t *said[LABEL_KINDS];
	size_t n[LABEL_KINDS], left[LABEL_KINDS];	/* items, open asks */
};

struct label_work {
	const struct label_run_opt *o;
	const struct label_set *s;
	struct label_db *d;
	struct label_totals *t;
	struct label_db_key key;
	struct label_state *state;	/* of each latent */
	size_t next;			/* latent not looked at yet */
	struct label_ask *queue;	/* a stack of what is to be asked */
	size_t n_queue, cap_queue;
	double spent;
	int good;			/* some answer was usable */
	int embedding;			/* labels are there and are scored by
					 * embeddings */
};

/* The next request: 1, 0 when there is none, -1. It is the caller's. */
int label_work_next(struct label_work *w, struct label_ask *a, struct err *e);
/* Queues a, which is taken over. */
int label_work_push(struct label_work *w, struct label_ask *a, struct err *e);
/* There will be no usable answer to a: why says so. */
int label_work_give_up(struct label_work *w, const struct label_ask *a,
                       const char *why, struct err *e);
/* Looks at latent i: what its answers say, and what is left to ask, onto the
 * queue. */
int label_work_begin(struct label_work *w, size_t i, struct err *e);
/* Keeps an answer; batch: its key, or NULL. */
int label_work_keep(struct label_work *w, const struct label_ask *a,
                    const char *body, size_t n, const char *batch,
                    struct err *e);
/* Keeps an answer, then uses it, which may queue more; a is taken over. */
int label_work_take(struct label_work *w, struct label_ask *a,
                    const char *body, size_t n, struct err *e);
void label_work_tell(const struct label_work *w);	/* how far it is */
/* Forgets what was learned, not what is kept. */
void label_work_reset(struct label_work *w);
int label_work_stopped(const struct label_work *w);
double label_work_guess(const struct label_work *w, const struct label_ask *a,
                        int batch);

/* Everything by an API, one request an answer. */
int label_live_run(struct label_work *w, struct err *e);
/* Everything by what runs here: a model, or a rule. */
int label_here_run(struct label_work *w, struct err *e);
/* Everything through batches. */
int label_batch_run(struct label_work *w, struct err *e);

#endif
