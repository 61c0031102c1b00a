/* train_end_impl: what train_end*.c share. */
#ifndef R1_TRAIN_END_IMPL_H
#define R1_TRAIN_END_IMPL_H

#include "train_impl.h"

enum { TRAIN_END_CHUNK = 512 };	/* rows decoded and put back together, so
					 * that they stay in cache */

/* A sparse matrix by rows, device memory (dev_tc_ops.combine). */
struct sparse {
	uint32_t *start, *row;
	float *value;
};

struct end {
	struct train_layer *t;
	const struct dev_ops *d;
	struct dev *dev;
	size_t d_in, d_out, lat, k;
	int skip;
	size_t n, fit;		/* rows; of them solved on, the first */
	size_t chunks;		/* of the fit rows */
	/* device */
	float *x, *e, *q;	/* [n, d_in], [n, d_out] error, [TRAIN_END_CHUNK, d_out] */
	struct dev_tc_codes codes;
	float *bias, *theta;	/* [lat], device and host; NULL: TopK */
	struct sparse by_latent, diag;	/* scaled codes of the fit rows by
				 * chunk and latent, rows from the chunk's first;
				 * one number for each latent */
	float *ones;		/* [lat] sums of scaled codes */
	float *c, *m;		/* [lat, d_in] codes against x; [d_in, d_in]
				 * inverse of x against x with its ridge */
	float *xe, *s, *tmp;	/* [d_in, d_out] */
	float *u, *p, *r, *ap;	/* [lat, d_out] */
	float *row;		/* [max(d_in, d_out)] */
	/* host */
	double *sum;		/* [max(n, lat, d_in, d_out)] */
	float *lambda, *scale;	/* [lat] ridge and length of scaled columns */
	float *one;		/* [max(d_in, d_out, lat)] */
	uint32_t *latent;	/* [n, k] */
	float *value;
};

/* Device memory, zeroed. */
float *train_end_give(struct end *s, size_t rows, size_t cols, struct err *e);

/* Rows of the chunk that begins at `at`, up to `end`. */
static inline size_t train_end_chunk(size_t at, size_t end)
{
	return end - at < TRAIN_END_CHUNK ? end - at : TRAIN_END_CHUNK;
}

/* q += w's rows for the codes of rows [at, at + n) */
int train_end_decode(struct end *s, const float *w, size_t at, size_t n,
                     struct err *e);
/* a . b, both [n, d_out] */
int train_end_dot(struct end *s, const float *a, const float *b, size_t n,
                  double *out, struct err *e);
/* out += values (host, [lat]) * v, both [lat, d_out] */
int train_end_diagonal(struct end *s, const float *values, const float *v,
                       float *out, struct err *e);
/* Column means of the fit rows of [n, dim] into `mean` (device). */
int train_end_means(struct end *s, const float *of, size_t dim, float *mean,
                    struct err *e);

/* train_end_solve.c: from x about its mean, e and codes, whose values it scales
 * by `scale`: u and, for inputs, s = m tmp; row: the constant. */
int train_end_equations(struct end *s, struct err *e);

#endif
