#include "dev_cpu_tc_cols.h"

#include <math.h>
#include <string.h>

#include "dev_cpu.h"

enum {
	ROWS = 8, LATENTS = 24,	/* looked at: a thousandth of the product */
	MAX_CHUNKS = TC_MAX_IN / TC_CHUNK, MAX_BLOCKS = MAX_CHUNKS / 2
};

void dev_cpu_tc_cols_wide(struct tc_cols *c, size_t d)
{
	size_t i;

	c->d = d;
	c->wide = (d + TC_CHUNK - 1) / TC_CHUNK;
	c->narrow = 0;
	for (i = 0; i < c->wide; i++)
		c->chunk[i] = (uint16_t)i;
}

/* Row i of n that are spread over `all`. */
static size_t nth(size_t i, size_t n, size_t all)
{
	return i * all / n;
}

static float chunk_top(const float *v, size_t d, size_t chunk)
{
	size_t j = chunk * TC_CHUNK, end = j + TC_CHUNK < d ? j + TC_CHUNK : d;
	float top = 0;

	for (; j < end; j++)
		top = fabsf(v[j]) > top ? fabsf(v[j]) : top;
	return top;
}

static double chunk_sq(const float *v, size_t d, size_t chunk)
{
	size_t j = chunk * TC_CHUNK, end = j + TC_CHUNK < d ? j + TC_CHUNK : d;
	double sq = 0;

	for (; j < end; j++)
		sq += (double)v[j] * v[j];
	return sq;
}

/* The wide chunks sorted by what their largest values of x are, largest first. */
static void sort_chunks(struct tc_cols *c, const struct tc_encode *q)
{
	float top[MAX_CHUNKS];
	size_t i, j;

	for (i = 0; i < c->wide; i++) {
		for (top[i] = 0, j = 0; j < ROWS; j++)
			top[i] += chunk_top(q->x + nth(j, ROWS, q->n) *
			                    q->d_in, q->d_in, i);
		for (j = i; j > 0 && top[c->chunk[j - 1]] < top[i]; j--)
			c->chunk[j] = c->chunk[j - 1];
		c->chunk[j] = (uint16_t)i;
	}
}

static void sort(float *v, size_t n)
{
	size_t i, j;

	for (i = 1; i < n; i++) {
		float t = v[i];

		for (j = i; j > 0 && v[j - 1] > t; j--)
			v[j] = v[j - 1];
		v[j] = t;
	}
}

/* The mean over rows of what a value's standard deviation over latents would be
 * were it normal: from the median distance from the median, since a latent that
 * fires strongly among so few would be taken for many. */
static double spread(const struct tc_encode *q)
{
	float v[LATENTS], mid;
	double sum = 0;
	size_t i, j;

	for (i = 0; i < ROWS; i++) {
		const float *x = q->x + nth(i, ROWS, q->n) * q->d_in;

		for (j = 0; j < LATENTS; j++) {
			size_t l = nth(j, LATENTS, q->n_latents);

			v[j] = q->dev->vec->dot(x, q->w + l * q->d_in,
			                        q->d_in) + q->b[l];
		}
		sort(v, LATENTS);
		mid = v[LATENTS / 2];
		for (j = 0; j < LATENTS; j++)
			v[j] = fabsf(v[j] - mid);
		sort(v, LATENTS);
		sum += 1.4826 * (double)v[LATENTS / 2];
	}
	return sum / ROWS;
}

/* Means over n sampled rows of v of the narrow part's norm and of what rounding
 * takes, as the narrow part grows block by block from the last. */
struct part {
	double norm[MAX_BLOCKS], off[MAX_BLOCKS];	/* of `i + 1` blocks */
};

/* What the integers of a chunk with this sum of squares want to be apart; half a
 * block is about a chunk. */
static double chunk_step(const struct tc_narrow *n, const float *v, size_t d,
                         size_t chunk, double sq)
{
	double top = (double)chunk_top(v, d, chunk) / n->byte;
	double half = n->half ? sqrt(sq) / n->half : 0;

	return top > half ? top : half;
}

/* `each`: blocks have steps of their own, else all that of the largest. */
static void narrow_parts(const struct tc_cols *c, const struct tc_narrow *kind,
                         const float *v, size_t all, size_t n, int each,
                         struct part *p)
{
	size_t i, j, u;

	memset(p, 0, sizeof(*p));
	for (j = 0; j < n; j++) {
		const float *row = v + nth(j, n, all) * c->d;
		double sq = 0, off = 0, most = 0, step, one;

		for (i = 0; i < c->wide / 2; i++) {
			for (step = 0, u = 0; u < 2; u++) {
				size_t chunk = c->chunk[c->wide - 1 - 2 * i - u];

				one = chunk_sq(row, c->d, chunk);
				sq += one;
				one = chunk_step(kind, row, c->d, chunk, one);
				step = one > step ? one : step;
			}
			most = step > most ? step : most;
			off += TC_BLOCK / 12.0 * step * step;
			if (!each)
				off = TC_BLOCK / 12.0 * (double)(i + 1) *
				      most * most;
			p->norm[i] += sqrt(sq) / (double)n;
			p->off[i] += sqrt(off) / (double)n;
		}
	}
}

void dev_cpu_tc_cols_choose(struct tc_cols *c, const struct tc_encode *q,
                            const struct tc_narrow *n)
{
	struct part x, w;
	double limit = n->share * spread(q), width;
	size_t i, narrow = 0;

	dev_cpu_tc_cols_wide(c, q->d_in);
	sort_chunks(c, q);
	narrow_parts(c, n, q->x, q->n, ROWS, 1, &x);
	narrow_parts(c, n, q->w, q->n_latents, LATENTS, 0, &w);
	for (i = 0; i < c->wide / 2; i++) {
		width = x.off[i] * w.norm[i] + x.norm[i] * w.off[i];
		if (!(width <= limit))
			break;
		narrow = 2 * (i + 1);
	}
	c->wide -= narrow;
	c->narrow = narrow;
}
