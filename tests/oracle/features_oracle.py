#!/usr/bin/env python3
"""What circuit-tracer makes of featexport's features/.

Every record is read as its viewer reads it, through its own server
(frontend/local_server.py of the main branch, which serves features) with the
viewer's range requests, which ask for a byte too many, and must satisfy its own
model of a record (frontend/feature_models.py).

    python3 tests/oracle/features_oracle.py FEATURES [EVERY]    # every EVERY-th record [1]

Wants circuit-tracer's main branch (4bb8c0e), its folder in PYTHONPATH: the
release 0.5.0 serves no features from a folder."""
import argparse
import gzip
import json
import struct
import urllib.request
import zlib

from circuit_tracer.frontend.feature_models import Model
from circuit_tracer.frontend.local_server import serve

p = argparse.ArgumentParser()
p.add_argument("features")
p.add_argument("every", type=int, nargs="?", default=1)
p.add_argument("--port", type=int, default=8032)
a = p.parse_args()
serve(data_dir=a.features, features_dir=a.features, port=a.port)
base = f"http://127.0.0.1:{a.port}"


def get(path, **headers):
    with urllib.request.urlopen(urllib.request.Request(f"{base}{path}", headers=headers)) as r:
        return r.read()


index = json.loads(gzip.decompress(get("/features/index.json.gz")))
n = alive = 0
for layer, entry in index.items():
    offsets = entry["offsets"]
    assert offsets[0] == 0 and sorted(set(offsets)) == offsets
    for i in range(0, len(offsets) - 1, a.every):
        got = get("/features/" + entry["filename"], Range=f"bytes={offsets[i]}-{offsets[i + 1]}")
        length, = struct.unpack("<I", got[:4])
        assert 4 + length == offsets[i + 1] - offsets[i]
        record = json.loads(zlib.decompress(got[4:4 + length]))
        Model.model_validate(record, strict=True)
        assert record["index"] == i
        for q in record["examples_quantiles"]:
            for x in q["examples"]:
                assert len(x["tokens"]) == len(x["tokens_acts_list"]) > x["train_token_ind"]
                assert x["tokens_acts_list"][x["train_token_ind"]] > 0
                assert max(x["tokens_acts_list"]) <= record["act_max"] * 1.00001
        alive += bool(record["examples_quantiles"])
        assert len(record["histogram"]) == 50 and len(record["quantile_values"]) in (0, 99)
        assert record["quantile_values"] == sorted(record["quantile_values"])
        n += 1
print(f"{n} records of {len(index)} layers read by range, {alive} of them alive")
