/* Any bytes token by token, read in pieces of different sizes: the same tokens
 * each time, brackets in pairs, and where jansson reads one value, so does
 * this. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "json_pull.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct bytes {
	const uint8_t *data;
	size_t n, step;
};

static int64_t feed(void *ctx, void *buf, size_t n, struct err *e)
{
	struct bytes *b = ctx;

	(void)e;
	n = n < b->n ? n : b->n;
	n = n < b->step ? n : b->step;
	if (n)
		memcpy(buf, b->data, n);
	b->data += n;
	b->n -= n;
	return (int64_t)n;
}

struct tokens {
	uint64_t hash;
	size_t n, values;	/* values at the top */
	int rc;
};

static struct tokens read_all(const uint8_t *data, size_t n, size_t step,
                              int skip)
{
	struct bytes b = { data, n, step };
	struct err e = { 0 };
	struct json_pull *p = json_pull_new(feed, &b, "fuzz", &e);
	struct tokens out = { 0 };
	struct json_pull_token t;
	int depth = 0;

	while (p && (out.rc = json_pull_next(p, &t, &e)) == 1) {
		size_t i;

		out.values += depth == 0;
		if (skip) {
			if (json_pull_skip(p, &t, &e) < 0) {
				out.rc = -1;
				break;
			}
			continue;
		}
		depth += t.kind == JSON_PULL_OBJECT || t.kind == JSON_PULL_ARRAY;
		depth -= t.kind == JSON_PULL_END_OBJECT ||
		         t.kind == JSON_PULL_END_ARRAY;
		if (depth < 0 || t.text[t.n])
			abort();
		out.n++;
		out.hash = out.hash * 31 + t.kind;
		for (i = 0; i < t.n; i++)
			out.hash = out.hash * 31 + (unsigned char)t.text[i];
	}
	if (out.rc == 0 && depth)
		abort();
	if (out.rc < 0 && e.code != ERR_FORMAT)
		abort();
	json_pull_free(p);
	return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct tokens whole = read_all(data, n, n + 1, 0);
	struct tokens bytes = read_all(data, n, 1, 0);
	struct tokens skipped = read_all(data, n, 7, 1);
	json_t *j = json_loadb((const char *)data, n, JSON_DECODE_ANY |
	                       JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);

	if (whole.rc != bytes.rc || whole.n != bytes.n ||
	    whole.hash != bytes.hash)
		abort();
	/* what is skipped is looked at less closely, never more */
	if (whole.rc == 0 && (skipped.rc || skipped.values != whole.values))
		abort();
	/* jansson reads to a depth of 2048, and takes a NUL for the end */
	if (j && !memchr(data, 0, n) && (whole.rc || whole.values != 1) && n < 2 * JSON_PULL_DEPTH)
		abort();
	json_decref(j);
	return 0;
}
