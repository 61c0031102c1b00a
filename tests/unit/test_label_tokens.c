/* Labels by a rule: which tokens, and what they say of texts and marks. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <string.h>

#include "label_tokens.h"
#include "mem.h"

static struct err e;
static struct tok *tok;
static struct label_feature f;

/* A context that is active on all tokens of `on`, a part of text. */
static struct label_ctx context(const char *text, const char *on, float value)
{
	struct tok_work *w = tok_work_new(tok, &e);
	struct label_ctx c = { .value = value };
	size_t n = 0, cap = 0, i, len, at = 0;
	size_t from = on ? (size_t)(strstr(text, on) - text) : 0;

	assert_int_equal(tok_encode(tok, w, text, strlen(text), 0, &c.ids, &n,
	                            &cap, &e), 0);
	c.n = (uint32_t)n;
	c.acts = mem_array(n, sizeof(*c.acts), &e);
	for (i = 0; i < n; i++, at += len) {
		(void)tok_bytes(tok, c.ids[i], &len);
		if (on && at < from + strlen(on) && from < at + len)
			c.acts[i] = value;
	}
	tok_work_free(w);
	return c;
}

static void show(const char *text, const char *on, float value)
{
	assert_int_equal(mem_grow(&f.show.c, &f.show.cap, f.show.n + 1,
	                          sizeof(*f.show.c), &e), 0);
	f.show.c[f.show.n++] = context(text, on, value);
}

static json_t *ask(enum label_kind kind, const struct label_item *items, size_t n)
{
	char *body;
	size_t len;
	json_t *msg, *out;

	assert_int_equal(label_tokens_answer(tok, &f, kind, items, n, &body, &len,
	                                     &e), 0);
	msg = json_loadb(body, len, 0, NULL);
	out = json_loads(json_string_value(json_object_get(json_array_get(
		json_object_get(msg, "content"), 0), "text")), 0, NULL);
	assert_non_null(out);
	json_decref(msg);
	mem_free(body);
	return out;
}

static void tokens_name_and_find(void **state)
{
	static const char *const texts[] = {
		"for the layer", "a model and layer", "it was at noon"
	};
	struct label_ctx c[3], d = context("is the model", " the", 1);
	struct label_item items[3], marked[2] = { { &d, 1, 0 }, { &d, 0, 99 } };
	struct text t = { 0 };
	json_t *j;
	size_t i;

	(void)state;
	/* "the" in three contexts, "of" in two, "model" in one */
	show("read the layer", " the", 1);
	show("and the layer of a model", " the", 2);
	show("in the model of it", " of", 3);
	show("one of the model", " of the", 4);
	show("a strong model", " model", 9);
	assert_int_equal(label_tokens_put(&t, tok, &f, &e), 0);
	assert_string_equal(t.s, "'the', 'of'");
	mem_free(t.s);
	j = ask(LABEL_LABEL, NULL, 0);
	assert_string_equal(json_string_value(json_object_get(j, "label")),
	                    "the tokens 'the', 'of'");
	assert_int_equal(json_integer_value(json_object_get(j, "quality")), 6);
	assert_non_null(strstr(json_string_value(json_object_get(j,
		"explanation")), "3 of 5, 2 of 5"));
	json_decref(j);
	for (i = 0; i < 3; i++) {
		c[i] = context(texts[i], NULL, 0);
		items[i] = (struct label_item){ &c[i], 0, 0 };
	}
	j = ask(LABEL_DETECT, items, 3);
	for (i = 0; i < 3; i++)
		assert_int_equal(json_integer_value(json_array_get(
			json_object_get(j, "results"), i)), i == 0);
	json_decref(j);
	j = ask(LABEL_FUZZ, marked, 2);
	for (i = 0; i < 2; i++)
		assert_int_equal(json_integer_value(json_array_get(
			json_object_get(j, "results"), i)), i == 0);
	json_decref(j);
	for (i = 0; i < 3; i++) {
		mem_free(c[i].ids);
		mem_free(c[i].acts);
	}
	mem_free(d.ids);
	mem_free(d.acts);
	label_feature_free(&f);
	/* nothing shown: a name all the same, and it fits nothing */
	j = ask(LABEL_LABEL, NULL, 0);
	assert_true(json_string_length(json_object_get(j, "label")) > 0);
	json_decref(j);
}

static int open_tok(void **state)
{
	(void)state;
	tok = tok_open("tests/golden/tiny-llama/tokenizer.json", &e);
	return tok ? 0 : -1;
}

static int close_tok(void **state)
{
	(void)state;
	tok_free(tok);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tokens_name_and_find),
	};

	return cmocka_run_group_tests(tests, open_tok, close_tok);
}
