/*
 * dev_tc: the transcoder part of the device table (dev_ops->tc): exact TopK encoding, sparse
 * decoding, and the step that turns a batch's errors into new weights.
 *
 * Conventions are dev.h's: row-major f32 in device memory, no pointer kept,
 * n = 0 legal, 0 or -1 with ERR_DEV, ERR_MEM or ERR_RANGE; equal bytes for any
 * number of threads. Host memory is said where it is meant.
 *
 * Codes are k slots a row: latents descending by value, ties to the lower
 * latent; a slot past the row's active count holds latent DEV_TC_NONE and
 * value 0. Active means value > 0.
 */
#ifndef R1_DEV_TC_H
#define R1_DEV_TC_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct dev;

#define DEV_TC_NONE UINT32_MAX
#define DEV_TC_TINY 1e-36f

enum { DEV_TC_PARTS = 3 };

struct dev_tc_codes {
	uint32_t *latent;	/* [n, k] */
	float *value;		/* [n, k] */
	size_t n, k;
};

enum dev_tc_rule {
	/* s1 = g, w as it was: for tests of the gradients */
	DEV_TC_GRAD,
	/* Adam: s1 = m, s2 = v (arXiv:1412.6980, dense semantics: a row
	 * without gradient still decays its moments and moves); a moment
	 * within DEV_TC_TINY of 0 becomes 0 */
	DEV_TC_ADAM,
	/* Signum, schedule-free (arXiv:2405.15682): w = y, s1 = z:
	 *   x = (y - (1 - b1) z) / b1;  z -= lr sign(g);
	 *   x += blend (z - x);  y = b1 x + (1 - b1) z */
	DEV_TC_SIGNUM
};

/* One step of an optimiser, bias corrections worked out by the caller. */
struct dev_tc_opt {
	enum dev_tc_rule rule;
	float lr;	/* Adam: lr / (1 - b1^t) */
	float b1, b2;
	float root;	/* Adam: 1 / sqrt(1 - b2^t) */
	float eps;
	float blend;	/* signum: weight of z in the average, 1 / t */
};

/* Weights and the optimiser's two numbers for each (s2 NULL: rule has one). */
struct dev_tc_param {
	float *w, *s1, *s2;
};

/* Codes that share a latent update. Row i was decoded into the row of the
 * output whose gradient dL/dy^ is row g_row + i of g; the encoder gets dL/dvalue
 * = g . w_dec[latent], worked out before w_dec moves, unless decoder_only. */
struct dev_tc_part {
	struct dev_tc_codes codes;
	size_t g_row;
	int decoder_only;
};

struct dev_tc_latents {
	size_t n_latents, d_in, d_out;
	struct dev_tc_param enc;	/* [n_latents, d_in] */
	struct dev_tc_param bias;	/* [n_latents] */
	struct dev_tc_param dec;	/* [n_latents, d_out] */
	uint8_t *live;	/* [n_latents]: has ever had a gradient; others are
			 * at rest (moments 0) and cost nothing */
	int unit_dec;	/* gradient parallel to a decoder row removed, row
			 * brought back to unit norm: sparsify's rule for
			 * autoencoders */
	/* NULL, or [n_latents]: decoder rows take normalised steps (Nagumo and
	 * Noda 1967) in place of the optimiser's; dec has no s1, s2 then:
	 *   power = dec_keep power + sum value^2 over the batch
	 *   w_dec -= dec_rate / (power + dec_ridge) gradient */
	float *power;
	float dec_keep, dec_rate, dec_ridge;
};

struct dev_tc_ops {
	/* TopK_k(relu(x W^T + b)), exactly, of values that the CPU defines as
	 * one rounded sum (dev_cpu_tc_pick.h): the same bytes on every
	 * processor. x [n, d_in], w [n_latents, d_in], b [n_latents]. ids
	 * (device, ascending; or NULL: identity) names the latents of w's rows.
	 * k <= n_latents not required. */
	int (*encode)(struct dev *d, const float *x, size_t n, size_t d_in,
	              const float *w, const float *b, size_t n_latents,
	              const uint32_t *ids, struct dev_tc_codes *out,
	              struct err *e);

	/* The same where values need not be exact. Under DEV_Q8 x and w may be
	 * rounded to 8 and 16 bits, and what comes out is TopK of values that
	 * are off as if at random, by a hundredth of their spread or two
	 * (dev_cpu_tc_coarse.h). */
	int (*encode_near)(struct dev *d, const float *x, size_t n, size_t d_in,
	                   const float *w, const float *b, size_t n_latents,
	                   struct dev_tc_codes *out, struct err *e);

	/* Bytes that the device keeps for packed operands after either (dev.h,
	 * gemm_keeps), about: how many may hang on what is encoded. */
	size_t (*encode_keeps)(struct dev *d, size_t n, size_t d_in,
	                       size_t n_latents, size_t k);

	/* out[n, dim] += sum over slots of value * w[latent] */
	int (*decode)(struct dev *d, const struct dev_tc_codes *c,
	              const float *w, size_t dim, float *out, struct err *e);

	/* slope[n, k] = g[i] . w[latent] (0 in empty slots), g [n, dim] */
	int (*slope)(struct dev *d, const struct dev_tc_codes *c,
	             const float *g, const float *w, size_t dim, float *slope,
	             struct err *e);

	/* The skip connection: out[n, d_out] += x[n, d_in] W^T, w [d_out,
	 * d_in]. Under DEV_Q8 x and w may be rounded to 8 bits, each 64 columns
	 * of a row with a scale of their own. A value is then off as if at
	 * random: in the mean by 0.014 |x[i]| |w[j]| / sqrt(d_in) where
	 * columns are alike, by 0.0047 |x[i]| |w[j]| whatever they are, and
	 * by a tenth at most (dev_cpu_tc_coarse.h). The same bytes on every
	 * processor that rounds. */
	int (*skip_add)(struct dev *d, const float *x, size_t n, size_t d_in,
	                const float *w, size_t d_out, float *out, struct err *e);

	/* Its gradient: out[d_out, d_in] = g^T x, or with add += it, of n
	 * rows that lie `every` rows apart: 0, every, ... of g [, d_out] and x
	 * [, d_in]; rounding as above, by columns. */
	int (*skip_grad)(struct dev *d, const float *g, size_t n, size_t every,
	                 size_t d_out, const float *x, size_t d_in, int add,
	                 float *out, struct err *e);

	/* What least squares wants: xx += x^T x, [d_in, d_in], on and below the
	 * diagonal (above it, anything), and xy += x^T y, [d_in, d_out], of n
	 * rows of x and y [, d_out]; rounding as above, by columns. */
	int (*skip_sums)(struct dev *d, const float *x, size_t n, size_t d_in,
	                 const float *y, size_t d_out, float *xx, float *xy,
	                 struct err *e);

	/* Bytes that the device keeps for packed operands after these, d_in and
	 * d_out either way round. */
	size_t (*skip_keeps)(struct dev *d, size_t n, size_t d_in,
	                     size_t d_out);

	/* Gradients of W_enc, b_enc and W_dec from the parts (up to
	 * DEV_TC_PARTS, equal n), and the optimiser's step on them. x [n,
	 * d_in] is what the encoder saw. */
	int (*step_latents)(struct dev *d, const struct dev_tc_part *parts,
	                    size_t n_parts, const float *x, const float *g,
	                    const struct dev_tc_latents *l,
	                    const struct dev_tc_opt *o, struct err *e);

	/* The optimiser's step on n values with a dense gradient. */
	int (*step)(struct dev *d, const struct dev_tc_param *p,
	            const float *grad, size_t n, const struct dev_tc_opt *o,
	            struct err *e);

	/* sum[dim] (host) = sums of the columns of x [n, dim] */
	int (*col_sum)(struct dev *d, const float *x, size_t n, size_t dim,
	               double *sum, struct err *e);

	/* sq[n] (host) = |x[i] - mean|^2, mean [dim] or NULL: 0 */
	int (*row_sq)(struct dev *d, const float *x, size_t n, size_t dim,
	              const float *mean, double *sq, struct err *e);

	/* dot[n] (host) = a[i] . b[i], rows of dim */
	int (*dots)(struct dev *d, const float *a, const float *b, size_t n,
	            size_t dim, double *dot, struct err *e);

	/* decode's transpose: out[n_latents, dim] += Z^T v, Z [n, n_latents] the
	 * codes' matrix: out[latent] += value * v[row] over all slots, v [n,
	 * dim] */
	int (*scatter)(struct dev *d, const struct dev_tc_codes *c,
	               const float *v, size_t n_latents, size_t dim,
	               float *out, struct err *e);

	/* Both, Z v never in memory: out += Z^T Z v, both [n_latents, dim] and
	 * not the same */
	int (*gram)(struct dev *d, const struct dev_tc_codes *c, const float *v,
	            size_t n_latents, size_t dim, float *out, struct err *e);

	/* The matrix itself: out[n_latents, n_latents] += Z^T Z */
	int (*square)(struct dev *d, const struct dev_tc_codes *c,
	              size_t n_latents, float *out, struct err *e);

	/* out[i] = (x[rows[i]] - mean) * scale, i < n; rows (host, or NULL:
	 * i), mean [dim] (or NULL: 0). out may be x when
	 * rows is NULL. */
	int (*centre)(struct dev *d, const float *x, const uint32_t *rows,
	              size_t n, size_t dim, const float *mean, float scale,
	              float *out, struct err *e);

	/* out[i] = row, n rows of dim */
	int (*fill_rows)(struct dev *d, const float *row, size_t n,
	                 size_t dim, float *out, struct err *e);

	/* out = a * scale, n values; a may be out */
	int (*scale)(struct dev *d, const float *a, float scale, size_t n,
	             float *out, struct err *e);

	/* out[i] = w[ids[i]], n rows of dim; ids in device memory */
	int (*gather)(struct dev *d, const float *w, const uint32_t *ids,
	              size_t n, size_t dim, float *out, struct err *e);

	/* Solves (A + ridge I) W^T = B for W [d_out, d_in]; a [d_in, d_in]
	 * symmetric and b [d_in, d_out] are spoilt. ERR_RANGE when A + ridge I
	 * is not positive definite. Computed in double. */
	int (*ridge)(struct dev *d, const float *a, const float *b,
	             size_t d_in, size_t d_out, double ridge, float *w,
	             struct err *e);

	/* last[latent] = now for every active slot; returns their number in
	 * *n_active (host). */
	int (*mark)(struct dev *d, const struct dev_tc_codes *c, uint64_t now,
	            uint64_t *last, uint64_t *n_active, struct err *e);
};

#endif
