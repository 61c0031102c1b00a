/* Any bytes through the walk, the unpacker, JSON and back. */
#include <stdlib.h>
#include <string.h>

#include "mpk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct mpk_scan piecewise = { 0 }, whole = { 0 };
	struct err e = { 0 }, f = { 0 };
	struct mpk m = { 0 };
	size_t i, a = 0, b = 0;
	int one, got = 0;

	/* The walk gives the same verdict whole and byte by byte. */
	one = mpk_scan(&whole, data, n, 1 << 20, &a, &e);
	for (i = 0; i <= n && got == 0; i++)
		got = mpk_scan(&piecewise, data, i, 1 << 20, &b, &f);
	if (one != got || (one == 1 && a != b))
		abort();
	if (one == 1 && mpk_parse(&m, data, a, &e) == 0) {
		json_t *j = mpk_to_json(m.root, &e);

		if (j) {
			struct mpk_out o;
			struct mpk back = { 0 };
			json_t *k = NULL;

			mpk_out_init(&o);
			if (mpk_put_json(&o, j, &e) == 0 &&
			    mpk_parse(&back, (uint8_t *)o.buf.data,
			              o.buf.size, &e) == 0)
				k = mpk_to_json(back.root, &e);
			if (!k || !json_equal(j, k))
				abort();
			json_decref(k);
			mpk_free(&back);
			mpk_out_free(&o);
		}
		json_decref(j);
	}
	mpk_free(&m);
	return 0;
}
