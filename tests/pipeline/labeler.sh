#!/bin/bash
# labeler.sh: labeler against a server that limits, fails, lies and bills
# (tests/lib/badllm.py, loopback only), killed, stopped and out of money. What
# it must never do: lose an answer, pay for one twice, or show its key.
set -u
cd "$(dirname "$0")/../.." || exit 1
root=$PWD
export PATH=${BIN:-$root/bin}:$PATH
# in memory where there is room: each answer is flushed to the disk
T=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d) || exit 1
server=
trap '[ "$server" ] && kill $server; rm -rf "$T"' EXIT
mkdir "$T/srv"
python3 tests/lib/badllm.py "$T/srv" &
server=$!
unset http_proxy https_proxy all_proxy
export no_proxy=127.0.0.1 HOME=$T
key=sk-sesame-0123456789
tok=$root/tests/golden/tiny-llama/tokenizer.json
rc=0
ok() { echo "ok labeler: $1"; }
not() { echo "not ok labeler: $1"; rc=1; }
# check NAME COMMAND...: passes when the command does
check() {
	local name=$1
	shift
	if "$@" >"$T/check.log" 2>&1; then ok "$name"; else
		{ cat "$T/check.log"; tail -n 5 err; } | sed 's/^/# /'; not "$name"; fi
}
cd "$T" || exit 1
awk 'BEGIN {
	n = split("the of reads and in layer to is that latent model for as with on token by what at a sum this it from or an be are which not have one", w, " ")
	x = 12345
	for (d = 0; d < 150; d++) {
		line = ""
		for (i = 0; i < 40; i++) {
			x = (x * 1103515245 + 12345) % 2147483648
			line = line (i ? " " : "") w[1 + int(x / 65536) % n]
		}
		printf "{\"text\": \"%s.\"}\n", line
	}
}' >docs.jsonl
qtok --tokenizer "$tok" --ctx 64 <docs.jsonl >t.tok &&
	"$root/tests/lib/examples.py" 2 6 <t.tok >e.ex || { echo "not ok labeler: no examples"; exit 1; }
for _ in $(seq 100); do [ -e srv/port ] && break; sleep 0.1; done
read -r port <srv/port || { echo "not ok labeler: no server"; exit 1; }
base=http://127.0.0.1:$port
quick="--wait 0.02 --tries 6 --poll 0.1 --show 4 --test 4 --per-ask 4 --max-tokens 500"
n_asks=50		# 10 latents, 1 + 2 + 2 requests each

# api anthropic|openai [DB MODEL OPTION...]: runs labeler, its exit in $got
api() {
	local who=$1 db=$2 model=$3 url=$base
	shift 3
	[ "$who" = openai ] && url=$base/v1
	ANTHROPIC_API_KEY=$key OPENAI_API_KEY=$key timeout 60 labeler -p "$who" --base-url "$url" \
		--tokenizer "$tok" -d "$db" -m "$model" $quick "$@" <e.ex >out 2>err
	got=$?
	cat err >>all.err
}
# what is in a database, but for who said it and what it cost
rows() { sqlite3 "$1" 'select layer, feature_id, state, label, explanation, tags, quality, detection, fuzzing from catalogue'; }
asked() { grep -c "^$1 " srv/asked; }
same() { [ $got = 0 ] && [ "$(rows "$1")" = "$(rows good.db)" ]; }
once() { [ "$(asked "$1")" = $n_asks ]; }
says() { grep -Eq -- "$1" err && [ "$(wc -l <err)" -ge 1 ]; }

# ---- as it should be ----
api anthropic good.db good
check "anthropic" test $got = 0 -a -s out
check "each question is asked once" once good
check "labels are those of the server" sh -c '[ "$(sqlite3 good.db "select count(*) from label where state = \"ok\"")" = 10 ]'
check "good labels fit their texts" sh -c '[ "$(sqlite3 good.db "select avg(detection) > 0.8 from catalogue")" = 1 ]'
check "the stream is labels/1" sh -c 'r1cat out | jq -e "select(.feature_id == 5) | .label and .detection_high > .detection_low" >/dev/null'
cp out first
api anthropic good.db good
check "again: nothing is asked" once good
check "again: the same labels" cmp out first
api anthropic good.db good --concurrency 1
check "concurrency changes nothing" sh -c 'r1cat first >a; r1cat out | cmp - a'
api openai o.db good-o
check "openai: the same labels" same o.db
check "openai: each question once" once good-o
check "usage is kept" sh -c '[ "$(sqlite3 o.db "select min(input_tokens) > 0 and min(cache_read_tokens) = 10 and min(output_tokens) > 0 from reply")" = 1 ]'
api anthropic one.db good-1 --layers 1 --per-layer 2
check "a sample of one layer" sh -c '[ "$(sqlite3 one.db "select count(*) || max(layer) || min(layer) from label where state = \"ok\"")" = 211 ]'
printf '0 3\n1:4\n' >list
api anthropic list.db good-2 --list list
check "a list" sh -c '[ "$(sqlite3 list.db "select group_concat(layer || feature_id) from label where state = \"ok\"")" = 03,14 ]'
api anthropic f.db good-3 --min-frequency 0.9
check "none is frequent enough" sh -c '[ "$(sqlite3 f.db "select count(*) from label where state = \"ok\"")" = 0 ]'

# ---- faults that pass ----
for m in storm e500 e529 drop-at-once reset limit drained; do
	for who in anthropic openai; do
		[ $m = limit ] && [ $who = openai ] && continue
		api $who "$m-$who.db" "$m"
		check "$m ($who): all labels" same "$m-$who.db"
		check "$m ($who): no reply is lost or double" sh -c '[ "$(sqlite3 '"$m-$who.db"' "select count(*) from reply")" = '$n_asks' ]'
	done
done
check "storm: no answer is paid twice" test "$(asked storm)" = $((2 * n_asks))
check "e500: no answer is paid twice" test "$(asked e500)" = $((2 * n_asks))
for who in anthropic openai; do	# seven were on their way
	check "drained ($who): the rest waits until the limit begins anew" test "$(grep -c $who srv/early)" -le 7
done
check "a limit makes every request wait" sh -c 'grep -q "429.*again in 1 s" all.err'
api anthropic slow.db slow --deadline 0.6 --list list --scores detection
check "slow bodies meet the deadline" sh -c "test $got = 0 && grep -q 'Timeout was reached' err"

# ---- answers that cannot be used ----
for m in prose-once short-once bad-tag-once html truncated bad-utf8 huge; do
	api anthropic "$m.db" "$m"
	check "$m: asked again" same "$m.db"
	check "$m: what was wrong is said and kept" sh -c 'grep -q "attempt 1: " err && [ "$(sqlite3 '"$m.db"' "select count(*) from reply where attempt = 2")" -gt 0 ]'
	before=$(asked $m)
	api anthropic "$m.db" "$m"
	check "$m: again: nothing is asked" test "$(asked $m)" = "$before"
done
api anthropic fenced.db fenced
check "a fence and thoughts are no fault" same fenced.db
for m in prose short cut refuses; do
	api anthropic "$m.db" "$m" --attempts 2
	check "$m: recorded as failed, never guessed" sh -c '[ "$(sqlite3 '"$m.db"' "select count(*) from label where state = \"failed\" and label is null and explanation <> \"\"")" = 10 ]'
	check "$m: asked twice and no more" test "$(asked $m)" = 20
	api anthropic "$m.db" "$m" --attempts 2
	check "$m: again: nothing is asked" test "$(asked $m)" = 20
done
api anthropic few.db too-few --attempts 1
check "lists of the wrong length give no score" sh -c '[ "$(sqlite3 few.db "select count(*) from score")" = 0 ] &&
	[ "$(sqlite3 few.db "select count(*) from label where state = \"ok\"")" = 10 ]'
api anthropic bad.db one-bad --concurrency 1
check "one bad request costs one label or score" sh -c "test $got = 0 && grep -q 'prompt is too long' err"

# ---- faults that stay ----
stays() {	# NAME MODEL EXIT MESSAGE [OPTION...]
	local name=$1 model=$2 want=$3 msg=$4
	shift 4
	api anthropic "x-$model.db" "$model" "$@"
	check "$name: exit $want, says so" sh -c "test $got = $want && tail -n 1 err | grep -Eq -- '$msg'"
}
stays "another model answers" wrong-name 1 'asked for wrong-name, and another-model answered'
n=$(asked wrong-name)
check "another model: stops at once" test "$n" -le 8
api anthropic x-wrong-name.db wrong-name
check "another model: again: nothing is asked" test "$(asked wrong-name)" = "$n"
api anthropic x-wrong-name.db wrong-name --any-model
check "another model: accepted if told so" same x-wrong-name.db
stays "no such model" unknown 1 'answered 404: model: unknown'
stays "spent credit" spent 1 'limit is spent'
check "spent credit: asked once each" test "$(grep -c . <err)" -le 3
stays "come back tomorrow" tomorrow 1 'come back in 86400 s'
stays "never up" broken 1 'gave up after 6 tries.*503' --wait 0.001
stays "told not to retry" no-retry 1 'answered 500'
stays "sampling is refused" good 1 'answered 400: temperature: not supported' --param temperature=0
api anthropic warm.db warm --param temperature=0
check "sampling if asked for" test $got = 0
key=wrong-key-42 api anthropic k.db good
check "401: exit 1, says so, once" sh -c "test $got = 1 && tail -n 1 err | grep -q 'key was not accepted.*401'"
check "401: the key is not repeated" sh -c '! grep -q wrong-key-42 err'
ANTHROPIC_API_KEY='' labeler -p anthropic --tokenizer "$tok" -d k.db -m x <e.ex >out 2>err
check "no key: exit 2" sh -c "test $? = 2 && grep -q 'no key: set ANTHROPIC_API_KEY' err"
ANTHROPIC_API_KEY=$key labeler -p anthropic --base-url http://example.invalid --tokenizer "$tok" -d k.db -m x <e.ex >out 2>err
check "no key in the clear: exit 2" sh -c "test $? = 2 && grep -q 'over https' err"

# ---- batches ----
for who in anthropic openai; do
	for m in batch twice errored lost-batch; do
		api $who "b-$m-$who.db" "$m" --batch
		[ $m = lost-batch ] && [ $who = anthropic ] && {
			check "lost batch: exit 1" test $got = 1
			api $who "b-$m-$who.db" "$m" --batch
		}
		check "$m ($who): all labels" same "b-$m-$who.db"
	done
	check "batch ($who): two rounds" sh -c '[ "$(sqlite3 '"b-batch-$who.db"' "select count(*) from batch where done")" = 2 ]'
done
check "batches are paid once" test "$(asked batch)" = $((2 * n_asks)) -a "$(asked twice)" = $((2 * n_asks)) \
	-a "$(asked errored)" = $((2 * n_asks))
check "a lost batch is found, not sent again" test "$(asked lost-batch)" = $((2 * n_asks))
check "the results' address gets no key" sh -c '! grep -q example.invalid all.err'
api anthropic bs.db batch-small --batch --batch-size 7
check "small batches: all labels" same bs.db
cat >run.sh <<END
exec env ANTHROPIC_API_KEY=$key labeler -p anthropic --base-url $base --tokenizer $tok -d bk.db -m batch-kill --batch $quick --poll 0.4 <e.ex >/dev/null 2>>kill.err
END
for _ in 1 2; do
	bash run.sh & pid=$!
	sleep 0.5; kill -9 $pid 2>/dev/null; wait $pid 2>/dev/null
done
api anthropic bk.db batch-kill --batch
check "batch, killed twice: all labels" same bk.db
check "batch, killed twice: each question once" once batch-kill

# ---- killed, stopped, out of money ----
sed "s/bk.db -m batch-kill --batch/kill.db -m lazy --concurrency 1/" run.sh >kill.sh
kills=0
while [ $kills -lt 6 ]; do
	bash kill.sh & pid=$!
	sleep 0.3
	kill -0 $pid 2>/dev/null || break
	kill -9 $pid; wait $pid 2>/dev/null
	kills=$((kills + 1))
done
check "it was killed" test $kills -gt 2
wait $pid 2>/dev/null
api anthropic kill.db lazy --concurrency 1
check "killed: all labels" same kill.db
check "killed: nothing but what was under way is asked twice" test "$(asked lazy)" -le $((n_asks + kills))
check "killed: the database is whole" test "$(sqlite3 kill.db 'pragma integrity_check')" = ok
sed "s/bk.db -m batch-kill --batch/term.db -m lazy-term --concurrency 2/" run.sh >term.sh
bash term.sh & pid=$!
for _ in $(seq 200); do [ "$(asked lazy-term)" -gt 0 ] && break; sleep 0.05; done
kill -TERM $pid; wait $pid; got=$?
check "SIGTERM: exit 75 (or it was done)" test $got = 75 -o $got = 0
api anthropic term.db lazy-term
check "SIGTERM: all labels" same term.db
check "SIGTERM: nothing is asked twice" once lazy-term
printf 'priced 1 1.25 0.1 1000 0.5\n' >prices
api anthropic usd.db priced --prices prices --max-usd 0.5
check "max-usd: exit 75, says so" sh -c "test $got = 75 && tail -n 1 err | grep -q 'of 0.5000 are spent'"
check "max-usd: less was spent" sh -c '[ "$(sqlite3 usd.db "select sum(usd) > 0.1 and sum(usd) <= 0.5 from reply")" = 1 ]'
n=$(asked priced)
api anthropic usd.db priced --prices prices --max-usd 0.5
check "max-usd: holds over runs" sh -c '[ "$(sqlite3 usd.db "select sum(usd) <= 0.5 from reply")" = 1 ]'
api anthropic usd.db priced --prices prices
check "max-usd: goes on with more" same usd.db
check "max-usd: each question once" once priced
check "costs are known" sh -c '[ "$(sqlite3 usd.db "select count(*) from catalogue where state = \"ok\" and usd > 0")" = 10 ]'
api anthropic nope.db unpriced --max-usd 1
check "max-usd without a price: exit 2" test $got = 2
n=$(wc -l <srv/log)
api anthropic dry.db priced --prices prices --dry-run
check "dry run: asks nothing" test "$(wc -l <srv/log)" = "$n"
check "dry run: says what it takes" sh -c 'jq -e ".features == 10 and .requests == '$n_asks' and .usd > .usd_batch and .usd_batch > 0" out || cat out'

# ---- embeddings ----
# embed DB MODEL [OPTION...]: scores the labels of a copy of good.db
embed() {
	local db=$1 model=$2
	shift 2
	[ -e "$db" ] || cp good.db "$db"
	ANTHROPIC_API_KEY=$key OPENAI_API_KEY=$key timeout 60 labeler -p anthropic --base-url "$base" \
		--tokenizer "$tok" -d "$db" -m good $quick --scores all --embed-url "$base/v1" \
		--embed-model "$model" "$@" <e.ex >out 2>err
	got=$?
	cat err >>all.err
}
# scores by embeddings, with what they rest on
near() { sqlite3 "$1" 'select layer, feature_id, auc, low, high from embedding' \
	'select layer, feature_id, item, sequence_id, token_idx, stratum, truth, cosine from similarity'; }
n_near=10
one_each() { [ "$(asked "$1")" = $n_near ]; }
n=$(asked good)
embed emb.db e-good
check "embeddings: a score for each label" sh -c 'test '$got' = 0 && [ "$(sqlite3 emb.db "select count(*) from catalogue where embedding between embedding_low and embedding_high and embedder = \"e-good\"")" = 10 ]'
check "embeddings: good labels are near their texts" sh -c '[ "$(sqlite3 emb.db "select avg(embedding) > 0.8 from catalogue")" = 1 ]'
check "embeddings: one request a label, no label is asked anew" test "$(asked e-good)" = $n_near -a "$(asked good)" = "$n"
check "embeddings: usage is kept, the vectors are not" sh -c '[ "$(sqlite3 emb.db "select min(input_tokens) > 0 and max(output_tokens) = 0 and max(length(body)) < 1000 from reply join ask using (request) where kind = \"embedding\"")" = 1 ]'
check "embeddings: in the stream, csv and json" sh -c 'r1cat out | jq -se "map(select(.embedding)) | length == 10" >/dev/null &&
	labeler -x -d emb.db --to csv | head -n 1 | grep -q ,embedding,embedding_low,embedding_high,embedder, &&
	labeler -x -d emb.db --to json | jq -se "map(select(.embedding_low)) | length == 10" >/dev/null'
check "embeddings: in the report" sh -c 'python3 "'"$root"'/pipelines/labels.py" report emb.db release=r profile=p labels=l >report &&
	grep -q "^- Embedding, e-good: mean area under the curve 0\.[0-9]* (.*) of 10 labels" report && grep -q "^| layer .* | fuzzing | embedding |$" report'
near emb.db >good.near
embed emb.db e-good
check "embeddings again: nothing is asked" one_each e-good
embed emb.db e-second
check "a second embedder stands beside the first" sh -c '[ "$(sqlite3 emb.db "select group_concat(distinct embedder) from embedding")" = e-good,e-second ] &&
	[ "$(sqlite3 emb.db "select count(*) from catalogue where embedder = \"e-good\"")" = 10 ]'
for m in storm e500 e529 drop-at-once reset html truncated bad-utf8 e-shuffled; do
	embed "n-$m.db" "$m"
	near "n-$m.db" | cmp -s - good.near && ok "embeddings, $m: as without it" || not "embeddings, $m: as without it"
done
embed n-huge.db huge --list list
check "embeddings, huge: asked again" sh -c "test $got = 0"' && [ "$(sqlite3 n-huge.db "select count(*), min(attempt) from embedding, reply where attempt = 2")" = "4|2" ]'
for m in few twice beyond long text null zero endless; do
	embed "n-$m.db" "e-$m-once"
	near "n-$m.db" | cmp -s - good.near && ok "embeddings, $m once: asked again" || not "embeddings, $m once: asked again"
	check "embeddings, $m once: what was wrong is said and kept" sh -c 'grep -q "embedding0_.*attempt 1: " err &&
		[ "$(sqlite3 '"n-$m.db"' "select count(*) from reply where attempt = 2 and request like \"%embedding%\"")" = 10 ]'
done
embed few-n.db e-few --attempts 2
check "embeddings that stay wrong: no score, the label stays" sh -c "test $got = 0"' && [ "$(sqlite3 few-n.db "select count(*) from embedding")" = 0 ] &&
	[ "$(sqlite3 few-n.db "select count(*) from label where state = \"ok\"")" = 10 ]'
check "embeddings that stay wrong: asked twice and no more" test "$(asked e-few)" = 20
embed few-n.db e-few --attempts 2
check "embeddings that stay wrong: again: nothing is asked" test "$(asked e-few)" = 20
embed w-n.db wrong-name
check "embeddings of another model: exit 1, says so" sh -c "test $got = 1 && tail -n 1 err | grep -q 'asked for wrong-name, and another-model answered'"
embed u-n.db unknown
check "no such embedder: exit 1, says so" sh -c "test $got = 1 && tail -n 1 err | grep -q 'embeddings: the server answered 404'"
printf 'good 1 1.25 0.1 5 0.5\npaid 100 100 100 0 0.5\n' >prices.n
embed p-n.db paid --prices prices.n --max-usd 0.00001
check "embeddings: max-usd: exit 75" test $got = 75
embed p-n.db paid --prices prices.n --dry-run
check "embeddings: dry run: says what they take" sh -c 'jq -e ".features == 0 and .requests == 10 and .embedded_tokens > 500 and .usd > 0" out || cat out'
embed p-n.db paid --prices prices.n
check "embeddings: each label's cost has them" sh -c '[ "$(sqlite3 p-n.db "select count(*) from cost where kind = \"embedding\" and usd > 0")" = 10 ]'
cp good.db lazy-n.db
sed "s|env|env OPENAI_API_KEY=$key|; s|bk.db -m batch-kill --batch|lazy-n.db -m good --scores all --embed-url $base/v1 --embed-model lazy --concurrency 1|" run.sh >near.sh
bash near.sh & pid=$!
for _ in $(seq 500); do
	[ "$(sqlite3 lazy-n.db "select count(*) > 0 from embedding" 2>/dev/null)" = 1 ] && break
	sleep 0.02
done
kill -9 $pid; wait $pid 2>/dev/null
check "embeddings, killed: some were there" sh -c '[ "$(sqlite3 lazy-n.db "select count(*) between 1 and 9 from embedding")" = 1 ]'
embed lazy-n.db lazy --concurrency 1
near lazy-n.db | cmp -s - good.near && ok "embeddings, killed: the same scores" || not "embeddings, killed: the same scores"
check "embeddings, killed: nothing but what was under way is asked twice" test "$(asked lazy)" -le $((2 * n_asks + kills + n_near + 1))
cp good.db old.db
sqlite3 old.db 'drop view catalogue; drop table embedding; drop table similarity; create view catalogue as select * from label'
embed old.db e-old
check "a database from before embeddings takes them" sh -c '[ "$(sqlite3 old.db "select count(*) from catalogue where embedding > 0.5")" -gt 5 ]'
embed a-n.db x --embed-provider anthropic
check "Anthropic has no embeddings: exit 2" sh -c "test $got = 2 && grep -q 'Anthropic has no embeddings' err"
embed a-n.db x --embed-prompt detect
check "a prompt for something else: exit 2" sh -c "test $got = 2 && grep -q 'not a prompt for embeddings' err"
OPENAI_API_KEY='' labeler -p tokens --tokenizer "$tok" -d good.db --scores all --embed-model x <e.ex >out 2>err
check "no key for embeddings: exit 2" sh -c "test $? = 2 && grep -q 'no key: set OPENAI_API_KEY' err"
OPENAI_API_KEY=$key labeler -p tokens --tokenizer "$tok" -d rule.db $quick --scores all --embed-url "$base/v1" --embed-model e-rule <e.ex >out 2>err
check "the rule's labels by embeddings" sh -c "test $? = 0"' && [ "$(sqlite3 rule.db "select count(*) from catalogue where embedding > 0 and prompt_version = \"tokens\"")" = 10 ]'
M=$root/tests/golden/tiny-llama
labeler -p tokens --tokenizer "$tok" -d near.db $quick --scores all --embed-provider local --embed-model "$M" --threads 1 <e.ex >out 2>err
check "embeddings by a model that runs here" sh -c "test $? = 0"' && [ "$(sqlite3 near.db "select count(*) from catalogue where embedding is not null and embedder = \"tiny-llama\"")" = 10 ]'

# ---- the key ----
printf '%s\n' $key >keyfile
labeler -p anthropic --base-url "$base" --key-file keyfile --tokenizer "$tok" -d kf.db -m lazy $quick <e.ex >kf.out 2>err & pid=$!
sleep 0.2
check "the key is in no command line" sh -c "! tr '\\0' ' ' </proc/$pid/cmdline | grep -q $key"
kill -ABRT $pid 2>/dev/null; wait $pid 2>/dev/null
ANTHROPIC_API_KEY=$key labeler -p anthropic --base-url "$base" --tokenizer "$tok" -d kf.db -m lazy $quick <e.ex >kf.out 2>err & pid=$!
sleep 0.15
check "nor in the environment it shows" sh -c "! tr '\\0' ' ' </proc/$pid/environ | grep -q $key"
wait $pid
check "no file that was written holds the key" sh -c "! grep -rl $key --exclude=run.sh --exclude=kill.sh --exclude=term.sh --exclude=near.sh --exclude=keyfile --exclude-dir=srv ."
check "no core was left" sh -c '[ -z "$(find . -name "core*")" ]'

# ---- what comes out ----
labeler -x -d good.db --to csv >good.csv
check "csv: a line for each label" sh -c '[ "$(wc -l <good.csv)" = 13 ] && head -n 1 good.csv | grep -q "^layer,feature_id,state,label,"'
labeler -x -d good.db --to json >good.json
check "json: the same as the stream" sh -c 'r1cat first | jq -cS . >a; jq -cS . good.json >b; cmp a b'
labeler -x -d good.db --to sql | sqlite3 copy.db
check "sql: makes the same database" sh -c '[ "$(sqlite3 copy.db .dump | grep -v "^PRAGMA" | sort)" = "$(sqlite3 good.db .dump | grep -v "^PRAGMA" | sort)" ]'
labeler -x -d good.db --to neuronpedia --neuronpedia m/set-1 >np
check "neuronpedia: explanations" sh -c 'jq -se "length == 10 and .[0].layer == \"0-set-1\" and .[0].index == \"1\" and ([.[].id] | unique | length) == 10" np >/dev/null'
check "the stream of a database: exit 0" sh -c 'labeler -x -d good.db >again'
check "stream: the same from the database" sh -c 'r1cat again | cmp - a >/dev/null || { r1cat again >x; r1cat first | cmp - x; }'
check "Goodfire's query works" sh -c '[ "$(sqlite3 good.db "select count(*) > 0 from autointerp_1 a join activations_1 x using (feature_id) join tokens_1 t on t.sequence_id = x.sequence_id and abs(t.token_idx - x.token_idx) <= 5")" = 1 ]'
check "columns are Goodfire's" sh -c '[ "$(sqlite3 good.db "select group_concat(name) from pragma_table_info(\"autointerp_0\")")" = feature_id,label,quality,interestingness,model_name,prompt_version ]'
check "dead latents are called so" sh -c '[ "$(sqlite3 good.db "select label from autointerp where layer = 1 and feature_id = 0")" = "dead feature" ]'
printf 'not a database, but long enough to look like some file\n' >junk.db
api anthropic junk.db good
check "no database: exit 1, one line" sh -c "test $got = 1 && [ \$(wc -l <err) = 1 ]"
"$root/tests/lib/examples.py" 1 5 <t.tok >other.ex
cp good.db mix.db; cp e.ex keep.ex; cp other.ex e.ex
api anthropic mix.db good
check "other transcoders: exit 1, says so" sh -c "test $got = 1 && grep -q 'holds latents of the transcoders' err"
exit $rc
