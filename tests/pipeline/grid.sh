#!/bin/bash
# grid.sh: tctrain --grid: many runs on one stream come out as they do alone,
# also when killed. TAP on stdout.
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 1
golden=$PWD/tests/golden acts=$PWD/tests/lib/acts.py
export PATH=${BIN:-$PWD/bin}:$PATH
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
rc=0
check() { if (eval "$2") >check.log 2>&1; then echo "ok grid: $1"; else
	tail -n 8 check.log | sed 's/^/# /'; echo "not ok grid: $1"; rc=1; fi; }
# refuses NAME EXIT TEXT: with the grid on stdin; one line on stderr, or two and --help
refuses() {
	local got
	cat >bad.grid
	tctrain $common --grid bad.grid <t.tok >out 2>err; got=$?
	check "$1" "cat err; [ $got = $2 ] && grep -qF -- '$3' err"
}
weights() { (cd "$1" && find layers.* config.json -type f | sort | xargs sha256sum); }
curve() { jq -c 'del(.time)' "$1"; }
same() { cmp <(weights "$1") <(weights "$2") && [ -s "$1.jsonl" ] && cmp <(curve "$1.jsonl") <(curve "$2.jsonl"); }

for i in 1 2 3 4 5; do cat $golden/export/ids; done | $acts tokens >t.tok
m=$golden/tiny-llama
common="--model $m --layers 1,3 -k 6 -b 100 -x 4 --start-tokens 300 --warmup 3 --seed 7 --save-every 5 -n 4000"
# what differs: width and k, rate, batch and length, recipe and seed, kind
cat >lines <<'END'
--out wide -x 8 -k 9
--out fast --lr 3e-3 --no-skip

# rows of another length go to another batch
--out short -n 1100 -b 64 --start-tokens 128
	--out other   --recipe sparsify --seed 8
--out sae --sae
--out jump --variant jumprelu
END
names=$(sed -n 's/.*--out \([a-z]*\).*/\1/p' lines | tr '\n' ' ')
sed 's/--out \([a-z]*\)/--out g.\1 --metrics g.\1.jsonl/' lines >grid
tctrain $common --grid grid <t.tok
actdump --model $m --dtype f32 --layers 1,3 <t.tok >a.act
sed 's/--out \([a-z]*\)/--out s.\1 --metrics s.\1.jsonl/' lines >stored
tctrain ${common#--model $m } --grid stored <a.act
for n in $names; do
	words=$(grep -- "--out $n" lines)
	tctrain $common $words --metrics $n.jsonl <t.tok
	check "$n: the bytes it has alone" "same $n g.$n"
	check "$n: from stored activations too" "same $n s.$n"
done
check 'six runs' "[ \$(echo $names | wc -w) = 6 ]"
check 'each says its own pace' "jq -se 'all(.time.own_tokens_per_s > 0)' g.wide.jsonl"
for k in 1 3; do
	sed "s/g\\./t$k./g" grid >grid.t
	tctrain $common --threads $k --grid grid.t <t.tok
done
check 'threads change nothing' "for n in $names; do same t1.\$n t3.\$n || exit 1; done"

# Killed anywhere, each run goes on from where it was; those at their ends stay.
sed 's/g\./k./g; s/$/ --resume/; /^[ \t]*$/d; /#/d; s/^ --resume$//' grid >killed
tries=0 hits=0
while [ $tries -lt 8 ]; do
	tries=$((tries + 1))
	tctrain $common --threads 1 --grid killed <t.tok 2>/dev/null &
	pid=$!
	sleep "0.$((tries % 4 + 1))$((RANDOM % 10))"
	kill -9 $pid 2>/dev/null && hits=$((hits + 1))
	wait $pid 2>/dev/null && break
done
tctrain $common --grid killed <t.tok
check "kill -9 at $hits moments" "[ $hits -ge 1 ] && for n in $names; do same \$n k.\$n || exit 1; done"
tctrain $common --grid killed <t.tok
check 'a finished grid stays as it is' "for n in $names; do same \$n k.\$n || exit 1; done"
echo '--out k.new --metrics k.new.jsonl --resume --lr 2e-3' >>killed
tctrain $common --grid killed <t.tok
check 'a new line trains that run alone' "tctrain $common --lr 2e-3 --out new --metrics new.jsonl <t.tok && same new k.new && same wide k.wide"

sed 's/g\./q./g' grid >quit
rm -rf q.*; tctrain $common --grid quit <t.tok 2>err &
pid=$!
until [ -s q.short.jsonl ]; do kill -0 $pid || break; sleep 0.01; done
kill -TERM $pid; wait $pid; got=$?
check 'SIGTERM: saved, exit 75' "cat err; [ $got = 75 ] && grep -q 'of 6 runs are saved' err"

head -n 20 $golden/export/ids | $acts tokens >few.tok
tctrain $common --grid grid <few.tok 2>err; got=$?
check 'a stream too short for some: named, the others are written' \
	"cat err; [ $got = 1 ] && grep -q 'g.wide: the stream ended' err && [ \$(wc -l <err) = 1 ]"

refuses 'another model' 2 'line 2: --model is for all runs' <<<$'--out a\n--out b --model x'
refuses 'other layers' 2 'line 1: --layers is for all runs' <<<'--out a --layers 0'
refuses 'no folder' 2 'line 1: --out is missing' <<<'-x 3'
refuses 'one folder twice' 1 'a: two runs write there' <<<$'--out a\n--out a -x 3'
refuses 'one file of metrics twice' 1 'm: two runs write there' <<<$'--out a --metrics m\n--out b --metrics m'
refuses 'no run' 1 'names no run' <<<'# nothing'
refuses 'an option that is none' 2 '--nonsense' <<<'--out a --nonsense'
refuses 'what cannot be, with the run it is in' 1 'b: ' <<<$'--out a\n--out b -k 256 -x 4'
tctrain $common --grid nowhere <t.tok 2>err
check 'no file' 'grep -q nowhere: err'
exit $rc
