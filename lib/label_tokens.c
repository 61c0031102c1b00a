#include "label_tokens.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "label_wire.h"
#include "mem.h"
#include "text.h"

enum {
	WORDS = 4,		/* of a name, at most */
	WORD_MAX = 32,		/* bytes; longer tokens name nothing */
	LIKELIER = 5		/* tokens, in the explanation */
};

struct word {
	char s[WORD_MAX];
	size_t n;
	size_t contexts, last;	/* shown, with it; the last of them + 1 */
	double strength;	/* sum of its activations */
};

struct words {
	struct word *w;
	size_t n, cap;
};

/* A token without spaces around it and case: 0 when it is no word's. */
static int word_of(const struct tok *t, uint32_t id, struct word *w)
{
	size_t n, i;
	const char *s = tok_bytes(t, id, &n);

	while (n && s[0] == ' ')
		s++, n--;
	while (n && s[n - 1] == ' ')
		n--;
	if (n == 0 || n > sizeof(w->s))
		return 0;
	*w = (struct word){ .n = n };
	for (i = 0; i < n; i++)
		w->s[i] = (char)tolower((unsigned char)s[i]);
	return 1;
}

static int64_t find(const struct words *l, const struct word *w)
{
	size_t i;

	for (i = 0; i < l->n; i++)
		if (l->w[i].n == w->n && !memcmp(l->w[i].s, w->s, w->n))
			return (int64_t)i;
	return -1;
}

/* In more contexts, then stronger, then in the order of bytes. */
static int by_use(const void *a, const void *b)
{
	const struct word *x = a, *y = b;

	if (x->contexts != y->contexts)
		return x->contexts < y->contexts ? 1 : -1;
	if (x->strength != y->strength)
		return x->strength < y->strength ? 1 : -1;
	return memcmp(x->s, y->s, sizeof(x->s));
}

static uint8_t *marks(const struct label_item *x, struct err *e)
{
	uint8_t *mark = mem_array(x->c->n ? x->c->n : 1, 1, e);

	if (mark)
		label_item_marks(x, mark);
	return mark;
}

static int count_context(const struct tok *t, const struct label_ctx *c,
                         size_t which, struct words *l, struct err *e)
{
	const struct label_item item = { c, 1, 0 };
	uint8_t *mark = marks(&item, e);
	struct word w;
	int64_t at;
	size_t i;
	int rc = mark ? 0 : -1;

	for (i = 0; rc == 0 && i < c->n; i++) {
		if (!mark[i] || !word_of(t, c->ids[i], &w))
			continue;
		if ((at = find(l, &w)) < 0) {
			rc = mem_grow(&l->w, &l->cap, l->n + 1, sizeof(*l->w),
			              e);
			if (rc < 0)
				break;
			at = (int64_t)l->n;
			l->w[l->n++] = w;
		}
		l->w[at].contexts += l->w[at].last != which + 1;
		l->w[at].last = which + 1;
		l->w[at].strength += (double)c->acts[i];
	}
	mem_free(mark);
	return rc;
}

/* The words that name f: those marked in two contexts or more, at least one. */
static int name(const struct tok *t, const struct label_feature *f,
                struct words *l, struct err *e)
{
	size_t i;

	for (i = 0; i < f->show.n; i++)
		if (count_context(t, &f->show.c[i], i, l, e) < 0)
			return -1;
	if (l->n)
		qsort(l->w, l->n, sizeof(*l->w), by_use);
	for (i = 0; i < l->n && i < WORDS; i++)
		if (i && l->w[i].contexts < 2)
			break;
	l->n = i;
	return 0;
}

/* ---- answers ---- */

/* 'so', valid and on one line. */
static int quote(struct text *t, const char *s, size_t n, struct err *e)
{
	json_t *j = json_bytes(s, n, e);
	const char *v = json_string_value(j);
	size_t i, len = json_string_length(j);
	int rc = j ? text_str(t, "'", e) : -1;

	for (i = 0; rc == 0 && i < len; i++)
		rc = v[i] == '\n' ? text_str(t, "\\n", e)
		     : text_add(t, (unsigned char)v[i] < ' ' ? "?" : v + i, 1,
		                e);
	json_decref(j);
	return rc == 0 ? text_str(t, "'", e) : -1;
}

static int put_words(struct text *t, const struct words *l, struct err *e)
{
	size_t i;
	int rc = 0;

	for (i = 0; rc == 0 && i < l->n; i++) {
		rc = i ? text_str(t, ", ", e) : 0;
		rc = rc == 0 ? quote(t, l->w[i].s, l->w[i].n, e) : rc;
	}
	return rc;
}

int label_tokens_put(struct text *out, const struct tok *t,
                     const struct label_feature *f, struct err *e)
{
	struct words l = { 0 };
	int rc = name(t, f, &l, e);

	if (rc == 0)
		rc = put_words(out, &l, e);
	mem_free(l.w);
	return rc;
}

static json_t *label_of(const struct tok *t, const struct label_feature *f,
                        const struct words *l, struct err *e)
{
	struct text label = { 0 }, why = { 0 };
	size_t i, n, most = l->n ? l->w[0].contexts : 0;
	size_t shown = f->show.n ? f->show.n : 1;
	json_t *obj = NULL;
	char part[48];
	int rc = text_str(&label, l->n == 0 ? "blanks" : l->n == 1
	                  ? "the token " : "the tokens ", e);

	if (rc == 0 && (put_words(&label, l, e) < 0 ||
	                text_str(&why, "Contexts in which it is active on them:",
	                         e) < 0))
		rc = -1;
	for (i = 0; rc == 0 && i < l->n; i++) {
		snprintf(part, sizeof(part), "%s %zu of %zu", i ? "," : "",
		         l->w[i].contexts, shown);
		rc = text_str(&why, part, e);
	}
	if (rc == 0)
		rc = text_str(&why, ". Likelier next:", e);
	for (i = 0; rc == 0 && i < f->n_promoted && i < LIKELIER; i++) {
		const char *s = tok_bytes(t, f->promoted[i], &n);

		rc = text_str(&why, i ? ", " : " ", e);
		rc = rc == 0 ? quote(&why, s, n, e) : rc;
	}
	if (rc == 0 && text_str(&why, ".", e) == 0)
		obj = json_pack("{s:s,s:s,s:[s],s:I,s:i,s:I}", "explanation",
		                why.s, "label", label.s, "tags", label_tags[0],
		                "quality", (json_int_t)(10 * most / shown),
		                "interestingness", 0, "confidence",
		                (json_int_t)(10 * most / shown));
	mem_free(label.s);
	mem_free(why.s);
	return obj;
}

/* Whether x has the latent, or marks for it: 0, 1, or -1. */
static int holds(const struct tok *t, const struct words *l,
                 const struct label_item *x, int fuzz, struct err *e)
{
	uint8_t *mark = marks(x, e);
	size_t i, n = 0, hit = 0;
	struct word w;
	int in;

	for (i = 0; mark && i < x->c->n; i++) {
		in = word_of(t, x->c->ids[i], &w) && find(l, &w) >= 0;
		n += mark[i];
		hit += in && (!fuzz || mark[i]);
	}
	in = !mark ? -1 : fuzz ? hit && 2 * hit >= n : hit > 0;
	mem_free(mark);
	return in;
}

int label_tokens_answer(const struct tok *t, const struct label_feature *f,
                        enum label_kind kind, const struct label_item *items,
                        size_t n, char **body, size_t *len, struct err *e)
{
	const struct label_usage none = { 0 };
	struct words l = { 0 };
	json_t *obj = NULL, *list;
	size_t i;
	int rc = name(t, f, &l, e), in;

	if (rc == 0 && kind == LABEL_LABEL) {
		obj = label_of(t, f, &l, e);
	} else if (rc == 0) {
		list = json_array();
		for (i = 0; rc == 0 && i < n; i++) {
			in = holds(t, &l, &items[i], kind == LABEL_FUZZ, e);
			json_array_append_new(list, json_integer(in));
			rc = in < 0 ? -1 : 0;
		}
		obj = json_pack("{s:o}", "results", list);
	}
	if (rc == 0)
		rc = label_wire_message(obj, &none, NULL, body, len, e);
	else
		json_decref(obj);
	mem_free(l.w);
	return rc;
}
