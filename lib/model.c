#include "model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "dev_attr.h"
#include "mem.h"
#include "model_impl.h"

/* ---- opening ---- */

static const size_t EXPAND_BYTES = (size_t)2 << 30;

struct model *model_open(const char *path, struct dev *d,
                         const struct log *log, struct err *e)
{
	return model_open_within(path, d, log, EXPAND_BYTES, e);
}

struct model *model_open_within(const char *path, struct dev *d,
                                const struct log *log, size_t expand_bytes,
                                struct err *e)
{
	struct model *m = mem_array(1, sizeof(*m), e);
	struct stat st;
	int rc;

	if (!m)
		return NULL;
	m->dev = d;
	m->expand_bytes = expand_bytes;
	model_cfg_name(&m->cfg, path);
	if (stat(path, &st) < 0) {
		err_sys(e, "%s", path);
		goto fail;
	}
	if (S_ISDIR(st.st_mode)) {
		if (model_cfg_read_hf(m, path, e) < 0 ||
		    !(m->safet = safet_open(path, e)))
			goto fail;
	} else {
		if (!(m->gguf = gguf_open(path, e)))
			goto fail;
		if (model_cfg_read_gguf(m, e) < 0) {
			err_wrap(e, "%s", path);
			goto fail;
		}
	}
	rc = model_load(m, log, e);
	if (rc < 0) {
		err_wrap(e, "%s", path);
		goto fail;
	}
	return m;
fail:
	model_free(m);
	return NULL;
}

/* The most that one of a layer's calls of linear keeps packed. */
static size_t layer_keeps(const struct model *m, const struct model_layer *y,
                          size_t n)
{
	static const uint8_t calls[][2] = {	/* the first, how many */
		{ MODEL_Q, 3 }, { MODEL_O, 1 }, { MODEL_GATE, 2 }, { MODEL_DOWN, 1 }
	};
	struct dev_linear l[MODEL_N_WEIGHTS];
	size_t i, one, most = 0;

	for (i = 0; i < MODEL_N_WEIGHTS; i++)
		l[i] = (struct dev_linear){ .w = &y->w[i] };
	for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		one = dev_ops(m->dev)->linear_keeps(m->dev, n, l + calls[i][0],
		                                    calls[i][1]);
		most = one > most ? one : most;
	}
	return most;
}

/* A model's configuration and where its weights are; *bytes of them. */
static struct model *open_sizes(const char *path, struct dev *d, double *bytes,
                                struct err *e)
{
	struct model *m = mem_array(1, sizeof(*m), e);
	struct err none = { 0 };
	struct stat st;

	if (!m)
		return NULL;
	m->dev = d;
	m->expand_bytes = EXPAND_BYTES;
	if (model_cfg_read(path, &m->cfg, e) < 0)
		goto fail;
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		m->safet = safet_open(path, &none);
	else
		m->gguf = gguf_open(path, &none);
	if (model_load_sizes(m, bytes, e) == 0)
		return m;
	err_wrap(e, "%s", path);
fail:
	model_free(m);
	return NULL;
}

static enum dtype layer_type(const struct model *m)
{
	return m->layers[0].w[MODEL_UP].type;
}

int model_need(const char *path, struct dev *d, size_t n_rows,
               struct model_need *need, struct err *e)
{
	struct model *m;
	uint32_t i;

	*need = (struct model_need){ 0 };
	if (!(m = open_sizes(path, d, &need->weights, e)))
		return -1;
	need->type = layer_type(m);
	for (i = 0; i < m->cfg.n_layers; i++)
		need->packed = fmax(need->packed, (double)
		                    layer_keeps(m, &m->layers[i], n_rows));
	model_free(m);
	return 0;
}

const char *model_precision(const char *name, const char *path, struct dev *d,
                            struct err *e)
{
	const struct dev_ops *ops = dev_ops(d);
	enum dev_precision was;
	struct model *m;
	double bytes;
	int bits4;

	if (strcmp(name, "auto") != 0)
		return name;
	if (!path)
		return "f32";
	was = ops->precision(d, DEV_Q8);
	m = open_sizes(path, d, &bytes, e);
	bits4 = m && ops->as_stored(d, layer_type(m));
	ops->precision(d, was);
	model_free(m);
	return !m ? NULL : bits4 ? "q8" : "f32";
}

void model_free(struct model *m)
{
	size_t i;

	if (!m)
		return;
	for (i = 0; i < m->n_owned; i++)
		dev_ops(m->dev)->release(m->dev, m->owned[i]);
	mem_free(m->owned);
	mem_free(m->layers);
	mem_free(m->inv_freq);
	safet_free(m->safet);
	gguf_free(m->gguf);
	mem_free(m);
}

const struct model_cfg *model_cfg(const struct model *m)
{
	return &m->cfg;
}

struct dev *model_dev(const struct model *m)
{
	return m->dev;
}

/* ---- forward ---- */

struct model_run {
	struct model *m;
	size_t n_rows;
	uint32_t *pos;		/* host, [n_rows] */
	float *mem;		/* device, all of the below */
	float *resid, *x, *y;	/* [n_rows, d_model] */
	float *q, *attn;	/* [n_rows, n_heads d_head] */
	float *k, *v;		/* [n_rows, n_kv_heads d_head] */
	float *gate, *up;	/* [n_rows, d_mlp] */
	float *angles;		/* [n_rows, d_head] */
	const struct model_keep *keep;	/* or NULL */
	const struct model_hold *hold;	/* or NULL */
	int no_mlp;		/* the layer whose MLP is left out, or -1 */
};

/* Places r's parts one after another in r->mem, where there is one; floats of a
 * row of all of them. */
static size_t run_parts(const struct model_cfg *c, struct model_run *r)
{
	size_t d_q = (size_t)c->n_heads * c->d_head;
	size_t d_kv = (size_t)c->n_kv_heads * c->d_head;
	const struct { float **p; size_t width; } part[] = {
		{ &r->resid, c->d_model }, { &r->x, c->d_model },
		{ &r->y, c->d_model }, { &r->q, d_q }, { &r->attn, d_q },
		{ &r->k, d_kv }, { &r->v, d_kv }, { &r->gate, c->d_mlp },
		{ &r->up, c->d_mlp }, { &r->angles, c->d_head }
	};
	size_t i, width = 0;

	for (i = 0; i < sizeof(part) / sizeof(part[0]); i++) {
		if (r->mem)
			*part[i].p = r->mem + width * r->n_rows;
		width += part[i].width;
	}
	return width;
}

double model_run_bytes(const struct model_cfg *c, size_t n_rows)
{
	struct model_run none = { NULL };

	return (double)(run_parts(c, &none) * sizeof(float)) * (double)n_rows;
}

struct model_run *model_run_new(struct model *m, size_t n_rows, struct err *e)
{
	struct model_run *r = mem_array(1, sizeof(*r), e);
	size_t bytes;

	if (!r)
		return NULL;
	r->m = m;
	r->n_rows = n_rows;
	r->no_mlp = -1;
	if (mem_mul(run_parts(&m->cfg, r) * sizeof(float), n_rows, &bytes,
	            e) < 0 ||
	    !(r->mem = dev_ops(m->dev)->alloc(m->dev, bytes, e)) ||
	    !(r->pos = mem_array(n_rows, sizeof(*r->pos), e))) {
		model_run_free(r);
		return NULL;
	}
	run_parts(&m->cfg, r);
	return r;
}

void model_run_free(struct model_run *r)
{
	if (!r)
		return;
	if (r->mem)
		dev_ops(r->m->dev)->release(r->m->dev, r->mem);
	mem_free(r->pos);
	mem_free(r);
}

void model_run_keep(struct model_run *r, const struct model_keep *keep)
{
	r->keep = keep;
}

void model_run_hold(struct model_run *r, const struct model_hold *hold)
{
	r->hold = hold;
}

/* The turned queries and keys of a layer, for whoever wants them later. */
static int keep_attention(const struct model_run *r, int layer, size_t n,
                          const struct model_kv *kv, struct err *e)
{
	const struct model_cfg *c = &r->m->cfg;
	struct dev *d = r->m->dev;
	size_t d_q = (size_t)c->n_heads * c->d_head, l = (size_t)layer;
	size_t d_kv = (size_t)c->n_kv_heads * c->d_head;

	if (!r->keep)
		return 0;
	return dev_ops(d)->copy(d, r->keep->q + l * r->keep->n * d_q, r->q,
	                        n * d_q * sizeof(float), e) < 0 ||
	       dev_ops(d)->copy(d, r->keep->k + l * r->keep->n * d_kv, kv->k,
	                        n * d_kv * sizeof(float), e) < 0 ? -1 : 0;
}

float *model_resid(struct model_run *r)
{
	return r->resid;
}

static int set_angles(struct model_run *r, const struct dev_seqs *s,
                      struct err *e)
{
	struct dev *d = r->m->dev;
	size_t i, j, past;

	for (i = 0; i < s->n; i++) {
		past = s->past ? s->past[i] : 0;
		for (j = s->start[i]; j < s->start[i + 1]; j++)
			r->pos[j] = (uint32_t)(past + j - s->start[i]);
	}
	return dev_ops(d)->rope_table(d, r->pos, s->n ? s->start[s->n] : 0,
	                              r->m->inv_freq, r->m->cfg.d_head,
	                              r->angles, e);
}

int model_run_begin(struct model_run *r, const uint32_t *ids, size_t n,
                    const struct dev_seqs *s, struct err *e)
{
	struct dev *d = r->m->dev;

	if (n > r->n_rows)
		return err_set(e, ERR_RANGE, "%zu tokens, room for %zu", n,
		               r->n_rows);
	if (dev_ops(d)->embed(d, &r->m->embed, ids, n, r->resid, e) < 0)
		return -1;
	return set_angles(r, s, e);
}

/* q, k, v of the n rows in r->x, turned to their positions. */
static int project(struct model_run *r, const struct model_layer *y, size_t n,
                   const struct model_kv *kv, struct err *e)
{
	const struct model_cfg *c = &r->m->cfg;
	struct dev *d = r->m->dev;
	const struct dev_ops *o = dev_ops(d);

	const struct dev_linear qkv[] = {
		{ &y->w[MODEL_Q], y->bias[MODEL_Q], r->q },
		{ &y->w[MODEL_K], y->bias[MODEL_K], kv->k },
		{ &y->w[MODEL_V], y->bias[MODEL_V], kv->v }
	};

	if (o->linear(d, r->x, n, qkv, 3, e) < 0)
		return -1;
	if (c->qk_norm &&
	    (o->rmsnorm(d, r->q, n * c->n_heads, c->d_head, y->q_norm,
	                c->norm_eps, r->q, NULL, e) ||
	     o->rmsnorm(d, kv->k, n * c->n_kv_heads, c->d_head, y->k_norm,
	                c->norm_eps, kv->k, NULL, e)))
		return -1;
	return o->rope(d, r->q, n, c->n_heads, c->d_head, r->angles, e) ||
	       o->rope(d, kv->k, n, c->n_kv_heads, c->d_head, r->angles, e)
	       ? -1 : 0;
}

/* Keys and values of the sequences to where each keeps its own. */
static int spread(const struct model_run *r, const struct dev_seqs *s,
                  const struct model_kv *kv, struct err *e)
{
	size_t row = (size_t)r->m->cfg.n_kv_heads * r->m->cfg.d_head, i;
	const struct dev_ops *o = dev_ops(r->m->dev);

	for (i = 0; kv->to && i < s->n; i++) {
		size_t from = s->start[i] * row, to = kv->to[i] * row;
		size_t bytes = (s->start[i + 1] - s->start[i]) * row *
		               sizeof(float);

		if (o->copy(r->m->dev, kv->keep_k + to, kv->k + from, bytes,
		            e) < 0 ||
		    o->copy(r->m->dev, kv->keep_v + to, kv->v + from, bytes,
		            e) < 0)
			return -1;
	}
	return 0;
}

/* r->x = the norm in front of a layer's attention or MLP. */
static int norm(struct model_run *r, int layer, int mlp, size_t n,
                struct err *e)
{
	const struct model_cfg *c = &r->m->cfg;
	const struct model_layer *y = &r->m->layers[layer];
	const float *w = mlp ? y->mlp_norm : y->attn_norm;
	const struct model_keep *k = r->hold ? r->hold->keep : r->keep;
	struct dev *d = r->m->dev;
	float *scale = NULL;

	if (k)
		scale = (mlp ? k->mlp_scale : k->attn_scale) +
		        (size_t)layer * k->n;
	if (r->hold && r->hold->scales)
		return dev_ops(d)->attr->scale_rows(d, r->resid, scale, w, n,
		                                    c->d_model, r->x, e);
	return dev_ops(d)->rmsnorm(d, r->resid, n, c->d_model, w, c->norm_eps,
	                           r->x, r->keep ? scale : NULL, e);
}

static int attend(struct model_run *r, int layer, size_t n,
                  const struct dev_seqs *s, const struct model_kv *kv,
                  struct err *e)
{
	const struct model_cfg *c = &r->m->cfg;
	const struct dev_ops *o = dev_ops(r->m->dev);
	const float scale = 1.0f / sqrtf((float)c->d_head);
	const struct model_keep *k;
	size_t at;

	if (!r->hold)
		return o->attention(r->m->dev, r->q, kv->k_all, kv->v_all, s,
		                    kv->start, c->n_heads, c->n_kv_heads,
		                    c->d_head, scale, r->attn, e);
	k = r->hold->keep;
	at = (size_t)layer * n * c->d_head;
	return o->attr->patterns(r->m->dev, k->q + at * c->n_heads,
	                         k->k + at * c->n_kv_heads, n, c->n_heads,
	                         c->n_kv_heads, c->d_head, scale, r->hold->p,
	                         e) < 0 ||
	       o->attr->values(r->m->dev, r->hold->p, kv->v_all, n, c->n_heads,
	                       c->n_kv_heads, c->d_head, r->attn, e) < 0
	       ? -1 : 0;
}

int model_run_layer(struct model_run *r, int layer, size_t n,
                    const struct dev_seqs *s, const struct model_kv *kv,
                    model_tap_fn *tap, void *ctx, struct err *e)
{
	const struct model_cfg *c = &r->m->cfg;
	const struct model_layer *y = &r->m->layers[layer];
	struct dev *d = r->m->dev;
	const struct dev_ops *o = dev_ops(d);
	const struct dev_linear out = {
		&y->w[MODEL_O], y->bias[MODEL_O], r->y
	};
	const struct dev_linear gate_up[] = {
		{ &y->w[MODEL_GATE], NULL, r->gate },
		{ &y->w[MODEL_UP], NULL, r->up }
	};
	const struct dev_linear down = { &y->w[MODEL_DOWN], NULL, r->y };
	int rc;

	if (norm(r, layer, 0, n, e) < 0 || project(r, y, n, kv, e) < 0 ||
	    spread(r, s, kv, e) < 0 || keep_attention(r, layer, n, kv, e) < 0 ||
	    attend(r, layer, n, s, kv, e) < 0 ||
	    o->linear(d, r->attn, n, &out, 1, e) < 0 ||
	    o->axpy(d, 1, r->y, r->resid, n * c->d_model, e) < 0)
		return -1;

	if (norm(r, layer, 1, n, e) < 0)
		return -1;
	if (layer == r->no_mlp)
		return tap(ctx, layer, r->x, NULL, n, e);
	if (o->linear(d, r->x, n, gate_up, 2, e) < 0 ||
	    o->silu_mul(d, r->gate, r->up, n * c->d_mlp, e) < 0 ||
	    o->linear(d, r->gate, n, &down, 1, e) < 0)
		return -1;
	if (tap && (rc = tap(ctx, layer, r->x, r->y, n, e)) != 0)
		return rc;
	return o->axpy(d, 1, r->y, r->resid, n * c->d_model, e);
}

static int check_batch(const struct model_run *r, const struct model_batch *b,
                       struct err *e)
{
	size_t i;

	if (b->n > r->n_rows)
		return err_set(e, ERR_RANGE, "batch of %zu tokens, room for "
		               "%zu", b->n, r->n_rows);
	if (b->start[0] != 0 || b->start[b->n_seqs] != b->n)
		return err_set(e, ERR_RANGE, "batch: sequences must cover its "
		               "%zu tokens", b->n);
	for (i = 0; i < b->n_seqs; i++)
		if (b->start[i] > b->start[i + 1])
			return err_set(e, ERR_RANGE, "batch: sequence %zu ends "
			               "before it starts", i);
	return 0;
}

static int run_layers(struct model_run *r, const struct model_batch *b,
                      int first, int last, model_tap_fn *tap, void *ctx,
                      struct err *e)
{
	struct dev_seqs s = { b->n_seqs, b->start, NULL };
	const struct model_kv kv = { r->k, r->v, r->k, r->v, NULL, NULL,
	                             NULL, NULL };
	int i, rc;

	if (first < 0 || last < first || (uint32_t)last >= r->m->cfg.n_layers)
		return err_set(e, ERR_RANGE, "layers %d to %d wanted, the "
		               "model has 0 to %u", first, last,
		               r->m->cfg.n_layers - 1);
	for (i = first; i <= last; i++)
		if ((rc = model_run_layer(r, i, b->n, &s, &kv, tap, ctx, e)))
			return rc;
	return 0;
}

int model_forward(struct model_run *r, const struct model_batch *b, int last,
                  model_tap_fn *tap, void *ctx, struct err *e)
{
	struct dev_seqs s = { b->n_seqs, b->start, NULL };

	if (check_batch(r, b, e) < 0 ||
	    model_run_begin(r, b->ids, b->n, &s, e) < 0)
		return -1;
	return run_layers(r, b, 0, last, tap, ctx, e);
}

int model_forward_reads(struct model_run *r, const struct model_batch *b,
                        int last, model_tap_fn *tap, void *ctx,
                        struct err *e)
{
	int rc;

	r->no_mlp = last;
	rc = model_forward(r, b, last, tap, ctx, e);
	r->no_mlp = -1;
	return rc;
}

int model_forward_from(struct model_run *r, const struct model_batch *b,
                       const float *resid, int first, int last,
                       model_tap_fn *tap, void *ctx, struct err *e)
{
	struct dev_seqs s = { b->n_seqs, b->start, NULL };
	struct dev *d = r->m->dev;

	if (check_batch(r, b, e) < 0 || set_angles(r, &s, e) < 0)
		return -1;
	if (resid != r->resid &&
	    dev_ops(d)->copy(d, r->resid, resid, b->n * r->m->cfg.d_model *
	                     sizeof(*resid), e) < 0)
		return -1;
	return run_layers(r, b, first, last, tap, ctx, e);
}

int model_logits(struct model_run *r, const float *resid, size_t n,
                 float *logits, struct err *e)
{
	const struct model_cfg *c = &r->m->cfg;
	struct dev *d = r->m->dev;
	const struct dev_ops *o = dev_ops(d);
	struct dev_linear l = { &r->m->unembed, NULL, NULL };
	size_t at, part;

	for (at = 0; at < n; at += part) {
		part = n - at < r->n_rows ? n - at : r->n_rows;
		l.out = logits + at * c->n_vocab;
		if (o->rmsnorm(d, resid + at * c->d_model, part, c->d_model,
		               r->m->final_norm, c->norm_eps, r->x, NULL,
		               e) < 0 ||
		    o->linear(d, r->x, part, &l, 1, e) < 0)
			return -1;
	}
	return 0;
}

int model_pool(struct model_run *r, const struct model_batch *b, float *out,
               struct err *e)
{
	const struct model_cfg *c = &r->m->cfg;
	const struct dev_ops *o = dev_ops(r->m->dev);
	size_t d = c->d_model, s, i, j;
	float *rows = mem_array(b->n * d, sizeof(*rows), e);
	int rc = -1;

	if (rows && model_forward(r, b, (int)c->n_layers - 1, NULL, NULL,
	                          e) == 0 &&
	    o->rmsnorm(r->m->dev, model_resid(r), b->n, d, r->m->final_norm,
	               c->norm_eps, r->x, NULL, e) == 0)
		rc = o->get(r->m->dev, rows, r->x, b->n * d * sizeof(*rows), e);
	for (s = 0; rc == 0 && s < b->n_seqs; s++)
		for (j = 0; j < d; j++) {
			double sum = 0;

			for (i = b->start[s]; i < b->start[s + 1]; i++)
				sum += rows[i * d + j];
			out[s * d + j] = (float)(sum / (double)(b->start[s + 1] -
			                                        b->start[s]));
		}
	mem_free(rows);
	return rc;
}
