/*
 * TopK of a greater depth shows, row by row, all that a threshold lets through:
 * were the last of a row's slots above the threshold, there might be more, and
 * the rows are encoded again, twice as deep.
 */
#include "eval_theta.h"

#include <math.h>
#include <string.h>

#include "eval_impl.h"
#include "mem.h"

enum {
	DEPTH = 4,		/* times k, to begin with */
	/* a float above 0 by its upper bits: 2.4e-4 of it a bin */
	BIN_SHIFT = 11,
	BINS = 1 << 20
};

struct layer {
	size_t depth, n_latents, k;
	int open;		/* its threshold is still looked for */
	float theta;
	float floor;		/* greatest last slot of a row */
	uint64_t *bins;		/* [BINS] values */
	uint64_t want;		/* of them that TopK lets through */
	uint32_t *fired;	/* [n_latents] rows, under TopK */
	/* each latent's greatest values, one more than it fired: a heap from
	 * top[at[latent]] on, the least first */
	size_t *at;		/* [n_latents + 1] */
	uint32_t *held;		/* [n_latents] */
	float *top;
};

struct pass {
	const struct eval_set *set;
	struct layer *layer;	/* set->n */
	struct eval_batch batch;
	struct tc_codes codes;
	int ranking;
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

/* ---- one for the layer ------------------------------------------------------ */

static void count(const struct pass *p, struct layer *l, size_t n)
{
	size_t depth = l->depth, i, j;

	for (i = 0; i < n; i++) {
		const uint32_t *latent = p->codes.latent + i * depth;
		const float *v = p->codes.value + i * depth;

		if (!p->batch.keep[i])
			continue;
		for (j = 0; j < depth && v[j] > 0; j++) {
			l->bins[bits_of(v[j]) >> BIN_SHIFT]++;
			if (j < l->k) {
				l->want++;
				l->fired[latent[j]]++;
			}
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

/* How many layers have to be looked at again, deeper. */
static int settle(struct pass *p)
{
	int i, n = 0;

	for (i = 0; i < p->set->n; i++) {
		struct layer *l = &p->layer[i];

		if (!l->open)
			continue;
		l->theta = choose(l);
		l->open = l->floor > l->theta && l->depth < l->n_latents;
		if (!l->open)
			continue;
		n++;
		l->depth = l->depth > l->n_latents / 2 ? l->n_latents
		                                       : 2 * l->depth;
		l->want = 0;
		l->floor = 0;
		memset(l->bins, 0, BINS * sizeof(*l->bins));
		memset(l->fired, 0, l->n_latents * sizeof(*l->fired));
	}
	return n;
}

/* ---- one for each latent ------------------------------------------------------ */

static int rank_init(struct layer *l, struct err *e)
{
	size_t i;

	if (!(l->at = mem_array(l->n_latents + 1, sizeof(*l->at), e)) ||
	    !(l->held = mem_array(l->n_latents, sizeof(*l->held), e)))
		return -1;
	for (i = 0; i < l->n_latents; i++)
		l->at[i + 1] = l->at[i] + l->fired[i] + 1;
	l->top = mem_array(l->at[l->n_latents], sizeof(*l->top), e);
	return l->top ? 0 : -1;
}

/* v among the greatest n of heap (held: how many it has), if it is one. */
static void offer(float *heap, uint32_t *held, size_t n, float v)
{
	size_t i, child;

	if (*held < n) {
		for (i = (*held)++; i && heap[(i - 1) / 2] > v; i = (i - 1) / 2)
			heap[i] = heap[(i - 1) / 2];
		heap[i] = v;
		return;
	}
	if (v <= heap[0])
		return;
	for (i = 0; (child = 2 * i + 1) < n; i = child) {
		if (child + 1 < n && heap[child + 1] < heap[child])
			child++;
		if (heap[child] >= v)
			break;
		heap[i] = heap[child];
	}
	heap[i] = v;
}

static void rank(const struct pass *p, struct layer *l, size_t n)
{
	size_t depth = l->depth, i, j;

	for (i = 0; i < n; i++) {
		const uint32_t *latent = p->codes.latent + i * depth;
		const float *v = p->codes.value + i * depth;

		for (j = 0; p->batch.keep[i] && j < depth && v[j] > 0; j++)
			offer(l->top + l->at[latent[j]], &l->held[latent[j]],
			      l->fired[latent[j]] + 1, v[j]);
	}
}

/* As many of a latent's values lie above as it fired; all that there are, when
 * it has no others. */
static float ranked(const struct layer *l, size_t latent)
{
	float least = l->held[latent] ? l->top[l->at[latent]] : 0;

	if (!l->fired[latent])
		return fmaxf(least, l->theta);
	return l->held[latent] > l->fired[latent] ? least
	                                          : nextafterf(least, 0);
}

/* ---- both ------------------------------------------------------------------------ */

static int tap(void *ctx, int layer, const float *x, float *y, size_t n,
               struct err *e)
{
	struct pass *p = ctx;
	int i = p->next;
	struct layer *l;

	if (i == p->set->n || p->set->layer[i] != layer)
		return 0;
	l = &p->layer[i];
	p->next++;
	if (!l->open && !p->ranking)
		return 0;
	if (tc_encode(p->set->tc[i], p->set->tc[i]->cfg.transcode ? x : y, n,
	              l->depth, &p->codes, e) < 0)
		return -1;
	if (p->ranking)
		rank(p, l, n);
	else
		count(p, l, n);
	return 0;
}

static int go(struct pass *p, const struct eval_opt *o,
              const struct eval_text *t, struct model_run *run, struct err *e)
{
	size_t seq = 0;

	while (eval_batch_next(&p->batch, o, t, &seq, t->n)) {
		p->next = 0;
		if (model_forward(run, &p->batch.b,
		                  p->set->layer[p->set->n - 1], tap, p, e) < 0)
			return -1;
	}
	return 0;
}

static int init(struct pass *p, const struct eval_opt *o,
                const struct eval_text *t, struct err *e)
{
	int i;

	if (eval_batch_init(&p->batch, o, t, e) < 0 ||
	    !(p->layer = mem_array((size_t)p->set->n, sizeof(*p->layer), e)))
		return -1;
	for (i = 0; i < p->set->n; i++) {
		const struct tc_cfg *c = &p->set->tc[i]->cfg;
		struct layer *l = &p->layer[i];

		l->n_latents = c->n_latents;
		l->k = c->k;
		l->depth = c->k > c->n_latents / DEPTH ? c->n_latents
		                                       : DEPTH * c->k;
		l->open = 1;
		if (!(l->bins = mem_array(BINS, sizeof(*l->bins), e)) ||
		    !(l->fired = mem_array(l->n_latents, sizeof(*l->fired), e)))
			return -1;
	}
	return 0;
}

static void release(struct pass *p)
{
	int i;

	for (i = 0; p->layer && i < p->set->n; i++) {
		mem_free(p->layer[i].bins);
		mem_free(p->layer[i].fired);
		mem_free(p->layer[i].at);
		mem_free(p->layer[i].held);
		mem_free(p->layer[i].top);
	}
	mem_free(p->layer);
	tc_codes_free(&p->codes);
	eval_batch_free(&p->batch);
}

int eval_theta_fit(const struct eval_opt *o, int each, struct model *m,
                   const struct eval_set *s, const struct eval_text *t,
                   float *const *theta, struct err *e)
{
	struct pass p = { .set = s };
	struct model_run *run = NULL;
	size_t k;
	int i, rc = -1;

	if (init(&p, o, t, e) < 0 ||
	    !(run = model_run_new(m, eval_batch_rows(o, t), e)))
		goto done;
	do
		if (go(&p, o, t, run, e) < 0)
			goto done;
	while (settle(&p));
	if (!p.layer[0].want) {
		err_set(e, ERR_FORMAT, "too few tokens to choose thresholds "
		        "by: no latent is active on the %zu there are", t->n);
		goto done;
	}
	p.ranking = each;
	for (i = 0; each && i < s->n; i++)
		if (rank_init(&p.layer[i], e) < 0)
			goto done;
	if (each && go(&p, o, t, run, e) < 0)
		goto done;
	for (i = 0; i < s->n; i++) {
		const struct layer *l = &p.layer[i];

		for (k = 0; k < l->n_latents; k++)
			theta[i][k] = each ? ranked(l, k) : l->theta;
	}
	rc = 0;
done:
	model_run_free(run);
	release(&p);
	return rc;
}

int eval_theta_apply(struct tc *t, const float *theta, struct err *e)
{
	const struct dev_ops *ops = dev_ops(t->dev);
	size_t bytes = t->cfg.n_latents * sizeof(*theta);

	if (!t->threshold && !(t->threshold = ops->alloc(t->dev, bytes, e)))
		return -1;
	t->cfg.variant = TC_JUMPRELU;
	return ops->put(t->dev, t->threshold, theta, bytes, e);
}
