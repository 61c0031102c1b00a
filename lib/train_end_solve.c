/*
 * The end's equations. Inputs' part S and the constant c are eliminated (their
 * matrix is d_in wide), which leaves one for the codes' part D, a Schur complement,
 * each latent's column scaled to unit length. Where there are few enough latents it
 * is formed and factored (train_end_dense.c). Where there are more, D is found by
 * conjugate gradients from the trained decoder on: a product with Z^T Z is a decoding
 * and its transpose, row by row. Errors are not formed: what is summed over rows is
 * y, and what the trained weights give is taken from the sums. Hestenes and Stiefel
 * 1952; Saad, Iterative Methods, 6.7 and 14.2.
 */
#include <math.h>
#include <string.h>

#include "mem.h"
#include "train_end_impl.h"

enum { ITERATIONS = 8 };
static const double CLOSE_ENOUGH = 1e-5;	/* |residual|^2 left */
static const double INPUTS = 6;	/* ridge on S, in those on D */

/* The lengths that columns are divided by, ridge included; codes scaled so, and
 * what was summed with them. */
static int scale_codes(struct end *s, struct err *e)
{
	double ridge = s->t->cfg.end_ridge;
	size_t i;

	for (i = 0; i < s->lat; i++) {
		double sq = s->power[i] + ridge;

		s->scale[i] = (float)(1 / sqrt(sq));
		s->lambda[i] = (float)(ridge / sq);
	}
	for (i = 0; i < s->n * s->k; i++)
		if (s->latent[i] != DEV_TC_NONE)
			s->value[i] *= s->scale[s->latent[i]];
	if (s->d->put(s->dev, s->codes.value, s->value,
	              s->n * s->k * sizeof(float), e) < 0 ||
	    train_end_diagonal(s, s->scale, s->p, s->d_out, s->r, e) < 0 ||
	    (s->skip && train_end_diagonal(s, s->scale, s->ap, s->d_in, s->c,
	                                   e) < 0))
		return -1;
	for (i = 0; i < s->lat; i++)
		s->one[i] = (float)(s->first[i] * s->scale[i]);
	return s->d->put(s->dev, s->ones, s->one, s->lat * sizeof(float), e);
}

/* out = Z^T Z v of the fit rows, both [lat, d_out] */
static int products(struct end *s, const float *v, float *out, struct err *e)
{
	const struct dev_tc_codes fit = train_end_codes(s, 0, s->fit);

	if (s->d->tc->scale(s->dev, out, 0, s->lat * s->d_out, out, e) < 0)
		return -1;
	return s->d->tc->gram(s->dev, &fit, v, s->lat, s->d_out, out, e);
}

static int put_mean(struct end *s, const double *sum, size_t dim, float *mean,
                    struct err *e)
{
	size_t i;

	for (i = 0; i < dim; i++)
		s->one[i] = (float)(sum[i] / (double)s->fit);
	return s->d->put(s->dev, mean, s->one, dim * sizeof(float), e);
}

/* a [n, m] += by * v w^T */
static int outer(struct end *s, float by, const float *v, size_t n,
                 const float *w, size_t m, float *a, struct err *e)
{
	return s->d->gemm(s->dev, 0, 0, n, m, 1, by, v, 1, w, m, 1, a, m, e);
}

/* xx above its diagonal as below */
static int mirror(struct end *s, struct err *e)
{
	size_t n = s->d_in, bytes = n * n * sizeof(float), i, j;
	float *xx = mem_scratch(n, n * sizeof(*xx), e);
	int rc = xx ? s->d->get(s->dev, xx, s->xx, bytes, e) : -1;

	for (i = 0; rc == 0 && i < n; i++)
		for (j = 0; j < i; j++)
			xx[j * n + i] = xx[i * n + j];
	if (rc == 0)
		rc = s->d->put(s->dev, s->xx, xx, bytes, e);
	mem_free(xx);
	return rc;
}

/* c, xx and xe with x about its mean; the latter still against y */
static int centre(struct end *s, struct err *e)
{
	size_t n = s->d_in;
	float fit = (float)s->fit;

	if (mirror(s, e) < 0 || put_mean(s, s->sum_x, n, s->mean_x, e) < 0 ||
	    outer(s, -1, s->ones, s->lat, s->mean_x, n, s->c, e) < 0 ||
	    outer(s, -fit, s->mean_x, n, s->mean_x, n, s->xx, e) < 0)
		return -1;
	return outer(s, -fit, s->mean_x, n, s->mean_e, s->d_out, s->xe, e);
}

/* r, xe and mean_e against y, less what the trained b_dec and skip connection
 * give. */
static int less_trained(struct end *s, struct err *e)
{
	const struct dev_ops *d = s->d;
	const struct train_layer *t = s->t;
	size_t n = s->d_in, m = s->d_out;

	/* row: their constant, with x about its mean */
	if (d->copy(s->dev, s->row, t->b_dec.w, m * sizeof(float), e) < 0)
		return -1;
	if (s->skip &&
	    (d->gemm(s->dev, 0, 1, 1, m, n, 1, s->mean_x, n, t->skip.w, n, 1,
	             s->row, m, e) < 0 ||
	     d->gemm(s->dev, 0, 1, s->lat, m, n, -1, s->c, n, t->skip.w, n, 1,
	             s->r, m, e) < 0 ||
	     d->gemm(s->dev, 0, 1, n, m, n, -1, s->xx, n, t->skip.w, n, 1, s->xe,
	             m, e) < 0))
		return -1;
	if (outer(s, -1, s->ones, s->lat, s->row, m, s->r, e) < 0)
		return -1;
	return d->axpy(s->dev, -1, s->row, s->mean_e, m, e);
}

/* m = (xx + ridge)^-1 */
static int invert(struct end *s, struct err *e)
{
	size_t n = s->d_in, i;
	float *id = train_end_give(s, n, n, e);
	const float one = 1;
	int rc = id ? 0 : -1;

	for (i = 0; rc == 0 && i < n; i++)
		rc = s->d->put(s->dev, id + i * n + i, &one, sizeof(one), e);
	if (rc == 0)
		rc = s->d->tc->ridge(s->dev, s->xx, id, n, n,
		                     INPUTS * s->t->cfg.end_ridge, s->m, e);
	s->d->release(s->dev, id);
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
	return outer(s, -1 / (float)s->fit, s->ones, s->lat, s->row, m, out, e);
}

/* out = (Z^T Z + ridge less what S and c take) v */
static int multiply(struct end *s, const float *v, float *out, struct err *e)
{
	if (products(s, v, out, e) < 0 ||
	    train_end_diagonal(s, s->lambda, v, s->d_out, out, e) < 0)
		return -1;
	return less_eliminated(s, v, out, e);
}

/* r, what multiply is to give for p + u; p: the trained decoder, for scaled codes. */
static int right_side(struct end *s, struct err *e)
{
	const struct dev_ops *d = s->d;
	size_t n = s->d_in, m = s->d_out;

	if (put_mean(s, s->sum_y, m, s->mean_e, e) < 0 ||
	    (s->skip && centre(s, e) < 0) || less_trained(s, e) < 0)
		return -1;
	if (s->skip &&
	    (invert(s, e) < 0 ||
	     d->gemm(s->dev, 0, 0, n, m, n, 1, s->m, n, s->xe, m, 0, s->s, m,
	             e) < 0 ||
	     d->gemm(s->dev, 0, 0, s->lat, m, n, -1, s->c, n, s->s, m, 1, s->r,
	             m, e) < 0))
		return -1;
	if (outer(s, -1, s->ones, s->lat, s->mean_e, m, s->r, e) < 0 ||
	    train_end_decoder(s, s->p, e) < 0)
		return -1;
	return train_end_diagonal(s, s->lambda, s->p, m, s->r, e);
}

/* u; p is spoilt. */
static int conjugate_gradients(struct end *s, struct err *e)
{
	const struct dev_ops *d = s->d;
	size_t all = s->lat * s->d_out;
	double first, rho, next, curve;
	int i;

	if (multiply(s, s->p, s->ap, e) < 0 ||
	    d->axpy(s->dev, -1, s->ap, s->r, all, e) < 0 ||
	    d->copy(s->dev, s->p, s->r, all * sizeof(float), e) < 0 ||
	    train_end_dot(s, s->r, s->r, s->lat, &rho, e) < 0)
		return -1;
	first = rho;
	for (i = 0; i < ITERATIONS && rho > CLOSE_ENOUGH * first; i++) {
		if (multiply(s, s->p, s->ap, e) < 0 ||
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

/* u, where there are few enough latents for their matrix; 1: f32 does not hold it,
 * and u is 0. */
static int solve_dense(struct end *s, struct err *e)
{
	const struct dev_ops *d = s->d;
	size_t all = s->lat * s->d_out;
	struct err why = { 0 };
	double length;

	if (train_end_dense(s, &why) == 0) {
		if (train_end_dot(s, s->u, s->u, s->lat, &length, e) < 0)
			return -1;
		if (isfinite(length))
			return d->axpy(s->dev, -1, s->p, s->u, all, e);
	} else if (why.code != ERR_RANGE) {
		if (e)
			*e = why;
		return -1;
	}
	d->release(s->dev, s->u);
	return (s->u = train_end_give(s, s->lat, s->d_out, e)) ? 1 : -1;
}

/* tmp = xe - c^T (p + u), s = m tmp, row = mean_e less what these add to it; p the
 * trained decoder */
static int solve_rest(struct end *s, struct err *e)
{
	const struct dev_ops *d = s->d;
	size_t n = s->d_in, m = s->d_out;

	if (train_end_decoder(s, s->p, e) < 0 ||
	    d->axpy(s->dev, 1, s->u, s->p, s->lat * m, e) < 0)
		return -1;
	if (s->skip &&
	    (d->copy(s->dev, s->tmp, s->xe, n * m * sizeof(float), e) < 0 ||
	     d->gemm(s->dev, 1, 0, n, m, s->lat, -1, s->c, n, s->p, m, 1, s->tmp,
	             m, e) < 0 ||
	     d->gemm(s->dev, 0, 0, n, m, n, 1, s->m, n, s->tmp, m, 0, s->s, m,
	             e) < 0))
		return -1;
	if (d->copy(s->dev, s->row, s->mean_e, m * sizeof(float), e) < 0)
		return -1;
	return d->gemm(s->dev, 0, 0, 1, m, s->lat, -1 / (float)s->fit, s->ones,
	               s->lat, s->p, m, 1, s->row, m, e);
}

int train_end_equations(struct end *s, struct err *e)
{
	int rc = 1;

	if (scale_codes(s, e) < 0 || right_side(s, e) < 0)
		return -1;
	if (s->lat <= TRAIN_END_DENSE)
		rc = solve_dense(s, e);
	if (rc < 0 || (rc > 0 && conjugate_gradients(s, e) < 0))
		return -1;
	return solve_rest(s, e);
}
