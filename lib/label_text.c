/* Files of data/ that are part of the program. The Makefile makes this object
 * anew when one of them changes. */
#include <string.h>

#include "embed.h"
#include "label.h"

#define PROMPT(sym, name) EMBED(sym, "data/prompts/label/" name ".txt")

PROMPT(label_text_v1, "v1");
PROMPT(label_text_v1c, "v1-contexts");
PROMPT(label_text_small, "small");
PROMPT(label_text_detect, "detect");
PROMPT(label_text_fuzz, "fuzz");
PROMPT(label_text_detect_s, "detect-small");
PROMPT(label_text_fuzz_s, "fuzz-small");
PROMPT(label_text_tokens, "tokens");
PROMPT(label_text_embed, "embed");
EMBED(label_text_prices, "data/prices.tsv");

const char *label_builtin(const char *name, size_t *n)
{
	static const struct {
		const char *name, *text, *end;
	} files[] = {
		{ "v1", label_text_v1, label_text_v1_end },
		{ "v1-contexts", label_text_v1c, label_text_v1c_end },
		{ "small", label_text_small, label_text_small_end },
		{ "detect", label_text_detect, label_text_detect_end },
		{ "fuzz", label_text_fuzz, label_text_fuzz_end },
		{ "detect-small", label_text_detect_s,
		  label_text_detect_s_end },
		{ "fuzz-small", label_text_fuzz_s, label_text_fuzz_s_end },
		{ "tokens", label_text_tokens, label_text_tokens_end },
		{ "embed", label_text_embed, label_text_embed_end },
		{ "prices", label_text_prices, label_text_prices_end },
	};
	size_t i;

	for (i = 0; i < sizeof(files) / sizeof(*files); i++)
		if (!strcmp(files[i].name, name)) {
			*n = (size_t)(files[i].end - files[i].text);
			return files[i].text;
		}
	return NULL;
}
