/* r1browse: what latents do, as a folder for a web browser.
 * stdin: examples/1.  Writes the folder --out. */
#include <stdlib.h>

#include "browse.h"
#include "cli.h"

struct opts {
	const char *out, *tokenizer, *labels, *title;
	int64_t top, sample;
};

static const struct cli_opt options[] = {
	CLI_STR('o', "out", struct opts, out, "DIR", NULL,
	        "where the pages go"),
	CLI_STR('t', "tokenizer", struct opts, tokenizer, "PATH", NULL,
	        "the examples' tokenizer.json, model folder or GGUF file"),
	CLI_STR('L', "labels", struct opts, labels, "FILE", NULL,
	        "labels: labeler's database, or a stream labels/1"),
	CLI_STR(0, "title", struct opts, title, "TEXT", NULL,
	        "of the pages; default: the model's name"),
	CLI_LONG('n', "top", struct opts, top, "N", 0, 1000, "12",
	         "strongest contexts shown of a latent"),
	CLI_LONG(0, "sample", struct opts, sample, "N", 0, 1000, "10",
	         "contexts shown of those drawn from all firings"),
	CLI_END
};

static const struct cli_tool tool = {
	.name = "r1browse",
	.brief = "show what latents do in a web browser",
	.options = options
};

static int run(const struct opts *o, struct err *e)
{
	struct browse_opt b = { .n_top = (size_t)o->top,
	                        .n_sample = (size_t)o->sample };
	struct examples_head h = { 0 };
	struct examples_in *in = NULL;
	struct browse_labels *labels = NULL;
	struct tok *tok = tok_open(o->tokenizer, e);
	int rc = -1;

	if (!tok || (o->labels && !(labels = browse_labels_open(o->labels, e))))
		goto done;
	if (!(in = examples_open("-", &h, e)))
		goto done;
	if (h.tokens.n_vocab > tok_n_vocab(tok)) {
		err_set(e, ERR_FORMAT, "the examples have a vocabulary of %u, "
		        "the tokenizer knows %u: is it theirs?",
		        h.tokens.n_vocab, tok_n_vocab(tok));
		goto done;
	}
	b.tok = tok;
	b.labels = labels;
	b.title = o->title ? o->title : *h.model_name ? h.model_name : "latents";
	rc = browse_write(o->out, in, &h, &b, e);
done:
	examples_close(in);
	examples_head_free(&h);
	browse_labels_free(labels);
	tok_free(tok);
	return rc;
}

int main(int argc, char **argv)
{
	struct opts o;
	struct cli_common c;
	struct err e = { 0 };

	cli_parse(&tool, argc, argv, &o, sizeof(o), &c);
	if (!o.out)
		cli_usage(&tool, "--out is missing");
	if (!o.tokenizer)
		cli_usage(&tool, "--tokenizer is missing");
	if (run(&o, &e) < 0)
		cli_die(&tool, &e);
	free(c.command);
	return 0;
}
