/*
 * dev_cpu_tc_coarse_body: the loops of struct dev_cpu_tc_coarse, compiled once
 * per instruction set by a file that defines VEC_W, CO_MR (rows of a tile),
 * CO_TABLE and co_dot (accumulators plus products of pairs), co_one (a pair in
 * every lane), co_not_below (a bit a lane) first.
 */
#ifndef R1_DEV_CPU_TC_COARSE_BODY_H
#define R1_DEV_CPU_TC_COARSE_BODY_H

#include <math.h>
#include <string.h>

#include "dev_cpu_tc_coarse.h"
#include "dev_cpu_flip.h"

#ifdef VEC_W

enum { CO_NR = 2 * VEC_W };

typedef vi vi_mem __attribute__((aligned(4), may_alias));

/* ---- packing ---- */

/* The factor that turns x[n] into integers, NaN where its norm is none. */
static float co_factor(const float *x, size_t n)
{
	struct v16 sum = splat16(0), most = sum, v;
	float sq, top, t[16], f;
	size_t i;

	for (i = 0; i < n; i += 16) {
		v = i + 16 <= n ? load16(x + i) : load_tail(x + i, n - i, 0);
		sum = add16(sum, mul16(v, v));
		EACH_U {
			vf a = (vf)((vi)v.r[u] & 0x7fffffff);

			most.r[u] = pick(a > most.r[u], a, most.r[u]);
		}
	}
	sq = fold_add(sum);
	if (!(sq < 0x1p120f))
		return NAN;
	store16(t, most);
	for (top = 0, i = 0; i < 16; i++)
		top = t[i] > top ? t[i] : top;
	/* 45800: what rounding adds is below 140 + 45800 / 1000 */
	f = 45800 / sqrtf(sq);
	f = f < 32000 / top ? f : 32000 / top;
	return f < 0x1p60f ? f : 0x1p60f;	/* rows of zeros, too */
}

/* Columns [0, left) of a row, 2 VEC_W at most, as integers: column i beside
 * column VEC_W + i in lane i. */
INLINE vf co_pairs(const float *x, size_t left, float f)
{
	const vf magic = splat(12582912.0f);	/* 1.5 2^23: rounds to even */
	float t[2 * VEC_W];
	vi p, q;

	if (left < 2 * VEC_W) {
		memset(t, 0, sizeof(t));
		memcpy(t, x, left * sizeof(*x));
		x = t;
	}
	p = (vi)(*(const vf_mem *)x * f + magic);
	q = (vi)(*(const vf_mem *)(x + VEC_W) * f + magic);
	return (vf)((p & 0xffff) | q << 16);
}

static void body_pack(const float *x, size_t n, size_t d, size_t width,
                      int16_t *out, float *scale)
{
	float factor[CO_NR];
	vf r[VEC_W];
	size_t i, j, i0, lanes;

	for (i = 0; i < width; i++) {
		factor[i] = i < n ? co_factor(x + i * d, d) : 0;
		scale[i] = i < n ? 1 / factor[i] : 0;
		if (!(factor[i] > 0))
			factor[i] = 0;
	}
	for (i0 = 0; i0 < width; i0 += VEC_W) {
		lanes = width - i0 < VEC_W ? width - i0 : VEC_W;
		for (j = 0; j < d; j += 2 * VEC_W) {
			for (i = i0; i < i0 + VEC_W; i++)
				r[i - i0] = i < n && factor[i] > 0
				    ? co_pairs(x + i * d + j, d - j, factor[i])
				    : splat(0);
			flip(r);
			for (i = 0; i < VEC_W; i++)
				memcpy(out + (j + 2 * i) * width + 2 * i0,
				       &r[i], lanes * sizeof(float));
		}
	}
}

/* ---- scanning ---- */

/* Latents of the mask, bounds in up and low, join a row's candidates. */
static __attribute__((noinline)) void co_take(struct tc_pick *p, size_t latent,
                                              unsigned mask, const float *up,
                                              const float *low)
{
	float *to_up = p->up + p->n, *to_low = p->low + p->n;
	uint32_t *at = p->at + p->n;

	p->n += (size_t)__builtin_popcount(mask);
	for (; mask; mask &= mask - 1) {
		unsigned j = (unsigned)__builtin_ctz(mask);

		*to_up++ = up[j];
		*to_low++ = low[j];
		*at++ = (uint32_t)(latent + j);
	}
}

/* The products of a group of rows with a panel. */
INLINE void co_sums(const struct tc_scan *s, const int16_t *x,
                    const int16_t *w, size_t ahead, vi acc[CO_MR][2])
{
	vi slack = s->slack - (vi){ 0 };

	_Pragma("GCC unroll 16")
	for (int i = 0; i < CO_MR; i++)
		acc[i][0] = acc[i][1] = slack;
	_Pragma("GCC unroll 4")
	for (size_t j = 0; j < s->d2; j++) {
		vi w0 = *(const vi_mem *)(const void *)w;
		vi w1 = *(const vi_mem *)(const void *)(w + 2 * VEC_W);

		__builtin_prefetch(w + ahead, 0, 2);
		_Pragma("GCC unroll 16")
		for (int i = 0; i < CO_MR; i++) {
			vi a = co_one(x + 2 * i);

			acc[i][0] = co_dot(acc[i][0], a, w0);
			acc[i][1] = co_dot(acc[i][1], a, w1);
		}
		x += 2 * CO_MR;
		w += 2 * CO_NR;
	}
}

/* And offered; `ahead`: what to fetch meanwhile, so far behind the panel. */
INLINE void co_tile(const struct tc_scan *s, const int16_t *x, size_t row,
                    const int16_t *w, size_t panel, size_t ahead)
{
	const float *t = s->w_scale + panel * CO_NR;
	const float *bias = s->bias + panel * CO_NR;
	size_t latent = s->first_latent + panel * CO_NR, rows = s->rows - row;
	size_t left = s->q->n_latents - latent, i;
	/* what is not there passes where a row is NaN */
	unsigned there = left < CO_NR ? (1u << left) - 1 : ~0u;
	struct tc_pick *p = s->pick + row;
	vi acc[CO_MR][2], twice = 2 * s->slack - (vi){ 0 };

	co_sums(s, x, w, ahead, acc);
	if (rows > CO_MR)
		rows = CO_MR;
	for (i = 0; i < rows; i++, p++) {
		unsigned mask = 0;
		vf st[2], b[2], high[2];
		float up[CO_NR], low[CO_NR];

		_Pragma("GCC unroll 2")
		for (int u = 0; u < 2; u++) {
			b[u] = *(const vf_mem *)(bias + u * VEC_W);
			st[u] = *(const vf_mem *)(t + u * VEC_W) *
				s->x_scale[row + i];
			high[u] = __builtin_convertvector(acc[i][u], vf) *
				st[u] + b[u];
			mask |= co_not_below(high[u], p->bar) << u * VEC_W;
		}
		mask &= there;
		if (!mask)
			continue;
		_Pragma("GCC unroll 2")
		for (int u = 0; u < 2; u++) {
			*(vf_mem *)(up + u * VEC_W) = high[u];
			*(vf_mem *)(low + u * VEC_W) = __builtin_convertvector(
				acc[i][u] - twice, vf) * st[u] + b[u];
		}
		co_take(p, latent, mask, up, low);
		if (p->n + CO_NR > s->q->cap)
			dev_cpu_tc_pick_cut(s->q, s->first_row + row + i, p,
			                    s->q->cap - 2 * TC_PICK_STEP);
	}
}

static void body_scan(const struct tc_scan *s)
{
	size_t panel, row, step = 2 * CO_NR * s->d2;

	/* the first rows fetch the next panel, from far away */
	for (panel = 0; panel < s->panels; panel++)
		for (row = 0; row < s->rows; row += CO_MR)
			co_tile(s, s->x + 2 * row * s->d2, row,
			        s->w + panel * step, panel,
			        row == 0 && panel + 1 < s->panels ? step : 0);
}

const struct dev_cpu_tc_coarse CO_TABLE = {
	.mr = CO_MR,
	.nr = CO_NR,
	.pack = body_pack,
	.scan = body_scan,
};

#endif
#endif
