#!/bin/bash
# manners.sh: what every tool in bin/ owes its user, whatever it does. TAP.
set -u
cd "$(dirname "$0")/../.." || exit 1
BIN=${BIN:-$PWD/bin} rc=0
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
cp -r tests/golden/tiny-llama "$scratch/M"
cd "$scratch" || exit 1
ok() { echo "ok manners: $1"; }
not() { echo "not ok manners: $1"; rc=1; }
# t WHAT WANTED-EXIT COMMAND...: runs with stdin empty
t() {
	local what=$1 want=$2 got
	shift 2
	timeout 60 "$@" >out 2>err </dev/null
	got=$?
	if [ $got = "$want" ]; then ok "$what"; else
		sed 's/^/# /' err | head -n 3; not "$what: exit $got, wanted $want"; fi
}
one_line() {
	if [ "$(wc -l <err)" = 1 ] && grep -q "^$1: ." err && [ ! -s out ]
	then ok "$2"; else sed 's/^/# /' err | head -n 5; not "$2"; fi
}
# The options without which a tool that filters a stream will not start.
needs() {
	case $1 in
	actdump) echo --model M ;;
	tctrain) echo --model M -k 4 --expansion 2 --out ck ;;
	tceval) echo --model M --transcoders M/transcoders ;;
	esac
}
for src in "$OLDPWD"/bin/*.c; do
	name=$(basename "$src" .c) tool=$BIN/$name
	t "$name --help" 0 "$tool" --help
	grep -q "^usage: $name" out && [ ! -s err ] || not "$name --help goes to stdout alone"
	t "$name --version" 0 "$tool" --version
	grep -q "^$name (r1-interp) [0-9]" out || not "$name --version names itself"
	t "$name refuses an unknown option" 2 "$tool" --no-such-option
	one_line "$name" "$name says so in one line"
	t "$name refuses --threads x" 2 "$tool" --threads x
	t "$name refuses --device tpu" 2 "$tool" --device tpu
	sh -c '"$1" --help >/dev/full' sh "$tool" 2>err
	if [ $? = 1 ] && grep -q "No space" err; then ok "$name: a full disk is an error"
	else not "$name: --help >/dev/full"; fi
	case $name in
	r1cat|actdump|tctrain|tceval)
		# shellcheck disable=SC2046
		t "$name refuses an empty stream" 1 "$tool" $(needs "$name")
		one_line "$name" "$name names the empty stream in one line"
		printf 'not a stream\n' >junk
		# shellcheck disable=SC2046
		timeout 60 "$tool" $(needs "$name") <junk >out 2>err
		[ $? = 1 ] && one_line "$name" "$name refuses what is no stream" ||
			not "$name refuses what is no stream"
		[ ! -e ck ] || [ -z "$(find ck -name '*.safetensors')" ] ||
			not "$name leaves no result behind" ;;
	esac
done
# A reader that goes away ends a tool without a word.
seq 20000 | awk 'BEGIN { print "{\"r1\":1,\"kind\":\"x/1\"}" } { print "{\"n\":" $1 "}" }' >lines
"$BIN/r1cat" -j lines >x.stream
"$BIN/r1cat" x.stream x.stream x.stream x.stream 2>err | head -n 1 >out
status=${PIPESTATUS[0]}
if [ "$status" = 141 ] && [ ! -s err ]; then ok "SIGPIPE is quiet"
else sed 's/^/# /' err; not "SIGPIPE: exit $status"; fi
exit $rc
