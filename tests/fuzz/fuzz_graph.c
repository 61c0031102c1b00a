/* Any bytes as graphs, JSON or graph/1 as the reader finds them, what was read
 * walked through and its motifs counted; and as the records graph/1 and
 * motifs/1. */
#include "graph.h"
#include "memory.h"
#include "motif.h"
#include "rec_graph.h"
#include "rec_motifs.h"

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

static void graph_records(const char *path)
{
	struct err e = { 0 };
	struct stream_in *s = stream_open_in(path, "graph/1", &e);
	struct rec_graph_in *r = s ? rec_graph_on(s, &e) : NULL;
	struct rec_graph g;
	size_t i;

	while (r && rec_graph_read(r, &g, &e) == 1) {
		for (i = 0; i < g.n_nodes; i++)
			sum += (uint64_t)g.nodes[i].id[0] +
			       (uint64_t)g.nodes[i].label[0];
		for (i = 0; i < g.n_links; i++)
			sum += g.source[i] + g.target[i];
	}
	rec_graph_close(r);
}

static void motif_records(const char *path)
{
	struct err e = { 0 };
	struct rec_motifs_head h;
	struct rec_motifs_in *r = rec_motifs_open(path, &h, &e);
	struct rec_motifs m;
	size_t i;

	while (r && rec_motifs_read(r, &m, &e) == 1) {
		sum += (uint64_t)m.graph[0] + m.count;
		for (i = 0; i < m.n_nulls; i++)
			sum += (uint64_t)m.nulls[i].name[0];
	}
	rec_motifs_close(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char path[64];
	int fd = memory_file(data, n, path);

	graphs(path);
	graph_records(path);
	motif_records(path);
	close(fd);
	return 0;
}
