/*
 * TopK of a greater depth shows, row by row, all that a threshold lets through:
 * were the last of a row's slots above the threshold, there might be more, and
 * the rows are encoded again, twice as deep.
 */
#include "eval_theta.h"

#include <math.h>
#include <string.h>

#include "eval_impl.h"
#include "eval_stats.h"
#include "mem.h"

enum {
	DEPTH = 4,		/* times k, to begin with */
	/* a float above 0 by its upper bits: 2.4e-4 of it a bin */
	BIN_SHIFT = 11,
	BINS = 1 << 20
};

struct layer {
	struct eval_theta *out;
	size_t depth;
	int open;		/* its threshold is still looked for */
	uint64_t *bins;		/* [BINS] values */
	uint64_t want;		/* of them that TopK lets through */
	float floor;		/* greatest last slot of a row */
	struct eval_stats topk, jump;
};

struct pass {
	const struct eval_set *set;
	struct model *model;
	struct dev *dev;
	struct layer *layer;	/* set->n */
	struct eval_batch batch;
	struct tc_codes deep, some;
	size_t deep_cap[2], some_cap[2];
	float *y, *y_hat;	/* [rows, d_model] host */
	float *out;		/* the same, device */
	int measuring;
	int next;		/* index in the set of the next layer */
};

static uint32_t bits_of(float v)
{
	uint32_t b;

	memcpy(&b, &v, sizeof(b));
	return b;
}

static float edge(uint32_t bin)
{
	uint32_t b = bin << BIN_SHIFT;
	float v;

	memcpy(&v, &b, sizeof(v));
	return v;
}

static int encode(struct pass *p, const struct tc *t, struct layer *l,
                  const float *x, size_t n, struct err *e)
{
	size_t size;

	if (mem_mul(n, l->depth, &size, e) < 0 ||
	    mem_grow(&p->deep.latent, &p->deep_cap[0], size, sizeof(uint32_t),
	             e) < 0 ||
	    mem_grow(&p->deep.value, &p->deep_cap[1], size, sizeof(float),
	             e) < 0)
		return -1;
	return tc_encode(t, x, n, l->depth, &p->deep, e);
}

/* ---- choosing -------------------------------------------------------------- */

static void count(struct pass *p, const struct tc *t, struct layer *l,
                  size_t n)
{
	size_t depth = p->deep.k, i, j;

	for (i = 0; i < n; i++) {
		const float *v = p->deep.value + i * depth;

		if (!p->batch.keep[i])
			continue;
		l->out->rows_fit++;
		for (j = 0; j < depth && v[j] > 0; j++) {
			l->bins[bits_of(v[j]) >> BIN_SHIFT]++;
			l->want += j < t->cfg.k;
		}
		if (v[depth - 1] > l->floor)
			l->floor = v[depth - 1];
	}
}

/* The value that `want` of those counted lie above, within a bin as if they
 * were spread evenly. */
static float choose(const struct layer *l)
{
	uint64_t above = 0;
	uint32_t bin = BINS;

	if (!l->want)
		return 0;
	do
		above += l->bins[--bin];
	while (above < l->want);
	return edge(bin) + (edge(bin + 1) - edge(bin)) *
	       (float)(above - l->want) / (float)l->bins[bin];
}

static int fit_layer(struct pass *p, int i, const float *x, size_t n,
                     struct err *e)
{
	struct layer *l = &p->layer[i];

	if (!l->open)
		return 0;
	if (encode(p, p->set->tc[i], l, x, n, e) < 0)
		return -1;
	count(p, p->set->tc[i], l, n);
	return 0;
}

/* How many layers have to be looked at again, deeper. */
static int settle(struct pass *p)
{
	int i, n = 0;

	for (i = 0; i < p->set->n; i++) {
		struct layer *l = &p->layer[i];
		size_t all = p->set->tc[i]->cfg.n_latents;

		if (!l->open)
			continue;
		l->out->theta = choose(l);
		l->open = l->floor > l->out->theta && l->depth < all;
		if (!l->open)
			continue;
		n++;
		l->depth = l->depth > all / 2 ? all : 2 * l->depth;
		l->want = 0;
		l->floor = 0;
		l->out->rows_fit = 0;
		memset(l->bins, 0, BINS * sizeof(*l->bins));
	}
	return n;
}

/* ---- measuring ------------------------------------------------------------- */

/* Of deep's codes, into some: the first k slots, or those above theta. */
static int take(struct pass *p, size_t n, size_t k, float theta, struct err *e)
{
	size_t depth = p->deep.k, i, j, size;

	if (mem_mul(n, k, &size, e) < 0 ||
	    mem_grow(&p->some.latent, &p->some_cap[0], size, sizeof(uint32_t),
	             e) < 0 ||
	    mem_grow(&p->some.value, &p->some_cap[1], size, sizeof(float),
	             e) < 0)
		return -1;
	p->some.n = n;
	p->some.k = k;
	for (i = 0; i < n; i++)
		for (j = 0; j < k; j++) {
			float v = p->deep.value[i * depth + j];

			p->some.value[i * k + j] = v > theta ? v : 0;
			p->some.latent[i * k + j] = v > theta
				? p->deep.latent[i * depth + j] : UINT32_MAX;
		}
	return 0;
}

static int decode(struct pass *p, const struct tc *t, const float *x, size_t n,
                  struct eval_stats *s, struct err *e)
{
	if (tc_decode(t, x, &p->some, p->out, e) < 0 ||
	    dev_ops(p->dev)->get(p->dev, p->y_hat, p->out,
	                         n * t->cfg.d_out * sizeof(float), e) < 0)
		return -1;
	eval_stats_add(s, dev_par(p->dev), p->y, p->y_hat, p->batch.keep, n,
	               &p->some);
	return 0;
}

static int measure_layer(struct pass *p, int i, const float *x, const float *y,
                         size_t n, struct err *e)
{
	const struct tc *t = p->set->tc[i];
	struct layer *l = &p->layer[i];
	size_t all = t->cfg.n_latents, r;

again:
	if (encode(p, t, l, x, n, e) < 0)
		return -1;
	for (r = 0; r < n && l->depth < all; r++)
		if (p->batch.keep[r] &&
		    p->deep.value[(r + 1) * l->depth - 1] > l->out->theta) {
			l->depth = l->depth > all / 2 ? all : 2 * l->depth;
			goto again;
		}
	if (dev_ops(p->dev)->get(p->dev, p->y, y,
	                         n * t->cfg.d_out * sizeof(float), e) < 0 ||
	    take(p, n, t->cfg.k, 0, e) < 0 ||
	    decode(p, t, x, n, &l->topk, e) < 0 ||
	    take(p, n, l->depth, l->out->theta, e) < 0)
		return -1;
	return decode(p, t, x, n, &l->jump, e);
}

static void finish(struct layer *l)
{
	struct eval_theta *o = l->out;

	o->rows = l->jump.n;
	o->fvu_topk = eval_stats_fvu(&l->topk);
	o->fvu = eval_stats_fvu(&l->jump);
	o->l0_topk = (double)l->topk.n_active / (double)l->topk.n;
	o->l0 = (double)l->jump.n_active / (double)l->jump.n;
}

/* ---- both ------------------------------------------------------------------ */

static int tap(void *ctx, int layer, const float *x, float *y, size_t n,
               struct err *e)
{
	struct pass *p = ctx;
	int i = p->next;

	if (i == p->set->n || p->set->layer[i] != layer)
		return 0;
	p->next++;
	if (!p->set->tc[i]->cfg.transcode)
		x = y;
	return p->measuring ? measure_layer(p, i, x, y, n, e)
	                    : fit_layer(p, i, x, n, e);
}

/* The sequences from *seq on, up to token `end`, through the model. */
static int go(struct pass *p, const struct eval_opt *o,
              const struct eval_text *t, struct model_run *run, size_t *seq,
              size_t end, struct err *e)
{
	while (eval_batch_next(&p->batch, o, t, seq, end)) {
		p->next = 0;
		if (model_forward(run, &p->batch.b,
		                  p->set->layer[p->set->n - 1], tap, p, e) < 0)
			return -1;
	}
	return 0;
}

static int init(struct pass *p, const struct eval_opt *o,
                const struct eval_text *t, struct eval_theta *out,
                struct err *e)
{
	size_t rows = eval_batch_rows(o, t), dim = model_cfg(p->model)->d_model;
	size_t size;
	int i;

	if (mem_mul(rows, dim, &size, e) < 0 ||
	    eval_batch_init(&p->batch, o, t, e) < 0 ||
	    !(p->layer = mem_array((size_t)p->set->n, sizeof(*p->layer), e)) ||
	    !(p->y = mem_array(size, sizeof(float), e)) ||
	    !(p->y_hat = mem_array(size, sizeof(float), e)) ||
	    mem_mul(size, sizeof(float), &size, e) < 0 ||
	    !(p->out = dev_ops(p->dev)->alloc(p->dev, size, e)))
		return -1;
	for (i = 0; i < p->set->n; i++) {
		struct layer *l = &p->layer[i];
		size_t all = p->set->tc[i]->cfg.n_latents;
		size_t k = p->set->tc[i]->cfg.k;

		out[i] = (struct eval_theta){ 0 };
		l->out = &out[i];
		l->open = 1;
		l->depth = k > all / DEPTH ? all : DEPTH * k;
		if (!(l->bins = mem_array(BINS, sizeof(*l->bins), e)) ||
		    eval_stats_init(&l->topk, dim, all, e) < 0 ||
		    eval_stats_init(&l->jump, dim, all, e) < 0)
			return -1;
	}
	return 0;
}

static void release(struct pass *p)
{
	int i;

	for (i = 0; p->layer && i < p->set->n; i++) {
		mem_free(p->layer[i].bins);
		eval_stats_free(&p->layer[i].topk);
		eval_stats_free(&p->layer[i].jump);
	}
	mem_free(p->layer);
	mem_free(p->deep.latent);
	mem_free(p->deep.value);
	mem_free(p->some.latent);
	mem_free(p->some.value);
	mem_free(p->y);
	mem_free(p->y_hat);
	dev_ops(p->dev)->release(p->dev, p->out);
	eval_batch_free(&p->batch);
}

int eval_theta_run(const struct eval_opt *o, struct model *m,
                   const struct eval_set *s, const struct eval_text *t,
                   struct eval_theta *out, struct err *e)
{
	struct pass p = { .set = s, .model = m, .dev = model_dev(m) };
	size_t end = eval_budget(t, o->fvu_tokens), seq;
	struct model_run *run = NULL;
	int i, rc = -1;

	if (init(&p, o, t, out, e) < 0 ||
	    !(run = model_run_new(m, eval_batch_rows(o, t), e)))
		goto done;
	do {
		seq = 0;
		if (go(&p, o, t, run, &seq, end / 2, e) < 0)
			goto done;
	} while (settle(&p));
	p.measuring = 1;
	if (go(&p, o, t, run, &seq, end, e) < 0)
		goto done;
	if (!out[0].rows_fit || !p.layer[0].jump.n) {
		err_set(e, ERR_FORMAT, "too few tokens: of %zu, %zu are there "
		        "to choose thresholds by and %llu to measure them on",
		        end, out[0].rows_fit,
		        (unsigned long long)p.layer[0].jump.n);
		goto done;
	}
	for (i = 0; i < s->n; i++)
		finish(&p.layer[i]);
	rc = 0;
done:
	model_run_free(run);
	release(&p);
	return rc;
}
