/* Interventions as command lines say them, and what they did as JSON. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attrgraph.h"
#include "json.h"
#include "mem.h"

/* "@5", "@3-9", "@3-" or nothing; the rest of the text, or NULL. */
static const char *positions(const char *s, struct attr_edit *d)
{
	char *end;

	d->from = 1;
	d->to = SIZE_MAX;
	if (*s != '@')
		return s;
	if (*++s < '0' || *s > '9')
		return NULL;
	d->from = d->to = (size_t)strtoull(s, &end, 10);
	if (*end != '-')
		return end;
	s = end + 1;
	d->to = SIZE_MAX;
	if (*s < '0' || *s > '9')
		return s;
	d->to = (size_t)strtoull(s, &end, 10);
	return end;
}

int attrgraph_edit(const char *text, enum attr_edit_kind kind, int has_value,
                   struct attr_edit *d, struct err *e)
{
	const char *s = text;
	char *end;
	int n = 0;

	memset(d, 0, sizeof(*d));
	d->kind = kind;
	if (sscanf(s, "%9u:%9u%n", &d->layer, &d->latent, &n) == 2 && n &&
	    (s = positions(s + n, d)) && d->from <= d->to) {
		if (!has_value && !*s)
			return 0;
		if (has_value && *s == '=' && s[1]) {
			d->value = strtof(s + 1, &end);
			if (!*end && isfinite(d->value))
				return 0;
		}
	}
	return err_set(e, ERR_USAGE, "'%s': wanted LAYER:LATENT[@POSITIONS]%s, "
	               "positions as 5, 3-9 or 3-", text,
	               has_value ? "=NUMBER" : "");
}

/* logits to probabilities */
static void soften(const float *logits, size_t n, double *p)
{
	double max = -INFINITY, sum = 0;
	size_t i;

	for (i = 0; i < n; i++)
		max = fmax(max, (double)logits[i]);
	for (i = 0; i < n; i++)
		sum += p[i] = exp((double)logits[i] - max);
	for (i = 0; i < n; i++)
		p[i] /= sum;
}

/* Marks the n largest of p. */
static void mark_largest(const double *p, size_t n_vocab, size_t n,
                         uint8_t *mark, uint8_t bit)
{
	size_t best, i;

	while (n--) {
		for (best = n_vocab, i = 0; i < n_vocab; i++)
			if (!(mark[i] & bit) && (best == n_vocab ||
			                         p[i] > p[best]))
				best = i;
		if (best == n_vocab)
			return;
		mark[best] |= bit;
	}
}

static json_t *token_json(const struct tok *t, uint32_t id, struct err *e)
{
	size_t n;
	const char *s = tok_bytes(t, id, &n);

	return json_bytes(s, n, e);
}

struct change {
	const struct attrgraph_change *c;
	float *before, *after;		/* logits [n_vocab] */
	double *p, *q;
	uint8_t *mark;
	struct ranked *order;
};

struct ranked {
	double p;
	uint32_t id;
};

static int falling(const void *x, const void *y)
{
	const struct ranked *a = x, *b = y;

	if (a->p != b->p)
		return a->p < b->p ? 1 : -1;
	return (a->id > b->id) - (a->id < b->id);
}

static json_t *tokens_json(struct change *x, size_t n_vocab, struct err *e)
{
	json_t *list = json_array(), *o;
	size_t i, n = 0;

	mark_largest(x->p, n_vocab, x->c->n_tokens, x->mark, 1);
	mark_largest(x->q, n_vocab, x->c->n_tokens, x->mark, 2);
	for (i = 0; i < x->c->n_more; i++)
		if (x->c->more[i] < n_vocab)
			x->mark[x->c->more[i]] |= 4;
	for (i = 0; i < n_vocab; i++)
		if (x->mark[i])
			x->order[n++] = (struct ranked){ x->p[i], (uint32_t)i };
	qsort(x->order, n, sizeof(*x->order), falling);
	for (i = 0; i < n; i++) {
		uint32_t id = x->order[i].id;

		o = json_pack("{s:i,s:o,s:f,s:f,s:f,s:f}", "id", (int)id,
		              "text", token_json(x->c->tok, id, e), "before",
		              (double)x->before[id], "after",
		              (double)x->after[id], "p_before", x->p[id],
		              "p_after", x->q[id]);
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *edits_json(const struct attr_intervention *v)
{
	static const char *const kinds[] = { "set", "scale", "add" };
	json_t *list = json_array(), *o;
	size_t i;

	for (i = 0; i < v->n_edits; i++) {
		const struct attr_edit *d = &v->edit[i];

		o = json_pack("{s:i,s:i,s:I,s:o,s:s,s:f}", "layer",
		              (int)d->layer, "latent", (int)d->latent, "from",
		              (json_int_t)d->from, "to", d->to == SIZE_MAX
		              ? json_null() : json_integer((json_int_t)d->to),
		              "kind", kinds[d->kind], "value",
		              (double)d->value);
		json_array_append_new(list, o);
	}
	return list;
}

/* A continuation's text. */
static json_t *continued(struct attr *a, const struct attrgraph_change *c,
                         const struct attr_intervention *v, struct err *e)
{
	uint32_t *out = mem_array(c->n_new, sizeof(*out), e);
	size_t n = 0, n_text = 0, cap = 0;
	char *text = NULL;
	json_t *j = NULL;

	if (out && attr_steer(a, v, c->prompt->ids, c->prompt->n, c->n_new,
	                      out, &n, e) == 0 &&
	    tok_decode(c->tok, out, n, 1, &text, &n_text, &cap, e) == 0)
		j = json_bytes(text ? text : "", n_text, e);
	mem_free(out);
	mem_free(text);
	return j;
}

static int texts(struct attr *a, const struct attrgraph_change *c, json_t *o,
                 struct err *e)
{
	const struct attr_intervention none = { 0 };
	json_t *before, *after = NULL;

	if (!c->n_new)
		return 0;
	if ((before = continued(a, c, &none, e)) &&
	    (after = continued(a, c, c->intervention, e))) {
		json_object_set_new(o, "text_before", before);
		json_object_set_new(o, "text_after", after);
		return 0;
	}
	json_decref(before);
	return -1;
}

static double divergence(const double *p, const double *q, size_t n)
{
	double sum = 0;
	size_t i;

	for (i = 0; i < n; i++)
		if (p[i] > 0 && q[i] > 0)
			sum += p[i] * log(p[i] / q[i]);
	return sum;
}

json_t *attrgraph_change_json(struct attr *a, const struct attrgraph_change *c,
                              struct err *e)
{
	static const char *const held[] = { "nothing", "patterns", "all" };
	const struct attr_intervention none = {
		NULL, 0, c->intervention->held
	};
	size_t n = c->n_vocab;
	struct change x = {
		c, mem_array(n, sizeof(float), e),
		mem_array(n, sizeof(float), e), mem_array(n, sizeof(double), e),
		mem_array(n, sizeof(double), e), mem_array(n, 1, e),
		mem_array(n, sizeof(struct ranked), e)
	};
	json_t *o = NULL;

	if (!x.before || !x.after || !x.p || !x.q || !x.mark || !x.order ||
	    attr_intervene(a, &none, c->pos, x.before, e) < 0 ||
	    attr_intervene(a, c->intervention, c->pos, x.after, e) < 0)
		goto done;
	soften(x.before, n, x.p);
	soften(x.after, n, x.q);
	o = json_pack("{s:o,s:I,s:s,s:o,s:f,s:o}", "prompt",
	              json_bytes(c->prompt->text, strlen(c->prompt->text),
	                               e),
	              "position", (json_int_t)c->pos, "held",
	              held[c->intervention->held], "edits",
	              edits_json(c->intervention), "kl",
	              divergence(x.p, x.q, n), "tokens",
	              tokens_json(&x, n, e));
	if (!o)
		err_set(e, ERR_MEM, "no memory for the report");
	else if (texts(a, c, o, e) < 0) {
		json_decref(o);
		o = NULL;
	}
done:
	mem_free(x.before);
	mem_free(x.after);
	mem_free(x.p);
	mem_free(x.q);
	mem_free(x.mark);
	mem_free(x.order);
	return o;
}
