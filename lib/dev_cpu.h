/*
 * dev_cpu: the CPU backend's insides, shared by its files dev_cpu*.c.
 *
 * Every op cuts its work into items whose bounds depend on shapes alone and
 * runs them on the pool; BLAS is told to use one thread and is called inside
 * the items.
 */
#ifndef R1_DEV_CPU_H
#define R1_DEV_CPU_H

#include "dev_attr.h"
#include "dev_back.h"
#include "dev_cpu_mm.h"
#include "dev_cpu_q8.h"
#include "dev_impl.h"
#include "dev_tc.h"

struct dev_cpu {
	struct dev base;
	const struct vec_ops *vec;
	int amx;		/* dev_cpu_amx.h may be used */
	enum dev_precision precision;
	const struct dev_cpu_mm *mm;	/* or NULL: BLAS instead */
	const struct dev_cpu_q8 *q8, *q16;		/* or NULL */
	const struct dev_cpu_tc_coarse *coarse;		/* likewise */
	uint16_t *packed;	/* operands packed for one of them */
	size_t packed_cap;
	size_t distrust;	/* encodings still to be done without trust */
	char **scratch;		/* one block per thread */
	size_t scratch_bytes;	/* of each */
};

/* What multiplies weights as they are stored, with this precision; NULL: nothing. */
static inline const struct dev_cpu_q8 *dev_cpu_stored(const struct dev_cpu *c)
{
	return c->precision == DEV_Q8 ? c->q8
	     : c->precision == DEV_Q16 ? c->q16 : NULL;
}

/* Keeps the device's own loops at or below vec_level(level); 3 allows AMX too.
 * For tests and benchmarks; R1_ISA does it for users (dev_cpu.c). */
void dev_cpu_limit(struct dev *d, int level);

/* Makes sure that every thread has `bytes` of 64-byte aligned scratch, contents
 * undefined, at dev_cpu_scratch(c, thread) until the next call. */
int dev_cpu_scratch_need(struct dev_cpu *c, size_t bytes, struct err *e);
#define dev_cpu_scratch(c, thread) ((void *)(c)->scratch[thread])

/* Runs fn over n units in items of `grain` units: fn(ctx, first, count). */
typedef void dev_cpu_range_fn(void *ctx, size_t first, size_t count);
void dev_cpu_ranges(struct dev_cpu *c, size_t n, size_t grain,
                    dev_cpu_range_fn *fn, void *ctx);
/* A grain that gives items of about 16k values from rows of row_values. */
size_t dev_cpu_grain(size_t row_values);

static inline size_t dev_cpu_div_up(size_t a, size_t b)
{
	return a / b + (a % b != 0);
}

/* Asks for memory that will be wanted, from far away and in no order that a
 * processor would see by itself. */
static inline void dev_cpu_fetch(const void *p, size_t bytes)
{
	size_t i;

	for (i = 0; i < bytes; i += 64)
		__builtin_prefetch((const char *)p + i);
}

/* dev_cpu_gemm.c: n > 0 cut into pieces of at most `max` (or `round`), equal up
 * to rounding: how large they are. */
size_t dev_cpu_even_piece(size_t n, size_t max, size_t round);
/* How a result of m rows and n columns is cut into tiles. */
struct dev_cpu_cut {
	size_t max_m, max_n;	/* a tile at most */
	size_t least;		/* not cut below this to make more tiles */
	size_t wanted;		/* tiles, so that many threads have work */
	size_t round_m, round_n;
};
void dev_cpu_tile_sizes(const struct dev_cpu_cut *c, size_t m, size_t n,
                        size_t *mt, size_t *nt);

int dev_cpu_gemm(struct dev *d, int ta, int tb, size_t m, size_t n, size_t k,
                 float alpha, const float *a, size_t lda, const float *b,
                 size_t ldb, float beta, float *c, size_t ldc, struct err *e);
size_t dev_cpu_gemm_keeps(struct dev *d, size_t m, size_t n, size_t k);
/* One linear map, n rows, through BLAS; shapes checked by the caller. */
int dev_cpu_gemm_weight(struct dev_cpu *c, const float *x, size_t n,
                        const struct dev_linear *l, struct err *e);

/* dev_cpu_linear.c */
int dev_cpu_linear(struct dev *d, const float *x, size_t n,
                   const struct dev_linear *l, size_t count, struct err *e);
size_t dev_cpu_linear_keeps(struct dev *d, size_t n, const struct dev_linear *l,
                            size_t count);

/* dev_cpu_attn.c */
int dev_cpu_attention(struct dev *d, const float *q, const float *k,
                      const float *v, const struct dev_seqs *s,
                      const size_t *kv_start, size_t n_heads, size_t n_kv,
                      size_t d_head, float scale, float *out, struct err *e);

/* dev_cpu_elem.c */
int dev_cpu_embed(struct dev *d, const struct tensor *w, const uint32_t *ids,
                  size_t n, float *out, struct err *e);
int dev_cpu_rmsnorm(struct dev *d, const float *x, size_t n, size_t dim,
                    const float *w, float eps, float *out, float *inv_rms,
                    struct err *e);
int dev_cpu_rope_table(struct dev *d, const uint32_t *pos, size_t n,
                       const float *inv_freq, size_t d_head, float *cs,
                       struct err *e);
int dev_cpu_rope(struct dev *d, float *x, size_t n, size_t n_heads,
                 size_t d_head, const float *cs, struct err *e);
int dev_cpu_silu_mul(struct dev *d, float *gate, const float *up, size_t n,
                     struct err *e);
int dev_cpu_axpy(struct dev *d, float alpha, const float *x, float *y, size_t n,
                 struct err *e);

/* dev_cpu_xent.c */
int dev_cpu_xent(struct dev *d, const float *logits, const float *ref, size_t n,
                 size_t n_vocab, const uint32_t *targets, double *ce,
                 double *kl, uint8_t *top1, struct err *e);

/* dev_cpu_tc.c */
extern const struct dev_tc_ops dev_cpu_tc;

/* dev_cpu_back.c */
extern const struct dev_back_ops dev_cpu_back;

/* dev_cpu_attr.c */
extern const struct dev_attr_ops dev_cpu_attr;

#endif
