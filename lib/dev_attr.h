/*
 * dev_attr: the attribution part of the device table (dev_ops->attr): a model
 * whose attention patterns and norm scales are frozen is linear, and these are
 * the steps of going backwards through it that are no matrix product.
 *
 * Conventions are dev.h's: row-major f32 in device memory, no pointer kept,
 * n = 0 legal, 0 or -1 with ERR_DEV, ERR_MEM or ERR_RANGE; equal bytes for any
 * number of threads. Gradients of `rows` targets lie position by position:
 * [n, rows, dim], so that what belongs to one position is one matrix.
 */
#ifndef R1_DEV_ATTR_H
#define R1_DEV_ATTR_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct dev;

/* Vectors that write to the stream: row[i] of a table times value[i], those of
 * position j being first[j] up to, not including, first[j + 1]. */
struct dev_attr_src {
	const size_t *first;	/* host, n + 1; first[0] may be above 0 */
	const uint32_t *row;	/* device, indexed by the numbers in first */
	const float *value;	/* device, the same */
};

struct dev_attr_ops {
	/* p[n_heads, n, n]: row i of a head is its attention over positions
	 * 0..i, softmax(scale q k^T); zeros behind. q [n, n_heads, d_head], k
	 * [n, n_kv, d_head], of one sequence from its first position on. */
	int (*patterns)(struct dev *d, const float *q, const float *k,
	                size_t n, size_t n_heads, size_t n_kv, size_t d_head,
	                float scale, float *p, struct err *e);

	/* The way back through patterns p [n_heads, n, n]: dv[j] = sum over
	 * i >= j and the heads h that share a value head of p[h][i][j] dz[i].
	 * dz [n, rows, n_heads, d_head], dv [n, rows, n_kv, d_head]. */
	int (*values_back)(struct dev *d, const float *p, const float *dz,
	                   size_t n, size_t rows, size_t n_heads, size_t n_kv,
	                   size_t d_head, float *dv, struct err *e);

	/* The way forward: out[i] = sum over j <= i of p[h][i][j] v[j]. v [n,
	 * n_kv, d_head], out [n, n_heads, d_head]. */
	int (*values)(struct dev *d, const float *p, const float *v, size_t n,
	              size_t n_heads, size_t n_kv, size_t d_head, float *out,
	              struct err *e);

	/* out[i] = x[i] s[i] w: n rows of dim, s [n], w [dim] */
	int (*scale_rows)(struct dev *d, const float *x, const float *s,
	                  const float *w, size_t n, size_t dim, float *out,
	                  struct err *e);

	/* y[j][r] += s[j] x[j][r]: x, y [n, rows, dim], s [n] */
	int (*add_scaled)(struct dev *d, const float *x, const float *s,
	                  size_t n, size_t rows, size_t dim, float *y,
	                  struct err *e);

	/* What sources give to targets. For position j with m sources, out
	 * receives a block [rows, m + 1] behind those of earlier positions:
	 * value (g[j][r] . w[row]) for each source, then g[j][r] . extra[j].
	 * g [n, rows, dim], w [any, dim] (unread without sources: s NULL),
	 * extra [n, dim]. */
	int (*contract)(struct dev *d, const float *g, size_t n, size_t rows,
	                size_t dim, const struct dev_attr_src *s,
	                const float *w, const float *extra, float *out,
	                struct err *e);
};

#endif
