#include "rec.h"

#include <math.h>
#include <string.h>

#include "json.h"
#include "mem.h"
#include "rec_impl.h"

struct rec_latents_in {
	struct rec_base b;
	struct rec_latents_head head;
	struct rec_text text;
	uint32_t *start, *latent;
	float *value;
	size_t cap_start, cap_latent, cap_value;
	uint64_t seq;		/* of the sequence at hand */
	uint32_t pos;		/* its next position, 0: a new one */
};

static int head_read(const json_t *j, struct rec_latents_head *h,
                     struct err *e)
{
	const char *name, *site;
	int64_t n, k, skip;

	memset(h, 0, sizeof(*h));
	if (rec_head_hex(j, "model", h->model, e) < 0 ||
	    rec_head_hex(j, "transcoders", h->transcoders, e) < 0 ||
	    json_str(j, "model_name", "", &name, e) < 0 ||
	    json_str(j, "site", "", &site, e) < 0 ||
	    rec_head_layers(j, h->layers, &h->n_layers, e) < 0 ||
	    json_int(j, "n_latents", 1, UINT32_MAX, -1, &n, e) < 0 ||
	    json_int(j, "k", 1, 1 << 20, -1, &k, e) < 0 ||
	    json_int(j, "skip", 0, UINT32_MAX, 0, &skip, e) < 0)
		return -1;
	if (strcmp(site, REC_SITE_MLP) != 0)
		return err_set(e, ERR_FORMAT, "'site': wanted \"" REC_SITE_MLP
		               "\", found \"%.32s\"", site);
	if (strlen(name) >= sizeof(h->model_name))
		return err_set(e, ERR_FORMAT, "'model_name': %zu bytes, wanted "
		               "fewer than %zu", strlen(name),
		               sizeof(h->model_name));
	strcpy(h->model_name, name);
	h->n_latents = (uint32_t)n;
	h->k = (uint32_t)k;
	h->skip = (uint32_t)skip;
	if (rec_head_tokens(json_object_get(j, "tokens"), &h->tokens, e) < 0)
		return err_wrap(e, "'tokens'");
	return 0;
}

struct rec_latents_in *rec_latents_open(const char *path,
                                        struct rec_latents_head *h,
                                        struct err *e)
{
	struct stream_in *s = stream_open_in(path, "latents/1", e);

	return s ? rec_latents_on(s, h, e) : NULL;
}

struct rec_latents_in *rec_latents_on(struct stream_in *s,
                                      struct rec_latents_head *h,
                                      struct err *e)
{
	struct rec_latents_in *r = mem_array(1, sizeof(*r), e);

	if (!r) {
		stream_close_in(s);
		return NULL;
	}
	r->b.s = s;
	if (head_read(stream_header(s), &r->head, e) < 0) {
		err_wrap(e, "%s: header", stream_name(s));
		rec_latents_close(r);
		return NULL;
	}
	*h = r->head;
	return r;
}

const struct stream_in *rec_latents_stream(const struct rec_latents_in *r)
{
	return r->b.s;
}

void rec_latents_close(struct rec_latents_in *r)
{
	if (!r)
		return;
	rec_base_close(&r->b);
	rec_text_free(&r->text);
	mem_free(r->start);
	mem_free(r->latent);
	mem_free(r->value);
	mem_free(r);
}

/* ---- a record ---- */

static int slice(struct rec_latents_in *r, struct rec_latents *l,
                 struct err *e)
{
	const struct rec_latents_head *h = &r->head;
	const msgpack_object *root = r->b.m.root;
	struct rec_tokens *t = &l->t;
	uint64_t pos, last;
	size_t i;

	if (mpk_u64(root, "seq", UINT64_MAX, &t->seq, e) < 0 ||
	    mpk_u64(root, "pos", h->tokens.n_ctx - 1, &pos, e) < 0 ||
	    mpk_u64(root, "last", 1, &last, e) < 0 ||
	    rec_base_u32(&r->b, "ids", 0, &t->ids, &t->n, e) < 0)
		return -1;
	if (t->n < 1 || t->n > h->tokens.n_ctx - pos)
		return err_set(e, ERR_RANGE, "'ids': wanted 1 to %llu of them "
		               "from position %llu on, found %zu",
		               (unsigned long long)(h->tokens.n_ctx - pos),
		               (unsigned long long)pos, t->n);
	for (i = 0; i < t->n; i++)
		if (t->ids[i] >= h->tokens.n_vocab)
			return err_set(e, ERR_RANGE, "'ids'[%zu]: %u is "
			               "outside the vocabulary of %u", i,
			               t->ids[i], h->tokens.n_vocab);
	if (pos != r->pos || (pos && t->seq != r->seq))
		return err_set(e, ERR_FORMAT, "sequence %llu, position %llu: "
		               "wanted position %u of %s",
		               (unsigned long long)t->seq,
		               (unsigned long long)pos, r->pos,
		               r->pos ? "the sequence before" : "a sequence");
	l->pos = (uint32_t)pos;
	l->last = (int)last;
	return rec_text_read(&r->b, &r->text, t, e);
}

/* The bin of layer i under key: n values of 4 bytes, copied to `to` (NULL: only
 * looked at). */
static int layer_bin(const msgpack_object *items, const char *key, uint32_t i,
                     size_t n, void *to, struct err *e)
{
	const msgpack_object *o = &items[i];

	if (o->type != MSGPACK_OBJECT_BIN || o->via.bin.size != n * 4)
		return err_set(e, ERR_FORMAT, "'%s'[%u]: wanted a bin of %zu "
		               "bytes, found %s of %u", key, i, n * 4,
		               mpk_type(o), o->type == MSGPACK_OBJECT_BIN ?
		               o->via.bin.size : 0);
	if (n && to)
		memcpy(to, o->via.bin.ptr, n * 4);
	return 0;
}

static int layer_array(struct rec_latents_in *r, const char *key,
                       const msgpack_object **items, struct err *e)
{
	size_t n;

	if (mpk_array(r->b.m.root, key, items, &n, e) < 0)
		return -1;
	if (n != r->head.n_layers)
		return err_set(e, ERR_FORMAT, "'%s': wanted %u layers, found "
		               "%zu", key, r->head.n_layers, n);
	return 0;
}

/* Counts per position into offsets, [n_layers][n + 1]. Their sum. */
static int starts(struct rec_latents_in *r, const struct rec_latents *l,
                  size_t *total, struct err *e)
{
	const struct rec_latents_head *h = &r->head;
	const msgpack_object *items;
	size_t n = l->t.n, i;
	uint32_t k;

	if (layer_array(r, "counts", &items, e) < 0)
		return -1;
	for (k = 0; k < h->n_layers; k++)	/* before memory is taken */
		if (layer_bin(items, "counts", k, n, NULL, e) < 0)
			return -1;
	if (mem_grow(&r->start, &r->cap_start, h->n_layers * (n + 1),
	             sizeof(*r->start), e) < 0)
		return -1;
	for (*total = 0, k = 0; k < h->n_layers; k++) {
		uint32_t *s = r->start + k * (n + 1);

		s[0] = 0;
		if (layer_bin(items, "counts", k, n, s + 1, e) < 0)
			return -1;
		for (i = 1; i <= n; i++) {
			if (s[i] > h->k || (l->pos + i <= h->skip && s[i]))
				return err_set(e, ERR_RANGE, "'counts'[%u]"
				               "[%zu]: %u active latents", k,
				               i - 1, s[i]);
			/* n <= 2^24 and k <= 2^20, but the latents are there */
			if (s[i] > UINT32_MAX - s[i - 1])
				return err_set(e, ERR_RANGE, "'counts'[%u]: "
				               "too many", k);
			s[i] += s[i - 1];
		}
		*total += s[n];
	}
	return 0;
}

static int check_layer(const struct rec_latents_head *h, uint32_t k,
                       const uint32_t *start, size_t n, const uint32_t *latent,
                       const float *value, struct err *e)
{
	size_t i, j;

	for (i = 0; i < n; i++)
		for (j = start[i]; j < start[i + 1]; j++) {
			if (latent[j] >= h->n_latents ||
			    (j > start[i] && latent[j] <= latent[j - 1]))
				return err_set(e, ERR_FORMAT, "layer %u, "
				               "position %zu of the block: "
				               "latent %u: wanted ascending "
				               "numbers below %u",
				               h->layers[k], i, latent[j],
				               h->n_latents);
			if (!(value[j] > 0) || !isfinite(value[j]))
				return err_set(e, ERR_FORMAT, "layer %u, "
				               "position %zu of the block, "
				               "latent %u: wanted a finite "
				               "value above 0", h->layers[k],
				               i, latent[j]);
		}
	return 0;
}

static int body(struct rec_latents_in *r, struct rec_latents *l,
                struct err *e)
{
	const struct rec_latents_head *h = &r->head;
	const msgpack_object *latents, *values;
	size_t total, at = 0, n;
	uint32_t k;

	if (slice(r, l, e) < 0 || layer_array(r, "latents", &latents, e) < 0 ||
	    layer_array(r, "values", &values, e) < 0)
		return -1;
	for (total = 0, k = 0; k < h->n_layers; k++)
		total += latents[k].type == MSGPACK_OBJECT_BIN ?
		         latents[k].via.bin.size / 4 : 0;
	if (mem_grow(&r->latent, &r->cap_latent, total, 4, e) < 0 ||
	    mem_grow(&r->value, &r->cap_value, total, 4, e) < 0)
		return -1;
	if (starts(r, l, &n, e) < 0)
		return -1;
	if (n != total)
		return err_set(e, ERR_FORMAT, "'latents': wanted %zu of them, "
		               "found %zu", n, total);
	for (k = 0; k < h->n_layers; k++) {
		const uint32_t *s = r->start + k * (l->t.n + 1);

		n = s[l->t.n];
		/* at + n <= total only if each layer has what it counts */
		if (n > total - at ||
		    layer_bin(latents, "latents", k, n, r->latent + at,
		              e) < 0 ||
		    layer_bin(values, "values", k, n, r->value + at, e) < 0)
			return n > total - at ?
			       err_set(e, ERR_FORMAT, "'latents'[%u]: wanted "
			               "%zu of them", k, n) : -1;
		if (check_layer(h, k, s, l->t.n, r->latent + at, r->value + at,
		                e) < 0)
			return -1;
		l->start[k] = s;
		l->latent[k] = r->latent + at;
		l->value[k] = r->value + at;
		at += n;
	}
	r->seq = l->t.seq;
	r->pos = l->last ? 0 : l->pos + (uint32_t)l->t.n;
	return 0;
}

int rec_latents_read(struct rec_latents_in *r, struct rec_latents *l,
                     struct err *e)
{
	struct err in = { 0 };
	int got = rec_base_next(&r->b, e);

	if (got == 1 && body(r, l, &in) < 0)
		return rec_base_bad(&r->b, &in, e);
	if (got == 0 && r->pos)
		return err_set(e, ERR_FORMAT, "%s: ends within sequence %llu",
		               stream_name(r->b.s),
		               (unsigned long long)r->seq);
	return got;
}

/* ---- writing ---- */

json_t *rec_latents_header(const struct rec_latents_head *h, struct err *e)
{
	json_t *tokens = rec_tokens_header(&h->tokens, e);
	json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:o}",
	                      "model", h->model, "model_name", h->model_name,
	                      "transcoders", h->transcoders, "site",
	                      REC_SITE_MLP, "layers",
	                      rec_layers_json(h->layers, h->n_layers),
	                      "n_latents", (json_int_t)h->n_latents,
	                      "k", (json_int_t)h->k, "skip",
	                      (json_int_t)h->skip, "tokens", tokens);

	if (!j)
		err_set(e, ERR_MEM, "no memory for the header (or a name that "
		        "is not UTF-8)");
	return j;
}

int rec_latents_write(struct stream_out *s, const struct rec_latents_head *h,
                      const struct rec_latents *l, struct err *e)
{
	size_t n = l->t.n, i;
	uint32_t *count = mem_scratch(n, sizeof(*count), e);
	struct mpk_out o;
	uint32_t k;
	int rc;

	if (!count)
		return -1;
	mpk_out_init(&o);
	rc = mpk_put_map(&o, 7 + rec_text_members(&l->t), e);
	rc |= mpk_put_str(&o, "seq", e) | mpk_put_u64(&o, l->t.seq, e);
	rc |= mpk_put_str(&o, "pos", e) | mpk_put_u64(&o, l->pos, e);
	rc |= mpk_put_str(&o, "last", e) |
	      mpk_put_u64(&o, l->last != 0, e);
	rc |= mpk_put_str(&o, "ids", e) | mpk_put_bin(&o, l->t.ids, n * 4, e);
	rc |= rec_text_put(&o, &l->t, e);
	rc |= mpk_put_str(&o, "counts", e) | mpk_put_array(&o, h->n_layers, e);
	for (k = 0; k < h->n_layers; k++) {
		for (i = 0; i < n; i++)
			count[i] = l->start[k][i + 1] - l->start[k][i];
		rc |= mpk_put_bin(&o, count, n * 4, e);
	}
	rc |= mpk_put_str(&o, "latents", e) |
	      mpk_put_array(&o, h->n_layers, e);
	for (k = 0; k < h->n_layers; k++)
		rc |= mpk_put_bin(&o, l->latent[k], l->start[k][n] * 4ul, e);
	rc |= mpk_put_str(&o, "values", e) | mpk_put_array(&o, h->n_layers, e);
	for (k = 0; k < h->n_layers; k++)
		rc |= mpk_put_bin(&o, l->value[k], l->start[k][n] * 4ul, e);
	mem_free(count);
	if (rc == 0)
		rc = stream_write(s, o.buf.data, o.buf.size, e);
	mpk_out_free(&o);
	return rc;
}
