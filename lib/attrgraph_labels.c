#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "attrgraph.h"
#include "mem.h"

struct attrgraph_labels {
	sqlite3 *db;
	sqlite3_stmt *all;	/* of a table with a column layer, or NULL */
	sqlite3_stmt *one;	/* of the table of layer `layer`, or NULL */
	int64_t layer;		/* -1: none yet */
	char *path;
};

static int bad(struct attrgraph_labels *l, struct err *e)
{
	return err_set(e, ERR_FORMAT, "%s: %s", l->path, sqlite3_errmsg(l->db));
}

/* Whether a table or view of that name has a column of that name (NULL: whether
 * there is one like it at all). 1, 0, -1. */
static int has(struct attrgraph_labels *l, const char *table,
               const char *column, struct err *e)
{
	sqlite3_stmt *s;
	int rc;

	if (sqlite3_prepare_v2(l->db, column
	        ? "SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2"
	        : "SELECT 1 FROM sqlite_master WHERE name GLOB ?1", -1, &s,
	        NULL) != SQLITE_OK)
		return bad(l, e);
	sqlite3_bind_text(s, 1, table, -1, SQLITE_STATIC);
	if (column)
		sqlite3_bind_text(s, 2, column, -1, SQLITE_STATIC);
	rc = sqlite3_step(s);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		bad(l, e);
	sqlite3_finalize(s);
	return rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : -1;
}

struct attrgraph_labels *attrgraph_labels_open(const char *path,
                                               struct err *e)
{
	struct attrgraph_labels *l = mem_array(1, sizeof(*l), e);
	int got;

	if (!l)
		return NULL;
	l->layer = -1;
	if (!(l->path = mem_strdup(path, e)))
		goto fail;
	if (sqlite3_open_v2(path, &l->db, SQLITE_OPEN_READONLY, NULL) !=
	    SQLITE_OK) {
		err_set(e, ERR_IO, "%s: %s", path, sqlite3_errmsg(l->db));
		goto fail;
	}
	if ((got = has(l, "autointerp", "layer", e)) < 0)
		goto fail;
	if (got) {
		if (sqlite3_prepare_v2(l->db, "SELECT label FROM autointerp "
		                       "WHERE layer = ?1 AND feature_id = ?2",
		                       -1, &l->all, NULL) == SQLITE_OK)
			return l;
		bad(l, e);
		goto fail;
	}
	if ((got = has(l, "autointerp_[0-9]*", NULL, e)) > 0)
		return l;
	if (got == 0)
		err_set(e, ERR_FORMAT, "%s: neither a table autointerp with a "
		        "column layer nor tables autointerp_N", path);
fail:
	attrgraph_labels_close(l);
	return NULL;
}

/* The statement for a layer's own table: 1, 0 without such a table, -1. */
static int choose(struct attrgraph_labels *l, uint32_t layer, struct err *e)
{
	char table[32], sql[96];
	int got;

	if (l->layer == layer)
		return l->one != NULL;
	sqlite3_finalize(l->one);
	l->one = NULL;
	l->layer = layer;
	snprintf(table, sizeof(table), "autointerp_%u", layer);
	if ((got = has(l, table, "label", e)) <= 0)
		return got;
	snprintf(sql, sizeof(sql), "SELECT label FROM %s WHERE ?1 = ?1 AND "
	         "feature_id = ?2", table);
	return sqlite3_prepare_v2(l->db, sql, -1, &l->one, NULL) == SQLITE_OK
		? 1 : bad(l, e);
}

int attrgraph_label(struct attrgraph_labels *l, uint32_t layer,
                    uint32_t latent, char **label, struct err *e)
{
	sqlite3_stmt *s = l->all;
	const char *text;
	int got;

	if (!s && (got = choose(l, layer, e)) <= 0)
		return got;
	s = s ? s : l->one;
	sqlite3_reset(s);
	sqlite3_bind_int64(s, 1, layer);
	sqlite3_bind_int64(s, 2, latent);
	got = sqlite3_step(s);
	if (got == SQLITE_DONE)
		return 0;
	if (got != SQLITE_ROW)
		return bad(l, e);
	text = (const char *)sqlite3_column_text(s, 0);
	if (!text)
		return 0;
	return (*label = mem_strdup(text, e)) ? 1 : -1;
}

void attrgraph_labels_close(struct attrgraph_labels *l)
{
	if (!l)
		return;
	sqlite3_finalize(l->all);
	sqlite3_finalize(l->one);
	sqlite3_close(l->db);
	mem_free(l->path);
	mem_free(l);
}
