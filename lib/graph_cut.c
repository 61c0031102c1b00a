/* graph: a part of the prompt, and the strongest of its edges. */
#include "graph.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

static const char *const parts[] = {
	[GRAPH_ALL] = "all", [GRAPH_PROMPT] = "prompt",
	[GRAPH_THINK] = "think", [GRAPH_ANSWER] = "answer"
};

const char *graph_part_name(enum graph_part part)
{
	return parts[part];
}

int graph_part_find(const char *name)
{
	int i;

	for (i = 0; i <= GRAPH_ANSWER; i++)
		if (!strcmp(name, parts[i]))
			return i;
	return -1;
}

/* Whether a position lies in the part; -1: the prompt has no such part. */
static int inside(const struct graph *g, enum graph_part part, int32_t at)
{
	switch (part) {
	case GRAPH_PROMPT:
		return g->think < 0 ? -1 : at >= 0 && at < g->think;
	case GRAPH_THINK:
		return g->think < 0 && g->answer < 0 ? -1 :
		       at >= g->think && at >= 0 &&
		       (g->answer < 0 || at < g->answer);
	case GRAPH_ANSWER:
		return g->answer < 0 ? -1 : at >= g->answer;
	case GRAPH_ALL:
		break;
	}
	return 1;
}

struct edge {
	float size;
	uint32_t k;
};

static int stronger(const void *pa, const void *pb)
{
	const struct edge *a = pa, *b = pb;

	if (a->size != b->size)
		return a->size > b->size ? -1 : 1;
	return a->k < b->k ? -1 : a->k > b->k;
}

/* Marks which edges stay. */
static int choose(const struct graph *g, const struct graph_opt *o,
                  const uint32_t *node, uint8_t *stays, struct err *e)
{
	struct edge *list = mem_scratch(g->n_edges, sizeof(*list), e);
	uint32_t u, k, n = 0, n_nodes = 0;
	double most;

	if (!list)
		return -1;
	for (u = 0; u < g->n_nodes; u++) {
		n_nodes += node[u] != UINT32_MAX;
		for (k = g->out_first[u]; k < g->out_first[u + 1]; k++)
			if (node[u] != UINT32_MAX &&
			    node[g->out_to[k]] != UINT32_MAX)
				list[n++] = (struct edge) {
					fabsf(g->out_weight[k]), k
				};
	}
	if (o->density > 0) {
		most = floor(o->density * n_nodes * (n_nodes - 1.0));
		qsort(list, n, sizeof(*list), stronger);
		if (n > most)
			n = (uint32_t)most;
	}
	for (k = 0; k < n; k++)
		stays[list[k].k] = 1;
	mem_free(list);
	return 0;
}

/* The edges by target again, from those by source. in_first is zero. */
static void list_incoming(struct graph *g)
{
	uint32_t u, v, k;

	for (k = 0; k < g->n_edges; k++)
		g->in_first[g->out_to[k] + 1]++;
	for (v = 0; v < g->n_nodes; v++)
		g->in_first[v + 1] += g->in_first[v];
	for (u = 0; u < g->n_nodes; u++)
		for (k = g->out_first[u]; k < g->out_first[u + 1]; k++) {
			uint32_t at = g->in_first[g->out_to[k]]++;

			g->in_from[at] = u;
			g->in_edge[at] = k;
		}
	for (v = g->n_nodes; v > 0; v--)
		g->in_first[v] = g->in_first[v - 1];
	g->in_first[0] = 0;
}

/* Moves what stays to the front. node[u]: the new number, or UINT32_MAX. */
static void compact(struct graph *g, const uint32_t *node, const uint8_t *stays)
{
	uint32_t u, k, n_nodes = 0, n_edges = 0, first, end = 0;
	int32_t last = INT32_MIN;

	g->n_layers = g->n_backward = 0;
	for (u = 0; u < g->n_nodes; u++)	/* old layers still in place */
		for (k = g->out_first[u]; k < g->out_first[u + 1]; k++)
			g->n_backward += stays[k] && g->nodes[g->out_to[k]].layer
			                 <= g->nodes[u].layer;
	for (u = 0; u < g->n_nodes; u++) {
		first = end;
		end = g->out_first[u + 1];
		if (node[u] == UINT32_MAX)
			continue;
		g->nodes[n_nodes] = g->nodes[u];
		g->n_layers += g->nodes[u].layer != last;
		last = g->nodes[u].layer;
		for (k = first; k < end; k++)
			if (stays[k]) {
				g->out_to[n_edges] = node[g->out_to[k]];
				g->out_weight[n_edges++] = g->out_weight[k];
			}
		g->out_first[++n_nodes] = n_edges;
	}
	memset(g->in_first, 0, ((size_t)g->n_nodes + 1) * sizeof(*g->in_first));
	g->n_nodes = n_nodes;
	g->n_edges = n_edges;
	list_incoming(g);
}

int graph_cut(struct graph *g, const struct graph_opt *o, struct err *e)
{
	uint32_t *node, u, n = 0;
	uint8_t *stays;
	int rc = -1;

	if (o->part == GRAPH_ALL && !(o->density > 0))
		return 0;
	node = mem_scratch(g->n_nodes, sizeof(*node), e);
	stays = mem_array(g->n_edges, 1, e);
	if (!node || !stays)
		goto done;
	g->notes.no_part = inside(g, o->part, 0) < 0;
	for (u = 0; u < g->n_nodes; u++)
		node[u] = inside(g, o->part, g->nodes[u].position) > 0
		          ? n++ : UINT32_MAX;
	if (choose(g, o, node, stays, e) < 0)
		goto done;
	compact(g, node, stays);
	rc = 0;
done:
	mem_free(node);
	mem_free(stays);
	return rc;
}
