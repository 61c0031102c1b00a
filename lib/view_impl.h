/* view_impl: what the files of view share. For view*.c only. */
#ifndef R1_VIEW_IMPL_H
#define R1_VIEW_IMPL_H

#include <jansson.h>
#include <stdint.h>

#include "text.h"
#include "view.h"

struct view_graph {
	char *name;
	json_t *metadata, *q;	/* objects */
	struct text nodes;	/* NODE, NODE, ...: see view.h */
	size_t n_nodes, nodes_cap;
	uint64_t *latent;	/* [n_nodes] key, or VIEW_NO_LATENT */
	uint32_t *source, *target;	/* [n_links] */
	float *weight;
	size_t n_links, source_cap, target_cap, weight_cap;
	uint64_t n_lost;
};

#define VIEW_NO_LATENT UINT64_MAX

/* A latent of some graph; what is known of it. */
struct view_latent {
	uint64_t key;		/* layer << 32 | number */
	json_t *about;		/* object, or NULL */
};

struct view {
	struct view_graph *graph;
	size_t n_graphs, graphs_cap;
	struct view_latent *latent;	/* [n_latents], key ascending */
	size_t n_latents;
};

/* A node as a file has it; NaN: not there. Strings are borrowed. */
struct view_node {
	const char *id, *js;	/* js may be NULL */
	const char *type, *label;
	int64_t feature;	/* -1: none */
	int32_t layer;		/* -1: embedding */
	int32_t position;	/* -1: none */
	double activation, influence, probability;
	int target;
};

/*
 * A graph that is being read: nodes and links in any order. Of two nodes with
 * one id at most one may be no error node, and links of that id are the other's
 * (circuit-tracer once gave error nodes the ids of the first layer's features).
 */
struct view_build;
struct view_build *view_build_new(struct err *e);
void view_build_free(struct view_build *b);	/* NULL is legal */
int view_build_node(struct view_build *b, const struct view_node *n,
                    struct err *e);
int view_build_link(struct view_build *b, const char *from, const char *to,
                    double weight, struct err *e);
/* The ends by the nodes' numbers, which have been added. */
int view_build_edge(struct view_build *b, uint32_t from, uint32_t to,
                    double weight, struct err *e);
/* Puts the graph into v; metadata and q are taken over, also on error (NULL: an
 * empty object). path names it when the metadata do not. b can be freed only. */
int view_build_end(struct view_build *b, struct view *v, json_t *metadata,
                   json_t *q, const char *path, struct err *e);

/* j as JSON text that may stand in an element script. */
int view_json_text(struct text *t, const json_t *j, struct err *e);

/* A file of data/viewer/ by its name ("page.html"), or NULL. */
const char *view_asset(const char *name, size_t *n);

#endif
