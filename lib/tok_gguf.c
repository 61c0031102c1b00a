/* tok_gguf: a tokenizer from a GGUF's own vocabulary. */
#include <string.h>

#include "gguf.h"
#include "mem.h"
#include "sha256.h"
#include "tok_impl.h"

/* Values of tokenizer.ggml.token_type. */
enum { GGML_CONTROL = 3, GGML_USER = 4 };

/*
 * tokenizer.ggml.pre names the pre-tokenizer (and what else went with it in
 * the original's tokenizer.json): patterns of tok_scan.c by name, each one
 * isolated. Only names whose original is known are here.
 */
static const struct pre {
	const char *name;
	const char *stage[3];
	int nfc, ignore_merges, add_bos;
} pres[] = {
	{ "default", { "gpt2" }, 0, 0, 0 },
	{ "gpt-2", { "gpt2" }, 0, 0, 0 },
	{ "gpt2", { "gpt2" }, 0, 0, 0 },
	{ "smollm", { "digit", "gpt2" }, 0, 0, 0 },
	{ "starcoder", { "digit", "gpt2" }, 0, 0, 0 },
	{ "refact", { "digit", "gpt2" }, 0, 0, 0 },
	{ "llama-bpe", { "llama3" }, 0, 1, 1 },
	{ "llama3", { "llama3" }, 0, 1, 1 },
	{ "llama-v3", { "llama3" }, 0, 1, 1 },
	{ "qwen2", { "qwen2" }, 1, 0, 0 },
	{ "deepseek-r1-qwen", { "qwen2" }, 1, 0, 1 },
	{ "qwen35", { "qwen35" }, 1, 0, 0 },
	{ "deepseek-v3", { "numbers", "cjk", "deepseek3" }, 0, 0, 1 }
};

static tok_scan_fn *scan_named(const char *name)
{
	const struct tok_scan_known *k;

	if (!strcmp(name, "digit"))
		return tok_scan_digit;
	for (k = tok_scan_all(); k->name; k++)
		if (!strcmp(k->name, name))
			return k->scan;
	return NULL;
}

static int set_pre(struct tok *t, const char *name, const struct pre **out,
                   struct err *e)
{
	size_t i;
	int j;

	for (i = 0; i < sizeof(pres) / sizeof(*pres); i++)
		if (!strcmp(pres[i].name, name))
			break;
	if (i == sizeof(pres) / sizeof(*pres))
		return err_set(e, ERR_FORMAT, "tokenizer.ggml.pre '%s' is not "
		               "supported", name);
	*out = &pres[i];
	for (j = 0; j < 3 && pres[i].stage[j]; j++) {
		struct tok_stage *g;

		if (tok_pre_add(&t->pre, &g, e) < 0)
			return -1;
		g->scan = scan_named(pres[i].stage[j]);
	}
	if (pres[i].nfc)
		t->norm.op[t->norm.n++].kind = TOK_NFC;
	t->bpe.ignore_merges = pres[i].ignore_merges;
	t->bpe.byte_level = 1;
	return 0;
}

static int token_id(const struct gguf *g, const char *key, size_t n,
                    uint32_t *out, struct err *e)
{
	int64_t id;
	int got = gguf_int(g, key, 0, (int64_t)n - 1, &id, e);

	if (got > 0)
		*out = (uint32_t)id;
	return got < 0 ? -1 : 0;
}

static int around(struct tok *t, const struct gguf *g, const struct pre *p,
                  size_t n, struct err *e)
{
	int bos = p->add_bos, eos = 0;

	if (token_id(g, "tokenizer.ggml.bos_token_id", n, &t->bos, e) < 0 ||
	    token_id(g, "tokenizer.ggml.eos_token_id", n, &t->eos, e) < 0 ||
	    gguf_bool(g, "tokenizer.ggml.add_bos_token", &bos, e) < 0 ||
	    gguf_bool(g, "tokenizer.ggml.add_eos_token", &eos, e) < 0)
		return -1;
	if (bos && t->bos != UINT32_MAX && tok_front(t, t->bos, e) < 0)
		return -1;
	if (eos && t->eos != UINT32_MAX && tok_back(t, t->eos, e) < 0)
		return -1;
	return 0;
}

/* Strings with their lengths, so that no two lists look alike. */
static int digest(struct sha256 *s, const struct gguf_text *x, size_t n,
                  struct err *e)
{
	size_t i;

	for (i = 0; i < n; i++) {
		uint64_t len = x[i].n;

		if (sha256_add(s, &len, sizeof(len), e) < 0 ||
		    sha256_add(s, x[i].s, x[i].n, e) < 0)
			return -1;
	}
	return 0;
}

static int fill(struct tok *t, const struct gguf_text *text, size_t n,
                const int64_t *type, const struct gguf_text *merge,
                size_t n_merges, struct err *e)
{
	size_t i;

	for (i = 0; i < n; i++) {
		struct tok_added_token a = { 0 };

		if (tok_bpe_token(&t->bpe, text[i].s, text[i].n, (uint32_t)i,
		                  e) < 0)
			return -1;
		if (!type || !text[i].n ||
		    (type[i] != GGML_CONTROL && type[i] != GGML_USER))
			continue;
		a.content = (char *)text[i].s;
		a.n = text[i].n;
		a.id = (uint32_t)i;
		a.special = type[i] == GGML_CONTROL;
		if (tok_added_add(&t->added, &a, e) < 0)
			return -1;
	}
	if (tok_bpe_merges(&t->bpe, n_merges, e) < 0)
		return -1;
	for (i = 0; i < n_merges; i++)
		if (tok_bpe_merge_line(&t->bpe, merge[i].s, merge[i].n,
		                       (uint32_t)i, e) < 0)
			return -1;
	return 0;
}

int tok_gguf_load(struct tok *t, const char *path, struct err *e)
{
	struct gguf *g = gguf_open(path, e);
	struct gguf_text *text = NULL, *merge = NULL;
	struct sha256 *sha = NULL;
	const struct pre *p = NULL;
	const char *model = "", *pre = "default";
	int64_t *type = NULL;
	size_t n, n_types, n_merges;
	int got, ret = -1;

	if (!g)
		return -1;
	if (gguf_str(g, "tokenizer.ggml.model", &model, e) < 0 ||
	    gguf_str(g, "tokenizer.ggml.pre", &pre, e) < 0)
		goto done;
	if (strcmp(model, "gpt2")) {
		err_set(e, ERR_FORMAT, "tokenizer.ggml.model: gpt2 wanted, "
		        "found '%s'", model);
		goto done;
	}
	if (set_pre(t, pre, &p, e) < 0)
		goto done;
	got = gguf_texts(g, "tokenizer.ggml.tokens", &text, &n, e);
	if (got > 0)
		got = gguf_texts(g, "tokenizer.ggml.merges", &merge, &n_merges,
		                 e);
	if (got == 0)
		err_set(e, ERR_FORMAT, "no tokenizer.ggml.tokens and "
		        "tokenizer.ggml.merges");
	if (got <= 0)
		goto done;
	got = gguf_ints(g, "tokenizer.ggml.token_type", &type, &n_types, e);
	if (got > 0 && n_types != n) {
		err_set(e, ERR_FORMAT, "%zu tokens but %zu token types", n,
		        n_types);
		goto done;
	}
	sha = sha256_new(e);
	if (got < 0 || !sha ||
	    fill(t, text, n, type, merge, n_merges, e) < 0 ||
	    around(t, g, p, n, e) < 0 ||
	    digest(sha, &(struct gguf_text){ pre, strlen(pre) }, 1, e) < 0 ||
	    digest(sha, text, n, e) < 0 || digest(sha, merge, n_merges, e) < 0 ||
	    (type && sha256_add(sha, type, n * sizeof(*type), e) < 0) ||
	    sha256_end(sha, t->sha256, e) < 0)
		goto done;
	ret = 0;
done:
	if (ret < 0)
		err_wrap(e, "%s", path);
	sha256_free(sha);
	mem_free(text);
	mem_free(merge);
	mem_free(type);
	gguf_free(g);
	return ret;
}
