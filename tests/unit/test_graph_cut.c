/* Parts of a prompt by its tokens, and densities. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "graph.h"

static struct err e;

/* Six positions with a node each in layers 0 to 5, every pair joined upward by
 * 10 * from + to (the sign alternates), one node without a position. */
static struct graph *graph(const char *tokens, const struct graph_opt *o)
{
	char path[] = "/tmp/test_graph_cut.XXXXXX";
	int fd = mkstemp(path), i, j;
	FILE *f = fdopen(fd, "w");
	struct graph_in *in;
	struct graph *g;

	assert_non_null(f);
	fprintf(f, "{\"metadata\": {\"prompt_tokens\": %s}, \"nodes\": [",
	        tokens);
	for (i = 0; i < 6; i++)
		fprintf(f, "{\"node_id\": \"%d\", \"layer\": %d, \"ctx_idx\": %d,"
		        "\"feature_type\": \"cross layer transcoder\"},", i, i, i);
	fprintf(f, "{\"node_id\": \"x\", \"layer\": 9, \"feature_type\": "
	        "\"cross layer transcoder\"}], \"links\": [");
	for (i = 0; i < 6; i++)
		for (j = i + 1; j < 6; j++)
			fprintf(f, "{\"source\": \"%d\", \"target\": \"%d\", "
			        "\"weight\": %d},", i, j,
			        (10 * i + j) * (j % 2 ? -1 : 1));
	fprintf(f, "{\"source\": \"0\", \"target\": \"x\", \"weight\": 1}]}");
	assert_int_equal(fclose(f), 0);
	in = graph_open(path, o, &e);
	assert_non_null(in);
	assert_int_equal(graph_next(in, &g, &e), 1);
	graph_close(in);
	unlink(path);
	return g;
}

static const char *const marked =
	"[\"a\", \"<think>\", \"b\", \"c\", \"</think>\", \"d\"]";

/* The ids of the nodes that are left, as one word. */
static void nodes(const char *tokens, enum graph_part part, const char *want)
{
	struct graph_opt o = { .part = part };
	struct graph *g = graph(tokens, &o);
	char got[16] = "";
	uint32_t u;

	for (u = 0; u < g->n_nodes; u++)
		strcat(got, g->nodes[u].id);
	assert_string_equal(got, want);
	assert_int_equal(g->notes.no_part, !*want);
	graph_free(g);
}

static void parts(void **state)
{
	(void)state;
	nodes(marked, GRAPH_ALL, "012345x");
	nodes(marked, GRAPH_PROMPT, "01");
	nodes(marked, GRAPH_THINK, "234");
	nodes(marked, GRAPH_ANSWER, "5");
	/* no end: it was still thinking */
	nodes("[\"a\", \"<think>\"]", GRAPH_THINK, "2345");
	nodes("[\"a\", \"<think>\"]", GRAPH_ANSWER, "");
	/* no begin: the template's was cut off */
	nodes("[\"a\", \"b\", \"</think>\"]", GRAPH_THINK, "012");
	nodes("[\"a\", \"b\", \"</think>\"]", GRAPH_PROMPT, "");
	nodes("[\"a\", \"b\"]", GRAPH_THINK, "");
	nodes("[]", GRAPH_PROMPT, "");
	nodes("{}", GRAPH_ANSWER, "");
	/* marks in pieces, and inside a token; what is no string counts */
	nodes("[null, \"x<\", \"thi\", \"nk>\", \"y</think>\", \"z\"]",
	      GRAPH_PROMPT, "0123");
	nodes("[[1], \"x<\", \"thi\", \"nk>\", \"y</think>\", \"z\"]",
	      GRAPH_ANSWER, "5");
	/* of several turns the last, and in it the first end */
	nodes("[\"<think>\", \"</think>\", \"<think>\", \"</think>\", \"</think>\"]",
	      GRAPH_THINK, "3");
}

/* Both lists of edges say the same, and what their nodes' ids say. */
static void whole(const struct graph *g)
{
	uint32_t u, k, n = 0, up = 0, layers = 0;

	for (u = 0; u < g->n_nodes; u++) {
		layers += !u || g->nodes[u].layer != g->nodes[u - 1].layer;
		for (k = g->out_first[u]; k < g->out_first[u + 1]; k++) {
			const char *to = g->nodes[g->out_to[k]].id;

			assert_true(abs((int)g->out_weight[k]) ==
			            (*to == 'x' ? 1 : 10 * atoi(g->nodes[u].id) +
			             atoi(to)));
			assert_int_equal(graph_edge(g, u, g->out_to[k]), k);
			up++;
		}
		for (k = g->in_first[u]; k < g->in_first[u + 1]; k++, n++) {
			assert_int_equal(g->out_to[g->in_edge[k]], u);
			assert_int_equal(graph_edge(g, g->in_from[k], u),
			                 g->in_edge[k]);
		}
	}
	assert_int_equal(n, g->n_edges);
	assert_int_equal(up, g->n_edges);
	assert_int_equal(layers, g->n_layers);
}

static void densities(void **state)
{
	struct graph_opt o = { .density = 5 / 42.0 };
	struct graph *g = graph(marked, &o);
	uint32_t k;

	(void)state;
	assert_int_equal(g->n_nodes, 7);
	assert_int_equal(g->n_edges, 5);	/* 45, 35, 34, 25, 24 */
	for (k = 0; k < 5; k++)
		assert_true(abs((int)g->out_weight[k]) >= 24);
	whole(g);
	graph_free(g);

	o.density = 1;
	g = graph(marked, &o);
	assert_int_equal(g->n_edges, 16);
	whole(g);
	graph_free(g);

	o.part = GRAPH_THINK;
	g = graph(marked, &o);
	assert_int_equal(g->n_edges, 3);
	assert_int_equal(g->think, 2);
	assert_int_equal(g->answer, 5);
	whole(g);
	graph_free(g);

	o.density = 0.34;	/* two of six */
	g = graph(marked, &o);
	assert_int_equal(g->n_edges, 2);
	assert_int_equal(graph_edge(g, 0, 1), -1);	/* 23 is the weakest */
	whole(g);
	graph_free(g);

	o.part = GRAPH_ANSWER;	/* one node */
	g = graph(marked, &o);
	assert_int_equal(g->n_edges, 0);
	whole(g);
	graph_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts),
		cmocka_unit_test(densities)
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
