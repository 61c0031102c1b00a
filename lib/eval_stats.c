#include "eval_stats.h"

#include <math.h>
#include <string.h>

#include "mem.h"

enum { COLUMNS = 64 };	/* an item of work; bounds the layout, not the sum */

int eval_stats_init(struct eval_stats *s, size_t dim, size_t n_latents,
                    struct err *e)
{
	memset(s, 0, sizeof(*s));
	s->dim = dim;
	s->n_latents = n_latents;
	if (!(s->shift = mem_array(dim, sizeof(double), e)) ||
	    !(s->sum = mem_array(dim, sizeof(double), e)) ||
	    !(s->sq = mem_array(dim, sizeof(double), e)) ||
	    !(s->miss = mem_array(dim, sizeof(double), e)) ||
	    !(s->fired = mem_array(n_latents, sizeof(uint64_t), e))) {
		eval_stats_free(s);
		return -1;
	}
	return 0;
}

void eval_stats_free(struct eval_stats *s)
{
	mem_free(s->shift);
	mem_free(s->sum);
	mem_free(s->sq);
	mem_free(s->miss);
	mem_free(s->fired);
	memset(s, 0, sizeof(*s));
}

struct add {
	struct eval_stats *s;
	const float *y, *y_hat;
	const uint8_t *keep;
	size_t n;
};

static void add_columns(void *ctx, size_t item, int thread)
{
	const struct add *a = ctx;
	struct eval_stats *s = a->s;
	size_t lo = item * COLUMNS, i, c;
	size_t hi = s->dim - lo > COLUMNS ? lo + COLUMNS : s->dim;
	int first = s->n == 0;

	(void)thread;
	for (i = 0; i < a->n; i++) {
		const float *y = a->y + i * s->dim;
		const float *h = a->y_hat + i * s->dim;

		if (!a->keep[i])
			continue;
		if (first)
			for (c = lo; c < hi; c++)
				s->shift[c] = y[c];
		first = 0;
		for (c = lo; c < hi; c++) {
			double d = y[c] - s->shift[c];
			double m = (double)y[c] - (double)h[c];

			s->sum[c] += d;
			s->sq[c] += d * d;
			s->miss[c] += m * m;
		}
	}
}

void eval_stats_add(struct eval_stats *s, struct par *p, const float *y,
                    const float *y_hat, const uint8_t *keep, size_t n,
                    const struct tc_codes *codes)
{
	struct add a = { s, y, y_hat, keep, n };
	size_t i, j;

	par_for(p, (s->dim + COLUMNS - 1) / COLUMNS, add_columns, &a);
	for (i = 0; i < n; i++) {
		if (!keep[i])
			continue;
		s->n++;
		for (j = i * codes->k; j < (i + 1) * codes->k; j++) {
			if (!(codes->value[j] > 0))
				break;
			s->fired[codes->latent[j]]++;
			s->n_active++;
			s->act_sum += codes->value[j];
			if (codes->value[j] > s->act_max)
				s->act_max = codes->value[j];
		}
	}
}

double eval_stats_fvu(const struct eval_stats *s)
{
	double miss = 0, total = 0;
	size_t c;

	for (c = 0; c < s->dim; c++) {
		miss += s->miss[c];
		total += s->sq[c] - s->sum[c] * s->sum[c] / (double)s->n;
	}
	return total > 0 ? miss / total : NAN;
}

void eval_stats_mean(const struct eval_stats *s, float *out)
{
	size_t c;

	for (c = 0; c < s->dim; c++)
		out[c] = (float)(s->shift[c] + s->sum[c] / (double)s->n);
}
