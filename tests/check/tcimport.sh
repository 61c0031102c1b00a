#!/bin/bash
# tcimport.sh: what tcexport wrote for others comes back as it was, and what
# cannot be is refused. TAP.
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 1
export PATH=${BIN:-$PWD/bin}:$PATH
golden=$PWD/tests/golden
model=$golden/tiny-llama tc=$golden/tiny-llama/transcoders
w=$(mktemp -d) || exit 1
trap 'rm -rf "$w"' EXIT
rc=0
check() { local what=$1; shift; if ("$@") >"$w/check.log" 2>&1; then echo "ok tcimport: $what"; else
	tail -n 8 "$w/check.log" | sed 's/^/# /'; echo "not ok tcimport: $what"; rc=1; fi; }
# refuses WHAT EXIT PATTERN WORDS...
refuses() {
	local what=$1 want=$2 pattern=$3 got
	shift 3
	tcimport "$@" >"$w/out" 2>"$w/err"; got=$?
	check "$what" eval "cat $w/err; [ $got = $want ] && [ ! -s $w/out ] && [ \$(wc -l <$w/err) = 1 ] && grep -qE -- \"$pattern\" $w/err"
}
tests/lib/acts.py tokens 2048 <"$golden/export/ids" >"$w/tok"
ex() { local from=$1 out=$2; shift 2; tcexport --model "$model" --transcoders "$from" --tokens 0 --out "$w/$out" "$@" <"$w/tok" >"$w/$out.jsonl"; }

ex "$tc" topk --activation topk
check 'a TopK set' tcimport --in "$w/topk" --out "$w/topk.back"
# 128 latents of width 64, of which the header says a word more
check 'has the bytes it had' eval "for i in 0 1 2 3; do cmp <(tail -c 82688 $tc/layers.\$i.mlp/sae.safetensors) <(tail -c 82688 $w/topk.back/layers.\$i.mlp/sae.safetensors) && cmp $tc/layers.\$i.mlp/cfg.json $w/topk.back/layers.\$i.mlp/cfg.json || exit 1; done"

for f in circuit-tracer saelens; do
	ex "$tc" $f --format $f --thresholds latent
	check "$f" tcimport --in "$w/$f" --out "$w/$f.back" -k 8
	ex "$w/$f.back" $f.again --format $f </dev/null
	check "$f: there and back, the same files" diff -r "$w/$f" "$w/$f.again"
done
check 'both ways round the same' diff -r "$w/circuit-tracer.back" "$w/saelens.back"
python3 -c 'import json, sys
lines = list(map(json.loads, sys.stdin)); n = sum(map(len, lines)) // 2; at = 0
for ids in lines:
    if at >= n: print(json.dumps(ids))
    at += len(ids)' <"$golden/export/ids" | tests/lib/acts.py tokens 2048 >"$w/second"
check "tceval says of it what tcexport said" eval "tceval --model $model --transcoders $w/saelens.back --fvu-tokens 0 --ce-tokens 40 --ablations none --outlier 0 <$w/second |
	jq -e --slurpfile a $w/saelens.jsonl '[[.layers[] | .fvu, .l0], [\$a[] | .fvu, .l0]] | transpose | all((.[0] - .[1] | fabs) < 1e-5)'"

# Of k 1 some tokens have more than 4 latents above the threshold: tcexport counts
# them all, as others will; so do those who read them here, whatever the k.
cp -r "$tc" "$w/one"; chmod -R u+w "$w/one"
for i in 0 1 2 3; do jq -c '.k = 1' "$tc/layers.$i.mlp/cfg.json" >"$w/one/layers.$i.mlp/cfg.json"; done
ex "$w/one" one.ct
says() { tcimport --in "$w/one.ct" --out "$w/one.back" -k $1 && tceval --model "$model" --transcoders "$w/one.back" --fvu-tokens 0 --ce-tokens 40 --ablations none --outlier 0 <"$w/second" |
	jq -e --slurpfile a "$w/one.ct.jsonl" '[[.layers[] | .fvu, .l0], [$a[] | .fvu, .l0]] | transpose | all((.[0] - .[1] | fabs) < 1e-5)'; }
check 'tcexport counts every latent above its threshold' says 32
check 'a small k here cuts none' says 1

tctrain --model "$model" --latents 64 -k 4 -b 64 --start-tokens 64 -n 512 --sae --variant jumprelu --out "$w/sae" <"$w/tok" 2>/dev/null
ex "$w/sae" sae.lens --format saelens </dev/null
check 'an autoencoder' eval "tcimport --in $w/sae.lens --out $w/sae.back -k 4 && for f in sae thresholds; do cmp $w/sae/layers.1.mlp/\$f.safetensors $w/sae.back/layers.1.mlp/\$f.safetensors || exit 1; done && jq -e '.transcode == false' $w/sae.back/layers.1.mlp/cfg.json"

# ReLU: no threshold in the files
mkdir "$w/relu"; cp "$w/topk"/layer_* "$w/relu"; grep -v 'activation\|^k' "$w/topk/config.yaml" >"$w/relu/config.yaml"
check 'ReLU: thresholds as good as 0' eval "tcimport --in $w/relu --out $w/relu.back -k 32 && tceval --model $model --transcoders $w/relu.back --fvu-tokens 0 --ce-tokens 40 --ablations none --outlier 0 <$w/second |
	jq -e --slurpfile a $golden/export/tiny-llama.json '[[.layers[] | .fvu, .l0], [\$a[0][\"circuit-tracer\"].topk_from_a_folder.layers[] | .fvu, .l0]] | transpose | all((.[0] - .[1] | fabs) < 1e-4 * .[1])'"

refuses 'no --in' 2 '--in is missing' --out x
refuses 'k that is not known' 1 'layer_0.safetensors: .*-k must' --in "$w/circuit-tracer" --out "$w/x"
refuses 'nothing there' 1 'holds no layer_N' --in "$tc" --out "$w/x"
refuses 'no folder' 1 "$w/none" --in "$w/none" --out "$w/x"
# spoil NAME FILE: a copy of the TopK set to spoil
spoil() { rm -rf "$w/bad"; cp -r "$w/${1:-topk}" "$w/bad"; }
spoil; echo 'activation: topk' >"$w/bad/config.yaml"
refuses 'TopK without k' 1 'config.yaml: activation topk without a k' --in "$w/bad" --out "$w/x"
spoil; sed -i 's/^k: .*/k: 8x/' "$w/bad/config.yaml"
refuses 'a k that is no number' 1 'without a k' --in "$w/bad" --out "$w/x"
spoil; sed -i 's/^k: .*/k: 1000/' "$w/bad/config.yaml"
refuses 'a k above the latents' 1 '128 latents, k 1000' --in "$w/bad" --out "$w/x"
spoil; sed -i 's/transcoder_set/cross_layer_transcoder/' "$w/bad/config.yaml"
refuses 'another kind' 1 'a cross_layer_transcoder' --in "$w/bad" --out "$w/x"
spoil; truncate -s -100 "$w/bad/layer_2.safetensors"
refuses 'a file cut short' 1 'layer_2.safetensors' --in "$w/bad" --out "$w/x"
spoil; printf '\000\000\300\177' | dd of="$w/bad/layer_1.safetensors" bs=1 conv=notrunc status=none seek=$(($(stat -c %s "$w/bad/layer_1.safetensors") - 64))
refuses 'a value that is none' 1 'layer_1.safetensors: .* is not finite' --in "$w/bad" --out "$w/x"
spoil; sed -i 's/"b_enc"/"b_abc"/' "$w/bad/layer_3.safetensors"
refuses 'a tensor that is not there' 1 'layer_3.safetensors: .*b_enc' --in "$w/bad" --out "$w/x"
spoil saelens; jq '.architecture = "topk"' "$w/saelens/layer_1/cfg.json" >"$w/bad/layer_1/cfg.json"
refuses 'another architecture' 1 'layer_1/cfg.json: architecture is topk' --in "$w/bad" --out "$w/x" -k 8
spoil saelens; jq '.normalize_activations = "layer_norm"' "$w/saelens/layer_1/cfg.json" >"$w/bad/layer_1/cfg.json"
refuses 'normalised inputs' 1 'normalize_activations is layer_norm' --in "$w/bad" --out "$w/x" -k 8
touch "$w/file"
refuses 'a folder that cannot be' 1 "$w/file" --in "$w/topk" --out "$w/file/x"
exit $rc
