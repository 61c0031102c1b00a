#include "sql.h"

#include <sqlite3.h>
#include <stdarg.h>
#include <string.h>

#include "mem.h"

enum { BUSY_MS = 60000 };

struct sql_stmt {
	struct sql *owner;
	sqlite3_stmt *q;
};

struct sql {
	sqlite3 *db;
	char *path;
	struct sql_stmt **stmt;
	size_t n_stmt, cap_stmt;
};

static int bad(const struct sql *s, struct err *e)
{
	int code = sqlite3_errcode(s->db) & 0xff;

	return err_set(e, code == SQLITE_NOTADB || code == SQLITE_CORRUPT
	               ? ERR_FORMAT : ERR_IO, "%s: %s", s->path,
	               sqlite3_errmsg(s->db));
}

struct sql *sql_open(const char *path, int write, struct err *e)
{
	struct sql *s = mem_array(1, sizeof(*s), e);
	int flags = write ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
	                  : SQLITE_OPEN_READONLY;

	if (!s)
		return NULL;
	if (!(s->path = mem_strdup(path, e)))
		goto fail;
	if (sqlite3_open_v2(path, &s->db, flags, NULL) != SQLITE_OK) {
		if (s->db)
			bad(s, e);
		else
			err_set(e, ERR_MEM, "%s: no memory", path);
		goto fail;
	}
	sqlite3_busy_timeout(s->db, BUSY_MS);
	if (sql_exec(s, write ? "PRAGMA journal_mode = WAL;"
	                        "PRAGMA synchronous = FULL;"
	                      : "SELECT count(*) FROM sqlite_master;", e) < 0)
		goto fail;
	return s;
fail:
	sql_close(s);
	return NULL;
}

void sql_close(struct sql *s)
{
	size_t i;

	if (!s)
		return;
	for (i = 0; i < s->n_stmt; i++) {
		sqlite3_finalize(s->stmt[i]->q);
		mem_free(s->stmt[i]);
	}
	mem_free(s->stmt);
	if (s->db && !sqlite3_db_readonly(s->db, "main"))
		(void)sql_exec(s, "PRAGMA journal_mode = DELETE;", NULL);
	sqlite3_close(s->db);
	mem_free(s->path);
	mem_free(s);
}

const char *sql_path(const struct sql *s)
{
	return s->path;
}

int sql_exec(struct sql *s, const char *text, struct err *e)
{
	return sqlite3_exec(s->db, text, NULL, NULL, NULL) == SQLITE_OK
	       ? 0 : bad(s, e);
}

static struct sql_stmt *find(struct sql *s, const char *text, struct err *e)
{
	struct sql_stmt *q;
	size_t i;

	for (i = 0; i < s->n_stmt; i++)
		if (!strcmp(sqlite3_sql(s->stmt[i]->q), text))
			return s->stmt[i];
	if (mem_grow(&s->stmt, &s->cap_stmt, s->n_stmt + 1, sizeof(*s->stmt),
	             e) < 0 ||
	    !(q = mem_array(1, sizeof(*q), e)))
		return NULL;
	q->owner = s;
	if (sqlite3_prepare_v3(s->db, text, -1, SQLITE_PREPARE_PERSISTENT,
	                       &q->q, NULL) != SQLITE_OK) {
		bad(s, e);
		mem_free(q);
		return NULL;
	}
	return s->stmt[s->n_stmt++] = q;
}

static struct sql_stmt *bind(struct sql *s, const char *text, struct err *e,
                             const char *types, va_list v)
{
	struct sql_stmt *q = find(s, text, e);
	const char *str;
	const void *p;
	int i, rc = SQLITE_OK;

	if (!q)
		return NULL;
	sqlite3_reset(q->q);
	sqlite3_clear_bindings(q->q);
	for (i = 1; rc == SQLITE_OK && types[i - 1]; i++) {
		switch (types[i - 1]) {
		case 'i':
			rc = sqlite3_bind_int64(q->q, i, va_arg(v, int64_t));
			break;
		case 'd':
			rc = sqlite3_bind_double(q->q, i, va_arg(v, double));
			break;
		case 's':
			str = va_arg(v, const char *);
			rc = sqlite3_bind_text(q->q, i, str, -1, SQLITE_STATIC);
			break;
		default:
			p = va_arg(v, const void *);
			rc = sqlite3_bind_blob64(q->q, i, p,
			                         va_arg(v, size_t),
			                         SQLITE_STATIC);
		}
	}
	if (rc != SQLITE_OK) {
		bad(s, e);
		return NULL;
	}
	return q;
}

struct sql_stmt *sql_bind(struct sql *s, const char *text, struct err *e,
                          const char *types, ...)
{
	struct sql_stmt *q;
	va_list v;

	va_start(v, types);
	q = bind(s, text, e, types, v);
	va_end(v);
	return q;
}

int sql_step(struct sql_stmt *q, struct err *e)
{
	int rc = sqlite3_step(q->q);

	if (rc == SQLITE_ROW)
		return 1;
	if (rc != SQLITE_DONE)
		bad(q->owner, e);
	sqlite3_reset(q->q);
	return rc == SQLITE_DONE ? 0 : -1;
}

int sql_run(struct sql *s, const char *text, struct err *e, const char *types,
            ...)
{
	struct sql_stmt *q;
	va_list v;
	int got;

	va_start(v, types);
	q = bind(s, text, e, types, v);
	va_end(v);
	if (!q)
		return -1;
	while ((got = sql_step(q, e)) > 0)
		;
	return got;
}

int sql_has_column(struct sql *s, const char *table, const char *column,
                   struct err *e)
{
	struct sql_stmt *q = sql_bind(s, "SELECT count(*) FROM "
	                              "pragma_table_info(?1) WHERE name = ?2",
	                              e, "ss", table, column);
	int got = q ? sql_step(q, e) : -1, has = got > 0 && sql_int(q, 0) > 0;

	return got > 0 && (got = sql_step(q, e)) == 0 ? has : got;
}

int64_t sql_int(struct sql_stmt *q, int i)
{
	return sqlite3_column_int64(q->q, i);
}

double sql_real(struct sql_stmt *q, int i)
{
	return sqlite3_column_double(q->q, i);
}

const char *sql_text(struct sql_stmt *q, int i)
{
	return (const char *)sqlite3_column_text(q->q, i);
}

const void *sql_blob(struct sql_stmt *q, int i, size_t *n)
{
	const void *p = sqlite3_column_blob(q->q, i);

	*n = (size_t)sqlite3_column_bytes(q->q, i);
	return p;
}

int sql_is_null(struct sql_stmt *q, int i)
{
	return sqlite3_column_type(q->q, i) == SQLITE_NULL;
}

int sql_n_columns(struct sql_stmt *q)
{
	return sqlite3_column_count(q->q);
}

const char *sql_column(struct sql_stmt *q, int i)
{
	return sqlite3_column_name(q->q, i);
}

enum sql_type sql_type(struct sql_stmt *q, int i)
{
	switch (sqlite3_column_type(q->q, i)) {
	case SQLITE_INTEGER:
		return SQL_INT;
	case SQLITE_FLOAT:
		return SQL_REAL;
	case SQLITE_TEXT:
		return SQL_TEXT;
	case SQLITE_BLOB:
		return SQL_BLOB;
	default:
		return SQL_NULL;
	}
}
