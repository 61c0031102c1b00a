/*
 * attrgraph_out: where the graphs of a run go: JSON to one place or into a
 * folder, records of a stream, pages to look at.
 */
#ifndef R1_ATTRGRAPH_OUT_H
#define R1_ATTRGRAPH_OUT_H

#include "attrgraph.h"

struct attrgraph_out_cfg {
	const char *dir;	/* DIR/SLUG.json and a list; NULL: elsewhere */
	int records;		/* a stream graph/1 on standard output */
	int pages;		/* HTML, beside the JSON in dir, else in its
				 * place */
	const char *features, *examples;	/* what pages tell of latents:
						 * view_database, view_examples;
						 * or NULL */
	const char *d3;		/* as view_page */
	attrgraph_put *put;	/* where JSON or the page goes without dir */
	void *ctx;
	const char *command;	/* the stream's provenance */
	uint64_t seed;
};

struct attrgraph_out;

/* Borrows what c points to. */
struct attrgraph_out *attrgraph_out_new(const struct attrgraph_out_cfg *c,
                                        struct err *e);
/* Without attrgraph_out_finish before it: a stream is given up. NULL is legal. */
void attrgraph_out_free(struct attrgraph_out *o);

/* What tokens and features are called from here on (borrowed; labels may be
 * NULL), and the model's fingerprint for the stream's provenance. */
void attrgraph_out_names(struct attrgraph_out *o, const struct tok *t,
                         struct attrgraph_labels *labels, const char *model);

/* One graph, whose metadata names its slug. */
int attrgraph_out_graph(struct attrgraph_out *o, const struct attr_graph *g,
                        const struct attr_pruned *p, const json_t *metadata,
                        struct err *e);
/* 1 when dir has a graph of that slug, which gets a page like the others; 0 when
 * it has none or there is no dir. */
int attrgraph_out_there(struct attrgraph_out *o, const char *slug,
                        struct err *e);
/* The graphs of a file, as view_file reads it, for pages. */
int attrgraph_out_file(struct attrgraph_out *o, const char *path,
                       struct err *e);

/* Pages, if wanted, and the end of the stream. */
int attrgraph_out_finish(struct attrgraph_out *o, struct err *e);

#endif
