/* Batches that went out, and the requests in them. */
#include <stdio.h>
#include <string.h>

#include "label_db.h"

static int64_t num(int64_t v)	/* for variadic calls */
{
	return v;
}

int label_db_batch_note(struct label_db *d, const char *key,
                        const struct label_ask *asks, size_t n,
                        const struct label_db_key *k, struct err *e)
{
	size_t i;

	if (label_db_begin(d, e) < 0)
		return -1;
	if (sql_run(label_db_sql(d), "INSERT OR REPLACE INTO batch VALUES(?,'',0,?)", e,
	            "si", key, num((int64_t)n)) < 0)
		goto fail;
	for (i = 0; i < n; i++)
		if (label_db_put_ask(d, k, &asks[i], e) < 0 ||
		    sql_run(label_db_sql(d), "INSERT OR REPLACE INTO batch_ask VALUES"
		            "(?,?,?)", e, "ssi", key, asks[i].id,
		            num(asks[i].attempt)) < 0)
			goto fail;
	return label_db_commit(d, e);
fail:
	label_db_rollback(d);
	return -1;
}

int label_db_batch_sent(struct label_db *d, const char *key,
                        const char *remote, struct err *e)
{
	return sql_run(label_db_sql(d), "UPDATE batch SET remote = ? WHERE key = ?", e,
	               "ss", remote, key);
}

int label_db_batch_done(struct label_db *d, const char *key, struct err *e)
{
	return sql_run(label_db_sql(d), "UPDATE batch SET done = 1 WHERE key = ?", e, "s",
	               key);
}

int label_db_batch_drop(struct label_db *d, const char *key, struct err *e)
{
	if (sql_run(label_db_sql(d), "DELETE FROM batch_ask WHERE batch = ?", e, "s",
	            key) < 0)
		return -1;
	return sql_run(label_db_sql(d), "DELETE FROM batch WHERE key = ?", e, "s", key);
}

int label_db_batch_open(struct label_db *d, struct label_db_batch *b,
                        struct err *e)
{
	struct sql_stmt *q = sql_bind(label_db_sql(d), "SELECT key, remote, n FROM batch "
	                              "WHERE NOT done ORDER BY key LIMIT 1", e,
	                              "");
	int got = q ? sql_step(q, e) : -1;

	if (got <= 0)
		return got;
	snprintf(b->key, sizeof(b->key), "%s", sql_text(q, 0));
	snprintf(b->remote, sizeof(b->remote), "%s", sql_text(q, 1));
	b->n = sql_int(q, 2);
	return sql_step(q, e) < 0 ? -1 : 1;
}

int label_db_batch_known(struct label_db *d, const char *remote,
                         struct err *e)
{
	struct sql_stmt *q = sql_bind(label_db_sql(d), "SELECT 1 FROM batch WHERE remote "
	                              "= ?", e, "s", remote);
	int got = q ? sql_step(q, e) : -1;

	return got > 0 && sql_step(q, e) < 0 ? -1 : got;
}

int label_db_batch_ask(struct label_db *d, const char *key, const char *id,
                       int attempt, struct label_ask *a, struct err *e)
{
	struct sql_stmt *q = sql_bind(label_db_sql(d), "SELECT a.layer, a.feature_id, "
	                              "a.kind, a.part FROM batch_ask b JOIN ask "
	                              "a USING (request) WHERE b.batch = ? AND "
	                              "b.request = ? AND b.attempt = ?", e,
	                              "ssi", key, id, num(attempt));
	int got = q ? sql_step(q, e) : -1, i;

	if (got <= 0)
		return got;
	*a = (struct label_ask){ .layer = (uint32_t)sql_int(q, 0),
	                         .latent = (uint32_t)sql_int(q, 1),
	                         .part = (uint32_t)sql_int(q, 3),
	                         .attempt = attempt };
	for (i = 0; i < LABEL_KINDS; i++)
		if (!strcmp(sql_text(q, 2), label_kinds[i]))
			a->kind = (enum label_kind)i;
	snprintf(a->id, sizeof(a->id), "%s", id);
	return sql_step(q, e) < 0 ? -1 : 1;
}
