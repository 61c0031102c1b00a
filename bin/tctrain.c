/* tctrain: train a transcoder for each layer of a model.
 * stdin: acts/1, or tokens/1 with --model.  DIR: checkpoints. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "mem.h"
#include "model.h"
#include "ranges.h"
#include "rec.h"
#include "train_feed.h"

struct opts {
	const char *model, *out, *grid, *layers, *recipe, *optimizer, *init, *variant;
	double l0_weight, bandwidth, raise, lr, decay, auxk_alpha, ridge, outlier;
	double row_norm, near, dec_rate;
	int64_t k_anneal, warmup, batch, tokens, expansion, latents, k, dead_tokens;
	int64_t start_tokens, skip, save_every, log_every, forward;
	int no_skip, sae, multi_topk, normalize_decoder, resume, keep_state;
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
	CLI_FLAG(0, "sae", struct opts, sae,
	         "autoencoder of the MLP's output in place of a transcoder"),
	CLI_REAL(0, "auxk-alpha", struct opts, auxk_alpha, "R", 0, 1e3, "0",
	         "weight of the loss that revives dead latents"),
	CLI_REAL(0, "raise", struct opts, raise, "R", -1, 1, "-1",
	         "bias a token for latents long quiet; -1: the recipe's"),
	CLI_LONG(0, "dead-tokens", struct opts, dead_tokens, "N", 0, 1e15,
	         "10M", "tokens without firing that make a latent dead"),
	CLI_FLAG(0, "multi-topk", struct opts, multi_topk,
	         "add the error with 4 k latents to the loss"),
	CLI_FLAG(0, "normalize-decoder", struct opts, normalize_decoder,
	         "keep an autoencoder's decoder rows at unit norm"),
	CLI_LONG(0, "start-tokens", struct opts, start_tokens, "N", 2, 1e7,
	         "8192", "tokens whose statistics the recipe r1 starts from"),
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
	CLI_END
};

static const struct cli_tool tool = {
	.name = "tctrain",
	.brief = "train sparse transcoders of a model's MLPs",
	.options = options
};

/* The command line, or that and a line of the grid. */
struct run {
	struct opts o;
	struct cli_common c;
};

struct job {
	const struct opts *o;	/* of the first: what all share */
	const struct cli_common *c;
	struct run *run;
	size_t n_runs, runs_cap;
	char **text;		/* the grid's lines, which options point into */
	size_t text_cap;
	struct dev *dev;
	struct train_feed *feed;
	int layers[TRAIN_SET_LAYERS], n_layers;
	uint32_t d_in, d_out;
	uint64_t n_rows_before;	/* rows of the stream so far */
	int done;		/* nothing left to learn; all is written */
	char input[512];

	/* acts/1 */
	struct rec_acts_in *acts;
	struct rec_acts_head head;
	int at[TRAIN_SET_LAYERS];	/* of layers in the record */
	float *host[2], *rows[2];	/* x, y; host and device */
	size_t rows_cap;

	/* tokens/1: the block being filled; sequence i has rows start[i].. */
	struct rec_tokens_in *tokens;
	struct rec_tokens_head thead;
	struct model *model;
	struct model_run *pass;
	uint32_t *ids;
	size_t *start, n_rows, n_seqs, room;
	int n_pushed;		/* layers of this block */
};

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
	stopped = sig;
}

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
		.dead_tokens = (uint64_t)o->dead_tokens,
		.start_tokens = (size_t)o->start_tokens, .ridge = o->ridge,
		.row_norm = o->row_norm, .near = o->near,
		.outlier = o->outlier, .seed = c->seed
	};
	t->warmup = o->warmup >= 0 ? (uint64_t)o->warmup
	          : !sparsify ? 12 : adam ? 1000 : 0;
	t->decay = o->decay >= 0 ? o->decay : !sparsify ? 0.6 : adam ? 1 : 0;
	t->raise = o->raise >= 0 ? o->raise : sparsify ? 0 : 4e-5;
	t->dec_rate = o->dec_rate >= 0 ? o->dec_rate : sparsify || !adam ? 0 : 0.3;
	t->lr = o->lr > 0 ? o->lr : train_default_lr(t);
	if (t->start_tokens < t->batch)
		t->start_tokens = t->batch;
	if (o->tokens && t->n_steps == 0)
		cli_usage(&tool, "--tokens %lld is less than a --batch of %lld",
		          (long long)o->tokens, (long long)o->batch);
}

/* After each block of n rows, given to all layers. */
static int settle(struct job *j, size_t n, struct err *e)
{
	int done;

	j->n_rows_before += n;
	done = train_feed_settle(j->feed, j->n_rows_before, e);
	if (done < 0)
		return -1;
	j->done = done;
	return stopped && !done ? train_feed_stop(j->feed, e) : 0;
}

/* How many of the next n rows every run has had. */
static size_t behind(const struct job *j, size_t n)
{
	uint64_t had = train_feed_behind(j->feed);

	had = had > j->n_rows_before ? had - j->n_rows_before : 0;
	return had < n ? (size_t)had : n;
}

/* ---- the grid --------------------------------------------------------------- */

static int add_run(struct job *j, const struct opts *o,
                   const struct cli_common *c, char *text, struct err *e)
{
	if (mem_grow(&j->run, &j->runs_cap, j->n_runs + 1, sizeof(*j->run),
	             e) < 0 ||
	    mem_grow(&j->text, &j->text_cap, j->n_runs + 1, sizeof(*j->text),
	             e) < 0)
		return -1;
	j->run[j->n_runs].o = *o;
	j->run[j->n_runs].c = *c;
	j->text[j->n_runs++] = text;
	return 0;
}

static int one_run(struct job *j, struct err *e)
{
	if (!j->o->out)
		cli_usage(&tool, "--out is missing");
	return add_run(j, j->o, j->c, NULL, e);
}

static int same_word(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

/* One stream, one pass: what makes the rows is the same for all. */
static void check_run(const struct job *j, const struct run *r, size_t line)
{
	const struct opts *a = j->o, *b = &r->o;
	const char *what = !same_word(a->model, b->model) ? "--model"
		: !same_word(a->layers, b->layers) ? "--layers"
		: a->skip != b->skip ? "--skip"
		: a->forward != b->forward ? "--forward"
		: !same_word(a->grid, b->grid) ? "--grid"
		: !same_word(j->c->device, r->c.device) ? "--device"
		: j->c->threads != r->c.threads ? "--threads" : NULL;

	if (what)
		cli_usage(&tool, "%s: line %zu: %s is for all runs", a->grid,
		          line, what);
	if (!b->out)
		cli_usage(&tool, "%s: line %zu: --out is missing", a->grid,
		          line);
}

/* A line's words behind those of the command line, as if typed there. */
static int read_line(struct job *j, int argc, char **words, const char *line,
                     size_t number, struct err *e)
{
	enum { WORDS = 256 };
	char *text = mem_strdup(line, e), *at = NULL, *word, **all;
	struct run r;
	int n = argc, rc = -1;

	all = text ? mem_array((size_t)argc + WORDS + 1, sizeof(*all), e)
	           : NULL;
	if (!all)
		goto done;
	memcpy(all, words, (size_t)argc * sizeof(*all));
	for (word = strtok_r(text, " \t\r\n", &at); word;
	     word = strtok_r(NULL, " \t\r\n", &at)) {
		if (n == argc + WORDS) {
			err_set(e, ERR_USAGE, "%s: line %zu: more than %d "
			        "words", j->o->grid, number, WORDS);
			goto done;
		}
		all[n++] = word;
	}
	rc = 0;
	if (n == argc || all[argc][0] == '#')
		goto done;
	cli_parse(&tool, n, all, &r.o, sizeof(r.o), &r.c);
	check_run(j, &r, number);
	rc = add_run(j, &r.o, &r.c, text, e);
	if (rc == 0)
		text = NULL;
done:
	mem_free(all);
	mem_free(text);
	return rc;
}

static int read_grid(struct job *j, int argc, char **words, struct err *e)
{
	FILE *f = fopen(j->o->grid, "r");
	char *line = NULL;
	size_t cap = 0, n = 0;
	int rc = 0;

	if (!f)
		return err_sys(e, "%s", j->o->grid);
	while (rc == 0 && getline(&line, &cap, f) > 0)
		rc = read_line(j, argc, words, line, ++n, e);
	if (rc == 0 && ferror(f))
		rc = err_sys(e, "%s", j->o->grid);
	if (rc == 0 && j->n_runs == 0)
		rc = err_set(e, ERR_FORMAT, "%s: names no run", j->o->grid);
	free(line);
	fclose(f);
	return rc;
}

/* ---- stored activations --------------------------------------------------- */

static int room_for(struct job *j, size_t n, struct err *e)
{
	const struct dev_ops *d = dev_ops(j->dev);
	size_t width[2] = { j->head.d_in, j->head.d_out }, bytes;
	int side;

	if (n <= j->rows_cap)
		return 0;
	j->rows_cap = 0;
	for (side = 0; side < 2; side++) {
		if (mem_mul(n, width[side] * sizeof(float), &bytes, e) < 0)
			return -1;
		mem_free(j->host[side]);
		d->release(j->dev, j->rows[side]);
		j->rows[side] = NULL;
		j->host[side] = mem_scratch(bytes, 1, e);
		if (!j->host[side] ||
		    !(j->rows[side] = d->alloc(j->dev, bytes, e)))
			return -1;
	}
	j->rows_cap = n;
	return 0;
}

/* Rows [first, n) of one side of a record to the device. */
static int fetch(struct job *j, int side, const void *data, size_t n,
                 size_t first, struct err *e)
{
	size_t width = side ? j->head.d_out : j->head.d_in;
	struct tensor t = { .name = "activations", .type = j->head.dtype,
		.n_dims = 2, .shape = { n, width }, .n = n * width,
		.data = data };

	if (dtype_bytes(t.type, t.n, &t.n_bytes, e) < 0 ||
	    tensor_f32(&t, first * width, (n - first) * width, j->host[side],
	               e) < 0)
		return -1;
	return dev_ops(j->dev)->put(j->dev, j->rows[side], j->host[side],
	                            (n - first) * width * sizeof(float), e);
}

static int take_record(struct job *j, const struct rec_acts *a, struct err *e)
{
	size_t first = 0, n, had;
	int i;

	while (first < a->n && a->positions[first] < j->o->skip)
		first++;
	n = a->n - first;
	if (train_feed_ids(j->feed, a->ids + first, n, e) < 0)
		return -1;
	had = behind(j, n);
	if (had == n)
		return settle(j, n, e);
	first += had;
	if (room_for(j, a->n, e) < 0)
		return -1;
	for (i = 0; i < j->n_layers; i++) {
		if ((train_feed_wants_x(j->feed) &&
		     fetch(j, 0, a->x[j->at[i]], a->n, first, e) < 0) ||
		    fetch(j, 1, a->y[j->at[i]], a->n, first, e) < 0 ||
		    train_feed_push(j->feed, i, j->n_rows_before + had,
		                    j->rows[0], j->rows[1], n - had, e) < 0)
			return -1;
	}
	return settle(j, n, e);
}

/* The rest of the stream is read to its end when enough was taken: a cut
 * stream is noticed and its writer lives. */
static int run_stored(struct job *j, struct err *e)
{
	struct rec_acts a;
	int got;

	while ((got = rec_acts_read(j->acts, &a, e)) > 0)
		if (!j->done && take_record(j, &a, e) < 0)
			return -1;
	return got;
}

static int open_stored(struct job *j, struct stream_in *in, struct err *e)
{
	int wanted[REC_MAX_LAYERS], n, i;
	uint32_t k;

	if (!(j->acts = rec_acts_on(in, &j->head, e)))
		return -1;
	if (strcmp(j->o->layers, "all") == 0) {
		for (k = 0; k < j->head.n_layers; k++)
			wanted[k] = (int)j->head.layers[k];
		n = (int)j->head.n_layers;
	} else {
		n = ranges_parse(j->o->layers, REC_MAX_LAYERS, wanted, e);
		if (n < 0)
			return err_wrap(e, "--layers");
	}
	for (i = 0; i < n; i++) {
		for (k = 0; k < j->head.n_layers; k++)
			if ((int)j->head.layers[k] == wanted[i])
				break;
		if (k == j->head.n_layers)
			return err_set(e, ERR_USAGE, "--layers: %d is not in "
			               "the stream, which holds %u layers from "
			               "%u to %u", wanted[i], j->head.n_layers,
			               j->head.layers[0],
			               j->head.layers[j->head.n_layers - 1]);
		j->layers[i] = wanted[i];
		j->at[i] = (int)k;
	}
	j->n_layers = n;
	snprintf(j->input, sizeof(j->input), "acts/1 of model %s in %s, site "
	         "%s, skip %lld", j->head.model, dtype_name(j->head.dtype),
	         j->head.site, (long long)j->o->skip);
	j->d_in = j->head.d_in;
	j->d_out = j->head.d_out;
	return 0;
}

/* ---- fused with the model -------------------------------------------------- */

/* model_tap_fn: the block's rows, but for skipped positions and those that every
 * run has had, to the layer's transcoders. */
static int tap(void *ctx, int layer, const float *x, float *y, size_t n,
               struct err *e)
{
	struct job *j = ctx;
	size_t dim = j->d_in, i, first, m, had;
	size_t skip = (size_t)j->o->skip, rows = 0;
	size_t gone = behind(j, n);

	if (j->n_pushed == j->n_layers || j->layers[j->n_pushed] != layer)
		return 0;
	for (i = 0; i < j->n_seqs; i++) {
		first = j->start[i] + skip;
		m = j->start[i + 1] - first;
		had = gone > rows ? gone - rows < m ? gone - rows : m : 0;
		if (had < m &&
		    train_feed_push(j->feed, j->n_pushed,
		                    j->n_rows_before + rows + had,
		                    x + (first + had) * dim,
		                    y + (first + had) * dim, m - had, e) < 0)
			return -1;
		rows += m;
	}
	j->n_pushed++;
	return 0;
}

static int run_block(struct job *j, struct err *e)
{
	struct model_batch b = { j->ids, j->n_rows, j->start, j->n_seqs };
	size_t skip = (size_t)j->o->skip, rows, i;

	rows = j->n_rows - j->n_seqs * skip;
	if (j->n_seqs == 0)
		return 0;
	for (i = 0; i < j->n_seqs; i++)
		if (train_feed_ids(j->feed, j->ids + j->start[i] + skip,
		                   j->start[i + 1] - j->start[i] - skip, e) < 0)
			return -1;
	j->n_pushed = 0;
	if (behind(j, rows) < rows &&
	    model_forward(j->pass, &b, j->layers[j->n_layers - 1], tap, j,
	                  e) < 0)
		return -1;
	j->n_rows = j->n_seqs = 0;
	return settle(j, rows, e);
}

static int check_sequence(const struct job *j, const struct rec_tokens *t,
                          struct err *e)
{
	struct err why;

	if (model_takes(model_cfg(j->model), t->ids, t->n, &why) < 0)
		return stream_bad(rec_tokens_stream(j->tokens), e, "%s",
		                  why.msg);
	return 0;
}

/* Blocks are cut where actdump cuts them, from the stream's beginning on, so
 * that each row is computed in the same company and comes out the same. */
static int run_fused(struct job *j, struct err *e)
{
	struct rec_tokens t;
	int got;

	while ((got = rec_tokens_read(j->tokens, &t, e)) > 0) {
		if (check_sequence(j, &t, e) < 0)
			return -1;
		if (t.n <= (size_t)j->o->skip || j->done)
			continue;
		if (j->n_rows + t.n > j->room && run_block(j, e) < 0)
			return -1;
		memcpy(j->ids + j->n_rows, t.ids, t.n * sizeof(*t.ids));
		j->n_rows += t.n;
		j->start[++j->n_seqs] = j->n_rows;
	}
	if (got < 0)
		return -1;
	return j->done ? 0 : run_block(j, e);
}

static int open_fused(struct job *j, struct stream_in *in, struct err *e)
{
	struct log log = cli_log(&tool);
	const struct model_cfg *c;

	if (!(j->tokens = rec_tokens_on(in, &j->thead, e)))
		return -1;
	if (!j->o->model)
		return err_set(e, ERR_USAGE, "tokens on standard input need "
		               "--model");
	j->model = model_open(j->o->model, j->dev,
	                      j->c->progress ? &log : NULL, e);
	if (!j->model)
		return -1;
	c = model_cfg(j->model);
	j->n_layers = ranges_parse(j->o->layers, (int)c->n_layers, j->layers,
	                           e);
	if (j->n_layers < 0)
		return err_wrap(e, "--layers");
	j->room = j->thead.n_ctx < c->n_ctx ? j->thead.n_ctx : c->n_ctx;
	if (j->room < (size_t)j->o->forward)
		j->room = (size_t)j->o->forward;
	snprintf(j->input, sizeof(j->input), "tokens/1 of tokenizer %s through "
	         "model %s by %zu, site %s, skip %lld",
	         j->thead.tokenizer[0] ? j->thead.tokenizer : "unknown",
	         c->fingerprint, j->room, REC_SITE_MLP,
	         (long long)j->o->skip);
	j->d_in = j->d_out = c->d_model;
	if (!(j->pass = model_run_new(j->model, j->room, e)) ||
	    !(j->ids = mem_array(j->room, sizeof(*j->ids), e)) ||
	    !(j->start = mem_array(j->room + 1, sizeof(*j->start), e)))
		return -1;
	return 0;
}

/* ---- setting up ------------------------------------------------------------ */

static int open_input(struct job *j, struct err *e)
{
	struct stream_in *in = stream_open_in("-", NULL, e);

	if (!in)
		return -1;
	if (strcmp(stream_kind(in), "acts/1") == 0)
		return open_stored(j, in, e);
	if (strcmp(stream_kind(in), "tokens/1") == 0)
		return open_fused(j, in, e);
	err_set(e, ERR_FORMAT, "%s: a stream of kind %.40s, wanted acts/1 or "
	        "tokens/1", stream_name(in), stream_kind(in));
	stream_close_in(in);
	return -1;
}

static int begin(struct job *j, struct err *e)
{
	struct train_feed_run *runs = mem_array(j->n_runs, sizeof(*runs), e);
	struct log log = cli_log(&tool);
	size_t i;

	if (!runs)
		return -1;
	for (i = 0; i < j->n_runs; i++) {
		const struct opts *o = &j->run[i].o;
		struct train_set_cfg *c = &runs[i].cfg;

		train_config(o, &j->run[i].c, j->d_in, j->d_out, &c->train);
		memcpy(c->layers, j->layers, sizeof(c->layers));
		c->n_layers = j->n_layers;
		c->out = o->out;
		c->save_every = (uint64_t)o->save_every;
		c->log_every = (uint64_t)o->log_every;
		c->keep_state = o->keep_state;
		c->input = j->input;
		runs[i].init = o->init;
		runs[i].resume = o->resume;
		runs[i].metrics = j->run[i].c.metrics;
		if (j->c->progress)
			log_say(&log, "%s: %d layers of %u latents: %.2f GiB",
			        c->out, c->n_layers, c->train.tc.n_latents,
			        (double)train_set_bytes(c) / 0x1p30);
	}
	j->feed = train_feed_new(runs, (int)j->n_runs, j->dev, j->c->progress
	                         ? cli_progress : NULL, (void *)&tool, e);
	mem_free(runs);
	if (!j->feed)
		return -1;
	j->done = train_feed_behind(j->feed) == UINT64_MAX;
	return 0;
}

static void release(struct job *j)
{
	size_t i;
	int side;

	for (side = 0; side < 2; side++) {
		mem_free(j->host[side]);
		if (j->dev)
			dev_ops(j->dev)->release(j->dev, j->rows[side]);
	}
	mem_free(j->ids);
	mem_free(j->start);
	train_feed_free(j->feed);
	model_run_free(j->pass);
	model_free(j->model);
	rec_acts_close(j->acts);
	rec_tokens_close(j->tokens);
	dev_free(j->dev);
	for (i = 0; i < j->n_runs; i++)
		if (j->text[i]) {	/* a line of the grid */
			mem_free(j->text[i]);
			free(j->run[i].c.command);
		}
	mem_free(j->text);
	mem_free(j->run);
}

static int run(struct job *j, struct err *e)
{
	if (!(j->dev = dev_open(j->c->device, j->c->threads, e)) ||
	    open_input(j, e) < 0 || begin(j, e) < 0)
		return -1;
	if ((j->acts ? run_stored(j, e) : run_fused(j, e)) < 0 ||
	    (!j->done && train_feed_finish(j->feed, e) < 0))
		return -1;
	return train_feed_close(j->feed, e);
}

int main(int argc, char **argv)
{
	struct sigaction act = { .sa_handler = on_signal };
	struct opts o;
	struct cli_common c;
	struct err e = { 0 };
	struct job j = { .o = &o, .c = &c };
	char **words;
	int rc;

	/* cli_parse puts argv in another order */
	if (!(words = mem_array((size_t)argc + 1, sizeof(*words), &e)))
		cli_die(&tool, &e);
	memcpy(words, argv, (size_t)argc * sizeof(*words));
	cli_parse(&tool, argc, argv, &o, sizeof(o), &c);
	rc = o.grid ? read_grid(&j, argc, words, &e) : one_run(&j, &e);
	mem_free(words);
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGINT, &act, NULL);
	if (rc == 0)
		rc = run(&j, &e);
	release(&j);
	free(c.command);
	if (rc < 0)
		cli_die(&tool, &e);
	return 0;
}
