/* Neuronpedia's tree: v1/MODEL/SOURCE/, which its importer takes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "mem.h"
#include "publish_np.h"

enum {
	HIST = 50,		/* bars of the histogram */
	BLOCK = 1024		/* latents of a file */
};

enum { FEATURES, ACTIVATIONS, EXPLANATIONS };
static const char *const folders[PUBLISH_NP_FILES] = {
	"features", "activations", "explanations"
};

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

static int put_line(struct publish_np *p, int which, struct err *e)
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

int publish_tree_end(struct publish_np *p, struct err *e)
{
	size_t i;

	for (i = 0; i < PUBLISH_NP_FILES; i++) {
		if (p->file[i] && gz_out_commit(p->file[i], e) < 0)
			return -1;
		gz_out_free(p->file[i]);
		p->file[i] = NULL;
	}
	return 0;
}

static int where(struct publish_np *p, const struct examples_latent *l,
                 struct err *e)
{
	char index[16];

	snprintf(index, sizeof(index), "%u", l->latent);
	return publish_np_pair(&p->line, "modelId", p->o.name, e) |
	       publish_np_pair(&p->line, "layer", p->source, e) |
	       publish_np_pair(&p->line, "index", index, e);
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

static int put_feature(struct publish_np *p, const struct examples_latent *l,
                       struct err *e)
{
	struct text *t = &p->line;
	const struct tok *k = p->o.tok;
	char hook[64];
	int rc;

	snprintf(hook, sizeof(hook), "blocks.%u.hook_mlp_out", l->layer);
	t->n = 0;
	rc = text_add(t, "{", 1, e) | where(p, l, e) |
	     publish_np_pair(t, "sourceSetName", p->o.set, e) |
	     publish_np_pair(t, "creatorId", p->o.creator, e) |
	     text_str(t, ",\"maxActApprox\":", e) |
	     publish_put_real(t, (double)l->s.max, e) |
	     text_str(t, ",\"hasVector\":false,\"vector\":[],\"vectorLabel\":"
	              "null,\"vectorDefaultSteerStrength\":null", e) |
	     publish_np_pair(t, "hookName", hook, e) |
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

static int put_activation(struct publish_np *p, const struct examples_latent *l,
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
		lo = publish_np_edge(p, l, x->stratum);
		hi = publish_np_edge(p, l, x->stratum + 1);
		share = 1.0 / p->h.n_strata;
	}
	extremes(x, &max, &min);
	snprintf(of, sizeof(of), "%llx.%llu.%u",
	         (unsigned long long)x->origin, (unsigned long long)x->seq,
	         x->pos);
	t->n = 0;
	rc = text_str(t, "{\"id\":", e) |
	     publish_np_id(p, t, of, list == EXAMPLES_TOP ? "top" : "sample",
	                   l->latent, e) |
	     text_str(t, ",\"tokens\":", e) |
	     publish_put_tokens(t, p->o.tok, x->ids, x->n, PUBLISH_REPLACE, e) |
	     where(p, l, e) | publish_np_pair(t, "creatorId", p->o.creator, e) |
	     publish_np_pair(t, "dataSource", p->o.dataset, e) |
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

static int put_explanation(struct publish_np *p, const struct examples_latent *l,
                           const char *label, struct err *e)
{
	struct text *t = &p->line;
	int rc;

	t->n = 0;
	rc = text_str(t, "{\"id\":", e) |
	     publish_np_id(p, t, label, "explanation", l->latent, e) | where(p, l, e) |
	     publish_np_pair(t, "description", label, e) |
	     publish_np_pair(t, "authorId", p->o.creator, e) |
	     publish_np_pair(t, "typeName", p->o.method, e) |
	     publish_np_pair(t, "explanationModelName", p->o.explainer, e) |
	     text_str(t, ",\"notes\":null}", e);
	return rc ? -1 : put_line(p, EXPLANATIONS, e);
}

int publish_tree_latent(struct publish_np *p, const struct examples_latent *l,
                        struct err *e)
{
	static const enum examples_list lists[] = { EXAMPLES_TOP,
	                                            EXAMPLES_SAMPLE };
	const char *label;
	size_t i, j;
	int got;

	if (l->latent / BLOCK != p->block && publish_tree_end(p, e) < 0)
		return -1;
	p->block = l->latent / BLOCK;
	if (put_feature(p, l, e) < 0)
		return -1;
	for (i = 0; i < 2; i++)
		for (j = 0; j < l->n[lists[i]]; j++)
			if (put_activation(p, l, lists[i],
			                   &l->list[lists[i]][j], e) < 0)
				return -1;
	got = publish_np_label(p, l, &label, e);
	return got > 0 ? put_explanation(p, l, label, e) : got;
}

static int write_line(const struct publish_np *p, const char *name, json_t *j,
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

static int tree_clear(const struct publish_np *p, struct err *e)
{
	int i, rc = 0;

	for (i = 0; rc == 0 && i < PUBLISH_NP_FILES; i++) {
		char *dir = mem_printf(e, "%s/%s", p->dir, folders[i]);

		rc = dir ? publish_clear(dir, "batch-*.jsonl.gz", e) : -1;
		mem_free(dir);
	}
	return rc;
}

static json_t *urls_of(const struct publish_np *p)
{
	return p->o.url ? json_pack("[s]", p->o.url) : json_array();
}

/* What the rows of the tree belong to. The model is as deep as the last layer
 * that there is; a model that is known already stays as it is. */
static int tree_head(struct publish_np *p, uint32_t layer, struct err *e)
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

int publish_tree_begin(struct publish_np *p, uint32_t layer, struct err *e)
{
	return tree_clear(p, e) < 0 ? -1 : tree_head(p, layer, e);
}
