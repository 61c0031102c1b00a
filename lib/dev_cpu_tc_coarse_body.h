/*
 * dev_cpu_tc_coarse_body: the loops of struct dev_cpu_tc_coarse, compiled once
 * per instruction set by a file that first defines
 *
 *   VEC_W, CO_MR, CO_TABLE	CO_MR: rows of a tile
 *   co_one		four bytes in every lane
 *   co_dot		accumulators plus products of pairs
 *   co_not_below	a bit a lane
 *   co_keep_lanes	those lanes that have a bit, one behind the other; may be
 *   		left out
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

enum {
	CO_NR = 2 * VEC_W,
	CO_WIDE = 1, CO_BYTES = 2	/* columns that there are */
};

typedef vi vi_mem __attribute__((aligned(4), may_alias));

#ifndef CO_HALF
#define CO_HALF 0
#endif

#define co_quads(x, f, offset) co_bytes(x, (x) + 2 * VEC_W, f, offset, NULL)

#include "dev_cpu_tc_coarse_pack_body.h"

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

/* What a row's value and a panel's may be off by. */
INLINE vf co_error(const struct tc_side *x, int i, const struct tc_side *w, int u)
{
	return *(const vf_mem *)(w->size + u * VEC_W) * x->off[i] +
	       *(const vf_mem *)(w->off + u * VEC_W) * x->size[i] +
	       *(const vf_mem *)(w->rest + u * VEC_W) * x->rest[i];
}

/* Half a panel's values as candidates: those that mask has. */
INLINE void co_join_half(struct tc_pick *p, size_t latent, unsigned mask, vf up,
                         vf low)
{
#ifdef co_keep_lanes
	const vi lane = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };

	co_keep_lanes(p->up + p->n, up, mask);
	co_keep_lanes(p->low + p->n, low, mask);
	co_keep_lanes(p->at + p->n, lane + (int32_t)latent, mask);
	p->n += (unsigned)__builtin_popcount(mask);
#else
	for (; mask; mask &= mask - 1) {
		unsigned j = (unsigned)__builtin_ctz(mask);

		p->up[p->n] = up[j];
		p->low[p->n] = low[j];
		p->at[p->n++] = (uint32_t)(latent + j);
	}
#endif
}

/* Those of a row's values that reach its bar join its candidates. */
static __attribute__((noinline)) void co_offer(const struct tc_scan *s,
		size_t row, size_t latent, unsigned mask, const vf v[2],
		const vf e[2], const float *bias)
{
	struct tc_pick *p = s->pick + row;

	_Pragma("GCC unroll 2")
	for (int u = 0; u < 2; u++) {
		vf b = *(const vf_mem *)(bias + u * VEC_W);

		co_join_half(p, latent + (size_t)u * VEC_W, mask >> u * VEC_W &
		             ((1u << VEC_W) - 1), (v[u] + e[u]) + b,
		             (v[u] - e[u]) + b);
	}
	if (p->n + CO_NR > p->full)
		dev_cpu_tc_pick_cut(s->q, s->first_row + row, p,
			dev_cpu_tc_pick_want(s->q, latent + CO_NR),
			s->q->cap - 2 * TC_PICK_STEP);
}

/* What a tile's sums stand for: row i's values with half a panel. */
INLINE vf co_value(const vi wide[CO_MR][2], const co_acc narrow[CO_MR][2],
                   const int kinds, const struct tc_side *x,
                   const struct tc_side *w, int i, int u)
{
	vf v = splat(0), n;

	if (kinds & CO_WIDE)
		v = __builtin_convertvector(wide[i][u], vf) *
		    co_scales(x->scale, i, w->scale, u);
	if (!(kinds & CO_BYTES))
		return v;
	n = __builtin_convertvector(narrow[i][u], vf) *
	    co_scales(x->narrow_scale, i, w->narrow_scale, u);
	return kinds & CO_WIDE ? v + n : n;
}

/* A group of rows and a panel; with each block `part` bytes of the next panel's
 * narrow columns are asked for, 0: there is none. */
INLINE void co_tile(const struct tc_scan *s, const int kinds, size_t group,
                    size_t panel, size_t part)
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
	vi wide[CO_MR][2];
	co_acc narrow[CO_MR][2];
	float bar[CO_MR];

	for (int i = 0; i < CO_MR; i++)
		bar[i] = s->pick[(size_t)i < rows ? row + i : row].bar;
	if (kinds & CO_WIDE)
		co_sums(s->cols->wide, x.wide, w.wide, part && group == 0
		        ? tc_wide_values(s->cols, CO_NR) : 0, wide);
	if (kinds & CO_BYTES) {
		size_t blocks = s->cols->narrow / 2;

		co_narrow_sums(blocks, x.narrow, x.factor, w.narrow, w.narrow +
		               tc_narrow_bytes(s->cols, CO_NR, 1) +
		               group * blocks * part, part, narrow);
	}
	_Pragma("GCC unroll 16")
	for (int i = 0; i < CO_MR; i++) {
		mask[i] = 0;
		_Pragma("GCC unroll 2")
		for (int u = 0; u < 2; u++) {
			vf up = (co_value(wide, narrow, kinds, &x, &w, i, u) +
			         co_error(&x, i, &w, u)) +
				*(const vf_mem *)(bias + u * VEC_W);

			mask[i] |= co_not_below(up, bar[i]) << u * VEC_W;
		}
		mask[i] &= there;
		hit |= (unsigned)(mask[i] != 0) << i;
	}
	for (hit &= (1u << (rows < CO_MR ? rows : CO_MR)) - 1; hit;
	     hit &= hit - 1) {
		int i = __builtin_ctz(hit);
		vf v[2], e[2];

		_Pragma("GCC unroll 2")
		for (int u = 0; u < 2; u++) {
			v[u] = co_value(wide, narrow, kinds, &x, &w, i, u);
			e[u] = co_error(&x, i, &w, u);
		}
		co_offer(s, row + (size_t)i, latent, mask[i], v, e, bias);
	}
}

INLINE void co_scan(const struct tc_scan *s, const int kinds)
{
	size_t n = (s->rows + CO_MR - 1) / CO_MR, panel, i;
	size_t blocks = n * (s->cols->narrow / 2);
	/* a panel comes from far away */
	size_t part = blocks ? 1 + tc_narrow_bytes(s->cols, CO_NR, 1) / blocks
	                     : 1;

	for (panel = 0; panel < s->panels; panel++)
		for (i = 0; i < n; i++)
			co_tile(s, kinds, i, panel, panel + 1 < s->panels
			        ? part : 0);
}

static void body_scan(const struct tc_scan *s)
{
	if (!s->cols->narrow)
		co_scan(s, CO_WIDE);
	else if (!s->cols->wide)
		co_scan(s, CO_BYTES);
	else
		co_scan(s, CO_WIDE | CO_BYTES);
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
