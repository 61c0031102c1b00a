#include "outlier.h"

#include <math.h>

enum { SHIFT = 19 };	/* leaves a float's exponent and 4 bits of mantissa */

union bits {
	float f;
	uint32_t u;
};

void outlier_add(struct outlier *o, const double *sq, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		union bits b = { (float)sq[i] };

		if (sq[i] >= 0 && isfinite(b.f))
			o->bin[b.u >> SHIFT]++;
	}
}

double outlier_limit(const struct outlier *o, double factor)
{
	uint64_t all = 0, below = 0;
	union bits lo, hi;
	uint32_t i;

	for (i = 0; i < OUTLIER_BINS; i++)
		all += o->bin[i];
	if (!(factor > 0) || !all)
		return INFINITY;
	for (i = 0; below + o->bin[i] <= all / 2; i++)
		below += o->bin[i];
	if (i == 0)	/* half of them are nought */
		return INFINITY;
	lo.u = i << SHIFT;
	hi.u = (i + 1) << SHIFT;
	return ((double)lo.f + (double)hi.f) / 2 * factor * factor;
}
