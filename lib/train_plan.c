#include "train_plan.h"

#include <math.h>
#include <string.h>

#include "mem.h"
#include "train_end_impl.h"

enum { SLAB = 16 };	/* columns that the end's products have in cache */

/* ---- the model ---------------------------------------------------------------- */

static double model_bytes(const struct train_plan_in *in)
{
	double n = model_values(in->model);

	if (in->need)
		return in->need->weights;
	/* as model_open: f32 where that is little, else as stored */
	return n * (!in->card->half && n * 4 <= 0x1p31 ? 4 : 2);
}

size_t train_plan_rows(size_t ctx, size_t forward)
{
	return forward > ctx ? forward : ctx;
}

/* Numbers of a row that a pass holds. */
static double row_width(const struct model_cfg *m)
{
	return model_run_bytes(m, 1) / sizeof(float);
}

/* ---- memory --------------------------------------------------------------------- */

static void add_memory(const struct train_plan_in *in,
                       const struct train_set_cfg *r, int n_layers,
                       double *mem)
{
	const struct train_cfg *c = &r->train;
	struct train_cfg on_device = *c;
	double n = n_layers, values, beside;
	double work = (double)train_work_bytes(c);
	size_t params, moments;

	train_numbers(c, &params, &moments);
	values = 4 * (double)params;
	beside = 4 * (double)moments;
	mem[PLAN_WEIGHTS] += n * values;
	mem[PLAN_MOMENTS] += n * beside;
	/* the rest of a layer is rows held and when latents fired; a card's
	 * host keeps the rows of the end */
	if (in->card->half)
		on_device.end_tokens = 0;
	mem[PLAN_START_ROWS] += n * ((double)train_layer_bytes(&on_device) -
	                             values - beside);
	if (in->card->half)	/* one layer's pre-activations and bf16 copy */
		work += 2.0 * (double)c->batch * c->tc.n_latents +
		        2.0 * c->tc.n_latents * c->tc.d_in;
	mem[PLAN_BATCH] += work;
}

static double largest(double a, size_t b)
{
	return a > (double)b ? a : (double)b;
}

/* Operands that the device keeps packed, of the model's products and of
 * training's. */
static double packed(const struct train_plan_in *in,
                     const struct train_plan_pass *p)
{
	struct dev *d = in->card->dev;
	double most = in->need ? in->need->packed : 0;
	size_t i;

	for (i = p->run; d && i < p->run + p->n_runs; i++)
		most = largest(most, train_packed_bytes(&in->runs[i].train, d));
	return most;
}

static void memory(const struct train_plan_in *in, struct train_plan_pass *p)
{
	double turn = 0;
	size_t i;

	memset(p->mem, 0, sizeof(p->mem));
	for (i = p->run; i < p->run + p->n_runs; i++)
		add_memory(in, &in->runs[i], p->n_layers, p->mem);
	for (i = p->run; i < p->run + p->n_runs; i++)	/* one at a time */
		turn = largest(turn, train_turn_bytes(&in->runs[i].train));
	p->mem[PLAN_BATCH] += turn;
	p->mem[PLAN_MODEL] = model_bytes(in);
	p->mem[PLAN_PASS] = model_run_bytes(in->model,
		train_plan_rows(in->ctx, in->forward));
	p->mem[PLAN_BESIDES] = in->card->besides + packed(in, p);
	for (p->bytes = 0, i = 0; i < PLAN_MEMS; i++)
		p->bytes += p->mem[i];
}

/* ---- time ------------------------------------------------------------------------ */

/* `times` times an operation: flop at a rate or bytes at another. */
static double add(struct train_plan_cost *c, double times, double flop,
                  double rate, double bytes, double speed)
{
	double by_flop = flop / rate, by_bytes = bytes / speed;
	double s = times * (by_flop > by_bytes ? by_flop : by_bytes);

	c->flop += times * flop;
	c->bytes += times * bytes;
	c->s += s;
	if (by_bytes > by_flop)
		c->bytes_s += s;
	return s;
}

/* The codes' part of the end: as train_end_dense.c and train_end_solve.c. */
static double add_codes_end(const struct train_cfg *c, double n_layers,
                            double rows, const struct train_card *h,
                            struct train_plan_cost *op)
{
	const struct tc_cfg *t = &c->tc;
	double matmul = h->peak * h->matmul, stream = h->bandwidth * h->stream;
	double gather = h->bandwidth * h->gather;
	double d = t->skip ? t->d_in : 0, e = t->d_out, lat = t->n_latents, s;
	int dense = t->n_latents <= TRAIN_END_DENSE;
	double products = dense ? 1 : 10, blocks = ceil(lat / TRAIN_END_BLOCK);

	/* codes against all, their columns some at a time */
	s = add(op, products * n_layers, 4 * rows * t->k * e, matmul,
	        8 * rows * t->k * e / SLAB, stream);
	s += add(op, products * n_layers, 4 * d * e * lat, matmul,
	         4 * lat * (2 * d + 8 * e), stream);
	if (!dense)
		return s;
	s += add(op, n_layers, 2 * rows * t->k * t->k, matmul,
	         8 * rows * t->k * t->k, gather);
	/* factored, each block's columns read and written */
	return s + add(op, n_layers, lat * lat * (lat / 3 + d + 2 * e), matmul,
	               4 * lat * lat * (1 + blocks / 3), stream);
}

static double add_run(const struct train_plan_in *in,
                      const struct train_set_cfg *r, int n_layers,
                      struct train_plan_cost *op)
{
	const struct train_card *h = in->card;
	const struct train_cfg *c = &r->train;
	const struct tc_cfg *t = &c->tc;
	double d = t->d_in, e = t->d_out, lat = t->n_latents;
	double k = t->k * (t->multi_topk ? 5.0 : 1.0), b = (double)c->batch;
	double rows, word = h->half ? 2 : 4;
	double steps = (double)c->n_steps * n_layers;
	double matmul = h->peak * h->matmul, encode = h->peak * h->encode;
	double stream = h->bandwidth * h->stream;
	double gather = h->bandwidth * h->gather, s;
	size_t params, moments;

	train_numbers(c, &params, &moments);
	s = add(&op[PLAN_ENCODE], steps, 2 * b * d * lat, encode,
	        d * lat * (h->half ? 8 : 4), stream);
	if (h->half)
		s += add(&op[PLAN_ENCODE], steps, 0, encode, 4 * b * lat,
		         stream);
	rows = b / (double)train_larger(c->skip_every, 1);
	if (t->skip)
		s += add(&op[PLAN_SKIP], steps, 2 * (b + rows) * d * e,
		         h->peak * h->skip, 4 * d * e, stream);
	s += add(&op[PLAN_ACTIVE], steps, 2 * b * k * (3 * e + d), matmul,
	         word * b * k * (3 * e + d), gather);
	s += add(&op[PLAN_OPTIMISER], steps, 0, matmul,
	         8 * (double)(params + moments), stream);
	s += add(&op[PLAN_ROWS], steps, 0, matmul, 4 * b * (5 * d + 15 * e),
	         stream);
	rows = (double)c->start_tokens;
	if (c->recipe == TRAIN_R1)
		s += add(&op[PLAN_START], n_layers,
		         2 * rows * d * (d + 2 * e) +
		         2 * (d * d * d / 3 + 2 * d * d * e), matmul,
		         4 * rows * 6 * (d + e), stream);
	rows = (double)(c->end_tokens < c->n_steps * c->batch
	                ? c->end_tokens : c->n_steps * c->batch);
	if (rows > 0) {
		s += add(&op[PLAN_START], n_layers, 2 * rows * d * lat, encode,
		         d * lat * (h->half ? 8 : 4), stream);
		/* inputs against themselves and outputs */
		s += add(&op[PLAN_START], n_layers,
		         t->skip ? 2 * rows * d * (d + e) : 0,
		         h->peak * h->skip, 4 * rows * (d + e), stream);
		s += add_codes_end(c, n_layers, rows, h, &op[PLAN_START]);
	}
	return s;
}

static double add_forward(const struct train_plan_in *in, int last,
                          double tokens, struct train_plan_cost *c)
{
	const struct train_card *h = in->card;
	const struct model_cfg *m = in->model;
	double layers = last + 1, block = (double)in->forward;
	double attn = 2.0 * (double)in->ctx * m->n_heads * m->d_head;
	double stream = h->bandwidth * h->stream, s;

	s = add(c, tokens / block * layers,
	        block * (2 * model_layer_values(m) + attn), h->peak * h->forward,
	        model_layer_values(m) * (h->half ? 2 : 4), stream);
	return s + add(c, tokens * layers, 0, h->peak,
	               (h->half ? 4 : 8) * row_width(m), stream);
}

static double of_run(const struct train_set_cfg *r)
{
	return (double)r->train.n_steps * (double)r->train.batch;
}

static void timing(struct train_plan *p, struct train_plan_pass *q)
{
	size_t i;

	for (i = q->run; i < q->run + q->n_runs; i++) {
		const struct train_set_cfg *r = &p->in.runs[i];

		q->s += add_run(&p->in, r, q->n_layers, p->op);
		if (of_run(r) > q->tokens)
			q->tokens = of_run(r);
	}
	q->s += add_forward(&p->in, p->in.runs[0].layers[q->layer +
	                                                 q->n_layers - 1],
	                    q->tokens, &p->op[PLAN_FORWARD]);
}

/* ---- passes ----------------------------------------------------------------------- */

static int fits(const struct train_plan_in *in, struct train_plan_pass *q)
{
	memory(in, q);
	return q->bytes <= in->card->memory;
}

static int append(struct train_plan *p, size_t *cap, struct train_plan_pass *q,
                  struct err *e)
{
	double host = 0;
	size_t i;

	if (mem_grow(&p->pass, cap, p->n_passes + 1, sizeof(*p->pass), e) < 0)
		return -1;
	timing(p, q);
	p->pass[p->n_passes++] = *q;
	p->s += q->s;
	for (i = q->run; p->in.card->half && i < q->run + q->n_runs; i++)
		host += (double)q->n_layers * (double)train_end_kept_bytes(
			&p->in.runs[i].train);
	if (host > p->host_bytes)
		p->host_bytes = host;
	if (q->bytes > p->bytes)
		p->bytes = q->bytes;
	return 0;
}

/* One run, too large for all its layers at once: even groups, as few as go. */
static int split_layers(struct train_plan *p, size_t *cap, size_t run,
                        struct err *e)
{
	int n = p->in.runs[0].n_layers, groups, g;
	struct train_plan_pass q = { .run = run, .n_runs = 1 };

	for (groups = 2; groups <= n; groups++) {
		q.n_layers = (n + groups - 1) / groups;
		if (fits(&p->in, &q))
			break;
	}
	q.n_layers = 1;
	if (groups > n && !fits(&p->in, &q))
		return err_set(e, ERR_RANGE, "one layer of %u latents takes "
		               "%.1f GiB with the model, %s has %.1f",
		               p->in.runs[run].train.tc.n_latents,
		               q.bytes / 0x1p30, p->in.card->name,
		               p->in.card->memory / 0x1p30);
	for (g = 0; g < groups; g++) {
		struct train_plan_pass one = { .run = run, .n_runs = 1,
			.layer = g * n / groups };

		one.n_layers = (g + 1) * n / groups - one.layer;
		memory(&p->in, &one);
		if (append(p, cap, &one, e) < 0)
			return -1;
	}
	return 0;
}

int train_plan_make(const struct train_plan_in *in, struct train_plan *p,
                    struct err *e)
{
	size_t cap = 0, at, i;

	*p = (struct train_plan){ .in = *in };
	for (i = 0; i < in->n_runs; i++) {
		if (train_check(&in->runs[i].train, e) < 0)
			goto fail;
		if (in->runs[i].train.n_steps == 0) {
			err_set(e, ERR_USAGE, "a plan needs --tokens");
			goto fail;
		}
	}
	for (at = 0; at < in->n_runs; ) {
		struct train_plan_pass q = { .run = at,
			.n_layers = in->runs[0].n_layers };

		while (at + q.n_runs < in->n_runs) {
			q.n_runs++;
			if (!fits(in, &q)) {
				q.n_runs--;
				break;
			}
		}
		memory(in, &q);
		if (q.n_runs ? append(p, &cap, &q, e) < 0
		             : split_layers(p, &cap, at, e) < 0)
			goto fail;
		at += q.n_runs ? q.n_runs : 1;
	}
	for (i = 0; i < PLAN_OPS; i++)
		p->flop += p->op[i].flop;
	p->usd = p->s / 3600 * in->card->usd_h;
	return 0;
fail:
	train_plan_free(p);
	return -1;
}

void train_plan_free(struct train_plan *p)
{
	mem_free(p->pass);
	p->pass = NULL;
	p->n_passes = 0;
}
