#!/bin/bash
# tests/bench/motif.sh: motifcount beside circuit-motifs (Python, igraph) on the
# two graphs of tests/golden/motifs, one thread each, interleaved.
#
# The peer needs ORACLE_PYTHON with igraph, numpy and tqdm, and CIRCUIT_MOTIFS, a
# checkout of github.com/mkenney2/circuit-motifs. Without them it is left out.
# A whole analysis takes the peer more than an hour, so it makes BENCH_NULLS [3]
# random graphs of each kind, and the time for a thousand is what those take times
# a thousand over that; ours makes the thousand, statistics included.
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 1
export BIN=${BIN:-$PWD/bin}
if [ -z "${ORACLE_PYTHON-}" ] || [ -z "${CIRCUIT_MOTIFS-}" ]; then
	echo "# motif: no peer (set ORACLE_PYTHON, and CIRCUIT_MOTIFS to a checkout of circuit-motifs)"
	exit 0
fi
exec "$ORACLE_PYTHON" tests/bench/motif.py "$CIRCUIT_MOTIFS" tests/golden/motifs
