/* Targets as command lines name them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attrgraph.h"
#include "mem.h"

int attrgraph_position(const char *text, size_t n, size_t *pos, struct err *e)
{
	char *end;
	long long v = strtoll(text, &end, 10);

	if (!*text || *end)
		return err_set(e, ERR_USAGE, "--at '%s': wanted a number", text);
	if (v < 0)
		v += (long long)n;
	if (v < 0 || (size_t)v >= n)
		return err_set(e, ERR_USAGE, "--at %s: the prompt has positions "
		               "0 to %zu", text, n - 1);
	*pos = (size_t)v;
	return 0;
}

static int target_diff(struct attr *a, const struct tok *t, size_t pos,
                       const char *text, struct err *e)
{
	const char *mid = strstr(text, "//");
	uint32_t more, less;
	char *first;
	int rc;

	if (!mid)
		return err_set(e, ERR_USAGE, "--diff '%s': wanted two tokens, "
		               "A//B", text);
	if (!(first = mem_strndup(text, (size_t)(mid - text), e)))
		return -1;
	rc = attrgraph_token(t, first, &more, e) < 0 ||
	     attrgraph_token(t, mid + 2, &less, e) < 0 ||
	     attr_target_diff(a, pos, more, less, e) < 0 ? -1 : 0;
	mem_free(first);
	return rc;
}

static int target_feature(struct attr *a, size_t pos, const char *text,
                          struct err *e)
{
	unsigned layer, latent;
	int n = 0;

	if (sscanf(text, "%9u:%9u%n", &layer, &latent, &n) != 2 || text[n])
		return err_set(e, ERR_USAGE, "--feature '%s': wanted LAYER:"
		               "LATENT", text);
	return attr_target_feature(a, layer, latent, pos, e);
}

int attrgraph_target(struct attr *a, const struct tok *t,
                     const struct attrgraph_targets *w, size_t pos,
                     struct err *e)
{
	uint32_t id;
	size_t i;

	for (i = 0; i < w->n_tokens; i++)
		if (attrgraph_token(t, w->token[i], &id, e) < 0 ||
		    attr_target_token(a, pos, id, e) < 0)
			return -1;
	for (i = 0; i < w->n_diffs; i++)
		if (target_diff(a, t, pos, w->diff[i], e) < 0)
			return -1;
	for (i = 0; i < w->n_features; i++)
		if (target_feature(a, pos, w->feature[i], e) < 0)
			return -1;
	if (w->n_tokens || w->n_diffs || w->n_features)
		return 0;
	return attr_target_top(a, pos, w->max_logits, w->desired_prob, e);
}
