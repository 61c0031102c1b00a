#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "dev_tc.h"
#include "train.h"
#include "train_cases.h"
#include "train_impl.h"

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

/* A layer with a prepared batch and random weights. */
static struct train_layer *prepared(const struct train_cfg *c)
{
	struct err e = { 0 };
	struct dev *d = dev_open("cpu", 2, &e);
	struct train_work *w = train_work_new(c, d, &e);
	struct train_layer *t = train_layer_new(c, 3, w, &e);
	float x[MAX_N * MAX_D], y[MAX_N * MAX_D];
	struct train_param q[TRAIN_PARAMS];
	size_t i, n = c->batch;
	int n_params, j;

	assert_non_null(t);
	rng_state = 88172645463325252u;
	activations(x, c->tc.d_in, y, c->tc.d_out, MAX_N);
	if (t->held_x)
		memcpy(t->held_x, x, t->held_max * c->tc.d_in * 4);
	memcpy(t->held_y, y, t->held_max * c->tc.d_out * 4);
	if (train_start(t, t->held_max, &e) < 0)
		fail_msg("%s", e.msg);
	n_params = train_params(t, q);
	for (j = 0; j < n_params; j++)
		fill(q[j].p->w, q[j].rows * q[j].cols, 0.5);
	for (i = 0; t->threshold.w && i < c->tc.n_latents; i++)
		t->threshold.w[i] = (float)log(0.3 + (double)i / 40);
	t->stats.rows = 100;	/* every third latent is dead */
	for (i = 0; i < c->tc.n_latents; i++)
		t->last[i] = i % 3 ? 95 : 1;
	assert_int_equal(train_keep(t, c->tc.transcode ? x : y, y, 0, n, &e), n);
	assert_int_equal(train_prepare(t, x, y, n, &e), 0);
	return t;
}

/* The layer and what it was made with. */
static void dispose(struct train_layer *t)
{
	struct train_work *w = t->work;
	struct dev *d = t->dev;

	train_layer_free(t);
	train_work_free(w);
	dev_free(d);
}

static void check_gradients(struct train_cfg c)
{
	struct train_layer *t = prepared(&c);
	struct err e = { 0 };
	struct dev_tc_part part[DEV_TC_PARTS];
	const struct dev_tc_opt o = { .rule = DEV_TC_GRAD };
	struct train_param q[TRAIN_PARAMS];
	static struct params p;
	static struct fixed f;
	double *host[] = { p.enc, p.bias, p.dec, p.b_dec,
		c.tc.skip ? p.skip : p.log_theta, p.log_theta };
	size_t n_parts, i, n = c.batch;
	int n_params = train_params(t, q), j, moved = 0;
	double loss;

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
	dispose(t);
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

/* Rows first, first + every, ... of each part; more than there are: the first. */
static void the_skip_learns_from_every_nth_row(void **state)
{
	static const struct {
		size_t every, step, first;
	} of[] = {
		{ 0, 3, 0 }, { 1, 3, 0 }, { 3, 7, 1 }, { 4, 8, 0 }, { 4, 11, 3 },
		{ 16, 15, 15 }, { 99, 20, 0 }
	};
	const struct dev_tc_opt o = { .rule = DEV_TC_GRAD };
	struct dev_tc_part part[DEV_TC_PARTS];
	struct err e = { 0 };
	size_t i, r, j, p, n_parts;

	(void)state;
	for (i = 0; i < 2 * sizeof(of) / sizeof(*of); i++) {
		struct train_cfg c = config(TRAIN_R1);
		size_t d_in = c.tc.d_in, d_out = c.tc.d_out, n = c.batch;
		double want[MAX_D * MAX_D] = { 0 };
		struct train_layer *t;

		c.tc.multi_topk = (int)(i % 2);
		c.skip_every = of[i / 2].every;
		t = prepared(&c);
		t->stats.step = of[i / 2].step;
		if (train_loss(t, n, part, &n_parts, &e) < 0)
			fail_msg("%s", e.msg);
		for (p = 0; p <= i % 2; p++)
			for (r = of[i / 2].first; r < n;
			     r += c.skip_every ? c.skip_every : 1)
				for (j = 0; j < d_out * d_in; j++)
					want[j] += t->work->g[(p * n + r) * d_out
						+ j / d_in] * t->work->x[r *
						d_in + j % d_in];
		assert_int_equal(train_apply(t, part, n_parts, n, &o, &e), 0);
		for (j = 0; j < d_out * d_in; j++)
			assert_true(fabs(t->skip.s1[j] - want[j]) <
			            1e-5 * fabs(want[j]) + 1e-6);
		dispose(t);
	}
}

static void how_many_rows_by_default(void **state)
{
	static const struct {
		size_t batch, every;
	} of[] = {
		{ 2, 1 }, { 127, 1 }, { 255, 1 }, { 256, 2 }, { 511, 3 },
		{ 512, 4 }, { 4096, 4 }
	};
	struct train_cfg c = config(TRAIN_R1);
	size_t i;

	(void)state;
	c.end_tokens = 32768;
	for (i = 0; i < sizeof(of) / sizeof(*of); i++) {
		c.batch = of[i].batch;
		assert_int_equal(train_default_skip_every(&c), of[i].every);
	}
	c.end_tokens = 0;	/* no end, which would solve it anew */
	assert_int_equal(train_default_skip_every(&c), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gradients_equal_difference_quotients),
		cmocka_unit_test(variants_gradients_too),
		cmocka_unit_test(the_skip_learns_from_every_nth_row),
		cmocka_unit_test(how_many_rows_by_default),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
