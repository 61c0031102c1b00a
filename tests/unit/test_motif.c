/* Motifs: against the original's counts and moments, against enumeration of
 * small graphs, and the null models against their whole ensembles. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "mem.h"
#include "motif_cases.h"
#include "motif_impl.h"
#include "stats.h"

static const char *const files[] = {
	"capital-state-dallas.json", "opposite_of_small.json"
};

static const struct motif_opt plain = {
	.groups = 1u << MOTIF_TRIADS | 1u << MOTIF_SIGNED | 1u << MOTIF_FFL,
	.min_gap = 1, .max_gap = 5, .swaps = 10, .n = 1
};

static uint64_t seed;

static uint32_t draw(uint32_t n)
{
	static uint64_t i;

	return (uint32_t)(stats_random(seed, 7, i++) % n);
}

static json_t *golden(void)
{
	struct err e = { 0 };
	json_t *j = json_read("tests/golden/motifs/circuit-motifs.json",
	                      1 << 20, &e);

	if (!j)
		fail_msg("%s", e.msg);
	return j;
}

/* ---- the original ---- */

static void counts_equal(void **state)
{
	static const char *const thresholds[] = { "0.0", "0.5", "1.0", "2.0" };
	json_t *gold = golden();
	size_t f, t;
	int m;

	(void)state;
	for (f = 0; f < 2; f++)
		for (t = 0; t < 4; t++) {
			json_t *want = json_object_get(json_object_get(gold,
				files[f]), thresholds[t]);
			json_t *triads = json_object_get(want, "triads");
			json_t *sign = json_object_get(want, "signed");
			struct graph *g = load(files[f], atof(thresholds[t]));
			struct motif_opt o = plain;
			uint64_t count[MOTIF_N];
			struct err e = { 0 };

			o.igraph = 1;
			assert_int_equal(motif_count(g, &o, count, &e), 0);
			assert_int_equal(g->n_nodes, json_integer_value(
				json_object_get(want, "nodes")));
			assert_int_equal(g->n_edges, json_integer_value(
				json_object_get(want, "edges")));
			for (m = 0; m < 16; m++)
				assert_int_equal(count[m], json_integer_value(
					json_array_get(triads, (size_t)m)));
			for (m = MOTIF_SELF_POS; m <= MOTIF_TOGGLE; m++) {
				json_t *v = json_object_get(sign,
					motif_name(m));

				assert_non_null(v);
				assert_int_equal(count[m],
				                 json_integer_value(v));
			}
			graph_free(g);
		}
	json_decref(gold);
}

/* Means within 4 standard errors of both, and standard deviations within a
 * factor that 20 samples keep to but once in 10^5. */
static void moments_agree(void **state)
{
	static const struct { const char *name; enum motif_null null; } kinds[] = {
		{ "configuration", MOTIF_CONFIG },
		{ "erdos_renyi", MOTIF_ER },
		{ "layer_pair_er", MOTIF_LAYER_ER },
		{ "layer_pair_config", MOTIF_LAYER_CONFIG }
	};
	struct motif_opt o = plain;
	json_t *gold = golden();
	size_t f, k;
	int m;

	(void)state;
	o.groups = 1u << MOTIF_TRIADS;
	o.nulls = 15;
	o.n = 400;
	o.igraph = 1;
	for (f = 0; f < 2; f++) {
		struct graph *g = load(files[f], 0);
		struct motif_result r;
		struct err e = { 0 };

		assert_int_equal(motif_run(g, &o, NULL, &r, &e), 0);
		for (k = 0; k < 4; k++) {
			json_t *want = json_object_get(json_object_get(
				json_object_get(gold, files[f]), "null20"),
				kinds[k].name);

			for (m = 0; m < 16; m++) {
				const struct motif_stat *s =
					&r.stat[kinds[k].null][m];
				double mean = json_number_value(json_array_get(
					json_object_get(want, "mean"),
					(size_t)m));
				double std = json_number_value(json_array_get(
					json_object_get(want, "std"),
					(size_t)m));
				double se = s->std * sqrt(1 / 20.0 + 1 / 400.0);

				if (fabs(s->mean - mean) > 4 * se ||
				    std > 2 * s->std || std < s->std / 2.8)
					fail_msg("%s, %s, %s: %g +- %g, the "
					         "original %g +- %g", files[f],
					         kinds[k].name,
					         motif_name(m), s->mean,
					         s->std, mean, std);
			}
		}
		motif_free(&r);
		graph_free(g);
	}
	json_decref(gold);
}

/* ---- enumeration ---- */

enum { MOST = 14 };

struct small {
	int n, a[MOST][MOST];	/* 0, 1 or -1 */
	int layer[MOST];
};

static struct graph *graph_of(const struct small *s)
{
	struct graph_build *b = graph_build_new(NULL);
	struct graph_opt o = { 0 };
	struct graph *g;
	int u, v;

	for (u = 0; u < s->n; u++) {
		char id[12];
		struct graph_raw_node n = {
			.id = id, .type = "cross layer transcoder",
			.layer = s->layer[u], .feature = -1, .position = -1
		};

		snprintf(id, sizeof(id), "%d", u);
		assert_int_equal(graph_build_node(b, &n, NULL), 0);
	}
	for (u = 0; u < s->n; u++)
		for (v = 0; v < s->n; v++)
			if (s->a[u][v])
				assert_int_equal(graph_build_edge(b,
					(uint32_t)u, (uint32_t)v, s->a[u][v],
					NULL), 0);
	g = graph_build_end(b, &o, "", "", "", "", NULL);
	assert_non_null(g);
	graph_build_free(b);
	return g;
}

/* Triads by their edges, in igraph's order. */
static int triad_class(const struct small *s, const int t[3])
{
	/* Graph.Isoclass(n=3, cls=i, directed=True) of igraph 1.0.0 */
	static const struct { int n, edge[6][2]; } classes[16] = {
		{ 0, { { 0 } } }, { 1, { { 1, 0 } } },
		{ 2, { { 2, 0 }, { 1, 0 } } }, { 2, { { 0, 1 }, { 1, 0 } } },
		{ 2, { { 0, 1 }, { 2, 0 } } },
		{ 3, { { 0, 1 }, { 2, 0 }, { 1, 0 } } },
		{ 2, { { 2, 1 }, { 2, 0 } } },
		{ 3, { { 2, 1 }, { 2, 0 }, { 1, 0 } } },
		{ 4, { { 2, 1 }, { 0, 1 }, { 2, 0 }, { 1, 0 } } },
		{ 3, { { 0, 2 }, { 0, 1 }, { 1, 0 } } },
		{ 4, { { 0, 2 }, { 0, 1 }, { 2, 0 }, { 1, 0 } } },
		{ 3, { { 0, 2 }, { 2, 1 }, { 1, 0 } } },
		{ 4, { { 0, 2 }, { 2, 1 }, { 2, 0 }, { 1, 0 } } },
		{ 4, { { 0, 2 }, { 2, 1 }, { 0, 1 }, { 2, 0 } } },
		{ 5, { { 0, 2 }, { 2, 1 }, { 0, 1 }, { 2, 0 }, { 1, 0 } } },
		{ 6, { { 1, 2 }, { 0, 2 }, { 2, 1 }, { 0, 1 }, { 2, 0 },
		       { 1, 0 } } },
	};
	int c, p, i, n = 0;

	for (i = 0; i < 9; i++)
		n += s->a[t[i / 3]][t[i % 3]] != 0;
	for (c = 0; c < 16; c++)
		for (p = 0; p < 27; p++) {
			int o[3] = { p / 9, p / 3 % 3, p % 3 }, ok;

			ok = n == classes[c].n && o[0] != o[1] &&
			     o[0] != o[2] && o[1] != o[2];
			for (i = 0; ok && i < n; i++)
				ok = s->a[t[o[classes[c].edge[i][0]]]]
				         [t[o[classes[c].edge[i][1]]]] != 0;
			if (ok)
				return c;
		}
	return -1;
}

/* Of four nodes: the smallest code over all orders, -1 unless connected. */
static int quad_code(const struct small *s, const int q[4])
{
	int p, best = 4096, i, j, reach = 1, again = 1;

	while (again)
		for (again = i = 0; i < 4; i++)
			for (j = 0; j < 4; j++)
				if (reach >> i & 1 && !(reach >> j & 1) &&
				    (s->a[q[i]][q[j]] || s->a[q[j]][q[i]])) {
					reach |= 1 << j;
					again = 1;
				}
	if (reach != 15)
		return -1;
	for (p = 0; p < 256; p++) {
		int o[4] = { p & 3, p >> 2 & 3, p >> 4 & 3, p >> 6 };
		int code = 0, bit = 0;

		if ((1 << o[0] | 1 << o[1] | 1 << o[2] | 1 << o[3]) != 15)
			continue;
		for (i = 0; i < 4; i++)
			for (j = i + 1; j < 4; j++) {
				code |= (s->a[q[o[i]]][q[o[j]]] != 0) << bit++;
				code |= (s->a[q[o[j]]][q[o[i]]] != 0) << bit++;
			}
		if (code < best)
			best = code;
	}
	return best;
}

/* The sign of u -> v when its gap allows it to be part of a template. */
static int sign(const struct small *s, const struct motif_opt *o, int u, int v)
{
	int gap = s->layer[v] - s->layer[u];

	return gap >= o->min_gap && gap <= o->max_gap ? s->a[u][v] : 0;
}

static void enumerate(const struct small *s, const struct motif_opt *o,
                      uint64_t *count)
{
	static const int ffl[8][3] = {
		{ 1, 1, 1 }, { -1, 1, -1 }, { 1, -1, -1 }, { -1, -1, 1 },
		{ 1, -1, 1 }, { -1, -1, -1 }, { 1, 1, -1 }, { -1, 1, 1 }
	};
	int a, b, c, d, x, i, n = s->n;

#define S(u, v) sign(s, o, u, v)
	memset(count, 0, MOTIF_N * sizeof(*count));
	for (a = 0; a < n; a++)
		for (b = 0; b < n; b++) {
			count[MOTIF_SELF_POS] += S(a, b) > 0;
			count[MOTIF_SELF_NEG] += S(a, b) < 0;
		}
	for (a = 0; a < n; a++)
		for (b = 0; b < n; b++)
			for (c = 0; c < n; c++) {
				int t[3] = { a, b, c };

				if (a < b && b < c)
					count[triad_class(s, t)]++;
				count[MOTIF_AMPLIFY] += S(a, b) > 0 &&
				                        S(b, c) > 0;
				count[MOTIF_DAMP] += S(a, b) > 0 && S(b, c) < 0;
				for (i = 0; i < 8; i++)
					count[MOTIF_FFL_C1 + i] +=
						S(a, b) == ffl[i][0] &&
						S(b, c) == ffl[i][1] &&
						S(a, c) == ffl[i][2];
			}
	count[MOTIF_COHERENT] = count[MOTIF_FFL_C1];
	count[MOTIF_INCOHERENT] = count[MOTIF_FFL_I3];
	for (a = 0; a < n; a++)
		for (b = a + 1; b < n; b++)
			for (c = 0; c < n; c++)
				for (d = 0; d < n; d++) {
					if (c == d || c == a || c == b ||
					    d == a || d == b)
						continue;
					count[MOTIF_INHIBIT] += S(a, c) > 0 &&
						S(b, d) > 0 && S(a, d) < 0 &&
						S(b, c) < 0;
					for (x = 0; x < n; x++)
						count[MOTIF_TOGGLE] += x != a &&
							x != b && x != c &&
							x != d && S(x, a) > 0 &&
							S(x, b) > 0 &&
							S(a, d) < 0 &&
							S(b, c) < 0;
				}
#undef S
	for (a = 0; a < n; a++)
		for (b = a + 1; b < n; b++)
			for (c = b + 1; c < n; c++)
				for (d = c + 1; d < n; d++) {
					int q[4] = { a, b, c, d };
					int code = quad_code(s, q);

					for (i = 0; i < MOTIF_N_QUADS; i++)
						count[MOTIF_QUAD + i] += (int)
							motif_quad_code(i) ==
							code;
				}
}

/* Nodes in layers, edges of a density, upward only or any way. */
static void make_small(struct small *s, int n, int n_layers, int upward,
                       int tenths)
{
	int u, v;

	memset(s, 0, sizeof(*s));
	s->n = n;
	for (u = 0; u < n; u++)
		s->layer[u] = u * n_layers / n;
	for (u = 0; u < n; u++)
		for (v = 0; v < n; v++)
			if (u != v && draw(10) < (uint32_t)tenths &&
			    (!upward || s->layer[u] < s->layer[v]))
				s->a[u][v] = draw(3) ? 1 : -1;
}

static void counted_as_enumerated(void **state)
{
	struct motif_opt o = plain;
	int round, sparse, m;

	(void)state;
	o.groups = 15;
	for (round = 0; round < 60; round++) {
		uint64_t want[MOTIF_N], got[MOTIF_N];
		struct motif_frame f;
		struct small s;
		struct graph *g;

		make_small(&s, 2 + (int)draw(11), 1 + (int)draw(8), round & 1,
		           1 + (int)draw(9));
		o.min_gap = 1 + (int32_t)draw(2);
		o.max_gap = o.min_gap + (int32_t)draw(4);
		g = graph_of(&s);
		enumerate(&s, &o, want);
		for (sparse = 0; sparse < 2; sparse++) {
			struct motif_counter *c;
			struct motif_edges e;

			assert_int_equal(motif_frame_init(&f, g, &o, NULL), 0);
			f.dense = !sparse;
			c = motif_counter_new(&f, NULL);
			assert_non_null(c);
			e = (struct motif_edges) { f.from, f.to, f.minus,
			                           f.upward };
			memset(got, 0, sizeof(got));
			motif_counter_run(c, &e, o.groups, got);
			/* again, to see that scratch memory was left clean */
			motif_counter_run(c, &e, o.groups, got);
			for (m = 0; m < MOTIF_N; m++)
				if (got[m] != want[m]) {
					fail_msg("round %d, %s, %s: %llu, "
					         "wanted %llu", round,
					         sparse ? "sparse" : "dense",
					         motif_name(m),
					         (unsigned long long)got[m],
					         (unsigned long long)want[m]);
				}
			motif_counter_free(c);
			motif_frame_free(&f);
		}
		graph_free(g);
	}
}

/* ---- ensembles ---- */

/* A random graph as a number: its edges, and which of them are negative. */
static uint64_t code_of(const struct motif_frame *f, const struct motif_edges *e,
                        int with_signs)
{
	uint64_t code = 0;
	uint32_t k;

	for (k = 0; k < f->n_edges; k++) {
		uint32_t cell = e->from[k] * f->n_nodes + e->to[k];

		assert_in_range(cell, 0, 31);
		assert_true(e->from[k] != e->to[k]);
		assert_false(code >> cell & 1);
		code |= 1ull << cell;
		if (with_signs && e->minus[k])
			code |= 1ull << (32 + cell);
	}
	return code;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Draws `per_state` times as many graphs as the ensemble has: all n_states must
 * come, none else, and as often as chance allows (p > 1e-4). */
static void uniform(struct small *s, enum motif_null null, int with_signs,
                    size_t n_states)
{
	enum { PER_STATE = 60 };
	struct motif_opt o = plain;
	struct motif_frame f;
	struct motif_shuffle *sh;
	struct graph *g = graph_of(s);
	size_t n = n_states * PER_STATE, i, j, found = 0;
	uint64_t *codes = mem_scratch(n, sizeof(*codes), NULL), t = 0, m = 0;
	double chi2 = 0, p;

	o.swaps = 40;
	o.seed = seed;
	assert_int_equal(motif_frame_init(&f, g, &o, NULL), 0);
	sh = motif_shuffle_new(&f, NULL);
	for (i = 0; i < n; i++) {
		struct motif_edges e = motif_shuffle_run(sh, null, (uint32_t)i,
		                                         &t, &m);

		codes[i] = code_of(&f, &e, with_signs);
	}
	/* layers too wide for the bits of a word trade in the same way */
	if (null >= MOTIF_LAYER_CONFIG) {
		uint32_t k;

		for (k = 0; k < f.n_pairs; k++)
			f.pairs[k].n_to += 64;
		for (i = 0; i < n; i++) {
			struct motif_edges e = motif_shuffle_run(sh, null,
				(uint32_t)i, &t, &m);

			assert_true(codes[i] == code_of(&f, &e, with_signs));
		}
	}
	qsort(codes, n, sizeof(*codes), by_value);
	for (i = 0; i < n; i = j) {
		double d;

		for (j = i; j < n && codes[j] == codes[i]; j++)
			;
		d = (double)(j - i) - PER_STATE;
		chi2 += d * d / PER_STATE;
		found++;
	}
	p = stats_chi2_sf(chi2, (unsigned)n_states - 1);
	if (found != n_states || p < 1e-4)
		fail_msg("%s: %zu of %zu graphs, p = %g",
		         motif_null_name(null), found, n_states, p);
	motif_shuffle_free(sh);
	motif_frame_free(&f);
	graph_free(g);
	mem_free(codes);
}

/* How many simple digraphs of s->n nodes have the degrees of s, within each
 * pair of layers (layered) or at all. */
static size_t n_like(const struct small *s, int layered)
{
	int n = s->n, cells = n * n, u, v;
	size_t like = 0;
	uint64_t c;

	for (c = 0; c < 1ull << cells; c++) {
		int ok = 1, l;

		for (u = 0; ok && u < n; u++)
			ok = !(c >> (u * n + u) & 1);
		for (u = 0; ok && u < n; u++)
			for (l = 0; ok && l < (layered ? n : 1); l++) {
				int out = 0, in = 0;

				for (v = 0; v < n; v++) {
					if (layered && s->layer[v] != l)
						continue;
					out += (int)(c >> (u * n + v) & 1) -
					       (s->a[u][v] != 0);
					in += (int)(c >> (v * n + u) & 1) -
					      (s->a[v][u] != 0);
				}
				ok = out == 0 && in == 0;
			}
		like += (size_t)ok;
	}
	return like;
}

static size_t choose(size_t n, size_t k)
{
	return k ? choose(n - 1, k - 1) * n / k : 1;
}

static struct small edges(int n, const char *text)
{
	struct small s = { .n = n };

	/* "01 12-": an edge 0 -> 1, a negative one 1 -> 2 */
	for (; *text; text++)
		if (text[0] >= '0' && text[1] >= '0') {
			s.a[text[0] - '0'][text[1] - '0'] = text[2] == '-' ? -1
			                                                   : 1;
			text++;
		}
	return s;
}

static void ensembles_are_uniform(void **state)
{
	struct small s;

	(void)state;
	/* two states, only a turned cycle leads from one to the other */
	s = edges(3, "01 12 20");
	assert_int_equal(n_like(&s, 0), 2);
	uniform(&s, MOTIF_CONFIG, 0, 2);
	s = edges(4, "01 12 20 03 31");
	uniform(&s, MOTIF_CONFIG, 0, n_like(&s, 0));
	s = edges(4, "01 10 23 12 31");
	uniform(&s, MOTIF_CONFIG, 0, n_like(&s, 0));
	s = edges(5, "01 12 23 34 40 02");
	uniform(&s, MOTIF_CONFIG, 0, n_like(&s, 0));

	/* the same within one layer */
	s = edges(4, "01 12 20 03 31");
	uniform(&s, MOTIF_LAYER_CONFIG, 0, n_like(&s, 1));
	/* layers of two: two edges alone, which swap back and forth */
	s = edges(4, "02 13");
	s.layer[2] = s.layer[3] = 1;
	assert_int_equal(n_like(&s, 1), 2);
	uniform(&s, MOTIF_LAYER_CONFIG, 0, 2);
	/* two and three nodes, and a third layer */
	s = edges(5, "02 03 14 01");
	s.layer[2] = s.layer[3] = s.layer[4] = 1;
	uniform(&s, MOTIF_LAYER_CONFIG, 0, n_like(&s, 1));
	s = edges(5, "02 13 24 34 04");
	s.layer[2] = s.layer[3] = 1;
	s.layer[4] = 2;
	uniform(&s, MOTIF_LAYER_CONFIG, 0, n_like(&s, 1));

	s = edges(4, "01 12 23");
	uniform(&s, MOTIF_ER, 0, choose(12, 3));
	s = edges(3, "01 12 20 02");
	uniform(&s, MOTIF_ER, 0, choose(6, 4));
	s = edges(5, "02 03 14 13 01");
	s.layer[2] = s.layer[3] = s.layer[4] = 1;
	uniform(&s, MOTIF_LAYER_ER, 0, choose(6, 4) * choose(2, 1));
}

static void signs_are_dealt_evenly(void **state)
{
	struct small s;

	(void)state;
	/* 2 graphs, each source keeps its sign */
	s = edges(4, "02- 13");
	s.layer[2] = s.layer[3] = 1;
	uniform(&s, MOTIF_LPC_SIGN, 1, 2);
	uniform(&s, MOTIF_LPC_SHUF, 1, 2 * 2);
	/* the three graphs of "02 03 14" (node 1 takes 2, 3 or 4); node 0 has a
	 * negative edge and another */
	s = edges(5, "02- 03 14");
	s.layer[2] = s.layer[3] = s.layer[4] = 1;
	assert_int_equal(n_like(&s, 1), 3);
	uniform(&s, MOTIF_LPC_SIGN, 1, 3 * 2);
	uniform(&s, MOTIF_LPC_SHUF, 1, 3 * 3);
	s = edges(3, "01- 12");
	uniform(&s, MOTIF_ER, 1, choose(6, 2) * 2);
}

/* Beyond the bit rows a hash table knows which edges are there. */
static void large_graphs_keep_their_degrees(void **state)
{
	enum { N = MOTIF_DENSE_NODES + 500, M = 25000 };
	struct graph_build *b = graph_build_new(NULL);
	struct graph_opt go = { 0 };
	struct motif_opt o = plain;
	uint32_t *degree = mem_array(2 * N, sizeof(*degree), NULL), k;
	struct motif_frame f;
	struct motif_shuffle *sh;
	struct graph *g;
	int null;

	(void)state;
	for (k = 0; k < N; k++) {
		char id[12];
		struct graph_raw_node n = {
			.id = id, .type = "x", .layer = (int32_t)k / 900
		};

		snprintf(id, sizeof(id), "%u", k);
		assert_int_equal(graph_build_node(b, &n, NULL), 0);
	}
	/* among 200 nodes, half of all edges that could be: swaps ask often
	 * for edges that are there */
	for (k = 0; k < M; k++)
		assert_int_equal(graph_build_edge(b, 22 * draw(200),
		                                  22 * draw(200), 1, NULL), 0);
	g = graph_build_end(b, &go, "", "", "", "", NULL);
	graph_build_free(b);
	assert_int_equal(motif_frame_init(&f, g, &o, NULL), 0);
	sh = motif_shuffle_new(&f, NULL);
	for (null = 0; null < MOTIF_NULLS; null++) {
		uint64_t tried = 0, made = 0;
		struct motif_edges e = motif_shuffle_run(sh,
			(enum motif_null)null, 0, &tried, &made);
		uint64_t *all = mem_scratch(f.n_edges, sizeof(*all), NULL);

		memset(degree, 0, 2 * N * sizeof(*degree));
		for (k = 0; k < f.n_edges; k++) {
			all[k] = (uint64_t)e.from[k] * N + e.to[k];
			degree[e.from[k]]++;
			degree[N + e.to[k]]++;
		}
		qsort(all, f.n_edges, sizeof(*all), by_value);
		for (k = 1; k < f.n_edges; k++)
			assert_true(all[k - 1] < all[k]);
		mem_free(all);
		if (null == MOTIF_ER || null == MOTIF_LAYER_ER)
			continue;
		assert_true(made > tried / 20);
		for (k = 0; k < N; k++) {
			assert_int_equal(degree[k], g->out_first[k + 1] -
			                            g->out_first[k]);
			assert_int_equal(degree[N + k], g->in_first[k + 1] -
			                                g->in_first[k]);
		}
	}
	motif_shuffle_free(sh);
	motif_frame_free(&f);
	graph_free(g);
	mem_free(degree);
}

/* ---- the whole ---- */

static void threads_do_not_show(void **state)
{
	struct graph *g = load(files[1], 0);
	struct motif_opt o = plain;
	struct par *par = par_new(3, NULL);
	struct motif_result a, b;
	int null;

	(void)state;
	o.nulls = (1u << MOTIF_NULLS) - 1;
	o.n = 25;
	assert_int_equal(motif_run(g, &o, NULL, &a, NULL), 0);
	assert_int_equal(motif_run(g, &o, par, &b, NULL), 0);
	assert_memory_equal(a.count, b.count, sizeof(a.count));
	for (null = 0; null < MOTIF_NULLS; null++) {
		assert_memory_equal(a.sample[null], b.sample[null],
		                    o.n * a.n_motifs * sizeof(uint64_t));
		assert_memory_equal(a.stat[null], b.stat[null],
		                    MOTIF_N * sizeof(struct motif_stat));
	}
	motif_free(&a);
	motif_free(&b);
	/* another seed, other graphs */
	o.seed = 1;
	assert_int_equal(motif_run(g, &o, par, &b, NULL), 0);
	assert_int_equal(motif_run(g, &plain, NULL, &a, NULL), 0);
	motif_free(&a);
	motif_free(&b);
	par_free(par);
	graph_free(g);
}

/* What the statistics say, from the samples and by their definitions. */
static void statistics_are_right(void **state)
{
	struct graph *g = load(files[0], 0);
	struct motif_opt o = plain;
	struct motif_result r;
	const struct motif_stat *s;
	double sum = 0, sq = 0, norm = 0;
	uint32_t i, at_least = 0;
	int m;

	(void)state;
	o.nulls = 1u << MOTIF_CONFIG | 1u << MOTIF_LAYER_CONFIG |
	          1u << MOTIF_LPC_SIGN;
	o.n = 200;
	assert_int_equal(motif_run(g, &o, NULL, &r, NULL), 0);
	assert_null(r.stat[MOTIF_ER]);
	s = &r.stat[MOTIF_CONFIG][7];
	for (i = 0; i < o.n; i++) {
		double x = (double)r.sample[MOTIF_CONFIG][i * r.n_motifs + 7];

		sum += x;
		sq += x * x;
		at_least += x >= (double)r.count[7];
	}
	sum /= o.n;
	assert_true(fabs(s->mean - sum) < 1e-9 * sum);
	assert_true(fabs(s->std - sqrt(sq / o.n - sum * sum)) < 1e-6 * s->std);
	assert_true(fabs(s->z - ((double)r.count[7] - s->mean) / s->std) <
	            1e-12 * s->z);
	assert_true(fabs(s->p - 2.0 * (1 + at_least) / (1 + o.n)) < 1e-12);
	assert_true(s->lo < s->z && s->z < s->hi && s->hi - s->lo < s->z);
	assert_true(s->effect > 0 && s->effect < 1);
	for (m = 0; m < 16; m++)
		if (!motif_disconnected(m))
			norm += r.stat[MOTIF_CONFIG][m].z *
			        r.stat[MOTIF_CONFIG][m].z;
	assert_true(fabs(s->sp - s->z / sqrt(norm)) < 1e-12);
	assert_true(isnan(r.stat[MOTIF_CONFIG][1].sp));

	/* layers forbid mutual edges: no variance, no z, no test */
	s = &r.stat[MOTIF_LAYER_CONFIG][3];
	assert_true(s->fixed && isnan(s->z) && isnan(s->q) && isnan(s->lo));
	assert_true(s->p == 1 && s->std == 0 && s->mean == 0);
	/* and swaps leave the number of edges of a sign alone */
	s = &r.stat[MOTIF_LPC_SIGN][MOTIF_SELF_POS];
	assert_true(s->fixed && s->mean == 608);
	motif_free(&r);
	graph_free(g);
}

static void graphs_without_anything(void **state)
{
	struct motif_opt o = plain;
	int n, m;

	(void)state;
	o.groups = 15;
	o.nulls = (1u << MOTIF_NULLS) - 1;
	o.n = 3;
	for (n = 0; n < 5; n++) {
		struct small s = { .n = n };
		struct graph *g = graph_of(&s);
		struct motif_result r;

		assert_int_equal(motif_run(g, &o, NULL, &r, NULL), 0);
		for (m = 1; m < MOTIF_N; m++)
			assert_int_equal(r.count[m], 0);
		assert_int_equal(r.count[0], n < 3 ? 0 : n == 3 ? 1 : 4);
		assert_true(r.stat[MOTIF_ER][0].fixed);
		motif_free(&r);
		graph_free(g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_equal),
		cmocka_unit_test(counted_as_enumerated),
		cmocka_unit_test(ensembles_are_uniform),
		cmocka_unit_test(signs_are_dealt_evenly),
		cmocka_unit_test(large_graphs_keep_their_degrees),
		cmocka_unit_test(moments_agree),
		cmocka_unit_test(threads_do_not_show),
		cmocka_unit_test(statistics_are_right),
		cmocka_unit_test(graphs_without_anything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
