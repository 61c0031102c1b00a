#include "mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64 };	/* a cache line, and the widest vector */

int mem_mul(size_t a, size_t b, size_t *out, struct err *e)
{
	if (__builtin_mul_overflow(a, b, out))
		return err_set(e, ERR_RANGE, "size %zu x %zu does not fit", a, b);
	return 0;
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
	p = aligned_alloc(ALIGN, bytes);
	if (!p)
		err_set(e, ERR_MEM, "out of memory: %zu bytes wanted", bytes);
	return p;
}

void *mem_array(size_t n, size_t size, struct err *e)
{
	void *p = mem_scratch(n, size, e);

	if (p)
		memset(p, 0, n && size ? n * size : 1);
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
