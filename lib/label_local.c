#include "label_local.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "chat.h"
#include "label_decode.h"
#include "label_wire.h"
#include "mem.h"

enum { WHY_MOST = 40, NAME_MOST = 16, CANDIDATES = 8 };	/* tokens of the strings */

struct label_local {
	const struct tok *t;
	struct label_decode *d;
	enum chat_template template;
};

static enum chat_template find_template(const struct tok *t)
{
	static const enum chat_template all[] = {
		CHAT_R1, CHAT_LLAMA3, CHAT_CHATML
	};
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(*all); i++) {
		const char *const *s = chat_tokens(all[i]);

		while (*s && tok_id(t, *s) != UINT32_MAX)
			s++;
		if (!*s)
			return all[i];
	}
	return CHAT_NONE;
}

struct label_local *label_local_new(struct model *m, const struct tok *t,
                                    size_t n_ctx, struct err *e)
{
	struct label_local *l = mem_array(1, sizeof(*l), e);

	if (!l)
		return NULL;
	l->t = t;
	l->template = find_template(t);
	if (l->template == CHAT_NONE)
		err_set(e, ERR_FORMAT, "the tokenizer has the tokens of no "
		        "chat template: this model does not answer questions");
	else
		l->d = label_decode_new(m, t, n_ctx, e);
	if (l->d)
		return l;
	label_local_free(l);
	return NULL;
}

void label_local_free(struct label_local *l)
{
	if (!l)
		return;
	label_decode_free(l->d);
	mem_free(l);
}

size_t label_local_at_once(const struct label_local *l)
{
	return label_decode_at_once(l->d);
}

/* ---- what is measured ---- */

/* How well g fits: of a text the most that two neighbouring tokens gain, of marks
 * by how much the marked tokens gain more than the others. */
static double fit_of(const struct label_gain *g, const uint8_t *mark)
{
	double best = -HUGE_VAL, last = 0, sum[2] = { 0, 0 };
	size_t i, n[2] = { 0, 0 };

	for (i = 0; i < g->n_tokens; i++) {
		int in = mark && mark[g->at[i]];
		double pair = i ? (g->gain[i] + last) / 2 : g->gain[i];

		best = pair > best ? pair : best;
		last = g->gain[i];
		sum[in] += g->gain[i];
		n[in]++;
	}
	if (!mark)
		return best;
	return (n[1] ? sum[1] / (double)n[1] : 0) -
	       (n[0] ? sum[0] / (double)n[0] : 0);
}

/* ---- prompts that are answered ---- */

/* The prompt through the template. */
static int prompt(struct label_local *l, const struct label_ask *a,
                  struct label_line *x, struct err *e)
{
	static const char think[] = "<think>\n", thought[] = "\n</think>\n\n";
	json_t *m = json_pack("[{s:s,s:s},{s:s,s:s}]", "role", "system",
	                      "content", a->system, "role", "user", "content",
	                      a->user);
	struct chat_opt o = { .generate = 1 };
	struct chat_text c = { 0 };
	int rc = -1;

	if (!m) {
		err_set(e, ERR_FORMAT, "%s: a prompt that is not UTF-8", a->id);
		return -1;
	}
	if (chat_render(l->template, m, &o, &c, e) == 0)
		rc = label_line_text(l->d, x, c.text, c.n, TOK_SPECIAL, e);
	/* a model that thinks first is told that it has */
	if (rc == 0 && c.n >= sizeof(think) - 1 &&
	    !strcmp(c.text + c.n - (sizeof(think) - 1), think))
		rc = label_line_text(l->d, x, thought, sizeof(thought) - 1,
		                     TOK_SPECIAL, e);
	chat_done(&c);
	json_decref(m);
	return rc;
}

static void ask_bits(const struct label_ask *a, struct label_line *x)
{
	static const char *const word[] = { "0", "1" };
	size_t i;

	label_line_put(x, "{\"results\": [");
	for (i = 0; i < a->n_items; i++) {
		if (i)
			label_line_put(x, ", ");
		label_line_pick(x, word, 2);
	}
}

static const char *const marks[] = {
	"quality", "interestingness", "confidence"
};

static void ask_label(const struct label_ask *a, struct label_line *x)
{
	static const char *const digit[] = {
		"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"
	};
	static const char *const before[] = {
		"\"], \"quality\": ", ", \"interestingness\": ",
		", \"confidence\": "
	};
	int i;

	label_line_put(x, "{\"explanation\": \"");
	label_line_put(x, a->begin[0]);
	label_line_say(x, WHY_MOST);
	label_line_put(x, "\", \"label\": \"");
	label_line_put(x, a->begin[1]);
	label_line_say(x, NAME_MOST);
	label_line_put(x, "\", \"tags\": [\"");
	label_line_pick(x, label_tags, LABEL_N_TAGS);
	for (i = 0; i < 3; i++) {
		label_line_put(x, before[i]);
		label_line_pick(x, digit, 10);
	}
}

static json_t *bits_of(const struct label_line *x)
{
	json_t *list = json_array();
	int i;

	for (i = 0; i < x->n_picked; i++)
		json_array_append_new(list, json_integer(x->picked[i]));
	return json_pack("{s:o}", "results", list);
}

static json_t *label_of(const struct label_line *x, const char *why,
                        const char *label)
{
	json_t *obj = json_pack("{s:s,s:s,s:[s]}", "explanation", why, "label",
	                        label, "tags", label_tags[x->picked[0]]);
	int i;

	for (i = 0; i < 3; i++)
		json_object_set_new(obj, marks[i],
		                    json_integer(x->picked[i + 1]));
	return obj;
}

/* The label under which the marked tokens of the contexts shown gain most over the
 * others: cand[], n of them, are taken over, but for the one returned. *log: what
 * each of them did. */
static char *choose(struct label_local *l, const struct label_ask *a,
                    char **cand, size_t n, json_t **log, struct err *e)
{
	struct label_gain *g = mem_array(n * a->n_items, sizeof(*g), e);
	char *given[CANDIDATES] = { NULL }, *best = NULL;
	const char *hole = strchr(a->given, 1);
	double most = -HUGE_VAL, sum;
	size_t i, k, at = 0;
	int rc = g ? 0 : -1;

	for (i = 0; rc == 0 && i < n; i++) {
		given[i] = hole ? mem_printf(e, "%.*s%s%s",
		                             (int)(hole - a->given), a->given,
		                             cand[i], hole + 1)
		                : mem_strdup(a->given, e);
		rc = given[i] ? 0 : -1;
		for (k = 0; rc == 0 && k < a->n_items; k++)
			g[at++] = (struct label_gain){ .name = a->id,
				.given = given[i], .plain = a->plain,
				.text = a->item[k].s, .n = a->item[k].n };
	}
	if (rc == 0)
		rc = label_decode_gain(l->d, g, at, e);
	*log = rc == 0 ? json_array() : NULL;
	for (i = 0; rc == 0 && i < n; i++) {
		for (sum = 0, k = 0; k < a->n_items; k++)
			sum += fit_of(&g[i * a->n_items + k], a->item[k].mark);
		sum /= (double)a->n_items;
		json_array_append_new(*log, json_pack("{s:s,s:f}", "label",
		                      cand[i], "gain", sum));
		if (sum > most) {
			most = sum;
			best = cand[i];
		}
	}
	for (i = 0; i < n; i++) {
		if (cand[i] != best)
			mem_free(cand[i]);
		mem_free(given[i]);
	}
	for (i = 0; i < at; i++) {
		mem_free(g[i].gain);
		mem_free(g[i].at);
	}
	mem_free(g);
	return best;
}

/* The label of a: the model's own, or a candidate that does better. */
static char *find_label(struct label_local *l, const struct label_ask *a,
                        char *own, json_t **log, struct err *e)
{
	char *cand[CANDIDATES] = { own };
	const char *s = a->candidate, *nl;
	size_t n = 1;

	*log = NULL;
	if (!own || !s || !a->given || !a->n_items)
		return own;
	for (; n < CANDIDATES && *s; s = *nl ? nl + 1 : nl, n++) {
		nl = strchrnul(s, '\n');
		if (!(cand[n] = mem_strndup(s, (size_t)(nl - s), e)))
			break;
	}
	return choose(l, a, cand, n, log, e);
}

/* A line's answer as a body. */
static int finish(struct label_local *l, const struct label_ask *a,
                  const struct label_line *x, char **body, size_t *len,
                  struct err *e)
{
	const struct label_usage u = {
		.input = (int64_t)(x->n_text - x->n_shared),
		.cache_read = (int64_t)x->n_shared,
		.output = (int64_t)(x->n - x->n_text)
	};
	char *why, *label;
	json_t *log;
	int rc = -1;

	if (a->form == LABEL_FORM_BITS)
		return label_wire_message(bits_of(x), &u, NULL, body, len, e);
	why = mem_printf(e, "%s%s", a->begin[0], x->said[0]);
	label = find_label(l, a, mem_printf(e, "%s%s", a->begin[1], x->said[1]),
	                   &log, e);
	if (why && label)
		rc = label_wire_message(label_of(x, why, label), &u, log, body,
		                        len, e);
	else
		json_decref(log);
	mem_free(why);
	mem_free(label);
	return rc;
}

static int by_words(struct label_local *l, const struct label_ask *a, size_t n,
                    char **body, size_t *len, struct err *e)
{
	struct label_line *x = mem_array(n, sizeof(*x), e);
	size_t i;
	int rc = x ? 0 : -1;

	for (i = 0; rc == 0 && i < n; i++) {
		x[i].name = a[i].id;
		rc = prompt(l, &a[i], &x[i], e);
		if (a[i].form == LABEL_FORM_BITS)
			ask_bits(&a[i], &x[i]);
		else
			ask_label(&a[i], &x[i]);
	}
	if (rc == 0)
		rc = label_decode_run(l->d, x, n, e);
	for (i = 0; rc == 0 && i < n; i++)
		rc = finish(l, &a[i], &x[i], &body[i], &len[i], e);
	for (i = 0; x && i < n; i++)
		label_line_free(&x[i]);
	mem_free(x);
	return rc;
}

/* ---- items that are measured ---- */

static int descending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x < y) - (x > y);
}

/* The half that fits best is 1. */
static int judge(const struct label_ask *a, const struct label_gain *g,
                 char **body, size_t *len, struct err *e)
{
	double fit[LABEL_ITEMS_MAX], sorted[LABEL_ITEMS_MAX];
	json_t *list = json_array(), *log = json_array();
	struct label_usage u = { 0 };
	size_t i, n = a->n_items;

	for (i = 0; i < n; i++) {
		sorted[i] = fit[i] = fit_of(&g[i], a->item[i].mark);
		u.input += (int64_t)g[i].n_computed;
		u.cache_read += (int64_t)(2 * g[i].n_tokens - g[i].n_computed);
	}
	qsort(sorted, n, sizeof(*sorted), descending);
	for (i = 0; i < n; i++) {
		json_array_append_new(list, json_integer(fit[i] >=
		                      sorted[(n - 1) / 2]));
		json_array_append_new(log, json_real(fit[i]));
	}
	return label_wire_message(json_pack("{s:o}", "results", list), &u, log,
	                          body, len, e);
}

static int by_gain(struct label_local *l, const struct label_ask *a, size_t n,
                   char **body, size_t *len, struct err *e)
{
	struct label_gain *g;
	size_t i, k, all = 0, at = 0;
	int rc;

	for (i = 0; i < n; i++)
		all += a[i].n_items;
	if (!(g = mem_array(all, sizeof(*g), e)))
		return -1;
	for (i = 0; i < n; i++)
		for (k = 0; k < a[i].n_items; k++)
			g[at++] = (struct label_gain){ .name = a[i].id,
				.given = a[i].given, .plain = a[i].plain,
				.text = a[i].item[k].s, .n = a[i].item[k].n };
	rc = label_decode_gain(l->d, g, all, e);
	for (at = i = 0; rc == 0 && i < n; i++) {
		rc = judge(&a[i], g + at, &body[i], &len[i], e);
		at += a[i].n_items;
	}
	for (i = 0; i < all; i++) {
		mem_free(g[i].gain);
		mem_free(g[i].at);
	}
	mem_free(g);
	return rc;
}

int label_local_answer(struct label_local *l, const struct label_ask *a,
                       size_t n, char **body, size_t *len, struct err *e)
{
	size_t i;
	int rc;

	for (i = 0; i < n; i++)
		body[i] = NULL;
	rc = a[0].form == LABEL_FORM_BITS && a[0].given ? by_gain(l, a, n, body, len, e)
		     : by_words(l, a, n, body, len, e);
	for (i = 0; rc < 0 && i < n; i++) {
		mem_free(body[i]);
		body[i] = NULL;
	}
	return rc;
}
