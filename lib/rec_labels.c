#include "rec_labels.h"

#include <stdio.h>
#include <string.h>

#include "json.h"
#include "mpk.h"
#include "rec.h"
#include "sql.h"
#include "stream.h"

/* ---- a stream ---- */

static int from_stream(const char *path, rec_labels_fn *fn, void *ctx,
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
		    fn(ctx, row, &in) < 0)
			got = stream_bad(s, e, "%s", in.msg);
		mpk_free(&m);
		json_decref(row);
		if (got < 0)
			break;
	}
	stream_close_in(s);
	return got;
}

/* ---- a database ---- */

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
		return json_bytes(s ? s : "", s ? strlen(s) : 0, e);
	default:
		return json_null();
	}
}

static int rows(struct sql *s, const char *query, rec_labels_fn *fn, void *ctx,
                struct err *e)
{
	struct sql_stmt *q = sql_bind(s, query, e, "");
	int got = -1, i;

	while (q && (got = sql_step(q, e)) > 0) {
		json_t *row = json_object();

		for (i = 0; i < sql_n_columns(q); i++)
			json_object_set_new(row, sql_column(q, i),
			                    column(q, i, e));
		got = fn(ctx, row, e);
		json_decref(row);
		if (got < 0)
			break;
	}
	return got < 0 ? err_wrap(e, "%s", sql_path(s)) : 0;
}

static int from_database(const char *path, rec_labels_fn *fn, void *ctx,
                         struct err *e)
{
	struct sql *s = sql_open(path, 0, e);
	int rc = -1, got;

	if (s && (got = sql_has_column(s, "catalogue", "label", e)) > 0)
		rc = rows(s, "SELECT * FROM catalogue", fn, ctx, e);
	else if (s && got == 0 &&
	         (got = sql_has_column(s, "autointerp", "layer", e)) > 0)
		rc = rows(s, "SELECT * FROM autointerp", fn, ctx, e);
	else if (s && got == 0)
		err_set(e, ERR_FORMAT, "%s: neither a view catalogue nor a "
		        "table autointerp with a column layer", path);
	sql_close(s);
	return rc;
}

/* ---- both ---- */

int rec_labels_read(const char *path, rec_labels_fn *fn, void *ctx,
                    struct err *e)
{
	static const char magic[] = "SQLite format 3";
	char head[sizeof(magic)] = "";
	FILE *f = fopen(path, "rb");
	size_t n;

	if (!f)
		return err_sys(e, "%s", path);
	n = fread(head, 1, sizeof(head), f);
	fclose(f);
	return n == sizeof(head) && !memcmp(head, magic, sizeof(magic))
	       ? from_database(path, fn, ctx, e) : from_stream(path, fn, ctx, e);
}

/* row[key] if it is a number; -1: none. */
static double number(const json_t *row, const char *key)
{
	const json_t *v = json_object_get(row, key);

	return json_is_number(v) ? json_number_value(v) : -1;
}

int rec_label_of(const json_t *row, struct rec_label *l, struct err *e)
{
	double d = number(row, "detection"), f = number(row, "fuzzing");
	const char *state, *made;
	int64_t layer, latent;

	if (json_str(row, "state", "ok", &state, e) < 0 ||
	    json_str(row, "label", NULL, &l->text, e) < 0)
		return -1;
	if (strcmp(state, "ok") || !l->text || !*l->text ||
	    !strcmp(l->text, "dead feature"))
		return 0;
	if (json_int(row, "layer", 0, REC_MAX_LAYERS - 1, -1, &layer, e) < 0 ||
	    json_int(row, "feature_id", 0, UINT32_MAX, -1, &latent, e) < 0 ||
	    json_str(row, "prompt_version", "", &made, e) < 0)
		return -1;
	l->layer = (uint32_t)layer;
	l->latent = (uint32_t)latent;
	l->score = d < 0 ? f : f < 0 ? d : (d + f) / 2;
	l->quality = number(row, "quality");
	l->rule = !strcmp(made, "tokens");
	return 1;
}
