#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph.h"
#include "json.h"
#include "mem.h"
#include "motif.h"

static const char *const files[] = {
	"capital-state-dallas.json", "opposite_of_small.json"
};

static const struct motif_opt plain = {
	.groups = 1u << MOTIF_TRIADS | 1u << MOTIF_SIGNED | 1u << MOTIF_FFL,
	.min_gap = 1, .max_gap = 5, .swaps = 10, .n = 1000
};

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
	assert_int_equal(graph_next(in, &(struct graph *){ NULL }, &e), 0);
	graph_close(in);
	return g;
}

static json_t *golden(void)
{
	struct err e = { 0 };
	json_t *j = json_read("tests/golden/motifs/circuit-motifs.json",
	                      1 << 20, &e);

	if (!j)
		fail_msg("%s", e.msg);
	return j;
}

/* Counts of the original, at four thresholds. */
static void counts_equal(void **state)
{
	static const char *const thresholds[] = { "0.0", "0.5", "1.0", "2.0" };
	json_t *gold = golden();
	size_t f, t;
	int m;

	(void)state;
	for (f = 0; f < 2; f++)
		for (t = 0; t < 4; t++) {
			json_t *want = json_object_get(json_object_get(gold,
				files[f]), thresholds[t]);
			json_t *triads = json_object_get(want, "triads");
			json_t *sign = json_object_get(want, "signed");
			struct graph *g = load(files[f], atof(thresholds[t]));
			struct motif_opt o = plain;
			uint64_t count[MOTIF_N];
			struct err e = { 0 };

			o.igraph = 1;
			assert_int_equal(motif_count(g, &o, count, &e), 0);
			assert_int_equal(g->n_nodes, json_integer_value(
				json_object_get(want, "nodes")));
			assert_int_equal(g->n_edges, json_integer_value(
				json_object_get(want, "edges")));
			for (m = 0; m < 16; m++)
				assert_int_equal(count[m], json_integer_value(
					json_array_get(triads, (size_t)m)));
			for (m = MOTIF_SELF_POS; m <= MOTIF_TOGGLE; m++) {
				json_t *v = json_object_get(sign,
				                            motif_name(m));

				assert_non_null(v);
				assert_int_equal(count[m],
				                 json_integer_value(v));
			}
			graph_free(g);
		}
	json_decref(gold);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_equal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
