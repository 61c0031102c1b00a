/* train_impl: what train*.c share. */
#ifndef R1_TRAIN_IMPL_H
#define R1_TRAIN_IMPL_H

#include "dev_tc.h"
#include "outlier.h"
#include "train.h"

enum { TRAIN_SILENT_ROWS = 16384, TRAIN_QUIET_ROWS = 4096 };

enum { TRAIN_PART_MAIN, TRAIN_PART_MULTI, TRAIN_PART_AUX };

/* A batch in the making; device memory unless said otherwise. */
struct train_work {
	struct train_cfg cfg;
	struct dev *dev;
	float *x, *y;		/* centred, scaled, outliers out */
	float *g;		/* dL/dy^ of each part, one after another */
	struct dev_tc_codes codes[DEV_TC_PARTS];
	float *slope, *x_grad;	/* autoencoder: through its b_dec */
	/* JumpReLU: bias less lower ends of the rectangles, latents within */
	float *edge_bias;
	struct dev_tc_codes edge;
	float *g_skip, *g_b_dec;
	float *row;		/* [max(d_in, d_out)] */
	uint32_t *dead;		/* ids, and weights gathered for them */
	float *dead_w, *dead_b;
	/* host */
	uint32_t *rows, *dead_host;
	double *sq_x, *sq_y, *sum;	/* sum [max(2 d_out, n_latents)] */
	float *row_host;
	double variance;	/* sum |y - mean y|^2 of the batch */
	/* variants: a batch's codes, and of all latents the thresholds */
	uint32_t *code_latent, *edge_latent;
	float *code_value, *edge_value, *theta;
	float *raise, *raised;	/* [n_latents] device, host */
	double weakest;		/* BatchTopK: kept of this batch */
	double l0;		/* JumpReLU: of this batch */
};

struct train_layer {
	struct train_cfg cfg;
	struct dev *dev;
	struct train_work *work;
	int layer;
	/* params: what the optimiser holds, in the normalised space */
	struct dev_tc_param enc, bias, dec, b_dec, skip;
	struct dev_tc_param threshold;	/* JumpReLU: logarithms */
	uint8_t *live;		/* device [n_latents] */
	uint64_t *last;		/* device [n_latents]: rows seen when last
				 * fired, 0: never */
	float *power;	/* device [n_latents], or NULL: dev_tc_latents' */
	float *mean_x, *mean_y;	/* device */
	double scale_x, scale_y;	/* x' = (x - mean_x) scale_x */
	struct outlier norms_x, norms_y;	/* of the first n_norms rows */
	uint64_t n_norms;
	double theta;		/* BatchTopK's threshold; 0: none yet */
	int started, given;	/* given: weights came by train_layer_init */
	int given_threshold;	/* these as well, plain, not yet logarithms */
	float *held_x, *held_y;	/* rows not yet in a batch; y: NULL if x */
	size_t n_held, held_max;
	/* host, for the end: prepared rows of the last steps in Q8_0, room for
	 * `batch` in each of the slots (train_end_slot), of which step s has
	 * number s % kept_slots; how many each has. NULL: none yet; kept_x: or
	 * an autoencoder. */
	uint8_t *kept_x, *kept_y;
	uint32_t *kept_n;
	size_t kept_slots;
	struct train_stats stats;
	train_step_fn *on_step;
	void *on_step_ctx;
};

static inline size_t train_larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

static inline const struct dev_ops *train_ops(const struct train_layer *t)
{
	return dev_ops(t->dev);
}

/* The parameters one by one, for saving, loading and counting. */
struct train_param {
	const char *name;
	struct dev_tc_param *p;
	size_t rows, cols;
};
enum { TRAIN_PARAMS = 6 };
/* How many: skip connection and thresholds are there or not. */
int train_params(struct train_layer *t, struct train_param *p);

/* train.c: AuxK's latents of a row, at most. */
size_t train_aux_k(const struct tc_cfg *c);

/* The numbers of all parameters, and of the optimiser beside them. */
void train_numbers(const struct train_cfg *c, size_t *values, size_t *moments);

/* train.c: an empty buffer for `rows` rows in place of the one there is. */
int train_hold(struct train_layer *t, size_t rows, struct err *e);

/* train.c: begins from n rows, n <= batch, without a step. */
int train_layer_start(struct train_layer *t, const float *x, const float *y,
                      size_t n, struct err *e);

/* train_start.c: statistics and first weights from n held rows. */
int train_start(struct train_layer *t, size_t n, struct err *e);

/* train_resample.c: after a step on n prepared rows with which `now` rows have
 * been seen, the main part's error in work->g: dead latents anew, if due. */
int train_resample(struct train_layer *t, size_t n, uint64_t now,
                   struct err *e);

/* train_step.c: one step on batch rows x, y as they came. */
int train_step(struct train_layer *t, const float *x, const float *y,
               struct err *e);
/* Its parts, for the tests of the gradients: the n rows that train_keep named
 * into work->x and y; their loss into stats, parts and work->g for train_apply;
 * the optimiser's step on every parameter. */
int train_prepare(struct train_layer *t, const float *x, const float *y,
                  size_t n, struct err *e);
int train_loss(struct train_layer *t, size_t n, struct dev_tc_part *part,
               size_t *n_parts, struct err *e);
int train_apply(struct train_layer *t, const struct dev_tc_part *part,
                size_t n_parts, size_t n, const struct dev_tc_opt *o,
                struct err *e);
/* sum |y - mean y|^2 over work's batch */
int train_variance(struct train_layer *t, size_t n, double *out,
                   struct err *e);
/* g = (b_dec + skip + decode(codes) - y) of a part, and its squared sum */
int train_residual(struct train_layer *t, int part, int with_skip, size_t n,
                   double *sq, struct err *e);
/* The optimiser's next step. */
struct dev_tc_opt train_optimiser(const struct train_layer *t);
/* Which of n raw rows, the stream's from number `first` on, stay, into
 * work->rows; norms of all into work->sq_*. How many, or -1. Rows behind
 * n_norms join the norms first. */
long train_keep(struct train_layer *t, const float *x, const float *y,
                uint64_t first, size_t n, struct err *e);

/* train_variant.c: k of step s; slots of a row of the main codes, at most. */
uint32_t train_k(const struct train_cfg *c, uint64_t s);
size_t train_slots(const struct train_cfg *c);
/* The main codes of n prepared rows, as the variant selects them. */
int train_select(struct train_layer *t, size_t n, struct err *e);
/* What JumpReLU's loss has more than others', for the batch selected. */
double train_l0_loss(const struct train_layer *t);
/* JumpReLU: the optimiser's step on the thresholds, by the main part's g and
 * the decoder before it moves. */
int train_threshold_apply(struct train_layer *t, size_t n,
                          const struct dev_tc_opt *o, struct err *e);
/* BatchTopK: the threshold after a batch. */
void train_threshold_follow(struct train_layer *t);
/* JumpReLU: first thresholds, from the n first held rows. */
int train_threshold_start(struct train_layer *t, size_t n, struct err *e);
/* Mean over latents, normalised space; 0 for TopK. */
double train_threshold_mean(const struct train_layer *t);

/* Of all latents, normalised space (host); not of TopK. */
int train_thresholds_get(struct train_layer *t, float *theta, struct err *e);

/* train_end_keep.c: whether rows have been kept after so many steps. */
int train_end_due(const struct train_cfg *c, uint64_t steps);
/* Room for them. */
int train_end_begin(struct train_layer *t, struct err *e);
/* The n prepared rows of work, if the step's are to be kept. */
int train_end_keep(struct train_layer *t, size_t n, struct err *e);
void train_end_free(struct train_layer *t);
size_t train_end_kept_bytes(const struct train_cfg *c);
/* Bytes of a slot's rows of kept_x or kept_y, d_in or d_out wide. */
size_t train_end_slot(const struct train_cfg *c, size_t dim);
/* Of one row that is kept, at most. */
size_t train_end_row_bytes(const struct tc_cfg *c);
/* train_end.c: solves, and forgets the rows. */
int train_end_solve(struct train_layer *t, struct err *e);
size_t train_end_work_bytes(const struct train_cfg *c);

/* train_plain.c: weights given plain, brought into the normalised space. */
int train_normalise(struct train_layer *t, struct err *e);

#endif
