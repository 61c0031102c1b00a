/* train_rng: random numbers of training, splitmix64: one stream per seed, layer
 * and purpose, so that none has a state to keep. */
#ifndef R1_TRAIN_RNG_H
#define R1_TRAIN_RNG_H

#include <stddef.h>
#include <stdint.h>

struct train_rng {
	uint64_t s;
};

/* As if n numbers had been taken. */
static inline void train_rng_skip(struct train_rng *r, uint64_t n)
{
	r->s += n * 0x9e3779b97f4a7c15u;
}

static inline uint64_t train_rng_next(struct train_rng *r)
{
	uint64_t z = r->s += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static inline double train_rng_unit(struct train_rng *r)	/* in (0, 1) */
{
	return ((double)(train_rng_next(r) >> 12) + 0.5) * 0x1p-52;
}

/* An index below n, as likely as sum[i] - sum[i - 1] says; sum rises, and above
 * 0 at its end. */
static inline size_t train_rng_pick(struct train_rng *r, const double *sum,
                                    size_t n)
{
	double at = train_rng_unit(r) * sum[n - 1];
	size_t lo = 0, hi = n - 1;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (sum[mid] > at)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

#endif
