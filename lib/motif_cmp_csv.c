/* motif_cmp: the tests of a report as CSV. */
#include "motif_cmp.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mem.h"
#include "text.h"

/* What goes wrong on the way is told at the end. */
struct csv {
	struct text text;
	struct err *e;
	int failed;
};

static void put(struct csv *c, const char *s)
{
	if (!c->failed && text_str(&c->text, s, c->e) < 0)
		c->failed = 1;
}

/* A field, then what separates it from the next. */
static void field(struct csv *t, const json_t *v, const char *after)
{
	char number[32];
	const char *s;

	if (json_is_string(v)) {
		s = json_string_value(v);
		if (strpbrk(s, ",\"\n\r")) {
			put(t, "\"");
			for (; *s; s++)
				put(t, (char[]) { *s, *s == '"' ? '"' : 0, 0 });
			put(t, "\"");
		} else {
			put(t, s);
		}
	} else if (json_is_number(v)) {
		snprintf(number, sizeof(number), "%.9g", json_number_value(v));
		put(t, number);
	}
	put(t, after);
}

static void rows(struct csv *t, const json_t *profile, const char *test,
                 const json_t *pair, const json_t *tests)
{
	static const char *const stat[] = {
		"p", "q", "rank_biserial", "cohen_d", "epsilon2", "difference",
		"lo", "hi"
	};
	json_t *r;
	size_t i, k;

	json_array_foreach((json_t *)tests, i, r) {
		const json_t *n = json_object_get(r, "n_a");

		field(t, json_object_get(profile, "group"), ",");
		field(t, json_object_get(profile, "null"), ",");
		field(t, json_object_get(r, "motif"), ",");
		put(t, test);
		put(t, ",");
		field(t, json_object_get(pair, "a"), ",");
		field(t, json_object_get(pair, "b"), ",");
		field(t, n ? n : json_object_get(r, "n"), ",");
		field(t, json_object_get(r, "n_b"), ",");
		n = json_object_get(r, "u");
		field(t, n ? n : json_object_get(r, "h"), "");
		for (k = 0; k < sizeof(stat) / sizeof(*stat); k++) {
			put(t, ",");
			field(t, json_object_get(r, stat[k]), "");
		}
		put(t, "\n");
	}
}

char *motif_cmp_csv(const json_t *report, struct err *e)
{
	struct csv t = { .e = e };
	json_t *profile, *pair;
	size_t i, k;

	put(&t, "group,null,motif,test,a,b,n_a,n_b,statistic,p,q,rank_biserial,"
	    "cohen_d,epsilon2,difference,lo,hi\n");
	json_array_foreach(json_object_get(report, "profiles"), i, profile) {
		json_array_foreach(json_object_get(profile, "pairs"), k, pair)
			rows(&t, profile, "mann-whitney", pair,
			     json_object_get(pair, "tests"));
		json_array_foreach(json_object_get(profile, "pairs"), k, pair)
			rows(&t, profile, "matched", pair, json_object_get(
				json_object_get(pair, "matched"), "tests"));
		rows(&t, profile, "kruskal-wallis", NULL,
		     json_object_get(profile, "kruskal"));
	}
	if (!t.failed)
		return t.text.s;
	mem_free(t.text.s);
	return NULL;
}
