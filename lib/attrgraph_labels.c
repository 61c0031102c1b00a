#include <stdio.h>

#include "attrgraph.h"
#include "mem.h"
#include "sql.h"

struct attrgraph_labels {
	struct sql *db;
	int whole;		/* one table of all layers, with a column layer */
	int64_t layer;		/* the layer looked up last; -1: none yet */
	int there;		/* whether that layer has a table */
};

struct attrgraph_labels *attrgraph_labels_open(const char *path,
                                               struct err *e)
{
	struct attrgraph_labels *l = mem_array(1, sizeof(*l), e);
	struct sql_stmt *q;
	int got;

	if (!l)
		return NULL;
	l->layer = -1;
	if (!(l->db = sql_open(path, 0, e)) ||
	    (l->whole = sql_has_column(l->db, "autointerp", "layer", e)) < 0)
		goto fail;
	if (l->whole)
		return l;
	q = sql_bind(l->db, "SELECT 1 FROM sqlite_master WHERE name GLOB "
	             "'autointerp_[0-9]*'", e, "");
	got = q ? sql_step(q, e) : -1;
	if (got > 0)
		return l;
	if (got == 0)
		err_set(e, ERR_FORMAT, "%s: neither a table autointerp with a "
		        "column layer nor tables autointerp_N", path);
fail:
	attrgraph_labels_close(l);
	return NULL;
}

/* The label of a latent in the table of its layer: NULL without such a table
 * (then *rc is 0) or with e set (-1). */
static struct sql_stmt *in_own_table(struct attrgraph_labels *l,
                                     uint32_t layer, uint32_t latent, int *rc,
                                     struct err *e)
{
	char table[32], text[96];

	snprintf(table, sizeof(table), "autointerp_%u", layer);
	if (l->layer != layer) {
		if ((*rc = sql_has_column(l->db, table, "label", e)) < 0)
			return NULL;
		l->layer = layer;
		l->there = *rc;
	}
	*rc = l->there ? -1 : 0;
	snprintf(text, sizeof(text), "SELECT label FROM %s WHERE "
	         "feature_id = ?1", table);
	return l->there ? sql_bind(l->db, text, e, "i", (int64_t)latent) : NULL;
}

int attrgraph_label(struct attrgraph_labels *l, uint32_t layer,
                    uint32_t latent, char **label, struct err *e)
{
	struct sql_stmt *q;
	const char *text;
	int rc = -1;

	q = !l->whole ? in_own_table(l, layer, latent, &rc, e)
	    : sql_bind(l->db, "SELECT label FROM autointerp WHERE layer = ?1 "
	               "AND feature_id = ?2", e, "ii", (int64_t)layer,
	               (int64_t)latent);
	if (!q)
		return rc;
	if ((rc = sql_step(q, e)) <= 0)
		return rc;
	if (!(text = sql_text(q, 0)))
		return 0;
	return (*label = mem_strdup(text, e)) ? 1 : -1;
}

void attrgraph_labels_close(struct attrgraph_labels *l)
{
	if (!l)
		return;
	sql_close(l->db);
	mem_free(l);
}
