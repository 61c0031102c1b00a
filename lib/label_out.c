#include "label_out.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "mem.h"
#include "mpk.h"
#include "rec_labels.h"
#include "sha256.h"

static const char catalogue[] = "SELECT * FROM catalogue";

static int written(FILE *f, struct err *e)
{
	return ferror(f) ? err_sys(e, "cannot write") : 0;
}

/* ---- rows ---- */

static json_t *column_json(struct sql_stmt *q, int i)
{
	json_t *j;

	switch (sql_type(q, i)) {
	case SQL_INT:
		return json_integer(sql_int(q, i));
	case SQL_REAL:
		return json_real(sql_real(q, i));
	case SQL_TEXT:
		j = json_string(sql_text(q, i));
		return j ? j : json_null();
	default:
		return json_null();
	}
}

/* A row as an object; tags become a list. */
static json_t *row_json(struct sql_stmt *q)
{
	json_t *obj = json_object();
	int i;

	for (i = 0; i < sql_n_columns(q); i++) {
		const char *name = sql_column(q, i), *s;
		json_t *list;

		if (strcmp(name, "tags") || !(s = sql_text(q, i))) {
			json_object_set_new(obj, name, column_json(q, i));
			continue;
		}
		list = json_array();
		while (*s) {
			size_t n = strcspn(s, " ");

			json_array_append_new(list, json_stringn(s, n));
			s += n + (s[n] == ' ');
		}
		json_object_set_new(obj, name, list);
	}
	return obj;
}

static void csv_field(FILE *f, const char *s)
{
	if (!strpbrk(s, ",\"\r\n")) {
		fputs(s, f);
		return;
	}
	putc('"', f);
	for (; *s; s++) {
		if (*s == '"')
			putc('"', f);
		putc(*s, f);
	}
	putc('"', f);
}

int label_out_csv(struct sql *s, FILE *f, struct err *e)
{
	struct sql_stmt *q = sql_bind(s, catalogue, e, "");
	int i, n, got, head = 0;

	if (!q)
		return -1;
	n = sql_n_columns(q);
	do {
		got = head ? sql_step(q, e) : 1;
		if (got <= 0)
			break;
		for (i = 0; i < n; i++) {
			const char *v = head ? sql_text(q, i)
			                     : sql_column(q, i);

			if (i)
				putc(',', f);
			csv_field(f, v ? v : "");
		}
		fputs("\r\n", f);
		head = 1;
	} while (!ferror(f));
	return got < 0 ? -1 : written(f, e);
}

int label_out_json(struct sql *s, FILE *f, struct err *e)
{
	struct sql_stmt *q = sql_bind(s, catalogue, e, "");
	int got;

	if (!q)
		return -1;
	while ((got = sql_step(q, e)) > 0 && !ferror(f)) {
		json_t *row = row_json(q);
		int rc = json_dumpf(row, f, JSON_COMPACT |
		                    JSON_REAL_PRECISION(9));

		json_decref(row);
		if (rc < 0)
			break;
		putc('\n', f);
	}
	return got < 0 ? -1 : written(f, e);
}

/* ---- labels/1 ---- */

static char *meta(struct sql *s, const char *key, struct err *e)
{
	struct sql_stmt *q = sql_bind(s, "SELECT value FROM meta WHERE key = ?",
	                              e, "s", key);
	int got = q ? sql_step(q, e) : -1;
	const char *v = got > 0 ? sql_text(q, 0) : NULL;
	char *copy = got < 0 ? NULL : mem_strdup(v ? v : "", e);

	if (got > 0)
		(void)sql_step(q, NULL);
	return copy;
}

/* Layers that have labels, who made those and after which prompts. */
static json_t *list_of(struct sql *s, const char *query, struct err *e)
{
	struct sql_stmt *q = sql_bind(s, query, e, "");
	json_t *list = json_array();
	int got = -1;

	while (q && (got = sql_step(q, e)) > 0)
		json_array_append_new(list, column_json(q, 0));
	if (got < 0) {
		json_decref(list);
		return NULL;
	}
	return list;
}

static json_t *stream_head(struct sql *s, struct err *e)
{
	char *tc = meta(s, "transcoders", e), *model = meta(s, "model", e);
	json_t *h = NULL, *layers = NULL, *by = NULL, *prompts = NULL;

	if (tc && model &&
	    (layers = list_of(s, "SELECT DISTINCT layer FROM label ORDER BY 1",
	                      e)) &&
	    (by = list_of(s, "SELECT DISTINCT model_name FROM label ORDER BY "
	                  "1", e)) &&
	    (prompts = list_of(s, "SELECT DISTINCT prompt_version FROM label "
	                       "ORDER BY 1", e)))
		h = json_pack("{s:s,s:s,s:O,s:O,s:O}", "model", model,
		              "transcoders", tc, "layers", layers, "labellers",
		              by, "prompts", prompts);
	json_decref(layers);
	json_decref(by);
	json_decref(prompts);
	mem_free(tc);
	mem_free(model);
	return h;
}

static int put_rows(struct sql *s, struct stream_out *out, struct err *e)
{
	struct sql_stmt *q = sql_bind(s, catalogue, e, "");
	struct mpk_out o;
	int got = -1;

	mpk_out_init(&o);
	while (q && (got = sql_step(q, e)) > 0) {
		json_t *row = row_json(q);
		int rc;

		mpk_out_reset(&o);
		rc = mpk_put_json(&o, row, e);
		json_decref(row);
		if (rc < 0 || stream_write(out, o.buf.data, o.buf.size,
		                           e) < 0) {
			got = -1;
			break;
		}
	}
	mpk_out_free(&o);
	return got;
}

int label_out_stream(struct sql *s, const char *path, const char *command,
                     uint64_t seed, struct err *e)
{
	struct stream_out_opt so = { .kind = "labels/1", .command = command,
	                             .seed = seed };
	json_t *head = stream_head(s, e), *prov = NULL;
	char *text = head ? meta(s, "prov", e) : NULL;
	struct stream_out *out = NULL;
	int rc = -1;

	if (!text)
		goto done;
	if (*text && !(prov = json_parse(text, strlen(text), sql_path(s), e)))
		goto done;
	so.header = head;
	so.prov = prov;
	if (!(out = stream_open_out(path, &so, e)) ||
	    put_rows(s, out, e) < 0)
		goto done;
	rc = stream_finish(out, e);
	out = NULL;
done:
	stream_abort(out);
	mem_free(text);
	json_decref(head);
	json_decref(prov);
	return rc;
}

/* ---- labels of others ---- */

/* A mark from 0 to 1 as label_answer has it; -1 and e when it is something
 * else. */
static int mark(const json_t *row, const char *key, int *out, struct err *e)
{
	double v;

	if (json_number(row, key, 0, 1, 0, &v, e) < 0)
		return -1;
	*out = (int)lrint(10 * v);
	return 0;
}

static uint32_t tags_of(const json_t *row)
{
	const json_t *v;
	uint32_t tags = 0;
	size_t i;
	int t;

	json_array_foreach(json_object_get(row, "tags"), i, v)
		for (t = 0; t < LABEL_N_TAGS; t++)
			if (json_is_string(v) &&
			    !strcmp(json_string_value(v), label_tags[t]))
				tags |= (uint32_t)1 << t;
	return tags ? tags : 1;
}

static int import_row(struct label_db *d, const json_t *row, const char *by,
                      struct err *e)
{
	struct label_feature f = { 0 };
	struct label_answer a = { 0 };
	struct label_db_key k = { by, "" };
	const char *label, *why;
	int64_t layer, id;

	if (json_int(row, "layer", 0, REC_MAX_LAYERS - 1, -1, &layer, e) < 0 ||
	    json_int(row, "feature_id", 0, UINT32_MAX, -1, &id, e) < 0 ||
	    json_str(row, "label", NULL, &label, e) < 0 ||
	    json_str(row, "explanation", "", &why, e) < 0 ||
	    json_str(row, "model_name", by, &k.model, e) < 0 ||
	    json_str(row, "prompt_version", "", &k.prompt, e) < 0 ||
	    mark(row, "quality", &a.quality, e) < 0 ||
	    mark(row, "interestingness", &a.interest, e) < 0 ||
	    mark(row, "confidence", &a.confidence, e) < 0)
		return -1;
	f.layer = (uint32_t)layer;
	f.id = (uint32_t)id;
	if (!label || !*label)
		return label_db_put_label(d, &k, &f, NULL, NULL, why, e);
	if (!strcmp(label, "dead feature"))
		return label_db_put_dead(d, &k, f.layer, f.id, e);
	a.label = (char *)label;
	a.why = (char *)why;
	a.tags = tags_of(row);
	return label_db_put_label(d, &k, &f, NULL, &a, NULL, e);
}

struct import {
	struct label_db *d;
	const char *by;
};

static int import_one(void *ctx, json_t *row, struct err *e)
{
	struct import *i = ctx;

	return import_row(i->d, row, i->by, e);
}

int label_out_import(struct label_db *d, const char *path, const char *by,
                     struct err *e)
{
	struct import i = { d, by };

	if (label_db_begin(d, e) < 0)
		return -1;
	if (rec_labels_read(path, import_one, &i, e) == 0)
		return label_db_commit(d, e);
	label_db_rollback(d);
	return -1;
}

/* ---- Neuronpedia ---- */

/* One line; names is MODEL/SET, n_model the model's length. */
static int put_explanation(struct sql_stmt *q, const char *names, int n_model,
                           FILE *f, struct err *e)
{
	long long layer = (long long)sql_int(q, 0), id = (long long)sql_int(q, 1);
	const char *label = sql_text(q, 2), *by = sql_text(q, 3);
	char source[160], index[24], hex[SHA256_HEX];
	char *all;
	json_t *j;
	int rc;

	snprintf(source, sizeof(source), "%lld-%s", layer, names + n_model + 1);
	snprintf(index, sizeof(index), "%lld", id);
	if (!(all = mem_printf(e, "%.*s/%s/%s/%s", n_model, names, source, index,
	                       label)))
		return -1;
	rc = sha256_bytes(all, strlen(all), hex, e);
	mem_free(all);
	if (rc < 0)
		return -1;
	hex[24] = 0;
	j = json_pack("{s:s,s:s#,s:s,s:s,s:o,s:s,s:s}", "id", hex, "modelId",
	              names, n_model, "layer", source, "index", index,
	              "description", json_bytes(label, strlen(label), e),
	              "typeName", "oai_token-act-pair", "explanationModelName",
	              by);
	rc = j && json_dumpf(j, f, JSON_COMPACT) == 0 ? 0
	     : err_set(e, j ? ERR_IO : ERR_FORMAT, "explanation of %s/%s",
	               source, index);
	json_decref(j);
	putc('\n', f);
	return rc;
}

int label_out_neuronpedia(struct sql *s, const char *names, FILE *f,
                          struct err *e)
{
	struct sql_stmt *q = sql_bind(s, "SELECT layer, feature_id, label, "
	                              "model_name FROM best", e, "");
	int got = -1;

	while (q && (got = sql_step(q, e)) > 0 && !ferror(f))
		if (put_explanation(q, names, (int)(strrchr(names, '/') - names),
		                    f, e) < 0)
			return -1;
	return got < 0 ? -1 : written(f, e);
}

/* ---- SQL ---- */

/* SELECT with a column for each of the table's: its value as SQL writes it. */
static char *quoted_select(struct sql *s, const char *table, struct err *e)
{
	char *text = NULL, *more, *query;
	struct sql_stmt *q;
	int got = -1;

	if (!(query = mem_printf(e, "SELECT name FROM pragma_table_info('%s')",
	                         table)))
		return NULL;
	q = sql_bind(s, query, e, "");
	while (q && (got = sql_step(q, e)) > 0) {
		more = mem_printf(e, "%s%squote(\"%s\")", text ? text : "",
		                  text ? " || ',' || " : "SELECT ",
		                  sql_text(q, 0));
		mem_free(text);
		if (!(text = more)) {
			got = -1;
			break;
		}
	}
	mem_free(query);
	if (got == 0 && text) {
		more = mem_printf(e, "%s FROM \"%s\"", text, table);
		mem_free(text);
		return more;
	}
	mem_free(text);
	return NULL;
}

static int dump_table(struct sql *s, const char *table, FILE *f,
                      struct err *e)
{
	char *query = quoted_select(s, table, e);
	struct sql_stmt *q = query ? sql_bind(s, query, e, "") : NULL;
	int got = -1;

	while (q && (got = sql_step(q, e)) > 0 && !ferror(f))
		fprintf(f, "INSERT INTO \"%s\" VALUES(%s);\n", table,
		        sql_text(q, 0));
	mem_free(query);
	return got < 0 ? -1 : 0;
}

int label_out_sql(struct sql *s, FILE *f, struct err *e)
{
	struct sql_stmt *q = sql_bind(s, "SELECT type, name, sql FROM "
	                              "sqlite_master WHERE sql IS NOT NULL "
	                              "ORDER BY type = 'view', name", e, "");
	int got = -1;

	fputs("BEGIN;\n", f);
	while (q && (got = sql_step(q, e)) > 0 && !ferror(f)) {
		fprintf(f, "%s;\n", sql_text(q, 2));
		if (!strcmp(sql_text(q, 0), "table") &&
		    dump_table(s, sql_text(q, 1), f, e) < 0)
			return -1;
	}
	fputs("COMMIT;\n", f);
	return got < 0 ? -1 : written(f, e);
}
