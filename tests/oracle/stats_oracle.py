#!/usr/bin/env python3
"""stats_oracle.py > tests/golden/stats.json

What lib/stats should find, by scipy 1.17.1 and numpy 2.4.6: tests of ranks,
false discovery rates, tails, clusterings. The bootstrap is computed from the
resamples that stats_random's definition (splitmix64's finalizer over counters)
draws, with numpy's quantiles.

Run: build/oracle/bin/python tests/oracle/stats_oracle.py >tests/golden/stats.json
"""
import json
import sys
import warnings

import numpy as np
from scipy import stats
from scipy.cluster import hierarchy
from scipy.spatial.distance import cosine, pdist, squareform

warnings.simplefilter("ignore")
rng = np.random.default_rng(7)
M64 = (1 << 64) - 1


def mix(z):
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9 & M64
    z = (z ^ z >> 27) * 0x94d049bb133111eb & M64
    return z ^ z >> 31


def draw(seed, stream, i):
    g = 0x9e3779b97f4a7c15
    return mix(mix(mix(seed + g & M64) + stream * g & M64) + i * g & M64)


def resample(x, seed, stream):
    return np.mean([x[draw(seed, stream, i) * len(x) >> 64] for i in range(len(x))])


def samples():
    yield [1.0], [2.0]
    yield [3.0, 1.0], [2.0, 4.0, 0.5]
    yield [1.0, 2.0, 3.0], [4.0, 5.0, 6.0]
    yield [1.0, 1.0, 2.0], [1.0, 3.0]
    yield list(rng.normal(size=8)), list(rng.normal(1, 1, size=8))
    yield list(rng.normal(size=5)), list(rng.normal(0.5, 2, size=30))
    yield list(rng.normal(size=50)), list(rng.normal(0.3, 1, size=50))
    yield list(rng.normal(size=80)), list(rng.normal(0.3, 1, size=70))
    yield [float(v) for v in rng.integers(0, 5, 12)], [float(v) for v in rng.integers(1, 6, 9)]
    yield [float(v) for v in rng.integers(0, 3, 60)], [float(v) for v in rng.integers(0, 4, 70)]


def mann_whitney():
    for a, b in samples():
        ties = len(set(a + b)) < len(a + b)
        exact = not ties and len(a) * len(b) <= 2500
        r = stats.mannwhitneyu(a, b, method="exact" if exact else "asymptotic")
        pooled = np.sqrt((np.var(a) * len(a) + np.var(b) * len(b)) / (len(a) + len(b) - 2)) \
            if len(a) + len(b) > 2 else None
        yield {"a": a, "b": b, "u": r.statistic, "p": r.pvalue, "exact": exact,
               "d": (np.mean(a) - np.mean(b)) / pooled if pooled else None}


def kruskal():
    sets = [[[1.0, 2.0], [3.0, 4.0]],
            [[2.9, 3.0, 2.5, 2.6, 3.2], [3.8, 2.7, 4.0, 2.4], [2.8, 3.4, 3.7, 2.2, 2.0]],
            [list(rng.normal(i / 3, 1, size=6 + i)) for i in range(5)],
            [[float(v) for v in rng.integers(0, 4, 9)] for _ in range(4)],
            [[1.0], [2.0], [3.0], [4.0], [9.0]]]
    for g in sets:
        r = stats.kruskal(*g)
        n = sum(map(len, g))
        yield {"groups": g, "h": r.statistic, "p": r.pvalue, "epsilon2": r.statistic / (n - 1)}


def clusters():
    for n, how in [(n, how) for n in (2, 3, 7, 25) for how in ("average", "complete", "single", "ward")]:
        x = rng.normal(size=(n, 5))
        d = pdist(x)
        z = hierarchy.linkage(d, how)
        yield {"dist": squareform(d).tolist(), "how": how, "merges": z.tolist(),
               "leaves": hierarchy.leaves_list(z).tolist()}


def main():
    p = [0.01, 0.04, 0.03, 0.5, 1.0, 0.04, 0.0005]
    x, y = rng.normal(size=20), rng.normal(size=14)
    t = [float(v) for v in rng.integers(0, 5, 20)]
    boots = []
    for a, b, seed in ((x, [], 1), (x, y, 99), (y[:3], x[:2], 2 ** 63)):
        d = [resample(a, seed, 2 * r) - (resample(b, seed, 2 * r + 1) if len(b) else 0)
             for r in range(400)]
        boots.append({"a": list(a), "b": list(b), "seed": str(seed), "reps": 400, "level": 0.9,
                      "lo": np.quantile(d, 0.05), "hi": np.quantile(d, 0.95)})
    tails = [(x2, df) for df in (1, 2, 3, 4, 5, 10, 31, 100, 999, 1000)
             for x2 in (1e-9, 0.01, 0.5, 1.0, df * 0.5, df * 1.0, df * 2.0, df + 40.0, 700.0, 1400.0)]
    json.dump({
        "mann_whitney": list(mann_whitney()),
        "kruskal": list(kruskal()),
        "spearman": [{"x": list(x), "y": t, "rho": stats.spearmanr(x, t).statistic},
                     {"x": list(x[:14]), "y": list(y), "rho": stats.spearmanr(x[:14], y).statistic}],
        "bh": {"p": p, "q": stats.false_discovery_control(p).tolist()},
        "chi2": [[a, df, stats.chi2.sf(a, df)] for a, df in tails],
        "normal": [[z, stats.norm.sf(z)] for z in (-30.0, -2.0, 0.0, 0.3, 1.96, 6.0, 20.0, 37.0)],
        "cosine": {"a": list(x[:14]), "b": list(y), "cosine": 1 - cosine(x[:14], y)},
        "bootstrap": boots,
        "clusters": list(clusters()),
    }, sys.stdout, indent=None, separators=(",", ":"), default=float)
    print()


main()
