#!/bin/bash
# readme.sh: the pipes of README work, on a tiny model and a published graph. TAP.
set -u
cd "$(dirname "$0")/../.." || exit 1
: "${BIN:=$PWD/bin}"
readme=$PWD/README.md rc=0
S=$(mktemp -d) || exit 1
trap 'rm -rf "$S"' EXIT
export PATH=$BIN:$PATH M=$S/model LC_ALL=C.UTF-8
cp -r tests/golden/tiny-llama "$M"	# its context made as long as qtok's default
sed -i 's/"max_position_embeddings": 512/"max_position_embeddings": 2048/' "$M/config.json"
cp tests/golden/motifs/capital-state-dallas.json "$S/graph.json"
cd "$S" || exit 1
for i in $(seq 300); do echo "the reader of stream $i is told where it was cut $((i * 7919 % 1000))"; done >corpus.txt
head -n 60 corpus.txt >held.txt
head -n 5 corpus.txt >notes.txt
sed -n '/^## By hand/,/^Or let make/s/^    \([^#].*\)/\1/p' "$readme" >lines
# and those of "Wiring", on the graph it names
ln -s "${readme%/*}/data" data
export G=data/graphs/haiku/capital-state-dallas.json
sed -n '/^## Wiring/,/^## By hand/s/^    \(motif.*\)/\1/p' "$readme" >>lines
[ "$(wc -l <lines)" -ge 7 ] || { echo "not ok readme: no pipes found"; exit 1; }
while IFS= read -r line; do
	if bash -o pipefail -c "$line" >out 2>err </dev/null && { [ -s out ] || [ -s eval.json ] || [ -d ckpt ]; }
	then echo "ok readme: ${line%% *} ... ${line##*| }"
	else sed 's/^/# /' err | head -n 5; echo "not ok readme: $line"; rc=1; fi
done <lines

# The database's: the rule labels, no tiny model can. A command ends where its quotes do.
qtok --tokenizer "$M" <corpus.txt >t.tok
sed -n '/^What the latents do/,/^Requirements/s/^    \([^#].*\)/\1/p' "$readme" |
	awk '{ all = all (all == "" ? "" : "\n") $0; if (gsub(/"/, "\"", all) % 2 == 0) { printf "%s%c", all, 0; all = "" } }' >queries
asked=0
while IFS= read -r -d '' line; do
	case $line in
	'labeler -p anthropic'*) continue ;;
	labeler*) line='labeler -p tokens --tokenizer $M --per-layer 10 --db features.sqlite < e.ex > l.lab 2>/dev/null' ;;
	*'&& npupload'*) line=${line% && npupload*} ;;
	esac
	[[ $line = sqlite3* ]] && asked=$((asked + 1))
	if bash -o pipefail -c "$line" >out 2>err </dev/null && [ ! -s err ]; then echo "ok readme: ${line%%$'\n'*}"
	else sed 's/^/# /' err | head -n 5; echo "not ok readme: $line"; rc=1; fi
done <queries
[ $asked = 3 ] && [ "$(sqlite3 features.sqlite 'select count(*) from best')" -gt 5 ] || { echo "not ok readme: queries of the database"; rc=1; }
exit $rc
