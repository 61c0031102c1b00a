/* dev_cpu_linear: one call of linear, and its weights cut into pieces, for the
 * ways it can be done (dev_cpu_linear.c, dev_cpu_q8.c). */
#ifndef R1_DEV_CPU_LINEAR_H
#define R1_DEV_CPU_LINEAR_H

#include "dev_cpu.h"

struct linear {
	struct dev_cpu *dev;
	const float *x;
	size_t n, d_in;
	const struct dev_linear *l;
	size_t count;
};

/* Item i of the weights cut into pieces of `piece` rows, n_parts items a
 * piece: the weight, the first row of its piece and the part. */
const struct dev_linear *dev_cpu_linear_piece(const struct linear *g,
                                              size_t item, size_t piece,
                                              size_t n_parts, size_t *row,
                                              size_t *part);
size_t dev_cpu_linear_pieces(const struct linear *g, size_t piece);
/* How large pieces are to be: at most `most` rows, both multiples of nr; where
 * all are one weight's about alike, since half of one would leave threads waiting
 * for the last. */
size_t dev_cpu_linear_cut(const struct linear *g, size_t most, size_t nr);
/* Pieces of weights packed at a time: about `values`, in rows of d_in, `piece` of
 * them to a piece; at least one, at most all. */
size_t dev_cpu_linear_round(size_t values, size_t pieces, size_t piece,
                            size_t d_in);

/* dev_cpu_q8.c: whether this call is one for rounded rows, what it packs, in
 * bytes, and the call. */
int dev_cpu_q8_fits(const struct linear *g);
size_t dev_cpu_q8_keeps(const struct linear *g);
int dev_cpu_q8_linear(const struct linear *g, struct err *e);

#endif
