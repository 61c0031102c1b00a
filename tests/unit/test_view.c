/* view: graphs in whatever order they come; text that cannot become markup. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mem.h"
#include "view_impl.h"

static struct view *read_text(const char *text, struct err *e)
{
	struct view *v = view_new(e);

	assert_non_null(v);
	if (view_json(v, text, strlen(text), "folder/name.json", e) == 0)
		return v;
	view_free(v);
	return NULL;
}

#define NODE(id, type, layer) "{\"node_id\":\"" id "\",\"feature_type\":\"" \
	type "\",\"layer\":" layer ",\"ctx_idx\":1}"
#define FEATURE "cross layer transcoder"
#define ERROR "mlp reconstruction error"
#define LINK(s, t, w) "{\"source\":\"" s "\",\"target\":\"" t "\",\"weight\":" \
	w "}"

static void any_order(void **state)
{
	struct err e = { 0 };
	struct view *v = read_text("{\"links\":[" LINK("E_1_1", "0_7_1", "-2.5")
		"," LINK("0_7_1", "gone", "1") "," LINK("0_7_1", "3_9_1", "null")
		"],\"other\":[{}],\"nodes\":[" NODE("0_7_1", FEATURE, "\"0\"")
		"," NODE("3_9_1", "logit", "3") "," NODE("E_1_1", "embedding",
		"\"E\"") "]}", &e);
	const struct view_graph *g;

	(void)state;
	assert_non_null(v);
	assert_int_equal(view_n_graphs(v), 1);
	assert_string_equal(view_name(v, 0), "name");
	g = &v->graph[0];
	assert_int_equal(g->n_nodes, 3);
	assert_int_equal(g->n_links, 2);
	assert_int_equal(g->n_lost, 1);
	assert_int_equal(g->source[0], 2);
	assert_int_equal(g->target[0], 0);
	assert_true(g->weight[0] == -2.5f && g->weight[1] == 0);
	assert_int_equal(v->n_latents, 1);
	assert_true(v->latent[0].key == 7);
	view_free(v);
}

/* Of a feature and an error node with one id links belong to the feature. */
static void shared_ids(void **state)
{
	static const char *const nodes[] = {
		NODE("0_5_1", ERROR, "0") "," NODE("0_5_1", FEATURE, "0"),
		NODE("0_5_1", FEATURE, "0") "," NODE("0_5_1", ERROR, "0")
	};
	struct err e = { 0 };
	struct view *v;
	char text[1024];
	int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		snprintf(text, sizeof(text), "{\"nodes\":[%s,%s],\"links\":[%s]}",
		         nodes[i], NODE("2_1_1", "logit", "2"),
		         LINK("0_5_1", "2_1_1", "1"));
		v = read_text(text, &e);
		assert_non_null(v);
		assert_int_equal(v->graph[0].source[0], i == 0);
		view_free(v);
	}
	assert_null(read_text("{\"nodes\":[" NODE("a", FEATURE, "0") ","
	                      NODE("a", "logit", "1") "],\"links\":[]}", &e));
	assert_non_null(strstr(e.msg, "a second node 'a'"));
}

static void bad(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{ "", "holds no graph" },
		{ "[]", "wanted a graph" },
		{ "{\"nodes\":[]}", "an object without 'links'" },
		{ "{\"nodes\":1,\"links\":[]}", "'nodes': wanted an array" },
		{ "{\"nodes\":[1],\"links\":[]}", "array of objects" },
		{ "{\"nodes\":[{}],\"links\":[]}", "lacks 'node_id'" },
		{ "{\"nodes\":[{\"node_id\":7}]", "node_id: wanted a string" },
		{ "{\"nodes\":[" NODE("a", FEATURE, "\"x\"") "]", "'layer'" },
		{ "{\"nodes\":[" NODE("a", FEATURE, "70000") "]", "'layer'" },
		{ "{\"links\":[{\"source\":\"a\"}]", "lacks 'target'" },
		{ "{\"links\":[" LINK("a", "b", "1e60") "]", "weight is 1e+60" },
		{ "{\"links\":[" LINK("a", "b", "\"1\"") "]", "wanted a number" },
		{ "{\"nodes\":[],\"nodes\":[]", "a second 'nodes'" },
		{ "{\"nodes\":[],\"links\":[", "name.json" },
		{ "{\"metadata\":{\"a\":\"\xff\"}", "name.json" },
	};
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		memset(&e, 0, sizeof(e));
		assert_null(read_text(cases[i].text, &e));
		if (!strstr(e.msg, cases[i].says))
			fail_msg("%s: '%s'", cases[i].text, e.msg);
		assert_int_equal(e.code, ERR_FORMAT);
	}
}

static void escapes(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "</script>", "\"\\u003c/script\\u003e\"" },
		{ "a&b\"\\\n", "\"a\\u0026b\\\"\\\\\\n\"" },
		{ "\xe2\x80\xa8 \xe2\x80\xa9", "\"\\u2028 \\u2029\"" },
		/* neighbours stay */
		{ "\xe2\x80\xa7\xe2\x80\xaa", "\"\xe2\x80\xa7\xe2\x80\xaa\"" },
		{ "", "\"\"" },
	};
	struct err e = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct text t = { 0 };
		json_t *j = json_string(cases[i].in);

		assert_int_equal(view_json_text(&t, j, &e), 0);
		assert_string_equal(t.s, cases[i].out);
		json_decref(j);
		mem_free(t.s);
	}
}

static int none(void *ctx, const char *bytes, size_t n, struct err *e)
{
	(void)ctx;
	(void)bytes;
	(void)n;
	(void)e;
	return 0;
}

static void files(void **state)
{
	struct err e = { 0 };
	struct view *v = view_new(&e);
	size_t n;

	(void)state;
	assert_non_null(view_asset("page.html", &n));
	assert_true(n > 100);
	assert_null(view_asset("nothing", &n));
	assert_int_equal(view_page(v, 0, 0, "nowhere.js", none, NULL, &e), -1);
	assert_non_null(strstr(e.msg, "nowhere.js"));
	assert_non_null(strstr(e.msg, "libjs-d3"));
	assert_int_equal(view_file(v, "nowhere.json", &e), -1);
	assert_non_null(strstr(e.msg, "nowhere.json"));
	view_free(v);
	view_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_order), cmocka_unit_test(shared_ids),
		cmocka_unit_test(bad), cmocka_unit_test(escapes),
		cmocka_unit_test(files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
