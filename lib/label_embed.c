#include "label_embed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "mem.h"

enum { BEGIN_MAX = 2000 };	/* bytes kept of an answer of no use */

json_t *label_embed_body(const struct label_wire *w, const struct label_ask *a,
                         struct err *e)
{
	json_t *list = json_array(), *v, *b;
	const char *key;
	size_t i;

	json_array_append_new(list, json_string(a->user));
	for (i = 0; i < a->n_items; i++) {
		/* servers refuse an empty text */
		v = a->item[i].n ? json_bytes(a->item[i].s, a->item[i].n, e)
		                 : json_string("\xef\xbf\xbd");
		json_array_append_new(list, v);
	}
	if (json_array_size(list) != a->n_items + 1) {
		json_decref(list);
		err_set(e, ERR_FORMAT, "%s: the request cannot be put as JSON",
		        a->id);
		return NULL;
	}
	b = json_pack("{s:s,s:o,s:s}", "model", w->model, "input", list,
	              "encoding_format", "float");
	json_object_foreach((json_t *)w->extra, key, v)
		json_object_set(b, key, v);
	return b;
}

double label_embed_cosine(const float *a, const float *b, size_t dim)
{
	double ab = 0, aa = 0, bb = 0;
	size_t i;

	for (i = 0; i < dim; i++) {
		ab += (double)a[i] * b[i];
		aa += (double)a[i] * a[i];
		bb += (double)b[i] * b[i];
	}
	return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

/* ---- what a server answers ---- */

/* Vectors by index: [n, dim]; dim is that of the first that came. */
struct vectors {
	float *v;
	uint8_t *there;
	size_t n, dim;
};

static int read_vector(struct vectors *x, const json_t *one, size_t at,
                       struct err *e)
{
	const json_t *list = json_object_get(one, "embedding"), *v;
	const json_t *index = json_object_get(one, "index");
	json_int_t k = json_integer_value(index);
	double value, square = 0;
	size_t i;

	if (!json_is_integer(index) || k < 0 || (size_t)k >= x->n)
		return err_set(e, ERR_FORMAT, "data[%zu].index: wanted a whole "
		               "number below %zu", at, x->n);
	if (x->there[k]++)
		return err_set(e, ERR_FORMAT, "data[%zu].index: %lld stands "
		               "there twice", at, (long long)k);
	if (!json_is_array(list) || !json_array_size(list) ||
	    json_array_size(list) > LABEL_EMBED_DIM_MAX)
		return err_set(e, ERR_FORMAT, "data[%zu].embedding: wanted up "
		               "to %d numbers", at, LABEL_EMBED_DIM_MAX);
	if (!x->v) {
		x->dim = json_array_size(list);
		if (!(x->v = mem_array(x->n * x->dim, sizeof(*x->v), e)))
			return -1;
	}
	if (json_array_size(list) != x->dim)
		return err_set(e, ERR_FORMAT, "data[%zu].embedding: %zu numbers, "
		               "others have %zu", at, json_array_size(list),
		               x->dim);
	json_array_foreach(list, i, v) {
		value = json_number_value(v);
		if (!json_is_number(v) || !isfinite((float)value))
			return err_set(e, ERR_FORMAT, "data[%zu].embedding[%zu]: "
			               "wanted a finite number", at, i);
		x->v[(size_t)k * x->dim + i] = (float)value;
		square += value * value;
	}
	if (!((float)square > 0) || !isfinite((float)square))
		return err_set(e, ERR_FORMAT, "data[%zu].embedding: has no "
		               "length", at);
	return 0;
}

static int read_vectors(struct vectors *x, const json_t *obj, struct err *e)
{
	const json_t *data = json_object_get(obj, "data"), *one;
	size_t i;

	if (json_array_size(data) != x->n)
		return err_set(e, ERR_FORMAT, "%zu vectors for %zu texts",
		               json_array_size(data), x->n);
	if (!(x->there = mem_array(x->n, 1, e)))
		return -1;
	json_array_foreach(data, i, one)
		if (read_vector(x, one, i, e) < 0)
			return -1;
	return 0;
}

/* obj as text; takes it over. */
static int put(json_t *obj, char **kept, size_t *n, struct err *e)
{
	char *s = obj ? json_dumps(obj, JSON_COMPACT | JSON_REAL_PRECISION(9))
	              : NULL;
	int rc = -1;

	if (s) {
		*n = strlen(s);
		*kept = mem_strndup(s, *n, e);
		rc = *kept ? 0 : -1;
	} else {
		err_set(e, ERR_MEM, "no memory for an answer");
	}
	free(s);
	json_decref(obj);
	return rc;
}

int label_embed_put(json_t *similarity, int64_t tokens, char **kept, size_t *n,
                    struct err *e)
{
	return put(json_pack("{s:{s:I},s:o}", "usage", "prompt_tokens",
	                     (json_int_t)tokens, "similarity", similarity),
	           kept, n, e);
}

static json_t *cosines(const struct vectors *x)
{
	json_t *list = json_array();
	size_t i;

	for (i = 1; i < x->n; i++)
		json_array_append_new(list, json_real(label_embed_cosine(x->v,
		                      x->v + i * x->dim, x->dim)));
	return list;
}

int label_embed_keep(const struct label_ask *a, const char *body, size_t n,
                     char **kept, size_t *n_kept, struct err *e)
{
	struct err why = { 0 };
	struct vectors x = { .n = a->n_items + 1 };
	json_t *obj = json_parse(body, n, "the answer", &why);
	json_t *out = json_object(), *use = json_object_get(obj, "usage");
	int rc = obj ? read_vectors(&x, obj, &why) : -1;

	json_object_set(out, "model", json_object_get(obj, "model"));
	if (use)
		json_object_set_new(out, "usage", json_pack("{s:O*}",
		                    "prompt_tokens", json_object_get(use,
		                    "prompt_tokens")));
	if (rc == 0) {
		json_object_set_new(out, "similarity", cosines(&x));
	} else {
		json_object_set_new(out, "unusable", json_string(why.msg));
		json_object_set_new(out, "begins", json_bytes(body, n <
		                    BEGIN_MAX ? n : BEGIN_MAX, e));
	}
	json_decref(obj);
	mem_free(x.v);
	mem_free(x.there);
	if (why.code == ERR_MEM) {
		json_decref(out);
		*e = why;
		return -1;
	}
	return put(out, kept, n_kept, e);
}

/* ---- what was kept ---- */

int label_embed_read(const struct label_wire *w, const struct label_ask *a,
                     const char *kept, size_t n, double *near, struct err *e)
{
	json_t *obj = json_parse(kept, n, "the answer", e);
	const json_t *list = json_object_get(obj, "similarity"), *v;
	const char *why = json_string_value(json_object_get(obj, "unusable"));
	size_t i;
	int rc = obj ? label_wire_same_model(w, obj, e) : 1;

	if (rc == 0 && json_array_size(list) != a->n_items) {
		err_set(e, ERR_FORMAT, "%s", why ? why : "no similarities");
		rc = 1;
	}
	for (i = 0; rc == 0 && i < a->n_items; i++) {
		v = json_array_get(list, i);
		near[i] = json_number_value(v);
		if (!json_is_number(v)) {
			err_set(e, ERR_FORMAT, "a similarity is no number");
			rc = 1;
		}
	}
	json_decref(obj);
	return rc;
}
