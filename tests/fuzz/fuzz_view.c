/* Any bytes as graphs for a page, JSON or graph/1 as the reader finds them. */
#include <string.h>

#include "memory.h"
#include "view.h"
#include "view_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct view *v = view_new(NULL);
	struct err e = { 0 };
	size_t i, k;
	char path[64];
	int fd = memory_file(data, n, path);

	if (!v)
		abort();
	if (view_file(v, path, &e) == 0 && !view_n_graphs(v))
		abort();
	for (i = 0; i < view_n_graphs(v); i++) {
		const struct view_graph *g = &v->graph[i];

		/* what would end the element must not be there */
		if (g->nodes.n && strpbrk(g->nodes.s, "<>&"))
			abort();
		for (k = 0; k < g->n_links; k++)
			if (g->source[k] >= g->n_nodes ||
			    g->target[k] >= g->n_nodes)
				abort();
	}
	view_free(v);
	close(fd);
	return 0;
}
