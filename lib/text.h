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

/* Bytes of the valid UTF-8 character at s (n > 0 bytes left), or minus the length
 * of the maximal bad sequence there (Unicode 15, 3.9 and table 3-7; what Python
 * replaces by one U+FFFD). */
int text_utf8(const void *s, size_t n);

#endif
