/*
 * stats: agglomerative clustering by the nearest-neighbour chain.
 *
 * The chain walks from a cluster to its nearest neighbour until two are each
 * other's nearest; those merge. For the linkages here (reducible ones) that
 * finds the same tree as merging the closest pair each time, in n^2 steps.
 * Source: Murtagh, Computational Statistics Quarterly 1 (1984); the updates are
 * Lance and Williams'.
 */
#include "stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

/* The distance of what i and j become to k. */
static double updated(enum stats_linkage how, double ik, double jk, double ij,
                      double ni, double nj, double nk)
{
	double v;

	switch (how) {
	case STATS_SINGLE:
		return ik < jk ? ik : jk;
	case STATS_COMPLETE:
		return ik > jk ? ik : jk;
	case STATS_AVERAGE:
		return (ni * ik + nj * jk) / (ni + nj);
	case STATS_WARD:
		break;
	}
	v = ((ni + nk) * ik * ik + (nj + nk) * jk * jk - nk * ij * ij) /
	    (ni + nj + nk);
	return v > 0 ? sqrt(v) : 0;
}

struct tree {
	size_t n;
	double *d;		/* [n, n] between clusters, in slots */
	uint32_t *size;		/* [n] members; 0: no cluster in this slot */
	uint32_t *chain;	/* [n] */
	uint32_t *top;		/* [2n - 1] union-find over clusters */
	enum stats_linkage how;
};

/* The slot nearest to x. The one the chain came from wins ties, then the
 * lowest: without that the chain might run in a circle. */
static uint32_t nearest(const struct tree *t, uint32_t x, size_t n_chain,
                        double *dist)
{
	uint32_t i, y = UINT32_MAX;
	double best = INFINITY;

	if (n_chain > 1) {
		y = t->chain[n_chain - 2];
		best = t->d[x * t->n + y];
	}
	for (i = 0; i < t->n; i++)
		if (t->size[i] && i != x &&
		    (y == UINT32_MAX || t->d[x * t->n + i] < best)) {
			best = t->d[x * t->n + i];
			y = i;
		}
	*dist = best;
	return y;
}

static void merge(struct tree *t, uint32_t x, uint32_t y, double dist)
{
	uint32_t k;

	for (k = 0; k < t->n; k++)
		if (t->size[k] && k != x && k != y)
			t->d[k * t->n + y] = t->d[y * t->n + k] =
				updated(t->how, t->d[x * t->n + k],
				        t->d[y * t->n + k], dist, t->size[x],
				        t->size[y], t->size[k]);
	t->size[y] += t->size[x];
	t->size[x] = 0;
}

static uint32_t find(uint32_t *top, uint32_t i)
{
	while (top[i] != i)
		i = top[i] = top[top[i]];
	return i;
}

static int by_height(const void *a, const void *b)
{
	const struct stats_merge *x = a, *y = b;

	if (x->height != y->height)
		return x->height < y->height ? -1 : 1;
	return x->n < y->n ? -1 : x->n > y->n;	/* found first */
}

static void chain(struct tree *t, struct stats_merge *out)
{
	size_t n_chain = 0, made;
	uint32_t i, x, y;
	double dist;

	for (made = 0; made + 1 < t->n; made++) {
		if (!n_chain) {
			for (i = 0; !t->size[i]; i++)
				;
			t->chain[n_chain++] = i;
		}
		for (;;) {
			x = t->chain[n_chain - 1];
			y = nearest(t, x, n_chain, &dist);
			if (n_chain > 1 && y == t->chain[n_chain - 2])
				break;
			t->chain[n_chain++] = y;
		}
		n_chain -= 2;
		if (x > y) {
			i = x;
			x = y;
			y = i;
		}
		/* slots for now; n holds when it was found */
		out[made] = (struct stats_merge) { x, y, (uint32_t)made, dist };
		merge(t, x, y, dist);
	}
}

/* Merges in order of height, clusters named by when they were made. */
static void name(struct tree *t, struct stats_merge *out)
{
	uint32_t *of = t->chain;	/* members of the cluster merge i makes */
	size_t i;

	qsort(out, t->n - 1, sizeof(*out), by_height);
	for (i = 0; i < 2 * t->n - 1; i++)
		t->top[i] = (uint32_t)i;
	for (i = 0; i + 1 < t->n; i++) {
		uint32_t a = find(t->top, out[i].a), b = find(t->top, out[i].b);
		uint32_t made = (uint32_t)(t->n + i);

		if (a > b) {
			uint32_t c = a;

			a = b;
			b = c;
		}
		t->top[a] = t->top[b] = made;
		of[i] = (a < t->n ? 1 : of[a - t->n]) +
		        (b < t->n ? 1 : of[b - t->n]);
		out[i].a = a;
		out[i].b = b;
		out[i].n = of[i];
	}
}

int stats_cluster(const double *dist, size_t n, enum stats_linkage how,
                  struct stats_merge *out, struct err *e)
{
	struct tree t = { .n = n, .how = how };
	size_t cells, i;
	int rc = -1;

	if (!n || n > UINT32_MAX / 2)
		return err_set(e, ERR_RANGE, "cannot cluster %zu things", n);
	if (mem_mul(n, n, &cells, e) < 0 ||
	    !(t.d = mem_scratch(cells, sizeof(*t.d), e)) ||
	    !(t.size = mem_array(n, sizeof(*t.size), e)) ||
	    !(t.chain = mem_array(n, sizeof(*t.chain), e)) ||
	    !(t.top = mem_array(2 * n, sizeof(*t.top), e)))
		goto done;
	memcpy(t.d, dist, cells * sizeof(*t.d));
	for (i = 0; i < cells; i++)
		if (i / n != i % n && !(t.d[i] >= 0 && isfinite(t.d[i]))) {
			err_set(e, ERR_RANGE, "the distance of %zu and %zu is "
			        "%g, wanted a finite one >= 0", i / n, i % n,
			        t.d[i]);
			goto done;
		}
	for (i = 0; i < n; i++)
		t.size[i] = 1;
	chain(&t, out);
	name(&t, out);
	rc = 0;
done:
	mem_free(t.d);
	mem_free(t.size);
	mem_free(t.chain);
	mem_free(t.top);
	return rc;
}

int stats_leaves(const struct stats_merge *m, size_t n, uint32_t *order,
                 struct err *e)
{
	uint32_t *stack = mem_array(n, sizeof(*stack), e);
	size_t n_stack = 0, at = 0;

	if (!stack)
		return -1;
	stack[n_stack++] = (uint32_t)(2 * n - 2);
	while (n_stack) {
		uint32_t c = stack[--n_stack];

		if (c < n) {
			order[at++] = c;
			continue;
		}
		stack[n_stack++] = m[c - n].b;
		stack[n_stack++] = m[c - n].a;
	}
	mem_free(stack);
	return 0;
}
