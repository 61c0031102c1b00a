#!/bin/bash
# npupload.sh: uploads to a server that refuses, limits, fails and breaks off
# (tests/lib/badnp.py, loopback only), and a client that is killed. What must
# never be: a batch sent twice without being asked for, a key that shows. TAP.
set -u
cd "$(dirname "$0")/../.." || exit 1
root=$PWD
export PATH=${BIN:-$root/bin}:$PATH
T=$(mktemp -d) || exit 1
server=
trap '[ "$server" ] && kill $server; rm -rf "$T"' EXIT
mkdir "$T/srv"
python3 tests/lib/badnp.py "$T/srv" & server=$!
for _ in $(seq 100); do [ -s "$T/srv/port" ] && break; sleep 0.1; done
api=http://127.0.0.1:$(cat "$T/srv/port")/api
unset http_proxy https_proxy all_proxy
export no_proxy=127.0.0.1 HOME=$T
key=np-sesame-0123456789
export NEURONPEDIA_API_KEY=$key
rc=0
ok() { echo "ok npupload: $1"; }
not() { echo "not ok npupload: $1"; rc=1; }
check() { local what=$1; shift; if "$@" >"$T/check.log" 2>&1; then ok "$what"; else
	cat "$T/check.log" "$T/err" | tail -n 6 | sed 's/^/# /'; not "$what"; fi; }
cd "$T" || exit 1

up() { npupload --url "$api" --wait 0.01 "$@" >out 2>err; }
# fails WHAT EXIT PATTERN WORDS...: one line on stderr besides what pauses say
fails() {
	local what=$1 want=$2 pattern=$3 got
	shift 3
	up "$@"; got=$?
	if [ $got = "$want" ] && [ "$(grep -vc 'trying again' err)" = 1 ] && grep -qE -- "$pattern" err
	then ok "$what"; else sed 's/^/# /' err; not "$what (exit $got)"; fi
}
took() { grep -c "^$1" srv/took 2>/dev/null; }
states() { jq -r .state "$1" | tr '\n' ' '; }

# Batches of tiny-llama's latents, and copies under the names of faults.
M=$root/tests/golden/tiny-llama
for i in $(seq 20); do echo "the quick brown fox $i jumps over $((i * 7))"; done | qtok -t "$M" --ctx 64 |
	topk-examples -m "$M" -t "$M/transcoders" -l 0 --top 2 --sample 2 >ex
featexport --to batches -t "$M" --name tiny --set good --batch 50 --out b <ex || not batches
for how in refuse busy e500 e503once moved reset hang kill cut; do
	mkdir "0-$how"
	for n in 0 1 2; do jq -c --arg s "0-$how" '.source = $s' b/0-good/batch-0000$n.json >"0-$how/batch-0000$n.json"; done
done

check 'three batches' up b/0-good
check 'are told, a line each' [ "$(states out)" = 'sent sent sent ' ]
check 'and arrive whole' [ "$(took 0-good)" = 3 ]
check 'the ledger has each begun and done' [ "$(states b/0-good/ledger.jsonl)" = 'begun done begun done begun done ' ]
check 'again' up b/0-good
check 'sends nothing' eval '[ "$(states out)" = "there there there " ] && [ "$(took 0-good)" = 3 ]'
featexport --to batches -t "$M" --name tiny --set good --batch 40 --out b <ex
fails 'the same features in other batches are not sent' 1 'features 0 to [0-9]+ of 0-good were sent in another batch, batch-00000.json' b/0-good
check 'nor do they arrive' [ "$(took 0-good)" = 3 ]

check 'a busy server is asked again' up 0-busy
check 'and gets each once' [ "$(took 0-busy)" = 3 ]
fails 'a refusal: what the server says and where' 1 'batch-00000.json: the server answered 400: features\[0\].density must be less \(features\[0\].density\)' 0-refuse
check 'stops there, the ledger says refused' [ "$(states 0-refuse/ledger.jsonl)" = 'begun refused ' ]
fails 'and may be sent again' 1 'answered 400' 0-refuse
fails 'a server that has moved' 1 '308.*see --url' 0-moved

for how in e500 reset e503once; do
	fails "$how: nobody knows" 1 'nobody knows whether it arrived' "0-$how"
	check "$how: once alone" [ "$(grep -c . "0-$how/ledger.jsonl")" = 1 ]
	fails "$how: not sent again unasked" 1 'it was begun before and nobody knows' "0-$how"
	check "$how: indeed" [ "$(took "0-$how")" -le 1 ]
done
check 'reset: taken as arrived when told so' up --unknown skip 0-reset
check 'the first once, the others now' eval '[ "$(states out)" = "there sent sent " ] && [ "$(took "0-reset 0-")" = 1 ] && [ "$(took 0-reset)" = 3 ]'
check 'e503once: sent again when told so' up --unknown send 0-e503once
check 'which is twice' [ "$(took '0-e503once 0-')" = 2 ]

# killed in the middle, and a machine that dies within the ledger's line
npupload --url "$api" 0-hang >out 2>err & pid=$!
for _ in $(seq 100); do [ "$(took 0-hang)" = 1 ] 2>/dev/null && break; sleep 0.05; done
fails 'two at a time: the second one stops' 1 'another process' 0-hang
kill -9 $pid; wait $pid 2>/dev/null
fails 'killed while it waited' 1 'it was begun before' 0-hang
check 'one was taken' [ "$(took 0-hang)" = 1 ]
up 0-cut; head -c -30 0-cut/ledger.jsonl >l && cp l 0-cut/ledger.jsonl
fails 'a ledger cut within its last line: that batch is unknown' 1 'batch-00002.json: it was begun' 0-cut
up --unknown skip 0-cut; sed -i 's/"done"/"fine"/' 0-cut/ledger.jsonl
fails 'a ledger that is none' 1 'ledger.jsonl: line [0-9]+: no line of a ledger' 0-cut
check 'a ledger of its own' up --ledger all.jsonl b/0-good
check 'knows all batches' [ "$(jq -r .state all.jsonl | grep -c done)" -ge 3 ]

# ---- what is checked here ----
bad() { jq -c "$2" 0-busy/batch-00001.json >bad.json; fails "$1" 1 "bad.json: $3" bad.json; }
bad 'an empty token' '.features[2].activations[1].tokens[3] = ""' 'features\[2\].activations\[1\].tokens\[3\]: wanted a text that is not empty'
bad 'a value too few' '.features[0].activations[0].values |= .[1:]' 'features\[0\].activations\[0\]: wanted as many values as tokens'
bad 'no activations' '.features[4].activations = []' 'features\[4\].activations: wanted an array of 1 to'
bad '21 logits' '.features[1].topLogits = [range(21) | {token: "a", value: 1}]' 'features\[1\].topLogits: wanted at most 20, found 21'
bad 'a density above 1' '.features[1].density = 1.5' 'features\[1\].density: wanted a number from 0 to 1, found 1.5'
bad 'an index twice' '.features[3].index = .features[2].index' 'features\[3\].index: wanted one that no other has'
bad '129 features' '.features = [range(129) as $i | .features[0] | .index = $i]' 'features: wanted an array of 1 to 128, found 129'
bad 'a source without a layer' '.source = "good"' 'source: wanted LAYER-SET'
bad 'a model in capitals' '.modelId = "Tiny"' 'modelId: wanted'
bad 'a text beyond 512 UTF-16 units' '.features[0].explanations = [{text: ("😀" * 257)}]' 'features\[0\].explanations\[0\].text: wanted 1 to 512'
jq -c '.features[0].explanations = [{text: ("😀" * 256)}]' 0-busy/batch-00001.json >fits.json
check '512 are fine' up --dry-run --ledger none.jsonl fits.json
check 'nothing was sent, no ledger made' [ ! -e none.jsonl ]
echo '[1' >bad.json; fails 'no JSON' 1 'bad.json' bad.json
echo '{}' >bad.json; fails 'neither of both' 1 "neither a batch .* nor a graph" bad.json
mkdir empty; fails 'a folder without batches' 1 'empty: no batch' empty

# ---- graphs ----
jq -c '.metadata.slug = "a.b"' "$root/tests/golden/motifs/opposite_of_small.json" >g.json
check 'a graph' up g.json
check 'its address is told' [ "$(jq -r .url out)" = "https://www.neuronpedia.org/$(jq -r .metadata.scan g.json)/graph?slug=a.b" ]
for slug in again put500; do jq -c --arg s $slug '.metadata.slug = $s' g.json >$slug.json; check "$slug: a graph is sent until it is there" up $slug.json; done
jq -c '.metadata.scan = "unknown"' g.json >u.json
fails 'a model that is not there' 1 'ERR_MODEL_DOES_NOT_EXIST' u.json
jq -c '.metadata.scan = "org/model"' g.json >s.json
fails 'a scan with a slash' 1 's.json: metadata.scan: wanted letters' s.json
jq -c '.nodes[5].ctx_idx = "x"' g.json >s.json
fails 'a node' 1 's.json: nodes\[5\].ctx_idx: wanted a whole number, found "x"' s.json
jq -c 'del(.links[7].weight)' g.json >s.json
fails 'a link' 1 's.json: links\[7\].weight: wanted a number, found nothing' s.json
jq -c 'del(.qParams)' g.json >s.json
fails 'no qParams' 1 's.json: qParams: wanted an object' s.json
check 'the bucket never sees the key' eval '! grep -q "A KEY" srv/log'

# ---- keys ----
mkdir all; cp 0-busy/batch-0000*.json all
NEURONPEDIA_API_KEY=wrong-key-777 fails 'a wrong key' 1 'answered 401: no such key: \**$' all
check 'is not shown' eval '! grep -q wrong-key err out all/ledger.jsonl'
unset NEURONPEDIA_API_KEY
fails 'no key' 2 'no key: set NEURONPEDIA_API_KEY' 0-busy
echo $key >key
check 'a key from a file' up --key-file key 0-busy
fails 'a key on an open network' 2 'a key is sent over https' --key-file key --url http://192.0.2.1/api 0-busy
check 'nowhere does it show' eval "! grep -r --exclude=key --exclude-dir=srv -q $key ."
exit $rc
