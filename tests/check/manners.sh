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
	labeler) echo -p openai --base-url http://127.0.0.1:1 --model m --tokenizer M --db l.db ;;
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
	r1cat|actdump|tctrain|tceval|labeler)
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

# ---- at work --------------------------------------------------------------------
# A model, its transcoders and streams for it; `work NAME` prints the command
# line that makes NAME do its work from stdin to stdout.
vocab=$(jq .vocab_size M/config.json)
{
	echo '{"r1":1,"kind":"tokens/1","vocab":'"$vocab"',"n_ctx":64,"dtype":"u32"}'
	for i in $(seq 0 39); do
		echo '{"seq":'"$i"',"ids":['"$(seq -s, $((i + 1)) $((i + 50)))"'],"docs":[['"$i"',0,0]]}'
	done
} >t.json
"$BIN/r1cat" -j t.json >t.tok
"$BIN/r1cat" -c --raw t.tok >t.raw
"$BIN/actdump" --model M <t.tok >a.act
seq 1000 >text
cp "$OLDPWD"/tests/golden/motifs/opposite_of_small.json graph.json
work() {
	case $1 in
	actdump) echo "$BIN/actdump --model M" ;;
	motifcount) echo "$BIN/motifcount -n 20 -" ;;
	qtok) echo "$BIN/qtok --tokenizer M/tokenizer.json" ;;
	r1cat) echo "$BIN/r1cat -f" ;;
	tceval) echo "$BIN/tceval --model M --transcoders M/transcoders" ;;
	tctrain) echo "$BIN/tctrain --model M -k 4 --expansion 2 --batch 100 --out ck" ;;
	esac
}
feed() {
	case $1 in
	qtok) echo text ;;
	motifcount) echo graph.json ;;
	*) echo t.tok ;;
	esac
}

for name in r1cat qtok actdump tceval motifcount; do
	[ -x "$BIN/$name" ] || continue
	# shellcheck disable=SC2046
	timeout 60 $(work $name) <$(feed $name) >/dev/full 2>err
	if [ $? = 1 ] && [ "$(wc -l <err)" = 1 ] && grep -q "No space" err
	then ok "$name: a full disk ends the work"
	else sed 's/^/# /' err | head -n 3; not "$name: work >/dev/full"; fi
	# A reader that goes away ends a tool without a word.
	# shellcheck disable=SC2046
	python3 -c 'import os, subprocess, sys
r, w = os.pipe(); os.close(r)
sys.exit(128 - min(0, subprocess.run(sys.argv[1:], stdout=w).returncode))' \
		$(work $name) <$(feed $name) 2>err
	status=$?
	if [ $status = 141 ] && [ ! -s err ]; then ok "$name: SIGPIPE is quiet"
	else sed 's/^/# /' err | head -n 3; not "$name: SIGPIPE: exit $status"; fi
	# shellcheck disable=SC2046
	$(work $name) --threads 1 <$(feed $name) >one 2>err &&
		$(work $name) --threads 4 <$(feed $name) >four 2>>err
	if [ -s one ] && cmp -s one four; then ok "$name: the same bytes from 1 and 4 threads"
	else sed 's/^/# /' err | head -n 3; not "$name: 1 and 4 threads differ"; fi
done

# A stream cut anywhere is an error of one line that names where.
for name in r1cat actdump tceval tctrain; do
	[ -x "$BIN/$name" ] || continue
	bad=
	for f in t.tok t.raw; do
		n=$(wc -c <$f)
		for cut in 1 40 $((n / 2)) $((n - 20)) $((n - 1)); do
			rm -rf ck
			# shellcheck disable=SC2046
			head -c $cut $f | timeout 60 $(work $name) >out 2>err
			[ $? = 1 ] && [ "$(wc -l <err)" = 1 ] &&
				grep -q "^$name: standard input: .* byte .*cut" err &&
				[ -z "$(find ck -name '*.safetensors' 2>/dev/null)" ] ||
				{ bad="$bad $f:$cut"; sed 's/^/# /' err | head -n 3; }
		done
	done
	if [ -z "$bad" ]; then ok "$name: cut input"; else not "$name: cut at$bad"; fi
done
# tctrain reads acts/1 as well
head -c 2000 a.act | "$BIN/tctrain" -k 4 --expansion 2 --batch 100 --out ck2 >out 2>err
[ $? = 1 ] && one_line tctrain "tctrain: cut activations" || not "tctrain: cut activations"
exit $rc
