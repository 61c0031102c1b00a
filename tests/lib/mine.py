#!/usr/bin/python3
# A stage of one's own: reads tokens/1 and writes acts/1 of a made-up model.
import struct, sys, msgpack, zstandard
inp = msgpack.Unpacker(zstandard.ZstdDecompressor().stream_reader(sys.stdin.buffer, read_across_frames=True))
head, n = next(inp), 0
acts = {"r1": 1, "kind": "acts/1", "prov": head["prov"], "model": "0" * 64, "site": "mlp", "layers": [0, 1],
        "d_in": 4, "d_out": 4, "dtype": "f32", "tokens": {k: head[k] for k in head if k not in ("r1", "kind", "prov")}}
with zstandard.ZstdCompressor(write_checksum=True).stream_writer(sys.stdout.buffer) as out:
    out.write(msgpack.packb(acts))
    for r in inp:
        if "end" in r: break
        ids = struct.unpack("<%dI" % (len(r["ids"]) // 4), r["ids"])
        x = struct.pack("<%df" % (4 * len(ids)), *((i >> b & 1) + i / 512 for i in ids for b in range(4)))
        out.write(msgpack.packb({"seq": r["seq"], "ids": r["ids"], "x": [x, x], "y": [x, x],
                                 "positions": struct.pack("<%dI" % len(ids), *range(len(ids)))}))
        n += 1
    out.write(msgpack.packb({"end": True, "records": n}))
