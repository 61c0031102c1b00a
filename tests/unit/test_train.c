#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dev_tc.h"
#include "mem.h"
#include "train.h"
#include "train_impl.h"

enum { MAX_D = 12, MAX_L = 40, MAX_N = 32 };

static uint64_t rng_state;

static double uniform(void)	/* -1 .. 1 */
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return (double)(rng_state >> 11) * 0x1p-52 - 1;
}

static void fill(float *v, size_t n, double scale)
{
	size_t i;

	for (i = 0; i < n; i++)
		v[i] = (float)(uniform() * scale);
}

/* Correlated activations off centre: y is a bent function of x. */
static void activations(float *x, size_t d_in, float *y, size_t d_out,
                        size_t n)
{
	size_t i, j;

	for (i = 0; i < n; i++) {
		for (j = 0; j < d_in; j++)
			x[i * d_in + j] = (float)(uniform() * 2 + 3);
		for (j = 0; j < d_out; j++) {
			double a = x[i * d_in + j % d_in];
			double b = x[i * d_in + (j + 1) % d_in];

			y[i * d_out + j] = (float)(sin(3 * a) + b * b / 4 +
			                           uniform() / 4 - 1);
		}
	}
}

static struct train_cfg config(enum train_recipe recipe)
{
	struct train_cfg c = {
		.tc = { .d_in = 7, .d_out = 6, .n_latents = 40, .k = 3,
		        .skip = 1, .transcode = 1 },
		.recipe = recipe, .rule = TRAIN_ADAM, .lr = 0.01, .batch = 16,
		.dead_tokens = 1000000, .start_tokens = 32, .ridge = 1e-3,
		.l0_weight = 1, .bandwidth = 0.2,
		.seed = 5
	};

	return c;
}

/* ---- gradients ---------------------------------------------------------- */

struct params {			/* a layer's, in doubles */
	double enc[MAX_L * MAX_D], bias[MAX_L], dec[MAX_L * MAX_D];
	double b_dec[MAX_D], skip[MAX_D * MAX_D], log_theta[MAX_L];
};

struct fixed {			/* what the loss holds still */
	/* variants: which latents are active */
	uint8_t on[MAX_N * MAX_L];
	double e[MAX_N * MAX_D];	/* AuxK's target */
	double z[3][MAX_N * MAX_L];	/* sparsify: auxiliary codes */
	int set;
};

static void read_params(struct train_layer *t, struct params *p)
{
	double *to[] = { p->enc, p->bias, p->dec, p->b_dec,
		t->cfg.tc.skip ? p->skip : p->log_theta, p->log_theta };
	struct train_param q[TRAIN_PARAMS];
	int n = train_params(t, q), i;
	size_t j;

	for (i = 0; i < n; i++)
		for (j = 0; j < q[i].rows * q[i].cols; j++)
			to[i][j] = q[i].p->w[j];
}

/* z[n_latents] = TopK_k(relu(pre)) among allowed latents */
static void codes_of(const struct train_layer *t, const struct params *p,
                     const double *x, size_t k, int only_dead, double *z)
{
	const struct tc_cfg *c = &t->cfg.tc;
	double pre[MAX_L];
	size_t i, j, best;

	for (i = 0; i < c->n_latents; i++) {
		pre[i] = p->bias[i];
		z[i] = 0;
		for (j = 0; j < c->d_in; j++)
			pre[i] += p->enc[i * c->d_in + j] * x[j];
		if (only_dead && t->stats.rows - t->last[i] <=
		                 t->cfg.dead_tokens)
			pre[i] = -1;
	}
	while (k--) {
		for (best = 0, i = 1; i < c->n_latents; i++)
			if (pre[i] > pre[best])
				best = i;
		if (pre[best] <= 0)
			return;
		z[best] = pre[best];
		pre[best] = -1;
	}
}

/* z[n_latents] = pre of those that are on */
static void fixed_codes(const struct train_layer *t, const struct params *p,
                        const double *x, const uint8_t *on, double *z)
{
	const struct tc_cfg *c = &t->cfg.tc;
	size_t i, j;

	for (i = 0; i < c->n_latents; i++) {
		z[i] = on[i] ? p->bias[i] : 0;
		for (j = 0; j < c->d_in && on[i]; j++)
			z[i] += p->enc[i * c->d_in + j] * x[j];
	}
}

/* What the variant must have chosen, worked out plainly from all pre, into
 * f->on; the codes of the loss must be those. */
static void choose(const struct train_layer *t, const struct params *p,
                   size_t n, struct fixed *f)
{
	const struct tc_cfg *c = &t->cfg.tc;
	const struct dev_tc_codes *codes = &t->work->codes[0];
	size_t lat = c->n_latents, i, j, l, keep = n * c->k, found = 0;
	static double pre[MAX_N * MAX_L];

	memset(f->on, 0, sizeof(f->on));
	for (i = 0; i < n; i++) {
		const float *x = t->work->x + i * c->d_in;

		for (l = 0; l < lat; l++) {
			pre[i * lat + l] = p->bias[l];
			for (j = 0; j < c->d_in; j++)
				pre[i * lat + l] += p->enc[l * c->d_in + j] *
				                    x[j];
			if (c->variant == TC_JUMPRELU)
				f->on[i * lat + l] = pre[i * lat + l] >
				                     exp(p->log_theta[l]);
		}
	}
	while (c->variant == TC_BATCHTOPK && keep--) {
		size_t best = n * lat;

		for (i = 0; i < n * lat; i++)
			if (!f->on[i] && pre[i] > 0 &&
			    (best == n * lat || pre[i] > pre[best]))
				best = i;
		if (best < n * lat)
			f->on[best] = 1;
	}
	for (i = 0; i < codes->n; i++)
		for (j = 0; j < codes->k; j++) {
			l = codes->latent[i * codes->k + j];
			if (l == DEV_TC_NONE)
				break;
			found++;
			assert_true(f->on[i * lat + l]);
			assert_true(fabs(pre[i * lat + l] - codes->value[
			            i * codes->k + j]) < 1e-5);
		}
	for (i = 0; i < n * lat; i++)
		found -= f->on[i];
	assert_int_equal(found, 0);
}

/* d loss / d log theta by the rule of train_variant.c, row by row over every
 * latent. */
static double threshold_slope(const struct train_layer *t,
                              const struct params *p, size_t n, size_t l)
{
	const struct train_cfg *c = &t->cfg;
	double theta = exp(p->log_theta[l]), sum = 0;
	double off = t->work->l0 / c->tc.k - 1;
	size_t i, j;

	for (i = 0; i < n; i++) {
		double pre = p->bias[l], slope = 0;

		for (j = 0; j < c->tc.d_in; j++)
			pre += p->enc[l * c->tc.d_in + j] *
			       t->work->x[i * c->tc.d_in + j];
		if (fabs(pre - theta) >= c->bandwidth * theta / 2)
			continue;
		for (j = 0; j < c->tc.d_out; j++)
			slope += t->work->g[i * c->tc.d_out + j] *
			         p->dec[l * c->tc.d_out + j];
		sum -= slope * theta / c->bandwidth;
		sum -= c->l0_weight * 2 * off / c->tc.k / (double)n /
		       c->bandwidth;
	}
	return sum;
}

static double loss_of(const struct train_layer *t, const struct params *p,
                      size_t n, struct fixed *f)
{
	const struct train_cfg *c = &t->cfg;
	size_t d_in = c->tc.d_in, d_out = c->tc.d_out, lat = c->tc.n_latents;
	size_t i, j, l, part, k_aux = d_out / 2, n_dead = 0;
	size_t k[3] = { c->tc.k, 4 * (size_t)c->tc.k, 0 };
	double sq[3] = { 0 }, var = 0, scale;

	for (l = 0; l < lat; l++)
		n_dead += t->stats.rows - t->last[l] > c->dead_tokens;
	scale = n_dead < k_aux ? (double)n_dead / (double)k_aux : 1;
	k[2] = n_dead < k_aux ? n_dead : k_aux;
	for (j = 0; j < d_out; j++) {
		double mean = 0;

		for (i = 0; i < n; i++)
			mean += t->work->y[i * d_out + j] / (double)n;
		for (i = 0; i < n; i++)
			var += pow(t->work->y[i * d_out + j] - mean, 2);
	}
	for (i = 0; i < n; i++) {
		double x[MAX_D], y[MAX_D], out[MAX_D], z[MAX_L];

		for (j = 0; j < d_out; j++)
			y[j] = t->work->y[i * d_out + j];
		for (j = 0; j < d_in; j++)
			x[j] = c->tc.transcode ? t->work->x[i * d_in + j]
			                       : y[j] - p->b_dec[j];
		for (part = 0; part < 3; part++) {
			if ((part == 1 && !c->tc.multi_topk) || (part == 2 &&
			     c->auxk_alpha <= 0))
				continue;
			codes_of(t, p, x, k[part], part == 2, z);
			if (part == 0 && c->tc.variant != TC_TOPK)
				fixed_codes(t, p, x, f->on + i * lat, z);
			if (c->recipe == TRAIN_SPARSIFY && part && f->set)
				memcpy(z, f->z[part] + i * lat, sizeof(z));
			else
				memcpy(f->z[part] + i * lat, z,
				       lat * sizeof(*z));
			for (j = 0; j < d_out; j++) {
				out[j] = part == 2 ? 0 : p->b_dec[j];
				for (l = 0; l < lat; l++)
					out[j] += z[l] * p->dec[l * d_out + j];
				if (c->tc.skip && (part == 0 || (part == 1 &&
				     c->recipe == TRAIN_R1)))
					for (l = 0; l < d_in; l++)
						out[j] += x[l] *
						    p->skip[j * d_in + l];
				if (part == 0 && !f->set)
					f->e[i * d_out + j] = y[j] - out[j];
				sq[part] += pow(out[j] - (part == 2 ?
				    f->e[i * d_out + j] : y[j]), 2);
			}
		}
	}
	f->set = 1;
	if (c->tc.variant == TC_JUMPRELU)
		sq[0] += var * c->l0_weight *
		         pow(t->work->l0 / c->tc.k - 1, 2);
	return (sq[0] + sq[1] / 8 + c->auxk_alpha * scale * sq[2]) / var;
}

static void check_gradients(struct train_cfg c)
{
	struct err e = { 0 };
	struct dev *d = dev_open("cpu", 2, &e);
	struct train_work *w = train_work_new(&c, d, &e);
	struct train_layer *t = train_layer_new(&c, 3, w, &e);
	float x[MAX_N * MAX_D], y[MAX_N * MAX_D];
	struct dev_tc_part part[DEV_TC_PARTS];
	const struct dev_tc_opt o = { .rule = DEV_TC_GRAD };
	struct train_param q[TRAIN_PARAMS];
	static struct params p;
	static struct fixed f;
	double *host[] = { p.enc, p.bias, p.dec, p.b_dec,
		c.tc.skip ? p.skip : p.log_theta, p.log_theta };
	size_t n_parts, i, n = c.batch;
	int n_params, j, moved = 0;
	double loss;

	assert_non_null(t);
	rng_state = 88172645463325252u;
	activations(x, c.tc.d_in, y, c.tc.d_out, MAX_N);
	if (t->held_x)
		memcpy(t->held_x, x, t->held_max * c.tc.d_in * 4);
	memcpy(t->held_y, y, t->held_max * c.tc.d_out * 4);
	if (train_start(t, t->held_max, &e) < 0)
		fail_msg("%s", e.msg);
	n_params = train_params(t, q);
	for (j = 0; j < n_params; j++)
		fill(q[j].p->w, q[j].rows * q[j].cols, 0.5);
	for (i = 0; t->threshold.w && i < c.tc.n_latents; i++)
		t->threshold.w[i] = (float)log(0.3 + (double)i / 40);
	t->stats.rows = 100;	/* every third latent is dead */
	for (i = 0; i < c.tc.n_latents; i++)
		t->last[i] = i % 3 ? 95 : 1;
	assert_int_equal(train_keep(t, c.tc.transcode ? x : y, y, 0, n, &e), n);
	assert_int_equal(train_prepare(t, x, y, n, &e), 0);
	read_params(t, &p);
	if (train_loss(t, n, part, &n_parts, &e) < 0)
		fail_msg("%s", e.msg);
	f.set = 0;
	if (c.tc.variant != TC_TOPK)
		choose(t, &p, n, &f);
	loss = loss_of(t, &p, n, &f);
	assert_true(fabs(loss - t->stats.loss) < 1e-5 * loss);
	assert_int_equal(train_apply(t, part, n_parts, n, &o, &e), 0);
	for (j = 0; j < n_params; j++)
		for (i = 0; i < q[j].rows * q[j].cols; i++) {
			double at = host[j][i], h = 1e-5, up, down, want;

			host[j][i] = at + h;
			up = loss_of(t, &p, n, &f);
			host[j][i] = at - h;
			down = loss_of(t, &p, n, &f);
			host[j][i] = at;
			want = host[j] == p.log_theta
			     ? threshold_slope(t, &p, n, i)
			     : (up - down) / (2 * h);
			moved += fabs(want) > 1e-3;
			if (!(fabs(want - q[j].p->s1[i]) <=
			      1e-4 * fabs(want) + 1e-6))
				fail_msg("%s[%zu]: gradient %.9g, difference "
				         "quotient %.9g", q[j].name, i,
				         q[j].p->s1[i], want);
			if (i + 1 == q[j].rows * q[j].cols) {
				assert_true(moved > 0);
				moved = 0;
			}
		}
	train_layer_free(t);
	train_work_free(w);
	dev_free(d);
}

static void gradients_equal_difference_quotients(void **state)
{
	int recipe, terms;

	(void)state;
	for (recipe = 0; recipe < 2; recipe++)
		for (terms = 0; terms < 16; terms++) {
			struct train_cfg c = config(recipe ? TRAIN_SPARSIFY
			                                   : TRAIN_R1);

			c.tc.multi_topk = terms & 1;
			c.dead_tokens = 50;
			if (terms & 2)
				c.auxk_alpha = 0.3;
			if (terms & 4)
				c.tc.skip = 0;
			if (terms & 8) {
				c.tc.transcode = c.tc.skip = 0;
				c.tc.d_out = c.tc.d_in;
			}
			check_gradients(c);
		}
}

static void variants_gradients_too(void **state)
{
	int variant, terms;

	(void)state;
	for (variant = TC_BATCHTOPK; variant <= TC_JUMPRELU; variant++)
		for (terms = 0; terms < 8; terms++) {
			struct train_cfg c = config(TRAIN_R1);

			c.tc.variant = (enum tc_variant)variant;
			c.tc.k = 5;
			c.dead_tokens = 50;
			c.l0_weight = 0.7;
			c.bandwidth = 0.6;
			if (terms & 1)
				c.auxk_alpha = 0.3;
			if (terms & 2)
				c.tc.skip = 0;
			if (terms & 4) {
				c.tc.transcode = c.tc.skip = 0;
				c.tc.d_out = c.tc.d_in;
			}
			check_gradients(c);
		}
}

/* ---- runs --------------------------------------------------------------- */

enum { ROWS = 512 };

struct run {
	struct dev *d;
	struct train_work *w;
	struct train_layer *t;
	float *x, *y;
};

static void run_open(struct run *r, const struct train_cfg *c, int n_threads)
{
	struct err e = { 0 };

	r->d = dev_open("cpu", n_threads, &e);
	r->w = train_work_new(c, r->d, &e);
	r->t = train_layer_new(c, 0, r->w, &e);
	if (!r->t)
		fail_msg("%s", e.msg);
	r->x = mem_scratch(ROWS, c->tc.d_in * sizeof(float), &e);
	r->y = mem_scratch(ROWS, c->tc.d_out * sizeof(float), &e);
	rng_state = 4101842887655102017u;
	activations(r->x, c->tc.d_in, r->y, c->tc.d_out, ROWS);
}

static void run_close(struct run *r)
{
	train_layer_free(r->t);
	train_work_free(r->w);
	dev_free(r->d);
	mem_free(r->x);
	mem_free(r->y);
}

/* Rows [from, to) in blocks of `block`. */
static void feed(struct run *r, size_t from, size_t to, size_t block)
{
	const struct tc_cfg *c = &r->t->cfg.tc;
	struct err e = { 0 };

	while (from < to) {
		size_t n = to - from < block ? to - from : block;

		if (train_layer_push(r->t, r->x + from * c->d_in,
		                     r->y + from * c->d_out, n, &e) < 0)
			fail_msg("%s", e.msg);
		from += n;
	}
}

static void same_weights(struct run *a, struct run *b)
{
	struct err e = { 0 };
	struct tc *p = train_layer_export(a->t, &e);
	struct tc *q = train_layer_export(b->t, &e);
	const struct tc_cfg *c = &a->t->cfg.tc;

	assert_true(p && q);
	assert_memory_equal(p->w_enc, q->w_enc, c->n_latents * c->d_in * 4);
	assert_memory_equal(p->b_enc, q->b_enc, c->n_latents * 4);
	assert_memory_equal(p->w_dec, q->w_dec, c->n_latents * c->d_out * 4);
	assert_memory_equal(p->b_dec, q->b_dec, c->d_out * 4);
	if (c->skip)
		assert_memory_equal(p->w_skip, q->w_skip,
		                    c->d_out * c->d_in * 4);
	tc_free(p);
	tc_free(q);
}

static void blocks_and_threads_change_nothing(void **state)
{
	size_t blocks[] = { 1, 5, 16, 33, 512, 7, 100, 3 };
	size_t i;

	(void)state;
	for (i = 0; i < 8; i++) {
		struct train_cfg c = config(i % 2 ? TRAIN_SPARSIFY : TRAIN_R1);
		struct run a, b;

		c.tc.variant = i < 5 ? TC_TOPK : i < 7 ? TC_JUMPRELU
		                               : TC_BATCHTOPK;
		c.k_anneal = i == 4 || i == 7 ? 10 : 0;

		c.n_steps = 25;
		c.rule = i == 3 ? TRAIN_SIGNUM : TRAIN_ADAM;
		run_open(&a, &c, 1);
		run_open(&b, &c, 3);
		feed(&a, 0, ROWS, 64);
		feed(&b, 0, ROWS, blocks[i]);
		assert_int_equal(a.t->stats.step, 25);
		assert_true(a.t->stats.loss == b.t->stats.loss);
		same_weights(&a, &b);
		run_close(&a);
		run_close(&b);
	}
}

static void learns(void **state)
{
	int recipe, rule, i;

	(void)state;
	for (recipe = 0; recipe < 2; recipe++)
		for (rule = 0; rule < 2; rule++)
			for (i = 0; i < 6; i++) {
				int transcode = i % 2;
				struct train_cfg c = config(recipe ?
				    TRAIN_SPARSIFY : TRAIN_R1);
				struct run r;
				double first = 0;
				int pass;

				c.rule = rule ? TRAIN_SIGNUM : TRAIN_ADAM;
				c.tc.transcode = c.tc.skip = transcode;
				c.tc.normalize_decoder = 1;
				c.tc.variant = (enum tc_variant)(i / 2);
				if (!transcode)
					c.tc.d_out = c.tc.d_in;
				run_open(&r, &c, 2);
				for (pass = 0; pass < 6; pass++) {
					feed(&r, 0, ROWS, 100);
					if (pass == 0)
						first = r.t->stats.fvu;
				}
				assert_true(r.t->stats.fvu < first);
				assert_true(r.t->stats.fvu < 0.7);
				run_close(&r);
			}
}

/* The plain weights give, on plain inputs, what training computed on
 * normalised ones: the same FVU. */
static double plain_fvu(struct run *r, const float *x, const float *y, size_t n)
{
	struct err e = { 0 };
	struct tc *p = train_layer_export(r->t, &e);
	const struct tc_cfg *c = &r->t->cfg.tc;
	uint32_t latent[MAX_N * MAX_L];
	float value[MAX_N * MAX_L], out[MAX_N * MAX_D];
	struct tc_codes codes = { latent, value, 0, 0 };
	double sq = 0, var = 0;
	size_t i, j;

	assert_int_equal(tc_encode(p, x, n, 0, &codes, &e), 0);
	assert_int_equal(tc_decode(p, x, &codes, out, &e), 0);
	for (j = 0; j < c->d_out; j++) {
		double mean = 0;

		for (i = 0; i < n; i++)
			mean += y[i * c->d_out + j] / (double)n;
		for (i = 0; i < n; i++) {
			sq += pow(y[i * c->d_out + j] - out[i * c->d_out + j],
			          2);
			var += pow(y[i * c->d_out + j] - mean, 2);
		}
	}
	tc_free(p);
	return sq / var;
}

static void export_folds_the_normalisation_in(void **state)
{
	int transcode, jump;

	(void)state;
	for (transcode = 0; transcode < 2; transcode++)
		for (jump = 0; jump < 2; jump++) {
			struct train_cfg c = config(TRAIN_R1);
			struct run r;
			struct dev_tc_part part[DEV_TC_PARTS];
			struct err e = { 0 };
			size_t n_parts, n = c.batch;
			const float *x, *y;
			double want;

			c.tc.transcode = c.tc.skip = transcode;
			c.tc.variant = jump ? TC_JUMPRELU : TC_TOPK;
			if (!transcode)
				c.tc.d_out = c.tc.d_in;
			run_open(&r, &c, 2);
			feed(&r, 0, ROWS, 64);
			x = r.x + 64 * c.tc.d_in;
			y = transcode ? r.y + 64 * c.tc.d_out : x;
			assert_int_equal(train_keep(r.t, x, y, 0, n, &e), n);
			assert_int_equal(train_prepare(r.t, x, y, n, &e), 0);
			assert_int_equal(train_loss(r.t, n, part, &n_parts, &e),
			                 0);
			want = r.t->stats.fvu;
			assert_true(fabs(plain_fvu(&r, x, y, n) - want) <
			            1e-4 * want);
			run_close(&r);
		}
}

/* Plain weights given to a fresh layer and taken back are the same. */
static void given_weights_survive_the_round_trip(void **state)
{
	struct train_cfg c = config(TRAIN_R1);
	struct run a, b;
	struct err e = { 0 };
	struct tc *p, *q;
	size_t i;

	(void)state;
	run_open(&a, &c, 1);
	run_open(&b, &c, 1);
	feed(&a, 0, ROWS, 64);
	p = train_layer_export(a.t, &e);
	assert_int_equal(train_layer_init(b.t, p, &e), 0);
	memcpy(b.t->held_x, b.x, 32 * c.tc.d_in * 4);
	memcpy(b.t->held_y, b.y, 32 * c.tc.d_out * 4);
	assert_int_equal(train_start(b.t, 32, &e), 0);
	q = train_layer_export(b.t, &e);
	for (i = 0; i < c.tc.n_latents * c.tc.d_in; i++)
		assert_true(fabsf(p->w_enc[i] - q->w_enc[i]) < 1e-5f);
	for (i = 0; i < c.tc.n_latents; i++)
		assert_true(fabsf(p->b_enc[i] - q->b_enc[i]) < 1e-4f);
	for (i = 0; i < c.tc.d_out; i++)
		assert_true(fabsf(p->b_dec[i] - q->b_dec[i]) < 1e-4f);
	for (i = 0; i < c.tc.d_out * c.tc.d_in; i++)
		assert_true(fabsf(p->w_skip[i] - q->w_skip[i]) < 1e-5f);
	p->cfg.n_latents++;	/* another shape is refused */
	assert_int_equal(train_layer_init(a.t, p, &e), -1);
	p->cfg.n_latents--;
	tc_free(p);
	tc_free(q);
	run_close(&a);
	run_close(&b);
}

static void saved_and_loaded_goes_on_to_the_bit(void **state)
{
	char path[] = "/tmp/test_train_XXXXXX";
	int i;

	(void)state;
	close(mkstemp(path));
	for (i = 0; i < 5; i++) {
		struct train_cfg c = config(TRAIN_R1);
		struct run a, b;
		struct err e = { 0 };
		struct train_stats s;

		c.rule = i % 2 ? TRAIN_SIGNUM : TRAIN_ADAM;
		c.tc.variant = i < 2 ? TC_TOPK : i < 4 ? TC_JUMPRELU
		                               : TC_BATCHTOPK;
		c.n_steps = 30;
		c.warmup = 4;
		c.decay = 0.3;
		c.outlier = 1.4;	/* some rows are out */
		run_open(&a, &c, 2);
		run_open(&b, &c, 2);
		feed(&a, 0, 200, 64);
		if (train_layer_save(a.t, path, &e) < 0 ||
		    train_layer_load(b.t, path, &e) < 0)
			fail_msg("%s", e.msg);
		train_layer_stats(b.t, &s);
		assert_int_equal(s.rows, 192);
		feed(&a, 200, ROWS, 64);
		feed(&b, s.rows, ROWS, 7);
		assert_int_equal(a.t->stats.step, 30);
		assert_true(a.t->stats.outliers > 0);
		assert_int_equal(a.t->stats.outliers, b.t->stats.outliers);
		same_weights(&a, &b);
		run_close(&a);
		run_close(&b);
	}
	unlink(path);
}

/* With a threshold in place of the batch's choice as many latents are active
 * in the mean; JumpReLU keeps near what it is told to. */
static void variants_keep_their_mean(void **state)
{
	int variant;

	(void)state;
	for (variant = TC_BATCHTOPK; variant <= TC_JUMPRELU; variant++) {
		struct train_cfg c = config(TRAIN_R1);
		uint32_t latent[ROWS * MAX_L];
		float value[ROWS * MAX_L];
		struct tc_codes codes = { latent, value, 0, 0 };
		struct err e = { 0 };
		struct train_stats s;
		size_t active = 0, i;
		struct run r;
		struct tc *p;
		int pass;

		c.tc.variant = (enum tc_variant)variant;
		c.lr = 0.003;
		run_open(&r, &c, 2);
		for (pass = 0; pass < 4; pass++)
			feed(&r, 0, ROWS, 100);
		train_layer_stats(r.t, &s);
		assert_true(s.threshold > 0);
		if (variant == TC_BATCHTOPK)
			assert_true(s.l0 == c.tc.k);
		p = train_layer_export(r.t, &e);
		assert_int_equal(tc_encode(p, r.x, ROWS, 0, &codes, &e), 0);
		assert_int_equal(codes.k, 4 * c.tc.k);
		for (i = 0; i < ROWS * codes.k; i++)
			active += latent[i] != UINT32_MAX;
		if (fabs((double)active / ROWS / c.tc.k - 1) > 0.15)
			fail_msg("%s: %.3f active latents a row",
			         tc_variant_name(c.tc.variant),
			         (double)active / ROWS);
		tc_free(p);
		run_close(&r);
	}
}

/* A latent put out of reach comes back by `raise` a row once 4,096 have passed;
 * the others stay where learning puts them. */
static void quiet_latents_are_raised(void **state)
{
	int rule, on;

	(void)state;
	for (rule = 0; rule < 2; rule++)
		for (on = 0; on < 2; on++) {
			struct train_cfg c = config(TRAIN_R1);
			double want;
			struct run r;
			int pass;

			c.rule = rule ? TRAIN_SIGNUM : TRAIN_ADAM;
			c.lr = 1e-4;
			c.raise = on ? 0.01 : 0;
			run_open(&r, &c, 2);
			feed(&r, 0, 64, 64);
			r.t->bias.w[3] -= 50;
			if (rule)
				r.t->bias.s1[3] -= 50;
			for (pass = 0; pass < 10; pass++)
				feed(&r, 0, ROWS, 100);
			want = -50 + (double)(64 + 10 * ROWS -
			              (r.t->last[3] + 4096)) * c.raise;
			assert_true(r.t->last[3] <= 64);
			assert_true(fabs(r.t->bias.w[3] - want) < 0.5);
			run_close(&r);
		}
}

static void k_falls_from_ten_times_as_many(void **state)
{
	struct train_cfg c = config(TRAIN_R1);

	(void)state;
	assert_int_equal(train_k(&c, 0), 3);
	c.k_anneal = 9;
	assert_int_equal(train_k(&c, 0), 30);
	assert_int_equal(train_k(&c, 3), 21);
	assert_int_equal(train_k(&c, 9), 3);
	c.tc.n_latents = 10;
	assert_int_equal(train_k(&c, 0), 10);
}

/* ---- faults ------------------------------------------------------------- */

static void bad_values_name_layer_and_row(void **state)
{
	struct train_cfg c = config(TRAIN_R1);
	size_t at[] = { 3, 40, 100 };
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++) {
		struct err e = { 0 };
		char want[80];
		struct run r;

		run_open(&r, &c, 1);
		r.y[at[i] * c.tc.d_out + 1] = i ? INFINITY : NAN;
		assert_int_equal(train_layer_push(r.t, r.x, r.y, ROWS, &e),
		                 -1);
		snprintf(want, sizeof(want),
		         "layer 0: output of row %zu is not finite", at[i]);
		assert_string_equal(e.msg, want);
		run_close(&r);
	}
}

static void outputs_all_alike_are_refused(void **state)
{
	struct train_cfg c = config(TRAIN_R1);
	struct err e = { 0 };
	struct run r;
	size_t i;

	(void)state;
	run_open(&r, &c, 1);
	for (i = 0; i < ROWS * c.tc.d_out; i++)
		r.y[i] = 2;
	assert_int_equal(train_layer_push(r.t, r.x, r.y, ROWS, &e), -1);
	assert_non_null(strstr(e.msg, "all alike"));
	run_close(&r);
}

static void a_constant_input_dimension_is_nothing_special(void **state)
{
	struct train_cfg c = config(TRAIN_R1);
	struct run r;
	size_t i;

	(void)state;
	run_open(&r, &c, 1);
	for (i = 0; i < ROWS; i++)
		r.x[i * c.tc.d_in + 2] = 7;
	feed(&r, 0, ROWS, 64);
	assert_true(isfinite(r.t->stats.loss));
	run_close(&r);
}

static void giants_are_left_out_and_counted(void **state)
{
	struct train_cfg c = config(TRAIN_R1);
	struct run r;
	size_t i, j;

	(void)state;
	c.outlier = 10;
	run_open(&r, &c, 1);
	for (i = 0; i < ROWS; i += 64)
		for (j = 0; j < c.tc.d_out; j++)
			r.y[i * c.tc.d_out + j] *= 500;
	feed(&r, 0, ROWS, 64);
	assert_int_equal(r.t->stats.outliers, ROWS / 64);
	assert_true(r.t->stats.fvu < 0.9);
	run_close(&r);
}

static void impossible_configurations_are_refused(void **state)
{
	struct train_cfg c[9];
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < 9; i++)
		c[i] = config(TRAIN_R1);
	c[0].tc.k = 40;
	c[1].tc.k = 11, c[1].tc.multi_topk = 1;
	c[2].tc.transcode = 0;
	c[3].tc.transcode = c[3].tc.skip = 0;
	c[4].batch = 1;
	c[5].lr = 0;
	c[6].tc.variant = TC_BATCHTOPK, c[6].tc.multi_topk = 1;
	c[7].tc.variant = TC_JUMPRELU, c[7].k_anneal = 5;
	c[8].tc.variant = TC_JUMPRELU, c[8].bandwidth = 2;
	for (i = 0; i < 9; i++) {
		memset(&e, 0, sizeof(e));
		assert_int_equal(train_check(&c[i], &e), -1);
		assert_int_equal(e.code, ERR_RANGE);
	}
}

static void learning_rate_rises_and_falls(void **state)
{
	struct train_cfg c = config(TRAIN_R1);

	(void)state;
	c.lr = 1, c.warmup = 4, c.decay = 0.2, c.n_steps = 100;
	assert_true(train_lr(&c, 0) == 0.25 && train_lr(&c, 3) == 1);
	assert_true(train_lr(&c, 80) == 1 && train_lr(&c, 99) == 0.05);
	assert_true(train_lr(&c, 100) == 0 && train_lr(&c, 200) == 0);
	c.n_steps = 0;
	assert_true(train_lr(&c, 1000000) == 1);
	/* get_linear_schedule_with_warmup */
	c.recipe = TRAIN_SPARSIFY, c.decay = 1, c.n_steps = 100;
	assert_true(train_lr(&c, 0) == 0 && train_lr(&c, 2) == 0.5);
	assert_true(train_lr(&c, 4) == 1 && train_lr(&c, 52) == 0.5);
	c.rule = TRAIN_SIGNUM;
	c.tc.n_latents = 16384 * 4;
	assert_true(train_default_lr(&c) == 2.5e-3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gradients_equal_difference_quotients),
		cmocka_unit_test(variants_gradients_too),
		cmocka_unit_test(blocks_and_threads_change_nothing),
		cmocka_unit_test(learns),
		cmocka_unit_test(export_folds_the_normalisation_in),
		cmocka_unit_test(given_weights_survive_the_round_trip),
		cmocka_unit_test(saved_and_loaded_goes_on_to_the_bit),
		cmocka_unit_test(variants_keep_their_mean),
		cmocka_unit_test(quiet_latents_are_raised),
		cmocka_unit_test(k_falls_from_ten_times_as_many),
		cmocka_unit_test(bad_values_name_layer_and_row),
		cmocka_unit_test(outputs_all_alike_are_refused),
		cmocka_unit_test(a_constant_input_dimension_is_nothing_special),
		cmocka_unit_test(giants_are_left_out_and_counted),
		cmocka_unit_test(impossible_configurations_are_refused),
		cmocka_unit_test(learning_rate_rises_and_falls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
