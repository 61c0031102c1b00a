#include "label_local.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "chat.h"
#include "eval.h"
#include "mem.h"

enum {
	WHY_TOKENS = 40, LABEL_TOKENS = 16,	/* of the two strings */
	ROOM = 160		/* tokens an answer may take */
};

enum { BARRED = 1, QUOTE = 2, BLANK = 4 };	/* of a token */

struct label_local {
	struct model *m;
	const struct tok *t;
	struct tok_work *w;
	struct model_gen *g;
	enum chat_template template;
	size_t n_ctx, n_vocab;
	float *logits;
	uint8_t *kind;		/* of each token */
	uint32_t *ids;		/* the sequence; n_fed of them are cached */
	size_t n, cap, n_fed;
	size_t n_prompt, n_reused;
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

static uint8_t kind_of(const struct tok *t, uint32_t id)
{
	const char *s;
	size_t n, i;
	uint8_t k = BLANK;

	s = tok_bytes(t, id, &n);
	if (n == 0 || tok_is_special(t, id))
		return BARRED;
	for (i = 0; i < n; i++) {
		if ((unsigned char)s[i] < ' ' || s[i] == '\\')
			return BARRED;
		if (s[i] == '"')
			k |= QUOTE;
		if (s[i] != ' ')
			k &= (uint8_t)~BLANK;
	}
	return k;
}

struct label_local *label_local_new(struct model *m, const struct tok *t,
                                    size_t n_ctx, struct err *e)
{
	struct label_local *l = mem_array(1, sizeof(*l), e);
	size_t n_tok = tok_n_vocab(t);
	uint32_t i;

	if (!l)
		return NULL;
	l->m = m;
	l->t = t;
	l->n_ctx = n_ctx < model_cfg(m)->n_ctx ? n_ctx : model_cfg(m)->n_ctx;
	l->n_vocab = model_cfg(m)->n_vocab;
	l->template = find_template(t);
	if (l->template == CHAT_NONE) {
		err_set(e, ERR_FORMAT, "the tokenizer has the tokens of no "
		        "chat template: this model does not answer questions");
		goto fail;
	}
	if (!(l->w = tok_work_new(t, e)) ||
	    !(l->g = model_gen_new(m, l->n_ctx, e)) ||
	    !(l->logits = mem_array(l->n_vocab, sizeof(*l->logits), e)) ||
	    !(l->kind = mem_array(l->n_vocab, 1, e)))
		goto fail;
	for (i = 0; i < l->n_vocab; i++)
		l->kind[i] = i < n_tok ? kind_of(t, i) : BARRED;
	return l;
fail:
	label_local_free(l);
	return NULL;
}

void label_local_free(struct label_local *l)
{
	if (!l)
		return;
	tok_work_free(l->w);
	model_gen_free(l->g);
	mem_free(l->logits);
	mem_free(l->kind);
	mem_free(l->ids);
	mem_free(l);
}

/* ---- decoding ---- */

static int add_text(struct label_local *l, const char *s, int flags,
                    struct err *e)
{
	return tok_encode(l->t, l->w, s, strlen(s), flags, &l->ids, &l->n,
	                  &l->cap, e);
}

static int add_id(struct label_local *l, uint32_t id, struct err *e)
{
	if (mem_grow(&l->ids, &l->cap, l->n + 1, sizeof(*l->ids), e) < 0)
		return -1;
	l->ids[l->n++] = id;
	return 0;
}

/* Logits of what follows all that was added. */
static int look(struct label_local *l, struct err *e)
{
	if (l->n > l->n_ctx)
		return err_set(e, ERR_RANGE, "the answer is beyond the "
		               "context of %zu tokens", l->n_ctx);
	if (l->n == l->n_fed)
		return 0;
	if (model_gen_feed(l->g, l->ids + l->n_fed, l->n - l->n_fed, l->logits,
	                   NULL, NULL, e))
		return -1;
	l->n_fed = l->n;
	return 0;
}

/* The most likely token without the kinds in `not`. A pair of tokens that has
 * come since `from` does not come again: small models repeat themselves. */
static uint32_t likeliest(struct label_local *l, int not, size_t from)
{
	uint32_t best = 0;
	float top = -INFINITY;
	uint32_t i;
	size_t k;

	for (k = from + 1; k < l->n; k++)
		if (l->ids[k - 1] == l->ids[l->n - 1])
			l->logits[l->ids[k]] = -INFINITY;
	for (i = 0; i < l->n_vocab; i++)
		if (!(l->kind[i] & not) && l->logits[i] > top) {
			top = l->logits[i];
			best = i;
		}
	return best;
}

/* Where a text that was cut off ends well: behind its last whole word, or n. */
static size_t whole_words(const char *s, size_t n)
{
	size_t i = n;

	while (i && s[i - 1] != ' ')
		i--;
	while (i && strchr(" ,;:(-", s[i - 1]))
		i--;
	return i ? i : n;
}

/* A string up to its closing quote: the text without it, as JSON. */
static json_t *say(struct label_local *l, int max, struct err *e)
{
	char *text = NULL;
	size_t n = 0, cap = 0, len;
	size_t from = l->n;
	json_t *j = NULL;
	int i;

	for (i = 0; i < max; i++) {
		uint32_t id;
		const char *s, *quote;

		if (look(l, e) < 0)
			goto done;
		id = likeliest(l, i ? BARRED : BARRED | QUOTE | BLANK, from);
		s = tok_bytes(l->t, id, &len);
		quote = memchr(s, '"', len);
		if (quote)
			len = (size_t)(quote - s);
		if (mem_grow(&text, &cap, n + len + 1, 1, e) < 0)
			goto done;
		memcpy(text + n, s, len);
		n += len;
		if (quote)
			break;
		if (add_id(l, id, e) < 0)
			goto done;
	}
	if (i == max)
		n = whole_words(text, n);
	j = eval_json_string(text ? text : "", n, e);
done:
	mem_free(text);
	return j;
}

/* The likeliest of n words, followed token by token until one is left; it is
 * added. Its index, or -1. */
static int choose(struct label_local *l, const char *const *word, int n,
                  struct err *e)
{
	uint32_t *ids[32] = { NULL };
	size_t len[32] = { 0 }, cap, at;
	int alive[32], left = n, i, best = -1, rc = -1;

	for (i = 0; i < n; i++) {
		cap = 0;
		alive[i] = 1;
		if (tok_encode(l->t, l->w, word[i], strlen(word[i]), 0,
		               &ids[i], &len[i], &cap, e) < 0)
			goto done;
	}
	for (at = 0; left > 1; at++) {
		best = -1;
		if (look(l, e) < 0)
			goto done;
		for (i = 0; i < n; i++)
			if (alive[i] && at < len[i] &&
			    (best < 0 || l->logits[ids[i][at]] >
			                 l->logits[ids[best][at]]))
				best = i;
		for (left = i = 0; i < n; i++) {
			alive[i] = alive[i] && at < len[i] &&
			           ids[i][at] == ids[best][at];
			left += alive[i];
		}
		if (add_id(l, ids[best][at], e) < 0)
			goto done;
	}
	for (i = 0; i < n; i++)
		if (alive[i])
			best = i;
	for (rc = 0; rc == 0 && at < len[best]; at++)
		rc = add_id(l, ids[best][at], e);
done:
	for (i = 0; i < n; i++)
		mem_free(ids[i]);
	return rc < 0 ? -1 : best;
}

/* ---- forms ---- */

static int fill_bits(struct label_local *l, size_t n, json_t *obj,
                     struct err *e)
{
	static const char *const word[] = { "0", "1" };
	json_t *list = json_array();
	size_t i;
	int got;

	json_object_set_new(obj, "results", list);
	if (add_text(l, "{\"results\": [", 0, e) < 0)
		return -1;
	for (i = 0; i < n; i++) {
		if ((i && add_text(l, ", ", 0, e) < 0) ||
		    (got = choose(l, word, 2, e)) < 0)
			return -1;
		json_array_append_new(list, json_integer(got));
	}
	return 0;
}

/* start: what the string begins with, "" for nothing. */
static int fill_string(struct label_local *l, const char *before,
                       const char *start, const char *key, int max,
                       json_t *obj, struct err *e)
{
	char *text;
	json_t *s;

	if (add_text(l, before, 0, e) < 0 || add_text(l, start, 0, e) < 0 ||
	    !(s = say(l, max, e)))
		return -1;
	text = mem_printf(e, "%s%s", start, json_string_value(s));
	json_decref(s);
	if (!text)
		return -1;
	json_object_set_new(obj, key, json_string(text));
	mem_free(text);
	return 0;
}

static int fill_label(struct label_local *l, const char *const *begin, json_t *obj,
                      struct err *e)
{
	static const char *const digit[] = {
		"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"
	};
	static const char *const mark[][2] = {
		{ "\"], \"quality\": ", "quality" },
		{ ", \"interestingness\": ", "interestingness" },
		{ ", \"confidence\": ", "confidence" }
	};
	int got, i;

	if (fill_string(l, "{\"explanation\": \"", begin[0],
	                "explanation", WHY_TOKENS, obj, e) < 0 ||
	    fill_string(l, "\", \"label\": \"", begin[1], "label", LABEL_TOKENS, obj,
	                e) < 0 ||
	    add_text(l, "\", \"tags\": [\"", 0, e) < 0 ||
	    (got = choose(l, label_tags, LABEL_N_TAGS, e)) < 0)
		return -1;
	json_object_set_new(obj, "tags", json_pack("[s]", label_tags[got]));
	for (i = 0; i < 3; i++) {
		if (add_text(l, mark[i][0], 0, e) < 0 ||
		    (got = choose(l, digit, 10, e)) < 0)
			return -1;
		json_object_set_new(obj, mark[i][1], json_integer(got));
	}
	return 0;
}

/* The prompt through the template, over what is cached of the last one. 1 when
 * it leaves no room. */
static int prompt(struct label_local *l, const struct label_ask *a,
                  struct err *e)
{
	static const char think[] = "<think>\n";
	json_t *m = json_pack("[{s:s,s:s},{s:s,s:s}]", "role", "system",
	                      "content", a->system, "role", "user", "content",
	                      a->user);
	struct chat_opt o = { .generate = 1 };
	struct chat_text c = { 0 };
	uint32_t *ids = NULL;
	size_t n = 0, cap = 0, same = 0;
	int rc = -1;

	if (!m) {
		err_set(e, ERR_FORMAT, "%s: a prompt that is not UTF-8", a->id);
		return -1;
	}
	if (chat_render(l->template, m, &o, &c, e) < 0 ||
	    tok_encode(l->t, l->w, c.text, c.n, TOK_SPECIAL, &ids, &n, &cap,
	               e) < 0)
		goto done;
	/* a model that thinks first is told that it has */
	if (c.n >= sizeof(think) - 1 &&
	    !strcmp(c.text + c.n - (sizeof(think) - 1), think) &&
	    tok_encode(l->t, l->w, "\n</think>\n\n", 11, TOK_SPECIAL, &ids, &n,
	               &cap, e) < 0)
		goto done;
	if (n + ROOM > l->n_ctx) {
		err_set(e, ERR_RANGE, "the prompt has %zu tokens, the context "
		        "takes %zu and an answer %d", n, l->n_ctx, ROOM);
		rc = 1;
		goto done;
	}
	while (same < n && same < l->n_fed && ids[same] == l->ids[same])
		same++;
	same = same < n ? same : n - 1;	/* something must be fed for logits */
	model_gen_cut(l->g, same);
	mem_free(l->ids);
	l->ids = ids;
	l->cap = cap;
	l->n = l->n_prompt = n;
	l->n_fed = l->n_reused = same;
	ids = NULL;
	rc = 0;
done:
	mem_free(ids);
	chat_done(&c);
	json_decref(m);
	return rc;
}

int label_local_answer(struct label_local *l, const struct label_ask *a,
                       char **body, size_t *n, struct err *e)
{
	json_t *obj = json_object(), *msg = NULL;
	char *text = NULL, *all = NULL;
	int rc = prompt(l, a, e);

	if (rc == 0)
		rc = a->form == LABEL_FORM_BITS
		     ? fill_bits(l, a->n_items, obj, e)
		     : fill_label(l, a->begin, obj, e);
	if (rc)
		goto done;
	rc = -1;
	text = json_dumps(obj, JSON_COMPACT);
	msg = json_pack("{s:s,s:[{s:s,s:s}],s:{s:I,s:I,s:I}}", "stop_reason",
	                "end_turn", "content", "type", "text", "text",
	                text ? text : "", "usage", "input_tokens",
	                (json_int_t)(l->n_prompt - l->n_reused),
	                "cache_read_input_tokens", (json_int_t)l->n_reused,
	                "output_tokens", (json_int_t)(l->n - l->n_prompt));
	all = msg ? json_dumps(msg, JSON_COMPACT) : NULL;
	if (!all) {
		err_set(e, ERR_MEM, "no memory for an answer");
		goto done;
	}
	*n = strlen(all);
	*body = mem_strndup(all, *n, e);
	rc = *body ? 0 : -1;
done:
	free(text);
	free(all);
	json_decref(msg);
	json_decref(obj);
	return rc;
}
