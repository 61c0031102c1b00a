/*
 * Requests by the thousand, at half the price, within a day: Anthropic's Message
 * Batches and OpenAI's Batch API.
 *
 * A batch is noted in the database before it is sent. When the process dies in
 * between, or the network fails, the batch may or may not have arrived: then
 * the provider's own list is asked before anything is sent again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "json.h"
#include "label_run_impl.h"
#include "mem.h"
#include "sha256.h"
#include "text.h"

enum {
	LIST_MAX = 100,		/* batches looked at for a lost one */
	RESULTS_MAX = 1 << 30	/* bytes of a file of results */
};

struct batcher {
	struct label_work *w;
	struct http_api *api;
	const char *base;
};

/* ---- one exchange ---- */

/* Sends c and waits. 0 with a status below 300 and *r for mem_free(r->body). */
static int exchange(struct batcher *b, struct http_api_call *c,
                    struct http_api_reply *r, struct err *e)
{
	const char *secret = b->w->o->secret;
	char says[320];
	int got;

	if (!c->headers)
		c->headers = b->w->o->headers;
	if (http_api_send(b->api, c, e) < 0)
		return -1;
	while ((got = http_api_next(b->api, 200, r, e)) == 0)
		if (label_work_stopped(b->w))
			http_api_stop(b->api);
	if (got < 0)
		return -1;
	if (r->err.code || r->status >= 300) {
		label_wire_complaint(r->body, r->n, secret, says,
		                     sizeof(says));
		if (r->err.code)
			*e = r->err;
		else
			err_set(e, ERR_IO, "%s: the server answered %ld",
			        c->url, r->status);
		if (*says)
			err_set(e, e->code, "%.200s: %s", e->msg, says);
		mem_free(r->body);
		r->body = NULL;
		return -1;
	}
	return 0;
}

/* A JSON answer to a GET (body NULL) or POST. New reference. */
static json_t *ask_json(struct batcher *b, const char *url, const char *body,
                        int once, struct err *e)
{
	struct http_api_call c = {
		.url = url, .body = body, .n_body = body ? strlen(body) : 0,
		.once = once
	};
	struct http_api_reply r;
	json_t *j;

	if (exchange(b, &c, &r, e) < 0)
		return NULL;
	j = json_parse(r.body ? r.body : "", r.n, url, e);
	mem_free(r.body);
	return j;
}

static const char *str(const json_t *obj, const char *key)
{
	const char *s = json_string_value(json_object_get(obj, key));

	return s ? s : "";
}

/* ---- names ---- */

/* What a request is called in a batch: its id, and _2 and so on for another
 * attempt. */
static void custom_id(const struct label_ask *a, char out[LABEL_ID_MAX + 8])
{
	if (a->attempt > 1)
		snprintf(out, LABEL_ID_MAX + 8, "%s_%d", a->id, a->attempt);
	else
		snprintf(out, LABEL_ID_MAX + 8, "%s", a->id);
}

/* The inverse: ids themselves have three underscores. */
static int split_id(const char *s, char id[LABEL_ID_MAX], int *attempt)
{
	const char *p = s;
	int i;

	for (i = 0; i < 4 && p; i++)
		p = (p = strchr(p, '_')) ? p + 1 : NULL;
	*attempt = p ? atoi(p) : 1;
	i = p ? (int)(p - s) - 1 : (int)strlen(s);
	if (i >= LABEL_ID_MAX || *attempt < 1)
		return -1;
	snprintf(id, LABEL_ID_MAX, "%.*s", i, s);
	return 0;
}

static int batch_key(const struct label_ask *a, size_t n, char key[80],
                     struct err *e)
{
	struct sha256 *s = sha256_new(e);
	char id[LABEL_ID_MAX + 8], hex[SHA256_HEX];
	size_t i;
	int rc = s ? 0 : -1;

	for (i = 0; rc == 0 && i < n; i++) {
		custom_id(&a[i], id);
		rc = sha256_add(s, id, strlen(id) + 1, e);
	}
	if (rc == 0 && (rc = sha256_end(s, hex, e)) == 0)
		snprintf(key, 80, "r1-%.32s", hex);
	sha256_free(s);
	return rc;
}

/* ---- sending ---- */

static int put_json(struct text *t, json_t *j, struct err *e)
{
	char *s = j ? json_dumps(j, JSON_COMPACT) : NULL;
	int rc = s ? text_str(t, s, e)
	           : err_set(e, ERR_MEM, "no memory for a batch");

	free(s);
	json_decref(j);
	return rc;
}

/* The requests: for Anthropic the whole body, else a file of JSON lines. */
static int put_asks(struct batcher *b, const struct label_ask *a, size_t n,
                    struct text *t, struct err *e)
{
	const struct label_wire *wire = b->w->o->wire;
	int anthropic = wire->who == LABEL_ANTHROPIC;
	char id[LABEL_ID_MAX + 8];
	size_t i;

	if (anthropic && text_str(t, "{\"requests\":[", e) < 0)
		return -1;
	for (i = 0; i < n; i++) {
		json_t *body = label_wire_body(wire, &a[i], e);

		if (!body)
			return -1;
		custom_id(&a[i], id);
		body = anthropic
		       ? json_pack("{s:s,s:o}", "custom_id", id, "params", body)
		       : json_pack("{s:s,s:s,s:s,s:o}", "custom_id", id,
		                   "method", "POST", "url",
		                   "/v1/chat/completions", "body", body);
		if ((anthropic && i && text_str(t, ",", e) < 0) ||
		    put_json(t, body, e) < 0 ||
		    (!anthropic && text_str(t, "\n", e) < 0))
			return -1;
	}
	return anthropic ? text_str(t, "]}", e) : 0;
}

/* Uploads JSON lines as a file: its id, for mem_free. */
static char *upload(struct batcher *b, const struct text *lines,
                    const char *key, struct err *e)
{
	char *url = mem_printf(e, "%s/files", b->base), *type = NULL;
	const char *const *h = b->w->o->headers;
	const char *headers[8];
	struct http_api_call c = { 0 };
	struct http_api_reply r;
	struct text t = { 0 };
	json_t *j = NULL;
	char *id = NULL;
	size_t i = 0, k;

	/* the headers but for the type, which is another here */
	for (k = 0; h[k] && i < 6; k++)
		if (strncmp(h[k], "content-type:", 13))
			headers[i++] = h[k];
	type = mem_printf(e, "content-type: multipart/form-data; boundary=%s",
	                  key);
	headers[i++] = type;
	headers[i] = NULL;
	if (!url || !type ||
	    text_str(&t, "--", e) < 0 || text_str(&t, key, e) < 0 ||
	    text_str(&t, "\r\nContent-Disposition: form-data; "
	             "name=\"purpose\"\r\n\r\nbatch\r\n--", e) < 0 ||
	    text_str(&t, key, e) < 0 ||
	    text_str(&t, "\r\nContent-Disposition: form-data; name=\"file\"; "
	             "filename=\"batch.jsonl\"\r\n"
	             "Content-Type: application/jsonl\r\n\r\n", e) < 0 ||
	    text_str(&t, lines->s, e) < 0 ||
	    text_str(&t, "\r\n--", e) < 0 || text_str(&t, key, e) < 0 ||
	    text_str(&t, "--\r\n", e) < 0)
		goto done;
	c = (struct http_api_call){ .url = url, .headers = headers,
	                            .body = t.s, .n_body = t.n };
	if (exchange(b, &c, &r, e) < 0)
		goto done;
	j = json_parse(r.body ? r.body : "", r.n, url, e);
	mem_free(r.body);
	if (j && !(id = *str(j, "id") ? mem_strdup(str(j, "id"), e) : NULL))
		err_set(e, ERR_FORMAT, "%s: the answer has no id", url);
	json_decref(j);
done:
	mem_free(t.s);
	mem_free(url);
	mem_free(type);
	return id;
}

/* Sends n requests as the batch `key`; its remote id, for mem_free. */
static char *create(struct batcher *b, const struct label_ask *a, size_t n,
                    const char *key, struct err *e)
{
	int anthropic = b->w->o->wire->who == LABEL_ANTHROPIC;
	char *url = mem_printf(e, anthropic ? "%s/v1/messages/batches"
	                                    : "%s/batches", b->base);
	struct text t = { 0 };
	char *file = NULL, *id = NULL;
	json_t *j = NULL;

	if (!url || put_asks(b, a, n, &t, e) < 0)
		goto done;
	if (!anthropic) {
		if (!(file = upload(b, &t, key, e)))
			goto done;
		t.n = 0;
		if (put_json(&t, json_pack("{s:s,s:s,s:s,s:{s:s}}",
		             "input_file_id", file, "endpoint",
		             "/v1/chat/completions", "completion_window",
		             "24h", "metadata", "r1", key), e) < 0)
			goto done;
	}
	if (!(j = ask_json(b, url, t.s, 1, e)))
		goto done;
	if (*str(j, "id"))
		id = mem_strdup(str(j, "id"), e);
	else
		err_set(e, ERR_FORMAT, "%s: the answer has no id", url);
done:
	json_decref(j);
	mem_free(file);
	mem_free(t.s);
	mem_free(url);
	return id;
}

/* Looks for a batch that was sent without our learning its id: for OpenAI by
 * the key it carries, for Anthropic the newest that is unknown and has as many
 * requests. 1 with its id, 0 when there is none, -1. */
static int find_lost(struct batcher *b, const struct label_db_batch *lost,
                     char **id, struct err *e)
{
	int anthropic = b->w->o->wire->who == LABEL_ANTHROPIC;
	char *url = mem_printf(e, anthropic
	                       ? "%s/v1/messages/batches?limit=%d"
	                       : "%s/batches?limit=%d", b->base, LIST_MAX);
	json_t *j = url ? ask_json(b, url, NULL, 0, e) : NULL, *one, *v;
	const char *key;
	json_int_t n;
	size_t i;
	int rc = j ? 0 : -1, hit;

	json_array_foreach(json_object_get(j, "data"), i, one) {
		if (anthropic) {
			n = 0;
			json_object_foreach(json_object_get(one,
			                    "request_counts"), key, v)
				n += json_integer_value(v);
			hit = n == lost->n;
		} else {
			hit = !strcmp(str(json_object_get(one, "metadata"),
			                  "r1"), lost->key);
		}
		if (!hit || !*str(one, "id"))
			continue;
		if ((rc = label_db_batch_known(b->w->d, str(one, "id"), e))) {
			if (rc < 0)
				break;
			rc = 0;
			continue;
		}
		rc = (*id = mem_strdup(str(one, "id"), e)) ? 1 : -1;
		break;
	}
	json_decref(j);
	mem_free(url);
	return rc;
}

/* ---- waiting ---- */

static int nap(struct batcher *b, struct err *e)
{
	struct timespec t = { 0, 100000000 };
	double left;

	for (left = b->w->o->poll_s; left > 0; left -= 0.1) {
		if (label_work_stopped(b->w))
			return err_set(e, ERR_STOP, "stopped; the batch goes "
			               "on, run it again to collect it");
		nanosleep(&t, NULL);
	}
	return 0;
}

/* The batch's own description once it has ended. New reference. */
static json_t *await(struct batcher *b, const char *remote, struct err *e)
{
	static const char *const over[] = {
		"ended", "completed", "failed", "expired", "cancelled"
	};
	int anthropic = b->w->o->wire->who == LABEL_ANTHROPIC;
	char *url = mem_printf(e, anthropic ? "%s/v1/messages/batches/%s"
	                                    : "%s/batches/%s", b->base, remote);
	json_t *j = NULL;
	const char *is;
	size_t i;

	while (url && (j = ask_json(b, url, NULL, 0, e))) {
		is = str(j, anthropic ? "processing_status" : "status");
		for (i = 0; i < sizeof(over) / sizeof(*over); i++)
			if (!strcmp(is, over[i]))
				goto done;
		log_say(&b->w->o->log, "batch %s: %s", remote, is);
		json_decref(j);
		j = NULL;
		if (nap(b, e) < 0)
			break;
	}
done:
	mem_free(url);
	return j;
}

/* ---- results ---- */

/* One line of a file of results. */
static int take_line(struct batcher *b, const struct label_db_batch *bat,
                     const char *line, size_t n, struct err *e)
{
	int anthropic = b->w->o->wire->who == LABEL_ANTHROPIC, attempt, got;
	const struct log *log = &b->w->o->log;
	struct err why = { 0 };
	json_t *j = json_parse(line, n, "a result", &why), *body;
	char id[LABEL_ID_MAX], *text;
	struct label_ask a;
	int rc = 0;

	if (!json_is_object(j) || split_id(str(j, "custom_id"), id,
	                                   &attempt) < 0) {
		log_say(log, "batch %s: a line that is no result", bat->remote);
		goto done;
	}
	got = label_db_batch_ask(b->w->d, bat->key, id, attempt, &a, e);
	if (got <= 0) {
		rc = got;
		if (!got)
			log_say(log, "batch %s: an answer to %.80s, which was "
			        "not asked", bat->remote, str(j, "custom_id"));
		goto done;
	}
	body = anthropic
	       ? json_object_get(json_object_get(j, "result"), "message")
	       : json_object_get(json_object_get(j, "response"), "body");
	if ((anthropic && strcmp(str(json_object_get(j, "result"), "type"),
	                         "succeeded")) ||
	    (!anthropic && json_integer_value(json_object_get(json_object_get(j,
	                   "response"), "status_code")) != 200) || !body) {
		log_say(log, "batch %s: %s failed; it will be asked again",
		        bat->remote, id);
		goto done;
	}
	if (!(text = json_dumps(body, JSON_COMPACT))) {
		rc = err_set(e, ERR_MEM, "no memory for an answer");
		goto done;
	}
	rc = label_work_keep(b->w, &a, text, strlen(text), bat->key, e);
	free(text);
done:
	json_decref(j);
	return rc;
}

static int take_file(struct batcher *b, const struct label_db_batch *bat,
                     const char *url, struct err *e)
{
	struct http_api_call c = { .url = url, .reply_max = RESULTS_MAX };
	struct http_api_reply r;
	const char *p, *end, *nl;
	int rc = 0;

	if (exchange(b, &c, &r, e) < 0)
		return -1;
	p = r.body;
	end = p ? p + r.n : p;
	for (; rc == 0 && p < end; p = nl + 1) {
		if (!(nl = memchr(p, '\n', (size_t)(end - p))))
			nl = end;
		if (nl > p)
			rc = take_line(b, bat, p, (size_t)(nl - p), e);
	}
	mem_free(r.body);
	return rc;
}

/* Waits for a batch and keeps what it brings. */
static int collect(struct batcher *b, const struct label_db_batch *bat,
                   struct err *e)
{
	static const char *const file[] = { "output_file_id", "error_file_id" };
	json_t *j = await(b, bat->remote, e);
	char *url = NULL;
	int rc = j ? 0 : -1, i;

	if (rc == 0 && b->w->o->wire->who == LABEL_ANTHROPIC) {
		/* not results_url: the key goes to its own origin only */
		url = mem_printf(e, "%s/v1/messages/batches/%s/results",
		                 b->base, bat->remote);
		rc = url ? take_file(b, bat, url, e) : -1;
	} else {
		for (i = 0; rc == 0 && i < 2; i++) {
			if (!*str(j, file[i]))
				continue;
			mem_free(url);
			url = mem_printf(e, "%s/files/%s/content", b->base,
			                 str(j, file[i]));
			rc = url ? take_file(b, bat, url, e) : -1;
		}
	}
	mem_free(url);
	json_decref(j);
	return rc < 0 ? -1 : label_db_batch_done(b->w->d, bat->key, e);
}

/* Batches of an earlier run that are not done. */
static int finish_open(struct batcher *b, struct err *e)
{
	struct label_db_batch bat;
	char *id = NULL;
	int got;

	while ((got = label_db_batch_open(b->w->d, &bat, e)) > 0) {
		if (!bat.remote[0]) {
			got = find_lost(b, &bat, &id, e);
			if (got < 0)
				return -1;
			if (got == 0) {
				if (label_db_batch_drop(b->w->d, bat.key,
				                        e) < 0)
					return -1;
				continue;
			}
			snprintf(bat.remote, sizeof(bat.remote), "%s", id);
			got = label_db_batch_sent(b->w->d, bat.key, id, e);
			mem_free(id);
			if (got < 0)
				return -1;
		}
		if (collect(b, &bat, e) < 0)
			return -1;
	}
	return got;
}

/* ---- rounds ---- */

/* How many of the queue's requests may go out together. */
static size_t affordable(const struct label_work *w)
{
	size_t i, max = w->o->batch_size;
	double sum = w->spent;

	max = max < w->n_queue ? max : w->n_queue;
	if (w->o->max_usd <= 0)
		return max;
	for (i = 0; i < max; i++) {
		sum += label_work_guess(w, &w->queue[i], 1);
		if (sum > w->o->max_usd)
			break;
	}
	return i;
}

static int send_round(struct batcher *b, size_t n, struct err *e)
{
	struct label_work *w = b->w;
	struct label_db_batch bat = { .n = (int64_t)n };
	char *id;
	int rc;

	if (batch_key(w->queue, n, bat.key, e) < 0 ||
	    label_db_batch_note(w->d, bat.key, w->queue, n, &w->key, e) < 0 ||
	    !(id = create(b, w->queue, n, bat.key, e)))
		return -1;
	log_say(&w->o->log, "batch %s: %zu requests", id, n);
	snprintf(bat.remote, sizeof(bat.remote), "%s", id);
	rc = label_db_batch_sent(w->d, bat.key, id, e);
	mem_free(id);
	return rc < 0 ? -1 : collect(b, &bat, e);
}

int label_batch_run(struct label_work *w, struct err *e)
{
	struct http_api_opts ao = w->o->api;
	struct batcher b = { .w = w, .base = w->o->wire->base_url };
	size_t n, before;
	int rc = -1;

	ao.concurrency = 1;
	if (!(b.api = http_api_new(&ao, e)) || finish_open(&b, e) < 0)
		goto done;
	for (;;) {
		label_work_reset(w);
		while (w->next < w->s->n)
			if (label_work_begin(w, w->next++, e) < 0)
				goto done;
		if (w->o->progress)
			w->o->progress(w->o->ctx, w->t->labelled +
			               w->t->failed, w->t->labelled, w->spent);
		if (!w->n_queue)
			break;
		before = w->t->asked;
		if (!(n = affordable(w))) {
			err_set(e, ERR_STOP, "no request fits into what is "
			        "left of %.4f dollars, %.4f are spent",
			        w->o->max_usd, w->spent);
			goto done;
		}
		if (send_round(&b, n, e) < 0)
			goto done;
		if (w->t->asked == before) {
			err_set(e, ERR_IO, "a batch of %zu requests brought no "
			        "answer", n);
			goto done;
		}
	}
	rc = 0;
done:
	http_api_free(b.api);
	return rc;
}
