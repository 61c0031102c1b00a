#!/usr/bin/env python3
"""attr_compare.py GRAPH.json SCORES.json: a graph of attrgraph's against what
attr_oracle.py --json says of circuit-tracer's for the same prompt and limits:
nodes, edges (1e-4 of the target's largest), scores. Exit 1 when they differ."""
import json
import sys

ours, theirs = (json.load(open(p, encoding="utf-8")) for p in sys.argv[1:])
kind = {n["node_id"]: n["feature_type"] for n in ours["nodes"]}
nodes, want = set(kind), set(theirs["nodes"])
edges = {(e["source"], e["target"]): e["weight"] for e in ours["links"]}
other = {(s, t): w for s, t, w in theirs["edges"]}
worst = max((abs(w - other[e]) / theirs["largest"][e[1]] for e, w in edges.items() if e in other), default=0)
m = ours["metadata"]["r1_interp"]
report = {"nodes": len(nodes), "nodes_only_ours": len(nodes - want), "nodes_only_theirs": len(want - nodes),
          "edges": len(edges), "edges_only_ours": len(edges.keys() - other.keys()),
          "edges_only_theirs": len(other.keys() - edges.keys()), "worst_edge": worst,
          "replacement": [m["replacement_score"], theirs["replacement"]],
          "completeness": [m["completeness_score"], theirs["completeness"]]}
print(json.dumps(report))
apart = len(edges.keys() ^ other.keys())
sys.exit(nodes != want or apart > 1e-4 * len(edges) or worst > 1e-4)
