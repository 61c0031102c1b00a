/* Neuronpedia: the tree its importer takes, and bodies of uploads. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "gz.h"
#include "json.h"
#include "mem.h"
#include "publish_impl.h"
#include "sha256.h"

enum {
	HIST = 50,		/* bars of the histogram */
	BLOCK = 1024,		/* latents of a file of the tree */
	LOGITS_MAX = 20,	/* of an upload, at each end */
	TOKENS_MAX = 1024	/* of a context of an upload */
};

enum { FEATURES, ACTIVATIONS, EXPLANATIONS, N_FILES };
static const char *const folders[N_FILES] = {
	"features", "activations", "explanations"
};

struct np {
	struct publish_opt o;
	struct examples_head h;		/* without its parts */
	char *dir;		/* of the layer at hand, NULL between layers */
	char source[160];	/* LAYER-SET */
	/* the tree: files of the block at hand, begun with their first line */
	struct gz_out *file[N_FILES];
	uint32_t block;
	/* batches */
	struct text body;
	uint32_t n_features, n_batches;
	struct text line;
};

void *publish_np_new(const struct publish_opt *o, struct err *e)
{
	struct np *p;

	if (publish_check_model(o->name, "the model's name", e) < 0 ||
	    publish_check_set(o->set, "the source set's name", e) < 0 ||
	    !(p = mem_array(1, sizeof(*p), e)))
		return NULL;
	p->o = *o;
	return p;
}

void publish_np_free(void *ctx)
{
	struct np *p = ctx;
	size_t i;

	if (!p)
		return;
	for (i = 0; i < N_FILES; i++)
		gz_out_free(p->file[i]);
	mem_free(p->dir);
	mem_free(p->body.s);
	mem_free(p->line.s);
	mem_free(p);
}

/* ---- pieces of JSON ---- */

static int put_cstr(struct text *t, const char *s, struct err *e)
{
	return s ? publish_put_str(t, s, strlen(s), PUBLISH_REPLACE, e)
	         : text_str(t, "null", e);
}

/* ,"key":"value" */
static int put_pair(struct text *t, const char *key, const char *value,
                    struct err *e)
{
	return text_str(t, t->n && t->s[t->n - 1] == '{' ? "\"" : ",\"", e) |
	       text_str(t, key, e) | text_str(t, "\":", e) |
	       put_cstr(t, value, e);
}

static int put_uints(struct text *t, const uint32_t *v, size_t n,
                     struct err *e)
{
	int rc = text_add(t, "[", 1, e);
	size_t i;

	for (i = 0; rc == 0 && i < n; i++)
		rc = (i ? text_add(t, ",", 1, e) : 0) |
		     publish_put_int(t, v[i], e);
	return rc == 0 ? text_add(t, "]", 1, e) : -1;
}

/* The first 24 digits of a digest: an id that the same context always has. */
static int put_id(const struct np *p, struct text *t, const char *of,
                  const char *what, uint32_t latent, struct err *e)
{
	char hex[SHA256_HEX];
	char *all = mem_printf(e, "%s/%s/%s/%u/%s/%s", p->h.transcoders,
	                       p->o.name, p->source, latent, what, of);
	int rc = all ? sha256_bytes(all, strlen(all), hex, e) : -1;

	mem_free(all);
	if (rc < 0)
		return -1;
	hex[24] = 0;
	return put_cstr(t, hex, e);
}

/* Where an interval of the sample begins and ends. */
static double edge(const struct np *p, const struct examples_latent *l,
                   uint32_t stratum)
{
	return stratum >= p->h.n_strata ? (double)l->s.max
	       : stratum == 0 ? 0
	       : examples_quantile(&l->s, stratum / (double)p->h.n_strata);
}

/* ---- the tree ---- */

static int put_line(struct np *p, int which, struct err *e)
{
	char *path;

	if (!p->file[which]) {
		path = mem_printf(e, "%s/%s/batch-%u.jsonl.gz", p->dir,
		                  folders[which], p->block);
		if (path && file_mkparents(path, e) == 0)
			p->file[which] = gz_out_new(path, e);
		mem_free(path);
	}
	return p->file[which] && text_add(&p->line, "\n", 1, e) == 0
	       ? gz_out_write(p->file[which], p->line.s, p->line.n, e) : -1;
}

static int end_block(struct np *p, struct err *e)
{
	size_t i;

	for (i = 0; i < N_FILES; i++) {
		if (p->file[i] && gz_out_commit(p->file[i], e) < 0)
			return -1;
		gz_out_free(p->file[i]);
		p->file[i] = NULL;
	}
	return 0;
}

static int where(struct np *p, const struct examples_latent *l, struct err *e)
{
	char index[16];

	snprintf(index, sizeof(index), "%u", l->latent);
	return put_pair(&p->line, "modelId", p->o.name, e) |
	       put_pair(&p->line, "layer", p->source, e) |
	       put_pair(&p->line, "index", index, e);
}

static int put_hist(struct text *t, const struct examples_latent *l,
                    struct err *e)
{
	double bin[HIST];
	int rc, i;

	publish_hist(&l->s, bin, HIST);
	rc = text_str(t, ",\"freq_hist_data_bar_heights\":[", e);
	for (i = 0; i < HIST; i++)
		rc |= (i ? text_add(t, ",", 1, e) : 0) |
		      publish_put_real(t, bin[i], e);
	rc |= text_str(t, "],\"freq_hist_data_bar_values\":[", e);
	for (i = 0; i < HIST; i++)
		rc |= (i ? text_add(t, ",", 1, e) : 0) |
		      publish_put_real(t, (i + 0.5) / HIST * (double)l->s.max,
		                       e);
	return rc | text_add(t, "]", 1, e);
}

static int put_feature(struct np *p, const struct examples_latent *l,
                       struct err *e)
{
	struct text *t = &p->line;
	const struct tok *k = p->o.tok;
	char hook[64];
	int rc;

	snprintf(hook, sizeof(hook), "blocks.%u.hook_mlp_out", l->layer);
	t->n = 0;
	rc = text_add(t, "{", 1, e) | where(p, l, e) |
	     put_pair(t, "sourceSetName", p->o.set, e) |
	     put_pair(t, "creatorId", p->o.creator, e) |
	     text_str(t, ",\"maxActApprox\":", e) |
	     publish_put_real(t, (double)l->s.max, e) |
	     text_str(t, ",\"hasVector\":false,\"vector\":[],\"vectorLabel\":"
	              "null,\"vectorDefaultSteerStrength\":null", e) |
	     put_pair(t, "hookName", hook, e) |
	     text_str(t, ",\"topkCosSimIndices\":", e) |
	     put_uints(t, l->near_id, l->n_near, e) |
	     text_str(t, ",\"topkCosSimValues\":", e) |
	     publish_put_reals(t, l->near_cos, l->n_near, e) |
	     text_str(t, ",\"neuron_alignment_indices\":[],"
	              "\"neuron_alignment_values\":[],"
	              "\"neuron_alignment_l1\":[],"
	              "\"correlated_neurons_indices\":[],"
	              "\"correlated_neurons_pearson\":[],"
	              "\"correlated_neurons_l1\":[],"
	              "\"correlated_features_indices\":[],"
	              "\"correlated_features_pearson\":[],"
	              "\"correlated_features_l1\":[],\"neg_str\":", e) |
	     publish_put_tokens(t, k, l->bottom_id, l->n_logits,
	                        PUBLISH_REPLACE, e) |
	     text_str(t, ",\"neg_values\":", e) |
	     publish_put_reals(t, l->bottom_logit, l->n_logits, e) |
	     text_str(t, ",\"pos_str\":", e) |
	     publish_put_tokens(t, k, l->top_id, l->n_logits,
	                        PUBLISH_REPLACE, e) |
	     text_str(t, ",\"pos_values\":", e) |
	     publish_put_reals(t, l->top_logit, l->n_logits, e) |
	     text_str(t, ",\"frac_nonzero\":", e) |
	     publish_put_real(t, l->d.frequency, e) | put_hist(t, l, e) |
	     text_str(t, ",\"logits_hist_data_bar_heights\":[],"
	              "\"logits_hist_data_bar_values\":[],"
	              "\"decoder_weights_dist\":[]}", e);
	return rc ? -1 : put_line(p, FEATURES, e);
}

/* The peak of a window is not always its largest value. */
static void extremes(const struct examples_one *x, uint32_t *max, float *min)
{
	uint32_t i;

	for (*max = 0, *min = x->acts[0], i = 1; i < x->n; i++) {
		if (x->acts[i] > x->acts[*max])
			*max = i;
		if (x->acts[i] < *min)
			*min = x->acts[i];
	}
}

static int put_activation(struct np *p, const struct examples_latent *l,
                          enum examples_list list,
                          const struct examples_one *x, struct err *e)
{
	struct text *t = &p->line;
	double lo = -1, hi = -1, share = -1;	/* the top, as they mark it */
	char of[64];
	uint32_t max;
	float min;
	int rc;

	if (list == EXAMPLES_SAMPLE) {
		lo = edge(p, l, x->stratum);
		hi = edge(p, l, x->stratum + 1);
		share = 1.0 / p->h.n_strata;
	}
	extremes(x, &max, &min);
	snprintf(of, sizeof(of), "%llx.%llu.%u",
	         (unsigned long long)x->origin, (unsigned long long)x->seq,
	         x->pos);
	t->n = 0;
	rc = text_str(t, "{\"id\":", e) |
	     put_id(p, t, of, list == EXAMPLES_TOP ? "top" : "sample",
	            l->latent, e) |
	     text_str(t, ",\"tokens\":", e) |
	     publish_put_tokens(t, p->o.tok, x->ids, x->n, PUBLISH_REPLACE, e) |
	     where(p, l, e) | put_pair(t, "creatorId", p->o.creator, e) |
	     put_pair(t, "dataSource", p->o.dataset, e) |
	     text_str(t, ",\"dataIndex\":null,\"maxValue\":", e) |
	     publish_put_real(t, (double)x->acts[max], e) |
	     text_str(t, ",\"maxValueTokenIndex\":", e) |
	     publish_put_int(t, max, e) | text_str(t, ",\"minValue\":", e) |
	     publish_put_real(t, (double)min, e) |
	     text_str(t, ",\"values\":", e) |
	     publish_put_reals(t, x->acts, x->n, e) |
	     text_str(t, ",\"dfaValues\":[],\"dfaTargetIndex\":null,"
	              "\"dfaMaxValue\":null,\"lossValues\":[],"
	              "\"logitContributions\":null,\"binMin\":", e) |
	     publish_put_real(t, lo, e) | text_str(t, ",\"binMax\":", e) |
	     publish_put_real(t, hi, e) | text_str(t, ",\"binContains\":", e) |
	     publish_put_real(t, share, e) |
	     text_str(t, ",\"qualifyingTokenIndex\":", e) |
	     publish_put_int(t, x->at, e) | text_add(t, "}", 1, e);
	return rc ? -1 : put_line(p, ACTIVATIONS, e);
}

static int put_explanation(struct np *p, const struct examples_latent *l,
                           const char *label, struct err *e)
{
	struct text *t = &p->line;
	int rc;

	t->n = 0;
	rc = text_str(t, "{\"id\":", e) |
	     put_id(p, t, label, "explanation", l->latent, e) | where(p, l, e) |
	     put_pair(t, "description", label, e) |
	     put_pair(t, "authorId", p->o.creator, e) |
	     put_pair(t, "typeName", p->o.method, e) |
	     put_pair(t, "explanationModelName", p->o.explainer, e) |
	     text_str(t, ",\"notes\":null}", e);
	return rc ? -1 : put_line(p, EXPLANATIONS, e);
}

/* A label, 1; none, 0. */
static int label_of(const struct np *p, const struct examples_latent *l,
                    const char **label, struct err *e)
{
	return p->o.labels ? publish_label(p->o.labels, l->layer, l->latent,
	                                   label, e) : 0;
}

static int tree_latent(struct np *p, const struct examples_latent *l,
                       struct err *e)
{
	static const enum examples_list lists[] = { EXAMPLES_TOP,
	                                            EXAMPLES_SAMPLE };
	const char *label;
	size_t i, j;
	int got;

	if (l->latent / BLOCK != p->block && end_block(p, e) < 0)
		return -1;
	p->block = l->latent / BLOCK;
	if (put_feature(p, l, e) < 0)
		return -1;
	for (i = 0; i < 2; i++)
		for (j = 0; j < l->n[lists[i]]; j++)
			if (put_activation(p, l, lists[i],
			                   &l->list[lists[i]][j], e) < 0)
				return -1;
	got = label_of(p, l, &label, e);
	return got > 0 ? put_explanation(p, l, label, e) : got;
}

static int write_line(const struct np *p, const char *name, json_t *j,
                      struct err *e)
{
	char *path = mem_printf(e, "%s/%s.jsonl", p->dir, name);
	char *s = j ? json_dumps(j, JSON_COMPACT) : NULL;
	char *line = s ? mem_printf(e, "%s\n", s) : NULL;
	int rc = -1;

	if (!s)
		err_set(e, ERR_FORMAT, "%s.jsonl: a name that is not UTF-8, or "
		        "no memory", name);
	else if (path && line)
		rc = file_write(path, line, strlen(line), e);
	json_decref(j);
	free(s);
	mem_free(line);
	mem_free(path);
	return rc;
}

static int tree_clear(const struct np *p, struct err *e)
{
	int i, rc = 0;

	for (i = 0; rc == 0 && i < N_FILES; i++) {
		char *dir = mem_printf(e, "%s/%s", p->dir, folders[i]);

		rc = dir ? publish_clear(dir, "batch-*.jsonl.gz", e) : -1;
		mem_free(dir);
	}
	return rc;
}

static json_t *urls_of(const struct np *p)
{
	return p->o.url ? json_pack("[s]", p->o.url) : json_array();
}

/* What the rows of the tree belong to. The model is as deep as the last layer
 * that there is; a model that is known already stays as it is. */
static int tree_head(struct np *p, uint32_t layer, struct err *e)
{
	const struct publish_opt *o = &p->o;
	const char *author = o->author ? o->author : o->creator;
	const char *release = o->release ? o->release : o->set;
	json_int_t n = (json_int_t)p->h.layers[p->h.n_layers - 1] + 1;
	json_t *note = json_sprintf("latents of the MLP of layer %u", layer);

	if (write_line(p, "release", json_pack(
		"{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:b,s:b,s:o,s:n,s:n,s:n,s:[]}",
		"name", release, "description", release, "descriptionShort",
		release, "creatorName", author, "creatorNameShort", author,
		"creatorId", o->creator, "visibility", "PUBLIC", "isNewUi", 0,
		"featured", 0, "urls", urls_of(p), "creatorEmail",
		"defaultSourceSetName", "defaultSourceId",
		"defaultUmapSourceIds"), e) < 0 ||
	    write_line(p, "model", json_pack(
		"{s:s,s:b,s:s,s:s,s:s,s:n,s:n,s:s,s:n,s:n,s:b,s:I,s:i,s:s,s:n}",
		"id", o->name, "instruct", 0, "creatorId", o->creator,
		"displayNameShort", o->name, "displayName", o->name, "tlensId",
		"dimension", "visibility", "PUBLIC", "defaultSourceSetName",
		"defaultSourceId", "inferenceEnabled", 0, "layers", n,
		"neuronsPerLayer", 0, "owner", author, "website"), e) < 0 ||
	    write_line(p, "sourceset", json_pack(
		"{s:s,s:s,s:s,s:b,s:s,s:s,s:s,s:s,s:o,s:n,s:s,s:n,s:i,s:b,s:b,"
		"s:b,s:b,s:b}",
		"modelId", o->name, "name", o->set, "creatorId", o->creator,
		"hasDashboards", 1, "visibility", "PUBLIC", "description",
		o->set, "type", "transcoder", "creatorName", author, "urls",
		urls_of(p), "creatorEmail", "releaseName", release,
		"defaultOfModelId", "defaultRange", 1, "defaultShowBreaks", 1,
		"showDfa", 0, "showCorrelated", 0, "showHeadAttribution", 0,
		"showUmap", 0), e) < 0 ||
	    write_line(p, "source", json_pack(
		"{s:s,s:s,s:s,s:s,s:b,s:b,s:n,s:n,s:n,s:s?,s:s?,s:s,s:n,s:b,"
		"s:b,s:b,s:I,s:I,s:s?,s:O}",
		"id", p->source, "modelId", o->name, "setName", o->set,
		"creatorId", o->creator, "hasDashboards", 1,
		"inferenceEnabled", 0, "saelensConfig", "saelensRelease",
		"saelensSaeId", "hfRepoId", o->hub, "hfFolderId", o->hub_path,
		"visibility", "PUBLIC", "defaultOfModelId", "hasUmap", 0,
		"hasUmapLogSparsity", 0, "hasUmapClusters", 0, "num_prompts",
		(json_int_t)p->h.n_seqs, "num_tokens_in_prompt",
		(json_int_t)p->h.tokens.n_ctx, "dataset", o->dataset, "notes",
		note), e) < 0) {
		json_decref(note);
		return -1;
	}
	json_decref(note);
	return 0;
}

/* ---- batches ---- */

static int put_logits(struct np *p, const char *key, const uint32_t *id,
                      const float *value, size_t n, struct err *e)
{
	struct text *t = &p->body;
	int rc = text_str(t, ",\"", e) | text_str(t, key, e) |
	         text_str(t, "\":[", e);
	size_t i;

	for (i = 0; rc == 0 && i < n && i < LOGITS_MAX; i++)
		rc = text_str(t, i ? ",{\"token\":" : "{\"token\":", e) |
		     publish_put_token(t, p->o.tok, id[i], PUBLISH_REPLACE,
		                       e) |
		     text_str(t, ",\"value\":", e) |
		     publish_put_real(t, (double)value[i], e) |
		     text_add(t, "}", 1, e);
	return rc | text_add(t, "]", 1, e);
}

/* The strongest are an interval of their own, above the sample's. */
static int put_sent(struct np *p, const struct examples_latent *l,
                    enum examples_list list, struct err *e)
{
	struct text *t = &p->body;
	size_t n = l->n[list], i;
	int rc = 0;

	for (i = 0; rc == 0 && i < n; i++) {
		const struct examples_one *x = &l->list[list][i];
		int top = list == EXAMPLES_TOP;
		double lo = top ? (double)l->list[list][n - 1].value
		                : edge(p, l, x->stratum);
		double hi = top ? (double)l->s.max
		                : edge(p, l, x->stratum + 1);
		double share = top ? (double)n / (double)l->s.n_fired
		                   : 1.0 / p->h.n_strata;

		rc = text_str(t, t->s[t->n - 1] == '[' ? "{\"tokens\":"
		                                       : ",{\"tokens\":", e) |
		     publish_put_tokens(t, p->o.tok, x->ids, x->n,
		                        PUBLISH_REPLACE, e) |
		     text_str(t, ",\"values\":", e) |
		     publish_put_reals(t, x->acts, x->n, e) |
		     text_str(t, ",\"quantileMin\":", e) |
		     publish_put_real(t, lo, e) |
		     text_str(t, ",\"quantileMax\":", e) |
		     publish_put_real(t, hi, e) |
		     text_str(t, ",\"quantileFraction\":", e) |
		     publish_put_real(t, share < 1 ? share : 1, e) |
		     text_add(t, "}", 1, e);
	}
	return rc;
}

static int put_sent_label(struct np *p, const struct examples_latent *l,
                          struct err *e)
{
	struct text *t = &p->body;
	const char *label;
	int got = label_of(p, l, &label, e), rc;

	if (got <= 0)
		return got;
	rc = text_str(t, "{\"text\":", e) | put_cstr(t, label, e) |
	     put_pair(t, "methodName", p->o.method, e) |
	     put_pair(t, "modelName", p->o.explainer, e) |
	     text_add(t, "}", 1, e);
	return rc;
}

static int put_member(struct np *p, const struct examples_latent *l,
                      struct err *e)
{
	struct text *t = &p->body;

	return text_str(t, p->n_features ? ",{\"index\":" : "{\"index\":", e) |
	       publish_put_int(t, l->latent, e) |
	       text_str(t, ",\"density\":", e) |
	       publish_put_real(t, l->d.frequency, e) |
	       put_logits(p, "topLogits", l->top_id, l->top_logit,
	                  l->n_logits, e) |
	       put_logits(p, "bottomLogits", l->bottom_id, l->bottom_logit,
	                  l->n_logits, e) |
	       text_str(t, ",\"explanations\":[", e) |
	       put_sent_label(p, l, e) | text_str(t, "],\"activations\":[", e) |
	       put_sent(p, l, EXAMPLES_TOP, e) |
	       put_sent(p, l, EXAMPLES_SAMPLE, e) | text_str(t, "]}", e);
}

static int begin_batch(struct np *p, struct err *e)
{
	p->n_features = 0;
	p->body.n = 0;
	return text_add(&p->body, "{", 1, e) |
	       put_pair(&p->body, "modelId", p->o.name, e) |
	       put_pair(&p->body, "source", p->source, e) |
	       text_str(&p->body, ",\"features\":[", e);
}

static int end_batch(struct np *p, struct err *e)
{
	char *path;
	json_t *j = NULL;
	int rc = -1;

	if (!p->n_features)
		return 0;
	path = mem_printf(e, "%s/batch-%05u.json", p->dir, p->n_batches++);
	if (path && text_str(&p->body, "]}\n", e) == 0 &&
	    (j = json_parse(p->body.s, p->body.n, path, e)) &&
	    (publish_check_batch(j, e) == 0 || err_wrap(e, "%s", path) == 0))
		rc = file_write(path, p->body.s, p->body.n, e);
	json_decref(j);
	mem_free(path);
	return rc < 0 ? -1 : begin_batch(p, e);
}

static int batch_latent(struct np *p, const struct examples_latent *l,
                        struct err *e)
{
	size_t had = p->body.n;

	if (!l->n[EXAMPLES_TOP] && !l->n[EXAMPLES_SAMPLE])
		return 0;	/* a feature without activations is refused */
	if (put_member(p, l, e) < 0)
		return -1;
	if (p->n_features && p->body.n > PUBLISH_BATCH_BYTES) {
		p->body.n = had;
		if (end_batch(p, e) < 0 || put_member(p, l, e) < 0)
			return -1;
	}
	p->n_features++;
	return p->n_features == p->o.batch ? end_batch(p, e) : 0;
}

/* ---- the sink ---- */

static int begin(void *ctx, const struct examples_head *h, struct err *e)
{
	struct np *p = ctx;

	p->h = *h;
	p->h.parts = NULL;
	if (p->o.to == PUBLISH_BATCHES && h->before + h->after >= TOKENS_MAX)
		return err_set(e, ERR_RANGE, "contexts of up to %u tokens, "
		               "Neuronpedia takes %d", h->before + h->after + 1,
		               TOKENS_MAX);
	return 0;
}

static int begin_layer(struct np *p, uint32_t layer, struct err *e)
{
	snprintf(p->source, sizeof(p->source), "%u-%s", layer, p->o.set);
	p->dir = p->o.to == PUBLISH_TREE
	         ? mem_printf(e, "%s/v1/%s/%s", p->o.out, p->o.name, p->source)
	         : mem_printf(e, "%s/%s", p->o.out, p->source);
	if (!p->dir || file_mkdirs(p->dir, e) < 0)
		return -1;
	p->block = p->n_batches = 0;
	if (p->o.to == PUBLISH_TREE)
		return tree_clear(p, e) < 0 ? -1 : tree_head(p, layer, e);
	return publish_clear(p->dir, "batch-*.json", e) < 0
	       ? -1 : begin_batch(p, e);
}

static int latent(void *ctx, const struct examples_latent *l, struct err *e)
{
	struct np *p = ctx;

	if (!p->dir && begin_layer(p, l->layer, e) < 0)
		return -1;
	if (!l->s.n_fired)
		return 0;
	return p->o.to == PUBLISH_TREE ? tree_latent(p, l, e)
	                               : batch_latent(p, l, e);
}

static int layer(void *ctx, const struct examples_layer *y, struct err *e)
{
	struct np *p = ctx;
	int rc = p->o.to == PUBLISH_TREE ? end_block(p, e) : end_batch(p, e);

	(void)y;
	mem_free(p->dir);
	p->dir = NULL;
	return rc;
}

struct feat_sink publish_np_sink(void *ctx)
{
	return (struct feat_sink){ begin, latent, layer, NULL, ctx };
}
