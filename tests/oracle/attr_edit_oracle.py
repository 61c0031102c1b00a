#!/usr/bin/env python3
"""circuit-tracer's feature_intervention on tiny-llama: the last position's
logits under each set of edits, attention frozen, free, and all held.

Needs circuit-tracer 0.5.0, nnsight 0.6.0, torch 2.8.0, transformers 4.57.3.
    python3 tests/oracle/attr_edit_oracle.py tests/golden/tiny-llama \\
        tests/golden/attr-edits.safetensors
"""
import json
import sys
from types import SimpleNamespace

import torch
from circuit_tracer.replacement_model.replacement_model_nnsight import NNSightReplacementModel
from circuit_tracer.transcoder.activation_functions import TopK
from circuit_tracer.transcoder.single_layer_transcoder import SingleLayerTranscoder, TranscoderSet
from safetensors.torch import load_file, save_file

model_dir, out = sys.argv[1:]
config = json.load(open(model_dir + "/config.json"))
n, d = config["num_hidden_layers"], config["hidden_size"]
tcs = {}
for i in range(n):
    folder = f"{model_dir}/transcoders/layers.{i}.mlp"
    w = load_file(folder + "/sae.safetensors")
    t = SingleLayerTranscoder(d, len(w["W_dec"]), TopK(json.load(open(folder + "/cfg.json"))["k"]), i,
                              skip_connection=True, device=torch.device("cpu"), dtype=torch.float32)
    t.W_enc.data, t.b_enc.data = w["encoder.weight"], w["encoder.bias"]
    t.W_dec.data, t.b_dec.data, t.W_skip.data = w["W_dec"], w["b_dec"], w["W_skip"]
    tcs[i] = t
model = NNSightReplacementModel.from_pretrained_and_transcoders(
    model_dir, TranscoderSet(tcs, "mlp.hook_in", "mlp.hook_out"), device=torch.device("cpu"))
golden = load_file(model_dir + "/golden.safetensors")
ids = golden["input_ids"].long()
f, v = golden["active_features"].tolist(), golden["activation_values"].tolist()
# one active feature cut; two of different layers set; one that is not active
sets = [[(*f[300], 0.0)], [(*f[100], 2 * v[100]), (*f[600], -3.0), (*f[601], 1.5)],
        [(1, 20, 5, 4.0), (2, 20, 6, 2.0)]]
tensors = {}
for i, edits in enumerate(sets):
    tensors[f"edits.{i}"] = torch.tensor([list(e) for e in edits], dtype=torch.float32)
    for name, kw in {"patterns": {}, "free": {"freeze_attention": False},
                     "all": {"constrained_layers": range(n)}}.items():
        if name == "free":      # there it wants a string, of which it counts the tokens
            real, model.tokenizer = model.tokenizer, lambda x, **_: SimpleNamespace(input_ids=x)
        logits, _ = model.feature_intervention(ids, edits, **kw)
        if name == "free":
            model.tokenizer = real
        tensors[f"{name}.{i}"] = logits.reshape(-1, logits.shape[-1])[-1].float().contiguous().clone()
save_file(tensors, out)
print({k: t.shape for k, t in tensors.items()})
