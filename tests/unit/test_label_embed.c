/* label_embed: answers of servers read strictly, similarities and areas as delphi
 * and scikit-learn have them (tests/golden/embedding.json, written by
 * tests/oracle/embedding_oracle.py), texts through a decoder as transformers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "json.h"
#include "label_embed.h"
#include "mem.h"

enum { MOST = 100 };

static struct err e;
static json_t *golden;

static const struct label_wire wire = {
	.who = LABEL_OPENAI, .embeds = 1, .model = "m", .base_url = "b"
};

static int open_golden(void **state)
{
	(void)state;
	golden = json_load_file("tests/golden/embedding.json", 0, NULL);
	return golden ? 0 : -1;
}

static int close_golden(void **state)
{
	(void)state;
	json_decref(golden);
	return 0;
}

/* An answer as a server gives it; vectors last to first. */
static char *answer(const json_t *one)
{
	const json_t *v = json_object_get(one, "vectors"), *row;
	json_t *data = json_array(), *all;
	size_t i;
	char *text;

	json_array_foreach(v, i, row)
		json_array_insert_new(data, 0, json_pack("{s:I,s:O}", "index",
		                      (json_int_t)i + 1, "embedding", row));
	json_array_append_new(data, json_pack("{s:i,s:O}", "index", 0,
	                      "embedding", json_object_get(one, "query")));
	all = json_pack("{s:s,s:{s:i},s:o}", "model", "m", "usage",
	                "prompt_tokens", 7, "data", data);
	text = json_dumps(all, 0);
	json_decref(all);
	return text;
}

static double number(const json_t *obj, const char *key)
{
	assert_true(json_is_number(json_object_get(obj, key)));
	return json_number_value(json_object_get(obj, key));
}

static void test_delphi(void **state)
{
	const json_t *cases = json_object_get(golden, "cases"), *one, *v;
	size_t i, k, n;

	(void)state;
	assert_true(json_array_size(cases) >= 5);
	json_array_foreach(cases, i, one) {
		const json_t *want = json_object_get(one, "similarity");
		struct label_ask a = { .n_items = json_array_size(want) };
		char *body = answer(one), *kept = NULL;
		double near[MOST];
		uint8_t truth[MOST];
		struct label_auc s;

		assert_true(a.n_items && a.n_items <= MOST);
		assert_int_equal(label_embed_keep(&a, body, strlen(body), &kept,
		                                  &n, &e), 0);
		assert_int_equal(label_embed_read(&wire, &a, kept, n, near, &e),
		                 0);
		json_array_foreach(want, k, v) {
			assert_true(fabs(near[k] - json_number_value(v)) < 1e-6);
			truth[k] = (uint8_t)json_integer_value(json_array_get(
				json_object_get(one, "truth"), k));
		}
		assert_int_equal(label_auc_of(near, truth, a.n_items, &s), 0);
		assert_true(fabs(s.auc - number(one, "auc")) < 1e-12);
		assert_true(fabs(s.low - number(one, "low")) < 1e-9);
		assert_true(fabs(s.high - number(one, "high")) < 1e-9);
		mem_free(kept);
		free(body);
	}
}

/* A side without items has no area. */
static void test_one_side(void **state)
{
	const double near[] = { 0.1, 0.2 };
	const uint8_t on[] = { 1, 1 }, off[] = { 0, 0 };
	struct label_auc s;

	(void)state;
	assert_int_equal(label_auc_of(near, on, 2, &s), -1);
	assert_int_equal(label_auc_of(near, off, 2, &s), -1);
	assert_int_equal(label_auc_of(near, on, 0, &s), -1);
}

#define V(i, v) "{\"index\":" #i ",\"embedding\":[" v "]}"

static int read_answer(const struct label_wire *w, const char *body, struct err *why)
{
	struct label_ask a = { .n_items = 2 };
	double near[2] = { 9, 9 };
	char *kept = NULL;
	size_t n = 0;
	int rc;

	*why = (struct err){ 0 };
	assert_int_equal(label_embed_keep(&a, body, strlen(body), &kept, &n, &e),
	                 0);
	rc = label_embed_read(w, &a, kept, n, near, why);
	if (rc == 0)
		assert_true(fabs(near[0] - 1) < 1e-9 && fabs(near[1]) < 1e-9);
	mem_free(kept);
	return rc;
}

static void test_answers(void **state)
{
	static const struct {
		const char *body, *says;
	} bad[] = {
		{ "", "the answer" }, { "[]", "0 vectors for 3" },
		{ "{\"data\":[" V(0, "1,0") "," V(1, "2,0") "]}", "2 vectors for 3" },
		{ "{\"data\":[" V(0, "1,0") "," V(1, "2,0") "," V(1, "0,1") "]}",
		  "data[2].index: 1 stands there twice" },
		{ "{\"data\":[" V(0, "1,0") "," V(1, "2,0") "," V(3, "0,1") "]}",
		  "data[2].index: wanted" },
		{ "{\"data\":[" V(0, "1,0") "," V(1, "2,0") "," V(-1, "0,1") "]}",
		  "data[2].index: wanted" },
		{ "{\"data\":[" V(0, "1,0") "," V(1, "2,0") "," V(2.0, "0,1") "]}",
		  "data[2].index: wanted" },
		{ "{\"data\":[" V(0, "1,0") "," V(1, "2,0,0") "," V(2, "0,1") "]}",
		  "data[1].embedding: 3 numbers, others have 2" },
		{ "{\"data\":[" V(0, "") "," V(1, "2,0") "," V(2, "0,1") "]}",
		  "data[0].embedding: wanted" },
		{ "{\"data\":[" V(0, "1,0") "," V(1, "2,\"0\"") "," V(2, "0,1") "]}",
		  "data[1].embedding[1]: wanted a finite" },
		{ "{\"data\":[" V(0, "1,0") "," V(1, "1e39,0") "," V(2, "0,1") "]}",
		  "data[1].embedding[0]: wanted a finite" },
		{ "{\"data\":[" V(0, "1,0") "," V(1, "1e30,0") "," V(2, "0,1") "]}",
		  "data[1].embedding: has no length" },
		{ "{\"data\":[" V(0, "0,0") "," V(1, "2,0") "," V(2, "0,1") "]}",
		  "data[0].embedding: has no length" },
		{ "{\"data\":[{\"index\":0,\"embedding\":\"AAA\"}," V(1, "2,0") ","
		  V(2, "0,1") "]}", "data[0].embedding: wanted" },
		{ "{\"similarity\":[1,0]}", "0 vectors for 3" },
	};
	const char *good = "{\"model\":\"m\",\"data\":[" V(1, "2,0") "," V(2, "0,1")
		"," V(0, "1,0") "]}";
	struct label_wire other = wire;
	struct err why;
	size_t i;

	(void)state;
	assert_int_equal(read_answer(&wire, good, &why), 0);
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(read_answer(&wire, bad[i].body, &why), 1);
		if (!strstr(why.msg, bad[i].says))
			fail_msg("%s: %s", bad[i].says, why.msg);
	}
	other.model = "n";
	assert_int_equal(read_answer(&other, good, &why), -1);
	other.any_model = 1;
	assert_int_equal(read_answer(&other, good, &why), 0);
}

/* What is sent: the query, then texts as they are, made valid. */
static void test_body(void **state)
{
	struct label_text item[] = {
		{ (char *)"a \xff" "b\n", 5, NULL }, { (char *)"", 0, NULL }
	};
	struct label_ask a = { .user = (char *)"q", .n_items = 2, .item = item };
	json_t *b = label_embed_body(&wire, &a, &e), *want;

	(void)state;
	want = json_pack("{s:s,s:[s,s,s],s:s}", "model", "m", "input", "q",
	                 "a \xef\xbf\xbd" "b\n", "\xef\xbf\xbd",
	                 "encoding_format", "float");
	assert_non_null(b);
	assert_true(json_equal(b, want));
	json_decref(b);
	json_decref(want);
}

static void test_decoder(void **state)
{
	const char *dir = "tests/golden/tiny-llama";
	const json_t *g = json_object_get(golden, "pooled"), *v;
	const json_t *text = json_object_get(g, "texts");
	struct dev *cpu = dev_open("cpu", 2, &e);
	struct model *m = model_open(dir, cpu, NULL, &e);
	struct tok *t = tok_open(dir, &e);
	struct label_text item[8] = { 0 };
	struct label_ask a = { .item = item };
	struct label_near *l;
	double near[8];
	size_t i, n, room, rooms[] = { 4096, 16 };
	char *kept;

	(void)state;
	assert_non_null(m);
	assert_non_null(t);
	a.user = (char *)json_string_value(json_array_get(text, 0));
	a.n_items = json_array_size(text) - 1;
	for (i = 0; i < a.n_items; i++) {
		item[i].s = (char *)json_string_value(json_array_get(text, i + 1));
		item[i].n = strlen(item[i].s);
	}
	/* in one pass, and in several */
	for (room = 0; room < 2; room++) {
		assert_non_null(l = label_near_new(m, t, rooms[room], &e));
		assert_int_equal(label_near_answer(l, &a, &kept, &n, &e), 0);
		assert_int_equal(label_embed_read(&wire, &a, kept, n, near, &e),
		                 0);
		json_array_foreach(json_object_get(g, "similarity"), i, v)
			assert_true(fabs(near[i] - json_number_value(v)) < 1e-5);
		assert_int_equal(i, a.n_items);
		mem_free(kept);
		label_near_free(l);
	}
	tok_free(t);
	model_free(m);
	dev_free(cpu);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_delphi), cmocka_unit_test(test_one_side),
		cmocka_unit_test(test_answers), cmocka_unit_test(test_body),
		cmocka_unit_test(test_decoder)
	};

	return cmocka_run_group_tests(tests, open_golden, close_golden);
}
