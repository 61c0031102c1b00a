/*
 * attrgraph: attribution graphs as files: prompts that become tokens, labels
 * of features, Neuronpedia's JSON, graph/1 records, a folder of graphs.
 *
 * JSON is that of Neuronpedia and circuit-tracer: schema_version 1, features
 * numbered by Cantor's pairing (layer, latent), ids LAYER_LATENT_POS (features),
 * LAYER_-1_POS (errors), E_TOKEN_POS, (n_layers + 1)_TOKEN_POS (targets; a
 * target that is no token has a number from the vocabulary's size on).
 */
#ifndef R1_ATTRGRAPH_H
#define R1_ATTRGRAPH_H

#include <jansson.h>

#include "attr.h"
#include "chat.h"
#include "stream.h"
#include "tok.h"

/* ---- prompts ---- */

struct attrgraph_prompt {
	char *slug;		/* "" when none was given */
	char *text;		/* as tokenized */
	uint32_t *ids;
	size_t n;
	json_t *line;		/* the line it came from, or NULL */
};

struct attrgraph_chat {
	enum chat_template template;
	const char *system;	/* or NULL */
	const char *begin;	/* of the answer: put behind the prompt, or NULL */
};

/* text, special tokens in it recognised; a template other than CHAT_NONE makes
 * it a user's turn and opens the assistant's. The first token is bos (else eos)
 * unless the text begins with a special token. */
int attrgraph_prompt_text(struct attrgraph_prompt *p, const struct tok *t,
                          const struct attrgraph_chat *c, const char *text,
                          struct err *e);
/* A JSON line: "text" (or "prompt") or "messages", and perhaps "slug" or "id",
 * and "begin" and "template" in place of the chat's; kept in p->line. */
int attrgraph_prompt_line(struct attrgraph_prompt *p, const struct tok *t,
                          const struct attrgraph_chat *chat, const json_t *line,
                          struct err *e);
void attrgraph_prompt_free(struct attrgraph_prompt *p);

/* The one token that text is ("#12": number 12), or -1 with e set. */
int attrgraph_token(const struct tok *t, const char *text, uint32_t *id,
                    struct err *e);

/* ---- targets ---- */

/* "12", or "-1" from the end, as a position of a prompt of n tokens. */
int attrgraph_position(const char *text, size_t n, size_t *pos, struct err *e);

/* What is asked for: tokens, A//B of two tokens, LAYER:LATENT; when nothing is,
 * the most likely tokens. */
struct attrgraph_targets {
	const char *const *token, *const *diff, *const *feature;
	size_t n_tokens, n_diffs, n_features;
	size_t max_logits;
	double desired_prob;
};
int attrgraph_target(struct attr *a, const struct tok *t,
                     const struct attrgraph_targets *w, size_t pos,
                     struct err *e);

/* ---- labels ---- */

struct attrgraph_labels;
/* An SQLite file with Goodfire's tables: autointerp(feature_id, label) with a
 * column layer, or one table autointerp_N for each layer N. */
struct attrgraph_labels *attrgraph_labels_open(const char *path,
                                               struct err *e);
/* 1 with *label (for mem_free), 0 when there is none, -1. */
int attrgraph_label(struct attrgraph_labels *l, uint32_t layer,
                    uint32_t latent, char **label, struct err *e);
void attrgraph_labels_close(struct attrgraph_labels *l);	/* NULL is legal */

/* ---- interventions ---- */

/* LAYER:LATENT[@POSITIONS][=VALUE] into *d; positions as 5, 3-9 or 3- (to the
 * end and on), default 1-. */
int attrgraph_edit(const char *text, enum attr_edit_kind kind, int has_value,
                   struct attr_edit *d, struct err *e);

struct attrgraph_change {
	const struct attrgraph_prompt *prompt;	/* that a holds */
	const struct attr_intervention *intervention;
	const struct tok *tok;
	size_t n_vocab, pos;
	size_t n_tokens;	/* most likely tokens told, before and after */
	const uint32_t *more;	/* others to tell */
	size_t n_more;
	size_t n_new;		/* tokens to go on by; 0: none */
};
/* What an intervention does (attrgraph(1) names the members). New reference. */
json_t *attrgraph_change_json(struct attr *a, const struct attrgraph_change *c,
                              struct err *e);

/* ---- files ---- */

struct attrgraph_about {
	const char *slug, *scan;
	const char *source_set;		/* Neuronpedia's, or NULL */
	const char *prompt;
	const char *description;	/* or NULL */
	const char *command;		/* or NULL */
	size_t max_logits;
	double desired_prob, node_share, edge_share;
	const struct attr_opt *opt;
	const struct model_cfg *model;
	const struct attr_set *set;
	size_t neurons;			/* as attr_neurons was told */
	int stopped;			/* not all features asked for */
	const struct attr_check *check;	/* or NULL */
};

/* Whether s may be a slug, or a scan on Neuronpedia: [A-Za-z0-9_.-]+ */
int attrgraph_name_ok(const char *s);
/* Whether s may be a scan somewhere: circuit-tracer's viewer knows folders and
 * REPOSITORY//FOLDER@REVISION by it, so / and @ too. */
int attrgraph_scan_ok(const char *s);
/* s as such a name, at most 64 bytes, lower case; for mem_free. */
char *attrgraph_name(const char *s, struct err *e);

/* "metadata" of a graph: new reference. */
json_t *attrgraph_metadata(const struct attr_graph *g,
                           const struct attrgraph_about *a,
                           const struct tok *t, struct err *e);

/* Where JSON goes; non-zero stops it (e set by the callee). */
typedef int attrgraph_put(void *ctx, const char *bytes, size_t n,
                          struct err *e);

/* What pruning left, as JSON, never held as a whole. labels may be NULL. */
int attrgraph_write_json(const struct attr_graph *g,
                         const struct attr_pruned *p, const json_t *metadata,
                         const struct tok *t, struct attrgraph_labels *labels,
                         attrgraph_put *put, void *ctx, struct err *e);
/* The same as records of a graph/1 stream. */
int attrgraph_write_records(const struct attr_graph *g,
                            const struct attr_pruned *p,
                            const json_t *metadata, const struct tok *t,
                            struct attrgraph_labels *labels,
                            struct stream_out *s, struct err *e);

/* Writes DIR/SLUG.json, slug being the metadata's, and puts the metadata into
 * DIR/graph-metadata.json in place of the same slug's. */
int attrgraph_write_folder(const struct attr_graph *g,
                           const struct attr_pruned *p,
                           const json_t *metadata, const struct tok *t,
                           struct attrgraph_labels *labels, const char *dir,
                           struct err *e);

#endif
