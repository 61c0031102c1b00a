#!/usr/bin/env python3
"""report.py curves METRICS > curves.tsv
report.py tables EVAL.json OUT_DIR
report.py report [NAME=VALUE | FILE]... > report.md

What phase 2 makes of the numbers: the training's metrics as a table for
gnuplot, the evaluation's as two, and the report. Nothing here depends on the
clock; times stand in times.tsv and on a line of their own in the report's end.
"""
import json
import os
import signal
import sys


def die(msg):
    sys.exit(f"report: {msg}")


def load(path):
    try:
        with open(path, encoding="utf-8") as f:
            return json.load(f)
    except (OSError, ValueError) as e:
        die(f"{path}: {e}")


# ---- tables for gnuplot ---------------------------------------------------

def read_metrics(path):
    """{layer: {tokens: line}}. A run that was killed and resumed wrote some
    steps twice, and perhaps half a line."""
    by_layer = {}
    with open(path, encoding="utf-8", errors="replace") as f:
        for line in f:
            try:
                m = json.loads(line)
            except ValueError:
                continue
            if isinstance(m.get("layer"), int) and m.get("fvu") is not None:
                by_layer.setdefault(m["layer"], {})[m["tokens"]] = m
    if not by_layer:
        die(f"{path}: no line with layer, tokens and fvu")
    return by_layer


def curves(path):
    """A running mean over a fifteenth of the run: steps see different texts."""
    by_layer = read_metrics(path)
    layers = sorted(by_layer)
    times = sorted(set().union(*by_layer.values()))
    window = max(1, len(times) // 15)
    print("\t".join(["tokens"] + [f"layer{i}" for i in layers]))
    for at in range(window - 1, len(times)):
        row = [str(times[at])]
        for i in layers:
            seen = [by_layer[i][t]["fvu"] for t in times[at - window + 1:at + 1]
                    if t in by_layer[i]]
            row.append(f"{sum(seen) / len(seen):.6g}" if seen else "?")
        print("\t".join(row))


def number(v, form="%.6g"):
    return "?" if v is None else form % v


def tables(path, out):
    e = load(path)
    os.makedirs(out, exist_ok=True)
    put(f"{out}/latents.tsv", "".join(
        "\t".join([str(r["layer"]), number(r["l0"]), number(r["dead_share"]),
                   number(r["train_dead_share"])]) + "\n" for r in e["layers"]))
    put(f"{out}/ce.tsv", "".join(
        "\t".join([str(r["layer"]), number(r["ce_increase"]),
                   number(r["ce_increase_se"]), number(r["mean_ce_increase"]),
                   number(r["zero_ce_increase"])]) + "\n" for r in e["layers"]))
    put(f"{out}/all.txt", number(e["all"]["ce_increase"]) + "\n")


def put(path, text):
    with open(path + ".part", "w", encoding="utf-8") as f:
        f.write(text)
    os.replace(path + ".part", path)


# ---- the report -----------------------------------------------------------

def cell(v, form="%.4f"):
    return "" if v is None else form % v


def layer_row(r):
    return [str(r["layer"]), cell(r["fvu"]), cell(r["l0"], "%.1f"),
            cell(100 * r["dead_share"], "%.1f %%"),
            cell(r["ce_increase"]) + " ± " + cell(r["ce_increase_se"]),
            cell(r["mean_ce_increase"]), cell(r["zero_ce_increase"]),
            cell(r["ce_recovered_mean"], "%.3f"), cell(r["kl"]),
            cell(None if r["top1"] is None else 100 * r["top1"], "%.1f %%")]


def table(head, rows):
    yield "| " + " | ".join(head) + " |"
    yield "|" + "|".join(["---:"] * len(head)) + "|"
    for r in rows:
        yield "| " + " | ".join(r) + " |"


def quote(text, n=400):
    text = text if len(text) <= n else text[:n] + " ..."
    return "\n".join("    " + line for line in text.splitlines()) or "    "


def report(args):
    files = {os.path.basename(a): a for a in args if "=" not in a}
    v = dict(a.split("=", 1) for a in args if "=" in a)
    e = load(files["eval.json"])
    mean, every, tok = e["mean"], e["all"], e["tokens"]
    n = len(e["layers"])
    increase, dead = mean["ce_increase"], mean["dead_share"]
    worst = max(e["layers"], key=lambda r: r["ce_increase"] or 0)
    say = []
    say += [f"# {v['release']}, profile {v['profile']}", "",
            f"A transcoder for each of {n} layers of {e['model']['name'] or v['model']}: "
            f"{e['layers'][0]['n_latents']} latents, {e['layers'][0]['k']} of them active at a time, "
            f"trained on {v['tokens']} tokens. Numbers are over held-out documents: "
            f"{tok['fvu_positions']} positions for reconstruction, {tok['ce_predictions']} "
            f"predictions for cross-entropy.", "",
            "## In short", "",
            f"- One MLP replaced costs {increase:.4f} nats/token in the mean over layers; "
            f"the worst is layer {worst['layer']} with {worst['ce_increase']:.4f}.",
            f"- All {n} replaced at once cost {every['ce_increase']:.3f} nats/token "
            f"({e['base']['ce']:.3f} to {every['ce']:.3f}); the most likely token stays in "
            f"{100 * every['top1']:.0f} % of places. "
            + (f"With every MLP's output set to its mean it would be "
               f"{every['mean_ce_increase']:.3f}." if every.get("mean_ce_increase") is not None else ""),
            f"- {100 * dead:.1f} % of latents never fired on the evaluation set; "
            f"FVU is {mean['fvu']:.3f} in the mean.", "",
            "![cost per layer](ce.png)", "", "![latents](latents.png)", "",
            "![training](loss.png)", "", "## Layers", ""]
    say += table(["layer", "FVU", "L0", "dead", "CE increase", "mean-ablated",
                  "zero-ablated", "recovered", "KL", "top-1 kept"],
                 [layer_row(r) for r in e["layers"]])
    say += ["", "CE increase: nats/token over the unchanged model's "
            f"{e['base']['ce']:.4f}, ± its standard error. Mean- and zero-ablated: the same with "
            "the MLP's output set to its mean and to zero. Recovered: 1 - CE increase / "
            "mean-ablated. Dead: never fired on the evaluation set. FVU: sum of squared errors "
            "over the variance of the output.", ""]
    if e["generations"]:
        say += ["## Continuations", ""]
        for g in e["generations"]:
            say += ["Prompt:", "", quote(g["prompt"]), "", "The model:", "",
                    quote(g["original"]["text"]), "", f"Every MLP replaced "
                    f"(the first {g['same_tokens']} tokens agree):", "",
                    quote(g["replaced"]["text"]), ""]
    say += ["## Where this came from", ""]
    say += [f"- {k}: {v[k]}" for k in v if k not in ("release", "profile", "tokens")]
    say += [f"- model's fingerprint: {e['model']['fingerprint']}", "", "Commands:", ""]
    say += [quote("\n".join(p["cmd"] for p in e["prov"]), 2000), ""]
    for name, path in sorted(files.items()):
        if name.startswith("SHA256SUMS"):
            with open(path, encoding="utf-8") as f:
                say += [f"{name}:", "", quote(f.read(), 4000), ""]
    say += ["How long each step took on this machine: [times.tsv](times.tsv)."]
    print("\n".join(say))


def main():
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    a = sys.argv[1:]
    try:
        if len(a) == 2 and a[0] == "curves":
            curves(a[1])
        elif len(a) == 3 and a[0] == "tables":
            tables(a[1], a[2])
        elif len(a) > 1 and a[0] == "report":
            report(a[1:])
        else:
            print(__doc__.split("\n\n")[0], file=sys.stderr)
            sys.exit(2)
        sys.stdout.flush()
    except OSError as e:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        die(str(e))
    except (KeyError, TypeError) as e:
        die(f"a number is missing: {e}")


if __name__ == "__main__":
    main()
