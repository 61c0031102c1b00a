#include "peek.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int64_t more(struct peek *p, void *buf, size_t n, struct err *e)
{
	ssize_t got;

	do
		got = read(p->fd, buf, n);
	while (got < 0 && errno == EINTR);
	return got < 0 ? err_sys(e, "%s: read", p->name) : got;
}

int peek_open(struct peek *p, const char *path, struct err *e)
{
	int is_stdin = !strcmp(path, "-");
	int64_t got;

	p->name = is_stdin ? "standard input" : path;
	p->fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	p->first = p->held;
	p->n = p->at = 0;
	if (p->fd < 0)
		return err_sys(e, "open %s", path);
	do {
		got = more(p, p->held + p->n, sizeof(p->held) - p->n, e);
		if (got < 0) {
			peek_close(p);
			return -1;
		}
		p->n += (size_t)got;
	} while (got && p->n < 2);
	return 0;
}

void peek_bytes(struct peek *p, const char *bytes, size_t n, const char *name)
{
	p->name = name;
	p->fd = -1;
	p->first = bytes;
	p->n = n;
	p->at = 0;
}

int64_t peek_read(void *ctx, void *buf, size_t n, struct err *e)
{
	struct peek *p = ctx;
	size_t left = p->n - p->at;

	if (!left)
		return p->fd < 0 ? 0 : more(p, buf, n, e);
	n = n < left ? n : left;
	memcpy(buf, p->first + p->at, n);
	p->at += n;
	return (int64_t)n;
}

void peek_close(struct peek *p)
{
	if (p->fd > STDIN_FILENO)
		close(p->fd);
	p->fd = -1;
}
