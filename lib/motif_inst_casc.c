/*
 * motif_inst: cascades.
 *
 * An instance is an edge from the node where it begins to the node where it
 * ends, always in a higher layer; a cascade is a path that cannot be made longer.
 * So they need not be listed to be counted: going down the layers, the number of
 * paths from a node is the sum over its instances of those from their ends. The
 * same pass gives each node's heaviest way on, and with that bound the heaviest
 * cascades are found first, one after another, without looking at the others.
 *
 * Each node stands twice: at 2 u + 1 the path has an instance behind it that
 * passes the filter. Paths count that end with one.
 */
#include "motif_inst.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

struct way {			/* on from a node, best first */
	uint32_t inst;
	double best;		/* its weight and the heaviest way after it */
};

struct net {
	const struct graph *g;
	struct motif_inst *inst;
	size_t n, cap, max;
	const struct motif_inst_filter *f;
	uint8_t *pass;		/* [n] */
	uint32_t *first;	/* [n_nodes + 1] instances by where they begin */
	uint32_t *list;		/* [n] */
	uint8_t *ends;		/* [n_nodes] an instance ends there */
	/* by node and whether one has passed */
	double *best;		/* heaviest way to an end; -inf: none counts */
	uint64_t *paths, *complete;
	uint32_t *longest;
	uint32_t *n_ways;
	struct way *ways;	/* [2 n], see ways_at */
	int whole;		/* list those from embedding to logit alone */
};

static uint32_t begins(const struct motif_inst *m)
{
	return m->node[0];
}

static uint32_t ends(const struct motif_inst *m)
{
	return m->node[m->n_nodes - 1];
}

static int collect(void *ctx, const struct motif_inst *m, struct err *e)
{
	struct net *t = ctx;

	if (t->n >= t->max)
		return err_set(e, ERR_RANGE, "more than %zu instances to chain; "
		               "a higher threshold leaves fewer", t->max);
	if (mem_grow(&t->inst, &t->cap, t->n + 1, sizeof(*t->inst), e) < 0)
		return -1;
	t->inst[t->n++] = *m;
	return 0;
}

static uint64_t plus(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static int room(struct net *t, struct err *e)
{
	size_t n = t->g->n_nodes;

	if (!(t->pass = mem_array(t->n, 1, e)) ||
	    !(t->first = mem_array(n + 1, sizeof(*t->first), e)) ||
	    !(t->list = mem_array(t->n, sizeof(*t->list), e)) ||
	    !(t->ends = mem_array(n, 1, e)) ||
	    !(t->best = mem_array(2 * n, sizeof(*t->best), e)) ||
	    !(t->paths = mem_array(2 * n, sizeof(*t->paths), e)) ||
	    !(t->complete = mem_array(2 * n, sizeof(*t->complete), e)) ||
	    !(t->longest = mem_array(2 * n, sizeof(*t->longest), e)) ||
	    !(t->n_ways = mem_array(2 * n, sizeof(*t->n_ways), e)) ||
	    !(t->ways = mem_array(2 * t->n, sizeof(*t->ways), e)))
		return -1;
	return 0;
}

/* Instances by the node where they begin, in the order of listing. */
static void sort_in(struct net *t)
{
	size_t i, n = t->g->n_nodes;

	for (i = 0; i < t->n; i++) {
		t->pass[i] = (uint8_t)motif_inst_passes(t->f, t->g, &t->inst[i]);
		t->first[begins(&t->inst[i]) + 1]++;
		t->ends[ends(&t->inst[i])] = 1;
	}
	for (i = 0; i < n; i++)
		t->first[i + 1] += t->first[i];
	/* from the back; first[u + 1] goes from the end of u's to their begin */
	for (i = t->n; i-- > 0; )
		t->list[--t->first[begins(&t->inst[i]) + 1]] = (uint32_t)i;
	memmove(t->first, t->first + 1, n * sizeof(*t->first));
	t->first[n] = (uint32_t)t->n;
}

/* Where the ways of node and state s begin: both states of a node have room for
 * each of its instances. */
static struct way *ways_at(const struct net *t, size_t s)
{
	size_t u = s / 2, n = t->first[u + 1] - t->first[u];

	return t->ways + 2 * (size_t)t->first[u] + s % 2 * n;
}

static int by_best(const void *pa, const void *pb)
{
	const struct way *a = pa, *b = pb;

	if (a->best != b->best)
		return a->best > b->best ? -1 : 1;
	return a->inst < b->inst ? -1 : a->inst > b->inst;
}

/* One node in one state: every instance from it, then its sums. */
static void settle(struct net *t, uint32_t u, int seen)
{
	size_t s = 2 * (size_t)u + (size_t)seen;
	struct way *way = ways_at(t, s);
	uint32_t i, n = 0;

	t->best[s] = -INFINITY;
	if (t->first[u] == t->first[u + 1]) {	/* a cascade may end here */
		int logit = t->g->nodes[u].type == GRAPH_LOGIT;

		if (seen && t->ends[u]) {
			t->best[s] = t->whole && !logit ? -INFINITY : 0;
			t->paths[s] = 1;
			t->complete[s] = (uint64_t)logit;
		}
		return;
	}
	for (i = t->first[u]; i < t->first[u + 1]; i++) {
		const struct motif_inst *m = &t->inst[t->list[i]];
		size_t to = 2 * (size_t)ends(m) +
		            (size_t)(seen | t->pass[t->list[i]]);
		double w = m->weight + t->best[to];

		t->paths[s] = plus(t->paths[s], t->paths[to]);
		t->complete[s] = plus(t->complete[s], t->complete[to]);
		if (t->paths[to] && t->longest[to] + 1 > t->longest[s])
			t->longest[s] = t->longest[to] + 1;
		if (t->best[to] > -INFINITY)
			way[n++] = (struct way) { t->list[i], w };
	}
	if (n) {
		qsort(way, n, sizeof(*way), by_best);
		t->best[s] = way[0].best;
	}
	t->n_ways[s] = n;
}

/* ---- the heaviest ones ------------------------------------------------- */

/* A path so far, and which way it goes next. */
struct state {
	double weight;		/* of the heaviest cascade it can become */
	double behind;		/* of what lies behind it */
	uint32_t parent;	/* the state before, UINT32_MAX: none */
	uint32_t at;		/* node and whether one has passed */
	uint32_t way;		/* index among ways_at(at) */
};

struct search {
	struct state *made;	/* all states, in the order they were made */
	size_t n_made, cap_made;
	uint32_t *heap;		/* the heaviest on top; of equals the first made */
	size_t n_heap, cap_heap;
};

static int before(const struct search *s, uint32_t a, uint32_t b)
{
	double x = s->made[a].weight, y = s->made[b].weight;

	return x != y ? x > y : a < b;
}

static int push(struct search *s, struct state v, struct err *e)
{
	size_t i;

	if (s->n_made == UINT32_MAX)
		return err_set(e, ERR_RANGE, "too many cascades to list");
	if (mem_grow(&s->made, &s->cap_made, s->n_made + 1, sizeof(*s->made),
	             e) < 0 ||
	    mem_grow(&s->heap, &s->cap_heap, s->n_heap + 1, sizeof(*s->heap),
	             e) < 0)
		return -1;
	s->made[s->n_made] = v;
	i = s->n_heap++;
	s->heap[i] = (uint32_t)s->n_made++;
	while (i && before(s, s->heap[i], s->heap[(i - 1) / 2])) {
		uint32_t t = s->heap[i];

		s->heap[i] = s->heap[(i - 1) / 2];
		s->heap[(i - 1) / 2] = t;
		i = (i - 1) / 2;
	}
	return 0;
}

static uint32_t pop(struct search *s)
{
	uint32_t top = s->heap[0];
	size_t i = 0, c;

	s->heap[0] = s->heap[--s->n_heap];
	while ((c = 2 * i + 1) < s->n_heap) {
		uint32_t t = s->heap[i];

		if (c + 1 < s->n_heap && before(s, s->heap[c + 1], s->heap[c]))
			c++;
		if (before(s, t, s->heap[c]))
			break;
		s->heap[i] = s->heap[c];
		s->heap[c] = t;
		i = c;
	}
	return top;
}

/* The path that ends with state i, the last instance last. */
static int write_down(const struct net *t, const struct search *s, uint32_t i,
                      struct motif_inst_cascade *c, struct err *e)
{
	uint32_t k;
	size_t n = 0;

	for (k = i; k != UINT32_MAX; k = s->made[k].parent)
		n++;
	if (!(c->step = mem_array(n, sizeof(*c->step), e)))
		return -1;
	c->n = n;
	c->weight = s->made[i].weight;
	for (k = i; k != UINT32_MAX; k = s->made[k].parent)
		c->step[--n] = ways_at(t, s->made[k].at)[s->made[k].way].inst;
	return 0;
}

static int heaviest(const struct net *t, size_t max,
                    struct motif_inst_cascades *out, struct err *e)
{
	struct search s = { 0 };
	size_t cap = 0;
	uint32_t u;
	int rc = -1;

	for (u = 0; u < t->g->n_nodes; u++) {
		size_t at = 2 * (size_t)u;

		if (t->ends[u] || t->best[at] == -INFINITY ||
		    (t->whole && t->g->nodes[u].type != GRAPH_EMBEDDING))
			continue;
		if (push(&s, (struct state) { t->best[at], 0, UINT32_MAX,
		         (uint32_t)at, 0 }, e) < 0)
			goto done;
	}
	while (s.n_heap && out->n < max) {
		uint32_t i = pop(&s), to;
		struct state v = s.made[i], w = v;
		const struct way *way = ways_at(t, v.at);
		const struct motif_inst *m = &t->inst[way[v.way].inst];

		if (++w.way < t->n_ways[v.at]) {	/* the next best way */
			w.weight = v.behind + way[w.way].best;
			if (push(&s, w, e) < 0)
				goto done;
		}
		to = 2 * ends(m) + ((v.at & 1) | t->pass[way[v.way].inst]);
		if (t->n_ways[to]) {
			w = (struct state) { v.weight, v.behind + m->weight, i,
			                     to, 0 };
			if (push(&s, w, e) < 0)
				goto done;
			continue;
		}
		if (mem_grow(&out->list, &cap, out->n + 1, sizeof(*out->list),
		             e) < 0)
			goto done;
		out->list[out->n++] = (struct motif_inst_cascade) { 0 };
		if (write_down(t, &s, i, &out->list[out->n - 1], e) < 0)
			goto done;
	}
	rc = 0;
done:
	mem_free(s.made);
	mem_free(s.heap);
	return rc;
}

/* ---- all of it --------------------------------------------------------- */

int motif_inst_cascades(const struct graph *g,
                        const struct motif_inst_casc_opt *o,
                        const struct motif_inst_filter *f,
                        struct motif_inst_cascades *out, struct err *e)
{
	struct net t = { .g = g, .f = f, .max = o->max_inst,
	                 .whole = o->complete };
	size_t i;
	uint32_t u;
	int rc = -1;

	*out = (struct motif_inst_cascades) { 0 };
	for (i = 0; i < o->n_motifs; i++)
		if (motif_inst_each(g, o->motifs[i], o->min_gap, o->max_gap,
		                    collect, &t, e) < 0)
			goto done;
	if (room(&t, e) < 0)
		goto done;
	sort_in(&t);
	for (u = g->n_nodes; u-- > 0; ) {	/* instances end higher up */
		settle(&t, u, 0);
		settle(&t, u, 1);
	}
	for (u = 0; u < g->n_nodes; u++) {
		size_t s = 2 * (size_t)u;

		if (t.ends[u] || !t.paths[s])
			continue;
		out->total = plus(out->total, t.paths[s]);
		if (g->nodes[u].type == GRAPH_EMBEDDING)
			out->complete = plus(out->complete, t.complete[s]);
		if (t.longest[s] > out->longest)
			out->longest = t.longest[s];
	}
	rc = heaviest(&t, o->max, out, e);
	out->inst = t.inst;
	out->n_inst = t.n;
	t.inst = NULL;
done:
	mem_free(t.inst);
	mem_free(t.pass);
	mem_free(t.first);
	mem_free(t.list);
	mem_free(t.ends);
	mem_free(t.best);
	mem_free(t.paths);
	mem_free(t.complete);
	mem_free(t.longest);
	mem_free(t.n_ways);
	mem_free(t.ways);
	return rc;
}

void motif_inst_cascades_free(struct motif_inst_cascades *c)
{
	size_t i;

	for (i = 0; i < c->n; i++)
		mem_free(c->list[i].step);
	mem_free(c->list);
	mem_free(c->inst);
	*c = (struct motif_inst_cascades) { 0 };
}
