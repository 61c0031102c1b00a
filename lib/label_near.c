/* Embeddings by a decoder that runs here. */
#include <string.h>

#include "label_embed.h"
#include "mem.h"

struct label_near {
	struct model *m;
	const struct tok *t;
	struct tok_work *w;
	struct model_run *run;		/* room for n_rows tokens */
	size_t n_ctx, n_rows;
	uint32_t *ids;			/* of all texts of a request */
	size_t n, cap;
};

struct label_near *label_near_new(struct model *m, const struct tok *t,
                                  size_t n_ctx, struct err *e)
{
	struct label_near *l = mem_array(1, sizeof(*l), e);
	size_t most = model_cfg(m)->n_ctx;

	if (!l)
		return NULL;
	l->m = m;
	l->t = t;
	l->n_ctx = l->n_rows = n_ctx < most ? n_ctx : most;
	if ((l->w = tok_work_new(t, e)) &&
	    (l->run = model_run_new(m, l->n_rows, e)))
		return l;
	label_near_free(l);
	return NULL;
}

void label_near_free(struct label_near *l)
{
	if (!l)
		return;
	tok_work_free(l->w);
	model_run_free(l->run);
	mem_free(l->ids);
	mem_free(l);
}

/* Adds a text's tokens, at least one and n_ctx at most. */
static int add(struct label_near *l, const char *s, size_t n, struct err *e)
{
	size_t from = l->n;

	if (mem_grow(&l->ids, &l->cap, l->n + 1, sizeof(*l->ids), e) < 0)
		return -1;
	if (tok_adds_bos(l->t))
		l->ids[l->n++] = tok_bos(l->t);
	if (tok_encode(l->t, l->w, s, n, 0, &l->ids, &l->n, &l->cap, e) < 0)
		return -1;
	if (l->n == from)
		return err_set(e, ERR_FORMAT, "a text without tokens cannot be "
		               "embedded");
	if (l->n - from > l->n_ctx)
		l->n = from + l->n_ctx;
	return 0;
}

/* Means of all texts, as many in a pass as there is room for. */
static int embed(struct label_near *l, const size_t *start, size_t n,
                 float *out, struct err *e)
{
	size_t *at = mem_array(n + 1, sizeof(*at), e), i, k, j;
	size_t d = model_cfg(l->m)->d_model;
	int rc = at ? 0 : -1;

	for (i = 0; rc == 0 && i < n; i = k) {
		struct model_batch b = { l->ids + start[i], 0, at, 0 };

		for (k = i; k < n && start[k + 1] - start[i] <= l->n_rows; k++)
			;
		for (j = i; j <= k; j++)
			at[j - i] = start[j] - start[i];
		b.n_seqs = k - i;
		b.n = at[b.n_seqs];
		rc = model_pool(l->run, &b, out + i * d, e);
	}
	mem_free(at);
	return rc;
}

int label_near_answer(struct label_near *l, const struct label_ask *a,
                      char **kept, size_t *n, struct err *e)
{
	size_t n_texts = a->n_items + 1, d = model_cfg(l->m)->d_model, i;
	size_t *start = mem_array(n_texts + 1, sizeof(*start), e);
	float *v = mem_array(n_texts * d, sizeof(*v), e);
	json_t *list;
	int rc = start && v ? 0 : -1;

	l->n = 0;
	for (i = 0; rc == 0 && i < n_texts; i++) {
		rc = i ? add(l, a->item[i - 1].s, a->item[i - 1].n, e)
		       : add(l, a->user, strlen(a->user), e);
		if (rc == 0)
			start[i + 1] = l->n;
	}
	if (rc == 0)
		rc = embed(l, start, n_texts, v, e);
	if (rc == 0) {
		list = json_array();
		for (i = 1; i < n_texts; i++)
			json_array_append_new(list, json_real(
				label_embed_cosine(v, v + i * d, d)));
		rc = label_embed_put(list, (int64_t)l->n, kept, n, e);
	}
	mem_free(start);
	mem_free(v);
	return rc;
}
