/* Cross-entropy of residual rows, and a reference shared by many variants. */
#include "dev_back.h"
#include "mem.h"
#include "model_back.h"
#include "model_impl.h"

enum { BLOCK = 256 };	/* rows of a variant's logits that exist at a time */

struct model_ref {
	struct dev *dev;
	const struct model *m;
	float *logits;		/* [n_rows, n_vocab], device */
	float *block;		/* [BLOCK, n_vocab], device, a variant's */
	size_t n_rows, n;	/* room, rows held */
	size_t n_vocab, dim;
};

static float *rows_new(struct model_ref *f, size_t n, struct err *e)
{
	size_t bytes;

	if (mem_mul(n, f->n_vocab, &bytes, e) < 0 ||
	    mem_mul(bytes, sizeof(float), &bytes, e) < 0)
		return NULL;
	return dev_ops(f->dev)->alloc(f->dev, bytes, e);
}

struct model_ref *model_ref_new(struct model *m, size_t n_rows, struct err *e)
{
	struct model_ref *f = mem_array(1, sizeof(*f), e);

	if (!f)
		return NULL;
	f->dev = model_dev(m);
	f->m = m;
	f->n_rows = n_rows;
	f->n_vocab = model_cfg(m)->n_vocab;
	f->dim = model_cfg(m)->d_model;
	if (!(f->logits = rows_new(f, n_rows, e)) ||
	    !(f->block = rows_new(f, n_rows < BLOCK ? n_rows : BLOCK, e))) {
		model_ref_free(f);
		return NULL;
	}
	return f;
}

void model_ref_free(struct model_ref *f)
{
	if (!f)
		return;
	if (f->logits)
		dev_ops(f->dev)->release(f->dev, f->logits);
	if (f->block)
		dev_ops(f->dev)->release(f->dev, f->block);
	mem_free(f);
}

int model_ref_set(struct model_ref *f, struct model_run *r,
                  const float *resid, size_t n, const uint32_t *targets,
                  double *ce, struct err *e)
{
	f->n = 0;
	if (n > f->n_rows)
		return err_set(e, ERR_RANGE, "%zu rows of reference, room for "
		               "%zu", n, f->n_rows);
	if (model_logits(r, resid, n, f->logits, e) < 0 ||
	    dev_ops(f->dev)->xent(f->dev, f->logits, NULL, n, f->n_vocab,
	                          targets, ce, NULL, NULL, e) < 0)
		return -1;
	f->n = n;
	return 0;
}

int model_ce(const struct model_ref *f, struct model_run *r,
             const float *resid, size_t n, const uint32_t *targets,
             double *ce, double *kl, uint8_t *top1, struct err *e)
{
	size_t i, k;

	if (f->n != n)
		return err_set(e, ERR_RANGE, "%zu rows against a reference of "
		               "%zu", n, f->n);
	for (i = 0; i < n; i += k) {
		k = n - i < BLOCK ? n - i : BLOCK;
		if (model_logits(r, resid + i * f->dim, k, f->block, e) < 0 ||
		    dev_ops(f->dev)->xent(f->dev, f->block,
		                          f->logits + i * f->n_vocab, k,
		                          f->n_vocab, targets + i, ce + i,
		                          kl + i, top1 + i, e) < 0)
			return -1;
	}
	return 0;
}

int model_back_ce(const struct model_ref *f, struct model_run *r,
                  const float *resid, size_t n, const uint32_t *targets,
                  double *ce, double *kl, uint8_t *top1, float *g,
                  struct err *e)
{
	const struct dev_ops *o = dev_ops(f->dev);
	const struct model *m = f->m;
	size_t n_targets = 0, i, j, k;
	float weight[BLOCK];

	if (f->n != n)
		return err_set(e, ERR_RANGE, "%zu rows against a reference of "
		               "%zu", n, f->n);
	for (i = 0; i < n; i++)
		n_targets += targets[i] != UINT32_MAX;
	for (i = 0; i < n; i += k) {
		const float *ref = f->logits + i * f->n_vocab;
		const float *in = resid + i * f->dim;
		float *to = g + i * f->dim;

		k = n - i < BLOCK ? n - i : BLOCK;
		for (j = 0; j < k; j++)
			weight[j] = targets[i + j] == UINT32_MAX ? 0
			            : 1 / (float)n_targets;
		if (model_logits(r, in, k, f->block, e) < 0 ||
		    o->xent(f->dev, f->block, ref, k, f->n_vocab, targets + i,
		            ce + i, kl + i, top1 + i, e) < 0 ||
		    o->back->divergence(f->dev, f->block, ref, k, f->n_vocab,
		                        weight, e) < 0 ||
		    o->gemm(f->dev, 0, 0, k, f->dim, f->n_vocab, 1, f->block,
		            f->n_vocab, m->unembed.data, f->dim, 0, to, f->dim,
		            e) < 0 ||
		    o->back->rmsnorm(f->dev, in, k, f->dim, m->final_norm,
		                     m->cfg.norm_eps, to, 0, to, e) < 0)
			return -1;
	}
	return 0;
}
