#!/usr/bin/python3
"""examples.py LAYERS LATENTS < tokens/1 > examples/1

The examples of made-up latents: latent j of layer l fires on the tokens whose
id leaves j when divided by LATENTS, strongest where few of them stand close
by. Latent 0 is dead. Enough of a corpus must be given for each to fire often.
"""
import struct
import sys

import msgpack
import zstandard

N_LAYERS, N = int(sys.argv[1]), int(sys.argv[2])
BEFORE, AFTER, TOP, SAMPLE, RANDOM = 15, 8, 20, 40, 20

src = msgpack.Unpacker(zstandard.ZstdDecompressor().stream_reader(
    sys.stdin.buffer, read_across_frames=True))
head = next(src)
seqs = []
for r in src:
    if "end" in r:
        break
    seqs.append(struct.unpack("<%dI" % (len(r["ids"]) // 4), r["ids"]))


def u32(v):
    return struct.pack("<%dI" % len(v), *v)


def f32(v):
    return struct.pack("<%df" % len(v), *v)


def bins(pairs, n):
    out = [0] * n
    for i in pairs:
        out[i] += 1
    return out


def value_bin(v):       # 8 to an octave from 2^-12
    m, e = v, 0
    while m >= 2:
        m, e = m / 2, e + 1
    while m < 1:
        m, e = m * 2, e - 1
    return min(191, max(0, (e + 12) * 8 + int((m - 1) * 8)))


def acts(ids, layer, j):
    return [1 + layer + (i * 7 + p) % 16 / 16 if t % N == j else 0.0
            for p, (i, t) in enumerate(zip(range(len(ids)), ids))] if j else [0.0] * len(ids)


def window(s, p, a=None):
    ids = seqs[s]
    lo, hi = max(0, p - BEFORE), min(len(ids), p + AFTER + 1)
    c = {"seq": s, "doc": s, "pos": p, "at": p - lo, "mask": 3, "ids": u32(ids[lo:hi])}
    if a is not None:
        c["acts"] = f32(a[lo:hi])
    return c, set(t % N for t in ids[lo:hi])


pos_all = [p for s in seqs for p in range(len(s))]
total = len(pos_all)
by_pos = bins((p.bit_length() for p in pos_all), 25)
by_doc = bins((s % 64 for s, ids in enumerate(seqs) for _ in ids), 64)
h = {"r1": 1, "kind": "examples/1", "prov": head["prov"], "model": "0" * 64,
     "model_name": "made-up", "transcoders": "%064d" % N, "site": "mlp", "layers": list(range(N_LAYERS)),
     "n_latents": N, "k": 1, "seed": 1, "skip": 0, "before": BEFORE, "after": AFTER,
     "top": TOP, "spare": 0, "sample": SAMPLE, "random": RANDOM, "per_doc": 4, "strata": 4,
     "logits": 4, "near": 0, "sequences": len(seqs),
     "documents": len(seqs), "positions": total, "by_pos": by_pos,
     "by_mask": [0, 0, 0, total], "by_doc": by_doc,
     "tokens": {k: head[k] for k in head if k not in ("r1", "kind", "prov")}}
out = [h]
contexts = []
for i in range(200):
    s = i * 37 % len(seqs)
    c, fires = window(s, i * 13 % len(seqs[s]))
    contexts.append(fires)
    bits = bytearray((N + 7) // 8)
    for j in fires - {0}:
        bits[j // 8] |= 1 << j % 8
    out.append({"context": i, **c, "fired": [bytes(bits)] * N_LAYERS})
for layer in range(N_LAYERS):
    for j in range(N):
        hits = []
        for s, ids in enumerate(seqs):
            a = acts(ids, layer, j)
            hits += [(a[p], s, p, a) for p in range(len(ids)) if a[p]]
        hits.sort(key=lambda x: (-x[0], x[1], x[2]))
        values = [x[0] for x in hits]
        n = len(hits)
        fixed = int(sum(round(v * 2 ** 32) for v in values))
        hist = bins(map(value_bin, values), 192)
        first = next((i for i, x in enumerate(hist) if x), 0)
        last = max((i for i, x in enumerate(hist) if x), default=-1)
        docs, top = {}, []
        for v, s, p, a in hits:
            if len(top) < TOP and docs.get(s, 0) < 1:
                docs[s] = 1
                top.append(window(s, p, a)[0])
        step = max(1, n // SAMPLE)
        quiet = [i for i, fires in enumerate(contexts) if j not in fires or not j]
        out.append({
            "layer": layer, "latent": j, "fired": n, "frequency": n / total,
            "mean": sum(values) / total, "max": max(values, default=0.0), "quantiles": [0.0] * 7,
            "shares": [0.0, 0.0, 0.0, 1.0], "entropy": 0.0, "entropy_share": 0.0,
            "sum": [fixed >> 64, fixed & (2 ** 64 - 1)],
            "by_pos": u32(bins((x[2].bit_length() for x in hits), 25)),
            "by_mask": u32([0, 0, 0, n]), "by_doc": u32(bins((x[1] % 64 for x in hits), 64)),
            "hist_at": first, "hist": u32(hist[first:last + 1]), "top": top, "spare": [],
            "sample": [window(s, p, a)[0] for v, s, p, a in hits[::step][:SAMPLE]],
            "random": u32(quiet[:RANDOM]), "top_ids": u32([1, 2, 3, 4]), "bottom_ids": u32([5, 6, 7, 8]),
            "top_logits": f32([4, 3, 2, 1]), "bottom_logits": f32([-4, -3, -2, -1]),
            "near": b"", "near_cos": b""})
    out.append({"layer": layer, "dead": 1, "freq_hist": u32([0] * 11 + [N - 1]), "l0": u32([0, total]),
                "fired_by_pos": u32([0] * 25), "sum_by_pos": [[0, 0]] * 25})
with zstandard.ZstdCompressor(write_checksum=True).stream_writer(sys.stdout.buffer) as z:
    for x in out + [{"end": True, "records": len(out) - 1}]:
        z.write(msgpack.packb(x))
