/*
 * attr: attribution graphs, by circuit-tracer's definition.
 *
 * On one prompt the model is replaced by its local linear picture: attention
 * patterns and norm scales frozen (model_frozen.h), each MLP the sum of its
 * transcoder's active latents ("features"), its skip connection and what is
 * left ("error"). A layer without a transcoder is all error, or its strongest
 * neurons stand for its features (attr_neurons). The effect of a
 * source on a target is the gradient of the target's input with respect to what
 * the source writes, times what it writes: for a feature its value times its
 * decoder row, for an error the vector, for a token its embedding. Targets are
 * features (their encoder row at mlp_in) and logits (their unembedding row less
 * the mean of all). Features and errors of position 0 are left out.
 *
 * Which features become targets is decided in turns: those of greatest
 * influence on the logits through what is known so far come next.
 *
 * Source: arXiv:2501.18823 (skip transcoders), transformer-circuits.pub
 * 2025/attribution-graphs/methods.html, and circuit-tracer 0.5's numbers
 * (tests/golden/tiny-*).
 */
#ifndef R1_ATTR_H
#define R1_ATTR_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "model_frozen.h"
#include "tc.h"

/* ---- transcoders ---- */

struct attr_set;
/* Those of `layers` (as ranges.h; "all": what dir holds) in dir, or none (dir
 * NULL). Shapes are checked against m when a layer is read. Read ones stay in
 * memory up to cache_bytes in all; others are read again for each prompt. */
struct attr_set *attr_set_open(const char *dir, const char *layers,
                               struct model *m, size_t cache_bytes,
                               struct err *e);
void attr_set_free(struct attr_set *s);		/* NULL is legal */
/* Layers that have one, ascending; their number. Borrowed. */
int attr_set_layers(const struct attr_set *s, const int **layers);

/* ---- one prompt ---- */

struct attr_feature {
	uint32_t layer, pos, latent;	/* latent: or a neuron */
	float value;
};

struct attr;
struct attr *attr_new(struct model *m, struct attr_set *s, struct err *e);
void attr_free(struct attr *a);			/* NULL is legal */

/* From the next prompt on, an MLP without a transcoder has features too: at each
 * position its n neurons of greatest |value| |W_down column|; the others are its
 * error. A neuron's value is gate (W_up x), gate = silu(W_gate x); as a target
 * its gate is held, so that its row explains W_up x times the gate. 0: none. */
void attr_neurons(struct attr *a, size_t n);

/* Runs the model on ids[n] and finds the active features; forgets the prompt
 * before. Values that are no numbers are ERR_FORMAT naming the layer. */
int attr_prompt(struct attr *a, const uint32_t *ids, size_t n, struct err *e);
/* Active features by layer, position, latent. Borrowed until the next prompt. */
size_t attr_features(const struct attr *a, const struct attr_feature **f);

/* ---- targets ---- */

/* The logits at pos that reach `prob` together, at most max_logits. */
int attr_target_top(struct attr *a, size_t pos, size_t max_logits, double prob,
                    struct err *e);
/* One token's logit at pos. */
int attr_target_token(struct attr *a, size_t pos, uint32_t id, struct err *e);
/* Logit of one token less that of another; weighs |difference of their
 * probabilities|. */
int attr_target_diff(struct attr *a, size_t pos, uint32_t more, uint32_t less,
                     struct err *e);
/* A latent's input (active or not), weight 1. */
int attr_target_feature(struct attr *a, uint32_t layer, uint32_t latent,
                        size_t pos, struct err *e);

enum attr_target_kind { ATTR_TOKEN, ATTR_DIFF, ATTR_LATENT };

struct attr_target {
	enum attr_target_kind kind;
	uint32_t layer;		/* n_layers: a logit */
	uint32_t pos;
	uint32_t id, less;	/* tokens; id a latent's number if ATTR_LATENT */
	float weight;		/* probability */
};

/* ---- the work ---- */

struct attr_opt {
	size_t max_features;	/* 0: all active ones */
	size_t batch;		/* features of a batch */
	size_t update;		/* batches between two looks at influence */
	size_t tile_bytes;	/* gradients held at a time, about */
	size_t rows_bytes;	/* rows held in memory; the rest on disk */
	const char *scratch;	/* folder for that; NULL: TMPDIR, else /tmp */
	const char *state;	/* file where a run that was stopped goes on,
				 * and leaves its work when it is; or NULL */
};

/* circuit-tracer's: batch 512, update 4; all features. */
extern const struct attr_opt attr_opt_default;

struct attr_watch {
	/* Between pieces of work: rows done, of how many. Non-zero: stop, and
	 * make do with the features that are done. */
	int (*step)(void *ctx, size_t done, size_t total);
	void *ctx;
};

/* Attributes the targets and then features. 0, 1 when stopped early, -1;
 * ERR_MEM before it begins when memory will not do. A run that goes on from a
 * state ends with the same rows as one that was never stopped. */
int attr_run(struct attr *a, const struct attr_opt *o,
             const struct attr_watch *w, struct err *e);

struct attr_plan {
	size_t features;	/* that will be explained */
	double seconds;		/* of attr_run from now, at the pace of now */
	double cpu_seconds;	/* of all threads together: what else runs on
				 * the machine changes these less */
	size_t rows_bytes;	/* of all rows: in memory and on disk */
	size_t disk_bytes;
	size_t peak_bytes;	/* of the process, graph included */
};
/* What attr_run will take: the targets are attributed, all features it may
 * explain are ranked by what these say, and some of their tiles timed, for some
 * twenty seconds at most (timed 0: not; seconds 0). */
int attr_plan(struct attr *a, const struct attr_opt *o, int timed,
              struct attr_plan *out, struct err *e);
/* Bytes that attr_prompt will take for n tokens. */
size_t attr_prompt_bytes(const struct attr *a, size_t n);

/* ---- interventions ---- */

enum attr_edit_kind { ATTR_SET, ATTR_SCALE, ATTR_ADD };

/* A latent's value at positions from..to becomes value, value times what it is
 * there, or what it is plus value. Not active means 0, as position 0 does. */
struct attr_edit {
	uint32_t layer, latent;
	size_t from, to;	/* inclusive; SIZE_MAX: and on */
	enum attr_edit_kind kind;
	float value;
};

/* What an intervention leaves as it was: attention patterns and norm scales
 * move or not. With MODEL_HELD_ALL the MLPs are held too, but for their skip
 * connections: that leaves direct effects. */
struct attr_intervention {
	const struct attr_edit *edit;
	size_t n_edits;
	enum model_held held;
};

/* Logits [n_vocab] (host) at pos of the prompt under v. MLPs stay the model's
 * own: what an edit adds to one is the change times the decoder row. Equals
 * circuit-tracer's feature_intervention: freeze_attention, and constrained_
 * layers of all layers for MODEL_HELD_ALL. */
int attr_intervene(struct attr *a, const struct attr_intervention *v,
                   size_t pos, float *logits, struct err *e);

/* Continues ids[n] greedily by up to n_new tokens with attention free; edits
 * hold at their positions, open ranges for new tokens too. Stops behind the
 * model's eos. */
int attr_steer(struct attr *a, const struct attr_intervention *v,
               const uint32_t *ids, size_t n, size_t n_new, uint32_t *out,
               size_t *n_out, struct err *e);

/* How well a graph foretells: features of greatest influence ablated one by
 * one, and the change of the first target's logit (less the mean of all)
 * compared with what the graph says. */
struct attr_graph;
struct attr_check {
	size_t n;		/* features ablated */
	double direct;		/* rank correlation, everything held */
	double total;		/* rank correlation, patterns held */
	double direct_error;	/* largest |measured - foretold|, everything
				 * held, of the largest measured */
	double sign;		/* share of equal signs, patterns held */
};
int attr_validate(struct attr *a, const struct attr_graph *g, size_t n,
                  struct attr_check *out, struct err *e);

/* ---- the graph ---- */

/* Nodes in order: features, errors by layer and position, tokens, targets. */
struct attr_graph {
	size_t n_layers, n_pos, n_features, n_targets, n_nodes;
	size_t n_active;		/* features there were */
	struct attr_feature *feature;	/* ascending by layer, pos, latent */
	uint32_t *ids;			/* [n_pos] */
	struct attr_target *target;
	/* Row i (features, then targets): weights of its sources, all those of
	 * lower layers at positions up to its own, see attr_each. */
	float **row;
	size_t *end;	/* [n_layers][n_pos]: one past the last feature of
			 * the layer at positions up to that */
	uint8_t *neurons;	/* [n_layers]: its features are neurons */
};

/* What attr_run found; the caller frees it. Rows go from a to the graph. */
struct attr_graph *attr_graph_new(struct attr *a, struct err *e);
void attr_graph_free(struct attr_graph *g);	/* NULL is legal */

/* Node number of row i. */
size_t attr_row_node(const struct attr_graph *g, size_t i);
/* Where node lies: layer (-1 tokens, n_layers logits) and position. */
void attr_node_place(const struct attr_graph *g, size_t node, int *layer,
                     size_t *pos);
/* out[n_nodes] = row i spread over the nodes, zeros where nothing is. */
void attr_row_dense(const struct attr_graph *g, size_t i, float *out);

struct attr_scores {
	double replacement, completeness;
	/* influence on the targets that comes from features, errors, tokens
	 * (of all that comes from any of them) */
	double from_features, from_errors, from_tokens;
};
/* influence[n_nodes] of each node on the targets, by all paths. */
int attr_influence(const struct attr_graph *g, double *influence,
                   struct err *e);
int attr_score(const struct attr_graph *g, struct attr_scores *s,
               struct err *e);

/* What pruning leaves. */
struct attr_edge {
	uint32_t source;	/* node */
	float weight;
};
struct attr_pruned {
	uint8_t *keep;		/* [n_nodes] */
	double *cumulative;	/* [n_nodes]: share of influence that this node
				 * and stronger ones have */
	size_t *first;		/* [n_rows + 1] into edge, by row */
	struct attr_edge *edge;
	size_t n_kept;
};
/* Keeps the nodes that have node_share of influence together, then the edges
 * that have edge_share of theirs, then drops features without edges in or out
 * and errors without edges out. Tokens and targets stay. */
int attr_prune(const struct attr_graph *g, double node_share,
               double edge_share, struct attr_pruned *p, struct err *e);
void attr_pruned_free(struct attr_pruned *p);

#endif
