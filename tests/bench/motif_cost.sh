#!/bin/bash
# tests/bench/motif_cost.sh: what motifcount costs as graphs grow, against itself:
# processor time per edge, random graphs of all kinds, in made-up graphs of 16 links
# a node from 2,500 links on (1 is linear); and a file of BENCH_LARGE bytes
# [100000000] read in memory that its links alone decide.
#
# BENCH_GRAPHS=100 adds what the analysis of so many graphs of 10,000 links takes,
# all null models, n = 1000, on two threads.
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 1
BIN=${BIN:-$PWD/bin}
t=$(mktemp -d) || exit 1
trap 'rm -rf "$t"' EXIT
line() { printf 'motif %s\t%s\t%s\t%s\t%s\t%s\n' "$@"; }
# cpu COMMAND...: user and system seconds, the least of three
cpu() {
	for _ in 1 2 3; do
		/usr/bin/time -f '%U %S' -o "$t/time" "$@" >"$t/out" || exit 1
		awk '{ print $1 + $2 }' "$t/time"
	done | sort -n | head -n 1
}
[ -x /usr/bin/time ] || { echo '# motif_cost: no /usr/bin/time (Debian: time)'; exit 0; }

first=
for n in 2500 5000 10000 20000 40000 80000; do
	python3 tests/bench/motif_graphs.py "$t/$n" 1 $n 16 || exit 1
	us=$(cpu "$BIN/motifcount" --threads 1 -n 100 "$t/$n/g0.json" | awk -v n=$n '{ printf "%.3f", $1 / n / 100 * 1e6 }') || exit 1
	first=${first:-$us}
	line "cost $n" "$us us" "$first us" "$(awk -v a="$us" -v b="$first" 'BEGIN { printf "%.2f", b / a }')" 0.5 \
		'itself at 2500 links: per link and random graph'
done

python3 tests/bench/motif_large.py "${BENCH_LARGE:-100000000}" >"$t/large.json" || exit 1
/usr/bin/time -f '%M' -o "$t/kib" "$BIN/motifcount" --nulls none -t 1.2 --metrics "$t/m" "$t/large.json" >"$t/out" || exit 1
links=$(jq '.edges + .edges_below_threshold' "$t/m")
line "memory of $(stat -c %s "$t/large.json") B" "$(($(cat "$t/kib") / 1024)) MiB" "$((links * 32 / 1048576)) MiB" \
	"$(awk -v k="$(cat "$t/kib")" -v l="$links" 'BEGIN { printf "%.2f", l / 32 / k }')" 0.9 "32 bytes for each of $links links"

[ "${BENCH_GRAPHS-}" ] || exit 0
python3 tests/bench/motif_graphs.py "$t/many" "$BENCH_GRAPHS" 10000 16 || exit 1
/usr/bin/time -f '%e' -o "$t/time" "$BIN/motifcount" --threads 2 -n 1000 "$t"/many/*.json >"$t/out" || exit 1
line "$BENCH_GRAPHS graphs" "$(cat "$t/time") s" '' '' '' '10,000 links each, all null models, n = 1000, two threads'
