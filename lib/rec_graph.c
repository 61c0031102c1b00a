#include "rec_graph.h"

#include <math.h>
#include <string.h>

#include "mem.h"
#include "mpk.h"
#include "rec_impl.h"

struct rec_graph_in {
	struct rec_base b;
	json_t *metadata;	/* of the record read last, or NULL */
	struct rec_graph_node *nodes;
	size_t nodes_cap;
	char *text;		/* their strings, NUL added */
	size_t text_cap;
	float *weight;
	size_t weight_cap;
	int within;		/* a graph has begun */
	int links;		/* and its links */
	uint64_t n_nodes;	/* of it so far */
};

struct rec_graph_in *rec_graph_on(struct stream_in *s, struct err *e)
{
	struct rec_graph_in *r = mem_array(1, sizeof(*r), e);

	if (!r) {
		stream_close_in(s);
		return NULL;
	}
	r->b.s = s;
	return r;
}

const struct stream_in *rec_graph_stream(const struct rec_graph_in *r)
{
	return r->b.s;
}

void rec_graph_close(struct rec_graph_in *r)
{
	if (!r)
		return;
	rec_base_close(&r->b);
	json_decref(r->metadata);
	mem_free(r->nodes);
	mem_free(r->text);
	mem_free(r->weight);
	mem_free(r);
}

/* ---- metadata ---- */

static int read_begin(struct rec_graph_in *r, const msgpack_object *meta,
                      struct rec_graph *g, struct err *e)
{
	static const char *const strings[] = { "slug", "scan", "prompt" };
	size_t i;

	r->metadata = mpk_to_json(meta, e);
	if (!r->metadata)
		return err_wrap(e, "'graph'");
	for (i = 0; i < sizeof(strings) / sizeof(*strings); i++)
		if (!json_is_string(json_object_get(r->metadata, strings[i])))
			return err_set(e, ERR_FORMAT, "'graph': wanted a map "
			               "with a str '%s'", strings[i]);
	g->what = REC_GRAPH_BEGIN;
	g->metadata = r->metadata;
	r->within = 1;
	r->links = 0;
	r->n_nodes = 0;
	return 0;
}

/* ---- nodes ---- */

/* A str, copied to *at; absent: "". */
static int read_str(const msgpack_object *map, const char *key, int optional,
                    char **at, const char **out, struct err *e)
{
	const char *s;
	size_t n;

	*out = "";
	if (optional && !mpk_get(map, key))
		return 0;
	if (mpk_str(map, key, &s, &n, e) < 0)
		return -1;
	return rec_base_text(s, n, key, at, out, e);
}

/* A whole number in lo..hi, absent: def. */
static int read_int(const msgpack_object *map, const char *key, int64_t lo,
                    int64_t hi, int64_t def, int64_t *out, struct err *e)
{
	const msgpack_object *o = mpk_get(map, key);

	*out = def;
	if (!o)
		return 0;
	if (o->type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
	    o->via.u64 <= (uint64_t)hi)
		*out = (int64_t)o->via.u64;
	else if (o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER &&
	         o->via.i64 >= lo)
		*out = o->via.i64;
	else
		return err_set(e, ERR_FORMAT, "'%s': wanted a whole number "
		               "from %lld to %lld, found %s", key,
		               (long long)lo, (long long)hi, mpk_type(o));
	return 0;
}

static int read_node(const msgpack_object *o, struct rec_graph_node *n,
                     char **text, struct err *e)
{
	const msgpack_object *target = mpk_get(o, "target");
	int64_t layer, position;

	if (read_str(o, "id", 0, text, &n->id, e) < 0 ||
	    read_str(o, "type", 0, text, &n->type, e) < 0 ||
	    read_str(o, "label", 1, text, &n->label, e) < 0 ||
	    read_int(o, "feature", -1, INT64_MAX, -1, &n->feature, e) < 0 ||
	    read_int(o, "layer", -1, INT32_MAX, -2, &layer, e) < 0 ||
	    read_int(o, "position", -1, INT32_MAX, -1, &position, e) < 0 ||
	    rec_base_real(o, "activation", 1, &n->activation, e) < 0 ||
	    rec_base_real(o, "influence", 1, &n->influence, e) < 0 ||
	    rec_base_real(o, "probability", 1, &n->probability, e) < 0)
		return -1;
	if (layer == -2)
		return err_set(e, ERR_FORMAT, "lacks 'layer'");
	if (target && target->type != MSGPACK_OBJECT_BOOLEAN)
		return err_set(e, ERR_FORMAT, "'target': wanted a bool, found "
		               "%s", mpk_type(target));
	n->layer = (int32_t)layer;
	n->position = (int32_t)position;
	n->target = target && target->via.boolean;
	return 0;
}

static int read_nodes(struct rec_graph_in *r, struct rec_graph *g,
                      struct err *e)
{
	const msgpack_object *items;
	size_t n, i, bytes = 0;
	char *text;

	if (!r->within || r->links)
		return err_set(e, ERR_FORMAT, "nodes %s", r->links ?
		               "after links" : "before a graph");
	if (mpk_array(r->b.m.root, "nodes", &items, &n, e) < 0)
		return -1;
	for (i = 0; i < n; i++) {
		static const char *const keys[] = { "id", "type", "label" };
		size_t k;

		for (k = 0; k < 3; k++) {
			const msgpack_object *s = mpk_get(&items[i], keys[k]);

			if (s && s->type == MSGPACK_OBJECT_STR)
				bytes += s->via.str.size + 1;
		}
	}
	if (mem_grow(&r->text, &r->text_cap, bytes, 1, e) < 0 ||
	    mem_grow(&r->nodes, &r->nodes_cap, n, sizeof(*r->nodes), e) < 0)
		return -1;
	text = r->text;
	for (i = 0; i < n; i++)
		if (read_node(&items[i], &r->nodes[i], &text, e) < 0)
			return err_wrap(e, "'nodes'[%zu]", i);
	g->what = REC_GRAPH_NODES;
	g->nodes = r->nodes;
	g->n_nodes = n;
	r->n_nodes += n;
	return 0;
}

/* ---- links ---- */

static int read_links(struct rec_graph_in *r, struct rec_graph *g,
                      struct err *e)
{
	const uint8_t *p;
	size_t n, bytes, i;

	if (!r->within)
		return err_set(e, ERR_FORMAT, "links before a graph");
	if (rec_base_u32(&r->b, "source", 0, &g->source, &g->n_links, e) < 0 ||
	    rec_base_u32(&r->b, "target", 1, &g->target, &n, e) < 0 ||
	    mpk_bin(r->b.m.root, "weight", &p, &bytes, e) < 0)
		return -1;
	if (n != g->n_links || bytes != n * sizeof(float))
		return err_set(e, ERR_FORMAT, "%zu sources, %zu targets and "
		               "%zu bytes of f32 weights do not fit",
		               g->n_links, n, bytes);
	if (mem_grow(&r->weight, &r->weight_cap, n, sizeof(float), e) < 0)
		return -1;
	if (n)
		memcpy(r->weight, p, bytes);
	for (i = 0; i < n; i++) {
		if (g->source[i] >= r->n_nodes || g->target[i] >= r->n_nodes)
			return err_set(e, ERR_RANGE, "link %zu from %u to %u: "
			               "the graph has %llu nodes", i,
			               g->source[i], g->target[i],
			               (unsigned long long)r->n_nodes);
		if (!isfinite(r->weight[i]))
			return err_set(e, ERR_FORMAT, "'weight'[%zu]: NaN or "
			               "infinity", i);
	}
	g->what = REC_GRAPH_LINKS;
	g->weight = r->weight;
	r->links = 1;
	return 0;
}

int rec_graph_read(struct rec_graph_in *r, struct rec_graph *g, struct err *e)
{
	struct err in = { 0 };
	int got = rec_base_next(&r->b, e), rc;
	const msgpack_object *meta;

	memset(g, 0, sizeof(*g));
	json_decref(r->metadata);
	r->metadata = NULL;
	if (got <= 0)
		return got;
	meta = mpk_get(r->b.m.root, "graph");
	if (meta)
		rc = read_begin(r, meta, g, &in);
	else if (mpk_get(r->b.m.root, "nodes"))
		rc = read_nodes(r, g, &in);
	else if (mpk_get(r->b.m.root, "source"))
		rc = read_links(r, g, &in);
	else
		rc = err_set(&in, ERR_FORMAT, "wanted 'graph', 'nodes' or "
		             "'source'");
	return rc < 0 ? rec_base_bad(&r->b, &in, e) : 1;
}

/* ---- writing ---- */

static int flush(struct stream_out *s, struct mpk_out *o, int rc,
                 struct err *e)
{
	if (rc == 0)
		rc = stream_write(s, o->buf.data, o->buf.size, e);
	mpk_out_free(o);
	return rc < 0 ? -1 : 0;
}

int rec_graph_begin(struct stream_out *s, const json_t *metadata,
                    struct err *e)
{
	struct mpk_out o;
	int rc;

	mpk_out_init(&o);
	rc = mpk_put_map(&o, 1, e) | mpk_put_str(&o, "graph", e) |
	     mpk_put_json(&o, metadata, e);
	return flush(s, &o, rc, e);
}

static int put_real(struct mpk_out *o, const char *key, double v,
                    struct err *e)
{
	if (isnan(v))
		return 0;
	return mpk_put_str(o, key, e) | mpk_put_real(o, v, e);
}

static int put_node(struct mpk_out *o, const struct rec_graph_node *n,
                    struct err *e)
{
	size_t members = 3 + (n->label && *n->label) + (n->feature >= 0) +
	                 (n->position >= 0) + !isnan(n->activation) +
	                 !isnan(n->influence) + !isnan(n->probability) +
	                 (n->target != 0);
	int rc = mpk_put_map(o, members, e);

	rc |= mpk_put_str(o, "id", e) | mpk_put_str(o, n->id, e);
	rc |= mpk_put_str(o, "type", e) | mpk_put_str(o, n->type, e);
	rc |= mpk_put_str(o, "layer", e) | mpk_put_i64(o, n->layer, e);
	if (n->position >= 0)
		rc |= mpk_put_str(o, "position", e) |
		      mpk_put_i64(o, n->position, e);
	if (n->feature >= 0)
		rc |= mpk_put_str(o, "feature", e) |
		      mpk_put_i64(o, n->feature, e);
	if (n->label && *n->label)
		rc |= mpk_put_str(o, "label", e) |
		      mpk_put_str(o, n->label, e);
	rc |= put_real(o, "activation", n->activation, e);
	rc |= put_real(o, "influence", n->influence, e);
	rc |= put_real(o, "probability", n->probability, e);
	if (n->target)
		rc |= mpk_put_str(o, "target", e) | mpk_put_bool(o, 1, e);
	return rc;
}

int rec_graph_put_nodes(struct stream_out *s,
                        const struct rec_graph_node *nodes, size_t n,
                        struct err *e)
{
	size_t at, i;

	for (at = 0; at < n; at += REC_GRAPH_NODES_MAX) {
		size_t now = n - at < REC_GRAPH_NODES_MAX ?
		             n - at : REC_GRAPH_NODES_MAX;
		struct mpk_out o;
		int rc;

		mpk_out_init(&o);
		rc = mpk_put_map(&o, 1, e) | mpk_put_str(&o, "nodes", e) |
		     mpk_put_array(&o, now, e);
		for (i = 0; rc == 0 && i < now; i++)
			rc = put_node(&o, &nodes[at + i], e);
		if (flush(s, &o, rc, e) < 0)
			return -1;
	}
	return 0;
}

int rec_graph_put_links(struct stream_out *s, const uint32_t *source,
                        const uint32_t *target, const float *weight, size_t n,
                        struct err *e)
{
	size_t at;

	for (at = 0; at < n; at += REC_GRAPH_LINKS_MAX) {
		size_t now = n - at < REC_GRAPH_LINKS_MAX ?
		             n - at : REC_GRAPH_LINKS_MAX;
		struct mpk_out o;
		int rc;

		mpk_out_init(&o);
		rc = mpk_put_map(&o, 3, e);
		rc |= mpk_put_str(&o, "source", e) |
		      mpk_put_bin(&o, source + at, now * sizeof(*source), e);
		rc |= mpk_put_str(&o, "target", e) |
		      mpk_put_bin(&o, target + at, now * sizeof(*target), e);
		rc |= mpk_put_str(&o, "weight", e) |
		      mpk_put_bin(&o, weight + at, now * sizeof(*weight), e);
		if (flush(s, &o, rc, e) < 0)
			return -1;
	}
	return 0;
}
