/* log: where lib/ sends remarks that are not errors. The tool decides. */
#ifndef R1_LOG_H
#define R1_LOG_H

/* Called with one line, without a newline. ctx is the tool's. */
typedef void log_fn(void *ctx, const char *line);

struct log {
	log_fn *fn;	/* NULL: silence */
	void *ctx;
};

/* Formats and sends one line; l may be NULL. */
void log_say(const struct log *l, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
