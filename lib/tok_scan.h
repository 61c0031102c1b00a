/*
 * tok_scan: pre-tokenising patterns everybody uses, by hand: each is one
 * regular expression written as a function, some thirty times faster.
 */
#ifndef R1_TOK_SCAN_H
#define R1_TOK_SCAN_H

#include <stddef.h>
#include <stdint.h>

#include "tok_ucd.h"

/*
 * Splitting a text "isolated" by a regular expression makes pieces of the
 * matches and of what lies between them. A scanner is given the start of a
 * piece (at < n, s valid UTF-8) and returns where that piece ends.
 */
typedef size_t tok_scan_fn(const struct tok_ucd *u, const uint8_t *s,
                           size_t n, size_t at);

tok_scan_fn tok_scan_gpt2;	/* what ByteLevel's use_regex does */
tok_scan_fn tok_scan_digit;	/* Digits, individual_digits */
tok_scan_fn tok_scan_digits;	/* Digits, runs of them together */

struct tok_scan_known {
	const char *name;
	const char *pattern;
	tok_scan_fn *scan;
	int words;		/* cuts words apart, not digits only */
};

/* The scanner that does exactly what splitting isolated by this pattern does,
 * or NULL. CR and LF in the pattern may be written or escaped. */
tok_scan_fn *tok_scan_find(const char *pattern);
/* Whether a scanner of the list cuts words apart. */
int tok_scan_words(tok_scan_fn *scan);
/* All of them, closed by a NULL name; for the tests. */
const struct tok_scan_known *tok_scan_all(void);

#endif
