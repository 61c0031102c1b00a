/* Text that goes into the page's data. */
#include <stdarg.h>
#include <stdio.h>

#include "browse_impl.h"
#include "tok_ucd.h"

int browse_fmt(struct text *t, struct err *e, const char *fmt, ...)
{
	char line[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(line))
		return err_set(e, ERR_RANGE, "a line of more than %zu bytes",
		               sizeof(line) - 1);
	return text_add(t, line, (size_t)n, e);
}

/* One UTF-16 unit. */
static int put_unit(struct text *t, unsigned u, struct err *e)
{
	char s[8];
	int n;

	if (u >= ' ' && u < 127 && u != '"' && u != '\\')
		n = snprintf(s, sizeof(s), "%c", (int)u);
	else
		n = snprintf(s, sizeof(s), "\\u%04x", u);
	return text_add(t, s, (size_t)n, e);
}

int browse_string(struct text *t, const char *s, size_t n, struct err *e)
{
	const uint8_t *p = (const uint8_t *)s;
	size_t i, len;
	int rc = text_add(t, "\"", 1, e);

	for (i = 0; rc == 0 && i < n; i += len) {
		int got = text_utf8(p + i, n - i);
		uint32_t c;

		if (got < 0) {
			len = 1;
			rc = put_unit(t, p[i] < 0x80 ? p[i] : 0xdc00u + p[i], e);
			continue;
		}
		c = tok_utf8_at(p + i, &len);
		if (c >= 0x10000) {
			rc = put_unit(t, 0xd7c0u + (c >> 10), e);
			c = 0xdc00u + (c & 0x3ff);
		}
		if (rc == 0)
			rc = put_unit(t, c, e);
	}
	return rc < 0 ? -1 : text_add(t, "\"", 1, e);
}

int browse_width(uint32_t n)
{
	int w = 1;

	while (w < 6 && (uint64_t)n > (uint64_t)1 << 6 * w)
		w++;
	return w;
}

int browse_packed(struct text *t, const uint32_t *v, size_t n, int width,
                  struct err *e)
{
	static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	                            "abcdefghijklmnopqrstuvwxyz0123456789-_";
	size_t i;
	char s[8];
	int d;

	for (i = 0; i < n; i++) {
		for (d = 0; d < width; d++)
			s[d] = digit[v[i] >> 6 * (width - 1 - d) & 63];
		if (text_add(t, s, (size_t)width, e) < 0)
			return -1;
	}
	return 0;
}
