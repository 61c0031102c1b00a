/* train_first: a layer's first encoder and decoder rows. */
#ifndef R1_TRAIN_FIRST_H
#define R1_TRAIN_FIRST_H

#include "train_impl.h"

/* Held rows, and how likely each is drawn: sum[i] - sum[i - 1] of sum[n - 1]. */
struct train_first_rows {
	uint32_t *row;
	double *sum;
	size_t n;
};

/* Encoder rows drawn as the recipe says, unit or nn.Linear's. near not NULL: then
 * cfg.near of a row's direction becomes that of one of those inputs about their
 * mean, so that it fires on something there is; the norm is cfg.row_norm, for
 * shorter rows learn faster against the decoder, and leave more latents behind. An
 * autoencoder's decoder rows are their directions. */
int train_first(struct train_layer *t, const struct train_first_rows *near,
                struct err *e);

/* v = v / |v| * norm; 0 stays */
void train_to_norm(float *v, size_t n, double norm);

#endif
