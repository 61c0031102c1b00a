/*
 * Dead latents drawn anew, after "Towards Monosemanticity" (Bricken et al. 2023,
 * appendix "Neuron Resampling"): each takes the direction of an input of the
 * latest batch, drawn in proportion to the square of its loss, at a fifth of the
 * living encoder rows' mean norm, with a bias of 0 and no moments. There the
 * decoder row is the input too, which is the target; a transcoder's is 0, as at
 * the start, and takes the shape of the error with the first firings.
 */
#include <math.h>
#include <string.h>

#include "mem.h"
#include "train_first.h"
#include "train_impl.h"
#include "train_rng.h"

static const double SHORT = 0.2;	/* of the living rows' mean norm */

/* Whether `now` is the first row count past a multiple of the period, with as
 * many rows left to learn from. */
static int due(const struct train_cfg *c, uint64_t now)
{
	uint64_t all = c->n_steps * c->batch, period = c->resample;

	return period && now / period > (now - c->batch) / period &&
	       (!all || now + period <= all);
}

/* Rows of the batch, how likely each is drawn, summed up. */
static int row_weights(struct train_layer *t, size_t n, double *sum,
                       struct err *e)
{
	struct train_work *w = t->work;
	size_t i;

	if (train_ops(t)->tc->row_sq(t->dev, w->g, n, t->cfg.tc.d_out, NULL,
	                             w->sq_x, e) < 0)
		return -1;
	for (i = 0; i < n; i++)
		sum[i] = (i ? sum[i - 1] : 0) + w->sq_x[i] * w->sq_x[i];
	return 0;
}

/* The dead ones' numbers into work->dead_host, and the norm they are to have. */
static long find(struct train_layer *t, uint64_t now, double *norm,
                 struct err *e)
{
	struct train_work *w = t->work;
	const struct dev_ops *d = train_ops(t);
	uint64_t *last = (uint64_t *)(void *)w->sum;
	size_t n = t->cfg.tc.n_latents, i;
	double *sq = mem_scratch(n, sizeof(*sq), e), living = 0;
	long dead = -1;

	if (!sq ||
	    d->get(t->dev, last, t->last, n * sizeof(*last), e) < 0 ||
	    d->tc->row_sq(t->dev, t->enc.w, n, t->cfg.tc.d_in, NULL, sq, e) < 0)
		goto done;
	for (i = 0, dead = 0; i < n; i++)
		if (now - last[i] > t->cfg.resample)
			w->dead_host[dead++] = (uint32_t)i;
		else
			living += sqrt(sq[i]);
	*norm = (size_t)dead < n ? SHORT * living / (double)(n - (size_t)dead)
	                         : t->cfg.row_norm;
done:
	mem_free(sq);
	return dead;
}

/* Row i of a parameter, and no moments. */
static int put_row(struct train_layer *t, const struct dev_tc_param *p, size_t i,
                   size_t dim, const float *row, const float *zero,
                   struct err *e)
{
	const struct dev_ops *d = train_ops(t);
	size_t bytes = dim * sizeof(*row);

	if (d->put(t->dev, p->w + i * dim, row, bytes, e) < 0 ||
	    (p->s1 && d->put(t->dev, p->s1 + i * dim, zero, bytes, e) < 0))
		return -1;
	return p->s2 ? d->put(t->dev, p->s2 + i * dim, zero, bytes, e) : 0;
}

static int redraw(struct train_layer *t, size_t i, size_t from, double norm,
                  const float *zero, struct err *e)
{
	const struct dev_ops *d = train_ops(t);
	const struct tc_cfg *c = &t->cfg.tc;
	float *row = t->work->row_host;

	if (d->get(t->dev, row, t->work->x + from * c->d_in,
	           c->d_in * sizeof(*row), e) < 0)
		return -1;
	train_to_norm(row, c->d_in, 1);
	if (put_row(t, &t->dec, i, c->d_out, c->transcode ? zero : row, zero,
	            e) < 0)
		return -1;
	train_to_norm(row, c->d_in, norm);
	if (put_row(t, &t->enc, i, c->d_in, row, zero, e) < 0 ||
	    put_row(t, &t->bias, i, 1, zero, zero, e) < 0)
		return -1;
	return t->power ? d->put(t->dev, t->power + i, zero, sizeof(*zero), e)
	                : 0;
}

int train_resample(struct train_layer *t, size_t n, uint64_t now, struct err *e)
{
	const struct tc_cfg *c = &t->cfg.tc;
	struct train_rng r = { t->cfg.seed * 0xd1342543de82ef95u +
		(uint64_t)t->layer * 0x632be59bd9b4e019u + now };
	double *sum = NULL, norm;
	float *zero = NULL;
	long dead, i;
	int rc = -1;

	if (!due(&t->cfg, now))
		return 0;
	if (!(sum = mem_scratch(n, sizeof(*sum), e)) ||
	    !(zero = mem_array(c->d_in > c->d_out ? c->d_in : c->d_out,
	                       sizeof(*zero), e)) ||
	    row_weights(t, n, sum, e) < 0 || (dead = find(t, now, &norm, e)) < 0)
		goto done;
	for (i = 0; i < dead && sum[n - 1] > 0; i++)
		if (redraw(t, t->work->dead_host[i],
		           train_rng_pick(&r, sum, n), norm, zero, e) < 0)
			goto done;
	rc = 0;
done:
	mem_free(sum);
	mem_free(zero);
	return rc;
}
