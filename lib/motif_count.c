#include <string.h>

#include "mem.h"
#include "motif_impl.h"

/*
 * Counting one graph.
 *
 * Triads: wedges (two dyads with a node in common) follow from degrees. Only
 * closed triads have to be found; each closes three wedges, and what is left
 * of the wedges is open. Disconnected triads are the rest.
 *
 * Templates: degrees, and paths of two edges whose ends are looked up. No
 * template needs its instances enumerated.
 *
 * Closed triads and feed-forward loops are found in one of two ways: by bit
 * rows that are and-ed, edge after edge (dense graphs), or by marks on the
 * neighbours of a node and paths of two edges (sparse ones).
 */

/* Neighbours of each node: those of u are to[first[u]] to to[first[u + 1]]. */
struct lists {
	uint32_t *first;	/* [n_nodes + 2]: one more, to fill in place */
	uint32_t *to;		/* [n_edges] */
};

/* A list of edges for motif_bits. */
struct pairs {
	uint32_t *u, *v;
	size_t n;
};

enum side { PLUS, MINUS };

struct motif_counter {
	const struct motif_frame *f;
	motif_bits_fn *bits;
	uint64_t *row[3];	/* bit rows: out, in, mutual; or plus, minus */
	uint32_t *whole;	/* [n_nodes] all n_words: triads know no gap */
	struct pairs pairs[2];	/* one-way and mutual; or plus and minus */
	uint32_t *degree[3];	/* [n_nodes]: one-way out, in; mutual */
	struct lists out[2], in[2];	/* by sign, within the gaps */
	uint8_t *mark;		/* [n_nodes], 0 between uses */
	uint8_t *code;		/* [n_edges] of out[0]: the dyad's */
	uint32_t *x, *y;	/* [n_nodes], 0 between uses */
	uint8_t closed[64];	/* class of a closed triad by its dyads */
	struct motif_quads *quads;	/* NULL: not wanted */
};

/* Sums of products may pass 2^64: then a count stays at the top. */
static uint64_t clamp(unsigned __int128 v)
{
	return v > UINT64_MAX ? UINT64_MAX : (uint64_t)v;
}

/* ---- memory ---- */

/* The class of a triad u, v, w whose three dyads are there: 1 the first points
 * to the second, 2 the other way, 3 both. */
static int closed_class(int uv, int uw, int vw)
{
	int n_mutual = (uv == 3) + (uw == 3) + (vw == 3);
	int into, out_of;

	if (n_mutual == 3)
		return 15;
	if (n_mutual == 2)
		return 14;
	if (n_mutual == 0)
		return (uv == 1 && vw == 1 && uw == 2) ||
		       (uv == 2 && vw == 2 && uw == 1) ? 11 : 7;
	/* one-way edges into and out of the node outside the mutual dyad */
	if (uv == 3) {
		into = (uw == 1) + (vw == 1);
	} else if (uw == 3) {
		into = (uv == 1) + (vw == 2);
	} else {
		into = (uv == 2) + (uw == 2);
	}
	out_of = 2 - into;
	return into == 2 ? 13 : out_of == 2 ? 8 : 12;
}

static int make_lists(struct lists *l, const struct motif_frame *f,
                      struct err *e)
{
	l->first = mem_scratch((size_t)f->n_nodes + 2, sizeof(*l->first), e);
	l->to = mem_scratch(f->n_edges, sizeof(*l->to), e);
	return l->first && l->to ? 0 : -1;
}

static int make_scratch(struct motif_counter *c, struct err *e)
{
	const struct motif_frame *f = c->f;
	size_t n = f->n_nodes, i;
	size_t words = f->dense ? n * f->n_words : 0;

	c->whole = mem_scratch(n, sizeof(*c->whole), e);
	c->mark = mem_array(n, 1, e);
	c->code = mem_scratch(f->n_edges, 1, e);
	c->x = mem_array(n, sizeof(*c->x), e);
	c->y = mem_array(n, sizeof(*c->y), e);
	if (!c->whole || !c->mark || !c->code || !c->x || !c->y)
		return -1;
	for (i = 0; i < n; i++)
		c->whole[i] = f->n_words;
	for (i = 0; i < 3; i++) {
		c->degree[i] = mem_scratch(n, sizeof(*c->degree[i]), e);
		c->row[i] = mem_array(words, sizeof(*c->row[i]), e);
		if (!c->degree[i] || !c->row[i])
			return -1;
	}
	for (i = 0; i < 2; i++) {
		c->pairs[i].u = mem_scratch(f->n_edges, sizeof(uint32_t), e);
		c->pairs[i].v = mem_scratch(f->n_edges, sizeof(uint32_t), e);
		if (!c->pairs[i].u || !c->pairs[i].v ||
		    make_lists(&c->out[i], f, e) < 0 ||
		    make_lists(&c->in[i], f, e) < 0)
			return -1;
	}
	return 0;
}

struct motif_counter *motif_counter_new(const struct motif_frame *f,
                                        struct err *e)
{
	struct motif_counter *c = mem_array(1, sizeof(*c), e);
	int code;

	if (!c)
		return NULL;
	c->f = f;
	c->bits = motif_bits();
	for (code = 0; code < 64; code++)
		c->closed[code] = (uint8_t)closed_class(code & 3, code >> 2 & 3,
		                                        code >> 4);
	if (f->o->groups & 1u << MOTIF_QUADS)
		c->quads = motif_quads_new(f, e);
	if (make_scratch(c, e) < 0 ||
	    (f->o->groups & 1u << MOTIF_QUADS && !c->quads)) {
		motif_counter_free(c);
		return NULL;
	}
	return c;
}

void motif_counter_free(struct motif_counter *c)
{
	int i;

	if (!c)
		return;
	for (i = 0; i < 3; i++) {
		mem_free(c->row[i]);
		mem_free(c->degree[i]);
	}
	for (i = 0; i < 2; i++) {
		mem_free(c->pairs[i].u);
		mem_free(c->pairs[i].v);
		mem_free(c->out[i].first);
		mem_free(c->out[i].to);
		mem_free(c->in[i].first);
		mem_free(c->in[i].to);
	}
	motif_quads_free(c->quads);
	mem_free(c->whole);
	mem_free(c->mark);
	mem_free(c->code);
	mem_free(c->x);
	mem_free(c->y);
	mem_free(c);
}

/* ---- lists ---- */

/* Counts become where each list begins. */
static void begin_lists(struct lists *l, uint32_t n)
{
	uint32_t i;

	/* first[i + 2] counts list i; filling moves first[i + 1] to its end */
	for (i = 2; i <= n + 1; i++)
		l->first[i] += l->first[i - 1];
}

static void clear_lists(struct lists *l, uint32_t n)
{
	memset(l->first, 0, ((size_t)n + 2) * sizeof(*l->first));
}

static void add(struct lists *l, uint32_t of, uint32_t to)
{
	l->to[l->first[of + 1]++] = to;
}

static uint32_t length(const struct lists *l, uint32_t u)
{
	return l->first[u + 1] - l->first[u];
}

/* in[] from out[]: its lists are ascending. */
static void reverse(const struct lists *out, struct lists *in, uint32_t n)
{
	uint32_t u, k, m = out->first[n];

	clear_lists(in, n);
	for (k = 0; k < m; k++)
		in->first[out->to[k] + 2]++;
	begin_lists(in, n);
	for (u = 0; u < n; u++)
		for (k = out->first[u]; k < out->first[u + 1]; k++)
			add(in, out->to[k], u);
}

/* ---- triads ---- */

static void set_bit(uint64_t *rows, size_t n_words, uint32_t u, uint32_t v)
{
	rows[u * n_words + v / 64] |= 1ull << v % 64;
}

static int has_bit(const uint64_t *rows, size_t n_words, uint32_t u,
                   uint32_t v)
{
	return (int)(rows[u * n_words + v / 64] >> v % 64 & 1);
}

/* Closed triads of a graph whose edges all go up, by bit rows. */
static void closed_upward(struct motif_counter *c, const struct motif_edges *g,
                          uint64_t *t)
{
	const struct motif_frame *f = c->f;
	size_t w = f->n_words;
	uint32_t k;

	memset(c->row[0], 0, f->n_nodes * w * sizeof(uint64_t));
	for (k = 0; k < f->n_edges; k++) {
		set_bit(c->row[0], w, g->from[k], g->to[k]);
		c->degree[0][g->from[k]]++;
		c->degree[1][g->to[k]]++;
	}
	t[7] = c->bits(c->row[0], c->row[0], w, g->from, g->to, f->n_edges,
	               c->whole, 1);
}

/* Any graph, by bit rows. */
static void closed_dense(struct motif_counter *c, const struct motif_edges *g,
                         uint64_t *t)
{
	const struct motif_frame *f = c->f;
	uint64_t *out = c->row[0], *in = c->row[1], *both = c->row[2];
	struct pairs *one = &c->pairs[0], *two = &c->pairs[1];
	size_t w = f->n_words, i, bytes = f->n_nodes * w * sizeof(*out);
	uint32_t k;

	memset(out, 0, bytes);
	memset(both, 0, bytes);
	for (k = 0; k < f->n_edges; k++)
		set_bit(out, w, g->from[k], g->to[k]);
	one->n = two->n = 0;
	for (k = 0; k < f->n_edges; k++) {
		uint32_t u = g->from[k], v = g->to[k];
		int mutual = has_bit(out, w, v, u);
		struct pairs *p = mutual ? two : one;

		if (mutual)
			set_bit(both, w, u, v);
		if (mutual && u > v)
			continue;
		p->u[p->n] = u;
		p->v[p->n++] = v;
		c->degree[mutual ? 2 : 0][u]++;
		c->degree[mutual ? 2 : 1][v]++;
	}
	memset(in, 0, bytes);
	for (i = 0; i < one->n; i++)
		set_bit(in, w, one->v[i], one->u[i]);
	for (i = 0; i < f->n_nodes * w; i++)
		out[i] &= ~both[i];
#define COMMON(a, b, p) \
	c->bits(a, b, w, (p)->u, (p)->v, (p)->n, c->whole, 0)
	t[7] = COMMON(out, out, one);
	t[11] = COMMON(in, out, one) / 3;
	t[14] = COMMON(both, both, one);
	t[8] = COMMON(in, in, two);
	t[13] = COMMON(out, out, two);
	t[12] = COMMON(out, in, two) + COMMON(in, out, two);
	t[15] = COMMON(both, both, two) / 3;
#undef COMMON
}

/* Any graph, by marks. out[0] lists dyads at their lower node. */
static void closed_sparse(struct motif_counter *c, const struct motif_edges *g,
                          uint64_t *t)
{
	const struct motif_frame *f = c->f;
	uint32_t n = f->n_nodes, u, k, j, *end = c->x;
	struct lists *up = &c->out[0];

	clear_lists(up, n);
	for (k = 0; k < f->n_edges; k++)
		up->first[(g->from[k] < g->to[k] ? g->from[k] : g->to[k]) + 2]++;
	begin_lists(up, n);
	for (k = 0; k < f->n_edges; k++) {
		int rises = g->from[k] < g->to[k];
		uint32_t at = up->first[(rises ? g->from[k] : g->to[k]) + 1]++;

		up->to[at] = rises ? g->to[k] : g->from[k];
		c->code[at] = rises ? 1 : 2;
	}
	/* the two edges of a mutual dyad become one entry */
	for (u = 0; u < n; u++) {
		uint32_t last = up->first[u];

		for (k = up->first[u]; k < up->first[u + 1]; k++)
			c->mark[up->to[k]] |= c->code[k];
		for (k = up->first[u]; k < up->first[u + 1]; k++) {
			uint32_t v = up->to[k];
			int code = c->mark[v];

			c->mark[v] = 0;
			if (!code)
				continue;
			up->to[last] = v;
			c->code[last++] = (uint8_t)code;
			c->degree[code == 3 ? 2 : code - 1][u]++;
			c->degree[code == 3 ? 2 : 2 - code][v]++;
		}
		end[u] = last;
	}
	for (u = 0; u < n; u++) {
		for (k = up->first[u]; k < end[u]; k++)
			c->mark[up->to[k]] = c->code[k];
		for (k = up->first[u]; k < end[u]; k++) {
			uint32_t v = up->to[k];

			for (j = up->first[v]; j < end[v]; j++) {
				int uw = c->mark[up->to[j]];

				if (uw)
					t[c->closed[c->code[k] | uw << 2 |
					            c->code[j] << 4]]++;
			}
		}
		for (k = up->first[u]; k < end[u]; k++)
			c->mark[up->to[k]] = 0;
	}
	memset(end, 0, n * sizeof(*end));
}

/* All 16, from the closed ones in t[] and the degrees. */
static void complete(const struct motif_counter *c, uint64_t *t)
{
	uint32_t n = c->f->n_nodes, u;
	unsigned __int128 ii = 0, oi = 0, oo = 0, mi = 0, mo = 0, mm = 0;
	unsigned __int128 all, one, two;
	uint64_t dyads[2] = { 0, 0 };

	for (u = 0; u < n; u++) {
		uint64_t o = c->degree[0][u], i = c->degree[1][u];
		uint64_t m = c->degree[2][u];

		oo += o * (o - (o > 0)) / 2;
		ii += i * (i - (i > 0)) / 2;
		mm += m * (m - (m > 0)) / 2;
		oi += o * i;
		mi += m * i;
		mo += m * o;
		dyads[0] += o;
		dyads[1] += m;
	}
	dyads[1] /= 2;
	t[2] = clamp(ii - t[7] - t[13]);
	t[4] = clamp(oi - t[7] - 3 * (unsigned __int128)t[11] - t[12]);
	t[6] = clamp(oo - t[7] - t[8]);
	t[5] = clamp(mi - 2 * (unsigned __int128)t[8] - t[12] - t[14]);
	t[9] = clamp(mo - 2 * (unsigned __int128)t[13] - t[12] - t[14]);
	t[10] = clamp(mm - t[14] - 3 * (unsigned __int128)t[15]);
	t[0] = t[1] = t[3] = 0;
	if (c->f->o->igraph || n < 3)
		return;
	one = (unsigned __int128)dyads[0] * (n - 2);
	two = (unsigned __int128)dyads[1] * (n - 2);
	one -= 2 * ((unsigned __int128)t[2] + t[4] + t[6] + t[8] + t[12] +
	            t[13]) + t[5] + t[9] + t[14] +
	       3 * ((unsigned __int128)t[7] + t[11]);
	two -= (unsigned __int128)t[5] + t[9] + t[8] + t[12] + t[13] +
	       2 * ((unsigned __int128)t[10] + t[14]) +
	       3 * (unsigned __int128)t[15];
	all = (unsigned __int128)n * (n - 1) / 2 * (n - 2) / 3;
	for (u = 2; u < 16; u++)
		all -= u == 3 ? 0 : t[u];
	t[0] = clamp(all - one - two);
	t[1] = clamp(one);
	t[3] = clamp(two);
}

static void count_triads(struct motif_counter *c, const struct motif_edges *g,
                         uint64_t *t)
{
	int i;

	memset(t, 0, 16 * sizeof(*t));
	for (i = 0; i < 3; i++)
		memset(c->degree[i], 0,
		       c->f->n_nodes * sizeof(*c->degree[i]));
	if (!c->f->dense)
		closed_sparse(c, g, t);
	else if (g->upward)
		closed_upward(c, g, t);
	else
		closed_dense(c, g, t);
	complete(c, t);
}

/* ---- templates ---- */

/* Edges within the gaps, by sign, as lists and pairs. */
static void split_signs(struct motif_counter *c, const struct motif_edges *g)
{
	const struct motif_frame *f = c->f;
	uint32_t n = f->n_nodes, k;
	size_t i;
	int s;

	for (s = 0; s < 2; s++) {
		clear_lists(&c->out[s], n);
		c->pairs[s].n = 0;
	}
	for (k = 0; k < f->n_edges; k++) {
		uint32_t u = g->from[k], v = g->to[k];
		int32_t gap = f->layer[v] - f->layer[u];
		struct pairs *p = &c->pairs[g->minus[k]];

		if (gap < f->o->min_gap || gap > f->o->max_gap)
			continue;
		p->u[p->n] = u;
		p->v[p->n++] = v;
		c->out[g->minus[k]].first[u + 2]++;
	}
	for (s = 0; s < 2; s++) {
		begin_lists(&c->out[s], n);
		for (i = 0; i < c->pairs[s].n; i++)
			add(&c->out[s], c->pairs[s].u[i], c->pairs[s].v[i]);
		reverse(&c->out[s], &c->in[s], n);
	}
}

/* ffl[ab][bc][ac]: feed-forward loops by the signs of their edges. */
static void loops_dense(struct motif_counter *c, uint64_t ffl[2][2][2])
{
	const struct motif_frame *f = c->f;
	size_t w = f->n_words, i;
	int ab, bc, ac;

	for (ab = 0; ab < 2; ab++) {
		const struct pairs *p = &c->pairs[ab];

		memset(c->row[ab], 0, f->n_nodes * w * sizeof(uint64_t));
		for (i = 0; i < p->n; i++)
			set_bit(c->row[ab], w, p->u[i], p->v[i]);
	}
	for (ab = 0; ab < 2; ab++)
		for (bc = 0; bc < 2; bc++)
			for (ac = 0; ac < 2; ac++)
				ffl[ab][bc][ac] = c->bits(
					c->row[ac], c->row[bc], w,
					c->pairs[ab].u, c->pairs[ab].v,
					c->pairs[ab].n, f->reach, 1);
}

static void loops_sparse(struct motif_counter *c, uint64_t ffl[2][2][2])
{
	uint32_t u, k, j;
	int s, r;

	memset(ffl, 0, 8 * sizeof(uint64_t));
	for (u = 0; u < c->f->n_nodes; u++) {
		for (s = 0; s < 2; s++)
			for (k = c->out[s].first[u]; k < c->out[s].first[u + 1];
			     k++)
				c->mark[c->out[s].to[k]] = (uint8_t)(s + 1);
		for (s = 0; s < 2; s++)
			for (k = c->out[s].first[u]; k < c->out[s].first[u + 1];
			     k++) {
				uint32_t v = c->out[s].to[k];

				for (r = 0; r < 2; r++) {
					const struct lists *l = &c->out[r];
					uint64_t n[3] = { 0 };

					for (j = l->first[v];
					     j < l->first[v + 1]; j++)
						n[c->mark[l->to[j]]]++;
					ffl[s][r][PLUS] += n[1];
					ffl[s][r][MINUS] += n[2];
				}
			}
		for (s = 0; s < 2; s++)
			for (k = c->out[s].first[u]; k < c->out[s].first[u + 1];
			     k++)
				c->mark[c->out[s].to[k]] = 0;
	}
}

/*
 * A+C, B+D, A-D, B-C. For each A: x[B] = common nodes C of A+C and B-C, y[B] =
 * those D of A-D and B+D; no node is both, for an edge has one sign. Pairs with
 * B > A are looked at.
 */
static uint64_t inhibition(struct motif_counter *c)
{
	const struct lists *ip = &c->in[PLUS], *im = &c->in[MINUS];
	unsigned __int128 sum = 0;
	uint32_t a, k, j;
	int s;

	for (a = 0; a < c->f->n_nodes; a++) {
		if (!length(&c->out[PLUS], a) || !length(&c->out[MINUS], a))
			continue;
		for (s = 0; s < 2; s++) {
			const struct lists *out = &c->out[s];
			const struct lists *in = s == PLUS ? im : ip;
			uint32_t *n = s == PLUS ? c->x : c->y;

			for (k = out->first[a]; k < out->first[a + 1]; k++) {
				uint32_t v = out->to[k];

				for (j = in->first[v + 1]; j > in->first[v] &&
				     in->to[j - 1] > a; j--)
					n[in->to[j - 1]]++;
			}
		}
		/* once more over what was counted, to sum up and to clear */
		for (k = c->out[PLUS].first[a]; k < c->out[PLUS].first[a + 1];
		     k++) {
			uint32_t v = c->out[PLUS].to[k];

			for (j = im->first[v + 1]; j > im->first[v] &&
			     im->to[j - 1] > a; j--) {
				uint32_t b = im->to[j - 1];

				sum += (uint64_t)c->x[b] * c->y[b];
				c->x[b] = 0;
			}
		}
		for (k = c->out[MINUS].first[a]; k < c->out[MINUS].first[a + 1];
		     k++) {
			uint32_t v = c->out[MINUS].to[k];

			for (j = ip->first[v + 1]; j > ip->first[v] &&
			     ip->to[j - 1] > a; j--)
				c->y[ip->to[j - 1]] = 0;
		}
	}
	return clamp(sum);
}

/*
 * X+A, X+B, A-D, B-C, C and D different. With m(A) the edges A-: each pair A, B
 * of a common X has m(A) m(B) ways, less those with C = D, and less those
 * where D is B (A-B is an edge: m(B) ways) or C is A.
 */
static uint64_t toggle(struct motif_counter *c)
{
	const struct lists *op = &c->out[PLUS], *om = &c->out[MINUS];
	const struct lists *ip = &c->in[PLUS];
	unsigned __int128 sum = 0, less = 0;
	uint32_t u, k, j;

	for (u = 0; u < c->f->n_nodes; u++) {
		unsigned __int128 s1 = 0, s2 = 0;

		/* all ways, for X = u; x[Y]: paths u + A - Y so far */
		for (k = op->first[u]; k < op->first[u + 1]; k++) {
			uint32_t a = op->to[k];
			uint64_t m = length(om, a);

			s1 += m;
			s2 += m * m;
			for (j = om->first[a]; j < om->first[a + 1]; j++)
				less += c->x[om->to[j]]++;
		}
		sum += (s1 * s1 - s2) / 2;
		for (k = op->first[u]; k < op->first[u + 1]; k++) {
			uint32_t a = op->to[k];

			for (j = om->first[a]; j < om->first[a + 1]; j++)
				c->x[om->to[j]] = 0;
		}
		/* for A = u: edges A-B whose ends have an X in common */
		if (length(om, u) == 0)
			continue;
		for (k = ip->first[u]; k < ip->first[u + 1]; k++)
			c->mark[ip->to[k]] = 1;
		for (k = om->first[u]; k < om->first[u + 1]; k++) {
			uint32_t b = om->to[k];
			uint64_t common = 0;

			for (j = ip->first[b]; j < ip->first[b + 1]; j++)
				common += c->mark[ip->to[j]];
			less += common * length(om, b);
		}
		for (k = ip->first[u]; k < ip->first[u + 1]; k++)
			c->mark[ip->to[k]] = 0;
	}
	return clamp(sum - less);
}

static void count_templates(struct motif_counter *c,
                            const struct motif_edges *g, uint64_t *count)
{
	unsigned __int128 amplify = 0, damp = 0;
	uint64_t ffl[2][2][2];
	uint32_t u;

	split_signs(c, g);
	for (u = 0; u < c->f->n_nodes; u++) {
		uint64_t in = length(&c->in[PLUS], u);

		amplify += in * length(&c->out[PLUS], u);
		damp += in * length(&c->out[MINUS], u);
	}
	if (c->f->dense)
		loops_dense(c, ffl);
	else
		loops_sparse(c, ffl);
	count[MOTIF_SELF_POS] = c->pairs[PLUS].n;
	count[MOTIF_SELF_NEG] = c->pairs[MINUS].n;
	count[MOTIF_AMPLIFY] = clamp(amplify);
	count[MOTIF_DAMP] = clamp(damp);
	count[MOTIF_COHERENT] = ffl[PLUS][PLUS][PLUS];
	count[MOTIF_INCOHERENT] = ffl[PLUS][PLUS][MINUS];
	count[MOTIF_INHIBIT] = inhibition(c);
	count[MOTIF_TOGGLE] = toggle(c);
	count[MOTIF_FFL_C1] = ffl[PLUS][PLUS][PLUS];
	count[MOTIF_FFL_C2] = ffl[MINUS][PLUS][MINUS];
	count[MOTIF_FFL_C3] = ffl[PLUS][MINUS][MINUS];
	count[MOTIF_FFL_C4] = ffl[MINUS][MINUS][PLUS];
	count[MOTIF_FFL_I1] = ffl[PLUS][MINUS][PLUS];
	count[MOTIF_FFL_I2] = ffl[MINUS][MINUS][MINUS];
	count[MOTIF_FFL_I3] = ffl[PLUS][PLUS][MINUS];
	count[MOTIF_FFL_I4] = ffl[MINUS][PLUS][PLUS];
}

void motif_counter_run(struct motif_counter *c, const struct motif_edges *g,
                       unsigned groups, uint64_t *count)
{
	if (groups & 1u << MOTIF_TRIADS)
		count_triads(c, g, count + MOTIF_TRIAD);
	if (groups & (1u << MOTIF_SIGNED | 1u << MOTIF_FFL))
		count_templates(c, g, count);
	if (groups & 1u << MOTIF_QUADS)
		motif_quads_run(c->quads, g, count + MOTIF_QUAD);
}
