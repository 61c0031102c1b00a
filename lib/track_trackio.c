/* trackio's inbox: files of JSON lines, whole when they have their names. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "file.h"
#include "mem.h"
#include "sha256.h"
#include "track_impl.h"

enum { ENTRIES = 256 };		/* of a fragment, at most */

struct sink {
	struct track_opt o;
	char run_id[33];	/* also the writer's name */
	uint64_t n_files;
	char *text;
	size_t n, cap, entries;
};

/* 32 hex digits that stand for a run, or one entry of it, whoever tells of it
 * again. */
static int id_of(const struct track_opt *o, const char *what, char out[33],
                 struct err *e)
{
	char hex[SHA256_HEX], *all;
	int rc;

	all = mem_printf(e, "%s\n%s\n%s", o->project, o->run, what);
	rc = all ? sha256_bytes(all, strlen(all), hex, e) : -1;
	if (rc == 0)
		snprintf(out, 33, "%.32s", hex);
	mem_free(all);
	return rc;
}

static json_t *record(const struct sink *s, const struct track_entry *t,
                      const char *id)
{
	time_t when = (time_t)t->time_s;
	char stamp[40];
	json_t *metrics = json_object();
	struct tm tm;
	size_t i;

	for (i = 0; i < t->n; i++)
		json_object_set_new(metrics, t->point[i].tag,
		                    json_real(t->point[i].value));
	gmtime_r(&when, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S+00:00", &tm);
	return json_pack("{s:i,s:s,s:s,s:s,s:s,s:o,s:I,s:s,s:n,s:s}", "v", 1,
	                 "kind", "metric", "project", s->o.project, "run",
	                 s->o.run, "run_id", s->run_id, "metrics", metrics,
	                 "step", (json_int_t)t->step, "timestamp", stamp,
	                 "config", "log_id", id);
}

static int trackio_flush(void *state, struct err *e)
{
	struct sink *s = state;
	char *path;
	int rc;

	if (!s->n)
		return 0;
	path = mem_printf(e, "%s/inbox/%s/%08llu.jsonl", s->o.out, s->run_id,
	                  (unsigned long long)s->n_files);
	rc = path && file_mkparents(path, e) == 0
		? file_write(path, s->text, s->n, e) : -1;
	mem_free(path);
	if (rc < 0)
		return -1;
	s->n_files++;
	s->n = s->entries = 0;
	return 0;
}

static int trackio_put(void *state, const struct track_entry *t, struct err *e)
{
	struct sink *s = state;
	char id[33], number[32], *text;
	json_t *line;
	size_t n;
	int rc = -1;

	snprintf(number, sizeof(number), "%llu", (unsigned long long)t->number);
	if (id_of(&s->o, number, id, e) < 0)
		return -1;
	line = record(s, t, id);
	text = line ? json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
	n = text ? strlen(text) : 0;
	json_decref(line);
	if (!text)
		err_set(e, ERR_FORMAT, "entry %llu cannot be written (a name "
		        "that is not UTF-8?)", (unsigned long long)t->number);
	else if (mem_grow(&s->text, &s->cap, s->n + n + 1, 1, e) == 0) {
		memcpy(s->text + s->n, text, n);
		s->n += n;
		s->text[s->n++] = '\n';
		rc = ++s->entries == ENTRIES ? trackio_flush(s, e) : 0;
	}
	free(text);
	return rc;
}

static void trackio_close(void *state)
{
	struct sink *s = state;

	mem_free(s->text);
	mem_free(s);
}

static void *trackio_open(const struct track_opt *o, struct err *e)
{
	struct sink *s = mem_array(1, sizeof(*s), e);

	if (!s)
		return NULL;
	s->o = *o;
	if (id_of(o, "run", s->run_id, e) < 0) {
		mem_free(s);
		return NULL;
	}
	return s;
}

const struct track_sink track_trackio = {
	trackio_open, trackio_put, trackio_flush, NULL, trackio_close
};
