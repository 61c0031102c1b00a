#include "examples.h"

#include <math.h>
#include <string.h>

#include "examples_impl.h"
#include "json.h"
#include "mem.h"

/* ---- reading ---- */

struct number {
	const char *key;
	size_t at;		/* of an uint32_t in the head */
	int64_t lo, hi;
};

#define NUMBER(k, m, lo, hi) { k, offsetof(struct examples_head, m), lo, hi }

static const struct number numbers[] = {
	NUMBER("n_latents", n_latents, 1, UINT32_MAX),
	NUMBER("k", k, 1, 1 << 20),
	NUMBER("skip", skip, 0, UINT32_MAX),
	NUMBER("before", before, 0, EXAMPLES_WINDOW_MAX / 2),
	NUMBER("after", after, 0, EXAMPLES_WINDOW_MAX / 2 - 1),
	NUMBER("top", n_top, 0, EXAMPLES_LIST_MAX),
	NUMBER("spare", n_spare, 0, EXAMPLES_LIST_MAX),
	NUMBER("sample", n_sample, 0, EXAMPLES_LIST_MAX),
	NUMBER("random", n_random, 0, EXAMPLES_LIST_MAX),
	NUMBER("per_doc", per_doc, 1, EXAMPLES_LIST_MAX),
	NUMBER("strata", n_strata, 1, EXAMPLES_LIST_MAX),
	NUMBER("logits", n_logits, 0, EXAMPLES_LOGITS_MAX),
	NUMBER("near", n_near, 0, EXAMPLES_LOGITS_MAX)
};

enum { N_NUMBERS = sizeof(numbers) / sizeof(*numbers) };

static int read_u64(const json_t *j, const char *key, uint64_t *out,
                    struct err *e)
{
	int64_t v;

	if (json_int(j, key, 0, INT64_MAX, -1, &v, e) < 0)
		return -1;
	*out = (uint64_t)v;
	return 0;
}

static int read_counts(const json_t *j, const char *key, uint32_t *out,
                       size_t n, uint64_t total, struct err *e)
{
	const json_t *a = json_object_get(j, key);
	uint64_t sum = 0;
	size_t i;

	if (json_array_size(a) != n)
		return err_set(e, ERR_FORMAT, "'%s': wanted %zu counts, found "
		               "%zu", key, n, json_array_size(a));
	for (i = 0; i < n; i++) {
		const json_t *v = json_array_get(a, i);

		if (!json_is_integer(v) || json_integer_value(v) < 0 ||
		    json_integer_value(v) > UINT32_MAX)
			return err_set(e, ERR_FORMAT, "'%s'[%zu]: wanted a "
			               "count", key, i);
		out[i] = (uint32_t)json_integer_value(v);
		sum += out[i];
	}
	if (sum != total)
		return err_set(e, ERR_FORMAT, "'%s': sums to %llu, 'positions' "
		               "is %llu", key, (unsigned long long)sum,
		               (unsigned long long)total);
	return 0;
}

static int read_parts(const json_t *j, struct examples_head *h, struct err *e)
{
	const json_t *a = json_object_get(j, "parts");
	size_t n = json_array_size(a), i;
	int64_t shards;

	if (json_int(j, "shards", 1, 1 << 20, 1, &shards, e) < 0)
		return -1;
	if (shards > 1 ? n < 1 || n >= (size_t)shards : a != NULL)
		return err_set(e, ERR_FORMAT, "'parts': %zu of %lld shards", n,
		               (long long)shards);
	h->n_shards = (uint32_t)shards;
	h->n_parts = shards > 1 ? (uint32_t)n : 1;
	if (!(h->parts = mem_array(h->n_parts, sizeof(*h->parts), e)))
		return -1;
	for (i = 0; i < n; i++) {
		const json_t *v = json_array_get(a, i);

		if (!json_is_integer(v) || json_integer_value(v) < 0 ||
		    json_integer_value(v) >= shards ||
		    (i && json_integer_value(v) <= h->parts[i - 1]))
			return err_set(e, ERR_FORMAT, "'parts'[%zu]: wanted "
			               "ascending numbers below %lld", i,
			               (long long)shards);
		h->parts[i] = (uint32_t)json_integer_value(v);
	}
	return 0;
}

int examples_head_read(const json_t *j, struct examples_head *h,
                       struct err *e)
{
	const char *name;
	size_t i;

	memset(h, 0, sizeof(*h));
	if (rec_head_hex(j, "model", h->model, e) < 0 ||
	    rec_head_hex(j, "transcoders", h->transcoders, e) < 0 ||
	    json_str(j, "model_name", "", &name, e) < 0 ||
	    rec_head_layers(j, h->layers, &h->n_layers, e) < 0 ||
	    read_u64(j, "seed", &h->seed, e) < 0)
		return -1;
	if (strlen(name) >= sizeof(h->model_name))
		return err_set(e, ERR_FORMAT, "'model_name': %zu bytes, wanted "
		               "fewer than %zu", strlen(name),
		               sizeof(h->model_name));
	strcpy(h->model_name, name);
	for (i = 0; i < N_NUMBERS; i++) {
		int64_t v;

		if (json_int(j, numbers[i].key, numbers[i].lo, numbers[i].hi,
		             -1, &v, e) < 0)
			return -1;
		*(uint32_t *)((char *)h + numbers[i].at) = (uint32_t)v;
	}
	if (read_u64(j, "sequences", &h->n_seqs, e) < 0 ||
	    read_u64(j, "documents", &h->n_docs, e) < 0 ||
	    read_u64(j, "positions", &h->n_positions, e) < 0 ||
	    read_counts(j, "by_pos", h->count.by_pos, EXAMPLES_POS,
	                h->n_positions, e) < 0 ||
	    read_counts(j, "by_mask", h->count.by_mask, EXAMPLES_MASKS,
	                h->n_positions, e) < 0 ||
	    read_counts(j, "by_doc", h->count.by_doc, EXAMPLES_DOCS,
	                h->n_positions, e) < 0 ||
	    read_parts(j, h, e) < 0)
		return -1;
	if (rec_head_tokens(json_object_get(j, "tokens"), &h->tokens, e) < 0)
		return err_wrap(e, "'tokens'");
	return 0;
}

void examples_head_free(struct examples_head *h)
{
	mem_free(h->parts);
	h->parts = NULL;
}

/* ---- writing ---- */

static json_t *counts_json(const uint32_t *v, size_t n)
{
	json_t *a = json_array();
	size_t i;

	for (i = 0; a && i < n; i++)
		json_array_append_new(a, json_integer(v[i]));
	return a;
}

json_t *examples_header(const struct examples_head *h, struct err *e)
{
	json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:o, s:I}",
	                      "model", h->model, "model_name", h->model_name,
	                      "transcoders", h->transcoders,
	                      "site", REC_SITE_MLP, "layers",
	                      rec_layers_json(h->layers, h->n_layers),
	                      "seed", (json_int_t)h->seed);
	size_t i;
	int rc = j ? 0 : -1;

	for (i = 0; j && i < N_NUMBERS; i++)
		rc |= json_object_set_new(j, numbers[i].key, json_integer(
			*(const uint32_t *)((const char *)h + numbers[i].at)));
	if (j && h->n_parts < h->n_shards)
		rc |= json_object_set_new(j, "shards",
		                          json_integer(h->n_shards)) |
		      json_object_set_new(j, "parts",
		                          counts_json(h->parts, h->n_parts));
	if (j)
		rc |= json_object_set_new(j, "sequences", json_integer(
		          (json_int_t)h->n_seqs)) |
		      json_object_set_new(j, "documents", json_integer(
		          (json_int_t)h->n_docs)) |
		      json_object_set_new(j, "positions", json_integer(
		          (json_int_t)h->n_positions)) |
		      json_object_set_new(j, "by_pos", counts_json(
		          h->count.by_pos, EXAMPLES_POS)) |
		      json_object_set_new(j, "by_mask", counts_json(
		          h->count.by_mask, EXAMPLES_MASKS)) |
		      json_object_set_new(j, "by_doc", counts_json(
		          h->count.by_doc, EXAMPLES_DOCS)) |
		      json_object_set_new(j, "tokens", rec_tokens_header(
		          &h->tokens, e));
	if (rc == 0)
		return j;
	json_decref(j);
	err_set(e, ERR_MEM, "no memory for the header (or a name that is not "
	        "UTF-8)");
	return NULL;
}

/* ---- arithmetic ---- */

const double examples_quantile_at[EXAMPLES_QUANTILES] = {
	0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99
};

/* An f32's exponent and the three bits under it are its bin. */
enum { BIN_SHIFT = 20, BIN_FIRST = (127 - 12) << 3 };

uint32_t examples_bin(float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof(bits));
	bits >>= BIN_SHIFT;
	if (value < 0 || bits < BIN_FIRST)
		return 0;
	bits -= BIN_FIRST;
	return bits < EXAMPLES_BINS ? bits : EXAMPLES_BINS - 1;
}

double examples_edge(uint32_t i)
{
	return ldexp(1 + (i % 8) / 8.0, (int)(i / 8) - 12);
}

uint32_t examples_pos_bin(uint32_t pos)
{
	uint32_t bin = 0;

	while (pos && bin < EXAMPLES_POS - 1) {
		pos >>= 1;
		bin++;
	}
	return bin;
}

void examples_sum_join(struct examples_sum *s, const struct examples_sum *o)
{
	s->hi += o->hi + __builtin_add_overflow(s->lo, o->lo, &s->lo);
}

void examples_sum_add(struct examples_sum *s, float value)
{
	double v = (double)value * 0x1p32;
	struct examples_sum one = { 0, v < 0x1p63 ? (uint64_t)(v + 0.5)
	                                          : UINT64_C(1) << 63 };

	examples_sum_join(s, &one);
}

double examples_sum_value(const struct examples_sum *s)
{
	return ldexp((double)s->hi, 32) + ldexp((double)s->lo, -32);
}

double examples_rank(const struct examples_stats *s, float v)
{
	uint32_t bin = examples_bin(v), i;
	double below = 0, lo = examples_edge(bin), hi = examples_edge(bin + 1);
	double part = (v - lo) / (hi - lo);

	for (i = 0; i < bin; i++)
		below += s->hist[i];
	below += s->hist[bin] * (part < 0 ? 0 : part > 1 ? 1 : part);
	return s->n_fired ? below / (double)s->n_fired : 0;
}

double examples_quantile(const struct examples_stats *s, double q)
{
	double want = q * (double)s->n_fired, below = 0, v;
	uint32_t i;

	for (i = 0; i < EXAMPLES_BINS - 1 && below + s->hist[i] < want; i++)
		below += s->hist[i];
	v = examples_edge(i);
	if (s->hist[i])
		v += (examples_edge(i + 1) - v) * (want - below) / s->hist[i];
	return v < s->max ? v : s->max;
}

static double entropy(const uint32_t *count, size_t n)
{
	double sum = 0, h = 0;
	size_t i;

	for (i = 0; i < n; i++)
		sum += count[i];
	for (i = 0; i < n; i++)
		if (count[i])
			h -= count[i] / sum * log2(count[i] / sum);
	return h > 0 ? h : 0;
}

void examples_derive(const struct examples_head *h,
                     const struct examples_stats *s,
                     struct examples_derived *d)
{
	double all = entropy(h->count.by_doc, EXAMPLES_DOCS);
	size_t i;

	memset(d, 0, sizeof(*d));
	if (!s->n_fired || !h->n_positions)
		return;
	d->frequency = (double)s->n_fired / (double)h->n_positions;
	d->mean = examples_sum_value(&s->sum) / (double)s->n_fired;
	for (i = 0; i < EXAMPLES_QUANTILES; i++)
		d->quantile[i] = examples_quantile(s, examples_quantile_at[i]);
	d->entropy = entropy(s->count.by_doc, EXAMPLES_DOCS);
	d->entropy_share = all > 0 ? d->entropy / all : 0;
	for (i = 0; i < EXAMPLES_MASKS; i++)
		d->share[i] = (double)s->count.by_mask[i] / (double)s->n_fired;
}
