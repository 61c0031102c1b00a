/*
 * stats: the statistics of motif counts and of comparisons between sets of
 * graphs. Pure functions over arrays of doubles: no I/O, no state, nothing kept;
 * those that need room for a moment return -1 with ERR_MEM or ERR_RANGE.
 *
 * A NaN among the values makes the result NaN, never an error: callers leave
 * out what was not measured, and say how many values were left. Ties, samples
 * of one and samples without variance follow the rule given at each function.
 */
#ifndef R1_STATS_H
#define R1_STATS_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "par.h"

/* ---- one sample -------------------------------------------------------- */

/* Mean and population standard deviation (divisor n). n = 0: both NaN;
 * n = 1: std 0. Values that are all equal have a std of exactly 0. */
void stats_moments(const double *x, size_t n, double *mean, double *std);

/* How an observation lies in its null distribution. */
enum stats_z {
	STATS_Z,	/* z is finite */
	STATS_Z_SAME,	/* the null does not vary and equals the observation */
	STATS_Z_APART	/* the null does not vary and differs from it */
};

/* *z = (x - mean) / std. Without variance *z is NaN, and what is returned
 * says which of the two cases it is: no large number stands for infinity. */
enum stats_z stats_z(double x, double mean, double std, double *z);

/* Significance profile: sp[i] = z[i] / sqrt(sum z^2) over the finite z; NaN
 * where z is not finite; 0 where all finite z are 0. sp may be z.
 * Source: Milo et al., Science 303 (2004). */
void stats_profile(const double *z, size_t n, double *sp);

/* The share of the null as extreme as x, counting x itself: with n null
 * values, (1 + how many) / (n + 1), so never 0. */
struct stats_p {
	double upper;	/* null >= x */
	double lower;	/* null <= x */
	double two;	/* min(1, 2 min(upper, lower)) */
};
struct stats_p stats_empirical(double x, size_t n_ge, size_t n_le, size_t n);

/* Benjamini-Hochberg: q[i], the smallest false discovery rate at which p[i]
 * is called. A NaN in p is no test: it counts for nothing and stays NaN. q may
 * be p. */
int stats_bh(const double *p, size_t n, double *q, struct err *e);

/* Quantile of n >= 1 ascending values, linear between neighbours (numpy's
 * and R's default). */
double stats_quantile(const double *sorted, size_t n, double q);

/* Value i of the stream (seed, stream), 64 uniform bits: splitmix64's
 * finalizer over counters, so any order and any thread gives the same. */
uint64_t stats_random(uint64_t seed, uint64_t stream, uint64_t i);

/*
 * Percentile bootstrap of mean(a) - mean(b), or with nb = 0 of mean(a): out of
 * n_reps resamples with replacement (each group on its own), *lo and *hi are the
 * quantiles (1 - level) / 2 and (1 + level) / 2. Group a draws from streams
 * 2r, b from 2r + 1, r = 0..n_reps - 1. The same for any number of threads (p
 * may be NULL). na = 0: NaN. na = 1 (and nb <= 1): the interval is a point.
 */
int stats_bootstrap(const double *a, size_t na, const double *b, size_t nb,
                    size_t n_reps, double level, uint64_t seed, struct par *p,
                    double *lo, double *hi, struct err *e);

/* ---- two and more samples ---------------------------------------------- */

/* (mean a - mean b) / pooled sample deviation. Fewer than three values in all
 * or an empty sample: NaN. No variance: 0 when the means agree, else +-inf. */
double stats_cohen_d(const double *a, size_t na, const double *b, size_t nb);

/* Above this n_a * n_b the normal approximation is used without ties too. */
enum { STATS_EXACT = 2500 };

struct stats_u {
	double u;	/* pairs with a > b, ties counted half */
	double p;	/* two-sided */
	double r;	/* rank-biserial 2 u / (na nb) - 1: 1 when every a > b */
	int exact;	/* p from the exact distribution */
};

/*
 * Mann-Whitney U. p is exact without ties and na * nb <= STATS_EXACT, else by
 * the normal approximation with tie and continuity correction. All values equal:
 * p = 1. An empty sample: NaN.
 */
int stats_mann_whitney(const double *a, size_t na, const double *b, size_t nb,
                       struct stats_u *out, struct err *e);

struct stats_h {
	double h;	/* corrected for ties */
	double p;	/* upper tail of chi-square, groups - 1 degrees */
	double epsilon2;	/* h / (n - 1): 0 nothing, 1 groups explain ranks */
	size_t groups;	/* that are not empty */
};

/* Kruskal-Wallis over the groups x[start[g]] .. x[start[g + 1] - 1], g <
 * n_groups; empty ones are left out. Fewer than two groups: NaN. All values
 * equal: h = 0, p = 1. */
int stats_kruskal(const double *x, const size_t *start, size_t n_groups,
                  struct stats_h *out, struct err *e);

/* Ranks from 1, ties at their mean. rank[n]; returns sum of t^3 - t over groups
 * of t ties in *ties (may be NULL). NaN sorts last. */
int stats_ranks(const double *x, size_t n, double *rank, double *ties,
                struct err *e);

/* Spearman's rho: the correlation of ranks, ties at their mean. n < 2 or a
 * sample without variance: NaN. */
int stats_spearman(const double *x, const double *y, size_t n, double *rho,
                   struct err *e);

/* Cosine of two vectors over the places where both are finite; NaN when either
 * has no length there. */
double stats_cosine(const double *a, const double *b, size_t n);

/* Upper tails: P(N(0,1) > z), and P(chi-square of df degrees > x). x <= 0: 1;
 * df = 0: NaN. Relative error below 1e-12 for df up to a thousand. */
double stats_normal_sf(double z);
double stats_chi2_sf(double x, unsigned df);

/* ---- clustering -------------------------------------------------------- */

enum stats_linkage {
	STATS_AVERAGE, STATS_COMPLETE, STATS_SINGLE, STATS_WARD
};

/* Clusters a < b become one of n members. Leaves are 0..n-1, merge i makes
 * cluster n + i. */
struct stats_merge {
	uint32_t a, b, n;
	double height;
};

/*
 * Agglomerative clustering of n >= 1 things by the nearest-neighbour chain.
 *
 *   dist  [n, n]  symmetric, finite, >= 0, diagonal ignored. Ward's heights
 *                 are meant for Euclidean distances
 *   out   [n - 1] merges, heights ascending
 *
 * Heights are those of the common convention (distance, not its square, for
 * Ward). -1 with ERR_RANGE on a distance that is not finite or negative.
 */
int stats_cluster(const double *dist, size_t n, enum stats_linkage how,
                  struct stats_merge *out, struct err *e);

/* The leaves from left to right when a stands left of b in every merge. */
int stats_leaves(const struct stats_merge *m, size_t n, uint32_t *order,
                 struct err *e);

#endif
