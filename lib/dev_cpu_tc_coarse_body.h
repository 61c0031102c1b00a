/*
 * dev_cpu_tc_coarse_body: the loops of struct dev_cpu_tc_coarse, compiled once
 * per instruction set by a file that first defines
 *
 *   VEC_W, CO_MR, CO_TABLE	CO_MR: rows of a tile
 *   co_one		four bytes in every lane
 *   co_dot		accumulators plus products of pairs
 *   co_not_below	a bit a lane
 *   co_bytes		2 VEC_W values and as many others, scaled, as bytes, a number
 *   		added, and the squares of what they are off by where there is
 *   		room for them
 *   co_start		takes a number times some bytes off sums
 *   co_narrow		adds a row's products of bytes with both halves of a panel
 *   co_times		products of two rows' factors
 *   co_widen		sums times factors, in 32 bits
 *
 * Sums of bytes' products are of a type of its own, a lane's one or, in 16 bits,
 * two. For narrow columns there are, besides,
 *
 *   CO_NARROW, CO_TOP, CO_HALF	struct tc_narrow's; CO_HALF may be left out
 *   CO_OFFSET		what makes x's bytes numbers from 0 on
 *   co_acc		a vector of sums of blocks
 *   co_kept, co_keep	four bytes, and a block's factor as such
 *   co_join		adds a block's sums, times its factor, to those
 */
#ifndef R1_DEV_CPU_TC_COARSE_BODY_H
#define R1_DEV_CPU_TC_COARSE_BODY_H

#include <math.h>
#include <string.h>

#include "dev_cpu.h"
#include "dev_cpu_tc_coarse.h"
#include "dev_cpu_flip.h"

#ifdef VEC_W

enum { CO_NR = 2 * VEC_W };

typedef vi vi_mem __attribute__((aligned(4), may_alias));

#ifndef CO_HALF
#define CO_HALF 0
#endif

#define co_quads(x, f, offset) co_bytes(x, (x) + 2 * VEC_W, f, offset, NULL)

/* ---- packing ---- */

/* `width` values of a row, of which n are there; t: room for a copy. */
INLINE const float *co_part(const float *x, size_t n, size_t width, float *t)
{
	if (n >= width)
		return x;
	memset(t, 0, width * sizeof(*t));
	memcpy(t, x, n * sizeof(*t));
	return t;
}

/* The columns of a chunk of row x, or of a copy in t where some are missing. */
INLINE const float *co_chunk(const struct tc_cols *c, size_t i, const float *x,
                             float t[TC_CHUNK])
{
	size_t at = c->chunk[i] * (size_t)TC_CHUNK;

	return co_part(x + at, c->d - at, TC_CHUNK, t);
}

/* What sets the scales of some columns: sum of squares, largest value, and the
 * largest sum of squares of a half block, where it is asked for. */
struct co_sizes {
	float sq, top, half;
};

typedef float v8 __attribute__((vector_size(32)));
typedef int32_t v8i __attribute__((vector_size(32)));

INLINE v8 co_max8(v8 a, v8 b)
{
	v8i more = a > b;

	return (v8)(((v8i)a & more) | ((v8i)b & ~more));
}

/* Lanes and those 8 on. */
union co_two {
	struct v16 all;
	v8 half[2];
};

/* Of the 16 lanes those at places 0 and 1 of four in lane 0, the others in
 * lane 2. */
INLINE v8 co_halves(struct v16 v)
{
	union co_two a = { v };
	v8 s = a.half[0] + a.half[1];

	s += __builtin_shuffle(s, (v8i){ 1, 0, 3, 2, 5, 4, 7, 6 });
	return s + __builtin_shuffle(s, (v8i){ 4, 5, 6, 7, 0, 1, 2, 3 });
}

/* The largest of 16 lanes. */
INLINE float co_top(struct v16 v)
{
	union co_two a = { v };
	v8 s = co_max8(a.half[0], a.half[1]);

	s = co_max8(s, __builtin_shuffle(s, (v8i){ 4, 5, 6, 7, 0, 1, 2, 3 }));
	s = co_max8(s, __builtin_shuffle(s, (v8i){ 2, 3, 0, 1, 6, 7, 4, 5 }));
	return s[0] > s[1] ? s[0] : s[1];
}

/* Adds the squares of 16 values to sum, raises `most` to their sizes. */
INLINE void co_see(struct v16 a, struct v16 *sum, struct v16 *most)
{
	EACH_U {
		vf v = (vf)((vi)a.r[u] & 0x7fffffff);

		sum->r[u] += v * v;
		most->r[u] = larger(v, most->r[u]);
	}
}

/* The same columns of the second row behind, which comes from far away, are asked
 * for meanwhile. */
INLINE struct co_sizes co_measure(const struct tc_cols *c, size_t from,
                                  size_t end, const float *x, int halves)
{
	struct v16 sum = splat16(0), most = sum, block = sum;
	float t[TC_CHUNK];
	v8 half = { 0 };
	struct co_sizes z = { 0 };
	size_t i, j;

	for (i = from; i < end; i++) {
		const float *v = co_chunk(c, i, x, t);

		_Pragma("GCC unroll 2")
		for (j = 0; j < TC_CHUNK; j += 16) {
			__builtin_prefetch(v + 2 * c->d + j);
			co_see(load16(v + j), &block, &most);
		}
		if (halves && (i - from) % 2 == 0)
			continue;
		sum = add16(sum, block);
		if (halves)
			half = co_max8(half, co_halves(block));
		block = splat16(0);
	}
	z.sq = fold_add(sum);
	z.top = co_top(most);
	z.half = half[0] > half[2] ? half[0] : half[2];
	return z;
}

/* What makes wide integers of values with these sizes. 0: it becomes zeros. */
INLINE float co_wide_factor(float sq, float top)
{
	/* what rounding adds is below 140 + 45800 / 1000 */
	float f = 45800 / sqrtf(sq);

	if (!(sq < 0x1p120f))
		return 0;
	f = f < 32000 / top ? f : 32000 / top;
	return f < 0x1p60f ? f : 0x1p60f;
}

/* What integers of up to `byte`, half a block's norm up to `half` (0: any), must
 * be apart at least for columns of these sizes. */
INLINE float co_unit(struct co_sizes n, int byte, int half)
{
	float by_top = n.top / (float)byte;
	float by_half = half ? sqrtf(n.half) / (float)half : 0;

	return by_top > by_half ? by_top : by_half;
}

/* The same of narrow columns. */
INLINE float co_narrow_step(struct co_sizes n)
{
	return co_unit(n, CO_TOP, CO_HALF);
}

/* The sizes of block b. */
INLINE struct co_sizes co_block(const struct tc_cols *c, size_t b, const float *x)
{
	return co_measure(c, c->wide + 2 * b, c->wide + 2 * b + 2, x,
	                  CO_HALF > 0);
}

/* What a row's narrow integers are to be apart: all of them in a panel; in a
 * group a multiple of it, each block's own, up to TC_FACTORS / blocks. sq: the
 * narrow columns' sum of squares. */
INLINE float co_narrow_unit(const struct tc_cols *c, const float *x, int panel,
                            float *sq)
{
	size_t blocks = c->narrow / 2, b;
	struct co_sizes n;
	float unit = 0;

	if (panel) {
		n = co_measure(c, c->wide, c->wide + c->narrow, x, CO_HALF > 0);
		*sq = n.sq;
		return co_narrow_step(n);
	}
	for (*sq = 0, b = 0; b < blocks; b++) {
		n = co_block(c, b, x);
		*sq += n.sq;
		unit = co_narrow_step(n) > unit ? co_narrow_step(n) : unit;
	}
	/* a bit more, so that no factor is rounded beyond; what rounding of
	 * values adds is below 2.9 a half block */
	return unit * (1 + 0x1p-20f) / (float)(TC_FACTORS / (blocks ? blocks : 1));
}

/* How a row becomes integers: factors, and the scales that undo them. */
struct co_row {
	float wide, narrow;	/* 0: it becomes zeros */
	float norm, narrow_norm;
};

static struct co_row co_factors(const struct tc_cols *c, const float *x,
                                int panel)
{
	struct co_sizes w;
	float sq, narrow_sq, g;

	w = co_measure(c, 0, c->wide, x, 0);
	g = 1 / co_narrow_unit(c, x, panel, &narrow_sq);
	sq = w.sq + narrow_sq;
	if (!(sq < 0x1p120f))
		return (struct co_row){ 0, 0, NAN, NAN };
	return (struct co_row){
		co_wide_factor(w.sq, w.top), g < 0x1p60f ? g : 0x1p60f,
		dev_cpu_tc_norm_of(sq), dev_cpu_tc_norm_of(narrow_sq)
	};
}

/* Columns [0, 2 VEC_W) of a chunk as integers: column i beside column VEC_W + i
 * in lane i. */
INLINE vf co_pairs(const float *x, float f)
{
	const vf magic = splat(12582912.0f);	/* 1.5 2^23: rounds to even */
	vi p = (vi)(*(const vf_mem *)x * f + magic);
	vi q = (vi)(*(const vf_mem *)(x + VEC_W) * f + magic);

	return (vf)((p & 0xffff) | q << 16);
}

/* Rows [i0, i0 + VEC_W) of n, `width` in the group. */
INLINE void co_pack_wide(const struct tc_cols *c, const float *x, size_t i0,
                         size_t n, const struct co_row *row, size_t width,
                         int16_t *out)
{
	size_t lanes = width - i0 < VEC_W ? width - i0 : VEC_W, i, j, k;
	float t[TC_CHUNK];
	vf r[VEC_W];

	for (k = 0; k < c->wide; k++, out += TC_CHUNK * width)
		for (j = 0; j < TC_CHUNK; j += 2 * VEC_W) {
			for (i = i0; i < i0 + VEC_W; i++)
				r[i - i0] = i < n && row[i].wide > 0
				    ? co_pairs(co_chunk(c, k, x + i * c->d, t)
				               + j, row[i].wide)
				    : splat(0);
			flip(r);
			for (i = 0; i < VEC_W; i++)
				memcpy(out + (j + 2 * i) * width + 2 * i0,
				       &r[i], lanes * sizeof(float));
		}
}

/* Of block b of a row of x, which is a multiple of the row's unit. */
INLINE int co_block_factor(const struct tc_cols *c, size_t b, const float *x,
                           const struct co_row *row)
{
	float f = ceilf(co_narrow_step(co_block(c, b, x)) * row->narrow);

	return f > 1 ? (int)f : 1;
}

/* And as bytes. off: what these are off by, sums of squares of rows. */
INLINE void co_pack_narrow(const struct tc_cols *c, const float *x, size_t i0,
                           size_t n, const struct co_row *row, size_t width,
                           int panel, float *off, int8_t *out,
                           int16_t *factor)
{
	const size_t step = 4 * width;		/* of four columns */
	size_t lanes = width - i0 < VEC_W ? width - i0 : VEC_W, b, i, k;
	float t[TC_CHUNK], t2[TC_CHUNK], f[VEC_W], by[VEC_W];
	vf r[VEC_W], sq[VEC_W], all[VEC_W];

	for (i = 0; i < VEC_W; i++) {
		f[i] = i < lanes ? row[i0 + i].narrow : 0;
		all[i] = splat(0);
	}
	for (b = 0; b < c->narrow; b += 2) {
		int8_t *start = out;
		vi sum = { 0 };

		out += panel ? step : 0;
		_Pragma("GCC unroll 16")	/* else calls a loop of bytes */
		for (i = 0; i < VEC_W; i++)
			sq[i] = splat(0);
		for (i = i0; i < i0 + lanes; i++) {
			co_kept kept;

			by[i - i0] = panel;	/* 0: the row becomes zeros */
			if (panel)
				continue;
			if (row[i].narrow > 0) {
				by[i - i0] = (float)co_block_factor(c, b / 2, x
					+ i * c->d, &row[i]);
				f[i - i0] = row[i].narrow / by[i - i0];
			}
			kept = co_keep(by[i - i0]);
			memcpy(factor + b * width + 2 * i, &kept, sizeof(kept));
		}
		for (k = 0; k < TC_BLOCK; k += 4 * VEC_W) {
			/* chunks, or halves of one */
			size_t at = c->wide + b + k / TC_CHUNK;
			size_t second = at + 2 * VEC_W / TC_CHUNK;

			for (i = i0; i < i0 + VEC_W; i++)
				r[i - i0] = i < n ? co_bytes(
					co_chunk(c, at, x + i * c->d, t),
					co_chunk(c, second, x + i * c->d, t2) +
					2 * VEC_W % TC_CHUNK, f[i - i0],
					panel ? 0 : CO_OFFSET, &sq[i - i0])
					: splat(0);
			flip(r);
			for (i = 0; i < VEC_W; i++, out += step) {
				sum = co_start(sum, r[i], CO_OFFSET);
				memcpy(out + 4 * i0, &r[i], 4 * lanes);
			}
		}
		if (panel)
			memcpy(start + 4 * i0, &sum, 4 * lanes);
		for (i = 0; i < lanes; i++)
			all[i] += sq[i] * splat(by[i] * by[i]);
	}
	for (i = 0; i < lanes; i++)
		for (k = 0; k < VEC_W; k++)
			off[i0 + i] += all[i][k];
}

/* off: what narrow columns are off by, the sum of squares in integers' units. */
static void co_put_sizes(const struct tc_cols *c, const struct co_row *row,
                         float off, int panel, const struct tc_side *out,
                         size_t i)
{
	float v = 0.52f * sqrtf((float)(c->wide * TC_CHUNK));
	float u = ((float)c->d + 40) * 0x1p-24f, r0 = v / 45000 + u;
	float r = v / row->wide / row->norm + u;

	r = r > r0 ? r : r0;
	off = sqrtf(off) * (1 + 0x1p-10f) / row->narrow;
	out->off[i] = 1.002f * (off + 4 * 0x1p-24f * row->norm);
	out->size[i] = 1.002f * (row->narrow_norm + out->off[i]);
	out->rest[i] = 1.002f * row->norm * (panel ? r + r0 / 2
	                                           : r / r0 + 0.5f);
}

INLINE void co_pack(const struct tc_cols *c, const float *x, size_t n,
                    size_t width, int panel, struct tc_side out)
{
	struct co_row row[CO_NR > CO_MR ? CO_NR : CO_MR];
	float off[CO_NR > CO_MR ? CO_NR : CO_MR] = { 0 };
	size_t i, i0;

	for (i = 0; i < width; i++) {
		row[i] = (struct co_row){ 0, 0, 0, 0 };
		if (i < n)
			row[i] = co_factors(c, x + i * c->d, panel);
	}
	for (i0 = 0; i0 < width; i0 += VEC_W) {
		co_pack_wide(c, x, i0, n, row, width, out.wide);
		if (c->narrow)
			co_pack_narrow(c, x, i0, n, row, width, panel, off,
			               out.narrow, out.factor);
	}
	for (i = 0; i < width; i++) {
		out.scale[i] = out.narrow_scale[i] = out.off[i] = out.size[i] =
			out.rest[i] = i < n ? NAN : 0;
		if (!(row[i].wide > 0))
			continue;
		out.scale[i] = 1 / row[i].wide;
		out.narrow_scale[i] = 1 / row[i].narrow;
		co_put_sizes(c, &row[i], off[i], panel, &out, i);
	}
}

static void body_pack_x(const struct tc_cols *c, const float *x, size_t n,
                        struct tc_side out)
{
	co_pack(c, x, n, CO_MR, 0, out);
}

static void body_pack_w(const struct tc_cols *c, const float *w, size_t n,
                        struct tc_side out)
{
	co_pack(c, w, n, CO_NR, 1, out);
}

/* ---- scanning ---- */

/* Adds the products of a pair of columns of a group of rows and of a panel. */
INLINE void co_step(const int16_t *x, const int16_t *w, vi acc[CO_MR][2])
{
	vi w0 = *(const vi_mem *)(const void *)w;
	vi w1 = *(const vi_mem *)(const void *)(w + 2 * VEC_W);

	_Pragma("GCC unroll 16")
	for (int i = 0; i < CO_MR; i++) {
		vi a = co_one(x + 2 * i);

		acc[i][0] = co_dot(acc[i][0], a, w0);
		acc[i][1] = co_dot(acc[i][1], a, w1);
	}
}

/* The products of a group of rows with a panel; what is `ahead` behind it is
 * asked for meanwhile. */
INLINE void co_sums(size_t chunks, const int16_t *x, const int16_t *w,
                    size_t ahead, vi acc[CO_MR][2])
{
	size_t pairs = chunks * (TC_CHUNK / 2), j;

	_Pragma("GCC unroll 16")
	for (int i = 0; i < CO_MR; i++)
		acc[i][0] = acc[i][1] = (vi){ 0 };
	_Pragma("GCC unroll 4")
	for (j = 0; j < pairs; j++) {
		__builtin_prefetch(w + ahead, 0, 2);
		co_step(x, w, acc);
		x += 2 * CO_MR;
		w += 2 * CO_NR;
	}
}

/* The sums of a block of bytes of a group and of a panel, from `start` on. */
INLINE void co_block_sums(const int8_t *x, const int8_t *start, const int8_t *w,
                          vi sum[CO_MR][2])
{
	vi s0 = *(const vi_mem *)(const void *)start;
	vi s1 = *(const vi_mem *)(const void *)(start + 4 * VEC_W);
	size_t j;

	_Pragma("GCC unroll 16")
	for (int i = 0; i < CO_MR; i++) {
		sum[i][0] = s0;
		sum[i][1] = s1;
	}
	_Pragma("GCC unroll 8")
	for (j = 0; j < TC_BLOCK / 4; j++) {
		const vi v[2] = {
			*(const vi_mem *)(const void *)w,
			*(const vi_mem *)(const void *)(w + 4 * VEC_W)
		};

		_Pragma("GCC unroll 16")
		for (int i = 0; i < CO_MR; i++)
			co_narrow(sum[i], x + 4 * i, v);
		x += 4 * CO_MR;
		w += 4 * CO_NR;
	}
}

/* The same of bytes, a block at a time times the row's factor of it. Before each
 * block `part` bytes at `ahead` and on are asked for: were a panel's first tile to
 * ask for all of the next, 16 tiles would take 3 to 6 % longer. */
INLINE void co_narrow_sums(size_t blocks, const int8_t *x,
                           const int16_t *factor, const int8_t *w,
                           const int8_t *ahead, size_t part,
                           co_acc acc[CO_MR][2])
{
	size_t j;

	_Pragma("GCC unroll 16")
	for (int i = 0; i < CO_MR; i++)
		acc[i][0] = acc[i][1] = (co_acc){ 0 };
	for (; blocks; blocks--) {
		vi sum[CO_MR][2];

		for (j = 0; j < part; j += 64)
			__builtin_prefetch(ahead + j, 0, 2);
		ahead += part;
		co_block_sums(x, w, w + 4 * CO_NR, sum);
		x += 4 * CO_MR * (TC_BLOCK / 4);
		w += 4 * CO_NR * (TC_BLOCK / 4 + 1);
		_Pragma("GCC unroll 16")
		for (int i = 0; i < CO_MR; i++) {
			vi p = co_one(factor + 2 * i);

			acc[i][0] = co_join(acc[i][0], sum[i][0], p);
			acc[i][1] = co_join(acc[i][1], sum[i][1], p);
		}
		factor += 2 * CO_MR;
	}
}

/* A row's and a panel's scales. */
INLINE vf co_scales(const float *row, int i, const float *latent, int u)
{
	return *(const vf_mem *)(latent + u * VEC_W) * row[i];
}

/* Integers, scaled. */
INLINE void co_scale(vi acc[CO_MR][2], const float *row, const float *latent,
                     vf v[CO_MR][2])
{
	_Pragma("GCC unroll 16")
	for (int i = 0; i < CO_MR; i++)
		_Pragma("GCC unroll 2")
		for (int u = 0; u < 2; u++)
			v[i][u] = __builtin_convertvector(acc[i][u], vf) *
			          co_scales(row, i, latent, u);
}

/* Sums of blocks, scaled, onto what is there. */
INLINE void co_add(co_acc acc[CO_MR][2], const float *row, const float *latent,
                   vf v[CO_MR][2])
{
	_Pragma("GCC unroll 16")
	for (int i = 0; i < CO_MR; i++)
		_Pragma("GCC unroll 2")
		for (int u = 0; u < 2; u++)
			v[i][u] += __builtin_convertvector(acc[i][u], vf) *
			           co_scales(row, i, latent, u);
}

/* What a row's value and a panel's may be off by. */
INLINE vf co_error(const struct tc_side *x, int i, const struct tc_side *w, int u)
{
	return *(const vf_mem *)(w->size + u * VEC_W) * x->off[i] +
	       *(const vf_mem *)(w->off + u * VEC_W) * x->size[i] +
	       *(const vf_mem *)(w->rest + u * VEC_W) * x->rest[i];
}

/* Those of a row's values that reach its bar join its candidates. */
static __attribute__((noinline)) void co_offer(const struct tc_scan *s,
		size_t row, size_t latent, unsigned mask, const vf v[2],
		const vf e[2], const float *bias)
{
	struct tc_pick *p = s->pick + row;
	float up[CO_NR], low[CO_NR];

	_Pragma("GCC unroll 2")
	for (int u = 0; u < 2; u++) {
		vf b = *(const vf_mem *)(bias + u * VEC_W);

		*(vf_mem *)(up + u * VEC_W) = (v[u] + e[u]) + b;
		*(vf_mem *)(low + u * VEC_W) = (v[u] - e[u]) + b;
	}
	for (; mask; mask &= mask - 1) {
		unsigned j = (unsigned)__builtin_ctz(mask);

		p->up[p->n] = up[j];
		p->low[p->n] = low[j];
		p->at[p->n++] = (uint32_t)(latent + j);
	}
	if (p->n + CO_NR > p->full)
		dev_cpu_tc_pick_cut(s->q, s->first_row + row, p,
			dev_cpu_tc_pick_want(s->q, latent + CO_NR),
			s->q->cap - 2 * TC_PICK_STEP);
}

/* A group of rows and a panel; with each block `part` bytes of the next panel's
 * narrow columns are asked for, 0: there is none. */
INLINE void co_tile(const struct tc_scan *s, size_t group, size_t panel,
                    size_t part)
{
	size_t row = group * CO_MR;
	struct tc_side x = tc_side_at(s->x, s->cols, row, 0);
	struct tc_side w = tc_side_at(s->w, s->cols, panel * CO_NR, 1);
	const float *bias = s->bias + panel * CO_NR;
	size_t latent = s->first_latent + panel * CO_NR, rows = s->rows - row;
	size_t left = s->q->n_latents - latent;
	/* what is not there passes where a row is NaN */
	unsigned there = left < CO_NR ? (1u << left) - 1 : ~0u, hit = 0;
	unsigned mask[CO_MR];
	vi acc[CO_MR][2];
	vf v[CO_MR][2];
	float bar[CO_MR];

	for (int i = 0; i < CO_MR; i++)
		bar[i] = s->pick[(size_t)i < rows ? row + i : row].bar;
	co_sums(s->cols->wide, x.wide, w.wide, part && group == 0
	        ? tc_wide_values(s->cols, CO_NR) : 0, acc);
	co_scale(acc, x.scale, w.scale, v);
	if (s->cols->narrow) {
		size_t blocks = s->cols->narrow / 2;
		co_acc sums[CO_MR][2];

		co_narrow_sums(blocks, x.narrow, x.factor, w.narrow, w.narrow +
		               tc_narrow_bytes(s->cols, CO_NR, 1) +
		               group * blocks * part, part, sums);
		co_add(sums, x.narrow_scale, w.narrow_scale, v);
	}
	_Pragma("GCC unroll 16")
	for (int i = 0; i < CO_MR; i++) {
		mask[i] = 0;
		_Pragma("GCC unroll 2")
		for (int u = 0; u < 2; u++) {
			vf up = (v[i][u] + co_error(&x, i, &w, u)) +
				*(const vf_mem *)(bias + u * VEC_W);

			mask[i] |= co_not_below(up, bar[i]) << u * VEC_W;
		}
		mask[i] &= there;
		hit |= (unsigned)(mask[i] != 0) << i;
	}
	for (hit &= (1u << (rows < CO_MR ? rows : CO_MR)) - 1; hit;
	     hit &= hit - 1) {
		int i = __builtin_ctz(hit);
		vf e[2] = { co_error(&x, i, &w, 0), co_error(&x, i, &w, 1) };

		co_offer(s, row + (size_t)i, latent, mask[i], v[i], e, bias);
	}
}

static void body_scan(const struct tc_scan *s)
{
	size_t n = (s->rows + CO_MR - 1) / CO_MR, panel, i;
	size_t blocks = n * (s->cols->narrow / 2);
	/* a panel comes from far away */
	size_t part = blocks ? 1 + tc_narrow_bytes(s->cols, CO_NR, 1) / blocks
	                     : 1;

	for (panel = 0; panel < s->panels; panel++)
		for (i = 0; i < n; i++)
			co_tile(s, i, panel, panel + 1 < s->panels ? part : 0);
}

#include "dev_cpu_tc_product_body.h"

const struct dev_cpu_tc_coarse CO_TABLE = {
	.mr = CO_MR,
	.nr = CO_NR,
	.narrow = { CO_NARROW, CO_TOP, CO_HALF },
	.pack_x = body_pack_x,
	.pack_w = body_pack_w,
	.scan = body_scan,
	.pack_rows = body_pack_rows,
	.measure_columns = body_measure_columns,
	.pack_columns = body_pack_columns,
	.product = body_product,
};

#endif
#endif
