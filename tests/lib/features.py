#!/usr/bin/python3
"""features.py WHAT FOLDER EXAMPLES.json TOKENS.json: what featexport wrote (WHAT:
circuit-tracer, neuronpedia, batches) against the examples it was made from, as
`r1cat -f` prints them, and the text of each token. Says nothing when all holds.
"""
import gzip
import json
import os
import struct
import sys
import zlib

what, folder = sys.argv[1:3]
lines = [json.loads(s) for s in open(sys.argv[3])]
token = [bytes(b) for b in json.load(open(sys.argv[4]))]
head = lines[0]
latents = [x for x in lines if "latent" in x]
by_layer = {}
for x in latents:
    by_layer.setdefault(x["layer"], []).append(x)


def near(a, b):
    return len(a) == len(b) and all(abs(x - y) <= 1e-5 * abs(y) for x, y in zip(a, b))


def hexed(i):           # circuit-tracer's viewer joins \xNN
    out, b = "", token[i]
    while b:
        for n in range(1, 5):
            try:
                out, b = out + b[:n].decode(), b[n:]
                break
            except UnicodeDecodeError:
                continue
        else:
            out, b = out + "\\x%02x" % b[0], b[1:]
    return out.replace("\0", "\ufffd") or "\ufffd"


def replaced(i):
    return token[i].decode(errors="replace").replace("\0", "\ufffd") or "\ufffd"


def same_context(tokens, acts, x, text):
    assert tokens == [text(i) for i in x["ids"]], (tokens, x)
    assert near(acts, x["acts"]), (acts, x)


def hist_ok(h, x):
    assert abs(sum(h) - x["fired"]) < 1e-3 * max(1, x["fired"]), (sum(h), x["fired"])


def circuit_tracer():
    index = json.load(gzip.open(f"{folder}/index.json.gz"))
    assert sorted(map(int, index)) == sorted(by_layer)
    for layer, rows in by_layer.items():
        entry = index[str(layer)]
        data = open(f"{folder}/{entry['filename']}", "rb").read()
        o = entry["offsets"]
        assert o[0] == 0 and o[-1] == len(data) and len(o) == len(rows) + 1
        for i, x in enumerate(rows):
            n, = struct.unpack_from("<I", data, o[i])
            assert o[i] + 4 + n == o[i + 1]
            r = json.loads(zlib.decompress(data[o[i] + 4:o[i + 1]]))
            assert r["index"] == i and r["transcoder_id"] == f"tiny/layer_{layer}"
            assert r["top_logits"] == [hexed(j) for j in x["top_ids"]]
            assert r["bottom_logits"] == [hexed(j) for j in x["bottom_ids"]]
            assert near([r["act_min"], r["act_max"], r["activation_frequency"]], [0, x["max"], x["frequency"]])
            hist_ok(r["histogram"], x)
            q = r["quantile_values"]
            if x["fired"]:
                assert near([q[0], q[9], q[24], q[49], q[74], q[89], q[98]], x["quantiles"]), (q, x["quantiles"])
            got = r["examples_quantiles"]
            assert [g["quantile_name"] for g in got][:1] == (["Top"] if x["top"] else [])
            assert len(got) <= 1 + head["strata"]
            flat = [e for g in got for e in g["examples"]]
            want = x["top"] + x["sample"]
            assert len(flat) == len(want)
            seen = [(c["seq"], c["pos"]) for c in x["top"]]
            for k, (e, c) in enumerate(zip(flat, want)):
                same_context(e["tokens"], e["tokens_acts_list"], c, hexed)
                assert e["train_token_ind"] == c["at"]
                assert e["is_repeated_datapoint"] == (k >= len(seen) and (c["seq"], c["pos"]) in seen)


def rows_of(path):
    keys, out = None, []
    for name in sorted(os.listdir(path), key=lambda s: int(s[6:].split(".")[0])):
        block = [json.loads(s) for s in gzip.open(f"{path}/{name}")]
        assert 0 < len({r["index"] for r in block}) <= 1024
        for r in block:
            assert keys in (None, list(r)), "keys differ between lines"
            assert int(r["index"]) // 1024 == int(name[6:].split(".")[0])
            keys = list(r)
        out += block
    return out


def tree():
    ids = set()
    for layer, rows in by_layer.items():
        path = f"{folder}/v1/tiny/{layer}-set"
        one = {n: json.loads(open(f"{path}/{n}.jsonl").read()) for n in ("release", "model", "sourceset", "source")}
        assert one["source"]["id"] == f"{layer}-set" and one["source"]["setName"] == one["sourceset"]["name"] == "set"
        assert one["sourceset"]["releaseName"] == one["release"]["name"] == "rel" and one["model"]["id"] == "tiny"
        assert {r["creatorId"] for r in one.values()} == {"someone"}
        assert (one["source"]["hfRepoId"], one["source"]["hfFolderId"]) == ("org/name", "a/b")
        alive = [x for x in rows if x["fired"]]
        f = rows_of(f"{path}/features")
        assert [r["index"] for r in f] == [str(x["latent"]) for x in alive]
        for r, x in zip(f, alive):
            assert (r["modelId"], r["layer"], r["sourceSetName"]) == ("tiny", f"{layer}-set", "set")
            assert near([r["frac_nonzero"], r["maxActApprox"]], [x["frequency"], x["max"]])
            assert r["pos_str"] == [replaced(j) for j in x["top_ids"]] and near(r["pos_values"], x["top_logits"])
            assert r["neg_str"] == [replaced(j) for j in x["bottom_ids"]] and near(r["neg_values"], x["bottom_logits"])
            assert r["topkCosSimIndices"] == x["near"] and near(r["topkCosSimValues"], x["near_cos"])
            hist_ok(r["freq_hist_data_bar_heights"], x)
        a = rows_of(f"{path}/activations")
        want = [(x, c, top) for x in alive for top, c in
                [(True, c) for c in x["top"]] + [(False, c) for c in x["sample"]]]
        assert len(a) == len(want)
        for r, (x, c, top) in zip(a, want):
            same_context(r["tokens"], r["values"], c, replaced)
            assert r["values"][r["maxValueTokenIndex"]] == r["maxValue"] == max(r["values"])
            assert r["minValue"] == min(r["values"]) and r["qualifyingTokenIndex"] == c["at"]
            assert (r["binMin"] == r["binMax"] == r["binContains"] == -1) if top else \
                (r["binMin"] < r["binMax"] and near([r["binContains"]], [1 / head["strata"]]))
            assert r["id"] not in ids
            ids.add(r["id"])
        labels = {r["index"]: r["description"] for r in rows_of(f"{path}/explanations")}
        assert labels == {str(x["latent"]): f"label {x['latent']} \u00e9" for x in alive if x["latent"] % 3 == 0}, labels


def batches():
    for layer, rows in by_layer.items():
        path = f"{folder}/{layer}-set"
        got = []
        for i, name in enumerate(sorted(os.listdir(path))):
            assert name == "batch-%05d.json" % i
            body = json.load(open(f"{path}/{name}"))
            assert (body["modelId"], body["source"]) == ("tiny", f"{layer}-set")
            assert 0 < len(body["features"]) <= 50
            got += body["features"]
        alive = [x for x in rows if x["top"] or x["sample"]]
        assert [f["index"] for f in got] == [x["latent"] for x in alive]
        for f, x in zip(got, alive):
            assert near([f["density"]], [x["frequency"]])
            for key, i, v in (("topLogits", "top_ids", "top_logits"), ("bottomLogits", "bottom_ids", "bottom_logits")):
                assert [t["token"] for t in f[key]] == [replaced(j) for j in x[i]][:20]
                assert near([t["value"] for t in f[key]], x[v][:20])
            assert [e["text"] for e in f["explanations"]] == \
                ([f"label {x['latent']} \u00e9"] if x["latent"] % 3 == 0 else [])
            want = x["top"] + x["sample"]
            assert len(f["activations"]) == len(want)
            for g, c in zip(f["activations"], want):
                same_context(g["tokens"], g["values"], c, replaced)
                assert g["quantileMin"] <= g["quantileMax"] <= x["max"] * 1.00001 and 0 <= g["quantileFraction"] <= 1


{"circuit-tracer": circuit_tracer, "neuronpedia": tree, "batches": batches}[what]()
