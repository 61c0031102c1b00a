/* dev_none: stands where the CUDA backend would, in a build without nvcc. */
#include "dev_impl.h"

struct dev *dev_cuda_new(int n_threads, struct err *e)
{
	(void)n_threads;
	err_set(e, ERR_DEV, "no CUDA device: this program was built without "
	        "nvcc; use --device cpu, or install CUDA and build again");
	return NULL;
}
