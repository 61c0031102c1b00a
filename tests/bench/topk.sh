#!/bin/bash
# Examples of latents: topk-examples beside delphi (its cache, then its records)
# on some layers of SmolLM2, k 32, the same tokens, weights and
# threads; and how the memory of both grows when the corpus is four times as
# long. ORACLE_DELPHI_PYTHON names delphi's Python (eai-delphi 0.1.3). topk-examples'
# loading is counted, delphi's is not. R1_BENCH_HF_MODEL: the same weights as a
# Hugging Face folder, for a Python without gguf. TOKENS: of the shorter corpus. LAYERS: which [15]. EXPANSION [8].
# CPUTIME=1 compares processor seconds, which a busy machine disturbs less.
set -u
: "${BIN:=$PWD/bin}" "${ROOT:=$PWD}"
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
threads=${THREADS:-$(nproc)} few=${TOKENS:-2048} ctx=256 layers=${LAYERS:-15} x=${EXPANSION:-8}
line() { printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$@"; }
model=$("$ROOT/tests/lib/smollm2.sh") || { echo '# no SmolLM2: left out'; exit 0; }
python3 - $ctx $((4 * few / ctx)) >"$scratch/lists" <<'PY'
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
"$BIN/tctrain" --model "$model" --layers "$layers" -x "$x" -k 32 -b 512 -n 4096 --start-tokens 2048 --skip 0 --save-every 0 \
	--threads "$threads" --out "$scratch/ckpt" <"$scratch/t.tok" 2>"$scratch/log" ||
	{ echo '# tctrain failed:'; tail -n 3 "$scratch/log" | sed 's/^/# /'; exit 1; }
# ours TOKENS [OPTION...]: seconds and MiB
ours() {
	python3 - "$BIN/topk-examples" --model "$model" --transcoders "$scratch/ckpt" --layers "$layers" --skip 0 --max-tokens "$1" \
		--threads "$threads" --before 15 --after 16 "${@:2}" <<'PY' 3<"$scratch/t.tok"
import os, resource, subprocess, sys, time
t = time.time()
subprocess.run(sys.argv[1:], stdin=3, stdout=subprocess.DEVNULL, check=True)
u = resource.getrusage(resource.RUSAGE_CHILDREN)
print(u.ru_utime + u.ru_stime if os.environ.get("CPUTIME") else time.time() - t, u.ru_maxrss / 1024)
PY
}
theirs() {
	rm -rf "$scratch/d"; mkdir "$scratch/d"
	head -c $(($1 * 4)) "$scratch/ids" >"$scratch/some"
	THREADS=$threads OMP_NUM_THREADS=$threads "$ORACLE_DELPHI_PYTHON" "$ROOT/tests/bench/topk_delphi.py" "${R1_BENCH_HF_MODEL:-$model}" "$scratch/ckpt" \
		"$scratch/some" "$layers" $ctx "$scratch/d" 2>"$scratch/log" | sed -n 's/^delphi //p'
}
div() { awk "BEGIN { printf \"%.${3:-1}f\", $1 / $2 }"; }
for n in "$few" $((4 * few)); do
	read -r s mib < <(ours "$n") && [ "${mib-}" ] || { echo '# topk-examples failed'; exit 1; }
	our_mib+=("${mib%.*}") our_s+=("$s")
	read -r q _ < <(ours "$n" --precision q8) && [ "${q-}" ] || { echo '# topk-examples --precision q8 failed'; exit 1; }
	q8_s+=("$q")
	if [ -z "${ORACLE_DELPHI_PYTHON-}" ]; then
		line "topk.examples $n" "$(div "$n" "$s" 0) tok/s" - - - 'ORACLE_DELPHI_PYTHON not given: delphi left out'
		continue
	fi
	read -r t big _ < <(theirs "$n")
	[ "${big-}" ] || { echo '# delphi failed:'; tail -n 3 "$scratch/log" | sed 's/^/# /'; exit 1; }
	their_mib+=("${big%.*}") their_s+=("$t")
	line "topk.examples $n" "$(div "$n" "$s" 0) tok/s" "$(div "$n" "$t" 0) tok/s" "$(div "$t" "$s")" 5 "delphi's cache and records, layers $layers, expansion $x"
	line "topk.examples.q8 $n" "$(div "$n" "$q" 0) tok/s" "$(div "$n" "$t" 0) tok/s" "$(div "$t" "$q")" - 'the same, with --precision q8'
done
# what the further tokens cost: loading, and what is done once for each latent, cancel
more() { awk "BEGIN { printf \"%.3f\", $2 - $1 }"; }
if [ "${their_s-}" ]; then
	ours=$(more "${our_s[@]}") theirs=$(more "${their_s[@]}")
	line topk.marginal "$(div "$((3 * few))" "$ours" 0) tok/s" "$(div "$((3 * few))" "$theirs" 0) tok/s" "$(div "$theirs" "$ours")" 5 \
		"delphi, each token beyond the first $few, layers $layers, expansion $x"
	ours=$(more "${q8_s[@]}")
	line topk.marginal.q8 "$(div "$((3 * few))" "$ours" 0) tok/s" "$(div "$((3 * few))" "$theirs" 0) tok/s" "$(div "$theirs" "$ours")" - \
		'the same, with --precision q8'
fi
line topk.memory "${our_mib[0]} MiB" "${our_mib[1]} MiB" "$(div "${our_mib[0]}" "${our_mib[1]}" 2)" 0.95 'itself on four times the tokens'
[ "${their_mib-}" ] && line topk.memory.delphi "${their_mib[0]} MiB" "${their_mib[1]} MiB" \
	"$(div "${their_mib[0]}" "${their_mib[1]}" 2)" - 'delphi on four times the tokens'
exit 0
