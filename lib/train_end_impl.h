/* train_end_impl: what train_end*.c share. */
#ifndef R1_TRAIN_END_IMPL_H
#define R1_TRAIN_END_IMPL_H

#include "train_impl.h"

enum {
	TRAIN_END_CHUNK = 4096,	/* rows that are in memory at a time, or a step's,
				 * if these are more */
	TRAIN_END_DENSE = 6144,	/* latents up to which their matrix is formed */
	TRAIN_END_BLOCK = 192	/* columns of it eliminated at a time */
};

struct end {
	struct train_layer *t;
	const struct dev_ops *d;
	struct dev *dev;
	size_t d_in, d_out, lat, k;
	int skip;
	size_t n, fit;		/* rows; of them solved on, the first */
	/* device */
	float *x, *y, *q;	/* of a chunk: [, d_in], [, d_out] twice */
	struct dev_tc_codes codes;	/* of all rows; scaled in the end */
	float *bias, *theta;	/* [lat], device and host; NULL: TopK */
	uint32_t *ids;		/* [lat] 0, 1, ... */
	float *diag;		/* [lat] */
	/* over the fit rows, x about its mean there, columns of codes scaled to
	 * unit length, e what y is beside the trained b_dec and skip connection: */
	float *ones;		/* [lat] sums of codes */
	float *c, *xx, *xe;	/* [lat, d_in] codes against x; x against x and
				 * [d_in, d_out] against e */
	float *mean_x, *mean_e;
	float *m;		/* [d_in, d_in] inverse of xx with its ridge */
	float *s, *tmp;		/* [d_in, d_out] */
	float *u, *p, *r, *ap;	/* [lat, d_out]; p, ap as wide as x, too */
	float *row;		/* [max(d_in, d_out)] */
	/* host */
	double *sum;		/* [max(chunk, lat, d_in, d_out)] */
	double *power, *first;	/* [lat] sums of squares and of codes */
	double *sum_x, *sum_y;	/* [d_in], [d_out] */
	float *lambda, *scale;	/* [lat] ridge and length of scaled columns */
	float *one;		/* [max(d_in, d_out, lat)] */
	uint32_t *latent;	/* [n, k] */
	float *value;
};

/* Where in the kept rows, oldest first, a chunk begins: so many steps and rows on;
 * its rows. {0}: before the first. */
struct train_end_chunk {
	size_t slot, at, n;
};

/* train_end_keep.c. Rows kept in all, and in a chunk, at most. */
size_t train_end_rows(const struct train_cfg *c);
size_t train_end_chunk(const struct train_cfg *c);
/* The next chunk's x and y, whole steps; c->n 0: there is none. An autoencoder's
 * encoder sees y less b_dec. */
int train_end_read(struct end *s, struct train_end_chunk *c, struct err *e);

/* Device memory, zeroed. */
float *train_end_give(struct end *s, size_t rows, size_t cols, struct err *e);

/* Of the rows [at, at + n) */
struct dev_tc_codes train_end_codes(const struct end *s, size_t at, size_t n);
/* a . b, both [n, d_out] */
int train_end_dot(struct end *s, const float *a, const float *b, size_t n,
                  double *out, struct err *e);
/* out += values (host, [lat]) * v, both [lat, dim] */
int train_end_diagonal(struct end *s, const float *values, const float *v,
                       size_t dim, float *out, struct err *e);
/* out = the trained decoder for scaled codes, [lat, d_out]. */
int train_end_decoder(struct end *s, float *out, struct err *e);

/* train_end_solve.c. Of the sums over the fit rows of codes and of x and y as they
 * are, in ap [lat, d_in], xx, p [lat, d_out] and xe, power, first, sum_x and sum_y:
 * u and, for inputs, s = m tmp; row: the constant. Of xx what is on and below the
 * diagonal is read. Scales the codes. */
int train_end_equations(struct end *s, struct err *e);

/* train_end_dense.c. Values in device memory that it takes beside what is there. */
size_t train_end_dense_values(size_t lat, size_t d_out);
/* What a device keeps for its matrix products (train_packed_bytes). */
size_t train_end_dense_keeps(struct dev *d, size_t lat, size_t d_in,
                             size_t d_out);
/* u = A^-1 r, A [lat, lat] being codes against codes with their ridge, less what S
 * and c take; ap is spoilt. ERR_RANGE where f32 does not hold A positive definite. */
int train_end_dense(struct end *s, struct err *e);

#endif
