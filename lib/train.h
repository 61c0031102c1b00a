/*
 * train: transcoders learning from a stream of activations.
 *
 * A train_layer is one transcoder in training. It is fed rows in stream order,
 * in blocks of any size, and takes a step whenever cfg.batch of them have come;
 * what it becomes depends on the rows and their order alone, not on the blocks
 * nor on the number of threads. Several share one train_work: scratch in which
 * one batch at a time is worked on. train_set.h runs all layers of a model.
 *
 * Loss of a batch (sparsify's):
 *   FVU + auxk_alpha AuxK + MultiTopK / 8,
 *   FVU = sum |y - y^|^2 / sum |y - mean y|^2 over the batch;
 *   AuxK = min(n_dead / k_aux, 1) sum |e - e^|^2 / the same, e = y - y^ held
 *   fixed, e^ the decoding of each row's k_aux = d_out / 2 strongest dead
 *   latents; MultiTopK the FVU of the decoding with 4 k latents.
 *
 * Recipe r1 works on centred inputs and outputs of unit variance per coordinate
 * in the mean (statistics of the first start_tokens rows), from a skip connection
 * that is the ridge regression of those rows, encoder rows turned towards the
 * rows it is wrong about, and a zero decoder; centres and scales are folded into
 * the weights on export.
 * Recipe sparsify works on the rows as they are: nn.Linear's encoder, its bias
 * and b_dec from the first batch's means, a zero decoder (an autoencoder:
 * the encoder's rows, normalised). There the auxiliary terms train the decoder
 * alone and MultiTopK leaves out the skip, as in that program.
 *
 * Variants (tc.h): BatchTopK keeps the k n strongest of a batch's n rows, from
 * each the 4 k strongest at most; its threshold is a running mean of the weakest
 * kept. JumpReLU's thresholds begin where the first batch has k active latents a
 * row in the mean and learn by their logarithms through a rectangle around each
 * as wide as `bandwidth` of it (a straight-through estimate); the loss gains
 * l0_weight (L0 / k - 1)^2, which moves them alone. Both normalised as the rest.
 *
 * Beside Adam, r1's decoder takes normalised steps (dev_tc.h): a row moves by a
 * share of what would end the batch's error where the latent fires, divided by
 * the sum of its squared values of late. The step has the error's own size, where
 * Adam's is lr whatever is left to learn, and there are no moments to keep.
 *
 * Latents that have been quiet for 4,096 rows have their b_enc raised with every
 * batch until they fire again, so that few are lost at any width.
 *
 * Or, with cfg.resample, they are drawn anew from time to time
 * (train_resample.c).
 *
 * At the end of recipe r1, decoder, skip connection and b_dec are solved anew by
 * least squares over the rows of the last steps, pulled towards what they were
 * (train_end.c). Those rows are kept as 16-bit floats, centred and scaled, and
 * are part of a layer's state.
 *
 * Outliers (outlier.h): a row is left out of statistics and training, and
 * counted, when |x| or |y| is more than cfg.outlier times the running median,
 * which has the start rows from the beginning and then batch after batch.
 */
#ifndef R1_TRAIN_H
#define R1_TRAIN_H

#include <stddef.h>
#include <stdint.h>

#include "dev.h"
#include "err.h"
#include "tc.h"

enum train_recipe { TRAIN_R1, TRAIN_SPARSIFY };
enum train_rule { TRAIN_ADAM, TRAIN_SIGNUM };

struct train_cfg {
	struct tc_cfg tc;
	enum train_recipe recipe;
	enum train_rule rule;
	double lr;
	uint64_t warmup;	/* steps over which lr rises from 0 */
	double decay;		/* share of all steps, the last ones, over
				 * which lr falls to 0 */
	size_t batch;		/* rows of a step */
	uint64_t n_steps;	/* of the whole run; 0: unknown, no decay */
	double auxk_alpha;
	double l0_weight;	/* JumpReLU's */
	double bandwidth;	/* the same, in (0, 2) */
	uint64_t k_anneal;	/* steps over which k falls from 10 k, as in
				 * sparsify */
	double raise;		/* of b_enc for each row that passes while a
				 * latent is quiet, in the normalised space */
	uint64_t resample;	/* r1 with Adam: rows between two draws of
				 * latents that have not fired within as many;
				 * 0: none */
	uint64_t dead_tokens;	/* rows without firing that make a dead latent */
	size_t start_tokens;	/* r1: rows the start looks at, >= batch */
	double ridge;		/* r1: of the start, in mean variances of x */
	double row_norm;	/* r1: of encoder rows at the start */
	double dec_rate;	/* r1: of the decoder's normalised steps; rises
				 * as the learning rate does, falls as its root;
				 * 0: the optimiser's steps */
	size_t skip_every;	/* the skip connection's gradient is of every
				 * so manieth row of a batch, another one first
				 * in each step; 0, 1: of all */
	double near;		/* r1: share of their directions that is a start
				 * row's, the rest random */
	double outlier;		/* 0: none left out */
	size_t end_tokens;	/* r1 with Adam: rows of the last steps that the
				 * end's least squares see, 0: none; cut to
				 * whole batches */
	double end_ridge;	/* sum of squares that the trained weights count
				 * for there, > 0 */
	uint64_t seed;
};

/* lr of recipe and rule for this width: r1 2e-3, 1e-3 without normalised steps
 * (signum: sparsify's); sparsify 2e-4 (Adam) or 5e-3 (signum) / sqrt(n_latents / 16384). */
double train_default_lr(const struct train_cfg *c);
/* 4 where the end solves the skip connection anew, less where fewer than 128 rows
 * of a batch would be left; else 1 (r1-training(7)). */
size_t train_default_skip_every(const struct train_cfg *c);
/* Rows that the end sees: all of a run of at most 131,072; of longer ones, or of
 * unknown length, the last 131,072, but what a gibibyte holds, and 32,768 at least
 * (r1-training(7)). */
size_t train_default_end_tokens(const struct train_cfg *c);
/* Its ridge by end_tokens: 600 where these are all of the run, or 131,072; as much
 * more as they are fewer, up to 5,000: short windows learn their documents
 * (r1-training(7)). */
double train_default_end_ridge(const struct train_cfg *c);

/* Learning rate of step s, from 0. */
double train_lr(const struct train_cfg *c, uint64_t s);

/* 0, or -1 with ERR_RANGE saying what cannot be. */
int train_check(const struct train_cfg *c, struct err *e);

struct train_work;
struct train_work *train_work_new(const struct train_cfg *c, struct dev *d,
                                  struct err *e);
void train_work_free(struct train_work *w);
struct dev *train_work_dev(const struct train_work *w);

struct train_layer;
/* Begins a transcoder for `layer` (names it in messages and seeds it). w and
 * its device are borrowed and must outlive it. */
struct train_layer *train_layer_new(const struct train_cfg *c, int layer,
                                    struct train_work *w, struct err *e);
void train_layer_free(struct train_layer *t);

/* n more rows, x [n, d_in] and y [n, d_out] in device memory (y ignored for an
 * autoencoder; may be x). Steps as often as batches fill, at most until
 * n_steps. A value that is not finite is ERR_FORMAT naming layer and row. */
int train_layer_push(struct train_layer *t, const float *x, const float *y,
                     size_t n, struct err *e);

/* The stream has ended: starts from the rows at hand if there were not yet
 * start_tokens, takes the steps that whole batches allow, and, when these were
 * all that was asked for, solves the end's least squares. */
int train_layer_finish(struct train_layer *t, struct err *e);

struct train_stats {		/* of the latest step */
	uint64_t step;		/* steps taken; 0: none yet */
	uint64_t rows;		/* rows gone into steps, outliers included */
	uint64_t outliers;	/* of them left out */
	double lr, loss, fvu, l0, auxk, multi;
	double threshold;	/* mean over latents; TopK: 0 */
	double dead;		/* share of latents that have not fired within
				 * dead_tokens, or ever when fewer were seen */
	double silent;		/* the same within the last 16,384 rows */
};
void train_layer_stats(const struct train_layer *t, struct train_stats *s);
uint64_t train_layer_steps(const struct train_layer *t);
/* Rows it was given: stats.rows and those waiting for a batch. */
uint64_t train_layer_rows(const struct train_layer *t);

/* To be called after every step, with its measurements. */
typedef int train_step_fn(void *ctx, const struct train_stats *s,
                          struct err *e);
void train_layer_on_step(struct train_layer *t, train_step_fn *fn, void *ctx);

/* The transcoder as it stands, plain: normalisation folded in, schedule-free
 * average taken. NULL with ERR_RANGE before the first step. */
struct tc *train_layer_export(struct train_layer *t, struct err *e);

/* Starts from given weights in place of random ones; before the first row. tc
 * is copied; its shape must be cfg's. */
int train_layer_init(struct train_layer *t, const struct tc *from,
                     struct err *e);

/* Everything needed to go on bit for bit, except rows of an unfinished batch:
 * after train_layer_load the next row pushed is row stats.rows of the stream.
 * Load: into a fresh layer of equal cfg; shapes are checked. */
int train_layer_save(struct train_layer *t, const char *path, struct err *e);
int train_layer_load(struct train_layer *t, const char *path, struct err *e);

/* Bytes for one layer and for the shared work; of device memory, but for rows
 * kept for the end (on the host). */
size_t train_layer_bytes(const struct train_cfg *c);
size_t train_work_bytes(const struct train_cfg *c);
/* And for one layer at a time: its end, its export. */
size_t train_turn_bytes(const struct train_cfg *c);
/* And what d itself keeps for the products (dev.h, gemm_keeps), about. */
size_t train_packed_bytes(const struct train_cfg *c, struct dev *d);

#endif
