#include "secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

enum { KEY_MAX = 2048 };

/* Pages that are neither swapped nor dumped. Locking may be forbidden by a
 * limit; then the rest still holds. */
static char *private_pages(size_t n, struct err *e)
{
	char *p = mmap(NULL, n, PROT_READ | PROT_WRITE,
	               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		err_sys(e, "no memory for a key");
		return NULL;
	}
	(void)mlock(p, n);
	(void)madvise(p, n, MADV_DONTDUMP);
	return p;
}

static void no_cores(void)
{
	const struct rlimit none = { 0, 0 };

	(void)prctl(PR_SET_DUMPABLE, 0);
	(void)setrlimit(RLIMIT_CORE, &none);
}

/* The start of a file into at[room]: how many bytes, or -1. */
static ssize_t read_start(const char *file, char *at, size_t room,
                          struct err *e)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	size_t n = 0;
	ssize_t got = 0;

	if (fd < 0)
		return err_sys(e, "%s", file);
	while (n < room && (got = read(fd, at + n, room - n)) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			break;
		n += (size_t)got;
	}
	if (got < 0)
		err_sys(e, "%s", file);
	close(fd);
	return got < 0 ? -1 : (ssize_t)n;
}

static int check(const char *key, size_t n, const char *from, struct err *e)
{
	size_t i;

	if (n == 0)
		return err_set(e, ERR_FORMAT, "%s: holds no key", from);
	if (n >= KEY_MAX)
		return err_set(e, ERR_FORMAT, "%s: a key has at most %d bytes",
		               from, KEY_MAX - 1);
	for (i = 0; i < n; i++)
		if (key[i] <= ' ' || key[i] > '~')
			return err_set(e, ERR_FORMAT, "%s: byte %zu is none "
			               "that a key may have", from, i);
	return 0;
}

int secret_load(struct secret *k, const char *prefix, const char *file,
                const char *env, struct err *e)
{
	char *value = !file && env ? getenv(env) : NULL, *at;
	size_t n;
	ssize_t got;

	*k = (struct secret){ .n_prefix = strlen(prefix) };
	if (!file && (!value || !*value))
		return 0;
	no_cores();
	k->mapped = k->n_prefix + KEY_MAX + 1;
	if (!(k->text = private_pages(k->mapped, e)))
		return -1;
	memcpy(k->text, prefix, k->n_prefix);
	at = k->text + k->n_prefix;
	if (file) {
		if ((got = read_start(file, at, KEY_MAX, e)) < 0)
			goto fail;
		at[got] = 0;
		at[strcspn(at, "\r\n")] = 0;
		n = strlen(at);
	} else {
		n = strlen(value);
		memcpy(at, value, n < KEY_MAX ? n : KEY_MAX);
		explicit_bzero(value, n);
		unsetenv(env);
	}
	if (check(at, n, file ? file : env, e) < 0)
		goto fail;
	return 0;
fail:
	secret_free(k);
	return -1;
}

void secret_free(struct secret *k)
{
	if (k->text) {
		explicit_bzero(k->text, k->mapped);
		munmap(k->text, k->mapped);
	}
	*k = (struct secret){ 0 };
}
