"""page.py same PAGE GRAPH.json... [name]
page.py nodes PAGE PAGE
page.py inert PAGE
page.py latents PAGE MEMBER...
page.py evil > graph.json
page.py database FILE

Looks into pages of attrgraph view without a browser (tests/check/view.sh):
whether they hold what the files do, whether two hold the same nodes and links,
whether nothing in one is markup or an address but what data/viewer/ has, and
whether latents have members; makes a graph of hostile text, and a database.
"""
import json
import os
import re
import sqlite3
import sys
from html.parser import HTMLParser

EVIL = ["</script><script>alert(1)</script>", "<!--<script>", "<img src=x onerror=alert(1)>", "\u2028\u2029", "&lt;b&gt;", "'\"`${1}\\",
        "\x7f\x1b[31m", "]]>", "\U0001f600\u202e", "@script@", "a\nb\tc"]


class Parser(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.tags, self.scripts, self.inside = [], [], None

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)


def parse(path):
    p = Parser()
    with open(path, encoding="utf-8") as f:
        p.feed(f.read())
    p.close()
    return p


def graphs(p):
    return [json.loads(t) for a, t in p.scripts if a.get("class") == "graph"]


def latents(p):
    return next(json.loads(t) for a, t in p.scripts if a.get("id") == "latents")


def close(a, b):
    return a == b or a is not None and b is not None and abs(a - b) <= 2e-5 * max(abs(a), abs(b))


def same(page, *files):
    by_name = files[-1] == "name"
    files = files[:-1] if by_name else files
    got = graphs(parse(page))
    assert len(got) == len(files), len(got)
    for g, path in zip(got, files):
        want = json.load(open(path, encoding="utf-8"))
        meta, mine = want["metadata"], g["metadata"]
        if by_name:  # another command made it
            meta.get("r1_interp", {}).pop("command", 0), mine.get("r1_interp", {}).pop("command", 0)
        assert g["name"] == meta["slug"] and mine["prompt_tokens"] == meta["prompt_tokens"], path
        assert set(mine) == set(meta) and g["qParams"] == want["qParams"], path
        assert len(g["nodes"]) == len(want["nodes"]), path
        for n, w in zip(g["nodes"], want["nodes"]):
            layer = -1 if w["layer"] == "E" else int(w["layer"])
            assert n[0] == w["node_id"] and n[2:5] == [w["feature_type"], layer, w["ctx_idx"]] and n[10] == w["clerp"], (n, w)
            assert (n[1] or n[0]) == w["jsNodeId"] and n[5] == w["feature"] and n[9] == w["is_target_logit"], (n, w)
            assert close(n[6], w.get("activation")) and close(n[7], w.get("influence")) and close(n[8], w["token_prob"]), (n, w)
        ids = {}
        for i, w in enumerate(want["nodes"]):  # a feature before an error node of its id
            if w["node_id"] not in ids or "error" not in w["feature_type"]:
                ids[w["node_id"]] = i
        flat = g["links"]
        assert len(flat) == 3 * len(want["links"]), path
        for i, w in enumerate(want["links"]):
            s, t, x = flat[3 * i:3 * i + 3]
            assert s == ids[w["source"]] and t == ids[w["target"]] and close(x, w["weight"]), (i, w)


def nodes(a, b):
    for x, y in zip(graphs(parse(a)), graphs(parse(b)), strict=True):
        assert [n[:1] + n[2:6] + n[9:] for n in x["nodes"]] == [n[:1] + n[2:6] + n[9:] for n in y["nodes"]]
        assert all(close(p, q) for p, q in zip(x["links"], y["links"], strict=True))


def inert(page):
    """The elements are those of an empty graph's page; no address leads out."""
    p = parse(page)
    data = [a for a, _ in p.scripts if a.get("type") == "application/json"]
    assert [t for t, _ in p.tags].count("script") == len(data) + 2
    assert not [t for t, _ in p.tags if t in ("img", "iframe", "object", "embed", "base", "form")]
    for tag, a in p.tags:
        assert not [k for k in a if k.startswith("on") or k == "src" or k == "href" and a[k] != "data:,"], (tag, a)
    policy = next(a["content"] for t, a in p.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'") and "http" not in policy and "*" not in policy
    text = open(page, "rb").read()
    for at in re.finditer(rb'<script type="application/json"[^>]*>(.*?)</script>', text, re.S):
        assert not set(b"<>&") & set(at.group(1)) and b"\xe2\x80\xa8" not in at.group(1)
    own = os.path.join(os.path.dirname(__file__), "../../data/viewer")
    for name in os.listdir(own):
        code = open(os.path.join(own, name), encoding="utf-8").read()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|\.html\(|fetch\(|XMLHttpRequest|import\(|@import|url\((?!['`]?#)", code), name
        assert not re.findall(r"https?://(?!www\.w3\.org/)", code), name


def has(page, *members):
    found = latents(parse(page))
    assert found, "no latents"
    seen = set().union(*(set(x) for x in found.values()))
    assert set(members) <= seen, (members, seen)
    for x in found.values():
        for c in x.get("top", []) + x.get("sample", []):
            assert len(c["tokens"]) == len(c["acts"]) > c["at"] >= 0, c
            assert c["acts"][c["at"]] > 0, c
        assert len(x.get("up", [])) <= 12 and len(x.get("top", [])) <= 8
        tops = [c["acts"][c["at"]] for c in x.get("top", [])]
        assert tops == sorted(tops, reverse=True)


def evil():
    n = [{"node_id": f"0_{i}_{i}" if i % 2 else e, "feature": i, "layer": "0", "ctx_idx": i, "feature_type": "cross layer transcoder", "token_prob": 0,
          "is_target_logit": False, "run_idx": 0, "reverse_ctx_idx": 0, "jsNodeId": "js" + e, "clerp": e} for i, e in enumerate(EVIL)]
    n += [{**n[0], "node_id": "2_7_3", "jsNodeId": "out", "layer": "2", "feature": 7, "feature_type": "logit", "clerp": f'Output "{EVIL[0]}" (p=0.5)', "token_prob": .5}]
    links = [{"source": a["node_id"], "target": "2_7_3", "weight": (-1) ** i * (i + 1)} for i, a in enumerate(n[:-1])]
    json.dump({"metadata": {"slug": EVIL[0], "scan": EVIL[2], "prompt_tokens": EVIL, "prompt": "".join(EVIL), "info": {"description": EVIL[2]}},
               "qParams": {"pinnedIds": [x["node_id"] for x in n[:4]], "supernodes": [[EVIL[2], n[0]["node_id"], n[1]["node_id"]]]},
               "nodes": n, "links": links}, sys.stdout)


def database(path):
    d = sqlite3.connect(path)
    d.executescript("""
        create table best(layer, feature_id, label, explanation, tags, model_name, score);
        create table feature(layer, feature_id, n_fired, frequency, mean, max, median, prompt, think, answer, text, promoted, suppressed);
        create table token(sequence_id, token_idx, token, decoded_token);
        create table activation(layer, feature_id, sequence_id, token_idx, strength);""")
    for seq in range(3):
        for i in range(30):
            d.execute("insert into token values (?, ?, ?, cast(? as text))", (seq, i, i, b"\xff\xfe <b>" if i == 9 else f" t{i}".encode()))
    for layer in range(4):
        for f in range(128):
            d.execute("insert into best values (?, ?, ?, ?, ?, ?, ?)", (layer, f, EVIL[f % len(EVIL)], EVIL[0], "doubt, planning", "m", .75))
            d.execute("insert into feature values (?, ?, 9, .01, 1, 2, 1, 0, 0, 0, 1, ?, '[]')", (layer, f, json.dumps([EVIL[2], "b"])))
            for seq in range(3):
                for at in (8, 9):
                    d.execute("insert into activation values (?, ?, ?, ?, ?)", (layer, f, seq, at, seq + at / 10))
    d.commit()


if __name__ == "__main__":
    {"same": same, "nodes": nodes, "inert": inert, "latents": has, "evil": evil, "database": database}[sys.argv[1]](*sys.argv[2:])
