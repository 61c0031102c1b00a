#!/usr/bin/python3
"""acts.py: what the tests of actdump need of streams and goldens, in Python.

    acts.py tokens [N_CTX] < ID-LISTS > TOK   one JSON list of ids a line
    acts.py golden FOLDER                     its input_ids as such a line
    acts.py show < ACT                        header and records, a line each
    acts.py compare FOLDER TOLERANCE < ACT    values against golden.safetensors
"""
import array
import json
import struct
import sys

import msgpack
import zstandard


def tensors(path):
    """name -> list of numbers, of a safetensors file of F32 and I32."""
    with open(path, "rb") as f:
        head = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    kind = {"F32": "f", "I32": "i"}
    return {k: array.array(kind[v["dtype"]],
                           data[slice(*v["data_offsets"])]).tolist()
            for k, v in head.items() if v.get("dtype") in kind}


def read(f):
    raw = f.read()
    if raw[:4] == b"\x28\xb5\x2f\xfd":
        raw = zstandard.ZstdDecompressor().stream_reader(
            raw, read_across_frames=True).read()
    u = msgpack.Unpacker(max_buffer_size=1 << 31)
    u.feed(raw)
    objects = list(u)
    records = [o for o in objects if "r1" not in o and "end" not in o]
    return objects[0], records


def floats(data, dtype):
    if dtype == "f32":
        return array.array("f", data).tolist()
    half = array.array("H", data)
    if dtype == "f16":
        return list(struct.unpack(f"<{len(half)}e", data))
    return struct.unpack(f"<{len(half)}f",
                         struct.pack(f"<{len(half)}I", *(h << 16 for h in half)))


def write_tokens(f, sequences, n_ctx):
    p = msgpack.Packer()
    f.write(p.pack({"r1": 1, "kind": "tokens/1", "vocab": 1 << 20,
                    "n_ctx": n_ctx, "packed": False, "tokenizer": "",
                    "dtype": "u32", "prov": []}))
    for i, ids in enumerate(sequences):
        f.write(p.pack({"seq": i, "ids": struct.pack(f"<{len(ids)}I", *ids),
                        "docs": [[i, 0, 0]]}))
    f.write(p.pack({"end": True, "records": len(sequences)}))


def compare(folder, tolerance):
    want = tensors(folder + "/golden.safetensors")
    head, records = read(sys.stdin.buffer)
    width = head["d_in"]
    n = 0
    for r in records:
        pos = struct.unpack(f"<{len(r['positions']) // 4}I", r["positions"])
        for side, name in (("x", "mlp_in"), ("y", "mlp_out")):
            for layer, data in zip(head["layers"], r[side]):
                all_of = want[f"{name}.{layer}"]
                top = max(map(abs, all_of))
                got = floats(data, head["dtype"])
                assert len(got) == len(pos) * width
                for i, p in enumerate(pos):
                    for j in range(width):
                        w = all_of[p * width + j]
                        g = got[i * width + j]
                        assert abs(g - w) <= tolerance * top, \
                            (name, layer, p, j, g, w)
                        n += 1
    print(n, "values")


def main(what, *args):
    if what == "tokens":
        write_tokens(sys.stdout.buffer, [json.loads(s) for s in sys.stdin],
                     int(args[0]) if args else 512)
    elif what == "golden":
        print(json.dumps(tensors(args[0] + "/golden.safetensors")["input_ids"]))
    elif what == "compare":
        compare(args[0], float(args[1]))
    elif what == "show":
        head, records = read(sys.stdin.buffer)
        print(json.dumps({k: v for k, v in head.items() if k != "prov"}))
        for r in records:
            n = len(r["ids"]) // 4
            print(r["seq"], *struct.unpack(f"<{n}I", r["positions"]), "|",
                  *struct.unpack(f"<{n}I", r["ids"]))


main(*sys.argv[1:])
