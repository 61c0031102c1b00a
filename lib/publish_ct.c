/* circuit-tracer's features/: a packed file for each layer, and their index. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "gz.h"
#include "mem.h"
#include "publish_impl.h"

enum {
	HIST = 50,		/* bars of the histogram */
	AT_ONCE = 64		/* records compressed side by side */
};

struct record {
	struct text json;
	char *packed;
	size_t n;
	struct err err;
};

struct ct {
	struct publish_opt o;
	uint32_t n_strata;
	struct file_out *bin;	/* of the layer at hand, or NULL */
	uint64_t at;
	struct gz_out *index;
	int n_layers;		/* begun */
	struct record rec[AT_ONCE];
	size_t n;		/* of these waiting */
};

void *publish_ct_new(const struct publish_opt *o, struct err *e)
{
	struct ct *c = mem_array(1, sizeof(*c), e);

	if (c)
		c->o = *o;
	return c;
}

void publish_ct_free(void *ctx)
{
	struct ct *c = ctx;
	size_t i;

	if (!c)
		return;
	for (i = 0; i < AT_ONCE; i++) {
		mem_free(c->rec[i].json.s);
		mem_free(c->rec[i].packed);
	}
	file_out_free(c->bin);
	gz_out_free(c->index);
	mem_free(c);
}

/* ---- a record ---- */

/* Whether the context has been among the first n. */
static int seen(const struct examples_one *list, size_t n,
                const struct examples_one *x)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (list[i].seq == x->seq && list[i].pos == x->pos &&
		    list[i].origin == x->origin)
			return 1;
	return 0;
}

static int put_example(const struct ct *c, struct text *t,
                       const struct examples_one *x, int again,
                       struct err *e)
{
	return text_str(t, "{\"tokens\":", e) |
	       publish_put_tokens(t, c->o.tok, x->ids, x->n, PUBLISH_HEX, e) |
	       text_str(t, ",\"tokens_acts_list\":", e) |
	       publish_put_reals(t, x->acts, x->n, e) |
	       text_str(t, ",\"train_token_ind\":", e) |
	       publish_put_int(t, x->at, e) |
	       text_str(t, again ? ",\"is_repeated_datapoint\":true}"
	                         : ",\"is_repeated_datapoint\":false}", e);
}

/* The strongest, then the sample from its strongest group on. */
static int put_quantiles(const struct ct *c, struct text *t,
                         const struct examples_latent *l, struct err *e)
{
	const struct examples_one *top = l->list[EXAMPLES_TOP];
	const struct examples_one *x = l->list[EXAMPLES_SAMPLE];
	size_t n_top = l->n[EXAMPLES_TOP], n = l->n[EXAMPLES_SAMPLE], i;
	uint32_t of = c->n_strata;
	char name[96];
	int rc = 0;

	if (n_top)
		rc = text_str(t, "{\"quantile_name\":\"Top\",\"examples\":[", e);
	for (i = 0; rc == 0 && i < n_top; i++)
		rc = (i ? text_add(t, ",", 1, e) : 0) |
		     put_example(c, t, &top[i], 0, e);
	if (n_top)
		rc |= text_str(t, "]}", e);
	for (i = 0; rc == 0 && i < n; i++) {
		uint32_t s = x[i].stratum;

		if (i && s == x[i - 1].stratum) {
			rc = text_add(t, ",", 1, e);
		} else {
			snprintf(name, sizeof(name), "%s{\"quantile_name\":"
			         "\"Firings %.4g-%.4g %%\",\"examples\":[",
			         i ? "]}," : n_top ? "," : "", 100.0 * s / of,
			         100.0 * (s + 1) / of);
			rc = text_str(t, name, e);
		}
		rc |= put_example(c, t, &x[i], seen(top, n_top, &x[i]), e);
	}
	return rc | (n ? text_str(t, "]}", e) : 0);
}

static int put_numbers(struct text *t, const struct examples_latent *l,
                       struct err *e)
{
	double bin[HIST];
	int rc, i;

	rc = text_str(t, ",\"act_min\":0,\"act_max\":", e) |
	     publish_put_real(t, (double)l->s.max, e) |
	     text_str(t, ",\"quantile_values\":[", e);
	for (i = 1; l->s.n_fired && i < 100; i++)
		rc |= (i > 1 ? text_add(t, ",", 1, e) : 0) |
		      publish_put_real(t, examples_quantile(&l->s, i / 100.0),
		                       e);
	rc |= text_str(t, "],\"histogram\":[", e);
	publish_hist(&l->s, bin, HIST);
	for (i = 0; i < HIST; i++)
		rc |= (i ? text_add(t, ",", 1, e) : 0) |
		      publish_put_real(t, bin[i], e);
	return rc | text_str(t, "],\"activation_frequency\":", e) |
	       publish_put_real(t, l->d.frequency, e);
}

static int put_record(const struct ct *c, struct text *t,
                      const struct examples_latent *l, struct err *e)
{
	char id[64];

	t->n = 0;
	snprintf(id, sizeof(id), "/layer_%u\",\"index\":%u,", l->layer,
	         l->latent);
	if (text_str(t, "{\"transcoder_id\":", e) < 0 ||
	    publish_put_str(t, c->o.name, strlen(c->o.name), PUBLISH_REPLACE,
	                    e) < 0)
		return -1;
	t->n--;			/* the name's closing quote */
	return text_str(t, id, e) |
	       text_str(t, "\"examples_quantiles\":[", e) |
	       put_quantiles(c, t, l, e) |
	       text_str(t, "],\"top_logits\":", e) |
	       publish_put_tokens(t, c->o.tok, l->top_id, l->n_logits,
	                          PUBLISH_HEX, e) |
	       text_str(t, ",\"bottom_logits\":", e) |
	       publish_put_tokens(t, c->o.tok, l->bottom_id, l->n_logits,
	                          PUBLISH_HEX, e) |
	       put_numbers(t, l, e) | text_str(t, "}", e);
}

/* ---- files ---- */

static int put_index(struct ct *c, const char *s, struct err *e)
{
	return gz_out_write(c->index, s, strlen(s), e);
}

static void pack_one(void *ctx, size_t i, int thread)
{
	struct ct *c = ctx;
	struct record *r = &c->rec[i];

	(void)thread;
	gz_pack(GZ_ZLIB, r->json.s, r->json.n, &r->packed, &r->n, &r->err);
}

static int flush(struct ct *c, struct err *e)
{
	size_t n = c->n, i;
	char offset[32];
	int rc = 0;

	c->n = 0;
	par_for(c->o.par, n, pack_one, c);
	for (i = 0; i < n; i++) {
		struct record *r = &c->rec[i];
		unsigned char len[4] = {
			(unsigned char)r->n, (unsigned char)(r->n >> 8),
			(unsigned char)(r->n >> 16),
			(unsigned char)(r->n >> 24)
		};

		if (rc == 0 && !r->packed) {
			*e = r->err;
			rc = -1;
		}
		if (rc == 0) {
			rc = file_out_write(c->bin, c->at, len, 4, e) |
			     file_out_write(c->bin, c->at + 4, r->packed,
			                    r->n, e);
			c->at += 4 + r->n;
			snprintf(offset, sizeof(offset), ",%llu",
			         (unsigned long long)c->at);
			rc |= put_index(c, offset, e);
		}
		mem_free(r->packed);
		r->packed = NULL;
	}
	return rc;
}

/* An index of an earlier run would not fit the files to come. */
static int begin(void *ctx, const struct examples_head *h, struct err *e)
{
	struct ct *c = ctx;
	char *path = mem_printf(e, "%s/index.json.gz", c->o.out);
	int rc = -1;

	c->n_strata = h->n_strata;
	if (path && file_mkdirs(c->o.out, e) == 0) {
		if (unlink(path) < 0 && errno != ENOENT)
			err_sys(e, "%s", path);
		else if ((c->index = gz_out_new(path, e)))
			rc = put_index(c, "{", e);
	}
	mem_free(path);
	return rc;
}

static int begin_layer(struct ct *c, uint32_t layer, struct err *e)
{
	char *path = mem_printf(e, "%s/layer_%u.bin", c->o.out, layer);
	char entry[96];

	c->bin = path ? file_out_new(path, e) : NULL;
	mem_free(path);
	c->at = 0;
	snprintf(entry, sizeof(entry), "%s\"%u\":{\"filename\":\"layer_%u.bin\","
	         "\"offsets\":[0", c->n_layers++ ? "," : "", layer, layer);
	return c->bin ? put_index(c, entry, e) : -1;
}

static int latent(void *ctx, const struct examples_latent *l, struct err *e)
{
	struct ct *c = ctx;

	if (!c->bin && begin_layer(c, l->layer, e) < 0)
		return -1;
	if (put_record(c, &c->rec[c->n].json, l, e) < 0)
		return -1;
	return ++c->n < AT_ONCE ? 0 : flush(c, e);
}

static int layer(void *ctx, const struct examples_layer *l, struct err *e)
{
	struct ct *c = ctx;

	(void)l;
	if (flush(c, e) < 0 || file_out_commit(c->bin, e) < 0)
		return -1;
	file_out_free(c->bin);
	c->bin = NULL;
	return put_index(c, "]}", e);
}

static int end(void *ctx, struct err *e)
{
	struct ct *c = ctx;

	return put_index(c, "}\n", e) < 0 ? -1 : gz_out_commit(c->index, e);
}

struct feat_sink publish_ct_sink(void *ctx)
{
	return (struct feat_sink){ begin, latent, layer, end, ctx };
}
