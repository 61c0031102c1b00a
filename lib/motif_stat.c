#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "motif_impl.h"
#include "stats.h"

/* ---- one motif against one null model ---- */

/* What is known of one motif without looking at the others. column [n]. */
static void fill_one(struct motif_stat *s, uint64_t count,
                     const double *column, uint32_t n)
{
	double x = (double)count;
	uint32_t i;

	for (i = 0; i < n; i++) {
		s->n_above += column[i] > x;
		s->n_equal += column[i] == x;
	}
	stats_moments(column, n, &s->mean, &s->std);
	s->fixed = stats_z(x, s->mean, s->std, &s->z) != STATS_Z;
	s->p = stats_empirical(x, s->n_above + s->n_equal, n - s->n_above, n)
	       .two;
	/* Milo et al. (2004), who add 4 to keep rare motifs small */
	s->effect = (x - s->mean) / (x + s->mean + 4);
	s->sp = s->q = s->lo = s->hi = NAN;
}

/* ---- intervals of z ---- */

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

enum { RESAMPLES = 400 };
static const double level = 0.95;

/*
 * Percentile bootstrap of z: the null counts are drawn again with replacement,
 * and the same draws serve every motif. columns [n_motifs, n]. A resample
 * without variance has no z; when more than 1 in 20 are so, neither is there
 * an interval.
 */
static int intervals(struct motif_stat *s, const uint64_t *count,
                     const double *columns, size_t n_motifs, uint32_t n,
                     uint64_t seed, struct err *e)
{
	uint32_t *times = mem_array(n, sizeof(*times), e), i, r;
	double *z = mem_scratch(n_motifs * RESAMPLES, sizeof(*z), e);
	size_t m, k;

	for (r = 0; times && z && r < RESAMPLES; r++) {
		memset(times, 0, n * sizeof(*times));
		for (i = 0; i < n; i++)
			times[(uint64_t)(uint32_t)stats_random(seed, r, i) * n
			      >> 32]++;
		for (m = 0; m < n_motifs; m++) {
			const double *c = columns + m * n;
			double sum = 0, sq = 0, mean;

			z[m * RESAMPLES + r] = NAN;
			if (s[m].fixed)
				continue;
			for (i = 0; i < n; i++) {
				double d = c[i] - s[m].mean;

				sum += times[i] * d;
				sq += times[i] * d * d;
			}
			mean = sum / n;
			sq = sq / n - mean * mean;
			if (sq > 1e-12 * s[m].std * s[m].std)
				z[m * RESAMPLES + r] = ((double)count[m] -
					s[m].mean - mean) / sqrt(sq);
		}
	}
	for (m = 0; times && z && m < n_motifs; m++) {
		double *v = z + m * RESAMPLES;

		for (k = 0, i = 0; i < RESAMPLES; i++)
			if (isfinite(v[i]))
				v[k++] = v[i];
		if (k < RESAMPLES - RESAMPLES / 20)
			continue;
		qsort(v, k, sizeof(*v), ascending);
		s[m].lo = stats_quantile(v, k, (1 - level) / 2);
		s[m].hi = stats_quantile(v, k, (1 + level) / 2);
	}
	mem_free(z);
	mem_free(times);
	return times && z ? 0 : -1;
}

/* ---- all motifs ---- */

/* Profile of a group's z, without the disconnected triads. */
static void profile(struct motif_stat *s, size_t first, size_t last)
{
	double z[MOTIF_N];
	size_t m;

	for (m = first; m < last; m++)
		z[m - first] = motif_disconnected((int)m) ? NAN : s[m].z;
	stats_profile(z, last - first, z);
	for (m = first; m < last; m++)
		s[m].sp = z[m - first];
}

/* Two-sided p of the observed count is a test only if the null model could
 * have said something else. */
static double tested(const struct motif_stat *s, uint64_t count)
{
	return s->fixed && s->mean == (double)count ? NAN : s->p;
}

static int fill_null(struct motif_result *r, const struct motif_opt *o,
                     int null, struct err *e)
{
	static const size_t first[MOTIF_GROUPS + 1] = {
		MOTIF_TRIAD, MOTIF_SELF_POS, MOTIF_FFL_C1, MOTIF_QUAD, MOTIF_N
	};
	struct motif_stat *s = r->stat[null];
	int g, rc = 0;

	for (g = 0; rc == 0 && g < MOTIF_GROUPS; g++) {
		size_t n = first[g + 1] - first[g], m, i;
		struct motif_stat *mine = s + first[g];
		const uint64_t *count = r->count + first[g];
		double *columns, p[MOTIF_N];

		if (!(o->groups & 1u << g) ||
		    !motif_null_counts((enum motif_null)null,
		                       (enum motif_group)g))
			continue;
		columns = mem_scratch(n * o->n, sizeof(*columns), e);
		if (!columns)
			return -1;
		for (m = 0; m < n; m++) {
			double *c = columns + m * o->n;

			for (i = 0; i < o->n; i++)
				c[i] = (double)r->sample[null]
					[i * r->n_motifs + first[g] + m];
			fill_one(&mine[m], count[m], c, o->n);
			p[m] = tested(&mine[m], count[m]);
		}
		profile(s, first[g], first[g + 1]);
		rc = intervals(mine, count, columns, n, o->n, o->seed, e);
		if (rc == 0)
			rc = stats_bh(p, n, p, e);
		for (m = 0; m < n; m++)
			mine[m].q = p[m];
		mem_free(columns);
	}
	return rc;
}

struct fill {
	struct motif_result *r;
	const struct motif_opt *o;
	struct err e[MOTIF_NULLS];
	int rc[MOTIF_NULLS];
};

static void fill_item(void *ctx, size_t null, int thread)
{
	struct fill *f = ctx;

	(void)thread;
	if (f->r->sample[null] && f->o->n)
		f->rc[null] = fill_null(f->r, f->o, (int)null, &f->e[null]);
}

int motif_stat_fill(struct motif_result *r, const struct motif_opt *o,
                    struct par *p, struct err *e)
{
	struct fill f = { .r = r, .o = o };
	int null;

	par_for(p, MOTIF_NULLS, fill_item, &f);
	for (null = 0; null < MOTIF_NULLS; null++)
		if (f.rc[null] < 0) {
			if (e)
				*e = f.e[null];
			return -1;
		}
	return 0;
}
