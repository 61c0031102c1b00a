/* Any bytes, plain or zstd, as examples/1: all that a record points to is looked
 * at, and what its readers take for granted is checked. */
#include <math.h>

#include "examples.h"
#include "memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static volatile uint64_t sum;	/* so that every value read is looked at */

static void one(const struct examples_head *h, const struct examples_one *x,
                int has_acts)
{
	uint32_t i;

	if (x->at >= x->n || x->mask >= EXAMPLES_MASKS)
		abort();
	for (i = 0; i < x->n; i++) {
		if (x->ids[i] >= h->tokens.n_vocab)
			abort();
		if (has_acts && !(x->acts[i] >= 0 && isfinite(x->acts[i])))
			abort();
	}
	if (has_acts && !(x->value > 0))
		abort();
	sum += x->seq + x->doc + x->pos + x->stratum;
}

static void latent(const struct examples_head *h,
                   const struct examples_latent *l)
{
	size_t i, j;

	if (l->latent >= h->n_latents || l->s.n_fired > h->n_positions)
		abort();
	for (i = 0; i < EXAMPLES_LISTS; i++)
		for (j = 0; j < l->n[i]; j++)
			one(h, &l->list[i][j], i != EXAMPLES_RANDOM);
	for (i = 0; i < l->n_logits; i++)
		if (l->top_id[i] >= h->tokens.n_vocab ||
		    l->bottom_id[i] >= h->tokens.n_vocab ||
		    !isfinite(l->top_logit[i]) || !isfinite(l->bottom_logit[i]))
			abort();
	for (i = 0; i < l->n_near; i++)
		if (l->near_id[i] >= h->n_latents || !isfinite(l->near_cos[i]))
			abort();
	for (i = 0; i < EXAMPLES_QUANTILES; i++)
		if (!(l->d.quantile[i] >= 0) ||
		    (i && l->d.quantile[i] < l->d.quantile[i - 1]))
			abort();
	if (!(l->d.frequency >= 0 && l->d.frequency <= 1))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct examples_head h;
	struct examples_rec x;
	struct err e = { 0 };
	struct examples_in *in;
	char path[64];
	int fd = memory_file(data, n, path);
	uint32_t k;
	size_t i;

	in = examples_open(path, &h, &e);
	while (in && examples_read(in, &x, &e) == 1) {
		switch (x.what) {
		case EXAMPLES_CONTEXT:
			one(&h, &x.context.one, 0);
			for (k = 0; k < h.n_layers; k++)
				for (i = 0; i < (h.n_latents + 7ul) / 8; i++)
					sum += x.context.fired[k][i];
			break;
		case EXAMPLES_LATENT:
			latent(&h, &x.latent);
			break;
		case EXAMPLES_LAYER:
			for (i = 0; i <= h.k; i++)
				sum += x.layer.l0[i];
			break;
		}
	}
	examples_close(in);
	examples_head_free(&h);
	close(fd);
	return 0;
}
