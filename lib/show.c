#include "show.h"

#include <math.h>
#include <string.h>

#include "mem.h"
#include "tensor.h"

/* Which members of a kind's records, at any depth, are arrays in a bin (or
 * arrays of such bins), and of what. NULL: the header's "dtype" says. */
struct member {
	const char *kind, *key, *type;
};

static const struct member members[] = {
	{ "tokens/1", "ids", "u32" },
	{ "tokens/1", "mask", "u8" },
	{ "acts/1", "positions", "u32" },
	{ "acts/1", "ids", "u32" },
	{ "acts/1", "x", NULL },
	{ "acts/1", "y", NULL },
	{ "graph/1", "source", "u32" },
	{ "graph/1", "target", "u32" },
	{ "graph/1", "weight", "f32" },
	{ "latents/1", "ids", "u32" },
	{ "latents/1", "mask", "u8" },
	{ "latents/1", "counts", "u32" },
	{ "latents/1", "latents", "u32" },
	{ "latents/1", "values", "f32" },
	{ "examples/1", "ids", "u32" },
	{ "examples/1", "acts", "f32" },
	{ "examples/1", "hist", "u32" },
	{ "examples/1", "by_pos", "u32" },
	{ "examples/1", "by_mask", "u32" },
	{ "examples/1", "by_doc", "u32" },
	{ "examples/1", "random", "u32" },
	{ "examples/1", "top_ids", "u32" },
	{ "examples/1", "top_logits", "f32" },
	{ "examples/1", "bottom_ids", "u32" },
	{ "examples/1", "bottom_logits", "f32" },
	{ "examples/1", "near", "u32" },
	{ "examples/1", "near_cos", "f32" },
	{ "examples/1", "l0", "u32" },
	{ "examples/1", "freq_hist", "u32" },
	{ "examples/1", "fired_by_pos", "u32" },
};

/* The dtype of the values under key: 1 and *type, or 0: none known. */
static int type_of(const json_t *header, const char *key, size_t n_key,
                   enum dtype *type)
{
	const char *kind = json_string_value(json_object_get(header, "kind"));
	const char *own = json_string_value(json_object_get(header, "dtype"));
	size_t i;

	for (i = 0; kind && i < sizeof(members) / sizeof(*members); i++) {
		const struct member *m = &members[i];
		const char *name = m->type ? m->type : own;

		if (strcmp(m->kind, kind) || strlen(m->key) != n_key ||
		    memcmp(m->key, key, n_key) || !name)
			continue;
		if (dtype_parse(name, type) < 0)
			return 0;
		return *type == DT_U8 || *type == DT_U32 || *type == DT_F32 ||
		       *type == DT_F16 || *type == DT_BF16;
	}
	return 0;
}

/* ---- to JSON ---- */

static json_t *value_to_json(const uint8_t *p, enum dtype type)
{
	uint32_t u;
	uint16_t h;
	float f;

	switch (type) {
	case DT_U8:
		return json_integer(*p);
	case DT_U32:
		memcpy(&u, p, sizeof(u));
		return json_integer(u);
	case DT_F32:
		memcpy(&f, p, sizeof(f));
		break;
	default:
		memcpy(&h, p, sizeof(h));
		if (type == DT_F16)
			f32_from_f16(&h, 1, &f);
		else
			f32_from_bf16(&h, 1, &f);
	}
	return isfinite(f) ? json_real((double)f) : json_null();
}

/* Wraps the first values of something longer. */
static json_t *cut(size_t n, json_t *first)
{
	return json_pack("{s:I, s:o}", "n", (json_int_t)n, "first", first);
}

static json_t *bin_values(const msgpack_object_bin *b, enum dtype type,
                          size_t max_items)
{
	size_t size = dtype_block_bytes(type), n = b->size / size, i;
	size_t shown = n < max_items ? n : max_items;
	json_t *a = json_array();

	for (i = 0; a && i < shown; i++)
		if (json_array_append_new(a, value_to_json(
			(const uint8_t *)b->ptr + i * size, type)) < 0) {
			json_decref(a);
			return NULL;
		}
	return shown < n ? cut(n, a) : a;
}

/* A bin of values, or an array of them. NULL without e set: something else. */
static json_t *typed(const msgpack_object *o, enum dtype type,
                     size_t max_items)
{
	size_t n = o->type == MSGPACK_OBJECT_ARRAY ? o->via.array.size : 0, i;
	json_t *a;

	if (o->type == MSGPACK_OBJECT_BIN)
		return o->via.bin.size % dtype_block_bytes(type) ? NULL :
		       bin_values(&o->via.bin, type, max_items);
	if (o->type != MSGPACK_OBJECT_ARRAY)
		return NULL;
	a = json_array();
	for (i = 0; a && i < n && i < max_items; i++) {
		json_t *v = typed(&o->via.array.ptr[i], type, max_items);

		if (!v || json_array_append_new(a, v) < 0) {
			json_decref(a);
			return NULL;
		}
	}
	return n > max_items ? cut(n, a) : a;
}

/* Cuts long arrays and strings of plain JSON, in place of a new reference. */
static json_t *shorten(json_t *j, size_t max_items)
{
	size_t n = json_array_size(j), i;
	const char *key;
	json_t *v, *a;
	void *next;

	if (max_items == SHOW_ALL)
		return j;
	json_object_foreach_safe(j, next, key, v) {
		const char *text = json_string_value(v);

		/* Base64 that nobody reads: its length says enough. */
		if (!strcmp(key, "bin") && json_object_size(j) == 1 && text &&
		    strlen(text) > 4 * max_items) {
			json_t *s = json_pack("{s:I}", "bin_bytes", (json_int_t)
				(strlen(text) / 4 * 3 -
				 (strchr(text, '=') ? strlen(strchr(text, '='))
				  : 0)));

			json_decref(j);
			return s;
		}
		json_object_set_new(j, key, shorten(json_incref(v),
		                                    max_items));
	}
	if (n == 0)
		return j;
	a = json_array();
	for (i = 0; i < n && i < max_items; i++)
		json_array_append_new(a, shorten(json_incref(
			json_array_get(j, i)), max_items));
	json_decref(j);
	return n > max_items ? cut(n, a) : a;
}

static json_t *show_map(const json_t *header, const msgpack_object *map,
                        size_t max_items, struct err *e);

static int holds_maps(const msgpack_object *o)
{
	return o->type == MSGPACK_OBJECT_ARRAY && o->via.array.size &&
	       o->via.array.ptr[0].type == MSGPACK_OBJECT_MAP;
}

/* An array whose first element is a map. */
static json_t *show_maps(const json_t *header, const msgpack_object *o,
                         size_t max_items, struct err *e)
{
	size_t n = o->via.array.size, i;
	json_t *a = json_array();

	for (i = 0; a && i < n && i < max_items; i++) {
		const msgpack_object *x = &o->via.array.ptr[i];
		json_t *v = x->type == MSGPACK_OBJECT_MAP ?
		            show_map(header, x, max_items, e) :
		            mpk_to_json(x, e);

		if (!v || json_array_append_new(a, v) < 0) {
			json_decref(a);
			return NULL;
		}
	}
	return n > max_items ? cut(n, a) : a;
}

static json_t *show_map(const json_t *header, const msgpack_object *map,
                        size_t max_items, struct err *e)
{
	json_t *out = json_object();
	uint32_t i;

	for (i = 0; out && i < map->via.map.size; i++) {
		const msgpack_object_kv *kv = &map->via.map.ptr[i];
		const msgpack_object_str *k = &kv->key.via.str;
		enum dtype type;
		json_t *v = NULL;

		if (kv->key.type == MSGPACK_OBJECT_STR &&
		    type_of(header, k->ptr, k->size, &type))
			v = typed(&kv->val, type, max_items);
		if (!v && kv->val.type == MSGPACK_OBJECT_MAP)
			v = show_map(header, &kv->val, max_items, e);
		else if (!v && holds_maps(&kv->val))
			v = show_maps(header, &kv->val, max_items, e);
		else if (!v && (v = mpk_to_json(&kv->val, e)))
			v = shorten(v, max_items);
		if (mpk_set_json(out, &kv->key, v, e) < 0) {
			json_decref(out);
			return NULL;
		}
	}
	return out;
}

json_t *show_record(const json_t *header, const msgpack_object *record,
                    size_t max_items, struct err *e)
{
	if (record->type == MSGPACK_OBJECT_MAP)
		return show_map(header, record, max_items, e);
	err_set(e, ERR_FORMAT, "wanted a map, found %s", mpk_type(record));
	return NULL;
}

/* ---- and back ---- */

static int value_to_bytes(const json_t *v, enum dtype type, uint8_t *p)
{
	double d = json_number_value(v);
	float f = (float)d;
	uint32_t u;
	uint16_t h;

	if (type == DT_U8 || type == DT_U32) {
		if (!json_is_integer(v) || d < 0 ||
		    d > (type == DT_U8 ? UINT8_MAX : UINT32_MAX))
			return -1;
		u = (uint32_t)d;
		if (type == DT_U8)
			*p = (uint8_t)u;
		else
			memcpy(p, &u, sizeof(u));
		return 0;
	}
	if (!json_is_number(v) || !isfinite(f))
		return -1;
	if (type == DT_F32) {
		memcpy(p, &f, sizeof(f));
		return 0;
	}
	if (type == DT_F16)
		f16_from_f32(&f, 1, &h);
	else
		bf16_from_f32(&f, 1, &h);
	memcpy(p, &h, sizeof(h));
	return 0;
}

static int pack_typed(const char *key, const json_t *a, enum dtype type,
                      struct mpk_out *o, struct err *e)
{
	size_t n = json_array_size(a), size = dtype_block_bytes(type), i;
	uint8_t *bytes;
	int rc = 0;

	if (n && json_is_array(json_array_get(a, 0))) {
		if (mpk_put_array(o, n, e) < 0)
			return -1;
		for (i = 0; i < n; i++) {
			const json_t *v = json_array_get(a, i);

			if (!json_is_array(v))
				return err_set(e, ERR_FORMAT, "'%s'[%zu]: "
				               "wanted an array", key, i);
			if (pack_typed(key, v, type, o, e) < 0)
				return -1;
		}
		return 0;
	}
	bytes = mem_scratch(n, size, e);
	if (!bytes)
		return -1;
	for (i = 0; rc == 0 && i < n; i++)
		if (value_to_bytes(json_array_get(a, i), type,
		                   bytes + i * size) < 0)
			rc = err_set(e, ERR_FORMAT, "'%s'[%zu]: wanted a %s",
			             key, i, dtype_name(type));
	if (rc == 0)
		rc = mpk_put_bin(o, bytes, n * size, e);
	mem_free(bytes);
	return rc;
}

static int pack_map(const json_t *header, const json_t *map,
                    struct mpk_out *o, struct err *e);

/* A value under key. {"bin": base64} is mpk's. */
static int pack_value(const json_t *header, const char *key, const json_t *v,
                      struct mpk_out *o, struct err *e)
{
	size_t n = json_array_size(v), i;
	enum dtype type;

	if (json_is_array(v) && type_of(header, key, strlen(key), &type))
		return pack_typed(key, v, type, o, e);
	if (json_object_get(v, "first") && json_object_get(v, "n"))
		return err_set(e, ERR_FORMAT, "'%s' was cut when it was shown: "
		               "use --full", key);
	if (json_is_object(v) && !json_object_get(v, "bin"))
		return pack_map(header, v, o, e);
	if (!json_is_object(json_array_get(v, 0)))
		return mpk_put_json(o, v, e);
	if (mpk_put_array(o, n, e) < 0)
		return -1;
	for (i = 0; i < n; i++)
		if (pack_value(header, "", json_array_get(v, i), o, e) < 0)
			return -1;
	return 0;
}

static int pack_map(const json_t *header, const json_t *map,
                    struct mpk_out *o, struct err *e)
{
	const char *key;
	const json_t *v;

	if (mpk_put_map(o, json_object_size(map), e) < 0)
		return -1;
	json_object_foreach((json_t *)(uintptr_t)map, key, v)
		if (mpk_put_str(o, key, e) < 0 ||
		    pack_value(header, key, v, o, e) < 0)
			return -1;
	return 0;
}

int show_pack(const json_t *header, const json_t *record, struct mpk_out *o,
              struct err *e)
{
	if (!json_is_object(record))
		return err_set(e, ERR_FORMAT, "wanted a JSON object");
	return pack_map(header, record, o, e);
}
