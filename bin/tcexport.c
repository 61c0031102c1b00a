/* tcexport: transcoders for circuit-tracer and SAELens.
 * stdin: tokens/1, to choose thresholds by.  stdout: a JSON line a layer. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "dev.h"
#include "eval_theta.h"
#include "export.h"
#include "json.h"
#include "mem.h"
#include "rec.h"

struct opts {
	const char *model, *transcoders, *layers, *out, *format, *activation;
	const char *name, *scan;
	int64_t skip, tokens, batch;
};

static const struct cli_opt options[] = {
	CLI_STR('m', "model", struct opts, model, "MODEL", NULL,
	        "Hugging Face folder or GGUF file"),
	CLI_STR('t', "transcoders", struct opts, transcoders, "DIR", NULL,
	        "folder of layers.N.mlp/, as tctrain and sparsify write"),
	CLI_STR('l', "layers", struct opts, layers, "LIST", "all",
	        "layers to export, as 0,4-7"),
	CLI_STR('o', "out", struct opts, out, "DIR", NULL,
	        "where the files go"),
	CLI_CHOICE(0, "format", struct opts, format, "circuit-tracer|saelens",
	           "circuit-tracer", "whose"),
	CLI_CHOICE(0, "activation", struct opts, activation, "jumprelu|topk",
	           "jumprelu", "thresholds in TopK's place, or TopK"),
	CLI_STR(0, "name", struct opts, name, "NAME", NULL,
	        "the model's name on the Hub; default: what it says itself"),
	CLI_STR(0, "scan", struct opts, scan, "NAME", NULL,
	        "circuit-tracer's name for the set's features"),
	CLI_LONG('n', "tokens", struct opts, tokens, "N", 0, 1e12, "64k",
	         "tokens that thresholds are chosen by and measured on; 0: all"),
	CLI_LONG(0, "skip", struct opts, skip, "N", 0, 1e6, "1",
	         "first positions of a sequence to leave alone"),
	CLI_LONG(0, "batch", struct opts, batch, "N", 1, 1e6, "1024",
	         "tokens that run together"),
	CLI_END
};

static const struct cli_tool tool = {
	.name = "tcexport",
	.brief = "export transcoders to circuit-tracer and SAELens",
	.options = options
};

/* As much of the stream as is asked for; the rest is read to the end all the
 * same, so that a cut stream is noticed and its writer lives. */
static int read_text(struct rec_tokens_in *in, const struct opts *o,
                     const struct model_cfg *c, struct eval_text *t,
                     struct err *e)
{
	struct rec_tokens r;
	struct err why;
	int got;

	while ((got = rec_tokens_read(in, &r, e)) > 0) {
		if (o->tokens && t->n >= (size_t)o->tokens)
			continue;
		if (model_takes(c, r.ids, r.n, &why) < 0)
			return stream_bad(rec_tokens_stream(in), e, "%s",
			                  why.msg);
		if (eval_text_add(t, r.ids, r.n, e) < 0)
			return -1;
	}
	return got;
}

/* A threshold for each latent: the transcoder's own, or the one chosen. */
static float *thresholds(const struct tc *t, const struct eval_theta *theta,
                         struct err *e)
{
	size_t n = t->cfg.n_latents, i;
	float *each = mem_scratch(n, sizeof(*each), e);

	if (each && t->threshold &&
	    dev_ops(t->dev)->get(t->dev, each, t->threshold,
	                         n * sizeof(*each), e) < 0) {
		mem_free(each);
		return NULL;
	}
	for (i = 0; each && !t->threshold && i < n; i++)
		each[i] = theta->theta;
	return each;
}

/* A layer's files and its line. theta NULL: none was chosen. */
static int write_layer(const struct export_opt *x, const struct eval_set *s,
                       int i, const struct eval_theta *theta, struct err *e)
{
	const struct tc_cfg *c = &s->tc[i]->cfg;
	float *each = NULL;
	json_t *line;
	int rc;

	if ((theta || s->tc[i]->threshold) &&
	    !(each = thresholds(s->tc[i], theta, e)))
		return -1;
	rc = export_layer(x, s->layer[i], s->tc[i], each, e);
	mem_free(each);
	if (rc < 0)
		return -1;
	line = json_pack("{s:i,s:I,s:I}", "layer", s->layer[i], "n_latents",
	                 (json_int_t)c->n_latents, "k", (json_int_t)c->k);
	if (line && theta) {
		json_object_set_new(line, "theta", json_real((double)theta->theta));
		json_object_set_new(line, "tokens",
		                    json_integer((json_int_t)theta->rows));
		json_object_set_new(line, "l0_topk", json_real(theta->l0_topk));
		json_object_set_new(line, "l0", json_real(theta->l0));
		json_object_set_new(line, "fvu_topk",
		                    json_finite(theta->fvu_topk));
		json_object_set_new(line, "fvu", json_finite(theta->fvu));
	}
	rc = line ? json_dumpf(line, stdout, JSON_REAL_PRECISION(7)) : -1;
	json_decref(line);
	if (rc < 0 || fputc('\n', stdout) == EOF)
		return err_sys(e, "standard output");
	return 0;
}

/* theta[s->n] by the stream. */
static int choose(const struct opts *o, struct model *m,
                  const struct eval_set *s, struct eval_theta *theta,
                  struct err *e)
{
	struct eval_opt v = { .skip = (size_t)o->skip,
		.batch = (size_t)o->batch, .fvu_tokens = (size_t)o->tokens };
	struct eval_text text = { 0 };
	struct rec_tokens_head h;
	struct rec_tokens_in *in = rec_tokens_open("-", &h, e);
	int rc = -1;

	if (in && read_text(in, o, model_cfg(m), &text, e) == 0)
		rc = eval_theta_run(&v, m, s, &text, theta, e);
	eval_text_free(&text);
	rec_tokens_close(in);
	return rc;
}

static int write_set(const struct opts *o, struct model *m,
                     const struct eval_set *s, struct err *e)
{
	struct export_opt x = {
		.format = strcmp(o->format, "saelens") == 0
			? EXPORT_SAELENS : EXPORT_CIRCUIT_TRACER,
		.out = o->out, .model = o->name ? o->name : model_cfg(m)->name,
		.scan = o->scan
	};
	int jump = strcmp(o->activation, "jumprelu") == 0, i, rc = -1;
	struct eval_theta *theta = NULL;

	if (export_check(&x, s->layer, s->tc, s->n, jump, e) < 0)
		return err_wrap(e, "%s", o->transcoders);
	if (jump && !s->tc[0]->threshold &&
	    (!(theta = mem_array((size_t)s->n, sizeof(*theta), e)) ||
	     choose(o, m, s, theta, e) < 0))
		goto done;
	for (i = 0; i < s->n; i++)
		if (write_layer(&x, s, i, theta ? theta + i : NULL, e) < 0)
			goto done;
	rc = export_finish(&x, jump ? 0 : s->tc[0]->cfg.k, e);
done:
	mem_free(theta);
	return rc;
}

static int run(const struct opts *o, const struct cli_common *c, struct err *e)
{
	struct log log = cli_log(&tool);
	struct eval_set set = { 0 };
	struct dev *d = NULL;
	struct model *m = NULL;
	int rc = -1;

	if ((d = dev_open(c->device, c->threads, e)) &&
	    (m = model_open(o->model, d, c->progress ? &log : NULL, e)) &&
	    eval_set_open(&set, o->transcoders, o->layers, m, e) == 0)
		rc = write_set(o, m, &set, e);
	eval_set_free(&set);
	model_free(m);
	dev_free(d);
	return rc;
}

int main(int argc, char **argv)
{
	struct opts o;
	struct cli_common c;
	struct err e = { 0 };

	cli_parse(&tool, argc, argv, &o, sizeof(o), &c);
	if (!o.model)
		cli_usage(&tool, "--model is missing");
	if (!o.transcoders)
		cli_usage(&tool, "--transcoders is missing");
	if (!o.out)
		cli_usage(&tool, "--out is missing");
	if (run(&o, &c, &e) < 0)
		cli_die(&tool, &e);
	cli_close_stdout(&tool);
	free(c.command);
	return 0;
}
