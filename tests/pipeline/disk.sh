#!/bin/bash
# disk.sh: a disk that fills up: one clear error, no half file, and the run goes
# on when there is room.
. "$(dirname "$0")/../lib/pipeline.sh"
mkdir "$S/small"
mount -t tmpfs -o size=64m none "$S/small" 2>/dev/null || {
	echo "ok pipeline: full disk # SKIP needs root to mount a small file system"
	exit 0
}
trap 'umount "$S/small"; rm -rf "$S"' EXIT
run "$S/small" >"$S/log" 2>&1 || { tail -n 5 "$S/log" | sed 's/^/# /'; not "a run with room"; exit 1; }
digest "$S/small" >"$S/whole.sum"
rm -rf "$S/small"/*
for size in 64k 256k 600k 800k; do
	mount -o remount,size=$size "$S/small"
	if run "$S/small" >"$S/log" 2>&1; then ok "a disk of $size is enough"; continue; fi
	if grep -qi 'no space left' "$S/log"; then ok "a disk of $size: says that it is full"
	else tail -n 5 "$S/log" | sed 's/^/# /'; not "a disk of $size: says that it is full"; fi
	half=$(digest "$S/small" | grep -v '/\.want/' | grep -vxFf "$S/whole.sum" | grep -v 'ckpt.part/')
	[ -z "$half" ] && ok "a disk of $size: no half file" || { echo "$half" | sed 's/^/# /'; not "a disk of $size: no half file"; }
done
mount -o remount,size=64m "$S/small"
if run "$S/small" >"$S/log" 2>&1 && digest "$S/small" | diff - "$S/whole.sum" >"$S/log"; then ok "with room, the same bytes"
else tail -n 5 "$S/log" | sed 's/^/# /'; not "with room, the same bytes"; fi
exit $rc
