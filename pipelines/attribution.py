#!/usr/bin/env python3
"""attribution.py prompts FILE TEMPLATE > prompts.jsonl
attribution.py folder OUT DIR...
attribution.py table FOLDER PROMPTS.jsonl... > graphs.csv
attribution.py report GRAPHS.csv NAME=VALUE... > phase4.md

What the first half of phase 4 makes: attrgraph's prompts from curated ones
(data/prompts/graphs/README), one folder of graphs from several, a line of
numbers a graph, and the report. Nothing here depends on the clock.
"""
import csv
import json
import math
import os
import re
import shutil
import sys

from pages import die, load, number, put, run, settings, table

TEMPLATES = ("none", "r1", "chatml", "llama3")
NAME = re.compile(r"[A-Za-z0-9_.-]+")
TYPES = {"cross layer transcoder": "features", "mlp reconstruction error": "errors",
         "embedding": "tokens"}
COLUMNS = ["id", "category", "part", "of", "positions", "active", "features", "nodes_features",
           "nodes_errors", "nodes_tokens", "links", "replacement", "completeness",
           "from_features", "from_errors", "from_tokens", "top", "p_top", "expected", "hit",
           "p_expected", "tempted", "in_prompt", "in_think", "in_answer", "stopped"]


# ---- prompts --------------------------------------------------------------

def lines_of(path):
    try:
        with open(path, encoding="utf-8") as f:
            text = f.read().splitlines()
    except (OSError, ValueError) as e:
        die(f"{path}: {e}")
    for n, line in enumerate(text, 1):
        if not line.strip():
            continue
        try:
            d = json.loads(line)
        except ValueError as e:
            die(f"{path}: line {n}: {e}")
        yield f"{path}: line {n}", d


def strings(where, d, key):
    v = d.get(key, [])
    if not isinstance(v, list) or not all(isinstance(x, str) for x in v):
        die(f"{where}: '{key}': wanted a list of texts")
    return v


def check(where, d):
    if not isinstance(d, dict):
        die(f"{where}: wanted an object")
    for key in ("id", "category", "text", "think", "answer"):
        if not isinstance(d.get(key, ""), str):
            die(f"{where}: '{key}': wanted a text")
    if not NAME.fullmatch(d.get("id", "")):
        die(f"{where}: 'id': wanted letters, digits, _ . -")
    if not d.get("category"):
        die(f"{where}: has no 'category'")
    if ("text" in d) == ("messages" in d):
        die(f"{where}: wanted one of 'text' and 'messages'")
    if "text" in d and ("think" in d or "answer" in d):
        die(f"{where}: 'think' and 'answer' go with 'messages'")
    strings(where, d, "expected")
    strings(where, d, "tempting")
    for s in d.get("steps", []):
        if not isinstance(s, dict) or not s.get("upto") or d.get("think", "").count(s["upto"]) != 1:
            die(f"{where}: 'steps': wanted 'upto' to be in 'think' just once")
        strings(where, s, "expected")


def begin(template, think, answer):
    """What the model has said so far. Without `answer` it still thinks. The
    template of r1 opens <think> itself."""
    head = "" if template == "r1" else "<think>\n"
    if think is None:
        return (("\n</think>\n\n" if template == "r1" else "") + (answer or ""))
    return head + think + ("" if answer is None else "\n</think>\n\n" + answer)


def plainly(messages):
    """A chat for a model that has no template."""
    name = {"user": "Question: ", "assistant": "Answer: "}
    return "".join(name.get(m["role"], "") + m["content"] + "\n" for m in messages) + "Answer: "


def variants(d, template):
    """The prompts that a line stands for: id, part, text said, expected."""
    base = {k: d[k] for k in ("category",)}
    if "text" in d:
        yield {"id": d["id"], **base, "part": "", "text": d["text"], "template": "none",
               "expected": d.get("expected", []), "tempting": d.get("tempting", [])}
        return
    think = d.get("think")

    def one(name, part, said, expected, tempting):
        o = {"id": name, **base, "part": part, "of": d["id"] if part else ""}
        if template == "none":
            o["text"] = plainly(d["messages"]) + said
        else:
            o["messages"] = d["messages"]
            o["begin"] = said
        return {**o, "expected": expected, "tempting": tempting}
    for i, s in enumerate(d.get("steps", [])):
        upto = think[:think.index(s["upto"]) + len(s["upto"])]
        yield one(d["id"] + "-think" + (str(i + 1) if i else ""), "think",
                  begin(template, upto, None), s.get("expected", []), [])
    yield one(d["id"], "answer" if think is not None else "",
              begin(template, think, d.get("answer", "")), d.get("expected", []), d.get("tempting", []))


def prompts(path, template):
    if template not in TEMPLATES:
        die(f"{template}: wanted one of {', '.join(TEMPLATES)}")
    seen = set()
    for where, d in lines_of(path):
        check(where, d)
        for v in variants(d, template):
            if v["id"] in seen:
                die(f"{where}: a second '{v['id']}'")
            seen.add(v["id"])
            print(json.dumps(v, ensure_ascii=False))
    if not seen:
        die(f"{path}: holds no prompt")


# ---- one folder -----------------------------------------------------------

def folder(out, *dirs):
    """Links all graphs of dirs into out, with one list for the viewer."""
    graphs, owner = [], {}
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    for d in dirs:
        for name in sorted(os.listdir(d)):
            if not name.endswith(".json") or name == "graph-metadata.json":
                continue
            if name in owner:
                die(f"{d} and {owner[name]}: both have a graph {name}")
            owner[name] = d
            os.link(f"{d}/{name}", f"{out}/{name}")
            graphs.append(load(f"{d}/{name}")["metadata"])
    put(f"{out}/graph-metadata.json", json.dumps({"graphs": graphs}, indent=1, ensure_ascii=False) + "\n")


# ---- numbers --------------------------------------------------------------

def begins(texts, token):
    token = token.lstrip()
    return bool(token) and any(t.lstrip().startswith(token) for t in texts)


LABEL = re.compile(r'Output "(.*)" \(p=[0-9.]+\)', re.DOTALL)


def targets(graph):
    """[(token, p)] of the logits, likeliest first."""
    own = (graph["metadata"].get("r1_interp") or {}).get("targets") or []
    found = [(t["text"], t["weight"]) for t in own if t.get("kind") == "token" and "text" in t]
    if not found:
        for n in graph["nodes"]:
            m = LABEL.fullmatch(n.get("clerp") or "") if n.get("feature_type") == "logit" else None
            if m:
                found.append((m[1], float(n.get("token_prob") or 0)))
    return sorted(found, key=lambda t: -t[1])


def parts(graph):
    """Feature nodes before <think>, from there to </think>, and behind it."""
    tokens, said, opened, closed = graph["metadata"]["prompt_tokens"], "", None, None
    for i, t in enumerate(tokens):
        said += t or ""
        if opened is None and "<think>" in said:
            opened = i
        if closed is None and "</think>" in said:
            closed = i
    count = {"in_prompt": 0, "in_think": 0, "in_answer": 0}
    for n in graph["nodes"]:
        if n.get("feature_type") == "cross layer transcoder":
            at = n["ctx_idx"]
            count["in_prompt" if opened is None or at < opened else
                  "in_think" if closed is None or at <= closed else "in_answer"] += 1
    return count


def measure(p, graph):
    m = graph["metadata"].get("r1_interp") or {}
    logits, expected = targets(graph), p["expected"]
    row = {"id": p["id"], "category": p["category"], "part": p["part"], "of": p.get("of", ""),
           "positions": len(graph["metadata"]["prompt_tokens"]), "active": m.get("active_features"),
           "features": m.get("features"), "links": len(graph["links"]),
           "replacement": m.get("replacement_score"), "completeness": m.get("completeness_score"),
           "from_features": m.get("influence_from_features"),
           "from_errors": m.get("influence_from_errors"),
           "from_tokens": m.get("influence_from_tokens"),
           "expected": " | ".join(expected), "stopped": int(bool(m.get("stopped")))}
    for kind in TYPES.values():
        row["nodes_" + kind] = 0
    for n in graph["nodes"]:
        kind = TYPES.get(n.get("feature_type"))
        if kind:
            row["nodes_" + kind] += 1
    if logits:
        row["top"], row["p_top"] = logits[0]
        if expected:
            row["hit"] = int(begins(expected, logits[0][0]))
            row["p_expected"] = sum(q for t, q in logits if begins(expected, t))
        if p["tempting"]:
            row["tempted"] = int(begins(p["tempting"], logits[0][0]))
    return {**row, **parts(graph)}


def shown(v):
    return "" if v is None else f"{v:.6g}" if isinstance(v, float) else v


def csv_table(path, *files):
    out = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    out.writeheader()
    for f in files:
        for _, p in lines_of(f):
            graph = load(f"{path}/{p['id']}.json")
            if not isinstance(graph, dict) or not all(k in graph for k in ("metadata", "nodes", "links")):
                die(f"{path}/{p['id']}.json: no graph: wanted metadata, nodes and links")
            out.writerow({k: shown(v) for k, v in measure(p, graph).items()})


# ---- the report -----------------------------------------------------------

def values(rows, key):
    return [float(r[key]) for r in rows if r[key] != ""]


def mean(v):
    return sum(v) / len(v) if v else None


def spread(v):
    m = mean(v)
    return math.sqrt(sum((x - m) ** 2 for x in v) / (len(v) - 1)) if len(v) > 1 else None


def cell(rows, key, form="%.2f"):
    v = values(rows, key)
    s = spread(v)
    return number(mean(v), form) + (f" ± {form % s}" if s is not None else "")


def of(rows, key):
    v = values(rows, key)
    return f"{sum(v):.0f} of {len(v)}" if v else ""


SCORES = [("replacement", "replacement"), ("completeness", "completeness"),
          ("from_features", "through features"), ("from_errors", "errors"), ("from_tokens", "tokens")]


def categories(rows):
    names = list(dict.fromkeys(r["category"] for r in rows))
    groups = [(n, [r for r in rows if r["category"] == n]) for n in names]
    yield from table(
        ["category", "graphs", "tokens", "feature nodes"] + [h for _, h in SCORES]
        + ["hit", "p(expected)", "tempted"],
        [[n, len(g), cell(g, "positions", "%.0f"), cell(g, "nodes_features", "%.0f")]
         + [cell(g, k) for k, _ in SCORES] + [of(g, "hit"), cell(g, "p_expected"), of(g, "tempted")]
         for n, g in [*groups, ("all", rows)]])


def sign_test(differences):
    """Two-sided p of as many equal signs, zeros left out."""
    n = sum(d != 0 for d in differences)
    k = min(sum(d > 0 for d in differences), sum(d < 0 for d in differences))
    return min(1.0, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2 ** n) if n else None


def thinking(rows):
    answers = {r["id"]: r for r in rows if r["part"] == "answer"}
    steps = {}
    for r in rows:
        if r["part"] == "think" and r["of"] in answers:
            steps.setdefault(r["of"], []).append(r)
    yield "## Thinking against answering"
    yield ""
    if not steps:
        yield "No prompt has a position inside its thoughts and one in its answer."
        yield ""
        return
    pairs = [(answers[i], steps[i]) for i in steps]
    body = []
    for k, head in [*SCORES, ("nodes_features", "feature nodes"), ("p_top", "p(top)"), ("p_expected", "p(expected)")]:
        d = [(mean(values(t, k)), mean(values([a], k))) for a, t in pairs]
        d = [(x, y) for x, y in d if x is not None and y is not None]
        form = "%.0f" if k == "nodes_features" else "%.3f"
        body.append([head, len(d), number(mean([x for x, _ in d]), form), number(mean([y for _, y in d]), form),
                     number(mean([y - x for x, y in d]), form.replace("%", "%+")),
                     f"{sum(y > x for x, y in d)} of {len(d)}", number(sign_test([y - x for x, y in d]), "%.2g")])
    yield (f"{len(pairs)} prompts explained both while they think and when they answer. Thoughts are "
           "written out, as those of a model that thinks; whether this one would have thought so is "
           "another question. Each pair is one prompt; of several places in its thoughts, the mean.")
    yield ""
    yield from table(["", "pairs", "think", "answer", "answer - think", "answer higher", "p (sign test)"], body)
    yield ""
    n = [sum(int(a[k]) for a, _ in pairs) for k in ("in_prompt", "in_think", "in_answer")]
    if sum(n):
        yield (f"Of the answers' {sum(n)} feature nodes {100 * n[0] / sum(n):.0f} % stand in the prompt, "
               f"{100 * n[1] / sum(n):.0f} % in the thoughts, {100 * n[2] / sum(n):.0f} % in the answer itself.")
        yield ""


def report(path, *args):
    v = settings(args)
    with open(path, encoding="utf-8", newline="") as f:
        rows = list(csv.DictReader(f))
    none = [r["id"] for r in rows if r["nodes_features"] == "0"]
    stopped = [r["id"] for r in rows if r["stopped"] == "1"]
    say = [f"# Attribution graphs: {v['release']}, profile {v['profile']}", "",
           f"{len(rows)} graphs of {len({r['of'] or r['id'] for r in rows})} prompts.", ""]
    say += [f"**{len(none)} graphs have no feature node: {', '.join(none)}.**" if none else
            f"Every graph has feature nodes: {min(int(r['nodes_features']) for r in rows)} at least.", ""]
    f, e, t = (mean(values(rows, "from_" + k)) for k in ("features", "errors", "tokens"))
    if f is not None:
        say += [f"Of the influence on the outputs {100 * f:.1f} % goes through features, {100 * e:.1f} % comes from "
                f"the MLPs' reconstruction errors and {100 * t:.1f} % from tokens (means over graphs; before "
                "pruning).", ""]
    if stopped:
        say += [f"Stopped before all features were explained: {', '.join(stopped)}.", ""]
    say += categories(rows)
    say += ["", "Mean ± standard deviation. replacement: share of the influence of tokens and errors that is the "
            "tokens'; completeness: share of what goes into all nodes, weighed by influence, that is not error "
            "(attrgraph(1)). hit: the likeliest token begins an expected text; p(expected): probability of all "
            "explained tokens that do; tempted: it begins a text that would be a mistake.", ""]
    say += thinking(rows)
    say += ["## Graphs", ""]
    say += table(["graph", "tokens", "feature nodes", "error nodes", "links", "through features", "predicted", "p", "hit"],
                 [[r["id"], r["positions"], r["nodes_features"], r["nodes_errors"], r["links"],
                   number(mean(values([r], "from_features")), "%.2f"), "`" + json.dumps(r["top"], ensure_ascii=False).replace("`", "'") + "`",
                   number(mean(values([r], "p_top")), "%.2f"),
                   {"1": "yes", "0": "no"}.get(r["hit"], "")] for r in rows])
    say += ["", "## Where this came from", ""]
    say += [f"- {k}: {v[k]}" for k in ("model", "prompts", "options", "labels", "version") if v.get(k)]
    say += ["", "All numbers: [graphs.csv](graphs.csv). The graphs: [graphs/](graphs/), a folder that "
            "circuit-tracer's viewer opens."]
    print("\n".join(say))


if __name__ == "__main__":
    run(__doc__, {"prompts": (prompts, 2, 2), "folder": (folder, 2, None),
                  "table": (csv_table, 2, None), "report": (report, 1, None)})
