#!/bin/bash
# tests/bench/qtok.sh: MB/s of qtok on prose, beside Hugging Face tokenizers
# (encode_batch) and tiktoken (encode_ordinary_batch) on the same texts with as
# many threads, one after the other, BENCH_REPS [5] times; medians.
#
# The peers need Python with tokenizers and tiktoken: ORACLE_PYTHON=PATH.
# BENCH_TEXT: JSON lines {"text"}; else the copyright files of this system, which
# are repetitive: good for a look, not for a claim.
# qtok is timed as a process, once on the plain text and once on the JSON lines,
# reading and writing a stream included; what the same process takes for no text
# at all (loading the tokenizer) is subtracted. The peers only encode, from and
# to memory: plain text is the nearer comparison.
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 1
export BIN=${BIN:-$PWD/bin} THREADS=${R1_THREADS:-$(nproc)}
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
text=${BENCH_TEXT-}
if [ -z "$text" ]; then
	text=$scratch/text.jsonl
	cat /usr/share/doc/*/copyright 2>/dev/null | iconv -c -t utf-8 | head -c 20000000 |
		jq -Rc --slurp '[splits("\n\n")] | . as $p | range(0; length; 40) | {text: ($p[.:. + 40] | join("\n\n"))}' >"$text"
fi
python=${ORACLE_PYTHON:-python3}
[ -n "${ORACLE_PYTHON-}" ] || echo "# qtok: no peer (set ORACLE_PYTHON to a Python with tokenizers and tiktoken)"
tests/lib/tokenizers.sh >"$scratch/list" || exit 1
exec "$python" tests/bench/qtok.py "$text" "$scratch/list"
