/* A model that labels: SmolLM2-135M-Instruct. Side by side it answers what it
 * would alone, and what it gains by a label tells which texts the label fits. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "label_decode.h"
#include "label_local.h"
#include "mem.h"
#include "par.h"

enum { TEXTS = 10, ASKS = 3 };

static struct err e;
static struct dev *cpu;
static struct model *model;
static struct tok *tok;

static int open_all(void **state)
{
	FILE *p = popen("tests/lib/smollm2.sh", "r");
	char path[4096] = "";

	(void)state;
	if (!p || !fgets(path, sizeof(path), p)) {
		print_error("tests/lib/smollm2.sh gave no model\n");
		return -1;
	}
	pclose(p);
	path[strcspn(path, "\n")] = 0;
	if (!(cpu = dev_open("cpu", par_cores(), &e)) ||
	    !(model = model_open(path, cpu, NULL, &e)) ||
	    !(tok = tok_open(path, &e))) {
		print_error("%s\n", e.msg);
		return -1;
	}
	return 0;
}

static int close_all(void **state)
{
	(void)state;
	tok_free(tok);
	model_free(model);
	dev_free(cpu);
	return 0;
}

/* The first five hold one of the words, the last five none. */
static const char *const texts[TEXTS] = {
	" She wanted to come, however the train was late",
	" It is cheap. It breaks often, however.",
	" They won, but nobody cheered for them",
	" He is slow but careful with tools",
	" A warm day, however windy it may be",
	" The cat sat on the mat all day", " Add two cups of flour and stir",
	" The train leaves the station at nine",
	" Her brother works in a bank in Paris", " We bought bread and milk"
};

#define GIVEN "Feature: words such as 'but', 'however'\nText:"
#define PLAIN "Feature: some text\nText:"

static struct label_text item_of(const char *s, const char *marked)
{
	struct label_text t = { .s = mem_strdup(s, &e), .n = strlen(s) };
	const char *at = marked ? strstr(s, marked) : NULL;

	if (at) {
		t.mark = mem_array(t.n, 1, &e);
		memset(t.mark + (at - s), 1, strlen(marked));
	}
	return t;
}

/* A request about the texts; fuzz: marks, right on every other of them. */
static struct label_ask judgement(int fuzz)
{
	struct label_ask a = { .kind = fuzz ? LABEL_FUZZ : LABEL_DETECT,
		.form = LABEL_FORM_BITS, .n_items = fuzz ? 4 : TEXTS,
		.given = mem_strdup(GIVEN, &e), .plain = mem_strdup(PLAIN, &e) };
	static const char *const mark[] = {
		" however", " often", " but", " tools"
	};
	size_t i;

	strcpy(a.id, fuzz ? "fuzz" : "detect");
	a.item = mem_array(a.n_items, sizeof(*a.item), &e);
	for (i = 0; i < a.n_items; i++)
		a.item[i] = item_of(texts[i], fuzz ? mark[i] : NULL);
	return a;
}

static json_t *inner(const json_t *msg)
{
	const char *text = json_string_value(json_object_get(json_array_get(
		json_object_get(msg, "content"), 0), "text"));

	assert_non_null(text);
	return json_loads(text, 0, NULL);
}

static json_t *load(char *body, size_t n)
{
	json_t *j = json_loadb(body, n, 0, NULL);

	assert_non_null(j);
	mem_free(body);
	return j;
}

static void gains_tell_where_a_label_fits(void **state)
{
	struct label_local *l = label_local_new(model, tok, 512, &e);
	struct label_ask a[2] = { judgement(0), judgement(1) };
	size_t n[2], i, k, hits = 0;
	char *body[2];
	json_t *msg[2], *answer, *bits, *fit;
	double usage = 0;

	(void)state;
	assert_non_null(l);
	assert_int_equal(label_local_answer(l, a, 2, body, n, &e), 0);
	for (k = 0; k < 2; k++) {
		msg[k] = load(body[k], n[k]);
		answer = inner(msg[k]);
		bits = json_object_get(answer, "results");
		fit = json_object_get(msg[k], "fit");
		assert_int_equal(json_array_size(bits), a[k].n_items);
		assert_int_equal(json_array_size(fit), a[k].n_items);
		for (hits = i = 0; i < a[k].n_items; i++)
			hits += (json_integer_value(json_array_get(bits, i)) == 1)
			        == (k ? i % 2 == 0 : i < TEXTS / 2);
		print_message("%zu of %zu\n", hits, a[k].n_items);
		assert_true(hits >= a[k].n_items - 2 * !k);
		json_decref(answer);
	}
	/* texts that both requests have were computed once */
	usage = json_number_value(json_object_get(json_object_get(msg[1],
		"usage"), "input_tokens"));
	assert_true(usage == 0);
	for (k = 0; k < 2; k++) {
		json_decref(msg[k]);
		label_ask_free(&a[k]);
	}
	label_local_free(l);
}

/* Gains against a forward pass over the whole text alone. */
static void gains_are_differences_of_cross_entropies(void **state)
{
	struct label_decode *d = label_decode_new(model, tok, 256, &e);
	struct label_gain g[2] = { { .name = "a", .given = GIVEN, .plain = PLAIN,
	                             .text = texts[2], .n = strlen(texts[2]) },
	                           { .name = "b", .given = GIVEN, .plain = PLAIN,
	                             .text = texts[6], .n = strlen(texts[6]) } };
	struct model_gen *gen = model_gen_new(model, 256, &e);
	float *logits = mem_array(model_cfg(model)->n_vocab, sizeof(float), &e);
	struct tok_work *w = tok_work_new(tok, &e);
	size_t i, k, n, cap = 0, front, v;
	uint32_t *ids = NULL;
	double ce[2][64];
	int h;

	(void)state;
	assert_non_null(d);
	assert_int_equal(label_decode_gain(d, g, 2, &e), 0);
	for (k = 0; k < 2; k++) {
		for (h = 0; h < 2; h++) {
			n = 0;
			assert_int_equal(tok_encode(tok, w, h ? PLAIN : GIVEN,
			                 strlen(h ? PLAIN : GIVEN), 0, &ids, &n,
			                 &cap, &e), 0);
			front = n;
			assert_int_equal(tok_encode(tok, w, g[k].text, g[k].n, 0,
			                 &ids, &n, &cap, &e), 0);
			assert_int_equal(n - front, g[k].n_tokens);
			model_gen_cut(gen, 0);
			for (i = 0; i + 1 < n; i++) {
				double sum = 0;

				assert_int_equal(model_gen_feed(gen, &ids[i], 1,
				                 logits, NULL, NULL, &e), 0);
				if (i + 1 < front)
					continue;
				for (v = 0; v < model_cfg(model)->n_vocab; v++)
					sum += exp((double)logits[v]);
				ce[h][i + 1 - front] = log(sum) -
					(double)logits[ids[i + 1]];
			}
		}
		for (i = 0; i < g[k].n_tokens; i++)
			assert_true(fabs(ce[1][i] - ce[0][i] - g[k].gain[i]) <
			            1e-3);
		assert_int_equal(g[k].at[0], 0);
		mem_free(g[k].gain);
		mem_free(g[k].at);
	}
	mem_free(ids);
	mem_free(logits);
	tok_work_free(w);
	model_gen_free(gen);
	label_decode_free(d);
}

static void an_answer_is_that_of_each_alone(void **state)
{
	static const char *const user[ASKS] = {
		"Some words are marked: he is slow <<but>> careful. Which?",
		"Some words are marked: <<two>> cups of flour, <<nine>> eggs and "
		"<<four>> apples. Which are they?",
		"Some words are marked: in <<Paris>>. Which?"
	};
	struct label_local *l = label_local_new(model, tok, 512, &e);
	struct label_ask a[ASKS];
	struct label_answer v;
	char *body[ASKS], *one;
	size_t len[ASKS], n, i;
	json_t *msg, *alone, *x, *y;
	char *text, *other;

	(void)state;
	assert_non_null(l);
	assert_in_range(label_local_at_once(l), ASKS, LABEL_DECODE_MAX);
	for (i = 0; i < ASKS; i++)
		a[i] = (struct label_ask){ .form = LABEL_FORM_LABEL,
			.kind = LABEL_LABEL, .system = (char *)"You name words.",
			.user = (char *)(uintptr_t)user[i],
			.begin = { "They are", "words such as" } };
	assert_int_equal(label_local_answer(l, a, ASKS, body, len, &e), 0);
	for (i = 0; i < ASKS; i++) {
		assert_int_equal(label_local_answer(l, &a[i], 1, &one, &n, &e), 0);
		msg = load(body[i], len[i]);
		alone = load(one, n);
		x = inner(msg);
		y = inner(alone);
		text = json_dumps(x, JSON_SORT_KEYS);
		other = json_dumps(y, JSON_SORT_KEYS);
		assert_string_equal(text, other);
		assert_int_equal(label_form_parse(LABEL_FORM_LABEL, 0, text,
		                                  strlen(text), &v, &e), 0);
		assert_true(!strncmp(v.label, "words such as", 13) && v.label[13]);
		label_answer_free(&v);
		free(text);
		free(other);
		json_decref(x);
		json_decref(y);
		json_decref(msg);
		json_decref(alone);
	}
	/* judgements in words, and a prompt that is too long */
	a[0] = (struct label_ask){ .form = LABEL_FORM_BITS, .n_items = 3,
		.kind = LABEL_DETECT, .id = "detect", .begin = { "", "" },
		.system = (char *)"You judge.", .user = (char *)"Which?" };
	assert_int_equal(label_local_answer(l, a, 1, body, len, &e), 0);
	msg = load(body[0], len[0]);
	x = inner(msg);
	assert_int_equal(json_array_size(json_object_get(x, "results")), 3);
	json_decref(x);
	json_decref(msg);
	a[0].user = mem_array(4000, 1, &e);
	for (i = 0; i + 2 < 4000; i += 2)
		memcpy(a[0].user + i, "x ", 2);
	assert_int_equal(label_local_answer(l, a, 1, body, len, &e), -1);
	assert_int_equal(e.code, ERR_RANGE);
	assert_non_null(strstr(e.msg, "detect"));
	mem_free(a[0].user);
	label_local_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gains_tell_where_a_label_fits),
		cmocka_unit_test(gains_are_differences_of_cross_entropies),
		cmocka_unit_test(an_answer_is_that_of_each_alone),
	};

	return cmocka_run_group_tests(tests, open_all, close_all);
}
