/* delphi's cache of activations. A file holds a range of a layer's latents: n
 * firings and all tokens, so n must be known before it is begun; firings wait in
 * a temporary file for each range. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "json.h"
#include "mem.h"
#include "publish_impl.h"
#include "safet.h"
#include "tensor.h"

enum { WAITING = 4096, PART = 1 << 16 };	/* firings; values of a copy */

#define FAINT 1e-5f		/* delphi keeps what is above it */

/* As they wait: row, position, latent less the range's first, the f32's bits. */
struct firing {
	uint32_t row, pos, latent, value;
};

struct spill {
	int fd;
	uint64_t n;		/* firings of whole rows are the first ones */
	struct firing *wait;
	size_t n_wait;
};

struct publish_delphi {
	struct publish_delphi_opt o;
	struct rec_latents_head h;
	struct spill *part;	/* [n_layers][splits] */
	uint32_t splits;
	uint8_t *labelled;	/* [n_layers][n_latents] bits, or NULL: all */
	int tokens;		/* descriptor: u32 each */
	uint64_t n_tokens;
};

/* First latent of range s. */
static uint32_t first_of(const struct publish_delphi *d, uint32_t s)
{
	return (uint32_t)((uint64_t)d->h.n_latents * s / d->splits);
}

static size_t bytes_of(const struct publish_delphi *d)
{
	return ((size_t)d->h.n_latents + 7) / 8;
}

static int wanted(const struct publish_delphi *d, uint32_t k, uint32_t latent)
{
	return !d->labelled || d->labelled[k * bytes_of(d) + latent / 8] >>
	                       latent % 8 & 1;
}

/* Which latents have a label. */
static int find_labelled(struct publish_delphi *d, struct err *e)
{
	const char *label;
	uint32_t k, i;
	int got;

	if (!(d->labelled = mem_array(d->h.n_layers, bytes_of(d), e)))
		return -1;
	for (k = 0; k < d->h.n_layers; k++)
		for (i = 0; i < d->h.n_latents; i++) {
			got = publish_label(d->o.labels, d->h.layers[k], i,
			                    &label, e);
			if (got < 0)
				return -1;
			if (got)
				d->labelled[k * bytes_of(d) + i / 8] |=
					(uint8_t)(1 << i % 8);
		}
	return 0;
}

/* A file in OUT that has no name. */
static int nameless(const char *dir, struct err *e)
{
	char *path = mem_printf(e, "%s/.firings.XXXXXX", dir);
	int fd = path ? mkostemp(path, O_CLOEXEC) : -1;

	if (path && fd < 0)
		err_sys(e, "%s", path);
	else if (path)
		unlink(path);
	mem_free(path);
	return fd;
}

struct publish_delphi *publish_delphi_new(const struct publish_delphi_opt *o,
                                          const struct rec_latents_head *h,
                                          struct err *e)
{
	struct publish_delphi *d = mem_array(1, sizeof(*d), e);
	size_t n, i;

	if (!d)
		return NULL;
	d->o = *o;
	d->h = *h;
	d->splits = o->splits < h->n_latents ? o->splits : h->n_latents;
	d->tokens = -1;
	n = (size_t)d->splits * h->n_layers;
	if (!(d->part = mem_array(n, sizeof(*d->part), e)))
		goto fail;
	for (i = 0; i < n; i++)
		d->part[i].fd = -1;
	if ((o->labels && find_labelled(d, e) < 0) ||
	    file_mkdirs(o->out, e) < 0 ||
	    (d->tokens = nameless(o->out, e)) < 0)
		goto fail;
	for (i = 0; i < n; i++)
		if (!(d->part[i].wait = mem_scratch(WAITING,
		      sizeof(struct firing), e)) ||
		    (d->part[i].fd = nameless(o->out, e)) < 0)
			goto fail;
	return d;
fail:
	publish_delphi_free(d);
	return NULL;
}

void publish_delphi_free(struct publish_delphi *d)
{
	size_t i;

	if (!d)
		return;
	for (i = 0; d->part && i < (size_t)d->splits * d->h.n_layers; i++) {
		if (d->part[i].fd >= 0)
			close(d->part[i].fd);
		mem_free(d->part[i].wait);
	}
	if (d->tokens >= 0)
		close(d->tokens);
	mem_free(d->part);
	mem_free(d->labelled);
	mem_free(d);
}

/* ---- what comes ---- */

static int put_bytes(int fd, const void *data, size_t n, struct err *e)
{
	const char *p = data;
	ssize_t got;

	while (n) {
		got = write(fd, p, n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_sys(e, "a temporary file");
		p += got;
		n -= (size_t)got;
	}
	return 0;
}

static int flush(struct spill *s, struct err *e)
{
	size_t n = s->n_wait;

	s->n_wait = 0;
	return put_bytes(s->fd, s->wait, n * sizeof(*s->wait), e);
}

static int add_layer(struct publish_delphi *d, const struct rec_latents *b,
                     uint32_t k, struct err *e)
{
	size_t i;
	uint32_t j, s;

	for (i = 0; i < b->t.n; i++) {
		uint64_t at = d->n_tokens + i;

		/* latents ascend, so do the ranges */
		for (s = 0, j = b->start[k][i]; j < b->start[k][i + 1]; j++) {
			struct spill *p;
			struct firing f = {
				(uint32_t)(at / d->o.ctx),
				(uint32_t)(at % d->o.ctx), b->latent[k][j], 0
			};

			if (!wanted(d, k, f.latent) || b->value[k][j] <= FAINT)
				continue;
			while (f.latent >= first_of(d, s + 1))
				s++;
			f.latent -= first_of(d, s);
			memcpy(&f.value, &b->value[k][j], sizeof(f.value));
			p = &d->part[(size_t)k * d->splits + s];
			p->wait[p->n_wait++] = f;
			p->n++;
			if (p->n_wait == WAITING && flush(p, e) < 0)
				return -1;
		}
	}
	return 0;
}

int publish_delphi_add(struct publish_delphi *d, const struct rec_latents *b,
                       struct err *e)
{
	uint32_t k;

	if ((d->n_tokens + b->t.n) / d->o.ctx >= UINT32_MAX)
		return err_set(e, ERR_RANGE, "more than %u rows of %u tokens",
		               UINT32_MAX, d->o.ctx);
	for (k = 0; k < d->h.n_layers; k++)
		if (add_layer(d, b, k, e) < 0)
			return -1;
	d->n_tokens += b->t.n;
	return put_bytes(d->tokens, b->t.ids, b->t.n * 4, e);
}

/* ---- what is written ---- */

static int get_bytes(int fd, void *data, size_t n, uint64_t at, struct err *e)
{
	char *p = data;
	ssize_t got;

	while (n) {
		got = pread(fd, p, n, (off_t)at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? err_sys(e, "a temporary file")
			       : err_set(e, ERR_IO, "a temporary file is cut");
		p += got;
		at += (uint64_t)got;
		n -= (size_t)got;
	}
	return 0;
}

static int put_tokens(struct publish_delphi *d, struct safet_out *o,
                      uint64_t n, void *buf, struct err *e)
{
	uint64_t at;
	size_t m;

	for (at = 0; at < n; at += m) {
		m = n - at < PART ? (size_t)(n - at) : PART;
		if (get_bytes(d->tokens, buf, m * 4, at * 4, e) < 0 ||
		    safet_put(o, "tokens", buf, m * 4, e) < 0)
			return -1;
	}
	return 0;
}

/* Locations as u16 where they fit, as delphi does, and values as f16. */
static int put_firings(const struct spill *s, struct safet_out *o, uint64_t n,
                       enum dtype type, struct err *e)
{
	struct firing *f = mem_scratch(PART, sizeof(*f), e);
	uint32_t *wide = mem_scratch(PART, 12, e);
	float *value = mem_scratch(PART, 4, e);
	uint16_t *half = mem_scratch(PART, 2, e), *narrow = (uint16_t *)wide;
	uint64_t at;
	size_t m, i;
	int rc = f && wide && value && half ? 0 : -1;

	for (at = 0; rc == 0 && at < n; at += m) {
		m = n - at < PART ? (size_t)(n - at) : PART;
		rc = get_bytes(s->fd, f, m * sizeof(*f), at * sizeof(*f), e);
		for (i = 0; rc == 0 && i < m; i++) {
			const uint32_t v[3] = { f[i].row, f[i].pos,
			                        f[i].latent };
			int c;

			for (c = 0; c < 3; c++)
				if (type == DT_U16)
					narrow[3 * i + (size_t)c] =
						(uint16_t)v[c];
				else
					wide[3 * i + (size_t)c] = v[c];
			memcpy(&value[i], &f[i].value, sizeof(*value));
			if (value[i] > 65504)	/* f16 has nothing beyond */
				value[i] = 65504;
		}
		if (rc < 0)
			break;
		f16_from_f32(value, m, half);
		rc = safet_put(o, "locations", wide,
		               m * 3 * (type == DT_U16 ? 2 : 4), e) < 0 ||
		     safet_put(o, "activations", half, m * 2, e) < 0 ? -1 : 0;
	}
	mem_free(f);
	mem_free(wide);
	mem_free(value);
	mem_free(half);
	return rc;
}

/* Firings in whole rows: rows ascend in the file. */
static int count_whole(const struct spill *s, uint64_t rows, uint64_t *n,
                       struct err *e)
{
	struct firing f;

	for (*n = s->n; *n; --*n) {
		if (get_bytes(s->fd, &f, sizeof(f), (*n - 1) * sizeof(f),
		              e) < 0)
			return -1;
		if (f.row < rows)
			break;
	}
	return 0;
}

static int write_part(struct publish_delphi *d, const char *dir, uint32_t k,
                      uint32_t i, uint64_t rows, void *buf, struct err *e)
{
	struct spill *s = &d->part[(size_t)k * d->splits + i];
	uint32_t a = first_of(d, i), b = first_of(d, i + 1);
	enum dtype type = rows <= 65536 && d->o.ctx <= 65536 &&
	                  b - a <= 65536 ? DT_U16 : DT_U32;
	struct safet_out *o = NULL;
	uint64_t n;
	char *path;
	int rc = -1;

	if (flush(s, e) < 0 || count_whole(s, rows, &n, e) < 0)
		return -1;
	path = mem_printf(e, "%s/%u_%u.safetensors", dir, a, b - 1);
	if (path) {
		const struct safet_decl decl[] = {
			{ "locations", type, 2, { (size_t)n, 3 } },
			{ "activations", DT_F16, 1, { (size_t)n } },
			{ "tokens", DT_U32, 2, { (size_t)rows, d->o.ctx } }
		};

		if ((o = safet_create(path, decl, 3, NULL, e)) &&
		    put_firings(s, o, n, type, e) == 0 &&
		    put_tokens(d, o, rows * d->o.ctx, buf, e) == 0)
			rc = safet_commit(o, e);
	}
	safet_out_free(o);
	mem_free(path);
	return rc;
}

/* The members of delphi's CacheConfig. Tokens lie in the files, so that no
 * dataset is read. */
static int write_config(struct publish_delphi *d, const char *dir,
                        uint64_t rows, struct err *e)
{
	json_t *j = json_pack("{s:s,s:s,s:s,s:s,s:i,s:I,s:I,s:I,s:s}",
	                      "dataset_repo", "", "dataset_split", "",
	                      "dataset_name", "", "dataset_column", "text",
	                      "batch_size", 1, "cache_ctx_len",
	                      (json_int_t)d->o.ctx, "n_tokens",
	                      (json_int_t)(rows * d->o.ctx), "n_splits",
	                      (json_int_t)d->splits, "model_name", d->o.name);
	char *text = j ? json_dumps(j, JSON_INDENT(4)) : NULL;
	char *path = mem_printf(e, "%s/config.json", dir);
	int rc = -1;

	if (!text)
		err_set(e, ERR_FORMAT, "a name that is not UTF-8, or no memory");
	else if (path)
		rc = file_write(path, text, strlen(text), e);
	json_decref(j);
	free(text);
	mem_free(path);
	return rc;
}

/* Labels, as delphi's explanations: a JSON string a file. */
static int write_labels(struct publish_delphi *d, uint32_t k, struct err *e)
{
	struct text t = { 0 };
	uint32_t i;
	int rc = 0;

	for (i = 0; rc == 0 && i < d->h.n_latents; i++) {
		const char *label;
		char *path;

		if (!wanted(d, k, i))
			continue;
		if (publish_label(d->o.labels, d->h.layers[k], i, &label,
		                  e) <= 0) {
			rc = -1;
			break;
		}
		t.n = 0;
		path = mem_printf(e, "%s/explanations/layers.%u.mlp_latent%u"
		                  ".txt", d->o.out, d->h.layers[k], i);
		rc = path && file_mkparents(path, e) == 0 &&
		     publish_put_str(&t, label, strlen(label),
		                     PUBLISH_REPLACE, e) == 0 &&
		     file_write(path, t.s, t.n, e) == 0 ? 0 : -1;
		mem_free(path);
	}
	mem_free(t.s);
	return rc;
}

int publish_delphi_end(struct publish_delphi *d, struct err *e)
{
	uint64_t rows = d->n_tokens / d->o.ctx;
	void *buf = mem_scratch(PART, 4, e);
	uint32_t k, i;
	int rc = buf ? 0 : -1;

	if (rc == 0 && !rows)
		rc = err_set(e, ERR_FORMAT, "%llu tokens do not fill a row of "
		             "%u", (unsigned long long)d->n_tokens, d->o.ctx);
	for (k = 0; rc == 0 && k < d->h.n_layers; k++) {
		char *dir = mem_printf(e, "%s/latents/layers.%u.mlp",
		                       d->o.out, d->h.layers[k]);

		rc = dir && publish_clear(dir, "[0-9]*_[0-9]*.safetensors",
		                          e) == 0 ? file_mkdirs(dir, e) : -1;
		for (i = 0; rc == 0 && i < d->splits; i++)
			rc = write_part(d, dir, k, i, rows, buf, e);
		if (rc == 0)
			rc = write_config(d, dir, rows, e);
		if (rc == 0 && d->o.labels)
			rc = write_labels(d, k, e);
		mem_free(dir);
	}
	mem_free(buf);
	return rc;
}
