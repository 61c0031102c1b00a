/* topk-examples: what each latent does on a corpus.
 * stdin: tokens/1, latents/1 or examples/1.  stdout: examples/1 or latents/1. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "dev.h"
#include "eval.h"
#include "examples.h"
#include "feat.h"
#include "mem.h"
#include "metrics.h"
#include "model.h"
#include "progress.h"
#include "rec.h"

struct opts {
	const char *model, *transcoders, *layers, *shard, *precision;
	int64_t skip, batch, max_tokens;
	int64_t before, after, top, spare, sample, strata, random, per_doc;
	int64_t logits, near;
	int latents, merge, raw;
};

static const struct cli_opt options[] = {
	CLI_STR('m', "model", struct opts, model, "MODEL", NULL,
	        "Hugging Face folder or GGUF file"),
	CLI_STR('t', "transcoders", struct opts, transcoders, "DIR", NULL,
	        "folder of layers.N.mlp/, as tctrain and sparsify write"),
	CLI_STR('l', "layers", struct opts, layers, "LIST", "all",
	        "layers to look at, as 0,4-7"),
	CLI_LONG(0, "skip", struct opts, skip, "N", 0, 1e6, "1",
	         "first positions of a sequence to leave alone"),
	CLI_LONG(0, "max-tokens", struct opts, max_tokens, "N", 0, 1e15, "0",
	         "tokens to take at most, in whole sequences; 0: all"),
	CLI_STR(0, "shard", struct opts, shard, "I/N", NULL,
	        "only the batches whose number is I modulo N"),
	CLI_FLAG(0, "merge", struct opts, merge,
	         "merge the examples of shards, given as FILEs"),
	CLI_FLAG(0, "latents", struct opts, latents,
	         "write latents/1 instead: what is active where"),
	CLI_LONG('n', "top", struct opts, top, "N", 0, 1000, "10",
	         "strongest contexts of each latent"),
	CLI_LONG(0, "spare", struct opts, spare, "N", 0, 1000, "10",
	         "candidates for these beyond N"),
	CLI_LONG(0, "per-doc", struct opts, per_doc, "N", 1, 1000, "2",
	         "of these from one document at most"),
	CLI_LONG(0, "sample", struct opts, sample, "N", 0, 1000, "15",
	         "contexts drawn from all firings"),
	CLI_LONG(0, "strata", struct opts, strata, "N", 1, 1000, "5",
	         "groups by strength that these fall into"),
	CLI_LONG(0, "random", struct opts, random, "N", 0, 1000, "10",
	         "contexts in which a latent is silent"),
	CLI_LONG(0, "before", struct opts, before, "N", 0, 2000, "31",
	         "tokens of a context before its peak"),
	CLI_LONG(0, "after", struct opts, after, "N", 0, 2000, "16",
	         "tokens of a context after its peak"),
	CLI_LONG(0, "logits", struct opts, logits, "N", 0, 1000, "10",
	         "tokens that a decoder favours most, and least"),
	CLI_LONG(0, "near", struct opts, near, "N", 0, 1000, "5",
	         "nearest latents of the layer by decoder cosine"),
	CLI_LONG(0, "batch", struct opts, batch, "N", 1, 1e6, "2048",
	         "tokens that run together"),
	CLI_CHOICE(0, "precision", struct opts, precision, DEV_PRECISIONS,
	           "f32", "how exactly the model's matrices are multiplied"),
	CLI_FLAG(0, "raw", struct opts, raw, "write msgpack without zstd"),
	CLI_END
};

static const char *const unrecorded[] = { "shard", NULL };

static const struct cli_tool tool = {
	.name = "topk-examples",
	.brief = "gather what each latent does on a corpus",
	.operands = "[FILE]...",
	.max_operands = -1,
	.options = options,
	.unrecorded = unrecorded
};

struct job {
	const struct opts *o;
	const struct cli_common *c;
	uint64_t shard, n_shards;
	struct dev *dev;
	struct model *m;		/* NULL: not given */
	struct eval_set set;
	struct rec_latents_head lat;	/* what comes out of the encoders */
	struct examples_head head;
	const struct stream_in *in;	/* whose provenance is extended */
	struct stream_out *out;
	struct feat *feat;		/* NULL: latents are written */
	struct feat_out give;
	struct metrics *metrics;
	struct progress progress;
	uint64_t n_seen, n_seqs, n_done;	/* tokens seen, sequences, tokens */
};

/* ---- what comes of a sequence ---- */

static int take(void *ctx, const struct rec_latents *s, struct err *e)
{
	struct job *j = ctx;

	if (j->feat ? feat_add(j->feat, s, e) < 0 :
	    feat_latents_write(j->out, &j->lat, s, e) < 0)
		return -1;
	j->n_seqs++;
	j->n_done += s->t.n;
	progress_at(&j->progress, j->n_done, NULL);
	if (!metrics_wanted(j->metrics))
		return 0;
	return metrics_write(j->metrics, json_pack("{s:I,s:I,s:f}",
		"tokens", (json_int_t)j->n_done, "sequences",
		(json_int_t)j->n_seqs, "tokens_per_s",
		progress_rate(&j->progress, j->n_done)), e);
}

/* Whether a sequence of n tokens that comes is within --max-tokens. */
static int wanted(struct job *j, size_t n)
{
	uint64_t most = (uint64_t)j->o->max_tokens;

	if (most && j->n_seen + n > most) {
		j->n_seen = most;	/* nor any that follows */
		return 0;
	}
	j->n_seen += n;
	return 1;
}

/* Once enough is taken, the rest of a stream is read to its end: a cut
 * stream is noticed and its writer lives. */
static int read_tokens(struct job *j, struct rec_tokens_in *in,
                       struct err *e)
{
	const struct model_cfg *c = model_cfg(j->m);
	size_t room = j->lat.tokens.n_ctx < c->n_ctx ? j->lat.tokens.n_ctx
	                                             : c->n_ctx;
	struct feat_run *r;
	struct rec_tokens t;
	size_t i;
	int got;

	if (room < (size_t)j->o->batch)
		room = (size_t)j->o->batch;
	r = feat_run_new(j->m, &j->set, j->lat.skip, room, j->shard,
	                 j->n_shards, take, j, e);
	got = r ? 1 : -1;
	while (got > 0 && (got = rec_tokens_read(in, &t, e)) > 0) {
		if (t.n > c->n_ctx)
			got = stream_bad(rec_tokens_stream(in), e, "a sequence "
			                 "of %zu tokens, the model takes %u",
			                 t.n, c->n_ctx);
		for (i = 0; got > 0 && i < t.n; i++)
			if (t.ids[i] >= c->n_vocab)
				got = stream_bad(rec_tokens_stream(in), e,
				                 "token %u, the model's "
				                 "vocabulary has %u",
				                 t.ids[i], c->n_vocab);
		if (got > 0 && wanted(j, t.n) &&
		    feat_run_add(r, &t, e) < 0)
			got = -1;
	}
	if (got == 0)
		got = feat_run_end(r, e);
	feat_run_free(r);
	return got;
}

static int keep_wanted(void *ctx, const struct rec_latents *s, struct err *e)
{
	struct job *j = ctx;

	if (!wanted(j, s->t.n) || s->t.seq % j->n_shards != j->shard)
		return 0;
	return take(j, s, e);
}

static int read_latents(struct job *j, struct rec_latents_in *in,
                        struct err *e)
{
	struct feat_join *s = feat_join_new(&j->lat, keep_wanted, j, e);
	struct rec_latents *b = mem_array(1, sizeof(*b), e);
	int got = s && b ? 1 : -1;

	while (got > 0 && (got = rec_latents_read(in, b, e)) > 0)
		if (feat_join_add(s, b, e) < 0)
			got = -1;
	mem_free(b);
	feat_join_free(s);
	return got;
}

/* ---- opening ---- */

/* The model and the transcoders, when both are given. */
static int open_model(struct job *j, struct err *e)
{
	struct log log = cli_log(&tool);

	if (!(j->dev = dev_open(j->c->device, j->c->threads, e)))
		return -1;
	if (!j->o->model)
		return 0;
	dev_set_precision(j->dev, j->o->precision);
	if (!(j->m = model_open(j->o->model, j->dev,
	                        j->c->progress ? &log : NULL, e)))
		return -1;
	return eval_set_open(&j->set, j->o->transcoders, j->o->layers, j->m,
	                     e);
}

static int same_latents(const struct eval_set *s, uint32_t *n_latents,
                        uint32_t *k, struct err *e)
{
	int i;

	for (*k = 0, i = 0; i < s->n; i++) {
		const struct tc_cfg *c = &s->tc[i]->cfg;

		*n_latents = s->tc[0]->cfg.n_latents;
		if (c->n_latents != *n_latents)
			return err_set(e, ERR_FORMAT, "layer %d has %u latents,"
			               " layer %d has %u: one run takes layers "
			               "of one width (--layers)", s->layer[i],
			               c->n_latents, s->layer[0], *n_latents);
		if (tc_slots(c) > *k)
			*k = tc_slots(c);
	}
	return 0;
}

/* The head of latents made here. */
static int make_latents_head(struct job *j, const struct rec_tokens_head *t,
                             struct err *e)
{
	const struct model_cfg *c = model_cfg(j->m);
	int i;

	snprintf(j->lat.model, sizeof(j->lat.model), "%s", c->fingerprint);
	snprintf(j->lat.model_name, sizeof(j->lat.model_name), "%s", c->name);
	for (i = 0; i < j->set.n; i++)
		j->lat.layers[i] = (uint32_t)j->set.layer[i];
	j->lat.n_layers = (uint32_t)j->set.n;
	j->lat.skip = (uint32_t)j->o->skip;
	j->lat.tokens = *t;
	if (feat_checkpoint(j->o->transcoders, &j->set, j->lat.transcoders,
	                    e) < 0)
		return -1;
	return same_latents(&j->set, &j->lat.n_latents, &j->lat.k, e);
}

/* Latents that were made elsewhere: the weights given must be theirs. */
static int check_weights(const struct job *j, struct err *e)
{
	char sum[65];
	uint32_t k;

	if (!j->m)
		return 0;
	if (strcmp(model_cfg(j->m)->fingerprint, j->lat.model))
		return err_set(e, ERR_FORMAT, "%s: the latents come from "
		               "another model", j->o->model);
	if ((uint32_t)j->set.n != j->lat.n_layers)
		return err_set(e, ERR_FORMAT, "%s: %d layers, the latents have "
		               "%u", j->o->transcoders, j->set.n,
		               j->lat.n_layers);
	for (k = 0; k < j->lat.n_layers; k++)
		if ((uint32_t)j->set.layer[k] != j->lat.layers[k])
			return err_set(e, ERR_FORMAT, "%s: layer %d, the "
			               "latents have layer %u",
			               j->o->transcoders, j->set.layer[k],
			               j->lat.layers[k]);
	if (feat_checkpoint(j->o->transcoders, &j->set, sum, e) < 0)
		return -1;
	return strcmp(sum, j->lat.transcoders) ?
	       err_set(e, ERR_FORMAT, "%s: the latents come from other "
	               "transcoders", j->o->transcoders) : 0;
}

static void make_head(struct job *j)
{
	const struct opts *o = j->o;
	struct examples_head *h = &j->head;

	memcpy(h->model, j->lat.model, sizeof(h->model));
	memcpy(h->model_name, j->lat.model_name, sizeof(h->model_name));
	memcpy(h->transcoders, j->lat.transcoders, sizeof(h->transcoders));
	memcpy(h->layers, j->lat.layers, sizeof(h->layers));
	h->n_layers = j->lat.n_layers;
	h->n_latents = j->lat.n_latents;
	h->k = j->lat.k;
	h->skip = j->lat.skip;
	h->tokens = j->lat.tokens;
	h->seed = j->c->seed;
	h->before = (uint32_t)o->before;
	h->after = (uint32_t)o->after;
	h->n_top = (uint32_t)o->top;
	h->n_spare = (uint32_t)o->spare;
	h->n_sample = (uint32_t)o->sample;
	h->n_strata = (uint32_t)o->strata;
	h->n_random = (uint32_t)o->random;
	h->per_doc = (uint32_t)o->per_doc;
	h->n_logits = j->m ? (uint32_t)o->logits : 0;
	h->n_near = j->m ? (uint32_t)o->near : 0;
}

static int open_out(struct job *j, const char *kind, json_t *header,
                    struct err *e)
{
	struct stream_out_opt o = {
		.kind = kind, .from = j->in, .header = header,
		.command = j->c->command, .seed = j->c->seed, .raw = j->o->raw,
		.inputs = j->m ? json_pack("[ss]", j->lat.model,
		                           j->lat.transcoders) : NULL
	};

	if (header)
		j->out = stream_open_out("-", &o, e);
	json_decref(header);
	json_decref(o.inputs);
	return j->out ? 0 : -1;
}

/* ---- the ways of a run ---- */

/* Head and totals are known: the stream, and what else is written. */
static int give_out(struct job *j, struct err *e)
{
	struct examples_head h = *feat_head(j->feat);
	uint32_t part = (uint32_t)j->shard;

	if (h.n_seqs == 0)
		return err_set(e, ERR_FORMAT, "%s: no sequence in this %s",
		               stream_name(j->in), j->n_shards > 1 ? "shard"
		                                                   : "run");
	h.n_shards = (uint32_t)j->n_shards;
	h.parts = &part;
	if (open_out(j, "examples/1", examples_header(&h, e), e) < 0)
		return -1;
	j->give.s = j->out;
	return feat_write(j->feat, j->m, &j->set, &j->give, e);
}

/* In front of the sequences and behind them. */
static int begin(struct job *j, struct err *e)
{
	if (j->o->latents)
		return open_out(j, "latents/1",
		                rec_latents_header(&j->lat, e), e);
	make_head(j);
	j->feat = feat_new(&j->head, dev_par(j->dev), e);
	return j->feat ? 0 : -1;
}

static int end(struct job *j, struct err *e)
{
	return j->feat ? give_out(j, e) : 0;
}

static int run_tokens(struct job *j, struct stream_in *s, struct err *e)
{
	struct rec_tokens_head h;
	struct rec_tokens_in *in = rec_tokens_on(s, &h, e);
	int rc = -1;

	if (!in)
		return -1;
	j->in = s;
	if (open_model(j, e) == 0 && make_latents_head(j, &h, e) == 0 &&
	    begin(j, e) == 0 && read_tokens(j, in, e) == 0)
		rc = end(j, e);
	rec_tokens_close(in);
	return rc;
}

static int run_latents(struct job *j, struct stream_in *s, struct err *e)
{
	struct rec_latents_in *in = rec_latents_on(s, &j->lat, e);
	int rc = -1;

	if (!in)
		return -1;
	j->in = s;
	if (open_model(j, e) == 0 && check_weights(j, e) == 0 &&
	    begin(j, e) == 0 && read_latents(j, in, e) == 0)
		rc = end(j, e);
	rec_latents_close(in);
	return rc;
}

static const json_t *prov_of(const struct examples_in *in)
{
	return json_object_get(stream_header(examples_stream(in)), "prov");
}

/* Shards: the merger is what one run would have written, so it has that run's
 * provenance and no entry of its own. */
static int run_merge(struct job *j, const char **paths, size_t n,
                     struct err *e)
{
	struct examples_in **in = mem_array(n, sizeof(*in), e);
	struct examples_head *h = mem_array(n, sizeof(*h), e);
	struct stream_out_opt o = { .kind = "examples/1", .raw = j->o->raw };
	size_t i;
	int rc = -1;

	for (i = 0; in && h && i < n; i++) {
		if (!(in[i] = examples_open(paths[i], &h[i], e)))
			goto done;
		if (!json_equal(prov_of(in[i]), prov_of(in[0]))) {
			err_set(e, ERR_FORMAT, "%s and %s: their provenance "
			        "differs, they are not shards of one run",
			        paths[0], paths[i]);
			goto done;
		}
	}
	if (!in || !h || feat_merge_head(h, n, &j->head, e) < 0)
		goto done;
	o.prov = prov_of(in[0]);
	if ((o.header = examples_header(&j->head, e)))
		j->out = stream_open_out("-", &o, e);
	json_decref(o.header);
	j->give.s = j->out;
	rc = j->out ? feat_merge(in, n, &j->head, &j->give, e) : -1;
	examples_head_free(&j->head);
done:
	for (i = 0; in && h && i < n; i++) {
		examples_close(in[i]);
		examples_head_free(&h[i]);
	}
	mem_free(in);
	mem_free(h);
	return rc;
}

static int run_stdin(struct job *j, struct err *e)
{
	struct stream_in *s = stream_open_in("-", NULL, e);
	const char *kind = s ? stream_kind(s) : NULL;

	if (!s)
		return -1;
	if (!strcmp(kind, "tokens/1")) {
		if (!j->o->model)
			cli_usage(&tool, "tokens/1 needs --model and "
			          "--transcoders");
		return run_tokens(j, s, e);
	}
	if (!strcmp(kind, "latents/1"))
		return run_latents(j, s, e);
	err_set(e, ERR_FORMAT, "%s: wanted tokens/1 or latents/1, found "
	        "%.64s", stream_name(s), kind);
	stream_close_in(s);
	return -1;
}

/* "I/N" into shard and n_shards. */
static void parse_shard(struct job *j)
{
	unsigned long long i, n;
	int end = 0;

	j->n_shards = 1;
	if (!j->o->shard)
		return;
	if (sscanf(j->o->shard, "%llu/%llu%n", &i, &n, &end) != 2 ||
	    j->o->shard[end] || i >= n || n > 1 << 20)
		cli_usage(&tool, "--shard %s: wanted I/N with I below N",
		          j->o->shard);
	j->shard = i;
	j->n_shards = n;
}

static void check_usage(const struct opts *o, int n_files)
{
	if (!o->model != !o->transcoders)
		cli_usage(&tool, "--model and --transcoders go together");
	if (o->merge && !n_files)
		cli_usage(&tool, "--merge wants FILEs");
	if (!o->merge && n_files)
		cli_usage(&tool, "FILEs go with --merge");
	if (o->merge && (o->latents || o->model || o->shard))
		cli_usage(&tool, "--merge takes shards as they are: no "
		          "--model, --latents or --shard");
}

int main(int argc, char **argv)
{
	struct opts o;
	struct cli_common c;
	struct err e = { 0 };
	struct job j = { .o = &o, .c = &c };
	int at = cli_parse(&tool, argc, argv, &o, sizeof(o), &c), rc;

	check_usage(&o, argc - at);
	parse_shard(&j);
	cli_no_terminal(&tool);
	if (!(j.metrics = metrics_open(c.metrics, 0, &e)))
		cli_die(&tool, &e);
	progress_start(&j.progress, c.progress ? cli_progress : NULL,
	               (void *)&tool, "tokens", 0, (uint64_t)o.max_tokens);
	rc = o.merge ? run_merge(&j, (const char **)(uintptr_t)(argv + at),
	                         (size_t)(argc - at), &e)
	             : run_stdin(&j, &e);
	progress_end(&j.progress, j.n_done, NULL);
	if (rc < 0)
		stream_abort(j.out);
	else
		rc = stream_finish(j.out, &e);
	if (metrics_close(j.metrics, rc < 0 ? NULL : &e) < 0)
		rc = -1;
	feat_free(j.feat);
	eval_set_free(&j.set);
	model_free(j.m);
	dev_free(j.dev);
	free(c.command);
	if (rc < 0)
		cli_die(&tool, &e);
	return 0;
}
