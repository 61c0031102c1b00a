#include "model_frozen.h"

#include <math.h>
#include <string.h>

#include "dev_attr.h"
#include "mem.h"
#include "model_impl.h"

enum { MEAN_ROWS = 1024 };	/* of the unembedding, at a time */

struct model_frozen {
	struct model *m;
	uint32_t *ids;			/* [n] */
	size_t n;
	struct model_keep keep;
	float *resid;			/* [n, d_model] */
	float *final_scale;		/* host, [n] */
	struct tensor *o_back;		/* [n_layers]: W_O^T [d_q, d] */
	struct tensor *v_back;		/* [d, d_kv]: (W_V diag norm)^T */
	void **own;			/* 2 n_layers */
	float *mean;			/* host [d]; of the unembedding */
	float *mem;			/* scratch of the backward pass */
	size_t mem_bytes;
};

static const struct dev_ops *ops(const struct model *m)
{
	return dev_ops(m->dev);
}

static size_t width_q(const struct model *m)
{
	return (size_t)m->cfg.n_heads * m->cfg.d_head;
}

static size_t width_kv(const struct model *m)
{
	return (size_t)m->cfg.n_kv_heads * m->cfg.d_head;
}

/* ---- the forward pass ---- */

static void keep_free(struct model_frozen *f)
{
	ops(f->m)->release(f->m->dev, f->keep.q);
	ops(f->m)->release(f->m->dev, f->keep.k);
	ops(f->m)->release(f->m->dev, f->keep.attn_scale);
	ops(f->m)->release(f->m->dev, f->keep.mlp_scale);
	ops(f->m)->release(f->m->dev, f->resid);
	mem_free(f->final_scale);
	mem_free(f->ids);
	f->ids = NULL;
	memset(&f->keep, 0, sizeof(f->keep));
	f->resid = NULL;
	f->final_scale = NULL;
}

static float *floats(struct model_frozen *f, size_t a, size_t b, struct err *e)
{
	size_t n;

	if (mem_mul(a, b, &n, e) < 0 || mem_mul(n, sizeof(float), &n, e) < 0)
		return NULL;
	return ops(f->m)->alloc(f->m->dev, n, e);
}

static int keep_new(struct model_frozen *f, size_t n, struct err *e)
{
	const struct model_cfg *c = &f->m->cfg;

	f->n = f->keep.n = n;
	if (!(f->keep.q = floats(f, c->n_layers * n, width_q(f->m), e)) ||
	    !(f->keep.k = floats(f, c->n_layers * n, width_kv(f->m), e)) ||
	    !(f->keep.attn_scale = floats(f, c->n_layers, n, e)) ||
	    !(f->keep.mlp_scale = floats(f, c->n_layers, n, e)) ||
	    !(f->resid = floats(f, n, c->d_model, e)) ||
	    !(f->ids = mem_array(n, sizeof(*f->ids), e)) ||
	    !(f->final_scale = mem_array(n, sizeof(float), e)))
		return -1;
	return 0;
}

/* 1 / rms of each row of the last residual stream. */
static int final_scales(struct model_frozen *f, struct err *e)
{
	const struct model_cfg *c = &f->m->cfg;
	float *x = floats(f, f->n, c->d_model, e), *s;
	int rc = -1;

	s = x ? floats(f, f->n, 1, e) : NULL;
	if (s && ops(f->m)->rmsnorm(f->m->dev, f->resid, f->n, c->d_model,
	                            f->m->final_norm, c->norm_eps, x, s,
	                            e) == 0)
		rc = ops(f->m)->get(f->m->dev, f->final_scale, s,
		                    f->n * sizeof(*s), e);
	ops(f->m)->release(f->m->dev, x);
	ops(f->m)->release(f->m->dev, s);
	return rc;
}

int model_frozen_set(struct model_frozen *f, const uint32_t *ids, size_t n,
                     model_tap_fn *tap, void *ctx, struct err *e)
{
	const struct model_cfg *c = &f->m->cfg;
	const size_t start[2] = { 0, n };
	const struct model_batch b = { ids, n, start, 1 };
	struct model_run *run = NULL;
	enum dev_precision was;
	int rc = -1;

	keep_free(f);
	if (n == 0)
		return err_set(e, ERR_FORMAT, "the prompt is empty");
	if (n > c->n_ctx)
		return err_set(e, ERR_RANGE, "the prompt has %zu tokens, the "
		               "model takes %u", n, c->n_ctx);
	if (keep_new(f, n, e) < 0 || !(run = model_run_new(f->m, n, e)))
		goto done;
	memcpy(f->ids, ids, n * sizeof(*ids));
	model_run_keep(run, &f->keep);
	/* one pass that every effect depends on, errors most of all */
	was = ops(f->m)->precision(f->m->dev, DEV_EXACT);
	rc = model_forward(run, &b, (int)c->n_layers - 1, tap, ctx, e);
	ops(f->m)->precision(f->m->dev, was);
	if (rc)
		goto done;
	rc = -1;
	if (ops(f->m)->copy(f->m->dev, f->resid, model_resid(run),
	                    n * c->d_model * sizeof(float), e) < 0)
		goto done;
	rc = final_scales(f, e);
done:
	model_run_free(run);
	return rc;
}

/* ---- weights, turned round ---- */

/* n rows of a stored weight from row `first` on, as f32 on the host. */
static int rows_of(const struct model *m, const struct tensor *w, size_t first,
                   size_t n, float *out, struct err *e)
{
	size_t bytes = n * w->shape[1] * sizeof(float), i;
	uint32_t *ids = mem_scratch(n, sizeof(*ids), e);
	float *part = ids ? ops(m)->alloc(m->dev, bytes, e) : NULL;
	int rc = -1;

	if (!part)
		goto done;
	for (i = 0; i < n; i++)
		ids[i] = (uint32_t)(first + i);
	if (ops(m)->embed(m->dev, w, ids, n, part, e) < 0)
		goto done;
	rc = ops(m)->get(m->dev, out, part, bytes, e);
done:
	ops(m)->release(m->dev, part);
	mem_free(ids);
	return rc;
}

/* w [rows, cols] as the tensor [cols, rows] in device memory, its rows scaled
 * by norm[cols] (device, or NULL). */
static int turn(const struct model *m, const struct tensor *w,
                const float *norm, struct tensor *out, void **own,
                struct err *e)
{
	size_t rows = w->shape[0], cols = w->shape[1], i, j;
	float *a = mem_scratch(rows * cols, sizeof(*a), e);
	float *b = mem_scratch(rows * cols, sizeof(*b), e);
	float *s = mem_scratch(cols, sizeof(*s), e);
	int rc = -1;

	if (!a || !b || !s || rows_of(m, w, 0, rows, a, e) < 0)
		goto done;
	for (j = 0; j < cols; j++)
		s[j] = 1;
	if (norm && ops(m)->get(m->dev, s, norm, cols * sizeof(*s), e) < 0)
		goto done;
	for (j = 0; j < cols; j++)
		for (i = 0; i < rows; i++)
			b[j * rows + i] = a[i * cols + j] * s[j];
	*own = ops(m)->alloc(m->dev, rows * cols * sizeof(*b), e);
	if (!*own || ops(m)->put(m->dev, *own, b, rows * cols * sizeof(*b),
	                         e) < 0)
		goto done;
	*out = (struct tensor){ .name = w->name, .type = DT_F32, .n_dims = 2,
		.shape = { cols, rows }, .n = rows * cols, .data = *own,
		.n_bytes = rows * cols * sizeof(*b) };
	rc = 0;
done:
	mem_free(a);
	mem_free(b);
	mem_free(s);
	return rc;
}

static int turn_weights(struct model_frozen *f, struct err *e)
{
	const struct model_cfg *c = &f->m->cfg;
	uint32_t l;

	if (!(f->o_back = mem_array(c->n_layers, sizeof(*f->o_back), e)) ||
	    !(f->v_back = mem_array(c->n_layers, sizeof(*f->v_back), e)) ||
	    !(f->own = mem_array(c->n_layers, 2 * sizeof(*f->own), e)))
		return -1;
	for (l = 0; l < c->n_layers; l++) {
		const struct model_layer *y = &f->m->layers[l];

		if (turn(f->m, &y->w[MODEL_O], NULL, &f->o_back[l],
		         &f->own[2 * l], e) < 0 ||
		    turn(f->m, &y->w[MODEL_V], y->attn_norm, &f->v_back[l],
		         &f->own[2 * l + 1], e) < 0)
			return -1;
	}
	return 0;
}

struct model_frozen *model_frozen_new(struct model *m, const uint32_t *ids,
                                      size_t n, model_tap_fn *tap, void *ctx,
                                      struct err *e)
{
	struct model_frozen *f = mem_array(1, sizeof(*f), e);

	if (!f)
		return NULL;
	f->m = m;
	if (model_frozen_set(f, ids, n, tap, ctx, e) || turn_weights(f, e) < 0) {
		model_frozen_free(f);
		return NULL;
	}
	return f;
}

void model_frozen_free(struct model_frozen *f)
{
	uint32_t l;

	if (!f)
		return;
	keep_free(f);
	for (l = 0; f->own && l < 2 * f->m->cfg.n_layers; l++)
		ops(f->m)->release(f->m->dev, f->own[l]);
	ops(f->m)->release(f->m->dev, f->mem);
	mem_free(f->own);
	mem_free(f->o_back);
	mem_free(f->v_back);
	mem_free(f->mean);
	mem_free(f);
}

int model_frozen_logits(struct model_frozen *f, size_t pos, float *logits,
                        struct err *e)
{
	const struct model_cfg *c = &f->m->cfg;
	struct model_run *run = model_run_new(f->m, 1, e);
	float *out = run ? floats(f, c->n_vocab, 1, e) : NULL;
	int rc = -1;

	if (out && model_logits(run, f->resid + pos * c->d_model, 1, out,
	                        e) == 0)
		rc = ops(f->m)->get(f->m->dev, logits, out,
		                    c->n_vocab * sizeof(*out), e);
	ops(f->m)->release(f->m->dev, out);
	model_run_free(run);
	return rc;
}

/* Logits of a row of the stream, with the final norm's scale held or not. */
static int logits_of(struct model_frozen *f, struct model_run *run, size_t pos,
                     int held, float *out, struct err *e)
{
	const struct model_cfg *c = &f->m->cfg;
	const float *row = model_resid(run) + pos * c->d_model;
	const struct dev_linear l = { &f->m->unembed, NULL, out };
	float *x = NULL, *s = NULL;
	int rc = -1;

	if (!held)
		return model_logits(run, row, 1, out, e);
	if ((x = floats(f, c->d_model, 1, e)) && (s = floats(f, 1, 1, e)) &&
	    ops(f->m)->put(f->m->dev, s, f->final_scale + pos, sizeof(*s),
	                   e) == 0 &&
	    ops(f->m)->attr->scale_rows(f->m->dev, row, s, f->m->final_norm, 1,
	                                c->d_model, x, e) == 0)
		rc = ops(f->m)->linear(f->m->dev, x, 1, &l, 1, e);
	ops(f->m)->release(f->m->dev, x);
	ops(f->m)->release(f->m->dev, s);
	return rc;
}

int model_frozen_rerun(struct model_frozen *f, enum model_held held,
                       model_tap_fn *tap, void *ctx, size_t pos, float *logits,
                       struct err *e)
{
	const struct model_cfg *c = &f->m->cfg;
	const size_t start[2] = { 0, f->n };
	const struct model_batch b = { f->ids, f->n, start, 1 };
	struct model_hold hold = { &f->keep, held == MODEL_HELD_ALL, NULL };
	struct model_run *run = model_run_new(f->m, f->n, e);
	float *out = NULL;
	int rc = -1;

	if (!run || !(out = floats(f, c->n_vocab, 1, e)))
		goto done;
	if (held != MODEL_HELD_NOTHING) {
		if (!(hold.p = floats(f, f->n * f->n, c->n_heads, e)))
			goto done;
		model_run_hold(run, &hold);
	}
	if ((rc = model_forward(run, &b, (int)c->n_layers - 1, tap, ctx, e)))
		goto done;
	rc = -1;
	if (logits_of(f, run, pos, hold.scales, out, e) == 0)
		rc = ops(f->m)->get(f->m->dev, logits, out,
		                    c->n_vocab * sizeof(*out), e);
done:
	ops(f->m)->release(f->m->dev, hold.p);
	ops(f->m)->release(f->m->dev, out);
	model_run_free(run);
	return rc;
}

/* ---- backwards ---- */

/* Scratch: patterns, then gradients behind the heads, of the values and of the
 * stream. */
static size_t scratch_floats(const struct model *m, size_t n, size_t rows)
{
	return m->cfg.n_heads * n * n +
	       n * rows * (width_q(m) + width_kv(m) + m->cfg.d_model);
}

size_t model_frozen_bytes(const struct model *m, size_t n, size_t rows)
{
	return scratch_floats(m, n, rows) * sizeof(float);
}

static int need(struct model_frozen *f, size_t n, size_t rows, struct err *e)
{
	size_t bytes = model_frozen_bytes(f->m, n, rows);

	if (bytes <= f->mem_bytes)
		return 0;
	ops(f->m)->release(f->m->dev, f->mem);
	f->mem_bytes = 0;
	if (!(f->mem = ops(f->m)->alloc(f->m->dev, bytes, e)))
		return -1;
	f->mem_bytes = bytes;
	return 0;
}

int model_frozen_attention(struct model_frozen *f, int layer, size_t n,
                           size_t rows, float *g, struct err *e)
{
	const struct model_cfg *c = &f->m->cfg;
	const struct dev_attr_ops *a = ops(f->m)->attr;
	size_t at = (size_t)layer * f->n;
	struct dev *d = f->m->dev;
	float *p, *dz, *dv, *dx;

	if (need(f, n, rows, e) < 0)
		return -1;
	p = f->mem;
	dz = p + c->n_heads * n * n;
	dv = dz + n * rows * width_q(f->m);
	dx = dv + n * rows * width_kv(f->m);
	if (a->patterns(d, f->keep.q + at * width_q(f->m),
	                f->keep.k + at * width_kv(f->m), n, c->n_heads,
	                c->n_kv_heads, c->d_head,
	                1.0f / sqrtf((float)c->d_head), p, e) < 0 ||
	    ops(f->m)->linear(d, g, n * rows,
	                      &(struct dev_linear){ &f->o_back[layer], NULL, dz },
	                      1, e) < 0 ||
	    a->values_back(d, p, dz, n, rows, c->n_heads, c->n_kv_heads,
	                   c->d_head, dv, e) < 0 ||
	    ops(f->m)->linear(d, dv, n * rows,
	                      &(struct dev_linear){ &f->v_back[layer], NULL, dx },
	                      1, e) < 0)
		return -1;
	return a->add_scaled(d, dx, f->keep.attn_scale + at, n, rows,
	                     c->d_model, g, e);
}

int model_frozen_linear_mlp(struct model_frozen *f, int layer,
                            const struct tensor *w_back, size_t n, size_t rows,
                            float *g, struct err *e)
{
	const struct model_cfg *c = &f->m->cfg;

	if (need(f, n, rows, e) < 0 ||
	    ops(f->m)->linear(f->m->dev, g, n * rows,
	                      &(struct dev_linear){ w_back, NULL, f->mem }, 1,
	                      e) < 0)
		return -1;
	return ops(f->m)->attr->add_scaled(f->m->dev, f->mem,
	                                   f->keep.mlp_scale +
	                                   (size_t)layer * f->n, n, rows,
	                                   c->d_model, g, e);
}

int model_frozen_turn_mlp(const struct model *m, int layer, const float *w,
                          struct tensor *out, void **own, struct err *e)
{
	size_t dim = m->cfg.d_model;
	struct tensor t = { .name = "W_skip", .type = DT_F32, .n_dims = 2,
		.shape = { dim, dim }, .n = dim * dim, .data = w,
		.n_bytes = dim * dim * sizeof(*w) };

	return turn(m, &t, m->layers[layer].mlp_norm, out, own, e);
}

int model_frozen_enter(const struct model_frozen *f, int layer, size_t pos,
                       float *v, struct err *e)
{
	const struct model_cfg *c = &f->m->cfg;
	int last = (uint32_t)layer == c->n_layers;
	const float *w = last ? f->m->final_norm
	                      : f->m->layers[layer].mlp_norm;
	float *norm = mem_scratch(c->d_model, sizeof(*norm), e), scale = 0;
	int rc = -1;
	size_t i;

	if (!norm || ops(f->m)->get(f->m->dev, norm, w,
	                            c->d_model * sizeof(*norm), e) < 0)
		goto done;
	if (last)
		scale = f->final_scale[pos];
	else if (ops(f->m)->get(f->m->dev, &scale, f->keep.mlp_scale +
	                        (size_t)layer * f->n + pos, sizeof(scale),
	                        e) < 0)
		goto done;
	for (i = 0; i < c->d_model; i++)
		v[i] *= norm[i] * scale;
	rc = 0;
done:
	mem_free(norm);
	return rc;
}

/* ---- rows of the tables of tokens ---- */

static int unembed_mean(struct model_frozen *f, struct err *e)
{
	const struct tensor *w = &f->m->unembed;
	size_t dim = w->shape[1], i, j, k, n;
	double *sum = mem_array(dim, sizeof(*sum), e);
	float *part = mem_scratch(MEAN_ROWS * dim, sizeof(*part), e);
	float *mean = mem_scratch(dim, sizeof(*mean), e);

	if (!sum || !part || !mean)
		goto fail;
	for (i = 0; i < w->shape[0]; i += n) {
		n = w->shape[0] - i < MEAN_ROWS ? w->shape[0] - i : MEAN_ROWS;
		if (rows_of(f->m, w, i, n, part, e) < 0)
			goto fail;
		for (j = 0; j < n; j++)
			for (k = 0; k < dim; k++)
				sum[k] += (double)part[j * dim + k];
	}
	for (k = 0; k < dim; k++)
		mean[k] = (float)(sum[k] / (double)w->shape[0]);
	mem_free(sum);
	mem_free(part);
	f->mean = mean;
	return 0;
fail:
	mem_free(sum);
	mem_free(part);
	mem_free(mean);
	return -1;
}

int model_unembed_centred(struct model_frozen *f, const uint32_t *ids,
                          size_t n, float *out, struct err *e)
{
	const struct tensor *w = &f->m->unembed;
	size_t dim = w->shape[1], i, k;

	if (!f->mean && unembed_mean(f, e) < 0)
		return -1;
	for (i = 0; i < n; i++, out += dim) {
		if (ids[i] >= w->shape[0])
			return err_set(e, ERR_RANGE, "token %u, the vocabulary "
			               "has %zu", ids[i], w->shape[0]);
		if (rows_of(f->m, w, ids[i], 1, out, e) < 0)
			return -1;
		for (k = 0; k < dim; k++)
			out[k] -= f->mean[k];
	}
	return 0;
}

int model_embed_rows(const struct model *m, const uint32_t *ids, size_t n,
                     float *out, struct err *e)
{
	return dev_ops(m->dev)->embed(m->dev, &m->embed, ids, n, out, e);
}
