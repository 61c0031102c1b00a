#!/usr/bin/env python3
"""quads_oracle.py GOLDEN_DIR: writes GOLDEN_DIR/quads.json, connected subgraphs of
four nodes as igraph 1.0.0 counts them (motifs_randesu, size 4), in the graphs of
GOLDEN_DIR and in a made-up one in which each of the 199 classes occurs.

    build/oracle/bin/python tests/oracle/quads_oracle.py tests/golden/motifs

Classes are told apart by their edges: igraph's number of a class is not used, its
representative is renamed as motifcount(1) names it, by the smallest code of all
numberings of the nodes.
"""
import itertools
import json
import math
import random
import sys

import igraph

PAIRS = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))


def name(edges):
    """quad_XXX of four nodes' edges."""
    codes = []
    for p in itertools.permutations(range(4)):
        have = {(p[a], p[b]) for a, b in edges}
        codes.append(sum(((i, j) in have) << 2 * k | ((j, i) in have) << 2 * k + 1
                         for k, (i, j) in enumerate(PAIRS)))
    return f"quad_{min(codes):03x}"


NAMES = [name(igraph.Graph.Isoclass(n=4, cls=c, directed=True).get_edgelist()) for c in range(218)]


def count(n, edges):
    found = igraph.Graph(n=n, edges=sorted(edges), directed=True).motifs_randesu(size=4)
    return {NAMES[c]: int(k) for c, k in enumerate(found) if not math.isnan(k) and k}


def from_file(path):
    """The simple digraph without error nodes."""
    with open(path, encoding="utf-8") as f:
        g = json.load(f)
    at = {}
    for v in g["nodes"]:
        if v["feature_type"] != "mlp reconstruction error":
            at[v["node_id"]] = len(at)
    return len(at), {(at[e["source"]], at[e["target"]]) for e in g["links"]
                     if e["source"] in at and e["target"] in at and e["source"] != e["target"]}


folder = sys.argv[1]
graphs = []
for file in ("capital-state-dallas.json", "opposite_of_small.json"):
    graphs.append({"file": file, "quads": count(*from_file(f"{folder}/{file}"))})
rand = random.Random(4)
made = []
for u, v in itertools.combinations(range(40), 2):
    dyad = rand.choice(((), ((u, v),), ((v, u),), ((u, v), (v, u)), ()))
    made.extend(dyad)
graphs.append({"nodes": 40, "edges": made, "quads": count(40, made)})
assert len(graphs[-1]["quads"]) == 199
with open(f"{folder}/quads.json", "w", encoding="utf-8") as f:
    f.write(json.dumps({"igraph": igraph.__version__, "graphs": graphs}, separators=(",", ":")) + "\n")
