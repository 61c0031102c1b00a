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
#include "train_end_impl.h"

enum { BACK = 8 };		/* a share of the rows */
static const double BOLD = 1.5;

/* ---- sizes -------------------------------------------------------------------- */

size_t train_end_work_bytes(const struct train_cfg *c)
{
	const struct tc_cfg *t = &c->tc;
	size_t rows = train_end_rows(c), chunk = train_end_chunk(c);
	size_t in = t->d_in, out = t->d_out, wide = train_larger(in, out);
	size_t x = t->transcode && t->skip ? in : 0;

	if (!rows)
		return 0;
	chunk = chunk < rows ? chunk : rows;
	return sizeof(float) * (chunk * (in + 2 * out) + 4 * rows *
	       (size_t)tc_slots(t) + (size_t)t->n_latents * (2 * out + 2 *
	       wide + x + 12) + x * (2 * x + 3 * out) +
	       train_end_dense_values(t->n_latents, out));
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
	size_t b = c->batch, rows = train_end_rows(c), fit = solved_on(rows), i;
	size_t chunk = train_end_chunk(c) < rows ? train_end_chunk(c) : rows;
	size_t r1 = c->recipe == TRAIN_R1 ? b : 0;
	const size_t of[][3] = {
		/* the start's least squares, and what they leave */
		{ n, n, r1 }, { n, m, r1 }, { r1, m, n },
		/* the end's */
		{ n, m, fit ? lat : 0 }, { fit ? lat : 0, m, n },
		{ fit ? chunk : 0, m, n }
	};
	size_t kept = o->tc->encode_keeps(d, b, n, lat, train_slots(c));

	if (fit)
		kept = train_larger(train_larger(kept, o->tc->encode_keeps(d,
			chunk, n, lat, tc_slots(&c->tc))),
			train_end_dense_keeps(d, lat, n, m));
	if (c->tc.multi_topk)
		kept = train_larger(kept, o->tc->encode_keeps(d, b, n, lat, 4 *
		                                              c->tc.k));
	if (!c->tc.skip)
		return kept;
	kept = train_larger(kept, o->tc->skip_keeps(d, b, n, m));
	if (fit)
		kept = train_larger(train_larger(kept, o->tc->skip_keeps(d,
			chunk, n, m)), o->tc->skip_keeps(d, chunk, n, n));
	for (i = 0; i < sizeof(of) / sizeof(of[0]); i++)
		kept = train_larger(kept, o->gemm_keeps(d, of[i][0], of[i][1],
		                                        of[i][2]));
	return kept;
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

static int give_device(struct end *s, struct err *e)
{
	size_t wide = train_larger(s->d_in, s->d_out);
	size_t chunk = train_end_chunk(&s->t->cfg);

	chunk = chunk < s->n ? chunk : s->n;
	if (!(s->x = train_end_give(s, chunk, s->d_in, e)) ||
	    !(s->y = train_end_give(s, chunk, s->d_out, e)) ||
	    !(s->q = train_end_give(s, chunk, s->d_out, e)) ||
	    !(s->codes.latent = give_ids(s, s->n, s->k, e)) ||
	    !(s->codes.value = train_end_give(s, s->n, s->k, e)) ||
	    !(s->ids = give_ids(s, s->lat, 1, e)) ||
	    !(s->diag = train_end_give(s, s->lat, 1, e)) ||
	    !(s->ones = train_end_give(s, s->lat, 1, e)) ||
	    !(s->u = train_end_give(s, s->lat, s->d_out, e)) ||
	    !(s->p = train_end_give(s, s->lat, wide, e)) ||
	    !(s->r = train_end_give(s, s->lat, s->d_out, e)) ||
	    !(s->ap = train_end_give(s, s->lat, wide, e)) ||
	    !(s->mean_e = train_end_give(s, s->d_out, 1, e)) ||
	    !(s->row = train_end_give(s, wide, 1, e)))
		return -1;
	if (!s->skip)
		return 0;
	return (s->c = train_end_give(s, s->lat, s->d_in, e)) &&
	       (s->mean_x = train_end_give(s, s->d_in, 1, e)) &&
	       (s->xx = train_end_give(s, s->d_in, s->d_in, e)) &&
	       (s->m = train_end_give(s, s->d_in, s->d_in, e)) &&
	       (s->xe = train_end_give(s, s->d_in, s->d_out, e)) &&
	       (s->s = train_end_give(s, s->d_in, s->d_out, e)) &&
	       (s->tmp = train_end_give(s, s->d_in, s->d_out, e)) ? 0 : -1;
}

/* 0, 1, ... */
static int put_ids(struct end *s, struct err *e)
{
	uint32_t *ids = (uint32_t *)(void *)s->sum, i;

	for (i = 0; i < s->lat; i++)
		ids[i] = i;
	return s->d->put(s->dev, s->ids, ids, s->lat * sizeof(*ids), e);
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
	host = train_larger(train_larger(train_end_chunk(&t->cfg), s->lat), wide);
	if (!(s->sum = mem_scratch(host, sizeof(*s->sum), e)) ||
	    !(s->power = mem_array(s->lat, sizeof(*s->power), e)) ||
	    !(s->first = mem_array(s->lat, sizeof(*s->first), e)) ||
	    !(s->sum_x = mem_array(s->d_in, sizeof(*s->sum_x), e)) ||
	    !(s->sum_y = mem_array(s->d_out, sizeof(*s->sum_y), e)) ||
	    !(s->one = mem_scratch(train_larger(wide, s->lat), sizeof(*s->one), e)) ||
	    !(s->lambda = mem_scratch(s->lat, sizeof(*s->lambda), e)) ||
	    !(s->scale = mem_scratch(s->lat, sizeof(*s->scale), e)) ||
	    !(s->latent = mem_scratch(s->n, s->k * sizeof(*s->latent), e)) ||
	    !(s->value = mem_scratch(s->n, s->k * sizeof(*s->value), e)) ||
	    give_device(s, e) < 0)
		return -1;
	return put_ids(s, e);
}

static void close_end(struct end *s)
{
	void *const device[] = { s->x, s->y, s->q, s->codes.latent,
		s->codes.value, s->bias, s->ids, s->diag, s->ones, s->c, s->xx,
		s->xe, s->mean_x, s->mean_e, s->m, s->s, s->tmp, s->u, s->p,
		s->r, s->ap, s->row };
	void *const host[] = { s->sum, s->power, s->first, s->sum_x, s->sum_y,
		s->one, s->lambda, s->scale, s->latent, s->value, s->theta };
	size_t i;

	for (i = 0; i < sizeof(device) / sizeof(*device); i++)
		s->d->release(s->dev, device[i]);
	for (i = 0; i < sizeof(host) / sizeof(*host); i++)
		mem_free(host[i]);
}

/* ---- rows, codes, sums -------------------------------------------------------- */

struct dev_tc_codes train_end_codes(const struct end *s, size_t at, size_t n)
{
	return (struct dev_tc_codes){ s->codes.latent + at * s->k,
		s->codes.value + at * s->k, n, s->k };
}

/* What the encoder adds: its bias less its thresholds. */
static int take_thresholds(struct end *s, struct err *e)
{
	struct train_layer *t = s->t;

	if (t->cfg.tc.variant == TC_TOPK)
		return 0;
	if (!(s->bias = train_end_give(s, s->lat, 1, e)) ||
	    !(s->theta = mem_scratch(s->lat, sizeof(float), e)) ||
	    train_thresholds_get(t, s->theta, e) < 0 ||
	    s->d->put(s->dev, s->bias, s->theta, s->lat * sizeof(float), e) < 0 ||
	    s->d->tc->scale(s->dev, s->bias, -1, s->lat, s->bias, e) < 0)
		return -1;
	return s->d->axpy(s->dev, 1, t->bias.w, s->bias, s->lat, e);
}

/* A chunk's codes about as the finished transcoder will have them (tc_encode), but
 * at most 4 k where there are thresholds; on the host, too. */
static int select_codes(struct end *s, const struct train_end_chunk *c,
                        struct err *e)
{
	struct train_layer *t = s->t;
	struct dev_tc_codes part = train_end_codes(s, c->at, c->n);
	uint32_t *latent = s->latent + c->at * s->k;
	float *value = s->value + c->at * s->k;
	size_t bytes = c->n * s->k * sizeof(float), i;

	if (s->d->tc->encode_near(s->dev, s->x, c->n, s->d_in, t->enc.w,
	                          s->bias ? s->bias : t->bias.w, s->lat, &part,
	                          e) < 0 ||
	    s->d->get(s->dev, latent, part.latent, bytes, e) < 0 ||
	    s->d->get(s->dev, value, part.value, bytes, e) < 0)
		return -1;
	if (!s->theta)
		return 0;
	for (i = 0; i < c->n; i++)
		tc_add_thresholds(s->theta, latent + i * s->k, value + i * s->k,
		                  s->k);
	if (s->d->put(s->dev, part.latent, latent, bytes, e) < 0)
		return -1;
	return s->d->put(s->dev, part.value, value, bytes, e);
}

static int add_columns(struct end *s, const float *of, size_t n, size_t dim,
                       double *sum, struct err *e)
{
	size_t i;

	if (s->d->tc->col_sum(s->dev, of, n, dim, s->sum, e) < 0)
		return -1;
	for (i = 0; i < dim; i++)
		sum[i] += s->sum[i];
	return 0;
}

/* The chunk's first n rows to the sums that train_end_equations begins with. */
static int add_sums(struct end *s, size_t at, size_t n, struct err *e)
{
	const struct dev_ops *d = s->d;
	const struct dev_tc_codes c = train_end_codes(s, at, n);
	size_t in = s->d_in, out = s->d_out, i;

	for (i = at * s->k; i < (at + n) * s->k; i++)
		if (s->latent[i] != DEV_TC_NONE) {
			double v = s->value[i];

			s->first[s->latent[i]] += v;
			s->power[s->latent[i]] += v * v;
		}
	if (add_columns(s, s->y, n, out, s->sum_y, e) < 0 ||
	    d->tc->scatter(s->dev, &c, s->y, s->lat, out, s->p, e) < 0)
		return -1;
	if (!s->skip)
		return 0;
	if (add_columns(s, s->x, n, in, s->sum_x, e) < 0 ||
	    d->tc->scatter(s->dev, &c, s->x, s->lat, in, s->ap, e) < 0)
		return -1;
	return d->tc->skip_sums(s->dev, s->x, n, in, s->y, out, s->xx, s->xe, e);
}

/* Codes of all rows, sums of those solved on. *judged: the next read is the
 * first with other rows. */
static int read_rows(struct end *s, struct train_end_chunk *judged, struct err *e)
{
	struct train_end_chunk c = { 0 }, before;
	size_t fit;

	for (;;) {
		before = c;
		if (train_end_read(s, &c, e) < 0)
			return -1;
		if (c.n == 0)
			return 0;
		if (select_codes(s, &c, e) < 0)
			return -1;
		if (s->fit >= c.at && s->fit < c.at + c.n)
			*judged = before;
		fit = s->fit > c.at ? s->fit - c.at : 0;
		fit = fit < c.n ? fit : c.n;
		if (fit && add_sums(s, c.at, fit, e) < 0)
			return -1;
	}
}

int train_end_diagonal(struct end *s, const float *values, const float *v,
                       size_t dim, float *out, struct err *e)
{
	const struct dev_tc_codes c = { s->ids, s->diag, s->lat, 1 };

	if (s->d->put(s->dev, s->diag, values, s->lat * sizeof(float), e) < 0)
		return -1;
	return s->d->tc->scatter(s->dev, &c, v, s->lat, dim, out, e);
}

int train_end_decoder(struct end *s, float *out, struct err *e)
{
	size_t i;

	for (i = 0; i < s->lat; i++)
		s->one[i] = 1 / s->scale[i];
	if (s->d->tc->scale(s->dev, out, 0, s->lat * s->d_out, out, e) < 0)
		return -1;
	return train_end_diagonal(s, s->one, s->t->dec.w, s->d_out, out, e);
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

/* ---- judged and applied --------------------------------------------------------- */

/* y^ of n rows into q: b, S x, x as it is in s, and a decoder for the scaled codes
 * from row `at` on. by_rows: S is [d_out, d_in] and not its transpose. */
static int predict(struct end *s, size_t at, size_t n, const float *b,
                   const float *skip, int by_rows, const float *dec,
                   const float *x, struct err *e)
{
	const struct dev_ops *d = s->d;
	const struct dev_tc_codes c = train_end_codes(s, at, n);
	size_t m = s->d_out;

	if (d->tc->fill_rows(s->dev, b, n, m, s->q, e) < 0 ||
	    (s->skip && d->gemm(s->dev, 0, by_rows, n, m, s->d_in, 1, x, s->d_in,
	                        skip, by_rows ? s->d_in : m, 1, s->q, m,
	                        e) < 0))
		return -1;
	return d->tc->decode(s->dev, &c, dec, m, s->q, e);
}

/* The share of the change to apply, in [0, 1], by the rows kept back, which begin
 * in the chunk after c. p becomes the trained decoder. */
static int judge(struct end *s, struct train_end_chunk c, double *share,
                 struct err *e)
{
	const struct dev_ops *d = s->d;
	struct train_layer *t = s->t;
	double along = 0, square = 0, a, b;
	size_t from, n;

	if (train_end_decoder(s, s->p, e) < 0)
		return -1;
	for (;;) {
		float *x, *y;

		if (train_end_read(s, &c, e) < 0)
			return -1;
		if (c.n == 0)
			break;
		from = s->fit > c.at ? s->fit - c.at : 0;
		n = c.n - from;
		x = s->x + from * s->d_in;
		y = s->y + from * s->d_out;
		if (predict(s, c.at + from, n, t->b_dec.w, t->skip.w, 1, s->p, x,
		            e) < 0 ||
		    d->axpy(s->dev, -1, s->q, y, n * s->d_out, e) < 0 ||
		    (s->skip && d->tc->centre(s->dev, x, NULL, n, s->d_in,
		                              s->mean_x, 1, x, e) < 0) ||
		    predict(s, c.at + from, n, s->row, s->s, 0, s->u, x, e) < 0 ||
		    train_end_dot(s, y, s->q, n, &a, e) < 0 ||
		    train_end_dot(s, s->q, s->q, n, &b, e) < 0)
			return -1;
		along += a;
		square += b;
	}
	*share = along > 0 && square > 0 ? fmin(BOLD * along / square, 1) : 0;
	return 0;
}

static int apply(struct end *s, double share, struct err *e)
{
	const struct dev_ops *d = s->d;
	struct train_layer *t = s->t;
	size_t n = s->d_in, m = s->d_out, i;
	float by = (float)share;

	for (i = 0; i < s->lat; i++)
		s->one[i] = by * s->scale[i];
	if (train_end_diagonal(s, s->one, s->u, m, t->dec.w, e) < 0)
		return -1;
	if (s->skip &&		/* s^T = tmp^T m */
	    (d->gemm(s->dev, 1, 0, m, n, n, by, s->tmp, m, s->m, n, 1, t->skip.w,
	             n, e) < 0 ||
	     d->gemm(s->dev, 0, 0, 1, m, n, -1, s->mean_x, n, s->s, m, 1,
	             s->row, m, e) < 0))
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
	struct train_end_chunk judged = { 0 };
	double share;

	if (take_thresholds(s, e) < 0 || read_rows(s, &judged, e) < 0 ||
	    train_end_equations(s, e) < 0 || judge(s, judged, &share, e) < 0)
		return -1;
	return apply(s, share, e);
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
