/*
 * Weights: found under the format's names, checked against the configuration,
 * put where the device can use them.
 *
 * A weight matrix stays where it is mapped when it is f32 already, or when all
 * of them as f32 would take more than m->expand_bytes: then products expand it
 * panel by panel. Otherwise it is expanded once, here. Vectors (norms, biases)
 * always become f32.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "mem.h"
#include "model_impl.h"
#include "par.h"
#include "sha256.h"

/* Both formats' names: of the model's own tensors, then of a layer's. */
struct names {
	const char *hf, *gguf;
};

static const struct names embed_name = {
	"model.embed_tokens.weight", "token_embd.weight"
};
static const struct names unembed_name = { "lm_head.weight", "output.weight" };
static const struct names final_norm_name = {
	"model.norm.weight", "output_norm.weight"
};
static const struct names weight_names[MODEL_N_WEIGHTS] = {
	[MODEL_Q] = { "self_attn.q_proj", "attn_q" },
	[MODEL_K] = { "self_attn.k_proj", "attn_k" },
	[MODEL_V] = { "self_attn.v_proj", "attn_v" },
	[MODEL_O] = { "self_attn.o_proj", "attn_output" },
	[MODEL_GATE] = { "mlp.gate_proj", "ffn_gate" },
	[MODEL_UP] = { "mlp.up_proj", "ffn_up" },
	[MODEL_DOWN] = { "mlp.down_proj", "ffn_down" },
};
static const struct names attn_norm_name = { "input_layernorm", "attn_norm" };
static const struct names mlp_norm_name = {
	"post_attention_layernorm", "ffn_norm"
};
static const struct names q_norm_name = { "self_attn.q_norm", "attn_q_norm" };
static const struct names k_norm_name = { "self_attn.k_norm", "attn_k_norm" };

struct load {
	struct model *m;
	int expand;
	double *bytes;		/* only counted, no memory taken, or NULL */
	struct tensor made;	/* what there is no file for, then */
	struct err *e;
};

/* Without files, weights are f32 where they would become that, else bf16. */
static const struct tensor *find(struct load *l, const char *name, size_t rows,
                                 size_t cols)
{
	const struct model *m = l->m;

	if (m->safet || m->gguf)
		return m->safet ? safet_find(m->safet, name)
		                : gguf_find(m->gguf, name);
	l->made = (struct tensor){ .name = name, .n_dims = 2,
		.type = l->expand ? DT_F32 : DT_BF16,
		.shape = { rows, cols }, .n = rows * cols };
	l->made.n_bytes = l->made.n * dtype_block_bytes(l->made.type);
	return &l->made;
}

/* Checks shape ([rows, cols], or [rows] when cols is 0) and dtype. */
static const struct tensor *get(struct load *l, const char *name, size_t rows,
                                size_t cols)
{
	const struct tensor *t = find(l, name, rows, cols);
	int n_dims = cols ? 2 : 1;

	if (!t) {
		err_set(l->e, ERR_FORMAT, "no tensor %s", name);
		return NULL;
	}
	if (t->n_dims != n_dims || t->shape[0] != rows ||
	    (cols && t->shape[1] != cols)) {
		err_set(l->e, ERR_FORMAT, "%s: %d dimensions, %zu x %zu, "
		        "wanted %d, %zu x %zu", name, t->n_dims, t->shape[0],
		        t->n_dims > 1 ? t->shape[1] : 1, n_dims, rows,
		        cols ? cols : 1);
		return NULL;
	}
	if (cols && cols % dtype_block(t->type) != 0) {
		err_set(l->e, ERR_FORMAT, "%s: rows of %zu values in blocks "
		        "of %zu", name, cols, dtype_block(t->type));
		return NULL;
	}
	return tensor_f32(t, 0, 0, NULL, l->e) < 0 ? NULL : t;
}

static const char *layer_name(const struct model *m, int layer,
                              const struct names *n, const char *suffix,
                              char *buf, size_t room)
{
	if (m->safet)
		snprintf(buf, room, "model.layers.%d.%s.%s", layer, n->hf,
		         suffix);
	else
		snprintf(buf, room, "blk.%d.%s.%s", layer, n->gguf, suffix);
	return buf;
}

static int own(struct load *l, void *p)
{
	struct model *m = l->m;

	if (mem_grow(&m->owned, &m->cap_owned, m->n_owned + 1,
	             sizeof(*m->owned), l->e) < 0) {
		dev_ops(m->dev)->release(m->dev, p);
		return -1;
	}
	m->owned[m->n_owned++] = p;
	return 0;
}

/* Device memory that the model owns. */
static void *give(struct load *l, size_t n_bytes)
{
	void *p = dev_ops(l->m->dev)->alloc(l->m->dev, n_bytes, l->e);

	return p && own(l, p) == 0 ? p : NULL;
}

/*
 * GGUF files of arch llama hold the rows of q and k so that ggml's rotation
 * pairs neighbours: file row 2 i + j of a head is row j d_head/2 + i of the
 * model, j 0 or 1 (convert_hf_to_gguf.py, LlamaModel.permute). The row of the
 * file that holds the model's row r:
 */
static size_t permuted_row(size_t r, size_t d_head)
{
	size_t head = r / d_head, at = r % d_head, half = d_head / 2;

	return head * d_head + at % half * 2 + at / half;
}

struct rows_job {
	const struct tensor *t;
	size_t cols, d_head;	/* d_head 0: rows stay in place */
	size_t row_bytes;	/* as stored */
	uint8_t *raw;		/* copies of stored rows go here, or */
	float *f32;		/* expanded ones there */
};

enum { ROWS = 64 };

static void rows_item(void *ctx, size_t item, int thread)
{
	const struct rows_job *j = ctx;
	size_t r = item * ROWS, n = j->t->shape[0];
	size_t end = n - r < ROWS ? n : r + ROWS;

	(void)thread;
	for (; r < end; r++) {
		size_t from = j->d_head ? permuted_row(r, j->d_head) : r;

		if (j->f32)
			tensor_f32(j->t, from * j->cols, j->cols,
			           j->f32 + r * j->cols, NULL);
		else
			memcpy(j->raw + r * j->row_bytes,
			       (const uint8_t *)j->t->data +
			       from * j->row_bytes, j->row_bytes);
	}
}

/* The matrix (or, cols 1, vector) t with its rows in the model's order, as f32
 * or in its stored type, in new device memory. d_head as in rows_job. */
static int rearrange(struct load *l, const struct tensor *t, size_t cols,
                     size_t d_head, int as_f32, struct tensor *out)
{
	struct rows_job j = { .t = t, .cols = cols, .d_head = d_head };
	size_t bytes = t->n * sizeof(float);
	void *to, *host;
	int rc;

	if (!as_f32) {
		bytes = t->n_bytes;
		j.row_bytes = t->n_bytes / t->shape[0];
	}
	*out = *t;
	out->type = as_f32 ? DT_F32 : t->type;
	out->n_bytes = bytes;
	if (l->bytes) {
		*l->bytes += (double)bytes;
		return 0;
	}
	/* in this order: else the host's leaves a hole for each matrix */
	if (!(to = give(l, bytes)) || !(host = mem_scratch(bytes, 1, l->e)))
		return -1;
	if (as_f32)
		j.f32 = host;
	else
		j.raw = host;
	par_for(dev_par(l->m->dev), (t->shape[0] + ROWS - 1) / ROWS, rows_item,
	        &j);
	out->data = to;
	rc = dev_ops(l->m->dev)->put(l->m->dev, to, host, bytes, l->e);
	mem_free(host);
	return rc;
}

/* A weight matrix [rows, cols] into *out. */
static int matrix(struct load *l, const char *name, size_t rows, size_t cols,
                  size_t d_head, struct tensor *out)
{
	const struct tensor *t = get(l, name, rows, cols);
	void *mine;
	int expand;

	if (!t)
		return -1;
	if (l->bytes)
		*l->bytes += (double)t->n_bytes;
	expand = l->expand && !dev_ops(l->m->dev)->as_stored(l->m->dev,
	                                                     t->type);
	if (d_head || (expand && t->type != DT_F32) ||
	    (t->type == DT_F32 && (uintptr_t)t->data % sizeof(float) != 0))
		return rearrange(l, t, cols, d_head, expand ||
		                 t->type == DT_F32, out);
	*out = *t;
	if (l->bytes)
		return 0;
	if (dev_ops(l->m->dev)->place(l->m->dev, out, &mine, l->e) < 0)
		return -1;
	return mine ? own(l, mine) : 0;
}

/* A vector as f32 in device memory. */
static float *vector(struct load *l, const char *name, size_t n, size_t d_head)
{
	const struct tensor *t = get(l, name, n, 0);
	struct tensor out;

	if (!t)
		return NULL;
	if (dtype_block(t->type) != 1) {
		err_set(l->e, ERR_FORMAT, "%s: a vector of quantised type %s",
		        name, dtype_name(t->type));
		return NULL;
	}
	if (rearrange(l, t, 1, d_head, 1, &out) < 0)
		return NULL;
	return (float *)out.data;
}

static int load_layer(struct load *l, int n)
{
	const struct model_cfg *c = &l->m->cfg;
	struct model_layer *y = &l->m->layers[n];
	size_t d_q = (size_t)c->n_heads * c->d_head;
	size_t d_kv = (size_t)c->n_kv_heads * c->d_head;
	const size_t shape[MODEL_N_WEIGHTS][2] = {
		[MODEL_Q] = { d_q, c->d_model }, [MODEL_K] = { d_kv, c->d_model },
		[MODEL_V] = { d_kv, c->d_model }, [MODEL_O] = { c->d_model, d_q },
		[MODEL_GATE] = { c->d_mlp, c->d_model },
		[MODEL_UP] = { c->d_mlp, c->d_model },
		[MODEL_DOWN] = { c->d_model, c->d_mlp }
	};
	int permuted = l->m->gguf && c->arch == MODEL_LLAMA, i;
	char name[128];
#define NAME(which, suffix) \
	layer_name(l->m, n, which, suffix, name, sizeof(name))

	for (i = 0; i < MODEL_N_WEIGHTS; i++) {
		size_t d_head = permuted && i <= MODEL_K ? c->d_head : 0;

		if (matrix(l, NAME(&weight_names[i], "weight"), shape[i][0],
		           shape[i][1], d_head, &y->w[i]) < 0)
			return -1;
		if (l->bytes || (i <= MODEL_V ? !l->m->biased
		                 : i != MODEL_O || !l->m->biased_o))
			continue;
		y->bias[i] = vector(l, NAME(&weight_names[i], "bias"),
		                    shape[i][0], d_head);
		if (!y->bias[i])
			return -1;
	}
	if (l->bytes)
		return 0;
	if (!(y->attn_norm = vector(l, NAME(&attn_norm_name, "weight"),
	                            c->d_model, 0)) ||
	    !(y->mlp_norm = vector(l, NAME(&mlp_norm_name, "weight"),
	                           c->d_model, 0)))
		return -1;
	if (!c->qk_norm)
		return 0;
	return (y->q_norm = vector(l, NAME(&q_norm_name, "weight"), c->d_head,
	                           0)) &&
	       (y->k_norm = vector(l, NAME(&k_norm_name, "weight"), c->d_head,
	                           0)) ? 0 : -1;
#undef NAME
}

/* Rotary frequencies as transformers' modeling_rope_utils.py computes them, in
 * f32 where it does. */
static int rope_freqs(struct load *l)
{
	const struct model_rope *r = &l->m->rope;
	size_t half = l->m->cfg.d_head / 2, i;
	const struct tensor *factors = NULL;
	float *f = mem_array(half, sizeof(*f), l->e), *by;

	l->m->inv_freq = f;
	if (!f)
		return -1;
	for (i = 0; i < half; i++) {
		float v = 1.0f / powf((float)r->theta,
		                      (float)(2 * i) / (float)(2 * half));
		double wave = 2 * M_PI / v, smooth;

		if (r->type == ROPE_LINEAR)
			v /= (float)r->factor;
		if (r->type == ROPE_LLAMA3 &&
		    wave > r->original_ctx / r->low_freq_factor)
			v /= (float)r->factor;
		else if (r->type == ROPE_LLAMA3 &&
		         wave >= r->original_ctx / r->high_freq_factor) {
			smooth = (r->original_ctx / wave - r->low_freq_factor) /
				(r->high_freq_factor - r->low_freq_factor);
			v = (float)((1 - smooth) * v / r->factor + smooth * v);
		}
		f[i] = v;
	}
	/* A GGUF holds llama3's scaling as divisors. */
	if (l->m->gguf)
		factors = gguf_find(l->m->gguf, "rope_freqs.weight");
	if (!factors)
		return 0;
	if (!get(l, "rope_freqs.weight", half, 0))
		return -1;
	by = mem_array(half, sizeof(*by), l->e);
	if (!by)
		return -1;
	if (tensor_f32(factors, 0, half, by, l->e) < 0) {
		mem_free(by);
		return -1;
	}
	for (i = 0; i < half; i++)
		f[i] /= by[i];
	mem_free(by);
	return 0;
}

/*
 * The fingerprint: sha256 over the numbers of the configuration, the rotary
 * frequencies, and for every tensor of the file, in order of name, its name,
 * dtype, shape and bytes. Of a tensor above SAMPLE_ALL bytes, SAMPLES pieces of
 * SAMPLE bytes spread evenly from its first byte to its last stand for the
 * whole, so that a model of many GiB opens without being read through.
 */
enum { SAMPLE = 64 << 10, SAMPLES = 16, SAMPLE_ALL = SAMPLE * SAMPLES };

static int hash_tensor(struct sha256 *s, const struct tensor *t, struct err *e)
{
	const uint8_t *p = t->data;
	char line[TENSOR_DIMS * 24 + 64];
	size_t at = 0, step;
	int i;

	for (i = 0; i < t->n_dims; i++)
		at += (size_t)snprintf(line + at, sizeof(line) - at, " %zu",
		                       t->shape[i]);
	snprintf(line + at, sizeof(line) - at, " %s\n", dtype_name(t->type));
	if (sha256_add(s, t->name, strlen(t->name), e) < 0 ||
	    sha256_add(s, line, strlen(line), e) < 0)
		return -1;
	if (t->n_bytes <= SAMPLE_ALL)
		return sha256_add(s, p, t->n_bytes, e);
	step = (t->n_bytes - SAMPLE) / (SAMPLES - 1);
	for (i = 0; i < SAMPLES; i++)
		if (sha256_add(s, p + (size_t)i * step, SAMPLE, e) < 0)
			return -1;
	return 0;
}

static int fingerprint(struct load *l)
{
	struct model *m = l->m;
	const struct model_cfg *c = &m->cfg;
	struct sha256 *s = sha256_new(l->e);
	char line[256];
	size_t n = m->safet ? safet_count(m->safet) : gguf_count(m->gguf), i;
	int rc = -1;

	if (!s)
		return -1;
	snprintf(line, sizeof(line), "%d %u %u %u %u %u %u %u %.9g %d %d\n",
	         (int)c->arch, c->n_layers, c->d_model, c->d_mlp, c->n_vocab,
	         c->n_heads, c->n_kv_heads, c->d_head, (double)c->norm_eps,
	         c->tied, m->biased);
	if (sha256_add(s, line, strlen(line), l->e) < 0 ||
	    sha256_add(s, m->inv_freq, c->d_head / 2 * sizeof(float), l->e) < 0)
		goto done;
	for (i = 0; i < n; i++)
		if (hash_tensor(s, m->safet ? safet_at(m->safet, i)
		                            : gguf_at(m->gguf, i), l->e) < 0)
			goto done;
	rc = sha256_end(s, m->cfg.fingerprint, l->e);
done:
	sha256_free(s);
	return rc;
}

double model_layer_values(const struct model_cfg *c)
{
	return (double)c->d_model * (2.0 * c->d_head *
	       (c->n_heads + c->n_kv_heads) + 3.0 * c->d_mlp);
}

double model_values(const struct model_cfg *c)
{
	return c->n_layers * model_layer_values(c) +
	       (c->tied ? 1.0 : 2.0) * c->n_vocab * c->d_model;
}

/* Embedding, unembedding and the layers. */
static int load_all(struct load *l)
{
	struct model *m = l->m;
	const struct model_cfg *c = &m->cfg;
	uint32_t i;

	l->expand = model_values(c) * sizeof(float) <= (double)m->expand_bytes;
	m->layers = mem_array(c->n_layers, sizeof(*m->layers), l->e);
	if (!m->layers ||
	    matrix(l, m->safet ? embed_name.hf : embed_name.gguf, c->n_vocab,
	           c->d_model, 0, &m->embed) < 0)
		return -1;
	if (c->tied)
		m->unembed = m->embed;
	else if (matrix(l, m->safet ? unembed_name.hf : unembed_name.gguf,
	                c->n_vocab, c->d_model, 0, &m->unembed) < 0)
		return -1;
	for (i = 0; i < c->n_layers; i++)
		if (load_layer(l, (int)i) < 0)
			return -1;
	return 0;
}

int model_load(struct model *m, const struct log *log, struct err *e)
{
	const struct model_cfg *c = &m->cfg;
	struct load l = { .m = m, .e = e };

	if (rope_freqs(&l) < 0 || load_all(&l) < 0)
		return -1;
	m->final_norm = vector(&l, m->safet ? final_norm_name.hf
	                                    : final_norm_name.gguf,
	                       c->d_model, 0);
	if (!m->final_norm || fingerprint(&l) < 0)
		return -1;
	log_say(log, "%s: %u layers, d_model %u, %.0f M weights, matrices as "
	        "%s", c->name, c->n_layers, c->d_model, model_values(c) / 1e6,
	        l.expand ? "f32" : "stored");
	return 0;
}

int model_load_sizes(struct model *m, double *bytes, struct err *e)
{
	struct load l = { .m = m, .bytes = bytes, .e = e };

	*bytes = 0;
	return load_all(&l);
}
