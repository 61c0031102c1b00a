#include "label_wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "mem.h"

char *label_wire_url(const struct label_wire *w, struct err *e)
{
	return mem_printf(e, w->embeds ? "%s/embeddings"
	                     : w->who == LABEL_ANTHROPIC ? "%s/v1/messages"
	                     : "%s/chat/completions", w->base_url);
}

/* ---- requests ---- */

static int set(json_t *obj, const char *key, json_t *v)
{
	return json_object_set_new(obj, key, v);
}

/* The part that all requests share is marked for the provider's cache. */
static json_t *anthropic_body(const struct label_wire *w,
                              const struct label_ask *a, json_t *schema)
{
	json_t *b = json_pack("{s:s,s:i,s:[{s:s,s:s,s:{s:s}}],s:[{s:s,s:s}]}",
	                      "model", w->model, "max_tokens", w->max_tokens,
	                      "system", "type", "text", "text", a->system,
	                      "cache_control", "type", "ephemeral",
	                      "messages", "role", "user", "content", a->user);

	if (!strcmp(w->format, "schema"))
		set(b, "output_config", json_pack("{s:{s:s,s:O}}", "format",
		    "type", "json_schema", "schema", schema));
	return b;
}

static json_t *openai_body(const struct label_wire *w,
                           const struct label_ask *a, json_t *schema)
{
	json_t *b = json_pack("{s:s,s:[{s:s,s:s},{s:s,s:s}]}", "model",
	                      w->model, "messages", "role", "system",
	                      "content", a->system, "role", "user",
	                      "content", a->user);
	const char *limit = strstr(w->base_url, "api.openai.com")
	                    ? "max_completion_tokens" : "max_tokens";

	set(b, limit, json_integer(w->max_tokens));
	if (!strcmp(w->format, "schema"))
		set(b, "response_format",
		    json_pack("{s:s,s:{s:s,s:b,s:O}}", "type", "json_schema",
		              "json_schema", "name", "answer", "strict", 1,
		              "schema", schema));
	else if (!strcmp(w->format, "object"))
		set(b, "response_format", json_pack("{s:s}", "type",
		                                    "json_object"));
	return b;
}

json_t *label_wire_body(const struct label_wire *w, const struct label_ask *a,
                        struct err *e)
{
	/* the two providers refuse lengths of arrays, or some of them do; servers
	 * of one's own go by them, and small models need that */
	int own = w->who == LABEL_OPENAI && !strstr(w->base_url, "api.openai.com");
	json_t *schema = label_form_schema(a->form, a->n_items, own, e), *b, *v;
	const char *key;

	if (!schema)
		return NULL;
	b = w->who == LABEL_ANTHROPIC ? anthropic_body(w, a, schema)
	                              : openai_body(w, a, schema);
	json_decref(schema);
	if (!b) {
		err_set(e, ERR_FORMAT, "%s: the request cannot be put as JSON",
		        a->id);
		return NULL;
	}
	json_object_foreach((json_t *)w->extra, key, v)
		json_object_set(b, key, v);
	return b;
}

/* ---- answers ---- */

int label_wire_message(json_t *obj, const struct label_usage *use, json_t *fit,
                       char **body, size_t *n, struct err *e)
{
	char *text = obj ? json_dumps(obj, JSON_COMPACT) : NULL, *all = NULL;
	json_t *msg = json_pack("{s:s,s:[{s:s,s:s}],s:{s:I,s:I,s:I},s:o*}",
		"stop_reason", "end_turn", "content", "type", "text", "text",
		text ? text : "", "usage", "input_tokens",
		(json_int_t)use->input, "cache_read_input_tokens",
		(json_int_t)use->cache_read, "output_tokens",
		(json_int_t)use->output, "fit", fit);
	int rc = -1;

	if (msg && text)
		all = json_dumps(msg, JSON_COMPACT | JSON_REAL_PRECISION(6));
	if (all) {
		*n = strlen(all);
		*body = mem_strndup(all, *n, e);
		rc = *body ? 0 : -1;
	} else {
		err_set(e, ERR_MEM, "no memory for an answer");
	}
	free(text);
	free(all);
	json_decref(msg);
	json_decref(obj);
	return rc;
}

static int64_t count(const json_t *obj, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(obj, key));

	return v > 0 ? v : 0;
}

/* Whether `got` is the model asked for: the name, a dated version of it, or
 * what "-latest" stands for. */
static int same_model(const char *asked, const char *got)
{
	size_t n = strlen(asked);

	if (n > 7 && !strcmp(asked + n - 7, "-latest"))
		n -= 7;
	return strncmp(got, asked, n) == 0 && (got[n] == 0 || got[n] == '-' ||
	                                       got[n] == '@');
}

int label_wire_same_model(const struct label_wire *w, const json_t *obj,
                          struct err *e)
{
	const char *got = json_string_value(json_object_get(obj, "model"));

	if (w->any_model || !got || same_model(w->model, got))
		return 0;
	err_set(e, ERR_FORMAT, "asked for %.80s, and %.80s answered",
	        w->model, got);
	return -1;
}

static int unusable(struct err *e, const char *why, const char *what)
{
	err_set(e, ERR_FORMAT, "%s%s", why, what ? what : "");
	return 1;
}

static int anthropic_text(const json_t *obj, json_t **text, struct err *e)
{
	const json_t *list = json_object_get(obj, "content"), *part;
	const char *stop = json_string_value(json_object_get(obj,
	                                                     "stop_reason"));
	size_t i;

	if (!stop || (strcmp(stop, "end_turn") &&
	              strcmp(stop, "stop_sequence")))
		return unusable(e, "the answer did not end by itself: ",
		                stop ? stop : "no stop_reason");
	json_array_foreach(list, i, part) {
		const char *type = json_string_value(json_object_get(part,
		                                                     "type"));
		json_t *s = json_object_get(part, "text");

		if (type && !strcmp(type, "text") && json_is_string(s)) {
			*text = s;
			return 0;
		}
	}
	return unusable(e, "the answer holds no text", NULL);
}

static int openai_text(const json_t *obj, json_t **text, struct err *e)
{
	const json_t *choice = json_array_get(json_object_get(obj, "choices"),
	                                      0);
	const json_t *msg = json_object_get(choice, "message");
	const char *stop = json_string_value(json_object_get(choice,
	                                                     "finish_reason"));

	if (json_is_string(json_object_get(msg, "refusal")))
		return unusable(e, "the model refused", NULL);
	if (stop && strcmp(stop, "stop"))
		return unusable(e, "the answer did not end by itself: ", stop);
	*text = json_object_get(msg, "content");
	return json_is_string(*text)
	       ? 0 : unusable(e, "the answer holds no text", NULL);
}

static void read_usage(const struct label_wire *w, const json_t *obj,
                       struct label_usage *u)
{
	const json_t *use = json_object_get(obj, "usage");

	if (w->who == LABEL_OPENAI) {
		u->cache_read = count(json_object_get(use,
		                      "prompt_tokens_details"),
		                      "cached_tokens");
		u->input = count(use, "prompt_tokens") - u->cache_read;
		u->input = u->input > 0 ? u->input : 0;
		u->output = count(use, "completion_tokens");
	} else {
		u->input = count(use, "input_tokens");
		u->cache_write = count(use, "cache_creation_input_tokens");
		u->cache_read = count(use, "cache_read_input_tokens");
		u->output = count(use, "output_tokens");
	}
}

int label_wire_read(const struct label_wire *w, const char *body, size_t n,
                    char **text, size_t *n_text, struct label_usage *use,
                    struct err *e)
{
	json_t *obj = json_parse(body, n, "the answer", e), *t = NULL;
	int rc;

	*text = NULL;
	*use = (struct label_usage){ 0 };
	if (!obj)
		return 1;
	read_usage(w, obj, use);
	rc = label_wire_same_model(w, obj, e);
	if (rc == 0 && w->who == LABEL_OPENAI)
		rc = openai_text(obj, &t, e);
	else if (rc == 0)
		rc = anthropic_text(obj, &t, e);
	if (rc == 0) {
		*n_text = json_string_length(t);
		*text = mem_strndup(json_string_value(t), *n_text, e);
		rc = *text ? 0 : -1;
	}
	json_decref(obj);
	return rc;
}

void label_wire_complaint(const char *body, size_t n, const char *secret,
                          char *out, size_t size)
{
	json_t *obj = body ? json_parse(body, n, "error", NULL) : NULL;
	json_t *err = json_object_get(obj, "error");
	const char *s = json_string_value(json_is_string(err) ? err
	                                  : json_object_get(err, "message"));
	size_t n_secret = secret ? strlen(secret) : 0;
	const char *hit;

	out[0] = 0;
	if (!s)
		s = json_string_value(json_object_get(obj, "message"));
	if (s && n_secret && (hit = strstr(s, secret)))
		snprintf(out, size, "%.*s[key]%.100s",
		         (int)(hit - s > 100 ? 100 : hit - s), s,
		         strstr(hit + n_secret, secret) ? "" : hit + n_secret);
	else if (s)
		snprintf(out, size, "%.200s", s);
	json_decref(obj);
}

json_t *label_wire_params(const char *const *text, size_t n, struct err *e)
{
	json_t *all = json_object();
	size_t i;

	for (i = 0; all && i < n; i++) {
		const char *eq = strchr(text[i], '=');
		char *name = NULL;
		json_t *v;

		if (!eq || eq == text[i])
			err_set(e, ERR_USAGE, "--param %s: wanted NAME=VALUE",
			        text[i]);
		else
			name = mem_strndup(text[i], (size_t)(eq - text[i]), e);
		if (!name) {
			json_decref(all);
			return NULL;
		}
		v = json_loads(eq + 1, JSON_DECODE_ANY, NULL);
		json_object_set_new(all, name, v ? v : json_string(eq + 1));
		mem_free(name);
	}
	return all;
}
