#include "import.h"

#include <dirent.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "json.h"
#include "map.h"
#include "mem.h"
#include "safet.h"

enum {
	LAYERS = 512,
	CFG_MAX = 1 << 20	/* bytes of a configuration */
};

struct import {
	const char *dir;
	int lens;		/* SAELens' */
	int topk;		/* circuit-tracer's config.yaml says so */
	uint32_t k;		/* 0: unknown */
	int layer[LAYERS], n;
};

/* ---- what there is ------------------------------------------------------------ */

/* N of "layer_N" with the tail given, written without zeros in front, or -1. */
static int number_of(const char *name, const char *tail)
{
	char back[64];
	int n;

	if (sscanf(name, "layer_%9d", &n) != 1 || n < 0)
		return -1;
	snprintf(back, sizeof(back), "layer_%d%s", n, tail);
	return strcmp(name, back) == 0 ? n : -1;
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static int find_layers(struct import *m, struct err *e)
{
	const char *tail = m->lens ? "" : ".safetensors";
	struct dirent *f;
	DIR *d = opendir(m->dir);
	int layer, rc = 0;

	if (!d)
		return err_sys(e, "%s", m->dir);
	while (rc == 0 && (errno = 0, f = readdir(d))) {
		layer = number_of(f->d_name, tail);
		if (layer >= 0 && m->n == LAYERS)
			rc = err_set(e, ERR_RANGE, "%s: more than %d layers",
			             m->dir, LAYERS);
		else if (layer >= 0)
			m->layer[m->n++] = layer;
	}
	if (rc == 0 && errno)
		rc = err_sys(e, "%s", m->dir);
	closedir(d);
	if (rc == 0 && !m->n)
		rc = err_set(e, ERR_FORMAT, "%s: holds no layer_N%s", m->dir,
		             tail);
	qsort(m->layer, (size_t)m->n, sizeof(*m->layer), by_number);
	return rc;
}

/* The value of a line "key: value", quotes taken away, into out[size]; whether
 * it is there. Of YAML this is all that these files use at their top level. */
static int yaml_value(const char *text, size_t n, const char *key, char *out,
                      size_t size)
{
	size_t n_key = strlen(key), i, len;
	const char *end = text + n, *line, *next;

	for (line = text; line < end; line = next) {
		next = memchr(line, '\n', (size_t)(end - line));
		next = next ? next + 1 : end;
		len = (size_t)(next - line);
		if (len <= n_key || strncmp(line, key, n_key) != 0 ||
		    line[n_key] != ':')
			continue;
		line += n_key + 1;
		while (line < next && strchr(" \t\"'", *line))
			line++;
		for (i = 0; line < next && i + 1 < size &&
		     !strchr(" \t\r\n\"'#", *line); i++)
			out[i] = *line++;
		out[i] = '\0';
		return 1;
	}
	return 0;
}

static int read_yaml(struct import *m, const char *path, struct err *e)
{
	char value[64], *end;
	struct map f;
	unsigned long k;
	int rc = -1;

	if (map_open(&f, path, e) < 0)
		return -1;
	if (f.n > CFG_MAX) {
		err_set(e, ERR_FORMAT, "%s: %zu bytes, wanted a configuration",
		        path, f.n);
		goto done;
	}
	if (yaml_value((const char *)f.data, f.n, "model_kind", value,
	               sizeof(value)) &&
	    strcmp(value, "transcoder_set") != 0) {
		err_set(e, ERR_FORMAT, "%s: a %s, wanted a transcoder_set",
		        path, value);
		goto done;
	}
	m->topk = yaml_value((const char *)f.data, f.n, "activation", value,
	                     sizeof(value)) && strcmp(value, "topk") == 0;
	if (m->topk) {
		if (!yaml_value((const char *)f.data, f.n, "k", value,
		                sizeof(value)) ||
		    (k = strtoul(value, &end, 10)) == 0 || *end ||
		    k > UINT32_MAX - 1) {
			err_set(e, ERR_FORMAT, "%s: activation topk without a "
			        "k", path);
			goto done;
		}
		m->k = (uint32_t)k;
	}
	rc = 0;
done:
	map_close(&f);
	return rc;
}

struct import *import_open(const char *dir, uint32_t k, struct err *e)
{
	struct import *m = mem_array(1, sizeof(*m), e);
	char *path = mem_printf(e, "%s/config.yaml", dir);

	if (!m || !path)
		goto fail;
	m->dir = dir;
	m->k = k;
	m->lens = access(path, F_OK) < 0;
	if ((!m->lens && read_yaml(m, path, e) < 0) || find_layers(m, e) < 0)
		goto fail;
	mem_free(path);
	return m;
fail:
	mem_free(path);
	mem_free(m);
	return NULL;
}

void import_free(struct import *m)
{
	mem_free(m);
}

const int *import_layers(const struct import *m, int *n)
{
	*n = m->n;
	return m->layer;
}

/* ---- one layer ------------------------------------------------------------------ */

/* Tensor `name` [rows, cols] (rows 0: a vector) to device memory at `to`; with
 * turned, the file has it [cols, rows]. */
static int load(const struct safet *s, const char *name, size_t rows,
                size_t cols, int turned, struct dev *d, float *to,
                struct err *e)
{
	size_t shape[2] = { rows ? rows : cols, cols }, n, r, c;
	float *file = NULL, *straight = NULL;
	const struct tensor *t;
	int rc = -1;

	if (turned) {
		shape[0] = cols;
		shape[1] = rows;
	}
	if (!(t = safet_get(s, name, rows ? 2 : 1, shape, e)) ||
	    !(file = mem_scratch(t->n, sizeof(*file), e)) ||
	    tensor_f32(t, 0, t->n, file, e) < 0)
		goto done;
	for (n = 0; n < t->n; n++)
		if (!isfinite(file[n])) {
			err_set(e, ERR_FORMAT, "%s: value %zu is not finite",
			        name, n);
			goto done;
		}
	if (turned) {
		if (!(straight = mem_scratch(t->n, sizeof(*straight), e)))
			goto done;
		for (c = 0; c < cols; c++)
			for (r = 0; r < rows; r++)
				straight[r * cols + c] = file[c * rows + r];
	}
	rc = dev_ops(d)->put(d, to, turned ? straight : file,
	                     t->n * sizeof(*file), e);
done:
	mem_free(file);
	mem_free(straight);
	return rc;
}

/* Thresholds of tensor `name`; without such a tensor all are as good as 0. */
static int load_thresholds(const struct safet *s, const char *name,
                           struct tc *t, struct err *e)
{
	size_t n = t->cfg.n_latents, i;
	float *v = mem_scratch(n, sizeof(*v), e);
	const struct tensor *file = NULL;
	int rc = -1;

	if (!v || (safet_find(s, name) &&
	           (!(file = safet_get(s, name, 1, &n, e)) ||
	            tensor_f32(file, 0, n, v, e) < 0)))
		goto done;
	for (i = 0; i < n; i++) {
		if (!file || v[i] == 0)
			v[i] = FLT_MIN;
		if (!(v[i] > 0 && isfinite(v[i]))) {
			err_set(e, ERR_FORMAT, "%s: threshold %zu is %g, "
			        "wanted 0 or above", name, i, (double)v[i]);
			goto done;
		}
	}
	rc = dev_ops(t->dev)->put(t->dev, t->threshold, v, n * sizeof(*v), e);
done:
	mem_free(v);
	return rc;
}

/* The shape as the tensors tell it; cfg.json's words are in c already. */
static int shape_of(const struct import *m, const struct safet *s,
                    struct tc_cfg *c, struct err *e)
{
	const size_t any[2] = { 0, 0 };
	const struct tensor *enc = safet_get(s, "W_enc", 2, any, e);
	const struct tensor *dec = safet_get(s, "W_dec", 2, any, e);

	if (!enc || !dec)
		return -1;
	if (enc->shape[0] >= UINT32_MAX || enc->shape[1] >= UINT32_MAX ||
	    dec->shape[1] >= UINT32_MAX)
		return err_set(e, ERR_RANGE, "W_enc of %zu x %zu",
		               enc->shape[0], enc->shape[1]);
	c->n_latents = (uint32_t)enc->shape[m->lens];
	c->d_in = (uint32_t)enc->shape[!m->lens];
	c->d_out = (uint32_t)dec->shape[1];
	c->skip = safet_find(s, "W_skip") != NULL;
	c->variant = m->topk ? TC_TOPK : TC_JUMPRELU;
	c->k = m->k;
	if (!m->k)
		return err_set(e, ERR_FORMAT, "the files do not say how many "
		               "latents are active: -k must");
	return 0;
}

static struct tc *read_weights(const struct import *m, const char *path,
                               struct tc_cfg *c, struct dev *d, struct err *e)
{
	struct safet *s = safet_open(path, e);
	struct tc *t = NULL;

	if (!s)
		goto fail;
	if (shape_of(m, s, c, e) < 0 || !(t = tc_new(c, d, e)) ||
	    load(s, "W_enc", c->n_latents, c->d_in, m->lens, d, t->w_enc,
	         e) < 0 ||
	    load(s, "b_enc", 0, c->n_latents, 0, d, t->b_enc, e) < 0 ||
	    load(s, "W_dec", c->n_latents, c->d_out, 0, d, t->w_dec, e) < 0 ||
	    load(s, "b_dec", 0, c->d_out, 0, d, t->b_dec, e) < 0 ||
	    (c->skip && load(s, "W_skip", c->d_out, c->d_in, 0, d, t->w_skip,
	                     e) < 0) ||
	    (t->threshold &&
	     load_thresholds(s, m->lens ? "threshold"
	                     : "activation_function.threshold", t, e) < 0)) {
		err_wrap(e, "%s", path);
		goto fail;
	}
	safet_free(s);
	return t;
fail:
	tc_free(t);
	safet_free(s);
	return NULL;
}

/* What of a SAELens cfg.json bears on the numbers. */
static int read_lens_cfg(const char *path, struct tc_cfg *c, struct err *e)
{
	static const char *const known[] = { "jumprelu_skip_transcoder",
		"jumprelu_transcoder", "jumprelu" };
	const char *architecture, *normalize;
	json_t *j = json_read(path, CFG_MAX, e);
	int centred, i, rc = -1;

	if (!j)
		return -1;
	if (json_str(j, "architecture", "standard", &architecture, e) < 0 ||
	    json_str(j, "normalize_activations", "none", &normalize, e) < 0 ||
	    json_bool(j, "apply_b_dec_to_input", 0, &centred, e) < 0)
		goto done;
	for (i = 0; i < 3 && strcmp(architecture, known[i]) != 0; )
		i++;
	c->transcode = i < 2;
	if (i == 3)
		err_set(e, ERR_FORMAT, "architecture is %.60s, wanted "
		        "jumprelu_skip_transcoder, jumprelu_transcoder or "
		        "jumprelu", architecture);
	else if (strcmp(normalize, "none") != 0)
		err_set(e, ERR_FORMAT, "normalize_activations is %.60s, wanted "
		        "none", normalize);
	else if (centred == c->transcode)
		err_set(e, ERR_FORMAT, "apply_b_dec_to_input is %s",
		        centred ? "true" : "false");
	else
		rc = 0;
done:
	if (rc < 0)
		err_wrap(e, "%s", path);
	json_decref(j);
	return rc;
}

struct tc *import_read(const struct import *m, int layer, struct dev *d,
                       struct err *e)
{
	struct tc_cfg c = { .transcode = 1 };
	struct tc *t = NULL;
	char *path;

	if (m->lens) {
		int rc;

		path = mem_printf(e, "%s/layer_%d/cfg.json", m->dir, layer);
		rc = path ? read_lens_cfg(path, &c, e) : -1;
		mem_free(path);
		if (rc < 0)
			return NULL;
		path = mem_printf(e, "%s/layer_%d/sae_weights.safetensors",
		                  m->dir, layer);
	} else
		path = mem_printf(e, "%s/layer_%d.safetensors", m->dir, layer);
	if (path)
		t = read_weights(m, path, &c, d, e);
	mem_free(path);
	return t;
}
