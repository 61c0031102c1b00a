/* What a prompt is attributed from. */
#include <math.h>
#include <string.h>

#include "attr_impl.h"
#include "mem.h"

/* A new target with its vector, which the caller fills. */
static float *add(struct attr *a, const struct attr_target *t, struct err *e)
{
	size_t dim = model_cfg(a->model)->d_model;

	if (t->pos >= a->n) {
		err_set(e, ERR_RANGE, "position %u wanted, the prompt has 0 to "
		        "%zu", t->pos, a->n - 1);
		return NULL;
	}
	if (t->pos == 0) {
		err_set(e, ERR_RANGE, "position 0 has no features before it: "
		        "there is nothing to attribute");
		return NULL;
	}
	if (mem_grow(&a->target, &a->cap_targets, a->n_targets + 1,
	             sizeof(*a->target), e) < 0 ||
	    mem_grow(&a->target_vec, &a->cap_vec, (a->n_targets + 1) * dim,
	             sizeof(*a->target_vec), e) < 0)
		return NULL;
	a->target[a->n_targets] = *t;
	return a->target_vec + dim * a->n_targets++;
}

/* Logits at pos into a->logits, made probabilities. */
static int probabilities(struct attr *a, size_t pos, struct err *e)
{
	size_t n = model_cfg(a->model)->n_vocab, i;
	double max = -INFINITY, sum = 0;

	if (pos >= a->n)
		return err_set(e, ERR_RANGE, "position %zu wanted, the prompt "
		               "has 0 to %zu", pos, a->n - 1);
	if (a->logits_pos == pos)
		return 0;
	a->logits_pos = SIZE_MAX;
	if (!a->logits && !(a->logits = mem_array(n, sizeof(*a->logits), e)))
		return -1;
	if (model_frozen_logits(a->frozen, pos, a->logits, e) < 0)
		return -1;
	for (i = 0; i < n; i++) {
		if (!isfinite(a->logits[i]))
			return err_set(e, ERR_FORMAT, "position %zu: the logit "
			               "of token %zu is no number", pos, i);
		max = a->logits[i] > max ? a->logits[i] : max;
	}
	for (i = 0; i < n; i++)
		sum += exp(a->logits[i] - max);
	for (i = 0; i < n; i++)
		a->logits[i] = (float)(exp(a->logits[i] - max) / sum);
	a->logits_pos = pos;
	return 0;
}

static int add_token(struct attr *a, size_t pos, uint32_t id, struct err *e)
{
	struct attr_target t = {
		ATTR_TOKEN, model_cfg(a->model)->n_layers, (uint32_t)pos, id, 0,
		a->logits[id]
	};
	float *v = add(a, &t, e);

	return v ? model_unembed_centred(a->frozen, &id, 1, v, e) : -1;
}

static int check_token(const struct attr *a, uint32_t id, struct err *e)
{
	uint32_t n = model_cfg(a->model)->n_vocab;

	return id < n ? 0 : err_set(e, ERR_RANGE, "token %u wanted, the "
	                            "vocabulary has 0 to %u", id, n - 1);
}

int attr_target_top(struct attr *a, size_t pos, size_t max_logits, double prob,
                    struct err *e)
{
	size_t n = model_cfg(a->model)->n_vocab, i, best;
	uint8_t *taken = mem_array(n, 1, e);
	double sum = 0;
	int rc = -1;

	if (!taken || probabilities(a, pos, e) < 0)
		goto done;
	while (max_logits-- && sum < prob) {
		for (best = n, i = 0; i < n; i++)
			if (!taken[i] && (best == n ||
			                  a->logits[i] > a->logits[best]))
				best = i;
		if (best == n)
			break;
		taken[best] = 1;
		sum += a->logits[best];
		if (add_token(a, pos, (uint32_t)best, e) < 0)
			goto done;
	}
	rc = 0;
done:
	mem_free(taken);
	return rc;
}

int attr_target_token(struct attr *a, size_t pos, uint32_t id, struct err *e)
{
	if (check_token(a, id, e) < 0 || probabilities(a, pos, e) < 0)
		return -1;
	return add_token(a, pos, id, e);
}

int attr_target_diff(struct attr *a, size_t pos, uint32_t more, uint32_t less,
                     struct err *e)
{
	size_t dim = model_cfg(a->model)->d_model, i;
	const uint32_t ids[2] = { more, less };
	struct attr_target t = {
		ATTR_DIFF, model_cfg(a->model)->n_layers, (uint32_t)pos, more,
		less, 0
	};
	float *two, *v;
	int rc = -1;

	if (check_token(a, more, e) < 0 || check_token(a, less, e) < 0 ||
	    probabilities(a, pos, e) < 0)
		return -1;
	t.weight = fabsf(a->logits[more] - a->logits[less]);
	two = mem_scratch(2 * dim, sizeof(*two), e);
	if (!two || !(v = add(a, &t, e)) ||
	    model_unembed_centred(a->frozen, ids, 2, two, e) < 0)
		goto done;
	for (i = 0; i < dim; i++)
		v[i] = two[i] - two[dim + i];
	rc = 0;
done:
	mem_free(two);
	return rc;
}

int attr_target_feature(struct attr *a, uint32_t layer, uint32_t latent,
                        size_t pos, struct err *e)
{
	const struct dev_ops *o = dev_ops(model_dev(a->model));
	size_t dim = model_cfg(a->model)->d_model;
	struct attr_target t = {
		ATTR_LATENT, layer, (uint32_t)pos, latent, 0, 1
	};
	const struct tc *c;
	int own = 0, rc = -1;
	float *v;

	if (layer >= model_cfg(a->model)->n_layers ||
	    (!attr_set_has(a->set, (int)layer) && !a->neurons))
		return err_set(e, ERR_RANGE, "layer %u has no transcoder",
		               layer);
	if (!attr_set_has(a->set, (int)layer))
		return (v = add(a, &t, e)) ? attr_neuron_target(
			a, layer, latent, pos, v, e) : -1;
	c = attr_set_get(a->set, (int)layer, &own, e);
	if (!c)
		return -1;
	if (latent >= c->cfg.n_latents)
		err_set(e, ERR_RANGE, "latent %u wanted, layer %u has 0 to %u",
		        latent, layer, c->cfg.n_latents - 1);
	else if ((v = add(a, &t, e)))
		rc = o->get(model_dev(a->model), v, c->w_enc + latent * dim,
		            dim * sizeof(*v), e);
	if (own)
		tc_free((struct tc *)c);
	return rc;
}
