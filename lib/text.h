/* text: a string that grows at its end; characters of UTF-8. */
#ifndef R1_TEXT_H
#define R1_TEXT_H

#include <stddef.h>

#include "err.h"

/* Starts as zeros; s is NUL-terminated after the first addition, and for
 * mem_free. */
struct text {
	char *s;
	size_t n, cap;		/* bytes before the NUL; room */
};

/* Adds n bytes, or a string. 0, or -1 with the text unchanged. */
int text_add(struct text *t, const char *s, size_t n, struct err *e);
int text_str(struct text *t, const char *s, struct err *e);

/* Bytes of the UTF-8 character at s (n > 0 left), 0 for a bad one, whose
 * maximal bad part is then *skip bytes long. Unicode 15, table 3-7. */
size_t text_utf8(const char *s, size_t n, size_t *skip);

#endif
