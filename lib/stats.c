/* stats: one sample, effect sizes, resampling. */
#include "stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

void stats_moments(const double *x, size_t n, double *mean, double *std)
{
	double sum = 0, sq = 0, m;
	size_t i;

	if (!n) {
		*mean = *std = NAN;
		return;
	}
	/* Around the first value: equal values leave exact zeros. */
	for (i = 0; i < n; i++)
		sum += x[i] - x[0];
	m = sum / (double)n;
	for (i = 0; i < n; i++)
		sq += (x[i] - x[0] - m) * (x[i] - x[0] - m);
	*mean = x[0] + m;
	*std = sqrt(sq / (double)n);
}

enum stats_z stats_z(double x, double mean, double std, double *z)
{
	if (std != 0) {
		*z = (x - mean) / std;
		return STATS_Z;
	}
	*z = NAN;
	return x == mean ? STATS_Z_SAME : STATS_Z_APART;
}

void stats_profile(const double *z, size_t n, double *sp)
{
	double top = 0, sq = 0, norm;
	size_t i;

	/* By the largest first, so that squares neither vanish nor overflow. */
	for (i = 0; i < n; i++)
		if (isfinite(z[i]) && fabs(z[i]) > top)
			top = fabs(z[i]);
	for (i = 0; i < n; i++)
		if (isfinite(z[i]) && top > 0)
			sq += z[i] / top * (z[i] / top);
	norm = sqrt(sq);
	for (i = 0; i < n; i++)
		sp[i] = !isfinite(z[i]) ? NAN : top > 0 ? z[i] / top / norm : 0;
}

struct stats_p stats_empirical(double x, size_t n_ge, size_t n_le, size_t n)
{
	struct stats_p p;
	double least;

	if (isnan(x))
		return (struct stats_p) { NAN, NAN, NAN };
	p.upper = (1 + (double)n_ge) / (1 + (double)n);
	p.lower = (1 + (double)n_le) / (1 + (double)n);
	least = p.upper < p.lower ? p.upper : p.lower;
	p.two = 2 * least < 1 ? 2 * least : 1;
	return p;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* A value and where it stood. */
struct at {
	double v;
	size_t i;
};

static int by_value(const void *a, const void *b)
{
	const struct at *x = a, *y = b;

	if (x->v != y->v)
		return x->v < y->v ? -1 : 1;
	return x->i < y->i ? -1 : x->i > y->i;
}

int stats_bh(const double *p, size_t n, double *q, struct err *e)
{
	struct at *s = mem_array(n, sizeof(*s), e);
	double least = 1;
	size_t i, m = 0;

	if (!s)
		return -1;
	for (i = 0; i < n; i++) {
		if (!isnan(p[i]))
			s[m++] = (struct at) { p[i], i };
		else
			q[i] = NAN;
	}
	qsort(s, m, sizeof(*s), by_value);
	for (i = m; i-- > 0; ) {
		double v = s[i].v * (double)m / (double)(i + 1);

		if (v < least)
			least = v;
		q[s[i].i] = least;
	}
	mem_free(s);
	return 0;
}

double stats_quantile(const double *sorted, size_t n, double q)
{
	double at = q * (double)(n - 1), low = floor(at);
	size_t i = (size_t)low;

	if (i + 1 >= n)
		return sorted[n - 1];
	return sorted[i] + (at - low) * (sorted[i + 1] - sorted[i]);
}

static uint64_t mix(uint64_t z)		/* splitmix64's finalizer */
{
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

uint64_t stats_random(uint64_t seed, uint64_t stream, uint64_t i)
{
	const uint64_t golden = 0x9e3779b97f4a7c15u;

	return mix(mix(mix(seed + golden) + stream * golden) + i * golden);
}

/* ---- bootstrap --------------------------------------------------------- */

struct boot {
	const double *a, *b;
	size_t na, nb;
	uint64_t seed;
	double *out;		/* [reps] */
};

static double resampled(const double *x, size_t n, uint64_t seed,
                        uint64_t stream)
{
	double sum = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		uint64_t r = stats_random(seed, stream, i);

		sum += x[(size_t)(((unsigned __int128)r * n) >> 64)];
	}
	return sum / (double)n;
}

static void boot_one(void *ctx, size_t rep, int thread)
{
	const struct boot *t = ctx;

	(void)thread;
	t->out[rep] = resampled(t->a, t->na, t->seed, 2 * (uint64_t)rep);
	if (t->nb)
		t->out[rep] -= resampled(t->b, t->nb, t->seed,
		                         2 * (uint64_t)rep + 1);
}

int stats_bootstrap(const double *a, size_t na, const double *b, size_t nb,
                    size_t n_reps, double level, uint64_t seed, struct par *p,
                    double *lo, double *hi, struct err *e)
{
	struct boot t = { a, b, na, nb, seed, NULL };
	size_t i;

	*lo = *hi = NAN;
	if (!na || !n_reps)
		return 0;
	for (i = 0; i < na + nb; i++)
		if (isnan(i < na ? a[i] : b[i - na]))
			return 0;
	if (!(t.out = mem_scratch(n_reps, sizeof(*t.out), e)))
		return -1;
	par_for(p, n_reps, boot_one, &t);
	qsort(t.out, n_reps, sizeof(*t.out), ascending);
	*lo = stats_quantile(t.out, n_reps, (1 - level) / 2);
	*hi = stats_quantile(t.out, n_reps, (1 + level) / 2);
	mem_free(t.out);
	return 0;
}

/* ---- effect sizes, likeness -------------------------------------------- */

double stats_cohen_d(const double *a, size_t na, const double *b, size_t nb)
{
	double ma, mb, sa, sb, pooled;

	if (!na || !nb || na + nb < 3)
		return NAN;
	stats_moments(a, na, &ma, &sa);
	stats_moments(b, nb, &mb, &sb);
	pooled = sqrt(((double)na * sa * sa + (double)nb * sb * sb) /
	              (double)(na + nb - 2));
	if (pooled == 0)
		return ma == mb ? 0 : ma > mb ? INFINITY : -INFINITY;
	return (ma - mb) / pooled;
}

double stats_cosine(const double *a, const double *b, size_t n)
{
	double ab = 0, aa = 0, bb = 0;
	size_t i;

	for (i = 0; i < n; i++)
		if (isfinite(a[i]) && isfinite(b[i])) {
			ab += a[i] * b[i];
			aa += a[i] * a[i];
			bb += b[i] * b[i];
		}
	return aa > 0 && bb > 0 ? ab / (sqrt(aa) * sqrt(bb)) : NAN;
}

int stats_ranks(const double *x, size_t n, double *rank, double *ties,
                struct err *e)
{
	struct at *s = mem_array(n, sizeof(*s), e);
	double sum = 0;
	size_t i, j, k;

	if (!s)
		return -1;
	for (i = 0; i < n; i++)
		s[i] = (struct at) { isnan(x[i]) ? INFINITY : x[i], i };
	qsort(s, n, sizeof(*s), by_value);
	for (i = 0; i < n; i = j) {
		double t;

		for (j = i + 1; j < n && s[j].v == s[i].v; j++)
			;
		t = (double)(j - i);
		sum += t * t * t - t;
		for (k = i; k < j; k++)
			rank[s[k].i] = (double)(i + j + 1) / 2;
	}
	if (ties)
		*ties = sum;
	mem_free(s);
	return 0;
}
