/*
 * dev_impl: what the backends share and nobody else sees. A backend embeds
 * struct dev as its first member and fills the tables.
 */
#ifndef R1_DEV_IMPL_H
#define R1_DEV_IMPL_H

#include "dev.h"
#include "vec.h"

struct dev {
	const struct dev_ops *ops;
	struct par *pool;
	void (*free)(struct dev *d);
};

/* dev_cpu.c */
struct dev *dev_cpu_new(int n_threads, struct err *e);
/* dev_none.c, or a CUDA backend in its place */
struct dev *dev_cuda_new(int n_threads, struct err *e);

#endif
