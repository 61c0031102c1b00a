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

from pages import die, load, number, plotted, put, run, settings, table


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


def tables(path, out):
    e = load(path)
    os.makedirs(out, exist_ok=True)
    put(f"{out}/latents.tsv", "".join(
        "\t".join([str(r["layer"]), plotted(r["l0"]), plotted(r["dead_share"]),
                   plotted(r["train_dead_share"])]) + "\n" for r in e["layers"]))
    put(f"{out}/ce.tsv", "".join(
        "\t".join([str(r["layer"]), plotted(r["ce_increase"]),
                   plotted(r["ce_increase_se"]), plotted(r["mean_ce_increase"]),
                   plotted(r["zero_ce_increase"])]) + "\n" for r in e["layers"]))
    put(f"{out}/all.txt", plotted(e["all"]["ce_increase"]) + "\n")


# ---- the report -----------------------------------------------------------

def layer_row(r):
    return [str(r["layer"]), number(r["fvu"], "%.4f"), number(r["l0"], "%.1f"),
            number(100 * r["dead_share"], "%.1f %%"),
            number(r["ce_increase"], "%.4f") + " ± " + number(r["ce_increase_se"], "%.4f"),
            number(r["mean_ce_increase"], "%.4f"), number(r["zero_ce_increase"], "%.4f"),
            number(r["ce_recovered_mean"], "%.3f"), number(r["kl"], "%.4f"),
            number(None if r["top1"] is None else 100 * r["top1"], "%.1f %%")]


def quote(text, n=400):
    text = text if len(text) <= n else text[:n] + " ..."
    return "\n".join("    " + line for line in text.splitlines()) or "    "


def report(*args):
    files = {os.path.basename(a): a for a in args if "=" not in a}
    v = settings(a for a in args if "=" in a)
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


if __name__ == "__main__":
    run(__doc__, {"curves": (curves, 1, 1), "tables": (tables, 2, 2), "report": (report, 1, None)})
