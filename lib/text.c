#include "text.h"

#include <stdint.h>
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

int text_utf8(const void *text, size_t n)
{
	const uint8_t *s = text;
	uint8_t lo = 0x80, hi = 0xbf;
	int len, i;

	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return -1;
	len = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	/* the second byte carries the rules against overlong forms,
	 * surrogates and what lies above U+10FFFF */
	if (s[0] == 0xe0)
		lo = 0xa0;
	else if (s[0] == 0xed)
		hi = 0x9f;
	else if (s[0] == 0xf0)
		lo = 0x90;
	else if (s[0] == 0xf4)
		hi = 0x8f;
	for (i = 1; i < len; i++) {
		if ((size_t)i >= n || s[i] < lo || s[i] > hi)
			return -i;
		lo = 0x80;
		hi = 0xbf;
	}
	return len;
}
