/* Cross-entropy and divergence of rows of logits. */
#include <math.h>

#include "dev_cpu.h"

/* Long sums are taken in pieces added up in double. */
enum { PIECE = 1024 };

struct xent {
	const struct vec_ops *vec;
	const float *logits, *ref;
	size_t n_vocab;
	const uint32_t *targets;
	double *ce, *kl;
	uint8_t *top1;
};

/* log sum exp(x[n]) as *max + the value returned */
static double log_sum_exp(const struct vec_ops *vec, const float *x, size_t n,
                          float *max)
{
	float tmp[PIECE];
	double sum = 0;
	size_t i;

	*max = vec->max(x, n);
	for (i = 0; i < n; i += PIECE)
		sum += vec->exp_sum(x + i, n - i < PIECE ? n - i : PIECE, *max,
		                    tmp);
	return log(sum);
}

static size_t find(const float *x, size_t n, float value)
{
	size_t i = 0;

	while (i < n && x[i] != value)
		i++;
	return i;
}

static void xent_range(void *ctx, size_t first, size_t count)
{
	const struct xent *j = ctx;
	size_t n = j->n_vocab, i, k;

	for (i = first; i < first + count; i++) {
		const float *x = j->logits + i * n, *r;
		float mx, mr;
		double lx = log_sum_exp(j->vec, x, n, &mx), lr, sum = 0;

		j->ce[i] = j->targets[i] == UINT32_MAX ? 0 :
			lx - ((double)x[j->targets[i]] - mx);
		if (!j->ref)
			continue;
		r = j->ref + i * n;
		lr = log_sum_exp(j->vec, r, n, &mr);
		for (k = 0; k < n; k += PIECE)
			sum += j->vec->kl_sum(r + k, mr, x + k, mx,
			                      n - k < PIECE ? n - k : PIECE);
		j->kl[i] = sum / exp(lr) - lr + lx;
		j->top1[i] = find(x, n, mx) == find(r, n, mr);
	}
}

int dev_cpu_xent(struct dev *d, const float *logits, const float *ref, size_t n,
                 size_t n_vocab, const uint32_t *targets, double *ce,
                 double *kl, uint8_t *top1, struct err *e)
{
	struct dev_cpu *c = (struct dev_cpu *)d;
	struct xent j = { c->vec, logits, ref, n_vocab, targets, ce, kl, top1 };
	size_t i;

	for (i = 0; i < n; i++)
		if (targets[i] != UINT32_MAX && targets[i] >= n_vocab)
			return err_set(e, ERR_RANGE, "target %zu: id %u, the "
			               "vocabulary has %zu", i, targets[i],
			               n_vocab);
	dev_cpu_ranges(c, n, dev_cpu_grain(n_vocab), xent_range, &j);
	return 0;
}
