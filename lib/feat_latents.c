/* Sequences as the blocks of latents/1, and back. */
#include <string.h>

#include "feat.h"
#include "feat_impl.h"
#include "mem.h"

enum { BLOCK_BYTES = 4 << 20 };	/* of a record, about */

/* ---- blocks into sequences ---- */

struct feat_join {
	struct rec_latents_head head;
	feat_seq_fn *fn;
	void *ctx;
	struct rec_latents out;
	uint32_t *ids;
	struct rec_doc *docs;
	uint8_t *mask;
	char *source;
	size_t cap_ids, cap_docs, cap_mask;
	uint32_t *start[REC_MAX_LAYERS], *latent[REC_MAX_LAYERS];
	float *value[REC_MAX_LAYERS];
	size_t cap[REC_MAX_LAYERS][3];
	size_t n, n_docs;
	int has_mask;
};

struct feat_join *feat_join_new(const struct rec_latents_head *h,
                                feat_seq_fn *fn, void *ctx, struct err *e)
{
	struct feat_join *j = mem_array(1, sizeof(*j), e);

	if (!j)
		return NULL;
	j->head = *h;
	j->fn = fn;
	j->ctx = ctx;
	return j;
}

void feat_join_free(struct feat_join *j)
{
	uint32_t k;

	if (!j)
		return;
	for (k = 0; k < j->head.n_layers; k++) {
		mem_free(j->start[k]);
		mem_free(j->latent[k]);
		mem_free(j->value[k]);
	}
	mem_free(j->ids);
	mem_free(j->docs);
	mem_free(j->mask);
	mem_free(j->source);
	mem_free(j);
}

/* Tokens, documents and masks of block b behind what is there. */
static int join_text(struct feat_join *j, const struct rec_latents *b,
                     struct err *e)
{
	const struct rec_tokens *t = &b->t;
	struct rec_doc *last;
	size_t i;

	if (mem_grow(&j->ids, &j->cap_ids, j->n + t->n, sizeof(*j->ids),
	             e) < 0 ||
	    mem_grow(&j->docs, &j->cap_docs, j->n_docs + t->n_docs,
	             sizeof(*j->docs), e) < 0 ||
	    mem_grow(&j->mask, &j->cap_mask, j->n + t->n, 1, e) < 0)
		return -1;
	memcpy(j->ids + j->n, t->ids, t->n * sizeof(*j->ids));
	if (t->mask)
		memcpy(j->mask + j->n, t->mask, t->n);
	else
		memset(j->mask + j->n, REC_TEXT, t->n);
	j->has_mask |= t->mask != NULL;
	for (i = 0; i < t->n_docs; i++) {
		struct rec_doc d = t->docs[i];

		d.at += (uint32_t)j->n;
		last = j->n_docs ? &j->docs[j->n_docs - 1] : NULL;
		if (i == 0 && last && last->id == d.id &&
		    d.offset == last->offset + (d.at - last->at))
			continue;	/* goes on */
		j->docs[j->n_docs++] = d;
	}
	return 0;
}

static int join_layer(struct feat_join *j, const struct rec_latents *b,
                      uint32_t k, struct err *e)
{
	size_t had = j->n ? j->start[k][j->n] : 0, n = b->start[k][b->t.n], i;

	if (had + n > UINT32_MAX)
		return err_set(e, ERR_RANGE, "sequence %llu: too many active "
		               "latents", (unsigned long long)b->t.seq);
	if (mem_grow(&j->start[k], &j->cap[k][0], j->n + b->t.n + 1,
	             sizeof(uint32_t), e) < 0 ||
	    mem_grow(&j->latent[k], &j->cap[k][1], had + n,
	             sizeof(uint32_t), e) < 0 ||
	    mem_grow(&j->value[k], &j->cap[k][2], had + n, sizeof(float),
	             e) < 0)
		return -1;
	for (i = 0; i <= b->t.n; i++)
		j->start[k][j->n + i] = (uint32_t)had + b->start[k][i];
	if (n) {
		memcpy(j->latent[k] + had, b->latent[k], n * sizeof(uint32_t));
		memcpy(j->value[k] + had, b->value[k], n * sizeof(float));
	}
	return 0;
}

int feat_join_add(struct feat_join *j, const struct rec_latents *b,
                  struct err *e)
{
	struct rec_latents *x = &j->out;
	uint32_t k;

	if (j->n == 0) {
		mem_free(j->source);
		if (!(j->source = mem_strdup(b->t.source, e)))
			return -1;
	}
	if (join_text(j, b, e) < 0)
		return -1;
	for (k = 0; k < j->head.n_layers; k++)
		if (join_layer(j, b, k, e) < 0)
			return -1;
	j->n += b->t.n;
	if (!b->last)
		return 0;
	x->t = (struct rec_tokens){
		.seq = b->t.seq, .ids = j->ids, .n = j->n, .docs = j->docs,
		.n_docs = j->n_docs, .source = j->source,
		.mask = j->has_mask ? j->mask : NULL
	};
	x->last = 1;
	for (k = 0; k < j->head.n_layers; k++) {
		x->start[k] = j->start[k];
		x->latent[k] = j->latent[k];
		x->value[k] = j->value[k];
	}
	j->n = j->n_docs = 0;
	j->has_mask = 0;
	return j->fn(j->ctx, x, e);
}

/* ---- and sequences into blocks ---- */

/* The documents of tokens [from, to), counted from there, into docs. */
static size_t cut_docs(const struct rec_tokens *t, size_t from, size_t to,
                       struct rec_doc *docs)
{
	size_t n = 0, i;

	for (i = 0; i < t->n_docs && t->docs[i].at < to; i++) {
		struct rec_doc d = t->docs[i];

		if (i + 1 < t->n_docs && t->docs[i + 1].at <= from)
			continue;
		if (d.at < from) {
			d.offset += (uint32_t)from - d.at;
			d.at = (uint32_t)from;
		}
		d.at -= (uint32_t)from;
		docs[n++] = d;
	}
	return n;
}

static int write_block(struct stream_out *s, const struct rec_latents_head *h,
                       const struct rec_latents *x, size_t from, size_t to,
                       struct rec_doc *docs, uint32_t *start, struct err *e)
{
	struct rec_latents b = { .pos = (uint32_t)from };
	size_t n = to - from, i;
	uint32_t k;

	b.t = x->t;
	b.last = to == x->t.n;
	b.t.ids += from;
	b.t.n = n;
	if (b.t.mask)
		b.t.mask += from;
	b.t.docs = docs;
	b.t.n_docs = cut_docs(&x->t, from, to, docs);
	for (k = 0; k < h->n_layers; k++) {
		uint32_t *at = start + k * (n + 1), first = x->start[k][from];

		for (i = 0; i <= n; i++)
			at[i] = x->start[k][from + i] - first;
		b.start[k] = at;
		b.latent[k] = x->latent[k] + first;
		b.value[k] = x->value[k] + first;
	}
	return rec_latents_write(s, h, &b, e);
}

int feat_latents_write(struct stream_out *s, const struct rec_latents_head *h,
                       const struct rec_latents *x, struct err *e)
{
	struct rec_doc *docs = mem_array(x->t.n_docs, sizeof(*docs), e);
	uint32_t *start = mem_scratch(h->n_layers * (x->t.n + 1),
	                              sizeof(*start), e);
	size_t from, to, bytes;
	uint32_t k;
	int rc = docs && start ? 0 : -1;

	for (from = 0; rc == 0 && from < x->t.n; from = to) {
		for (bytes = 0, to = from; to < x->t.n &&
		     (to == from || bytes < BLOCK_BYTES); to++) {
			bytes += 5;
			for (k = 0; k < h->n_layers; k++)
				bytes += 4 + 8ul * (x->start[k][to + 1] -
				                    x->start[k][to]);
		}
		rc = write_block(s, h, x, from, to, docs, start, e);
	}
	mem_free(docs);
	mem_free(start);
	return rc;
}
