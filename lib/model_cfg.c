/*
 * Configurations: config.json of a Hugging Face folder, metadata of a GGUF.
 * Every number is checked against a range, and what would change the forward
 * pass into something this module does not compute is refused by name.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "json.h"
#include "mem.h"
#include "model_impl.h"

enum {
	MAX_LAYERS = 512, MAX_DIM = 1 << 17, MAX_MLP = 1 << 20,
	MAX_VOCAB = 1 << 22, MAX_HEADS = 1 << 12, MAX_D_HEAD = 1 << 12,
	MAX_CTX = 1 << 27, MAX_CONFIG_BYTES = 16 << 20
};

static const char *const arch_names[] = {
	[MODEL_LLAMA] = "llama", [MODEL_QWEN2] = "qwen2",
	[MODEL_QWEN3] = "qwen3"
};

static int parse_arch(const char *name, enum model_arch *arch, struct err *e)
{
	int i;

	for (i = 0; i < (int)(sizeof(arch_names) / sizeof(*arch_names)); i++)
		if (strcmp(name, arch_names[i]) == 0) {
			*arch = (enum model_arch)i;
			return 0;
		}
	return err_set(e, ERR_FORMAT, "architecture '%s', wanted llama, qwen2 "
	               "or qwen3", name);
}

/* What both formats must satisfy after their numbers are in m->cfg. */
static int check(struct model *m, struct err *e)
{
	struct model_cfg *c = &m->cfg;
	struct model_rope *r = &m->rope;

	if (c->n_heads % c->n_kv_heads != 0)
		return err_set(e, ERR_FORMAT, "%u attention heads over %u key "
		               "heads, wanted a multiple", c->n_heads,
		               c->n_kv_heads);
	if (c->d_head % 2 != 0)
		return err_set(e, ERR_FORMAT, "head dimension %u is odd",
		               c->d_head);
	if (r->type == ROPE_LLAMA3 &&
	    !(r->high_freq_factor > r->low_freq_factor))
		return err_set(e, ERR_FORMAT, "rope scaling: high_freq_factor "
		               "%g must be above low_freq_factor %g",
		               r->high_freq_factor, r->low_freq_factor);
	c->qk_norm = c->arch == MODEL_QWEN3;
	return 0;
}

/* ---- config.json ---- */

static int get_u32(const json_t *o, const char *key, int64_t lo, int64_t hi,
                   int64_t def, uint32_t *out, struct err *e)
{
	int64_t v;

	if (json_int(o, key, lo, hi, def, &v, e) < 0)
		return -1;
	*out = (uint32_t)v;
	return 0;
}

/* A token id, the first of a list, or none. */
static int get_token(const json_t *o, const char *key, uint32_t n_vocab,
                     uint32_t *out, struct err *e)
{
	const json_t *v = json_object_get(o, key);

	*out = UINT32_MAX;
	if (json_is_array(v))
		v = json_array_get(v, 0);
	if (!v || json_is_null(v))
		return 0;
	if (!json_is_integer(v) || json_integer_value(v) < 0 ||
	    json_integer_value(v) >= n_vocab)
		return err_set(e, ERR_FORMAT, "%s: wanted a token id below %u",
		               key, n_vocab);
	*out = (uint32_t)json_integer_value(v);
	return 0;
}

static int refuse_flag(const json_t *o, const char *key, struct err *e)
{
	int on;

	if (json_bool(o, key, 0, &on, e) < 0)
		return -1;
	return on ? err_set(e, ERR_FORMAT, "%s is not supported", key) : 0;
}

/* rope_scaling of transformers 4, rope_parameters of 5 (with the theta). */
static int read_rope(const json_t *o, struct model_rope *r, struct err *e)
{
	const json_t *s = json_object_get(o, "rope_parameters");
	const char *type;
	double partial;

	if (!json_is_object(s))
		s = json_object_get(o, "rope_scaling");
	if (json_number(o, "rope_theta", 1, 1e15, 10000, &r->theta, e) < 0)
		return -1;
	r->type = ROPE_DEFAULT;
	if (!s || json_is_null(s))
		return 0;
	if (!json_is_object(s))
		return err_set(e, ERR_FORMAT, "rope_scaling: wanted an object");
	if (json_str(s, "type", "default", &type, e) < 0 ||
	    json_str(s, "rope_type", type, &type, e) < 0 ||
	    json_number(s, "rope_theta", 1, 1e15, r->theta, &r->theta, e) < 0 ||
	    json_number(s, "partial_rotary_factor", 0, 1, 1, &partial, e) < 0)
		return -1;
	if (partial != 1)
		return err_set(e, ERR_FORMAT, "partial_rotary_factor %g is not "
		               "supported", partial);
	if (strcmp(type, "default") == 0)
		return 0;
	if (strcmp(type, "linear") == 0) {
		r->type = ROPE_LINEAR;
		return json_number(s, "factor", 1e-3, 1e6, 0, &r->factor, e);
	}
	if (strcmp(type, "llama3") == 0) {
		r->type = ROPE_LLAMA3;
		return json_number(s, "factor", 1, 1e6, 0, &r->factor, e) < 0 ||
		       json_number(s, "low_freq_factor", 1e-3, 1e6, 0,
		                   &r->low_freq_factor, e) < 0 ||
		       json_number(s, "high_freq_factor", 1e-3, 1e6, 0,
		                   &r->high_freq_factor, e) < 0 ||
		       json_number(s, "original_max_position_embeddings", 1,
		                   MAX_CTX, 0, &r->original_ctx, e) < 0 ? -1 : 0;
	}
	return err_set(e, ERR_FORMAT, "rope type '%s', wanted default, linear "
	               "or llama3", type);
}

/* A window counts only when it is switched on; layer_types is the last word. */
static int refuse_sliding_window(const json_t *o, enum model_arch arch,
                                 struct err *e)
{
	const json_t *types = json_object_get(o, "layer_types"), *v;
	int on;
	size_t i;

	if (json_bool(o, "use_sliding_window", arch == MODEL_LLAMA, &on, e) < 0)
		return -1;
	v = json_object_get(o, "sliding_window");
	if (on && v && !json_is_null(v))
		return err_set(e, ERR_FORMAT, "sliding_window is not "
		               "supported");
	json_array_foreach(types, i, v)
		if (!json_is_string(v) ||
		    strcmp(json_string_value(v), "full_attention") != 0)
			return err_set(e, ERR_FORMAT, "layer_types: layer %zu "
			               "is '%s', wanted full_attention", i,
			               json_is_string(v) ? json_string_value(v)
			                                 : "?");
	return 0;
}

static int read_config(struct model *m, const json_t *o, struct err *e)
{
	struct model_cfg *c = &m->cfg;
	const char *name, *act;
	double eps;
	int bias;

	if (json_str(o, "model_type", NULL, &name, e) < 0)
		return -1;
	if (!name)
		return err_set(e, ERR_FORMAT, "no model_type");
	if (parse_arch(name, &c->arch, e) < 0)
		return -1;
	if (get_u32(o, "num_hidden_layers", 1, MAX_LAYERS, 0, &c->n_layers, e) ||
	    get_u32(o, "hidden_size", 1, MAX_DIM, 0, &c->d_model, e) ||
	    get_u32(o, "intermediate_size", 1, MAX_MLP, 0, &c->d_mlp, e) ||
	    get_u32(o, "vocab_size", 1, MAX_VOCAB, 0, &c->n_vocab, e) ||
	    get_u32(o, "num_attention_heads", 1, MAX_HEADS, 0, &c->n_heads, e) ||
	    get_u32(o, "num_key_value_heads", 1, MAX_HEADS, c->n_heads,
	            &c->n_kv_heads, e) ||
	    get_u32(o, "head_dim", 1, MAX_D_HEAD, c->d_model / c->n_heads,
	            &c->d_head, e) ||
	    get_u32(o, "max_position_embeddings", 1, MAX_CTX, 0, &c->n_ctx, e) ||
	    json_number(o, "rms_norm_eps", 0, 1, 1e-6, &eps, e) < 0 ||
	    get_token(o, "bos_token_id", c->n_vocab, &c->bos, e) < 0 ||
	    get_token(o, "eos_token_id", c->n_vocab, &c->eos, e) < 0)
		return -1;
	c->norm_eps = (float)eps;
	if (json_str(o, "hidden_act", "silu", &act, e) < 0)
		return -1;
	if (strcmp(act, "silu") != 0)
		return err_set(e, ERR_FORMAT, "hidden_act '%s', wanted silu",
		               act);
	if (json_object_get(o, "quantization_config"))
		return err_set(e, ERR_FORMAT, "quantization_config is not "
		               "supported; use the unquantised model or a "
		               "GGUF");
	if (refuse_flag(o, "mlp_bias", e) < 0 ||
	    refuse_sliding_window(o, c->arch, e) < 0 ||
	    json_bool(o, "tie_word_embeddings", 0, &c->tied, e) < 0 ||
	    json_bool(o, "attention_bias", 0, &bias, e) < 0 ||
	    read_rope(o, &m->rope, e) < 0)
		return -1;
	m->biased = bias || c->arch == MODEL_QWEN2;
	m->biased_o = bias && c->arch != MODEL_QWEN2;
	return check(m, e);
}

static int read_file(struct model *m, const char *path, struct err *e)
{
	json_t *o = json_read(path, MAX_CONFIG_BYTES, e);
	int rc;

	if (!o)
		return -1;
	if (!json_is_object(o))
		rc = err_set(e, ERR_FORMAT, "wanted an object");
	else
		rc = read_config(m, o, e);
	json_decref(o);
	return rc < 0 ? err_wrap(e, "%s", path) : 0;
}

int model_cfg_read_hf(struct model *m, const char *folder, struct err *e)
{
	char *path = mem_printf(e, "%s/config.json", folder);
	int rc = path ? read_file(m, path, e) : -1;

	mem_free(path);
	return rc;
}

/* ---- GGUF metadata ---- */

/* "ARCH.key" */
static const char *arch_key(const struct model *m, const char *key, char *buf,
                            size_t n)
{
	snprintf(buf, n, "%s.%s", arch_names[m->cfg.arch], key);
	return buf;
}

/* def < 0: the key is required. */
static int meta_u32(const struct model *m, const char *key, int64_t lo,
                    int64_t hi, int64_t def, uint32_t *out, struct err *e)
{
	char buf[96];
	int64_t v = def;
	int got = gguf_int(m->gguf, arch_key(m, key, buf, sizeof(buf)), lo, hi,
	                   &v, e);

	if (got < 0)
		return -1;
	if (!got && def < 0)
		return err_set(e, ERR_FORMAT, "no %s", buf);
	if (v < lo || v > hi)
		return err_set(e, ERR_FORMAT, "%s is %lld, wanted %lld to "
		               "%lld", buf, (long long)v, (long long)lo,
		               (long long)hi);
	*out = (uint32_t)v;
	return 0;
}

/* Absent: def; outside lo..hi: an error. */
static int meta_real(const struct model *m, const char *key, double lo,
                     double hi, double def, double *out, struct err *e)
{
	char buf[96];

	*out = def;
	if (gguf_real(m->gguf, arch_key(m, key, buf, sizeof(buf)), out, e) < 0)
		return -1;
	if (!(*out >= lo && *out <= hi))
		return err_set(e, ERR_FORMAT, "%s is %g, wanted %g to %g", buf,
		               *out, lo, hi);
	return 0;
}

static int meta_token(const struct model *m, const char *key, uint32_t *out,
                      struct err *e)
{
	int64_t v = UINT32_MAX;

	if (gguf_int(m->gguf, key, 0, UINT32_MAX, &v, e) < 0)
		return -1;
	*out = v < m->cfg.n_vocab ? (uint32_t)v : UINT32_MAX;
	return 0;
}

static int read_meta_rope(struct model *m, struct err *e)
{
	struct model_rope *r = &m->rope;
	const char *type = "none";
	uint32_t n_rot;
	char buf[96];

	if (meta_u32(m, "rope.dimension_count", 1, MAX_D_HEAD, m->cfg.d_head,
	             &n_rot, e) < 0 ||
	    meta_real(m, "rope.freq_base", 1, 1e15, 10000, &r->theta, e) < 0 ||
	    gguf_str(m->gguf, arch_key(m, "rope.scaling.type", buf,
	                               sizeof(buf)), &type, e) < 0)
		return -1;
	if (n_rot != m->cfg.d_head)
		return err_set(e, ERR_FORMAT, "rope over %u of %u dimensions "
		               "is not supported", n_rot, m->cfg.d_head);
	r->type = ROPE_DEFAULT;
	if (strcmp(type, "none") == 0)
		return 0;
	if (strcmp(type, "linear") != 0)
		return err_set(e, ERR_FORMAT, "%s '%s', wanted none or linear",
		               buf, type);
	r->type = ROPE_LINEAR;
	return meta_real(m, "rope.scaling.factor", 1e-3, 1e6, 1, &r->factor, e);
}

int model_cfg_read_gguf(struct model *m, struct err *e)
{
	struct model_cfg *c = &m->cfg;
	const struct tensor *embed = gguf_find(m->gguf, "token_embd.weight");
	const char *name = NULL;
	uint32_t d_value, n_window, n_experts;
	double eps;
	int got = gguf_str(m->gguf, "general.architecture", &name, e);

	if (got < 0)
		return -1;
	if (!got)
		return err_set(e, ERR_FORMAT, "no general.architecture");
	if (parse_arch(name, &c->arch, e) < 0)
		return -1;
	if (!embed || embed->n_dims != 2 || embed->shape[0] < 1 ||
	    embed->shape[0] > MAX_VOCAB)
		return err_set(e, ERR_FORMAT, "no usable token_embd.weight");
	c->n_vocab = (uint32_t)embed->shape[0];
	if (meta_u32(m, "block_count", 1, MAX_LAYERS, -1, &c->n_layers, e) ||
	    meta_u32(m, "embedding_length", 1, MAX_DIM, -1, &c->d_model, e) ||
	    meta_u32(m, "feed_forward_length", 1, MAX_MLP, -1, &c->d_mlp, e) ||
	    meta_u32(m, "context_length", 1, MAX_CTX, -1, &c->n_ctx, e) ||
	    meta_u32(m, "attention.head_count", 1, MAX_HEADS, -1, &c->n_heads,
	             e) ||
	    meta_u32(m, "attention.head_count_kv", 1, MAX_HEADS, c->n_heads,
	             &c->n_kv_heads, e) ||
	    meta_u32(m, "attention.key_length", 1, MAX_D_HEAD,
	             c->d_model / c->n_heads, &c->d_head, e) ||
	    meta_u32(m, "attention.value_length", 1, MAX_D_HEAD, c->d_head,
	             &d_value, e) ||
	    meta_u32(m, "attention.sliding_window", 0, UINT32_MAX, 0,
	             &n_window, e) ||
	    meta_u32(m, "expert_count", 0, UINT32_MAX, 0, &n_experts, e) ||
	    meta_real(m, "attention.layer_norm_rms_epsilon", 0, 1, 1e-6, &eps,
	              e) < 0 ||
	    meta_token(m, "tokenizer.ggml.bos_token_id", &c->bos, e) < 0 ||
	    meta_token(m, "tokenizer.ggml.eos_token_id", &c->eos, e) < 0 ||
	    read_meta_rope(m, e) < 0)
		return -1;
	c->norm_eps = (float)eps;
	if (d_value != c->d_head)
		return err_set(e, ERR_FORMAT, "values of %u dimensions beside "
		               "keys of %u are not supported", d_value,
		               c->d_head);
	if (n_window)
		return err_set(e, ERR_FORMAT, "attention.sliding_window is not "
		               "supported");
	if (n_experts)
		return err_set(e, ERR_FORMAT, "expert_count %u: mixtures of "
		               "experts are not supported", n_experts);
	c->tied = gguf_find(m->gguf, "output.weight") == NULL;
	m->biased = gguf_find(m->gguf, "blk.0.attn_q.bias") != NULL;
	m->biased_o = gguf_find(m->gguf, "blk.0.attn_output.bias") != NULL;
	return check(m, e);
}

int model_takes(const struct model_cfg *c, const uint32_t *ids, size_t n,
                struct err *e)
{
	size_t i;

	if (n > c->n_ctx)
		return err_set(e, ERR_FORMAT, "a sequence of %zu tokens, the "
		               "model takes %u", n, c->n_ctx);
	for (i = 0; i < n; i++)
		if (ids[i] >= c->n_vocab)
			return err_set(e, ERR_FORMAT, "token %u, the model's "
			               "vocabulary has %u", ids[i],
			               c->n_vocab);
	return 0;
}

/* ---- without weights ---- */

static size_t without(const char *path, size_t end, const char *suffix)
{
	size_t n = strlen(suffix);

	return end > n && memcmp(path + end - n, suffix, n) == 0 ? end - n : end;
}

void model_cfg_name(struct model_cfg *c, const char *path)
{
	size_t end = without(path, strlen(path), "/config.json"), start;

	while (end > 1 && path[end - 1] == '/')
		end--;
	end = without(path, without(path, end, ".gguf"), ".json");
	for (start = end; start > 0 && path[start - 1] != '/'; start--)
		;
	snprintf(c->name, sizeof(c->name), "%.*s", (int)(end - start),
	         path + start);
}

int model_cfg_read(const char *path, struct model_cfg *c, struct err *e)
{
	struct model m = { .dev = NULL };
	struct stat st;
	int rc;

	model_cfg_name(&m.cfg, path);
	if (stat(path, &st) < 0)
		return err_sys(e, "%s", path);
	if (S_ISDIR(st.st_mode)) {
		rc = model_cfg_read_hf(&m, path, e);
	} else if (without(path, strlen(path), ".json") < strlen(path)) {
		rc = read_file(&m, path, e);
	} else if ((m.gguf = gguf_open(path, e))) {
		rc = model_cfg_read_gguf(&m, e);
		if (rc < 0)
			err_wrap(e, "%s", path);
		gguf_free(m.gguf);
	} else {
		rc = -1;
	}
	*c = m.cfg;
	return rc;
}
