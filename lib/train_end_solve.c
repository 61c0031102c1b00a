/*
 * The end's equations. Inputs' part S and the constant c are eliminated (their
 * matrix is d_in wide); the codes' part D is found by conjugate gradients on what
 * is left, a Schur complement, each latent's column scaled to unit length. Z^T Z
 * is never formed: a product with it is a decoding and its transpose, some rows
 * at a time. Hestenes and Stiefel 1952; Saad, Iterative Methods, 6.7 and 14.2.
 */
#include <math.h>
#include <string.h>

#include "mem.h"
#include "train_end_impl.h"

enum { ITERATIONS = 8 };
static const double CLOSE_ENOUGH = 1e-5;	/* |residual|^2 left */
static const double INPUTS = 6;	/* ridge on S, in those on D */

/* The lengths that columns are divided by, ridge included; codes scaled so. */
static int scale_codes(struct end *s, struct err *e)
{
	size_t n = s->fit * s->k, i;
	double *power = s->sum, ridge = s->t->cfg.end_ridge;

	memset(power, 0, s->lat * sizeof(*power));
	for (i = 0; i < n; i++)
		if (s->latent[i] != DEV_TC_NONE)
			power[s->latent[i]] += (double)s->value[i] * s->value[i];
	for (i = 0; i < s->lat; i++) {
		double sq = power[i] + ridge;

		s->scale[i] = power[i] > 0 ? (float)(1 / sqrt(sq)) : 0;
		s->lambda[i] = (float)(ridge / sq);
	}
	for (i = 0; i < s->n * s->k; i++)
		if (s->latent[i] != DEV_TC_NONE)
			s->value[i] *= s->scale[s->latent[i]];
	return s->d->put(s->dev, s->codes.value, s->value,
	                 s->n * s->k * sizeof(float), e);
}

/* Rows [at, at + n) of the fit rows' codes by latent, in row order: starts from
 * `first` on into start [lat + 2], the entries behind them. Sums of values. */
static void transpose_chunk(const struct end *s, size_t at, size_t n,
                            uint32_t first, uint32_t *start, uint32_t *row,
                            float *value)
{
	const uint32_t *latent = s->latent + at * s->k;
	size_t i;

	memset(start, 0, (s->lat + 2) * sizeof(*start));
	start[1] = first;
	for (i = 0; i < n * s->k; i++)
		if (latent[i] != DEV_TC_NONE)
			start[latent[i] + 2]++;
	for (i = 2; i < s->lat + 2; i++)
		start[i] += start[i - 1];
	start[0] = first;
	for (i = 0; i < n * s->k; i++) {
		uint32_t j;

		if (latent[i] == DEV_TC_NONE)
			continue;
		j = start[latent[i] + 1]++;
		row[j] = (uint32_t)(i / s->k);
		value[j] = s->value[at * s->k + i];
		s->sum[latent[i]] += (double)value[j];
	}
}

/* by_latent, ones and the diagonal's places */
static int transpose(struct end *s, struct err *e)
{
	size_t n = s->fit * s->k, i, at, m;
	uint32_t *start = mem_scratch(s->lat + 2, sizeof(*start), e);
	uint32_t *row = mem_array(n, sizeof(*row), e), first = 0;
	float *value = mem_array(n, sizeof(*value), e);
	int rc = -1;

	if (!start || !row || !value)
		goto done;
	for (i = 0; i < s->lat; i++)
		s->sum[i] = 0;
	for (at = i = 0; at < s->fit; at += m, i++) {
		m = train_end_chunk(at, s->fit);
		transpose_chunk(s, at, m, first, start, row, value);
		first = start[s->lat];
		if (s->d->put(s->dev, s->by_latent.start + i * (s->lat + 1),
		              start, (s->lat + 1) * sizeof(*start), e) < 0)
			goto done;
	}
	for (i = 0; i < s->lat; i++)
		s->one[i] = (float)s->sum[i];
	for (i = 0; i <= s->lat; i++)
		start[i] = (uint32_t)i;
	if (s->d->put(s->dev, s->by_latent.row, row, n * sizeof(*row), e) < 0 ||
	    s->d->put(s->dev, s->by_latent.value, value, n * sizeof(*value),
	              e) < 0 ||
	    s->d->put(s->dev, s->ones, s->one, s->lat * sizeof(float), e) < 0 ||
	    s->d->put(s->dev, s->diag.start, start,
	              (s->lat + 1) * sizeof(*start), e) < 0)
		goto done;
	rc = s->d->put(s->dev, s->diag.row, start, s->lat * sizeof(*start), e);
done:
	mem_free(start);
	mem_free(row);
	mem_free(value);
	return rc;
}

/* out [lat, dim] += Z^T v of the i-th chunk, v its rows */
static int put_back(struct end *s, size_t i, const float *v, size_t dim,
                    float *out, struct err *e)
{
	return s->d->tc->combine(s->dev, s->by_latent.start + i * (s->lat + 1),
	                         s->by_latent.row, s->by_latent.value, s->lat,
	                         v, dim, out, e);
}

/* out [lat, dim] = Z^T v, v [fit, dim] */
static int back(struct end *s, const float *v, size_t dim, float *out,
                struct err *e)
{
	size_t i;

	if (s->d->tc->scale(s->dev, out, 0, s->lat * dim, out, e) < 0)
		return -1;
	for (i = 0; i < s->chunks; i++)
		if (put_back(s, i, v + i * TRAIN_END_CHUNK * dim, dim, out, e) < 0)
			return -1;
	return 0;
}

/* out = Z^T Z v, both [lat, d_out] */
static int there_and_back(struct end *s, const float *v, float *out,
                          struct err *e)
{
	size_t i, n;

	if (s->d->tc->scale(s->dev, out, 0, s->lat * s->d_out, out, e) < 0)
		return -1;
	for (i = 0; i < s->chunks; i++) {
		n = train_end_chunk(i * TRAIN_END_CHUNK, s->fit);
		if (s->d->tc->scale(s->dev, s->q, 0, n * s->d_out, s->q,
		                    e) < 0 ||
		    train_end_decode(s, v, i * TRAIN_END_CHUNK, n, e) < 0 ||
		    put_back(s, i, s->q, s->d_out, out, e) < 0)
			return -1;
	}
	return 0;
}

/* m = (x^T x + ridge)^-1, c = Z^T x, xe = x^T e */
static int eliminate(struct end *s, struct err *e)
{
	const struct dev_ops *d = s->d;
	size_t n = s->d_in, i;
	float *xx = train_end_give(s, n, n, e), *id = train_end_give(s, n, n, e);
	int rc = -1;

	if (!xx || !id)
		goto done;
	for (i = 0; i < n; i++) {
		const float one = 1;

		if (d->put(s->dev, id + i * n + i, &one, sizeof(one), e) < 0)
			goto done;
	}
	if (d->gemm(s->dev, 1, 0, n, n, s->fit, 1, s->x, n, s->x, n, 0, xx, n,
	            e) < 0 ||
	    d->tc->ridge(s->dev, xx, id, n, n,
	                INPUTS * s->t->cfg.end_ridge, s->m, e) < 0 ||
	    back(s, s->x, n, s->c, e) < 0)
		goto done;
	rc = d->gemm(s->dev, 1, 0, n, s->d_out, s->fit, 1, s->x, n, s->e,
	             s->d_out, 0, s->xe, s->d_out, e);
done:
	d->release(s->dev, xx);
	d->release(s->dev, id);
	return rc;
}

/* out -= what S and c, solved for the codes' part v [lat, d_out], take of it:
 * c m c^T v + ones ones^T v / fit. */
static int less_eliminated(struct end *s, const float *v, float *out,
                           struct err *e)
{
	const struct dev_ops *d = s->d;
	size_t n = s->d_in, m = s->d_out;

	if (s->skip &&
	    (d->gemm(s->dev, 1, 0, n, m, s->lat, 1, s->c, n, v, m, 0, s->tmp, m,
	             e) < 0 ||
	     d->gemm(s->dev, 0, 0, n, m, n, 1, s->m, n, s->tmp, m, 0, s->s, m,
	             e) < 0 ||
	     d->gemm(s->dev, 0, 0, s->lat, m, n, -1, s->c, n, s->s, m, 1, out,
	             m, e) < 0))
		return -1;
	if (d->gemm(s->dev, 0, 0, 1, m, s->lat, 1, s->ones, s->lat, v, m, 0,
	            s->row, m, e) < 0)
		return -1;
	return d->gemm(s->dev, 0, 0, s->lat, m, 1, -1 / (float)s->fit, s->ones,
	               1, s->row, m, 1, out, m, e);
}

/* r = Z^T (e - its part that S and c take) */
static int right_side(struct end *s, struct err *e)
{
	const struct dev_ops *d = s->d;
	size_t n = s->d_in, m = s->d_out;

	if (back(s, s->e, m, s->r, e) < 0)
		return -1;
	if (s->skip &&
	    (d->gemm(s->dev, 0, 0, n, m, n, 1, s->m, n, s->xe, m, 0, s->s, m,
	             e) < 0 ||
	     d->gemm(s->dev, 0, 0, s->lat, m, n, -1, s->c, n, s->s, m, 1, s->r,
	             m, e) < 0))
		return -1;
	if (train_end_means(s, s->e, m, s->row, e) < 0)
		return -1;
	return d->gemm(s->dev, 0, 0, s->lat, m, 1, -1, s->ones, 1, s->row, m, 1,
	               s->r, m, e);
}

static int conjugate_gradients(struct end *s, struct err *e)
{
	const struct dev_ops *d = s->d;
	size_t all = s->lat * s->d_out;
	double first, rho, next, curve;
	int i;

	if (d->copy(s->dev, s->p, s->r, all * sizeof(float), e) < 0 ||
	    train_end_dot(s, s->r, s->r, s->lat, &rho, e) < 0)
		return -1;
	first = rho;
	for (i = 0; i < ITERATIONS && rho > CLOSE_ENOUGH * first; i++) {
		if (there_and_back(s, s->p, s->ap, e) < 0 ||
		    train_end_diagonal(s, s->lambda, s->p, s->ap, e) < 0 ||
		    less_eliminated(s, s->p, s->ap, e) < 0 ||
		    train_end_dot(s, s->p, s->ap, s->lat, &curve, e) < 0)
			return -1;
		if (!(curve > 0))
			break;
		if (d->axpy(s->dev, (float)(rho / curve), s->p, s->u, all,
		            e) < 0 ||
		    d->axpy(s->dev, (float)(-rho / curve), s->ap, s->r, all,
		            e) < 0 ||
		    train_end_dot(s, s->r, s->r, s->lat, &next, e) < 0 ||
		    d->tc->scale(s->dev, s->p, (float)(next / rho), all, s->p,
		                 e) < 0 ||
		    d->axpy(s->dev, 1, s->r, s->p, all, e) < 0)
			return -1;
		rho = next;
	}
	return 0;
}

/* tmp = xe - c^T u, s = m tmp, row = mean of e - Z u */
static int solve_rest(struct end *s, struct err *e)
{
	const struct dev_ops *d = s->d;
	size_t n = s->d_in, m = s->d_out;

	if (s->skip &&
	    (d->copy(s->dev, s->tmp, s->xe, n * m * sizeof(float), e) < 0 ||
	     d->gemm(s->dev, 1, 0, n, m, s->lat, -1, s->c, n, s->u, m, 1, s->tmp,
	             m, e) < 0 ||
	     d->gemm(s->dev, 0, 0, n, m, n, 1, s->m, n, s->tmp, m, 0, s->s, m,
	             e) < 0))
		return -1;
	if (train_end_means(s, s->e, m, s->row, e) < 0)
		return -1;
	return d->gemm(s->dev, 0, 0, 1, m, s->lat, -1 / (float)s->fit, s->ones,
	               s->lat, s->u, m, 1, s->row, m, e);
}

int train_end_equations(struct end *s, struct err *e)
{
	if (scale_codes(s, e) < 0 || transpose(s, e) < 0 ||
	    (s->skip && eliminate(s, e) < 0) || right_side(s, e) < 0 ||
	    conjugate_gradients(s, e) < 0)
		return -1;
	return solve_rest(s, e);
}
