#!/bin/bash
# How training scales: tctrain's tokens/s over expansion, k, layers and threads,
# each beside the first of its table. What a table does not vary: layer 15,
# expansion 8, k 32, all threads. TOKENS: of each run.
set -u
# shellcheck source=tests/lib/trainbench.sh
. "${ROOT:=$PWD}/tests/lib/trainbench.sh"
train_begin
tokens=${TOKENS:-8192}
table() {	# NAME UNIT, then for each row: VALUE LAYERS EXPANSION K THREADS
	local name=$1 unit=$2 first='' base a
	shift 2
	while [ $# -ge 5 ]; do
		a=$(train_rate "$2" "$tokens" "$3" "$4" "$5") || { echo '# tctrain failed'; sed 's/^/# /' "$scratch/err"; exit 1; }
		: "${first:=$a}" "${base:=$unit $1}"
		line "scale.$name $1" "$a tok/s" "$first tok/s" "$(awk "BEGIN { printf \"%.2f\", $a / $first }")" - "$base"
		shift 5
	done
}
t=$threads
table width expansion 8 15 8 32 "$t"  16 15 16 32 "$t"  32 15 32 32 "$t"
table k k 16 15 8 16 "$t"  32 15 8 32 "$t"  64 15 8 64 "$t"  128 15 8 128 "$t"
table layers layers 1 29 8 32 "$t"  5 25-29 8 32 "$t"  15 15-29 8 32 "$t"  30 all 8 32 "$t"
row=()
for ((n = 1; n <= t; n *= 2)); do row+=("$n" all 8 32 "$n"); done
table threads threads "${row[@]}"
