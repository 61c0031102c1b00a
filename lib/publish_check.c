/* Neuronpedia's rules, as its routes feature/upload-batch, model/new,
 * source-set/new and graph/save-to-db state them. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "publish.h"

enum {
	INDEX_MAX = 10000000, LOGITS_MAX = 20, TOKENS_MAX = 1024,
	TEXT_MAX = 512, QUANTILE_MAX = 99999999
};

/* Where in the JSON we are: features[3].activations[0]. */
struct path {
	char s[192];
};

static struct path at(const struct path *p, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static struct path at(const struct path *p, const char *fmt, ...)
{
	struct path out;
	va_list v;
	int n = snprintf(out.s, sizeof(out.s), "%s%s", p ? p->s : "",
	                 p && p->s[0] && fmt[0] != '[' ? "." : "");

	va_start(v, fmt);
	if (n >= 0 && (size_t)n < sizeof(out.s))
		vsnprintf(out.s + n, sizeof(out.s) - (size_t)n, fmt, v);
	va_end(v);
	return out;
}

static const char *type_of(const json_t *v)
{
	if (!v)
		return "nothing";
	switch (json_typeof(v)) {
	case JSON_OBJECT: return "an object";
	case JSON_ARRAY: return "an array";
	case JSON_STRING: return "a string";
	case JSON_INTEGER:
	case JSON_REAL: return "a number";
	case JSON_NULL: return "null";
	default: return "true or false";
	}
}

static int bad(const struct path *p, const char *wanted, const json_t *v,
               struct err *e)
{
	if (json_is_string(v))
		return err_set(e, ERR_FORMAT, "%s: wanted %s, found \"%.40s\"",
		               p->s, wanted, json_string_value(v));
	if (json_is_number(v))
		return err_set(e, ERR_FORMAT, "%s: wanted %s, found %.9g",
		               p->s, wanted, json_number_value(v));
	if (json_is_array(v))
		return err_set(e, ERR_FORMAT, "%s: wanted %s, found %zu of "
		               "them", p->s, wanted, json_array_size(v));
	return err_set(e, ERR_FORMAT, "%s: wanted %s, found %s", p->s, wanted,
	               type_of(v));
}

/* Characters as JavaScript counts them: UTF-16 units. */
static size_t js_length(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) == 0x80 ? 0
		     : (unsigned char)*s >= 0xf0 ? 2 : 1;
	return n;
}

static int is_whole(const json_t *v)
{
	return json_is_number(v) &&
	       json_number_value(v) == floor(json_number_value(v));
}

/* obj[key] as a number in lo..hi; missing or null: only when optional. */
static int check_number(const json_t *obj, const char *key, double lo,
                        double hi, int whole, int optional,
                        const struct path *p, struct err *e)
{
	const json_t *v = json_object_get(obj, key);
	struct path here = at(p, "%s", key);
	char wanted[80];
	double d;

	if (optional && (!v || json_is_null(v)))
		return 0;
	d = json_is_number(v) ? json_number_value(v) : NAN;
	if (d >= lo && d <= hi && (!whole || is_whole(v)))
		return 0;
	if (isinf(lo))
		snprintf(wanted, sizeof(wanted), isinf(hi) ? "a%s number"
		         : "a%s number up to %.9g", whole ? " whole" : "", hi);
	else
		snprintf(wanted, sizeof(wanted), "a%s number from %.9g to %.9g",
		         whole ? " whole" : "", lo, hi);
	return bad(&here, wanted, v, e);
}

/* obj[key] as a list of min to max items; absent or null only when min is
 * SIZE_MAX (then of any number up to max). */
static int check_list(const json_t *obj, const char *key, size_t min,
                      size_t max, const json_t **out, const struct path *p,
                      struct err *e)
{
	const json_t *v = json_object_get(obj, key);
	struct path here = at(p, "%s", key);
	char wanted[64];

	*out = NULL;
	if (min == SIZE_MAX && (!v || json_is_null(v)))
		return 0;
	*out = v;
	if (json_is_array(v) && json_array_size(v) <= max &&
	    (min == SIZE_MAX || json_array_size(v) >= min))
		return 0;
	if (min == SIZE_MAX)
		snprintf(wanted, sizeof(wanted), "at most %zu", max);
	else
		snprintf(wanted, sizeof(wanted), "an array of %zu to %zu", min,
		         max);
	return bad(&here, wanted, v, e);
}

static int check_logits(const json_t *f, const char *key,
                        const struct path *p, struct err *e)
{
	struct path here = at(p, "%s", key), one;
	const json_t *list, *v, *tok;
	size_t i;

	if (check_list(f, key, SIZE_MAX, LOGITS_MAX, &list, p, e) < 0)
		return -1;
	json_array_foreach(list, i, v) {
		one = at(&here, "[%zu]", i);
		tok = json_object_get(v, "token");
		if (!json_is_string(tok) || !json_string_length(tok)) {
			one = at(&one, "token");
			return bad(&one, "a text that is not empty", tok, e);
		}
		if (check_number(v, "value", -INFINITY, INFINITY, 0, 0, &one,
		                 e) < 0)
			return -1;
	}
	return 0;
}

static int lower_name(const json_t *v)
{
	const char *s = json_string_value(v);

	for (; s && *s; s++)
		if (*s >= 'A' && *s <= 'Z')
			return 0;
	return s != NULL;
}

static int check_explanations(const json_t *f, const struct path *p,
                              struct err *e)
{
	static const char *const names[] = { "methodName", "modelName" };
	const json_t *list = json_object_get(f, "explanations"), *v, *s;
	struct path here = at(p, "explanations"), one;
	size_t i, k, n;

	if (list && !json_is_array(list))
		return bad(&here, "an array", list, e);
	json_array_foreach(list, i, v) {
		s = json_object_get(v, "text");
		n = json_is_string(s) ? js_length(json_string_value(s)) : 0;
		one = at(&here, "[%zu].text", i);
		if (n < 1 || n > TEXT_MAX)
			return bad(&one, "1 to 512 characters", s, e);
		for (k = 0; k < 2; k++) {
			s = json_object_get(v, names[k]);
			one = at(&here, "[%zu].%s", i, names[k]);
			if (s && !json_is_null(s) && !lower_name(s))
				return bad(&one, "a name in lower case", s, e);
		}
	}
	return 0;
}

static int check_activation(const json_t *a, const struct path *p,
                            struct err *e)
{
	const json_t *tokens, *values, *v;
	struct path here;
	size_t i;

	if (check_list(a, "tokens", 1, TOKENS_MAX, &tokens, p, e) < 0 ||
	    check_list(a, "values", 1, TOKENS_MAX, &values, p, e) < 0)
		return -1;
	json_array_foreach(tokens, i, v)
		if (!json_is_string(v) || !json_string_length(v)) {
			here = at(p, "tokens[%zu]", i);
			return bad(&here, "a text that is not empty", v, e);
		}
	json_array_foreach(values, i, v)
		if (!json_is_number(v)) {
			here = at(p, "values[%zu]", i);
			return bad(&here, "a number", v, e);
		}
	if (json_array_size(tokens) != json_array_size(values))
		return err_set(e, ERR_FORMAT, "%s: wanted as many values as "
		               "tokens, found %zu for %zu", p->s,
		               json_array_size(values),
		               json_array_size(tokens));
	return check_number(a, "quantileMin", -INFINITY, QUANTILE_MAX, 0, 1, p,
	                    e) < 0 ||
	       check_number(a, "quantileMax", -INFINITY, QUANTILE_MAX, 0, 1, p,
	                    e) < 0 ||
	       check_number(a, "quantileFraction", 0, 1, 0, 1, p, e) < 0
	       ? -1 : 0;
}

static int check_feature(const json_t *f, const struct path *p, struct err *e)
{
	const json_t *list, *v;
	struct path here;
	size_t i;

	if (check_number(f, "index", 0, INDEX_MAX, 1, 0, p, e) < 0 ||
	    check_number(f, "density", 0, 1, 0, 1, p, e) < 0 ||
	    check_logits(f, "topLogits", p, e) < 0 ||
	    check_logits(f, "bottomLogits", p, e) < 0 ||
	    check_explanations(f, p, e) < 0 ||
	    check_list(f, "activations", 1, SIZE_MAX - 1, &list, p, e) < 0)
		return -1;
	json_array_foreach(list, i, v) {
		here = at(p, "activations[%zu]", i);
		if (check_activation(v, &here, e) < 0)
			return -1;
	}
	return 0;
}

static int is_small(char c)
{
	return c >= 'a' && c <= 'z';
}

static int is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* [a-z] then [a-z0-9] and the characters of more, the last no such, and no two
 * of them side by side. */
static int name_ok(const char *s, const char *more)
{
	size_t n = strlen(s), i;

	for (i = 0; i < n; i++) {
		int other = strchr(more, s[i]) != NULL;

		if (!is_small(s[i]) && !is_digit(s[i]) && !other)
			return 0;
		if (other && (i == 0 || i == n - 1 || s[i - 1] == s[i]))
			return 0;
	}
	return n == 1 ? is_small(s[0]) || is_digit(s[0])
	              : n > 1 && is_small(s[0]);
}

int publish_check_model(const char *id, const char *what, struct err *e)
{
	size_t n = strlen(id);

	return n >= 2 && n <= 32 && name_ok(id, "-.") ? 0
	       : err_set(e, ERR_FORMAT, "%s: wanted 2 to 32 of a-z, 0-9, - and "
	                 ". that begin with a letter, end with a letter or "
	                 "digit and hold no -- or .., found \"%.60s\"", what, id);
}

int publish_check_set(const char *name, const char *what, struct err *e)
{
	return name_ok(name, "-") && strcmp(name, "neurons") != 0 ? 0
	       : err_set(e, ERR_FORMAT, "%s: wanted a-z, 0-9 and - that begin "
	                 "with a letter, end with a letter or digit and hold "
	                 "no --, and not \"neurons\", found \"%.60s\"", what,
	                 name);
}

/* LAYER-SET, perhaps with __MORE behind. */
static int check_source(const json_t *v, struct err *e)
{
	const struct path p = { "source" };
	const char *s = json_string_value(v), *more;
	char set[128];
	size_t n;

	if (!s || !is_digit(*s))
		return bad(&p, "LAYER-SET", v, e);
	while (is_digit(*s))
		s++;
	more = strstr(s, "__");
	n = more ? (size_t)(more - s) : strlen(s);
	if (*s != '-' || n < 2 || n >= sizeof(set) || !lower_name(v))
		return bad(&p, "LAYER-SET in lower case", v, e);
	memcpy(set, s + 1, n - 1);
	set[n - 1] = 0;
	return publish_check_set(set, "source", e);
}

int publish_check_batch(const json_t *body, struct err *e)
{
	const struct path top = { "" };
	struct path here = { "modelId" };
	const json_t *list, *v, *w;
	size_t i, j;

	v = json_object_get(body, "modelId");
	if (!json_is_string(v) || !json_string_length(v) || !lower_name(v))
		return bad(&here, "a model's id in lower case", v, e);
	if (check_source(json_object_get(body, "source"), e) < 0 ||
	    check_list(body, "features", 1, PUBLISH_BATCH_MAX, &list, &top,
	               e) < 0)
		return -1;
	json_array_foreach(list, i, v) {
		here = at(NULL, "features[%zu]", i);
		if (check_feature(v, &here, e) < 0)
			return -1;
		for (j = 0; j < i; j++) {
			w = json_array_get(list, j);
			if (json_equal(json_object_get(v, "index"),
			               json_object_get(w, "index"))) {
				here = at(&here, "index");
				return bad(&here, "one that no other has",
				           json_object_get(v, "index"), e);
			}
		}
	}
	return 0;
}

/* ---- graphs ---- */

static int check_text(const json_t *obj, const char *key,
                      const struct path *p, struct err *e)
{
	struct path here = at(p, "%s", key);
	const json_t *v = json_object_get(obj, key);

	return json_is_string(v) ? 0 : bad(&here, "a string", v, e);
}

/* [A-Za-z0-9_.-]+ */
static int check_name(const json_t *obj, const char *key,
                      const struct path *p, struct err *e)
{
	struct path here = at(p, "%s", key);
	const json_t *v = json_object_get(obj, key);
	const char *s = json_string_value(v);

	if (check_text(obj, key, p, e) < 0)
		return -1;
	return *s && !s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQR"
	                       "STUVWXYZ0123456789_.-")]
	       ? 0 : bad(&here, "letters, digits, _, . and - alone", v, e);
}

static int check_node(const json_t *n, const struct path *p, struct err *e)
{
	const json_t *f = json_object_get(n, "feature");
	const json_t *l = json_object_get(n, "layer");
	struct path here;

	if (!is_whole(f) && !json_is_null(f)) {
		here = at(p, "feature");
		return bad(&here, "a whole number or null", f, e);
	}
	if (!json_is_string(l) && !is_whole(l)) {
		here = at(p, "layer");
		return bad(&here, "a string or a whole number", l, e);
	}
	return check_text(n, "node_id", p, e) < 0 ||
	       check_text(n, "feature_type", p, e) < 0 ||
	       check_text(n, "jsNodeId", p, e) < 0 ||
	       check_text(n, "clerp", p, e) < 0 ||
	       check_number(n, "ctx_idx", -INFINITY, INFINITY, 1, 0, p,
	                    e) < 0 ||
	       check_number(n, "influence", -INFINITY, INFINITY, 0, 1, p,
	                    e) < 0 ||
	       check_number(n, "activation", -INFINITY, INFINITY, 0, 1, p,
	                    e) < 0
	       ? -1 : 0;
}

/* What the viewer keeps of a session: texts and lists, where they are there. */
static int check_params(const json_t *q, struct err *e)
{
	static const char *const texts[] = { "linkType", "clickedId",
	                                     "sg_pos" };
	static const char *const lists[] = { "pinnedIds", "supernodes" };
	const struct path p = { "qParams" };
	const json_t *v;
	struct path here;
	size_t i;

	if (!json_is_object(q))
		return bad(&p, "an object", q, e);
	for (i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		if (json_object_get(q, texts[i]) &&
		    check_text(q, texts[i], &p, e) < 0)
			return -1;
	for (i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
		v = json_object_get(q, lists[i]);
		here = at(&p, "%s", lists[i]);
		if (v && !json_is_array(v))
			return bad(&here, "an array", v, e);
	}
	return 0;
}

static int check_metadata(const json_t *m, struct err *e)
{
	const struct path p = { "metadata" };
	struct path here;
	const json_t *list, *v;
	size_t i;

	if (!json_is_object(m))
		return bad(&p, "an object", m, e);
	if (check_name(m, "slug", &p, e) < 0 ||
	    check_name(m, "scan", &p, e) < 0 ||
	    check_text(m, "prompt", &p, e) < 0 ||
	    check_list(m, "prompt_tokens", 0, SIZE_MAX - 1, &list, &p, e) < 0)
		return -1;
	json_array_foreach(list, i, v)
		if (!json_is_string(v)) {
			here = at(&p, "prompt_tokens[%zu]", i);
			return bad(&here, "a string", v, e);
		}
	return 0;
}

int publish_check_graph(const json_t *graph, struct err *e)
{
	const struct path top = { "" };
	const json_t *list, *v;
	struct path here;
	size_t i;

	if (check_metadata(json_object_get(graph, "metadata"), e) < 0 ||
	    check_params(json_object_get(graph, "qParams"), e) < 0)
		return -1;
	if (check_list(graph, "nodes", 0, SIZE_MAX - 1, &list, &top, e) < 0)
		return -1;
	json_array_foreach(list, i, v) {
		here = at(NULL, "nodes[%zu]", i);
		if (check_node(v, &here, e) < 0)
			return -1;
	}
	if (check_list(graph, "links", 0, SIZE_MAX - 1, &list, &top, e) < 0)
		return -1;
	json_array_foreach(list, i, v) {
		here = at(NULL, "links[%zu]", i);
		if (check_text(v, "source", &here, e) < 0 ||
		    check_text(v, "target", &here, e) < 0 ||
		    check_number(v, "weight", -INFINITY, INFINITY, 0, 0, &here,
		                 e) < 0)
			return -1;
	}
	return 0;
}
