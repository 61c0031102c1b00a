/*
 * err: what went wrong, carried up the call chain in one caller-owned struct.
 *
 * Every fallible function in lib/ takes a `struct err *` last and returns -1
 * (or NULL) with it set. Nothing in lib/ prints or exits. Messages are one
 * line and name the source, the record or byte, what was wanted and what was
 * found; the tool's main adds its own name in front.
 */
#ifndef R1_ERR_H
#define R1_ERR_H

enum err_code {
	ERR_NONE = 0,
	ERR_IO,		/* the operating system refused: open, read, write, close */
	ERR_FORMAT,	/* input bytes do not mean what they should */
	ERR_RANGE,	/* a size, count or number outside what is allowed */
	ERR_MEM,	/* memory could not be had */
	ERR_DEV,	/* the compute device is absent or failed */
	ERR_USAGE,	/* the caller of the tool asked for nonsense (exit 2) */
	ERR_STOP	/* stopped on request (signal, deadline); state is saved */
};

struct err {
	enum err_code code;
	char msg[480];
};

/* Sets e (may be NULL) to code and the formatted message, control characters
 * replaced by '?'. Always returns -1, so `return err_set(...)` reads well. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts "prefix: " in front of a message already set; keeps the code.
 * Returns -1. */
int err_wrap(struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* err_set with ": " and strerror(errno) appended. Returns -1. */
int err_sys(struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
