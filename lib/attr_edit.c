/* Interventions: what latents would have to be changed for. */
#include <math.h>
#include <string.h>

#include "attr_impl.h"
#include "dev_tc.h"
#include "mem.h"

/* A pass under edits. Row i of what a tap sees is position base + i. */
struct edit_run {
	struct attr *a;
	const struct attr_intervention *v;
	size_t base;
	/* with everything held: the model's own inputs and outputs of MLPs,
	 * device [n_layers][n, d_model] */
	float *x, *y;
};

static struct dev *dev(const struct attr *a)
{
	return model_dev(a->model);
}

static const struct dev_ops *ops(const struct attr *a)
{
	return dev_ops(dev(a));
}

static int edits_of(const struct edit_run *r, int layer)
{
	size_t i;

	for (i = 0; i < r->v->n_edits; i++)
		if (r->v->edit[i].layer == (uint32_t)layer)
			return 1;
	return 0;
}

static float value_of(const struct tc_codes *c, size_t row, uint32_t latent)
{
	size_t i;

	for (i = row * c->k; i < (row + 1) * c->k; i++)
		if (c->latent[i] == latent)
			return c->value[i];
	return 0;
}

/* y += (new - old) decoder row, for an edit's positions among n rows. */
static int apply(const struct edit_run *r, const struct attr_edit *d,
                 const struct tc *t, const struct tc_codes *c, float *y,
                 size_t n, struct err *e)
{
	size_t dim = t->cfg.d_out, i;
	float old, new;

	for (i = 0; i < n; i++) {
		if (r->base + i < d->from || r->base + i > d->to)
			continue;
		old = r->base + i ? value_of(c, i, d->latent) : 0;
		new = attr_edit_value(d, old);
		if (new != old &&
		    ops(r->a)->axpy(dev(r->a), new - old, t->w_dec +
		                    d->latent * dim, y + i * dim, dim, e) < 0)
			return -1;
	}
	return 0;
}

/* y = what the model's MLP gave, plus what the skip connection makes of the
 * change of its input. */
static int hold(const struct edit_run *r, int layer, const struct tc *t,
                const float *x, float *y, size_t n, struct err *e)
{
	size_t dim = model_cfg(r->a->model)->d_model, size = n * dim;
	const float *x0 = r->x + (size_t)layer * size;
	float *dx;
	int rc = -1;

	if (ops(r->a)->copy(dev(r->a), y, r->y + (size_t)layer * size,
	                    size * sizeof(*y), e) < 0)
		return -1;
	if (!t || !t->w_skip)
		return 0;
	if (!(dx = ops(r->a)->alloc(dev(r->a), size * sizeof(*dx), e)))
		return -1;
	if (ops(r->a)->copy(dev(r->a), dx, x, size * sizeof(*dx), e) == 0 &&
	    ops(r->a)->axpy(dev(r->a), -1, x0, dx, size, e) == 0)
		rc = ops(r->a)->gemm(dev(r->a), 0, 1, n, dim, dim, 1, dx, dim,
		                     t->w_skip, dim, 1, y, dim, e);
	ops(r->a)->release(dev(r->a), dx);
	return rc;
}

static int edit_tap(void *ctx, int layer, const float *x, float *y, size_t n,
                    struct err *e)
{
	const struct edit_run *r = ctx;
	int some = edits_of(r, layer), own = 0, rc = -1;
	size_t dim = model_cfg(r->a->model)->d_model, i;
	struct tc_codes c = { 0 };
	const struct tc *t;

	if (!some && !r->y)
		return 0;
	t = attr_set_get(r->a->set, layer, &own, e);
	if (!t && attr_set_has(r->a->set, layer))
		return -1;
	if (r->y && hold(r, layer, t, x, y, n, e) < 0)
		goto done;
	rc = 0;
	if (!some)
		goto done;
	if (!t)
		return attr_edit_neurons(r->a, r->v, layer, r->y ? r->x +
		                         (size_t)layer * n * dim : x, y,
		                         r->base, n, e);
	rc = -1;
	if (tc_encode(t, r->y ? r->x + (size_t)layer * n * dim : x, n, 0, &c,
	              e) < 0)
		goto done;
	for (i = 0; i < r->v->n_edits; i++)
		if (r->v->edit[i].layer == (uint32_t)layer &&
		    apply(r, &r->v->edit[i], t, &c, y, n, e) < 0)
			goto done;
	rc = 0;
done:
	tc_codes_free(&c);
	if (own)
		tc_free((struct tc *)t);
	return rc;
}

/* Keeps what MLPs read and wrote. */
static int watch_tap(void *ctx, int layer, const float *x, float *y, size_t n,
                     struct err *e)
{
	const struct edit_run *r = ctx;
	size_t size = n * model_cfg(r->a->model)->d_model;

	return ops(r->a)->copy(dev(r->a), r->x + (size_t)layer * size, x,
	                       size * sizeof(*x), e) < 0 ||
	       ops(r->a)->copy(dev(r->a), r->y + (size_t)layer * size, y,
	                       size * sizeof(*y), e) < 0 ? -1 : 0;
}

static int check_edits(struct attr *a, const struct attr_intervention *v,
                       struct err *e)
{
	const struct model_cfg *c = model_cfg(a->model);
	const struct tc *t;
	uint32_t n;
	size_t i;
	int own;

	for (i = 0; i < v->n_edits; i++) {
		const struct attr_edit *d = &v->edit[i];

		if (d->layer >= c->n_layers ||
		    (!attr_set_has(a->set, (int)d->layer) && !a->neurons))
			return err_set(e, ERR_RANGE, "layer %u has no "
			               "transcoder", d->layer);
		n = c->d_mlp;
		if (attr_set_has(a->set, (int)d->layer)) {
			t = attr_set_get(a->set, (int)d->layer, &own, e);
			if (!t)
				return -1;
			n = t->cfg.n_latents;
			if (own)
				tc_free((struct tc *)t);
		}
		if (d->latent >= n)
			return err_set(e, ERR_RANGE, "latent %u wanted, layer "
			               "%u has 0 to %u", d->latent, d->layer,
			               n - 1);
		if (d->from > d->to || !isfinite(d->value))
			return err_set(e, ERR_RANGE, "layer %u, latent %u: "
			               "positions %zu to %zu, value %g", d->layer,
			               d->latent, d->from, d->to,
			               (double)d->value);
	}
	return 0;
}

/* r->x and r->y of the prompt as it is. */
static int watch(struct edit_run *r, struct err *e)
{
	const struct model_cfg *c = model_cfg(r->a->model);
	size_t bytes;
	float *logits;
	int rc = -1;

	if (mem_mul((size_t)c->n_layers * r->a->n, c->d_model * sizeof(float),
	            &bytes, e) < 0)
		return -1;
	r->x = ops(r->a)->alloc(dev(r->a), bytes, e);
	r->y = ops(r->a)->alloc(dev(r->a), bytes, e);
	logits = mem_array(c->n_vocab, sizeof(*logits), e);
	if (r->x && r->y && logits)
		rc = model_frozen_rerun(r->a->frozen, MODEL_HELD_NOTHING,
		                        watch_tap, r, 0, logits, e);
	mem_free(logits);
	return rc;
}

static void unwatch(struct edit_run *r)
{
	ops(r->a)->release(dev(r->a), r->x);
	ops(r->a)->release(dev(r->a), r->y);
}

int attr_intervene(struct attr *a, const struct attr_intervention *v,
                   size_t pos, float *logits, struct err *e)
{
	struct edit_run r = { .a = a, .v = v };
	int rc = -1;

	if (pos >= a->n)
		return err_set(e, ERR_RANGE, "position %zu wanted, the prompt "
		               "has 0 to %zu", pos, a->n - 1);
	if (check_edits(a, v, e) < 0)
		return -1;
	if (v->held != MODEL_HELD_ALL || watch(&r, e) == 0)
		rc = model_frozen_rerun(a->frozen, v->held, edit_tap, &r, pos,
		                        logits, e);
	unwatch(&r);
	return rc;
}

/* ---- continuations ---- */

static uint32_t largest(const float *x, size_t n)
{
	size_t best = 0, i;

	for (i = 1; i < n; i++)
		if (x[i] > x[best])
			best = i;
	return (uint32_t)best;
}

/* model_gen feeds a prompt in parts; positions are counted here. */
struct steer {
	struct edit_run r;
	int last;
};

static int steer_tap(void *ctx, int layer, const float *x, float *y, size_t n,
                     struct err *e)
{
	struct steer *s = ctx;
	int rc = edit_tap(&s->r, layer, x, y, n, e);

	if (layer == s->last)
		s->r.base += n;
	return rc;
}

int attr_steer(struct attr *a, const struct attr_intervention *v,
               const uint32_t *ids, size_t n, size_t n_new, uint32_t *out,
               size_t *n_out, struct err *e)
{
	const struct model_cfg *c = model_cfg(a->model);
	struct steer s = { { .a = a, .v = v }, (int)c->n_layers - 1 };
	struct model_gen *g = NULL;
	float *logits = mem_array(c->n_vocab, sizeof(*logits), e);
	int rc = -1;

	*n_out = 0;
	if (!logits || check_edits(a, v, e) < 0 ||
	    !(g = model_gen_new(a->model, n + n_new, e)))
		goto done;
	while (*n_out < n_new) {
		if (model_gen_feed(g, *n_out ? out + *n_out - 1 : ids,
		                   *n_out ? 1 : n, logits, steer_tap, &s, e))
			goto done;
		out[(*n_out)++] = largest(logits, c->n_vocab);
		if (out[*n_out - 1] == c->eos)
			break;
	}
	rc = 0;
done:
	model_gen_free(g);
	mem_free(logits);
	return rc;
}
