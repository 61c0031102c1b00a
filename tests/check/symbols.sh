#!/bin/bash
# symbols.sh: lib/X.c exports only X_*, so that a name says its file. A module
# cut into several files (lib/dev_cpu_gemm.c) exports names of any of its
# leading parts: dev_cpu_gemm_*, dev_cpu_*, dev_*. Nothing exported is
# writable data. TAP on stdout.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}
rc=0
for o in "$build"/lib/*.o; do
	[ -e "$o" ] || { echo "not ok symbols: nothing built in $build/lib"; exit 1; }
	m=$(basename "$o" .o)
	[ -e "lib/$m.c" ] || continue
	# U, and lower case, are not ours to judge; sanitizers add names with __
	wrong=$(nm -g --defined-only "$o" | awk -v m="$m" '
		$3 ~ /^__/ { next }
		{
			n = split(m, part, "_"); ok = 0; p = ""
			for (i = 1; i <= n; i++) {
				p = p (i > 1 ? "_" : "") part[i]
				if ($3 == p || index($3, p "_") == 1) ok = 1
			}
			if (!ok) print "exports " $3
			if ($2 ~ /[BDGSC]/) print "writable data " $3
		}')
	if [ -n "$wrong" ]; then
		echo "$wrong" | sed "s/^/# $m /"
		echo "not ok symbols: lib/$m.c"
		rc=1
	else
		echo "ok symbols: lib/$m.c"
	fi
done
exit $rc
