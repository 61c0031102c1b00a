#!/bin/bash
# graphs.sh: attribution graphs of curated prompts: what is redone and what is
# not, a stage of one's own, kills, prompts that are wrong.
. "$(dirname "$0")/../lib/pipeline.sh"
P=tiny/quick
GOAL=phase4.md
mkdir "$S/prompts"
cat >"$S/prompts/words.jsonl" <<'END'
{"id": "of-the", "category": "words", "text": "the layer of the", "expected": ["token", "layer"]}
{"id": "no-hope", "category": "words", "text": "one of the", "expected": []}
{"id": "odd", "category": "words", "text": "that is \"<b>\" \\ for you"}
END
cat >"$S/prompts/chats.jsonl" <<'END'
{"id": "q", "category": "chats", "messages": [{"role": "user", "content": "What is it?"}], "think": "It is that. Or this.", "answer": "It is", "steps": [{"upto": "It is that.", "expected": ["Or"]}, {"upto": "Or", "expected": ["this"]}], "expected": ["this"], "tempting": ["that"]}
END
export S BIN GOAL
go() {
	local data=$1
	shift
	run "$data" PROMPT_FILES="$S/prompts/words.jsonl $S/prompts/chats.jsonl" GRAPH_FEATURES=40 GRAPH_EXTRA="--node-threshold 0.99" "$@"
}
export -f run go
steps() { sed -n 's/^  \(GRAPHS\|REPORT\|TRAIN\|MOTIFS\) .*/\1/p' "$1" | sort | uniq -c | awk '{ printf "%s%s ", $2, ($1 > 1 ? $1 : "") }'; }

redoes "from nothing" "GRAPHS2 REPORT TRAIN "
redoes "a second run does nothing" ""
check "and make -n says so" bash -c '[ "$(grep -c step.sh <<<"$1")" = 0 ]' - "$(go "$S/a" -n)"
digest "$S/a" >"$S/a.sum"
check "a graph for each prompt and each place in its thoughts" bash -c 'cd "$1" && [ "$(echo *)" = "graph-metadata.json no-hope.json odd.json of-the.json q-think.json q-think2.json q.json" ]' - "$S/a/$P/graphs"
check "the viewer's list has all" bash -c '[ "$(jq -c "[.graphs[].slug]" "$1")" = "[\"no-hope\",\"odd\",\"of-the\",\"q-think\",\"q-think2\",\"q\"]" ]' - "$S/a/$P/graphs/graph-metadata.json"
check "the thought is cut where it should be" jq -e '.metadata.prompt | endswith("Answer: <think>\nIt is that. Or")' "$S/a/$P/graphs/q-think2.json"
check "every graph has features, and says where influence comes from" python3 - "$S/a/$P/graphs.csv" <<'END'
import csv, sys
rows = list(csv.DictReader(open(sys.argv[1], newline="")))
assert len(rows) == 6
for r in rows:
    assert int(r["nodes_features"]) > 0 and int(r["features"]) == 40, r
    assert abs(sum(float(r["from_" + k]) for k in ("features", "errors", "tokens")) - 1) < 1e-4, r
by = {r["id"]: r for r in rows}
assert by["no-hope"]["hit"] == "" and by["of-the"]["hit"] in "01" and by["q"]["tempted"] in "01"
assert (by["q-think"]["of"], by["q-think"]["part"], by["q"]["part"]) == ("q", "think", "answer")
assert int(by["q"]["in_answer"]) > 0 and int(by["q-think"]["in_answer"]) == 0
END
check "the report says it" bash -c 'grep -q "^Every graph has feature nodes" "$1" && grep -Eq "^Of the influence on the outputs [0-9.]+ % goes through features, [0-9.]+ % comes from" "$1" && grep -q "^| chats | 3 " "$1" && grep -q "^1 prompts explained both" "$1"' - "$S/a/$P/phase4.md"

check "a text is no turn of a chat" bash -c 'python3 pipelines/attribution.py prompts "$1/words.jsonl" chatml | jq -se "all(.template == \"none\")" && python3 pipelines/attribution.py prompts "$1/chats.jsonl" chatml | jq -se "all(has(\"template\") | not)"' - "$S/prompts"
cp -a "$S/a" "$S/c"
GOAL=motifs/cascades.jsonl go "$S/c" >"$S/out" 2>&1
check "cascades have a class for each set of prompts" jq -se '[.[] | select(has("graphs")).class] | sort == ["haiku", "tiny:chats", "tiny:words"]' "$S/c/$P/motifs/cascades.jsonl"

redoes "another limit redoes all graphs" "GRAPHS2 REPORT " GRAPH_FEATURES=30
redoes "and back" "GRAPHS2 REPORT "
check "to the same bytes" diff <(digest "$S/a") "$S/a.sum"
cp "$S/prompts/words.jsonl" "$S/words"
sed -i 's/one of the/one for the/' "$S/prompts/words.jsonl"
redoes "a changed prompt redoes its own set" "GRAPHS REPORT "
cp "$S/words" "$S/prompts/words.jsonl"
redoes "and back again" "GRAPHS REPORT "
redoes "threads and launcher change nothing" "" THREADS=1 LAUNCH=nice
sqlite3 "$S/labels.sqlite" "create table autointerp(layer, feature_id, label); insert into autointerp select 0, value, 'named' from generate_series(0, 600)"
redoes "labels name features" "GRAPHS2 REPORT " GRAPH_LABELS="$S/labels.sqlite"
check "in the graphs" jq -e 'any(.nodes[]; .clerp == "named")' "$S/a/$P/graphs/q.json"

check "a maker of one's own" go "$S/a" ATTRGRAPH=tests/lib/mygraphs.py
check "is in the report" bash -c '[ "$(grep -c "^| [a-z0-9-]* | 2 | 1 | 0 | 2 | " "$1")" = 6 ] && grep -q "| words | 3 |.*| 0 of 1 | 0.00 |" "$1"' - "$S/a/$P/phase4.md"

# Killed while it makes graphs: what is finished is kept, the bytes are the same.
for i in $(seq 25); do sed "s/\"q\"/\"q$i\"/" "$S/prompts/chats.jsonl"; done >"$S/prompts/many.jsonl"
many() { go "$1" PROMPT_FILES="$S/prompts/many.jsonl" "${@:2}"; }
export -f many
check "twenty-five prompts" many "$S/a"
digest "$S/a" >"$S/a.sum"
rm -rf "$S/a/$P/parts/graphs" "$S/a/$P"/prompts/many* "$S/a/$P"/graphs*
setsid bash -c 'many "$S/a"' >"$S/log" 2>&1 &
pid=$!
for _ in $(seq 1000); do [ -e "$S/a/$P/parts/graphs/many/q9.json" ] && break; sleep 0.01; done
kill -9 -- -$pid 2>/dev/null
wait $pid 2>/dev/null
there=$(find "$S/a/$P/parts/graphs/many" -name 'q9.json' -printf '%T@ %i')
check "after a kill" many "$S/a"
check "finished graphs are kept" test -n "$there" -a "$there" = "$(find "$S/a/$P/parts/graphs/many" -name 'q9.json' -printf '%T@ %i')"
check "the same bytes" diff <(digest "$S/a") "$S/a.sum"

# Wrong prompts.
wrong() {	# WHAT PATTERN LINE
	echo "$3" >"$S/prompts/wrong.jsonl"
	check "$1" bash -c '! go "$S/w" PROMPT_FILES="$S/prompts/wrong.jsonl" >"$S/out" 2>&1 && grep -q "wrong.jsonl: line 1: $1" "$S/out" && [ ! -e "$S/w/'$P'/prompts/wrong.jsonl" ]' - "$2"
}
mkdir -p "$S/w/tiny" && cp -a "$S/a/$P" "$S/w/tiny/quick"
wrong "no JSON" "" '{"id": '
wrong "no id" "'id': wanted letters" '{"category": "x", "text": "a b"}'
wrong "no category" "has no 'category'" '{"id": "a", "text": "a b"}'
wrong "text and chat" "wanted one of" '{"id": "a", "category": "x", "text": "a", "messages": []}'
wrong "a place that is not in the thoughts" "'steps': wanted" '{"id": "a", "category": "x", "messages": [], "think": "b", "steps": [{"upto": "c"}]}'
echo '{"id": "a", "category": "x", "text": "the"}' >"$S/prompts/one.jsonl"
cp "$S/prompts/one.jsonl" "$S/prompts/two.jsonl"
check "two prompts of one name" bash -c '! go "$S/w" PROMPT_FILES="$S/prompts/one.jsonl $S/prompts/two.jsonl" >"$S/out" 2>&1 && grep -q "both have a graph a.json" "$S/out" && [ ! -e "$S/w/'$P'/graphs.part" -o ! -e "$S/w/'$P'/graphs/a.json" ]'
check "the prompts that come with it" bash -c 'for f in data/prompts/graphs/*.jsonl; do for t in none r1 chatml llama3; do python3 pipelines/attribution.py prompts $f $t >"$S/$t.$(basename $f)" || exit 1; done; done; [ "$(cat "$S"/none.*.jsonl | jq -r .id | sort -u | wc -l)" = "$(cat "$S"/r1.*.jsonl | wc -l)" ] && [ "$(cat data/prompts/graphs/*.jsonl | wc -l)" -ge 60 ] && [ "$(cat data/prompts/graphs/*.jsonl | jq -r .category | sort -u | wc -l)" = 7 ]'
exit $rc
