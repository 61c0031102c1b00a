#include "dev.h"

#include <string.h>

#include "dev_impl.h"

struct dev *dev_open(const char *name, int n_threads, struct err *e)
{
	if (strcmp(name, "cpu") == 0)
		return dev_cpu_new(n_threads, e);
	if (strcmp(name, "cuda") == 0)
		return dev_cuda_new(n_threads, e);
	err_set(e, ERR_DEV, "no device '%s': cpu or cuda", name);
	return NULL;
}

void dev_free(struct dev *d)
{
	if (d)
		d->free(d);
}

const struct dev_ops *dev_ops(const struct dev *d)
{
	return d->ops;
}

void dev_set_precision(struct dev *d, const char *name)
{
	d->ops->precision(d, strcmp(name, "q8") == 0 ? DEV_Q8
	                     : strcmp(name, "exact") == 0 ? DEV_EXACT : DEV_Q16);
}

struct par *dev_par(const struct dev *d)
{
	return d->pool;
}
