/*
 * dev_cpu_tc_body: the loops of struct tc_loops, compiled once per instruction
 * set by a file that defines VEC_W (floats in a register: 4, 8 or 16) and
 * TC_TABLE first.
 */
#ifndef R1_DEV_CPU_TC_BODY_H
#define R1_DEV_CPU_TC_BODY_H

#include <math.h>
#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "dev_cpu_tc.h"
#include "vec_lanes.h"

#ifdef VEC_W

/* Bit i set where v's lane i is `bar` or more; where it is NaN, if `nan`. */
INLINE unsigned reach16(struct v16 v, float bar, const int nan)
{
#if VEC_W == 16
	__m512 o = _mm512_set1_ps(bar);

	return nan ? _mm512_cmp_ps_mask((__m512)v.r[0], o, _CMP_NLT_UQ)
	           : _mm512_cmp_ps_mask((__m512)v.r[0], o, _CMP_GE_OQ);
#elif VEC_W == 8
	__m256 o = _mm256_set1_ps(bar);
	unsigned m = 0;

	EACH_U
		m |= (unsigned)_mm256_movemask_ps(
			nan ? _mm256_cmp_ps((__m256)v.r[u], o, _CMP_NLT_UQ)
			    : _mm256_cmp_ps((__m256)v.r[u], o, _CMP_GE_OQ))
			<< 8 * u;
	return m;
#else
	float t[16];
	unsigned m = 0, i;

	store16(t, v);
	for (i = 0; i < 16; i++)
		m |= (unsigned)(nan ? !(t[i] < bar) : t[i] >= bar) << i;
	return m;
#endif
}

static size_t body_collect(const float *pre, const float *bias,
                           const float *norm, float slack, size_t from,
                           size_t n, uint32_t first, struct tc_pick *p,
                           size_t cap)
{
	size_t i = from;

	for (; i < n && p->n + 16 <= cap; i += 16) {
		int whole = i + 16 <= n;
		struct v16 v = whole ? load16(pre + i)
		                     : load_tail(pre + i, n - i, 0);
		struct v16 b = whole ? load16(bias + i)
		                     : load_tail(bias + i, n - i, 0);
		struct v16 e = mul16(splat16(slack), whole ? load16(norm + i)
		                     : load_tail(norm + i, n - i, 0));
		struct v16 high = add16(add16(v, e), b);
		unsigned m = reach16(high, p->bar, 1);
		float up[16], low[16];

		if (!whole)
			m &= (1u << (n - i)) - 1;
		if (!m)
			continue;
		store16(up, high);
		store16(low, add16(sub16(v, e), b));
		for (; m; m &= m - 1) {
			unsigned j = (unsigned)__builtin_ctz(m);

			p->up[p->n] = up[j];
			p->low[p->n] = low[j];
			p->at[p->n++] = first + (uint32_t)i + j;
		}
	}
	return i < n ? i : n;
}

static size_t body_count(const float *v, size_t n, float at_least)
{
	size_t i, count = 0;

	for (i = 0; i < n; i += 16) {
		struct v16 a = i + 16 <= n ? load16(v + i)
		                           : load_tail(v + i, n - i, NAN);

		count += (unsigned)__builtin_popcount(reach16(a, at_least, 0));
	}
	return count;
}

static float body_least(const float *v, size_t n, float at_least)
{
	const vf t = splat(at_least), none = splat(INFINITY);
	struct v16 m = splat16(INFINITY);
	float lane[16], least = INFINITY;
	size_t i;

	for (i = 0; i < n; i += 16) {
		struct v16 a = i + 16 <= n ? load16(v + i)
		                           : load_tail(v + i, n - i, NAN);

		EACH_U {
			vf one = pick(a.r[u] >= t, a.r[u], none);

			m.r[u] = smaller(one, m.r[u]);
		}
	}
	store16(lane, m);
	for (i = 0; i < 16; i++)
		least = lane[i] < least ? lane[i] : least;
	return least;
}

/* keep16 moves those of candidates [i, i + 16) that m has to n, n <= i; what is
 * behind them is overwritten, up to i + 16. Returns where the next goes. */
#if VEC_W == 8
/* For each mask the lanes that it has, four bits each, from the lowest on. */
#define LANE(m, i) (((m) >> (i) & 1u) * (i))
#define AT(m, i) (4 * __builtin_popcount((m) & ((1u << (i)) - 1)))
#define LANES(m) \
	(LANE(m, 1) << AT(m, 1) | LANE(m, 2) << AT(m, 2) | \
	 LANE(m, 3) << AT(m, 3) | LANE(m, 4) << AT(m, 4) | \
	 LANE(m, 5) << AT(m, 5) | LANE(m, 6) << AT(m, 6) | \
	 LANE(m, 7) << AT(m, 7))
#define LANES4(m) LANES(m), LANES((m) + 1), LANES((m) + 2), LANES((m) + 3)
#define LANES16(m) LANES4(m), LANES4((m) + 4), LANES4((m) + 8), LANES4((m) + 12)
#define LANES64(m) \
	LANES16(m), LANES16((m) + 16), LANES16((m) + 32), LANES16((m) + 48)
static const uint32_t lanes_of[256] = {
	LANES64(0u), LANES64(64u), LANES64(128u), LANES64(192u)
};

INLINE size_t keep16(struct tc_pick *p, size_t i, unsigned m, size_t n)
{
	for (int u = 0; u < 2; u++, i += 8, m >>= 8) {
		__m256i order = _mm256_srlv_epi32(_mm256_set1_epi32(
			(int32_t)lanes_of[m & 255]), _mm256_setr_epi32(0, 4, 8,
			12, 16, 20, 24, 28));
		__m256i up = _mm256_loadu_si256((const void *)(p->up + i));
		__m256i low = _mm256_loadu_si256((const void *)(p->low + i));
		__m256i at = _mm256_loadu_si256((const void *)(p->at + i));

		_mm256_storeu_si256((void *)(p->up + n),
			_mm256_permutevar8x32_epi32(up, order));
		_mm256_storeu_si256((void *)(p->low + n),
			_mm256_permutevar8x32_epi32(low, order));
		_mm256_storeu_si256((void *)(p->at + n),
			_mm256_permutevar8x32_epi32(at, order));
		n += (unsigned)__builtin_popcount(m & 255);
	}
	return n;
}
#elif VEC_W == 16
INLINE size_t keep16(struct tc_pick *p, size_t i, unsigned m, size_t n)
{
	__mmask16 k = (__mmask16)m;

	_mm512_storeu_ps(p->up + n, _mm512_maskz_compress_ps(
		k, _mm512_loadu_ps(p->up + i)));
	_mm512_storeu_ps(p->low + n, _mm512_maskz_compress_ps(
		k, _mm512_loadu_ps(p->low + i)));
	_mm512_storeu_si512(p->at + n, _mm512_maskz_compress_epi32(
		k, _mm512_loadu_si512(p->at + i)));
	return n + (unsigned)__builtin_popcount(m);
}
#else
INLINE size_t keep16(struct tc_pick *p, size_t i, unsigned m, size_t n)
{
	size_t j;

	for (; m; m &= m - 1, n++) {
		j = i + (unsigned)__builtin_ctz(m);
		p->up[n] = p->up[j];
		p->low[n] = p->low[j];
		p->at[n] = p->at[j];
	}
	return n;
}
#endif

static void body_drop(struct tc_pick *p)
{
	size_t i, n = 0;
	unsigned m;

	for (i = 0; i < p->n; i += 16) {
		m = reach16(load16(p->up + i), p->bar, 1);
		if (p->n - i < 16)	/* there is room for 16 */
			m &= (1u << (p->n - i)) - 1;
		n = m ? keep16(p, i, m, n) : n;
	}
	p->n = n;
}

/* out (+)= the sum over m rows of coef[e] src[row[e]], 16 columns at a time,
 * asking for n_ahead other rows meanwhile. m rows are as many streams, which come
 * faster from far away than one. */
INLINE void combine_some(const float *src, const uint32_t *row,
                         const float *coef, const int m,
                         const float *const *ahead, const int n_ahead,
                         size_t dim, int add, float *out)
{
	const float *s[TC_AHEAD];
	struct v16 q[TC_AHEAD];
	size_t i;
	int e;

	for (e = 0; e < m; e++) {
		s[e] = src + (size_t)row[e] * dim;
		q[e] = splat16(coef[e]);
	}
	for (i = 0; i + 16 <= dim; i += 16) {
		struct v16 a = add ? load16(out + i) : splat16(0);

		_Pragma("GCC unroll 8")
		for (e = 0; e < n_ahead; e++)
			__builtin_prefetch(ahead[e] + i);
		_Pragma("GCC unroll 8")
		for (e = 0; e < m; e++)
			a = add16(a, mul16(q[e], load16(s[e] + i)));
		store16(out + i, a);
	}
}

static void body_combine(const float *src, const uint32_t *row,
                         const float *coef, size_t n,
                         const float *const *ahead, size_t n_ahead,
                         size_t dim, int add, float *out)
{
	const float *next[TC_AHEAD];
	size_t whole = dim / 16 * 16, i, e, m;

	for (i = whole; i < dim; i++) {
		float a = add ? out[i] : 0;

		for (e = 0; e < n; e++)
			a += coef[e] * src[(size_t)row[e] * dim + i];
		out[i] = a;
	}
	if (!add && n == 0)
		memset(out, 0, whole * sizeof(*out));
	for (e = 0; e < n; e += m, add = 1) {
		m = n - e >= 8 ? 8 : n - e >= 4 ? 4 : n - e >= 2 ? 2 : 1;
		for (i = 0; i < TC_AHEAD; i++) {
			size_t at = e + m + i;

			next[i] = at < n ? src + (size_t)row[at] * dim
			    : at - n < n_ahead ? ahead[at - n] : out;
		}
		switch (m) {
		case 8:
			combine_some(src, row + e, coef + e, 8, next, 8, dim,
			             add, out);
			break;
		case 4:
			combine_some(src, row + e, coef + e, 4, next, 4, dim,
			             add, out);
			break;
		case 2:
			combine_some(src, row + e, coef + e, 2, next, 4, dim,
			             add, out);
			break;
		default:
			combine_some(src, row + e, coef + e, 1, next, 4, dim,
			             add, out);
		}
	}
}

static void body_slab(const struct dev_tc_codes *c, const float *v, size_t ld,
                      size_t cols, const float *in, float *sum)
{
	const uint32_t *latent = c->latent;
	const float *value = c->value;
	size_t i, m, e;
	struct v16 q;
	float *to;

	for (i = 0; i < c->n; i++, latent += c->k, value += c->k) {
		m = tc_active(latent, c->k);
		q = !v ? splat16(0) : cols == TC_SLAB ? load16(v + i * ld)
		  : load_tail(v + i * ld, cols, 0);
		for (e = 0; !v && e < m; e++)
			q = add16(q, mul16(splat16(value[e]), load16(in +
				(size_t)latent[e] * TC_SLAB)));
		for (e = 0; e < m; e++) {
			to = sum + (size_t)latent[e] * TC_SLAB;
			store16(to, add16(load16(to), mul16(splat16(value[e]),
			                                    q)));
		}
	}
}

static float body_sq(const float *x, const float *mean, size_t n)
{
	struct v16 s = splat16(0), v;
	size_t i;

	for (i = 0; i < n; i += 16) {
		int whole = i + 16 <= n;

		v = whole ? load16(x + i) : load_tail(x + i, n - i, 0);
		if (mean)
			v = sub16(v, whole ? load16(mean + i)
			                   : load_tail(mean + i, n - i, 0));
		s = add16(s, mul16(v, v));
	}
	return fold_add(s);
}

static void body_col_sum(const float *x, size_t n, size_t stride, size_t dim,
                         double *sum)
{
	enum { HALF = VEC_W / 2, AT_ONCE = 8 * HALF };
	typedef double vd __attribute__((vector_size(HALF * 8)));
	typedef float vh __attribute__((vector_size(HALF * 4), aligned(4),
	                                may_alias));
	size_t i, j = 0;

	for (; j + AT_ONCE <= dim; j += AT_ONCE) {
		vd s[8] = { { 0 } };

		for (i = 0; i < n; i++)
			_Pragma("GCC unroll 8")
			for (int u = 0; u < 8; u++)
				s[u] += __builtin_convertvector(*(const vh *)
					(x + i * stride + j + u * HALF), vd);
		memcpy(sum + j, s, sizeof(s));
	}
	for (; j < dim; j++) {
		sum[j] = 0;
		for (i = 0; i < n; i++)
			sum[j] += x[i * stride + j];
	}
}

static void body_centre(const float *x, const float *mean, float scale,
                        size_t n, float *out)
{
	struct v16 s = splat16(scale), m = splat16(0);
	size_t i = 0;

	for (; i + 16 <= n; i += 16) {
		if (mean)
			m = load16(mean + i);
		store16(out + i, mul16(sub16(load16(x + i), m), s));
	}
	for (; i < n; i++)
		out[i] = (x[i] - (mean ? mean[i] : 0)) * scale;
}

INLINE struct v16 sqrt16(struct v16 v)
{
#if VEC_W == 16
	v.r[0] = (vf)_mm512_sqrt_ps((__m512)v.r[0]);
#elif VEC_W == 8
	v.r[0] = (vf)_mm256_sqrt_ps((__m256)v.r[0]);
	v.r[1] = (vf)_mm256_sqrt_ps((__m256)v.r[1]);
#else
	float t[16];
	int i;

	store16(t, v);
	for (i = 0; i < 16; i++)
		t[i] = sqrtf(t[i]);
	v = load16(t);
#endif
	return v;
}

INLINE struct v16 div16(struct v16 a, struct v16 b)
{
	EACH_U
		a.r[u] /= b.r[u];
	return a;
}

/* Tiny moments become 0: those of a latent at rest would else decay to
 * subnormal numbers and stay there, a hundred times as slow to work with. */
INLINE struct v16 settle16(struct v16 v)
{
	EACH_U {
		vi keep = (v.r[u] > splat(DEV_TC_TINY)) |
		          (v.r[u] < splat(-DEV_TC_TINY)) |
		          (v.r[u] != v.r[u]);

		v.r[u] = pick(keep, v.r[u], splat(0));
	}
	return v;
}

struct adam_k {
	struct v16 lr, b1, b2, c1, c2, root, eps;
};

INLINE void adam16(const struct adam_k *k, struct v16 *w, struct v16 *m,
                   struct v16 *v, struct v16 g)
{
	*m = settle16(add16(mul16(k->b1, *m), mul16(k->c1, g)));
	*v = settle16(add16(mul16(k->b2, *v), mul16(k->c2, mul16(g, g))));
	*w = sub16(*w, div16(mul16(k->lr, *m),
	                     add16(mul16(sqrt16(*v), k->root), k->eps)));
}

static void step_adam(const struct dev_tc_opt *o, float *w, float *m, float *v,
                      const float *g, size_t n)
{
	const struct adam_k k = {
		splat16(o->lr), splat16(o->b1), splat16(o->b2),
		splat16(1 - o->b1), splat16(1 - o->b2), splat16(o->root),
		splat16(o->eps)
	};
	struct v16 a, b, c, z = splat16(0);
	size_t i = 0;

	for (; i + 16 <= n; i += 16) {
		a = load16(w + i);
		b = load16(m + i);
		c = load16(v + i);
		adam16(&k, &a, &b, &c, g ? load16(g + i) : z);
		store16(w + i, a);
		store16(m + i, b);
		store16(v + i, c);
	}
	if (i < n) {
		a = load_tail(w + i, n - i, 0);
		b = load_tail(m + i, n - i, 0);
		c = load_tail(v + i, n - i, 0);
		adam16(&k, &a, &b, &c, g ? load_tail(g + i, n - i, 0) : z);
		store_tail(w + i, n - i, a);
		store_tail(m + i, n - i, b);
		store_tail(v + i, n - i, c);
	}
}

static void step_signum(const struct dev_tc_opt *o, float *w, float *z,
                        const float *g, size_t n)
{
	float b1 = o->b1, c1 = 1 - o->b1, x, grad;
	size_t i;

	for (i = 0; i < n; i++) {
		grad = g ? g[i] : 0;
		x = (w[i] - c1 * z[i]) / b1;
		z[i] -= o->lr * (float)((grad > 0) - (grad < 0));
		x += o->blend * (z[i] - x);
		w[i] = b1 * x + c1 * z[i];
	}
}

static void body_step(const struct dev_tc_opt *o, float *w, float *s1,
                      float *s2, const float *g, size_t n)
{
	switch (o->rule) {
	case DEV_TC_ADAM:
		step_adam(o, w, s1, s2, g, n);
		break;
	case DEV_TC_SIGNUM:
		step_signum(o, w, s1, g, n);
		break;
	case DEV_TC_GRAD:
		if (g)
			memcpy(s1, g, n * sizeof(*g));
		else
			memset(s1, 0, n * sizeof(*s1));
		break;
	}
}

const struct tc_loops TC_TABLE = {
	.collect = body_collect,
	.count = body_count,
	.least = body_least,
	.drop = body_drop,
	.combine = body_combine,
	.slab = body_slab,
	.sq = body_sq,
	.col_sum = body_col_sum,
	.centre = body_centre,
	.step = body_step,
};

#endif
#endif
