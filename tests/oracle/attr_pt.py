#!/usr/bin/env python3
"""attr_pt.py FULL.json KEPT.json OUT.pt: attrgraph's graph as circuit-tracer's own
file, opened, scored and pruned there.

Needs circuit-tracer 0.5.0 (tests/oracle/README). FULL.json: the graph with
--node-threshold 1 --edge-threshold 1; KEPT.json: the same at the defaults. Says
how the scores and what is kept compare; exit 1 when they differ.
    attrgraph -m M -t CKPT -p TEXT -n 500 --node-threshold 1 --edge-threshold 1 >full.json
    attrgraph -m M -t CKPT -p TEXT -n 500 >kept.json
    python3 tests/oracle/attr_pt.py full.json kept.json graph.pt
"""
import json
import sys

import torch
from circuit_tracer.attribution.targets import LogitTarget
from circuit_tracer.graph import Graph, compute_graph_scores, prune_graph
from circuit_tracer.utils.tl_nnsight_mapping import UnifiedConfig

full, kept = (json.load(open(p, encoding="utf-8")) for p in sys.argv[1:3])
by_id = {n["node_id"]: n for n in full["nodes"]}
targets = [n for n in full["nodes"] if n["feature_type"] == "logit"]
tokens = sorted((n for n in full["nodes"] if n["feature_type"] == "embedding"), key=lambda n: n["ctx_idx"])
n_layers = int(targets[0]["layer"]) - 1
features = sorted((int(n["layer"]), n["ctx_idx"], int(n["node_id"].split("_")[1]), n["activation"])
                  for n in full["nodes"] if n["feature_type"] == "cross layer transcoder")
order = ([f"{l}_{f}_{q}" for l, q, f, _ in features] +
         [f"{l}_-1_{q}" for l in range(n_layers) for q in range(len(tokens))] +
         [n["node_id"] for n in tokens + targets])
place = {node: i for i, node in enumerate(order)}
missing = [node for node in by_id if node not in place]
adjacency = torch.zeros(len(order), len(order))
for e in full["links"]:
    adjacency[place[e["target"]], place[e["source"]]] = e["weight"]
graph = Graph(
    input_string=full["metadata"]["prompt"],
    input_tokens=torch.tensor([int(n["node_id"].split("_")[1]) for n in tokens]),
    active_features=torch.tensor([f[:3] for f in features]),
    adjacency_matrix=adjacency, selected_features=torch.arange(len(features)),
    activation_values=torch.tensor([f[3] for f in features]),
    logit_targets=[LogitTarget(n["clerp"], n["feature"]) for n in targets],
    logit_probabilities=torch.tensor([n["token_prob"] for n in targets]),
    scan=full["metadata"]["scan"],
    cfg=UnifiedConfig(n_layers=n_layers, d_model=0, d_head=0, n_heads=0, d_mlp=0, d_vocab=1 << 20,
                      tokenizer_name="", model_name=full["metadata"]["r1_interp"]["model"],
                      original_architecture=""))
graph.to_pt(sys.argv[3])
graph = Graph.from_pt(sys.argv[3])
scores = compute_graph_scores(graph)
node_mask, edge_mask, _ = prune_graph(graph)
nodes = {order[i] for i in node_mask.nonzero()[:, 0].tolist()}
edges = {(order[s], order[t]) for t, s in edge_mask.nonzero().tolist() if node_mask[s] and node_mask[t]}
want = {n["node_id"] for n in kept["nodes"]}
links = {(e["source"], e["target"]) for e in kept["links"]}
m = full["metadata"]["r1_interp"]
off = max(abs(scores[0] - m["replacement_score"]), abs(scores[1] - m["completeness_score"]))
print(json.dumps({"nodes": len(order), "edges": len(full["links"]), "replacement": [m["replacement_score"], scores[0]],
                  "completeness": [m["completeness_score"], scores[1]], "kept_nodes": [len(want), len(nodes)],
                  "nodes_apart": len(nodes ^ want), "kept_edges": [len(links), len(edges)],
                  "edges_apart": len(edges ^ links)}))
sys.exit(bool(missing) or off > 1e-5 or nodes != want or len(edges ^ links) > 1e-3 * len(links))
