/* motif_inst: every instance of a motif, by the roles its template gives. */
#include "motif_inst.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

/* What a template asks for: edges as pairs of roles. A sign is +1, -1 or, for
 * the loops whose sign type is looked up, 0. */
struct shape {
	const char *roles;
	uint8_t n_edges;
	uint8_t from[4], to[4];
	int8_t sign[4];
};

/* by motif - MOTIF_SELF_POS */
static const struct shape shapes[] = {
	{ "AB", 1, { 0 }, { 1 }, { 1 } },
	{ "AB", 1, { 0 }, { 1 }, { -1 } },
	{ "ABC", 2, { 0, 1 }, { 1, 2 }, { 1, 1 } },
	{ "ABC", 2, { 0, 1 }, { 1, 2 }, { 1, -1 } },
	{ "ABC", 3, { 0, 1, 0 }, { 1, 2, 2 }, { 1, 1, 1 } },
	{ "ABC", 3, { 0, 1, 0 }, { 1, 2, 2 }, { 1, 1, -1 } },
	{ "ABCD", 4, { 0, 1, 0, 1 }, { 2, 3, 3, 2 }, { 1, 1, -1, -1 } },
	{ "XABCD", 4, { 0, 0, 1, 2 }, { 1, 2, 4, 3 }, { 1, 1, -1, -1 } },
	{ "ABC", 3, { 0, 1, 0 }, { 1, 2, 2 }, { 1, 1, 1 } },
	{ "ABC", 3, { 0, 1, 0 }, { 1, 2, 2 }, { -1, 1, -1 } },
	{ "ABC", 3, { 0, 1, 0 }, { 1, 2, 2 }, { 1, -1, -1 } },
	{ "ABC", 3, { 0, 1, 0 }, { 1, 2, 2 }, { -1, -1, 1 } },
	{ "ABC", 3, { 0, 1, 0 }, { 1, 2, 2 }, { 1, -1, 1 } },
	{ "ABC", 3, { 0, 1, 0 }, { 1, 2, 2 }, { -1, -1, -1 } },
	{ "ABC", 3, { 0, 1, 0 }, { 1, 2, 2 }, { 1, 1, -1 } },
	{ "ABC", 3, { 0, 1, 0 }, { 1, 2, 2 }, { -1, 1, 1 } }
};

static const struct shape *shape_of(int motif)
{
	return motif >= MOTIF_SELF_POS && motif <= MOTIF_FFL_I4
	       ? &shapes[motif - MOTIF_SELF_POS] : NULL;
}

const char *motif_inst_roles(int motif)
{
	const struct shape *s = shape_of(motif);

	return s ? s->roles : "ABC";
}

int motif_inst_listed(int motif)
{
	return shape_of(motif) != NULL ||
	       (motif < MOTIF_SELF_POS && !motif_disconnected(motif));
}

int motif_inst_chains(int motif)
{
	const struct shape *s = shape_of(motif);

	return s && s->roles[0] == 'A' && strlen(s->roles) <= 3;
}

/* ---- templates --------------------------------------------------------- */

struct walk {
	const struct graph *g;
	const struct shape *s;
	int8_t *sign;		/* [n_edges] +1, -1; 0: spans too little or much */
	int64_t *mark;		/* [n_nodes] an edge from the node at work, or -1 */
	struct motif_inst m;
	motif_inst_fn *fn;
	void *ctx;
};

/* Hands out the instance whose nodes and edges are set. */
static int emit(struct walk *w, struct err *e)
{
	double sum = 0;
	size_t i;

	for (i = 0; i < w->m.n_edges; i++)
		sum += fabs((double)w->g->out_weight[w->m.edge[i]]);
	w->m.weight = sum;
	return w->fn(w->ctx, &w->m, e);
}

/* Edges of node u, from i on, with a sign. The end is out_first[u + 1]. */
static uint32_t next(const struct walk *w, uint32_t u, uint32_t i, int sign)
{
	while (i < w->g->out_first[u + 1] && w->sign[i] != sign)
		i++;
	return i;
}

#define EACH(w, i, u, s) \
	for (i = next(w, u, (w)->g->out_first[u], s); \
	     i < (w)->g->out_first[u + 1]; i = next(w, u, i + 1, s))

/* Marks where the edges of u with a sign lead, or takes the marks away. */
static void mark(struct walk *w, uint32_t u, int sign, int on)
{
	uint32_t i;

	EACH(w, i, u, sign)
		w->mark[w->g->out_to[i]] = on ? (int64_t)i : -1;
}

/* A's: self-loops, chains and feed-forward loops. */
static int from_a(struct walk *w, uint32_t a, struct err *e)
{
	const struct graph *g = w->g;
	const struct shape *s = w->s;
	uint32_t i, j;
	int rc = 0;

	w->m.node[0] = a;
	if (s->n_edges == 3)
		mark(w, a, s->sign[2], 1);
	EACH(w, i, a, s->sign[0]) {
		uint32_t b = g->out_to[i];

		w->m.node[1] = b;
		w->m.edge[0] = i;
		if (s->n_edges == 1) {
			if ((rc = emit(w, e)) < 0)
				break;
			continue;
		}
		EACH(w, j, b, s->sign[1]) {
			uint32_t c = g->out_to[j];

			if (s->n_edges == 3 && w->mark[c] < 0)
				continue;
			w->m.node[2] = c;
			w->m.edge[1] = j;
			if (s->n_edges == 3)
				w->m.edge[2] = (uint32_t)w->mark[c];
			if ((rc = emit(w, e)) < 0)
				goto done;
		}
	}
done:
	if (s->n_edges == 3)
		mark(w, a, s->sign[2], 0);
	return rc;
}

/* A+C, B+D, A-D, B-C for one A and B; the marks are A's edges. */
static int inhibit_pair(struct walk *w, uint32_t b, struct err *e)
{
	const struct graph *g = w->g;
	uint32_t i, j;
	int rc;

	w->m.node[1] = b;
	EACH(w, i, b, -1) {
		int64_t ac = w->mark[g->out_to[i]];

		if (ac < 0 || w->sign[ac] != 1)
			continue;
		EACH(w, j, b, 1) {
			int64_t ad = w->mark[g->out_to[j]];

			if (ad < 0 || w->sign[ad] != -1)
				continue;
			w->m.node[2] = g->out_to[i];
			w->m.node[3] = g->out_to[j];
			w->m.edge[0] = (uint32_t)ac;
			w->m.edge[1] = j;
			w->m.edge[2] = (uint32_t)ad;
			w->m.edge[3] = i;
			if ((rc = emit(w, e)) < 0)
				return rc;
		}
	}
	return 0;
}

static int from_inhibitor(struct walk *w, uint32_t a, uint8_t *met,
                          struct err *e)
{
	const struct graph *g = w->g;
	uint32_t i, k, b;
	int rc = 0;

	w->m.node[0] = a;
	mark(w, a, 1, 1);
	mark(w, a, -1, 1);
	/* each B > A that an edge leads from to where one of A's leads */
	for (i = g->out_first[a]; i < g->out_first[a + 1]; i++) {
		uint32_t c = g->out_to[i];

		for (k = g->in_first[c]; w->sign[i] == 1 &&
		     k < g->in_first[c + 1]; k++) {
			b = g->in_from[k];
			if (b > a && w->sign[g->in_edge[k]] == -1 && !met[b]) {
				met[b] = 1;
				if ((rc = inhibit_pair(w, b, e)) < 0)
					goto done;
			}
		}
	}
done:
	for (i = g->out_first[a]; i < g->out_first[a + 1]; i++)
		for (k = g->in_first[g->out_to[i]];
		     k < g->in_first[g->out_to[i] + 1]; k++)
			met[g->in_from[k]] = 0;
	mark(w, a, 1, 0);
	mark(w, a, -1, 0);
	return rc;
}

/* X+A, X+B, A-D, B-C */
static int from_toggle(struct walk *w, uint32_t x, struct err *e)
{
	const struct graph *g = w->g;
	uint32_t i, j, k, l;
	int rc;

	w->m.node[0] = x;
	EACH(w, i, x, 1)
	for (j = next(w, x, i + 1, 1); j < g->out_first[x + 1];
	     j = next(w, x, j + 1, 1)) {
		uint32_t a = g->out_to[i], b = g->out_to[j];

		EACH(w, k, a, -1)
		EACH(w, l, b, -1) {
			uint32_t d = g->out_to[k], c = g->out_to[l];

			if (d == c || d == b || c == a)
				continue;
			w->m.node[1] = a;
			w->m.node[2] = b;
			w->m.node[3] = c;
			w->m.node[4] = d;
			w->m.edge[0] = i;
			w->m.edge[1] = j;
			w->m.edge[2] = k;
			w->m.edge[3] = l;
			if ((rc = emit(w, e)) < 0)
				return rc;
		}
	}
	return 0;
}

/* ---- triads ------------------------------------------------------------ */

static const uint8_t low[3] = { 0, 0, 1 }, high[3] = { 1, 2, 2 };

/* The class by which of the six edges there are: bit 2 k for the edge from low
 * to high of pair k, 2 k + 1 for the one back. */
static int class_of(int code)
{
	int out[3] = { 0 }, in[3] = { 0 }, both[3] = { 0 };
	int k, v, one = 0, two = 0;

	for (k = 0; k < 3; k++) {
		int d = code >> 2 * k & 3;

		one += d == 1 || d == 2;
		two += d == 3;
		both[low[k]] += d == 3;
		both[high[k]] += d == 3;
		out[low[k]] += d == 1;
		in[high[k]] += d == 1;
		out[high[k]] += d == 2;
		in[low[k]] += d == 2;
	}
	/* the middle of two dyads; the node outside of one that is mutual */
	for (v = 0; v < 3; v++)
		if (one + two == 2 ? out[v] + in[v] + both[v] == 2
		                   : two == 1 ? !both[v] : out[v] == 2)
			break;
	if (one + two == 2)
		return two == 2 ? 10 : two == 1 ? (in[v] ? 5 : 9) :
		       out[v] == 2 ? 6 : in[v] == 2 ? 2 : 4;
	if (two == 1)
		return out[v] == 2 ? 8 : in[v] == 2 ? 13 : 12;
	return two == 3 ? 15 : two == 2 ? 14 : v < 3 ? 7 : 11;
}

/* The triad of three nodes, of which at least two pairs are joined. */
static int triad(struct walk *w, int motif, uint32_t a, uint32_t b, uint32_t c,
                 struct err *e)
{
	uint32_t n[3] = { a < b ? a : b, a < b ? b : a, c }, t;
	int k, code = 0;

	if (n[2] < n[1]) {
		t = n[2];
		n[2] = n[1];
		n[1] = t;
	}
	if (n[1] < n[0]) {
		t = n[1];
		n[1] = n[0];
		n[0] = t;
	}
	w->m.n_edges = 0;
	for (k = 0; k < 6; k++) {
		uint8_t from = k % 2 ? high[k / 2] : low[k / 2];
		uint8_t to = k % 2 ? low[k / 2] : high[k / 2];
		int64_t edge = graph_edge(w->g, n[from], n[to]);

		if (edge < 0)
			continue;
		code |= 1 << k;
		w->m.edge[w->m.n_edges] = (uint32_t)edge;
		w->m.from[w->m.n_edges] = from;
		w->m.to[w->m.n_edges++] = to;
	}
	if (class_of(code) != motif)
		return 0;
	memcpy(w->m.node, n, sizeof(n));
	return emit(w, e);
}

static int ascending(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Triads whose middle is v: of those with three pairs joined, its lowest. */
static int from_middle(struct walk *w, int motif, uint32_t v, uint32_t *near,
                       struct err *e)
{
	const struct graph *g = w->g;
	size_t n = 0, i, j, kept = 0;
	uint32_t k;
	int rc;

	for (k = g->out_first[v]; k < g->out_first[v + 1]; k++)
		near[n++] = g->out_to[k];
	for (k = g->in_first[v]; k < g->in_first[v + 1]; k++)
		near[n++] = g->in_from[k];
	qsort(near, n, sizeof(*near), ascending);
	for (i = 0; i < n; i++)
		if (!kept || near[kept - 1] != near[i])
			near[kept++] = near[i];
	for (i = 0; i < kept; i++)
		for (j = i + 1; j < kept; j++) {
			int joined = graph_edge(g, near[i], near[j]) >= 0 ||
			             graph_edge(g, near[j], near[i]) >= 0;

			if (joined && v > near[i])
				continue;
			if ((rc = triad(w, motif, v, near[i], near[j], e)) < 0)
				return rc;
		}
	return 0;
}

/* ---- all of them ------------------------------------------------------- */

static void signs(const struct graph *g, int32_t min_gap, int32_t max_gap,
                  int8_t *sign)
{
	uint32_t u, i;

	for (u = 0; u < g->n_nodes; u++)
		for (i = g->out_first[u]; i < g->out_first[u + 1]; i++) {
			int32_t gap = g->nodes[g->out_to[i]].layer -
			              g->nodes[u].layer;

			sign[i] = gap < min_gap || gap > max_gap ? 0 :
			          g->out_weight[i] >= 0 ? 1 : -1;
		}
}

int motif_inst_each(const struct graph *g, int motif, int32_t min_gap,
                    int32_t max_gap, motif_inst_fn *fn, void *ctx,
                    struct err *e)
{
	const struct shape *s = shape_of(motif);
	struct walk w = { .g = g, .s = s, .fn = fn, .ctx = ctx };
	uint32_t *near = NULL, u;
	uint8_t *met = NULL;
	int rc = -1;

	if (!(w.sign = mem_array(g->n_edges, sizeof(*w.sign), e)) ||
	    !(w.mark = mem_scratch(g->n_nodes, sizeof(*w.mark), e)) ||
	    !(met = mem_array(g->n_nodes, 1, e)) ||
	    !(near = mem_array(s ? 0 : g->n_edges, sizeof(*near), e)))
		goto done;
	signs(g, min_gap, max_gap, w.sign);
	for (u = 0; u < g->n_nodes; u++)
		w.mark[u] = -1;
	w.m.motif = motif;
	w.m.n_nodes = (uint8_t)strlen(motif_inst_roles(motif));
	if (s) {
		w.m.n_edges = s->n_edges;
		memcpy(w.m.from, s->from, sizeof(s->from));
		memcpy(w.m.to, s->to, sizeof(s->to));
	}
	for (u = 0, rc = 0; u < g->n_nodes && rc >= 0; u++)
		rc = !s ? from_middle(&w, motif, u, near, e) :
		     motif == MOTIF_INHIBIT ? from_inhibitor(&w, u, met, e) :
		     motif == MOTIF_TOGGLE ? from_toggle(&w, u, e) :
		     from_a(&w, u, e);
	rc = rc < 0 ? -1 : 0;
done:
	mem_free(w.sign);
	mem_free(w.mark);
	mem_free(met);
	mem_free(near);
	return rc;
}
