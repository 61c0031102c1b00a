#include "motif_impl.h"

#include <string.h>

#include "mem.h"

/*
 * Four nodes. A class is written as 12 bits: of the pairs 01 02 03 12 13 23, in
 * this order from the lowest bits, two each, the first set for an edge from the
 * lower number to the higher, the second for the reverse. Its number is the
 * place of the smallest such code among those of all numberings.
 *
 * Each connected set of nodes is met once, by growing it from its lowest node
 * with neighbours that are new to it (Wernicke's ESU, 2006).
 */
#define QUADS \
	X(015) X(016) X(017) X(01a) X(01b) X(01f) X(02a) X(02b) X(02f) X(03f) \
	X(051) X(053) X(054) X(055) X(056) X(057) X(058) X(059) X(05a) X(05b) \
	X(05c) X(05d) X(05e) X(05f) X(064) X(065) X(066) X(067) X(069) X(06a) \
	X(06b) X(06c) X(06d) X(06e) X(06f) X(071) X(072) X(073) X(074) X(075) \
	X(076) X(077) X(078) X(079) X(07a) X(07b) X(07c) X(07d) X(07e) X(07f) \
	X(0d5) X(0d6) X(0d7) X(0da) X(0db) X(0df) X(0e5) X(0e6) X(0e7) X(0ea) \
	X(0eb) X(0ef) X(0f1) X(0f3) X(0f5) X(0f6) X(0f7) X(0fa) X(0fb) X(0ff) \
	X(154) X(155) X(157) X(158) X(159) X(15a) X(15b) X(15c) X(15d) X(15e) \
	X(15f) X(168) X(169) X(16a) X(16b) X(16c) X(16d) X(16e) X(16f) X(17c) \
	X(17d) X(17e) X(17f) X(199) X(19b) X(19c) X(19d) X(19e) X(19f) X(1a4) \
	X(1a5) X(1a7) X(1a9) X(1aa) X(1ab) X(1ac) X(1ad) X(1ae) X(1af) X(1b5) \
	X(1b6) X(1b7) X(1b9) X(1ba) X(1bb) X(1bc) X(1bd) X(1be) X(1bf) X(1dc) \
	X(1dd) X(1df) X(1e9) X(1ea) X(1eb) X(1ed) X(1ee) X(1ef) X(1f4) X(1f5) \
	X(1f7) X(1f8) X(1f9) X(1fa) X(1fb) X(1fc) X(1fd) X(1fe) X(1ff) X(2a9) \
	X(2ab) X(2ad) X(2ae) X(2af) X(2bd) X(2be) X(2bf) X(2ed) X(2ef) X(2f9) \
	X(2fb) X(2fd) X(2fe) X(2ff) X(3fc) X(3fd) X(3ff) X(555) X(557) X(559) \
	X(55b) X(55e) X(55f) X(565) X(566) X(567) X(56b) X(56d) X(56e) X(56f) \
	X(577) X(579) X(57a) X(57b) X(57d) X(57e) X(57f) X(5df) X(5e5) X(5e7) \
	X(5ef) X(5f5) X(5f6) X(5f7) X(5fa) X(5fb) X(5ff) X(66f) X(67f) X(6ef) \
	X(6f6) X(6f7) X(6fb) X(6ff) X(7bb) X(7bf) X(7fd) X(7ff) X(fff)

#define X(code) 0x##code,
static const uint16_t codes[MOTIF_N_QUADS] = { QUADS };
#undef X
#define X(code) "quad_" #code,
static const char *const names[MOTIF_N_QUADS] = { QUADS };
#undef X

unsigned motif_quad_code(int class)
{
	return codes[class];
}

const char *motif_quad_name(int class)
{
	return names[class];
}

struct motif_quads {
	const struct motif_frame *f;
	uint8_t class[4096];	/* of a code; codes that are not connected
				 * never come up */
	/* neighbours by node, each once, and the dyad with it: 1 out, 2 in */
	uint32_t *first, *to;
	uint8_t *dyad;
	uint32_t *end;		/* of a node's neighbours */
	uint8_t *with[3];	/* [n_nodes] the dyad of each with members 0..2
				 * of the set */
	uint32_t *next[3];	/* [n_nodes] who may come next */
};

static const int pair_of[4][4] = {
	{ 0, 0, 1, 2 }, { 0, 0, 3, 4 }, { 1, 3, 0, 5 }, { 2, 4, 5, 0 }
};

/* The code after renumbering node i as to[i]. */
static unsigned renumber(unsigned code, const int to[4])
{
	unsigned out = 0;
	int i, j;

	for (i = 0; i < 4; i++)
		for (j = i + 1; j < 4; j++) {
			unsigned d = code >> 2 * pair_of[i][j] & 3;

			if (to[i] > to[j])
				d = d >> 1 | (d << 1 & 2);
			out |= d << 2 * pair_of[to[i]][to[j]];
		}
	return out;
}

static void fill_classes(uint8_t class[4096])
{
	unsigned k;
	int a, b, c;

	for (k = 0; k < MOTIF_N_QUADS; k++)
		for (a = 0; a < 4; a++)
			for (b = 0; b < 4; b++)
				for (c = 0; c < 4; c++) {
					int to[4] = { a, b, c, 6 - a - b - c };

					if (a != b && a != c && b != c)
						class[renumber(codes[k], to)] =
							(uint8_t)k;
				}
}

struct motif_quads *motif_quads_new(const struct motif_frame *f, struct err *e)
{
	struct motif_quads *q = mem_array(1, sizeof(*q), e);
	int i, ok;

	if (!q)
		return NULL;
	q->f = f;
	fill_classes(q->class);
	q->first = mem_scratch((size_t)f->n_nodes + 2, sizeof(*q->first), e);
	q->end = mem_scratch(f->n_nodes, sizeof(*q->end), e);
	q->to = mem_scratch(2 * (size_t)f->n_edges, sizeof(*q->to), e);
	q->dyad = mem_scratch(2 * (size_t)f->n_edges, 1, e);
	ok = q->first && q->end && q->to && q->dyad;
	for (i = 0; i < 3; i++) {
		q->with[i] = mem_array(f->n_nodes, 1, e);
		q->next[i] = mem_scratch(f->n_nodes, sizeof(*q->next[i]), e);
		ok = ok && q->with[i] && q->next[i];
	}
	if (!ok) {
		motif_quads_free(q);
		return NULL;
	}
	return q;
}

void motif_quads_free(struct motif_quads *q)
{
	int i;

	if (!q)
		return;
	mem_free(q->first);
	mem_free(q->end);
	mem_free(q->to);
	mem_free(q->dyad);
	for (i = 0; i < 3; i++) {
		mem_free(q->with[i]);
		mem_free(q->next[i]);
	}
	mem_free(q);
}

/* Neighbour lists; with[0] is the scratch that finds mutual dyads. */
static void list_neighbours(struct motif_quads *q, const struct motif_edges *g)
{
	const struct motif_frame *f = q->f;
	uint32_t n = f->n_nodes, k, u, *first = q->first;

	memset(first, 0, ((size_t)n + 2) * sizeof(*first));
	for (k = 0; k < f->n_edges; k++) {
		first[g->from[k] + 2]++;
		first[g->to[k] + 2]++;
	}
	for (u = 2; u <= n + 1; u++)
		first[u] += first[u - 1];
	for (k = 0; k < f->n_edges; k++) {
		uint32_t at = first[g->from[k] + 1]++;

		q->to[at] = g->to[k];
		q->dyad[at] = 1;
		at = first[g->to[k] + 1]++;
		q->to[at] = g->from[k];
		q->dyad[at] = 2;
	}
	for (u = 0; u < n; u++) {
		uint32_t last = first[u];

		for (k = first[u]; k < first[u + 1]; k++)
			q->with[0][q->to[k]] |= q->dyad[k];
		for (k = first[u]; k < first[u + 1]; k++) {
			uint32_t v = q->to[k];

			if (!q->with[0][v])
				continue;
			q->to[last] = v;
			q->dyad[last++] = q->with[0][v];
			q->with[0][v] = 0;
		}
		q->end[u] = last;
	}
}

/* Member i of the set is u: its dyads become known, or forgotten. */
static void enter(struct motif_quads *q, int i, uint32_t u)
{
	uint32_t k;

	for (k = q->first[u]; k < q->end[u]; k++)
		q->with[i][q->to[k]] = q->dyad[k];
}

static void leave(struct motif_quads *q, int i, uint32_t u)
{
	uint32_t k;

	for (k = q->first[u]; k < q->end[u]; k++)
		q->with[i][q->to[k]] = 0;
}

/* Sets that begin with v and w: the third and fourth member. next[1] holds
 * n_next nodes that may be third; code: the dyad of v and w. */
static void grow(struct motif_quads *q, uint32_t v, uint32_t w, uint32_t n_next,
                 uint64_t *count)
{
	const uint8_t *with0 = q->with[0], *with1 = q->with[1];
	const uint8_t *with2 = q->with[2];
	unsigned vw = with0[w];

	while (n_next) {
		uint32_t x = q->next[1][--n_next], n = n_next, k;
		unsigned code = vw | (unsigned)with0[x] << 2 |
		                (unsigned)with1[x] << 6;

		memcpy(q->next[2], q->next[1], n * sizeof(*q->next[2]));
		for (k = q->first[x]; k < q->end[x]; k++) {
			uint32_t y = q->to[k];

			if (y > v && !with0[y] && !with1[y])
				q->next[2][n++] = y;
		}
		enter(q, 2, x);
		for (k = 0; k < n; k++) {
			uint32_t y = q->next[2][k];

			count[q->class[code | (unsigned)with0[y] << 4 |
			               (unsigned)with1[y] << 8 |
			               (unsigned)with2[y] << 10]]++;
		}
		leave(q, 2, x);
	}
}

void motif_quads_run(struct motif_quads *q, const struct motif_edges *g,
                     uint64_t *count)
{
	uint32_t v, k;

	memset(count, 0, MOTIF_N_QUADS * sizeof(*count));
	list_neighbours(q, g);
	for (v = 0; v < q->f->n_nodes; v++) {
		uint32_t n = 0;

		enter(q, 0, v);
		for (k = q->first[v]; k < q->end[v]; k++)
			if (q->to[k] > v)
				q->next[0][n++] = q->to[k];
		while (n) {
			uint32_t w = q->next[0][--n], m = n;

			memcpy(q->next[1], q->next[0],
			       n * sizeof(*q->next[1]));
			for (k = q->first[w]; k < q->end[w]; k++) {
				uint32_t x = q->to[k];

				if (x > v && !q->with[0][x])
					q->next[1][m++] = x;
			}
			enter(q, 1, w);
			grow(q, v, w, m, count);
			leave(q, 1, w);
		}
		leave(q, 0, v);
	}
}
