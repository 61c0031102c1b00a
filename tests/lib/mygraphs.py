#!/usr/bin/python3
# A maker of graphs of one's own: takes attrgraph's options, writes a chain of three nodes a prompt.
import json, sys
arg = dict(zip(sys.argv[1::2], sys.argv[2::2])) if "--skip-done" not in sys.argv else \
    dict(zip(sys.argv[1:-1:2], sys.argv[2:-1:2]))
for line in open(arg["--prompts"], encoding="utf-8"):
    name = json.loads(line)["id"]
    node = lambda i, layer, kind, text: {"node_id": i, "feature": 1, "layer": layer, "ctx_idx": 1, "jsNodeId": i + "-0",
                                         "feature_type": kind, "clerp": text}
    json.dump({"metadata": {"slug": name, "scan": "mine", "prompt_tokens": ["a", "b"], "prompt": "ab"},
               "nodes": [node("E_1_1", "E", "embedding", ""), node("0_1_1", "0", "cross layer transcoder", "mine"),
                         {**node("5_7_1", "5", "logit", 'Output "the" (p=0.250)'), "token_prob": 0.25}],
               "links": [{"source": "E_1_1", "target": "0_1_1", "weight": 1}, {"source": "0_1_1", "target": "5_7_1", "weight": 2}]},
              open(f"{arg['--out']}/{name}.json", "w"))
