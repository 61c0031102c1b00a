/* motif_inst: conditions on nodes, and the heaviest instances. */
#include "motif_inst.h"

#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

/* ---- conditions -------------------------------------------------------- */

/* Room for one more condition; its bit, or 0 with e set. */
static uint32_t more(struct motif_inst_filter *f, const struct graph *g,
                     struct err *e)
{
	uint32_t bit = f->all + 1;

	if (f->all == UINT32_MAX) {
		err_set(e, ERR_USAGE, "more than %d conditions on nodes",
		        MOTIF_INST_WANTS);
		return 0;
	}
	if (!f->met &&
	    !(f->met = mem_array(g->n_nodes, sizeof(*f->met), e)))
		return 0;
	f->all |= bit;
	return bit;
}

/* "8_123" is every "8_123_POSITION". */
static int named(const char *node, const char *id)
{
	size_t n = strlen(id);
	const char *one = strchr(id, '_');

	if (strncmp(node, id, n))
		return 0;
	return !node[n] || (one && !strchr(one + 1, '_') && node[n] == '_' &&
	                    !strchr(node + n + 1, '_'));
}

int motif_inst_filter_id(struct motif_inst_filter *f, const struct graph *g,
                         const char *id, uint32_t *n, struct err *e)
{
	uint32_t bit = more(f, g, e), u;

	if (!bit)
		return -1;
	for (*n = u = 0; u < g->n_nodes; u++)
		if (named(g->nodes[u].id, id)) {
			f->met[u] |= bit;
			++*n;
		}
	return 0;
}

int motif_inst_filter_label(struct motif_inst_filter *f, const struct graph *g,
                            const char *pattern, uint32_t *n, struct err *e)
{
	char why[128];
	regex_t re;
	uint32_t bit, u;
	int bad = regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB | REG_ICASE);

	if (bad) {
		regerror(bad, &re, why, sizeof(why));
		return err_set(e, ERR_USAGE, "pattern '%s': %s", pattern, why);
	}
	if ((bit = more(f, g, e)))
		for (*n = u = 0; u < g->n_nodes; u++)
			if (!regexec(&re, g->nodes[u].label, 0, NULL, 0)) {
				f->met[u] |= bit;
				++*n;
			}
	regfree(&re);
	return bit ? 0 : -1;
}

int motif_inst_passes(const struct motif_inst_filter *f, const struct graph *g,
                      const struct motif_inst *m)
{
	uint32_t met = 0;
	size_t i;

	if (!f || !f->met)
		return 1;
	for (i = 0; i < m->n_nodes; i++) {
		uint32_t u = m->node[i];

		if (f->only && !f->met[u] && g->nodes[u].type == GRAPH_FEATURE)
			return 0;
		met |= f->met[u];
	}
	return met == f->all;
}

void motif_inst_filter_free(struct motif_inst_filter *f)
{
	mem_free(f->met);
	*f = (struct motif_inst_filter) { 0 };
}

/* ---- a heap of the heaviest, the lightest on top ----------------------- */

struct entry {
	struct motif_inst m;
	uint64_t number;	/* in the order of listing */
};

struct heap {
	const struct graph *g;
	const struct motif_inst_filter *f;
	struct entry *at;
	size_t n, cap, max;
	uint64_t total;
};

/* Negative: a goes before b in the list. */
static int order(const void *pa, const void *pb)
{
	const struct entry *a = pa, *b = pb;

	if (a->m.weight != b->m.weight)
		return a->m.weight > b->m.weight ? -1 : 1;
	return a->number < b->number ? -1 : a->number > b->number;
}

static void sink(struct heap *h)
{
	size_t i = 0, c;

	while ((c = 2 * i + 1) < h->n) {
		struct entry t = h->at[i];

		if (c + 1 < h->n && order(&h->at[c + 1], &h->at[c]) > 0)
			c++;
		if (order(&t, &h->at[c]) > 0)
			break;
		h->at[i] = h->at[c];
		h->at[c] = t;
		i = c;
	}
}

static void rise(struct heap *h)
{
	size_t i = h->n - 1;

	while (i && order(&h->at[i], &h->at[(i - 1) / 2]) > 0) {
		struct entry t = h->at[i];

		h->at[i] = h->at[(i - 1) / 2];
		h->at[(i - 1) / 2] = t;
		i = (i - 1) / 2;
	}
}

static int offer(void *ctx, const struct motif_inst *m, struct err *e)
{
	struct heap *h = ctx;
	struct entry n = { *m, h->total };

	if (!motif_inst_passes(h->f, h->g, m))
		return 0;
	h->total++;
	if (h->n < h->max) {
		if (mem_grow(&h->at, &h->cap, h->n + 1, sizeof(*h->at), e) < 0)
			return -1;
		h->at[h->n++] = n;
		rise(h);
	} else if (h->n && order(&n, &h->at[0]) < 0) {
		h->at[0] = n;
		sink(h);
	}
	return 0;
}

int motif_inst_top(const struct graph *g, int motif, int32_t min_gap,
                   int32_t max_gap, const struct motif_inst_filter *f,
                   size_t max, struct motif_inst_top *out, struct err *e)
{
	struct heap h = { .g = g, .f = f, .max = max };
	size_t i;
	int rc = -1;

	*out = (struct motif_inst_top) { 0 };
	if (motif_inst_each(g, motif, min_gap, max_gap, offer, &h, e) < 0 ||
	    !(out->inst = mem_scratch(h.n, sizeof(*out->inst), e)))
		goto done;
	if (h.n)
		qsort(h.at, h.n, sizeof(*h.at), order);
	for (i = 0; i < h.n; i++)
		out->inst[i] = h.at[i].m;
	out->n = h.n;
	out->total = h.total;
	rc = 0;
done:
	mem_free(h.at);
	return rc;
}

void motif_inst_top_free(struct motif_inst_top *t)
{
	mem_free(t->inst);
	*t = (struct motif_inst_top) { 0 };
}
