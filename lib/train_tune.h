/*
 * train_tune: the transcoders of all layers learning together from what the
 * model predicts with them in the places of its MLPs.
 *
 * A step takes a batch of whole sequences. The model runs as it is, then with
 * every MLP replaced; the loss is the mean of KL(as it is || replaced) over
 * predictions, sparsify's "kl". Its gradient goes back through the replaced
 * model (model_back.h): attention, norms, the skip connections and the active
 * latents of later layers. The optimiser is the set's, on weights normalised as
 * train.h says; the statistics for that come from the first batch.
 *
 * Positions before `skip` and outliers keep their MLP's output, which is then
 * held fixed: nothing goes back through it.
 */
#ifndef R1_TRAIN_TUNE_H
#define R1_TRAIN_TUNE_H

#include "model.h"
#include "train_set.h"

struct train_tune;

/* s has every layer of m, plain TopK transcoders, and weights given by
 * train_set_init or train_set_resume; else ERR_RANGE or, by train_tune_step,
 * an error of the start. Batches hold up to s's train.batch rows. s and m are
 * borrowed. */
struct train_tune *train_tune_new(struct train_set *s, struct model *m,
                                  size_t skip, struct err *e);
void train_tune_free(struct train_tune *t);

/* One step of every layer; stats.loss is the divergence, fvu each layer's own
 * on what it read. A batch without predictions is passed over. */
int train_tune_step(struct train_tune *t, const struct model_batch *b,
                    struct err *e);

#endif
