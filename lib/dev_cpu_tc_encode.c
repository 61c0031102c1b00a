/*
 * Exact TopK encoding on the CPU, fused with its product: a tile of rows meets
 * the latents block by block, each block's pre-activations stay in cache and
 * only those that may be among a row's k largest leave it, as sortable keys.
 * A row's keys are cut back to its k largest whenever their buffer is full, and
 * the smallest of these is the bar for all later ones. Latents come in
 * ascending order, so a value equal to the bar loses, as ties must.
 *
 * The first block sets a bar before any key is taken: of the maxima of 64
 * interleaved columns, the k-th is reached by k values at least, each in a
 * column of its own.
 */
#include <cblas.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "dev_cpu_tc.h"
#include "mem.h"

enum {
	ROWS = 256,		/* of a tile */
	BLOCK = 512,		/* latents whose pre-activations are held */
	PASS_ROWS = 4096,	/* rows whose candidates are held at once */
	ITEMS_WANTED = 32,	/* pieces of work, if latents allow */
	COLUMNS = 64,		/* whose maxima set the first bar */
	SPLIT_MIN = 1024	/* latents below which a tile is not split */
};

struct encode {
	struct dev_cpu *dev;
	const struct tc_loops *loops;
	const float *x, *w, *b;
	const uint32_t *ids;
	size_t n, d_in, n_latents, k, cap;
	size_t n_splits, split;		/* latents per split */
	uint64_t *kept;			/* [n, n_splits, k] */
	uint32_t *n_kept;		/* [n, n_splits] */
	uint32_t *latent;
	float *value;
};

static void swap(uint64_t *a, uint64_t *b)
{
	uint64_t t = *a;

	*a = *b;
	*b = t;
}

/* Hoare's partition around the median of three, descending: returns p with
 * v[0..p) >= pivot >= v[p..n), 0 < p < n. n >= 3, keys distinct. */
static size_t partition(uint64_t *v, size_t n)
{
	size_t i = 0, j = n - 1, mid = n / 2;
	uint64_t pivot;

	if (v[mid] > v[0])
		swap(&v[mid], &v[0]);
	if (v[n - 1] > v[0])
		swap(&v[n - 1], &v[0]);
	if (v[n - 1] > v[mid])
		swap(&v[n - 1], &v[mid]);
	pivot = v[mid];
	for (;;) {
		while (v[i] > pivot)
			i++;
		while (v[j] < pivot)
			j--;
		if (i >= j)
			return i ? i : 1;
		swap(&v[i++], &v[j--]);
	}
}

static void insertion_sort(uint64_t *v, size_t n)
{
	size_t i, j;

	for (i = 1; i < n; i++) {
		uint64_t t = v[i];

		for (j = i; j > 0 && v[j - 1] < t; j--)
			v[j] = v[j - 1];
		v[j] = t;
	}
}

/* Moves the k largest of n keys to the front, in any order. */
static void select_top(uint64_t *v, size_t n, size_t k)
{
	while (n > k && n > 12) {
		size_t p = partition(v, n);

		if (p <= k) {	/* the first p are in */
			v += p;
			n -= p;
			k -= p;
			if (k == 0)
				return;
		} else {
			n = p;
		}
	}
	if (n > k)
		insertion_sort(v, n);
}

static void sort_down(uint64_t *v, size_t n)
{
	while (n > 24) {
		size_t p = partition(v, n);

		if (p < n - p) {	/* recurse into the shorter part */
			sort_down(v, p);
			v += p;
			n -= p;
		} else {
			sort_down(v + p, n - p);
			n = p;
		}
	}
	insertion_sort(v, n);
}

static float smallest(const uint64_t *v, size_t n)
{
	uint64_t least = v[0];
	size_t i;

	for (i = 1; i < n; i++)
		least = v[i] < least ? v[i] : least;
	return tc_key_value(least);
}

struct tile {			/* what a thread's scratch holds */
	float *pre;		/* [ROWS, BLOCK] */
	uint64_t *key;		/* [ROWS, cap] */
	size_t *n_key;		/* [ROWS] */
	float *bar;		/* [ROWS] */
};

static size_t tile_bytes(size_t cap)
{
	return ROWS * (BLOCK * sizeof(float) + cap * sizeof(uint64_t) +
	               sizeof(size_t) + sizeof(float));
}

static struct tile tile_at(void *scratch, size_t cap)
{
	struct tile t;

	t.key = scratch;
	t.n_key = (size_t *)(t.key + ROWS * cap);
	t.pre = (float *)(t.n_key + ROWS);
	t.bar = t.pre + ROWS * BLOCK;
	return t;
}

/* A bar that at least k of the n values reach; 0 where k is too many. Below
 * the value itself, so that those equal to it still pass. */
static float first_bar(const struct encode *q, const float *pre, size_t first,
                       size_t n)
{
	float most[COLUMNS];
	uint64_t key[COLUMNS];
	size_t i, m = 0;

	if (q->k >= COLUMNS)
		return 0;
	q->loops->columns(pre, q->b + first, n, most);
	for (i = 0; i < COLUMNS; i++)
		if (most[i] > 0)
			key[m++] = tc_key(most[i], (uint32_t)i);
	if (m < q->k)
		return 0;
	select_top(key, m, q->k);
	return nextafterf(smallest(key, q->k), 0);
}

/* Offers pre-activations of latents [first, first + n) to one row's keys. */
static void offer(const struct encode *q, const struct tile *t, size_t row,
                  const float *pre, size_t first, size_t n)
{
	uint64_t *key = t->key + row * q->cap;
	size_t i = 0;

	while ((i = q->loops->collect(pre, q->b + first, i, n, t->bar[row],
	                              (uint32_t)first,
	                              q->ids ? q->ids + first : NULL, key,
	                              &t->n_key[row], q->cap)) < n) {
		select_top(key, t->n_key[row], q->k);
		t->n_key[row] = q->k;
		t->bar[row] = smallest(key, q->k);
	}
}

static void write_codes(const struct encode *q, size_t row, uint64_t *key,
                        size_t n)
{
	uint32_t *latent = q->latent + row * q->k;
	float *value = q->value + row * q->k;
	size_t i;

	select_top(key, n, q->k);
	n = n < q->k ? n : q->k;
	sort_down(key, n);
	for (i = 0; i < n; i++) {
		latent[i] = tc_key_latent(key[i]);
		value[i] = tc_key_value(key[i]);
	}
	for (; i < q->k; i++) {
		latent[i] = DEV_TC_NONE;
		value[i] = 0;
	}
}

static void encode_tile(void *ctx, size_t item, int thread)
{
	const struct encode *q = ctx;
	struct tile t = tile_at(dev_cpu_scratch(q->dev, thread), q->cap);
	size_t r0 = item / q->n_splits * ROWS, s = item % q->n_splits;
	size_t rows = q->n - r0 < ROWS ? q->n - r0 : ROWS;
	size_t at = s * q->split, end = at + q->split, r;

	if (end > q->n_latents)
		end = q->n_latents;
	for (r = 0; r < rows; r++)
		t.n_key[r] = 0;
	for (; at < end; at += BLOCK) {
		size_t m = end - at < BLOCK ? end - at : BLOCK;

		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows,
		            (int)m, (int)q->d_in, 1, q->x + r0 * q->d_in,
		            (int)q->d_in, q->w + at * q->d_in, (int)q->d_in, 0,
		            t.pre, BLOCK);
		for (r = 0; r < rows; r++) {
			const float *pre = t.pre + r * BLOCK;

			if (at == s * q->split)
				t.bar[r] = first_bar(q, pre, at, m);
			offer(q, &t, r, pre, at, m);
		}
	}
	for (r = 0; r < rows; r++) {
		uint64_t *key = t.key + r * q->cap;
		size_t part = (r0 + r) * q->n_splits + s, m = t.n_key[r];

		if (q->n_splits == 1) {
			write_codes(q, r0 + r, key, m);
			continue;
		}
		select_top(key, m, q->k);
		m = m < q->k ? m : q->k;
		memcpy(q->kept + part * q->k, key, m * sizeof(*key));
		q->n_kept[part] = (uint32_t)m;
	}
}

/* Joins what the splits kept of one tile's rows. */
static void merge_tile(void *ctx, size_t item, int thread)
{
	const struct encode *q = ctx;
	size_t r = item * ROWS, end = q->n - r < ROWS ? q->n : r + ROWS, s;

	(void)thread;
	for (; r < end; r++) {
		uint64_t *key = q->kept + r * q->n_splits * q->k;
		size_t n = q->n_kept[r * q->n_splits];

		for (s = 1; s < q->n_splits; s++) {
			size_t m = q->n_kept[r * q->n_splits + s];

			memmove(key + n, key + s * q->k, m * sizeof(*key));
			n += m;
		}
		write_codes(q, r, key, n);
	}
}

static int encode_pass(struct encode *q, struct err *e)
{
	size_t tiles = (q->n + ROWS - 1) / ROWS;
	int rc = -1;

	q->n_splits = (ITEMS_WANTED + tiles - 1) / tiles;
	if (q->n_splits > q->n_latents / SPLIT_MIN)
		q->n_splits = q->n_latents / SPLIT_MIN;
	if (q->n_splits < 1)
		q->n_splits = 1;
	q->split = (q->n_latents + q->n_splits - 1) / q->n_splits;
	q->split = (q->split + BLOCK - 1) / BLOCK * BLOCK;
	q->n_splits = (q->n_latents + q->split - 1) / q->split;
	q->kept = NULL;
	q->n_kept = NULL;
	if (q->n_splits > 1) {
		q->kept = mem_scratch(q->n * q->n_splits,
		                      q->k * sizeof(*q->kept), e);
		q->n_kept = mem_scratch(q->n * q->n_splits,
		                        sizeof(*q->n_kept), e);
		if (!q->kept || !q->n_kept)
			goto done;
	}
	par_for(q->dev->base.pool, tiles * q->n_splits, encode_tile, q);
	if (q->n_splits > 1)
		par_for(q->dev->base.pool, tiles, merge_tile, q);
	rc = 0;
done:
	mem_free(q->kept);
	mem_free(q->n_kept);
	return rc;
}

int dev_cpu_tc_encode(struct dev *d, const float *x, size_t n, size_t d_in,
                  const float *w, const float *b, size_t n_latents,
                  const uint32_t *ids, struct dev_tc_codes *out,
                  struct err *e)
{
	struct encode q = {
		.dev = (struct dev_cpu *)d, .loops = dev_cpu_tc_loops(), .w = w,
		.b = b, .ids = ids, .d_in = d_in, .n_latents = n_latents,
		.k = out->k
	};
	size_t i, wanted;

	out->n = n;
	if (out->k == 0 || d_in == 0 || d_in > INT_MAX ||
	    n_latents > UINT32_MAX - 1)
		return err_set(e, ERR_RANGE, "encode: k %zu, width %zu, %zu "
		               "latents", out->k, d_in, n_latents);
	if (n_latents == 0) {
		for (i = 0; i < n * q.k; i++) {
			out->latent[i] = DEV_TC_NONE;
			out->value[i] = 0;
		}
		return 0;
	}
	wanted = q.k < n_latents ? q.k : n_latents;
	q.cap = wanted + (wanted < 112 ? 128 : wanted + 16);
	if (dev_cpu_scratch_need(q.dev, tile_bytes(q.cap), e) < 0)
		return -1;
	for (i = 0; i < n; i += PASS_ROWS) {
		q.n = n - i < PASS_ROWS ? n - i : PASS_ROWS;
		q.x = x + i * d_in;
		q.latent = out->latent + i * q.k;
		q.value = out->value + i * q.k;
		if (encode_pass(&q, e) < 0)
			return -1;
	}
	return 0;
}
