#!/usr/bin/env python3
"""sweep.py results DIR [--scores] NAME... > results.tsv
sweep.py speed DIR NAME... > speed.tsv
sweep.py decide RESULTS.tsv DEAD TOLERANCE > decision.json
sweep.py settings DECISION.json > decision.mk
sweep.py points RESULTS.tsv DECISION.json > points.tsv
sweep.py report RESULTS.tsv SPEED.tsv DECISION.json NAME=VALUE... > report.md

What phase 1 makes of its configurations. DIR/NAME/eval.json is tceval's,
DIR/NAME/run/ what tctrain wrote. Numbers are means over the pilot layers. All but
speed.tsv and what the report takes from it is the same whenever it is made.
"""
import json
import math
import re
import sys

from pages import die, load, number, run, settings, table

COLUMNS = ["name", "expansion", "latents", "k", "lr", "tokens", "skip", "fvu",
           "ce_increase", "ce_se", "ce_all", "l0", "dead", "train_silent", "bytes",
           "autointerp", "autointerp_se"]
TEXT = {"name", "lr", "tokens", "skip"}


def mean(values):
    values = [v for v in values if v is not None]
    return sum(values) / len(values) if values else None


def options(name):
    m = re.fullmatch(r"x(\d+)-k(\d+)-lr(.+)-t(.+)-(no)?skip", name)
    if not m:
        die(f"{name}: no name of a configuration")
    return {"name": name, "expansion": int(m[1]), "k": int(m[2]), "lr": m[3],
            "tokens": m[4], "skip": "no" if m[5] else "yes"}


# ---- tables ----------------------------------------------------------------

def last_lines(path, key):
    """A number of tctrain's metrics at the end of training, by layer."""
    last = {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            line = json.loads(line)
            if key in line and "layer" in line:
                last[line["layer"]] = line[key]
    return last


def result(folder, name, with_scores):
    row = options(name)
    score = load(f"{folder}/{name}/autointerp.json") if with_scores else {"score": None}
    e = load(f"{folder}/{name}/eval.json")
    layers = e["layers"]
    se = [r["ce_increase_se"] for r in layers]
    row.update(
        latents=layers[0]["n_latents"], fvu=mean(r["fvu"] for r in layers),
        ce_increase=mean(r["ce_increase"] for r in layers),
        ce_se=math.sqrt(sum(s * s for s in se)) / len(se) if None not in se else None,
        ce_all=e["all"]["ce_increase"], l0=mean(r["l0"] for r in layers),
        dead=mean(r["dead_share"] for r in layers),
        train_silent=mean(last_lines(f"{folder}/{name}/run/metrics.jsonl", "silent").values()),
        bytes=load(f"{folder}/{name}/run/ckpt/state/manifest.json")["bytes"],
        autointerp=score["score"], autointerp_se=score.get("se"))
    return row


def show(v):
    return "?" if v is None else f"{v:.6g}" if isinstance(v, float) else str(v)


def results(folder, *args):
    with_scores = "--scores" in args
    print("\t".join(COLUMNS))
    for name in args:
        if name != "--scores":
            row = result(folder, name, with_scores)
            print("\t".join(show(row[c]) for c in COLUMNS))


def rows_of(path):
    rows = []
    try:
        with open(path, encoding="utf-8") as f:
            names = f.readline().rstrip("\n").split("\t")
            for line in f:
                row = dict(zip(names, line.rstrip("\n").split("\t"), strict=True))
                for c in names:
                    if c not in TEXT:
                        row[c] = None if row[c] == "?" else float(row[c])
                rows.append(row)
    except (OSError, ValueError) as e:
        die(f"{path}: {e}")
    if not rows:
        die(f"{path}: no configuration")
    return rows


def speed(folder, *names):
    """Tokens a second of the configuration's own training, and of its pass."""
    print("\t".join(["name", "own_tokens_per_s", "tokens_per_s"]))
    for name in names:
        last = {}
        with open(f"{folder}/{name}/run/metrics.jsonl", encoding="utf-8") as f:
            for line in f:
                last = json.loads(line).get("time") or last
        print("\t".join([name] + [show(last.get(c)) for c in
                                  ("own_tokens_per_s", "tokens_per_s")]))


# ---- the choice --------------------------------------------------------------

# Standard errors are left out: all are measured on the same text, and differ by
# far less than each would on another.
# A short text leaves rare latents out, more of them the wider and the fewer are
# active: dead are they that training's last tokens left out as well.
RULE = ("Of the configurations of which at most {dead:g} of the latents never fired on the "
        "evaluation set, or in the last 16,384 tokens of training, whichever is less (of all "
        "configurations, when none is so), take the lowest mean cross-entropy "
        "increase; as good are those above it by no more than {tolerance:g} of it. When all of "
        "these have an autointerp score, those go that are below the best score by more than 0.02 "
        "and by more than two standard errors of the difference. Of the rest take the lowest k, "
        "then the fewest latents, then the fewest tokens, then the lowest increase.")


def count(tokens):
    scale = {"k": 1e3, "M": 1e6, "G": 1e9}.get(tokens[-1:])
    return float(tokens[:-1]) * scale if scale else float(tokens)


def decide(path, dead, tolerance):
    dead, tolerance = float(dead), float(tolerance)
    rows = [r for r in rows_of(path) if r["ce_increase"] is not None]
    if not rows:
        die(f"{path}: no configuration has a cross-entropy increase")
    alive = [r for r in rows if min((s for s in (r["dead"], r["train_silent"]) if s is not None),
                                    default=1) <= dead] or rows
    best = min(alive, key=lambda r: r["ce_increase"])
    room = tolerance * abs(best["ce_increase"])
    good = [r for r in alive if r["ce_increase"] <= best["ce_increase"] + room]
    if all(r["autointerp"] is not None for r in good):
        top = max(good, key=lambda r: r["autointerp"])
        good = [r for r in good if top["autointerp"] - r["autointerp"] <= max(
            0.02, 2 * math.hypot(top["autointerp_se"] or 0, r["autointerp_se"] or 0))]
    chosen = min(good, key=lambda r: (r["k"], r["latents"], count(r["tokens"]),
                                      r["ce_increase"]))
    json.dump({"chosen": chosen["name"],
               "settings": {"EXPANSION": int(chosen["expansion"]), "K": int(chosen["k"]),
                            "LR": chosen["lr"], "TOKENS": chosen["tokens"],
                            "SKIP": chosen["skip"]},
               "rule": RULE.format(dead=dead, tolerance=tolerance),
               "lowest": best["name"], "limit": best["ce_increase"] + room,
               "set_aside_as_dead": [r["name"] for r in rows if r not in alive],
               "as_good": [r["name"] for r in good]}, sys.stdout, indent=1)
    print()


def makefile(path):
    d = load(path)
    print(f"# What phase 1 decided; phase 2 reads it. See {path.rsplit('/', 1)[-1]}.")
    for k, v in d["settings"].items():
        print(f"{k} := {v}")
    print(f"DECISION := {d['chosen']}")


# ---- picture and report --------------------------------------------------------

def front(rows):
    """Those that no other beats in both active latents and increase."""
    out, lowest = [], math.inf
    for r in sorted(rows, key=lambda r: (r["l0"], r["ce_increase"])):
        if r["ce_increase"] < lowest:
            out.append(r)
            lowest = r["ce_increase"]
    return out


def points(path, decision):
    """Blocks for gnuplot: a block a width and skip; then the front; the chosen."""
    rows = [r for r in rows_of(path) if r["ce_increase"] is not None]
    chosen = load(decision)["chosen"]
    blocks = {}
    for r in sorted(rows, key=lambda r: (r["latents"], r["skip"] != "yes")):
        title = f"{r['latents']:.0f} latents" + ("" if r["skip"] == "yes" else ", no skip")
        blocks.setdefault(title, []).append(r)
    blocks["front"] = front(rows)
    blocks["chosen"] = [r for r in rows if r["name"] == chosen]
    print("\n\n\n".join("\n".join(
        [f'"{title}"'] + [f"{r['l0']:.6g}\t{r['ce_increase']:.6g}" for r in some])
        for title, some in blocks.items()))


def report(*args):
    rows, speeds, d = rows_of(args[0]), {r["name"]: r for r in rows_of(args[1])}, load(args[2])
    v = settings(args[3:])
    best = next(r for r in rows if r["name"] == d["chosen"])
    ends = {r["name"] for r in front([r for r in rows if r["ce_increase"] is not None])}
    say = [f"# {v['release']}, profile {v['profile']}: which transcoders", "",
           f"{len(rows)} configurations, trained on layers {v['layers']} in {v['passes']} "
           f"{'pass' if v['passes'] == '1' else 'passes'} over the tokens and measured on held-out documents. Numbers are means over "
           "these layers.", "",
           f"Chosen: **{d['chosen']}**: {best['ce_increase']:.4f} ± {best['ce_se'] or 0:.4f} nats/token "
           f"for one MLP replaced, FVU {best['fvu']:.3f}, {best['l0']:.1f} active of "
           f"{best['latents']:.0f} latents, {100 * best['dead']:.1f} % dead.", "",
           f"The rule: {d['rule']} The lowest increase is {d['lowest']}'s, the limit "
           f"{d['limit']:.4f}; {len(d['as_good'])} are as good, {len(d['set_aside_as_dead'])} were set "
           "aside.", "",
           "![cost against active latents](pareto.png)", ""]
    lines = []
    for r in sorted(rows, key=lambda r: (r["ce_increase"] is None, r["ce_increase"])):
        mark = "**" if r["name"] == d["chosen"] else ""
        lines.append([
            mark + r["name"] + mark + (" ◦" if r["name"] in ends else ""), number(r["fvu"], "%.4f"),
            f"{number(r['ce_increase'], '%.4f')} ± {number(r['ce_se'], '%.4f')}",
            number(r["ce_all"], "%.4f"), number(r["l0"], "%.1f"),
            number(None if r["dead"] is None else 100 * r["dead"], "%.1f %%"),
            number(None if r["train_silent"] is None else 100 * r["train_silent"], "%.1f %%"),
            number(speeds.get(r["name"], {}).get("own_tokens_per_s"), "%.0f"),
            number(r["bytes"] / 2**20, "%.0f MiB"), number(r["autointerp"]) +
            number(r["autointerp_se"], " ± %.3f")])
    say += table(["configuration", "FVU", "CE increase", "at once", "L0", "dead", "silent",
                  "tokens/s", "memory", "autointerp"], lines)
    say += ["", "◦: on the front, no other has both fewer active latents and a lower increase. At "
            "once: all these layers replaced. Dead: never fired on the evaluation set. Silent: "
            "not in the last 16,384 tokens of training. Tokens/s: of the configuration's own training, "
            "without the model that all share; it differs from run to run. "
            "Memory: its weights, optimiser and work space.", ""]
    if all(r["autointerp"] is None for r in rows):
        say += ["The column autointerp is empty: no AUTOINTERP program was given (r1-phases(7)).", ""]
    say += [f"- {k}: {v[k]}" for k in v if k not in ("release", "profile", "layers", "passes")]
    print("\n".join(say))


if __name__ == "__main__":
    run(__doc__, {"results": (results, 2, None), "speed": (speed, 2, None), "decide": (decide, 3, 3),
                  "settings": (makefile, 1, 1), "points": (points, 2, 2), "report": (report, 4, None)})
