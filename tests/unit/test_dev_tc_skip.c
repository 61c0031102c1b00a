/* The skip connection's products: gemm's bytes, but under DEV_Q8 products of
 * bytes, whose errors have bounds and a size. */
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
#include "dev_cpu_tc_coarse.h"
#include "dev_tc_ref.h"
#include "mem.h"
#include "coarse_cases.h"
#include "norm.h"

enum { PIECE = 1024, BLOCK = 64 };	/* of dev_cpu_tc_coarse.h */

/* One product: out [m, n] (+)= a b^T over k values, a [m, k] and b [n, k]; these
 * transposed, too. */
struct problem {
	size_t m, n, k;
	float *a, *b, *was, *a_t, *b_t;
};

static uint32_t seed;

static float uniform(void)	/* -1 .. 1 */
{
	seed = seed * 1664525u + 1013904223u;
	return (float)(seed >> 8) / (1 << 23) - 1;
}

/* Rows of n numbers: kinds of distributions that integers may find hard. */
enum kind { EVEN, LARGE, TINY, HEAVY, ONE, EQUAL, SIGNS, ZERO, KINDS };

static float number(enum kind kind, size_t i, size_t j, size_t n)
{
	float u = uniform();

	switch (kind) {
	case EVEN:
		return u;
	case LARGE:		/* columns (of a gradient, tokens) that tower */
		return j % 101 == 7 ? 30 * u : u;
	case HEAVY:
		return 0.01f * u / (1.001f - fabsf(u));
	case ONE:		/* all mass in one */
		return j == i % n ? 3e4f * u : 1e-3f * u;
	case EQUAL:		/* integers of one size, and all of it used */
		return (float)(1 + i % 3);
	case SIGNS:
		return j % 2 ? 1.7f : -1.7f;
	case TINY:
		return 1e-12f * u;
	default:
		return 0;
	}
}

static float *transposed(const float *v, size_t rows, size_t cols)
{
	float *t = mem_array(rows * cols, sizeof(*t), NULL);
	size_t i;

	assert_non_null(t);
	for (i = 0; i < rows * cols; i++)
		t[i % cols * rows + i / cols] = v[i];
	return t;
}

static struct problem problem_new(size_t m, size_t n, size_t k, enum kind a,
                                  enum kind b)
{
	struct problem p = { m, n, k, mem_array(m * k, sizeof(float), NULL),
		mem_array(n * k, sizeof(float), NULL),
		mem_array(m * n, sizeof(float), NULL), NULL, NULL };
	size_t i;

	assert_true(p.a && p.b && p.was);
	seed = (uint32_t)(m * 31 + n * 7 + k);
	for (i = 0; i < m * k; i++)
		p.a[i] = number(a, i / k, i % k, k);
	for (i = 0; i < n * k; i++)
		p.b[i] = number(b, i / k, i % k, k);
	for (i = 0; i < m * n; i++)
		p.was[i] = uniform();
	p.a_t = transposed(p.a, m, k);
	p.b_t = transposed(p.b, n, k);
	return p;
}

static void problem_free(struct problem *p)
{
	mem_free(p->a);
	mem_free(p->b);
	mem_free(p->was);
	mem_free(p->a_t);
	mem_free(p->b_t);
}

/* Puts a number into the last column of a's or b's row i. */
static void problem_spoil(struct problem *p, int in_b, size_t i, float v)
{
	(in_b ? p->b : p->a)[i * p->k + p->k - 1] = v;
	(in_b ? p->b_t : p->a_t)[(p->k - 1) * (in_b ? p->n : p->m) + i] = v;
}


/* 0 to 2: processors' own integers with 1, 2 and 3 threads, 3: AVX2's, 4: those
 * that every processor has, 5: none. NULL: there is no such. */
enum { DEVICES = 6, NONE = 5 };

static struct dev *device(int which, enum dev_precision precision)
{
	struct err e = { 0 };
	const struct dev_cpu_tc_coarse *table = which == 4 ? &plain_table
		: which == NONE ? NULL
		: dev_cpu_tc_coarse_level(which == 3 ? 1 : 3);
	struct dev *d;

	if (!table && which != NONE)
		return NULL;
	d = dev_open("cpu", which < 3 ? which + 1 : 2, &e);
	assert_non_null(d);
	((struct dev_cpu *)d)->coarse = table;
	dev_ops(d)->precision(d, precision);
	return d;
}

/* The product by one of the two ops, into memory for mem_free. */
static float *run(struct dev *d, const struct problem *p, int grad, int add)
{
	const struct dev_tc_ops *t = dev_ops(d)->tc;
	float *out = mem_array(p->m * p->n, sizeof(*out), NULL);
	struct err e = { 0 };
	size_t i;

	assert_non_null(out);
	for (i = 0; i < p->m * p->n; i++)	/* not read where not added */
		out[i] = add ? p->was[i] : NAN;
	assert_int_equal(grad ? t->skip_grad(d, p->a_t, p->k, 1, p->m,
	                                     p->b_t, p->n, add, out, &e)
	                      : t->skip_add(d, p->a, p->m, p->k, p->b, p->n,
	                                    out, &e), 0);
	return out;
}

static size_t piece_of(size_t k)
{
	size_t pieces = (k + PIECE - 1) / PIECE;

	return ((k + pieces - 1) / pieces + BLOCK - 1) / BLOCK * BLOCK;
}

/* What the integers of a block of values want to be apart. */
static double unit(const float *v, size_t n)
{
	double top = 0, half[2] = { 0, 0 };
	size_t i;

	for (i = 0; i < n; i++) {
		top = fmax(top, fabs(v[i]));
		half[i % 4 / 2] += (double)v[i] * v[i];
	}
	return fmax(top / 90, sqrt(fmax(half[0], half[1])) / 177);
}

/* What they are apart: of a row of k values, block by block. */
static void steps(const float *v, size_t k, double *step)
{
	size_t piece = piece_of(k), i, j;

	for (i = 0; i < k; i += piece) {
		size_t end = k - i < piece ? k : i + piece;
		size_t blocks = (end - i + BLOCK - 1) / BLOCK;
		double most = 0, s;

		for (j = i; j < end; j += BLOCK) {
			s = unit(v + j, end - j < BLOCK ? end - j : BLOCK);
			step[j / BLOCK] = s;
			most = fmax(most, s);
		}
		s = fmax(most * (1 + 0x1p-20) / floor(sqrt(32767 / blocks)),
		         0x1p-60);
		for (j = i; j < end; j += BLOCK)
			step[j / BLOCK] = s * fmax(1, ceil(step[j / BLOCK] / s +
			                                   1e-4));
	}
}

/* How far off a . b may be: at most, half a step in each value and roundings of
 * f32; and its standard deviation were all these errors chance. */
static double bound(const float *a, const double *sa, const float *b,
                    const double *sb, size_t k, double was, double *deviation)
{
	double most = 0, all = 0, var = 0;
	size_t i;

	for (i = 0; i < k; i++) {
		double s = sa[i / BLOCK], t = sb[i / BLOCK];

		most += (s * fabs(b[i]) + t * fabs(a[i]) + s * t / 2) / 2;
		var += s * s * b[i] * b[i] + t * t * a[i] * a[i] +
		       s * s * t * t / 12;
		all += fabs((double)a[i] * b[i]);
	}
	*deviation = sqrt(var / 12);
	return 1.001 * most + 1e-40 + 0x1p-23 * (double)((k + PIECE - 1) /
	       PIECE) * (4 * (all + most) + fabs(was));
}

static double *all_steps(const float *v, size_t rows, size_t k)
{
	size_t blocks = k / BLOCK + 1, i;
	double *s = calloc(rows * blocks + 1, sizeof(*s));

	for (i = 0; i < rows; i++)
		steps(v + i * k, k, s + i * blocks);
	return s;
}

/* Each op on each device against the plain loop. */
static void check(size_t m, size_t n, size_t k, enum kind a, enum kind b)
{
	struct problem p = problem_new(m, n, k, a, b);
	double *want = calloc(m * n + 1, sizeof(*want)), *left, *deviation;
	double *sa = all_steps(p.a, m, k), *sb = all_steps(p.b, n, k);
	double sum = 0, sq = 0, all = 0;
	size_t blocks = k / BLOCK + 1, i;
	int grad, add, which;

	left = calloc(m * n + 1, sizeof(*left));
	deviation = calloc(m * n + 1, sizeof(*deviation));
	dev_tc_ref_skip_add(p.a, m, k, p.b, n, want);
	for (i = 0; i < m * n; i++)
		left[i] = bound(p.a + i / n * k, sa + i / n * blocks,
		                p.b + i % n * k, sb + i % n * blocks, k,
		                p.was[i], &deviation[i]);
	for (grad = 0; grad < 2; grad++)
		for (add = !grad; add < 2; add++) {
			float *first = NULL;

			for (which = 0; which < NONE; which++) {
				struct dev *d = device(which, DEV_Q8);
				float *got;

				if (!d)
					continue;
				got = run(d, &p, grad, add);
				for (i = 0; i < m * n; i++) {
					double by = got[i] - want[i] -
						(add ? p.was[i] : 0);

					assert_true(fabs(by) <= left[i]);
					sum += by / deviation[i];
					sq += by / deviation[i] * by /
					      deviation[i];
					all += 1;
				}
				if (first)
					assert_memory_equal(first, got, m * n *
					                    sizeof(*got));
				mem_free(first);
				first = got;
				dev_free(d);
			}
			mem_free(first);
		}
	/* of numbers that fall anywhere between two integers, errors are as
	 * large as chance makes them, not larger, and of no sign (a block's
	 * largest falls on one, which tells where a and b have it together) */
	if (a <= LARGE && b <= LARGE && a + b < LARGE + LARGE && m >= 48 &&
	    n >= 48 && k >= 48) {
		assert_true(fabs(sum / all) < 5 / sqrt((double)(m * n)));
		assert_true(sqrt(sq / all) > 0.95);
		assert_true(sqrt(sq / all) < 1.05);
	}
	free(want);
	free(left);
	free(deviation);
	free(sa);
	free(sb);
	problem_free(&p);
}

static void integers_keep_their_bound_at_every_edge(void **state)
{
	static const size_t shapes[][3] = {
		{ 0, 60, 60 }, { 1, 60, 60 }, { 60, 1, 60 }, { 60, 60, 1 },
		{ 48, 48, 48 }, { 49, 50, 51 }, { 53, 65, 63 }, { 60, 64, 64 },
		{ 61, 95, 96 }, { 54, 97, 129 }, { 100, 49, 97 },
		{ 197, 51, 100 }, { 50, 390, 70 }, { 66, 80, 1024 },
		{ 50, 70, 1025 }, { 49, 53, 2100 }, { 61, 67, 576 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		check(shapes[i][0], shapes[i][1], shapes[i][2], EVEN, EVEN);
}

/* The figures that dev_tc.h states. */
static void an_element_is_off_by_so_much(void **state)
{
	static const struct {
		enum kind a, b;
		double least, most;
	} c[] = { { EVEN, EVEN, 0.0125, 0.0142 }, { LARGE, EVEN, 0, 0.0047 * 24 },
	          { LARGE, LARGE, 0, 0.0047 * 24 }, { ONE, ONE, 0, 0.0047 * 24 } };
	const size_t m = 64, n = 80, k = 576;
	size_t j, i;
	int grad;

	(void)state;
	for (j = 0; j < sizeof(c) / sizeof(c[0]); j++)
		for (grad = 0; grad < 2; grad++) {
			struct problem p = problem_new(m, n, k, c[j].a, c[j].b);
			double *want = calloc(m * n, sizeof(*want)), sq = 0;
			double along = 0, all = 0;
			struct dev *d = device(4, DEV_Q8);
			float *got = run(d, &p, grad, 1);

			dev_tc_ref_skip_add(p.a, m, k, p.b, n, want);
			for (i = 0; i < m * n; i++) {
				double by = got[i] - want[i] - p.was[i];

				along += by * want[i];
				all += want[i] * want[i];
				by /= norm_of(p.a + i / n * k, k) *
				      norm_of(p.b + i % n * k, k);
				sq += by * by;
			}
			sq = sqrt(sq / (double)(m * n)) * sqrt((double)k);
			assert_true(sq >= c[j].least && sq <= c[j].most);
			/* and neither larger nor smaller on the whole */
			assert_true(fabs(along / all) < 1e-3);
			mem_free(got);
			dev_free(d);
			free(want);
			problem_free(&p);
		}
}

static void no_numbers_make_sums_overflow(void **state)
{
	static const size_t k[] = { 64, 130, 576, 1023 };
	size_t i;
	int a, b;

	(void)state;
	for (i = 0; i < sizeof(k) / sizeof(k[0]); i++)
		for (a = 0; a < KINDS; a++)
			for (b = a; b < KINDS; b++)
				check(54, 49, k[i], (enum kind)a, (enum kind)b);
}

static void what_is_not_finite_stays_in_its_row(void **state)
{
	static const float bad[] = { NAN, INFINITY, -INFINITY, 0x1p63f, 3e38f };
	size_t c, i, at = 29;
	int which, grad, side;

	(void)state;
	for (c = 0; c < 2 * sizeof(bad) / sizeof(bad[0]); c++)
		for (which = 0; which < NONE; which++)
			for (grad = 0; grad < 2; grad++) {
				struct problem p = problem_new(61, 70, 99, EVEN,
				                               EVEN);
				struct dev *d = device(which, DEV_Q8);
				float *out, nan;
				uint32_t payload = 0x7fc12345;

				side = c % 2;
				memcpy(&nan, &payload, sizeof(nan));
				problem_spoil(&p, side, at, c < 2 ? nan :
				              bad[c / 2]);
				out = d ? run(d, &p, grad, 1) : NULL;
				for (i = 0; d && i < p.m * p.n; i++)
					assert_int_equal(isnan(out[i]) != 0,
						(side ? i % p.n : i / p.n) == at);
				mem_free(out);
				dev_free(d);
				problem_free(&p);
			}
}

/* Without integers, or where these are not asked for, it is gemm. */
static void else_it_is_gemm_to_the_bit(void **state)
{
	struct problem p = problem_new(70, 61, 90, EVEN, HEAVY);
	const size_t m = p.m, n = p.n, k = p.k;
	struct err e = { 0 };
	int i, add;

	(void)state;
	for (i = 0; i < 3; i++) {
		struct dev *d = device(i == 2 ? NONE : 4, i == 0 ? DEV_NEAR
		                       : i == 1 ? DEV_EXACT : DEV_Q8);
		const struct dev_ops *o = dev_ops(d);
		float *want = mem_array(m * n, sizeof(*want), NULL), *got;

		memcpy(want, p.was, m * n * sizeof(*want));
		assert_int_equal(o->gemm(d, 0, 1, m, n, k, 1, p.a, k, p.b, k, 1,
		                         want, n, &e), 0);
		got = run(d, &p, 0, 1);
		assert_memory_equal(got, want, m * n * sizeof(*want));
		mem_free(got);
		for (add = 0; add < 2; add++) {
			memcpy(want, p.was, m * n * sizeof(*want));
			assert_int_equal(o->gemm(d, 1, 0, m, n, k, 1, p.a_t,
			                         m, p.b_t, n, (float)add, want, n, &e),
			                 0);
			got = run(d, &p, 1, add);
			assert_memory_equal(got, want, m * n * sizeof(*want));
			mem_free(got);
		}
		mem_free(want);
		dev_free(d);
	}
	problem_free(&p);
}

/* Rows that lie apart, what is between never looked at. */
static void rows_apart_are_as_rows_together(void **state)
{
	static const enum dev_precision precision[] = { DEV_EXACT, DEV_Q8 };
	size_t every, i, j;
	struct err e = { 0 };
	int which;

	(void)state;
	for (which = 0; which < DEVICES; which++)
		for (every = 2; every < 5; every++)
			for (i = 0; i < 2; i++) {
				struct problem p = problem_new(70, 61, 150, EVEN,
				                               HEAVY);
				size_t n = (p.k - 1) * every + 1;
				struct dev *d = device(which, precision[i]);
				float *g = mem_array(n * p.m, 4, NULL), *want;
				float *x = mem_array(n * p.n, 4, NULL);
				float *got = mem_array(p.m * p.n, 4, NULL);

				assert_true(g && x && got);
				for (j = 0; j < n * p.m; j++)
					g[j] = j / p.m % every ? NAN
					     : p.a_t[j / p.m / every * p.m + j %
					             p.m];
				for (j = 0; j < n * p.n; j++)
					x[j] = j / p.n % every ? NAN
					     : p.b_t[j / p.n / every * p.n + j %
					             p.n];
				if (d) {
					want = run(d, &p, 1, 0);
					assert_int_equal(dev_ops(d)->tc->skip_grad(
						d, g, p.k, every, p.m, x, p.n, 0,
						got, &e), 0);
					assert_memory_equal(got, want, p.m * p.n
					                    * sizeof(*got));
					mem_free(want);
					dev_free(d);
				}
				mem_free(g);
				mem_free(x);
				mem_free(got);
				problem_free(&p);
			}
}

/* As the gradient's products, of which half of one is enough. */
static void sums_for_least_squares(const struct problem *p, struct dev *d,
                                   double most)
{
	const struct problem square = { p->m, p->m, p->k, .was = p->was,
	                                .a_t = p->a_t, .b_t = p->a_t };
	size_t m = p->m, n = p->n, i, j;
	float *xx = mem_array(m * m, 4, NULL), *xy = mem_array(m * n, 4, NULL);
	float *want_xx = run(d, &square, 1, 1), *want_xy = run(d, p, 1, 1);
	struct err e = { 0 };

	assert_true(xx && xy && n >= m);
	memcpy(xx, p->was, m * m * sizeof(*xx));
	memcpy(xy, p->was, m * n * sizeof(*xy));
	assert_int_equal(dev_ops(d)->tc->skip_sums(d, p->a_t, p->k, m, p->b_t,
	                                           n, xx, xy, &e), 0);
	assert_memory_equal(xy, want_xy, m * n * sizeof(*xy));
	for (i = 0; i < m; i++)
		for (j = 0; j <= i; j++)
			assert_true(fabs((double)xx[i * m + j] - want_xx[i * m +
			                 j]) <= most);
	mem_free(xx);
	mem_free(xy);
	mem_free(want_xx);
	mem_free(want_xy);
}

static void sums_are_the_gradients_products(void **state)
{
	static const size_t sizes[][3] = {
		{ 250, 260, 150 }, { 400, 430, PIECE + 70 }, { 20, 60, 100 }
	};
	size_t i;
	int which;

	(void)state;
	for (which = 0; which < DEVICES; which++)
		for (i = 0; i < 3; i++) {
			const size_t *s = sizes[i];
			struct problem p = problem_new(s[0], s[1], s[2], EVEN,
			                               HEAVY);
			struct dev *d = device(which, DEV_Q8);
			int integers = which != NONE && s[0] >= 48;

			if (d) {	/* f32 may sum in another order */
				sums_for_least_squares(&p, d, integers ? 0 :
				                       1e-6 * (double)s[2]);
				dev_ops(d)->precision(d, DEV_NEAR);
				sums_for_least_squares(&p, d, 1e-6 *
				                       (double)s[2]);
				dev_free(d);
			}
			problem_free(&p);
		}
}

/* The two plain loops are one product. */
static void the_gradient_is_that_of_the_product(void **state)
{
	struct problem p = problem_new(5, 7, 9, EVEN, EVEN);
	double one[35] = { 0 }, two[35] = { 0 };
	size_t i;

	(void)state;
	dev_tc_ref_skip_add(p.a, p.m, p.k, p.b, p.n, one);
	dev_tc_ref_skip_grad(p.a_t, p.k, p.m, p.b_t, p.n, two);
	for (i = 0; i < 35; i++)
		assert_true(fabs(one[i] - two[i]) < 1e-12);
	problem_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(integers_keep_their_bound_at_every_edge),
		cmocka_unit_test(an_element_is_off_by_so_much),
		cmocka_unit_test(no_numbers_make_sums_overflow),
		cmocka_unit_test(what_is_not_finite_stays_in_its_row),
		cmocka_unit_test(else_it_is_gemm_to_the_bit),
		cmocka_unit_test(rows_apart_are_as_rows_together),
		cmocka_unit_test(sums_are_the_gradients_products),
		cmocka_unit_test(the_gradient_is_that_of_the_product),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
