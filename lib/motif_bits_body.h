/* motif_bits_body: the loop of motif_bits_fn, compiled for each instruction
 * set under the name MOTIF_BITS_NAME. */
#include "motif_impl.h"

uint64_t MOTIF_BITS_NAME(const uint64_t *a, const uint64_t *b, size_t n_words,
                         const uint32_t *u, const uint32_t *v, size_t n,
                         const uint32_t *end, int above)
{
	uint64_t sum = 0;
	size_t i, w;

	for (i = 0; i < n; i++) {
		const uint64_t *x = a + (size_t)u[i] * n_words;
		const uint64_t *y = b + (size_t)v[i] * n_words;
		size_t last = end[u[i]];

		for (w = above ? v[i] / 64 : 0; w < last; w++)
			sum += (uint64_t)__builtin_popcountll(x[w] & y[w]);
	}
	return sum;
}
