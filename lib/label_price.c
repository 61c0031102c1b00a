/* What answers cost. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "label_wire.h"
#include "map.h"

/* Tokens of what surrounds a request's text, and of answers. */
enum {
	AROUND = 20, LABEL_TOKENS = 160, BITS_TOKENS = 12, BIT_TOKENS = 2,
	SCHEMA_TOKENS = 150
};
#define BYTES_PER_TOKEN 3.5

/* One line "model input cache_write cache_read output batch". */
static int read_line(const char *line, size_t n, char name[128],
                     struct label_price *p)
{
	char copy[256];

	if (n >= sizeof(copy))
		return -1;
	memcpy(copy, line, n);
	copy[n] = 0;
	if (copy[strspn(copy, " \t\r")] == 0 || copy[0] == '#')
		return 0;
	if (sscanf(copy, "%127s %lf %lf %lf %lf %lf", name, &p->input,
	           &p->cache_write, &p->cache_read, &p->output,
	           &p->batch) != 6 ||
	    !(p->input >= 0 && p->cache_write >= 0 && p->cache_read >= 0 &&
	      p->output >= 0 && p->batch >= 0 && p->batch <= 1))
		return -1;
	return 1;
}

static int look_up(const char *text, size_t n, const char *from,
                   const char *model, struct label_price *best,
                   struct err *e)
{
	const char *p = text, *end = text + n;
	size_t longest = 0, at = 0;
	struct label_price one;
	char name[128];

	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		int got = read_line(p, (size_t)((nl ? nl : end) - p), name,
		                    &one);

		at++;
		if (got < 0)
			return err_set(e, ERR_FORMAT, "%s: line %zu: wanted a "
			               "model, four prices and a factor up to 1",
			               from, at);
		if (got && strlen(name) > longest &&
		    !strncmp(model, name, strlen(name))) {
			longest = strlen(name);
			*best = one;
		}
		p = nl ? nl + 1 : end;
	}
	return longest > 0;
}

int label_price(const char *path, const char *model, struct label_price *p,
                struct err *e)
{
	struct map m = { 0 };
	const char *text;
	size_t n;
	int rc;

	*p = (struct label_price){ .batch = 1 };
	if (!path) {
		text = label_builtin("prices", &n);
		return look_up(text, n, "prices", model, p, e);
	}
	if (map_open(&m, path, e) < 0)
		return -1;
	rc = look_up(m.data ? (const char *)m.data : "", m.n, path, model, p,
	             e);
	map_close(&m);
	return rc;
}

double label_price_of(const struct label_price *p, const struct label_usage *u,
                      int batch)
{
	return 1e-6 * (batch ? p->batch : 1) *
	       (p->input * (double)u->input +
	        p->cache_write * (double)u->cache_write +
	        p->cache_read * (double)u->cache_read +
	        p->output * (double)u->output);
}

struct label_usage label_price_guess(const struct label_ask *a)
{
	size_t bytes = strlen(a->system) + strlen(a->user), i;
	struct label_usage u = { .output = LABEL_TOKENS };

	if (a->form == LABEL_FORM_NEAR) {
		u.output = 0;
		for (i = 0; i < a->n_items; i++)
			bytes += a->item[i].n;
	} else if (a->form == LABEL_FORM_BITS) {
		u.output = (int64_t)(BITS_TOKENS + BIT_TOKENS * a->n_items);
	}
	u.input = (int64_t)((double)bytes / BYTES_PER_TOKEN) +
	          (u.output ? AROUND + SCHEMA_TOKENS : 0);
	return u;
}
