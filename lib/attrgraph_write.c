#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attrgraph.h"
#include "json.h"
#include "mem.h"
#include "rec_graph.h"
#include "version.h"

enum { NODES = 256, LINKS = 4096 };	/* made at a time */

/* ---- names ---- */

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" \
                   "0123456789_.-"

static int only(const char *s, const char *chars)
{
	size_t n = strspn(s, chars);

	return n && !s[n];
}

int attrgraph_name_ok(const char *s)
{
	return only(s, NAME_CHARS);
}

int attrgraph_scan_ok(const char *s)
{
	return only(s, NAME_CHARS "/@");
}

char *attrgraph_name(const char *s, struct err *e)
{
	char *out = mem_array(65, 1, e);
	size_t n = 0;

	for (; out && *s && n < 64; s++)
		if (isalnum((unsigned char)*s) || *s == '.' || *s == '_')
			out[n++] = (char)tolower((unsigned char)*s);
		else if (n && out[n - 1] != '-')
			out[n++] = '-';
	while (out && n && out[n - 1] == '-')
		out[--n] = 0;
	if (out && !n)
		strcpy(out, "prompt");
	return out;
}

static json_t *token_text(const struct tok *t, uint32_t id, struct err *e)
{
	size_t n;
	const char *s = tok_bytes(t, id, &n);

	return json_bytes(s, n, e);
}

/* ---- metadata ---- */

static const char *const kinds[] = { "token", "difference", "feature" };

static json_t *targets_of(const struct attr_graph *g, const struct tok *t,
                          struct err *e)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < g->n_targets; i++) {
		const struct attr_target *x = &g->target[i];
		json_t *o = json_pack("{s:s,s:i,s:i,s:f}", "kind",
		                      kinds[x->kind], "pos", (int)x->pos, "id",
		                      (int)x->id, "weight", (double)x->weight);

		if (x->kind == ATTR_LATENT)
			json_object_set_new(o, "layer", json_integer(x->layer));
		else
			json_object_set_new(o, "text", token_text(t, x->id, e));
		if (x->kind == ATTR_DIFF)
			json_object_set_new(o, "less", json_integer(x->less));
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *check_json(const struct attr_check *c)
{
	return json_pack("{s:I,s:o,s:o,s:o,s:o}", "ablated", (json_int_t)c->n,
	                 "rank_correlation", json_finite(c->total),
	                 "same_sign", json_finite(c->sign),
	                 "direct_rank_correlation", json_finite(c->direct),
	                 "direct_error", json_finite(c->direct_error));
}

/* What is our own: how the graph came about and how good it is. */
static json_t *details(const struct attr_graph *g,
                       const struct attrgraph_about *a,
                       const struct attr_scores *s, const struct tok *t,
                       struct err *e)
{
	const int *layer;
	int n = attr_set_layers(a->set, &layer), i, j;
	json_t *missing = json_array(), *o;

	for (i = j = 0; i < (int)g->n_layers; i++)
		if (j < n && layer[j] == i)
			j++;
		else
			json_array_append_new(missing, json_integer(i));
	o = json_pack("{s:s,s:s,s:o,s:I,s:I,s:b,s:f,s:f,s:f,s:f,s:f,s:o}",
	              "model", a->model->name, "fingerprint",
	              a->model->fingerprint, "layers_without_transcoder",
	              missing, "active_features", (json_int_t)g->n_active,
	              "features", (json_int_t)g->n_features, "stopped",
	              a->stopped, "replacement_score", s->replacement,
	              "completeness_score", s->completeness,
	              "influence_from_features", s->from_features,
	              "influence_from_errors", s->from_errors,
	              "influence_from_tokens", s->from_tokens, "targets",
	              targets_of(g, t, e));
	if (o && a->neurons)
		json_object_set_new(o, "neurons",
		                    json_integer((json_int_t)a->neurons));
	if (o && a->command)
		json_object_set_new(o, "command", json_string(a->command));
	if (o && a->check)
		json_object_set_new(o, "validation", check_json(a->check));
	return o;
}

json_t *attrgraph_metadata(const struct attr_graph *g,
                           const struct attrgraph_about *a,
                           const struct tok *t, struct err *e)
{
	json_t *m, *tokens, *info, *part;
	struct attr_scores s;
	size_t i;

	if (attr_score(g, &s, e) < 0)
		return NULL;
	tokens = json_array();
	for (i = 0; i < g->n_pos; i++)
		json_array_append_new(tokens, token_text(t, g->ids[i], e));
	info = json_pack("{s:{s:s,s:s}}", "generator", "name", "r1-interp "
	                 "attrgraph", "version", R1_VERSION);
	if (a->description)
		json_object_set_new(info, "description",
		                    json_string(a->description));
	m = json_pack("{s:s,s:s,s:[],s:o,s:o,s:f,s:i,s:o,s:{s:I,s:f,s:I,s:I,"
	              "s:I},s:{s:f,s:f},s:o}",
	              "slug", a->slug, "scan", a->scan, "transcoder_list",
	              "prompt_tokens", tokens, "prompt",
	              json_bytes(a->prompt, strlen(a->prompt), e),
	              "node_threshold", a->node_share, "schema_version", 1,
	              "info", info, "generation_settings", "max_n_logits",
	              (json_int_t)a->max_logits, "desired_logit_prob",
	              a->desired_prob, "batch_size", (json_int_t)a->opt->batch,
	              "max_feature_nodes", (json_int_t)a->opt->max_features,
	              "update_interval", (json_int_t)a->opt->update,
	              "pruning_settings", "node_threshold", a->node_share,
	              "edge_threshold", a->edge_share, "r1_interp",
	              details(g, a, &s, t, e));
	if (!m) {
		err_set(e, ERR_FORMAT, "the metadata cannot be made (a name or "
		        "command that is not UTF-8?)");
		return NULL;
	}
	if (a->source_set) {
		/* the data base reads the one, the viewer the other */
		part = json_pack("{s:s}", "neuronpedia_source_set",
		                 a->source_set);
		json_object_set_new(m, "feature_details", part);
		json_object_set_new(json_object_get(m, "info"),
		                    "neuronpedia_source_set",
		                    json_string(a->source_set));
	}
	return m;
}

/* ---- nodes ---- */

struct node {
	struct rec_graph_node n;
	char id[48], js[48];
	char *label;		/* for mem_free, or NULL */
};

static int64_t pair(int64_t layer, int64_t latent)
{
	return (layer + latent) * (layer + latent + 1) / 2 + latent;
}

/* The label of a target as the viewers take it apart: text, then "(p=". */
static char *target_label(const struct attr_target *t, const struct tok *tok,
                          struct err *e)
{
	json_t *a = NULL, *b = NULL;
	char *out = NULL;

	if (t->kind == ATTR_LATENT)
		return mem_printf(e, "Output \"latent %u of layer %u\" "
		                  "(p=%.3f)", t->id, t->layer,
		                  (double)t->weight);
	a = token_text(tok, t->id, e);
	b = t->kind == ATTR_DIFF ? token_text(tok, t->less, e) : NULL;
	if (a && b)
		out = mem_printf(e, "Output \"%s\" - \"%s\" (p=%.3f)",
		                 json_string_value(a), json_string_value(b),
		                 (double)t->weight);
	else if (a && t->kind == ATTR_TOKEN)
		out = mem_printf(e, "Output \"%s\" (p=%.3f)",
		                 json_string_value(a), (double)t->weight);
	json_decref(a);
	json_decref(b);
	return out;
}

static int make_target(const struct attr_graph *g, size_t i,
                       const struct tok *t, struct node *out, struct err *e)
{
	const struct attr_target *x = &g->target[i];
	unsigned layer = (unsigned)g->n_layers + 1;
	uint32_t id = x->kind == ATTR_TOKEN ? x->id
	                                    : tok_n_vocab(t) + (uint32_t)i;

	out->n.type = "logit";
	out->n.layer = (int32_t)layer;
	out->n.feature = id;
	out->n.probability = (double)x->weight;
	out->n.target = i == 0;
	snprintf(out->id, sizeof(out->id), "%u_%u_%u", layer, id, x->pos);
	snprintf(out->js, sizeof(out->js), "L_%u-%u", id, x->pos);
	out->label = target_label(x, t, e);
	return out->label ? 0 : -1;
}

static int make_feature(const struct attr_graph *g, size_t i,
                        struct attrgraph_labels *labels, struct node *out,
                        struct err *e)
{
	const struct attr_feature *f = &g->feature[i];

	out->n.type = "cross layer transcoder";
	out->n.feature = pair(f->layer, f->latent);
	out->n.activation = (double)f->value;
	snprintf(out->id, sizeof(out->id), "%u_%u_%u", f->layer, f->latent,
	         f->pos);
	snprintf(out->js, sizeof(out->js), "%u_%u-0", f->layer, f->latent);
	if (g->neurons[f->layer]) {
		out->label = mem_printf(e, "neuron %u", f->latent);
		return out->label ? 0 : -1;
	}
	return labels ? attrgraph_label(labels, f->layer, f->latent,
	                                &out->label, e) : 0;
}

/* Node i into out, whose id is its own memory. */
static int make_node(const struct attr_graph *g, const struct attr_pruned *p,
                     size_t i, const struct tok *t,
                     struct attrgraph_labels *labels, struct node *out,
                     struct err *e)
{
	size_t errors = g->n_features, tokens = errors + g->n_layers * g->n_pos;
	unsigned pos;
	int layer, rc = 0;
	size_t at;

	memset(out, 0, sizeof(*out));
	attr_node_place(g, i, &layer, &at);
	pos = (unsigned)at;
	out->n.layer = layer;
	out->n.position = (int32_t)pos;
	out->n.influence = p->cumulative[i];
	out->n.activation = NAN;
	out->n.feature = -1;
	if (i < errors) {
		rc = make_feature(g, i, labels, out, e);
	} else if (i < tokens) {
		out->n.type = "mlp reconstruction error";
		snprintf(out->id, sizeof(out->id), "%d_-1_%u", layer, pos);
		snprintf(out->js, sizeof(out->js), "%d_-1-%u", layer, pos);
	} else if (i < tokens + g->n_pos) {
		out->n.type = "embedding";
		out->n.feature = pos;
		snprintf(out->id, sizeof(out->id), "E_%u_%u", g->ids[pos], pos);
		snprintf(out->js, sizeof(out->js), "E_%u-%u", g->ids[pos], pos);
	} else {
		rc = make_target(g, i - tokens - g->n_pos, t, out, e);
	}
	if (rc < 0)
		return -1;
	out->n.id = out->id;
	out->n.label = out->label ? out->label : "";
	return 0;
}

/* ---- JSON ---- */

struct out {
	attrgraph_put *put;
	void *ctx;
	char buf[1 << 14];
	size_t n;
};

static int flush(struct out *o, struct err *e)
{
	int rc = o->n ? o->put(o->ctx, o->buf, o->n, e) : 0;

	o->n = 0;
	return rc;
}

static int put(struct out *o, const char *s, size_t n, struct err *e)
{
	if (o->n + n > sizeof(o->buf) && flush(o, e))
		return -1;
	if (n > sizeof(o->buf))
		return o->put(o->ctx, s, n, e) ? -1 : 0;
	memcpy(o->buf + o->n, s, n);
	o->n += n;
	return 0;
}

/* Short pieces: under 1 KiB. */
static int say(struct out *o, struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static int say(struct out *o, struct err *e, const char *fmt, ...)
{
	char part[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(part, sizeof(part), fmt, ap);
	va_end(ap);
	return put(o, part, (size_t)n, e);
}

static int put_json(struct out *o, const json_t *j, struct err *e)
{
	char *text = json_dumps(j, JSON_ENCODE_ANY | JSON_COMPACT |
	                        JSON_REAL_PRECISION(9));
	int rc;

	if (!text)
		return err_set(e, ERR_MEM, "no memory for JSON");
	rc = put(o, text, strlen(text), e);
	free(text);
	return rc;
}

static int json_node(struct out *o, const struct node *x, struct err *e)
{
	const struct rec_graph_node *n = &x->n;
	char layer[16] = "E", feature[24] = "null";
	json_t *label;
	int rc;

	if (n->layer >= 0)
		snprintf(layer, sizeof(layer), "%d", n->layer);
	if (n->feature >= 0)
		snprintf(feature, sizeof(feature), "%lld",
		         (long long)n->feature);
	if (!(label = json_bytes(n->label, strlen(n->label), e)))
		return -1;
	rc = say(o, e, "{\"node_id\":\"%s\",\"feature\":%s,\"layer\":\"%s\","
	         "\"ctx_idx\":%d,\"feature_type\":\"%s\",\"token_prob\":%.9g,"
	         "\"is_target_logit\":%s,\"run_idx\":0,\"reverse_ctx_idx\":0,"
	         "\"jsNodeId\":\"%s\",\"influence\":%.9g,\"activation\":",
	         n->id, feature, layer, n->position, n->type, n->probability,
	         n->target ? "true" : "false", x->js, n->influence);
	if (rc == 0)
		rc = isnan(n->activation) ? put(o, "null", 4, e)
		                          : say(o, e, "%.9g", n->activation);
	if (rc == 0)
		rc = put(o, ",\"clerp\":", 9, e);
	if (rc == 0)
		rc = put_json(o, label, e);
	json_decref(label);
	return rc < 0 ? -1 : put(o, "}", 1, e);
}

static int json_nodes(struct out *o, const struct attr_graph *g,
                      const struct attr_pruned *p, const struct tok *t,
                      struct attrgraph_labels *labels, struct err *e)
{
	struct node x;
	size_t i;
	int some = 0, rc;

	for (i = 0; i < g->n_nodes; i++) {
		if (!p->keep[i])
			continue;
		if (make_node(g, p, i, t, labels, &x, e) < 0 ||
		    put(o, ",\n", some++ ? 2 : 0, e) < 0)
			return -1;
		rc = json_node(o, &x, e);
		mem_free(x.label);
		if (rc < 0)
			return -1;
	}
	return 0;
}

static int json_links(struct out *o, const struct attr_graph *g,
                      const struct attr_pruned *p, const struct tok *t,
                      struct err *e)
{
	size_t rows = g->n_features + g->n_targets, i, j;
	struct node target, source;
	int some = 0;

	for (i = 0; i < rows; i++) {
		if (p->first[i] == p->first[i + 1])
			continue;
		if (make_node(g, p, attr_row_node(g, i), t, NULL, &target,
		              e) < 0)
			return -1;
		mem_free(target.label);
		for (j = p->first[i]; j < p->first[i + 1]; j++) {
			if (make_node(g, p, p->edge[j].source, t, NULL,
			              &source, e) < 0 ||
			    say(o, e, "%s{\"source\":\"%s\",\"target\":\"%s\","
			        "\"weight\":%.9g}", some++ ? ",\n" : "",
			        source.id, target.id,
			        (double)p->edge[j].weight) < 0)
				return -1;
		}
	}
	return 0;
}

int attrgraph_write_json(const struct attr_graph *g,
                         const struct attr_pruned *p, const json_t *metadata,
                         const struct tok *t, struct attrgraph_labels *labels,
                         attrgraph_put *fn, void *ctx, struct err *e)
{
	static const char middle[] = ",\n\"qParams\":{\"pinnedIds\":[],"
		"\"supernodes\":[],\"linkType\":\"both\",\"clickedId\":\"\","
		"\"sg_pos\":\"\"},\n\"nodes\":[";
	struct out o = { .put = fn, .ctx = ctx };

	if (put(&o, "{\"metadata\":", 12, e) < 0 ||
	    put_json(&o, metadata, e) < 0 ||
	    put(&o, middle, sizeof(middle) - 1, e) < 0 ||
	    json_nodes(&o, g, p, t, labels, e) < 0 ||
	    put(&o, "],\n\"links\":[", 12, e) < 0 ||
	    json_links(&o, g, p, t, e) < 0 || put(&o, "]}\n", 3, e) < 0)
		return -1;
	return flush(&o, e) ? -1 : 0;
}

/* ---- graph/1 ---- */

static int record_nodes(const struct attr_graph *g,
                        const struct attr_pruned *p, const struct tok *t,
                        struct attrgraph_labels *labels, uint32_t *number,
                        struct stream_out *s, struct err *e)
{
	struct node *x = mem_array(NODES, sizeof(*x), e);
	struct rec_graph_node *list = mem_array(NODES, sizeof(*list), e);
	size_t i, n = 0, m = 0;
	int rc = x && list ? 0 : -1;

	for (i = 0; rc == 0 && i < g->n_nodes; i++) {
		if (p->keep[i]) {
			number[i] = (uint32_t)m++;
			rc = make_node(g, p, i, t, labels, &x[n], e);
			if (rc == 0)
				list[n] = x[n].n;
			n += rc == 0;
		}
		if (rc == 0 && (n == NODES || (n && i + 1 == g->n_nodes))) {
			rc = rec_graph_put_nodes(s, list, n, e);
			while (n)
				mem_free(x[--n].label);
		}
	}
	while (n)
		mem_free(x[--n].label);
	mem_free(x);
	mem_free(list);
	return rc;
}

static int record_links(const struct attr_graph *g,
                        const struct attr_pruned *p, const uint32_t *number,
                        struct stream_out *s, struct err *e)
{
	size_t rows = g->n_features + g->n_targets, i, j, n = 0;
	uint32_t source[LINKS], target[LINKS];
	float weight[LINKS];

	for (i = 0; i < rows; i++)
		for (j = p->first[i]; j < p->first[i + 1]; j++) {
			source[n] = number[p->edge[j].source];
			target[n] = number[attr_row_node(g, i)];
			weight[n++] = p->edge[j].weight;
			if (n < LINKS)
				continue;
			if (rec_graph_put_links(s, source, target, weight, n,
			                        e) < 0)
				return -1;
			n = 0;
		}
	return n ? rec_graph_put_links(s, source, target, weight, n, e) : 0;
}

int attrgraph_write_records(const struct attr_graph *g,
                            const struct attr_pruned *p,
                            const json_t *metadata, const struct tok *t,
                            struct attrgraph_labels *labels,
                            struct stream_out *s, struct err *e)
{
	uint32_t *number = mem_array(g->n_nodes, sizeof(*number), e);
	int rc = -1;

	if (number && rec_graph_begin(s, metadata, e) == 0 &&
	    record_nodes(g, p, t, labels, number, s, e) == 0)
		rc = record_links(g, p, number, s, e);
	mem_free(number);
	return rc;
}
