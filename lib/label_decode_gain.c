/* What texts gain by what stands before them. */
#include <string.h>

#include "label_decode_impl.h"
#include "mem.h"

/* A text behind something, in tokens. */
struct pass {
	const char *before;
	const uint32_t *ids;	/* of the text */
	size_t n;
	double *ce;		/* [n] */
	int done;
};

/* Some texts behind the same, no more than go at once. */
static int run_passes(struct label_decode *d, struct pass *const *p, size_t n,
                      struct err *e)
{
	struct model_more more[LABEL_DECODE_MAX];
	struct label_line x = { .name = p[0]->before };
	uint32_t *in = NULL;
	size_t longest = 0, i;
	int rc = -1;

	for (i = 0; i < n; i++)
		longest = p[i]->n > longest ? p[i]->n : longest;
	if ((tok_adds_bos(d->t) && label_line_add(&x, tok_bos(d->t), e) < 0) ||
	    label_line_text(d, &x, p[0]->before, strlen(p[0]->before), 0, e) < 0 ||
	    label_decode_fits(d, x.name, x.n, longest, e) < 0 ||
	    label_decode_room(d, x.n + longest, e) < 0 ||
	    label_decode_share(d, x.ids, x.n - 1, n, e) < 0 ||
	    !(in = mem_array(n * longest, sizeof(*in), e)))
		goto done;
	for (i = 0; i < n; i++) {
		uint32_t *to = in + i * longest;

		to[0] = x.ids[x.n - 1];
		memcpy(to + 1, p[i]->ids, (p[i]->n - 1) * sizeof(*to));
		more[i] = (struct model_more){ .text = i, .ids = to,
			.n = p[i]->n, .targets = p[i]->ids, .ce = p[i]->ce };
	}
	rc = model_many_feed(d->g, more, n, e);
done:
	mem_free(in);
	label_line_free(&x);
	return rc;
}

/* All, those behind the same text together. */
static int run_all(struct label_decode *d, struct pass *p, size_t n,
                   struct err *e)
{
	struct pass *some[LABEL_DECODE_MAX];
	size_t most = label_decode_at_once(d), i, j, k;

	for (i = 0; i < n;) {
		if (p[i].done) {
			i++;
			continue;
		}
		for (k = 0, j = i; k < most && j < n; j++)
			if (!p[j].done && !strcmp(p[j].before, p[i].before)) {
				p[j].done = 1;
				some[k++] = &p[j];
			}
		if (run_passes(d, some, k, e) < 0)
			return -1;
	}
	return 0;
}

/* The text's tokens, and where each begins. */
static int split(struct label_decode *d, struct label_gain *g,
                 struct label_line *x, struct err *e)
{
	size_t i, at = 0, len;

	g->gain = NULL;
	g->at = NULL;
	x->name = g->name;
	if (label_line_text(d, x, g->text, g->n, 0, e) < 0 ||
	    !(g->gain = mem_array(x->n, sizeof(*g->gain), e)) ||
	    !(g->at = mem_array(x->n, sizeof(*g->at), e)))
		return -1;
	for (i = 0; i < x->n; i++) {
		g->at[i] = (uint32_t)(at < g->n ? at : g->n - 1);
		tok_bytes(d->t, x->ids[i], &len);
		at += len;
	}
	g->n_tokens = x->n;
	return 0;
}

/* The pass of before and these tokens: one that is there, or a new one. */
static size_t pass_of(struct pass *p, size_t *n, const char *before,
                      const struct label_line *x, size_t *computed)
{
	size_t i;

	for (i = 0; i < *n; i++)
		if (p[i].n == x->n && !strcmp(p[i].before, before) &&
		    !memcmp(p[i].ids, x->ids, x->n * sizeof(*x->ids)))
			return i;
	p[*n] = (struct pass){ .before = before, .ids = x->ids, .n = x->n };
	*computed += x->n;
	return (*n)++;
}

int label_decode_gain(struct label_decode *d, struct label_gain *g, size_t n,
                      struct err *e)
{
	struct label_line *x = mem_array(n, sizeof(*x), e);
	struct pass *p = mem_array(2 * n, sizeof(*p), e);
	size_t (*of)[2] = mem_array(n, sizeof(*of), e), n_pass = 0, i, k;
	int rc = x && p && of ? 0 : -1;

	for (i = 0; rc == 0 && i < n; i++) {
		g[i].n_computed = 0;
		if ((rc = split(d, &g[i], &x[i], e)) < 0)
			break;
		of[i][0] = pass_of(p, &n_pass, g[i].given, &x[i],
		                   &g[i].n_computed);
		of[i][1] = pass_of(p, &n_pass, g[i].plain, &x[i],
		                   &g[i].n_computed);
	}
	for (i = 0; rc == 0 && i < n_pass; i++)
		if (!(p[i].ce = mem_array(p[i].n, sizeof(*p[i].ce), e)))
			rc = -1;
	if (rc == 0)
		rc = run_all(d, p, n_pass, e);
	for (i = 0; rc == 0 && i < n; i++)
		for (k = 0; k < g[i].n_tokens; k++)
			g[i].gain[k] = p[of[i][1]].ce[k] - p[of[i][0]].ce[k];
	for (i = 0; i < n_pass; i++)
		mem_free(p[i].ce);
	for (i = 0; x && i < n; i++)
		label_line_free(&x[i]);
	mem_free(x);
	mem_free(p);
	mem_free(of);
	return rc;
}
