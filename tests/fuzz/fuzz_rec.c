/* Any bytes, plain or zstd, through the typed readers. */
#include "memory.h"
#include "rec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static volatile uint64_t sum;	/* so that every value read is looked at */

static void tokens(const char *path)
{
	struct err e = { 0 };
	struct rec_tokens_head h;
	struct rec_tokens_in *r = rec_tokens_open(path, &h, &e);
	struct rec_tokens t;
	size_t i;

	while (r && rec_tokens_read(r, &t, &e) == 1) {
		for (i = 0; i < t.n; i++)
			sum += t.ids[i] + (t.mask ? t.mask[i] : 0);
		for (i = 0; i < t.n_docs; i++)
			sum += t.docs[i].at;
	}
	rec_tokens_close(r);
}

static void acts(const char *path)
{
	struct err e = { 0 };
	struct rec_acts_head h;
	struct rec_acts_in *r = rec_acts_open(path, &h, &e);
	struct rec_acts a;
	size_t i, l;

	while (r && rec_acts_read(r, &a, &e) == 1) {
		size_t value = dtype_block_bytes(h.dtype);

		for (l = 0; l < h.n_layers; l++) {
			for (i = 0; i < a.n * h.d_in * value; i++)
				sum += ((const uint8_t *)a.x[l])[i];
			for (i = 0; i < a.n * h.d_out * value; i++)
				sum += ((const uint8_t *)a.y[l])[i];
		}
	}
	rec_acts_close(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char path[64];
	int fd = memory_file(data, n, path);

	tokens(path);
	acts(path);
	close(fd);
	return 0;
}
