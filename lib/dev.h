/*
 * dev: the device table. All numeric work of the model and the transcoders
 * goes through one of these, so that a backend is one file that fills a table.
 *
 * Memory: dev->alloc gives addresses on the device. Pointer arithmetic on them
 * is legal, dereferencing is not (on the CPU they happen to be host addresses;
 * only dev_cpu* relies on it). put and get copy to and from the host.
 * Every op is row-major f32 unless said otherwise, keeps no pointer, allows
 * n = 0, and returns 0 or -1 with ERR_DEV, ERR_MEM or ERR_RANGE. One device
 * runs one op at a time: calls on the same device must not overlap.
 *
 * Determinism: an op cuts its work into tiles that depend on shapes alone, so
 * equal input gives equal bytes whatever the number of threads.
 *
 * dev_ref.h holds each op as a plain loop: their meaning. Backends are tested
 * against those.
 */
#ifndef R1_DEV_H
#define R1_DEV_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "par.h"
#include "tensor.h"

struct dev;
struct dev_tc_ops;
struct dev_attr_ops;
struct dev_back_ops;

/* Opens "cpu" or "cuda" (without CUDA: ERR_DEV with a hint). The CPU works on
 * n_threads threads. */
struct dev *dev_open(const char *name, int n_threads, struct err *e);
void dev_free(struct dev *d);	/* NULL is legal */

/* One attention sequence layout: rows [start[i], start[i+1]) of a batch
 * are one sequence whose row j sits at position past[i] + j. */
struct dev_seqs {
	size_t n;		/* sequences */
	const size_t *start;	/* n + 1 */
	const size_t *past;	/* n, or NULL for zeros: rows already cached */
};

/* One linear map: w is a [d_out, d_in] tensor in any float or quantised dtype,
 * in device memory (a CPU tensor may be a mapped file's); bias [d_out] or
 * NULL. */
struct dev_linear {
	const struct tensor *w;
	const float *bias;
	float *out;
};

/* What linear's sums may be off by, and in training the skip connection's and the
 * end's (dev_tc.h). */
enum dev_precision {
	DEV_NEAR,	/* 1e-5 of the product of the norms of a row of x and a
			 * row of w: as every device starts */
	DEV_EXACT,	/* what f32 sums are off by, at a price in speed */
	DEV_Q16,	/* as DEV_NEAR, and within the same; weights stored in 4
			 * bits may stay so, each 32 values of x being rounded to
			 * 16, where that is faster */
	DEV_Q8		/* as DEV_NEAR, but each 32 values of x may be rounded
			 * to 8 bits (much as GGML's Q8_1) where that is
			 * faster and weights are stored in 4 */
};

/* Their names, as options take them: f32 is DEV_Q16, exact DEV_EXACT. */
#define DEV_PRECISIONS "f32|q8|exact"

struct dev_ops {
	const char *name;
	const struct dev_tc_ops *tc;	/* dev_tc.h: transcoders */
	const struct dev_attr_ops *attr;	/* dev_attr.h: attribution */
	const struct dev_back_ops *back;	/* dev_back.h: gradients */

	void *(*alloc)(struct dev *d, size_t bytes, struct err *e); /* zeroed */
	void (*release)(struct dev *d, void *p);
	int (*put)(struct dev *d, void *dst, const void *src, size_t bytes,
	           struct err *e);
	int (*get)(struct dev *d, void *dst, const void *src, size_t bytes,
	           struct err *e);
	/* n values, f32 on the device and q8_0_bytes(n) on the host (tensor.h). */
	int (*put_q8_0)(struct dev *d, float *dst, const uint8_t *src, size_t n,
	                struct err *e);
	int (*get_q8_0)(struct dev *d, uint8_t *dst, const float *src, size_t n,
	                struct err *e);
	/* device to device; the ranges do not overlap */
	int (*copy)(struct dev *d, void *dst, const void *src, size_t bytes,
	            struct err *e);
	int (*sync)(struct dev *d, struct err *e);
	/* Makes the host tensor t usable as a weight. Where the device reads
	 * host memory (the CPU), t stays as it is and borrowed, *own NULL;
	 * else t->data becomes a copy and *own the same, for release. */
	int (*place)(struct dev *d, struct tensor *t, void **own,
	             struct err *e);

	/* C[m,n] = alpha * op(A)[m,k] op(B)[k,n] + beta * C; ta/tb 0 or 1:
	 * transposed; ld*: row strides in floats; beta 0: C not read. */
	int (*gemm)(struct dev *d, int ta, int tb, size_t m, size_t n,
	            size_t k, float alpha, const float *a, size_t lda,
	            const float *b, size_t ldb, float beta, float *c,
	            size_t ldc, struct err *e);

	/* From now on ops keep this precision. Returns what it was. */
	enum dev_precision (*precision)(struct dev *d, enum dev_precision p);
	/* Whether linear, as it is now, does better with weights of this type
	 * as they are stored than as f32. */
	int (*as_stored)(const struct dev *d, enum dtype t);

	/* out[n,d_out] = x[n,d_in] W^T + bias, for each of `count` weights over
	 * the same x. */
	int (*linear)(struct dev *d, const float *x, size_t n,
	              const struct dev_linear *l, size_t count, struct err *e);

	/* Bytes that the device keeps for packed operands once it has done a
	 * gemm of these sizes, or linear with n rows and weights of these types
	 * and shapes (nothing else of l is read), as its precision is now; of
	 * all its calls it keeps the most that one took. */
	size_t (*gemm_keeps)(struct dev *d, size_t m, size_t n, size_t k);
	size_t (*linear_keeps)(struct dev *d, size_t n,
	                       const struct dev_linear *l, size_t count);

	/* out[n,d] = rows ids[i] of w [n_vocab,d]; ids on the host. */
	int (*embed)(struct dev *d, const struct tensor *w,
	             const uint32_t *ids, size_t n, float *out, struct err *e);

	/* out[n,d] = x / sqrt(mean(x^2) + eps) * w. inv_rms[n] (or NULL)
	 * receives 1 / sqrt(...). x and out may be the same. */
	int (*rmsnorm)(struct dev *d, const float *x, size_t n, size_t dim,
	               const float *w, float eps, float *out, float *inv_rms,
	               struct err *e);

	/* cs[n, d_head]: row i holds the cosines, then the sines, of the
	 * d_head/2 angles pos[i] * inv_freq[j], the product rounded to f32 as
	 * transformers does. pos and inv_freq on the host, cs on the device. */
	int (*rope_table)(struct dev *d, const uint32_t *pos, size_t n,
	                  const float *inv_freq, size_t d_head, float *cs,
	                  struct err *e);

	/* Rotates x [n, n_heads, d_head] in place, halves paired (i, i +
	 * d_head/2) as transformers does, row i by the angles in cs[i]. */
	int (*rope)(struct dev *d, float *x, size_t n, size_t n_heads,
	            size_t d_head, const float *cs, struct err *e);

	/* Causal grouped-query attention with softmax scale. q [n, n_heads,
	 * d_head]; k, v hold, for sequence i, the cached and new rows of
	 * sequence i: kv_start[i] (host; NULL: s->start) is its first row in
	 * k and v, each row n_kv * d_head. out [n, n_heads, d_head]. Memory
	 * does not grow with the square of a sequence's length. */
	int (*attention)(struct dev *d, const float *q, const float *k,
	                 const float *v, const struct dev_seqs *s,
	                 const size_t *kv_start, size_t n_heads, size_t n_kv,
	                 size_t d_head, float scale, float *out,
	                 struct err *e);

	/* gate[i] = silu(gate[i]) * up[i], n values */
	int (*silu_mul)(struct dev *d, float *gate, const float *up, size_t n,
	                struct err *e);
	/* y += alpha * x, n values */
	int (*axpy)(struct dev *d, float alpha, const float *x, float *y,
	            size_t n, struct err *e);

	/* For n rows of logits [n, n_vocab]: ce[i] = -log softmax[targets[i]]
	 * in nats (UINT32_MAX: skipped, 0). With ref [n, n_vocab] (or NULL),
	 * kl[i] = KL(softmax(ref) || softmax(logits)) and top1[i] = 1 where
	 * the arg-maxes (ties: the lower) agree. targets, ce, kl and top1 on
	 * the host; kl and top1 unread when ref is NULL. */
	int (*xent)(struct dev *d, const float *logits, const float *ref,
	            size_t n, size_t n_vocab, const uint32_t *targets,
	            double *ce, double *kl, uint8_t *top1, struct err *e);
};

const struct dev_ops *dev_ops(const struct dev *d);
/* One of DEV_PRECISIONS. To be set before weights are loaded. */
void dev_set_precision(struct dev *d, const char *name);
struct par *dev_par(const struct dev *d);	/* the CPU's pool */

#endif
