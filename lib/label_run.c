#include "label_run_impl.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"

/* ---- the queue ---- */

int label_work_push(struct label_work *w, struct label_ask *a, struct err *e)
{
	if (mem_grow(&w->queue, &w->cap_queue, w->n_queue + 1,
	             sizeof(*w->queue), e) < 0) {
		label_ask_free(a);
		return -1;
	}
	w->queue[w->n_queue++] = *a;
	return 0;
}

static int consider(struct label_work *w, struct label_ask *a, struct err *e);

/* ---- what an answer leads to ---- */

static const struct label_feature *feature(const struct label_work *w,
                                           const struct label_ask *a)
{
	return &w->s->f[a->feature];
}

/* A scorer has judged all it will: the score, when both sides were judged. */
static int close_score(struct label_work *w, size_t i, enum label_kind kind,
                       struct err *e)
{
	const struct label_state *st = &w->state[i];
	struct label_score s = { 0 };
	size_t j;

	for (j = 0; j < st->n[kind]; j++) {
		int truth = st->items[kind][j].truth, said = st->said[kind][j];

		if (said > 1)
			continue;
		s.on += truth;
		s.off += !truth;
		s.hit_on += truth && said;
		s.hit_off += !truth && !said;
	}
	if (label_score_close(&s) < 0)
		return 0;
	w->t->scored++;
	return label_db_put_score(w->d, &w->key, &w->s->f[i], kind,
	                          st->items[kind], st->said[kind],
	                          st->n[kind], &s, e);
}

static int begin_score(struct label_work *w, size_t i, enum label_kind kind,
                       struct err *e)
{
	const struct label_plan *p = w->o->plan;
	const struct label_feature *f = &w->s->f[i];
	struct label_state *st = &w->state[i];
	size_t max = 2 * p->n_test, at, n;
	size_t most = kind == LABEL_EMBED ? max : p->per_ask;
	struct label_ask a;
	uint32_t part = 0;

	if (!(st->items[kind] = mem_array(max + 1, sizeof(struct label_item),
	                                  e)) ||
	    !(st->said[kind] = mem_array(max + 1, 1, e)))
		return -1;
	st->n[kind] = label_items(p, f, kind, st->items[kind]);
	memset(st->said[kind], 255, max + 1);
	st->left[kind] = (st->n[kind] + most - 1) / most;
	for (at = 0; at < st->n[kind]; at += n, part++) {
		n = st->n[kind] - at;
		n = n < most ? n : most;
		if (label_ask_items(p, f, kind, part, st->label,
		                    st->items[kind] + at, n, &a, e) < 0)
			return -1;
		a.feature = i;
		if (consider(w, &a, e) < 0)
			return -1;
	}
	return 0;
}

static int got_label(struct label_work *w, const struct label_ask *a,
                     const struct label_answer *v, struct err *e)
{
	struct label_state *st = &w->state[a->feature];

	if (label_db_put_label(w->d, &w->key, feature(w, a), a->id, v, NULL,
	                       e) < 0 ||
	    !(st->label = mem_strdup(v->label, e)))
		return -1;
	w->t->labelled++;
	st->done = 1;
	if (!w->o->plan->n_test)
		return 0;
	if (w->o->plan->fuzz && begin_score(w, a->feature, LABEL_FUZZ, e) < 0)
		return -1;
	return w->o->plan->detect
	       ? begin_score(w, a->feature, LABEL_DETECT, e) : 0;
}

/* An ask of a score has its answer, v, or will have none, NULL. */
static int got_part(struct label_work *w, const struct label_ask *a,
                    const struct label_answer *v, struct err *e)
{
	struct label_state *st = &w->state[a->feature];

	if (v)
		memcpy(st->said[a->kind] + a->part * w->o->plan->per_ask,
		       v->bits, v->n_bits);
	return --st->left[a->kind] ? 0 : close_score(w, a->feature, a->kind,
	                                             e);
}

int label_work_give_up(struct label_work *w, const struct label_ask *a,
                   const char *why, struct err *e)
{
	if (a->kind == LABEL_EMBED)
		return 0;
	if (a->kind != LABEL_LABEL)
		return got_part(w, a, NULL, e);
	w->t->failed++;
	w->state[a->feature].done = 1;
	return label_db_put_label(w->d, &w->key, feature(w, a), a->id, NULL,
	                          why, e);
}

/* The score by embeddings, of a body that label_embed_keep made. */
static int use_embedding(struct label_work *w, const struct label_ask *a,
                         const char *body, size_t n, struct err *why,
                         struct err *e)
{
	const struct label_state *st = &w->state[a->feature];
	double *near = mem_array(a->n_items + 1, sizeof(*near), e);
	uint8_t *truth = st->said[LABEL_EMBED];	/* room for it */
	struct label_auc s;
	size_t i;
	int rc;

	if (!near)
		return -1;
	rc = label_embed_read(w->o->wire, a, body, n, near, why);
	if (rc < 0) {
		*e = *why;
		(void)err_wrap(e, "%s", a->id);
	} else if (rc == 0) {
		w->good = 1;
		for (i = 0; i < a->n_items; i++)
			truth[i] = (uint8_t)st->items[LABEL_EMBED][i].truth;
		(void)label_auc_of(near, truth, a->n_items, &s);
		w->t->scored++;
		rc = label_db_put_embedding(w->d, &w->key, feature(w, a),
		                            w->o->plan->embedder,
		                            st->items[LABEL_EMBED], near,
		                            a->n_items, &s, e);
		rc = rc < 0 ? -1 : 1;
	} else {
		rc = 0;
	}
	mem_free(near);
	return rc;
}

/* Reads the body of an answer. 1: it was used; 0: it cannot be, *why says so;
 * -1: going on makes no sense. */
static int use(struct label_work *w, const struct label_ask *a,
               const char *body, size_t n, struct label_usage *u,
               struct err *why, struct err *e)
{
	struct label_answer v;
	char *text;
	size_t n_text;
	int rc;

	if (a->kind == LABEL_EMBED)
		return use_embedding(w, a, body, n, why, e);
	rc = label_wire_read(w->o->wire, body, n, &text, &n_text, u, why);
	if (rc < 0) {
		*e = *why;
		return err_wrap(e, "%s", a->id);
	}
	if (rc > 0)
		return 0;
	rc = label_form_parse(a->form, a->n_items, text, n_text, &v, why);
	mem_free(text);
	if (rc < 0)
		return 0;
	w->good = 1;
	rc = a->kind == LABEL_LABEL ? got_label(w, a, &v, e)
	                            : got_part(w, a, &v, e);
	label_answer_free(&v);
	return rc < 0 ? -1 : 1;
}

/* Takes a over: what is kept of its answers is used, else it is queued. */
static int consider(struct label_work *w, struct label_ask *a, struct err *e)
{
	struct label_usage u;
	struct err why = { 0 };
	char *body;
	size_t n;
	int got = 0;

	for (; a->attempt <= w->o->attempts; a->attempt++) {
		got = label_db_reply(w->d, a->id, a->attempt, &body, &n, e);
		if (got <= 0)
			break;
		got = use(w, a, body, n, &u, &why, e);
		mem_free(body);
		if (got)
			break;
	}
	if (got == 0 && a->attempt <= w->o->attempts)
		return label_work_push(w, a, e);
	if (got == 0)
		got = label_work_give_up(w, a, why.msg, e);
	label_ask_free(a);
	return got < 0 ? -1 : 0;
}

/* Latent i has its label: what is left is how near that is. */
static int begin_embedding(struct label_work *w, size_t i, struct err *e)
{
	const struct label_feature *f = &w->s->f[i];
	struct label_state *st = &w->state[i];
	int got = label_db_label(w->d, &w->key, f->layer, f->id, &st->label, e);

	if (got <= 0 || !f->on.n || !f->off.n)
		return got < 0 ? -1 : 0;
	if (label_db_begin(w->d, e) < 0)
		return -1;
	if (begin_score(w, i, LABEL_EMBED, e) == 0)
		return label_db_commit(w->d, e);
	label_db_rollback(w->d);
	return -1;
}

int label_work_begin(struct label_work *w, size_t i, struct err *e)
{
	struct label_ask a;
	int rc;

	if (w->embedding)
		return begin_embedding(w, i, e);
	if (label_ask_label(w->o->plan, &w->s->f[i], &a, e) < 0)
		return -1;
	a.feature = i;
	if (label_db_begin(w->d, e) < 0) {
		label_ask_free(&a);
		return -1;
	}
	rc = consider(w, &a, e);
	if (rc == 0)
		return label_db_commit(w->d, e);
	label_db_rollback(w->d);
	return -1;
}

int label_work_keep(struct label_work *w, const struct label_ask *a,
                    const char *body, size_t n, const char *batch,
                    struct err *e)
{
	struct label_usage u = { 0 };
	struct err why = { 0 };
	char *text;
	size_t n_text;
	double usd;
	int new;

	(void)label_wire_read(w->o->wire, body, n, &text, &n_text, &u, &why);
	mem_free(text);
	usd = w->o->priced ? label_price_of(&w->o->price, &u, batch != NULL)
	                   : -1;
	if (label_db_begin(w->d, e) < 0)
		return -1;
	new = label_db_put_reply(w->d, &w->key, a, body, n, &u, usd, batch, e);
	if (new < 0) {
		label_db_rollback(w->d);
		return -1;
	}
	if (label_db_commit(w->d, e) < 0)
		return -1;
	if (!new)
		return 0;
	w->t->asked++;
	w->t->use.input += u.input;
	w->t->use.cache_write += u.cache_write;
	w->t->use.cache_read += u.cache_read;
	w->t->use.output += u.output;
	if (usd > 0) {
		w->t->usd += usd;
		w->spent += usd;
	}
	return 0;
}

int label_work_take(struct label_work *w, struct label_ask *a,
                    const char *body, size_t n, struct err *e)
{
	struct label_usage u;
	struct err why = { 0 };
	int got;

	if (label_work_keep(w, a, body, n, NULL, e) < 0 ||
	    label_db_begin(w->d, e) < 0) {
		label_ask_free(a);
		return -1;
	}
	got = use(w, a, body, n, &u, &why, e);
	if (got == 0) {
		w->t->unusable++;
		log_say(&w->o->log, "%s: attempt %d: %s", a->id, a->attempt,
		        why.msg);
		if (a->attempt < w->o->attempts) {
			a->attempt++;
			got = label_work_push(w, a, e);
			*a = (struct label_ask){ 0 };
		} else {
			got = label_work_give_up(w, a, why.msg, e);
		}
	}
	label_ask_free(a);
	if (got >= 0)
		return label_db_commit(w->d, e);
	label_db_rollback(w->d);
	return -1;
}

void label_work_reset(struct label_work *w)
{
	size_t i, k;

	for (i = 0; i < w->s->n; i++) {
		for (k = 0; k < LABEL_KINDS; k++) {
			mem_free(w->state[i].items[k]);
			mem_free(w->state[i].said[k]);
		}
		mem_free(w->state[i].label);
		w->state[i] = (struct label_state){ 0 };
	}
	for (i = 0; i < w->n_queue; i++)
		label_ask_free(&w->queue[i]);
	w->n_queue = w->next = 0;
	w->t->labelled = w->t->failed = w->t->scored = 0;
}

int label_work_stopped(const struct label_work *w)
{
	return w->o->stop && *w->o->stop;
}

double label_work_guess(const struct label_work *w, const struct label_ask *a,
                        int batch)
{
	struct label_usage u = label_price_guess(a);

	return w->o->priced ? label_price_of(&w->o->price, &u, batch) : 0;
}

void label_work_tell(const struct label_work *w)
{
	if (w->o->progress)
		w->o->progress(w->o->ctx, w->next, w->t->labelled, w->spent);
}

int label_work_next(struct label_work *w, struct label_ask *a, struct err *e)
{
	while (!w->n_queue && w->next < w->s->n)
		if (label_work_begin(w, w->next++, e) < 0)
			return -1;
	if (!w->n_queue)
		return 0;
	*a = w->queue[--w->n_queue];
	return 1;
}

/* ---- the whole ---- */

static int put_rest(struct label_work *w, struct err *e)
{
	const struct label_set *s = w->s;
	size_t i;

	if (label_db_begin(w->d, e) < 0)
		return -1;
	for (i = 0; i < s->n_dead; i++)
		if (label_db_put_dead(w->d, &w->key, s->dead[i][0],
		                      s->dead[i][1], e) < 0)
			goto fail;
	for (i = 0; i < s->n; i++)
		if (label_db_contexts(w->d, &s->f[i], w->o->plan->tok, e) < 0)
			goto fail;
	return label_db_commit(w->d, e);
fail:
	label_db_rollback(w->d);
	return -1;
}

/* Scores the labels that are there by embeddings. */
static int embed(struct label_work *w, struct err *e)
{
	const struct label_totals before = *w->t;
	int rc;

	label_work_reset(w);
	w->o = w->o->embed;
	w->embedding = 1;
	w->good = 0;
	rc = w->o->near ? label_here_run(w, e) : label_live_run(w, e);
	w->t->labelled = before.labelled;
	w->t->failed = before.failed;
	w->t->scored += before.scored;
	return rc;
}

int label_run(const struct label_run_opt *o, const struct label_set *s,
              struct label_db *d, struct label_totals *t, struct err *e)
{
	struct label_work w = { .o = o, .s = s, .d = d, .t = t };
	int rc = -1;

	*t = (struct label_totals){ 0 };
	w.key.model = o->plan->model;
	w.key.prompt = o->plan->prompt[LABEL_LABEL].version;
	if (!(w.state = mem_array(s->n, sizeof(*w.state), e)) ||
	    label_db_spent(d, &w.spent, e) < 0 || put_rest(&w, e) < 0)
		goto done;
	rc = o->wire->who == LABEL_LOCAL || o->wire->who == LABEL_RULE
	     ? label_here_run(&w, e) : o->batch ? label_batch_run(&w, e) : label_live_run(&w, e);
	if (rc == 0 && o->embed && o->plan->n_test)
		rc = embed(&w, e);
	t->spent = w.spent;
done:
	if (w.state) {
		struct label_totals keep = *t;

		label_work_reset(&w);
		*t = keep;
	}
	mem_free(w.state);
	mem_free(w.queue);
	return rc;
}
