#!/usr/bin/env python3
"""What delphi makes of featexport's cache, and the cache that it makes itself.

Rows of tokens go through delphi's own LatentCache (transformers, sparsify) and
through topk-examples and featexport; both caches must hold the same firings at
the same places. Then delphi's LatentDataset loads ours, its sampler fills
records, and its detection and fuzzing scorers build their prompts from them,
which a client of our own reads: marked tokens must be active ones.

    python3 tests/oracle/delphi_oracle.py OUT       # eai-delphi 0.1.3

OUT (tests/golden/publish/delphi) gets delphi's files of one layer, without the
tokens, and tokens.jsonl, the rows.
"""
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from delphi.clients.client import Client, Response
from delphi.config import CacheConfig, ConstructorConfig, SamplerConfig
from delphi.latents import LatentCache, LatentDataset
from delphi.scorers import DetectionScorer, FuzzingScorer
from delphi.sparse_coders.load_sparsify import (load_sparsify_sparse_coders,
                                                sae_dense_latents)
from safetensors.numpy import load_file, save_file
from transformers import AutoModel, AutoTokenizer

root = Path(__file__).resolve().parents[2]
model_dir, CTX, LAYERS, KEPT, SPLITS = root / "tests/golden/tiny-llama", 64, 4, 2, 3
out = Path(sys.argv[1])
work = Path(tempfile.mkdtemp())


def tool(name, *args, stdin=b""):
    r = subprocess.run([root / "bin" / name, *map(str, args)], input=stdin, stdout=subprocess.PIPE)
    if r.returncode:
        sys.exit(f"{name} ended with {r.returncode}")
    return r.stdout


ids = [i for line in open(root / "tests/golden/export/ids") for i in json.loads(line)]
rows = [ids[i:i + CTX] for i in range(0, len(ids) - CTX + 1, CTX)][:24]
lines = "".join(json.dumps(r) + "\n" for r in rows).encode()
tokens = subprocess.run(["/usr/bin/python3", root / "tests/lib/acts.py", "tokens", str(CTX)],
                        input=lines, stdout=subprocess.PIPE, check=True).stdout
latents = tool("topk-examples", "-m", model_dir, "-t", model_dir / "transcoders", "--skip", 0,
               "--latents", stdin=tokens)
tool("featexport", "--to", "delphi", "--ctx", CTX, "--splits", SPLITS, "--name", model_dir,
     "--out", work / "ours", stdin=latents)

# ---- delphi's own cache ----
hooks = [f"layers.{i}.mlp" for i in range(LAYERS)]
torch.manual_seed(0)
model = AutoModel.from_pretrained(model_dir, dtype=torch.float32)
coders = load_sparsify_sparse_coders(str(model_dir / "transcoders"), hooks, "cpu")
cache = LatentCache(model, {h: partial(sae_dense_latents, sae=c.float()) for h, c in coders.items()},
                    batch_size=4, transcode=True)
cache.run(len(rows) * CTX, torch.tensor(rows))
cfg = CacheConfig(cache_ctx_len=CTX, batch_size=4, n_tokens=len(rows) * CTX, n_splits=SPLITS)
cache.save_splits(n_splits=SPLITS, save_dir=work / "theirs")
cache.save_config(save_dir=work / "theirs", cfg=cfg, model_name=str(model_dir))

n = worst = 0
for h in hooks:
    a = sorted(p.name for p in (work / "ours/latents" / h).iterdir())
    b = sorted(p.name for p in (work / "theirs" / h).iterdir())
    assert a == b, (a, b)
    for name in a[:-1]:
        x, y = load_file(work / "ours/latents" / h / name), load_file(work / "theirs" / h / name)
        assert (x["tokens"] == y["tokens"]).all()
        order = np.lexsort(y["locations"].T[[2, 1, 0]])
        order_x = np.lexsort(x["locations"].T[[2, 1, 0]])
        assert x["locations"].dtype == y["locations"].dtype == np.uint16
        assert (x["locations"][order_x] == y["locations"][order]).all(), (h, name)
        d = np.abs(x["activations"][order_x].astype(np.float32) - y["activations"][order]) / y["activations"][order]
        n, worst = n + len(d), max(worst, float(d.max()))
    ours, theirs = (json.load(open(work / p / h / "config.json")) for p in ("ours/latents", "theirs"))
    assert set(theirs) <= set(ours), (theirs, ours)
    assert all(ours[k] == theirs[k] for k in ("cache_ctx_len", "n_tokens", "n_splits", "model_name"))
assert worst < 2e-3, worst
print(f"{n} firings of {len(hooks)} layers at the same places, values within {worst:.1e} of each other")

# ---- delphi loads it and builds its prompts ----
prompts = []


class Reader(Client):
    def __init__(self):
        super().__init__("reader")

    async def generate(self, prompt, **kwargs):
        prompts.append(prompt[-1]["content"])
        return Response(text="[1]")


tokenizer = AutoTokenizer.from_pretrained(model_dir)
# delphi 0.1.3 wants a text for each id; transformers 5 makes one of all of them.
whole = tokenizer.batch_decode
tokenizer.batch_decode = lambda x, **kw: whole([[int(i)] for i in x] if x[0].ndim == 0 else x, **kw)
dataset = LatentDataset(
    raw_dir=work / "ours/latents", modules=hooks, tokenizer=tokenizer,
    sampler_cfg=SamplerConfig(n_examples_train=5, n_examples_test=10, n_quantiles=5),
    constructor_cfg=ConstructorConfig(example_ctx_len=16, min_examples=15, n_non_activating=5))
assert tuple(dataset.tokens.shape) == (len(rows), CTX)
records = list(dataset)
assert len(records) > 50, len(records)
n_all, records = len(records), [r for r in records if len(r.not_active)]    # some fire in every window
assert len(records) > 40, len(records)
for r in records:
    assert r.max_activation > 0 and len(r.test) == 10 and len(r.train) == 5
    r.explanation = "a made-up explanation"
marks = 0
for scorer in (DetectionScorer(Reader(), n_examples_shown=1), FuzzingScorer(Reader(), n_examples_shown=1)):
    for r in records[:20]:
        prompts.clear()
        result = asyncio.run(scorer(r))
        assert len(prompts) == len(r.test) + len(r.not_active), len(prompts)
        assert len(result.score) == len(prompts) and all(s.prediction for s in result.score)
        assert all("a made-up explanation" in p for p in prompts)
        marked = sum(len(re.findall("<<.*?>>", p.split("Example 0:")[-1], re.S)) > 0 for p in prompts)
        if scorer.name == "fuzz":
            assert marked == len(prompts), (marked, len(prompts))
            marks += marked
        else:
            assert marked == 0
print(f"delphi loads {n_all} records; detection and fuzzing prompts of 20 of them, {marks} with marks")

# ---- the fixture ----
out.mkdir(parents=True, exist_ok=True)
(out / "tokens.jsonl").write_bytes(lines)
for f in (work / "theirs" / hooks[KEPT]).glob("*.safetensors"):
    t = load_file(f)
    order = np.lexsort(t["locations"].T[[2, 1, 0]])
    save_file({"locations": np.ascontiguousarray(t["locations"][order]),
               "activations": np.ascontiguousarray(t["activations"][order])}, out / f.name)
