/* Any bytes, plain or zstd, as latents/1: blocks, and the sequences they are
 * put together to. */
#include <math.h>

#include "feat.h"
#include "memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static volatile uint64_t sum;	/* so that every value read is looked at */

static void look(const struct rec_latents_head *h, const struct rec_latents *x)
{
	uint32_t k, j;
	size_t i;

	if (!x->t.n || x->pos + x->t.n > h->tokens.n_ctx || !x->t.n_docs ||
	    x->t.docs[0].at)
		abort();
	for (i = 0; i < x->t.n; i++)
		sum += x->t.ids[i] + (x->t.mask ? x->t.mask[i] : 0);
	for (i = 0; i < x->t.n_docs; i++)
		if (x->t.docs[i].at >= x->t.n)
			abort();
	for (k = 0; k < h->n_layers; k++)
		for (i = 0; i < x->t.n; i++)
			for (j = x->start[k][i]; j < x->start[k][i + 1]; j++)
				if (x->latent[k][j] >= h->n_latents ||
				    !(x->value[k][j] > 0) ||
				    !isfinite(x->value[k][j]))
					abort();
}

static int sequence(void *ctx, const struct rec_latents *x, struct err *e)
{
	(void)e;
	if (x->pos || !x->last)
		abort();
	look(ctx, x);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct rec_latents_head h;
	struct rec_latents b;
	struct err e = { 0 };
	struct rec_latents_in *in;
	struct feat_join *join;
	char path[64];
	int fd = memory_file(data, n, path);

	in = rec_latents_open(path, &h, &e);
	join = in ? feat_join_new(&h, sequence, &h, &e) : NULL;
	while (join && rec_latents_read(in, &b, &e) == 1) {
		look(&h, &b);
		if (feat_join_add(join, &b, &e) < 0)
			break;
	}
	feat_join_free(join);
	rec_latents_close(in);
	close(fd);
	return 0;
}
