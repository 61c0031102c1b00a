/* Greedy continuations with and without transcoders in the MLPs' place. */
#include <string.h>

#include "eval_impl.h"
#include "json.h"
#include "mem.h"

struct gen {
	const struct eval_set *set;
	struct eval_coder coder;
	size_t skip, past;	/* positions that keep their MLP; already fed */
	int next;
};

static int replace_tap(void *ctx, int layer, const float *x, float *y,
                       size_t n, struct err *e)
{
	struct gen *g = ctx;
	const struct dev_ops *ops = dev_ops(g->coder.dev);
	const struct eval_coder *c = &g->coder;
	size_t kept, dim, i;
	int at = g->next;

	if (at == g->set->n || g->set->layer[at] != layer)
		return 0;
	g->next++;
	dim = g->set->tc[at]->cfg.d_out;
	kept = g->skip > g->past ? g->skip - g->past : 0;
	kept = kept < n ? kept : n;
	if (eval_coder_run(&g->coder, g->set->tc[at], x, y, n, e) < 0 ||
	    eval_coder_norms(&g->coder, dim, x, y, n, e) < 0)
		return -1;
	eval_coder_mask(&g->coder, &g->set->limit[at], NULL, n);
	for (i = kept; i < n; i++)
		if (c->mask[i] && ops->put(c->dev, y + i * dim,
		                           c->y_hat + i * dim,
		                           dim * sizeof(*y), e) < 0)
			return -1;
	return 0;
}

static int feed(struct model_gen *mg, struct gen *g, const uint32_t *ids,
                size_t n, float *logits, struct err *e)
{
	g->next = 0;
	if (model_gen_feed(mg, ids, n, logits, g->set ? replace_tap : NULL, g,
	                   e) < 0)
		return -1;
	g->past += n;
	return 0;
}

static uint32_t arg_max(const float *x, size_t n)
{
	size_t i, best = 0;

	for (i = 1; i < n; i++)
		if (x[i] > x[best])
			best = i;
	return (uint32_t)best;
}

int eval_generate(struct model *m, const struct eval_set *s, size_t k,
                  size_t skip, const uint32_t *ids, size_t n, size_t n_new,
                  uint32_t *out, size_t *n_out, int *ended, struct err *e)
{
	const struct model_cfg *c = model_cfg(m);
	struct gen g = { .set = s, .skip = skip };
	struct model_gen *mg = NULL;
	float *logits = NULL;
	int rc = -1;

	*n_out = 0;
	*ended = 0;
	if (!n)
		return err_set(e, ERR_FORMAT, "the prompt has no tokens");
	if ((s && eval_coder_init(&g.coder, s, k, m, n, e) < 0) ||
	    !(logits = mem_array(c->n_vocab, sizeof(*logits), e)) ||
	    !(mg = model_gen_new(m, n + n_new, e)) ||
	    feed(mg, &g, ids, n, logits, e) < 0)
		goto done;
	while (*n_out < n_new && !*ended) {
		uint32_t id = arg_max(logits, c->n_vocab);

		out[(*n_out)++] = id;
		*ended = id == c->eos;
		if (*n_out < n_new && !*ended &&
		    feed(mg, &g, &id, 1, logits, e) < 0)
			goto done;
	}
	rc = 0;
done:
	model_gen_free(mg);
	mem_free(logits);
	eval_coder_free(&g.coder);
	return rc;
}

/* ids[n] as an array, and the text they spell. */
static json_t *spelled(const struct tok *t, const uint32_t *ids, size_t n,
                       int ended, struct err *e)
{
	json_t *list = json_array(), *text = NULL, *obj = NULL;
	size_t i, n_piece, have = 0, cap = 0;
	char *bytes = NULL;
	const char *piece;

	for (i = 0; i < n; i++) {
		piece = tok_bytes(t, ids[i], &n_piece);
		json_array_append_new(list, json_integer(ids[i]));
		if (mem_grow(&bytes, &cap, have + n_piece + 1, 1, e) < 0)
			goto done;
		memcpy(bytes + have, piece, n_piece);
		have += n_piece;
	}
	if ((text = json_bytes(bytes ? bytes : "", have, e)))
		obj = json_pack("{s:O,s:O,s:b}", "text", text, "ids", list,
		                "ended", ended);
done:
	mem_free(bytes);
	json_decref(text);
	json_decref(list);
	return obj;
}

json_t *eval_continue(struct model *m, const struct eval_set *s,
                      const struct eval_opt *o, const struct tok *t,
                      struct tok_work *w, const char *prompt, size_t n_new,
                      struct err *e)
{
	uint32_t *ids = NULL, *out[2] = { NULL, NULL };
	size_t n = 0, cap = 0, n_out[2], same = 0;
	json_t *side[2] = { NULL, json_null() }, *obj = NULL;
	int i, ended;

	if (tok_encode(t, w, prompt, strlen(prompt), TOK_SPECIAL | TOK_ADD,
	               &ids, &n, &cap, e) < 0)
		return NULL;
	for (i = 0; i < (s ? 2 : 1); i++)
		if (!(out[i] = mem_array(n_new, sizeof(**out), e)) ||
		    eval_generate(m, i ? s : NULL, o->k, o->skip, ids, n, n_new,
		                  out[i], &n_out[i], &ended, e) < 0 ||
		    !(side[i] = spelled(t, out[i], n_out[i], ended, e)))
			goto done;
	while (s && same < n_out[0] && same < n_out[1] &&
	       out[0][same] == out[1][same])
		same++;
	obj = json_pack("{s:o,s:I,s:O,s:O,s:I}",
	                "prompt", json_bytes(prompt, strlen(prompt), e),
	                "prompt_tokens", (json_int_t)n, "original", side[0],
	                "replaced", side[1], "same_tokens", (json_int_t)same);
	if (!obj)
		err_set(e, ERR_MEM, "no memory for the report");
done:
	for (i = 0; i < 2; i++) {
		json_decref(side[i]);
		mem_free(out[i]);
	}
	mem_free(ids);
	return obj;
}
