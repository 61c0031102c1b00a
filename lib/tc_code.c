/* Transcoders at work: encode and decode. */
#include "tc.h"

#include "dev_tc.h"
#include "mem.h"

enum { PASS_ROWS = 4096 };	/* rows encoded or decoded at a time */

static const struct dev_ops *ops(const struct tc *t)
{
	return dev_ops(t->dev);
}

/* Codes of at most PASS_ROWS rows in device memory. */
static int pass_new(const struct tc *t, size_t n, size_t k,
                    struct dev_tc_codes *c, struct err *e)
{
	size_t bytes;

	c->latent = NULL;
	c->value = NULL;
	c->n = n < PASS_ROWS ? n : PASS_ROWS;
	c->k = k;
	if (mem_mul(c->n, k * sizeof(float), &bytes, e) < 0)
		return -1;
	c->latent = ops(t)->alloc(t->dev, bytes, e);
	c->value = ops(t)->alloc(t->dev, bytes, e);
	return c->latent && c->value ? 0 : -1;
}

static void pass_free(const struct tc *t, struct dev_tc_codes *c)
{
	ops(t)->release(t->dev, c->latent);
	ops(t)->release(t->dev, c->value);
}

/*
 * A variant's encoder: pre is above the threshold where pre - threshold, which
 * a bias less the threshold gives, is above 0.
 */
struct shifted {
	float *bias;		/* device [n_latents]; NULL: plain TopK */
	float *threshold;	/* host [n_latents] */
};

static int shift(const struct tc *t, struct shifted *s, struct err *e)
{
	size_t n = t->cfg.n_latents;
	struct dev *d = t->dev;

	s->threshold = mem_scratch(n, sizeof(float), e);
	s->bias = ops(t)->alloc(d, n * sizeof(float), e);
	if (!s->threshold || !s->bias ||
	    ops(t)->get(d, s->threshold, t->threshold, n * sizeof(float),
	                e) < 0 ||
	    ops(t)->copy(d, s->bias, t->b_enc, n * sizeof(float), e) < 0)
		return -1;
	return ops(t)->axpy(d, -1, t->threshold, s->bias, n, e);
}

void tc_add_thresholds(const float *threshold, uint32_t *latent, float *value,
                       size_t k)
{
	size_t i, j;

	for (i = 0; i < k && latent[i] != DEV_TC_NONE; i++) {
		uint32_t l = latent[i];
		float v = value[i] + threshold[l];

		for (j = i; j > 0 && (value[j - 1] < v ||
		     (value[j - 1] == v && latent[j - 1] > l)); j--) {
			value[j] = value[j - 1];
			latent[j] = latent[j - 1];
		}
		value[j] = v;
		latent[j] = l;
	}
}

void tc_codes_free(struct tc_codes *c)
{
	mem_free(c->latent);
	mem_free(c->value);
	*c = (struct tc_codes){ 0 };
}

/* Room for n rows of k slots; the first `rows` rows, of codes->k slots, stay. */
static int reshape(struct tc_codes *c, size_t n, size_t k, size_t rows,
                   struct err *e)
{
	size_t size, i, j, from = c->k;

	if (mem_mul(n, k, &size, e) < 0 ||
	    mem_grow(&c->latent, &c->cap[0], size, sizeof(*c->latent), e) < 0 ||
	    mem_grow(&c->value, &c->cap[1], size, sizeof(*c->value), e) < 0)
		return -1;
	c->n = n;
	c->k = k;
	for (i = rows; i-- > 0; )
		for (j = k; j-- > 0; ) {
			int in = j < from;

			c->latent[i * k + j] = in ? c->latent[i * from + j]
			                          : DEV_TC_NONE;
			c->value[i * k + j] = in ? c->value[i * from + j] : 0;
		}
	return 0;
}

/* Whether some row of [first, first + n) has no slot left. */
static int is_full(const struct tc_codes *c, size_t first, size_t n)
{
	size_t i;

	for (i = first; i < first + n; i++)
		if (c->latent[i * c->k + c->k - 1] != DEV_TC_NONE)
			return 1;
	return 0;
}

/* Rows [first, first + n), which the encoder sees as x, with as many slots as
 * codes has. */
static int encode_pass(const struct tc *t, const struct shifted *s,
                       const float *x, size_t first, size_t n,
                       struct tc_codes *codes, struct err *e)
{
	struct dev_tc_codes c;
	size_t k = codes->k, at = first * k, j;
	int rc = -1;

	if (pass_new(t, n, k, &c, e) == 0 &&
	    ops(t)->tc->encode(t->dev, x, n, t->cfg.d_in, t->w_enc,
	                       s->bias ? s->bias : t->b_enc, t->cfg.n_latents,
	                       NULL, &c, e) == 0 &&
	    ops(t)->get(t->dev, codes->latent + at, c.latent,
	                n * k * sizeof(*c.latent), e) == 0)
		rc = ops(t)->get(t->dev, codes->value + at, c.value,
		                 n * k * sizeof(*c.value), e);
	pass_free(t, &c);
	for (j = 0; rc == 0 && s->bias && j < n; j++)
		tc_add_thresholds(s->threshold, codes->latent + at + j * k,
		                  codes->value + at + j * k, k);
	return rc;
}

int tc_encode(const struct tc *t, const float *x, size_t n, size_t k,
              struct tc_codes *codes, struct err *e)
{
	struct dev *d = t->dev;
	size_t d_in = t->cfg.d_in, lat = t->cfg.n_latents, i, m;
	int open = !k && t->threshold;	/* to as many as there are */
	struct shifted s = { NULL, NULL };
	float *centred = NULL;
	int rc = -1;

	if ((open && shift(t, &s, e) < 0) ||
	    reshape(codes, n, k ? k : tc_slots(&t->cfg), 0, e) < 0)
		goto done;
	if (!t->cfg.transcode) {
		m = n < PASS_ROWS ? n : PASS_ROWS;
		centred = ops(t)->alloc(d, m * d_in * sizeof(float), e);
		if (!centred)
			goto done;
	}
	for (i = 0; i < n; i += m) {
		const float *in = x + i * d_in;

		m = n - i < PASS_ROWS ? n - i : PASS_ROWS;
		if (centred) {
			if (ops(t)->tc->centre(d, in, NULL, m, d_in, t->b_dec,
			                       1, centred, e) < 0)
				goto done;
			in = centred;
		}
		if (encode_pass(t, &s, in, i, m, codes, e) < 0)
			goto done;
		while (open && codes->k < lat && is_full(codes, i, m))
			if (reshape(codes, n, codes->k < lat / 2 ? 2 * codes->k
			            : lat, i, e) < 0 ||
			    encode_pass(t, &s, in, i, m, codes, e) < 0)
				goto done;
	}
	rc = 0;
done:
	ops(t)->release(d, centred);
	ops(t)->release(d, s.bias);
	mem_free(s.threshold);
	return rc;
}

int tc_decode(const struct tc *t, const float *x,
              const struct tc_codes *codes, float *out, struct err *e)
{
	struct dev *d = t->dev;
	size_t d_in = t->cfg.d_in, d_out = t->cfg.d_out, k = codes->k, i, m;
	struct dev_tc_codes c;
	int rc = -1;

	if (pass_new(t, codes->n, k, &c, e) < 0)
		goto done;
	for (i = 0; i < codes->n; i += m) {
		float *to = out + i * d_out;

		m = codes->n - i < PASS_ROWS ? codes->n - i : PASS_ROWS;
		c.n = m;
		if (ops(t)->put(d, c.latent, codes->latent + i * k,
		                m * k * sizeof(*c.latent), e) < 0 ||
		    ops(t)->put(d, c.value, codes->value + i * k,
		                m * k * sizeof(*c.value), e) < 0 ||
		    ops(t)->tc->fill_rows(d, t->b_dec, m, d_out, to, e) < 0)
			goto done;
		if (t->w_skip &&
		    ops(t)->gemm(d, 0, 1, m, d_out, d_in, 1, x + i * d_in,
		                 d_in, t->w_skip, d_in, 1, to, d_out, e) < 0)
			goto done;
		if (ops(t)->tc->decode(d, &c, t->w_dec, d_out, to, e) < 0)
			goto done;
	}
	rc = 0;
done:
	pass_free(t, &c);
	return rc;
}
