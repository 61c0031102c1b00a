/*
 * vec_body: the loops of vec.h, compiled once per instruction set by a file
 * that defines VEC_W (floats in a register: 4, 8 or 16), VEC_NAME and
 * VEC_TABLE first.
 */
#ifndef R1_VEC_BODY_H
#define R1_VEC_BODY_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "vec_impl.h"
#include "vec_lanes.h"

#ifdef VEC_W

INLINE struct v16 exp16(struct v16 x, float shift)
{
	EACH_U
		x.r[u] = vexp(x.r[u] - splat(shift));
	return x;
}

static float body_dot(const float *a, const float *b, size_t n)
{
	struct v16 s0 = splat16(0), s1 = s0, s2 = s0, s3 = s0;
	size_t i = 0;

	for (; i + 64 <= n; i += 64) {
		s0 = add16(s0, mul16(load16(a + i), load16(b + i)));
		s1 = add16(s1, mul16(load16(a + i + 16), load16(b + i + 16)));
		s2 = add16(s2, mul16(load16(a + i + 32), load16(b + i + 32)));
		s3 = add16(s3, mul16(load16(a + i + 48), load16(b + i + 48)));
	}
	for (; i + 16 <= n; i += 16)
		s0 = add16(s0, mul16(load16(a + i), load16(b + i)));
	if (i < n)
		s0 = add16(s0, mul16(load_tail(a + i, n - i, 0),
		                     load_tail(b + i, n - i, 0)));
	return fold_add(add16(add16(s0, s1), add16(s2, s3)));
}

static float body_max(const float *x, size_t n)
{
	struct v16 m = splat16(-INFINITY), v;
	float t[16], best = -INFINITY;
	size_t i;

	for (i = 0; i < n; i += 16) {
		v = i + 16 <= n ? load16(x + i)
		                : load_tail(x + i, n - i, -INFINITY);
		EACH_U
			m.r[u] = larger(v.r[u], m.r[u]);
	}
	store16(t, m);
	for (i = 0; i < 16; i++)
		best = t[i] > best ? t[i] : best;
	return best;
}

static float body_exp_sum(const float *x, size_t n, float shift, float *out)
{
	struct v16 s = splat16(0), v;
	size_t i = 0;

	for (; i + 16 <= n; i += 16) {
		v = exp16(load16(x + i), shift);
		store16(out + i, v);
		s = add16(s, v);
	}
	if (i < n) {
		v = exp16(load_tail(x + i, n - i, shift), shift);
		store_tail(out + i, n - i, v);
		s = add16(s, load_tail(out + i, n - i, 0));
	}
	return fold_add(s);
}

static float body_kl_sum(const float *a, float sa, const float *b, float sb,
                         size_t n)
{
	struct v16 s = splat16(0), va, vb;
	size_t i;

	for (i = 0; i < n; i += 16) {
		if (i + 16 <= n) {
			va = load16(a + i);
			vb = load16(b + i);
		} else {	/* padding: both differences are 0 */
			va = load_tail(a + i, n - i, sa);
			vb = load_tail(b + i, n - i, sb);
		}
		EACH_U {
			vf da = va.r[u] - splat(sa);

			s.r[u] += vexp(da) * (da - (vb.r[u] - splat(sb)));
		}
	}
	return fold_add(s);
}

static void body_mul_scale(const float *x, float scale, const float *w,
                           size_t n, float *out)
{
	size_t i = 0;

	for (; i + 16 <= n; i += 16)
		store16(out + i, mul16(mul16(load16(x + i), splat16(scale)),
		                       load16(w + i)));
	for (; i < n; i++)
		out[i] = x[i] * scale * w[i];
}

static void body_scale(float *x, float scale, size_t n)
{
	size_t i = 0;

	for (; i + 16 <= n; i += 16)
		store16(x + i, mul16(load16(x + i), splat16(scale)));
	for (; i < n; i++)
		x[i] *= scale;
}

static void body_axpy(float alpha, const float *x, float *y, size_t n)
{
	size_t i = 0;

	for (; i + 16 <= n; i += 16)
		store16(y + i, add16(load16(y + i), mul16(splat16(alpha),
		                                          load16(x + i))));
	for (; i < n; i++)
		y[i] += alpha * x[i];
}

INLINE struct v16 silu16(struct v16 g, struct v16 x)
{
	EACH_U
		g.r[u] = g.r[u] / (vexp(-g.r[u]) + 1.0f) * x.r[u];
	return g;
}

static void body_silu_mul(float *g, const float *x, size_t n)
{
	size_t i = 0;

	for (; i + 16 <= n; i += 16)
		store16(g + i, silu16(load16(g + i), load16(x + i)));
	if (i < n)
		store_tail(g + i, n - i, silu16(load_tail(g + i, n - i, 0),
		                                load_tail(x + i, n - i, 0)));
}

static void body_rope(float *x, const float *cs, size_t half)
{
	size_t i = 0;

	for (; i + VEC_W <= half; i += VEC_W) {
		vf a = *(vf_mem *)(x + i), b = *(vf_mem *)(x + half + i);
		vf c = *(const vf_mem *)(cs + i);
		vf s = *(const vf_mem *)(cs + half + i);

		*(vf_mem *)(x + i) = a * c - b * s;
		*(vf_mem *)(x + half + i) = b * c + a * s;
	}
	for (; i < half; i++) {
		float a = x[i], b = x[half + i];

		x[i] = a * cs[i] - b * cs[half + i];
		x[half + i] = b * cs[i] + a * cs[half + i];
	}
}

const struct vec_ops VEC_TABLE = {
	.name = VEC_NAME,
	.dot = body_dot,
	.max = body_max,
	.exp_sum = body_exp_sum,
	.kl_sum = body_kl_sum,
	.mul_scale = body_mul_scale,
	.scale = body_scale,
	.axpy = body_axpy,
	.silu_mul = body_silu_mul,
	.rope = body_rope,
};

#endif
#endif
