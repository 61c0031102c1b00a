#!/bin/sh
# deps.sh PACKAGES.TXT: install the Debian packages it names that are missing.
# Needs root or sudo; on a system without apt-get it prints what is needed.
set -eu
want=$(sed 's/#.*//' "$1" | tr -s ' \n' ' ')

if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-query >/dev/null 2>&1; then
	echo "deps: this is no Debian system; install the equivalents of:" >&2
	for p in $want; do echo "  $p" >&2; done
	exit 1
fi
missing=
for p in $want; do
	s=$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true)
	[ "$s" = installed ] || missing="$missing $p"
done
[ -n "$missing" ] || { echo "deps: all there"; exit 0; }
sudo=
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null 2>&1 || {
		echo "deps: not root and no sudo; as root run: apt-get install$missing" >&2
		exit 1
	}
	sudo=sudo
fi
echo "deps: installing$missing"
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -q
# shellcheck disable=SC2086
$sudo apt-get install -q -y --no-install-recommends $missing
