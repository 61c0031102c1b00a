#!/usr/bin/env python3
"""What other programs make of tcexport's files and of sparsify's checkpoints.

Each is loaded in its own program, run on the rows that actdump says, and its
FVU and L0 are put beside tcexport's and tceval's; a difference above 1e-4 ends
the script with an error.

The programs do not share an environment: run the script in each, with OUT the
same file, to which each adds its part:
    python3 tests/oracle/export_oracle.py --program sparsify OUT        # eai-sparsify 1.3.3
    python3 tests/oracle/export_oracle.py --program circuit-tracer OUT  # circuit-tracer 0.5.0
    python3 tests/oracle/export_oracle.py --program saelens OUT         # sae-lens 6.54.12
The TopK form of a circuit-tracer set wants a later version than 0.5.0, its
main branch (4bb8c0e): give its folder in PYTHONPATH. The committed
tests/golden/export/tiny-llama.json was made so, with torch 2.8.0; with 2.15.0 for
the last two, no number is off by more than 3e-8 of itself.

    --model, --transcoders, --ids    other than the tiny model's

With SmolLM2-135M's GGUF file and the 30 transcoders of `make phase2`, on 3,072
held-out tokens, all three agree in every layer as well, within 6e-6.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import msgpack
import numpy as np
import torch
import zstandard

here = os.path.dirname(os.path.abspath(__file__))
root = os.path.dirname(os.path.dirname(here))
p = argparse.ArgumentParser()
p.add_argument("--program", required=True,
               choices=["sparsify", "circuit-tracer", "saelens"])
p.add_argument("--model", default=f"{root}/tests/golden/tiny-llama")
p.add_argument("--transcoders", default=f"{root}/tests/golden/tiny-llama/transcoders")
p.add_argument("--ids", default=f"{root}/tests/golden/export/ids")
p.add_argument("out")
a = p.parse_args()
work = tempfile.mkdtemp()


def tool(name, *args, stdin=b""):
    r = subprocess.run([f"{root}/bin/{name}", *args], input=stdin, stdout=subprocess.PIPE)
    if r.returncode:
        sys.exit(f"{name} ended with {r.returncode}")
    return r.stdout


with open(a.ids, "rb") as f:
    ids = f.read()
lengths = [len(json.loads(s)) for s in ids.splitlines()]
tokens = subprocess.run(["/usr/bin/python3", f"{root}/tests/lib/acts.py", "tokens", "2048"],
                        input=ids, stdout=subprocess.PIPE, check=True).stdout


def rows(first_token, skip=1):
    """layer -> x, y of the sequences that begin at first_token or later."""
    raw = tool("actdump", "--model", a.model, "--dtype", "f32", stdin=tokens)
    u = msgpack.Unpacker(max_buffer_size=1 << 31)
    u.feed(zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True).read())
    head, *records = list(u)
    start = np.concatenate([[0], np.cumsum(lengths)])
    out = {}
    for r in records:
        if "end" in r or start[r["seq"]] < first_token:
            continue
        pos = np.frombuffer(r["positions"], "<u4")
        for i, layer in enumerate(head["layers"]):
            for side, width in (("x", head["d_in"]), ("y", head["d_out"])):
                v = np.frombuffer(r[side][i], "<f4").reshape(-1, width)[pos >= skip]
                out.setdefault(layer, {}).setdefault(side, []).append(v)
    return {k: tuple(torch.from_numpy(np.concatenate(v[s])).double() for s in "xy")
            for k, v in out.items()}


def judge(y, y_hat, acts):
    """FVU, and L0 of activations [n, latents]."""
    y_hat = y_hat.double()
    return {"fvu": (((y - y_hat) ** 2).sum() / ((y - y.mean(0)) ** 2).sum()).item(),
            "l0": (acts > 0).double().sum(1).mean().item()}


def compare(what, mine, theirs, names=("fvu", "l0")):
    for m, t in zip(mine, theirs, strict=True):
        for ours, other in zip(names, ("fvu", "l0")):
            gap = abs(m[ours] - t[other])
            print(f"{what} layer {m['layer']}: {other} ours {m[ours]:.6f} theirs {t[other]:.6f}")
            if not gap <= 1e-4 * abs(t[other]):
                sys.exit(f"{what}: they differ")


def tensors(path):
    with open(path, "rb") as f:
        head = json.loads(f.read(int.from_bytes(f.read(8), "little")))
    return {k: v["shape"] for k, v in sorted(head.items()) if k != "__metadata__"}


def export(form, activation, *more):
    out = f"{work}/{form}-{activation}"
    lines = tool("tcexport", "--model", a.model, "--transcoders", a.transcoders, "--tokens",
                 "0", "--thresholds", "layer", "--format", form, "--activation", activation, "--out", out, *more,
                 stdin=tokens)
    return out, [json.loads(s) for s in lines.splitlines()]


def evaluate(folder):
    text = tool("tceval", "--model", a.model, "--transcoders", folder, "--fvu-tokens", "0",
                "--ce-tokens", "100", "--ablations", "none", "--outlier", "0", stdin=tokens)
    return json.loads(text)["layers"]


def sparsify():
    os.environ.setdefault("SPARSIFY_DISABLE_TRITON", "1")
    from sparsify import SparseCoder
    data = rows(0)

    def theirs(folder):
        got = []
        for layer, (x, y) in sorted(data.items()):
            c = SparseCoder.load_from_disk(f"{folder}/layers.{layer}.mlp", device="cpu")
            c = c.double()
            e = c.encode(x)
            acts = torch.zeros(len(x), c.num_latents).double().scatter_(1, e.top_indices,
                                                                        e.top_acts)
            got.append(judge(y, c(x, y).sae_out, acts))
        return got

    ours = theirs(a.transcoders)
    compare("sparsify loads ours", evaluate(a.transcoders), ours)
    torch.manual_seed(1)
    for layer in data:
        c = SparseCoder.load_from_disk(f"{a.transcoders}/layers.{layer}.mlp", device="cpu")
        with torch.no_grad():
            for w in c.parameters():
                w.add_(0.3 * w.std(correction=0) * torch.randn_like(w))
        c.save_to_disk(f"{work}/saved/layers.{layer}.mlp")
    saved = theirs(f"{work}/saved")
    compare("we load sparsify's", evaluate(f"{work}/saved"), saved)
    return {"layers": ours}


def circuit_tracer():
    import circuit_tracer.utils.caching as caching
    import circuit_tracer.utils.hf_utils as hub
    data = rows(sum(lengths) // 2)
    part = {}

    def run(ts):
        return [judge(data[i][1], t.double()(data[i][0]), t.encode(data[i][0]))
                for i, t in enumerate(ts)]

    folder, lines = export("circuit-tracer", "jumprelu")
    ts, _ = hub.load_transcoder_from_hub(folder, dtype=torch.float32, device=torch.device("cpu"),
                                         lazy_decoder=False)
    part["jumprelu"] = {"tensors": tensors(f"{folder}/layer_0.safetensors"), "layers": run(ts)}
    compare("circuit-tracer, JumpReLU, from a folder", lines, part["jumprelu"]["layers"])

    folder, _ = export("circuit-tracer", "topk")
    names = tensors(f"{folder}/layer_0.safetensors")
    ts, config = hub.load_transcoder_from_hub(folder, dtype=torch.float32,
                                              device=torch.device("cpu"), lazy_decoder=False)
    part["topk_from_a_folder"] = {"layers": run(ts)}
    print("TopK files from a folder, run as", ts[0].activation_function, part["topk_from_a_folder"])
    # As from the Hub: what snapshot_download would bring is there already.
    hub.snapshot_download = lambda *_, **__: folder
    ts = hub.load_transcoders({**config, "repo_id": "x/y", "scan": "x/y"}, torch.device("cpu"),
                              torch.float32, False, False)
    if type(ts[0].activation_function).__name__ != "TopK":
        print("this version knows no TopK from the Hub: not compared")
    else:
        part["topk"] = {"tensors": names, "layers": run(ts)}
        compare("circuit-tracer, TopK, from the Hub", lines, part["topk"]["layers"],
                ("fvu_topk", "l0_topk"))
    assert caching.is_cached(folder)
    return part


def saelens():
    from sae_lens import SAE
    data = rows(sum(lengths) // 2)
    folder, lines = export("saelens", "jumprelu")
    got = []
    for i, (x, y) in sorted(data.items()):
        t = SAE.load_from_disk(f"{folder}/layer_{i}", device="cpu")
        assert t.cfg.metadata.hook_name == f"blocks.{i}.mlp.hook_in"
        t = t.to(dtype=torch.float64)
        got.append(judge(y, t(x), t.encode(x)))
    compare("SAELens", lines, got)
    return {"tensors": tensors(f"{folder}/layer_0/sae_weights.safetensors"),
            "architecture": t.cfg.architecture(), "layers": got}


torch.set_grad_enabled(False)
part = {"sparsify": sparsify, "circuit-tracer": circuit_tracer, "saelens": saelens}[a.program]()
try:
    with open(a.out) as f:
        whole = json.load(f)
except FileNotFoundError:
    whole = {}
whole[a.program] = part
with open(a.out, "w") as f:
    json.dump(whole, f, indent=1, sort_keys=True)
    f.write("\n")
