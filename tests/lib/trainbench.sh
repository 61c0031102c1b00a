# shellcheck shell=bash disable=SC2034
# trainbench.sh, sourced by the benchmarks of training: tctrain's rate on SmolLM2,
# Adam, BATCH (512) tokens a step, on random ids in sequences of 256. It sets model, ctx,
# threads and scratch (removed at exit); ends the benchmark without a model.
# With CPUTIME=1 rates are tokens per second of processor time over the number
# of threads, loading and saving included: for a machine that has other things to
# do. Else they are by the clock and of the second half of the tokens, a multiple of
# 2,048: memory has all been touched by then. The end, which keeps the rows of the
# last steps, is left out of both, and counted by train_whole.
: "${BIN:=$PWD/bin}" "${BUILD:=$PWD/build}" "${ROOT:=$PWD}"
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
threads=${THREADS:-$(nproc)}
ctx=256
batch=${BATCH:-512}

line() { printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$@"; }
rate() { awk "BEGIN { printf \"%.0f\", $1 / ($2) }"; }

train_begin() {	# model and tokens, at least [N]
	model=$("$ROOT/tests/lib/smollm2.sh") || { echo '# no SmolLM2: the rest is left out'; exit 0; }
	python3 - $ctx $((160 * ctx > ${1:-0} ? 160 : ($1 + ctx - 1) / ctx)) >"$scratch/lists" <<-'PY'
	import random, sys
	r = random.Random(5)
	for _ in range(int(sys.argv[2])):
	    print([r.randrange(1000, 40000) for _ in range(int(sys.argv[1]))])
	PY
	"$ROOT/tests/lib/acts.py" tokens $ctx <"$scratch/lists" >"$scratch/t.tok"
}

train_run() {	# LAYERS TOKENS EXPANSION K THREADS PRECISION OPTION...
	"$BIN/tctrain" --model "$model" --layers "$1" -x "$3" -k "$4" -b "$batch" -n "$2" --threads "$5" --precision "${6:-auto}" \
		--skip 0 --save-every 0 --out "$scratch/out" --metrics "$scratch/m" "${@:7}" <"$scratch/t.tok" 2>"$scratch/err" >&2
}

train_rate() {	# LAYERS TOKENS EXPANSION K THREADS [PRECISION] -> tokens/s
	local TIMEFORMAT='%U %S' cpu
	# steps as if there were an end
	cpu=$( { time train_run "$1" "$2" "$3" "$4" "$5" "${6-}" --start-tokens 2048 --end-tokens 0 --skip-every 4; } 2>&1) || return 1
	if [ "${CPUTIME-}" ]; then rate "$2" "(${cpu/ / + }) / $5"
	else jq -n --argjson half $(($2 / 2)) '[inputs | select(.time) | { n: .tokens, s: (.tokens / .time.tokens_per_s) }] |
		last as $z | map(select(.n == $half))[0] as $h | ($z.n - $h.n) / ($z.s - $h.s) | round' "$scratch/m"; fi
}

train_whole() {	# the same -> tokens/s from the program's start to its end, all counted
	local TIMEFORMAT='%R' wall
	wall=$( { time train_run "$@"; } 2>&1) || return 1
	rate "$2" "$wall"
}
