#include "tc.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "json.h"
#include "mem.h"
#include "safet.h"

enum {
	PATH = 4096,
	CFG_MAX = 1 << 20,	/* bytes of a cfg.json */
	PART = 1 << 20,		/* values moved at a time */
	SLOTS = 4		/* a variant's, of k */
};

static const struct dev_ops *ops(const struct tc *t)
{
	return dev_ops(t->dev);
}

static float *dev_floats(struct dev *d, size_t a, size_t b, struct err *e)
{
	size_t n;

	if (mem_mul(a, b, &n, e) < 0 || mem_mul(n, sizeof(float), &n, e) < 0)
		return NULL;
	return dev_ops(d)->alloc(d, n, e);
}

struct tc *tc_new(const struct tc_cfg *c, struct dev *d, struct err *e)
{
	struct tc *t;

	if (c->d_in == 0 || c->d_out == 0 || c->n_latents == 0 || c->k == 0 ||
	    c->k > c->n_latents || c->n_latents == UINT32_MAX) {
		err_set(e, ERR_RANGE, "transcoder of %u latents, k %u, widths "
		        "%u and %u: wanted 1 <= k <= latents, widths above 0",
		        c->n_latents, c->k, c->d_in, c->d_out);
		return NULL;
	}
	if (!c->transcode && c->d_in != c->d_out) {
		err_set(e, ERR_RANGE, "autoencoder with widths %u and %u",
		        c->d_in, c->d_out);
		return NULL;
	}
	t = mem_array(1, sizeof(*t), e);
	if (!t)
		return NULL;
	t->cfg = *c;
	t->dev = d;
	t->w_enc = dev_floats(d, c->n_latents, c->d_in, e);
	t->b_enc = dev_floats(d, c->n_latents, 1, e);
	t->w_dec = dev_floats(d, c->n_latents, c->d_out, e);
	t->b_dec = dev_floats(d, c->d_out, 1, e);
	if (c->skip)
		t->w_skip = dev_floats(d, c->d_out, c->d_in, e);
	if (c->variant != TC_TOPK)
		t->threshold = dev_floats(d, c->n_latents, 1, e);
	if (!t->w_enc || !t->b_enc || !t->w_dec || !t->b_dec ||
	    (c->skip && !t->w_skip) ||
	    (c->variant != TC_TOPK && !t->threshold)) {
		tc_free(t);
		return NULL;
	}
	return t;
}

void tc_free(struct tc *t)
{
	if (!t)
		return;
	ops(t)->release(t->dev, t->w_enc);
	ops(t)->release(t->dev, t->b_enc);
	ops(t)->release(t->dev, t->w_dec);
	ops(t)->release(t->dev, t->b_dec);
	ops(t)->release(t->dev, t->w_skip);
	ops(t)->release(t->dev, t->threshold);
	mem_free(t);
}

static const char THRESHOLDS[] = "thresholds.safetensors";
static const char *const variants[] = { "topk", "batchtopk", "jumprelu" };

const char *tc_variant_name(enum tc_variant v)
{
	return variants[v];
}

uint32_t tc_slots(const struct tc_cfg *c)
{
	if (c->variant == TC_TOPK)
		return c->k;
	return c->n_latents / SLOTS < c->k ? c->n_latents : SLOTS * c->k;
}

/* ---- checkpoint files --------------------------------------------------- */

struct weight {
	const char *name;
	float *data;
	size_t rows, cols;	/* rows 0: a vector of cols */
};

enum { WEIGHTS_MAX = 5 };

static int weights(const struct tc *t, struct weight *w)
{
	const struct tc_cfg *c = &t->cfg;
	int n = 0;

	w[n++] = (struct weight){ "W_dec", t->w_dec, c->n_latents, c->d_out };
	if (t->w_skip)
		w[n++] = (struct weight){ "W_skip", t->w_skip, c->d_out,
		                          c->d_in };
	w[n++] = (struct weight){ "b_dec", t->b_dec, 0, c->d_out };
	w[n++] = (struct weight){ "encoder.bias", t->b_enc, 0, c->n_latents };
	w[n++] = (struct weight){ "encoder.weight", t->w_enc, c->n_latents,
	                          c->d_in };
	return n;
}

static int path_of(char *out, const char *dir, int layer, const char *file,
                   struct err *e)
{
	int n = snprintf(out, PATH, "%s/layers.%d.mlp/%s", dir, layer, file);

	if (n < 0 || n >= PATH)
		return err_set(e, ERR_RANGE, "%.100s...: path too long", dir);
	return 0;
}

static int variant_parse(const json_t *j, struct tc_cfg *c, struct err *e)
{
	const char *name;
	int v;

	if (json_str(j, "variant", variants[TC_TOPK], &name, e) < 0)
		return -1;
	for (v = TC_TOPK; v <= TC_JUMPRELU; v++)
		if (strcmp(name, variants[v]) == 0) {
			c->variant = (enum tc_variant)v;
			return 0;
		}
	return err_set(e, ERR_FORMAT, "variant is %.40s, wanted topk, batchtopk"
	               " or jumprelu", name);
}

static int cfg_parse(const json_t *j, struct tc_cfg *c, struct err *e)
{
	int64_t d_in, latents, expansion, k;
	const char *activation;

	if (!json_is_object(j))
		return err_set(e, ERR_FORMAT, "wanted a JSON object");
	if (json_str(j, "activation", "topk", &activation, e) < 0 ||
	    json_int(j, "d_in", 1, UINT32_MAX - 1, 0, &d_in, e) < 0 ||
	    json_int(j, "num_latents", 0, UINT32_MAX - 1, 0, &latents, e) < 0 ||
	    json_int(j, "expansion_factor", 0, UINT32_MAX - 1, 32, &expansion,
	             e) < 0 ||
	    json_int(j, "k", 1, UINT32_MAX - 1, 32, &k, e) < 0 ||
	    json_bool(j, "normalize_decoder", 1, &c->normalize_decoder, e) < 0 ||
	    json_bool(j, "multi_topk", 0, &c->multi_topk, e) < 0 ||
	    json_bool(j, "skip_connection", 0, &c->skip, e) < 0 ||
	    json_bool(j, "transcode", 0, &c->transcode, e) < 0)
		return -1;
	if (variant_parse(j, c, e) < 0)
		return -1;
	if (strcmp(activation, "topk") != 0)
		return err_set(e, ERR_FORMAT, "activation is %.40s, wanted "
		               "topk", activation);
	if (latents == 0 && d_in * (double)expansion < UINT32_MAX)
		latents = d_in * expansion;
	if (latents == 0)
		return err_set(e, ERR_FORMAT, "neither num_latents nor "
		               "expansion_factor gives a width");
	if (k > latents)
		return err_set(e, ERR_FORMAT, "k is %lld of %lld latents",
		               (long long)k, (long long)latents);
	c->d_in = (uint32_t)d_in;
	c->n_latents = (uint32_t)latents;
	c->expansion = (uint32_t)expansion;
	c->k = (uint32_t)k;
	return 0;
}

/* Finite f32 values of t to device memory, part by part. */
static int load_weight(const struct safet *s, const struct weight *w,
                       struct dev *d, struct err *e)
{
	size_t shape[2] = { w->rows, w->cols }, i, j, n;
	const struct tensor *t = safet_get(s, w->name, w->rows ? 2 : 1,
	                                   w->rows ? shape : shape + 1, e);
	float *part;
	int rc = -1;

	if (!t)
		return -1;
	part = mem_scratch(PART, sizeof(*part), e);
	if (!part)
		return -1;
	for (i = 0; i < t->n; i += n) {
		n = t->n - i < PART ? t->n - i : PART;
		if (tensor_f32(t, i, n, part, e) < 0) {
			err_wrap(e, "%s", w->name);
			goto done;
		}
		for (j = 0; j < n; j++)
			if (!isfinite(part[j])) {
				err_set(e, ERR_FORMAT, "%s: value %zu is not "
				        "finite", w->name, i + j);
				goto done;
			}
		if (dev_ops(d)->put(d, w->data + i, part, n * sizeof(*part),
		                    e) < 0)
			goto done;
	}
	rc = 0;
done:
	mem_free(part);
	return rc;
}

static struct tc *read_weights(const char *path, struct tc_cfg *c,
                               uint32_t d_out, struct dev *d, struct err *e)
{
	struct safet *s = safet_open(path, e);
	const size_t any[2] = { c->n_latents, 0 };
	const struct tensor *dec;
	struct weight w[WEIGHTS_MAX];
	struct tc *t = NULL;
	int n, i;

	if (!s)
		return NULL;
	dec = safet_get(s, "W_dec", 2, any, e);
	if (!dec)
		goto fail;
	if (dec->shape[1] > UINT32_MAX || (d_out && dec->shape[1] != d_out)) {
		err_set(e, ERR_FORMAT, "W_dec is %zu wide, wanted %u",
		        dec->shape[1], d_out);
		goto fail;
	}
	c->d_out = (uint32_t)dec->shape[1];
	t = tc_new(c, d, e);
	if (!t)
		goto fail;
	n = weights(t, w);
	if (safet_count(s) != (size_t)n) {
		err_set(e, ERR_FORMAT, "%zu tensors, wanted %d%s",
		        safet_count(s), n, c->skip ? "" : " (no skip "
		        "connection, says cfg.json)");
		goto fail;
	}
	for (i = 0; i < n; i++)
		if (load_weight(s, &w[i], d, e) < 0)
			goto fail;
	safet_free(s);
	return t;
fail:
	err_wrap(e, "%s", path);
	tc_free(t);
	safet_free(s);
	return NULL;
}

/* Thresholds are above 0. */
static int read_thresholds(struct tc *t, const char *path, struct err *e)
{
	const struct weight w = { "threshold", t->threshold, 0,
	                          t->cfg.n_latents };
	struct safet *s = safet_open(path, e);
	const struct tensor *v;
	size_t n = t->cfg.n_latents, i;
	float *host = NULL;
	int rc = -1;

	if (!s)
		return -1;
	if (!(v = safet_get(s, w.name, 1, &n, e)) ||
	    !(host = mem_scratch(n, sizeof(*host), e)) ||
	    tensor_f32(v, 0, n, host, e) < 0)
		goto done;
	for (i = 0; i < n; i++)
		if (!(host[i] > 0)) {
			err_set(e, ERR_FORMAT, "threshold %zu is %g, wanted "
			        "above 0", i, (double)host[i]);
			goto done;
		}
	rc = load_weight(s, &w, t->dev, e);
done:
	if (rc < 0)
		err_wrap(e, "%s", path);
	mem_free(host);
	safet_free(s);
	return rc;
}

struct tc *tc_read(const char *dir, int layer, uint32_t d_in, uint32_t d_out,
                   struct dev *d, struct err *e)
{
	char path[PATH];
	struct tc_cfg c = { 0 };
	struct tc *t;
	json_t *j;
	int rc;

	if (path_of(path, dir, layer, "cfg.json", e) < 0)
		return NULL;
	j = json_read(path, CFG_MAX, e);
	if (!j)
		return NULL;
	rc = cfg_parse(j, &c, e);
	json_decref(j);
	if (rc == 0 && d_in && c.d_in != d_in)
		rc = err_set(e, ERR_FORMAT, "d_in is %u, wanted %u", c.d_in,
		             d_in);
	if (rc < 0) {
		err_wrap(e, "%s", path);
		return NULL;
	}
	if (path_of(path, dir, layer, "sae.safetensors", e) < 0)
		return NULL;
	t = read_weights(path, &c, d_out, d, e);
	if (t && t->threshold &&
	    (path_of(path, dir, layer, THRESHOLDS, e) < 0 ||
	     read_thresholds(t, path, e) < 0)) {
		tc_free(t);
		return NULL;
	}
	return t;
}

static const char *truth(int v)
{
	return v ? "true" : "false";
}

static int write_cfg(const struct tc_cfg *c, const char *path, struct err *e)
{
	char text[512];
	uint32_t expansion = c->expansion ? c->expansion
	                                  : c->n_latents / c->d_in;
	int topk = c->variant == TC_TOPK;
	int n = snprintf(text, sizeof(text),
	                 "{\"activation\": \"topk\", \"expansion_factor\": %u, "
	                 "\"normalize_decoder\": %s, \"num_latents\": %u, "
	                 "\"k\": %u, \"multi_topk\": %s, "
	                 "\"skip_connection\": %s, \"transcode\": %s, "
	                 "\"d_in\": %u%s%s%s}", expansion ? expansion : 1,
	                 truth(c->normalize_decoder), c->n_latents, c->k,
	                 truth(c->multi_topk), truth(c->skip),
	                 truth(c->transcode), c->d_in,
	                 topk ? "" : ", \"variant\": \"",
	                 topk ? "" : variants[c->variant], topk ? "" : "\"");

	return file_write(path, text, (size_t)n, e);
}

/* Device memory to the file, part by part. */
static int put_weight(struct safet_out *o, const struct weight *w,
                      struct dev *d, struct err *e)
{
	size_t total = (w->rows ? w->rows : 1) * w->cols, i, n;
	float *part = mem_scratch(PART, sizeof(*part), e);
	int rc = part ? 0 : -1;

	for (i = 0; rc == 0 && i < total; i += n) {
		n = total - i < PART ? total - i : PART;
		rc = dev_ops(d)->get(d, part, w->data + i, n * sizeof(*part),
		                     e);
		if (rc == 0)
			rc = safet_put(o, w->name, part, n * sizeof(*part), e);
	}
	mem_free(part);
	return rc;
}

static int write_weights(const struct tc *t, const struct weight *w, int n,
                         const char *path, struct err *e)
{
	static const char *const meta[] = { "format", "pt", NULL };
	struct safet_decl decl[WEIGHTS_MAX] = { { 0 } };
	struct safet_out *o;
	int i, rc = 0;

	for (i = 0; i < n; i++) {
		decl[i] = (struct safet_decl){ .name = w[i].name,
			.type = DT_F32, .n_dims = w[i].rows ? 2 : 1 };
		decl[i].shape[0] = w[i].rows ? w[i].rows : w[i].cols;
		decl[i].shape[1] = w[i].cols;
	}
	o = safet_create(path, decl, (size_t)n, meta, e);
	if (!o)
		return -1;
	for (i = 0; rc == 0 && i < n; i++)
		rc = put_weight(o, &w[i], t->dev, e);
	if (rc == 0)
		rc = safet_commit(o, e);
	safet_out_free(o);
	return rc;
}

int tc_write(const struct tc *t, const char *dir, int layer, struct err *e)
{
	const struct weight thresholds = { "threshold", t->threshold, 0,
	                                   t->cfg.n_latents };
	struct weight w[WEIGHTS_MAX];
	char path[PATH];
	int n = weights(t, w);

	if (path_of(path, dir, layer, "", e) < 0 || file_mkdirs(path, e) < 0 ||
	    path_of(path, dir, layer, "sae.safetensors", e) < 0 ||
	    write_weights(t, w, n, path, e) < 0 ||
	    path_of(path, dir, layer, THRESHOLDS, e) < 0 ||
	    (t->threshold && write_weights(t, &thresholds, 1, path, e) < 0) ||
	    path_of(path, dir, layer, "cfg.json", e) < 0 ||
	    write_cfg(&t->cfg, path, e) < 0)
		return -1;
	/* a TopK transcoder may take the place of a variant */
	if (!t->threshold && path_of(path, dir, layer, THRESHOLDS, e) == 0 &&
	    unlink(path) < 0 && errno != ENOENT)
		return err_sys(e, "%s", path);
	return 0;
}

/* N of a name "layers.N.mlp" written as we write it, or -1. */
static int layer_of(const char *name)
{
	char back[64];
	int n;

	if (sscanf(name, "layers.%9d.mlp", &n) != 1 || n < 0)
		return -1;
	snprintf(back, sizeof(back), "layers.%d.mlp", n);
	return strcmp(name, back) == 0 ? n : -1;
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

int tc_layers(const char *dir, int *layers, int max, struct err *e)
{
	char path[PATH];
	struct dirent *f;
	struct stat st;
	DIR *d = opendir(dir);
	int n = 0, layer, rc = 0;

	if (!d)
		return err_sys(e, "%s", dir);
	while (rc == 0 && (errno = 0, f = readdir(d))) {
		layer = layer_of(f->d_name);
		if (layer < 0)
			continue;
		rc = path_of(path, dir, layer, "cfg.json", e);
		if (rc < 0 || stat(path, &st) < 0)
			continue;
		if (n == max)
			rc = err_set(e, ERR_RANGE, "%s: more than %d layers",
			             dir, max);
		else
			layers[n++] = layer;
	}
	if (rc == 0 && errno)
		rc = err_sys(e, "%s", dir);
	closedir(d);
	if (rc < 0)
		return -1;
	qsort(layers, (size_t)n, sizeof(*layers), by_number);
	return n;
}
