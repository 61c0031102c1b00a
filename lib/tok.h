/*
 * tok: byte-level BPE tokenizers, read from tokenizer.json (Hugging Face) or
 * from a GGUF's metadata; the ids that `tokenizers` gives.
 */
#ifndef R1_TOK_H
#define R1_TOK_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct tok;

/* path: a tokenizer.json, a folder that holds one, or a .gguf file. */
struct tok *tok_open(const char *path, struct err *e);
void tok_free(struct tok *t);

uint32_t tok_n_vocab(const struct tok *t);	/* 1 + the largest id */
const char *tok_sha256(const struct tok *t);	/* of its file, hex */
uint32_t tok_bos(const struct tok *t);		/* UINT32_MAX: none known */
uint32_t tok_eos(const struct tok *t);
/* Whether the file asks for bos in front of (eos behind) a text. */
int tok_adds_bos(const struct tok *t);
int tok_adds_eos(const struct tok *t);

/* Scratch of one thread: caches and buffers. A tok is read-only and shared. */
struct tok_work;
struct tok_work *tok_work_new(const struct tok *t, struct err *e);
void tok_work_free(struct tok_work *w);

enum {
	TOK_SPECIAL = 1,	/* special tokens in the text become their ids */
	TOK_ADD = 2		/* bos/eos as the file asks */
};

/* Encodes n bytes of text: appends to *ids (mem_grow'n, *cap, *n_ids). Invalid
 * UTF-8: each maximal bad sequence is replaced by U+FFFD first, as Python's
 * errors="replace" does. */
int tok_encode(const struct tok *t, struct tok_work *w, const char *text,
               size_t n, int flags, uint32_t **ids, size_t *n_ids,
               size_t *cap, struct err *e);

/* Bytes of one token as they stand in text (byte-level already undone);
 * borrowed, *n bytes; "" for an id that is none. */
const char *tok_bytes(const struct tok *t, uint32_t id, size_t *n);
/* Whether id is a special token (control, not text). */
int tok_is_special(const struct tok *t, uint32_t id);
/* The id of a token written literally ("<think>"), or UINT32_MAX. */
uint32_t tok_id(const struct tok *t, const char *text);

#endif
