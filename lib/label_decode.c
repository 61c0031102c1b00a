#include "label_decode_impl.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "json.h"
#include "mem.h"

/* Keys and values of all texts. */
#define CACHE_BYTES ((size_t)2 << 30)

enum {
	USUAL_CTX = 1024,	/* tokens of a text, for how many go at once */
	ROOM_STEP = 128, WORDS_MAX = 32
};

enum { BARRED = 1, QUOTE = 2, BLANK = 4 };	/* of a token */

/* Where a line stands. */
struct label_line_now {
	float *logits;		/* of what follows, when n_fed is its n */
	size_t n_fed, from;	/* tokens of g; where its string begins */
	int at;			/* step */
	int begun;		/* tokens said, or whether words are there */
	struct text said;
	uint32_t *word[WORDS_MAX];
	size_t len[WORDS_MAX], n_chosen;
	uint8_t alive[WORDS_MAX];
};

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

struct label_decode *label_decode_new(struct model *m, const struct tok *t,
                                      size_t n_ctx, struct err *e)
{
	struct label_decode *d = mem_array(1, sizeof(*d), e);
	size_t n_tok = tok_n_vocab(t);
	uint32_t i;

	if (!d)
		return NULL;
	d->m = m;
	d->t = t;
	d->n_ctx = n_ctx < model_cfg(m)->n_ctx ? n_ctx : model_cfg(m)->n_ctx;
	d->n_vocab = model_cfg(m)->n_vocab;
	if (!(d->w = tok_work_new(t, e)) ||
	    !(d->kind = mem_array(d->n_vocab, 1, e))) {
		label_decode_free(d);
		return NULL;
	}
	for (i = 0; i < d->n_vocab; i++)
		d->kind[i] = i < n_tok ? kind_of(t, i) : BARRED;
	return d;
}

void label_decode_free(struct label_decode *d)
{
	if (!d)
		return;
	tok_work_free(d->w);
	model_many_free(d->g);
	mem_free(d->first);
	mem_free(d->kind);
	mem_free(d);
}

size_t label_decode_at_once(const struct label_decode *d)
{
	const struct model_cfg *c = model_cfg(d->m);
	size_t one = (size_t)c->n_layers * 2 * c->n_kv_heads * c->d_head *
	             sizeof(float) * (d->n_ctx < USUAL_CTX ? d->n_ctx
	                                                   : USUAL_CTX);
	size_t n = CACHE_BYTES / one;

	return n < 1 ? 1 : n > LABEL_DECODE_MAX ? LABEL_DECODE_MAX : n;
}

int label_decode_fits(const struct label_decode *d, const char *name, size_t n,
                      size_t more, struct err *e)
{
	if (n + more <= d->n_ctx)
		return 0;
	return err_set(e, ERR_RANGE, "%s: %zu tokens and %zu for what comes "
	               "behind them, the context takes %zu", name, n, more,
	               d->n_ctx);
}

int label_decode_room(struct label_decode *d, size_t longest, struct err *e)
{
	size_t room = (longest + ROOM_STEP - 1) / ROOM_STEP * ROOM_STEP;

	room = room < d->n_ctx ? room : d->n_ctx;
	if (d->g && room <= d->room)
		return 0;
	model_many_free(d->g);
	d->n_first = 0;
	d->n_texts = label_decode_at_once(d);
	d->room = room;
	d->g = model_many_new(d->m, d->n_texts, room, e);
	return d->g ? 0 : -1;
}

int label_decode_share(struct label_decode *d, const uint32_t *ids, size_t same,
                       size_t n, struct err *e)
{
	size_t i, k = 0;
	struct model_more more = { 0 };

	while (k < same && k < d->n_first && d->first[k] == ids[k])
		k++;
	model_many_cut(d->g, 0, k);
	if (mem_grow(&d->first, &d->cap_first, same, sizeof(*ids), e) < 0)
		return -1;
	if (same)	/* else there may be none */
		memcpy(d->first, ids, same * sizeof(*ids));
	d->n_first = k;
	more.ids = ids + k;
	more.n = same - k;
	if (more.n && model_many_feed(d->g, &more, 1, e) < 0)
		return -1;
	d->n_first = same;
	for (i = 1; i < n; i++)
		if (model_many_share(d->g, i, 0, same, e) < 0)
			return -1;
	return 0;
}

/* How many tokens a and b begin with alike. */
static size_t alike(const uint32_t *a, size_t n_a, const uint32_t *b, size_t n_b)
{
	size_t k = 0;

	while (k < n_a && k < n_b && a[k] == b[k])
		k++;
	return k;
}

/* ---- lines ---- */

void label_line_free(struct label_line *x)
{
	int i;

	for (i = 0; i < LABEL_LINE_SAID; i++)
		mem_free(x->said[i]);
	mem_free(x->ids);
	*x = (struct label_line){ 0 };
}

int label_line_text(struct label_decode *d, struct label_line *x,
                    const char *s, size_t n, int flags, struct err *e)
{
	return tok_encode(d->t, d->w, s, n, flags, &x->ids, &x->n, &x->cap, e);
}

static void add_step(struct label_line *x, struct label_step s)
{
	if (x->n_steps < LABEL_LINE_STEPS)
		x->step[x->n_steps++] = s;
}

void label_line_put(struct label_line *x, const char *text)
{
	add_step(x, (struct label_step){ LABEL_PUT, text, NULL, 0 });
}

void label_line_say(struct label_line *x, int n)
{
	add_step(x, (struct label_step){ LABEL_SAY, NULL, NULL, n });
}

void label_line_pick(struct label_line *x, const char *const *word, int n)
{
	add_step(x, (struct label_step){ LABEL_PICK, NULL, word, n });
}

int label_line_add(struct label_line *x, uint32_t id, struct err *e)
{
	if (mem_grow(&x->ids, &x->cap, x->n + 1, sizeof(*x->ids), e) < 0)
		return -1;
	x->ids[x->n++] = id;
	return 0;
}

/* The most likely token without the kinds in `not`. A pair of tokens that has
 * come since the string began does not come again: small models repeat
 * themselves. */
static uint32_t likeliest(const struct label_decode *d, struct label_line *x,
                          int not)
{
	float *logits = x->now->logits, top = -INFINITY;
	uint32_t best = 0, i;
	size_t k;

	for (k = x->now->from + 1; k < x->n; k++)
		if (x->ids[k - 1] == x->ids[x->n - 1])
			logits[x->ids[k]] = -INFINITY;
	for (i = 0; i < d->n_vocab; i++)
		if (!(d->kind[i] & not) && logits[i] > top) {
			top = logits[i];
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

/* A string is said: kept without its quote, as valid UTF-8. */
static int end_say(struct label_line *x, struct err *e)
{
	struct label_line_now *w = x->now;
	json_t *j = json_bytes(w->said.s, w->said.n, e);

	if (j && x->n_said < LABEL_LINE_SAID)
		x->said[x->n_said] = mem_strdup(json_string_value(j), e);
	json_decref(j);
	w->said.n = 0;
	w->begun = 0;
	w->at++;
	return x->n_said < LABEL_LINE_SAID && x->said[x->n_said++] ? 0 : -1;
}

/* One token of a string. */
static int say(struct label_decode *d, struct label_line *x, struct err *e)
{
	struct label_line_now *w = x->now;
	const char *bytes, *quote;
	uint32_t id;
	size_t len;

	if (!w->begun)
		w->from = x->n;
	id = likeliest(d, x, w->begun ? BARRED : BARRED | QUOTE | BLANK);
	bytes = tok_bytes(d->t, id, &len);
	quote = memchr(bytes, '"', len);
	if (text_add(&w->said, bytes, quote ? (size_t)(quote - bytes) : len,
	             e) < 0)
		return -1;
	if (quote)
		return end_say(x, e);
	if (label_line_add(x, id, e) < 0)
		return -1;
	if (++w->begun < x->step[w->at].n)
		return 0;
	w->said.n = whole_words(w->said.s, w->said.n);
	return end_say(x, e);
}

static int begin_pick(struct label_decode *d, struct label_line *x,
                      struct err *e)
{
	const struct label_step *s = &x->step[x->now->at];
	struct label_line_now *w = x->now;
	size_t cap;
	int i;

	for (i = 0; i < s->n; i++) {
		cap = w->len[i] = 0;
		w->alive[i] = 1;
		if (tok_encode(d->t, d->w, s->word[i], strlen(s->word[i]), 0,
		               &w->word[i], &w->len[i], &cap, e) < 0)
			return -1;
	}
	w->n_chosen = 0;
	w->begun = 1;
	return 0;
}

static void forget_words(struct label_line_now *w)
{
	int i;

	for (i = 0; i < WORDS_MAX; i++) {
		mem_free(w->word[i]);
		w->word[i] = NULL;
	}
}

/* The words' next token that is likeliest; once one word is left, its rest. */
static int pick(struct label_line *x, struct err *e)
{
	const struct label_step *s = &x->step[x->now->at];
	struct label_line_now *w = x->now;
	size_t at = w->n_chosen++;
	int i, best = -1, left = 0, rc;

	for (i = 0; i < s->n; i++)
		if (w->alive[i] && at < w->len[i] &&
		    (best < 0 || w->logits[w->word[i][at]] >
		                 w->logits[w->word[best][at]]))
			best = i;
	for (i = 0; i < s->n; i++) {
		w->alive[i] = w->alive[i] && at < w->len[i] &&
		              w->word[i][at] == w->word[best][at];
		left += w->alive[i];
	}
	rc = label_line_add(x, w->word[best][at], e);
	if (left > 1 && rc == 0)
		return 0;
	for (at++; rc == 0 && at < w->len[best]; at++)
		rc = label_line_add(x, w->word[best][at], e);
	if (x->n_picked < LABEL_LINE_PICKS)
		x->picked[x->n_picked++] = best;
	forget_words(w);
	w->begun = 0;
	w->at++;
	return rc;
}

/* Goes on until logits are wanted (1) or the steps are done (0). */
static int advance(struct label_decode *d, struct label_line *x, struct err *e)
{
	struct label_line_now *w = x->now;
	int rc = 0;

	while (rc == 0 && w->at < x->n_steps) {
		const struct label_step *s = &x->step[w->at];

		if (s->op == LABEL_PUT) {
			rc = label_line_text(d, x, s->text, strlen(s->text), 0, e);
			w->at++;
		} else if (w->n_fed < x->n) {
			return 1;
		} else if (s->op == LABEL_SAY) {
			rc = say(d, x, e);
		} else {
			if (!w->begun)
				rc = begin_pick(d, x, e);
			if (rc == 0)
				rc = pick(x, e);
		}
	}
	return rc;
}

/* All lines through their steps. */
static int go(struct label_decode *d, struct label_line *x, size_t n,
              struct err *e)
{
	struct model_more more[LABEL_DECODE_MAX];
	size_t i, k;
	int got;

	for (;;) {
		for (k = i = 0; i < n; i++) {
			struct label_line_now *w = x[i].now;

			if ((got = advance(d, &x[i], e)) < 0)
				return -1;
			if (got == 0)
				continue;
			more[k++] = (struct model_more){ .text = i,
				.ids = x[i].ids + w->n_fed,
				.n = x[i].n - w->n_fed, .logits = w->logits };
		}
		if (k == 0)
			return 0;
		if (model_many_feed(d->g, more, k, e) < 0)
			return -1;
		for (i = 0; i < k; i++)
			x[more[i].text].now->n_fed = x[more[i].text].n;
	}
}

/* Tokens that the steps may add. */
static size_t most_added(struct label_decode *d, const struct label_line *x,
                         struct err *e)
{
	struct label_line t = { 0 };
	size_t n = 0;
	int i, k;

	for (i = 0; i < x->n_steps; i++) {
		const struct label_step *s = &x->step[i];
		size_t most = s->op == LABEL_SAY ? (size_t)s->n : 0;

		for (k = 0; s->op == LABEL_PICK && k < s->n; k++) {
			t.n = 0;
			if (label_line_text(d, &t, s->word[k],
			                    strlen(s->word[k]), 0, e) < 0)
				break;
			most = t.n > most ? t.n : most;
		}
		t.n = 0;
		if (s->op == LABEL_PUT &&
		    label_line_text(d, &t, s->text, strlen(s->text), 0, e) == 0)
			most = t.n;
		n += most;
	}
	label_line_free(&t);
	return n;
}

int label_decode_run(struct label_decode *d, struct label_line *x, size_t n,
                     struct err *e)
{
	size_t i, same = x[0].n - 1, longest = 0, most;
	int rc = -1;

	for (i = 0; i < n; i++) {
		if (!(x[i].now = mem_array(1, sizeof(*x[i].now), e)) ||
		    !(x[i].now->logits = mem_array(d->n_vocab, sizeof(float),
		                                   e)))
			goto done;
		x[i].n_text = x[i].n;
		most = most_added(d, &x[i], e);
		if (label_decode_fits(d, x[i].name, x[i].n, most, e) < 0)
			goto done;
		longest = x[i].n + most > longest ? x[i].n + most : longest;
		same = alike(x[0].ids, same, x[i].ids, x[i].n - 1);
	}
	if (label_decode_room(d, longest, e) < 0 ||
	    label_decode_share(d, x[0].ids, same, n, e) < 0)
		goto done;
	for (i = 0; i < n; i++) {
		x[i].now->n_fed = same;
		x[i].n_shared = i ? same : 0;
	}
	rc = go(d, x, n, e);
done:
	for (i = 0; i < n && x[i].now; i++) {
		forget_words(x[i].now);
		mem_free(x[i].now->said.s);
		mem_free(x[i].now->logits);
		mem_free(x[i].now);
		x[i].now = NULL;
	}
	return rc;
}
