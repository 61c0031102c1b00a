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
	const char *thresholds, *name, *scan;
	int64_t skip, tokens, ce_tokens, batch;
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
	CLI_CHOICE(0, "thresholds", struct opts, thresholds, "latent|layer",
	           "latent", "one for each latent, or one for a layer's all"),
	CLI_STR(0, "name", struct opts, name, "NAME", NULL,
	        "the model's name on the Hub; default: what it says itself"),
	CLI_STR(0, "scan", struct opts, scan, "NAME", NULL,
	        "circuit-tracer's name for the set's features"),
	CLI_LONG('n', "tokens", struct opts, tokens, "N", 0, 1e12, "64k",
	         "tokens that thresholds are chosen by and measured on; 0: all"),
	CLI_LONG(0, "ce-tokens", struct opts, ce_tokens, "N", 0, 1e12, "0",
	         "of those measured on, how many also for cross-entropy"),
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

/* The two halves of what is asked for of the stream: to choose by, to measure
 * on. The rest is read to the end all the same, so that a cut stream is noticed
 * and its writer lives. */
static int read_text(struct rec_tokens_in *in, const struct opts *o,
                     const struct model_cfg *c, struct eval_text half[2],
                     struct err *e)
{
	struct eval_text all = { 0 };
	struct rec_tokens r;
	struct err why;
	size_t i;
	int got, rc = -1;

	while ((got = rec_tokens_read(in, &r, e)) > 0) {
		if (o->tokens && all.n >= (size_t)o->tokens)
			continue;
		if (model_takes(c, r.ids, r.n, &why) < 0) {
			stream_bad(rec_tokens_stream(in), e, "%s", why.msg);
			goto done;
		}
		if (eval_text_add(&all, r.ids, r.n, e) < 0)
			goto done;
	}
	for (i = 0; got == 0 && i < all.n_seqs; i++)
		if (eval_text_add(&half[all.start[i] >= all.n / 2],
		                  all.ids + all.start[i],
		                  all.start[i + 1] - all.start[i], e) < 0)
			goto done;
	if (got == 0 && (!half[0].n || !half[1].n))
		err_set(e, ERR_FORMAT, "too few tokens: %zu sequences are not "
		        "two, to choose thresholds by and to measure them on",
		        all.n_seqs);
	else
		rc = got;
done:
	eval_text_free(&all);
	return rc;
}

/* Gives every transcoder thresholds, by half[0]. */
static int choose(const struct eval_opt *v, int each, struct model *m,
                  const struct eval_set *s, const struct eval_text *t,
                  struct err *e)
{
	float **theta = mem_array((size_t)s->n, sizeof(*theta), e);
	int i, rc = theta ? 0 : -1;

	for (i = 0; rc == 0 && i < s->n; i++)
		if (!(theta[i] = mem_scratch(s->tc[i]->cfg.n_latents,
		                             sizeof(**theta), e)))
			rc = -1;
	if (rc == 0)
		rc = eval_theta_fit(v, each, m, s, t, theta, e);
	for (i = 0; rc == 0 && i < s->n; i++)
		rc = eval_theta_apply(s->tc[i], theta[i], e);
	for (i = 0; theta && i < s->n; i++)
		mem_free(theta[i]);
	mem_free(theta);
	return rc;
}

/* TopK becomes thresholds; r[2]: what is lost, before and after. */
static int convert(const struct opts *o, struct model *m,
                   const struct eval_set *s, struct eval_result r[2],
                   struct err *e)
{
	struct eval_opt v = { .skip = (size_t)o->skip,
		.batch = (size_t)o->batch, .ce_tokens = (size_t)o->ce_tokens,
		.fvu_only = o->ce_tokens == 0 };
	struct eval_text half[2] = { { 0 } };
	struct rec_tokens_head h;
	struct rec_tokens_in *in = rec_tokens_open("-", &h, e);
	int rc = -1;

	if (in && read_text(in, o, model_cfg(m), half, e) == 0 &&
	    eval_run(&v, m, s, &half[1], NULL, &r[0], e) == 0 &&
	    choose(&v, strcmp(o->thresholds, "latent") == 0, m, s, &half[0],
	           e) == 0)
		rc = eval_run(&v, m, s, &half[1], NULL, &r[1], e);
	eval_text_free(&half[0]);
	eval_text_free(&half[1]);
	rec_tokens_close(in);
	return rc;
}

static void put_number(json_t *line, const char *key, double v)
{
	json_object_set_new(line, key, json_finite(v));
}

static double mean_threshold(const struct tc *t)
{
	size_t n = t->cfg.n_latents, i;
	float *v = mem_scratch(n, sizeof(*v), NULL);
	double sum = NAN;

	if (v && dev_ops(t->dev)->get(t->dev, v, t->threshold,
	                              n * sizeof(*v), NULL) == 0)
		for (i = 0, sum = 0; i < n; i++)
			sum += (double)v[i] / (double)n;
	mem_free(v);
	return sum;
}

/* What became of the i-th layer, or (i the set's n) of all at once. r: NULL
 * where nothing was changed. */
static int say(const struct eval_set *s, int i, const struct eval_result *r,
               struct err *e)
{
	json_t *line = json_object();
	const char *const names[2][3] = {
		{ "l0_topk", "fvu_topk", "ce_increase_topk" },
		{ "l0", "fvu", "ce_increase" } };
	int k, rc;

	if (i < s->n) {
		const struct tc_cfg *c = &s->tc[i]->cfg;

		json_object_set_new(line, "layer", json_integer(s->layer[i]));
		json_object_set_new(line, "n_latents",
		                    json_integer(c->n_latents));
		json_object_set_new(line, "k", json_integer(c->k));
		if (s->tc[i]->threshold)
			put_number(line, "theta", mean_threshold(s->tc[i]));
	} else
		json_object_set_new(line, "layers", json_integer(s->n));
	if (r)
		json_object_set_new(line, "tokens", json_integer(
			(json_int_t)r[0].fvu_positions));
	for (k = 0; r && k < 2; k++) {
		const struct eval_layer *l = i < s->n ? &r[k].layer[i]
		                                      : &r[k].all;

		if (i < s->n) {
			put_number(line, names[k][0], l->l0);
			put_number(line, names[k][1], l->fvu);
		}
		if (!isnan(l->replaced.ce_increase))
			put_number(line, names[k][2], l->replaced.ce_increase);
	}
	rc = json_dumpf(line, stdout, JSON_REAL_PRECISION(7));
	json_decref(line);
	return rc < 0 || fputc('\n', stdout) == EOF
		? err_sys(e, "write to standard output") : 0;
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
	struct eval_result r[2] = { { 0 } };
	int changed = jump && !s->tc[0]->threshold;

	if (export_check(&x, s->layer, s->tc, s->n, jump, e) < 0)
		return err_wrap(e, "%s", o->transcoders);
	if ((changed && convert(o, m, s, r, e) < 0) || export_begin(&x, e) < 0)
		goto done;
	for (i = 0; i < s->n; i++)
		if (export_layer(&x, s->layer[i], s->tc[i], e) < 0 ||
		    say(s, i, changed ? r : NULL, e) < 0)
			goto done;
	if (changed && o->ce_tokens && say(s, s->n, r, e) < 0)
		goto done;
	rc = export_finish(&x, jump ? 0 : s->tc[0]->cfg.k, e);
done:
	eval_result_free(&r[0]);
	eval_result_free(&r[1]);
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
