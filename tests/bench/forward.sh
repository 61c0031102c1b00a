#!/bin/bash
# forward.sh: SmolLM2's forward pass, 16 sequences of 256 tokens and 4 of 1024:
# tokens a second against transformers f32, and GFLOP/s of its linear layers
# against BLAS' own sgemm, all on R1_BENCH_THREADS threads (default 2) and in
# turn; medians of R1_BENCH_ROUNDS rounds (default 5, one more to warm up).
set -u
cd "$(dirname "$0")/../.." || exit 1
threads=${R1_BENCH_THREADS:-2} rounds=${R1_BENCH_ROUNDS:-5}
model=$(tests/lib/smollm2.sh) || { echo "# forward: no model"; exit 0; }
. tests/lib/median.sh
line() {	# NAME OURS THEIRS GOAL WHAT
	awk -v n="$1" -v o="$2" -v t="$3" -v g="$4" -v w="$5" \
		'BEGIN { printf "%s\t%.0f\t%.0f\t%.2f\t%s\t%s\n", n, o, t, o / t, g, w }'
}

scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"; kill $(jobs -p) 2>/dev/null' EXIT
# begin NAME COMMAND...: a peer that answers one line to each it is sent
begin() {
	local name=$1; shift
	mkfifo "$scratch/$name.in" "$scratch/$name.out"
	"$@" <"$scratch/$name.in" >"$scratch/$name.out" 2>/dev/null &
}

for shape in '16 256' '4 1024'; do
	set -- $shape
	rm -f "$scratch"/*
	begin ours "${BUILD:-build}/bench/forward" "$model" "$threads" "$1" "$2"
	exec 5>"$scratch/ours.in" 6<"$scratch/ours.out"
	if [ "${ORACLE_PYTHON-}" ]; then
		begin hf "$ORACLE_PYTHON" tests/bench/forward_hf.py "$model" \
			"$threads" "$1" "$2" 5>&- 6<&-
		exec 7>"$scratch/hf.in" 8<"$scratch/hf.out"
	fi
	for ((i = 0; i <= rounds; i++)); do
		echo >&5; read -r result <&6 || exit 1
		[ $i = 0 ] || echo "$result" >>"$scratch/ours"
		[ "${ORACLE_PYTHON-}" ] || continue
		echo >&7; read -r result <&8 || exit 1
		[ $i = 0 ] || echo "$result" >>"$scratch/hf"
	done
	exec 5>&- 6<&- 7>&- 8<&-
	wait
	field() { cut -d' ' -f"$1" "$scratch/ours" | median; }
	rate() { awk -v n=$(($1 * $2)) -v s="$3" 'BEGIN { print n / s }'; }
	line "forward-sgemm-$2" "$(field 2)" "$(field 3)" 0.85 \
		"GFLOP/s: linear layers over the pass, beside sgemm"
	if [ "${ORACLE_PYTHON-}" ]; then
		line "forward-$2" "$(rate "$1" "$2" "$(field 1)")" \
			"$(rate "$1" "$2" "$(median <"$scratch/hf")")" 1.15 \
			"tokens/s: transformers f32, $threads threads"
	else
		echo "# forward-$2: $(rate "$1" "$2" "$(field 1)") tokens/s;" \
			"no ORACLE_PYTHON, no peer"
	fi
done
