/* motif_impl: what motif*.c share. */
#ifndef R1_MOTIF_IMPL_H
#define R1_MOTIF_IMPL_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "motif.h"

/* Edges between two layers. */
struct motif_pair {
	uint32_t at, n;			/* edges at .. at + n - 1 of the frame */
	uint32_t from, n_from;		/* nodes of the sources' layer */
	uint32_t to, n_to;		/* and of the targets' */
	uint32_t row, n_rows;		/* rows row .. row + n_rows - 1 */
	int stuck;			/* no swap can change them */
	double trades;			/* to be tried, of each that counts */
};

/* What every random graph of one graph has in common. Nodes are numbered as in
 * struct graph, by layer. */
struct motif_frame {
	uint32_t n_nodes, n_edges;
	const struct graph *g;
	const struct motif_opt *o;
	int32_t *layer;		/* [n_nodes] */
	/* The graph's edges [n_edges], those between two layers together. */
	uint32_t *from, *to;
	uint8_t *minus;
	int upward;		/* every edge goes to a higher layer */
	struct motif_pair *pairs;
	uint32_t n_pairs;
	/* A row: the edges of a pair that leave one node, row_at[i] up to, not
	 * including, row_at[i + 1]. [n_rows + 1] */
	uint32_t *row_at;
	uint32_t n_rows;
	int flat;		/* a pair has edges within one layer */
	uint64_t key;		/* of n_nodes, layers and edges */
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

/* Bit rows are used up to so many nodes. */
enum { MOTIF_DENSE_NODES = 4096 };

int motif_frame_init(struct motif_frame *f, const struct graph *g,
                     const struct motif_opt *o, struct err *e);
void motif_frame_free(struct motif_frame *f);

/* Scratch memory for counting, one per thread. */
struct motif_counter;
struct motif_counter *motif_counter_new(const struct motif_frame *f,
                                        struct err *e);
void motif_counter_free(struct motif_counter *c);	/* NULL is legal */
/* Counts the groups' motifs into count[], by motif; others untouched. */
void motif_counter_run(struct motif_counter *c, const struct motif_edges *g,
                       unsigned groups, uint64_t *count);

/* Sum over i of the set bits that rows a[u[i]] and b[v[i]] have in common, in
 * words from v[i] / 64 (above) or 0, up to end[u[i]]. */
typedef uint64_t motif_bits_fn(const uint64_t *a, const uint64_t *b,
                               size_t n_words, const uint32_t *u,
                               const uint32_t *v, size_t n,
                               const uint32_t *end, int above);
/* The fastest for this processor. */
motif_bits_fn *motif_bits(void);
motif_bits_fn motif_bits_plain, motif_bits_avx2;


/* ---- four nodes ---- */

const char *motif_quad_name(int class);

struct motif_quads;
struct motif_quads *motif_quads_new(const struct motif_frame *f, struct err *e);
void motif_quads_free(struct motif_quads *q);	/* NULL is legal */
void motif_quads_run(struct motif_quads *q, const struct motif_edges *g,
                     uint64_t *count);

/* ---- random graphs ---- */

/* A graph's edges being shuffled, and what that takes; one per thread. */
struct motif_shuffle;
struct motif_shuffle *motif_shuffle_new(const struct motif_frame *f,
                                        struct err *e);
void motif_shuffle_free(struct motif_shuffle *s);	/* NULL is legal */
/* Makes random graph `index` of a null model and returns its edges, which live
 * until the next call. Of layer-config, lpc-sign and lpc-shuf the same index
 * has the same edges; lpc-shuf may be asked for after lpc-sign of that index
 * alone (s holds its edges then). Adds to *tried and *made. */
struct motif_edges motif_shuffle_run(struct motif_shuffle *s,
                                     enum motif_null null, uint32_t index,
                                     uint64_t *tried, uint64_t *made);
/* Deals the signs of s's edges anew, as lpc-shuf does. */
struct motif_edges motif_shuffle_signs(struct motif_shuffle *s,
                                       uint32_t index);

/* ---- statistics ---- */

/* Fills r->stat from r->count and r->sample. */
int motif_stat_fill(struct motif_result *r, const struct motif_opt *o,
                    struct par *p, struct err *e);

#endif
