/* Generation: several sequences, each with its keys and values. */
#include "mem.h"
#include "model_impl.h"

enum {
	ROWS = 512,		/* of one pass */
	BLOCK = 128		/* of logits, at least */
};

struct model_many {
	struct model *m;
	struct model_run *run;
	size_t n_texts, max_ctx, d_kv, n_block;
	float *cache;		/* device: [n_layers][k, v][n_texts, max_ctx,
				 * d_kv] */
	float *k, *v;		/* device: [ROWS, d_kv], of a pass */
	float *last, *logits;	/* device: [n_block, d_model], [.., n_vocab] */
	size_t *n;		/* tokens of each text */
	/* a pass: sequence i is part of more[which[i]] */
	uint32_t *ids, *targets;	/* [ROWS], [n_block] */
	double *ce, **place;		/* [n_block]; where those go */
	size_t *start, *past, *row, *to, *which;
	size_t n_seqs;
};

static float *new_floats(struct model_many *g, size_t a, size_t b,
                         struct err *e)
{
	size_t n;

	if (mem_mul(a, b, &n, e) < 0 || mem_mul(n, sizeof(float), &n, e) < 0)
		return NULL;
	return dev_ops(g->m->dev)->alloc(g->m->dev, n, e);
}

struct model_many *model_many_new(struct model *m, size_t n_texts,
                                  size_t max_ctx, struct err *e)
{
	struct model_many *g = mem_array(1, sizeof(*g), e);
	const struct model_cfg *c = model_cfg(m);
	size_t rows;

	if (!g)
		return NULL;
	g->m = m;
	g->n_texts = n_texts;
	g->max_ctx = max_ctx;
	g->d_kv = (size_t)c->n_kv_heads * c->d_head;
	g->n_block = n_texts > BLOCK ? n_texts : BLOCK;
	if (n_texts == 0 || n_texts > ROWS || max_ctx == 0 ||
	    max_ctx > c->n_ctx) {
		err_set(e, ERR_RANGE, "%zu texts of %zu tokens wanted, the model "
		        "takes up to %d of up to %u", n_texts, max_ctx, ROWS,
		        c->n_ctx);
		goto fail;
	}
	if (mem_mul(n_texts, max_ctx, &rows, e) < 0 ||
	    !(g->cache = new_floats(g, rows, (size_t)c->n_layers * 2 * g->d_kv,
	                            e)) ||
	    !(g->k = new_floats(g, ROWS, g->d_kv, e)) ||
	    !(g->v = new_floats(g, ROWS, g->d_kv, e)) ||
	    !(g->last = new_floats(g, g->n_block, c->d_model, e)) ||
	    !(g->logits = new_floats(g, g->n_block, c->n_vocab, e)) ||
	    !(g->run = model_run_new(m, ROWS, e)) ||
	    !(g->n = mem_array(n_texts, sizeof(*g->n), e)) ||
	    !(g->ids = mem_array(ROWS, sizeof(*g->ids), e)) ||
	    !(g->targets = mem_array(g->n_block, sizeof(*g->targets), e)) ||
	    !(g->ce = mem_array(g->n_block, sizeof(*g->ce), e)) ||
	    !(g->place = mem_array(g->n_block, sizeof(*g->place), e)) ||
	    !(g->start = mem_array(n_texts + 1, sizeof(*g->start), e)) ||
	    !(g->past = mem_array(n_texts, sizeof(*g->past), e)) ||
	    !(g->row = mem_array(n_texts, sizeof(*g->row), e)) ||
	    !(g->to = mem_array(n_texts, sizeof(*g->to), e)) ||
	    !(g->which = mem_array(n_texts, sizeof(*g->which), e)))
		goto fail;
	return g;
fail:
	model_many_free(g);
	return NULL;
}

void model_many_free(struct model_many *g)
{
	float **held[5];
	size_t i;

	if (!g)
		return;
	held[0] = &g->cache;
	held[1] = &g->k;
	held[2] = &g->v;
	held[3] = &g->last;
	held[4] = &g->logits;
	for (i = 0; i < sizeof(held) / sizeof(*held); i++)
		if (*held[i])
			dev_ops(g->m->dev)->release(g->m->dev, *held[i]);
	model_run_free(g->run);
	mem_free(g->n);
	mem_free(g->ids);
	mem_free(g->targets);
	mem_free(g->ce);
	mem_free(g->place);
	mem_free(g->start);
	mem_free(g->past);
	mem_free(g->row);
	mem_free(g->to);
	mem_free(g->which);
	mem_free(g);
}

size_t model_many_n(const struct model_many *g, size_t text)
{
	return g->n[text];
}

void model_many_cut(struct model_many *g, size_t text, size_t n)
{
	if (n < g->n[text])
		g->n[text] = n;
}

/* Keys (half 0) or values (half 1) of a layer, all texts'. */
static float *half(const struct model_many *g, uint32_t layer, int which)
{
	return g->cache + (2 * (size_t)layer + (size_t)which) * g->n_texts *
	                  g->max_ctx * g->d_kv;
}

int model_many_share(struct model_many *g, size_t text, size_t from, size_t n,
                     struct err *e)
{
	size_t a = text * g->max_ctx * g->d_kv, b = from * g->max_ctx * g->d_kv;
	uint32_t i;
	int h;

	if (n > g->n[from])
		return err_set(e, ERR_RANGE, "%zu tokens wanted of a text of "
		               "%zu", n, g->n[from]);
	for (i = 0; text != from && i < model_cfg(g->m)->n_layers; i++)
		for (h = 0; h < 2; h++)
			if (dev_ops(g->m->dev)->copy(g->m->dev,
			                             half(g, i, h) + a,
			                             half(g, i, h) + b, n *
			                             g->d_kv * sizeof(float),
			                             e) < 0)
				return -1;
	g->n[text] = n;
	return 0;
}

/* One pass through the layers. */
static int layers(struct model_many *g, struct err *e)
{
	const struct dev_seqs s = { g->n_seqs, g->start, g->past };
	size_t n = g->start[g->n_seqs];
	uint32_t i;

	if (model_run_begin(g->run, g->ids, n, &s, e) < 0)
		return -1;
	for (i = 0; i < model_cfg(g->m)->n_layers; i++) {
		float *k = half(g, i, 0), *v = half(g, i, 1);
		const struct model_kv kv = { g->k, g->v, k, v, g->row, k, v,
		                             g->to };

		if (model_run_layer(g->run, (int)i, n, &s, &kv, NULL, NULL,
		                    e))
			return -1;
	}
	return 0;
}

/* The logits wanted of texts that ended in this pass. */
static int give_logits(struct model_many *g, const struct model_more *more,
                       const size_t *fed, struct err *e)
{
	const struct model_cfg *c = model_cfg(g->m);
	const struct dev_ops *o = dev_ops(g->m->dev);
	size_t i, n = 0;

#define WANTED(i) (fed[g->which[i]] == more[g->which[i]].n && \
                   more[g->which[i]].logits)
	for (i = 0; i < g->n_seqs; i++)
		if (WANTED(i) &&
		    o->copy(g->m->dev, g->last + n++ * c->d_model,
		            model_resid(g->run) +
		            (g->start[i + 1] - 1) * c->d_model,
		            c->d_model * sizeof(float), e) < 0)
			return -1;
	if (n && model_logits(g->run, g->last, n, g->logits, e) < 0)
		return -1;
	for (n = i = 0; i < g->n_seqs; i++)
		if (WANTED(i) &&
		    o->get(g->m->dev, more[g->which[i]].logits, g->logits +
		           n++ * c->n_vocab, c->n_vocab * sizeof(float),
		           e) < 0)
			return -1;
#undef WANTED
	return 0;
}

/* Rows of `last` whose cross-entropies go to place[]. */
static int close_ce(struct model_many *g, size_t n, struct err *e)
{
	size_t i;

	if (n == 0)
		return 0;
	if (model_logits(g->run, g->last, n, g->logits, e) < 0 ||
	    dev_ops(g->m->dev)->xent(g->m->dev, g->logits, NULL, n,
	                             model_cfg(g->m)->n_vocab, g->targets,
	                             g->ce, NULL, NULL, e) < 0)
		return -1;
	for (i = 0; i < n; i++)
		*g->place[i] = g->ce[i];
	return 0;
}

/* Cross-entropies of the rows of this pass that have a target; no others cost
 * logits. */
static int give_ce(struct model_many *g, const struct model_more *more,
                   const size_t *fed, struct err *e)
{
	size_t d = model_cfg(g->m)->d_model, n = 0, i, at;

	for (i = 0; i < g->n_seqs; i++) {
		const struct model_more *x = &more[g->which[i]];
		size_t row = g->start[i];

		at = fed[g->which[i]] - (g->start[i + 1] - row);
		for (; x->targets && row < g->start[i + 1]; row++, at++) {
			x->ce[at] = 0;
			if (x->targets[at] == UINT32_MAX)
				continue;
			if (dev_ops(g->m->dev)->copy(g->m->dev, g->last + n * d,
			                             model_resid(g->run) +
			                             row * d, d *
			                             sizeof(float), e) < 0)
				return -1;
			g->targets[n] = x->targets[at];
			g->place[n++] = &x->ce[at];
			if (n == g->n_block) {
				if (close_ce(g, n, e) < 0)
					return -1;
				n = 0;
			}
		}
	}
	return close_ce(g, n, e);
}

int model_many_feed(struct model_many *g, const struct model_more *more,
                    size_t n, struct err *e)
{
	size_t *fed = mem_array(n, sizeof(*fed), e), i, at = 0, rows, part, j;
	int rc = fed ? 0 : -1;

	for (i = 0; rc == 0 && i < n; i++)
		if (more[i].n == 0 || more[i].n > g->max_ctx -
		                                  g->n[more[i].text])
			rc = err_set(e, ERR_RANGE, "%zu tokens after %zu, room "
			             "for %zu", more[i].n, g->n[more[i].text],
			             g->max_ctx);
	while (rc == 0 && at < n) {
		g->n_seqs = rows = 0;
		for (i = at; i < n && rows < ROWS; i++) {
			const struct model_more *x = &more[i];
			size_t s = g->n_seqs++;

			part = x->n - fed[i];
			part = part < ROWS - rows ? part : ROWS - rows;
			for (j = 0; j < part; j++)
				g->ids[rows + j] = x->ids[fed[i] + j];
			g->which[s] = i;
			g->past[s] = g->n[x->text];
			g->row[s] = x->text * g->max_ctx;
			g->to[s] = g->row[s] + g->past[s];
			g->start[s] = rows;
			rows += part;
			fed[i] += part;
		}
		g->start[g->n_seqs] = rows;
		if ((rc = layers(g, e)) < 0)
			break;
		for (i = 0; i < g->n_seqs; i++)
			g->n[more[g->which[i]].text] += g->start[i + 1] -
			                                g->start[i];
		if (give_ce(g, more, fed, e) < 0 ||
		    give_logits(g, more, fed, e) < 0)
			rc = -1;
		while (at < n && fed[at] == more[at].n)
			at++;
	}
	mem_free(fed);
	return rc;
}
