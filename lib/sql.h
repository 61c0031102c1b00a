/*
 * sql: SQLite with our errors: the one door to sqlite3.h.
 *
 * Files are opened so that a commit survives the death of the process and of
 * the machine (WAL, synchronous FULL), and several processes take turns.
 */
#ifndef R1_SQL_H
#define R1_SQL_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct sql;		/* a database */
struct sql_stmt;	/* a prepared statement, kept by its database */

/* Opens path; made if absent and write. NULL with ERR_IO, or ERR_FORMAT when it
 * is no database. */
struct sql *sql_open(const char *path, int write, struct err *e);
/* Folds the log back into the one file. NULL is legal. */
void sql_close(struct sql *s);
const char *sql_path(const struct sql *s);

/* Runs statements that return nothing. */
int sql_exec(struct sql *s, const char *text, struct err *e);

/*
 * A statement, prepared at its first use and found again by its text. Reset, its
 * parameters filled from the arguments, one for each letter of types:
 *   i int64_t   d double   s const char * (NULL: null)   b const void *, size_t
 * Strings and blobs are borrowed until the next use. NULL with e set.
 */
struct sql_stmt *sql_bind(struct sql *s, const char *text, struct err *e,
                          const char *types, ...);
/* The next row: 1, 0 at the end, -1. */
int sql_step(struct sql_stmt *q, struct err *e);
/* Binds and runs to the end. 0 or -1. */
int sql_run(struct sql *s, const char *text, struct err *e,
            const char *types, ...);

/* Whether a table or view of that name has the column: 1, 0 (or there is none of
 * that name), -1. */
int sql_has_column(struct sql *s, const char *table, const char *column,
                   struct err *e);

/* Column i of the row; text and blobs live until the next step. */
int64_t sql_int(struct sql_stmt *q, int i);
double sql_real(struct sql_stmt *q, int i);
const char *sql_text(struct sql_stmt *q, int i);	/* NULL: null */
const void *sql_blob(struct sql_stmt *q, int i, size_t *n);
int sql_is_null(struct sql_stmt *q, int i);
int sql_n_columns(struct sql_stmt *q);
const char *sql_column(struct sql_stmt *q, int i);	/* its name */
enum sql_type { SQL_INT = 1, SQL_REAL, SQL_TEXT, SQL_BLOB, SQL_NULL };
enum sql_type sql_type(struct sql_stmt *q, int i);

#endif
