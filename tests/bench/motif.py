"""Times motifcount and circuit-motifs (tests/bench/motif.sh)."""
import os
import subprocess
import sys
import time
import types

import numpy as np

peer, folder = sys.argv[1:3]
sys.path.insert(0, peer)
sys.path.insert(0, os.path.join(peer, "scripts"))
# Its package would load plotting too: the modules are taken one by one.
src = types.ModuleType("src")
src.__path__ = [os.path.join(peer, "src")]
sys.modules["src"] = src
pipeline = types.ModuleType("src.pipeline")
pipeline.discover_graphs = None
sys.modules["src.pipeline"] = pipeline
from src import null_model  # noqa: E402
from src.graph_loader import load_attribution_graph  # noqa: E402
from src.unrolled_census import fast_unrolled_counts  # noqa: E402
import unrolled_null_pilot as pilot  # noqa: E402

N = int(os.environ.get("BENCH_NULLS", "3"))
FILES = [os.path.join(folder, f) for f in
         ("capital-state-dallas.json", "opposite_of_small.json")]
GRAPHS = [load_attribution_graph(f) for f in FILES]
TRIADS = {
    "configuration": null_model.generate_configuration_null,
    "er": null_model.generate_erdos_renyi_null,
    "layer-er": null_model.generate_layer_preserving_null,
    "layer-config": null_model.generate_layer_pair_config_null,
}


def theirs_triads(kind, graph):
    start = time.perf_counter()
    TRIADS[kind](graph, n_random=N, show_progress=False)
    return (time.perf_counter() - start) / N


def theirs_signed(kind, graph):
    start = time.perf_counter()
    for seed in range(N):
        fast_unrolled_counts(pilot.GENERATORS[kind](
            graph, np.random.default_rng(seed)))
    return (time.perf_counter() - start) / N


def ours(files, *options):
    start = time.perf_counter()
    subprocess.run([os.path.join(os.environ["BIN"], "motifcount"), "--threads",
                    "1", *options, *files], check=True,
                   stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def line(name, a, b, goal, what):
    print(f"motif {name}\t{a:.3g} s\t{b:.3g} s\t{b / a:.0f}\t{goal}\t{what}",
          flush=True)


total = 0
for kind in TRIADS:
    per = [theirs_triads(kind, g) for g in GRAPHS]
    mine = ours(FILES[:1], "--nulls", kind, "-m", "triads", "-n", "1000") / 1e3
    line(kind, mine, per[0], 500 if kind == "layer-config" else "",
         "circuit-motifs, triads of one random graph of 1,719 edges")
    total += sum(per)
for kind in pilot.NULL_TYPES:
    total += sum(theirs_signed(kind, g) for g in GRAPHS)
line("all", ours(FILES, "-n", "1000"), 1000 * total, 100,
     f"circuit-motifs, two graphs, all null models, n = 1000 ({N} made)")
