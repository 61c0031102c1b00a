#!/usr/bin/env python3
"""graphs.py DIR N SEED CLOSE [THINK]: writes N small attribution graphs, the
same for equal arguments. CLOSE is the chance that an open chain is closed into a
feed-forward loop; with THINK their prompts hold <think> and </think>."""
import json
import os
import random
import sys


def graph(r, name, close, think):
    tokens = ["a", "<think>", "b", "c", "</think>", "d", "e"] if think else list("abcdefg")
    nodes = []
    for layer in range(-1, 8):
        for _ in range(r.randint(4, 7)):
            at = r.randrange(len(tokens))
            kind = "embedding" if layer < 0 else "logit" if layer == 7 else "cross layer transcoder"
            nodes.append((layer, {"node_id": f"{layer}_{len(nodes)}_{at}", "feature": len(nodes),
                                  "layer": "E" if layer < 0 else str(layer), "ctx_idx": at,
                                  "feature_type": kind, "jsNodeId": f"{layer}_{len(nodes)}-{at}",
                                  "clerp": f"feature {len(nodes) % 9}"}))
    edges = {}
    for i, (a, _) in enumerate(nodes):
        for j, (b, _) in enumerate(nodes):
            if 1 <= b - a <= 4 and r.random() < 0.12:
                edges[i, j] = round(r.gauss(0.3, 1), 4)
    for (i, j) in list(edges):
        for (k, m) in list(edges):
            if j == k and (i, m) not in edges and nodes[m][0] - nodes[i][0] <= 5 and r.random() < close:
                edges[i, m] = round(r.gauss(0.3, 1), 4)
    return {"metadata": {"slug": name, "scan": "made-up", "prompt_tokens": tokens, "prompt": "".join(tokens)},
            "qParams": {}, "nodes": [n for _, n in nodes],
            "links": [{"source": nodes[i][1]["node_id"], "target": nodes[j][1]["node_id"], "weight": w}
                      for (i, j), w in edges.items()]}


out, n, seed, close = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
os.makedirs(out, exist_ok=True)
rand = random.Random(seed)
for g in range(n):
    with open(f"{out}/g{seed}-{g}.json", "w", encoding="utf-8") as f:
        json.dump(graph(rand, f"g{seed}-{g}", close, len(sys.argv) > 5), f)
