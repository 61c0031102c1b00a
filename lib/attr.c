#include "attr.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attr_impl.h"
#include "dev_tc.h"
#include "mem.h"

static struct dev *dev(const struct attr *a)
{
	return model_dev(a->model);
}

static const struct dev_ops *ops(const struct attr *a)
{
	return dev_ops(dev(a));
}

struct attr *attr_new(struct model *m, struct attr_set *s, struct err *e)
{
	struct attr *a = mem_array(1, sizeof(*a), e);

	if (!a)
		return NULL;
	a->model = m;
	a->set = s;
	a->logits_pos = SIZE_MAX;
	return a;
}

/* Forgets the prompt; the frozen model's copies of weights stay. */
static void forget(struct attr *a)
{
	uint32_t l;

	for (l = 0; a->layer && l < model_cfg(a->model)->n_layers; l++) {
		struct attr_layer *y = &a->layer[l];

		mem_free(y->enc);
		ops(a)->release(dev(a), y->dec);
		ops(a)->release(dev(a), y->row);
		ops(a)->release(dev(a), y->value);
		mem_free(y->host_row);
		mem_free(y->gain);
		ops(a)->release(dev(a), y->error);
	}
	mem_free(a->layer);
	mem_free(a->end);
	mem_free(a->ids);
	ops(a)->release(dev(a), a->embed);
	attr_rows_free(a->rows);
	mem_free(a->done);
	a->layer = NULL;
	a->end = NULL;
	a->ids = NULL;
	a->embed = NULL;
	a->rows = NULL;
	a->done = NULL;
	a->n = a->n_features = a->n_targets = a->n_rows = 0;
	a->logits_pos = SIZE_MAX;
}

void attr_free(struct attr *a)
{
	if (!a)
		return;
	forget(a);
	model_frozen_free(a->frozen);
	mem_free(a->feature);
	mem_free(a->target);
	mem_free(a->target_vec);
	mem_free(a->logits);
	mem_free(a->owner);
	mem_free(a);
}

size_t attr_features(const struct attr *a, const struct attr_feature **f)
{
	*f = a->feature;
	return a->n_features;
}

/* ---- a layer of the prompt ---- */

static int by_latent(const void *a, const void *b)
{
	const struct attr_feature *x = a, *y = b;

	return (x->latent > y->latent) - (x->latent < y->latent);
}

/* The codes become features of positions from 1 on, in order. */
static int take_codes(struct attr *a, int layer, struct err *e)
{
	const struct tc_codes *c = &a->codes;
	size_t p, i, first;

	for (p = 0; p < a->n; p++) {
		first = a->n_features;
		if (mem_grow(&a->feature, &a->cap_features,
		             a->n_features + c->k, sizeof(*a->feature), e) < 0)
			return -1;
		for (i = p * c->k; p && i < (p + 1) * c->k &&
		     c->latent[i] != DEV_TC_NONE; i++)
			a->feature[a->n_features++] = (struct attr_feature){
				(uint32_t)layer, (uint32_t)p, c->latent[i],
				c->value[i]
			};
		qsort(a->feature + first, a->n_features - first,
		      sizeof(*a->feature), by_latent);
		a->end[(size_t)layer * a->n + p] = a->n_features;
	}
	return 0;
}

/* Rows of w [.., dim] (device) named by ids, as a new device table. */
static float *pick(struct attr *a, const float *w, const uint32_t *ids,
                   size_t n, size_t dim, struct err *e)
{
	uint32_t *on_dev = ops(a)->alloc(dev(a), n * sizeof(*ids), e);
	float *out = on_dev ? ops(a)->alloc(dev(a), n * dim * sizeof(*out), e)
	                    : NULL;

	if (out && (ops(a)->put(dev(a), on_dev, ids, n * sizeof(*ids), e) < 0 ||
	            ops(a)->tc->gather(dev(a), w, on_dev, n, dim, out, e) < 0)) {
		ops(a)->release(dev(a), out);
		out = NULL;
	}
	ops(a)->release(dev(a), on_dev);
	return out;
}

/* Keeps the encoder and decoder rows of the active latents of a transcoder that
 * will be gone; y->host_row turns from latents to numbers of kept rows. */
static int keep_rows(struct attr *a, struct attr_layer *y, const struct tc *t,
                     size_t n, struct err *e)
{
	uint32_t *number = mem_array(t->cfg.n_latents, sizeof(*number), e);
	uint32_t *ids = mem_array(n, sizeof(*ids), e), m = 0;
	size_t dim = t->cfg.d_in, i;
	float *enc = NULL;
	int rc = -1;

	if (!number || !ids)
		goto done;
	for (i = 0; i < n; i++) {
		uint32_t latent = y->host_row[i];

		if (!number[latent]) {
			ids[m] = latent;
			number[latent] = ++m;
		}
		y->host_row[i] = number[latent] - 1;
	}
	if (!(y->dec = pick(a, t->w_dec, ids, m, dim, e)) ||
	    !(enc = pick(a, t->w_enc, ids, m, dim, e)) ||
	    !(y->enc = mem_scratch((size_t)m * dim, sizeof(*enc), e)))
		goto done;
	rc = ops(a)->get(dev(a), y->enc, enc, (size_t)m * dim * sizeof(*enc),
	                 e);
done:
	ops(a)->release(dev(a), enc);
	mem_free(number);
	mem_free(ids);
	return rc;
}

static int take_features(struct attr *a, int layer, const struct tc *t, int own,
                         struct err *e)
{
	struct attr_layer *y = &a->layer[layer];
	size_t first = a->n_features, n, i, bytes;
	float *value = NULL;
	int rc = -1;

	if (take_codes(a, layer, e) < 0)
		return -1;
	n = a->n_features - first;
	bytes = n * sizeof(float);
	if (!(y->host_row = mem_array(n, sizeof(*y->host_row), e)) ||
	    !(value = mem_array(n, sizeof(*value), e)) ||
	    !(y->row = ops(a)->alloc(dev(a), bytes, e)) ||
	    !(y->value = ops(a)->alloc(dev(a), bytes, e)))
		goto done;
	for (i = 0; i < n; i++) {
		y->host_row[i] = a->feature[first + i].latent;
		value[i] = a->feature[first + i].value;
		if (!isfinite(value[i])) {
			err_set(e, ERR_FORMAT, "layer %d, position %u, latent "
			        "%u: value is no number", layer,
			        a->feature[first + i].pos, y->host_row[i]);
			goto done;
		}
	}
	y->enc_all = t->w_enc;
	y->dec_all = t->w_dec;
	if (own && keep_rows(a, y, t, n, e) < 0)
		goto done;
	if (ops(a)->put(dev(a), y->row, y->host_row, bytes, e) < 0 ||
	    ops(a)->put(dev(a), y->value, value, bytes, e) < 0)
		goto done;
	rc = 0;
done:
	mem_free(value);
	return rc;
}

/* What the features and the skip connection leave of an MLP's output y; with
 * neurons, these become the features before. */
static int take_error(struct attr *a, int layer, const struct tc *t,
                      const float *x, const float *y, struct err *e)
{
	size_t dim = model_cfg(a->model)->d_model, n = a->n * dim, i;
	float *err = ops(a)->alloc(dev(a), n * sizeof(*err), e);
	float *host = mem_scratch(n, sizeof(*host), e);
	int rc = -1;

	a->layer[layer].error = err;
	if (!err || !host ||
	    ops(a)->copy(dev(a), err, y, n * sizeof(*err), e) < 0)
		goto done;
	if (t && (tc_decode(t, x, &a->codes, a->hat, e) < 0 ||
	          ops(a)->axpy(dev(a), -1, a->hat, err, n, e) < 0))
		goto done;
	if (ops(a)->get(dev(a), host, err, n * sizeof(*err), e) < 0)
		goto done;
	for (i = 0; i < n; i++)
		if (!isfinite(host[i])) {
			err_set(e, ERR_FORMAT, "layer %d, position %zu: the "
			        "MLP's output is no number", layer, i / dim);
			goto done;
		}
	if (!t && a->neurons &&
	    attr_take_neurons(a, layer, x, host, a->n, e) < 0)
		goto done;
	memset(host, 0, dim * sizeof(*host));	/* position 0 */
	rc = ops(a)->put(dev(a), err, host, (t ? dim : n) * sizeof(*err), e);
done:
	mem_free(host);
	return rc;
}

static int tap(void *ctx, int layer, const float *x, float *y, size_t n,
               struct err *e)
{
	struct attr *a = ctx;
	const struct tc *t;
	size_t p;
	int own = 0, rc = -1;

	t = attr_set_get(a->set, layer, &own, e);
	if (!t) {
		if (attr_set_has(a->set, layer))
			return -1;
		for (p = 0; p < n; p++)
			a->end[(size_t)layer * n + p] = a->n_features;
		return take_error(a, layer, NULL, x, y, e);
	}
	if (tc_encode(t, x, n, 0, &a->codes, e) < 0 ||
	    take_features(a, layer, t, own, e) < 0)
		goto done;
	rc = take_error(a, layer, t, x, y, e);
done:
	tc_codes_free(&a->codes);
	if (own)
		tc_free((struct tc *)t);
	return rc;
}

int attr_prompt(struct attr *a, const uint32_t *ids, size_t n, struct err *e)
{
	const struct model_cfg *c = model_cfg(a->model);
	size_t bytes = n * c->d_model * sizeof(float);
	int rc = -1;

	forget(a);
	/* checked before anything of its size is made */
	if (n == 0)
		return err_set(e, ERR_FORMAT, "the prompt is empty");
	if (n == 1)
		return err_set(e, ERR_FORMAT, "the prompt is one token: its "
		               "first position has no features, so there is "
		               "nothing to attribute");
	if (n > c->n_ctx)
		return err_set(e, ERR_RANGE, "the prompt has %zu tokens, the "
		               "model takes %u", n, c->n_ctx);
	a->n = n;
	if (!(a->layer = mem_array(c->n_layers, sizeof(*a->layer), e)) ||
	    !(a->end = mem_array(c->n_layers * n, sizeof(*a->end), e)) ||
	    !(a->ids = mem_array(n, sizeof(*a->ids), e)) ||
	    !(a->embed = ops(a)->alloc(dev(a), bytes, e)) ||
	    !(a->hat = ops(a)->alloc(dev(a), bytes, e)))
		goto done;
	memcpy(a->ids, ids, n * sizeof(*ids));
	if (model_embed_rows(a->model, ids, n, a->embed, e) < 0)
		goto done;
	if (!a->frozen)
		rc = (a->frozen = model_frozen_new(a->model, ids, n, tap, a, e))
		     ? 0 : -1;
	else
		rc = model_frozen_set(a->frozen, ids, n, tap, a, e);
done:
	ops(a)->release(dev(a), a->hat);
	a->hat = NULL;
	if (rc)
		forget(a);
	return rc ? -1 : 0;
}

int attr_encoder(const struct attr *a, size_t i, float *out, struct err *e)
{
	const struct attr_steps s = attr_steps_of(a);
	size_t layer = a->feature[i].layer;
	size_t dim = model_cfg(a->model)->d_model, k;
	const struct attr_layer *y = &a->layer[layer];
	size_t row = y->host_row[i - attr_steps_first(&s, layer)];

	if (y->enc) {
		memcpy(out, y->enc + row * dim, dim * sizeof(*out));
		for (k = 0; y->gain && k < dim; k++)
			out[k] *= y->gain[i - attr_steps_first(&s, layer)];
		return 0;
	}
	return ops(a)->get(dev(a), out, y->enc_all + row * dim,
	                   dim * sizeof(*out), e);
}
