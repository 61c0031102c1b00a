#!/bin/bash
# qtok_ids.sh: the ids of three real tokenizers on texts made to hurt
# (tests/golden/tok/torture.*, by tests/oracle/qtok_oracle.py) are those that
# Hugging Face tokenizers gave: 250 documents to a digest. And they decode to
# the text again. TAP.
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 1
export PATH=${BIN:-$PWD/bin}:$PATH
golden=tests/golden/tok rc=0
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
ok() { echo "ok qtok ids: $1"; }
not() { echo "not ok qtok ids: $1"; rc=1; }

tests/lib/tokenizers.sh >"$scratch/list" 2>"$scratch/err" ||
	{ sed 's/^/# /' "$scratch/err"; not "the tokenizers cannot be had"; }
while IFS=$'\t' read -r name path; do
	for form in json lines; do
		qtok -t "$path" --format $form --ids --bos never --eos never $golden/torture.$form >"$scratch/ids" ||
			not "$name $form"
		rm -f "$scratch"/part.*
		split -a 3 -d -l 250 "$scratch/ids" "$scratch/part."
		i=0
		for part in "$scratch"/part.*; do
			echo "$name $form $i $(sha256sum <"$part" | cut -d' ' -f1)"
			i=$((i + 1))
		done >"$scratch/sums"
		if diff <(grep "^$name $form " $golden/torture.sums) "$scratch/sums" >"$scratch/diff"
		then ok "$name, torture.$form"
		else sed 's/^/# /' "$scratch/diff" | head; not "$name, torture.$form"; fi
	done
	# Valid text comes back: in normal form where the tokenizer normalises,
	# without the characters whose bytes SmolLM2 has no token for.
	jq -r .text $golden/torture.json | python3 -c '
import re, sys, unicodedata
sys.stdin.reconfigure(newline=""); sys.stdout.reconfigure(newline="")
s = sys.stdin.read()
if sys.argv[1] == "qwen":
    s = unicodedata.normalize("NFC", s)
if sys.argv[1] == "smollm2":
    s = re.sub("[\x04\x06\x13\x14\x16\x1d\U00040000-\U000bffff]", "", s)
sys.stdout.write(s)' "$name" >"$scratch/text"
	if qtok -t "$path" --eos never "$scratch/text" | qtok -t "$path" --decode --special | cmp - "$scratch/text"
	then ok "$name, decode(encode(x)) = x"; else not "$name, decode(encode(x)) = x"; fi
done <"$scratch/list"
exit $rc
