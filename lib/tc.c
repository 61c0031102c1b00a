#include "tc.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "dev_tc.h"
#include "file.h"
#include "json.h"
#include "mem.h"
#include "safet.h"

enum {
	PATH = 4096,
	CFG_MAX = 1 << 20,	/* bytes of a cfg.json */
	PART = 1 << 20,		/* values moved at a time */
	PASS_ROWS = 4096	/* rows encoded or decoded at a time */
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
	if (!t->w_enc || !t->b_enc || !t->w_dec || !t->b_dec ||
	    (c->skip && !t->w_skip)) {
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
	mem_free(t);
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

struct tc *tc_read(const char *dir, int layer, uint32_t d_in, uint32_t d_out,
                   struct dev *d, struct err *e)
{
	char path[PATH];
	struct tc_cfg c = { 0 };
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
	return read_weights(path, &c, d_out, d, e);
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
	int n = snprintf(text, sizeof(text),
	                 "{\"activation\": \"topk\", \"expansion_factor\": %u, "
	                 "\"normalize_decoder\": %s, \"num_latents\": %u, "
	                 "\"k\": %u, \"multi_topk\": %s, "
	                 "\"skip_connection\": %s, \"transcode\": %s, "
	                 "\"d_in\": %u}", expansion ? expansion : 1,
	                 truth(c->normalize_decoder), c->n_latents, c->k,
	                 truth(c->multi_topk), truth(c->skip),
	                 truth(c->transcode), c->d_in);

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

static int write_weights(const struct tc *t, const char *path, struct err *e)
{
	static const char *const meta[] = { "format", "pt", NULL };
	struct weight w[WEIGHTS_MAX];
	struct safet_decl decl[WEIGHTS_MAX];
	struct safet_out *o;
	int n = weights(t, w), i, rc = 0;

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
	char path[PATH];

	if (path_of(path, dir, layer, "", e) < 0 || file_mkdirs(path, e) < 0 ||
	    path_of(path, dir, layer, "sae.safetensors", e) < 0 ||
	    write_weights(t, path, e) < 0 ||
	    path_of(path, dir, layer, "cfg.json", e) < 0)
		return -1;
	return write_cfg(&t->cfg, path, e);
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

/* ---- encode and decode -------------------------------------------------- */

/* Codes of at most PASS_ROWS rows in device memory. */
static int pass_new(const struct tc *t, size_t n, size_t k,
                    struct dev_tc_codes *c, struct err *e)
{
	size_t bytes;

	c->latent = NULL;
	c->value = NULL;
	c->n = n < PASS_ROWS ? n : PASS_ROWS;
	c->k = k;
	if (mem_mul(c->n, k * sizeof(float), &bytes, e) < 0)
		return -1;
	c->latent = ops(t)->alloc(t->dev, bytes, e);
	c->value = ops(t)->alloc(t->dev, bytes, e);
	return c->latent && c->value ? 0 : -1;
}

static void pass_free(const struct tc *t, struct dev_tc_codes *c)
{
	ops(t)->release(t->dev, c->latent);
	ops(t)->release(t->dev, c->value);
}

int tc_encode(const struct tc *t, const float *x, size_t n, size_t k,
              struct tc_codes *codes, struct err *e)
{
	struct dev *d = t->dev;
	size_t d_in = t->cfg.d_in, i, m;
	struct dev_tc_codes c;
	float *centred = NULL;
	int rc = -1;

	k = k ? k : t->cfg.k;
	codes->n = n;
	codes->k = k;
	if (pass_new(t, n, k, &c, e) < 0)
		goto done;
	if (!t->cfg.transcode) {
		centred = dev_floats(d, c.n, d_in, e);
		if (!centred)
			goto done;
	}
	for (i = 0; i < n; i += m) {
		const float *in = x + i * d_in;

		m = n - i < PASS_ROWS ? n - i : PASS_ROWS;
		if (centred) {
			if (ops(t)->tc->centre(d, in, NULL, m, d_in, t->b_dec,
			                       1, centred, e) < 0)
				goto done;
			in = centred;
		}
		if (ops(t)->tc->encode(d, in, m, d_in, t->w_enc, t->b_enc,
		                       t->cfg.n_latents, NULL, &c, e) < 0 ||
		    ops(t)->get(d, codes->latent + i * k, c.latent,
		                m * k * sizeof(*c.latent), e) < 0 ||
		    ops(t)->get(d, codes->value + i * k, c.value,
		                m * k * sizeof(*c.value), e) < 0)
			goto done;
	}
	rc = 0;
done:
	pass_free(t, &c);
	ops(t)->release(d, centred);
	return rc;
}

int tc_decode(const struct tc *t, const float *x,
              const struct tc_codes *codes, float *out, struct err *e)
{
	struct dev *d = t->dev;
	size_t d_in = t->cfg.d_in, d_out = t->cfg.d_out, k = codes->k, i, m;
	struct dev_tc_codes c;
	int rc = -1;

	if (pass_new(t, codes->n, k, &c, e) < 0)
		goto done;
	for (i = 0; i < codes->n; i += m) {
		float *to = out + i * d_out;

		m = codes->n - i < PASS_ROWS ? codes->n - i : PASS_ROWS;
		c.n = m;
		if (ops(t)->put(d, c.latent, codes->latent + i * k,
		                m * k * sizeof(*c.latent), e) < 0 ||
		    ops(t)->put(d, c.value, codes->value + i * k,
		                m * k * sizeof(*c.value), e) < 0 ||
		    ops(t)->tc->fill_rows(d, t->b_dec, m, d_out, to, e) < 0)
			goto done;
		if (t->w_skip &&
		    ops(t)->gemm(d, 0, 1, m, d_out, d_in, 1, x + i * d_in,
		                 d_in, t->w_skip, d_in, 1, to, d_out, e) < 0)
			goto done;
		if (ops(t)->tc->decode(d, &c, t->w_dec, d_out, to, e) < 0)
			goto done;
	}
	rc = 0;
done:
	pass_free(t, &c);
	return rc;
}
