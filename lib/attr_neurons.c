/*
 * Neurons in the place of a missing transcoder's features: at each position
 * those whose part of the MLP's output is the longest; the others stay together
 * as its error.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attr_impl.h"
#include "mem.h"
#include "model_neurons.h"

void attr_neurons(struct attr *a, size_t n)
{
	uint32_t most = model_cfg(a->model)->d_mlp;

	a->neurons = n < most ? n : most;
}

struct part {
	float length;
	uint32_t neuron;
};

static int longest(const void *x, const void *y)
{
	const struct part *a = x, *b = y;

	if (a->length != b->length)
		return a->length < b->length ? 1 : -1;
	return (a->neuron > b->neuron) - (a->neuron < b->neuron);
}

static int by_number(const void *x, const void *y)
{
	const struct part *a = x, *b = y;

	return (a->neuron > b->neuron) - (a->neuron < b->neuron);
}

/* The layer's features of n positions, from all neurons' values; out
 * [d_mlp, d_model]. */
static int choose(struct attr *a, int layer, const float *value,
                  const float *out, size_t n, struct err *e)
{
	const struct model_cfg *c = model_cfg(a->model);
	struct part *part = mem_scratch(c->d_mlp, sizeof(*part), e);
	float *norm = mem_scratch(c->d_mlp, sizeof(*norm), e);
	int rc = -1;
	size_t p, i, k;

	if (!part || !norm)
		goto done;
	for (i = 0; i < c->d_mlp; i++) {
		double s = 0;

		for (k = 0; k < c->d_model; k++)
			s += (double)out[i * c->d_model + k] *
			     (double)out[i * c->d_model + k];
		norm[i] = (float)sqrt(s);
	}
	for (p = 0; p < n; p++, value += c->d_mlp) {
		for (i = 0; i < c->d_mlp; i++) {
			if (!isfinite(value[i])) {
				err_set(e, ERR_FORMAT, "layer %d, position "
				        "%zu: the value of neuron %zu is no "
				        "number", layer, p, i);
				goto done;
			}
			part[i] = (struct part){ fabsf(value[i]) * norm[i],
			                         (uint32_t)i };
		}
		qsort(part, c->d_mlp, sizeof(*part), longest);
		qsort(part, a->neurons, sizeof(*part), by_number);
		if (mem_grow(&a->feature, &a->cap_features,
		             a->n_features + a->neurons, sizeof(*a->feature),
		             e) < 0)
			goto done;
		for (i = 0; p && i < a->neurons; i++)
			if (value[part[i].neuron] != 0)
				a->feature[a->n_features++] =
					(struct attr_feature){ (uint32_t)layer,
					(uint32_t)p, part[i].neuron,
					value[part[i].neuron] };
		a->end[(size_t)layer * n + p] = a->n_features;
	}
	rc = 0;
done:
	mem_free(part);
	mem_free(norm);
	return rc;
}

/* Rows in and out of the neurons that the features from `first` on are, once
 * each; y->host_row their numbers. */
static int keep_rows(struct attr *a, struct attr_layer *y, int layer,
                     size_t first, const float *out, struct err *e)
{
	const struct dev_ops *o = dev_ops(model_dev(a->model));
	const struct model_cfg *c = model_cfg(a->model);
	size_t n = a->n_features - first, dim = c->d_model, i, bytes;
	uint32_t *number = mem_array(c->d_mlp, sizeof(*number), e);
	uint32_t *ids = mem_array(c->d_mlp, sizeof(*ids), e), m = 0;
	float *dec = NULL;
	int rc = -1;

	if (!number || !ids)
		goto done;
	for (i = 0; i < n; i++) {
		uint32_t neuron = a->feature[first + i].latent;

		if (!number[neuron]) {
			ids[m] = neuron;
			number[neuron] = ++m;
		}
		y->host_row[i] = number[neuron] - 1;
	}
	bytes = (size_t)m * dim * sizeof(*dec);
	if (!(dec = mem_scratch((size_t)m * dim, sizeof(*dec), e)) ||
	    !(y->enc = mem_scratch((size_t)m * dim, sizeof(*y->enc), e)) ||
	    !(y->dec = o->alloc(model_dev(a->model), bytes, e)))
		goto done;
	for (i = 0; i < m; i++)
		memcpy(dec + i * dim, out + ids[i] * dim, dim * sizeof(*dec));
	if (model_neurons_in(a->model, layer, ids, m, y->enc, e) == 0)
		rc = o->put(model_dev(a->model), y->dec, dec, bytes, e);
done:
	mem_free(number);
	mem_free(ids);
	mem_free(dec);
	return rc;
}

/* What the chosen neurons leave of written [n, d_model] (host). */
static void leave(const struct attr *a, size_t first, const float *out,
                  float *written)
{
	size_t dim = model_cfg(a->model)->d_model, i, k;

	for (i = first; i < a->n_features; i++) {
		const struct attr_feature *f = &a->feature[i];

		for (k = 0; k < dim; k++)
			written[f->pos * dim + k] -= f->value *
				out[f->latent * dim + k];
	}
}

int attr_take_neurons(struct attr *a, int layer, const float *x, float *written,
                      size_t n, struct err *e)
{
	const struct dev_ops *o = dev_ops(model_dev(a->model));
	const struct model_cfg *c = model_cfg(a->model);
	struct attr_layer *y = &a->layer[layer];
	float *gate = mem_scratch(n * c->d_mlp, sizeof(*gate), e);
	float *value = mem_scratch(n * c->d_mlp, sizeof(*value), e);
	float *out = mem_scratch((size_t)c->d_mlp * c->d_model, sizeof(*out), e);
	size_t first = a->n_features, m, i;
	int rc = -1;

	if (!gate || !value || !out ||
	    model_neurons(a->model, layer, x, n, gate, value, e) < 0 ||
	    model_neurons_out(a->model, layer, out, e) < 0 ||
	    choose(a, layer, value, out, n, e) < 0)
		goto done;
	m = a->n_features - first;
	if (!(y->gain = mem_array(m, sizeof(*y->gain), e)) ||
	    !(y->host_row = mem_array(m, sizeof(*y->host_row), e)) ||
	    !(y->row = o->alloc(model_dev(a->model), m * sizeof(*y->row), e)) ||
	    !(y->value = o->alloc(model_dev(a->model), m * sizeof(float), e)) ||
	    keep_rows(a, y, layer, first, out, e) < 0)
		goto done;
	for (i = 0; i < m; i++) {
		const struct attr_feature *f = &a->feature[first + i];

		y->gain[i] = gate[f->pos * c->d_mlp + f->latent];
		value[i] = f->value;
	}
	leave(a, first, out, written);
	if (o->put(model_dev(a->model), y->row, y->host_row,
	           m * sizeof(*y->row), e) == 0)
		rc = o->put(model_dev(a->model), y->value, value,
		            m * sizeof(*value), e);
done:
	mem_free(gate);
	mem_free(value);
	mem_free(out);
	return rc;
}

int attr_neuron_target(struct attr *a, uint32_t layer, uint32_t neuron,
                       size_t pos, float *v, struct err *e)
{
	size_t dim = model_cfg(a->model)->d_model, k;
	const struct attr_layer *y = &a->layer[layer];
	const struct attr_steps s = attr_steps_of(a);
	size_t i = pos ? a->end[layer * a->n + pos - 1]
	               : attr_steps_first(&s, layer);

	for (; i < a->end[layer * a->n + pos]; i++)
		if (a->feature[i].latent == neuron)
			break;
	if (i == a->end[layer * a->n + pos])
		return err_set(e, ERR_RANGE, "neuron %u is none of the %zu "
		               "strongest of layer %u at position %zu", neuron,
		               a->neurons, layer, pos);
	if (model_neurons_in(a->model, (int)layer, &neuron, 1, v, e) < 0)
		return -1;
	for (k = 0; k < dim; k++)
		v[k] *= y->gain[i - attr_steps_first(&s, layer)];
	return 0;
}

int attr_edit_neurons(struct attr *a, const struct attr_intervention *v,
                      int layer, const float *x, float *y, size_t base,
                      size_t n, struct err *e)
{
	const struct dev_ops *o = dev_ops(model_dev(a->model));
	const struct model_cfg *c = model_cfg(a->model);
	size_t dim = c->d_model, size = n * dim, i, p, k;
	float *gate = mem_scratch(n * c->d_mlp, sizeof(*gate), e);
	float *value = mem_scratch(n * c->d_mlp, sizeof(*value), e);
	float *out = mem_scratch(c->d_mlp * dim, sizeof(*out), e);
	float *host = mem_scratch(size, sizeof(*host), e);
	int rc = -1;

	if (!gate || !value || !out || !host ||
	    o->get(model_dev(a->model), host, y, size * sizeof(*host), e) < 0 ||
	    model_neurons(a->model, layer, x, n, gate, value, e) < 0 ||
	    model_neurons_out(a->model, layer, out, e) < 0)
		goto done;
	for (i = 0; i < v->n_edits; i++) {
		const struct attr_edit *d = &v->edit[i];

		for (p = 0; d->layer == (uint32_t)layer && p < n; p++) {
			float old = base + p ? value[p * c->d_mlp + d->latent]
			                     : 0;
			float change = attr_edit_value(d, old) - old;

			if (base + p < d->from || base + p > d->to)
				continue;
			for (k = 0; k < dim; k++)
				host[p * dim + k] += change *
					out[d->latent * dim + k];
		}
	}
	rc = o->put(model_dev(a->model), y, host, size * sizeof(*host), e);
done:
	mem_free(gate);
	mem_free(value);
	mem_free(out);
	mem_free(host);
	return rc;
}
