#!/usr/bin/env python3
"""circuit-tracer's graph of a prompt: times it, and writes what attrgraph's
tests compare with.

Needs circuit-tracer 0.5.0, nnsight 0.6.0, torch 2.8.0, transformers 4.57.3.
--model is a Hugging Face folder (of a .gguf: AutoModelForCausalLM.
from_pretrained(folder, gguf_file=name), save_pretrained, likewise the
tokenizer). Transcoders are sparsify's, or (--noise N) N latents a layer from
the generator below, which tests/unit/test_attr_smollm2.c has too.

The committed fixture, tests/golden/attr-smollm2.safetensors:
    python3 tests/oracle/attr_oracle.py --model SmolLM2-135M-Instruct-f32 \\
        --noise 256 -k 16 --max-features 300 --batch 64 --update 2 --rows 17 \\
        --text 'The capital of France is' --out tests/golden/attr-smollm2.safetensors
A graph for circuit-tracer to open, and what it scores:
    ... --transcoders CKPT --text T --pt graph.pt --json scores.json
"""
import argparse
import json
import os
import resource
import sys
import time

import numpy as np
import torch
from circuit_tracer.attribution.attribute import attribute
from circuit_tracer.graph import compute_graph_scores, prune_graph
from circuit_tracer.replacement_model.replacement_model_nnsight import NNSightReplacementModel
from circuit_tracer.transcoder.activation_functions import TopK
from circuit_tracer.transcoder.single_layer_transcoder import SingleLayerTranscoder, TranscoderSet
from safetensors.torch import load_file, save_file

p = argparse.ArgumentParser()
p.add_argument("--model", required=True)
p.add_argument("--transcoders")
p.add_argument("--noise", type=int)
p.add_argument("-k", type=int, default=16)
p.add_argument("--text")
p.add_argument("--ids", help="JSON list of token ids, in place of --text")
p.add_argument("--max-features", type=int, default=2000)
p.add_argument("--max-logits", type=int, default=10)
p.add_argument("--batch", type=int, default=512)
p.add_argument("--update", type=int, default=4)
p.add_argument("--rows", type=int, default=0, help="every so manieth row goes into --out")
p.add_argument("--out", help="safetensors")
p.add_argument("--pt", help="circuit-tracer's own file")
p.add_argument("--json", help="sizes, scores, kept nodes and edges")
p.add_argument("--threads", type=int, default=2)
a = p.parse_args()
torch.set_num_threads(a.threads)


def noise(n, seed):
    """n numbers in [-1, 1) of a linear congruential generator from seed."""
    # x_i = A^i x_0 + (A^(i-1) + ... + 1) C, all at once
    with np.errstate(over="ignore"):
        mul = np.cumprod(np.full(n, 1664525, np.uint32), dtype=np.uint32)
        add = np.concatenate([[np.uint32(1)], mul[:-1]]).cumsum(dtype=np.uint32) * np.uint32(1013904223)
        x = mul * np.uint32(seed) + add
    return torch.from_numpy((x >> 8).astype(np.float32) / 2 ** 23 - 1)


def transcoder(layer, d):
    if a.noise:
        n, k = a.noise, a.k
        w = {"encoder.weight": noise(n * d, 4 * layer + 1).reshape(n, d),
             "encoder.bias": noise(n, 4 * layer + 2),
             "W_dec": noise(n * d, 4 * layer + 3).reshape(n, d) / d ** 0.5,
             "b_dec": torch.zeros(d),
             "W_skip": noise(d * d, 4 * layer + 4).reshape(d, d) / d}
    else:
        folder = f"{a.transcoders}/layers.{layer}.mlp"
        w = load_file(f"{folder}/sae.safetensors")
        k = json.load(open(f"{folder}/cfg.json"))["k"]
    t = SingleLayerTranscoder(d, len(w["W_dec"]), TopK(k), layer, skip_connection="W_skip" in w,
                              device=torch.device("cpu"), dtype=torch.float32)
    t.W_enc.data, t.b_enc.data = w["encoder.weight"], w["encoder.bias"]
    t.W_dec.data, t.b_dec.data = w["W_dec"], w["b_dec"]
    if "W_skip" in w:
        t.W_skip.data = w["W_skip"]
    return t


config = json.load(open(os.path.join(a.model, "config.json")))
n_layers, d = config["num_hidden_layers"], config["hidden_size"]
tset = TranscoderSet({i: transcoder(i, d) for i in range(n_layers)}, "mlp.hook_in", "mlp.hook_out",
                     scan="oracle")
model = NNSightReplacementModel.from_pretrained_and_transcoders(
    a.model, tset, device=torch.device("cpu"), dtype=torch.float32)
prompt = json.loads(a.ids) if a.ids else a.text
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
cpu, start = time.process_time(), time.time()
g = attribute(prompt, model, max_n_logits=a.max_logits, max_feature_nodes=a.max_features,
              batch_size=a.batch, update_interval=a.update, offload=None)
seconds, cpu = time.time() - start, time.process_time() - cpu
scores = compute_graph_scores(g)
node_mask, edge_mask, cumulative = prune_graph(g, 0.8, 0.98)
tokens = [t.vocab_idx for t in g.logit_targets]
print(json.dumps({"tokens": len(g.input_tokens), "active": len(g.active_features),
                  "features": len(g.selected_features), "seconds": seconds, "cpu_seconds": cpu,
                  "rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                  "rss_before_mib": before / 1024,
                  "replacement": scores[0], "completeness": scores[1]}), file=sys.stderr)
chosen = g.active_features[g.selected_features]
if a.json:
    nf, np_ = len(chosen), len(g.input_tokens)
    ids = ([f"{l}_{f}_{q}" for l, q, f in chosen.tolist()] +
           [f"{l}_-1_{q}" for l in range(n_layers) for q in range(np_)] +
           [f"E_{t}_{q}" for q, t in enumerate(g.input_tokens.tolist())] +
           [f"{n_layers + 1}_{t}_{np_ - 1}" for t in tokens])
    adj = g.adjacency_matrix
    json.dump({"selected": ids[:nf], "replacement": scores[0], "completeness": scores[1],
               "probabilities": g.logit_probabilities.tolist(),
               "largest": {ids[i]: float(adj[i].abs().max()) for i in range(len(ids))},
               "nodes": [ids[i] for i in node_mask.nonzero()[:, 0].tolist()],
               "edges": [[ids[s], ids[t], float(adj[t, s])]
                         for t, s in edge_mask.nonzero().tolist()
                         if node_mask[s] and node_mask[t]]}, open(a.json, "w"))
if a.pt:
    g.to_pt(a.pt)
if a.out:
    rows = torch.arange(0, len(g.adjacency_matrix), a.rows)
    rows = torch.tensor([r for r in rows.tolist()
                         if r < len(chosen) or r >= len(g.adjacency_matrix) - len(tokens)] +
                        [len(g.adjacency_matrix) - 1])
    save_file({"input_ids": g.input_tokens.to(torch.int32),
               "active_features": g.active_features.to(torch.int32).contiguous(),
               "selected_features": g.selected_features.to(torch.int32),
               "logit_tokens": torch.tensor(tokens, dtype=torch.int32),
               "logit_probabilities": g.logit_probabilities.contiguous(),
               "row_numbers": rows.to(torch.int32), "rows": g.adjacency_matrix[rows].contiguous(),
               "node_mask": node_mask.to(torch.uint8), "cumulative": cumulative.contiguous(),
               "n_edges": torch.tensor([int(edge_mask.sum())], dtype=torch.int32),
               "scores": torch.tensor(scores)}, a.out)
