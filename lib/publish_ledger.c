#include "publish_ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "json.h"
#include "mem.h"

enum { FILE_MAX = 1 << 30, LINE_MAX_BYTES = 1 << 16 };

/* The last line of each batch. */
struct entry {
	struct publish_batch b;
	enum publish_fate fate;
	json_t *line;		/* whose strings b points to */
};

struct publish_ledger {
	char *path;
	int fd;			/* -1: nothing is written */
	struct entry *entry;
	size_t n, cap;
};

void publish_ledger_close(struct publish_ledger *l)
{
	size_t i;

	if (!l)
		return;
	for (i = 0; i < l->n; i++)
		json_decref(l->entry[i].line);
	if (l->fd >= 0)
		close(l->fd);
	mem_free(l->entry);
	mem_free(l->path);
	mem_free(l);
}

static int same_source(const struct publish_batch *a,
                       const struct publish_batch *b)
{
	return !strcmp(a->source, b->source) && !strcmp(a->model, b->model) &&
	       !strcmp(a->server, b->server);
}

static int add_line(struct publish_ledger *l, const char *s, size_t n,
                    struct err *e)
{
	json_t *j = json_parse(s, n, l->path, e);
	struct entry x = { .line = j };
	const char *sha, *state;
	int64_t first, last;
	size_t i;

	if (!j || json_str(j, "server", "", &x.b.server, e) < 0 ||
	    json_str(j, "model", "", &x.b.model, e) < 0 ||
	    json_str(j, "source", "", &x.b.source, e) < 0 ||
	    json_str(j, "batch", "", &x.b.name, e) < 0 ||
	    json_str(j, "sha256", "", &sha, e) < 0 ||
	    json_str(j, "state", "", &state, e) < 0 ||
	    json_int(j, "first", 0, UINT32_MAX, -1, &first, e) < 0 ||
	    json_int(j, "last", first, UINT32_MAX, -1, &last, e) < 0)
		goto bad;
	x.fate = !strcmp(state, "begun") ? PUBLISH_UNKNOWN
	         : !strcmp(state, "done") ? PUBLISH_DONE : PUBLISH_NEW;
	if (strlen(sha) != 64 || (x.fate == PUBLISH_NEW &&
	                          strcmp(state, "refused") != 0)) {
		err_set(e, ERR_FORMAT, "no line of a ledger");
		goto bad;
	}
	strcpy(x.b.sha256, sha);
	x.b.first = (uint32_t)first;
	x.b.last = (uint32_t)last;
	for (i = 0; i < l->n; i++)
		if (same_source(&l->entry[i].b, &x.b) &&
		    !strcmp(l->entry[i].b.sha256, sha))
			break;
	if (i == l->n) {
		if (mem_grow(&l->entry, &l->cap, l->n + 1, sizeof(x), e) < 0)
			goto bad;
		l->n++;
	} else {
		json_decref(l->entry[i].line);
	}
	l->entry[i] = x;
	return 0;
bad:
	json_decref(j);
	return -1;
}

/* Reads what is there; *whole: bytes of its whole lines. */
static int read_all(struct publish_ledger *l, int fd, off_t *whole,
                    struct err *e)
{
	FILE *f = fdopen(dup(fd), "r");
	char *line = NULL;
	size_t cap = 0;
	unsigned long number = 0;
	ssize_t n;
	int rc = 0;

	*whole = 0;
	if (!f)
		return err_sys(e, "%s", l->path);
	while (rc == 0 && (n = getline(&line, &cap, f)) > 0) {
		if (line[n - 1] != '\n')
			break;
		number++;
		if (n > LINE_MAX_BYTES)
			rc = err_set(e, ERR_FORMAT, "a line of %zd bytes", n);
		else
			rc = add_line(l, line, (size_t)n - 1, e);
		*whole += n;
	}
	if (rc == 0 && ferror(f))
		rc = err_sys(e, "%s", l->path);
	else if (rc < 0)
		err_wrap(e, "%s: line %lu", l->path, number);
	free(line);
	fclose(f);
	return rc;
}

/* A file that was made a moment ago must be found after a crash too. */
static int keep_name(const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash ? mem_strndup(path, (size_t)(slash - path) + 1, e)
	                  : mem_strdup(".", e);
	int fd = dir ? open(dir, O_RDONLY | O_CLOEXEC) : -1, rc = -1;

	if (dir && (fd < 0 || fsync(fd) < 0))
		err_sys(e, "%s", dir);
	else if (dir)
		rc = 0;
	if (fd >= 0)
		close(fd);
	mem_free(dir);
	return rc;
}

struct publish_ledger *publish_ledger_open(const char *path, int write,
                                           struct err *e)
{
	struct publish_ledger *l = mem_array(1, sizeof(*l), e);
	struct stat st;
	off_t whole;
	int fd = -1;

	if (!l)
		return NULL;
	l->fd = -1;
	if (!(l->path = mem_strdup(path, e)))
		goto fail;
	fd = open(path, write ? O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC
	                      : O_RDONLY | O_CLOEXEC, 0666);
	if (fd < 0 && !write && errno == ENOENT)
		return l;
	if (fd < 0 || fstat(fd, &st) < 0) {
		err_sys(e, "%s", path);
		goto fail;
	}
	if (write && flock(fd, LOCK_EX | LOCK_NB) < 0) {
		err_set(e, ERR_IO, "%s: another process sends by it", path);
		goto fail;
	}
	if (st.st_size > FILE_MAX) {
		err_set(e, ERR_RANGE, "%s: %lld bytes, wanted %d at most", path,
		        (long long)st.st_size, FILE_MAX);
		goto fail;
	}
	if (read_all(l, fd, &whole, e) < 0)
		goto fail;
	if (write && ftruncate(fd, whole) < 0) {
		err_sys(e, "%s", path);
		goto fail;
	}
	if (write && keep_name(path, e) < 0)
		goto fail;
	if (write)
		l->fd = fd;
	else
		close(fd);
	return l;
fail:
	if (fd >= 0)
		close(fd);
	publish_ledger_close(l);
	return NULL;
}

int publish_ledger_fate(const struct publish_ledger *l,
                        const struct publish_batch *b,
                        enum publish_fate *fate, struct err *e)
{
	size_t i;

	*fate = PUBLISH_NEW;
	for (i = 0; i < l->n; i++) {
		const struct entry *x = &l->entry[i];

		if (x->fate == PUBLISH_NEW || !same_source(&x->b, b))
			continue;
		if (!strcmp(x->b.sha256, b->sha256))
			*fate = x->fate;
		else if (b->first <= x->b.last && x->b.first <= b->last)
			return err_set(e, ERR_FORMAT, "features %u to %u of %s "
			               "%s sent in another batch, %s (%s)",
			               x->b.first, x->b.last, b->source,
			               x->fate == PUBLISH_DONE ? "were"
			                                       : "may have been",
			               x->b.name, l->path);
	}
	return 0;
}

int publish_ledger_note(struct publish_ledger *l,
                        const struct publish_batch *b, const char *state,
                        struct err *e)
{
	json_t *j = json_pack("{s:s,s:s,s:s,s:s,s:I,s:I,s:s,s:s}",
	                      "server", b->server, "model", b->model, "source",
	                      b->source, "batch", b->name, "first",
	                      (json_int_t)b->first, "last",
	                      (json_int_t)b->last, "sha256", b->sha256,
	                      "state", state);
	char *s = j ? json_dumps(j, JSON_COMPACT) : NULL;
	char *line = s ? mem_printf(e, "%s\n", s) : NULL;
	size_t n = line ? strlen(line) : 0;
	int rc = -1;

	json_decref(j);
	if (!s)
		err_set(e, ERR_FORMAT, "%s: a name that is not UTF-8, or no "
		        "memory", l->path);
	else if (line && (write(l->fd, line, n) != (ssize_t)n ||
	                  fsync(l->fd) < 0))
		err_sys(e, "%s: cannot be written", l->path);
	else if (line)
		rc = add_line(l, line, n - 1, e);
	free(s);
	mem_free(line);
	return rc;
}
