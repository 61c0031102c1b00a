/* tctrain: train a transcoder for each layer of a model.
 * stdin: acts/1, or tokens/1 with --model.  DIR: checkpoints. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "mem.h"
#include "metrics.h"
#include "model.h"
#include "progress.h"
#include "ranges.h"
#include "rec.h"
#include "train_set.h"

struct opts {
	const char *model, *out, *layers, *recipe, *optimizer, *init, *variant;
	double l0_weight, bandwidth, lr, decay, auxk_alpha, ridge, outlier;
	int64_t k_anneal, warmup, batch, tokens, expansion, latents, k, dead_tokens;
	int64_t start_tokens, skip, save_every, log_every, forward;
	int no_skip, sae, multi_topk, normalize_decoder, resume, keep_state;
};

static const struct cli_opt options[] = {
	CLI_STR('m', "model", struct opts, model, "MODEL", NULL,
	        "Hugging Face folder or GGUF file, for tokens on stdin"),
	CLI_STR('o', "out", struct opts, out, "DIR", NULL,
	        "where checkpoints go"),
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

struct job {
	const struct opts *o;
	const struct cli_common *c;
	struct dev *dev;
	struct train_set_cfg cfg;
	struct train_set *set;
	struct metrics *metrics;
	struct progress progress;
	uint64_t behind;	/* rows that a resumed run has had, still to
				 * pass over */
	uint64_t n_done;	/* rows handed on or passed over */
	int done;		/* nothing left to learn; all is written */
	char input[512];

	/* acts/1 */
	struct rec_acts_in *acts;
	struct rec_acts_head head;
	int at[TRAIN_SET_LAYERS];	/* of cfg.layers in the record */
	float *host[2], *rows[2];	/* x, y; host and device */
	size_t rows_cap;

	/* tokens/1: the block being filled; sequence i has rows start[i].. */
	struct rec_tokens_in *tokens;
	struct rec_tokens_head thead;
	struct model *model;
	struct model_run *run;
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
		.outlier = o->outlier, .seed = c->seed
	};
	t->warmup = o->warmup >= 0 ? (uint64_t)o->warmup
	          : !sparsify ? 12 : adam ? 1000 : 0;
	t->decay = o->decay >= 0 ? o->decay : !sparsify ? 0.2 : adam ? 1 : 0;
	t->lr = o->lr > 0 ? o->lr : train_default_lr(t);
	if (t->start_tokens < t->batch)
		t->start_tokens = t->batch;
	if (o->tokens && t->n_steps == 0)
		cli_usage(&tool, "--tokens %lld is less than a --batch of %lld",
		          (long long)o->tokens, (long long)o->batch);
}

/* ---- lines and saves ----------------------------------------------------- */

static int emit(void *ctx, json_t *line, struct err *e)
{
	struct job *j = ctx;
	double rate = progress_rate(&j->progress, j->n_done);
	double all = (double)(j->cfg.train.n_steps * j->cfg.train.batch);
	double left = all - (double)j->n_done;
	json_t *time = json_pack("{s:f}", "tokens_per_s", rate);

	if (time && all > 0 && rate > 0)
		json_object_set_new(time, "eta_s",
		                    json_real(left > 0 ? left / rate : 0));
	json_object_set_new(line, "time", time);
	return metrics_write(j->metrics, line, e);
}

static int save_and_stop(struct job *j, struct err *e)
{
	uint64_t step = train_set_step(j->set);

	if (step == 0)
		return err_set(e, ERR_STOP, "stopped before the first step; "
		               "nothing to save");
	if (train_set_save(j->set, e) < 0)
		return -1;
	return err_set(e, ERR_STOP, "stopped; step %llu is saved, --resume "
	               "goes on", (unsigned long long)step);
}

static int finish(struct job *j, struct err *e)
{
	if (train_set_finish(j->set, metrics_wanted(j->metrics) ? emit : NULL,
	                     j, e) < 0)
		return -1;
	progress_end(&j->progress, j->n_done, NULL);
	j->done = 1;
	return 0;
}

/* After each block of rows, given to all layers. */
static int settle(struct job *j, struct err *e)
{
	char note[32];

	if (train_set_settle(j->set, metrics_wanted(j->metrics) ? emit : NULL,
	                     j, e) < 0)
		return -1;
	if (train_set_finished(j->set))
		return finish(j, e);
	snprintf(note, sizeof(note), "fvu %.4f", train_set_fvu(j->set));
	progress_at(&j->progress, j->n_done, train_set_step(j->set) ? note
	                                                       : "starting");
	return stopped ? save_and_stop(j, e) : 0;
}

/* How many of the next n rows a resumed run has had. */
static size_t pass_over(struct job *j, size_t n)
{
	size_t m = j->behind < n ? (size_t)j->behind : n;

	j->behind -= m;
	j->n_done += n;
	return m;
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
	size_t first = 0, n;
	int i;

	while (first < a->n && a->positions[first] < j->o->skip)
		first++;
	if (train_set_ids(j->set, a->ids + first, a->n - first, e) < 0)
		return -1;
	first += pass_over(j, a->n - first);
	n = a->n - first;
	if (n == 0)
		return settle(j, e);
	if (room_for(j, a->n, e) < 0)
		return -1;
	for (i = 0; i < j->cfg.n_layers; i++) {
		if ((!j->o->sae &&
		     fetch(j, 0, a->x[j->at[i]], a->n, first, e) < 0) ||
		    fetch(j, 1, a->y[j->at[i]], a->n, first, e) < 0 ||
		    train_set_push(j->set, i, j->rows[j->o->sae], j->rows[1],
		                   n, e) < 0)
			return -1;
	}
	return settle(j, e);
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
		j->cfg.layers[i] = wanted[i];
		j->at[i] = (int)k;
	}
	j->cfg.n_layers = n;
	snprintf(j->input, sizeof(j->input), "acts/1 of model %s in %s, site "
	         "%s, skip %lld", j->head.model, dtype_name(j->head.dtype),
	         j->head.site, (long long)j->o->skip);
	train_config(j->o, j->c, j->head.d_in, j->head.d_out, &j->cfg.train);
	return 0;
}

/* ---- fused with the model -------------------------------------------------- */

/* model_tap_fn: the block's rows, but for skipped positions and those behind a
 * resumed run, to the layer's transcoder. */
static int tap(void *ctx, int layer, const float *x, float *y, size_t n,
               struct err *e)
{
	struct job *j = ctx;
	size_t dim = model_cfg(j->model)->d_model, i, first, m;
	size_t skip = (size_t)j->o->skip, behind = (size_t)j->behind;

	(void)n;
	if (j->n_pushed == j->cfg.n_layers ||
	    j->cfg.layers[j->n_pushed] != layer)
		return 0;
	for (i = 0; i < j->n_seqs; i++) {
		first = j->start[i] + skip;
		m = j->start[i + 1] - first;
		if (behind >= m) {
			behind -= m;
			continue;
		}
		first += behind;
		m -= behind;
		behind = 0;
		if (train_set_push(j->set, j->n_pushed,
		                   (j->o->sae ? y : x) + first * dim,
		                   y + first * dim, m, e) < 0)
			return -1;
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
		if (train_set_ids(j->set, j->ids + j->start[i] + skip,
		                  j->start[i + 1] - j->start[i] - skip, e) < 0)
			return -1;
	j->n_pushed = 0;
	if (j->behind < rows &&
	    model_forward(j->run, &b, j->cfg.layers[j->cfg.n_layers - 1], tap,
	                  j, e) < 0)
		return -1;
	pass_over(j, rows);
	j->n_rows = j->n_seqs = 0;
	return settle(j, e);
}

static int check_sequence(const struct job *j, const struct rec_tokens *t,
                          struct err *e)
{
	const struct model_cfg *c = model_cfg(j->model);
	size_t i;

	if (t->n > j->room)
		return stream_bad(rec_tokens_stream(j->tokens), e, "a sequence "
		                  "of %zu tokens, the model takes %u", t->n,
		                  c->n_ctx);
	for (i = 0; i < t->n; i++)
		if (t->ids[i] >= c->n_vocab)
			return stream_bad(rec_tokens_stream(j->tokens), e,
			                  "token %u, the model's vocabulary "
			                  "has %u", t->ids[i], c->n_vocab);
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
	j->cfg.n_layers = ranges_parse(j->o->layers, (int)c->n_layers,
	                               j->cfg.layers, e);
	if (j->cfg.n_layers < 0)
		return err_wrap(e, "--layers");
	j->room = j->thead.n_ctx < c->n_ctx ? j->thead.n_ctx : c->n_ctx;
	if (j->room < (size_t)j->o->forward)
		j->room = (size_t)j->o->forward;
	snprintf(j->input, sizeof(j->input), "tokens/1 of tokenizer %s through "
	         "model %s by %zu, site %s, skip %lld",
	         j->thead.tokenizer[0] ? j->thead.tokenizer : "unknown",
	         c->fingerprint, j->room, REC_SITE_MLP,
	         (long long)j->o->skip);
	train_config(j->o, j->c, c->d_model, c->d_model, &j->cfg.train);
	if (!(j->run = model_run_new(j->model, j->room, e)) ||
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
	struct log log = cli_log(&tool);
	int found = 0;

	j->cfg.out = j->o->out;
	j->cfg.save_every = (uint64_t)j->o->save_every;
	j->cfg.log_every = (uint64_t)j->o->log_every;
	j->cfg.keep_state = j->o->keep_state;
	j->cfg.input = j->input;
	if (j->c->progress)
		log_say(&log, "%d layers of %u latents: %.2f GiB",
		        j->cfg.n_layers, j->cfg.train.tc.n_latents,
		        (double)train_set_bytes(&j->cfg) / 0x1p30);
	if (!(j->set = train_set_new(&j->cfg, j->dev, e)))
		return -1;
	if (j->o->resume &&
	    (found = train_set_resume(j->set, &j->behind, &j->done, e)) < 0)
		return -1;
	if (!found && j->o->init && train_set_init(j->set, j->o->init, e) < 0)
		return -1;
	if (found && !j->done)
		j->metrics = metrics_resume(j->c->metrics, "step",
		                            (int64_t)train_set_step(j->set), e);
	else	/* a run that reached its end keeps its lines */
		j->metrics = metrics_open(j->c->metrics, j->done, e);
	if (!j->metrics)
		return -1;
	progress_start(&j->progress, j->c->progress ? cli_progress : NULL,
	               (void *)&tool, "tokens", j->behind,
	               j->cfg.train.n_steps * j->cfg.train.batch);
	return 0;
}

static void release(struct job *j)
{
	int side;

	for (side = 0; side < 2; side++) {
		mem_free(j->host[side]);
		if (j->dev)
			dev_ops(j->dev)->release(j->dev, j->rows[side]);
	}
	mem_free(j->ids);
	mem_free(j->start);
	train_set_free(j->set);
	model_run_free(j->run);
	model_free(j->model);
	rec_acts_close(j->acts);
	rec_tokens_close(j->tokens);
	dev_free(j->dev);
}

static int run(struct job *j, struct err *e)
{
	if (!(j->dev = dev_open(j->c->device, j->c->threads, e)) ||
	    open_input(j, e) < 0 || begin(j, e) < 0)
		return -1;
	if ((j->acts ? run_stored(j, e) : run_fused(j, e)) < 0)
		return -1;
	return j->done ? 0 : finish(j, e);
}

int main(int argc, char **argv)
{
	struct sigaction act = { .sa_handler = on_signal };
	struct opts o;
	struct cli_common c;
	struct err e = { 0 };
	struct job j = { .o = &o, .c = &c };
	int rc;

	cli_parse(&tool, argc, argv, &o, sizeof(o), &c);
	if (!o.out)
		cli_usage(&tool, "--out is missing");
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGINT, &act, NULL);
	rc = run(&j, &e);
	if (metrics_close(j.metrics, rc < 0 ? NULL : &e) < 0)
		rc = -1;
	release(&j);
	if (rc < 0)
		cli_die(&tool, &e);
	return 0;
}
