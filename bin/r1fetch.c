/* r1fetch: bring a model, a data set or a file here, whole and checked.
 * stdout: the path of what was fetched. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "file.h"
#include "http.h"
#include "hub.h"
#include "mem.h"
#include "pkg.h"
#include "progress.h"
#include "sha256.h"

struct opts {
	const char *sha256, *out, *cache;
	struct cli_list include;
	int64_t tries, stall;
	double wait;
};

static const struct cli_opt options[] = {
	CLI_STR(0, "sha256", struct opts, sha256, "HEX", NULL,
	        "digest of the file (of the archive for pypi: and deb:)"),
	CLI_STR('o', "out", struct opts, out, "PATH", NULL,
	        "where to put it (a link into the cache, but for http)"),
	CLI_LIST('i', "include", struct opts, include, "GLOB",
	         "files of a repository; may be repeated"),
	CLI_STR(0, "cache", struct opts, cache, "DIR", NULL,
	        "unpacked packages [R1_CACHE or ~/.cache/r1-interp]"),
	CLI_LONG(0, "tries", struct opts, tries, "N", 1, 1000, "6",
	         "failures in a row before giving up"),
	CLI_REAL(0, "wait", struct opts, wait, "S", 0, 60, "1",
	         "seconds before the first retry; doubled each time"),
	CLI_LONG(0, "stall", struct opts, stall, "S", 1, 3600, "30",
	         "seconds without data before a connection is dropped"),
	CLI_END
};
static const struct cli_tool tool = {
	.name = "r1fetch",
	.brief = "fetch a model, a data set or a file, whole and checked",
	.operands = "SOURCE", .min_operands = 1, .max_operands = 1,
	.options = options
};

/* What the fetchers share. */
struct ctx {
	const struct opts *o;
	struct http_opts http;
	struct log log;
};

/* The progress line of the download under way. */
struct watch {
	struct progress line;
	int on;
};

static void show(void *ctx, int64_t at, int64_t want)
{
	struct watch *w = ctx;
	uint64_t done = (uint64_t)at, total = want > 0 ? (uint64_t)want : 0;

	if (!w->on)
		progress_start(&w->line, cli_progress, NULL, "bytes", done,
		               total);
	w->on = at != want;
	if (w->on)
		progress_at(&w->line, done, NULL);
	else
		progress_end(&w->line, done, NULL);
}

static int check_digest(const char *path, const char *shown, const char *want,
                        struct err *e)
{
	char got[SHA256_HEX];

	if (!want)
		return 0;
	if (sha256_file(path, got, e) < 0)
		return -1;
	if (strcmp(got, want) != 0)
		return err_set(e, ERR_FORMAT, "%s: sha256 is %s, wanted %s",
		               shown, got, want);
	return 0;
}

/* The last part of an address's path, for mem_free. */
static char *base_name(const char *url, struct err *e)
{
	const char *p = strstr(url, "://") + 3, *q;
	size_t n = strcspn(p, "?#");

	for (q = p + n; q > p && q[-1] != '/'; q--)
		;
	if (q == p || q == p + n) {
		err_set(e, ERR_USAGE, "%s: no file name in it, give --out",
		        url);
		return NULL;
	}
	return mem_strndup(q, (size_t)(p + n - q), e);
}

/* To PATH.part, resumed when a digest can tell whether that went well; a part
 * that turns out bad is fetched once more from the start. */
static int fetch_url(struct http *h, const char *url, const char *path,
                     const char *sha256, const struct log *log, struct err *e)
{
	char *part = mem_printf(e, "%s.part", path);
	int rc = -1, round;

	for (round = 0; part && round < 2; round++) {
		rc = http_fetch(h, url, part, -1, sha256 && round == 0, e);
		if (rc == 0)
			rc = check_digest(part, url, sha256, e);
		if (rc == 0 || e->code != ERR_FORMAT)
			break;
		if (round == 0)
			log_say(log, "%s; fetching it anew", e->msg);
		else
			unlink(part);
	}
	if (rc == 0 && rename(part, path) < 0)
		rc = err_sys(e, "%s: cannot rename to %s", part, path);
	mem_free(part);
	return rc;
}

static char *get_url(const struct ctx *c, const char *url, struct err *e)
{
	struct http *h;
	char *path = c->o->out ? mem_strdup(c->o->out, e) : base_name(url, e);
	struct err why = { 0 };
	int rc = -1;

	if (!path)
		return NULL;
	/* there already: only a digest can say that it is the right one */
	if (c->o->sha256 && check_digest(path, path, c->o->sha256, &why) == 0)
		return path;
	h = http_new(&c->http, e);
	if (h)
		rc = fetch_url(h, url, path, c->o->sha256, &c->log, e);
	http_free(h);
	if (rc < 0) {
		mem_free(path);
		path = NULL;
	}
	return path;
}

static char *get_hub(const struct ctx *c, const char *spec, int dataset,
                     struct err *e)
{
	struct hub_ref r;
	struct hub *h = NULL;
	char *path = NULL;

	if (hub_ref_parse(spec, dataset, &r, e) == 0) {
		if (c->o->sha256 && !r.path)
			err_set(e, ERR_USAGE, "--sha256 wants one file: "
			        "%s:PATH", spec);
		else
			h = hub_new(&c->http, e);
	}
	if (h)
		path = hub_get(h, &r, c->o->include.item, c->o->include.n,
		               c->o->sha256, e);
	hub_free(h);
	hub_ref_free(&r);
	return path;
}

static char *get_pkg(const struct ctx *c, enum pkg_kind kind,
                     const char *spec, struct err *e)
{
	/* a Debian version may hold a colon; its members begin with a slash */
	const char *colon = strstr(spec, kind == PKG_DEB ? ":/" : ":");
	char *name = mem_strndup(spec, colon ? (size_t)(colon - spec)
	                                     : strlen(spec), e);
	const char *v = getenv("R1_CACHE"), *home = getenv("HOME");
	char *cache, *path = NULL;

	if (c->o->cache || (v && *v)) {
		cache = mem_strdup(c->o->cache ? c->o->cache : v, e);
	} else if ((v = getenv("XDG_CACHE_HOME")) && *v) {
		cache = mem_printf(e, "%s/r1-interp", v);
	} else if (home && *home) {
		cache = mem_printf(e, "%s/.cache/r1-interp", home);
	} else {
		cache = NULL;
		err_set(e, ERR_USAGE, "HOME is not set: give --cache");
	}
	if (name && cache)
		path = pkg_get(kind, name, colon ? colon + 1 : NULL,
		               c->o->sha256, cache, &c->log, e);
	mem_free(name);
	mem_free(cache);
	return path;
}

static char *get_file(const struct ctx *c, const char *path, struct err *e)
{
	struct stat st;

	if (stat(path, &st) < 0) {
		err_sys(e, "%s", path);
		return NULL;
	}
	if (check_digest(path, path, c->o->sha256, e) < 0)
		return NULL;
	return mem_strdup(path, e);
}

static char *get(const struct ctx *c, const char *source, struct err *e)
{
	static const struct { const char *prefix; int kind; } kinds[] = {
		{ "https://", 0 }, { "http://", 0 }, { "hf:", 1 },
		{ "hf-dataset:", 2 }, { "pypi:", 3 }, { "deb:", 4 },
		{ "file:", 5 }
	};
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t n = strlen(kinds[i].prefix);

		if (strncmp(source, kinds[i].prefix, n) != 0)
			continue;
		switch (kinds[i].kind) {
		case 0:
			return get_url(c, source, e);
		case 1:
		case 2:
			return get_hub(c, source + n, kinds[i].kind == 2, e);
		case 3:
			return get_pkg(c, PKG_PYPI, source + n, e);
		case 4:
			return get_pkg(c, PKG_DEB, source + n, e);
		default:
			return get_file(c, source + n, e);
		}
	}
	err_set(e, ERR_USAGE, "%s: wanted hf:, hf-dataset:, https://, http://, "
	        "pypi:, deb: or file:", source);
	return NULL;
}

/* Puts a link to path at out, unless path is out. */
static char *place(char *path, const char *out, struct err *e)
{
	char *full;

	if (!path || !out || strcmp(path, out) == 0)
		return path;
	full = realpath(path, NULL);
	if (!full)
		err_sys(e, "%s", path);
	mem_free(path);
	path = NULL;
	if (full && file_mkparents(out, e) == 0 && file_link(full, out, e) == 0)
		path = mem_strdup(out, e);
	free(full);
	return path;
}

static void check_hex(const char *s)
{
	if (s && (strlen(s) != SHA256_HEX - 1 ||
	          strspn(s, "0123456789abcdef") != SHA256_HEX - 1))
		cli_usage(&tool, "--sha256 wants 64 lower-case hexadecimal "
		          "digits, found '%s'", s);
}

int main(int argc, char **argv)
{
	struct watch watch = { .on = 0 };
	struct cli_common common;
	struct err e = { 0 };
	struct opts o;
	struct ctx c = { .o = &o };
	int at = cli_parse(&tool, argc, argv, &o, sizeof(o), &common);
	char *path;

	check_hex(o.sha256);
	c.log = cli_log(&tool);
	c.http = (struct http_opts){
		.tries = (int)o.tries, .wait_s = o.wait,
		.stall_s = (int)o.stall, .log = c.log,
		.progress = common.progress ? show : NULL, .ctx = &watch
	};
	path = place(get(&c, argv[at], &e), o.out, &e);
	if (!path)
		cli_die(&tool, &e);
	puts(path);
	mem_free(path);
	free(o.include.item);
	free(common.command);
	cli_close_stdout(&tool);
	return 0;
}
