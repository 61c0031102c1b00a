/* tctune: train the transcoders of all layers together, by what the model
 * predicts with them in its MLPs' places.
 * stdin: tokens/1.  DIR: checkpoints. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "mem.h"
#include "model.h"
#include "rec.h"
#include "tc.h"
#include "train_feed.h"
#include "train_tune.h"

struct opts {
	const char *model, *transcoders, *out, *optimizer;
	double lr, decay, outlier;
	int64_t warmup, batch, tokens, skip, save_every, log_every;
	int resume, keep_state;
};

static const struct cli_opt options[] = {
	CLI_STR('m', "model", struct opts, model, "MODEL", NULL,
	        "Hugging Face folder or GGUF file"),
	CLI_STR('t', "transcoders", struct opts, transcoders, "DIR", NULL,
	        "where to start from: one for every layer"),
	CLI_STR('o', "out", struct opts, out, "DIR", NULL,
	        "where checkpoints go"),
	CLI_LONG('n', "tokens", struct opts, tokens, "N", 0, 1e15, "0",
	         "tokens to train on; 0: all, and the rate does not fall"),
	CLI_LONG('b', "batch", struct opts, batch, "N", 2, 1e6, "512",
	         "tokens of a step, in whole sequences, at most"),
	CLI_CHOICE(0, "optimizer", struct opts, optimizer, "adam|signum", "adam",
	           "rule of the steps"),
	CLI_REAL(0, "lr", struct opts, lr, "R", 1e-12, 1, "2e-5",
	         "learning rate"),
	CLI_LONG(0, "warmup", struct opts, warmup, "STEPS", 0, 1e9, "4",
	         "steps over which the rate rises"),
	CLI_REAL(0, "decay", struct opts, decay, "SHARE", 0, 1, "0.5",
	         "last share of the steps, over which it falls"),
	CLI_REAL(0, "outlier", struct opts, outlier, "R", 0, 1e9, "30",
	         "leave alone tokens whose norm is above R medians; 0: none"),
	CLI_LONG(0, "skip", struct opts, skip, "N", 0, 1e6, "1",
	         "first positions of a sequence to leave alone"),
	CLI_LONG(0, "save-every", struct opts, save_every, "STEPS", 0, 1e12,
	         "1000", "steps between checkpoints; 0: one at the end"),
	CLI_FLAG(0, "resume", struct opts, resume,
	         "go on from the state in --out, if there is one"),
	CLI_FLAG(0, "keep-state", struct opts, keep_state,
	         "keep the optimiser's state after the end"),
	CLI_LONG(0, "log-every", struct opts, log_every, "STEPS", 1, 1e12, "1",
	         "steps a line of metrics stands for"),
	CLI_END
};

static const struct cli_tool tool = {
	.name = "tctune",
	.brief = "train all transcoders together on the model's predictions",
	.options = options
};

struct job {
	const struct opts *o;
	const struct cli_common *c;
	struct dev *dev;
	struct model *model;
	struct rec_tokens_in *in;
	struct rec_tokens_head head;
	struct train_feed *feed;
	struct train_tune *tune;
	uint64_t n_rows_before;	/* rows of the stream so far */
	int done;
	char input[512];
	/* the batch being filled */
	uint32_t *ids;
	size_t *start, n, n_seqs;
};

static int step(struct job *j, struct err *e)
{
	struct model_batch b = { j->ids, j->n, j->start, j->n_seqs };
	size_t skip = (size_t)j->o->skip, rows = j->n - j->n_seqs * skip, i;

	if (!j->n_seqs)
		return 0;
	for (i = 0; i < j->n_seqs; i++)
		if (train_feed_ids(j->feed, j->ids + j->start[i] + skip,
		                   j->start[i + 1] - j->start[i] - skip, e) < 0)
			return -1;
	if (train_feed_behind(j->feed) < j->n_rows_before + rows &&
	    train_tune_step(j->tune, &b, e) < 0)
		return -1;
	j->n_rows_before += rows;
	j->n = j->n_seqs = 0;
	j->done = train_feed_settle(j->feed, j->n_rows_before, e);
	if (j->done < 0)
		return -1;
	return *cli_stopped() && !j->done ? train_feed_stop(j->feed, e) : 0;
}

static int take(struct job *j, const struct rec_tokens *t, struct err *e)
{
	struct err why;

	if (model_takes(model_cfg(j->model), t->ids, t->n, &why) < 0)
		return stream_bad(rec_tokens_stream(j->in), e, "%s", why.msg);
	if (t->n > (size_t)j->o->batch)
		return stream_bad(rec_tokens_stream(j->in), e, "a sequence of "
		                  "%zu tokens, --batch is %lld", t->n,
		                  (long long)j->o->batch);
	/* without two rows and a prediction there is nothing to learn */
	if (t->n < (size_t)j->o->skip + 2)
		return 0;
	if (j->n + t->n > (size_t)j->o->batch && step(j, e) < 0)
		return -1;
	if (j->done)
		return 0;
	memcpy(j->ids + j->n, t->ids, t->n * sizeof(*t->ids));
	j->n += t->n;
	j->start[++j->n_seqs] = j->n;
	return 0;
}

/* ---- setting up -------------------------------------------------------------- */

static int begin(struct job *j, struct err *e)
{
	const struct opts *o = j->o;
	struct train_feed_run r = {
		.init = o->transcoders, .resume = o->resume,
		.metrics = j->c->metrics
	};
	struct train_cfg *c = &r.cfg.train;
	struct tc *first;

	r.cfg.n_layers = tc_layers(o->transcoders, r.cfg.layers,
	                           TRAIN_SET_LAYERS, e);
	if (r.cfg.n_layers < 0)
		return -1;
	if (r.cfg.n_layers == 0)
		return err_set(e, ERR_FORMAT, "%s: holds no layers.N.mlp",
		               o->transcoders);
	first = tc_read(o->transcoders, r.cfg.layers[0],
	                model_cfg(j->model)->d_model,
	                model_cfg(j->model)->d_model, j->dev, e);
	if (!first)
		return -1;
	c->tc = first->cfg;
	tc_free(first);
	c->recipe = TRAIN_R1;
	c->rule = strcmp(o->optimizer, "adam") == 0 ? TRAIN_ADAM : TRAIN_SIGNUM;
	c->lr = o->lr;
	c->warmup = (uint64_t)o->warmup;
	c->decay = o->decay;
	c->batch = c->start_tokens = (size_t)o->batch;
	c->n_steps = (uint64_t)(o->tokens / o->batch);
	c->dead_tokens = 10000000;
	c->outlier = o->outlier;
	c->bandwidth = 1;	/* so that train_tune_new says what is wrong */
	c->seed = j->c->seed;
	if (o->tokens && c->n_steps == 0)
		return err_set(e, ERR_USAGE, "--tokens %lld is less than a "
		               "--batch of %lld", (long long)o->tokens,
		               (long long)o->batch);
	r.cfg.out = o->out;
	r.cfg.save_every = (uint64_t)o->save_every;
	r.cfg.log_every = (uint64_t)o->log_every;
	r.cfg.keep_state = o->keep_state;
	r.cfg.input = j->input;
	r.cfg.loss = "kl";
	snprintf(j->input, sizeof(j->input), "tokens/1 of tokenizer %s through "
	         "model %s, skip %lld",
	         j->head.tokenizer[0] ? j->head.tokenizer : "unknown",
	         model_cfg(j->model)->fingerprint, (long long)o->skip);
	j->feed = train_feed_new(&r, 1, j->dev, j->c->progress ? cli_progress
	                         : NULL, (void *)&tool, e);
	if (!j->feed)
		return -1;
	j->done = train_feed_behind(j->feed) == UINT64_MAX;
	j->tune = train_tune_new(train_feed_set(j->feed, 0), j->model,
	                         (size_t)o->skip, e);
	j->ids = mem_array((size_t)o->batch, sizeof(*j->ids), e);
	j->start = mem_array((size_t)o->batch + 1, sizeof(*j->start), e);
	return j->tune && j->ids && j->start ? 0 : -1;
}

static int run(struct job *j, struct err *e)
{
	struct log log = cli_log(&tool);
	struct stream_in *in;
	struct rec_tokens t;
	int got;

	if (!(in = stream_open_in("-", "tokens/1", e)))
		return -1;
	/* only now: until then there is nothing to save */
	cli_stop_on_signals();
	stream_stop_on(in, cli_stopped());
	if (!(j->in = rec_tokens_on(in, &j->head, e)) ||
	    !(j->dev = dev_open(j->c->device, j->c->threads, e)) ||
	    !(j->model = model_open(j->o->model, j->dev,
	                            j->c->progress ? &log : NULL, e)) ||
	    begin(j, e) < 0)
		return -1;
	/* to its end, so that a cut stream is noticed and its writer lives */
	while ((got = rec_tokens_read(j->in, &t, e)) > 0)
		if (!j->done && take(j, &t, e) < 0)
			return -1;
	if (got < 0 && e->code == ERR_STOP)
		return j->done ? train_feed_close(j->feed, e)
		               : train_feed_stop(j->feed, e);
	if (got < 0 || (!j->done && step(j, e) < 0) ||
	    (!j->done && train_feed_finish(j->feed, e) < 0))
		return -1;
	return train_feed_close(j->feed, e);
}

int main(int argc, char **argv)
{
	struct opts o;
	struct cli_common c;
	struct err e = { 0 };
	struct job j = { .o = &o, .c = &c };
	int rc;

	cli_parse(&tool, argc, argv, &o, sizeof(o), &c);
	if (!o.model || !o.transcoders || !o.out)
		cli_usage(&tool, "%s is missing", !o.model ? "--model" :
		          !o.transcoders ? "--transcoders" : "--out");
	rc = run(&j, &e);
	train_tune_free(j.tune);
	train_feed_free(j.feed);
	model_free(j.model);
	rec_tokens_close(j.in);
	dev_free(j.dev);
	mem_free(j.ids);
	mem_free(j.start);
	if (rc < 0)
		cli_die(&tool, &e);
	return 0;
}
