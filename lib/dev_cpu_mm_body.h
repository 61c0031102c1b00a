/*
 * dev_cpu_mm_body: the loops of struct dev_cpu_mm, compiled once per
 * instruction set by a file that defines VEC_W, MM_MR (rows of a tile), MM_TABLE
 * and mm_* (fused multiply-add, maximum, broadcast, parts of a register) first.
 */
#ifndef R1_DEV_CPU_MM_BODY_H
#define R1_DEV_CPU_MM_BODY_H

#include <math.h>
#include <string.h>

#include "dev_cpu_mm.h"
#include "dev_cpu_flip.h"

#ifdef VEC_W

enum {
	MM_NR = 2 * VEC_W,
	MM_AHEAD = 256		/* floats of the left operand fetched ahead */
};

INLINE vf mm_load(const float *p)
{
	return *(const vf_mem *)p;
}

INLINE void mm_store(float *p, vf v)
{
	*(vf_mem *)p = v;
}

/* ---- packing ---- */

/* The i-th of n columns of `width` lanes, `step` floats apart, written one after
 * the other: a whole register while what is behind the column is overwritten
 * by those that follow. (Stores under a mask are slow on some processors.) */
INLINE void put_column(float *out, size_t width, size_t step, size_t i, size_t n,
                       vf v)
{
	if (width == VEC_W || (n - i) * step >= VEC_W)
		mm_store(out + i * step, v);
	else
		mm_store_n(out + i * step, width, v);
}

/* Rows x[0..n) of k values each become columns of `width` lanes, width <=
 * VEC_W, `step` floats apart; step is width or width VEC_W. */
INLINE void pack_rows(const float *const *x, size_t n, size_t k, size_t width,
                      size_t step, float *out)
{
	vf r[VEC_W];
	size_t i, j;

	for (j = 0; j < k; j += VEC_W) {
		size_t cols = k - j < VEC_W ? k - j : VEC_W;

		for (i = 0; i < VEC_W; i++)
			r[i] = i < n ? mm_load_n(x[i] + j, cols) : splat(0);
		flip(r);
		for (i = 0; i < cols; i++)
			put_column(out, width, step, j + i, k, r[i]);
	}
}

static void pack_strided(const float *x, size_t ld, size_t n, size_t k,
                         size_t width, size_t step, float *out)
{
	const float *row[VEC_W];
	size_t i;

	for (i = 0; i < n; i++)
		row[i] = x + i * ld;
	pack_rows(row, n, k, width, step, out);
}

static void body_pack_left(const float *x, size_t ld, size_t n, size_t k,
                           float *out)
{
	pack_strided(x, ld, n, k, MM_MR, MM_MR, out);
}

static void body_pack_right(const float *w, size_t ld, size_t n, size_t k,
                            float *out)
{
	size_t low = n < VEC_W ? n : VEC_W;

	pack_strided(w, ld, low, k, VEC_W, MM_NR, out);
	pack_strided(w + low * ld, ld, n - low, k, VEC_W, MM_NR, out + VEC_W);
}

/* Rows of x are read from end to end, and each group gets a column. */
static void body_pack_left_columns(const float *x, size_t ld, size_t n,
                                   size_t k, float *out)
{
	size_t i, j;

	for (j = 0; j < k; j++, x += ld)
		for (i = 0; i < n; i += MM_MR)
			put_column(out + i * k, MM_MR, MM_MR, j, k,
			           mm_load_n(x + i, n - i < MM_MR ? n - i
			                     : MM_MR));
}

static void body_pack_right_columns(const float *x, size_t ld, size_t n,
                                    size_t k, float *out)
{
	size_t i, j;

	for (j = 0; j < k; j++, x += ld, out += MM_NR)
		for (i = 0; i < n; i += MM_NR) {
			size_t left = n - i, low = left < VEC_W ? left : VEC_W;
			float *to = out + i * k;

			mm_store(to, mm_load_n(x + i, low));
			mm_store(to + VEC_W, left > VEC_W ?
			         mm_load_n(x + i + VEC_W, left < MM_NR ?
			                   left - VEC_W : VEC_W) : splat(0));
		}
}

static void body_pack_values(const float *v, size_t ld, size_t n, size_t dim,
                             float *out)
{
	size_t d, j;

	for (d = 0; d < dim; d += MM_MR) {
		size_t width = dim - d < MM_MR ? dim - d : MM_MR;

		for (j = 0; j < n; j++)
			put_column(out, width, width, j, n,
			           mm_load_n(v + j * ld + d, width));
		out += n * width;
	}
}

/* ---- products ---- */

/* c[rows][MM_NR] = or += left right^T; rows a constant where this is inlined */
INLINE void tile(int rows, const float *a, const float *b, size_t k, float *c,
                 size_t ldc, int add)
{
	vf s[MM_MR][2];

	_Pragma("GCC unroll 16")
	for (int i = 0; i < rows; i++) {
		__builtin_prefetch(c + (size_t)i * ldc, 1);
		__builtin_prefetch(c + (size_t)i * ldc + MM_NR - 1, 1);
		s[i][0] = s[i][1] = splat(0);
	}
	_Pragma("GCC unroll 4")
	for (size_t j = 0; j < k; j++) {
		vf b0 = mm_load(b), b1 = mm_load(b + VEC_W);

		__builtin_prefetch(a + MM_AHEAD);
		_Pragma("GCC unroll 16")
		for (int i = 0; i < rows; i++) {
			vf x = mm_one(a + i);

			s[i][0] = mm_fma(x, b0, s[i][0]);
			s[i][1] = mm_fma(x, b1, s[i][1]);
		}
		a += rows;
		b += MM_NR;
	}
	_Pragma("GCC unroll 16")
	for (int i = 0; i < rows; i++) {
		float *p = c + (size_t)i * ldc;

		if (add) {
			s[i][0] += mm_load(p);
			s[i][1] += mm_load(p + VEC_W);
		}
		mm_store(p, s[i][0]);
		mm_store(p + VEC_W, s[i][1]);
	}
}

/* A tile that reaches over the result's edge. */
static void edge_tile(const float *a, const float *b, size_t k, size_t m,
                      size_t n, float *c, size_t ldc, int add)
{
	float t[MM_MR * MM_NR];
	size_t i, j;

	tile(MM_MR, a, b, k, t, MM_NR, 0);
	for (i = 0; i < m; i++)
		for (j = 0; j < n; j++)
			c[i * ldc + j] = t[i * MM_NR + j] +
				(add ? c[i * ldc + j] : 0.0f);
}

static void body_product_f32(const float *left, const float *right,
                             size_t right_step, size_t m, size_t n, size_t k,
                             float *c, size_t ldc, int add)
{
	size_t i, j;

	for (j = 0; j < n; j += MM_NR, right += right_step)
		for (i = 0; i < m; i += MM_MR) {
			const float *a = left + i * k;
			float *to = c + i * ldc + j;

			if (m - i >= MM_MR && n - j >= MM_NR)
				tile(MM_MR, a, right, k, to, ldc, add);
			else
				edge_tile(a, right, k, m - i < MM_MR ? m - i
				          : MM_MR, n - j < MM_NR ? n - j
				          : MM_NR, to, ldc, add);
		}
}

/* ---- attention ---- */

/*
 * Queries are columns: the scores of a block of keys are tiles s[key][query],
 * their softmax goes down the columns with one query a lane, and what it gives
 * is the right operand of the product with the values as it stands.
 */

/* x where a query sees the key, else instead. */
INLINE vf mm_seen(const uint32_t *seen, size_t key, vf x, float instead)
{
	vi see;

	memcpy(&see, seen, sizeof(see));
	return pick(see > (int32_t)key, x, splat(instead));
}

/* s[0..n)[MM_NR], keys from k0 on -> exp(s - max), 0 where a query does not see
 * the key; max, sum and the factor for what came before, per lane. */
static void soften(float *s, size_t n, size_t k0, const uint32_t *seen,
                   float *max, float *sum, float *shrink)
{
	size_t all = seen[0] > k0 ? seen[0] - k0 : 0, j, u;
	vf m[2], was[2], total[2];

	if (all > n)
		all = n;	/* keys that every query sees */
	m[0] = was[0] = mm_load(max);
	m[1] = was[1] = mm_load(max + VEC_W);
	for (j = 0; j < n; j++) {	/* a NaN is passed over here */
		vf a = mm_load(s + j * MM_NR), b = mm_load(s + j * MM_NR +
		                                           VEC_W);

		if (j >= all) {
			a = mm_seen(seen, k0 + j, a, -INFINITY);
			b = mm_seen(seen + VEC_W, k0 + j, b, -INFINITY);
		}
		m[0] = larger(a, m[0]);
		m[1] = larger(b, m[1]);
	}
	for (u = 0; u < 2; u++) {
		vf less = vexp(was[u] - m[u]);

		total[u] = mm_load(sum + u * VEC_W) * less;
		mm_store(shrink + u * VEC_W, less);
		mm_store(max + u * VEC_W, m[u]);
	}
	for (j = 0; j < n; j++) {
		vf a = vexp(mm_load(s + j * MM_NR) - m[0]);
		vf b = vexp(mm_load(s + j * MM_NR + VEC_W) - m[1]);

		if (j >= all) {
			a = mm_seen(seen, k0 + j, a, 0);
			b = mm_seen(seen + VEC_W, k0 + j, b, 0);
		}
		mm_store(s + j * MM_NR, a);
		mm_store(s + j * MM_NR + VEC_W, b);
		total[0] += a;
		total[1] += b;
	}
	mm_store(sum, total[0]);
	mm_store(sum + VEC_W, total[1]);
}

/* acc[dim][MM_NR] = acc * shrink + values s, n keys from k0 on */
static void gather(float *acc, size_t dim, const float *values, size_t n_keys,
                   size_t k0, const float *s, size_t n, const float *shrink)
{
	size_t d, left;

	for (d = 0; k0 > 0 && d < dim; d++) {
		float *p = acc + d * MM_NR;

		mm_store(p, mm_load(p) * mm_load(shrink));
		mm_store(p + VEC_W, mm_load(p + VEC_W) *
		         mm_load(shrink + VEC_W));
	}
#define TILE(rows) tile(rows, v, s, n, acc + d * MM_NR, MM_NR, k0 > 0)
	for (d = 0; d < dim; d += MM_MR) {
		const float *v;

		left = dim - d < MM_MR ? dim - d : MM_MR;
		v = values + d * n_keys + k0 * left;
		switch (left) {
		case 1: TILE(1); break;
		case 2: TILE(2); break;
		case 3: TILE(3); break;
		case 4: TILE(4); break;
		case 5: TILE(5); break;
		case 6: TILE(6); break;
#if MM_MR > 6
		case 7: TILE(7); break;
		case 8: TILE(8); break;
		case 9: TILE(9); break;
		case 10: TILE(10); break;
		case 11: TILE(11); break;
		case 12: TILE(12); break;
		case 13: TILE(13); break;
		case 14: TILE(14); break;
#endif
		}
	}
#undef TILE
}

/* out[lane] = acc's column / sum */
static void put_rows(const struct dev_cpu_mm_queries *a, const float *acc,
                     const float *sum)
{
	vf r[VEC_W];
	size_t u, d, i;

	for (u = 0; u < MM_NR && u < a->n; u += VEC_W)
		for (d = 0; d < a->d_head; d += VEC_W) {
			size_t n = a->d_head - d;

			for (i = 0; i < VEC_W; i++)
				r[i] = i < n ? mm_load(acc + (d + i) * MM_NR +
				                       u) / mm_load(sum + u)
				             : splat(0);
			flip(r);
			for (i = 0; i < VEC_W && u + i < a->n; i++)
				mm_store_n(a->out[u + i] + d, n, r[i]);
		}
}

static void body_attend(const struct dev_cpu_mm_queries *a, const float *keys,
                        const float *values, size_t n_keys, float *scratch)
{
	size_t dh = a->d_head, all = a->seen[a->n - 1], k0, n, i;
	size_t low = a->n < VEC_W ? a->n : VEC_W;
	float *q = scratch, *acc = q + dh * MM_NR, *s = acc + dh * MM_NR;
	float max[MM_NR], sum[MM_NR], shrink[MM_NR];
	uint32_t seen[MM_NR];

	for (i = 0; i < MM_NR; i++) {
		max[i] = -INFINITY;
		sum[i] = 0;
		seen[i] = a->seen[i < a->n ? i : a->n - 1];
	}
	pack_rows(a->q, low, dh, VEC_W, MM_NR, q);
	pack_rows(a->q + low, a->n - low, dh, VEC_W, MM_NR, q + VEC_W);
	for (i = 0; i < dh * MM_NR; i += VEC_W)
		mm_store(q + i, mm_load(q + i) * a->scale);
	for (k0 = 0; k0 < all; k0 += MM_KEYS) {
		n = all - k0 < MM_KEYS ? all - k0 : MM_KEYS;
		for (i = 0; i < n; i += MM_MR)
			tile(MM_MR, keys + (k0 + i) * dh, q, dh, s + i * MM_NR,
			     MM_NR, 0);
		soften(s, n, k0, seen, max, sum, shrink);
		gather(acc, dh, values, n_keys, k0, s, n, shrink);
	}
	put_rows(a, acc, sum);
}

const struct dev_cpu_mm MM_TABLE = {
	.mr = MM_MR,
	.nr = MM_NR,
	.pack_left = body_pack_left,
	.pack_right = body_pack_right,
	.pack_left_columns = body_pack_left_columns,
	.pack_right_columns = body_pack_right_columns,
	.product = body_product_f32,
	.pack_values = body_pack_values,
	.attend = body_attend,
};

#endif
#endif
