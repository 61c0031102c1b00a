/* Labels of a database or a stream, by latent. */
#include <jansson.h>
#include <stdlib.h>

#include "browse_impl.h"
#include "mem.h"
#include "rec_labels.h"

struct browse_labels {
	struct browse_label *v;		/* by layer, latent, best first */
	size_t n, cap;
};

/* What is of the latent, not of the label: the page has it from the examples. */
static const char *const left_out[] = {
	"layer", "feature_id", "state", "frequency", "mean", "max", "prompt",
	"think", "answer", "text", "spread", "promoted", "suppressed", "request"
};

/* s as JSON, or null; for free. */
static int add_dump(struct text *t, const json_t *v, struct err *e)
{
	char *s = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT |
	                     JSON_ENSURE_ASCII | JSON_REAL_PRECISION(4));
	int rc = s ? text_str(t, s, e) : err_set(e, ERR_MEM, "no memory for a "
	                                         "label");

	free(s);
	return rc;
}

static int add_number(struct text *t, double v, struct err *e)
{
	return v < 0 ? text_str(t, ",null", e) : browse_fmt(t, e, ",%.3g", v);
}

/* Takes row's members; nothing when it holds no label. */
static int add_row(void *ctx, json_t *row, struct err *e)
{
	struct browse_labels *l = ctx;
	const json_t *tags = json_object_get(row, "tags");
	struct browse_label *b;
	struct rec_label label;
	struct text record = { 0 }, line = { 0 };
	int got = rec_label_of(row, &label, e);
	size_t i;

	if (got <= 0)
		return got;
	if (mem_grow(&l->v, &l->cap, l->n + 1, sizeof(*l->v), e) < 0)
		return -1;
	b = &l->v[l->n];
	*b = (struct browse_label){
		.layer = label.layer, .latent = label.latent,
		.rule = label.rule, .score = label.score,
		.quality = label.quality, .order = l->n
	};
	if (add_dump(&line, json_object_get(row, "label"), e) < 0 ||
	    text_str(&line, ",", e) < 0 ||
	    add_dump(&line, json_is_string(tags) ? tags : json_null(), e) < 0 ||
	    add_number(&line, b->score, e) < 0 ||
	    add_number(&line, b->quality, e) < 0)
		goto fail;
	for (i = 0; i < sizeof(left_out) / sizeof(*left_out); i++)
		json_object_del(row, left_out[i]);
	if (add_dump(&record, row, e) < 0)
		goto fail;
	b->record = record.s;
	b->row = line.s;
	l->n++;
	return 0;
fail:
	mem_free(record.s);
	mem_free(line.s);
	return -1;
}

static int best_first(const void *a, const void *b)
{
	const struct browse_label *x = a, *y = b;

	if (x->layer != y->layer)
		return x->layer < y->layer ? -1 : 1;
	if (x->latent != y->latent)
		return x->latent < y->latent ? -1 : 1;
	if (x->rule != y->rule)
		return x->rule - y->rule;
	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	if (x->quality != y->quality)
		return x->quality > y->quality ? -1 : 1;
	return x->order < y->order ? -1 : 1;
}

struct browse_labels *browse_labels_open(const char *path, struct err *e)
{
	struct browse_labels *l = mem_array(1, sizeof(*l), e);

	if (!l || rec_labels_read(path, add_row, l, e) < 0) {
		browse_labels_free(l);
		return NULL;
	}
	if (l->n)
		qsort(l->v, l->n, sizeof(*l->v), best_first);
	return l;
}

void browse_labels_free(struct browse_labels *l)
{
	size_t i;

	if (!l)
		return;
	for (i = 0; i < l->n; i++) {
		mem_free(l->v[i].record);
		mem_free(l->v[i].row);
	}
	mem_free(l->v);
	mem_free(l);
}

const struct browse_label *browse_labels_of(const struct browse_labels *l,
                                            uint32_t layer, uint32_t latent,
                                            size_t *n)
{
	size_t lo = 0, hi = l ? l->n : 0, mid, end;

	while (lo < hi) {
		const struct browse_label *b = &l->v[mid = (lo + hi) / 2];

		if (b->layer < layer || (b->layer == layer && b->latent < latent))
			lo = mid + 1;
		else
			hi = mid;
	}
	for (end = lo; l && end < l->n && l->v[end].layer == layer &&
	     l->v[end].latent == latent; end++)
		;
	*n = end - lo;
	return *n ? l->v + lo : NULL;
}
