#include "docs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "await.h"
#include "map.h"
#include "mem.h"

enum { BLOCK = 1 << 20, LINE_MAX_BYTES = 1 << 30 };

/* A file: its bytes are all there (mapped, or read into buf), or fd still
 * gives more and buf holds what is not handed out yet. */
struct input {
	const char *name;
	struct map map;
	int fd;			/* -1: nothing more to read */
	const volatile sig_atomic_t *stop;
	char *buf;
	size_t n, cap;		/* of buf */
	size_t at;		/* first byte not handed out */
	uint64_t line;
};

struct docs {
	enum docs_format format;
	struct input *in;
	size_t n_in, cur;
	uint64_t next_id;
	struct doc *batch;
	size_t cap_batch;
	struct doc *all;	/* shuffled */
	size_t n_all, cap_all, at_all;
};

/* Reads once; 1 bytes came, 0 the end, -1. */
static int read_more(struct input *in, struct err *e)
{
	ssize_t got;

	if (in->fd < 0)
		return 0;
	if (mem_grow(&in->buf, &in->cap, in->n + BLOCK, 1, e) < 0)
		return err_wrap(e, "%s", in->name);
	if (!await_bytes(in->fd, in->stop))
		return err_set(e, ERR_STOP, "%s: stopped", in->name);
	do
		got = read(in->fd, in->buf + in->n, in->cap - in->n);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return err_sys(e, "%s: read", in->name);
	if (got == 0) {
		if (in->fd != STDIN_FILENO)
			close(in->fd);
		in->fd = -1;
		return 0;
	}
	in->n += (size_t)got;
	return 1;
}

static int read_all(struct input *in, struct err *e)
{
	int got;

	while ((got = read_more(in, e)) > 0)
		;
	return got;
}

/* Drops what was handed out, then reads until `want` bytes are there. */
static int fill(struct input *in, size_t want, struct err *e)
{
	int got = 1;

	if (in->fd < 0)
		return 0;
	if (in->at) {
		memmove(in->buf, in->buf + in->at, in->n - in->at);
		in->n -= in->at;
		in->at = 0;
	}
	while (in->n < want && (got = read_more(in, e)) > 0)
		;
	return got < 0 ? -1 : 0;
}

static const char *bytes(const struct input *in, size_t *n)
{
	*n = in->map.data ? in->map.n : in->n;
	return in->map.data ? (const char *)in->map.data : in->buf;
}

static int open_input(struct input *in, const char *path, struct err *e)
{
	int std = !strcmp(path, "-");
	struct stat st;

	in->name = std ? "standard input" : path;
	in->fd = std ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	if (in->fd < 0 || fstat(in->fd, &st) < 0)
		return err_sys(e, "%s", in->name);
	if (S_ISDIR(st.st_mode))
		return err_set(e, ERR_FORMAT, "%s: is a folder", in->name);
	if (std || !S_ISREG(st.st_mode) || !st.st_size)
		return 0;
	close(in->fd);
	in->fd = -1;
	return map_open(&in->map, path, e);
}

/* DOCS_AUTO: by the first byte that is no white space. */
static int detect(struct docs *d, struct err *e)
{
	struct input *in = &d->in[0];
	const char *s;
	size_t n, i = 0;
	int got = 1;

	for (;;) {
		s = bytes(in, &n);
		while (i < n && strchr(" \t\r\n", s[i]) && s[i])
			i++;
		if (i < n || got <= 0)
			break;
		got = read_more(in, e);
	}
	d->format = i < n && s[i] == '{' ? DOCS_JSON : DOCS_TEXT;
	return got < 0 ? -1 : 0;
}

/* The next document of in: 1, 0 none left, or -1. more: 0 stops where more
 * bytes would have to be read (which moves buf). */
static int take(struct docs *d, struct input *in, struct doc *out, int more,
                struct err *e)
{
	for (;;) {
		size_t n, len;
		const char *s = bytes(in, &n), *end;

		s += in->at;
		n -= in->at;
		end = d->format == DOCS_TEXT || !n ? NULL : memchr(s, '\n', n);
		if (!end && in->fd >= 0) {
			if (!more)
				return 0;
			if (n > LINE_MAX_BYTES)
				return err_set(e, ERR_RANGE, "%s: line %llu "
				               "is over %d bytes", in->name,
				               (unsigned long long)in->line + 1,
				               LINE_MAX_BYTES);
			if (fill(in, n + 1, e) < 0)
				return -1;
			continue;
		}
		if (!n)
			return 0;
		len = end ? (size_t)(end - s) : n;
		in->at += len + !!end;
		if (d->format != DOCS_TEXT) {
			size_t i = 0;

			in->line++;
			while (i < len && (s[i] == ' ' || s[i] == '\t' ||
			                   s[i] == '\r'))
				i++;
			if (i == len)
				continue;
		}
		*out = (struct doc){ d->next_id++, s, len, in->name, in->line };
		return 1;
	}
}

static uint64_t draw(uint64_t *state)	/* splitmix64 */
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static int shuffle(struct docs *d, uint64_t seed, struct err *e)
{
	size_t i;
	int got = 0;

	for (i = 0; i < d->n_in; i++)
		do {
			if (mem_grow(&d->all, &d->cap_all, d->n_all + 1,
			             sizeof(*d->all), e) < 0)
				return -1;
			got = take(d, &d->in[i], &d->all[d->n_all], 1, e);
			if (got < 0)
				return -1;
			d->n_all += (size_t)got;
		} while (got);
	for (i = d->n_all; i > 1; i--) {
		size_t j = (size_t)(((unsigned __int128)draw(&seed) * i) >> 64);
		struct doc t = d->all[i - 1];

		d->all[i - 1] = d->all[j];
		d->all[j] = t;
	}
	return 0;
}

struct docs *docs_open(const char *const *paths, size_t n,
                       const struct docs_opt *o, struct err *e)
{
	struct docs *d = mem_array(1, sizeof(*d), e);
	size_t i;

	if (!d)
		return NULL;
	d->format = o->format;
	d->in = mem_array(n, sizeof(*d->in), e);
	if (!d->in)
		goto fail;
	for (i = 0; i < n; i++) {
		d->n_in++;
		d->in[i].fd = -1;
		d->in[i].stop = o->stop;
		if (open_input(&d->in[i], paths[i], e) < 0)
			goto fail;
	}
	if (d->format == DOCS_AUTO && n && detect(d, e) < 0)
		goto fail;
	for (i = 0; i < n; i++)
		if ((o->shuffle || d->format == DOCS_TEXT) &&
		    read_all(&d->in[i], e) < 0)
			goto fail;
	if (o->shuffle && shuffle(d, o->seed, e) < 0)
		goto fail;
	return d;
fail:
	docs_free(d);
	return NULL;
}

enum docs_format docs_format(const struct docs *d)
{
	return d->format;
}

int docs_batch(struct docs *d, size_t max_docs, size_t max_bytes,
               const struct doc **out, size_t *n, struct err *e)
{
	size_t n_bytes = 0;
	int got;

	*n = 0;
	if (d->all) {
		*out = d->all + d->at_all;
		while (d->at_all < d->n_all && *n < max_docs &&
		       n_bytes < max_bytes) {
			n_bytes += d->all[d->at_all++].n;
			++*n;
		}
		return *n > 0;
	}
	while (d->cur < d->n_in && *n < max_docs && n_bytes < max_bytes) {
		if (!*n && fill(&d->in[d->cur], max_bytes, e) < 0)
			return -1;
		if (mem_grow(&d->batch, &d->cap_batch, *n + 1,
		             sizeof(*d->batch), e) < 0)
			return -1;
		/* documents in hand forbid to move the buffer they are in */
		got = take(d, &d->in[d->cur], &d->batch[*n], !*n, e);
		if (got < 0)
			return -1;
		if (got) {
			n_bytes += d->batch[(*n)++].n;
			continue;
		}
		if (d->in[d->cur].fd >= 0)
			break;
		d->cur++;
	}
	*out = d->batch;
	return *n > 0;
}

void docs_free(struct docs *d)
{
	size_t i;

	if (!d)
		return;
	for (i = 0; d->in && i < d->n_in; i++) {
		map_close(&d->in[i].map);
		mem_free(d->in[i].buf);
		if (d->in[i].fd > STDIN_FILENO)
			close(d->in[i].fd);
	}
	mem_free(d->in);
	mem_free(d->batch);
	mem_free(d->all);
	mem_free(d);
}
