/* Labels: a latent's best one, from a database or a stream. */
#include <stdio.h>
#include <string.h>

#include "json.h"
#include "mem.h"
#include "mpk.h"
#include "publish.h"
#include "sql.h"
#include "stream.h"

/* All go to a temporary table, on disk when there are many. */
struct publish_labels {
	struct sql *db;
};

static const char table[] =
	"CREATE TEMP TABLE l(layer INTEGER, feature_id INTEGER, label TEXT,"
	" score REAL, quality REAL);"
	"CREATE INDEX temp.of ON l(layer, feature_id);";

/* ---- a stream, into a table ---- */

/* row[key] if it is a number; -1: none. */
static double number(const json_t *row, const char *key)
{
	const json_t *v = json_object_get(row, key);

	return json_is_number(v) ? json_number_value(v) : -1;
}

/* The mean of the balanced accuracies there are, as `best` has it. */
static double score(const json_t *row)
{
	double d = number(row, "detection"), f = number(row, "fuzzing");

	return d < 0 ? f : f < 0 ? d : (d + f) / 2;
}

static int put_row(struct sql *db, const json_t *row, struct err *e)
{
	const char *label;
	int64_t layer, id;

	if (json_int(row, "layer", 0, REC_MAX_LAYERS - 1, -1, &layer, e) < 0 ||
	    json_int(row, "feature_id", 0, UINT32_MAX, -1, &id, e) < 0 ||
	    json_str(row, "label", NULL, &label, e) < 0)
		return -1;
	if (!label || !*label)
		return 0;
	return sql_run(db, "INSERT INTO l VALUES(?, ?, ?, ?, ?)", e, "iisdd",
	               layer, id, label, score(row), number(row, "quality"));
}

static int read_stream(struct sql *db, const char *path, struct err *e)
{
	struct stream_in *s = stream_open_in(path, "labels/1", e);
	const uint8_t *data;
	size_t n;
	int got = s ? sql_exec(db, "BEGIN", e) : -1;

	while (got >= 0 && (got = stream_read(s, &data, &n, e)) > 0) {
		struct err in = { 0 };
		struct mpk m = { 0 };
		json_t *row = NULL;
		int rc = mpk_parse(&m, data, n, &in) < 0 ||
		         !(row = mpk_to_json(m.root, &in)) ||
		         put_row(db, row, &in) < 0;

		mpk_free(&m);
		json_decref(row);
		if (rc)
			got = stream_bad(s, e, "%s", in.msg);
	}
	stream_close_in(s);
	return got < 0 ? -1 : sql_exec(db, "COMMIT", e);
}

/* ---- the interface ---- */

static int is_database(const char *path, struct err *e)
{
	char head[16] = "";
	FILE *f = fopen(path, "rb");
	size_t n;

	if (!f)
		return err_sys(e, "%s", path);
	n = fread(head, 1, sizeof(head), f);
	fclose(f);
	return n == sizeof(head) && !memcmp(head, "SQLite format 3", 16);
}

static int has(struct sql *db, const char *name, const char *column,
               struct err *e)
{
	struct sql_stmt *q = sql_bind(db, "SELECT 1 FROM pragma_table_info(?1) "
	                              "WHERE name = ?2", e, "ss", name,
	                              column);

	return q ? sql_step(q, e) : -1;
}

static int read_database(struct sql *db, const char *path, struct err *e)
{
	int got;

	if ((got = has(db, "best", "label", e)) > 0)
		return sql_exec(db, "INSERT INTO l SELECT layer, feature_id,"
		                " label, score, quality FROM best", e);
	if (got == 0 && (got = has(db, "autointerp", "layer", e)) > 0)
		return sql_exec(db, "INSERT INTO l SELECT layer, feature_id,"
		                " label, NULL, NULL FROM autointerp", e);
	return got < 0 ? -1
	       : err_set(e, ERR_FORMAT, "%s: neither a view best nor a table "
	                 "autointerp with a column layer", path);
}

struct publish_labels *publish_labels_open(const char *path, struct err *e)
{
	struct publish_labels *l = mem_array(1, sizeof(*l), e);
	int yes = l ? is_database(path, e) : -1;

	if (yes >= 0 && (l->db = sql_open(yes ? path : "", !yes, e)) &&
	    sql_exec(l->db, table, e) == 0 &&
	    (yes ? read_database(l->db, path, e)
	         : read_stream(l->db, path, e)) == 0)
		return l;
	publish_labels_close(l);
	return NULL;
}

int publish_label(struct publish_labels *l, uint32_t layer, uint32_t latent,
                  const char **label, struct err *e)
{
	struct sql_stmt *q = sql_bind(l->db, "SELECT label FROM l WHERE "
	                              "layer = ?1 AND feature_id = ?2 ORDER BY "
	                              "score DESC NULLS LAST, quality DESC "
	                              "NULLS LAST, label LIMIT 1", e, "ii",
	                              (int64_t)layer, (int64_t)latent);
	int got = q ? sql_step(q, e) : -1;

	if (got <= 0)
		return got;
	*label = sql_text(q, 0);
	return *label && **label && strcmp(*label, "dead feature") != 0;
}

void publish_labels_close(struct publish_labels *l)
{
	if (!l)
		return;
	sql_close(l->db);
	mem_free(l);
}
