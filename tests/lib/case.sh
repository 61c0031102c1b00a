#!/bin/bash
# case.sh DIR: runs DIR/cmd (a bash script, cwd a scratch folder, $CASE the
# case's folder, stdin DIR/in if there) and compares what came out with the
# files stdout, stderr and exit (default: empty stderr unchecked, exit 0).
# R1_GOLDEN=1 rewrites the expectations; review the diff.
set -u
CASE=$(cd "$1" && pwd) || exit 1
export CASE
name=${CASE#*/tests/}
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
in=/dev/null; [ -e "$CASE/in" ] && in=$CASE/in
mkdir "$scratch/w"
(cd "$scratch/w" && bash -o pipefail "$CASE/cmd" <"$in" >"$scratch/out" 2>"$scratch/err")
rc=$?
if [ "${R1_GOLDEN-}" ]; then
	cp "$scratch/out" "$CASE/stdout"
	[ -s "$scratch/err" ] && cp "$scratch/err" "$CASE/stderr"
	if [ $rc -ne 0 ]; then echo $rc >"$CASE/exit"; else rm -f "$CASE/exit"; fi
fi
want=0; [ -e "$CASE/exit" ] && want=$(cat "$CASE/exit")
fail=0
[ "$rc" = "$want" ] || { echo "# exit $rc, wanted $want"; fail=1; }
for s in stdout stderr; do
	[ -e "$CASE/$s" ] || continue
	diff -u "$CASE/$s" "$scratch/${s#std}" | head -n 40 | sed 's/^/# /'
	cmp -s "$CASE/$s" "$scratch/${s#std}" || fail=1
done
[ $fail = 0 ] && { echo "ok $name"; exit 0; }
sed 's/^/# stderr: /' "$scratch/err" | head -n 10
echo "not ok $name"
exit 1
