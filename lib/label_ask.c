/* Requests: prompts filled in with a latent's contexts. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "label_tokens.h"
#include "mem.h"
#include "rec.h"
#include "sha256.h"
#include "text.h"

/* A token is marked when it has so much of the context's peak. */
#define MARKED 0.3f

const char *const label_kinds[LABEL_KINDS] = {
	"label", "detection", "fuzzing", "embedding"
};

/* ---- text ---- */

/* Bytes of tokens from `from` on, made valid and put on one line: newlines
 * are shown as \n. */
static int tidy(struct text *t, size_t from, struct err *e)
{
	json_t *j = json_bytes(t->s + from, t->n - from, e);
	const char *s = json_string_value(j);
	size_t i, n = json_string_length(j);
	int rc = j ? 0 : -1;

	t->n = from;
	for (i = 0; rc == 0 && i < n; i++) {
		if (s[i] == '\n')
			rc = text_add(t, "\\n", 2, e);
		else if (s[i] == '\r')
			rc = text_add(t, "\\r", 2, e);
		else if (s[i] == '\t')
			rc = text_add(t, "\\t", 2, e);
		else
			rc = text_add(t, (unsigned char)s[i] < ' ' ? "?"
			              : s + i, 1, e);
	}
	json_decref(j);
	return rc;
}

/* Without a tokenizer, for estimates: a token of usual length. */
static const char *bytes_of(const struct tok *tok, uint32_t id, size_t *n)
{
	if (tok)
		return tok_bytes(tok, id, n);
	*n = 4;
	return " and";
}

/* A context with marks around runs of tokens; mark NULL: none. */
static int put_ctx(struct text *t, const struct tok *tok,
                   const struct label_ctx *c, const uint8_t *mark,
                   struct err *e)
{
	size_t i, n, from = t->n;
	const char *s;
	int rc = text_add(t, "", 0, e);

	for (i = 0; rc == 0 && i < c->n; i++) {
		int now = mark && mark[i], before = mark && i && mark[i - 1];

		s = bytes_of(tok, c->ids[i], &n);
		if (before && !now)
			rc = text_add(t, ">>", 2, e);
		if (rc == 0 && now && !before)
			rc = text_add(t, "<<", 2, e);
		if (rc == 0)
			rc = text_add(t, s, n, e);
	}
	if (rc == 0 && mark && c->n && mark[c->n - 1])
		rc = text_add(t, ">>", 2, e);
	return rc == 0 ? tidy(t, from, e) : -1;
}

static void active(const struct label_ctx *c, uint8_t *mark)
{
	size_t i;

	for (i = 0; i < c->n; i++)
		mark[i] = c->acts && c->acts[i] > 0 &&
		          c->acts[i] >= MARKED * c->value;
}

static uint64_t mix(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* As many marks as are right, on tokens where the latent is silent. */
static void misplaced(const struct label_ctx *c, uint64_t seed, uint8_t *mark)
{
	size_t i, want = 0, quiet = 0;

	for (i = 0; i < c->n; i++) {
		want += mark[i];
		quiet += !c->acts || c->acts[i] <= 0;
	}
	want = want ? want : 1;
	for (i = 0; i < c->n; i++) {	/* a sample without replacement */
		mark[i] = 0;
		if (c->acts && c->acts[i] > 0)
			continue;
		if (want && mix(&seed) % quiet < want) {
			mark[i] = 1;
			want--;
		}
		quiet--;
	}
}

void label_item_marks(const struct label_item *x, uint8_t *mark)
{
	active(x->c, mark);
	if (x->marks)
		misplaced(x->c, x->marks, mark);
}

static int put_tokens(struct text *t, const struct tok *tok,
                      const uint32_t *ids, size_t n_ids, struct err *e)
{
	size_t i, n, from;

	if (n_ids == 0)
		return text_str(t, "(unknown)", e);
	for (i = 0; i < n_ids; i++) {
		const char *s = bytes_of(tok, ids[i], &n);

		if (text_str(t, i ? ", \"" : "\"", e) < 0)
			return -1;
		from = t->n;
		if (text_add(t, s, n, e) < 0 || tidy(t, from, e) < 0 ||
		    text_str(t, "\"", e) < 0)
			return -1;
	}
	return 0;
}

static int put_where(struct text *t, const struct label_feature *f,
                     struct err *e)
{
	static const char *const part[] = {
		"the prompt", "the reasoning", "the answer", "plain text"
	};
	char line[80];
	int i, any = 0;

	snprintf(line, sizeof(line), "%.3g %% of tokens", 100 * f->frequency);
	if (text_str(t, line, e) < 0)
		return -1;
	for (i = 0; i < 4; i++) {
		if (f->share[i] < 0.005)
			continue;
		snprintf(line, sizeof(line), "%s%.0f %% in %s",
		         any++ ? ", " : "; of these ", 100 * f->share[i],
		         part[i]);
		if (text_str(t, line, e) < 0)
			return -1;
	}
	return 0;
}

/* ---- filling in ---- */

/* What a prompt may ask for. */
struct fill {
	const struct label_plan *p;
	const struct label_feature *f;
	const char *label;
	const struct label_item *items;
	size_t n;
	enum label_kind kind;
	uint8_t *mark;		/* scratch: tokens of the longest context */
};

static int put_examples(struct text *t, const struct fill *x, struct err *e)
{
	size_t i, n = x->f->show.n < x->p->n_show ? x->f->show.n
	                                          : x->p->n_show;
	char line[40];

	for (i = 0; i < n; i++) {
		const struct label_ctx *c = &x->f->show.c[i];
		int s = (int)ceil(10 * c->value / (x->f->max > 0 ? x->f->max
		                                                : c->value));

		snprintf(line, sizeof(line), "%s%zu (%d): ", i ? "\n" : "",
		         i + 1, s < 1 ? 1 : s > 10 ? 10 : s);
		active(c, x->mark);
		if (text_str(t, line, e) < 0 ||
		    put_ctx(t, x->p->tok, c, x->mark, e) < 0)
			return -1;
	}
	return 0;
}

/* The marked runs of the examples, each different one once. */
static int put_marked(struct text *t, const struct fill *x, struct err *e)
{
	size_t n_show = x->f->show.n < x->p->n_show ? x->f->show.n
	                                            : x->p->n_show;
	size_t i, j, n, from = t->n, at;
	const char *s, *same;

	for (i = 0; i < n_show; i++) {
		const struct label_ctx *c = &x->f->show.c[i];

		active(c, x->mark);
		for (j = 0; j < c->n; j++) {
			if (!x->mark[j] || (j && x->mark[j - 1]))
				continue;
			at = t->n;
			for (; j < c->n && x->mark[j]; j++) {
				s = bytes_of(x->p->tok, c->ids[j], &n);
				if (text_add(t, s, n, e) < 0)
					return -1;
			}
			if (tidy(t, at, e) < 0 || text_str(t, ",", e) < 0)
				return -1;
			same = strstr(t->s + from, t->s + at);
			if (same != t->s + at && (same == t->s + from ||
			                          same[-1] == ','))
				t->s[t->n = at] = 0;
		}
	}
	if (t->n > from)
		t->s[--t->n] = 0;
	return 0;
}

static int put_items(struct text *t, const struct fill *x, struct err *e)
{
	char line[40];
	size_t i;

	for (i = 0; i < x->n; i++) {
		snprintf(line, sizeof(line), "%sText %zu: ", i ? "\n" : "",
		         i + 1);
		label_item_marks(&x->items[i], x->mark);
		if (text_str(t, line, e) < 0 ||
		    put_ctx(t, x->p->tok, x->items[i].c,
		            x->kind == LABEL_FUZZ ? x->mark : NULL, e) < 0)
			return -1;
	}
	return 0;
}

static int put_tags(struct text *t, struct err *e)
{
	int i, rc = 0;

	for (i = 0; rc == 0 && i < LABEL_N_TAGS; i++) {
		rc = text_str(t, i ? ", " : "", e);
		rc = rc < 0 ? rc : text_str(t, label_tags[i], e);
	}
	return rc;
}

/* The value of {word} appended: 1, 0 when word is none, -1. */
static int put_word(struct text *t, const char *word, size_t n,
                    const struct fill *x, struct err *e)
{
	char line[24];
	int rc;

#define IS(s) (n == sizeof(s) - 1 && !memcmp(word, s, n))
	if (IS("examples")) {
		rc = put_examples(t, x, e);
	} else if (IS("marked")) {
		rc = put_marked(t, x, e);
	} else if (IS("tokens")) {
		rc = x->p->tok ? label_tokens_put(t, x->p->tok, x->f, e) : 0;
	} else if (IS("promoted")) {
		rc = put_tokens(t, x->p->tok, x->f->promoted,
		                x->f->n_promoted, e);
	} else if (IS("suppressed")) {
		rc = put_tokens(t, x->p->tok, x->f->suppressed,
		                x->f->n_suppressed, e);
	} else if (IS("where")) {
		rc = put_where(t, x->f, e);
	} else if (IS("tags")) {
		rc = put_tags(t, e);
	} else if (IS("label")) {
		rc = text_str(t, x->label ? x->label : "", e);
	} else if (IS("items")) {
		rc = put_items(t, x, e);
	} else if (IS("n")) {
		snprintf(line, sizeof(line), "%zu", x->n);
		rc = text_str(t, line, e);
	} else {
		return 0;
	}
#undef IS
	return rc < 0 ? -1 : 1;
}

static char *fill_in(const char *s, const struct fill *x, struct err *e)
{
	struct text t = { 0 };
	const char *open, *close;
	int got = text_add(&t, "", 0, e);

	while (got >= 0 && (open = strchr(s, '{'))) {
		got = text_add(&t, s, (size_t)(open - s), e);
		close = strchr(open, '}');
		if (got >= 0 && close)
			got = put_word(&t, open + 1, (size_t)(close - open) - 1,
			               x, e);
		if (got == 0) {		/* a brace of the prompt's own */
			got = text_add(&t, "{", 1, e);
			s = open + 1;
		} else if (got > 0) {
			s = close + 1;
		}
	}
	if (got < 0 || text_str(&t, s, e) < 0) {
		mem_free(t.s);
		return NULL;
	}
	return t.s;
}

/* ---- asks ---- */

void label_ask_free(struct label_ask *a)
{
	size_t i;

	for (i = 0; a->item && i < a->n_items; i++) {
		mem_free(a->item[i].s);
		mem_free(a->item[i].mark);
	}
	mem_free(a->item);
	mem_free(a->given);
	mem_free(a->plain);
	mem_free(a->candidate);
	mem_free(a->system);
	mem_free(a->user);
	*a = (struct label_ask){ 0 };
}

/* The id: everything that decides the answer goes into its digest. */
static int set_id(const struct label_plan *p, struct label_ask *a,
                  struct err *e)
{
	char hex[SHA256_HEX];
	int embed = a->form == LABEL_FORM_NEAR;
	char *all = mem_printf(e, "%s%c%d%c%zu%c%s%c%s%c%s%c%s%s",
	                       embed ? p->embedder : p->model, 1,
	                       (int)a->form, 1, a->n_items, 1,
	                       embed ? "" : p->extra, 1,
	                       a->system, 1, a->user, 1,
	                       a->begin[0], a->begin[1]);
	struct text t = { 0 };
	size_t i;
	int rc = all ? text_str(&t, all, e) : -1;

	for (i = 0; rc == 0 && a->item && i < a->n_items; i++)
		rc = text_add(&t, a->item[i].s, a->item[i].n, e);
	if (rc == 0 && a->given && (text_str(&t, a->given, e) < 0 ||
	                            text_str(&t, a->plain, e) < 0))
		rc = -1;
	if (rc == 0 && a->candidate)
		rc = text_str(&t, a->candidate, e);
	if (rc == 0)
		rc = sha256_bytes(t.s, t.n, hex, e);
	if (rc == 0)
		snprintf(a->id, sizeof(a->id), "L%u_F%u_%s%u_%.16s", a->layer,
		         a->latent, label_kinds[a->kind], a->part, hex);
	mem_free(t.s);
	mem_free(all);
	return rc;
}

/* A context as it comes, and which of its bytes are marked. */
static int raw_item(struct label_text *out, const struct fill *x,
                    const struct label_item *item, struct err *e)
{
	struct text t = { 0 }, mark = { 0 };
	size_t i, k, n;
	int rc = text_add(&t, "", 0, e);

	label_item_marks(item, x->mark);
	for (i = 0; rc == 0 && i < item->c->n; i++) {
		const char *s = bytes_of(x->p->tok, item->c->ids[i], &n);

		rc = text_add(&t, s, n, e);
		for (k = 0; rc == 0 && k < n; k++)
			rc = text_add(&mark, x->mark[i] ? "\1" : "\0", 1, e);
	}
	out->s = t.s;
	out->n = t.n;
	out->mark = (uint8_t *)mark.s;
	if (x->kind == LABEL_DETECT || x->kind == LABEL_EMBED) {
		mem_free(mark.s);
		out->mark = NULL;
	}
	return rc;
}

static int fill_items(const struct label_prompt *q, struct fill *x,
                      struct label_ask *a, struct err *e)
{
	size_t i;

	if (!(a->item = mem_array(x->n, sizeof(*a->item), e)) ||
	    (q->given && (!(a->given = fill_in(q->given, x, e)) ||
	                  !(a->plain = fill_in(q->plain, x, e)))) ||
	    (q->candidate && !(a->candidate = fill_in(q->candidate, x, e))))
		return -1;
	for (i = 0; i < x->n; i++)
		if (raw_item(&a->item[i], x, &x->items[i], e) < 0)
			return -1;
	return 0;
}

static int build(const struct label_plan *p, struct fill *x,
                 struct label_ask *a, struct err *e)
{
	const struct label_prompt *q = &p->prompt[x->kind];
	const struct label_ctxs *all[] = { &x->f->show, &x->f->on,
	                                   &x->f->off };
	size_t i, j, longest = 1;
	int rc = -1;

	for (i = 0; i < 3; i++)
		for (j = 0; j < all[i]->n; j++)
			if (all[i]->c[j].n > longest)
				longest = all[i]->c[j].n;
	a->layer = x->f->layer;
	a->latent = x->f->id;
	a->kind = x->kind;
	for (i = 0; i < 2; i++)
		a->begin[i] = q->begin[i] ? q->begin[i] : "";
	a->attempt = 1;
	if ((x->mark = mem_array(longest, 1, e)) &&
	    (a->system = fill_in(q->query ? "" : q->system, x, e)) &&
	    (a->user = fill_in(q->query ? q->query : q->user, x, e)) &&
	    ((!q->given && !q->query) || !x->items ||
	     fill_items(q, x, a, e) == 0))
		rc = set_id(p, a, e);
	mem_free(x->mark);
	if (rc < 0)
		label_ask_free(a);
	return rc;
}

int label_ask_label(const struct label_plan *p, const struct label_feature *f,
                    struct label_ask *a, struct err *e)
{
	struct fill x = { .p = p, .f = f, .kind = LABEL_LABEL };
	size_t n = f->show.n < p->n_show ? f->show.n : p->n_show, i;
	struct label_item *items = NULL;
	int rc;

	*a = (struct label_ask){ .form = LABEL_FORM_LABEL };
	if (p->prompt[LABEL_LABEL].given && n) {
		if (!(items = mem_array(n, sizeof(*items), e)))
			return -1;
		for (i = 0; i < n; i++)
			items[i] = (struct label_item){ &f->show.c[i], 1, 0 };
		x.items = items;
		x.n = a->n_items = n;
		x.label = "\1";
	}
	rc = build(p, &x, a, e);
	mem_free(items);
	return rc;
}

int label_ask_items(const struct label_plan *p, const struct label_feature *f,
                    enum label_kind kind, uint32_t part, const char *label,
                    const struct label_item *items, size_t n,
                    struct label_ask *a, struct err *e)
{
	struct fill x = { p, f, label, items, n, kind, NULL };

	*a = (struct label_ask){ .form = kind == LABEL_EMBED ? LABEL_FORM_NEAR
	                                 : LABEL_FORM_BITS,
	                         .n_items = n, .part = part };
	return build(p, &x, a, e);
}

static int has_quiet(const struct label_ctx *c)
{
	size_t i;

	for (i = 0; i < c->n; i++)
		if (!c->acts || c->acts[i] <= 0)
			return 1;
	return 0;
}

size_t label_items(const struct label_plan *p, const struct label_feature *f,
                   enum label_kind kind, struct label_item *items)
{
	uint64_t state = p->seed ^ (uint64_t)f->layer << 40 ^
	                 (uint64_t)f->id << 8 ^ (uint64_t)kind;
	size_t n_on = f->on.n, n_off, n = 0, i;

	/* marks are right on every other context and wrong on the rest */
	if (kind == LABEL_FUZZ) {
		for (i = 0; i < n_on && n < 2 * p->n_test; i++) {
			int truth = i % 2 == 0;

			if (!truth && !has_quiet(&f->on.c[i]))
				continue;
			items[n++] = (struct label_item){ &f->on.c[i], truth,
				truth ? 0 : mix(&state) | 1 };
		}
	} else {
		n_on = n_on < p->n_test ? n_on : p->n_test;
		n_off = f->off.n < p->n_test ? f->off.n : p->n_test;
		for (i = 0; i < n_on; i++)
			items[n++] = (struct label_item){ &f->on.c[i], 1, 0 };
		for (i = 0; i < n_off; i++)
			items[n++] = (struct label_item){ &f->off.c[i], 0, 0 };
	}
	for (i = n; i > 1; i--) {
		size_t j = (size_t)(mix(&state) % i);
		struct label_item t = items[i - 1];

		items[i - 1] = items[j];
		items[j] = t;
	}
	return n;
}

/* ---- memory ---- */

static void ctxs_free(struct label_ctxs *l)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		mem_free(l->c[i].ids);
		mem_free(l->c[i].acts);
	}
	mem_free(l->c);
	*l = (struct label_ctxs){ 0 };
}

void label_feature_free(struct label_feature *f)
{
	ctxs_free(&f->show);
	ctxs_free(&f->on);
	ctxs_free(&f->off);
	mem_free(f->promoted);
	mem_free(f->suppressed);
	*f = (struct label_feature){ 0 };
}
