/* safetensors from memory: opened, then every value of every tensor read. */
#include <stddef.h>
#include <stdint.h>

#include "safet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t seen = 0;
	volatile uint8_t sink;
	struct err e = { 0 };
	struct safet *s = safet_parse(data, n, "fuzz", &e);
	size_t i, j;

	if (!s)
		return 0;
	for (i = 0; i < safet_count(s); i++) {
		const struct tensor *t = safet_at(s, i);

		for (j = 0; j < t->n_bytes; j++)
			seen ^= ((const uint8_t *)t->data)[j];
		if (safet_find(s, t->name) != t)
			__builtin_trap();
	}
	sink = seen;	/* so that the reads are not dropped */
	(void)sink;
	safet_meta(s, "format");
	safet_free(s);
	return 0;
}
