/* tok_added: tokens that are cut out of the text before anything else. */
#include <string.h>

#include "mem.h"
#include "tok_impl.h"

int tok_added_add(struct tok_added *d, const struct tok_added_token *a,
                  struct err *e)
{
	char *copy;

	if (mem_grow(&d->token, &d->cap, d->n + 1, sizeof(*d->token), e) < 0 ||
	    !(copy = mem_strndup(a->content, a->n, e)))
		return -1;
	d->token[d->n] = *a;
	d->token[d->n++].content = copy;
	return 0;
}

static int new_node(struct tok_trie *r, uint8_t byte, uint32_t *at,
                    struct err *e)
{
	if (r->n >= UINT32_MAX)
		return err_set(e, ERR_RANGE, "added tokens: too many");
	if (mem_grow(&r->node, &r->cap, r->n + 1, sizeof(*r->node), e) < 0)
		return -1;
	r->node[r->n] = (struct tok_node){ 0, 0, TOK_NONE, byte };
	*at = (uint32_t)r->n++;
	return 0;
}

static uint32_t child_of(const struct tok_trie *r, uint32_t at, uint8_t byte)
{
	uint32_t kid = r->node[at].child;

	while (kid && r->node[kid].byte != byte)
		kid = r->node[kid].next;
	return kid;
}

static int trie_add(struct tok_trie *r, const uint8_t *s, size_t n,
                    int32_t token, struct err *e)
{
	uint32_t at, kid;
	size_t i;

	if (!r->n && new_node(r, 0, &at, e) < 0)	/* 0 means none */
		return -1;
	if (!r->first[s[0]]) {
		if (new_node(r, s[0], &at, e) < 0)
			return -1;
		r->first[s[0]] = at;
		r->n_first++;
		r->only = s[0];
	}
	at = r->first[s[0]];
	for (i = 1; i < n; i++) {
		kid = child_of(r, at, s[i]);
		if (!kid) {
			if (new_node(r, s[i], &kid, e) < 0)
				return -1;
			r->node[kid].next = r->node[at].child;
			r->node[at].child = kid;
		}
		at = kid;
	}
	/* of two equal patterns the first counts */
	if (r->node[at].token == TOK_NONE)
		r->node[at].token = token;
	return 0;
}

int tok_added_finish(struct tok *t, struct err *e)
{
	struct tok_work w = { .t = t };
	struct tok_added *d = &t->added;
	int ret = -1, special;
	size_t i;

	w.match = tok_match_new(e);
	if (!w.match)
		return -1;
	/* special tokens stand before the others */
	for (special = 1; special >= 0; special--)
		for (i = 0; i < d->n; i++) {
			const struct tok_added_token *a = &d->token[i];
			const uint8_t *s = (const uint8_t *)a->content;
			size_t n = a->n;

			if (a->special != special)
				continue;
			if (a->normalized && tok_norm_run(&w, s, n, &s, &n,
			                                  e) < 0)
				goto done;
			if (n && trie_add(a->normalized ? &d->normal : &d->raw,
			                  s, n, (int32_t)i, e) < 0)
				goto done;
		}
	ret = 0;
done:
	mem_free(w.norm[0]);
	mem_free(w.norm[1]);
	mem_free(w.points);
	tok_match_free(w.match);
	return ret;
}

void tok_added_done(struct tok_added *d)
{
	size_t i;

	for (i = 0; i < d->n; i++)
		mem_free(d->token[i].content);
	mem_free(d->token);
	mem_free(d->raw.node);
	mem_free(d->normal.node);
}

/* The longest pattern at s[at]: its index and *end, or TOK_NONE. */
static int32_t longest(const struct tok_trie *r, const uint8_t *s, size_t n,
                       size_t at, size_t *end)
{
	uint32_t node = r->first[s[at]];
	int32_t best = TOK_NONE;

	while (node) {
		at++;
		if (r->node[node].token != TOK_NONE) {
			best = r->node[node].token;
			*end = at;
		}
		if (at >= n)
			break;
		node = child_of(r, node, s[at]);
	}
	return best;
}

static int stands_alone(const struct tok_ucd *u, const uint8_t *s, size_t n,
                        size_t start, size_t end)
{
	size_t len;

	if (start && ucd_at(u, s, tok_utf8_before(s, start), &len) & UCD_WORD)
		return 0;
	return end == n || !(ucd_at(u, s, end, &len) & UCD_WORD);
}

int tok_added_next(const struct tok *t, const struct tok_trie *trie,
                   const uint8_t *s, size_t n, size_t *from, size_t used,
                   int specials, struct tok_found *f)
{
	const struct tok_ucd *u = &t->ucd;
	size_t at = *from, end = 0, len;

	if (!trie->n_first)
		return 0;
	while (at < n) {
		const struct tok_added_token *a;
		int32_t found;

		if (trie->n_first == 1) {
			const uint8_t *p = memchr(s + at, trie->only, n - at);

			if (!p)
				break;
			at = (size_t)(p - s);
		} else {
			while (at < n && !trie->first[s[at]])
				at++;
			if (at == n)
				break;
		}
		found = longest(trie, s, n, at, &end);
		if (found == TOK_NONE) {
			at++;
			continue;
		}
		a = &t->added.token[found];
		if ((a->special && !specials) ||
		    (a->single_word && !stands_alone(u, s, n, at, end))) {
			at = end;
			continue;
		}
		*from = end;
		f->start = at;
		f->end = end;
		f->token = a;
		if (a->lstrip) {
			while (f->start > used) {
				size_t p = tok_utf8_before(s, f->start);

				if (!(ucd_at(u, s, p, &len) & UCD_SPACE))
					break;
				f->start = p;
			}
			if (f->start < used)
				f->start = used;
		}
		if (a->rstrip)
			while (f->end < n &&
			       ucd_at(u, s, f->end, &len) & UCD_SPACE)
				f->end += len;
		return 1;
	}
	*from = n;
	return 0;
}
