#include "http_api.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "http_impl.h"
#include "mem.h"

enum {
	PAUSE_MAX_S = 60,	/* of our own pauses */
	CONNECT_S = 30,
	LIMITS = 5		/* kinds of rate limits that are told apart */
};

struct call {
	struct call *next;	/* in the queue, or of those that are done */
	struct http_api *a;
	struct http_api_call c;	/* url, headers and body below */
	char *url, *body;
	struct curl_slist *headers;
	CURL *easy;
	double not_before, begun;
	struct http_api_reply r;
	size_t cap;
	double after_s;		/* what the server asks to wait, -1 nothing */
	int should_retry;	/* x-should-retry: 1, 0, or -1 unsaid */
	double reset_s[LIMITS];	/* seconds until each limit begins anew */
	int empty[LIMITS];	/* whether it is used up */
	int failed;		/* e set by a callback */
};

struct http_api {
	CURLM *multi;
	struct http_api_opts o;
	struct call *queue;	/* waiting to be begun, in order */
	struct call *running;
	struct call *done;	/* answered, not yet handed out */
	size_t n_pending;
	int n_running, limit;	/* calls side by side, now and at most */
	int well;		/* answers since the limit was changed */
	double hold_until;	/* no call begins before */
	uint64_t random;
	int stopping;
};

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* In [0, 1): splitmix64. */
static double uniform(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

int http_api_private(const char *url)
{
	CURLU *u = curl_url();
	char *host = NULL;
	int yes = http_is_https(url);

	if (!yes && u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK)
		yes = !strcasecmp(host, "localhost") || !strcmp(host, "[::1]")
		      || !strncmp(host, "127.", 4);
	curl_free(host);
	curl_url_cleanup(u);
	return yes;
}

/* ---- answers, as they come ---- */

/* Seconds from now of a rate limit's reset: a time of RFC 3339, or a span as
 * "6m0s", "1.5s", "20ms". -1 when it is neither. */
static double reset_in(const char *v)
{
	struct tm t = { 0 };
	double sum = 0, x;
	char *end;

	if (sscanf(v, "%d-%d-%dT%d:%d:%d", &t.tm_year, &t.tm_mon, &t.tm_mday,
	           &t.tm_hour, &t.tm_min, &t.tm_sec) == 6) {
		t.tm_year -= 1900;
		t.tm_mon--;
		x = difftime(timegm(&t), time(NULL));
		return x > 0 ? x : 0;
	}
	while (*v) {
		x = strtod(v, &end);
		if (end == v || !(x >= 0))
			return -1;
		v = end;
		if (!strncmp(v, "ms", 2)) {
			x /= 1000;
			v++;
		} else if (*v == 'm') {
			x *= 60;
		} else if (*v == 'h') {
			x *= 3600;
		} else if (*v && *v != 's') {
			return -1;
		}
		v += *v != 0;
		sum += x;
	}
	return sum;
}

static int has(const char *s, const char *word)
{
	return strstr(s, word) != NULL;
}

/* anthropic-ratelimit-KIND-{remaining,reset}, x-ratelimit-{remaining,reset}-
 * KIND, in any order. */
static void read_limit(struct call *x, const char *name, const char *v)
{
	static const char *const kinds[LIMITS] = {
		"requests", "input-tokens", "output-tokens", "tokens", ""
	};
	int k = 0;

	while (!has(name, kinds[k]))
		k++;
	if (has(name, "remaining"))
		x->empty[k] = !strcmp(v, "0");
	else if (has(name, "reset"))
		x->reset_s[k] = reset_in(v);
}

/* Seconds for which some limit is used up. */
static double used_up(const struct call *x)
{
	double s = 0;
	int k;

	for (k = 0; k < LIMITS; k++)
		if (x->empty[k] && x->reset_s[k] > s)
			s = x->reset_s[k];
	return s;
}

static void read_header(struct call *x, char *name, const char *v)
{
	struct http_api_reply *r = &x->r;
	char *p;

	for (p = name; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p + 'a' - 'A');
	if (!strcmp(name, "content-type"))
		snprintf(r->type, sizeof(r->type), "%.*s",
		         (int)strcspn(v, "; \t"), v);
	else if (!strcmp(name, "request-id") || !strcmp(name, "x-request-id"))
		snprintf(r->request_id, sizeof(r->request_id), "%s", v);
	else if (!strcmp(name, "x-should-retry"))
		x->should_retry = !strcmp(v, "true");
	else if (!strcmp(name, "retry-after-ms"))
		x->after_s = strtod(v, NULL) / 1000;
	else if (has(name, "ratelimit-"))
		read_limit(x, name, v);
}

static size_t on_header(char *p, size_t size, size_t n, void *ctx)
{
	struct call *x = ctx;
	char line[1024], *colon;
	size_t len = n * size;

	while (len && (p[len - 1] == '\n' || p[len - 1] == '\r'))
		len--;
	if (len >= sizeof(line))
		return n * size;
	memcpy(line, p, len);
	line[len] = 0;
	if (!strncmp(line, "HTTP/", 5)) {
		char *space = strchr(line, ' ');

		x->r.status = space ? strtol(space, NULL, 10) : 0;
	} else if ((colon = strchr(line, ':'))) {
		*colon++ = 0;
		read_header(x, line, colon + strspn(colon, " \t"));
	}
	return n * size;
}

static size_t on_body(char *p, size_t size, size_t n, void *ctx)
{
	struct call *x = ctx;
	size_t max = x->c.reply_max ? x->c.reply_max : x->a->o.reply_max;

	n *= size;
	if (n > max - x->r.n) {
		err_set(&x->r.err, ERR_FORMAT, "%s: the answer is longer than "
		        "%zu bytes", x->url, max);
		x->failed = 1;
		return 0;
	}
	if (mem_grow(&x->r.body, &x->cap, x->r.n + n + 1, 1, &x->r.err) < 0) {
		x->failed = 1;
		return 0;
	}
	memcpy(x->r.body + x->r.n, p, n);
	x->r.n += n;
	x->r.body[x->r.n] = 0;
	return n;
}

/* ---- calls ---- */

static void call_free(struct call *x)
{
	if (!x)
		return;
	if (x->easy)
		curl_easy_cleanup(x->easy);
	curl_slist_free_all(x->headers);
	mem_free(x->url);
	mem_free(x->body);
	mem_free(x->r.body);
	mem_free(x);
}

static void append(struct call **list, struct call *x)
{
	x->next = NULL;
	while (*list)
		list = &(*list)->next;
	*list = x;
}

static void take_out(struct call **list, const struct call *x)
{
	while (*list != x)
		list = &(*list)->next;
	*list = x->next;
}

static int set_headers(struct call *x, struct err *e)
{
	const char *const *h = x->c.headers;
	struct curl_slist *more = NULL;

	for (; h && *h; h++) {
		if (!(more = curl_slist_append(x->headers, *h)))
			return err_set(e, ERR_MEM, "no memory for a request");
		x->headers = more;
	}
	return 0;
}

static int call_begin(struct call *x)
{
	CURL *c = x->easy ? x->easy : curl_easy_init();

	if (!c)
		return -1;
	x->easy = c;
	curl_easy_reset(c);
	x->r.status = 0;
	x->r.n = 0;
	x->r.type[0] = x->r.request_id[0] = 0;
	x->r.err = (struct err){ 0 };
	x->after_s = -1;
	x->should_retry = -1;
	memset(x->reset_s, 0, sizeof(x->reset_s));
	memset(x->empty, 0, sizeof(x->empty));
	x->failed = 0;
	curl_easy_setopt(c, CURLOPT_URL, x->url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "r1-interp");
	curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING, "");
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(c, CURLOPT_PIPEWAIT, 1L);
	if (x->a->o.ca_file && *x->a->o.ca_file)
		curl_easy_setopt(c, CURLOPT_CAINFO, x->a->o.ca_file);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, x->headers);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)(x->a->o.deadline_s * 1000));
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, x);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, x);
	curl_easy_setopt(c, CURLOPT_PRIVATE, x);
	if (x->body) {
		curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE,
		                 (curl_off_t)x->c.n_body);
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, x->body);
	}
	if (x->c.put)
		curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, "PUT");
	if (curl_multi_add_handle(x->a->multi, c) != CURLM_OK)
		return -1;
	x->begun = now_s();
	x->r.tries++;
	return 0;
}

/* Begins what may be begun. Returns seconds until the next could be, or a
 * large number. */
static double begin_calls(struct http_api *a)
{
	struct call **at = &a->queue, *x;
	double now = now_s(), next = 1e9;

	while ((x = *at)) {
		double when = x->not_before > a->hold_until ? x->not_before
		                                            : a->hold_until;

		if (a->stopping) {
			*at = x->next;
			err_set(&x->r.err, ERR_STOP, "stopped");
			append(&a->done, x);
			continue;
		}
		if (a->n_running >= a->limit)
			break;
		if (when > now) {
			if (when - now < next)
				next = when - now;
			at = &x->next;
			continue;
		}
		*at = x->next;
		if (call_begin(x) < 0) {
			err_set(&x->r.err, ERR_MEM, "libcurl takes no more "
			        "requests");
			append(&a->done, x);
			continue;
		}
		a->n_running++;
		append(&a->running, x);
	}
	return next;
}

/* ---- how a try ended ---- */

static int passes(long status)
{
	return status == 408 || status == 409 || status == 429 ||
	       status >= 500;
}

/* A 429 that no waiting lifts. */
static int is_spent(const struct call *x)
{
	const char *b = x->r.body ? x->r.body : "";

	return x->r.status == 429 &&
	       (has(b, "insufficient_quota") || has(b, "billing") ||
	        has(b, "credit balance") || has(b, "spend limit"));
}

/* Fewer calls at a time after a refusal, one more after as many answers as
 * run side by side. */
static void adapt(struct http_api *a, int refused)
{
	if (refused) {
		a->limit = a->limit > 1 ? a->limit / 2 : 1;
		a->well = 0;
	} else if (++a->well >= a->limit && a->limit < a->o.concurrency) {
		a->limit++;
		a->well = 0;
	}
}

static void hold(struct http_api *a, double s)
{
	double until = now_s() + s;

	if (until > a->hold_until)
		a->hold_until = until;
}

/* Puts x back into the queue and returns 1, or 0 when that was its last try;
 * r.err says why in both cases. */
static int again(struct call *x, int limited)
{
	struct http_api *a = x->a;
	double wait = a->o.wait_s;
	int i;

	if (x->r.tries >= a->o.tries) {
		if (x->r.tries > 1)
			err_wrap(&x->r.err, "gave up after %d tries",
			         x->r.tries);
		return 0;
	}
	if (x->after_s > a->o.wait_max_s) {
		err_wrap(&x->r.err, "the server asks to come back in %.0f s",
		         x->after_s);
		return 0;
	}
	for (i = 1; i < x->r.tries && wait < PAUSE_MAX_S; i++)
		wait *= 2;
	wait = wait < PAUSE_MAX_S ? wait : PAUSE_MAX_S;
	wait *= 0.5 + 0.5 * uniform(&a->random);
	if (wait < x->after_s)
		wait = x->after_s;
	log_say(&a->o.log, "%s; trying again in %.3g s", x->r.err.msg, wait);
	x->not_before = now_s() + wait;
	if (limited)
		hold(a, wait);
	append(&a->queue, x);
	return 1;
}

/* A try that got no whole answer. */
static int judge_broken(struct call *x, CURLcode rc)
{
	long sent = 0;

	if (x->failed)
		return 0;
	curl_easy_getinfo(x->easy, CURLINFO_REQUEST_SIZE, &sent);
	x->r.unknown = sent > 0;
	err_set(&x->r.err, ERR_IO, "%s: %s", x->url, curl_easy_strerror(rc));
	if (rc == CURLE_URL_MALFORMAT || rc == CURLE_PEER_FAILED_VERIFICATION ||
	    (x->c.once && x->r.unknown))
		return 0;
	return again(x, 0);
}

/* 1: x goes on; 0: it is done. */
static int judge(struct call *x, CURLcode rc)
{
	curl_off_t after = 0;
	double empty_s = used_up(x);
	int limited, retry;

	if (rc != CURLE_OK)
		return judge_broken(x, rc);
	curl_easy_getinfo(x->easy, CURLINFO_RETRY_AFTER, &after);
	if (after > 0 && x->after_s < 0)
		x->after_s = (double)after;
	if (empty_s > 0)
		hold(x->a, empty_s < x->a->o.wait_max_s ? empty_s
		                                        : x->a->o.wait_max_s);
	/* a 503 may come from between us and a server that has acted */
	limited = x->r.status == 429 || x->r.status == 529 ||
	          (x->r.status == 503 && !x->c.once);
	adapt(x->a, limited);
	x->r.unknown = x->r.status >= 500 && !limited;
	if (x->r.status < 400)
		return 0;
	retry = x->should_retry >= 0 ? x->should_retry : passes(x->r.status);
	if (!retry)
		return 0;
	err_set(&x->r.err, ERR_IO, "%s: the server answered %ld", x->url,
	        x->r.status);
	if (is_spent(x)) {
		err_wrap(&x->r.err, "the account's limit is spent");
		return 0;
	}
	if (x->c.once && !limited)
		return 0;
	return again(x, limited);
}

/* Takes what libcurl has finished: how many calls. */
static int collect(struct http_api *a)
{
	CURLMsg *m;
	struct call *x;
	int left, n = 0;

	while ((m = curl_multi_info_read(a->multi, &left))) {
		CURLcode rc = m->data.result;
		char *p = NULL;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &p);
		x = (struct call *)(void *)p;
		curl_multi_remove_handle(a->multi, x->easy);
		take_out(&a->running, x);
		a->n_running--;
		x->r.took_s = now_s() - x->begun;
		if (!judge(x, rc))
			append(&a->done, x);
		n++;
	}
	return n;
}

/* ---- the interface ---- */

struct http_api *http_api_new(const struct http_api_opts *o, struct err *e)
{
	struct http_api *a = mem_array(1, sizeof(*a), e);

	if (!a)
		return NULL;
	a->o = *o;
	a->limit = o->concurrency;
	a->random = o->seed;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
		a->multi = curl_multi_init();
	if (!a->multi) {
		err_set(e, ERR_MEM, "libcurl cannot be started");
		mem_free(a);
		return NULL;
	}
	curl_multi_setopt(a->multi, CURLMOPT_PIPELINING,
	                  (long)CURLPIPE_MULTIPLEX);
	return a;
}

static void free_list(struct call *x)
{
	while (x) {
		struct call *next = x->next;

		call_free(x);
		x = next;
	}
}

void http_api_free(struct http_api *a)
{
	struct call *x;

	if (!a)
		return;
	for (x = a->running; x; x = x->next)
		curl_multi_remove_handle(a->multi, x->easy);
	free_list(a->running);
	free_list(a->queue);
	free_list(a->done);
	curl_multi_cleanup(a->multi);
	curl_global_cleanup();
	mem_free(a);
}

int http_api_send(struct http_api *a, const struct http_api_call *c,
                  struct err *e)
{
	struct call *x;

	if (http_check_url(c->url, c->url, e) < 0 ||
	    !(x = mem_array(1, sizeof(*x), e)))
		return -1;
	x->a = a;
	x->c = *c;
	x->r.tag = c->tag;
	if (!(x->url = mem_strdup(c->url, e)) ||
	    (c->body && !(x->body = mem_strndup(c->body, c->n_body, e))) ||
	    set_headers(x, e) < 0) {
		call_free(x);
		return -1;
	}
	append(&a->queue, x);
	a->n_pending++;
	return 0;
}

size_t http_api_pending(const struct http_api *a)
{
	return a->n_pending;
}

int http_api_next(struct http_api *a, int wait_ms, struct http_api_reply *r,
                  struct err *e)
{
	double until = now_s() + 1e-3 * wait_ms, next, left;
	struct call *x;
	int running, ended;

	for (;;) {
		next = begin_calls(a);
		if (curl_multi_perform(a->multi, &running) != CURLM_OK)
			return err_set(e, ERR_IO, "libcurl cannot go on");
		ended = collect(a);
		if ((x = a->done)) {
			a->done = x->next;
			a->n_pending--;
			*r = x->r;
			x->r.body = NULL;
			call_free(x);
			return 1;
		}
		if (ended)		/* there is room for others */
			continue;
		left = until - now_s();
		if (left <= 0 || !a->n_pending)
			return 0;
		if (left > next)
			left = next;
		/* rounded up, so as not to come back too early and spin */
		if (curl_multi_poll(a->multi, NULL, 0, (int)(left * 1000) + 1,
		                    NULL) != CURLM_OK)
			return err_set(e, ERR_IO, "libcurl cannot wait");
	}
}

void http_api_stop(struct http_api *a)
{
	a->stopping = 1;
}
