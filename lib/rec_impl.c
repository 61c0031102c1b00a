#include "rec_impl.h"

#include <math.h>
#include <string.h>

#include "mem.h"

void rec_base_close(struct rec_base *b)
{
	int i;

	mpk_free(&b->m);
	stream_close_in(b->s);
	for (i = 0; i < REC_BASE_SLOTS; i++)
		mem_free(b->u32[i]);
}

int rec_base_next(struct rec_base *b, struct err *e)
{
	const uint8_t *data;
	struct err in = { 0 };
	size_t n = 0;
	int got;

	mpk_free(&b->m);
	got = stream_read(b->s, &data, &n, e);
	if (got == 1 && mpk_parse(&b->m, data, n, &in) < 0)
		return stream_bad(b->s, e, "%s", in.msg);
	b->n = n;
	return got;
}

int rec_base_u32(struct rec_base *b, const char *key, int slot,
                 const uint32_t **out, size_t *n, struct err *e)
{
	const uint8_t *p;
	size_t bytes;

	if (mpk_bin(b->m.root, key, &p, &bytes, e) < 0)
		return -1;
	if (bytes % sizeof(uint32_t))
		return err_set(e, ERR_FORMAT, "'%s': %zu bytes are no whole "
		               "number of u32", key, bytes);
	*n = bytes / sizeof(uint32_t);
	if (mem_grow(&b->u32[slot], &b->cap[slot], *n, sizeof(uint32_t), e) < 0)
		return -1;
	if (bytes)
		memcpy(b->u32[slot], p, bytes);
	*out = b->u32[slot];
	return 0;
}

int rec_base_real(const msgpack_object *map, const char *key, int optional,
                  double *out, struct err *e)
{
	const msgpack_object *o = mpk_get(map, key);

	*out = NAN;
	if (optional && !o)
		return 0;
	if (o && o->type == MSGPACK_OBJECT_POSITIVE_INTEGER)
		*out = (double)o->via.u64;
	else if (o && o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
		*out = (double)o->via.i64;
	else if (o && (o->type == MSGPACK_OBJECT_FLOAT32 ||
	               o->type == MSGPACK_OBJECT_FLOAT64))
		*out = o->via.f64;
	if (!isfinite(*out))
		return err_set(e, ERR_FORMAT, "'%s': wanted a finite number, "
		               "found %s", key, mpk_type(o));
	return 0;
}

int rec_base_text(const char *s, size_t n, const char *key, char **at,
                  const char **out, struct err *e)
{
	if (memchr(s, 0, n))
		return err_set(e, ERR_FORMAT, "'%s' holds a NUL", key);
	memcpy(*at, s, n);
	(*at)[n] = 0;
	*out = *at;
	*at += n + 1;
	return 0;
}

int rec_base_bad(const struct rec_base *b, const struct err *in,
                 struct err *e)
{
	if (in->code == ERR_FORMAT || in->code == ERR_RANGE)
		return stream_bad(b->s, e, "%s", in->msg);
	if (e)
		*e = *in;
	return -1;
}
