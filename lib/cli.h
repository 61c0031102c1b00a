/*
 * cli: the command line shared by every tool in bin/.
 *
 * A tool states its options once, in a table; the table is the only source of
 * defaults, ranges, --help and the check against the manual page. Only bin/
 * includes this header, and this module alone may print and exit.
 */
#ifndef R1_CLI_H
#define R1_CLI_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "err.h"
#include "log.h"
#include "version.h"

enum cli_type {
	CLI_T_END,
	CLI_T_FLAG,	/* int, 0 or 1 */
	CLI_T_LONG,	/* int64_t; suffixes k M G (powers of 1000) accepted */
	CLI_T_REAL,	/* double, finite */
	CLI_T_STR,	/* const char *, NULL unless given or defaulted */
	CLI_T_CHOICE,	/* const char *, one of the words in arg: "a|b|c" */
	CLI_T_LIST	/* struct cli_list: the option may be repeated */
};

struct cli_list {
	const char **item;	/* points into argv */
	size_t n;
};

struct cli_opt {
	enum cli_type type;
	char letter;		/* 0: none */
	const char *name;	/* without the dashes */
	const char *arg;	/* what --help calls the value; choices */
	size_t at;		/* offset in the tool's struct */
	double min, max;	/* for LONG and REAL, inclusive */
	const char *def;	/* default as one would type it, or NULL */
	const char *help;
};

#define CLI_FLAG(l, n, s, f, h) \
	{ CLI_T_FLAG, l, n, NULL, offsetof(s, f), 0, 0, NULL, h }
#define CLI_LONG(l, n, s, f, a, lo, hi, d, h) \
	{ CLI_T_LONG, l, n, a, offsetof(s, f), lo, hi, d, h }
#define CLI_REAL(l, n, s, f, a, lo, hi, d, h) \
	{ CLI_T_REAL, l, n, a, offsetof(s, f), lo, hi, d, h }
#define CLI_STR(l, n, s, f, a, d, h) \
	{ CLI_T_STR, l, n, a, offsetof(s, f), 0, 0, d, h }
#define CLI_CHOICE(l, n, s, f, words, d, h) \
	{ CLI_T_CHOICE, l, n, words, offsetof(s, f), 0, 0, d, h }
#define CLI_LIST(l, n, s, f, a, h) \
	{ CLI_T_LIST, l, n, a, offsetof(s, f), 0, 0, NULL, h }
#define CLI_END { CLI_T_END, 0, NULL, NULL, 0, 0, 0, NULL, NULL }

struct cli_tool {
	const char *name;
	const char *brief;		/* one line, as in the manual's NAME */
	const char *operands;		/* synopsis of operands, or NULL: none */
	int min_operands, max_operands;	/* max -1: any number */
	const struct cli_opt *options;
	/* options left out of the recorded command because the output does
	 * not depend on them, closed by NULL; or NULL: none */
	const char *const *unrecorded;
};

/* What every tool takes: --device --threads --seed --metrics --progress. One that
 * stands in the tool's own table is the tool's. */
struct cli_common {
	const char *device;	/* "cpu" or "cuda" */
	int threads;		/* flag, else R1_THREADS, else the cores */
	uint64_t seed;
	const char *metrics;	/* FILE, a descriptor number, or NULL */
	int progress;		/* asked for, or stderr is a terminal */
	char *command;		/* argv as recorded in a stream's provenance:
				 * without what cannot change the output
				 * (threads, metrics, progress, the tool's
				 * own) */
};

/* Fills o (the tool's struct, zeroed by this call's defaults; size bytes) and
 * c. Prints and exits 0 on --help and --version, 2 on misuse. Returns the
 * index in argv of the first operand; options and operands may be mixed, argv
 * is permuted. "--" ends options. */
int cli_parse(const struct cli_tool *t, int argc, char **argv, void *o,
              size_t size, struct cli_common *c);

/* Command lines out of a file, for tools that do several things in one run. */
struct cli_lines {
	void *opts;		/* [n] of the tool's struct, behind each other */
	struct cli_common *common;	/* [n] */
	size_t *number;		/* [n] lines of the file, from 1 */
	size_t n, size;		/* size: of the tool's struct, in bytes */
	char **text;		/* what options point into */
};

/* Each line of the file is parsed as argv, which takes no operands, with the
 * words of that line, split at blanks, behind it. Empty lines and those that
 * begin with # say nothing. Misuse prints and exits as in cli_parse. ERR_IO
 * from the file, ERR_FORMAT when no line says anything, ERR_USAGE for a line of
 * more than 256 words; l is then empty. */
int cli_lines_read(const struct cli_tool *t, const char *path, int argc,
                   char **argv, size_t size, struct cli_lines *l,
                   struct err *e);
void cli_lines_free(struct cli_lines *l);

/* From now on SIGTERM and SIGINT do not end the tool but are left in *cli_stopped(),
 * 0 until one comes, for it to save what it has and stop (ERR_STOP). Not to be called
 * before there is something to save. */
void cli_stop_on_signals(void);
const volatile sig_atomic_t *cli_stopped(void);

/* Exits 2 with one line on stderr and a pointer to --help. For misuse that
 * the table cannot express. */
void cli_usage(const struct cli_tool *t, const char *fmt, ...)
	__attribute__((format(printf, 2, 3), noreturn));

/* Prints "tool: message" and exits: 1, or 2 for ERR_USAGE, or 75 (try again)
 * for ERR_STOP. */
void cli_die(const struct cli_tool *t, const struct err *e)
	__attribute__((noreturn));

/* A log that prints "tool: line" on stderr. */
struct log cli_log(const struct cli_tool *t);

/* A progress_fn: shows the line on stderr, in place on a terminal, else as a
 * line of its own every ten seconds and at the end. */
void cli_progress(void *ctx, const char *text, int last);

/* Refuses (exit 2) to write binary to a terminal on stdout. */
void cli_no_terminal(const struct cli_tool *t);

/* Flushes and closes stdout, checking both: the last act of a tool that wrote
 * text to it. Exits 1 when the bytes did not arrive (a full disk). */
void cli_close_stdout(const struct cli_tool *t);

#endif
