/* motifcount: how often small patterns occur in attribution graphs, and how
 * often in random ones.
 * GRAPHs: Neuronpedia's JSON or graph/1.  stdout: motifs/1, one record for each
 * graph and motif. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli.h"
#include "graph.h"
#include "metrics.h"
#include "motif.h"
#include "par.h"
#include "stream.h"

struct opts {
	const char *nulls, *motifs;
	int64_t n, min_gap, max_gap;
	double threshold, swaps, density;
	const char *part;
	int errors, igraph, raw;
};

static const struct cli_opt options[] = {
	CLI_STR(0, "nulls", struct opts, nulls, "LIST", "all",
	        "null models: none, all, or names with commas"),
	CLI_LONG('n', "samples", struct opts, n, "N", 1, 1e6, "1000",
	         "random graphs of each null model"),
	CLI_STR('m', "motifs", struct opts, motifs, "LIST", "triads,signed,ffl",
	        "groups of motifs: triads, signed, ffl, quads"),
	CLI_REAL('t', "threshold", struct opts, threshold, "X", 0, 1e30, "0",
	         "leave out edges of |weight| below X"),
	CLI_CHOICE(0, "part", struct opts, part, "all|prompt|think|answer",
	           "all", "keep only nodes at the positions of that part"),
	CLI_REAL(0, "density", struct opts, density, "X", 0, 1, "0",
	         "keep only the strongest edges, so many of n (n - 1); 0: all"),
	CLI_LONG(0, "min-gap", struct opts, min_gap, "N", 1, 65536, "1",
	         "layers that a template's edge spans at least"),
	CLI_LONG(0, "max-gap", struct opts, max_gap, "N", 1, 65536, "5",
	         "and at most"),
	CLI_REAL(0, "swaps", struct opts, swaps, "X", 0, 1e6, "10",
	         "swaps tried per edge, trades made per node"),
	CLI_FLAG(0, "errors", struct opts, errors, "keep error nodes"),
	CLI_FLAG(0, "igraph", struct opts, igraph,
	         "count disconnected triads as 0, as igraph does"),
	CLI_FLAG(0, "raw", struct opts, raw, "write msgpack without zstd"),
	CLI_END
};

static const struct cli_tool tool = {
	.name = "motifcount",
	.brief = "count motifs in attribution graphs and in random ones",
	.operands = "GRAPH...", .min_operands = 1, .max_operands = -1,
	.options = options
};

/* Names with commas as bits; find gives a name's number. */
static unsigned parse_list(const char *option, const char *list,
                           int (*find)(const char *))
{
	unsigned bits = 0;

	for (;;) {
		size_t n = strcspn(list, ",");
		char name[32];
		int at = -1;

		if (n < sizeof(name)) {
			memcpy(name, list, n);
			name[n] = 0;
			at = find(name);
		}
		if (at < 0)
			cli_usage(&tool, "--%s: unknown: '%.*s'", option,
			          (int)n, list);
		bits |= 1u << at;
		if (!list[n])
			return bits;
		list += n + 1;
	}
}

static struct motif_opt motif_options(const struct opts *o, uint64_t seed)
{
	struct motif_opt m = {
		.n = (uint32_t)o->n, .min_gap = (int32_t)o->min_gap,
		.max_gap = (int32_t)o->max_gap, .swaps = o->swaps,
		.seed = seed, .igraph = o->igraph
	};

	if (o->min_gap > o->max_gap)
		cli_usage(&tool, "--min-gap is above --max-gap");
	m.groups = parse_list("motifs", o->motifs, motif_group_find);
	if (!strcmp(o->nulls, "all"))
		m.nulls = (1u << MOTIF_NULLS) - 1;
	else if (strcmp(o->nulls, "none") != 0)
		m.nulls = parse_list("nulls", o->nulls, motif_null_find);
	return m;
}

/* What the rules of graph.h did to a graph, where it is worth a word. */
static void say_notes(const struct log *l, const struct graph *g)
{
	const struct graph_notes *n = &g->notes;
	const struct { const char *what; uint64_t n; } counts[] = {
		{ "ids of an error node and another, whose links go to the "
		  "other", n->n_shared },
		{ "links without a weight, taken as 0", n->n_null },
		{ "links to nodes that are not there, left out", n->n_missing },
		{ "links from a node to itself, left out", n->n_loops },
		{ "links added to others between the same nodes",
		  n->n_parallel },
		{ "edges that do not go to a higher layer", g->n_backward }
	};
	size_t i;

	if (n->no_part)
		log_say(l, "%s: %s has no such part, left out", g->path,
		        g->name);
	if (n->n_unknown)
		log_say(l, "%s: nodes of unknown type, kept: %llu ('%s')",
		        g->path, (unsigned long long)n->n_unknown, n->unknown);
	for (i = 0; i < sizeof(counts) / sizeof(*counts); i++)
		if (counts[i].n)
			log_say(l, "%s: %s: %llu", g->path, counts[i].what,
			        (unsigned long long)counts[i].n);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int measure(struct metrics *m, const struct graph *g,
                   const struct motif_opt *o, const struct motif_result *r,
                   double seconds, struct err *e)
{
	json_t *line, *accepted = json_object();
	int null;

	for (null = 0; null < MOTIF_NULLS; null++)
		if (o->nulls & 1u << null)
			json_object_set_new(accepted,
				motif_null_name((enum motif_null)null),
				json_real(r->accepted[null]));
	line = json_pack("{s:s, s:I, s:I, s:I, s:I, s:f, s:o}", "graph",
	                 g->name, "nodes", (json_int_t)g->n_nodes, "edges",
	                 (json_int_t)g->n_edges, "errors_left_out",
	                 (json_int_t)g->notes.n_errors, "edges_below_threshold",
	                 (json_int_t)g->notes.n_weak, "seconds", seconds,
	                 "swaps_made", accepted);
	return metrics_write(m, line, e);
}

struct count {
	const struct motif_opt *o;
	const struct graph_opt *g;
	struct par *par;
	struct stream_out *out;
	struct metrics *metrics;
	struct log log;
};

static int count_file(struct count *c, const char *path, struct err *e)
{
	struct graph_in *in = graph_open(path, c->g, e);
	struct graph *g;
	int got = -1;

	while (in && (got = graph_next(in, &g, e)) == 1) {
		struct motif_result r;
		double start = now();

		say_notes(&c->log, g);
		if (g->notes.no_part) {
			graph_free(g);
			continue;
		}
		got = motif_run(g, c->o, c->par, &r, e);
		if (got < 0)
			err_wrap(e, "%s", g->path);
		else
			got = motif_write(c->out, g, c->o, &r, e);
		if (got == 0)
			got = measure(c->metrics, g, c->o, &r, now() - start,
			              e);
		motif_free(&r);
		graph_free(g);
		if (got < 0)
			break;
	}
	graph_close(in);
	return got;
}

static int run(const struct opts *o, const struct cli_common *c, char **paths,
               int n, struct err *e)
{
	struct motif_opt mo = motif_options(o, c->seed);
	struct graph_opt go = { .threshold = o->threshold,
	                        .errors = o->errors,
	                        .part = (enum graph_part)
	                                graph_part_find(o->part),
	                        .density = o->density };
	struct stream_out_opt so = {
		.kind = "motifs/1", .header = motif_header(&mo, &go, e),
		.command = c->command, .seed = c->seed, .raw = o->raw
	};
	struct count count = { .o = &mo, .g = &go, .log = cli_log(&tool) };
	int i, rc = -1;

	if (so.header && (count.par = par_new(c->threads, e)) &&
	    (count.metrics = metrics_open(c->metrics, 0, e)) &&
	    (count.out = stream_open_out("-", &so, e)))
		rc = 0;
	for (i = 0; rc == 0 && i < n; i++)
		rc = count_file(&count, paths[i], e);
	if (rc == 0) {
		rc = stream_finish(count.out, e);
		count.out = NULL;
	}
	if (rc == 0) {
		rc = metrics_close(count.metrics, e);
		count.metrics = NULL;
	}
	stream_abort(count.out);
	metrics_close(count.metrics, NULL);
	par_free(count.par);
	json_decref(so.header);
	return rc;
}

int main(int argc, char **argv)
{
	struct opts o;
	struct cli_common c;
	struct err e = { 0 };
	int at = cli_parse(&tool, argc, argv, &o, sizeof(o), &c);

	cli_no_terminal(&tool);
	if (run(&o, &c, argv + at, argc - at, &e) < 0)
		cli_die(&tool, &e);
	return 0;
}
