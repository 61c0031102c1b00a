/* A model that labels. Side by side it answers what it would alone, which a tiny
 * model shows; that what it gains by a label tells which texts the label fits
 * takes a real one, SmolLM2-135M-Instruct. */
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
#include "smollm2_cases.h"

#define TINY "tests/golden/tiny-llama"

enum { TEXTS = 10, LINES = 7 };

static struct err e;
static struct dev *cpu;
static struct model *model, *tiny;
static struct tok *tok, *tiny_tok;
static struct label_local *local;	/* its keys and values take a while */

static int open_all(void **state)
{
	char path[SMOLLM2_PATH];

	(void)state;
	if (smollm2_path(path) < 0)
		return -1;
	if (!(cpu = dev_open("cpu", par_cores(), &e)) ||
	    !(tiny = model_open(TINY, cpu, NULL, &e)) ||
	    !(tiny_tok = tok_open(TINY, &e)) ||
	    !(model = model_open(path, cpu, NULL, &e)) ||
	    !(tok = tok_open(path, &e)) ||
	    !(local = label_local_new(model, tok, 512, &e))) {
		print_error("%s\n", e.msg);
		return -1;
	}
	return 0;
}

static int close_all(void **state)
{
	(void)state;
	label_local_free(local);
	tok_free(tok);
	tok_free(tiny_tok);
	model_free(model);
	model_free(tiny);
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
	struct label_ask a[2] = { judgement(0), judgement(1) };
	size_t n[2], i, k, hits = 0;
	char *body[2];
	json_t *msg[2], *answer, *bits, *fit;
	double usage;

	(void)state;
	assert_int_equal(label_local_answer(local, a, 2, body, n, &e), 0);
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
}

/* Against one text, token by token. */
static void gains_are_differences_of_cross_entropies(void **state)
{
	struct label_decode *d = label_decode_new(tiny, tiny_tok, 256, &e);
	struct label_gain g[2] = { { .name = "a", .given = GIVEN, .plain = PLAIN,
	                             .text = texts[6], .n = strlen(texts[6]) },
	                           { .name = "b", .given = GIVEN, .plain = PLAIN,
	                             .text = texts[2], .n = strlen(texts[2]) } };
	struct model_gen *gen = model_gen_new(tiny, 256, &e);
	float *logits = mem_array(model_cfg(tiny)->n_vocab, sizeof(float), &e);
	struct tok_work *w = tok_work_new(tiny_tok, &e);
	size_t i, n, cap = 0, front, v;
	uint32_t *ids = NULL;
	double ce[2][64];
	int h;

	(void)state;
	assert_non_null(d);
	assert_int_equal(label_decode_gain(d, g, 2, &e), 0);
	for (h = 0; h < 2; h++) {
		const char *before = h ? PLAIN : GIVEN;

		n = 0;
		assert_int_equal(tok_encode(tiny_tok, w, before, strlen(before), 0,
		                            &ids, &n, &cap, &e), 0);
		front = n;
		assert_int_equal(tok_encode(tiny_tok, w, g[1].text, g[1].n, 0, &ids,
		                            &n, &cap, &e), 0);
		assert_int_equal(n - front, g[1].n_tokens);
		assert_in_range(g[1].n_tokens, 10, 64);
		model_gen_cut(gen, 0);
		for (i = 0; i < g[1].n_tokens; i++) {
			double sum = 0;

			assert_int_equal(model_gen_feed(gen, i ? &ids[front + i - 1]
			                 : ids, i ? 1 : front, logits, NULL,
			                 NULL, &e), 0);
			for (v = 0; v < model_cfg(tiny)->n_vocab; v++)
				sum += exp((double)logits[v]);
			ce[h][i] = log(sum) - (double)logits[ids[front + i]];
		}
	}
	for (i = 0; i < g[1].n_tokens; i++)
		assert_true(fabs(ce[1][i] - ce[0][i] - g[1].gain[i]) < 1e-3);
	assert_int_equal(g[1].at[0], 0);
	for (i = 0; i < 2; i++) {
		mem_free(g[i].gain);
		mem_free(g[i].at);
	}
	mem_free(ids);
	mem_free(logits);
	tok_work_free(w);
	model_gen_free(gen);
	label_decode_free(d);
}

/* A text that names marked words and gives them a digit. */
static void begin_line(struct label_decode *d, struct label_line *x,
                       const char *text)
{
	static const char *const digit[] = { "1", "2", "3", "10" };

	*x = (struct label_line){ .name = "text" };
	assert_int_equal(label_line_text(d, x, text, strlen(text), TOK_SPECIAL,
	                                 &e), 0);
	label_line_put(x, "\nThe marked words are");
	label_line_say(x, 6);
	label_line_put(x, "\". Mark:");
	label_line_pick(x, digit, 4);
}

static void a_line_goes_on_as_it_does_alone(void **state)
{
	static const char *const text[LINES] = {
		"Some words are marked: he is slow <<but>> careful.",
		"Some words are marked: <<two>> cups of flour, <<nine>> eggs and "
		"<<four>> apples.", "Some words are marked: in <<Paris>>.",
		"Some words are <<marked>>.", "<<None>> is.", "S",
		"Some words are marked: he is slow <<but>> bold."
	};
	struct label_decode *d = label_decode_new(tiny, tiny_tok, 256, &e);
	struct label_line x[LINES], one;
	size_t i;

	(void)state;
	assert_in_range(label_decode_at_once(d), LINES, LABEL_DECODE_MAX);
	for (i = 0; i < LINES; i++)
		begin_line(d, &x[i], text[i]);
	assert_int_equal(label_decode_run(d, x, LINES, &e), 0);
	for (i = 0; i < LINES; i++) {
		begin_line(d, &one, text[i]);
		assert_int_equal(label_decode_run(d, &one, 1, &e), 0);
		assert_int_equal(x[i].n, one.n);
		assert_memory_equal(x[i].ids, one.ids, one.n * sizeof(*one.ids));
		assert_string_equal(x[i].said[0], one.said[0]);
		assert_true(*one.said[0]);
		assert_int_equal(x[i].picked[0], one.picked[0]);
		label_line_free(&one);
		label_line_free(&x[i]);
	}
	label_decode_free(d);
}

static void judgements_in_words(void **state)
{
	struct label_ask a[1];
	char *body[1];
	size_t len[1], i;
	json_t *msg, *x;

	(void)state;
	a[0] = (struct label_ask){ .form = LABEL_FORM_BITS, .n_items = 3,
		.kind = LABEL_DETECT, .id = "detect", .begin = { "", "" },
		.system = (char *)"You judge.", .user = (char *)"Which?" };
	assert_int_equal(label_local_answer(local, a, 1, body, len, &e), 0);
	msg = load(body[0], len[0]);
	x = inner(msg);
	assert_int_equal(json_array_size(json_object_get(x, "results")), 3);
	json_decref(x);
	json_decref(msg);
	/* a prompt that is too long */
	a[0].user = mem_array(4000, 1, &e);
	for (i = 0; i + 2 < 4000; i += 2)
		memcpy(a[0].user + i, "x ", 2);
	assert_int_equal(label_local_answer(local, a, 1, body, len, &e), -1);
	assert_int_equal(e.code, ERR_RANGE);
	assert_non_null(strstr(e.msg, "detect"));
	mem_free(a[0].user);
}

/* Of the model's label and two others the one is taken that names the marks. */
static void the_best_candidate_is_the_label(void **state)
{
	static const char *const mark[] = { " however", " but", " but" };
	static const char *const text[] = {
		" It is cheap. It breaks often, however.",
		" They won, but nobody cheered for them",
		" He is slow but careful with tools"
	};
	struct label_text item[3];
	struct label_ask a = { .id = "label", .form = LABEL_FORM_LABEL,
		.kind = LABEL_LABEL, .system = (char *)"You repeat.",
		.user = (char *)"Write {\"explanation\": \"a word\", \"label\": "
		        "\"a word\"}", .begin = { "a", "a" },
		.given = (char *)"Feature: \1\nText:", .plain = (char *)PLAIN,
		.candidate = (char *)"names of cities\nwords such as 'but', "
		             "'however'", .item = item, .n_items = 3 };
	struct label_answer v;
	json_t *msg, *x, *fit;
	char *body, *text_of;
	size_t n, i;

	(void)state;
	for (i = 0; i < 3; i++)
		item[i] = item_of(text[i], mark[i]);
	assert_int_equal(label_local_answer(local, &a, 1, &body, &n, &e), 0);
	msg = load(body, n);
	x = inner(msg);
	fit = json_object_get(msg, "fit");
	assert_string_equal(json_string_value(json_object_get(x, "label")),
	                    "words such as 'but', 'however'");
	assert_int_equal(json_array_size(fit), 3);
	text_of = json_dumps(x, 0);
	assert_int_equal(label_form_parse(LABEL_FORM_LABEL, 0, text_of,
	                                  strlen(text_of), &v, &e), 0);
	label_answer_free(&v);
	free(text_of);
	assert_true(json_number_value(json_object_get(json_array_get(fit, 2),
	            "gain")) > json_number_value(json_object_get(
	            json_array_get(fit, 1), "gain")));
	json_decref(x);
	json_decref(msg);
	for (i = 0; i < 3; i++) {
		mem_free(item[i].s);
		mem_free(item[i].mark);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gains_tell_where_a_label_fits),
		cmocka_unit_test(gains_are_differences_of_cross_entropies),
		cmocka_unit_test(a_line_goes_on_as_it_does_alone),
		cmocka_unit_test(judgements_in_words),
		cmocka_unit_test(the_best_candidate_is_the_label),
	};

	return cmocka_run_group_tests(tests, open_all, close_all);
}
