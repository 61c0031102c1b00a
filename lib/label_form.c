/* What answers must look like: the schema sent, and the reader. */
#include <stdio.h>
#include <string.h>

#include "json.h"
#include "label.h"
#include "mem.h"

const char *const label_tags[LABEL_N_TAGS] = {
	"none", "planning", "doubt", "self-correction", "backtracking",
	"verification", "calculation", "case-split", "restating",
	"conclusion", "language-switch", "other"
};

/* The members of a label that are numbers from 0 to 10. */
static const char *const marks[] = {
	"quality", "interestingness", "confidence"
};
enum { N_MARKS = sizeof(marks) / sizeof(*marks) };

void label_answer_free(struct label_answer *a)
{
	mem_free(a->label);
	mem_free(a->why);
	*a = (struct label_answer){ 0 };
}

/* ---- the schema ---- */

/* {"type": "integer", "enum": [lo..hi]}: ranges are not in the part of JSON
 * Schema that providers enforce, lists of values are. */
static json_t *integers(int lo, int hi)
{
	json_t *list = json_array();

	for (; lo <= hi; lo++)
		json_array_append_new(list, json_integer(lo));
	return json_pack("{s:s,s:o}", "type", "integer", "enum", list);
}

static json_t *object(json_t *members)
{
	json_t *names = json_array(), *v;
	const char *key;

	json_object_foreach(members, key, v)
		json_array_append_new(names, json_string(key));
	return json_pack("{s:s,s:o,s:o,s:b}", "type", "object", "properties",
	                 members, "required", names, "additionalProperties",
	                 0);
}

/* A list of so many items at least and at most. */
static void set_lengths(json_t *list, size_t least, size_t most)
{
	json_object_set_new(list, "minItems", json_integer((json_int_t)least));
	json_object_set_new(list, "maxItems", json_integer((json_int_t)most));
}

json_t *label_form_schema(enum label_form f, size_t n_items, int lengths,
                          struct err *e)
{
	json_t *m = json_object(), *tags, *s;
	int i;

	if (f == LABEL_FORM_BITS) {
		json_object_set_new(m, "results", json_pack("{s:s,s:o}",
		                    "type", "array", "items", integers(0, 1)));
		if (lengths)
			set_lengths(json_object_get(m, "results"), n_items,
			            n_items);
	} else {
		tags = json_array();
		for (i = 0; i < LABEL_N_TAGS; i++)
			json_array_append_new(tags, json_string(label_tags[i]));
		/* the explanation first: the label then follows from it */
		json_object_set_new(m, "explanation",
		                    json_pack("{s:s}", "type", "string"));
		json_object_set_new(m, "label",
		                    json_pack("{s:s}", "type", "string"));
		json_object_set_new(m, "tags", json_pack("{s:s,s:{s:s,s:o}}",
		                    "type", "array", "items", "type", "string",
		                    "enum", tags));
		if (lengths)
			set_lengths(json_object_get(m, "tags"), 1, LABEL_N_TAGS);
		for (i = 0; i < N_MARKS; i++)
			json_object_set_new(m, marks[i], integers(0, 10));
	}
	if (!(s = object(m)))
		err_set(e, ERR_MEM, "no memory for a schema");
	return s;
}

/* ---- reading ---- */

static int is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static void trim(const char **s, size_t *n)
{
	while (*n && is_space(**s)) {
		(*s)++;
		(*n)--;
	}
	while (*n && is_space((*s)[*n - 1]))
		(*n)--;
}

/* Leaves thoughts in front and a code fence around it out of text. */
static void unwrap(const char **s, size_t *n)
{
	static const char end[] = "</think>";
	const char *p, *q = *s;
	size_t left = *n;

	while ((p = memmem(q, left, end, sizeof(end) - 1))) {
		q = p + sizeof(end) - 1;
		left = *n - (size_t)(q - *s);
	}
	*s = q;
	*n = left;
	trim(s, n);
	if (*n < 6 || memcmp(*s, "```", 3) || memcmp(*s + *n - 3, "```", 3) ||
	    !(p = memchr(*s, '\n', *n)))
		return;
	*n -= (size_t)(p - *s) + 3;
	*s = p;
	trim(s, n);
}

static int copy_text(const json_t *obj, const char *key, size_t max,
                     char **out, struct err *e)
{
	const json_t *v = json_object_get(obj, key);
	const char *s = json_string_value(v);
	size_t n = json_string_length(v), i;

	if (!s)
		return err_set(e, ERR_FORMAT, "'%s' is no string", key);
	trim(&s, &n);
	if (n == 0 || n > max)
		return err_set(e, ERR_FORMAT, "'%s' has %zu bytes, wanted 1 to "
		               "%zu", key, n, max);
	for (i = 0; i < n; i++)
		if ((unsigned char)s[i] < ' ' && !is_space(s[i]))
			return err_set(e, ERR_FORMAT, "'%s' holds control "
			               "characters", key);
	if (!(*out = mem_strndup(s, n, e)))
		return -1;
	for (i = 0; i < n; i++)		/* one line */
		if (is_space((*out)[i]))
			(*out)[i] = ' ';
	return 0;
}

static int read_tags(const json_t *obj, uint32_t *out, struct err *e)
{
	const json_t *list = json_object_get(obj, "tags"), *v;
	size_t i;
	int t;

	if (!json_is_array(list))
		return err_set(e, ERR_FORMAT, "'tags' is no list");
	*out = 0;
	json_array_foreach(list, i, v) {
		const char *s = json_string_value(v);

		for (t = 0; s && t < LABEL_N_TAGS; t++)
			if (!strcmp(s, label_tags[t]))
				break;
		if (!s || t == LABEL_N_TAGS)
			return err_set(e, ERR_FORMAT, "'tags' holds '%.40s', "
			               "which is none of them",
			               s ? s : "no string");
		*out |= (uint32_t)1 << t;
	}
	if (*out & ~(uint32_t)1)	/* something beats "none" */
		*out &= ~(uint32_t)1;
	return *out ? 0 : err_set(e, ERR_FORMAT, "'tags' is empty");
}

static int read_label(const json_t *obj, struct label_answer *a,
                      struct err *e)
{
	int *mark[N_MARKS] = { &a->quality, &a->interest, &a->confidence };
	int64_t v;
	int i;

	if (copy_text(obj, "label", LABEL_TEXT_MAX, &a->label, e) < 0 ||
	    copy_text(obj, "explanation", LABEL_WHY_MAX, &a->why, e) < 0 ||
	    read_tags(obj, &a->tags, e) < 0)
		return -1;
	for (i = 0; i < N_MARKS; i++) {
		if (json_int(obj, marks[i], 0, 10, -1, &v, e) < 0)
			return -1;
		*mark[i] = (int)v;
	}
	return 0;
}

static int read_bits(const json_t *obj, size_t n_items, struct label_answer *a,
                     struct err *e)
{
	const json_t *list = json_object_get(obj, "results"), *v;
	size_t i, n = json_array_size(list);

	if (!json_is_array(list) || n != n_items)
		return err_set(e, ERR_FORMAT, "'results' holds %zu answers, "
		               "wanted %zu", n, n_items);
	json_array_foreach(list, i, v) {
		json_int_t x = json_is_integer(v) ? json_integer_value(v) : -1;

		if (x != 0 && x != 1)
			return err_set(e, ERR_FORMAT, "answer %zu of 'results' "
			               "is neither 0 nor 1", i + 1);
		a->bits[i] = (uint8_t)x;
	}
	a->n_bits = n;
	return 0;
}

int label_form_parse(enum label_form f, size_t n_items, const char *text,
                     size_t n, struct label_answer *a, struct err *e)
{
	json_t *obj;
	int rc;

	*a = (struct label_answer){ 0 };
	unwrap(&text, &n);
	if (!(obj = json_parse(text, n, "the answer", e)))
		return -1;
	if (!json_is_object(obj))
		rc = err_set(e, ERR_FORMAT, "the answer is no object");
	else if (f == LABEL_FORM_BITS)
		rc = read_bits(obj, n_items, a, e);
	else
		rc = read_label(obj, a, e);
	json_decref(obj);
	if (rc < 0)
		label_answer_free(a);
	return rc;
}
