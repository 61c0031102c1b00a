#include "model_neurons.h"

#include <math.h>

#include "mem.h"
#include "model_impl.h"

/* host [n, rows of w] = x [n, cols] W^T */
static int product(const struct model *m, const struct tensor *w,
                   const float *x, size_t n, float *host, struct err *e)
{
	const struct dev_ops *o = dev_ops(m->dev);
	size_t bytes;
	float *out;
	int rc = -1;

	if (mem_mul(n, w->shape[0] * sizeof(*out), &bytes, e) < 0 ||
	    !(out = o->alloc(m->dev, bytes, e)))
		return -1;
	if (o->linear(m->dev, x, n, &(struct dev_linear){ w, NULL, out }, 1,
	              e) == 0)
		rc = o->get(m->dev, host, out, bytes, e);
	o->release(m->dev, out);
	return rc;
}

int model_neurons(const struct model *m, int layer, const float *x, size_t n,
                  float *gate, float *value, struct err *e)
{
	const struct tensor *w = m->layers[layer].w;
	size_t i;

	if (product(m, &w[MODEL_GATE], x, n, gate, e) < 0 ||
	    product(m, &w[MODEL_UP], x, n, value, e) < 0)
		return -1;
	for (i = 0; i < n * m->cfg.d_mlp; i++) {
		gate[i] /= 1 + expf(-gate[i]);
		value[i] *= gate[i];
	}
	return 0;
}

/* n rows of a stored weight, f32 */
static int rows(const struct model *m, const struct tensor *w,
                const uint32_t *ids, size_t n, float *out, struct err *e)
{
	const struct dev_ops *o = dev_ops(m->dev);
	size_t bytes;
	float *part;
	int rc = -1;

	if (mem_mul(n, w->shape[1] * sizeof(*out), &bytes, e) < 0 ||
	    !(part = o->alloc(m->dev, bytes, e)))
		return -1;
	if (o->embed(m->dev, w, ids, n, part, e) == 0)
		rc = o->get(m->dev, out, part, bytes, e);
	o->release(m->dev, part);
	return rc;
}

int model_neurons_in(const struct model *m, int layer, const uint32_t *ids,
                     size_t n, float *out, struct err *e)
{
	return rows(m, &m->layers[layer].w[MODEL_UP], ids, n, out, e);
}

int model_neurons_out(const struct model *m, int layer, float *out,
                      struct err *e)
{
	size_t dim = m->cfg.d_model, mlp = m->cfg.d_mlp, i, j;
	float *row = mem_scratch(mlp, sizeof(*row), e);
	int rc = row ? 0 : -1;
	uint32_t id;

	for (i = 0; rc == 0 && i < dim; i++) {
		id = (uint32_t)i;
		rc = rows(m, &m->layers[layer].w[MODEL_DOWN], &id, 1, row, e);
		for (j = 0; rc == 0 && j < mlp; j++)
			out[j * dim + i] = row[j];
	}
	mem_free(row);
	return rc;
}
