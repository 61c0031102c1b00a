/* TensorBoard's event files. Protocol buffers by hand: a key is the field's
 * number << 3 | 0 varint, 1 fixed64, 2 length-delimited, 5 fixed32. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "file.h"
#include "mem.h"
#include "track_impl.h"

struct bytes {
	uint8_t *p;
	size_t n, cap;
};

struct sink {
	char *path;
	FILE *f;
	struct bytes event, summary, value;
};

static int add(struct bytes *b, const void *data, size_t n, struct err *e)
{
	if (mem_grow(&b->p, &b->cap, b->n + n, 1, e) < 0)
		return -1;
	if (n)
		memcpy(b->p + b->n, data, n);
	b->n += n;
	return 0;
}

/* The low n bytes of v, the least first. */
static int add_fixed(struct bytes *b, uint64_t v, int n, struct err *e)
{
	uint8_t out[8];
	int i;

	for (i = 0; i < n; i++)
		out[i] = (uint8_t)(v >> 8 * i);
	return add(b, out, (size_t)n, e);
}

static int add_varint(struct bytes *b, uint64_t v, struct err *e)
{
	uint8_t out[10];
	size_t n = 0;

	do
		out[n++] = (uint8_t)((v & 0x7f) | (v > 0x7f) << 7);
	while (v >>= 7);
	return add(b, out, n, e);
}

static int add_block(struct bytes *b, int field, const void *data, size_t n,
                     struct err *e)
{
	if (add_varint(b, (uint64_t)field << 3 | 2, e) < 0 ||
	    add_varint(b, n, e) < 0)
		return -1;
	return add(b, data, n, e);
}

/* CRC-32C (RFC 3720), masked so that one over data holding another is safe. */
static uint32_t masked_crc(const uint8_t *p, size_t n)
{
	uint32_t c = 0xffffffff;
	int k;

	while (n--) {
		c ^= *p++;
		for (k = 0; k < 8; k++)
			c = c >> 1 ^ (c & 1 ? 0x82f63b78 : 0);
	}
	c = ~c;
	return (c >> 15 | c << 17) + 0xa282ead8;
}

static int write_record(struct sink *s, struct err *e)
{
	struct bytes frame = { 0 };
	int rc = -1;

	if (add_fixed(&frame, s->event.n, 8, e) < 0 ||
	    add_fixed(&frame, masked_crc(frame.p, 8), 4, e) < 0 ||
	    add(&frame, s->event.p, s->event.n, e) < 0 ||
	    add_fixed(&frame, masked_crc(s->event.p, s->event.n), 4, e) < 0)
		goto done;
	if (fwrite(frame.p, 1, frame.n, s->f) != frame.n)
		err_sys(e, "%s", s->path);
	else
		rc = 0;
done:
	mem_free(frame.p);
	return rc;
}

/* An event up to its contents. */
static int begin_event(struct sink *s, double time_s, struct err *e)
{
	uint64_t bits;

	memcpy(&bits, &time_s, sizeof(bits));
	s->event.n = 0;
	if (add_varint(&s->event, 1 << 3 | 1, e) < 0)
		return -1;
	return add_fixed(&s->event, bits, 8, e);
}

static int tb_put(void *state, const struct track_entry *t, struct err *e)
{
	struct sink *s = state;
	size_t i;

	s->summary.n = 0;
	for (i = 0; i < t->n; i++) {
		const struct track_point *p = &t->point[i];
		float v = (float)p->value;
		uint32_t bits;

		memcpy(&bits, &v, sizeof(bits));
		s->value.n = 0;
		if (add_block(&s->value, 1, p->tag, strlen(p->tag), e) < 0 ||
		    add_varint(&s->value, 2 << 3 | 5, e) < 0 ||
		    add_fixed(&s->value, bits, 4, e) < 0 ||
		    add_block(&s->summary, 1, s->value.p, s->value.n, e) < 0)
			return -1;
	}
	if (begin_event(s, t->time_s, e) < 0 ||
	    add_varint(&s->event, 2 << 3, e) < 0 ||
	    add_varint(&s->event, (uint64_t)t->step, e) < 0 ||
	    add_block(&s->event, 5, s->summary.p, s->summary.n, e) < 0)
		return -1;
	return write_record(s, e);
}

static int tb_flush(void *state, struct err *e)
{
	struct sink *s = state;

	return fflush(s->f) == EOF ? err_sys(e, "%s", s->path) : 0;
}

static void tb_close(void *state)
{
	struct sink *s = state;

	if (s->f)
		fclose(s->f);
	mem_free(s->path);
	mem_free(s->event.p);
	mem_free(s->summary.p);
	mem_free(s->value.p);
	mem_free(s);
}

static void *tb_open(const struct track_opt *o, struct err *e)
{
	static const char version[] = "brain.Event:2";
	struct sink *s = mem_array(1, sizeof(*s), e);

	if (!s)
		return NULL;
	s->path = mem_printf(e, "%s/%s/events.out.tfevents.%010.0f.r1", o->out,
	                     o->run, o->now_s);
	if (!s->path || file_mkparents(s->path, e) < 0)
		goto fail;
	if (!(s->f = fopen(s->path, "wb"))) {
		err_sys(e, "%s", s->path);
		goto fail;
	}
	if (begin_event(s, o->now_s, e) < 0 ||
	    add_block(&s->event, 3, version, sizeof(version) - 1, e) < 0 ||
	    write_record(s, e) < 0 || tb_flush(s, e) < 0)
		goto fail;
	return s;
fail:
	tb_close(s);
	return NULL;
}

const struct track_sink track_tensorboard = {
	tb_open, tb_put, tb_flush, NULL, tb_close
};
