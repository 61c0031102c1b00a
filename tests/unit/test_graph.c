/* Reading graphs: the rules of graph.h, each fault an input may have, and the
 * same graph from JSON and from a stream of kind graph/1. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "graph.h"
#include "json.h"
#include "mem.h"
#include "rec_graph.h"

static char path[] = "/tmp/r1-graph-XXXXXX";

static void put(const char *text, size_t n)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

/* The graph of a text; an error is left in e. */
static struct graph *from_text(const char *text, const struct graph_opt *o,
                               struct err *e)
{
	struct graph *g = NULL;
	struct graph_in *in;

	memset(e, 0, sizeof(*e));
	put(text, strlen(text));
	in = graph_open(path, o, e);
	if (in && graph_next(in, &g, e) != 1)
		g = NULL;
	graph_close(in);
	return g;
}

#define N(id, layer, type) \
	"{\"node_id\":\"" id "\",\"layer\":" layer ",\"feature_type\":\"" \
	type "\"}"
#define FEATURE "cross layer transcoder"
#define ERROR "mlp reconstruction error"
#define L(from, to, weight) \
	"{\"source\":\"" from "\",\"target\":\"" to "\",\"weight\":" weight "}"
#define GRAPH(nodes, links) \
	"{\"nodes\":[" nodes "],\"links\":[" links "]}"
/* three nodes in layers -1, 0 and 1 */
#define ABC N("a", "\"E\"", "embedding") "," N("b", "\"0\"", FEATURE) "," \
	N("c", "1", FEATURE)

static const struct graph_opt all = { .threshold = 0 };

/* ---- rules ---- */

static void layers_and_order(void **state)
{
	struct err e;
	struct graph *g = from_text(GRAPH(
		N("logit", "\"2\"", "logit") "," N("f1", "\"1\"", FEATURE) ","
		N("e", "\"E\"", "embedding") "," N("f0", "0", FEATURE) ","
		N("g1", "1.0", FEATURE) "," N("x", "0", "lorsa"),
		L("f1", "logit", "2") "," L("e", "f0", "-1") ","
		L("f0", "g1", "0.5") "," L("f1", "f0", "1") ","
		L("f0", "x", "3")), &all, &e);
	static const char *const ids[] = { "e", "f0", "x", "f1", "g1", "logit" };
	static const int layers[] = { -1, 0, 0, 1, 1, 3 };
	uint32_t i;

	(void)state;
	assert_non_null(g);
	assert_int_equal(g->n_nodes, 6);
	for (i = 0; i < 6; i++) {
		assert_string_equal(g->nodes[i].id, ids[i]);
		assert_int_equal(g->nodes[i].layer, layers[i]);
	}
	assert_int_equal(g->n_layers, 4);
	assert_int_equal(g->n_edges, 5);
	assert_int_equal(g->n_backward, 2);
	assert_int_equal(g->nodes[2].type, GRAPH_OTHER);
	assert_string_equal(g->nodes[2].type_name, "lorsa");
	assert_string_equal(g->notes.unknown, "lorsa");
	assert_int_equal(g->notes.n_unknown, 1);
	assert_string_equal(g->nodes[0].type_name, "embedding");
	assert_string_equal(g->nodes[0].label, "");
	/* edges by source and by target */
	assert_true(g->out_weight[graph_edge(g, 0, 1)] == -1);
	assert_true(g->out_weight[graph_edge(g, 1, 4)] == 0.5f);
	assert_int_equal(graph_edge(g, 4, 1), -1);
	assert_int_equal(graph_edge(g, 5, 0), -1);
	assert_int_equal(g->in_first[2] - g->in_first[1], 2);
	assert_int_equal(g->in_from[g->in_first[1]], 0);
	assert_int_equal(g->in_from[g->in_first[1] + 1], 3);
	assert_int_equal(g->out_to[g->in_edge[g->in_first[1] + 1]], 1);
	/* the file is named after the path when it has no slug */
	assert_string_equal(g->name, strrchr(path, '/') + 1);
	assert_string_equal(g->path, path);
	graph_free(g);
}

static void links_and_weights(void **state)
{
	const struct graph_opt half = { .threshold = 0.7 };
	struct err e;
	struct graph *g = from_text(GRAPH(ABC,
		L("a", "b", "0.7") "," L("b", "c", "null") ","
		L("a", "c", "0.4") "," L("a", "c", "0.4") ","
		L("c", "c", "9") "," L("a", "z", "9") "," L("z", "a", "9") ","
		"{\"source\":\"c\",\"target\":\"a\"},"
		L("c", "b", "-0.69")), &half, &e);

	(void)state;
	assert_non_null(g);
	assert_int_equal(g->n_edges, 2);
	/* 0.7 as f32 is below 0.7, but so is the threshold */
	assert_true(graph_edge(g, 0, 1) >= 0);
	/* parallel links add up first: 0.8 */
	assert_true(graph_edge(g, 0, 2) >= 0);
	assert_true(fabsf(g->out_weight[graph_edge(g, 0, 2)] - 0.8f) < 1e-7f);
	assert_int_equal(g->notes.n_parallel, 1);
	assert_int_equal(g->notes.n_null, 2);
	assert_int_equal(g->notes.n_loops, 1);
	assert_int_equal(g->notes.n_missing, 2);
	assert_int_equal(g->notes.n_weak, 3);
	graph_free(g);

	/* at threshold 0 a null weight is an edge, and positive */
	g = from_text(GRAPH(ABC, L("b", "c", "null")), &all, &e);
	assert_int_equal(g->n_edges, 1);
	assert_true(g->out_weight[0] >= 0);
	graph_free(g);
}

/* Both forms of error nodes' ids; links of a shared id are the feature's. */
static void error_nodes(void **state)
{
	static const char old_form[] = GRAPH(
		N("0_3_1", "\"0\"", FEATURE) "," N("0_3_1", "\"3\"", ERROR) ","
		N("4_9_1", "\"4\"", FEATURE) "," N("0_2_1", "\"2\"", ERROR),
		L("0_3_1", "4_9_1", "1") "," L("0_2_1", "4_9_1", "1"));
	static const char new_form[] = GRAPH(
		N("0_3_1", "\"0\"", FEATURE) "," N("3_-1_1", "\"3\"", ERROR) ","
		N("4_9_1", "\"4\"", FEATURE),
		L("0_3_1", "4_9_1", "1") "," L("3_-1_1", "4_9_1", "1"));
	const struct graph_opt keep = { .errors = 1 };
	struct err e;
	struct graph *g = from_text(old_form, &all, &e);

	(void)state;
	assert_non_null(g);
	assert_int_equal(g->n_nodes, 2);
	assert_int_equal(g->n_edges, 1);
	assert_int_equal(g->notes.n_errors, 2);
	assert_int_equal(g->notes.n_shared, 1);
	graph_free(g);
	g = from_text(old_form, &keep, &e);
	assert_int_equal(g->n_nodes, 4);
	assert_int_equal(g->n_edges, 2);
	assert_int_equal(g->nodes[2].type, GRAPH_ERROR);
	assert_string_equal(g->nodes[2].id, "3_-1_-1");
	assert_true(graph_edge(g, 0, 3) >= 0 && graph_edge(g, 1, 3) >= 0);
	graph_free(g);

	g = from_text(new_form, &all, &e);
	assert_int_equal(g->n_nodes, 2);
	assert_int_equal(g->n_edges, 1);
	assert_int_equal(g->notes.n_shared, 0);
	graph_free(g);
	g = from_text(new_form, &keep, &e);
	assert_int_equal(g->n_nodes, 3);
	assert_int_equal(g->n_edges, 2);
	graph_free(g);
}

/* Links first, metadata last, members nobody knows, features of all sorts. */
static void any_order(void **state)
{
	struct err e;
	struct graph *g = from_text(
		"{\"links\":[" L("a", "b", "1") "," L("b", "c", "-1") "],"
		"\"qParams\":{\"supernodes\":[[\"x\",\"a\"]]},\"nodes\":["
		ABC ",{\"clerp\":\"say \\\"hi\\\"\",\"jsNodeId\":[{}],"
		"\"feature\":null,\"layer\":\"7\",\"ctx_idx\":12,"
		"\"feature_type\":\"" FEATURE "\",\"node_id\":\"d\"},"
		"{\"node_id\":\"e\",\"layer\":2,\"feature_type\":\"\","
		"\"feature\":29910101,\"clerp\":null}],"
		"\"metadata\":{\"info\":{\"slug\":\"no\"},"
		"\"prompt_tokens\":[\"<EOT>\",\"hi\"],\"scan\":\"model\","
		"\"prompt\":\"hi\",\"slug\":\"my-graph\"}}", &all, &e);

	(void)state;
	if (!g)
		fail_msg("%s", e.msg);
	assert_string_equal(g->name, "my-graph");
	assert_string_equal(g->model, "model");
	assert_string_equal(g->prompt, "hi");
	assert_int_equal(g->n_edges, 2);
	assert_string_equal(g->nodes[4].label, "say \"hi\"");
	assert_int_equal(g->nodes[4].position, 12);
	assert_int_equal(g->nodes[4].feature, -1);
	assert_int_equal(g->nodes[3].feature, 29910101);
	assert_int_equal(g->nodes[3].type, GRAPH_OTHER);
	graph_free(g);
}

/* ---- faults ---- */

static void faults(void **state)
{
	static const struct { const char *text, *why; } cases[] = {
		{ "", "empty, wanted a graph" },
		{ " \n", "holds no graph" },
		{ "[]", "wanted a graph: an object with 'nodes'" },
		{ "17", "wanted a graph" },
		{ "{}", "an object without 'nodes' is no graph" },
		{ "{\"nodes\":[]}", "an object without 'links'" },
		{ "{\"links\":[]}", "an object without 'nodes'" },
		{ "{\"nodes\":{},\"links\":[]}", "'nodes': wanted an array" },
		{ "{\"nodes\":[1],\"links\":[]}", "an array of objects" },
		{ "{\"nodes\":[],\"links\":[],\"nodes\":[]}",
		  "a second 'nodes'" },
		{ GRAPH(ABC, ""), NULL },
		{ GRAPH("", ""), NULL },
		{ GRAPH(ABC "," N("b", "3", FEATURE), ""),
		  "two nodes have the id 'b'" },
		{ GRAPH("{\"layer\":1,\"feature_type\":\"x\"}", ""),
		  "lacks 'node_id'" },
		{ GRAPH("{\"node_id\":\"q\",\"layer\":1}", ""),
		  "node 'q' lacks 'feature_type'" },
		{ GRAPH("{\"node_id\":\"q\",\"feature_type\":\"x\"}", ""),
		  "node 'q' lacks 'layer'" },
		{ GRAPH("{\"node_id\":7}", ""), "'node_id': wanted a string" },
		{ GRAPH("{\"node_id\":\"a\\u0000b\"}", ""), "holds a NUL" },
		{ GRAPH(N("q", "\"top\"", FEATURE), ""),
		  "'layer': wanted a number from 0 to 65535" },
		{ GRAPH(N("q", "1.5", FEATURE), ""), "'layer': wanted" },
		{ GRAPH(N("q", "-3", FEATURE), ""), "'layer': wanted" },
		{ GRAPH(N("q", "65536", FEATURE), ""), "'layer': wanted" },
		{ GRAPH(N("q", "1e300", FEATURE), ""), "'layer': wanted" },
		{ GRAPH(N("q", "null", FEATURE), ""), "'layer': wanted" },
		{ GRAPH(N("q", "\"\"", FEATURE), ""), "'layer': wanted" },
		{ GRAPH(N("q", "\"1-2\"", FEATURE), ""), "'layer': wanted" },
		{ GRAPH(ABC, L("a", "b", "NaN")), "'NaN' is no JSON value" },
		{ GRAPH(ABC, L("a", "b", "-Infinity")), "no JSON value" },
		{ GRAPH(ABC, L("a", "b", "1e39")), "is no finite f32" },
		{ GRAPH(ABC, L("a", "b", "1e999")), "beyond a double" },
		{ GRAPH(ABC, L("a", "b", "\"1\"")), "'weight': wanted a number" },
		{ GRAPH(ABC, L("a", "b", "3e38") "," L("a", "b", "3e38")),
		  "parallel links whose weights add up" },
		{ GRAPH(ABC, "{\"source\":\"a\",\"weight\":1}"),
		  "a link lacks 'target'" },
		{ GRAPH(ABC, "{\"source\":1,\"target\":\"a\"}"),
		  "'source': wanted a node's id" },
		{ GRAPH(ABC, "[]"), "an array of objects" },
		{ GRAPH(ABC, L("a", "b", "1")) "x", "no JSON value" },
		{ GRAPH(ABC, L("a", "b", "1") ","), "wanted a value" },
		{ "\x28\xb5\x2f\xfd", "cut" },
		{ "\x81\xa1", "cut" },
	};
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct graph *g = from_text(cases[i].text, &all, &e), *more;

		/* what is wrong may lie behind the first graph */
		if (g && cases[i].why) {
			struct graph_in *in = graph_open(path, &all, &e);

			assert_int_equal(graph_next(in, &more, &e), 1);
			graph_free(more);
			assert_int_equal(graph_next(in, &more, &e), -1);
			graph_close(in);
		}
		if (cases[i].why ? !strstr(e.msg, cases[i].why) ||
		                   !strstr(e.msg, path) : !g)
			fail_msg("'%s': wanted '%s', got '%s'", cases[i].text,
			         cases[i].why ? cases[i].why : "a graph",
			         e.msg);
		graph_free(g);
	}
	assert_null(graph_open("/tmp/r1-no-such-file", &all, &e));
	assert_int_equal(e.code, ERR_IO);
}

static void cut_anywhere(void **state)
{
	static const char text[] = GRAPH(ABC, L("a", "b", "1"));
	struct err e;
	size_t n;

	(void)state;
	for (n = 1; n < sizeof(text) - 1; n++) {
		char *part = mem_strndup(text, n, NULL);

		assert_null(from_text(part, &all, &e));
		assert_non_null(strstr(e.msg, "byte "));
		mem_free(part);
	}
}

/* An id too long, labels cut at a character. */
static void long_strings(void **state)
{
	enum { ID = GRAPH_MAX_ID, LABEL = 3 * GRAPH_MAX_LABEL };
	char *text = mem_scratch(LABEL + ID + 1000, 1, NULL);
	char id[ID + 2];
	struct graph *g;
	struct err e;
	int n, i;

	(void)state;
	for (i = 0; i < 2; i++) {
		memset(id, 'x', sizeof(id));
		id[ID + i] = 0;
		n = sprintf(text, "{\"links\":[],\"nodes\":[{\"layer\":0,"
		            "\"feature_type\":\"x\",\"node_id\":\"%s\","
		            "\"clerp\":\"y", id);
		for (; n < LABEL; n += 3)
			memcpy(text + n, "\xe2\x82\xac", 3);
		strcpy(text + n, "\"}]}");
		g = from_text(text, &all, &e);
		if (i) {
			assert_null(g);
			assert_non_null(strstr(e.msg, "more than 512 bytes"));
			continue;
		}
		assert_non_null(g);
		n = (int)strlen(g->nodes[0].label);
		assert_int_equal(n, 1 + (GRAPH_MAX_LABEL - 1) / 3 * 3);
		graph_free(g);
	}
	mem_free(text);
}

/* Skipped parts and parallel links do not add to what is kept: a file of 128
 * MiB within 64 MiB of memory. */
static void large_files(void **state)
{
	enum { MIB = 1 << 20 };
	char *block = mem_scratch(MIB, 1, NULL);
	int status;
	FILE *f = fopen(path, "w");
	pid_t child;
	size_t i;

	(void)state;
	memset(block, 'x', MIB);
	fputs("{\"metadata\":{\"prompt\":\"", f);
	for (i = 0; i < 64; i++)
		fwrite(block, 1, MIB, f);
	fputs("\",\"prompt_tokens\":[\"", f);
	for (i = 0; i < 16; i++)
		fwrite(block, 1, MIB, f);
	fputs("\"]},\"qParams\":[", f);
	for (i = 0; i < MIB; i += 4)
		memcpy(block + i, "[7],", 4);
	for (i = 0; i < 48; i++)
		fwrite(block, 1, MIB, f);
	fputs("0],\"nodes\":[" ABC "],\"links\":[" L("a", "b", "1") "]}", f);
	assert_int_equal(fclose(f), 0);
	child = fork();
	if (child == 0) {
		struct rlimit limit = { 64 << 20, 64 << 20 };
		struct graph_in *in;
		struct graph *g;
		struct err e = { 0 };

		/* Sanitizers need address space of their own. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
		setrlimit(RLIMIT_AS, &limit);
#endif
		(void)limit;
		in = graph_open(path, &all, &e);
		_exit(!in || graph_next(in, &g, &e) != 1 || g->n_edges != 1);
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	mem_free(block);
}

static void nested(void **state)
{
	enum { DEEP = 1000000 };
	char *text = mem_scratch(DEEP + 50, 1, NULL);
	struct err e;
	int n = sprintf(text, "{\"qParams\":");

	(void)state;
	memset(text + n, '[', DEEP);
	text[n + DEEP] = 0;
	assert_null(from_text(text, &all, &e));
	assert_non_null(strstr(e.msg, "nested deeper than 512"));
	mem_free(text);
}

/* ---- streams ---- */

/* The file's JSON as a stream of kind graph/1, and what is read from both. */
static json_t *to_stream(const char *file, struct stream_out *out)
{
	json_t *j = json_read(file, 1 << 20, NULL), *v;
	size_t n = json_array_size(json_object_get(j, "nodes")), i, k = 0;
	size_t m = json_array_size(json_object_get(j, "links"));
	struct rec_graph_node *nodes = mem_array(n, sizeof(*nodes), NULL);
	uint32_t *from = mem_array(m, sizeof(*from), NULL);
	uint32_t *to = mem_array(m, sizeof(*to), NULL);
	float *weight = mem_array(m, sizeof(*weight), NULL);
	json_t *at = json_object();

	assert_non_null(j);
	json_array_foreach(json_object_get(j, "nodes"), i, v) {
		const char *layer = json_string_value(json_object_get(v,
			"layer"));

		nodes[i] = (struct rec_graph_node) {
			.id = json_string_value(json_object_get(v, "node_id")),
			.type = json_string_value(json_object_get(v,
				"feature_type")),
			.label = json_string_value(json_object_get(v, "clerp")),
			.feature = json_integer_value(json_object_get(v,
				"feature")),
			.position = (int32_t)json_integer_value(
				json_object_get(v, "ctx_idx")),
			.layer = *layer == 'E' ? -1 : atoi(layer),
			.activation = NAN, .influence = 0.25,
			.probability = json_number_value(json_object_get(v,
				"token_prob")), .target = i == 0
		};
		json_object_set_new(at, nodes[i].id, json_integer((json_int_t)i));
	}
	json_array_foreach(json_object_get(j, "links"), k, v) {
		from[k] = (uint32_t)json_integer_value(json_object_get(at,
			json_string_value(json_object_get(v, "source"))));
		to[k] = (uint32_t)json_integer_value(json_object_get(at,
			json_string_value(json_object_get(v, "target"))));
		weight[k] = (float)json_number_value(json_object_get(v,
			"weight"));
	}
	assert_int_equal(rec_graph_begin(out, json_object_get(j, "metadata"),
	                                 NULL), 0);
	assert_int_equal(rec_graph_put_nodes(out, nodes, n, NULL), 0);
	assert_int_equal(rec_graph_put_links(out, from, to, weight, m, NULL), 0);
	json_decref(at);
	mem_free(nodes);
	mem_free(from);
	mem_free(to);
	mem_free(weight);
	return j;
}

static void same_graph(const struct graph *a, const struct graph *b)
{
	uint32_t i;

	assert_string_equal(a->name, b->name);
	assert_string_equal(a->model, b->model);
	assert_string_equal(a->prompt, b->prompt);
	assert_int_equal(a->n_nodes, b->n_nodes);
	assert_int_equal(a->n_edges, b->n_edges);
	for (i = 0; i < a->n_nodes; i++) {
		const struct graph_node *x = &a->nodes[i], *y = &b->nodes[i];

		assert_string_equal(x->id, y->id);
		assert_string_equal(x->label, y->label);
		assert_string_equal(x->type_name, y->type_name);
		assert_int_equal(x->feature, y->feature);
		assert_int_equal(x->position, y->position);
		assert_int_equal(x->layer, y->layer);
		assert_int_equal(a->out_first[i + 1], b->out_first[i + 1]);
		assert_int_equal(a->in_first[i + 1], b->in_first[i + 1]);
	}
	assert_memory_equal(a->out_to, b->out_to, a->n_edges * sizeof(uint32_t));
	assert_memory_equal(a->out_weight, b->out_weight,
	                    a->n_edges * sizeof(float));
	assert_memory_equal(a->in_edge, b->in_edge,
	                    a->n_edges * sizeof(uint32_t));
}

static void streams_hold_the_same(void **state)
{
	static const char *const files[] = {
		"tests/golden/motifs/capital-state-dallas.json",
		"tests/golden/motifs/opposite_of_small.json"
	};
	struct stream_out_opt so = { .kind = "graph/1" };
	struct err e = { 0 };
	struct stream_out *out = stream_open_out(path, &so, &e);
	struct graph_in *a, *b;
	struct graph *x, *y;
	int i;

	(void)state;
	assert_non_null(out);
	for (i = 0; i < 2; i++)
		json_decref(to_stream(files[i], out));
	assert_int_equal(stream_finish(out, &e), 0);
	a = graph_open(path, &all, &e);
	if (!a)
		fail_msg("%s", e.msg);
	for (i = 0; i < 2; i++) {
		b = graph_open(files[i], &all, &e);
		if (graph_next(a, &x, &e) != 1)
			fail_msg("%s", e.msg);
		assert_int_equal(graph_next(b, &y, &e), 1);
		same_graph(x, y);
		graph_free(x);
		graph_free(y);
		assert_int_equal(graph_next(b, &y, &e), 0);
		graph_close(b);
	}
	assert_int_equal(graph_next(a, &x, &e), 0);
	graph_close(a);
}

static int setup(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
	(void)state;
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(layers_and_order),
		cmocka_unit_test(links_and_weights),
		cmocka_unit_test(error_nodes),
		cmocka_unit_test(any_order),
		cmocka_unit_test(faults),
		cmocka_unit_test(cut_anywhere),
		cmocka_unit_test(long_strings),
		cmocka_unit_test(large_files),
		cmocka_unit_test(nested),
		cmocka_unit_test(streams_hold_the_same),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
