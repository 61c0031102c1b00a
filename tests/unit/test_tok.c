#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"
#include "tok.h"

static struct err e;

/* tokenizer.json around the given members; 256 single bytes are in its
 * vocabulary as ids 0..255 (the byte), then the merges'. */
static struct tok *make(const char *members)
{
	char path[] = "/tmp/r1-test-tok.XXXXXX";
	int fd = mkstemp(path);
	struct tok *t;
	FILE *f = fdopen(fd, "w");
	int i, n = 0, other = 256;

	assert_non_null(f);
	fprintf(f, "{%s, \"model\": {\"type\": \"BPE\", \"vocab\": {", members);
	for (i = 0; i < 256; i++) {
		int c = (i >= 33 && i <= 126) || (i >= 161 && i != 173)
			? i : other++;

		fprintf(f, "\"\\u%04x\": %d, ", c, n++);
	}
	fprintf(f, "\"ab\": 256, \"abc\": 257, \"bc\": 258, \"\\u0120a\": 259, "
	        "\"aa\": 260, \"aaaa\": 261, \"xyz\": 262}, \"merges\": ["
	        "[\"b\", \"c\"], \"a b\", [\"ab\", \"c\"], \"a bc\", "
	        "\"\\u0120 a\", \"a a\", \"aa aa\"]}}");
	assert_int_equal(fclose(f), 0);
	t = tok_open(path, &e);
	unlink(path);
	return t;
}

#define BYTES "\"pre_tokenizer\": {\"type\": \"ByteLevel\", " \
	"\"add_prefix_space\": false}"

/* The ids as text: "256 258". */
static const char *ids_of(const struct tok *t, const char *text, size_t n,
                          int flags)
{
	static char out[4096];
	struct tok_work *w = tok_work_new(t, &e);
	uint32_t *ids = NULL;
	size_t n_ids = 0, cap = 0, i, at = 0;

	assert_non_null(w);
	assert_int_equal(tok_encode(t, w, text, n, flags, &ids, &n_ids, &cap,
	                            &e), 0);
	out[0] = 0;
	for (i = 0; i < n_ids && at < sizeof(out) - 16; i++)
		at += (size_t)sprintf(out + at, "%s%u", i ? " " : "", ids[i]);
	mem_free(ids);
	tok_work_free(w);
	return out;
}

/* The pieces that merging leaves, with | between. */
static const char *cut(const struct tok *t, const char *text)
{
	static char out[4096];
	struct tok_work *w = tok_work_new(t, &e);
	uint32_t *ids = NULL;
	size_t n_ids = 0, cap = 0, i, n, at = 0;

	assert_non_null(w);
	assert_int_equal(tok_encode(t, w, text, strlen(text), TOK_SPECIAL, &ids,
	                            &n_ids, &cap, &e), 0);
	for (i = 0; i < n_ids; i++) {
		const char *s = tok_bytes(t, ids[i], &n);

		if (i)
			out[at++] = '|';
		memcpy(out + at, s, n);
		at += n;
	}
	out[at] = 0;
	mem_free(ids);
	tok_work_free(w);
	return out;
}

static void merges_go_by_rank(void **state)
{
	struct tok *t = make(BYTES);

	(void)state;
	assert_non_null(t);
	assert_int_equal(tok_n_vocab(t), 263);
	assert_string_equal(cut(t, "abc"), "abc");	/* bc, then a bc */
	assert_string_equal(cut(t, "abab"), "ab|ab");
	assert_string_equal(cut(t, "aaaaaaa"), "aaaa|aa|a");
	assert_string_equal(cut(t, " a b"), " a| |b");
	assert_string_equal(cut(t, "xyz"), "x|y|z");	/* no merge leads there */
	assert_string_equal(ids_of(t, "", 0, 0), "");
	tok_free(t);
}

/* Words on both sides of the limit between the two ways of merging. */
static void long_words_merge_as_short_ones(void **state)
{
	struct tok *t = make(BYTES);
	struct tok_work *w = tok_work_new(t, &e);
	char text[600];
	size_t n, i;

	(void)state;
	memset(text, 'a', sizeof(text));
	for (n = 1; n < sizeof(text); n++) {
		uint32_t *ids = NULL;
		size_t n_ids = 0, cap = 0;

		assert_int_equal(tok_encode(t, w, text, n, 0, &ids, &n_ids,
		                            &cap, &e), 0);
		assert_int_equal(n_ids, n / 4 + (n % 4 + 1) / 2);
		for (i = 0; i < n / 4; i++)
			assert_int_equal(ids[i], 261);
		mem_free(ids);
	}
	tok_work_free(w);
	tok_free(t);
}

static void whole_words_win_with_ignore_merges(void **state)
{
	struct tok *t = make(BYTES ", \"added_tokens\": []");

	(void)state;
	assert_string_equal(cut(t, "xyz"), "x|y|z");
	tok_free(t);
	t = tok_open("tests/golden/tok/ignore-merges.json", &e);
	assert_non_null(t);
	assert_string_equal(cut(t, "xyz"), "xyz");
	tok_free(t);
}

static void broken_utf8_is_replaced_as_python_does(void **state)
{
	struct tok *t = make(BYTES);
	static const char *const cases[][2] = {
		{ "a\x80z", "a\uFFFDz" },
		{ "\xe2\x82", "\uFFFD" },		/* one for both */
		{ "\xe2\x82\x41", "\uFFFDA" },
		{ "\xed\xa0\x80", "\uFFFD\uFFFD\uFFFD" },	/* surrogate */
		{ "\xf0\x9f\x98", "\uFFFD" },
		{ "\xc0\xaf", "\uFFFD\uFFFD" },		/* overlong */
		{ "\xf5\x80", "\uFFFD\uFFFD" },
		{ "\xf4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD" },
		{ "\xff\xfe", "\uFFFD\uFFFD" }
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char want[4096];

		strcpy(want, ids_of(t, cases[i][1], strlen(cases[i][1]), 0));
		assert_string_equal(ids_of(t, cases[i][0], strlen(cases[i][0]),
		                           0), want);
	}
	tok_free(t);
}

#define ADDED(flags) BYTES ", \"added_tokens\": [" \
	"{\"id\": 300, \"content\": \"<s>\", \"special\": true}, " \
	"{\"id\": 301, \"content\": \"<sx\", \"special\": false, " flags "}]"

static void added_tokens_are_cut_out(void **state)
{
	struct tok *t = make(ADDED("\"normalized\": false"));
	size_t n;

	(void)state;
	assert_int_equal(tok_n_vocab(t), 302);
	assert_string_equal(cut(t, "a<s>b<sx>"), "a|<s>|b|<sx|>");
	/* without TOK_SPECIAL the special one is text */
	assert_string_equal(ids_of(t, "<s>", 3, TOK_SPECIAL), "300");
	assert_string_equal(ids_of(t, "<s>", 3, 0), "60 115 62");
	assert_string_equal(ids_of(t, "<sx", 3, 0), "301");
	assert_true(tok_is_special(t, 300));
	assert_false(tok_is_special(t, 301));
	assert_int_equal(tok_id(t, "<sx"), 301);
	assert_int_equal(tok_id(t, " a"), 259);
	assert_int_equal(tok_id(t, "none"), UINT32_MAX);
	assert_string_equal(tok_bytes(t, 299, &n), "");
	assert_int_equal(n, 0);
	tok_free(t);
	t = make(ADDED("\"lstrip\": true, \"rstrip\": true"));
	assert_string_equal(cut(t, "a \t<sx\u00a0 <s> b"), "a|<sx|<s>| |b");
	tok_free(t);
	t = make(ADDED("\"single_word\": true"));
	assert_string_equal(cut(t, "<sx <sxy y<sx"), "<sx| |<|s|x|y| |y|<|s|x");
	tok_free(t);
}

static void normalized_tokens_match_normalised_text(void **state)
{
	struct tok *t = make("\"normalizer\": {\"type\": \"Lowercase\"}, "
	                     ADDED("\"normalized\": true"));

	(void)state;
	assert_string_equal(ids_of(t, "<SX", 3, 0), "301");
	assert_string_equal(ids_of(t, "<S>", 3, TOK_SPECIAL), "60 115 62");
	tok_free(t);
}

static void normalisers_run_in_order(void **state)
{
	struct tok *t = make("\"normalizer\": {\"type\": \"Sequence\", "
		"\"normalizers\": [{\"type\": \"NFC\"}, {\"type\": \"Strip\"}, "
		"{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"x+\"}, "
		"\"content\": \"z\"}, {\"type\": \"Replace\", \"pattern\": "
		"{\"String\": \".\"}, \"content\": \"\"}, "
		"{\"type\": \"Prepend\", \"prepend\": \"a\"}]}, " BYTES);
	char want[4096];

	(void)state;
	assert_non_null(t);
	assert_string_equal(cut(t, " \txxb.yx "), "a|z|b|y|z");
	assert_string_equal(cut(t, ""), "");
	tok_free(t);
	t = make("\"normalizer\": {\"type\": \"NFC\"}, " BYTES);
	strcpy(want, ids_of(t, "x\u00e9\uac01\u1e69y", 10, 0));
	assert_string_equal(ids_of(t, "xe\u0301\u1100\u1161\u11a8s\u0307\u0323y",
	                           19, 0), want);
	tok_free(t);
}

#define PRE(s) "\"pre_tokenizer\": {\"type\": \"Sequence\", " \
	"\"pretokenizers\": [" s ", {\"type\": \"ByteLevel\", " \
	"\"add_prefix_space\": false, \"use_regex\": false}]}"
#define SPLIT(behaviour, more) PRE("{\"type\": \"Split\", \"pattern\": " \
	"{\"String\": \"a\"}, \"behavior\": \"" behaviour "\"" more "}")

/* In "baab": aa merges only where both stay in one piece. */
static void split_behaves_five_ways(void **state)
{
	static const struct {
		const char *json, *want;
	} cases[] = {
		{ SPLIT("Isolated", ""), "b|a|a|bc" },
		{ SPLIT("Removed", ""), "b|bc" },
		{ SPLIT("Removed", ", \"invert\": true"), "a|a" },
		{ SPLIT("Contiguous", ""), "b|aa|bc" },
		{ SPLIT("MergedWithPrevious", ""), "b|a|a|bc" },
		{ SPLIT("MergedWithNext", ""), "b|a|abc" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct tok *t = make(cases[i].json);

		assert_non_null(t);
		assert_string_equal(cut(t, "baabc"), cases[i].want);
		tok_free(t);
	}
}

static void digits_stand_alone(void **state)
{
	struct tok *t = make(PRE("{\"type\": \"Digits\", "
	                         "\"individual_digits\": true}"));

	(void)state;
	assert_string_equal(cut(t, "aa1aa"), "aa|1|aa");
	tok_free(t);
	t = make(PRE("{\"type\": \"Digits\"}"));
	assert_string_equal(cut(t, "aa12aa"), "aa|1|2|aa");
	tok_free(t);
}

static void byte_level_puts_a_space_in_front(void **state)
{
	struct tok *t = make("\"pre_tokenizer\": {\"type\": \"ByteLevel\"}");

	(void)state;
	assert_string_equal(cut(t, "ab"), " |ab");
	assert_string_equal(cut(t, " ab"), " |ab");
	tok_free(t);
}

#define POST(tail) BYTES ", \"added_tokens\": [{\"id\": 300, \"content\": " \
	"\"<s>\", \"special\": true}, {\"id\": 301, \"content\": \"</s>\", " \
	"\"special\": true}], \"post_processor\": " \
	"{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": " \
	"{\"id\": \"<s>\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", " \
	"\"type_id\": 0}}" tail "], \"special_tokens\": {\"<s>\": {\"id\": " \
	"\"<s>\", \"ids\": [300], \"tokens\": [\"<s>\"]}, \"</s>\": {\"id\": " \
	"\"</s>\", \"ids\": [301], \"tokens\": [\"</s>\"]}}}"

static void the_template_adds_bos_and_eos(void **state)
{
	struct tok *t = make(POST(""));

	(void)state;
	assert_non_null(t);
	assert_int_equal(tok_bos(t), 300);
	assert_int_equal(tok_eos(t), 301);
	assert_true(tok_adds_bos(t));
	assert_false(tok_adds_eos(t));
	assert_string_equal(ids_of(t, "ab", 2, TOK_ADD), "300 256");
	assert_string_equal(ids_of(t, "ab", 2, 0), "256");
	tok_free(t);
	t = make(POST(", {\"SpecialToken\": {\"id\": \"</s>\"}}"));
	assert_true(tok_adds_eos(t));
	assert_string_equal(ids_of(t, "", 0, TOK_ADD), "300 301");
	tok_free(t);
}

static void what_is_not_known_is_refused_by_name(void **state)
{
	static const char *const cases[][2] = {
		{ "\"normalizer\": {\"type\": \"Nmt\"}", "type Nmt" },
		{ "\"pre_tokenizer\": {\"type\": \"Metaspace\"}", "Metaspace" },
		{ "\"pre_tokenizer\": 3", "object wanted" },
		{ SPLIT("Sideways", ""), "Sideways" },
		{ PRE("{\"type\": \"Split\", \"pattern\": {\"Regex\": \"(\"}, "
		      "\"behavior\": \"Isolated\"}"), "pattern" },
		{ BYTES ", \"added_tokens\": [{\"content\": \"x\"}]", "no id" },
		{ BYTES ", \"added_tokens\": [{\"content\": \"<x>\", "
		  "\"id\": 99999999}]", "id is 99999999" },
		{ BYTES ", \"post_processor\": {\"type\": \"Bert\"}", "Bert" }
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_null(make(cases[i][0]));
		assert_int_equal(e.code, ERR_FORMAT);
		if (!strstr(e.msg, cases[i][1]))
			fail_msg("'%s' lacks '%s'", e.msg, cases[i][1]);
		assert_non_null(strstr(e.msg, "/tmp/r1-test-tok"));
	}
	assert_null(tok_open("/nonexistent/tokenizer.json", &e));
	assert_int_equal(e.code, ERR_IO);
}

/* Llama 2's way: no pieces, U+2581 for spaces, bytes for what is unknown. */
static void characters_fall_back_to_bytes(void **state)
{
	struct tok *t = tok_open("tests/golden/tok/chars.json", &e);
	struct tok_work *w;
	uint32_t *ids = NULL;
	size_t n_ids = 0, cap = 0, n = 0, cap_text = 0;
	char *text = NULL;

	(void)state;
	assert_non_null(t);
	assert_string_equal(ids_of(t, "hi hi", 5, 0), "6 6");
	assert_string_equal(ids_of(t, "\u00e9", 2, 0), "4 7 8");
	w = tok_work_new(t, &e);
	assert_int_equal(tok_encode(t, w, "hi \u00e9", 5, 0, &ids, &n_ids, &cap,
	                            &e), 0);
	assert_int_equal(tok_decode(t, ids, n_ids, 1, &text, &n, &cap_text, &e),
	                 0);
	assert_int_equal(n, 5);
	assert_memory_equal(text, "hi \u00e9", 5);
	/* no token, no byte: the unknown one, runs of it fused */
	assert_string_equal(ids_of(t, "\u4e2d\u4e2dh", 7, 0), "4 0 2");
	mem_free(text);
	mem_free(ids);
	tok_work_free(w);
	tok_free(t);
}

static char *mixed_text(size_t n)
{
	static const char *const words[] = {
		"hello", " world", " a", "ab ", "1234", "\n", "\n\n", "  ", "<s>",
		"\u65e5\u672c", ".\n", "\u3000", "\n\u00a0", "'s", "x\ny", "\x80",
		"\xe2\x82\n", "\ne\u0301", "\t\nQ", "abc abc"
	};
	char *text = malloc(n + 64);
	uint64_t seed = 9;
	size_t at = 0;

	while (at < n) {
		const char *w;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		w = words[(seed >> 33) % (sizeof(words) / sizeof(*words))];
		strcpy(text + at, w);
		at += strlen(w);
	}
	text[n] = 0;
	return text;
}

/* Every place tok_cut names is one where both sides may be encoded apart. */
static void cuts_leave_the_ids_alone(void **state)
{
	struct tok *t = make(ADDED("\"normalized\": false"));
	struct tok_work *w = tok_work_new(t, &e);
	const size_t n = 3000;
	char *text = mixed_text(n);
	uint32_t *whole = NULL, *parts = NULL;
	size_t n_whole = 0, n_parts, cap = 0, cap_parts = 0, at, cuts = 0;

	(void)state;
	assert_int_equal(tok_encode(t, w, text, n, TOK_SPECIAL, &whole, &n_whole,
	                            &cap, &e), 0);
	for (at = tok_cut(t, text, n, 0); at < n;
	     at = tok_cut(t, text, n, at + 1)) {
		n_parts = 0;
		assert_int_equal(tok_encode(t, w, text, at, TOK_SPECIAL, &parts,
		                            &n_parts, &cap_parts, &e), 0);
		assert_int_equal(tok_encode(t, w, text + at, n - at,
		                            TOK_SPECIAL, &parts, &n_parts,
		                            &cap_parts, &e), 0);
		assert_int_equal(n_parts, n_whole);
		assert_memory_equal(parts, whole, n_whole * sizeof(*whole));
		cuts++;
	}
	assert_true(cuts > 50);
	mem_free(whole);
	mem_free(parts);
	free(text);
	tok_work_free(w);
	tok_free(t);
}

static void many_threads_give_the_same_ids(void **state)
{
	struct tok *t = make(POST(""));
	struct tok_work *w[4];
	struct par *p = par_new(4, &e);
	const size_t n = 700000;
	char *text = mixed_text(n);
	struct tok_job jobs[5] = { { .text = text, .n = n, .flags = TOK_ADD },
		{ .text = text, .n = 0, .flags = TOK_ADD },
		{ .text = text, .n = 0 },
		{ .text = text + 7, .n = 100 },
		{ .text = text + 1, .n = n - 1, .flags = TOK_SPECIAL } };
	int i;

	(void)state;
	for (i = 0; i < 4; i++)
		w[i] = tok_work_new(t, &e);
	assert_int_equal(tok_encode_all(t, p, w, jobs, 5, &e), 0);
	assert_int_equal(jobs[1].n_ids, 1);
	assert_int_equal(jobs[2].n_ids, 0);
	for (i = 0; i < 5; i++) {
		uint32_t *ids = NULL;
		size_t n_ids = 0, cap = 0;

		assert_int_equal(tok_encode(t, w[0], jobs[i].text, jobs[i].n,
		                            jobs[i].flags, &ids, &n_ids, &cap,
		                            &e), 0);
		assert_int_equal(n_ids, jobs[i].n_ids);
		if (n_ids)
			assert_memory_equal(ids, jobs[i].ids,
			                    n_ids * sizeof(*ids));
		mem_free(ids);
		mem_free(jobs[i].ids);
	}
	for (i = 0; i < 4; i++)
		tok_work_free(w[i]);
	free(text);
	par_free(p);
	tok_free(t);
}

static void folders_and_their_configuration_are_read(void **state)
{
	struct tok *t = tok_open("tests/golden/tiny-llama", &e);

	(void)state;
	assert_non_null(t);
	assert_int_equal(tok_bos(t), 1);
	assert_int_equal(tok_eos(t), 2);
	assert_int_equal(strlen(tok_sha256(t)), 64);
	assert_string_equal(ids_of(t, "Hello world", 11, 0),
	                    "42 71 507 81 345 361");
	tok_free(t);
}

/* Llama's class of tokenizers goes by tokenizer_config.json, others don't. */
static void llamas_take_bos_from_the_configuration(void **state)
{
	static const struct {
		const char *config;
		int bos, eos;
	} cases[] = {
		{ "{\"tokenizer_class\": \"LlamaTokenizerFast\", \"bos_token\": "
		  "\"<s>\", \"add_bos_token\": true, \"model_max_length\": "
		  "1000000000000000019884624838656}", 1, 0 },
		{ "{\"tokenizer_class\": \"LlamaTokenizer\", \"bos_token\": "
		  "{\"content\": \"<s>\"}, \"eos_token\": {\"content\": "
		  "\"</s>\"}, \"add_bos_token\": false, \"add_eos_token\": true}",
		  0, 1 },
		{ "{\"tokenizer_class\": \"PreTrainedTokenizerFast\", "
		  "\"bos_token\": \"<s>\", \"add_bos_token\": true}", 0, 0 }
	};
	char dir[] = "/tmp/r1-test-tok.XXXXXX", cmd[200], path[80];
	size_t i;

	(void)state;
	assert_non_null(mkdtemp(dir));
	sprintf(cmd, "cp tests/golden/tiny-llama/tokenizer.json %s", dir);
	assert_int_equal(system(cmd), 0);
	sprintf(path, "%s/tokenizer_config.json", dir);
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		FILE *f = fopen(path, "w");
		struct tok *t;

		assert_non_null(f);
		fputs(cases[i].config, f);
		assert_int_equal(fclose(f), 0);
		t = tok_open(dir, &e);
		assert_non_null(t);
		assert_int_equal(tok_adds_bos(t), cases[i].bos);
		assert_int_equal(tok_adds_eos(t), cases[i].eos);
		assert_int_equal(tok_bos(t), 1);
		tok_free(t);
	}
	sprintf(cmd, "rm -r %s", dir);
	assert_int_equal(system(cmd), 0);
}

static void a_gguf_is_a_tokenizer_too(void **state)
{
	struct tok *t = tok_open("tests/golden/tok/tiny.gguf", &e);
	char path[] = "/tmp/r1-test-tok.XXXXXX", bytes[4096], *pre;
	int fd = mkstemp(path);
	size_t n;
	FILE *f;

	(void)state;
	assert_non_null(t);
	assert_int_equal(tok_n_vocab(t), 8);
	assert_int_equal(tok_bos(t), 6);
	assert_true(tok_adds_bos(t));		/* as llama-bpe does */
	/* ignore_merges; a user's token; a control token */
	assert_string_equal(ids_of(t, "ab xyz<u>ab", 11, 0), "2 3 5 7 2");
	assert_string_equal(ids_of(t, "xyz", 3, TOK_ADD), "6 4");
	assert_string_equal(ids_of(t, "<|begin_of_text|>", 17, TOK_SPECIAL),
	                    "6");
	assert_false(tok_is_special(t, 7));
	assert_true(tok_is_special(t, 6));
	tok_free(t);
	/* another pre-tokenizer's name of the same length */
	f = fopen("tests/golden/tok/tiny.gguf", "rb");
	n = fread(bytes, 1, sizeof(bytes), f);
	fclose(f);
	pre = memmem(bytes, n, "llama-bpe", 9);
	assert_non_null(pre);
	memcpy(pre, "what-bpe!", 9);
	assert_int_equal(write(fd, bytes, n), n);
	close(fd);
	assert_null(tok_open(path, &e));
	assert_non_null(strstr(e.msg, "'what-bpe!' is not supported"));
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(merges_go_by_rank),
		cmocka_unit_test(long_words_merge_as_short_ones),
		cmocka_unit_test(whole_words_win_with_ignore_merges),
		cmocka_unit_test(broken_utf8_is_replaced_as_python_does),
		cmocka_unit_test(added_tokens_are_cut_out),
		cmocka_unit_test(normalized_tokens_match_normalised_text),
		cmocka_unit_test(normalisers_run_in_order),
		cmocka_unit_test(split_behaves_five_ways),
		cmocka_unit_test(digits_stand_alone),
		cmocka_unit_test(byte_level_puts_a_space_in_front),
		cmocka_unit_test(the_template_adds_bos_and_eos),
		cmocka_unit_test(what_is_not_known_is_refused_by_name),
		cmocka_unit_test(characters_fall_back_to_bytes),
		cmocka_unit_test(cuts_leave_the_ids_alone),
		cmocka_unit_test(many_threads_give_the_same_ids),
		cmocka_unit_test(llamas_take_bos_from_the_configuration),
		cmocka_unit_test(a_gguf_is_a_tokenizer_too),
		cmocka_unit_test(folders_and_their_configuration_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
