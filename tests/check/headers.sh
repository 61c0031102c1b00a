#!/bin/bash
# headers.sh: each header compiles alone, and says what it is. TAP on stdout.
set -u
cd "$(dirname "$0")/../.." || exit 1
rc=0
flags=$(pkg-config --cflags msgpack libzstd libpcre2-8 libutf8proc jansson \
	libcurl libcrypto sqlite3 openblas)
for h in lib/*.h; do
	# shellcheck disable=SC2086
	if why=$("${CC:-gcc}" -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -Ilib $flags \
		-fsyntax-only -x c "$h" 2>&1) &&
		why=$(head -n 1 "$h") && [ "${why#/\*}" != "$why" ]; then
		echo "ok headers: $h"
	else
		echo "$why" | head -n 5 | sed 's/^/# /'
		echo "not ok headers: $h"
		rc=1
	fi
done
exit $rc
