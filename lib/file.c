#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem.h"

struct file_out {
	char *path, *tmp;
	int fd;			/* -1 once closed */
	int made, committed;	/* tmp is ours; it bears its final name */
};

struct file_out *file_out_new(const char *path, struct err *e)
{
	struct file_out *f = mem_array(1, sizeof(*f), e);

	if (!f)
		return NULL;
	f->fd = -1;
	f->path = mem_strdup(path, e);
	f->tmp = mem_printf(e, "%s.tmp", path);
	if (!f->path || !f->tmp)
		goto fail;
	f->fd = open(f->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (f->fd < 0) {
		err_sys(e, "%s", f->tmp);
		goto fail;
	}
	f->made = 1;
	return f;
fail:
	file_out_free(f);
	return NULL;
}

int file_out_write(struct file_out *f, uint64_t at, const void *data, size_t n,
                   struct err *e)
{
	const char *p = data;

	if (at > INT64_MAX - (uint64_t)n)
		return err_set(e, ERR_RANGE, "%s: offset %llu is too large",
		               f->tmp, (unsigned long long)at);
	while (n) {
		ssize_t got = pwrite(f->fd, p, n, (off_t)at);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_sys(e, "%s: cannot write %zu bytes", f->tmp,
			               n);
		p += got;
		at += (uint64_t)got;
		n -= (size_t)got;
	}
	return 0;
}

int file_out_append(void *end, const char *data, size_t n, struct err *e)
{
	struct file_out_end *t = end;
	int rc = file_out_write(t->f, t->at, data, n, e);

	t->at += n;
	return rc;
}

/* The folder that path lies in, for mem_free. */
static char *parent(const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return mem_strdup(".", e);
	return mem_strndup(path, slash == path ? 1 : (size_t)(slash - path),
	                   e);
}

/* The rename itself must reach the disk, too. */
static int sync_folder(const char *path, struct err *e)
{
	char *dir = parent(path, e);
	int fd, rc = 0;

	if (!dir)
		return -1;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* some file systems refuse: then there is nothing more to do */
	if (fd < 0 || (fsync(fd) < 0 && errno != EINVAL && errno != EROFS))
		rc = err_sys(e, "%s", dir);
	if (fd >= 0)
		close(fd);
	mem_free(dir);
	return rc;
}

int file_out_commit(struct file_out *f, struct err *e)
{
	int fd = f->fd;

	if (fsync(fd) < 0)
		return err_sys(e, "%s: cannot flush", f->tmp);
	f->fd = -1;
	if (close(fd) < 0)
		return err_sys(e, "%s: cannot close", f->tmp);
	if (rename(f->tmp, f->path) < 0)
		return err_sys(e, "%s: cannot rename to %s", f->tmp, f->path);
	f->committed = 1;
	return sync_folder(f->path, e);
}

void file_out_free(struct file_out *f)
{
	if (!f)
		return;
	if (f->fd >= 0)
		close(f->fd);
	if (f->made && !f->committed)
		unlink(f->tmp);
	mem_free(f->path);
	mem_free(f->tmp);
	mem_free(f);
}

int file_write(const char *path, const void *data, size_t n, struct err *e)
{
	struct file_out *f = file_out_new(path, e);
	int rc = -1;

	if (f && file_out_write(f, 0, data, n, e) == 0)
		rc = file_out_commit(f, e);
	file_out_free(f);
	return rc;
}

int file_mkdirs(const char *path, struct err *e)
{
	char *s = mem_strdup(path, e), *p;
	struct stat st;
	int rc = 0;

	if (!s)
		return -1;
	for (p = s + 1; rc == 0 && *s; p++) {
		char c = *p;

		if (c != '/' && c)
			continue;
		*p = 0;
		if (mkdir(s, 0777) < 0 && errno != EEXIST)
			rc = err_sys(e, "%s", s);
		*p = c;
		if (!c)
			break;
	}
	if (rc == 0 && stat(path, &st) == 0 && !S_ISDIR(st.st_mode))
		rc = err_set(e, ERR_IO, "%s: not a folder", path);
	mem_free(s);
	return rc;
}

int file_mkparents(const char *path, struct err *e)
{
	char *dir = parent(path, e);
	int rc = dir ? file_mkdirs(dir, e) : -1;

	mem_free(dir);
	return rc;
}

int file_lock(const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);

	if (fd < 0)
		return err_sys(e, "%s", path);
	while (flock(fd, LOCK_EX) < 0) {
		if (errno == EINTR)
			continue;
		err_sys(e, "%s: cannot lock", path);
		close(fd);
		return -1;
	}
	return fd;
}

int file_link(const char *target, const char *path, struct err *e)
{
	char *tmp = mem_printf(e, "%s.tmp", path);
	int rc = 0;

	if (!tmp)
		return -1;
	if ((unlink(tmp) < 0 && errno != ENOENT) || symlink(target, tmp) < 0 ||
	    rename(tmp, path) < 0)
		rc = err_sys(e, "%s: cannot link to %s", path, target);
	mem_free(tmp);
	return rc;
}

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *f)
{
	(void)st;
	(void)type;
	(void)f;
	return remove(path);
}

int file_remove_tree(const char *path, struct err *e)
{
	if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) < 0 &&
	    errno != ENOENT)
		return err_sys(e, "%s: cannot remove", path);
	return 0;
}
