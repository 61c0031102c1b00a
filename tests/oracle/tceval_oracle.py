#!/usr/bin/env python3
"""What tceval(1) measures, computed in PyTorch by hooks on transformers' MLPs.

Needs torch, transformers, safetensors (and gguf for a .gguf model). Every
variant is a whole forward pass with nothing shared, in double precision, so
that nothing but the definitions is common with tceval.

The committed fixtures were made by
    for m in tiny-llama tiny-qwen2; do
        python3 tests/oracle/tceval_oracle.py --model tests/golden/$m \\
            --transcoders tests/golden/$m/transcoders --random 24,17,2,1,40,33 \\
            --fvu-tokens 100 --ce-tokens 75 --ablation-tokens 30 --generate 3 \\
            > tests/golden/eval/$m.json
    done
and, for a model of its own size (not committed; see tests/golden/eval/README):
    ... --model SmolLM2-135M-Instruct.Q4_1.gguf --transcoders CKPT \\
        --tokens held.json --dtype float32 ...
where held.json is a list of lists of ids, `r1cat held.tok` put together.
"""
import argparse
import json
import math
import os

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

p = argparse.ArgumentParser()
p.add_argument("--model", required=True)
p.add_argument("--transcoders", required=True)
p.add_argument("--tokens", help="JSON: a list of lists of ids")
p.add_argument("--random", help="lengths of sequences of random ids: 24,17,...")
p.add_argument("--layers", help="0,3,...; default: all of the checkpoint")
p.add_argument("-k", type=int, default=0)
p.add_argument("--skip", type=int, default=1)
p.add_argument("--fvu-tokens", type=int, default=0)
p.add_argument("--ce-tokens", type=int, default=0)
p.add_argument("--ablation-tokens", type=int, default=0)
p.add_argument("--generate", type=int, default=0, help="prompts out of the text")
p.add_argument("--gen-tokens", type=int, default=12)
p.add_argument("--dtype", default="float64")
a = p.parse_args()

dtype = getattr(torch, a.dtype)
torch.manual_seed(7)
where = (dict(pretrained_model_name_or_path=os.path.dirname(a.model),
              gguf_file=os.path.basename(a.model))
         if a.model.endswith(".gguf") else dict(pretrained_model_name_or_path=a.model))
model = AutoModelForCausalLM.from_pretrained(
    **where, dtype=torch.float32, attn_implementation="eager").to(dtype).eval()
blocks = model.model.layers

if a.tokens:
    text = json.load(open(a.tokens))
else:
    text = [torch.randint(2, model.config.vocab_size, (int(n),)).tolist()
            for n in a.random.split(",")]


class Transcoder:
    def __init__(self, folder):
        cfg = json.load(open(folder + "/cfg.json"))
        w = {k: v.to(dtype) for k, v in load_file(folder + "/sae.safetensors").items()}
        self.k = a.k or cfg["k"]
        self.enc, self.enc_b = w["encoder.weight"], w["encoder.bias"]
        self.dec, self.dec_b = w["W_dec"], w["b_dec"]
        self.skip = w.get("W_skip")

    def __call__(self, x):
        """codes [n, n_latents], y^"""
        pre = torch.relu(x @ self.enc.T + self.enc_b)
        top = pre.topk(self.k, dim=-1)
        z = torch.zeros_like(pre).scatter_(-1, top.indices, top.values)
        y = z @ self.dec + self.dec_b
        if self.skip is not None:
            y = y + x @ self.skip.T
        return z, y


have = sorted(int(d.split(".")[1]) for d in os.listdir(a.transcoders)
              if d.startswith("layers."))
layers = [int(x) for x in a.layers.split(",")] if a.layers else have
coders = {l: Transcoder(f"{a.transcoders}/layers.{l}.mlp") for l in layers}


def cut(tokens):
    """Sequences holding the first `tokens` tokens of the text."""
    out, left = [], tokens or 10**18
    for ids in text:
        if left <= 0:
            break
        out.append(ids[:left])
        left -= len(ids)
    return out


def forward(ids, change=None):
    """Logits [n, vocab]; change(layer, x, y) -> y or None sees every MLP."""
    def hook(layer):
        def f(module, args, out):
            if change is None:
                return None
            new = change(layer, args[0][0], out[0])
            return None if new is None else new[None]
        return f
    handles = [b.mlp.register_forward_hook(hook(l)) for l, b in enumerate(blocks)]
    with torch.no_grad():
        logits = model(torch.tensor([ids]), use_cache=False).logits[0]
    for h in handles:
        h.remove()
    return logits


# ---- reconstruction
mlp = {l: ([], []) for l in layers}
for ids in cut(a.fvu_tokens):
    def keep(l, x, y):
        if l in mlp:
            mlp[l][0].append(x[a.skip:].clone())
            mlp[l][1].append(y[a.skip:].clone())
    forward(ids, keep)
result = {"layers": [], "all": {"layers": layers}}
mean_y = {}
for l in layers:
    x, y = torch.cat(mlp[l][0]), torch.cat(mlp[l][1])
    z, y_hat = coders[l](x)
    mean_y[l] = y.mean(0)
    n = len(y)
    fired = (z > 0).sum(0)
    hist = [0] * 12
    for c in fired[fired > 0].tolist():
        hist[min(11, max(0, math.floor((math.log10(c / n) + 6) * 2)))] += 1
    result["layers"].append({
        "layer": l, "n_latents": z.shape[1], "k": coders[l].k,
        "fvu": (((y - y_hat) ** 2).sum() / ((y - y.mean(0)) ** 2).sum()).item(),
        "l0": (z > 0).sum().item() / n,
        "dead": (fired == 0).sum().item(),
        "act_mean": z[z > 0].mean().item(), "act_max": z.max().item(),
        "freq_hist": hist})
    result["fvu_positions"] = n


# ---- predictions
def changed(which, kind):
    def change(l, x, y):
        if l not in which:
            return None
        new = y.clone()
        new[a.skip:] = {"replaced": lambda: coders[l](x)[1][a.skip:],
                        "zero": lambda: 0.0,
                        "mean": lambda: mean_y[l]}[kind]()
        return new
    return change


ce_text = cut(a.ce_tokens)
n_ablated, total = 0, 0
for ids in ce_text:            # whole sequences until the budget is reached
    if total < (a.ablation_tokens or 10**18):
        n_ablated += 1
        total += len(ids)


def log_probs(ids, which=(), kind=None):
    rows = torch.log_softmax(forward(ids, changed(which, kind)), -1)
    return rows[a.skip:-1], torch.tensor(ids[a.skip + 1:])


def compare(which, kind, sequences):
    ce, d, kl, same = [], [], [], []
    for ids in sequences:
        if len(ids) < a.skip + 2:
            continue
        p0, t = base[tuple(ids)]
        p1, _ = log_probs(ids, which, kind)
        at = torch.arange(len(t))
        ce.append(-p1[at, t])
        d.append(p0[at, t] - p1[at, t])
        kl.append((p0.exp() * (p0 - p1)).sum(-1))
        same.append((p0.argmax(-1) == p1.argmax(-1)).to(dtype))
    ce, d, kl, same = (torch.cat(v) for v in (ce, d, kl, same))
    return {"ce": ce.mean().item(), "ce_increase": d.mean().item(),
            "ce_increase_se": (d.std() / math.sqrt(len(d))).item(),
            "kl": kl.mean().item(), "top1": same.mean().item(), "sum": d.sum().item()}


def effects(which):
    r = compare(which, "replaced", ce_text)
    paired = (r if n_ablated == len(ce_text) else
              compare(which, "replaced", ce_text[:n_ablated]))["sum"]
    out = {k: r[k] for k in ("ce", "ce_increase", "ce_increase_se", "kl", "top1")}
    for kind, name in ("zero", "ce_recovered"), ("mean", "ce_recovered_mean"):
        v = compare(which, kind, ce_text[:n_ablated])
        out[name] = 1 - paired / v["sum"]
        for k in "ce_increase", "kl", "top1":
            out[f"{kind}_{k}"] = v[k]
    return out


base = {tuple(ids): log_probs(ids) for ids in ce_text if len(ids) >= a.skip + 2}
b = torch.cat([-p[torch.arange(len(t)), t] for p, t in base.values()])
result["ce"], result["ce_predictions"] = b.mean().item(), len(b)
b = torch.cat([-base[tuple(i)][0][torch.arange(len(base[tuple(i)][1])), base[tuple(i)][1]]
               for i in ce_text[:n_ablated] if tuple(i) in base])
result["ablation_ce"], result["ablation_predictions"] = b.mean().item(), len(b)
for r in result["layers"]:
    r.update(effects([r["layer"]]))
result["all"].update(effects(layers))


# ---- generation: everything run again for each token
def generate(ids, change):
    out = []
    while len(out) < a.gen_tokens:
        out.append(forward(ids + out, change)[-1].argmax().item())
        if out[-1] == model.config.eos_token_id:
            break
    return out


result["generations"] = [
    {"prompt": ids, "original": generate(ids, None),
     "replaced": generate(ids, changed(layers, "replaced"))}
    for ids in (ids[:8] for ids in text[:a.generate])]
result["text"] = text if a.random else None
result["options"] = {k: getattr(a, k) for k in (
    "k", "skip", "fvu_tokens", "ce_tokens", "ablation_tokens", "gen_tokens")}
print(json.dumps(result, indent=1))
