#!/bin/bash
# docs.sh: every tool has a manual page, and the two agree: the options of
# --help and of the page are the same both ways, mandoc finds nothing to
# complain about, and the examples marked as runnable run. TAP on stdout.
#
# An example is run when the line before its .Bd or .Dl is
#     .\" run
# (a .Dl line, or the lines of a .Bd -literal block) in an empty folder whose
# $R1_GOLDEN_DIR is tests/golden.
set -u
cd "$(dirname "$0")/../.." || exit 1
root=$PWD
BIN=${BIN:-$root/bin}
export PATH=$BIN:$PATH R1_GOLDEN_DIR=$root/tests/golden LC_ALL=C.UTF-8
rc=0
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
ok() { echo "ok docs: $1"; }
not() { echo "not ok docs: $1"; rc=1; }

# Long options that a page's OPTIONS list describes: .It Fl -name, .It Fl l ,
# Fl -name Ar x
page_options() {
	awk '/^\.It +Fl/ { for (i = 1; i < NF; i++) if ($i == "Fl" && $(i + 1) ~ /^(-|\\-)/) {
		o = $(i + 1); gsub(/\\-/, "-", o); sub(/^-/, "", o); print "--" o } }' "$1" | sort -u
}
help_options() { "$1" --help | grep -oE '^ +(-.,)? +?--[a-z0-9-]+' | grep -oE -- '--[a-z0-9-]+' | sort -u; }

for src in bin/*.c; do
	[ -e "$src" ] || break
	t=$(basename "$src" .c) page=man/$t.1
	[ -e "$page" ] || { not "$t has no page"; continue; }
	help_options "$BIN/$t" >"$scratch/help"
	page_options "$page" >"$scratch/page"
	if diff -u --label "$t --help" --label "$page" "$scratch/help" "$scratch/page" >"$scratch/diff"
	then ok "$t: --help and page agree"
	else sed 's/^/# /' "$scratch/diff"; not "$t: options of --help and page differ"; fi
	missing=
	for s in NAME SYNOPSIS DESCRIPTION 'EXIT STATUS' EXAMPLES 'SEE ALSO'; do
		grep -qx "\.Sh $s" "$page" || missing="$missing '$s'"
	done
	if [ -z "$missing" ]; then ok "$t: sections"; else not "$t: page lacks$missing"; fi
done

for page in man/*.[1-9]; do
	[ -e "$page" ] || break
	if why=$(mandoc -Tlint -W style "$page" 2>&1 | grep -v 'referenced manual not found'); [ -z "$why" ]
	then ok "lint $page"
	else echo "$why" | head -n 10 | sed 's/^/# /'; not "lint $page"; fi
	# pages that SEE ALSO names of this family exist
	dead=$(awk '$1 == ".Xr" && ($2 ~ /^(r1|tc|qtok|actdump)/) { print $2 "." $3 }' "$page" | sort -u |
		while read -r p; do [ -e "man/$p" ] || echo "$p"; done)
	[ -z "$dead" ] || not "$page refers to $(echo "$dead" | tr '\n' ' ')"
	awk -v out="$scratch/ex" '
		/^\.\\" run$/ { want = 1; next }
		want && /^\.Bd/ { inside = 1; want = 0; n++; next }
		want && /^\.Dl/ { sub(/^\.Dl +/, ""); gsub(/\\&/, ""); gsub(/\\e/, "\\"); n++; print > (out "." n); want = 0; next }
		inside && /^\.Ed/ { inside = 0; next }
		inside { gsub(/\\&/, ""); gsub(/\\e/, "\\"); print > (out "." n) }' "$page"
	for ex in "$scratch"/ex.*; do
		[ -e "$ex" ] || break
		mkdir -p "$scratch/w"
		if (cd "$scratch/w" && timeout 120 bash -e -o pipefail "$ex" >"$scratch/out" 2>&1 </dev/null)
		then ok "$page example ${ex##*.}"
		else sed 's/^/# /' "$ex"; tail -n 5 "$scratch/out" | sed 's/^/# /'; not "$page example ${ex##*.}"; fi
		rm -rf "$scratch/w" "$ex"
	done
done
exit $rc
