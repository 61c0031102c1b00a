/*
 * view: attribution graphs as one HTML page to look at in a browser.
 *
 * A page holds the graphs, what is known of their latents, d3 and the files of
 * data/viewer/, and loads nothing: its own policy forbids it. attrgraph(1) says
 * what can be done in it. What C hands to the page's scripts is JSON in elements
 * <script type="application/json">, with <, >, & and U+2028, U+2029 as \uXXXX,
 * so that no text of a graph can end the element or become markup:
 *
 *   class "graph", one each:
 *     {"name": S, "metadata": M, "qParams": Q, "lost": N, "nodes": [NODE...],
 *      "links": [source, target, weight, ...]}
 *     NODE = [node_id, jsNodeId or null, feature_type, layer (-1: embedding),
 *             ctx_idx, feature, activation, influence, token_prob,
 *             is_target_logit, clerp]; absent numbers are null
 *     links name nodes by their number from 0; lost: links to nodes that the
 *     file does not have
 *   id "latents": {"LAYER_LATENT": {...}}, see view_latent.c
 *
 * Input is what graph.h reads; error nodes are kept, weights are f32.
 */
#ifndef R1_VIEW_H
#define R1_VIEW_H

#include <stddef.h>

#include "err.h"
#include "tok.h"

struct view;

struct view *view_new(struct err *e);
void view_free(struct view *v);		/* NULL is legal */

/* Adds what path ("-": standard input) holds: Neuronpedia's or circuit-tracer's
 * JSON (one graph or several after each other), or a graph/1 stream; the first
 * byte tells. 0, or -1 with ERR_IO, ERR_FORMAT or ERR_MEM. */
int view_file(struct view *v, const char *path, struct err *e);
/* The same from n bytes of JSON; name is for messages. */
int view_json(struct view *v, const char *text, size_t n, const char *name,
              struct err *e);
size_t view_n_graphs(const struct view *v);
/* A graph's name: its slug, else its file's without folder and .json. */
const char *view_name(const struct view *v, size_t i);

/*
 * What is known of the latents of the graphs added so far, by number of layer
 * and latent; what comes later adds to what is there and, where both have a
 * member, replaces it.
 *
 * view_database: labels, statistics, tokens and contexts of an SQLite file as
 * labeler(1) makes it, or the labels of one with Goodfire's tables.
 * view_examples: a stream examples/1 ("-": standard input), whose ids t turns
 * into text. One pass over it.
 */
int view_database(struct view *v, const char *path, struct err *e);
int view_examples(struct view *v, const char *path, const struct tok *t,
                  struct err *e);

/* Where a page goes; non-zero stops it (e set by the callee). */
typedef int view_put(void *ctx, const char *bytes, size_t n, struct err *e);

/* d3's file when none is named: R1_D3, else Debian's libjs-d3. */
const char *view_d3(void);
/* The page of graphs first, first + 1, ... up to n of them. d3: path of d3,
 * version 3; NULL: view_d3(). */
int view_page(const struct view *v, size_t first, size_t n, const char *d3,
              view_put *put, void *ctx, struct err *e);
/* A page for each graph, DIR/NAME.html; DIR is made if need be. A name that is
 * no file name, or that two graphs share, is ERR_FORMAT. */
int view_folder(const struct view *v, const char *dir, const char *d3,
                struct err *e);

#endif
