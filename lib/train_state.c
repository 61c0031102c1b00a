/* A layer's training state as a safetensors file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "safet.h"
#include "train_impl.h"

enum {
	PART = 1 << 22,		/* bytes moved at a time */
	NUMBERS = 13,
	TENSORS_MAX = TRAIN_PARAMS * 3 + 11
};

/* A tensor of the file and where it lives: on the device or the host. */
struct piece {
	char name[32];
	enum dtype type;
	size_t rows, cols, bytes;
	void *data;
	int host;
};

static void add_piece(struct piece *p, size_t *n, const char *name,
                      const char *suffix, enum dtype type, size_t each,
                      size_t rows, size_t cols, void *data)
{
	struct piece *q = &p[(*n)++];

	snprintf(q->name, sizeof(q->name), "%s%s", name, suffix);
	q->type = type;
	q->rows = rows;
	q->cols = cols;
	q->bytes = rows * cols * each;
	q->data = data;
	q->host = 0;
}

/* What has been kept for the end. */
static void add_kept(struct train_layer *t, struct piece *p, size_t *n)
{
	const struct tc_cfg *c = &t->cfg.tc;

	add_piece(p, n, "kept", "", DT_U32, 4, t->kept_slots, 1, t->kept_n);
	p[*n - 1].host = 1;
	add_piece(p, n, "kept_y", "", DT_U8, 1, t->kept_slots,
	          train_end_slot(&t->cfg, c->d_out), t->kept_y);
	p[*n - 1].host = 1;
	if (!t->kept_x)
		return;
	add_piece(p, n, "kept_x", "", DT_U8, 1, t->kept_slots,
	          train_end_slot(&t->cfg, c->d_in), t->kept_x);
	p[*n - 1].host = 1;
}

static size_t pieces(struct train_layer *t, struct piece *p)
{
	const struct tc_cfg *c = &t->cfg.tc;
	struct train_param q[TRAIN_PARAMS];
	int n_params = train_params(t, q), i;
	size_t n = 0;

	for (i = 0; i < n_params; i++) {
		add_piece(p, &n, q[i].name, "", DT_F32, 4, q[i].rows, q[i].cols,
		          q[i].p->w);
		if (q[i].p->s1)
			add_piece(p, &n, q[i].name, ".1", DT_F32, 4, q[i].rows,
			          q[i].cols, q[i].p->s1);
		if (q[i].p->s2)
			add_piece(p, &n, q[i].name, ".2", DT_F32, 4, q[i].rows,
			          q[i].cols, q[i].p->s2);
	}
	if (t->power)
		add_piece(p, &n, "power", "", DT_F32, 4, c->n_latents, 1,
		          t->power);
	add_piece(p, &n, "mean_x", "", DT_F32, 4, c->d_in, 1, t->mean_x);
	add_piece(p, &n, "mean_y", "", DT_F32, 4, c->d_out, 1, t->mean_y);
	add_piece(p, &n, "live", "", DT_U8, 1, c->n_latents, 1, t->live);
	add_piece(p, &n, "last", "", DT_U64, 8, c->n_latents, 1, t->last);
	add_piece(p, &n, "norms_x", "", DT_U64, 8, OUTLIER_BINS, 1,
	          t->norms_x.bin);
	p[n - 1].host = 1;
	add_piece(p, &n, "norms_y", "", DT_U64, 8, OUTLIER_BINS, 1,
	          t->norms_y.bin);
	p[n - 1].host = 1;
	if (t->kept_n)
		add_kept(t, p, &n);
	return n;
}

/* Scalars: counts are below 2^53. */
static void numbers_of(const struct train_layer *t, double *v)
{
	const struct train_stats *s = &t->stats;
	const double all[NUMBERS] = {
		(double)s->step, (double)s->rows, (double)s->outliers,
		t->scale_x, t->scale_y, (double)t->n_norms, s->lr, s->loss,
		s->fvu, s->l0, s->auxk, s->multi, t->theta
	};

	memcpy(v, all, sizeof(all));
}

static void numbers_to(struct train_layer *t, const double *v)
{
	struct train_stats *s = &t->stats;

	s->step = (uint64_t)v[0];
	s->rows = (uint64_t)v[1];
	s->outliers = (uint64_t)v[2];
	t->scale_x = v[3];
	t->scale_y = v[4];
	t->n_norms = (uint64_t)v[5];
	s->lr = v[6];
	s->loss = v[7];
	s->fvu = v[8];
	s->l0 = v[9];
	s->auxk = v[10];
	s->multi = v[11];
	t->theta = v[12];
}

static int put_piece(struct train_layer *t, struct safet_out *o,
                     const struct piece *p, void *part, struct err *e)
{
	size_t at, n;

	if (p->host)
		return safet_put(o, p->name, p->data, p->bytes, e);
	for (at = 0; at < p->bytes; at += n) {
		n = p->bytes - at < PART ? p->bytes - at : PART;
		if (train_ops(t)->get(t->dev, part, (char *)p->data + at, n,
		                      e) < 0 ||
		    safet_put(o, p->name, part, n, e) < 0)
			return -1;
	}
	return 0;
}

int train_layer_save(struct train_layer *t, const char *path, struct err *e)
{
	struct piece p[TENSORS_MAX];
	struct safet_decl decl[TENSORS_MAX];
	double numbers[NUMBERS];
	size_t n = pieces(t, p), i;
	struct safet_out *o = NULL;
	void *part;
	int rc = -1;

	if (!t->started)
		return err_set(e, ERR_RANGE, "layer %d: nothing to save before "
		               "the first batch", t->layer);
	for (i = 0; i < n; i++) {
		decl[i] = (struct safet_decl){ .name = p[i].name,
			.type = p[i].type, .n_dims = p[i].cols == 1 ? 1 : 2 };
		decl[i].shape[0] = p[i].rows;
		decl[i].shape[1] = p[i].cols;
	}
	decl[n] = (struct safet_decl){ .name = "numbers", .type = DT_F64,
		.n_dims = 1, .shape = { NUMBERS } };
	part = mem_scratch(PART, 1, e);
	if (!part)
		return -1;
	o = safet_create(path, decl, n + 1, NULL, e);
	if (!o)
		goto done;
	numbers_of(t, numbers);
	if (safet_put(o, "numbers", numbers, sizeof(numbers), e) < 0)
		goto done;
	for (i = 0; i < n; i++)
		if (put_piece(t, o, &p[i], part, e) < 0)
			goto done;
	rc = safet_commit(o, e);
done:
	safet_out_free(o);
	mem_free(part);
	return rc;
}

static int load_piece(struct train_layer *t, const struct safet *s,
                      const struct piece *p, struct err *e)
{
	const size_t shape[2] = { p->rows, p->cols };
	const struct tensor *q = safet_get(s, p->name, p->cols == 1 ? 1 : 2,
	                                   shape, e);

	if (!q)
		return -1;
	if (q->type != p->type)
		return err_set(e, ERR_FORMAT, "%s is %s, wanted %s", p->name,
		               dtype_name(q->type), dtype_name(p->type));
	if (!p->host)
		return train_ops(t)->put(t->dev, p->data, q->data, p->bytes, e);
	memcpy(p->data, q->data, p->bytes);
	return 0;
}

int train_layer_load(struct train_layer *t, const char *path, struct err *e)
{
	struct piece p[TENSORS_MAX];
	const size_t shape[1] = { NUMBERS };
	const struct tensor *numbers;
	double v[NUMBERS];
	size_t n, i;
	struct safet *s = safet_open(path, e);

	if (!s)
		return -1;
	numbers = safet_get(s, "numbers", 1, shape, e);
	if (!numbers)
		goto fail;
	if (numbers->type != DT_F64)
		goto alien;
	memcpy(v, numbers->data, sizeof(v));
	if (!(v[0] >= 1 && v[0] < 0x1p53) || !(v[1] >= v[0] && v[1] < 0x1p53)) {
		err_set(e, ERR_FORMAT, "step %g after %g rows", v[0], v[1]);
		goto fail;
	}
	if (train_end_due(&t->cfg, (uint64_t)v[0]) && train_end_begin(t, e) < 0)
		goto fail;
	n = pieces(t, p);
	if (safet_count(s) != n + 1)
		goto alien;
	for (i = 0; i < n; i++)
		if (load_piece(t, s, &p[i], e) < 0)
			goto fail;
	for (i = 0; i < t->kept_slots; i++)
		if (t->kept_n[i] > t->cfg.batch) {
			err_set(e, ERR_FORMAT, "kept: %u rows of a batch of "
			        "%zu", t->kept_n[i], t->cfg.batch);
			goto fail;
		}
	numbers_to(t, v);
	safet_free(s);
	t->started = 1;
	return train_hold(t, t->cfg.batch, e);
alien:
	err_set(e, ERR_FORMAT, "not the state of a layer in training");
fail:
	safet_free(s);
	return err_wrap(e, "%s", path);
}
