/* What an evaluation found, as JSON and CSV; tceval(1) names the members. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval.h"
#include "json.h"
#include "mem.h"
#include "text.h"

/* ---- one layer's scalars, in order ---- */

enum how { MEAN_OF, SUM_OF, NEITHER };

struct scalar {
	const char *name;
	enum how over_layers;
	int effect;		/* also a member of "all" */
	double value;
	int whole;
};

enum { N_SCALARS = 26 };

static void scalars(const struct eval_layer *l, struct scalar *out)
{
	const struct eval_effect *r = &l->replaced, *z = &l->zero;
	const struct eval_effect *m = &l->mean;
	const struct scalar all[N_SCALARS] = {
		{ "layer", NEITHER, 0, l->layer, 1 },
		{ "n_latents", NEITHER, 0, (double)l->n_latents, 1 },
		{ "k", NEITHER, 0, (double)l->k, 1 },
		{ "fvu", MEAN_OF, 0, l->fvu, 0 },
		{ "fvu_all", MEAN_OF, 0, l->fvu_all, 0 },
		{ "outliers", SUM_OF, 0, (double)l->outliers, 1 },
		{ "outlier_share", MEAN_OF, 0, l->outlier_share, 0 },
		{ "l0", MEAN_OF, 0, l->l0, 0 },
		{ "dead", SUM_OF, 0, (double)l->dead, 1 },
		{ "dead_share", MEAN_OF, 0,
		  (double)l->dead / (double)l->n_latents, 0 },
		{ "train_dead_share", MEAN_OF, 0, l->train_dead_share, 0 },
		{ "act_mean", MEAN_OF, 0, l->act_mean, 0 },
		{ "act_max", MEAN_OF, 0, l->act_max, 0 },
		{ "ce", MEAN_OF, 1, r->ce, 0 },
		{ "ce_increase", MEAN_OF, 1, r->ce_increase, 0 },
		{ "ce_increase_se", NEITHER, 1, r->ce_increase_se, 0 },
		{ "kl", MEAN_OF, 1, r->kl, 0 },
		{ "top1", MEAN_OF, 1, r->top1, 0 },
		{ "ce_recovered", MEAN_OF, 1, l->recovered, 0 },
		{ "ce_recovered_mean", MEAN_OF, 1, l->recovered_mean, 0 },
		{ "zero_ce_increase", MEAN_OF, 1, z->ce_increase, 0 },
		{ "zero_kl", MEAN_OF, 1, z->kl, 0 },
		{ "zero_top1", MEAN_OF, 1, z->top1, 0 },
		{ "mean_ce_increase", MEAN_OF, 1, m->ce_increase, 0 },
		{ "mean_kl", MEAN_OF, 1, m->kl, 0 },
		{ "mean_top1", MEAN_OF, 1, m->top1, 0 },
	};

	memcpy(out, all, sizeof(all));
}

/* ---- JSON ---- */

static int bad(struct err *e)
{
	return err_set(e, ERR_MEM, "no memory for the report");
}

static json_t *number(double v, int whole)
{
	return whole ? json_integer((json_int_t)v) : json_finite(v);
}

json_t *eval_layer_json(const struct eval_layer *l, struct err *e)
{
	struct scalar s[N_SCALARS];
	json_t *obj = json_object(), *hist = json_array();
	int i, rc = 0;

	scalars(l, s);
	for (i = 0; i < N_SCALARS; i++)
		rc |= json_object_set_new(obj, s[i].name,
		                          number(s[i].value, s[i].whole));
	for (i = 0; i < EVAL_BINS; i++)
		rc |= json_array_append_new(hist,
			json_integer((json_int_t)l->freq_hist[i]));
	rc |= json_object_set_new(obj, "freq_hist", hist);
	if (rc) {
		json_decref(obj);
		bad(e);
		return NULL;
	}
	return obj;
}

/* The mean over the layers (or sum) of scalar i; NaN as soon as one is. */
static double over_layers(const struct eval_result *r, int i, enum how how)
{
	struct scalar s[N_SCALARS];
	double sum = 0;
	int l;

	for (l = 0; l < r->n; l++) {
		scalars(&r->layer[l], s);
		sum += s[i].value;
	}
	return how == SUM_OF ? sum : sum / r->n;
}

int eval_result_json(const struct eval_result *r, json_t *obj, struct err *e)
{
	json_t *edges = json_array(), *layers = json_array();
	json_t *mean = json_object(), *all = json_object();
	json_t *numbers = json_array(), *layer;
	struct scalar s[N_SCALARS];
	int i, rc = 0;

	for (i = 0; i <= EVAL_BINS; i++)
		rc |= json_array_append_new(edges,
			json_real(EVAL_BIN_FIRST + 0.5 * i));
	rc |= json_object_set_new(obj, "freq_hist_edges", edges);
	rc |= json_object_set_new(obj, "layers", layers);
	rc |= json_object_set_new(obj, "mean", mean);
	rc |= json_object_set_new(obj, "all", all);
	rc |= json_object_set_new(all, "layers", numbers);
	for (i = 0; i < r->n; i++) {
		if (!(layer = eval_layer_json(&r->layer[i], e)))
			return -1;
		rc |= json_array_append_new(layers, layer);
		rc |= json_array_append_new(numbers,
		                            json_integer(r->layer[i].layer));
	}
	scalars(&r->all, s);
	for (i = 0; i < N_SCALARS; i++) {
		if (s[i].over_layers != NEITHER)
			rc |= json_object_set_new(mean, s[i].name,
				number(over_layers(r, i, s[i].over_layers),
				       s[i].whole));
		if (s[i].effect)
			rc |= json_object_set_new(all, s[i].name,
			                          number(s[i].value, 0));
	}
	return rc ? bad(e) : 0;
}

/* ---- text ---- */

static int put_json(struct text *t, const json_t *j, struct err *e)
{
	char *s = json_dumps(j, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
	int rc = s ? text_str(t, s, e) : bad(e);

	free(s);
	return rc;
}

/* One element a line, if they are objects. */
static int put_value(struct text *t, const json_t *v, struct err *e)
{
	size_t i, n = json_array_size(v);

	if (!json_is_object(json_array_get(v, 0)))
		return put_json(t, v, e);
	if (text_str(t, "[", e) < 0)
		return -1;
	for (i = 0; i < n; i++)
		if (text_str(t, i ? ",\n  " : "\n  ", e) < 0 ||
		    put_json(t, json_array_get(v, i), e) < 0)
			return -1;
	return text_str(t, "\n ]", e);
}

char *eval_json_text(const json_t *obj, struct err *e)
{
	struct text t = { 0 };
	const char *key, *before = "{\n \"";
	json_t *v;

	json_object_foreach((json_t *)obj, key, v) {
		if (text_str(&t, before, e) < 0 || text_str(&t, key, e) < 0 ||
		    text_str(&t, "\": ", e) < 0 || put_value(&t, v, e) < 0)
			goto fail;
		before = ",\n \"";
	}
	if (text_str(&t, "\n}\n", e) == 0)
		return t.s;
fail:
	mem_free(t.s);
	return NULL;
}

char *eval_csv_text(const struct eval_result *r, struct err *e)
{
	struct scalar s[N_SCALARS];
	struct text t = { 0 };
	char cell[64];
	int i, l;

	for (l = -1; l < r->n; l++) {
		scalars(l < 0 ? &r->all : &r->layer[l], s);
		for (i = 0; i < N_SCALARS; i++) {
			const char *end = i + 1 < N_SCALARS ? "," : "\n";

			if (l < 0)
				snprintf(cell, sizeof(cell), "%s%s", s[i].name,
				         end);
			else if (isfinite(s[i].value))
				snprintf(cell, sizeof(cell), "%.9g%s",
				         s[i].value, end);
			else
				snprintf(cell, sizeof(cell), "%s", end);
			if (text_str(&t, cell, e) < 0) {
				mem_free(t.s);
				return NULL;
			}
		}
	}
	return t.s;
}
