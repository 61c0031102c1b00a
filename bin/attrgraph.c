/* attrgraph: attribution graphs of prompts.
 * stdout or files: Neuronpedia's JSON, or graph/1. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "attrgraph_out.h"
#include "cli.h"
#include "dev.h"
#include "docs.h"
#include "json.h"
#include "mem.h"
#include "metrics.h"
#include "progress.h"
#include "tok.h"

struct opts {
	const char *model, *transcoders, *layers, *tokenizer;
	struct cli_list prompt;
	const char *file, *prompts, *template, *system, *begin;
	struct cli_list at, token, diff, feature;
	int64_t max_logits, max_features, batch, update, memory, neurons;
	double desired_prob, node_threshold, edge_threshold, deadline;
	const char *scratch, *features, *slug, *scan, *source_set, *describe;
	const char *format, *out, *state;
	int html;
	const char *examples, *d3;
	int skip_done, plan;
	int64_t validate;
	struct cli_list set, scale, ablate, steer;
	const char *hold;
	int64_t generate;
};

static const struct cli_opt options[] = {
	CLI_STR('m', "model", struct opts, model, "MODEL", NULL,
	        "Hugging Face folder or GGUF file (required)"),
	CLI_STR('t', "transcoders", struct opts, transcoders, "DIR", NULL,
	        "folder of layers.N.mlp/; without: errors only"),
	CLI_STR('l', "layers", struct opts, layers, "LIST", "all",
	        "layers whose transcoders are used, as 0,4-7"),
	CLI_LONG(0, "neurons", struct opts, neurons, "N", 0, 1e6, "0",
	         "without transcoder: N strongest neurons a position"),
	CLI_STR(0, "tokenizer", struct opts, tokenizer, "PATH", NULL,
	        "tokenizer; default: the model's"),
	CLI_LIST('p', "prompt", struct opts, prompt, "TEXT",
	         "a prompt (repeatable)"),
	CLI_STR(0, "file", struct opts, file, "FILE", NULL,
	        "a prompt: the whole of FILE"),
	CLI_STR(0, "prompts", struct opts, prompts, "FILE", NULL,
	        "prompts from JSON lines: text or messages, slug"),
	CLI_CHOICE(0, "template", struct opts, template,
	           "none|r1|chatml|llama3", "none",
	           "make each prompt a user's turn of a chat"),
	CLI_STR(0, "system", struct opts, system, "TEXT", NULL,
	        "system message of the chat"),
	CLI_STR(0, "begin", struct opts, begin, "TEXT", NULL,
	        "what the answer begins with, such as <think>"),
	CLI_LIST(0, "at", struct opts, at, "POS",
	         "position whose prediction is explained; -1: last (repeatable)"),
	CLI_LIST(0, "token", struct opts, token, "TEXT",
	         "explain this token's logit; #N: token N (repeatable)"),
	CLI_LIST(0, "diff", struct opts, diff, "A//B",
	         "explain logit A less logit B (repeatable)"),
	CLI_LIST(0, "feature", struct opts, feature, "L:F",
	         "explain the input of layer L's latent F (repeatable)"),
	CLI_LONG(0, "max-logits", struct opts, max_logits, "N", 1, 1e6, "10",
	         "most likely tokens explained, at most"),
	CLI_REAL(0, "desired-prob", struct opts, desired_prob, "P", 0, 1,
	         "0.95", "as many of them as reach this probability"),
	CLI_LONG('n', "max-features", struct opts, max_features, "N", 0, 1e9,
	         "7500", "features explained in turn; 0: all active ones"),
	CLI_LONG(0, "batch", struct opts, batch, "N", 1, 1e9, "512",
	         "features chosen at a time, times --update"),
	CLI_LONG(0, "update", struct opts, update, "N", 1, 1e9, "4",
	         "batches between two looks at influence"),
	CLI_REAL(0, "node-threshold", struct opts, node_threshold, "SHARE", 0,
	         1, "0.8", "share of influence that kept nodes have"),
	CLI_REAL(0, "edge-threshold", struct opts, edge_threshold, "SHARE", 0,
	         1, "0.98", "share of influence that kept edges have"),
	CLI_LONG(0, "memory", struct opts, memory, "MIB", 64, 1e9, "2048",
	         "rows held in memory; more go to a file"),
	CLI_STR(0, "scratch", struct opts, scratch, "DIR", NULL,
	        "where that file lies; default: TMPDIR"),
	CLI_FLAG(0, "plan", struct opts, plan,
	         "tell time and memory it will take, and stop there"),
	CLI_STR(0, "state", struct opts, state, "FILE", NULL,
	        "where a run that a signal stopped goes on"),
	CLI_REAL(0, "deadline", struct opts, deadline, "S", 0, 1e9, "0",
	         "stop choosing features after S seconds a prompt; 0: never"),
	CLI_STR('f', "features", struct opts, features, "DB", NULL,
	        "SQLite file of labels, to name features by"),
	CLI_STR(0, "examples", struct opts, examples, "FILE", NULL,
	        "examples/1 of the latents, for pages"),
	CLI_STR(0, "slug", struct opts, slug, "NAME", NULL,
	        "name of the graph; default: from the prompt"),
	CLI_STR(0, "scan", struct opts, scan, "NAME", NULL,
	        "model id for viewers; default: the model's name"),
	CLI_STR(0, "source-set", struct opts, source_set, "NAME", NULL,
	        "the transcoders' source set on Neuronpedia"),
	CLI_STR(0, "describe", struct opts, describe, "TEXT", NULL,
	        "description in the metadata"),
	CLI_CHOICE(0, "format", struct opts, format, "json|graph", "json",
	           "Neuronpedia's JSON, or a graph/1 stream"),
	CLI_STR('o', "out", struct opts, out, "DIR", NULL,
	        "write DIR/SLUG.json and DIR/graph-metadata.json"),
	CLI_FLAG(0, "html", struct opts, html,
	         "write a page to look at; with --out beside the JSON"),
	CLI_STR(0, "d3", struct opts, d3, "FILE", NULL,
	        "d3 for pages; default: R1_D3, else Debian's"),
	CLI_FLAG(0, "skip-done", struct opts, skip_done,
	         "with --out: pass over graphs that are there"),
	CLI_LONG(0, "validate", struct opts, validate, "N", 0, 1e6, "0",
	         "ablate the N strongest features; was the graph right?"),
	CLI_LIST(0, "set", struct opts, set, "L:F@P=V",
	         "intervene: latent F of layer L at positions P is V"),
	CLI_LIST(0, "scale", struct opts, scale, "L:F@P=V",
	         "intervene: it is V times what it was"),
	CLI_LIST(0, "ablate", struct opts, ablate, "L:F@P",
	         "intervene: it is 0"),
	CLI_LIST(0, "steer", struct opts, steer, "L:F@P=V",
	         "intervene: it is V more than it was"),
	CLI_CHOICE(0, "hold", struct opts, hold, "nothing|patterns|all",
	           "patterns", "intervene: what does not follow"),
	CLI_LONG(0, "generate", struct opts, generate, "N", 0, 1e5, "0",
	         "intervene: go on by N tokens, with and without"),
	CLI_END
};

/* The graph is the same without these. */
static const char *const unrecorded[] = { "html", "examples", "d3", NULL };

static const struct cli_tool tool = {
	.name = "attrgraph",
	.brief = "trace what a model's prediction came from",
	.operands = "[intervene | view GRAPH ...]", .min_operands = 0,
	.max_operands = -1,
	.options = options, .unrecorded = unrecorded
};

/* All that lasts longer than a prompt. */
struct job {
	const struct opts *o;
	const struct cli_common *c;
	struct tok *tok;
	struct model *model;
	struct attr_set *set;
	struct attr *attr;
	struct attrgraph_labels *labels;
	struct attrgraph_chat chat;
	struct attr_opt opt;
	struct attr_intervention change;	/* n_edits 0: graphs */
	int intervene;
	struct progress progress;
	struct metrics *metrics;
	struct attrgraph_out *out;
	struct timespec begun;
	double begun_cpu;	/* seconds of the process then */
	size_t n_done;
	json_t *slugs;		/* how often each was given */
};

static double seconds_since(const struct timespec *t)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - t->tv_sec) +
	       (double)(now.tv_nsec - t->tv_nsec) * 1e-9;
}

static double cpu_seconds(void)
{
	struct timespec c;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &c);
	return (double)c.tv_sec + (double)c.tv_nsec * 1e-9;
}

/* ---- targets ---- */

static int targets(struct job *j, const struct attrgraph_prompt *p,
                   struct err *e)
{
	const struct opts *o = j->o;
	const struct attrgraph_targets t = {
		.token = o->token.item, .n_tokens = o->token.n,
		.diff = o->diff.item, .n_diffs = o->diff.n,
		.feature = o->feature.item, .n_features = o->feature.n,
		.max_logits = (size_t)o->max_logits,
		.desired_prob = o->desired_prob
	};
	size_t i, pos = p->n - 1;

	for (i = 0; i < o->at.n; i++)
		if (attrgraph_position(o->at.item[i], p->n, &pos, e) < 0 ||
		    attrgraph_target(j->attr, j->tok, &t, pos, e) < 0)
			return -1;
	return o->at.n ? 0 : attrgraph_target(j->attr, j->tok, &t, pos, e);
}

/* ---- output ---- */

static int to_stdout(void *ctx, const char *bytes, size_t n, struct err *e)
{
	(void)ctx;
	return fwrite(bytes, 1, n, stdout) == n
		? 0 : err_sys(e, "write to standard output");
}

static int report(struct job *j, const struct attr_graph *g,
                  const struct attr_pruned *p, const json_t *meta,
                  double seconds, struct err *e)
{
	json_t *line;

	if (!metrics_wanted(j->metrics))
		return 0;
	line = json_pack("{s:O,s:I,s:I,s:I,s:I,s:f,s:f,s:f,s:O}", "slug",
	                 json_object_get(meta, "slug"), "tokens",
	                 (json_int_t)g->n_pos, "features",
	                 (json_int_t)g->n_features, "nodes",
	                 (json_int_t)p->n_kept, "links",
	                 (json_int_t)p->first[g->n_features + g->n_targets],
	                 "seconds", seconds, "cpu_seconds",
	                 cpu_seconds() - j->begun_cpu, "memory_mib",
	                 (double)mem_resident_most() / (1 << 20), "graph",
	                 json_object_get(meta, "r1_interp"));
	return metrics_write(j->metrics, line, e);
}

/* ---- interventions ---- */

static int add_edits(struct job *j, const struct cli_list *l,
                     enum attr_edit_kind kind, int has_value, struct err *e)
{
	struct attr_edit *edit = (struct attr_edit *)j->change.edit;
	size_t i;

	for (i = 0; i < l->n; i++)
		if (attrgraph_edit(l->item[i], kind, has_value,
		                   &edit[j->change.n_edits++], e) < 0)
			return -1;
	return 0;
}

static int read_edits(struct job *j, struct err *e)
{
	const struct opts *o = j->o;
	size_t n = o->set.n + o->scale.n + o->ablate.n + o->steer.n;

	j->change.held = *o->hold == 'n' ? MODEL_HELD_NOTHING
		: *o->hold == 'p' ? MODEL_HELD_PATTERNS : MODEL_HELD_ALL;
	if (!(j->change.edit = mem_array(n, sizeof(struct attr_edit), e)))
		return -1;
	return add_edits(j, &o->set, ATTR_SET, 1, e) < 0 ||
	       add_edits(j, &o->scale, ATTR_SCALE, 1, e) < 0 ||
	       add_edits(j, &o->ablate, ATTR_SET, 0, e) < 0 ||
	       add_edits(j, &o->steer, ATTR_ADD, 1, e) < 0 ? -1 : 0;
}

static int intervene_at(struct job *j, const struct attrgraph_prompt *p,
                        size_t pos, struct err *e)
{
	uint32_t *more = mem_array(j->o->token.n, sizeof(*more), e);
	struct attrgraph_change c = {
		.prompt = p, .intervention = &j->change, .tok = j->tok,
		.n_vocab = model_cfg(j->model)->n_vocab, .pos = pos,
		.n_tokens = (size_t)j->o->max_logits, .more = more,
		.n_more = j->o->token.n, .n_new = (size_t)j->o->generate
	};
	json_t *o = NULL;
	char *text;
	size_t i;
	int rc = -1;

	for (i = 0; more && i < j->o->token.n; i++)
		if (attrgraph_token(j->tok, j->o->token.item[i], &more[i],
		                    e) < 0)
			goto done;
	if (!more || !(o = attrgraph_change_json(j->attr, &c, e)))
		goto done;
	text = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(7));
	if (text)
		rc = puts(text) < 0 ? err_sys(e, "write to standard output") : 0;
	else
		err_set(e, ERR_MEM, "no memory for the report");
	free(text);
done:
	json_decref(o);
	mem_free(more);
	return rc;
}

static int intervene(struct job *j, const struct attrgraph_prompt *p,
                     struct err *e)
{
	size_t i, pos = p->n - 1;

	if (attr_prompt(j->attr, p->ids, p->n, e) < 0)
		return -1;
	for (i = 0; i < j->o->at.n; i++)
		if (attrgraph_position(j->o->at.item[i], p->n, &pos, e) < 0 ||
		    intervene_at(j, p, pos, e) < 0)
			return -1;
	return j->o->at.n ? 0 : intervene_at(j, p, pos, e);
}

/* ---- one prompt ---- */

static int step(void *ctx, size_t done, size_t total)
{
	struct job *j = ctx;

	(void)total;
	progress_at(&j->progress, done, NULL);
	return *cli_stopped() || (j->o->deadline > 0 &&
	                          seconds_since(&j->begun) > j->o->deadline);
}

/* What a prompt will take, as a line of JSON. */
static int plan(struct job *j, struct err *e)
{
	double spent = seconds_since(&j->begun);
	double cpu = cpu_seconds() - j->begun_cpu;
	const struct attr_feature *f;
	struct attr_plan p;
	json_t *o;
	char *text;

	if (attr_plan(j->attr, &j->opt, 1, &p, e) < 0)
		return -1;
	o = json_pack("{s:I,s:I,s:f,s:f,s:f,s:f,s:f}", "active_features",
	              (json_int_t)attr_features(j->attr, &f), "features",
	              (json_int_t)p.features, "seconds", spent + p.seconds,
	              "cpu_seconds", cpu + p.cpu_seconds, "memory_mib", (double)p.peak_bytes / (1 << 20),
	              "rows_mib", (double)p.rows_bytes / (1 << 20), "disk_mib",
	              (double)p.disk_bytes / (1 << 20));
	text = o ? json_dumps(o, JSON_REAL_PRECISION(6)) : NULL;
	json_decref(o);
	if (!text)
		return err_set(e, ERR_MEM, "no memory for the plan");
	puts(text);
	free(text);
	return ferror(stdout) ? err_sys(e, "write to standard output") : 0;
}

/* Refuses what the machine cannot hold before it is begun. */
static int check_prompt(struct job *j, size_t n, struct err *e)
{
	size_t need = attr_prompt_bytes(j->attr, n), have = mem_available();

	if (n > model_cfg(j->model)->n_ctx || need <= have)
		return 0;	/* attr_prompt says what is too long */
	return err_set(e, ERR_MEM, "a prompt of %zu tokens will take about %zu "
	               "MiB, %zu MiB are left", n, need >> 20, have >> 20);
}

/* A second graph of a name has a number behind it. */
static char *slug_of(struct job *j, const struct attrgraph_prompt *p,
                     struct err *e)
{
	char *slug = j->o->slug ? mem_strdup(j->o->slug, e)
		: attrgraph_name(p->slug[0] ? p->slug : p->text, e), *other;
	json_int_t n;

	if (!slug)
		return NULL;
	n = json_integer_value(json_object_get(j->slugs, slug)) + 1;
	json_object_set_new(j->slugs, slug, json_integer(n));
	if (n == 1)
		return slug;
	other = mem_printf(e, "%s-%lld", slug, (long long)n);
	mem_free(slug);
	return other;
}

static int finish(struct job *j, const struct attrgraph_prompt *p,
                  const char *slug, int stopped, struct err *e)
{
	const struct opts *o = j->o;
	struct attrgraph_about about = {
		.slug = slug, .scan = o->scan, .source_set = o->source_set,
		.prompt = p->text, .description = o->describe,
		.command = j->c->command, .max_logits = (size_t)o->max_logits,
		.desired_prob = o->desired_prob,
		.node_share = o->node_threshold,
		.edge_share = o->edge_threshold, .opt = &j->opt,
		.model = model_cfg(j->model), .set = j->set,
		.neurons = (size_t)o->neurons, .stopped = stopped
	};
	struct attr_graph *g = attr_graph_new(j->attr, e);
	struct attr_pruned kept = { 0 };
	struct attr_check check;
	char *scan = NULL;
	json_t *meta = NULL;
	int rc = -1;

	if (!about.scan)
		about.scan = scan = attrgraph_name(about.model->name, e);
	if (g && o->validate) {
		if (attr_validate(j->attr, g, (size_t)o->validate, &check,
		                  e) < 0)
			goto done;
		about.check = &check;
	}
	if (!g || !about.scan ||
	    attr_prune(g, o->node_threshold, o->edge_threshold, &kept, e) < 0 ||
	    !(meta = attrgraph_metadata(g, &about, j->tok, e)) ||
	    attrgraph_out_graph(j->out, g, &kept, meta, e) < 0)
		goto done;
	rc = report(j, g, &kept, meta, seconds_since(&j->begun), e);
done:
	json_decref(meta);
	attr_pruned_free(&kept);
	attr_graph_free(g);
	mem_free(scan);
	return rc;
}

static int one(struct job *j, const struct attrgraph_prompt *p, struct err *e)
{
	const struct attr_watch watch = { step, j };
	const struct attr_feature *f;
	char *slug = slug_of(j, p, e);
	size_t n;
	int rc = -1, stopped;

	clock_gettime(CLOCK_MONOTONIC, &j->begun);
	j->begun_cpu = cpu_seconds();
	if (!slug)
		return -1;
	if (j->intervene) {
		rc = intervene(j, p, e);
		goto done;
	}
	if (j->o->skip_done && (rc = attrgraph_out_there(j->out, slug, e))) {
		rc = rc < 0 ? -1 : 0;
		goto done;
	}
	rc = -1;
	if (check_prompt(j, p->n, e) < 0 ||
	    attr_prompt(j->attr, p->ids, p->n, e) < 0 || targets(j, p, e) < 0)
		goto done;
	if (j->o->plan) {
		rc = plan(j, e);
		goto done;
	}
	n = attr_features(j->attr, &f);
	if (j->o->max_features && n > (size_t)j->o->max_features)
		n = (size_t)j->o->max_features;
	progress_start(&j->progress, j->progress.fn, j->progress.ctx,
	               "features", 0, n);
	if ((stopped = attr_run(j->attr, &j->opt, &watch, e)) < 0)
		goto done;
	progress_end(&j->progress, n, slug);
	if (*cli_stopped() && stopped && j->o->state) {
		rc = 0;		/* the state is written */
		goto done;
	}
	rc = finish(j, p, slug, stopped, e);
	j->n_done++;
done:
	mem_free(slug);
	return rc;
}

/* ---- all prompts ---- */

static int text_prompt(struct job *j, const char *text, struct err *e)
{
	struct attrgraph_prompt p = { 0 };
	int rc = attrgraph_prompt_text(&p, j->tok, &j->chat, text, e);

	if (rc == 0)
		rc = one(j, &p, e);
	attrgraph_prompt_free(&p);
	return rc;
}

static int line_prompt(struct job *j, const struct doc *d, struct err *e)
{
	struct attrgraph_prompt p = { 0 };
	json_t *line = json_parse(d->text, d->n, "JSON", e);
	int rc = -1;

	if (line && attrgraph_prompt_line(&p, j->tok, &j->chat, line, e) == 0)
		rc = one(j, &p, e);
	attrgraph_prompt_free(&p);
	json_decref(line);
	return rc < 0 ? err_wrap(e, "%s: line %llu", d->name,
	                         (unsigned long long)d->line) : 0;
}

static int each_doc(struct job *j, const char *path, enum docs_format format,
                    struct err *e)
{
	const struct docs_opt o = { .format = format, .stop = cli_stopped() };
	struct docs *docs = docs_open(&path, 1, &o, e);
	const struct doc *d;
	size_t n;
	char *text;
	int got;

	if (!docs)
		return e->code == ERR_STOP ? 0 : -1;
	while ((got = docs_batch(docs, 1, 1, &d, &n, e)) > 0 && !*cli_stopped()) {
		if (format == DOCS_LINES) {
			got = line_prompt(j, d, e);
		} else {
			text = mem_strndup(d->text, d->n, e);
			got = text ? text_prompt(j, text, e) : -1;
			mem_free(text);
		}
		if (got < 0)
			break;
	}
	docs_free(docs);
	return got < 0 && e->code != ERR_STOP ? -1 : 0;
}

static int all(struct job *j, struct err *e)
{
	const struct opts *o = j->o;
	size_t i;

	for (i = 0; i < o->prompt.n && !*cli_stopped(); i++)
		if (text_prompt(j, o->prompt.item[i], e) < 0)
			return -1;
	if (o->file && each_doc(j, o->file, DOCS_TEXT, e) < 0)
		return -1;
	if (o->prompts && each_doc(j, o->prompts, DOCS_LINES, e) < 0)
		return -1;
	if (*cli_stopped())
		return err_set(e, ERR_STOP, "stopped by a signal, %zu graphs "
		               "are written", j->n_done);
	return 0;
}

static int run(struct job *j, struct err *e)
{
	const struct opts *o = j->o;
	struct dev *d = dev_open(j->c->device, j->c->threads, e);
	struct log log = cli_log(&tool);
	int rc = -1;

	j->opt = attr_opt_default;
	j->opt.max_features = (size_t)o->max_features;
	j->opt.batch = (size_t)o->batch;
	j->opt.update = (size_t)o->update;
	j->opt.rows_bytes = (size_t)o->memory << 20;
	j->opt.scratch = o->scratch;
	j->opt.state = o->state;
	j->chat.template = (enum chat_template)chat_template(o->template);
	j->chat.system = o->system;
	j->chat.begin = o->begin;
	if (read_edits(j, e) < 0 || !d ||
	    !(j->tok = tok_open(o->tokenizer ? o->tokenizer : o->model, e)) ||
	    !(j->model = model_open(o->model, d, j->c->progress ? &log : NULL,
	                            e)) ||
	    !(j->set = attr_set_open(o->transcoders, o->layers, j->model,
	                             (size_t)o->memory << 20, e)) ||
	    !(j->attr = attr_new(j->model, j->set, e)) ||
	    (o->features && !(j->labels = attrgraph_labels_open(o->features,
	                                                        e))))
		goto done;
	attr_neurons(j->attr, (size_t)o->neurons);
	attrgraph_out_names(j->out, j->tok, j->labels,
	                    model_cfg(j->model)->fingerprint);
	rc = all(j, e);
	if (rc == 0 || e->code == ERR_STOP) {
		struct err late = { 0 };

		if (attrgraph_out_finish(j->out, &late) < 0) {
			*e = late;
			rc = -1;
		}
	}
done:
	attrgraph_labels_close(j->labels);
	attr_free(j->attr);
	attr_set_free(j->set);
	model_free(j->model);
	tok_free(j->tok);
	dev_free(d);
	mem_free((void *)j->change.edit);
	return rc;
}

/* attrgraph view: pages of graphs that are there. */
static int view(struct job *j, char **paths, int n, struct err *e)
{
	const struct opts *o = j->o;
	const char *tok = o->tokenizer ? o->tokenizer : o->model;
	int i, rc = 0;

	if (o->examples && !tok)
		return err_set(e, ERR_USAGE, "--examples are ids: --tokenizer "
		               "or --model is missing");
	if (o->examples && !(j->tok = tok_open(tok, e)))
		return -1;
	attrgraph_out_names(j->out, j->tok, NULL, NULL);
	for (i = 0; i < n && rc == 0; i++)
		rc = attrgraph_out_file(j->out, paths[i], e);
	if (rc == 0 && n == 0)
		rc = attrgraph_out_file(j->out, "-", e);
	if (rc == 0)
		rc = attrgraph_out_finish(j->out, e);
	tok_free(j->tok);
	return rc;
}

static void check(const struct opts *o, int intervene)
{
	size_t n = o->prompt.n + (o->file != NULL);
	size_t edits = o->set.n + o->scale.n + o->ablate.n + o->steer.n;

	if (!o->model)
		cli_usage(&tool, "--model is missing");
	if (!n && !o->prompts)
		cli_usage(&tool, "a prompt is missing: --prompt, --file or "
		          "--prompts");
	if (intervene && !o->transcoders && !o->neurons)
		cli_usage(&tool, "intervene needs --transcoders or --neurons");
	if (intervene && !edits)
		cli_usage(&tool, "intervene needs --set, --scale, --ablate or "
		          "--steer");
	if (!intervene && edits)
		cli_usage(&tool, "--set, --scale, --ablate and --steer are for "
		          "attrgraph intervene");
	if (intervene)
		return;
	if (!o->out && !o->plan && !o->html && strcmp(o->format, "graph") &&
	    (n > 1 || o->prompts))
		cli_usage(&tool, "several prompts need --out, --html or "
		          "--format graph");
	if (o->html && !strcmp(o->format, "graph"))
		cli_usage(&tool, "--html writes a page, --format graph a "
		          "stream");
	if (o->examples && !o->html)
		cli_usage(&tool, "--examples are for --html");
	if (o->out && !strcmp(o->format, "graph"))
		cli_usage(&tool, "--out writes JSON, --format graph a stream");
	if (o->state && (n > 1 || o->prompts))
		cli_usage(&tool, "--state holds one graph");
	if (o->slug && (n > 1 || o->prompts))
		cli_usage(&tool, "--slug names one graph");
	if (o->slug && !attrgraph_name_ok(o->slug))
		cli_usage(&tool, "--slug '%s': letters, digits, _ . - wanted",
		          o->slug);
	if (o->scan && !attrgraph_scan_ok(o->scan))
		cli_usage(&tool, "--scan '%s': letters, digits, _ . - / @ wanted",
		          o->scan);
	if (!strcmp(o->format, "graph") && !o->plan)
		cli_no_terminal(&tool);
}

int main(int argc, char **argv)
{
	struct opts o;
	struct cli_common c;
	struct err e = { 0 };
	struct job j = { .o = &o, .c = &c, .slugs = json_object() };
	int first = cli_parse(&tool, argc, argv, &o, sizeof(o), &c), rc;
	int views = first < argc && !strcmp(argv[first], "view");

	j.intervene = first < argc && !views;
	if (j.intervene && (strcmp(argv[first], "intervene") ||
	                    first + 1 < argc))
		cli_usage(&tool, "'%s': the commands are intervene, and view "
		          "with files", argv[argc - 1]);
	if (views && (o.prompt.n || o.file || o.prompts))
		cli_usage(&tool, "view shows graphs that are there; a prompt "
		          "makes one (--html)");
	if (!views)
		check(&o, j.intervene);
	if (!(j.out = attrgraph_out_new(&(struct attrgraph_out_cfg){
			.dir = o.out, .records = !strcmp(o.format, "graph"),
			.pages = (views || o.html) && !o.plan && !j.intervene,
			.features = o.features, .examples = o.examples,
			.d3 = o.d3, .put = to_stdout, .command = c.command,
			.seed = c.seed }, &e)))
		cli_die(&tool, &e);
	cli_stop_on_signals();
	j.progress.fn = c.progress ? cli_progress : NULL;
	j.progress.ctx = (void *)&tool;
	if (!(j.metrics = metrics_open(c.metrics, 0, &e)))
		cli_die(&tool, &e);
	rc = views ? view(&j, argv + first + 1, argc - first - 1, &e)
	           : run(&j, &e);
	attrgraph_out_free(j.out);
	if (metrics_close(j.metrics, rc < 0 ? NULL : &e) < 0 || rc < 0)
		cli_die(&tool, &e);
	if (j.intervene || o.plan || (!o.out && strcmp(o.format, "graph")))
		cli_close_stdout(&tool);
	json_decref(j.slugs);
	free(c.command);
	free(o.prompt.item);
	free(o.at.item);
	free(o.token.item);
	free(o.diff.item);
	free(o.feature.item);
	free(o.set.item);
	free(o.scale.item);
	free(o.ablate.item);
	free(o.steer.item);
	return 0;
}
