#!/bin/bash
# tctrain on a tiny model: stored and fused training agree, kills and signals
# lose nothing, faults are told clearly. TAP on stdout.
set -u
cd "$(dirname "$0")/../.." || exit 1
golden=$PWD/tests/golden lib=$PWD/tests/lib acts=$PWD/tests/lib/acts.py
export PATH=${BIN:-$PWD/bin}:$PATH
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
rc=0
check() { if (set -o pipefail; eval "$2"); then echo "ok tctrain: $1"; else echo "not ok tctrain: $1"; rc=1; fi; }
tool=tctrain
. "$lib/train.sh"

language 300 >lists
$acts tokens <lists >t.tok
m=$golden/tiny-llama
opt="-x 4 -k 6 --batch 100 --start-tokens 1000 --warmup 3 --seed 7"
n=10000

# ---- stored and fused --------------------------------------------------------
for recipe in r1 sparsify; do
	tctrain --model $m $opt --recipe $recipe -n $n --out fused.$recipe --metrics fused.$recipe.jsonl <t.tok
	actdump --model $m --dtype f32 <t.tok | tctrain $opt --recipe $recipe -n $n --out stored.$recipe --metrics stored.$recipe.jsonl
	check "$recipe: stored f32 and fused give the same bytes" "same fused.$recipe stored.$recipe"
	check "$recipe: and the same curve" "[ -s fused.$recipe.jsonl ] && cmp <(curve fused.$recipe.jsonl) <(curve stored.$recipe.jsonl)"
done
check "--metrics - is standard output" \
	"tctrain --model $m $opt -n $n --out piped --metrics - <t.tok >piped.jsonl && [ ! -e ./- ] && cmp <(curve piped.jsonl) <(curve fused.r1.jsonl)"
check "a line for each step and layer" "[ \$(wc -l <fused.r1.jsonl) = 400 ]"
check "metrics name what they should" \
	"head -n 1 fused.r1.jsonl | jq -e '(keys | sort) == [\"dead\",\"fvu\",\"l0\",\"layer\",\"loss\",\"lr\",\"outlier_share\",\"outliers\",\"silent\",\"step\",\"time\",\"tokens\"]' >/dev/null"
# Least squares fits the start's rows too well: compare with steps after them.
learns="jq -se '[.[] | select(.layer == 0) | .fvu] | (.[-5:] | add) < 0.95 * (.[11:16] | add)'"
check "it learns" "$learns fused.r1.jsonl >/dev/null"
actdump --model $m <t.tok | tctrain $opt -n $n --out bf16 --metrics bf16.jsonl
check "stored bf16 is close" \
	"jq -s 'map(.fvu)' bf16.jsonl fused.r1.jsonl >/dev/null && jq -n --slurpfile a bf16.jsonl --slurpfile b fused.r1.jsonl -e '[range(\$a | length) | (\$a[.].fvu - \$b[.].fvu) | fabs] | max < 0.05' >/dev/null"
for k in 1 3; do
	tctrain --model $m $opt -n $n --threads $k --out t$k --metrics t$k.jsonl <t.tok
	check "--threads $k changes no byte" "same fused.r1 t$k && cmp <(curve fused.r1.jsonl) <(curve t$k.jsonl)"
done
tctrain --model $m $opt -n $n --layers 1,3 --out two <t.tok
check "--layers trains those alone, the same" \
	"[ \"\$(ls -d two/layers.*)\" = 'two/layers.1.mlp
two/layers.3.mlp' ] && cmp two/layers.3.mlp/sae.safetensors fused.r1/layers.3.mlp/sae.safetensors"
actdump --model $m --dtype f32 <t.tok | tctrain $opt --layers 3 -n $n --out one
check "--layers of a stored stream" "cmp one/layers.3.mlp/sae.safetensors fused.r1/layers.3.mlp/sae.safetensors"
check "no state is left when done" "[ \"\$(ls fused.r1/state)\" = manifest.json ]"
cp -r fused.r1 again; cp fused.r1.jsonl again.jsonl
tctrain --model $m $opt -n $n --resume --out again --metrics again.jsonl <t.tok
check "--resume of a finished run changes nothing" "diff -r fused.r1 again && cmp fused.r1.jsonl again.jsonl"
for flags in --no-skip --sae '--sae --normalize-decoder' '--auxk-alpha 0.03 --dead-tokens 500' --multi-topk '--optimizer signum' '--recipe sparsify --optimizer adam --sae' \
	'--variant batchtopk' '--variant jumprelu' '--variant jumprelu --sae' '--variant batchtopk --recipe sparsify --k-anneal 50'; do
	rm -rf v
	check "trains with $flags" \
		"tctrain --model $m $opt --layers 0 -n $n $flags --out v --metrics v.jsonl <t.tok && $learns v.jsonl >/dev/null"
done
tctrain --model $m $opt --layers 0-1 -n 2000 --init fused.r1 --lr 1e-6 --out init --metrics init.jsonl <t.tok
check "--init goes on from given weights" \
	"jq -n --slurpfile a init.jsonl --slurpfile b fused.r1.jsonl -e '\$a[0].fvu < 1.3 * \$b[-4].fvu' >/dev/null"

# ---- variants ------------------------------------------------------------------
for v in batchtopk jumprelu; do
	tctrain --model $m $opt --layers 1,3 -n $n --variant $v --threads 1 --out $v --metrics $v.jsonl <t.tok
	tctrain --model $m $opt --layers 1,3 -n $n --variant $v --threads 3 --out $v.3 <t.tok
	check "$v: --threads changes no byte" "same $v $v.3"
	check "$v: says so and keeps thresholds" \
		"[ \$(jq -r '.activation + .variant' $v/layers.1.mlp/cfg.json) = topk$v ] && [ -s $v/layers.1.mlp/thresholds.safetensors ] && jq -se 'all(.threshold > 0)' $v.jsonl >/dev/null"
	check "$v: tceval has about k active, and with -k no more than that" \
		"tceval --model $m --transcoders $v --ablations none <t.tok | jq -e '.layers | all(.l0 > 4.5 and .l0 < 7.5)' >/dev/null &&
		 tceval --model $m --transcoders $v --ablations none -k 2 <t.tok | jq -e '.layers | all(.l0 <= 2)' >/dev/null"
	tctrain --model $m $opt --layers 1,3 -n $n --variant $v --save-every 7 --out $v.r --metrics $v.r.jsonl <t.tok 2>/dev/null &
	pid=$!
	until [ -e $v.r/state/manifest.json ]; do kill -0 $pid || break; sleep 0.01; done
	kill -9 $pid; wait $pid 2>/dev/null
	tctrain --model $m $opt --layers 1,3 -n $n --variant $v --save-every 7 --resume --out $v.r --metrics $v.r.jsonl <t.tok
	check "$v: killed and resumed to the same bytes" "same $v $v.r && cmp <(curve $v.jsonl) <(curve $v.r.jsonl)"
done
tctrain --model $m $opt --layers 1,3 -n $n --out jumprelu.3 <t.tok
check "a TopK run over a variant leaves no thresholds" "[ ! -e jumprelu.3/layers.1.mlp/thresholds.safetensors ]"

# ---- kills -------------------------------------------------------------------
# A run slow enough to be hit in the middle, and saved at every step.
slow="--model $m $opt --latents 3000 -n 8000 --save-every 3"
tctrain $slow --out whole --metrics whole.jsonl <t.tok
tries=0 hits=0
while [ $tries -lt 60 ]; do
	tries=$((tries + 1))
	tctrain $slow --resume --out killed --metrics killed.jsonl <t.tok 2>/dev/null &
	pid=$!
	sleep "0.$((RANDOM % 3))$((RANDOM % 10))"
	kill -9 $pid 2>/dev/null && hits=$((hits + 1))
	wait $pid 2>/dev/null && break
done
tctrain $slow --resume --out killed --metrics killed.jsonl <t.tok
check "kill -9 at $hits moments: the bytes of an undisturbed run" "[ $hits -ge 3 ] && same whole killed"
check "and its curve, no step missing or twice" "cmp <(curve whole.jsonl) <(curve killed.jsonl)"

tctrain $slow --resume --out termed --metrics term.jsonl <t.tok 2>err &
pid=$!
until [ -s term.jsonl ]; do kill -0 $pid || break; sleep 0.02; done
kill -TERM $pid; wait $pid; got=$?
check "SIGTERM: state saved, exit 75" "[ $got = 75 ] && grep -q 'is saved' err && [ -e termed/state/manifest.json ]"
tctrain $slow --resume --out termed --metrics term.jsonl <t.tok
check "and resumed to the same bytes" "same whole termed"
check "and the same curve" "cmp <(curve whole.jsonl) <(curve term.jsonl)"

# ---- short streams, other runs ------------------------------------------------
head -n 60 lists | $acts tokens >short.tok
head -n 1 lists | $acts tokens >tiny.tok
in=short.tok
refuses "a short stream is told and saved" 1 "is saved, --resume with a longer stream" $slow --out part
in=t.tok
tctrain $slow --resume --out part <t.tok
check "and goes on with the longer one" "same whole part"
in=tiny.tok
refuses "a stream below a batch" 1 "less than a batch of 100" $slow --out nothing
rm -rf part
in=short.tok; tctrain $slow --out part <short.tok 2>/dev/null
in=t.tok
refuses "resuming with another k" 1 "has k 6, this one 7" $slow -k 7 --resume --out part
refuses "resuming with another width" 1 "latents 3000, this one 2000" $slow --latents 2000 --resume --out part
refuses "resuming with other positions" 1 "skip 1, this one is fed" $slow --skip 2 --resume --out part
refuses "resuming with another model" 1 "this one is fed" $slow --model $golden/tiny-qwen2 --resume --out part
tac lists | $acts tokens >turned.tok
in=turned.tok
refuses "resuming with other tokens" 1 "tokens are not those that part was trained on" $slow --resume --out part
in=t.tok
for f in part/state/?/layers.0.safetensors; do head -c 5000 "$f" >x; mv x "$f"; done
refuses "a damaged state" 1 "layers.0.safetensors" $slow --resume --out part
echo '{' >part/state/manifest.json
refuses "a damaged manifest" 1 "manifest.json" $slow --resume --out part

# ---- faults -------------------------------------------------------------------
refuses "no --out" 2 "--out is missing" --model $m
refuses "tokens without a model" 2 "need --model" --out x
refuses "k of all latents" 1 "k is 256 of 256 latents" --model $m -x 4 -k 256 --out x
refuses "4 k above the latents" 1 "of 256 latents" --model $m -x 4 -k 65 --multi-topk --out x
refuses "a variant with multi-TopK" 1 "does not go with batchtopk" --model $m -x 4 -k 6 --variant batchtopk --multi-topk --out x
refuses "JumpReLU with another k on the way" 1 "no k to anneal" --model $m -x 4 -k 6 --variant jumprelu --k-anneal 9 --out x
refuses "a layer that is not there" 2 "--layers" --model $m --layers 4 --out x
actdump --model $m --layers 0,2 --raw <short.tok >a.act
in=a.act
refuses "a layer that is not in the stream" 2 "1 is not in the stream" --layers 1 --out x
refuses "--tokens below --batch" 2 "less than a --batch" -n 99 -b 100 --out x
: >empty; in=empty
refuses "an empty stream" 1 "empty" --out x
head -c 60000 a.act >cut; in=cut
refuses "a cut stream" 1 "" $opt --out cut.out
python3 - a.act >nan.act <<'PY'
import sys
b = bytearray(open(sys.argv[1], "rb").read())
i = len(b) // 2
b[i:i + 6] = b"\xff" * 6
sys.stdout.buffer.write(b)
PY
in=nan.act
refuses "a NaN in the activations" 1 "layer" $opt --out nan.out
in=t.tok
touch file
refuses "a folder that cannot be" 1 "file" --model $m $opt -n 2000 --out file/x
tctrain --model $m $opt -n 8000 --save-every 40 --keep-state --out full <t.tok
cp -r full before
(trap '' XFSZ; ulimit -f 100
 tctrain --model $m $opt -n 8000 --save-every 10 --keep-state --out full <t.tok 2>err); got=$?
check "a disk that fills: told" "[ $got = 1 ] && [ \$(wc -l <err) = 1 ] && grep -q full/ err"
check "and the checkpoint before is whole" "same before full && diff before/state/manifest.json full/state/manifest.json"
exit $rc
