/*
 * tok_impl: what the rooms of tok share: tok.c (front), tok_json.c and
 * tok_gguf.c (loading), tok_added.c (special tokens), tok_norm.c
 * (normalisers), tok_pre.c (pre-tokenisers), tok_bpe.c (merges).
 *
 *   text -> repair UTF-8 -> added tokens -> normalise -> added tokens
 *        -> pieces (pre-tokenisers) -> ids (merges)
 */
#ifndef R1_TOK_IMPL_H
#define R1_TOK_IMPL_H

#include "err.h"
#include "tok.h"
#include "tok_regex.h"
#include "tok_scan.h"
#include "tok_ucd.h"

enum {
	TOK_NONE = -1,
	TOK_MAX_ID = 1 << 22,		/* ids a file may use are below */
	TOK_MAX_STAGES = 16		/* of normalisers, of pre-tokenisers */
};

/* ---- strings and maps -------------------------------------------------- */

/* Strings live in one arena, addressed by offset. */
struct tok_arena {
	char *data;
	size_t n, cap;
};

struct tok_span {
	uint32_t at, n;
};

/* String -> id: open addressing, at most half full. */
struct tok_map {
	struct tok_entry {
		uint32_t at, n, hash, id;	/* n + 1; 0: free slot */
	} *slot;
	size_t n_slots, n;
};

int tok_arena_add(struct tok_arena *a, const void *s, size_t n,
                  struct tok_span *out, struct err *e);
/* Sets s -> id; a string already there gets the new id. */
int tok_map_set(struct tok_map *m, const struct tok_arena *a,
                struct tok_span s, uint32_t id, struct err *e);
/* The id, or UINT32_MAX. */
uint32_t tok_map_get(const struct tok_map *m, const struct tok_arena *a,
                     const void *s, size_t n);

/* ---- the model: vocabulary and merges ----------------------------------- */

struct tok_pair {
	uint64_t key;		/* left id << 32 | right id; UINT64_MAX: free */
	uint32_t rank, id;	/* of the merged token */
};

struct tok_bpe {
	struct tok_arena arena;
	struct tok_span *text;		/* of id: bytes as they stand in text */
	uint8_t *kind;			/* of id: TOK_KIND_* */
	size_t n_ids, cap_text, cap_kind;
	struct tok_map written;		/* vocabulary as the file spells it */
	struct tok_map plain;		/* byte level: the same as bytes */
	struct tok_pair *pair;
	size_t n_pairs, n_slots;
	unsigned pair_shift;
	int byte_level;			/* words are bytes, not characters */
	uint32_t byte_id[256];		/* byte level: of a byte; or <0xNN> */
	int byte_fallback, fuse_unk, ignore_merges;
	int space_mark;			/* U+2581 stands for a space */
	uint32_t unk;			/* UINT32_MAX: none */
};

enum { TOK_KIND_TOKEN = 1, TOK_KIND_ADDED = 2, TOK_KIND_SPECIAL = 4 };

/* Makes room for id and marks it. */
int tok_bpe_id(struct tok_bpe *b, uint32_t id, int kind, struct err *e);
/* A token of the vocabulary, spelled as in the file. */
int tok_bpe_token(struct tok_bpe *b, const char *s, size_t n, uint32_t id,
                  struct err *e);
/* Before the first merge: how many will come at most. */
int tok_bpe_merges(struct tok_bpe *b, size_t n, struct err *e);
int tok_bpe_merge(struct tok_bpe *b, const char *left, size_t n_left,
                  const char *right, size_t n_right, uint32_t rank,
                  struct err *e);
/* "left right" with one space. */
int tok_bpe_merge_line(struct tok_bpe *b, const char *line, size_t n,
                       uint32_t rank, struct err *e);
/* After the last token and merge, byte_level and the rest set. */
int tok_bpe_finish(struct tok_bpe *b, struct err *e);
void tok_bpe_done(struct tok_bpe *b);

enum { TOK_WORDS = 16 };

/* n <= TOK_WORDS pieces of text, s[0..end[0]), s[end[0]..end[1]) ..., none of
 * them empty, to ids, at w->ids[w->n_ids]; room is there. */
int tok_bpe_words(struct tok_work *w, const uint8_t *s, const size_t *end,
                  int n, struct err *e);

/* ---- added tokens -------------------------------------------------------- */

struct tok_added_token {
	char *content;
	size_t n;
	uint32_t id;
	int special, single_word, lstrip, rstrip, normalized;
};

/* Leftmost-longest matching of many strings: a trie with a table of first
 * bytes. */
struct tok_trie {
	struct tok_node {
		uint32_t child, next;	/* first child, next sibling; 0: none */
		int32_t token;		/* index, or TOK_NONE */
		uint8_t byte;
	} *node;
	size_t n, cap;
	uint32_t first[256];		/* node of a first byte, 0: none */
	int n_first;
	uint8_t only;			/* the first byte when n_first is 1 */
};

struct tok_added {
	struct tok_added_token *token;
	size_t n, cap;
	struct tok_trie raw, normal;	/* matched before, after normalising */
};

/* Copies a (content of n bytes). */
int tok_added_add(struct tok_added *d, const struct tok_added_token *a,
                  struct err *e);
/* After the last: builds the tries. */
int tok_added_finish(struct tok *t, struct err *e);
void tok_added_done(struct tok_added *d);

struct tok_found {
	size_t start, end;
	const struct tok_added_token *token;
};

/* The next added token in s at or behind *from: 1 with *f, 0: none. `used` is
 * where the last one found ended (0 at first); *from is moved. specials: 0
 * passes over special tokens. */
int tok_added_next(const struct tok *t, const struct tok_trie *trie,
                   const uint8_t *s, size_t n, size_t *from, size_t used,
                   int specials, struct tok_found *f);

/* ---- normalisers --------------------------------------------------------- */

enum tok_norm_kind {
	TOK_NFC, TOK_NFD, TOK_NFKC, TOK_NFKD, TOK_LOWER, TOK_STRIP,
	TOK_PREPEND, TOK_REPLACE
};

struct tok_norm_op {
	enum tok_norm_kind kind;
	char *with;			/* TOK_PREPEND, TOK_REPLACE */
	size_t n_with;
	struct tok_regex *what;		/* TOK_REPLACE */
	int left, right;		/* TOK_STRIP */
};

struct tok_norm {
	struct tok_norm_op op[TOK_MAX_STAGES];
	int n;
	uint8_t *stirs;		/* bit per code point < TOK_STIR: NFC may change
				 * it or join it to what stands before */
};

enum { TOK_STIR = 0x30000 };

/* After the last op. */
int tok_norm_finish(struct tok_norm *m, struct err *e);
void tok_norm_done(struct tok_norm *m);
/* s -> *out: s itself, or a buffer of w that lives until the next call. */
int tok_norm_run(struct tok_work *w, const uint8_t *s, size_t n,
                 const uint8_t **out, size_t *n_out, struct err *e);

/* ---- pre-tokenisers ------------------------------------------------------ */

enum tok_behaviour {
	TOK_ISOLATED, TOK_REMOVED, TOK_CONTIGUOUS, TOK_WITH_PREVIOUS,
	TOK_WITH_NEXT
};

struct tok_stage {
	tok_scan_fn *scan;		/* NULL: one of the others */
	struct tok_regex *regex;
	enum tok_behaviour behaviour;
	int invert;
	int prefix_space;		/* " " in front unless there is one */
};

struct tok_pre {
	struct tok_stage stage[TOK_MAX_STAGES];
	int n;
	int closed;		/* ByteLevel was seen: nothing may follow */
	int adds_space;		/* some stage is prefix_space */
};

/* One more stage: *out zeroed. ERR_FORMAT when there are too many. */
int tok_pre_add(struct tok_pre *p, struct tok_stage **out, struct err *e);
/* A pattern, by hand where it is known. */
int tok_pre_split(struct tok_pre *p, const char *pattern, int literal,
                  enum tok_behaviour behaviour, int invert, struct err *e);
void tok_pre_done(struct tok_pre *p);
/* Normalised text to ids; w->limit says how far s may be read. */
int tok_pre_run(struct tok_work *w, const uint8_t *s, size_t n,
                struct err *e);

/* ---- the whole ----------------------------------------------------------- */

struct tok {
	char sha256[65];
	struct tok_ucd ucd;
	struct tok_bpe bpe;
	struct tok_added added;
	struct tok_norm norm;
	struct tok_pre pre;
	uint32_t *front, *back;		/* ids around a text (TOK_ADD) */
	size_t n_front, n_back, cap_front, cap_back;
	uint32_t bos, eos;
	int strip_first;		/* decoding drops one leading space */
	int cut_space, cut_line;	/* see tok_cut */
};

int tok_json_load(struct tok *t, const char *path, struct err *e);
/* After tok_json_load and the rest: bos and eos from tokenizer_config.json. */
int tok_json_config(struct tok *t, const char *path, struct err *e);
int tok_gguf_load(struct tok *t, const char *path, struct err *e);
/* Writes the ids around a text. */
int tok_front(struct tok *t, uint32_t id, struct err *e);
int tok_back(struct tok *t, uint32_t id, struct err *e);

enum {
	TOK_PAD = 32,		/* readable bytes behind our own buffers */
	TOK_SHORT = 128		/* longest word merged by scanning */
};

struct tok_cached;

struct tok_work {
	const struct tok *t;
	uint32_t *ids;			/* the caller's, while encoding */
	size_t n_ids, cap_ids;
	const uint8_t *limit;		/* end of the readable text */
	struct tok_cached *cache;
	struct tok_match *match;
	/* a list of pieces per regular-expression stage under way */
	struct tok_piece {
		size_t start, end;
		int match;
	} *piece;
	size_t n_pieces, cap_pieces;
	uint8_t *repaired, *norm[2], *prefixed;
	size_t cap_repaired, cap_norm[2], cap_prefixed;
	int32_t *points;		/* code points in utf8proc's hands */
	size_t cap_points;
	struct tok_symbol *symbol;	/* of long words */
	size_t cap_symbols;
	uint64_t *heap;
	size_t cap_heap;
};

int tok_cache_new(struct tok_work *w, struct err *e);

#endif
