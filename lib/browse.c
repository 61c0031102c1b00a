#include "browse.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "browse_impl.h"
#include "file.h"
#include "mem.h"

enum { ROW_IDS = 4 };	/* tokens that stand for a latent in its row */

struct browse {
	const struct examples_head *h;
	const struct browse_opt *o;
	const char *dir;
	struct text rows, file;		/* a layer's index, a file of latents */
	struct text summaries;		/* of layers, for corpus.js */
	int width;
	uint32_t in_file;	/* latents in it */
	uint32_t n_labelled;	/* of the layer at hand */
};

/* ---- files ---- */

static int put_file(struct browse *b, const char *name, struct text *t,
                    struct err *e)
{
	char *path = mem_printf(e, "%s/data/%s.js", b->dir, name);
	int rc = -1;

	if (path && text_str(t, ")\n", e) == 0 && file_mkparents(path, e) == 0)
		rc = file_write(path, t->s, t->n, e);
	mem_free(path);
	t->n = 0;
	return rc;
}

static int put_vocab(struct browse *b, struct err *e)
{
	struct text t = { 0 };
	uint32_t i, n = b->h->tokens.n_vocab;
	const char *s;
	size_t len;
	int rc = text_str(&t, "R1.vocab([", e);

	for (i = 0; rc == 0 && i < n; i++) {
		s = tok_bytes(b->o->tok, i, &len);
		rc = text_str(&t, i ? "," : "", e);
		if (rc == 0)
			rc = browse_string(&t, s, len, e);
	}
	if (rc == 0 && (rc = text_str(&t, "]", e)) == 0)
		rc = put_file(b, "vocab", &t, e);
	mem_free(t.s);
	return rc;
}

/* ,"key":[...]; trailing zeros left out. */
static int put_counts(struct text *t, const char *key, const uint32_t *v,
                      size_t n, struct err *e)
{
	size_t i;
	int rc = browse_fmt(t, e, ",\"%s\":[", key);

	while (n && !v[n - 1])
		n--;
	for (i = 0; rc == 0 && i < n; i++)
		rc = browse_fmt(t, e, i ? ",%u" : "%u", v[i]);
	return rc < 0 ? -1 : text_str(t, "]", e);
}

static int put_corpus(struct browse *b, struct err *e)
{
	const struct examples_head *h = b->h;
	const struct { const char *key, *value; } words[] = {
		{ "title", b->o->title }, { "model_name", h->model_name },
		{ "model", h->model }, { "transcoders", h->transcoders }
	};
	struct text t = { 0 };
	size_t i;
	int rc = text_str(&t, "R1.corpus({\"v\":1", e);

	for (i = 0; rc == 0 && i < sizeof(words) / sizeof(*words); i++) {
		rc = browse_fmt(&t, e, ",\"%s\":", words[i].key);
		if (rc == 0)
			rc = browse_string(&t, words[i].value,
			                   strlen(words[i].value), e);
	}
	if (rc < 0 ||
	    browse_fmt(&t, e, ",\"n_latents\":%u,\"k\":%u,\"per_file\":%d,"
	               "\"width\":%d,\"positions\":%llu,\"sequences\":%llu,"
	               "\"documents\":%llu,\"skip\":%u", h->n_latents, h->k,
	               BROWSE_PER_FILE, b->width,
	               (unsigned long long)h->n_positions,
	               (unsigned long long)h->n_seqs,
	               (unsigned long long)h->n_docs, h->skip) < 0 ||
	    put_counts(&t, "by_pos", h->count.by_pos, EXAMPLES_POS, e) < 0 ||
	    put_counts(&t, "by_mask", h->count.by_mask, EXAMPLES_MASKS, e) < 0 ||
	    text_str(&t, ",\"layers\":[", e) < 0 ||
	    text_add(&t, b->summaries.s, b->summaries.n, e) < 0 ||
	    text_str(&t, "]}", e) < 0 || put_file(b, "corpus", &t, e) < 0)
		rc = -1;
	mem_free(t.s);
	return rc;
}

static int put_page(struct browse *b, struct err *e)
{
	size_t n;
	char *page = browse_page(b->o->title, &n, e);
	char *path = mem_printf(e, "%s/index.html", b->dir);
	int rc = page && path ? file_write(path, page, n, e) : -1;

	mem_free(page);
	mem_free(path);
	return rc;
}

/* ---- latents ---- */

/* [sequence, document, position, part, rank, stratum, peak's place in the window,
 *  ids, [place, activation, ...]] */
static int put_context(struct browse *b, const struct examples_one *x,
                       struct err *e)
{
	struct text *t = &b->file;
	uint32_t i;
	int any = 0, rc;

	rc = browse_fmt(t, e, "[%llu,%llu,%u,%u,%.3g,%u,%u,\"",
	                (unsigned long long)x->seq, (unsigned long long)x->doc,
	                x->pos, x->mask, (double)x->rank, x->stratum, x->at);
	if (rc < 0 || browse_packed(t, x->ids, x->n, b->width, e) < 0 ||
	    text_str(t, "\",[", e) < 0)
		return -1;
	for (i = 0; rc == 0 && x->acts && i < x->n; i++)
		if (x->acts[i] > 0)
			rc = browse_fmt(t, e, any++ ? ",%u,%.4g" : "%u,%.4g",
			                i, (double)x->acts[i]);
	return rc < 0 ? -1 : text_str(t, "]]", e);
}

/* ,"key":[contexts]: n of them at most, evenly from the list when it is a
 * sample. */
static int put_list(struct browse *b, const char *key,
                    const struct examples_latent *l, enum examples_list list,
                    size_t most, struct err *e)
{
	size_t have = l->n[list], n = have < most ? have : most, i, at;
	int rc = browse_fmt(&b->file, e, ",\"%s\":[", key);

	for (i = 0; rc == 0 && i < n; i++) {
		at = list == EXAMPLES_SAMPLE ? i * have / n : i;
		rc = text_str(&b->file, i ? "," : "", e);
		if (rc == 0)
			rc = put_context(b, &l->list[list][at], e);
	}
	return rc < 0 ? -1 : text_str(&b->file, "]", e);
}

/* ,"key":[id,value,id,value...] */
static int put_pairs(struct text *t, const char *key, const uint32_t *id,
                     const float *v, size_t n, struct err *e)
{
	size_t i;
	int rc = browse_fmt(t, e, ",\"%s\":[", key);

	for (i = 0; rc == 0 && i < n; i++)
		rc = browse_fmt(t, e, i ? ",%u,%.4g" : "%u,%.4g", id[i],
		                (double)v[i]);
	return rc < 0 ? -1 : text_str(t, "]", e);
}

/* ,"h":[first bin, counts...] */
static int put_hist(struct text *t, const uint32_t *hist, struct err *e)
{
	size_t first = 0, end = EXAMPLES_BINS, i;
	int rc;

	while (end && !hist[end - 1])
		end--;
	while (first < end && !hist[first])
		first++;
	rc = browse_fmt(t, e, ",\"h\":[%zu", first);
	for (i = first; rc == 0 && i < end; i++)
		rc = browse_fmt(t, e, ",%u", hist[i]);
	return rc < 0 ? -1 : text_str(t, "]", e);
}

static int put_labels(struct text *t, const struct browse_label *v, size_t n,
                      struct err *e)
{
	size_t i;
	int rc = text_str(t, ",\"L\":[", e);

	for (i = 0; rc == 0 && i < n; i++) {
		rc = text_str(t, i ? "," : "", e);
		if (rc == 0)
			rc = text_str(t, v[i].record, e);
	}
	return rc < 0 ? -1 : text_str(t, "]", e);
}

static int put_latent(struct browse *b, const struct examples_latent *l,
                      const struct browse_label *v, size_t n, struct err *e)
{
	struct text *t = &b->file;
	int i, rc;

	if (!b->in_file)
		rc = browse_fmt(t, e, "R1.latents(%u,%u,[", l->layer,
		                l->latent / BROWSE_PER_FILE);
	else
		rc = text_str(t, ",\n", e);
	if (rc < 0 || browse_fmt(t, e, "{\"i\":%u,\"n\":%llu", l->latent,
	                         (unsigned long long)l->s.n_fired) < 0)
		return -1;
	b->in_file++;
	if (l->s.n_fired) {
		rc = browse_fmt(t, e, ",\"m\":%.4g,\"x\":%.4g,\"e\":[%.4g,%.4g],"
		                "\"q\":[", l->d.mean, (double)l->s.max,
		                l->d.entropy, l->d.entropy_share);
		for (i = 0; rc == 0 && i < EXAMPLES_QUANTILES; i++)
			rc = browse_fmt(t, e, i ? ",%.4g" : "%.4g",
			                l->d.quantile[i]);
		if (rc < 0 || text_str(t, "]", e) < 0 ||
		    put_hist(t, l->s.hist, e) < 0 ||
		    put_counts(t, "p", l->s.count.by_pos, EXAMPLES_POS, e) < 0 ||
		    put_counts(t, "w", l->s.count.by_mask, EXAMPLES_MASKS,
		               e) < 0 ||
		    put_list(b, "T", l, EXAMPLES_TOP, b->o->n_top, e) < 0 ||
		    put_list(b, "S", l, EXAMPLES_SAMPLE, b->o->n_sample, e) < 0)
			return -1;
	}
	if (put_pairs(t, "u", l->top_id, l->top_logit, l->n_logits, e) < 0 ||
	    put_pairs(t, "d", l->bottom_id, l->bottom_logit, l->n_logits,
	              e) < 0 ||
	    put_pairs(t, "c", l->near_id, l->near_cos, l->n_near, e) < 0 ||
	    (n && put_labels(t, v, n, e) < 0))
		return -1;
	return text_str(t, "}", e);
}

/* [the tokens at the strongest peaks, each once] */
static int put_peaks(struct text *t, const struct examples_latent *l,
                     struct err *e)
{
	uint32_t ids[ROW_IDS], n = 0, j;
	size_t i;
	int rc = text_str(t, ",[", e);

	for (i = 0; i < l->n[EXAMPLES_TOP] && n < ROW_IDS; i++) {
		const struct examples_one *x = &l->list[EXAMPLES_TOP][i];

		for (j = 0; j < n && ids[j] != x->ids[x->at]; j++)
			;
		if (j == n)
			ids[n++] = x->ids[x->at];
	}
	for (j = 0; rc == 0 && j < n; j++)
		rc = browse_fmt(t, e, j ? ",%u" : "%u", ids[j]);
	return rc < 0 ? -1 : text_str(t, "]", e);
}

/* [latent, firings, max, peaks, promoted, think, answer, spread, label, tags,
 *  score, quality]; a dead one is [latent]; without a label the last four are
 *  not there. */
static int put_row(struct browse *b, const struct examples_latent *l,
                   const struct browse_label *v, struct err *e)
{
	struct text *t = &b->rows;
	size_t i;
	int rc;

	rc = t->n ? text_str(t, ",\n", e)
	          : browse_fmt(t, e, "R1.layer(%u,{\"rows\":[", l->layer);
	if (rc < 0 || browse_fmt(t, e, "[%u", l->latent) < 0)
		return -1;
	if (l->s.n_fired) {
		if (browse_fmt(t, e, ",%llu,%.4g",
		               (unsigned long long)l->s.n_fired,
		               (double)l->s.max) < 0 ||
		    put_peaks(t, l, e) < 0 || text_str(t, ",[", e) < 0)
			return -1;
		for (i = 0; i < l->n_logits && i < ROW_IDS; i++)
			if (browse_fmt(t, e, i ? ",%u" : "%u", l->top_id[i]) < 0)
				return -1;
		if (browse_fmt(t, e, "],%.3g,%.3g,%.3g",
		               l->d.share[REC_THINK], l->d.share[REC_ANSWER],
		               l->d.entropy_share) < 0)
			return -1;
		if (v && (text_str(t, ",", e) < 0 ||
		          text_str(t, v->row, e) < 0))
			return -1;
	}
	return text_str(t, "]", e);
}

static int end_file(struct browse *b, uint32_t layer, uint32_t number,
                    struct err *e)
{
	char name[32];

	snprintf(name, sizeof(name), "%u/%u", layer, number);
	b->in_file = 0;
	return text_str(&b->file, "]", e) < 0 ? -1
	       : put_file(b, name, &b->file, e);
}

static int take_latent(struct browse *b, const struct examples_latent *l,
                       struct err *e)
{
	size_t n;
	const struct browse_label *v = browse_labels_of(b->o->labels, l->layer,
	                                                l->latent, &n);

	if (put_latent(b, l, v, n, e) < 0 || put_row(b, l, v, e) < 0)
		return -1;
	b->n_labelled += n > 0;
	if (b->in_file < BROWSE_PER_FILE && l->latent + 1 < b->h->n_latents)
		return 0;
	return end_file(b, l->layer, l->latent / BROWSE_PER_FILE, e);
}

/* ---- layers ---- */

static double mean_l0(const struct examples_layer *l, uint32_t k)
{
	double n = 0, sum = 0;
	uint32_t i;

	for (i = 0; i <= k; i++) {
		n += l->l0[i];
		sum += (double)i * l->l0[i];
	}
	return n > 0 ? sum / n : 0;
}

static int take_layer(struct browse *b, const struct examples_layer *l,
                      struct err *e)
{
	struct text *t = &b->rows;
	char name[32];
	size_t i;
	int rc;

	if (browse_fmt(t, e, "],\"dead\":%u", l->n_dead) < 0 ||
	    put_counts(t, "l0", l->l0, (size_t)b->h->k + 1, e) < 0 ||
	    put_counts(t, "freq", l->freq_hist, EXAMPLES_FREQ_BINS, e) < 0 ||
	    put_counts(t, "fired", l->fired_by_pos, EXAMPLES_POS, e) < 0 ||
	    text_str(t, ",\"sum\":[", e) < 0)
		return -1;
	for (rc = 0, i = 0; rc == 0 && i < EXAMPLES_POS; i++)
		rc = browse_fmt(t, e, i ? ",%.4g" : "%.4g",
		                examples_sum_value(&l->sum_by_pos[i]));
	snprintf(name, sizeof(name), "%u/index", l->layer);
	if (rc < 0 || text_str(t, "]}", e) < 0 || put_file(b, name, t, e) < 0)
		return -1;
	t = &b->summaries;
	rc = browse_fmt(t, e, "%s{\"layer\":%u,\"dead\":%u,\"labelled\":%u,"
	                "\"l0\":%.4g", t->n ? "," : "", l->layer, l->n_dead,
	                b->n_labelled, mean_l0(l, b->h->k));
	b->n_labelled = 0;
	return rc < 0 || put_counts(t, "freq", l->freq_hist, EXAMPLES_FREQ_BINS,
	                            e) < 0 ? -1 : text_str(t, "}", e);
}

static int fill(struct browse *b, struct examples_in *in, struct err *e)
{
	struct examples_rec *x = mem_array(1, sizeof(*x), e);
	int got = x && put_vocab(b, e) == 0 ? 1 : -1;

	while (got > 0 && (got = examples_read(in, x, e)) > 0)
		if ((x->what == EXAMPLES_LATENT &&
		     take_latent(b, &x->latent, e) < 0) ||
		    (x->what == EXAMPLES_LAYER &&
		     take_layer(b, &x->layer, e) < 0))
			got = -1;
	mem_free(x);
	return got == 0 && put_corpus(b, e) == 0 ? put_page(b, e) : -1;
}

/* ---- the folder ---- */

/* Whether dir may be written: it is not there, empty, or of ours. */
static int may_replace(const char *dir, struct err *e)
{
	char *ours = mem_printf(e, "%s/data/corpus.js", dir);
	struct stat st;
	int rc = -1;

	if (!ours)
		return -1;
	if (stat(dir, &st) < 0)
		rc = errno == ENOENT ? 0 : err_sys(e, "%s", dir);
	else if (stat(ours, &st) == 0 || rmdir(dir) == 0)
		rc = 0;
	else
		err_set(e, ERR_IO, "%s is there, and is no folder of latents: "
		        "it stays", dir);
	mem_free(ours);
	return rc;
}

/* tmp gets the name dir. */
static int settle(const char *tmp, const char *dir, struct err *e)
{
	char *old = mem_printf(e, "%s.old", dir);
	int rc = -1;

	if (old && file_remove_tree(old, e) == 0) {
		if ((rename(dir, old) < 0 && errno != ENOENT) ||
		    rename(tmp, dir) < 0)
			err_sys(e, "%s: cannot rename to %s", tmp, dir);
		else
			rc = file_remove_tree(old, e);
	}
	mem_free(old);
	return rc;
}

int browse_write(const char *dir, struct examples_in *in,
                 const struct examples_head *h, const struct browse_opt *o,
                 struct err *e)
{
	struct browse b = { .h = h, .o = o,
	                    .width = browse_width(h->tokens.n_vocab) };
	size_t len = strlen(dir);
	char *name, *tmp = NULL;
	int rc = -1;

	while (len > 1 && dir[len - 1] == '/')
		len--;
	if (!(name = mem_strndup(dir, len, e)) ||
	    !(tmp = mem_printf(e, "%s.tmp", name)))
		goto done;
	b.dir = tmp;
	if (may_replace(name, e) < 0 || file_remove_tree(tmp, e) < 0 ||
	    file_mkdirs(tmp, e) < 0)
		goto done;
	rc = fill(&b, in, e);
	if (rc == 0)
		rc = settle(tmp, name, e);
	if (rc < 0)
		(void)file_remove_tree(tmp, NULL);
done:
	mem_free(name);
	mem_free(tmp);
	mem_free(b.rows.s);
	mem_free(b.file.s);
	mem_free(b.summaries.s);
	return rc;
}
