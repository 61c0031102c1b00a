/*
 * outlier: rows whose norms are out of all proportion.
 *
 * Attention sinks (the first token of a sequence, here and there a delimiter)
 * have MLP outputs hundreds of times longer than any other; a few of them rule
 * every mean and every sum of squares. The rule: a row is an outlier when its
 * norm is more than `factor` times the running median, that of all rows so far
 * with its own block. The median is read off a histogram with 16 bins for each
 * doubling of the squared norm, so it is right to 2.2 % and needs no row twice.
 */
#ifndef R1_OUTLIER_H
#define R1_OUTLIER_H

#include <stddef.h>
#include <stdint.h>

enum { OUTLIER_BINS = 4096 };

/* {0} has seen nothing. bin is all there is to keep. */
struct outlier {
	uint64_t bin[OUTLIER_BINS];
};

/* Takes n more squared norms; those that are not finite are passed over. */
void outlier_add(struct outlier *o, const double *sq, size_t n);

/* The squared norm above which a row is an outlier; INFINITY (none is) with
 * factor 0, before the first row, and where the median is 0. */
double outlier_limit(const struct outlier *o, double factor);

#endif
