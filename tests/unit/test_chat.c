#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "chat.h"
#include "json.h"

static struct err e;

/* Renders and returns the text; NULL on an error. */
static const char *render(enum chat_template t, const char *messages,
                          struct chat_opt o, struct chat_text *c)
{
	json_t *j = json_parse(messages, strlen(messages), "test", &e);
	int ret;

	assert_non_null(j);
	ret = chat_render(t, j, &o, c, &e);
	json_decref(j);
	if (ret < 0)
		return NULL;
	c->text[c->n] = 0;	/* room for it is there */
	return c->text;
}

#define TWO "[{\"role\": \"user\", \"content\": \"Hi \"}, " \
	"{\"role\": \"assistant\", \"content\": \"<think>\\nwell\\n</think>\\n\\nYo\"}]"
#define THREE "[{\"role\": \"system\", \"content\": \" Be brief.\\n\"}, " \
	"{\"role\": \"user\", \"content\": \"Hi\"}]"

static void texts_are_those_of_the_models_templates(void **state)
{
	static const struct {
		enum chat_template t;
		const char *messages;
		struct chat_opt o;
		const char *want;
	} cases[] = {
		{ CHAT_CHATML, TWO, { 0 },
		  "<|im_start|>user\nHi <|im_end|>\n<|im_start|>assistant\n"
		  "<think>\nwell\n</think>\n\nYo<|im_end|>\n" },
		{ CHAT_CHATML, THREE, { .generate = 1, .system = "unused" },
		  "<|im_start|>system\n Be brief.\n<|im_end|>\n"
		  "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n" },
		{ CHAT_CHATML, TWO, { .drop_think = 1, .system = "Sys" },
		  "<|im_start|>system\nSys<|im_end|>\n<|im_start|>user\nHi "
		  "<|im_end|>\n<|im_start|>assistant\n\n\nYo<|im_end|>\n" },
		{ CHAT_R1, TWO, { 0 },
		  "<｜begin▁of▁sentence｜><｜User｜>Hi <｜Assistant｜><think>\nwell"
		  "\n</think>\n\nYo<｜end▁of▁sentence｜>" },
		{ CHAT_R1, TWO, { .drop_think = 1 },
		  "<｜begin▁of▁sentence｜><｜User｜>Hi <｜Assistant｜>\n\nYo"
		  "<｜end▁of▁sentence｜>" },
		{ CHAT_R1, THREE, { .generate = 1 },
		  "<｜begin▁of▁sentence｜> Be brief.\n<｜User｜>Hi<｜Assistant｜>"
		  "<think>\n" },
		{ CHAT_LLAMA3, THREE, { .generate = 1 },
		  "<|begin_of_text|><|start_header_id|>system<|end_header_id|>"
		  "\n\nBe brief.<|eot_id|><|start_header_id|>user"
		  "<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant"
		  "<|end_header_id|>\n\n" },
		{ CHAT_LLAMA3, TWO, { 0 },
		  "<|begin_of_text|><|start_header_id|>user<|end_header_id|>"
		  "\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>"
		  "\n\n<think>\nwell\n</think>\n\nYo<|eot_id|>" }
	};
	struct chat_text c = { 0 };
	size_t i, j;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const char *got = render(cases[i].t, cases[i].messages,
		                         cases[i].o, &c);

		assert_string_equal(got, cases[i].want);
		/* the turns cover the text without a gap */
		assert_int_equal(c.piece[0].from, 0);
		assert_int_equal(c.piece[c.n_pieces - 1].to, c.n);
		for (j = 1; j < c.n_pieces; j++)
			assert_int_equal(c.piece[j].from, c.piece[j - 1].to);
	}
	chat_done(&c);
}

static void heads_end_where_speech_begins(void **state)
{
	struct chat_text c = { 0 };
	const struct chat_piece *p;

	(void)state;
	render(CHAT_CHATML, TWO, (struct chat_opt){ 0 }, &c);
	assert_int_equal(c.n_pieces, 2);
	p = &c.piece[1];
	assert_true(p->assistant);
	assert_false(c.piece[0].assistant);
	assert_memory_equal(c.text + p->from + p->n_head, "<think>", 7);
	render(CHAT_R1, TWO, (struct chat_opt){ 0 }, &c);
	p = &c.piece[2];
	assert_memory_equal(c.text + p->from + p->n_head, "<think>", 7);
	chat_done(&c);
}

static void what_is_no_chat_is_refused(void **state)
{
	static const char *const bad[] = {
		"[]", "{}", "[3]", "[{\"role\": \"user\"}]",
		"[{\"role\": \"user\", \"content\": null}]",
		"[{\"role\": \"tool\", \"content\": \"x\"}]"
	};
	struct chat_text c = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_null(render(CHAT_R1, bad[i], (struct chat_opt){ 0 }, &c));
		assert_int_equal(e.code, ERR_FORMAT);
	}
	assert_non_null(strstr(e.msg, "message 0: role 'tool'"));
	assert_null(render(CHAT_NONE, TWO, (struct chat_opt){ 0 }, &c));
	assert_int_equal(chat_template("llama3"), CHAT_LLAMA3);
	assert_int_equal(chat_template("alpaca"), -1);
	chat_done(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_are_those_of_the_models_templates),
		cmocka_unit_test(heads_end_where_speech_begins),
		cmocka_unit_test(what_is_no_chat_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
