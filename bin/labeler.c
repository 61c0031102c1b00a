/* labeler: name latents with a language model, and test the names.
 * stdin: examples/1.  stdout: labels/1, or what --to says. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "dev.h"
#include "examples.h"
#include "json.h"
#include "label_out.h"
#include "label_run.h"
#include "label_server.h"
#include "mem.h"
#include "metrics.h"
#include "model.h"
#include "progress.h"

struct opts {
	const char *provider, *model, *tokenizer, *db, *base_url, *key_file;
	const char *prompt, *detect_prompt, *fuzz_prompt, *embed_prompt;
	const char *embed_provider, *embed_model, *embed_url, *embed_key_file;
	const char *layers, *list;
	double min_frequency;
	int64_t per_layer, show, test, per_ask, window;
	const char *scores;
	int64_t attempts, tries, concurrency, max_tokens, context;
	double deadline, wait, wait_max;
	int batch;
	int64_t batch_size;
	double poll;
	struct cli_list param;
	const char *format, *precision;
	int any_model;
	double max_usd;
	const char *prices;
	int dry_run;
	int64_t assume;
	const char *import;
	int export;
	const char *to, *neuronpedia;
};

static const struct cli_opt options[] = {
	CLI_CHOICE('p', "provider", struct opts, provider,
	           "local|anthropic|openai|tokens", "local", "who answers"),
	CLI_STR('m', "model", struct opts, model, "MODEL", NULL,
	        "the provider's name of it; local: folder or GGUF file"),
	CLI_STR(0, "tokenizer", struct opts, tokenizer, "PATH", NULL,
	        "tokenizer of the examples; default: the local model's"),
	CLI_STR('d', "db", struct opts, db, "FILE", NULL,
	        "database of all answers, labels and scores"),
	CLI_STR(0, "base-url", struct opts, base_url, "URL", NULL,
	        "another server that speaks the provider's API"),
	CLI_STR(0, "key-file", struct opts, key_file, "FILE", NULL,
	        "the key; default: ANTHROPIC_API_KEY or OPENAI_API_KEY"),
	CLI_STR(0, "prompt", struct opts, prompt, "NAME", NULL,
	        "prompt for labels, built in or FILE.txt"),
	CLI_STR(0, "detect-prompt", struct opts, detect_prompt, "NAME", NULL,
	        "prompt for detection"),
	CLI_STR(0, "fuzz-prompt", struct opts, fuzz_prompt, "NAME", NULL,
	        "prompt for fuzzing"),
	CLI_STR(0, "embed-prompt", struct opts, embed_prompt, "NAME", NULL,
	        "what stands for a label in embeddings"),
	CLI_STR('l', "layers", struct opts, layers, "LIST", "all",
	        "layers to label, as 0,4-7"),
	CLI_STR(0, "list", struct opts, list, "FILE", NULL,
	        "label only these: lines of layer and latent"),
	CLI_REAL(0, "min-frequency", struct opts, min_frequency, "SHARE", 0, 1,
	         "0.001", "latents that fire on fewer tokens are left out"),
	CLI_LONG(0, "per-layer", struct opts, per_layer, "N", 0, 1e9, "0",
	         "draw so many latents of each layer; 0: all"),
	CLI_LONG(0, "show", struct opts, show, "N", 1, 100, "15",
	         "contexts shown for a label"),
	CLI_LONG(0, "test", struct opts, test, "N", 0, 100, "10",
	         "contexts with and without to test it on; 0: no scores"),
	CLI_LONG(0, "per-ask", struct opts, per_ask, "N", 1, LABEL_ITEMS_MAX,
	         "10", "contexts judged by one request"),
	CLI_LONG(0, "window", struct opts, window, "N", 0, 4096, "0",
	         "tokens of a context at most; 0: as they come"),
	CLI_CHOICE(0, "scores", struct opts, scores,
	           "both|detection|embedding|all", "both",
	           "how labels are tested"),
	CLI_CHOICE(0, "embed-provider", struct opts, embed_provider,
	           "openai|local|anthropic", "openai", "who embeds"),
	CLI_STR(0, "embed-model", struct opts, embed_model, "MODEL", NULL,
	        "what embeds; local: folder or file, default: --model"),
	CLI_STR(0, "embed-url", struct opts, embed_url, "URL", NULL,
	        "another server that embeds, by OpenAI's API"),
	CLI_STR(0, "embed-key-file", struct opts, embed_key_file, "FILE", NULL,
	        "its key"),
	CLI_LONG(0, "attempts", struct opts, attempts, "N", 1, 9, "3",
	         "at an answer that can be used"),
	CLI_LONG(0, "tries", struct opts, tries, "N", 1, 100, "8",
	         "of a request that fails for a reason that may pass"),
	CLI_LONG(0, "concurrency", struct opts, concurrency, "N", 1, 1000, "8",
	         "requests side by side"),
	CLI_REAL(0, "deadline", struct opts, deadline, "S", 0.1, 86400, "300",
	         "seconds for one answer"),
	CLI_REAL(0, "wait", struct opts, wait, "S", 0, 60, "1",
	         "first pause before trying again; it doubles"),
	CLI_REAL(0, "wait-max", struct opts, wait_max, "S", 0, 86400, "300",
	         "longest pause a server may ask for"),
	CLI_LONG(0, "max-tokens", struct opts, max_tokens, "N", 16, 1e6, "1024",
	         "longest answer"),
	CLI_LIST(0, "param", struct opts, param, "NAME=JSON",
	         "send this member too, as temperature=0 (repeatable)"),
	CLI_CHOICE(0, "format", struct opts, format, "schema|object|text",
	           "schema", "how the server is asked for JSON"),
	CLI_FLAG(0, "any-model", struct opts, any_model,
	         "accept answers of another model than the one asked"),
	CLI_FLAG(0, "batch", struct opts, batch,
	         "use the batch API: half the price, within a day"),
	CLI_LONG(0, "batch-size", struct opts, batch_size, "N", 1, 50000,
	         "10000", "requests of one batch"),
	CLI_REAL(0, "poll", struct opts, poll, "S", 0.1, 3600, "60",
	         "seconds between looks at a batch"),
	CLI_LONG(0, "context", struct opts, context, "N", 256, 1e6, "4096",
	         "longest prompt with its answer of a local model"),
	CLI_CHOICE(0, "precision", struct opts, precision, DEV_PRECISIONS,
	           "f32", "how exactly a local model's matrices are multiplied"),
	CLI_REAL(0, "max-usd", struct opts, max_usd, "USD", 0, 1e9, "0",
	         "stop when the database's answers cost so much; 0: never"),
	CLI_STR(0, "prices", struct opts, prices, "FILE", NULL,
	        "another table of prices"),
	CLI_FLAG('n', "dry-run", struct opts, dry_run,
	         "ask nothing: print what it would take, as JSON"),
	CLI_LONG(0, "assume", struct opts, assume, "N", 1, 1e9, "1",
	         "with --dry-run and no examples: so many latents"),
	CLI_STR(0, "import", struct opts, import, "FILE", NULL,
	        "ask nothing: take the labels of this stream or database"),
	CLI_FLAG('x', "export", struct opts, export,
	         "ask and read nothing: write what the database holds"),
	CLI_CHOICE(0, "to", struct opts, to,
	           "labels|csv|json|sql|neuronpedia|none", "labels",
	           "what to write on standard output"),
	CLI_STR(0, "neuronpedia", struct opts, neuronpedia, "MODEL/SET", NULL,
	        "names for --to neuronpedia"),
	CLI_END
};

/* Where things are and how patiently they are asked for. */
static const char *const unrecorded[] = {
	"db", "key-file", "embed-key-file", "import", "prices", "max-usd",
	"concurrency", "tries",
	"wait", "wait-max", "deadline", "poll", "batch-size", NULL
};

static const struct cli_tool tool = {
	.name = "labeler",
	.brief = "name latents with a language model, and test the names",
	.options = options,
	.unrecorded = unrecorded
};

/* Whether labels are scored by embeddings. */
static int embeds(const struct opts *o)
{
	return !strcmp(o->scores, "embedding") || !strcmp(o->scores, "all");
}

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
	(void)sig;
	stopped = 1;
}

/* All that a run needs, and its end. */
struct run {
	const struct opts *o;
	const struct cli_common *c;
	struct label_plan plan;
	struct label_wire wire;
	struct label_run_opt opt;
	struct label_server server;
	struct label_wire embed_wire;
	struct label_run_opt embed;
	struct label_server embed_server;
	json_t *extra;
	char *extra_text;
	struct dev *dev;
	struct model *model;
	struct tok *tok;
	struct label_local *local;
	struct model *near_model;
	struct tok *near_tok;
	struct label_near *near;
	struct label_db *db;
	struct label_set set;
	struct progress progress;
};

static void run_free(struct run *r)
{
	int i;

	label_set_free(&r->set);
	label_db_close(r->db);
	label_local_free(r->local);
	label_near_free(r->near);
	tok_free(r->near_tok);
	model_free(r->near_model);
	tok_free(r->tok);
	model_free(r->model);
	dev_free(r->dev);
	for (i = 0; i < LABEL_KINDS; i++)
		label_prompt_free(&r->plan.prompt[i]);
	label_server_close(&r->server);
	label_server_close(&r->embed_server);
	json_decref(r->extra);
	free(r->extra_text);
}

static void show(void *ctx, size_t done, size_t labelled, double usd)
{
	struct run *r = ctx;
	char note[64];

	snprintf(note, sizeof(note), "%zu labelled, %.4f dollars", labelled,
	         usd);
	progress_at(&r->progress, done, note);
}

/* ---- setting up ---- */

static int set_params(struct run *r, struct err *e)
{
	r->extra = label_wire_params(r->o->param.item, r->o->param.n, e);
	if (!r->extra)
		return -1;
	r->extra_text = json_dumps(r->extra, JSON_COMPACT | JSON_SORT_KEYS);
	return r->extra_text ? 0 : err_set(e, ERR_USAGE, "--param: not UTF-8");
}

/* What a server's model costs. */
static int set_price(const struct opts *o, const char *model, struct label_run_opt *opt,
                     struct err *e)
{
	int got = label_price(o->prices, model, &opt->price, e);

	opt->priced = got > 0;
	if (!got && o->max_usd > 0)
		return err_set(e, ERR_USAGE, "--max-usd: no price of %s is "
		               "known: give --prices", model);
	return got < 0 ? -1 : 0;
}

static int set_server(struct run *r, struct err *e)
{
	const struct opts *o = r->o;

	if (label_server_open(&r->server, r->wire.who, o->base_url, o->key_file,
	                      r->wire.who == LABEL_ANTHROPIC
	                      ? "ANTHROPIC_API_KEY" : "OPENAI_API_KEY",
	                      !o->dry_run && !o->import, e) < 0)
		return -1;
	r->wire.base_url = r->server.base;
	r->opt.headers = r->server.headers;
	r->opt.secret = label_server_secret(&r->server);
	return set_price(o, o->model, &r->opt, e);
}

/* The labeller's own server embeds too, unless another is named, which gets no key
 * of the environment that another server has got. */
static int set_embedder(struct run *r, struct err *e)
{
	const struct opts *o = r->o;
	int same = r->wire.who == LABEL_OPENAI && !o->embed_url &&
	           !o->embed_key_file;
	int taken = r->wire.who == LABEL_OPENAI && !o->key_file;

	r->embed = r->opt;
	r->embed_wire = (struct label_wire){
		.who = LABEL_OPENAI, .embeds = 1, .model = o->embed_model,
		.any_model = o->any_model
	};
	r->embed.wire = &r->embed_wire;
	r->embed.api.reply_max = LABEL_EMBED_REPLY_MAX;
	r->embed.price = (struct label_price){ 0 };
	r->embed.priced = 1;
	r->opt.embed = &r->embed;
	r->plan.embedder = o->embed_model;
	if (!strcmp(o->embed_provider, "local"))
		return 0;
	if (same) {
		r->embed_wire.base_url = r->server.base;
	} else {
		if (label_server_open(&r->embed_server, LABEL_OPENAI,
		                      o->embed_url ? o->embed_url
		                      : r->wire.who == LABEL_OPENAI
		                      ? o->base_url : NULL, o->embed_key_file,
		                      taken ? NULL : "OPENAI_API_KEY",
		                      !o->dry_run && !o->import, e) < 0)
			return -1;
		r->embed_wire.base_url = r->embed_server.base;
		r->embed.headers = r->embed_server.headers;
		r->embed.secret = label_server_secret(&r->embed_server);
	}
	return set_price(o, o->embed_model, &r->embed, e);
}

/* The device of models that run here. */
static int open_dev(struct run *r, struct err *e)
{
	if (r->dev)
		return 0;
	if (!(r->dev = dev_open(r->c->device, r->c->threads, e)))
		return -1;
	dev_set_precision(r->dev, r->o->precision);
	return 0;
}

/* What embeds here: the labelling model, unless another is named. */
static int set_near(struct run *r, struct err *e)
{
	const struct opts *o = r->o;
	const char *path = o->embed_model ? o->embed_model : o->model, *base;
	struct log log = cli_log(&tool);
	struct model *m = r->model;

	if (o->dry_run || o->import) {
		r->plan.embedder = path;
		return 0;
	}
	if (!m || o->embed_model) {
		if (open_dev(r, e) < 0 ||
		    !(m = r->near_model = model_open(path, r->dev, r->c->progress
		                                     ? &log : NULL, e)))
			return -1;
	}
	base = model_cfg(m)->name;
	r->plan.embedder = *base ? base : model_cfg(m)->fingerprint;
	if (!(r->near_tok = tok_open(path, e)))
		return -1;
	r->near = label_near_new(m, r->near_tok, (size_t)o->context, e);
	r->embed.near = r->near;
	return r->near ? 0 : -1;
}

static int set_model(struct run *r, struct err *e)
{
	const struct opts *o = r->o;
	struct log log = cli_log(&tool);
	const char *base;

	if (r->wire.who != LABEL_LOCAL || o->dry_run || o->import) {
		r->plan.model = r->wire.model = o->model ? o->model
		                                         : o->provider;
	} else {
		if (open_dev(r, e) < 0 ||
		    !(r->model = model_open(o->model, r->dev,
		                            r->c->progress ? &log : NULL, e)))
			return -1;
		base = model_cfg(r->model)->name;
		r->plan.model = *base ? base
		                      : model_cfg(r->model)->fingerprint;
		r->wire.model = r->plan.model;
	}
	if (o->assume > 1 && !o->tokenizer)
		return 0;
	if (!(r->tok = tok_open(o->tokenizer ? o->tokenizer : o->model, e)))
		return -1;
	r->plan.tok = r->tok;
	return 0;
}

/* The local model answers in its own tokens, which need not be those of the
 * examples. */
static int set_local(struct run *r, struct err *e)
{
	struct tok *own = NULL;

	if (r->o->tokenizer && !(own = tok_open(r->o->model, e)))
		return -1;
	r->local = label_local_new(r->model, own ? own : r->tok,
	                           (size_t)r->o->context, e);
	if (!r->local)
		tok_free(own);
	r->opt.local = r->local;
	return r->local ? 0 : -1;
}

static int set_up(struct run *r, struct err *e)
{
	const struct opts *o = r->o;
	const char *const given[LABEL_KINDS] = {
		o->prompt, o->detect_prompt, o->fuzz_prompt, o->embed_prompt
	};

	r->wire = (struct label_wire){
		.who = !strcmp(o->provider, "anthropic") ? LABEL_ANTHROPIC
		       : !strcmp(o->provider, "openai") ? LABEL_OPENAI
		       : !strcmp(o->provider, "tokens") ? LABEL_RULE
		                                        : LABEL_LOCAL,
		.max_tokens = (int)o->max_tokens, .format = o->format,
		.any_model = o->any_model
	};
	r->plan.n_show = (size_t)o->show;
	r->plan.n_test = (size_t)o->test;
	r->plan.per_ask = (size_t)o->per_ask;
	r->plan.detect = strcmp(o->scores, "embedding") != 0;
	r->plan.fuzz = !strcmp(o->scores, "both") || !strcmp(o->scores, "all");
	r->plan.seed = r->c->seed;
	r->opt = (struct label_run_opt){
		.plan = &r->plan, .wire = &r->wire, .max_usd = o->max_usd,
		.attempts = (int)o->attempts,
		.concurrency = (int)o->concurrency,
		.api = { .tries = (int)o->tries, .wait_s = o->wait,
		         .wait_max_s = o->wait_max, .deadline_s = o->deadline,
		         .reply_max = 1 << 20, .seed = r->c->seed,
		         .ca_file = getenv("SSL_CERT_FILE"),
		         .log = cli_log(&tool) },
		.batch = o->batch,
		.batch_size = (size_t)o->batch_size, .poll_s = o->poll,
		.stop = &stopped, .log = cli_log(&tool),
		.progress = r->c->progress ? show : NULL, .ctx = r
	};
	if (label_plan_prompts(&r->plan, given,
	                       r->wire.who == LABEL_RULE ? LABEL_BY_RULE
	                       : r->wire.who == LABEL_LOCAL ? LABEL_BY_SMALL
	                       : LABEL_BY_LARGE, e) < 0 || set_params(r, e) < 0)
		return -1;
	r->wire.extra = r->extra;
	r->plan.extra = r->extra_text;
	if (r->wire.who == LABEL_LOCAL || r->wire.who == LABEL_RULE) {
		r->opt.priced = 1;
	} else if (set_server(r, e) < 0) {
		return -1;
	}
	if (embeds(o) && set_embedder(r, e) < 0)
		return -1;
	if (set_model(r, e) < 0)
		return -1;
	return embeds(o) && !strcmp(o->embed_provider, "local")
	       ? set_near(r, e) : 0;
}

/* ---- doing ---- */

static int read_set(struct run *r, struct err *e)
{
	const struct opts *o = r->o;
	struct label_pick pick = {
		.layers = o->layers, .list = o->list,
		.min_frequency = o->min_frequency,
		.per_layer = (size_t)o->per_layer, .n_show = (size_t)o->show,
		.n_test = (size_t)o->test, .window = (size_t)o->window,
		.seed = r->c->seed
	};
	struct examples_head h;
	struct examples_in *in;
	int rc;

	if (o->assume > 1)
		return label_set_assume(&r->set, &pick,
		                        o->window ? (size_t)o->window : 64, e);
	if (!(in = examples_open("-", &h, e)))
		return -1;
	rc = h.tokens.n_vocab > tok_n_vocab(r->tok)
	     ? err_set(e, ERR_FORMAT, "the examples have a vocabulary of %u, "
	               "the tokenizer knows %u: is it theirs?",
	               h.tokens.n_vocab, tok_n_vocab(r->tok))
	     : label_set_read(&r->set, in, &h, &pick, r->tok, r->db, e);
	examples_close(in);
	examples_head_free(&h);
	return rc;
}

static int estimate(struct run *r, struct err *e)
{
	json_t *j = label_estimate(&r->opt, &r->set, r->db,
	                           (double)r->o->assume, e);
	int rc;

	if (!j)
		return -1;
	rc = json_dumpf(j, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(4));
	json_decref(j);
	fputc('\n', stdout);
	return rc < 0 ? err_sys(e, "write to standard output") : 0;
}

static void say_totals(const struct run *r, const struct label_totals *t)
{
	struct log log = cli_log(&tool);

	if (r->opt.priced)
		log_say(&log, "%zu labelled, %zu failed, %zu scores; %zu "
		        "answers for %.4f dollars, %.4f in all", t->labelled,
		        t->failed, t->scored, t->asked, t->usd, t->spent);
	else
		log_say(&log, "%zu labelled, %zu failed, %zu scores; %zu "
		        "answers at an unknown price", t->labelled, t->failed,
		        t->scored, t->asked);
}

static int ask(struct run *r, struct metrics *m, struct err *e)
{
	struct sigaction act = { .sa_handler = on_signal,
	                         .sa_flags = (int)SA_RESETHAND };
	struct label_totals t;
	struct err last = { 0 };
	int rc;

	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	r->progress.ctx = (void *)&tool;
	progress_start(&r->progress, r->c->progress ? cli_progress : NULL,
	               (void *)&tool, "latents", 0, r->set.n);
	rc = label_run(&r->opt, &r->set, r->db, &t, &last);
	if (r->c->progress)
		progress_end(&r->progress, r->set.n, NULL);
	say_totals(r, &t);
	if (metrics_write(m, json_pack("{s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,"
	                  "s:I,s:f,s:f}", "event", "asked", "latents",
	                  (json_int_t)r->set.n, "labelled",
	                  (json_int_t)t.labelled, "failed",
	                  (json_int_t)t.failed, "scores",
	                  (json_int_t)t.scored, "answers",
	                  (json_int_t)t.asked, "unusable",
	                  (json_int_t)t.unusable, "input_tokens",
	                  (json_int_t)(t.use.input + t.use.cache_write),
	                  "cached_tokens", (json_int_t)t.use.cache_read,
	                  "output_tokens", (json_int_t)t.use.output, "usd",
	                  t.usd, "usd_in_all", t.spent), e) < 0)
		return -1;
	if (rc < 0)
		*e = last;
	return rc;
}

static int write_out(const struct opts *o, const struct cli_common *c,
                     struct sql *s, struct err *e)
{
	if (!strcmp(o->to, "labels"))
		return label_out_stream(s, "-", c->command, c->seed, e);
	if (!strcmp(o->to, "csv"))
		return label_out_csv(s, stdout, e);
	if (!strcmp(o->to, "json"))
		return label_out_json(s, stdout, e);
	if (!strcmp(o->to, "sql"))
		return label_out_sql(s, stdout, e);
	if (!strcmp(o->to, "neuronpedia"))
		return label_out_neuronpedia(s, o->neuronpedia, stdout, e);
	return 0;
}

/* Without touching the file. */
static int export(const struct opts *o, const struct cli_common *c,
                  struct err *e)
{
	struct sql *s = sql_open(o->db, 0, e);
	int rc = s ? write_out(o, c, s, e) : -1;

	sql_close(s);
	return rc;
}

static int run(struct run *r, struct metrics *m, struct err *e)
{
	const struct opts *o = r->o;

	if (o->export)
		return export(o, r->c, e);
	if (set_up(r, e) < 0 ||
	    (o->db && !(r->db = label_db_open(o->db, e))) ||
	    read_set(r, e) < 0)
		return -1;
	if (o->dry_run)
		return estimate(r, e);
	if (o->import)
		return label_out_import(r->db, o->import, o->model, e) < 0
		       ? -1 : write_out(o, r->c, label_db_sql(r->db), e);
	if ((r->wire.who == LABEL_LOCAL && set_local(r, e) < 0) ||
	    ask(r, m, e) < 0)
		return -1;
	return write_out(o, r->c, label_db_sql(r->db), e);
}

/* What the table of options cannot say. */
static void check(const struct opts *o)
{
	const char *slash = o->neuronpedia ? strrchr(o->neuronpedia, '/')
	                                   : NULL;

	if (!o->db && !o->dry_run)
		cli_usage(&tool, "--db is missing");
	if (!o->model && !o->export && strcmp(o->provider, "tokens"))
		cli_usage(&tool, "--model is missing");
	if (strcmp(o->provider, "local") && !o->tokenizer && !o->export &&
	    !(o->dry_run && o->assume > 1))
		cli_usage(&tool, "--tokenizer is missing");
	if (!strcmp(o->provider, "tokens") &&
	    (o->prompt || o->detect_prompt || o->fuzz_prompt))
		cli_usage(&tool, "--provider tokens asks nobody: no prompt");
	if (embeds(o) && !o->export && !strcmp(o->embed_provider, "anthropic"))
		cli_usage(&tool, "Anthropic has no embeddings: --embed-provider "
		          "openai or local");
	if (embeds(o) && !o->export && !o->embed_model &&
	    (strcmp(o->embed_provider, "local") || strcmp(o->provider, "local")))
		cli_usage(&tool, "--embed-model is missing");
	if (o->assume > 1 && !o->dry_run)
		cli_usage(&tool, "--assume goes with --dry-run");
	if (o->batch && (!strcmp(o->provider, "local") ||
	                 !strcmp(o->provider, "tokens")))
		cli_usage(&tool, "--batch needs an API");
	if (!strcmp(o->to, "neuronpedia") && (!slash || !slash[1] ||
	                                      slash == o->neuronpedia))
		cli_usage(&tool, "--to neuronpedia needs --neuronpedia "
		          "MODEL/SET");
	if (!strcmp(o->to, "labels") && !o->dry_run)
		cli_no_terminal(&tool);
}

int main(int argc, char **argv)
{
	struct opts o;
	struct cli_common c;
	struct err e = { 0 };
	struct run r = { .o = &o, .c = &c };
	struct metrics *m;
	int rc;

	cli_parse(&tool, argc, argv, &o, sizeof(o), &c);
	check(&o);
	if (!(m = metrics_open(c.metrics, 0, &e)))
		cli_die(&tool, &e);
	rc = run(&r, m, &e);
	run_free(&r);
	if (metrics_close(m, rc < 0 ? NULL : &e) < 0 || rc < 0)
		cli_die(&tool, &e);
	if (strcmp(o.to, "labels") || o.dry_run)	/* a stream closes it */
		cli_close_stdout(&tool);
	free(c.command);
	free(o.param.item);
	return 0;
}
