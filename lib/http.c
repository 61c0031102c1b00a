#include "http.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "http_impl.h"
#include "mem.h"

enum {
	REDIRECTS_MAX = 10,
	PAUSE_MAX_S = 60,
	RETRY_AFTER_MAX_S = 900,	/* longer: give up and say so */
	SLOW_BYTES_S = 64		/* slower than this is stalled */
};

struct http {
	CURL *curl;
	struct http_opts o;
};

/* Where a body goes: a file (fd >= 0), memory (max > 0), or nowhere. */
struct sink {
	int fd;
	const char *path;
	int64_t at, want;	/* bytes there; wanted in all, -1 unknown */
	char *text;
	size_t n, cap, max;
};

/* One request under way. */
struct xfer {
	struct http *h;
	const char *url;	/* as the user knows it, for messages */
	struct sink *sink;
	struct http_reply *r;
	long status;		/* of the header block being read */
	int64_t from, total;	/* Content-Range, -1 unknown */
	int asked_range;
	int body;		/* the sink is ready for bytes */
	struct err *e;
	int failed;		/* e is set by a callback, final */
};

/* How an attempt ended. */
enum outcome { DONE, AGAIN, FINAL };

/* ---- headers ---- */

static void set_tag(char *out, size_t n, int *weak, const char *v)
{
	size_t len;

	if (weak)
		*weak = strncmp(v, "W/", 2) == 0;
	if (strncmp(v, "W/", 2) == 0)
		v += 2;
	len = strlen(v);
	if (len >= 2 && v[0] == '"' && v[len - 1] == '"') {
		v++;
		len -= 2;
	}
	snprintf(out, n, "%.*s", (int)len, v);
}

/* <url>; rel="next" among a list of links. */
static void set_next(char *out, size_t n, const char *v)
{
	const char *open, *close, *rel, *comma;

	while ((open = strchr(v, '<')) && (close = strchr(open, '>'))) {
		comma = strchr(close, ',');
		rel = strstr(close, "rel=\"next\"");
		if (rel && (!comma || rel < comma)) {
			snprintf(out, n, "%.*s", (int)(close - open - 1),
			         open + 1);
			return;
		}
		v = close + 1;
	}
}

static int64_t number(const char *s)
{
	char *end;
	long long v;

	errno = 0;
	v = strtoll(s, &end, 10);
	return errno || end == s || *end || v < 0 ? -1 : v;
}

static void read_header(struct xfer *x, const char *name, const char *v)
{
	struct http_reply *r = x->r;
	long long from, to, total;

	if (!strcasecmp(name, "etag"))
		set_tag(r->etag, sizeof(r->etag), &r->weak, v);
	else if (!strcasecmp(name, "x-linked-etag"))
		set_tag(r->linked_etag, sizeof(r->linked_etag), NULL, v);
	else if (!strcasecmp(name, "x-linked-size"))
		r->linked_size = number(v);
	else if (!strcasecmp(name, "x-repo-commit"))
		snprintf(r->commit, sizeof(r->commit), "%s", v);
	else if (!strcasecmp(name, "content-length"))
		r->length = number(v);
	else if (!strcasecmp(name, "link"))
		set_next(r->next, sizeof(r->next), v);
	else if (!strcasecmp(name, "content-range") &&
	         sscanf(v, "bytes %lld-%lld/%lld", &from, &to, &total) == 3) {
		x->from = from;
		x->total = total;
	} else if (!strcasecmp(name, "content-range") &&
	           sscanf(v, "bytes */%lld", &total) == 1) {
		x->total = total;
	}
}

static int fail(struct xfer *x)
{
	x->failed = 1;
	return -1;
}

/* The headers of a 200 or 206 are complete: makes the file ready. */
static int begin_body(struct xfer *x)
{
	struct sink *s = x->sink;
	int64_t whole;

	x->body = 1;
	if (s->fd < 0)
		return 0;
	if (x->status == 206) {
		if (!x->asked_range || x->from != s->at) {
			err_set(x->e, ERR_IO, "%s: the server sent bytes from "
			        "%lld, wanted from %lld", x->url,
			        (long long)x->from, (long long)s->at);
			return fail(x);
		}
		whole = x->total;
	} else {
		if (s->at > 0)
			log_say(&x->h->o.log, "%s: the server sends the whole "
			        "again", x->url);
		s->at = 0;
		if (ftruncate(s->fd, 0) < 0) {
			err_sys(x->e, "%s", s->path);
			return fail(x);
		}
		whole = x->r->length;
	}
	if (s->want >= 0 && whole >= 0 && whole != s->want) {
		err_set(x->e, ERR_FORMAT, "%s: the server has %lld bytes, "
		        "wanted %lld", x->url, (long long)whole,
		        (long long)s->want);
		return fail(x);
	}
	if (s->want < 0)
		s->want = whole;
	return 0;
}

static size_t on_header(char *p, size_t size, size_t n, void *ctx)
{
	struct xfer *x = ctx;
	char line[4096], *colon, *v;
	size_t len = n * size;

	if (x->body)		/* trailers */
		return len;
	while (len && (p[len - 1] == '\n' || p[len - 1] == '\r'))
		len--;
	if (len >= sizeof(line))
		return n * size;
	memcpy(line, p, len);
	line[len] = 0;
	if (strncmp(line, "HTTP/", 5) == 0) {
		char *space = strchr(line, ' ');

		/* the Hub's own headers stand on any hop of the way */
		x->r->length = x->from = x->total = -1;
		x->r->etag[0] = x->r->next[0] = 0;
		x->r->weak = 0;
		x->status = space ? strtol(space, NULL, 10) : 0;
		x->r->status = x->status;
	} else if (len == 0) {
		if ((x->status == 200 || x->status == 206) && x->sink &&
		    begin_body(x) < 0)
			return 0;
	} else if ((colon = strchr(line, ':'))) {
		*colon = 0;
		for (v = colon + 1; *v == ' ' || *v == '\t'; v++)
			;
		read_header(x, line, v);
	}
	return n * size;
}

/* ---- bodies ---- */

static int write_file(struct xfer *x, const char *p, size_t n)
{
	struct sink *s = x->sink;

	if (s->want >= 0 && (int64_t)n > s->want - s->at) {
		err_set(x->e, ERR_FORMAT, "%s: the server sends more than the "
		        "%lld bytes wanted", x->url, (long long)s->want);
		return -1;
	}
	while (n) {
		ssize_t got = pwrite(s->fd, p, n, (off_t)s->at);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_sys(x->e, "%s: cannot write %zu bytes",
			               s->path, n);
		p += got;
		n -= (size_t)got;
		s->at += got;
	}
	if (x->h->o.progress)
		x->h->o.progress(x->h->o.ctx, s->at, s->want);
	return 0;
}

static int write_text(struct xfer *x, const char *p, size_t n)
{
	struct sink *s = x->sink;

	if (n > s->max - s->n)
		return err_set(x->e, ERR_FORMAT, "%s: the answer is longer "
		               "than %zu bytes", x->url, s->max);
	if (mem_grow(&s->text, &s->cap, s->n + n + 1, 1, x->e) < 0)
		return -1;
	memcpy(s->text + s->n, p, n);
	s->n += n;
	s->text[s->n] = 0;
	return 0;
}

static size_t on_body(char *p, size_t size, size_t n, void *ctx)
{
	struct xfer *x = ctx;
	int rc;

	if (!x->body)		/* of an error or a redirect */
		return n * size;
	rc = x->sink->fd >= 0 ? write_file(x, p, n * size)
	                      : write_text(x, p, n * size);
	if (rc < 0) {
		fail(x);
		return 0;
	}
	return n * size;
}

/* ---- origins ---- */

/* The part of a URL, for curl_free, or NULL. */
static char *url_part(const char *url, CURLUPart part)
{
	CURLU *u = curl_url();
	char *s = NULL;

	if (u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
	    curl_url_get(u, part, &s, CURLU_DEFAULT_PORT) != CURLUE_OK)
		s = NULL;
	curl_url_cleanup(u);
	return s;
}

static int same_part(const char *a, const char *b, CURLUPart part)
{
	char *x = url_part(a, part), *y = url_part(b, part);
	int same = x && y && strcasecmp(x, y) == 0;

	curl_free(x);
	curl_free(y);
	return same;
}

/* Scheme, host and port. */
static int same_origin(const char *a, const char *b)
{
	return same_part(a, b, CURLUPART_SCHEME) &&
	       same_part(a, b, CURLUPART_HOST) &&
	       same_part(a, b, CURLUPART_PORT);
}

int http_is_https(const char *url)
{
	return strncasecmp(url, "https://", 8) == 0;
}

int http_check_url(const char *url, const char *shown, struct err *e)
{
	char *host = url_part(url, CURLUPART_HOST);
	char *user = url_part(url, CURLUPART_USER);
	int rc = 0;

	if (!host || (!http_is_https(url) && strncasecmp(url, "http://", 7)))
		rc = err_set(e, ERR_USAGE, "%s: not an http(s) address",
		             shown);
	else if (user)
		rc = err_set(e, ERR_USAGE,
		             "%.*s...: no user names or passwords in addresses",
		             8, shown);
	curl_free(host);
	curl_free(user);
	return rc;
}

/* ---- one attempt ---- */

/* A single exchange with `at`, no redirects. */
static CURLcode exchange(struct xfer *x, const char *at, int head,
                         const char *range, const char *if_range)
{
	struct http *h = x->h;
	struct curl_slist *list = NULL;
	char line[300];
	CURLcode rc;

	curl_easy_reset(h->curl);
	/* stored bytes, as they are: lengths and ranges count those */
	list = curl_slist_append(list, "Accept-Encoding: identity");
	if (range && if_range && *if_range) {
		snprintf(line, sizeof(line), "If-Range: \"%s\"", if_range);
		list = curl_slist_append(list, line);
	}
	curl_easy_setopt(h->curl, CURLOPT_URL, at);
	curl_easy_setopt(h->curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(h->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h->curl, CURLOPT_USERAGENT, "r1-interp");
	curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, list);
	curl_easy_setopt(h->curl, CURLOPT_NOBODY, (long)head);
	curl_easy_setopt(h->curl, CURLOPT_RANGE, range);
	curl_easy_setopt(h->curl, CURLOPT_CONNECTTIMEOUT, (long)h->o.stall_s);
	curl_easy_setopt(h->curl, CURLOPT_LOW_SPEED_TIME, (long)h->o.stall_s);
	curl_easy_setopt(h->curl, CURLOPT_LOW_SPEED_LIMIT, (long)SLOW_BYTES_S);
	curl_easy_setopt(h->curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(h->curl, CURLOPT_HEADERDATA, x);
	curl_easy_setopt(h->curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(h->curl, CURLOPT_WRITEDATA, x);
	if (h->o.token && h->o.token_for && same_origin(at, h->o.token_for)) {
		curl_easy_setopt(h->curl, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
		curl_easy_setopt(h->curl, CURLOPT_XOAUTH2_BEARER, h->o.token);
	}
	x->status = 0;
	x->body = 0;
	x->asked_range = range != NULL;
	rc = curl_easy_perform(h->curl);
	curl_slist_free_all(list);
	return rc;
}

static int refuse_status(const struct xfer *x, int had_token, struct err *e)
{
	const char *hint = "";

	if (x->status == 401 || x->status == 403)
		hint = had_token ? " (the token was not accepted here)"
		                 : " (a token may be needed: HF_TOKEN)";
	return err_set(e, ERR_IO, "%s: the server answered %ld%s", x->url,
	               x->status, hint);
}

static enum outcome judge_status(struct xfer *x, long *retry_after_s)
{
	curl_off_t after = 0;

	if (x->status < 400)
		return DONE;
	refuse_status(x, x->h->o.token != NULL, x->e);
	if (x->status != 408 && x->status != 429 && x->status < 500)
		return FINAL;
	curl_easy_getinfo(x->h->curl, CURLINFO_RETRY_AFTER, &after);
	*retry_after_s = after > 0 ? (long)after : 0;
	return AGAIN;
}

/* Follows redirects from url; a HEAD stays within its origin. Sets x->e unless
 * DONE. 416 is the caller's to judge and counts as DONE. */
static enum outcome attempt(struct xfer *x, const char *url, int head,
                            const char *range, const char *if_range,
                            long *retry_after_s)
{
	char *at = mem_strdup(url, x->e), *to = NULL;
	enum outcome got = FINAL;
	CURLcode rc;
	int hops;

	*retry_after_s = 0;
	*x->r = (struct http_reply){ .length = -1, .linked_size = -1 };
	for (hops = 0; at; hops++) {
		char *next;

		rc = exchange(x, at, head, range, if_range);
		if (x->failed)
			break;
		if (rc != CURLE_OK) {
			if (!x->sink || x->sink->fd < 0)
				err_set(x->e, ERR_IO, "%s: %s", x->url,
				        curl_easy_strerror(rc));
			else
				err_set(x->e, ERR_IO, "%s: %s at byte %lld",
				        x->url, curl_easy_strerror(rc),
				        (long long)x->sink->at);
			got = rc == CURLE_URL_MALFORMAT ||
			      rc == CURLE_PEER_FAILED_VERIFICATION ? FINAL
			                                           : AGAIN;
			break;
		}
		to = NULL;
		curl_easy_getinfo(x->h->curl, CURLINFO_REDIRECT_URL, &to);
		if (x->status < 300 || x->status >= 400 || !to) {
			got = x->status == 416 && range ? DONE
			      : judge_status(x, retry_after_s);
			break;
		}
		if (head && !same_origin(at, to)) {
			got = DONE;
			break;
		}
		if (hops == REDIRECTS_MAX) {
			err_set(x->e, ERR_IO, "%s: more than %d redirects",
			        x->url, REDIRECTS_MAX);
			break;
		}
		if (http_is_https(at) && !http_is_https(to)) {
			err_set(x->e, ERR_IO, "%s: redirected from https to "
			        "something else", x->url);
			break;
		}
		if (http_check_url(to, x->url, NULL) < 0) {
			err_set(x->e, ERR_IO, "%s: redirected to what is no "
			        "http(s) address", x->url);
			break;
		}
		next = mem_strdup(to, x->e);
		mem_free(at);
		at = next;
	}
	mem_free(at);
	return got;
}

/* ---- trying again ---- */

static void sleep_s(double s)
{
	struct timespec t = { .tv_sec = (time_t)s,
	                      .tv_nsec = (long)((s - (double)(time_t)s) * 1e9) };

	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

/* After a failure: waits and returns 1, or 0 when it was the last try (e then
 * says so). *fails counts failures in a row. */
static int pause_or_stop(const struct http *h, int *fails, long retry_after_s,
                         struct err *e)
{
	double wait = h->o.wait_s;
	int i;

	if (++*fails >= h->o.tries) {
		if (h->o.tries > 1)
			err_wrap(e, "gave up after %d tries", h->o.tries);
		return 0;
	}
	if (retry_after_s > RETRY_AFTER_MAX_S) {
		err_wrap(e, "the server asks to come back in %ld s",
		         retry_after_s);
		return 0;
	}
	for (i = 1; i < *fails && wait < PAUSE_MAX_S; i++)
		wait *= 2;
	if (wait > PAUSE_MAX_S)
		wait = PAUSE_MAX_S;
	if (wait < (double)retry_after_s)
		wait = (double)retry_after_s;
	log_say(&h->o.log, "%s; trying again in %.3g s", e->msg, wait);
	sleep_s(wait);
	return 1;
}

struct http *http_new(const struct http_opts *o, struct err *e)
{
	struct http *h = mem_array(1, sizeof(*h), e);

	if (!h)
		return NULL;
	h->o = *o;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
		h->curl = curl_easy_init();
	if (!h->curl) {
		err_set(e, ERR_MEM, "libcurl cannot be started");
		mem_free(h);
		return NULL;
	}
	return h;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	curl_easy_cleanup(h->curl);
	curl_global_cleanup();
	mem_free(h);
}

int http_head(struct http *h, const char *url, struct http_reply *r,
              struct err *e)
{
	struct err last = { 0 };
	long after_s;
	int fails = 0;

	if (http_check_url(url, url, e) < 0)
		return -1;
	for (;;) {
		struct xfer x = { .h = h, .url = url, .r = r, .e = &last };
		enum outcome got = attempt(&x, url, 1, NULL, NULL, &after_s);

		if (got == DONE)
			return 0;
		if (got == FINAL || !pause_or_stop(h, &fails, after_s, &last))
			return err_set(e, last.code, "%s", last.msg);
	}
}

int http_text(struct http *h, const char *url, size_t max_bytes, char **text,
              size_t *n, struct http_reply *r, struct err *e)
{
	struct sink s = { .fd = -1, .max = max_bytes };
	struct err last = { 0 };
	long after_s;
	int fails = 0;

	if (http_check_url(url, url, e) < 0)
		return -1;
	for (;;) {
		struct xfer x = { .h = h, .url = url, .sink = &s, .r = r,
		                  .e = &last };
		enum outcome got;

		s.n = 0;
		if (mem_grow(&s.text, &s.cap, 1, 1, e) < 0)
			return -1;
		s.text[0] = 0;
		got = attempt(&x, url, 0, NULL, NULL, &after_s);
		if (got == DONE && r->status == 200) {
			*text = s.text;
			*n = s.n;
			return 0;
		}
		if (got == DONE) {
			refuse_status(&x, h->o.token != NULL, &last);
			got = FINAL;
		}
		if (got == FINAL || !pause_or_stop(h, &fails, after_s, &last)) {
			mem_free(s.text);
			return err_set(e, last.code, "%s", last.msg);
		}
	}
}

/* Opens and locks part; its length in *at. */
static int open_part(const char *part, int resume, int64_t *at, struct err *e)
{
	int fd = open(part, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	struct stat st;

	if (fd < 0)
		return err_sys(e, "%s", part);
	if (flock(fd, LOCK_EX) < 0 || fstat(fd, &st) < 0 ||
	    (!resume && ftruncate(fd, 0) < 0)) {
		err_sys(e, "%s", part);
		close(fd);
		return -1;
	}
	*at = resume ? st.st_size : 0;
	return fd;
}

/* What DONE means for a download: everything there, more to come (AGAIN), or
 * an answer that makes no sense. */
static enum outcome judge_file(struct xfer *x, int64_t size)
{
	struct sink *s = x->sink;

	if (x->status == 416) {
		if (x->total == s->at && (size < 0 || size == s->at))
			return DONE;	/* nothing was missing */
		err_set(x->e, ERR_IO, "%s: the server refuses bytes from %lld",
		        x->url, (long long)s->at);
		s->at = 0;
		if (ftruncate(s->fd, 0) < 0) {
			err_sys(x->e, "%s", s->path);
			return FINAL;
		}
		return AGAIN;
	}
	if (x->status != 200 && x->status != 206) {
		refuse_status(x, x->h->o.token != NULL, x->e);
		return FINAL;
	}
	if (s->want >= 0 && s->at < s->want) {
		err_set(x->e, ERR_IO, "%s: ended after %lld of %lld bytes",
		        x->url, (long long)s->at, (long long)s->want);
		return AGAIN;
	}
	return DONE;
}

int http_fetch(struct http *h, const char *url, const char *part, int64_t size,
               int resume, struct err *e)
{
	struct sink s = { .path = part };
	struct http_reply r = { 0 };
	struct err last = { 0 };
	char range[40], tag[sizeof(r.etag)] = "";
	enum outcome got = AGAIN;
	int fails = 0, again = 0;
	long after_s;

	if (http_check_url(url, url, e) < 0)
		return -1;
	s.fd = open_part(part, resume, &s.at, e);
	if (s.fd < 0)
		return -1;
	if (size >= 0 && s.at > size) {
		s.at = 0;
		if (ftruncate(s.fd, 0) < 0) {
			err_sys(&last, "%s", part);
			got = FINAL;
		}
	}
	if (size >= 0 && s.at == size)
		got = DONE;
	while (got == AGAIN) {
		struct xfer x = { .h = h, .url = url, .sink = &s, .r = &r,
		                  .e = &last };
		int64_t before = s.at;

		/* without a size or a tag to hold on to, nothing says that
		 * the rest belongs to the same file */
		if (again && size < 0 && !*tag)
			s.at = 0;
		snprintf(range, sizeof(range), "%lld-", (long long)s.at);
		s.want = size;
		got = attempt(&x, url, 0, s.at ? range : NULL, tag, &after_s);
		if (got == DONE)
			got = judge_file(&x, size);
		if (r.status == 200 || r.status == 206)
			snprintf(tag, sizeof(tag), "%s", r.weak ? "" : r.etag);
		again = 1;
		if (s.at > before)
			fails = 0;
		if (got == AGAIN && !pause_or_stop(h, &fails, after_s, &last))
			got = FINAL;
	}
	if (got == DONE && fsync(s.fd) < 0) {
		err_sys(&last, "%s: cannot flush", part);
		got = FINAL;
	}
	if (last.code == ERR_FORMAT && got == FINAL && ftruncate(s.fd, 0) < 0)
		err_sys(&last, "%s", part);
	close(s.fd);
	return got == DONE ? 0 : err_set(e, last.code, "%s", last.msg);
}

char *http_escape(const char *s, int keep_slash, struct err *e)
{
	static const char hex[] = "0123456789ABCDEF";
	char *out = mem_scratch(strlen(s) + 1, 3, e), *p = out;

	if (!out)
		return NULL;
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		    (c >= '0' && c <= '9') || strchr("-_.~", c) ||
		    (c == '/' && keep_slash)) {
			*p++ = (char)c;
		} else {
			*p++ = '%';
			*p++ = hex[c >> 4];
			*p++ = hex[c & 15];
		}
	}
	*p = 0;
	return out;
}
