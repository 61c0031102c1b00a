#!/bin/bash
# symbols.sh: lib/X.c exports only X_*, so that a name says its file. A module
# cut into several files (lib/dev_cpu_gemm.c) exports names of any of its
# leading parts: dev_cpu_gemm_*, dev_cpu_*, dev_*. Nothing exported is
# writable data. TAP on stdout.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}
rc=0
# What else a module may export: types that are words of their own.
also() {
	case $1 in
	tensor) echo dtype_ f16_ bf16_ f32_ q8_0_ ;;
	esac
}
for o in "$build"/lib/*.o; do
	[ -e "$o" ] || { echo "not ok symbols: nothing built in $build/lib"; exit 1; }
	m=$(basename "$o" .o)
	[ -e "lib/$m.c" ] || continue
	# sysv form: name|value|class|type|size|line|section
	wrong=$(nm -g --defined-only -f sysv "$o" | awk -F'|' -v m="$m" -v also="$(also "$m")" '
		NF < 7 || $1 ~ /^__/ { next }
		{
			gsub(/ /, "", $1); gsub(/ /, "", $7)
			n = split(m, part, "_"); ok = 0; p = ""
			for (i = 1; i <= n; i++) {
				p = p (i > 1 ? "_" : "") part[i]
				if ($1 == p || index($1, p "_") == 1) ok = 1
			}
			n = split(also, a, " ")
			for (i = 1; i <= n; i++) if (index($1, a[i]) == 1) ok = 1
			if (!ok) print "exports " $1
			if ($7 ~ /^\.(data|bss|tdata|tbss)/ && $7 !~ /^\.data\.rel\.ro/ || $7 == "*COM*")
				print "writable data " $1
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
