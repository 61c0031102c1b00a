#include "view_impl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "mem.h"

enum { IDS_MAX = 1 << 30 };

static const uint32_t NONE = UINT32_MAX;

struct view *view_new(struct err *e)
{
	return mem_array(1, sizeof(struct view), e);
}

static void graph_clear(struct view_graph *g)
{
	mem_free(g->name);
	json_decref(g->metadata);
	json_decref(g->q);
	mem_free(g->nodes.s);
	mem_free(g->latent);
	mem_free(g->source);
	mem_free(g->target);
	mem_free(g->weight);
	memset(g, 0, sizeof(*g));
}

void view_free(struct view *v)
{
	size_t i;

	if (!v)
		return;
	for (i = 0; i < v->n_graphs; i++)
		graph_clear(&v->graph[i]);
	for (i = 0; i < v->n_latents; i++)
		json_decref(v->latent[i].about);
	mem_free(v->graph);
	mem_free(v->latent);
	mem_free(v);
}

size_t view_n_graphs(const struct view *v)
{
	return v->n_graphs;
}

const char *view_name(const struct view *v, size_t i)
{
	return v->graph[i].name;
}

/* ---- JSON inside HTML ---- */

static int add_escaped(struct text *t, const char *s, size_t n, struct err *e)
{
	size_t i, from = 0;
	char esc[8];

	for (i = 0; i < n; i++) {
		size_t len = 1;

		if (s[i] == '<' || s[i] == '>' || s[i] == '&')
			snprintf(esc, sizeof(esc), "\\u%04x",
			         (unsigned char)s[i]);
		else if (n - i >= 3 && !memcmp(s + i, "\xe2\x80", 2) &&
		         ((unsigned char)s[i + 2] & 0xfe) == 0xa8 &&
		         (len = 3))
			snprintf(esc, sizeof(esc), "\\u202%c",
			         s[i + 2] & 1 ? '9' : '8');
		else
			continue;
		if (text_add(t, s + from, i - from, e) < 0 ||
		    text_str(t, esc, e) < 0)
			return -1;
		from = i + len;
		i += len - 1;
	}
	return text_add(t, s + from, n - from, e);
}

int view_json_text(struct text *t, const json_t *j, struct err *e)
{
	char *s = json_dumps(j, JSON_ENCODE_ANY | JSON_COMPACT |
	                     JSON_REAL_PRECISION(7));
	int rc;

	if (!s)
		return err_set(e, ERR_MEM, "no memory for JSON");
	/* such characters occur inside strings alone */
	rc = add_escaped(t, s, strlen(s), e);
	free(s);
	return rc;
}

/* ---- building ---- */

struct entry {
	size_t id;		/* in ids */
	uint32_t node, error;	/* nodes of that id, or NONE */
};

struct view_build {
	struct view_graph g;	/* links by entries, or nodes when numbered */
	struct text ids;	/* each with a NUL */
	struct entry *entry;
	size_t n_entries, entries_cap;
	uint32_t *slot;		/* hash table of entries, NONE: free */
	size_t n_slots;		/* a power of two, or 0 */
	int numbered;
};

struct view_build *view_build_new(struct err *e)
{
	return mem_array(1, sizeof(struct view_build), e);
}

void view_build_free(struct view_build *b)
{
	if (!b)
		return;
	graph_clear(&b->g);
	mem_free(b->ids.s);
	mem_free(b->entry);
	mem_free(b->slot);
	mem_free(b);
}

static size_t hash(const char *s)
{
	uint64_t h = 14695981039346656037u;	/* FNV-1a */

	while (*s)
		h = (h ^ (unsigned char)*s++) * 1099511628211u;
	return (size_t)(h ^ h >> 32);
}

static int widen(struct view_build *b, struct err *e)
{
	size_t n = b->n_slots ? 2 * b->n_slots : 1024, i, at;
	uint32_t *slot = mem_array(n, sizeof(*slot), e);

	if (!slot)
		return -1;
	memset(slot, 0xff, n * sizeof(*slot));
	for (i = 0; i < b->n_entries; i++) {
		at = hash(b->ids.s + b->entry[i].id);
		while (slot[at & (n - 1)] != NONE)
			at++;
		slot[at & (n - 1)] = (uint32_t)i;
	}
	mem_free(b->slot);
	b->slot = slot;
	b->n_slots = n;
	return 0;
}

/* The entry of an id, made if need be. */
static int entry_of(struct view_build *b, const char *id, uint32_t *out,
                    struct err *e)
{
	size_t at = hash(id), begin = b->ids.n;
	uint32_t i;

	if (2 * b->n_entries >= b->n_slots && widen(b, e) < 0)
		return -1;
	for (; (i = b->slot[at & (b->n_slots - 1)]) != NONE; at++)
		if (!strcmp(b->ids.s + b->entry[i].id, id)) {
			*out = i;
			return 0;
		}
	if (b->n_entries == IDS_MAX)
		return err_set(e, ERR_RANGE, "more than %d ids", IDS_MAX);
	if (mem_grow(&b->entry, &b->entries_cap, b->n_entries + 1,
	             sizeof(*b->entry), e) < 0 ||
	    text_add(&b->ids, id, strlen(id) + 1, e) < 0)
		return -1;
	*out = (uint32_t)b->n_entries++;
	b->entry[*out] = (struct entry) { begin, NONE, NONE };
	b->slot[at & (b->n_slots - 1)] = *out;
	return 0;
}


static json_t *whole(int64_t v)
{
	return v < 0 ? json_null() : json_integer(v);
}

/* LAYER_LATENT_POS of a transcoder's feature as a key. */
static uint64_t latent_of(const struct view_node *n)
{
	unsigned long layer, latent;
	char *end;

	if (strcmp(n->type, "cross layer transcoder") ||
	    strspn(n->id, "0123456789_") != strlen(n->id))
		return VIEW_NO_LATENT;
	layer = strtoul(n->id, &end, 10);
	if (end == n->id || *end != '_')
		return VIEW_NO_LATENT;
	latent = strtoul(end + 1, &end, 10);
	if (*end != '_' || layer >= UINT32_MAX || latent >= UINT32_MAX)
		return VIEW_NO_LATENT;
	return (uint64_t)layer << 32 | latent;
}

int view_build_node(struct view_build *b, const struct view_node *n,
                    struct err *e)
{
	int is_error = !strcmp(n->type, "mlp reconstruction error"), rc;
	struct view_graph *g = &b->g;
	uint32_t at, *place;
	json_t *j;

	if (entry_of(b, n->id, &at, e) < 0)
		return -1;
	place = is_error ? &b->entry[at].error : &b->entry[at].node;
	if (*place != NONE)
		return err_set(e, ERR_FORMAT, "a second node '%.80s'", n->id);
	if (mem_grow(&g->latent, &g->nodes_cap, g->n_nodes + 1,
	             sizeof(*g->latent), e) < 0)
		return -1;
	j = json_pack("[s,s?,s,i,o,o,o,o,o,b,s]", n->id, n->js, n->type,
	              (int)n->layer, whole(n->position), whole(n->feature),
	              json_finite(n->activation), json_finite(n->influence),
	              json_finite(n->probability), n->target,
	              n->label ? n->label : "");
	if (!j)
		return err_set(e, ERR_FORMAT, "node '%.80s' has text that is "
		               "not UTF-8", n->id);
	rc = text_add(&g->nodes, ",\n", g->n_nodes ? 2 : 0, e);
	rc = rc < 0 ? rc : view_json_text(&g->nodes, j, e);
	json_decref(j);
	if (rc < 0)
		return -1;
	g->latent[g->n_nodes] = latent_of(n);
	*place = (uint32_t)g->n_nodes++;
	return 0;
}

static int put_link(struct view_graph *g, uint32_t from, uint32_t to,
                    double weight, struct err *e)
{
	if (!isfinite((float)weight))
		return err_set(e, ERR_FORMAT, "a link's weight is %g", weight);
	if (mem_grow(&g->source, &g->source_cap, g->n_links + 1,
	             sizeof(*g->source), e) < 0 ||
	    mem_grow(&g->target, &g->target_cap, g->n_links + 1,
	             sizeof(*g->target), e) < 0 ||
	    mem_grow(&g->weight, &g->weight_cap, g->n_links + 1,
	             sizeof(*g->weight), e) < 0)
		return -1;
	g->source[g->n_links] = from;
	g->target[g->n_links] = to;
	g->weight[g->n_links++] = (float)weight;
	return 0;
}

int view_build_link(struct view_build *b, const char *from, const char *to,
                    double weight, struct err *e)
{
	uint32_t s, t;

	return entry_of(b, from, &s, e) < 0 || entry_of(b, to, &t, e) < 0
		? -1 : put_link(&b->g, s, t, weight, e);
}

int view_build_edge(struct view_build *b, uint32_t from, uint32_t to,
                    double weight, struct err *e)
{
	b->numbered = 1;
	if (from >= b->g.n_nodes || to >= b->g.n_nodes)
		return err_set(e, ERR_FORMAT, "a link of node %u, there are "
		               "%zu", from >= b->g.n_nodes ? from : to,
		               b->g.n_nodes);
	return put_link(&b->g, from, to, weight, e);
}

static uint32_t node_of(const struct view_build *b, uint32_t entry)
{
	const struct entry *x = &b->entry[entry];

	return x->node != NONE ? x->node : x->error;
}

/* Entries become nodes; links to nothing go. */
static void resolve(struct view_build *b)
{
	struct view_graph *g = &b->g;
	size_t i, n = 0;

	for (i = 0; i < g->n_links; i++) {
		uint32_t s = node_of(b, g->source[i]);
		uint32_t t = node_of(b, g->target[i]);

		if (s == NONE || t == NONE)
			continue;
		g->source[n] = s;
		g->target[n] = t;
		g->weight[n++] = g->weight[i];
	}
	g->n_lost = g->n_links - n;
	g->n_links = n;
}

static char *name_of(const json_t *metadata, const char *path, struct err *e)
{
	const char *slug = json_string_value(json_object_get(metadata, "slug"));
	const char *base = strrchr(path, '/');
	size_t n;

	if (slug && *slug)
		return mem_strdup(slug, e);
	base = base ? base + 1 : path;
	n = strlen(base);
	if (n > 5 && !strcmp(base + n - 5, ".json"))
		n -= 5;
	return mem_strndup(base, n, e);
}

/* For qsort: struct view_latent begins with its key. */
static int by_key(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Adds the latents of g that v does not have yet. */
static int note_latents(struct view *v, const struct view_graph *g,
                        struct err *e)
{
	struct view_latent *all = mem_array(v->n_latents + g->n_nodes,
	                                    sizeof(*all), e);
	size_t i, n = v->n_latents, m = 0;

	if (!all)
		return -1;
	if (n)
		memcpy(all, v->latent, n * sizeof(*all));
	for (i = 0; i < g->n_nodes; i++)
		if (g->latent[i] != VIEW_NO_LATENT)
			all[n++].key = g->latent[i];
	qsort(all, n, sizeof(*all), by_key);
	for (i = 0; i < n; i++)
		if (!m || all[i].key != all[m - 1].key)
			all[m++] = all[i];
		else if (all[i].about)
			all[m - 1].about = all[i].about;
	mem_free(v->latent);
	v->latent = all;
	v->n_latents = m;
	return 0;
}

int view_build_end(struct view_build *b, struct view *v, json_t *metadata,
                   json_t *q, const char *path, struct err *e)
{
	struct view_graph *g = &b->g;

	g->metadata = metadata ? metadata : json_object();
	g->q = q ? q : json_object();
	if (!b->numbered)
		resolve(b);
	if (!(g->name = name_of(g->metadata, path, e)) ||
	    mem_grow(&v->graph, &v->graphs_cap, v->n_graphs + 1,
	             sizeof(*v->graph), e) < 0 ||
	    note_latents(v, g, e) < 0)
		return -1;
	v->graph[v->n_graphs++] = *g;
	memset(g, 0, sizeof(*g));
	return 0;
}
