#!/bin/bash
# phase4.sh: motifs of the graphs there are, sets compared: what is redone and
# what is not, side by side, killed, broken graphs, public ones from a server.
. "$(dirname "$0")/../lib/pipeline.sh"
M=tiny/quick/motifs
GOAL=motifs/report.md
cp -r data/graphs/haiku "$S/haiku"
python3 tests/lib/graphs.py "$S/base" 5 1 0.05
python3 tests/lib/graphs.py "$S/own" 4 2 0.15 think

export S BIN GOAL
export -f run
# go FOLDER [WORDS]: the phase with few random graphs, no pictures
go() {
	local data=$1
	shift
	run "$data" SAMPLES=19 PROFILES= HAIKU="$S/haiku" GRAPHS="$S/own" COMPARE="base=$S/base" "$@"
}
export -f go
steps() { sed -n 's/^  \([A-Z]*\) .*/\1/p' "$1" | sort | uniq -c | awk '{ printf "%s%s ", $2, ($1 > 1 ? $1 : "") }'; }

t0=$(date +%s%N)
redoes "from nothing" "CASCADE COMPARE3 MOTIFS6 PARTS REPORT "
t1=$(date +%s%N)
redoes "a second run does nothing" ""
check "and make -n says so" bash -c '[ "$(grep -c step.sh <<<"$1")" = 0 ]' - "$(go "$S/a" -n)"
redoes "other profiles in the pictures" "PLOT6 REPORT " PROFILES=signed/lpc-sign
digest "$S/a" >"$S/a.sum"
check "every file is there" bash -c 'cd "$1" && for f in compare.csv even.json z.json parts.json cascades.jsonl \
	profile-signed-lpc-sign.png heat-signed-lpc-sign.svg tree-signed-lpc-sign.svg; do [ -s $f ] || exit 1; done' - "$S/a/$M"
check "the sets of the report" bash -c '[ "$(jq -c "[.sets[] | [.set, .n]]" "$1")" = "[[\"tiny\",4],[\"haiku\",2],[\"base\",5]]" ]' - "$S/a/$M/compare.json"
check "thinking against answers" bash -c '[ "$(jq -c "[.sets[] | [.set, .n]]" "$1")" = "[[\"think\",4],[\"answer\",4]]" ]' - "$S/a/$M/parts.json"
check "at one density" jq -e '[.sets[].graphs[].density] | max < 0.06' "$S/a/$M/even.json"
check "the report answers" bash -c 'grep -q "^- \*\*signed/lpc-sign\*\*, tiny and base: " "$1" && grep -q "None of the sets here is known to come from a reasoning model" "$1"' - "$S/a/$M/report.md"

redoes "a parameter of the comparison" "COMPARE3 MOTIFS3 PARTS PLOT6 REPORT " COMPARE_EXTRA=--caliper=0.1 PROFILES=signed/lpc-sign
redoes "a parameter of the cascades" "CASCADE REPORT " COMPARE_EXTRA=--caliper=0.1 CASCADE_DENSITY=0.2 PROFILES=signed/lpc-sign
redoes "threads and launcher change nothing" "" COMPARE_EXTRA=--caliper=0.1 CASCADE_DENSITY=0.2 PROFILES=signed/lpc-sign THREADS=1 LAUNCH=nice
redoes "back again" "CASCADE COMPARE3 MOTIFS3 PARTS PLOT6 REPORT " PROFILES=signed/lpc-sign
digest "$S/a" | diff - "$S/a.sum" >"$S/diff" && ok "and the same bytes" || { sed 's/^/# /' "$S/diff"; not "and the same bytes"; }
python3 tests/lib/graphs.py "$S/base" 1 9 0.05
redoes "one more graph in a set" "CASCADE COMPARE3 MOTIFS4 REPORT "
rm "$S/base/g9-0.json"

check "side by side" go "$S/j" -j2 THREADS=1 PROFILES=signed/lpc-sign
# (the JSON names the files it was made from, with their folder)
kinds='\.(csv|svg|png|mot)$'
check "the same bytes" diff <(digest "$S/j" | grep -E "$kinds") <(grep -E "$kinds" "$S/a.sum")

# Killed at random moments, until one run gets through.
rm -rf "$S/a"
ms=$(((t1 - t0) / 1000000)) n=0 killed=0
while [ $n -lt 4 ]; do
	n=$((n + 1))
	setsid bash -c 'go "$S/a" PROFILES=signed/lpc-sign' >"$S/log" 2>&1 &
	pid=$!
	sleep "$(awk -v m=$ms -v r=$RANDOM 'BEGIN { printf "%.3f", m * r / 32768 / 3000 }')"
	kill -9 -- -$pid 2>/dev/null && killed=$((killed + 1))
	wait $pid 2>/dev/null
done
go "$S/a" PROFILES=signed/lpc-sign >"$S/log" 2>&1
digest "$S/a" | diff - "$S/a.sum" >"$S/diff" && ok "killed $killed times: the same bytes" || {
	tail -n 3 "$S/log"; sed 's/^/# /' "$S/diff"; not "killed $killed times: the same bytes"; }

# Without graphs of its own; a reasoning model among the sets; broken ones.
check "no graphs of its own" bash -c 'go "$S/n" GRAPHS="$S/none" COMPARE= && grep -q "There are no graphs of tiny itself yet" "$S/n/'$M'/report.md" &&
	grep -q "There is one set only" "$S/n/'$M'/report.md"'
check "a model that reasons" bash -c 'go "$S/r" REASONING=tiny && ! grep -q "None of the sets" "$S/r/'$M'/report.md" && ! grep -q "haiku and base: " "$S/r/'$M'/report.md"'
mkdir "$S/broken" && echo '{"nodes": [], "links": 3}' >"$S/broken/x.json"
check "a broken graph is named, nothing half is left" bash -c '! go "$S/b" COMPARE="$S/broken" >"$S/out" 2>&1 && grep -q "broken/x.json: byte .*links" "$S/out" && [ ! -e "$S/b/'$M'/broken.mot" ]'
check "an empty folder is named" bash -c '! go "$S/b" COMPARE="$S/nowhere" >"$S/out" 2>&1 && grep -q "no graph .*nowhere" "$S/out"'
check "two sets of one name" bash -c '! go "$S/b" COMPARE="haiku=$S/base" >"$S/out" 2>&1 && grep -q "same name" "$S/out"'

# Public graphs, from a server of our own.
mkdir -p "$S/www/data" "$S/www/graph_data" "$S/www/api/graph/gemma"
cp "$S"/base/g1-[01].json "$S/www/graph_data"
echo '{"graphs": [{"slug": "g1-0"}, {"slug": "g1-1"}, {"slug": "../../x"}]}' >"$S/www/data/graph-metadata.json"
python3 -u -m http.server -b 127.0.0.1 -d "$S/www" 0 >"$S/server" 2>&1 &
server=$!
for _ in $(seq 50); do port=$(sed -n 's/.*port \([0-9]*\) .*/\1/p' "$S/server"); [ -n "$port" ] && break; sleep 0.1; done
url=http://127.0.0.1:$port
echo "{\"url\": \"$url/graph_data/g1-1.json\"}" >"$S/www/api/graph/gemma/some-slug"
check "public graphs when asked for" go "$S/p" PUBLIC='haiku gemma/some-slug' PUBLIC_URL="$url" NEURONPEDIA="$url"
check "are sets like the others" bash -c '[ "$(jq -c "[.sets[] | [.set, .n]]" "$1")" = "[[\"tiny\",4],[\"haiku\",2],[\"gemma\",1],[\"public-haiku\",2],[\"base\",5]]" ]' - "$S/p/$M/compare.json"
kill $server 2>/dev/null; wait $server 2>/dev/null
check "and are not fetched twice" bash -c '[ -z "$(go "$S/p" PUBLIC="haiku gemma/some-slug" PUBLIC_URL='"$url"' NEURONPEDIA='"$url"' | grep FETCH)" ]'
exit $rc
