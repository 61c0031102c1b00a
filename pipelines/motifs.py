#!/usr/bin/env python3
"""motifs.py tables COMPARE.json OUT_DIR GROUP/NULL...
motifs.py report DIR NAME=VALUE... > report.md

What the second half of phase 4 makes of motifcmp's numbers: tables for gnuplot,
and the report. Nothing here depends on the clock.
"""
import json
import os

from pages import load, number, plotted, put, run, settings, table

CALLED = 0.05		# false discovery rate at which a difference is called


def find(report, name):
    """The profile GROUP/NULL, or None: its null model was not run."""
    group, null = name.split("/")
    for p in report["profiles"]:
        if p["group"] == group and p.get("null") == null:
            return p
    return None


# ---- tables for gnuplot ---------------------------------------------------

def quoted(s):
    return '"' + s.replace("\\", "\\\\").replace('"', '\\"') + '"'


def tics(axis, names):
    """An assignment; the plot evaluates it. Of many names every k-th is shown."""
    every = 1 + len(names) // 60
    inner = ", ".join(f"{quoted(n[:44])} {i}" for i, n in enumerate(names) if i % every == 0)
    return f"{axis.upper()}TICS = {quoted(f'set {axis}tics ({inner})')}\n"


def shown(p):
    """The motifs that some graph has a value for."""
    return [m for m in range(len(p["motifs"])) if any(g["values"][m] is not None for g in p["graphs"])]


def segments(tree):
    """Lines of the tree, leaves at x = 0 and y = 0, 1, ..."""
    place = {leaf: (0.0, float(i)) for i, leaf in enumerate(tree["leaves"])}
    n = len(tree["leaves"])
    for i, (a, b, height, _) in enumerate(tree["merges"]):
        (xa, ya), (xb, yb) = place[a], place[b]
        yield from ((xa, ya, height, ya), (xb, yb, height, yb), (height, ya, height, yb))
        place[n + i] = (height, (ya + yb) / 2)


def tables(path, out, *names):
    report = load(path)
    for name in names:
        p, base = find(report, name), f"{out}/{name.replace('/', '-')}"
        if p is None or not shown(p):
            p = {"motifs": ["none"], "sets": [], "graphs": [], "graph_tree": {"leaves": [], "merges": []}}
        keep = shown(p) or [0]
        order = [p["graphs"][i] for i in p["graph_tree"]["leaves"]]
        rows = ["\t".join(plotted(s[k][m]) for s in p["sets"] for k in ("mean", "lo", "hi")) or "?"
                for m in keep]
        put(base + ".tsv", "\n".join(rows) + "\n")
        put(base + ".matrix", "".join("\t".join("9" if g["values"][m] is None else f"{g['values'][m]:.6g}"
                                                for m in keep) + "\n" for g in order) or "0\n")
        lines = list(segments(p["graph_tree"])) or [(0, 0, 0, 0)]
        put(base + ".tree", "".join("\t".join(f"{v:.6g}" for v in s) + "\n" for s in lines))
        put(base + ".vars", f"WHAT = {quoted(name)}\nN = {len(keep)}\n"
            f"GRAPHS = {max(1, len(order))}\nFAR = {max(0.02, max(s[2] for s in lines)):.6g}\n"
            f"SETS = {quoted(' '.join(s['set'] for s in p['sets']) or 'none')}\n"
            + tics("x", [p["motifs"][m] for m in keep])
            + tics("y", [f"{g['set']}: {g['graph']}" for g in order]))


# ---- the report -----------------------------------------------------------

def called(tests):
    return [t for t in tests if t["q"] is not None and t["q"] < CALLED]


def names_of(tests):
    return ", ".join(f"{t['motif']} ({t['rank_biserial']:+.2f})" for t in tests)


def same_pair(pair, report, name):
    p = find(report, name) if report else None
    for q in p["pairs"] if p else []:
        if (q["a"], q["b"]) == (pair["a"], pair["b"]):
            return q
    return None


def widest(tests):
    """The largest difference that the intervals do not rule out."""
    ends = [abs(v) for t in tests for v in (t["lo"], t["hi"]) if v is not None]
    return max(ends) if ends else None


def verdict(pair, even, n):
    """One sentence on two sets in one profile, and how sure it is."""
    a, b = pair["a"], pair["b"]
    sizes = f"{n[a]} and {n[b]} graphs"
    if pair["least_p"] is None or pair["least_p"] > CALLED:
        return (f"cannot be told: {sizes} cannot give a p below {number(pair['least_p'], '%.2g')}, "
                "whatever the difference")
    if min(n[a], n[b]) > 1 and pair["least_p"] * len(pair["tests"]) > CALLED:
        few = " (with so few graphs only a difference in several motifs at once could be called)"
    else:
        few = ""
    raw, near = called(pair["tests"]), called(pair["matched"]["tests"])
    flat = called(even["tests"]) if even else []
    n_near = len(pair["matched"]["pairs"])
    holds = [t for t in raw if t["motif"] in {u["motif"] for u in flat}
             and (not near or t["motif"] in {u["motif"] for u in near})]
    if holds:
        sure = (f"and {len(near)} among the {n_near} pairs of graphs of like size and density"
                if near else f"though not among the {n_near} pairs of like size and density")
        return f"differ in {names_of(holds)}: {sizes}, also at one density, {sure}{few}"
    if raw:
        return (f"differ in {names_of(raw)} ({sizes}), but not at one density and among graphs of "
                f"like size: this may be size and density{few}")
    limit = widest(pair["tests"])
    return (f"no difference found ({sizes}); the intervals leave room for one of "
            f"{number(limit, '%.2f')}{few}")


def answer(v, report, even, n, profiles):
    reasoning = v.get("reasoning", "")
    yield "## Do reasoning circuits use other wiring?"
    yield ""
    if reasoning not in n:
        yield ("None of the sets here is known to come from a reasoning model, so that question "
               "stays open. What follows is how the sets that are here differ.")
        yield ""
    if len(n) < 2:
        yield "There is one set only: nothing to compare. Name others with COMPARE= or PUBLIC=."
        yield ""
    for name in profiles:
        p = find(report, name)
        if p is None:
            yield f"- **{name}**: not counted"
            continue
        for pair in p["pairs"]:
            if reasoning in n and reasoning not in (pair["a"], pair["b"]):
                continue
            cos = p["set_tree"]["cosine"]
            order = [s["set"] for s in p["sets"]]
            like = cos[order.index(pair["a"])][order.index(pair["b"])]
            yield (f"- **{name}**, {pair['a']} and {pair['b']}: "
                   f"{verdict(pair, same_pair(pair, even, name), n)}. "
                   f"Cosine of their mean profiles: {number(like, '%.2f')}.")
    yield ""
    yield (f"A difference is called when its Benjamini-Hochberg q is below {CALLED}, over all pairs "
           "of sets and motifs of a profile. In brackets: rank-biserial correlation, +1 when every "
           "graph of the first set lies above every one of the second.")
    yield ""


def sets_table(report):
    def both(s, k, form):
        return f"{number(s[k]['mean'], form)} ± {number(s[k]['std'], form)}"
    return table(["set", "graphs", "nodes", "edges", "density"],
                 [[s["set"], str(s["n"]), both(s, "nodes", "%.0f"), both(s, "edges", "%.0f"),
                   both(s, "density", "%.3f")] for s in report["sets"]])


def profile_table(p):
    rows, enough = [], len(p["graphs"]) > 4	# for a correlation
    for m in shown(p):
        motif = p["motifs"][m]
        k = p.get("kruskal", [{}] * len(p["motifs"]))[m]
        rho = p["spearman"][m]
        rows.append([motif] + [f"{number(s['mean'][m])} [{number(s['lo'][m], '%.2f')}, {number(s['hi'][m], '%.2f')}]"
                               for s in p["sets"]]
                    + [number(k.get("q"), "%.2g"), number(k.get("epsilon2"), "%.2f"),
                       *(number(rho[c] if enough else None, "%+.2f") for c in ("edges", "density"))])
    return table(["motif"] + [f"{s['set']} (n = {max(s['n'] or [0])})" for s in p["sets"]]
                 + ["q", "ε²", "ρ edges", "ρ density"], rows)


def loops(z):
    """z of the feed-forward loop under each null model that was run."""
    yield "## Feed-forward loops against every null model"
    yield ""
    rows = []
    for p in z["profiles"]:
        for motif in ("030T", "coherent_ffl", "incoherent_ffl"):
            if motif in p["motifs"]:
                m = p["motifs"].index(motif)
                rows.append([f"{motif}, {p['null']}"] +
                            [f"{number(s['mean'][m], '%.1f')} [{number(s['lo'][m], '%.1f')}, {number(s['hi'][m], '%.1f')}]"
                             if s["n"][m] else "" for s in p["sets"]])
    yield from table(["motif, null model"] + [s["set"] for s in z["sets"]], rows)
    yield ""
    yield ("Mean z with its interval. z grows with the size of a graph: it says whether loops are more "
           "frequent than chance in a set, not that one set has more of them than another. Under "
           "layer-config the connected triads of a graph without cycles have one degree of freedom "
           "(each further loop takes one of each other class), so their significance profile is ±0.5 "
           "and only z says something.")
    yield ""


def cascades(path):
    graphs, classes = [], []
    with open(path, encoding="utf-8") as f:
        for line in f:
            j = json.loads(line)
            (classes if "graphs" in j else graphs).append(j)
    yield "## Cascades of feed-forward loops"
    yield ""
    yield ("Coherent and incoherent loops chained from one to the next, as far as they go; "
           "complete ones lead from a token to an output.")
    yield ""
    yield from table(["class", "graphs", "with cascades", "complete", "longest", "loops a graph",
                      "cascades (log10)", "heaviest", "incoherent steps in it"],
                     [[c["class"], str(c["graphs"]), str(c["with_cascades"]), str(c["with_complete"]),
                       str(c["longest"]), number(c["mean_instances"], "%.0f"),
                       number(c["mean_log10_total"], "%.1f"), number(c["mean_heaviest"], "%.1f"),
                       f"{c['heaviest_steps'].get('incoherent_ffl', 0)} of "
                       f"{sum(c['heaviest_steps'].values())}"] for c in classes])
    yield ""
    best = [(g, g["cascades"][0]) for g in graphs if g["cascades"]]
    for g, c in sorted(best, key=lambda t: -t[1]["weight"])[:5]:
        def say(n):
            return n["label"] or n["id"]
        yield (f"- {g['class']}: {g['graph']}: {say(c['from'])} → {say(c['to'])} in {c['length']} "
               f"loops, weight {c['weight']:.1f}, one of {g['total']}"
               + (" or more" if g["total"] >= 2 ** 63 - 1 else ""))
    yield ""


def thinking(parts, profiles):
    yield "## Thinking against answers"
    yield ""
    if not parts:
        yield ("No graph of this release has nodes both inside `<think>` and after `</think>`: "
               "nothing to compare.")
        yield ""
        return
    yield from sets_table(parts)
    yield ""
    n = {s["set"]: s["n"] for s in parts["sets"]}
    for name in profiles:
        p = find(parts, name)
        for pair in p["pairs"] if p else []:
            near = called(pair["matched"]["tests"])
            yield (f"- **{name}**: {verdict(pair, pair['matched'], n)}."
                   + (f" Among graphs of like size and density: {names_of(near)}." if near else ""))
    yield ""


def report(folder, *args):
    v = settings(args)
    profiles = v["profiles"].split()
    r, even = load(f"{folder}/compare.json"), load(f"{folder}/even.json")
    parts = load(f"{folder}/parts.json")
    n = {s["set"]: s["n"] for s in r["sets"]}
    s = r["settings"]
    say = [f"# Motifs: {v['release']}, profile {v['profile']}", "",
           f"{sum(n.values())} graphs in {len(n)} set{'s' if len(n) > 1 else ''}; edges of |weight| >= "
           f"{s['threshold']:g}; {s['n']} random graphs of each null model; template edges span "
           f"{s['min_gap']} to {s['max_gap']} layers.", ""]
    say += sets_table(r)
    say += [""]
    if v["release"] not in n:
        say += [f"There are no graphs of {v['release']} itself yet.", ""]
    say += answer(v, r, even, n, profiles)
    for name in profiles:
        p, file = find(r, name), name.replace("/", "-")
        if p is None or not shown(p):
            continue
        say += [f"## {name}", "", f"![profiles](profile-{file}.png)", ""]
        say += profile_table(p)
        say += ["", f"![graphs](heat-{file}.png)", "", f"![tree](tree-{file}.png)", ""]
    say += ["Mean significance profile of a set with the interval of the mean; q and ε² of a "
            "Kruskal-Wallis test over all sets; ρ: Spearman's correlation of the value with edges "
            "and density over all graphs. A value that follows density says little about wiring; "
            f"`even.json` repeats everything with each graph cut to its strongest edges, density at "
            f"most {v['density']} (the least among the sets' median graphs), and `matched` in both "
            "files takes only pairs of graphs whose nodes and density are within "
            f"{s['caliper']:g} in logarithms.", ""]
    say += loops(load(f"{folder}/z.json"))
    say += thinking(parts, profiles)
    say += cascades(f"{folder}/cascades.jsonl")
    say += ["## Where this came from", ""]
    say += [f"- {x['set']}: " + ", ".join(sorted({os.path.dirname(g["source"]) or "." for g in x["graphs"]}))
            for x in r["sets"]]
    say += [f"- version: {v['version']}", "", "Commands:", ""]
    say += ["    " + p["cmd"][:400] for p in r["prov"]]
    say += ["", "All numbers: [compare.json](compare.json), [compare.csv](compare.csv), "
            "[even.json](even.json), [z.json](z.json), [parts.json](parts.json), [cascades.jsonl](cascades.jsonl). "
            "Pictures are there as SVG too."]
    print("\n".join(say))


if __name__ == "__main__":
    run(__doc__, {"tables": (tables, 2, None), "report": (report, 1, None)})
