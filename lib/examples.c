#include "examples.h"

#include <math.h>
#include <string.h>

#include "examples_impl.h"
#include "mem.h"

/* Slots of rec_base_u32 for what a record holds once. */
enum {
	SLOT_COUNT, SLOT_TOP_ID, SLOT_TOP, SLOT_BOTTOM_ID, SLOT_BOTTOM,
	SLOT_NEAR, SLOT_COS, SLOT_RANDOM
};

/* Contexts end to end, with what they point to. */
struct shelf {
	struct examples_one *one;
	size_t n, cap;
	uint32_t *ids;		/* of all of them */
	size_t n_ids, cap_ids;
	float *acts;		/* beside ids, when has_acts */
	size_t cap_acts;
};

struct examples_in {
	struct rec_base b;
	struct examples_head head;
	struct shelf context;	/* all contexts, kept */
	struct shelf shelf;	/* the lists of the record at hand */
	struct examples_one *random;
	size_t cap_random;
	/* where in the stream we are */
	int begun;		/* a latent has come */
	uint32_t layer, latent;	/* wanted next: index into head.layers */
};

static void shelf_free(struct shelf *s)
{
	mem_free(s->one);
	mem_free(s->ids);
	mem_free(s->acts);
}

/* ---- opening ---- */

struct examples_in *examples_open(const char *path, struct examples_head *h,
                                  struct err *e)
{
	struct stream_in *s = stream_open_in(path, "examples/1", e);

	if (s)
		return examples_on(s, h, e);
	memset(h, 0, sizeof(*h));
	return NULL;
}

struct examples_in *examples_on(struct stream_in *s, struct examples_head *h,
                                struct err *e)
{
	struct examples_in *r = mem_array(1, sizeof(*r), e);

	memset(h, 0, sizeof(*h));
	if (!r) {
		stream_close_in(s);
		return NULL;
	}
	r->b.s = s;
	if (examples_head_read(stream_header(s), &r->head, e) < 0) {
		err_wrap(e, "%s: header", stream_name(s));
		examples_close(r);
		return NULL;
	}
	*h = r->head;
	h->parts = mem_array(h->n_parts, sizeof(*h->parts), e);
	if (!h->parts) {
		examples_close(r);
		return NULL;
	}
	memcpy(h->parts, r->head.parts, h->n_parts * sizeof(*h->parts));
	return r;
}

const struct stream_in *examples_stream(const struct examples_in *r)
{
	return r->b.s;
}

void examples_close(struct examples_in *r)
{
	if (!r)
		return;
	rec_base_close(&r->b);
	shelf_free(&r->context);
	shelf_free(&r->shelf);
	mem_free(r->random);
	examples_head_free(&r->head);
	mem_free(r);
}

/* ---- members ---- */

static int get_u32(const msgpack_object *map, const char *key, uint32_t max,
                   uint32_t *out, struct err *e)
{
	uint64_t v;

	if (mpk_u64(map, key, max, &v, e) < 0)
		return -1;
	*out = (uint32_t)v;
	return 0;
}

static int get_sum(const msgpack_object *o, struct examples_sum *s,
                   struct err *e)
{
	const msgpack_object *v = o->via.array.ptr;

	if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size != 2 ||
	    v[0].type != MSGPACK_OBJECT_POSITIVE_INTEGER ||
	    v[1].type != MSGPACK_OBJECT_POSITIVE_INTEGER)
		return err_set(e, ERR_FORMAT, "a sum: wanted two whole "
		               "numbers, found %s", mpk_type(o));
	s->hi = v[0].via.u64;
	s->lo = v[1].via.u64;
	return 0;
}

/* n counts into out; they must sum to total unless that is UINT64_MAX. */
static int get_counts(struct examples_in *r, const char *key, uint32_t *out,
                      size_t n, uint64_t total, struct err *e)
{
	const uint32_t *v;
	uint64_t sum = 0;
	size_t got, i;

	if (rec_base_u32(&r->b, key, SLOT_COUNT, &v, &got, e) < 0)
		return -1;
	if (got != n)
		return err_set(e, ERR_FORMAT, "'%s': wanted %zu counts, found "
		               "%zu", key, n, got);
	for (i = 0; i < n; i++)
		sum += out[i] = v[i];
	if (total != UINT64_MAX && sum != total)
		return err_set(e, ERR_FORMAT, "'%s': sums to %llu, wanted "
		               "%llu", key, (unsigned long long)sum,
		               (unsigned long long)total);
	return 0;
}

static int get_floats(struct examples_in *r, const char *key, int slot,
                      const float **out, size_t n, struct err *e)
{
	const uint32_t *v;
	size_t got, i;

	if (rec_base_u32(&r->b, key, slot, &v, &got, e) < 0)
		return -1;
	if (got != n)
		return err_set(e, ERR_FORMAT, "'%s': wanted %zu values, found "
		               "%zu", key, n, got);
	*out = (const float *)(const void *)v;
	for (i = 0; i < n; i++)
		if (!isfinite((*out)[i]))
			return err_set(e, ERR_FORMAT, "'%s'[%zu]: NaN or "
			               "infinity", key, i);
	return 0;
}

/* Ids below `below`, at most max of them. */
static int get_ids(struct examples_in *r, const char *key, int slot,
                   const uint32_t **out, size_t *n, uint32_t below, size_t max,
                   struct err *e)
{
	size_t i;

	if (rec_base_u32(&r->b, key, slot, out, n, e) < 0)
		return -1;
	if (*n > max)
		return err_set(e, ERR_RANGE, "'%s': wanted at most %zu, found "
		               "%zu", key, max, *n);
	for (i = 0; i < *n; i++)
		if ((*out)[i] >= below)
			return err_set(e, ERR_RANGE, "'%s'[%zu]: wanted a "
			               "number below %u, found %u", key, i,
			               below, (*out)[i]);
	return 0;
}

/* ---- contexts ---- */

/* Copies a bin of 4-byte values behind the first `at` of a growing array. */
static int append(const msgpack_object *map, const char *key, void *buf,
                  size_t *cap, size_t at, size_t *n, struct err *e)
{
	const uint8_t *p;
	size_t bytes;

	if (mpk_bin(map, key, &p, &bytes, e) < 0)
		return -1;
	*n = bytes / 4;
	if (bytes % 4 || *n < 1 || *n > EXAMPLES_WINDOW_MAX)
		return err_set(e, ERR_FORMAT, "'%s': wanted 1 to %d values, "
		               "found %zu bytes", key, EXAMPLES_WINDOW_MAX,
		               bytes);
	if (mem_grow(buf, cap, at + *n, 4, e) < 0)
		return -1;
	memcpy(*(char **)buf + at * 4, p, bytes);
	return 0;
}

static int check_acts(const float *acts, const struct examples_one *x,
                      struct err *e)
{
	uint32_t i;

	for (i = 0; i < x->n; i++)
		if (!(acts[i] >= 0) || !isfinite(acts[i]))
			return err_set(e, ERR_FORMAT, "'acts'[%u]: wanted a "
			               "finite value, 0 or above", i);
	if (!(acts[x->at] > 0))
		return err_set(e, ERR_FORMAT, "'acts'[%u]: wanted the peak, "
		               "found 0", x->at);
	return 0;
}

/* One context of a map, put on the shelf; pointers are set by settle. */
static int get_one(struct examples_in *r, const msgpack_object *map,
                   struct shelf *s, int has_acts, struct err *e)
{
	const struct examples_head *h = &r->head;
	struct examples_one x = { 0 };
	uint32_t mask, i;
	size_t n, n_acts;

	if (map->type != MSGPACK_OBJECT_MAP)
		return err_set(e, ERR_FORMAT, "a context: wanted a map, found "
		               "%s", mpk_type(map));
	if (mpk_u64(map, "seq", UINT64_MAX, &x.seq, e) < 0 ||
	    mpk_u64(map, "doc", UINT64_MAX, &x.doc, e) < 0 ||
	    get_u32(map, "pos", h->tokens.n_ctx - 1, &x.pos, e) < 0 ||
	    get_u32(map, "mask", REC_TEXT, &mask, e) < 0 ||
	    append(map, "ids", &s->ids, &s->cap_ids, s->n_ids, &n, e) < 0 ||
	    get_u32(map, "at", (uint32_t)n - 1, &x.at, e) < 0 ||
	    (mpk_get(map, "origin") &&
	     mpk_u64(map, "origin", UINT64_MAX, &x.origin, e) < 0))
		return -1;
	x.n = (uint32_t)n;
	x.mask = (uint8_t)mask;
	if (x.at > x.pos || x.at > h->before || x.n - 1 - x.at > h->after)
		return err_set(e, ERR_RANGE, "a context of %u tokens around "
		               "%u, at position %u: wanted %u before and %u "
		               "after at most", x.n, x.at, x.pos, h->before,
		               h->after);
	for (i = 0; i < x.n; i++)
		if (s->ids[s->n_ids + i] >= h->tokens.n_vocab)
			return err_set(e, ERR_RANGE, "'ids'[%u]: %u is outside "
			               "the vocabulary of %u", i,
			               s->ids[s->n_ids + i],
			               h->tokens.n_vocab);
	if (has_acts) {
		if (append(map, "acts", &s->acts, &s->cap_acts, s->n_ids,
		           &n_acts, e) < 0)
			return -1;
		if (n_acts != n)
			return err_set(e, ERR_FORMAT, "'acts': wanted %zu, "
			               "found %zu", n, n_acts);
		if (check_acts(s->acts + s->n_ids, &x, e) < 0)
			return -1;
		x.value = s->acts[s->n_ids + x.at];
	}
	if (mem_grow(&s->one, &s->cap, s->n + 1, sizeof(*s->one), e) < 0)
		return -1;
	s->one[s->n++] = x;
	s->n_ids += n;
	return 0;
}

/* Points the contexts at their tokens, which lie still now. */
static void settle(struct shelf *s, int has_acts)
{
	size_t at = 0, i;

	for (i = 0; i < s->n; i++) {
		s->one[i].ids = s->ids + at;
		s->one[i].acts = has_acts ? s->acts + at : NULL;
		at += s->one[i].n;
	}
}

static int read_context(struct examples_in *r, struct examples_context *c,
                        struct err *e)
{
	const struct examples_head *h = &r->head;
	const msgpack_object *root = r->b.m.root, *items;
	uint32_t number, i;
	size_t n;

	if (r->begun)
		return err_set(e, ERR_FORMAT, "a context behind latents");
	if (get_u32(root, "context", EXAMPLES_LIST_MAX * 16, &number, e) < 0)
		return -1;
	if (number != r->context.n)
		return err_set(e, ERR_FORMAT, "context %u, wanted %zu",
		               number, r->context.n);
	if (get_one(r, root, &r->context, 0, e) < 0 ||
	    mpk_array(root, "fired", &items, &n, e) < 0)
		return -1;
	if (n != h->n_layers)
		return err_set(e, ERR_FORMAT, "'fired': wanted %u layers, "
		               "found %zu", h->n_layers, n);
	for (i = 0; i < h->n_layers; i++) {
		if (items[i].type != MSGPACK_OBJECT_BIN ||
		    items[i].via.bin.size != examples_bits(h))
			return err_set(e, ERR_FORMAT, "'fired'[%u]: wanted a "
			               "bin of %zu bytes", i,
			               examples_bits(h));
		c->fired[i] = (const uint8_t *)items[i].via.bin.ptr;
	}
	settle(&r->context, 0);
	c->one = r->context.one[number];
	return 0;
}

/* ---- latents ---- */

static int by_value(const struct examples_one *x, size_t n, const char *key,
                    struct err *e)
{
	size_t i;

	for (i = 1; i < n; i++)
		if (x[i].value > x[i - 1].value)
			return err_set(e, ERR_FORMAT, "'%s'[%zu]: wanted "
			               "descending values", key, i);
	return 0;
}

static int read_lists(struct examples_in *r, struct examples_latent *l,
                      struct err *e)
{
	static const char *const keys[] = { "top", "spare", "sample" };
	const struct examples_head *h = &r->head;
	const uint32_t most[] = { h->n_top, h->n_spare + h->n_top,
	                          h->n_sample };
	struct shelf *s = &r->shelf;
	size_t n, i, j;

	s->n = s->n_ids = 0;
	for (i = 0; i < 3; i++) {
		const msgpack_object *items;

		if (mpk_array(r->b.m.root, keys[i], &items, &n, e) < 0)
			return -1;
		if (n > most[i])
			return err_set(e, ERR_RANGE, "'%s': wanted at most %u, "
			               "found %zu", keys[i], most[i], n);
		for (j = 0; j < n; j++)
			if (get_one(r, &items[j], s, 1, e) < 0)
				return err_wrap(e, "'%s'[%zu]", keys[i], j);
		l->n[i] = n;
	}
	settle(s, 1);
	for (i = n = 0; i < 3; n += l->n[i++]) {
		l->list[i] = s->one ? s->one + n : NULL;
		if (by_value(l->list[i], l->n[i], keys[i], e) < 0)
			return -1;
	}
	for (i = 0; i < s->n; i++)
		s->one[i].rank = (float)examples_rank(&l->s, s->one[i].value);
	n = l->n[EXAMPLES_SAMPLE];
	for (i = 0; i < n; i++)
		s->one[s->n - 1 - i].stratum =
			(uint32_t)(i * h->n_strata / n);
	return 0;
}

static int read_random(struct examples_in *r, struct examples_latent *l,
                       struct err *e)
{
	const uint32_t *number;
	size_t n, i;

	if (get_ids(r, "random", SLOT_RANDOM, &number, &n,
	            (uint32_t)r->context.n, r->head.n_random, e) < 0 ||
	    mem_grow(&r->random, &r->cap_random, n, sizeof(*r->random), e) < 0)
		return -1;
	for (i = 0; i < n; i++)
		r->random[i] = r->context.one[number[i]];
	l->list[EXAMPLES_RANDOM] = r->random;
	l->n[EXAMPLES_RANDOM] = n;
	return 0;
}

static int read_stats(struct examples_in *r, struct examples_stats *s,
                      struct err *e)
{
	const msgpack_object *root = r->b.m.root, *sum, *max;
	uint32_t first;
	uint64_t total = 0;
	const uint32_t *v;
	size_t n, i;

	if (mpk_u64(root, "fired", r->head.n_positions, &s->n_fired, e) < 0 ||
	    get_counts(r, "by_pos", s->count.by_pos, EXAMPLES_POS,
	               s->n_fired, e) < 0 ||
	    get_counts(r, "by_mask", s->count.by_mask, EXAMPLES_MASKS,
	               s->n_fired, e) < 0 ||
	    get_counts(r, "by_doc", s->count.by_doc, EXAMPLES_DOCS,
	               s->n_fired, e) < 0 ||
	    get_u32(root, "hist_at", EXAMPLES_BINS, &first, e) < 0 ||
	    rec_base_u32(&r->b, "hist", SLOT_COUNT, &v, &n, e) < 0)
		return -1;
	if (n > EXAMPLES_BINS - first)
		return err_set(e, ERR_RANGE, "'hist': %zu bins from %u on, "
		               "wanted %d in all", n, first, EXAMPLES_BINS);
	memset(s->hist, 0, sizeof(s->hist));
	for (i = 0; i < n; i++)
		total += s->hist[first + i] = v[i];
	if (total != s->n_fired)
		return err_set(e, ERR_FORMAT, "'hist': sums to %llu, 'fired' is "
		               "%llu", (unsigned long long)total,
		               (unsigned long long)s->n_fired);
	sum = mpk_get(root, "sum");
	max = mpk_get(root, "max");
	if (!sum || get_sum(sum, &s->sum, e) < 0)
		return sum ? -1 : err_set(e, ERR_FORMAT, "'sum' is missing");
	if (!max || (max->type != MSGPACK_OBJECT_FLOAT64 &&
	             max->type != MSGPACK_OBJECT_FLOAT32) ||
	    !(max->via.f64 >= 0) || !isfinite((float)max->via.f64))
		return err_set(e, ERR_FORMAT, "'max': wanted a finite number, "
		               "0 or above");
	s->max = (float)max->via.f64;
	return 0;
}

static int read_weights(struct examples_in *r, struct examples_latent *l,
                        struct err *e)
{
	const struct examples_head *h = &r->head;
	size_t n;

	if (get_ids(r, "top_ids", SLOT_TOP_ID, &l->top_id, &l->n_logits,
	            h->tokens.n_vocab, h->n_logits, e) < 0 ||
	    get_floats(r, "top_logits", SLOT_TOP, &l->top_logit, l->n_logits,
	               e) < 0 ||
	    get_ids(r, "bottom_ids", SLOT_BOTTOM_ID, &l->bottom_id, &n,
	            h->tokens.n_vocab, h->n_logits, e) < 0 ||
	    get_floats(r, "bottom_logits", SLOT_BOTTOM, &l->bottom_logit,
	               l->n_logits, e) < 0 ||
	    get_ids(r, "near", SLOT_NEAR, &l->near_id, &l->n_near,
	            h->n_latents, h->n_near, e) < 0 ||
	    get_floats(r, "near_cos", SLOT_COS, &l->near_cos, l->n_near,
	               e) < 0)
		return -1;
	if (n != l->n_logits)
		return err_set(e, ERR_FORMAT, "'bottom_ids': wanted %zu, found "
		               "%zu", l->n_logits, n);
	return 0;
}

/* Whose turn it is: layer (a number) and latent, or the layer's own record. */
static int check_turn(const struct examples_in *r, uint32_t layer,
                      struct err *e)
{
	const struct examples_head *h = &r->head;

	if (r->layer == h->n_layers)
		return err_set(e, ERR_FORMAT, "a record behind the last "
		               "layer's (shards are merged, not concatenated)");
	if (layer != h->layers[r->layer])
		return err_set(e, ERR_FORMAT, "layer %u, wanted %u", layer,
		               h->layers[r->layer]);
	return 0;
}

static int read_latent(struct examples_in *r, struct examples_latent *l,
                       struct err *e)
{
	const struct examples_head *h = &r->head;
	const msgpack_object *root = r->b.m.root;

	memset(l, 0, sizeof(*l));
	if (get_u32(root, "layer", UINT32_MAX, &l->layer, e) < 0 ||
	    get_u32(root, "latent", h->n_latents - 1, &l->latent, e) < 0 ||
	    check_turn(r, l->layer, e) < 0)
		return -1;
	if (l->latent != r->latent)
		return err_set(e, ERR_FORMAT, "layer %u, latent %u: wanted %u",
		               l->layer, l->latent, r->latent);
	if (read_stats(r, &l->s, e) < 0 || read_lists(r, l, e) < 0 ||
	    read_random(r, l, e) < 0 || read_weights(r, l, e) < 0)
		return err_wrap(e, "layer %u, latent %u", l->layer, l->latent);
	examples_derive(h, &l->s, &l->d);
	r->latent++;
	r->begun = 1;
	return 0;
}

/* ---- layers ---- */

static int read_layer(struct examples_in *r, struct examples_layer *l,
                      struct err *e)
{
	const struct examples_head *h = &r->head;
	const msgpack_object *root = r->b.m.root, *items;
	uint64_t total = 0;
	size_t n, i;

	memset(l, 0, sizeof(*l));
	if (get_u32(root, "layer", UINT32_MAX, &l->layer, e) < 0 ||
	    check_turn(r, l->layer, e) < 0)
		return -1;
	if (r->latent != h->n_latents)
		return err_set(e, ERR_FORMAT, "layer %u: ends before latent "
		               "%u of %u", l->layer, r->latent, h->n_latents);
	if (get_u32(root, "dead", h->n_latents, &l->n_dead, e) < 0 ||
	    get_counts(r, "freq_hist", l->freq_hist, EXAMPLES_FREQ_BINS,
	               h->n_latents - l->n_dead, e) < 0 ||
	    get_counts(r, "fired_by_pos", l->fired_by_pos, EXAMPLES_POS,
	               UINT64_MAX, e) < 0 ||
	    mpk_array(root, "sum_by_pos", &items, &n, e) < 0)
		return -1;
	if (n != EXAMPLES_POS)
		return err_set(e, ERR_FORMAT, "'sum_by_pos': wanted %d, found "
		               "%zu", EXAMPLES_POS, n);
	for (i = 0; i < n; i++)
		if (get_sum(&items[i], &l->sum_by_pos[i], e) < 0)
			return -1;
	if (rec_base_u32(&r->b, "l0", SLOT_COUNT, &l->l0, &n, e) < 0)
		return -1;
	if (n != (size_t)h->k + 1)
		return err_set(e, ERR_FORMAT, "'l0': wanted %u counts, found "
		               "%zu", h->k + 1, n);
	for (i = 0; i < n; i++)
		total += l->l0[i];
	if (total != h->n_positions)
		return err_set(e, ERR_FORMAT, "'l0': sums to %llu positions, "
		               "wanted %llu", (unsigned long long)total,
		               (unsigned long long)h->n_positions);
	r->layer++;
	r->latent = 0;
	r->begun = 1;
	return 0;
}

int examples_read(struct examples_in *r, struct examples_rec *x,
                  struct err *e)
{
	struct err in = { 0 };
	int got = rec_base_next(&r->b, e), rc;

	if (got < 0)
		return -1;
	if (got == 0) {
		if (r->layer == r->head.n_layers)
			return 0;
		return err_set(e, ERR_FORMAT, "%s: ends within layer %u",
		               stream_name(r->b.s), r->head.layers[r->layer]);
	}
	if (mpk_get(r->b.m.root, "context")) {
		x->what = EXAMPLES_CONTEXT;
		rc = read_context(r, &x->context, &in);
	} else if (mpk_get(r->b.m.root, "latent")) {
		x->what = EXAMPLES_LATENT;
		rc = read_latent(r, &x->latent, &in);
	} else {
		x->what = EXAMPLES_LAYER;
		rc = read_layer(r, &x->layer, &in);
	}
	return rc < 0 ? rec_base_bad(&r->b, &in, e) : 1;
}
