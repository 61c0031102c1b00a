/*
 * The second pass: predictions with MLPs changed.
 *
 * The unchanged model walks through the layers once; behind each layer the
 * residual stream is taken, what its MLP added is exchanged, and the changed
 * stream runs on from the next layer. So a layer itself runs once, whatever
 * stands in for its MLP.
 */
#include <math.h>
#include <string.h>

#include "eval_impl.h"
#include "mem.h"

enum kind { REPLACED, ZERO, MEAN, N_KINDS };

static const char *const kind_name[N_KINDS] = {
	"replaced", "set to zero", "set to its mean"
};

/* Sums over predictions. */
struct sums {
	double ce, diff, diff_sq, kl;
	size_t n, same;
};

struct tally {
	struct sums kind[N_KINDS];
	double paired;		/* REPLACED's diff where it was also ablated */
};

struct pass {
	const struct eval_ce *c;
	const struct dev_ops *ops;
	struct dev *dev;
	size_t dim;
	int n_layers;
	struct model_ref *ref;
	struct tally *tally;	/* set->n, then all at once */
	double base, base_ablated;
	size_t n, n_ablated;

	float *resid, *changed;	/* [rows, dim] host */
	float *d_resid, *d_changed;	/* the same on the device */
	double *ce_base, *ce, *kl;	/* [rows] */
	uint8_t *top1;

	/* the taps' */
	enum kind kind;
	int next;		/* index in the set of the next layer */
};

static int wanted(const struct pass *p, enum kind k, int ablate)
{
	return k == REPLACED ||
	       (ablate && (k == ZERO ? p->c->opt->zero : p->c->opt->mean));
}

/* What stands in for y in row i of the layer with index `at` in the set. */
static const float *stand_in(const struct pass *p, enum kind k, int at,
                             size_t i)
{
	static const float zero;

	return k == REPLACED ? p->c->coder->y_hat + i * p->dim :
	       k == MEAN ? p->c->mean_y[at] : &zero;
}

/* Which rows of the layer with index `at` change: those that count and are no
 * outliers. */
static int mask(struct pass *p, int at, const float *x, const float *y,
                size_t n, struct err *e)
{
	const struct eval_set *s = p->c->set;

	if (eval_coder_norms(p->c->coder, p->dim, x, y, n, e) < 0)
		return -1;
	eval_coder_mask(p->c->coder, &s->limit[at], p->c->batch->keep, n);
	return 0;
}

/* to += stand-in - y on the rows of the mask (to: the residual stream), or to =
 * stand-in (to: y itself). */
static void exchange(const struct pass *p, enum kind k, int at, float *to)
{
	const struct eval_batch *b = p->c->batch;
	const float *y = p->c->coder->y;
	size_t step = k != ZERO, i, j;

	for (i = 0; i < b->b.n; i++) {
		const float *s = stand_in(p, k, at, i);
		float *row = to + i * p->dim;

		if (!p->c->coder->mask[i])
			continue;
		if (to == y)
			for (j = 0; j < p->dim; j++)
				row[j] = s[j * step];
		else
			for (j = 0; j < p->dim; j++)
				row[j] += s[j * step] - y[i * p->dim + j];
	}
}

/* Layer `next` of the set: y and y^ to the host. */
static int look_tap(void *ctx, int layer, const float *x, float *y, size_t n,
                    struct err *e)
{
	struct pass *p = ctx;
	const struct eval_set *s = p->c->set;

	if (layer != s->layer[p->next])
		return 0;
	if (eval_coder_run(p->c->coder, s->tc[p->next], x, y, n, e) < 0)
		return -1;
	return mask(p, p->next, x, y, n, e);
}

/* Every layer of the set: y exchanged. */
static int change_tap(void *ctx, int layer, const float *x, float *y,
                      size_t n, struct err *e)
{
	struct pass *p = ctx;
	const struct eval_set *s = p->c->set;
	struct eval_coder *c = p->c->coder;
	size_t bytes = n * p->dim * sizeof(*y);
	int at = p->next;

	if (at == s->n || layer != s->layer[at])
		return 0;
	p->next++;
	if ((p->kind == REPLACED ? eval_coder_run(c, s->tc[at], x, y, n, e)
	                         : p->ops->get(p->dev, c->y, y, bytes, e)) < 0 ||
	    mask(p, at, x, y, n, e) < 0)
		return -1;
	exchange(p, p->kind, at, c->y);
	return p->ops->put(p->dev, y, c->y, bytes, e);
}

/* Adds the predictions that follow from resid to t. */
static int judge(struct pass *p, const float *resid, struct tally *t,
                 enum kind k, int ablate, struct err *e)
{
	const struct eval_batch *b = p->c->batch;
	struct sums *s = &t->kind[k];
	size_t i;

	if (model_ce(p->ref, p->c->run, resid, b->b.n, b->target, p->ce,
	             p->kl, p->top1, e) < 0)
		return -1;
	for (i = 0; i < b->b.n; i++) {
		double diff = p->ce[i] - p->ce_base[i];

		if (b->target[i] == UINT32_MAX)
			continue;
		s->ce += p->ce[i];
		s->diff += diff;
		s->diff_sq += diff * diff;
		s->kl += p->kl[i];
		s->same += p->top1[i];
		s->n++;
		if (k == REPLACED && ablate)
			t->paired += diff;
	}
	if (isfinite(s->ce) && isfinite(s->kl))
		return 0;
	if (t == p->tally + p->c->set->n)
		return err_set(e, ERR_RANGE, "every MLP %s: predictions are "
		               "not finite", kind_name[k]);
	return err_set(e, ERR_RANGE, "layer %d, MLP %s: predictions are not "
	               "finite", p->c->set->layer[t - p->tally], kind_name[k]);
}

/* The unchanged model: its predictions are what the rest is held against. */
static int base(struct pass *p, int ablate, struct err *e)
{
	const struct eval_ce *c = p->c;
	const struct eval_batch *b = c->batch;
	double sum = 0;
	size_t i;

	if (model_forward(c->run, &b->b, p->n_layers - 1, NULL, NULL, e) < 0 ||
	    model_ref_set(p->ref, c->run, model_resid(c->run), b->b.n,
	                  b->target, p->ce_base, e) < 0)
		return -1;
	for (i = 0; i < b->b.n; i++)
		sum += p->ce_base[i];
	if (!isfinite(sum))
		return err_set(e, ERR_RANGE, "the unchanged model's "
		               "predictions are not finite");
	p->base += sum;
	p->n += b->n_targets;
	if (ablate) {
		p->base_ablated += sum;
		p->n_ablated += b->n_targets;
	}
	return 0;
}

/* Layer `at` of the set changed alone; p->d_resid enters the layer behind the
 * one before it in the set. */
static int one_layer(struct pass *p, int at, int ablate, struct err *e)
{
	const struct eval_ce *c = p->c;
	const struct eval_batch *b = c->batch;
	int layer = c->set->layer[at], k;
	size_t bytes = b->b.n * p->dim * sizeof(float);
	const float *end;

	p->next = at;
	if ((at ? model_forward_from(c->run, &b->b, p->d_resid,
	                             c->set->layer[at - 1] + 1, layer,
	                             look_tap, p, e)
	        : model_forward(c->run, &b->b, layer, look_tap, p, e)) < 0 ||
	    p->ops->get(p->dev, p->resid, model_resid(c->run), bytes, e) < 0 ||
	    p->ops->put(p->dev, p->d_resid, p->resid, bytes, e) < 0)
		return -1;
	for (k = 0; k < N_KINDS; k++) {
		if (!wanted(p, k, ablate))
			continue;
		memcpy(p->changed, p->resid, bytes);
		exchange(p, k, at, p->changed);
		if (p->ops->put(p->dev, p->d_changed, p->changed, bytes, e) < 0)
			return -1;
		end = p->d_changed;
		if (layer + 1 < p->n_layers) {
			if (model_forward_from(c->run, &b->b, p->d_changed,
			                       layer + 1, p->n_layers - 1,
			                       NULL, NULL, e) < 0)
				return -1;
			end = model_resid(c->run);
		}
		if (judge(p, end, &p->tally[at], k, ablate, e) < 0)
			return -1;
		eval_pace_add(c->pace, (double)b->b.n *
		              (eval_work_unembed(c->model) +
		               eval_work_layer(c->model) *
		               (p->n_layers - 1 - layer)));
	}
	return 0;
}

static int all_layers(struct pass *p, int ablate, struct err *e)
{
	const struct eval_ce *c = p->c;
	int k;

	for (k = 0; k < N_KINDS; k++) {
		if (!wanted(p, k, ablate))
			continue;
		p->kind = k;
		p->next = 0;
		if (model_forward(c->run, &c->batch->b, p->n_layers - 1,
		                  change_tap, p, e) < 0 ||
		    judge(p, model_resid(c->run), &p->tally[c->set->n], k,
		          ablate, e) < 0)
			return -1;
		eval_pace_add(c->pace, (double)c->batch->b.n *
		              (eval_work_unembed(c->model) +
		               eval_work_layer(c->model) * p->n_layers));
	}
	return 0;
}

static int segment(struct pass *p, const struct eval_text *t, size_t *seq,
                   size_t end, int ablate, struct err *e)
{
	int i;

	while (eval_batch_next(p->c->batch, p->c->opt, t, seq, end)) {
		if (base(p, ablate, e) < 0)
			return -1;
		for (i = 0; i < p->c->set->n; i++)
			if (one_layer(p, i, ablate, e) < 0)
				return -1;
		if (all_layers(p, ablate, e) < 0)
			return -1;
	}
	return 0;
}

/* Where the ablated runs end: behind the sequence that fills their budget. */
static size_t ablation_end(const struct eval_opt *o, const struct eval_text *t)
{
	size_t end = eval_budget(t, o->ce_tokens), i;
	size_t want = eval_budget(t, o->ablation_tokens);

	if (!o->zero && !o->mean)
		return 0;
	for (i = 0; i < t->n_seqs && t->start[i] < want; i++)
		;
	return t->start[i] < end ? t->start[i] : end;
}

double eval_ce_work(const struct eval_ce *c, const struct eval_text *t)
{
	const struct eval_opt *o = c->opt;
	int n_layers = (int)model_cfg(c->model)->n_layers, i;
	double once, layers = n_layers;

	/* as eval_pace_add is called above, for one token and kind */
	for (i = 0; i < c->set->n; i++)
		layers += n_layers - 1 - c->set->layer[i];
	once = layers * eval_work_layer(c->model) +
	       (c->set->n + 1) * eval_work_unembed(c->model);
	return once * ((double)eval_budget(t, o->ce_tokens) +
	               (double)ablation_end(o, t) * (o->zero + o->mean));
}

static struct eval_effect effect(const struct sums *s)
{
	double n = (double)s->n, mean = s->diff / n;
	struct eval_effect f = { NAN, NAN, NAN, NAN, NAN };

	if (!s->n)
		return f;
	f.ce = s->ce / n;
	f.ce_increase = mean;
	if (s->n > 1)
		f.ce_increase_se = sqrt(fmax(s->diff_sq - n * mean * mean, 0) /
		                        (n - 1) / n);
	f.kl = s->kl / n;
	f.top1 = (double)s->same / n;
	return f;
}

static double recovered(double paired, const struct sums *ablated)
{
	return ablated->n && ablated->diff != 0 ? 1 - paired / ablated->diff
	                                        : NAN;
}

static void finish(const struct pass *p, struct eval_result *r)
{
	int i;

	for (i = 0; i <= r->n; i++) {
		struct eval_layer *l = i < r->n ? &r->layer[i] : &r->all;
		const struct tally *t = &p->tally[i];

		l->replaced = effect(&t->kind[REPLACED]);
		l->zero = effect(&t->kind[ZERO]);
		l->mean = effect(&t->kind[MEAN]);
		l->recovered = recovered(t->paired, &t->kind[ZERO]);
		l->recovered_mean = recovered(t->paired, &t->kind[MEAN]);
	}
	r->ce_predictions = p->n;
	r->ablation_predictions = p->n_ablated;
	r->ce = p->base / (double)p->n;
	r->ablation_ce = p->n_ablated ? p->base_ablated / (double)p->n_ablated
	                              : NAN;
}

static int pass_init(struct pass *p, const struct eval_ce *c,
                     const struct eval_text *t, struct err *e)
{
	size_t rows = eval_batch_rows(c->opt, t), size;

	memset(p, 0, sizeof(*p));
	p->c = c;
	p->dev = model_dev(c->model);
	p->ops = dev_ops(p->dev);
	p->dim = model_cfg(c->model)->d_model;
	p->n_layers = (int)model_cfg(c->model)->n_layers;
	if (mem_mul(rows, p->dim, &size, e) < 0 ||
	    !(p->resid = mem_array(size, sizeof(float), e)) ||
	    !(p->changed = mem_array(size, sizeof(float), e)) ||
	    mem_mul(size, sizeof(float), &size, e) < 0 ||
	    !(p->d_resid = p->ops->alloc(p->dev, size, e)) ||
	    !(p->d_changed = p->ops->alloc(p->dev, size, e)) ||
	    !(p->ce_base = mem_array(rows, sizeof(double), e)) ||
	    !(p->ce = mem_array(rows, sizeof(double), e)) ||
	    !(p->kl = mem_array(rows, sizeof(double), e)) ||
	    !(p->top1 = mem_array(rows, 1, e)) ||
	    !(p->tally = mem_array((size_t)c->set->n + 1, sizeof(*p->tally),
	                           e)) ||
	    !(p->ref = model_ref_new(c->model, rows, e)))
		return -1;
	return 0;
}

static void pass_free(struct pass *p)
{
	mem_free(p->resid);
	mem_free(p->changed);
	if (p->d_resid)
		p->ops->release(p->dev, p->d_resid);
	if (p->d_changed)
		p->ops->release(p->dev, p->d_changed);
	mem_free(p->ce_base);
	mem_free(p->ce);
	mem_free(p->kl);
	mem_free(p->top1);
	mem_free(p->tally);
	model_ref_free(p->ref);
}

int eval_ce_run(const struct eval_ce *c, const struct eval_text *t,
                struct eval_result *r, struct err *e)
{
	size_t seq = 0;
	struct pass p;
	int rc = -1;

	if (pass_init(&p, c, t, e) < 0 ||
	    segment(&p, t, &seq, ablation_end(c->opt, t), 1, e) < 0 ||
	    segment(&p, t, &seq, eval_budget(t, c->opt->ce_tokens), 0, e) < 0)
		goto done;
	if (!p.n) {
		err_set(e, ERR_FORMAT, "too few tokens: the first %zu predict "
		        "nothing behind the first %zu of a sequence",
		        eval_budget(t, c->opt->ce_tokens), c->opt->skip);
		goto done;
	}
	finish(&p, r);
	rc = 0;
done:
	pass_free(&p);
	return rc;
}
