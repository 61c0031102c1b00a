/* tceval: measure what transcoders keep of a model's MLPs.
 * stdin: tokens/1.  stdout: one JSON object, eval/1. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "dev.h"
#include "eval.h"
#include "file.h"
#include "json.h"
#include "mem.h"
#include "metrics.h"
#include "progress.h"
#include "rec.h"
#include "tok.h"

struct opts {
	const char *model, *transcoders, *layers, *precision;
	int64_t k, skip, fvu_tokens, ce_tokens, ablation_tokens, batch;
	const char *ablations, *csv;
	struct cli_list generate;
	const char *prompts;
	int64_t gen_tokens;
	double outlier;
	const char *tokenizer, *train_metrics;
};

#define TOKENS_MAX 1e12

static const struct cli_opt options[] = {
	CLI_STR('m', "model", struct opts, model, "MODEL", NULL,
	        "Hugging Face folder or GGUF file"),
	CLI_STR('t', "transcoders", struct opts, transcoders, "DIR", NULL,
	        "folder of layers.N.mlp/, as tctrain and sparsify write"),
	CLI_STR('l', "layers", struct opts, layers, "LIST", "all",
	        "layers to evaluate, as 0,4-7"),
	CLI_LONG('k', "k", struct opts, k, "N", 0, 1e6, "0",
	         "active latents per position; 0: as trained"),
	CLI_LONG(0, "skip", struct opts, skip, "N", 0, 1e6, "1",
	         "first positions of a sequence to leave alone"),
	CLI_REAL(0, "outlier", struct opts, outlier, "R", 0, 1e9, "30",
	         "leave alone positions whose norm is above R medians; 0: none"),
	CLI_LONG(0, "fvu-tokens", struct opts, fvu_tokens, "N", 0, TOKENS_MAX,
	         "64k", "tokens for reconstruction; 0: all"),
	CLI_LONG(0, "ce-tokens", struct opts, ce_tokens, "N", 0, TOKENS_MAX,
	         "4k", "tokens for cross-entropy; 0: all"),
	CLI_LONG(0, "ablation-tokens", struct opts, ablation_tokens, "N", 0,
	         TOKENS_MAX, "0", "how many of those also run ablated; 0: all"),
	CLI_CHOICE(0, "ablations", struct opts, ablations,
	           "none|zero|mean|zero,mean", "zero,mean",
	           "what else to put in the MLP's place"),
	CLI_LONG(0, "batch", struct opts, batch, "N", 1, 1e6, "1024",
	         "tokens that run together"),
	CLI_CHOICE(0, "precision", struct opts, precision, DEV_PRECISIONS,
	           "f32", "how exactly the model's matrices are multiplied"),
	CLI_STR(0, "csv", struct opts, csv, "FILE", NULL,
	        "also write the layers' numbers there"),
	CLI_LIST(0, "generate", struct opts, generate, "TEXT",
	         "continue this prompt, with and without (repeatable)"),
	CLI_STR(0, "prompts", struct opts, prompts, "FILE", NULL,
	        "prompts from JSON lines, member text"),
	CLI_LONG(0, "gen-tokens", struct opts, gen_tokens, "N", 1, 1e5, "64",
	         "longest continuation"),
	CLI_STR(0, "tokenizer", struct opts, tokenizer, "PATH", NULL,
	        "tokenizer of the prompts; default: the model's"),
	CLI_STR(0, "train-metrics", struct opts, train_metrics, "FILE", NULL,
	        "tctrain's metrics, for train_dead_share"),
	CLI_END
};

static const struct cli_tool tool = {
	.name = "tceval",
	.brief = "measure what transcoders keep of a model's MLPs",
	.options = options
};

static struct eval_opt eval_options(const struct opts *o)
{
	struct eval_opt v = {
		.k = (size_t)o->k, .skip = (size_t)o->skip,
		.fvu_tokens = (size_t)o->fvu_tokens,
		.ce_tokens = (size_t)o->ce_tokens,
		.ablation_tokens = (size_t)o->ablation_tokens,
		.batch = (size_t)o->batch, .outlier = o->outlier,
		.zero = strstr(o->ablations, "zero") != NULL,
		.mean = strstr(o->ablations, "mean") != NULL
	};

	return v;
}

/* As much of the stream as the budgets ask for; the rest is read to the end
 * all the same, so that a cut stream is noticed and its writer lives. */
static int read_text(struct rec_tokens_in *in, const struct opts *o,
                     const struct model_cfg *c, struct eval_text *t,
                     struct err *e)
{
	size_t want = (size_t)(o->fvu_tokens > o->ce_tokens ? o->fvu_tokens
	                                                    : o->ce_tokens);
	struct rec_tokens r;
	struct err why;
	int got;

	if (!o->fvu_tokens || !o->ce_tokens)
		want = SIZE_MAX;
	while ((got = rec_tokens_read(in, &r, e)) > 0) {
		if (t->n >= want)
			continue;
		if (model_takes(c, r.ids, r.n, &why) < 0)
			return stream_bad(rec_tokens_stream(in), e, "%s",
			                  why.msg);
		if (eval_text_add(t, r.ids, r.n, e) < 0)
			return -1;
	}
	return got;
}

/* Calls fn with each line of a file of JSON lines. */
static int each_line(const char *path,
                     int (*fn)(void *ctx, const json_t *line, struct err *e),
                     void *ctx, struct err *e)
{
	FILE *f = fopen(path, "r");
	char *line = NULL;
	size_t cap = 0, at = 0;
	ssize_t n;
	int rc = 0;

	if (!f)
		return err_sys(e, "%s", path);
	while (rc == 0 && (n = getline(&line, &cap, f)) > 0) {
		json_t *j = json_parse(line, (size_t)n, "JSON", e);

		at++;
		if (!j || fn(ctx, j, e) < 0)
			rc = err_wrap(e, "%s: line %zu", path, at);
		json_decref(j);
	}
	if (rc == 0 && ferror(f))
		rc = err_sys(e, "%s", path);
	free(line);
	fclose(f);
	return rc;
}

/* A line of tctrain's metrics: a layer's dead share as it stood then. */
static int train_line(void *ctx, const json_t *line, struct err *e)
{
	struct eval_result *r = ctx;
	double dead;
	int64_t layer;
	int i;

	if (!json_object_get(line, "layer") || !json_object_get(line, "dead"))
		return 0;
	if (json_int(line, "layer", 0, INT32_MAX, -1, &layer, e) < 0 ||
	    json_number(line, "dead", 0, 1, -1, &dead, e) < 0)
		return -1;
	for (i = 0; i < r->n; i++)
		if (r->layer[i].layer == layer)
			r->layer[i].train_dead_share = dead;
	return 0;
}

/* ---- continuations ---- */

/* What continuing a prompt takes. */
struct writer {
	struct model *model;
	const struct eval_set *set;
	const struct eval_opt *opt;
	struct tok *tok;
	struct tok_work *work;
	size_t n_new;
	json_t *list;		/* of what was continued */
};

static int write_on(const struct writer *w, const char *prompt, struct err *e)
{
	json_t *j = eval_continue(w->model, w->set, w->opt, w->tok, w->work,
	                          prompt, w->n_new, e);

	return j ? json_array_append_new(w->list, j) : -1;
}

static int write_line(void *ctx, const json_t *line, struct err *e)
{
	const char *text;

	if (json_str(line, "text", NULL, &text, e) < 0)
		return -1;
	if (!text)
		return err_set(e, ERR_FORMAT, "has no member text");
	return write_on(ctx, text, e);
}

static int continuations(const struct opts *o, struct writer *w,
                         struct err *e)
{
	size_t i;
	int rc = -1;

	if (!o->generate.n && !o->prompts)
		return 0;
	if (!(w->tok = tok_open(o->tokenizer ? o->tokenizer : o->model, e)) ||
	    !(w->work = tok_work_new(w->tok, e)))
		goto done;
	for (i = 0; i < o->generate.n; i++)
		if (write_on(w, o->generate.item[i], e) < 0)
			goto done;
	rc = o->prompts ? each_line(o->prompts, write_line, w, e) : 0;
done:
	tok_work_free(w->work);
	tok_free(w->tok);
	return rc;
}

/* ---- the report ---- */

/* What stands in front of the results. */
static json_t *head(const struct opts *o, const struct eval_opt *v,
                    const struct model_cfg *c, const struct rec_tokens_head *h,
                    const struct eval_result *r)
{
	json_t *ablations = json_array();

	if (v->zero)
		json_array_append_new(ablations, json_string("zero"));
	if (v->mean)
		json_array_append_new(ablations, json_string("mean"));
	return json_pack("{s:s, s:{s:s,s:s,s:i,s:i}, s:{s:s,s:i,s:I,s:I,s:I},"
	                 "s:{s:s,s:I,s:I,s:f,s:I,s:o}, s:{s:o,s:o}}",
	                 "kind", "eval/1",
	                 "model", "name", c->name, "fingerprint",
	                 c->fingerprint, "n_layers", (int)c->n_layers,
	                 "d_model", (int)c->d_model,
	                 "tokens", "tokenizer", h->tokenizer,
	                 "n_ctx", (int)h->n_ctx, "fvu_positions",
	                 (json_int_t)r->fvu_positions, "ce_predictions",
	                 (json_int_t)r->ce_predictions, "ablation_predictions",
	                 (json_int_t)r->ablation_predictions,
	                 "settings", "site", REC_SITE_MLP, "k",
	                 (json_int_t)o->k, "skip", (json_int_t)o->skip,
	                 "outlier", o->outlier,
	                 "batch", (json_int_t)o->batch, "ablations", ablations,
	                 "base", "ce", json_finite(r->ce), "ablation_ce",
	                 json_finite(r->ablation_ce));
}

static int report(const struct opts *o, const struct eval_result *r,
                  json_t *obj, json_t *list, const struct rec_tokens_in *in,
                  const struct cli_common *c, const char *fingerprint,
                  struct err *e)
{
	struct stream_out_opt out = {
		.from = rec_tokens_stream(in), .command = c->command,
		.seed = c->seed, .inputs = json_pack("[s]", fingerprint)
	};
	char *text = NULL, *csv = NULL;
	int rc = -1;

	if (eval_result_json(r, obj, e) < 0)
		goto done;
	if (json_object_set(obj, "generations", list) < 0 ||
	    json_object_set_new(obj, "prov", stream_provenance(&out)) < 0) {
		err_set(e, ERR_FORMAT, "the report cannot be made (a command "
		        "line that is not UTF-8?)");
		goto done;
	}
	if (!(text = eval_json_text(obj, e)))
		goto done;
	fputs(text, stdout);
	if (o->csv && (!(csv = eval_csv_text(r, e)) ||
	               file_write(o->csv, csv, strlen(csv), e) < 0))
		goto done;
	rc = 0;
done:
	json_decref(out.inputs);
	mem_free(text);
	mem_free(csv);
	return rc;
}

/* ---- while it runs ---- */

struct watch {
	struct progress progress;
	struct metrics *metrics;
	int begun;
	struct err err;		/* the first failure of metrics */
};

static void show_step(void *ctx, double done, double total)
{
	struct watch *w = ctx;

	if (!w->begun++)
		progress_start(&w->progress, w->progress.fn, w->progress.ctx,
		               "GFLOP", 0, (uint64_t)(total * 2e-9));
	if (done < total * 0.999999)
		progress_at(&w->progress, (uint64_t)(done * 2e-9), NULL);
	else
		progress_end(&w->progress, (uint64_t)(total * 2e-9), NULL);
}

/* One line: the event, and those members of obj (taken) that are known. */
static void say(struct watch *w, const char *event, json_t *obj)
{
	json_t *line, *v;
	const char *key;

	if (!metrics_wanted(w->metrics) || !obj || w->err.code) {
		json_decref(obj);
		return;
	}
	line = json_pack("{s:s}", "event", event);
	json_object_foreach(obj, key, v)
		if (!json_is_null(v))
			json_object_set(line, key, v);
	json_decref(obj);
	metrics_write(w->metrics, line, &w->err);
}

static void show_stats(void *ctx, const struct eval_layer *l)
{
	say(ctx, "fvu", eval_layer_json(l, NULL));
}

static int show_result(struct watch *w, const struct eval_result *r,
                       const json_t *obj, struct err *e)
{
	int i;

	for (i = 0; i < r->n; i++)
		say(w, "ce", eval_layer_json(&r->layer[i], NULL));
	say(w, "all", json_incref(json_object_get(obj, "all")));
	if (w->err.code)
		*e = w->err;
	return w->err.code ? -1 : 0;
}

static int run(const struct opts *o, const struct cli_common *c,
               struct watch *w, struct err *e)
{
	struct eval_watch watch = { show_step, show_stats, w };
	struct log log = cli_log(&tool);
	struct eval_opt v = eval_options(o);
	struct eval_set set = { 0 };
	struct eval_text text = { 0 };
	struct eval_result r = { 0 };
	struct rec_tokens_head h;
	struct rec_tokens_in *in = NULL;
	struct dev *d = NULL;
	struct model *m = NULL;
	json_t *obj = NULL, *list = json_array();
	int rc = -1;

	if (!(in = rec_tokens_open("-", &h, e)) ||
	    !(d = dev_open(c->device, c->threads, e)))
		goto done;
	dev_set_precision(d, o->precision);
	if (!(m = model_open(o->model, d, c->progress ? &log : NULL, e)) ||
	    eval_set_open(&set, o->transcoders, o->layers, m, e) < 0 ||
	    read_text(in, o, model_cfg(m), &text, e) < 0 ||
	    eval_run(&v, m, &set, &text, &watch, &r, e) < 0 ||
	    (o->train_metrics &&
	     each_line(o->train_metrics, train_line, &r, e) < 0) ||
	    continuations(o, &(struct writer) { m, &set, &v, NULL, NULL,
	                  (size_t)o->gen_tokens, list }, e) < 0)
		goto done;
	if (!(obj = head(o, &v, model_cfg(m), &h, &r)))
		err_set(e, ERR_MEM, "no memory for the report");
	else
		rc = report(o, &r, obj, list, in, c,
		            model_cfg(m)->fingerprint, e);
	if (rc == 0)
		rc = show_result(w, &r, obj, e);
done:
	json_decref(obj);
	json_decref(list);
	eval_result_free(&r);
	eval_text_free(&text);
	eval_set_free(&set);
	model_free(m);
	dev_free(d);
	rec_tokens_close(in);
	return rc;
}

/* Without transcoders: the model continues prompts, and nothing is read. */
static int run_plain(const struct opts *o, const struct cli_common *c,
                     struct err *e)
{
	struct eval_opt v = eval_options(o);
	struct dev *d = dev_open(c->device, c->threads, e);
	struct model *m = NULL;
	json_t *obj = NULL, *list = json_array();
	char *text = NULL;
	int rc = -1;

	if (d)
		dev_set_precision(d, o->precision);
	if (!d || !(m = model_open(o->model, d, NULL, e)) ||
	    continuations(o, &(struct writer) { m, NULL, &v, NULL, NULL,
	                        (size_t)o->gen_tokens, list }, e) < 0)
		goto done;
	obj = json_pack("{s:s,s:{s:s,s:s},s:O}", "kind", "eval/1", "model",
	                "name", model_cfg(m)->name, "fingerprint",
	                model_cfg(m)->fingerprint, "generations", list);
	if (!obj)
		err_set(e, ERR_MEM, "no memory for the report");
	else if ((text = eval_json_text(obj, e)))
		rc = fputs(text, stdout) < 0 ? err_sys(e, "write to standard output") : 0;
done:
	mem_free(text);
	json_decref(obj);
	json_decref(list);
	model_free(m);
	dev_free(d);
	return rc;
}

int main(int argc, char **argv)
{
	struct opts o;
	struct cli_common c;
	struct err e = { 0 };
	struct watch w = { .progress.ctx = (void *)&tool };
	int rc;

	cli_parse(&tool, argc, argv, &o, sizeof(o), &c);
	if (!o.model)
		cli_usage(&tool, "--model is missing");
	if (!o.transcoders && !o.generate.n && !o.prompts)
		cli_usage(&tool, "--transcoders is missing");
	w.progress.fn = c.progress ? cli_progress : NULL;
	if (!(w.metrics = metrics_open(c.metrics, 0, &e)))
		cli_die(&tool, &e);
	rc = o.transcoders ? run(&o, &c, &w, &e) : run_plain(&o, &c, &e);
	if (metrics_close(w.metrics, rc < 0 ? NULL : &e) < 0 || rc < 0)
		cli_die(&tool, &e);
	cli_close_stdout(&tool);
	free(c.command);
	free(o.generate.item);
	return 0;
}
