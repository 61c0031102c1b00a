#include "gguf.h"

#include <stdlib.h>
#include <string.h>

#include "map.h"
#include "mem.h"

enum {
	DIMS_MAX = 4,		/* ggml's own limit */
	NAME_MAX_BYTES = 65535,	/* the specification's for keys */
	ALIGN_DEFAULT = 32
};

enum value_type {
	V_U8, V_I8, V_U16, V_I16, V_U32, V_I32, V_F32, V_BOOL, V_STR, V_ARR,
	V_U64, V_I64, V_F64, V_N
};

static const struct { const char *name; size_t bytes; } values[V_N] = {
	{ "u8", 1 }, { "i8", 1 }, { "u16", 2 }, { "i16", 2 }, { "u32", 4 },
	{ "i32", 4 }, { "f32", 4 }, { "bool", 1 }, { "string", 8 },
	{ "array", 12 }, { "u64", 8 }, { "i64", 8 }, { "f64", 8 }
};	/* bytes: of strings and arrays, the fewest they take */

static const struct { uint32_t code; enum dtype type; } dtypes[] = {
	{ 0, DT_F32 }, { 1, DT_F16 }, { 2, DT_Q4_0 }, { 3, DT_Q4_1 },
	{ 6, DT_Q5_0 }, { 7, DT_Q5_1 }, { 8, DT_Q8_0 }, { 12, DT_Q4_K },
	{ 13, DT_Q5_K }, { 14, DT_Q6_K }, { 24, DT_I8 }, { 25, DT_I16 },
	{ 26, DT_I32 }, { 27, DT_I64 }, { 28, DT_F64 }, { 30, DT_BF16 }
};
enum { N_DTYPES = sizeof(dtypes) / sizeof(dtypes[0]) };

/* One metadata pair; an array when is_array, else a single value. */
struct pair {
	char *key;
	char *text;		/* copy of a single string, NUL added */
	enum value_type type;	/* of the value or of the elements */
	int is_array;
	size_t n;		/* elements, or bytes of a single string */
	const uint8_t *at;	/* the value, or the first element */
};

struct gguf {
	char *name;		/* for messages */
	struct map map;		/* empty when the bytes are borrowed */
	struct pair *pair;	/* by key */
	size_t n_pairs;
	struct tensor *t;	/* by name; names are ours */
	size_t n;
};

/* Where the reader stands. */
struct cur {
	const char *name;
	const uint8_t *data;
	size_t n, at;
};

/* The next n bytes, or NULL with e saying what was to be there. */
static const uint8_t *take(struct cur *c, uint64_t n, const char *what,
                           struct err *e)
{
	const uint8_t *p = c->data + c->at;

	if (n > c->n - c->at) {
		err_set(e, ERR_FORMAT, "%s: byte %zu: %s of %llu bytes, but "
		        "%zu are left", c->name, c->at, what,
		        (unsigned long long)n, c->n - c->at);
		return NULL;
	}
	c->at += (size_t)n;
	return p;
}

static int take_u32(struct cur *c, const char *what, uint32_t *v,
                    struct err *e)
{
	const uint8_t *p = take(c, 4, what, e);

	if (!p)
		return -1;
	memcpy(v, p, 4);
	return 0;
}

static int take_u64(struct cur *c, const char *what, uint64_t *v,
                    struct err *e)
{
	const uint8_t *p = take(c, 8, what, e);

	if (!p)
		return -1;
	memcpy(v, p, 8);
	return 0;
}

/* A count of things that take at least `bytes` each. */
static int take_count(struct cur *c, const char *what, size_t bytes, size_t *n,
                      struct err *e)
{
	uint64_t v;

	if (take_u64(c, what, &v, e) < 0)
		return -1;
	if (v > (c->n - c->at) / bytes)
		return err_set(e, ERR_FORMAT, "%s: byte %zu: %s says %llu, but "
		               "%zu bytes are left", c->name, c->at - 8, what,
		               (unsigned long long)v, c->n - c->at);
	*n = (size_t)v;
	return 0;
}

/* A key or a tensor's name, as a new NUL-terminated string. */
static char *take_name(struct cur *c, const char *what, struct err *e)
{
	size_t start = c->at;
	const uint8_t *p;
	uint64_t n;

	if (take_u64(c, what, &n, e) < 0 || !(p = take(c, n, what, e)))
		return NULL;
	if (n == 0 || n > NAME_MAX_BYTES || memchr(p, 0, (size_t)n)) {
		err_set(e, ERR_FORMAT, "%s: byte %zu: %s of %llu bytes, wanted "
		        "1 to %d and no NUL", c->name, start, what,
		        (unsigned long long)n, NAME_MAX_BYTES);
		return NULL;
	}
	return mem_strndup((const char *)p, (size_t)n, e);
}

static int check_bools(const struct cur *c, const struct pair *p,
                       struct err *e)
{
	size_t i;

	for (i = 0; i < p->n; i++)
		if (p->at[i] > 1)
			return err_set(e, ERR_FORMAT,
			               "%s: key '%s': a bool is %u, wanted 0 "
			               "or 1", c->name, p->key, p->at[i]);
	return 0;
}

/* Steps over p->n values of p->type, checking them. */
static int skip_values(struct cur *c, struct pair *p, struct err *e)
{
	uint64_t n;
	size_t i;

	p->at = c->data + c->at;
	if (p->type != V_STR) {
		if (!take(c, (uint64_t)p->n * values[p->type].bytes, p->key,
		          e))
			return -1;
		return p->type == V_BOOL ? check_bools(c, p, e) : 0;
	}
	for (i = 0; i < p->n; i++)
		if (take_u64(c, p->key, &n, e) < 0 ||
		    !take(c, n, p->key, e))
			return -1;
	return 0;
}

static int read_pair(struct cur *c, struct pair *p, struct err *e)
{
	uint32_t type;

	p->key = take_name(c, "a key", e);
	if (!p->key || take_u32(c, p->key, &type, e) < 0)
		return -1;
	p->n = 1;
	if (type == V_ARR) {
		p->is_array = 1;
		if (take_u32(c, p->key, &type, e) < 0)
			return -1;
		if (type < V_N && type != V_ARR &&
		    take_count(c, p->key, values[type].bytes, &p->n, e) < 0)
			return -1;
	}
	if (type >= V_N || type == V_ARR)
		return err_set(e, ERR_FORMAT, "%s: byte %zu: key '%s': value "
		               "type %u%s is not supported", c->name, c->at,
		               p->key, type, p->is_array ? " in an array" : "");
	p->type = (enum value_type)type;
	if (skip_values(c, p, e) < 0)
		return -1;
	if (p->type == V_STR && !p->is_array) {
		p->n = (size_t)(c->data + c->at - (p->at + 8));
		p->text = mem_strndup((const char *)p->at + 8, p->n, e);
		if (!p->text)
			return -1;
	}
	return 0;
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct pair *)a)->key,
	              ((const struct pair *)b)->key);
}

static int read_pairs(struct gguf *g, struct cur *c, size_t n, struct err *e)
{
	size_t i;

	g->pair = mem_array(n, sizeof(*g->pair), e);
	if (!g->pair)
		return -1;
	for (i = 0; i < n; i++) {
		g->n_pairs = i + 1;
		if (read_pair(c, &g->pair[i], e) < 0)
			return -1;
	}
	if (n)
		qsort(g->pair, n, sizeof(*g->pair), by_key);
	for (i = 1; i < n; i++)
		if (strcmp(g->pair[i - 1].key, g->pair[i].key) == 0)
			return err_set(e, ERR_FORMAT, "%s: key '%s' twice",
			               c->name, g->pair[i].key);
	return 0;
}

/* One description; *offset is relative to the data, still unchecked. */
static int read_tensor(struct cur *c, struct tensor *t, uint64_t *offset,
                       struct err *e)
{
	uint32_t n_dims, code, i;
	uint64_t ne[DIMS_MAX];
	size_t bytes;

	t->name = take_name(c, "a tensor's name", e);
	if (!t->name || take_u32(c, t->name, &n_dims, e) < 0)
		return -1;
	if (n_dims > DIMS_MAX)
		return err_set(e, ERR_FORMAT, "%s: tensor '%s' has %u "
		               "dimensions, the limit is %d", c->name, t->name,
		               n_dims, DIMS_MAX);
	t->n_dims = (int)n_dims;
	t->n = 1;
	for (i = 0; i < n_dims; i++) {
		if (take_u64(c, t->name, &ne[i], e) < 0)
			return -1;
		if (ne[i] == 0 || __builtin_mul_overflow(t->n, ne[i], &t->n))
			return err_set(e, ERR_FORMAT, "%s: tensor '%s': "
			               "dimension %u is %llu, not a size that "
			               "fits", c->name, t->name, i,
			               (unsigned long long)ne[i]);
		t->shape[n_dims - 1 - i] = (size_t)ne[i];
	}
	if (take_u32(c, t->name, &code, e) < 0 ||
	    take_u64(c, t->name, offset, e) < 0)
		return -1;
	for (i = 0; i < N_DTYPES && dtypes[i].code != code; i++)
		;
	if (i == N_DTYPES)
		return err_set(e, ERR_FORMAT, "%s: tensor '%s': ggml type %u "
		               "is not supported", c->name, t->name, code);
	t->type = dtypes[i].type;
	/* blocks do not straddle rows */
	if (dtype_bytes(t->type, n_dims ? (size_t)ne[0] : 1, &bytes, e) < 0 ||
	    dtype_bytes(t->type, t->n, &t->n_bytes, e) < 0)
		return err_wrap(e, "%s: tensor '%s'", c->name, t->name);
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct tensor *)a)->name,
	              ((const struct tensor *)b)->name);
}

static int by_place(const void *a, const void *b)
{
	const uint8_t *x = ((const struct tensor *)a)->data;
	const uint8_t *y = ((const struct tensor *)b)->data;

	return x < y ? -1 : x > y;
}

/* Places tensor t at offset in the n_data bytes at data. */
static int place(const struct cur *c, struct tensor *t, uint64_t offset,
                 const uint8_t *data, size_t n_data, size_t align,
                 struct err *e)
{
	if (offset % align)
		return err_set(e, ERR_FORMAT, "%s: tensor '%s' at data byte "
		               "%llu, wanted a multiple of %zu", c->name,
		               t->name, (unsigned long long)offset, align);
	if (offset > n_data || t->n_bytes > n_data - offset)
		return err_set(e, ERR_FORMAT, "%s: tensor '%s': %zu bytes at "
		               "data byte %llu, but there are %zu", c->name,
		               t->name, t->n_bytes,
		               (unsigned long long)offset, n_data);
	t->data = data + offset;
	return 0;
}

/* Apart from each other, and no name twice; leaves them in order of name. */
static int check_tensors(struct gguf *g, struct err *e)
{
	struct tensor *t = g->t;
	size_t i;

	if (g->n == 0)
		return 0;
	qsort(t, g->n, sizeof(*t), by_place);
	for (i = 1; i < g->n; i++)
		if ((const uint8_t *)t[i - 1].data + t[i - 1].n_bytes >
		    (const uint8_t *)t[i].data)
			return err_set(e, ERR_FORMAT,
			               "%s: tensors '%s' and '%s' overlap",
			               g->name, t[i - 1].name, t[i].name);
	qsort(t, g->n, sizeof(*t), by_name);
	for (i = 1; i < g->n; i++)
		if (strcmp(t[i - 1].name, t[i].name) == 0)
			return err_set(e, ERR_FORMAT, "%s: tensor '%s' twice",
			               g->name, t[i].name);
	return 0;
}

/* *align stays when the file says nothing. */
static int alignment(const struct gguf *g, size_t *align, struct err *e)
{
	int64_t v = (int64_t)*align;

	if (gguf_int(g, "general.alignment", 1, UINT32_MAX, &v, e) < 0)
		return -1;
	if (v & (v - 1))
		return err_set(e, ERR_FORMAT, "%s: general.alignment is %lld, "
		               "wanted a power of two", g->name, (long long)v);
	*align = (size_t)v;
	return 0;
}

static int read_tensors(struct gguf *g, struct cur *c, size_t n,
                        struct err *e)
{
	uint64_t *offset = mem_array(n, sizeof(*offset), e);
	size_t align = ALIGN_DEFAULT, i, pad;
	int rc = -1;

	g->t = mem_array(n, sizeof(*g->t), e);
	if (!offset || !g->t || alignment(g, &align, e) < 0)
		goto done;
	for (i = 0; i < n; i++) {
		g->n = i + 1;
		if (read_tensor(c, &g->t[i], &offset[i], e) < 0)
			goto done;
	}
	pad = (align - c->at % align) % align;
	if (n && !take(c, pad, "padding", e))
		goto done;
	for (i = 0; i < n; i++)
		if (place(c, &g->t[i], offset[i], c->data + c->at,
		          c->n - c->at, align, e) < 0)
			goto done;
	rc = check_tensors(g, e);
done:
	mem_free(offset);
	return rc;
}

/* The fewest bytes of a pair (length, one byte of key, type, value) and of a
 * tensor's description (length, name, dimensions, type, offset). */
enum { PAIR_MIN = 8 + 1 + 4 + 1, TENSOR_MIN = 8 + 1 + 4 + 4 + 8 };

static int read_all(struct gguf *g, const uint8_t *data, size_t n,
                    struct err *e)
{
	struct cur c = { .name = g->name, .data = data, .n = n };
	size_t n_tensors, n_pairs;
	const uint8_t *magic;
	uint32_t version;

	if (n < 4 || !(magic = take(&c, 4, "the magic", e)) ||
	    memcmp(magic, "GGUF", 4))
		return err_set(e, ERR_FORMAT,
		               "%s: does not begin with 'GGUF'", g->name);
	if (take_u32(&c, "the version", &version, e) < 0)
		return -1;
	if (version != 2 && version != 3)
		return err_set(e, ERR_FORMAT, "%s: GGUF version %u%s, wanted "
		               "2 or 3", g->name, version,
		               version & 0xffff ? "" : " (big-endian)");
	if (take_count(&c, "the number of tensors", TENSOR_MIN, &n_tensors,
	               e) < 0 ||
	    take_count(&c, "the number of keys", PAIR_MIN, &n_pairs, e) < 0 ||
	    read_pairs(g, &c, n_pairs, e) < 0)
		return -1;
	return read_tensors(g, &c, n_tensors, e);
}

static struct gguf *new_named(const char *name, struct err *e)
{
	struct gguf *g = mem_array(1, sizeof(*g), e);

	if (g && !(g->name = mem_strdup(name, e))) {
		gguf_free(g);
		g = NULL;
	}
	return g;
}

struct gguf *gguf_open(const char *path, struct err *e)
{
	struct gguf *g = new_named(path, e);

	if (g && (map_open(&g->map, path, e) < 0 ||
	          read_all(g, g->map.data, g->map.n, e) < 0)) {
		gguf_free(g);
		g = NULL;
	}
	return g;
}

struct gguf *gguf_parse(const void *data, size_t n, const char *name,
                        struct err *e)
{
	struct gguf *g = new_named(name, e);

	if (g && read_all(g, data, n, e) < 0) {
		gguf_free(g);
		g = NULL;
	}
	return g;
}

void gguf_free(struct gguf *g)
{
	size_t i;

	if (!g)
		return;
	for (i = 0; i < g->n_pairs; i++) {
		mem_free(g->pair[i].key);
		mem_free(g->pair[i].text);
	}
	for (i = 0; i < g->n; i++)
		mem_free((char *)g->t[i].name);
	mem_free(g->pair);
	mem_free(g->t);
	map_close(&g->map);
	mem_free(g->name);
	mem_free(g);
}

/* ---- metadata ---- */

/* The pair of that key; *found 1 or 0; -1 when it is an array and a single
 * value was wanted, or the reverse. */
static int lookup(const struct gguf *g, const char *key, int is_array,
                  const struct pair **p, struct err *e)
{
	struct pair want = { .key = (char *)key };

	*p = g->n_pairs ? bsearch(&want, g->pair, g->n_pairs, sizeof(want),
	                          by_key) : NULL;
	if (*p && (*p)->is_array != is_array)
		return err_set(e, ERR_FORMAT, "%s: key '%s' is %s, wanted %s",
		               g->name, key, is_array ? "no array" : "an array",
		               is_array ? "one" : "a single value");
	return *p != NULL;
}

static int wrong_type(const struct gguf *g, const struct pair *p,
                      const char *wanted, struct err *e)
{
	return err_set(e, ERR_FORMAT, "%s: key '%s' is %s%s, wanted %s",
	               g->name, p->key, p->is_array ? "an array of " : "",
	               values[p->type].name, wanted);
}

/* Element i as an integer. 0, or -1: not one, or too large. */
static int int_at(const struct pair *p, size_t i, int64_t *v)
{
	const uint8_t *at = p->at + i * values[p->type].bytes;
	uint64_t u = 0;
	int8_t i8;
	int16_t i16;
	int32_t i32;

	switch (p->type) {
	case V_I8:
		memcpy(&i8, at, 1);
		*v = i8;
		return 0;
	case V_I16:
		memcpy(&i16, at, 2);
		*v = i16;
		return 0;
	case V_I32:
		memcpy(&i32, at, 4);
		*v = i32;
		return 0;
	case V_I64:
		memcpy(v, at, 8);
		return 0;
	case V_U8:
	case V_BOOL:
	case V_U16:
	case V_U32:
	case V_U64:
		memcpy(&u, at, values[p->type].bytes);
		if (u > INT64_MAX)
			return -1;
		*v = (int64_t)u;
		return 0;
	default:
		return -1;
	}
}

/* The pair's value as a number; -1: it is not one. */
static int real_of(const struct pair *p, double *v)
{
	int64_t whole;
	float f;

	if (p->type == V_F32) {
		memcpy(&f, p->at, 4);
		*v = f;
	} else if (p->type == V_F64) {
		memcpy(v, p->at, 8);
	} else if (p->type != V_BOOL && int_at(p, 0, &whole) == 0) {
		*v = (double)whole;
	} else {
		return -1;
	}
	return 0;
}

int gguf_int(const struct gguf *g, const char *key, int64_t lo, int64_t hi,
             int64_t *out, struct err *e)
{
	const struct pair *p;
	int got = lookup(g, key, 0, &p, e);
	int64_t v;

	if (got <= 0)
		return got;
	if (p->type == V_BOOL || int_at(p, 0, &v) < 0)
		return wrong_type(g, p, "an integer below 2^63", e);
	if (v < lo || v > hi)
		return err_set(e, ERR_FORMAT, "%s: key '%s' is %lld, wanted "
		               "%lld to %lld", g->name, key, (long long)v,
		               (long long)lo, (long long)hi);
	*out = v;
	return 1;
}

int gguf_real(const struct gguf *g, const char *key, double *out,
              struct err *e)
{
	const struct pair *p;
	int got = lookup(g, key, 0, &p, e);

	if (got <= 0)
		return got;
	if (real_of(p, out) < 0)
		return wrong_type(g, p, "a number", e);
	return 1;
}

int gguf_bool(const struct gguf *g, const char *key, int *out, struct err *e)
{
	const struct pair *p;
	int got = lookup(g, key, 0, &p, e);

	if (got <= 0)
		return got;
	if (p->type != V_BOOL)
		return wrong_type(g, p, "a bool", e);
	*out = *p->at;
	return 1;
}

int gguf_str(const struct gguf *g, const char *key, const char **out,
             struct err *e)
{
	const struct pair *p;
	int got = lookup(g, key, 0, &p, e);

	if (got <= 0)
		return got;
	if (p->type != V_STR)
		return wrong_type(g, p, "a string", e);
	if (strlen(p->text) != p->n)
		return err_set(e, ERR_FORMAT,
		               "%s: key '%s': NUL at byte %zu of the string",
		               g->name, key, strlen(p->text));
	*out = p->text;
	return 1;
}

int gguf_texts(const struct gguf *g, const char *key, struct gguf_text **out,
               size_t *n, struct err *e)
{
	const struct pair *p;
	int got = lookup(g, key, 1, &p, e);
	const uint8_t *at;
	uint64_t len;
	size_t i;

	if (got <= 0)
		return got;
	if (p->type != V_STR)
		return wrong_type(g, p, "an array of strings", e);
	*out = mem_scratch(p->n, sizeof(**out), e);
	if (!*out)
		return -1;
	for (at = p->at, i = 0; i < p->n; i++, at += len) {
		memcpy(&len, at, 8);	/* checked by skip_values */
		at += 8;
		(*out)[i].s = (const char *)at;
		(*out)[i].n = (size_t)len;
	}
	*n = p->n;
	return 1;
}

int gguf_ints(const struct gguf *g, const char *key, int64_t **out, size_t *n,
              struct err *e)
{
	const struct pair *p;
	int got = lookup(g, key, 1, &p, e);
	int64_t *v;
	size_t i;

	if (got <= 0)
		return got;
	v = mem_scratch(p->n, sizeof(*v), e);
	if (!v)
		return -1;
	for (i = 0; i < p->n; i++) {
		if (int_at(p, i, &v[i]) < 0) {
			mem_free(v);
			return wrong_type(g, p, "an array of integers", e);
		}
	}
	*out = v;
	*n = p->n;
	return 1;
}

/* ---- tensors ---- */

size_t gguf_count(const struct gguf *g)
{
	return g->n;
}

const struct tensor *gguf_at(const struct gguf *g, size_t i)
{
	return &g->t[i];
}

const struct tensor *gguf_find(const struct gguf *g, const char *name)
{
	struct tensor key = { .name = name };

	return g->n ? bsearch(&key, g->t, g->n, sizeof(key), by_name) : NULL;
}
