/* examples_impl: what lib/examples*.c share. */
#ifndef R1_EXAMPLES_IMPL_H
#define R1_EXAMPLES_IMPL_H

#include "examples.h"
#include "rec_impl.h"

/* Bytes of a bit for each latent. */
static inline size_t examples_bits(const struct examples_head *h)
{
	return ((size_t)h->n_latents + 7) / 8;
}

/* The header's members into h; the inverse of examples_header. */
int examples_head_read(const json_t *j, struct examples_head *h,
                       struct err *e);

#endif
