#!/usr/bin/env python3
"""Tiny random decoders and what transformers computes from them.

    python tests/oracle/tiny_models.py tests/golden

needs torch, transformers, safetensors and gguf (values made with torch 2.8,
transformers 4.57.3). Writes, for each case, a Hugging Face folder, the same
model as model.gguf (rows of llama's q and k permuted as llama.cpp's converter
does), and golden.safetensors with input_ids, logits [n, vocab], mlp_in.N and
mlp_out.N [n, hidden] in f32:

  tiny-qwen3        norms of queries and keys, head_dim apart from
                    hidden / heads, untied
  tiny-llama-linear linear rope scaling, attention biases, three query heads a
                    key head, weights stored as bf16, in shards
  tiny-llama3       llama3 rope scaling, which a GGUF holds as divisors of the
                    frequencies; original context below the ids' number
"""
import json
import os
import sys

import gguf
import numpy as np
import torch
from safetensors.torch import save_file
from transformers import (LlamaConfig, LlamaForCausalLM, Qwen3Config,
                          Qwen3ForCausalLM)

COMMON = dict(vocab_size=160, hidden_size=32, intermediate_size=48,
              num_hidden_layers=3, max_position_embeddings=128,
              initializer_range=0.2, bos_token_id=1, eos_token_id=2)
CASES = {
    "tiny-qwen3": (Qwen3ForCausalLM, Qwen3Config(
        **COMMON, num_attention_heads=4, num_key_value_heads=2, head_dim=12,
        rope_theta=1000000.0, tie_word_embeddings=False), torch.float32),
    "tiny-llama-linear": (LlamaForCausalLM, LlamaConfig(
        **COMMON, num_attention_heads=6, num_key_value_heads=2, head_dim=8,
        attention_bias=True, tie_word_embeddings=True,
        rope_scaling={"rope_type": "linear", "factor": 4.0}), torch.bfloat16),
    "tiny-llama3": (LlamaForCausalLM, LlamaConfig(
        **COMMON, num_attention_heads=4, num_key_value_heads=1, head_dim=16,
        rope_theta=10000.0, tie_word_embeddings=True,
        rope_scaling={"rope_type": "llama3", "factor": 4.0,
                      "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                      "original_max_position_embeddings": 32}),
        torch.float32),
}
NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
         "post_attention_layernorm": "ffn_norm"}
TOP = {"model.embed_tokens.weight": "token_embd.weight",
       "model.norm.weight": "output_norm.weight",
       "lm_head.weight": "output.weight"}


def gguf_name(key):
    if key in TOP:
        return TOP[key]
    _, _, n, rest = key.split(".", 3)
    what, suffix = rest.rsplit(".", 1)
    return f"blk.{n}.{NAMES[what]}.{suffix}"


def permute(w, n_heads):
    """Rows (head, half, i) to (head, i, half)."""
    return (w.reshape(n_heads, 2, -1, *w.shape[1:]).swapaxes(1, 2)
            .reshape(w.shape))


def write_gguf(path, model, inv_freq):
    c = model.config
    w = gguf.GGUFWriter(path, c.model_type)
    w.add_block_count(c.num_hidden_layers)
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count(c.num_attention_heads)
    w.add_head_count_kv(c.num_key_value_heads)
    w.add_key_length(c.head_dim)
    w.add_value_length(c.head_dim)
    w.add_layer_norm_rms_eps(c.rms_norm_eps)
    w.add_rope_freq_base(c.rope_theta)
    w.add_uint32("tokenizer.ggml.bos_token_id", c.bos_token_id)
    w.add_uint32("tokenizer.ggml.eos_token_id", c.eos_token_id)
    scaling = c.rope_scaling or {}
    if scaling.get("rope_type") == "linear":
        w.add_string(f"{c.model_type}.rope.scaling.type", "linear")
        w.add_float32(f"{c.model_type}.rope.scaling.factor", scaling["factor"])
    if scaling.get("rope_type") == "llama3":
        plain = 1.0 / c.rope_theta ** (np.arange(0, c.head_dim, 2) / c.head_dim)
        w.add_tensor("rope_freqs.weight",
                     (plain / inv_freq.numpy()).astype(np.float32))
    for key, t in model.state_dict().items():
        if key == "lm_head.weight" and c.tie_word_embeddings:
            continue
        a = t.float()
        if c.model_type == "llama" and ".q_proj." in key:
            a = permute(a, c.num_attention_heads)
        if c.model_type == "llama" and ".k_proj." in key:
            a = permute(a, c.num_key_value_heads)
        if a.dim() == 2 and t.dtype == torch.bfloat16:
            raw = a.to(torch.bfloat16).view(torch.int16).numpy().view(np.uint8)
            w.add_tensor(gguf_name(key), raw,
                         raw_dtype=gguf.GGMLQuantizationType.BF16)
        else:
            w.add_tensor(gguf_name(key), a.numpy())
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main(out):
    for name, (cls, config, dtype) in CASES.items():
        torch.manual_seed(7)
        model = cls(config).eval()
        with torch.no_grad():
            for key, p in model.named_parameters():
                if key.endswith("norm.weight"):
                    p.uniform_(0.5, 1.5)
                elif key.endswith("bias"):
                    p.uniform_(-0.5, 0.5)
        model = model.to(dtype)
        path = os.path.join(out, name)
        model.save_pretrained(path, max_shard_size="20KB"
                              if dtype == torch.bfloat16 else "1GB")
        inv_freq = cls(config).model.rotary_emb.inv_freq
        write_gguf(os.path.join(path, "model.gguf"), model, inv_freq)
        # exactly the stored values, and frequencies never rounded to bf16
        model = cls.from_pretrained(path, dtype=torch.float32).eval()
        got = {}

        def keep(layer):
            def hook(_, args, y):
                got[f"mlp_in.{layer}"] = args[0][0].clone()
                got[f"mlp_out.{layer}"] = y[0].clone()
            return hook

        for i, layer in enumerate(model.model.layers):
            layer.mlp.register_forward_hook(keep(i))
        ids = torch.randint(3, config.vocab_size, (1, 40))
        with torch.no_grad():
            got["logits"] = model(ids).logits[0].clone()
        got["input_ids"] = ids[0].to(torch.int32)
        save_file({k: v.contiguous() for k, v in got.items()},
                  os.path.join(path, "golden.safetensors"))
        gen = os.path.join(path, "generation_config.json")
        if os.path.exists(gen):
            os.remove(gen)
        print(name, json.dumps(sorted(os.listdir(path))))


main(sys.argv[1])
