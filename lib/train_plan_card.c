/* Devices of a plan: a table, and this machine as it measures itself. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dev_tc.h"
#include "embed.h"
#include "mem.h"
#include "train_plan.h"

EMBED(train_plan_cards, "data/cards.tsv");

const char *train_card_builtin(size_t *n)
{
	*n = (size_t)(train_plan_cards_end - train_plan_cards);
	return train_plan_cards;
}

/* What a process holds that is counted nowhere else: on the CPU measured, on a
 * card a guess at a context and a library's workspaces. */
static const double CPU_BESIDES = 24 * 0x1p20, CARD_BESIDES = 0x1p30;

/* ---- the table ----------------------------------------------------------------- */

enum { COLUMNS = 10, LINE = 1024 };

/* A column's number, within [lo, hi]. */
static int number(const char *s, const char *from, size_t line,
                  const char *what, double lo, double hi, double *v,
                  struct err *e)
{
	char *end;

	*v = strtod(s, &end);
	if (end == s || *end || !(*v >= lo && *v <= hi))
		return err_set(e, ERR_FORMAT, "%s: line %zu: %s is '%.20s', "
		               "wanted %g to %g", from, line, what, s, lo, hi);
	return 0;
}

static int parse(char *text, const char *from, size_t line,
                 struct train_card *c, struct err *e)
{
	static const struct { const char *name; double lo, hi; } is[COLUMNS] = {
		{ "card", 0, 0 }, { "memory_gib", 0.1, 1e6 },
		{ "tflops", 1e-4, 1e6 }, { "gb_s", 0.1, 1e7 },
		{ "matmul", 0.001, 1 }, { "encode", 0.001, 10 },
		{ "stream", 0.001, 1 }, { "gather", 0.001, 10 },
		{ "bits", 16, 32 }, { "usd_h", 0, 1e6 } };
	char *word[COLUMNS + 1], *at = text;
	double v[COLUMNS];
	int n = 0, i;

	while (n <= COLUMNS && (word[n] = strsep(&at, "\t")))
		n++;
	if (n != COLUMNS)
		return err_set(e, ERR_FORMAT, "%s: line %zu: %s%d columns, "
		               "wanted %d between tabs", from, line,
		               n > COLUMNS ? "more than " : "",
		               n > COLUMNS ? COLUMNS : n, COLUMNS);
	for (i = 1; i < COLUMNS; i++)
		if (number(word[i], from, line, is[i].name, is[i].lo, is[i].hi,
		           &v[i], e) < 0)
			return -1;
	if (strlen(word[0]) >= sizeof(c->name) || !*word[0])
		return err_set(e, ERR_FORMAT, "%s: line %zu: a name of %zu "
		               "bytes, wanted 1 to %zu", from, line,
		               strlen(word[0]), sizeof(c->name) - 1);
	*c = (struct train_card){ .memory = v[1] * 0x1p30,
		.besides = CARD_BESIDES,
		.peak = v[2] * 1e12, .bandwidth = v[3] * 1e9, .matmul = v[4],
		.forward = v[4], .skip = v[4],
		.encode = v[5], .stream = v[6], .gather = v[7],
		.half = v[8] < 32, .usd_h = v[9] };
	strcpy(c->name, word[0]);
	return 0;
}

int train_card_find(const char *table, size_t n, const char *from,
                    const char *name, struct train_card *c, struct err *e)
{
	struct train_card one;
	char text[LINE], known[160] = "";
	const char *end = table + n, *next;
	size_t line = 0, m;
	int found = 0;

	for (; table < end; table = next + 1) {
		next = memchr(table, '\n', (size_t)(end - table));
		if (!next)
			next = end;
		m = (size_t)(next - table);
		line++;
		if (m >= sizeof(text) || memchr(table, 0, m))
			return err_set(e, ERR_FORMAT, "%s: line %zu: no line "
			               "of text below %d bytes", from, line,
			               LINE);
		memcpy(text, table, m);
		text[m] = 0;
		if (!m || *text == '#')
			continue;
		if (parse(text, from, line, &one, e) < 0)
			return -1;
		m = strlen(known);
		snprintf(known + m, sizeof(known) - m, "%s%s", m ? ", " : "",
		         one.name);
		if (!found && strcmp(one.name, name) == 0) {
			*c = one;
			found = 1;
		}
	}
	return found ? 0 : err_set(e, ERR_USAGE, "no card '%.40s' in %s; there "
	                           "are: %s", name, from, known);
}

/* ---- this machine ---------------------------------------------------------------- */

/*
 * What a step does, on random numbers: a slice of the latents and of the rows,
 * large enough that neither fits into a processor's cache.
 */
enum { LATENTS = 8192, ROWS = 512, REPEAT = 3 };

struct bench {
	struct dev *d;
	const struct dev_ops *ops;
	size_t rows, d_in, d_out, d_mlp, latents, k;
	enum dtype type;
	float *x, *g, *enc, *bias, *dec, *mlp, *out, *skip;
	uint8_t *live;
	struct dev_tc_codes codes;
	struct dev_tc_latents l;
	struct err *e;
};

/* The processor's time for each thread: what the clock would show on a machine
 * that does nothing else. */
static double clock_s(const struct bench *b)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return ((double)t.tv_sec + 1e-9 * (double)t.tv_nsec) /
	       par_threads(dev_par(b->d));
}

/* Numbers that look random, in device memory. */
static float *numbers(struct bench *b, size_t n, float scale)
{
	float *host = mem_scratch(n, sizeof(*host), b->e), *p = NULL;
	uint32_t s = 2463534242u;
	size_t i;

	for (i = 0; host && i < n; i++) {
		s ^= s << 13;
		s ^= s >> 17;
		s ^= s << 5;
		host[i] = scale * ((float)(s >> 8) * 0x1p-23f - 1);
	}
	if (host && (p = b->ops->alloc(b->d, n * sizeof(*p), b->e)) &&
	    b->ops->put(b->d, p, host, n * sizeof(*p), b->e) < 0) {
		b->ops->release(b->d, p);
		p = NULL;
	}
	mem_free(host);
	return p;
}

static int zeros(struct bench *b, size_t n, struct dev_tc_param *p)
{
	p->s1 = b->ops->alloc(b->d, n * sizeof(float), b->e);
	p->s2 = b->ops->alloc(b->d, n * sizeof(float), b->e);
	return p->w && p->s1 && p->s2 ? 0 : -1;
}

static int product(struct bench *b)
{
	struct tensor w = { .name = "w", .type = DT_F32, .n_dims = 2,
		.shape = { b->d_mlp, b->d_in }, .n = b->d_mlp * b->d_in,
		.data = b->mlp };
	struct dev_linear l = { &w, NULL, b->out };

	w.n_bytes = w.n * sizeof(float);
	return b->ops->linear(b->d, b->x, b->rows, &l, 1, b->e);
}

/* The same with weights as they are stored; any bytes do. */
static int product_stored(struct bench *b)
{
	struct tensor w = { .name = "w", .type = b->type, .n_dims = 2,
		.shape = { b->d_mlp, b->d_in }, .n = b->d_mlp * b->d_in,
		.data = b->mlp };
	struct dev_linear l = { &w, NULL, b->out };

	if (dtype_bytes(w.type, w.n, &w.n_bytes, b->e) < 0)
		return -1;
	return b->ops->linear(b->d, b->x, b->rows, &l, 1, b->e);
}

static int encode(struct bench *b)
{
	return b->ops->tc->encode(b->d, b->x, b->rows, b->d_in, b->enc, b->bias,
	                          b->latents, NULL, &b->codes, b->e);
}

static int decode(struct bench *b)
{
	return b->ops->tc->decode(b->d, &b->codes, b->dec, b->d_out, b->g, b->e);
}

static int skip(struct bench *b)
{
	const struct dev_tc_ops *t = b->ops->tc;

	return t->skip_add(b->d, b->x, b->rows, b->d_in, b->skip, b->d_out,
	                   b->g, b->e) < 0 ? -1
	       : t->skip_grad(b->d, b->g, b->rows, 1, b->d_out, b->x, b->d_in,
	                      0, b->skip, b->e);
}

static int step(struct bench *b, size_t n_parts)
{
	const struct dev_tc_opt o = { .rule = DEV_TC_ADAM, .lr = 1e-6f,
		.b1 = 0.9f, .b2 = 0.999f, .root = 1, .eps = 1e-8f };
	const struct dev_tc_part part = { b->codes, 0, 0 };

	return b->ops->tc->step_latents(b->d, &part, n_parts, b->x, b->g, &b->l,
	                                &o, b->e);
}

static int step_all(struct bench *b)
{
	return step(b, 1);
}

static int step_none(struct bench *b)
{
	return step(b, 0);
}

/* The least of a few tries, in seconds; -1: it failed. */
static double timed(struct bench *b, int (*fn)(struct bench *))
{
	double best = INFINITY, s;
	int i;

	for (i = 0; i < REPEAT; i++) {
		s = clock_s(b);
		if (fn(b) < 0 || b->ops->sync(b->d, b->e) < 0)
			return -1;
		s = clock_s(b) - s;
		if (s < best)
			best = s;
	}
	return best > 1e-9 ? best : 1e-9;
}

static int prepare(struct bench *b)
{
	size_t slots = b->rows * b->k;
	uint8_t *ones = mem_scratch(b->latents, 1, b->e);
	int rc = -1;

	b->x = numbers(b, b->rows * b->d_in, 1);
	b->g = numbers(b, b->rows * b->d_out, 1);
	b->mlp = numbers(b, b->d_mlp * b->d_in, 1);
	b->out = numbers(b, b->rows * b->d_mlp, 1);
	b->skip = numbers(b, b->d_out * b->d_in, 1);
	b->l = (struct dev_tc_latents){ .n_latents = b->latents,
		.d_in = b->d_in, .d_out = b->d_out };
	b->l.enc.w = b->enc = numbers(b, b->latents * b->d_in, 1);
	b->l.bias.w = b->bias = numbers(b, b->latents, 0.01f);
	b->l.dec.w = b->dec = numbers(b, b->latents * b->d_out, 1e-6f);
	b->l.live = b->live = b->ops->alloc(b->d, b->latents, b->e);
	b->codes.n = b->rows;
	b->codes.k = b->k;
	b->codes.latent = b->ops->alloc(b->d, slots * sizeof(uint32_t), b->e);
	b->codes.value = b->ops->alloc(b->d, slots * sizeof(float), b->e);
	if (!ones || !b->x || !b->g || !b->mlp || !b->out || !b->skip ||
	    !b->live ||
	    !b->codes.latent || !b->codes.value ||
	    zeros(b, b->latents * b->d_in, &b->l.enc) < 0 ||
	    zeros(b, b->latents, &b->l.bias) < 0 ||
	    zeros(b, b->latents * b->d_out, &b->l.dec) < 0)
		goto done;
	memset(ones, 1, b->latents);	/* latents that move with every step */
	rc = b->ops->put(b->d, b->live, ones, b->latents, b->e);
done:
	mem_free(ones);
	return rc;
}

static void release(struct bench *b)
{
	struct dev_tc_param *p[] = { &b->l.enc, &b->l.bias, &b->l.dec };
	size_t i;

	for (i = 0; i < 3; i++) {
		b->ops->release(b->d, p[i]->w);
		b->ops->release(b->d, p[i]->s1);
		b->ops->release(b->d, p[i]->s2);
	}
	b->ops->release(b->d, b->x);
	b->ops->release(b->d, b->g);
	b->ops->release(b->d, b->mlp);
	b->ops->release(b->d, b->out);
	b->ops->release(b->d, b->skip);
	b->ops->release(b->d, b->live);
	b->ops->release(b->d, b->codes.latent);
	b->ops->release(b->d, b->codes.value);
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

int train_card_measure(const struct model_cfg *m, enum dtype type,
                       const struct train_cfg *r, struct dev *d,
                       struct train_card *c, struct err *e)
{
	struct bench b = { .d = d, .ops = dev_ops(d), .d_in = r->tc.d_in,
		.d_out = r->tc.d_out, .d_mlp = m->d_mlp, .type = type,
		.rows = least(r->batch, ROWS),
		.latents = least(r->tc.n_latents, LATENTS), .e = e };
	double linear, model, by_skip, code, move, gather, some, all, n, active;
	int rc = -1;

	b.k = least(r->tc.k, b.latents);
	if (prepare(&b) < 0)
		goto done;
	n = (double)b.rows * (double)b.d_in;
	active = 4.0 * (double)(b.rows * b.k);
	if ((linear = model = timed(&b, product)) < 0 ||
	    (b.ops->as_stored(d, type) && b.d_in % dtype_block(type) == 0 &&
	     (model = timed(&b, product_stored)) < 0) ||
	    (by_skip = timed(&b, skip)) < 0 ||
	    (code = timed(&b, encode)) < 0 || (gather = timed(&b, decode)) < 0 ||
	    (all = timed(&b, step_all)) < 0 || (some = timed(&b, step_none)) < 0)
		goto done;
	/* what a step takes besides moving the weights */
	gather += all > some ? all - some : 0;
	move = 24.0 * (double)(b.latents * (b.d_in + 1 + b.d_out));
	*c = (struct train_card){ .name = "cpu", .dev = d,
		.memory = (double)mem_available(), .besides = CPU_BESIDES,
		.peak = 2 * n * (double)b.d_mlp / linear,
		.bandwidth = move / some, .matmul = 1,
		.forward = linear / model, .stream = 1,
		.skip = 2 * (double)b.d_out / by_skip * linear /
		        (double)b.d_mlp,
		.encode = (double)b.latents / code * linear / (double)b.d_mlp,
		.gather = active * (double)(3 * b.d_out + b.d_in) / gather *
		          some / move };
	rc = 0;
done:
	release(&b);
	return rc;
}
