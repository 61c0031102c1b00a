/* Which features come next. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attr_impl.h"
#include "mem.h"

static int by_layer_down(const void *x, const void *y)
{
	const struct attr_owner *const *a = x, *const *b = y;

	if ((*a)->layer != (*b)->layer)
		return (*a)->layer < (*b)->layer ? 1 : -1;
	return (*a > *b) - (*a < *b);
}

/* influence[n_features + n_targets]: of features on targets, along the rows
 * there are. A row's owner lies above all its sources, so going down the
 * layers each row is met once its owner's influence is known. */
static int partial_influence(const struct attr *a, double *influence,
                             struct err *e)
{
	const struct attr_steps s = attr_steps_of(a);
	struct attr_run_of *runs = mem_scratch(2 * s.n_layers + 1,
	                                       sizeof(*runs), e);
	const struct attr_owner **order = mem_scratch(a->n_rows,
	                                              sizeof(*order), e);
	size_t i, j, k, n;
	int rc = -1;

	if (!runs || !order)
		goto done;
	memset(influence, 0, (a->n_features + a->n_targets) *
	       sizeof(*influence));
	for (i = 0; i < a->n_targets; i++)
		influence[a->n_features + i] = a->target[i].weight;
	for (i = 0; i < a->n_rows; i++)
		order[i] = &a->owner[i];
	qsort(order, a->n_rows, sizeof(*order), by_layer_down);
	for (i = 0; i < a->n_rows; i++) {
		const struct attr_owner *o = order[i];
		double share = influence[o->node];
		const float *row;

		if (share == 0)
			continue;
		share /= o->sum > 1e-8 ? o->sum : 1e-8;
		row = attr_rows_get(a->rows, (size_t)(o - a->owner), e);
		if (!row)
			goto done;
		n = attr_steps_runs(&s, a->n_features, o->layer, o->pos, row,
		                    runs);
		for (j = 0; j < n; j++) {
			double *to = influence + runs[j].node;

			if (runs[j].node >= a->n_features)
				continue;	/* errors and tokens */
			for (k = 0; k < runs[j].n; k++)
				to[k] += share * fabs((double)runs[j].w[k]);
		}
	}
	rc = 0;
done:
	mem_free(runs);
	mem_free(order);
	return rc;
}

struct ranked {
	double influence;
	size_t feature;
};

static int by_influence(const void *x, const void *y)
{
	const struct ranked *a = x, *b = y;

	if (a->influence != b->influence)
		return a->influence < b->influence ? 1 : -1;
	return (a->feature > b->feature) - (a->feature < b->feature);
}

int attr_choose(const struct attr *a, size_t n, struct attr_want *w,
                struct err *e)
{
	double *influence = mem_scratch(a->n_features + a->n_targets,
	                                sizeof(*influence), e);
	struct ranked *r = mem_scratch(a->n_features, sizeof(*r), e);
	size_t i, m = 0;
	int rc = -1;

	if (!influence || !r || partial_influence(a, influence, e) < 0)
		goto done;
	for (i = 0; i < a->n_features; i++)
		if (!a->done[i])
			r[m++] = (struct ranked){ influence[i], i };
	qsort(r, m, sizeof(*r), by_influence);
	for (i = 0; i < n; i++)
		w[i] = (struct attr_want){ a->feature[r[i].feature].layer,
		                      a->feature[r[i].feature].pos,
		                      r[i].feature };
	rc = 0;
done:
	mem_free(influence);
	mem_free(r);
	return rc;
}
