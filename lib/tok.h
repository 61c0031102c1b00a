/*
 * tok: byte-level BPE tokenizers, read from tokenizer.json (Hugging Face) or
 * from a GGUF's metadata; the ids that `tokenizers` gives.
 *
 * Read from tokenizer.json: normalizers NFC, NFD, NFKC, NFKD, Lowercase,
 * Strip, Prepend, Replace; pre-tokenizers Split, Digits, ByteLevel;
 * model BPE (byte_fallback, ignore_merges, unk); added tokens with all their
 * flags; post-processors TemplateProcessing and ByteLevel; Sequences of these.
 * Anything else is refused by name. From a GGUF: tokenizer.ggml.model gpt2 with
 * a known tokenizer.ggml.pre.
 *
 * Where ids may still differ from `tokenizers` 0.22: patterns not known to
 * tok_scan.c see the Unicode version of PCRE2 (14 in Debian 12) instead of 16,
 * and normalizers that of utf8proc (15) instead of 9 to 17: code points
 * assigned in between.
 */
#ifndef R1_TOK_H
#define R1_TOK_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "par.h"

struct tok;

/* path: a tokenizer.json, a folder that holds one, or a .gguf file. */
struct tok *tok_open(const char *path, struct err *e);
void tok_free(struct tok *t);

uint32_t tok_n_vocab(const struct tok *t);	/* 1 + the largest id */
/* sha256, hex: of the tokenizer.json; for a GGUF of its pre-tokenizer's name,
 * tokens, merges and token types, so that weights don't matter. */
const char *tok_sha256(const struct tok *t);
uint32_t tok_bos(const struct tok *t);		/* UINT32_MAX: none known */
uint32_t tok_eos(const struct tok *t);
/* Whether the file asks for bos in front of (eos behind) a text. */
int tok_adds_bos(const struct tok *t);
int tok_adds_eos(const struct tok *t);

/* Scratch of one thread: caches and buffers (2 MiB and what texts need). A tok
 * is read-only and shared. */
struct tok_work;
struct tok_work *tok_work_new(const struct tok *t, struct err *e);
void tok_work_free(struct tok_work *w);

enum {
	TOK_SPECIAL = 1,	/* special tokens in the text become their ids */
	TOK_ADD = 2		/* ids around a text as the file asks */
};

/* Encodes n bytes of text: appends to *ids (mem_grow'n, *cap, *n_ids). Invalid
 * UTF-8: each maximal bad sequence is replaced by U+FFFD first, as Python's
 * errors="replace" does. -1: ERR_MEM, ERR_RANGE, or ERR_FORMAT when a pattern
 * of the tokenizer gives up on this text; *n_ids is then as it was. */
int tok_encode(const struct tok *t, struct tok_work *w, const char *text,
               size_t n, int flags, uint32_t **ids, size_t *n_ids,
               size_t *cap, struct err *e);

/* The first place at or behind `at` where text may be cut so that encoding
 * both sides gives the ids of the whole; n when there is none. Known for the
 * patterns of tok_scan.c: between a letter and a space with a letter behind
 * it, and behind a newline between two characters that are no white space. */
size_t tok_cut(const struct tok *t, const char *text, size_t n, size_t at);

/* One text of many. */
struct tok_job {
	const char *text;	/* borrowed */
	size_t n;
	int flags;
	uint32_t *ids;		/* zero at first; for mem_free */
	size_t n_ids, cap;
};

/* Encodes all jobs on the threads of p, w[i] serving thread i; long texts are
 * cut. -1 with the first job's error that failed. */
int tok_encode_all(const struct tok *t, struct par *p, struct tok_work **w,
                   struct tok_job *jobs, size_t n_jobs, struct err *e);

/* Bytes of one token as they stand in text (byte-level already undone);
 * borrowed, *n bytes; "" for an id that is none. */
const char *tok_bytes(const struct tok *t, uint32_t id, size_t *n);
/* Whether id is a special token (control, not text). */
int tok_is_special(const struct tok *t, uint32_t id);
/* The id of a token written literally ("<think>"), or UINT32_MAX. */
uint32_t tok_id(const struct tok *t, const char *text);

/* The text of n ids: appends to *text (mem_grow'n). specials: 0 leaves special
 * tokens out. Not necessarily valid UTF-8: a token may end inside a character.
 * Where the tokenizer puts a space in front of a text, it is taken away. */
int tok_decode(const struct tok *t, const uint32_t *ids, size_t n,
               int specials, char **text, size_t *n_text, size_t *cap,
               struct err *e);

#endif
