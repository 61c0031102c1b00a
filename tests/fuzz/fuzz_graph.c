/* Any bytes as graphs, JSON or graph/1 as the reader finds them, what was read
 * walked through and its motifs counted. */
#include "graph.h"
#include "memory.h"
#include "motif.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static volatile uint64_t sum;	/* so that every value read is looked at */

static void walk(const struct graph *g)
{
	uint32_t u, k;

	for (u = 0; u < g->n_nodes; u++) {
		const struct graph_node *n = &g->nodes[u];

		sum += (uint64_t)n->id[0] + (uint64_t)n->label[0] +
		       (uint64_t)n->type_name[0];
		if (u && n->layer < n[-1].layer)
			abort();
		for (k = g->out_first[u]; k < g->out_first[u + 1]; k++)
			if (g->out_to[k] >= g->n_nodes || g->out_to[k] == u ||
			    graph_edge(g, u, g->out_to[k]) != k)
				abort();
		for (k = g->in_first[u]; k < g->in_first[u + 1]; k++)
			if (g->out_to[g->in_edge[k]] != u)
				abort();
	}
}

static void graphs(const char *path)
{
	const struct graph_opt o = { .errors = 1 };
	const struct motif_opt mo = {
		.groups = 15, .nulls = (1u << MOTIF_NULLS) - 1, .n = 2,
		.min_gap = 1, .max_gap = 5, .swaps = 3
	};
	struct err e = { 0 };
	struct graph_in *in = graph_open(path, &o, &e);
	struct graph *g;

	while (in && graph_next(in, &g, &e) == 1) {
		struct motif_result r;

		walk(g);
		if (g->n_nodes < 64 && motif_run(g, &mo, NULL, &r, &e) == 0) {
			sum += r.count[7];
			motif_free(&r);
		}
		graph_free(g);
	}
	graph_close(in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char path[64];
	int fd = memory_file(data, n, path);

	graphs(path);
	close(fd);
	return 0;
}
