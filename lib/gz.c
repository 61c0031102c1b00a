#include "gz.h"

#include <stdint.h>
#include <string.h>
#include <zlib.h>

#include "file.h"
#include "mem.h"

enum { LEVEL = 6, PART = 64 << 10 };

static int start(z_stream *z, enum gz_form f, struct err *e)
{
	memset(z, 0, sizeof(*z));
	if (deflateInit2(z, LEVEL, Z_DEFLATED, f == GZ_GZIP ? 15 + 16 : 15, 8,
	                 Z_DEFAULT_STRATEGY) != Z_OK)
		return err_set(e, ERR_MEM, "no memory to compress");
	return 0;
}

int gz_pack(enum gz_form f, const void *data, size_t n, char **out,
            size_t *n_out, struct err *e)
{
	z_stream z;
	size_t room;
	int rc = -1;

	*out = NULL;
	if (n > UINT32_MAX)
		return err_set(e, ERR_RANGE, "%zu bytes are too many to "
		               "compress at once", n);
	if (start(&z, f, e) < 0)
		return -1;
	room = deflateBound(&z, n);
	if (room <= UINT32_MAX && (*out = mem_scratch(room, 1, e))) {
		z.next_in = (Bytef *)(uintptr_t)data;
		z.avail_in = (uInt)n;
		z.next_out = (Bytef *)*out;
		z.avail_out = (uInt)room;
		rc = deflate(&z, Z_FINISH) == Z_STREAM_END ? 0 : -1;
		*n_out = z.total_out;
	}
	if (rc < 0) {
		mem_free(*out);
		*out = NULL;
		err_set(e, ERR_MEM, "no memory to compress %zu bytes", n);
	}
	deflateEnd(&z);
	return rc;
}

struct gz_out {
	struct file_out *f;
	uint64_t at;
	z_stream z;
	unsigned char part[PART];
};

struct gz_out *gz_out_new(const char *path, struct err *e)
{
	struct gz_out *g = mem_array(1, sizeof(*g), e);

	if (!g)
		return NULL;
	if (start(&g->z, GZ_GZIP, e) < 0 || !(g->f = file_out_new(path, e))) {
		gz_out_free(g);
		return NULL;
	}
	return g;
}

/* Takes what is given, and all there is with Z_FINISH. */
static int feed(struct gz_out *g, int flush, struct err *e)
{
	size_t n;

	do {
		g->z.next_out = g->part;
		g->z.avail_out = PART;
		deflate(&g->z, flush);
		n = PART - g->z.avail_out;
		if (file_out_write(g->f, g->at, g->part, n, e) < 0)
			return -1;
		g->at += n;
	} while (g->z.avail_out == 0);
	return 0;
}

int gz_out_write(struct gz_out *g, const void *data, size_t n, struct err *e)
{
	const char *p = data;

	while (n) {
		uInt part = n < 1u << 30 ? (uInt)n : 1u << 30;

		g->z.next_in = (Bytef *)(uintptr_t)p;
		g->z.avail_in = part;
		if (feed(g, Z_NO_FLUSH, e) < 0)
			return -1;
		p += part;
		n -= part;
	}
	return 0;
}

int gz_out_commit(struct gz_out *g, struct err *e)
{
	g->z.avail_in = 0;
	return feed(g, Z_FINISH, e) < 0 ? -1 : file_out_commit(g->f, e);
}

void gz_out_free(struct gz_out *g)
{
	if (!g)
		return;
	deflateEnd(&g->z);
	file_out_free(g->f);
	mem_free(g);
}
