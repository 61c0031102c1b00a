/*
 * The end's equations for the codes with their matrix formed. What S and c take is
 * taken off it, and what is left is factored by blocks, L D L^T: a block on the
 * diagonal is inverted in double, and its columns are taken from all that comes
 * after, below the diagonal. Golub and Van Loan, Matrix Computations, 4.1 and 4.2.
 */
#include <string.h>

#include "mem.h"
#include "train_end_impl.h"

struct dense {
	struct end *s;
	float *zz;		/* [lat, lat] */
	float *inverse;		/* [lat, BLOCK] of the blocks on the diagonal */
	float *panel;		/* [lat, BLOCK] a block's columns times that */
	float *block, *unit;	/* [BLOCK, BLOCK] */
	float *tmp;		/* [BLOCK, d_out] */
	float *host;		/* [BLOCK, BLOCK] */
};

/* Columns of the block that begins at j. */
static size_t width(const struct end *s, size_t j)
{
	return s->lat - j < TRAIN_END_BLOCK ? s->lat - j : TRAIN_END_BLOCK;
}

static float *at(const struct dense *q, size_t row, size_t col)
{
	return q->zz + row * q->s->lat + col;
}

/* zz += by * a b^T from row and column `from` on, the blocks on the diagonal and
 * those below; a and b [lat, n], rows lda and ldb apart. */
static int add_product(struct dense *q, size_t from, size_t n, float by,
                       const float *a, size_t lda, const float *b, size_t ldb,
                       struct err *e)
{
	struct end *s = q->s;
	size_t i, w;

	for (i = from; i < s->lat; i += w) {
		w = width(s, i);
		if (s->d->gemm(s->dev, 0, 1, w, i + w - from, n, by, a + i * lda,
		               lda, b + from * ldb, ldb, 1, at(q, i, from),
		               s->lat, e) < 0)
			return -1;
	}
	return 0;
}

/* zz less c m c^T + ones ones^T / fit */
static int take_eliminated(struct dense *q, struct err *e)
{
	struct end *s = q->s;
	size_t n = s->d_in;

	if (s->skip &&		/* ap = c m */
	    (s->d->gemm(s->dev, 0, 0, s->lat, n, n, 1, s->c, n, s->m, n, 0,
	                s->ap, n, e) < 0 ||
	     add_product(q, 0, n, -1, s->ap, n, s->c, n, e) < 0))
		return -1;
	return add_product(q, 0, 1, -1 / (float)s->fit, s->ones, 1, s->ones, 1,
	                   e);
}

/* inverse of the block on the diagonal at j, its ridge added */
static int invert(struct dense *q, size_t j, struct err *e)
{
	struct end *s = q->s;
	size_t w = width(s, j), bytes = w * w * sizeof(float), i;

	memset(q->host, 0, bytes);
	for (i = 0; i < w; i++)
		q->host[i * w + i] = s->lambda[j + i];
	if (s->d->put(s->dev, q->block, q->host, bytes, e) < 0)
		return -1;
	for (i = 0; i < w; i++)
		q->host[i * w + i] = 1;
	if (s->d->put(s->dev, q->unit, q->host, bytes, e) < 0 ||
	    s->d->gemm(s->dev, 0, 0, w, w, w, 1, q->unit, w, at(q, j, j),
	               s->lat, 1, q->block, w, e) < 0)
		return -1;
	return s->d->tc->ridge(s->dev, q->block, q->unit, w, w, 0,
	                       q->inverse + j * TRAIN_END_BLOCK, e);
}

/* Takes block j from those after it and from their part of u, a right side yet;
 * block j becomes what it would be if there were none. */
static int eliminate(struct dense *q, size_t j, struct err *e)
{
	struct end *s = q->s;
	const struct dev_ops *d = s->d;
	size_t w = width(s, j), next = j + w, left = s->lat - next, m = s->d_out;
	const float *inverse = q->inverse + j * TRAIN_END_BLOCK;
	float *u = s->u + j * m;

	if (invert(q, j, e) < 0 ||
	    d->copy(s->dev, q->tmp, u, w * m * sizeof(float), e) < 0 ||
	    d->gemm(s->dev, 0, 0, w, m, w, 1, inverse, w, q->tmp, m, 0, u, m,
	            e) < 0)
		return -1;
	if (d->gemm(s->dev, 0, 0, left, m, w, -1, at(q, next, j), s->lat, u, m, 1,
	            u + w * m, m, e) < 0 ||
	    d->gemm(s->dev, 0, 0, left, w, w, 1, at(q, next, j), s->lat, inverse,
	            w, 0, q->panel + next * w, w, e) < 0)
		return -1;
	return add_product(q, next, w, -1, q->panel, w, at(q, 0, j), s->lat, e);
}

/* u at block j, those after it being solved */
static int go_back(struct dense *q, size_t j, struct err *e)
{
	struct end *s = q->s;
	const struct dev_ops *d = s->d;
	size_t w = width(s, j), next = j + w, m = s->d_out;

	if (d->gemm(s->dev, 1, 0, w, m, s->lat - next, 1, at(q, next, j), s->lat,
	            s->u + next * m, m, 0, q->tmp, m, e) < 0)
		return -1;
	return d->gemm(s->dev, 0, 0, w, m, w, -1,
	               q->inverse + j * TRAIN_END_BLOCK, w, q->tmp, m, 1,
	               s->u + j * m, m, e);
}

static int solve(struct dense *q, struct err *e)
{
	struct end *s = q->s;
	const struct dev_tc_codes fit = train_end_codes(s, 0, s->fit);
	size_t j;

	if (s->d->tc->square(s->dev, &fit, s->lat, q->zz, e) < 0 ||
	    take_eliminated(q, e) < 0 ||
	    s->d->copy(s->dev, s->u, s->r, s->lat * s->d_out * sizeof(float),
	               e) < 0)
		return -1;
	for (j = 0; j < s->lat; j += width(s, j))
		if (eliminate(q, j, e) < 0)
			return -1;
	for (j = (s->lat - 1) / TRAIN_END_BLOCK; j-- > 0;)
		if (go_back(q, j * TRAIN_END_BLOCK, e) < 0)
			return -1;
	return 0;
}

size_t train_end_dense_values(size_t lat, size_t d_out)
{
	size_t b = TRAIN_END_BLOCK;

	return lat > TRAIN_END_DENSE ? 0
	       : lat * (lat + 2 * b) + b * (3 * b + d_out);
}

size_t train_end_dense_keeps(struct dev *d, size_t lat, size_t d_in,
                             size_t d_out)
{
	size_t b = lat < TRAIN_END_BLOCK ? lat : TRAIN_END_BLOCK, most = 0, i;
	const size_t of[][3] = {
		{ lat, d_in, d_in }, { b, lat, d_in }, { lat, d_out, b },
		{ lat, b, b }, { b, lat, b }, { b, d_out, lat }
	};

	for (i = 0; lat <= TRAIN_END_DENSE && i < sizeof(of) / sizeof(*of); i++)
		most = train_larger(most, dev_ops(d)->gemm_keeps(d, of[i][0],
			of[i][1], of[i][2]));
	return most;
}

int train_end_dense(struct end *s, struct err *e)
{
	enum { B = TRAIN_END_BLOCK };
	struct dense q = { .s = s };
	int rc = -1;

	if ((q.zz = train_end_give(s, s->lat, s->lat, e)) &&
	    (q.inverse = train_end_give(s, s->lat, B, e)) &&
	    (q.panel = train_end_give(s, s->lat, B, e)) &&
	    (q.block = train_end_give(s, B, B, e)) &&
	    (q.unit = train_end_give(s, B, B, e)) &&
	    (q.tmp = train_end_give(s, B, s->d_out, e)) &&
	    (q.host = mem_scratch(B * B, sizeof(*q.host), e)))
		rc = solve(&q, e);
	s->d->release(s->dev, q.zz);
	s->d->release(s->dev, q.inverse);
	s->d->release(s->dev, q.panel);
	s->d->release(s->dev, q.block);
	s->d->release(s->dev, q.unit);
	s->d->release(s->dev, q.tmp);
	mem_free(q.host);
	return rc;
}
