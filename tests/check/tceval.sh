#!/bin/bash
# tceval.sh: what tceval refuses, and what must not change its output. TAP.
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 1
export PATH=${BIN:-$PWD/bin}:$PATH
golden=$PWD/tests/golden
tok=$PWD/tests/tool/tceval/tiny/in
w=$(mktemp -d) || exit 1
trap 'rm -rf "$w"' EXIT
rc=0
ok() { echo "ok tceval: $1"; }
not() { echo "not ok tceval: $1"; rc=1; }

model=$golden/tiny-llama tc=$golden/tiny-llama/transcoders
ev() { tceval --model "$model" --transcoders "$tc" "$@"; }

# refuses WHAT EXIT PATTERN COMMAND...: one line on stderr, nothing on stdout
refuses() {
	local what=$1 want=$2 pattern=$3 got
	shift 3
	"$@" >"$w/out" 2>"$w/err"; got=$?
	if [ $got = "$want" ] && [ ! -s "$w/out" ] &&
	   [ "$(wc -l <"$w/err")" = 1 ] && grep -qE -- "$pattern" "$w/err"
	then ok "$what"
	else
		echo "# exit $got, wanted $want and a line with '$pattern'; found"
		sed 's/^/# /' "$w/err" | head -n 5
		not "$what"
	fi
}

small="--fvu-tokens 40 --ce-tokens 40 --ablations none"
# A copy of the checkpoint to spoil; put BYTES AT into layer 1's weights.
spoil() { chmod -R u+w "$w/tc" 2>/dev/null; rm -rf "$w/tc"; cp -r "$golden/tiny-llama/transcoders" "$w/tc"; chmod -R u+w "$w/tc"; }
weights=$w/tc/layers.1.mlp/sae.safetensors

refuses 'no model' 2 'model' tceval --transcoders "$tc" <"$tok"
refuses 'no transcoders' 2 'transcoders' tceval --model "$model" <"$tok"
refuses 'empty stream' 1 'empty' ev </dev/null
head -c 300 "$tok" >"$w/cut"
refuses 'cut stream' 1 'standard input' ev <"$w/cut"
refuses 'a layer that is not there' 2 '9' ev --layers 9 <"$tok"
refuses 'no folder' 1 "$w/none" tceval --model "$model" --transcoders "$w/none" <"$tok"
refuses 'no such model' 1 "$w/none" tceval --model "$w/none" --transcoders "$tc" <"$tok"
refuses 'too few tokens' 1 'too few tokens' ev $small --skip 100 <"$tok"
refuses 'more latents than there are' 2 '128 latents' ev -k 1000 <"$tok"

# Tiny models have no sinks: a small factor makes some of their positions ones.
ev --outlier 1.1 <"$tok" >"$w/some.json"; ev --outlier 0 <"$tok" >"$w/all.json"
if jq -en --slurpfile a "$w/some.json" --slurpfile b "$w/all.json" '
	$a[0].settings.outlier == 1.1 and $b[0].settings.outlier == 0 and
	([$a[0].layers, $b[0].layers] | transpose | all(.[0].outlier_share > 0.02 and
	.[0].outlier_share < 0.7 and .[1].outliers == 0 and .[0].fvu_all == .[1].fvu and
	.[0].fvu != .[1].fvu and .[0].ce_increase != .[1].ce_increase and
	.[0].zero_kl < .[1].zero_kl)) and
	$a[0].tokens.fvu_positions == $b[0].tokens.fvu_positions' >/dev/null
then ok 'outliers keep their MLP and are counted apart'; else not 'outliers keep their MLP and are counted apart'; fi
refuses 'nothing but outliers' 1 'layer 0: every position is an outlier' ev --outlier 0.001 <"$tok"

spoil; rm -r "$w/tc/layers.1.mlp"
refuses 'a missing layer, asked for' 1 'layers.1.mlp' ev --transcoders "$w/tc" --layers 0-2 <"$tok"
if ev $small --transcoders "$w/tc" <"$tok" | jq -e '.all.layers == [0, 2, 3]' >/dev/null
then ok 'a missing layer keeps its MLP'; else not 'a missing layer keeps its MLP'; fi

spoil; printf '\000\000\300\177' | dd of="$weights" bs=1 conv=notrunc status=none \
	seek=$(($(stat -c %s "$weights") - 64))
refuses 'weights that are no numbers' 1 'layers.1.mlp' ev --transcoders "$w/tc" <"$tok"
spoil; truncate -s -100 "$weights"
refuses 'weights cut short' 1 'sae.safetensors' ev --transcoders "$w/tc" <"$tok"
spoil; jq '.d_in = 48' "$golden/tiny-llama/transcoders/layers.1.mlp/cfg.json" >"$w/tc/layers.1.mlp/cfg.json"
refuses 'wrong width' 1 'layers.1.mlp.*48' ev --transcoders "$w/tc" <"$tok"
spoil; mv "$w/tc/layers.1.mlp" "$w/tc/layers.7.mlp"
refuses 'a layer the model lacks' 1 'last layer is 3' ev --transcoders "$w/tc" <"$tok"
spoil; for l in "$w"/tc/layers.*; do mv "$l" "${l%.mlp}"; done
refuses 'transcoders of another site' 1 'layers.N.mlp' ev --transcoders "$w/tc" <"$tok"

sed 's/tokens\/1/tokens\/9/' "$tok" >"$w/kind"
refuses 'another kind' 1 'tokens/1' ev <"$w/kind"
sed 's/vocab\xcd\x02\x00/vocab\xcd\x7f\x00/; s/ids\xc4\x60\(..\)/ids\xc4\x60\xff\x7e/' "$tok" >"$w/vocab"
refuses 'a token outside the vocabulary' 1 'token 32511.*512' ev <"$w/vocab"
if ev $small --csv "$w/none/x" <"$tok" >"$w/out" 2>"$w/err"; then not 'unwritable --csv'
elif grep -q "$w/none" "$w/err" && jq -e .all "$w/out" >/dev/null
then ok 'unwritable --csv, the JSON is out all the same'; else not 'unwritable --csv'; fi

ev --threads 1 <"$tok" >"$w/1" 2>/dev/null
ev --threads 3 <"$tok" >"$w/3" 2>/dev/null
if cmp -s "$w/1" "$w/3" && [ -s "$w/1" ]
then ok 'threads change nothing'; else not 'threads change nothing'; fi
if ev $small <"$tok" 2>"$w/err" >/dev/full || ! grep -q 'No space' "$w/err"
then not 'full disk'; else ok 'full disk'; fi
ev $small --metrics "$w/m" <"$tok" >/dev/null 2>&1
if [ "$(jq -rs 'map(.event) | join(" ")' "$w/m")" = 'fvu fvu fvu fvu ce ce ce ce all' ]
then ok 'metrics'; else not 'metrics'; fi
printf '%s\n' '{"layer":2,"dead":0.5}' '{"event":"x"}' '{"layer":2,"dead":0.25,"step":9}' >"$w/tm"
if ev $small --train-metrics "$w/tm" <"$tok" | jq -e '[.layers[].train_dead_share] == [null, null, 0.25, null]' >/dev/null
then ok 'train_dead_share'; else not 'train_dead_share'; fi
echo '{"layer":2,"dead":7}' >>"$w/tm"
refuses 'metrics that make no sense' 1 'tm: line 4: .*dead' ev $small --train-metrics "$w/tm" <"$tok"
refuses 'a prompt without text' 1 'tm: line 1: .*text' ev $small --prompts "$w/tm" <"$tok"
if ev $small --gen-tokens 5 --generate 'one <bos>' --prompts <(echo '{"text":"two"}') <"$tok" |
   jq -e '[.generations[] | .prompt, (.original, .replaced | .ids | length), .same_tokens >= 0] ==
	["one <bos>", 5, 5, true, "two", 5, 5, true]' >/dev/null
then ok 'generations'; else not 'generations'; fi
exit $rc
