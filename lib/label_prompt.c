/* Prompts: files in parts. */
#include <string.h>

#include "label.h"
#include "map.h"
#include "mem.h"
#include "sha256.h"

static int is_path(const char *name)
{
	size_t n = strlen(name);

	return strchr(name, '/') || (n > 4 && !strcmp(name + n - 4, ".txt"));
}

/* The lines between `mark` and the next mark or the end; for mem_free. NULL, with
 * e set unless it is NULL, when there are none. */
static char *part_of(const char *text, size_t n, const char *mark,
                     const char *name, struct err *e)
{
	const char *p = text, *end = text + n, *from = NULL, *to = end;
	size_t n_mark = strlen(mark);

	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		size_t len = (size_t)((nl ? nl : end) - p);

		if (from && *p == '@') {
			to = p;
			break;
		}
		if (len == n_mark && !memcmp(p, mark, len))
			from = nl ? nl + 1 : end;
		p = nl ? nl + 1 : end;
	}
	if (!from) {
		err_set(e, ERR_FORMAT, "%s: has no line %s", name, mark);
		return NULL;
	}
	while (to > from && to[-1] == '\n')
		to--;
	if (to == from) {
		err_set(e, ERR_FORMAT, "%s: nothing follows %s", name, mark);
		return NULL;
	}
	return mem_strndup(from, (size_t)(to - from), e);
}

static int read_prompt(struct label_prompt *p, const char *name,
                       const char *text, size_t n, int own, struct err *e)
{
	char hex[SHA256_HEX];
	const char *base = strrchr(name, '/');
	size_t len;

	p->begin[0] = part_of(text, n, "@explanation", name, NULL);
	p->begin[1] = part_of(text, n, "@label", name, NULL);
	p->candidate = part_of(text, n, "@candidate", name, NULL);
	p->given = part_of(text, n, "@given", name, NULL);
	if (p->given && !(p->plain = part_of(text, n, "@plain", name, e)))
		return -1;
	p->query = part_of(text, n, "@query", name, NULL);
	base = base ? base + 1 : name;
	len = strlen(base);
	if (sha256_bytes(text, n, hex, e) < 0 ||
	    (!p->query && (!(p->system = part_of(text, n, "@system", name, e)) ||
	                   !(p->user = part_of(text, n, "@user", name, e)))))
		return -1;
	if (own && len > 4 && !strcmp(base + len - 4, ".txt"))
		len -= 4;
	p->version = own ? mem_printf(e, "%.*s@%.8s", (int)len, base, hex)
	                 : mem_strdup(name, e);
	return p->version ? 0 : -1;
}

int label_prompt_open(struct label_prompt *p, const char *name, struct err *e)
{
	struct map m = { 0 };
	const char *text;
	size_t n;
	int rc;

	*p = (struct label_prompt){ 0 };
	if (is_path(name)) {
		if (map_open(&m, name, e) < 0)
			return -1;
		text = m.data ? (const char *)m.data : "";
		n = m.n;
	} else if (!(text = label_builtin(name, &n)) ||
	           !strcmp(name, "prices")) {
		return err_set(e, ERR_USAGE, "no prompt '%s': name one that is "
		               "built in (labeler(1)) or a file NAME.txt",
		               name);
	}
	rc = read_prompt(p, name, text, n, is_path(name), e);
	map_close(&m);
	if (rc < 0)
		label_prompt_free(p);
	return rc;
}

void label_prompt_free(struct label_prompt *p)
{
	mem_free(p->version);
	mem_free(p->system);
	mem_free(p->user);
	mem_free(p->query);
	mem_free(p->begin[0]);
	mem_free(p->begin[1]);
	mem_free(p->given);
	mem_free(p->plain);
	mem_free(p->candidate);
	*p = (struct label_prompt){ 0 };
}

int label_plan_prompts(struct label_plan *p,
                       const char *const given[LABEL_KINDS], enum label_by by,
                       struct err *e)
{
	static const char *const usual[][LABEL_KINDS] = {
		[LABEL_BY_LARGE] = { "v1", "detect", "fuzz", "embed" },
		[LABEL_BY_SMALL] = { "small", "detect-small", "fuzz-small",
		                     "embed" },
		[LABEL_BY_RULE] = { "tokens", "tokens", "tokens", "embed" }
	};
	size_t items = 2 * p->n_test, asks;
	int i;

	for (i = 0; i < LABEL_KINDS; i++) {
		const char *name = given[i] ? given[i] : usual[by][i];

		if (label_prompt_open(&p->prompt[i], name, e) < 0)
			return -1;
		if (!p->prompt[i].query != (i != LABEL_EMBED))
			return err_set(e, ERR_USAGE, "%s: is %sa prompt for "
			               "embeddings", name,
			               i == LABEL_EMBED ? "not " : "");
	}
	/* what is measured is compared with each other */
	if (by == LABEL_BY_SMALL && items && (p->prompt[LABEL_DETECT].given ||
	                                      p->prompt[LABEL_FUZZ].given)) {
		asks = (items + LABEL_ITEMS_MAX - 1) / LABEL_ITEMS_MAX;
		p->per_ask = (items + asks - 1) / asks;
	}
	return 0;
}
