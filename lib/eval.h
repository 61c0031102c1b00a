/*
 * eval: what transcoders keep of a model's MLPs.
 *
 * Two passes over a text. The first runs the unchanged model and compares
 * each layer's MLP output y with its transcoder's y^ (eval_stats.h). The second
 * runs it again from each layer on with y^, zero or the mean of y in the place
 * of y, and with all layers changed at once, and compares the predictions.
 *
 * At the first `skip` positions of a sequence the MLP keeps its output, and
 * those positions count in no number, neither as inputs nor as predictions.
 *
 * Outliers (outlier.h) are treated the same way, layer by layer: where x or y
 * of a layer is one, its MLP keeps its output and the position counts in none
 * of its statistics but fvu_all; it still counts as a prediction. The first
 * pass takes the median along, a batch of sequences at a time; what follows
 * uses the last.
 *
 * Numbers not measured are NaN. Results do not depend on the number of
 * threads; they depend on the batch in the last bits only.
 */
#ifndef R1_EVAL_H
#define R1_EVAL_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "model.h"
#include "tc.h"
#include "tok.h"

/* ---- the text ---- */

/* Sequences end to end. {0} is an empty text. */
struct eval_text {
	uint32_t *ids;
	size_t n, cap_ids;
	size_t *start;		/* n_seqs + 1, start[0] = 0 */
	size_t n_seqs, cap_start;
};

/* Appends a sequence of n >= 1 tokens. */
int eval_text_add(struct eval_text *t, const uint32_t *ids, size_t n,
                  struct err *e);
void eval_text_free(struct eval_text *t);

/* ---- transcoders ---- */

/* Squared norms of x and y above which a position is an outlier. */
struct eval_limit {
	double x, y;
};

struct eval_set {
	int n;			/* layers evaluated, ascending */
	int *layer;
	struct tc **tc;		/* n */
	struct eval_limit *limit;	/* n; INFINITY until eval_run */
};

/* Reads the transcoders of `layers` (as ranges.h; "all": those that dir
 * holds) and checks them against the model. */
int eval_set_open(struct eval_set *s, const char *dir, const char *layers,
                  struct model *m, struct err *e);
void eval_set_free(struct eval_set *s);

/* ---- evaluation ---- */

struct eval_opt {
	size_t k;		/* active latents; 0: as trained */
	size_t skip;
	size_t fvu_tokens, ce_tokens, ablation_tokens;	/* 0: all */
	size_t batch;		/* tokens run together, >= 1 */
	int zero, mean;		/* which ablations */
	double outlier;		/* medians; 0: nothing is one */
	int fvu_only;		/* leave the second pass out */
};

/* Predictions of a changed model against the unchanged one's. */
struct eval_effect {
	double ce;		/* nats/token */
	double ce_increase, ce_increase_se;
	double kl, top1;
};

enum { EVAL_BINS = 12, EVAL_BIN_FIRST = -6 };	/* half decades up to 0 */

struct eval_layer {
	int layer;		/* -1: all at once */
	size_t n_latents, k;
	double fvu, l0;
	double fvu_all;		/* outliers included */
	size_t outliers;	/* positions */
	double outlier_share;
	size_t dead;
	double train_dead_share;	/* set by the caller */
	double act_mean, act_max;
	size_t freq_hist[EVAL_BINS];
	struct eval_effect replaced, zero, mean;
	double recovered, recovered_mean;
};

struct eval_result {
	int n;
	struct eval_layer *layer;	/* n, as in the set */
	struct eval_layer all;		/* the effects only */
	size_t fvu_positions, ce_predictions, ablation_predictions;
	double ce, ablation_ce;		/* of the unchanged model */
};

/* What a run tells while it goes; any may be NULL. */
struct eval_watch {
	/* multiply-adds done, and in all */
	void (*step)(void *ctx, double done, double total);
	/* the first pass is over: l->fvu .. freq_hist are known */
	void (*stats)(void *ctx, const struct eval_layer *l);
	void *ctx;
};

/* Sets s->limit besides r. */
int eval_run(const struct eval_opt *o, struct model *m,
             const struct eval_set *s, const struct eval_text *t,
             const struct eval_watch *w, struct eval_result *r,
             struct err *e);
void eval_result_free(struct eval_result *r);

/* ---- generation ---- */

/* Continues ids[n] greedily by up to n_new tokens, every MLP of s replaced
 * from position skip on, but for outliers by s->limit (s NULL: unchanged). out[n_new] receives the new
 * tokens, *n_out their number, *ended whether the last is the model's eos. */
int eval_generate(struct model *m, const struct eval_set *s, size_t k,
                  size_t skip, const uint32_t *ids, size_t n, size_t n_new,
                  uint32_t *out, size_t *n_out, int *ended, struct err *e);

/* A prompt (special tokens in it recognised, bos added where the tokenizer
 * does) continued with and without s (NULL: without alone, "replaced" is
 * null), as a member of "generations" in tceval(1). New reference. */
json_t *eval_continue(struct model *m, const struct eval_set *s,
                      const struct eval_opt *o, const struct tok *t,
                      struct tok_work *w, const char *prompt, size_t n_new,
                      struct err *e);

/* ---- reports (tceval(1) names the members) ---- */

/* Members of one layer, the scalars first. New reference. */
json_t *eval_layer_json(const struct eval_layer *l, struct err *e);
/* "freq_hist_edges", "layers", "mean", "all" put into obj, in order. */
int eval_result_json(const struct eval_result *r, json_t *obj, struct err *e);
/* obj as text, one element of its arrays of objects a line; newline at the
 * end. mem_free it. */
char *eval_json_text(const json_t *obj, struct err *e);
/* The layers' scalars as CSV text with a line of names. mem_free it. */
char *eval_csv_text(const struct eval_result *r, struct err *e);

#endif
