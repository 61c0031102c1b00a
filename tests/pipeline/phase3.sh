#!/bin/bash
# phase3.sh: examples, labels by a server of the tests, database, report; what
# is made again and what is not, kills, and a labeller of one's own.
. "$(dirname "$0")/../lib/pipeline.sh"
PHASE=phase3
P=tiny/quick
[ -x "${TOPK:-$BIN/topk-examples}" ] || { echo "ok pipeline: phase 3 # SKIP no topk-examples"; exit 0; }
mkdir "$S/srv"
python3 tests/lib/badllm.py "$S/srv" & server=$!
trap 'kill $server; rm -rf "$S"' EXIT
for _ in $(seq 100); do [ -e "$S/srv/port" ] && break; sleep 0.1; done
export ANTHROPIC_API_KEY=sk-sesame-0123456789 no_proxy=127.0.0.1
by="LABEL_PROVIDER=anthropic LABEL_MODEL=good LABEL_PER_LAYER=2"
url="--base-url http://127.0.0.1:$(cat "$S/srv/port")"
phase3() { run "$1" $by LABEL_EXTRA="$url $2" "${@:3}"; }
asked() { wc -l <"$S/srv/asked"; }
steps() { sed -n 's/^  \([A-Z]*\) .*/\1/p' "$1" | tr '\n' ' '; }

check "phase 3 from nothing" phase3 "$S/a" ""
n=$(asked)
check "every layer has its sample" test "$(sqlite3 "$S/a/$P/features.sqlite" "select count(*) from label where model_name = 'good' and state = 'ok'")" = 8
check "and the rule names the same" test "$(sqlite3 "$S/a/$P/features.sqlite" "select count(*) from label l join label r using (layer, feature_id) where l.model_name = 'good' and r.model_name = 'tokens' and r.state = 'ok'")" = 8
check "a model's label comes before the rule's" test "$(sqlite3 "$S/a/$P/features.sqlite" "select group_concat(distinct model_name) from best")" = good
check "the report compares them" grep -q '^| tokens, tokens | fuzzing | 8 | 0\.[0-9]* (0\.[0-9]* to ' "$S/a/$P/phase3.md"
check "the report tells what there is" grep -q '^- Detection: balanced accuracy 0\.[0-9]* over all items of 8 labels' "$S/a/$P/phase3.md"
check "the pages have them" test "$(cat "$S/a/$P"/latents/data/*/index.js | grep -c '^[^"]*"[^"]*","')" = 8
check "and the overview counts them" grep -q '"labelled":2.*"labelled":2.*"labelled":2.*"labelled":2' "$S/a/$P/latents/data/corpus.js"
check "the sheet has a line for each" test "$(python3 -c 'import csv, sys; print(len(list(csv.DictReader(open(sys.argv[1], newline="")))))' "$S/a/$P/review.csv")" = 8
phase3 "$S/a" "" >"$S/log" 2>&1
check "a second run does nothing" test -z "$(steps "$S/log")"
phase3 "$S/a" "--test 4" >"$S/log" 2>&1
check "an option of the labeller: no examples are made" test "$(steps "$S/log")" = "LABEL PAGES REPORT "
rm "$S/a/$P/labels.lab"
m=$(asked)
phase3 "$S/a" "--test 4" >"$S/log" 2>&1
check "what was paid for is not asked again" test "$(asked)" = "$m" -a "$m" -gt "$n"

# killed while it labels, then run again: the same as undisturbed
check "phase 3 once more" phase3 "$S/b" ""
rm -rf "$S/c"; cp -a "$S/b" "$S/c"
rm -rf "$S/c/$P"/{labels,labels.lab,features.sqlite,phase3.md,review.csv,latents,labels.csv}
setsid make --no-print-directory -f pipelines/run.mk phase3 RELEASE_DIR=tests/lib RELEASE=tiny CORPUS_FILE="$S/docs.jsonl" \
	DATA="$S/c" BIN="$BIN" $by LABEL_EXTRA="$url " >/dev/null 2>&1 & pid=$!
for _ in $(seq 100); do [ -n "$(find "$S/c/$P/labels" -name '*.sqlite-wal' -size +20k 2>/dev/null)" ] && break; sleep 0.02; done
kill -9 -- -$pid 2>/dev/null; wait $pid 2>/dev/null
check "after a kill" phase3 "$S/c" ""
check "the same files" diff <(digest "$S/b/$P" | grep -v ' \./labels/') <(digest "$S/c/$P" | grep -v ' \./labels/')

# ratings
python3 - "$S/b/$P/review.csv" "$S/rated.csv" <<'END'
import csv, sys
rows = list(csv.reader(open(sys.argv[1], newline="")))
for i, r in enumerate(rows[1:]):
    r[3] = ["yes", "yes", "Partly", "no"][i % 4]
csv.writer(open(sys.argv[2], "w", newline="")).writerows(rows)
# as programs write it where a comma is decimal
csv.writer(open(sys.argv[2] + "2", "w", newline="", encoding="utf-8-sig"), delimiter=";").writerows(rows)
END
check "agreement of a rated sheet" sh -c 'make --no-print-directory -f pipelines/run.mk agreement RELEASE_DIR=tests/lib RELEASE=tiny CORPUS_FILE=x DATA="$1/b" RATED="$1/rated.csv $1/rated.csv2" >"$1/ag" && grep -q "^| yes | 4 | 50 % | 0\.[0-9]* |" "$1/ag" && grep -q "^50 % of 8 rated labels are right" "$1/ag" && grep -q "agree on 100 %.*kappa 1.00" "$1/ag"' - "$S"

# a labeller of one's own
check "labels of one's own" run "$S/b" LABELER=tests/lib/mylabeler.py
check "its labels are in the database" test "$(sqlite3 "$S/b/$P/features.sqlite" "select count(*) > 20 and min(label like 'favours token %') and max(model_name) = 'mylabeler.py' from label where state = 'ok'")" = 1
check "and in the report" grep -q 'labelled by mylabeler.py' "$S/b/$P/phase3.md"

out=$(make -s cost3 RELEASE=r1-distill-qwen-1.5b PROFILE=full DATA="$S/n" 2>&1)
check "cost3 names models and dollars" eval 'echo "$out" | grep -Eq "^\| claude-haiku-4-5 \| 28000 \| [0-9]+ .* [0-9]+\.[0-9]+ \|"'
check "cost3 makes nothing" test ! -e "$S/n"
exit $rc
