/* actdump: write down what goes into a model's MLPs and what comes out.
 * stdin: tokens/1.  stdout: acts/1, blocks of positions in order. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "dev.h"
#include "mem.h"
#include "metrics.h"
#include "model.h"
#include "par.h"
#include "progress.h"
#include "ranges.h"
#include "rec.h"

struct opts {
	const char *model, *layers, *dtype, *shard, *precision;
	int64_t skip, batch, max_tokens;
	int raw;
};

static const struct cli_opt options[] = {
	CLI_STR('m', "model", struct opts, model, "MODEL", NULL,
	        "Hugging Face folder or GGUF file"),
	CLI_STR('l', "layers", struct opts, layers, "LIST", "all",
	        "layers to write, as 0,4-7"),
	CLI_CHOICE(0, "dtype", struct opts, dtype, "bf16|f16|f32", "bf16",
	           "how values are stored"),
	CLI_LONG(0, "skip", struct opts, skip, "N", 0, 1e6, "0",
	         "first positions of a sequence to leave out"),
	CLI_STR(0, "shard", struct opts, shard, "I/N", NULL,
	        "only sequences whose number is I modulo N"),
	CLI_LONG(0, "batch", struct opts, batch, "N", 1, 1e6, "2048",
	         "tokens that run together"),
	CLI_CHOICE(0, "precision", struct opts, precision, DEV_PRECISIONS,
	           "f32", "how exactly the model's matrices are multiplied"),
	CLI_LONG(0, "max-tokens", struct opts, max_tokens, "N", 0, 1e15, "0",
	         "positions to write at most; 0: all"),
	CLI_FLAG(0, "raw", struct opts, raw, "write msgpack without zstd"),
	CLI_END
};

static const struct cli_tool tool = {
	.name = "actdump",
	.brief = "write the inputs and outputs of a model's MLPs",
	.options = options
};

enum {
	RECORD_BYTES = 4 << 20,	/* of activations, about */
	CONVERT_ROWS = 16	/* converted by a thread at a time */
};

struct dump {
	const struct opts *o;
	uint64_t shard, n_shards;
	struct model *m;
	struct model_run *run;
	struct rec_acts_head head;
	struct rec_tokens_in *in;
	struct stream_out *out;
	struct metrics *metrics;
	struct progress progress;
	uint64_t n_seqs_done, n_done;

	/* the batch being filled: sequence i has rows start[i].. */
	size_t n_rows, n_seqs;
	uint32_t *ids, *positions;
	size_t *start;
	uint64_t *seq;

	/* its activations: side 0 x, 1 y; [n_rows, width] in head.dtype */
	int n_captured;
	uint8_t *acts[2][REC_MAX_LAYERS];
	size_t width[2];
	float *stage;		/* one side as f32 */
	uint8_t *bad;		/* rows with a value that dtype cannot hold */
};

/* ---- taking activations ---- */

struct convert {
	const struct dump *d;
	const float *from;
	uint8_t *to;
	size_t n, width, value;
	float limit;		/* the first that rounds to infinity */
};

static void convert_rows(void *ctx, size_t item, int thread)
{
	const struct convert *c = ctx;
	size_t r = item * CONVERT_ROWS, i;
	size_t end = c->n - r < CONVERT_ROWS ? c->n : r + CONVERT_ROWS;

	(void)thread;
	for (; r < end; r++) {
		const float *x = c->from + r * c->width;
		uint8_t *to = c->to + r * c->width * c->value;
		int bad = 0;

		for (i = 0; i < c->width; i++)
			bad |= !(fabsf(x[i]) < c->limit);
		c->d->bad[r] = (uint8_t)bad;
		if (c->d->head.dtype == DT_BF16)
			bf16_from_f32(x, c->width, (uint16_t *)to);
		else if (c->d->head.dtype == DT_F16)
			f16_from_f32(x, c->width, (uint16_t *)to);
		else
			memcpy(to, x, c->width * c->value);
	}
}

/* -1: row r of stage, a side of a layer, cannot be written, and why. */
static int refuse(const struct dump *d, size_t seq, size_t r, int side,
                  int layer, struct err *e)
{
	const float *x = d->stage + r * d->width[side];
	size_t i = 0;

	while (i < d->width[side] && isfinite(x[i]))
		i++;
	return err_set(e, ERR_RANGE, "sequence %llu, position %u: %s of layer "
	               "%d %s %s", (unsigned long long)d->seq[seq],
	               d->positions[r], side ? "output" : "input", layer,
	               i < d->width[side] ? "holds" : "does not fit",
	               i < d->width[side] ? "NaN or infinity" : d->o->dtype);
}

static int take_side(struct dump *d, int side, int layer, const float *dev_x,
                     size_t n, struct err *e)
{
	struct dev *dev = model_dev(d->m);
	struct convert c = {
		d, d->stage, d->acts[side][d->n_captured], n, d->width[side],
		dtype_block_bytes(d->head.dtype),
		d->head.dtype == DT_F16 ? 65520.0f :
		d->head.dtype == DT_BF16 ? 0x1.ffp+127f : INFINITY
	};
	size_t i, r;

	if (dev_ops(dev)->get(dev, d->stage, dev_x, n * c.width *
	                      sizeof(*dev_x), e) < 0)
		return -1;
	par_for(dev_par(dev), (n + CONVERT_ROWS - 1) / CONVERT_ROWS,
	        convert_rows, &c);
	for (i = 0; i < d->n_seqs; i++)
		for (r = d->start[i] + (size_t)d->o->skip; r < d->start[i + 1];
		     r++)
			if (d->bad[r])
				return refuse(d, i, r, side, layer, e);
	return 0;
}

static int take(void *ctx, int layer, const float *x, float *y, size_t n,
                struct err *e)
{
	struct dump *d = ctx;

	if (d->n_captured == (int)d->head.n_layers ||
	    (uint32_t)layer != d->head.layers[d->n_captured])
		return 0;
	if (take_side(d, 0, layer, x, n, e) < 0 ||
	    take_side(d, 1, layer, y, n, e) < 0)
		return -1;
	d->n_captured++;
	return 0;
}

/* ---- writing ---- */

/* Rows [row, row + n) of the batch, all of sequence i, as one record. */
static int write_rows(struct dump *d, size_t i, size_t row, size_t n,
                      struct err *e)
{
	size_t value = dtype_block_bytes(d->head.dtype);
	struct rec_acts a = {
		.seq = d->seq[i], .n = n, .positions = d->positions + row,
		.ids = d->ids + row
	};
	uint32_t k;

	for (k = 0; k < d->head.n_layers; k++) {
		a.x[k] = d->acts[0][k] + row * d->width[0] * value;
		a.y[k] = d->acts[1][k] + row * d->width[1] * value;
	}
	return rec_acts_write(d->out, &d->head, &a, e);
}

static int run_batch(struct dump *d, struct err *e)
{
	struct model_batch b = { d->ids, d->n_rows, d->start, d->n_seqs };
	size_t row_bytes = d->head.n_layers * (d->width[0] + d->width[1]) *
		dtype_block_bytes(d->head.dtype);
	size_t most = RECORD_BYTES / row_bytes, i, r, n;

	if (d->n_seqs == 0)
		return 0;
	d->n_captured = 0;
	if (model_forward(d->run, &b,
	                  (int)d->head.layers[d->head.n_layers - 1], take, d,
	                  e) < 0)
		return -1;
	for (i = 0; i < d->n_seqs; i++)
		for (r = d->start[i] + (size_t)d->o->skip; r < d->start[i + 1];
		     r += n) {
			n = d->start[i + 1] - r;
			if (n > (most ? most : 1))
				n = most ? most : 1;
			if (write_rows(d, i, r, n, e) < 0)
				return -1;
			d->n_done += n;
		}
	d->n_seqs_done += d->n_seqs;
	d->n_rows = d->n_seqs = 0;
	progress_at(&d->progress, d->n_done, NULL);
	if (!metrics_wanted(d->metrics))
		return 0;
	return metrics_write(d->metrics, json_pack("{s:I,s:I,s:f}",
		"tokens", (json_int_t)d->n_done,
		"sequences", (json_int_t)d->n_seqs_done,
		"tokens_per_s", progress_rate(&d->progress, d->n_done)), e);
}

/* ---- reading ---- */

static int check_sequence(struct dump *d, const struct rec_tokens *t,
                          struct err *e)
{
	struct err why;

	if (model_takes(model_cfg(d->m), t->ids, t->n, &why) < 0)
		return stream_bad(rec_tokens_stream(d->in), e, "%s", why.msg);
	return 0;
}

/* The rest of the stream is read to its end when enough is written: a cut
 * stream is noticed and its writer lives. */
static int run(struct dump *d, size_t room, struct err *e)
{
	uint64_t left = d->o->max_tokens ? (uint64_t)d->o->max_tokens
	                                 : UINT64_MAX;
	struct rec_tokens t;
	size_t skip = (size_t)d->o->skip, n, i;
	int got;

	while ((got = rec_tokens_read(d->in, &t, e)) > 0) {
		if (check_sequence(d, &t, e) < 0)
			return -1;
		if (t.seq % d->n_shards != d->shard || t.n <= skip || !left)
			continue;
		n = t.n - skip <= left ? t.n : skip + (size_t)left;
		left -= n - skip;
		if (d->n_rows + n > room && run_batch(d, e) < 0)
			return -1;
		d->seq[d->n_seqs++] = t.seq;
		for (i = 0; i < n; i++) {
			d->ids[d->n_rows + i] = t.ids[i];
			d->positions[d->n_rows + i] = (uint32_t)i;
		}
		d->n_rows += n;
		d->start[d->n_seqs] = d->n_rows;
	}
	return got < 0 ? -1 : run_batch(d, e);
}

/* ---- setting up ---- */

static int buffers(struct dump *d, size_t room, struct err *e)
{
	const struct model_cfg *c = model_cfg(d->m);
	size_t value = dtype_block_bytes(d->head.dtype), bytes;
	uint32_t k;
	int side;

	d->width[0] = d->width[1] = c->d_model;
	if (!(d->run = model_run_new(d->m, room, e)) ||
	    !(d->ids = mem_array(room, sizeof(*d->ids), e)) ||
	    !(d->positions = mem_array(room, sizeof(*d->positions), e)) ||
	    !(d->start = mem_array(room + 1, sizeof(*d->start), e)) ||
	    !(d->seq = mem_array(room, sizeof(*d->seq), e)) ||
	    !(d->bad = mem_array(room, 1, e)) ||
	    !(d->stage = mem_array(room, c->d_model * sizeof(float), e)))
		return -1;
	for (side = 0; side < 2; side++)
		for (k = 0; k < d->head.n_layers; k++)
			if (mem_mul(room, d->width[side] * value, &bytes,
			            e) < 0 ||
			    !(d->acts[side][k] = mem_scratch(bytes, 1, e)))
				return -1;
	return 0;
}

static void release(struct dump *d)
{
	uint32_t k;

	for (k = 0; k < d->head.n_layers; k++) {
		mem_free(d->acts[0][k]);
		mem_free(d->acts[1][k]);
	}
	mem_free(d->stage);
	mem_free(d->bad);
	mem_free(d->seq);
	mem_free(d->start);
	mem_free(d->positions);
	mem_free(d->ids);
	model_run_free(d->run);
}

static int make_head(struct dump *d, struct err *e)
{
	const struct model_cfg *c = model_cfg(d->m);
	int layers[REC_MAX_LAYERS], n, i;

	n = ranges_parse(d->o->layers, (int)c->n_layers, layers, e);
	if (n < 0)
		return err_wrap(e, "--layers");
	for (i = 0; i < n; i++)
		d->head.layers[i] = (uint32_t)layers[i];
	d->head.n_layers = (uint32_t)n;
	d->head.d_in = d->head.d_out = c->d_model;
	snprintf(d->head.model, sizeof(d->head.model), "%s", c->fingerprint);
	snprintf(d->head.site, sizeof(d->head.site), "%s", REC_SITE_MLP);
	return dtype_parse(d->o->dtype, &d->head.dtype);
}

static int open_out(struct dump *d, const struct cli_common *c, struct err *e)
{
	struct stream_out_opt o = {
		.kind = "acts/1", .from = rec_tokens_stream(d->in),
		.command = c->command, .seed = c->seed, .raw = d->o->raw,
		.level = REC_ACTS_LEVEL
	};

	o.header = rec_acts_header(&d->head, e);
	o.inputs = json_pack("[s]", d->head.model);
	if (o.header && o.inputs)
		d->out = stream_open_out("-", &o, e);
	else if (o.header)
		err_set(e, ERR_MEM, "no memory for the header");
	json_decref(o.header);
	json_decref(o.inputs);
	return d->out ? 0 : -1;
}

/* "I/N" into shard and n_shards. */
static void parse_shard(struct dump *d)
{
	unsigned long long i, n;
	int end = 0;

	d->n_shards = 1;
	if (!d->o->shard)
		return;
	if (sscanf(d->o->shard, "%llu/%llu%n", &i, &n, &end) != 2 ||
	    d->o->shard[end] || i >= n)
		cli_usage(&tool, "--shard %s: wanted I/N with I below N",
		          d->o->shard);
	d->shard = i;
	d->n_shards = n;
}

int main(int argc, char **argv)
{
	struct opts o;
	struct cli_common c;
	struct err e = { 0 };
	struct dump d = { .o = &o };
	struct dev *dev = NULL;
	struct log log = cli_log(&tool);
	size_t room;
	int rc = -1;

	cli_parse(&tool, argc, argv, &o, sizeof(o), &c);
	if (!o.model)
		cli_usage(&tool, "--model is missing");
	parse_shard(&d);
	cli_no_terminal(&tool);
	if (!(d.metrics = metrics_open(c.metrics, 0, &e)) ||
	    !(d.in = rec_tokens_open("-", &d.head.tokens, &e)) ||
	    !(dev = dev_open(c.device, c.threads, &e)))
		goto done;
	dev_set_precision(dev, o.precision);
	if (!(d.m = model_open(o.model, dev, c.progress ? &log : NULL, &e)) ||
	    make_head(&d, &e) < 0)
		goto done;
	room = d.head.tokens.n_ctx < model_cfg(d.m)->n_ctx
		? d.head.tokens.n_ctx : model_cfg(d.m)->n_ctx;
	if (room < (size_t)o.batch)
		room = (size_t)o.batch;
	progress_start(&d.progress, c.progress ? cli_progress : NULL,
	               (void *)&tool, "tokens", 0, (uint64_t)o.max_tokens);
	if (buffers(&d, room, &e) < 0 || open_out(&d, &c, &e) < 0 ||
	    run(&d, room, &e) < 0)
		goto done;
	progress_end(&d.progress, d.n_done, NULL);
	rc = stream_finish(d.out, &e);
	d.out = NULL;
done:
	stream_abort(d.out);
	if (metrics_close(d.metrics, rc < 0 ? NULL : &e) < 0)
		rc = -1;
	rec_tokens_close(d.in);
	release(&d);
	model_free(d.m);
	dev_free(dev);
	free(c.command);
	if (rc < 0)
		cli_die(&tool, &e);
	return 0;
}
