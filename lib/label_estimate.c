/* What labels would take, before any is asked for. */
#include "label_run.h"
#include "mem.h"

struct estimate {
	size_t features, requests;
	struct label_usage use, embed;	/* the latter: for embeddings */
};

/* A label as long as they are. */
#define SOME_LABEL "a phrase of about eight words that names something"

/* Adds a request to the estimate and frees it. */
static void count_ask(struct estimate *out, struct label_ask *a)
{
	struct label_usage u = label_price_guess(a);
	struct label_usage *to = a->kind == LABEL_EMBED ? &out->embed : &out->use;

	out->requests++;
	to->input += u.input;
	to->output += u.output;
	label_ask_free(a);
}

static int count_scores(const struct label_plan *p,
                        const struct label_feature *f, enum label_kind kind,
                        struct label_item *items, struct estimate *out,
                        struct err *e)
{
	size_t n_items = label_items(p, f, kind, items), at, n;
	size_t most = kind == LABEL_EMBED ? n_items : p->per_ask;
	struct label_ask a;

	for (at = 0; at < n_items; at += n) {
		n = n_items - at < most ? n_items - at : most;
		if (label_ask_items(p, f, kind, 0, SOME_LABEL, items + at, n,
		                    &a, e) < 0)
			return -1;
		count_ask(out, &a);
	}
	return 0;
}

/* A label that is there and was not embedded yet. */
static int count_embedding(const struct label_plan *p, struct label_db *d,
                           const struct label_feature *f,
                           struct label_item *items,
                           struct estimate *out, struct err *e)
{
	const struct label_db_key k = { p->model, p->prompt[LABEL_LABEL].version };
	size_t n = label_items(p, f, LABEL_EMBED, items);
	char *label = NULL, *body;
	struct label_ask a;
	int got = label_db_label(d, &k, f->layer, f->id, &label, e);

	if (got <= 0)
		return got;
	got = label_ask_items(p, f, LABEL_EMBED, 0, label, items, n, &a, e);
	mem_free(label);
	if (got < 0)
		return -1;
	got = label_db_reply(d, a.id, 1, &body, &n, e);
	if (got == 0) {
		count_ask(out, &a);
		return 0;
	}
	if (got > 0)
		mem_free(body);
	label_ask_free(&a);
	return got < 0 ? -1 : 0;
}

static int count(const struct label_run_opt *o, const struct label_set *s,
                 struct label_db *d, struct estimate *out, struct err *e)
{
	const struct label_plan *p = o->plan;
	struct label_item *items = mem_array(2 * p->n_test + 1,
	                                     sizeof(*items), e);
	const int wanted[LABEL_KINDS] = { 1, p->detect, p->fuzz,
	                                  p->embedder != NULL };
	struct label_ask a;
	size_t i, n;
	int rc = items ? 0 : -1, got, k;
	char *body;

	for (i = 0; rc == 0 && i < s->n; i++) {
		if ((rc = label_ask_label(p, &s->f[i], &a, e)) < 0)
			break;
		got = d ? label_db_reply(d, a.id, 1, &body, &n, e) : 0;
		if (got) {		/* answered */
			if (got > 0)
				mem_free(body);
			label_ask_free(&a);
			rc = got < 0 ? -1 : !p->embedder || !p->n_test ? 0
			     : count_embedding(p, d, &s->f[i], items, out, e);
			continue;
		}
		out->features++;
		count_ask(out, &a);
		for (k = LABEL_DETECT; rc == 0 && p->n_test && k < LABEL_KINDS;
		     k++)
			if (wanted[k])
				rc = count_scores(p, &s->f[i],
				                  (enum label_kind)k, items, out,
				                  e);
	}
	mem_free(items);
	return rc;
}

json_t *label_estimate(const struct label_run_opt *o, const struct label_set *s,
                       struct label_db *d, double times, struct err *e)
{
	struct estimate x = { 0 };
	double usd, embed;
	json_t *j;

	if (count(o, s, d, &x, e) < 0)
		return NULL;
	embed = o->embed ? label_price_of(&o->embed->price, &x.embed, 0) : 0;
	usd = label_price_of(&o->price, &x.use, 0);
	j = json_pack("{s:s,s:s,s:I,s:I,s:I,s:I}", "model", o->plan->model,
	              "prompt_version", o->plan->prompt[0].version, "features",
	              (json_int_t)((double)x.features * times), "requests",
	              (json_int_t)((double)x.requests * times), "input_tokens",
	              (json_int_t)((double)x.use.input * times),
	              "output_tokens",
	              (json_int_t)((double)x.use.output * times));
	if (!j) {
		err_set(e, ERR_FORMAT, "the model's name is not UTF-8, or no "
		        "memory");
		return NULL;
	}
	if (o->embed)
		json_object_set_new(j, "embedded_tokens", json_integer(
			(json_int_t)((double)x.embed.input * times)));
	if (o->priced && (!o->embed || o->embed->priced)) {
		json_object_set_new(j, "usd", json_real((usd + embed) * times));
		json_object_set_new(j, "usd_batch",
		                    json_real((usd * o->price.batch + embed) *
		                              times));
		if (x.features)
			json_object_set_new(j, "usd_per_label",
			                    json_real((usd + embed) /
			                              (double)x.features));
	}
	return j;
}
