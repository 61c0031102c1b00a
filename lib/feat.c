#include "feat.h"

#include <string.h>

#include "feat_impl.h"
#include "mem.h"

enum { CHUNK = 256 };	/* latents that an item of work looks after */

/* What is gathered of a layer, and a sequence's firings by latent. */
struct layer {
	struct feat_cell *cell;	/* [n_latents] */
	uint32_t *l0;		/* [k + 1] */
	uint32_t fired_by_pos[EXAMPLES_POS];
	struct examples_sum sum_by_pos[EXAMPLES_POS];
	/* of the sequence at hand */
	uint32_t *first;	/* [n_latents + 1] into pos and value */
	uint32_t *pos;
	float *value;
	size_t cap_pos, cap_value;
	struct err err;
};

struct feat {
	struct examples_head head;
	uint32_t part;		/* head.parts */
	struct par *par;
	struct layer *layer;	/* [n_layers] */
	struct feat_contexts contexts;
	/* of the sequence at hand */
	const struct rec_latents *seq;
	uint64_t origin;
	uint8_t *pos_bin, *bucket, *mask;	/* [n] */
	uint32_t *doc;		/* [n] index into docs */
	size_t cap[4];
	size_t n_chunks;
	struct err *err;	/* [n_chunks], of each item of work */
	float **window;		/* [threads]: activations around a peak */
};

struct feat *feat_new(const struct examples_head *h, struct par *p,
                      struct err *e)
{
	struct feat *f = mem_array(1, sizeof(*f), e);
	uint32_t k, i;
	int t;

	if (!f)
		return NULL;
	f->head = *h;
	f->head.parts = &f->part;
	f->head.n_shards = f->head.n_parts = 1;
	f->head.n_seqs = f->head.n_docs = f->head.n_positions = 0;
	memset(&f->head.count, 0, sizeof(f->head.count));
	f->par = p;
	f->n_chunks = (h->n_latents + CHUNK - 1) / CHUNK;
	if (feat_contexts_init(&f->contexts, h, e) < 0 ||
	    !(f->layer = mem_array(h->n_layers, sizeof(*f->layer), e)) ||
	    !(f->err = mem_array(f->n_chunks * h->n_layers, sizeof(*f->err),
	                         e)) ||
	    !(f->window = mem_array((size_t)par_threads(p),
	                            sizeof(*f->window), e)))
		goto fail;
	for (t = 0; t < par_threads(p); t++)
		if (!(f->window[t] = mem_array((size_t)h->before + 1 +
		                               h->after, sizeof(float), e)))
			goto fail;
	for (k = 0; k < h->n_layers; k++) {
		struct layer *y = &f->layer[k];

		if (!(y->cell = mem_array(h->n_latents, sizeof(*y->cell),
		                          e)) ||
		    !(y->l0 = mem_array((size_t)h->k + 1, sizeof(*y->l0),
		                        e)) ||
		    !(y->first = mem_array((size_t)h->n_latents + 1,
		                           sizeof(*y->first), e)))
			goto fail;
		for (i = 0; i < h->n_latents; i++)
			feat_cell_init(&y->cell[i], h);
	}
	return f;
fail:
	feat_free(f);
	return NULL;
}

void feat_free(struct feat *f)
{
	uint32_t k, i;
	int t;

	if (!f)
		return;
	for (k = 0; f->layer && k < f->head.n_layers; k++) {
		struct layer *y = &f->layer[k];

		for (i = 0; y->cell && i < f->head.n_latents; i++)
			feat_cell_free(&y->cell[i]);
		mem_free(y->cell);
		mem_free(y->l0);
		mem_free(y->first);
		mem_free(y->pos);
		mem_free(y->value);
	}
	for (t = 0; f->window && t < par_threads(f->par); t++)
		mem_free(f->window[t]);
	mem_free(f->window);
	mem_free(f->layer);
	mem_free(f->err);
	feat_contexts_free(&f->contexts);
	mem_free(f->pos_bin);
	mem_free(f->bucket);
	mem_free(f->mask);
	mem_free(f->doc);
	mem_free(f);
}

const struct examples_head *feat_head(const struct feat *f)
{
	return &f->head;
}

/* ---- one sequence ---- */

static uint64_t hash_text(const char *s)
{
	uint64_t v = 0;

	for (; *s; s++)
		v = feat_mix(v, (unsigned char)*s);
	return v;
}

/* What is known of each position, and the totals. */
static int describe(struct feat *f, struct err *e)
{
	struct examples_head *h = &f->head;
	const struct rec_tokens *t = &f->seq->t;
	size_t i, d = 0;

	if (t->n > UINT32_MAX - h->n_positions)
		return err_set(e, ERR_RANGE, "more than %u positions: cut the "
		               "corpus in shards", UINT32_MAX);
	if (mem_grow(&f->pos_bin, &f->cap[0], t->n, 1, e) < 0 ||
	    mem_grow(&f->bucket, &f->cap[1], t->n, 1, e) < 0 ||
	    mem_grow(&f->mask, &f->cap[2], t->n, 1, e) < 0 ||
	    mem_grow(&f->doc, &f->cap[3], t->n, sizeof(*f->doc), e) < 0)
		return -1;
	f->origin = hash_text(t->source);
	for (i = 0; i < t->n_docs; i++)
		h->n_docs += t->docs[i].offset == 0;
	h->n_seqs++;
	for (i = 0; i < t->n; i++) {
		while (d + 1 < t->n_docs && t->docs[d + 1].at <= i)
			d++;
		f->doc[i] = (uint32_t)d;
		f->pos_bin[i] = (uint8_t)examples_pos_bin((uint32_t)i);
		f->bucket[i] = (uint8_t)(feat_mix(f->origin, t->docs[d].id) %
		                         EXAMPLES_DOCS);
		f->mask[i] = t->mask ? t->mask[i] : REC_TEXT;
		if (i < h->skip)
			continue;
		h->n_positions++;
		h->count.by_pos[f->pos_bin[i]]++;
		h->count.by_doc[f->bucket[i]]++;
		h->count.by_mask[f->mask[i]]++;
	}
	return 0;
}

/* The context around position pos; acts are to be given. */
static struct examples_one context_at(const struct feat *f, uint32_t pos)
{
	const struct examples_head *h = &f->head;
	const struct rec_tokens *t = &f->seq->t;
	const struct rec_doc *d = &t->docs[f->doc[pos]];
	size_t end = f->doc[pos] + 1 < t->n_docs ? d[1].at : t->n;
	uint32_t from = pos - d->at > h->before ? pos - h->before : d->at;
	struct examples_one x = {
		.origin = f->origin, .seq = t->seq, .doc = d->id, .pos = pos,
		.at = pos - from, .ids = t->ids + from, .mask = f->mask[pos]
	};

	if (end - pos > (size_t)h->after + 1)
		end = (size_t)pos + h->after + 1;
	x.n = (uint32_t)(end - from);
	return x;
}

/* ---- a latent's firings ---- */

struct firings {
	const uint32_t *pos;	/* ascending */
	const float *value;
	uint32_t n;
};

/* Fills the window of x, whose peak is firing i. */
static void window(struct examples_one *x, const struct firings *g,
                   uint32_t i, float *acts)
{
	uint32_t from = x->pos - x->at, j = i;

	memset(acts, 0, x->n * sizeof(*acts));
	while (j > 0 && g->pos[j - 1] >= from)
		j--;
	for (; j < g->n && g->pos[j] < from + x->n; j++)
		acts[g->pos[j] - from] = g->value[j];
	x->acts = acts;
	x->value = g->value[i];
}

/* The strongest of firings [lo, hi) that is more than `apart` positions from
 * each of the n chosen; hi when there is none. */
static uint32_t strongest(const struct firings *g, uint32_t lo, uint32_t hi,
                          const uint32_t *chosen, uint32_t n, uint32_t apart)
{
	uint32_t best = hi, i, j;

	for (i = lo; i < hi; i++) {
		if (best < hi && g->value[i] <= g->value[best])
			continue;
		for (j = 0; j < n; j++) {
			uint32_t p = g->pos[i], q = g->pos[chosen[j]];

			if ((p > q ? p - q : q - p) <= apart)
				break;
		}
		if (j == n)
			best = i;
	}
	return best;
}

/* Offers the peaks among firings [lo, hi), all of one document. */
static void offer_peaks(const struct feat *f, struct feat_cell *c,
                        const struct firings *g, uint32_t lo, uint32_t hi,
                        float *room)
{
	uint32_t chosen[EXAMPLES_LIST_MAX], n;

	for (n = 0; n < f->head.per_doc; n++) {
		uint32_t i = strongest(g, lo, hi, chosen, n, f->head.before);
		struct examples_one x;
		struct feat_slot *s;
		uint64_t key;

		if (i == hi || (c->top.n == c->top.cap && (!c->top.cap ||
		    g->value[i] < c->top.slot[c->top.worst].one.value)))
			return;	/* nor are those that follow */
		x = context_at(f, g->pos[i]);
		x.value = g->value[i];
		key = feat_key(&x);
		s = feat_pool_best(&c->top, &x, key);
		if (s) {
			window(&x, g, i, room);
			feat_put(&c->top, s, &x, key, feat_by_value);
		}
		chosen[n] = i;
	}
}

static void draw(const struct feat *f, struct feat_cell *c, uint64_t what,
                 const struct firings *g, float *room)
{
	struct examples_one x = { .origin = f->origin,
	                          .seq = f->seq->t.seq };
	struct feat_slot *s;
	uint32_t i;

	for (i = 0; i < g->n; i++) {
		uint64_t key;

		x.pos = g->pos[i];
		key = feat_priority(&f->head, what, &x);
		if (!(s = feat_pool_draw(&c->sample, &x, key)))
			continue;
		x = context_at(f, g->pos[i]);
		window(&x, g, i, room);
		feat_put(&c->sample, s, &x, key, feat_by_key);
	}
}

static void count(const struct feat *f, struct examples_stats *s,
                  const struct firings *g)
{
	uint32_t i;

	s->n_fired += g->n;
	for (i = 0; i < g->n; i++) {
		uint32_t p = g->pos[i];
		float v = g->value[i];

		examples_sum_add(&s->sum, v);
		s->max = v > s->max ? v : s->max;
		s->hist[examples_bin(v)]++;
		s->count.by_pos[f->pos_bin[p]]++;
		s->count.by_mask[f->mask[p]]++;
		s->count.by_doc[f->bucket[p]]++;
	}
}

static void add_latents(void *ctx, size_t item, int thread)
{
	struct feat *f = ctx;
	uint32_t k = (uint32_t)(item / f->n_chunks);
	uint32_t i = (uint32_t)(item % f->n_chunks) * CHUNK;
	uint32_t end = f->head.n_latents - i < CHUNK ? f->head.n_latents
	                                             : i + CHUNK;
	struct layer *y = &f->layer[k];

	for (; i < end; i++) {
		struct feat_cell *c = &y->cell[i];
		struct firings g = { y->pos + y->first[i],
		                     y->value + y->first[i],
		                     y->first[i + 1] - y->first[i] };
		uint32_t lo, hi;

		if (g.n == 0)
			continue;
		if (feat_cell_alloc(c, &f->head, &f->err[item]) < 0)
			return;
		count(f, &c->s, &g);
		draw(f, c, feat_what(f->head.layers[k], i), &g,
		     f->window[thread]);
		for (lo = 0; lo < g.n; lo = hi) {
			uint32_t doc = f->doc[g.pos[lo]];

			for (hi = lo + 1; hi < g.n &&
			     f->doc[g.pos[hi]] == doc; hi++)
				;
			offer_peaks(f, c, &g, lo, hi, f->window[thread]);
		}
	}
}

/* Turns a layer's firings around: from position-major to latent-major. */
static void turn_layer(void *ctx, size_t k, int thread)
{
	struct feat *f = ctx;
	const struct rec_latents *s = f->seq;
	struct layer *y = &f->layer[k];
	size_t n_fired = s->start[k][s->t.n], n_latents = f->head.n_latents;
	size_t i, j;

	(void)thread;
	if (mem_grow(&y->pos, &y->cap_pos, n_fired, sizeof(*y->pos),
	             &y->err) < 0 ||
	    mem_grow(&y->value, &y->cap_value, n_fired, sizeof(*y->value),
	             &y->err) < 0)
		return;
	memset(y->first, 0, (n_latents + 1) * sizeof(*y->first));
	for (j = 0; j < n_fired; j++)
		y->first[s->latent[k][j] + 1]++;
	for (i = 0; i < n_latents; i++)
		y->first[i + 1] += y->first[i];
	for (i = 0; i < s->t.n; i++) {
		size_t active = s->start[k][i + 1] - s->start[k][i];

		if (i >= f->head.skip)
			y->l0[active]++;
		y->fired_by_pos[f->pos_bin[i]] += (uint32_t)active;
		for (j = s->start[k][i]; j < s->start[k][i + 1]; j++) {
			uint32_t at = y->first[s->latent[k][j]]++;

			y->pos[at] = (uint32_t)i;
			y->value[at] = s->value[k][j];
			examples_sum_add(&y->sum_by_pos[f->pos_bin[i]],
			                 s->value[k][j]);
		}
	}
	for (i = n_latents; i > 0; i--)
		y->first[i] = y->first[i - 1];
	y->first[0] = 0;
}

/* ---- contexts ---- */

static void set_bits(const struct feat *f, const struct examples_one *x,
                     uint8_t *bits)
{
	const struct rec_latents *s = f->seq;
	uint32_t from = x->pos - x->at, k;
	size_t j;

	memset(bits, 0, f->contexts.layer_bytes * f->head.n_layers);
	for (k = 0; k < f->head.n_layers; k++)
		for (j = s->start[k][from]; j < s->start[k][from + x->n]; j++) {
			uint32_t i = s->latent[k][j];

			bits[k * f->contexts.layer_bytes + i / 8] |=
				(uint8_t)(1 << i % 8);
		}
}

static void draw_contexts(struct feat *f)
{
	struct feat_pool *p = &f->contexts.pool;
	struct examples_one x = { .origin = f->origin,
	                          .seq = f->seq->t.seq };
	struct feat_slot *s;
	uint32_t i;

	for (i = f->head.skip; i < f->seq->t.n; i++) {
		uint64_t key;

		x.pos = i;
		key = feat_priority(&f->head, 0, &x);
		if (!(s = feat_pool_draw(p, &x, key)))
			continue;
		x = context_at(f, i);
		feat_put(p, s, &x, key, feat_by_key);
		set_bits(f, &x, feat_contexts_bits(&f->contexts, &f->head,
		                                   s));
	}
}

int feat_add(struct feat *f, const struct rec_latents *s, struct err *e)
{
	uint32_t k;
	size_t i;

	f->seq = s;
	if (describe(f, e) < 0)
		return -1;
	par_for(f->par, f->head.n_layers, turn_layer, f);
	for (k = 0; k < f->head.n_layers; k++)
		if (f->layer[k].err.code) {
			*e = f->layer[k].err;
			return -1;
		}
	par_for(f->par, f->n_chunks * f->head.n_layers, add_latents, f);
	for (i = 0; i < f->n_chunks * f->head.n_layers; i++)
		if (f->err[i].code) {
			*e = f->err[i];
			return -1;
		}
	draw_contexts(f);
	return 0;
}

/* ---- giving out ---- */

static void with_weights(const struct feat_weights *w, uint32_t i,
                         struct examples_latent *l)
{
	l->n_logits = w->n_logits;
	l->n_near = w->n_near;
	l->top_id = w->top_id + i * w->n_logits;
	l->top_logit = w->top_logit + i * w->n_logits;
	l->bottom_id = w->bottom_id + i * w->n_logits;
	l->bottom_logit = w->bottom_logit + i * w->n_logits;
	l->near_id = w->near_id + i * w->n_near;
	l->near_cos = w->near_cos + i * w->n_near;
}

static int write_layer(struct feat *f, uint32_t k,
                       const struct feat_weights *w, struct feat_view *v,
                       const struct feat_out *o, struct err *e)
{
	const struct layer *y = &f->layer[k];
	struct examples_layer out = { .layer = f->head.layers[k],
	                              .l0 = y->l0 };
	uint32_t i;

	memcpy(out.fired_by_pos, y->fired_by_pos, sizeof(out.fired_by_pos));
	memcpy(out.sum_by_pos, y->sum_by_pos, sizeof(out.sum_by_pos));
	for (i = 0; i < f->head.n_latents; i++) {
		struct examples_latent l = { 0 };

		feat_view_latent(v, &f->head, &y->cell[i], &f->contexts, k, i,
		                 &l);
		if (w)
			with_weights(w, i, &l);
		feat_view_count(&l, &out);
		if (feat_out_latent(o, &f->head, &l, v, e) < 0)
			return -1;
	}
	return feat_out_layer(o, &f->head, &out, e);
}

int feat_write(struct feat *f, struct model *m, const struct eval_set *set,
               const struct feat_out *o, struct err *e)
{
	struct feat_weights w;
	struct feat_view v;
	uint32_t k;
	int rc = -1;

	if (feat_view_init(&v, &f->head, e) < 0)
		return -1;
	feat_contexts_sort(&f->contexts);
	if (feat_out_begin(o, &f->head, &f->contexts, e) < 0)
		goto done;
	for (k = 0; k < f->head.n_layers; k++) {
		if (!m) {
			if (write_layer(f, k, NULL, &v, o, e) < 0)
				goto done;
			continue;
		}
		if (feat_weights_init(&w, m, set->tc[k], f->head.n_logits,
		                      f->head.n_near, e) < 0)
			goto done;
		rc = write_layer(f, k, &w, &v, o, e);
		feat_weights_free(&w);
		if (rc < 0)
			goto done;
		rc = -1;
	}
	rc = feat_out_end(o, e);
done:
	feat_view_free(&v);
	return rc;
}
