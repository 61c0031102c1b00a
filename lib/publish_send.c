#include "publish_send.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gz.h"
#include "http_api.h"
#include "json.h"
#include "mem.h"
#include "publish.h"
#include "publish_ledger.h"
#include "sha256.h"

enum {
	BATCH_MAX = 64 << 20,		/* bytes of a file */
	GRAPH_MAX = 1 << 30,
	PUT_MIN = 1024, PUT_MAX = 100 << 20,	/* of a graph, compressed */
	REPLY_MAX = 1 << 20,
	N_HEADERS = 4
};

struct publish_send {
	struct publish_send_opt o;
	struct http_api *api;
	struct publish_ledger *ledger;	/* the one that is open */
	char *ledger_path;
};

struct publish_send *publish_send_new(const struct publish_send_opt *o,
                                      struct err *e)
{
	const struct http_api_opts a = {
		.concurrency = 1, .tries = o->tries, .wait_s = o->wait_s,
		.wait_max_s = 600, .deadline_s = o->deadline_s,
		.reply_max = REPLY_MAX, .log = o->log
	};
	struct publish_send *s;

	if (o->key && !http_api_private(o->url)) {
		err_set(e, ERR_USAGE, "%s: a key is sent over https or within "
		        "this machine only", o->url);
		return NULL;
	}
	if (!(s = mem_array(1, sizeof(*s), e)))
		return NULL;
	s->o = *o;
	if (!(s->api = http_api_new(&a, e))) {
		mem_free(s);
		return NULL;
	}
	return s;
}

void publish_send_free(struct publish_send *s)
{
	if (!s)
		return;
	http_api_free(s->api);
	publish_ledger_close(s->ledger);
	mem_free(s->ledger_path);
	mem_free(s);
}

/* ---- a call ---- */

/* Takes the key out of text that is shown. */
static void hide(const struct publish_send *s, char *text)
{
	size_t n = s->o.secret ? strlen(s->o.secret) : 0;
	char *at;

	while (n && (at = strstr(text, s->o.secret)))
		memset(at, '*', n);
}

/* What a server that refuses says: {"error": ...} or {"message": ...}. */
static int complain(const struct publish_send *s,
                    const struct http_api_reply *r, struct err *e)
{
	json_t *j = r->body ? json_loadb(r->body, r->n, 0, NULL) : NULL;
	const char *what = json_string_value(json_object_get(j, "error"));
	const char *where = json_string_value(json_object_get(j, "path"));

	if (!what)
		what = json_string_value(json_object_get(j, "message"));
	err_set(e, ERR_IO, "the server answered %ld%s%.300s%s%.60s%s%s",
	        r->status, what ? ": " : "", what ? what : "",
	        where ? " (" : "", where ? where : "", where ? ")" : "",
	        r->status / 100 == 3 ? ": it has moved, see --url" : "");
	hide(s, e->msg);
	json_decref(j);
	return -1;
}

/* One request to its end. 0 with an answer of 2xx in *r, whose body is for
 * mem_free; -1 otherwise; *unknown: the server may have acted on it. */
static int call(struct publish_send *s, const struct http_api_call *c,
                struct http_api_reply *r, int *unknown, struct err *e)
{
	int got;

	*r = (struct http_api_reply){ 0 };
	*unknown = 0;
	if (http_api_send(s->api, c, e) < 0)
		return -1;
	while ((got = http_api_next(s->api, 1000, r, e)) == 0)
		;
	if (got < 0) {
		*unknown = 1;
		return -1;
	}
	*unknown = r->unknown;
	if (!r->err.code && r->status / 100 == 2)
		return 0;
	if (r->status && r->status / 100 != 2)
		complain(s, r, e);
	else
		*e = r->err;
	hide(s, e->msg);
	mem_free(r->body);
	r->body = NULL;
	return -1;
}

/* POST of a JSON body below the API's address. */
static int post(struct publish_send *s, const char *path, const char *body,
                size_t n, int once, struct http_api_reply *r, int *unknown,
                struct err *e)
{
	char *url = mem_printf(e, "%s%s", s->o.url, path);
	const char *headers[N_HEADERS] = { "content-type: application/json",
	                                   s->o.key, NULL };
	const struct http_api_call c = {
		.url = url, .headers = headers, .body = body, .n_body = n,
		.once = once
	};
	int rc;

	*unknown = 0;
	rc = url ? call(s, &c, r, unknown, e) : -1;
	mem_free(url);
	return rc;
}

/* ---- batches ---- */

static const char *base_of(const char *path)
{
	const char *s = strrchr(path, '/');

	return s ? s + 1 : path;
}

static int open_ledger(struct publish_send *s, const char *batch,
                       struct err *e)
{
	char *path = s->o.ledger ? mem_strdup(s->o.ledger, e)
	             : mem_printf(e, "%.*sledger.jsonl",
	                          (int)(base_of(batch) - batch), batch);

	if (!path)
		return -1;
	if (s->ledger && !strcmp(path, s->ledger_path)) {
		mem_free(path);
		return 0;
	}
	publish_ledger_close(s->ledger);
	mem_free(s->ledger_path);
	s->ledger_path = path;
	s->ledger = publish_ledger_open(path, !s->o.dry_run, e);
	return s->ledger ? 0 : -1;
}

static int describe(const struct publish_send *s, const char *path,
                    const json_t *body, const char *text, size_t n,
                    struct publish_batch *b, struct err *e)
{
	const json_t *v;
	size_t i;

	b->server = s->o.url;
	b->model = json_string_value(json_object_get(body, "modelId"));
	b->source = json_string_value(json_object_get(body, "source"));
	b->name = base_of(path);
	b->first = UINT32_MAX;
	b->last = 0;
	json_array_foreach(json_object_get(body, "features"), i, v) {
		uint32_t index = (uint32_t)json_number_value(
			json_object_get(v, "index"));

		b->first = index < b->first ? index : b->first;
		b->last = index > b->last ? index : b->last;
	}
	return sha256_bytes(text, n, b->sha256, e);
}

/* Sends b: the ledger before, and after. */
static int send_noted(struct publish_send *s, const struct publish_batch *b,
                      const char *text, size_t n, struct err *e)
{
	struct http_api_reply r;
	struct err other;
	int unknown, rc;

	if (publish_ledger_note(s->ledger, b, "begun", e) < 0)
		return -1;
	rc = post(s, "/feature/upload-batch", text, n, 1, &r, &unknown, e);
	if (rc == 0) {
		mem_free(r.body);
		return publish_ledger_note(s->ledger, b, "done", e);
	}
	if (unknown)
		return err_wrap(e, "nobody knows whether it arrived (look at "
		                "feature %u of %s, then --unknown send or "
		                "skip)", b->first, b->source);
	if (publish_ledger_note(s->ledger, b, "refused", &other) < 0)
		*e = other;
	return -1;
}

static int send_batch(struct publish_send *s, const char *path,
                      const json_t *body, const char *text, size_t n,
                      const char **state, struct err *e)
{
	struct publish_batch b;
	enum publish_fate fate;

	if (publish_check_batch(body, e) < 0 ||
	    describe(s, path, body, text, n, &b, e) < 0 ||
	    open_ledger(s, path, e) < 0 ||
	    publish_ledger_fate(s->ledger, &b, &fate, e) < 0)
		return -1;
	*state = fate == PUBLISH_DONE ? "there" : "checked";
	if (fate == PUBLISH_DONE)
		return 0;
	if (fate == PUBLISH_UNKNOWN && s->o.unknown == PUBLISH_STOP)
		return err_set(e, ERR_IO, "it was begun before and nobody "
		               "knows whether it arrived (look at feature %u "
		               "of %s, then --unknown send or skip)", b.first,
		               b.source);
	if (s->o.dry_run)
		return 0;
	if (fate == PUBLISH_UNKNOWN && s->o.unknown == PUBLISH_SKIP) {
		*state = "there";
		return publish_ledger_note(s->ledger, &b, "done", e);
	}
	*state = "sent";
	return send_noted(s, &b, text, n, e);
}

/* ---- graphs ---- */

/* reply[key], a string for mem_free; NULL with e set. */
static char *member(const struct http_api_reply *r, const char *key,
                    struct err *e)
{
	json_t *j = json_parse(r->body ? r->body : "", r->n, "the answer", e);
	const char *v;
	char *copy = NULL;

	if (j && json_str(j, key, NULL, &v, e) == 0) {
		if (v)
			copy = mem_strdup(v, e);
		else
			err_set(e, ERR_FORMAT, "the answer has no '%s'", key);
	}
	json_decref(j);
	return copy;
}

/* Posts j, which is dropped; may be sent again. The caller frees r->body. */
static int post_json(struct publish_send *s, const char *path, json_t *j,
                     struct http_api_reply *r, struct err *e)
{
	char *body = j ? json_dumps(j, JSON_COMPACT) : NULL;
	int unknown, rc;

	json_decref(j);
	if (!body)
		return err_set(e, ERR_MEM, "no memory for a request");
	rc = post(s, path, body, strlen(body), 0, r, &unknown, e);
	free(body);
	return rc;
}

/* A place for n bytes named after the graph's slug. */
static int ask_place(struct publish_send *s, const char *slug, size_t n,
                     char **url, char **id, struct err *e)
{
	json_t *j = json_pack("{s:o,s:I,s:s}", "filename",
	                      json_sprintf("%s.json", slug), "contentLength",
	                      (json_int_t)n, "contentType",
	                      "application/json");
	struct http_api_reply r;
	int rc;

	if (post_json(s, "/graph/signed-put", j, &r, e) < 0)
		return -1;
	rc = (*url = member(&r, "url", e)) &&
	     (*id = member(&r, "putRequestId", e)) ? 0 : -1;
	mem_free(r.body);
	return rc;
}

/* The place is on another server: no key goes there. */
static int put_graph(struct publish_send *s, const char *url,
                     const char *packed, size_t n, struct err *e)
{
	const char *const headers[] = { "content-type: application/json",
	                                "content-encoding: gzip", NULL };
	const struct http_api_call c = { .url = url, .headers = headers,
	                                 .body = packed, .n_body = n,
	                                 .put = 1 };
	struct http_api_reply r;
	int unknown;

	if (call(s, &c, &r, &unknown, e) < 0)
		return -1;
	mem_free(r.body);
	return 0;
}

static int save_graph(struct publish_send *s, const char *id, char **url,
                      struct err *e)
{
	json_t *j = json_pack("{s:s}", "putRequestId", id);
	struct http_api_reply r;
	int rc;

	if (post_json(s, "/graph/save-to-db", j, &r, e) < 0)
		return -1;
	rc = (*url = member(&r, "url", e)) ? 0 : -1;
	mem_free(r.body);
	return rc;
}

static int send_graph(struct publish_send *s, const json_t *graph,
                      const char *text, size_t n, const char **state,
                      char **shown, struct err *e)
{
	const char *slug = json_string_value(json_object_get(json_object_get(
		graph, "metadata"), "slug"));
	char *packed = NULL, *url = NULL, *id = NULL;
	size_t n_packed = 0;
	int rc = -1;

	*state = "checked";
	if (publish_check_graph(graph, e) < 0 ||
	    gz_pack(GZ_GZIP, text, n, &packed, &n_packed, e) < 0)
		return -1;
	if (n_packed < PUT_MIN || n_packed > PUT_MAX)
		err_set(e, ERR_RANGE, "%zu bytes compressed, Neuronpedia takes "
		        "%d to %d", n_packed, PUT_MIN, PUT_MAX);
	else if (s->o.dry_run)
		rc = 0;
	else if (ask_place(s, slug, n_packed, &url, &id, e) == 0 &&
	         put_graph(s, url, packed, n_packed, e) == 0)
		rc = save_graph(s, id, shown, e);
	if (rc == 0 && !s->o.dry_run)
		*state = "sent";
	mem_free(packed);
	mem_free(url);
	mem_free(id);
	return rc;
}

/* ---- files ---- */

/* The whole file, NUL behind it, for mem_free. */
static char *read_file(const char *path, size_t max, size_t *n,
                       struct err *e)
{
	FILE *f = fopen(path, "rb");
	char *buf = NULL;
	size_t cap = 0, got = 1;

	if (!f) {
		err_sys(e, "%s", path);
		return NULL;
	}
	for (*n = 0; got; *n += got) {
		if (*n > max || mem_grow(&buf, &cap, *n + (1 << 16), 1,
		                         e) < 0) {
			if (*n > max)
				err_set(e, ERR_RANGE, "%s: more than %zu bytes",
				        path, max);
			goto fail;
		}
		got = fread(buf + *n, 1, (1 << 16) - 1, f);
	}
	if (ferror(f)) {
		err_sys(e, "%s", path);
		goto fail;
	}
	buf[*n] = 0;
	fclose(f);
	return buf;
fail:
	fclose(f);
	mem_free(buf);
	return NULL;
}

int publish_send_file(struct publish_send *s, const char *path,
                      json_t **said, struct err *e)
{
	const char *state = NULL, *kind = NULL;
	char *text, *url = NULL;
	json_t *j = NULL;
	size_t n;
	int rc = -1;

	*said = NULL;
	if (!(text = read_file(path, GRAPH_MAX, &n, e)) ||
	    !(j = json_parse(text, n, path, e)))
		goto done;
	if (json_object_get(j, "features")) {
		kind = "batch";
		rc = n > BATCH_MAX
		     ? err_set(e, ERR_RANGE, "more than %d bytes", BATCH_MAX)
		     : send_batch(s, path, j, text, n, &state, e);
	} else if (json_object_get(j, "nodes")) {
		kind = "graph";
		rc = send_graph(s, j, text, n, &state, &url, e);
	} else {
		err_set(e, ERR_FORMAT, "neither a batch (it has no 'features') "
		        "nor a graph (no 'nodes')");
	}
	if (rc < 0)
		err_wrap(e, "%s", path);
	else if (!(*said = json_pack("{s:s,s:s,s:s,s:s*}", "file", path,
	                             "kind", kind, "state", state, "url",
	                             url)))
		rc = err_set(e, ERR_FORMAT, "%s: a name that is not UTF-8, or "
		             "no memory", path);
done:
	json_decref(j);
	mem_free(url);
	mem_free(text);
	return rc;
}
