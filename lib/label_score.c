/* How well labels hold. */
#include <math.h>
#include <stdlib.h>

#include "label.h"

#define Z 1.959963984540054	/* for 95 % */

static void wilson(double k, double n, double *lo, double *hi)
{
	const double z = Z, z2 = z * z;
	double p = k / n, d = 1 + z2 / n, mid = (p + z2 / (2 * n)) / d;
	double half = z / d * sqrt(p * (1 - p) / n + z2 / (4 * n * n));

	*lo = mid - half > 0 ? mid - half : 0;
	*hi = mid + half < 1 ? mid + half : 1;
}

int label_score_close(struct label_score *s)
{
	double a, b, la, ha, lb, hb;

	if (!s->on || !s->off)
		return -1;
	a = (double)s->hit_on / (double)s->on;
	b = (double)s->hit_off / (double)s->off;
	wilson((double)s->hit_on, (double)s->on, &la, &ha);
	wilson((double)s->hit_off, (double)s->off, &lb, &hb);
	s->balanced = (a + b) / 2;
	s->low = s->balanced - hypot(a - la, b - lb) / 2;
	s->high = s->balanced + hypot(ha - a, hb - b) / 2;
	return 0;
}

/* ---- embeddings ---- */

/* The variance of an area t from m and n items, both counted as their mean where
 * Hanley and McNeil have either. */
static double auc_variance(double t, double m, double n)
{
	double other = (m + n) / 2 - 1;

	return t * (1 - t) / (m * n) *
	       (1 + other * (1 - t) / (2 - t) + other * t / (1 + t));
}

/* The t between `from` and `to` that is 1.96 of its own deviations from auc. */
static double auc_limit(const struct label_auc *s, double from, double to)
{
	double t = from, off;
	int i;

	for (i = 0; i < 60; i++) {
		t = (from + to) / 2;
		off = t - s->auc;
		if (off * off <= Z * Z * auc_variance(t, (double)s->on,
		                                      (double)s->off))
			from = t;	/* still inside the interval */
		else
			to = t;
	}
	return t;
}

int label_auc_of(const double *near, const uint8_t *truth, size_t n,
                 struct label_auc *s)
{
	double won = 0;
	size_t i, j;

	*s = (struct label_auc){ 0 };
	for (i = 0; i < n; i++) {
		s->on += truth[i];
		s->off += !truth[i];
		for (j = 0; truth[i] && j < n; j++)
			if (!truth[j])
				won += near[i] > near[j] ? 1
				       : near[i] == near[j] ? 0.5 : 0;
	}
	if (!s->on || !s->off)
		return -1;
	s->auc = won / ((double)s->on * (double)s->off);
	s->low = auc_limit(s, s->auc, 0);
	s->high = auc_limit(s, s->auc, 1);
	return 0;
}
