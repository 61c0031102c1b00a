/* Which latents are asked about, and with which of their contexts. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "label_run.h"
#include "map.h"
#include "mem.h"
#include "ranges.h"

enum { LOGITS_KEPT = 10 };

static uint64_t hash3(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t z = a * 0x9e3779b97f4a7c15u + b * 0xc2b2ae3d27d4eb4fu + c;
	int i;

	for (i = 0; i < 2; i++) {
		z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
		z = (z ^ z >> 27) * 0x94d049bb133111ebu;
		z ^= z >> 31;
	}
	return z;
}

/* ---- contexts ---- */

/* A copy of x, cut to `window` tokens around its peak, three quarters of them
 * in front. */
static int add_ctx(struct label_ctxs *l, const struct examples_one *x,
                   size_t window, struct err *e)
{
	struct label_ctx c = { .seq = x->seq, .doc = x->doc, .n = x->n,
	                       .at = x->at, .value = x->value,
	                       .stratum = x->stratum };
	uint32_t from = 0, front;

	if (window && c.n > window) {
		front = (uint32_t)(window - window / 4 - 1);
		from = c.at > front ? c.at - front : 0;
		if (from > c.n - window)
			from = c.n - (uint32_t)window;
		c.n = (uint32_t)window;
		c.at -= from;
	}
	c.pos = x->pos - x->at + from;
	if (mem_grow(&l->c, &l->cap, l->n + 1, sizeof(*l->c), e) < 0 ||
	    !(c.ids = mem_array(c.n, sizeof(*c.ids), e)))
		return -1;
	memcpy(c.ids, x->ids + from, c.n * sizeof(*c.ids));
	if (x->acts) {
		if (!(c.acts = mem_array(c.n, sizeof(*c.acts), e))) {
			mem_free(c.ids);
			return -1;
		}
		memcpy(c.acts, x->acts + from, c.n * sizeof(*c.acts));
	}
	l->c[l->n++] = c;
	return 0;
}

/* Whether x shares tokens with a context of l. */
static int overlaps(const struct label_ctxs *l, const struct examples_one *x)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		const struct label_ctx *c = &l->c[i];
		uint32_t from = x->pos - x->at;

		if (c->seq == x->seq && from < c->pos + c->n &&
		    c->pos < from + x->n)
			return 1;
	}
	return 0;
}

/* In an order of their own, so that the first n are of all strengths. */
static void shuffle(struct label_ctxs *l, uint64_t seed)
{
	size_t i, j;

	for (i = l->n; i > 1; i--) {
		struct label_ctx t = l->c[i - 1];

		j = (size_t)(hash3(seed, i, 1) % i);
		l->c[i - 1] = l->c[j];
		l->c[j] = t;
	}
}

/* Two thirds of what is shown are the strongest, the rest of all strengths;
 * what is tested on was not shown and is of all strengths. */
static int choose_ctxs(struct label_feature *f,
                       const struct examples_latent *l,
                       const struct label_pick *p, struct err *e)
{
	const struct examples_one *top = l->list[EXAMPLES_TOP];
	const struct examples_one *sam = l->list[EXAMPLES_SAMPLE];
	const struct examples_one *off = l->list[EXAMPLES_RANDOM];
	size_t n_top = l->n[EXAMPLES_TOP], n_sam = l->n[EXAMPLES_SAMPLE];
	size_t lead = (2 * p->n_show + 2) / 3, step, i;

	for (i = 0; i < n_top && f->show.n < lead; i++)
		if (add_ctx(&f->show, &top[i], p->window, e) < 0)
			return -1;
	step = n_sam / (p->n_show - lead + 1) + 1;
	for (i = 0; i < n_sam && f->show.n < p->n_show; i += step)
		if (!overlaps(&f->show, &sam[i]) &&
		    add_ctx(&f->show, &sam[i], p->window, e) < 0)
			return -1;
	/* a rare latent has no such sample */
	for (i = lead; i < n_top && f->show.n < p->n_show; i++)
		if (!overlaps(&f->show, &top[i]) &&
		    add_ctx(&f->show, &top[i], p->window, e) < 0)
			return -1;
	for (i = 0; i < n_sam; i++)
		if (!overlaps(&f->show, &sam[i]) && !overlaps(&f->on, &sam[i]) &&
		    add_ctx(&f->on, &sam[i], p->window, e) < 0)
			return -1;
	shuffle(&f->on, f->order);
	while (f->on.n > 2 * p->n_test) {
		f->on.n--;
		mem_free(f->on.c[f->on.n].ids);
		mem_free(f->on.c[f->on.n].acts);
	}
	for (i = 0; i < n_top && f->on.n < 2 * p->n_test; i++)
		if (!overlaps(&f->show, &top[i]) && !overlaps(&f->on, &top[i]) &&
		    add_ctx(&f->on, &top[i], p->window, e) < 0)
			return -1;
	for (i = 0; i < l->n[EXAMPLES_RANDOM] && f->off.n < p->n_test; i++)
		if (add_ctx(&f->off, &off[i], p->window, e) < 0)
			return -1;
	return 0;
}

static uint32_t *copy_ids(const uint32_t *ids, size_t n, struct err *e)
{
	uint32_t *out = mem_array(n, sizeof(*out), e);

	if (out && n)
		memcpy(out, ids, n * sizeof(*out));
	return out;
}

static int make_feature(struct label_feature *f,
                        const struct examples_latent *l,
                        const struct label_pick *p, struct err *e)
{
	size_t n = l->n_logits < LOGITS_KEPT ? l->n_logits : LOGITS_KEPT, i;

	*f = (struct label_feature){
		.layer = l->layer, .id = l->latent,
		.frequency = l->d.frequency, .max = (double)l->s.max,
		.n_promoted = n, .n_suppressed = n,
		.order = hash3(p->seed, l->layer, l->latent)
	};
	for (i = 0; i < 4; i++)
		f->share[i] = l->d.share[i];
	if (!(f->promoted = copy_ids(l->top_id, n, e)) ||
	    !(f->suppressed = copy_ids(l->bottom_id, n, e)) ||
	    choose_ctxs(f, l, p, e) < 0) {
		label_feature_free(f);
		return -1;
	}
	return 0;
}

/* ---- the list ---- */

struct list {
	uint64_t *key;		/* layer << 32 | latent, ascending */
	size_t n, cap;
};

static int by_key(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int read_list(struct list *l, const char *path, struct err *e)
{
	FILE *f = fopen(path, "r");
	char line[256], rest;
	unsigned layer, latent;
	size_t at = 0;
	int rc = 0, got;

	if (!f)
		return err_sys(e, "%s", path);
	while (rc == 0 && fgets(line, sizeof(line), f)) {
		at++;
		got = sscanf(line, " %u%*[ \t,:]%u %c", &layer, &latent, &rest);
		if (got == EOF || line[0] == '#')
			continue;
		if (got != 2)
			rc = err_set(e, ERR_FORMAT, "%s: line %zu: wanted a "
			             "layer and a latent", path, at);
		else if ((rc = mem_grow(&l->key, &l->cap, l->n + 1,
		                        sizeof(*l->key), e)) == 0)
			l->key[l->n++] = (uint64_t)layer << 32 | latent;
	}
	if (rc == 0 && ferror(f))
		rc = err_sys(e, "%s", path);
	fclose(f);
	if (l->n)
		qsort(l->key, l->n, sizeof(*l->key), by_key);
	return rc;
}

/* ---- reading ---- */

struct picker {
	struct label_set *s;
	const struct label_pick *p;
	uint8_t layer[REC_MAX_LAYERS];	/* wanted */
	struct list list;
	size_t first;		/* of s->f: where the current layer begins */
	uint32_t now;		/* the current layer */
};

static int wanted(const struct picker *k, const struct examples_latent *l)
{
	uint64_t key = (uint64_t)l->layer << 32 | l->latent;

	if (l->layer >= REC_MAX_LAYERS || !k->layer[l->layer])
		return 0;
	return !k->p->list || (k->list.n &&
	       bsearch(&key, k->list.key, k->list.n, sizeof(key), by_key));
}

/* Room for one more of the layer: where it goes, or NULL with *full when the
 * sample is better without. */
static struct label_feature *place(struct picker *k, uint64_t order, int *full,
                                   struct err *e)
{
	struct label_set *s = k->s;
	size_t i, worst;

	*full = 0;
	if (!k->p->per_layer || s->n - k->first < k->p->per_layer)
		return mem_grow(&s->f, &s->cap, s->n + 1, sizeof(*s->f), e) < 0
		       ? NULL : &s->f[s->n++];
	for (worst = i = k->first; i < s->n; i++)
		if (s->f[i].order > s->f[worst].order)
			worst = i;
	if (order >= s->f[worst].order) {
		*full = 1;
		return NULL;
	}
	label_feature_free(&s->f[worst]);
	memmove(&s->f[worst], &s->f[worst + 1],
	        (s->n - worst - 1) * sizeof(*s->f));
	return &s->f[s->n - 1];
}

static int offer(struct picker *k, const struct examples_latent *l,
                 struct err *e)
{
	struct label_set *s = k->s;
	struct label_feature *f;
	int full;

	s->n_seen++;
	if (l->layer != k->now) {
		k->now = l->layer;
		k->first = s->n;
	}
	if (!wanted(k, l))
		return 0;
	if (!l->s.n_fired) {
		if (mem_grow(&s->dead, &s->cap_dead, s->n_dead + 1,
		             sizeof(*s->dead), e) < 0)
			return -1;
		s->dead[s->n_dead][0] = l->layer;
		s->dead[s->n_dead++][1] = l->latent;
		return 0;
	}
	if (l->d.frequency < k->p->min_frequency || !l->n[EXAMPLES_TOP])
		return 0;
	f = place(k, hash3(k->p->seed, l->layer, l->latent), &full, e);
	if (!f)
		return full ? 0 : -1;
	*f = (struct label_feature){ 0 };
	return make_feature(f, l, k->p, e);
}

static int layers_of(struct picker *k, const struct examples_head *h,
                     struct err *e)
{
	int most = (int)h->layers[h->n_layers - 1] + 1, *all, n, i;

	if (!(all = mem_array((size_t)most, sizeof(*all), e)))
		return -1;
	n = ranges_parse(k->p->layers, most, all, e);
	for (i = 0; i < n; i++)
		k->layer[all[i]] = 1;
	mem_free(all);
	return n < 0 ? -1 : 0;
}

int label_set_read(struct label_set *s, struct examples_in *r,
                   const struct examples_head *h, const struct label_pick *p,
                   const struct tok *t, struct label_db *d, struct err *e)
{
	struct picker k = { .s = s, .p = p, .now = UINT32_MAX };
	const json_t *prov = json_object_get(stream_header(examples_stream(r)),
	                                     "prov");
	struct examples_rec x;
	int got = -1;

	if (layers_of(&k, h, e) < 0 ||
	    (p->list && read_list(&k.list, p->list, e) < 0) ||
	    (d && (label_db_begin(d, e) < 0 || label_db_head(d, h, prov, e) < 0)))
		goto done;
	while ((got = examples_read(r, &x, e)) > 0) {
		if (x.what != EXAMPLES_LATENT)
			continue;
		if (offer(&k, &x.latent, e) < 0 ||
		    (d && label_db_latent(d, &x.latent, t, e) < 0)) {
			got = -1;
			break;
		}
	}
	if (got == 0 && d)
		got = label_db_commit(d, e);
done:
	if (got < 0 && d)
		label_db_rollback(d);
	mem_free(k.list.key);
	return got;
}

/* One context n times. */
static int repeat(struct label_ctxs *l, const struct examples_one *x, size_t n,
                  size_t window, struct err *e)
{
	while (l->n < n)
		if (add_ctx(l, x, window, e) < 0)
			return -1;
	return 0;
}

int label_set_assume(struct label_set *s, const struct label_pick *p,
                     size_t window, struct err *e)
{
	struct examples_one x = { .n = (uint32_t)window,
	                          .at = (uint32_t)(window * 3 / 4),
	                          .value = 1 };
	uint32_t *ids = mem_array(window, sizeof(*ids), e);
	float *acts = mem_array(window, sizeof(*acts), e);
	struct label_feature *f;
	int rc = -1;

	if (!ids || !acts ||
	    mem_grow(&s->f, &s->cap, 1, sizeof(*s->f), e) < 0)
		goto done;
	acts[x.at] = 1;
	x.ids = ids;
	x.acts = acts;
	f = &s->f[s->n++];
	*f = (struct label_feature){ .max = 1, .frequency = 0.01,
	                             .share = { .2, .6, .2 },
	                             .n_promoted = LOGITS_KEPT,
	                             .n_suppressed = LOGITS_KEPT };
	if ((f->promoted = mem_array(LOGITS_KEPT, sizeof(uint32_t), e)) &&
	    (f->suppressed = mem_array(LOGITS_KEPT, sizeof(uint32_t), e)) &&
	    repeat(&f->show, &x, p->n_show, p->window, e) == 0 &&
	    repeat(&f->on, &x, 2 * p->n_test, p->window, e) == 0 &&
	    repeat(&f->off, &x, p->n_test, p->window, e) == 0)
		rc = 0;
done:
	mem_free(ids);
	mem_free(acts);
	return rc;
}

void label_set_free(struct label_set *s)
{
	size_t i;

	for (i = 0; i < s->n; i++)
		label_feature_free(&s->f[i]);
	mem_free(s->f);
	mem_free(s->dead);
	*s = (struct label_set){ 0 };
}
