#include "dev_cpu_tc_pick.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "dev_cpu_tc.h"

enum {
	ROOM = 640,	/* candidates beyond k, about */
	FEW = 64,	/* that join between two cuts at least */
	HALVINGS = 32,	/* of a search for a bar, at most */
	MARGIN = 3	/* of a bar raised on trust: standard deviations, and as
			 * many latents */
};

size_t dev_cpu_tc_pick_cap(size_t k)
{
	return (k + (k > ROOM ? k : ROOM) + TC_PICK_STEP + 15) / 16 * 16;
}

size_t dev_cpu_tc_pick_bytes(size_t n, size_t cap)
{
	return n * (sizeof(struct tc_pick) + cap * (2 * sizeof(float) +
	                                            sizeof(uint32_t)));
}

struct tc_pick *dev_cpu_tc_pick_rows(void *block, size_t n, size_t cap)
{
	struct tc_pick *p = block;
	float *at = (float *)(p + n);
	size_t i;

	for (i = 0; i < n; i++, at += 3 * cap) {
		p[i].up = at;
		p[i].low = at + cap;
		p[i].at = (uint32_t *)(at + 2 * cap);
		dev_cpu_tc_pick_start(&p[i], cap);
	}
	return p;
}

/* When so many are left. */
static void set_full(struct tc_pick *p, size_t cap)
{
	size_t more = p->n > FEW ? p->n : FEW;

	p->full = p->n + more < cap ? p->n + more : cap;
}

void dev_cpu_tc_pick_start(struct tc_pick *p, size_t cap)
{
	p->n = 0;
	set_full(p, cap);
	p->bar = FLT_TRUE_MIN;
	p->again = 0;
}

float dev_cpu_tc_norm(const struct tc_loops *loops, const float *v, size_t n)
{
	return dev_cpu_tc_norm_of(loops->sq(v, NULL, n));
}

/* ---- keys ----------------------------------------------------------------- */

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


/* ---- candidates ----------------------------------------------------------- */

/* The bar rises to what `want`, or a few more, of the lower bounds reach: a search
 * by halves, which may end before it has found them. Whether so many reach it. */
static int raise(const struct tc_encode *q, struct tc_pick *p, size_t want)
{
	size_t few = want + want / 16, have, n, whole = p->n;
	float lo = p->bar, hi, mid;
	int left = HALVINGS;

	while (whole % 16)	/* there is room, and count has no tail */
		p->low[whole++] = NAN;
	if (p->n < want ||
	    (have = q->loops->count(p->low, whole, lo)) < want)
		return 0;
	hi = q->dev->vec->max(p->low, p->n);
	while (have > few && lo < hi && left--) {
		mid = lo + (hi - lo) / 2;
		n = q->loops->count(p->low, whole, mid);
		if (n < want) {
			hi = mid;
		} else {
			lo = mid;
			have = n;
		}
	}
	p->bar = lo;
	return 1;
}

/* Asks for row i of w if it will be wanted. */
static void fetch(const struct tc_encode *q, const struct tc_pick *p, size_t i)
{
	if (!dev_cpu_tc_pick_known(p, i))
		dev_cpu_fetch(q->w + p->at[i] * q->d_in, q->d_in *
		              sizeof(*q->w));
}

/* Computes what is not known yet; where the bounds meet the value is. */
static void know(const struct tc_encode *q, size_t row, struct tc_pick *p)
{
	const float *x = q->x + row * q->d_in;
	size_t i, n = 0;

	for (i = 0; i < p->n; i++) {
		float v = p->up[i];
		uint32_t at = p->at[i];

		if (i + 1 < p->n)
			fetch(q, p, i + 1);
		if (!dev_cpu_tc_pick_known(p, i))
			v = q->dev->vec->dot(x, q->w + at * q->d_in, q->d_in) +
			    q->b[at];
		p->up[n] = p->low[n] = v;
		p->at[n] = at;
		n += v >= p->bar;
	}
	p->n = n;
}

/* Known candidates as keys, in the memory of their bounds: key i lies where up
 * 2 i and its neighbour were, or behind them. */
static uint64_t *to_keys(struct tc_pick *p)
{
	uint64_t *key = (uint64_t *)(void *)p->up, one;
	size_t i;

	for (i = p->n; i-- > 0;) {
		one = tc_key(p->up[i], p->at[i]);
		key[i] = one;
	}
	return key;
}

/* The n first keys as candidates again; 2 n is below the room for either. */
static void from_keys(struct tc_pick *p, size_t n)
{
	const uint64_t *key = (const uint64_t *)(const void *)p->up;
	size_t i;

	p->n = n;
	for (i = 0; i < n; i++) {
		uint64_t one = key[i];

		p->at[i] = tc_key_latent(one);
		p->up[i] = tc_key_value(one);
		p->low[i] = tc_key_value(one);
	}
}

size_t dev_cpu_tc_pick_want(const struct tc_encode *q, size_t seen)
{
	/* were latents in no order, hypergeometric: below Poisson's spread */
	double mean = (double)q->k * (double)seen / (double)q->n_latents;
	double want = mean + MARGIN * sqrt(mean) + MARGIN;

	return !q->dev->distrust && want < (double)q->k ? (size_t)want : q->k;
}

int dev_cpu_tc_pick_trim(const struct tc_encode *q, struct tc_pick *p)
{
	int reached = raise(q, p, q->k);

	if (reached)
		p->bar = q->loops->least(p->low, p->n, p->bar);
	q->loops->drop(p);
	return reached || !(p->bar > FLT_TRUE_MIN);
}

void dev_cpu_tc_pick_cut(const struct tc_encode *q, size_t row,
                         struct tc_pick *p, size_t want, size_t most)
{
	raise(q, p, want);
	q->loops->drop(p);
	if (p->n > most) {
		know(q, row, p);
		if (p->n > q->k) {
			select_top(to_keys(p), p->n, q->k);
			from_keys(p, q->k);
			raise(q, p, q->k);
		}
	}
	set_full(p, q->cap);
}

void dev_cpu_tc_pick_again(const struct tc_encode *q, size_t row,
                           struct tc_pick *p)
{
	const float *x = q->x + row * q->d_in;
	size_t j;

	dev_cpu_tc_pick_start(p, q->cap);
	p->again = 1;
	for (j = 0; j < q->n_latents; j++) {
		float v = q->dev->vec->dot(x, q->w + j * q->d_in, q->d_in) +
			q->b[j];

		if (!(v >= p->bar))
			continue;
		p->up[p->n] = p->low[p->n] = v;
		p->at[p->n++] = (uint32_t)j;
		if (p->n == p->full)
			dev_cpu_tc_pick_cut(q, row, p, q->k, q->k);
	}
	dev_cpu_tc_pick_cut(q, row, p, q->k, q->k);
}

/* Whether no value is left to compute. */
static int all_known(const struct tc_pick *p)
{
	size_t i = 0;

	while (i < p->n && dev_cpu_tc_pick_known(p, i))
		i++;
	return i == p->n;
}

void dev_cpu_tc_pick_write(const struct tc_encode *q, size_t row,
                           struct tc_pick *p)
{
	uint32_t *latent = q->latent + row * q->k;
	float *value = q->value + row * q->k;
	uint64_t *key;
	size_t i, n;

	if (!all_known(p))	/* else a bar would spare nothing */
		dev_cpu_tc_pick_trim(q, p);
	know(q, row, p);
	key = to_keys(p);
	select_top(key, p->n, q->k);
	n = p->n < q->k ? p->n : q->k;
	sort_down(key, n);
	for (i = 0; i < n; i++) {
		uint32_t at = tc_key_latent(key[i]);

		latent[i] = q->ids ? q->ids[at] : at;
		value[i] = tc_key_value(key[i]);
	}
	for (; i < q->k; i++) {
		latent[i] = DEV_TC_NONE;
		value[i] = 0;
	}
}
