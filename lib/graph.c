#include "graph.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "mem.h"

static const uint32_t NONE = UINT32_MAX;

/* Everything said about an id: what nodes and links call it by. */
struct entry {
	size_t id;		/* in text */
	uint32_t node;		/* the node, but for error nodes; or NONE */
	uint32_t error;		/* the error node, or NONE */
};

struct raw {
	size_t type_name, label;	/* in text */
	int64_t feature;
	uint32_t entry;
	int32_t position, layer;
	enum graph_type type;
	uint32_t at;			/* index in the graph, or NONE */
};

static const uint32_t NUMBERED = 1u << 31;	/* an end given by the node's number */

struct link {
	uint32_t from, to;	/* entries, or nodes with NUMBERED; then nodes
				 * of the graph */
	double weight;
};

struct graph_build {
	char *text;
	size_t n_text, text_cap;
	struct entry *entries;
	size_t n_entries, entries_cap;
	uint32_t *slots;	/* hash table of entries, NONE: free */
	size_t n_slots;		/* a power of two */
	struct raw *nodes;
	size_t n_nodes, nodes_cap;
	struct link *links;
	size_t n_links, links_cap;
	struct graph_notes notes;
};

static const char *const type_names[] = {
	[GRAPH_FEATURE] = "cross layer transcoder",
	[GRAPH_ERROR] = "mlp reconstruction error",
	[GRAPH_EMBEDDING] = "embedding",
	[GRAPH_LOGIT] = "logit",
};

static enum graph_type type_of(const char *name)
{
	int i;

	for (i = 0; i < GRAPH_OTHER; i++)
		if (!strcmp(name, type_names[i]))
			return (enum graph_type)i;
	return GRAPH_OTHER;
}

/* ---- collecting ---- */

struct graph_build *graph_build_new(struct err *e)
{
	struct graph_build *b = mem_array(1, sizeof(*b), e);

	if (b && mem_grow(&b->text, &b->text_cap, 1, 1, e) == 0) {
		b->text[b->n_text++] = 0;	/* offset 0 is "" */
		return b;
	}
	graph_build_free(b);
	return NULL;
}

void graph_build_free(struct graph_build *b)
{
	if (!b)
		return;
	mem_free(b->text);
	mem_free(b->entries);
	mem_free(b->slots);
	mem_free(b->nodes);
	mem_free(b->links);
	mem_free(b);
}

/* A copy of at most max bytes of s (whole characters) in text. */
static int keep(struct graph_build *b, const char *s, size_t max, size_t *at,
                struct err *e)
{
	size_t n = s ? strlen(s) : 0;

	*at = 0;
	if (n == 0)
		return 0;
	if (n > max)
		for (n = max; n && ((unsigned char)s[n] & 0xc0) == 0x80; n--)
			;
	if (mem_grow(&b->text, &b->text_cap, b->n_text + n + 1, 1, e) < 0)
		return -1;
	*at = b->n_text;
	memcpy(b->text + b->n_text, s, n);
	b->text[b->n_text + n] = 0;
	b->n_text += n + 1;
	return 0;
}

/* FNV-1a, its bits mixed once more for tables of a power of two. */
static uint64_t hash(const char *s)
{
	uint64_t h = 0xcbf29ce484222325;

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3;
	return (h ^ h >> 29) * 0xbf58476d1ce4e5b9;
}

static size_t slot_of(const struct graph_build *b, const char *id)
{
	size_t mask = b->n_slots - 1, at = hash(id) >> 20 & mask;

	while (b->slots[at] != NONE &&
	       strcmp(b->text + b->entries[b->slots[at]].id, id))
		at = (at + 1) & mask;
	return at;
}

/* Room for one more entry, a quarter of the slots free. */
static int make_room(struct graph_build *b, struct err *e)
{
	size_t n = b->n_slots ? b->n_slots * 2 : 1024, i;
	uint32_t *slots;

	if (b->n_entries + 1 <= b->n_slots / 4 * 3)
		return 0;
	slots = mem_scratch(n, sizeof(*slots), e);
	if (!slots)
		return -1;
	memset(slots, 0xff, n * sizeof(*slots));
	mem_free(b->slots);
	b->slots = slots;
	b->n_slots = n;
	for (i = 0; i < b->n_entries; i++)
		b->slots[slot_of(b, b->text + b->entries[i].id)] = (uint32_t)i;
	return 0;
}

static int entry_of(struct graph_build *b, const char *id, uint32_t *out,
                    struct err *e)
{
	struct entry *n;
	size_t at;

	if (strlen(id) > GRAPH_MAX_ID)
		return err_set(e, ERR_RANGE, "a node id of more than %d bytes: "
		               "'%.32s'...", GRAPH_MAX_ID, id);
	if (make_room(b, e) < 0)
		return -1;
	at = slot_of(b, id);
	if (b->slots[at] != NONE) {
		*out = b->slots[at];
		return 0;
	}
	/* Links may name as many ids again that no node has. */
	if (b->n_entries == 2 * (size_t)GRAPH_MAX_NODES)
		return err_set(e, ERR_RANGE, "more than %d different ids",
		               2 * GRAPH_MAX_NODES);
	if (mem_grow(&b->entries, &b->entries_cap, b->n_entries + 1,
	             sizeof(*b->entries), e) < 0)
		return -1;
	n = &b->entries[b->n_entries];
	if (keep(b, id, GRAPH_MAX_ID, &n->id, e) < 0)
		return -1;
	n->node = n->error = NONE;
	*out = b->slots[at] = (uint32_t)b->n_entries++;
	return 0;
}

int graph_build_node(struct graph_build *b, const struct graph_raw_node *n,
                     struct err *e)
{
	enum graph_type type = type_of(n->type);
	struct raw *r;
	uint32_t at, *mine;

	if (n->layer < -1 || n->layer > GRAPH_MAX_LAYER)
		return err_set(e, ERR_RANGE, "node '%.80s': layer %d is not "
		               "within -1 and %d", n->id, n->layer,
		               GRAPH_MAX_LAYER);
	if (b->n_nodes == GRAPH_MAX_NODES)
		return err_set(e, ERR_RANGE, "more than %d nodes",
		               GRAPH_MAX_NODES);
	if (mem_grow(&b->nodes, &b->nodes_cap, b->n_nodes + 1,
	             sizeof(*b->nodes), e) < 0 ||
	    entry_of(b, n->id, &at, e) < 0)
		return -1;
	mine = type == GRAPH_ERROR ? &b->entries[at].error
	                           : &b->entries[at].node;
	if (*mine != NONE)
		return err_set(e, ERR_FORMAT, "two nodes have the id '%.80s'",
		               n->id);
	r = &b->nodes[b->n_nodes];
	*r = (struct raw) { .feature = n->feature, .entry = at, .type = type,
	                    .position = n->position, .layer = n->layer };
	if (keep(b, n->label, GRAPH_MAX_LABEL, &r->label, e) < 0)
		return -1;
	if (type == GRAPH_OTHER) {
		if (keep(b, n->type, GRAPH_MAX_LABEL, &r->type_name, e) < 0)
			return -1;
		if (b->notes.n_unknown++ == 0)
			snprintf(b->notes.unknown, sizeof(b->notes.unknown),
			         "%s", n->type);
	}
	*mine = (uint32_t)b->n_nodes++;
	return 0;
}

/* Room for a link of that weight; counted by the caller. */
static struct link *new_link(struct graph_build *b, double weight,
                             struct err *e)
{
	if (!isfinite((float)weight)) {
		err_set(e, ERR_RANGE, "a weight of %g is no finite f32",
		        weight);
		return NULL;
	}
	if (b->n_links == GRAPH_MAX_LINKS) {
		err_set(e, ERR_RANGE, "more than %d links", GRAPH_MAX_LINKS);
		return NULL;
	}
	if (mem_grow(&b->links, &b->links_cap, b->n_links + 1,
	             sizeof(*b->links), e) < 0)
		return NULL;
	b->links[b->n_links].weight = weight;
	return &b->links[b->n_links];
}

int graph_build_link(struct graph_build *b, const char *from, const char *to,
                     double weight, struct err *e)
{
	struct link *l = new_link(b, weight, e);

	if (!l)
		return err_wrap(e, "link '%.80s' to '%.80s'", from, to);
	if (entry_of(b, from, &l->from, e) < 0 || entry_of(b, to, &l->to, e) < 0)
		return -1;
	b->n_links++;
	return 0;
}

int graph_build_edge(struct graph_build *b, uint32_t from, uint32_t to,
                     double weight, struct err *e)
{
	struct link *l;

	if (from >= b->n_nodes || to >= b->n_nodes)
		return err_set(e, ERR_RANGE, "link %u to %u: wanted numbers "
		               "below %zu, the nodes so far", from, to,
		               b->n_nodes);
	l = new_link(b, weight, e);
	if (!l)
		return err_wrap(e, "link %u to %u", from, to);
	l->from = from | NUMBERED;
	l->to = to | NUMBERED;
	b->n_links++;
	return 0;
}

/* ---- making the graph ---- */

/* Effective layers; which nodes stay; their order. */
static int place_nodes(struct graph_build *b, const struct graph_opt *o,
                       struct graph *g, struct err *e)
{
	enum { LAYERS = GRAPH_MAX_LAYER + 3 };	/* -1 .. MAX + 1 */
	uint32_t *first = mem_array(LAYERS + 1, sizeof(*first), e);
	int32_t highest = 0;
	size_t i;

	if (!first)
		return -1;
	for (i = 0; i < b->n_nodes; i++) {
		struct raw *r = &b->nodes[i];
		const struct entry *n = &b->entries[r->entry];

		b->notes.n_shared += r->type == GRAPH_ERROR && n->node != NONE;
		r->at = 0;
		if (r->type == GRAPH_ERROR && !o->errors) {
			r->at = NONE;
			b->notes.n_errors++;
		} else if (r->layer > highest) {
			highest = r->layer;
		}
	}
	for (i = 0; i < b->n_nodes; i++) {
		struct raw *r = &b->nodes[i];

		if (r->type == GRAPH_LOGIT)
			r->layer = highest + 1;
		if (r->type == GRAPH_EMBEDDING)
			r->layer = -1;
		if (r->at != NONE)
			first[r->layer + 2]++;
	}
	for (i = 0; i < LAYERS; i++) {
		g->n_layers += first[i + 1] != 0;
		first[i + 1] += first[i];
	}
	g->n_nodes = first[LAYERS];
	for (i = 0; i < b->n_nodes; i++)
		if (b->nodes[i].at != NONE)
			b->nodes[i].at = first[b->nodes[i].layer + 1]++;
	mem_free(first);
	return 0;
}

/* An error node that shares its id gets the one it has in newer files. */
static int name_shared(struct graph_build *b, struct graph_node *n,
                       const struct raw *r, struct err *e)
{
	char id[48];
	size_t at;

	snprintf(id, sizeof(id), "%d_-1_%d", r->layer, r->position);
	if (keep(b, id, sizeof(id), &at, e) < 0)
		return -1;
	n->id = (const char *)(uintptr_t)at;
	return 0;
}

/* Strings are offsets until text no longer moves. */
static int fill_nodes(struct graph_build *b, struct graph *g, struct err *e)
{
	size_t i;

	g->nodes = mem_array(g->n_nodes, sizeof(*g->nodes), e);
	if (!g->nodes)
		return -1;
	for (i = 0; i < b->n_nodes; i++) {
		const struct raw *r = &b->nodes[i];
		const struct entry *n = &b->entries[r->entry];
		struct graph_node *out;

		if (r->at == NONE)
			continue;
		out = &g->nodes[r->at];
		*out = (struct graph_node) {
			.id = (const char *)(uintptr_t)n->id,
			.label = (const char *)(uintptr_t)r->label,
			.type_name = (const char *)(uintptr_t)r->type_name,
			.feature = r->feature, .position = r->position,
			.layer = r->layer, .type = r->type
		};
		if (r->type == GRAPH_ERROR && n->node != NONE &&
		    name_shared(b, out, r, e) < 0)
			return -1;
	}
	g->text = b->text;
	b->text = NULL;
	for (i = 0; i < g->n_nodes; i++) {
		struct graph_node *n = &g->nodes[i];

		n->id = g->text + (uintptr_t)n->id;
		n->label = g->text + (uintptr_t)n->label;
		n->type_name = n->type == GRAPH_OTHER ?
			g->text + (uintptr_t)n->type_name : type_names[n->type];
	}
	return 0;
}

/* The node that an end of a link means, or NONE. */
static uint32_t end_of(const struct graph_build *b, uint32_t end)
{
	const struct entry *n;

	if (end & NUMBERED)
		return end & ~NUMBERED;
	n = &b->entries[end];
	return n->node != NONE ? n->node : n->error;
}

/* Links between nodes that stay, ends as indices of the graph; n of them. */
static size_t map_links(struct graph_build *b)
{
	size_t i, n = 0;

	for (i = 0; i < b->n_links; i++) {
		uint32_t u = end_of(b, b->links[i].from);
		uint32_t v = end_of(b, b->links[i].to);

		if (u == NONE || v == NONE) {
			b->notes.n_missing++;
			continue;
		}
		u = b->nodes[u].at;
		v = b->nodes[v].at;
		if (u == NONE || v == NONE)
			continue;
		if (u == v) {
			b->notes.n_loops++;
			continue;
		}
		b->links[n++] = (struct link) { u, v, b->links[i].weight };
	}
	return n;
}

/* Sorts links stably by one end: from == 0: by target, else by source. */
static void sort_links(const struct link *in, struct link *out, size_t n,
                       int by_source, uint32_t *count, uint32_t n_nodes)
{
	size_t i;

	memset(count, 0, (n_nodes + 1) * sizeof(*count));
	for (i = 0; i < n; i++)
		count[(by_source ? in[i].from : in[i].to) + 1]++;
	for (i = 0; i < n_nodes; i++)
		count[i + 1] += count[i];
	for (i = 0; i < n; i++)
		out[count[by_source ? in[i].from : in[i].to]++] = in[i];
}

/* Adds up parallel links and drops weak ones, in place; how many are left. */
static int64_t merge_links(struct link *l, size_t n, float threshold,
                           struct graph_notes *notes, struct err *e)
{
	size_t i, j, out = 0;

	for (i = 0; i < n; i = j) {
		struct link sum = l[i];

		for (j = i + 1; j < n && l[j].from == sum.from &&
		     l[j].to == sum.to; j++) {
			sum.weight += l[j].weight;
			notes->n_parallel++;
		}
		if (!isfinite((float)sum.weight))
			return err_set(e, ERR_RANGE, "parallel links whose "
			               "weights add up to %g, no finite f32",
			               sum.weight);
		if (fabsf((float)sum.weight) < threshold) {
			notes->n_weak++;
			continue;
		}
		l[out++] = sum;
	}
	return (int64_t)out;
}

static int fill_edges(struct graph *g, const struct link *l, size_t n,
                      struct err *e)
{
	uint32_t u, k;

	g->out_first = mem_array(g->n_nodes + 1, sizeof(*g->out_first), e);
	g->in_first = mem_array(g->n_nodes + 1, sizeof(*g->in_first), e);
	g->out_to = mem_scratch(n, sizeof(*g->out_to), e);
	g->out_weight = mem_scratch(n, sizeof(*g->out_weight), e);
	g->in_from = mem_scratch(n, sizeof(*g->in_from), e);
	g->in_edge = mem_scratch(n, sizeof(*g->in_edge), e);
	if (!g->out_first || !g->in_first || !g->out_to || !g->out_weight ||
	    !g->in_from || !g->in_edge)
		return -1;
	g->n_edges = (uint32_t)n;
	for (k = 0; k < n; k++) {
		g->out_to[k] = l[k].to;
		g->out_weight[k] = (float)l[k].weight;
		g->out_first[l[k].from + 1]++;
		g->in_first[l[k].to + 1]++;
		g->n_backward += g->nodes[l[k].to].layer <=
		                 g->nodes[l[k].from].layer;
	}
	for (u = 0; u < g->n_nodes; u++) {
		g->out_first[u + 1] += g->out_first[u];
		g->in_first[u + 1] += g->in_first[u];
	}
	/* in_first[v] moves to its end while filling, then back */
	for (k = 0; k < n; k++) {
		uint32_t at = g->in_first[l[k].to]++;

		g->in_from[at] = l[k].from;
		g->in_edge[at] = k;
	}
	for (u = g->n_nodes; u > 0; u--)
		g->in_first[u] = g->in_first[u - 1];
	g->in_first[0] = 0;
	return 0;
}

static int build_edges(struct graph_build *b, const struct graph_opt *o,
                       struct graph *g, struct err *e)
{
	size_t n = map_links(b);
	struct link *other = mem_scratch(n, sizeof(*other), e);
	uint32_t *count = mem_scratch((size_t)g->n_nodes + 1, sizeof(*count),
	                              e);
	int64_t left = -1;

	if (other && count) {
		sort_links(b->links, other, n, 0, count, g->n_nodes);
		sort_links(other, b->links, n, 1, count, g->n_nodes);
		left = merge_links(b->links, n, (float)o->threshold, &b->notes,
		                   e);
	}
	mem_free(other);
	mem_free(count);
	return left < 0 ? -1 : fill_edges(g, b->links, (size_t)left, e);
}

struct graph *graph_build_end(struct graph_build *b, const struct graph_opt *o,
                              const char *name, const char *path,
                              const char *model, const char *prompt,
                              struct err *e)
{
	struct graph *g = mem_array(1, sizeof(*g), e);

	if (!g)
		return NULL;
	g->name = mem_strdup(name ? name : "", e);
	g->path = mem_strdup(path ? path : "", e);
	g->model = mem_strdup(model ? model : "", e);
	g->prompt = mem_strdup(prompt ? prompt : "", e);
	if (!g->name || !g->path || !g->model || !g->prompt ||
	    place_nodes(b, o, g, e) < 0 || fill_nodes(b, g, e) < 0 ||
	    build_edges(b, o, g, e) < 0) {
		graph_free(g);
		return NULL;
	}
	g->notes = b->notes;
	return g;
}

void graph_free(struct graph *g)
{
	if (!g)
		return;
	mem_free(g->name);
	mem_free(g->path);
	mem_free(g->model);
	mem_free(g->prompt);
	mem_free(g->nodes);
	mem_free(g->out_first);
	mem_free(g->out_to);
	mem_free(g->out_weight);
	mem_free(g->in_first);
	mem_free(g->in_from);
	mem_free(g->in_edge);
	mem_free(g->text);
	mem_free(g);
}

int64_t graph_edge(const struct graph *g, uint32_t u, uint32_t v)
{
	uint32_t lo = g->out_first[u], hi = g->out_first[u + 1];

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (g->out_to[mid] < v)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < g->out_first[u + 1] && g->out_to[lo] == v ? (int64_t)lo
	                                                      : -1;
}
