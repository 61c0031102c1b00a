/* tok: the front: opening, encoding, decoding. The rooms: tok_impl.h. */
#include "tok.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "mem.h"
#include "text.h"
#include "tok_impl.h"

static int is_gguf(const char *path)
{
	FILE *f = fopen(path, "rb");
	char magic[4];
	int yes = f && fread(magic, 1, 4, f) == 4 && !memcmp(magic, "GGUF", 4);

	if (f)
		fclose(f);
	return yes;
}

static int ids_push(uint32_t **ids, size_t *n, size_t *cap, uint32_t id,
                    struct err *e)
{
	if (mem_grow(ids, cap, *n + 1, sizeof(**ids), e) < 0)
		return -1;
	(*ids)[(*n)++] = id;
	return 0;
}

int tok_front(struct tok *t, uint32_t id, struct err *e)
{
	return ids_push(&t->front, &t->n_front, &t->cap_front, id, e);
}

int tok_back(struct tok *t, uint32_t id, struct err *e)
{
	return ids_push(&t->back, &t->n_back, &t->cap_back, id, e);
}

/* Added tokens have ids too, and stand in text as they are. */
static int name_added(struct tok *t, struct err *e)
{
	size_t i;

	for (i = 0; i < t->added.n; i++) {
		const struct tok_added_token *a = &t->added.token[i];
		struct tok_span s;

		if (tok_bpe_id(&t->bpe, a->id, TOK_KIND_ADDED |
		               (a->special ? TOK_KIND_SPECIAL : 0), e) < 0 ||
		    tok_arena_add(&t->bpe.arena, a->content, a->n, &s, e) < 0)
			return -1;
		t->bpe.text[a->id] = s;
	}
	return 0;
}

/*
 * Whether texts may be cut (tok_cut): stages that look at one word at a time,
 * normalisers that look at one character and its neighbours, and no added
 * token that could reach across a cut.
 */
static void find_cuts(struct tok *t)
{
	int i, ok = t->bpe.byte_level, words = 0;
	size_t j, k;

	for (i = 0; i < t->pre.n; i++) {
		const struct tok_stage *g = &t->pre.stage[i];

		if (!g->scan && !g->prefix_space)
			ok = 0;
		/* digits alone leave words together */
		if (g->scan && tok_scan_words(g->scan))
			words = 1;
	}
	for (i = 0; i < t->norm.n; i++)
		if (t->norm.op[i].kind != TOK_NFC &&
		    t->norm.op[i].kind != TOK_NFD &&
		    t->norm.op[i].kind != TOK_LOWER)
			ok = 0;
	t->cut_space = ok && words;
	t->cut_line = t->cut_space && !t->pre.adds_space;
	for (j = 0; j < t->added.n; j++) {
		const struct tok_added_token *a = &t->added.token[j];

		if (a->lstrip || a->rstrip)
			t->cut_line = t->cut_space = 0;
		for (k = 0; k < a->n; k++) {
			if (a->content[k] == '\n')
				t->cut_line = 0;
			if (a->content[k] == ' ')
				t->cut_space = 0;
		}
	}
}

/* The well-known names, for a tokenizer.json that stands alone. */
static void guess_ends(struct tok *t)
{
	static const char *const bos[] = {
		"<｜begin▁of▁sentence｜>", "<|begin_of_text|>", "<s>", NULL
	};
	static const char *const eos[] = {
		"<｜end▁of▁sentence｜>", "<|end_of_text|>", "</s>",
		"<|im_end|>", "<|endoftext|>", NULL
	};
	int i;

	if (t->bos == UINT32_MAX && t->n_front)
		t->bos = t->front[0];
	if (t->eos == UINT32_MAX && t->n_back)
		t->eos = t->back[t->n_back - 1];
	for (i = 0; t->bos == UINT32_MAX && bos[i]; i++)
		t->bos = tok_id(t, bos[i]);
	for (i = 0; t->eos == UINT32_MAX && eos[i]; i++)
		t->eos = tok_id(t, eos[i]);
}

static int ids_exist(const struct tok *t, const uint32_t *ids, size_t n,
                     struct err *e)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (ids[i] >= t->bpe.n_ids)
			return err_set(e, ERR_FORMAT, "token %u around a text "
			               "does not exist", ids[i]);
	return 0;
}

static int load(struct tok *t, const char *path, struct err *e)
{
	int gguf = is_gguf(path);

	if ((gguf ? tok_gguf_load : tok_json_load)(t, path, e) < 0)
		return -1;
	if (tok_bpe_finish(&t->bpe, e) < 0 || name_added(t, e) < 0 ||
	    tok_norm_finish(&t->norm, e) < 0 || tok_added_finish(t, e) < 0)
		return err_wrap(e, "%s", path);
	if (!gguf && tok_json_config(t, path, e) < 0)
		return -1;
	if (ids_exist(t, t->front, t->n_front, e) < 0 ||
	    ids_exist(t, t->back, t->n_back, e) < 0)
		return err_wrap(e, "%s", path);
	guess_ends(t);
	find_cuts(t);
	return 0;
}

struct tok *tok_open(const char *path, struct err *e)
{
	struct tok *t = mem_array(1, sizeof(*t), e);
	char *inside = NULL;
	struct stat st;
	int ret = -1;

	if (!t)
		return NULL;
	t->bos = t->eos = t->bpe.unk = UINT32_MAX;
	if (tok_ucd_init(&t->ucd, e) < 0)
		goto done;
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		static const char name[] = "/tokenizer.json";
		size_t n = strlen(path);

		inside = mem_scratch(n + sizeof(name), 1, e);
		if (!inside)
			goto done;
		memcpy(inside, path, n);
		memcpy(inside + n, name, sizeof(name));
	}
	ret = load(t, inside ? inside : path, e);
done:
	mem_free(inside);
	if (ret < 0) {
		tok_free(t);
		return NULL;
	}
	return t;
}

void tok_free(struct tok *t)
{
	if (!t)
		return;
	tok_ucd_done(&t->ucd);
	tok_bpe_done(&t->bpe);
	tok_added_done(&t->added);
	tok_norm_done(&t->norm);
	tok_pre_done(&t->pre);
	mem_free(t->front);
	mem_free(t->back);
	mem_free(t);
}

uint32_t tok_n_vocab(const struct tok *t)
{
	return (uint32_t)t->bpe.n_ids;
}

const char *tok_sha256(const struct tok *t)
{
	return t->sha256;
}

uint32_t tok_bos(const struct tok *t)
{
	return t->bos;
}

uint32_t tok_eos(const struct tok *t)
{
	return t->eos;
}

int tok_adds_bos(const struct tok *t)
{
	return t->n_front && t->front[0] == t->bos;
}

int tok_adds_eos(const struct tok *t)
{
	return t->n_back && t->back[t->n_back - 1] == t->eos;
}

struct tok_work *tok_work_new(const struct tok *t, struct err *e)
{
	struct tok_work *w = mem_array(1, sizeof(*w), e);

	if (!w)
		return NULL;
	w->t = t;
	w->match = tok_match_new(e);
	if (!w->match || tok_cache_new(w, e) < 0) {
		tok_work_free(w);
		return NULL;
	}
	return w;
}

void tok_work_free(struct tok_work *w)
{
	if (!w)
		return;
	mem_free(w->cache);
	tok_match_free(w->match);
	mem_free(w->piece);
	mem_free(w->repaired);
	mem_free(w->norm[0]);
	mem_free(w->norm[1]);
	mem_free(w->prefixed);
	mem_free(w->points);
	mem_free(w->symbol);
	mem_free(w->heap);
	mem_free(w);
}

/* Bytes of s that are ASCII or well-formed, from the start. */
static size_t well_formed(const uint8_t *s, size_t n)
{
	uint64_t eight;
	size_t at = 0;

	while (at < n) {
		int len;

		if (n - at >= 8) {
			memcpy(&eight, s + at, 8);
			if (!(eight & 0x8080808080808080u)) {
				at += 8;
				continue;
			}
		}
		len = text_utf8(s + at, n - at);
		if (len < 0)
			break;
		at += (size_t)len;
	}
	return at;
}

/* Replaces each bad sequence by U+FFFD. */
static int repair(struct tok_work *w, const uint8_t **s, size_t *n,
                  struct err *e)
{
	size_t good = well_formed(*s, *n), at = 0, to = 0;
	size_t room;

	if (good == *n)
		return 0;
	/* a bad byte becomes three at most */
	if (mem_mul(*n, 3, &room, e) < 0 ||
	    mem_grow(&w->repaired, &w->cap_repaired, room + TOK_PAD, 1, e) < 0)
		return -1;
	for (;;) {
		memcpy(w->repaired + to, *s + at, good);
		to += good;
		at += good;
		if (at == *n)
			break;
		memcpy(w->repaired + to, "\xef\xbf\xbd", 3);
		to += 3;
		at += (size_t)-text_utf8(*s + at, *n - at);
		good = well_formed(*s + at, *n - at);
	}
	*s = w->repaired;
	*n = to;
	w->limit = w->repaired + to + TOK_PAD;
	return 0;
}

static int push(struct tok_work *w, uint32_t id, struct err *e)
{
	return ids_push(&w->ids, &w->n_ids, &w->cap_ids, id, e);
}

/* A stretch of normalised text between added tokens. */
static int plain(struct tok_work *w, const uint8_t *s, size_t n,
                 struct err *e)
{
	size_t most = n;

	if (!n)
		return 0;
	/* a token is a byte at least; a piece may gain a space in front; and
	 * the cache writes a few more than it means */
	if ((w->t->pre.adds_space && mem_mul(n, 2, &most, e) < 0) ||
	    mem_grow(&w->ids, &w->cap_ids, w->n_ids + most + 16,
	             sizeof(*w->ids), e) < 0)
		return -1;
	return tok_pre_run(w, s, n, e);
}

typedef int stretch_fn(struct tok_work *w, const uint8_t *s, size_t n,
                       int specials, struct err *e);

/* Cuts added tokens out of s; what is between goes to fn. */
static int around_added(struct tok_work *w, const struct tok_trie *trie,
                        const uint8_t *s, size_t n, int specials,
                        stretch_fn *fn, struct err *e)
{
	size_t from = 0, used = 0;
	const uint8_t *limit = w->limit;
	struct tok_found f;

	while (tok_added_next(w->t, trie, s, n, &from, used, specials, &f)) {
		if (used < f.start &&
		    fn(w, s + used, f.start - used, specials, e) < 0)
			return -1;
		w->limit = limit;
		if (push(w, f.token->id, e) < 0)
			return -1;
		used = f.end;
	}
	return used < n ? fn(w, s + used, n - used, specials, e) : 0;
}

static int normalised(struct tok_work *w, const uint8_t *s, size_t n,
                      int specials, struct err *e)
{
	(void)specials;
	return plain(w, s, n, e);
}

static int raw(struct tok_work *w, const uint8_t *s, size_t n, int specials,
               struct err *e)
{
	if (tok_norm_run(w, s, n, &s, &n, e) < 0)
		return -1;
	return around_added(w, &w->t->added.normal, s, n, specials, normalised,
	                    e);
}

static int encode(struct tok_work *w, const uint8_t *s, size_t n, int flags,
                  struct err *e)
{
	const struct tok *t = w->t;
	size_t i;

	w->limit = s + n;
	if (repair(w, &s, &n, e) < 0)
		return -1;
	for (i = 0; flags & TOK_ADD && i < t->n_front; i++)
		if (push(w, t->front[i], e) < 0)
			return -1;
	if (around_added(w, &t->added.raw, s, n, flags & TOK_SPECIAL, raw,
	                 e) < 0)
		return -1;
	for (i = 0; flags & TOK_ADD && i < t->n_back; i++)
		if (push(w, t->back[i], e) < 0)
			return -1;
	return 0;
}

int tok_encode(const struct tok *t, struct tok_work *w, const char *text,
               size_t n, int flags, uint32_t **ids, size_t *n_ids,
               size_t *cap, struct err *e)
{
	int ret;

	w->t = t;
	w->ids = *ids;
	w->n_ids = *n_ids;
	w->cap_ids = *cap;
	ret = encode(w, (const uint8_t *)text, n, flags, e);
	*ids = w->ids;
	*cap = w->cap_ids;
	if (ret == 0)
		*n_ids = w->n_ids;
	w->ids = NULL;
	return ret;
}

const char *tok_bytes(const struct tok *t, uint32_t id, size_t *n)
{
	if (id >= t->bpe.n_ids || !t->bpe.text[id].n) {
		*n = 0;
		return "";
	}
	*n = t->bpe.text[id].n;
	return t->bpe.arena.data + t->bpe.text[id].at;
}

int tok_is_special(const struct tok *t, uint32_t id)
{
	return id < t->bpe.n_ids && t->bpe.kind[id] & TOK_KIND_SPECIAL;
}

uint32_t tok_id(const struct tok *t, const char *text)
{
	size_t n = strlen(text), i;
	uint32_t id;

	for (i = 0; i < t->added.n; i++)
		if (t->added.token[i].n == n &&
		    !memcmp(t->added.token[i].content, text, n))
			return t->added.token[i].id;
	id = tok_map_get(&t->bpe.plain, &t->bpe.arena, text, n);
	return id != UINT32_MAX ? id
	       : tok_map_get(&t->bpe.written, &t->bpe.arena, text, n);
}

int tok_decode(const struct tok *t, const uint32_t *ids, size_t n,
               int specials, char **text, size_t *n_text, size_t *cap,
               struct err *e)
{
	size_t i, len, start = *n_text;

	for (i = 0; i < n; i++) {
		const char *s = tok_bytes(t, ids[i], &len);

		if (!specials && tok_is_special(t, ids[i]))
			continue;
		if (t->strip_first && *n_text == start && len && *s == ' ' &&
		    !(t->bpe.kind[ids[i]] & TOK_KIND_ADDED)) {
			s++;
			len--;
			start = SIZE_MAX;	/* one only */
		}
		if (mem_grow(text, cap, *n_text + len + 1, 1, e) < 0)
			return -1;
		memcpy(*text + *n_text, s, len);
		*n_text += len;
	}
	return 0;
}
