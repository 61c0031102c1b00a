/*
 * rec_graph: records of kind graph/1. r1-stream(5) is the format.
 *
 * A graph is a record with its metadata, then records of nodes, then records
 * of links, which name nodes by their number in the graph, from 0. A stream
 * holds any number of graphs after each other.
 */
#ifndef R1_REC_GRAPH_H
#define R1_REC_GRAPH_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "stream.h"

enum {
	REC_GRAPH_NODES_MAX = 4096,	/* nodes in a record, as written */
	REC_GRAPH_LINKS_MAX = 65536	/* links in a record, as written */
};

/* Names and meaning as in Neuronpedia's JSON; NaN: not there. */
struct rec_graph_node {
	const char *id;		/* node_id */
	const char *type;	/* feature_type */
	const char *label;	/* clerp, or "" */
	int64_t feature;	/* -1: none */
	int32_t layer;		/* -1: embedding ("E") */
	int32_t position;	/* ctx_idx, -1: none */
	double activation, influence, probability;
	int target;		/* is_target_logit */
};

enum rec_graph_what { REC_GRAPH_BEGIN, REC_GRAPH_NODES, REC_GRAPH_LINKS };

struct rec_graph {
	enum rec_graph_what what;
	/* BEGIN: metadata as in Neuronpedia's JSON, an object with at least
	 * slug, scan and prompt, strings. Borrowed. */
	const json_t *metadata;
	/* NODES */
	const struct rec_graph_node *nodes;
	size_t n_nodes;
	/* LINKS: [n_links] each; weights are finite */
	const uint32_t *source, *target;
	const float *weight;
	size_t n_links;
};

struct rec_graph_in;
/* On a stream of kind graph/1 that is open; s is taken over, also on error. */
struct rec_graph_in *rec_graph_on(struct stream_in *s, struct err *e);
/* 1 a record, 0 the end, -1. Checked: the order of records, the numbers in
 * links, finite values. */
int rec_graph_read(struct rec_graph_in *r, struct rec_graph *g,
                   struct err *e);
const struct stream_in *rec_graph_stream(const struct rec_graph_in *r);
void rec_graph_close(struct rec_graph_in *r);

/* Writers: a graph begins, then its nodes, then its links, cut into records
 * here; call nodes and links as often as need be. */
int rec_graph_begin(struct stream_out *s, const json_t *metadata,
                    struct err *e);
int rec_graph_put_nodes(struct stream_out *s,
                        const struct rec_graph_node *nodes, size_t n,
                        struct err *e);
int rec_graph_put_links(struct stream_out *s, const uint32_t *source,
                        const uint32_t *target, const float *weight, size_t n,
                        struct err *e);

#endif
