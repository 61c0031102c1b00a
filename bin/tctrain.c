/* tctrain: train a transcoder for each layer of a model.
 * stdin: acts/1, or tokens/1 with --model.  DIR: checkpoints. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "map.h"
#include "mem.h"
#include "ranges.h"
#include "rows.h"
#include "train_plan.h"

struct opts {
	const char *model, *out, *grid, *layers, *recipe, *optimizer, *init, *variant;
	const char *device, *cards, *precision;
	double l0_weight, bandwidth, raise, lr, decay, auxk_alpha, ridge, outlier;
	double row_norm, near, dec_rate, end_ridge;
	int64_t k_anneal, warmup, batch, tokens, expansion, latents, k, resample, dead_tokens;
	int64_t start_tokens, end_tokens, skip, skip_every, save_every, log_every, forward, ctx;
	int no_skip, sae, multi_topk, normalize_decoder, resume, keep_state;
	int plan, json;
};

static const struct cli_opt options[] = {
	CLI_STR('m', "model", struct opts, model, "MODEL", NULL,
	        "Hugging Face folder or GGUF file, for tokens on stdin"),
	CLI_STR('o', "out", struct opts, out, "DIR", NULL,
	        "where checkpoints go"),
	CLI_STR(0, "grid", struct opts, grid, "FILE", NULL,
	        "a run for each line, with the options there besides these"),
	CLI_STR('l', "layers", struct opts, layers, "LIST", "all",
	        "layers to train, as 0,4-7"),
	CLI_CHOICE(0, "recipe", struct opts, recipe, "r1|sparsify", "r1",
	           "start, normalisation and defaults"),
	CLI_LONG('x', "expansion", struct opts, expansion, "N", 1, 65536, "32",
	         "latents per input dimension"),
	CLI_LONG(0, "latents", struct opts, latents, "N", 0, 4e9, "0",
	         "latents; 0: as --expansion says"),
	CLI_LONG('k', "k", struct opts, k, "N", 1, 1e6, "32",
	         "active latents of a token"),
	CLI_CHOICE(0, "variant", struct opts, variant,
	           "topk|batchtopk|jumprelu", "topk",
	           "how active latents are chosen"),
	CLI_REAL(0, "l0-weight", struct opts, l0_weight, "R", 0, 1e6, "1",
	         "jumprelu: weight of (L0 / k - 1)^2 in the loss"),
	CLI_REAL(0, "bandwidth", struct opts, bandwidth, "R", 0, 2, "0.1",
	         "jumprelu: width around a threshold, as a share of it, that "
	         "moves it"),
	CLI_LONG(0, "k-anneal", struct opts, k_anneal, "STEPS", 0, 1e12, "0",
	         "steps over which k falls from ten times as many"),
	CLI_LONG('n', "tokens", struct opts, tokens, "N", 0, 1e15, "0",
	         "tokens to train on; 0: all, and the rate does not fall"),
	CLI_LONG('b', "batch", struct opts, batch, "N", 2, 1e6, "512",
	         "tokens of a step"),
	CLI_CHOICE(0, "optimizer", struct opts, optimizer, "auto|adam|signum",
	           "auto", "auto: r1 adam, sparsify signum"),
	CLI_REAL(0, "lr", struct opts, lr, "R", 0, 1, "0",
	         "learning rate; 0: the recipe's"),
	CLI_LONG(0, "warmup", struct opts, warmup, "STEPS", -1, 1e9, "-1",
	         "steps over which the rate rises; -1: the recipe's"),
	CLI_REAL(0, "decay", struct opts, decay, "SHARE", -1, 1, "-1",
	         "last share of the steps, over which it falls; -1: the "
	         "recipe's"),
	CLI_FLAG(0, "no-skip", struct opts, no_skip,
	         "without a linear skip connection"),
	CLI_LONG(0, "skip-every", struct opts, skip_every, "N", 0, 1e6, "0",
	         "learn it from every N-th token of a step; 0: the recipe's"),
	CLI_FLAG(0, "sae", struct opts, sae,
	         "autoencoder of the MLP's output in place of a transcoder"),
	CLI_REAL(0, "auxk-alpha", struct opts, auxk_alpha, "R", 0, 1e3, "0",
	         "weight of the loss that revives dead latents"),
	CLI_REAL(0, "raise", struct opts, raise, "R", -1, 1, "-1",
	         "bias a token for latents long quiet; -1: the recipe's"),
	CLI_LONG(0, "resample", struct opts, resample, "N", 0, 1e15, "0",
	         "tokens between draws of latents dead for as many; 0: none"),
	CLI_LONG(0, "dead-tokens", struct opts, dead_tokens, "N", 0, 1e15,
	         "10M", "tokens without firing that make a latent dead"),
	CLI_FLAG(0, "multi-topk", struct opts, multi_topk,
	         "add the error with 4 k latents to the loss"),
	CLI_FLAG(0, "normalize-decoder", struct opts, normalize_decoder,
	         "keep an autoencoder's decoder rows at unit norm"),
	CLI_LONG(0, "start-tokens", struct opts, start_tokens, "N", 2, 1e7,
	         "8192", "tokens whose statistics the recipe r1 starts from"),
	CLI_LONG(0, "end-tokens", struct opts, end_tokens, "N", -1, 1e9, "-1",
	         "last tokens over which the decoder is solved anew at the end; "
	         "0: it is not; -1: the recipe's"),
	CLI_REAL(0, "end-ridge", struct opts, end_ridge, "R", -1, 1e12, "-1",
	         "sum of squares that trained weights count for there; -1: the "
	         "recipe's"),
	CLI_REAL(0, "ridge", struct opts, ridge, "R", 0, 1e6, "0.02",
	         "ridge of r1's least squares, in variances of the input"),
	CLI_REAL(0, "dec-rate", struct opts, dec_rate, "R", -1, 1, "-1",
	         "rate of the decoder's normalised steps; 0: the optimiser's "
	         "steps; -1: the recipe's"),
	CLI_REAL(0, "row-norm", struct opts, row_norm, "R", 0, 1e6, "0.6",
	         "norm of r1's encoder rows at the start"),
	CLI_REAL(0, "near", struct opts, near, "SHARE", 0, 1, "0.5",
	         "share of their directions that is a token's, not random"),
	CLI_REAL(0, "outlier", struct opts, outlier, "R", 0, 1e9, "30",
	         "leave out tokens whose norm is above R medians; 0: none"),
	CLI_LONG(0, "skip", struct opts, skip, "N", 0, 1e6, "1",
	         "first positions of a sequence to leave out"),
	CLI_STR(0, "init", struct opts, init, "DIR", NULL,
	        "start from the transcoders there"),
	CLI_LONG(0, "save-every", struct opts, save_every, "STEPS", 0, 1e12,
	         "1000", "steps between checkpoints; 0: one at the end"),
	CLI_FLAG(0, "resume", struct opts, resume,
	         "go on from the state in DIR, if there is one"),
	CLI_FLAG(0, "keep-state", struct opts, keep_state,
	         "keep the optimiser's state after the end"),
	CLI_LONG(0, "log-every", struct opts, log_every, "STEPS", 1, 1e12, "1",
	         "steps a line of metrics stands for"),
	CLI_LONG(0, "forward", struct opts, forward, "N", 1, 1e6, "2048",
	         "tokens that run through the model together"),
	CLI_CHOICE(0, "precision", struct opts, precision,
	           "auto|" DEV_PRECISIONS, "auto", "how exactly matrices are "
	           "multiplied; auto: q8 with a model of 4 bits"),
	CLI_FLAG(0, "plan", struct opts, plan,
	         "train nothing; say what it would take on --device"),
	CLI_STR(0, "device", struct opts, device, "cpu|cuda|CARD", "cpu",
	        "compute device; with --plan also h100, a100, l40s"),
	CLI_STR(0, "cards", struct opts, cards, "FILE", NULL,
	        "plan: another table of devices"),
	CLI_LONG(0, "ctx", struct opts, ctx, "N", 1, 1e9, "1024",
	         "plan: tokens of a sequence"),
	CLI_FLAG(0, "json", struct opts, json, "plan: print JSON"),
	CLI_END
};

static const struct cli_tool tool = {
	.name = "tctrain",
	.brief = "train sparse transcoders of a model's MLPs",
	.options = options
};

/* ---- what the options mean ---------------------------------------------- */

static void train_config(const struct opts *o, const struct cli_common *c,
                         uint32_t d_in, uint32_t d_out, struct train_cfg *t)
{
	int sparsify = strcmp(o->recipe, "sparsify") == 0, adam;
	double latents = o->latents ? (double)o->latents
	                            : (double)o->expansion * d_in;

	if (latents > UINT32_MAX - 1)
		cli_usage(&tool, "%.0f latents are too many", latents);
	adam = strcmp(o->optimizer, "auto") == 0
		? !sparsify : strcmp(o->optimizer, "adam") == 0;
	*t = (struct train_cfg){
		.tc = { .d_in = o->sae ? d_out : d_in, .d_out = d_out,
			.n_latents = (uint32_t)latents, .k = (uint32_t)o->k,
			.skip = !o->no_skip && !o->sae, .transcode = !o->sae,
			.normalize_decoder = o->normalize_decoder,
			.multi_topk = o->multi_topk,
			.variant = strcmp(o->variant, "batchtopk") == 0
			         ? TC_BATCHTOPK
			         : strcmp(o->variant, "jumprelu") == 0
			         ? TC_JUMPRELU : TC_TOPK,
			.expansion = o->latents ? 0 : (uint32_t)o->expansion },
		.recipe = sparsify ? TRAIN_SPARSIFY : TRAIN_R1,
		.rule = adam ? TRAIN_ADAM : TRAIN_SIGNUM,
		.batch = (size_t)o->batch,
		.n_steps = (uint64_t)(o->tokens / o->batch),
		.auxk_alpha = o->auxk_alpha, .l0_weight = o->l0_weight,
		.bandwidth = o->bandwidth, .k_anneal = (uint64_t)o->k_anneal,
		.resample = (uint64_t)o->resample,
		.dead_tokens = (uint64_t)o->dead_tokens,
		.start_tokens = (size_t)o->start_tokens, .ridge = o->ridge,
		.row_norm = o->row_norm, .near = o->near,
		.outlier = o->outlier, .seed = c->seed
	};
	t->warmup = o->warmup >= 0 ? (uint64_t)o->warmup
	          : !sparsify ? 12 : adam ? 1000 : 0;
	t->decay = o->decay >= 0 ? o->decay : !sparsify ? 0.6 : adam ? 1 : 0;
	t->raise = o->raise >= 0 ? o->raise : sparsify ? 0 : 4e-5;
	t->dec_rate = o->dec_rate >= 0 ? o->dec_rate : sparsify || !adam ? 0
	            /* others have rows with many more latents than k */
	            : t->tc.variant == TC_TOPK ? 0.3 : 0.1;
	t->end_tokens = o->end_tokens >= 0 ? (size_t)o->end_tokens
	              : sparsify || !adam || (o->normalize_decoder && o->sae)
	              ? 0 : train_default_end_tokens(t);
	t->end_ridge = o->end_ridge >= 0 ? o->end_ridge
	             : train_default_end_ridge(t);
	t->skip_every = o->skip_every ? (size_t)o->skip_every
	              : train_default_skip_every(t);
	t->lr = o->lr > 0 ? o->lr : train_default_lr(t);
	if (t->start_tokens < t->batch)
		t->start_tokens = t->batch;
	if (o->tokens && t->n_steps == 0)
		cli_usage(&tool, "--tokens %lld is less than a --batch of %lld",
		          (long long)o->tokens, (long long)o->batch);
}

/* ---- runs ------------------------------------------------------------------- */

static int same_word(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

/* One stream, one pass: what makes the rows is the same for all. */
static void check_lines(const struct opts *a, const struct cli_common *c,
                        const struct cli_lines *l)
{
	const struct opts *b = l->opts;
	const char *what;
	size_t i;

	for (i = 0; i < l->n; i++, b++) {
		what = !same_word(a->model, b->model) ? "--model"
			: !same_word(a->layers, b->layers) ? "--layers"
			: a->skip != b->skip ? "--skip"
			: a->forward != b->forward ? "--forward"
			: !same_word(a->precision, b->precision)
			? "--precision"
			: !same_word(a->grid, b->grid) ? "--grid"
			: !same_word(a->device, b->device) ? "--device"
			: a->plan != b->plan ? "--plan"
			: a->ctx != b->ctx ? "--ctx"
			: !same_word(a->cards, b->cards) ? "--cards"
			: a->json != b->json ? "--json"
			: c->threads != l->common[i].threads ? "--threads" : NULL;
		if (what)
			cli_usage(&tool, "%s: line %zu: %s is for all runs",
			          a->grid, l->number[i], what);
		if (!b->out && !a->plan)
			cli_usage(&tool, "%s: line %zu: --out is missing",
			          a->grid, l->number[i]);
	}
}

/* A run of the feed: what is trained on these rows, and where it goes. */
static void run_config(const struct opts *o, const struct cli_common *c,
                       const struct rows_shape *s, struct train_feed_run *r)
{
	struct train_set_cfg *t = &r->cfg;
	struct log log = cli_log(&tool);

	train_config(o, c, s->d_in, s->d_out, &t->train);
	memcpy(t->layers, s->layers, (size_t)s->n_layers * sizeof(*s->layers));
	t->n_layers = s->n_layers;
	t->out = o->out;
	t->save_every = (uint64_t)o->save_every;
	t->log_every = (uint64_t)o->log_every;
	t->keep_state = o->keep_state;
	t->input = s->input;
	r->init = o->init;
	r->resume = o->resume;
	r->metrics = c->metrics;
	if (c->progress && !o->plan)
		log_say(&log, "%s: %d layers of %u latents: %.2f GiB", t->out,
		        t->n_layers, t->train.tc.n_latents,
		        (double)train_set_bytes(t) / 0x1p30);
}

/* One run, or one for each line. NULL with e set. */
static struct train_feed_run *runs_of(const struct opts *o,
                                      const struct cli_common *c,
                                      const struct cli_lines *l,
                                      const struct rows_shape *s, size_t *n,
                                      struct err *e)
{
	struct train_feed_run *runs;
	size_t i;

	*n = l->n ? l->n : 1;
	if (!(runs = mem_array(*n, sizeof(*runs), e)))
		return NULL;
	for (i = 0; i < l->n; i++)
		run_config((const struct opts *)l->opts + i, &l->common[i], s,
		           &runs[i]);
	if (!l->n)
		run_config(o, c, s, &runs[0]);
	return runs;
}

static int train(const struct opts *o, const struct cli_common *c,
                 const struct cli_lines *l, struct dev *d, struct rows *rows,
                 struct err *e)
{
	struct train_feed_run *runs;
	struct train_feed *feed;
	struct rows_shape s;
	size_t n;
	int rc;

	rows_shape(rows, &s);
	if (!(runs = runs_of(o, c, l, &s, &n, e)))
		return -1;
	feed = train_feed_new(runs, (int)n, d, c->progress ? cli_progress
	                      : NULL, (void *)&tool, e);
	mem_free(runs);
	if (!feed)
		return -1;
	rc = rows_run(rows, feed, e);
	if (rc == 0)	/* the stream ended first */
		rc = train_feed_finish(feed, e);
	if (rc >= 0)
		rc = train_feed_close(feed, e);
	train_feed_free(feed);
	return rc;
}

static int run(const struct opts *o, const struct cli_common *c,
               const struct cli_lines *l, struct err *e)
{
	const struct rows_opt r = { o->model, o->layers, (size_t)o->skip,
		(size_t)o->forward, o->precision,
		c->progress ? cli_log(&tool) : (struct log){ 0 }, cli_stopped() };
	struct dev *d = dev_open(o->device, c->threads, e);
	struct rows *rows = d ? rows_open("-", &r, d, e) : NULL;
	int rc = -1;

	if (rows) {
		/* only now: until then there is nothing to save */
		cli_stop_on_signals();
		rc = train(o, c, l, d, rows, e);
	}
	rows_free(rows);
	dev_free(d);
	return rc;
}

/* ---- a plan ------------------------------------------------------------------ */

/* This machine, measured, what the model takes on it, and its device left open in
 * *d. */
static int this_machine(const struct opts *o, const struct cli_common *c,
                        const struct train_plan_in *in,
                        struct train_card *card, struct model_need *need,
                        struct dev **d, struct err *e)
{
	const char *precision;

	if (!(*d = dev_open("cpu", c->threads, e)) ||
	    !(precision = model_precision(o->precision, o->model, *d, e)))
		return -1;
	dev_set_precision(*d, precision);
	if (model_need(o->model, *d, train_plan_rows(in->ctx, in->forward), need,
	               e) < 0)
		return -1;
	return train_card_measure(in->model, need->type, &in->runs[0].train, *d,
	                          card, e);
}

/* A row of a table. */
static int find_card(const struct opts *o, struct train_card *card,
                     struct err *e)
{
	const char *table;
	struct map file = { 0 };
	size_t n;
	int rc;

	table = train_card_builtin(&n);
	if (o->cards) {
		if (map_open(&file, o->cards, e) < 0)
			return -1;
		table = file.n ? (const char *)file.data : "";
		n = file.n;
	}
	rc = train_card_find(table, n, o->cards ? o->cards : "data/cards.tsv",
	                     o->device, card, e);
	map_close(&file);
	return rc;
}

static int show(const struct train_plan *p, int as_json, struct err *e)
{
	struct text t = { 0 };
	json_t *j;
	int rc;

	if (as_json) {
		if (!(j = train_plan_json(p, e)))
			return -1;
		rc = json_dumpf(j, stdout, JSON_INDENT(1) |
		                JSON_REAL_PRECISION(9)) < 0 ||
		     putchar('\n') == EOF
		     ? err_sys(e, "write to standard output") : 0;
		json_decref(j);
		return rc;
	}
	rc = train_plan_text(p, &t, e);
	if (rc == 0 && fputs(t.s, stdout) == EOF)
		rc = err_sys(e, "write to standard output");
	mem_free(t.s);
	return rc;
}

static int plan(const struct opts *o, const struct cli_common *c,
                const struct cli_lines *l, struct err *e)
{
	int layers[TRAIN_SET_LAYERS];
	struct train_plan_in in = { .ctx = (size_t)o->ctx,
		.forward = (size_t)o->forward };
	struct train_feed_run *runs = NULL;
	struct train_set_cfg *sets = NULL;
	struct rows_shape s = { .layers = layers };
	struct train_card card;
	struct model_need need;
	struct train_plan p = { .pass = NULL };
	struct dev *d = NULL;
	struct model_cfg m;
	size_t i;
	int here = !o->cards && strcmp(o->device, "cpu") == 0, rc = -1;

	if (model_cfg_read(o->model, &m, e) < 0)
		return -1;
	s.d_in = s.d_out = m.d_model;
	s.n_layers = ranges_parse(o->layers, (int)m.n_layers, layers, e);
	if (s.n_layers < 0)
		return err_wrap(e, "--layers");
	if (!(runs = runs_of(o, c, l, &s, &in.n_runs, e)) ||
	    !(sets = mem_array(in.n_runs, sizeof(*sets), e)))
		goto done;
	for (i = 0; i < in.n_runs; i++)
		sets[i] = runs[i].cfg;
	in.model = &m;
	in.runs = sets;
	in.card = &card;
	if (here)
		in.need = &need;
	if ((here ? this_machine(o, c, &in, &card, &need, &d, e)
	          : find_card(o, &card, e)) == 0 &&
	    train_plan_make(&in, &p, e) == 0)
		rc = show(&p, o->json, e);
done:
	train_plan_free(&p);
	dev_free(d);
	mem_free(sets);
	mem_free(runs);
	return rc;
}

int main(int argc, char **argv)
{
	struct cli_lines lines = { 0 };
	struct opts o;
	struct cli_common c;
	struct err e = { 0 };
	int rc = 0;

	cli_parse(&tool, argc, argv, &o, sizeof(o), &c);
	if (o.grid)
		rc = cli_lines_read(&tool, o.grid, argc, argv, sizeof(o),
		                    &lines, &e);
	check_lines(&o, &c, &lines);
	if (!o.grid && !o.out && !o.plan)
		cli_usage(&tool, "--out is missing");
	if (o.plan && !o.model)
		cli_usage(&tool, "--plan needs --model");
	if (!o.plan && (o.json || o.cards))
		cli_usage(&tool, "%s goes with --plan", o.json ? "--json"
		          : "--cards");
	if (rc == 0)
		rc = (o.plan ? plan : run)(&o, &c, &lines, &e);
	cli_lines_free(&lines);
	free(c.command);
	if (rc < 0)
		cli_die(&tool, &e);
	if (o.plan)
		cli_close_stdout(&tool);
	return 0;
}
