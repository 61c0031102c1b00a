/* The vocabulary and the merges as tables: see tok_bpe.c for their use. */
#include <string.h>

#include "mem.h"
#include "text.h"
#include "tok_impl.h"

int tok_arena_add(struct tok_arena *a, const void *s, size_t n,
                  struct tok_span *out, struct err *e)
{
	if (n >= UINT32_MAX - a->n)
		return err_set(e, ERR_RANGE, "vocabulary over 4 GiB");
	/* one more than asked for: data is no NULL after an empty text */
	if (mem_grow(&a->data, &a->cap, a->n + n + 1, 1, e) < 0)
		return -1;
	if (n)
		memcpy(a->data + a->n, s, n);
	out->at = (uint32_t)a->n;
	out->n = (uint32_t)n;
	a->n += n;
	return 0;
}

static uint32_t hash_of(const void *s, size_t n)
{
	const uint8_t *p = s;
	uint64_t h = 0xcbf29ce484222325u;
	size_t i;

	for (i = 0; i < n; i++)
		h = (h ^ p[i]) * 0x100000001b3u;
	return (uint32_t)(h ^ h >> 32);
}

static struct tok_entry *find(const struct tok_map *m, const char *data,
                              const void *s, size_t n, uint32_t hash)
{
	size_t i = hash & (m->n_slots - 1);

	for (;; i = (i + 1) & (m->n_slots - 1)) {
		struct tok_entry *x = &m->slot[i];

		if (!x->n || (x->hash == hash && x->n == n + 1 &&
		              !memcmp(data + x->at, s, n)))
			return x;
	}
}

static int map_grow(struct tok_map *m, struct err *e)
{
	struct tok_map big = { .n_slots = m->n_slots ? m->n_slots * 2 : 1024,
	                       .n = m->n };
	size_t i, j;

	big.slot = mem_array(big.n_slots, sizeof(*big.slot), e);
	if (!big.slot)
		return -1;
	for (i = 0; i < m->n_slots; i++) {
		if (!m->slot[i].n)
			continue;
		j = m->slot[i].hash & (big.n_slots - 1);
		while (big.slot[j].n)
			j = (j + 1) & (big.n_slots - 1);
		big.slot[j] = m->slot[i];
	}
	mem_free(m->slot);
	*m = big;
	return 0;
}

int tok_map_set(struct tok_map *m, const struct tok_arena *a,
                struct tok_span s, uint32_t id, struct err *e)
{
	uint32_t hash = hash_of(a->data + s.at, s.n);
	struct tok_entry *x;

	if (2 * (m->n + 1) > m->n_slots && map_grow(m, e) < 0)
		return -1;
	x = find(m, a->data, a->data + s.at, s.n, hash);
	if (!x->n) {
		*x = (struct tok_entry){ s.at, s.n + 1, hash, id };
		m->n++;
	}
	x->id = id;
	return 0;
}

uint32_t tok_map_get(const struct tok_map *m, const struct tok_arena *a,
                     const void *s, size_t n)
{
	const struct tok_entry *x;

	if (!m->n)
		return UINT32_MAX;
	x = find(m, a->data, s, n, hash_of(s, n));
	return x->n ? x->id : UINT32_MAX;
}

int tok_bpe_id(struct tok_bpe *b, uint32_t id, int kind, struct err *e)
{
	size_t want = (size_t)id + 1;

	if (id >= TOK_MAX_ID)
		return err_set(e, ERR_RANGE, "token id %u: ids are below %d",
		               id, TOK_MAX_ID);
	if (mem_grow(&b->text, &b->cap_text, want, sizeof(*b->text), e) < 0 ||
	    mem_grow(&b->kind, &b->cap_kind, want, 1, e) < 0)
		return -1;
	for (; b->n_ids < want; b->n_ids++) {
		b->text[b->n_ids] = (struct tok_span){ 0, 0 };
		b->kind[b->n_ids] = 0;
	}
	b->kind[id] |= (uint8_t)kind;
	return 0;
}

int tok_bpe_token(struct tok_bpe *b, const char *s, size_t n, uint32_t id,
                  struct err *e)
{
	struct tok_span span;

	if (tok_bpe_id(b, id, TOK_KIND_TOKEN, e) < 0 ||
	    tok_arena_add(&b->arena, s, n, &span, e) < 0)
		return -1;
	b->text[id] = span;
	return tok_map_set(&b->written, &b->arena, span, id, e);
}

static struct tok_pair *pair_slot(const struct tok_bpe *b, uint64_t key)
{
	size_t i = (size_t)(key * 0x9e3779b97f4a7c15u >> b->pair_shift);

	while (b->pair[i].key != key && b->pair[i].key != UINT64_MAX)
		i = (i + 1) & (b->n_slots - 1);
	return &b->pair[i];
}

int tok_bpe_merges(struct tok_bpe *b, size_t n, struct err *e)
{
	size_t i;

	if (n > TOK_MAX_ID)
		return err_set(e, ERR_RANGE, "%zu merges: at most %d", n,
		               TOK_MAX_ID);
	b->n_slots = 1024;
	b->pair_shift = 54;
	while (b->n_slots < 2 * n) {
		b->n_slots *= 2;
		b->pair_shift--;
	}
	b->pair = mem_scratch(b->n_slots, sizeof(*b->pair), e);
	if (!b->pair)
		return -1;
	for (i = 0; i < b->n_slots; i++)
		b->pair[i].key = UINT64_MAX;
	return 0;
}

static int merge_part(const struct tok_bpe *b, const char *s, size_t n,
                      uint32_t rank, uint32_t *id, struct err *e)
{
	*id = tok_map_get(&b->written, &b->arena, s, n);
	if (*id == UINT32_MAX)
		return err_set(e, ERR_FORMAT, "merge %u: '%.*s' is not in the "
		               "vocabulary", rank, (int)(n < 80 ? n : 80), s);
	return 0;
}

int tok_bpe_merge(struct tok_bpe *b, const char *left, size_t n_left,
                  const char *right, size_t n_right, uint32_t rank,
                  struct err *e)
{
	uint32_t l, r, both;
	struct tok_span span;
	struct tok_pair *p;
	size_t before = b->arena.n;
	uint64_t key;

	if (merge_part(b, left, n_left, rank, &l, e) < 0 ||
	    merge_part(b, right, n_right, rank, &r, e) < 0)
		return -1;
	/* the arena's end serves as the buffer to join them in */
	if (tok_arena_add(&b->arena, left, n_left, &span, e) < 0 ||
	    tok_arena_add(&b->arena, right, n_right, &span, e) < 0)
		return -1;
	b->arena.n = before;
	if (merge_part(b, b->arena.data + before, n_left + n_right, rank, &both,
	               e) < 0)
		return -1;
	key = (uint64_t)l << 32 | r;
	p = pair_slot(b, key);
	if (p->key == UINT64_MAX && 2 * ++b->n_pairs > b->n_slots)
		return err_set(e, ERR_RANGE, "more merges than announced");
	*p = (struct tok_pair){ key, rank, both };
	return 0;
}

int tok_bpe_merge_line(struct tok_bpe *b, const char *line, size_t n,
                       uint32_t rank, struct err *e)
{
	const char *gap = memchr(line, ' ', n);
	size_t left;

	if (!gap || memchr(gap + 1, ' ', n - (size_t)(gap + 1 - line)))
		return err_set(e, ERR_FORMAT, "merge %u: two tokens and one "
		               "space wanted, found '%.*s'", rank,
		               (int)(n < 80 ? n : 80), line);
	left = (size_t)(gap - line);
	return tok_bpe_merge(b, line, left, gap + 1, n - left - 1, rank, e);
}

/* GPT-2's alphabet: the byte a character of it stands for, or -1. Printable
 * Latin-1 stands for itself, the other bytes in order for U+0100 and up. */
static void alphabet(int16_t byte_of[512])
{
	int i, next = 256;

	for (i = 0; i < 512; i++)
		byte_of[i] = -1;
	for (i = 0; i < 256; i++)
		if ((i >= 33 && i <= 126) || (i >= 161 && i != 173))
			byte_of[i] = (int16_t)i;
		else
			byte_of[next++] = (int16_t)i;
}

/* Undoes the alphabet; 0 when s is not written in it. */
static int to_bytes(const int16_t byte_of[512], const uint8_t *s, size_t n,
                    uint8_t *out, size_t *n_out)
{
	size_t i, len;

	*n_out = 0;
	for (i = 0; i < n; i += len) {
		uint32_t c;

		if (text_utf8(s + i, n - i) < 0)
			return 0;
		c = tok_utf8_at(s + i, &len);
		if (c >= 512 || byte_of[c] < 0)
			return 0;
		out[(*n_out)++] = (uint8_t)byte_of[c];
	}
	return 1;
}

/* Gives every token its text beside its spelling. */
static int decode_bytes(struct tok_bpe *b, uint8_t *buf, struct err *e)
{
	int16_t byte_of[512];
	uint8_t written[4];
	size_t n;
	uint32_t id;
	int c;

	alphabet(byte_of);
	for (id = 0; id < b->n_ids; id++) {
		struct tok_span *x = &b->text[id];

		if (!to_bytes(byte_of, (const uint8_t *)b->arena.data + x->at,
		              x->n, buf, &n))
			continue;
		if (tok_arena_add(&b->arena, buf, n, x, e) < 0)
			return -1;
		if (b->kind[id] & TOK_KIND_TOKEN &&
		    tok_map_set(&b->plain, &b->arena, *x, id, e) < 0)
			return -1;
	}
	for (c = 0; c < 512; c++)
		if (byte_of[c] >= 0)
			b->byte_id[byte_of[c]] =
				tok_map_get(&b->written, &b->arena, written,
				            tok_utf8_put((uint32_t)c, written));
	for (c = 0; c < 256; c++)
		if (b->byte_fallback && b->byte_id[c] == UINT32_MAX)
			return err_set(e, ERR_FORMAT, "byte_fallback together "
			               "with ByteLevel and no token for byte "
			               "%d is not supported", c);
	return 0;
}

/* The same for a vocabulary of characters: Llama 2's spelling of a byte
 * (<0x0A>) and, where asked, U+2581 for a space. */
static int decode_chars(struct tok_bpe *b, uint8_t *buf, struct err *e)
{
	static const char hex[] = "0123456789ABCDEF";
	char s[] = "<0x00>";
	uint32_t id;
	int i;

	for (id = 0; b->space_mark && id < b->n_ids; id++) {
		struct tok_span *x = &b->text[id];
		const char *from = b->arena.data + x->at;
		size_t at, n = 0;

		for (at = 0; at < x->n; n++)
			if (x->n - at >= 3 && !memcmp(from + at, "\u2581", 3)) {
				buf[n] = ' ';
				at += 3;
			} else {
				buf[n] = (uint8_t)from[at++];
			}
		if (n != x->n && tok_arena_add(&b->arena, buf, n, x, e) < 0)
			return -1;
	}
	for (i = 0; i < 256; i++) {
		uint8_t byte = (uint8_t)i;

		s[3] = hex[i >> 4];
		s[4] = hex[i & 15];
		b->byte_id[i] = tok_map_get(&b->written, &b->arena, s, 6);
		if (b->byte_id[i] != UINT32_MAX && b->byte_fallback &&
		    tok_arena_add(&b->arena, &byte, 1, &b->text[b->byte_id[i]],
		                  e) < 0)
			return -1;
	}
	return 0;
}

int tok_bpe_finish(struct tok_bpe *b, struct err *e)
{
	uint8_t *buf;
	size_t longest = 0, id;
	int ret;

	if (!b->pair && tok_bpe_merges(b, 0, e) < 0)
		return -1;
	for (id = 0; id < b->n_ids; id++)
		if (b->text[id].n > longest)
			longest = b->text[id].n;
	buf = mem_scratch(longest + 1, 1, e);
	if (!buf)
		return -1;
	ret = b->byte_level ? decode_bytes(b, buf, e) : decode_chars(b, buf, e);
	mem_free(buf);
	return ret;
}

void tok_bpe_done(struct tok_bpe *b)
{
	mem_free(b->arena.data);
	mem_free(b->text);
	mem_free(b->kind);
	mem_free(b->written.slot);
	mem_free(b->plain.slot);
	mem_free(b->pair);
}
