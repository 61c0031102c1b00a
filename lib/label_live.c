/* Asking an API, one request an answer, many at a time. */
#include <stdlib.h>
#include <string.h>

#include "label_run_impl.h"
#include "mem.h"

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
	body = a->kind == LABEL_EMBED ? label_embed_body(o->wire, a, e)
	                              : label_wire_body(o->wire, a, e);
	if (!body)
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

/* An answer that is one; a is taken over. */
static int took(struct live *v, struct label_ask *a,
                const struct http_api_reply *r, struct err *e)
{
	char *kept;
	size_t n;
	int rc;

	if (a->kind != LABEL_EMBED)
		return label_work_take(v->w, a, r->body, r->n, e);
	if (label_embed_keep(a, r->body ? r->body : "", r->n, &kept, &n, e) < 0) {
		label_ask_free(a);
		return -1;
	}
	rc = label_work_take(v->w, a, kept, n, e);
	mem_free(kept);
	return rc;
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
		return took(v, &a, r, e);
	if (r->err.code) {
		*e = r->err;
		rc = -1;
	} else {
		rc = refused(v, &a, r, e);
	}
	if (rc == 0) {
		why = *e;
		rc = label_db_begin(v->w->d, e);
		if (rc == 0 && (label_work_give_up(v->w, &a, why.msg, e) < 0 ||
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
		if ((got = label_work_next(v->w, &a, e)) <= 0)
			return got;
		guess = label_work_guess(v->w, &a, 0);
		if (o->max_usd > 0 &&
		    v->w->spent + v->reserved + guess > o->max_usd) {
			got = err_set(e, ERR_STOP, "the next answer may cost "
			              "%.4f dollars, %.4f of %.4f are spent",
			              guess, v->w->spent + v->reserved,
			              o->max_usd);
			/* those under way may cost less than reserved */
			if (http_api_pending(v->api) && label_work_push(v->w, &a, e) == 0) {
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

int label_live_run(struct label_work *w, struct err *e)
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
