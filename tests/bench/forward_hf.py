"""forward_hf.py GGUF THREADS N_SEQS LEN: transformers' side of forward.sh.

For each line on stdin runs the decoder (all layers, no logits, f32) over
N_SEQS random sequences of LEN tokens and prints the seconds it took.
"""
import os
import sys
import time

import torch
from transformers import AutoModelForCausalLM

path, threads, n_seqs, length = sys.argv[1], *map(int, sys.argv[2:])
torch.set_num_threads(threads)
model = AutoModelForCausalLM.from_pretrained(
    os.path.dirname(path), gguf_file=os.path.basename(path),
    dtype=torch.float32).model.eval()
ids = torch.randint(0, model.config.vocab_size, (n_seqs, length),
                    generator=torch.Generator().manual_seed(1))
with torch.inference_mode():
    for _ in sys.stdin:
        start = time.perf_counter()
        model(ids, use_cache=False)
        print(f"{time.perf_counter() - start:.4f}", flush=True)
