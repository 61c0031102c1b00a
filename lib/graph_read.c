#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph.h"
#include "json_pull.h"
#include "mem.h"
#include "peek.h"
#include "rec_graph.h"
#include "stream.h"

struct graph_in {
	struct graph_opt o;
	struct peek file;
	const char *path;	/* for messages */
	char *path_held;
	uint64_t n_graphs;
	/* JSON */
	struct json_pull *json;
	/* or a stream */
	struct rec_graph_in *rec;
	struct rec_graph record;	/* a graph's first, read ahead */
	int begun;
};

/* What a file says about one graph. */
struct about {
	char *slug, *scan, *prompt;
	int32_t n_tokens, think, answer;
	char tail[8];		/* the last characters of the tokens so far */
};

/* One more of the prompt's tokens. The marks may lie in several. */
static void token(struct about *a, const char *text)
{
	a->n_tokens += a->n_tokens < INT32_MAX;
	for (; *text; text++) {
		memmove(a->tail, a->tail + 1, sizeof(a->tail) - 1);
		a->tail[sizeof(a->tail) - 1] = *text;
		if (!memcmp(a->tail + 1, "<think>", 7)) {
			a->think = a->n_tokens;
			a->answer = -1;
		} else if (!memcmp(a->tail, "</think>", 8) && a->answer < 0) {
			a->answer = a->n_tokens;
		}
	}
}

static void about_free(struct about *a)
{
	mem_free(a->slug);
	mem_free(a->scan);
	mem_free(a->prompt);
}

/* A graph is named by its slug, else by its file. */
static char *name_of(const struct graph_in *in, const char *slug,
                     struct err *e)
{
	const char *base = strrchr(in->path, '/');
	size_t n;

	if (slug && *slug)
		return mem_strdup(slug, e);
	base = base ? base + 1 : in->path;
	n = strlen(base);
	if (n > 5 && !strcmp(base + n - 5, ".json"))
		n -= 5;
	return mem_strndup(base, n, e);
}

static struct graph *finish(struct graph_in *in, struct graph_build *b,
                            const struct about *a, struct err *e)
{
	char *name = name_of(in, a->slug, e);
	struct graph *g = name ? graph_build_end(b, &in->o, name, in->path,
	                                         a->scan, a->prompt, e) : NULL;

	if (g) {
		g->think = a->think;
		g->answer = a->answer;
		if (graph_cut(g, &in->o, e) < 0) {
			graph_free(g);
			g = NULL;
		}
	}
	if (!g)
		err_wrap(e, "%s", in->path);
	mem_free(name);
	return g;
}

/* ---- JSON ---- */

/* A member's string, at most max bytes of it (whole characters), copied; other
 * types: -1. */
static int text_member(struct graph_in *in, const char *key,
                       const struct json_pull_token *t, size_t max, char **out,
                       struct err *e)
{
	size_t n = t->n;

	if (t->kind == JSON_PULL_NULL)
		return 0;
	if (t->kind != JSON_PULL_STRING)
		return json_pull_bad(in->json, e, "'%s': wanted a string", key);
	if (strlen(t->text) != t->n)
		return json_pull_bad(in->json, e, "'%s' holds a NUL", key);
	if (n > max)
		for (n = max; n && ((unsigned char)t->text[n] & 0xc0) == 0x80;
		     n--)
			;
	mem_free(*out);
	*out = mem_strndup(t->text, n, e);
	return *out ? 0 : -1;
}

/* A whole number, also written as a real or in a string. */
static int whole(const struct json_pull_token *t, double lo, double hi,
                 int64_t *out)
{
	double v = t->number;
	char *end;

	if (t->kind == JSON_PULL_STRING) {
		if (t->n == 0 || t->n > 24 || strspn(t->text, "-0123456789") !=
		    t->n)
			return -1;
		v = strtod(t->text, &end);
		if (*end)
			return -1;
	} else if (t->kind != JSON_PULL_NUMBER) {
		return -1;
	}
	if (!(v >= lo && v <= hi) || v != floor(v))
		return -1;
	*out = (int64_t)v;
	return 0;
}

struct node {
	char *id, *type, *label;
	int64_t feature, position, layer;
	int has_layer;
};

static int layer_member(struct graph_in *in, const struct json_pull_token *t,
                        struct node *n, struct err *e)
{
	n->has_layer = 1;
	n->layer = -1;
	if (t->kind == JSON_PULL_STRING &&
	    (!strcmp(t->text, "E") || !strcmp(t->text, "e")))
		return 0;
	if (whole(t, -1, GRAPH_MAX_LAYER, &n->layer) < 0)
		return json_pull_bad(in->json, e, "'layer': wanted a number "
		                     "from 0 to %d (also in quotes) or \"E\", "
		                     "found '%.32s'", GRAPH_MAX_LAYER,
		                     t->text);
	return 0;
}

/* One member of a node, whose value t is. */
static int node_member(struct graph_in *in, const char *key,
                       const struct json_pull_token *t, struct node *n,
                       struct err *e)
{
	if (!strcmp(key, "node_id"))
		return text_member(in, key, t, GRAPH_MAX_ID + 1, &n->id, e);
	if (!strcmp(key, "feature_type"))
		return text_member(in, key, t, GRAPH_MAX_LABEL, &n->type, e);
	if (!strcmp(key, "clerp"))
		return text_member(in, key, t, JSON_PULL_TEXT, &n->label, e);
	if (!strcmp(key, "layer"))
		return layer_member(in, t, n, e);
	/* What counting does not need may be anything. */
	if (!strcmp(key, "feature") && whole(t, 0, 9e15, &n->feature) < 0)
		n->feature = -1;
	if (!strcmp(key, "ctx_idx") && whole(t, 0, INT32_MAX, &n->position) < 0)
		n->position = -1;
	return json_pull_skip(in->json, t, e);
}

/* The members of an object: each key in turn, copied, and its value's first
 * token. 1, 0 at the object's end, -1. */
static int member(struct graph_in *in, char key[64],
                  struct json_pull_token *t, struct err *e)
{
	if (json_pull_next(in->json, t, e) < 0)
		return -1;
	if (t->kind == JSON_PULL_END_OBJECT)
		return 0;
	key[0] = 0;
	if (t->n < 64)
		memcpy(key, t->text, t->n + 1);
	return json_pull_next(in->json, t, e) < 0 ? -1 : 1;
}

static int read_node(struct graph_in *in, struct graph_build *b, struct err *e)
{
	struct node n = { .feature = -1, .position = -1 };
	struct graph_raw_node raw;
	struct json_pull_token t;
	struct err why = { 0 };
	char key[64];
	int got, rc = -1;

	while ((got = member(in, key, &t, e)) > 0)
		if (node_member(in, key, &t, &n, e) < 0)
			goto done;
	if (got < 0)
		goto done;
	if (!n.id || !n.type || !n.has_layer) {
		json_pull_bad(in->json, e, "node '%.80s' lacks '%s'",
		              n.id ? n.id : "", !n.id ? "node_id" :
		              !n.type ? "feature_type" : "layer");
		goto done;
	}
	raw = (struct graph_raw_node) {
		.id = n.id, .type = n.type, .label = n.label,
		.feature = n.feature, .position = (int32_t)n.position,
		.layer = (int32_t)n.layer
	};
	rc = graph_build_node(b, &raw, &why);
	if (rc < 0 && why.code != ERR_MEM)
		json_pull_bad(in->json, e, "%s", why.msg);
	else if (rc < 0 && e)
		*e = why;
done:
	mem_free(n.id);
	mem_free(n.type);
	mem_free(n.label);
	return rc;
}

static int read_link(struct graph_in *in, struct graph_build *b,
                     uint64_t *n_null, struct err *e)
{
	char from[GRAPH_MAX_ID + 2], to[GRAPH_MAX_ID + 2], key[64];
	struct json_pull_token t;
	struct err why = { 0 };
	int got, has_from = 0, has_to = 0, has_weight = 0;
	double weight = 0;

	while ((got = member(in, key, &t, e)) > 0) {
		int is_from = !strcmp(key, "source");

		if (is_from || !strcmp(key, "target")) {
			if (t.kind != JSON_PULL_STRING ||
			    t.n > GRAPH_MAX_ID || strlen(t.text) != t.n)
				return json_pull_bad(in->json, e, "'%s': "
				                     "wanted a node's id", key);
			strcpy(is_from ? from : to, t.text);
			*(is_from ? &has_from : &has_to) = 1;
		} else if (!strcmp(key, "weight") &&
		           t.kind == JSON_PULL_NUMBER) {
			weight = t.number;
			has_weight = 1;
		} else if (!strcmp(key, "weight") && t.kind != JSON_PULL_NULL) {
			return json_pull_bad(in->json, e, "'weight': wanted a "
			                     "number");
		} else if (json_pull_skip(in->json, &t, e) < 0) {
			return -1;
		}
	}
	if (got < 0)
		return -1;
	if (!has_from || !has_to)
		return json_pull_bad(in->json, e, "a link lacks '%s'",
		                     has_from ? "target" : "source");
	*n_null += !has_weight;
	if (graph_build_link(b, from, to, weight, &why) == 0)
		return 0;
	if (why.code != ERR_MEM)
		return json_pull_bad(in->json, e, "%s", why.msg);
	if (e)
		*e = why;
	return -1;
}

/* "nodes" or "links": an array of objects. */
static int read_list(struct graph_in *in, const char *key,
                     const struct json_pull_token *first,
                     struct graph_build *b, uint64_t *n_null, struct err *e)
{
	struct json_pull_token t;
	int rc;

	if (first->kind != JSON_PULL_ARRAY)
		return json_pull_bad(in->json, e, "'%s': wanted an array", key);
	for (;;) {
		if (json_pull_next(in->json, &t, e) < 0)
			return -1;
		if (t.kind == JSON_PULL_END_ARRAY)
			return 0;
		if (t.kind != JSON_PULL_OBJECT)
			return json_pull_bad(in->json, e, "'%s': wanted an "
			                     "array of objects", key);
		rc = *key == 'n' ? read_node(in, b, e)
		                 : read_link(in, b, n_null, e);
		if (rc < 0)
			return -1;
	}
}

/* What is no string counts as a token all the same. */
static int read_tokens(struct graph_in *in, struct about *a, struct err *e)
{
	struct json_pull_token t;

	for (;;) {
		if (json_pull_next(in->json, &t, e) < 0)
			return -1;
		if (t.kind == JSON_PULL_END_ARRAY)
			return 0;
		token(a, t.kind == JSON_PULL_STRING ? t.text : "");
		if (json_pull_skip(in->json, &t, e) < 0)
			return -1;
	}
}

static int read_metadata(struct graph_in *in, const struct json_pull_token *t0,
                         struct about *a, struct err *e)
{
	struct json_pull_token t = *t0;
	char key[64];
	int got, rc = 0;

	if (t.kind != JSON_PULL_OBJECT)
		return json_pull_skip(in->json, &t, e);
	while (rc == 0 && (got = member(in, key, &t, e)) != 0) {
		char **out = !strcmp(key, "slug") ? &a->slug :
		             !strcmp(key, "scan") ? &a->scan :
		             !strcmp(key, "prompt") ? &a->prompt : NULL;

		if (got < 0)
			return -1;
		if (!strcmp(key, "prompt_tokens") && t.kind == JSON_PULL_ARRAY)
			rc = read_tokens(in, a, e);
		else if (out && t.kind == JSON_PULL_STRING)
			rc = text_member(in, key, &t, GRAPH_MAX_LABEL, out, e);
		else
			rc = json_pull_skip(in->json, &t, e);
	}
	return rc;
}

/* The members of the object that a graph is. */
static int read_body(struct graph_in *in, struct graph_build *b,
                     struct about *a, uint64_t *n_null, struct err *e)
{
	int got, has_nodes = 0, has_links = 0;
	struct json_pull_token t;
	char key[64];

	while ((got = member(in, key, &t, e)) > 0) {
		int rc;

		if (!strcmp(key, "nodes") || !strcmp(key, "links")) {
			int *has = *key == 'n' ? &has_nodes : &has_links;

			if ((*has)++)
				return json_pull_bad(in->json, e, "a second "
				                     "'%s'", key);
			rc = read_list(in, key, &t, b, n_null, e);
		} else if (!strcmp(key, "metadata")) {
			rc = read_metadata(in, &t, a, e);
		} else {
			rc = json_pull_skip(in->json, &t, e);
		}
		if (rc < 0)
			return -1;
	}
	if (got < 0)
		return -1;
	if (!has_nodes || !has_links)
		return json_pull_bad(in->json, e, "an object without '%s' is "
		                     "no graph", has_nodes ? "links" : "nodes");
	return 0;
}

static int next_json(struct graph_in *in, struct graph **g, struct err *e)
{
	struct about a = { .think = -1, .answer = -1 };
	struct graph_build *b = NULL;
	struct json_pull_token t;
	uint64_t n_null = 0;
	int got = json_pull_next(in->json, &t, e), rc = -1;

	if (got <= 0)
		return got;
	if (t.kind != JSON_PULL_OBJECT) {
		json_pull_bad(in->json, e, "wanted a graph: an object with "
		              "'nodes' and 'links'");
	} else if ((b = graph_build_new(e)) &&
	           read_body(in, b, &a, &n_null, e) == 0 &&
	           (*g = finish(in, b, &a, e))) {
		(*g)->notes.n_null = n_null;
		rc = 1;
	}
	graph_build_free(b);
	about_free(&a);
	return rc;
}

/* ---- graph/1 ---- */

static int copy_about(const json_t *meta, struct about *a, struct err *e)
{
	json_t *v;
	size_t i;

	a->slug = mem_strdup(json_string_value(json_object_get(meta, "slug")),
	                     e);
	a->scan = mem_strdup(json_string_value(json_object_get(meta, "scan")),
	                     e);
	a->prompt = mem_strdup(json_string_value(json_object_get(meta,
	                                                         "prompt")),
	                       e);
	json_array_foreach(json_object_get(meta, "prompt_tokens"), i, v)
		token(a, json_is_string(v) ? json_string_value(v) : "");
	return a->slug && a->scan && a->prompt ? 0 : -1;
}

static int add_record(struct graph_build *b, const struct rec_graph *r,
                      struct err *e)
{
	size_t i;

	for (i = 0; i < r->n_nodes; i++) {
		const struct rec_graph_node *n = &r->nodes[i];
		struct graph_raw_node raw = {
			.id = n->id, .type = n->type, .label = n->label,
			.feature = n->feature, .position = n->position,
			.layer = n->layer
		};

		if (graph_build_node(b, &raw, e) < 0)
			return -1;
	}
	for (i = 0; i < r->n_links; i++)
		if (graph_build_edge(b, r->source[i], r->target[i],
		                     (double)r->weight[i], e) < 0)
			return -1;
	return 0;
}

static int next_record(struct graph_in *in, struct graph **g, struct err *e)
{
	struct about a = { .think = -1, .answer = -1 };
	struct graph_build *b = NULL;
	struct err why = { 0 };
	int got = 1, rc = -1;

	if (!in->begun)
		got = rec_graph_read(in->rec, &in->record, e);
	in->begun = 0;
	if (got <= 0)
		return got;
	/* rec_graph lets no record come before a graph's first. */
	if (copy_about(in->record.metadata, &a, e) < 0 ||
	    !(b = graph_build_new(e)))
		goto done;
	while ((got = rec_graph_read(in->rec, &in->record, e)) > 0) {
		if (in->record.what == REC_GRAPH_BEGIN) {
			in->begun = 1;
			break;
		}
		if (add_record(b, &in->record, &why) < 0) {
			stream_bad(rec_graph_stream(in->rec), e, "%s",
			           why.msg);
			goto done;
		}
	}
	if (got >= 0 && (*g = finish(in, b, &a, e)))
		rc = 1;
done:
	graph_build_free(b);
	about_free(&a);
	return rc;
}

/* ---- both ---- */

static int open_in(struct graph_in *in, const char *path, struct err *e)
{
	struct peek *f = &in->file;
	struct stream_in *s;

	if (!(in->path_held = mem_strdup(path, e)) ||
	    peek_open(f, in->path_held, e) < 0)
		return -1;
	in->path = f->name;
	if (f->n == 0)
		return err_set(e, ERR_FORMAT, "%s: empty, wanted a graph",
		               in->path);
	if (!stream_begins(f->first, f->n)) {
		in->json = json_pull_new(peek_read, f, in->path, e);
		return in->json ? 0 : -1;
	}
	s = stream_open_fd(f->fd, in->path, f->first, f->n, "graph/1", e);
	f->fd = -1;
	in->rec = s ? rec_graph_on(s, e) : NULL;
	return in->rec ? 0 : -1;
}

struct graph_in *graph_open(const char *path, const struct graph_opt *o,
                            struct err *e)
{
	struct graph_in *in = mem_array(1, sizeof(*in), e);

	if (!in)
		return NULL;
	in->o = *o;
	in->file.fd = -1;
	if (open_in(in, path, e) < 0) {
		graph_close(in);
		return NULL;
	}
	return in;
}

int graph_next(struct graph_in *in, struct graph **g, struct err *e)
{
	int got = in->json ? next_json(in, g, e) : next_record(in, g, e);

	if (got == 0 && in->n_graphs == 0)
		return err_set(e, ERR_FORMAT, "%s: holds no graph", in->path);
	in->n_graphs += got == 1;
	return got;
}

void graph_close(struct graph_in *in)
{
	if (!in)
		return;
	peek_close(&in->file);
	json_pull_free(in->json);
	rec_graph_close(in->rec);
	mem_free(in->path_held);
	mem_free(in);
}
