#!/usr/bin/python3
"""decoder_ref.py MODEL CKPT EXAMPLES: the logits and neighbours that topk-examples(1)
gives to latents, worked out again from the weights, for every seventh latent. MODEL
and CKPT hold f32 safetensors. Prints TAP."""
import json, math, struct, sys
from array import array
import msgpack, zstandard

def tensors(path):
    data = open(path, "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    for name, t in json.loads(data[8:8 + n]).items():
        if name != "__metadata__":
            assert t["dtype"] == "F32", (name, t)
            a, b = t["data_offsets"]
            v = array("f", data[8 + n + a:8 + n + b])
            w = t["shape"][-1]
            yield name, [v[i:i + w] for i in range(0, len(v), w)]

dot = lambda a, b: sum(x * y for x, y in zip(a, b))
values = lambda b, kind: [x[0] for x in struct.iter_unpack("<" + kind, b)]
model, ckpt, path = sys.argv[1:]
m = dict(tensors(model + "/model.safetensors"))
unembed = m.get("lm_head.weight", m["model.embed_tokens.weight"])
gain = m["model.norm.weight"][0]
stream = zstandard.ZstdDecompressor().stream_reader(open(path, "rb"), read_across_frames=True)
head, *records = msgpack.Unpacker(stream, max_buffer_size=1 << 30)

# What is given is a list of the greatest: each value is its id's, none is left out.
def greatest(ids, given, all_values, n, sign=1):
    best = sorted((sign * v for v in all_values.values()), reverse=True)[:n]
    return len(ids) == n == len(set(ids)) and all(
        abs(v - all_values[i]) < 1e-4 and abs(sign * v - b) < 1e-4 for i, v, b in zip(ids, given, best))

wrong, seen = {"logits": [], "neighbours": []}, 0
for layer in head["layers"]:
    decoder = dict(tensors(f"{ckpt}/layers.{layer}.mlp/sae.safetensors"))["W_dec"]
    size = [math.sqrt(dot(w, w)) for w in decoder]
    for r in records:
        if r.get("layer") != layer or r.get("latent", 1) % 7:
            continue
        i, seen = r["latent"], seen + 1
        w = [x * g for x, g in zip(decoder[i], gain)]
        logit = {j: dot(u, w) for j, u in enumerate(unembed)}
        mean = sum(logit.values()) / len(logit)
        logit = {j: v - mean for j, v in logit.items()}
        if not (greatest(values(r["top_ids"], "I"), values(r["top_logits"], "f"), logit, head["logits"]) and
                greatest(values(r["bottom_ids"], "I"), values(r["bottom_logits"], "f"), logit, head["logits"], -1)):
            wrong["logits"].append((layer, i))
        cosine = {j: dot(decoder[i], v) / (size[i] * size[j]) for j, v in enumerate(decoder) if j != i}
        if not greatest(values(r["near"], "I"), values(r["near_cos"], "f"), cosine, head["near"]):
            wrong["neighbours"].append((layer, i))
assert seen >= 50
for what, where in wrong.items():
    print(("not ok" if where else "ok") + f" examples: {what}")
    if where:
        print("#", where[:5])
sys.exit(any(wrong.values()))
