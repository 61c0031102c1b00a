/*
 * tok_pre: pre-tokenisers. Each stage cuts the pieces of the one before it
 * into smaller ones; what the last one makes goes to the merges.
 */
#include <string.h>

#include "mem.h"
#include "tok_impl.h"

int tok_pre_add(struct tok_pre *p, struct tok_stage **out, struct err *e)
{
	if (p->closed)
		return err_set(e, ERR_FORMAT, "a pre-tokeniser behind "
		               "ByteLevel is not supported");
	if (p->n == TOK_MAX_STAGES)
		return err_set(e, ERR_FORMAT, "over %d pre-tokenisers",
		               TOK_MAX_STAGES);
	*out = &p->stage[p->n++];
	memset(*out, 0, sizeof(**out));
	return 0;
}

int tok_pre_split(struct tok_pre *p, const char *pattern, int literal,
                  enum tok_behaviour behaviour, int invert, struct err *e)
{
	struct tok_stage *g;

	if (tok_pre_add(p, &g, e) < 0)
		return -1;
	/* isolated, it doesn't matter which side is called the match */
	if (!literal && behaviour == TOK_ISOLATED)
		g->scan = tok_scan_find(pattern);
	if (g->scan)
		return 0;
	g->behaviour = behaviour;
	g->invert = invert;
	g->regex = tok_regex_new(pattern, strlen(pattern), literal, e);
	return g->regex ? 0 : -1;
}

void tok_pre_done(struct tok_pre *p)
{
	int i;

	for (i = 0; i < p->n; i++)
		tok_regex_free(p->stage[i].regex);
}

static int feed(struct tok_work *w, int depth, const uint8_t *s, size_t n,
                struct err *e);

static int push(struct tok_work *w, size_t start, size_t end, int match,
                struct err *e)
{
	if (mem_grow(&w->piece, &w->cap_pieces, w->n_pieces + 1,
	             sizeof(*w->piece), e) < 0)
		return -1;
	w->piece[w->n_pieces++] = (struct tok_piece){ start, end, match };
	return 0;
}

/* Glues pieces of p together as the behaviour says; returns how many stay. A
 * piece dropped gets match -1. */
static size_t glue(struct tok_piece *p, size_t n, enum tok_behaviour how)
{
	size_t i, to = 0;
	int before = 0;

	switch (how) {
	case TOK_ISOLATED:
		return n;
	case TOK_REMOVED:
		for (i = 0; i < n; i++)
			if (!p[i].match)
				p[to++] = p[i];
		return to;
	case TOK_CONTIGUOUS:
		for (i = 0; i < n; i++) {
			int match = p[i].match;

			if (to && match == before)
				p[to - 1].end = p[i].end;
			else
				p[to++] = p[i];
			before = match;
		}
		return to;
	case TOK_WITH_PREVIOUS:
		for (i = 0; i < n; i++) {
			int match = p[i].match;

			if (to && match && !before)
				p[to - 1].end = p[i].end;
			else
				p[to++] = p[i];
			before = match;
		}
		return to;
	case TOK_WITH_NEXT:
		/* from the back: a match joins the piece behind it unless
		 * that is a match too */
		for (to = n, i = n; i-- > 0;) {
			int match = p[i].match;

			if (to < n && match && !before)
				p[to].start = p[i].start;
			else
				p[--to] = p[i];
			before = match;
		}
		memmove(p, p + to, (n - to) * sizeof(*p));
		return n - to;
	}
	return n;
}

static int split(struct tok_work *w, const struct tok_stage *g, int depth,
                 const uint8_t *s, size_t n, struct err *e)
{
	size_t base = w->n_pieces, done = 0, i, end;
	struct tok_iter it = { 0 };
	int got, hit = !g->invert;

	while ((got = tok_regex_next(g->regex, w->match, s, n, &it, e)) > 0) {
		if (done != it.start && push(w, done, it.start, !hit, e) < 0)
			return -1;
		if (push(w, it.start, it.end, hit, e) < 0)
			return -1;
		done = it.end;
	}
	if (got < 0 || (done != n && push(w, done, n, !hit, e) < 0))
		return -1;
	end = base + glue(w->piece + base, w->n_pieces - base, g->behaviour);
	w->n_pieces = end;
	for (i = base; i < end; i++) {
		/* deeper stages may move the array */
		struct tok_piece p = w->piece[i];

		if (p.end > p.start &&
		    feed(w, depth + 1, s + p.start, p.end - p.start, e) < 0)
			return -1;
	}
	w->n_pieces = base;
	return 0;
}

static int prefix(struct tok_work *w, int depth, const uint8_t *s, size_t n,
                  struct err *e)
{
	const uint8_t *limit = w->limit;
	int ret;

	if (s[0] == ' ')
		return feed(w, depth + 1, s, n, e);
	if (mem_grow(&w->prefixed, &w->cap_prefixed, n + 1 + TOK_PAD, 1,
	             e) < 0)
		return -1;
	w->prefixed[0] = ' ';
	memcpy(w->prefixed + 1, s, n);
	w->limit = w->prefixed + n + 1 + TOK_PAD;
	ret = feed(w, depth + 1, w->prefixed, n + 1, e);
	w->limit = limit;
	return ret;
}

static int scan_last(struct tok_work *w, tok_scan_fn *scan, const uint8_t *s,
                     size_t n, struct err *e)
{
	size_t end[TOK_WORDS], at = 0, from = 0;
	int k = 0;

	while (at < n) {
		at = scan(&w->t->ucd, s, n, at);
		end[k++] = at - from;
		if (k < TOK_WORDS && at < n)
			continue;
		if (tok_bpe_words(w, s + from, end, k, e) < 0)
			return -1;
		from = at;
		k = 0;
	}
	return 0;
}

/* A piece (n > 0) that stage `depth` is to cut. */
static int feed(struct tok_work *w, int depth, const uint8_t *s, size_t n,
                struct err *e)
{
	const struct tok_pre *p = &w->t->pre;
	const struct tok_stage *g;
	size_t at, end;

	if (depth == p->n)
		return tok_bpe_words(w, s, &n, 1, e);
	g = &p->stage[depth];
	if (g->prefix_space)
		return prefix(w, depth, s, n, e);
	if (!g->scan)
		return split(w, g, depth, s, n, e);
	if (depth + 1 == p->n)
		return scan_last(w, g->scan, s, n, e);
	for (at = 0; at < n; at = end) {
		end = g->scan(&w->t->ucd, s, n, at);
		if (feed(w, depth + 1, s + at, end - at, e) < 0)
			return -1;
	}
	return 0;
}

int tok_pre_run(struct tok_work *w, const uint8_t *s, size_t n,
                struct err *e)
{
	w->n_pieces = 0;
	return feed(w, 0, s, n, e);
}
