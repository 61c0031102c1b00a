/*
 * Any bytes as text, through tokenizers of tests/golden. What must hold
 * whatever the text: ids decode to it (repaired), a place tok_cut names leaves
 * the ids alone, and nothing depends on what was encoded before.
 */
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "tok.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct ids {
	uint32_t *v;
	size_t n, cap;
};

static void encode(const struct tok *t, struct tok_work *w, const char *s,
                   size_t n, int flags, struct ids *out)
{
	struct err e = { 0 };

	if (tok_encode(t, w, s, n, flags, &out->v, &out->n, &out->cap, &e) < 0)
		abort();
}

static void same(const struct ids *a, const struct ids *b)
{
	if (a->n != b->n || (a->n && memcmp(a->v, b->v, a->n * sizeof(*a->v))))
		abort();
}

static void decode(const struct tok *t, const struct ids *a, char **s,
                   size_t *n)
{
	struct err e = { 0 };
	size_t cap = 0;

	*s = NULL;
	*n = 0;
	if (tok_decode(t, a->v, a->n, 1, s, n, &cap, &e) < 0)
		abort();
}

static void try(const struct tok *t, struct tok_work *w, const char *s,
                size_t n, int flags)
{
	struct ids whole = { 0 }, parts = { 0 }, again = { 0 };
	char *text, *back;
	size_t n_text, n_back, at;

	encode(t, w, s, n, flags, &whole);
	at = tok_cut(t, s, n, n / 3);
	encode(t, w, s, at, flags, &parts);
	encode(t, w, s + at, n - at, flags, &parts);
	same(&whole, &parts);
	/* what decodes from it is valid and normal: it comes back as it is */
	decode(t, &whole, &text, &n_text);
	encode(t, w, text ? text : "", n_text, flags, &again);
	decode(t, &again, &back, &n_back);
	if (n_text != n_back || (n_text && memcmp(text, back, n_text)))
		abort();
	mem_free(text);
	mem_free(back);
	mem_free(whole.v);
	mem_free(parts.v);
	mem_free(again.v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char *const paths[] = {
		"tests/golden/tok/chat.json", "tests/golden/tiny-llama",
		"tests/golden/tok/chars.json"
	};
	static struct tok *t[3];
	static struct tok_work *w[3];
	struct err e = { 0 };
	int i;

	for (i = 0; i < 3; i++) {
		if (!t[i] && (!(t[i] = tok_open(paths[i], &e)) ||
		              !(w[i] = tok_work_new(t[i], &e))))
			abort();
		if (i < 2) {
			try(t[i], w[i], (const char *)data, n, TOK_SPECIAL);
			try(t[i], w[i], (const char *)data, n, 0);
		} else {	/* unknown characters are lost in this one */
			struct ids ids = { 0 };

			encode(t[i], w[i], (const char *)data, n, TOK_ADD, &ids);
			mem_free(ids.v);
		}
	}
	return 0;
}
