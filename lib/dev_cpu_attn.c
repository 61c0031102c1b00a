/*
 * Causal attention on the CPU, in blocks with a running softmax
 * (arXiv:2205.14135), so that memory doesn't grow with the sequence.
 *
 * An item is a block of queries of one sequence and one key/value head: the
 * query heads that share the head are stacked, row (query, head in group), and
 * meet the keys in blocks through two small matrix products: those of
 * dev_cpu_mm.h from keys and values packed once, or where there are none, or
 * too few queries to repay the packing, BLAS'.
 */
#include <cblas.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "dev_cpu.h"
#include "mem.h"

enum {
	Q_ROWS = 192,	/* stacked rows of a query block, about */
	KEYS = 512,	/* keys of a block */
	PACK_KEYS = 8	/* packed at up to this many keys a query */
};

struct attn {
	struct dev_cpu *dev;
	const float *q, *k, *v;
	const struct dev_seqs *s;
	const size_t *kv_start;
	size_t *block0;			/* first query block of sequence i */
	size_t n_heads, n_kv, group, d_head;
	size_t q_block;			/* queries of an item */
	float scale, *out;
	size_t *key0;			/* packed rows before sequence i's */
	float *packed;			/* its keys, all heads, then values */
};

/* A thread's scratch: stacked queries, scores, outputs, row maxima and sums */
static size_t scratch_floats(const struct attn *a)
{
	size_t rows = a->q_block * a->group;

	return rows * (2 * a->d_head + KEYS + 2);
}

/* scores[r, 0..n) -> exp(score - running max), for keys k0.. of a sequence;
 * rescales what the row holds already. Row r is the query at position pos +
 * r / group and sees keys up to its own position. */
static void soften(const struct attn *a, float *scores, float *acc, float *max,
                   float *sum, size_t rows, size_t n, size_t pos, size_t k0)
{
	const struct vec_ops *vec = a->dev->vec;
	size_t r;

	for (r = 0; r < rows; r++) {
		size_t end = pos + r / a->group + 1;
		size_t seen = end > k0 ? end - k0 : 0;
		float *s = scores + r * KEYS, m, shrink;

		if (seen > n)
			seen = n;
		m = vec->max(s, seen);
		if (m > max[r]) {
			shrink = expf(max[r] - m);	/* 0 the first time */
			max[r] = m;
			sum[r] *= shrink;
			vec->scale(acc + r * a->d_head, shrink, a->d_head);
		}
		sum[r] += vec->exp_sum(s, seen, max[r], s);
		memset(s + seen, 0, (n - seen) * sizeof(*s));
	}
}

static void attn_block(const struct attn *a, size_t seq, size_t kv_head,
                       size_t q0, size_t n_q, float *scratch)
{
	size_t dh = a->d_head, g = a->group, rows = n_q * g;
	size_t past = a->s->past ? a->s->past[seq] : 0;
	size_t n_keys = past + q0 + n_q;	/* the last query's */
	size_t stride = a->n_kv * dh, k0, n, i, r;
	const float *k = a->k + a->kv_start[seq] * stride + kv_head * dh;
	const float *v = a->v + a->kv_start[seq] * stride + kv_head * dh;
	size_t at = (a->s->start[seq] + q0) * a->n_heads * dh + kv_head * g * dh;
	float *qs = scratch, *acc = qs + rows * dh, *max = acc + rows * dh;
	float *sum = max + rows, *scores = sum + rows;

	for (i = 0; i < n_q; i++)
		memcpy(qs + i * g * dh, a->q + at + i * a->n_heads * dh,
		       g * dh * sizeof(*qs));
	memset(acc, 0, rows * dh * sizeof(*acc));
	for (r = 0; r < rows; r++) {
		max[r] = -INFINITY;
		sum[r] = 0;
	}
	for (k0 = 0; k0 < n_keys; k0 += KEYS) {
		n = n_keys - k0 < KEYS ? n_keys - k0 : KEYS;
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows,
		            (int)n, (int)dh, a->scale, qs, (int)dh,
		            k + k0 * stride, (int)stride, 0, scores, KEYS);
		soften(a, scores, acc, max, sum, rows, n, past + q0, k0);
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans,
		            (int)rows, (int)dh, (int)n, 1, scores, KEYS,
		            v + k0 * stride, (int)stride, 1, acc, (int)dh);
	}
	for (r = 0; r < rows; r++)
		a->dev->vec->scale(acc + r * dh, 1 / sum[r], dh);
	for (i = 0; i < n_q; i++)
		memcpy(a->out + at + i * a->n_heads * dh, acc + i * g * dh,
		       g * dh * sizeof(*acc));
}

/* ---- packed ---- */

static size_t n_keys_of(const struct attn *a, size_t seq)
{
	return a->s->start[seq + 1] - a->s->start[seq] +
	       (a->s->past ? a->s->past[seq] : 0);
}

/* Rows a sequence's keys take when packed. */
static size_t key_rows(const struct attn *a, size_t seq)
{
	size_t mr = a->dev->mm->mr;

	return (n_keys_of(a, seq) + mr - 1) / mr * mr;
}

/* Keys and values of one head of a sequence. */
static float *packed_keys(const struct attn *a, size_t seq, size_t head)
{
	return a->packed + (a->key0[seq] * 2 * a->n_kv + key_rows(a, seq) * 2 *
	                    head) * a->d_head;
}

static float *packed_values(const struct attn *a, size_t seq, size_t head)
{
	return packed_keys(a, seq, head) + key_rows(a, seq) * a->d_head;
}

static void pack_item(void *ctx, size_t item, int thread)
{
	const struct attn *a = ctx;
	const struct dev_cpu_mm *mm = a->dev->mm;
	size_t seq = item / a->n_kv, head = item % a->n_kv, dh = a->d_head;
	size_t n = n_keys_of(a, seq), stride = a->n_kv * dh, i;
	size_t at = a->kv_start[seq] * stride + head * dh;
	float *keys = packed_keys(a, seq, head);

	(void)thread;
	for (i = 0; i < n; i += mm->mr)
		mm->pack_left(a->k + at + i * stride, stride,
		              n - i < mm->mr ? n - i : mm->mr, dh,
		              keys + i * dh);
	mm->pack_values(a->v + at, stride, n, dh, packed_values(a, seq, head));
}

static void packed_block(const struct attn *a, size_t seq, size_t kv_head,
                         size_t q0, size_t n_q, float *scratch)
{
	const struct dev_cpu_mm *mm = a->dev->mm;
	struct dev_cpu_mm_queries p = { .d_head = a->d_head, .scale = a->scale };
	size_t past = a->s->past ? a->s->past[seq] : 0, r, i;

	for (r = 0; r < n_q * a->group; r += p.n) {
		p.n = n_q * a->group - r < mm->nr ? n_q * a->group - r : mm->nr;
		for (i = 0; i < p.n; i++) {
			size_t query = q0 + (r + i) / a->group;
			size_t head = kv_head * a->group + (r + i) % a->group;
			size_t at = ((a->s->start[seq] + query) * a->n_heads +
			             head) * a->d_head;

			p.q[i] = a->q + at;
			p.out[i] = a->out + at;
			p.seen[i] = (uint32_t)(past + query + 1);
		}
		mm->attend(&p, packed_keys(a, seq, kv_head),
		           packed_values(a, seq, kv_head), n_keys_of(a, seq),
		           scratch);
	}
}

/* Packs all keys and values if that pays. 1 if so, 0 if not, or -1. */
static int pack(struct attn *a, struct err *e)
{
	size_t i, n_keys = 0, bytes;
	struct dev_cpu *c = a->dev;

	for (i = 0; i < a->s->n; i++) {
		n_keys += n_keys_of(a, i);
		if (n_keys_of(a, i) > UINT32_MAX)
			return 0;
	}
	if (!c->mm || n_keys > PACK_KEYS * a->s->start[a->s->n])
		return 0;
	a->key0 = mem_scratch(a->s->n + 1, sizeof(*a->key0), e);
	if (!a->key0)
		return -1;
	a->key0[0] = 0;
	for (i = 0; i < a->s->n; i++)
		a->key0[i + 1] = a->key0[i] + key_rows(a, i);
	bytes = dev_cpu_mm_scratch(a->d_head) * sizeof(float);
	if (dev_cpu_scratch_need(c, bytes, e) < 0 ||
	    mem_grow(&c->packed, &c->packed_cap, a->key0[a->s->n] * 2 *
	             a->n_kv * a->d_head * (sizeof(float) / sizeof(*c->packed)),
	             sizeof(*c->packed), e) < 0)
		return -1;
	a->packed = (float *)c->packed;
	par_for(c->base.pool, a->s->n * a->n_kv, pack_item, a);
	return 1;
}

/* ---- the op ---- */

static void attn_item(void *ctx, size_t item, int thread)
{
	const struct attn *a = ctx;
	size_t block = item / a->n_kv, lo = 0, hi = a->s->n, q0, left;

	while (hi - lo > 1) {	/* block0[lo] <= block < block0[hi] */
		size_t mid = lo + (hi - lo) / 2;

		if (a->block0[mid] <= block)
			lo = mid;
		else
			hi = mid;
	}
	q0 = (block - a->block0[lo]) * a->q_block;
	left = a->s->start[lo + 1] - a->s->start[lo] - q0;
	(a->packed ? packed_block : attn_block)(
		a, lo, item % a->n_kv, q0,
		left < a->q_block ? left : a->q_block,
		dev_cpu_scratch(a->dev, thread));
}

int dev_cpu_attention(struct dev *d, const float *q, const float *k,
                      const float *v, const struct dev_seqs *s,
                      const size_t *kv_start, size_t n_heads, size_t n_kv,
                      size_t d_head, float scale, float *out, struct err *e)
{
	struct attn a = {
		.dev = (struct dev_cpu *)d, .q = q, .k = k, .v = v, .s = s,
		.kv_start = kv_start ? kv_start : s->start,
		.n_heads = n_heads, .n_kv = n_kv, .d_head = d_head,
		.scale = scale, .out = out
	};
	size_t i;
	int packed, rc = -1;

	if (n_kv == 0 || n_heads % n_kv != 0 || d_head == 0)
		return err_set(e, ERR_RANGE, "attention: %zu heads over %zu "
		               "key heads of %zu", n_heads, n_kv, d_head);
	if (n_kv * d_head > INT_MAX)
		return err_set(e, ERR_RANGE, "attention: rows of %zu values",
		               n_kv * d_head);
	a.group = n_heads / n_kv;
	a.q_block = a.group < Q_ROWS ? Q_ROWS / a.group : 1;
	a.block0 = mem_scratch(s->n + 1, sizeof(*a.block0), e);
	if (!a.block0)
		return -1;
	packed = pack(&a, e);
	if (packed < 0 ||
	    (!packed && dev_cpu_scratch_need(a.dev, scratch_floats(&a) *
	                                     sizeof(float), e) < 0))
		goto done;
	a.block0[0] = 0;
	for (i = 0; i < s->n; i++)
		a.block0[i + 1] = a.block0[i] +
			(s->start[i + 1] - s->start[i] + a.q_block - 1) /
			a.q_block;
	par_for(a.dev->base.pool, a.block0[s->n] * n_kv, attn_item, &a);
	rc = 0;
done:
	mem_free(a.key0);
	mem_free(a.block0);
	return rc;
}
