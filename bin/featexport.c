/* featexport: what latents do, for circuit-tracer, Neuronpedia and delphi.
 * stdin: examples/1, for delphi latents/1.  Files into a folder. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "examples.h"
#include "feat.h"
#include "mem.h"
#include "par.h"
#include "publish.h"
#include "rec.h"
#include "stream.h"
#include "tok.h"

struct opts {
	const char *to, *out, *tokenizer, *labels, *name;
	const char *set, *creator, *author, *release, *url, *dataset, *weights;
	const char *method, *explainer;
	int64_t batch, ctx, splits;
};

static const struct cli_opt options[] = {
	CLI_CHOICE(0, "to", struct opts, to,
	           "circuit-tracer|neuronpedia|batches|delphi",
	           "circuit-tracer", "whose files"),
	CLI_STR('o', "out", struct opts, out, "DIR", NULL,
	        "folder for them, made if missing"),
	CLI_STR('t', "tokenizer", struct opts, tokenizer, "PATH", NULL,
	        "tokenizer of the examples: folder, tokenizer.json or GGUF"),
	CLI_STR(0, "labels", struct opts, labels, "FILE", NULL,
	        "labels: labeler's database, or a stream labels/1"),
	CLI_STR(0, "name", struct opts, name, "NAME", NULL,
	        "the model's name there; default: what the stream says"),
	CLI_STR(0, "set", struct opts, set, "NAME", "transcoders",
	        "Neuronpedia's source set"),
	CLI_STR(0, "creator", struct opts, creator, "ID", NULL,
	        "Neuronpedia's id of the user that it belongs to"),
	CLI_STR(0, "author", struct opts, author, "NAME", NULL,
	        "who is named as its creator; default: ID"),
	CLI_STR(0, "release", struct opts, release, "NAME", NULL,
	        "release of the set; default: its name"),
	CLI_STR(0, "url", struct opts, url, "URL", NULL,
	        "where it is described"),
	CLI_STR(0, "dataset", struct opts, dataset, "NAME", NULL,
	        "the corpus that the contexts are from"),
	CLI_STR(0, "weights", struct opts, weights, "ORG/NAME[/DIR]", NULL,
	        "where the transcoders lie on the Hub"),
	CLI_STR(0, "method", struct opts, method, "NAME", NULL,
	        "how labels were made, a name that Neuronpedia knows"),
	CLI_STR(0, "explainer", struct opts, explainer, "NAME", NULL,
	        "who made them, a name that Neuronpedia knows"),
	CLI_LONG(0, "batch", struct opts, batch, "N", 1, PUBLISH_BATCH_MAX,
	         "128", "features of a batch, at most"),
	CLI_LONG(0, "ctx", struct opts, ctx, "N", 1, 65536, "256",
	         "tokens of a row of delphi's cache"),
	CLI_LONG(0, "splits", struct opts, splits, "N", 1, 1000, "5",
	         "files of a layer of delphi's cache"),
	CLI_END
};

static const struct cli_tool tool = {
	.name = "featexport",
	.brief = "write what latents do for circuit-tracer, Neuronpedia, delphi",
	.options = options
};

struct job {
	const struct opts *o;
	struct tok *tok;
	struct par *par;
	struct publish_labels *labels;
	char *weights;		/* NUL between org/name and folder */
	const char *weights_dir;
};

static const char *name_of(const struct opts *o, const char *model_name)
{
	return o->name ? o->name : model_name;
}

/* The examples' tokens are this tokenizer's. */
static int check_tokenizer(const struct job *j, const struct stream_in *s,
                           const struct rec_tokens_head *t, struct err *e)
{
	if (t->tokenizer[0] && strcmp(t->tokenizer, tok_sha256(j->tok)) != 0)
		return err_set(e, ERR_FORMAT, "%s: made with another tokenizer "
		               "than %s", stream_name(s), j->o->tokenizer);
	return 0;
}

/* ORG/NAME/DIR in two. */
static int split_weights(struct job *j, struct err *e)
{
	char *at;

	if (!j->o->weights)
		return 0;
	if (!(j->weights = mem_strdup(j->o->weights, e)))
		return -1;
	at = strchr(j->weights, '/');
	if ((at = at ? strchr(at + 1, '/') : NULL)) {
		*at = 0;
		j->weights_dir = at + 1;
	}
	return 0;
}

static int from_examples(struct job *j, struct stream_in *s, struct err *e)
{
	const struct opts *o = j->o;
	struct publish_opt p = {
		.to = !strcmp(o->to, "circuit-tracer") ? PUBLISH_CIRCUIT_TRACER
		      : !strcmp(o->to, "neuronpedia") ? PUBLISH_TREE
		                                      : PUBLISH_BATCHES,
		.out = o->out, .tok = j->tok, .labels = j->labels,
		.par = j->par, .set = o->set, .creator = o->creator,
		.author = o->author, .release = o->release, .url = o->url,
		.dataset = o->dataset, .hub = j->weights,
		.hub_path = j->weights_dir, .method = o->method,
		.explainer = o->explainer, .batch = (uint32_t)o->batch
	};
	struct examples_head h;
	struct examples_in *in = examples_on(s, &h, e);
	struct publish *w = NULL;
	struct feat_out out = { .n_sinks = 1 };
	int rc = -1;

	if (in && check_tokenizer(j, s, &h.tokens, e) == 0) {
		p.name = name_of(o, h.model_name);
		if ((w = publish_new(&p, e))) {
			out.sinks = publish_sink(w);
			rc = feat_pass(in, &h, &out, e);
		}
	}
	publish_free(w);
	examples_close(in);
	examples_head_free(&h);
	return rc;
}

static int from_latents(struct job *j, struct stream_in *s, struct err *e)
{
	struct publish_delphi_opt p = {
		.out = j->o->out, .ctx = (uint32_t)j->o->ctx,
		.splits = (uint32_t)j->o->splits, .labels = j->labels
	};
	struct rec_latents_head h;
	struct rec_latents_in *in = rec_latents_on(s, &h, e);
	struct rec_latents *b = mem_array(1, sizeof(*b), e);
	struct publish_delphi *d = NULL;
	int got = -1;

	if (in && b) {
		p.name = name_of(j->o, h.model_name);
		if ((d = publish_delphi_new(&p, &h, e)))
			got = 1;
	}
	while (got > 0 && (got = rec_latents_read(in, b, e)) > 0)
		if (publish_delphi_add(d, b, e) < 0)
			got = -1;
	if (got == 0)
		got = publish_delphi_end(d, e);
	publish_delphi_free(d);
	mem_free(b);
	rec_latents_close(in);
	return got;
}

static int run(struct job *j, const struct cli_common *c, struct err *e)
{
	int delphi = !strcmp(j->o->to, "delphi");
	struct stream_in *s;

	if (!(s = stream_open_in("-", delphi ? "latents/1" : "examples/1", e)))
		return -1;
	if ((j->o->tokenizer && !(j->tok = tok_open(j->o->tokenizer, e))) ||
	    (j->o->labels &&
	     !(j->labels = publish_labels_open(j->o->labels, e))) ||
	    !(j->par = par_new(c->threads, e)) || split_weights(j, e) < 0) {
		stream_close_in(s);
		return -1;
	}
	return delphi ? from_latents(j, s, e) : from_examples(j, s, e);
}

static void check_usage(const struct opts *o)
{
	if (!o->out)
		cli_usage(&tool, "--out is missing");
	if (!o->tokenizer && strcmp(o->to, "delphi") != 0)
		cli_usage(&tool, "--tokenizer is missing");
	if (!o->creator && !strcmp(o->to, "neuronpedia"))
		cli_usage(&tool, "--to neuronpedia wants --creator");
}

int main(int argc, char **argv)
{
	struct opts o;
	struct cli_common c;
	struct err e = { 0 };
	struct job j = { .o = &o };
	int rc;

	cli_parse(&tool, argc, argv, &o, sizeof(o), &c);
	check_usage(&o);
	rc = run(&j, &c, &e);
	publish_labels_close(j.labels);
	par_free(j.par);
	tok_free(j.tok);
	mem_free(j.weights);
	free(c.command);
	if (rc < 0)
		cli_die(&tool, &e);
	return 0;
}
