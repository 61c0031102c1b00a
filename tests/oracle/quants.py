#!/usr/bin/env python3
"""Blocks of every stored float type and what Python's gguf makes of them.

    python3 tests/oracle/quants.py tests/golden/quants.bin

Needs `pip install gguf numpy` (written with gguf 0.19.0). The file holds, for
each type in the order of TYPES, 2048 values: the stored blocks, then the f32
values. Quantised bytes are random, so every bit pattern of scales, minima and
high bits occurs; the f16 scales are random too but finite, subnormals and
negative ones among them. tests/unit/test_tensor.c reads it.
"""
import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import dequantize

N = 2048
# type: byte offsets of the f16 scales inside a block
TYPES = {
    T.F16: [0], T.BF16: [], T.Q8_0: [0], T.Q4_0: [0], T.Q4_1: [0, 2],
    T.Q5_0: [0], T.Q5_1: [0, 2], T.Q4_K: [0, 2], T.Q5_K: [0, 2],
    T.Q6_K: [208],
}

rng = np.random.default_rng(3)
with open(sys.argv[1], "wb") as out:
    for kind, scales in TYPES.items():
        block, size = GGML_QUANT_SIZES[kind]
        raw = rng.integers(0, 256, (N // block, size), dtype=np.uint8)
        for at in scales:
            half = rng.integers(0, 0x7C00, len(raw)).astype(np.uint16)
            half |= (rng.integers(0, 2, len(raw)) << 15).astype(np.uint16)
            raw[:, at:at + 2] = half.view(np.uint8).reshape(-1, 2)
        if kind == T.BF16:  # no NaN or infinity: exponent below 255
            raw[:, 1] &= 0xBF
        values = dequantize(raw.reshape(-1), kind).astype(np.float32)
        assert values.size == N and np.isfinite(values).all()
        out.write(raw.tobytes())
        out.write(values.astype("<f4").tobytes())
