#include "log.h"

#include <stdarg.h>
#include <stdio.h>

void log_say(const struct log *l, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	if (!l || !l->fn)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	l->fn(l->ctx, line);
}
