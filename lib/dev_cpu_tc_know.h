/*
 * dev_cpu_tc_know: the values of many rows' candidates, latent by latent.
 *
 * Row by row, each value would fetch a row of w from far away, for one product.
 * Rows share candidates: of as many rows as stay in the last cache, each thread
 * orders some by latent, and then takes some latents for all of them. So w is
 * read twice, once up and once down, which finds the end of it still near.
 *
 * First the k, or a few more, whose lower bounds set the bar are computed. What
 * they are is about the bounds' width more than what they are at least, and so
 * much the bar rises: of the candidates beyond k half need not be computed.
 */
#ifndef R1_DEV_CPU_TC_KNOW_H
#define R1_DEV_CPU_TC_KNOW_H

#include "dev_cpu_tc_pick.h"

/* Bytes of memory wanted for q's rows, aligned as floats are. */
size_t dev_cpu_tc_know_bytes(const struct tc_encode *q);

/* Drops what is below the bars of all q->n rows, and computes, of the candidates
 * left, those whose bounds differ: low = up = value. */
void dev_cpu_tc_know(const struct tc_encode *q, struct tc_pick *pick,
                     void *memory);

#endif
