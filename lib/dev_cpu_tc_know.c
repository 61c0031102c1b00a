#include "dev_cpu_tc_know.h"

#include <string.h>

#include "dev_cpu_tc.h"

enum { LATENTS = 64 };		/* of an item */

struct open {			/* a value to compute */
	uint32_t row, at;	/* and which of the row's candidates it is */
};

struct know {
	const struct tc_encode *q;
	struct tc_pick *pick;
	uint32_t *start;	/* [n_latents + 2] */
	struct open *open;	/* of latent j: start[j] to start[j + 1] */
};

size_t dev_cpu_tc_know_bytes(const struct tc_encode *q)
{
	return (q->n_latents + 2) * sizeof(uint32_t) +
	       q->n * q->cap * sizeof(struct open);
}

static int is_open(const struct tc_pick *p, size_t i)
{
	return !(p->low[i] == p->up[i]);
}

/* Counting sort: a latent's in the order of rows. */
static void order(const struct know *g)
{
	const struct tc_encode *q = g->q;
	uint32_t *at = g->start + 1;	/* counting leaves starts behind */
	size_t r, i;

	memset(g->start, 0, (q->n_latents + 2) * sizeof(*g->start));
	for (r = 0; r < q->n; r++)
		for (i = 0; i < g->pick[r].n; i++)
			at[g->pick[r].at[i] + 1] += is_open(&g->pick[r], i);
	for (i = 1; i <= q->n_latents; i++)
		at[i] += at[i - 1];
	for (r = 0; r < q->n; r++)
		for (i = 0; i < g->pick[r].n; i++)
			if (is_open(&g->pick[r], i))
				g->open[at[g->pick[r].at[i]]++] =
					(struct open){ (uint32_t)r, (uint32_t)i };
}

static void latents(void *ctx, size_t first, size_t n)
{
	const struct know *g = ctx;
	const struct tc_encode *q = g->q;
	size_t d = q->d_in, j, i, end = g->start[first + n], l;

	for (j = first; j < first + n; j++) {
		const float *w = q->w + j * d;

		for (i = g->start[j]; i < g->start[j + 1]; i++) {
			const struct open *o = &g->open[i];
			struct tc_pick *p = &g->pick[o->row];

			/* rows are too short for a processor to see a stream */
			for (l = 0; i + 1 < end && l < d; l += 64 / sizeof(*w))
				__builtin_prefetch(q->x + o[1].row * d + l);
			p->low[o->at] = p->up[o->at] =
				q->dev->vec->dot(q->x + o->row * d, w, d) +
				q->b[j];
		}
	}
}

void dev_cpu_tc_know(const struct tc_encode *q, struct tc_pick *pick,
                     void *memory)
{
	struct know g = { q, pick, memory, NULL };

	g.open = (struct open *)(void *)(g.start + q->n_latents + 2);
	order(&g);
	dev_cpu_ranges(q->dev, q->n_latents, LATENTS, latents, &g);
}
