/*
 * tok_regex: a pattern of a tokenizer through PCRE2, matched as Oniguruma
 * (which `tokenizers` uses) would: UTF-8, Unicode classes, ^ and $ at lines.
 * Classes are those of PCRE2's Unicode version, and \s holds U+180E besides.
 */
#ifndef R1_TOK_REGEX_H
#define R1_TOK_REGEX_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct tok_regex;
/* literal: the pattern is plain text. */
struct tok_regex *tok_regex_new(const char *pattern, size_t n, int literal,
                                struct err *e);
void tok_regex_free(struct tok_regex *r);

/* Scratch of one thread, good for any pattern. */
struct tok_match;
struct tok_match *tok_match_new(struct err *e);
void tok_match_free(struct tok_match *m);

/* Walks over the matches in a text; begin with {0}. */
struct tok_iter {
	size_t from;		/* where the next search starts */
	size_t last;		/* end of the last match, plus one; 0: none */
	size_t start, end;	/* the match found */
};

/* The next match in s (n bytes, valid UTF-8): 1 with it->start and it->end, 0
 * when there is none left, -1 when the pattern gave up. An empty match right
 * behind another match does not count. */
int tok_regex_next(const struct tok_regex *r, struct tok_match *m,
                   const uint8_t *s, size_t n, struct tok_iter *it,
                   struct err *e);

#endif
