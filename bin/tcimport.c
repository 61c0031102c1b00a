/* tcimport: transcoders of circuit-tracer and SAELens for the other tools. */
#include <stdio.h>
#include <stdlib.h>

#include "cli.h"
#include "dev.h"
#include "import.h"

struct opts {
	const char *in, *out;
	int64_t k;
};

static const struct cli_opt options[] = {
	CLI_STR('i', "in", struct opts, in, "DIR", NULL,
	        "a set of circuit-tracer's, or a folder of SAELens'"),
	CLI_STR('o', "out", struct opts, out, "DIR", NULL,
	        "where layers.N.mlp/ go, as tctrain writes them"),
	CLI_LONG('k', "k", struct opts, k, "N", 0, 1e6, "0",
	         "active latents of a token, in the mean, where thresholds "
	         "decide"),
	CLI_END
};

static const struct cli_tool tool = {
	.name = "tcimport",
	.brief = "import transcoders from circuit-tracer and SAELens",
	.options = options
};

static int run(const struct opts *o, const struct cli_common *c, struct err *e)
{
	struct import *m = import_open(o->in, (uint32_t)o->k, e);
	struct dev *d = m ? dev_open(c->device, c->threads, e) : NULL;
	const int *layer;
	int n, i, rc = d ? 0 : -1;

	for (i = 0; rc == 0 && (layer = import_layers(m, &n), i < n); i++) {
		struct tc *t = import_read(m, layer[i], d, e);

		rc = t ? tc_write(t, o->out, layer[i], e) : -1;
		tc_free(t);
	}
	dev_free(d);
	import_free(m);
	return rc;
}

int main(int argc, char **argv)
{
	struct opts o;
	struct cli_common c;
	struct err e = { 0 };

	cli_parse(&tool, argc, argv, &o, sizeof(o), &c);
	if (!o.in)
		cli_usage(&tool, "--in is missing");
	if (!o.out)
		cli_usage(&tool, "--out is missing");
	if (run(&o, &c, &e) < 0)
		cli_die(&tool, &e);
	free(c.command);
	return 0;
}
