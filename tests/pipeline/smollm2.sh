#!/bin/bash
# smollm2.sh: a real model through phase 2, two layers and a few thousand tokens.
. "$(dirname "$0")/../lib/pipeline.sh"
gguf=$(tests/lib/smollm2.sh 2>"$S/log") || { sed 's/^/# /' "$S/log"; not "SmolLM2 can be fetched"; exit 1; }
gym=$(tests/lib/pypi.sh reasoning-gym==0.1.25 7f17a3eddb13c015d7d4a755ed576a061df889faf9468bcc2cca334ebe9e0435) || exit 1
python3 pipelines/corpus/reasoning.py --package "$gym" --bytes 60000 >"$S/docs.jsonl"
D=$S/smollm2-135m/quick
run "$S" RELEASE_DIR=pipelines/releases RELEASE=smollm2-135m MODEL="file:$gguf" MODEL_SHA256= CORPUS=file HELD=0.2 \
	LAYER_PARTS=9,20 TOKENS=6k BATCH=512 EXPANSION=2 K=16 FVU_TOKENS=2k CE_TOKENS=1k ABLATION_TOKENS=512 >"$S/log" 2>&1 ||
	{ tail -n 5 "$S/log" | sed 's/^/# /'; not "phase 2 of SmolLM2"; exit 1; }
ok "phase 2 of SmolLM2"
check "the unchanged model predicts" jq -e '.base.ce > 0.5 and .base.ce < 3' "$D/eval.json"
check "transcoders of two layers, better than nothing in their place" jq -e \
	'[.layers[].layer] == [9, 20] and all(.layers[]; .fvu < 0.8 and .ce_increase < .mean_ce_increase)' "$D/eval.json"
check "the model speaks" jq -e '.generations[2].original.text | test("Paris")' "$D/eval.json"
check "plots are pictures" bash -c 'for f in loss latents ce; do [ "$(head -c 4 "$1/$f.png" | tail -c 3)" = PNG ] || exit 1; done' - "$D"

# --precision q8: stored and fused the same, whatever the threads, and near f32
train() { "$BIN/tctrain" -x 1 -k 16 -b 256 -n 1024 --skip 1 --start-tokens 256 --end-tokens 0 --seed 3 --out "$S/$1" --metrics "$S/$1.jsonl" "${@:2}"; }
fused() { train "$1" --model "$gguf" --layers 9 --precision "$1" <"$D/train.tok"; }
stored() {
	"$BIN/actdump" --model "$gguf" --layers 9 --skip 1 --dtype f32 --precision q8 --threads 1 <"$D/train.tok" |
		train stored --precision q8 && same q8 stored
}
same() { cmp "$S/$1/layers.9.mlp/sae.safetensors" "$S/$2/layers.9.mlp/sae.safetensors"; }
rounds() { grep -qw avx2 /proc/cpuinfo && ! grep -qw amx_tile /proc/cpuinfo; }	# AMX, where one may use it, does better
check "trains on the model in f32 and in q8" eval 'fused f32 && fused q8'
check "which it takes by itself where that is faster" eval 'train auto --model "$gguf" --layers 9 <"$D/train.tok" && { same auto q8 || { ! rounds && same auto f32; }; }'
check "q8: stored and fused give the same bytes" stored
check "q8: an error near f32's, not the same" jq -n --slurpfile a "$S/f32.jsonl" --slurpfile b "$S/q8.jsonl" -e \
	'[$a, $b] | map(.[-1].fvu) | .[0] != .[1] and (.[0] - .[1] | fabs) < 0.01'
exit $rc
