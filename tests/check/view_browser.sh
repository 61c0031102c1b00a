#!/bin/bash
# view_browser.sh: pages of graphs in a headless Chromium, by mouse and keys.
# Skipped where there is none (R1_CHROMIUM names one). R1_SHOTS=FOLDER keeps
# pictures. TAP on stdout.
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 1
root=$PWD
PATH=${BIN:-$root/bin}:$PATH
python=/usr/bin/python3
M=$root/tests/golden/tiny-llama
[ -e "${R1_D3:-/usr/share/javascript/d3/d3.min.js}" ] || { echo 'ok view_browser # SKIP no d3'; exit 0; }
$python -c 'import sys; sys.path.insert(0, "tests/lib"); import browser; sys.exit(not browser.program())' ||
	{ echo 'ok view_browser # SKIP no chromium'; exit 0; }
shots=${R1_SHOTS:+$(realpath "$R1_SHOTS")}
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
for i in $(seq 40); do echo "the quick brown fox $i jumps over the lazy dog"; done >c.txt
qtok --tokenizer "$M" --ctx 32 <c.txt >t.tok && topk-examples --model "$M" --transcoders "$M/transcoders" <t.tok >e.ex &&
	attrgraph -m "$M" -t "$M/transcoders" -p 'the quick brown fox' -n 120 --html --examples e.ex >model.html &&
	attrgraph view "$root"/data/graphs/haiku/*.json >haiku.html &&
	$python "$root/tests/lib/page.py" evil | attrgraph view >evil.html &&
	$python "$root/tests/lib/biggraph.py" 2000 50000 | attrgraph view >big.html || exit 1
timeout 600 $python "$root/tests/lib/view_browser.py" . ${shots:+"$shots"}
