/* Labels of a database or a stream, by latent. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "browse_impl.h"
#include "eval.h"
#include "mem.h"
#include "mpk.h"
#include "sql.h"
#include "stream.h"

struct browse_labels {
	struct browse_label *v;		/* by layer, latent, best first */
	size_t n, cap;
};

/* What is of the latent, not of the label: the page has it from the examples. */
static const char *const left_out[] = {
	"layer", "feature_id", "state", "frequency", "mean", "max", "prompt",
	"think", "answer", "text", "spread", "promoted", "suppressed", "request"
};

/* Mean of the balanced accuracies there are, as `best` has it; -1: none. */
static double mean_score(const json_t *row)
{
	static const char *const keys[] = { "detection", "fuzzing" };
	const json_t *v;
	double sum = 0;
	int i, n = 0;

	for (i = 0; i < 2; i++)
		if (json_is_number(v = json_object_get(row, keys[i]))) {
			sum += json_number_value(v);
			n++;
		}
	return n ? sum / n : -1;
}

/* s as JSON, or null; for free. */
static int add_dump(struct text *t, const json_t *v, struct err *e)
{
	char *s = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT |
	                     JSON_ENSURE_ASCII | JSON_REAL_PRECISION(4));
	int rc = s ? text_str(t, s, e) : err_set(e, ERR_MEM, "no memory for a "
	                                         "label");

	free(s);
	return rc;
}

static int add_number(struct text *t, double v, struct err *e)
{
	return v < 0 ? text_str(t, ",null", e) : browse_fmt(t, e, ",%.3g", v);
}

/* Takes row's members; nothing when it holds no label. */
static int add_row(struct browse_labels *l, json_t *row, struct err *e)
{
	const char *state = json_string_value(json_object_get(row, "state"));
	const json_t *layer = json_object_get(row, "layer");
	const json_t *id = json_object_get(row, "feature_id");
	const json_t *label = json_object_get(row, "label");
	const json_t *tags = json_object_get(row, "tags");
	const json_t *quality = json_object_get(row, "quality");
	struct browse_label *b;
	struct text record = { 0 }, line = { 0 };
	json_int_t lay = json_integer_value(layer), lat = json_integer_value(id);
	size_t i;

	if ((state && strcmp(state, "ok")) || !json_is_string(label) ||
	    !*json_string_value(label))
		return 0;
	if (!json_is_integer(layer) || !json_is_integer(id) || lay < 0 ||
	    lat < 0 || lay > UINT32_MAX || lat > UINT32_MAX)
		return err_set(e, ERR_FORMAT, "wanted a label with whole numbers "
		               "layer and feature_id");
	if (mem_grow(&l->v, &l->cap, l->n + 1, sizeof(*l->v), e) < 0)
		return -1;
	b = &l->v[l->n];
	*b = (struct browse_label){
		.layer = (uint32_t)lay, .latent = (uint32_t)lat,
		.score = mean_score(row), .quality = json_is_number(quality)
		         ? json_number_value(quality) : -1, .order = l->n
	};
	if (add_dump(&line, label, e) < 0 || text_str(&line, ",", e) < 0 ||
	    add_dump(&line, json_is_string(tags) ? tags : json_null(), e) < 0 ||
	    add_number(&line, b->score, e) < 0 ||
	    add_number(&line, b->quality, e) < 0)
		goto fail;
	for (i = 0; i < sizeof(left_out) / sizeof(*left_out); i++)
		json_object_del(row, left_out[i]);
	if (add_dump(&record, row, e) < 0)
		goto fail;
	b->record = record.s;
	b->row = line.s;
	l->n++;
	return 0;
fail:
	mem_free(record.s);
	mem_free(line.s);
	return -1;
}

static json_t *column(struct sql_stmt *q, int i, struct err *e)
{
	const char *s;

	switch (sql_type(q, i)) {
	case SQL_INT:
		return json_integer((json_int_t)sql_int(q, i));
	case SQL_REAL:
		return json_real(sql_real(q, i));
	case SQL_TEXT:
		s = sql_text(q, i);
		return eval_json_string(s ? s : "", s ? strlen(s) : 0, e);
	default:
		return json_null();
	}
}

static int from_database(struct browse_labels *l, const char *path,
                         struct err *e)
{
	struct sql *s = sql_open(path, 0, e);
	struct sql_stmt *q = s ? sql_bind(s, "SELECT * FROM catalogue WHERE "
	                                  "state = 'ok'", e, "") : NULL;
	int got = -1, i;

	while (q && (got = sql_step(q, e)) > 0) {
		json_t *row = json_object();

		for (i = 0; i < sql_n_columns(q); i++)
			json_object_set_new(row, sql_column(q, i),
			                    column(q, i, e));
		got = add_row(l, row, e);
		json_decref(row);
		if (got < 0)
			break;
	}
	sql_close(s);
	return got < 0 ? err_wrap(e, "%s", path) : 0;
}

static int from_stream(struct browse_labels *l, const char *path,
                       struct err *e)
{
	struct stream_in *s = stream_open_in(path, "labels/1", e);
	const uint8_t *data;
	size_t n;
	int got = s ? 0 : -1;

	while (s && (got = stream_read(s, &data, &n, e)) > 0) {
		struct err in = { 0 };
		struct mpk m = { 0 };
		json_t *row = NULL;

		if (mpk_parse(&m, data, n, &in) < 0 ||
		    !(row = mpk_to_json(m.root, &in)) ||
		    add_row(l, row, &in) < 0)
			got = stream_bad(s, e, "%s", in.msg);
		mpk_free(&m);
		json_decref(row);
		if (got < 0)
			break;
	}
	stream_close_in(s);
	return got;
}

static int best_first(const void *a, const void *b)
{
	const struct browse_label *x = a, *y = b;

	if (x->layer != y->layer)
		return x->layer < y->layer ? -1 : 1;
	if (x->latent != y->latent)
		return x->latent < y->latent ? -1 : 1;
	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	if (x->quality != y->quality)
		return x->quality > y->quality ? -1 : 1;
	return x->order < y->order ? -1 : 1;
}

struct browse_labels *browse_labels_open(const char *path, struct err *e)
{
	static const char magic[] = "SQLite format 3";
	struct browse_labels *l = mem_array(1, sizeof(*l), e);
	char head[sizeof(magic)] = { 0 };
	FILE *f;
	int rc;

	if (!l)
		return NULL;
	if (!(f = fopen(path, "rb"))) {
		err_sys(e, "%s", path);
		goto fail;
	}
	if (fread(head, 1, sizeof(head), f) < sizeof(head))
		head[0] = 0;
	fclose(f);
	rc = memcmp(head, magic, sizeof(magic)) ? from_stream(l, path, e)
	                                        : from_database(l, path, e);
	if (rc < 0)
		goto fail;
	if (l->n)
		qsort(l->v, l->n, sizeof(*l->v), best_first);
	return l;
fail:
	browse_labels_free(l);
	return NULL;
}

void browse_labels_free(struct browse_labels *l)
{
	size_t i;

	if (!l)
		return;
	for (i = 0; i < l->n; i++) {
		mem_free(l->v[i].record);
		mem_free(l->v[i].row);
	}
	mem_free(l->v);
	mem_free(l);
}

const struct browse_label *browse_labels_of(const struct browse_labels *l,
                                            uint32_t layer, uint32_t latent,
                                            size_t *n)
{
	size_t lo = 0, hi = l ? l->n : 0, mid, end;

	while (lo < hi) {
		const struct browse_label *b = &l->v[mid = (lo + hi) / 2];

		if (b->layer < layer || (b->layer == layer && b->latent < latent))
			lo = mid + 1;
		else
			hi = mid;
	}
	for (end = lo; l && end < l->n && l->v[end].layer == layer &&
	     l->v[end].latent == latent; end++)
		;
	*n = end - lo;
	return *n ? l->v + lo : NULL;
}
