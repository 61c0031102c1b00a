#include "label_db.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "mem.h"

struct label_db {
	struct sql *s;
};

enum { VERSION = 1, ROOM = 20 };	/* tokens kept of a latent's logits */

/* Tables whose primary key is all there is to their order: the same contents
 * give the same file (VACUUM INTO), in whatever order they came. */
static const char tables[] =
"CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
"CREATE TABLE IF NOT EXISTS feature("
" layer INTEGER, feature_id INTEGER, n_fired INTEGER, frequency REAL,"
" mean REAL, max REAL, median REAL, prompt REAL, think REAL, answer REAL,"
" text REAL, spread REAL, dead INTEGER, promoted TEXT, suppressed TEXT,"
" PRIMARY KEY(layer, feature_id)) WITHOUT ROWID;"
"CREATE TABLE IF NOT EXISTS ask("
" request TEXT PRIMARY KEY, layer INTEGER, feature_id INTEGER, kind TEXT,"
" part INTEGER, model_name TEXT, prompt_version TEXT) WITHOUT ROWID;"
"CREATE INDEX IF NOT EXISTS ask_of ON ask(layer, feature_id);"
"CREATE TABLE IF NOT EXISTS reply("
" request TEXT, attempt INTEGER, body BLOB, input_tokens INTEGER,"
" cache_write_tokens INTEGER, cache_read_tokens INTEGER,"
" output_tokens INTEGER, usd REAL, batch TEXT,"
" PRIMARY KEY(request, attempt)) WITHOUT ROWID;"
"CREATE TABLE IF NOT EXISTS label("
" layer INTEGER, feature_id INTEGER, model_name TEXT, prompt_version TEXT,"
" state TEXT, label TEXT, explanation TEXT, quality REAL,"
" interestingness REAL, confidence REAL, tags TEXT, request TEXT,"
" PRIMARY KEY(layer, feature_id, model_name, prompt_version)) WITHOUT ROWID;"
"CREATE TABLE IF NOT EXISTS tag("
" tag TEXT, layer INTEGER, feature_id INTEGER, model_name TEXT,"
" prompt_version TEXT, PRIMARY KEY(tag, layer, feature_id, model_name,"
" prompt_version)) WITHOUT ROWID;"
"CREATE TABLE IF NOT EXISTS score("
" layer INTEGER, feature_id INTEGER, model_name TEXT, prompt_version TEXT,"
" scorer TEXT, n_on INTEGER, n_off INTEGER, hit_on INTEGER, hit_off INTEGER,"
" balanced_accuracy REAL, low REAL, high REAL,"
" PRIMARY KEY(layer, feature_id, model_name, prompt_version, scorer))"
" WITHOUT ROWID;"
"CREATE TABLE IF NOT EXISTS judgement("
" layer INTEGER, feature_id INTEGER, model_name TEXT, prompt_version TEXT,"
" scorer TEXT, item INTEGER, sequence_id INTEGER, token_idx INTEGER,"
" stratum INTEGER, truth INTEGER, said INTEGER,"
" PRIMARY KEY(layer, feature_id, model_name, prompt_version, scorer, item))"
" WITHOUT ROWID;"
"CREATE TABLE IF NOT EXISTS embedding("
" layer INTEGER, feature_id INTEGER, model_name TEXT, prompt_version TEXT,"
" embedder TEXT, n_on INTEGER, n_off INTEGER, auc REAL, low REAL, high REAL,"
" PRIMARY KEY(layer, feature_id, model_name, prompt_version, embedder))"
" WITHOUT ROWID;"
"CREATE TABLE IF NOT EXISTS similarity("
" layer INTEGER, feature_id INTEGER, model_name TEXT, prompt_version TEXT,"
" embedder TEXT, item INTEGER, sequence_id INTEGER, token_idx INTEGER,"
" stratum INTEGER, truth INTEGER, cosine REAL,"
" PRIMARY KEY(layer, feature_id, model_name, prompt_version, embedder, item))"
" WITHOUT ROWID;"
"CREATE TABLE IF NOT EXISTS token("
" sequence_id INTEGER, token_idx INTEGER, token INTEGER, decoded_token TEXT,"
" PRIMARY KEY(sequence_id, token_idx)) WITHOUT ROWID;"
"CREATE TABLE IF NOT EXISTS activation("
" layer INTEGER, feature_id INTEGER, sequence_id INTEGER, token_idx INTEGER,"
" strength REAL, PRIMARY KEY(layer, feature_id, sequence_id, token_idx))"
" WITHOUT ROWID;"
"CREATE TABLE IF NOT EXISTS batch("
" key TEXT PRIMARY KEY, remote TEXT, done INTEGER, n INTEGER) WITHOUT ROWID;"
"CREATE TABLE IF NOT EXISTS batch_ask("
" batch TEXT, request TEXT, attempt INTEGER,"
" PRIMARY KEY(batch, request, attempt)) WITHOUT ROWID;"
/* Goodfire's three, with the layer in front */
"CREATE VIEW IF NOT EXISTS autointerp AS SELECT layer, feature_id, label,"
" quality, interestingness, model_name, prompt_version FROM label"
" WHERE label IS NOT NULL;"
"CREATE VIEW IF NOT EXISTS activations AS SELECT * FROM activation;"
"CREATE VIEW IF NOT EXISTS tokens AS SELECT * FROM token;"
/* one label for each latent: a model's before the rule's, the best tested, then
 * the best marked */
"CREATE VIEW IF NOT EXISTS best AS SELECT layer, feature_id, label,"
" explanation, tags, quality, confidence, score, model_name, prompt_version"
" FROM (SELECT l.*, s.score, row_number() OVER (PARTITION BY l.layer,"
" l.feature_id ORDER BY l.prompt_version = 'tokens', s.score DESC"
" NULLS LAST, l.quality DESC,"
" l.prompt_version, l.model_name) AS place FROM label l LEFT JOIN"
" (SELECT layer, feature_id, model_name, prompt_version,"
" avg(balanced_accuracy) AS score FROM score GROUP BY 1, 2, 3, 4) s"
" USING (layer, feature_id, model_name, prompt_version)"
" WHERE l.state = 'ok') WHERE place = 1;"
/* a row for each label: what the exports write */
"CREATE VIEW IF NOT EXISTS catalogue AS SELECT l.layer, l.feature_id,"
" l.state, l.label, l.explanation, l.tags, l.quality, l.interestingness,"
" l.confidence, d.balanced_accuracy AS detection, d.low AS detection_low,"
" d.high AS detection_high, z.balanced_accuracy AS fuzzing,"
" z.low AS fuzzing_low, z.high AS fuzzing_high, v.auc AS embedding,"
" v.low AS embedding_low, v.high AS embedding_high, v.embedder,"
" f.frequency, f.mean, f.max,"
" f.prompt, f.think, f.answer, f.text, f.spread, f.promoted, f.suppressed,"
" l.model_name, l.prompt_version, l.request,"
" (SELECT sum(r.usd) FROM ask a JOIN reply r USING (request)"
" WHERE a.layer = l.layer AND a.feature_id = l.feature_id AND"
" a.model_name = l.model_name AND a.prompt_version = l.prompt_version)"
" AS usd"
" FROM label l LEFT JOIN feature f USING (layer, feature_id)"
" LEFT JOIN score d ON (d.layer, d.feature_id, d.model_name,"
" d.prompt_version, d.scorer) = (l.layer, l.feature_id, l.model_name,"
" l.prompt_version, 'detection')"
" LEFT JOIN score z ON (z.layer, z.feature_id, z.model_name,"
" z.prompt_version, z.scorer) = (l.layer, l.feature_id, l.model_name,"
" l.prompt_version, 'fuzzing')"
/* by several embedders: the first by name */
" LEFT JOIN embedding v ON (v.layer, v.feature_id, v.model_name,"
" v.prompt_version) = (l.layer, l.feature_id, l.model_name,"
" l.prompt_version) AND v.embedder = (SELECT min(embedder) FROM embedding w"
" WHERE (w.layer, w.feature_id, w.model_name, w.prompt_version) ="
" (l.layer, l.feature_id, l.model_name, l.prompt_version))"
" ORDER BY l.layer, l.feature_id, l.model_name, l.prompt_version;"
"CREATE VIEW IF NOT EXISTS cost AS SELECT a.layer, a.feature_id,"
" a.model_name, a.prompt_version, a.kind, count(*) AS replies,"
" sum(input_tokens) AS input_tokens,"
" sum(cache_write_tokens) AS cache_write_tokens,"
" sum(cache_read_tokens) AS cache_read_tokens,"
" sum(output_tokens) AS output_tokens, sum(usd) AS usd"
" FROM reply JOIN ask a USING (request) GROUP BY 1, 2, 3, 4, 5;";

static int64_t num(int64_t v)	/* for variadic calls */
{
	return v;
}

/* Views of files from before there were the rule and embeddings. */
static int drop_old(struct label_db *d, struct err *e)
{
	static const char *const old[][2] = {
		{ "SELECT 1 FROM sqlite_master WHERE name = 'best' AND sql NOT "
		  "LIKE '%tokens%'", "DROP VIEW best" },
		{ "SELECT 1 FROM sqlite_master WHERE name = 'catalogue' AND "
		  "sql NOT LIKE '%embedding%'", "DROP VIEW catalogue" }
	};
	int i, got = 0;

	for (i = 0; i < 2 && got >= 0; i++) {
		struct sql_stmt *q = sql_bind(d->s, old[i][0], e, "");

		if ((got = q ? sql_step(q, e) : -1) > 0 &&
		    (got = sql_step(q, e)) == 0)
			got = sql_exec(d->s, old[i][1], e);
	}
	return got;
}

struct label_db *label_db_open(const char *path, struct err *e)
{
	struct label_db *d = mem_array(1, sizeof(*d), e);
	struct sql_stmt *q;
	int got;

	if (!d)
		return NULL;
	if (!(d->s = sql_open(path, 1, e)) ||
	    label_db_begin(d, e) < 0 || drop_old(d, e) < 0 ||
	    sql_exec(d->s, tables, e) < 0 ||
	    sql_run(d->s, "INSERT OR IGNORE INTO meta VALUES('version', ?)", e,
	            "i", num(VERSION)) < 0 ||
	    label_db_commit(d, e) < 0 ||
	    !(q = sql_bind(d->s, "SELECT value FROM meta WHERE key = 'version'",
	                   e, "")) || (got = sql_step(q, e)) < 0)
		goto fail;
	if (!got || sql_int(q, 0) != VERSION) {
		err_set(e, ERR_FORMAT, "%s: tables of version %lld, this "
		        "program knows %d", path,
		        got ? (long long)sql_int(q, 0) : 0LL, VERSION);
		goto fail;
	}
	while (sql_step(q, e) > 0)
		;
	return d;
fail:
	label_db_close(d);
	return NULL;
}

void label_db_close(struct label_db *d)
{
	if (!d)
		return;
	sql_close(d->s);
	mem_free(d);
}

struct sql *label_db_sql(struct label_db *d)
{
	return d->s;
}

int label_db_begin(struct label_db *d, struct err *e)
{
	return sql_exec(d->s, "BEGIN IMMEDIATE", e);
}

int label_db_commit(struct label_db *d, struct err *e)
{
	return sql_exec(d->s, "COMMIT", e);
}

void label_db_rollback(struct label_db *d)
{
	(void)sql_exec(d->s, "ROLLBACK", NULL);
}

/* ---- latents ---- */

static int put_meta(struct label_db *d, const char *key, const char *value,
                    struct err *e)
{
	return sql_run(d->s, "INSERT OR REPLACE INTO meta VALUES(?, ?)", e,
	               "ss", key, value);
}

/* Goodfire's tables of one layer, under their names with _LAYER behind. */
static int layer_views(struct label_db *d, uint32_t layer, struct err *e)
{
	char *text = mem_printf(e,
		"CREATE VIEW IF NOT EXISTS autointerp_%u AS SELECT feature_id,"
		" label, quality, interestingness, model_name, prompt_version"
		" FROM autointerp WHERE layer = %u;"
		"CREATE VIEW IF NOT EXISTS activations_%u AS SELECT"
		" feature_id, sequence_id, token_idx, strength FROM activation"
		" WHERE layer = %u;"
		"CREATE VIEW IF NOT EXISTS tokens_%u AS SELECT * FROM token;",
		layer, layer, layer, layer, layer);
	int rc = text ? sql_exec(d->s, text, e) : -1;

	mem_free(text);
	return rc;
}

int label_db_head(struct label_db *d, const struct examples_head *h,
                  const json_t *prov, struct err *e)
{
	struct sql_stmt *q = sql_bind(d->s, "SELECT value FROM meta WHERE key ="
	                              " 'transcoders'", e, "");
	const char *have;
	char line[32], *text;
	uint32_t i;
	int got = q ? sql_step(q, e) : -1, rc;

	if (got < 0)
		return -1;
	if (got && (have = sql_text(q, 0)) && strcmp(have, h->transcoders)) {
		err_set(e, ERR_FORMAT, "%s: holds latents of the transcoders "
		        "%.12s..., these are of %.12s...", sql_path(d->s),
		        have, h->transcoders);
		return -1;
	}
	while (got > 0)
		got = sql_step(q, e);
	if (got < 0 || put_meta(d, "transcoders", h->transcoders, e) < 0 ||
	    put_meta(d, "model", h->model, e) < 0 ||
	    put_meta(d, "model_name", h->model_name, e) < 0 ||
	    put_meta(d, "tokenizer", h->tokens.tokenizer, e) < 0)
		return -1;
	snprintf(line, sizeof(line), "%llu", (unsigned long long)h->n_positions);
	text = prov ? json_dumps(prov, JSON_COMPACT) : NULL;
	rc = put_meta(d, "prov", text ? text : "", e);
	free(text);
	if (rc < 0 || put_meta(d, "positions", line, e) < 0)
		return -1;
	for (i = 0; i < h->n_layers; i++)
		if (layer_views(d, h->layers[i], e) < 0)
			return -1;
	return 0;
}

/* Tokens as a JSON list of strings; for free() by jansson's allocator. */
static char *token_list(const struct tok *t, const uint32_t *ids, size_t n,
                        struct err *e)
{
	json_t *list = json_array();
	const char *s;
	char *text;
	size_t i, len;

	for (i = 0; i < n && i < ROOM; i++) {
		s = tok_bytes(t, ids[i], &len);
		json_array_append_new(list, json_bytes(s, len, e));
	}
	text = json_dumps(list, JSON_COMPACT);
	json_decref(list);
	if (!text)
		err_set(e, ERR_MEM, "no memory for a latent's tokens");
	return text;
}

int label_db_latent(struct label_db *d, const struct examples_latent *l,
                    const struct tok *t, struct err *e)
{
	char *up = token_list(t, l->top_id, l->n_logits, e);
	char *down = up ? token_list(t, l->bottom_id, l->n_logits, e) : NULL;
	int rc = -1;

	if (down)
		rc = sql_run(d->s, "INSERT OR REPLACE INTO feature VALUES"
		             "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)", e,
		             "iiidddddddddiss", num(l->layer), num(l->latent),
		             num((int64_t)l->s.n_fired), l->d.frequency,
		             l->d.mean, (double)l->s.max,
		             l->d.quantile[EXAMPLES_QUANTILES / 2],
		             l->d.share[REC_PROMPT], l->d.share[REC_THINK],
		             l->d.share[REC_ANSWER], l->d.share[REC_TEXT],
		             l->d.entropy_share, num(!l->s.n_fired), up, down);
	free(up);
	free(down);
	return rc;
}

static int put_context(struct label_db *d, const struct label_feature *f,
                       const struct label_ctx *c, const struct tok *t,
                       struct err *e)
{
	size_t i, n;
	int rc = 0;

	for (i = 0; rc == 0 && i < c->n; i++) {
		const char *s = tok_bytes(t, c->ids[i], &n);
		json_t *j = json_bytes(s, n, e);

		if (!j)
			return -1;
		rc = sql_run(d->s, "INSERT OR REPLACE INTO token VALUES"
		             "(?,?,?,?)", e, "iiis", num((int64_t)c->seq),
		             num(c->pos + (int64_t)i), num(c->ids[i]),
		             json_string_value(j));
		json_decref(j);
		if (rc == 0 && c->acts && c->acts[i] > 0)
			rc = sql_run(d->s, "INSERT OR REPLACE INTO activation "
			             "VALUES(?,?,?,?,?)", e, "iiiid",
			             num(f->layer), num(f->id),
			             num((int64_t)c->seq),
			             num(c->pos + (int64_t)i),
			             (double)c->acts[i]);
	}
	return rc;
}

int label_db_contexts(struct label_db *d, const struct label_feature *f,
                      const struct tok *t, struct err *e)
{
	const struct label_ctxs *all[] = { &f->show, &f->on, &f->off };
	size_t i, j;

	for (i = 0; i < 3; i++)
		for (j = 0; j < all[i]->n; j++)
			if (put_context(d, f, &all[i]->c[j], t, e) < 0)
				return -1;
	return 0;
}

/* ---- answers ---- */

int label_db_reply(struct label_db *d, const char *id, int attempt,
                   char **body, size_t *n, struct err *e)
{
	struct sql_stmt *q = sql_bind(d->s, "SELECT body FROM reply WHERE "
	                              "request = ? AND attempt = ?", e, "si",
	                              id, num(attempt));
	int got = q ? sql_step(q, e) : -1;
	const void *p;

	if (got <= 0)
		return got;
	p = sql_blob(q, 0, n);
	if (!(*body = mem_strndup(p ? p : "", *n, e)))
		return -1;
	return sql_step(q, e) < 0 ? -1 : 1;
}

int label_db_put_ask(struct label_db *d, const struct label_db_key *k,
                   const struct label_ask *a, struct err *e)
{
	return sql_run(d->s, "INSERT OR IGNORE INTO ask VALUES(?,?,?,?,?,?,?)",
	               e, "siisiss", a->id, num(a->layer), num(a->latent),
	               label_kinds[a->kind], num(a->part), k->model,
	               k->prompt);
}

static int changed(struct label_db *d, struct err *e)
{
	struct sql_stmt *q = sql_bind(d->s, "SELECT changes()", e, "");
	int got = q ? sql_step(q, e) : -1, n;

	if (got <= 0)
		return -1;
	n = (int)sql_int(q, 0);
	return sql_step(q, e) < 0 ? -1 : n;
}

int label_db_put_reply(struct label_db *d, const struct label_db_key *k,
                       const struct label_ask *a, const char *body, size_t n,
                       const struct label_usage *u, double usd,
                       const char *batch, struct err *e)
{
	if (label_db_put_ask(d, k, a, e) < 0 ||
	    sql_run(d->s, "INSERT OR IGNORE INTO reply VALUES(?,?,?,?,?,?,?,"
	            "nullif(?, -1.0),?)", e, "sibiiiids", a->id,
	            num(a->attempt), (const void *)body, n, u->input,
	            u->cache_write, u->cache_read, u->output,
	            usd < 0 ? -1.0 : usd, batch) < 0)
		return -1;
	return changed(d, e);
}

int label_db_spent(struct label_db *d, double *usd, struct err *e)
{
	struct sql_stmt *q = sql_bind(d->s, "SELECT coalesce(sum(usd), 0) FROM "
	                              "reply", e, "");
	int got = q ? sql_step(q, e) : -1;

	if (got <= 0)
		return -1;
	*usd = sql_real(q, 0);
	return sql_step(q, e);
}

/* ---- what follows from them ---- */

static int drop_tags(struct label_db *d, const struct label_db_key *k,
                     uint32_t layer, uint32_t id, struct err *e)
{
	return sql_run(d->s, "DELETE FROM tag WHERE layer = ? AND feature_id = "
	               "? AND model_name = ? AND prompt_version = ?", e, "iiss",
	               num(layer), num(id), k->model, k->prompt);
}

int label_db_put_label(struct label_db *d, const struct label_db_key *k,
                       const struct label_feature *f, const char *request,
                       const struct label_answer *a, const char *why,
                       struct err *e)
{
	char tags[256] = "";
	int i;

	if (drop_tags(d, k, f->layer, f->id, e) < 0)
		return -1;
	if (!a)
		return sql_run(d->s, "INSERT OR REPLACE INTO label VALUES"
		               "(?,?,?,?,'failed',NULL,?,NULL,NULL,NULL,NULL,"
		               "?)", e, "iissss", num(f->layer), num(f->id),
		               k->model, k->prompt, why, request);
	for (i = 0; i < LABEL_N_TAGS; i++) {
		if (!(a->tags >> i & 1))
			continue;
		if (*tags)
			strcat(tags, " ");
		strcat(tags, label_tags[i]);
		if (sql_run(d->s, "INSERT OR REPLACE INTO tag VALUES"
		            "(?,?,?,?,?)", e, "siiss", label_tags[i],
		            num(f->layer), num(f->id), k->model,
		            k->prompt) < 0)
			return -1;
	}
	return sql_run(d->s, "INSERT OR REPLACE INTO label VALUES"
	               "(?,?,?,?,'ok',?,?,?,?,?,?,?)", e, "iissssdddss",
	               num(f->layer), num(f->id), k->model, k->prompt,
	               a->label, a->why, a->quality / 10.0,
	               a->interest / 10.0, a->confidence / 10.0, tags,
	               request);
}

int label_db_label(struct label_db *d, const struct label_db_key *k,
                   uint32_t layer, uint32_t latent, char **label,
                   struct err *e)
{
	struct sql_stmt *q = sql_bind(d->s, "SELECT label FROM label WHERE layer "
	                              "= ? AND feature_id = ? AND model_name = ? "
	                              "AND prompt_version = ? AND state = 'ok'",
	                              e, "iiss", num(layer), num(latent),
	                              k->model, k->prompt);
	int got = q ? sql_step(q, e) : -1;

	if (got <= 0)
		return got;
	if (!(*label = mem_strdup(sql_text(q, 0), e)))
		return -1;
	return sql_step(q, e) < 0 ? -1 : 1;
}

int label_db_put_dead(struct label_db *d, const struct label_db_key *k,
                      uint32_t layer, uint32_t latent, struct err *e)
{
	return sql_run(d->s, "INSERT OR REPLACE INTO label VALUES(?,?,?,?,"
	               "'dead','dead feature',NULL,NULL,NULL,NULL,NULL,NULL)",
	               e, "iiss", num(layer), num(latent), k->model,
	               k->prompt);
}

int label_db_put_score(struct label_db *d, const struct label_db_key *k,
                       const struct label_feature *f, enum label_kind kind,
                       const struct label_item *items, const uint8_t *said,
                       size_t n, const struct label_score *s, struct err *e)
{
	size_t i;

	if (sql_run(d->s, "DELETE FROM judgement WHERE layer = ? AND "
	            "feature_id = ? AND model_name = ? AND prompt_version = ? "
	            "AND scorer = ?", e, "iisss", num(f->layer), num(f->id),
	            k->model, k->prompt, label_kinds[kind]) < 0)
		return -1;
	for (i = 0; i < n; i++) {
		const struct label_ctx *c = items[i].c;

		if (said[i] > 1)
			continue;
		if (sql_run(d->s, "INSERT INTO judgement VALUES"
		            "(?,?,?,?,?,?,?,?,?,?,?)", e, "iisssiiiiii",
		            num(f->layer), num(f->id), k->model, k->prompt,
		            label_kinds[kind], num((int64_t)i),
		            num((int64_t)c->seq), num(c->pos + (int64_t)c->at),
		            num(c->stratum), num(items[i].truth),
		            num(said[i])) < 0)
			return -1;
	}
	return sql_run(d->s, "INSERT OR REPLACE INTO score VALUES"
	               "(?,?,?,?,?,?,?,?,?,?,?,?)", e, "iisssiiiiddd",
	               num(f->layer), num(f->id), k->model, k->prompt,
	               label_kinds[kind], num((int64_t)s->on),
	               num((int64_t)s->off), num((int64_t)s->hit_on),
	               num((int64_t)s->hit_off), s->balanced, s->low, s->high);
}

int label_db_put_embedding(struct label_db *d, const struct label_db_key *k,
                           const struct label_feature *f, const char *embedder,
                           const struct label_item *items, const double *near,
                           size_t n, const struct label_auc *s, struct err *e)
{
	size_t i;

	if (sql_run(d->s, "DELETE FROM similarity WHERE layer = ? AND "
	            "feature_id = ? AND model_name = ? AND prompt_version = ? "
	            "AND embedder = ?", e, "iisss", num(f->layer), num(f->id),
	            k->model, k->prompt, embedder) < 0)
		return -1;
	for (i = 0; i < n; i++) {
		const struct label_ctx *c = items[i].c;

		if (sql_run(d->s, "INSERT INTO similarity VALUES"
		            "(?,?,?,?,?,?,?,?,?,?,?)", e, "iisssiiiiid",
		            num(f->layer), num(f->id), k->model, k->prompt,
		            embedder, num((int64_t)i), num((int64_t)c->seq),
		            num(c->pos + (int64_t)c->at), num(c->stratum),
		            num(items[i].truth), near[i]) < 0)
			return -1;
	}
	return sql_run(d->s, "INSERT OR REPLACE INTO embedding VALUES"
	               "(?,?,?,?,?,?,?,?,?,?)", e, "iisssiiddd", num(f->layer),
	               num(f->id), k->model, k->prompt, embedder,
	               num((int64_t)s->on), num((int64_t)s->off), s->auc, s->low,
	               s->high);
}
