#!/usr/bin/python3
"""examples_ref.py LATENTS EXAMPLES: what topk-examples(1) says of a latents/1
stream, worked out again from the whole of it in memory, and compared with an
examples/1 stream. Prints TAP."""
import math, struct, sys
import msgpack, zstandard

def stream(path):
    data = zstandard.ZstdDecompressor().stream_reader(open(path, "rb"), read_across_frames=True)
    objects = list(msgpack.Unpacker(data, max_buffer_size=1 << 30))
    assert objects[-1]["records"] == len(objects) - 2
    return objects[0], objects[1:-1]

u32 = lambda b: list(struct.unpack("<%dI" % (len(b) // 4), b))
f32 = lambda b: list(struct.unpack("<%df" % (len(b) // 4), b))
bad = 0
def check(name, fine, note=""):
    global bad
    print(("ok" if fine else "not ok") + " examples: " + name)
    if not fine:
        bad += 1
        print("# " + str(note)[:400])

head, blocks = stream(sys.argv[1])
out, records = stream(sys.argv[2])
n_layers, n_latents = len(head["layers"]), head["n_latents"]

# ---- sequences, and firings by latent
seqs, fired, l0 = {}, {}, [[0] * (head["k"] + 1) for _ in range(n_layers)]
for b in blocks:
    s = seqs.setdefault(b["seq"], {"ids": [], "docs": [], "mask": []})
    ids, at = u32(b["ids"]), len(s["ids"])
    assert b["pos"] == at
    s["mask"] += list(b["mask"]) if "mask" in b else [3] * len(ids)
    for i, (doc, begin, off) in enumerate(b["docs"]):
        if i == 0 and at and s["docs"][-1][0] == doc:
            continue
        s["docs"].append((doc, at + begin, off))
    s["ids"] += ids
    for k in range(n_layers):
        latents, values, j = u32(b["latents"][k]), f32(b["values"][k]), 0
        for i, n in enumerate(u32(b["counts"][k])):
            if at + i >= head["skip"]:
                l0[k][n] += 1
            for j in range(j, j + n):
                fired.setdefault((k, latents[j]), []).append((b["seq"], at + i, values[j]))
            j = j + 1 if n else j
positions = sum(max(0, len(s["ids"]) - head["skip"]) for s in seqs.values())
check("totals", (out["positions"], out["sequences"], out["documents"]) ==
      (positions, len(seqs), sum(off == 0 for s in seqs.values() for _, _, off in s["docs"])))

def piece(s, pos):
    """The document at pos, where it begins and ends."""
    docs = s["docs"] + [(None, len(s["ids"]), 0)]
    i = max(i for i, d in enumerate(docs[:-1]) if d[1] <= pos)
    return docs[i][0], docs[i][1], docs[i + 1][1]

def edge(i):
    return 2.0 ** (i // 8 - 12) * (1 + i % 8 / 8)
def bin_of(v):
    return max(i for i in range(192) if i == 0 or edge(i) <= v)

def top_of(k, latent):
    """By the rules of the manual page, over all firings at once."""
    peaks = []
    for seq, s in seqs.items():
        mine = sorted((-v, p) for q, p, v in fired[k, latent] if q == seq)
        taken = {}
        for v, p in mine:
            near = taken.setdefault(piece(s, p)[:2], [])
            if len(near) < out["per_doc"] and all(abs(p - q) > out["before"] for q in near):
                near.append(p)
                peaks.append((v, seq, p))
    peaks.sort()
    pool, keys = [], set()
    for v, seq, p in peaks:
        s = seqs[seq]
        _, begin, _ = piece(s, p)
        key = tuple(s["ids"][max(begin, p - out["before"], p - 15):p + 1])
        if key not in keys:
            keys.add(key)
            pool.append((seq, p))
    pool = pool[:out["top"] + out["spare"]]
    top, per = [], {}
    for seq, p in pool:
        doc = piece(seqs[seq], p)[0]
        if len(top) < out["top"] and per.get(doc, 0) < out["per_doc"]:
            per[doc] = per.get(doc, 0) + 1
            top.append((seq, p))
    return top, [x for x in pool if x not in top]

# ---- the records
contexts = [r for r in records if "context" in r]
latents = [r for r in records if "latent" in r]
layers = [r for r in records if "latent" not in r and "context" not in r]
check("a record for each latent", [(r["layer"], r["latent"]) for r in latents] ==
      [(l, i) for l in head["layers"] for i in range(n_latents)])
wrong = {}
ranks = []
all_bits = -sum(x / positions * math.log2(x / positions) for x in out["by_doc"] if x)
for r in latents:
    k = head["layers"].index(r["layer"])
    f = fired.get((k, r["latent"]), [])
    def same(what, got, want):
        if got != want:
            wrong.setdefault(what, (r["layer"], r["latent"], got, want))
    hist, pos, mask = [0] * 192, [0] * 25, [0] * 4
    at = dict(((q, p), v) for q, p, v in f)
    for q, p, v in f:
        hist[bin_of(v)] += 1
        pos[p.bit_length()] += 1
        mask[seqs[q]["mask"][p]] += 1
    full = [0] * 192
    full[r["hist_at"]:r["hist_at"] + len(r["hist"]) // 4] = u32(r["hist"])
    same("firings", r["fired"], len(f))
    same("histogram", full, hist)
    same("positions", u32(r["by_pos"]), pos)
    same("masks", u32(r["by_mask"]), mask)
    same("maximum", r["max"], max((v for _, _, v in f), default=0.0))
    values = sorted(v for _, _, v in f)
    if values:
        same("mean", abs(r["mean"] / (sum(values) / len(values)) - 1) < 1e-6, True)
        near = [values[min(len(values) - 1, int(q * len(values)))] for q in (.1, .5, .9)]
        got = [r["quantiles"][i] for i in (1, 3, 5)]
        doc = u32(r["by_doc"])
        bits = -sum(x / len(f) * math.log2(x / len(f)) for x in doc if x)
        same("entropy over documents", (sum(doc), abs(r["entropy"] - bits) < 1e-6,
             abs(r["entropy_share"] * all_bits - bits) < 1e-6 or not all_bits), (len(f), True, True))
        n_docs = len({(q, piece(seqs[q], p)[0]) for q, p, _ in f})
        same("documents", sum(x > 0 for x in doc) <= n_docs, True)
        same("shares of think, answer, prompt", [abs(a - b / len(f)) < 1e-9 for a, b in zip(r["shares"], mask)], [True] * 4)
        same("frequency", abs(r["frequency"] - len(f) / positions) < 1e-12, True)
        same("quantiles", [abs(g / n - 1) < 0.13 or len(values) < 50 for g, n in zip(got, near)], [True] * 3)
        top, spare = top_of(k, r["latent"])
        same("top", [(e["seq"], e["pos"]) for e in r["top"]], top)
        same("spare", [(e["seq"], e["pos"]) for e in r["spare"]], spare)
        same("size of the sample", len(r["sample"]), min(out["sample"], len(f)))
        same("the sample is of firings", [(e["seq"], e["pos"]) in at for e in r["sample"]], [True] * len(r["sample"]))
        if len(f) > 200:
            ranks += [sum(v < e2 for v in values) / len(values) for e in r["sample"]
                      for e2 in [f32(e["acts"])[e["at"]]]]
    for e in r["top"] + r["spare"] + r["sample"]:
        s, ids, acts = seqs[e["seq"]], u32(e["ids"]), f32(e["acts"])
        doc, begin, end = piece(s, e["pos"])
        lo = max(begin, e["pos"] - out["before"])
        hi = min(end, e["pos"] + out["after"] + 1)
        same("windows", (e["doc"], e["at"], ids), (doc, e["pos"] - lo, s["ids"][lo:hi]))
        same("activations in windows", acts, [at.get((e["seq"], p), 0.0) for p in range(lo, hi)])
    for c in u32(r["random"]):
        c = contexts[c]
        lo = c["pos"] - c["at"]
        same("random contexts are silent", [p for p in range(lo, lo + len(c["ids"]) // 4) if (c["seq"], p) in at], [])
    if len(f) < positions / 100 and f:
        same("random contexts are there", len(u32(r["random"])), out["random"])
for what in ("entropy over documents", "documents", "shares of think, answer, prompt", "frequency", "firings", "histogram", "positions", "masks", "maximum", "mean", "quantiles", "top", "spare",
             "size of the sample", "the sample is of firings", "windows", "activations in windows",
             "random contexts are silent", "random contexts are there"):
    check(what, what not in wrong, wrong.get(what))
if ranks:
    # uniform over the firings: each fifth has its share, within five sigma
    n = len(ranks)
    share = [sum(i / 5 <= r < (i + 1) / 5 for r in ranks) / n for i in range(5)]
    check("the sample is uniform", all(abs(s - .2) < 5 * math.sqrt(.16 / n) for s in share), share)
check("layers", [(r["layer"], u32(r["l0"]), r["dead"]) for r in layers] ==
      [(l, l0[k], sum((k, i) not in fired for i in range(n_latents))) for k, l in enumerate(head["layers"])])
for k, r in enumerate(layers):
    fired_at, sum_at, freq = [0] * 25, [0.0] * 25, [0] * 12
    for i in range(n_latents):
        f = fired.get((k, i), [])
        for _, p, v in f:
            fired_at[p.bit_length()] += 1
            sum_at[p.bit_length()] += v
        if f:       # half decades up to 1
            freq[max(0, min(11, 12 + math.floor(2 * math.log10(len(f) / positions))))] += 1
    got = [(hi * 2.0 ** 64 + lo) / 2.0 ** 32 for hi, lo in r["sum_by_pos"]]
    check(f"layer {r['layer']}: latents active by position", u32(r["fired_by_pos"]) == fired_at, u32(r["fired_by_pos"]))
    check(f"layer {r['layer']}: sums by position", all(abs(a - b) < 1e-4 * (1 + b) for a, b in zip(got, sum_at)), (got, sum_at))
    check(f"layer {r['layer']}: latents by frequency", u32(r["freq_hist"]) == freq, (u32(r["freq_hist"]), freq))
sys.exit(bad > 0)
