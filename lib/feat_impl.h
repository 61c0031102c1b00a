/* feat_impl: cells, shared by gathering and merging. Only lib/feat*.c
 * include it. */
#ifndef R1_FEAT_IMPL_H
#define R1_FEAT_IMPL_H

#include "feat.h"

/* A context that is kept, with room for its window. */
struct feat_slot {
	struct examples_one one;	/* ids and acts point to own memory */
	uint64_t key;	/* top: hash of its tokens; else its priority */
};

/* Slots of which the best `cap` by some order are kept. */
struct feat_pool {
	struct feat_slot *slot;
	uint32_t n, cap;
	uint32_t worst;		/* of them, when n == cap */
};

struct feat_cell {
	struct examples_stats s;
	/* slots NULL until the latent fires */
	struct feat_pool top, sample;
};

static inline uint64_t feat_mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * UINT64_C(0xff51afd7ed558ccd);
	h ^= h >> 32;
	h *= UINT64_C(0xc4ceb9fe1a85ec53);
	return h ^ h >> 29;
}

/* Priority of a firing, and of a position among contexts (its `what` is 0). */
uint64_t feat_priority(const struct examples_head *h, uint64_t what,
                       const struct examples_one *x);
static inline uint64_t feat_what(uint32_t layer, uint32_t latent)
{
	return ((uint64_t)layer + 1) << 32 | latent;
}

/* Hash of the tokens that make two contexts the same. */
uint64_t feat_key(const struct examples_one *x);

/* Below 0: a comes before b among the strongest. 0: the same peak. */
int feat_order(const struct examples_one *a, const struct examples_one *b);

/* n slots with windows of h in one piece of memory, for mem_free. */
struct feat_slot *feat_slots(const struct examples_head *h, size_t n,
                             struct err *e);
/* The capacity of both pools of a cell, without memory. */
void feat_cell_init(struct feat_cell *c, const struct examples_head *h);
/* Memory for its pools, if it has none yet. */
int feat_cell_alloc(struct feat_cell *c, const struct examples_head *h,
                    struct err *e);
void feat_cell_free(struct feat_cell *c);

/* The slot that a newcomer gets, or NULL: it is not among the best, or there
 * already. The caller copies x and its window into it at once, with feat_put. */
struct feat_slot *feat_pool_best(struct feat_pool *p,
                                 const struct examples_one *x, uint64_t key);
struct feat_slot *feat_pool_draw(struct feat_pool *p,
                                 const struct examples_one *x, uint64_t key);
void feat_put(struct feat_pool *p, struct feat_slot *s,
              const struct examples_one *x, uint64_t key,
              int (*order)(const struct feat_slot *, const struct feat_slot *));
int feat_by_value(const struct feat_slot *a, const struct feat_slot *b);
int feat_by_key(const struct feat_slot *a, const struct feat_slot *b);

/* ---- the lists of a latent ---- */

/* Room for what feat_view gives. */
struct feat_view {
	struct examples_one *one;
	uint32_t *random;
	size_t n_random;
};

int feat_view_init(struct feat_view *v, const struct examples_head *h,
                   struct err *e);
void feat_view_free(struct feat_view *v);

/* Contexts of all latents, in order of priority, with their bits. */
struct feat_contexts {
	struct feat_pool pool;		/* by key */
	uint8_t *bits;		/* [cap][n_layers][bytes] */
	size_t layer_bytes;
	uint32_t *order;	/* [cap] slots, sorted */
};

int feat_contexts_init(struct feat_contexts *c, const struct examples_head *h,
                       struct err *e);
void feat_contexts_free(struct feat_contexts *c);
/* The bits of slot s, all layers. */
uint8_t *feat_contexts_bits(const struct feat_contexts *c,
                            const struct examples_head *h,
                            const struct feat_slot *s);
/* Sorts them; they are numbered by that order. */
void feat_contexts_sort(struct feat_contexts *c);

/* l's lists and counts of a cell: layer index k, latent i. They point into the
 * cell, the contexts and v. */
void feat_view_latent(struct feat_view *v, const struct examples_head *h,
                      struct feat_cell *c, const struct feat_contexts *x,
                      uint32_t k, uint32_t i, struct examples_latent *l);
/* Counts a latent into its layer's dead and freq_hist. */
void feat_view_count(const struct examples_latent *l,
                     struct examples_layer *y);

/* ---- giving out ---- */

int feat_out_begin(const struct feat_out *o, const struct examples_head *h,
                   const struct feat_contexts *x, struct err *e);
int feat_out_latent(const struct feat_out *o, const struct examples_head *h,
                    const struct examples_latent *l,
                    const struct feat_view *v, struct err *e);
int feat_out_layer(const struct feat_out *o, const struct examples_head *h,
                   const struct examples_layer *l, struct err *e);
int feat_out_end(const struct feat_out *o, struct err *e);

#endif
