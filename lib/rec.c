#include "rec.h"

#include <string.h>

#include "json.h"
#include "mem.h"
#include "rec_impl.h"

/* ---- tokens/1 ---- */

struct rec_tokens_in {
	struct rec_base b;
	struct rec_tokens_head head;
	struct rec_text text;
};

int rec_head_hex(const json_t *h, const char *key, char out[65],
                 struct err *e)
{
	const char *s;

	if (json_str(h, key, "", &s, e) < 0)
		return -1;
	if (strlen(s) > 64)
		return err_set(e, ERR_FORMAT, "header: '%s': wanted at most "
		               "64 digits, found %zu", key, strlen(s));
	strcpy(out, s);
	return 0;
}

int rec_head_tokens(const json_t *h, struct rec_tokens_head *t,
                    struct err *e)
{
	int64_t vocab, ctx, bos, eos;

	memset(t, 0, sizeof(*t));
	if (rec_head_hex(h, "tokenizer", t->tokenizer, e) < 0 ||
	    json_int(h, "vocab", 1, UINT32_MAX, -1, &vocab, e) < 0 ||
	    json_int(h, "n_ctx", 1, 1 << 24, -1, &ctx, e) < 0 ||
	    json_bool(h, "packed", 0, &t->packed, e) < 0 ||
	    json_int(h, "bos", 0, UINT32_MAX, UINT32_MAX, &bos, e) < 0 ||
	    json_int(h, "eos", 0, UINT32_MAX, UINT32_MAX, &eos, e) < 0)
		return -1;
	t->n_vocab = (uint32_t)vocab;
	t->n_ctx = (uint32_t)ctx;
	t->bos = (uint32_t)bos;
	t->eos = (uint32_t)eos;
	return 0;
}

struct rec_tokens_in *rec_tokens_open(const char *path,
                                      struct rec_tokens_head *h,
                                      struct err *e)
{
	struct stream_in *s = stream_open_in(path, "tokens/1", e);

	return s ? rec_tokens_on(s, h, e) : NULL;
}

struct rec_tokens_in *rec_tokens_on(struct stream_in *s,
                                    struct rec_tokens_head *h, struct err *e)
{
	struct rec_tokens_in *r = mem_array(1, sizeof(*r), e);

	if (!r) {
		stream_close_in(s);
		return NULL;
	}
	r->b.s = s;
	if (rec_head_tokens(stream_header(s), &r->head, e) < 0) {
		err_wrap(e, "%s: header", stream_name(s));
		rec_tokens_close(r);
		return NULL;
	}
	*h = r->head;
	return r;
}

const struct stream_in *rec_tokens_stream(const struct rec_tokens_in *r)
{
	return r->b.s;
}

void rec_tokens_close(struct rec_tokens_in *r)
{
	if (!r)
		return;
	rec_base_close(&r->b);
	rec_text_free(&r->text);
	mem_free(r);
}

void rec_text_free(struct rec_text *x)
{
	mem_free(x->docs);
	mem_free(x->source);
}

/* docs: [[id, at, offset], ...], ascending by at. */
static int read_docs(struct rec_base *b, struct rec_text *x,
                     struct rec_tokens *t, struct err *e)
{
	const msgpack_object *items;
	size_t i, j;

	if (mpk_array(b->m.root, "docs", &items, &t->n_docs, e) < 0 ||
	    mem_grow(&x->docs, &x->docs_cap, t->n_docs, sizeof(*x->docs), e) < 0)
		return -1;
	for (i = 0; i < t->n_docs; i++) {
		const msgpack_object *d = &items[i], *v = d->via.array.ptr;
		struct rec_doc *doc = &x->docs[i];

		if (d->type != MSGPACK_OBJECT_ARRAY || d->via.array.size != 3)
			return err_set(e, ERR_FORMAT, "'docs'[%zu]: wanted "
			               "[id, at, offset], found %s", i,
			               mpk_type(d));
		for (j = 0; j < 3; j++)
			if (v[j].type != MSGPACK_OBJECT_POSITIVE_INTEGER ||
			    (j && v[j].via.u64 > UINT32_MAX))
				return err_set(e, ERR_FORMAT, "'docs'[%zu]: "
				               "wanted whole numbers", i);
		doc->id = v[0].via.u64;
		doc->at = (uint32_t)v[1].via.u64;
		doc->offset = (uint32_t)v[2].via.u64;
		if (i ? doc->at <= doc[-1].at : doc->at != 0)
			return err_set(e, ERR_FORMAT, "'docs'[%zu]: begins at "
			               "%u: wanted 0 first, then ascending", i,
			               doc->at);
	}
	if (t->n_docs == 0 || x->docs[t->n_docs - 1].at >= t->n)
		return err_set(e, ERR_FORMAT, "'docs': %zu of them do not fit "
		               "%zu ids", t->n_docs, t->n);
	t->docs = x->docs;
	return 0;
}

static int read_mask(struct rec_base *b, struct rec_tokens *t, struct err *e)
{
	size_t n, i;

	t->mask = NULL;
	if (!mpk_get(b->m.root, "mask"))
		return 0;
	if (mpk_bin(b->m.root, "mask", &t->mask, &n, e) < 0)
		return -1;
	if (n != t->n)
		return err_set(e, ERR_FORMAT, "'mask': wanted %zu values, "
		               "found %zu", t->n, n);
	for (i = 0; i < n; i++)
		if (t->mask[i] > REC_TEXT)
			return err_set(e, ERR_FORMAT, "'mask'[%zu]: %u is no "
			               "part of a chat", i, t->mask[i]);
	return 0;
}

static int read_source(struct rec_base *b, struct rec_text *x,
                       struct rec_tokens *t, struct err *e)
{
	const char *s;
	size_t n;

	t->source = "";
	if (!mpk_get(b->m.root, "source"))
		return 0;
	if (mpk_str(b->m.root, "source", &s, &n, e) < 0 ||
	    mem_grow(&x->source, &x->source_cap, n + 1, 1, e) < 0)
		return -1;
	memcpy(x->source, s, n);
	x->source[n] = 0;
	t->source = x->source;
	return 0;
}

int rec_text_read(struct rec_base *b, struct rec_text *x,
                  struct rec_tokens *t, struct err *e)
{
	if (read_docs(b, x, t, e) < 0 || read_mask(b, t, e) < 0)
		return -1;
	return read_source(b, x, t, e);
}

static int tokens_body(struct rec_tokens_in *r, struct rec_tokens *t,
                       struct err *e)
{
	size_t i;

	if (mpk_u64(r->b.m.root, "seq", UINT64_MAX, &t->seq, e) < 0 ||
	    rec_base_u32(&r->b, "ids", 0, &t->ids, &t->n, e) < 0)
		return -1;
	if (t->n < 1 || t->n > r->head.n_ctx)
		return err_set(e, ERR_RANGE, "'ids': wanted 1 to %u of them, "
		               "found %zu", r->head.n_ctx, t->n);
	for (i = 0; i < t->n; i++)
		if (t->ids[i] >= r->head.n_vocab)
			return err_set(e, ERR_RANGE, "'ids'[%zu]: %u is "
			               "outside the vocabulary of %u", i,
			               t->ids[i], r->head.n_vocab);
	return rec_text_read(&r->b, &r->text, t, e);
}

int rec_tokens_read(struct rec_tokens_in *r, struct rec_tokens *t,
                    struct err *e)
{
	struct err in = { 0 };
	int got = rec_base_next(&r->b, e);

	if (got == 1 && tokens_body(r, t, &in) < 0)
		return rec_base_bad(&r->b, &in, e);
	return got;
}

json_t *rec_tokens_header(const struct rec_tokens_head *h, struct err *e)
{
	json_t *j = json_pack("{s:s, s:I, s:I, s:b, s:s}", "tokenizer",
	                      h->tokenizer, "vocab", (json_int_t)h->n_vocab,
	                      "n_ctx", (json_int_t)h->n_ctx, "packed",
	                      h->packed, "dtype", "u32");

	if (j && h->bos != UINT32_MAX)
		json_object_set_new(j, "bos", json_integer(h->bos));
	if (j && h->eos != UINT32_MAX)
		json_object_set_new(j, "eos", json_integer(h->eos));
	if (!j)
		err_set(e, ERR_MEM, "out of memory");
	return j;
}

size_t rec_text_members(const struct rec_tokens *t)
{
	return 1u + (t->mask != NULL) + (t->source && *t->source);
}

int rec_text_put(struct mpk_out *o, const struct rec_tokens *t, struct err *e)
{
	size_t i;
	int rc;

	rc = mpk_put_str(o, "docs", e) | mpk_put_array(o, t->n_docs, e);
	for (i = 0; i < t->n_docs; i++)
		rc |= mpk_put_array(o, 3, e) |
		      mpk_put_u64(o, t->docs[i].id, e) |
		      mpk_put_u64(o, t->docs[i].at, e) |
		      mpk_put_u64(o, t->docs[i].offset, e);
	if (t->source && *t->source)
		rc |= mpk_put_str(o, "source", e) |
		      mpk_put_str(o, t->source, e);
	if (t->mask)
		rc |= mpk_put_str(o, "mask", e) |
		      mpk_put_bin(o, t->mask, t->n, e);
	return rc;
}

int rec_tokens_write(struct stream_out *s, const struct rec_tokens *t,
                     struct err *e)
{
	struct mpk_out o;
	int rc;

	mpk_out_init(&o);
	rc = mpk_put_map(&o, 2 + rec_text_members(t), e);
	rc |= mpk_put_str(&o, "seq", e) | mpk_put_u64(&o, t->seq, e);
	rc |= mpk_put_str(&o, "ids", e) |
	      mpk_put_bin(&o, t->ids, t->n * sizeof(*t->ids), e);
	rc |= rec_text_put(&o, t, e);
	if (rc == 0)
		rc = stream_write(s, o.buf.data, o.buf.size, e);
	mpk_out_free(&o);
	return rc;
}

/* ---- acts/1 ---- */

struct rec_acts_in {
	struct rec_base b;
	struct rec_acts_head head;
};

int rec_head_layers(const json_t *h, uint32_t layers[REC_MAX_LAYERS],
                    uint32_t *n_layers, struct err *e)
{
	const json_t *list = json_object_get(h, "layers"), *v;
	size_t n = json_array_size(list), i;

	if (n < 1 || n > REC_MAX_LAYERS)
		return err_set(e, ERR_FORMAT, "'layers': wanted 1 to %d, "
		               "found %zu", REC_MAX_LAYERS, n);
	for (i = 0; i < n; i++) {
		v = json_array_get(list, i);
		if (!json_is_integer(v) || json_integer_value(v) < 0 ||
		    json_integer_value(v) > 65535 ||
		    (i && json_integer_value(v) <= layers[i - 1]))
			return err_set(e, ERR_FORMAT, "'layers'[%zu]: wanted "
			               "ascending layer numbers", i);
		layers[i] = (uint32_t)json_integer_value(v);
	}
	*n_layers = (uint32_t)n;
	return 0;
}

static int acts_head(const json_t *h, struct rec_acts_head *a, struct err *e)
{
	const char *site, *type;
	int64_t d_in, d_out;

	memset(a, 0, sizeof(*a));
	if (rec_head_hex(h, "model", a->model, e) < 0 ||
	    json_str(h, "site", "", &site, e) < 0 ||
	    json_str(h, "dtype", "", &type, e) < 0 ||
	    json_int(h, "d_in", 1, 1 << 20, -1, &d_in, e) < 0 ||
	    json_int(h, "d_out", 1, 1 << 20, -1, &d_out, e) < 0 ||
	    rec_head_layers(h, a->layers, &a->n_layers, e) < 0)
		return -1;
	if (strcmp(site, REC_SITE_MLP) != 0)
		return err_set(e, ERR_FORMAT, "'site': wanted \"" REC_SITE_MLP
		               "\" (mlp.hook_in, mlp.hook_out), found "
		               "\"%.32s\"", site);
	if (dtype_parse(type, &a->dtype) < 0 ||
	    (a->dtype != DT_F32 && a->dtype != DT_F16 && a->dtype != DT_BF16))
		return err_set(e, ERR_FORMAT, "'dtype': wanted f32, f16 or "
		               "bf16, found \"%.32s\"", type);
	strcpy(a->site, site);
	a->d_in = (uint32_t)d_in;
	a->d_out = (uint32_t)d_out;
	if (rec_head_tokens(json_object_get(h, "tokens"), &a->tokens, e) < 0)
		return err_wrap(e, "'tokens'");
	return 0;
}

struct rec_acts_in *rec_acts_open(const char *path, struct rec_acts_head *h,
                                  struct err *e)
{
	struct stream_in *s = stream_open_in(path, "acts/1", e);

	return s ? rec_acts_on(s, h, e) : NULL;
}

struct rec_acts_in *rec_acts_on(struct stream_in *s, struct rec_acts_head *h,
                                struct err *e)
{
	struct rec_acts_in *r = mem_array(1, sizeof(*r), e);

	if (!r) {
		stream_close_in(s);
		return NULL;
	}
	r->b.s = s;
	if (acts_head(stream_header(s), &r->head, e) < 0) {
		err_wrap(e, "%s: header", stream_name(s));
		rec_acts_close(r);
		return NULL;
	}
	*h = r->head;
	return r;
}

const struct stream_in *rec_acts_stream(const struct rec_acts_in *r)
{
	return r->b.s;
}

void rec_acts_close(struct rec_acts_in *r)
{
	if (!r)
		return;
	rec_base_close(&r->b);
	mem_free(r);
}

/* Index of the first value of n that is NaN or infinite, or n. An exponent of
 * all ones says so in each of the three types. */
static size_t first_bad_16(const uint8_t *p, size_t n, uint16_t mask)
{
	enum { BLOCK = 512 };
	uint16_t v[BLOCK];
	size_t at, i;

	for (at = 0; at < n; at += BLOCK) {
		size_t m = n - at < BLOCK ? n - at : BLOCK;
		unsigned bad = 0;

		memcpy(v, p + at * sizeof(*v), m * sizeof(*v));
		for (i = 0; i < m; i++)
			bad |= (v[i] & mask) == mask;
		for (i = 0; bad && i < m; i++)
			if ((v[i] & mask) == mask)
				return at + i;
	}
	return n;
}

static size_t first_bad_32(const uint8_t *p, size_t n)
{
	enum { BLOCK = 512 };
	const uint32_t mask = 0x7f800000;
	uint32_t v[BLOCK];
	size_t at, i;

	for (at = 0; at < n; at += BLOCK) {
		size_t m = n - at < BLOCK ? n - at : BLOCK;
		unsigned bad = 0;

		memcpy(v, p + at * sizeof(*v), m * sizeof(*v));
		for (i = 0; i < m; i++)
			bad |= (v[i] & mask) == mask;
		for (i = 0; bad && i < m; i++)
			if ((v[i] & mask) == mask)
				return at + i;
	}
	return n;
}

/* One of x, y: an array of one bin per layer. */
static int read_side(struct rec_acts_in *r, const char *key, size_t n,
                     size_t dim, const void **out, struct err *e)
{
	const struct rec_acts_head *h = &r->head;
	size_t n_values = n * dim, want = n_values * dtype_block_bytes(h->dtype);
	const msgpack_object *items;
	size_t n_items, i;

	if (mpk_array(r->b.m.root, key, &items, &n_items, e) < 0)
		return -1;
	if (n_items != h->n_layers)
		return err_set(e, ERR_FORMAT, "'%s': wanted %u layers, found "
		               "%zu", key, h->n_layers, n_items);
	for (i = 0; i < n_items; i++) {
		const msgpack_object *o = &items[i];
		const uint8_t *p = (const uint8_t *)o->via.bin.ptr;
		size_t bad;

		if (o->type != MSGPACK_OBJECT_BIN || o->via.bin.size != want)
			return err_set(e, ERR_FORMAT, "'%s'[%zu] (layer %u): "
			               "wanted a bin of %zu bytes, found %s of "
			               "%u", key, i, h->layers[i], want,
			               mpk_type(o),
			               o->type == MSGPACK_OBJECT_BIN ?
			               o->via.bin.size : 0);
		bad = h->dtype == DT_F32 ? first_bad_32(p, n_values) :
		      first_bad_16(p, n_values,
		                   h->dtype == DT_BF16 ? 0x7f80 : 0x7c00);
		if (bad < n_values)
			return err_set(e, ERR_FORMAT, "'%s', layer %u, "
			               "position %u, dimension %zu: NaN or "
			               "infinity", key, h->layers[i],
			               r->b.u32[0][bad / dim], bad % dim);
		out[i] = p;
	}
	return 0;
}

static int acts_body(struct rec_acts_in *r, struct rec_acts *a, struct err *e)
{
	const struct rec_acts_head *h = &r->head;
	size_t n_ids, i;

	if (mpk_u64(r->b.m.root, "seq", UINT64_MAX, &a->seq, e) < 0 ||
	    rec_base_u32(&r->b, "positions", 0, &a->positions, &a->n, e) < 0 ||
	    rec_base_u32(&r->b, "ids", 1, &a->ids, &n_ids, e) < 0)
		return -1;
	if (a->n < 1 || a->n != n_ids || a->n > h->tokens.n_ctx)
		return err_set(e, ERR_FORMAT, "wanted 1 to %u positions and as "
		               "many ids, found %zu and %zu", h->tokens.n_ctx,
		               a->n, n_ids);
	for (i = 0; i < a->n; i++)
		if (a->positions[i] >= h->tokens.n_ctx ||
		    (i && a->positions[i] <= a->positions[i - 1]) ||
		    a->ids[i] >= h->tokens.n_vocab)
			return err_set(e, ERR_FORMAT, "position %u, id %u: "
			               "wanted ascending positions below %u, "
			               "ids below %u", a->positions[i],
			               a->ids[i], h->tokens.n_ctx,
			               h->tokens.n_vocab);
	if (read_side(r, "x", a->n, h->d_in, a->x, e) < 0)
		return -1;
	return read_side(r, "y", a->n, h->d_out, a->y, e);
}

int rec_acts_read(struct rec_acts_in *r, struct rec_acts *a, struct err *e)
{
	struct err in = { 0 };
	int got = rec_base_next(&r->b, e);

	if (got == 1 && acts_body(r, a, &in) < 0)
		return rec_base_bad(&r->b, &in, e);
	return got;
}

json_t *rec_layers_json(const uint32_t *layers, uint32_t n)
{
	json_t *j = json_array();
	uint32_t i;

	for (i = 0; j && i < n; i++)
		json_array_append_new(j, json_integer(layers[i]));
	return j;
}

json_t *rec_acts_header(const struct rec_acts_head *h, struct err *e)
{
	json_t *tokens = rec_tokens_header(&h->tokens, e);
	json_t *j = json_pack("{s:s, s:s, s:s, s:I, s:I, s:o, s:o}", "model", h->model,
	              "site", h->site, "dtype", dtype_name(h->dtype), "d_in",
	              (json_int_t)h->d_in, "d_out", (json_int_t)h->d_out,
	              "layers", rec_layers_json(h->layers, h->n_layers),
	              "tokens", tokens);
	if (!j)
		err_set(e, ERR_MEM, "out of memory");
	return j;
}

static int write_side(struct mpk_out *o, const char *key,
                      const void *const *data, uint32_t n_layers, size_t bytes,
                      struct err *e)
{
	uint32_t i;

	if (mpk_put_str(o, key, e) < 0 || mpk_put_array(o, n_layers, e) < 0)
		return -1;
	for (i = 0; i < n_layers; i++)
		if (mpk_put_bin(o, data[i], bytes, e) < 0)
			return -1;
	return 0;
}

int rec_acts_write(struct stream_out *s, const struct rec_acts_head *h,
                   const struct rec_acts *a, struct err *e)
{
	size_t value = dtype_block_bytes(h->dtype);
	struct mpk_out o;
	int rc;

	mpk_out_init(&o);
	rc = mpk_put_map(&o, 5, e);
	rc |= mpk_put_str(&o, "seq", e) | mpk_put_u64(&o, a->seq, e);
	rc |= mpk_put_str(&o, "positions", e) |
	      mpk_put_bin(&o, a->positions, a->n * sizeof(*a->positions), e);
	rc |= mpk_put_str(&o, "ids", e) |
	      mpk_put_bin(&o, a->ids, a->n * sizeof(*a->ids), e);
	rc |= write_side(&o, "x", a->x, h->n_layers, a->n * h->d_in * value, e);
	rc |= write_side(&o, "y", a->y, h->n_layers, a->n * h->d_out * value, e);
	if (rc == 0)
		rc = stream_write(s, o.buf.data, o.buf.size, e);
	mpk_out_free(&o);
	return rc;
}
