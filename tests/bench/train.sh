#!/bin/bash
# Training: the encoder's and the step's share of the machine's sgemm rate, and
# tctrain beside sparsify on SmolLM2, one layer and all of them, Adam, expansion
# 8, k 32, 512 tokens a step, the same threads, loading and saving not counted.
# ORACLE_PYTHON names sparsify's Python. With CPUTIME=1 rates are tokens per
# second of processor time over the number of threads: for a machine that has
# other things to do. tctrain's loading and saving count then.
set -u
: "${BIN:=$PWD/bin}" "${BUILD:=$PWD/build}" "${ROOT:=$PWD}"
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
threads=${THREADS:-$(nproc)}
# shellcheck disable=SC2046
gcc -O2 -std=c11 -D_GNU_SOURCE -I"$ROOT/lib" -o "$scratch/encode" "$ROOT/tests/bench/encode.c" "$BUILD/libr1.a" \
	$(pkg-config --libs openblas jansson libzstd msgpack libcrypto) -lm -pthread || exit 1
line() { printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$@"; }
for shape in '512 576 4608 32' '512 576 18432 32' '1024 1536 12288 64'; do
	# shellcheck disable=SC2086
	read -r product encode step < <("$scratch/encode" "$threads" $shape)
	read -r n d lat k <<<"$shape"
	line "train.encode $lat" "$encode ms" "$product ms" \
		"$(awk "BEGIN { printf \"%.2f\", $product / $encode }")" 0.80 "its matrix product alone, $n x $d x $lat, k $k"
	line "train.step $lat" "$step ms" "$encode ms" \
		"$(awk "BEGIN { printf \"%.2f\", $encode / $step }")" 1 'its encoding'
done

model=$("$ROOT/tests/lib/smollm2.sh") || { echo '# no SmolLM2: the rest is left out'; exit 0; }
ctx=256
python3 - $ctx 160 >"$scratch/lists" <<'PY'
import random, sys
r = random.Random(5)
for _ in range(int(sys.argv[2])):
    print([r.randrange(1000, 40000) for _ in range(int(sys.argv[1]))])
PY
python3 -c '
import json, struct, sys
for s in sys.stdin:
    v = json.loads(s)
    sys.stdout.buffer.write(struct.pack(f"<{len(v)}I", *v))' <"$scratch/lists" >"$scratch/ids"
"$ROOT/tests/lib/acts.py" tokens $ctx <"$scratch/lists" >"$scratch/t.tok"
rate() { awk "BEGIN { printf \"%.0f\", $1 / ($2) }"; }
ours() {	# LAYERS TOKENS -> tokens/s
	local TIMEFORMAT='%U %S' cpu
	cpu=$( { time "$BIN/tctrain" --model "$model" --layers "$1" -x 8 -k 32 -b 512 -n "$2" --start-tokens 2048 \
		--skip 0 --save-every 0 --threads "$threads" --out "$scratch/out" --metrics "$scratch/m" \
		<"$scratch/t.tok" >&2; } 2>&1) || return 1
	if [ "${CPUTIME-}" ]; then rate "$2" "(${cpu/ / + }) / $threads"
	else tail -n 1 "$scratch/m" | jq '.time.tokens_per_s | round'; fi
}
theirs() {	# LAYERS TOKENS -> tokens/s
	head -c $(($2 * 4)) "$scratch/ids" >"$scratch/some"
	read -r _ wall cpu < <(cd "$scratch" && THREADS=$threads OMP_NUM_THREADS=$threads TMPDIR=$scratch "$ORACLE_PYTHON" \
		"$ROOT/tests/bench/train_sparsify.py" "$model" "$scratch/some" "$1" 8 32 512 $ctx 2>"$scratch/log" | grep '^seconds')
	[ "${wall-}" ] || return 1
	if [ "${CPUTIME-}" ]; then rate "$2" "$cpu / $threads"; else rate "$2" "$wall"; fi
}
for layers in ${LAYERS:-15 all}; do
	n=$([ "$layers" = all ] && echo 16384 || echo 32768)
	a=$(ours "$layers" "$n") || { echo '# tctrain failed'; exit 1; }
	if [ -z "${ORACLE_PYTHON-}" ]; then
		line "train.tctrain $layers" "$a tok/s" - - - 'ORACLE_PYTHON not given: sparsify left out'
		continue
	fi
	b=$(theirs "$layers" "$([ "$layers" = all ] && echo 1024 || echo 4096)") ||
		{ echo '# sparsify failed:'; tail -n 3 "$scratch/log" | sed 's/^/# /'; continue; }
	line "train.tctrain $layers" "$a tok/s" "$b tok/s" "$(awk "BEGIN { printf \"%.1f\", $a / $b }")" \
		"$([ "$layers" = all ] && echo 5 || echo 2)" 'sparsify, Adam, same layers and shapes'
done
