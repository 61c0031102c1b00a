#!/usr/bin/env python3
"""topk_delphi.py MODEL CKPT IDS LAYERS CTX SCRATCH

Prints "delphi SECONDS MIB": what delphi takes to cache the latents of LAYERS (as 1,15)
on the token ids of the file IDS (u32), CTX to a sequence, and to make records
with examples of all of them, and its greatest resident memory. Loading is not
counted in the seconds; CPUTIME=1: processor seconds.
"""
import os
import resource
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from delphi.config import CacheConfig, ConstructorConfig, SamplerConfig
from delphi.latents import LatentCache, LatentDataset
from delphi.sparse_coders.load_sparsify import load_sparsify_sparse_coders, sae_dense_latents
from transformers import AutoModelForCausalLM, AutoTokenizer

model_path, ckpt, ids, layers, ctx, scratch = sys.argv[1:]
ctx = int(ctx)
torch.set_num_threads(int(os.environ.get("THREADS", os.cpu_count())))
where, name = (model_path, None) if os.path.isdir(model_path) else os.path.split(model_path)
model = AutoModelForCausalLM.from_pretrained(where, gguf_file=name, dtype=torch.float32).model.eval()
tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=name)
# delphi 0.1.3 wants a text for each id; transformers 5 makes one of all of them.
whole = tokenizer.batch_decode
tokenizer.batch_decode = lambda x, **kw: whole([[int(i)] for i in x] if x[0].ndim == 0 else x, **kw)
rows = np.fromfile(ids, dtype=np.uint32).astype(np.int64)
rows = torch.tensor(rows[:len(rows) // ctx * ctx].reshape(-1, ctx))
hooks = [f"layers.{i}.mlp" for i in layers.split(",")]
coders = load_sparsify_sparse_coders(ckpt, hooks, "cpu")
raw = Path(scratch) / "delphi"

clock = time.process_time if os.environ.get("CPUTIME") else time.time
start = clock()
with torch.inference_mode():
    cache = LatentCache(model, {h: partial(sae_dense_latents, sae=coders[h].float()) for h in hooks}, batch_size=4, transcode=True)
    cache.run(rows.numel(), rows)
cache.save_splits(n_splits=5, save_dir=raw)
cache.save_config(save_dir=raw, cfg=CacheConfig(cache_ctx_len=ctx, batch_size=4, n_tokens=rows.numel(), n_splits=5),
                  model_name=model_path)
dataset = LatentDataset(
    raw_dir=raw, modules=hooks, tokenizer=tokenizer,
    sampler_cfg=SamplerConfig(n_examples_train=10, n_examples_test=15, n_quantiles=5),
    constructor_cfg=ConstructorConfig(example_ctx_len=32, min_examples=1, n_non_activating=10))
n = sum(1 for _ in dataset)
print("\ndelphi", clock() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, n)
