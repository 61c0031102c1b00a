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
