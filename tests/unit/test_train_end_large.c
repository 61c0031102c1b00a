#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "mem.h"
#include "tensor.h"
#include "train.h"
#include "train_cases.h"
#include "train_end_impl.h"

/*
 * The end of transcoders too large for the dense solution of test_train_end.c. Of
 * sum |e - D^T z - S x - c|^2 + R |D|^2 + 6 R |S|^2 a share t of the change that
 * makes it least leaves 1 - t of the gradient at no change, in every weight.
 */

enum { BATCH = 16 };
static const double INPUTS = 6;	/* as in train_end_solve.c */

struct sizes {
	uint32_t d_in, d_out, latents, k;
	size_t rows;
	double ridge, bound;
};

static struct train_cfg of(const struct sizes *z)
{
	struct train_cfg c = config(TRAIN_R1);

	c.tc.d_in = z->d_in;
	c.tc.d_out = z->d_out;
	c.tc.n_latents = z->latents;
	c.tc.k = z->k;
	c.dec_rate = 0.3;
	c.n_steps = z->rows / BATCH;
	c.end_tokens = z->rows;
	c.end_ridge = z->ridge;
	return c;
}

/* A layer's rows, as the end sees them, and what the gradient is of. */
struct sample {
	size_t n;			/* solved on */
	float *x, *y;			/* [n, d_in] about their mean, [n, d_out] */
	double *mean;			/* [d_in] */
	uint32_t *latent;		/* [n, k] */
	float *value;
	size_t values;			/* of the weights below, of a gradient */
};

static void sample_take(struct sample *s, struct train_layer *t)
{
	const struct tc_cfg *c = &t->cfg.tc;
	size_t slot, i, j, n = 0, rows = t->kept_slots * t->cfg.batch;
	struct dev_tc_codes codes;
	struct err e = { 0 };
	float *seen;

	s->x = mem_array(rows, c->d_in * sizeof(float), &e);
	s->y = mem_array(rows, c->d_out * sizeof(float), &e);
	seen = mem_array(rows, c->d_in * sizeof(float), &e);
	s->mean = mem_array(c->d_in, sizeof(double), &e);
	s->latent = mem_array(rows, c->k * sizeof(uint32_t), &e);
	s->value = mem_array(rows, c->k * sizeof(float), &e);
	for (i = 0; i < t->kept_slots; i++) {
		slot = (size_t)((t->stats.step + i) % t->kept_slots);
		f32_from_q8_0(t->kept_x + slot * train_end_slot(&t->cfg, c->d_in),
		              t->kept_n[slot] * c->d_in, seen + n * c->d_in);
		f32_from_q8_0(t->kept_y + slot * train_end_slot(&t->cfg, c->d_out),
		              t->kept_n[slot] * c->d_out, s->y + n * c->d_out);
		n += t->kept_n[slot];
	}
	codes = (struct dev_tc_codes){ s->latent, s->value, n, c->k };
	assert_int_equal(train_ops(t)->tc->encode(t->dev, seen, n, c->d_in,
		t->enc.w, t->bias.w, c->n_latents, NULL, &codes, &e), 0);
	s->n = n - n / 8;
	for (j = 0; j < c->d_in; j++) {
		for (i = 0; i < s->n; i++)
			s->mean[j] += seen[i * c->d_in + j] / (double)s->n;
		for (i = 0; i < s->n; i++)
			s->x[i * c->d_in + j] = (float)(seen[i * c->d_in + j] -
			                                s->mean[j]);
	}
	mem_free(seen);
	s->values = (size_t)(c->n_latents + c->d_in + 1) * c->d_out;
}

static void sample_free(struct sample *s)
{
	mem_free(s->x);
	mem_free(s->y);
	mem_free(s->mean);
	mem_free(s->latent);
	mem_free(s->value);
}

/* D, S^T and c + S mean of x, one after the other. */
static double *weights(const struct sample *s, const struct train_layer *t)
{
	const struct tc_cfg *c = &t->cfg.tc;
	size_t i, j, at = (size_t)c->n_latents * c->d_out;
	double *w = mem_array(s->values, sizeof(*w), NULL);
	double *constant = w + at + (size_t)c->d_in * c->d_out;

	for (i = 0; i < at; i++)
		w[i] = t->dec.w[i];
	for (j = 0; j < c->d_out; j++) {
		constant[j] = t->b_dec.w[j];
		for (i = 0; i < c->d_in; i++) {
			double v = t->skip.w[j * c->d_in + i];

			w[at + i * c->d_out + j] = v;
			constant[j] += v * s->mean[i];
		}
	}
	return w;
}

/* g = half the gradient at w, the ridges pulling to `from` */
static double *gradient(const struct sample *s, const struct train_cfg *cfg,
                        const double *w, const double *from)
{
	const struct tc_cfg *c = &cfg->tc;
	size_t m = c->d_out, lat = c->n_latents, i, j, q;
	double *g = mem_array(s->values, sizeof(*g), NULL), e[MAX_N];

	for (i = 0; i < (lat + c->d_in) * m; i++)
		g[i] = (w[i] - from[i]) * cfg->end_ridge *
		       (i < lat * m ? 1 : INPUTS);
	for (i = 0; i < s->n; i++)
		for (q = 0; q < 2; q++) {
			/* once for the error, once for what it gives */
			for (j = 0; j < m && !q; j++)
				e[j] = s->y[i * m + j];
#define TERM(row, by)							\
			for (j = 0; j < m; j++) {			\
				size_t at = (size_t)(row) * m + j;	\
									\
				if (q)					\
					g[at] -= (by) * e[j];		\
				else					\
					e[j] -= (by) * w[at];		\
			}
			for (size_t u = 0; u < c->k; u++)
				if (s->latent[i * c->k + u] != DEV_TC_NONE)
					TERM(s->latent[i * c->k + u],
					     s->value[i * c->k + u])
			for (size_t u = 0; u < c->d_in; u++)
				TERM(lat + u, s->x[i * c->d_in + u])
			TERM(lat + c->d_in, 1.0)
#undef TERM
		}
	return g;
}

/* What is left of the gradient beside its own multiple, in shares of it. */
static double astray(const double *before, const double *after, size_t n,
                     double *left)
{
	double along = 0, square = 0, off = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		along += before[i] * after[i];
		square += before[i] * before[i];
	}
	*left = along / square;
	for (i = 0; i < n; i++)
		off += pow(after[i] - *left * before[i], 2);
	return sqrt(off / square);
}

static void trained(struct run *r, const struct sizes *z, int threads)
{
	struct train_cfg c = of(z);

	run_open(r, &c, threads, z->rows);
	feed(r, 0, z->rows, 64);
}

/* What the end leaves of the gradient: astray, and *left. */
static double finished(struct run *r, double *left)
{
	double *was, *now, *before, *after, off;
	struct sample s = { 0 };
	struct err e = { 0 };

	sample_take(&s, r->t);
	was = weights(&s, r->t);
	if (train_layer_finish(r->t, &e) < 0)
		fail_msg("%s", e.msg);
	now = weights(&s, r->t);
	before = gradient(&s, &r->t->cfg, was, was);
	after = gradient(&s, &r->t->cfg, now, was);
	off = astray(before, after, s.values, left);
	mem_free(was);
	mem_free(now);
	mem_free(before);
	mem_free(after);
	sample_free(&s);
	return off;
}

static void solves(const struct sizes *z)
{
	double left, off;
	struct run r;

	trained(&r, z, 2);
	off = finished(&r, &left);
	if (!(off < z->bound && left < 0.9))
		fail_msg("%u latents: %g astray, %g left", z->latents, off, left);
	run_close(&r);
}

/* Several blocks, several strips of inputs. */
static const struct sizes dense = { 200, 6, 450, 8, 3200, 20, 1e-4 };
/* More than are formed. */
static const struct sizes wide = { 7, 3, TRAIN_END_DENSE + 1, 4, 1600, 20, 2e-2 };

static void by_blocks(void **state)
{
	const struct sizes even = { 5, 4, 2 * TRAIN_END_BLOCK, 8, 3200, 20, 1e-4 };
	const struct sizes one = { 5, 4, TRAIN_END_BLOCK + 1, 8, 3200, 5, 1e-4 };

	(void)state;
	solves(&dense);
	solves(&even);
	solves(&one);
}

static void by_conjugate_gradients(void **state)
{
	(void)state;
	solves(&wide);
}

static void threads_change_nothing(void **state)
{
	static const struct sizes *const all[] = { &dense, &wide };
	struct err e = { 0 };
	struct run a, b;
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		size_t n = (size_t)all[i]->latents * all[i]->d_out;

		trained(&a, all[i], 1);
		trained(&b, all[i], 3);
		if (train_layer_finish(a.t, &e) < 0 ||
		    train_layer_finish(b.t, &e) < 0)
			fail_msg("%s", e.msg);
		assert_memory_equal(a.t->dec.w, b.t->dec.w, n * sizeof(float));
		run_close(&a);
		run_close(&b);
	}
}

/* Latents that are the same, all that fire selected, and next to no ridge: the
 * matrix is singular, and of so many pairs some come out negative in f32, where
 * conjugate gradients take over. What is found is finite, and errs less. */
static void singular_ones_are_solved_too(void **state)
{
	const struct sizes z = { 5, 4, 300, 150, 3200, 1e-12, 0 };
	enum { PAIRS = 90, OTHER = 200 };	/* in another block */
	struct run r;
	double left;
	size_t i;

	(void)state;
	trained(&r, &z, 2);
	for (i = 0; i < PAIRS; i++) {
		memcpy(r.t->enc.w + i * z.d_in, r.t->enc.w + (OTHER + i) *
		       z.d_in, z.d_in * sizeof(float));
		r.t->bias.w[i] = r.t->bias.w[OTHER + i];
	}
	assert_true(isfinite(finished(&r, &left)));
	assert_true(left < 0.9);
	run_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_blocks),
		cmocka_unit_test(by_conjugate_gradients),
		cmocka_unit_test(threads_change_nothing),
		cmocka_unit_test(singular_ones_are_solved_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
