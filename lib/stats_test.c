/* stats: tests of ranks, and the tails they need. */
#include "stats.h"

#include <math.h>
#include <string.h>

#include "mem.h"

double stats_normal_sf(double z)
{
	return 0.5 * erfc(z * 0.70710678118654752440);
}

/*
 * With whole degrees the tail is a finite sum of terms of one sign: y = x / 2,
 *   even df: sum over i < df / 2 of y^i e^-y / i!
 *   odd df:  erfc(sqrt y) + the same with i + 1/2 and gamma(i + 3/2).
 * Summed outward from its largest term, which alone is computed by logarithms.
 */
double stats_chi2_sf(double x, unsigned df)
{
	double y = x / 2, half = df % 2 ? 0.5 : 0, sum, t, first;
	unsigned n = df / 2, at, i;

	if (isnan(x) || !df)
		return NAN;
	if (x <= 0 || isinf(x))
		return x <= 0;
	sum = df % 2 ? erfc(sqrt(y)) : 0;
	if (n) {
		at = y - half < n - 1 ? (unsigned)(y > half ? y - half : 0)
		                      : n - 1;
		first = exp((at + half) * log(y) - y - lgamma(at + half + 1));
		for (t = first, i = at; ; i--) {
			sum += t;
			if (!i)
				break;
			t *= (i + half) / y;
		}
		for (t = first, i = at + 1; i < n; i++)
			sum += t *= y / (i + half);
	}
	return sum < 1 ? sum : 1;
}

/*
 * P(U = u) for samples of m <= n without ties, u = 0 .. m n, into f[0 ..].
 * The largest value is from the second sample with probability n' / (m' + n'),
 * and then adds nothing, else n':
 *   f(m', n') = m' / (m' + n') shift(f(m' - 1, n'), n')
 *             + n' / (m' + n') f(m', n' - 1).
 * room: (m + 1) rows of m n + 1.
 */
static void distribution(size_t m, size_t n, double *room)
{
	size_t width = m * n + 1, i, j, u;

	memset(room, 0, (m + 1) * width * sizeof(*room));
	for (i = 0; i <= m; i++)
		room[i * width] = 1;		/* n' = 0: U is 0 */
	for (j = 1; j <= n; j++)
		for (i = 1; i <= m; i++) {
			const double *less = room + (i - 1) * width;
			double *f = room + i * width;
			double a = (double)i / (double)(i + j);

			for (u = i * j + 1; u-- > 0; )
				f[u] = (1 - a) * f[u] +
				       (u >= j ? a * less[u - j] : 0);
		}
}

/* P(U >= u), doubled: two-sided, for u at or above the middle. */
static int exact_p(double u, size_t na, size_t nb, double *p, struct err *e)
{
	size_t m = na < nb ? na : nb, n = na < nb ? nb : na, i;
	size_t width = m * n + 1;
	double *room = mem_scratch((m + 1) * width, sizeof(*room), e), sum = 0;

	if (!room)
		return -1;
	distribution(m, n, room);
	for (i = width; i-- > (size_t)u; )	/* the small ones first */
		sum += room[m * width + i];
	*p = 2 * sum < 1 ? 2 * sum : 1;
	mem_free(room);
	return 0;
}

static int any_nan(const double *x, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (isnan(x[i]))
			return 1;
	return 0;
}

int stats_mann_whitney(const double *a, size_t na, const double *b, size_t nb,
                       struct stats_u *out, struct err *e)
{
	double *x = NULL, *rank = NULL, ties, sum = 0, pairs, u, s;
	double n = (double)na + (double)nb;
	size_t i;
	int rc = -1;

	*out = (struct stats_u) { NAN, NAN, NAN, 0 };
	if (!na || !nb || any_nan(a, na) || any_nan(b, nb))
		return 0;
	if (!(x = mem_scratch(na + nb, sizeof(*x), e)) ||
	    !(rank = mem_scratch(na + nb, sizeof(*rank), e)))
		goto done;
	memcpy(x, a, na * sizeof(*x));
	memcpy(x + na, b, nb * sizeof(*x));
	if (stats_ranks(x, na + nb, rank, &ties, e) < 0)
		goto done;
	for (i = 0; i < na; i++)
		sum += rank[i];
	pairs = (double)na * (double)nb;
	out->u = sum - (double)na * ((double)na + 1) / 2;
	out->r = 2 * out->u / pairs - 1;
	u = out->u > pairs - out->u ? out->u : pairs - out->u;
	out->exact = ties == 0 && pairs <= STATS_EXACT;
	if (out->exact) {
		rc = exact_p(u, na, nb, &out->p, e);
		goto done;
	}
	s = sqrt(pairs / 12 * (n + 1 - ties / (n * (n - 1))));
	out->p = s > 0 ? 2 * stats_normal_sf((u - pairs / 2 - 0.5) / s) : 1;
	if (out->p > 1)
		out->p = 1;
	rc = 0;
done:
	mem_free(x);
	mem_free(rank);
	return rc;
}

int stats_kruskal(const double *x, const size_t *start, size_t n_groups,
                  struct stats_h *out, struct err *e)
{
	size_t total = start[n_groups] - start[0], g, i;
	double n = (double)total, *rank, ties, sum = 0, scale;

	x += start[0];
	*out = (struct stats_h) { NAN, NAN, NAN, 0 };
	for (g = 0; g < n_groups; g++)
		out->groups += start[g + 1] > start[g];
	if (out->groups < 2 || any_nan(x, total))
		return 0;
	if (!(rank = mem_scratch(total, sizeof(*rank), e)))
		return -1;
	if (stats_ranks(x, total, rank, &ties, e) < 0) {
		mem_free(rank);
		return -1;
	}
	for (g = 0; g < n_groups; g++) {
		size_t from = start[g] - start[0], to = start[g + 1] - start[0];
		double r = 0;

		for (i = from; i < to; i++)
			r += rank[i] - (n + 1) / 2;
		if (to > from)
			sum += r * r / (double)(to - from);
	}
	mem_free(rank);
	scale = n * (n + 1) / 12 * (1 - ties / (n * n * n - n));
	out->h = scale > 0 ? sum / scale : 0;
	out->p = scale > 0 ? stats_chi2_sf(out->h, (unsigned)out->groups - 1)
	                   : 1;
	out->epsilon2 = out->h / (n - 1);
	return 0;
}

int stats_spearman(const double *x, const double *y, size_t n, double *rho,
                   struct err *e)
{
	double *r = NULL, *s = NULL, mid = ((double)n + 1) / 2;
	double xy = 0, xx = 0, yy = 0;
	size_t i;
	int rc = -1;

	*rho = NAN;
	if (n < 2 || any_nan(x, n) || any_nan(y, n))
		return 0;
	if (!(r = mem_scratch(n, sizeof(*r), e)) ||
	    !(s = mem_scratch(n, sizeof(*s), e)) ||
	    stats_ranks(x, n, r, NULL, e) < 0 ||
	    stats_ranks(y, n, s, NULL, e) < 0)
		goto done;
	for (i = 0; i < n; i++) {
		xy += (r[i] - mid) * (s[i] - mid);
		xx += (r[i] - mid) * (r[i] - mid);
		yy += (s[i] - mid) * (s[i] - mid);
	}
	if (xx > 0 && yy > 0)
		*rho = xy / (sqrt(xx) * sqrt(yy));
	rc = 0;
done:
	mem_free(r);
	mem_free(s);
	return rc;
}
