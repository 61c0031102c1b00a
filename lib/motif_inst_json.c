/* motif_inst: instances and cascades as JSON. */
#include "motif_inst.h"

#include <string.h>

#include "json.h"

json_t *motif_inst_count_json(uint64_t v)
{
	return json_integer(v > INT64_MAX ? INT64_MAX : (json_int_t)v);
}

static json_t *node_json(const struct graph *g, uint32_t u)
{
	const struct graph_node *n = &g->nodes[u];

	return json_pack("{s:s,s:i,s:i,s:s,s:s}", "id", n->id, "layer",
	                 (int)n->layer, "position", (int)n->position, "type",
	                 n->type_name, "label", n->label);
}

json_t *motif_inst_json(const struct graph *g, const struct motif_inst *m)
{
	const char *role = motif_inst_roles(m->motif);
	json_t *nodes = json_object(), *edges = json_array();
	char a[2] = "", b[2] = "";
	size_t i;

	for (i = 0; i < m->n_nodes; i++) {
		a[0] = role[i];
		json_object_set_new(nodes, a, node_json(g, m->node[i]));
	}
	for (i = 0; i < m->n_edges; i++) {
		a[0] = role[m->from[i]];
		b[0] = role[m->to[i]];
		json_array_append_new(edges, json_pack("{s:s,s:s,s:o}", "from",
			a, "to", b, "weight", json_finite(
			(double)g->out_weight[m->edge[i]])));
	}
	return json_pack("{s:o,s:o,s:o}", "weight", json_finite(m->weight),
	                 "nodes", nodes, "edges", edges);
}

json_t *motif_inst_cascade_json(const struct graph *g,
                                const struct motif_inst_cascades *c,
                                const struct motif_inst_cascade *one)
{
	const struct motif_inst *first = &c->inst[one->step[0]];
	const struct motif_inst *last = &c->inst[one->step[one->n - 1]];
	uint32_t from = first->node[0], to = last->node[last->n_nodes - 1];
	json_t *steps = json_array();
	size_t i, k;

	for (i = 0; i < one->n; i++) {
		const struct motif_inst *m = &c->inst[one->step[i]];
		json_t *nodes = json_array();

		for (k = 0; k < m->n_nodes; k++)
			json_array_append_new(nodes, json_string(
				g->nodes[m->node[k]].id));
		json_array_append_new(steps, json_pack("{s:s,s:o,s:o}",
			"motif", motif_name(m->motif), "weight",
			json_finite(m->weight), "nodes", nodes));
	}
	return json_pack("{s:o,s:I,s:b,s:o,s:o,s:o}", "weight",
	                 json_finite(one->weight), "length",
	                 (json_int_t)one->n, "complete",
	                 g->nodes[from].type == GRAPH_EMBEDDING &&
	                 g->nodes[to].type == GRAPH_LOGIT, "from",
	                 node_json(g, from), "to", node_json(g, to), "steps",
	                 steps);
}
