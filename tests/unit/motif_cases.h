/* motif_cases: the graphs of tests/golden/motifs, for the tests of motifs.
 * Include after cmocka.h. */
#ifndef R1_MOTIF_CASES_H
#define R1_MOTIF_CASES_H

#include <stdio.h>

#include "graph.h"

/* The first graph of a file there, edges of |weight| >= threshold. */
static struct graph *load(const char *file, double threshold)
{
	struct graph_opt o = { .threshold = threshold };
	struct graph *g = NULL;
	struct err e = { 0 };
	struct graph_in *in;
	char path[256];

	snprintf(path, sizeof(path), "tests/golden/motifs/%s", file);
	in = graph_open(path, &o, &e);
	if (!in || graph_next(in, &g, &e) != 1)
		fail_msg("%s", e.msg);
	graph_close(in);
	return g;
}

#endif
