/*
 * eval_stats: running sums of one layer's reconstructions y^ of y.
 *
 * Sums are taken in double about the first row counted, column by column and
 * row after row, so that neither a large mean nor the number of threads
 * shows in the result.
 */
#ifndef R1_EVAL_STATS_H
#define R1_EVAL_STATS_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "par.h"
#include "tc.h"

struct eval_stats {
	size_t dim, n_latents;
	double *shift;		/* [dim] the first row counted */
	double *sum, *sq;	/* [dim] of y - shift, and its square */
	double *miss;		/* [dim] of (y - y^)^2 */
	uint64_t n;		/* rows */
	uint64_t *fired;	/* [n_latents] rows on which it was active */
	uint64_t n_active;
	double act_sum;
	float act_max;
};

int eval_stats_init(struct eval_stats *s, size_t dim, size_t n_latents,
                    struct err *e);
void eval_stats_free(struct eval_stats *s);

/* Adds those of n rows y and y^ [n, dim] (host) whose keep[i] is not 0, with
 * their codes. p may be NULL. */
void eval_stats_add(struct eval_stats *s, struct par *p, const float *y,
                    const float *y_hat, const uint8_t *keep, size_t n,
                    const struct tc_codes *codes);

/* sum |y - y^|^2 / sum |y - mean y|^2; NaN when y did not vary. */
double eval_stats_fvu(const struct eval_stats *s);
/* out[dim] = mean of y */
void eval_stats_mean(const struct eval_stats *s, float *out);

#endif
