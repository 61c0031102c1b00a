/* Neuronpedia's upload batches: bodies of feature/upload-batch. */
#include "file.h"
#include "json.h"
#include "mem.h"
#include "publish_np.h"

enum { LOGITS_MAX = 20 };	/* at each end */

static int put_logits(struct publish_np *p, const char *key, const uint32_t *id,
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
static int put_sent(struct publish_np *p, const struct examples_latent *l,
                    enum examples_list list, struct err *e)
{
	struct text *t = &p->body;
	size_t n = l->n[list], i;
	int rc = 0;

	for (i = 0; rc == 0 && i < n; i++) {
		const struct examples_one *x = &l->list[list][i];
		int top = list == EXAMPLES_TOP;
		double lo = top ? (double)l->list[list][n - 1].value
		                : publish_np_edge(p, l, x->stratum);
		double hi = top ? (double)l->s.max
		                : publish_np_edge(p, l, x->stratum + 1);
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

static int put_sent_label(struct publish_np *p, const struct examples_latent *l,
                          struct err *e)
{
	struct text *t = &p->body;
	const char *label;
	int got = publish_np_label(p, l, &label, e), rc;

	if (got <= 0)
		return got;
	rc = text_str(t, "{\"text\":", e) | publish_np_str(t, label, e) |
	     publish_np_pair(t, "methodName", p->o.method, e) |
	     publish_np_pair(t, "modelName", p->o.explainer, e) |
	     text_add(t, "}", 1, e);
	return rc;
}

static int put_member(struct publish_np *p, const struct examples_latent *l,
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

int publish_batch_begin(struct publish_np *p, struct err *e)
{
	p->n_features = 0;
	p->body.n = 0;
	return text_add(&p->body, "{", 1, e) |
	       publish_np_pair(&p->body, "modelId", p->o.name, e) |
	       publish_np_pair(&p->body, "source", p->source, e) |
	       text_str(&p->body, ",\"features\":[", e);
}

int publish_batch_end(struct publish_np *p, struct err *e)
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
	return rc < 0 ? -1 : publish_batch_begin(p, e);
}

int publish_batch_latent(struct publish_np *p, const struct examples_latent *l,
                         struct err *e)
{
	size_t had = p->body.n;

	if (!l->n[EXAMPLES_TOP] && !l->n[EXAMPLES_SAMPLE])
		return 0;	/* a feature without activations is refused */
	if (put_member(p, l, e) < 0)
		return -1;
	if (p->n_features && p->body.n > PUBLISH_BATCH_BYTES) {
		p->body.n = had;
		if (publish_batch_end(p, e) < 0 || put_member(p, l, e) < 0)
			return -1;
	}
	p->n_features++;
	return p->n_features == p->o.batch ? publish_batch_end(p, e) : 0;
}
