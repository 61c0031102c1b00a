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

static int is_open(const struct tc_pick *p, size_t i)
{
	return !(p->low[i] == p->up[i]);
}

/* Counting sort of the open values of n rows: latent j's from start[j] to
 * start[j + 1], in the order of rows. */
static void order(const struct tc_pick *pick, size_t n, size_t n_latents,
                  uint32_t *start, struct open *open)
{
	uint32_t *at = start + 1;	/* counting leaves starts behind */
	size_t r, i;

	memset(start, 0, (n_latents + 2) * sizeof(*start));
	for (r = 0; r < n; r++)
		for (i = 0; i < pick[r].n; i++)
			at[pick[r].at[i] + 1] += is_open(&pick[r], i);
	for (i = 1; i <= n_latents; i++)
		at[i] += at[i - 1];
	for (r = 0; r < n; r++)
		for (i = 0; i < pick[r].n; i++)
			if (is_open(&pick[r], i))
				open[at[pick[r].at[i]]++] = (struct open){
					(uint32_t)r, (uint32_t)i };
}

static void know_rows(void *ctx, size_t item, int thread)
{
	const struct know *g = ctx;
	const struct tc_encode *q = g->q;
	size_t r = item * g->rows, n = q->n - r, d = q->d_in, j, i;
	uint32_t *start = (uint32_t *)(void *)(g->memory + item * g->bytes);
	struct open *open = (struct open *)(void *)(start + q->n_latents + 2);
	struct tc_pick *pick = g->pick + r;
	const float *x = q->x + r * d, *w;

	(void)thread;
	n = n < g->rows ? n : g->rows;
	for (i = 0; i < n; i++)
		dev_cpu_tc_pick_trim(q, &pick[i]);
	order(pick, n, q->n_latents, start, open);
	for (j = 0; j < q->n_latents; j++) {
		w = q->w + j * d;
		for (i = start[j]; i < start[j + 1]; i++) {
			struct tc_pick *p = &pick[open[i].row];
			float v = q->dev->vec->dot(x + open[i].row * d, w, d) +
				q->b[j];

			p->low[open[i].at] = p->up[open[i].at] = v;
		}
	}
}

void dev_cpu_tc_know(const struct tc_encode *q, struct tc_pick *pick,
                     void *memory)
{
	struct know g = { q, pick, item_rows(q), 0, memory };

	g.bytes = item_bytes(q, g.rows);
	par_for(q->dev->base.pool, (q->n + g.rows - 1) / g.rows, know_rows, &g);
}
