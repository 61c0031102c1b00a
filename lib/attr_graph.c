/* The graph that an attribution leaves, and measures of it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attr_impl.h"
#include "mem.h"

static struct attr_steps steps(const struct attr_graph *g)
{
	return (struct attr_steps){ g->n_layers, g->n_pos, g->end };
}

static void row_place(const struct attr_graph *g, size_t i, size_t *layer,
                      size_t *pos)
{
	if (i < g->n_features) {
		*layer = g->feature[i].layer;
		*pos = g->feature[i].pos;
	} else {
		*layer = g->target[i - g->n_features].layer;
		*pos = g->target[i - g->n_features].pos;
	}
}

static size_t n_rows(const struct attr_graph *g)
{
	return g->n_features + g->n_targets;
}

size_t attr_row_node(const struct attr_graph *g, size_t i)
{
	return i < g->n_features ? i : g->n_nodes - n_rows(g) + i;
}

void attr_node_place(const struct attr_graph *g, size_t node, int *layer,
                     size_t *pos)
{
	size_t errors = g->n_features, tokens = errors + g->n_layers * g->n_pos;

	if (node < errors) {
		*layer = (int)g->feature[node].layer;
		*pos = g->feature[node].pos;
	} else if (node < tokens) {
		*layer = (int)((node - errors) / g->n_pos);
		*pos = (node - errors) % g->n_pos;
	} else if (node < tokens + g->n_pos) {
		*layer = -1;
		*pos = node - tokens;
	} else {
		*layer = (int)g->target[node - tokens - g->n_pos].layer;
		*pos = g->target[node - tokens - g->n_pos].pos;
	}
}

/* ---- making it ---- */

static int copy_features(const struct attr *a, struct attr_graph *g,
                         size_t *from, struct err *e)
{
	size_t l, p, i = 0, m = 0;

	g->end = mem_array(g->n_layers * g->n_pos, sizeof(*g->end), e);
	g->feature = mem_array(g->n_features, sizeof(*g->feature), e);
	g->neurons = mem_array(g->n_layers, 1, e);
	if (!g->end || !g->feature || !g->neurons)
		return -1;
	for (l = 0; l < g->n_layers; l++)
		g->neurons[l] = a->neurons && !attr_set_has(a->set, (int)l);
	for (l = 0; l < g->n_layers; l++)
		for (p = 0; p < g->n_pos; p++) {
			for (; i < a->end[l * g->n_pos + p]; i++) {
				if (!a->done[i])
					continue;
				from[m] = i;
				g->feature[m++] = a->feature[i];
			}
			g->end[l * g->n_pos + p] = m;
		}
	return 0;
}

/* Row of the attribution -> row of the graph: sources that were not chosen go.
 * number[i]: feature i's in the graph, or SIZE_MAX. */
static float *narrow(struct attr *a, const struct attr_graph *g, size_t at,
                     const size_t *number, struct attr_run_of *runs,
                     struct err *e)
{
	const struct attr_steps all = attr_steps_of(a), kept = steps(g);
	const struct attr_owner *o = &a->owner[at];
	const float *row = attr_rows_get(a->rows, at, e);
	float *out = row ? mem_scratch(attr_steps_length(&kept, o->layer,
	                                                 o->pos),
	                               sizeof(*out), e) : NULL;
	size_t n, i, k;
	float *to = out;

	if (!out)
		return NULL;
	n = attr_steps_runs(&all, a->n_features, o->layer, o->pos, row, runs);
	for (i = 0; i < n; i++)
		for (k = 0; k < runs[i].n; k++)
			if (runs[i].node >= a->n_features ||
			    number[runs[i].node + k] != SIZE_MAX)
				*to++ = runs[i].w[k];
	return out;
}

static int copy_rows(struct attr *a, struct attr_graph *g, const size_t *from,
                     struct err *e)
{
	size_t *number = mem_scratch(a->n_features, sizeof(*number), e);
	struct attr_run_of *runs = mem_scratch(2 * g->n_layers + 1,
	                                       sizeof(*runs), e);
	size_t i, to;
	int rc = -1;

	g->row = mem_array(n_rows(g), sizeof(*g->row), e);
	if (!number || !runs || !g->row)
		goto done;
	for (i = 0; i < a->n_features; i++)
		number[i] = SIZE_MAX;
	for (i = 0; i < g->n_features; i++)
		number[from[i]] = i;
	for (i = 0; i < a->n_rows; i++) {
		to = a->owner[i].node < a->n_features
			? number[a->owner[i].node]
			: g->n_features + a->owner[i].node - a->n_features;
		if (!(g->row[to] = narrow(a, g, i, number, runs, e)))
			goto done;
		attr_rows_drop(a->rows, i);
	}
	rc = 0;
done:
	mem_free(number);
	mem_free(runs);
	return rc;
}

struct attr_graph *attr_graph_new(struct attr *a, struct err *e)
{
	struct attr_graph *g = mem_array(1, sizeof(*g), e);
	size_t *from = NULL, i;
	int rc = -1;

	if (!g)
		return NULL;
	g->n_layers = model_cfg(a->model)->n_layers;
	g->n_pos = a->n;
	g->n_active = a->n_features;
	g->n_targets = a->n_targets;
	g->n_features = a->n_rows - a->n_targets;
	g->n_nodes = n_rows(g) + (g->n_layers + 1) * g->n_pos;
	if (g->n_nodes > UINT32_MAX) {
		err_set(e, ERR_RANGE, "%zu nodes are too many", g->n_nodes);
		goto done;
	}
	if (!(from = mem_array(g->n_features, sizeof(*from), e)) ||
	    !(g->ids = mem_array(g->n_pos, sizeof(*g->ids), e)) ||
	    !(g->target = mem_array(g->n_targets, sizeof(*g->target), e)) ||
	    copy_features(a, g, from, e) < 0)
		goto done;
	memcpy(g->ids, a->ids, g->n_pos * sizeof(*g->ids));
	for (i = 0; i < g->n_targets; i++)
		g->target[i] = a->target[i];
	rc = copy_rows(a, g, from, e);
	attr_rows_free(a->rows);
	a->rows = NULL;
	a->n_rows = 0;
done:
	mem_free(from);
	if (rc == 0)
		return g;
	attr_graph_free(g);
	return NULL;
}

void attr_graph_free(struct attr_graph *g)
{
	size_t i;

	if (!g)
		return;
	for (i = 0; g->row && i < n_rows(g); i++)
		mem_free(g->row[i]);
	mem_free(g->row);
	mem_free(g->feature);
	mem_free(g->neurons);
	mem_free(g->ids);
	mem_free(g->target);
	mem_free(g->end);
	mem_free(g);
}

void attr_row_dense(const struct attr_graph *g, size_t i, float *out)
{
	const struct attr_steps s = steps(g);
	const float *row = g->row[i];
	size_t layer, pos, l, first, n;

	memset(out, 0, g->n_nodes * sizeof(*out));
	row_place(g, i, &layer, &pos);
	for (l = 0; l < layer; l++) {
		first = attr_steps_first(&s, l);
		n = g->end[l * g->n_pos + pos] - first;
		memcpy(out + first, row, n * sizeof(*out));
		row += n;
		memcpy(out + g->n_features + l * g->n_pos, row,
		       (pos + 1) * sizeof(*out));
		row += pos + 1;
	}
	memcpy(out + g->n_features + g->n_layers * g->n_pos, row,
	       (pos + 1) * sizeof(*out));
}

/* ---- influence ---- */

/* Rows from the highest layer down: each comes before the rows of its sources.
 * A target among the layers comes before features of its layer. */
static size_t *rows_down(const struct attr_graph *g, struct err *e)
{
	size_t *order = mem_scratch(n_rows(g), sizeof(*order), e);
	size_t *at = mem_array(g->n_layers + 2, sizeof(*at), e), i, l, pos;

	if (!order || !at) {
		mem_free(order);
		order = NULL;
		goto done;
	}
	for (i = 0; i < n_rows(g); i++) {	/* a sort by counting */
		row_place(g, i, &l, &pos);
		at[g->n_layers - l + 1]++;
	}
	for (l = 1; l < g->n_layers + 2; l++)
		at[l] += at[l - 1];
	for (i = 0; i < n_rows(g); i++) {
		row_place(g, i, &l, &pos);
		order[at[g->n_layers - l]++] = i;
	}
done:
	mem_free(at);
	return order;
}

/* Walks the sources of rows from high layers to low. */
struct walk {
	const struct attr_graph *g;
	size_t *order;
	struct attr_run_of *runs;
	const uint8_t *keep;	/* nodes that count, or NULL */
};

static int walk_init(struct walk *w, const struct attr_graph *g,
                     const uint8_t *keep, struct err *e)
{
	w->g = g;
	w->keep = keep;
	w->order = rows_down(g, e);
	w->runs = mem_scratch(2 * g->n_layers + 1, sizeof(*w->runs), e);
	return w->order && w->runs ? 0 : -1;
}

static void walk_free(struct walk *w)
{
	mem_free(w->order);
	mem_free(w->runs);
}

/* The runs of row i, and the sum of the magnitudes of those that count. */
static size_t walk_row(struct walk *w, size_t i, double *sum)
{
	const struct attr_steps s = steps(w->g);
	size_t layer, pos, n, j, k;

	row_place(w->g, i, &layer, &pos);
	n = attr_steps_runs(&s, w->g->n_features, layer, pos, w->g->row[i],
	                    w->runs);
	*sum = 0;
	for (j = 0; j < n; j++)
		for (k = 0; k < w->runs[j].n; k++)
			if (!w->keep || w->keep[w->runs[j].node + k])
				*sum += fabs((double)w->runs[j].w[k]);
	if (*sum < 1e-10)
		*sum = 1e-10;
	return n;
}

static double target_weight(const struct attr_graph *g, size_t row)
{
	return row < g->n_features ? 0 : g->target[row - g->n_features].weight;
}

/* influence[n_nodes]; errors_in (or NULL) receives, by row, the share of its
 * sources that is errors. */
static int influence_of(const struct attr_graph *g, const uint8_t *keep,
                        double *influence, double *errors_in, struct err *e)
{
	size_t tokens = g->n_features + g->n_layers * g->n_pos, i, j, k, n, row;
	struct walk w = { 0 };
	double sum, share, errors;
	int rc = -1;

	if (walk_init(&w, g, keep, e) < 0)
		goto done;
	memset(influence, 0, g->n_nodes * sizeof(*influence));
	for (i = 0; i < n_rows(g); i++) {
		row = w.order[i];
		if (keep && !keep[attr_row_node(g, row)])
			continue;
		share = influence[attr_row_node(g, row)] +
		        target_weight(g, row);
		if (share == 0 && !errors_in)
			continue;
		n = walk_row(&w, row, &sum);
		errors = 0;
		for (j = 0; j < n; j++) {
			size_t node = w.runs[j].node;
			double part = 0;

			for (k = 0; k < w.runs[j].n; k++) {
				double v = fabs((double)w.runs[j].w[k]) / sum;

				if (keep && !keep[node + k])
					continue;
				influence[node + k] += share * v;
				part += v;
			}
			if (node >= g->n_features && node < tokens)
				errors += part;
		}
		if (errors_in)
			errors_in[row] = errors;
	}
	rc = 0;
done:
	walk_free(&w);
	return rc;
}

int attr_influence(const struct attr_graph *g, double *influence,
                   struct err *e)
{
	return influence_of(g, NULL, influence, NULL, e);
}

int attr_score(const struct attr_graph *g, struct attr_scores *s,
               struct err *e)
{
	size_t tokens = g->n_features + g->n_layers * g->n_pos, i;
	double *influence = mem_scratch(g->n_nodes, sizeof(*influence), e);
	double *errors_in = mem_array(n_rows(g), sizeof(*errors_in), e);
	double good = 0, all = 0, from[3] = { 0 }, sum;
	int rc = -1;

	if (!influence || !errors_in ||
	    influence_of(g, NULL, influence, errors_in, e) < 0)
		goto done;
	for (i = 0; i < tokens + g->n_pos; i++)
		from[i < g->n_features ? 0 : i < tokens ? 1 : 2] += influence[i];
	for (i = 0; i < g->n_nodes; i++)
		all += influence[i];
	good = all;	/* nodes without a row have no errors among sources */
	for (i = 0; i < n_rows(g); i++) {
		double v = influence[attr_row_node(g, i)] + target_weight(g, i);

		all += target_weight(g, i);
		good += target_weight(g, i) - v * errors_in[i];
	}
	sum = from[0] + from[1] + from[2];
	s->replacement = from[1] + from[2] > 0 ? from[2] / (from[1] + from[2])
	                                       : 0;
	s->completeness = all > 0 ? good / all : 0;
	s->from_features = sum > 0 ? from[0] / sum : 0;
	s->from_errors = sum > 0 ? from[1] / sum : 0;
	s->from_tokens = sum > 0 ? from[2] / sum : 0;
	rc = 0;
done:
	mem_free(influence);
	mem_free(errors_in);
	return rc;
}

/* ---- pruning ---- */

struct scored {
	double score;
	size_t i;
};

static int by_score(const void *x, const void *y)
{
	const struct scored *a = x, *b = y;

	if (a->score != b->score)
		return a->score < b->score ? 1 : -1;
	return (a->i > b->i) - (a->i < b->i);
}

/* The score of the first, in falling order, by which `share` of the sum of all
 * is reached; cumulative[i] (or NULL) receives what is reached with it. */
static double threshold(struct scored *s, size_t n, double share,
                        double *cumulative)
{
	double sum = 0, so_far = 0, found = 0;
	size_t i;
	int have = 0;

	qsort(s, n, sizeof(*s), by_score);
	for (i = 0; i < n; i++)
		sum += s[i].score;
	for (i = 0; i < n; i++) {
		so_far += s[i].score;
		if (cumulative)
			cumulative[s[i].i] = sum > 0 ? so_far / sum : 0;
		if (!have && (so_far >= share * sum || i + 1 == n)) {
			found = s[i].score;
			have = 1;
		}
	}
	return found;
}

static int prune_nodes(const struct attr_graph *g, double share,
                       struct attr_pruned *p, struct err *e)
{
	struct scored *s = mem_scratch(g->n_nodes, sizeof(*s), e);
	double *influence = mem_scratch(g->n_nodes, sizeof(*influence), e);
	double limit;
	size_t i;
	int rc = -1;

	if (!s || !influence || attr_influence(g, influence, e) < 0)
		goto done;
	for (i = 0; i < g->n_nodes; i++)
		s[i] = (struct scored){ influence[i], i };
	limit = threshold(s, g->n_nodes, share, p->cumulative);
	for (i = 0; i < g->n_nodes; i++)
		p->keep[i] = influence[i] >= limit ||
			i >= g->n_features + g->n_layers * g->n_pos;
	rc = 0;
done:
	mem_free(s);
	mem_free(influence);
	return rc;
}

/* Scores of the edges between kept nodes, in order of rows, into *out (for
 * mem_free); p->edge and p->first hold the edges. */
static int score_edges(const struct attr_graph *g, struct attr_pruned *p,
                       struct scored **out, struct err *e)
{
	double *influence = mem_scratch(g->n_nodes, sizeof(*influence), e);
	struct walk w = { 0 };
	size_t i, j, k, n, m = 0, cap = 0, cap_edge = 0;
	struct scored *s = NULL;
	double share, sum;
	int rc = -1;

	if (!influence || walk_init(&w, g, p->keep, e) < 0 ||
	    influence_of(g, p->keep, influence, NULL, e) < 0)
		goto done;
	for (i = 0; i < n_rows(g); i++) {
		p->first[i] = m;
		if (!p->keep[attr_row_node(g, i)])
			continue;
		share = influence[attr_row_node(g, i)] + target_weight(g, i);
		n = walk_row(&w, i, &sum);
		for (j = 0; j < n; j++)
			for (k = 0; k < w.runs[j].n; k++) {
				size_t node = w.runs[j].node + k;
				float v = w.runs[j].w[k];

				if (!p->keep[node] || v == 0)
					continue;
				if (mem_grow(&s, &cap, m + 1, sizeof(*s), e) < 0 ||
				    mem_grow(&p->edge, &cap_edge, m + 1,
				             sizeof(*p->edge), e) < 0)
					goto done;
				p->edge[m] = (struct attr_edge){
					(uint32_t)node, v };
				s[m] = (struct scored){
					fabs((double)v) / sum * share, m };
				m++;
			}
	}
	p->first[n_rows(g)] = m;
	*out = s;
	s = NULL;
	rc = 0;
done:
	mem_free(s);
	mem_free(influence);
	walk_free(&w);
	return rc;
}

/* Edges whose byte is 0 and those of nodes that went are dropped. */
static void drop_edges(const struct attr_graph *g, struct attr_pruned *p,
                       const uint8_t *stay)
{
	size_t i, j, m = 0, from, to;

	for (i = 0; i < n_rows(g); i++) {
		from = p->first[i];
		to = p->first[i + 1];
		p->first[i] = m;
		for (j = from; j < to; j++)
			if ((!stay || stay[j]) && p->keep[p->edge[j].source] &&
			    p->keep[attr_row_node(g, i)])
				p->edge[m++] = p->edge[j];
	}
	p->first[n_rows(g)] = m;
}

/* Features need edges in and out, errors edges out. Whether any node went. */
static int drop_nodes(const struct attr_graph *g, struct attr_pruned *p,
                      uint8_t *out)
{
	size_t inner = g->n_features + g->n_layers * g->n_pos, i;
	int gone = 0;

	memset(out, 0, g->n_nodes);
	for (i = 0; i < p->first[n_rows(g)]; i++)
		out[p->edge[i].source] = 1;
	for (i = 0; i < inner; i++)
		if (p->keep[i] && (!out[i] || (i < g->n_features &&
		                   p->first[i] == p->first[i + 1]))) {
			p->keep[i] = 0;
			gone = 1;
		}
	return gone;
}

int attr_prune(const struct attr_graph *g, double node_share,
               double edge_share, struct attr_pruned *p, struct err *e)
{
	struct scored *s = NULL;
	uint8_t *flag = NULL;
	double limit;
	size_t i, n;
	int rc = -1;

	memset(p, 0, sizeof(*p));
	if (!(p->keep = mem_array(g->n_nodes, 1, e)) ||
	    !(p->cumulative = mem_array(g->n_nodes, sizeof(double), e)) ||
	    !(p->first = mem_array(n_rows(g) + 1, sizeof(*p->first), e)) ||
	    prune_nodes(g, node_share, p, e) < 0 ||
	    score_edges(g, p, &s, e) < 0)
		goto done;
	n = p->first[n_rows(g)];
	if (!(flag = mem_array(n > g->n_nodes ? n : g->n_nodes, 1, e)))
		goto done;
	limit = threshold(s, n, edge_share, NULL);
	for (i = 0; i < n; i++)
		flag[s[i].i] = s[i].score >= limit;
	drop_edges(g, p, flag);
	while (drop_nodes(g, p, flag))
		drop_edges(g, p, NULL);
	for (i = 0; i < g->n_nodes; i++)
		p->n_kept += p->keep[i];
	rc = 0;
done:
	mem_free(s);
	mem_free(flag);
	if (rc < 0)
		attr_pruned_free(p);
	return rc;
}

void attr_pruned_free(struct attr_pruned *p)
{
	mem_free(p->keep);
	mem_free(p->cumulative);
	mem_free(p->first);
	mem_free(p->edge);
	memset(p, 0, sizeof(*p));
}
