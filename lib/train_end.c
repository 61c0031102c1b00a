/*
 * The end: decoder, skip connection and b_dec solved anew by least squares, the
 * encoder and what it selects held fixed, over the rows of the last steps.
 *
 * With z the codes of a row and x its input about the window's mean, what is
 * looked for is D, S and c, changes of the trained weights, so that
 *
 *   sum |e - D^T z - S x - c|^2 + ridge |D|^2 + ridge_x |S|^2
 *
 * is least, e being the error of the trained weights. The ridges pull towards
 * these and not towards zero, so that a latent with few firings in the window
 * stays about where it was: the trained weights count for as much as a sum of
 * squares of end_ridge of a latent's values, and six times that of a direction
 * of the input. Weaker ones fit the window's documents (r1-training(7)).
 *
 * The last rows are kept back and judge. The share t of the change that is best
 * for them is less than for new text, since the trained weights have learnt from
 * these rows, too, and the change has not; 1.5 t, at most 1, is applied, which
 * lowers their error by three quarters of what t would (any share up to 2 t
 * lowers it). t below 0: nothing changes.
 */
#include <math.h>
#include <string.h>

#include "mem.h"
#include "tensor.h"
#include "train_end_impl.h"

enum {
	BACK = 8,		/* a share of the rows */
	PART = 8192		/* values moved at a time */
};
static const float HALF_MAX = 65504;
static const double BOLD = 1.5;

/* ---- keeping rows ---------------------------------------------------------- */

/* Steps whose rows are kept. */
static size_t slots(const struct train_cfg *c)
{
	size_t n = c->end_tokens / c->batch;

	return c->n_steps && c->n_steps < n ? (size_t)c->n_steps : n;
}

static size_t row_width(const struct tc_cfg *c)
{
	return (size_t)c->d_out + (c->transcode ? c->d_in : 0);
}

size_t train_end_kept_bytes(const struct train_cfg *c)
{
	return slots(c) * (c->batch * row_width(&c->tc) * sizeof(uint16_t) +
	                   sizeof(uint32_t));
}

size_t train_end_work_bytes(const struct train_cfg *c)
{
	const struct tc_cfg *t = &c->tc;
	size_t rows = slots(c) * c->batch, x = t->transcode && t->skip ? t->d_in : 0;

	if (!rows)
		return 0;
	return sizeof(float) * (rows * (t->d_in + (size_t)t->d_out +
	       6 * (size_t)tc_slots(t)) + (size_t)t->n_latents *
	       (4 * (size_t)t->d_out + x + 8 + rows / TRAIN_END_CHUNK) +
	       x * (2 * x + 3 * (size_t)t->d_out));
}

/* Of n rows those solved on; the others judge. */
static size_t solved_on(size_t n)
{
	return n - n / BACK;
}

size_t train_packed_bytes(const struct train_cfg *c, struct dev *d)
{
	const struct dev_ops *o = dev_ops(d);
	size_t n = c->tc.d_in, m = c->tc.d_out, lat = c->tc.n_latents;
	size_t b = c->batch, rows = slots(c) * b, fit = solved_on(rows), i;
	size_t r1 = c->recipe == TRAIN_R1 ? b : 0;
	const size_t of[][3] = {
		/* the start's least squares, and what they leave */
		{ n, n, r1 }, { n, m, r1 }, { r1, m, n },
		/* the end's */
		{ n, n, fit }, { n, m, fit }, { n, m, fit ? lat : 0 },
		{ fit ? lat : 0, m, n }, { train_end_chunk(0, rows), m, n }
	};
	size_t kept = o->tc->encode_keeps(d, b, n, lat, train_slots(c));

	if (fit)
		kept = train_larger(kept, o->tc->encode_keeps(d, b, n, lat,
		                                              tc_slots(&c->tc)));
	if (c->tc.multi_topk)
		kept = train_larger(kept, o->tc->encode_keeps(d, b, n, lat, 4 *
		                                              c->tc.k));
	if (!c->tc.skip)
		return kept;
	kept = train_larger(kept, o->tc->skip_keeps(d, b, n, m));
	for (i = 0; i < sizeof(of) / sizeof(of[0]); i++)
		kept = train_larger(kept, o->gemm_keeps(d, of[i][0], of[i][1],
		                                        of[i][2]));
	return kept;
}

int train_end_due(const struct train_cfg *c, uint64_t steps)
{
	return slots(c) && steps &&
	       (!c->n_steps || steps > c->n_steps - slots(c));
}

int train_end_begin(struct train_layer *t, struct err *e)
{
	const struct tc_cfg *c = &t->cfg.tc;
	size_t n = slots(&t->cfg), rows = n * t->cfg.batch;

	t->kept_slots = n;
	if (!(t->kept_n = mem_array(n, sizeof(*t->kept_n), e)) ||
	    !(t->kept_y = mem_array(rows, c->d_out * sizeof(*t->kept_y), e)))
		return -1;
	if (c->transcode &&
	    !(t->kept_x = mem_array(rows, c->d_in * sizeof(*t->kept_x), e)))
		return -1;
	return 0;
}

static int pack(struct train_layer *t, const float *from, size_t n, uint16_t *to,
                struct err *e)
{
	float part[PART];
	size_t at, m, i;

	for (at = 0; at < n; at += m) {
		m = n - at < PART ? n - at : PART;
		if (train_ops(t)->get(t->dev, part, from + at,
		                      m * sizeof(*part), e) < 0)
			return -1;
		for (i = 0; i < m; i++)
			part[i] = fminf(fmaxf(part[i], -HALF_MAX), HALF_MAX);
		f16_from_f32(part, m, to + at);
	}
	return 0;
}

int train_end_keep(struct train_layer *t, size_t n, struct err *e)
{
	const struct tc_cfg *c = &t->cfg.tc;
	size_t slot, at;

	if (!train_end_due(&t->cfg, t->stats.step + 1))
		return 0;
	if (!t->kept_n && train_end_begin(t, e) < 0)
		return -1;
	slot = (size_t)(t->stats.step % t->kept_slots);
	at = slot * t->cfg.batch;
	t->kept_n[slot] = (uint32_t)n;
	if (c->transcode && pack(t, t->work->x, n * c->d_in,
	                         t->kept_x + at * c->d_in, e) < 0)
		return -1;
	return pack(t, t->work->y, n * c->d_out, t->kept_y + at * c->d_out, e);
}

void train_end_free(struct train_layer *t)
{
	mem_free(t->kept_x);
	mem_free(t->kept_y);
	mem_free(t->kept_n);
	t->kept_x = t->kept_y = NULL;
	t->kept_n = NULL;
}

/* ---- what is solved --------------------------------------------------------- */

float *train_end_give(struct end *s, size_t rows, size_t cols, struct err *e)
{
	size_t n;

	if (mem_mul(rows, cols, &n, e) < 0 ||
	    mem_mul(n, sizeof(float), &n, e) < 0)
		return NULL;
	return s->d->alloc(s->dev, n, e);
}

static uint32_t *give_ids(struct end *s, size_t rows, size_t cols, struct err *e)
{
	return (uint32_t *)(void *)train_end_give(s, rows, cols, e);
}

static int open_end(struct end *s, struct train_layer *t, struct err *e)
{
	const struct tc_cfg *c = &t->cfg.tc;
	size_t i, wide = train_larger(c->d_in, c->d_out), host;

	*s = (struct end){ .t = t, .d = train_ops(t), .dev = t->dev,
		.d_in = c->d_in, .d_out = c->d_out, .lat = c->n_latents,
		.k = tc_slots(c), .skip = t->skip.w != NULL };
	for (i = 0; i < t->kept_slots; i++)
		s->n += t->kept_n[i];
	s->fit = solved_on(s->n);
	s->chunks = (s->fit + TRAIN_END_CHUNK - 1) / TRAIN_END_CHUNK;
	host = train_larger(train_larger(s->n, s->lat), wide);
	if (!(s->sum = mem_scratch(host, sizeof(*s->sum), e)) ||
	    !(s->one = mem_scratch(train_larger(wide, s->lat), sizeof(*s->one), e)) ||
	    !(s->lambda = mem_scratch(s->lat, sizeof(*s->lambda), e)) ||
	    !(s->scale = mem_scratch(s->lat, sizeof(*s->scale), e)) ||
	    !(s->latent = mem_scratch(s->n, s->k * sizeof(*s->latent), e)) ||
	    !(s->value = mem_scratch(s->n, s->k * sizeof(*s->value), e)) ||
	    !(s->x = train_end_give(s, s->n, s->d_in, e)) ||
	    !(s->e = train_end_give(s, s->n, s->d_out, e)) ||
	    !(s->q = train_end_give(s, TRAIN_END_CHUNK, s->d_out, e)) ||
	    !(s->codes.latent = give_ids(s, s->n, s->k, e)) ||
	    !(s->codes.value = train_end_give(s, s->n, s->k, e)) ||
	    !(s->by_latent.start = give_ids(s, s->chunks, s->lat + 1, e)) ||
	    !(s->by_latent.row = give_ids(s, s->n, s->k, e)) ||
	    !(s->by_latent.value = train_end_give(s, s->n, s->k, e)) ||
	    !(s->diag.start = give_ids(s, s->lat + 1, 1, e)) ||
	    !(s->diag.row = give_ids(s, s->lat, 1, e)) ||
	    !(s->diag.value = train_end_give(s, s->lat, 1, e)) ||
	    !(s->ones = train_end_give(s, s->lat, 1, e)) ||
	    !(s->u = train_end_give(s, s->lat, s->d_out, e)) ||
	    !(s->p = train_end_give(s, s->lat, s->d_out, e)) ||
	    !(s->r = train_end_give(s, s->lat, s->d_out, e)) ||
	    !(s->ap = train_end_give(s, s->lat, s->d_out, e)) ||
	    !(s->row = train_end_give(s, wide, 1, e)))
		return -1;
	if (!s->skip)
		return 0;
	return (s->c = train_end_give(s, s->lat, s->d_in, e)) &&
	       (s->m = train_end_give(s, s->d_in, s->d_in, e)) &&
	       (s->xe = train_end_give(s, s->d_in, s->d_out, e)) &&
	       (s->s = train_end_give(s, s->d_in, s->d_out, e)) &&
	       (s->tmp = train_end_give(s, s->d_in, s->d_out, e)) ? 0 : -1;
}

static void close_end(struct end *s)
{
	void *const device[] = { s->x, s->e, s->q, s->codes.latent,
		s->codes.value, s->bias, s->by_latent.start, s->by_latent.row,
		s->by_latent.value, s->diag.start, s->diag.row, s->diag.value,
		s->ones, s->c, s->m, s->xe, s->s, s->tmp, s->u, s->p, s->r,
		s->ap, s->row };
	size_t i;

	for (i = 0; i < sizeof(device) / sizeof(*device); i++)
		s->d->release(s->dev, device[i]);
	mem_free(s->sum);
	mem_free(s->lambda);
	mem_free(s->scale);
	mem_free(s->one);
	mem_free(s->latent);
	mem_free(s->value);
	mem_free(s->theta);
}

/* ---- rows, codes, errors ------------------------------------------------------ */

static int unpack(struct end *s, const uint16_t *from, size_t n, float *to,
                  struct err *e)
{
	float part[PART];
	size_t at, m;

	for (at = 0; at < n; at += m) {
		m = n - at < PART ? n - at : PART;
		f32_from_f16(from + at, m, part);
		if (s->d->put(s->dev, to + at, part, m * sizeof(*part), e) < 0)
			return -1;
	}
	return 0;
}

/* Oldest first. An autoencoder's encoder sees y less b_dec. */
static int take_rows(struct end *s, struct err *e)
{
	const struct train_layer *t = s->t;
	size_t n = 0, i, slot, at;

	for (i = 0; i < t->kept_slots; i++) {
		slot = (size_t)((t->stats.step + i) % t->kept_slots);
		at = slot * t->cfg.batch;
		if ((t->kept_x && unpack(s, t->kept_x + at * s->d_in,
		                         t->kept_n[slot] * s->d_in,
		                         s->x + n * s->d_in, e) < 0) ||
		    unpack(s, t->kept_y + at * s->d_out,
		           t->kept_n[slot] * s->d_out, s->e + n * s->d_out,
		           e) < 0)
			return -1;
		n += t->kept_n[slot];
	}
	return t->kept_x ? 0 : s->d->tc->centre(s->dev, s->e, NULL, n, s->d_in,
	                                        t->b_dec.w, 1, s->x, e);
}

/* Codes as the finished transcoder will have them (tc_encode), but at most 4 k
 * where there are thresholds. */
static int select_codes(struct end *s, struct err *e)
{
	struct train_layer *t = s->t;
	struct dev_tc_codes part;
	size_t bytes = s->n * s->k * sizeof(float), i, m;

	if (t->cfg.tc.variant != TC_TOPK) {
		if (!(s->bias = train_end_give(s, s->lat, 1, e)) ||
		    !(s->theta = mem_scratch(s->lat, sizeof(float), e)) ||
		    train_thresholds_get(t, s->theta, e) < 0 ||
		    s->d->put(s->dev, s->bias, s->theta,
		              s->lat * sizeof(float), e) < 0 ||
		    s->d->tc->scale(s->dev, s->bias, -1, s->lat, s->bias,
		                    e) < 0 ||
		    s->d->axpy(s->dev, 1, t->bias.w, s->bias, s->lat, e) < 0)
			return -1;
	}
	for (i = 0; i < s->n; i += m) {
		m = s->n - i < t->cfg.batch ? s->n - i : t->cfg.batch;
		part = (struct dev_tc_codes){ s->codes.latent + i * s->k,
			s->codes.value + i * s->k, m, s->k };
		if (s->d->tc->encode(s->dev, s->x + i * s->d_in, m, s->d_in,
		                     t->enc.w, s->bias ? s->bias : t->bias.w,
		                     s->lat, NULL, &part, e) < 0)
			return -1;
	}
	s->codes.n = s->n;
	s->codes.k = s->k;
	if (s->d->get(s->dev, s->latent, s->codes.latent, bytes, e) < 0 ||
	    s->d->get(s->dev, s->value, s->codes.value, bytes, e) < 0)
		return -1;
	for (i = 0; s->theta && i < s->n; i++)
		tc_add_thresholds(s->theta, s->latent + i * s->k,
		                  s->value + i * s->k, s->k);
	if (!s->theta)
		return 0;
	if (s->d->put(s->dev, s->codes.latent, s->latent, bytes, e) < 0)
		return -1;
	return s->d->put(s->dev, s->codes.value, s->value, bytes, e);
}

int train_end_decode(struct end *s, const float *w, size_t at, size_t n,
                  struct err *e)
{
	const struct dev_tc_codes c = { s->codes.latent + at * s->k,
		s->codes.value + at * s->k, n, s->k };

	return s->d->tc->decode(s->dev, &c, w, s->d_out, s->q, e);
}

int train_end_means(struct end *s, const float *of, size_t dim, float *mean,
                 struct err *e)
{
	size_t i;

	if (s->d->tc->col_sum(s->dev, of, s->fit, dim, s->sum, e) < 0)
		return -1;
	for (i = 0; i < dim; i++)
		s->one[i] = (float)(s->sum[i] / (double)s->fit);
	return s->d->put(s->dev, mean, s->one, dim * sizeof(float), e);
}

int train_end_diagonal(struct end *s, const float *values, const float *v,
                    float *out, struct err *e)
{
	if (s->d->put(s->dev, s->diag.value, values, s->lat * sizeof(float),
	              e) < 0)
		return -1;
	return s->d->tc->combine(s->dev, s->diag.start, s->diag.row,
	                         s->diag.value, s->lat, v, s->d_out, out, e);
}

int train_end_dot(struct end *s, const float *a, const float *b, size_t n,
               double *out, struct err *e)
{
	size_t i;

	if (s->d->tc->dots(s->dev, a, b, n, s->d_out, s->sum, e) < 0)
		return -1;
	for (*out = 0, i = 0; i < n; i++)
		*out += s->sum[i];
	return 0;
}

/* e = y - (b_dec + skip + decoding) */
static int errors(struct end *s, struct err *e)
{
	const struct dev_ops *d = s->d;
	const struct train_layer *t = s->t;
	size_t at, n;

	for (at = 0; at < s->n; at += n) {
		n = train_end_chunk(at, s->n);
		if (d->tc->fill_rows(s->dev, t->b_dec.w, n, s->d_out, s->q,
		                     e) < 0 ||
		    (s->skip && d->gemm(s->dev, 0, 1, n, s->d_out, s->d_in, 1,
		                        s->x + at * s->d_in, s->d_in, t->skip.w,
		                        s->d_in, 1, s->q, s->d_out, e) < 0) ||
		    train_end_decode(s, t->dec.w, at, n, e) < 0 ||
		    d->axpy(s->dev, -1, s->q, s->e + at * s->d_out,
		            n * s->d_out, e) < 0)
			return -1;
	}
	return 0;
}

/* ---- judged and applied --------------------------------------------------------- */

/* The share of the change to apply, in [0, 1], by the rows kept back. */
static int judge(struct end *s, double *share, struct err *e)
{
	const struct dev_ops *d = s->d;
	size_t m = s->d_out, at, n;
	double along = 0, square = 0, a, b;

	for (at = s->fit; at < s->n; at += n) {
		n = train_end_chunk(at, s->n);
		if (d->tc->fill_rows(s->dev, s->row, n, m, s->q, e) < 0 ||
		    train_end_decode(s, s->u, at, n, e) < 0 ||
		    (s->skip && d->gemm(s->dev, 0, 0, n, m, s->d_in, 1, s->x +
		                        at * s->d_in, s->d_in, s->s, m, 1, s->q,
		                        m, e) < 0) ||
		    train_end_dot(s, s->e + at * m, s->q, n, &a, e) < 0 ||
		    train_end_dot(s, s->q, s->q, n, &b, e) < 0)
			return -1;
		along += a;
		square += b;
	}
	*share = along > 0 && square > 0 ? fmin(BOLD * along / square, 1) : 0;
	return 0;
}

static int apply(struct end *s, double share, const float *mean_x, struct err *e)
{
	const struct dev_ops *d = s->d;
	struct train_layer *t = s->t;
	size_t n = s->d_in, m = s->d_out, i;
	float by = (float)share;

	for (i = 0; i < s->lat; i++)
		s->one[i] = by * s->scale[i];
	if (train_end_diagonal(s, s->one, s->u, t->dec.w, e) < 0)
		return -1;
	if (s->skip &&		/* s^T = tmp^T m */
	    (d->gemm(s->dev, 1, 0, m, n, n, by, s->tmp, m, s->m, n, 1, t->skip.w,
	             n, e) < 0 ||
	     d->gemm(s->dev, 0, 0, 1, m, n, -1, mean_x, n, s->s, m, 1, s->row,
	             m, e) < 0))
		return -1;
	if (d->axpy(s->dev, by, s->row, t->b_dec.w, m, e) < 0)
		return -1;
	/* an autoencoder's encoder goes on seeing what it saw */
	return t->cfg.tc.transcode ? 0 :
	       d->gemm(s->dev, 0, 1, 1, s->lat, n, by, s->row, n, t->enc.w, n,
	               1, t->bias.w, s->lat, e);
}

static int solve(struct end *s, struct err *e)
{
	float *mean_x = train_end_give(s, s->d_in, 1, e);
	double share;
	int rc = -1;

	if (!mean_x || take_rows(s, e) < 0 || select_codes(s, e) < 0 ||
	    errors(s, e) < 0)
		goto done;
	if (s->skip && (train_end_means(s, s->x, s->d_in, mean_x, e) < 0 ||
	                s->d->tc->centre(s->dev, s->x, NULL, s->n, s->d_in,
	                                 mean_x, 1, s->x, e) < 0))
		goto done;
	if (train_end_equations(s, e) == 0 && judge(s, &share, e) == 0)
		rc = apply(s, share, mean_x, e);
done:
	s->d->release(s->dev, mean_x);
	return rc;
}

int train_end_solve(struct train_layer *t, struct err *e)
{
	struct end s;
	int rc = 0;

	if (!t->kept_n)
		return 0;
	if (open_end(&s, t, e) < 0)
		rc = -1;
	else if (s.n > BACK)
		rc = solve(&s, e);
	close_end(&s);
	if (rc < 0)
		return err_wrap(e, "layer %d: least squares at the end",
		                t->layer);
	train_end_free(t);
	return 0;
}
