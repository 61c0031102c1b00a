#include "model_back.h"

#include <math.h>
#include <string.h>

#include "dev_back.h"
#include "dev_tc.h"
#include "mem.h"
#include "model_impl.h"

struct model_back {
	struct model *m;
	size_t n_rows;
	uint32_t *pos;		/* host, [n_rows] */
	float *back_freq;	/* host, [d_head / 2]: inv_freq negated */
	float *mem;		/* device, all of the below */
	float *mid;		/* [n_layers, n_rows, d_model]: entering MLPs */
	float *y;		/* [n_layers, n_rows, d_model]: leaving them */
	float *resid, *x, *dx;	/* [n_rows, d_model] */
	float *raw_q, *q, *dq, *z, *dz;	/* [n_rows, n_heads d_head] */
	float *raw_k, *k, *v, *dk, *dv;	/* [n_rows, n_kv_heads d_head] */
	float *angles, *back_angles;	/* [n_rows, d_head] */
	/* the forward pass's */
	struct model_run *run;
	model_tap_fn *tap;
	void *ctx;
};

/* Every weight that is gone back through lies there as f32. */
static int check_weights(const struct model *m, struct err *e)
{
	uint32_t l;
	int w, ok = m->unembed.type == DT_F32;

	for (l = 0; l < m->cfg.n_layers; l++)
		for (w = MODEL_Q; w <= MODEL_O; w++)
			ok = ok && m->layers[l].w[w].type == DT_F32;
	return ok ? 0 : err_set(e, ERR_RANGE, "%s: gradients need the weights "
	                        "as f32, and this model is too large for that",
	                        m->cfg.name);
}

struct model_back *model_back_new(struct model *m, size_t n_rows,
                                  struct err *e)
{
	const struct model_cfg *c = &m->cfg;
	struct model_back *b;
	size_t d_q = (size_t)c->n_heads * c->d_head;
	size_t d_kv = (size_t)c->n_kv_heads * c->d_head;
	size_t all = (size_t)c->n_layers * c->d_model, width = 0, bytes, i;
	float *p;

	if (check_weights(m, e) < 0 || !(b = mem_array(1, sizeof(*b), e)))
		return NULL;
	{
		struct { float **p; size_t width; } part[] = {
			{ &b->mid, all }, { &b->y, all },
			{ &b->resid, c->d_model }, { &b->x, c->d_model },
			{ &b->dx, c->d_model }, { &b->raw_q, d_q },
			{ &b->q, d_q }, { &b->dq, d_q }, { &b->z, d_q },
			{ &b->dz, d_q }, { &b->raw_k, d_kv }, { &b->k, d_kv },
			{ &b->v, d_kv }, { &b->dk, d_kv }, { &b->dv, d_kv },
			{ &b->angles, c->d_head }, { &b->back_angles, c->d_head }
		};
		const size_t n_parts = sizeof(part) / sizeof(part[0]);

		b->m = m;
		b->n_rows = n_rows;
		for (i = 0; i < n_parts; i++)
			width += part[i].width;
		if (mem_mul(width * sizeof(float), n_rows, &bytes, e) < 0 ||
		    !(b->mem = dev_ops(m->dev)->alloc(m->dev, bytes, e)) ||
		    !(b->pos = mem_array(n_rows, sizeof(*b->pos), e)) ||
		    !(b->back_freq = mem_array(c->d_head / 2, sizeof(float),
		                               e))) {
			model_back_free(b);
			return NULL;
		}
		for (i = 0, p = b->mem; i < n_parts; i++) {
			*part[i].p = p;
			p += part[i].width * n_rows;
		}
	}
	for (i = 0; i < c->d_head / 2; i++)
		b->back_freq[i] = -m->inv_freq[i];
	return b;
}

void model_back_free(struct model_back *b)
{
	if (!b)
		return;
	if (b->mem)
		dev_ops(b->m->dev)->release(b->m->dev, b->mem);
	mem_free(b->pos);
	mem_free(b->back_freq);
	mem_free(b);
}

/* ---- forward ---- */

/* Row 0 of a layer's share of mid or y. */
static float *at(const struct model_back *b, float *kept, int layer)
{
	return kept + (size_t)layer * b->n_rows * b->m->cfg.d_model;
}

static int keep_tap(void *ctx, int layer, const float *x, float *y, size_t n,
                    struct err *e)
{
	struct model_back *b = ctx;
	const struct dev_ops *o = dev_ops(b->m->dev);
	size_t bytes = n * b->m->cfg.d_model * sizeof(float);
	int rc = b->tap ? b->tap(b->ctx, layer, x, y, n, e) : 0;

	if (rc)
		return rc;
	if (o->copy(b->m->dev, at(b, b->mid, layer), model_resid(b->run),
	            bytes, e) < 0)
		return -1;
	return o->copy(b->m->dev, at(b, b->y, layer), y, bytes, e);
}

int model_back_forward(struct model_back *b, struct model_run *r,
                       const struct model_batch *batch, model_tap_fn *tap,
                       void *ctx, struct err *e)
{
	if (batch->n > b->n_rows)
		return err_set(e, ERR_RANGE, "batch of %zu tokens, room for "
		               "%zu", batch->n, b->n_rows);
	b->run = r;
	b->tap = tap;
	b->ctx = ctx;
	return model_forward(r, batch, (int)b->m->cfg.n_layers - 1, keep_tap,
	                     b, e);
}

/* ---- the way back ---- */

/* The stream that entered a layer, into b->resid. */
static int entering(struct model_back *b, const struct model_batch *batch,
                    int layer, struct err *e)
{
	struct dev *d = b->m->dev;
	const struct dev_ops *o = dev_ops(d);
	size_t n = batch->n * b->m->cfg.d_model;

	if (layer == 0)
		return o->embed(d, &b->m->embed, batch->ids, batch->n, b->resid,
		                e);
	if (o->copy(d, b->resid, at(b, b->mid, layer - 1), n * sizeof(float),
	            e) < 0)
		return -1;
	return o->axpy(d, 1, at(b, b->y, layer - 1), b->resid, n, e);
}

/* Queries, keys, values of the layer again, before and after norm and turn,
 * and what attention made of them. */
static int attend(struct model_back *b, const struct model_batch *batch,
                  const struct dev_seqs *s, int layer, struct err *e)
{
	const struct model_cfg *c = &b->m->cfg;
	const struct model_layer *l = &b->m->layers[layer];
	struct dev *d = b->m->dev;
	const struct dev_ops *o = dev_ops(d);
	size_t n = batch->n, d_q = (size_t)c->n_heads * c->d_head;
	size_t d_kv = (size_t)c->n_kv_heads * c->d_head;
	const struct dev_linear qkv[] = {
		{ &l->w[MODEL_Q], l->bias[MODEL_Q], b->raw_q },
		{ &l->w[MODEL_K], l->bias[MODEL_K], b->raw_k },
		{ &l->w[MODEL_V], l->bias[MODEL_V], b->v }
	};

	if (entering(b, batch, layer, e) < 0 ||
	    o->rmsnorm(d, b->resid, n, c->d_model, l->attn_norm, c->norm_eps,
	               b->x, NULL, e) < 0 ||
	    o->linear(d, b->x, n, qkv, 3, e) < 0)
		return -1;
	if (c->qk_norm) {
		if (o->rmsnorm(d, b->raw_q, n * c->n_heads, c->d_head,
		               l->q_norm, c->norm_eps, b->q, NULL, e) < 0 ||
		    o->rmsnorm(d, b->raw_k, n * c->n_kv_heads, c->d_head,
		               l->k_norm, c->norm_eps, b->k, NULL, e) < 0)
			return -1;
	} else if (o->copy(d, b->q, b->raw_q, n * d_q * sizeof(float), e) < 0 ||
	           o->copy(d, b->k, b->raw_k, n * d_kv * sizeof(float),
	                   e) < 0) {
		return -1;
	}
	if (o->rope(d, b->q, n, c->n_heads, c->d_head, b->angles, e) < 0 ||
	    o->rope(d, b->k, n, c->n_kv_heads, c->d_head, b->angles, e) < 0)
		return -1;
	return o->attention(d, b->q, b->k, b->v, s, NULL, c->n_heads,
	                    c->n_kv_heads, c->d_head,
	                    1.0f / sqrtf((float)c->d_head), b->z, e);
}

/* out[n, d_in] (+)= g[n, d_out] W */
static int through(struct model_back *b, const struct tensor *w, size_t n,
                   const float *g, int add, float *out, struct err *e)
{
	return dev_ops(b->m->dev)->gemm(b->m->dev, 0, 0, n, w->shape[1],
	                                w->shape[0], 1, g, w->shape[0],
	                                w->data, w->shape[1], (float)add, out,
	                                w->shape[1], e);
}

/* g, dL/d(the stream behind attention), to that in front of it. */
static int attention_back(struct model_back *b,
                          const struct model_batch *batch, int layer, float *g,
                          struct err *e)
{
	const struct model_cfg *c = &b->m->cfg;
	const struct model_layer *l = &b->m->layers[layer];
	const struct dev_seqs s = { batch->n_seqs, batch->start, NULL };
	struct dev *d = b->m->dev;
	const struct dev_ops *o = dev_ops(d);
	size_t n = batch->n;

	if (attend(b, batch, &s, layer, e) < 0 ||
	    through(b, &l->w[MODEL_O], n, g, 0, b->dz, e) < 0 ||
	    o->back->attention(d, b->q, b->k, b->v, b->dz, &s, c->n_heads,
	                       c->n_kv_heads, c->d_head,
	                       1.0f / sqrtf((float)c->d_head), b->dq, b->dk,
	                       b->dv, e) < 0 ||
	    o->rope(d, b->dq, n, c->n_heads, c->d_head, b->back_angles,
	            e) < 0 ||
	    o->rope(d, b->dk, n, c->n_kv_heads, c->d_head, b->back_angles,
	            e) < 0)
		return -1;
	if (c->qk_norm &&
	    (o->back->rmsnorm(d, b->raw_q, n * c->n_heads, c->d_head,
	                      l->q_norm, c->norm_eps, b->dq, 0, b->dq,
	                      e) < 0 ||
	     o->back->rmsnorm(d, b->raw_k, n * c->n_kv_heads, c->d_head,
	                      l->k_norm, c->norm_eps, b->dk, 0, b->dk,
	                      e) < 0))
		return -1;
	if (through(b, &l->w[MODEL_Q], n, b->dq, 0, b->dx, e) < 0 ||
	    through(b, &l->w[MODEL_K], n, b->dk, 1, b->dx, e) < 0 ||
	    through(b, &l->w[MODEL_V], n, b->dv, 1, b->dx, e) < 0)
		return -1;
	return o->back->rmsnorm(d, b->resid, n, c->d_model, l->attn_norm,
	                        c->norm_eps, b->dx, 1, g, e);
}

static int set_angles(struct model_back *b, const struct model_batch *batch,
                      struct err *e)
{
	struct dev *d = b->m->dev;
	const struct dev_ops *o = dev_ops(d);
	size_t i, j, d_head = b->m->cfg.d_head;

	for (i = 0; i < batch->n_seqs; i++)
		for (j = batch->start[i]; j < batch->start[i + 1]; j++)
			b->pos[j] = (uint32_t)(j - batch->start[i]);
	if (o->rope_table(d, b->pos, batch->n, b->m->inv_freq, d_head,
	                  b->angles, e) < 0)
		return -1;
	return o->rope_table(d, b->pos, batch->n, b->back_freq, d_head,
	                     b->back_angles, e);
}

int model_back_run(struct model_back *b, const struct model_batch *batch,
                   float *g, model_back_fn *fn, void *ctx, struct err *e)
{
	const struct model_cfg *c = &b->m->cfg;
	struct dev *d = b->m->dev;
	const struct dev_ops *o = dev_ops(d);
	size_t n = batch->n;
	int layer, rc;

	if (set_angles(b, batch, e) < 0)
		return -1;
	for (layer = (int)c->n_layers - 1; layer >= 0; layer--) {
		const struct model_layer *l = &b->m->layers[layer];
		float *mid = at(b, b->mid, layer);

		if (o->rmsnorm(d, mid, n, c->d_model, l->mlp_norm, c->norm_eps,
		               b->x, NULL, e) < 0 ||
		    o->tc->scale(d, b->dx, 0, n * c->d_model, b->dx, e) < 0)
			return -1;
		if ((rc = fn(ctx, layer, b->x, g, b->dx, n, e)) != 0)
			return rc;
		if (o->back->rmsnorm(d, mid, n, c->d_model, l->mlp_norm,
		                     c->norm_eps, b->dx, 1, g, e) < 0 ||
		    attention_back(b, batch, layer, g, e) < 0)
			return -1;
	}
	return 0;
}
