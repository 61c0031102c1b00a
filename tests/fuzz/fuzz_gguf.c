/* GGUF from memory: opened, every tensor converted, common keys asked for in
 * every way. */
#include <stddef.h>
#include <stdint.h>

#include "gguf.h"
#include "mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void ask(const struct gguf *g, const char *key)
{
	struct err e = { 0 };
	struct gguf_text *texts;
	int64_t v, *ints;
	double r;
	const char *s;
	size_t n;
	int b;

	gguf_int(g, key, 0, 1000, &v, &e);
	gguf_real(g, key, &r, &e);
	gguf_bool(g, key, &b, &e);
	gguf_str(g, key, &s, &e);
	if (gguf_texts(g, key, &texts, &n, &e) > 0)
		mem_free(texts);
	if (gguf_ints(g, key, &ints, &n, &e) > 0)
		mem_free(ints);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char *const keys[] = {
		"general.alignment", "words", "shorts", "scores", "name", "k"
	};
	static float out[256];
	struct err e = { 0 };
	struct gguf *g = gguf_parse(data, n, "fuzz", &e);
	size_t i, at, step;

	if (!g)
		return 0;
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		ask(g, keys[i]);
	for (i = 0; i < gguf_count(g); i++) {
		const struct tensor *t = gguf_at(g, i);

		step = dtype_block(t->type);
		for (at = 0; at < t->n; at += step)
			if (tensor_f32(t, at, step, out, &e) < 0)
				break;
	}
	gguf_free(g);
	return 0;
}
