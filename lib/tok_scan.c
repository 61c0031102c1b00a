#include "tok_scan.h"

#include <limits.h>

enum { L = UCD_L, M = UCD_M, N = UCD_N, P = UCD_P, S = UCD_S, SP = UCD_SPACE };

/* [mask]* from at. */
static inline size_t run_in(const struct tok_ucd *u, const uint8_t *s,
                            size_t n, size_t at, unsigned mask)
{
	const uint8_t *ascii = u->bits[u->page[0]];
	size_t len;

	while (at < n) {
		if (s[at] < 0x80) {
			if (!(ascii[s[at]] & mask))
				break;
			at++;
		} else {
			if (!(ucd_at(u, s, at, &len) & mask))
				break;
			at += len;
		}
	}
	return at;
}

/* [^mask]* from at. */
static inline size_t run_out(const struct tok_ucd *u, const uint8_t *s,
                             size_t n, size_t at, unsigned mask)
{
	size_t len;

	while (at < n && !(ucd_at(u, s, at, &len) & mask))
		at += len;
	return at;
}

static inline int is_newline(uint8_t c)
{
	return c == '\r' || c == '\n';
}

/* [\r\n]* from at. */
static inline size_t newlines(const uint8_t *s, size_t n, size_t at)
{
	while (at < n && is_newline(s[at]))
		at++;
	return at;
}

static inline int is_ascii_letter(uint8_t c)
{
	return (uint8_t)((c | 0x20) - 'a') < 26;
}

/*
 * White space begins at `at`: \s+(?!\S)|\s+, that is: the run, but its last
 * character is left to the word behind it unless it is the only one. With
 * lines, \s*[\r\n]+ goes first: up to the run's last newline.
 */
static size_t spaces(const struct tok_ucd *u, const uint8_t *s, size_t n,
                     size_t at, int lines)
{
	size_t end = at, last = at, newline = 0, len;

	while (end < n && ucd_at(u, s, end, &len) & SP) {
		last = end;
		end += len;
		if (is_newline(s[last]))
			newline = end;
	}
	if (lines && newline)
		return newline;
	return end == n || last == at ? end : last;
}

/* 's|'t|'re|'ve|'m|'ll|'d at an apostrophe; 0: none. */
static inline size_t contraction(const uint8_t *s, size_t n, size_t at,
                                 uint8_t fold)
{
	uint8_t a, b;

	if (at + 1 >= n)
		return 0;
	a = s[at + 1] | fold;
	if (a == 's' || a == 't' || a == 'm' || a == 'd')
		return at + 2;
	if (at + 2 >= n)
		return 0;
	/* U+017F folds to s: the one such letter beyond ASCII */
	if (fold && s[at + 1] == 0xc5 && s[at + 2] == 0xbf)
		return at + 3;
	b = s[at + 2] | fold;
	if ((b == 'e' && (a == 'r' || a == 'v')) || (a == 'l' && b == 'l'))
		return at + 3;
	return 0;
}

size_t tok_scan_gpt2(const struct tok_ucd *u, const uint8_t *s, size_t n,
                     size_t at)
{
	size_t p = at, len, end;
	unsigned bits;

	if (s[at] == '\'' && (end = contraction(s, n, at, 0)))
		return end;
	if (s[at] == ' ' && at + 1 < n)
		p++;
	bits = ucd_at(u, s, p, &len);
	if (bits & L)
		return run_in(u, s, n, p + len, L);
	if (bits & N)
		return run_in(u, s, n, p + len, N);
	if (bits & SP)
		return spaces(u, s, n, at, 0);
	return run_out(u, s, n, p + len, L | N | SP);
}

/*
 * The cl100k family: letters are \p{L}, or [\p{L}\p{M}]; up to n_digits
 * digits together.
 */
static inline size_t cl100k(const struct tok_ucd *u, const uint8_t *s,
                            size_t n, size_t at, unsigned letters,
                            int n_digits)
{
	size_t p, len, next_len, end;
	unsigned bits;

	if (s[at] == '\'' && (end = contraction(s, n, at, 0x20)))
		return end;
	bits = ucd_at(u, s, at, &len);
	p = at + len;
	if (bits & letters)
		return run_in(u, s, n, p, letters);
	if (bits & N) {
		while (--n_digits && p < n && ucd_at(u, s, p, &len) & N)
			p += len;
		return p;
	}
	if (is_newline(s[at]))
		return spaces(u, s, n, at, 1);
	if (p < n) {
		unsigned next = ucd_at(u, s, p, &next_len);

		if (next & letters)
			return run_in(u, s, n, p + next_len, letters);
		if (s[at] == ' ' && !(next & (N | SP)))
			return newlines(s, n, run_out(u, s, n, p + next_len,
			                              letters | N | SP));
	}
	if (bits & SP)
		return spaces(u, s, n, at, 1);
	return newlines(s, n, run_out(u, s, n, p, letters | N | SP));
}

static size_t qwen2(const struct tok_ucd *u, const uint8_t *s, size_t n,
                    size_t at)
{
	return cl100k(u, s, n, at, L, 1);
}

static size_t qwen35(const struct tok_ucd *u, const uint8_t *s, size_t n,
                     size_t at)
{
	return cl100k(u, s, n, at, L | M, 1);
}

static size_t llama3(const struct tok_ucd *u, const uint8_t *s, size_t n,
                     size_t at)
{
	return cl100k(u, s, n, at, L, 3);
}

/* The end of a match of DeepSeek V3's third pattern that begins at `at`, or 0
 * where none does. */
static size_t deepseek_match(const struct tok_ucd *u, const uint8_t *s,
                             size_t n, size_t at)
{
	unsigned bits, next;
	size_t len, next_len, p;

	bits = ucd_at(u, s, at, &len);
	p = at + len;
	if (len == 1 && bits & (P | S) && p < n && is_ascii_letter(s[p])) {
		while (p < n && is_ascii_letter(s[p]))
			p++;
		return p;
	}
	if (bits & (L | M))
		return run_in(u, s, n, p, L | M);
	if (bits & (P | S))
		return newlines(s, n, run_in(u, s, n, p, P | S));
	if (p < n && !is_newline(s[at])) {
		next = ucd_at(u, s, p, &next_len);
		if (next & (L | M))
			return run_in(u, s, n, p + next_len, L | M);
		if (s[at] == ' ' && next & (P | S))
			return newlines(s, n, run_in(u, s, n, p + next_len,
			                             P | S));
	}
	return bits & SP ? spaces(u, s, n, at, 1) : 0;
}

static size_t deepseek(const struct tok_ucd *u, const uint8_t *s, size_t n,
                       size_t at)
{
	size_t end = deepseek_match(u, s, n, at), len;

	if (end)
		return end;
	do {
		tok_utf8_at(s + at, &len);
		at += len;
	} while (at < n && !deepseek_match(u, s, n, at));
	return at;
}

/* One to max characters of the class, or the text up to the next of it. */
static inline size_t grouped(const struct tok_ucd *u, const uint8_t *s,
                             size_t n, size_t at, unsigned mask, int max)
{
	size_t len;

	if (!(ucd_at(u, s, at, &len) & mask)) {
		const uint8_t *ascii = u->bits[u->page[0]];

		while (at < n) {
			if (s[at] < 0x80) {
				if (ascii[s[at]] & mask)
					break;
				at++;
			} else {
				if (ucd_at(u, s, at, &len) & mask)
					break;
				at += len;
			}
		}
		return at;
	}
	at += len;
	while (--max && at < n && ucd_at(u, s, at, &len) & mask)
		at += len;
	return at;
}

static size_t numbers1(const struct tok_ucd *u, const uint8_t *s, size_t n,
                       size_t at)
{
	return grouped(u, s, n, at, N, 1);
}

static size_t numbers3(const struct tok_ucd *u, const uint8_t *s, size_t n,
                       size_t at)
{
	return grouped(u, s, n, at, N, 3);
}

size_t tok_scan_digit(const struct tok_ucd *u, const uint8_t *s, size_t n,
                      size_t at)
{
	return grouped(u, s, n, at, UCD_DIGIT, 1);
}

size_t tok_scan_digits(const struct tok_ucd *u, const uint8_t *s, size_t n,
                       size_t at)
{
	return grouped(u, s, n, at, UCD_DIGIT, INT_MAX);
}

/* [一-龥぀-ゟ゠-ヿ]: unified ideographs to U+9FA5, hiragana, katakana. */
static inline int is_cjk(const uint8_t *s, size_t at)
{
	uint32_t c;
	size_t len;

	if (s[at] < 0xe3 || s[at] > 0xe9)
		return 0;
	c = tok_utf8_at(s + at, &len);
	return (c >= 0x4e00 && c <= 0x9fa5) || (c >= 0x3040 && c <= 0x30ff);
}

static size_t cjk(const struct tok_ucd *u, const uint8_t *s, size_t n,
                  size_t at)
{
	int want = is_cjk(s, at);

	(void)u;
	do	/* past this character, to the next one's first byte */
		at++;
	while (at < n && ((s[at] & 0xc0) == 0x80 || is_cjk(s, at) == want));
	return at;
}

static const struct tok_scan_known known[] = {
	{ "gpt2", "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+|"
	  " ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", tok_scan_gpt2, 1 },
	{ "llama3", "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
	  "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
	  "\\s+(?!\\S)|\\s+", llama3, 1 },
	{ "qwen2", "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
	  "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
	  "\\s+(?!\\S)|\\s+", qwen2, 1 },
	{ "qwen35", "(?i:'s|'t|'re|'ve|'m|'ll|'d)|"
	  "[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}|"
	  " ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
	  "\\s+(?!\\S)|\\s+", qwen35, 1 },
	{ "deepseek3", "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|"
	  "[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
	  " ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
	  deepseek, 1 },
	{ "number", "\\p{N}", numbers1, 0 },
	{ "numbers", "\\p{N}{1,3}", numbers3, 0 },
	{ "cjk", "[一-龥぀-ゟ゠-ヿ]+", cjk, 0 },
	{ NULL, NULL, NULL, 0 }
};

/* Equal, a CR or LF in a being as good as \r or \n in b. */
static int same_pattern(const char *a, const char *b)
{
	for (; *a && *b; a++, b++) {
		if (*b == '\\' && ((*a == '\r' && b[1] == 'r') ||
		                   (*a == '\n' && b[1] == 'n')))
			b++;
		else if (*a != *b)
			return 0;
	}
	return *a == *b;
}

tok_scan_fn *tok_scan_find(const char *pattern)
{
	const struct tok_scan_known *k;

	for (k = known; k->name; k++)
		if (same_pattern(pattern, k->pattern))
			return k->scan;
	return NULL;
}

int tok_scan_words(tok_scan_fn *scan)
{
	const struct tok_scan_known *k;

	for (k = known; k->name; k++)
		if (k->scan == scan)
			return k->words;
	return 0;
}

const struct tok_scan_known *tok_scan_all(void)
{
	return known;
}
