/*
 * graph: an attribution graph in memory, as motif counting wants it.
 *
 * What a file calls nodes and links becomes a simple signed digraph under
 * these rules, each of which is counted in struct graph_notes:
 *
 *   - error nodes ("mlp reconstruction error") are left out with their links,
 *     unless graph_opt.errors;
 *   - the layer of an embedding is -1; logits lie one above the highest layer
 *     that any kept node names, a logit's own included (a file from
 *     circuit-tracer names n_layers for its logits, so they lie at
 *     n_layers + 1); others lie where the file says;
 *   - a node type that is not known is kept, with the file's name for it;
 *   - links of one pair of nodes are added up, in double, before anything else;
 *   - links from a node to itself, and links to nodes that the file does not
 *     have, are left out;
 *   - a null weight is 0, a weight >= 0 positive; NaN and infinities are errors;
 *   - |weight| < threshold leaves a link out (both as f32).
 *
 * Nodes are ordered by layer, those of one layer as in the file, so every edge
 * that goes up has a source before its target. Edges that stay in their layer
 * or go down are kept; graph.n_backward counts them.
 */
#ifndef R1_GRAPH_H
#define R1_GRAPH_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum graph_type {
	GRAPH_FEATURE,		/* "cross layer transcoder" */
	GRAPH_ERROR,		/* "mlp reconstruction error" */
	GRAPH_EMBEDDING,	/* "embedding" */
	GRAPH_LOGIT,		/* "logit" */
	GRAPH_OTHER		/* anything else */
};

enum {
	GRAPH_MAX_NODES = 1 << 24,
	GRAPH_MAX_LINKS = 1 << 30,
	GRAPH_MAX_ID = 512,	/* bytes of a node's id */
	GRAPH_MAX_LABEL = 4096,	/* bytes kept of a label or prompt */
	GRAPH_MAX_LAYER = 65535
};

struct graph_node {
	const char *id;		/* the file's node_id; unique */
	const char *type_name;	/* the file's feature_type */
	const char *label;	/* clerp; "" when there is none */
	int64_t feature;	/* -1: none */
	int32_t position;	/* token position (ctx_idx), -1: none */
	int32_t layer;		/* effective, see above */
	enum graph_type type;
};

/* What the rules above met. Nodes, then links of the file. */
struct graph_notes {
	uint64_t n_errors;	/* error nodes left out */
	uint64_t n_unknown;	/* nodes of unknown type, kept */
	char unknown[64];	/* the first such type's name */
	uint64_t n_shared;	/* ids that an error node and another share */
	uint64_t n_null;	/* weights that were null or absent */
	uint64_t n_loops;
	uint64_t n_parallel;	/* links added to an earlier one */
	uint64_t n_missing;	/* links to or from nodes the file lacks */
	uint64_t n_weak;	/* edges below the threshold */
	int no_part;		/* the prompt has no such part: no node is left */
};

struct graph {
	char *name;		/* the file's slug, else the file's name
				 * without folder and .json */
	char *path;		/* as opened; "standard input" */
	char *model;		/* metadata.scan, or "" */
	char *prompt;		/* metadata.prompt, or "" */
	/* Positions after the last "<think>" of metadata.prompt_tokens and after
	 * the first "</think>" that follows; -1: there is none. */
	int32_t think, answer;
	uint32_t n_nodes, n_edges;
	uint32_t n_layers;	/* different effective layers */
	uint32_t n_backward;	/* edges whose target is not in a higher layer */
	struct graph_node *nodes;	/* [n_nodes], layer ascending */

	/* Edges by source: those of node u are out_first[u] up to, not
	 * including, out_first[u + 1]; targets ascending, all different, none
	 * u itself. */
	uint32_t *out_first;	/* [n_nodes + 1] */
	uint32_t *out_to;	/* [n_edges] */
	float *out_weight;	/* [n_edges], signed, finite */
	/* The same edges by target, sources ascending; in_edge is the index in
	 * out_to and out_weight. */
	uint32_t *in_first;	/* [n_nodes + 1] */
	uint32_t *in_from;	/* [n_edges] */
	uint32_t *in_edge;	/* [n_edges] */

	struct graph_notes notes;
	char *text;		/* where the nodes' strings lie */
};

/* Parts of a prompt, by the positions of nodes. Without "<think>" thinking
 * begins with the prompt; "</think>" itself belongs to it. */
enum graph_part {
	GRAPH_ALL,
	GRAPH_PROMPT,		/* before "<think>" */
	GRAPH_THINK,		/* up to "</think>", or to the end without one */
	GRAPH_ANSWER		/* after "</think>" */
};

/* "all", "prompt", "think", "answer"; static. graph_part_find: -1 for others. */
const char *graph_part_name(enum graph_part part);
int graph_part_find(const char *name);

struct graph_opt {
	double threshold;	/* >= 0 */
	int errors;		/* keep error nodes */
	enum graph_part part;	/* keep the nodes of that part alone */
	double density;		/* > 0: of the edges between those keep the
				 * strongest, at most this share of n (n - 1)
				 * (equal ones: the first) */
};

/* ---- reading ---- */

struct graph_in;
/* Opens path ("-": standard input): Neuronpedia's or circuit-tracer's JSON
 * (one graph, or several after each other), or a graph/1 stream; the first
 * byte tells. o is copied. NULL with ERR_IO, ERR_FORMAT or ERR_MEM. */
struct graph_in *graph_open(const char *path, const struct graph_opt *o,
                            struct err *e);
/* The next graph, cut as the options say: 1 with *g (for graph_free), 0 at the
 * end, -1. An input without any graph is an error. */
int graph_next(struct graph_in *in, struct graph **g, struct err *e);
void graph_close(struct graph_in *in);	/* NULL is legal */

void graph_free(struct graph *g);	/* NULL is legal */

/* Leaves of g the part and the density of o (which graph_next has done). 0, or
 * -1 with ERR_MEM and g as it was. */
int graph_cut(struct graph *g, const struct graph_opt *o, struct err *e);

/* The edge u -> v as an index in out_to and out_weight, or -1. */
int64_t graph_edge(const struct graph *g, uint32_t u, uint32_t v);

/* ---- making one ---- */

/* A node and a link as a file has them. */
struct graph_raw_node {
	const char *id, *type, *label;	/* label may be NULL */
	int64_t feature;		/* -1: none */
	int32_t position;		/* -1: none */
	int32_t layer;			/* -1: embedding */
};

struct graph_build;
struct graph_build *graph_build_new(struct err *e);
/* Nodes and links in any order. Strings are copied. A second node of an id is
 * ERR_FORMAT, unless one of the two is an error node (circuit-tracer once gave
 * them ids of the first layer's features): then links of that id belong to the
 * other. */
int graph_build_node(struct graph_build *b, const struct graph_raw_node *n,
                     struct err *e);
int graph_build_link(struct graph_build *b, const char *from, const char *to,
                     double weight, struct err *e);
/* A link by the numbers of its ends, in the order nodes were added, from 0. */
int graph_build_edge(struct graph_build *b, uint32_t from, uint32_t to,
                     double weight, struct err *e);
/* The graph of what was added, under the rules above; name, path, model and
 * prompt are copied (NULL: ""). NULL with ERR_MEM or ERR_RANGE. b can be freed
 * only. */
struct graph *graph_build_end(struct graph_build *b, const struct graph_opt *o,
                              const char *name, const char *path,
                              const char *model, const char *prompt,
                              struct err *e);
void graph_build_free(struct graph_build *b);	/* NULL is legal */

#endif
