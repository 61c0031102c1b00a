/* motif_cmp: gathering the sets. */
#include "motif_cmp_impl.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "mem.h"
#include "motif.h"
#include "rec_motifs.h"

struct motif_cmp *motif_cmp_new(const struct motif_cmp_opt *o, struct err *e)
{
	struct motif_cmp *c = mem_array(1, sizeof(*c), e);

	if (c) {
		c->o = *o;
		if (!(c->prov = json_array())) {
			err_set(e, ERR_MEM, "no memory");
			mem_free(c);
			return NULL;
		}
	}
	return c;
}

void motif_cmp_free(struct motif_cmp *c)
{
	size_t i;

	if (!c)
		return;
	for (i = 0; i < c->n_sets; i++)
		mem_free(c->sets[i].name);
	for (i = 0; i < c->n_graphs; i++) {
		mem_free(c->graphs[i].name);
		mem_free(c->graphs[i].source);
		mem_free(c->graphs[i].value);
	}
	for (i = 0; i < c->n_columns; i++)
		mem_free(c->columns[i].motif);
	for (i = 0; i < c->n_profiles; i++) {
		mem_free(c->profiles[i].group);
		mem_free(c->profiles[i].null);
	}
	mem_free(c->sets);
	mem_free(c->graphs);
	mem_free(c->columns);
	mem_free(c->profiles);
	mem_free(c->head_path);
	json_decref(c->head);
	json_decref(c->prov);
	mem_free(c);
}

double motif_cmp_density(const struct motif_cmp_graph *g)
{
	double n = (double)g->nodes;

	return n > 1 ? (double)g->edges / (n * (n - 1)) : NAN;
}

/* ---- names to numbers; what is new is added ---------------------------- */

static int64_t set_of(struct motif_cmp *c, const char *name, struct err *e)
{
	size_t i;

	for (i = 0; i < c->n_sets; i++)
		if (!strcmp(c->sets[i].name, name))
			return (int64_t)i;
	if (mem_grow(&c->sets, &c->cap_sets, i + 1, sizeof(*c->sets), e) < 0)
		return -1;
	c->sets[i] = (struct motif_cmp_set) { mem_strdup(name, e), 0 };
	if (!c->sets[i].name)
		return -1;
	c->n_sets++;
	return (int64_t)i;
}

static int64_t profile_of(struct motif_cmp *c, const char *group,
                          const char *null, struct err *e)
{
	struct motif_cmp_profile *p;
	size_t i;

	for (i = 0; i < c->n_profiles; i++)
		if (!strcmp(c->profiles[i].group, group) &&
		    !strcmp(c->profiles[i].null, null))
			return (int64_t)i;
	if (mem_grow(&c->profiles, &c->cap_profiles, i + 1,
	             sizeof(*c->profiles), e) < 0)
		return -1;
	p = &c->profiles[i];
	*p = (struct motif_cmp_profile) { mem_strdup(group, e),
	                                  mem_strdup(null, e) };
	c->n_profiles++;
	return p->group && p->null ? (int64_t)i : -1;
}

/* Records come in the same order for every graph, so the column is most often
 * the one after the last: *hint. */
static int64_t column_of(struct motif_cmp *c, const char *motif, size_t profile,
                         size_t *hint, struct err *e)
{
	struct motif_cmp_column *l;
	size_t k, i;

	for (k = 0; k < c->n_columns; k++) {
		i = (*hint + k) % c->n_columns;
		l = &c->columns[i];
		if (l->profile == profile && !strcmp(l->motif, motif)) {
			*hint = i + 1;
			return (int64_t)i;
		}
	}
	i = c->n_columns;
	if (mem_grow(&c->columns, &c->cap_columns, i + 1, sizeof(*c->columns),
	             e) < 0 ||
	    !(c->columns[i].motif = mem_strdup(motif, e)))
		return -1;
	c->columns[i].profile = profile;
	c->n_columns++;
	*hint = c->n_columns;
	return (int64_t)i;
}

/* ---- graphs ------------------------------------------------------------ */

static int put(struct motif_cmp_graph *g, size_t column, double v,
               struct err *e)
{
	if (mem_grow(&g->value, &g->cap, column + 1, sizeof(*g->value), e) < 0)
		return -1;
	while (g->n_value <= column)
		g->value[g->n_value++] = NAN;
	g->value[column] = v;
	return 0;
}

/* Counts become shares of their group's, over the motifs that are connected. */
static void to_shares(struct motif_cmp *c, struct motif_cmp_graph *g)
{
	size_t p, i;

	for (p = 0; p < c->n_profiles; p++) {
		double sum = 0;

		for (i = 0; i < g->n_value; i++)
			if (c->columns[i].profile == p && !isnan(g->value[i]))
				sum += g->value[i];
		for (i = 0; i < g->n_value; i++)
			if (c->columns[i].profile == p)
				g->value[i] = sum > 0 ? g->value[i] / sum : NAN;
	}
}

static struct motif_cmp_graph *graph_new(struct motif_cmp *c, size_t set,
                                         const struct rec_motifs *m,
                                         const struct rec_motifs_in *in,
                                         struct err *e)
{
	struct motif_cmp_graph *g;
	size_t i;

	for (i = 0; i < c->n_graphs; i++)
		if (c->graphs[i].set == set &&
		    !strcmp(c->graphs[i].name, m->graph) &&
		    !strcmp(c->graphs[i].source, m->source)) {
			stream_bad(rec_motifs_stream(in), e, "graph %s of %s is "
			           "in the set %s already", m->graph, m->source,
			           c->sets[set].name);
			return NULL;
		}
	if (mem_grow(&c->graphs, &c->cap_graphs, c->n_graphs + 1,
	             sizeof(*c->graphs), e) < 0)
		return NULL;
	g = &c->graphs[c->n_graphs++];
	*g = (struct motif_cmp_graph) {
		mem_strdup(m->graph, e), mem_strdup(m->source, e), m->nodes,
		m->edges, set, NULL, 0, 0
	};
	c->sets[set].n++;
	return g->name && g->source ? g : NULL;
}

static int add(struct motif_cmp *c, struct motif_cmp_graph *g,
               const struct rec_motifs *m, size_t *hint, struct err *e)
{
	int counts = c->o.measure >= MOTIF_CMP_SHARE;
	size_t i, n = counts ? 1 : m->n_nulls;

	if (!strcmp(m->motif, "003") || !strcmp(m->motif, "012") ||
	    !strcmp(m->motif, "102"))
		return 0;		/* not connected: in no profile */
	for (i = 0; i < n; i++) {
		const struct rec_motifs_null *u = &m->nulls[i];
		int64_t p, l;
		double v = counts ? (double)m->count :
		           c->o.measure == MOTIF_CMP_SP ? u->sp : u->z;

		if ((p = profile_of(c, m->group, counts ? "" : u->name,
		                    e)) < 0 ||
		    (l = column_of(c, m->motif, (size_t)p, hint, e)) < 0 ||
		    put(g, (size_t)l, v, e) < 0)
			return -1;
	}
	return 0;
}

/* What streams must have in common to be compared. */
static int check_head(struct motif_cmp *c, const struct stream_in *s,
                      struct err *e)
{
	static const char *const same[] = {
		"threshold", "density", "min_gap", "max_gap", "errors",
		"igraph", "swaps"
	};
	const json_t *h = stream_header(s);
	json_t *prov = json_object_get(h, "prov");
	size_t i;

	if (prov)
		json_array_extend(c->prov, prov);
	if (!c->head) {
		if (!(c->head = json_copy((json_t *)h)) ||
		    !(c->head_path = mem_strdup(stream_name(s), e)))
			return -1;
		return json_object_del(c->head, "prov"), 0;
	}
	for (i = 0; i < sizeof(same) / sizeof(*same); i++) {
		const json_t *a = json_object_get(c->head, same[i]);
		const json_t *b = json_object_get(h, same[i]);

		if (json_is_number(a) && json_is_number(b)
		    ? json_number_value(a) != json_number_value(b)
		    : a != b && !json_equal(a, b))
			return err_set(e, ERR_FORMAT, "%s and %s differ in %s: "
			               "their counts do not compare",
			               c->head_path, stream_name(s), same[i]);
	}
	return 0;
}

static int read_stream(struct motif_cmp *c, size_t set, const char *path,
                       struct err *e)
{
	struct rec_motifs_head h;
	struct rec_motifs_in *in = rec_motifs_open(path, &h, e);
	struct motif_cmp_graph *g = NULL;
	struct rec_motifs m;
	size_t hint = 0;
	int got = -1;

	if (!in || check_head(c, rec_motifs_stream(in), e) < 0)
		goto done;
	while ((got = rec_motifs_read(in, &m, e)) > 0) {
		if (!g || strcmp(g->name, m.graph) ||
		    strcmp(g->source, m.source)) {
			if (g && c->o.measure == MOTIF_CMP_SHARE)
				to_shares(c, g);
			if (!(g = graph_new(c, set, &m, in, e))) {
				got = -1;
				break;
			}
		}
		if ((got = add(c, g, &m, &hint, e)) < 0)
			break;
	}
	if (got == 0 && g && c->o.measure == MOTIF_CMP_SHARE)
		to_shares(c, g);
done:
	rec_motifs_close(in);
	return got;
}

static int is_stream(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return n > 4 && !strcmp(d->d_name + n - 4, ".mot");
}

int motif_cmp_read(struct motif_cmp *c, const char *name, const char *path,
                   struct err *e)
{
	int64_t set = set_of(c, name, e);
	struct dirent **list;
	struct stat st;
	int n, i, rc = 0;

	if (set < 0)
		return -1;
	if (!strcmp(path, "-") || stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return read_stream(c, (size_t)set, path, e);
	if ((n = scandir(path, &list, is_stream, alphasort)) < 0)
		return err_sys(e, "%s", path);
	if (!n)
		rc = err_set(e, ERR_FORMAT, "%s: no file *.mot in this folder",
		             path);
	for (i = 0; i < n; i++) {
		char *one = mem_printf(e, "%s/%s", path, list[i]->d_name);

		if (rc == 0)
			rc = one ? read_stream(c, (size_t)set, one, e) : -1;
		mem_free(one);
		free(list[i]);
	}
	free(list);
	return rc;
}

/* ---- matching ---------------------------------------------------------- */

struct near {
	double d;
	size_t a, b;
};

static int nearer(const void *pa, const void *pb)
{
	const struct near *x = pa, *y = pb;

	if (x->d != y->d)
		return x->d < y->d ? -1 : 1;
	if (x->a != y->a)
		return x->a < y->a ? -1 : 1;
	return x->b < y->b ? -1 : x->b > y->b;
}

/* The larger of the two logarithms' differences; NaN without edges. */
static double apart(const struct motif_cmp_graph *a,
                    const struct motif_cmp_graph *b)
{
	double n = fabs(log((double)a->nodes) - log((double)b->nodes));
	double d = fabs(log(motif_cmp_density(a)) - log(motif_cmp_density(b)));

	return isnan(n) || isnan(d) ? NAN : n > d ? n : d;
}

int64_t motif_cmp_match(const struct motif_cmp *c, size_t a, size_t b,
                        size_t *pair, struct err *e)
{
	struct near *near = NULL;
	uint8_t *taken = mem_array(c->n_graphs, 1, e);
	size_t n = 0, cap = 0, i, j;
	int64_t made = -1;

	if (!taken)
		return -1;
	for (i = 0; i < c->n_graphs; i++)
		for (j = 0; c->graphs[i].set == a && j < c->n_graphs; j++) {
			double d;

			if (c->graphs[j].set != b)
				continue;
			d = apart(&c->graphs[i], &c->graphs[j]);
			if (!(d <= c->o.caliper))
				continue;
			if (mem_grow(&near, &cap, n + 1, sizeof(*near), e) < 0)
				goto done;
			near[n++] = (struct near) { d, i, j };
		}
	if (n)
		qsort(near, n, sizeof(*near), nearer);
	for (made = 0, i = 0; i < n; i++) {
		if (taken[near[i].a] || taken[near[i].b])
			continue;
		taken[near[i].a] = taken[near[i].b] = 1;
		pair[2 * made] = near[i].a;
		pair[2 * made + 1] = near[i].b;
		made++;
	}
done:
	mem_free(near);
	mem_free(taken);
	return made;
}
