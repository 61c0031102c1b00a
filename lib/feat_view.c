/* How a cell's pools become the lists of a record, and who gets them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "feat_impl.h"
#include "mem.h"

int feat_view_init(struct feat_view *v, const struct examples_head *h,
                   struct err *e)
{
	size_t n = (size_t)h->n_top * 2 + h->n_spare + h->n_sample +
	           h->n_random;

	memset(v, 0, sizeof(*v));
	if ((v->one = mem_array(n, sizeof(*v->one), e)) &&
	    (v->random = mem_array(h->n_random, sizeof(*v->random), e)))
		return 0;
	feat_view_free(v);
	return -1;
}

void feat_view_free(struct feat_view *v)
{
	mem_free(v->one);
	mem_free(v->random);
	memset(v, 0, sizeof(*v));
}

static int compare(const void *a, const void *b)
{
	return feat_order(a, b);
}

/* The contexts of a pool, the strongest first, into out. */
static void sorted(const struct feat_pool *p, struct examples_one *out)
{
	uint32_t i;

	for (i = 0; i < p->n; i++)
		out[i] = p->slot[i].one;
	qsort(out, p->n, sizeof(*out), compare);
}

/* Takes the top, at most per_doc of a document, out of all[n], descending; the
 * others move up and are the spare ones. */
static void part_top(const struct examples_head *h, size_t n,
                     struct examples_one *all, struct examples_one *top,
                     size_t *n_top, size_t *n_spare)
{
	size_t i, j;

	for (*n_top = *n_spare = i = 0; i < n; i++) {
		uint32_t same = 0;

		for (j = 0; j < *n_top; j++)
			same += top[j].doc == all[i].doc &&
			        top[j].origin == all[i].origin;
		if (*n_top < h->n_top && same < h->per_doc)
			top[(*n_top)++] = all[i];
		else
			all[(*n_spare)++] = all[i];
	}
}

/* Contexts in which a latent is silent, from a place of its own on. */
static void choose_random(struct feat_view *v, const struct examples_head *h,
                          const struct feat_contexts *x, uint32_t k,
                          uint32_t i, struct examples_one *out)
{
	uint32_t n = x->pool.n, j, from;

	v->n_random = 0;
	if (!n)
		return;
	from = (uint32_t)(feat_mix(feat_mix(h->seed, h->layers[k]), i) % n);
	for (j = 0; j < n && v->n_random < h->n_random; j++) {
		uint32_t number = (from + j) % n;
		const struct feat_slot *s = &x->pool.slot[x->order[number]];
		const uint8_t *bits = feat_contexts_bits(x, h, s) +
		                      k * x->layer_bytes;

		if (bits[i / 8] >> i % 8 & 1)
			continue;
		out[v->n_random] = s->one;
		out[v->n_random].acts = NULL;
		v->random[v->n_random++] = number;
	}
}

void feat_view_latent(struct feat_view *v, const struct examples_head *h,
                      struct feat_cell *c, const struct feat_contexts *x,
                      uint32_t k, uint32_t i, struct examples_latent *l)
{
	size_t pool = (size_t)h->n_top + h->n_spare, n = c->sample.n;
	struct examples_one *top = v->one, *spare = top + h->n_top;
	struct examples_one *sample = spare + pool;
	struct examples_one *random = sample + h->n_sample;
	size_t j;

	l->layer = h->layers[k];
	l->latent = i;
	l->s = c->s;
	sorted(&c->top, spare);
	part_top(h, c->top.n, spare, top, &l->n[EXAMPLES_TOP],
	         &l->n[EXAMPLES_SPARE]);
	sorted(&c->sample, sample);
	choose_random(v, h, x, k, i, random);
	if (!c->s.n_fired)
		v->n_random = 0;
	l->list[EXAMPLES_TOP] = top;
	l->list[EXAMPLES_SPARE] = spare;
	l->list[EXAMPLES_SAMPLE] = sample;
	l->list[EXAMPLES_RANDOM] = random;
	l->n[EXAMPLES_SAMPLE] = n;
	l->n[EXAMPLES_RANDOM] = v->n_random;
	examples_derive(h, &l->s, &l->d);
	for (j = 0; j < l->n[EXAMPLES_TOP]; j++)
		top[j].rank = (float)examples_rank(&l->s, top[j].value);
	for (j = 0; j < l->n[EXAMPLES_SPARE]; j++)
		spare[j].rank = (float)examples_rank(&l->s, spare[j].value);
	for (j = 0; j < n; j++) {
		sample[j].rank = (float)examples_rank(&l->s, sample[j].value);
		sample[j].stratum = (uint32_t)((n - 1 - j) * h->n_strata / n);
	}
}

void feat_view_count(const struct examples_latent *l,
                     struct examples_layer *y)
{
	double at;

	if (!l->s.n_fired) {
		y->n_dead++;
		return;
	}
	at = EXAMPLES_FREQ_BINS + floor(2 * log10(l->d.frequency));
	if (at < 0)
		at = 0;
	y->freq_hist[at < EXAMPLES_FREQ_BINS ? (size_t)at
	             : EXAMPLES_FREQ_BINS - 1]++;
}

/* ---- giving out ---- */

int feat_out_begin(const struct feat_out *o, const struct examples_head *h,
                   const struct feat_contexts *x, struct err *e)
{
	struct examples_context c;
	uint32_t i, k;
	size_t j;

	for (i = 0; o->s && i < x->pool.n; i++) {
		const struct feat_slot *s = &x->pool.slot[x->order[i]];

		c.one = s->one;
		c.one.acts = NULL;
		for (k = 0; k < h->n_layers; k++)
			c.fired[k] = feat_contexts_bits(x, h, s) +
			             k * x->layer_bytes;
		if (examples_write_context(o->s, h, i, &c, e) < 0)
			return -1;
	}
	for (j = 0; j < o->n_sinks; j++)
		if (o->sinks[j].begin &&
		    o->sinks[j].begin(o->sinks[j].ctx, h, e) < 0)
			return -1;
	return 0;
}

int feat_out_latent(const struct feat_out *o, const struct examples_head *h,
                    const struct examples_latent *l,
                    const struct feat_view *v, struct err *e)
{
	size_t j;

	if (o->s && examples_write_latent(o->s, h, l, v->random, v->n_random,
	                                  e) < 0)
		return -1;
	for (j = 0; j < o->n_sinks; j++)
		if (o->sinks[j].latent &&
		    o->sinks[j].latent(o->sinks[j].ctx, l, e) < 0)
			return -1;
	return 0;
}

int feat_out_layer(const struct feat_out *o, const struct examples_head *h,
                   const struct examples_layer *l, struct err *e)
{
	size_t j;

	if (o->s && examples_write_layer(o->s, h, l, e) < 0)
		return -1;
	for (j = 0; j < o->n_sinks; j++)
		if (o->sinks[j].layer &&
		    o->sinks[j].layer(o->sinks[j].ctx, l, e) < 0)
			return -1;
	return 0;
}

int feat_out_end(const struct feat_out *o, struct err *e)
{
	size_t j;

	for (j = 0; j < o->n_sinks; j++)
		if (o->sinks[j].end && o->sinks[j].end(o->sinks[j].ctx, e) < 0)
			return -1;
	return 0;
}

int feat_pass(struct examples_in *in, const struct examples_head *h,
              const struct feat_out *o, struct err *e)
{
	const struct feat_contexts none = { 0 };
	const struct feat_view view = { 0 };
	struct examples_rec *x = mem_array(1, sizeof(*x), e);
	int got = x ? feat_out_begin(o, h, &none, e) : -1;

	while (got >= 0 && (got = examples_read(in, x, e)) > 0) {
		if (x->what == EXAMPLES_LATENT)
			got = feat_out_latent(o, h, &x->latent, &view, e);
		else if (x->what == EXAMPLES_LAYER)
			got = feat_out_layer(o, h, &x->layer, e);
	}
	mem_free(x);
	return got < 0 ? -1 : feat_out_end(o, e);
}
