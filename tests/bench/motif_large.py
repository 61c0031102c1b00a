"""motif_large.py BYTES: writes one made-up attribution graph of that size as JSON,
20,000 nodes in 26 layers with labels and as many links as it takes, to standard
output. The same for equal arguments."""
import random
import sys

LAYERS, PER = 26, 770
want, out = int(float(sys.argv[1])), sys.stdout
r = random.Random(1)
ids = [[f"{layer}_{r.randrange(1 << 20)}_{i}" for i in range(PER)] for layer in range(LAYERS)]
size = out.write('{"metadata":{"slug":"large","scan":"made-up","prompt_tokens":[],"prompt":""},"qParams":{},"nodes":[')
size += out.write(",\n".join(
    f'{{"node_id":"{n}","feature":{i},"layer":"{layer}","ctx_idx":{i},"feature_type":"cross layer transcoder",'
    f'"jsNodeId":"{n}","clerp":"feature {i} of layer {layer}"}}' for layer in range(LAYERS) for i, n in enumerate(ids[layer])))
size += out.write('],\n"links":[')
# each node in turn gets sources, the nodes of lower layers in steps
weights = [f'","weight":{r.gauss(0, 0.3):.7f}}}' for _ in range(4096)]
ends = [(layer, i) for layer in range(1, LAYERS) for i in range(PER)]
step, sep = 0, ""
while size < want:
    layer, i = ends[step % len(ends)]
    low = step // len(ends)
    names = [ids[a][j] for a in range(layer) for j in range((i + low) % 16, PER, 16)]
    target = f'","target":"{ids[layer][i]}'
    size += out.write(sep + ",".join([f'{{"source":"{n}{target}{weights[(step + m * 7) % 4096]}' for m, n in enumerate(names)]))
    sep, step = ",\n", step + 1
out.write("]}\n")
