/*
 * dev_cpu_tc_coarse: bounds of a row's values from a product of integers of 16
 * and of 8 bits, and the encoding of many rows by it.
 *
 * Columns are cut into chunks of 32. Some are wide, held in 16 bits, the others
 * narrow, in 8 (dev_cpu_tc_cols.h chooses), in blocks of two chunks. A row x [d]
 * is held as integers p with a scale s for the wide ones and p' with s' F for the
 * narrow, F an integer of each block's own; a latent's w as q, t and q', t':
 *
 *   x = x^ + a,  x^ = (s p, s' F p'),	w = w^ + c,  w^ = (t q, t' q')
 *   |x . w - (s t p . q + s' t' sum over blocks of F p' . q')|
 *   	<= |a_n| |w_n| + |x^_n| |c_n| + |a_w| |w_w| + |x^_w| |c_w|
 *
 * (2-norms of the narrow part and the wide, Cauchy-Schwarz). The integer products
 * need no rounding:
 *
 *   wide		|p|, |q| <= 46000, |p_i|, |q_i| <= 32100: each partial sum is
 *   		below 2^31 and summed in 32 bits.
 *   narrow	of AVX2: |p'_i|, |q'_i| <= B = 90, and over each half block -
 *   		of 64 columns those at places 0 and 1, or 2 and 3, of four -
 *   		|p'|, |q'| <= 181. The instruction wants one operand from 0 on,
 *   		so that it gets p' + B: two products are at most 2 180 90 <
 *   		2^15 together. Sums of a half block start at -B times the sum
 *   		of q' and run modulo 2^16; they end as p' . q', which is at
 *   		most 181^2 < 2^15. From there on 32 bits: F times the sum of
 *   		two is below F 2^16, and all F of a row together are below
 *   		2^15.
 *   narrow	of VNNI, which sums in 32 bits: |p'_i|, |q'_i| <= 127, and no
 *   		bound on norms; the instruction gets p' + 128. A block's sum,
 *   		below 2^21, is exact in f32, and there it is multiplied and
 *   		added: of n blocks that takes (n + 1) u |x^_n| |w^_n|, which
 *   		the 2 (d + 40) u below has room for beside a dot's d u.
 *
 * What narrow columns are off by is summed when they are rounded: what a bound
 * of it would leave open is nearly twice as much. With u = 2^-24, and |x| u for
 * each of f = g / F, f x, 1 / g and their product, a row and a latent carry
 *
 *   off = 1.002 (|a_n| + 4 u n)
 *   size = 1.002 (n_n + off)
 *
 * with n and n_n upper bounds of |x| and |x_n| (dev_cpu_tc_norm). Wide columns
 * are off by 0.51 s each at most (a half, and 2^15 2^-24 for the product that
 * scales), s = |x| / 45800 unless one column is most of the row. That, a dot's own
 * error (dev_cpu_tc_pick.h) and a dozen roundings on the way to the f32 bounds
 * come together as one product. With v columns wide and
 *
 *   r0 = 0.52 sqrt(v) / 45000 + (d + 40) u
 *   r = the larger of r0 and 0.52 sqrt(v) s / n + (d + 40) u
 *   rest_x = 1.002 n (r_x / r0 + 1/2),	rest_w = 1.002 n (r_w + r0 / 2)
 *
 * rest_x rest_w >= (r_x + r_w) |x| |w|, since (r_x - r0 / 2) (r_w - r0 / 2) >= 0,
 * and
 *
 *   D+- = fl(v +- fl(off_x size_w + size_x off_w + rest_x rest_w)).
 *
 * The norms' 2^-50 cover what underflows: f, f' <= 2^60.
 *
 * At d = 576 wide columns alone leave 5e-4 |x| |w| open, a hundredth of the
 * products' spread, and hardly more than k candidates. Nearly all in 8 bits
 * leave 0.4 of it open; dev_cpu_tc_know.h computes the twice as many values that
 * ask for.
 *
 * Where values need not be exact (struct tc_encode, near) a row's off, size and rest
 * are 0: both bounds are v, nothing is left to compute, and what is selected is TopK
 * of v. Rounding errors being as if at random, v is off by a twentieth of what the
 * bounds would leave open, about, at d = 576.
 *
 * The product of two matrices (struct tc_product), which has no bound to keep, is
 * narrow throughout, and blocks of w's rows have factors, too:
 *
 *   s t sum over blocks of F G p . q
 *
 * Of n blocks F, G <= f = sqrt(32767 / n) rounded down, so that all F G together
 * are below 2^15. The integers of a block want to be apart by
 *
 *   u = max(largest |x_i| / 90, the larger norm of its two halves / 177)
 *
 * and are by s F, with s = (1 + 2^-20) max u / f and F = u / s rounded up. Where
 * numbers fall anywhere between two integers, what an element is off by has a mean
 * of 0 and a standard deviation of
 *
 *   sqrt(sum over blocks of ((s F)^2 |w|^2 + (t G)^2 |x|^2) / 12)
 *
 * (and a term of second order): 0.0137 |x| |w| / sqrt(d) where they are even, of
 * SmolLM2's 0.014 to 0.018. Since u is at most 1/90 of the row's norm, n <= 16 and
 * f >= 45, it is below sqrt(2 / 12) / 90 (1 + 1 / 45) < 0.0047 |x| |w| for any
 * numbers. A column far larger than the others costs its block precision, and no
 * other. What is rounded away of x has a norm of at most
 *
 *   sqrt(64) / 2 sqrt(sum over blocks of (s F)^2) <= 4 / 90 (1 + 4 / 45) |x|
 *
 * so that no element is off by a tenth of |x| |w|.
 *
 * Packing is done anew for each call, as weights change in each step: it
 * reads and writes a weight once against as many products as there are rows.
 *
 * Layout: a group of mr rows of x, or a panel of nr latents, is
 *   wide	int16 [chunk][16][rows][2], columns in pairs as co_pairs says
 *   narrow	int8 [block][16][rows][4]; before each block of a panel what its
 *   	sums start at, [rows] in 4 bytes. There are as many narrow chunks as
 *   	make whole blocks.
 * Missing rows and columns are zeros. Of a product it is, block by block,
 *   group	int16 F [rows][2], int8 [16][rows][4]
 *   panel	what sums start at [rows] in 4 bytes, int16 G [rows][2],
 *   	int8 [16][rows][4]
 */
#ifndef R1_DEV_CPU_TC_COARSE_H
#define R1_DEV_CPU_TC_COARSE_H

#include "dev_cpu_tc_cols.h"
#include "dev_cpu_tc_pick.h"
#include "err.h"

enum {
	TC_PIECE = 1024,	/* values of a product: a panel stays in the */
				/* first cache */
	TC_PIECE_BLOCKS = TC_PIECE / TC_BLOCK,
	TC_COLUMNS = 48		/* packed at once */
};

/* Rows of x, or latents, as integers. */
struct tc_side {
	int16_t *wide;
	int8_t *narrow;
	int16_t *factor;		/* of x's blocks, [block][rows] in 4 */
					/* bytes; w has none */
	float *scale, *narrow_scale;	/* NaN: everything passes */
	float *off, *size, *rest;	/* for the bounds */
};

/* Rows and panels of one item. */
struct tc_scan {
	const struct tc_encode *q;
	const struct tc_cols *cols;
	struct tc_side x;		/* from the first row on */
	size_t first_row, rows;
	struct tc_pick *pick;		/* [rows] */
	struct tc_side w;		/* panels */
	const float *bias;		/* [panels nr] */
	size_t first_latent, panels;
};

/* A product of bytes (dev_cpu_tc_skip.c). */
struct tc_product {
	size_t blocks;			/* at most TC_PIECE_BLOCKS */
	const int8_t *x, *w;		/* groups, panels */
	const float *x_scale, *w_scale;
	size_t rows, cols;		/* of the result */
	float *out;			/* its rows `ld` floats apart */
	size_t ld;
	int add;			/* onto what is there */
};

struct dev_cpu_tc_coarse {
	size_t mr, nr;
	struct tc_narrow narrow;
	/* n rows of x, at most mr, as a group; n latents, at most nr, as a
	 * panel. */
	void (*pack_x)(const struct tc_cols *c, const float *x, size_t n,
	               struct tc_side out);
	void (*pack_w)(const struct tc_cols *c, const float *w, size_t n,
	               struct tc_side out);
	/* Offers every latent of the panels to every row. */
	void (*scan)(const struct tc_scan *s);

	/* For a product: n rows of d values, at most TC_PIECE, ld apart, as a
	 * group or a panel. A scale is NaN where values are not finite or too
	 * large. */
	void (*pack_rows)(const float *x, size_t ld, size_t d, size_t n,
	                  int panel, int8_t *out, float *scale);
	/* Of a block of rows and n columns: what each column's integers want to
	 * be apart, and its sum of squares. */
	void (*measure_columns)(const float *x, size_t ld, size_t rows,
	                        size_t n, float *unit, float *sq);
	/* n columns, at most TC_COLUMNS, of `rows` rows, at most TC_PIECE, as
	 * groups or panels; what was measured of a block lies `apart` behind
	 * what was of the one before. */
	void (*pack_columns)(const float *x, size_t ld, size_t rows, size_t n,
	                     const float *unit, const float *sq, size_t apart,
	                     int panel, int8_t *out, float *scale);
	/* Exact sums of integers, scaled: one product and one multiplication of
	 * scales a value, the same bytes from every table. */
	void (*product)(const struct tc_product *p);
};

/* The table for a vec_level, NULL where none is faster than BLAS: AVX2's below
 * AVX-512, and that where it has VNNI. */
const struct dev_cpu_tc_coarse *dev_cpu_tc_coarse_level(int level);
#if defined(__x86_64__)
extern const struct dev_cpu_tc_coarse dev_cpu_tc_coarse_avx2,
	dev_cpu_tc_coarse_vnni;
#endif

/* Values and bytes that `rows` rows, whole groups, take of either kind. */
static inline size_t tc_wide_values(const struct tc_cols *c, size_t rows)
{
	return rows * c->wide * TC_CHUNK;
}

static inline size_t tc_narrow_bytes(const struct tc_cols *c, size_t rows,
                                     int panel)
{
	return rows * c->narrow * TC_CHUNK +
	       (panel ? rows * c->narrow / 2 * 2 * sizeof(int16_t) : 0);
}

/* Bytes of a product's groups or panels of `rows` rows. */
static inline size_t tc_product_bytes(size_t blocks, size_t rows, int panel)
{
	return rows * blocks * (TC_BLOCK + 4 + (panel ? 4 : 0));
}

/* The numbers that are the factors of `rows` rows. */
static inline size_t tc_factors(const struct tc_cols *c, size_t rows)
{
	return rows * c->narrow;	/* one a block, twice */
}

/* `s` from row `row` on, a group's first. */
static inline struct tc_side tc_side_at(struct tc_side s,
                                        const struct tc_cols *c, size_t row,
                                        int panel)
{
	s.wide += tc_wide_values(c, row);
	s.narrow += tc_narrow_bytes(c, row, panel);
	if (!panel)
		s.factor += tc_factors(c, row);
	s.scale += row;
	s.narrow_scale += row;
	s.off += row;
	s.size += row;
	s.rest += row;
	return s;
}

/* Memory for operands; base NULL: only counted. */
struct tc_room {
	char *base;
	size_t used;
};

static inline void *tc_cut(struct tc_room *r, size_t bytes)
{
	void *p = r->base ? r->base + r->used : NULL;

	r->used += (bytes + 63) / 64 * 64;
	return p;
}

/* Whether q's device has a table and q is of a shape that gains by it. */
int dev_cpu_tc_coarse_fits(const struct tc_encode *q);
/* Bytes that it packs with all columns wide, about the most. */
size_t dev_cpu_tc_coarse_keeps(const struct tc_encode *q);
int dev_cpu_tc_coarse_encode(const struct tc_encode *q, struct err *e);

#endif
