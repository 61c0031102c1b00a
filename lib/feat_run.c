#include "feat.h"

#include <string.h>

#include "feat_impl.h"
#include "mem.h"

/* A sequence waiting, with its own copies. */
struct waiting {
	struct rec_tokens t;
	struct rec_doc *docs;
	char *source;
	uint8_t *mask;
};

struct feat_run {
	struct model *m;
	const struct eval_set *set;
	uint32_t skip;
	feat_seq_fn *fn;
	void *ctx;
	struct model_run *run;
	size_t room;		/* rows */
	uint64_t left;		/* batches until one of this shard */
	uint64_t n_shards;
	/* the batch */
	uint32_t *ids;		/* [room] */
	size_t *start;		/* [room + 1] */
	struct waiting *seq;	/* [room] */
	size_t n_rows;		/* of all its sequences */
	size_t n_seqs;		/* kept: none when it is another shard's */
	struct tc_codes *codes;	/* [layers], of the batch */
	int n_taken;
	/* one sequence of it */
	struct rec_latents out;
	size_t row;		/* its first */
	uint32_t *csr_start, *csr_latent;
	float *csr_value;
	size_t csr_cap[2];
};

static void run_drop(struct feat_run *r)
{
	size_t i;

	for (i = 0; i < r->n_seqs; i++) {
		mem_free(r->seq[i].docs);
		mem_free(r->seq[i].source);
		mem_free(r->seq[i].mask);
	}
	r->n_rows = r->n_seqs = 0;
}

struct feat_run *feat_run_new(struct model *m, const struct eval_set *set,
                              uint32_t skip, size_t n_rows, uint64_t shard,
                              uint64_t n_shards, feat_seq_fn *fn, void *ctx,
                              struct err *e)
{
	struct feat_run *r = mem_array(1, sizeof(*r), e);
	int k;

	if (!r)
		return NULL;
	r->m = m;
	r->set = set;
	r->skip = skip;
	r->fn = fn;
	r->ctx = ctx;
	r->room = n_rows;
	r->left = shard;
	r->n_shards = n_shards;
	if (!(r->run = model_run_new(m, n_rows, e)) ||
	    !(r->ids = mem_array(n_rows, sizeof(*r->ids), e)) ||
	    !(r->start = mem_array(n_rows + 1, sizeof(*r->start), e)) ||
	    !(r->seq = mem_array(n_rows, sizeof(*r->seq), e)) ||
	    !(r->codes = mem_array((size_t)set->n, sizeof(*r->codes), e)) ||
	    !(r->csr_start = mem_array((n_rows + 1) * (size_t)set->n,
	                               sizeof(*r->csr_start), e)))
		goto fail;
	for (k = 0; k < set->n; k++)
		r->out.start[k] = r->csr_start + (size_t)k * (n_rows + 1);
	r->out.last = 1;
	return r;
fail:
	feat_run_free(r);
	return NULL;
}

void feat_run_free(struct feat_run *r)
{
	int k;

	if (!r)
		return;
	run_drop(r);
	for (k = 0; r->codes && k < r->set->n; k++)
		tc_codes_free(&r->codes[k]);
	mem_free(r->codes);
	mem_free(r->csr_start);
	mem_free(r->csr_latent);
	mem_free(r->csr_value);
	mem_free(r->seq);
	mem_free(r->start);
	mem_free(r->ids);
	model_run_free(r->run);
	mem_free(r);
}

static int take(void *ctx, int layer, const float *x, float *y, size_t n,
                struct err *e)
{
	struct feat_run *r = ctx;
	const struct tc *t;

	if (r->n_taken == r->set->n || layer != r->set->layer[r->n_taken])
		return 0;
	t = r->set->tc[r->n_taken];
	/* an autoencoder is one of the MLP's output */
	return tc_encode(t, t->cfg.transcode ? x : y, n, 0,
	                 &r->codes[r->n_taken++], e);
}

/* The codes of the sequence at hand as offsets and ascending latents. */
static void sort_layer(void *ctx, size_t k, int thread)
{
	struct feat_run *r = ctx;
	const struct tc_codes *c = &r->codes[k];
	uint32_t *start = (uint32_t *)(uintptr_t)r->out.start[k];
	uint32_t *latent = (uint32_t *)(uintptr_t)r->out.latent[k];
	float *value = (float *)(uintptr_t)r->out.value[k];
	size_t i, j, at, n = 0;

	(void)thread;
	start[0] = 0;
	for (i = 0; i < r->out.t.n; i++) {
		const uint32_t *from = c->latent + (r->row + i) * c->k;
		const float *v = c->value + (r->row + i) * c->k;

		for (j = 0; i >= r->skip && j < c->k && v[j] > 0; j++) {
			for (at = n++; at > start[i] && latent[at - 1] > from[j];
			     at--) {
				latent[at] = latent[at - 1];
				value[at] = value[at - 1];
			}
			latent[at] = from[j];
			value[at] = v[j];
		}
		start[i + 1] = (uint32_t)n;
	}
}

/* Room for the batch's codes by sequence, and where each layer's go. */
static int place_codes(struct feat_run *r, struct err *e)
{
	size_t all = 0;
	int k;

	for (k = 0; k < r->set->n; k++)
		all += r->codes[k].n * r->codes[k].k;
	if (mem_grow(&r->csr_latent, &r->csr_cap[0], all, sizeof(uint32_t),
	             e) < 0 ||
	    mem_grow(&r->csr_value, &r->csr_cap[1], all, sizeof(float), e) < 0)
		return -1;
	for (all = 0, k = 0; k < r->set->n; k++) {
		r->out.latent[k] = r->csr_latent + all;
		r->out.value[k] = r->csr_value + all;
		all += r->codes[k].n * r->codes[k].k;
	}
	return 0;
}

int feat_run_end(struct feat_run *r, struct err *e)
{
	struct model_batch b = { r->ids, r->n_rows, r->start, r->n_seqs };
	int last = r->set->n - 1;
	size_t i;

	r->left = r->left ? r->left - 1 : r->n_shards - 1;
	if (r->n_seqs == 0) {
		r->n_rows = 0;
		return 0;
	}
	r->n_taken = 0;
	if ((r->set->tc[last]->cfg.transcode ? model_forward_reads
	                                     : model_forward)
	    (r->run, &b, r->set->layer[last], take, r, e) < 0 ||
	    place_codes(r, e) < 0)
		return -1;
	for (i = 0; i < r->n_seqs; i++) {
		r->row = r->start[i];
		r->out.t = r->seq[i].t;
		r->out.t.ids = r->ids + r->row;
		par_for(dev_par(model_dev(r->m)), (size_t)r->set->n,
		        sort_layer, r);
		if (r->fn(r->ctx, &r->out, e) < 0)
			return -1;
	}
	run_drop(r);
	return 0;
}

int feat_run_add(struct feat_run *r, const struct rec_tokens *t,
                 struct err *e)
{
	struct waiting *w;

	if (t->n > r->room)
		return err_set(e, ERR_RANGE, "a sequence of %zu tokens, there "
		               "is room for %zu", t->n, r->room);
	if (r->n_rows + t->n > r->room && feat_run_end(r, e) < 0)
		return -1;
	if (r->left) {
		r->n_rows += t->n;
		return 0;
	}
	w = &r->seq[r->n_seqs];
	memset(w, 0, sizeof(*w));
	r->start[r->n_seqs++] = r->n_rows;
	if (!(w->docs = mem_array(t->n_docs, sizeof(*w->docs), e)) ||
	    !(w->source = mem_strdup(t->source, e)) ||
	    (t->mask && !(w->mask = mem_scratch(t->n, 1, e))))
		return -1;
	memcpy(w->docs, t->docs, t->n_docs * sizeof(*w->docs));
	if (t->mask)
		memcpy(w->mask, t->mask, t->n);
	memcpy(r->ids + r->n_rows, t->ids, t->n * sizeof(*r->ids));
	w->t = *t;
	w->t.docs = w->docs;
	w->t.source = w->source;
	w->t.mask = w->mask;
	r->n_rows += t->n;
	r->start[r->n_seqs] = r->n_rows;
	return 0;
}
