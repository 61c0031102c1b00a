#!/bin/bash
# browse.sh: r1browse's folders: all that the examples say is there, whatever
# tokens and labels hold; what it refuses, and what it leaves behind. In a
# browser where there is a Chromium. TAP.
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 1
export PATH=${BIN:-$PWD/bin}:$PATH
python=/usr/bin/python3
golden=$PWD/tests/golden root=$PWD
w=$(mktemp -d) || exit 1
trap 'rm -rf "$w"' EXIT
rc=0
ok() { echo "ok browse: $1"; }
not() { echo "not ok browse: $1"; rc=1; }
check() { if eval "$2" >"$w/log" 2>&1; then ok "$1"; else tail -n 5 "$w/log" | sed 's/^/# /'; not "$1"; fi; }
model=$golden/tiny-llama tc=$golden/tiny-llama/transcoders

# Texts that would be markup, move their neighbours or are no characters at all.
$python - "$root" >"$w/docs.jsonl" <<'END'
import json, sys
text = open(sys.argv[1] + "/CONTRIBUTING.md").read()
nasty = ["</script><img src=x onerror=document.title=1>", "\u202eright to left\u202c\u2066 and\u2069 back",
         "nul \0 bell \7 del \x7f", "face \U0001f600\U0001f468\u200d\U0001f469 e\u0301 \u4e2d\u6587", "<!-- \" ' ` & \\ -->\u2028\u2029\ufeff"]
for i in range(14):
    print(json.dumps({"text": (nasty[i % 5] + " ") * 4 + text[300 * i:300 * i + 250]}))
END
qtok --tokenizer "$model" --ctx 48 <"$w/docs.jsonl" |
	topk-examples -m "$model" -t "$tc" >"$w/e.ex" || not examples
$python - "$w" <<'END'
import json, sys
w = sys.argv[1]
rows = [{"layer": 0, "feature_id": 3, "label": "</script><b>bold</b> \u202eevil\u2028", "explanation": "& < >",
         "tags": "doubt planning", "quality": 0.7, "model_name": "m", "prompt_version": "v1"},
        {"layer": 0, "feature_id": 3, "label": "better tested", "tags": "none", "quality": 0.1, "detection": 0.9,
         "detection_low": 0.6, "detection_high": 0.95, "model_name": "m2", "prompt_version": "v1"},
        {"layer": 0, "feature_id": 3, "label": "a rule's", "detection": 0.99, "prompt_version": "tokens"},
        {"layer": 2, "feature_id": 70, "label": "plain", "model_name": "m", "prompt_version": "v1"},
        {"layer": 2, "feature_id": 71, "label": None, "state": "failed", "explanation": "no"}]
with open(w + "/l.json", "w") as f:
    print(json.dumps({"r1": 1, "kind": "labels/1", "prov": []}), file=f)
    for r in rows:
        print(json.dumps(r), file=f)
END
r1cat -j "$w/l.json" >"$w/l.lab" || not 'labels'
page() { r1browse -t "$model" "$@"; }
check 'a folder' 'page -o "$w/p" -L "$w/l.lab" --title "a </script> & b" <"$w/e.ex" && [ -s "$w/p/index.html" ] && [ ! -e "$w/p.tmp" ]'
$python - "$w/p" "$w/e.ex" <<'END' || rc=1
import json, os, re, subprocess, sys
from html.parser import HTMLParser
folder, stream = sys.argv[1:]
bad = 0
def check(what, good):
    global bad
    print(("ok" if good else "not ok") + " browse: " + what)
    bad += not good
html = open(folder + "/index.html", encoding="utf-8").read()
seen, text = [], {}
class P(HTMLParser):
    def handle_starttag(self, tag, attrs):
        seen.append((tag, dict(attrs)))
    def handle_data(self, s):
        text[self.lasttag] = text.get(self.lasttag, "") + s
P().feed(html)
tags = [t for t, _ in seen]
check("the page is whole: one style, one program", html.endswith("</html>\n") and tags.count("script") == 1 == tags.count("style"))
check("its title is text", text["title"].strip() == "a </script> & b" and "b" not in tags)
outside = [a for _, x in seen for k, a in x.items() if k in ("src", "href", "data", "action")]
check("nothing from outside", outside == ["#/"] and not re.search(r"https?:(?!//www\.w3\.org/2000/svg)|@import|url\(", html))
data, raw = {}, b""
for d, _, fs in os.walk(folder + "/data"):
    for f in fs:
        b = open(os.path.join(d, f), "rb").read()
        raw += b
        m = re.fullmatch(rb"R1\.(\w+)\((?:(\d+),(?:(\d+),)?)?(.*)\)\n", b, re.S)
        data[(m[1].decode(), *[int(x) for x in m.groups()[1:3] if x])] = json.loads(m[4])
check("data are ASCII, without control characters", all(c == 10 or 32 <= c < 127 for c in raw))
head = json.loads(subprocess.run(["r1cat", "-H", stream], capture_output=True, text=True).stdout)
recs = [json.loads(x) for x in subprocess.run(["r1cat", "-f", stream], capture_output=True, text=True).stdout.splitlines()]
lat = {(r["layer"], r["latent"]): r for r in recs if "latent" in r}
N = head["n_latents"]
corpus, vocab = data["corpus",], data["vocab",]
check("the corpus' totals", (corpus["positions"], corpus["n_latents"], [l["layer"] for l in corpus["layers"]]) ==
      (head["positions"], N, head["layers"]))
got = {(k[1], x["i"]): x for k, v in data.items() if k[0] == "latents" for x in v}
check("each latent, in the file of its number", set(got) == set(lat) and all(
    x["i"] == 64 * k[2] + j for k, v in data.items() if k[0] == "latents" for j, x in enumerate(v)))
digit = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
def ids(s):
    w = corpus["width"]
    return [sum(digit.index(s[i + j]) * 64 ** (w - 1 - j) for j in range(w)) for i in range(0, len(s), w)]
near = lambda a, b: abs(a - b) <= 6e-4 * abs(b)     # noqa: E731
def same_list(mine, theirs):
    for c, t in zip(mine, theirs):
        acts = {i: a for i, a in enumerate(t["acts"]) if a > 0}
        if ids(c[7]) != t["ids"] or (c[0], c[1], c[2], c[6]) != (t["seq"], t["doc"], t["pos"], t["at"]):
            return False
        v = dict(zip(c[8][::2], c[8][1::2]))
        if set(v) != set(acts) or not all(near(v[i], acts[i]) for i in v):
            return False
    return True
check("statistics", all(got[k]["n"] == r["fired"] and (not r["fired"] or near(got[k]["x"], r["max"]) and
      sum(got[k]["h"][1:]) == r["fired"] and sum(got[k]["w"]) == r["fired"] and sum(got[k]["p"]) == r["fired"]) for k, r in lat.items()))
check("the strongest contexts, token by token", all(same_list(got[k]["T"], r["top"]) and len(got[k]["T"]) == len(r["top"][:12])
      for k, r in lat.items() if r["fired"]))
def strata(k, r):
    n, m = len(r["sample"]), min(10, len(r["sample"]))
    return same_list(got[k]["S"], [r["sample"][i * n // m] for i in range(m)]) and len(got[k]["S"]) == m
check("the sample, evenly from all strengths", all(strata(k, r) for k, r in lat.items() if r["fired"]))
check("logits and neighbours", all(got[k]["u"][::2] == r["top_ids"] and got[k]["d"][::2] == r["bottom_ids"] and
      got[k]["c"][::2] == r["near"] and all(0 <= n < N for n in r["near"]) for k, r in lat.items()))
rows = {l: data["layer", l]["rows"] for l in head["layers"]}
check("a row for each", all([r[0] for r in rows[l]] == list(range(N)) for l in rows) and all(
      rows[l][i][1] == lat[l, i]["fired"] if len(rows[l][i]) > 1 else not lat[l, i]["fired"] for l in rows for i in range(N)))
check("the best label leads its row, the others are there", rows[0][3][8:] == ["better tested", "none", 0.9, 0.1] and
      [x["label"] for x in got[0, 3]["L"]] == ["better tested", "</script><b>bold</b> \u202eevil\u2028", "a rule's"])
check("a label without scores", rows[2][70][8:] == ["plain", None, None, None] and len(rows[2][71]) == 8)
check("a token of every byte", len({v for v in vocab if len(v) == 1 and 0xdc80 <= ord(v) <= 0xdcff}) >= 64)
sys.exit(bad > 0)
END
page -o "$w/q" -L "$w/l.lab" --title "a </script> & b" <"$w/e.ex"
check 'the same bytes again' 'diff -r "$w/p" "$w/q"'
labeler --import "$w/l.lab" --model x --tokenizer "$model" --to none --db "$w/l.db" <"$w/e.ex" 2>/dev/null
check 'labels from a database' 'page -o "$w/q" -L "$w/l.db" <"$w/e.ex" && grep -q "better tested\|\"plain\"" "$w/q/data/2/index.js" && ! grep -q "dead feature" "$w/q/data/0/index.js"'
check "labels of a database go into another" 'labeler --import "$w/l.db" --model y --tokenizer "$model" --to none --db "$w/l2.db" <"$w/e.ex" &&
	for d in l l2; do sqlite3 "$w/$d.db" "select * from autointerp order by layer, feature_id, label, prompt_version" >"$w/$d.rows"; done &&
	[ "$(wc -l <"$w/l.rows")" -gt 3 ] && cmp "$w/l.rows" "$w/l2.rows"'
sqlite3 "$w/goodfire.db" "create table autointerp(layer, feature_id, label); insert into autointerp values(2, 70, 'theirs')"
check "Goodfire's table" 'page -o "$w/q" -L "$w/goodfire.db" <"$w/e.ex" && grep -q "\"theirs\"" "$w/q/data/2/index.js"'
check 'fewer contexts' 'page -o "$w/q" -n 1 --sample 0 <"$w/e.ex" && [ "$(du -sk "$w/q" | cut -f 1)" -lt "$(du -sk "$w/p" | cut -f 1)" ]'
check 'an empty folder is taken' 'mkdir "$w/empty" && page -o "$w/empty/" <"$w/e.ex" && [ -e "$w/empty/index.html" ]'

# refuses WHAT EXIT PATTERN COMMAND...: one line on stderr, no folder
refuses() {
	local what=$1 want=$2 pattern=$3 got
	shift 3
	"$@" >"$w/out" 2>"$w/err"; got=$?
	if [ $got = "$want" ] && [ ! -s "$w/out" ] && [ ! -e "$w/no" ] && [ ! -e "$w/no.tmp" ] &&
	   [ "$(grep -vc 'see .* --help' "$w/err")" -le 1 ] && grep -qE -- "$pattern" "$w/err"
	then ok "$what"
	else
		echo "# exit $got, wanted $want and a line with '$pattern'; found"
		sed 's/^/# /' "$w/err" | head -n 5
		not "$what"
	fi
}
mkdir "$w/mine"; echo precious >"$w/mine/file"
refuses 'a folder of something else stays' 1 'is no folder of latents' page -o "$w/mine" <"$w/e.ex"
check 'with what is in it' 'grep -q precious "$w/mine/file"'
refuses 'no folder named' 2 '--out is missing' r1browse -t "$model" <"$w/e.ex"
refuses 'no tokenizer' 2 '--tokenizer is missing' r1browse -o "$w/no" <"$w/e.ex"
refuses 'an empty stream' 1 'standard input.*empty' page -o "$w/no" </dev/null
head -c 20000 "$w/e.ex" >"$w/cut"
refuses 'a cut stream' 1 'standard input.*cut' page -o "$w/no" <"$w/cut"
check 'a cut stream leaves the old folder' '! page -o "$w/q" <"$w/cut" && [ -s "$w/q/index.html" ] && [ ! -e "$w/q.tmp" ]'
refuses 'another vocabulary' 1 'vocabulary of' r1browse -t "$golden/tiny-qwen2" -o "$w/no" < <(r1cat -w -f "$w/e.ex" |
	jq -c 'if .r1 then .tokens.vocab = 1000000 else . end' | r1cat -j)
refuses 'labels that are none' 1 'e.ex.*labels/1' page -o "$w/no" -L "$w/e.ex" <"$w/e.ex"
sqlite3 "$w/other.db" 'create table t(x)'
refuses 'a database without labels' 1 'other.db.*catalogue' page -o "$w/no" -L "$w/other.db" <"$w/e.ex"
r1cat -j <<<'{"r1": 1, "kind": "labels/1", "prov": []}
{"layer": "x", "feature_id": 1, "label": "a"}' >"$w/bad.lab"
refuses 'a label of no latent' 1 'bad.lab.*record 1 .*layer: wanted an integer' page -o "$w/no" -L "$w/bad.lab" <"$w/e.ex"
mkdir "$w/ro"; chmod 555 "$w/ro"
[ "$(id -u)" = 0 ] || refuses 'no room' 1 'ro/x' page -o "$w/ro/x" <"$w/e.ex"

browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome)
[ "$browser" ] || { echo 'ok browse: in a browser # SKIP no chromium'; exit $rc; }
# dom ADDRESS: the page as a browser has it
dom() {
	timeout 60 "$browser" --headless=new --no-sandbox --disable-gpu --user-data-dir="$w/profile" --virtual-time-budget=10000 \
		--dump-dom "file://$w/p/index.html$1" 2>/dev/null >"$w/dom" && grep -q 'data-done="' "$w/dom"
}
if dom '#/0/3'; then
	ok 'a browser opens a latent from the disk'
	check 'its label and tests' 'grep -q "<h1>0/3: better tested</h1>" "$w/dom" && grep -q "detection 0.90 (0.60 to 0.95)" "$w/dom"'
	check 'labels are text' 'grep -q "&lt;/script&gt;&lt;b&gt;bold" "$w/dom" && ! grep -q "<b>bold" "$w/dom"'
	n=$(r1cat -f "$w/e.ex" | jq 'select(.layer == 0 and .latent == 3) | [(.top[:12] | length), ([(.sample | length), 10] | min)] | add')
	check 'all its contexts' '[ "$(grep -o "class=\"ctx\"" "$w/dom" | wc -l)" = $n ]'
	check 'values to point at' 'grep -Eq "class=\"[a-z ]*peak[a-z ]*\" style=\"--a:[0-9.]+\" data-id=\"[0-9]+\" data-v=\"[0-9.]+\"" "$w/dom"'
	check 'no control or bidi character' '! grep -qP "[\x{202a}-\x{202e}\x{2066}-\x{2069}\x{2028}]" "$w/dom" && ! grep -qP "\x00|\x07" "$w/dom"'
	check 'no tag from a token' '! grep -q "<img" "$w/dom"'
else
	sed 's/^/# /' "$w/dom" | head -n 3; not 'a browser opens a latent from the disk'
fi
check 'a table by score' 'dom "#/0?show=labelled&sort=-score" && grep -q "1 of 128" "$w/dom" && grep -q "better tested" "$w/dom"'
check 'no row is under the head' '$python - "$w/p" <<END
import sys; sys.path.insert(0, "$root/tests/lib")
from browser import Browser
with Browser(1200, 800) as b:
    b.open("file://" + sys.argv[1] + "/index.html#/0")
    b.until("document.querySelector(\".rows .row\")", 20)
    head, row = (b.js("document.querySelector(\"%s\").getBoundingClientRect().%s" % x) for x in ((".row.head", "bottom"), (".rows .row", "top")))
    assert row >= head - 1, (head, row)
END'
check 'a search over all layers' 'dom "#/all?q=plain" && grep -q "1 of 512" "$w/dom" && grep -q "2/70" "$w/dom"'
check 'the overview' 'dom "" && grep -q "layer 3" "$w/dom" && grep -q "all labelled latents" "$w/dom"'
check 'what is not there is said' 'dom "#/0/4000" && grep -q "role=\"alert\"" "$w/dom"'
exit $rc
