#!/bin/bash
# actdump on tiny models: values against transformers', what its options do to
# the records, and what it refuses. TAP on stdout.
set -u
cd "$(dirname "$0")/../.." || exit 1
golden=$PWD/tests/golden acts=$PWD/tests/lib/acts.py
export PATH=${BIN:-$PWD/bin}:$PATH
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
rc=0
check() { if (set -o pipefail; eval "$2"); then echo "ok actdump: $1"; else echo "not ok actdump: $1"; rc=1; fi; }
# refuses NAME EXIT TEXT ARGUMENT...: stdin t.tok
refuses() {
	local name=$1 code=$2 text=$3; shift 3
	actdump "$@" <t.tok >out 2>err
	check "$name" "[ $? = $code ] && [ \$(wc -l <err) -le 2 ] && grep -qF -- '$text' err" ||
		sed 's/^/# /' err
}

for m in tiny-llama tiny-qwen2 tiny-qwen3 tiny-llama-linear; do
	$acts golden $golden/$m | $acts tokens >t.tok
	for d in f32:1e-4 f16:6e-4 bf16:4e-3; do
		check "$m ${d%:*} equals transformers" \
			"actdump --model $golden/$m --dtype ${d%:*} <t.tok | $acts compare $golden/$m ${d#*:} >/dev/null"
	done
done

m=$golden/tiny-llama
n_all=0
for i in $(seq 0 19); do
	n_all=$((n_all + i * 7 % 31 + 1))
	echo "[$(seq -s, $((i + 1)) $((i * 7 % 31 + i + 1)))]" >>lists
done
$acts tokens <lists >t.tok
actdump --model $m --raw <t.tok >all
check "bf16 is the default, every layer is there" \
	"$acts show <all | sed -n 1p | jq -e '.dtype == \"bf16\" and .layers == [0,1,2,3] and .site == \"mlp\" and .d_in == 64 and (.model | length) == 64' >/dev/null"
check "every position is there once" \
	"[ \$($acts show <all | tail -n +2 | awk -F'|' '{ n += split(\$2, a, \" \") } END { print n }') = $n_all ]"
for n in 1 2 3 5; do
	actdump --model $m --threads $n <t.tok >t$n
done
check "equal bytes for 1, 2, 3 and 5 threads" "[ -s t1 ] && cmp t1 t2 && cmp t1 t3 && cmp t1 t5"
check "--raw holds the same" "[ -s all ] && cmp <($acts show <all) <($acts show <t1)"
actdump --model $m --layers 1,3 --raw <t.tok >two
check "--layers takes a subset" "$acts show <two | sed -n 1p | jq -e '.layers == [1,3]' >/dev/null"
actdump --model $m --skip 3 --max-tokens 50 <t.tok >some
check "--skip and --max-tokens" "$acts show <some | tail -n +2 | awk -F'|' '{ k = split(\$1, a, \" \"); if (a[2] < 3) bad = 1; n += k - 1 } END { exit bad || n != 50 }'"
for i in 0 1 2; do actdump --model $m --shard $i/3 <t.tok >shard$i; done
check "shards are the whole, and concatenate" \
	"[ -s shard2 ] && cmp <(cat shard0 shard1 shard2 | $acts show | tail -n +2 | sort) <($acts show <all | tail -n +2 | sort)"
actdump --model $m --metrics 3 <t.tok >/dev/null 3>metrics
check "metrics are JSON lines" "jq -es 'length > 0 and .[-1].tokens_per_s > 0 and .[-1].sequences == 20' metrics >/dev/null"
echo "[$(seq -s, 0 499),$(seq -s, 1 12)]" | $acts tokens >long.tok
actdump --model $m --batch 16 --dtype f32 <long.tok >big
check "a sequence above --batch runs whole, records stay small" \
	"$acts show <big | grep -q ' 511 |' && cmp <($acts show <big) <(actdump --model $m --dtype f32 <long.tok | $acts show)"

refuses "no model" 2 '--model is missing'
refuses "no such model" 1 'none: No such file' --model none
refuses "a bad shard" 2 'wanted I/N' --model $m --shard 3/3
refuses "a layer too many" 2 '--layers' --model $m --layers 0-4
refuses "an unknown dtype" 2 'dtype' --model $m --dtype f64
printf '[1, 2]\n[5, 512]\n' | $acts tokens >t.tok
refuses "an id outside the vocabulary" 1 'record 2 at byte' --model $m
echo "[$(seq -s, 0 499),$(seq -s, 1 13)]" | $acts tokens 600 >t.tok
refuses "a sequence above the model's context" 1 '513 tokens, the model takes 512' --model $m
head -c 100 long.tok >t.tok
refuses "a stream cut short" 1 'record' --model $m
: >t.tok
refuses "an empty stream" 1 'empty' --model $m
echo '[1, 2]' | $acts tokens >t.tok
check "a full disk is an error" "! actdump --model $m <t.tok 2>err >/dev/full && grep -q 'No space' err"
exit $rc
