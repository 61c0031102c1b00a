#include "mpk.h"

#include <math.h>
#include <string.h>

#include "mem.h"

/* ---- finding the end of an object ---- */

static uint64_t be(const uint8_t *p, int n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | *p++;
	return v;
}

/* What a first byte promises. */
struct head {
	int n_length;		/* bytes of the length field */
	uint64_t body;		/* payload bytes, without a length field */
	uint64_t children;	/* values inside, without a length field */
	enum { PLAIN, BYTES, ARRAY, MAP, BAD } kind;
};

static struct head head_of(uint8_t b)
{
	static const uint8_t numbers[] = { 4, 8, 1, 2, 4, 8, 1, 2, 4, 8 };

	if (b < 0x80 || b >= 0xe0)
		return (struct head){ 0, 0, 0, PLAIN };
	if (b < 0x90)
		return (struct head){ 0, 0, 2 * (b & 15u), MAP };
	if (b < 0xa0)
		return (struct head){ 0, 0, b & 15u, ARRAY };
	if (b < 0xc0)
		return (struct head){ 0, b & 31u, 0, PLAIN };
	if (b == 0xc1)
		return (struct head){ 0, 0, 0, BAD };
	if (b <= 0xc3)
		return (struct head){ 0, 0, 0, PLAIN };
	if (b <= 0xc6)
		return (struct head){ 1 << (b - 0xc4), 0, 0, BYTES };
	if (b <= 0xc9)		/* ext: length, a type byte, payload */
		return (struct head){ 1 << (b - 0xc7), 1, 0, BYTES };
	if (b <= 0xd3)
		return (struct head){ 0, numbers[b - 0xca], 0, PLAIN };
	if (b <= 0xd8)
		return (struct head){ 0, 1 + (1u << (b - 0xd4)), 0, PLAIN };
	if (b <= 0xdb)
		return (struct head){ 1 << (b - 0xd9), 0, 0, BYTES };
	if (b <= 0xdd)
		return (struct head){ 2 << (b - 0xdc), 0, 0, ARRAY };
	return (struct head){ 2 << (b - 0xde), 0, 0, MAP };
}

/* Closes the levels that the value just read completed. */
static void close_levels(struct mpk_scan *s)
{
	while (s->depth && --s->left[s->depth - 1] == 0)
		s->depth--;
}

int mpk_scan(struct mpk_scan *s, const uint8_t *data, size_t n, size_t max,
             size_t *len, struct err *e)
{
	while (!s->begun || s->depth) {
		struct head h;
		uint64_t value;
		size_t body;

		*len = s->at + 1;
		if (s->at >= n)
			return 0;
		h = head_of(data[s->at]);
		if (h.kind == BAD)
			return err_set(e, ERR_FORMAT,
			               "byte %zu: 0xc1 is no msgpack", s->at);
		*len += (size_t)h.n_length;
		if (*len > n)
			return 0;
		value = be(data + s->at + 1, h.n_length);
		if (h.kind == ARRAY || h.kind == MAP)
			h.children += h.kind == MAP ? 2 * value : value;
		else
			h.body += value;
		if (h.body > max || *len > max - h.body)
			return err_set(e, ERR_RANGE, "byte %zu: an object "
			               "beyond %zu bytes", s->at, max);
		body = (size_t)h.body;
		/* The walk may stand past n; the caller brings the rest. */
		s->begun = 1;
		if (++s->items > MPK_ITEMS ||
		    h.children > MPK_ITEMS - s->items)
			return err_set(e, ERR_RANGE, "byte %zu: over %d values "
			               "in one object", s->at, MPK_ITEMS);
		if (h.children) {
			if (s->depth == MPK_DEPTH)
				return err_set(e, ERR_RANGE, "byte %zu: nested "
				               "deeper than %d", s->at,
				               MPK_DEPTH);
			s->left[s->depth++] = h.children;
		} else {
			close_levels(s);
		}
		s->at = *len + body;
	}
	*len = s->at;
	return s->at <= n;
}

/* ---- reading ---- */

int mpk_parse(struct mpk *m, const uint8_t *data, size_t n, struct err *e)
{
	struct mpk_scan s = { 0 };
	size_t len, off = 0;
	int got = mpk_scan(&s, data, n, n, &len, e);

	m->root = NULL;
	if (got < 0)
		return -1;
	if (!got || len != n)
		return err_set(e, ERR_FORMAT, "%zu bytes do not hold one object",
		               n);
	msgpack_unpacked_init(&m->u);
	got = msgpack_unpack_next(&m->u, (const char *)data, n, &off);
	if (got != MSGPACK_UNPACK_SUCCESS || off != n) {
		msgpack_unpacked_destroy(&m->u);
		if (got == MSGPACK_UNPACK_NOMEM_ERROR)
			return err_set(e, ERR_MEM, "out of memory");
		return err_set(e, ERR_FORMAT, "msgpack cannot be unpacked");
	}
	m->root = &m->u.data;
	return 0;
}

void mpk_free(struct mpk *m)
{
	if (m->root)
		msgpack_unpacked_destroy(&m->u);
	m->root = NULL;
}

const msgpack_object *mpk_get(const msgpack_object *map, const char *key)
{
	size_t n = strlen(key);
	uint32_t i;

	if (!map || map->type != MSGPACK_OBJECT_MAP)
		return NULL;
	for (i = 0; i < map->via.map.size; i++) {
		const msgpack_object_kv *kv = &map->via.map.ptr[i];

		if (kv->key.type == MSGPACK_OBJECT_STR &&
		    kv->key.via.str.size == n &&
		    memcmp(kv->key.via.str.ptr, key, n) == 0)
			return &kv->val;
	}
	return NULL;
}

const char *mpk_type(const msgpack_object *o)
{
	if (!o)
		return "nothing";
	switch (o->type) {
	case MSGPACK_OBJECT_NIL:
		return "nil";
	case MSGPACK_OBJECT_BOOLEAN:
		return "bool";
	case MSGPACK_OBJECT_POSITIVE_INTEGER:
	case MSGPACK_OBJECT_NEGATIVE_INTEGER:
		return "int";
	case MSGPACK_OBJECT_FLOAT32:
	case MSGPACK_OBJECT_FLOAT64:
		return "float";
	case MSGPACK_OBJECT_STR:
		return "str";
	case MSGPACK_OBJECT_ARRAY:
		return "array";
	case MSGPACK_OBJECT_MAP:
		return "map";
	case MSGPACK_OBJECT_BIN:
		return "bin";
	default:
		return "ext";
	}
}

static int wanted(const char *key, const char *what, const msgpack_object *o,
                  struct err *e)
{
	return err_set(e, ERR_FORMAT, "'%s': wanted %s, found %s", key, what,
	               mpk_type(o));
}

int mpk_u64(const msgpack_object *map, const char *key, uint64_t max,
            uint64_t *out, struct err *e)
{
	const msgpack_object *o = mpk_get(map, key);

	if (!o || o->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
		return wanted(key, "a whole number", o, e);
	if (o->via.u64 > max)
		return err_set(e, ERR_RANGE, "'%s': wanted at most %llu, "
		               "found %llu", key, (unsigned long long)max,
		               (unsigned long long)o->via.u64);
	*out = o->via.u64;
	return 0;
}

int mpk_str(const msgpack_object *map, const char *key, const char **s,
            size_t *n, struct err *e)
{
	const msgpack_object *o = mpk_get(map, key);

	if (!o || o->type != MSGPACK_OBJECT_STR)
		return wanted(key, "a str", o, e);
	*s = o->via.str.ptr;
	*n = o->via.str.size;
	return 0;
}

int mpk_bin(const msgpack_object *map, const char *key, const uint8_t **p,
            size_t *n, struct err *e)
{
	const msgpack_object *o = mpk_get(map, key);

	if (!o || o->type != MSGPACK_OBJECT_BIN)
		return wanted(key, "a bin", o, e);
	*p = (const uint8_t *)o->via.bin.ptr;
	*n = o->via.bin.size;
	return 0;
}

int mpk_array(const msgpack_object *map, const char *key,
              const msgpack_object **items, size_t *n, struct err *e)
{
	const msgpack_object *o = mpk_get(map, key);

	if (!o || o->type != MSGPACK_OBJECT_ARRAY)
		return wanted(key, "an array", o, e);
	*items = o->via.array.ptr;
	*n = o->via.array.size;
	return 0;
}

/* ---- JSON ---- */

static const char base64[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static json_t *bin_to_json(const uint8_t *p, size_t n, struct err *e)
{
	char *text = mem_scratch(n / 3 + 1, 4, e), *w = text;
	json_t *j;

	if (!text)
		return NULL;
	for (; n; n = n > 3 ? n - 3 : 0, p += 3) {
		uint32_t v = (uint32_t)p[0] << 16 |
		             (n > 1 ? (uint32_t)p[1] << 8 : 0) |
		             (n > 2 ? p[2] : 0u);

		*w++ = base64[v >> 18];
		*w++ = base64[v >> 12 & 63];
		*w++ = n > 1 ? base64[v >> 6 & 63] : '=';
		*w++ = n > 2 ? base64[v & 63] : '=';
	}
	j = json_pack("{s:s%}", "bin", text, (size_t)(w - text));
	mem_free(text);
	if (!j)
		err_set(e, ERR_MEM, "out of memory");
	return j;
}

static json_t *str_to_json(const msgpack_object_str *s, struct err *e)
{
	json_t *j = json_stringn(s->ptr ? s->ptr : "", s->size);

	if (!j)
		err_set(e, ERR_FORMAT, "a str that is not UTF-8");
	return j;
}

static json_t *array_to_json(const msgpack_object *o, struct err *e)
{
	json_t *out = json_array();
	uint32_t i;

	for (i = 0; out && i < o->via.array.size; i++) {
		json_t *v = mpk_to_json(&o->via.array.ptr[i], e);

		if (!v || json_array_append_new(out, v) < 0) {
			if (v)
				err_set(e, ERR_MEM, "out of memory");
			json_decref(out);
			return NULL;
		}
	}
	if (!out)
		err_set(e, ERR_MEM, "out of memory");
	return out;
}

int mpk_set_json(json_t *out, const msgpack_object *key, json_t *v,
                 struct err *e)
{
	const msgpack_object_str *k = &key->via.str;
	char *name = NULL;
	int rc = -1;

	if (!v)
		return -1;
	if (key->type != MSGPACK_OBJECT_STR ||
	    (k->size && memchr(k->ptr, 0, k->size)))
		err_set(e, ERR_FORMAT, "a map key: wanted a str, found %s",
		        mpk_type(key));
	else if ((name = mem_strndup(k->size ? k->ptr : "", k->size, e)))
		rc = 0;
	if (rc == 0 && (json_object_get(out, name) ||
	                json_object_set(out, name, v) < 0))
		rc = err_set(e, ERR_FORMAT, "map key '%s' is no UTF-8 or "
		             "stands twice", name);
	json_decref(v);
	mem_free(name);
	return rc;
}

static json_t *map_to_json(const msgpack_object *o, struct err *e)
{
	json_t *out = json_object();
	uint32_t i;

	for (i = 0; out && i < o->via.map.size; i++)
		if (mpk_set_json(out, &o->via.map.ptr[i].key,
		                 mpk_to_json(&o->via.map.ptr[i].val, e),
		                 e) < 0) {
			json_decref(out);
			return NULL;
		}
	if (!out)
		err_set(e, ERR_MEM, "out of memory");
	return out;
}

json_t *mpk_to_json(const msgpack_object *o, struct err *e)
{
	json_t *j = NULL;

	switch (o->type) {
	case MSGPACK_OBJECT_NIL:
		j = json_null();
		break;
	case MSGPACK_OBJECT_BOOLEAN:
		j = json_boolean(o->via.boolean);
		break;
	case MSGPACK_OBJECT_POSITIVE_INTEGER:
		if (o->via.u64 > INT64_MAX) {
			err_set(e, ERR_RANGE, "an integer above 2^63");
			return NULL;
		}
		j = json_integer((json_int_t)o->via.u64);
		break;
	case MSGPACK_OBJECT_NEGATIVE_INTEGER:
		j = json_integer(o->via.i64);
		break;
	case MSGPACK_OBJECT_FLOAT32:
	case MSGPACK_OBJECT_FLOAT64:
		if (!isfinite(o->via.f64)) {
			err_set(e, ERR_FORMAT, "a float that is not finite");
			return NULL;
		}
		j = json_real(o->via.f64);
		break;
	case MSGPACK_OBJECT_STR:
		return str_to_json(&o->via.str, e);
	case MSGPACK_OBJECT_BIN:
		return bin_to_json((const uint8_t *)o->via.bin.ptr,
		                   o->via.bin.size, e);
	case MSGPACK_OBJECT_ARRAY:
		return array_to_json(o, e);
	case MSGPACK_OBJECT_MAP:
		return map_to_json(o, e);
	default:
		err_set(e, ERR_FORMAT, "msgpack ext is not used here");
		return NULL;
	}
	if (!j)
		err_set(e, ERR_MEM, "out of memory");
	return j;
}

/* ---- writing ---- */

void mpk_out_init(struct mpk_out *o)
{
	msgpack_sbuffer_init(&o->buf);
	msgpack_packer_init(&o->pk, &o->buf, msgpack_sbuffer_write);
}

void mpk_out_reset(struct mpk_out *o)
{
	msgpack_sbuffer_clear(&o->buf);
}

void mpk_out_free(struct mpk_out *o)
{
	msgpack_sbuffer_destroy(&o->buf);
}

static int packed(int rc, struct err *e)
{
	return rc == 0 ? 0 : err_set(e, ERR_MEM, "out of memory");
}

static int fits(size_t n, struct err *e)
{
	if (n > UINT32_MAX)
		return err_set(e, ERR_RANGE, "msgpack holds at most 2^32 - 1 "
		               "of anything, not %zu", n);
	return 0;
}

int mpk_put_str(struct mpk_out *o, const char *s, struct err *e)
{
	size_t n = strlen(s);

	if (fits(n, e) < 0)
		return -1;
	return packed(msgpack_pack_str(&o->pk, n) |
	              msgpack_pack_str_body(&o->pk, s, n), e);
}

int mpk_put_u64(struct mpk_out *o, uint64_t v, struct err *e)
{
	return packed(msgpack_pack_uint64(&o->pk, v), e);
}

int mpk_put_i64(struct mpk_out *o, int64_t v, struct err *e)
{
	return packed(msgpack_pack_int64(&o->pk, v), e);
}

int mpk_put_real(struct mpk_out *o, double v, struct err *e)
{
	return packed(msgpack_pack_double(&o->pk, v), e);
}

int mpk_put_bool(struct mpk_out *o, int v, struct err *e)
{
	return packed(v ? msgpack_pack_true(&o->pk) :
	              msgpack_pack_false(&o->pk), e);
}

int mpk_put_bin(struct mpk_out *o, const void *p, size_t n, struct err *e)
{
	if (fits(n, e) < 0)
		return -1;
	return packed(msgpack_pack_bin(&o->pk, n) |
	              (n ? msgpack_pack_bin_body(&o->pk, p, n) : 0), e);
}

int mpk_put_array(struct mpk_out *o, size_t n, struct err *e)
{
	if (fits(n, e) < 0)
		return -1;
	return packed(msgpack_pack_array(&o->pk, n), e);
}

int mpk_put_map(struct mpk_out *o, size_t n, struct err *e)
{
	if (fits(n, e) < 0)
		return -1;
	return packed(msgpack_pack_map(&o->pk, n), e);
}

static int base64_value(char c)
{
	const char *p = c ? strchr(base64, c) : NULL;

	return p ? (int)(p - base64) : -1;
}

/* {"bin": "..."} back to bytes. */
static int put_base64(struct mpk_out *o, const char *s, size_t n,
                      struct err *e)
{
	uint8_t *bytes = mem_scratch(n / 4 + 1, 3, e), *w = bytes;
	size_t i;
	int rc;

	if (!bytes)
		return -1;
	for (i = 0; n % 4 == 0 && i < n; i += 4) {
		int last = i + 4 == n;
		int pad = last ? (s[i + 3] == '=') + (s[i + 2] == '=') : 0;
		int a = base64_value(s[i]), b = base64_value(s[i + 1]);
		int c = pad > 1 ? 0 : base64_value(s[i + 2]);
		int d = pad ? 0 : base64_value(s[i + 3]);

		if ((a | b | c | d) < 0)
			break;
		*w++ = (uint8_t)(a << 2 | b >> 4);
		if (pad < 2)
			*w++ = (uint8_t)(b << 4 | c >> 2);
		if (pad < 1)
			*w++ = (uint8_t)(c << 6 | d);
	}
	rc = i == n ? mpk_put_bin(o, bytes, (size_t)(w - bytes), e)
	            : err_set(e, ERR_FORMAT, "'bin' is not base64");
	mem_free(bytes);
	return rc;
}

static int put_object(struct mpk_out *o, const json_t *j, struct err *e)
{
	const json_t *bin = json_object_get(j, "bin"), *v;
	const char *key;

	if (json_object_size(j) == 1 && json_is_string(bin))
		return put_base64(o, json_string_value(bin),
		                  json_string_length(bin), e);
	if (mpk_put_map(o, json_object_size(j), e) < 0)
		return -1;
	json_object_foreach((json_t *)(uintptr_t)j, key, v)
		if (mpk_put_str(o, key, e) < 0 || mpk_put_json(o, v, e) < 0)
			return -1;
	return 0;
}

int mpk_put_json(struct mpk_out *o, const json_t *j, struct err *e)
{
	size_t i, n;

	switch (json_typeof(j)) {
	case JSON_NULL:
		return packed(msgpack_pack_nil(&o->pk), e);
	case JSON_TRUE:
		return packed(msgpack_pack_true(&o->pk), e);
	case JSON_FALSE:
		return packed(msgpack_pack_false(&o->pk), e);
	case JSON_INTEGER:
		return packed(msgpack_pack_int64(&o->pk,
		                                 json_integer_value(j)), e);
	case JSON_REAL:
		return packed(msgpack_pack_double(&o->pk, json_real_value(j)),
		              e);
	case JSON_STRING:
		n = json_string_length(j);
		return packed(msgpack_pack_str(&o->pk, n) |
		              msgpack_pack_str_body(&o->pk,
		                                    json_string_value(j), n),
		              e);
	case JSON_ARRAY:
		n = json_array_size(j);
		if (mpk_put_array(o, n, e) < 0)
			return -1;
		for (i = 0; i < n; i++)
			if (mpk_put_json(o, json_array_get(j, i), e) < 0)
				return -1;
		return 0;
	case JSON_OBJECT:
		return put_object(o, j, e);
	}
	return err_set(e, ERR_FORMAT, "JSON of no known type");
}
