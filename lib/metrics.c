#include "metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

	if (strcmp(where, "-") == 0)
		return STDOUT_FILENO;
	return n && n < 6 && !where[n] ? atoi(where) : -1;
}

/* Whether a line's member key is above last. What is no JSON stays. */
static int is_above(const char *line, size_t n, const char *key, int64_t last)
{
	json_t *j = key ? json_loadb(line, n, 0, NULL) : NULL;
	json_t *v = json_object_get(j, key);
	int above = json_is_integer(v) && json_integer_value(v) > last;

	json_decref(j);
	return above;
}

/* Bytes of f, a file's, that stay: whole lines, none of them above last. */
static off_t kept(FILE *f, const char *key, int64_t last)
{
	char *line = NULL;
	size_t cap = 0;
	off_t keep = 0;
	ssize_t n;

	while ((n = getline(&line, &cap, f)) > 0 && line[n - 1] == '\n' &&
	       !is_above(line, (size_t)n, key, last))
		keep += n;
	free(line);
	return keep;
}

/* Cuts the file off where the run that goes on will write. */
static int cut_back(const char *path, const char *key, int64_t last,
                    struct err *e)
{
	FILE *f = fopen(path, "re");
	struct stat st;
	int rc = 0;

	if (!f)
		return errno == ENOENT ? 0 : err_sys(e, "metrics: %s", path);
	if (fstat(fileno(f), &st) == 0 && S_ISREG(st.st_mode)) {
		off_t keep = kept(f, key, last);

		if (ferror(f) || truncate(path, keep) < 0)
			rc = err_sys(e, "metrics: %s", path);
	}
	fclose(f);
	return rc;
}

static struct metrics *open_where(const char *where, int flags, struct err *e)
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
		             flags, 0666);
	}
	if (!m->name || m->fd < 0 || fcntl(m->fd, F_GETFD) < 0) {
		err_sys(e, "metrics: %s", where);
		m->ours = m->ours && m->fd >= 0;
		metrics_close(m, NULL);
		return NULL;
	}
	return m;
}

struct metrics *metrics_open(const char *where, int append, struct err *e)
{
	return append ? metrics_resume(where, NULL, 0, e)
	              : open_where(where, O_TRUNC, e);
}

struct metrics *metrics_resume(const char *where, const char *key,
                               int64_t last, struct err *e)
{
	if (where && as_descriptor(where) < 0 &&
	    cut_back(where, key, last, e) < 0)
		return NULL;
	return open_where(where, 0, e);
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
