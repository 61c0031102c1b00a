#include <math.h>
#include <string.h>

#include "mem.h"
#include "motif_impl.h"

/* Splitmix64's finalizer, to fold a number into a key. */
static uint64_t fold(uint64_t key, uint64_t v)
{
	uint64_t z = (key ^ v) + 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static void place_nodes(struct motif_frame *f, const struct graph *g)
{
	uint32_t i, last = 0;

	for (i = 0; i < g->n_nodes; i++)
		f->layer[i] = g->nodes[i].layer;
	for (i = 0; i < g->n_nodes; i++) {
		while (last < g->n_nodes &&
		       f->layer[last] - f->layer[i] <= f->o->max_gap)
			last++;
		f->reach[i] = (last + 63) / 64;
	}
}

/* Whether swaps among the edges of a pair can change nothing: all from one
 * node, all to one, or every edge that could be. */
static int is_stuck(const struct motif_frame *f, const struct motif_pair *p,
                    uint8_t *seen)
{
	uint64_t n_from = 0, n_to = 0;
	uint32_t k;

	for (k = p->at; k < p->at + p->n; k++) {
		n_from += !(seen[f->from[k]] & 1);
		seen[f->from[k]] |= 1;
		n_to += !(seen[f->to[k]] & 2);
		seen[f->to[k]] |= 2;
	}
	for (k = p->at; k < p->at + p->n; k++)
		seen[f->from[k]] = seen[f->to[k]] = 0;
	return n_from < 2 || n_to < 2 || n_from * n_to == p->n;
}

/* Where each layer begins, by node: first[u], and how many nodes it has. */
static void layer_of(const struct motif_frame *f, uint32_t u, uint32_t *at,
                     uint32_t *n)
{
	uint32_t lo = 0, hi = u, mid, end = f->n_nodes;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (f->layer[mid] < f->layer[u])
			lo = mid + 1;
		else
			hi = mid;
	}
	*at = lo;
	lo = u;
	while (lo < end) {
		mid = lo + (end - lo) / 2;
		if (f->layer[mid] <= f->layer[u])
			lo = mid + 1;
		else
			end = mid;
	}
	*n = lo - *at;
}

/* The edges, sorted by the layers of source and target (stably, so that the
 * rest is as in the graph), and the pairs of layers. count [n_nodes + 1]. */
static int place_edges(struct motif_frame *f, const struct graph *g,
                       uint32_t *count, uint32_t *order, struct err *e)
{
	uint32_t n = g->n_nodes, m = g->n_edges, u, k, at, n_at;
	size_t cap = 0;
	uint8_t *seen;

	/* A node's edges come by layer of target already, and nodes by layer:
	 * only the nodes of a layer have to be merged. Sort by target layer,
	 * then by source layer, each layer standing for its first node. */
	memset(count, 0, ((size_t)n + 1) * sizeof(*count));
	for (k = 0; k < m; k++) {
		layer_of(f, g->out_to[k], &at, &n_at);
		count[at + 1]++;
	}
	for (u = 0; u < n; u++)
		count[u + 1] += count[u];
	for (u = 0; u < n; u++)
		for (k = g->out_first[u]; k < g->out_first[u + 1]; k++) {
			layer_of(f, g->out_to[k], &at, &n_at);
			order[count[at]] = k;
			f->to[count[at]++] = u;		/* its source */
		}
	memset(count, 0, ((size_t)n + 1) * sizeof(*count));
	for (k = 0; k < m; k++) {
		layer_of(f, f->to[k], &at, &n_at);
		count[at + 1]++;
	}
	for (u = 0; u < n; u++)
		count[u + 1] += count[u];
	for (k = 0; k < m; k++) {
		layer_of(f, f->to[k], &at, &n_at);
		f->from[count[at]] = order[k];		/* its number */
		count[at]++;
	}
	memcpy(order, f->from, m * sizeof(*order));
	for (u = 0; u < n; u++)
		for (k = g->out_first[u]; k < g->out_first[u + 1]; k++)
			f->to[k] = u;
	for (k = 0; k < m; k++)
		f->from[k] = f->to[order[k]];
	for (k = 0; k < m; k++) {
		f->to[k] = g->out_to[order[k]];
		f->minus[k] = g->out_weight[order[k]] < 0;
	}
	seen = mem_array(n, 1, e);
	for (k = 0; seen && k < m; k++) {
		struct motif_pair *p = f->n_pairs ? &f->pairs[f->n_pairs - 1]
		                                  : NULL;

		if (p && f->layer[f->from[p->at]] == f->layer[f->from[k]] &&
		    f->layer[f->to[p->at]] == f->layer[f->to[k]]) {
			p->n++;
			continue;
		}
		if (mem_grow(&f->pairs, &cap, f->n_pairs + 1, sizeof(*p),
		             e) < 0) {
			mem_free(seen);
			return -1;
		}
		p = &f->pairs[f->n_pairs++];
		*p = (struct motif_pair) { .at = k, .n = 1 };
		layer_of(f, f->from[k], &p->from, &p->n_from);
		layer_of(f, f->to[k], &p->to, &p->n_to);
	}
	for (k = 0; seen && k < f->n_pairs; k++)
		f->pairs[k].stuck = is_stuck(f, &f->pairs[k], seen);
	mem_free(seen);
	return seen ? 0 : -1;
}

/*
 * Of two rows of a pair picked at random, how often has each a target that the
 * other lacks? Looked up in the graph itself, so that every random graph gets as
 * many attempts; among at most LOOK rows. seen [n_nodes], 0 between uses.
 */
static double may_trade(const struct motif_frame *f, const struct motif_pair *p,
                        uint8_t *seen)
{
	enum { LOOK = 32 };
	uint32_t every = 1 + (p->n_rows - 1) / LOOK, i, j, k;
	const uint32_t *at = f->row_at + p->row;
	uint64_t n = 0, may = 0;

	for (i = 0; i < p->n_rows; i += every) {
		for (k = at[i]; k < at[i + 1]; k++)
			seen[f->to[k]] = 1;
		for (j = i + every; j < p->n_rows; j += every) {
			uint32_t both = 0;

			for (k = at[j]; k < at[j + 1]; k++)
				both += seen[f->to[k]];
			n++;
			may += both < at[i + 1] - at[i] &&
			       both < at[j + 1] - at[j];
		}
		for (k = at[i]; k < at[i + 1]; k++)
			seen[f->to[k]] = 0;
	}
	return n ? (double)may / (double)n : 1;
}

/* The rows of each pair: its edges come by source. */
static int place_rows(struct motif_frame *f, struct err *e)
{
	enum { PATIENCE = 8 };	/* attempts at most for a trade that counts */
	uint8_t *seen = mem_array(f->n_nodes, 1, e);
	uint32_t i, k;

	for (i = 0; seen && i < f->n_pairs; i++) {
		struct motif_pair *p = &f->pairs[i];

		p->row = f->n_rows;
		for (k = p->at; k < p->at + p->n; k++)
			if (k == p->at || f->from[k] != f->from[k - 1])
				f->row_at[f->n_rows++] = k;
		p->n_rows = f->n_rows - p->row;
		f->flat |= p->from == p->to;
	}
	f->row_at[f->n_rows] = f->n_edges;
	for (i = 0; seen && i < f->n_pairs; i++)
		f->pairs[i].trades = 1 / fmax(may_trade(f, &f->pairs[i], seen),
		                              1.0 / PATIENCE);
	mem_free(seen);
	return seen ? 0 : -1;
}

int motif_frame_init(struct motif_frame *f, const struct graph *g,
                     const struct motif_opt *o, struct err *e)
{
	uint32_t *count = NULL, *order = NULL, k;
	int rc = -1;

	memset(f, 0, sizeof(*f));
	f->g = g;
	f->o = o;
	f->n_nodes = g->n_nodes;
	f->n_edges = g->n_edges;
	f->n_words = (g->n_nodes + 63) / 64;
	f->dense = g->n_nodes <= MOTIF_DENSE_NODES;
	f->upward = g->n_backward == 0;
	f->layer = mem_scratch(g->n_nodes, sizeof(*f->layer), e);
	f->reach = mem_scratch(g->n_nodes, sizeof(*f->reach), e);
	f->from = mem_scratch(g->n_edges, sizeof(*f->from), e);
	f->to = mem_scratch(g->n_edges, sizeof(*f->to), e);
	f->minus = mem_scratch(g->n_edges, 1, e);
	f->row_at = mem_scratch((size_t)g->n_edges + 1, sizeof(*f->row_at), e);
	count = mem_scratch((size_t)g->n_nodes + 1, sizeof(*count), e);
	order = mem_scratch(g->n_edges, sizeof(*order), e);
	if (!f->layer || !f->reach || !f->from || !f->to || !f->minus ||
	    !f->row_at || !count || !order)
		goto done;
	place_nodes(f, g);
	if (place_edges(f, g, count, order, e) < 0 || place_rows(f, e) < 0)
		goto done;
	f->key = fold(0, f->n_nodes);
	for (k = 0; k < f->n_nodes; k++)
		f->key = fold(f->key, (uint32_t)f->layer[k]);
	for (k = 0; k < f->n_edges; k++)
		f->key = fold(f->key, (uint64_t)f->from[k] << 32 | f->to[k]) +
		         f->minus[k];
	rc = 0;
done:
	mem_free(count);
	mem_free(order);
	if (rc < 0)
		motif_frame_free(f);
	return rc;
}

void motif_frame_free(struct motif_frame *f)
{
	mem_free(f->layer);
	mem_free(f->reach);
	mem_free(f->from);
	mem_free(f->to);
	mem_free(f->minus);
	mem_free(f->pairs);
	mem_free(f->row_at);
	memset(f, 0, sizeof(*f));
}
