#!/usr/bin/env python3
"""labels.py vacuum DB OUT
labels.py review DB N SEED > review.csv
labels.py report DB [NAME=VALUE]... > phase3.md
labels.py agreement DB REVIEW.csv [REVIEW2.csv]
labels.py cost < estimates

What phase 3 makes of the database that r1-features(5) describes: one file
without its history, a sheet for people to rate, the report, and how ratings and
scores agree. Nothing here depends on the clock.
"""
import csv
import hashlib
import json
import math
import os
import sqlite3
import sys

from pages import die, number, run, settings, table

Z = 1.959963984540054
REASONING = ("planning", "doubt", "self-correction", "backtracking", "verification",
             "calculation", "case-split", "restating", "conclusion", "language-switch")


def connect(path):
    if not os.path.exists(path):
        die(f"{path}: no such file")
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    db.row_factory = sqlite3.Row
    return db


def vacuum(src, out):
    if os.path.exists(out):
        os.remove(out)
    connect(src).execute("VACUUM INTO ?", (out,))


def wilson(k, n):
    if not n:
        return None
    p, z2 = k / n, Z * Z
    mid = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return p, max(0.0, mid - half), min(1.0, mid + half)


def balanced(hit_on, on, hit_off, off):
    """Balanced accuracy with the interval that joins Wilson's of both sides."""
    a, b = wilson(hit_on, on), wilson(hit_off, off)
    if not a or not b:
        return None
    m = (a[0] + b[0]) / 2
    return (m, m - math.hypot(a[0] - a[1], b[0] - b[1]) / 2,
            m + math.hypot(a[2] - a[0], b[2] - b[0]) / 2)


# ---- contexts ---------------------------------------------------------------

def contexts(db, layer, feature, n, around=12):
    """The n strongest places, at most one a sequence: lists of (token, act)."""
    seen, out = set(), []
    for seq, at in db.execute(
            "SELECT sequence_id, token_idx FROM activation WHERE layer = ? AND feature_id = ? "
            "ORDER BY strength DESC, sequence_id, token_idx", (layer, feature)):
        if seq in seen:
            continue
        seen.add(seq)
        rows = db.execute(
            "SELECT t.token_idx, decoded_token, strength FROM token t LEFT JOIN activation a "
            "ON a.layer = ? AND a.feature_id = ? AND a.sequence_id = t.sequence_id AND "
            "a.token_idx = t.token_idx WHERE t.sequence_id = ? AND t.token_idx BETWEEN ? AND ? "
            "ORDER BY 1", (layer, feature, seq, at - around, at + around // 2)).fetchall()
        # tokens of other latents' windows may lie beyond a gap
        mid = next(i for i, r in enumerate(rows) if r[0] == at)
        lo = hi = mid
        while lo and rows[lo - 1][0] == rows[lo][0] - 1:
            lo -= 1
        while hi + 1 < len(rows) and rows[hi + 1][0] == rows[hi][0] + 1:
            hi += 1
        out.append([(r[1], r[2] or 0.0) for r in rows[lo:hi + 1]])
        if len(out) == n:
            break
    return out


def marked(context):
    peak = max(a for _, a in context)
    text, on = "", False
    for token, act in context:
        now = act > 0 and act >= 0.3 * peak
        text += ("<<" if now and not on else ">>" if on and not now else "") + token
        on = now
    return (text + (">>" if on else "")).replace("\n", "\\n")


def best_rows(db):
    return db.execute("SELECT * FROM best JOIN feature USING (layer, feature_id) "
                      "ORDER BY layer, feature_id").fetchall()


# ---- a sheet to rate ----------------------------------------------------------

def review(path, n, seed):
    """n labels drawn by a hash; the rating is yes, partly or no."""
    db = connect(path)
    rows = sorted(best_rows(db), key=lambda r: hashlib.sha256(
        f"{seed}/{r['layer']}/{r['feature_id']}".encode()).hexdigest())[:int(n)]
    out = csv.writer(sys.stdout)
    out.writerow(["layer", "feature_id", "label", "rating (yes, partly, no)", "remark"] +
                 [f"context {i}" for i in range(1, 6)])
    for r in sorted(rows, key=lambda r: (r["layer"], r["feature_id"])):
        c = [marked(x) for x in contexts(db, r["layer"], r["feature_id"], 5)]
        out.writerow([r["layer"], r["feature_id"], r["label"], "", ""] + c + [""] * (5 - len(c)))


def read_sheet(path):
    """Ratings by layer and latent. Where a comma is decimal, programs for sheets write semicolons."""
    with open(path, encoding="utf-8-sig", newline="") as f:
        head = f.readline()
        f.seek(0)
        rows = list(csv.DictReader(f, delimiter=max(",;\t", key=head.count)))
    if rows and not {"layer", "feature_id"} <= set(rows[0]):
        die(f"{path}: no columns layer and feature_id: not the sheet of `make phase3`?")
    out = {}
    for i, r in enumerate(rows, 2):
        word = next((v for k, v in r.items() if k and k.startswith("rating")), "").strip().lower()
        if word and word not in ("yes", "partly", "no"):
            die(f"{path}: line {i}: a rating is yes, partly or no, found '{word}'")
        if word:
            out[int(r["layer"]), int(r["feature_id"])] = word
    return out


def agreement(path, *sheets):
    db = connect(path)
    rated = [read_sheet(s) for s in sheets]
    if not rated[0]:
        die(f"{sheets[0]}: no rating is filled in")
    score = {(r["layer"], r["feature_id"]): r["score"] for r in best_rows(db)}
    n, rows = len(rated[0]), []
    for word in ("yes", "partly", "no"):
        keys = [k for k, v in rated[0].items() if v == word]
        s = [score[k] for k in keys if score.get(k) is not None]
        rows.append([word, len(keys), "%.0f %%" % (100 * len(keys) / n),
                     number(sum(s) / len(s) if s else None)])
    print("\n".join(table(["rating", "labels", "share", "mean score"], rows)))
    p, lo, hi = wilson(sum(v == "yes" for v in rated[0].values()), n)
    print(f"\n{100 * p:.0f} % of {n} rated labels are right (95 % interval {100 * lo:.0f} to {100 * hi:.0f} %).")
    if len(rated) > 1:
        both = sorted(set(rated[0]) & set(rated[1]))
        if not both:
            die("the sheets rate no latent in common")
        same = sum(rated[0][k] == rated[1][k] for k in both) / len(both)
        chance = sum(sum(r[k] == w for k in both) / len(both) * sum(q[k] == w for k in both) / len(both)
                     for w in ("yes", "partly", "no") for r, q in [rated])
        kappa = (same - chance) / (1 - chance) if chance < 1 else float("nan")
        print(f"Two raters agree on {100 * same:.0f} % of {len(both)} (Cohen's kappa {kappa:.2f}).")


# ---- the report -------------------------------------------------------------------

def labellers(db):
    """Who labelled, models before the rule: (model, prompt, labels, failed)."""
    return db.execute("SELECT model_name, prompt_version, sum(state = 'ok'), sum(state = 'failed') FROM label "
                      "WHERE state != 'dead' GROUP BY 1, 2 ORDER BY prompt_version = 'tokens', 1, 2").fetchall()


def scores(db, model, prompt):
    """Pooled over all items, and how many latents are above chance by themselves."""
    for kind in ("detection", "fuzzing"):
        rows = db.execute("SELECT * FROM score WHERE scorer = ? AND model_name = ? AND prompt_version = ?",
                          (kind, model, prompt)).fetchall()
        if not rows:
            continue
        pool = balanced(*(sum(r[c] for r in rows) for c in ("hit_on", "n_on", "hit_off", "n_off")))
        yield kind, len(rows), pool, sum(r["low"] > 0.5 for r in rows)


def has(db, table):
    return db.execute("SELECT count(*) FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]


def areas(db, model, prompt):
    """By embeddings: a model's mean area over labels, with its interval, and how many are above chance."""
    if not has(db, "embedding"):    # of before there was one
        return
    for embedder, in db.execute("SELECT DISTINCT embedder FROM embedding WHERE model_name = ? AND prompt_version = ? "
                                "ORDER BY 1", (model, prompt)).fetchall():
        a = db.execute("SELECT auc, low FROM embedding WHERE model_name = ? AND prompt_version = ? AND embedder = ?",
                       (model, prompt, embedder)).fetchall()
        mean, n = sum(x[0] for x in a) / len(a), len(a)
        half = Z * math.sqrt(sum((x[0] - mean) ** 2 for x in a) / (n - 1) / n) if n > 1 else math.nan
        yield f"embedding, {embedder}", n, n > 1 and (mean, mean - half, mean + half), sum(x[1] > 0.5 for x in a)


def span(x, f="%.3f"):
    """A value and its interval."""
    return "-" if not x else f"{f % x[0]} ({f % x[1]} to {f % x[2]})"


def compared(db):
    """A row for each labeller and test."""
    rows = []
    for model, prompt, _, _ in labellers(db):
        for kind, n, pool, above in (*scores(db, model, prompt), *areas(db, model, prompt)):
            w = wilson(above, n)
            rows.append([f"{model}, {prompt}", kind, n, span(pool), span([100 * x for x in w], "%.0f %%")])
    return list(table(["labeller", "test", "labels", "score", "above chance by themselves"], rows))


def by_share(db, part):
    return db.execute(
        f"SELECT layer, feature_id, frequency, {part} AS share, label FROM feature LEFT JOIN best "
        f"USING (layer, feature_id) WHERE n_fired >= 20 AND {part} > 0.99 "
        "ORDER BY frequency DESC, layer, feature_id LIMIT 15").fetchall()


def report(path, *args):
    db = connect(path)
    v = settings(args)
    meta = dict(db.execute("SELECT key, value FROM meta").fetchall())
    one = lambda q: db.execute(q).fetchone()[0] or 0    # noqa: E731
    n, dead = one("SELECT count(*) FROM feature"), one("SELECT sum(dead) FROM feature")
    good = one("SELECT count(*) FROM best")
    failed = one("SELECT count(*) FROM label WHERE state = 'failed'")
    who = list(dict.fromkeys(r[0] for r in labellers(db) if r[2]))
    say = [f"# {v['release']}, profile {v['profile']}: what the latents do", "",
           f"{n} latents, counted over {meta.get('positions', '?')} positions; {good} of them were labelled "
           f"by {' and '.join(who) or 'nobody'}, {failed} labels failed. This is a sample: "
           f"`{v['labels']}`.", "", "## In short", "",
           f"- {dead} of {n} latents ({100 * dead / max(n, 1):.1f} %) never fired on this corpus."]
    for model, prompt, _, _ in labellers(db)[:1]:
        for kind, count, pool, above in scores(db, model, prompt):
            if pool:
                say += [f"- {kind.capitalize()}: balanced accuracy {pool[0]:.3f} over all items of {count} labels "
                        f"(95 % interval {pool[1]:.3f} to {pool[2]:.3f}; chance is 0.5). {above} labels "
                        f"({100 * above / count:.0f} %) are above chance by themselves; 2.5 % would be by luck."]
        for kind, count, mean, above in areas(db, model, prompt):
            say += [f"- {kind[0].upper()}{kind[1:]}: mean area under the curve {span(mean)} of {count} labels (chance is 0.5). "
                    f"{above} are above chance by themselves."]
    usd = one("SELECT sum(usd) FROM reply")
    say += [f"- {one('SELECT count(*) FROM reply')} answers cost {usd:.4f} dollars"
            + (f", {usd / good:.5f} a label." if good else "."),
            "- Rate the labels in [review.csv](review.csv) and run `make agreement`; "
            "[latents](latents/index.html#/all?show=labelled) shows them with their contexts.", "",
            "## Labellers", "", "The rule `tokens` names the tokens a latent is most often active on and finds them in "
            "texts (labeler(1)): labels are worth what they add to it. Scores are balanced accuracies, or mean areas "
            "under the curve by embeddings; chance is 0.5. 95 % intervals.", ""]
    say += compared(db) + ["", "## Layers", ""]
    tests = {"detection": "avg(balanced_accuracy) FROM score s", "fuzzing": "avg(balanced_accuracy) FROM score s"}
    if has(db, "embedding") and one("SELECT count(*) FROM embedding"):
        tests["embedding"] = "avg(auc) FROM embedding s"
    mean = "".join(f", (SELECT {t} JOIN best USING (layer, feature_id, model_name, prompt_version) WHERE s.layer = f.layer"
                   + (f" AND scorer = '{k}')" if k != "embedding" else ")") for k, t in tests.items())
    say += table(["layer", "latents", "never fired", "labelled", *tests], [
        [*r[:4], *map(number, r[4:])] for r in db.execute(
            "SELECT f.layer, count(*), sum(dead), (SELECT count(*) FROM best l WHERE l.layer = f.layer)"
            f"{mean} FROM feature f GROUP BY 1")])
    say += ["", "## Reasoning", "", "Labels tagged with a step of reasoning, as far as the labeller can be "
            "trusted (its own scores are beside):", ""]
    tagged = db.execute(
        "SELECT tag, layer, feature_id, label, score, max FROM tag JOIN best USING (layer, feature_id, "
        "model_name, prompt_version) JOIN feature USING (layer, feature_id) WHERE tag IN (%s) ORDER BY tag, "
        "score DESC, max DESC, layer, feature_id" % ",".join("?" * len(REASONING)), REASONING).fetchall()
    if tagged:
        by_tag = {t: [r for r in tagged if r["tag"] == t] for t in sorted({r["tag"] for r in tagged})}
        say += table(["tag", "latent", "label", "score"], text=3, rows=[
            [t, f"{r['layer']}/{r['feature_id']}", r["label"], number(r["score"])] for t in by_tag for r in by_tag[t][:8]])
        say += ["", "The best-tested 8 of each at most, of " + ", ".join(f"{len(by_tag[t])} {t}" for t in by_tag) + "."]
    else:
        say += ["None."]
    for part, name in (("think", "thinking"), ("answer", "answers")):
        rows = by_share(db, part)
        say += ["", f"Latents that fire in {name} alone (more than 99 % of at least 20 firings), the most "
                "frequent first:", ""]
        say += table(["latent", "frequency", "label"], text=3, rows=[
            [f"{r['layer']}/{r['feature_id']}", "%.3g %%" % (100 * r["frequency"]), r["label"] or ""]
            for r in rows]) if rows else ["None."]
    say += ["", "## The best-tested labels", ""]
    for r in db.execute("SELECT * FROM best WHERE score IS NOT NULL ORDER BY score DESC, layer, feature_id LIMIT 10"):
        say += [f"**{r['layer']}/{r['feature_id']}: {r['label']}** (score {r['score']:.2f})", ""]
        say += ["    " + marked(c) for c in contexts(db, r["layer"], r["feature_id"], 3)] + [""]
    say += ["## Where this came from", ""]
    say += [f"- {k}: {v[k]}" for k in v if k not in ("release", "profile")]
    say += [f"- transcoders: {meta.get('transcoders', '?')}", ""]
    print("\n".join(say))


def cost():
    text, at, rows = sys.stdin.read(), 0, []
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        e, end = json.JSONDecoder().raw_decode(text[at:])
        at += end
        rows.append([e["model"], e["features"], e["requests"], "%.1f M" % (e["input_tokens"] / 1e6),
                     "%.1f M" % (e["output_tokens"] / 1e6), number(e.get("usd"), "%.2f"),
                     number(e.get("usd_batch"), "%.2f"), number(e.get("usd_per_label"), "%.5f")])
    print("\n".join(table(["model", "latents", "requests", "input", "output", "dollars", "by batches", "a label"], rows)))


if __name__ == "__main__":
    run(__doc__, {"vacuum": (vacuum, 2, 2), "review": (review, 3, 3),
                  "report": (report, 1, None), "agreement": (agreement, 2, 3), "cost": (cost, 0, 0)}, sqlite3.Error)
