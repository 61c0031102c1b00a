/* Instances and cascades against all tuples of nodes and all paths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "motif_inst.h"

static struct err e;

static uint32_t draw(uint64_t *s, uint32_t n)
{
	*s = *s * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((*s >> 33) % n);
}

/* n nodes in layers -1 .. 5, embeddings and logits at the ends, each pair that
 * goes up joined with one chance in `sparse`; fewer edges stay or go down. */
static struct graph *random_graph(uint64_t seed, uint32_t n, uint32_t sparse)
{
	struct graph_build *b = graph_build_new(&e);
	struct graph_opt o = { 0 };
	struct graph *g;
	char id[2][16], label[16];
	int32_t layer[64];
	uint32_t i, j;

	assert_non_null(b);
	for (i = 0; i < n; i++) {
		struct graph_raw_node v = { id[0], "cross layer transcoder",
		                            label, i, (int32_t)(i % 4), 0 };

		layer[i] = (int32_t)draw(&seed, 6);
		if (i < 3) {
			v.type = "embedding";
			layer[i] = -1;
		} else if (i + 2 > n) {
			v.type = "logit";
			layer[i] = 6;
		}
		v.layer = layer[i];
		snprintf(id[0], sizeof(id[0]), "%d_%u_%u", layer[i], i, i % 4);
		snprintf(label, sizeof(label), i % 5 ? "Says %u" : "other %u", i);
		assert_int_equal(graph_build_node(b, &v, &e), 0);
	}
	for (i = 0; i < n; i++)
		for (j = 0; j < n; j++) {
			double w = (draw(&seed, 4000) + 1.0) / 1000;

			/* half of those in a layer, a sixth of those down */
			if (i == j || draw(&seed, sparse) ||
			    (layer[i] == layer[j] && draw(&seed, 2)) ||
			    (layer[i] > layer[j] && draw(&seed, 6)))
				continue;
			snprintf(id[0], 16, "%d_%u_%u", layer[i], i, i % 4);
			snprintf(id[1], 16, "%d_%u_%u", layer[j], j, j % 4);
			assert_int_equal(graph_build_link(b, id[0], id[1],
			                 draw(&seed, 3) ? w : -w, &e), 0);
		}
	g = graph_build_end(b, &o, "g", "g", NULL, NULL, &e);
	assert_non_null(g);
	graph_build_free(b);
	return g;
}

/* ---- by definition ----------------------------------------------------- */

/* Sign of u -> v if the edge counts, else 0; its weight is added to *w. */
static int sign(const struct graph *g, uint32_t u, uint32_t v, int32_t lo,
                int32_t hi, double *w)
{
	int64_t i = graph_edge(g, u, v);
	int32_t gap = g->nodes[v].layer - g->nodes[u].layer;

	if (i < 0 || gap < lo || gap > hi)
		return 0;
	*w += fabs((double)g->out_weight[i]);
	return g->out_weight[i] >= 0 ? 1 : -1;
}

static const char *const says[] = {	/* roles, edges with signs */
	[MOTIF_SELF_POS] = "AB A+B", [MOTIF_SELF_NEG] = "AB A-B",
	[MOTIF_AMPLIFY] = "ABC A+B B+C", [MOTIF_DAMP] = "ABC A+B B-C",
	[MOTIF_COHERENT] = "ABC A+B B+C A+C",
	[MOTIF_INCOHERENT] = "ABC A+B B+C A-C",
	[MOTIF_INHIBIT] = "ABCD A+C B+D A-D B-C",
	[MOTIF_TOGGLE] = "XABCD X+A X+B A-D B-C",
	[MOTIF_FFL_C1] = "ABC A+B B+C A+C", [MOTIF_FFL_C2] = "ABC A-B B+C A-C",
	[MOTIF_FFL_C3] = "ABC A+B B-C A-C", [MOTIF_FFL_C4] = "ABC A-B B-C A+C",
	[MOTIF_FFL_I1] = "ABC A+B B-C A+C", [MOTIF_FFL_I2] = "ABC A-B B-C A-C",
	[MOTIF_FFL_I3] = "ABC A+B B+C A-C", [MOTIF_FFL_I4] = "ABC A-B B+C A+C"
};

struct tally {
	uint64_t n;
	double weight;
};

static int fits(const struct graph *g, const char *s, const uint32_t *node,
                int32_t lo, int32_t hi, double *w)
{
	size_t roles = strcspn(s, " "), i, j;
	const char *p;

	*w = 0;
	for (i = 0; i < roles; i++)
		for (j = 0; j < i; j++)
			if (node[i] == node[j])
				return 0;
	for (p = s + roles; *p; p += 4)
		if (sign(g, node[strchr(s, p[1]) - s], node[strchr(s, p[3]) - s],
		         lo, hi, w) != (p[2] == '+' ? 1 : -1))
			return 0;
	return 1;
}

static struct tally by_definition(const struct graph *g, int motif, int32_t lo,
                                  int32_t hi)
{
	const char *s = says[motif];
	size_t roles = strcspn(s, " "), i;
	uint32_t node[5] = { 0 };
	struct tally t = { 0 };
	int swaps = motif == MOTIF_INHIBIT || motif == MOTIF_TOGGLE;
	double w;

	for (;;) {
		/* A and B are unordered in the crossed ones: once each */
		const uint32_t *a = node + (s[0] == 'X');

		if (!(swaps && a[0] > a[1]) && fits(g, s, node, lo, hi, &w)) {
			t.n++;
			t.weight += w;
		}
		for (i = 0; i < roles && ++node[i] == g->n_nodes; i++)
			node[i] = 0;
		if (i == roles)
			return t;
	}
}

/* ---- instances --------------------------------------------------------- */

struct seen {
	const struct graph *g;
	struct tally t;
	int32_t lo, hi;
	uint32_t stop_after;
};

static int see(void *ctx, const struct motif_inst *m, struct err *er)
{
	struct seen *s = ctx;
	double w = 0, sum = 0;
	size_t i;

	if (s->stop_after && s->t.n == s->stop_after)
		return err_set(er, ERR_STOP, "enough");
	s->t.n++;
	s->t.weight += m->weight;
	if (m->motif >= MOTIF_SELF_POS)
		assert_true(fits(s->g, says[m->motif], m->node, s->lo, s->hi, &w));
	for (i = 0; i < m->n_edges; i++) {	/* edges are where they say */
		int64_t k = graph_edge(s->g, m->node[m->from[i]],
		                       m->node[m->to[i]]);

		assert_int_equal(k, m->edge[i]);
		sum += fabs((double)s->g->out_weight[k]);
	}
	assert_true(sum == m->weight);
	return 0;
}

static void every_instance_once(void **state)
{
	int motif;
	uint64_t seed;

	(void)state;
	for (seed = 1; seed < 6; seed++) {
		struct graph *g = random_graph(seed, 13, 2);
		int32_t lo = seed == 3 ? 2 : 1, hi = seed % 2 ? 5 : 3;
		uint64_t any = 0;

		for (motif = MOTIF_SELF_POS; motif <= MOTIF_FFL_I4; motif++) {
			struct tally want = by_definition(g, motif, lo, hi);
			struct seen s = { g, { 0, 0 }, lo, hi, 0 };

			assert_int_equal(motif_inst_each(g, motif, lo, hi, see,
			                                 &s, &e), 0);
			assert_int_equal(s.t.n, want.n);
			assert_true(fabs(s.t.weight - want.weight) < 1e-6);
			any += motif >= MOTIF_INHIBIT ? want.n : 0;
		}
		assert_true(any > 0);
		graph_free(g);
	}
}

/* As many of each triad as motif_count counts, edges up, down and both ways. */
static void every_triad_once(void **state)
{
	struct motif_opt o = { .groups = 1u << MOTIF_TRIADS };
	uint64_t count[MOTIF_N], seed;
	int motif, met = 0;

	(void)state;
	for (seed = 1; seed < 5; seed++) {
		struct graph *g = random_graph(seed, 25, seed == 1 ? 1 : 3);

		assert_int_equal(motif_count(g, &o, count, &e), 0);
		for (motif = 0; motif < MOTIF_SELF_POS; motif++) {
			struct seen s = { g, { 0, 0 }, 0, 0, 0 };

			if (!motif_inst_listed(motif))
				continue;
			assert_int_equal(motif_inst_each(g, motif, 1, 5, see,
			                                 &s, &e), 0);
			assert_int_equal(s.t.n, count[motif]);
			met |= count[motif] ? 1 << motif : 0;
		}
		graph_free(g);
	}
	assert_int_equal(met, 0xfff4);
}

static void stops_when_told(void **state)
{
	struct graph *g = random_graph(1, 13, 2);
	uint64_t total;
	int motif;

	(void)state;
	for (motif = 2; motif <= MOTIF_FFL_I4; motif++) {
		struct seen s = { g, { 0, 0 }, 1, 5, 1 };
		struct motif_inst_top t;

		if (!motif_inst_listed(motif))
			continue;
		assert_int_equal(motif_inst_top(g, motif, 1, 5, NULL, 0, &t,
		                                &e), 0);
		total = t.total;
		motif_inst_top_free(&t);
		if (total < 2)
			continue;
		assert_int_equal(motif_inst_each(g, motif, 1, 5, see, &s, &e),
		                 -1);
		assert_int_equal(e.code, ERR_STOP);
	}
	graph_free(g);
}

static void the_heaviest_first(void **state)
{
	struct graph *g = random_graph(9, 40, 3);
	struct motif_inst_top all, some;
	size_t i;

	(void)state;
	assert_int_equal(motif_inst_top(g, MOTIF_COHERENT, 1, 5, NULL, SIZE_MAX,
	                                &all, &e), 0);
	assert_int_equal(motif_inst_top(g, MOTIF_COHERENT, 1, 5, NULL, 7, &some,
	                                &e), 0);
	assert_true(all.n > 20 && all.n == all.total);
	assert_int_equal(some.n, 7);
	assert_int_equal(some.total, all.total);
	assert_memory_equal(all.inst, some.inst, 7 * sizeof(*all.inst));
	for (i = 1; i < all.n; i++)
		assert_true(all.inst[i - 1].weight >= all.inst[i].weight);
	motif_inst_top_free(&all);
	motif_inst_top_free(&some);
	graph_free(g);
}

static void conditions(void **state)
{
	struct graph *g = random_graph(9, 40, 3);
	struct motif_inst_filter f = { 0 }, none = { 0 };
	struct motif_inst_top all, some;
	size_t i, k, want = 0;
	uint32_t n;
	char id[16];

	(void)state;
	assert_int_equal(motif_inst_filter_label(&f, g, "^OTHER", &n, &e), 0);
	assert_int_equal(n, 8);
	snprintf(id, sizeof(id), "%d_%u", g->nodes[12].layer,
	         (unsigned)g->nodes[12].feature);
	assert_int_equal(motif_inst_filter_id(&f, g, id, &n, &e), 0);
	assert_int_equal(n, 1);
	assert_int_equal(motif_inst_top(g, MOTIF_AMPLIFY, 1, 5, &none, SIZE_MAX,
	                                &all, &e), 0);
	assert_int_equal(motif_inst_top(g, MOTIF_AMPLIFY, 1, 5, &f, SIZE_MAX,
	                                &some, &e), 0);
	for (i = 0; i < all.n; i++) {
		int label = 0, node = 0;

		for (k = 0; k < 3; k++) {
			label |= !strncmp(g->nodes[all.inst[i].node[k]].label,
			                  "other", 5);
			node |= all.inst[i].node[k] == 12;
		}
		want += label && node;
	}
	assert_true(want > 0);
	assert_int_equal(some.total, want);
	motif_inst_top_free(&some);
	f.only = 1;	/* and no other features */
	assert_int_equal(motif_inst_top(g, MOTIF_AMPLIFY, 1, 5, &f, SIZE_MAX,
	                                &some, &e), 0);
	assert_true(some.total < want);
	for (i = 0; i < some.n; i++)
		for (k = 0; k < 3; k++) {
			uint32_t u = some.inst[i].node[k];

			assert_true(u == 12 || g->nodes[u].type != GRAPH_FEATURE
			            || !strncmp(g->nodes[u].label, "other", 5));
		}
	motif_inst_top_free(&some);
	motif_inst_top_free(&all);
	assert_int_equal(motif_inst_filter_label(&f, g, "(", &n, &e), -1);
	assert_int_equal(e.code, ERR_USAGE);
	motif_inst_filter_free(&f);
	for (i = 0; i < MOTIF_INST_WANTS; i++)
		assert_int_equal(motif_inst_filter_id(&f, g, "1", &n, &e), 0);
	assert_int_equal(n, 0);
	assert_int_equal(motif_inst_filter_id(&f, g, "1", &n, &e), -1);
	motif_inst_filter_free(&f);
	graph_free(g);
}

/* ---- cascades ---------------------------------------------------------- */

struct paths {
	const struct graph *g;
	const struct motif_inst *inst;
	size_t n;
	const struct motif_inst_filter *f;
	int complete;
	uint64_t total, n_complete;
	size_t longest, n_weights;
	double weight[200000];		/* of those that a list holds */
};

static uint32_t last(const struct motif_inst *m)
{
	return m->node[m->n_nodes - 1];
}

static void follow(struct paths *p, uint32_t from, uint32_t u, size_t len,
                   double w, int seen)
{
	int whole = p->g->nodes[from].type == GRAPH_EMBEDDING &&
	            p->g->nodes[u].type == GRAPH_LOGIT;
	size_t i, on = 0;

	for (i = 0; i < p->n; i++)
		if (p->inst[i].node[0] == u) {
			on++;
			follow(p, from, last(&p->inst[i]), len + 1,
			       w + p->inst[i].weight, seen |
			       motif_inst_passes(p->f, p->g, &p->inst[i]));
		}
	if (on || !len || !seen)
		return;
	p->total++;
	p->n_complete += whole;
	p->longest = len > p->longest ? len : p->longest;
	assert_true(p->n_weights < 200000);
	if (whole || !p->complete)
		p->weight[p->n_weights++] = w;
}

static int descending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x > y ? -1 : x < y;
}

static void check_cascades(const struct graph *g,
                           const struct motif_inst_filter *f, int complete)
{
	static const int motifs[] = { MOTIF_COHERENT, MOTIF_INCOHERENT };
	struct motif_inst_casc_opt o = { motifs, 2, 1, 5, complete, SIZE_MAX,
	                                 100000 };
	struct motif_inst_cascades c, few;
	struct paths *p = calloc(1, sizeof(*p));
	size_t i, k;
	uint32_t u;

	assert_non_null(p);
	assert_int_equal(motif_inst_cascades(g, &o, f, &c, &e), 0);
	p->g = g;
	p->inst = c.inst;
	p->n = c.n_inst;
	p->f = f;
	p->complete = complete;
	for (u = 0; u < g->n_nodes; u++) {
		for (i = 0; i < c.n_inst && last(&c.inst[i]) != u; i++)
			;
		if (i == c.n_inst)
			follow(p, u, u, 0, 0, 0);
	}
	assert_int_equal(c.total, p->total);
	assert_int_equal(c.complete, p->n_complete);
	assert_int_equal(c.longest, p->longest);
	assert_int_equal(c.n, p->n_weights);
	qsort(p->weight, p->n_weights, sizeof(*p->weight), descending);
	for (i = 0; i < c.n; i++) {
		double w = 0;

		assert_true(fabs(c.list[i].weight - p->weight[i]) < 1e-6);
		for (k = 0; k < c.list[i].n; k++) {
			const struct motif_inst *m = &c.inst[c.list[i].step[k]];

			w += m->weight;
			if (k)
				assert_int_equal(m->node[0], last(
					&c.inst[c.list[i].step[k - 1]]));
		}
		assert_true(fabs(w - c.list[i].weight) < 1e-6);
	}
	o.max = 3;
	assert_int_equal(motif_inst_cascades(g, &o, f, &few, &e), 0);
	assert_int_equal(few.n, c.n < 3 ? c.n : 3);
	assert_int_equal(few.total, c.total);
	for (i = 0; i < few.n; i++) {
		assert_int_equal(few.list[i].n, c.list[i].n);
		assert_memory_equal(few.list[i].step, c.list[i].step,
		                    c.list[i].n * sizeof(*c.list[i].step));
	}
	motif_inst_cascades_free(&few);
	if (c.n_inst) {
		o.max_inst = c.n_inst - 1;
		assert_int_equal(motif_inst_cascades(g, &o, f, &few, &e), -1);
		assert_int_equal(e.code, ERR_RANGE);
		motif_inst_cascades_free(&few);
	}
	motif_inst_cascades_free(&c);
	free(p);
}

static void every_cascade(void **state)
{
	uint64_t seed;

	(void)state;
	for (seed = 1; seed < 8; seed++) {
		struct graph *g = random_graph(seed, 22, 2);
		struct motif_inst_filter f = { 0 };
		uint32_t n;

		check_cascades(g, NULL, 0);
		check_cascades(g, NULL, 1);
		assert_int_equal(motif_inst_filter_label(&f, g, "other", &n,
		                                         &e), 0);
		check_cascades(g, &f, 0);
		check_cascades(g, &f, 1);
		motif_inst_filter_free(&f);
		graph_free(g);
	}
}

/* More cascades than can be listed are still counted, and the first are there
 * at once. */
static void too_many_to_list(void **state)
{
	static const int motif = MOTIF_SELF_POS;
	struct motif_inst_casc_opt o = { &motif, 1, 1, 1, 0, 2, 100000 };
	struct graph_build *b = graph_build_new(&e);
	struct graph_opt go = { 0 };
	struct motif_inst_cascades c;
	struct graph *g;
	char id[2][40];
	int l, i, j;

	(void)state;
	for (l = 0; l < 20; l++)	/* 10^20 ways through 20 layers of ten */
		for (i = 0; i < 10; i++) {
			struct graph_raw_node v = { id[0], "embedding", "", 0, 0,
			                            l };

			snprintf(id[0], 40, "%d_%d_0", l, i);
			v.type = "cross layer transcoder";
			assert_int_equal(graph_build_node(b, &v, &e), 0);
		}
	for (l = 0; l < 19; l++)
		for (i = 0; i < 100; i++) {
			j = i % 10;
			snprintf(id[0], 40, "%d_%d_0", l, i / 10);
			snprintf(id[1], 40, "%d_%d_0", l + 1, j);
			assert_int_equal(graph_build_link(b, id[0], id[1],
			                 i == 7 ? 2 : 1, &e), 0);
		}
	g = graph_build_end(b, &go, "g", "g", NULL, NULL, &e);
	assert_non_null(g);
	graph_build_free(b);
	assert_int_equal(motif_inst_cascades(g, &o, NULL, &c, &e), 0);
	assert_true(c.total == UINT64_MAX);
	assert_int_equal(c.longest, 19);
	assert_int_equal(c.n, 2);
	assert_true(c.list[0].weight >= c.list[1].weight);
	motif_inst_cascades_free(&c);
	graph_free(g);
}

static void which_ones(void **state)
{
	(void)state;
	assert_true(motif_inst_listed(MOTIF_TRIAD + 7));
	assert_false(motif_inst_listed(MOTIF_TRIAD));
	assert_false(motif_inst_listed(MOTIF_QUAD));
	assert_true(motif_inst_chains(MOTIF_SELF_NEG));
	assert_true(motif_inst_chains(MOTIF_FFL_I4));
	assert_false(motif_inst_chains(MOTIF_INHIBIT));
	assert_false(motif_inst_chains(MOTIF_TOGGLE));
	assert_false(motif_inst_chains(MOTIF_TRIAD + 7));
	assert_string_equal(motif_inst_roles(MOTIF_TOGGLE), "XABCD");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_instance_once),
		cmocka_unit_test(every_triad_once),
		cmocka_unit_test(stops_when_told),
		cmocka_unit_test(the_heaviest_first),
		cmocka_unit_test(conditions),
		cmocka_unit_test(every_cascade),
		cmocka_unit_test(too_many_to_list),
		cmocka_unit_test(which_ones)
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
