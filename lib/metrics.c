#include "metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"

struct metrics {
	int fd;			/* -1: nobody reads */
	int ours;		/* to be closed here */
	char *name;
};

static int as_descriptor(const char *where)
{
	size_t n = strspn(where, "0123456789");

	return n && n < 6 && !where[n] ? atoi(where) : -1;
}

struct metrics *metrics_open(const char *where, int append, struct err *e)
{
	struct metrics *m = mem_array(1, sizeof(*m), e);

	if (!m)
		return NULL;
	m->fd = -1;
	if (!where)
		return m;
	m->name = mem_strdup(where, e);
	m->fd = as_descriptor(where);
	if (m->fd < 0) {
		m->ours = 1;
		m->fd = open(where, O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND |
		             (append ? 0 : O_TRUNC), 0666);
	}
	if (!m->name || m->fd < 0 || fcntl(m->fd, F_GETFD) < 0) {
		err_sys(e, "metrics: %s", where);
		m->ours = m->ours && m->fd >= 0;
		metrics_close(m, NULL);
		return NULL;
	}
	return m;
}

int metrics_wanted(const struct metrics *m)
{
	return m && m->fd >= 0;
}

int metrics_write(struct metrics *m, json_t *obj, struct err *e)
{
	char *line = NULL, *p;
	size_t n;
	int rc = 0;

	if (metrics_wanted(m)) {
		line = json_dumps(obj, JSON_COMPACT | JSON_REAL_PRECISION(9));
		if (!line)
			rc = err_set(e, ERR_FORMAT, "metrics: a value that is "
			             "no JSON");
	}
	json_decref(obj);
	if (!line)
		return rc;
	/* One write a line, so that lines of several writers do not mix. */
	n = strlen(line);
	line[n++] = '\n';
	for (p = line; n; ) {
		ssize_t w = write(m->fd, p, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0) {
			rc = err_sys(e, "metrics: %s", m->name);
			break;
		}
		p += w;
		n -= (size_t)w;
	}
	free(line);
	return rc;
}

int metrics_close(struct metrics *m, struct err *e)
{
	int rc = 0;

	if (!m)
		return 0;
	if (m->ours && m->fd >= 0 && close(m->fd) < 0)
		rc = err_sys(e, "metrics: %s", m->name);
	mem_free(m->name);
	mem_free(m);
	return rc;
}
