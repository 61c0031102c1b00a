#include "dev_cpu_tc_know.h"

#include <string.h>

#include "dev_cpu_tc.h"

enum {
	NEAR_BYTES = 2 << 20,	/* of rows of x that stay nearer than w */
	MIN_ROWS = 16,
	LATENTS = 32		/* of an item of values: their rows of w stay in */
				/* the second cache */
};

struct open {			/* a value to compute */
	uint32_t row, at;	/* and which of the row's candidates it is */
};

/* Some rows' open values, latent by latent. */
struct list {
	uint32_t *start;	/* [n_latents + 2]: latent j's are those from */
	struct open *open;	/* start[j] to start[j + 1], in order of rows */
};

struct know {
	const struct tc_encode *q;
	struct tc_pick *pick;
	size_t first, end;	/* rows that are near now */
	size_t rows, bytes;	/* of a list, and the memory it has */
	int sure;
	char *memory;
};

/* Rows of a list: each thread has one of the rows that stay near. */
static size_t list_rows(const struct tc_encode *q)
{
	size_t near = NEAR_BYTES / (sizeof(float) * q->d_in);
	size_t threads = (size_t)par_threads(q->dev->base.pool), n;

	n = dev_cpu_div_up(near < q->n ? near : q->n, threads);
	return n < MIN_ROWS ? MIN_ROWS : n;
}

static size_t list_bytes(const struct tc_encode *q, size_t rows)
{
	return (q->n_latents + 2) * sizeof(uint32_t) +
	       rows * q->cap * sizeof(struct open);
}

static struct list list_at(const struct know *g, size_t i)
{
	struct list l;

	l.start = (uint32_t *)(void *)(g->memory + i * g->bytes);
	l.open = (struct open *)(void *)(l.start + g->q->n_latents + 2);
	return l;
}

size_t dev_cpu_tc_know_bytes(const struct tc_encode *q)
{
	return (size_t)par_threads(q->dev->base.pool) *
	       list_bytes(q, list_rows(q));
}

/* Whether a row's i-th value is to be computed: of the sure ones those that
 * reach the bar for certain, in the end all. */
static int is_open(const struct tc_pick *p, size_t i, int sure)
{
	return !dev_cpu_tc_pick_known(p, i) && (!sure || p->low[i] >= p->bar);
}

/* Raises the bars of a list's rows, and sorts their open values by counting. */
static void order(void *ctx, size_t item, int thread)
{
	const struct know *g = ctx;
	struct list l = list_at(g, item);
	uint32_t *at = l.start + 1;	/* counting leaves starts behind */
	size_t r0 = g->first + item * g->rows, r, i;
	size_t end = r0 + g->rows < g->end ? r0 + g->rows : g->end;

	(void)thread;
	memset(l.start, 0, (g->q->n_latents + 2) * sizeof(*l.start));
	for (r = r0; r < end; r++) {
		const struct tc_pick *p = &g->pick[r];

		if (!dev_cpu_tc_pick_trim(g->q, &g->pick[r]))
			dev_cpu_tc_pick_again(g->q, r, &g->pick[r]);
		for (i = 0; i < p->n; i++)
			at[p->at[i] + 1] += is_open(p, i, g->sure);
	}
	for (i = 1; i <= g->q->n_latents; i++)
		at[i] += at[i - 1];
	for (r = r0; r < end; r++) {
		const struct tc_pick *p = &g->pick[r];

		for (i = 0; i < p->n; i++)
			if (is_open(p, i, g->sure))
				l.open[at[p->at[i]]++] = (struct open){
					(uint32_t)r, (uint32_t)i };
	}
}

/* The first latent from j on, below end, that has open values in a list. */
static size_t first_open(const struct list *l, size_t j, size_t end)
{
	while (j < end && l->start[j] == l->start[j + 1])
		j++;
	return j;
}

/* Computes a list's values of latents [j, end); the row of w behind each is
 * asked for meanwhile. */
static void list_values(const struct know *g, const struct list *l, size_t j,
                        size_t end)
{
	const struct tc_encode *q = g->q;
	size_t d = q->d_in, i, next;

	for (j = first_open(l, j, end); j < end; j = next) {
		const float *w = q->w + j * d;

		next = first_open(l, j + 1, end);
		if (next < end)
			dev_cpu_fetch(q->w + next * d, d * sizeof(*w));
		for (i = l->start[j]; i < l->start[j + 1]; i++) {
			struct open o = l->open[i];
			struct tc_pick *p = &g->pick[o.row];
			float v = q->dev->vec->dot(q->x + o.row * d, w, d) +
				q->b[j];

			p->low[o.at] = p->up[o.at] = v;
		}
	}
}

static size_t blocks(const struct tc_encode *q)
{
	return dev_cpu_div_up(q->n_latents, LATENTS);
}

static void values(void *ctx, size_t item, int thread)
{
	const struct know *g = ctx;
	/* first down, then up, each thread in its share: it has packed these rows
	 * of w, and will step them */
	size_t block = g->sure ? par_mirror(g->q->dev->base.pool, blocks(g->q),
	                                    item) : item;
	size_t j = block * LATENTS, left = g->q->n_latents - j, r, i;

	(void)thread;
	for (r = g->first, i = 0; r < g->end; r += g->rows, i++) {
		struct list l = list_at(g, i);

		list_values(g, &l, j, j + (left < LATENTS ? left : LATENTS));
	}
}

static void know_open(struct know *g, int sure)
{
	struct par *pool = g->q->dev->base.pool;

	g->sure = sure;
	par_for(pool, dev_cpu_div_up(g->end - g->first, g->rows), order, g);
	par_for(pool, blocks(g->q), values, g);
}

void dev_cpu_tc_know(const struct tc_encode *q, struct tc_pick *pick,
                     void *memory)
{
	struct know g = { .q = q, .pick = pick, .rows = list_rows(q),
	                  .memory = memory };
	size_t near = g.rows * (size_t)par_threads(q->dev->base.pool);

	g.bytes = list_bytes(q, g.rows);
	for (; g.first < q->n; g.first = g.end) {
		g.end = q->n - g.first < near ? q->n : g.first + near;
		know_open(&g, 1);
		know_open(&g, 0);
	}
}
