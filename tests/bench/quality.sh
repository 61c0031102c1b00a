#!/bin/bash
# Quality of training: transcoders of layers 1, 15 and 27 of SmolLM2-135M, k 32,
# trained on the same 131,072 tokens of prose in rows of 256 and judged on the
# same 16,384 held out, by recipe r1 and variations of it and by sparsify's (tctrain
# --recipe sparsify follows that program's own loss to 2e-5; tests/unit/
# test_train_sparsify.c). Not part of `make bench`: all cells take an hour or two.
#
#   tests/bench/quality.sh [CELL]...      those cells; none: all
#   make quality [CELLS='r1.x8 ...']      the same
#   DIR=FOLDER                            keeps corpus, activations, results.tsv;
#                                         cells that stand there are not redone
#   CE_TOKENS=4k                          tokens for cross-entropy
#   LAYERS=1,15,27                        which of these
#   R1_THREADS=N                          threads
#
# Output: cell, layer, FVU, % of the latents silent on the held-out tokens, CE
# increase and its standard error, KL (nats/token), L0.
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 1
: "${BIN:=$PWD/bin}"
export PATH=$BIN:$PATH
dir=${DIR:-$(mktemp -d)}
mkdir -p "$dir" && dir=$(cd "$dir" && pwd) || exit 1
[ "${DIR-}" ] || trap 'rm -rf "$dir"' EXIT

# name, then what tctrain is told
cells() {
	local x n
	for x in 8 16 32; do
		echo "r1.x$x -x $x"
		# what r1 began as
		echo "prototype.x$x -x $x --lr 1e-3 --decay 0.2 --dec-rate 0 --row-norm 1 --near 0 --raise 0 --end-tokens 0"
		echo "signum.x$x -x $x --recipe sparsify"
		echo "signum.b1024.x$x -x $x --recipe sparsify -b 1024"
		for n in 0.5 2 3 4 6; do
			echo "signum.rate$n.x$x -x $x --recipe sparsify --lr $(awk "BEGIN { print $n * 0.005 / sqrt($x * 576 / 16384) }")"
		done
		for n in 1e-3 3e-3 6e-3 12e-3; do
			echo "adam$n.x$x -x $x --recipe sparsify --optimizer adam --lr $n --warmup 12 --decay 0.2"
		done
	done
	cat <<'CELLS'
no-end -x 8 --end-tokens 0
no-raise -x 8 --raise 0
resample -x 8 --raise 0 --resample 16384
auxk -x 8 --raise 0 --auxk-alpha 0.03 --dead-tokens 16384
multi-topk -x 8 --multi-topk
k-anneal -x 8 --k-anneal 64
batchtopk -x 8 --variant batchtopk
jumprelu -x 8 --variant jumprelu
adam-decoder -x 8 --dec-rate 0
lr.half -x 8 --lr 1e-3
lr.twice -x 8 --lr 4e-3
decay.fifth -x 8 --decay 0.2
decay.all -x 8 --decay 1
batch.256 -x 8 -b 256
batch.1024 -x 8 -b 1024
signum -x 8 --optimizer signum --lr 2e-3
start.32k -x 8 --start-tokens 32768
end.32k -x 8 --end-tokens 32768 --end-ridge 5000
end.64k -x 8 --end-tokens 65536 --end-ridge 5000
end.ridge1250 -x 8 --end-ridge 1250
end.ridge2500 -x 8 --end-ridge 2500
end.ridge5000 -x 8 --end-ridge 5000
skip.all -x 8 --skip-every 1
skip.8th -x 8 --skip-every 8
skip.4th.no-end -x 8 --skip-every 4 --end-tokens 0
no-skip -x 8 --no-skip
sae -x 8 --sae
CELLS
}

prepare() {
	local deb
	model=$(tests/lib/smollm2.sh) || { echo '# no SmolLM2' >&2; exit 1; }
	[ -s "$dir/train.act" ] && return
	deb=$(pipelines/corpus/deb.sh "$BIN/r1fetch" debian-handbook=11.20220922 \
		3d5dbeac1f1afc9c094eab9d0f701f6ecff99c4927d5a4794cf6c85678134faa) || exit 1
	python3 pipelines/corpus/prose.py --bytes 3000000 "$deb" >"$dir/corpus.jsonl" &&
	for part in 'train 133120' 'held 16640'; do
		qtok -t "$model" --ctx 256 --shuffle --seed 1 --held 0.12 --part "${part% *}" -n "${part#* }" \
			<"$dir/corpus.jsonl" >"$dir/${part% *}.tok" || exit 1
	done
	actdump --model "$model" --layers 1,15,27 --raw <"$dir/train.tok" >"$dir/train.part" &&
		mv "$dir/train.part" "$dir/train.act"
}

one() {	# NAME OPTION...
	local name=$1 out=$dir/out; shift
	grep -q "^$name	" "$dir/results.tsv" 2>/dev/null && return
	rm -rf "$out"
	tctrain --layers "${LAYERS:-all}" -k 32 -b 512 -n 131072 --save-every 0 "$@" --out "$out" <"$dir/train.act" &&
	tceval --model "$model" --transcoders "$out" --ablations none --fvu-tokens 0 --ce-tokens "${CE_TOKENS:-4k}" \
		<"$dir/held.tok" | jq -r --arg n "$name" 'def r($d): . * $d | round / $d; .layers[] |
		[$n, .layer, (.fvu | r(1e4)), (.dead_share * 100 | r(100)), (.ce_increase | r(1e4)),
		(.ce_increase_se | r(1e4)), (.kl | r(1e4)), (.l0 | r(10))] | @tsv' >"$dir/cell" &&
	cat "$dir/cell" >>"$dir/results.tsv"
}

prepare
cells | while read -r name rest; do
	[[ $# = 0 || " $* " = *" $name "* ]] || continue
	# shellcheck disable=SC2086
	one "$name" $rest </dev/null || { echo "# $name failed" >&2; exit 1; }
done || exit 1
printf 'cell\tlayer\tFVU\tsilent\tCE+\t+-\tKL\tL0\n' | cat - "$dir/results.tsv" | column -t -s '	'
