/* eval_impl: what eval's files share and nobody else sees. */
#ifndef R1_EVAL_IMPL_H
#define R1_EVAL_IMPL_H

#include "eval.h"

/* Whole sequences that run together, and which of their rows count. */
struct eval_batch {
	struct model_batch b;
	size_t *start;		/* b.start */
	uint8_t *keep;		/* [b.n] position >= skip */
	uint32_t *target;	/* [b.n] the next token where it counts, else
				 * UINT32_MAX */
	size_t n_targets;
};

/* Room for any batch of text t under o. */
int eval_batch_init(struct eval_batch *b, const struct eval_opt *o,
                    const struct eval_text *t, struct err *e);
void eval_batch_free(struct eval_batch *b);
/* Rows that a batch of t may have at most. */
size_t eval_batch_rows(const struct eval_opt *o, const struct eval_text *t);

/* The sequences of t from *seq on that fit, cut at token `end`; *seq moves
 * behind them. 0 when none is left. */
int eval_batch_next(struct eval_batch *b, const struct eval_opt *o,
                    const struct eval_text *t, size_t *seq, size_t end);

/* Tokens that a budget (0: all) leaves of t. */
size_t eval_budget(const struct eval_text *t, size_t tokens);

/* A transcoder at work on a batch: scratch for the largest of a set. */
struct eval_coder {
	struct dev *dev;
	size_t k;		/* as eval_opt */
	struct tc_codes codes;
	float *out;		/* [rows, d_model] device */
	float *y, *y_hat;	/* [rows, d_model] host */
	double *sq_x, *sq_y;	/* [rows] squared norms */
	uint8_t *mask;		/* [rows] what eval_coder_mask left */
};

int eval_coder_init(struct eval_coder *c, const struct eval_set *s, size_t k,
                    struct model *m, size_t rows, struct err *e);
void eval_coder_free(struct eval_coder *c);
/* Fills codes, y and y_hat from n rows x, y of the device. */
int eval_coder_run(struct eval_coder *c, const struct tc *t, const float *x,
                   const float *y, size_t n, struct err *e);

/* Squared norms of n rows x, y of the device. */
int eval_coder_norms(struct eval_coder *c, size_t dim, const float *x,
                     const float *y, size_t n, struct err *e);
/* mask[i] = keep[i] (NULL: 1) where row i, of those norms, is no outlier. */
void eval_coder_mask(struct eval_coder *c, const struct eval_limit *l,
                     const uint8_t *keep, size_t n);

/* How far a run has come, in multiply-adds. */
struct eval_pace {
	const struct eval_watch *watch;
	double done, total;
};

void eval_pace_add(struct eval_pace *p, double work);
/* Work of one token: in one layer, in the unembedding, in all coders of s. */
double eval_work_layer(const struct model *m);
double eval_work_unembed(const struct model *m);
double eval_work_coders(const struct eval_set *s);

/* ---- the second pass (eval_ce.c) ---- */

struct eval_ce {
	const struct eval_opt *opt;
	const struct eval_set *set;
	struct model *model;
	struct model_run *run;
	struct eval_batch *batch;
	struct eval_coder *coder;
	struct eval_pace *pace;
	float *const *mean_y;	/* [set->n][d_model] mean of y in each layer */
};

/* Work that eval_ce_run will report, for t. */
double eval_ce_work(const struct eval_ce *c, const struct eval_text *t);
/* Fills in r's counts, cross-entropies and effects. */
int eval_ce_run(const struct eval_ce *c, const struct eval_text *t,
                struct eval_result *r, struct err *e);

#endif
