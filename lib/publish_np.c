/* Neuronpedia: what the tree its importer takes and bodies of uploads share. */
#include <stdio.h>
#include <string.h>

#include "file.h"
#include "mem.h"
#include "publish_np.h"
#include "sha256.h"

enum { TOKENS_MAX = 1024 };	/* of a context of an upload */

void *publish_np_new(const struct publish_opt *o, struct err *e)
{
	struct publish_np *p;

	if (publish_check_model(o->name, "the model's name", e) < 0 ||
	    publish_check_set(o->set, "the source set's name", e) < 0 ||
	    !(p = mem_array(1, sizeof(*p), e)))
		return NULL;
	p->o = *o;
	return p;
}

void publish_np_free(void *ctx)
{
	struct publish_np *p = ctx;
	size_t i;

	if (!p)
		return;
	for (i = 0; i < PUBLISH_NP_FILES; i++)
		gz_out_free(p->file[i]);
	mem_free(p->dir);
	mem_free(p->body.s);
	mem_free(p->line.s);
	mem_free(p);
}

/* ---- pieces of JSON ---- */

int publish_np_str(struct text *t, const char *s, struct err *e)
{
	return s ? publish_put_str(t, s, strlen(s), PUBLISH_REPLACE, e)
	         : text_str(t, "null", e);
}

/* ,"key":"value" */
int publish_np_pair(struct text *t, const char *key, const char *value,
                    struct err *e)
{
	return text_str(t, t->n && t->s[t->n - 1] == '{' ? "\"" : ",\"", e) |
	       text_str(t, key, e) | text_str(t, "\":", e) |
	       publish_np_str(t, value, e);
}

/* The first 24 digits of a digest: an id that the same context always has. */
int publish_np_id(const struct publish_np *p, struct text *t, const char *of,
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
	return publish_np_str(t, hex, e);
}

/* Where an interval of the sample begins and ends. */
double publish_np_edge(const struct publish_np *p,
                       const struct examples_latent *l, uint32_t stratum)
{
	return stratum >= p->h.n_strata ? (double)l->s.max
	       : stratum == 0 ? 0
	       : examples_quantile(&l->s, stratum / (double)p->h.n_strata);
}

/* A label, 1; none, 0. */
int publish_np_label(const struct publish_np *p,
                     const struct examples_latent *l, const char **label,
                     struct err *e)
{
	return p->o.labels ? publish_label(p->o.labels, l->layer, l->latent,
	                                   label, e) : 0;
}

/* ---- the sink ---- */

static int begin(void *ctx, const struct examples_head *h, struct err *e)
{
	struct publish_np *p = ctx;

	p->h = *h;
	p->h.parts = NULL;
	if (p->o.to == PUBLISH_BATCHES && h->before + h->after >= TOKENS_MAX)
		return err_set(e, ERR_RANGE, "contexts of up to %u tokens, "
		               "Neuronpedia takes %d", h->before + h->after + 1,
		               TOKENS_MAX);
	return 0;
}

static int begin_layer(struct publish_np *p, uint32_t layer, struct err *e)
{
	snprintf(p->source, sizeof(p->source), "%u-%s", layer, p->o.set);
	p->dir = p->o.to == PUBLISH_TREE
	         ? mem_printf(e, "%s/v1/%s/%s", p->o.out, p->o.name, p->source)
	         : mem_printf(e, "%s/%s", p->o.out, p->source);
	if (!p->dir || file_mkdirs(p->dir, e) < 0)
		return -1;
	p->block = p->n_batches = 0;
	if (p->o.to == PUBLISH_TREE)
		return publish_tree_begin(p, layer, e);
	return publish_clear(p->dir, "batch-*.json", e) < 0
	       ? -1 : publish_batch_begin(p, e);
}

static int latent(void *ctx, const struct examples_latent *l, struct err *e)
{
	struct publish_np *p = ctx;

	if (!p->dir && begin_layer(p, l->layer, e) < 0)
		return -1;
	if (!l->s.n_fired)
		return 0;
	return p->o.to == PUBLISH_TREE ? publish_tree_latent(p, l, e)
	                               : publish_batch_latent(p, l, e);
}

static int layer(void *ctx, const struct examples_layer *y, struct err *e)
{
	struct publish_np *p = ctx;
	int rc = p->o.to == PUBLISH_TREE ? publish_tree_end(p, e)
	                                 : publish_batch_end(p, e);

	(void)y;
	mem_free(p->dir);
	p->dir = NULL;
	return rc;
}

struct feat_sink publish_np_sink(void *ctx)
{
	return (struct feat_sink){ begin, latent, layer, NULL, ctx };
}
