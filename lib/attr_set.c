/* Transcoders of a prompt's layers: some stay, others are read each time. */
#include <string.h>

#include "attr_impl.h"
#include "mem.h"
#include "ranges.h"

struct attr_set {
	struct model *model;
	char *dir;
	int *layer, n;
	uint8_t *has;			/* [n_layers] */
	struct tc **tc;			/* [n_layers], NULL: not kept */
	struct tensor *skip;		/* [n_layers] */
	void **own;			/* memory of skip */
	size_t cache_bytes, used;
};

/* Layers of dir that are asked for: by number they must be there. */
static int choose(struct attr_set *s, const char *layers, struct err *e)
{
	int n_layers = (int)model_cfg(s->model)->n_layers, i, n;
	int *want = mem_array((size_t)n_layers, sizeof(*want), e);
	int rc = -1;

	if (!want || (n = tc_layers(s->dir, s->layer, n_layers, e)) < 0)
		goto done;
	if (!n) {
		err_set(e, ERR_FORMAT, "%s: holds no layers.N.mlp", s->dir);
		goto done;
	}
	if (s->layer[n - 1] >= n_layers) {
		err_set(e, ERR_FORMAT, "%s: has layers.%d.mlp, the model's "
		        "last layer is %d", s->dir, s->layer[n - 1],
		        n_layers - 1);
		goto done;
	}
	for (i = 0; i < n; i++)
		s->has[s->layer[i]] = 1;
	s->n = n;
	rc = 0;
	if (!strcmp(layers, "all"))
		goto done;
	rc = -1;
	if ((n = ranges_parse(layers, n_layers, want, e)) < 0)
		goto done;
	for (i = 0; i < n; i++)
		if (!s->has[want[i]]) {
			err_set(e, ERR_IO, "%s: has no layers.%d.mlp", s->dir,
			        want[i]);
			goto done;
		}
	memset(s->has, 0, (size_t)n_layers);
	for (i = 0; i < n; i++)
		s->has[s->layer[i] = want[i]] = 1;
	s->n = n;
	rc = 0;
done:
	mem_free(want);
	return rc;
}

struct attr_set *attr_set_open(const char *dir, const char *layers,
                               struct model *m, size_t cache_bytes,
                               struct err *e)
{
	size_t n = model_cfg(m)->n_layers;
	struct attr_set *s = mem_array(1, sizeof(*s), e);

	if (!s)
		return NULL;
	s->model = m;
	s->cache_bytes = cache_bytes;
	if (!(s->layer = mem_array(n, sizeof(*s->layer), e)) ||
	    !(s->has = mem_array(n, 1, e)) ||
	    !(s->tc = mem_array(n, sizeof(*s->tc), e)) ||
	    !(s->skip = mem_array(n, sizeof(*s->skip), e)) ||
	    !(s->own = mem_array(n, sizeof(*s->own), e)) ||
	    (dir && (!(s->dir = mem_strdup(dir, e)) ||
	             choose(s, layers, e) < 0))) {
		attr_set_free(s);
		return NULL;
	}
	return s;
}

void attr_set_free(struct attr_set *s)
{
	struct dev *d;
	uint32_t l;

	if (!s)
		return;
	d = model_dev(s->model);
	for (l = 0; l < model_cfg(s->model)->n_layers; l++) {
		if (s->tc)
			tc_free(s->tc[l]);
		if (s->own)
			dev_ops(d)->release(d, s->own[l]);
	}
	mem_free(s->dir);
	mem_free(s->layer);
	mem_free(s->has);
	mem_free(s->tc);
	mem_free(s->skip);
	mem_free(s->own);
	mem_free(s);
}

int attr_set_layers(const struct attr_set *s, const int **layers)
{
	*layers = s->layer;
	return s->n;
}

int attr_set_has(const struct attr_set *s, int layer)
{
	return s->has[layer];
}

static size_t tc_size(const struct tc_cfg *c)
{
	return sizeof(float) * ((size_t)c->n_latents * (c->d_in + c->d_out + 1) +
	                        c->d_out +
	                        (c->skip ? (size_t)c->d_out * c->d_in : 0));
}

const struct tc *attr_set_get(struct attr_set *s, int layer, int *own,
                              struct err *e)
{
	uint32_t dim = model_cfg(s->model)->d_model;
	struct tc *t = s->tc[layer];

	*own = 0;
	if (t || !s->has[layer])
		return t;
	t = tc_read(s->dir, layer, dim, dim, model_dev(s->model), e);
	if (!t)
		return NULL;
	if (!t->cfg.transcode) {
		err_set(e, ERR_FORMAT, "%s: layers.%d.mlp is an autoencoder, "
		        "attribution takes transcoders", s->dir, layer);
		goto fail;
	}
	if (t->w_skip && !s->own[layer] &&
	    model_frozen_turn_mlp(s->model, layer, t->w_skip, &s->skip[layer],
	                          &s->own[layer], e) < 0)
		goto fail;
	*own = s->used + tc_size(&t->cfg) > s->cache_bytes;
	if (!*own) {
		s->used += tc_size(&t->cfg);
		s->tc[layer] = t;
	}
	return t;
fail:
	tc_free(t);
	return NULL;
}

const struct tensor *attr_set_skip(const struct attr_set *s, int layer)
{
	return s->has[layer] && s->own[layer] ? &s->skip[layer] : NULL;
}
