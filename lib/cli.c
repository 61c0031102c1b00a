#include "cli.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "mem.h"
#include "par.h"

struct common_raw {
	const char *device, *metrics;
	int64_t threads, seed;
	int progress;
};

static const struct cli_opt common_options[] = {
	CLI_CHOICE(0, "device", struct common_raw, device, "cpu|cuda", "cpu",
	           "compute device"),
	CLI_LONG(0, "threads", struct common_raw, threads, "N", 0, 1024, "0",
	         "threads; 0: R1_THREADS, else every core"),
	CLI_LONG(0, "seed", struct common_raw, seed, "N", 0, 9007199254740992.0,
	         "0", "seed of everything random"),
	CLI_STR(0, "metrics", struct common_raw, metrics, "FILE|FD", NULL,
	        "write metrics there as JSON lines"),
	CLI_FLAG(0, "progress", struct common_raw, progress,
	         "show progress on stderr even if it is no terminal"),
	CLI_END
};

static void print_option(const struct cli_opt *o)
{
	char left[96];
	int n;

	n = o->letter ? snprintf(left, sizeof(left), "  -%c, --%s", o->letter,
	                         o->name)
	              : snprintf(left, sizeof(left), "      --%s", o->name);
	if (o->arg && n > 0 && (size_t)n < sizeof(left))
		snprintf(left + n, sizeof(left) - (size_t)n, " %s", o->arg);
	printf("%-34s %s", left, o->help);
	if (o->def)
		printf(" [%s]", o->def);
	putchar('\n');
}

static const struct cli_opt *find(const struct cli_opt *o, const char *name,
                                  size_t n, char letter)
{
	for (; o && o->type; o++)
		if (letter ? o->letter == letter
		           : strlen(o->name) == n && !memcmp(o->name, name, n))
			return o;
	return NULL;
}

static void help(const struct cli_tool *t)
{
	const struct cli_opt *o;

	printf("usage: %s [OPTION]...%s%s\n%s\n\n", t->name,
	       t->operands ? " " : "", t->operands ? t->operands : "",
	       t->brief);
	for (o = t->options; o && o->type; o++)
		print_option(o);
	for (o = common_options; o->type; o++)
		if (!find(t->options, o->name, strlen(o->name), 0))
			print_option(o);
	printf("      --help                       this text\n"
	       "      --version                    version\n");
	cli_close_stdout(t);
	exit(0);
}

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
	stopped = sig;
}

const volatile sig_atomic_t *cli_stopped(void)
{
	return &stopped;
}

void cli_stop_on_signals(void)
{
	struct sigaction act = { .sa_handler = on_signal };

	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGINT, &act, NULL);
}

void cli_usage(const struct cli_tool *t, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", t->name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, " (see %s --help)\n", t->name);
	exit(2);
}

/* A line of progress stands on the terminal and has to make room first. */
static int progress_stands;

static void clear_progress(void)
{
	if (progress_stands)
		fputs("\r\033[K", stderr);
	progress_stands = 0;
}

void cli_die(const struct cli_tool *t, const struct err *e)
{
	clear_progress();
	fprintf(stderr, "%s: %s\n", t->name,
	        e->msg[0] ? e->msg : "failed without saying why");
	exit(e->code == ERR_USAGE ? 2 : e->code == ERR_STOP ? 75 : 1);
}

static void log_line(void *ctx, const char *line)
{
	const struct cli_tool *t = ctx;

	clear_progress();
	fprintf(stderr, "%s: %s\n", t->name, line);
}

struct log cli_log(const struct cli_tool *t)
{
	struct log l = { log_line, (void *)t };

	return l;
}

void cli_progress(void *ctx, const char *text, int last)
{
	enum { LOG_EVERY_S = 10 };
	static time_t due;
	struct winsize w = { 0 };
	struct timespec now;

	(void)ctx;
	if (isatty(STDERR_FILENO)) {
		/* A line that wraps could not be taken back. */
		ioctl(STDERR_FILENO, TIOCGWINSZ, &w);
		fprintf(stderr, "\r%.*s\033[K%s", w.ws_col ? w.ws_col - 1 : 79,
		        text, last ? "\n" : "");
		progress_stands = !last;
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (!last && now.tv_sec < due)
		return;
	due = now.tv_sec + LOG_EVERY_S;
	fprintf(stderr, "%s\n", text);
}

void cli_no_terminal(const struct cli_tool *t)
{
	if (isatty(STDOUT_FILENO))
		cli_usage(t, "stdout is a terminal; pipe it or redirect it");
}

void cli_close_stdout(const struct cli_tool *t)
{
	if (ferror(stdout) || fflush(stdout) != 0 || fclose(stdout) != 0) {
		fprintf(stderr, "%s: write to standard output: %s\n", t->name,
		        strerror(errno));
		exit(1);
	}
}

/* Number with an optional k, M or G behind it. */
static int parse_number(const char *s, double *out)
{
	char *end;
	double v;

	errno = 0;
	v = strtod(s, &end);
	if (end == s || errno == ERANGE || !isfinite(v) || s[0] == ' ')
		return -1;
	if (*end == 'k')
		v *= 1e3, end++;
	else if (*end == 'M')
		v *= 1e6, end++;
	else if (*end == 'G')
		v *= 1e9, end++;
	if (*end)
		return -1;
	*out = v;
	return 0;
}

static int is_choice(const char *words, const char *value)
{
	size_t n = strlen(value);

	while (n) {
		const char *bar = strchr(words, '|');
		size_t len = bar ? (size_t)(bar - words) : strlen(words);

		if (len == n && memcmp(words, value, n) == 0)
			return 1;
		if (!bar)
			break;
		words = bar + 1;
	}
	return 0;
}

static void store(const struct cli_tool *t, const struct cli_opt *o,
                  void *base, const char *value)
{
	char *slot = (char *)base + o->at;
	double v;

	switch (o->type) {
	case CLI_T_FLAG:
		*(int *)slot = 1;
		break;
	case CLI_T_LONG:
	case CLI_T_REAL:
		if (parse_number(value, &v) < 0)
			cli_usage(t, "--%s wants a number, found '%s'",
			          o->name, value);
		if (v < o->min || v > o->max)
			cli_usage(t, "--%s wants %.10g to %.10g, found %s",
			          o->name, o->min, o->max, value);
		if (o->type == CLI_T_REAL) {
			*(double *)slot = v;
			break;
		}
		if (v != floor(v))
			cli_usage(t, "--%s wants a whole number, found '%s'",
			          o->name, value);
		*(int64_t *)slot = (int64_t)v;
		break;
	case CLI_T_CHOICE:
		if (!is_choice(o->arg, value))
			cli_usage(t, "--%s wants %s, found '%s'", o->name,
			          o->arg, value);
		*(const char **)slot = value;
		break;
	case CLI_T_STR:
		*(const char **)slot = value;
		break;
	case CLI_T_LIST: {
		struct cli_list *list = (struct cli_list *)(void *)slot;
		void *p = realloc(list->item,
		                  (list->n + 1) * sizeof(*list->item));

		if (!p) {
			fprintf(stderr, "%s: out of memory\n", t->name);
			exit(1);
		}
		list->item = p;
		list->item[list->n++] = value;
		break;
	}
	case CLI_T_END:
		break;
	}
}

static void defaults(const struct cli_tool *t, const struct cli_opt *o,
                     void *base)
{
	for (; o && o->type; o++)
		if (o->def)
			store(t, o, base, o->def);
}

/* Finds the option in the tool's table, then in the common one. */
static const struct cli_opt *look_up(const struct cli_tool *t, void *o,
                                     void *raw, const char *name, size_t n,
                                     char letter, void **base)
{
	const struct cli_opt *opt = find(t->options, name, n, letter);

	*base = o;
	if (!opt) {
		opt = find(common_options, name, n, letter);
		*base = raw;
	}
	return opt;
}

/* Keeps the command in sight of leak checkers when main has returned. */
static char *volatile kept_command;

/* The recorded command: growing string with words quoted where needed. */
static void record(char **cmd, const char *word)
{
	size_t have = *cmd ? strlen(*cmd) : 0;
	size_t need = have + strlen(word) * 4 + 4;
	int quote = !*word || strpbrk(word, " \t\n'\"\\$`*?[](){}<>|&;#~!");
	char *p = realloc(*cmd, need), *w;

	if (!p)
		abort();
	w = p + have;
	if (have)
		*w++ = ' ';
	if (quote)
		*w++ = '\'';
	for (; *word; word++) {
		if (quote && *word == '\'') {
			memcpy(w, "'\\''", 4);
			w += 4;
		} else {
			*w++ = *word;
		}
	}
	if (quote)
		*w++ = '\'';
	*w = 0;
	*cmd = p;
}

static int changes_output(const struct cli_tool *t, const char *name)
{
	const char *const *no = t->unrecorded;

	for (; no && *no; no++)
		if (!strcmp(*no, name))
			return 0;
	return strcmp(name, "threads") && strcmp(name, "metrics") &&
	       strcmp(name, "progress");
}

int cli_parse(const struct cli_tool *t, int argc, char **argv, void *o,
              size_t size, struct cli_common *c)
{
	struct common_raw raw = { 0 };
	char **operand = calloc((size_t)argc + 1, sizeof(*operand));
	int n_operands = 0, i, only_operands = 0;
	const char *env;

	/* A parent may have left SIGPIPE ignored; filters die of it. */
	signal(SIGPIPE, SIG_DFL);
	if (!operand)
		abort();
	memset(o, 0, size);
	memset(c, 0, sizeof(*c));
	defaults(t, t->options, o);
	defaults(t, common_options, &raw);
	record(&c->command, t->name);
	for (i = 1; i < argc; i++) {
		const struct cli_opt *opt;
		const char *a = argv[i], *value = NULL;
		void *base;

		if (only_operands || a[0] != '-' || !a[1]) {
			operand[n_operands++] = argv[i];
			continue;
		}
		if (!strcmp(a, "--")) {
			only_operands = 1;
			continue;
		}
		if (!strcmp(a, "--help"))
			help(t);
		if (!strcmp(a, "--version")) {
			printf("%s (r1-interp) " R1_VERSION "\n", t->name);
			cli_close_stdout(t);
			exit(0);
		}
		if (a[1] == '-') {
			const char *eq = strchr(a, '=');
			size_t n = eq ? (size_t)(eq - a - 2) : strlen(a + 2);

			opt = look_up(t, o, &raw, a + 2, n, 0, &base);
			value = eq ? eq + 1 : NULL;
		} else {
			opt = look_up(t, o, &raw, NULL, 0, a[1], &base);
			if (opt && a[2]) {
				if (opt->type == CLI_T_FLAG)
					cli_usage(t, "flags are given one by "
					          "one, found '%s'", a);
				value = a + 2;
			}
		}
		if (!opt)
			cli_usage(t, "unknown option '%s'", a);
		if (opt->type == CLI_T_FLAG) {
			if (value)
				cli_usage(t, "--%s takes no value", opt->name);
		} else if (!value) {
			if (i + 1 >= argc)
				cli_usage(t, "--%s wants a value", opt->name);
			value = argv[++i];
		}
		store(t, opt, base, value);
		if (changes_output(t, opt->name)) {
			char name[64];

			snprintf(name, sizeof(name), "--%s", opt->name);
			record(&c->command, name);
			if (value)
				record(&c->command, value);
		}
	}
	if (n_operands < t->min_operands)
		cli_usage(t, "wants %s", t->operands);
	if (t->max_operands >= 0 && n_operands > t->max_operands)
		cli_usage(t, "one argument too many: '%s'",
		          operand[t->max_operands]);
	for (i = 0; i < n_operands; i++) {
		argv[argc - n_operands + i] = operand[i];
		record(&c->command, operand[i]);
	}
	kept_command = c->command;
	free(operand);
	c->device = raw.device;
	c->metrics = raw.metrics;
	c->seed = (uint64_t)raw.seed;
	c->progress = raw.progress || isatty(STDERR_FILENO);
	c->threads = (int)raw.threads;
	if (!c->threads && (env = getenv("R1_THREADS")) && *env) {
		double v;

		if (parse_number(env, &v) < 0 || v < 1 || v > 1024 ||
		    v != floor(v))
			cli_usage(t, "R1_THREADS wants 1 to 1024, found '%s'",
			          env);
		c->threads = (int)v;
	}
	if (!c->threads)
		c->threads = par_cores();
	return argc - n_operands;
}

/* ---- lines of a file ------------------------------------------------------ */

enum { WORDS = 256 };	/* of a line */

/* Room for one more. */
static int lines_grow(struct cli_lines *l, size_t cap[4], struct err *e)
{
	size_t n = l->n + 1;

	return mem_grow(&l->opts, &cap[0], n, l->size, e) < 0 ||
	       mem_grow(&l->common, &cap[1], n, sizeof(*l->common), e) < 0 ||
	       mem_grow(&l->number, &cap[2], n, sizeof(*l->number), e) < 0 ||
	       mem_grow(&l->text, &cap[3], n, sizeof(*l->text), e) < 0
	       ? -1 : 0;
}

/* word[] of text, which is cut up. How many, or -1. */
static int split(char *text, char **word)
{
	char *at = NULL, *w;
	int n = 0;

	for (w = strtok_r(text, " \t\r\n", &at); w;
	     w = strtok_r(NULL, " \t\r\n", &at)) {
		if (n == WORDS)
			return -1;
		word[n++] = w;
	}
	return n;
}

static int lines_add(const struct cli_tool *t, const char *path, int argc,
               char **words, const char *line, size_t number,
               struct cli_lines *l, size_t cap[4], struct err *e)
{
	char *text = mem_strdup(line, e);
	int n = text ? split(text, words + argc) : 0, rc = -1;

	if (!text)
		return -1;
	if (n < 0) {
		err_set(e, ERR_USAGE, "%s: line %zu: more than %d words", path,
		        number, WORDS);
	} else if (n == 0 || words[argc][0] == '#') {
		rc = 0;
	} else if ((rc = lines_grow(l, cap, e)) == 0) {
		cli_parse(t, argc + n, words, (char *)l->opts + l->n * l->size,
		          l->size, &l->common[l->n]);
		l->number[l->n] = number;
		l->text[l->n++] = text;
		return 0;
	}
	mem_free(text);
	return rc;
}

int cli_lines_read(const struct cli_tool *t, const char *path, int argc,
                   char **argv, size_t size, struct cli_lines *l,
                   struct err *e)
{
	char **words = mem_array((size_t)argc + WORDS, sizeof(*words), e);
	size_t cap[4] = { 0 }, room = 0, n = 0;
	char *line = NULL;
	FILE *f = NULL;
	int rc = -1;

	*l = (struct cli_lines){ .size = size };
	if (!words)
		goto done;
	memcpy(words, argv, (size_t)argc * sizeof(*words));
	if (!(f = fopen(path, "r"))) {
		err_sys(e, "%s", path);
		goto done;
	}
	rc = 0;
	while (rc == 0 && getline(&line, &room, f) > 0)
		rc = lines_add(t, path, argc, words, line, ++n, l, cap, e);
	if (rc == 0 && ferror(f))
		rc = err_sys(e, "%s", path);
	if (rc == 0 && l->n == 0)
		rc = err_set(e, ERR_FORMAT, "%s: names no run", path);
done:
	free(line);
	if (f)
		fclose(f);
	mem_free(words);
	if (rc < 0)
		cli_lines_free(l);
	return rc;
}

void cli_lines_free(struct cli_lines *l)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		free(l->common[i].command);
		mem_free(l->text[i]);
	}
	mem_free(l->opts);
	mem_free(l->common);
	mem_free(l->number);
	mem_free(l->text);
	*l = (struct cli_lines){ 0 };
}
