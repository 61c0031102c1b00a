/* First rows, a block at a time and each by itself: what is drawn for a row is so
 * far along the layer's stream of random numbers. */
#include "train_first.h"

#include <math.h>
#include <string.h>

#include "mem.h"
#include "par.h"
#include "train_rng.h"

enum { BLOCK = 256 };	/* rows */

struct first {
	struct train_layer *t;
	struct train_rng r;	/* of row 0 */
	size_t dim, at, n;	/* a block: rows at .. at + n */
	float *enc, *dec;	/* [BLOCK, dim]; dec NULL: a transcoder */
	/* NULL: drawn only */
	const struct train_first_rows *near;
	float *x, *mean;	/* [BLOCK, dim] inputs, [dim] */
	uint32_t *from;		/* [BLOCK] their rows; on the device, too, */
	uint32_t *ids;
	float *held;		/* with the inputs themselves */
};

static void gauss(struct train_rng *r, float *out, size_t n)
{
	size_t i;

	for (i = 0; i < n; i += 2) {
		double radius = sqrt(-2 * log(train_rng_unit(r)));
		double angle = 6.283185307179586477 * train_rng_unit(r);

		out[i] = (float)(radius * cos(angle));
		if (i + 1 < n)
			out[i + 1] = (float)(radius * sin(angle));
	}
}

void train_to_norm(float *v, size_t n, double norm)
{
	double sq = 0;
	size_t i;

	for (i = 0; i < n; i++)
		sq += (double)v[i] * v[i];
	for (i = 0; i < n && sq > 0; i++)
		v[i] = (float)(v[i] * norm / sqrt(sq));
}

/* Row i as it is drawn. */
static void draw(const struct first *f, size_t i, float *row)
{
	struct train_rng r = f->r;
	double bound = 1 / sqrt((double)f->dim);
	size_t j;

	if (f->t->cfg.recipe != TRAIN_SPARSIFY) {
		train_rng_skip(&r, i * (f->dim + f->dim % 2));
		gauss(&r, row, f->dim);
		train_to_norm(row, f->dim, 1);
		return;
	}
	train_rng_skip(&r, i * f->dim);	/* nn.Linear's own */
	for (j = 0; j < f->dim; j++)
		row[j] = (float)((2 * train_rng_unit(&r) - 1) * bound);
}

static void turn(const struct first *f, float *row, float *x)
{
	double near = f->t->cfg.near;
	size_t j;

	for (j = 0; j < f->dim; j++)
		x[j] -= f->mean[j];
	train_to_norm(x, f->dim, 1);
	for (j = 0; j < f->dim; j++)
		row[j] = (float)((1 - near) * row[j] + near * x[j]);
}

static void one(void *ctx, size_t item, int thread)
{
	const struct first *f = ctx;
	float *enc = f->enc + item * f->dim, *dec;

	(void)thread;
	draw(f, f->at + item, enc);
	if (f->near) {
		turn(f, enc, f->x + item * f->dim);
		train_to_norm(enc, f->dim, 1);
	}
	if (f->dec) {
		dec = f->dec + item * f->dim;
		memcpy(dec, enc, f->dim * sizeof(*dec));
		if (!f->near)
			train_to_norm(dec, f->dim, 1);
	}
	if (f->near)
		train_to_norm(enc, f->dim, f->t->cfg.row_norm);
}

/* The inputs that the block's rows turn to. */
static int fetch(struct first *f, struct train_rng *r, struct err *e)
{
	struct train_layer *t = f->t;
	const struct dev_ops *d = train_ops(t);
	size_t i;

	for (i = 0; i < f->n; i++)
		f->from[i] = f->near->row[train_rng_pick(r, f->near->sum,
		                                         f->near->n)];
	if (d->put(t->dev, f->ids, f->from, f->n * sizeof(*f->ids), e) < 0 ||
	    d->tc->gather(t->dev, t->held_x ? t->held_x : t->held_y, f->ids,
	                  f->n, f->dim, f->held, e) < 0)
		return -1;
	return d->get(t->dev, f->x, f->held, f->n * f->dim * sizeof(*f->x), e);
}

static int blocks(struct first *f, struct err *e)
{
	struct train_layer *t = f->t;
	const struct dev_ops *d = train_ops(t);
	struct train_rng r = { t->cfg.seed * 0x9e3779b97f4a7c15u +
	                       (uint64_t)t->layer * 0x632be59bd9b4e019u + 2 };
	size_t all = t->cfg.tc.n_latents, bytes;

	for (f->at = 0; f->at < all; f->at += f->n) {
		f->n = all - f->at < BLOCK ? all - f->at : BLOCK;
		bytes = f->n * f->dim * sizeof(float);
		if (f->near && fetch(f, &r, e) < 0)
			return -1;
		par_for(dev_par(t->dev), f->n, one, f);
		if (d->put(t->dev, t->enc.w + f->at * f->dim, f->enc, bytes,
		           e) < 0 ||
		    (f->dec && d->put(t->dev, t->dec.w + f->at * f->dim, f->dec,
		                      bytes, e) < 0))
			return -1;
	}
	return 0;
}

static int give_near(struct first *f, struct err *e)
{
	struct train_layer *t = f->t;
	const struct dev_ops *d = train_ops(t);

	if (!(f->x = mem_scratch(BLOCK, f->dim * sizeof(*f->x), e)) ||
	    !(f->mean = mem_scratch(f->dim, sizeof(*f->mean), e)) ||
	    !(f->from = mem_scratch(BLOCK, sizeof(*f->from), e)) ||
	    !(f->ids = d->alloc(t->dev, BLOCK * sizeof(*f->ids), e)) ||
	    !(f->held = d->alloc(t->dev, BLOCK * f->dim * sizeof(*f->held), e)))
		return -1;
	return d->get(t->dev, f->mean, t->mean_x, f->dim * sizeof(*f->mean), e);
}

int train_first(struct train_layer *t, const struct train_first_rows *near,
                struct err *e)
{
	const struct dev_ops *d = train_ops(t);
	struct first f = { .t = t, .dim = t->cfg.tc.d_in, .near = near,
		.r = { t->cfg.seed * 0x2545f4914f6cdd1du +
		       (uint64_t)t->layer * 0x632be59bd9b4e019u + 1 } };
	int rc = -1;

	if ((f.enc = mem_scratch(BLOCK, f.dim * sizeof(*f.enc), e)) &&
	    (t->cfg.tc.transcode ||
	     (f.dec = mem_scratch(BLOCK, f.dim * sizeof(*f.dec), e))) &&
	    (!near || give_near(&f, e) == 0))
		rc = blocks(&f, e);
	d->release(t->dev, f.ids);
	d->release(t->dev, f.held);
	mem_free(f.enc);
	mem_free(f.dec);
	mem_free(f.x);
	mem_free(f.mean);
	mem_free(f.from);
	return rc;
}
