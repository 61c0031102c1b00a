/* The norm of floats, in double, as tests want it. */
#ifndef R1_TESTS_NORM_H
#define R1_TESTS_NORM_H

#include <math.h>
#include <stddef.h>

static inline double norm_of(const float *v, size_t n)
{
	double sq = 0;
	size_t i;

	for (i = 0; i < n; i++)
		sq += (double)v[i] * v[i];
	return sqrt(sq);
}

#endif
