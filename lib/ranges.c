#include "ranges.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

#include "mem.h"

/* A number below n at *s; moves *s behind it. -1: none, n: too large. */
static int number(const char **s, int n)
{
	int v = 0;

	if (!isdigit((unsigned char)**s))
		return -1;
	for (; isdigit((unsigned char)**s); (*s)++)
		v = v < n ? v * 10 + (**s - '0') : n;
	return v < n ? v : n;
}

int ranges_parse(const char *text, int n, int *out, struct err *e)
{
	const char *s = text;
	uint8_t *in = mem_array((size_t)n, 1, e);
	int i, count = 0, a, b;

	if (!in)
		return -1;
	if (!strcmp(text, "all")) {
		memset(in, 1, (size_t)n);
		s += strlen(text);
	}
	while (*s) {
		a = b = number(&s, n);
		if (a >= 0 && *s == '-') {
			s++;
			b = number(&s, n);
		}
		if (a < 0 || b < a || (*s && (*s != ',' || !s[1]))) {
			count = err_set(e, ERR_USAGE, "'%s' is no list like "
			                "0,4-7 or all", text);
			goto done;
		}
		if (b >= n) {
			count = err_set(e, ERR_USAGE, "'%s' goes beyond %d, "
			                "the last", text, n - 1);
			goto done;
		}
		memset(in + a, 1, (size_t)(b - a) + 1);
		if (*s)
			s++;
	}
	for (i = 0; i < n; i++)
		if (in[i])
			out[count++] = i;
	if (!count)
		err_set(e, ERR_USAGE, "the list of numbers is empty");
done:
	mem_free(in);
	return count ? count : -1;
}
