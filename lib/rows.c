#include "rows.h"

#include <stdio.h>
#include <string.h>

#include "mem.h"
#include "model.h"
#include "ranges.h"
#include "rec.h"

struct rows {
	const struct rows_opt *o;
	struct dev *dev;
	const char *precision;	/* as it has been set; NULL: it has not */
	struct train_feed *feed;
	int layers[TRAIN_SET_LAYERS], n_layers;
	uint32_t d_in, d_out;
	uint64_t n_before;	/* rows of the stream so far */
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

/* After each block of n rows, given to all layers. */
static int settle(struct rows *r, size_t n, struct err *e)
{
	int done;

	r->n_before += n;
	done = train_feed_settle(r->feed, r->n_before, e);
	if (done < 0)
		return -1;
	r->done = done;
	if (done || !r->o->stop || !*r->o->stop)
		return 0;
	return train_feed_stop(r->feed, e);
}

/* What a reader's -1 comes to: the stop of a wait saves what was learnt. */
static int unread(struct rows *r, struct err *e)
{
	if (!e || e->code != ERR_STOP)
		return -1;
	return r->done ? 0 : train_feed_stop(r->feed, e);
}

/* How many of the next n rows every run has had. */
static size_t behind(const struct rows *r, size_t n)
{
	uint64_t had = train_feed_behind(r->feed);

	had = had > r->n_before ? had - r->n_before : 0;
	return had < n ? (size_t)had : n;
}

/* Before weights are loaded; model NULL: there are none. */
static int set_precision(struct rows *r, const char *model, struct err *e)
{
	if (!r->o->precision)
		return 0;
	if (!(r->precision = model_precision(r->o->precision, model, r->dev, e)))
		return -1;
	dev_set_precision(r->dev, r->precision);
	return 0;
}

/* What a run's input says of a precision that is not as ever. */
static const char *precision(const struct rows *r)
{
	const char *p = r->precision;

	return p && strcmp(p, "q8") == 0 ? " in q8"
	     : p && strcmp(p, "exact") == 0 ? " in exact f32" : "";
}

/* ---- stored activations --------------------------------------------------- */

static int room_for(struct rows *r, size_t n, struct err *e)
{
	const struct dev_ops *d = dev_ops(r->dev);
	size_t width[2] = { r->head.d_in, r->head.d_out }, bytes;
	int side;

	if (n <= r->rows_cap)
		return 0;
	r->rows_cap = 0;
	for (side = 0; side < 2; side++) {
		if (mem_mul(n, width[side] * sizeof(float), &bytes, e) < 0)
			return -1;
		mem_free(r->host[side]);
		d->release(r->dev, r->rows[side]);
		r->rows[side] = NULL;
		r->host[side] = mem_scratch(bytes, 1, e);
		if (!r->host[side] ||
		    !(r->rows[side] = d->alloc(r->dev, bytes, e)))
			return -1;
	}
	r->rows_cap = n;
	return 0;
}

/* Rows [first, n) of one side of a record to the device. */
static int fetch(struct rows *r, int side, const void *data, size_t n,
                 size_t first, struct err *e)
{
	size_t width = side ? r->head.d_out : r->head.d_in;
	struct tensor t = { .name = "activations", .type = r->head.dtype,
		.n_dims = 2, .shape = { n, width }, .n = n * width,
		.data = data };

	if (dtype_bytes(t.type, t.n, &t.n_bytes, e) < 0 ||
	    tensor_f32(&t, first * width, (n - first) * width, r->host[side],
	               e) < 0)
		return -1;
	return dev_ops(r->dev)->put(r->dev, r->rows[side], r->host[side],
	                            (n - first) * width * sizeof(float), e);
}

static int take_record(struct rows *r, const struct rec_acts *a, struct err *e)
{
	size_t first = 0, n, had;
	int i;

	while (first < a->n && a->positions[first] < r->o->skip)
		first++;
	n = a->n - first;
	if (train_feed_ids(r->feed, a->ids + first, n, e) < 0)
		return -1;
	had = behind(r, n);
	if (had == n)
		return settle(r, n, e);
	first += had;
	if (room_for(r, a->n, e) < 0)
		return -1;
	for (i = 0; i < r->n_layers; i++) {
		if ((train_feed_wants_x(r->feed) &&
		     fetch(r, 0, a->x[r->at[i]], a->n, first, e) < 0) ||
		    fetch(r, 1, a->y[r->at[i]], a->n, first, e) < 0 ||
		    train_feed_push(r->feed, i, r->n_before + had,
		                    r->rows[0], r->rows[1], n - had, e) < 0)
			return -1;
	}
	return settle(r, n, e);
}

/* The rest of the stream is read to its end when enough was taken: a cut
 * stream is noticed and its writer lives. */
static int run_stored(struct rows *r, struct err *e)
{
	struct rec_acts a;
	int got;

	while ((got = rec_acts_read(r->acts, &a, e)) > 0)
		if (!r->done && take_record(r, &a, e) < 0)
			return -1;
	return got < 0 ? unread(r, e) : 0;
}

static int open_stored(struct rows *r, struct stream_in *in, struct err *e)
{
	int wanted[REC_MAX_LAYERS], n, i;
	uint32_t k;

	if (!(r->acts = rec_acts_on(in, &r->head, e)) ||
	    set_precision(r, NULL, e) < 0)
		return -1;
	if (strcmp(r->o->layers, "all") == 0) {
		for (k = 0; k < r->head.n_layers; k++)
			wanted[k] = (int)r->head.layers[k];
		n = (int)r->head.n_layers;
	} else {
		n = ranges_parse(r->o->layers, REC_MAX_LAYERS, wanted, e);
		if (n < 0)
			return err_wrap(e, "--layers");
	}
	for (i = 0; i < n; i++) {
		for (k = 0; k < r->head.n_layers; k++)
			if ((int)r->head.layers[k] == wanted[i])
				break;
		if (k == r->head.n_layers)
			return err_set(e, ERR_USAGE, "--layers: %d is not in "
			               "the stream, which holds %u layers from "
			               "%u to %u", wanted[i], r->head.n_layers,
			               r->head.layers[0],
			               r->head.layers[r->head.n_layers - 1]);
		r->layers[i] = wanted[i];
		r->at[i] = (int)k;
	}
	r->n_layers = n;
	snprintf(r->input, sizeof(r->input), "acts/1 of model %s in %s%s, "
	         "site %s, skip %zu", r->head.model,
	         dtype_name(r->head.dtype), precision(r), r->head.site,
	         r->o->skip);
	r->d_in = r->head.d_in;
	r->d_out = r->head.d_out;
	return 0;
}

/* ---- fused with the model -------------------------------------------------- */

/* model_tap_fn: the block's rows, but for skipped positions and those that every
 * run has had, to the layer's transcoders. */
static int tap(void *ctx, int layer, const float *x, float *y, size_t n,
               struct err *e)
{
	struct rows *r = ctx;
	size_t dim = r->d_in, i, first, m, had;
	size_t skip = r->o->skip, rows = 0;
	size_t gone = behind(r, n);

	if (r->n_pushed == r->n_layers || r->layers[r->n_pushed] != layer)
		return 0;
	for (i = 0; i < r->n_seqs; i++) {
		first = r->start[i] + skip;
		m = r->start[i + 1] - first;
		had = gone > rows ? gone - rows < m ? gone - rows : m : 0;
		if (had < m &&
		    train_feed_push(r->feed, r->n_pushed,
		                    r->n_before + rows + had,
		                    x + (first + had) * dim,
		                    y + (first + had) * dim, m - had, e) < 0)
			return -1;
		rows += m;
	}
	r->n_pushed++;
	return 0;
}

static int run_block(struct rows *r, struct err *e)
{
	struct model_batch b = { r->ids, r->n_rows, r->start, r->n_seqs };
	size_t skip = r->o->skip, rows, i;

	rows = r->n_rows - r->n_seqs * skip;
	if (r->n_seqs == 0)
		return 0;
	for (i = 0; i < r->n_seqs; i++)
		if (train_feed_ids(r->feed, r->ids + r->start[i] + skip,
		                   r->start[i + 1] - r->start[i] - skip, e) < 0)
			return -1;
	r->n_pushed = 0;
	if (behind(r, rows) < rows &&
	    model_forward(r->pass, &b, r->layers[r->n_layers - 1], tap, r,
	                  e) < 0)
		return -1;
	r->n_rows = r->n_seqs = 0;
	return settle(r, rows, e);
}

static int check_sequence(const struct rows *r, const struct rec_tokens *t,
                          struct err *e)
{
	struct err why;

	if (model_takes(model_cfg(r->model), t->ids, t->n, &why) < 0)
		return stream_bad(rec_tokens_stream(r->tokens), e, "%s",
		                  why.msg);
	return 0;
}

/* Blocks are cut where actdump cuts them, from the stream's beginning on, so
 * that each row is computed in the same company and comes out the same. */
static int run_fused(struct rows *r, struct err *e)
{
	struct rec_tokens t;
	int got;

	while ((got = rec_tokens_read(r->tokens, &t, e)) > 0) {
		if (check_sequence(r, &t, e) < 0)
			return -1;
		if (t.n <= r->o->skip || r->done)
			continue;
		if (r->n_rows + t.n > r->room && run_block(r, e) < 0)
			return -1;
		memcpy(r->ids + r->n_rows, t.ids, t.n * sizeof(*t.ids));
		r->n_rows += t.n;
		r->start[++r->n_seqs] = r->n_rows;
	}
	if (got < 0)
		return unread(r, e);
	return r->done ? 0 : run_block(r, e);
}

static int open_fused(struct rows *r, struct stream_in *in, struct err *e)
{
	const struct model_cfg *c;

	if (!(r->tokens = rec_tokens_on(in, &r->thead, e)))
		return -1;
	if (!r->o->model)
		return err_set(e, ERR_USAGE, "tokens on standard input need "
		               "--model");
	if (set_precision(r, r->o->model, e) < 0)
		return -1;
	if (!(r->model = model_open(r->o->model, r->dev, &r->o->log, e)))
		return -1;
	c = model_cfg(r->model);
	r->n_layers = ranges_parse(r->o->layers, (int)c->n_layers, r->layers,
	                           e);
	if (r->n_layers < 0)
		return err_wrap(e, "--layers");
	r->room = r->thead.n_ctx < c->n_ctx ? r->thead.n_ctx : c->n_ctx;
	if (r->room < r->o->forward)
		r->room = r->o->forward;
	snprintf(r->input, sizeof(r->input), "tokens/1 of tokenizer %s through "
	         "model %s by %zu%s, site %s, skip %zu",
	         r->thead.tokenizer[0] ? r->thead.tokenizer : "unknown",
	         c->fingerprint, r->room, precision(r), REC_SITE_MLP, r->o->skip);
	r->d_in = r->d_out = c->d_model;
	if (!(r->pass = model_run_new(r->model, r->room, e)) ||
	    !(r->ids = mem_array(r->room, sizeof(*r->ids), e)) ||
	    !(r->start = mem_array(r->room + 1, sizeof(*r->start), e)))
		return -1;
	return 0;
}

/* ---- both ------------------------------------------------------------------- */

struct rows *rows_open(const char *path, const struct rows_opt *o,
                       struct dev *d, struct err *e)
{
	struct rows *r = mem_array(1, sizeof(*r), e);
	struct stream_in *in;
	int rc;

	if (!r)
		return NULL;
	r->o = o;
	r->dev = d;
	if (!(in = stream_open_in(path, NULL, e)))
		goto fail;
	stream_stop_on(in, o->stop);
	if (strcmp(stream_kind(in), "acts/1") == 0) {
		rc = open_stored(r, in, e);
	} else if (strcmp(stream_kind(in), "tokens/1") == 0) {
		rc = open_fused(r, in, e);
	} else {
		rc = err_set(e, ERR_FORMAT, "%s: a stream of kind %.40s, wanted "
		             "acts/1 or tokens/1", stream_name(in),
		             stream_kind(in));
		stream_close_in(in);
	}
	if (rc == 0)
		return r;
fail:
	rows_free(r);
	return NULL;
}

void rows_free(struct rows *r)
{
	int side;

	if (!r)
		return;
	for (side = 0; side < 2; side++) {
		mem_free(r->host[side]);
		dev_ops(r->dev)->release(r->dev, r->rows[side]);
	}
	mem_free(r->ids);
	mem_free(r->start);
	model_run_free(r->pass);
	model_free(r->model);
	rec_acts_close(r->acts);
	rec_tokens_close(r->tokens);
	mem_free(r);
}

void rows_shape(const struct rows *r, struct rows_shape *s)
{
	s->layers = r->layers;
	s->n_layers = r->n_layers;
	s->d_in = r->d_in;
	s->d_out = r->d_out;
	s->input = r->input;
}

int rows_run(struct rows *r, struct train_feed *f, struct err *e)
{
	r->feed = f;
	r->done = train_feed_behind(f) == UINT64_MAX;
	if ((r->acts ? run_stored(r, e) : run_fused(r, e)) < 0)
		return -1;
	return r->done;
}
