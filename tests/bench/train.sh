#!/bin/bash
# Training: the encoder's and the step's rate beside the machine's sgemm, and
# tctrain beside sparsify on SmolLM2, one layer and all of them, Adam, k 32, BATCH
# (512) tokens a step, the same threads, loading, first steps and saving not counted. CELLS
# (LAYERS:EXPANSION[:PRECISION, its default where none is given]) says which; rates are
# medians of RUNS (3), in turn with sparsify's, since machines change their speed. With
# WHOLE=N all of a run of N tokens counts, too, start and end. sparsify wants 10 GB
# for all layers at 32.
# ORACLE_PYTHON names sparsify's Python; CPUTIME=1: see tests/lib/trainbench.sh.
set -u
# shellcheck source=tests/lib/trainbench.sh
. "${ROOT:=$PWD}/tests/lib/trainbench.sh"
# shellcheck source=tests/lib/median.sh
. "$ROOT/tests/lib/median.sh"
for shape in '512 576 4608 32' '512 576 18432 32' '1024 1536 12288 64'; do
	# shellcheck disable=SC2086
	read -r product encode step < <("$BUILD/bench/encode" "$threads" $shape) || exit 1
	read -r n d lat k <<<"$shape"
	line "train.encode $lat" "$encode ms" "$product ms" \
		"$(awk "BEGIN { printf \"%.2f\", $product / $encode }")" 0.80 "its matrix product alone, $n x $d x $lat, k $k"
	line "train.step $lat" "$step ms" "$encode ms" \
		"$(awk "BEGIN { printf \"%.2f\", $encode / $step }")" - 'its encoding'
done

train_begin "${WHOLE:-0}"
python3 -c '
import json, struct, sys
for s in sys.stdin:
    v = json.loads(s)
    sys.stdout.buffer.write(struct.pack(f"<{len(v)}I", *v))' <"$scratch/lists" >"$scratch/ids"
theirs() {	# LAYERS TOKENS EXPANSION -> tokens/s
	head -c $(($2 * 4)) "$scratch/ids" >"$scratch/some"
	local n=$(($2 - batch))	# without the first step
	read -r _ wall cpu < <(cd "$scratch" && THREADS=$threads OMP_NUM_THREADS=$threads TMPDIR=$scratch "$ORACLE_PYTHON" \
		"$ROOT/tests/bench/train_sparsify.py" "$model" "$scratch/some" "$1" "$3" 32 "$batch" $ctx 2>"$scratch/log" | grep '^seconds')
	[ "${wall-}" ] || return 1
	if [ "${CPUTIME-}" ]; then rate "$n" "$cpu / $threads"; else rate "$n" "$wall"; fi
}
ratio() { awk "BEGIN { printf \"%.1f\", $1 / $2 }"; }
cells=${CELLS:-15:8 all:8 all:8:f32 all:32 all:32:f32}
# shellcheck disable=SC2086
for pair in $(printf '%s\n' $cells | cut -d: -f1,2 | awk '!seen[$0]++'); do
	IFS=: read -r layers x <<<"$pair"
	n=$([ "$layers" = all ] && echo 8192 || echo 32768)
	declare -A ours=()
	ask=${ORACLE_PYTHON-}
	peer=
	b=
	for ((i = 0; i < ${RUNS:-3}; i++)); do
		if [ "$ask" ] && ! b=$(theirs "$layers" $((batch * $([ "$layers" = all ] && echo 3 || echo 9))) "$x"); then
			echo '# sparsify failed:'
			tail -n 3 "$scratch/log" | sed 's/^/# /'
			ask=
		fi
		[ -z "$ask" ] || peer+=" $b"
		for cell in $cells; do
			IFS=: read -r l e precision <<<"$cell"
			[ "$l:$e" = "$pair" ] || continue
			a=$(train_rate "$layers" "${TOKENS:-$n}" "$x" 32 "$threads" "$precision") || { echo '# tctrain failed'; exit 1; }
			ours[$cell]+=" $a"
		done
	done
	[ -z "$ask" ] || b=$(printf '%s\n' $peer | median)
	for cell in $cells; do
		[ "${ours[$cell]-}" ] || continue
		a=$(printf '%s\n' ${ours[$cell]} | median)
		if [ -z "$ask" ]; then
			line "train.tctrain $cell" "$a tok/s" - - - "median of${ours[$cell]}; without ORACLE_PYTHON, no sparsify"
			continue
		fi
		line "train.tctrain $cell" "$a tok/s" "$b tok/s" "$(ratio "$a" "$b")" \
			"$([ "$layers" = all ] && echo 5 || echo 2)" "layers:expansion $cell, medians of${ours[$cell]} and, sparsify,$peer"
		[ "${WHOLE-}" ] || continue
		a=$(train_whole "$layers" "$WHOLE" "$x" 32 "$threads" "$(cut -d: -f3 <<<"$cell")") || { echo '# tctrain failed'; exit 1; }
		line "train.whole $cell" "$a tok/s" "$b tok/s" "$(ratio "$a" "$b")" - \
			"the same, all of $WHOLE tokens' time, start and end, beside its steps alone"
	done
done
