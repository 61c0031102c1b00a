#include "feat.h"

#include <stdlib.h>
#include <string.h>

#include "feat_impl.h"
#include "mem.h"

/* ---- the head ---- */

static void add_counts(uint32_t *to, const uint32_t *from, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		to[i] += from[i];
}

static void join_count(struct examples_count *to,
                       const struct examples_count *from)
{
	add_counts(to->by_pos, from->by_pos, EXAMPLES_POS);
	add_counts(to->by_mask, from->by_mask, EXAMPLES_MASKS);
	add_counts(to->by_doc, from->by_doc, EXAMPLES_DOCS);
}

/* Whether all but totals and parts agree: 1, 0 or -1. */
static int same_run(const struct examples_head *a,
                    const struct examples_head *b, struct err *e)
{
	const struct examples_head *from[2] = { a, b };
	json_t *j[2] = { NULL, NULL };
	int i, same = -1;

	for (i = 0; i < 2; i++) {
		struct examples_head x = *from[i];

		x.n_parts = 0;
		x.n_seqs = x.n_docs = x.n_positions = 0;
		memset(&x.count, 0, sizeof(x.count));
		j[i] = examples_header(&x, e);
	}
	if (j[0] && j[1])
		same = json_equal(j[0], j[1]);
	json_decref(j[0]);
	json_decref(j[1]);
	return same;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

int feat_merge_head(const struct examples_head *h, size_t n,
                    struct examples_head *out, struct err *e)
{
	size_t i, n_parts = 0;
	int same;

	*out = h[0];
	out->parts = NULL;
	for (i = 0; i < n; i++)
		n_parts += h[i].n_parts;
	if (!(out->parts = mem_array(n_parts, sizeof(*out->parts), e)))
		return -1;
	memcpy(out->parts, h[0].parts, h[0].n_parts * sizeof(*out->parts));
	for (i = 1; i < n; i++) {
		if ((same = same_run(&h[0], &h[i], e)) < 0)
			goto fail;
		if (!same) {
			err_set(e, ERR_FORMAT, "input %zu was made by another "
			        "run than input 1: model, transcoders, tokens "
			        "and options must agree", i + 1);
			goto fail;
		}
		if (h[i].n_positions > UINT32_MAX - out->n_positions) {
			err_set(e, ERR_RANGE, "more than %u positions",
			        UINT32_MAX);
			goto fail;
		}
		memcpy(out->parts + out->n_parts, h[i].parts,
		       h[i].n_parts * sizeof(*out->parts));
		out->n_parts += h[i].n_parts;
		out->n_seqs += h[i].n_seqs;
		out->n_docs += h[i].n_docs;
		out->n_positions += h[i].n_positions;
		join_count(&out->count, &h[i].count);
	}
	qsort(out->parts, n_parts, sizeof(*out->parts), by_number);
	for (i = 1; i < n_parts; i++)
		if (out->parts[i] == out->parts[i - 1]) {
			err_set(e, ERR_FORMAT, "part %u of %u is there twice",
			        out->parts[i], out->n_shards);
			goto fail;
		}
	if (out->n_parts == out->n_shards) {
		out->n_shards = out->n_parts = 1;
		out->parts[0] = 0;
	}
	return 0;
fail:
	examples_head_free(out);
	return -1;
}

/* ---- records ---- */

struct merge {
	struct examples_in **in;
	size_t n;
	const struct examples_head *head;
	const struct feat_out *out;
	struct examples_rec *rec;	/* [n], the last read of each */
	struct feat_contexts contexts;
	struct feat_cell cell;
	struct feat_view view;
	uint32_t *l0;			/* [k + 1] */
};

static int next(struct merge *g, size_t i, enum examples_what want,
                struct err *e)
{
	int got = examples_read(g->in[i], &g->rec[i], e);

	if (got < 0)
		return -1;
	if (got == 0 || g->rec[i].what != want)
		return err_set(e, ERR_FORMAT, "%s: out of step with the other "
		               "inputs", stream_name(examples_stream(
		                                     g->in[i])));
	return 0;
}

/* All contexts of input i; leaves its first latent in rec[i]. */
static int take_contexts(struct merge *g, size_t i, struct err *e)
{
	struct feat_contexts *c = &g->contexts;
	const struct examples_head *h = g->head;
	int got;

	while ((got = examples_read(g->in[i], &g->rec[i], e)) > 0 &&
	       g->rec[i].what == EXAMPLES_CONTEXT) {
		const struct examples_context *x = &g->rec[i].context;
		uint64_t key = feat_priority(h, 0, &x->one);
		struct feat_slot *s = feat_pool_draw(&c->pool, &x->one, key);
		uint32_t k;

		if (!s)
			continue;
		feat_put(&c->pool, s, &x->one, key, feat_by_key);
		for (k = 0; k < h->n_layers; k++)
			memcpy(feat_contexts_bits(c, h, s) +
			       k * c->layer_bytes, x->fired[k],
			       c->layer_bytes);
	}
	if (got == 0 || (got > 0 && g->rec[i].what != EXAMPLES_LATENT))
		return err_set(e, ERR_FORMAT, "%s: has no latents",
		               stream_name(examples_stream(g->in[i])));
	return got < 0 ? -1 : 0;
}

static void add_stats(struct examples_stats *to,
                      const struct examples_stats *from)
{
	to->n_fired += from->n_fired;
	examples_sum_join(&to->sum, &from->sum);
	to->max = from->max > to->max ? from->max : to->max;
	join_count(&to->count, &from->count);
	add_counts(to->hist, from->hist, EXAMPLES_BINS);
}

static void add_latent(struct merge *g, const struct examples_latent *l)
{
	static const enum examples_list best[] = { EXAMPLES_TOP,
	                                           EXAMPLES_SPARE };
	struct feat_cell *c = &g->cell;
	struct feat_slot *s;
	uint64_t key;
	size_t i, j;

	add_stats(&c->s, &l->s);
	for (j = 0; j < 2; j++)
		for (i = 0; i < l->n[best[j]]; i++) {
			const struct examples_one *x = &l->list[best[j]][i];

			key = feat_key(x);
			if ((s = feat_pool_best(&c->top, x, key)))
				feat_put(&c->top, s, x, key, feat_by_value);
		}
	for (i = 0; i < l->n[EXAMPLES_SAMPLE]; i++) {
		const struct examples_one *x = &l->list[EXAMPLES_SAMPLE][i];

		key = feat_priority(g->head, feat_what(l->layer, l->latent),
		                    x);
		if ((s = feat_pool_draw(&c->sample, x, key)))
			feat_put(&c->sample, s, x, key, feat_by_key);
	}
}

/* The logits and neighbours of the first input stand for all. */
static void with_weights(const struct examples_latent *from,
                         struct examples_latent *l)
{
	l->n_logits = from->n_logits;
	l->n_near = from->n_near;
	l->top_id = from->top_id;
	l->top_logit = from->top_logit;
	l->bottom_id = from->bottom_id;
	l->bottom_logit = from->bottom_logit;
	l->near_id = from->near_id;
	l->near_cos = from->near_cos;
}

static int merge_layer(struct merge *g, uint32_t k, struct err *e)
{
	const struct examples_head *h = g->head;
	struct examples_layer y = { .layer = h->layers[k], .l0 = g->l0 };
	uint32_t i;
	size_t j, p;

	for (i = 0; i < h->n_latents; i++) {
		struct examples_latent l = { 0 };

		memset(&g->cell.s, 0, sizeof(g->cell.s));
		g->cell.top.n = g->cell.sample.n = 0;
		for (j = 0; j < g->n; j++) {
			if ((k || i) && next(g, j, EXAMPLES_LATENT, e) < 0)
				return -1;
			add_latent(g, &g->rec[j].latent);
		}
		feat_view_latent(&g->view, h, &g->cell, &g->contexts, k, i,
		                 &l);
		with_weights(&g->rec[0].latent, &l);
		feat_view_count(&l, &y);
		if (feat_out_latent(g->out, h, &l, &g->view, e) < 0)
			return -1;
	}
	memset(g->l0, 0, ((size_t)h->k + 1) * sizeof(*g->l0));
	for (j = 0; j < g->n; j++) {
		const struct examples_layer *x = &g->rec[j].layer;

		if (next(g, j, EXAMPLES_LAYER, e) < 0)
			return -1;
		add_counts(g->l0, x->l0, (size_t)h->k + 1);
		add_counts(y.fired_by_pos, x->fired_by_pos, EXAMPLES_POS);
		for (p = 0; p < EXAMPLES_POS; p++)
			examples_sum_join(&y.sum_by_pos[p],
			                  &x->sum_by_pos[p]);
	}
	return feat_out_layer(g->out, h, &y, e);
}

int feat_merge(struct examples_in **in, size_t n,
               const struct examples_head *h, const struct feat_out *o,
               struct err *e)
{
	struct merge g = { .in = in, .n = n, .head = h, .out = o };
	uint32_t k;
	size_t i;
	int rc = -1;

	feat_cell_init(&g.cell, h);
	if (!(g.rec = mem_array(n, sizeof(*g.rec), e)) ||
	    !(g.l0 = mem_array((size_t)h->k + 1, sizeof(*g.l0), e)) ||
	    feat_contexts_init(&g.contexts, h, e) < 0 ||
	    feat_cell_alloc(&g.cell, h, e) < 0 ||
	    feat_view_init(&g.view, h, e) < 0)
		goto done;
	for (i = 0; i < n; i++)
		if (take_contexts(&g, i, e) < 0)
			goto done;
	feat_contexts_sort(&g.contexts);
	if (feat_out_begin(o, h, &g.contexts, e) < 0)
		goto done;
	for (k = 0; k < h->n_layers; k++)
		if (merge_layer(&g, k, e) < 0)
			goto done;
	for (i = 0; i < n; i++) {
		int got = examples_read(in[i], &g.rec[i], e);

		if (got < 0)
			goto done;
	}
	rc = feat_out_end(o, e);
done:
	feat_view_free(&g.view);
	feat_cell_free(&g.cell);
	feat_contexts_free(&g.contexts);
	mem_free(g.l0);
	mem_free(g.rec);
	return rc;
}
