#!/bin/bash
# attrgraph.sh: an attribution graph of SmolLM2, 8 and 64 tokens, against
# circuit-tracer: wall seconds of the whole program (ours, with loading) over
# those of its attribute() alone, the same of processor seconds (which other
# programs disturb less), and peak memory beyond what the process held with the
# weights loaded. That the same nodes and edges come out is said on a line of
# its own (tests/oracle/attr_compare.py).
#
# Wants ORACLE_CT_PYTHON (circuit-tracer, nnsight; see tests/oracle/README),
# R1_BENCH_HF_MODEL (the model as a Hugging Face folder in f32) and
# R1_BENCH_TRANSCODERS (a checkpoint of all layers). R1_BENCH_FEATURES: features
# explained [2000]; circuit-tracer takes 5 GiB at 8 tokens, twice that at 64.
set -u
cd "$(dirname "$0")/../.." || exit 1
model=$(tests/lib/smollm2.sh) || { echo "# attrgraph: no model"; exit 0; }
: "${ORACLE_CT_PYTHON=}" "${R1_BENCH_HF_MODEL=}" "${R1_BENCH_TRANSCODERS=}"
features=${R1_BENCH_FEATURES:-2000} threads=${R1_BENCH_THREADS:-2}
if [ ! -d "$R1_BENCH_TRANSCODERS" ]; then
	echo "# attrgraph: R1_BENCH_TRANSCODERS names no checkpoint"; exit 0
fi
if [ -z "$ORACLE_CT_PYTHON" ] || [ ! -d "$R1_BENCH_HF_MODEL" ]; then
	echo "# attrgraph: without ORACLE_CT_PYTHON and R1_BENCH_HF_MODEL there is no peer"; exit 0
fi
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
rc=0

ours() {	# FEATURES TEXT: seconds, peak KiB, processor seconds
	/usr/bin/time -f '%e %M %U %S' -o "$scratch/time" attrgraph --model "$model" --threads "$threads" \
		--transcoders "$R1_BENCH_TRANSCODERS" -n "$1" --prompt "$2" > "$scratch/ours$1.json" &&
		awk '{ print $1, $2, $3 + $4 }' "$scratch/time"
}

long='The old man walked down to the river and looked at the water for a long time, because he remembered what his father had told him about the fish that lived there. He sat on the bank until the sun went down behind the hills and then he went home, and his wife asked him where he had been all'
for text in 'The capital of France is a city' "$long"; do
	read -r s peak cpu < <(ours "$features" "$text") || exit 1
	read -r _ base _ < <(ours 1 "$text") || exit 1
	"$ORACLE_CT_PYTHON" tests/oracle/attr_oracle.py --model "$R1_BENCH_HF_MODEL" \
		--transcoders "$R1_BENCH_TRANSCODERS" --max-features "$features" \
		--threads "$threads" --text "$text" --json "$scratch/theirs.json" 2> "$scratch/err" || exit 1
	python3 tests/oracle/attr_compare.py "$scratch/ours$features.json" "$scratch/theirs.json" > "$scratch/same" || rc=1
	echo "# attrgraph: $(cat "$scratch/same")"
	grep '^{' "$scratch/err" | tail -n 1 | jq -r --argjson s "$s" --argjson p "$peak" --argjson c "$cpu" \
		--argjson b "$base" '.tokens as $n | ((.rss_mib - .rss_before_mib)) as $theirs |
		(($p - $b) / 1024) as $more |
		["attrgraph \($n) tok s", $s, (.seconds * 100 | round / 100),
		 (.seconds / $s * 100 | round / 100), 10, "circuit-tracer, seconds"],
		["attrgraph \($n) tok cpu", $c, (.cpu_seconds * 100 | round / 100),
		 (.cpu_seconds / $c * 100 | round / 100), 10, "circuit-tracer, processor seconds"],
		["attrgraph \($n) tok MiB", ($more | round), ($theirs | round),
		 (if $more > 1 then $theirs / $more * 10 | round / 10 else "-" end), 5,
		 "circuit-tracer, memory beyond the weights"] | @tsv'
done
exit $rc
