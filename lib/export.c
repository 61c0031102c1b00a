#include "export.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "json.h"
#include "mem.h"
#include "safet.h"

enum {
	TENSORS = 6,
	PART = 1 << 20		/* values moved at a time */
};

static const struct dev_ops *ops(const struct tc *t)
{
	return dev_ops(t->dev);
}

int export_check(const struct export_opt *o, const int *layers,
                 struct tc *const *tc, int n, int jump, struct err *e)
{
	const struct tc_cfg *a = &tc[0]->cfg;
	int i;

	for (i = 0; i < n; i++)
		if (tc[i]->threshold && !jump)
			return err_set(e, ERR_RANGE, "layer %d was trained "
			               "with thresholds, not as TopK",
			               layers[i]);
		else if (!tc[i]->threshold != !tc[0]->threshold)
			return err_set(e, ERR_RANGE, "layer %d is %s, layer %d "
			               "%s", layers[i],
			               tc_variant_name(tc[i]->cfg.variant),
			               layers[0], tc_variant_name(a->variant));
	if (o->format == EXPORT_SAELENS) {
		if (!jump)
			return err_set(e, ERR_RANGE, "SAELens has no transcoder "
			               "with TopK");
		return 0;
	}
	for (i = 0; i < n; i++) {
		const struct tc_cfg *c = &tc[i]->cfg;

		if (layers[i] != i)
			return err_set(e, ERR_RANGE, "layer %d is missing: "
			               "circuit-tracer wants every layer from 0 "
			               "on", i);
		if (!c->transcode || c->d_in != c->d_out)
			return err_set(e, ERR_RANGE, "layer %d: circuit-tracer "
			               "knows no autoencoder", i);
		if (c->n_latents != a->n_latents || c->skip != a->skip ||
		    (!jump && c->k != a->k))
			return err_set(e, ERR_RANGE, "layer %d has %u latents, "
			               "k %u%s, layer 0 %u, k %u%s: "
			               "circuit-tracer wants them equal", i,
			               c->n_latents, c->k,
			               c->skip ? "" : ", no skip connection",
			               a->n_latents, a->k,
			               a->skip ? "" : ", no skip connection");
	}
	return 0;
}

/* ---- weights ---------------------------------------------------------------- */

struct part {
	const char *name;
	const float *data;	/* device */
	size_t rows, cols;	/* as they lie there; rows 0: a vector */
	int turned;		/* is written [cols, rows] */
};

static int parts_of(const struct export_opt *o, const struct tc *t,
                    struct part *p)
{
	const struct tc_cfg *c = &t->cfg;
	int lens = o->format == EXPORT_SAELENS, n = 0;

	p[n++] = (struct part){ "W_enc", t->w_enc, c->n_latents, c->d_in,
	                        lens };
	p[n++] = (struct part){ "W_dec", t->w_dec, c->n_latents, c->d_out,
	                        0 };
	p[n++] = (struct part){ "b_enc", t->b_enc, 0, c->n_latents, 0 };
	p[n++] = (struct part){ "b_dec", t->b_dec, 0, c->d_out, 0 };
	if (t->w_skip)
		p[n++] = (struct part){ "W_skip", t->w_skip, c->d_out, c->d_in,
		                        0 };
	if (t->threshold)
		p[n++] = (struct part){ lens ? "threshold"
		                        : "activation_function.threshold",
		                        t->threshold, 0, c->n_latents, 0 };
	return n;
}

static int put_straight(struct safet_out *f, const struct tc *t,
                        const struct part *p, float *buf, struct err *e)
{
	size_t all = (p->rows ? p->rows : 1) * p->cols, i, n;

	for (i = 0; i < all; i += n) {
		n = all - i < PART ? all - i : PART;
		if (ops(t)->get(t->dev, buf, p->data + i, n * sizeof(*buf),
		                e) < 0 ||
		    safet_put(f, p->name, buf, n * sizeof(*buf), e) < 0)
			return -1;
	}
	return 0;
}

/* Column by column, from a copy on the host. */
static int put_turned(struct safet_out *f, const struct tc *t,
                      const struct part *p, float *buf, struct err *e)
{
	size_t n = PART < p->rows ? PART : p->rows, c, r, k;
	float *whole = mem_scratch(p->rows, p->cols * sizeof(*whole), e);
	int rc = -1;

	if (!whole || ops(t)->get(t->dev, whole, p->data,
	                          p->rows * p->cols * sizeof(*whole), e) < 0)
		goto done;
	for (c = 0; c < p->cols; c++)
		for (r = 0; r < p->rows; r += n) {
			if (n > p->rows - r)
				n = p->rows - r;
			for (k = 0; k < n; k++)
				buf[k] = whole[(r + k) * p->cols + c];
			if (safet_put(f, p->name, buf, n * sizeof(*buf), e) < 0)
				goto done;
		}
	rc = 0;
done:
	mem_free(whole);
	return rc;
}

static int write_weights(const struct export_opt *o, const struct tc *t,
                         const char *path, struct err *e)
{
	static const char *const meta[] = { "format", "pt", NULL };
	struct safet_decl decl[TENSORS];
	struct part part[TENSORS];
	int n = parts_of(o, t, part), i, rc = -1;
	struct safet_out *f;
	float *buf;

	for (i = 0; i < n; i++) {
		const struct part *p = &part[i];

		decl[i] = (struct safet_decl){ .name = p->name, .type = DT_F32,
			.n_dims = p->rows ? 2 : 1 };
		decl[i].shape[0] = p->turned || !p->rows ? p->cols : p->rows;
		decl[i].shape[1] = p->turned ? p->rows : p->cols;
	}
	f = safet_create(path, decl, (size_t)n, meta, e);
	buf = f ? mem_scratch(PART, sizeof(*buf), e) : NULL;
	if (!buf)
		goto done;
	for (i = 0; i < n; i++)
		if ((part[i].turned ? put_turned : put_straight)
		    (f, t, &part[i], buf, e) < 0)
			goto done;
	rc = safet_commit(f, e);
done:
	mem_free(buf);
	safet_out_free(f);
	return rc;
}

/* ---- configurations --------------------------------------------------------- */

static int write_lens_cfg(const struct export_opt *o, const struct tc *t,
                          int layer, const char *path, struct err *e)
{
	const struct tc_cfg *c = &t->cfg;
	char in[64], out[64], *text;
	json_t *j;
	int rc;

	snprintf(in, sizeof(in), "blocks.%d.mlp.hook_%s", layer,
	         c->transcode ? "in" : "out");
	snprintf(out, sizeof(out), "blocks.%d.mlp.hook_out", layer);
	/* without a version it is taken for an old one, and the hooks are lost */
	j = json_pack("{s:s,s:I,s:I,s:I,s:s,s:s,s:b,s:s,s:s,"
	              "s:{s:s,s:s,s:s,s:s}}",
	              "architecture", !c->transcode ? "jumprelu"
	              : c->skip ? "jumprelu_skip_transcoder"
	              : "jumprelu_transcoder",
	              "d_in", (json_int_t)c->d_in,
	              "d_sae", (json_int_t)c->n_latents,
	              "d_out", (json_int_t)c->d_out,
	              "dtype", "float32", "device", "cpu",
	              "apply_b_dec_to_input", !c->transcode,
	              "normalize_activations", "none",
	              "reshape_activations", "none",
	              "metadata", "sae_lens_version", "6.0.0", "model_name",
	              o->model, "hook_name", in, "hook_name_out", out);
	text = j ? json_dumps(j, JSON_INDENT(2)) : NULL;
	rc = text ? file_write(path, text, strlen(text), e)
	          : err_set(e, ERR_FORMAT, "%s: cannot be made (a model's name "
	                    "that is not UTF-8?)", path);
	free(text);
	json_decref(j);
	return rc;
}

int export_layer(const struct export_opt *o, int layer, const struct tc *t,
                 struct err *e)
{
	int lens = o->format == EXPORT_SAELENS, rc = -1;
	char *weights, *cfg = NULL;

	weights = lens
		? mem_printf(e, "%s/layer_%d/sae_weights.safetensors", o->out,
		             layer)
		: mem_printf(e, "%s/layer_%d.safetensors", o->out, layer);
	if (weights && file_mkparents(weights, e) == 0 &&
	    write_weights(o, t, weights, e) == 0)
		rc = 0;
	if (rc == 0 && lens) {
		cfg = mem_printf(e, "%s/layer_%d/cfg.json", o->out, layer);
		rc = cfg ? write_lens_cfg(o, t, layer, cfg, e) : -1;
	}
	mem_free(weights);
	mem_free(cfg);
	return rc;
}

/* A JSON string is a YAML string. */
static char *quoted(const char *s, struct err *e)
{
	json_t *j = json_string(s);
	char *text = j ? json_dumps(j, JSON_ENCODE_ANY) : NULL, *copy = NULL;

	if (text)
		copy = mem_strdup(text, e);
	else
		err_set(e, ERR_FORMAT, "'%s' is not UTF-8", s);
	free(text);
	json_decref(j);
	return copy;
}

static char *config_path(const struct export_opt *o, struct err *e)
{
	return mem_printf(e, "%s/config.yaml", o->out);
}

int export_begin(const struct export_opt *o, struct err *e)
{
	char *path;
	int rc;

	if (o->format == EXPORT_SAELENS)
		return 0;
	if (!(path = config_path(o, e)))
		return -1;
	rc = unlink(path) < 0 && errno != ENOENT && errno != ENOTDIR
	     ? err_sys(e, "%s", path) : 0;
	mem_free(path);
	return rc;
}

int export_finish(const struct export_opt *o, uint32_t k, struct err *e)
{
	char *path = NULL, *model = NULL, *scan = NULL, *text = NULL;
	char how[64] = "";
	int rc = -1;

	if (o->format == EXPORT_SAELENS)
		return 0;
	if (k)
		snprintf(how, sizeof(how), "activation: topk\nk: %u\n", k);
	if ((path = config_path(o, e)) &&
	    (model = quoted(o->model, e)) &&
	    (scan = o->scan ? quoted(o->scan, e) : mem_strdup("", e)) &&
	    (text = mem_printf(e, "model_kind: transcoder_set\n"
	                       "model_name: %s\n"
	                       "feature_input_hook: mlp.hook_in\n"
	                       "feature_output_hook: mlp.hook_out\n"
	                       "%s%s%s%s", model, *scan ? "scan: " : "", scan,
	                       *scan ? "\n" : "", how)))
		rc = file_write(path, text, strlen(text), e);
	mem_free(path);
	mem_free(model);
	mem_free(scan);
	mem_free(text);
	return rc;
}
