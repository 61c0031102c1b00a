#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "tok_regex.h"
#include "tok_scan.h"

static struct tok_ucd ucd;

static int set_up(void **state)
{
	(void)state;
	return tok_ucd_init(&ucd, NULL);
}

static int tear_down(void **state)
{
	(void)state;
	tok_ucd_done(&ucd);
	return 0;
}

/* The text of a random walk through what makes pre-tokenisers stumble. */
static size_t walk(uint64_t *seed, uint8_t *out, size_t n_words)
{
	static const char *const words[] = {
		"a", "B", "hello", "'s", "'S", "'ll", "'LL", "'re", "'v", "'",
		"'\u017f", "don't", " ", "  ", "   ", "\t", "\n", "\r\n", "\r",
		"\u00a0", "\u3000", "\u2028", "1", "42", "12345", "\u0663",
		"\u00bd", ".", "...", "!?", "\u3002", "\u201c", "$", "+", "\u20ac",
		"\u0301", "e\u0301", "\u093e", "\u00e9", "\u00df", "\u65e5\u672c",
		"\u3042", "\u30a2", "\u9fa5", "\u9fa6", "\uac00", "\u0430\u0431",
		"\u05d0", "\U0001f600", "\u200d", "\ufe0f", "_", "x1y", "\x01",
		"\x7f", "\u200b", "<", "|", "\u00ad", "\ue000", "\u0e01\u0e33"
	};
	size_t n = 0, i;

	for (i = 0; i < n_words; i++) {
		const char *w;
		size_t len;

		*seed = *seed * 6364136223846793005u + 1442695040888963407u;
		w = words[(*seed >> 33) % (sizeof(words) / sizeof(*words))];
		len = strlen(w);
		memcpy(out + n, w, len);
		n += len;
	}
	return n;
}

/* Walks over both: a piece ends where the scanner says if and only if a match
 * begins or ends there. */
static void compare(const struct tok_scan_known *k, const uint8_t *s, size_t n)
{
	struct err e = { 0 };
	struct tok_regex *r = tok_regex_new(k->pattern, strlen(k->pattern), 0,
	                                    &e);
	struct tok_match *m = tok_match_new(&e);
	struct tok_iter it = { 0 };
	size_t at = 0;
	int got;

	assert_non_null(r);
	assert_non_null(m);
	do {
		size_t stop[2], j;

		got = tok_regex_next(r, m, s, n, &it, &e);
		assert_true(got >= 0);
		stop[0] = got ? it.start : n;
		stop[1] = got ? it.end : n;
		for (j = 0; j < 2; j++) {
			size_t end;

			if (stop[j] == at)
				continue;
			end = k->scan(&ucd, s, n, at);
			if (end != stop[j])
				fail_msg("%s at byte %zu of %zu: pattern %zu, "
				         "by hand %zu", k->name, at, n,
				         stop[j], end);
			at = end;
		}
	} while (got);
	assert_int_equal(at, n);
	tok_regex_free(r);
	tok_match_free(m);
}

static void scanners_cut_as_their_patterns(void **state)
{
	const struct tok_scan_known *k;
	uint8_t *text = malloc(1 << 16);
	uint64_t seed = 1;
	int i;

	(void)state;
	for (k = tok_scan_all(); k->name; k++) {
		for (i = 0; i < 400; i++)
			compare(k, text, walk(&seed, text, 1 + (size_t)i));
		for (i = 0; i < 4000; i++)
			compare(k, text, walk(&seed, text, 1 + (size_t)i % 7));
	}
	free(text);
}

/* Each code point that PCRE2's Unicode knows, alone and among others. Our
 * tables are newer: what is unassigned there is left out; so is U+180E, white
 * space to PCRE2 alone. */
static void every_code_point_is_in_its_class(void **state)
{
	static const char *const frames[] = { "%s", "a%sb", " %s1", "\n%s.%s" };
	const struct tok_scan_known *k = tok_scan_all();
	struct err e = { 0 };
	struct tok_regex *assigned = tok_regex_new("\\P{Cn}", 6, 0, &e);
	struct tok_match *m = tok_match_new(&e);
	char *text = malloc(1 << 17), one[8];
	size_t n = 0;
	uint32_t c;
	int f;

	(void)state;
	assert_non_null(assigned);
	for (f = 0; f < 4; f++)
		for (c = 1; c < 0x110000; c++) {
			struct tok_iter it = { 0 };

			if (c == 0xd800)
				c = 0xe000;
			if (c == 0x180e || c == 0x32000)
				c = c == 0x180e ? c + 1 : 0xe0000;
			one[tok_utf8_put(c, (uint8_t *)one)] = 0;
			if (tok_regex_next(assigned, m, (uint8_t *)one,
			                   strlen(one), &it, &e) != 1)
				continue;
			n += (size_t)snprintf(text + n, 64, frames[f], one, one);
			if (n > 60000) {
				for (k = tok_scan_all(); k->name; k++)
					compare(k, (uint8_t *)text, n);
				n = 0;
			}
		}
	free(text);
	tok_regex_free(assigned);
	tok_match_free(m);
}

static void patterns_are_found_by_their_text(void **state)
{
	(void)state;
	assert_non_null(tok_scan_find("\\p{N}{1,3}"));
	assert_null(tok_scan_find("\\p{N}{1,4}"));
	/* as tokenizer.json of DeepSeek V3 has it: CR and LF themselves */
	assert_non_null(tok_scan_find(
		"[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|"
		"[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
		" ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"));
	assert_true(tok_scan_words(tok_scan_gpt2));
	assert_false(tok_scan_words(tok_scan_digit));
}

static size_t pieces(const char *pattern, const char *text)
{
	struct err e = { 0 };
	struct tok_regex *r = tok_regex_new(pattern, strlen(pattern), 0, &e);
	struct tok_match *m = tok_match_new(&e);
	struct tok_iter it = { 0 };
	size_t n = 0;

	assert_non_null(r);
	while (tok_regex_next(r, m, (const uint8_t *)text, strlen(text), &it,
	                      &e) > 0)
		n++;
	tok_regex_free(r);
	tok_match_free(m);
	return n;
}

static void patterns_match_as_onigurumas(void **state)
{
	struct err e = { 0 };

	(void)state;
	assert_int_equal(pieces("\\s+$", "a \nb "), 2);	/* $ at each line */
	assert_int_equal(pieces("x*", "xxax"), 2);	/* no empty one behind */
	assert_int_equal(pieces("", "ab"), 3);
	assert_int_equal(pieces(".", "a\n\u00e9"), 2);
	assert_null(tok_regex_new("a(", 2, 0, &e));
	assert_int_equal(e.code, ERR_FORMAT);
	assert_non_null(strstr(e.msg, "byte 2"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scanners_cut_as_their_patterns),
		cmocka_unit_test(every_code_point_is_in_its_class),
		cmocka_unit_test(patterns_are_found_by_their_text),
		cmocka_unit_test(patterns_match_as_onigurumas),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
