/* A graph's word against what the model does. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attr_impl.h"
#include "mem.h"
#include "stats.h"

struct ranked {
	double v;
	size_t i;
};

static int falling(const void *x, const void *y)
{
	const struct ranked *a = x, *b = y;

	if (a->v != b->v)
		return a->v < b->v ? 1 : -1;
	return (a->i > b->i) - (a->i < b->i);
}

/* total[n_features]: the signed effect on the first target that all of a
 * feature's value has, by all paths: a feature's value moves in proportion to
 * its input. Features are sorted by layer, so going down meets each after all
 * that it acts on. direct: the first target's own row. */
static int foretell(const struct attr_graph *g, double *direct, double *total,
                    struct err *e)
{
	float *row = mem_array(g->n_nodes, sizeof(*row), e);
	size_t i, k;

	if (!row)
		return -1;
	attr_row_dense(g, g->n_features, row);
	for (k = 0; k < g->n_features; k++)
		direct[k] = total[k] = (double)row[k];
	for (i = g->n_features; i-- > 0;) {
		double share = total[i] / (double)g->feature[i].value;

		if (share == 0)
			continue;
		attr_row_dense(g, i, row);
		for (k = 0; k < i; k++)
			total[k] += share * (double)row[k];
	}
	mem_free(row);
	return 0;
}

/* The first target's logit less the mean of all: what its vector reads. */
static double reading(const struct attr_target *t, const float *logits,
                      size_t n)
{
	double mean = 0;
	size_t i;

	if (t->kind == ATTR_DIFF)
		return (double)logits[t->id] - (double)logits[t->less];
	for (i = 0; i < n; i++)
		mean += (double)logits[i];
	return (double)logits[t->id] - mean / (double)n;
}

/* The change of the reading when a feature is ablated, for each of n. */
static int measure(struct attr *a, const struct attr_graph *g,
                   enum model_held held, const struct ranked *r, size_t n,
                   double *change, struct err *e)
{
	const struct attr_target *t = g->target;
	size_t n_vocab = model_cfg(a->model)->n_vocab, i;
	float *logits = mem_array(n_vocab, sizeof(*logits), e);
	struct attr_intervention v = { NULL, 0, held };
	double before;
	int rc = -1;

	if (!logits || attr_intervene(a, &v, t->pos, logits, e) < 0)
		goto done;
	before = reading(t, logits, n_vocab);
	for (i = 0; i < n; i++) {
		const struct attr_feature *f = &g->feature[r[i].i];
		const struct attr_edit cut = {
			f->layer, f->latent, f->pos, f->pos, ATTR_SET, 0
		};

		v.edit = &cut;
		v.n_edits = 1;
		if (attr_intervene(a, &v, t->pos, logits, e) < 0)
			goto done;
		change[i] = reading(t, logits, n_vocab) - before;
	}
	rc = 0;
done:
	mem_free(logits);
	return rc;
}

static void compare_direct(const double *said, const double *seen, size_t n,
                           struct attr_check *out)
{
	double most = 0, worst = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		most = fmax(most, fabs(seen[i]));
		worst = fmax(worst, fabs(seen[i] - said[i]));
	}
	out->direct_error = most > 0 ? worst / most : NAN;
}

int attr_validate(struct attr *a, const struct attr_graph *g, size_t n,
                  struct attr_check *out, struct err *e)
{
	struct ranked *r = mem_array(g->n_features, sizeof(*r), e);
	double *influence = mem_array(g->n_nodes, sizeof(double), e);
	double *direct = mem_array(g->n_features, sizeof(double), e);
	double *total = mem_array(g->n_features, sizeof(double), e);
	double *said = mem_array(g->n_features, sizeof(double), e);
	double *seen = mem_array(g->n_features, sizeof(double), e);
	size_t i;
	int rc = -1;

	memset(out, 0, sizeof(*out));
	out->direct = out->total = out->direct_error = out->sign = NAN;
	n = n < g->n_features ? n : g->n_features;
	if (!r || !influence || !direct || !total || !said || !seen)
		goto done;
	if (g->target->kind == ATTR_LATENT) {
		err_set(e, ERR_USAGE, "validation needs a logit as the first "
		        "target");
		goto done;
	}
	if (attr_influence(g, influence, e) < 0 ||
	    foretell(g, direct, total, e) < 0)
		goto done;
	for (i = 0; i < g->n_features; i++)
		r[i] = (struct ranked){ influence[i], i };
	qsort(r, g->n_features, sizeof(*r), falling);
	out->n = n;
	rc = 0;
	if (n < 2)
		goto done;
	rc = -1;
	for (i = 0; i < n; i++)
		said[i] = -direct[r[i].i];
	if (measure(a, g, MODEL_HELD_ALL, r, n, seen, e) < 0 ||
	    stats_spearman(said, seen, n, &out->direct, e) < 0)
		goto done;
	compare_direct(said, seen, n, out);
	for (i = 0; i < n; i++)
		said[i] = -total[r[i].i];
	if (measure(a, g, MODEL_HELD_PATTERNS, r, n, seen, e) < 0 ||
	    stats_spearman(said, seen, n, &out->total, e) < 0)
		goto done;
	out->sign = 0;
	for (i = 0; i < n; i++)
		out->sign += ((said[i] > 0) == (seen[i] > 0)) / (double)n;
	rc = 0;
done:
	mem_free(r);
	mem_free(influence);
	mem_free(direct);
	mem_free(total);
	mem_free(said);
	mem_free(seen);
	return rc;
}
