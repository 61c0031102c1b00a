#include "text.h"

#include <string.h>

#include "mem.h"

int text_add(struct text *t, const char *s, size_t n, struct err *e)
{
	if (mem_grow(&t->s, &t->cap, t->n + n + 1, 1, e) < 0)
		return -1;
	memcpy(t->s + t->n, s, n);
	t->n += n;
	t->s[t->n] = 0;
	return 0;
}

int text_str(struct text *t, const char *s, struct err *e)
{
	return text_add(t, s, strlen(s), e);
}

size_t text_utf8(const char *s, size_t n, size_t *skip)
{
	const unsigned char *c = (const unsigned char *)s;
	size_t len = c[0] < 0x80 ? 1 : c[0] < 0xc2 ? 0 : c[0] < 0xe0 ? 2 :
	             c[0] < 0xf0 ? 3 : c[0] < 0xf5 ? 4 : 0;
	size_t i;

	*skip = 1;
	for (i = 1; i < len; i++) {
		unsigned lo = 0x80, hi = 0xbf;

		if (i == 1) {
			lo = c[0] == 0xe0 ? 0xa0 : c[0] == 0xf0 ? 0x90 : lo;
			hi = c[0] == 0xed ? 0x9f : c[0] == 0xf4 ? 0x8f : hi;
		}
		if (i >= n || c[i] < lo || c[i] > hi)
			return 0;
		*skip = i + 1;
	}
	return len;
}
