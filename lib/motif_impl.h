/* motif_impl: what motif*.c share. */
#ifndef R1_MOTIF_IMPL_H
#define R1_MOTIF_IMPL_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "motif.h"

/* What every random graph of one graph has in common. Nodes are numbered as in
 * struct graph, by layer. */
struct motif_frame {
	uint32_t n_nodes, n_edges;
	const struct graph *g;
	const struct motif_opt *o;
	int32_t *layer;		/* [n_nodes] */
	/* [n_nodes] bit rows end here for a template whose first node this is:
	 * words, exclusive */
	uint32_t *reach;
	uint32_t n_words;	/* of a row */
	int dense;		/* bit rows are used at all */
};

/* A graph to be counted: simple, no loops. */
struct motif_edges {
	const uint32_t *from, *to;	/* [n_edges], any order */
	const uint8_t *minus;		/* [n_edges] 1: a weight below 0 */
	int upward;			/* from < to for every edge */
};

int motif_frame_init(struct motif_frame *f, const struct graph *g,
                     const struct motif_opt *o, struct err *e);
void motif_frame_free(struct motif_frame *f);

/* Scratch memory for counting, one per thread. */
struct motif_counter;
struct motif_counter *motif_counter_new(const struct motif_frame *f,
                                        unsigned groups, struct err *e);
void motif_counter_free(struct motif_counter *c);	/* NULL is legal */
/* Counts the groups' motifs (a subset of those it was made for) into
 * count[MOTIF_N], others untouched. */
void motif_counter_run(struct motif_counter *c, const struct motif_edges *g,
                       unsigned groups, uint64_t *count);

/* n (n - 1) / 2 and so on may pass 2^64; then counts stay at the top. */
uint64_t motif_clamp(unsigned __int128 v);

/* Sum over i of the set bits that rows a[u[i]] and b[v[i]] have in common, in
 * words from v[i] / 64 (above) or 0, up to end[u[i]]. */
typedef uint64_t motif_bits_fn(const uint64_t *a, const uint64_t *b,
                               size_t n_words, const uint32_t *u,
                               const uint32_t *v, size_t n,
                               const uint32_t *end, int above);
/* The fastest for this processor. */
motif_bits_fn *motif_bits(void);
motif_bits_fn motif_bits_plain, motif_bits_avx2;

#endif
