/*
 * motif_inst: where a motif occurs in a graph, and how occurrences follow each
 * other from the embeddings to the logits.
 *
 * An instance is one choice of nodes for the roles of a motif, counted as
 * motif_count counts: listing all of them gives that many. Its weight is the
 * sum of |weight| over the edges that the motif asks for (of a triad, over all
 * edges between its nodes).
 */
#ifndef R1_MOTIF_INST_H
#define R1_MOTIF_INST_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "graph.h"
#include "motif.h"

enum { MOTIF_INST_NODES = 5, MOTIF_INST_EDGES = 6 };

struct motif_inst {
	int motif;
	uint8_t n_nodes, n_edges;
	uint32_t node[MOTIF_INST_NODES];	/* in the order of the roles */
	uint32_t edge[MOTIF_INST_EDGES];	/* index in graph.out_weight */
	uint8_t from[MOTIF_INST_EDGES];		/* the edge's ends, as indices */
	uint8_t to[MOTIF_INST_EDGES];		/* in node */
	double weight;
};

/* A letter for each role: "ABC", "XABCD". Of a triad the nodes are in the
 * graph's order. */
const char *motif_inst_roles(int motif);
/* Whether instances of the motif can be listed (all but quads and the triads
 * that are not connected), and whether they have one node where all begins and
 * one where all ends, so that they can be chained. */
int motif_inst_listed(int motif);
int motif_inst_chains(int motif);

/* Called for each instance; it lives for the call. Negative (with e set) stops. */
typedef int motif_inst_fn(void *ctx, const struct motif_inst *m, struct err *e);

/* All instances of a motif that motif_inst_listed allows, in an order that
 * depends on the graph alone. 0, or -1 (ERR_MEM, or what fn returned). */
int motif_inst_each(const struct graph *g, int motif, int32_t min_gap,
                    int32_t max_gap, motif_inst_fn *fn, void *ctx,
                    struct err *e);

/* ---- which ones -------------------------------------------------------- */

/*
 * Up to MOTIF_INST_WANTS conditions on nodes, each met by some of the graph's
 * nodes. An instance passes when each condition is met by one of its nodes;
 * with only, also when no feature among its nodes meets none.
 */
enum { MOTIF_INST_WANTS = 32 };

struct motif_inst_filter {
	uint32_t *met;		/* [n_nodes] bit per condition; NULL: pass all */
	uint32_t all;		/* bits of the conditions there are */
	int only;
};

/* Empty; then each call adds a condition and says in *n how many nodes meet
 * it. An id is a node's, or a jsNodeId-like "LAYER_FEATURE" that stands for that
 * feature at every position. A pattern is an extended regular expression,
 * searched in labels without regard to case. -1: ERR_USAGE for a bad pattern or
 * too many, ERR_MEM. */
int motif_inst_filter_id(struct motif_inst_filter *f, const struct graph *g,
                         const char *id, uint32_t *n, struct err *e);
int motif_inst_filter_label(struct motif_inst_filter *f, const struct graph *g,
                            const char *pattern, uint32_t *n, struct err *e);
int motif_inst_passes(const struct motif_inst_filter *f, const struct graph *g,
                      const struct motif_inst *m);
void motif_inst_filter_free(struct motif_inst_filter *f);

/* ---- the heaviest ------------------------------------------------------ */

struct motif_inst_top {
	struct motif_inst *inst;	/* [n], heaviest first */
	size_t n;
	uint64_t total;			/* how many pass the filter */
};

/* The max heaviest instances that pass (equal weights: listed first). For
 * motif_inst_top_free, also after an error. */
int motif_inst_top(const struct graph *g, int motif, int32_t min_gap,
                   int32_t max_gap, const struct motif_inst_filter *f,
                   size_t max, struct motif_inst_top *out, struct err *e);
void motif_inst_top_free(struct motif_inst_top *t);

/* ---- cascades ---------------------------------------------------------- */

/*
 * A cascade is a chain of instances where each begins at the node where the one
 * before ended, and which can be made longer at neither end. It is complete
 * when it leads from an embedding to a logit. Its weight is the sum of its
 * instances'. With a filter, a cascade passes when one of its instances does.
 */
struct motif_inst_cascade {
	uint32_t *step;		/* [n] indices in motif_inst_cascades.inst */
	size_t n;
	double weight;
};

struct motif_inst_cascades {
	struct motif_inst *inst;	/* [n_inst] all instances */
	size_t n_inst;
	uint64_t total;		/* cascades that pass; UINT64_MAX: that or more */
	uint64_t complete;	/* those from an embedding to a logit */
	size_t longest;		/* instances in the longest that passes */
	struct motif_inst_cascade *list;	/* [n], heaviest first */
	size_t n;
};

struct motif_inst_casc_opt {
	const int *motifs;	/* [n_motifs], each motif_inst_chains */
	size_t n_motifs;
	int32_t min_gap, max_gap;
	int complete;		/* list those alone */
	size_t max;		/* how many to list */
	size_t max_inst;	/* more instances are ERR_RANGE */
};

/* Counts them all, exactly, and lists the o->max heaviest. f may be NULL. For
 * motif_inst_cascades_free, also after an error. */
int motif_inst_cascades(const struct graph *g,
                        const struct motif_inst_casc_opt *o,
                        const struct motif_inst_filter *f,
                        struct motif_inst_cascades *out, struct err *e);
void motif_inst_cascades_free(struct motif_inst_cascades *c);

/* ---- as JSON (motiffind(1) names the members); new references ---------- */

json_t *motif_inst_json(const struct graph *g, const struct motif_inst *m);
json_t *motif_inst_cascade_json(const struct graph *g,
                                const struct motif_inst_cascades *c,
                                const struct motif_inst_cascade *one);
/* v as a JSON integer, at most 2^63 - 1: JSON knows no more. */
json_t *motif_inst_count_json(uint64_t v);

#endif
