/* Cross-entropy of residual rows, and a reference shared by many variants. */
#include "mem.h"
#include "model.h"

struct model_ref {
	struct dev *dev;
	float *logits;		/* [n_rows, n_vocab], device */
	size_t n_rows, n;	/* room, rows held */
};

/* Bytes of n rows of logits. */
static int logit_bytes(const struct model *m, size_t n, size_t *bytes,
                       struct err *e)
{
	if (mem_mul(n, model_cfg(m)->n_vocab, bytes, e) < 0)
		return -1;
	return mem_mul(*bytes, sizeof(float), bytes, e);
}

struct model_ref *model_ref_new(struct model *m, size_t n_rows, struct err *e)
{
	struct model_ref *f;
	size_t bytes;

	if (logit_bytes(m, n_rows, &bytes, e) < 0 ||
	    !(f = mem_array(1, sizeof(*f), e)))
		return NULL;
	f->dev = model_dev(m);
	f->n_rows = n_rows;
	f->logits = dev_ops(f->dev)->alloc(f->dev, bytes, e);
	if (!f->logits) {
		mem_free(f);
		return NULL;
	}
	return f;
}

void model_ref_free(struct model_ref *f)
{
	if (!f)
		return;
	dev_ops(f->dev)->release(f->dev, f->logits);
	mem_free(f);
}

int model_ref_set(struct model_ref *f, struct model_run *r,
                  const float *resid, size_t n, const uint32_t *targets,
                  double *ce, struct err *e)
{
	size_t n_vocab = model_cfg(model_run_model(r))->n_vocab;

	f->n = 0;
	if (n > f->n_rows)
		return err_set(e, ERR_RANGE, "%zu rows of reference, room for "
		               "%zu", n, f->n_rows);
	if (model_logits(r, resid, n, f->logits, e) < 0 ||
	    dev_ops(f->dev)->xent(f->dev, f->logits, NULL, n, n_vocab, targets,
	                          ce, NULL, NULL, e) < 0)
		return -1;
	f->n = n;
	return 0;
}

int model_ce(struct model_run *r, const float *resid,
             const struct model_ref *f, size_t n, const uint32_t *targets,
             double *ce, double *kl, uint8_t *top1, struct err *e)
{
	enum { BLOCK = 256 };	/* rows of logits that exist at a time */
	struct model *m = model_run_model(r);
	struct dev *d = model_dev(m);
	const struct dev_ops *ops = dev_ops(d);
	size_t n_vocab = model_cfg(m)->n_vocab, dim = model_cfg(m)->d_model;
	size_t i, k, bytes;
	float *logits;
	int rc = -1;

	if (f && f->n != n)
		return err_set(e, ERR_RANGE, "%zu rows against a reference of "
		               "%zu", n, f->n);
	if (logit_bytes(m, n < BLOCK ? n : BLOCK, &bytes, e) < 0 ||
	    !(logits = ops->alloc(d, bytes, e)))
		return -1;
	for (i = 0; i < n; i += k) {
		k = n - i < BLOCK ? n - i : BLOCK;
		if (model_logits(r, resid + i * dim, k, logits, e) < 0 ||
		    ops->xent(d, logits, f ? f->logits + i * n_vocab : NULL, k,
		              n_vocab, targets + i, ce + i, kl ? kl + i : NULL,
		              top1 ? top1 + i : NULL, e) < 0)
			goto done;
	}
	rc = 0;
done:
	ops->release(d, logits);
	return rc;
}
