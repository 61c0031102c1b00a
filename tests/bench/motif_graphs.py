"""motif_graphs.py DIR N EDGES DEGREE: writes N made-up attribution graphs of EDGES
links, DEGREE of them to a node: 26 layers, sources and targets as unevenly used as
in real graphs (a node's share of links falls with its rank), a third negative. The
same for equal arguments."""
import json
import os
import random
import sys

LAYERS = 26


def graph(r, name, n_edges, degree):
    per = max(2, round(n_edges / degree / LAYERS))
    nodes = [(layer, i) for layer in range(-1, LAYERS - 1) for i in range(per)]
    share = [1 / (i + 3) ** 0.5 for i in range(per)]
    order = [list(range(per)) for _ in range(LAYERS)]
    for o in order:
        r.shuffle(o)
    edges = set()
    while len(edges) < n_edges:
        a = r.randrange(LAYERS - 1)
        # half of all links go up by few layers
        gap = 1 + int(r.expovariate(0.25))
        if a + gap >= LAYERS:
            continue
        i, j = r.choices(range(per), share, k=2)
        edges.add((a * per + order[a][i], (a + gap) * per + order[a + gap][j]))
    ids = [f"{'E' if layer < 0 else layer}_{i}_{i % 12}" for layer, i in nodes]
    return {"metadata": {"slug": name, "scan": "made-up", "prompt_tokens": [], "prompt": ""}, "qParams": {},
            "nodes": [{"node_id": ids[k], "feature": i, "layer": "E" if layer < 0 else str(layer), "ctx_idx": i % 12,
                       "feature_type": "embedding" if layer < 0 else "cross layer transcoder", "jsNodeId": ids[k],
                       "clerp": ""} for k, (layer, i) in enumerate(nodes)],
            "links": [{"source": ids[u], "target": ids[v], "weight": round(r.gauss(0.4, 1), 5)}
                      for u, v in sorted(edges)]}


folder, n, n_edges, degree = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
os.makedirs(folder, exist_ok=True)
for g in range(n):
    with open(f"{folder}/g{g}.json", "w", encoding="utf-8") as f:
        json.dump(graph(random.Random(g), f"g{g}", n_edges, degree), f)
