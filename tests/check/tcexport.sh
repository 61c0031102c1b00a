#!/bin/bash
# tcexport.sh: the files other programs load, against what those programs said
# of them when they loaded them (tests/oracle/export_oracle.py). TAP.
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 1
export PATH=${BIN:-$PWD/bin}:$PATH
golden=$PWD/tests/golden
model=$golden/tiny-llama tc=$golden/tiny-llama/transcoders
w=$(mktemp -d) || exit 1
trap 'rm -rf "$w"' EXIT
rc=0
check() { local what=$1; shift; if "$@" >"$w/check.log" 2>&1; then echo "ok tcexport: $what"; else
	tail -n 8 "$w/check.log" | sed 's/^/# /'; echo "not ok tcexport: $what"; rc=1; fi; }
# refuses WHAT EXIT PATTERN WORDS...: one line on stderr, nothing on stdout
refuses() {
	local what=$1 want=$2 pattern=$3 got
	shift 3
	tcexport --model "$model" --transcoders "$tc" "$@" <"${in:-$w/tok}" >"$w/out" 2>"$w/err"; got=$?
	check "$what" eval "[ $got = $want ] && [ ! -s $w/out ] && [ \$(wc -l <$w/err) = 1 ] && grep -qE -- \"$pattern\" $w/err || { cat $w/err; false; }"
}

tests/lib/acts.py tokens 2048 <"$golden/export/ids" >"$w/tok"
python3 -c 'import json, sys
lines = list(map(json.loads, sys.stdin)); n = sum(map(len, lines)) // 2; at = 0
for ids in lines:
    if at >= n: print(json.dumps(ids))
    at += len(ids)' <"$golden/export/ids" | tests/lib/acts.py tokens 2048 >"$w/second"
ex() { local out=$1; shift; tcexport --model "$model" --transcoders "$tc" --tokens 0 --thresholds layer --out "$w/$out" "$@" <"$w/tok" >"$w/$out.jsonl"; }
check 'circuit-tracer, thresholds' ex ct
check 'circuit-tracer, TopK' ex topk --activation topk
check 'SAELens' ex lens --format saelens
check 'a threshold each, and cross-entropy' ex each --thresholds latent --ce-tokens 200

cat >"$w/judge.py" <<'PY'
import array, json, sys
what, w = sys.argv[1:3]
want = json.load(open("tests/golden/export/tiny-llama.json"))
program, form = {"ct": ("circuit-tracer", "jumprelu"), "topk": ("circuit-tracer", "topk"),
                 "lens": ("saelens", None)}[what]
want = want[program][form] if form else want[program]

def load(path):
    with open(path, "rb") as f:
        head = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        data = f.read()
    return {k: (v["shape"], array.array("f", data[slice(*v["data_offsets"])]).tolist())
            for k, v in head.items() if k != "__metadata__"}

def turned(shape, v):
    rows, cols = shape
    return [cols, rows], [v[r * cols + c] for c in range(cols) for r in range(rows)]

lines = [json.loads(s) for s in open(f"{w}/{what}.jsonl")]
assert len(lines) == 4, lines
for i, line in enumerate(lines):
    got = load(f"{w}/lens/layer_{i}/sae_weights.safetensors" if what == "lens"
               else f"{w}/{what}/layer_{i}.safetensors")
    ours = load(f"tests/golden/tiny-llama/transcoders/layers.{i}.mlp/sae.safetensors")
    assert {k: v[0] for k, v in got.items()} == want["tensors"], sorted(got)
    enc = ours["encoder.weight"]
    assert got["W_enc"] == (turned(*enc) if what == "lens" else enc)
    assert got["b_enc"] == ours["encoder.bias"]
    for k in ("W_dec", "b_dec", "W_skip"):
        assert got[k] == ours[k], k
    if what == "topk":
        continue
    theta = got["threshold" if what == "lens" else "activation_function.threshold"][1]
    assert abs(sum(theta) / len(theta) - line["theta"]) < 1e-6 * line["theta"], (theta[:3], line)
    assert len(set(theta)) == 1
    # on half of its own text TopK has 8 active; on the other half about as many
    assert line["l0_topk"] == 8 and 7 < line["l0"] < 9, line
    for k in ("l0", "fvu"):
        assert abs(line[k] - want["layers"][i][k]) <= 1e-4 * line[k], (k, line)
PY
for f in ct topk lens; do check "$f: names, shapes, values, and L0 and FVU as that program had them" python3 "$w/judge.py" $f "$w"; done
# Under TopK each latent fires so often on the first half: as often with its own
# threshold (a tie apart), so that as many are active in all.
check 'a threshold each: thresholds differ, L0 is near k, the last line is for all' jq -se '(.[:4] | all(.l0 > 7.5 and .l0 < 8.5 and .fvu < 1.1 * .fvu_topk and .ce_increase != .ce_increase_topk)) and
	.[4].layers == 4 and .[4].ce_increase != null' "$w/each.jsonl"
check 'and are above 0' eval "python3 -c \"
import array, json
f = open('$w/each/layer_0.safetensors', 'rb'); h = json.loads(f.read(int.from_bytes(f.read(8), 'little'))); d = f.read()
t = array.array('f', d[slice(*h['activation_function.threshold']['data_offsets'])])
assert len(set(t)) > 100 and min(t) > 0, t\""
check "sparsify's own FVU of these checkpoints is tceval's" eval "tceval --model $model --transcoders $tc --fvu-tokens 0 --ce-tokens 40 --ablations none --outlier 0 <$w/tok | jq -e --slurpfile a $golden/export/tiny-llama.json '[[.layers[].fvu], [\$a[0].sparsify.layers[].fvu]] | transpose | all((.[0] - .[1] | fabs) < 1e-5)'"
check 'the same as tceval says' eval "tceval --model $model --transcoders $tc --fvu-tokens 0 --ce-tokens 40 --ablations none --outlier 0 <$w/second | jq -c '[.layers[].fvu]' >$w/fvu && jq -sc 'map(.fvu_topk)' $w/ct.jsonl | jq -e --slurpfile a $w/fvu '[. , \$a[0]] | transpose | all((.[0] - .[1] | fabs) < 1e-5)'"
cmp -s <(cat <<'END'
model_kind: transcoder_set
model_name: "tiny-llama"
feature_input_hook: mlp.hook_in
feature_output_hook: mlp.hook_out
activation: topk
k: 8
END
) "$w/topk/config.yaml" && echo 'ok tcexport: config.yaml' || { echo 'not ok tcexport: config.yaml'; rc=1; }
check 'no activation beside thresholds: a name there would undo them' eval "! grep -q activation $w/ct/config.yaml"
check 'cfg.json' jq -e '.architecture == "jumprelu_skip_transcoder" and .apply_b_dec_to_input == false and
	.metadata.hook_name_out == "blocks.3.mlp.hook_out" and .metadata.sae_lens_version == "6.0.0"' "$w/lens/layer_3/cfg.json"
ex named --activation topk --name 'a/"b"' --scan 'x: y'
check 'names are quoted' grep -qxF 'model_name: "a/\"b\""' "$w/named/config.yaml"
check '--scan' grep -qxF 'scan: "x: y"' "$w/named/config.yaml"

tests/lib/acts.py tokens 64 <"$golden/export/ids" >"$w/tok64"
for t in 1 3; do tcexport --model "$model" --transcoders "$tc" --threads $t --out "$w/t$t" <"$w/tok64" >"$w/t$t.jsonl"; done
check '--threads changes no byte' eval "diff -r $w/t1 $w/t3 && cmp $w/t1.jsonl $w/t3.jsonl"
check '--batch changes the last bits at most' eval "ex b --batch 64 && python3 $w/judge.py ct $w"

# trained with thresholds: its own are written, as they are
tctrain --model "$model" --latents 64 -k 4 -b 64 --start-tokens 64 -n 512 --variant jumprelu --out "$w/jump" <"$w/tok" 2>/dev/null
check 'thresholds that were trained' eval "tcexport --model $model --transcoders $w/jump --out $w/own </dev/null >$w/own.jsonl && [ \$(jq -s 'map(has(\"fvu\")) | any' $w/own.jsonl) = false ] &&
	cmp <(tail -c 256 $w/jump/layers.1.mlp/thresholds.safetensors) <(python3 -c \"
import json, sys
f = open('$w/own/layer_1.safetensors', 'rb'); h = json.loads(f.read(int.from_bytes(f.read(8), 'little'))); d = f.read()
sys.stdout.buffer.write(d[slice(*h['activation_function.threshold']['data_offsets'])])\")"
tc=$w/jump refuses 'thresholds as TopK' 1 'trained with thresholds' --activation topk --out "$w/x"

refuses 'no --out' 2 '--out is missing'
refuses 'SAELens with TopK' 1 'no transcoder with TopK' --format saelens --activation topk --out "$w/x"
refuses 'some layers for circuit-tracer' 1 'layer 0 is missing' --layers 1-2 --out "$w/x"
in=/dev/null refuses 'an empty stream' 1 'empty' --out "$w/x"
head -n 1 "$golden/export/ids" | tests/lib/acts.py tokens >"$w/one"
in=$w/one refuses 'too few tokens' 1 'too few tokens' --out "$w/x"
head -c 400 "$w/tok" >"$w/cut"
in=$w/cut refuses 'a cut stream' 1 'standard input' --out "$w/x"
touch "$w/file"
refuses 'a folder that cannot be' 1 "$w/file" --activation topk --out "$w/file/x"
(ulimit -f 40; trap '' XFSZ; ex full --activation topk 2>"$w/err"); got=$?
check 'a disk that fills: told, no half file' eval "[ $got = 1 ] && [ \$(wc -l <$w/err) = 1 ] && [ -z \"\$(find $w/full -type f)\" ]"
check 'a set to be overwritten' ex full --activation topk
(ulimit -f 40; trap '' XFSZ; ex full --activation topk 2>"$w/err"); got=$?
check 'is none while its layers are of two' eval "[ $got = 1 ] && [ -e $w/full/layer_0.safetensors ] && [ ! -e $w/full/config.yaml ]"
cp -r "$tc" "$w/narrow"; chmod -R u+w "$w/narrow"; jq -c '.k = 7' "$tc/layers.2.mlp/cfg.json" >"$w/narrow/layers.2.mlp/cfg.json"
tc=$w/narrow refuses 'two k in one set' 1 'layer 2 has 128 latents, k 7' --activation topk --out "$w/x"
exit $rc
