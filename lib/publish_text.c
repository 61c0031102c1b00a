/* JSON as text. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "publish_impl.h"

static int add_control(struct text *t, unsigned char c, struct err *e)
{
	char s[8];

	switch (c) {
	case 0: return text_str(t, "\xef\xbf\xbd", e);
	case '\n': return text_str(t, "\\n", e);
	case '\t': return text_str(t, "\\t", e);
	case '\r': return text_str(t, "\\r", e);
	}
	snprintf(s, sizeof(s), "\\u%04x", c);
	return text_str(t, s, e);
}

/* Bytes from s on that go in as they are. */
static size_t plain(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n && (unsigned char)s[i] >= ' ' && s[i] != '"' &&
	       s[i] != '\\' && (unsigned char)s[i] < 0x80)
		i++;
	return i;
}

int publish_put_str(struct text *t, const char *s, size_t n,
                    enum publish_bytes b, struct err *e)
{
	size_t i = 0, j, len;
	char hex[8];
	int rc = text_add(t, "\"", 1, e), got;

	while (rc == 0 && i < n) {
		len = plain(s + i, n - i);
		if (len) {
			rc = text_add(t, s + i, len, e);
		} else if (s[i] == '"' || s[i] == '\\') {
			rc = text_add(t, "\\", 1, e) | text_add(t, s + i, 1, e);
			len = 1;
		} else if ((unsigned char)s[i] < ' ') {
			rc = add_control(t, (unsigned char)s[i], e);
			len = 1;
		} else if ((got = text_utf8(s + i, n - i)) > 0) {
			len = (size_t)got;
			rc = text_add(t, s + i, len, e);
		} else {
			len = (size_t)-got;
			for (j = 0; b == PUBLISH_HEX && rc == 0 && j < len;
			     j++) {
				snprintf(hex, sizeof(hex), "\\\\x%02x",
				         (unsigned char)s[i + j]);
				rc = text_str(t, hex, e);
			}
			if (b == PUBLISH_REPLACE)
				rc = text_str(t, "\xef\xbf\xbd", e);
		}
		i += len;
	}
	return rc == 0 ? text_add(t, "\"", 1, e) : -1;
}

int publish_put_token(struct text *t, const struct tok *k, uint32_t id,
                      enum publish_bytes b, struct err *e)
{
	size_t n;
	const char *s = tok_bytes(k, id, &n);

	return n ? publish_put_str(t, s, n, b, e)
	         : text_str(t, "\"\xef\xbf\xbd\"", e);
}

int publish_put_real(struct text *t, double v, struct err *e)
{
	char s[32];

	if (v == 0)
		return text_add(t, "0", 1, e);
	snprintf(s, sizeof(s), "%.6g", v);
	return text_str(t, s, e);
}

int publish_put_int(struct text *t, int64_t v, struct err *e)
{
	char s[32];

	snprintf(s, sizeof(s), "%lld", (long long)v);
	return text_str(t, s, e);
}

int publish_put_tokens(struct text *t, const struct tok *k,
                       const uint32_t *ids, size_t n, enum publish_bytes b,
                       struct err *e)
{
	int rc = text_add(t, "[", 1, e);
	size_t i;

	for (i = 0; rc == 0 && i < n; i++)
		rc = (i ? text_add(t, ",", 1, e) : 0) |
		     publish_put_token(t, k, ids[i], b, e);
	return rc == 0 ? text_add(t, "]", 1, e) : -1;
}

int publish_put_reals(struct text *t, const float *v, size_t n,
                      struct err *e)
{
	int rc = text_add(t, "[", 1, e);
	size_t i;

	for (i = 0; rc == 0 && i < n; i++)
		rc = (i ? text_add(t, ",", 1, e) : 0) |
		     publish_put_real(t, (double)v[i], e);
	return rc == 0 ? text_add(t, "]", 1, e) : -1;
}

void publish_hist(const struct examples_stats *s, double *bin, size_t n)
{
	double width = (double)s->max / (double)n;
	size_t i, j;

	memset(bin, 0, n * sizeof(*bin));
	for (i = 0; width > 0 && i < EXAMPLES_BINS; i++) {
		double lo = i ? examples_edge((uint32_t)i) : 0;
		double hi = examples_edge((uint32_t)i + 1);

		if (!s->hist[i])
			continue;
		/* the last one takes what lies above it too */
		if (hi > (double)s->max || i == EXAMPLES_BINS - 1)
			hi = (double)s->max;
		if (hi <= lo) {
			bin[n - 1] += s->hist[i];
			continue;
		}
		for (j = (size_t)fmin(lo / width, (double)n - 1);
		     j < n && (double)j * width < hi; j++) {
			double a = fmax(lo, (double)j * width);
			double b = fmin(hi, (double)(j + 1) * width);

			if (b > a)
				bin[j] += s->hist[i] * (b - a) / (hi - lo);
		}
	}
}
