/*
 * tok_bpe: one piece of text to ids: merge the neighbours whose merge ranks
 * lowest (the leftmost of equals) until none can be merged.
 *
 * A word costs a handful of probes into a table larger than the caches, so
 * what short words became is remembered per thread: text repeats itself.
 */
#include <string.h>

#include "mem.h"
#include "tok_impl.h"

enum {
	CACHE_SLOTS = 1 << 16,
	CACHE_BYTES = 31,	/* longest word remembered */
	CACHE_IDS = 7		/* most ids */
};

/* One cache line: the word, zero-padded, its length in the last byte. */
struct tok_cached {
	uint64_t key[4];
	uint32_t ids[CACHE_IDS];
	uint32_t n;
};

/* A token of a long word under way. */
struct tok_symbol {
	uint32_t id, prev, next;	/* UINT32_MAX: the word's end */
	uint32_t rank, merged;		/* of the merge with next */
};

int tok_cache_new(struct tok_work *w, struct err *e)
{
	w->cache = mem_array(CACHE_SLOTS, sizeof(*w->cache), e);
	return w->cache ? 0 : -1;
}

/* The rank of joining left and right, UINT32_MAX when they don't. */
static inline uint32_t rank_of(const struct tok_bpe *b, uint32_t left,
                               uint32_t right, uint32_t *merged)
{
	uint64_t key = (uint64_t)left << 32 | right;
	size_t i = (size_t)(key * 0x9e3779b97f4a7c15u >> b->pair_shift);

	for (;; i = (i + 1) & (b->n_slots - 1)) {
		const struct tok_pair *p = &b->pair[i];

		if (p->key == key) {
			*merged = p->id;
			return p->rank;
		}
		if (p->key == UINT64_MAX)
			return UINT32_MAX;
	}
}

/* n ids at id, merged in place; returns how many are left. For short words:
 * looking through all ranks is faster than keeping them in order. */
static size_t merge_short(const struct tok_bpe *b, uint32_t *id, size_t n)
{
	uint32_t rank[TOK_SHORT], merged[TOK_SHORT];
	size_t i, best;

	for (i = 0; i + 1 < n; i++)
		rank[i] = rank_of(b, id[i], id[i + 1], &merged[i]);
	while (n > 1) {
		for (best = 0, i = 1; i + 1 < n; i++)
			if (rank[i] < rank[best])
				best = i;
		if (rank[best] == UINT32_MAX)
			break;
		id[best] = merged[best];
		n--;
		for (i = best + 1; i < n; i++) {
			id[i] = id[i + 1];
			rank[i] = rank[i + 1];
			merged[i] = merged[i + 1];
		}
		if (best + 1 < n)
			rank[best] = rank_of(b, id[best], id[best + 1],
			                     &merged[best]);
		if (best > 0)
			rank[best - 1] = rank_of(b, id[best - 1], id[best],
			                         &merged[best - 1]);
	}
	return n;
}

static void heap_down(uint64_t *h, size_t n, size_t at)
{
	uint64_t x = h[at];
	size_t kid;

	while ((kid = 2 * at + 1) < n) {
		if (kid + 1 < n && h[kid + 1] < h[kid])
			kid++;
		if (h[kid] >= x)
			break;
		h[at] = h[kid];
		at = kid;
	}
	h[at] = x;
}

static void heap_push(uint64_t *h, size_t *n, uint64_t x)
{
	size_t at = (*n)++;

	while (at && h[(at - 1) / 2] > x) {
		h[at] = h[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	h[at] = x;
}

/* Ranks symbol i with its successor; what can merge goes on the heap, keyed by
 * rank, then place. */
static void offer(const struct tok_bpe *b, struct tok_symbol *s, uint32_t i,
                  uint64_t *heap, size_t *n)
{
	s[i].rank = UINT32_MAX;
	if (s[i].next == UINT32_MAX)
		return;
	s[i].rank = rank_of(b, s[i].id, s[s[i].next].id, &s[i].merged);
	if (s[i].rank != UINT32_MAX)
		heap_push(heap, n, (uint64_t)s[i].rank << 32 | i);
}

static int merge_long(struct tok_work *w, uint32_t *id, size_t *n_ids,
                      struct err *e)
{
	const struct tok_bpe *b = &w->t->bpe;
	size_t n = *n_ids, n_heap = 0;
	struct tok_symbol *s;
	uint64_t *heap;
	uint32_t i, next;

	if (n > UINT32_MAX / 4)
		return err_set(e, ERR_RANGE, "a word of %zu tokens before "
		               "merging", n);
	/* n pairs at first and two for each of at most n - 1 merges */
	if (mem_grow(&w->symbol, &w->cap_symbols, n, sizeof(*s), e) < 0 ||
	    mem_grow(&w->heap, &w->cap_heap, 3 * n, sizeof(*heap), e) < 0)
		return -1;
	s = w->symbol;
	heap = w->heap;
	for (i = 0; i < n; i++) {
		s[i].id = id[i];
		s[i].prev = i ? i - 1 : UINT32_MAX;
		s[i].next = i + 1 < n ? i + 1 : UINT32_MAX;
	}
	for (i = 0; i < n; i++)
		offer(b, s, i, heap, &n_heap);
	while (n_heap) {
		uint64_t top = heap[0];

		heap[0] = heap[--n_heap];
		if (n_heap)
			heap_down(heap, n_heap, 0);
		i = (uint32_t)top;
		/* a pair has one rank: another one means it changed since */
		if (s[i].rank != top >> 32)
			continue;
		next = s[i].next;
		s[i].id = s[i].merged;
		s[i].next = s[next].next;
		s[next].rank = UINT32_MAX;
		if (s[i].next != UINT32_MAX)
			s[s[i].next].prev = i;
		offer(b, s, i, heap, &n_heap);
		if (s[i].prev != UINT32_MAX)
			offer(b, s, s[i].prev, heap, &n_heap);
	}
	for (n = 0, i = 0; i != UINT32_MAX; i = s[i].next)
		id[n++] = s[i].id;
	*n_ids = n;
	return 0;
}

/* The ids a word starts from: one per byte. */
static size_t first_bytes(const struct tok_bpe *b, const uint8_t *s, size_t n,
                          uint32_t *id)
{
	size_t i, n_ids = 0;
	int unknown = 0;

	for (i = 0; i < n; i++) {
		uint32_t x = b->byte_id[s[i]];

		if (x == UINT32_MAX) {
			x = unknown && b->fuse_unk ? UINT32_MAX : b->unk;
			unknown = 1;
		} else {
			unknown = 0;
		}
		if (x != UINT32_MAX)
			id[n_ids++] = x;
	}
	return n_ids;
}

static int all_bytes(const struct tok_bpe *b, const uint8_t *s, size_t n)
{
	while (n)
		if (b->byte_id[s[--n]] == UINT32_MAX)
			return 0;
	return 1;
}

/* One per character, or its bytes, or the unknown token. An unknown token
 * stands back until a known character comes, even behind bytes: so does it in
 * `tokenizers`. */
static size_t first_chars(const struct tok_bpe *b, const uint8_t *s, size_t n,
                          uint32_t *id)
{
	size_t i, j, len, n_ids = 0, waiting = 0;

	for (i = 0; i < n; i += len) {
		uint32_t x;

		tok_utf8_at(s + i, &len);
		x = tok_map_get(&b->written, &b->arena, s + i, len);
		if (x != UINT32_MAX) {
			for (; waiting; waiting--)
				id[n_ids++] = b->unk;
			id[n_ids++] = x;
		} else if (b->byte_fallback && all_bytes(b, s + i, len)) {
			for (j = 0; j < len; j++)
				id[n_ids++] = b->byte_id[s[i + j]];
		} else if (b->unk != UINT32_MAX) {
			if (!b->fuse_unk && waiting)
				id[n_ids++] = b->unk;
			waiting = 1;
		}
	}
	for (; waiting; waiting--)
		id[n_ids++] = b->unk;
	return n_ids;
}

/* Merges the word s at *out, n_ids of them; room for n ids is there. */
static int merge(struct tok_work *w, const uint8_t *s, size_t n,
                 uint32_t *out, size_t *n_ids, struct err *e)
{
	const struct tok_bpe *b = &w->t->bpe;

	if (b->ignore_merges) {
		uint32_t whole = tok_map_get(b->byte_level ? &b->plain
		                             : &b->written, &b->arena, s, n);

		if (whole != UINT32_MAX) {
			out[0] = whole;
			*n_ids = 1;
			return 0;
		}
	}
	*n_ids = b->byte_level ? first_bytes(b, s, n, out)
	                       : first_chars(b, s, n, out);
	if (*n_ids <= TOK_SHORT) {
		*n_ids = merge_short(b, out, *n_ids);
		return 0;
	}
	return merge_long(w, out, n_ids, e);
}

static inline uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 p = (unsigned __int128)a * b;

	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

/* The word as a cache key: 32 bytes, the last its length. */
static inline void key_of(const struct tok_work *w, const uint8_t *s, size_t n,
                          uint64_t key[4])
{
	static const uint8_t masks[64] = {
		255, 255, 255, 255, 255, 255, 255, 255,
		255, 255, 255, 255, 255, 255, 255, 255,
		255, 255, 255, 255, 255, 255, 255, 255,
		255, 255, 255, 255, 255, 255, 255, 255
	};
	uint64_t mask[4];
	uint8_t len = (uint8_t)n;
	int i;

	if ((size_t)(w->limit - s) >= 32) {
		memcpy(key, s, 32);
		memcpy(mask, masks + 32 - n, 32);
		for (i = 0; i < 4; i++)
			key[i] &= mask[i];
	} else {
		memset(key, 0, 32);
		memcpy(key, s, n);
	}
	memcpy((uint8_t *)key + 31, &len, 1);
}

static int word(struct tok_work *w, const uint8_t *s, size_t n,
                struct tok_cached *c, const uint64_t key[4], struct err *e)
{
	uint32_t *out = w->ids + w->n_ids;
	size_t n_ids;

	if (c && !memcmp(c->key, key, sizeof(c->key))) {
		/* a fixed count copies faster; the room is there */
		memcpy(out, c->ids, sizeof(c->ids));
		w->n_ids += c->n;
		return 0;
	}
	if (merge(w, s, n, out, &n_ids, e) < 0)
		return -1;
	if (c && n_ids <= CACHE_IDS) {
		memcpy(c->key, key, sizeof(c->key));
		memcpy(c->ids, out, n_ids * sizeof(*out));
		c->n = (uint32_t)n_ids;
	}
	w->n_ids += n_ids;
	return 0;
}

int tok_bpe_words(struct tok_work *w, const uint8_t *s, const size_t *end,
                  int n, struct err *e)
{
	struct tok_cached *slot[TOK_WORDS];
	uint64_t key[TOK_WORDS][4], h;
	size_t at = 0;
	int i;

	/* the cache is larger than the processor's: ask for all lines first */
	for (i = 0; i < n; at = end[i++]) {
		slot[i] = NULL;
		if (end[i] - at > CACHE_BYTES)
			continue;
		key_of(w, s + at, end[i] - at, key[i]);
		h = mix(key[i][0] ^ 0x2d358dccaa6c78a5u,
		        key[i][1] ^ 0x8bb84b93962eacc9u) ^
		    mix(key[i][2] ^ 0x4b33a62ed433d4a3u,
		        key[i][3] ^ 0x4d5a2da51de1aa47u);
		slot[i] = &w->cache[h & (CACHE_SLOTS - 1)];
		__builtin_prefetch(slot[i], 1);
	}
	for (i = 0, at = 0; i < n; at = end[i++])
		if (word(w, s + at, end[i] - at, slot[i], key[i], e) < 0)
			return -1;
	return 0;
}
