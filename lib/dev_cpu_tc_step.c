/*
 * The latents' step on the CPU. Only the k active latents of a row have
 * gradients, so a batch's codes are regrouped by latent; each latent's weights
 * then belong to one item that reads them once, forms their gradients from the
 * rows that fired it, in row order, and moves them. A latent that has fired once
 * moves in each step from then on, as dense Adam has it: why that is not put off
 * is in r1-training(7).
 */
#include <float.h>
#include <math.h>

#include "dev_cpu_tc.h"
#include "mem.h"

enum {
	LATENTS = 32,		/* of an item */
	DENSE = 16384		/* values of an item of a dense step */
};

struct by_latent {
	uint32_t *start;	/* [n_latents + 1] */
	uint32_t *x_row, *g_row;
	float *value, *slope;
	uint8_t *decoder_only;
};

struct step {
	struct dev_cpu *dev;
	const struct tc_loops *loops;
	const struct dev_tc_latents *l;
	const struct dev_tc_opt *o;
	const float *x, *g;
	struct by_latent s;
};

static void group_free(struct by_latent *s)
{
	mem_free(s->start);
	mem_free(s->x_row);
	mem_free(s->g_row);
	mem_free(s->value);
	mem_free(s->slope);
	mem_free(s->decoder_only);
}

/* Counting sort: entries of a latent in order of part and row. */
static int group(struct by_latent *s, const struct dev_tc_part *parts,
                 size_t n_parts, size_t n_latents, struct err *e)
{
	size_t n = 0, p, i;
	uint32_t *at;

	for (p = 0; p < n_parts; p++)
		n += parts[p].codes.n * parts[p].codes.k;
	if (n > UINT32_MAX)
		return err_set(e, ERR_RANGE, "a batch of %zu codes, at most "
		               "%u", n, UINT32_MAX);
	/* one more, so that counting leaves starts behind */
	s->start = mem_array(n_latents + 2, sizeof(*s->start), e);
	s->x_row = mem_scratch(n, sizeof(*s->x_row), e);
	s->g_row = mem_scratch(n, sizeof(*s->g_row), e);
	s->value = mem_scratch(n, sizeof(*s->value), e);
	s->slope = mem_scratch(n, sizeof(*s->slope), e);
	s->decoder_only = mem_scratch(n, 1, e);
	if (!s->start || !s->x_row || !s->g_row || !s->value || !s->slope ||
	    !s->decoder_only)
		return -1;
	at = s->start + 1;
	for (p = 0; p < n_parts; p++)
		tc_count(&parts[p].codes, at);
	tc_begins(at, n_latents);
	for (p = 0; p < n_parts; p++) {
		const struct dev_tc_codes *c = &parts[p].codes;

		for (i = 0; i < c->n * c->k; i++) {
			uint32_t j;

			if (c->latent[i] == DEV_TC_NONE)
				continue;
			j = at[c->latent[i]]++;
			s->x_row[j] = (uint32_t)(i / c->k);
			s->g_row[j] = (uint32_t)(i / c->k + parts[p].g_row);
			s->value[j] = c->value[i];
			s->decoder_only[j] = (uint8_t)parts[p].decoder_only;
		}
	}
	return 0;
}

/* Takes out of g what is parallel to the unit row w. */
static void remove_parallel(const struct vec_ops *v, const float *w, float *g,
                            size_t n)
{
	v->axpy(-v->dot(g, w, n), w, g, n);
}

/* sparsify's set_decoder_norm_to_unit_norm, eps and all */
static void to_unit(const struct tc_loops *t, const struct vec_ops *v, float *w,
                    size_t n)
{
	v->scale(w, 1 / (sqrtf(t->sq(w, NULL, n)) + FLT_EPSILON), n);
}

/* The normalised step of decoder row j; g NULL: no row fired it. */
static void step_decoder(const struct step *q, size_t j, const float *g)
{
	const struct dev_tc_latents *l = q->l;
	const struct by_latent *s = &q->s;
	float power = l->dec_keep * l->power[j];
	size_t i;

	for (i = s->start[j]; i < s->start[j + 1]; i++)
		power += s->value[i] * s->value[i];
	l->power[j] = power > DEV_TC_TINY ? power : 0;
	if (g)
		q->dev->vec->axpy(-l->dec_rate / (power + l->dec_ridge), g,
		                  l->dec.w + j * l->d_out, l->d_out);
}

/* The rows that latent j's encoder will step. */
static size_t encoder_rows(const struct dev_tc_latents *l, size_t j,
                           const float **row)
{
	row[0] = l->enc.w + j * l->d_in;
	row[1] = l->enc.s1 + j * l->d_in;
	row[2] = l->enc.s2 ? l->enc.s2 + j * l->d_in : row[1];
	return 3;
}

/* Those that latent j's slopes will want. */
static size_t slope_rows(const struct step *q, size_t j, const float **row)
{
	const struct dev_tc_latents *l = q->l;
	size_t n = 0, i;

	if (j == l->n_latents)
		return 0;
	row[n++] = l->dec.w + j * l->d_out;
	for (i = q->s.start[j]; i < q->s.start[j + 1] && n < TC_AHEAD; i++)
		row[n++] = q->g + (size_t)q->s.g_row[i] * l->d_out;
	return n;
}

static void step_latent(const struct step *q, size_t j, float *row)
{
	const struct dev_tc_latents *l = q->l;
	const struct vec_ops *v = q->dev->vec;
	const struct by_latent *s = &q->s;
	size_t a = s->start[j], n = s->start[j + 1] - a, i;
	float *dec = l->dec.w + j * l->d_out, sum = 0;
	const float *g_enc = NULL, *g_dec = NULL, *ahead[TC_AHEAD];

	if (n == 0 && !l->live[j] && q->o->rule != DEV_TC_GRAD)
		return;
	for (i = a; i < a + n; i++) {
		s->slope[i] = s->decoder_only[i] ? 0
		    : v->dot(q->g + (size_t)s->g_row[i] * l->d_out, dec,
		             l->d_out);
		sum += s->slope[i];
	}
	if (n) {
		l->live[j] = 1;
		q->loops->combine(q->g, s->g_row + a, s->value + a, n,
		                  ahead, encoder_rows(l, j, ahead), l->d_out, 0,
		                  row);
		if (l->unit_dec)
			remove_parallel(v, dec, row, l->d_out);
		g_dec = row;
	}
	if (l->power && q->o->rule != DEV_TC_GRAD)
		step_decoder(q, j, g_dec);
	else
		q->loops->step(q->o, dec, l->dec.s1 + j * l->d_out,
		               l->dec.s2 ? l->dec.s2 + j * l->d_out : NULL,
		               g_dec, l->d_out);
	if (l->unit_dec && q->o->rule != DEV_TC_GRAD)
		to_unit(q->loops, v, dec, l->d_out);
	if (n) {
		q->loops->combine(q->x, s->x_row + a, s->slope + a, n,
		                  ahead, slope_rows(q, j + 1, ahead), l->d_in,
		                  0, row);
		g_enc = row;
	}
	q->loops->step(q->o, l->enc.w + j * l->d_in, l->enc.s1 + j * l->d_in,
	               l->enc.s2 ? l->enc.s2 + j * l->d_in : NULL, g_enc,
	               l->d_in);
	q->loops->step(q->o, l->bias.w + j, l->bias.s1 + j,
	               l->bias.s2 ? l->bias.s2 + j : NULL, &sum, 1);
}

static void step_block(void *ctx, size_t item, int thread)
{
	const struct step *q = ctx;
	size_t j = item * LATENTS, end = q->l->n_latents - j < LATENTS
	                                 ? q->l->n_latents : j + LATENTS;

	for (; j < end; j++)
		step_latent(q, j, dev_cpu_scratch(q->dev, thread));
}

int dev_cpu_tc_step_latents(struct dev *d, const struct dev_tc_part *parts,
                        size_t n_parts, const float *x, const float *g,
                        const struct dev_tc_latents *l,
                        const struct dev_tc_opt *o, struct err *e)
{
	struct step q = {
		.dev = (struct dev_cpu *)d, .loops = dev_cpu_tc_loops(), .l = l,
		.o = o, .x = x, .g = g
	};
	size_t dim = l->d_in > l->d_out ? l->d_in : l->d_out;
	int rc = -1;

	if (dev_cpu_scratch_need(q.dev, dim * sizeof(float), e) < 0 ||
	    group(&q.s, parts, n_parts, l->n_latents, e) < 0)
		goto done;
	par_for(q.dev->base.pool, (l->n_latents + LATENTS - 1) / LATENTS,
	        step_block, &q);
	rc = 0;
done:
	group_free(&q.s);
	return rc;
}

struct dense {
	const struct tc_loops *loops;
	const struct dev_tc_param *p;
	const struct dev_tc_opt *o;
	const float *g;
};

static void dense_range(void *ctx, size_t first, size_t n)
{
	const struct dense *q = ctx;

	q->loops->step(q->o, q->p->w + first, q->p->s1 + first,
	               q->p->s2 ? q->p->s2 + first : NULL, q->g + first, n);
}

int dev_cpu_tc_step(struct dev *d, const struct dev_tc_param *p,
                const float *grad, size_t n, const struct dev_tc_opt *o,
                struct err *e)
{
	struct dense q = { dev_cpu_tc_loops(), p, o, grad };

	(void)e;
	dev_cpu_ranges((struct dev_cpu *)d, n, DENSE, dense_range, &q);
	return 0;
}
