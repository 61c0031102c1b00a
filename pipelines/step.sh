#!/bin/bash
# step.sh OUT COMMAND: what COMMAND (a line for the shell) prints becomes the
# file OUT, whole or not at all: a failure, a full disk or a kill leaves no half
# file under that name. Seconds taken go to TIMES when that is set.
set -u -o pipefail
out=$1
mkdir -p "$(dirname "$out")" || exit 1
if bash -O extglob -o pipefail -c "$2" >"$out.part" && sync "$out.part" && mv -f "$out.part" "$out"; then
	[ -z "${TIMES-}" ] || printf '%s\t%s\n' "$(basename "$out")" "$SECONDS" >>"$TIMES"
else
	rc=$?
	rm -f "$out.part"
	exit $rc
fi
