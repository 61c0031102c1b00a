#include "feat.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dev_tc.h"
#include "feat_impl.h"
#include "mem.h"
#include "sha256.h"

enum {
	BLOCK_FLOATS = 64 << 20,	/* of logits or cosines at a time */
	BLOCK = 16		/* columns of them looked at together */
};

/* Rows of which the strongest and weakest columns are looked for. */
struct pick {
	const float *rows;	/* [n, width] host */
	size_t width, keep;
	const float *scale;	/* [n] a row's factor, or NULL */
	const float *col_scale;	/* [width] or NULL */
	size_t self;		/* row i leaves out column self + i */
	int centre;		/* subtract the row's mean */
	uint32_t *top_id, *bottom_id;	/* bottom NULL: not wanted */
	float *top, *bottom;	/* [n, keep] */
};

/* Puts v in its place among the n best so far, of keep; ids come ascending, so
 * that of equals the lower stays in front. */
static size_t insert(uint32_t *id, float *value, size_t n, size_t keep,
                     uint32_t i, float v)
{
	size_t j;

	if (keep == 0 || (n == keep && !(v > value[n - 1])))
		return n;
	j = n < keep ? n++ : n - 1;
	for (; j > 0 && v > value[j - 1]; j--) {
		value[j] = value[j - 1];
		id[j] = id[j - 1];
	}
	value[j] = v;
	id[j] = i;
	return n;
}

/* Whether any of BLOCK values is above hi or below lo: most blocks of a row have
 * none, and this takes several values a cycle. */
static int beyond(const float *v, float hi, float lo)
{
	int any = 0, i;

	for (i = 0; i < BLOCK; i++)
		any |= (v[i] > hi) | (v[i] < lo);
	return any;
}

static void pick_row(void *ctx, size_t r, int thread)
{
	const struct pick *p = ctx;
	const float *row = p->rows + r * p->width;
	uint32_t *top_id = p->top_id + r * p->keep;
	float *top = p->top + r * p->keep, *bottom = NULL;
	size_t n_top = 0, n_bottom = 0, i, j, n;
	double mean = 0;

	(void)thread;
	if (p->bottom)
		bottom = p->bottom + r * p->keep;
	for (i = 0; i < p->width; i += n) {
		float v[BLOCK];

		n = p->width - i < BLOCK ? p->width - i : BLOCK;
		for (j = 0; j < n; j++)
			v[j] = p->col_scale ? row[i + j] * p->col_scale[i + j]
			                    : row[i + j];
		for (j = 0; p->centre && j < n; j++)
			mean += (double)row[i + j];
		if (n == BLOCK && p->keep && n_top == p->keep &&
		    !beyond(v, top[n_top - 1],
		            bottom ? -bottom[n_bottom - 1] : -INFINITY))
			continue;
		for (j = 0; j < n; j++) {
			uint32_t id = (uint32_t)(i + j);

			if (id == p->self + r && !p->centre)
				continue;
			n_top = insert(top_id, top, n_top, p->keep, id, v[j]);
			if (bottom)
				n_bottom = insert(p->bottom_id + r * p->keep,
				                  bottom, n_bottom, p->keep, id,
				                  -v[j]);
		}
	}
	mean /= (double)p->width;
	for (i = 0; i < n_top; i++)
		top[i] = (float)((top[i] - mean) *
		                 (double)(p->scale ? p->scale[r] : 1));
	for (i = 0; i < n_bottom; i++)
		bottom[i] = (float)((-bottom[i] - mean) *
		                    (double)(p->scale ? p->scale[r] : 1));
}

/* sq[n] = mean square of each row of the decoder. */
static int mean_squares(const struct tc *t, double *sq, struct err *e)
{
	size_t i;

	if (dev_ops(t->dev)->tc->row_sq(t->dev, t->w_dec, t->cfg.n_latents,
	                                t->cfg.d_out, NULL, sq, e) < 0)
		return -1;
	for (i = 0; i < t->cfg.n_latents; i++)
		sq[i] /= t->cfg.d_out;
	return 0;
}

static size_t block_rows(size_t width)
{
	size_t n = BLOCK_FLOATS / width;

	return n < 1 ? 1 : n > 1024 ? 1024 : n;
}

/*
 * model_logits divides a row by its root mean square first, which leaves the
 * order as it is; multiplying by it gives the logits of the row itself.
 */
static int logits(struct feat_weights *w, struct model *m, const struct tc *t,
                  const double *sq, struct err *e)
{
	const struct model_cfg *c = model_cfg(m);
	const struct dev_ops *ops = dev_ops(t->dev);
	size_t rows = block_rows(c->n_vocab), i, n, j;
	struct model_run *run = model_run_new(m, rows, e);
	size_t bytes = rows * c->n_vocab * sizeof(float);
	float *out = ops->alloc(t->dev, bytes, e);
	float *host = mem_scratch(bytes, 1, e);
	float *scale = mem_array(rows, sizeof(*scale), e);
	int rc = -1;

	if (!run || !out || !host || !scale)
		goto done;
	for (i = 0; i < t->cfg.n_latents; i += n) {
		struct pick p = {
			.rows = host, .width = c->n_vocab, .scale = scale,
			.keep = w->n_logits, .centre = 1,
			.top_id = w->top_id + i * w->n_logits,
			.top = w->top_logit + i * w->n_logits,
			.bottom_id = w->bottom_id + i * w->n_logits,
			.bottom = w->bottom_logit + i * w->n_logits
		};

		n = t->cfg.n_latents - i < rows ? t->cfg.n_latents - i : rows;
		for (j = 0; j < n; j++)
			scale[j] = (float)sqrt(sq[i + j] +
			                       (double)c->norm_eps);
		if (model_logits(run, t->w_dec + i * t->cfg.d_out, n, out,
		                 e) < 0 ||
		    ops->get(t->dev, host, out, n * c->n_vocab *
		             sizeof(float), e) < 0)
			goto done;
		par_for(dev_par(t->dev), n, pick_row, &p);
	}
	rc = 0;
done:
	mem_free(scale);
	mem_free(host);
	ops->release(t->dev, out);
	model_run_free(run);
	return rc;
}

/* Cosines of each decoder row with all others. */
static int near(struct feat_weights *w, const struct tc *t, const double *sq,
                struct err *e)
{
	const struct dev_ops *ops = dev_ops(t->dev);
	size_t n_latents = t->cfg.n_latents, d = t->cfg.d_out;
	size_t rows = block_rows(n_latents), i, n;
	size_t bytes = rows * n_latents * sizeof(float);
	float *out = ops->alloc(t->dev, bytes, e);
	float *host = mem_scratch(bytes, 1, e);
	float *inverse = mem_array(n_latents, sizeof(*inverse), e);
	int rc = -1;

	if (!out || !host || !inverse)
		goto done;
	for (i = 0; i < n_latents; i++)
		inverse[i] = sq[i] > 0 ?
			(float)(1 / sqrt(sq[i] * (double)d)) : 0;
	for (i = 0; i < n_latents; i += n) {
		struct pick p = {
			.rows = host, .width = n_latents, .keep = w->n_near,
			.scale = inverse + i, .col_scale = inverse,
			.self = i, .top_id = w->near_id + i * w->n_near,
			.top = w->near_cos + i * w->n_near
		};

		n = n_latents - i < rows ? n_latents - i : rows;
		if (ops->gemm(t->dev, 0, 1, n, n_latents, d, 1,
		              t->w_dec + i * d, d, t->w_dec, d, 0, out,
		              n_latents, e) < 0 ||
		    ops->get(t->dev, host, out, n * n_latents *
		             sizeof(float), e) < 0)
			goto done;
		par_for(dev_par(t->dev), n, pick_row, &p);
	}
	rc = 0;
done:
	mem_free(inverse);
	mem_free(host);
	ops->release(t->dev, out);
	return rc;
}

int feat_weights_init(struct feat_weights *w, struct model *m,
                      const struct tc *t, size_t n_logits, size_t n_near,
                      struct err *e)
{
	size_t n = t->cfg.n_latents, n_vocab = model_cfg(m)->n_vocab;
	double *sq = mem_array(n, sizeof(*sq), e);

	memset(w, 0, sizeof(*w));
	w->n_logits = n_logits < n_vocab ? n_logits : n_vocab;
	w->n_near = n_near < n ? n_near : n - 1;
	n_logits = n * w->n_logits;
	n_near = n * w->n_near;
	if (!sq || mean_squares(t, sq, e) < 0 ||
	    !(w->top_id = mem_array(n_logits, sizeof(uint32_t), e)) ||
	    !(w->bottom_id = mem_array(n_logits, sizeof(uint32_t), e)) ||
	    !(w->top_logit = mem_array(n_logits, sizeof(float), e)) ||
	    !(w->bottom_logit = mem_array(n_logits, sizeof(float), e)) ||
	    !(w->near_id = mem_array(n_near, sizeof(uint32_t), e)) ||
	    !(w->near_cos = mem_array(n_near, sizeof(float), e)) ||
	    (n_logits && logits(w, m, t, sq, e) < 0) ||
	    (n_near && near(w, t, sq, e) < 0)) {
		feat_weights_free(w);
		mem_free(sq);
		return -1;
	}
	mem_free(sq);
	return 0;
}

void feat_weights_free(struct feat_weights *w)
{
	mem_free(w->top_id);
	mem_free(w->bottom_id);
	mem_free(w->near_id);
	mem_free(w->top_logit);
	mem_free(w->bottom_logit);
	mem_free(w->near_cos);
	memset(w, 0, sizeof(*w));
}

/* ---- the checkpoint ---- */

struct digest {
	const char *dir;
	const struct eval_set *set;
	char (*hex)[SHA256_HEX];	/* [n][3] */
	struct err *err;
};

static const char *const parts[3] = {
	"cfg.json", "sae.safetensors", "thresholds.safetensors"
};

static void digest_layer(void *ctx, size_t k, int thread)
{
	struct digest *d = ctx;
	size_t n = d->set->tc[k]->cfg.variant == TC_TOPK ? 2 : 3, i;

	(void)thread;
	for (i = 0; i < n && !d->err[k].code; i++) {
		char *path = mem_printf(&d->err[k], "%s/layers.%d.mlp/%s",
		                        d->dir, d->set->layer[k], parts[i]);

		if (path)
			sha256_file(path, d->hex[k * 3 + i], &d->err[k]);
		mem_free(path);
	}
}

int feat_checkpoint(const char *dir, const struct eval_set *s,
                    char hex[65], struct err *e)
{
	size_t n = (size_t)s->n, k, i;
	struct digest d = { dir, s, NULL, NULL };
	struct sha256 *sum = sha256_new(e);
	int rc = -1;

	d.hex = mem_array(n * 3, sizeof(*d.hex), e);
	d.err = mem_array(n, sizeof(*d.err), e);
	if (!sum || !d.hex || !d.err)
		goto done;
	par_for(n ? dev_par(s->tc[0]->dev) : NULL, n, digest_layer, &d);
	for (k = 0; k < n; k++) {
		char line[32];

		if (d.err[k].code) {
			*e = d.err[k];
			goto done;
		}
		snprintf(line, sizeof(line), "%d\n", s->layer[k]);
		if (sha256_add(sum, line, strlen(line), e) < 0)
			goto done;
		for (i = 0; i < 3; i++)
			if (sha256_add(sum, d.hex[k * 3 + i],
			               strlen(d.hex[k * 3 + i]), e) < 0)
				goto done;
	}
	rc = sha256_end(sum, hex, e);
done:
	mem_free(d.hex);
	mem_free(d.err);
	sha256_free(sum);
	return rc;
}
