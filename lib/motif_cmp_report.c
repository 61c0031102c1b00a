/* motif_cmp: the comparison as JSON and its tests as CSV. */
#include "motif_cmp_impl.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "mem.h"

/* One profile at work. */
struct view {
	const struct motif_cmp *c;
	struct par *p;
	size_t profile;
	size_t n;		/* motifs */
	size_t *column;		/* [n] */
	double *v;		/* [n_graphs, n] */
	double *mean;		/* [n_sets, n] */
	/* room for one motif of one comparison */
	double *x, *y;		/* [n_graphs] */
	size_t *pair;		/* [2 n_graphs] */
};

static json_t *numbers(const double *x, size_t n)
{
	json_t *a = json_array();
	size_t i;

	for (i = 0; i < n; i++)
		json_array_append_new(a, json_finite(x[i]));
	return a;
}

/* A new member, or the element of an array, of an object being made. jansson
 * refuses NULL and says so; what could not be made shows at the end. */
static void set(json_t *o, const char *key, json_t *v)
{
	json_object_set_new(o, key, v);
}

/* ---- sets -------------------------------------------------------------- */

static json_t *summary(double *x, size_t n)
{
	double mean, std;

	stats_moments(x, n, &mean, &std);
	return json_pack("{s:o,s:o}", "mean", json_finite(mean), "std",
	                 json_finite(std));
}

static json_t *set_json(const struct motif_cmp *c, size_t s, double *x)
{
	json_t *o = json_object(), *list = json_array();
	size_t i, k, n = 0;

	for (i = 0; i < c->n_graphs; i++) {
		const struct motif_cmp_graph *g = &c->graphs[i];

		if (g->set != s)
			continue;
		n++;
		json_array_append_new(list, json_pack("{s:s,s:s,s:I,s:I,s:o}",
			"graph", g->name, "source", g->source, "nodes",
			(json_int_t)g->nodes, "edges", (json_int_t)g->edges,
			"density", json_finite(motif_cmp_density(g))));
	}
	set(o, "set", json_string(c->sets[s].name));
	set(o, "n", json_integer((json_int_t)n));
	for (k = 0; k < 3; k++) {
		static const char *const name[] = { "nodes", "edges", "density" };

		for (i = n = 0; i < c->n_graphs; i++)
			if (c->graphs[i].set == s)
				x[n++] = k == 0 ? (double)c->graphs[i].nodes :
				         k == 1 ? (double)c->graphs[i].edges :
				         motif_cmp_density(&c->graphs[i]);
		set(o, name[k], summary(x, n));
	}
	set(o, "graphs", list);
	return o;
}

/* The values of motif m in set s that were measured. */
static size_t values(const struct view *w, size_t s, size_t m, double *x)
{
	size_t i, n = 0;

	for (i = 0; i < w->c->n_graphs; i++)
		if (w->c->graphs[i].set == s &&
		    isfinite(w->v[i * w->n + m]))
			x[n++] = w->v[i * w->n + m];
	return n;
}

/* A seed for each interval, so that none shares its resamples with another. */
static uint64_t seed(const struct view *w, size_t a, size_t b, size_t m)
{
	return stats_random(stats_random(w->c->o.seed, w->profile, m), a, b);
}

static int set_profile(const struct view *w, size_t s, json_t *list,
                       struct err *e)
{
	json_t *n = json_array(), *std = json_array(), *lo = json_array();
	json_t *hi = json_array(), *o;
	double *mean = w->mean + s * w->n, d, l, h;
	size_t m, k;
	int rc = 0;

	for (m = 0; m < w->n && rc == 0; m++) {
		k = values(w, s, m, w->x);
		stats_moments(w->x, k, &mean[m], &d);
		rc = stats_bootstrap(w->x, k, NULL, 0, w->c->o.n_reps,
		                     w->c->o.level, seed(w, s, s, m), w->p, &l,
		                     &h, e);
		json_array_append_new(n, json_integer((json_int_t)k));
		json_array_append_new(std, json_finite(d));
		json_array_append_new(lo, json_finite(l));
		json_array_append_new(hi, json_finite(h));
	}
	o = json_pack("{s:s,s:o,s:o,s:o,s:o,s:o}", "set",
	              w->c->sets[s].name, "n", n, "mean", numbers(mean, w->n),
	              "std", std, "lo", lo, "hi", hi);
	json_array_append_new(list, o);
	return rc;
}

/* ---- likeness and trees ------------------------------------------------ */

/* Things with a vector each: their cosines and the tree over 1 - cosine (for
 * Ward the distance of the vectors at length 1). A cosine that is not defined
 * counts as 0 in the tree. */
static json_t *tree(const struct view *w, const double *v, size_t n, int cosines,
                    struct err *e)
{
	double *d = mem_array(n * n, sizeof(*d), e), cos;
	struct stats_merge *m = mem_array(n, sizeof(*m), e);
	uint32_t *leaf = mem_array(n, sizeof(*leaf), e);
	json_t *o = NULL, *merges = json_array(), *leaves = json_array();
	json_t *table = json_array();
	size_t i, j;

	if (!d || !m || !leaf)
		goto done;
	for (i = 0; i < n; i++) {
		for (j = 0; j < n; j++)
			d[i * n + j] = stats_cosine(v + i * w->n, v + j * w->n,
			                            w->n);
		json_array_append_new(table, numbers(d + i * n, n));
	}
	for (i = 0; i < n * n; i++) {
		cos = isnan(d[i]) ? 0 : d[i] > 1 ? 1 : d[i];
		d[i] = w->c->o.linkage == STATS_WARD ? sqrt(2 * (1 - cos))
		                                     : 1 - cos;
	}
	if (stats_cluster(d, n, w->c->o.linkage, m, e) < 0 ||
	    stats_leaves(m, n, leaf, e) < 0)
		goto done;
	for (i = 0; i + 1 < n; i++)
		json_array_append_new(merges, json_pack("[iifi]", (int)m[i].a,
			(int)m[i].b, m[i].height, (int)m[i].n));
	for (i = 0; i < n; i++)
		json_array_append_new(leaves, json_integer(leaf[i]));
	o = json_pack("{s:O,s:O}", "merges", merges, "leaves", leaves);
	if (cosines)
		set(o, "cosine", json_incref(table));
done:
	json_decref(merges);
	json_decref(leaves);
	json_decref(table);
	mem_free(d);
	mem_free(m);
	mem_free(leaf);
	return o;
}

/* ---- tests ------------------------------------------------------------- */

/* The smallest two-sided p that samples of these sizes can have. */
static double least_p(size_t na, size_t nb)
{
	double p;

	if (!na || !nb)
		return NAN;
	p = 2 * exp(lgamma((double)na + 1) + lgamma((double)nb + 1) -
	            lgamma((double)(na + nb) + 1));
	return p < 1 ? p : 1;
}

/* Values of motif m in both graphs of each pair that has them. */
static size_t matched(const struct view *w, size_t n_pairs, size_t m)
{
	size_t i, n = 0;

	for (i = 0; i < n_pairs; i++) {
		double a = w->v[w->pair[2 * i] * w->n + m];
		double b = w->v[w->pair[2 * i + 1] * w->n + m];

		if (isfinite(a) && isfinite(b)) {
			w->x[n] = a;
			w->y[n++] = b;
		}
	}
	return n;
}

static json_t *test_json(const struct view *w, const char *motif, size_t na,
                         size_t nb, uint64_t s, double *p, struct err *e)
{
	double ma, mb, d, lo, hi;
	struct stats_u u;

	if (stats_mann_whitney(w->x, na, w->y, nb, &u, e) < 0 ||
	    stats_bootstrap(w->x, na, w->y, nb, nb ? w->c->o.n_reps : 0,
	                    w->c->o.level, s, w->p, &lo, &hi, e) < 0)
		return NULL;
	stats_moments(w->x, na, &ma, &d);
	stats_moments(w->y, nb, &mb, &d);
	*p = u.p;
	return json_pack("{s:s,s:I,s:I,s:o,s:o,s:b,s:o,s:o,s:o,s:o,s:o}",
		"motif", motif, "n_a", (json_int_t)na, "n_b", (json_int_t)nb,
		"u", json_finite(u.u), "p", json_finite(u.p), "exact", u.exact,
		"rank_biserial", json_finite(u.r), "cohen_d",
		json_finite(stats_cohen_d(w->x, na, w->y, nb)), "difference",
		json_finite(ma - mb), "lo", json_finite(lo), "hi",
		json_finite(hi));
}

/* q beside each p of n lists of tests, one family. */
static int correct(json_t *lists, struct err *e)
{
	json_t *list, *t;
	size_t i, k, n = 0;
	double *p;
	int rc;

	json_array_foreach(lists, i, list)
		n += json_array_size(list);
	if (!(p = mem_array(n, sizeof(*p), e)))
		return -1;
	n = 0;
	json_array_foreach(lists, i, list)
		json_array_foreach(list, k, t) {
			const json_t *v = json_object_get(t, "p");

			p[n++] = json_is_number(v) ? json_number_value(v) : NAN;
		}
	rc = stats_bh(p, n, p, e);
	n = 0;
	json_array_foreach(lists, i, list)
		json_array_foreach(list, k, t)
			set(t, "q", json_finite(p[n++]));
	mem_free(p);
	return rc;
}

/* Sets a and b: all their graphs, then those that match. */
static json_t *pair_json(const struct view *w, size_t a, size_t b, json_t *all,
                         json_t *close, struct err *e)
{
	const struct motif_cmp *c = w->c;
	json_t *tests = json_array(), *near = json_array();
	json_t *names = json_array(), *t;
	int64_t n_pairs = 0;
	size_t m, i, k;
	double p;

	json_array_append_new(all, tests);
	json_array_append_new(close, near);
	for (m = 0; m < w->n; m++) {
		k = values(w, a, m, w->x);
		i = values(w, b, m, w->y);
		if (!(t = test_json(w, c->columns[w->column[m]].motif, k, i,
		                    seed(w, a, b + 1, m), &p, e)))
			goto fail;
		json_array_append_new(tests, t);
	}
	if (c->o.caliper > 0 &&
	    (n_pairs = motif_cmp_match(c, a, b, w->pair, e)) < 0)
		goto fail;
	for (i = 0; i < (size_t)n_pairs; i++)
		json_array_append_new(names, json_pack("[ss]",
			c->graphs[w->pair[2 * i]].name,
			c->graphs[w->pair[2 * i + 1]].name));
	for (m = 0; n_pairs && m < w->n; m++) {
		k = matched(w, (size_t)n_pairs, m);
		if (!(t = test_json(w, c->columns[w->column[m]].motif, k, k,
		                    seed(w, b + 1, a, m), &p, e)))
			goto fail;
		json_array_append_new(near, t);
	}
	return json_pack("{s:s,s:s,s:o,s:O,s:{s:o,s:o,s:O}}", "a",
	                 c->sets[a].name, "b", c->sets[b].name, "least_p",
	                 json_finite(least_p(c->sets[a].n, c->sets[b].n)),
	                 "tests", tests, "matched", "pairs", names, "least_p",
	                 json_finite(least_p((size_t)n_pairs, (size_t)n_pairs)),
	                 "tests", near);
fail:
	json_decref(names);
	return NULL;
}

static json_t *kruskal(const struct view *w, struct err *e)
{
	const struct motif_cmp *c = w->c;
	size_t *start = mem_array(c->n_sets + 1, sizeof(*start), e), s, m;
	json_t *list = json_array(), *lists = json_pack("[O]", list);
	struct stats_h h;

	for (m = 0; start && m < w->n; m++) {
		for (s = 0; s < c->n_sets; s++)
			start[s + 1] = start[s] +
			               values(w, s, m, w->x + start[s]);
		if (stats_kruskal(w->x, start, c->n_sets, &h, e) < 0)
			goto fail;
		json_array_append_new(list, json_pack(
			"{s:s,s:I,s:i,s:o,s:o,s:o}", "motif",
			c->columns[w->column[m]].motif, "n",
			(json_int_t)start[c->n_sets], "sets", (int)h.groups,
			"h", json_finite(h.h), "p", json_finite(h.p),
			"epsilon2", json_finite(h.epsilon2)));
	}
	if (!start || correct(lists, e) < 0)
		goto fail;
	json_decref(lists);
	mem_free(start);
	return list;
fail:
	json_decref(lists);
	json_decref(list);
	mem_free(start);
	return NULL;
}

/* How the values go with the size of the graphs: Spearman over all of them. */
static json_t *confound(const struct view *w, struct err *e)
{
	static const char *const name[] = { "nodes", "edges", "density" };
	const struct motif_cmp *c = w->c;
	json_t *list = json_array(), *o;
	size_t m, i, k, n;
	double rho;

	for (m = 0; m < w->n; m++) {
		o = json_pack("{s:s}", "motif", c->columns[w->column[m]].motif);
		for (k = 0; k < 3; k++) {
			for (i = n = 0; i < c->n_graphs; i++) {
				const struct motif_cmp_graph *g = &c->graphs[i];

				if (!isfinite(w->v[i * w->n + m]))
					continue;
				w->x[n] = w->v[i * w->n + m];
				w->y[n++] = k == 0 ? (double)g->nodes :
				            k == 1 ? (double)g->edges :
				            motif_cmp_density(g);
			}
			if (stats_spearman(w->x, w->y, n, &rho, e) < 0) {
				json_decref(o);
				json_decref(list);
				return NULL;
			}
			set(o, name[k], json_finite(rho));
		}
		json_array_append_new(list, o);
	}
	return list;
}

/* ---- a profile --------------------------------------------------------- */

static int view_open(struct view *w, const struct motif_cmp *c, size_t profile,
                     struct par *p, struct err *e)
{
	size_t i, m;

	*w = (struct view) { .c = c, .p = p, .profile = profile };
	if (!(w->column = mem_array(c->n_columns, sizeof(*w->column), e)))
		return -1;
	for (i = 0; i < c->n_columns; i++)
		if (c->columns[i].profile == profile)
			w->column[w->n++] = i;
	if (!(w->v = mem_array(c->n_graphs * w->n, sizeof(*w->v), e)) ||
	    !(w->mean = mem_array(c->n_sets * w->n, sizeof(*w->mean), e)) ||
	    !(w->x = mem_array(c->n_graphs, sizeof(*w->x), e)) ||
	    !(w->y = mem_array(c->n_graphs, sizeof(*w->y), e)) ||
	    !(w->pair = mem_array(2 * c->n_graphs, sizeof(*w->pair), e)))
		return -1;
	for (i = 0; i < c->n_graphs; i++)
		for (m = 0; m < w->n; m++) {
			size_t k = w->column[m];

			w->v[i * w->n + m] = k < c->graphs[i].n_value
			                     ? c->graphs[i].value[k] : NAN;
		}
	return 0;
}

static void view_close(struct view *w)
{
	mem_free(w->column);
	mem_free(w->v);
	mem_free(w->mean);
	mem_free(w->x);
	mem_free(w->y);
	mem_free(w->pair);
}

static int compare(const struct view *w, json_t *o, struct err *e)
{
	const struct motif_cmp *c = w->c;
	json_t *pairs = json_array(), *all = json_array(), *near = json_array();
	json_t *v;
	size_t a, b;
	int rc = -1;

	set(o, "pairs", pairs);
	for (a = 0; a < c->n_sets; a++)
		for (b = a + 1; b < c->n_sets; b++) {
			if (!(v = pair_json(w, a, b, all, near, e)))
				goto done;
			json_array_append_new(pairs, v);
		}
	if (correct(all, e) < 0 || correct(near, e) < 0)
		goto done;
	if (c->n_sets > 1) {
		if (!(v = kruskal(w, e)))
			goto done;
		set(o, "kruskal", v);
	}
	rc = 0;
done:
	json_decref(all);
	json_decref(near);
	return rc;
}

static json_t *profile_json(const struct view *w, struct err *e)
{
	const struct motif_cmp *c = w->c;
	json_t *o = json_object(), *motifs = json_array(), *v;
	json_t *sets = json_array(), *graphs = json_array();
	size_t i;

	set(o, "group", json_string(c->profiles[w->profile].group));
	if (c->profiles[w->profile].null[0])
		set(o, "null", json_string(c->profiles[w->profile].null));
	set(o, "motifs", motifs);
	set(o, "sets", sets);
	set(o, "graphs", graphs);
	for (i = 0; i < w->n; i++)
		json_array_append_new(motifs, json_string(
			c->columns[w->column[i]].motif));
	for (i = 0; i < c->n_sets; i++)
		if (set_profile(w, i, sets, e) < 0)
			goto fail;
	for (i = 0; i < c->n_graphs; i++)
		json_array_append_new(graphs, json_pack("{s:s,s:s,s:o}", "set",
			c->sets[c->graphs[i].set].name, "graph",
			c->graphs[i].name, "values",
			numbers(w->v + i * w->n, w->n)));
	if (!(v = tree(w, w->mean, c->n_sets, 1, e)))
		goto fail;
	set(o, "set_tree", v);
	if (!(v = tree(w, w->v, c->n_graphs, 0, e)))
		goto fail;
	set(o, "graph_tree", v);
	if (compare(w, o, e) < 0 || !(v = confound(w, e)))
		goto fail;
	set(o, "spearman", v);
	return o;
fail:
	json_decref(o);
	return NULL;
}

/* ---- the report -------------------------------------------------------- */

static json_t *settings(const struct motif_cmp *c)
{
	static const char *const measure[] = { "sp", "z", "share", "count" };
	static const char *const linkage[] = {
		"average", "complete", "single", "ward"
	};
	static const char *const of_streams[] = {
		"threshold", "density", "min_gap", "max_gap", "errors",
		"igraph", "swaps", "n"
	};
	json_t *o = json_pack("{s:s,s:s,s:f,s:I,s:I,s:f}", "measure",
		measure[c->o.measure], "linkage", linkage[c->o.linkage],
		"level", c->o.level, "resamples", (json_int_t)c->o.n_reps,
		"seed", (json_int_t)(c->o.seed & INT64_MAX), "caliper",
		c->o.caliper);
	size_t i;

	for (i = 0; i < sizeof(of_streams) / sizeof(*of_streams); i++)
		if (json_object_get(c->head, of_streams[i]))
			json_object_set(o, of_streams[i],
			                json_object_get(c->head, of_streams[i]));
	return o;
}

json_t *motif_cmp_report(struct motif_cmp *c, struct par *p, struct err *e)
{
	json_t *o, *sets = json_array(), *profiles = json_array(), *v;
	double *x = mem_array(c->n_graphs, sizeof(*x), e);
	struct view w;
	size_t i;

	if (!c->n_graphs)
		err_set(e, ERR_FORMAT, "no graph in any set");
	if (!x || !c->n_graphs)
		goto fail;
	for (i = 0; i < c->n_sets; i++)
		json_array_append_new(sets, set_json(c, i, x));
	for (i = 0; i < c->n_profiles; i++) {
		v = view_open(&w, c, i, p, e) < 0 ? NULL : profile_json(&w, e);
		view_close(&w);
		if (!v)
			goto fail;
		json_array_append_new(profiles, v);
	}
	mem_free(x);
	o = json_pack("{s:s,s:o,s:o,s:o,s:O}", "kind", "motifcmp/1", "settings",
	              settings(c), "sets", sets, "profiles", profiles, "prov",
	              c->prov);
	if (!o)
		err_set(e, ERR_MEM, "no memory for the report");
	return o;
fail:
	mem_free(x);
	json_decref(sets);
	json_decref(profiles);
	return NULL;
}
