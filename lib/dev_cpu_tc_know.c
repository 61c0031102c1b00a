#include "dev_cpu_tc_know.h"

#include <string.h>

#include "dev_cpu_tc.h"

enum {
	NEAR_BYTES = 2 << 20,	/* of rows of x that stay nearer than w */
	MIN_ROWS = 16
};

struct open {			/* a value to compute */
	uint32_t row, at;	/* and which of the row's candidates it is */
};

struct know {
	const struct tc_encode *q;
	struct tc_pick *pick;
	size_t rows, bytes;	/* of an item, and the memory it has */
	char *memory;
};

/* As many rows as stay near, fewer if there are threads without any. */
static size_t item_rows(const struct tc_encode *q)
{
	size_t n = NEAR_BYTES / (sizeof(float) * q->d_in);
	size_t share = q->n / (size_t)par_threads(q->dev->base.pool) + 1;

	n = n < share ? n : share;
	return n < MIN_ROWS ? MIN_ROWS : n;
}

static size_t item_bytes(const struct tc_encode *q, size_t rows)
{
	return (q->n_latents + 2) * sizeof(uint32_t) +
	       rows * q->cap * sizeof(struct open);
}

size_t dev_cpu_tc_know_bytes(const struct tc_encode *q)
{
	size_t rows = item_rows(q);

	return (q->n + rows - 1) / rows * item_bytes(q, rows);
}

/* Whether a row's i-th value is to be computed: of the sure ones those that
 * reach the bar for certain, in the end all. */
static int is_open(const struct tc_pick *p, size_t i, int sure)
{
	return !(p->low[i] == p->up[i]) && (!sure || p->low[i] >= p->bar);
}

/* Counting sort of the open values of n rows: latent j's from start[j] to
 * start[j + 1], in the order of rows. */
static void order(const struct tc_pick *pick, size_t n, size_t n_latents,
                  int sure, uint32_t *start, struct open *open)
{
	uint32_t *at = start + 1;	/* counting leaves starts behind */
	size_t r, i;

	memset(start, 0, (n_latents + 2) * sizeof(*start));
	for (r = 0; r < n; r++)
		for (i = 0; i < pick[r].n; i++)
			at[pick[r].at[i] + 1] += is_open(&pick[r], i, sure);
	for (i = 1; i <= n_latents; i++)
		at[i] += at[i - 1];
	for (r = 0; r < n; r++)
		for (i = 0; i < pick[r].n; i++)
			if (is_open(&pick[r], i, sure))
				open[at[pick[r].at[i]]++] = (struct open){
					(uint32_t)r, (uint32_t)i };
}

/* Computes n rows' values. */
static void know_values(const struct tc_encode *q, const float *x, size_t n,
                        struct tc_pick *pick, int sure, void *memory)
{
	uint32_t *start = memory;
	struct open *open = (struct open *)(void *)(start + q->n_latents + 2);
	size_t d = q->d_in, i, j;

	for (i = 0; i < n; i++)
		dev_cpu_tc_pick_trim(q, &pick[i]);
	order(pick, n, q->n_latents, sure, start, open);
	for (j = 0; j < q->n_latents; j++) {
		const float *w = q->w + j * d;

		for (i = start[j]; i < start[j + 1]; i++) {
			struct tc_pick *p = &pick[open[i].row];
			float v = q->dev->vec->dot(x + open[i].row * d, w, d) +
				q->b[j];

			p->low[open[i].at] = p->up[open[i].at] = v;
		}
	}
}

/* The k, or a few more, that set the bar first: it rises to what they are, from
 * what they are at least, and half the others need not be computed. */
static void know_rows(void *ctx, size_t item, int thread)
{
	const struct know *g = ctx;
	size_t r = item * g->rows, n = g->q->n - r;
	const float *x = g->q->x + r * g->q->d_in;
	void *memory = g->memory + item * g->bytes;

	(void)thread;
	n = n < g->rows ? n : g->rows;
	know_values(g->q, x, n, g->pick + r, 1, memory);
	know_values(g->q, x, n, g->pick + r, 0, memory);
}

void dev_cpu_tc_know(const struct tc_encode *q, struct tc_pick *pick,
                     void *memory)
{
	struct know g = { q, pick, item_rows(q), 0, memory };

	g.bytes = item_bytes(q, g.rows);
	par_for(q->dev->base.pool, (q->n + g.rows - 1) / g.rows, know_rows, &g);
}
