#include "rec_motifs.h"

#include <math.h>
#include <string.h>

#include "json.h"
#include "mem.h"
#include "mpk.h"
#include "rec_impl.h"

struct rec_motifs_in {
	struct rec_base b;
	char *text;		/* the record's strings, NUL added */
	size_t text_cap;
};

/* ---- header ---- */

static int read_head(const json_t *h, struct rec_motifs_head *m, struct err *e)
{
	const json_t *nulls = json_object_get(h, "nulls"), *v;
	int64_t n, seed, min_gap, max_gap;
	size_t i;

	memset(m, 0, sizeof(*m));
	if (json_int(h, "n", 0, UINT32_MAX, -1, &n, e) < 0 ||
	    json_int(h, "seed", INT64_MIN, INT64_MAX, 0, &seed, e) < 0 ||
	    json_number(h, "threshold", 0, INFINITY, -1, &m->threshold, e) < 0 ||
	    json_number(h, "swaps", 0, INFINITY, -1, &m->swaps, e) < 0 ||
	    json_int(h, "min_gap", INT32_MIN, INT32_MAX, 1, &min_gap, e) < 0 ||
	    json_int(h, "max_gap", INT32_MIN, INT32_MAX, 1, &max_gap, e) < 0 ||
	    json_bool(h, "errors", 0, &m->errors, e) < 0 ||
	    json_bool(h, "igraph", 0, &m->igraph, e) < 0 ||
	    json_number(h, "density", 0, 1, 0, &m->density, e) < 0 ||
	    json_str(h, "part", "all", &m->part, e) < 0)
		return -1;
	m->n = (uint64_t)n;
	m->seed = (uint64_t)seed;
	m->min_gap = (int32_t)min_gap;
	m->max_gap = (int32_t)max_gap;
	m->n_nulls = json_array_size(nulls);
	if (!json_is_array(nulls) || m->n_nulls > REC_MOTIFS_NULLS)
		return err_set(e, ERR_FORMAT, "'nulls': wanted an array of at "
		               "most %d names", REC_MOTIFS_NULLS);
	for (i = 0; i < m->n_nulls; i++) {
		v = json_array_get(nulls, i);
		if (!json_is_string(v))
			return err_set(e, ERR_FORMAT, "'nulls'[%zu]: wanted a "
			               "str", i);
		m->nulls[i] = json_string_value(v);
	}
	return 0;
}

struct rec_motifs_in *rec_motifs_open(const char *path,
                                      struct rec_motifs_head *h,
                                      struct err *e)
{
	struct stream_in *s = stream_open_in(path, "motifs/1", e);

	return s ? rec_motifs_on(s, h, e) : NULL;
}

struct rec_motifs_in *rec_motifs_on(struct stream_in *s,
                                    struct rec_motifs_head *h, struct err *e)
{
	struct rec_motifs_in *r = mem_array(1, sizeof(*r), e);

	if (!r) {
		stream_close_in(s);
		return NULL;
	}
	r->b.s = s;
	if (read_head(stream_header(s), h, e) < 0) {
		err_wrap(e, "%s: header", stream_name(s));
		rec_motifs_close(r);
		return NULL;
	}
	return r;
}

const struct stream_in *rec_motifs_stream(const struct rec_motifs_in *r)
{
	return r->b.s;
}

void rec_motifs_close(struct rec_motifs_in *r)
{
	if (!r)
		return;
	rec_base_close(&r->b);
	mem_free(r->text);
	mem_free(r);
}

json_t *rec_motifs_header(const struct rec_motifs_head *h, struct err *e)
{
	json_t *names = json_array(), *j;
	size_t i;

	for (i = 0; names && i < h->n_nulls; i++)
		json_array_append_new(names, json_string(h->nulls[i]));
	j = json_pack("{s:I, s:I, s:f, s:f, s:i, s:i, s:b, s:b, s:f, s:s, s:o}",
	              "n", (json_int_t)h->n, "seed", (json_int_t)h->seed,
	              "threshold", h->threshold, "swaps", h->swaps,
	              "min_gap", (int)h->min_gap, "max_gap", (int)h->max_gap,
	              "errors", h->errors, "igraph", h->igraph, "density",
	              h->density, "part", h->part, "nulls", names);
	if (!j)
		err_set(e, ERR_MEM, "out of memory");
	return j;
}

/* ---- records ---- */

static int get_null(const msgpack_object *o, struct rec_motifs_null *n,
                    struct err *e)
{
	const msgpack_object *fixed = mpk_get(o, "fixed");

	if (rec_base_real(o, "mean", 0, &n->mean, e) < 0 ||
	    rec_base_real(o, "std", 0, &n->std, e) < 0 ||
	    rec_base_real(o, "z", 1, &n->z, e) < 0 ||
	    rec_base_real(o, "sp", 1, &n->sp, e) < 0 ||
	    rec_base_real(o, "p", 1, &n->p, e) < 0 ||
	    rec_base_real(o, "q", 1, &n->q, e) < 0 ||
	    rec_base_real(o, "effect", 1, &n->effect, e) < 0 ||
	    rec_base_real(o, "lo", 1, &n->lo, e) < 0 ||
	    rec_base_real(o, "hi", 1, &n->hi, e) < 0)
		return -1;
	if (fixed && fixed->type != MSGPACK_OBJECT_BOOLEAN)
		return err_set(e, ERR_FORMAT, "'fixed': wanted a bool, found "
		               "%s", mpk_type(fixed));
	n->fixed = fixed && fixed->via.boolean;
	return 0;
}

static int get_nulls(const msgpack_object *root, struct rec_motifs *m,
                     char **text, struct err *e)
{
	const msgpack_object *nulls = mpk_get(root, "nulls");
	uint32_t i;

	m->n_nulls = 0;
	if (!nulls)
		return 0;
	if (nulls->type != MSGPACK_OBJECT_MAP ||
	    nulls->via.map.size > REC_MOTIFS_NULLS)
		return err_set(e, ERR_FORMAT, "'nulls': wanted a map of at "
		               "most %d, found %s", REC_MOTIFS_NULLS,
		               mpk_type(nulls));
	for (i = 0; i < nulls->via.map.size; i++) {
		const msgpack_object_kv *kv = &nulls->via.map.ptr[i];
		struct rec_motifs_null *n = &m->nulls[i];

		if (kv->key.type != MSGPACK_OBJECT_STR)
			return err_set(e, ERR_FORMAT, "'nulls': a key that is "
			               "no str");
		if (rec_base_text(kv->key.via.str.ptr, kv->key.via.str.size,
		                  "nulls", text, &n->name, e) < 0)
			return -1;
		if (get_null(&kv->val, n, e) < 0)
			return err_wrap(e, "'nulls': '%.32s'", n->name);
	}
	m->n_nulls = nulls->via.map.size;
	return 0;
}

static int get_body(struct rec_motifs_in *r, size_t n_record,
                    struct rec_motifs *m, struct err *e)
{
	static const char *const keys[] = {
		"graph", "source", "model", "motif", "group"
	};
	const char **slots[] = {
		&m->graph, &m->source, &m->model, &m->motif, &m->group
	};
	const msgpack_object *root = r->b.m.root;
	const char *s;
	char *text;
	size_t i, n;

	/* no string is longer than its record, each may be once in it */
	if (mem_grow(&r->text, &r->text_cap, n_record + 64, 1, e) < 0)
		return -1;
	text = r->text;
	for (i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (mpk_str(root, keys[i], &s, &n, e) < 0 ||
		    rec_base_text(s, n, keys[i], &text, slots[i], e) < 0)
			return -1;
	if (mpk_u64(root, "nodes", UINT64_MAX, &m->nodes, e) < 0 ||
	    mpk_u64(root, "edges", UINT64_MAX, &m->edges, e) < 0 ||
	    mpk_u64(root, "layers", UINT64_MAX, &m->layers, e) < 0 ||
	    mpk_u64(root, "count", UINT64_MAX, &m->count, e) < 0)
		return -1;
	return get_nulls(root, m, &text, e);
}

int rec_motifs_read(struct rec_motifs_in *r, struct rec_motifs *m,
                    struct err *e)
{
	struct err in = { 0 };
	int got = rec_base_next(&r->b, e);

	if (got == 1 && get_body(r, r->b.n, m, &in) < 0)
		return rec_base_bad(&r->b, &in, e);
	return got;
}

/* ---- writing ---- */

static int put_text(struct mpk_out *o, const char *key, const char *s,
                    struct err *e)
{
	return mpk_put_str(o, key, e) | mpk_put_str(o, s, e);
}

static int put_count(struct mpk_out *o, const char *key, uint64_t v,
                     struct err *e)
{
	return mpk_put_str(o, key, e) | mpk_put_u64(o, v, e);
}

static int put_null(struct mpk_out *o, const struct rec_motifs_null *n,
                    struct err *e)
{
	const struct { const char *key; double v; } optional[] = {
		{ "z", n->z }, { "sp", n->sp }, { "p", n->p }, { "q", n->q },
		{ "effect", n->effect }, { "lo", n->lo }, { "hi", n->hi }
	};
	enum { OPTIONAL = sizeof(optional) / sizeof(*optional) };
	size_t members = 2 + (n->fixed != 0), i;
	int rc;

	for (i = 0; i < OPTIONAL; i++)
		members += !isnan(optional[i].v);
	rc = mpk_put_map(o, members, e);
	rc |= mpk_put_str(o, "mean", e) | mpk_put_real(o, n->mean, e);
	rc |= mpk_put_str(o, "std", e) | mpk_put_real(o, n->std, e);
	for (i = 0; i < OPTIONAL; i++)
		if (!isnan(optional[i].v))
			rc |= mpk_put_str(o, optional[i].key, e) |
			      mpk_put_real(o, optional[i].v, e);
	if (n->fixed)
		rc |= mpk_put_str(o, "fixed", e) | mpk_put_bool(o, 1, e);
	return rc;
}

int rec_motifs_write(struct stream_out *s, const struct rec_motifs *m,
                     struct err *e)
{
	struct mpk_out o;
	size_t i;
	int rc;

	mpk_out_init(&o);
	rc = mpk_put_map(&o, 10, e);
	rc |= put_text(&o, "graph", m->graph, e);
	rc |= put_text(&o, "source", m->source, e);
	rc |= put_text(&o, "model", m->model, e);
	rc |= put_count(&o, "nodes", m->nodes, e);
	rc |= put_count(&o, "edges", m->edges, e);
	rc |= put_count(&o, "layers", m->layers, e);
	rc |= put_text(&o, "motif", m->motif, e);
	rc |= put_text(&o, "group", m->group, e);
	rc |= put_count(&o, "count", m->count, e);
	rc |= mpk_put_str(&o, "nulls", e) | mpk_put_map(&o, m->n_nulls, e);
	for (i = 0; i < m->n_nulls; i++)
		rc |= mpk_put_str(&o, m->nulls[i].name, e) |
		      put_null(&o, &m->nulls[i], e);
	if (rc == 0)
		rc = stream_write(s, o.buf.data, o.buf.size, e);
	mpk_out_free(&o);
	return rc < 0 ? -1 : 0;
}
