#!/usr/bin/env python3
"""train_sparsify.py GGUF IDS LAYERS EXPANSION K BATCH CTX

Prints "seconds WALL CPU": what sparsify takes to train skip transcoders of
LAYERS (comma separated, or all) on the token ids of the file IDS (u32), CTX to
a sequence, BATCH tokens a step. Loading and the first step, which touches
memory for the first time, are not counted.
"""
import os
import sys
import time

os.environ["SPARSIFY_DISABLE_TRITON"] = "1"
import numpy as np
import torch
from datasets import Dataset
from sparsify import SaeConfig, TrainConfig, Trainer
from transformers import AutoModelForCausalLM

gguf, ids, layers, expansion, k, batch, ctx = sys.argv[1:]
ctx = int(ctx)
torch.set_num_threads(int(os.environ.get("THREADS", os.cpu_count())))
model = AutoModelForCausalLM.from_pretrained(
    os.path.dirname(gguf), gguf_file=os.path.basename(gguf),
    dtype=torch.float32)
rows = np.fromfile(ids, dtype=np.uint32).astype(np.int64)
rows = rows[:len(rows) // ctx * ctx].reshape(-1, ctx)
data = Dataset.from_dict({"input_ids": rows.tolist()}).with_format("torch")
hooks = ["layers.*.mlp"] if layers == "all" else \
    [f"layers.{n}.mlp" for n in layers.split(",")]
cfg = TrainConfig(
    SaeConfig(expansion_factor=int(expansion), k=int(k), transcode=True,
              skip_connection=True),
    batch_size=int(batch) // ctx, hookpoints=hooks, optimizer="adam", lr=1e-3,
    lr_warmup_steps=2, log_to_wandb=False, save_every=10 ** 9,
    save_dir=os.environ.get("TMPDIR", "/tmp"), run_name="bench.sparsify")
trainer = Trainer(cfg, data, model)
trainer.save = lambda: None
begun = []
scheduler = trainer.lr_schedulers[0]
step = scheduler.step


def stepped():
    if not begun:
        begun.extend((time.time(), time.process_time()))
    return step()


scheduler.step = stepped
trainer.fit()
print("\nseconds", time.time() - begun[0], time.process_time() - begun[1])
