#include "mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
	ALIGN = 64,		/* a cache line, and the widest vector */
	HUGE = 2 << 20,		/* a huge page */
	LARGE = 2 * HUGE	/* bytes for which they are asked */
};

int mem_mul(size_t a, size_t b, size_t *out, struct err *e)
{
	if (__builtin_mul_overflow(a, b, out))
		return err_set(e, ERR_RANGE, "size %zu x %zu does not fit", a, b);
	return 0;
}

/* bytes at a multiple of `align`, or NULL. */
static void *aligned(size_t align, size_t bytes)
{
	void *p;

	return posix_memalign(&p, align, bytes) == 0 ? p : NULL;
}

/* Rows of large matrices are visited in no order, so that with small pages most
 * visits have to look up an address first. The end, if less than a huge page, stays
 * in small ones. */
static void *in_huge_pages(size_t bytes)
{
	void *p = aligned(HUGE, bytes);

#ifdef MADV_HUGEPAGE
	if (p)
		(void)madvise(p, bytes, MADV_HUGEPAGE);
#endif
	return p;
}

void *mem_scratch(size_t n, size_t size, struct err *e)
{
	size_t bytes;
	void *p;

	if (mem_mul(n, size, &bytes, e) < 0)
		return NULL;
	if (bytes > SIZE_MAX / 2) {
		err_set(e, ERR_RANGE, "allocation of %zu bytes refused", bytes);
		return NULL;
	}
	bytes = bytes ? (bytes + ALIGN - 1) / ALIGN * ALIGN : ALIGN;
	p = bytes < LARGE ? aligned(ALIGN, bytes) : in_huge_pages(bytes);
	if (!p)
		err_set(e, ERR_MEM, "out of memory: %zu bytes wanted", bytes);
	return p;
}

/* Gives the whole pages of a large array back, so that they are zeros when they are
 * first touched, by the threads that work on them and not by one before these
 * start: new pages are slow to come. Bytes for which this is done, from p on. */
static size_t as_new(char *p, size_t bytes)
{
#ifdef MADV_HUGEPAGE
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t whole = bytes / page * page;

	if (bytes >= LARGE && madvise(p, whole, MADV_DONTNEED) == 0)
		return whole;
#endif
	(void)p;
	(void)bytes;
	return 0;
}

void *mem_array(size_t n, size_t size, struct err *e)
{
	char *p = mem_scratch(n, size, e);
	size_t bytes = n && size ? n * size : 1, done;

	if (p) {
		done = as_new(p, bytes);
		memset(p + done, 0, bytes - done);
	}
	return p;
}

int mem_grow(void *buf, size_t *cap, size_t want, size_t size, struct err *e)
{
	void **slot = buf;
	size_t next = *cap ? *cap : 16;
	void *p;

	if (want <= *cap)
		return 0;
	while (next < want) {
		if (next > SIZE_MAX / 2)
			return err_set(e, ERR_RANGE,
			               "%zu elements wanted", want);
		next *= 2;
	}
	p = mem_scratch(next, size, e);
	if (!p)
		return -1;
	if (*cap)
		memcpy(p, *slot, *cap * size);
	mem_free(*slot);
	*slot = p;
	*cap = next;
	return 0;
}

char *mem_strndup(const char *s, size_t n, struct err *e)
{
	char *p;

	if (n == SIZE_MAX) {
		err_set(e, ERR_RANGE, "string too long");
		return NULL;
	}
	p = mem_scratch(n + 1, 1, e);
	if (p) {
		memcpy(p, s, n);
		p[n] = 0;
	}
	return p;
}

char *mem_strdup(const char *s, struct err *e)
{
	return mem_strndup(s, strlen(s), e);
}

char *mem_printf(struct err *e, const char *fmt, ...)
{
	va_list ap;
	char *s;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0) {
		err_set(e, ERR_RANGE, "a string cannot be formatted");
		return NULL;
	}
	s = mem_scratch((size_t)n + 1, 1, e);
	if (s) {
		va_start(ap, fmt);
		vsnprintf(s, (size_t)n + 1, fmt, ap);
		va_end(ap);
	}
	return s;
}

void mem_free(void *p)
{
	free(p);
}

/* ---- how much there is ---- */

/* The number behind key in a file such as /proc/meminfo (key NULL: the file's
 * first number), or SIZE_MAX. */
static size_t number_in(const char *path, const char *key)
{
	FILE *f = fopen(path, "r");
	size_t n = key ? strlen(key) : 0, v = SIZE_MAX;
	unsigned long long x;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (!key || strncmp(line, key, n) == 0) {
			if (sscanf(line + n, "%llu", &x) == 1)
				v = (size_t)x;
			break;
		}
	if (f)
		fclose(f);
	return v;
}

size_t mem_available(void)
{
	size_t kib = number_in("/proc/meminfo", "MemAvailable:");
	size_t most = number_in("/sys/fs/cgroup/memory.max", NULL);
	size_t used = number_in("/sys/fs/cgroup/memory.current", NULL);
	size_t files = number_in("/sys/fs/cgroup/memory.stat", "inactive_file");
	size_t left = kib == SIZE_MAX ? kib : kib * 1024, here;
	struct rlimit r;

	if (files != SIZE_MAX && used != SIZE_MAX)	/* can be let go */
		used = used > files ? used - files : 0;
	if (most != SIZE_MAX && used != SIZE_MAX) {
		here = most > used ? most - used : 0;
		left = here < left ? here : left;
	}
	if (getrlimit(RLIMIT_AS, &r) == 0 && r.rlim_cur != RLIM_INFINITY) {
		size_t pages = number_in("/proc/self/statm", NULL);

		used = pages == SIZE_MAX ? 0
			: pages * (size_t)sysconf(_SC_PAGESIZE);
		here = r.rlim_cur > used ? (size_t)r.rlim_cur - used : 0;
		left = here < left ? here : left;
	}
	return left;
}

size_t mem_resident(void)
{
	size_t kib = number_in("/proc/self/status", "VmRSS:");

	return kib == SIZE_MAX ? 0 : kib * 1024;
}

size_t mem_resident_most(void)
{
	size_t kib = number_in("/proc/self/status", "VmHWM:");

	return kib == SIZE_MAX ? 0 : kib * 1024;
}
