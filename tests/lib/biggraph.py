#!/usr/bin/env python3
"""biggraph.py NODES LINKS [SEED]: a graph of so many features and links as
Neuronpedia's JSON, for what a page takes and how long."""
import json
import random
import sys

n_nodes, n_links = int(sys.argv[1]), int(sys.argv[2])
r = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
layers, tokens = 26, ["<bos>", "The", " quick", " brown", " fox", " jumps", " over", " the", " lazy", " dog", " because", " it", "\n", " was"] * 2
last = len(tokens) - 1


def node(id_, layer, pos, kind, label="", p=0.0, act=None):
    return {"node_id": id_, "feature": sum(map(ord, id_)), "layer": layer, "ctx_idx": pos, "feature_type": kind, "token_prob": p,
            "is_target_logit": False, "run_idx": 0, "reverse_ctx_idx": 0, "jsNodeId": id_, "clerp": label, "activation": act}


nodes = [(-1, node(f"E_{i}_{i}", "E", i, "embedding")) for i in range(len(tokens))]
nodes += [(layers, node(f"{layers + 1}_{i}_{last}", str(layers + 1), last, "logit", f'Output " word{i}" (p={0.5 / (i + 1):.3f})', 0.5 / (i + 1))) for i in range(8)]
seen = set()
while len(nodes) < n_nodes:
    layer, pos, f = r.randrange(layers), min(last, int(last * r.random() ** 0.6) + 1), r.randrange(16384)
    if (layer, pos, f) in seen:
        continue
    seen.add((layer, pos, f))
    if r.random() < 0.12:
        nodes.append((layer, node(f"{layer}_-1_{pos}.{f}", str(layer), pos, "mlp reconstruction error")))
    else:
        nodes.append((layer, node(f"{layer}_{f}_{pos}", str(layer), pos, "cross layer transcoder",
                                  r.choice(["", "", "animals", "say a verb", "end of a clause", "adjectives before nouns"]), act=round(r.expovariate(0.5), 3))))
links, pairs = [], set()
while len(links) < n_links:
    (la, a), (lb, b) = r.sample(nodes, 2)
    if la > lb:
        (la, a), (lb, b) = (lb, b), (la, a)
    if la == lb or a["ctx_idx"] > b["ctx_idx"] or "_-1_" in b["node_id"] or (a["node_id"], b["node_id"]) in pairs:
        continue
    pairs.add((a["node_id"], b["node_id"]))
    links.append({"source": a["node_id"], "target": b["node_id"], "weight": round(r.choice((1, 1, 1, -1)) * r.lognormvariate(-3, 1.2), 6)})
json.dump({"metadata": {"slug": f"big-{n_nodes}-{n_links}", "scan": "generated", "prompt_tokens": tokens, "prompt": "".join(tokens[1:])},
           "qParams": {}, "nodes": [n for _, n in nodes], "links": links}, sys.stdout)
