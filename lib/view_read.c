/* Graphs from JSON or a graph/1 stream. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "json_pull.h"
#include "mem.h"
#include "peek.h"
#include "rec_graph.h"
#include "stream.h"
#include "view_impl.h"

enum { LAYER_MAX = 65535 };	/* as in graph.h */

/* ---- values ---- */

static json_t *value(struct json_pull *p, const struct json_pull_token *t,
                     struct err *e);

static int elements(struct json_pull *p, json_t *list, struct err *e)
{
	struct json_pull_token t;

	while (json_pull_next(p, &t, e) > 0) {
		if (t.kind == JSON_PULL_END_ARRAY)
			return 0;
		if (json_array_append_new(list, value(p, &t, e)) < 0)
			return -1;
	}
	return -1;
}

static int members(struct json_pull *p, json_t *o, struct err *e)
{
	struct json_pull_token t;
	char *key;
	int rc;

	while (json_pull_next(p, &t, e) > 0) {
		if (t.kind == JSON_PULL_END_OBJECT)
			return 0;
		if (!(key = mem_strndup(t.text, t.n, e)))
			return -1;
		rc = json_pull_next(p, &t, e) < 0 ? -1
			: json_object_set_new(o, key, value(p, &t, e));
		mem_free(key);
		if (rc < 0)
			return -1;
	}
	return -1;
}

/* The value that t begins: new reference. NULL with e set. */
static json_t *value(struct json_pull *p, const struct json_pull_token *t,
                     struct err *e)
{
	json_t *j = NULL;
	int rc = 0;

	switch (t->kind) {
	case JSON_PULL_OBJECT:
		j = json_object();
		rc = j ? members(p, j, e) : -1;
		break;
	case JSON_PULL_ARRAY:
		j = json_array();
		rc = j ? elements(p, j, e) : -1;
		break;
	case JSON_PULL_STRING:
		j = json_stringn(t->text, t->n);
		break;
	case JSON_PULL_NUMBER:
		j = t->number == floor(t->number) && fabs(t->number) < 0x1p53
			? json_integer((json_int_t)t->number)
			: json_real(t->number);
		break;
	case JSON_PULL_TRUE:
	case JSON_PULL_FALSE:
		j = json_boolean(t->kind == JSON_PULL_TRUE);
		break;
	default:
		j = json_null();
	}
	if (rc < 0) {
		json_decref(j);
		j = NULL;
	}
	if (!j && (!e || !e->code))
		err_set(e, ERR_MEM, "no memory for JSON");
	return j;
}

/* ---- nodes and links ---- */

/* A number, also in quotes; def when there is none. */
static double number_of(const json_t *o, const char *key, double def)
{
	const json_t *v = json_object_get(o, key);
	const char *s = json_string_value(v);
	char *end;
	double x;

	if (json_is_number(v))
		return json_number_value(v);
	if (!s || !*s || strspn(s, "-0123456789.") != strlen(s))
		return def;
	x = strtod(s, &end);
	return *end ? def : x;
}

static int64_t whole_of(const json_t *o, const char *key, double hi)
{
	double v = number_of(o, key, -1);

	return v >= 0 && v <= hi && v == floor(v) ? (int64_t)v : -1;
}

static int layer_of(const json_t *o, int32_t *layer, struct err *e)
{
	const char *s = json_string_value(json_object_get(o, "layer"));
	double v = number_of(o, "layer", NAN);

	if (s && (!strcmp(s, "E") || !strcmp(s, "e")))
		v = -1;
	if (!(v >= -1 && v <= LAYER_MAX) || v != floor(v))
		return err_set(e, ERR_FORMAT, "'layer': wanted a number from 0 "
		               "to %d or \"E\"", LAYER_MAX);
	*layer = (int32_t)v;
	return 0;
}

static int add_node(struct view_build *b, const json_t *o, struct err *e)
{
	struct view_node n = { .activation = number_of(o, "activation", NAN),
		.influence = number_of(o, "influence", NAN),
		.probability = number_of(o, "token_prob", NAN),
		.position = (int32_t)whole_of(o, "ctx_idx", INT32_MAX),
		.feature = whole_of(o, "feature", 9e15),
		.target = json_is_true(json_object_get(o, "is_target_logit"))
	};

	if (json_str(o, "node_id", NULL, &n.id, e) < 0 ||
	    json_str(o, "feature_type", NULL, &n.type, e) < 0)
		return -1;
	if (!n.id || !n.type)
		return err_set(e, ERR_FORMAT, "node '%.80s' lacks '%s'",
		               n.id ? n.id : "", n.id ? "feature_type"
		                                      : "node_id");
	n.js = json_string_value(json_object_get(o, "jsNodeId"));
	n.label = json_string_value(json_object_get(o, "clerp"));
	if (n.js && !strcmp(n.js, n.id))
		n.js = NULL;
	return layer_of(o, &n.layer, e) < 0 ? -1 : view_build_node(b, &n, e);
}

static int add_link(struct view_build *b, const json_t *o, struct err *e)
{
	const json_t *w = json_object_get(o, "weight");
	const char *from, *to;

	if (json_str(o, "source", NULL, &from, e) < 0 ||
	    json_str(o, "target", NULL, &to, e) < 0)
		return -1;
	if (!from || !to)
		return err_set(e, ERR_FORMAT, "a link lacks '%s'",
		               from ? "target" : "source");
	if (w && !json_is_number(w) && !json_is_null(w))
		return err_set(e, ERR_FORMAT, "'weight': wanted a number");
	return view_build_link(b, from, to, json_number_value(w), e);
}

/* ---- JSON ---- */

/* A list of objects, each handed on and forgotten. */
static int list(struct json_pull *p, const struct json_pull_token *first,
                const char *key,
                int (*add)(struct view_build *, const json_t *, struct err *),
                struct view_build *b, struct err *e)
{
	struct err why = { 0 };
	struct json_pull_token t;
	json_t *o;
	int rc;

	if (first->kind != JSON_PULL_ARRAY)
		return json_pull_bad(p, e, "'%s': wanted an array", key);
	while (json_pull_next(p, &t, e) > 0) {
		if (t.kind == JSON_PULL_END_ARRAY)
			return 0;
		if (t.kind != JSON_PULL_OBJECT)
			return json_pull_bad(p, e, "'%s': wanted an array of "
			                     "objects", key);
		if (!(o = value(p, &t, e)))
			return -1;
		rc = add(b, o, &why);
		json_decref(o);
		if (rc < 0)
			return why.code == ERR_FORMAT
				? json_pull_bad(p, e, "%s", why.msg)
				: err_set(e, why.code, "%s", why.msg);
	}
	return -1;
}

/* An object kept as it is; anything else counts as none. */
static int kept(struct json_pull *p, const struct json_pull_token *t,
                json_t **out, struct err *e)
{
	json_t *j = value(p, t, e);

	if (!j)
		return -1;
	json_decref(*out);
	*out = json_is_object(j) ? json_incref(j) : NULL;
	json_decref(j);
	return 0;
}

struct parts {
	struct view_build *b;
	json_t *metadata, *q;
	int nodes, links;
};

static int member(struct json_pull *p, const char *key,
                  const struct json_pull_token *t, struct parts *x,
                  struct err *e)
{
	if (!strcmp(key, "nodes") || !strcmp(key, "links")) {
		int *has = *key == 'n' ? &x->nodes : &x->links;

		if ((*has)++)
			return json_pull_bad(p, e, "a second '%s'", key);
		return list(p, t, key, *key == 'n' ? add_node : add_link, x->b,
		            e);
	}
	if (!strcmp(key, "metadata"))
		return kept(p, t, &x->metadata, e);
	if (!strcmp(key, "qParams"))
		return kept(p, t, &x->q, e);
	return json_pull_skip(p, t, e);
}

static int read_body(struct json_pull *p, struct parts *x, struct err *e)
{
	struct json_pull_token t;
	char key[16];

	while (json_pull_next(p, &t, e) > 0) {
		if (t.kind == JSON_PULL_END_OBJECT) {
			if (x->nodes && x->links)
				return 0;
			return json_pull_bad(p, e, "an object without '%s' is "
			                     "no graph", x->nodes ? "links"
			                                          : "nodes");
		}
		key[0] = 0;
		if (t.n < sizeof(key))
			memcpy(key, t.text, t.n + 1);
		if (json_pull_next(p, &t, e) < 0 ||
		    member(p, key, &t, x, e) < 0)
			return -1;
	}
	return -1;
}

/* The next graph: 1, 0 at the end, -1. */
static int next_json(struct view *v, struct json_pull *p, const char *name,
                     struct err *e)
{
	struct parts x = { 0 };
	struct json_pull_token t;
	int got = json_pull_next(p, &t, e), rc;

	if (got <= 0)
		return got;
	if (t.kind != JSON_PULL_OBJECT)
		return json_pull_bad(p, e, "wanted a graph: an object with "
		                     "'nodes' and 'links'");
	if (!(x.b = view_build_new(e)))
		return -1;
	rc = read_body(p, &x, e);
	if (rc == 0)
		rc = view_build_end(x.b, v, json_incref(x.metadata),
		                    json_incref(x.q), name, e);
	json_decref(x.metadata);
	json_decref(x.q);
	view_build_free(x.b);
	return rc < 0 ? -1 : 1;
}

static int read_json(struct view *v, struct peek *s, struct err *e)
{
	struct json_pull *p = json_pull_new(peek_read, s, s->name, e);
	size_t before = v->n_graphs;
	int got = -1;

	while (p && (got = next_json(v, p, s->name, e)) > 0)
		;
	json_pull_free(p);
	if (got == 0 && v->n_graphs == before)
		return err_set(e, ERR_FORMAT, "%s: holds no graph", s->name);
	return got;
}

int view_json(struct view *v, const char *text, size_t n, const char *name,
              struct err *e)
{
	struct peek s;

	peek_bytes(&s, text, n, name);
	return read_json(v, &s, e);
}

/* ---- graph/1 ---- */

static int add_record(struct view_build *b, const struct rec_graph *r,
                      struct err *e)
{
	size_t i;

	for (i = 0; i < r->n_nodes; i++) {
		const struct rec_graph_node *n = &r->nodes[i];
		const struct view_node x = {
			.id = n->id, .type = n->type, .label = n->label,
			.feature = n->feature, .layer = n->layer,
			.position = n->position, .activation = n->activation,
			.influence = n->influence,
			.probability = n->probability, .target = n->target
		};

		if (view_build_node(b, &x, e) < 0)
			return -1;
	}
	for (i = 0; i < r->n_links; i++)
		if (view_build_edge(b, r->source[i], r->target[i],
		                    (double)r->weight[i], e) < 0)
			return -1;
	return 0;
}

/* The graph whose first record r holds; the next graph's is in r afterwards.
 * 1 when there is one, 0 at the end, -1. */
static int next_records(struct view *v, struct rec_graph_in *in,
                        struct rec_graph *r, const char *name, struct err *e)
{
	json_t *metadata = json_deep_copy(r->metadata);
	struct view_build *b = view_build_new(e);
	struct err why = { 0 };
	int got = -1;

	while (b && (got = rec_graph_read(in, r, e)) > 0 &&
	       r->what != REC_GRAPH_BEGIN)
		if (add_record(b, r, &why) < 0) {
			got = why.code == ERR_FORMAT
				? stream_bad(rec_graph_stream(in), e, "%s",
				             why.msg)
				: err_set(e, why.code, "%s", why.msg);
			break;
		}
	if (got >= 0 && view_build_end(b, v, json_incref(metadata), NULL, name,
	                               e) < 0)
		got = -1;
	json_decref(metadata);
	view_build_free(b);
	return got;
}

static int read_records(struct view *v, struct stream_in *s, struct err *e)
{
	struct rec_graph_in *in = rec_graph_on(s, e);
	struct rec_graph r;
	int got = in ? rec_graph_read(in, &r, e) : -1;

	if (got == 0)
		got = err_set(e, ERR_FORMAT, "%s: holds no graph",
		              stream_name(s));
	while (got > 0)
		got = next_records(v, in, &r, stream_name(s), e);
	rec_graph_close(in);
	return got;
}

int view_file(struct view *v, const char *path, struct err *e)
{
	struct peek s;
	struct stream_in *in;
	int rc;

	if (peek_open(&s, path, e) < 0)
		return -1;
	if (stream_begins(s.first, s.n)) {
		in = stream_open_fd(s.fd, s.name, s.first, s.n, "graph/1", e);
		return in ? read_records(v, in, e) : -1;
	}
	rc = read_json(v, &s, e);
	peek_close(&s);
	return rc;
}
