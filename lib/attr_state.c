/*
 * A run that was stopped, as a file to go on from: safetensors with the rows
 * end to end, their owners, and what was chosen and not worked on yet. "key" in
 * its metadata is a digest of all that decides the rows.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "attr_impl.h"
#include "mem.h"
#include "safet.h"
#include "sha256.h"

static int key_of(const struct attr *a, const struct attr_opt *o,
                  char key[SHA256_HEX], struct err *e)
{
	const uint64_t limits[] = { o->max_features, o->batch, o->update };
	const char *model = model_cfg(a->model)->fingerprint;
	struct sha256 *s = sha256_new(e);
	size_t dim = model_cfg(a->model)->d_model;
	int rc = -1;

	if (s && sha256_add(s, model, strlen(model), e) == 0 &&
	    sha256_add(s, a->ids, a->n * sizeof(*a->ids), e) == 0 &&
	    sha256_add(s, a->feature, a->n_features * sizeof(*a->feature),
	               e) == 0 &&
	    sha256_add(s, a->target, a->n_targets * sizeof(*a->target),
	               e) == 0 &&
	    sha256_add(s, a->target_vec, a->n_targets * dim * sizeof(float),
	               e) == 0 &&
	    sha256_add(s, limits, sizeof(limits), e) == 0)
		rc = sha256_end(s, key, e);
	sha256_free(s);
	return rc;
}

static size_t length(const struct attr *a, size_t i)
{
	const struct attr_steps s = attr_steps_of(a);

	return attr_steps_length(&s, a->owner[i].layer, a->owner[i].pos);
}

int attr_state_save(struct attr *a, const struct attr_opt *o,
                    const struct attr_want *w, size_t n, struct err *e)
{
	struct safet_decl decl[3] = {
		{ "rows", DT_F32, 1, { 0 } },
		{ "nodes", DT_U64, 1, { a->n_rows } },
		{ "pending", DT_U64, 1, { n } }
	};
	char key[SHA256_HEX];
	const char *const meta[] = { "key", key, NULL };
	struct safet_out *out = NULL;
	uint64_t node;
	size_t i;
	int rc = -1;

	for (i = 0; i < a->n_rows; i++)
		decl[0].shape[0] += length(a, i);
	if (key_of(a, o, key, e) < 0 ||
	    !(out = safet_create(o->state, decl, 3, meta, e)))
		return -1;
	for (i = 0; i < a->n_rows; i++) {
		const float *row = attr_rows_get(a->rows, i, e);

		node = a->owner[i].node;
		if (!row || safet_put(out, "rows", row, length(a, i) *
		                      sizeof(*row), e) < 0 ||
		    safet_put(out, "nodes", &node, sizeof(node), e) < 0)
			goto done;
	}
	for (i = 0; i < n; i++) {
		node = w[i].node;
		if (safet_put(out, "pending", &node, sizeof(node), e) < 0)
			goto done;
	}
	rc = safet_commit(out, e);
done:
	safet_out_free(out);
	return rc;
}

/* The i-th number of t as what it names; no node twice. */
static int want_of(const struct attr *a, const struct tensor *t, size_t i,
                   uint8_t *seen, struct attr_want *w, struct err *e)
{
	uint64_t node;

	memcpy(&node, (const uint8_t *)t->data + i * sizeof(node),
	       sizeof(node));
	if (node >= a->n_features + a->n_targets || seen[node]++)
		return err_set(e, ERR_FORMAT, "%s: node %llu is none of %zu, or "
		               "there twice", t->name, (unsigned long long)node,
		               a->n_features + a->n_targets);
	w->node = (size_t)node;
	if (w->node < a->n_features) {
		w->layer = a->feature[node].layer;
		w->pos = a->feature[node].pos;
	} else {
		w->layer = a->target[node - a->n_features].layer;
		w->pos = a->target[node - a->n_features].pos;
	}
	return 0;
}

/* Rows of the file become a's. */
static int take_rows(struct attr *a, const struct tensor *rows,
                     const struct tensor *nodes, uint8_t *seen,
                     struct err *e)
{
	const struct attr_steps s = attr_steps_of(a);
	float *row = NULL;
	size_t cap = 0, at = 0, i, len;
	struct attr_want w;
	int rc = -1;

	for (i = 0; i < nodes->n; i++) {
		if (want_of(a, nodes, i, seen, &w, e) < 0)
			goto done;
		len = attr_steps_length(&s, w.layer, w.pos);
		if (len > rows->n - at) {
			err_set(e, ERR_FORMAT, "row %zu goes beyond the end",
			        i);
			goto done;
		}
		if (mem_grow(&row, &cap, len, sizeof(*row), e) < 0)
			goto done;
		memcpy(row, (const uint8_t *)rows->data + at * sizeof(*row),
		       len * sizeof(*row));
		at += len;
		if (attr_keep_row(a, &w, row, len, e) < 0)
			goto done;
	}
	rc = 0;
	for (i = a->n_features; i < a->n_features + a->n_targets; i++)
		rc |= !seen[i];
	if (at != rows->n || rc)
		rc = err_set(e, ERR_FORMAT, "%zu rows of %zu values", nodes->n,
		             rows->n);
done:
	mem_free(row);
	return rc;
}

int attr_state_load(struct attr *a, const struct attr_opt *o,
                    struct attr_want **w, size_t *n, struct err *e)
{
	const size_t any[1] = { 0 };
	const struct tensor *rows, *nodes, *pending;
	char key[SHA256_HEX];
	struct safet *f;
	const char *its;
	uint8_t *seen = NULL;
	size_t i;
	int rc = -1;

	if (access(o->state, F_OK) < 0 && errno == ENOENT)
		return 0;
	if (!(f = safet_open(o->state, e)))
		return -1;
	its = safet_meta(f, "key");
	if (key_of(a, o, key, e) < 0)
		goto done;
	if (!its || strcmp(its, key)) {
		err_set(e, ERR_FORMAT, "%s: is of another prompt, model, "
		        "target or limit", o->state);
		goto done;
	}
	if (!(rows = safet_get(f, "rows", 1, any, e)) ||
	    !(nodes = safet_get(f, "nodes", 1, any, e)) ||
	    !(pending = safet_get(f, "pending", 1, any, e)))
		goto done;
	if (rows->type != DT_F32 || nodes->type != DT_U64 ||
	    pending->type != DT_U64) {
		err_set(e, ERR_FORMAT, "%s: values of other types", o->state);
		goto done;
	}
	seen = mem_array(a->n_features + a->n_targets, 1, e);
	if (!seen || take_rows(a, rows, nodes, seen, e) < 0 ||
	    !(*w = mem_array(pending->n, sizeof(**w), e)))
		goto done;
	for (i = 0; i < pending->n; i++)
		if (want_of(a, pending, i, seen, &(*w)[i], e) < 0)
			goto done;
	*n = pending->n;
	rc = 1;
done:
	mem_free(seen);
	safet_free(f);
	if (rc < 0)
		err_wrap(e, "%s", o->state);
	return rc;
}
