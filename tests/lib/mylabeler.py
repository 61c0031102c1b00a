#!/usr/bin/python3
# A labeller of one's own: reads examples/1, names latents by what they favour, writes labels/1.
import sys, msgpack, zstandard
inp = msgpack.Unpacker(zstandard.ZstdDecompressor().stream_reader(sys.stdin.buffer, read_across_frames=True), max_buffer_size=64 << 20)
head, n = next(inp), 0
with zstandard.ZstdCompressor(write_checksum=True).stream_writer(sys.stdout.buffer) as out:
    out.write(msgpack.packb({"r1": 1, "kind": "labels/1", "prov": head["prov"]}))
    for r in inp:
        if "latent" in r and r["fired"]:
            out.write(msgpack.packb({"layer": r["layer"], "feature_id": r["latent"], "tags": ["doubt"],
                                     "label": "favours token %d" % int.from_bytes(r["top_ids"][:4], "little")}))
            n += 1
    out.write(msgpack.packb({"end": True, "records": n}))
