#!/bin/bash
# view.sh: pages of graphs, without a browser: what is in them is what was in the
# files, nothing in them can become markup, and nothing is loaded. TAP on stdout.
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 1
root=$PWD
PATH=${BIN:-$root/bin}:$PATH
python=/usr/bin/python3
M=$root/tests/golden/tiny-llama
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
rc=0
check() { if eval "$2"; then echo "ok view: $1"; else echo "not ok view: $1"; rc=1; fi; }
page() { $python "$root/tests/lib/page.py" "$@"; }
[ -e "${R1_D3:-/usr/share/javascript/d3/d3.min.js}" ] || { echo 'ok view # SKIP no d3'; exit 0; }

# published graphs
for g in "$root"/data/graphs/haiku/*.json; do
	attrgraph view "$g" >p.html || rc=1
	check "$(basename "$g"): as in the file" 'page same p.html "$g"'
done
check 'two graphs in one page' 'attrgraph view "$root"/data/graphs/haiku/*.json >p.html &&
	page same p.html "$root"/data/graphs/haiku/*.json'
check 'from standard input' 'attrgraph view <"$root"/data/graphs/haiku/opposite_of_small.json >q.html &&
	page same q.html "$root"/data/graphs/haiku/opposite_of_small.json'
check 'a page for each' 'attrgraph view --out each "$root"/data/graphs/haiku/*.json && cmp -s q.html each/opposite_of_small.html &&
	[ "$(ls each)" = "$(printf "%s\n" capital-state-dallas.html opposite_of_small.html)" ]'

# text that tries to get out
page evil >evil.json
attrgraph view evil.json >evil.html || rc=1
check 'hostile text stays text' 'page same evil.html evil.json && page inert evil.html'

# with a model: the same page from the run, from its JSON and from its records
attrgraph -m "$M" -t "$M/transcoders" -p 'the quick brown fox' -n 60 >g.json
attrgraph -m "$M" -t "$M/transcoders" -p 'the quick brown fox' -n 60 --html >run.html
check '--html is view of the JSON' 'attrgraph view g.json | cmp -s - run.html'
attrgraph -m "$M" -t "$M/transcoders" -p 'the quick brown fox' -n 60 --format graph >g.rec
check 'graph/1' 'attrgraph view g.rec >rec.html && page nodes run.html rec.html'
attrgraph -m "$M" -t "$M/transcoders" -p 'the quick' -p 'brown fox' -n 40 -o d --html
check '--out --html' '[ "$(ls d/*.html)" = "$(printf "%s\n" d/brown-fox.html d/the-quick.html)" ] && page same d/brown-fox.html d/brown-fox.json'
rm d/brown-fox.html
attrgraph -m "$M" -t "$M/transcoders" -p 'the quick' -p 'brown fox' -n 40 -o d --html --skip-done
check '--skip-done makes the page that lacks' '[ -e d/brown-fox.html ]'
attrgraph -m "$M" -t "$M/transcoders" -p 'the quick' -p 'brown fox' -n 40 --html >two.html
check 'several prompts, one page' 'page same two.html d/the-quick.json d/brown-fox.json name'

# what is known of latents
for i in $(seq 40); do echo "the quick brown fox $i jumps over the lazy dog"; done >c.txt
qtok --tokenizer "$M" --ctx 32 <c.txt >t.tok && topk-examples --model "$M" --transcoders "$M/transcoders" <t.tok >e.ex
check 'contexts from examples/1' 'attrgraph view --examples e.ex --tokenizer "$M" g.json >ex.html && page latents ex.html top sample up down hist quantile near frequency'
page database f.sqlite
check 'labels and contexts from SQLite' 'attrgraph view -f f.sqlite g.json >db.html && page latents db.html label explanation tags score top up frequency && page inert db.html'
check 'both, in one' 'attrgraph view -f f.sqlite --examples e.ex --tokenizer "$M" g.json >both.html && page latents both.html label score hist near'
$python - <<'P'
import sqlite3
d = sqlite3.connect("goodfire.db")
d.execute("create table autointerp(layer, feature_id, label)")
d.executemany("insert into autointerp values (?, ?, ?)", [(l, f, f"</script> {l}/{f}") for l in range(4) for f in range(128)])
d.commit()
P
check "labels from Goodfire's tables" 'attrgraph view -f goodfire.db g.json >gf.html && page latents gf.html label && page inert gf.html'

# what it refuses
fails() {	# WANTED EXIT, WORDS, COMMAND...
	local want=$1 words=$2
	shift 2
	"$@" >out 2>err
	local got=$?
	[ $got = "$want" ] && grep -q -- "$words" err && [ "$(wc -l <err)" -le 2 ]
}
echo 'var d3 = { version:"5.16.0" };' >d3-5.js
echo 'x = "</script>"; var d3 = { version:"3.5" };' >d3-out.js
check 'no d3' 'fails 1 libjs-d3 attrgraph view --d3 none.js g.json && fails 1 libjs-d3 env R1_D3=none.js attrgraph view g.json'
check 'another d3' 'fails 1 "version 3" attrgraph view --d3 d3-5.js g.json && fails 1 markup attrgraph view --d3 d3-out.js g.json'
check 'no graph' 'fails 1 "holds no graph" attrgraph view /dev/null && fails 1 none.json attrgraph view none.json && fails 1 "no graph" attrgraph view "$M/config.json"'
check 'names' 'fails 1 "two graphs" attrgraph view --out d g.json g.json'
jq -c '.metadata.slug = "../up"' g.json >up.json
check 'a name that is a path' 'fails 1 "no file name" attrgraph view --out d up.json && [ ! -e up.html ]'
check 'misuse' 'fails 2 "tokenizer" attrgraph view --examples e.ex g.json && fails 2 view attrgraph view -p x g.json &&
	fails 2 html attrgraph -m "$M" -p x --html --format graph && fails 2 commands attrgraph -m "$M" look g.json'
check 'a full disk' 'attrgraph view g.json >/dev/full 2>err; [ $? = 1 ]'
head -c 3000 g.json >cut.json
check 'a cut file leaves no page' 'fails 1 cut.json attrgraph view --out n cut.json && [ ! -e n ]'
exit $rc
