#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "outlier.h"

enum { N = 1001 };

static int ascending(const void *a, const void *b)
{
	double p = *(const double *)a, q = *(const double *)b;

	return (p > q) - (p < q);
}

/* Norms over many magnitudes, by any blocks. */
static void limit_is_the_factor_times_the_median(void **state)
{
	size_t block, i;
	double scale;

	(void)state;
	for (scale = 1e-12; scale < 1e13; scale *= 1e6)
		for (block = 1; block < N; block = block * 3 + 1) {
			static struct outlier o;
			double sq[N], want;

			memset(&o, 0, sizeof(o));
			for (i = 0; i < N; i++)
				sq[i] = scale * pow(10, 3 * sin((double)i));
			for (i = 0; i < N; i += block)
				outlier_add(&o, sq + i,
				            N - i < block ? N - i : block);
			qsort(sq, N, sizeof(*sq), ascending);
			want = sqrt(sq[N / 2]) * 30;
			assert_true(fabs(sqrt(outlier_limit(&o, 30)) / want -
			                 1) < 0.022);
			assert_true(isinf(outlier_limit(&o, 0)));
		}
}

static void nothing_to_go_by_limits_nothing(void **state)
{
	static struct outlier o;
	double odd[] = { NAN, INFINITY, -1, 0, 0, 0, 5 }, some[] = { 4, 4, 4 };

	(void)state;
	assert_true(isinf(outlier_limit(&o, 30)));
	outlier_add(&o, odd, 7);
	assert_true(isinf(outlier_limit(&o, 30)));
	outlier_add(&o, some, 3);
	assert_true(fabs(outlier_limit(&o, 2) - 16) < 0.8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limit_is_the_factor_times_the_median),
		cmocka_unit_test(nothing_to_go_by_limits_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
