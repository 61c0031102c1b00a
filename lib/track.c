#include <math.h>
#include <stdio.h>
#include <string.h>

#include "json.h"
#include "mem.h"
#include "track_impl.h"

enum {
	LINE_MAX_BYTES = 1 << 24,
	DEPTH = 8		/* of objects within a line */
};

struct track {
	const struct track_sink *sink;
	void *state;
	/* the line that is not whole yet */
	char *line;
	size_t n_line, line_cap;
	uint64_t n_lines;
	/* the entry in the making */
	struct track_point *point;
	size_t n, point_cap;
	int64_t step;
	double time_s;
	uint64_t n_entries;
};

struct track *track_open(const struct track_opt *o, struct err *e)
{
	struct track *t = mem_array(1, sizeof(*t), e);

	if (!t)
		return NULL;
	t->sink = o->to == TRACK_TENSORBOARD ? &track_tensorboard
	        : o->to == TRACK_TRACKIO ? &track_trackio : &track_mlflow;
	t->state = t->sink->open(o, e);
	if (!t->state) {
		mem_free(t);
		return NULL;
	}
	return t;
}

static void forget_points(struct track *t)
{
	while (t->n)
		mem_free(t->point[--t->n].tag);
}

void track_free(struct track *t)
{
	if (!t)
		return;
	t->sink->close(t->state);
	forget_points(t);
	mem_free(t->point);
	mem_free(t->line);
	mem_free(t);
}

uint64_t track_entries(const struct track *t)
{
	return t->n_entries;
}

static int put_entry(struct track *t, struct err *e)
{
	struct track_entry entry = { t->n_entries, t->step, t->time_s,
		t->point, t->n };

	if (t->n == 0)
		return 0;
	if (t->sink->put(t->state, &entry, e) < 0)
		return -1;
	t->n_entries++;
	forget_points(t);
	return 0;
}

/* The numbers of obj, named from prefix on. */
static int add_numbers(struct track *t, const char *prefix, const json_t *obj,
                       int depth, struct err *e)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)obj, key, v) {
		char *tag;
		int rc = 0;

		if (!json_is_number(v) && !json_is_object(v))
			continue;
		if (!depth && (!strcmp(key, "step") || !strcmp(key, "layer")))
			continue;
		tag = mem_printf(e, "%s%s", prefix, key);
		if (!tag)
			return -1;
		if (json_is_object(v)) {
			char *inner = depth < DEPTH ? mem_printf(e, "%s/", tag)
			                            : NULL;

			rc = inner ? add_numbers(t, inner, v, depth + 1, e)
			   : depth < DEPTH ? -1
			   : err_set(e, ERR_FORMAT, "objects within objects, "
			             "deeper than %d", DEPTH);
			mem_free(inner);
			mem_free(tag);
		} else {
			rc = mem_grow(&t->point, &t->point_cap, t->n + 1,
			              sizeof(*t->point), e);
			if (rc == 0)
				t->point[t->n++] = (struct track_point){
					tag, json_number_value(v) };
			else
				mem_free(tag);
		}
		if (rc < 0)
			return -1;
	}
	return 0;
}

static int take_object(struct track *t, const json_t *obj, double now_s,
                       struct err *e)
{
	const char *event;
	int64_t step, layer;
	char *prefix;
	int rc;

	if (!json_is_object(obj))
		return err_set(e, ERR_FORMAT, "is no JSON object");
	if (json_int(obj, "step", 0, INT64_MAX, 0, &step, e) < 0 ||
	    json_int(obj, "layer", -1, INT32_MAX, -1, &layer, e) < 0 ||
	    json_str(obj, "event", NULL, &event, e) < 0)
		return -1;
	if (step != t->step && put_entry(t, e) < 0)
		return -1;
	t->step = step;
	t->time_s = now_s;
	prefix = layer < 0
		? mem_printf(e, "%s%s", event ? event : "", event ? "/" : "")
		: mem_printf(e, "%s%slayer%d/", event ? event : "",
		             event ? "/" : "", (int)layer);
	rc = prefix ? add_numbers(t, prefix, obj, 0, e) : -1;
	mem_free(prefix);
	return rc;
}

static int take_line(struct track *t, const char *line, size_t n, double now_s,
                     struct err *e)
{
	json_t *obj;
	size_t i = 0;
	int rc;

	t->n_lines++;
	while (i < n && strchr(" \t\r", line[i]))
		i++;
	if (i == n)
		return 0;
	obj = json_parse(line, n, "JSON", e);
	rc = obj ? take_object(t, obj, now_s, e) : -1;
	json_decref(obj);
	if (rc < 0)
		return err_wrap(e, "line %llu", (unsigned long long)t->n_lines);
	return 0;
}

int track_feed(struct track *t, const char *bytes, size_t n, double now_s,
               struct err *e)
{
	const char *end;
	size_t part;

	for (; n; bytes += part, n -= part) {
		end = memchr(bytes, '\n', n);
		part = end ? (size_t)(end - bytes) : n;
		if (t->n_line + part > LINE_MAX_BYTES)
			return err_set(e, ERR_FORMAT, "line %llu: longer than "
			               "%d bytes",
			               (unsigned long long)t->n_lines + 1,
			               LINE_MAX_BYTES);
		if (mem_grow(&t->line, &t->line_cap, t->n_line + part + 1, 1,
		             e) < 0)
			return -1;
		memcpy(t->line + t->n_line, bytes, part);
		t->n_line += part;
		if (!end)
			continue;
		part++;
		if (take_line(t, t->line, t->n_line, now_s, e) < 0)
			return -1;
		t->n_line = 0;
	}
	return 0;
}

int track_flush(struct track *t, struct err *e)
{
	return t->sink->flush(t->state, e);
}

int track_finish(struct track *t, struct err *e)
{
	struct err ignored = { 0 };

	/* whole but for its newline, or half a line */
	if (t->n_line)
		take_line(t, t->line, t->n_line, t->time_s, &ignored);
	t->n_line = 0;
	if (put_entry(t, e) < 0 || t->sink->flush(t->state, e) < 0)
		return -1;
	return t->sink->finish ? t->sink->finish(t->state, e) : 0;
}
