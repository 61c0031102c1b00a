/* An MLflow server's REST interface (mlflow/protos/service.proto): a run is
 * begun, gets its numbers in batches, and is marked as finished. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"
#include "http_api.h"
#include "json.h"
#include "mem.h"
#include "secret.h"
#include "track_impl.h"

enum { BATCH = 1000, REPLY_MAX = 1 << 24 };

struct sink {
	struct http_api *api;
	struct secret key;
	char *base, *run_id;
	json_t *metrics;	/* not sent yet */
	double now_s;
};

/* The answer of a call, an object, whatever its status; body (taken) NULL:
 * GET. new: must not be done twice. */
static json_t *call(struct sink *s, const char *path, json_t *body, int new,
                    long *status, struct err *e)
{
	const char *const headers[] = { "content-type: application/json",
		s->key.text, NULL };
	struct http_api_reply r = { 0 };
	char *url = mem_printf(e, "%s/api/2.0/mlflow/%s", s->base, path);
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct http_api_call c = { .url = url, .headers = headers,
		.body = text, .n_body = text ? strlen(text) : 0, .once = new };
	json_t *reply = NULL;
	int got = -1;

	if (body && !text)
		err_set(e, ERR_FORMAT, "%s: cannot be asked (a name that is "
		        "not UTF-8?)", path);
	else if (url && http_api_send(s->api, &c, e) == 0)
		while ((got = http_api_next(s->api, 1000, &r, e)) == 0)
			;
	if (got > 0 && r.err.code)
		*e = r.err;
	else if (got > 0 && (reply = json_parse(r.body, r.n, url, e)))
		*status = r.status;
	mem_free(r.body);
	mem_free(url);
	free(text);
	json_decref(body);
	return reply;
}

/* The same where only success will do. */
static json_t *ask(struct sink *s, const char *path, json_t *body, int new,
                   struct err *e)
{
	long status;
	const char *why;
	json_t *j = call(s, path, body, new, &status, e);

	if (!j || status < 400)
		return j;
	if (json_str(j, "message", "no reason given", &why, e) == 0)
		err_set(e, ERR_IO, "%s: %s: status %ld: %.200s", s->base, path,
		        status, why);
	json_decref(j);
	return NULL;
}

/* A string of obj's member (NULL: of obj itself), copied. */
static char *member(const json_t *obj, const char *inner, const char *key,
                    struct err *e)
{
	const char *v;

	if (inner)
		obj = json_object_get(obj, inner);
	if (!json_is_object(obj) || json_str(obj, key, NULL, &v, e) < 0 || !v) {
		err_set(e, ERR_FORMAT, "the server's answer has no %s", key);
		return NULL;
	}
	return mem_strdup(v, e);
}

/* The experiment called so, made if there is none. */
static char *experiment(struct sink *s, const char *name, struct err *e)
{
	char *escaped = http_escape(name, 0, e), *path = NULL, *id = NULL;
	long status = 0;
	json_t *j = NULL;

	if (!escaped ||
	    !(path = mem_printf(e, "experiments/get-by-name?experiment_name=%s",
	                        escaped)) ||
	    !(j = call(s, path, NULL, 0, &status, e)))
		goto done;
	if (status < 400) {
		id = member(json_object_get(j, "experiment"), NULL,
		            "experiment_id", e);
		goto done;
	}
	json_decref(j);
	j = ask(s, "experiments/create", json_pack("{s:s}", "name", name), 1,
	        e);
	if (j)
		id = member(j, NULL, "experiment_id", e);
done:
	json_decref(j);
	mem_free(path);
	mem_free(escaped);
	return id;
}

static json_int_t ms(double s)
{
	return (json_int_t)(s * 1000);
}

static int begin_run(struct sink *s, const struct track_opt *o, struct err *e)
{
	char *id = experiment(s, o->project, e);
	json_t *j = id ? ask(s, "runs/create", json_pack(
		"{s:s,s:s,s:I,s:[{s:s,s:s}]}", "experiment_id", id,
		"run_name", o->run, "start_time", ms(o->now_s), "tags",
		"key", "mlflow.source.name", "value", "r1track"), 1, e) : NULL;

	if (j)
		s->run_id = member(json_object_get(j, "run"), "info", "run_id",
		                   e);
	json_decref(j);
	mem_free(id);
	return s->run_id ? 0 : -1;
}

static int mlflow_flush(void *state, struct err *e)
{
	struct sink *s = state;
	json_t *metrics = s->metrics, *j;

	if (json_array_size(metrics) == 0)
		return 0;
	if (!(s->metrics = json_array())) {
		s->metrics = metrics;
		return err_set(e, ERR_MEM, "no memory for metrics");
	}
	j = ask(s, "runs/log-batch", json_pack("{s:s,s:o}", "run_id", s->run_id,
	                                       "metrics", metrics), 0, e);
	json_decref(j);
	return j ? 0 : -1;
}

static int mlflow_put(void *state, const struct track_entry *t, struct err *e)
{
	struct sink *s = state;
	size_t i;

	s->now_s = t->time_s;
	for (i = 0; i < t->n; i++) {
		json_t *m = json_pack("{s:s,s:f,s:I,s:I}", "key",
		                      t->point[i].tag, "value",
		                      t->point[i].value, "timestamp",
		                      ms(t->time_s), "step",
		                      (json_int_t)t->step);

		if (!m || json_array_append_new(s->metrics, m) < 0)
			return err_set(e, ERR_FORMAT, "'%.100s' cannot be sent "
			               "(a name that is not UTF-8?)",
			               t->point[i].tag);
		if (json_array_size(s->metrics) == BATCH &&
		    mlflow_flush(s, e) < 0)
			return -1;
	}
	return 0;
}

static int mlflow_finish(void *state, struct err *e)
{
	struct sink *s = state;
	json_t *j = ask(s, "runs/update", json_pack(
		"{s:s,s:s,s:I}", "run_id", s->run_id, "status", "FINISHED",
		"end_time", ms(s->now_s)), 0, e);

	json_decref(j);
	return j ? 0 : -1;
}

static void mlflow_close(void *state)
{
	struct sink *s = state;

	http_api_free(s->api);
	secret_free(&s->key);
	json_decref(s->metrics);
	mem_free(s->base);
	mem_free(s->run_id);
	mem_free(s);
}

static void *mlflow_open(const struct track_opt *o, struct err *e)
{
	const struct http_api_opts api = { .concurrency = 1, .tries = 5,
		.wait_s = 0.5, .wait_max_s = 60, .deadline_s = 60,
		.reply_max = REPLY_MAX };
	struct sink *s = mem_array(1, sizeof(*s), e);
	size_t n;

	if (!s)
		return NULL;
	s->now_s = o->now_s;
	if (!(s->base = mem_strdup(o->out, e)) ||
	    secret_load(&s->key, "authorization: Bearer ", NULL,
	                "MLFLOW_TRACKING_TOKEN", e) < 0)
		goto fail;
	for (n = strlen(s->base); n && s->base[n - 1] == '/'; n--)
		s->base[n - 1] = '\0';
	if (s->key.text && !http_api_private(s->base)) {
		err_set(e, ERR_USAGE, "%s: a token is not sent where others "
		        "may read it; https keeps it", s->base);
		goto fail;
	}
	if (!(s->metrics = json_array()))
		err_set(e, ERR_MEM, "no memory for metrics");
	else if ((s->api = http_api_new(&api, e)) && begin_run(s, o, e) == 0)
		return s;
fail:
	mlflow_close(s);
	return NULL;
}

const struct track_sink track_mlflow = {
	mlflow_open, mlflow_put, mlflow_flush, mlflow_finish, mlflow_close
};
