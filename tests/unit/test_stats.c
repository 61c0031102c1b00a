/* Against scipy (tests/oracle/stats_oracle.py), and the rules for edge cases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "stats.h"

#define GOLDEN "tests/golden/stats.json"
enum { MAX = 4096 };

static json_t *golden;
static struct err e;

static int open_golden(void **state)
{
	(void)state;
	golden = json_read(GOLDEN, 1 << 20, &e);
	return golden ? 0 : -1;
}

static int close_golden(void **state)
{
	(void)state;
	json_decref(golden);
	return 0;
}

static void near(double got, double want, double rel)
{
	if (!(fabs(got - want) <= rel * fabs(want) + 1e-300))
		fail_msg("got %.17g, wanted %.17g", got, want);
}

static double num(const json_t *j, const char *key)
{
	return json_number_value(json_object_get(j, key));
}

/* The numbers of an array, nested ones in a row. */
static size_t numbers(const json_t *a, double *x)
{
	size_t i, n = 0;
	json_t *v;

	json_array_foreach(a, i, v) {
		if (json_is_array(v)) {
			n += numbers(v, x + n);
			continue;
		}
		assert_true(n < MAX);
		x[n++] = json_number_value(v);
	}
	return n;
}

static size_t get(const json_t *j, const char *key, double *x)
{
	return numbers(json_object_get(j, key), x);
}

static void like_scipy_mann_whitney(void **state)
{
	double a[MAX], b[MAX];
	struct stats_u u, v;
	size_t i, na, nb;
	json_t *c;

	(void)state;
	json_array_foreach(json_object_get(golden, "mann_whitney"), i, c) {
		na = get(c, "a", a);
		nb = get(c, "b", b);
		assert_int_equal(stats_mann_whitney(a, na, b, nb, &u, &e), 0);
		near(u.u, num(c, "u"), 0);
		near(u.p, num(c, "p"), 1e-12);
		assert_int_equal(u.exact,
		                 json_is_true(json_object_get(c, "exact")));
		/* the other way round: the same evidence, opposite effect */
		assert_int_equal(stats_mann_whitney(b, nb, a, na, &v, &e), 0);
		near(v.p, u.p, 1e-13);
		near(v.r, -u.r, 1e-13);
		if (json_is_number(json_object_get(c, "d")))
			near(stats_cohen_d(a, na, b, nb), num(c, "d"), 1e-12);
		else
			assert_true(isnan(stats_cohen_d(a, na, b, nb)));
	}
	assert_int_equal(i, 10);
}

static void like_scipy_kruskal(void **state)
{
	double x[MAX];
	size_t i, g, start[16];
	struct stats_h h;
	json_t *c, *group;

	(void)state;
	json_array_foreach(json_object_get(golden, "kruskal"), i, c) {
		start[0] = 0;
		json_array_foreach(json_object_get(c, "groups"), g, group)
			start[g + 1] = start[g] + numbers(group, x + start[g]);
		assert_int_equal(stats_kruskal(x, start, g, &h, &e), 0);
		near(h.h, num(c, "h"), 1e-12);
		near(h.p, num(c, "p"), 1e-11);
		near(h.epsilon2, num(c, "epsilon2"), 1e-12);
		/* an empty group changes nothing */
		start[g + 1] = start[g];
		assert_int_equal(stats_kruskal(x, start, g + 1, &h, &e), 0);
		near(h.p, num(c, "p"), 1e-11);
		assert_int_equal(h.groups, g);
	}
	assert_int_equal(i, 5);
}

static void like_scipy_the_rest(void **state)
{
	double x[MAX], y[MAX], q[MAX], v;
	size_t i, n;
	json_t *c;

	(void)state;
	json_array_foreach(json_object_get(golden, "spearman"), i, c) {
		n = get(c, "x", x);
		get(c, "y", y);
		assert_int_equal(stats_spearman(x, y, n, &v, &e), 0);
		near(v, num(c, "rho"), 1e-12);
	}
	c = json_object_get(golden, "bh");
	n = get(c, "p", x);
	get(c, "q", y);
	assert_int_equal(stats_bh(x, n, q, &e), 0);
	for (i = 0; i < n; i++)
		near(q[i], y[i], 1e-14);
	json_array_foreach(json_object_get(golden, "chi2"), i, c) {
		numbers(c, x);
		near(stats_chi2_sf(x[0], (unsigned)x[1]), x[2], 1e-11);
	}
	json_array_foreach(json_object_get(golden, "normal"), i, c) {
		numbers(c, x);
		near(stats_normal_sf(x[0]), x[1], 1e-12);
	}
	c = json_object_get(golden, "cosine");
	n = get(c, "a", x);
	get(c, "b", y);
	near(stats_cosine(x, y, n), num(c, "cosine"), 1e-12);
}

static void like_numpy_bootstrap(void **state)
{
	double a[MAX], b[MAX], lo, hi, lo3, hi3;
	struct par *p = par_new(3, &e);
	size_t i, na, nb;
	json_t *c;

	(void)state;
	assert_non_null(p);
	json_array_foreach(json_object_get(golden, "bootstrap"), i, c) {
		const char *s = json_string_value(json_object_get(c, "seed"));
		uint64_t seed = strtoull(s, NULL, 10);
		size_t reps = (size_t)num(c, "reps");

		na = get(c, "a", a);
		nb = get(c, "b", b);
		assert_int_equal(stats_bootstrap(a, na, b, nb, reps,
		                 num(c, "level"), seed, NULL, &lo, &hi, &e), 0);
		near(lo, num(c, "lo"), 1e-12);
		near(hi, num(c, "hi"), 1e-12);
		assert_int_equal(stats_bootstrap(a, na, b, nb, reps,
		                 num(c, "level"), seed, p, &lo3, &hi3, &e), 0);
		assert_memory_equal(&lo, &lo3, sizeof(lo));
		assert_memory_equal(&hi, &hi3, sizeof(hi));
	}
	assert_int_equal(i, 3);
	par_free(p);
}

static enum stats_linkage linkage(const char *s)
{
	return !strcmp(s, "average") ? STATS_AVERAGE :
	       !strcmp(s, "complete") ? STATS_COMPLETE :
	       !strcmp(s, "single") ? STATS_SINGLE : STATS_WARD;
}

static void like_scipy_clusters(void **state)
{
	double d[MAX], z[MAX], leaf[MAX];
	struct stats_merge m[64];
	uint32_t order[64];
	size_t i, k, n;
	json_t *c;

	(void)state;
	json_array_foreach(json_object_get(golden, "clusters"), i, c) {
		const char *how = json_string_value(json_object_get(c, "how"));

		n = json_array_size(json_object_get(c, "dist"));
		get(c, "dist", d);
		get(c, "merges", z);
		get(c, "leaves", leaf);
		assert_int_equal(stats_cluster(d, n, linkage(how), m, &e), 0);
		for (k = 0; k + 1 < n; k++) {
			assert_int_equal(m[k].a, (uint32_t)z[4 * k]);
			assert_int_equal(m[k].b, (uint32_t)z[4 * k + 1]);
			near(m[k].height, z[4 * k + 2], 1e-12);
			assert_int_equal(m[k].n, (uint32_t)z[4 * k + 3]);
		}
		assert_int_equal(stats_leaves(m, n, order, &e), 0);
		for (k = 0; k < n; k++)
			assert_int_equal(order[k], (uint32_t)leaf[k]);
	}
	assert_int_equal(i, 16);
}

static void clusters_of_equals(void **state)
{
	double d[25] = { 0 };
	struct stats_merge m[4];
	uint32_t order[5];
	size_t i;

	(void)state;
	for (i = 0; i < 4; i++) {	/* every pair at distance 0 */
		assert_int_equal(stats_cluster(d, 5, (enum stats_linkage)i, m,
		                               &e), 0);
		assert_int_equal(m[3].n, 5);
		assert_true(m[3].height == 0);
	}
	assert_int_equal(stats_cluster(d, 1, STATS_WARD, m, &e), 0);
	assert_int_equal(stats_leaves(m, 1, order, &e), 0);
	assert_int_equal(order[0], 0);
	d[7] = NAN;
	assert_int_equal(stats_cluster(d, 5, STATS_SINGLE, m, &e), -1);
	assert_int_equal(e.code, ERR_RANGE);
	assert_int_equal(stats_cluster(d, 0, STATS_SINGLE, m, &e), -1);
	for (i = 0; i < 25; i++)	/* squares beyond what doubles hold */
		d[i] = 1e300;
	assert_int_equal(stats_cluster(d, 5, STATS_WARD, m, &e), 0);
	assert_int_equal(m[3].n, 5);
}

static void one_sample(void **state)
{
	double x[] = { 2, 4, 4, 4, 5, 5, 7, 9 }, same[] = { 0.1, 0.1, 0.1 };
	double mean, std, z, sp[4], zs[4] = { 3, NAN, -4, INFINITY };
	double sorted[] = { 1, 2, 10 };

	(void)state;
	stats_moments(x, 8, &mean, &std);
	assert_true(mean == 5 && std == 2);
	stats_moments(same, 3, &mean, &std);
	assert_true(mean == 0.1 && std == 0);
	stats_moments(x, 1, &mean, &std);
	assert_true(mean == 2 && std == 0);
	stats_moments(x, 0, &mean, &std);
	assert_true(isnan(mean) && isnan(std));

	assert_int_equal(stats_z(9, 5, 2, &z), STATS_Z);
	assert_true(z == 2);
	assert_int_equal(stats_z(9, 9, 0, &z), STATS_Z_SAME);
	assert_true(isnan(z));
	assert_int_equal(stats_z(9, 8, 0, &z), STATS_Z_APART);
	assert_true(isnan(z));

	stats_profile(zs, 4, sp);
	near(sp[0], 0.6, 1e-15);
	near(sp[2], -0.8, 1e-15);
	assert_true(isnan(sp[1]) && isnan(sp[3]));
	zs[0] = zs[2] = 0;
	stats_profile(zs, 4, sp);
	assert_true(sp[0] == 0 && sp[2] == 0 && isnan(sp[1]));
	zs[0] = 3e200;
	zs[2] = 4e200;
	stats_profile(zs, 4, sp);
	near(sp[2], 0.8, 1e-15);

	assert_true(stats_quantile(sorted, 3, 0) == 1);
	assert_true(stats_quantile(sorted, 3, 0.75) == 6);
	assert_true(stats_quantile(sorted, 3, 1) == 10);
}

static void empirical(void **state)
{
	struct stats_p p = stats_empirical(5, 0, 99, 99);

	(void)state;
	near(p.upper, 0.01, 1e-15);
	near(p.lower, 1, 0);
	near(p.two, 0.02, 1e-15);
	p = stats_empirical(5, 60, 60, 99);	/* 21 of them equal it */
	assert_true(p.two == 1);
	p = stats_empirical(5, 0, 0, 0);	/* no null: no evidence */
	assert_true(p.two == 1 && p.upper == 1);
	p = stats_empirical(NAN, 1, 1, 9);
	assert_true(isnan(p.two));
}

static void edges(void **state)
{
	double a[] = { 1, 1, 1 }, b[] = { 1, 1 }, c[] = { NAN, 2 };
	double q[] = { NAN, 0.5, NAN, 0.02 }, lo, hi, rho;
	size_t start[] = { 0, 2, 3 }, empty[] = { 1, 3, 3 };
	struct stats_u u;
	struct stats_h h;

	(void)state;
	assert_int_equal(stats_mann_whitney(a, 3, b, 2, &u, &e), 0);
	assert_true(u.p == 1 && u.r == 0 && !u.exact);
	assert_int_equal(stats_mann_whitney(a, 3, c, 2, &u, &e), 0);
	assert_true(isnan(u.p) && isnan(u.r));
	assert_int_equal(stats_mann_whitney(a, 0, b, 2, &u, &e), 0);
	assert_true(isnan(u.p));
	assert_int_equal(stats_kruskal(a, start, 2, &h, &e), 0);
	assert_true(h.h == 0 && h.p == 1);
	assert_int_equal(stats_kruskal(a, empty, 2, &h, &e), 0);
	assert_true(isnan(h.p));
	assert_int_equal(h.groups, 1);

	assert_int_equal(stats_bh(q, 4, q, &e), 0);	/* two tests, in place */
	assert_true(isnan(q[0]) && isnan(q[2]));
	near(q[1], 0.5, 0);
	near(q[3], 0.04, 1e-15);

	assert_true(stats_cohen_d(a, 3, b, 2) == 0);
	b[0] = b[1] = 2;
	assert_true(stats_cohen_d(a, 3, b, 2) == -INFINITY);
	assert_true(isnan(stats_cohen_d(a, 1, b, 1)));
	assert_int_equal(stats_spearman(a, a, 3, &rho, &e), 0);
	assert_true(isnan(rho));
	assert_true(isnan(stats_cosine(c, c, 1)));
	assert_int_equal(stats_bootstrap(a, 1, NULL, 0, 50, 0.95, 1, NULL, &lo,
	                                 &hi, &e), 0);
	assert_true(lo == 1 && hi == 1);
	assert_int_equal(stats_bootstrap(c, 2, NULL, 0, 50, 0.95, 1, NULL, &lo,
	                                 &hi, &e), 0);
	assert_true(isnan(lo) && isnan(hi));
	assert_true(stats_chi2_sf(0, 3) == 1 && stats_chi2_sf(-1, 3) == 1);
	assert_true(isnan(stats_chi2_sf(1, 0)) && isnan(stats_chi2_sf(NAN, 2)));
	assert_true(stats_chi2_sf(INFINITY, 3) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(like_scipy_mann_whitney),
		cmocka_unit_test(like_scipy_kruskal),
		cmocka_unit_test(like_scipy_the_rest),
		cmocka_unit_test(like_numpy_bootstrap),
		cmocka_unit_test(like_scipy_clusters),
		cmocka_unit_test(clusters_of_equals),
		cmocka_unit_test(one_sample),
		cmocka_unit_test(empirical),
		cmocka_unit_test(edges)
	};

	return cmocka_run_group_tests(tests, open_golden, close_golden);
}
