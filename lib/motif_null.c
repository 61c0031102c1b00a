#include <string.h>

#include "mem.h"
#include "motif_impl.h"
#include "stats.h"

/*
 * Random graphs.
 *
 * Swapping: two edges a -> b, c -> d picked with replacement become a -> d,
 * c -> b unless that makes a loop or an edge that is there already; then, and
 * when both are the same edge, nothing happens, and that counts as an attempt.
 * So every step is as likely as its reverse, and staying is possible: whatever
 * can be reached is equally likely in the end. Where edges may point both ways a
 * third move is needed, to turn a cycle of three nodes whose other edges are
 * absent (Rao, Jana and Bandyopadhyay, Sankhya A 58, 1996): it is tried when the
 * picked edges follow each other.
 *
 * Trading, between two different layers: two nodes of the lower one put the
 * targets that only one of them has into one heap and draw from it as many as
 * each gave, in any order (Strona et al., Nature Communications 5, 2014; that
 * all graphs of the same degrees are equally likely in the end: Carstens, Phys.
 * Rev. E 91, 2015). A trade is many swaps at once, and where most edges that
 * could be are there, as between the layers of attribution graphs, nine swaps in
 * ten are refused while trades are not. What can be reached is what swaps reach:
 * signs stay with their node, and one that shares all its targets, or has all
 * that there are, trades none.
 */

/* The numbers of one random graph: value i is mix(key + i * step). */
struct rng {
	uint64_t at;
};

static uint64_t draw(struct rng *r)
{
	uint64_t z = r->at += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* 0 .. n - 1, each as likely, from the upper half of a draw; the rare values
 * that would favour some are drawn again (Lemire). */
static uint32_t below(struct rng *r, uint32_t n)
{
	uint64_t v = (draw(r) >> 32) * n;

	if ((uint32_t)v < n)
		while ((uint32_t)v < -n % n)
			v = (draw(r) >> 32) * n;
	return (uint32_t)(v >> 32);
}

/* Two at once. */
static void below2(struct rng *r, uint32_t n, uint32_t *i, uint32_t *j)
{
	uint64_t z = draw(r), v = (z >> 32) * n, w = (uint64_t)(uint32_t)z * n;

	if ((uint32_t)v < n || (uint32_t)w < n)
		while ((uint32_t)v < -n % n || (uint32_t)w < -n % n) {
			z = draw(r);
			v = (z >> 32) * n;
			w = (uint64_t)(uint32_t)z * n;
		}
	*i = (uint32_t)(v >> 32);
	*j = (uint32_t)(w >> 32);
}

/*
 * The edges that are there: bit rows for few nodes, else a hash table of edges
 * + 1 (0: free) with linear probing.
 */
struct set {
	uint64_t *bits;		/* or NULL */
	size_t n_words;
	uint64_t *slots;
	size_t mask;
};

struct motif_shuffle {
	const struct motif_frame *f;
	uint32_t *from, *to;	/* [n_edges] */
	uint8_t *minus;
	struct set set;
	uint8_t *mark;		/* [n_nodes], 0 between uses */
	uint32_t *heap;		/* [2 n_nodes]: edges of two nodes */
	uint64_t *word;		/* [n_nodes]: rows of a pair as bits */
};

static size_t slot_of(const struct set *s, uint64_t key)
{
	size_t at = (key * 0x9e3779b97f4a7c15) >> 20 & s->mask;

	while (s->slots[at] && s->slots[at] != key)
		at = (at + 1) & s->mask;
	return at;
}

static uint64_t key_of(uint32_t u, uint32_t v)
{
	return ((uint64_t)u << 32 | v) + 1;
}

static int has(const struct set *s, uint32_t u, uint32_t v)
{
	if (s->bits)
		return (int)(s->bits[u * s->n_words + v / 64] >> v % 64 & 1);
	return s->slots[slot_of(s, key_of(u, v))] != 0;
}

static void insert(struct set *s, uint32_t u, uint32_t v)
{
	if (s->bits)
		s->bits[u * s->n_words + v / 64] |= 1ull << v % 64;
	else
		s->slots[slot_of(s, key_of(u, v))] = key_of(u, v);
}

static void erase(struct set *s, uint32_t u, uint32_t v)
{
	size_t at, next, home;

	if (s->bits) {
		s->bits[u * s->n_words + v / 64] &= ~(1ull << v % 64);
		return;
	}
	/* what follows moves up, so that no probe meets a gap too early */
	at = slot_of(s, key_of(u, v));
	for (next = (at + 1) & s->mask; s->slots[next];
	     next = (next + 1) & s->mask) {
		home = (s->slots[next] * 0x9e3779b97f4a7c15) >> 20 & s->mask;
		if (((next - home) & s->mask) < ((next - at) & s->mask))
			continue;
		s->slots[at] = s->slots[next];
		at = next;
	}
	s->slots[at] = 0;
}

static void empty(struct set *s, uint32_t n_nodes)
{
	if (s->bits)
		memset(s->bits, 0, n_nodes * s->n_words * sizeof(*s->bits));
	else
		memset(s->slots, 0, (s->mask + 1) * sizeof(*s->slots));
}

struct motif_shuffle *motif_shuffle_new(const struct motif_frame *f,
                                        struct err *e)
{
	struct motif_shuffle *s = mem_array(1, sizeof(*s), e);
	size_t n = 64;

	if (!s)
		return NULL;
	s->f = f;
	s->from = mem_scratch(f->n_edges, sizeof(*s->from), e);
	s->to = mem_scratch(f->n_edges, sizeof(*s->to), e);
	s->minus = mem_scratch(f->n_edges, 1, e);
	s->mark = mem_array(f->n_nodes, 1, e);
	s->heap = mem_scratch(2 * (size_t)f->n_nodes, sizeof(*s->heap), e);
	s->word = mem_scratch(f->n_nodes, sizeof(*s->word), e);
	if (f->n_nodes <= MOTIF_DENSE_NODES) {
		s->set.n_words = f->n_words;
		s->set.bits = mem_scratch((size_t)f->n_nodes * f->n_words,
		                          sizeof(*s->set.bits), e);
	} else {
		while (n < 3 * (size_t)f->n_edges)
			n *= 2;
		s->set.mask = n - 1;
		s->set.slots = mem_scratch(n, sizeof(*s->set.slots), e);
	}
	if (!s->from || !s->to || !s->minus || !s->mark || !s->heap ||
	    !s->word || (!s->set.bits && !s->set.slots)) {
		motif_shuffle_free(s);
		return NULL;
	}
	return s;
}

void motif_shuffle_free(struct motif_shuffle *s)
{
	if (!s)
		return;
	mem_free(s->from);
	mem_free(s->to);
	mem_free(s->minus);
	mem_free(s->mark);
	mem_free(s->heap);
	mem_free(s->word);
	mem_free(s->set.bits);
	mem_free(s->set.slots);
	mem_free(s);
}

/* ---- swapping ---- */

/* Edges i: a -> b and j: b -> c: turns a -> b -> c -> a if the cycle is there
 * and its reverse is not. Each source keeps its edge, which gets the other
 * target. 1 when done. */
static int turn(struct motif_shuffle *s, uint32_t i, uint32_t j, uint32_t at,
                uint32_t n)
{
	uint32_t a = s->from[i], b = s->to[i], c = s->to[j], k;

	if (c == a || !has(&s->set, c, a) || has(&s->set, b, a) ||
	    has(&s->set, c, b) || has(&s->set, a, c))
		return 0;
	for (k = at; k < at + n; k++)
		if (s->from[k] == c && s->to[k] == a)
			break;
	if (k == at + n)
		return 0;	/* an edge of another pair of layers */
	erase(&s->set, a, b);
	erase(&s->set, b, c);
	erase(&s->set, c, a);
	insert(&s->set, a, c);
	insert(&s->set, c, b);
	insert(&s->set, b, a);
	s->to[i] = c;
	s->to[j] = a;
	s->to[k] = b;
	return 1;
}

/* Edges i: a -> b and j: c -> d, whose swap would make a loop: the third move. */
static int turn_either(struct motif_shuffle *s, uint32_t i, uint32_t j,
                       uint32_t at, uint32_t n)
{
	return s->to[i] == s->from[j] ? turn(s, i, j, at, n)
	                              : turn(s, j, i, at, n);
}

/* Swaps, by bit rows. */
static uint64_t swap_bits(struct motif_shuffle *s, struct rng *r, uint32_t at,
                          uint32_t n, uint64_t attempts)
{
	uint32_t *from = s->from + at, *to = s->to + at, i, j;
	uint64_t *bits = s->set.bits, t, made = 0;
	size_t w = s->set.n_words;

	for (t = 0; t < attempts; t++) {
		uint64_t *row_a, *row_c;
		uint32_t a, b, c, d;

		below2(r, n, &i, &j);
		a = from[i];
		b = to[i];
		c = from[j];
		d = to[j];
		row_a = bits + a * w;
		row_c = bits + c * w;
		/* one branch on both: which way it goes is hard to foresee */
		if ((row_a[d / 64] >> d % 64 | row_c[b / 64] >> b % 64) & 1)
			continue;	/* also i == j, a == c and b == d */
		if (a == d || c == b) {
			made += (uint64_t)turn_either(s, at + i, at + j, at, n);
			continue;
		}
		row_a[b / 64] ^= 1ull << b % 64;
		row_a[d / 64] ^= 1ull << d % 64;
		row_c[d / 64] ^= 1ull << d % 64;
		row_c[b / 64] ^= 1ull << b % 64;
		to[i] = d;
		to[j] = b;
		made++;
	}
	return made;
}

/* The same by the hash table. */
static uint64_t swap_slots(struct motif_shuffle *s, struct rng *r, uint32_t at,
                           uint32_t n, uint64_t attempts)
{
	uint32_t *from = s->from + at, *to = s->to + at, i, j;
	uint64_t t, made = 0;

	for (t = 0; t < attempts; t++) {
		uint32_t a, b, c, d;

		below2(r, n, &i, &j);
		a = from[i];
		b = to[i];
		c = from[j];
		d = to[j];
		if (has(&s->set, a, d) || has(&s->set, c, b))
			continue;
		if (a == d || c == b) {
			made += (uint64_t)turn_either(s, at + i, at + j, at, n);
			continue;
		}
		erase(&s->set, a, b);
		erase(&s->set, c, d);
		insert(&s->set, a, d);
		insert(&s->set, c, b);
		to[i] = d;
		to[j] = b;
		made++;
	}
	return made;
}

/* Tries swaps among edges at .. at + n - 1; how many were made. */
static uint64_t swap_edges(struct motif_shuffle *s, struct rng *r, uint32_t at,
                           uint32_t n, uint64_t attempts)
{
	return s->set.bits ? swap_bits(s, r, at, n, attempts)
	                   : swap_slots(s, r, at, n, attempts);
}

/* ---- trading ---- */

/* Deals the targets of edges heap[0 .. n - 1] out among them. */
static void deal(struct motif_shuffle *s, struct rng *r, uint32_t n)
{
	uint32_t *heap = s->heap, *to = s->to, k;

	for (k = n; k > 1; k--) {
		uint32_t at = below(r, k), keep = to[heap[k - 1]];

		to[heap[k - 1]] = to[heap[at]];
		to[heap[at]] = keep;
	}
}

/* Edges i .. i_end - 1 of one node and j .. j_end - 1 of another trade targets.
 * 1 when there was something to trade. */
static int trade(struct motif_shuffle *s, struct rng *r, uint32_t i,
                 uint32_t i_end, uint32_t j, uint32_t j_end)
{
	uint32_t *heap = s->heap, *to = s->to, k, n = 0, n_first;
	uint8_t *mark = s->mark;

	for (k = i; k < i_end; k++)
		mark[to[k]] = 1;
	for (k = j; k < j_end; k++) {
		heap[n] = k;
		n += !mark[to[k]];
		mark[to[k]] ^= 1;	/* 0: both have it */
	}
	n_first = n;
	for (k = i; k < i_end; k++) {
		heap[n] = k;
		n += mark[to[k]];
	}
	for (k = i; k < i_end; k++)
		mark[to[k]] = 0;
	for (k = j; k < j_end; k++)
		mark[to[k]] = 0;
	if (n_first == 0 || n_first == n)
		return 0;
	deal(s, r, n);
	return 1;
}

/* The targets of edges k .. end - 1 as bits, the first node of their layer the
 * lowest. */
static uint64_t word_of(const uint32_t *to, uint32_t k, uint32_t end,
                        uint32_t first)
{
	uint64_t word = 0;

	for (; k < end; k++)
		word |= 1ull << (to[k] - first);
	return word;
}

/* The same trade where the targets' layer has 64 nodes or fewer: most that would
 * come to nothing are known by their bits. */
static int trade_words(struct motif_shuffle *s, struct rng *r,
                       const uint32_t *at, uint32_t i, uint32_t j,
                       uint32_t first)
{
	uint32_t *heap = s->heap, *to = s->to, k, n = 0;
	uint64_t *word = s->word, one = word[i] ^ word[j];

	if (!(one & word[i]) || !(one & word[j]))
		return 0;
	for (k = at[j]; k < at[j + 1]; k++) {
		heap[n] = k;
		n += (uint32_t)(one >> (to[k] - first) & 1);
	}
	for (k = at[i]; k < at[i + 1]; k++) {
		heap[n] = k;
		n += (uint32_t)(one >> (to[k] - first) & 1);
	}
	deal(s, r, n);
	word[i] = word_of(to, at[i], at[i + 1], first);
	word[j] ^= (word[i] ^ word[j] ^ one) & one;
	return 1;
}

/* Tries trades between the rows of a pair; how many were made. */
static uint64_t trade_rows(struct motif_shuffle *s, struct rng *r,
                           const struct motif_pair *p, uint64_t attempts)
{
	const uint32_t *at = s->f->row_at + p->row;
	int words = p->n_to <= 64;
	uint64_t t, made = 0;
	uint32_t i, j;

	for (i = 0; words && i < p->n_rows; i++)
		s->word[i] = word_of(s->to, at[i], at[i + 1], p->to);
	for (t = 0; t < attempts; t++) {
		i = below(r, p->n_rows);
		j = below(r, p->n_rows - 1);
		j += j >= i;
		made += (uint64_t)(words ? trade_words(s, r, at, i, j, p->to)
		                         : trade(s, r, at[i], at[i + 1], at[j],
		                                 at[j + 1]));
	}
	return made;
}

/* ---- starting from the graph ---- */

static void load(struct motif_shuffle *s)
{
	const struct motif_frame *f = s->f;

	memcpy(s->from, f->from, f->n_edges * sizeof(*s->from));
	memcpy(s->to, f->to, f->n_edges * sizeof(*s->to));
	memcpy(s->minus, f->minus, f->n_edges);
}

static void load_set(struct motif_shuffle *s)
{
	const struct motif_frame *f = s->f;
	uint32_t k;

	empty(&s->set, f->n_nodes);
	for (k = 0; k < f->n_edges; k++)
		insert(&s->set, f->from[k], f->to[k]);
}

static uint64_t attempts_for(const struct motif_frame *f, double n)
{
	return (uint64_t)(f->o->swaps * n + 0.5);
}

static void swap_all(struct motif_shuffle *s, struct rng *r, uint64_t *tried,
                     uint64_t *made)
{
	uint32_t n = s->f->n_edges;
	uint64_t attempts = n > 1 ? attempts_for(s->f, n) : 0;

	load(s);
	load_set(s);
	*tried += attempts;
	*made += swap_edges(s, r, 0, n, attempts);
}

/* Within a layer swaps are tried, as many for an edge; between layers trades, for
 * as many that come to something for a node (two take part in each). */
static void mix_pairs(struct motif_shuffle *s, struct rng *r, uint64_t *tried,
                      uint64_t *made)
{
	uint32_t i;

	load(s);
	if (s->f->flat)
		load_set(s);
	for (i = 0; i < s->f->n_pairs; i++) {
		const struct motif_pair *p = &s->f->pairs[i];
		int flat = p->from == p->to;
		uint64_t attempts = attempts_for(s->f, flat ? p->n :
		                                 p->n_rows * p->trades / 2);

		*tried += attempts;
		if (p->stuck)
			continue;
		*made += flat ? swap_edges(s, r, p->at, p->n, attempts)
		              : trade_rows(s, r, p, attempts);
	}
}

/* ---- drawing ---- */

/* n edges from one range of nodes to another, written from number `at` on. */
static void draw_pair(struct motif_shuffle *s, struct rng *r,
                      const struct motif_pair *p)
{
	uint64_t same = p->from == p->to ? p->n_from : 0;
	uint64_t cells = (uint64_t)p->n_from * p->n_to - same, left = p->n;
	uint32_t k = p->at, u, v;

	if (2 * left <= cells) {
		while (k < p->at + p->n) {
			u = p->from + below(r, p->n_from);
			v = p->to + below(r, p->n_to);
			if (u == v || has(&s->set, u, v))
				continue;
			insert(&s->set, u, v);
			s->from[k] = u;
			s->to[k++] = v;
		}
		return;
	}
	/* more than half of all: each in turn with the chance it has left
	 * (so there are fewer than 2^32 cells) */
	for (u = p->from; u < p->from + p->n_from; u++)
		for (v = p->to; v < p->to + p->n_to; v++) {
			if (u == v)
				continue;
			if (below(r, (uint32_t)cells--) >= left)
				continue;
			left--;
			s->from[k] = u;
			s->to[k++] = v;
		}
}

static void draw_all(struct motif_shuffle *s, struct rng *r)
{
	struct motif_pair all = {
		.n = s->f->n_edges,
		.n_from = s->f->n_nodes, .n_to = s->f->n_nodes
	};

	empty(&s->set, s->f->n_nodes);
	draw_pair(s, r, &all);
}

static void draw_pairs(struct motif_shuffle *s, struct rng *r)
{
	uint32_t i;

	empty(&s->set, s->f->n_nodes);
	for (i = 0; i < s->f->n_pairs; i++)
		draw_pair(s, r, &s->f->pairs[i]);
}

static void deal_signs(struct motif_shuffle *s, struct rng *r)
{
	uint32_t k;

	for (k = s->f->n_edges; k > 1; k--) {
		uint32_t j = below(r, k);
		uint8_t keep = s->minus[j];

		s->minus[j] = s->minus[k - 1];
		s->minus[k - 1] = keep;
	}
}

/* ---- null models ---- */

static struct rng start(const struct motif_frame *f, enum motif_null null,
                        uint32_t index)
{
	return (struct rng) {
		stats_random(f->o->seed ^ f->key, (uint64_t)null, index)
	};
}

static struct motif_edges edges_of(const struct motif_shuffle *s, int upward)
{
	return (struct motif_edges) { s->from, s->to, s->minus, upward };
}

struct motif_edges motif_shuffle_run(struct motif_shuffle *s,
                                     enum motif_null null, uint32_t index,
                                     uint64_t *tried, uint64_t *made)
{
	const struct motif_frame *f = s->f;
	struct rng r = start(f, null, index);

	switch (null) {
	case MOTIF_CONFIG:
		swap_all(s, &r, tried, made);
		return edges_of(s, 0);
	case MOTIF_ER:
		draw_all(s, &r);
		memcpy(s->minus, f->minus, f->n_edges);
		deal_signs(s, &r);
		return edges_of(s, 0);
	case MOTIF_LAYER_ER:
		draw_pairs(s, &r);
		memcpy(s->minus, f->minus, f->n_edges);
		deal_signs(s, &r);
		return edges_of(s, f->upward);
	default:
		r = start(f, MOTIF_LAYER_CONFIG, index);
		mix_pairs(s, &r, tried, made);
		return null == MOTIF_LPC_SHUF ? motif_shuffle_signs(s, index)
		                              : edges_of(s, f->upward);
	}
}

struct motif_edges motif_shuffle_signs(struct motif_shuffle *s, uint32_t index)
{
	struct rng r = start(s->f, MOTIF_LPC_SHUF, index);

	deal_signs(s, &r);
	return edges_of(s, s->f->upward);
}
