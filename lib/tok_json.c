/* tok_json: a tokenizer from Hugging Face's tokenizer.json. */
#include <string.h>
#include <unistd.h>

#include "json.h"
#include "mem.h"
#include "sha256.h"
#include "tok_impl.h"

enum { MAX_BYTES = 256 << 20 };

static int type_of(const json_t *o, const char *what, const char **type,
                   struct err *e)
{
	if (!json_is_object(o))
		return err_set(e, ERR_FORMAT, "%s: an object wanted", what);
	if (json_str(o, "type", NULL, type, e) < 0)
		return err_wrap(e, "%s", what);
	if (!*type)
		return err_set(e, ERR_FORMAT, "%s: no type", what);
	return 0;
}

static int unsupported(const char *what, const char *type, struct err *e)
{
	return err_set(e, ERR_FORMAT, "%s of type %s is not supported", what,
	               type);
}

/* A pattern: {"Regex": "..."} or {"String": "..."}. */
static int pattern_of(const json_t *o, const char **s, size_t *n, int *literal,
                      struct err *e)
{
	const json_t *p = json_object_get(o, "pattern");
	const json_t *v = json_object_get(p, "Regex");

	*literal = !v;
	if (!v)
		v = json_object_get(p, "String");
	if (!json_is_string(v) || !json_string_length(v))
		return err_set(e, ERR_FORMAT, "pattern: Regex or String wanted");
	*s = json_string_value(v);
	*n = json_string_length(v);
	return 0;
}

/* ---- normalisers --------------------------------------------------------- */

static int norm_op(struct tok_norm *m, struct tok_norm_op **op,
                   enum tok_norm_kind kind, struct err *e)
{
	if (m->n == TOK_MAX_STAGES)
		return err_set(e, ERR_FORMAT, "over %d normalizers",
		               TOK_MAX_STAGES);
	*op = &m->op[m->n++];
	memset(*op, 0, sizeof(**op));
	(*op)->kind = kind;
	return 0;
}

/* Member `key` as what a Prepend or Replace puts in. */
static int norm_with(struct tok_norm_op *op, const json_t *o, const char *key,
                     struct err *e)
{
	const json_t *v = json_object_get(o, key);

	if (!json_is_string(v))
		return err_set(e, ERR_FORMAT, "normalizer: no %s", key);
	op->n_with = json_string_length(v);
	op->with = mem_strndup(json_string_value(v), op->n_with, e);
	return op->with ? 0 : -1;
}

static int norm_one(struct tok *t, const json_t *o, int depth, struct err *e)
{
	static const struct {
		const char *type;
		enum tok_norm_kind kind;
	} plain[] = {
		{ "NFC", TOK_NFC }, { "NFD", TOK_NFD }, { "NFKC", TOK_NFKC },
		{ "NFKD", TOK_NFKD }, { "Lowercase", TOK_LOWER }
	};
	struct tok_norm_op *op = NULL;
	const char *type, *s;
	size_t i, n;
	int literal;

	if (type_of(o, "normalizer", &type, e) < 0)
		return -1;
	if (!strcmp(type, "Sequence")) {
		const json_t *list = json_object_get(o, "normalizers"), *x;

		if (!json_is_array(list) || depth > 4)
			return err_set(e, ERR_FORMAT, "normalizer: Sequence "
			               "without normalizers, or too deep");
		json_array_foreach(list, i, x)
			if (norm_one(t, x, depth + 1, e) < 0)
				return -1;
		return 0;
	}
	for (i = 0; i < sizeof(plain) / sizeof(*plain); i++)
		if (!strcmp(type, plain[i].type))
			return norm_op(&t->norm, &op, plain[i].kind, e);
	if (!strcmp(type, "Prepend")) {
		if (norm_op(&t->norm, &op, TOK_PREPEND, e) < 0)
			return -1;
		return norm_with(op, o, "prepend", e);
	}
	if (!strcmp(type, "Strip")) {
		if (norm_op(&t->norm, &op, TOK_STRIP, e) < 0 ||
		    json_bool(o, "strip_left", 1, &op->left, e) < 0)
			return -1;
		return json_bool(o, "strip_right", 1, &op->right, e);
	}
	if (!strcmp(type, "Replace")) {
		if (norm_op(&t->norm, &op, TOK_REPLACE, e) < 0 ||
		    pattern_of(o, &s, &n, &literal, e) < 0 ||
		    norm_with(op, o, "content", e) < 0)
			return -1;
		op->what = tok_regex_new(s, n, literal, e);
		return op->what ? 0 : err_wrap(e, "normalizer Replace");
	}
	return unsupported("normalizer", type, e);
}

/* ---- pre-tokenizers ------------------------------------------------------ */

static int behaviour_of(const json_t *o, enum tok_behaviour *out,
                        struct err *e)
{
	static const char *const names[] = {
		"Isolated", "Removed", "Contiguous", "MergedWithPrevious",
		"MergedWithNext"
	};
	const char *s;
	int i;

	if (json_str(o, "behavior", "", &s, e) < 0)
		return -1;
	for (i = 0; i < 5; i++)
		if (!strcmp(s, names[i])) {
			*out = (enum tok_behaviour)i;
			return 0;
		}
	return err_set(e, ERR_FORMAT, "pre_tokenizer Split: behavior '%s'", s);
}

static int byte_level(struct tok *t, const json_t *o, struct err *e)
{
	int prefix, regex;
	struct tok_stage *g;

	if (json_bool(o, "add_prefix_space", 1, &prefix, e) < 0 ||
	    json_bool(o, "use_regex", 1, &regex, e) < 0)
		return -1;
	if (prefix) {
		if (tok_pre_add(&t->pre, &g, e) < 0)
			return -1;
		g->prefix_space = t->pre.adds_space = 1;
	}
	if (regex) {
		if (tok_pre_add(&t->pre, &g, e) < 0)
			return -1;
		g->scan = tok_scan_gpt2;
	}
	t->pre.closed = 1;
	t->bpe.byte_level = 1;
	return 0;
}

static int pre_one(struct tok *t, const json_t *o, int depth, struct err *e)
{
	enum tok_behaviour behaviour = TOK_ISOLATED;
	struct tok_stage *g;
	const char *type, *s;
	int literal, yes;
	size_t i, n;

	if (type_of(o, "pre_tokenizer", &type, e) < 0)
		return -1;
	if (!strcmp(type, "Sequence")) {
		const json_t *list = json_object_get(o, "pretokenizers"), *x;

		if (!json_is_array(list) || depth > 4)
			return err_set(e, ERR_FORMAT, "pre_tokenizer: Sequence "
			               "without pretokenizers, or too deep");
		json_array_foreach(list, i, x)
			if (pre_one(t, x, depth + 1, e) < 0)
				return -1;
		return 0;
	}
	if (!strcmp(type, "ByteLevel"))
		return byte_level(t, o, e);
	if (!strcmp(type, "Digits")) {
		if (json_bool(o, "individual_digits", 0, &yes, e) < 0 ||
		    tok_pre_add(&t->pre, &g, e) < 0)
			return -1;
		g->scan = yes ? tok_scan_digit : tok_scan_digits;
		return 0;
	}
	if (!strcmp(type, "Split")) {
		if (pattern_of(o, &s, &n, &literal, e) < 0 ||
		    behaviour_of(o, &behaviour, e) < 0 ||
		    json_bool(o, "invert", 0, &yes, e) < 0)
			return -1;
		if (strlen(s) != n)
			return err_set(e, ERR_FORMAT, "pre_tokenizer Split: "
			               "NUL in the pattern");
		if (tok_pre_split(&t->pre, s, literal, behaviour, yes, e) < 0)
			return err_wrap(e, "pre_tokenizer Split");
		return 0;
	}
	return unsupported("pre_tokenizer", type, e);
}

/* ---- the model ----------------------------------------------------------- */

static int refuse_text(const json_t *o, const char *key, struct err *e)
{
	const json_t *v = json_object_get(o, key);

	if (v && !json_is_null(v) &&
	    !(json_is_string(v) && !json_string_length(v)))
		return err_set(e, ERR_FORMAT, "model: %s is not supported",
		               key);
	return 0;
}

static int vocabulary(struct tok *t, json_t *o, struct err *e)
{
	const char *key;
	size_t n;
	json_t *v;

	if (!json_is_object(o))
		return err_set(e, ERR_FORMAT, "model: no vocab");
	json_object_keylen_foreach(o, key, n, v) {
		if (!json_is_integer(v) || json_integer_value(v) < 0 ||
		    json_integer_value(v) >= TOK_MAX_ID)
			return err_set(e, ERR_FORMAT, "vocab '%.*s': an id "
			               "below %d wanted",
			               (int)(n < 80 ? n : 80), key, TOK_MAX_ID);
		if (tok_bpe_token(&t->bpe, key, n,
		                  (uint32_t)json_integer_value(v), e) < 0)
			return -1;
	}
	return 0;
}

static int merges(struct tok *t, const json_t *list, struct err *e)
{
	size_t i;
	const json_t *m;

	if (!json_is_array(list))
		return err_set(e, ERR_FORMAT, "model: no merges");
	if (tok_bpe_merges(&t->bpe, json_array_size(list), e) < 0)
		return -1;
	json_array_foreach(list, i, m) {
		const json_t *l = json_array_get(m, 0);
		const json_t *r = json_array_get(m, 1);
		int ret;

		if (json_is_string(m))
			ret = tok_bpe_merge_line(&t->bpe, json_string_value(m),
			                         json_string_length(m),
			                         (uint32_t)i, e);
		else if (json_array_size(m) == 2 && json_is_string(l) &&
		         json_is_string(r))
			ret = tok_bpe_merge(&t->bpe, json_string_value(l),
			                    json_string_length(l),
			                    json_string_value(r),
			                    json_string_length(r),
			                    (uint32_t)i, e);
		else
			ret = err_set(e, ERR_FORMAT, "merge %zu: a string or "
			              "a pair of strings wanted", i);
		if (ret < 0)
			return -1;
	}
	return 0;
}

static int model(struct tok *t, const json_t *o, struct err *e)
{
	struct tok_bpe *b = &t->bpe;
	const char *s;
	double dropout;

	if (!json_is_object(o))
		return err_set(e, ERR_FORMAT, "no model");
	/* old files leave the type out */
	if (json_str(o, "type", "BPE", &s, e) < 0)
		return -1;
	if (strcmp(s, "BPE"))
		return unsupported("model", s, e);
	if (json_number(o, "dropout", 0, 1, 0, &dropout, e) < 0)
		return -1;
	if (dropout > 0)
		return err_set(e, ERR_FORMAT, "model: dropout is not "
		               "supported");
	if (refuse_text(o, "continuing_subword_prefix", e) < 0 ||
	    refuse_text(o, "end_of_word_suffix", e) < 0 ||
	    json_bool(o, "byte_fallback", 0, &b->byte_fallback, e) < 0 ||
	    json_bool(o, "fuse_unk", 0, &b->fuse_unk, e) < 0 ||
	    json_bool(o, "ignore_merges", 0, &b->ignore_merges, e) < 0 ||
	    vocabulary(t, json_object_get(o, "vocab"), e) < 0 ||
	    merges(t, json_object_get(o, "merges"), e) < 0 ||
	    json_str(o, "unk_token", NULL, &s, e) < 0)
		return -1;
	if (s) {
		b->unk = tok_map_get(&b->written, &b->arena, s, strlen(s));
		if (b->unk == UINT32_MAX)
			return err_set(e, ERR_FORMAT, "model: unk_token '%s' "
			               "is not in the vocabulary", s);
	}
	return 0;
}

static int added(struct tok *t, const json_t *list, struct err *e)
{
	struct tok_bpe *b = &t->bpe;
	size_t i;
	const json_t *o;

	if (!list || json_is_null(list))
		return 0;
	if (!json_is_array(list))
		return err_set(e, ERR_FORMAT, "added_tokens: a list wanted");
	json_array_foreach(list, i, o) {
		struct tok_added_token a = { 0 };
		const json_t *c = json_object_get(o, "content");
		int64_t id;

		if (!json_is_string(c) || !json_string_length(c))
			return err_set(e, ERR_FORMAT, "added token %zu: no "
			               "content", i);
		a.content = (char *)json_string_value(c);
		a.n = json_string_length(c);
		if (json_int(o, "id", 0, TOK_MAX_ID - 1, -1, &id, e) < 0 ||
		    json_bool(o, "special", 0, &a.special, e) < 0 ||
		    json_bool(o, "single_word", 0, &a.single_word, e) < 0 ||
		    json_bool(o, "lstrip", 0, &a.lstrip, e) < 0 ||
		    json_bool(o, "rstrip", 0, &a.rstrip, e) < 0 ||
		    json_bool(o, "normalized", !a.special, &a.normalized,
		              e) < 0)
			return err_wrap(e, "added token %zu", i);
		/* the vocabulary's id counts when it has the token */
		a.id = tok_map_get(&b->written, &b->arena, a.content, a.n);
		if (a.id == UINT32_MAX)
			a.id = (uint32_t)id;
		if (tok_added_add(&t->added, &a, e) < 0)
			return -1;
	}
	return 0;
}

/* ---- around a text --------------------------------------------------------- */

static int template_id(struct tok *t, const json_t *specials, const char *name,
                       int behind, struct err *e)
{
	const json_t *ids = json_object_get(json_object_get(specials, name),
	                                    "ids");
	size_t i;
	const json_t *v;

	if (!json_is_array(ids))
		return err_set(e, ERR_FORMAT, "post_processor: no ids of "
		               "special token '%s'", name);
	json_array_foreach(ids, i, v) {
		json_int_t id = json_integer_value(v);

		if (!json_is_integer(v) || id < 0 || id >= TOK_MAX_ID)
			return err_set(e, ERR_FORMAT, "post_processor: "
			               "special token '%s': bad id", name);
		if ((behind ? tok_back : tok_front)(t, (uint32_t)id, e) < 0)
			return -1;
	}
	return 0;
}

static int post(struct tok *t, const json_t *o, int depth, struct err *e)
{
	const char *type, *name;
	const json_t *list, *x;
	int behind = 0;
	size_t i;

	if (!o || json_is_null(o))
		return 0;
	if (type_of(o, "post_processor", &type, e) < 0)
		return -1;
	if (!strcmp(type, "ByteLevel"))		/* moves offsets only */
		return 0;
	if (!strcmp(type, "Sequence")) {
		list = json_object_get(o, "processors");
		if (!json_is_array(list) || depth > 4)
			return err_set(e, ERR_FORMAT, "post_processor: "
			               "Sequence without processors, or too "
			               "deep");
		json_array_foreach(list, i, x)
			if (post(t, x, depth + 1, e) < 0)
				return -1;
		return 0;
	}
	if (strcmp(type, "TemplateProcessing"))
		return unsupported("post_processor", type, e);
	list = json_object_get(o, "single");
	if (!json_is_array(list))
		return err_set(e, ERR_FORMAT, "post_processor: no single");
	json_array_foreach(list, i, x) {
		const json_t *s = json_object_get(x, "SpecialToken");

		if (json_object_get(x, "Sequence")) {
			behind = 1;
			continue;
		}
		if (json_str(s, "id", NULL, &name, e) < 0 || !name)
			return err_set(e, ERR_FORMAT, "post_processor: item "
			               "%zu of single", i);
		if (template_id(t, json_object_get(o, "special_tokens"), name,
		                behind, e) < 0)
			return -1;
	}
	return 0;
}

/* What of the decoder matters to us: U+2581 as a space, and the space in front
 * that a normaliser added. */
static void decoder(struct tok *t, const json_t *o, int depth)
{
	const json_t *x, *type = json_object_get(o, "type");
	const json_t *content = json_object_get(o, "content");
	size_t i;

	if (!json_is_string(type) || depth > 4)
		return;
	json_array_foreach(json_object_get(o, "decoders"), i, x)
		decoder(t, x, depth + 1);
	if (!json_is_string(content) || strcmp(json_string_value(content), " "))
		return;
	if (!strcmp(json_string_value(type), "Replace"))
		t->bpe.space_mark = 1;
	else if (!strcmp(json_string_value(type), "Strip"))
		t->strip_first = json_integer_value(json_object_get(o, "start"))
			> 0;
}

/* bos_token and eos_token of tokenizer_config.json: a string or an object. */
static uint32_t config_token(const struct tok *t, const json_t *o,
                             const char *key)
{
	const json_t *v = json_object_get(o, key);

	if (json_is_object(v))
		v = json_object_get(v, "content");
	return json_is_string(v) ? tok_id(t, json_string_value(v)) : UINT32_MAX;
}

/*
 * tokenizer.json doesn't say which tokens are bos and eos: its neighbour does.
 * Llama's class of tokenizers rebuilds the post-processor from that file.
 */
int tok_json_config(struct tok *t, const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash + 1 - path) : 0;
	const char *class;
	char *beside;
	json_t *o = NULL;
	int bos, eos, ret = -1;

	beside = mem_scratch(n + sizeof("tokenizer_config.json"), 1, e);
	if (!beside)
		return -1;
	memcpy(beside, path, n);
	strcpy(beside + n, "tokenizer_config.json");
	if (access(beside, F_OK) != 0) {
		ret = 0;
		goto done;
	}
	o = json_read(beside, MAX_BYTES, e);
	if (!o)
		goto done;
	t->bos = config_token(t, o, "bos_token");
	t->eos = config_token(t, o, "eos_token");
	if (json_str(o, "tokenizer_class", "", &class, e) < 0)
		goto wrap;
	if (strstr(class, "Llama")) {
		if (json_bool(o, "add_bos_token", t->n_front > 0, &bos, e) < 0 ||
		    json_bool(o, "add_eos_token", t->n_back > 0, &eos, e) < 0)
			goto wrap;
		t->n_front = t->n_back = 0;
		if ((bos && t->bos != UINT32_MAX &&
		     tok_front(t, t->bos, e) < 0) ||
		    (eos && t->eos != UINT32_MAX && tok_back(t, t->eos, e) < 0))
			goto done;
	}
	ret = 0;
	goto done;
wrap:
	err_wrap(e, "%s", beside);
done:
	json_decref(o);
	mem_free(beside);
	return ret;
}

int tok_json_load(struct tok *t, const char *path, struct err *e)
{
	json_t *o = json_read(path, MAX_BYTES, e);
	const json_t *x;
	int ret = -1;

	if (!o)
		return -1;
	if (!json_is_object(o)) {
		err_set(e, ERR_FORMAT, "an object wanted");
		goto wrap;
	}
	x = json_object_get(o, "normalizer");
	if (x && !json_is_null(x) && norm_one(t, x, 0, e) < 0)
		goto wrap;
	x = json_object_get(o, "pre_tokenizer");
	if (x && !json_is_null(x) && pre_one(t, x, 0, e) < 0)
		goto wrap;
	decoder(t, json_object_get(o, "decoder"), 0);
	if (model(t, json_object_get(o, "model"), e) < 0 ||
	    added(t, json_object_get(o, "added_tokens"), e) < 0 ||
	    post(t, json_object_get(o, "post_processor"), 0, e) < 0)
		goto wrap;
	ret = 0;
wrap:
	if (ret < 0)
		err_wrap(e, "%s", path);
	json_decref(o);
	if (ret == 0 && sha256_file(path, t->sha256, e) < 0)
		ret = -1;
	return ret;
}
