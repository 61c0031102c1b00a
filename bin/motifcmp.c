/* motifcmp: compare sets of graphs by their motifs.
 * Operands: motifs/1 streams.  stdout: one JSON object, motifcmp/1. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "file.h"
#include "mem.h"
#include "motif_cmp.h"
#include "stream.h"

struct opts {
	const char *measure, *linkage, *csv;
	double level, caliper;
	int64_t resamples;
};

static const struct cli_opt options[] = {
	CLI_CHOICE('m', "measure", struct opts, measure, "sp|z|share|count",
	           "sp", "what a graph's value for a motif is"),
	CLI_CHOICE(0, "linkage", struct opts, linkage,
	           "average|complete|single|ward", "average",
	           "how clusters are joined"),
	CLI_REAL(0, "level", struct opts, level, "X", 0.5, 0.9999, "0.95",
	         "share of resamples inside an interval"),
	CLI_LONG(0, "resamples", struct opts, resamples, "N", 0, 1e6, "2000",
	         "bootstrap resamples of an interval; 0: none"),
	CLI_REAL(0, "caliper", struct opts, caliper, "X", 0, 10, "0.25",
	         "how far matched graphs may be apart; 0: no matching"),
	CLI_STR(0, "csv", struct opts, csv, "FILE", NULL,
	        "also write the tests there"),
	CLI_END
};

static const struct cli_tool tool = {
	.name = "motifcmp",
	.brief = "compare sets of graphs by their motifs",
	.operands = "[SET=]FILE|FOLDER...",
	.min_operands = 1,
	.max_operands = -1,
	.options = options
};

/* The place of a word among those of a choice. */
static int place(const char *words, const char *word)
{
	const char *p = words;
	int i = 0;

	while (strncmp(p, word, strlen(word)) ||
	       (p[strlen(word)] && p[strlen(word)] != '|')) {
		p = strchr(p, '|') + 1;
		i++;
	}
	return i;
}

/* SET=PATH; without a set, the file's name up to its last point. */
static int read_set(struct motif_cmp *c, const char *arg, struct err *e)
{
	size_t n = strcspn(arg, "=/");
	const char *path = arg, *base = strrchr(arg, '/'), *dot;
	char *name;
	int rc;

	if (arg[n] == '=' && n) {
		name = mem_strndup(arg, n, e);
		path = arg + n + 1;
	} else {
		base = base && base[1] ? base + 1 : arg;
		dot = strrchr(base, '.');
		name = mem_strndup(base, dot && dot > base
		                   ? (size_t)(dot - base) : strlen(base), e);
	}
	rc = name ? motif_cmp_read(c, name, path, e) : -1;
	mem_free(name);
	return rc;
}

static int run(const struct opts *o, const struct cli_common *c, char **sets,
               int n_sets, struct err *e)
{
	struct motif_cmp_opt v = {
		.measure = (enum motif_cmp_measure)place(options[0].arg,
		                                         o->measure),
		.linkage = (enum stats_linkage)place(options[1].arg, o->linkage),
		.level = o->level, .n_reps = (size_t)o->resamples,
		.seed = c->seed, .caliper = o->caliper
	};
	struct motif_cmp *m = motif_cmp_new(&v, e);
	struct par *p = m ? par_new(c->threads, e) : NULL;
	struct stream_out_opt from = { .command = c->command, .seed = c->seed };
	json_t *report = NULL, *prov = NULL;
	char *csv = NULL;
	int i, rc = p ? 0 : -1;

	for (i = 0; i < n_sets && rc == 0; i++)
		rc = read_set(m, sets[i], e);
	if (rc == 0 && (report = motif_cmp_report(m, p, e))) {
		from.prov = json_object_get(report, "prov");
		prov = stream_provenance(&from);
	}
	if (!report)
		rc = -1;
	else if (json_object_set_new(report, "prov", prov) < 0)
		rc = err_set(e, ERR_FORMAT, "the report cannot be made (a "
		             "command line that is not UTF-8?)");
	else if (json_dumpf(report, stdout, JSON_INDENT(1) |
	                    JSON_REAL_PRECISION(9)) < 0 || puts("") < 0)
		rc = err_sys(e, "write to standard output");
	else if (o->csv && (!(csv = motif_cmp_csv(report, e)) ||
	                    file_write(o->csv, csv, strlen(csv), e) < 0))
		rc = -1;
	mem_free(csv);
	json_decref(report);
	par_free(p);
	motif_cmp_free(m);
	return rc;
}

int main(int argc, char **argv)
{
	struct opts o;
	struct cli_common c;
	struct err e = { 0 };
	int first = cli_parse(&tool, argc, argv, &o, sizeof(o), &c);

	if (run(&o, &c, argv + first, argc - first, &e) < 0)
		cli_die(&tool, &e);
	cli_close_stdout(&tool);
	free(c.command);
	return 0;
}
