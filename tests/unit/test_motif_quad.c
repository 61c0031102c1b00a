/* Four nodes: the classes against igraph's counts (tests/oracle/quads_oracle.py)
 * in real graphs and in one where each of the 199 occurs. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "json.h"
#include "motif.h"
#include "motif_cases.h"

static struct graph *from_edges(json_int_t n, const json_t *edges)
{
	struct graph_build *b = graph_build_new(NULL);
	struct graph_opt o = { 0 };
	const json_t *edge;
	struct graph *g;
	json_int_t u;
	size_t i;

	for (u = 0; u < n; u++) {
		char id[24];
		struct graph_raw_node node = {
			.id = id, .type = "cross layer transcoder",
			.feature = -1, .position = -1
		};

		snprintf(id, sizeof(id), "%lld", (long long)u);
		assert_int_equal(graph_build_node(b, &node, NULL), 0);
	}
	json_array_foreach(edges, i, edge)
		assert_int_equal(graph_build_edge(b,
			(uint32_t)json_integer_value(json_array_get(edge, 0)),
			(uint32_t)json_integer_value(json_array_get(edge, 1)),
			1, NULL), 0);
	g = graph_build_end(b, &o, "", "", "", "", NULL);
	assert_non_null(g);
	graph_build_free(b);
	return g;
}

static void counted_as_igraph_does(void **state)
{
	static const struct motif_opt o = {
		.groups = 1u << MOTIF_QUADS, .min_gap = 1, .max_gap = 5
	};
	struct err e = { 0 };
	json_t *gold = json_read("tests/golden/motifs/quads.json", 1 << 20, &e);
	size_t i, most = 0;
	json_t *j;

	(void)state;
	if (!gold)
		fail_msg("%s", e.msg);
	assert_int_equal(json_array_size(json_object_get(gold, "graphs")), 3);
	json_array_foreach(json_object_get(gold, "graphs"), i, j) {
		const char *file = json_string_value(json_object_get(j, "file"));
		const json_t *want = json_object_get(j, "quads");
		struct graph *g = file ? load(file, 0) : from_edges(
			json_integer_value(json_object_get(j, "nodes")),
			json_object_get(j, "edges"));
		uint64_t count[MOTIF_N];
		size_t seen = 0;
		int m;

		assert_int_equal(motif_count(g, &o, count, &e), 0);
		for (m = MOTIF_QUAD; m < MOTIF_N; m++) {
			json_int_t n = json_integer_value(json_object_get(want,
				motif_name(m)));

			if ((json_int_t)count[m] != n)
				fail_msg("graph %zu, %s: %llu, igraph %lld", i,
				         motif_name(m),
				         (unsigned long long)count[m],
				         (long long)n);
			seen += n != 0;
		}
		/* no class of igraph's was left unread */
		assert_int_equal(seen, json_object_size(want));
		most = seen > most ? seen : most;
		graph_free(g);
	}
	assert_int_equal(most, MOTIF_N_QUADS);
	json_decref(gold);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counted_as_igraph_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
