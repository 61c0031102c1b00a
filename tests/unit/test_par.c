#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "par.h"

struct count {
	unsigned char hits[1000];
	int bad_thread;
	int n_threads;
};

static void hit(void *ctx, size_t item, int thread)
{
	struct count *c = ctx;

	c->hits[item]++;
	if (thread < 0 || thread >= c->n_threads)
		c->bad_thread = 1;
}

static void every_item_runs_exactly_once(void **state)
{
	struct err e = { 0 };
	int n_threads, round;
	size_t i;

	(void)state;
	for (n_threads = 1; n_threads <= 5; n_threads++) {
		struct par *p = par_new(n_threads, &e);

		assert_non_null(p);
		assert_int_equal(par_threads(p), n_threads);
		for (round = 0; round < 300; round++) {
			struct count c = { .n_threads = n_threads };
			size_t n = (size_t)round * 7 % 1000;

			par_for(p, n, hit, &c);
			for (i = 0; i < 1000; i++)
				assert_int_equal(c.hits[i], i < n);
			assert_false(c.bad_thread);
		}
		par_free(p);
	}
	par_free(NULL);
}

/* Each share on its own, from its end on; twice, and one is where one was. */
static void mirrors_shares(void **state)
{
	struct err e = { 0 };
	int n_threads;
	size_t n, i;

	(void)state;
	for (n_threads = 1; n_threads <= 5; n_threads++) {
		struct par *p = par_new(n_threads, &e);

		assert_non_null(p);
		for (n = 1; n < 40; n++) {
			unsigned char hits[40] = { 0 };

			for (i = 0; i < n; i++) {
				size_t m = par_mirror(p, n, i);

				assert_true(m < n);
				hits[m]++;
				assert_int_equal(par_mirror(p, n, m), i);
			}
			for (i = 0; i < n; i++)
				assert_int_equal(hits[i], 1);
		}
		assert_int_equal(par_mirror(p, 10 * (size_t)n_threads, 0), 9);
		par_free(p);
	}
	assert_int_equal(par_mirror(NULL, 7, 2), 4);
}

static void no_pool_runs_in_order_here(void **state)
{
	struct count c = { .n_threads = 1 };

	(void)state;
	par_for(NULL, 10, hit, &c);
	assert_int_equal(c.hits[9], 1);
	assert_int_equal(par_threads(NULL), 1);
}

static void refuses_silly_pools(void **state)
{
	struct err e = { 0 };

	(void)state;
	assert_null(par_new(0, &e));
	assert_int_equal(e.code, ERR_RANGE);
	assert_true(par_cores() >= 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_item_runs_exactly_once),
		cmocka_unit_test(mirrors_shares),
		cmocka_unit_test(no_pool_runs_in_order_here),
		cmocka_unit_test(refuses_silly_pools),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
