/* Any bytes as tokenizer.json (or, by its magic, as a GGUF); what opens encodes
 * a text. */
#include "memory.h"
#include "mem.h"
#include "tok.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char text[] = "a hi  abc \xc3\xa9<s> e\xcc\x81 12\n\xff xx";
	struct err e = { 0 };
	uint32_t *ids = NULL;
	size_t n_ids = 0, cap = 0, n_text = 0, cap_text = 0;
	char path[64], *back = NULL;
	struct tok_work *w;
	struct tok *t;
	int fd = memory_file(data, n, path);

	t = tok_open(path, &e);
	if (!t && (!e.code || !e.msg[0]))
		abort();	/* an error must say what is wrong */
	if (t && (w = tok_work_new(t, &e))) {
		if (tok_encode(t, w, text, sizeof(text) - 1,
		               TOK_SPECIAL | TOK_ADD, &ids, &n_ids, &cap,
		               &e) == 0)
			tok_decode(t, ids, n_ids, 1, &back, &n_text, &cap_text,
			           &e);
		tok_work_free(w);
	}
	mem_free(ids);
	mem_free(back);
	tok_free(t);
	close(fd);
	return 0;
}
