#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attr_impl.h"
#include "mem.h"

/* ---- where things stand ---- */

size_t attr_steps_first(const struct attr_steps *s, size_t layer)
{
	return layer ? s->end[layer * s->n_pos - 1] : 0;
}

size_t attr_steps_length(const struct attr_steps *s, size_t layer, size_t pos)
{
	size_t n = pos + 1, l;

	for (l = 0; l < layer; l++)
		n += s->end[l * s->n_pos + pos] - attr_steps_first(s, l) +
		     pos + 1;
	return n;
}

size_t attr_steps_runs(const struct attr_steps *s, size_t n_features,
                       size_t layer, size_t pos, const float *row,
                       struct attr_run_of *out)
{
	size_t n = 0, l;

	for (l = 0; l < layer; l++) {
		size_t first = attr_steps_first(s, l);

		out[n].node = first;
		out[n].n = s->end[l * s->n_pos + pos] - first;
		out[n].w = row;
		row += out[n++].n;
		out[n].node = n_features + l * s->n_pos;
		out[n].n = pos + 1;
		out[n].w = row;
		row += out[n++].n;
	}
	out[n].node = n_features + s->n_layers * s->n_pos;
	out[n].n = pos + 1;
	out[n++].w = row;
	return n;
}

/* ---- rows in memory and on disk ---- */

struct place {
	float *mem;		/* or NULL: in the file */
	off_t at;
	size_t n;
};

struct attr_rows {
	struct place *place;
	size_t n, cap;
	size_t budget, used;	/* bytes in memory */
	char *scratch;
	int fd;			/* -1: none yet; its name is gone already */
	off_t end;
	float *buf;
	size_t cap_buf;
};

struct attr_rows *attr_rows_new(size_t mem_bytes, const char *scratch,
                                struct err *e)
{
	struct attr_rows *r = mem_array(1, sizeof(*r), e);
	const char *tmp = getenv("TMPDIR");

	if (!r)
		return NULL;
	r->fd = -1;
	r->budget = mem_bytes;
	r->scratch = mem_strdup(scratch ? scratch : tmp && *tmp ? tmp : "/tmp",
	                        e);
	if (!r->scratch) {
		attr_rows_free(r);
		return NULL;
	}
	return r;
}

void attr_rows_free(struct attr_rows *r)
{
	size_t i;

	if (!r)
		return;
	for (i = 0; i < r->n; i++)
		mem_free(r->place[i].mem);
	if (r->fd >= 0)
		close(r->fd);
	mem_free(r->place);
	mem_free(r->scratch);
	mem_free(r->buf);
	mem_free(r);
}

static int open_file(struct attr_rows *r, struct err *e)
{
	char *path = mem_printf(e, "%s/attr.XXXXXX", r->scratch);

	if (!path)
		return -1;
	r->fd = mkstemp(path);
	if (r->fd < 0)
		err_sys(e, "%s", path);
	else
		unlink(path);
	mem_free(path);
	return r->fd < 0 ? -1 : 0;
}

static int write_all(struct attr_rows *r, const void *data, size_t n,
                     struct err *e)
{
	const char *p = data;
	ssize_t got;

	while (n) {
		got = pwrite(r->fd, p, n, r->end);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_sys(e, "rows beside memory, in %s",
			               r->scratch);
		p += got;
		n -= (size_t)got;
		r->end += got;
	}
	return 0;
}

int attr_rows_add(struct attr_rows *r, const float *row, size_t n,
                  struct err *e)
{
	size_t bytes = n * sizeof(*row);
	struct place *p;

	if (mem_grow(&r->place, &r->cap, r->n + 1, sizeof(*r->place), e) < 0)
		return -1;
	p = &r->place[r->n];
	*p = (struct place){ NULL, r->end, n };
	if (bytes <= r->budget - r->used) {
		if (!(p->mem = mem_scratch(n, sizeof(*row), e)))
			return -1;
		memcpy(p->mem, row, bytes);
		r->used += bytes;
	} else if ((r->fd < 0 && open_file(r, e) < 0) ||
	           write_all(r, row, bytes, e) < 0) {
		return -1;
	}
	r->n++;
	return 0;
}

const float *attr_rows_get(struct attr_rows *r, size_t i, struct err *e)
{
	const struct place *p = &r->place[i];
	size_t bytes = p->n * sizeof(float), at = 0;
	ssize_t got;

	if (p->mem)
		return p->mem;
	if (mem_grow(&r->buf, &r->cap_buf, p->n, sizeof(float), e) < 0)
		return NULL;
	while (at < bytes) {
		got = pread(r->fd, (char *)r->buf + at, bytes - at,
		            p->at + (off_t)at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			if (got == 0)
				errno = EIO;
			err_sys(e, "rows beside memory, in %s", r->scratch);
			return NULL;
		}
		at += (size_t)got;
	}
	return r->buf;
}

void attr_rows_drop(struct attr_rows *r, size_t i)
{
	struct place *p = &r->place[i];

	if (p->mem)
		r->used -= p->n * sizeof(float);
	mem_free(p->mem);
	*p = (struct place){ NULL, 0, 0 };
}
