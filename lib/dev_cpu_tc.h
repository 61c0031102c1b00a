/* dev_cpu_tc: the insides of the CPU's transcoder ops, dev_cpu_tc*.c. */
#ifndef R1_DEV_CPU_TC_H
#define R1_DEV_CPU_TC_H

#include "dev_cpu.h"
#include "dev_cpu_tc_pick.h"
#include "dev_tc.h"

enum {
	TC_AHEAD = 8,	/* rows asked for at once, before they are wanted */
	TC_SLAB = 16	/* columns of scatter and gram at a time: 16 lanes */
};

/*
 * Loops compiled once per instruction set, equal bytes from each: element-wise
 * arithmetic without contraction, sums over 16 lanes folded in one order.
 */
struct tc_loops {
	/* Offers latents first + i, i >= from, whose products with the row
	 * are pre[i] to within slack norm[i], until i == n or room for one
	 * step is not left of `cap`; returns i. */
	size_t (*collect)(const float *pre, const float *bias,
	                  const float *norm, float slack, size_t from, size_t n,
	                  uint32_t first, struct tc_pick *p, size_t cap);
	/* How many of v[n] are >= at_least. */
	size_t (*count)(const float *v, size_t n, float at_least);
	/* The smallest of them; infinity where there is none. */
	float (*least)(const float *v, size_t n, float at_least);
	/* Drops the candidates whose `up` is below the bar; a NaN is not. */
	void (*drop)(struct tc_pick *p);
	/* out[dim] (+)= sum over e < n of coef[e] src[row[e] * dim ...];
	 * `add`: onto what is there. At ahead[n_ahead], of which TC_AHEAD at
	 * most count, begins what will be wanted next: about dim floats of
	 * each are asked for. */
	void (*combine)(const float *src, const uint32_t *row,
	                const float *coef, size_t n,
	                const float *const *ahead, size_t n_ahead, size_t dim,
	                int add, float *out);
	/* sum[latent] += value * q for the slots of each row; q is the row's
	 * in v, of which `cols` columns are there, rows ld apart, or, v NULL,
	 * the sum of its value * in[latent]. in, sum [n_latents, TC_SLAB] */
	void (*slab)(const struct dev_tc_codes *c, const float *v, size_t ld,
	             size_t cols, const float *in, float *sum);
	/* sum (x[i] - mean[i])^2; mean NULL: 0 */
	float (*sq)(const float *x, const float *mean, size_t n);
	/* sum[dim] = the sums of columns of n rows, `stride` apart */
	void (*col_sum)(const float *x, size_t n, size_t stride, size_t dim,
	                double *sum);
	/* out[i] = (x[i] - mean[i]) * scale; mean NULL: 0. out may be x. */
	void (*centre)(const float *x, const float *mean, float scale,
	               size_t n, float *out);
	/* One optimiser step on n values; g NULL: gradient 0 */
	void (*step)(const struct dev_tc_opt *o, float *w, float *s1,
	             float *s2, const float *g, size_t n);
};

const struct tc_loops *dev_cpu_tc_loops(void);
/* Table `level` as vec_level counts, NULL where it is not to be had. */
const struct tc_loops *dev_cpu_tc_loops_level(int level);
extern const struct tc_loops dev_cpu_tc_loops_portable;
#if defined(__x86_64__)
extern const struct tc_loops dev_cpu_tc_loops_avx2, dev_cpu_tc_loops_avx512;
#endif

/* A positive value and its latent as one number that orders as codes do:
 * larger value first, then lower latent. */
static inline uint64_t tc_key(float value, uint32_t latent)
{
	union { float f; uint32_t u; } b = { value };

	return (uint64_t)b.u << 32 | (UINT32_MAX - latent);
}

static inline float tc_key_value(uint64_t key)
{
	union { uint32_t u; float f; } b = { (uint32_t)(key >> 32) };

	return b.f;
}

static inline uint32_t tc_key_latent(uint64_t key)
{
	return UINT32_MAX - (uint32_t)key;
}

/* Active slots of a row: they come first. */
static inline size_t tc_active(const uint32_t *latent, size_t k)
{
	size_t n = 0;

	while (n < k && latent[n] != DEV_TC_NONE)
		n++;
	return n;
}

/* A counting sort of codes by latent, at [n_latents + 1] zeros at first: counts them,
 * a place further on; */
static inline void tc_count(const struct dev_tc_codes *c, uint32_t *at)
{
	size_t i;

	for (i = 0; i < c->n * c->k; i++)
		if (c->latent[i] != DEV_TC_NONE)
			at[c->latent[i] + 1]++;
}

/* of counts makes where each latent's begin. */
static inline void tc_begins(uint32_t *at, size_t n_latents)
{
	size_t i;

	for (i = 1; i <= n_latents; i++)
		at[i] += at[i - 1];
}

/* dev_cpu_tc_encode.c */
int dev_cpu_tc_encode(struct dev *d, const float *x, size_t n, size_t d_in,
                      const float *w, const float *b, size_t n_latents,
                      const uint32_t *ids, struct dev_tc_codes *out,
                      struct err *e);
int dev_cpu_tc_encode_near(struct dev *d, const float *x, size_t n, size_t d_in,
                           const float *w, const float *b, size_t n_latents,
                           struct dev_tc_codes *out, struct err *e);
size_t dev_cpu_tc_encode_keeps(struct dev *d, size_t n, size_t d_in,
                               size_t n_latents, size_t k);
/* dev_cpu_tc_slab.c */
int dev_cpu_tc_scatter(struct dev *d, const struct dev_tc_codes *c,
                       const float *v, size_t n_latents, size_t dim,
                       float *out, struct err *e);
int dev_cpu_tc_gram(struct dev *d, const struct dev_tc_codes *c, const float *v,
                    size_t n_latents, size_t dim, float *out, struct err *e);
/* dev_cpu_tc_square.c */
int dev_cpu_tc_square(struct dev *d, const struct dev_tc_codes *c,
                      size_t n_latents, float *out, struct err *e);
/* dev_cpu_tc_skip.c */
int dev_cpu_tc_skip_add(struct dev *d, const float *x, size_t n, size_t d_in,
                        const float *w, size_t d_out, float *out,
                        struct err *e);
int dev_cpu_tc_skip_grad(struct dev *d, const float *g, size_t n, size_t every,
                         size_t d_out, const float *x, size_t d_in, int add,
                         float *out, struct err *e);
int dev_cpu_tc_skip_sums(struct dev *d, const float *x, size_t n, size_t d_in,
                         const float *y, size_t d_out, float *xx, float *xy,
                         struct err *e);
size_t dev_cpu_tc_skip_keeps(struct dev *d, size_t n, size_t d_in,
                             size_t d_out);
/* dev_cpu_tc_step.c */
int dev_cpu_tc_step_latents(struct dev *d, const struct dev_tc_part *parts,
                        size_t n_parts, const float *x, const float *g,
                        const struct dev_tc_latents *l,
                        const struct dev_tc_opt *o, struct err *e);
int dev_cpu_tc_step(struct dev *d, const struct dev_tc_param *p,
                const float *grad, size_t n, const struct dev_tc_opt *o,
                struct err *e);

#endif
