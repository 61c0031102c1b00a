#include "examples.h"

#include "examples_impl.h"

static int put_int(struct mpk_out *o, const char *key, uint64_t v,
                   struct err *e)
{
	return mpk_put_str(o, key, e) | mpk_put_u64(o, v, e);
}

static int put_real(struct mpk_out *o, const char *key, double v,
                    struct err *e)
{
	if (mpk_put_str(o, key, e) < 0)
		return -1;
	return msgpack_pack_double(&o->pk, v) < 0 ?
	       err_set(e, ERR_MEM, "out of memory") : 0;
}

static int put_reals(struct mpk_out *o, const char *key, const double *v,
                     size_t n, struct err *e)
{
	size_t i;
	int rc = mpk_put_str(o, key, e) | mpk_put_array(o, n, e);

	for (i = 0; i < n; i++)
		rc |= msgpack_pack_double(&o->pk, v[i]);
	return rc;
}

static int put_words(struct mpk_out *o, const char *key, const void *v,
                     size_t n, struct err *e)
{
	return mpk_put_str(o, key, e) | mpk_put_bin(o, v, n * 4, e);
}

static int put_sum(struct mpk_out *o, const struct examples_sum *s,
                   struct err *e)
{
	return mpk_put_array(o, 2, e) | mpk_put_u64(o, s->hi, e) |
	       mpk_put_u64(o, s->lo, e);
}

static int put_count(struct mpk_out *o, const struct examples_count *c,
                     struct err *e)
{
	return put_words(o, "by_pos", c->by_pos, EXAMPLES_POS, e) |
	       put_words(o, "by_mask", c->by_mask, EXAMPLES_MASKS, e) |
	       put_words(o, "by_doc", c->by_doc, EXAMPLES_DOCS, e);
}

static size_t one_members(const struct examples_one *x)
{
	return 6u + (x->origin != 0) + (x->acts != NULL);
}

static int put_one(struct mpk_out *o, const struct examples_one *x,
                   struct err *e)
{
	int rc = put_int(o, "seq", x->seq, e) | put_int(o, "doc", x->doc, e) |
	         put_int(o, "pos", x->pos, e) | put_int(o, "at", x->at, e) |
	         put_int(o, "mask", x->mask, e) |
	         put_words(o, "ids", x->ids, x->n, e);

	if (x->origin)
		rc |= put_int(o, "origin", x->origin, e);
	if (x->acts)
		rc |= put_words(o, "acts", x->acts, x->n, e);
	return rc;
}

static int finish(struct mpk_out *o, int rc, struct stream_out *s,
                  struct err *e)
{
	if (rc == 0)
		rc = stream_write(s, o->buf.data, o->buf.size, e);
	mpk_out_free(o);
	return rc;
}

int examples_write_context(struct stream_out *s, const struct examples_head *h,
                           uint32_t number, const struct examples_context *c,
                           struct err *e)
{
	struct mpk_out o;
	uint32_t i;
	int rc;

	mpk_out_init(&o);
	rc = mpk_put_map(&o, 2 + one_members(&c->one), e) |
	     put_int(&o, "context", number, e) | put_one(&o, &c->one, e) |
	     mpk_put_str(&o, "fired", e) | mpk_put_array(&o, h->n_layers, e);
	for (i = 0; i < h->n_layers; i++)
		rc |= mpk_put_bin(&o, c->fired[i], examples_bits(h), e);
	return finish(&o, rc, s, e);
}

static int put_list(struct mpk_out *o, const char *key,
                    const struct examples_one *x, size_t n, struct err *e)
{
	size_t i;
	int rc = mpk_put_str(o, key, e) | mpk_put_array(o, n, e);

	for (i = 0; i < n; i++)
		rc |= mpk_put_map(o, one_members(&x[i]), e) |
		      put_one(o, &x[i], e);
	return rc;
}

/* The span of bins that hold something. */
static int put_hist(struct mpk_out *o, const uint32_t *hist, struct err *e)
{
	size_t first = 0, end = EXAMPLES_BINS;

	while (first < end && !hist[first])
		first++;
	while (end > first && !hist[end - 1])
		end--;
	return put_int(o, "hist_at", first, e) |
	       put_words(o, "hist", hist + first, end - first, e);
}

int examples_write_latent(struct stream_out *s, const struct examples_head *h,
                          const struct examples_latent *l,
                          const uint32_t *random, size_t n_random,
                          struct err *e)
{
	struct examples_derived d;
	struct mpk_out o;
	int rc;

	examples_derive(h, &l->s, &d);
	mpk_out_init(&o);
	rc = mpk_put_map(&o, 26, e) |
	     put_int(&o, "layer", l->layer, e) |
	     put_int(&o, "latent", l->latent, e) |
	     put_int(&o, "fired", l->s.n_fired, e) |
	     put_real(&o, "frequency", d.frequency, e) |
	     put_real(&o, "mean", d.mean, e) |
	     put_real(&o, "max", (double)l->s.max, e) |
	     put_reals(&o, "quantiles", d.quantile, EXAMPLES_QUANTILES, e) |
	     put_reals(&o, "shares", d.share, EXAMPLES_MASKS, e) |
	     put_real(&o, "entropy", d.entropy, e) |
	     put_real(&o, "entropy_share", d.entropy_share, e) |
	     mpk_put_str(&o, "sum", e) | put_sum(&o, &l->s.sum, e) |
	     put_count(&o, &l->s.count, e) | put_hist(&o, l->s.hist, e) |
	     put_list(&o, "top", l->list[EXAMPLES_TOP],
	              l->n[EXAMPLES_TOP], e) |
	     put_list(&o, "spare", l->list[EXAMPLES_SPARE],
	              l->n[EXAMPLES_SPARE], e) |
	     put_list(&o, "sample", l->list[EXAMPLES_SAMPLE],
	              l->n[EXAMPLES_SAMPLE], e) |
	     put_words(&o, "random", random, n_random, e) |
	     put_words(&o, "top_ids", l->top_id, l->n_logits, e) |
	     put_words(&o, "top_logits", l->top_logit, l->n_logits, e) |
	     put_words(&o, "bottom_ids", l->bottom_id, l->n_logits, e) |
	     put_words(&o, "bottom_logits", l->bottom_logit, l->n_logits, e) |
	     put_words(&o, "near", l->near_id, l->n_near, e) |
	     put_words(&o, "near_cos", l->near_cos, l->n_near, e);
	return finish(&o, rc, s, e);
}

int examples_write_layer(struct stream_out *s, const struct examples_head *h,
                         const struct examples_layer *l, struct err *e)
{
	struct mpk_out o;
	int rc, i;

	mpk_out_init(&o);
	rc = mpk_put_map(&o, 6, e) | put_int(&o, "layer", l->layer, e) |
	     put_int(&o, "dead", l->n_dead, e) |
	     put_words(&o, "l0", l->l0, (size_t)h->k + 1, e) |
	     put_words(&o, "freq_hist", l->freq_hist, EXAMPLES_FREQ_BINS, e) |
	     put_words(&o, "fired_by_pos", l->fired_by_pos, EXAMPLES_POS, e) |
	     mpk_put_str(&o, "sum_by_pos", e) |
	     mpk_put_array(&o, EXAMPLES_POS, e);
	for (i = 0; i < EXAMPLES_POS; i++)
		rc |= put_sum(&o, &l->sum_by_pos[i], e);
	return finish(&o, rc, s, e);
}
