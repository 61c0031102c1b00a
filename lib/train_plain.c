/*
 * Between the normalised space in which a transcoder trains and the plain
 * weights that a checkpoint holds. With x' = (x - mx) sx, y' = (y - my) sy and
 * z' = TopK(relu(W' x' + b')), y' = D'^T z' + S' x' + c', and z = z' / sy:
 *
 *   W_enc = W' sx / sy          b_enc = (b' - sx W' mx) / sy
 *   W_dec = D'                  W_skip = S' sx / sy
 *   threshold = threshold' / sy
 *   b_dec = c' / sy + my - W_skip mx
 *
 * An autoencoder's encoder sees x' - c', which takes the centre in: b_enc =
 * b' / sy, b_dec = c' / sy + my.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "mem.h"
#include "train_impl.h"

/* Host copies of a layer's means. */
struct centres {
	float *x, *y;
};

static int centres_get(struct train_layer *t, struct centres *c, struct err *e)
{
	const struct dev_ops *d = train_ops(t);
	size_t d_in = t->cfg.tc.d_in, d_out = t->cfg.tc.d_out;

	c->x = mem_scratch(d_in, sizeof(float), e);
	c->y = mem_scratch(d_out, sizeof(float), e);
	if (!c->x || !c->y ||
	    d->get(t->dev, c->x, t->mean_x, d_in * sizeof(float), e) < 0)
		return -1;
	return d->get(t->dev, c->y, t->mean_y, d_out * sizeof(float), e);
}

static void centres_free(struct centres *c)
{
	mem_free(c->x);
	mem_free(c->y);
}

/*
 * The n values at `at` of a parameter, on the host. Of signum's schedule-free
 * pair the average is what counts; s is scratch of n.
 */
static int plain_values(struct train_layer *t, const struct dev_tc_param *p,
                        size_t at, size_t n, float *out, float *s,
                        struct err *e)
{
	const struct dev_ops *d = train_ops(t);
	size_t i;

	if (d->get(t->dev, out, p->w + at, n * sizeof(float), e) < 0)
		return -1;
	if (t->cfg.rule != TRAIN_SIGNUM)
		return 0;
	if (d->get(t->dev, s, p->s1 + at, n * sizeof(float), e) < 0)
		return -1;
	for (i = 0; i < n; i++)
		out[i] = (out[i] - (1 - 0.95f) * s[i]) / 0.95f;
	return 0;
}

static double dot(const float *a, const float *b, size_t n)
{
	double s = 0;
	size_t i;

	for (i = 0; i < n; i++)
		s += (double)a[i] * b[i];
	return s;
}

static int export_encoder(struct train_layer *t, const struct centres *m,
                          struct tc *out, float *row, float *s,
                          struct err *e)
{
	const struct dev_ops *d = train_ops(t);
	const struct tc_cfg *c = &t->cfg.tc;
	double sx = t->scale_x, sy = t->scale_y;
	size_t i, j;
	float b;

	for (i = 0; i < c->n_latents; i++) {
		if (plain_values(t, &t->enc, i * c->d_in, c->d_in, row, s,
		                 e) < 0 ||
		    plain_values(t, &t->bias, i, 1, &b, s, e) < 0)
			return -1;
		if (c->transcode)
			b = (float)((b - sx * dot(row, m->x, c->d_in)) / sy);
		else
			b = (float)(b / sy);
		for (j = 0; j < c->d_in; j++)
			row[j] = (float)(row[j] * (sx / sy));
		if (d->put(t->dev, out->w_enc + i * c->d_in, row,
		           c->d_in * sizeof(*row), e) < 0 ||
		    d->put(t->dev, out->b_enc + i, &b, sizeof(b), e) < 0 ||
		    plain_values(t, &t->dec, i * c->d_out, c->d_out, row, s,
		                 e) < 0 ||
		    d->put(t->dev, out->w_dec + i * c->d_out, row,
		           c->d_out * sizeof(*row), e) < 0)
			return -1;
	}
	return 0;
}

static int export_thresholds(struct train_layer *t, struct tc *out,
                             struct err *e)
{
	const struct dev_ops *d = train_ops(t);
	size_t i;
	float v, s;

	for (i = 0; i < t->cfg.tc.n_latents && out->threshold; i++) {
		if (t->cfg.tc.variant == TC_BATCHTOPK)
			v = (float)t->theta;
		else if (plain_values(t, &t->threshold, i, 1, &v, &s, e) < 0)
			return -1;
		else
			v = expf(v);
		v = fmaxf((float)(v / t->scale_y), FLT_MIN);
		if (d->put(t->dev, out->threshold + i, &v, sizeof(v), e) < 0)
			return -1;
	}
	return 0;
}

static int export_output(struct train_layer *t, const struct centres *m,
                         struct tc *out, float *row, float *s, struct err *e)
{
	const struct dev_ops *d = train_ops(t);
	const struct tc_cfg *c = &t->cfg.tc;
	double sx = t->scale_x, sy = t->scale_y;
	size_t i, j;
	float b;

	for (i = 0; i < c->d_out; i++) {
		if (plain_values(t, &t->b_dec, i, 1, &b, s, e) < 0)
			return -1;
		b = (float)(b / sy + m->y[i]);
		if (c->skip) {
			if (plain_values(t, &t->skip, i * c->d_in, c->d_in,
			                 row, s, e) < 0)
				return -1;
			b = (float)(b - dot(row, m->x, c->d_in) * sx / sy);
			for (j = 0; j < c->d_in; j++)
				row[j] = (float)(row[j] * (sx / sy));
			if (d->put(t->dev, out->w_skip + i * c->d_in, row,
			           c->d_in * sizeof(*row), e) < 0)
				return -1;
		}
		if (d->put(t->dev, out->b_dec + i, &b, sizeof(b), e) < 0)
			return -1;
	}
	return 0;
}

struct tc *train_layer_export(struct train_layer *t, struct err *e)
{
	const struct tc_cfg *c = &t->cfg.tc;
	size_t dim = c->d_in > c->d_out ? c->d_in : c->d_out;
	struct centres m = { NULL, NULL };
	float *row = NULL;
	struct tc *out = NULL;

	if (!t->started) {
		err_set(e, ERR_RANGE, "layer %d: no weights before the first "
		        "batch", t->layer);
		return NULL;
	}
	row = mem_scratch(dim, 2 * sizeof(*row), e);
	out = tc_new(c, t->dev, e);
	if (!row || !out || centres_get(t, &m, e) < 0 ||
	    export_encoder(t, &m, out, row, row + dim, e) < 0 ||
	    export_thresholds(t, out, e) < 0 ||
	    export_output(t, &m, out, row, row + dim, e) < 0) {
		tc_free(out);
		out = NULL;
	}
	centres_free(&m);
	mem_free(row);
	return out;
}

/* ---- the other way ------------------------------------------------------ */

int train_layer_init(struct train_layer *t, const struct tc *from,
                     struct err *e)
{
	const struct dev_ops *d = train_ops(t);
	const struct tc_cfg *c = &t->cfg.tc, *f = &from->cfg;
	size_t lat = c->n_latents;

	if (t->started || t->n_held)
		return err_set(e, ERR_RANGE, "layer %d: weights given too "
		               "late", t->layer);
	if (f->d_in != c->d_in || f->d_out != c->d_out ||
	    f->n_latents != c->n_latents || f->skip != c->skip ||
	    f->transcode != c->transcode)
		return err_set(e, ERR_FORMAT, "layer %d: given %s of %u latents,"
		               " widths %u and %u, %s skip; wanted %s of %u, %u"
		               " and %u, %s", t->layer,
		               f->transcode ? "transcoder" : "autoencoder",
		               f->n_latents, f->d_in, f->d_out,
		               f->skip ? "with" : "no",
		               c->transcode ? "transcoder" : "autoencoder",
		               c->n_latents, c->d_in, c->d_out,
		               c->skip ? "with" : "none");
	if (d->copy(t->dev, t->enc.w, from->w_enc, lat * c->d_in *
	            sizeof(float), e) < 0 ||
	    d->copy(t->dev, t->bias.w, from->b_enc, lat * sizeof(float), e) < 0 ||
	    d->copy(t->dev, t->dec.w, from->w_dec, lat * c->d_out *
	            sizeof(float), e) < 0 ||
	    d->copy(t->dev, t->b_dec.w, from->b_dec, c->d_out * sizeof(float),
	            e) < 0 ||
	    (c->skip && d->copy(t->dev, t->skip.w, from->w_skip,
	                        (size_t)c->d_out * c->d_in * sizeof(float),
	                        e) < 0))
		return -1;
	if (t->threshold.w && from->threshold) {
		if (d->copy(t->dev, t->threshold.w, from->threshold,
		            lat * sizeof(float), e) < 0)
			return -1;
		t->given_threshold = 1;
	}
	t->given = 1;
	return 0;
}

static int normalise_encoder(struct train_layer *t, const struct centres *m,
                             float *row, struct err *e)
{
	const struct dev_ops *d = train_ops(t);
	const struct tc_cfg *c = &t->cfg.tc;
	double sx = t->scale_x, sy = t->scale_y;
	size_t i, j;
	float b;

	for (i = 0; i < c->n_latents; i++) {
		float *w = t->enc.w + i * c->d_in;

		if (d->get(t->dev, row, w, c->d_in * sizeof(*row), e) < 0 ||
		    d->get(t->dev, &b, t->bias.w + i, sizeof(b), e) < 0)
			return -1;
		if (c->transcode)
			b = (float)(sy * (b + dot(row, m->x, c->d_in)));
		else
			b = (float)(sy * b);
		for (j = 0; j < c->d_in; j++)
			row[j] = (float)(row[j] * (sy / sx));
		if (d->put(t->dev, w, row, c->d_in * sizeof(*row), e) < 0 ||
		    d->put(t->dev, t->bias.w + i, &b, sizeof(b), e) < 0)
			return -1;
	}
	return 0;
}

static int normalise_output(struct train_layer *t, const struct centres *m,
                            float *row, struct err *e)
{
	const struct dev_ops *d = train_ops(t);
	const struct tc_cfg *c = &t->cfg.tc;
	double sx = t->scale_x, sy = t->scale_y;
	size_t i, j;
	float b;

	for (i = 0; i < c->d_out; i++) {
		float *w = c->skip ? t->skip.w + i * c->d_in : NULL;
		double at_mean = 0;

		if (w) {
			if (d->get(t->dev, row, w, c->d_in * sizeof(*row),
			           e) < 0)
				return -1;
			at_mean = dot(row, m->x, c->d_in);
			for (j = 0; j < c->d_in; j++)
				row[j] = (float)(row[j] * (sy / sx));
			if (d->put(t->dev, w, row, c->d_in * sizeof(*row),
			           e) < 0)
				return -1;
		}
		if (d->get(t->dev, &b, t->b_dec.w + i, sizeof(b), e) < 0)
			return -1;
		b = (float)(sy * (b - m->y[i] + at_mean));
		if (d->put(t->dev, t->b_dec.w + i, &b, sizeof(b), e) < 0)
			return -1;
	}
	return 0;
}

int train_normalise(struct train_layer *t, struct err *e)
{
	size_t dim = t->cfg.tc.d_in > t->cfg.tc.d_out ? t->cfg.tc.d_in
	                                              : t->cfg.tc.d_out;
	struct centres m = { NULL, NULL };
	float *row = mem_scratch(dim, sizeof(*row), e);
	int rc = -1;

	if (row && centres_get(t, &m, e) == 0 &&
	    normalise_encoder(t, &m, row, e) == 0)
		rc = normalise_output(t, &m, row, e);
	centres_free(&m);
	mem_free(row);
	return rc;
}
