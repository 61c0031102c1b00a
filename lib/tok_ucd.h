/*
 * tok_ucd: what kind of character a code point is, as Hugging Face
 * `tokenizers` sees it (the tables are made by asking it: tok_ucd.py), so that
 * ids don't move with the Unicode version of a library on this machine.
 */
#ifndef R1_TOK_UCD_H
#define R1_TOK_UCD_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum ucd_class {
	UCD_L = 1, UCD_M = 2, UCD_N = 4, UCD_P = 8, UCD_S = 16,	/* \p{L} ... */
	UCD_SPACE = 32,		/* \s */
	UCD_DIGIT = 64,		/* Rust's char::is_numeric */
	UCD_WORD = 128		/* \w of Rust's regex */
};

/* The tables as made (tok_ucd_runs.c): a run of equal bits begins at first. */
extern const struct tok_ucd_run {
	uint32_t first;
	uint8_t bits;
} tok_ucd_runs[];
extern const size_t tok_ucd_n_runs;

/* Two levels: equal pages of 256 code points are stored once. */
struct tok_ucd {
	uint8_t page[0x1100];
	uint8_t (*bits)[256];
};

int tok_ucd_init(struct tok_ucd *u, struct err *e);
void tok_ucd_done(struct tok_ucd *u);	/* {0} is legal */

static inline unsigned ucd_bits(const struct tok_ucd *u, uint32_t code)
{
	return u->bits[u->page[code >> 8]][code & 0xff];
}

/* The code point at s, which must be valid UTF-8; *len its bytes. */
static inline uint32_t tok_utf8_at(const uint8_t *s, size_t *len)
{
	if (s[0] < 0x80) {
		*len = 1;
		return s[0];
	}
	if (s[0] < 0xe0) {
		*len = 2;
		return (s[0] & 0x1fu) << 6 | (s[1] & 0x3fu);
	}
	if (s[0] < 0xf0) {
		*len = 3;
		return (s[0] & 0x0fu) << 12 | (s[1] & 0x3fu) << 6 |
		       (s[2] & 0x3fu);
	}
	*len = 4;
	return (s[0] & 0x07u) << 18 | (s[1] & 0x3fu) << 12 |
	       (s[2] & 0x3fu) << 6 | (s[3] & 0x3fu);
}

/* Where the character that ends before `at` begins (at > 0, valid UTF-8). */
static inline size_t tok_utf8_before(const uint8_t *s, size_t at)
{
	do
		at--;
	while (at && (s[at] & 0xc0) == 0x80);
	return at;
}

/* Class bits of the character at s[at]; *len its bytes. */
static inline unsigned ucd_at(const struct tok_ucd *u, const uint8_t *s,
                              size_t at, size_t *len)
{
	return ucd_bits(u, tok_utf8_at(s + at, len));
}

/* Writes code (< 0x110000) to out as UTF-8: 1 to 4 bytes, returned. */
size_t tok_utf8_put(uint32_t code, uint8_t *out);

#endif
