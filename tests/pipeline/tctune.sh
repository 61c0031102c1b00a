#!/bin/bash
# tctune on a tiny model: the divergence falls, kills and threads change no byte,
# faults are told clearly. TAP on stdout.
set -u
cd "$(dirname "$0")/../.." || exit 1
golden=$PWD/tests/golden lib=$PWD/tests/lib acts=$PWD/tests/lib/acts.py
export PATH=${BIN:-$PWD/bin}:$PATH
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
rc=0
check() { if (set -o pipefail; eval "$2"); then echo "ok tctune: $1"; else echo "not ok tctune: $1"; rc=1; fi; }
tool=tctune
. "$lib/train.sh"

language 300 >lists
$acts tokens 60 <lists >t.tok
head -n 40 lists | $acts tokens 60 >held.tok
m=$golden/tiny-llama in=t.tok
tctrain --model $m -x 4 -k 6 -b 100 --start-tokens 1000 -n 6000 --out base <t.tok
opt="--model $m --transcoders base --batch 100 --lr 1e-3 -n 5000"

tctune $opt --threads 1 --out one --metrics one.jsonl <t.tok
tctune $opt --threads 3 --out three --metrics three.jsonl <t.tok
check "--threads changes no byte" "same one three && cmp <(curve one.jsonl) <(curve three.jsonl)"
check "a line for each step and layer" "[ \$(wc -l <one.jsonl) = 200 ]"
check "the divergence falls" \
	"jq -se '[.[] | select(.layer == 0) | .loss] | (.[-10:] | add) < 0.97 * (.[:10] | add)' one.jsonl >/dev/null"
kl() { tceval --model $m --transcoders "$1" --ablations none <held.tok | jq .all.kl; }
check "and so does tceval's, of every layer replaced at once" \
	"awk \"BEGIN { exit !(\$(kl one) < 0.95 * \$(kl base)) }\""
check "config.json says kl" "jq -e '.loss_fn == \"kl\"' one/config.json >/dev/null"
tctune $opt --save-every 3 --out killed --metrics killed.jsonl <t.tok &
pid=$!
until [ -e killed/state/manifest.json ]; do kill -0 $pid || break; sleep 0.01; done
kill -9 $pid; wait $pid 2>/dev/null
tctune $opt --save-every 3 --resume --out killed --metrics killed.jsonl <t.tok
check "killed and resumed to the same bytes" "same one killed && cmp <(curve one.jsonl) <(curve killed.jsonl)"
tctune $opt --out termed --metrics term.jsonl <t.tok 2>err &
pid=$!
until [ -s term.jsonl ]; do kill -0 $pid || break; sleep 0.01; done
kill -TERM $pid; wait $pid; got=$?
check "SIGTERM: state saved, exit 75" "[ $got = 75 ] && grep -q 'is saved' err"
tctune $opt --resume --out termed --metrics term.jsonl <t.tok
check "and resumed to the same bytes" "same one termed"

refuses "no --transcoders" 2 "--transcoders is missing" --model $m --out x
refuses "no such folder" 1 "none" --model $m --transcoders none --out x
cp -r base some && rm -r some/layers.2.mlp
refuses "not every layer" 1 "3 layers to tune together, the model has 4" --model $m --transcoders some --out x
tctrain --model $m -x 4 -k 6 -b 100 --start-tokens 1000 -n 2000 --variant jumprelu --out jump <t.tok
refuses "thresholds" 1 "only TopK" --model $m --transcoders jump --out x
refuses "a batch that holds no sequence" 1 "--batch is 30" --model $m --transcoders base --batch 30 --out x
refuses "another model's" 1 "d_in is 64, wanted 32" --model $golden/tiny-llama3 --transcoders base --out x
: >empty; in=empty
refuses "an empty stream" 1 "empty" $opt --out x
in=held.tok
refuses "a short stream is told and saved" 1 "is saved, --resume with a longer stream" $opt --out part
tctune $opt --resume --out part <t.tok
check "and goes on with the longer one" "same one part"
exit $rc
