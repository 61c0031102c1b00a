#!/bin/bash
# tree.sh: the top level is what README says it is; nothing committed names a
# path of somebody's machine or is too big to review. TAP on stdout.
set -u
cd "$(dirname "$0")/../.." || exit 1
rc=0
say() { if [ -z "$2" ]; then echo "ok tree: $1"; else
	echo "$2" | head -n 20 | sed 's/^/# /'; echo "not ok tree: $1"; rc=1; fi; }
git ls-files >/dev/null 2>&1 || { echo "ok tree # SKIP not a git checkout"; exit 0; }

want='CONTRIBUTING.md LICENSE Makefile NEWS README.md bin data kernels lib man packages.txt pipelines tests'
have=$(git ls-files | sed 's|/.*||' | grep -v '^\.' | LC_ALL=C sort -u | tr '\n' ' ')
say "top level" "$([ "${have% }" = "$want" ] || printf 'wanted %s\nfound  %s' "$want" "$have")"

say "no machine's paths" "$(git ls-files -z |
	xargs -0 grep -nIE '(^|[^A-Za-z0-9._~$})-])/(home|root|opt|srv|mnt|work|Users)/[A-Za-z]' |
	grep -v '^tests/check/tree\.sh:' | cut -c 1-160)"

say "no file over 4 MB" "$(git ls-files -z | xargs -0 -I{} find {} -maxdepth 0 -size +4096k 2>/dev/null)"

say "sources under 900 lines" "$(git ls-files 'lib/*' 'bin/*' 'pipelines/*' 'tests/*.c' 'tests/*.sh' 'tests/*.py' |
	xargs wc -l 2>/dev/null | awk '$2 != "total" && $1 > 900')"

# The pattern is put together here so as not to find itself.
marks="T""ODO|F""IXME|X""XX"
say "nothing left for later" "$(git ls-files -z '*.c' '*.h' '*.mk' '*.sh' '*.py' Makefile 'man/*' |
	xargs -0 grep -nIE "\\b($marks)\\b" | cut -c 1-160)"
exit $rc
