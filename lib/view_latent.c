/*
 * What is known of latents: members of an object of the page's "latents", all
 * but some absent.
 *
 *   label, explanation, tags, by	strings; by: the model that wrote them
 *   score		balanced accuracy of the label, 0..1
 *   fired, frequency, mean, max	over the corpus
 *   quantile		[7] at 1, 10, 25, 50, 75, 90, 99 %
 *   prompt, think, answer, text	shares of firings there
 *   up, down		[[token, logit or null]...] it promotes, suppresses
 *   hist		[first bin, count...], bins as examples.h has them
 *   near		[[latent, cosine]...] of the same layer
 *   top, sample	contexts: {"at": the peak's index, "tokens": [S...],
 *			"acts": [...]}
 */
#include <stdlib.h>
#include <string.h>

#include "attrgraph.h"
#include "examples.h"
#include "json.h"
#include "mem.h"
#include "sql.h"
#include "view_impl.h"

enum {
	CONTEXTS = 8,		/* shown of a kind */
	BEFORE = 24, AFTER = 12,	/* tokens around the peak */
	LOGITS = 12, NEAR = 6
};

static uint64_t key_of(uint64_t layer, uint64_t latent)
{
	return layer << 32 | latent;
}

/* The latent, or NULL when no graph has it. */
static struct view_latent *find(struct view *v, uint64_t key)
{
	size_t lo = 0, hi = v->n_latents, mid;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (v->latent[mid].key < key)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < v->n_latents && v->latent[lo].key == key ? &v->latent[lo]
	                                                     : NULL;
}

/* Joins o, which is taken over, to what is known of l. */
static int join(struct view_latent *l, json_t *o, struct err *e)
{
	int rc = 0;

	if (!o)
		return err_set(e, ERR_MEM, "no memory for a latent");
	if (!l->about)
		l->about = json_incref(o);
	else
		rc = json_object_update(l->about, o);
	json_decref(o);
	return rc < 0 ? err_set(e, ERR_MEM, "no memory for a latent") : 0;
}

/* A finite number, or nothing. */
static void set_real(json_t *o, const char *key, double v)
{
	json_t *j = json_finite(v);

	if (json_is_null(j))
		json_decref(j);
	else
		json_object_set_new(o, key, j);
}

/* ---- SQLite ---- */

static int there(struct sql *s, const char *table, struct err *e)
{
	struct sql_stmt *q = sql_bind(s, "SELECT 1 FROM sqlite_master WHERE "
	                              "name = ?", e, "s", table);

	return q ? sql_step(q, e) : -1;
}

static int set_text(json_t *o, const char *key, struct sql_stmt *q, int i,
                    struct err *e)
{
	const char *s = sql_text(q, i);
	json_t *j;

	if (!s || !*s)
		return 0;
	j = json_bytes(s, strlen(s), e);
	return j && json_object_set_new(o, key, j) == 0 ? 0 : -1;
}

/* The best label of each latent: the view is gone through once. */
static int labels(struct view *v, struct sql *s, struct err *e)
{
	struct sql_stmt *q = sql_bind(s, "SELECT layer, feature_id, label, "
	                              "explanation, tags, model_name, score "
	                              "FROM best", e, "");
	struct view_latent *l;
	json_t *o;
	int got = q ? 1 : -1;

	while (got > 0 && (got = sql_step(q, e)) > 0) {
		l = find(v, key_of((uint64_t)sql_int(q, 0),
		                   (uint64_t)sql_int(q, 1)));
		if (!l)
			continue;
		o = json_object();
		if (set_text(o, "label", q, 2, e) < 0 ||
		    set_text(o, "explanation", q, 3, e) < 0 ||
		    set_text(o, "tags", q, 4, e) < 0 ||
		    set_text(o, "by", q, 5, e) < 0) {
			json_decref(o);
			return -1;
		}
		if (!sql_is_null(q, 6))
			set_real(o, "score", sql_real(q, 6));
		got = join(l, o, e) < 0 ? -1 : 1;
	}
	return got;
}

/* A list of tokens that the database has as JSON. */
static void set_tokens(json_t *o, const char *key, const char *text)
{
	json_t *all = text ? json_loads(text, 0, NULL) : NULL, *t, *list;
	size_t i;

	list = json_array();
	json_array_foreach(all, i, t)
		if (i < LOGITS && json_is_string(t))
			json_array_append_new(list, json_pack("[O,n]", t));
	if (json_array_size(list))
		json_object_set(o, key, list);
	json_decref(list);
	json_decref(all);
}

static int statistics(struct sql *s, struct view_latent *l, struct err *e)
{
	static const char *const name[] = { "frequency", "mean", "max",
		"prompt", "think", "answer", "text" };
	struct sql_stmt *q = sql_bind(s, "SELECT frequency, mean, max, prompt, "
	                              "think, answer, text, n_fired, promoted, "
	                              "suppressed, median FROM feature WHERE "
	                              "layer = ? AND feature_id = ?", e, "ii",
	                              (int64_t)(l->key >> 32),
	                              (int64_t)(l->key & UINT32_MAX));
	int got = q ? sql_step(q, e) : -1, i;
	json_t *o;

	if (got <= 0)
		return got;
	o = json_object();
	for (i = 0; i < 7; i++)
		set_real(o, name[i], sql_real(q, i));
	json_object_set_new(o, "fired", json_integer(sql_int(q, 7)));
	set_tokens(o, "up", sql_text(q, 8));
	set_tokens(o, "down", sql_text(q, 9));
	return join(l, o, e);
}

/* The window around a peak: the tokens on both sides as far as the database has
 * them without a gap (those of other latents' windows may lie beyond). */
static json_t *window(struct sql *s, uint64_t key, int64_t seq, int64_t at,
                      struct err *e)
{
	struct sql_stmt *q = sql_bind(s, "SELECT t.token_idx, decoded_token, "
		"strength FROM token t LEFT JOIN activation a ON a.layer = ?1 "
		"AND a.feature_id = ?2 AND a.sequence_id = t.sequence_id AND "
		"a.token_idx = t.token_idx WHERE t.sequence_id = ?3 AND "
		"t.token_idx BETWEEN ?4 AND ?5 ORDER BY 1", e, "iiiii",
		(int64_t)(key >> 32), (int64_t)(key & UINT32_MAX), seq,
		at - BEFORE, at + AFTER);
	json_t *tokens = json_array(), *acts = json_array(), *t;
	int64_t last = INT64_MIN, i, peak = 0;
	int got = q ? 1 : -1;

	while (got > 0 && (got = sql_step(q, e)) > 0) {
		const char *text = sql_text(q, 1) ? sql_text(q, 1) : "";

		i = sql_int(q, 0);
		if (i != last + 1 && i > at)
			break;
		if (i != last + 1) {
			json_array_clear(tokens);
			json_array_clear(acts);
		}
		if (i == at)
			peak = (int64_t)json_array_size(tokens);
		last = i;
		if (!(t = json_bytes(text, strlen(text), e)))
			got = -1;
		json_array_append_new(tokens, t);
		json_array_append_new(acts, sql_is_null(q, 2)
			? json_integer(0) : json_finite(sql_real(q, 2)));
	}
	if (got >= 0 && json_array_size(tokens))
		return json_pack("{s:I,s:o,s:o}", "at", (json_int_t)peak,
		                 "tokens", tokens, "acts", acts);
	json_decref(tokens);
	json_decref(acts);
	return got < 0 ? NULL : json_null();
}

/* The strongest places, one a sequence. */
static int contexts(struct sql *s, struct view_latent *l, struct err *e)
{
	struct sql_stmt *q = sql_bind(s, "SELECT sequence_id, token_idx, "
	                              "max(strength) FROM activation WHERE "
	                              "layer = ? AND feature_id = ? GROUP BY "
	                              "sequence_id ORDER BY 3 DESC, 1 LIMIT ?",
	                              e, "iii", (int64_t)(l->key >> 32),
	                              (int64_t)(l->key & UINT32_MAX),
	                              (int64_t)CONTEXTS);
	json_t *list = json_array(), *w, *o;
	int got = q ? 1 : -1;

	while (got > 0 && (got = sql_step(q, e)) > 0) {
		if (!(w = window(s, l->key, sql_int(q, 0), sql_int(q, 1), e)))
			got = -1;
		else if (json_is_object(w))
			json_array_append(list, w);
		json_decref(w);
	}
	if (got == 0 && json_array_size(list)) {
		o = json_pack("{s:O}", "top", list);
		got = join(l, o, e);
	}
	json_decref(list);
	return got;
}

static int goodfire(struct view *v, const char *path, struct err *e)
{
	struct attrgraph_labels *all = attrgraph_labels_open(path, e);
	char *label;
	size_t i;
	int got = all ? 0 : -1;

	for (i = 0; i < v->n_latents && got >= 0; i++) {
		struct view_latent *l = &v->latent[i];

		got = attrgraph_label(all, (uint32_t)(l->key >> 32),
		                      (uint32_t)l->key, &label, e);
		if (got <= 0)
			continue;
		got = join(l, json_pack("{s:o}", "label", json_bytes(
			label, strlen(label), e)), e);
		mem_free(label);
	}
	attrgraph_labels_close(all);
	return got < 0 ? -1 : 0;
}

int view_database(struct view *v, const char *path, struct err *e)
{
	struct sql *s = sql_open(path, 0, e);
	int best, feature = -1, activation = -1, rc = -1;
	size_t i;

	if (!s || (best = there(s, "best", e)) < 0 ||
	    (feature = there(s, "feature", e)) < 0 ||
	    (activation = there(s, "activation", e)) < 0)
		goto done;
	rc = best ? labels(v, s, e) : goodfire(v, path, e);
	for (i = 0; i < v->n_latents && rc == 0; i++) {
		if (feature)
			rc = statistics(s, &v->latent[i], e);
		if (rc == 0 && activation)
			rc = contexts(s, &v->latent[i], e);
	}
done:
	sql_close(s);
	return rc;
}

/* ---- examples/1 ---- */

static json_t *token(const struct tok *t, uint32_t id, struct err *e)
{
	size_t n;
	const char *s = tok_bytes(t, id, &n);

	return json_bytes(s, n, e);
}

static json_t *context(const struct examples_one *c, const struct tok *t,
                       struct err *e)
{
	uint32_t from = c->at > BEFORE ? c->at - BEFORE : 0;
	uint32_t to = c->n - c->at > AFTER ? c->at + AFTER : c->n, i;
	json_t *tokens = json_array(), *acts = json_array();

	for (i = from; i < to; i++) {
		json_array_append_new(tokens, token(t, c->ids[i], e));
		json_array_append_new(acts, c->acts && c->acts[i] > 0
			? json_real((double)c->acts[i]) : json_integer(0));
	}
	return json_pack("{s:i,s:o,s:o}", "at", (int)(c->at - from), "tokens",
	                 tokens, "acts", acts);
}

static json_t *pairs(const uint32_t *id, const float *value, size_t n,
                     const struct tok *t, struct err *e)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < n; i++)
		json_array_append_new(list, json_pack("[o,o]", t
			? token(t, id[i], e) : json_integer(id[i]),
			json_finite((double)value[i])));
	return list;
}

static json_t *histogram(const uint32_t *bin)
{
	int lo = 0, hi = EXAMPLES_BINS;
	json_t *list = json_array();

	while (lo < hi && !bin[lo])
		lo++;
	while (hi > lo && !bin[hi - 1])
		hi--;
	json_array_append_new(list, json_integer(lo));
	for (; lo < hi; lo++)
		json_array_append_new(list, json_integer(bin[lo]));
	return list;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static json_t *latent(const struct examples_latent *x, const struct tok *t,
                      struct err *e)
{
	static const struct {
		const char *name;
		enum examples_list list;
	} lists[] = { { "top", EXAMPLES_TOP }, { "sample", EXAMPLES_SAMPLE } };
	json_t *o = json_pack("{s:I,s:f,s:f,s:f,s:f,s:f,s:f,s:f}", "fired",
		(json_int_t)x->s.n_fired, "frequency", x->d.frequency, "mean",
		x->d.mean, "max", (double)x->s.max, "prompt",
		x->d.share[REC_PROMPT], "think", x->d.share[REC_THINK],
		"answer", x->d.share[REC_ANSWER], "text",
		x->d.share[REC_TEXT]);
	json_t *list = json_array();
	size_t i, k, n;

	for (i = 0; i < EXAMPLES_QUANTILES; i++)
		json_array_append_new(list, json_real(x->d.quantile[i]));
	json_object_set_new(o, "quantile", list);
	n = least(x->n_logits, LOGITS);
	json_object_set_new(o, "up", pairs(x->top_id, x->top_logit, n, t, e));
	json_object_set_new(o, "down", pairs(x->bottom_id, x->bottom_logit, n,
	                                     t, e));
	json_object_set_new(o, "near", pairs(x->near_id, x->near_cos,
		least(x->n_near, NEAR), NULL, e));
	json_object_set_new(o, "hist", histogram(x->s.hist));
	for (k = 0; k < sizeof(lists) / sizeof(*lists); k++) {
		size_t all = x->n[lists[k].list];

		list = json_array();
		n = least(all, CONTEXTS);
		for (i = 0; i < n; i++)		/* evenly from the list */
			json_array_append_new(list, context(
				&x->list[lists[k].list][k ? i * all / n : i], t,
				e));
		json_object_set_new(o, lists[k].name, list);
	}
	return o;
}

int view_examples(struct view *v, const char *path, const struct tok *t,
                  struct err *e)
{
	struct examples_head h;
	struct examples_in *in = examples_open(path, &h, e);
	struct examples_rec x;
	struct view_latent *l;
	int got;

	if (!in)
		return -1;
	got = h.tokens.n_vocab <= tok_n_vocab(t) ? 1
		: err_set(e, ERR_FORMAT, "%s: a vocabulary of %u, the "
		          "tokenizer knows %u: is it theirs?", path,
		          h.tokens.n_vocab, tok_n_vocab(t));
	while (got > 0 && (got = examples_read(in, &x, e)) > 0) {
		l = x.what == EXAMPLES_LATENT
			? find(v, key_of(x.latent.layer, x.latent.latent))
			: NULL;
		if (l && join(l, latent(&x.latent, t, e), e) < 0)
			got = -1;
	}
	examples_close(in);
	examples_head_free(&h);
	return got;
}
