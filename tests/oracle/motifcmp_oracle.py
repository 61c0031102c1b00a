#!/usr/bin/env python3
"""motifcmp_oracle.py make DIR | check DIR

make: writes DIR/{base,think,haiku}.json, made-up motifs/1 records as JSON lines,
the input of tests/tool/motifcmp. check: what motifcmp should find in them, by
scipy 1.17.1 and numpy 2.4.6, as the case `numbers` prints it.

    build/oracle/bin/python tests/oracle/motifcmp_oracle.py make tests/golden/motifs/sets
    build/oracle/bin/python tests/oracle/motifcmp_oracle.py check tests/golden/motifs/sets \\
        >tests/tool/motifcmp/numbers/stdout
"""
import json
import math
import random
import sys
import warnings

MOTIFS = [("003", "triads"), ("021U", "triads"), ("021C", "triads"), ("030T", "triads"),
          ("coherent_ffl", "signed"), ("incoherent_ffl", "signed")]
NULLS = {"triads": ["layer-config", "er"], "signed": ["er", "lpc-sign"]}
SETS = {"base": (9, 0.0, 900), "think": (7, 1.0, 1100), "haiku": (2, 0.3, 1000)}


def make(out):
    r = random.Random(5)
    for name, (n, shift, edges) in SETS.items():
        with open(f"{out}/{name}.json", "w", encoding="utf-8") as f:
            print(json.dumps({"r1": 1, "kind": "motifs/1", "n": 100, "seed": 1, "threshold": 0.0,
                              "swaps": 10.0, "min_gap": 1, "max_gap": 5, "errors": False,
                              "igraph": False, "nulls": ["er", "layer-config", "lpc-sign"]}), file=f)
            for g in range(n):
                for motif, group in MOTIFS:
                    nulls = {}
                    for null in NULLS[group]:
                        s = {"mean": 50.0, "std": 4.0, "p": 0.25, "q": 0.5}
                        # one motif whose null does not vary has no z
                        if (motif, null, g) == ("021C", "er", 1):
                            s.update(std=0.0, fixed=True)
                        elif motif != "003":
                            z = round(r.gauss(shift * (motif == "030T") * 3, 2), 1)
                            s.update(z=z, sp=round(z / 8, 4))
                        nulls[null] = s
                    print(json.dumps({"graph": f"{name}{g}", "source": f"{name}/{g}.json",
                                      "model": name, "nodes": 70 + 3 * g, "edges": edges + 90 * g,
                                      "layers": 20, "motif": motif, "group": group,
                                      "count": r.randint(1, 90), "nulls": nulls}), file=f)


def short(v):
    if v is None or math.isnan(v):
        return None
    v = round(float(v), 7)
    return int(v) if v == int(v) else v


def say(row):
    print(json.dumps(row, separators=(",", ":")))


def bh(p):
    from scipy import stats
    known = [v for v in p if v is not None]
    q = iter(stats.false_discovery_control(known)) if known else iter(())
    return [None if v is None else next(q) for v in p]


def check(src):
    import numpy as np
    from scipy import stats
    from scipy.cluster import hierarchy
    warnings.simplefilter("ignore")
    sets = {}
    for name in SETS:
        with open(f"{src}/{name}.json", encoding="utf-8") as f:
            sets[name] = [json.loads(line) for line in f][1:]

    def values(name, motif, null):
        out = {}
        for m in sets[name]:
            if m["motif"] == motif:
                out[m["graph"]] = m["nulls"][null].get("sp")
        return out

    size = {m["graph"]: (m["nodes"], m["edges"] / (m["nodes"] * (m["nodes"] - 1)))
            for s in sets.values() for m in s}
    for group, null in (("triads", "layer-config"), ("triads", "er"), ("signed", "er"), ("signed", "lpc-sign")):
        motifs = [m for m, g in MOTIFS if g == group and m != "003"]
        v = {(s, m): values(s, m, null) for s in SETS for m in motifs}
        have = {k: [x for x in d.values() if x is not None] for k, d in v.items()}
        mean = [[np.mean(have[s, m]) for m in motifs] for s in SETS]
        unit = [np.array(x) / np.linalg.norm(x) for x in mean]
        cos = [[float(a @ b) for b in unit] for a in unit]
        dist = [1 - cos[i][j] for i in range(3) for j in range(i + 1, 3)]
        say([group, null, [[short(x) for x in r] for r in mean]])
        say(["cosine", [[short(x) for x in r] for r in cos]])
        say(["tree", [[int(a), int(b), short(h), int(n)] for a, b, h, n in
                      hierarchy.linkage(dist, "average")]])
        pairs = [(a, b) for i, a in enumerate(SETS) for b in list(SETS)[i + 1:]]
        for matched in (False, True):
            rows, ps = [], []
            for a, b in pairs:
                near = []
                for x in v[a, motifs[0]]:
                    for y in v[b, motifs[0]]:
                        d = max(abs(math.log(size[x][k]) - math.log(size[y][k])) for k in (0, 1))
                        if d <= 0.25:
                            near.append((d, x, y))
                near.sort(key=lambda t: t[0])
                used, match = set(), []
                for _, x, y in near:
                    if x not in used and y not in used:
                        used |= {x, y}
                        match.append((x, y))
                for m in motifs:
                    if matched:
                        both = [(v[a, m][x], v[b, m][y]) for x, y in match]
                        both = [t for t in both if None not in t]
                        xs, ys = [t[0] for t in both], [t[1] for t in both]
                        if not match:
                            continue
                    else:
                        xs, ys = have[a, m], have[b, m]
                    if xs and ys:
                        ties = len(set(xs + ys)) < len(xs + ys)
                        r = stats.mannwhitneyu(xs, ys, method="asymptotic" if ties else "exact")
                        p, u = float(r.pvalue), float(r.statistic)
                    else:
                        p = u = None
                    ps.append(p)
                    rows.append([a, b, m, len(xs), u, p])
            for row, q in zip(rows, bh(ps)):
                say(["matched" if matched else "all"] + row[:4] +
                    [short(x) for x in row[4:] + [q]])
        rows = [stats.kruskal(*[have[s, m] for s in SETS]) for m in motifs]
        for m, r, q in zip(motifs, rows, bh([float(r.pvalue) for r in rows])):
            say(["kruskal", m, short(r.statistic), short(r.pvalue), short(q)])
        for m in motifs:
            x = [(p, *size[g]) for s in SETS for g, p in v[s, m].items() if p is not None]
            say(["spearman", m] + [short(stats.spearmanr([t[0] for t in x], [t[k] for t in x]).statistic)
                                 for k in (1, 2)])


if sys.argv[1:2] == ["make"]:
    make(sys.argv[2])
elif sys.argv[1:2] == ["check"]:
    check(sys.argv[2])
else:
    sys.exit(__doc__)
