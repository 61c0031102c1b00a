#include "eval.h"

#include <math.h>
#include <string.h>

#include "eval_impl.h"
#include "dev_tc.h"
#include "eval_stats.h"
#include "mem.h"
#include "outlier.h"
#include "ranges.h"

/* ---- the text ---- */

int eval_text_add(struct eval_text *t, const uint32_t *ids, size_t n,
                  struct err *e)
{
	if (mem_grow(&t->ids, &t->cap_ids, t->n + n, sizeof(*t->ids), e) < 0 ||
	    mem_grow(&t->start, &t->cap_start, t->n_seqs + 2,
	             sizeof(*t->start), e) < 0)
		return -1;
	memcpy(t->ids + t->n, ids, n * sizeof(*ids));
	t->start[t->n_seqs++] = t->n;
	t->n += n;
	t->start[t->n_seqs] = t->n;
	return 0;
}

void eval_text_free(struct eval_text *t)
{
	mem_free(t->ids);
	mem_free(t->start);
	memset(t, 0, sizeof(*t));
}

size_t eval_budget(const struct eval_text *t, size_t tokens)
{
	return tokens && tokens < t->n ? tokens : t->n;
}

/* ---- transcoders ---- */

/* Every layer asked for by number must be there; "all" takes what is. */
static int choose(struct eval_set *s, const char *dir, const char *layers,
                  int n_layers, struct err *e)
{
	int *have = mem_array((size_t)n_layers, sizeof(*have), e);
	int n_have, i, j, rc = -1;

	if (!have || (n_have = tc_layers(dir, have, n_layers, e)) < 0)
		goto done;
	if (!n_have) {
		err_set(e, ERR_FORMAT, "%s: holds no layers.N.mlp", dir);
		goto done;
	}
	if (have[n_have - 1] >= n_layers) {
		err_set(e, ERR_FORMAT, "%s: has layers.%d.mlp, the model's "
		        "last layer is %d", dir, have[n_have - 1],
		        n_layers - 1);
		goto done;
	}
	if (!strcmp(layers, "all")) {
		memcpy(s->layer, have, (size_t)n_have * sizeof(*have));
		s->n = n_have;
	} else if ((s->n = ranges_parse(layers, n_layers, s->layer, e)) < 0) {
		s->n = 0;
		goto done;
	}
	for (i = j = 0; i < s->n; i++) {
		while (j < n_have && have[j] < s->layer[i])
			j++;
		if (j == n_have || have[j] != s->layer[i]) {
			err_set(e, ERR_IO, "%s: has no layers.%d.mlp", dir,
			        s->layer[i]);
			goto done;
		}
	}
	rc = 0;
done:
	mem_free(have);
	return rc;
}

int eval_set_open(struct eval_set *s, const char *dir, const char *layers,
                  struct model *m, struct err *e)
{
	const struct model_cfg *c = model_cfg(m);
	int i;

	memset(s, 0, sizeof(*s));
	if (!(s->layer = mem_array(c->n_layers, sizeof(*s->layer), e)) ||
	    !(s->tc = mem_array(c->n_layers, sizeof(*s->tc), e)) ||
	    !(s->limit = mem_array(c->n_layers, sizeof(*s->limit), e)) ||
	    choose(s, dir, layers, (int)c->n_layers, e) < 0)
		goto fail;
	for (i = 0; i < s->n; i++)
		if (!(s->tc[i] = tc_read(dir, s->layer[i], c->d_model,
		                         c->d_model, model_dev(m), e)))
			goto fail;
	for (i = 0; i < s->n; i++)
		s->limit[i] = (struct eval_limit){ INFINITY, INFINITY };
	return 0;
fail:
	eval_set_free(s);
	return -1;
}

void eval_set_free(struct eval_set *s)
{
	int i;

	for (i = 0; s->tc && i < s->n; i++)
		tc_free(s->tc[i]);
	mem_free(s->tc);
	mem_free(s->limit);
	mem_free(s->layer);
	memset(s, 0, sizeof(*s));
}

/* ---- batches ---- */

size_t eval_batch_rows(const struct eval_opt *o, const struct eval_text *t)
{
	size_t rows = o->batch < t->n ? o->batch : t->n, i;

	for (i = 0; i < t->n_seqs; i++)
		if (t->start[i + 1] - t->start[i] > rows)
			rows = t->start[i + 1] - t->start[i];
	return rows;
}

int eval_batch_init(struct eval_batch *b, const struct eval_opt *o,
                    const struct eval_text *t, struct err *e)
{
	size_t rows = eval_batch_rows(o, t);

	memset(b, 0, sizeof(*b));
	if (!(b->start = mem_array(rows + 1, sizeof(*b->start), e)) ||
	    !(b->keep = mem_array(rows, sizeof(*b->keep), e)) ||
	    !(b->target = mem_array(rows, sizeof(*b->target), e))) {
		eval_batch_free(b);
		return -1;
	}
	b->b.start = b->start;
	return 0;
}

void eval_batch_free(struct eval_batch *b)
{
	mem_free(b->start);
	mem_free(b->keep);
	mem_free(b->target);
	memset(b, 0, sizeof(*b));
}

int eval_batch_next(struct eval_batch *b, const struct eval_opt *o,
                    const struct eval_text *t, size_t *seq, size_t end)
{
	size_t n = 0, i, pos;

	b->b.n_seqs = b->n_targets = 0;
	if (*seq < t->n_seqs)
		b->b.ids = t->ids + t->start[*seq];
	for (; *seq < t->n_seqs && t->start[*seq] < end; (*seq)++) {
		size_t from = t->start[*seq], to = t->start[*seq + 1];

		to = to < end ? to : end;
		if (n && n + (to - from) > o->batch)
			break;
		b->start[b->b.n_seqs++] = n;
		for (i = from; i < to; i++, n++) {
			pos = i - from;
			b->keep[n] = pos >= o->skip;
			b->target[n] = UINT32_MAX;
			if (b->keep[n] && i + 1 < to) {
				b->target[n] = t->ids[i + 1];
				b->n_targets++;
			}
		}
	}
	b->start[b->b.n_seqs] = n;
	b->b.n = n;
	return n > 0;
}

/* ---- a transcoder at work ---- */

int eval_coder_init(struct eval_coder *c, const struct eval_set *s, size_t k,
                    struct model *m, size_t rows, struct err *e)
{
	size_t size;
	int i;

	memset(c, 0, sizeof(*c));
	c->dev = model_dev(m);
	c->k = k;
	for (i = 0; i < s->n; i++) {
		if (k > s->tc[i]->cfg.n_latents)
			return err_set(e, ERR_USAGE, "layer %d has %u latents,"
			               " fewer than -k %zu", s->layer[i],
			               s->tc[i]->cfg.n_latents, k);
	}
	if (!(c->sq_x = mem_array(rows, sizeof(*c->sq_x), e)) ||
	    !(c->sq_y = mem_array(rows, sizeof(*c->sq_y), e)) ||
	    !(c->mask = mem_array(rows, 1, e)) ||
	    mem_mul(rows, model_cfg(m)->d_model, &size, e) < 0 ||
	    !(c->y = mem_array(size, sizeof(float), e)) ||
	    !(c->y_hat = mem_array(size, sizeof(float), e)) ||
	    mem_mul(size, sizeof(float), &size, e) < 0 ||
	    !(c->out = dev_ops(c->dev)->alloc(c->dev, size, e))) {
		eval_coder_free(c);
		return -1;
	}
	return 0;
}

void eval_coder_free(struct eval_coder *c)
{
	tc_codes_free(&c->codes);
	mem_free(c->y);
	mem_free(c->y_hat);
	mem_free(c->sq_x);
	mem_free(c->sq_y);
	mem_free(c->mask);
	if (c->out)
		dev_ops(c->dev)->release(c->dev, c->out);
	memset(c, 0, sizeof(*c));
}

int eval_coder_run(struct eval_coder *c, const struct tc *t, const float *x,
                   const float *y, size_t n, struct err *e)
{
	const struct dev_ops *ops = dev_ops(c->dev);
	size_t bytes = n * t->cfg.d_out * sizeof(float);

	/* an autoencoder of the MLP's output stands in for it as well */
	if (!t->cfg.transcode)
		x = y;
	if (tc_encode(t, x, n, c->k, &c->codes, e) < 0 ||
	    tc_decode(t, x, &c->codes, c->out, e) < 0 ||
	    ops->get(c->dev, c->y, y, bytes, e) < 0)
		return -1;
	return ops->get(c->dev, c->y_hat, c->out, bytes, e);
}

int eval_coder_norms(struct eval_coder *c, size_t dim, const float *x,
                     const float *y, size_t n, struct err *e)
{
	const struct dev_tc_ops *ops = dev_ops(c->dev)->tc;

	if (ops->row_sq(c->dev, x, n, dim, NULL, c->sq_x, e) < 0)
		return -1;
	return ops->row_sq(c->dev, y, n, dim, NULL, c->sq_y, e);
}

void eval_coder_mask(struct eval_coder *c, const struct eval_limit *l,
                     const uint8_t *keep, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		c->mask[i] = (!keep || keep[i]) && c->sq_x[i] <= l->x &&
		             c->sq_y[i] <= l->y;
}

/* ---- pace ---- */

void eval_pace_add(struct eval_pace *p, double work)
{
	p->done += work;
	if (p->watch->step)
		p->watch->step(p->watch->ctx, p->done, p->total);
}

double eval_work_layer(const struct model *m)
{
	const struct model_cfg *c = model_cfg(m);

	return (double)c->d_model *
	       (2.0 * c->d_head * (c->n_heads + c->n_kv_heads) +
	        3.0 * c->d_mlp);
}

double eval_work_unembed(const struct model *m)
{
	return (double)model_cfg(m)->d_model * model_cfg(m)->n_vocab;
}

double eval_work_coders(const struct eval_set *s)
{
	double work = 0;
	int i;

	for (i = 0; i < s->n; i++) {
		const struct tc_cfg *c = &s->tc[i]->cfg;

		work += (double)c->d_in * c->n_latents;
		if (c->skip)
			work += (double)c->d_in * c->d_out;
	}
	return work;
}

/* ---- the first pass ---- */

struct pass {
	const struct eval_set *set;
	struct eval_stats *stats;	/* set->n: outliers left out */
	struct eval_stats *all;		/* set->n: and with them; no latents */
	struct outlier *norms;		/* [set->n][2]: of x, of y */
	double *sq;			/* [rows] norms that count */
	double factor;
	struct eval_coder *coder;
	const struct eval_batch *batch;
	int next;		/* index in the set of the next layer */
};

/* The norms of a batch's rows join the layer's; its limit moves. Values that are
 * none are no outliers: nothing that was measured with them would hold. */
static int follow_norms(struct pass *p, int i, size_t n, struct err *e)
{
	const double *side[2] = { p->coder->sq_x, p->coder->sq_y };
	struct outlier *norms = p->norms + 2 * i;
	size_t j, m;
	int s;

	for (s = 0; s < 2; s++) {
		for (j = m = 0; j < n; j++)
			if (p->batch->keep[j])
				p->sq[m++] = side[s][j];
		for (j = 0; j < m; j++)
			if (!isfinite(p->sq[j]))
				return err_set(e, ERR_FORMAT, "layer %d: the "
				               "norm of row %zu's %s is not "
				               "finite", p->set->layer[i],
				               (size_t)p->all[i].n + j,
				               s ? "output" : "input");
		outlier_add(&norms[s], p->sq, m);
	}
	p->set->limit[i] = (struct eval_limit){
		outlier_limit(&norms[0], p->factor),
		outlier_limit(&norms[1], p->factor)
	};
	return 0;
}

static int stats_tap(void *ctx, int layer, const float *x, float *y,
                     size_t n, struct err *e)
{
	struct pass *p = ctx;
	struct par *par = dev_par(p->coder->dev);
	const struct tc_codes none = { 0 };
	int i = p->next;

	if (i == p->set->n || p->set->layer[i] != layer)
		return 0;
	p->next++;
	if (eval_coder_run(p->coder, p->set->tc[i], x, y, n, e) < 0 ||
	    eval_coder_norms(p->coder, p->set->tc[i]->cfg.d_out, x, y, n,
	                     e) < 0 ||
	    follow_norms(p, i, n, e) < 0)
		return -1;
	eval_coder_mask(p->coder, &p->set->limit[i], p->batch->keep, n);
	eval_stats_add(&p->stats[i], par, p->coder->y, p->coder->y_hat,
	               p->coder->mask, n, &p->coder->codes);
	eval_stats_add(&p->all[i], par, p->coder->y, p->coder->y_hat,
	               p->batch->keep, n, &none);
	return 0;
}

static void finish_stats(const struct eval_stats *s,
                         const struct eval_stats *all, struct eval_layer *l)
{
	size_t i;
	int bin;

	l->outliers = all->n - s->n;
	l->outlier_share = (double)l->outliers / (double)all->n;
	l->fvu_all = eval_stats_fvu(all);
	l->fvu = eval_stats_fvu(s);
	l->l0 = (double)s->n_active / (double)s->n;
	l->act_mean = s->n_active ? s->act_sum / (double)s->n_active : NAN;
	l->act_max = s->n_active ? (double)s->act_max : NAN;
	for (i = 0; i < s->n_latents; i++) {
		if (!s->fired[i]) {
			l->dead++;
			continue;
		}
		bin = (int)floor((log10((double)s->fired[i] / (double)s->n) -
		                  EVAL_BIN_FIRST) * 2);
		bin = bin < 0 ? 0 : bin < EVAL_BINS ? bin : EVAL_BINS - 1;
		l->freq_hist[bin]++;
	}
}

static int first_pass(const struct eval_opt *o, struct pass *p,
                      const struct eval_text *t, struct eval_batch *b,
                      struct model_run *run, struct eval_pace *pace,
                      double work, struct eval_result *r, struct err *e)
{
	size_t seq = 0, end = eval_budget(t, o->fvu_tokens);
	int i, last = p->set->layer[p->set->n - 1];

	while (eval_batch_next(b, o, t, &seq, end)) {
		p->next = 0;
		if (model_forward(run, &b->b, last, stats_tap, p, e) < 0)
			return -1;
		eval_pace_add(pace, work * (double)b->b.n);
	}
	r->fvu_positions = p->all[0].n;
	if (!r->fvu_positions)
		return err_set(e, ERR_FORMAT, "too few tokens: none of the "
		               "%zu stands behind the first %zu of its "
		               "sequence", end, o->skip);
	for (i = 0; i < r->n; i++) {
		if (!p->stats[i].n)
			return err_set(e, ERR_FORMAT, "layer %d: every position"
			               " is an outlier", p->set->layer[i]);
		finish_stats(&p->stats[i], &p->all[i], &r->layer[i]);
		if (pace->watch->stats)
			pace->watch->stats(pace->watch->ctx, &r->layer[i]);
	}
	return 0;
}

/* ---- both ---- */

static const struct eval_effect unknown = { NAN, NAN, NAN, NAN, NAN };

static int result_init(struct eval_result *r, const struct eval_set *s,
                       size_t k, struct err *e)
{
	int i;

	memset(r, 0, sizeof(*r));
	if (!(r->layer = mem_array((size_t)s->n, sizeof(*r->layer), e)))
		return -1;
	r->n = s->n;
	r->ablation_ce = NAN;
	for (i = 0; i <= r->n; i++) {
		struct eval_layer *l = i < r->n ? &r->layer[i] : &r->all;

		l->layer = i < r->n ? s->layer[i] : -1;
		l->replaced = l->zero = l->mean = unknown;
		l->recovered = l->recovered_mean = NAN;
		l->fvu_all = l->outlier_share = NAN;
		l->fvu = l->l0 = l->act_mean = l->act_max = NAN;
		l->train_dead_share = NAN;
		if (i < r->n) {
			l->n_latents = s->tc[i]->cfg.n_latents;
			l->k = k ? k : s->tc[i]->cfg.k;
		}
	}
	return 0;
}

void eval_result_free(struct eval_result *r)
{
	mem_free(r->layer);
	memset(r, 0, sizeof(*r));
}

int eval_run(const struct eval_opt *o, struct model *m,
             const struct eval_set *s, const struct eval_text *t,
             const struct eval_watch *w, struct eval_result *r, struct err *e)
{
	static const struct eval_watch nobody;
	struct eval_pace pace = { w ? w : &nobody, 0, 0 };
	size_t rows = eval_batch_rows(o, t), dim = model_cfg(m)->d_model;
	struct eval_batch batch = { 0 };
	struct eval_coder coder = { 0 };
	struct pass pass = { .set = s, .coder = &coder, .batch = &batch,
	                     .factor = o->outlier };
	struct eval_ce ce = { o, s, m, NULL, &batch, &coder, &pace, NULL };
	struct model_run *run = NULL;
	float **mean = NULL;
	double work;
	int i, rc = -1;

	memset(r, 0, sizeof(*r));
	if (!t->n)
		return err_set(e, ERR_FORMAT, "no tokens to evaluate on");
	if (result_init(r, s, o->k, e) < 0 ||
	    eval_batch_init(&batch, o, t, e) < 0 ||
	    eval_coder_init(&coder, s, o->k, m, rows, e) < 0 ||
	    !(run = model_run_new(m, rows, e)) ||
	    !(pass.stats = mem_array((size_t)s->n, sizeof(*pass.stats), e)) ||
	    !(pass.all = mem_array((size_t)s->n, sizeof(*pass.all), e)) ||
	    !(pass.norms = mem_array((size_t)s->n, 2 * sizeof(*pass.norms),
	                             e)) ||
	    !(pass.sq = mem_array(rows, sizeof(*pass.sq), e)) ||
	    !(mean = mem_array((size_t)s->n, sizeof(*mean), e)))
		goto done;
	for (i = 0; i < s->n; i++)
		if (eval_stats_init(&pass.stats[i], dim,
		                    s->tc[i]->cfg.n_latents, e) < 0 ||
		    eval_stats_init(&pass.all[i], dim, 0, e) < 0 ||
		    !(mean[i] = mem_array(dim, sizeof(float), e)))
			goto done;
	work = eval_work_layer(m) * (s->layer[s->n - 1] + 1) +
	       eval_work_coders(s);
	ce.run = run;
	ce.mean_y = mean;
	pace.total = work * (double)eval_budget(t, o->fvu_tokens) +
	             (o->fvu_only ? 0 : eval_ce_work(&ce, t));
	if (first_pass(o, &pass, t, &batch, run, &pace, work, r, e) < 0)
		goto done;
	for (i = 0; i < s->n; i++)
		eval_stats_mean(&pass.stats[i], mean[i]);
	rc = o->fvu_only ? 0 : eval_ce_run(&ce, t, r, e);
done:
	for (i = 0; i < s->n; i++) {
		if (pass.stats)
			eval_stats_free(&pass.stats[i]);
		if (pass.all)
			eval_stats_free(&pass.all[i]);
		if (mean)
			mem_free(mean[i]);
	}
	mem_free(pass.stats);
	mem_free(pass.all);
	mem_free(pass.norms);
	mem_free(pass.sq);
	mem_free(mean);
	model_run_free(run);
	eval_coder_free(&coder);
	eval_batch_free(&batch);
	if (rc < 0)
		eval_result_free(r);
	return rc;
}
