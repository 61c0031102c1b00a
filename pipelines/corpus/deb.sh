#!/bin/sh
# deb.sh R1FETCH NAME=VERSION SHA256: prints the folder with that Debian package
# unpacked. Where apt has no lists yet, they are fetched into a private folder
# (no root needed). A version that the archive no longer carries is replaced by
# the one it does, with a loud note.
set -eu
fetch=$1 spec=$2 sha=$3
name=${spec%%=*}
cache=${R1_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/r1-interp}
mkdir -p "$cache"
log=$(mktemp "$cache/deb.XXXXXX")
trap 'rm -f "$log"' EXIT

pinned() { "$fetch" --sha256 "$sha" "deb:$spec" 2>"$log"; }

lists() {	# apt with folders of its own
	apt=$cache/apt
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	printf 'Dir::State::lists "%s/lists";\nDir::Cache "%s/cache";\n' "$apt" "$apt" >"$apt/conf"
	echo 'APT::Sandbox::User "";' >>"$apt/conf"
	export APT_CONFIG=$apt/conf
	flock "$apt" apt-get update -qq >&2
}

pinned && exit
lists || { cat "$log" >&2; exit 1; }
pinned && exit
cat "$log" >&2
echo "**** $spec is not in the archive any more: taking the current $name." >&2
echo "**** The corpus, and all numbers after it, will differ from the published ones." >&2
"$fetch" "deb:$name"
