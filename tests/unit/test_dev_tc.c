#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dev.h"
#include "dev_cpu_tc.h"
#include "dev_tc_ref.h"
#include "mem.h"

static uint64_t rng_state = 88172645463325252u;

static uint64_t rnd(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state;
}

static float uniform(void)	/* -1 .. 1 */
{
	return (float)((double)(rnd() >> 11) * 0x1p-52 - 1);
}

static float *floats(size_t n)
{
	float *v = mem_scratch(n, sizeof(*v), NULL);
	size_t i;

	assert_non_null(v);
	for (i = 0; i < n; i++)
		v[i] = uniform();
	return v;
}

/* Small integers: every product and sum is exact, and ties abound. */
static float *integers(size_t n, int range)
{
	float *v = mem_scratch(n, sizeof(*v), NULL);
	size_t i;

	assert_non_null(v);
	for (i = 0; i < n; i++)
		v[i] = (float)((int)(rnd() % (unsigned)(2 * range + 1)) -
		               range);
	return v;
}

static struct dev *device(int n_threads)
{
	struct err e = { 0 };
	struct dev *d = dev_open("cpu", n_threads, &e);

	assert_non_null(d);
	return d;
}

static struct dev_tc_codes codes_new(size_t n, size_t k)
{
	struct dev_tc_codes c = { NULL, NULL, n, k };

	c.latent = mem_scratch(n, k * sizeof(*c.latent), NULL);
	c.value = mem_scratch(n, k * sizeof(*c.value), NULL);
	assert_true(c.latent && c.value);
	return c;
}

static void codes_free(struct dev_tc_codes *c)
{
	mem_free(c->latent);
	mem_free(c->value);
}

static void check_encode(size_t n, size_t d_in, size_t n_latents, size_t k,
                         int use_ids)
{
	struct err e = { 0 };
	struct dev *d = device(3);
	float *x = integers(n * d_in, 3), *w = integers(n_latents * d_in, 3);
	float *b = integers(n_latents, 4);
	struct dev_tc_codes got = codes_new(n, k), want = codes_new(n, k);
	uint32_t *ids = NULL;
	size_t j;

	if (use_ids) {
		ids = mem_scratch(n_latents, sizeof(*ids), &e);
		for (j = 0; j < n_latents; j++)
			ids[j] = (uint32_t)(3 * j + 5);
	}
	assert_int_equal(dev_ops(d)->tc->encode(d, x, n, d_in, w, b, n_latents,
	                                        ids, &got, &e), 0);
	assert_int_equal(dev_tc_ref_encode(x, n, d_in, w, b, n_latents, ids,
	                                   &want, &e), 0);
	assert_memory_equal(got.latent, want.latent,
	                    n * k * sizeof(*got.latent));
	assert_memory_equal(got.value, want.value, n * k * sizeof(*got.value));
	codes_free(&got);
	codes_free(&want);
	mem_free(ids);
	mem_free(x);
	mem_free(w);
	mem_free(b);
	dev_free(d);
}

static void encode_is_exactly_topk_with_lower_latents_winning_ties(void **s)
{
	(void)s;
	check_encode(1, 1, 1, 1, 0);
	check_encode(3, 5, 7, 7, 0);
	check_encode(2, 4, 9, 20, 0);		/* k above n_latents */
	check_encode(130, 9, 300, 5, 0);
	check_encode(129, 16, 257, 256, 0);
	check_encode(40, 24, 1000, 1, 0);
	check_encode(40, 24, 5000, 33, 0);	/* split */
	check_encode(9, 8, 9000, 200, 0);
	check_encode(17, 12, 600, 40, 1);
	check_encode(0, 4, 4, 2, 0);
}

static void all_equal_values_keep_the_lowest_latents(void **state)
{
	enum { N = 5, D = 3, L = 5000, K = 37 };
	struct err e = { 0 };
	struct dev *d = device(2);
	float *x = integers(N * D, 2), *w = mem_array(L * D, sizeof(*w), &e);
	float *b = mem_array(L, sizeof(*b), &e);
	struct dev_tc_codes c = codes_new(N, K);
	size_t i, j;

	(void)state;
	for (j = 0; j < L; j++)
		b[j] = 2;
	assert_int_equal(dev_ops(d)->tc->encode(d, x, N, D, w, b, L, NULL, &c,
	                                        &e), 0);
	for (i = 0; i < N; i++)
		for (j = 0; j < K; j++) {
			assert_int_equal(c.latent[i * K + j], j);
			assert_true(c.value[i * K + j] == 2);
		}
	for (j = 0; j < L; j++)	/* nothing positive: nothing fires */
		b[j] = j % 2 ? 0 : NAN;
	assert_int_equal(dev_ops(d)->tc->encode(d, x, N, D, w, b, L, NULL, &c,
	                                        &e), 0);
	for (i = 0; i < N * K; i++)
		assert_int_equal(c.latent[i], DEV_TC_NONE);
	codes_free(&c);
	mem_free(x);
	mem_free(w);
	mem_free(b);
	dev_free(d);
}

/* ---- one step, whole, in doubles --------------------------------------- */

struct problem {
	size_t n, k, d_in, d_out, n_latents;
	float *x, *g, *enc, *bias, *dec;	/* g: three times n rows */
	float *s[6];
	struct dev_tc_codes c[3];
	uint8_t *live;
};

static void problem_new(struct problem *p, size_t n, size_t k, size_t d_in,
                        size_t d_out, size_t n_latents)
{
	size_t i, j, q, size[6] = { n_latents * d_in, n_latents * d_in,
		n_latents, n_latents, n_latents * d_out, n_latents * d_out };

	memset(p, 0, sizeof(*p));
	p->n = n, p->k = k, p->d_in = d_in, p->d_out = d_out;
	p->n_latents = n_latents;
	p->x = floats(n * d_in);
	p->g = floats(3 * n * d_out);
	p->enc = floats(n_latents * d_in);
	p->bias = floats(n_latents);
	p->dec = floats(n_latents * d_out);
	p->live = mem_array(n_latents, 1, NULL);
	for (i = 0; i < 6; i++)
		p->s[i] = mem_array(size[i], sizeof(float), NULL);
	for (q = 0; q < 3; q++) {
		p->c[q] = codes_new(n, k + q);
		for (i = 0; i < n; i++)
			for (j = 0; j < k + q; j++) {
				size_t at = i * (k + q) + j;
				/* distinct in a row; the last slots empty */
				int on = j < k - i % 2;

				p->c[q].latent[at] = on ? (uint32_t)((i * 7 +
				    j * 3 + q) % (n_latents - 3)) : DEV_TC_NONE;
				p->c[q].value[at] = on ? uniform() + 1 : 0;
			}
	}
}

static void problem_free(struct problem *p)
{
	size_t i;

	mem_free(p->x);
	mem_free(p->g);
	mem_free(p->enc);
	mem_free(p->bias);
	mem_free(p->dec);
	mem_free(p->live);
	for (i = 0; i < 6; i++)
		mem_free(p->s[i]);
	for (i = 0; i < 3; i++)
		codes_free(&p->c[i]);
}

static struct dev_tc_latents latents_of(struct problem *p)
{
	struct dev_tc_latents l = {
		p->n_latents, p->d_in, p->d_out, { p->enc, p->s[0], p->s[1] },
		{ p->bias, p->s[2], p->s[3] }, { p->dec, p->s[4], p->s[5] },
		p->live, 0, NULL, 0, 0, 0
	};

	return l;
}

static void near(double got, double want, double scale)
{
	if (!(fabs(got - want) <= 2e-6 * scale + 1e-7))
		fail_msg("got %.9g, want %.9g", got, want);
}

static void latent_gradients_are_those_of_the_definition(void **state)
{
	struct err e = { 0 };
	struct dev *d = device(2);
	const struct dev_tc_opt o = { .rule = DEV_TC_GRAD };
	struct problem p;
	struct dev_tc_part part[3];
	struct dev_tc_latents l;
	double *enc, *bias, *dec;
	size_t q, i;

	(void)state;
	problem_new(&p, 9, 4, 70, 131, 90);
	enc = calloc(p.n_latents * p.d_in, sizeof(*enc));
	dec = calloc(p.n_latents * p.d_out, sizeof(*dec));
	bias = calloc(p.n_latents, sizeof(*bias));
	for (q = 0; q < 3; q++)
		part[q] = (struct dev_tc_part){ p.c[q], q * p.n, q == 2 };
	dev_tc_ref_gradients(part, 3, p.x, p.g, p.dec, p.d_in, p.d_out, enc,
	                     bias, dec);
	l = latents_of(&p);
	assert_int_equal(dev_ops(d)->tc->step_latents(d, part, 3, p.x, p.g, &l,
	                                              &o, &e), 0);
	for (i = 0; i < p.n_latents * p.d_in; i++)
		near(p.s[0][i], enc[i], 10);
	for (i = 0; i < p.n_latents; i++)
		near(p.s[2][i], bias[i], 10);
	for (i = 0; i < p.n_latents * p.d_out; i++)
		near(p.s[4][i], dec[i], 10);
	free(enc);
	free(dec);
	free(bias);
	problem_free(&p);
	dev_free(d);
}

static void adam_and_signum_follow_their_formulas(void **state)
{
	enum { N = 37, STEPS = 5 };
	float g[STEPS][N], w[N], s1[N], s2[N], y[N], z[N];
	double dw[N], dm[N], dv[N], dy[N], dz[N];
	size_t i, t, level;

	(void)state;
	for (level = 0; level < 3; level++) {
		const struct tc_loops *f = dev_cpu_tc_loops_level((int)level);

		if (!f)
			continue;
		for (i = 0; i < N; i++) {
			dw[i] = w[i] = uniform();
			dy[i] = dz[i] = y[i] = z[i] = w[i];
			dm[i] = dv[i] = s1[i] = s2[i] = 0;
		}
		for (t = 0; t < STEPS; t++) {
			double c1 = 1 - pow(0.9, (double)t + 1);
			double c2 = 1 - pow(0.999, (double)t + 1);
			struct dev_tc_opt a = {
				DEV_TC_ADAM, (float)(0.01 / c1), 0.9f, 0.999f,
				(float)(1 / sqrt(c2)), 1e-8f, 0
			}, s = {
				DEV_TC_SIGNUM, 0.02f, 0.95f, 0, 0, 0,
				(float)(1.0 / (double)(t + 1))
			};

			for (i = 0; i < N; i++)
				g[t][i] = t == 3 ? 0 : uniform();
			f->step(&a, w, s1, s2, t == 3 ? NULL : g[t], N);
			f->step(&s, y, z, NULL, t == 3 ? NULL : g[t], N);
			for (i = 0; i < N; i++) {
				dev_tc_ref_step(&a, g[t][i], &dw[i], &dm[i],
				                &dv[i]);
				dev_tc_ref_step(&s, g[t][i], &dy[i], &dz[i],
				                NULL);
				near(w[i], dw[i], 1);
				near(y[i], dy[i], 1);
				near(z[i], dz[i], 1);
			}
		}
	}
}

static void moments_at_rest_become_zero(void **state)
{
	enum { N = 35, STEPS = 2000 };
	const struct tc_loops *f = dev_cpu_tc_loops();
	struct dev_tc_opt o = { DEV_TC_ADAM, 1e-3f, 0.9f, 0.999f, 1, 1e-8f, 0 };
	float *g = floats(N), w[N] = { 0 }, m[N] = { 0 }, v[N] = { 0 };
	size_t i;

	(void)state;
	f->step(&o, w, m, v, g, N);
	for (i = 0; i < STEPS; i++)
		f->step(&o, w, m, v, NULL, N);
	for (i = 0; i < N; i++)
		assert_true(m[i] == 0 && v[i] > 0);
	mem_free(g);
}

/* Every instruction set and every number of threads gives the same bytes. */
static void loops_agree_to_the_bit(void **state)
{
	enum { ROWS = 11 };
	size_t dims[] = { 1, 15, 16, 63, 64, 65, 200, 576 };
	size_t t, i;
	int level;

	(void)state;
	for (t = 0; t < sizeof(dims) / sizeof(*dims); t++) {
		size_t n = dims[t];
		float *src = floats(ROWS * n), *coef = floats(ROWS);
		float *out[3], *w[3], *m[3], *v[3], sq[3];
		double *sum[3];
		struct tc_pick *pick[3];
		uint32_t row[ROWS];
		struct dev_tc_opt o = { DEV_TC_ADAM, 0.01f, 0.9f, 0.999f, 3,
		                        1e-8f, 0 };

		for (i = 0; i < ROWS; i++)
			row[i] = (uint32_t)(rnd() % ROWS);
		for (level = 0; level < 3; level++) {
			const struct tc_loops *f = dev_cpu_tc_loops_level(level);

			out[level] = mem_array(n, 4, NULL);
			sum[level] = mem_array(n, 8, NULL);
			w[level] = mem_array(n, 4, NULL);
			m[level] = mem_array(n, 4, NULL);
			v[level] = mem_array(n, 4, NULL);
			if (!f)
				f = dev_cpu_tc_loops_level(0);
			f->combine(src, row, coef, ROWS, NULL, 0, n, 0,
			           out[level]);
			f->combine(src, row, coef, 3, NULL, 0, n, 1,
			           out[level]);
			f->col_sum(src, ROWS, n, n, sum[level]);
			sq[level] = f->sq(src, src + n, n);
			f->step(&o, w[level], m[level], v[level], src, n);
			f->step(&o, w[level], m[level], v[level], src + n, n);
			pick[level] = dev_cpu_tc_pick_rows(
				mem_scratch(dev_cpu_tc_pick_bytes(1, 704), 1,
				            NULL), 1, 704);
			pick[level]->bar = 0.3f;
			assert_int_equal(f->collect(src, src + n, src + 2 * n,
			                            0.01f, 0, n, 7, pick[level],
			                            704), n);
			assert_int_equal(f->count(src, n, 0.1f),
			                 dev_cpu_tc_loops_portable.count(
			                 src, n, 0.1f));
			assert_memory_equal(out[0], out[level], n * 4);
			assert_memory_equal(w[0], w[level], n * 4);
			assert_memory_equal(v[0], v[level], n * 4);
			assert_memory_equal(&sq[0], &sq[level], 4);
			assert_memory_equal(sum[0], sum[level], n * 8);
			assert_int_equal(pick[0]->n, pick[level]->n);
			assert_memory_equal(pick[0]->up, pick[level]->up,
			                    pick[0]->n * 4);
			assert_memory_equal(pick[0]->low, pick[level]->low,
			                    pick[0]->n * 4);
			assert_memory_equal(pick[0]->at, pick[level]->at,
			                    pick[0]->n * 4);
		}
		for (level = 0; level < 3; level++) {
			mem_free(out[level]);
			mem_free(sum[level]);
			mem_free(w[level]);
			mem_free(m[level]);
			mem_free(v[level]);
			mem_free(pick[level]);
		}
		mem_free(src);
		mem_free(coef);
	}
}

/* Candidates at or above the bar stay, in order, and those without a value. */
static void drop_keeps_what_is_not_below_the_bar(void **state)
{
	enum { CAP = 96 };
	size_t n, i, kept;
	int level;

	(void)state;
	for (level = 0; level < 3; level++)
	for (n = 0; n <= CAP; n++) {
		const struct tc_loops *f = dev_cpu_tc_loops_level(level);
		void *block = mem_scratch(dev_cpu_tc_pick_bytes(1, CAP), 1,
		                          NULL);
		struct tc_pick *p = dev_cpu_tc_pick_rows(block, 1, CAP);
		float up[CAP], least;

		if (!f)
			f = &dev_cpu_tc_loops_portable;
		for (i = 0; i < n; i++) {
			up[i] = i % 11 == 3 ? NAN : (float)(rnd() % 64);
			p->up[i] = up[i];
			p->low[i] = (float)i - 0.5f;
			p->at[i] = (uint32_t)(1000 + i);
		}
		p->n = n;
		p->bar = 40;
		for (least = INFINITY, i = 0; i < n; i++)
			least = up[i] >= 40 && up[i] < least ? up[i] : least;
		assert_true(f->least(up, n, 40) == least);
		f->drop(p);
		for (i = kept = 0; i < n; i++) {
			if (up[i] < 40)
				continue;
			assert_true(p->up[kept] == up[i] || isnan(up[i]));
			assert_int_equal(isnan(p->up[kept]), isnan(up[i]));
			assert_true(p->low[kept] == (float)i - 0.5f);
			assert_int_equal(p->at[kept++], 1000 + i);
		}
		assert_int_equal(p->n, kept);
		mem_free(block);
	}
}

static void combine_adds_row_after_row(void **state)
{
	enum { ROWS = 21, MOST = 70 };
	const size_t dims[] = { 1, 15, 16, 33, MOST };
	float *src = floats(ROWS * MOST), *coef = floats(ROWS);
	float was[MOST], want[MOST], got[MOST];
	const float *ahead[TC_AHEAD];
	uint32_t row[ROWS];
	size_t t, n, i, j;
	int level, add;

	(void)state;
	for (i = 0; i < ROWS; i++)
		row[i] = (uint32_t)(rnd() % ROWS);
	for (i = 0; i < TC_AHEAD; i++)
		ahead[i] = src + i * MOST;
	coef[5] = NAN;
	for (i = 0; i < MOST; i++)
		was[i] = (float)i - 0.3f;
	for (t = 0; t < sizeof(dims) / sizeof(*dims); t++)
	for (n = 0; n <= ROWS; n++)
	for (add = 0; add < 2; add++)
	for (level = 0; level < 3; level++) {
		const struct tc_loops *f = dev_cpu_tc_loops_level(level);

		if (!f)
			continue;
		memcpy(want, was, sizeof(was));
		memcpy(got, was, sizeof(was));
		for (i = 0; i < dims[t]; i++) {
			want[i] = add ? was[i] : 0;
			for (j = 0; j < n; j++)
				want[i] += coef[j] * src[row[j] * dims[t] + i];
		}
		f->combine(src, row, coef, n, ahead, n % (TC_AHEAD + 1),
		           dims[t], add, got);
		for (i = 0; i < MOST; i++)	/* a NaN has many bytes */
			assert_true(want[i] == got[i] ||
			            (isnan(want[i]) && isnan(got[i])));
	}
	mem_free(src);
	mem_free(coef);
}

static void threads_change_no_byte(void **state)
{
	enum { N = 150, K = 12, D = 48, L = 4500 };
	struct err e = { 0 };
	uint32_t latent[2][N * K];
	float value[2][N * K], *enc[2], *dec[2];
	struct problem p;
	int run;

	(void)state;
	for (run = 0; run < 2; run++) {
		struct dev *d = device(run ? 4 : 1);
		const struct dev_tc_ops *t = dev_ops(d)->tc;
		struct dev_tc_codes c = { latent[run], value[run], N, K };
		struct dev_tc_part part;
		struct dev_tc_latents l;
		struct dev_tc_opt o = { DEV_TC_ADAM, 0.01f, 0.9f, 0.999f, 3,
		                        1e-8f, 0 };

		rng_state = 12345;
		problem_new(&p, N, 4, D, D, L);
		assert_int_equal(t->encode(d, p.x, N, D, p.enc, p.bias, L,
		                           NULL, &c, &e), 0);
		part = (struct dev_tc_part){ c, 0, 0 };
		l = latents_of(&p);
		assert_int_equal(t->step_latents(d, &part, 1, p.x, p.g, &l, &o,
		                                 &e), 0);
		enc[run] = p.enc, dec[run] = p.dec;
		p.enc = p.dec = NULL;
		problem_free(&p);
		dev_free(d);
	}
	assert_memory_equal(latent[0], latent[1], sizeof(latent[0]));
	assert_memory_equal(value[0], value[1], sizeof(value[0]));
	assert_memory_equal(enc[0], enc[1], L * D * sizeof(float));
	assert_memory_equal(dec[0], dec[1], L * D * sizeof(float));
	for (run = 0; run < 2; run++) {
		mem_free(enc[run]);
		mem_free(dec[run]);
	}
}

static void unit_decoder_rows_stay_unit(void **state)
{
	struct err e = { 0 };
	struct dev *d = device(2);
	struct dev_tc_opt o = { DEV_TC_ADAM, 0.01f, 0.9f, 0.999f, 3, 1e-8f, 0 };
	struct problem p;
	struct dev_tc_part part;
	struct dev_tc_latents l;
	size_t i, j;

	(void)state;
	problem_new(&p, 20, 5, 33, 33, 40);
	part = (struct dev_tc_part){ p.c[0], 0, 0 };
	l = latents_of(&p);
	l.unit_dec = 1;
	assert_int_equal(dev_ops(d)->tc->step_latents(d, &part, 1, p.x, p.g,
	                                              &l, &o, &e), 0);
	for (i = 0; i < p.n_latents; i++) {
		double n = 0;

		for (j = 0; j < p.d_out; j++)
			n += (double)p.dec[i * p.d_out + j] *
			     p.dec[i * p.d_out + j];
		if (p.live[i])
			near(n, 1, 1);
	}
	problem_free(&p);
	dev_free(d);
}

static void decoder_takes_normalised_steps(void **state)
{
	struct err e = { 0 };
	struct dev *d = device(2);
	const struct dev_tc_opt o = { DEV_TC_ADAM, 0.01f, 0.9f, 0.999f, 3,
	                              1e-8f, 0 };
	struct problem p;
	struct dev_tc_part part;
	struct dev_tc_latents l;
	double *enc, *bias, *dec, *want, *power;
	size_t i, j, step;

	(void)state;
	problem_new(&p, 20, 5, 33, 47, 40);
	part = (struct dev_tc_part){ p.c[0], 0, 0 };
	l = latents_of(&p);
	l.dec.s1 = l.dec.s2 = NULL;
	l.power = calloc(p.n_latents, sizeof(*l.power));
	l.dec_keep = 0.75f, l.dec_rate = 0.5f, l.dec_ridge = 2;
	want = calloc(p.n_latents * p.d_out, sizeof(*want));
	power = calloc(p.n_latents, sizeof(*power));
	for (step = 0; step < 2; step++) {
		enc = calloc(p.n_latents * p.d_in, sizeof(*enc));
		dec = calloc(p.n_latents * p.d_out, sizeof(*dec));
		bias = calloc(p.n_latents, sizeof(*bias));
		dev_tc_ref_gradients(&part, 1, p.x, p.g, p.dec, p.d_in, p.d_out,
		                     enc, bias, dec);
		for (i = 0; i < p.n_latents; i++)
			power[i] *= 0.75;
		for (i = 0; i < part.codes.n * part.codes.k; i++)
			if (part.codes.latent[i] != DEV_TC_NONE)
				power[part.codes.latent[i]] +=
				    (double)part.codes.value[i] *
				    part.codes.value[i];
		for (i = 0; i < p.n_latents; i++)
			for (j = i * p.d_out; j < (i + 1) * p.d_out; j++)
				want[j] = p.dec[j] - 0.5 / (power[i] + 2) *
				          dec[j];
		assert_int_equal(dev_ops(d)->tc->step_latents(d, &part, 1, p.x,
		                                              p.g, &l, &o, &e),
		                 0);
		for (i = 0; i < p.n_latents * p.d_out; i++)
			near(p.dec[i], want[i], 4);
		for (i = 0; i < p.n_latents; i++)
			near(l.power[i], power[i], 20);
		free(enc);
		free(dec);
		free(bias);
	}
	free(want);
	free(power);
	free(l.power);
	problem_free(&p);
	dev_free(d);
}

static void ridge_solves_its_equations(void **state)
{
	enum { N = 60, I = 13, O = 5 };
	struct err e = { 0 };
	struct dev *d = device(1);
	const struct dev_ops *t = dev_ops(d);
	float *x = floats(N * I), *y = floats(N * O);
	float a[I * I], b[I * O], w[O * I];
	size_t i, j, c;

	(void)state;
	assert_int_equal(t->gemm(d, 1, 0, I, I, N, 1, x, I, x, I, 0, a, I, &e),
	                 0);
	assert_int_equal(t->gemm(d, 1, 0, I, O, N, 1, x, I, y, O, 0, b, O, &e),
	                 0);
	assert_int_equal(t->tc->ridge(d, a, b, I, O, 0.5, w, &e), 0);
	for (i = 0; i < I; i++)
		for (j = 0; j < O; j++) {
			double s = 0.5 * w[j * I + i];

			for (c = 0; c < I; c++)
				s += (double)a[i * I + c] * w[j * I + c];
			near(s, b[i * O + j], 20);
		}
	assert_int_equal(t->tc->ridge(d, a, b, I, O, -1e6, w, &e), -1);
	assert_int_equal(e.code, ERR_RANGE);
	mem_free(x);
	mem_free(y);
	dev_free(d);
}

static void small_ops_do_what_they_say(void **state)
{
	enum { N = 70, D = 19 };
	struct err e = { 0 };
	struct dev *d = device(2);
	const struct dev_tc_ops *t = dev_ops(d)->tc;
	float *x = floats(N * D), *mean = floats(D), *out = floats(N * D);
	double sum[D], sq[N];
	uint32_t rows[] = { 1, 4, 69 }, ids[] = { 3, 0 };
	uint64_t last[N] = { 0 }, active;
	uint32_t latent[] = { 3, 1, DEV_TC_NONE, 1, DEV_TC_NONE, DEV_TC_NONE };
	float value[] = { 2, 1, 0, 1, 0, 0 }, slope[6], y[2 * D] = { 0 };
	double want[2 * D] = { 0 };
	struct dev_tc_codes c = { latent, value, 2, 3 };
	size_t i, j;

	(void)state;
	assert_int_equal(t->col_sum(d, x, N, D, sum, &e), 0);
	assert_int_equal(t->row_sq(d, x, N, D, mean, sq, &e), 0);
	for (j = 0; j < D; j++) {
		double s = 0;

		for (i = 0; i < N; i++)
			s += x[i * D + j];
		near(sum[j], s, 1);
	}
	for (i = 0; i < N; i++) {
		double s = 0;

		for (j = 0; j < D; j++)
			s += ((double)x[i * D + j] - mean[j]) *
			     ((double)x[i * D + j] - mean[j]);
		near(sq[i], s, 10);
	}
	assert_int_equal(t->centre(d, x, rows, 3, D, mean, 2, out, &e), 0);
	for (i = 0; i < 3; i++)
		for (j = 0; j < D; j++)
			near(out[i * D + j],
			     2 * ((double)x[rows[i] * D + j] - mean[j]), 1);
	assert_int_equal(t->dots(d, x, x + D, 2, D, sq, &e), 0);
	for (i = 0; i < 2; i++) {
		double s = 0;

		for (j = 0; j < D; j++)
			s += (double)x[i * D + j] * x[(i + 1) * D + j];
		near(sq[i], s, 10);
	}
	assert_int_equal(t->gather(d, x, ids, 2, D, out, &e), 0);
	assert_memory_equal(out, x + 3 * D, D * sizeof(float));
	assert_memory_equal(out + D, x, D * sizeof(float));
	assert_int_equal(t->fill_rows(d, mean, 2, D, out, &e), 0);
	assert_memory_equal(out + D, mean, D * sizeof(float));
	assert_int_equal(t->scale(d, x, -3, N * D, out, &e), 0);
	near(out[5], -3.0 * x[5], 1);

	assert_int_equal(t->mark(d, &c, 77, last, &active, &e), 0);
	assert_int_equal(active, 3);
	assert_true(last[1] == 77 && last[3] == 77 && last[0] == 0);
	assert_int_equal(t->decode(d, &c, x, D, y, &e), 0);
	assert_int_equal(t->slope(d, &c, x, mean, 1, slope, &e), 0);
	dev_tc_ref_decode(&c, x, D, want);
	for (j = 0; j < 2 * D; j++)
		near(y[j], want[j], 4);
	near(slope[0], (double)x[0] * mean[3], 1);
	near(slope[3], (double)x[1] * mean[1], 1);
	assert_true(slope[2] == 0 && slope[4] == 0);
	mem_free(x);
	mem_free(mean);
	mem_free(out);
	dev_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encode_is_exactly_topk_with_lower_latents_winning_ties),
		cmocka_unit_test(all_equal_values_keep_the_lowest_latents),
		cmocka_unit_test(latent_gradients_are_those_of_the_definition),
		cmocka_unit_test(adam_and_signum_follow_their_formulas),
		cmocka_unit_test(moments_at_rest_become_zero),
		cmocka_unit_test(loops_agree_to_the_bit),
		cmocka_unit_test(drop_keeps_what_is_not_below_the_bar),
		cmocka_unit_test(combine_adds_row_after_row),
		cmocka_unit_test(threads_change_no_byte),
		cmocka_unit_test(unit_decoder_rows_stay_unit),
		cmocka_unit_test(decoder_takes_normalised_steps),
		cmocka_unit_test(ridge_solves_its_equations),
		cmocka_unit_test(small_ops_do_what_they_say),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
