/*
 * Z^T Z, dense, of codes Z. Codes are regrouped by latent; a row of the result is
 * the codes of the rows that fired its latent, which is summed in the first cache.
 * These lie anywhere, so that only as many rows are taken at a time as stay in the
 * last cache, and the next few are asked for.
 */
#include <string.h>

#include "dev_cpu.h"
#include "dev_cpu_tc.h"
#include "mem.h"

enum {
	ROWS = 32768,		/* at a time */
	LATENTS = 8,		/* of an item */
	AHEAD = 12		/* rows of codes asked for */
};

struct square {
	struct dev_cpu *dev;
	const struct dev_tc_codes *c;
	size_t n_latents;
	uint32_t *start;	/* [n_latents + 2] */
	uint32_t *row;		/* of a latent, in order, and */
	float *value;		/* its own there */
	float *out;		/* [n_latents, n_latents] */
};

/* Counting sort. */
static void group(struct square *q)
{
	const struct dev_tc_codes *c = q->c;
	uint32_t *at = q->start + 1;	/* so that counting leaves starts behind */
	size_t n = c->n * c->k, i;

	memset(q->start, 0, (q->n_latents + 2) * sizeof(*q->start));
	tc_count(c, at);
	tc_begins(at, q->n_latents);
	for (i = 0; i < n; i++)
		if (c->latent[i] != DEV_TC_NONE) {
			uint32_t to = at[c->latent[i]]++;

			q->row[to] = (uint32_t)(i / c->k);
			q->value[to] = c->value[i];
		}
}

/* sum[n_latents] = the codes of the rows that fired latent j, times its own */
static void add_rows(const struct square *q, size_t j, float *sum)
{
	const struct dev_tc_codes *c = q->c;
	size_t end = q->start[j + 1], i, s;

	for (i = q->start[j]; i < end; i++) {
		const uint32_t *latent = c->latent + (size_t)q->row[i] * c->k;
		const float *value = c->value + (size_t)q->row[i] * c->k;
		const float v = q->value[i];

		if (i + AHEAD < end) {
			size_t at = (size_t)q->row[i + AHEAD] * c->k;

			dev_cpu_fetch(c->latent + at, c->k * sizeof(*latent));
			dev_cpu_fetch(c->value + at, c->k * sizeof(*value));
		}
		for (s = 0; s < c->k && latent[s] != DEV_TC_NONE; s++)
			sum[latent[s]] += v * value[s];
	}
}

static void square_item(void *ctx, size_t item, int thread)
{
	const struct square *q = ctx;
	size_t n = q->n_latents, j = item * LATENTS, end = j + LATENTS, i;
	float *sum = dev_cpu_scratch(q->dev, thread);

	for (end = end < n ? end : n; j < end; j++) {
		float *out = q->out + j * n;

		if (q->start[j] == q->start[j + 1])
			continue;
		memset(sum, 0, n * sizeof(*sum));
		add_rows(q, j, sum);
		for (i = 0; i < n; i++)
			out[i] += sum[i];
	}
}

int dev_cpu_tc_square(struct dev *d, const struct dev_tc_codes *c,
                      size_t n_latents, float *out, struct err *e)
{
	struct dev_tc_codes part = *c;
	size_t rows = c->n < ROWS ? c->n : ROWS, i;
	struct square q = { .dev = (struct dev_cpu *)d, .c = &part,
		.n_latents = n_latents, .out = out };
	int rc = -1;

	if (!(q.start = mem_scratch(n_latents + 2, sizeof(*q.start), e)) ||
	    !(q.row = mem_scratch(rows, c->k * sizeof(*q.row), e)) ||
	    !(q.value = mem_scratch(rows, c->k * sizeof(*q.value), e)) ||
	    dev_cpu_scratch_need(q.dev, n_latents * sizeof(float), e) < 0)
		goto done;
	for (i = 0; i < c->n; i += part.n) {
		part.n = c->n - i < rows ? c->n - i : rows;
		part.latent = c->latent + i * c->k;
		part.value = c->value + i * c->k;
		group(&q);
		par_for(d->pool, dev_cpu_div_up(n_latents, LATENTS),
		        square_item, &q);
	}
	rc = 0;
done:
	mem_free(q.start);
	mem_free(q.row);
	mem_free(q.value);
	return rc;
}
