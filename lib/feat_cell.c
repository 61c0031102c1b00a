#include <stdlib.h>
#include <string.h>

#include "feat_impl.h"
#include "mem.h"

enum { KEY_TOKENS = 16 };

uint64_t feat_priority(const struct examples_head *h, uint64_t what,
                       const struct examples_one *x)
{
	uint64_t v = feat_mix(feat_mix(h->seed, what), x->origin);

	return feat_mix(feat_mix(v, x->seq), x->pos);
}

uint64_t feat_key(const struct examples_one *x)
{
	uint32_t i = x->at + 1 > KEY_TOKENS ? x->at + 1 - KEY_TOKENS : 0;
	uint64_t v = 1;

	for (; i <= x->at; i++)
		v = feat_mix(v, x->ids[i]);
	return v;
}

static int order_u64(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

/* By source, sequence and position. */
static int order_place(const struct examples_one *a,
                       const struct examples_one *b)
{
	int c = order_u64(a->origin, b->origin);

	c = c ? c : order_u64(a->seq, b->seq);
	return c ? c : order_u64(a->pos, b->pos);
}

int feat_order(const struct examples_one *a, const struct examples_one *b)
{
	return a->value > b->value ? -1 : a->value < b->value ? 1 :
	       order_place(a, b);
}

int feat_by_value(const struct feat_slot *a, const struct feat_slot *b)
{
	return feat_order(&a->one, &b->one);
}

int feat_by_key(const struct feat_slot *a, const struct feat_slot *b)
{
	int c = order_u64(a->key, b->key);

	return c ? c : order_place(&a->one, &b->one);
}

/* ---- memory ---- */

struct feat_slot *feat_slots(const struct examples_head *h, size_t n,
                             struct err *e)
{
	size_t window = (size_t)h->before + 1 + h->after, bytes, i;
	struct feat_slot *s;
	uint32_t *ids;

	if (mem_mul(n, sizeof(*s) + window * (sizeof(uint32_t) +
	                                      sizeof(float)), &bytes, e) < 0 ||
	    !(s = mem_scratch(bytes, 1, e)))
		return NULL;
	ids = (uint32_t *)(s + n);
	for (i = 0; i < n; i++) {
		s[i].one.ids = ids + i * window;
		s[i].one.acts = (float *)(ids + n * window) + i * window;
	}
	return s;
}

void feat_cell_init(struct feat_cell *c, const struct examples_head *h)
{
	c->top.cap = h->n_top + h->n_spare;
	c->sample.cap = h->n_sample;
}

int feat_cell_alloc(struct feat_cell *c, const struct examples_head *h,
                    struct err *e)
{
	if (!c->top.slot)
		c->top.slot = feat_slots(h, (size_t)c->top.cap +
		                         c->sample.cap, e);
	c->sample.slot = c->top.slot ? c->top.slot + c->top.cap : NULL;
	return c->top.slot ? 0 : -1;
}

void feat_cell_free(struct feat_cell *c)
{
	mem_free(c->top.slot);	/* the sample's slots lie behind */
	c->top.slot = c->sample.slot = NULL;
}

/* ---- pools ---- */

struct feat_slot *feat_pool_best(struct feat_pool *p,
                                 const struct examples_one *x, uint64_t key)
{
	uint32_t i;

	if (p->cap == 0 || (p->n == p->cap &&
	                    feat_order(x, &p->slot[p->worst].one) >= 0))
		return NULL;
	for (i = 0; i < p->n; i++)
		if (p->slot[i].key == key)
			return feat_order(x, &p->slot[i].one) < 0 ?
			       &p->slot[i] : NULL;
	return p->n < p->cap ? &p->slot[p->n++] : &p->slot[p->worst];
}

struct feat_slot *feat_pool_draw(struct feat_pool *p,
                                 const struct examples_one *x, uint64_t key)
{
	const struct feat_slot *worst = &p->slot[p->worst];
	uint32_t i;

	if (p->cap == 0)
		return NULL;
	if (p->n == p->cap && (key > worst->key ||
	    (key == worst->key && order_place(x, &worst->one) >= 0)))
		return NULL;
	for (i = 0; i < p->n; i++)
		if (p->slot[i].key == key &&
		    order_place(x, &p->slot[i].one) == 0)
			return NULL;
	return p->n < p->cap ? &p->slot[p->n++] : &p->slot[p->worst];
}

void feat_put(struct feat_pool *p, struct feat_slot *s,
              const struct examples_one *x, uint64_t key,
              int (*order)(const struct feat_slot *, const struct feat_slot *))
{
	uint32_t *ids = (uint32_t *)(uintptr_t)s->one.ids, i;
	float *acts = (float *)(uintptr_t)s->one.acts;

	memcpy(ids, x->ids, x->n * sizeof(*ids));
	if (x->acts)
		memcpy(acts, x->acts, x->n * sizeof(*acts));
	s->one = *x;
	s->one.ids = ids;
	s->one.acts = acts;
	s->key = key;
	if (p->n < p->cap)
		return;
	for (p->worst = 0, i = 1; i < p->n; i++)
		if (order(&p->slot[i], &p->slot[p->worst]) > 0)
			p->worst = i;
}

/* ---- contexts ---- */

int feat_contexts_init(struct feat_contexts *c, const struct examples_head *h,
                       struct err *e)
{
	size_t bytes;

	memset(c, 0, sizeof(*c));
	c->pool.cap = h->n_random * FEAT_CONTEXTS;
	c->layer_bytes = ((size_t)h->n_latents + 7) / 8;
	if (mem_mul(c->layer_bytes, h->n_layers, &bytes, e) < 0 ||
	    !(c->pool.slot = feat_slots(h, c->pool.cap, e)) ||
	    !(c->bits = mem_array(c->pool.cap, bytes, e)) ||
	    !(c->order = mem_array(c->pool.cap, sizeof(*c->order), e))) {
		feat_contexts_free(c);
		return -1;
	}
	return 0;
}

void feat_contexts_free(struct feat_contexts *c)
{
	mem_free(c->pool.slot);
	mem_free(c->bits);
	mem_free(c->order);
	memset(c, 0, sizeof(*c));
}

uint8_t *feat_contexts_bits(const struct feat_contexts *c,
                            const struct examples_head *h,
                            const struct feat_slot *s)
{
	return c->bits + (size_t)(s - c->pool.slot) * c->layer_bytes *
	       h->n_layers;
}

static int order_slots(const void *a, const void *b, void *pool)
{
	const struct feat_pool *p = pool;

	return feat_by_key(&p->slot[*(const uint32_t *)a],
	                   &p->slot[*(const uint32_t *)b]);
}

void feat_contexts_sort(struct feat_contexts *c)
{
	uint32_t i;

	for (i = 0; i < c->pool.n; i++)
		c->order[i] = i;
	qsort_r(c->order, c->pool.n, sizeof(*c->order), order_slots, &c->pool);
}
