/* Generation: one sequence, its keys and values kept. */
#include "mem.h"
#include "model_impl.h"

enum { FEED_ROWS = 512 };	/* of a prompt, at a time */

struct model_gen {
	struct model *m;
	struct model_run *run;
	float *cache;		/* device: [n_layers][k, v][max_ctx, d_kv] */
	float *logits;		/* device: [n_vocab] */
	size_t max_ctx, n;	/* n positions are cached */
};

struct model_gen *model_gen_new(struct model *m, size_t max_ctx, struct err *e)
{
	struct model_gen *g = mem_array(1, sizeof(*g), e);
	const struct model_cfg *c = model_cfg(m);
	const struct dev_ops *o = dev_ops(model_dev(m));
	size_t row = (size_t)c->n_layers * 2 * c->n_kv_heads * c->d_head;
	size_t bytes;

	if (!g)
		return NULL;
	g->m = m;
	g->max_ctx = max_ctx;
	if (max_ctx == 0 || max_ctx > c->n_ctx) {
		err_set(e, ERR_RANGE, "context of %zu wanted, the model takes "
		        "1 to %u", max_ctx, c->n_ctx);
		goto fail;
	}
	if (mem_mul(row * sizeof(float), max_ctx, &bytes, e) < 0 ||
	    !(g->cache = o->alloc(m->dev, bytes, e)) ||
	    !(g->logits = o->alloc(m->dev, c->n_vocab * sizeof(float), e)) ||
	    !(g->run = model_run_new(m, max_ctx < FEED_ROWS ? max_ctx
	                                                    : FEED_ROWS, e)))
		goto fail;
	return g;
fail:
	model_gen_free(g);
	return NULL;
}

void model_gen_free(struct model_gen *g)
{
	if (!g)
		return;
	if (g->cache)
		dev_ops(g->m->dev)->release(g->m->dev, g->cache);
	if (g->logits)
		dev_ops(g->m->dev)->release(g->m->dev, g->logits);
	model_run_free(g->run);
	mem_free(g);
}

void model_gen_cut(struct model_gen *g, size_t n)
{
	if (n < g->n)
		g->n = n;
}

/* One part of a prompt through every layer. */
static int feed(struct model_gen *g, const uint32_t *ids, size_t n,
                model_tap_fn *tap, void *ctx, struct err *e)
{
	const struct model_cfg *c = model_cfg(g->m);
	const size_t start[2] = { 0, n }, kv_start = 0;
	const struct dev_seqs s = { 1, start, &g->n };
	size_t d_kv = (size_t)c->n_kv_heads * c->d_head;
	uint32_t i;
	int rc;

	if (model_run_begin(g->run, ids, n, &s, e) < 0)
		return -1;
	for (i = 0; i < c->n_layers; i++) {
		float *k = g->cache + (size_t)2 * i * g->max_ctx * d_kv;
		float *v = k + g->max_ctx * d_kv;
		const struct model_kv kv = {
			k + g->n * d_kv, v + g->n * d_kv, k, v, &kv_start,
			NULL, NULL, NULL
		};

		rc = model_run_layer(g->run, (int)i, n, &s, &kv, tap, ctx, e);
		if (rc)
			return rc;
	}
	g->n += n;
	return 0;
}

int model_gen_feed(struct model_gen *g, const uint32_t *ids, size_t n,
                   float *logits, model_tap_fn *tap, void *ctx, struct err *e)
{
	const struct model_cfg *c = model_cfg(g->m);
	const struct dev_ops *o = dev_ops(g->m->dev);
	size_t at, part = 0;
	int rc;

	if (n == 0)
		return err_set(e, ERR_RANGE, "no token to go on from");
	if (n > g->max_ctx - g->n)
		return err_set(e, ERR_RANGE, "%zu tokens after %zu, room for "
		               "%zu", n, g->n, g->max_ctx);
	for (at = 0; at < n; at += part) {
		part = n - at < FEED_ROWS ? n - at : FEED_ROWS;
		if ((rc = feed(g, ids + at, part, tap, ctx, e)))
			return rc;
	}
	if (model_logits(g->run, model_resid(g->run) + (part - 1) * c->d_model,
	                 1, g->logits, e) < 0)
		return -1;
	return o->get(g->m->dev, logits, g->logits, c->n_vocab *
	              sizeof(*logits), e);
}
