#include "hub.h"

#include <errno.h>
#include <fnmatch.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "mem.h"
#include "sha256.h"

enum {
	TOKEN_MAX_BYTES = 4096,
	JSON_MAX_BYTES = 64 << 20,	/* one page of a listing */
	PAGES_MAX = 10000,
	COMMIT_HEX = 40
};

struct hub {
	struct http *http;
	struct http_opts o;
	char *endpoint;		/* without a slash at the end */
	char *cache;
	char *token;
	int offline;
};

/* ---- strings ---- */

static int is_hex(const char *s, size_t n)
{
	return strlen(s) == n && strspn(s, "0123456789abcdef") == n;
}

/* A name that may become a file's: no separators, no leading dot. */
static int is_plain(const char *s)
{
	return *s && *s != '.' && *s != '-' && strlen(s) < 200 &&
	       strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	                 "0123456789._-") == strlen(s);
}

/* A relative path that stays below where it starts. */
static int is_inside(const char *s)
{
	const char *p = s, *end;

	if (!*s || strlen(s) > 1000)
		return 0;
	for (; *p; p++)
		if ((unsigned char)*p < 32 || *p == 127 || *p == '\\')
			return 0;
	for (p = s;; p = end + 1) {
		size_t n;

		end = strchr(p, '/');
		n = end ? (size_t)(end - p) : strlen(p);
		if (n == 0 || (n == 1 && p[0] == '.') ||
		    (n == 2 && p[0] == '.' && p[1] == '.'))
			return 0;
		if (!end)
			return 1;
	}
}

/* ---- what is asked for ---- */

static int good_id(const char *id)
{
	const char *slash = strchr(id, '/');
	char org[256];

	if (!slash)
		return is_plain(id);
	if (slash - id >= (int)sizeof(org))
		return 0;
	snprintf(org, sizeof(org), "%.*s", (int)(slash - id), id);
	return is_plain(org) && is_plain(slash + 1);
}

int hub_ref_parse(const char *spec, int dataset, struct hub_ref *r,
                  struct err *e)
{
	const char *colon = strchr(spec, ':');
	size_t n_left = colon ? (size_t)(colon - spec) : strlen(spec);
	const char *at = memchr(spec, '@', n_left);
	size_t n_id = at ? (size_t)(at - spec) : n_left;

	memset(r, 0, sizeof(*r));
	r->dataset = dataset;
	r->id = mem_strndup(spec, n_id, e);
	r->rev = at ? mem_strndup(at + 1, n_left - n_id - 1, e)
	            : mem_strdup("main", e);
	if (!r->id || !r->rev)
		return -1;
	if (colon && !(r->path = mem_strdup(colon + 1, e)))
		return -1;
	if (!good_id(r->id) || !is_inside(r->rev) ||
	    (r->path && !is_inside(r->path)))
		return err_set(e, ERR_USAGE,
		               "%s: wanted org/name[@revision][:path]", spec);
	return 0;
}

void hub_ref_free(struct hub_ref *r)
{
	mem_free(r->id);
	mem_free(r->rev);
	mem_free(r->path);
	memset(r, 0, sizeof(*r));
}

/* ---- the environment ---- */

static const char *env(const char *name)
{
	const char *v = getenv(name);

	return v && *v ? v : NULL;
}

static int find_cache(char **home, char **cache, struct err *e)
{
	const char *v;

	if ((v = env("HF_HOME")))
		*home = mem_strdup(v, e);
	else if ((v = env("XDG_CACHE_HOME")))
		*home = mem_printf(e, "%s/huggingface", v);
	else if ((v = env("HOME")))
		*home = mem_printf(e, "%s/.cache/huggingface", v);
	else
		return err_set(e, ERR_USAGE,
		               "neither HF_HOME nor HOME is set");
	if (!*home)
		return -1;
	v = env("HF_HUB_CACHE");
	*cache = v ? mem_strdup(v, e) : mem_printf(e, "%s/hub", *home);
	return *cache ? 0 : -1;
}

/* HF_TOKEN, or the file hf's login leaves; NULL in *token when neither. */
static int find_token(const char *home, char **token, struct err *e)
{
	const char *v = env("HF_TOKEN"), *p = env("HF_TOKEN_PATH");
	char *path = NULL, buf[TOKEN_MAX_BYTES + 1];
	size_t n = 0, from;
	FILE *f;

	if (v) {
		n = strlen(v);
		if (n <= TOKEN_MAX_BYTES)
			memcpy(buf, v, n);
	} else {
		path = p ? mem_strdup(p, e) : mem_printf(e, "%s/token", home);
		if (!path)
			return -1;
		f = fopen(path, "re");
		if (f) {
			n = fread(buf, 1, sizeof(buf), f);
			fclose(f);
		}
		mem_free(path);
	}
	if (n > TOKEN_MAX_BYTES)
		return err_set(e, ERR_USAGE, "the Hub's token is longer than "
		               "%d bytes", TOKEN_MAX_BYTES);
	while (n && strchr(" \t\r\n", buf[n - 1]))
		n--;
	for (from = 0; from < n && strchr(" \t\r\n", buf[from]); from++)
		;
	for (size_t i = from; i < n; i++)
		if (buf[i] <= 32 || buf[i] == 127)
			return err_set(e, ERR_USAGE, "the Hub's token holds "
			               "characters that no token has");
	if (n > from)
		*token = mem_strndup(buf + from, n - from, e);
	return n > from && !*token ? -1 : 0;
}

static int is_true(const char *v)
{
	return v && (!strcmp(v, "1") || !strcasecmp(v, "true") ||
	             !strcasecmp(v, "yes") || !strcasecmp(v, "on"));
}

struct hub *hub_new(const struct http_opts *o, struct err *e)
{
	struct hub *h = mem_array(1, sizeof(*h), e);
	const char *v = env("HF_ENDPOINT");
	char *home = NULL;
	size_t n;

	if (!h)
		return NULL;
	h->o = *o;
	h->offline = is_true(env("HF_HUB_OFFLINE"));
	h->endpoint = mem_strdup(v ? v : "https://huggingface.co", e);
	if (!h->endpoint || find_cache(&home, &h->cache, e) < 0 ||
	    find_token(home, &h->token, e) < 0)
		goto fail;
	for (n = strlen(h->endpoint); n && h->endpoint[n - 1] == '/'; n--)
		h->endpoint[n - 1] = 0;
	h->o.token = h->token;
	h->o.token_for = h->endpoint;
	h->http = http_new(&h->o, e);
	if (!h->http)
		goto fail;
	mem_free(home);
	return h;
fail:
	mem_free(home);
	hub_free(h);
	return NULL;
}

void hub_free(struct hub *h)
{
	if (!h)
		return;
	http_free(h->http);
	mem_free(h->endpoint);
	mem_free(h->cache);
	mem_free(h->token);
	mem_free(h);
}

/* ---- the cache ---- */

/* models--org--name */
static char *folder_name(const struct hub_ref *r, struct err *e)
{
	const char *slash = strchr(r->id, '/');
	const char *kind = r->dataset ? "datasets" : "models";

	if (!slash)
		return mem_printf(e, "%s--%s", kind, r->id);
	return mem_printf(e, "%s--%.*s--%s", kind, (int)(slash - r->id), r->id,
	            slash + 1);
}

/* Everything about one call of hub_get. */
struct job {
	struct hub *h;
	const struct hub_ref *r;
	char *folder;		/* models--org--name */
	char *dir;		/* CACHE/models--org--name */
	char commit[COMMIT_HEX + 1];	/* "" while unknown */
};

static int exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0;
}

static char *snapshot(const struct job *j, const char *path, struct err *e)
{
	return mem_printf(e, "%s/snapshots/%s%s%s", j->dir, j->commit,
	            path ? "/" : "", path ? path : "");
}

/* The commit that refs/REV names, if it says anything sensible. */
static int read_ref(struct job *j, struct err *e)
{
	char *path = mem_printf(e, "%s/refs/%s", j->dir, j->r->rev);
	char buf[COMMIT_HEX + 2] = "";
	FILE *f;

	if (!path)
		return -1;
	f = fopen(path, "re");
	if (f) {
		buf[fread(buf, 1, COMMIT_HEX + 1, f)] = 0;
		fclose(f);
		buf[strcspn(buf, "\r\n")] = 0;
		if (is_hex(buf, COMMIT_HEX))
			memcpy(j->commit, buf, sizeof(j->commit));
	}
	mem_free(path);
	return 0;
}

/* Takes what the server says REV is, and notes it under refs/. */
static int learn_commit(struct job *j, const char *commit, struct err *e)
{
	char *path;
	int rc;

	if (!is_hex(commit, COMMIT_HEX))
		return err_set(e, ERR_FORMAT, "%s: the server names commit "
		               "'%s', wanted 40 hexadecimal digits", j->r->id,
		               commit);
	if (*j->commit && strcmp(j->commit, commit) != 0)
		return err_set(e, ERR_FORMAT, "%s: the server gives commit %s, "
		               "wanted %s", j->r->id, commit, j->commit);
	if (*j->commit)
		return 0;
	memcpy(j->commit, commit, sizeof(j->commit));
	path = mem_printf(e, "%s/refs/%s", j->dir, j->r->rev);
	if (!path)
		return -1;
	rc = file_mkparents(path, e);
	if (rc == 0)
		rc = file_write(path, commit, COMMIT_HEX, e);
	mem_free(path);
	return rc;
}

/* snapshots/COMMIT/PATH -> ../../blobs/ETAG, one more ../ per folder. */
static int link_blob(const struct job *j, const char *path, const char *etag,
                     struct err *e)
{
	char *link = snapshot(j, path, e), *to = NULL, old[1024];
	int rc = -1, depth = 2, i;
	const char *p;
	ssize_t n;

	for (p = path; *p; p++)
		depth += *p == '/';
	to = mem_scratch((size_t)depth * 3 + strlen(etag) + 7, 1, e);
	if (link && to) {
		for (i = 0; i < depth; i++)
			memcpy(to + 3 * i, "../", 3);
		sprintf(to + 3 * depth, "blobs/%s", etag);
		n = readlink(link, old, sizeof(old) - 1);
		old[n > 0 ? n : 0] = 0;
		rc = strcmp(old, to) == 0 ? 0 : file_mkparents(link, e);
		if (rc == 0 && strcmp(old, to) != 0)
			rc = file_link(to, link, e);
	}
	mem_free(link);
	mem_free(to);
	return rc;
}

static int check_digest(const char *file, const char *shown, const char *want,
                        struct err *e)
{
	char got[SHA256_HEX];

	if (sha256_file(file, got, e) < 0)
		return -1;
	if (strcmp(got, want) != 0)
		return err_set(e, ERR_FORMAT, "%s: sha256 is %s, wanted %s",
		               shown, got, want);
	return 0;
}

/* Downloads into blob, checks and renames. Two rounds: what an earlier run
 * left behind may have been bad. */
static int fill_blob(struct job *j, const char *url, const char *blob,
                     const char *etag, int64_t size, struct err *e)
{
	char *part = mem_printf(e, "%s.incomplete", blob);
	int round, rc = -1;

	for (round = 0; part && round < 2; round++) {
		rc = http_fetch(j->h->http, url, part, size,
		                round == 0 && size >= 0, e);
		if (rc == 0 && is_hex(etag, SHA256_HEX - 1)) {
			rc = check_digest(part, url, etag, e);
			if (rc < 0 && e->code == ERR_FORMAT && round == 0) {
				log_say(&j->h->o.log, "%s; fetching it anew",
				        e->msg);
				continue;
			}
			if (rc < 0)
				unlink(part);
		}
		break;
	}
	if (rc == 0 && rename(part, blob) < 0)
		rc = err_sys(e, "%s: cannot rename to %s", part, blob);
	mem_free(part);
	return rc;
}

/* The blob of one file, under its lock. */
static int get_blob(struct job *j, const char *url, const char *etag,
                    int64_t size, struct err *e)
{
	char *blob = mem_printf(e, "%s/blobs/%s", j->dir, etag);
	char *lock = mem_printf(e, "%s/.locks/%s/%s.lock", j->h->cache, j->folder,
	                  etag);
	struct stat st;
	int fd = -1, rc = -1;

	if (blob && lock && file_mkparents(blob, e) == 0 &&
	    file_mkparents(lock, e) == 0 && (fd = file_lock(lock, e)) >= 0) {
		if (stat(blob, &st) == 0 && (size < 0 || st.st_size == size))
			rc = 0;
		else
			rc = fill_blob(j, url, blob, etag, size, e);
	}
	if (fd >= 0)
		close(fd);
	mem_free(blob);
	mem_free(lock);
	return rc;
}

/* ---- requests ---- */

static char *file_url(const struct job *j, const char *path, struct err *e)
{
	char *rev = http_escape(*j->commit ? j->commit : j->r->rev, 0, e);
	char *name = http_escape(path, 1, e), *url = NULL;

	if (rev && name)
		url = mem_printf(e, "%s/%s%s/resolve/%s/%s", j->h->endpoint,
		           j->r->dataset ? "datasets/" : "", j->r->id, rev,
		           name);
	mem_free(rev);
	mem_free(name);
	return url;
}

static char *api_url(const struct job *j, const char *what, const char *rev,
                     const char *query, struct err *e)
{
	char *name = http_escape(rev, 0, e), *url = NULL;

	if (name)
		url = mem_printf(e, "%s/api/%s/%s/%s/%s%s", j->h->endpoint,
		           j->r->dataset ? "datasets" : "models", j->r->id,
		           what, name, query);
	mem_free(name);
	return url;
}

/* One file: its tag, length and commit from a HEAD, then its bytes. */
static int get_file(struct job *j, const char *path, const char *sha256,
                    struct err *e)
{
	char *url = file_url(j, path, e);
	struct http_reply r;
	const char *etag;
	int64_t size;
	int rc = -1;

	if (!url || http_head(j->h->http, url, &r, e) < 0)
		goto done;
	etag = *r.linked_etag ? r.linked_etag : r.etag;
	/* a redirect's own length is not the file's */
	size = r.linked_size >= 0 ? r.linked_size
	                          : r.status == 200 ? r.length : -1;
	if (!is_plain(etag)) {
		err_set(e, ERR_FORMAT, "%s: the server names no usable ETag",
		        url);
		goto done;
	}
	if (sha256 && is_hex(etag, SHA256_HEX - 1) && strcmp(etag, sha256)) {
		err_set(e, ERR_FORMAT, "%s: the Hub has sha256 %s, wanted %s",
		        url, etag, sha256);
		goto done;
	}
	if (learn_commit(j, r.commit, e) == 0 &&
	    get_blob(j, url, etag, size, e) == 0)
		rc = link_blob(j, path, etag, e);
done:
	mem_free(url);
	return rc;
}

static json_t *get_json(struct job *j, const char *url, struct http_reply *r,
                        struct err *e)
{
	json_error_t je;
	json_t *v = NULL;
	char *body;
	size_t n;

	if (http_text(j->h->http, url, JSON_MAX_BYTES, &body, &n, r, e) < 0)
		return NULL;
	v = json_loadb(body, n, 0, &je);
	if (!v)
		err_set(e, ERR_FORMAT, "%s: byte %d: %s", url, je.position,
		        je.text);
	mem_free(body);
	return v;
}

/* Adds a page of the listing to files: {path: bytes}. */
static int add_page(const char *url, const json_t *page, json_t *files,
                    struct err *e)
{
	const json_t *v;
	size_t i;

	if (!json_is_array(page))
		return err_set(e, ERR_FORMAT, "%s: wanted a list of files",
		               url);
	json_array_foreach(page, i, v) {
		const char *type = json_string_value(json_object_get(v, "type"));
		const char *path = json_string_value(json_object_get(v, "path"));
		json_t *size = json_object_get(v, "size");

		if (type && strcmp(type, "file") != 0)
			continue;
		if (!type || !path || !is_inside(path) ||
		    !json_is_integer(size))
			return err_set(e, ERR_FORMAT, "%s: entry %zu: wanted "
			               "type, size and a path that stays "
			               "inside", url, i);
		if (json_object_set(files, path, size) < 0)
			return err_set(e, ERR_MEM, "%s: out of memory", url);
	}
	return 0;
}

/* The commit behind REV, then all its files, page by page. */
static json_t *list_online(struct job *j, struct err *e)
{
	json_t *files = json_object(), *v = NULL;
	struct http_reply r;
	const char *sha;
	char *url = api_url(j, "revision", *j->commit ? j->commit : j->r->rev,
	                    "", e);
	int pages, ok = 0;

	if (!files || !url || !(v = get_json(j, url, &r, e)))
		goto done;
	sha = json_string_value(json_object_get(v, "sha"));
	if (learn_commit(j, sha ? sha : "", e) < 0)
		goto done;
	mem_free(url);
	url = api_url(j, "tree", j->commit, "?recursive=true", e);
	for (pages = 0; url && !ok; pages++) {
		json_decref(v);
		v = get_json(j, url, &r, e);
		if (!v || add_page(url, v, files, e) < 0)
			break;
		ok = !*r.next;
		if (pages == PAGES_MAX) {
			err_set(e, ERR_FORMAT, "%s: more than %d pages", url,
			        PAGES_MAX);
			break;
		}
		mem_free(url);
		url = mem_strdup(r.next, e);
	}
done:
	mem_free(url);
	json_decref(v);
	if (!ok) {
		json_decref(files);
		files = NULL;
	}
	return files;
}

/* The listing of the commit as kept beside the snapshots. */
static json_t *list_kept(const struct job *j, struct err *e)
{
	char *path = mem_printf(e, "%s/.r1/%s.json", j->dir, j->commit);
	json_t *v = path ? json_load_file(path, 0, NULL) : NULL;

	mem_free(path);
	return json_object_get(v, "files") ? v : (json_decref(v), NULL);
}

static int keep_list(const struct job *j, json_t *files, struct err *e)
{
	char *path = mem_printf(e, "%s/.r1/%s.json", j->dir, j->commit);
	json_t *v = json_pack("{s:O}", "files", files);
	char *s = v ? json_dumps(v, JSON_INDENT(1) | JSON_SORT_KEYS) : NULL;
	int rc = -1;

	if (path && s && file_mkparents(path, e) == 0)
		rc = file_write(path, s, strlen(s), e);
	else if (!s)
		err_set(e, ERR_MEM, "%s: out of memory", j->r->id);
	free(s);
	json_decref(v);
	mem_free(path);
	return rc;
}

static int wanted(const struct hub_ref *r, const char *path,
                  const char *const *include, size_t n)
{
	static const char *const model[] = { "*.json", "*.safetensors" };
	size_t i;

	for (i = 0; i < n; i++)
		if (fnmatch(include[i], path, 0) == 0)
			return 1;
	if (n)
		return 0;
	if (r->dataset)
		return 1;
	for (i = 0; i < 2; i++)
		if (fnmatch(model[i], path, FNM_PATHNAME) == 0)
			return 1;
	return 0;
}

/* All wanted files; when fetch is 0, only whether they are there. 1 all
 * there, 0 some missing. */
static int each_file(struct job *j, json_t *files, const char *const *include,
                     size_t n, int fetch, struct err *e)
{
	size_t n_wanted = 0;
	const char *path;
	json_t *size;

	json_object_foreach(files, path, size) {
		struct stat st;
		char *at;
		int there;

		if (!is_inside(path) || !wanted(j->r, path, include, n))
			continue;
		n_wanted++;
		at = snapshot(j, path, e);
		if (!at)
			return -1;
		there = stat(at, &st) == 0 &&
		        st.st_size == json_integer_value(size);
		mem_free(at);
		if (there)
			continue;
		if (!fetch)
			return 0;
		if (get_file(j, path, NULL, e) < 0)
			return -1;
	}
	if (n_wanted == 0)
		return err_set(e, ERR_FORMAT, "%s@%s: no file matches",
		               j->r->id, j->r->rev);
	return 1;
}

/* One of us at a time per repository; waits. A descriptor, or -1. */
static int lock_repo(const struct job *j, struct err *e)
{
	char *path = mem_printf(e, "%s/.locks/%s/r1.lock", j->h->cache,
	                        j->folder);
	int fd = path && file_mkparents(path, e) == 0 ? file_lock(path, e)
	                                              : -1;

	mem_free(path);
	return fd;
}

static int no_network(const struct job *j, const char *what, struct err *e)
{
	return err_set(e, ERR_IO, "%s@%s: %s is not in the cache, and "
	               "HF_HUB_OFFLINE is set", j->r->id, j->r->rev, what);
}

/* Files named outright: no listing, which is long for a large data set. */
static int get_named(struct job *j, const char *const *path, size_t n,
                     struct err *e)
{
	int lock = -1, rc = 0, there;
	size_t i;
	char *at;

	for (i = 0; i < n && rc == 0; i++) {
		at = *j->commit ? snapshot(j, path[i], e) : NULL;
		there = at && exists(at);
		mem_free(at);
		if (there)
			continue;
		if (j->h->offline)
			return no_network(j, path[i], e);
		if (lock < 0 && (lock = lock_repo(j, e)) < 0)
			return -1;
		rc = get_file(j, path[i], NULL, e);
	}
	if (lock >= 0)
		close(lock);
	return rc;
}

static int get_matching(struct job *j, const char *const *include, size_t n,
                        struct err *e)
{
	json_t *kept = *j->commit ? list_kept(j, e) : NULL, *files;
	int lock, got = kept ? each_file(j, json_object_get(kept, "files"), include,
	                                 n, 0, e) : 0;

	json_decref(kept);
	if (got != 0)
		return got < 0 ? -1 : 0;
	if (j->h->offline)
		return no_network(j, "all that is asked for", e);
	lock = lock_repo(j, e);
	files = lock < 0 ? NULL : list_online(j, e);
	got = files ? keep_list(j, files, e) : -1;
	if (got == 0)
		got = each_file(j, files, include, n, 1, e);
	json_decref(files);
	if (lock >= 0)
		close(lock);
	return got < 0 ? -1 : 0;
}

/* Whether the one file is there, as far as can be said without a request. */
static int have_file(const struct job *j, const char *sha256, struct err *e)
{
	char *at = *j->commit ? snapshot(j, j->r->path, e) : NULL;
	struct err why = { 0 };
	int there = at && exists(at) &&
	            (!sha256 || check_digest(at, at, sha256, &why) == 0);

	mem_free(at);
	return there;
}

static int are_names(const char *const *include, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (strpbrk(include[i], "*?[\\") || !is_inside(include[i]))
			return 0;
	return n > 0;
}

/* The one file that was asked for, from the server. */
static int get_one(struct job *j, const char *sha256, struct err *e)
{
	int lock = lock_repo(j, e), rc;
	char *at;

	if (lock < 0)
		return -1;
	rc = get_file(j, j->r->path, sha256, e);
	if (rc == 0 && sha256) {
		at = snapshot(j, j->r->path, e);
		rc = at ? check_digest(at, at, sha256, e) : -1;
		mem_free(at);
	}
	close(lock);
	return rc;
}

char *hub_get(struct hub *h, const struct hub_ref *r,
              const char *const *include, size_t n, const char *sha256,
              struct err *e)
{
	struct job j = { .h = h, .r = r };
	int fixed = is_hex(r->rev, COMMIT_HEX), rc = -1;
	char *out = NULL;

	j.folder = folder_name(r, e);
	j.dir = j.folder ? mem_printf(e, "%s/%s", h->cache, j.folder) : NULL;
	if (!j.dir)
		goto done;
	if (fixed)
		memcpy(j.commit, r->rev, sizeof(j.commit));
	else if (h->offline || sha256)
		rc = read_ref(&j, e);
	if (!r->path && are_names(include, n)) {
		rc = get_named(&j, include, n, e);
	} else if (!r->path) {
		rc = get_matching(&j, include, n, e);
	} else if (have_file(&j, sha256, e)) {
		rc = 0;
	} else if (h->offline) {
		rc = no_network(&j, r->path, e);
	} else {
		if (!fixed)
			*j.commit = 0;	/* the ref may have moved */
		rc = get_one(&j, sha256, e);
	}
	if (rc == 0)
		out = snapshot(&j, r->path, e);
done:
	mem_free(j.folder);
	mem_free(j.dir);
	return out;
}
