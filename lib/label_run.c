#include "label_run_impl.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"

/* ---- the queue ---- */

static int push(struct label_work *w, struct label_ask *a, struct err *e)
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
	struct label_ask a;
	uint32_t part = 0;

	if (!(st->items[kind] = mem_array(max + 1, sizeof(struct label_item),
	                                  e)) ||
	    !(st->said[kind] = mem_array(max + 1, 1, e)))
		return -1;
	st->n[kind] = label_items(p, f, kind, st->items[kind]);
	memset(st->said[kind], 255, max + 1);
	st->left[kind] = (st->n[kind] + p->per_ask - 1) / p->per_ask;
	for (at = 0; at < st->n[kind]; at += n, part++) {
		n = st->n[kind] - at;
		n = n < p->per_ask ? n : p->per_ask;
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
	return begin_score(w, a->feature, LABEL_DETECT, e);
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

static int give_up(struct label_work *w, const struct label_ask *a,
                   const char *why, struct err *e)
{
	if (a->kind != LABEL_LABEL)
		return got_part(w, a, NULL, e);
	w->t->failed++;
	w->state[a->feature].done = 1;
	return label_db_put_label(w->d, &w->key, feature(w, a), a->id, NULL,
	                          why, e);
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
	int rc = label_wire_read(w->o->wire, body, n, &text, &n_text, u, why);

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
		return push(w, a, e);
	if (got == 0)
		got = give_up(w, a, why.msg, e);
	label_ask_free(a);
	return got < 0 ? -1 : 0;
}

int label_work_begin(struct label_work *w, size_t i, struct err *e)
{
	struct label_ask a;
	int rc;

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
			got = push(w, a, e);
			*a = (struct label_ask){ 0 };
		} else {
			got = give_up(w, a, why.msg, e);
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

/* The next request: 1, 0 when there is none, -1. It is the caller's. */
static int next_ask(struct label_work *w, struct label_ask *a, struct err *e)
{
	while (!w->n_queue && w->next < w->s->n)
		if (label_work_begin(w, w->next++, e) < 0)
			return -1;
	if (!w->n_queue)
		return 0;
	*a = w->queue[--w->n_queue];
	return 1;
}

/* ---- an API, one request an answer ---- */

struct live {
	struct label_work *w;
	struct http_api *api;
	char *url;
	struct label_ask *flight;	/* concurrency of them, id "": free */
	double reserved;		/* dollars that those may cost */
};

static int post(struct live *v, struct label_ask *a, struct err *e)
{
	const struct label_run_opt *o = v->w->o;
	struct http_api_call c = { .url = v->url, .headers = o->headers };
	json_t *body;
	char *text;
	int slot = 0, rc;

	while (v->flight[slot].id[0])
		slot++;
	if (!(body = label_wire_body(o->wire, a, e)))
		return -1;
	text = json_dumps(body, JSON_COMPACT);
	json_decref(body);
	if (!text)
		return err_set(e, ERR_MEM, "no memory for a request");
	c.body = text;
	c.n_body = strlen(text);
	c.tag = slot;
	rc = http_api_send(v->api, &c, e);
	free(text);
	if (rc < 0)
		return -1;
	v->reserved += label_work_guess(v->w, a, 0);
	v->flight[slot] = *a;
	return 0;
}

/* A status that is neither success nor worth a try: what it says of the rest.
 * 0: this request alone is bad. */
static int refused(struct live *v, const struct label_ask *a,
                   const struct http_api_reply *r, struct err *e)
{
	const struct label_run_opt *o = v->w->o;
	char says[320];

	label_wire_complaint(r->body, r->n, o->secret, says, sizeof(says));
	err_set(e, ERR_IO, "%s: the server answered %ld%s%s", v->url,
	        r->status, *says ? ": " : "", says);
	if (r->status == 401 || r->status == 403)
		return err_wrap(e, o->secret ? "the key was not accepted"
		                             : "a key is needed");
	if (!v->w->good || r->status == 404 || r->status == 402)
		return -1;
	log_say(&o->log, "%s: %s", a->id, e->msg);
	return 0;
}

static int arrived(struct live *v, struct http_api_reply *r, struct err *e)
{
	struct label_ask a = v->flight[r->tag];
	struct err why;
	int rc;

	v->flight[r->tag] = (struct label_ask){ 0 };
	v->reserved -= label_work_guess(v->w, &a, 0);
	if (r->err.code == ERR_FORMAT) {	/* too long: paid all the same */
		log_say(&v->w->o->log, "%s: %s", a.id, r->err.msg);
		return label_work_take(v->w, &a, "", 0, e);
	}
	if (!r->err.code && r->status == 200)
		return label_work_take(v->w, &a, r->body, r->n, e);
	if (r->err.code) {
		*e = r->err;
		rc = -1;
	} else {
		rc = refused(v, &a, r, e);
	}
	if (rc == 0) {
		why = *e;
		rc = label_db_begin(v->w->d, e);
		if (rc == 0 && (give_up(v->w, &a, why.msg, e) < 0 ||
		                label_db_commit(v->w->d, e) < 0))
			rc = -1;
	}
	label_ask_free(&a);
	return rc;
}

/* Sends while there is room: 0, or -1; ERR_STOP when no more may be sent. */
static int fill(struct live *v, struct err *e)
{
	const struct label_run_opt *o = v->w->o;
	struct label_ask a;
	double guess;
	int got;

	while (http_api_pending(v->api) < (size_t)o->concurrency) {
		if (label_work_stopped(v->w))
			return err_set(e, ERR_STOP, "stopped; run it again to "
			               "go on");
		if ((got = next_ask(v->w, &a, e)) <= 0)
			return got;
		guess = label_work_guess(v->w, &a, 0);
		if (o->max_usd > 0 &&
		    v->w->spent + v->reserved + guess > o->max_usd) {
			got = err_set(e, ERR_STOP, "the next answer may cost "
			              "%.4f dollars, %.4f of %.4f are spent",
			              guess, v->w->spent + v->reserved,
			              o->max_usd);
			/* those under way may cost less than reserved */
			if (http_api_pending(v->api) && push(v->w, &a, e) == 0) {
				*e = (struct err){ 0 };
				return 0;
			}
			label_ask_free(&a);
			return got;
		}
		if (post(v, &a, e) < 0) {
			label_ask_free(&a);
			return -1;
		}
	}
	return 0;
}

static int run_live(struct label_work *w, struct err *e)
{
	struct http_api_opts ao = w->o->api;
	struct live v = { .w = w };
	struct http_api_reply r;
	struct err err, bad = { 0 };
	int i, got, rc = -1;

	ao.concurrency = w->o->concurrency;
	if (!(v.api = http_api_new(&ao, e)) ||
	    !(v.url = label_wire_url(w->o->wire, e)) ||
	    !(v.flight = mem_array((size_t)w->o->concurrency,
	                           sizeof(*v.flight), e)))
		goto done;
	for (;;) {
		err = (struct err){ 0 };
		if (!bad.code && fill(&v, &bad) < 0)
			http_api_stop(v.api);	/* what is paid is waited for */
		if (!http_api_pending(v.api))
			break;
		got = http_api_next(v.api, 200, &r, &err);
		if (got > 0) {
			got = arrived(&v, &r, &err);
			mem_free(r.body);
		}
		if (got < 0 && !bad.code) {
			bad = err;
			http_api_stop(v.api);
		}
		label_work_tell(w);
	}
	rc = bad.code ? -1 : 0;
	if (rc < 0)
		*e = bad;
done:
	for (i = 0; v.flight && i < w->o->concurrency; i++)
		label_ask_free(&v.flight[i]);
	mem_free(v.flight);
	mem_free(v.url);
	http_api_free(v.api);
	return rc;
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
	     ? label_here_run(&w, e) : o->batch ? label_batch_run(&w, e) : run_live(&w, e);
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

/* A label as long as they are. */
#define SOME_LABEL "a phrase of about eight words that names something"

/* Adds a request to the estimate and frees it. */
static void count_ask(struct label_estimate *out, struct label_ask *a)
{
	struct label_usage u = label_price_guess(a);

	out->requests++;
	out->use.input += u.input;
	out->use.output += u.output;
	label_ask_free(a);
}

static int count_scores(const struct label_plan *p,
                        const struct label_feature *f, enum label_kind kind,
                        struct label_item *items, struct label_estimate *out,
                        struct err *e)
{
	size_t n_items = label_items(p, f, kind, items), at, n;
	struct label_ask a;

	for (at = 0; at < n_items; at += n) {
		n = n_items - at < p->per_ask ? n_items - at : p->per_ask;
		if (label_ask_items(p, f, kind, 0, SOME_LABEL, items + at, n,
		                    &a, e) < 0)
			return -1;
		count_ask(out, &a);
	}
	return 0;
}

int label_run_estimate(const struct label_run_opt *o,
                       const struct label_set *s, struct label_db *d,
                       struct label_estimate *out, struct err *e)
{
	const struct label_plan *p = o->plan;
	struct label_item *items = mem_array(2 * p->n_test + 1,
	                                     sizeof(*items), e);
	struct label_ask a;
	size_t i, n;
	int rc = items ? 0 : -1, got;
	char *body;

	*out = (struct label_estimate){ 0 };
	for (i = 0; rc == 0 && i < s->n; i++) {
		if ((rc = label_ask_label(p, &s->f[i], &a, e)) < 0)
			break;
		got = d ? label_db_reply(d, a.id, 1, &body, &n, e) : 0;
		if (got) {		/* answered */
			if (got > 0)
				mem_free(body);
			label_ask_free(&a);
			rc = got < 0 ? -1 : 0;
			continue;
		}
		out->features++;
		count_ask(out, &a);
		if (p->n_test)
			rc = count_scores(p, &s->f[i], LABEL_DETECT, items,
			                  out, e);
		if (rc == 0 && p->n_test && p->fuzz)
			rc = count_scores(p, &s->f[i], LABEL_FUZZ, items, out,
			                  e);
	}
	mem_free(items);
	return rc;
}
