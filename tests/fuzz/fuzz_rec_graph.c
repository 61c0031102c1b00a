/* Any bytes, plain or zstd, through the readers of graph/1 and motifs/1. */
#include "memory.h"
#include "rec_graph.h"
#include "rec_motifs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static volatile uint64_t sum;	/* so that every value read is looked at */

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

	graph_records(path);
	motif_records(path);
	close(fd);
	return 0;
}
