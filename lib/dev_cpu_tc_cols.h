/*
 * dev_cpu_tc_cols: which columns of an encoder's product are held in 8 bits.
 *
 * A narrow column costs a bit more than half of what a wide one does, but each
 * opens the bounds (dev_cpu_tc_coarse.h) and with them the way to candidates
 * that must be computed. How far depends on the largest of the values beside it,
 * since it sets the scale of a block: of a model's activations a few columns are
 * several times the others, so the chunks with the largest go into 16 bits
 * first. Of a few rows and latents the values' spread over latents and the
 * bounds' expected width are worked out, for rounding errors that are even in
 * [-1/2, 1/2]; as many chunks are narrow as keep the width below a share of the
 * spread. The choice makes no difference to any result.
 */
#ifndef R1_DEV_CPU_TC_COLS_H
#define R1_DEV_CPU_TC_COLS_H

#include <stddef.h>
#include <stdint.h>

#include "dev_cpu_tc_pick.h"

enum {
	TC_CHUNK = 32,		/* columns */
	TC_BLOCK = 2 * TC_CHUNK,
	TC_BYTE = 90,		/* a byte's largest size where sums of four are */
	TC_HALF = 177,		/* of 16 bits; norm of half a block then, before */
				/* rounding */
	TC_FACTORS = 32767,	/* of a row's blocks together, at most */
	TC_MAX_IN = 1 << 16
};

struct tc_cols {
	size_t d;
	size_t wide, narrow;			/* chunks; narrow ones are even */
	uint16_t chunk[TC_MAX_IN / TC_CHUNK];	/* the wide ones first */
};

/* How a table holds narrow columns. */
struct tc_narrow {
	double share;		/* dev_cpu_tc_cols_choose */
	int byte, half;		/* an integer's largest size, and of half a */
				/* block the norm, before rounding; 0: any */
};

/* All wide. */
void dev_cpu_tc_cols_wide(struct tc_cols *c, size_t d);
/* As many narrow as keep the bounds' width, above and below a value, under
 * n->share of the values' spread; looks at some of q's x and w. */
void dev_cpu_tc_cols_choose(struct tc_cols *c, const struct tc_encode *q,
                            const struct tc_narrow *n);

#endif
