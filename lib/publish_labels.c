/* Labels: a latent's best one, from a database or a stream. */
#include <jansson.h>

#include "mem.h"
#include "publish.h"
#include "rec_labels.h"
#include "sql.h"

/* All go to a temporary table, on disk when there are many. */
struct publish_labels {
	struct sql *db;
};

static const char table[] =
	"CREATE TEMP TABLE l(layer INTEGER, feature_id INTEGER, label TEXT,"
	" rule INTEGER, score REAL, quality REAL);"
	"CREATE INDEX temp.of ON l(layer, feature_id); BEGIN;";

static int put_row(void *ctx, json_t *row, struct err *e)
{
	struct rec_label l;
	int got = rec_label_of(row, &l, e);

	return got <= 0 ? got
	       : sql_run(ctx, "INSERT INTO l VALUES(?, ?, ?, ?, ?, ?)", e,
	                 "iisidd", (int64_t)l.layer, (int64_t)l.latent, l.text,
	                 (int64_t)l.rule, l.score, l.quality);
}

struct publish_labels *publish_labels_open(const char *path, struct err *e)
{
	struct publish_labels *l = mem_array(1, sizeof(*l), e);

	if (l && (l->db = sql_open("", 1, e)) &&
	    sql_exec(l->db, table, e) == 0 &&
	    rec_labels_read(path, put_row, l->db, e) == 0 &&
	    sql_exec(l->db, "COMMIT", e) == 0)
		return l;
	publish_labels_close(l);
	return NULL;
}

int publish_label(struct publish_labels *l, uint32_t layer, uint32_t latent,
                  const char **label, struct err *e)
{
	struct sql_stmt *q = sql_bind(l->db, "SELECT label FROM l WHERE "
	                              "layer = ?1 AND feature_id = ?2 ORDER BY "
	                              "rule, score DESC, quality DESC, rowid "
	                              "LIMIT 1", e, "ii", (int64_t)layer,
	                              (int64_t)latent);
	int got = q ? sql_step(q, e) : -1;

	if (got > 0)
		*label = sql_text(q, 0);
	return got;
}

void publish_labels_close(struct publish_labels *l)
{
	if (!l)
		return;
	sql_close(l->db);
	mem_free(l);
}
